"""Runs a document against one of our JSON Schemas: every problem, a pointer, two sentences.

The schemas lie beside this file; references between them resolve in a local registry, so that
nothing is ever fetched, whatever a document or a schema names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yaosu_schemas.errors import NotFound, Problem, Text

from .codes import code_list
from .formats import FORMATS
from .texts import clip, text_problem

if TYPE_CHECKING:
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator

Path_ = tuple[str | int, ...]

MAX_DEPTH = 64
MAX_KEYS = 10_000
MAX_NODES = 1_000_000
MAX_PROBLEMS = 1_000
_SAFE_INTEGER = 2**53 - 1

_FOLDER = Path(__file__).parent / "json"
_TYPES = {
    "string": Text("text", "文本"),
    "integer": Text("a whole number", "整数"),
    "number": Text("a number", "数字"),
    "boolean": Text("true or false", "布尔值"),
    "object": Text("an object", "对象"),
    "array": Text("a list", "列表"),
    "null": Text("null", "空值"),
}


@cache
def load(name: str) -> Mapping[str, Any]:
    """Return one of our JSON Schemas by name; NotFound names those that exist."""
    file = _FOLDER / f"{name}.schema.json"
    if not re.fullmatch(r"[a-z-]+", name) or not file.is_file():
        known = ", ".join(schema_names())
        raise NotFound(
            f"there is no schema {clip(name)!r}; there are: {known}",
            f"没有名为“{clip(name)}”的规范，现有：{known}",
        )
    schema: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return schema


@cache
def schema_names() -> tuple[str, ...]:
    """Return the names of all our schemas."""
    return tuple(sorted(f.name.split(".")[0] for f in _FOLDER.glob("*.schema.json")))


def json_ready(document: object) -> tuple[Any, list[Problem]]:
    """Return a copy as JSON has it (days and times of YAML as text), and what JSON cannot carry."""
    problems: list[Problem] = []
    count = 0

    def copy(value: object, path: Path_) -> Any:
        nonlocal count
        count += 1
        if count > MAX_NODES or len(path) > MAX_DEPTH:
            raise _TooBig(path)
        if isinstance(value, Mapping):
            if len(value) > MAX_KEYS:
                raise _TooBig(path)
            # Null says the same as an absent key, so that both are told in the same words.
            return {str(k): copy(v, (*path, str(k))) for k, v in value.items() if v is not None}
        if isinstance(value, list | tuple):
            return [copy(v, (*path, i)) for i, v in enumerate(value)]
        if isinstance(value, datetime | date):
            return value.isoformat()
        problem = _scalar_problem(value)
        if problem is not None:
            problems.append(_problem(path, "not_json", problem))
            return None
        return value

    try:
        return copy(document, ()), problems
    except _TooBig as e:
        text = Text(
            f"it is too large here: at most {MAX_DEPTH} levels and {MAX_KEYS} keys an object",
            f"此处过大：最多 {MAX_DEPTH} 层嵌套、每个对象 {MAX_KEYS} 个键",
        )
        return None, [_problem(e.path, "too_large", text)]


def conform(document: Any, name: str, *, missing: bool = True) -> list[Problem]:
    """Return every problem of a JSON-ready document under the schema of that name.

    Without `missing` nothing is said of what is not there: most of the work for a draft.
    """
    found: dict[tuple[str, str, str], Problem] = {}
    for error in _validator(name, missing).iter_errors(document):
        for problem in _translate(error, name):
            found.setdefault((problem.pointer, problem.code, problem.en), problem)
        if len(found) >= MAX_PROBLEMS:
            break
    return list(found.values())


def unsafe_texts(document: Any, name: str, skip: frozenset[str]) -> Iterator[Problem]:
    """Yield every key and text that holds control characters, surrogates or overrides.

    Below the keys in `skip` stands data, which is not judged here.
    """
    stack: list[tuple[Path_, Any]] = [((), document)]
    while stack:
        path, value = stack.pop()
        if isinstance(value, str):
            problem = text_problem(value)
            if problem is not None:
                words = label(name, path)
                text = Text(f"{words.en}: {problem.en}", f"{words.zh}：{problem.zh}")
                yield _problem(path, "unsafe_text", text)
        elif isinstance(value, dict):
            for key, inner in value.items():
                if text_problem(key, layout=False) is not None:
                    text = Text("a key holds a character that may not be", "键名含有不允许的字符")
                    yield _problem(path, "unsafe_text", text)
                elif key not in skip:
                    stack.append(((*path, key), inner))
        elif isinstance(value, list):
            stack.extend(((*path, i), inner) for i, inner in enumerate(value))


def pointer(path: Sequence[str | int]) -> str:
    """Return the JSON pointer of a path (RFC 6901); a foreign key is clipped."""
    return "".join(
        "/" + clip(str(part), 200).replace("~", "~0").replace("/", "~1") for part in path
    )


def schema_at(name: str, path: Sequence[str | int]) -> Mapping[str, Any]:
    """Return the part of a schema that speaks of a place; empty where none does."""
    node: Mapping[str, Any] = load(name)
    for part in path:
        node = deref(node)
        if isinstance(part, int):
            node = node.get("items", {})
        else:
            node = node.get("properties", {}).get(part, {})
    return node


def order(name: str, place: str) -> tuple[tuple[int, str], ...]:
    """Return a key that sorts JSON pointers as the schema lists its fields."""
    node: Mapping[str, Any] = load(name)
    keys: list[tuple[int, str]] = []
    for part in place.split("/")[1:]:
        node = deref(node)
        fields = node.get("properties", {})
        if part in fields:
            keys.append((list(fields).index(part), ""))
        elif part.isascii() and part.isdigit():
            keys.append((int(part[:12]), ""))
        else:
            keys.append((10_000, part))
        node = fields.get(part) or node.get("items", {})
    return tuple(keys)


def label(name: str, path: Sequence[str | int]) -> Text:
    """Return the words for a place: the title of the nearest part of the schema that has one."""
    plain, short = _plain(path)
    return _label(name, plain) if short else _label.__wrapped__(name, plain)


def _plain(path: Sequence[str | int]) -> tuple[tuple[str | int, ...], bool]:
    """Return a path with every place in a list as the first, and whether it may be remembered."""
    plain = tuple(0 if isinstance(part, int) else part for part in path)
    return plain, sum(len(part) for part in plain if isinstance(part, str)) < 200


@lru_cache(maxsize=4096)
def _label(name: str, path: tuple[str | int, ...]) -> Text:
    for end in range(len(path), 0, -1):
        node = schema_at(name, path[:end])
        title = node.get("title") or deref(node).get("title")
        if title:
            return Text(title, node.get("title_zh") or deref(node).get("title_zh", title))
        if isinstance(path[end - 1], str):
            part = clip(str(path[end - 1]), 60)
            return Text(f"“{part}”", f"“{part}”")
    schema = load(name)
    return Text(schema["title"], schema["title_zh"])


class _TooBig(Exception):
    def __init__(self, path: Path_) -> None:
        self.path = path


def _scalar_problem(value: object) -> Text | None:
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, str):
        if any("\ud800" <= c <= "\udfff" for c in value):
            return Text("the text holds half of a surrogate pair", "文本含有不成对的代理字符")
        return None
    if isinstance(value, int):
        if abs(value) > _SAFE_INTEGER:
            return Text("the number is beyond ±(2^53-1)", "整数超出 ±(2^53-1)")
        return None
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            return Text("the number is not finite", "数字不是有限值")
        return None
    return Text("it is nothing that JSON can carry", "不是 JSON 可表示的值")


@cache
def _validator(name: str, missing: bool) -> Validator:
    from jsonschema import Draft202012Validator, FormatChecker, validators
    from referencing import Registry
    from referencing.jsonschema import DRAFT202012

    # A schema that names its dialect would be judged by that dialect's own class, without ours.
    bare = {n: {k: v for k, v in load(n).items() if k != "$schema"} for n in schema_names()}
    registry: Registry[Any] = Registry().with_resources(
        (schema["$id"], DRAFT202012.create_resource(schema)) for schema in bare.values()
    )
    checker = FormatChecker(formats=())
    for format_name, form in FORMATS.items():
        checker.checkers[format_name] = (_as_check(form.judge), ())
    types = Draft202012Validator.TYPE_CHECKER.redefine_many(
        {
            # JSON Schema calls 1.0 an integer; counts and money never come so, and true is not 1.
            "integer": lambda _, v: isinstance(v, int) and not isinstance(v, bool),
            "number": lambda _, v: isinstance(v, int | float) and not isinstance(v, bool),
        }
    )
    extend: Any = validators.extend
    kind = extend(
        Draft202012Validator,
        {
            # A person fills in a descriptor field by field; of a record one has the part or not.
            "required": partial(_required, leaves=name == "dataset") if missing else _nothing,
            "additionalProperties": _additional,
            "x-codes": _codes,
            "pattern": _pattern,
        },
        type_checker=types,
    )
    validator: Validator = kind(bare[name], registry=registry, format_checker=checker)
    return validator


def _as_check(judge: Any) -> Any:
    # No date, code or address is so long; a judge never has to read a novel.
    return lambda value: not isinstance(value, str) or (len(value) <= 10_000 and judge(value))


def _required(
    _: Any, names: Sequence[str], instance: Any, schema: Mapping[str, Any], *, leaves: bool
) -> Iterator[ValidationError]:
    from jsonschema import ValidationError

    if not isinstance(instance, dict):
        return
    for name in names:
        if name not in instance:
            part = schema.get("properties", {}).get(name, {}) if leaves else {}
            for path in _leaves(part, (name,)):
                yield ValidationError("missing", path=path, validator="required")


def _nothing(*_: Any) -> Iterator[ValidationError]:
    return iter(())


def _leaves(schema: Mapping[str, Any], path: Path_) -> Iterator[Path_]:
    """Yield what a person has to fill in: the fields below an absent object, not the object."""
    inner = deref(schema)
    required = inner.get("required", ()) if inner.get("type") == "object" else ()
    if not required:
        yield path
    for name in required:
        yield from _leaves(inner["properties"].get(name, {}), (*path, name))


def _additional(
    _: Any, allowed: Any, instance: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    from jsonschema import ValidationError

    if allowed is not False or not isinstance(instance, dict):
        return
    for key in instance:
        if key not in schema.get("properties", {}):
            yield ValidationError("unknown", path=(key,), validator="additionalProperties")


def _codes(_: Any, name: str, instance: Any, __: Mapping[str, Any]) -> Iterator[ValidationError]:
    from jsonschema import ValidationError

    if isinstance(instance, str) and instance not in code_list(name):
        yield ValidationError("code", validator="x-codes")


def _pattern(
    _: Any, pattern: str, instance: Any, __: Mapping[str, Any]
) -> Iterator[ValidationError]:
    from jsonschema import ValidationError

    # Python's `$` also matches before a last line break, ECMA 262's does not.
    if isinstance(instance, str) and (
        instance.endswith("\n") or re.search(pattern, instance) is None
    ):
        yield ValidationError("pattern", validator="pattern")


@cache
def _by_id() -> dict[str, Mapping[str, Any]]:
    return {load(name)["$id"]: load(name) for name in schema_names()}


def deref(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema that a reference between our own schemas names."""
    while "$ref" in schema:
        base, _, fragment = str(schema["$ref"]).partition("#")
        schema = _by_id()[base]
        for part in fragment.split("/")[1:]:
            schema = schema[part]
    return schema


