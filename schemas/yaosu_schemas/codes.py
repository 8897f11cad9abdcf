"""Official and own code lists as data files, each with its origin and version.

`codes/index.csv` names every list, where it comes from and how sure that is (mark F: seen in a
stored copy of the text, R: recalled, D: our own design, X: executed). Lists that end in "等" or
that we made are open: a code outside is allowed where the field says so, never silently.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from yaosu_schemas.errors import NotFound, Text

_FOLDER = Path(__file__).parent / "codes"


@dataclass(frozen=True, slots=True)
class Entry:
    """One code, its names, and the other columns of its list."""

    code: str
    en: str
    zh: str
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> Text:
        return Text(self.en, self.zh)

    def __getitem__(self, column: str) -> str:
        return self.extra[column]


@dataclass(frozen=True, slots=True)
class CodeList:
    """An ordered list of codes with its provenance."""

    name: str
    title: Text
    version: str
    source: str
    mark: str
    open: bool
    entries: tuple[Entry, ...]
    _index: Mapping[str, Entry] = field(repr=False)

    def __contains__(self, code: object) -> bool:
        return isinstance(code, str) and code in self._index

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, code: str) -> Entry:
        return self._index[code]

    def get(self, code: str) -> Entry | None:
        return self._index.get(code)

    @property
    def codes(self) -> tuple[str, ...]:
        return tuple(self._index)

    def text(self, code: str) -> Text:
        """Return the names of a code; a code outside the list names itself."""
        entry = self._index.get(code)
        return entry.text if entry is not None else Text(code, code)

    def allows(self, code: str) -> bool:
        """Say whether a code may stand: it is listed, or the list is open and it is no typo."""
        import difflib

        if code in self._index or not self.open:
            return code in self._index
        return not difflib.get_close_matches(code[:80].lower(), self.codes, n=1, cutoff=0.8)

    def near(self, code: str, n: int = 3) -> list[str]:
        """Return codes that look like a mistyped one, by code or by either name."""
        import difflib

        names: dict[str, str] = {}
        for entry in self.entries:
            for name in (entry.code, entry.zh, entry.en):
                names.setdefault(name.lower(), entry.code)
        hits = difflib.get_close_matches(code[:80].lower(), names, n=n, cutoff=0.5)
        return list(dict.fromkeys(names[hit] for hit in hits))


@cache
def code_list(name: str) -> CodeList:
    """Return a list by name; NotFound names those that exist."""
    row = _lists().get(name)
    if row is None:
        raise NotFound(
            f"there is no code list {name[:80]!r}; there are: {', '.join(names())}",
            f"没有代码表“{name[:80]}”，现有：{'、'.join(names())}",
        )
    entries = tuple(
        Entry(
            code=r.pop("code"),
            zh=(zh := r.pop("zh")),
            # A name that nobody gave in English stays Chinese, rather than an invented one.
            en=r.pop("en") or zh,
            extra=r,
        )
        for r in _rows(f"{name}.csv")
    )
    return CodeList(
        name=name,
        title=Text(row["title"], row["title_zh"]),
        version=row["version"],
        source=row["source"],
        mark=row["mark"],
        open=row["open"] == "yes",
        entries=entries,
        _index={e.code: e for e in entries},
    )


def names() -> tuple[str, ...]:
    """Return the names of all lists, in the order of the index."""
    return tuple(_lists())


@cache
def _lists() -> dict[str, dict[str, str]]:
    return {row["name"]: row for row in _rows("index.csv")}


def _rows(file_name: str) -> list[dict[str, str]]:
    import csv

    with (_FOLDER / file_name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
