"""Which shape of record a corpus holds, and what each field is for.

The names of fields decide where trainers agree on them; what nobody named is text where it reads
like text. A publisher corrects the guess in the descriptor: `"records": {"shape": "instruction",
"roles": {"问题": "prompt", "答案": "answer"}, "labels": ["类别"], "split": "组", "id": "编号"}`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from yaosu_schemas.errors import InvalidInput

from .view import Role

SHAPES = (
    *("text", "instruction", "messages", "preference", "kto", "qa", "caption", "tc609"),
    *("completion", "table"),
)
SPEAKERS = {
    "system": Role.SYSTEM, "developer": Role.SYSTEM,
    "user": Role.PROMPT, "human": Role.PROMPT, "prompter": Role.PROMPT, "question": Role.PROMPT,
    "usr": Role.PROMPT, "instruction": Role.PROMPT, "customer": Role.PROMPT,
    "用户": Role.PROMPT, "问": Role.PROMPT,
    "assistant": Role.ANSWER, "gpt": Role.ANSWER, "model": Role.ANSWER, "bot": Role.ANSWER,
    "chatgpt": Role.ANSWER, "bard": Role.ANSWER, "bing": Role.ANSWER, "answer": Role.ANSWER,
    "ai": Role.ANSWER, "agent": Role.ANSWER, "助手": Role.ANSWER, "答": Role.ANSWER,
    "function_call": Role.TOOL, "tool_call": Role.TOOL, "tool_calls": Role.TOOL,
    "observation": Role.OBSERVATION, "tool": Role.OBSERVATION, "function": Role.OBSERVATION,
    "function_response": Role.OBSERVATION, "tool_response": Role.OBSERVATION,
    "ipython": Role.OBSERVATION,
}  # fmt: skip
SPEAKER_KEYS = ("role", "from", "speaker")
CONTENT_KEYS = ("content", "value", "text", "message")

CONVERSATIONS = (
    *("messages", "conversations", "conversation", "dialog", "dialogue", "turns", "dialogs"),
    *("对话", "消息"),
)
HISTORY = "history"  # [[question, answer], …] before the last question
CHOSEN = ("chosen", "chosen_messages", "chosen_response")
REJECTED = ("rejected", "rejected_messages", "rejected_response")
_PAIRS = (
    ("answer1", "answer2"), ("response_a", "response_b"), ("response_0", "response_1"),
    ("response1", "response2"), ("answer_a", "answer_b"), ("output_1", "output_2"),
    ("human_ref_a", "human_ref_b"), ("completion_a", "completion_b"), ("answer_0", "answer_1"),
)  # fmt: skip
ASKING = (
    *("instruction", "prompt", "question", "query", "problem", "user_input", "问题", "指令"),
    *(
        "ctx",
        "source",
        "src",
        "input_text",
        "inputs_pretokenized",
        "goal",
        "提问",
        "题目",
        "riddle",
        "谜面",
    ),
)
_ANSWER = (
    *("output", "response", "answer", "answers", "completion", "solution", "target"),
    *("canonical_solution", "reasoning", "rationale", "explanation", "choices", "options"),
    *(
        "targets",
        "tgt",
        "output_text",
        "endings",
        "code",
        "a",
        "b",
        "c",
        "d",
        "e",
        "correct_answer",
    ),
    *("best_answer", "correct_answers", "回答", "答案", "输出", "选项"),
)
_INPUT = ("input", "context", "passage", "inputs", "background", "输入", "上下文")
_SYSTEM = ("system", "system_prompt", "系统")
_TOOLS = ("tools", "functions", "available_tools")
_TEXT = (
    *("text", "content", "body", "passage", "document", "article", "paragraphs", "raw_content"),
    *("paragraph", "sentence", "sentence1", "sentence2", "premise", "hypothesis", "abstract"),
    *("summary", "translation", "正文", "内容", "文本", "摘要"),
)
_CAPTION = ("caption", "captions", "alt", "alt_text", "description", "图注", "描述")
_IMAGES = ("image", "images", "img", "image_path", "image_id", "jpg", "png", "image_url", "url")
_AUDIO = ("audio", "audios", "wav", "video", "videos", "speech", "clip")
_LABELS = (
    *("label", "labels", "category", "categories", "class", "classes", "tag", "tags", "topic"),
    *("topics", "sentiment", "intent", "kto_tag", "label_text", "fine_label", "coarse_label"),
    *(
        "answer_key",
        "answerkey",
        "difficulty",
        "coarse_label",
        "ner_tags",
        "emotion",
        "intent_label",
        "标签",
        "类别",
        "分类",
        "情感",
    ),
)
_SPLITS = ("split", "subset", "partition", "数据划分", "划分")
_IDS = ("id", "_id", "uid", "uuid", "guid", "task_id", "record_id", "idx", "rid", "编号")
SPLIT_NAMES = {
    "train": "train", "training": "train", "trn": "train", "训练": "train", "训练集": "train",
    "test": "test", "testing": "test", "eval": "test", "测试": "test", "测试集": "test",
    "valid": "validation", "validation": "validation", "val": "validation", "dev": "validation",
    "验证": "validation", "验证集": "validation",
}  # fmt: skip

SAMPLE = 200
PROSE_WIDTH = 40.0  # mean width of a value that reads like text; a CJK character counts twice
_FEW = 0.5  # a field of the shape is there in at least this share of the sample


@dataclass(frozen=True, slots=True)
class Mapped:
    """How records of one resource become a view."""

    shape: str = "table"
    roles: Mapping[str, Role] = ()  # type: ignore[assignment]  # field path to role; else CELL
    labels: tuple[str, ...] = ()
    split: str = ""
    id: str = ""
    corrected: bool = False  # the publisher said so

    def fields(self) -> tuple[tuple[str, str], ...]:
        return tuple((path, role.name.lower()) for path, role in sorted(self.roles.items()))


def mapping_of(sample: Sequence[Any], declared: Mapping[str, Any] | None = None) -> Mapped:
    """Return the mapping of records like these; what the publisher declared wins."""
    records = [r for r in sample[:SAMPLE] if isinstance(r, Mapping)]
    guessed = _guess(records)
    return guessed if declared is None else _corrected(guessed, declared)


def _corrected(guessed: Mapped, declared: Mapping[str, Any]) -> Mapped:
    shape = declared.get("shape", guessed.shape)
    if shape not in SHAPES:
        raise InvalidInput(
            f"records.shape: there is no shape {shape!r}; there are: {', '.join(SHAPES)}",
            f"records.shape：没有“{shape}”；可用的有：{'、'.join(SHAPES)}",
            field="records.shape",
        )
    roles = dict(guessed.roles)
    names = {role.name.lower(): role for role in Role}
    given = declared.get("roles", {})
    for path, name in given.items() if isinstance(given, Mapping) else [("roles", given)]:
        if not isinstance(name, str) or name not in names:
            raise InvalidInput(
                f"records.roles.{path}: there is no such role; there are: {', '.join(names)}",
                f"records.roles.{path}：没有该角色；可用的有：{'、'.join(names)}",
                field=f"records.roles.{path}",
            )
        roles[path] = names[name]
    labels = declared.get("labels", guessed.labels)
    return Mapped(
        shape=shape,
        roles={path: role for path, role in roles.items() if role},
        labels=tuple(str(label) for label in labels) if isinstance(labels, list | tuple) else (),
        split=str(declared.get("split", guessed.split)),
        id=str(declared.get("id", guessed.id)),
        corrected=True,
    )


def _guess(records: list[Mapping[str, Any]]) -> Mapped:
    if not records:
        return Mapped(roles={})
    counts = Counter(key for record in records for key in record)
    usual = [str(key) for key, n in counts.items() if n >= _FEW * len(records)]
    names = {name.lower(): name for name in reversed(usual)}
    shape, roles = _shape(names, records)
    if shape in ("table", "text", "caption"):
        for path in _prose(records):
            roles.setdefault(path, Role.TEXT)
        if shape == "table" and Role.TEXT in roles.values():
            shape = "text" if _mostly_text(roles, usual) else "table"
    taken = set(roles)
    every = {str(key).lower(): str(key) for key in counts}
    return Mapped(
        shape=shape,
        roles=roles,
        labels=tuple(name for key in _LABELS if (name := every.get(key)) and name not in taken)
        + _annotators(every, taken)
        + (("annotation.label",) if shape == "tc609" else ()),
        split=_split_field(every, records),
        id=next((names[key] for key in _IDS if key in names), ""),
    )


def _shape(
    names: Mapping[str, str], records: list[Mapping[str, Any]]
) -> tuple[str, dict[str, Role]]:
    """Return the shape and the roles that names alone give."""

    def all_of(keys: Iterable[str], role: Role) -> dict[str, Role]:
        return {names[key]: role for key in keys if key in names}

    chosen, rejected = all_of(CHOSEN, Role.CHOSEN), all_of(REJECTED, Role.REJECTED)
    for first, second in _PAIRS:
        if first in names and second in names and not chosen:
            chosen, rejected = {names[first]: Role.CHOSEN}, {names[second]: Role.REJECTED}
    talk = {k: r for k, r in all_of(CONVERSATIONS, Role.PROMPT).items() if _is_talk(k, records)}
    before = all_of(ASKING, Role.PROMPT)
    around = all_of(_SYSTEM, Role.SYSTEM) | all_of(_TOOLS, Role.TOOLS)
    if chosen and rejected:
        return "preference", {**all_of(_INPUT, Role.INPUT), **before, **around, **talk, **chosen,
                              **rejected}  # fmt: skip
    flags = [k for k in ("label", "kto_tag") if k in names and _is_flag(names[k], records)]
    if talk:
        return ("kto" if flags else "messages"), {**around, **talk}
    after = all_of(_ANSWER, Role.ANSWER)
    inputs = all_of(_INPUT, Role.INPUT)
    if flags and before and after:
        return "kto", {**inputs, **before, **after}
    if "data_content" in names:
        return "tc609", {f"{names['data_content']}[].content": Role.TEXT}
    if not before and after and ("input" in names or "inputs" in names):
        asked = names.get("text") or names.get("input") or names["inputs"]
        return "instruction", {**inputs, asked: Role.PROMPT, **after, **around}
    if before and after:
        puzzled = {"question", "problem", "问题", "题目"} & set(names)
        solved = "canonical_solution" in names or "entry_point" in names
        shape = "qa" if (puzzled and "instruction" not in names) or solved else "instruction"
        return shape, {**inputs, **before, **after, **around}
    if before and "instances" in names:
        inner = names["instances"]
        return "instruction", {
            **before, f"{inner}[].input": Role.INPUT, f"{inner}[].output": Role.ANSWER,
        }  # fmt: skip
    captions = all_of(_CAPTION, Role.CAPTION)
    if captions and set(names) & {*_IMAGES, *_AUDIO}:
        return "caption", captions
    if after and "completion" in names:
        return "completion", after
    texts = {k: r for k, r in all_of(_TEXT, Role.TEXT).items() if _is_text(k, records)}
    return (
        ("caption" if texts and set(names) & {*_IMAGES[:-1], *_AUDIO} else "text", texts)
        if (texts)
        else ("table", {})
    )


def _is_talk(name: str, records: list[Mapping[str, Any]]) -> bool:
    values = [r[name] for r in records if r.get(name)]
    return bool(values) and all(isinstance(v, list) for v in values)


def _is_flag(name: str, records: list[Mapping[str, Any]]) -> bool:
    values = [r[name] for r in records if r.get(name) is not None]
    return bool(values) and all(isinstance(v, bool) or v in (0, 1, "true", "false") for v in values)


def _is_text(name: str, records: list[Mapping[str, Any]]) -> bool:
    values = [r[name] for r in records if r.get(name) is not None]
    return any(isinstance(v, str) for v in values) or any(
        isinstance(v, list) and all(isinstance(x, str) for x in v) for v in values
    )


def _mostly_text(roles: Mapping[str, Role], names: Sequence[str]) -> bool:
    """Say whether a record is its text with some words about it, not a row with a remark."""
    return len(names) <= 8 or len(roles) * 2 >= len(names)


def _annotators(every: Mapping[str, str], taken: set[str]) -> tuple[str, ...]:
    marks = ("annotator_", "annotator", "label_", "rater_", "rater", "标注员")
    return tuple(
        name
        for key, name in sorted(every.items())
        if key.startswith(marks) and key not in _LABELS and name not in taken
    )


def _split_field(every: Mapping[str, str], records: list[Mapping[str, Any]]) -> str:
    for key in _SPLITS:
        name = every.get(key)
        values = {str(r[name]).lower() for r in records if name and r.get(name) is not None}
        if name and values and values <= set(SPLIT_NAMES):
            return name
    return ""


def _prose(records: list[Mapping[str, Any]]) -> list[str]:
    """Return the paths of string fields whose values read like text."""
    widths: dict[str, list[float]] = {}
    for record in records:
        _measure(record, "", widths, 0)
    return sorted(
        path
        for path, seen in widths.items()
        if len(seen) >= 0.2 * len(records) and sum(seen) / len(seen) >= PROSE_WIDTH
    )


def _measure(value: Any, path: str, widths: dict[str, list[float]], depth: int) -> None:
    if isinstance(value, str):
        widths.setdefault(path, []).append(_width(value))
    elif isinstance(value, Mapping) and depth < 4:
        for key, inner in list(value.items())[:64]:
            _measure(inner, f"{path}.{key}" if path else str(key), widths, depth + 1)
    elif isinstance(value, list) and depth < 4:
        for inner in value[:8]:
            _measure(inner, f"{path}[]", widths, depth + 1)


def _width(text: str) -> float:
    """Return how wide a text reads: 0 for what has no words (addresses, hashes, paths)."""
    head = text[:400]
    if head.isascii() and (" " not in head.strip() or head.startswith(("http://", "https://"))):
        return 0.0
    wide = sum(1 for c in head if c >= "\u2e80")
    return len(head) + wide
