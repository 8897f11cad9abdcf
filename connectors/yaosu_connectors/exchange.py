"""Trading records in the words of an exchange: mappings that are data, applied both ways.

A mapping is a file in `forms/`: our path, their path, and if need be a code table, a unit or a
constant. No exchange has published its format: the files say so, and are there to be adapted.
A path ends in a value of any kind; `[]` stands for each item of a list, on both sides alike.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from typing import Any

from yaosu_schemas.codes import code_list
from yaosu_schemas.errors import InvalidDocument, InvalidInput, NotFound, Problem, Text
from yaosu_schemas.texts import clip

from . import trading_record
from .connector import About
from .published import Loss, Mapped

FOLDER = Path(__file__).parent / "forms"
BEIJING = timezone(timedelta(hours=8))
_YUAN = re.compile(r"([0-9]{1,13})\.([0-9]{2})")
_BEIJING = "%Y-%m-%d %H:%M:%S"
_UNITS = ("yuan", "beijing", "yes_no")
_LOSSY_UNITS: Mapping[str, str] = {"beijing": "to the second"}

JSON = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a mapping; without `ours` it is a constant of theirs."""

    ours: str
    theirs: str
    codes: str = ""
    unit: str = ""
    constant: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A mapping between the neutral record and the form of one exchange."""

    name: str
    version: str
    title: Text
    notice: Text
    lines: tuple[Line, ...]
    lost: Mapping[str, Text]
    tables: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def say(self, record: JSON) -> dict[str, Any]:
        """Return a record as their form; InvalidDocument for what has no word of theirs."""
        told: dict[str, Any] = {}
        found: list[Problem] = []
        for line in self.lines:
            if not line.ours:
                _push(told, _steps(line.theirs), (), line.constant)
                continue
            for index, value in _pull(record, _steps(line.ours)):
                try:
                    said = self._said(line, value)
                except ValueError:
                    found.append(_no_word(line.ours, index))
                else:
                    _push(told, _steps(line.theirs), index, said)
        if found:
            raise InvalidDocument(found)
        return told

    def read(self, form: object) -> tuple[dict[str, Any], tuple[Problem, ...]]:
        """Return their form as a record, and what of it has no word of ours.

        InvalidDocument for a value that is none of theirs, and for a constant that differs.
        """
        if not isinstance(form, Mapping):
            raise InvalidInput("a form is a JSON object", "表单应为 JSON 对象")
        record: dict[str, Any] = {}
        found: list[Problem] = []
        for line in self.lines:
            for index, value in _pull(form, _steps(line.theirs)):
                try:
                    if not line.ours:
                        _same(line.constant, value)
                    else:
                        _push(record, _steps(line.ours), index, self._heard(line, value))
                except ValueError:
                    found.append(_no_word(line.theirs, index))
        if found:
            raise InvalidDocument(found)
        known = {line.theirs for line in self.lines}
        strange = [p for p in _leaves(form) if not _covered(p, known)]
        return record, tuple(_unknown(path) for path in strange[:50])

    def _said(self, line: Line, value: Any) -> Any:
        if line.codes:
            return _looked_up(self.tables[line.codes], value)
        match line.unit:
            case "yuan" if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
                return f"{value // 100}.{value % 100:02}"
            case "beijing" if isinstance(value, str):
                at = datetime.fromisoformat(value)
                if at.tzinfo is None:
                    raise ValueError
                return at.astimezone(BEIJING).strftime(_BEIJING)
            case "yes_no" if isinstance(value, bool):
                return "是" if value else "否"
            case "":
                return value
        raise ValueError

    def _heard(self, line: Line, value: Any) -> Any:
        if line.codes:
            return _looked_up({v: k for k, v in self.tables[line.codes].items()}, value)
        match line.unit:
            case "yuan" if isinstance(value, str) and (money := _YUAN.fullmatch(value)):
                return int(money[1]) * 100 + int(money[2])
            case "beijing" if isinstance(value, str) and value.isascii():
                at = datetime.strptime(value, _BEIJING).replace(tzinfo=BEIJING)
                return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
            case "yes_no" if value in ("是", "否"):
                return value == "是"
            case "":
                return value
        raise ValueError

    @property
    def lossy(self) -> frozenset[str]:
        """Our paths that do not come back as they went."""
        changed = {line.ours for line in self.lines if line.unit in _LOSSY_UNITS}
        return frozenset(changed | set(self.lost))

    def mapped(self) -> Iterator[Mapped]:
        """Yield the lines as the documentation shows them."""
        for line in self.lines:
            if not line.ours:
                yield Mapped("–", f"`{line.theirs}`", f"always `{line.constant}`")
                continue
            loss: Loss = "changed" if line.unit in _LOSSY_UNITS else ""
            note = f"codes `{line.codes}`" if line.codes else _UNIT_NOTES.get(line.unit, "")
            yield Mapped(line.ours, f"`{line.theirs}`", note, loss)
        for path, why in self.lost.items():
            yield Mapped(path, "", why.en, "lost")


_UNIT_NOTES = {
    "yuan": "yuan with two decimals",
    "beijing": "Beijing time, to the second",
    "yes_no": "是, 否",
}


def names() -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


@cache
def form(name: str) -> Form:
    """Return the mapping of an exchange; NotFound names those there are."""
    if name not in names():
        raise NotFound(
            f"no such form: {clip(name)}; there are: {', '.join(names())}",
            f"没有该交易场所的映射：{clip(name)}；现有：{'、'.join(names())}",
            kind="form",
            id=clip(name),
        )
    return load_form(FOLDER / f"{name}.toml")


def load_form(path: Path) -> Form:
    """Read a mapping file, one's own too; InvalidInput says what is wrong with it."""
    try:
        said = tomllib.loads(path.read_text("utf-8"))
        lines = tuple(Line(**{"ours": "", **entry}) for entry in said["fields"])
        made = Form(
            name=said["name"],
            version=said["version"],
            title=Text(**said["title"]),
            notice=Text(**said["notice"]),
            lines=lines,
            lost={entry["ours"]: Text(entry["en"], entry["zh"]) for entry in said.get("lost", ())},
            tables={name: _table(name, said.get("codes", {})) for name in _named(lines)},
        )
        _check(made)
    except (KeyError, TypeError, ValueError, NotFound) as error:
        raise InvalidInput(
            f"{path.name} is no mapping: {type(error).__name__} {clip(str(error))}",
            f"{path.name} 不是有效的映射文件：{clip(str(error))}",
        ) from None
    return made


