"""What a package, resource, schema, field or dialect must look like, with every problem at once.

The rules are those of Data Package v1 and v2 as Frictionless 5.21 enforces them: the kind and the
order of problems are the same, the words are ours. Documents come normalised (`descriptors.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from yaosu_schemas.errors import Text
from yaosu_schemas.texts import clip

from .check import Finding
from .fields import BOUNDS, CONSTRAINTS, LIST_ITEM_TYPES, field_from
from .patterns import Unsupported, matcher
from .readers import BadConstraint, cell_reader

V1_NAME = re.compile("^([-a-z0-9._/])+$")
PROFILES = (
    *("data-package", "tabular-data-package", "fiscal-data-package"),
    *("data-resource", "tabular-data-resource"),
)
RESOURCE_TYPES = ("file", "json", "table", "text")
_TYPE = "^([-a-z/])+$"

_STR = {"type": "string"}
_STRS = {"type": "array", "items": _STR}
_LICENSES = {
    "type": "array",
    "items": {"type": "object", "properties": {"name": _STR, "path": _STR, "title": _STR}},
}
_SOURCES = {
    "type": "array",
    "items": {"type": "object", "properties": {"title": _STR, "path": _STR, "email": _STR}},
}
_MISSING = {
    "anyOf": [
        _STRS,
        {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["value"],
                "properties": {"value": _STR, "label": _STR},
            },
        },
    ]
}
_ABOUT = {
    "name": _STR,
    "type": {"type": "string", "pattern": _TYPE},
    "title": _STR,
    "description": _STR,
    "homepage": _STR,
    "profile": _STR,
    "licenses": _LICENSES,
    "sources": _SOURCES,
}
PACKAGE: dict[str, Any] = {
    "type": "object",
    "required": ["resources"],
    "properties": {
        **_ABOUT,
        "contributors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": dict.fromkeys(
                    ("title", "path", "email", "organisation", "role"), _STR
                ),
            },
        },
        "keywords": _STRS,
        "image": _STR,
        "version": _STR,
        "created": _STR,
        "resources": {"type": "array", "items": {"type": "object"}},
    },
}
_INT = {"type": "integer"}
RESOURCE: dict[str, Any] = {
    "type": "object",
    "required": ["name"],
    "properties": {
        **_ABOUT,
        "path": _STR,
        "data": {"type": ["object", "array"]},
        **dict.fromkeys(("scheme", "format", "mediatype", "compression"), _STR),
        "extrapaths": {"type": "array"},
        **dict.fromkeys(("innerpath", "encoding", "hash"), _STR),
        **dict.fromkeys(("bytes", "fields", "rows"), _INT),
        "dialect": {"type": ["object", "string"]},
        "schema": {"type": ["object", "string"]},
    },
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["fields"],
    "properties": {
        "name": {"type": "string", "pattern": V1_NAME.pattern},
        "type": {"type": "string", "pattern": _TYPE},
        "title": _STR,
        "description": _STR,
        "fields": {"type": "array"},
        "fieldsMatch": {
            "type": "string",
            "enum": ["exact", "equal", "subset", "superset", "partial"],
        },
        "missingValues": _MISSING,
        "primaryKey": _STRS,
        "uniqueKeys": {"type": "array", "items": _STRS},
        "foreignKeys": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "fields": _STRS,
                    "reference": {
                        "type": "object",
                        "required": ["resource", "fields"],
                        "properties": {"resource": _STR, "fields": _STRS},
                    },
                },
            },
        },
    },
}
FIELD: dict[str, Any] = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": _STR,
        "type": {"type": "string", "pattern": _TYPE},
        "title": _STR,
        "description": _STR,
        "format": _STR,
        "missingValues": _MISSING,
        "constraints": {
            "type": "object",
            "properties": {
                "required": {"type": "boolean"},
                "unique": {"type": "boolean"},
                "pattern": _STR,
                "enum": {"type": "array"},
                "minLength": _INT,
                "maxLength": _INT,
                "jsonSchema": {"type": "object"},
            },
        },
        "rdfType": _STR,
    },
}
_BOOL = {"type": "boolean"}
_FIELD_EXTRAS: dict[str, dict[str, Any]] = {
    "string": {
        "format": {"enum": ["default", "email", "uri", "binary", "uuid", "wkt"]},
    },
    "geojson": {"format": {"enum": ["default", "topojson"]}},
    "boolean": {"trueValues": _STRS, "falseValues": _STRS},
    "integer": {"bareNumber": _BOOL},
    "number": {
        "bareNumber": _BOOL,
        "floatNumber": _BOOL,
        "decimalChar": _STR,
        "groupChar": _STR,
    },
    "array": {"arrayItem": {"type": "object"}},
    "list": {
        "delimiter": {"type": "string", "pattern": "."},
        "itemType": {"type": "string", "enum": list(LIST_ITEM_TYPES)},
    },
}
DIALECT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "pattern": V1_NAME.pattern},
        "type": {"type": "string", "pattern": _TYPE},
        "title": _STR,
        "description": _STR,
        "header": _BOOL,
        "headerRows": {"type": "array", "items": _INT},
        "headerJoin": _STR,
        "headerCase": _BOOL,
        "commentChar": _STR,
        "commentRows": {"type": "array"},
        "skipBlankRows": _BOOL,
    },
}
_CONTROLS: dict[str, dict[str, Any]] = {
    "csv": {
        **dict.fromkeys(("delimiter", "lineTerminator", "quoteChar"), _STR),
        "doubleQuote": _BOOL,
        "escapeChar": _STR,
        "nullSequence": _STR,
        "skipInitialSpace": _BOOL,
    },
    "json": {"keys": _STRS, "keyed": _BOOL, "property": _STR},
    "excel": {"sheet": {"type": ["number", "string"]}},
    "ods": {"sheet": {"type": ["number", "string"]}},
}

# What Frictionless has controls for, and we read without.
_OTHER_CONTROLS = (
    *("aws", "buffer", "ckan", "github", "gsheets", "html", "inline", "local", "multipart"),
    *("pandas", "parquet", "remote", "spss", "sql", "stream", "yaml", "zenodo"),
)

_PYTHON: dict[str, Any] = {
    "string": lambda v: isinstance(v, str),
    "array": lambda v: isinstance(v, list),
    "object": lambda v: isinstance(v, Mapping),
    "boolean": lambda v: isinstance(v, bool),
    "integer": lambda v: (
        (isinstance(v, int) and not isinstance(v, bool))
        or (isinstance(v, float) and v.is_integer())
    ),
    "number": lambda v: isinstance(v, int | float) and not isinstance(v, bool),
}


def shape(value: Any, rule: Mapping[str, Any], pointer: str = "") -> Iterator[tuple[str, Text]]:
    """Yield (pointer, words) where a value breaks one of our small JSON-Schema rules."""
    types = rule.get("type")
    if types is not None:
        names = [types] if isinstance(types, str) else types
        if not any(_PYTHON[name](value) for name in names):
            wanted = " / ".join(names)
            yield pointer, Text(f"{clip(value)!r} is not of type {wanted}", f"不是 {wanted} 类型")
    if isinstance(value, Mapping):
        for name in rule.get("required", ()):
            if name not in value:
                yield pointer, Text(f"{name!r} is required", f"缺少必需的“{name}”")
        for name, inner in rule.get("properties", {}).items():
            if name in value:
                yield from shape(value[name], inner, f"{pointer}/{name}")
    if isinstance(value, list) and "items" in rule:
        for i, item in enumerate(value):
            yield from shape(item, rule["items"], f"{pointer}/{i}")
    if isinstance(value, str) and "pattern" in rule and not re.search(rule["pattern"], value):
        yield (
            pointer,
            Text(
                f"{clip(value)!r} has characters that a name may not have", "名称含有不允许的字符"
            ),
        )
    if "enum" in rule and value not in rule["enum"]:
        options = ", ".join(map(str, rule["enum"]))
        yield (
            pointer,
            Text(f"{clip(value)!r} is none of: {options}", f"不在允许的取值中：{options}"),
        )
    if "anyOf" in rule and not any(not list(shape(value, r)) for r in rule["anyOf"]):
        yield (
            pointer,
            Text(f"{clip(value)!r} has none of the allowed shapes", "不符合任何允许的形式"),
        )


def version_of(document: Mapping[str, Any], inherited: str | None = None) -> str:
    """Return `v1`, `v2` or `unknown` (a profile of someone's own) by `$schema`."""
    if inherited is not None:
        return inherited
    schema = document.get("$schema")
    if not schema or not isinstance(schema, str):
        return "v1"
    found = re.search(r"//datapackage\.org/profiles/(\d+)\.\d+/", schema)
    return {"1": "v1", "2": "v2"}.get(found.group(1), "unknown") if found else "unknown"


def _finding(type_: str, pointer: str, words: Text) -> Finding:
    where = Text(
        words.en + (f" at {pointer}" if pointer else ""),
        words.zh + (f"（{pointer}）" if pointer else ""),
    )
    return Finding(type=type_, note=where, pointer=pointer)


def _shape(type_: str, value: Any, rule: Mapping[str, Any], at: str) -> list[Finding]:
    return [_finding(type_, at + p, words) for p, words in shape(value, rule)]


def package_findings(package: Mapping[str, Any]) -> list[Finding]:
    """Return what is wrong with a whole package, its resources and their schemas included."""
    version = version_of(package)
    found = _shape("package-error", package, PACKAGE, "")
    resources = package.get("resources")
    if isinstance(resources, Mapping):
        found += resource_findings(resources, version, "/resources")
    if isinstance(resources, list):
        for i, resource in enumerate(resources):
            if isinstance(resource, Mapping):
                found += resource_findings(resource, version, f"/resources/{i}")
    if found:
        return found
    name = package.get("name")
    if name is not None and version == "v1" and not V1_NAME.search(name):
        return [_finding("package-error", "/name", _bad_name(name))]
    unsafe = _unsafe(package, ("profile",))
    if unsafe:
        return [_finding("package-error", *unsafe)]
    return list(_package_rules(package))


def _package_rules(package: Mapping[str, Any]) -> Iterator[Finding]:
    names = [r["name"] for r in package["resources"] if isinstance(r, Mapping) and "name" in r]
    if len(names) != len(set(names)):
        yield _finding(
            "package-error",
            "/resources",
            Text("two resources have the same name", "有资源重名"),
        )
    created = package.get("created")
    if created:
        _, notes = cell_reader(field_from({"name": "created", "type": "datetime"}))(created)
        if notes:
            yield _finding(
                "package-error", "/created", Text("it is no date and time", "不是有效的日期时间")
            )
    yield from _about_rules("package-error", package, "")
    if package.get("profile") == "tabular-data-package":
        for i, resource in enumerate(package["resources"]):
            if resource.get("profile") != "tabular-data-resource":
                yield _finding(
                    "package-error",
                    f"/resources/{i}/profile",
                    Text(
                        "every resource of a tabular data package is a tabular data resource",
                        "表格数据包的每个资源都必须是表格数据资源",
                    ),
                )
    for name in ("missingValues", "fields"):
        if name in package:
            yield _finding(
                "package-error",
                f"/{name}",
                Text(
                    f"{name!r} belongs into the schema of a resource",
                    f"“{name}”应写在资源的 schema 中",
                ),
            )


def _about_rules(type_: str, document: Mapping[str, Any], at: str) -> Iterator[Finding]:
    for i, item in enumerate(document.get("licenses", ())):
        if not item.get("path") and not item.get("name"):
            yield _finding(
                type_,
                f"{at}/licenses/{i}",
                Text("a licence needs a name or a path", "许可需要 name 或 path"),
            )
    for name in ("contributors", "sources"):
        for i, item in enumerate(document.get(name, ())):
            email = item.get("email") if isinstance(item, Mapping) else None
            if not email:
                continue
            field = field_from({"name": "email", "type": "string", "format": "email"})
            if cell_reader(field)(email)[1]:
                yield _finding(
                    type_,
                    f"{at}/{name}/{i}/email",
                    Text("it is no email address", "不是有效的电子邮件地址"),
                )


def resource_findings(
    resource: Mapping[str, Any], inherited: str | None = None, at: str = ""
) -> list[Finding]:
    """Return what is wrong with a resource, its dialect and schema included."""
    version = version_of(resource, inherited)
    found = _shape("resource-error", resource, RESOURCE, at)
    if isinstance(resource.get("dialect"), Mapping):
        found += dialect_findings(resource["dialect"], f"{at}/dialect")
    if isinstance(resource.get("schema"), Mapping):
        found += schema_findings(resource["schema"], version, f"{at}/schema")
    if found:
        return found
    if version == "v1" and not V1_NAME.search(resource["name"]):
        return [_finding("resource-error", f"{at}/name", _bad_name(resource["name"]))]
    unsafe = _unsafe(resource, ("path", "extrapaths", "profile", "dialect", "schema"))
    if unsafe:
        return [_finding("resource-error", at + unsafe[0], unsafe[1])]
    return list(_resource_rules(resource, at))


def _resource_rules(resource: Mapping[str, Any], at: str) -> Iterator[Finding]:
    path, data = resource.get("path"), resource.get("data")
    if path is None and data is None:
        yield _finding("resource-error", at, Text("it needs a path or data", "需要 path 或 data"))
    if path is not None and data is not None:
        yield _finding(
            "resource-error",
            at,
            Text("it has a path and data, and may have only one", "path 与 data 不能同时存在"),
        )
    yield from _about_rules("resource-error", resource, at)
    if resource.get("profile") == "tabular-data-resource" and not resource.get("schema"):
        yield _finding(
            "resource-error",
            at,
            Text("a tabular data resource needs a schema", "表格数据资源需要 schema"),
        )
    if "missingValues" in resource:
        yield _finding(
            "resource-error",
            f"{at}/missingValues",
            Text("'missingValues' belongs into the schema", "“missingValues”应写在 schema 中"),
        )


def dialect_findings(dialect: Mapping[str, Any], at: str = "") -> list[Finding]:
    """Return what is wrong with a dialect, the controls of formats in it apart."""
    return _shape("dialect-error", dialect, DIALECT, at)


def control_findings(dialect: Any, at: str = "") -> list[Finding]:
    """Return what is wrong with the first bad control of a format in a dialect."""
    for name, value in dialect.items() if isinstance(dialect, Mapping) else ():
        if not isinstance(value, Mapping) or name in (*DIALECT["properties"], "$schema"):
            continue
        if name not in _CONTROLS and name not in _OTHER_CONTROLS:
            note = Text(f"there is no format {clip(name)!r}", f"没有格式“{clip(name)}”")
            return [_finding("control-error", f"{at}/{name}", note)]
        rules = {"type": "object", "properties": _CONTROLS.get(name, {})}
        found = _shape("control-error", value, rules, f"{at}/{name}")
        if found:
            return found
    return []


def schema_findings(
    schema: Mapping[str, Any], inherited: str | None = None, at: str = ""
) -> list[Finding]:
    """Return what is wrong with a table schema and its fields."""
    version = version_of(schema, inherited)
    found = _shape("schema-error", schema, SCHEMA, at)
    fields = schema.get("fields")
    if isinstance(fields, Mapping):
        found += field_findings(fields, version, f"{at}/fields")
    if isinstance(fields, list):
        for i, field in enumerate(fields):
            if isinstance(field, Mapping):
                found += field_findings(field, version, f"{at}/fields/{i}")
    return found or list(_schema_rules(schema, version, at))


def odd_fields(schema: Any, at: str = "") -> list[Finding]:
    """Return the first field that is no object, in a schema that is well written but for that."""
    odd = Text("a field is an object", "字段应为对象")
    for i, field in enumerate(schema["fields"] if isinstance(schema, Mapping) else ()):
        if not isinstance(field, Mapping):
            return [_finding("field-error", f"{at}/fields/{i}", odd)]
    return []


def _schema_rules(schema: Mapping[str, Any], version: str, at: str) -> Iterator[Finding]:
    def wrong(pointer: str, en: str, zh: str) -> Finding:
        return _finding("schema-error", at + pointer, Text(en, zh))

    names = [f["name"] for f in schema["fields"] if isinstance(f, Mapping) and "name" in f]
    if len(names) != len(set(names)):
        yield wrong("/fields", "two fields have the same name", "有字段重名")
    for name in schema.get("primaryKey", ()):
        if name not in names:
            yield wrong(
                "/primaryKey",
                f"the primary key names {clip(name)!r}, which is no field",
                f"主键中的“{clip(name)}”不是字段",
            )
    for key in schema.get("uniqueKeys", ()):
        for name in key:
            if name not in names:
                yield wrong(
                    "/uniqueKeys",
                    f"a unique key names {clip(name)!r}, which is no field",
                    f"唯一键中的“{clip(name)}”不是字段",
                )
    yield from _missing_rules("schema-error", schema, version, at)
    for i, key in enumerate(schema.get("foreignKeys", ())):
        for name in key["fields"]:
            if name not in names:
                yield wrong(
                    f"/foreignKeys/{i}",
                    f"the foreign key names {clip(name)!r}, which is no field",
                    f"外键中的“{clip(name)}”不是字段",
                )
        if len(key["fields"]) != len(key["reference"]["fields"]):
            yield wrong(
                f"/foreignKeys/{i}",
                f"{len(key['fields'])} fields refer to {len(key['reference']['fields'])}",
                f"{len(key['fields'])} 个字段引用了 {len(key['reference']['fields'])} 个字段",
            )


def _missing_rules(
    type_: str, document: Mapping[str, Any], version: str, at: str
) -> Iterator[Finding]:
    entries = document.get("missingValues") or ()
    if not any(isinstance(e, Mapping) for e in entries):
        return
    for part in ("value", "label"):
        texts = [e[part] for e in entries if isinstance(e, Mapping) and e.get(part) is not None]
        for text in sorted({t for t in texts if texts.count(t) > 1}, key=texts.index):
            yield _finding(
                type_,
                f"{at}/missingValues",
                Text(f"the {part} {clip(text)!r} stands there twice", f"“{clip(text)}”重复出现"),
            )
    if version == "v1":
        yield _finding(
            type_,
            f"{at}/missingValues",
            Text(
                "missing values as objects need Data Package v2",
                "对象形式的缺失值需要 Data Package v2",
            ),
        )


def field_findings(
    field: Mapping[str, Any], version: str = "unknown", at: str = ""
) -> list[Finding]:
    """Return what is wrong with one field."""
    kind = field.get("type") or "string"
    rule = dict(FIELD, properties={**FIELD["properties"]})
    for name, extra in _FIELD_EXTRAS.get(kind, {}).items():
        rule["properties"][name] = {**rule["properties"].get(name, {}), **extra}
    found = _shape("field-error", field, rule, at)
    return found or list(_field_rules(field, kind, version, at))


def _field_rules(field: Mapping[str, Any], kind: str, version: str, at: str) -> Iterator[Finding]:
    def wrong(pointer: str, en: str, zh: str) -> Finding:
        return _finding("field-error", at + pointer, Text(en, zh))

    constraints = field.get("constraints", {})
    for name in constraints:
        if name not in (*CONSTRAINTS[kind], "unique"):
            yield wrong(
                f"/constraints/{name}",
                f"the type {kind!r} does not know the constraint {clip(name)!r}",
                f"类型“{kind}”不支持约束“{clip(name)}”",
            )
    yield from _missing_rules("field-error", field, version, at)
    if version == "v1":
        for name in BOUNDS[2:]:
            if name in constraints:
                yield wrong(
                    f"/constraints/{name}",
                    f"{name} needs Data Package v2",
                    f"{name} 需要 Data Package v2",
                )
    odd = list(_category_rules(field, kind, at))
    yield from odd
    contradiction = None if odd else _contradiction(field)
    if contradiction is not None:
        yield wrong("/constraints", contradiction.en, contradiction.zh)
    elif field.get("example"):
        plain = {k: v for k, v in field.items() if k in _EXAMPLE_KEYS}
        if cell_reader(field_from(plain))(field["example"])[1]:
            yield wrong("/example", "the example is not valid itself", "示例值本身无效")
    if "required" in field:
        yield wrong(
            "/required",
            "'required' belongs into 'constraints'",
            "“required”应写在“constraints”中",
        )


def _category_rules(field: Mapping[str, Any], kind: str, at: str) -> Iterator[Finding]:
    """Look at `categories` (Table Schema v2): distinct values of strings and integers."""
    entries = field.get("categories")
    if entries is None:
        return
    why = None
    if kind not in ("string", "integer"):
        why = Text("only strings and integers have categories", "只有字符串与整数可有 categories")
    elif not isinstance(entries, list):
        why = Text("categories are a list", "categories 应为列表")
    else:
        values = [e.get("value") if isinstance(e, Mapping) else e for e in entries]
        if any(isinstance(v, list | dict) or v is None for v in values):
            why = Text("a category has no plain value", "有类别缺少普通值")
        elif len({(type(v), v) for v in values}) != len(values):
            why = Text("two categories have the same value", "有类别值重复")
    if why is not None:
        yield _finding("field-error", f"{at}/categories", why)


_EXAMPLE_KEYS = ("name", "type", "format", "trueValues", "falseValues")


def _contradiction(field: Mapping[str, Any]) -> Text | None:
    """Say why no cell could ever be judged: a pattern that cannot run, a bound of another type."""
    pattern = field.get("constraints", {}).get("pattern")
    try:
        if isinstance(pattern, str):
            matcher(pattern)
        cell_reader(field_from(field))
    except Unsupported as why:
        return Text(
            f"the pattern is not supported: {clip(why, 100)}",
            f"不支持该正则表达式：{clip(why, 100)}",
        )
    except BadConstraint as why:
        return Text(f"{why.constraint} {why.why}", f"约束 {why.constraint} 的值与字段类型不符")
    except (KeyError, TypeError, AttributeError):
        return Text("a constraint has the wrong shape", "约束的形式不正确")
    return None


def _bad_name(name: str) -> Text:
    return Text(
        f"the name {clip(name)!r} has characters that v1 does not allow (a-z 0-9 . _ - /)",
        f"名称“{clip(name)}”含有 v1 不允许的字符（仅限 a-z 0-9 . _ - /）",
    )


def _unsafe(document: Mapping[str, Any], keys: tuple[str, ...]) -> tuple[str, Text] | None:
    from yaosu_schemas.paths import is_remote, path_problem

    for key in keys:
        value = document.get(key)
        for item in value if isinstance(value, list) else [value]:
            if not isinstance(item, str) or not item:
                continue
            if key == "profile" and "/" not in item:
                continue
            if is_remote(item) and not item.lower().startswith("file:"):
                continue  # never fetched; said where the bytes would be needed
            why = path_problem(item.removeprefix("./"))
            if why is not None:
                return f"/{key}", Text(
                    f"the path {clip(item)!r} is not safe: {why.en}",
                    f"路径“{clip(item)}”不安全：{why.zh}",
                )
    return None
