"""A folder on its way to the market: read, checked, hashed, uploaded, submitted.

Everything that would be refused is found before the first byte is sent, and told at once. Bytes
that the market holds already are not sent again; a broken upload goes on where it stopped.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yaosu.errors import (
    Conflict,
    InvalidDocument,
    InvalidInput,
    Malformed,
    NotFound,
    Problem,
    Unavailable,
)
from yaosu_schemas.documents import descriptor_problems
from yaosu_schemas.paths import collisions, is_remote, path_problem

from .transfer import Progress, Upload, UploadMemory, hash_file, silent

if TYPE_CHECKING:
    from .client import Client
    from .remote import Listing

JSON = dict[str, Any]
DESCRIPTORS = ("datapackage.json", "datapackage.yaml", "datapackage.yml")
LINES = 4
MAX_DESCRIPTOR_BYTES = 16 << 20
REVISABLE = frozenset({"draft", "returned"})
FINISHED = frozenset({"listed", "suspended", "delisted", "withdrawn"})
# What the market says of files that it has not seen, and we are about to send.
_CURED_BY_UPLOAD = frozenset({"not_uploaded"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """One file of the package as it lies on this disk."""

    pointer: str
    path: str
    place: Path
    sha256: str = ""
    bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """A folder ready to be sent: descriptor with digests, files, and what is wrong with them."""

    folder: Path
    descriptor: JSON
    files: tuple[SourceFile, ...]
    problems: tuple[Problem, ...] = ()

    @property
    def size_bytes(self) -> int:
        return sum(f.bytes for f in self.files)

    @property
    def errors(self) -> list[Problem]:
        return [p for p in self.problems if p.severity == "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What became of a folder: the listing, and what was sent or was there already."""

    listing: Listing
    created: bool
    sent: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = field(default=())


def read_descriptor(folder: Path) -> tuple[JSON, Path]:
    """Return (descriptor, its file) of a folder or of a named descriptor file.

    NotFound where there is none; Malformed when it cannot be read as one.
    """
    found = [folder] if folder.is_file() else [folder / n for n in DESCRIPTORS]
    place = next((p for p in found if p.is_file()), None)
    if place is None:
        raise NotFound(
            f"there is no datapackage.json in {folder}: make one with `yaosu describe {folder}`",
            f"{folder} 中没有 datapackage.json，请先执行 yaosu describe {folder}",
            path=str(folder),
        )
    if place.stat().st_size > MAX_DESCRIPTOR_BYTES:
        raise Malformed(
            f"{place.name} is larger than {MAX_DESCRIPTOR_BYTES >> 20} MiB: it is no descriptor",
            f"{place.name} 超过 {MAX_DESCRIPTOR_BYTES >> 20} MiB，不是描述文件",
            path=place.name,
        )
    try:
        text = place.read_text(encoding="utf-8-sig")
        document = _yaml(text) if place.suffix in (".yaml", ".yml") else _json(text)
    except (ValueError, RecursionError) as error:
        raise Malformed(
            f"{place.name} cannot be read: {str(error)[:200]}",
            f"{place.name} 无法解析：{str(error)[:200]}",
            path=place.name,
        ) from None
    if not isinstance(document, dict):
        raise Malformed(
            f"{place.name} holds no object", f"{place.name} 的内容不是对象", path=place.name
        )
    return document, place


def prepare(
    folder: Path, *, progress: Progress = silent, stage: str = "submit", hashes: bool = True
) -> Parcel:
    """Read a folder and hash its files; `problems` says everything that is wrong with it."""
    descriptor, place = read_descriptor(folder)
    root = place.parent
    problems: list[Problem] = []
    files: list[SourceFile] = []
    for pointer, path in _paths(descriptor):
        problem = _file_problem(root, pointer, path)
        if problem is not None:
            problems.append(problem)
            continue
        file = SourceFile(pointer=pointer, path=path, place=root / path)
        files.append(_measured(file, progress) if hashes else file)
    for first, second in collisions(f.path for f in files):
        problems.append(
            Problem(
                pointer=next(f.pointer for f in files if f.path == second),
                code="unsafe_path",
                en=f"'{first}' and '{second}' would be one file on some disks",
                zh=f"“{first}”与“{second}”在部分系统上会是同一文件",
            )
        )
    if hashes:
        descriptor, changed = _with_digests(descriptor, files)
        problems.extend(changed)
    said = {p.pointer for p in problems}
    judged = descriptor_problems(descriptor, "submit" if stage == "submit" else "draft")
    problems.extend(p for p in judged if not (p.pointer in said and p.code == "unsafe_path"))
    return Parcel(folder=root, descriptor=descriptor, files=tuple(files), problems=tuple(problems))


