"""Checks that look at files instead of rows, and the one pass that shows the files to them.

The files of a target are cut into parts by a fixed rule, every part gives the states of all checks,
and states are merged in the order of the paths: any engine and number of workers comes to the same.
Members of tar and zip archives are files too (one level deep). Links are never followed.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, ClassVar, Literal, Protocol, TypeVar, cast

from yaosu_schemas.errors import Text
from yaosu_schemas.paths import path_problem
from yaosu_schemas.texts import clip

from .check import Chosen, Conclusion, Finding
from .media import HEAD_BYTES, UNKNOWN, Kind, by_content, by_name
from .streams import (
    CHUNK,
    FREE_BYTES,
    MAX_RATIO,
    SourceProblem,
    decompressed,
    open_file,
    open_zip,
    problem,
)
from .tars import TarProblem, members

PART_FILES = 64
PART_BYTES = 64 << 20
MEMBER_MARK = "!/"  # "shard.tar!/0001.jpg", as addresses of members are written elsewhere
_IN_MEMORY = 16 << 20
S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class FileItem:
    """One file, or one member of an archive; `path` lies inside the target."""

    path: str
    size: int
    open: Callable[[], BinaryIO]
    kind: Kind  # by its first bytes; where they say nothing, by its name
    declared: Kind | None = None  # by its name
    detected: Kind | None = None  # by its first bytes
    head: bytes = b""


@dataclass(frozen=True, slots=True)
class PackageFiles:
    """All files of a target: their sizes, whose resource they are, and their bytes."""

    root: Path
    sizes: Mapping[str, int]
    owners: Mapping[str, str] = field(default_factory=dict)  # path to the name of its resource
    resources: tuple[str, ...] = ()

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading; SourceProblem if it is none or goes through a link."""
        return _again(self.root, path)()

    def read(self, path: str, limit: int) -> bytes:
        """Return the content of a small file; SourceProblem if it is larger than `limit`."""
        with self.open(path) as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise problem(
                "resource-limit",
                f"{clip(path)!r} is larger than {limit} bytes",
                f"“{clip(path)}”超过 {limit} 字节",
            )
        return data

    def resource_of(self, path: str) -> str:
        """Return the resource that a file or member belongs to; "" for the target itself."""
        return self.owners.get(path.split(MEMBER_MARK, 1)[0], "")


class FileCheck(Protocol[S]):
    """Sees the files it wants once, in the order of their paths; concludes over all of them.

    Its dataclass fields are its options. A state survives `pickle`; the conclusion does not depend
    on how the files were cut into parts. A finding with the resource "" is one of the target.
    """

    sees: ClassVar[Literal["files"]]

    def wants(self, path: str, kind: Kind, /) -> bool: ...
    def start(self) -> S: ...
    def observe(self, state: S, item: FileItem, /) -> S: ...
    def merge(self, left: S, right: S, /) -> S: ...
    def conclude(self, state: S, package: PackageFiles, /) -> Conclusion: ...


@dataclass(slots=True)
class Seen:
    """What a part came to: a state per check, what could not be opened, and counts."""

    states: list[object]
    problems: list[tuple[str, Finding]] = field(default_factory=list)  # path inside the target
    files: int = 0
    members: int = 0
    digests: list[tuple[str, str]] = field(default_factory=list)  # path, SHA-256


@dataclass(frozen=True, slots=True)
class FilePart:
    """Some files of a target and the checks that look at them; it can be pickled."""

    root: Path
    paths: tuple[str, ...]
    checks: tuple[Chosen, ...]
    hashed: frozenset[str] = frozenset()  # those of them whose digest is wanted

    def see(self) -> Seen:
        """Show every file to the checks that want it, wherever this runs."""
        folds: list[FileCheck[object]] = [chosen.make() for chosen in self.checks]
        seen = Seen([fold.start() for fold in folds])
        for path in self.paths:
            try:
                with open_file(self.root, path) as file:
                    size = file.seek(0, io.SEEK_END)
                    item = _item(path, size, _again(self.root, path), cast(BinaryIO, file))
                    if path in self.hashed:
                        file.seek(0)
                        seen.digests.append(
                            (path, hashlib.file_digest(cast(io.FileIO, file), "sha256").hexdigest())
                        )
                _show(folds, seen, item)
                seen.files += 1
                for member in _members(item):
                    _show(folds, seen, member)
                    seen.members += 1
            except SourceProblem as why:
                found = why.finding
                note = Text(f"{clip(path)}: {found.note.en}", f"{clip(path)}：{found.note.zh}")
                seen.problems.append((path, replace(found, note=note, severity="warning")))
        return seen