def _translate(error: ValidationError, name: str) -> Iterator[Problem]:
    path = tuple(error.absolute_path)
    rule = str(error.validator)
    if _is_absence(rule, error.instance):
        plain, short = _plain(path)
        said = (_absence if short else _absence.__wrapped__)(name, plain)
        yield Problem(
            pointer=pointer(path), code="missing", en=said.en, zh=said.zh, severity="missing"
        )
        return
    words = label(name, path)
    code, text = _message(rule, error, schema_at(name, path))
    severity = "error"
    if rule == "additionalProperties":
        severity = "warning"
    if rule == "x-codes" and code_list(str(error.validator_value)).allows(str(error.instance)):
        severity = "warning"
    en, zh = f"{words.en}: {text.en}", f"{words.zh}：{text.zh}"
    yield Problem(pointer=pointer(path), code=code, en=en, zh=zh, severity=severity)


def _is_absence(rule: str, instance: object) -> bool:
    return rule == "required" or (rule in ("minItems", "minLength") and not instance)


@lru_cache(maxsize=4096)
def _absence(name: str, path: tuple[str | int, ...]) -> Text:
    """Return what is said of a place where nothing stands: the same for every document."""
    words, node = label(name, path), schema_at(name, path)
    description = node.get("description", ""), node.get("description_zh", "")
    hint = Text(
        f" ({description[0]})" if description[0] else "",
        f"（{description[1]}）" if description[1] else "",
    )
    choice = _choice(str(node["x-codes"])) if "x-codes" in node else Text("", "")
    return Text(
        f"{words.en}: it is missing{hint.en}{choice.en}",
        f"{words.zh}：尚未填写{hint.zh}{choice.zh}",
    )


