"""Archives as targets: members are streamed into a scratch folder, within limits, links refused."""

from __future__ import annotations

import stat
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from yaosu_schemas.errors import UnsafePath
from yaosu_schemas.paths import safe_path

from .streams import FREE_BYTES, MAX_RATIO, open_zip, problem

MAX_UNPACKED = 16 << 30


@contextmanager
def unpacked(path: Path, descriptors: Sequence[str]) -> Iterator[Path | None]:
    """Give a folder with the members, where the archive holds a package or several files.

    None for one compressed file, which is read as it is. SourceProblem over a limit.
    """
    with path.open("rb") as raw:
        archive = open_zip(raw)
        members = [i for i in archive.infolist() if not i.is_dir() and not _hidden(i.filename)]
        named = any(i.filename.rsplit("/", 1)[-1] in descriptors for i in members)
        if not named and len(members) < 2:
            yield None
            return
        with tempfile.TemporaryDirectory(prefix="yaosu-zip-") as folder:
            _extract(archive, members, Path(folder), path.stat().st_size)
            yield Path(folder)


def members(raw: IO[bytes]) -> list[str]:
    """Return the names of the files in an archive; SourceProblem if it is none."""
    found = (i for i in open_zip(raw).infolist() if not i.is_dir())
    return [i.filename for i in found if not _hidden(i.filename)]


def _extract(
    archive: zipfile.ZipFile, members: list[zipfile.ZipInfo], folder: Path, size: int
) -> None:
    limit = min(MAX_UNPACKED, max(FREE_BYTES, MAX_RATIO * size))
    for info in members:
        target = folder / _checked(info)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with archive.open(info) as source, target.open("xb") as sink:
                while chunk := source.read(1 << 20):
                    limit -= len(chunk)
                    if limit < 0:
                        raise problem(
                            "resource-limit",
                            f"it unpacks to more than {MAX_RATIO} times its size",
                            f"解压后超过原大小的 {MAX_RATIO} 倍",
                        )
                    sink.write(chunk)
        except (zipfile.BadZipFile, EOFError, NotImplementedError, OSError, ValueError) as why:
            raise problem(
                "compression-error", f"a member is broken: {str(why)[:120]}", "压缩包成员已损坏"
            ) from None


def _hidden(name: str) -> bool:
    """Say whether a member is what file managers leave behind; such are never data."""
    parts = name.split("/")
    return parts[0] == "__MACOSX" or any(p.startswith(".") and p.strip(".") for p in parts)


def _checked(info: zipfile.ZipInfo) -> str:
    if stat.S_ISLNK(info.external_attr >> 16):
        raise problem(
            "unsafe-path",
            f"member {info.filename[:80]!r} is a link",
            f"成员“{info.filename[:80]}”是链接",
        )
    if info.flag_bits & 0x1:
        raise problem(
            "encrypted-archive",
            f"member {info.filename[:80]!r} needs a password",
            f"成员“{info.filename[:80]}”需要密码",
        )
    try:
        return safe_path(info.filename)
    except UnsafePath as why:
        raise problem("unsafe-path", why.en, why.zh) from None
