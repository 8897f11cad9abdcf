"""Reads and writes folders of strangers: nothing hidden, linked, special or outside is touched."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

from yaosu_schemas.errors import (
    InvalidInput,
    Malformed,
    NoSpace,
    NotFound,
    Text,
    TooLarge,
    UnsafePath,
    YaosuError,
)
from yaosu_schemas.paths import is_remote, safe_path
from yaosu_schemas.texts import clip

DOCUMENT_BYTES = 8 * 2**20
FOLDERS_DEEP = 16
CHUNK = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Something in a folder that is not looked into, by its path below the root, and why."""

    path: str
    why: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """One visible folder: its path below the root ("" for the root) and its plain files."""

    path: str
    files: tuple[str, ...]


def open_root(source: str) -> Path:
    """Return the folder a person named; NotFound, or InvalidInput if it is no local folder."""
    if is_remote(source):
        raise InvalidInput(
            f"{clip(source)!r} is not a folder on this machine",
            f"“{clip(source)}”不是本机上的文件夹",
        )
    root = Path(source)
    if not root.exists():
        raise NotFound(f"there is no folder {clip(source)!r}", f"找不到文件夹“{clip(source)}”")
    if not root.is_dir():
        raise InvalidInput(f"{clip(source)!r} is not a folder", f"“{clip(source)}”不是文件夹")
    return root.resolve()


def make_root(target: str) -> Path:
    """Return the folder to write into, made if it is absent."""
    if is_remote(target):
        return open_root(target)
    Path(target).mkdir(parents=True, exist_ok=True)
    return open_root(target)


def walk(root: Path, below: str = "", depth: int = 0) -> Iterator[Folder | Refused]:
    """Yield every visible folder, parents first, in the order of names.

    The caller may send True for a folder to stay out of what lies below it.
    """
    files: list[str] = []
    folders: list[str] = []
    for entry in sorted(os.scandir(root / below), key=lambda e: e.name):
        path = f"{below}/{entry.name}" if below else entry.name
        if entry.name.startswith("."):
            yield Refused(path=clip(path, 300), why=Text("it is hidden", "隐藏文件或文件夹"))
        elif entry.is_symlink():
            yield Refused(path=clip(path, 300), why=Text("it is a symbolic link", "是符号链接"))
        elif entry.is_dir(follow_symlinks=False):
            folders.append(path)
        elif entry.is_file(follow_symlinks=False):
            files.append(entry.name)
        else:
            yield Refused(path=clip(path, 300), why=Text("it is not a plain file", "不是普通文件"))
    stay_out = yield Folder(path=below, files=tuple(files))
    if stay_out:
        return
    for path in folders:
        if depth >= FOLDERS_DEEP:
            why = Text(f"it lies more than {FOLDERS_DEEP} folders deep", "文件夹层级过深")
            yield Refused(path=clip(path, 300), why=why)
        else:
            yield from walk(root, path, depth + 1)


def plain_file(root: Path, path: str) -> Path:
    """Return the file at a safe path below root; UnsafePath, or NotFound."""
    wanted = safe_path(path)
    for spelling in dict.fromkeys((path, wanted)):
        found = root / spelling
        if not os.path.lexists(found):
            continue
        if found.resolve() != root.resolve() / spelling:
            raise UnsafePath(
                f"the path {clip(path)!r} leads through a symbolic link",
                f"路径“{clip(path)}”经过符号链接",
                path=clip(path, 200),
            )
        if not stat.S_ISREG(found.lstat().st_mode):
            raise UnsafePath(f"{clip(path)!r} is not a plain file", f"“{clip(path)}”不是普通文件")
        return found
    raise NotFound(f"the file {clip(path)!r} is missing", f"缺少文件“{clip(path)}”")


def open_plain(path: Path) -> BufferedReader:
    """Open a file for reading, never through a link and never waiting on a pipe."""
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")


def file_digest(path: Path) -> tuple[int, str]:
    """Return the size in bytes and `sha256:<hex>` of a file."""
    with open_plain(path) as file:
        digest = hashlib.file_digest(file, "sha256")
        return file.tell(), f"sha256:{digest.hexdigest()}"


def read_plain(path: Path) -> bytes:
    """Return the bytes of a document; TooLarge."""
    with open_plain(path) as file:
        raw = file.read(DOCUMENT_BYTES + 1)
    if len(raw) > DOCUMENT_BYTES:
        raise TooLarge(
            f"the document is larger than {DOCUMENT_BYTES} bytes",
            f"文档超过 {DOCUMENT_BYTES} 字节",
        )
    return raw


def read_document(path: Path) -> Any:
    """Return the JSON or YAML value of a file by its suffix; Malformed, or TooLarge."""
    raw = read_plain(path)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise Malformed(
            f"the document is not UTF-8 (byte {e.start})",
            f"文档不是 UTF-8 编码（第 {e.start} 字节）",
        ) from None
    return parse_yaml(text) if path.suffix in (".yaml", ".yml") else parse_json(text)


def parse_json(text: str) -> Any:
    """Return a strict JSON value: no NaN, no key twice, no bottomless nesting; else Malformed."""
    try:
        return json.loads(text, object_pairs_hook=_no_twins, parse_constant=_no_constant)
    except (ValueError, RecursionError) as e:
        why = "nested too deeply" if isinstance(e, RecursionError) else clip(e)
        raise Malformed(f"the document is not JSON: {why}", f"文档不是有效的 JSON：{why}") from None


def parse_yaml(text: str) -> Any:
    """Return a YAML value without aliases (a small text could grow without limit); Malformed."""
    import yaml

    class Plain(yaml.SafeLoader):
        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.events.AliasEvent):
                raise yaml.YAMLError("aliases are not read")
            return super().compose_node(parent, index)

    # Dates stay what the person wrote: text, as in JSON.
    Plain.yaml_implicit_resolvers = {
        first: [(tag, regexp) for tag, regexp in found if not tag.endswith(":timestamp")]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    try:
        return yaml.load(text, Plain)
    except (yaml.YAMLError, ValueError, RecursionError) as e:
        why = clip(" ".join(str(e).split()))
        raise Malformed(f"the document is not YAML: {why}", f"文档不是有效的 YAML：{why}") from None


def write_document(path: Path, value: Any) -> None:
    """Write a value as readable JSON, whole or not at all."""
    text = json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n"
    handle, temporary = tempfile.mkstemp(prefix=".yaosu-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as e:
        os.unlink(temporary)
        raise no_space(e) from e


def copy_file(source: Path, target: Path) -> tuple[int, str]:
    """Copy a plain file into a new one and return the size and digest of what was copied."""
    digest = hashlib.sha256()
    size = 0
    try:
        with open_plain(source) as reader, target.open("xb") as writer:
            while chunk := reader.read(CHUNK):
                digest.update(chunk)
                size += len(chunk)
                writer.write(chunk)
    except OSError as e:
        target.unlink(missing_ok=True)
        raise no_space(e) from e
    return size, f"sha256:{digest.hexdigest()}"


def no_space(error: OSError) -> Exception:
    """Return NoSpace for a full disk, and any other fault as it is."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace("the disk is full", "磁盘空间不足")
    return error


def why_not(error: YaosuError | OSError) -> Text:
    """Return the reason for a skip without the paths of this machine."""
    if isinstance(error, YaosuError):
        return Text(error.en, error.zh)
    reason = error.strerror or type(error).__name__
    return Text(f"it cannot be read: {reason}", f"无法读取：{reason}")


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object names a key twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