def _message(rule: str, error: ValidationError, node: Mapping[str, Any]) -> tuple[str, Text]:
    value: Any = error.instance
    limit: Any = error.validator_value
    shown = Text("", "") if node.get("x-private") else _shown(value)
    if rule == "type":
        kinds = [_TYPES[t] for t in ([limit] if isinstance(limit, str) else limit)]
        en, zh = " or ".join(k.en for k in kinds), "或".join(k.zh for k in kinds)
        return "type", Text(f"it must be {en}{shown.en}", f"须为{zh}{shown.zh}")
    if rule == "x-codes":
        return "unknown_code", _code_message(str(limit), value)
    if rule == "format":
        form = FORMATS[str(limit)]
        why = form.reason(str(value)) or Text("", "")
        return f"format_{limit}".replace("-", "_"), Text(
            f"it must be {form.text.en}{shown.en}" + (why.en and f" ({why.en})"),
            f"须为 {form.text.zh}{shown.zh}" + (why.zh and f"（{why.zh}）"),
        )
    if rule == "additionalProperties":
        return "unknown_field", _unknown_message(error, node)
    return _rule_message(rule, limit, node, shown)


def _rule_message(rule: str, limit: Any, node: Mapping[str, Any], shown: Text) -> tuple[str, Text]:
    listed = ", ".join(str(v) for v in limit) if isinstance(limit, list) else str(limit)
    texts = {
        "enum": Text(f"it must be one of {listed}", f"须为以下之一：{listed}"),
        "const": Text(f"it must be {listed}", f"须为 {listed}"),
        "pattern": Text(
            f"it does not have the right form ({node.get('description', '')})",
            f"格式不正确（{node.get('description_zh', '')}）",
        ),
        "minimum": Text(f"it must be at least {limit}", f"不得小于 {limit}"),
        "maximum": Text(f"it must be at most {limit}", f"不得大于 {limit}"),
        "minLength": Text(f"it needs at least {limit} characters", f"至少 {limit} 个字符"),
        "maxLength": Text(f"it is longer than {limit} characters", f"超过 {limit} 个字符"),
        "minItems": Text(f"it needs at least {limit} entries", f"至少需要 {limit} 项"),
        "maxItems": Text(f"it has more than {limit} entries", f"超过 {limit} 项"),
        "uniqueItems": Text("an entry stands in it twice", "列表中有重复项"),
    }
    text = texts.get(rule, Text(f"it breaks the rule {rule}", f"不符合规则 {rule}"))
    tail = Text("", "") if rule in ("maxLength", "minItems", "maxItems", "uniqueItems") else shown
    return rule.lower(), Text(text.en + tail.en, text.zh + tail.zh)


