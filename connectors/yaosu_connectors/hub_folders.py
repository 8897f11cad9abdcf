"""Dataset folders as model hubs keep them: a README card, and the data in configs and splits.

    datasets/
      dialogues/README.md                          the card: licence, languages, configs, features
      dialogues/data/train-00000-of-00002.parquet  the data of one split, in one file or several
      dialogues/datapackage.json                   what a card cannot say (written by publish)

Folders only: nothing is fetched. Whoever clones from a hub harvests the clone, and whoever wants
to upload gets a folder that the hub's own client takes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from yaosu_schemas.canonical import digest
from yaosu_schemas.documents import descriptor_problems
from yaosu_schemas.errors import InvalidInput, Malformed, Problem, Text, TooLarge, YaosuError

from . import card, folder, local
from .ckan_package import missing
from .connector import About, Delivered, Record, Report, Skipped
from .shelf import Shelf, read_index

CARD, INFOS, PACKAGE = "README.md", "dataset_infos.json", "datapackage.json"
MAX_FILES = 50_000


class HuggingFaceFolders:
    """Harvests, publishes and delivers dataset folders with README cards of Hugging Face."""

    dialect: card.Dialect = "huggingface"

    def about(self) -> About:
        return About(
            name="huggingface",
            title=Text("Dataset folders of Hugging Face", "Hugging Face 数据集文件夹"),
            speaks=("README card", "dataset_infos.json"),
        )

    def harvest(self, source: str, /) -> Iterator[Record | Skipped]:
        root = local.open_root(source)
        origins = {folder: origin for origin, (folder, _) in read_index(root).items()}
        return _harvest(root, origins)

    def publish(self, records: Iterable[Record], target: str, /, *, prune: bool = False) -> Report:
        def describe(place: Path, record: Record) -> None:
            _describe(place, record, self.dialect)

        shelf = Shelf(root=local.make_root(target), marker=CARD, describe=describe)
        return shelf.publish(records, prune=prune)

    def deliver(self, record: Record, target: str, /) -> Iterator[Delivered]:
        return folder.deliver(record, target)


class ModelScopeFolders(HuggingFaceFolders):
    """The same with cards as ModelScope writes them; either reads the cards of the other."""

    dialect: card.Dialect = "modelscope"

    def about(self) -> About:
        return About(
            name="modelscope",
            title=Text("Dataset folders of ModelScope", "魔搭（ModelScope）数据集文件夹"),
            speaks=("README card", "dataset_infos.json"),
        )


# --- reading -----------------------------------------------------------------------------------


def _harvest(root: Path, origins: Mapping[str, str]) -> Iterator[Record | Skipped]:
    if _is_dataset(root):
        yield _read(root, origins.get("", "."))
        return
    walking = local.walk(root)
    step = next(walking, None)
    refused: list[local.Refused] = []
    while step is not None:
        if isinstance(step, local.Refused):
            refused.append(step)
            step = next(walking, None)
            continue
        # What a dataset hides or links is its own matter: it is read with the dataset.
        found = bool(step.path) and not {CARD, INFOS}.isdisjoint(step.files)
        if found:
            yield _read(root / step.path, origins.get(step.path, step.path))
        else:
            linked = {f"{step.path}/{n}".lstrip("/"): n for n in (CARD, INFOS)}
            for item in refused:
                home = item.path.rpartition("/")[0] if item.path in linked else item.path
                yield Skipped(origin_id=home or item.path, why=item.why)
        refused = []
        step = folder.after(walking, stay_out=found)


def _is_dataset(root: Path) -> bool:
    """Say whether a folder is one dataset itself, not a shelf of them with a text about it."""
    try:
        if card.read(_text(local.plain_file(root, CARD))) is not None:
            return True
    except (YaosuError, OSError):
        pass
    return (root / INFOS).is_file()


def _read(place: Path, origin: str) -> Record | Skipped:
    """Return one dataset folder as a record, or why it cannot be brought over."""
    try:
        files, notes = _files(place)
        front, text = _card(files)
        infos = local.read_document(files[INFOS]) if INFOS in files else None
        if infos is not None and not isinstance(infos, dict):
            raise Malformed(f"{INFOS} is not an object", f"{INFOS} 不是 JSON 对象")
        known = _package(files)
        name = str((known or {}).get("name") or _name(place, origin))
        document, said = card.descriptor(front, text, name, list(files), infos)
        if known is not None:
            if _same(known, front, text, files):
                document, said = known, []
            else:
                document = {**known, **document}
        held = _held(document, files)
        hashes = {path: local.file_digest(file)[1] for path, file in held.items()}
        noted = missing(descriptor_problems(document, stage="submit"))
        return Record(
            origin_id=origin,
            kind="dataset",
            document=document,
            digest=digest({"document": document, "files": hashes}),
            files=held,
            notes=(*notes, *said, *noted),
        )
    except (YaosuError, OSError) as error:
        return Skipped(origin_id=origin, why=local.why_not(error))


def _files(place: Path) -> tuple[dict[str, Path], list[Problem]]:
    """Return the plain files of a dataset by path, and a note for each that is linked."""
    files: dict[str, Path] = {}
    notes: list[Problem] = []
    for step in local.walk(place):
        if isinstance(step, local.Folder):
            for name in step.files:
                path = f"{step.path}/{name}" if step.path else name
                files[path] = place / path
            if len(files) > MAX_FILES:
                raise TooLarge(f"it has more than {MAX_FILES} files", f"文件超过 {MAX_FILES} 个")
        elif step.path in (CARD, INFOS):
            raise InvalidInput(f"{step.path}: {step.why.en}", f"{step.path}：{step.why.zh}")
        elif not step.path.rpartition("/")[2].startswith("."):
            notes.append(
                Problem(pointer=f"/{step.path}", code="refused", en=step.why.en, zh=step.why.zh,
                        severity="warning")
            )  # fmt: skip
    return files, notes


def _card(files: Mapping[str, Path]) -> tuple[dict[str, Any], str]:
    if CARD not in files:
        return {}, ""
    text = _text(files[CARD])
    found = card.read(text)
    if found is not None:
        return found
    if INFOS in files:
        return {}, text.strip()
    raise Malformed(
        f"its {CARD} has no front matter: it is no dataset card",
        f"{CARD} 没有 YAML 头部，不是数据集卡片",
    )


def _text(file: Path) -> str:
    with local.open_plain(file) as reader:
        raw = reader.read(local.DOCUMENT_BYTES + 1)
    if len(raw) > local.DOCUMENT_BYTES:
        raise TooLarge("the card is too large", "卡片过大")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise Malformed(
            f"the card is not UTF-8 (byte {e.start})", f"卡片不是 UTF-8 编码（第 {e.start} 字节）"
        ) from None


def _name(place: Path, origin: str) -> str:
    said = place.name if origin == "." else origin.rpartition("/")[2]
    return re.sub(r"[^a-z0-9._-]+", "-", said.lower()).strip("._-")[:100] or "dataset"


def _package(files: Mapping[str, Path]) -> dict[str, Any] | None:
    """Return the descriptor that stands beside a card; None if there is none that reads."""
    if PACKAGE not in files:
        return None
    try:
        found = local.read_document(files[PACKAGE])
    except (YaosuError, OSError):
        return None
    listed = isinstance(found, dict) and isinstance(found.get("resources"), list)
    return found if listed else None


def _same(
    known: Mapping[str, Any], front: Mapping[str, Any], text: str, files: Mapping[str, Path]
) -> bool:
    """Say whether the card still says what the descriptor beside it says."""
    kinds: tuple[card.Dialect, ...] = ("huggingface", "modelscope")
    return text == card.body(known) and any(
        dict(front) == card.front_matter(known, kind, only=files) for kind in kinds
    )


def _held(document: Mapping[str, Any], files: Mapping[str, Path]) -> dict[str, Path]:
    """Return the files that the resources of a descriptor name."""
    held: dict[str, Path] = {}
    for resource in document.get("resources") or ():
        path = resource.get("path") if isinstance(resource, dict) else None
        for part in path if isinstance(path, list) else [path]:
            if isinstance(part, str) and part in files:
                held[part] = files[part]
    return held


# --- writing -----------------------------------------------------------------------------------


def _describe(place: Path, record: Record, dialect: card.Dialect) -> None:
    """Write card and descriptor; the configs name only files that are there."""
    document = dict(record.document)
    for name in (CARD, PACKAGE):
        (place / name).unlink(missing_ok=True)
    front = card.front_matter(document, dialect, only=record.files)
    (place / CARD).write_text(card.write(front, card.body(document)), "utf-8")
    local.write_document(place / PACKAGE, document)
