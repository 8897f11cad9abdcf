"""The database as a verification reads it: one read-only snapshot of SQLite or PostgreSQL.

SQLite is read through the standard library alone, PostgreSQL through its driver; neither goes
through the store, whose word is what is being checked.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from yaosu_schemas.errors import InvalidInput, Unavailable, Unsupported

from .evidence import reply_sum, row_sum, stamp
from .proofs import Findings, Progress, strict_json
from .resting import SCHEMA, schema_text

GUARDED = ("event", "posting", "reply", "leaf")
# Where a directory is new enough to have them.
_LATER_GUARDED = ("metered_call", "invoice", "data_read")
_NO_RECORDS = ("job", "reply", "view")


class Rows(Protocol):
    """The rows of an answer."""

    def __iter__(self) -> Iterator[Any]: ...
    def fetchone(self) -> Any: ...
    def fetchall(self) -> list[Any]: ...


class Database(Protocol):
    """What the verification asks of a database; parameters are marked by `?`."""

    errors: tuple[type[Exception], ...]

    def execute(self, sql: str, params: Sequence[object] = ()) -> Rows: ...

    def member(self, column: str, name: str) -> str:
        """Return SQL for a text member of a JSON column."""
        ...

    def sound(self, found: Findings) -> None:
        """Note what the database itself finds wrong, and which guards are gone."""
        ...

    def has(self, table: str) -> bool:
        """Say whether there is such a table: an older market may not have it yet."""
        ...

    def tables(self) -> list[str]:
        """Return the tables whose rows are records: an id, columns, and `body`."""
        ...


# --- SQLite -------------------------------------------------------------------------------------


class SqliteDatabase:
    """A snapshot of a file."""

    errors: tuple[type[Exception], ...] = (sqlite3.Error,)

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, params: Sequence[object] = ()) -> Rows:
        return self._connection.execute(sql, tuple(params))

    def member(self, column: str, name: str) -> str:
        return f"json_extract({column}, '$.{name}')"

    def sound(self, found: Findings) -> None:
        for (line,) in self.execute("PRAGMA integrity_check"):
            if line != "ok":
                found.wrong(
                    "/database", "database", f"SQLite finds: {line}", f"SQLite 检查发现：{line}"
                )
        for table, child, parent, _ in self.execute("PRAGMA foreign_key_check"):
            found.wrong(
                "/database",
                "database",
                f"a row of {table} ({child}) refers to a missing one of {parent}",
                f"{table} 的一行（{child}）引用了不存在的 {parent}",
            )
        kept = self.execute("SELECT body FROM view WHERE key = ?", (SCHEMA,)).fetchone()
        if kept is not None:
            found.need(
                bytes(kept[0]).decode(errors="replace") == schema_text(self.execute),
                "/database",
                "schema",
                "the tables are not those that the last migration left",
                "数据库表结构与最近一次迁移后的不一致",
            )
        rows = self.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        guards = {name for (name,) in rows}
        for table in (*GUARDED, *(t for t in _LATER_GUARDED if t in self.tables())):
            for verb in ("update", "delete"):
                _guard(f"{table}_no_{verb}" in guards, table, verb, found)

    def has(self, table: str) -> bool:
        found = self.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        return found is not None

    def tables(self) -> list[str]:
        rows = self.execute(
            "SELECT m.name FROM sqlite_master m JOIN pragma_table_info(m.name) c "
            "WHERE m.type = 'table' AND c.name = 'body' ORDER BY m.name"
        )
        return [name for (name,) in rows if name not in _NO_RECORDS]


@contextlib.contextmanager
def open_snapshot(path: Path) -> Iterator[Database]:
    """Open the database read-only in one transaction; Unavailable when it cannot be read.

    Beside a write-ahead log SQLite needs to write its index file; where the folder is read-only
    the two files are read from a copy.
    """
    with contextlib.ExitStack() as stack:
        wal = path.with_name(f"{path.name}-wal")
        options = "mode=ro"
        if not os.access(path.parent, os.W_OK):
            if wal.exists() and wal.stat().st_size:
                copy = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                shutil.copyfile(path, copy / path.name)
                shutil.copyfile(wal, copy / wal.name)
                path = copy / path.name
            else:
                options = "mode=ro&immutable=1"
        try:
            db = sqlite3.connect(f"{path.absolute().as_uri()}?{options}", uri=True)
            stack.callback(db.close)
            db.execute("PRAGMA query_only = ON")
            db.execute("BEGIN")
            db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except (sqlite3.Error, UnicodeDecodeError) as error:  # its message quotes broken bytes
            raise Unavailable(
                f"the database cannot be read: {error}", f"无法读取数据库：{error}"
            ) from None
        yield SqliteDatabase(db)


# --- PostgreSQL ---------------------------------------------------------------------------------


class PostgresDatabase:
    """A snapshot of a database, read through a server-side cursor where it may be long."""

    def __init__(self, connection: Any, errors: tuple[type[Exception], ...]) -> None:
        self._connection = connection
        self._count = 0
        self.errors = errors

    def execute(self, sql: str, params: Sequence[object] = ()) -> Rows:
        if params:
            rows: Rows = self._connection.execute(sql.replace("?", "%s"), tuple(params))
            return rows
        self._count += 1
        cursor: Any = self._connection.cursor(name=f"verify_{self._count}")
        cursor.itersize = 2000
        cursor.execute(sql)
        made: Rows = cursor
        return made

    def member(self, column: str, name: str) -> str:
        return f"({column}::json ->> '{name}')"

    def sound(self, found: Findings) -> None:
        rows = self.execute("SELECT tgname::text FROM pg_trigger WHERE tgenabled <> 'D'")
        guards = {name for (name,) in rows}
        for table in (*GUARDED, *(t for t in _LATER_GUARDED if t in self.tables())):
            _guard(f"{table}_append_only" in guards, table, "change", found)
        (checksums,) = self.execute("SELECT current_setting('data_checksums')").fetchone()
        if checksums != "on":
            found.wrong(
                "/database",
                "unguarded",
                "the database has no checksums of pages (initdb --data-checksums)",
                "数据库未启用页校验和（initdb --data-checksums）",
                severity="warning",
            )

    def has(self, table: str) -> bool:
        return self.execute("SELECT to_regclass(?)", (table,)).fetchone()[0] is not None

    def tables(self) -> list[str]:
        rows = self.execute(
            "SELECT table_name::text FROM information_schema.columns WHERE column_name = 'body' "
            "AND table_schema = current_schema() ORDER BY 1"
        )
        return [name for (name,) in rows if name not in _NO_RECORDS]


@contextlib.contextmanager
def open_postgres(url: str) -> Iterator[Database]:
    """Open a PostgreSQL database in one read-only snapshot; Unavailable when it cannot be read."""
    try:
        import psycopg
    except ModuleNotFoundError:
        raise Unsupported(
            "PostgreSQL needs its driver: pip install 'yaosu[postgres]'",
            "使用 PostgreSQL 需要安装驱动：pip install 'yaosu[postgres]'",
        ) from None
    scheme, mark, rest = url.partition("://")
    if scheme.partition("+")[0] not in ("postgresql", "postgres") or not mark:
        raise InvalidInput(
            "the database of a data folder is postgresql://…",
            "数据目录的数据库地址应为 postgresql://…",
            field="database",
        )
    try:
        with psycopg.connect(f"postgresql://{rest}") as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            yield PostgresDatabase(connection, (psycopg.Error,))
    except psycopg.OperationalError as error:
        raise Unavailable(
            "the database cannot be reached", "无法连接数据库", reason=type(error).__name__
        ) from None


def _guard(there: bool, table: str, verb: str, found: Findings) -> None:
    found.need(
        there,
        f"/database/{table}",
        "unguarded",
        f"nothing in the database refuses to {verb} rows of {table}",
        f"数据库未阻止对 {table} 的改动（{verb}）",
    )


# --- records ------------------------------------------------------------------------------------


def check_records(db: Database, found: Findings, progress: Progress) -> None:
    """Every record has the sum it was written with, and columns that say what it says.

    Records from before there were sums begin with their id; they are counted.
    """
    for table in db.tables():
        rows = db.execute(f'SELECT * FROM "{table}" ORDER BY id')
        names = [str(column[0]) for column in rows.description]  # type: ignore[attr-defined]
        for n, row in enumerate(rows, 1):
            values = dict(zip(names, row, strict=True))
            with found.shape(f"/records/{table}/{values['id']}"):
                _record(table, values, found)
            if n % 1000 == 0:
                progress("records", n, n)
    for key, etag, body in db.execute("SELECT key, etag, body FROM view ORDER BY key"):
        found.checked["views"] += 1
        found.need(
            hashlib.sha256(bytes(body)).hexdigest() == etag,
            f"/views/{key}",
            "digest",
            "the stored answer is not what its digest says",
            "存储的应答与其摘要不符",
        )


def check_replies(db: Database, found: Findings, progress: Progress) -> None:
    """Every recorded reply has the sum it was written with; those from before sums are counted."""
    query = 'SELECT actor_id, "key", fingerprint, status, headers, body, at FROM reply'
    for n, (actor, key, fingerprint, status, headers, body, at) in enumerate(db.execute(query), 1):
        found.checked["replies"] += 1
        if headers == "{}" or headers.startswith('{"location":'):
            found.checked["replies without a sum"] += 1
        else:
            rest = "{" + headers[23:].removeprefix(",")
            made = reply_sum(actor, key, fingerprint, status, rest, bytes(body), at)
            found.need(
                headers[:23] == f'{{"#":"{made}"',
                f"/replies/{actor}/{key}",
                "digest",
                "the recorded reply is not what its sum says",
                "已记录的应答与其校验值不符",
            )
        if n % 1000 == 0:
            progress("replies", n, n)


def _record(table: str, values: dict[str, Any], found: Findings) -> None:
    found.checked["records"] += 1
    body = str(values.pop("body"))
    place = f"/records/{table}/{values['id']}"
    if body.startswith('{"id":'):
        found.checked["records without a sum"] += 1
    else:
        head, rest = body[:24], "{" + body[24:]
        found.need(
            head == f'{{"#":"{row_sum(rest)}",',
            f"{place}/body",
            "digest",
            "the record is not what its sum says",
            "记录与其校验值不符",
        )
    said = strict_json(body)
    for name, value in values.items():
        found.need(
            value in (said.get(name), stamp(said.get(name))),
            f"{place}/{name}",
            "mismatch",
            f"the column {name} says something else than the record",
            f"列 {name} 与记录内容不一致",
        )