def _named(lines: Iterable[Line]) -> set[str]:
    return {line.codes for line in lines if line.codes}


def _table(name: str, given: Mapping[str, Mapping[str, str]]) -> Mapping[str, str]:
    """Return a code table: of the file, or the Chinese words of our own list of that name."""
    table = given.get(name) or {entry.code: entry.zh for entry in code_list(name)}
    if len(set(table.values())) != len(table):
        raise ValueError(f"two codes of {name} have one word")
    return table


def _check(made: Form) -> None:
    ours = [line.ours for line in made.lines if line.ours]
    theirs = [line.theirs for line in made.lines]
    for path in (*ours, *theirs):
        if not all(_steps(path)):
            raise ValueError(f"not a path: {path}")
    if len(set(ours)) != len(ours) or len(set(theirs)) != len(theirs):
        raise ValueError("a path stands twice")
    for line in made.lines:
        if line.ours and line.ours.count("[]") != line.theirs.count("[]"):
            raise ValueError(f"lists differ: {line.ours}")
        if line.unit and line.unit not in _UNITS:
            raise ValueError(f"no such unit: {line.unit}")


# --- paths ------------------------------------------------------------------------------------


@cache
def _steps(path: str) -> tuple[str, ...]:
    return tuple(path.replace("[]", ".[]").split("."))


def _pull(
    node: Any, steps: Sequence[str], index: tuple[int, ...] = ()
) -> Iterator[tuple[tuple[int, ...], Any]]:
    """Yield every value at a path, with its place in the lists on the way."""
    if not steps:
        yield index, node
    elif steps[0] == "[]":
        for number, item in enumerate(node if isinstance(node, list) else ()):
            yield from _pull(item, steps[1:], (*index, number))
    elif isinstance(node, Mapping) and steps[0] in node:
        yield from _pull(node[steps[0]], steps[1:], index)


def _push(node: Any, steps: Sequence[str], index: tuple[int, ...], value: Any) -> None:
    """Set a value at a path, making what is missing on the way."""
    for number, step in enumerate(steps):
        last = number == len(steps) - 1
        inner: Any = value if last else [] if steps[number + 1] == "[]" else {}
        if step == "[]":
            place, index = index[0], index[1:]
            while len(node) <= place:
                node.append(type(inner)() if not last else None)
            if last:
                node[place] = value
            node = node[place]
        elif last:
            node[step] = value
        else:
            node = node.setdefault(step, inner)


def _leaves(node: Any, path: str = "") -> Iterator[str]:
    if isinstance(node, Mapping):
        for key, inner in node.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list):
        for inner in node:
            yield from _leaves(inner, f"{path}[]")
    else:
        yield path


def _covered(path: str, known: set[str]) -> bool:
    """Say whether a path, or one that leads to it, is known."""
    steps = _steps(path)
    return any(steps[: len(_steps(k))] == _steps(k) for k in known)


def _looked_up(table: Mapping[str, str], value: Any) -> str:
    if not isinstance(value, str) or value not in table:
        raise ValueError
    return table[value]


def _same(wanted: Any, value: Any) -> None:
    if value != wanted or type(value) is not type(wanted):
        raise ValueError


def _no_word(path: str, index: tuple[int, ...]) -> Problem:
    """Say at which place a value cannot be said; the value itself is nobody's business here."""
    pointer = "/" + path.replace(".", "/")
    for number in index:
        pointer = pointer.replace("[]", f"/{number}", 1)
    return Problem(
        pointer=pointer,
        code="no_word",
        en="this value has no counterpart in the mapping",
        zh="该值在映射中没有对应",
    )


def _unknown(path: str) -> Problem:
    return Problem(
        pointer="/" + clip(path).replace(".", "/"),
        code="unknown",
        en="the mapping does not know this field: it was left out",
        zh="映射中没有该字段，已略去",
        severity="warning",
    )


# --- as connectors ----------------------------------------------------------------------------


class ExchangeForms(trading_record.TradingRecords):
    """Harvests and publishes a folder of one exchange's forms, one JSON file for each trade."""

    form_name, suffix = "generic", ".generic.json"

    def about(self) -> About:
        made = form(self.form_name)
        return About(
            name=self.form_name,
            title=Text(f"{made.title.en} (adapt before use)", f"{made.title.zh}（使用前须适配）"),
            speaks=(f"{made.name} {made.version}: {made.notice.en}",),
            kinds=("trade",),
        )

    def say(self, record: JSON) -> dict[str, Any]:
        return form(self.form_name).say(record)

    def hear(self, document: Any) -> tuple[dict[str, Any], tuple[Problem, ...]]:
        return form(self.form_name).read(document)


class Guangzhou(ExchangeForms):
    """Forms for Guangzhou Data Exchange."""

    form_name, suffix = "gzdex", ".gzdex.json"


class Shenzhen(ExchangeForms):
    """Forms for Shenzhen Data Exchange."""

    form_name, suffix = "szdex", ".szdex.json"
