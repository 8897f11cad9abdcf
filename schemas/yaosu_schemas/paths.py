"""The gate for file names of strangers: POSIX, relative, visible, inside the folder."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from yaosu_schemas.errors import Text, UnsafePath

from .texts import BIDI_OVERRIDES, clip, visible

MAX_SEGMENT_BYTES = 255
MAX_PATH_BYTES = 1024

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|//|\\\\")


def is_remote(path: str) -> bool:
    """Say whether a path names another place (a scheme, or a network share): never fetched."""
    return bool(_SCHEME.match(path.strip()))


def safe_path(text: str) -> str:
    """Return the path in NFC; UnsafePath if it could leave its folder, hide or deceive."""
    path = unicodedata.normalize("NFC", text)
    problem = path_problem(path)
    if problem is not None:
        raise UnsafePath(
            f"the path {clip(text)!r} is not safe: {problem.en}",
            f"路径“{clip(text)}”不安全：{problem.zh}",
            path=clip(text, 200),
        )
    return path


def path_problem(path: str) -> Text | None:
    """Return why a path is refused, or None (Data Package v2, path: POSIX and no `..`)."""
    if not path:
        return Text("it is empty", "路径为空")
    if is_remote(path):
        return Text(
            "it points to another place; only local files are read", "指向外部位置，只接受本地文件"
        )
    for char in path:
        if unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") or char in BIDI_OVERRIDES:
            return Text(
                f"it holds the character U+{ord(char):04X}", f"含有不允许的字符 U+{ord(char):04X}"
            )
        if char in "\\:":
            return Text(f"it holds {char!r}", f"含有字符“{char}”")
    if path.startswith("/"):
        return Text("it is absolute", "是绝对路径")
    if len(path.encode()) > MAX_PATH_BYTES:
        return Text(f"it is longer than {MAX_PATH_BYTES} bytes", f"超过 {MAX_PATH_BYTES} 字节")
    for segment in path.split("/"):
        problem = _segment_problem(segment)
        if problem is not None:
            return problem
    return None


def collisions(paths: Iterable[str]) -> list[tuple[str, str]]:
    """Return pairs of different paths that a case-folding file system takes for one."""
    seen: dict[str, str] = {}
    found: list[tuple[str, str]] = []
    for path in paths:
        key = unicodedata.normalize("NFC", unicodedata.normalize("NFKC", path).casefold())
        first = seen.setdefault(key, path)
        if first != path:
            found.append((first, path))
    return found


def _segment_problem(segment: str) -> Text | None:
    if not segment:
        return Text("it has an empty part", "含有空的路径段")
    if segment in (".", ".."):
        return Text(f"it has the part {segment!r}", f"含有“{segment}”路径段")
    if segment.startswith("."):
        return Text("a part of it is hidden (starts with a dot)", "含有以点开头的隐藏路径段")
    if not visible(segment):
        return Text("a part of it has no visible character", "含有不可见的路径段")
    if len(segment.encode()) > MAX_SEGMENT_BYTES:
        return Text(
            f"a part of it is longer than {MAX_SEGMENT_BYTES} bytes",
            f"含有超过 {MAX_SEGMENT_BYTES} 字节的路径段",
        )
    return None