@dataclass(frozen=True, slots=True)
class Looked:
    """What all checks concluded, in their order; findings about files that no check could open."""

    conclusions: tuple[Conclusion, ...]
    findings: tuple[tuple[str, Finding], ...]
    files: int
    members: int
    digests: tuple[tuple[str, str], ...]  # of the files that belong to no resource


Run = Callable[[Callable[[FilePart], Seen], Sequence[FilePart]], Iterable[Seen]]


def files_of(
    root: Path, owners: Mapping[str, str] | None = None, only: Sequence[str] | None = None
) -> PackageFiles:
    """Return the regular files below a folder, or some of them; hidden ones and links are not."""
    owners = owners or {}
    sizes: dict[str, int] = {}
    for path in only if only is not None else _walked(root):
        full = root / path
        if path_problem(path) is None and full.is_file() and not full.is_symlink():
            sizes[path] = full.stat().st_size
    resources = tuple(sorted({*owners.values()}))
    return PackageFiles(root, dict(sorted(sizes.items())), owners, resources)


def _walked(root: Path) -> Iterator[str]:
    for base, dirs, names in os.walk(root, followlinks=False):
        dirs[:] = sorted(d for d in dirs if not d.startswith("."))
        for name in names:
            yield Path(os.path.relpath(os.path.join(base, name), root)).as_posix()


def look(
    package: PackageFiles,
    checks: Sequence[Chosen],
    run: Run = map,
    *,
    progress: Callable[..., None] | None = None,
) -> Looked:
    """Show all files of a target to the checks; `run` maps parts to what was seen, in order."""
    folds: list[FileCheck[object]] = [chosen.make() for chosen in checks]
    seen = Seen([fold.start() for fold in folds])
    parts = list(file_parts(package, checks))
    done, total = 0, sum(package.sizes.values())
    for part, more in zip(parts, run(FilePart.see, parts), strict=True):
        if progress is not None:
            done += sum(package.sizes[path] for path in part.paths)
            progress(done=done, total=total, rows=0, name=part.paths[-1])
        pairs = zip(folds, seen.states, more.states, strict=True)
        seen.states = [fold.merge(left, right) for fold, left, right in pairs]
        seen.problems += more.problems[: max(0, 1000 - len(seen.problems))]
        seen.digests += more.digests
        seen.files += more.files
        seen.members += more.members
    concluded = (f.conclude(s, package) for f, s in zip(folds, seen.states, strict=True))
    findings = tuple((package.resource_of(path), found) for path, found in seen.problems)
    return Looked(tuple(concluded), findings, seen.files, seen.members, tuple(seen.digests))


def file_parts(package: PackageFiles, checks: Sequence[Chosen]) -> Iterator[FilePart]:
    """Cut the files into parts by their sizes alone; what no resource reads is hashed here."""
    loose = frozenset(package.sizes) - frozenset(package.owners)
    paths: list[str] = []
    size = 0
    for path, bytes_ in sorted(package.sizes.items()):
        if paths and (len(paths) >= PART_FILES or size + bytes_ > PART_BYTES):
            yield FilePart(package.root, tuple(paths), tuple(checks), loose & frozenset(paths))
            paths, size = [], 0
        paths.append(path)
        size += bytes_
    if paths:
        yield FilePart(package.root, tuple(paths), tuple(checks), loose & frozenset(paths))


def _again(root: Path, path: str) -> Callable[[], BinaryIO]:
    return lambda: cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, open_file(root, path))))


def _item(path: str, size: int, open_: Callable[[], BinaryIO], file: BinaryIO) -> FileItem:
    file.seek(0)
    head = file.read(HEAD_BYTES) or b""
    declared = by_name(path)[0]
    detected = by_content(head)
    return FileItem(path, size, open_, detected or declared or UNKNOWN, declared, detected, head)


