"""What a record is for, told by the names and types of its fields alone.

Only shapes that trainers agree on are named: a guess here becomes a claim on a market.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

TEXT_FIELDS = frozenset({"text", "content", "body", "passage", "document", "raw_content"})
_MEDIA_FIELDS = {
    "image": "image", "images": "image", "image_url": "image", "img": "image", "jpg": "image",
    "png": "image", "image_path": "image",
    "audio": "audio", "audios": "audio", "speech": "audio", "wav": "audio",
    "video": "video", "videos": "video", "clip": "video",
}  # fmt: skip
_CODE_FIELDS = frozenset({"code", "canonical_solution", "entry_point", "func_code_string"})


@dataclass(frozen=True, slots=True)
class Shape:
    """What records of a file are for: stages and modalities, codes of the two lists."""

    stages: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    name: str = ""


def shape_of(fields: Mapping[str, str], split: str = "") -> Shape:
    """Return the shape of records with these fields (name to Table Schema type)."""
    names = {name.lower() for name in fields}
    name, stages = _use(names, fields, split)
    modalities = _modalities(names, bool(name))
    return Shape(stages, modalities, name)


def _use(names: set[str], fields: Mapping[str, str], split: str) -> tuple[str, tuple[str, ...]]:
    messages = names & {"messages", "conversations", "conversation", "dialog", "dialogue"}
    chosen = names & {"chosen", "chosen_messages"}
    rejected = names & {"rejected", "rejected_messages"}
    if chosen and rejected:
        return "preference pairs", ("reinforcement_learning",)
    if messages and fields.get("label") == "boolean":
        return "preference labels", ("reinforcement_learning",)
    if {"prompt", "canonical_solution", "test"} <= names:
        return "programming tasks", ("evaluation",)
    if messages:
        return "conversations", ("instruction_tuning",)
    if "instruction" in names and names & {"output", "response", "instances"}:
        return "instructions", ("instruction_tuning",)
    if names >= {"prompt", "completion"} or names >= {"prompt", "response"}:
        return "instructions", ("instruction_tuning",)
    if names >= {"question", "choices"} or names >= {"question", "a", "b", "c", "d"}:
        return "multiple choice", ("evaluation",)
    if names >= {"question", "answer"}:
        stage = "evaluation" if split in ("test", "validation") else "instruction_tuning"
        return "questions and answers", (stage,)
    if fields.get("text") == "string" and not names & set(_MEDIA_FIELDS) and "label" not in names:
        return "running text", ("pretraining",)
    return "", ()


def _modalities(names: set[str], has_use: bool) -> tuple[str, ...]:
    found = ["text"] if has_use or names & TEXT_FIELDS else []
    found += sorted({_MEDIA_FIELDS[name] for name in names if name in _MEDIA_FIELDS})
    if names & _CODE_FIELDS:
        found.append("code")
    if "timestamp" in names and any(name.startswith("observation.") for name in names):
        found.append("time_series")  # episodes of a robot: states and actions over time
    return tuple(found)


_SPLITS = {
    "train": "train", "training": "train", "trn": "train",
    "test": "test", "testing": "test", "eval": "test", "evaluation": "test", "t10k": "test",
    "valid": "validation", "validation": "validation", "val": "validation", "dev": "validation",
}  # fmt: skip


def split_of(path: str) -> str:
    """Return "train", "validation" or "test" if the name of a file or its folder says so."""
    folders, _, name = path.lower().rpartition("/")
    for part in (name.split(".", 1)[0], *reversed(folders.split("/"))):
        words = part.replace("_", "-").split("-")
        for word in (part, words[0], words[-1]):
            if word in _SPLITS:
                return _SPLITS[word]
    return ""


def in_order(codes: Iterable[str], order: Iterable[str]) -> list[str]:
    """Return the codes without repetition in the order of their list."""
    wanted = set(codes)
    return [code for code in order if code in wanted]
