"""What a person at a terminal and a program at a pipe get to read.

Results go to stdout: tables and sentences, or one JSON document with `--json`. Progress, notes
and errors go to stderr. Words of strangers are shown without the characters that steer terminals.
"""

from __future__ import annotations

import functools
import inspect
import json
import os
import sys
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TypeVar, cast

import typer

from yaosu.errors import (
    InvalidDocument,
    Malformed,
    Problem,
    Text,
    UnsafePath,
    Unverified,
    YaosuError,
)
from yaosu_schemas.texts import system_reason

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID
    from rich.table import Table

    from yaosu.client import Client

P = ParamSpec("P")
T = TypeVar("T")

DONE, NOT_VALID, WRONG_USE, STOPPED = 0, 1, 2, 130
# What is wrong inside data or a record; everything else is the use, the place or the line.
_ABOUT_DATA = (InvalidDocument, Malformed, UnsafePath, Unverified)
WIDE = 200
_DOCS = "/dataElement/docs/"

Market = Annotated[
    str | None,
    typer.Option("--market", metavar="URL", help="The market. 市场地址 [YAOSU_MARKET]"),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout. 输出 JSON。")]


# --- running ----------------------------------------------------------------------------------


def command(function: Callable[P, T]) -> Callable[P, T]:
    """Turn what a command raises into sentences, or the JSON of the error, and an exit code."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except (YaosuError, OSError) as error:
            if isinstance(error, BrokenPipeError):
                raise typer.Exit(_the_reader_left()) from None
            raise typer.Exit(tell_error(error, as_json=bool(kwargs.get("as_json")))) from None

    return run


def makes(*kinds: str) -> Callable[[Callable[P, None]], Callable[..., None]]:
    """Give a command that makes things the option `--id`: ids of one's own for them."""
    said = f"Id of your own for what is made: {', '.join(k + '_…' for k in kinds)}. 自定编号。"
    option = Annotated[list[str] | None, typer.Option("--id", metavar="ID", help=said)]

    def with_option(function: Callable[P, None]) -> Callable[..., None]:
        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> None:
            from yaosu.client.own_ids import naming

            ids = cast("list[str] | None", kwargs.pop("own_ids", None))
            with naming(*(ids or ())):
                function(*args, **kwargs)

        known = inspect.signature(function, eval_str=True)
        more = inspect.Parameter(
            "own_ids", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=option
        )
        run.__signature__ = known.replace(  # type: ignore[attr-defined]
            parameters=[*known.parameters.values(), more]
        )
        return run

    return with_option


def guarded(run: Callable[[], object]) -> int:
    """Return the exit code of a run, whatever ends it."""
    try:
        run()
        return DONE
    except SystemExit as end:
        code = end.code
        return code if isinstance(code, int) else DONE if code is None else WRONG_USE
    except KeyboardInterrupt:
        note(Text("stopped", "已停止"))
        return STOPPED
    except BrokenPipeError:
        return _the_reader_left()
    except (YaosuError, OSError) as error:
        return tell_error(error)
    except Exception as error:
        if os.environ.get("YAOSU_DEBUG"):
            raise
        note(
            Text(
                f"an error of this program: {type(error).__name__}: {error} "
                "(set YAOSU_DEBUG=1 for the whole trace)",
                "程序内部错误（设置 YAOSU_DEBUG=1 查看详情）",
            )
        )
        return WRONG_USE


def _the_reader_left() -> int:
    """Return 0 after `| head` has read enough: nothing more is said, nor flushed at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return DONE


def exit_code(error: Exception) -> int:
    """Return 1 for what is wrong inside data, 2 for the rest."""
    return NOT_VALID if isinstance(error, _ABOUT_DATA) else WRONG_USE


def tell_error(error: YaosuError | OSError, *, as_json: bool = False) -> int:
    """Say what went wrong in both languages, with every problem; returns the exit code."""
    told = error if isinstance(error, YaosuError) else _of_the_system(error)
    if as_json:
        print_json({"error": told.as_json()})
    note(Text(told.en, told.zh), mark="✗")
    if isinstance(told, InvalidDocument):
        print_problems(told.problems, to_stderr=True)
    return exit_code(told)


def _of_the_system(error: OSError) -> YaosuError:
    reason = system_reason(error)
    en, zh = (f"{error.filename!r}: ", f"“{error.filename}”：") if error.filename else ("", "")
    return YaosuError(
        f"{en}{reason.en}",
        f"{zh}{reason.zh}",
        path=str(error.filename or ""),
    )


def client(market: str | None = None, *, key_needed: bool = True) -> Client:
    """Return a client of the market that option, environment or settings file name."""
    from yaosu.client import Client
    from yaosu.errors import Unauthenticated
    from yaosu.settings import load

    found = load(market=market)
    if key_needed and not found.key:
        raise Unauthenticated(
            "this needs your access key: set YAOSU_KEY (a new party: `yaosu party register`)",
            "此操作需要访问密钥：请设置 YAOSU_KEY（新主体：yaosu party register）",
        )
    made = Client(found.market, found.key)
    if found.key and made.in_the_clear:
        note(
            Text(
                f"the key goes to {made.url} unencrypted: use https",
                f"密钥将以明文发送到 {made.url}，请使用 https",
            ),
            mark="!",
        )
    return made


# --- writing ----------------------------------------------------------------------------------


def console(*, to_stderr: bool = False) -> Console:
    """Return where results go, or notes; a pipe gets wide lines and no colour."""
    from rich.console import Console

    stream = sys.stderr if to_stderr else sys.stdout
    return Console(
        file=stream,
        width=None if stream.isatty() else WIDE,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=False,
    )


def _print(table: Table, *, to_stderr: bool = False) -> None:
    """Write a table in any encoding, without blanks at the ends of its lines."""
    where = console(to_stderr=to_stderr)
    with where.capture() as drawn:
        where.print(table)
    lines = "".join(f"{line.rstrip()}\n" for line in drawn.get().splitlines())
    _write(sys.stderr if to_stderr else sys.stdout, lines)


def print_json(value: Any) -> None:
    """Write one JSON document to stdout."""
    text = json.dumps(value, ensure_ascii=False, indent=2, default=str)
    _write(sys.stdout, text + "\n")


def printed(text: str) -> None:
    """Write text to stdout as it is."""
    _write(sys.stdout, text)


def say(*lines: Text | str) -> None:
    """Write sentences to stdout, the two languages on lines of their own."""
    for line in lines:
        for part in (line,) if isinstance(line, str) else line:
            if part:
                _write(sys.stdout, shown(part) + "\n")


def note(text: Text | str, *, mark: str = "") -> None:
    """Write a note to stderr."""
    for part in (text,) if isinstance(text, str) else text:
        if part:
            _write(sys.stderr, f"{mark} {shown(part)}\n" if mark else shown(part) + "\n")


def _write(stream: Any, text: str) -> None:
    """Write text whatever the encoding of the terminal can say."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(text.encode(encoding, "replace").decode(encoding))
    stream.flush()


def shown(value: object) -> str:
    """Return text without the characters that steer a terminal; line ends stay."""
    text = "" if value is None else str(value)
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        "\ufffd" if unicodedata.category(c) in ("Cc", "Cf", "Cs") and c != "\n" else c for c in text
    )


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, to_stderr: bool = False
) -> None:
    """Write rows under headings; long cells wrap, nothing is cut off."""
    from rich.table import Table
    from rich.text import Text as RichText

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(RichText(shown(cell)) for cell in row))
    _print(table, to_stderr=to_stderr)