def _choice(name: str) -> Text:
    """Say which codes a field may have: each with its meaning where a person can read them all."""
    codes = code_list(name)
    if len(codes) > 12:
        return Text(
            f"; one of the {len(codes)} codes of the list {name!r}",
            f"；取代码表“{codes.title.zh}”（{len(codes)} 项）之一",
        )
    # Codes are English words or official numbers: only the latter say nothing by themselves.
    meant = [f"{e.code} ({e.en})" if len(e.code) < 4 or "-" in e.code else e.code for e in codes]
    return Text(
        "; one of " + ", ".join(meant),
        "；可填：" + "、".join(f"{e.code}（{e.zh}）" for e in codes),
    )


def _code_message(name: str, value: Any) -> Text:
    codes = code_list(name)
    near = codes.near(str(value))
    if near:
        en = "did you mean " + " or ".join(f"{c} ({codes.text(c).en})" for c in near) + "?"
        zh = "是否为" + "、".join(f"{c}（{codes.text(c).zh}）" for c in near) + "？"
    elif len(codes) <= 30:
        en, zh = "it may be " + ", ".join(codes.codes), "可填：" + "、".join(codes.codes)
    else:
        en, zh = f"the list has {len(codes)} codes", f"该表共有 {len(codes)} 个代码"
    return Text(
        f"{clip(value)!r} is not in the code list {name!r}; {en}",
        f"“{clip(value)}”不在代码表“{codes.title.zh}”中；{zh}",
    )


def _unknown_message(error: ValidationError, _: Mapping[str, Any]) -> Text:
    import difflib

    key = str(error.absolute_path[-1])
    schema: Any = error.schema
    near = difflib.get_close_matches(key[:80], schema.get("properties", {}), n=1)
    hint = Text(f"; did you mean {near[0]!r}?", f"；是否为“{near[0]}”？") if near else Text("", "")
    return Text(
        f"the field is not known and nobody will read it{hint.en}",
        f"未知字段，将不被读取{hint.zh}",
    )


def _shown(value: object) -> Text:
    if isinstance(value, dict | list):
        return Text("", "")
    text = clip(json.dumps(value, ensure_ascii=False, default=str))
    return Text(f", not {text}", f"，现为 {text}")


def _problem(path: Path_, code: str, text: Text, severity: str = "error") -> Problem:
    return Problem(pointer=pointer(path), code=code, en=text.en, zh=text.zh, severity=severity)