def _show(folds: Sequence[FileCheck[object]], seen: Seen, item: FileItem) -> None:
    for number, fold in enumerate(folds):
        if fold.wants(item.path, item.kind):
            seen.states[number] = fold.observe(seen.states[number], item)


def _members(item: FileItem) -> Iterator[FileItem]:
    """Yield the members of an archive; those with bad names are for the check of shards."""
    if is_tar(item):
        with plain_tar(item) as (file, _):
            try:
                for member in members(file):
                    if member.kind == "file" and path_problem(member.name) is None:
                        at, size = member.offset, member.size
                        path = item.path + MEMBER_MARK + member.name
                        window = _window(file, at, size)
                        yield _item(path, size, window, window())
            except TarProblem:
                return  # said by the check of shards
    elif item.kind.format == "zip" and item.declared in (None, item.kind):
        yield from _zip_members(item)


def is_tar(item: FileItem) -> bool:
    """Say whether a file is a tar archive, packed or not."""
    if item.declared is not None and item.declared.format == "tar":
        return True
    return item.kind.format == "tar"


@contextmanager
def plain_tar(item: FileItem) -> Iterator[tuple[BinaryIO, int]]:
    """Give the bytes of a tar archive, unpacked within limits, and how many there are."""
    compression = by_name(item.path)[1] or None
    if compression is None or (item.detected is not None and item.detected.format == "tar"):
        with item.open() as file:
            yield file, item.size
        return
    with item.open() as raw, tempfile.TemporaryFile(prefix="yaosu-tar-") as plain:
        with decompressed(cast(io.RawIOBase, raw), compression, None, size=item.size) as (
            source,
            _,
        ):
            size = 0
            while chunk := source.read(CHUNK):
                size += plain.write(chunk)
        plain.seek(0)
        yield cast(BinaryIO, plain), size


def _window(file: BinaryIO, at: int, size: int) -> Callable[[], BinaryIO]:
    return lambda: cast(BinaryIO, io.BufferedReader(_Window(file, at, size)))


class _Window(io.RawIOBase):
    """A range of a file, as a file of its own; closing it leaves the outer file open."""

    def __init__(self, file: BinaryIO, at: int, size: int) -> None:
        self._file, self._start, self._size, self._at = file, at, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        base = (0, self._at, self._size)[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast(bytearray, buffer)).cast("B")[: max(0, self._size - self._at)]
        self._file.seek(self._start + self._at)
        data = self._file.read(len(view))
        view[: len(data)] = data
        self._at += len(data)
        return len(data)


def _zip_members(item: FileItem) -> Iterator[FileItem]:
    with item.open() as raw:
        archive = open_zip(raw)
        left = max(FREE_BYTES, MAX_RATIO * item.size)
        for info in archive.infolist():
            if info.is_dir() or info.flag_bits & 1 or path_problem(info.filename) is not None:
                continue
            if (info.external_attr >> 16) & 0o170000 == 0o120000:
                continue  # a link
            with tempfile.SpooledTemporaryFile(_IN_MEMORY, prefix="yaosu-zip-") as plain:
                size = _unpack(archive, info, cast(BinaryIO, plain), left)
                left -= size
                window = _window(cast(BinaryIO, plain), 0, size)
                yield _item(item.path + MEMBER_MARK + info.filename, size, window, window())


def _unpack(archive: zipfile.ZipFile, info: zipfile.ZipInfo, sink: BinaryIO, limit: int) -> int:
    size = 0
    try:
        with archive.open(info) as source:
            while chunk := source.read(CHUNK):
                size += sink.write(chunk)
                if size > limit:
                    raise problem(
                        "resource-limit",
                        f"it unpacks to more than {MAX_RATIO} times its size",
                        f"解压后超过原大小的 {MAX_RATIO} 倍",
                    )
    except (zipfile.BadZipFile, EOFError, NotImplementedError, OSError, ValueError) as why:
        raise problem(
            "compression-error", f"a member is broken: {str(why)[:120]}", "压缩包成员已损坏"
        ) from None
    except zipfile.zlib.error:  # type: ignore[attr-defined]
        raise problem("compression-error", "a member is broken", "压缩包成员已损坏") from None
    return size
