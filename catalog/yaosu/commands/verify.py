"""`yaosu verify`: evidence checked offline, without trust in a market."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from yaosu.errors import Text

from .terminal import (
    NOT_VALID,
    Json,
    Watch,
    command,
    print_facts,
    print_json,
    print_problems,
    say,
)


@command
def verify(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH", help="Receipt, report, delivered folder or data folder. 验证对象。"
        ),
    ],
    log_key: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="Public key the log must have. 已知的日志公钥。"),
    ] = None,
    witness: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY", help="Witness that must have cosigned. 须联署的见证方密钥。"),
    ] = None,
    quorum: Annotated[
        int | None,
        typer.Option(min=0, help="So many of the witnesses will do. 最少联署数。"),
    ] = None,
    database: Annotated[
        str,
        typer.Option(metavar="URL", help="PostgreSQL database of the data folder. 数据库地址。"),
    ] = "",
    as_json: Json = False,
) -> None:
    """Check a receipt, a report, a delivered folder or a whole data folder, offline.

    离线验证收据、质量报告、交付目录或整个数据目录。

    Exit 1 when anything does not hold.
    """
    from yaosu.proof.verify import verify_path
    from yaosu.proof.witness import Demand

    with Watch() as watch:
        report = verify_path(
            path,
            log_key=log_key,
            demand=Demand.of(witness or (), quorum),
            database_url=database or _configured(path),
            progress=lambda stage, done, total: watch("hash", stage, done, total),
        )
    if as_json:
        print_json(report.as_json())
    else:
        if report.problems:
            print_problems(report.problems)
        if report.proved:
            say(*(Text(f"✓ {p.en}", f"✓ {p.zh}") for p in report.proved))
        print_facts({**report.facts, **{f"checked {k}": v for k, v in report.checked.items()}})
        holds = Text(f"✓ the {report.kind} holds", f"✓ 验证通过（{report.kind}）")
        broken = Text(f"✗ the {report.kind} does not hold", f"✗ 验证未通过（{report.kind}）")
        say(holds if report.valid else broken)
    if not report.valid:
        raise typer.Exit(NOT_VALID)


def _configured(path: Path) -> str:
    """Return the database of the settings for a data folder that has none of its own in it."""
    if not path.is_dir() or (path / "market.db").exists() or not (path / "log").is_dir():
        return ""
    from yaosu.settings import load

    return load().database_url
