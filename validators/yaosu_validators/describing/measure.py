"""Reads the files of one resource once each: bytes, digest, and what their kind can tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from yaosu_schemas.errors import Text
from yaosu_validators.media import Media, probe

from .archives import Listing, list_archive
from .inventory import Found, Group, digest_of, stem_of
from .language import Languages
from .shapes import Shape, shape_of
from .tables import Table, read_table

POSING = {
    "lfs-pointer": Text(
        "it is a Git-LFS pointer, not the data: fetch it with `git lfs pull`",
        "这是 Git LFS 指针而非数据本身，请先执行 git lfs pull",
    ),
    "html-page": Text(
        "it is an HTML page, as servers send instead of a file", "这是 HTML 页面，而非所声明的数据"
    ),
}
_PROBED = frozenset(("image", "audio", "video"))
_UNSEEN = frozenset(("svg", "heic", "flv", "mpg", "avif"))  # headers of these are not read


@dataclass(frozen=True, slots=True)
class Part:
    """One file as measured."""

    path: str
    size_bytes: int
    hash: str


@dataclass(slots=True)
class Measured:
    """One resource-to-be: its files and what was found in them."""

    group: Group
    parts: list[Part] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    media: list[Media | None] = field(default_factory=list)
    listings: list[Listing] = field(default_factory=list)
    troubles: list[tuple[str, str, Text]] = field(default_factory=list)

    @property
    def first(self) -> Found:
        return self.group.first

    @property
    def family(self) -> str:
        return self.first.kind.family

    @property
    def size_bytes(self) -> int:
        return sum(part.size_bytes for part in self.parts)

    @property
    def format(self) -> str:
        return self.tables[0].format if self.tables else self.first.kind.format

    @property
    def fields(self) -> list[dict[str, object]]:
        return self.tables[0].fields if self.tables else []

    @property
    def rows(self) -> int | None:
        """The records of a table, of a text, of a shard; None where nothing counts them."""
        if self.tables:
            return sum(table.rows for table in self.tables)
        if self.listings and self.format == "tar":
            return sum(listing.samples for listing in self.listings)
        return None

    @property
    def shape(self) -> Shape:
        types = {str(f["name"]): str(f["type"]) for f in self.fields}
        return shape_of(types, self.first.split)

    @property
    def wordy(self) -> bool:
        return any(table.wordy for table in self.tables)

    @property
    def languages(self) -> Languages:
        tally = Languages()
        for table in self.tables:
            tally.merge(table.languages)
        return tally

    @property
    def sound(self) -> bool:
        """Whether every row could be read: only then is their number worth declaring."""
        return all(code == "format-mismatch" for _, code, _ in self.troubles)

    def trouble(self, path: str, code: str, text: Text) -> None:
        self.troubles.append((path, code, text))


Tell = Callable[[str, int], None]
Broken = Mapping[str, tuple[str, Text]]


def measure(base: Path, group: Group, tell: Tell, broken: Broken) -> Iterator[Measured]:
    """Yield what a group is: one resource, or one each where its shards are not of one shape.

    `tell(path, bytes)` is called before and while a file is read; what is in `broken` (a code
    and a sentence by path) is only hashed, because a reader fell over it before.
    """
    ones = [_measure_file(base, file, tell, broken.get(file.path)) for file in group.files]
    if group.sharded and not _of_one_shape([one.tables for one in ones]):
        yield from ones
        return
    whole = Measured(group)
    for one in ones:
        whole.parts += one.parts
        whole.tables += one.tables
        whole.media += one.media
        whole.listings += one.listings
        whole.troubles += one.troubles
    yield whole


def _of_one_shape(tables: list[list[Table]]) -> bool:
    shapes = {
        (table.format, table.encoding, str(table.dialect), str(table.fields))
        for one in tables
        for table in one
    }
    return len(shapes) <= 1 and len({len(one) for one in tables}) == 1


def _measure_file(base: Path, file: Found, tell: Tell, broken: tuple[str, Text] | None) -> Measured:
    one = Measured(Group(stem_of(file), (file,)))
    path = base / file.path
    tell(file.path, 0)
    hash_, size_bytes = digest_of(path, lambda n: tell(file.path, n))
    one.parts.append(Part(file.path, size_bytes, hash_))
    if broken is not None:
        one.trouble(file.path, *broken)
        return one
    if file.posing:
        one.trouble(file.path, file.posing, POSING[file.posing])
        return one
    if file.mislabelled is not None:
        one.trouble(
            file.path,
            "format-mismatch",
            Text(
                f"it is named like {file.mislabelled.format} and its bytes are {file.kind.format}",
                f"文件名为 {file.mislabelled.format}，实际内容为 {file.kind.format}",
            ),
        )
    if size_bytes == 0:
        one.trouble(file.path, "source-error", Text("it is empty", "文件为空"))
        return one
    _read(path, file, one)
    return one


def _read(path: Path, file: Found, one: Measured) -> None:
    format_ = file.kind.format
    if file.role == "documentation":
        return
    if file.kind.family in _PROBED and not file.compression:
        seen = probe(path, file.kind)
        one.media.append(seen)
        if seen is None and format_ not in _UNSEEN:
            one.trouble(
                file.path,
                "unreadable-media",
                Text(f"its {format_} header cannot be read", f"无法读取 {format_} 文件头"),
            )
    elif format_ in ("tar", "zip"):
        listing = list_archive(path, format_, file.compression)
        one.listings.append(listing)
        one.troubles += [(file.path, code, text) for code, text in listing.troubles]
    elif file.kind.family in ("table", "text") or format_ == "idx":
        table = read_table(path, format_, file.compression)
        if table.rows or table.fields or table.troubles:
            one.tables.append(table)
        one.troubles += [(file.path, code, text) for code, text in table.troubles]
