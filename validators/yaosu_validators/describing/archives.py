"""What an archive lists, without unpacking it: its samples, and names not to be trusted."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from yaosu_schemas.errors import Text, YaosuError
from yaosu_schemas.paths import path_problem
from yaosu_validators.media import by_name

from .bytestream import open_bytes

_MOST_MEMBERS = 10_000_000


@dataclass(slots=True)
class Listing:
    """The members of one archive; samples share the name before the first dot (WebDataset)."""

    members: int = 0
    samples: int = 0
    families: dict[str, int] = field(default_factory=dict)
    troubles: list[tuple[str, Text]] = field(default_factory=list)

    def add(self, name: str) -> None:
        self.members += 1
        kind, _ = by_name(name)
        if kind is not None:
            self.families[kind.family] = self.families.get(kind.family, 0) + 1

    def trouble(self, code: str, en: str, zh: str) -> None:
        if all(code != known for known, _ in self.troubles):
            self.troubles.append((code, Text(en, zh)))


def list_archive(path: Path, format_: str, compression: str = "") -> Listing:
    """Return what a tar or zip file holds; damage is among `troubles`, never an exception."""
    listing = Listing()
    names = (
        _zip_names(path, listing) if format_ == "zip" else _tar_names(path, compression, listing)
    )
    key = ""
    try:
        for name in names:
            listing.add(name)
            sample = _sample_key(name)
            listing.samples += sample != key
            key = sample
            if listing.members >= _MOST_MEMBERS:
                break
    except YaosuError as why:
        listing.trouble(why.code, why.en, why.zh)
    except MemoryError:
        raise
    except Exception:  # headers of strangers make the libraries raise anything
        listing.trouble(
            "malformed", "the archive is damaged or cut short", "归档文件已损坏或不完整"
        )
    return listing


def _sample_key(name: str) -> str:
    folder, _, base = name.rpartition("/")
    return f"{folder}/{base.split('.', 1)[0]}"


def _tar_names(path: Path, compression: str, listing: Listing) -> Iterator[str]:
    with (
        open_bytes(path, compression) as source,
        tarfile.open(fileobj=source, mode="r|", errors="replace") as archive,
    ):
        for member in archive:
            archive.members = []  # type: ignore[attr-defined]  # it keeps every header otherwise
            if member.isdir():
                continue
            if not member.isreg():
                listing.trouble(
                    "unsafe-member",
                    "it holds links or devices, which are never unpacked",
                    "包含链接或设备文件，不会解包",
                )
                continue
            _judge(member.name.removeprefix("./"), listing)
            yield member.name


def _zip_names(path: Path, listing: Listing) -> Iterator[str]:
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if entry.is_dir():
                continue
            if entry.flag_bits & 1:
                listing.trouble(
                    "encrypted", "it is encrypted: nobody can judge it", "文件已加密，无法检验"
                )
            _judge(entry.filename, listing)
            yield entry.filename


def _judge(name: str, listing: Listing) -> None:
    problem = path_problem(name)
    if problem is not None:
        listing.trouble(
            "unsafe-member",
            f"the name of a member is not safe: {problem.en}",
            f"归档成员的名称不安全：{problem.zh}",
        )
