"""Which files of a folder are data, which are about the data, and which are neither."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from yaosu_schemas.errors import NotFound, Text
from yaosu_schemas.paths import path_problem
from yaosu_validators.media import (
    COMPRESSION_MAGIC,
    HEAD_BYTES,
    KINDS,
    UNKNOWN,
    Kind,
    by_content,
    by_name,
    posing,
)

from .cards import is_document
from .shapes import split_of

_JUNK = frozenset(
    ("thumbs.db", "ehthumbs.db", "desktop.ini", "_success", "_metadata", "_common_metadata")
)
_JUNK_FOLDERS = frozenset(("__macosx", "__pycache__", "node_modules", "$recycle.bin"))
_DESCRIPTORS = ("datapackage.json", "datapackage.yaml", "datapackage.yml")
_METADATA_FOLDERS = frozenset(("meta", "metadata", "_meta"))
_METADATA_FILES = re.compile(r"dataset_infos?\.json|dataset_dict\.json|state\.json|_source\.json")
_CHUNK = 1 << 20
# Files of these families stand for single items: a folder of them is one collection.
COLLECTED = frozenset(("image", "audio", "video", "points", "code", "array"))
_SHARDED = frozenset(("jsonl", "csv", "tsv", "parquet", "arrow", "txt", "tar"))
_MOST_ALONE = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One file: its path inside the folder, what it is, and how many bytes it has."""

    path: str
    size_bytes: int
    kind: Kind
    compression: str = ""
    role: str = "data"
    posing: str = ""
    mislabelled: Kind | None = None

    @property
    def folder(self) -> str:
        return self.path.rpartition("/")[0]

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def split(self) -> str:
        # The name of a picture says what is on it: `train_7.jpg` may show a train.
        of_item = self.kind.family in COLLECTED and self.kind.family != "array"
        return split_of(f"{self.folder}/" if of_item else self.path)


@dataclass(frozen=True, slots=True)
class Skipped:
    """One file or folder that is left out, and why."""

    path: str
    reason: Text

    def as_json(self) -> dict[str, str]:
        return {"path": self.path, "reason": self.reason.en, "reason_zh": self.reason.zh}


@dataclass(frozen=True, slots=True)
class Group:
    """Files that make one resource, in the order of their paths."""

    name: str
    files: tuple[Found, ...]
    sharded: bool = False

    @property
    def first(self) -> Found:
        return self.files[0]


HIDDEN = Text("hidden files are not part of a package", "隐藏文件不属于数据包")
JUNK = Text("left by an operating system or a program", "操作系统或程序遗留的文件")
LINK = Text("links are never followed", "不跟随符号链接")
SPECIAL = Text("it is neither a file nor a folder", "既不是文件也不是文件夹")


def roots_of(paths: Sequence[Path]) -> tuple[Path, list[str]]:
    """Return the folder that holds all of `paths`, and each of them as seen from it."""
    for path in paths:
        if not os.path.lexists(path):
            raise NotFound(f"{path.name}: not there", f"{path.name}：不存在")
    if len(paths) == 1 and paths[0].is_dir():
        return paths[0].absolute(), ["."]
    parents = [str(path.absolute().parent) for path in paths]
    base = Path(os.path.commonpath(parents))
    return base, [os.path.relpath(path.absolute(), base).replace(os.sep, "/") for path in paths]


def walk(base: Path, starts: Iterable[str]) -> tuple[list[str], list[Skipped]]:
    """Return the paths of all files in order, and what was left out and why."""
    kept: list[str] = []
    skipped: list[Skipped] = []
    for start in starts:
        if start != ".":
            _consider(base, start, kept, skipped)
            continue
        for name in sorted(os.listdir(base)):
            _consider(base, name, kept, skipped)
    return sorted(set(kept)), skipped


def _consider(base: Path, start: str, kept: list[str], skipped: list[Skipped]) -> None:
    pending = [start]
    while pending:
        path = pending.pop()
        mode = os.lstat(base / path).st_mode
        name = path.rpartition("/")[2]
        problem = path_problem(unicodedata.normalize("NFC", path))
        if name.startswith("."):
            skipped.append(Skipped(path, HIDDEN))
        elif stat.S_ISLNK(mode):
            skipped.append(Skipped(path, LINK))
        elif stat.S_ISDIR(mode) and name.lower() not in _JUNK_FOLDERS:
            inner = sorted(os.listdir(base / path), reverse=True)
            pending.extend(f"{path}/{child}" for child in inner)
        elif stat.S_ISDIR(mode) or name.lower() in _JUNK or name.startswith("~$"):
            skipped.append(Skipped(path, JUNK))
        elif not stat.S_ISREG(mode):
            skipped.append(Skipped(path, SPECIAL))
        elif problem is not None:
            skipped.append(Skipped(path, problem))
        elif path not in _DESCRIPTORS:
            kept.append(path)


def identify(base: Path, path: str) -> Found:
    """Return what one file is, by its first bytes and its name."""
    with (base / path).open("rb") as file:
        head = file.read(HEAD_BYTES)
        size = os.fstat(file.fileno()).st_size
    claimed, compression = by_name(path.rpartition("/")[2])
    packed = next((name for magic, name in COMPRESSION_MAGIC if head.startswith(magic)), "")
    shown = None if packed else by_content(head)
    kind = shown if shown is not None and not _same(shown, claimed) else claimed or UNKNOWN
    mask = posing(head)
    if mask == "html-page" and claimed is not None and claimed.format in ("html", "md", "xml"):
        mask = ""
    role = _role(path, kind)
    if role == "documentation" and kind is UNKNOWN and b"\0" not in head:
        kind = KINDS["txt"]  # LICENSE, NOTICE, AUTHORS
    mislabelled = claimed if claimed is not None and kind not in (claimed, UNKNOWN) else None
    return Found(
        path=path,
        size_bytes=size,
        kind=kind,
        compression=packed or (compression if not shown else ""),
        role=role,
        posing=mask,
        mislabelled=mislabelled,
    )


