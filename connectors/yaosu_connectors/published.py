"""One published version as every other catalog's words are made of: facts, and no database."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Literal
from urllib.parse import quote


@dataclass(frozen=True, kw_only=True)  # no slots: what is asked for again and again is kept
class Published:
    """A version of a dataset with what the market adds to its descriptor.

    `base` is the address of the market, without a slash at its end; `dataset_id` ends in the
    32 hexadecimal digits of a UUID.
    """

    dataset_id: str
    publisher: str
    publisher_name: str
    publisher_name_en: str = ""
    name: str
    number: int = 1
    descriptor: Mapping[str, Any]
    state: str = "listed"
    private: bool = False
    created_at: datetime
    updated_at: datetime
    listed_at: datetime | None = None
    base: str
    previous: int | None = None

    @cached_property
    def uuid(self) -> str:
        return str(uuid.UUID(self.dataset_id[-32:]))

    @cached_property
    def page(self) -> str:
        """The address of the page of the dataset."""
        return f"{self.base}/datasets/{quote(self.publisher)}/{quote(self.name)}"

    @cached_property
    def element(self) -> Mapping[str, Any]:
        found = self.descriptor.get("dataElement")
        return found if isinstance(found, dict) else {}

    @cached_property
    def resources(self) -> list[dict[str, Any]]:
        return [r for r in self.descriptor.get("resources") or () if isinstance(r, dict)]

    @cached_property
    def sample(self) -> str | None:
        """The resource whose rows anyone may see."""
        offer = self.element.get("offer")
        trial = offer.get("trial") if isinstance(offer, dict) else None
        name = trial.get("resource") if isinstance(trial, dict) else None
        return str(name) if name else None

    def file_url(self, path: str) -> str:
        """Return the address of a file of the package: beside its descriptor."""
        return f"{self.page}/{quote(path)}"


Loss = Literal["", "lost", "changed"]


@dataclass(frozen=True, slots=True)
class Mapped:
    """One line of a mapping: our field, their field, and what a journey there and back loses."""

    ours: str
    theirs: str
    note: str = ""
    loss: Loss = ""


def table(mapped: Iterable[Mapped]) -> Iterator[str]:
    """Yield a mapping as lines of a Markdown table."""
    yield "| ours | theirs | there and back |"
    yield "|---|---|---|"
    for line in mapped:
        theirs = line.theirs or "–"
        fate = {"": "kept", "lost": "**lost**", "changed": "**changed**"}[line.loss]
        yield f"| `{line.ours}` | {theirs} | {fate}{': ' + line.note if line.note else ''} |"


def utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


def files_of(resource: Mapping[str, Any]) -> Iterator[tuple[str, str, int | None]]:
    """Yield (path, sha256 hex or "", bytes) of every file of a resource."""
    path = resource.get("path")
    if isinstance(path, str):
        yield path, _hex(resource.get("hash")), _size(resource.get("bytes"))
        return
    parts = {p.get("path"): p for p in resource.get("parts") or () if isinstance(p, dict)}
    for name in path if isinstance(path, list) else ():
        part = parts.get(name, {})
        yield str(name), _hex(part.get("hash")), _size(part.get("bytes"))


def _hex(value: object) -> str:
    return value[7:] if isinstance(value, str) and value.startswith("sha256:") else ""


def _size(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
