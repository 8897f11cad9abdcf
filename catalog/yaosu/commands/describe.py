"""`yaosu describe`: a datapackage.json with everything that can be measured and inferred."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from yaosu.errors import InvalidInput, Text

from .terminal import Json, Watch, command, note, print_json, print_problems, print_table, say

NAME = "datapackage.json"


@command
def describe(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH…", help="A folder, or files. 目录或文件。")
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help=f"Where to write (default: {NAME} beside). 输出位置。"),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of a new package. 数据集标识名。")] = None,
    dry_run: Annotated[bool, typer.Option(help="Write nothing. 只显示，不写入。")] = False,
    as_json: Json = False,
) -> None:
    """Write a datapackage.json with schema, counts and digests, and say what is still missing.

    生成 datapackage.json（结构、统计、摘要等），并列出仍需人工填写的内容。

    What a person wrote into an earlier one stays; what was measured is measured again.
    """
    from yaosu_validators.describe import describe as describe_paths

    target = out or _beside(paths)
    existing = _existing(target)
    with Watch() as watch:
        found = describe_paths(
            paths[0] if len(paths) == 1 else paths,
            existing,
            name=name,
            progress=lambda done, total, path: watch("read", path, done, total, key="all"),
        )
    if not dry_run:
        write_whole(target, found.descriptor)
    if as_json:
        print_json({"path": None if dry_run else str(target), **found.as_json()})
        return
    _tell(found, None if dry_run else target)


def _tell(found: Any, written: Path | None) -> None:
    resources = found.descriptor.get("resources") or []
    said = f"wrote {written}" if written else "nothing was written (--dry-run)"
    said_zh = f"已写入 {written}" if written else "未写入（--dry-run）"
    say(Text(f"{said}: {len(resources)} resources", f"{said_zh}，{len(resources)} 个资源"))
    if found.changed:
        say(Text("changed since the last description:", "与上次描述相比的变化："))
        print_table(
            ("where 位置", "before 原值", "now 现值"),
            [
                (c.get("pointer"), _short(c.get("before")), _short(c.get("after")))
                for c in found.changed
            ],
        )
    if found.skipped:
        say(Text("left out:", "未收录："))
        print_table(("path 路径", "why 原因"), [_skipped(item) for item in found.skipped])
    if found.todo:
        say(Text("still to be filled in or looked at:", "仍需填写或确认："))
        print_problems(found.todo)
        say(Text("then: yaosu submit --dry-run DIR", "之后执行：yaosu submit --dry-run 目录"))


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:59] + "…"


def _skipped(item: dict[str, Any]) -> tuple[object, object]:
    why = f"{item.get('reason', '')}\n{item.get('reason_zh', '')}".strip()
    return item.get("path"), why


def _beside(paths: list[Path]) -> Path:
    """Return where the descriptor goes: into the folder, or beside the files."""
    if len(paths) == 1 and paths[0].is_dir():
        return paths[0] / NAME
    return Path(os.path.commonpath([p.absolute().parent for p in paths])) / NAME


def _existing(target: Path) -> dict[str, Any] | None:
    """Return an earlier description, YAML included; Malformed rather than overwriting ruins."""
    from yaosu.client.submission import read_descriptor

    for place in (target, target.with_suffix(".yaml"), target.with_suffix(".yml")):
        if place.is_file():
            if place != target:
                note(
                    Text(
                        f"{place.name} is read; the new description goes to {target.name}",
                        f"已读取 {place.name}，新描述写入 {target.name}",
                    )
                )
            return read_descriptor(place)[0]
    if target.is_dir():
        raise InvalidInput(
            f"{target} is a folder: name a file with --out",
            f"{target} 是目录，请用 --out 指定文件",
        )
    return None


def write_whole(path: Path, document: Any) -> None:
    """Write a JSON document whole or not at all."""
    text = json.dumps(document, ensure_ascii=False, indent=2) + "\n"
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
