"""One store for SQLite and PostgreSQL: opening it, and bringing its tables up to date."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yaosu.errors import Unsupported
from yaosu.ports import Clock, Store

from .migrate import upgrade_postgresql, upgrade_sqlite
from .sqlite import SqliteStore, hold

if TYPE_CHECKING:
    from .postgres import PostgresStore

DATABASE_FILE = "market.db"


def open_store(
    url_or_path: str | Path,
    *,
    clock: Clock,
    on_fatal: Callable[[BaseException], None] | None = None,
    **options: Any,
) -> Store:
    """Open the store of a data folder, or of a `sqlite:///` or `postgresql://` URL.

    An embedded store is brought up to date and held for this process; Unavailable if another
    has it. `on_fatal` is called once, when a failed sync or I/O error ends all writing (P1).
    """
    path = sqlite_path(url_or_path)
    if path is None:
        return _postgresql()(str(url_or_path), clock=clock, on_fatal=on_fatal, **options)
    held = hold(path)
    try:
        upgrade_sqlite(path)
        return SqliteStore(path, held, clock=clock, on_fatal=on_fatal, **options)
    except BaseException:
        os.close(held)
        raise


def upgrade(url_or_path: str | Path) -> None:
    """Bring the tables up to date (`yaosu db upgrade`); Unavailable while a server runs."""
    path = sqlite_path(url_or_path)
    if path is None:
        _postgresql()
        upgrade_postgresql(driver_url(str(url_or_path)))
        return
    held = hold(path)
    try:
        upgrade_sqlite(path)
    finally:
        os.close(held)


def _postgresql() -> type[PostgresStore]:
    """Return the store for PostgreSQL; Unsupported where its driver is not installed."""
    try:
        from .postgres import PostgresStore
    except ModuleNotFoundError as e:
        raise Unsupported(
            "PostgreSQL needs its driver: pip install 'yaosu[postgres]'",
            "使用 PostgreSQL 需要安装驱动：pip install 'yaosu[postgres]'",
        ) from e
    return PostgresStore


def driver_url(url: str) -> str:
    """Return a PostgreSQL URL that names the driver."""
    return "postgresql+psycopg://" + url.partition("://")[2]


def sqlite_path(url_or_path: str | Path) -> Path | None:
    """Return the database file that a folder or a `sqlite:` URL means; None for PostgreSQL."""
    text = str(url_or_path)
    if "://" not in text:
        return Path(text) / DATABASE_FILE
    scheme, _, rest = text.partition("://")
    if scheme.partition("+")[0] == "sqlite":
        return Path(rest.removeprefix("/"))
    if scheme.partition("+")[0] in ("postgresql", "postgres"):
        return None
    raise Unsupported(
        f"no store of the kind {scheme!r}: use a folder, sqlite:/// or postgresql://",
        f"不支持的存储类型 {scheme!r}，请使用目录、sqlite:/// 或 postgresql://",
    )