def all_problems(client: Client, parcel: Parcel) -> list[Problem]:
    """Return what is wrong here and what the market would refuse besides, each once."""
    known = {(p.pointer, p.code): p for p in parcel.problems}
    for problem in client.problems(parcel.descriptor):
        if problem.code not in _CURED_BY_UPLOAD:
            known.setdefault((problem.pointer, problem.code), problem)
    return list(known.values())


def submit(
    client: Client,
    folder: Path,
    *,
    venue: str | None = None,
    view_policy: str | None = None,
    apply: bool = True,
    draft_only: bool = False,
    wait: float | None = None,
    progress: Progress = silent,
    memory: UploadMemory | None = None,
    told: Callable[[str], None] | None = None,
) -> Submission:
    """Offer a folder: create the dataset, its next version or a revision, upload, submit.

    InvalidDocument names everything that is wrong before anything is sent. `draft_only` uploads
    without submitting; `wait` seconds for the market's verdict.
    """
    parcel = prepare(folder, progress=progress, stage="draft" if draft_only else "submit")
    if parcel.errors:
        raise InvalidDocument(parcel.errors)
    listing, created = _draft(client, parcel, venue, view_policy)
    if told is not None:
        told(listing.id)
    sent, held = upload_files(client, parcel, progress=progress, memory=memory)
    if not draft_only:
        listing.act("submit", apply=apply)
        if wait is not None:
            listing.wait(wait)
    warnings = tuple(p for p in parcel.problems if p.severity != "error")
    return Submission(listing=listing, created=created, sent=sent, held=held, problems=warnings)


