"""Tar archives as a list of members: headers only, in one walk, with every break named.

POSIX ustar and pax (IEEE 1003.1, pax), GNU long names. The walk keeps nothing but the current
member, takes sizes from nobody's word alone, and says where an archive ends too early.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal

from yaosu_schemas.errors import Text

BLOCK = 512
MAX_MEMBERS = 10_000_000
_MAX_NAME = 1 << 16
_KINDS: dict[bytes, MemberKind] = {
    b"0": "file", b"\0": "file", b"7": "file", b"1": "link", b"2": "link", b"3": "device",
    b"4": "device", b"5": "folder", b"6": "device",
}  # fmt: skip
MemberKind = Literal["file", "link", "device", "folder", "other"]


@dataclass(frozen=True, slots=True)
class Member:
    """One entry: where its bytes lie, and what it says it is."""

    name: str
    kind: MemberKind
    offset: int
    size: int


class TarProblem(Exception):
    """The archive breaks off or is none; the note says where."""

    def __init__(self, note: Text, at: int) -> None:
        super().__init__(note.en)
        self.note = note
        self.at = at


def members(file: BinaryIO) -> Iterator[Member]:
    """Yield the members in order; TarProblem where the archive breaks off."""
    end = file.seek(0, 2)
    at = 0
    long_name: str | None = None
    for _ in range(MAX_MEMBERS):
        file.seek(at)
        head = file.read(BLOCK)
        if len(head) < BLOCK:
            if at == 0 or head:
                raise _broken("a header is cut off", "成员头部被截断", at)
            raise _broken("the end mark is missing", "缺少结束标记", at)
        if not head.strip(b"\0"):
            return
        size = _number(head[124:136], at)
        if _checksum(head) != _number(head[148:156], at):
            raise _broken("a header has a wrong checksum", "成员头部校验和错误", at)
        body, at = at + BLOCK, at + BLOCK + (size + BLOCK - 1) // BLOCK * BLOCK
        if body + size > end:
            raise _broken(
                f"a member should have {size} bytes and {max(0, end - body)} are there",
                f"成员应有 {size} 字节，实际只有 {max(0, end - body)} 字节",
                body - BLOCK,
            )
        mark = head[156:157]
        if mark in (b"L", b"x"):
            if size > _MAX_NAME:
                raise _broken("a name is longer than 64 KiB", "名称超过 64 KiB", body - BLOCK)
            file.seek(body)
            data = file.read(size)
            name = data.rstrip(b"\0") if mark == b"L" else _pax_path(data)
            long_name = name.decode("utf-8", "replace") if name is not None else long_name
            continue
        if mark in (b"g", b"K"):
            continue
        yield Member(long_name or _short_name(head), _KINDS.get(mark, "other"), body, size)
        long_name = None
    raise _broken(f"it has more than {MAX_MEMBERS} members", f"成员超过 {MAX_MEMBERS} 个", at)


def _broken(en: str, zh: str, at: int) -> TarProblem:
    return TarProblem(Text(f"{en} (at byte {at})", f"{zh}（第 {at} 字节处）"), at)


def _number(field: bytes, at: int) -> int:
    if field[0] & 0x80:  # base 256, GNU: for sizes of 8 GiB and more
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    text = field.strip(b"\0 ")
    try:
        return int(text, 8) if text else 0
    except ValueError:
        raise _broken("a header is no tar header", "成员头部不是 tar 格式", at) from None


def _checksum(head: bytes) -> int:
    return sum(head[:148]) + 8 * 32 + sum(head[156:])


def _short_name(head: bytes) -> str:
    name = head[:100].split(b"\0", 1)[0]
    prefix = head[345:500].split(b"\0", 1)[0] if head[257:263] == b"ustar\0" else b""
    return (prefix + b"/" + name if prefix else name).decode("utf-8", "replace")


def _pax_path(data: bytes) -> bytes | None:
    """Return the record `path` of an extended header: lines of `length key=value`."""
    while data:
        length, _, _ = data.partition(b" ")
        if not length.isdigit() or int(length) <= len(length) or int(length) > len(data):
            return None
        key, _, value = data[len(length) + 1 : int(length)].rstrip(b"\n").partition(b"=")
        if key == b"path":
            return value
        data = data[int(length) :]
    return None