def print_facts(facts: Mapping[str, object]) -> None:
    """Write names and values, one per line; what is empty is left out."""
    from rich.table import Table
    from rich.text import Text as RichText

    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        if value not in (None, "", [], {}):
            table.add_row(name, RichText(shown(value)))
    _print(table)


def print_problems(problems: Sequence[Problem], *, to_stderr: bool = False) -> None:
    """Write every problem with its place and both sentences, those of one kind on one line."""
    marks = {"error": "✗", "missing": "…", "warning": "!"}
    print_table(
        ("", "where 位置", "what is wrong 问题"),
        [
            (marks.get(p.severity, "·"), p.pointer or "/", f"{p.en}\n{p.zh}")
            for p in _together(problems)
        ],
        to_stderr=to_stderr,
    )


def _together(problems: Sequence[Problem]) -> list[Problem]:
    """Return the list with the two dozen yes-or-no statements on documentation as one line."""
    docs = [p for p in problems if p.pointer.startswith(_DOCS) and p.code == "missing"]
    if len(docs) < 2:
        return list(problems)
    names = ", ".join(p.pointer.removeprefix(_DOCS) for p in docs)
    one = Problem(
        pointer=_DOCS.rstrip("/"),
        code="missing",
        en=f"{len(docs)} statements are missing, each true, false, or where it is said: {names}",
        zh=f"{len(docs)} 项说明尚未填写，各填 true、false 或文档所在位置：{names}",
        severity=docs[0].severity,
    )
    at = problems.index(docs[0])
    return [*problems[:at], one, *(p for p in problems[at:] if p not in docs)]