def upload_files(
    client: Client,
    parcel: Parcel,
    *,
    progress: Progress = silent,
    memory: UploadMemory | None = None,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Send what the market does not hold yet; returns (paths sent, paths it had).

    A few files travel at once: the market writes several to its disk in the time of one.
    """
    first = {file.sha256: file for file in reversed(parcel.files)}
    stopped = threading.Event()

    def tell(stage: str, name: str, done: int, total: int) -> None:
        if stopped.is_set():
            raise Unavailable("stopped", "已停止")
        progress(stage, name, done, total)

    def send(file: SourceFile) -> bool:
        if client.holds(file.sha256):
            return False
        Upload(
            client.connection,
            file.place,
            name=file.path,
            sha256=file.sha256,
            size=file.bytes,
            memory=memory,
            progress=tell,
        ).run()
        return True

    with ThreadPoolExecutor(LINES) as pool:
        try:
            outcomes = dict(zip(first, pool.map(send, first.values()), strict=True))
        except BaseException:
            stopped.set()  # the others end with their chunk, and can be resumed
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    sent = [f.path for f in parcel.files if outcomes[f.sha256] and first[f.sha256] is f]
    return tuple(sent), tuple(f.path for f in parcel.files if f.path not in sent)


def _draft(
    client: Client, parcel: Parcel, venue: str | None, view_policy: str | None
) -> tuple[Listing, bool]:
    """Return (the draft to be submitted, whether its dataset is new)."""
    from .remote import Listing

    known = client.dataset_named(str(parcel.descriptor.get("name")))
    if known is None:
        made = client.create_dataset(parcel.descriptor, venue=venue, view_policy=view_policy)
        return Listing(client.connection, made["listing"]), True
    last = max(known["versions"], key=lambda v: int(v["listing_version"]))
    if last["state"] in REVISABLE:
        listing = client.listing(last["listing_id"])
        return listing.revise(parcel.descriptor, venue=venue, view_policy=view_policy), False
    if last["state"] in FINISHED:
        made = client.new_version(known["dataset_id"], parcel.descriptor)
        return Listing(client.connection, made["listing"]), False
    raise Conflict(
        f"version {last['listing_version']} of '{known['name']}' is under way ({last['state']}): "
        f"wait for the verdict, or withdraw it: yaosu listing withdraw {last['listing_id']}",
        f"“{known['name']}”的版本 {last['listing_version']} 正在处理（{last['state']}）："
        f"请等待结论，或撤回：yaosu listing withdraw {last['listing_id']}",
        listing_id=last["listing_id"],
        state=last["state"],
    )


# --- files ------------------------------------------------------------------------------------


def _paths(descriptor: JSON) -> Iterator[tuple[str, str]]:
    """Yield (JSON pointer, path) of every data path that is text; the profile judges the rest."""
    resources = descriptor.get("resources")
    for i, resource in enumerate(resources if isinstance(resources, list) else ()):
        path = resource.get("path") if isinstance(resource, dict) else None
        if isinstance(path, str):
            yield f"/resources/{i}/path", path
        elif isinstance(path, list):
            for j, part in enumerate(path):
                if isinstance(part, str):
                    yield f"/resources/{i}/path/{j}", part


def _file_problem(root: Path, pointer: str, path: str) -> Problem | None:
    """Return why a path cannot be sent, or None."""
    if is_remote(path):
        return Problem(
            pointer=pointer,
            code="remote_path",
            en=f"'{path[:100]}' is somewhere else: download it into the folder, and name its "
            "origin in `sources`",
            zh=f"“{path[:100]}”是远程路径：请下载到目录中，并在 sources 中注明来源",
        )
    unsafe = path_problem(path)
    if unsafe is not None:
        return Problem(pointer=pointer, code="unsafe_path", en=unsafe.en, zh=unsafe.zh)
    place = root / path
    if any(p.is_symlink() for p in (place, *_between(root, place))):
        en, zh = f"'{path}' is a symbolic link", f"“{path}”是符号链接"
        return Problem(pointer=pointer, code="unsafe_path", en=en, zh=zh)
    if not place.is_file():
        en, zh = f"there is no file '{path}'", f"文件“{path}”不存在"
        return Problem(pointer=pointer, code="no_file", en=en, zh=zh)
    return None


def _between(root: Path, place: Path) -> Iterator[Path]:
    for parent in place.parents:
        if parent == root:
            return
        yield parent


def _measured(file: SourceFile, progress: Progress) -> SourceFile:
    try:
        sha256, size = hash_file(file.place, progress=progress, name=file.path)
    except PermissionError:
        raise InvalidInput(
            f"'{file.path}' cannot be read: permission denied",
            f"无权读取“{file.path}”",
            path=file.path,
        ) from None
    return SourceFile(
        pointer=file.pointer, path=file.path, place=file.place, sha256=sha256, bytes=size
    )


def _with_digests(descriptor: JSON, files: list[SourceFile]) -> tuple[JSON, list[Problem]]:
    """Return the descriptor with hash and bytes of every file; what it says wrongly is told."""
    filled = json.loads(json.dumps(descriptor))
    problems: list[Problem] = []
    for file in files:
        parts = file.pointer.split("/")[2:]
        resource = filled["resources"][int(parts[0])]
        if len(parts) == 2:
            entry, pointer = resource, f"/resources/{parts[0]}"
        else:
            entry, pointer = _part(resource, file.path), f"/resources/{parts[0]}/parts/{parts[2]}"
        said, measured = _digest(entry.get("hash")), f"sha256:{file.sha256}"
        if said is not None and said != measured:
            problems.append(_differs(f"{pointer}/hash", "hash", file.path))
        elif said is not None and entry.get("bytes", file.bytes) != file.bytes:
            problems.append(_differs(f"{pointer}/bytes", "byte_count", file.path))
        entry["hash"], entry["bytes"] = measured, file.bytes
    return filled, problems


def _digest(said: Any) -> str | None:
    """Return a SHA-256 as the descriptor says it; other algorithms are replaced by ours."""
    return said.lower() if isinstance(said, str) and said.startswith("sha256:") else None


def _part(resource: JSON, path: str) -> JSON:
    """Return the entry of one file of a resource of several."""
    parts = resource.get("parts")
    if not isinstance(parts, list):
        parts = resource["parts"] = []
    for part in parts:
        if isinstance(part, dict) and part.get("path") == path:
            return part
    parts.append({"path": path})
    entry: JSON = parts[-1]
    return entry


def _differs(pointer: str, code: str, path: str) -> Problem:
    return Problem(
        pointer=pointer,
        code=code,
        en=f"'{path}' changed since it was described: run `yaosu describe` again",
        zh=f"“{path}”与描述不符，请重新执行 yaosu describe",
    )


# --- reading ----------------------------------------------------------------------------------


def _json(text: str) -> Any:
    def refuse(name: str) -> Any:
        raise ValueError(f"{name} is not JSON")

    def once(pairs: list[tuple[str, Any]]) -> JSON:
        found = dict(pairs)
        if len(found) != len(pairs):
            twice = next(k for i, (k, _) in enumerate(pairs) if k in dict(pairs[:i]))
            raise ValueError(f"the key {twice[:80]!r} stands twice in one object")
        return found

    return json.loads(text, parse_constant=refuse, object_pairs_hook=once)


def _yaml(text: str) -> Any:
    import yaml

    try:
        # Dates and the like become text again, as the JSON form of the descriptor has them.
        return json.loads(json.dumps(yaml.load(text, Loader=_text_loader()), allow_nan=False))
    except (yaml.YAMLError, TypeError) as error:
        raise ValueError(str(error).replace("\n", " ")) from None


def _text_loader() -> Any:
    import yaml

    class TextDates(yaml.SafeLoader):
        """Reads dates as the text that they are in JSON."""

    TextDates.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in rules if not tag.endswith(":timestamp")]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    return TextDates
