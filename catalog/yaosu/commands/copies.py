"""`yaosu backup`, `yaosu restore`: a data folder into one file, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .operate import Data, settings_of
from .terminal import Json, command, note, print_json, say

Target = Annotated[Path, typer.Argument(metavar="FILE", help="The backup. 备份文件。")]


@command
def backup(file: Target, data: Data = None, as_json: Json = False) -> None:
    """Copy a market into one file, while it runs. It holds the market's keys: keep it safe.

    在线备份市场数据（含密钥，请妥善保管）。

    With PostgreSQL, back the database up with its own tools and this folder beside it.
    """
    from yaosu.backup import backup as write

    settings = settings_of(data)
    if settings.database_url:
        note("the database is on PostgreSQL: use pg_dump for it", mark="!")
    size = write(settings.folder, file)
    if as_json:
        print_json({"file": str(file), "bytes": size})
    else:
        say(f"{file}: {size:,} bytes  已备份")


@command
def restore(file: Target, data: Data = None, as_json: Json = False) -> None:
    """Unpack a backup into an empty data folder, and verify it whole.

    将备份恢复到空目录并验证。
    """
    from yaosu.backup import restore as read

    settings = settings_of(data)
    read(file, settings.folder)
    if as_json:
        print_json({"data": settings.data, "valid": True})
    else:
        say(f"{settings.data}: restored and verified  已恢复并通过验证")
