"""The command reference, written from the commands: `python -m yaosu.commands.reference`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from yaosu.cli import COMMANDS, loaded

from .terminal import printed

INTRODUCTION = """# The `yaosu` command line 命令行

Written from the commands themselves (`python -m yaosu.commands.reference > docs/cli.md`).

| exit code | means | 含义 |
|---|---|---|
| 0 | done, or valid | 完成，或数据有效 |
| 1 | the data or the record is not valid | 数据或记录无效 |
| 2 | wrong use, no such target, no market there | 用法错误、目标无法打开或市场无应答 |
| 130 | stopped by Ctrl-C | 被 Ctrl-C 停止 |

`--json` prints one JSON document on stdout and nothing else there; an error is
`{"error": {"code", "message", "message_zh", …}}`. Progress, notes and errors go to stderr.
The market is `YAOSU_MARKET` (default `http://127.0.0.1:8000`), the access key `YAOSU_KEY`, the
signing key `YAOSU_SIGNING_KEY` (default `~/.config/yaosu/signing.pem`); `yaosu settings` shows
the rest. `yaosu --install-completion` completes commands in your shell.
"""


def reference() -> str:
    """Return the reference as Markdown: every command, argument and option."""
    parts = [INTRODUCTION]
    for panel in dict.fromkeys(entry.panel for entry in COMMANDS.values()):
        parts.append(f"## {panel}\n")
        for name, entry in COMMANDS.items():
            if entry.panel == panel:
                parts.extend(_command(loaded(name), f"yaosu {name}", 3))
    return "\n".join(parts).rstrip() + "\n"


def _command(command: Any, path: str, level: int) -> Iterator[str]:
    inner = getattr(command, "commands", None)
    yield f"{'#' * level} `{_usage(command, path)}`\n"
    if command.help:
        yield command.help.strip() + "\n"
    rows = list(_rows(command))
    if rows:
        yield "| option | meaning |\n|---|---|\n" + "\n".join(rows) + "\n"
    for name, child in (inner or {}).items():
        yield from _command(child, f"{path} {name}", level + 1)


def _usage(command: Any, path: str) -> str:
    if getattr(command, "commands", None):
        return f"{path} …"
    words = [path]
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            name = parameter.metavar or parameter.name.upper()
            words.append(name if parameter.required else f"[{name}]")
    return " ".join(words)


def _rows(command: Any) -> Iterator[str]:
    for parameter in command.params:
        if parameter.name == "help":
            continue
        if parameter.param_type_name == "argument":
            shown = f"`{parameter.metavar or parameter.name.upper()}`"
        else:
            flags = " / ".join([*parameter.opts, *parameter.secondary_opts])
            value = "" if parameter.is_flag else f" {parameter.metavar or _kind(parameter)}"
            shown = f"`{flags}{value}`"
        extra = []
        default = parameter.default
        if default not in (None, "", False, (), []) and not parameter.required:
            extra.append(f"default {getattr(default, 'value', default)}")
        if parameter.required:
            extra.append("required 必填")
        text = (parameter.help or "") + (f" ({'; '.join(extra)})" if extra else "")
        yield f"| {shown.replace('|', chr(92) + '|')} | {text.replace('|', chr(92) + '|')} |"


def _kind(parameter: Any) -> str:
    kind = parameter.type_descriptor if hasattr(parameter, "type_descriptor") else None
    choices = getattr(kind, "choices", None)
    if choices:
        return "|".join(str(getattr(c, "value", c)) for c in choices)
    return str(parameter.name).rpartition("_")[2].upper()


if __name__ == "__main__":
    printed(reference())