def _same(shown: Kind, claimed: Kind | None) -> bool:
    """Say whether the bytes do not contradict the name (an .xlsx is a zip, an .m4a an .mp4)."""
    if claimed is None:
        return False
    families = {
        "zip": ("xlsx", "ods", "npz"),
        "mp4": ("m4a", "mov", "heic"),
        "ogg": ("opus",),
        "opus": ("ogg",),
        "mkv": ("webm",),
        "mp3": ("aac",),
        "aac": ("mp3",),
    }
    return claimed is shown or claimed.format in families.get(shown.format, ())


def _role(path: str, kind: Kind) -> str:
    folders, _, name = path.lower().rpartition("/")
    if is_document(name):
        return "documentation"
    in_metadata = any(part in _METADATA_FOLDERS for part in folders.split("/"))
    if in_metadata or _METADATA_FILES.fullmatch(name) or kind.family == "config":
        return "metadata"
    return "data"


def digest_of(path: Path, tick: Callable[[int], None] | None = None) -> tuple[str, int]:
    """Return `sha256:<hex>` of a file and its bytes as read."""
    digest, total = hashlib.sha256(), 0
    with path.open("rb", buffering=0) as file:
        while data := file.read(_CHUNK):
            digest.update(data)
            total += len(data)
            if tick is not None:
                tick(len(data))
    return "sha256:" + digest.hexdigest(), total


def group(files: Sequence[Found]) -> list[Group]:
    """Sort files into resources: collections of media, shards of one table, and single files."""
    buckets: dict[tuple[str, ...], list[Found]] = {}
    for file in files:
        buckets.setdefault(_key(file), []).append(file)
    groups: list[Group] = []
    for key, members in buckets.items():
        if key[0] == "media":
            groups.append(Group(_label(members), tuple(members)))
        elif key[0] == "one" or len(members) == 1:
            groups += [Group(stem_of(file), (file,)) for file in members]
        else:
            groups.append(Group(key[1], tuple(members), sharded=True))
    groups = list(_collected_leftovers(groups))
    order = {"data": 0, "metadata": 1, "documentation": 2}
    groups.sort(key=lambda item: (order[item.first.role], item.first.path))
    return groups


def _key(file: Found) -> tuple[str, ...]:
    if file.role != "data" or file.posing:
        return ("one", file.path)
    top = file.path.split("/")[0] if "/" in file.path else ""
    if file.kind.family in COLLECTED:
        return ("media", top, file.split, file.kind.format, file.compression)
    pattern = re.sub(r"\d+", "#", stem_of(file))
    if file.kind.format in _SHARDED and "#" in pattern:
        label = re.sub(r"[-_.]*(of)?[-_.]*#", "", pattern).strip("-_. ") or top or "data"
        if file.folder and label in ("file", "part", "shard", "chunk", "data", "episode"):
            label = top
        return ("shards", label, file.folder, pattern, file.kind.format, file.compression)
    return ("one", file.path)


def _label(files: Sequence[Found]) -> str:
    """Return the folder that the files of a collection share, with their split."""
    if len(files) == 1 and not files[0].folder:
        return stem_of(files[0])
    folder = os.path.commonpath([f"/{file.folder}" for file in files]).rpartition("/")[2]
    split = files[0].split
    label = folder or files[0].kind.family
    return label if not split or split in label.lower() else f"{label}-{split}"


def stem_of(file: Found) -> str:
    """Return the file name without its suffixes."""
    stem = file.name
    while "." in stem.strip(".") and (by_name(stem)[0] or by_name(stem)[1]):
        stem = stem.rpartition(".")[0]
    return stem


def _collected_leftovers(groups: list[Group]) -> Iterator[Group]:
    """Join single files of no known kind, once there are too many of them to name each."""
    loose: dict[tuple[str, str], list[Group]] = {}
    for item in groups:
        file = item.first
        alone = len(item.files) == 1 and file.role == "data" and not file.posing
        if alone and file.kind.family not in ("table", "text"):
            top = file.path.split("/")[0] if "/" in file.path else "files"
            loose.setdefault((top, file.kind.format), []).append(item)
        else:
            yield item
    for (top, _), singles in loose.items():
        if len(singles) > _MOST_ALONE:
            files = sorted((item.first for item in singles), key=lambda file: file.path)
            yield Group(top, tuple(files))
        else:
            yield from singles


def names_of(groups: Sequence[Group]) -> list[str]:
    """Return a name for every group, each different, in letters that Data Package v2 allows."""
    taken: dict[str, None] = {}
    counts: dict[str, int] = {}
    for item in groups:
        base = slug(item.name) or slug(item.first.path.split("/")[0]) or item.first.kind.family
        name = base
        if name in taken:
            name = f"{base}-{item.first.kind.format or 'file'}"
        while name in taken:
            counts[base] = counts.get(base, 1) + 1
            name = f"{base}-{counts[base]}"
        taken[name] = None
    return list(taken)


def slug(text: str) -> str:
    """Return a name of lower-case letters, digits, `.`, `_` and `-`, or "" if nothing is left."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9._-]+", "-", plain).strip("-._")[:100]