def where_it_stands(thing_id: str, state: str, following: Sequence[str] | None) -> Text:
    """Return the state of a thing, and what can be done next."""
    steps = ", ".join(following or ())
    return Text(
        f"{thing_id} is '{state}'" + (f"; possible next: {steps}" if steps else ""),
        f"{thing_id} 状态：{state}" + (f"；可执行：{steps}" if steps else ""),
    )


def tell_approval(approval: dict[str, Any]) -> None:
    """Say that a colleague has to approve a step, and how to look after it."""
    name = approval["approval_id"]
    say(
        Text(
            f"nothing has changed yet: a colleague has to approve it: yaosu approvals show {name}",
            f"尚未生效：需同事审批：yaosu approvals show {name}",
        )
    )


def yuan(amount_fen: object) -> str:
    """Return an amount as people read it."""
    if not isinstance(amount_fen, int):
        return ""
    return "free 免费" if amount_fen == 0 else f"¥{amount_fen / 100:,.2f}"


def counted(files: int) -> str:
    """Return a number of files as people read it."""
    return f"{files} file{'s' * (files != 1)}"


def size(count: object) -> str:
    """Return a number of bytes as people read it."""
    if not isinstance(count, int):
        return ""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def confirmed(question: Text) -> bool:
    """Ask a person; without a terminal nobody can agree."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    note(question)
    return typer.confirm("  ?", err=True)


# --- progress ---------------------------------------------------------------------------------

STAGES = {
    "hash": "checking 校验",
    "upload": "sending 上传",
    "download": "fetching 下载",
    "read": "reading 读取",
}


class Watch:
    """Shows how long work stands, with rate and remaining time, where somebody is looking."""

    def __init__(self) -> None:
        self._bars: RichProgress | None = None
        self._tasks: dict[tuple[str, str], TaskID] = {}

    def __enter__(self) -> Watch:
        if sys.stderr.isatty():
            from rich.progress import (
                BarColumn,
                DownloadColumn,
                Progress,
                Task,
                TextColumn,
                TimeRemainingColumn,
                TransferSpeedColumn,
            )
            from rich.text import Text as Words

            class Speed(TransferSpeedColumn):
                """Rows and how many in a second, where there are rows; else bytes in a second."""

                def render(self, task: Task) -> Words:
                    rows: int = task.fields.get("rows") or 0
                    if not rows or not task.elapsed:
                        return super().render(task)
                    return Words(f"{rows:,} rows 行 {rows / task.elapsed:,.0f}/s")

            self._bars = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                DownloadColumn(binary_units=True),
                Speed(),
                TimeRemainingColumn(),
                console=console(to_stderr=True),
                transient=True,
            )
            self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def __call__(
        self, stage: str, name: str, done: int, total: int, *, key: str = "", rows: int = 0
    ) -> None:
        """Show one step; the shape is that of `transfer.Progress`.

        Steps with the same `key` share one bar, whose name may change.
        """
        if self._bars is None:
            return
        place = (stage, key or name)
        label = f"{STAGES.get(stage, stage)}  {shown(name)[-30:]}"
        if place not in self._tasks:
            if done >= total:
                return
            self._tasks[place] = self._bars.add_task(label, total=total)
        task = self._tasks[place]
        self._bars.update(task, description=label, completed=done, total=total, rows=rows)
        if done >= total:
            self._bars.remove_task(self._tasks.pop(place))
