"""Foreign Croissant documents (1.0 and 1.1): judged, then brought over; nothing is fetched.

The rules are those without which nothing can be loaded: types, ids, references, sources, data
types, joins. A document that breaks one is refused with every rule that it breaks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from yaosu_schemas import licences
from yaosu_schemas.canonical import digest
from yaosu_schemas.errors import InvalidDocument, InvalidInput, Problem, Text, YaosuError
from yaosu_schemas.texts import clip

from . import local
from .connector import About, Record, Skipped
from .croissant import TYPES

_TYPES = {theirs: ours for ours, theirs in reversed(TYPES.items())}
_NUMBERS = {"Int": "integer", "UInt": "integer", "Float": "number"}
MAX_DEPTH = 12


class CroissantFiles:
    """Harvests a folder of Croissant documents."""

    def about(self) -> About:
        return About(
            name="croissant",
            title=Text("Croissant documents", "Croissant 描述文件"),
            speaks=("Croissant 1.1", "Croissant 1.0"),
        )

    def harvest(self, source: str, /) -> Iterator[Record | Skipped]:
        return _folder(local.open_root(source))


def _folder(root: Path) -> Iterator[Record | Skipped]:
    for step in local.walk(root):
        if isinstance(step, local.Refused):
            yield Skipped(origin_id=step.path, why=step.why)
            continue
        for name in step.files:
            if name.endswith((".json", ".jsonld")):
                path = f"{step.path}/{name}" if step.path else name
                try:
                    yield record_of(local.read_document(root / path), path)
                except (YaosuError, OSError) as error:
                    yield Skipped(origin_id=path, why=_why(error))


def _why(error: YaosuError | OSError) -> Text:
    if isinstance(error, InvalidDocument):
        return Text(
            clip("; ".join(p.en for p in error.problems), 1000),
            clip("；".join(p.zh for p in error.problems), 1000),
        )
    return local.why_not(error)


def record_of(said: Any, path: str) -> Record:
    """Return a document as a record; InvalidDocument with every broken rule."""
    if not isinstance(said, dict):
        raise InvalidInput("the document is not an object", "文档不是 JSON 对象")
    wrong = list(problems(said))
    if wrong:
        raise InvalidDocument(wrong)
    identity = said.get("@id") or said.get("url")
    return Record(
        origin_id=clip(identity, 400) if isinstance(identity, str) and identity else path,
        kind="dataset",
        document=descriptor(said),
        digest=digest(said),
        notes=tuple(_missing(said)),
    )


# --- rules -------------------------------------------------------------------------------------


def _bare(name: Any) -> str:
    """Return a name without prefix or vocabulary."""
    return re.split(r"[/#:]", name)[-1] if isinstance(name, str) else ""


def _items(said: Mapping[str, Any], key: str) -> list[Any]:
    """Return what stands under a key, whatever prefix it has, as a list."""
    for name in (key, f"cr:{key}", f"sc:{key}", f"ml:{key}"):
        if name in said:
            value = said[name]
            return value if isinstance(value, list) else [value]
    return []


def _one(said: Mapping[str, Any], key: str) -> Any:
    found = _items(said, key)
    return found[0] if found else None


def _kinds(said: Any) -> set[str]:
    kind = said.get("@type") if isinstance(said, dict) else None
    return {_bare(k) for k in (kind if isinstance(kind, list) else [kind])}


def _id(said: Mapping[str, Any]) -> str:
    return str(said.get("@id") or _text(said.get("name")) or "")


def _problem(pointer: str, code: str, en: str, zh: str) -> Problem:
    return Problem(pointer=pointer, code=code, en=en, zh=zh)


def problems(said: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield every rule that a document breaks."""
    if "Dataset" not in _kinds(said):
        yield _problem("/@type", "type", "it is no schema.org/Dataset",
                       "不是 schema.org/Dataset")  # fmt: skip
    files = _items(said, "distribution")
    known = {_id(f): f for f in files if isinstance(f, dict)}
    for n, file in enumerate(files):
        yield from _file(f"/distribution/{n}", file, known)
    sets = _items(said, "recordSet")
    fields = {_id(f) for s in sets if isinstance(s, dict) for f in _all_fields(s)}
    fields |= {_id(s) for s in sets if isinstance(s, dict)}
    for n, one in enumerate(sets):
        yield from _record_set(f"/recordSet/{n}", one, known, fields, said)


def _file(pointer: str, said: Any, known: Mapping[str, Any]) -> Iterator[Problem]:
    kinds = _kinds(said)
    if not kinds & {"FileObject", "FileSet"}:
        yield _problem(pointer, "type", f"{clip(sorted(kinds))} is no FileObject or FileSet",
                       f"{clip(sorted(kinds))} 不是 FileObject 或 FileSet")  # fmt: skip
        return
    yield from _spaces(pointer, said)
    if not _one(said, "encodingFormat"):
        yield _problem(f"{pointer}/encodingFormat", "required", "encodingFormat is missing",
                       "缺少 encodingFormat")  # fmt: skip
    inside = [_reference(r) for r in _items(said, "containedIn")]
    if "FileObject" in kinds and not _one(said, "contentUrl"):
        yield _problem(f"{pointer}/contentUrl", "required", "contentUrl is missing",
                       "缺少 contentUrl")  # fmt: skip
    for name in inside:
        if name not in known:
            yield _problem(f"{pointer}/containedIn", "reference",
                           f"containedIn: there is no {clip(name)!r}",
                           f"containedIn：不存在“{clip(name)}”")  # fmt: skip


def _spaces(pointer: str, said: Mapping[str, Any]) -> Iterator[Problem]:
    if re.search(r"\s", str(said.get("@id") or "")):
        yield _problem(f"{pointer}/@id", "id", "an @id holds no spaces", "@id 不得含空格")


def _reference(value: Any) -> str:
    return str(value.get("@id", "")) if isinstance(value, dict) else str(value)


def _all_fields(said: Mapping[str, Any], depth: int = 0) -> Iterator[dict[str, Any]]:
    if depth > MAX_DEPTH:
        raise InvalidInput("its fields are nested too deeply", "字段嵌套过深")
    for key in ("field", "subField"):
        for one in _items(said, key):
            if isinstance(one, dict):
                yield one
                yield from _all_fields(one, depth + 1)


def _record_set(
    pointer: str,
    said: Any,
    files: Mapping[str, Any],
    fields: set[str],
    whole: Mapping[str, Any],
) -> Iterator[Problem]:
    if "RecordSet" not in _kinds(said):
        yield _problem(pointer, "type", "it is no RecordSet", "不是 RecordSet")
        return
    yield from _spaces(pointer, said)
    used: set[str] = set()
    joined = False
    has_data = bool(_items(said, "data"))
    typed = bool(_one(said, "dataType"))
    for n, field in enumerate(_items(said, "field")):
        here = f"{pointer}/field/{n}"
        if "Field" not in _kinds(field):
            yield _problem(here, "type", "it is no Field", "不是 Field")
            continue
        joined = joined or bool(_items(field, "references"))
        yield from _field(here, field, files, fields, has_data, used, _speaks(whole, "source"))
        if not _typed(field, whole) and not typed:
            yield _problem(f"{here}/dataType", "data_type", "it has no valid dataType",
                           "缺少有效的 dataType")  # fmt: skip
    if len(used) > 1 and not joined:
        yield _problem(pointer, "join", f"it takes {clip(sorted(used))} without a join",
                       f"使用 {clip(sorted(used))} 而未声明关联")  # fmt: skip


def _speaks(whole: Mapping[str, Any], name: str) -> bool:
    """Tell whether the context gives a name Croissant's meaning, not schema.org's."""
    context = whole.get("@context")
    return not isinstance(context, dict) or name in context


def _typed(field: Mapping[str, Any], whole: Mapping[str, Any]) -> bool:
    """Tell whether a field has a data type, or parts that have one.

    A short name is a type only where the context says so (`dataType` is of `@vocab`).
    """
    if _items(field, "subField") or _items(field, "parentField") or _items(field, "references"):
        return True
    source = _one(field, "source")
    if isinstance(source, dict) and _items(source, "field"):
        return True  # the type of the field it is taken from
    kind = _one(field, "dataType")
    if not kind:
        return False
    context = whole.get("@context")
    if isinstance(kind, str) and isinstance(context, dict) and not kind.startswith("http"):
        if "cr:dataType" in field or "ml:dataType" in field:
            return True
        return isinstance(context.get("dataType"), dict)
    return True


def _field(
    pointer: str,
    said: Mapping[str, Any],
    files: Mapping[str, Any],
    fields: set[str],
    has_data: bool,
    used: set[str],
    speaks: bool,
) -> Iterator[Problem]:
    source = _one(said, "source") if speaks or "cr:source" in said else None
    if source is None:
        stands_for = ("subField", "value", "references")
        if not has_data and not any(_items(said, key) for key in stands_for):
            yield _problem(f"{pointer}/source", "source", "it has neither source nor value",
                           "缺少 source 或 value")  # fmt: skip
        return
    named = {
        key: _reference(value)
        for key in ("fileObject", "fileSet", "field", "distribution", "recordSet")
        if isinstance(source, dict) and (value := _one(source, key)) is not None
    }
    if isinstance(source, dict) and not named and "@id" in source:
        named = {"fileObject": str(source["@id"])}
    if not named:
        yield _problem(f"{pointer}/source", "source", "its source names no file and no field",
                       "source 未指明文件或字段")  # fmt: skip
    for key, name in named.items():
        if name not in files and name not in fields:
            yield _problem(f"{pointer}/source/{key}", "reference",
                           f"its source: there is no {clip(name)!r}",
                           f"source：不存在“{clip(name)}”")  # fmt: skip
        elif key in ("fileObject", "fileSet", "distribution"):
            used.add(name)


def _missing(said: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what the specification demands and the document does not say (1.1 §3)."""
    for key in ("name", "description", "license", "url", "creator", "datePublished"):
        if not _items(said, key):
            yield Problem(pointer=f"/{key}", code="required", en=f"it has no {key}",
                          zh=f"缺少 {key}", severity="warning")  # fmt: skip


# --- as a descriptor ---------------------------------------------------------------------------


def _text(value: Any) -> str:
    """Return a text, of several languages the Chinese, the English or the first."""
    if isinstance(value, list):
        return _text(value[0]) if value else ""
    if isinstance(value, dict):
        if "@value" in value:
            return _text(value["@value"])
        languages = [value.get("zh"), value.get("en"), *value.values()]
        return next((v for v in languages if isinstance(v, str)), "")
    return str(value).strip() if isinstance(value, str | int | float) else ""


def descriptor(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document as a Data Package descriptor."""
    name = _text(_one(said, "name"))
    plain = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-.")[:100] or "dataset"
    title = _text(_one(said, "alternateName")) or name or plain
    found: dict[str, Any] = {"name": plain, "title": title}
    for ours, theirs in (("description", "description"), ("created", "dateCreated")):
        if text := _text(_one(said, theirs)):
            found[ours] = text
    if version := _text(_one(said, "version")):
        found["version"] = version
    if words := [w for k in _items(said, "keywords") for w in _words(k)]:
        found["keywords"] = words
    spdx = _licence(said, found)
    people = [_text(c.get("name")) for c in _items(said, "creator") if isinstance(c, dict)]
    if titles := [p for p in people if p]:
        found["contributors"] = [{"title": t, "roles": ["creator"]} for t in titles]
    if sources := list(_sources(said)):
        found["sources"] = sources
    resources, elsewhere = _resources(said)
    if resources:
        found["resources"] = resources
    if elsewhere:
        found["croissant:distribution"] = elsewhere
    if element := _element(said, spdx):
        found["dataElement"] = element
    return found


def _words(value: Any) -> Iterator[str]:
    for word in _text(value).split(","):
        if word.strip():
            yield word.strip()


def _licence(said: Mapping[str, Any], found: dict[str, Any]) -> str | None:
    given = _one(said, "license")
    text = _text(given.get("name") or given.get("url")) if isinstance(given, dict) else _text(given)
    if not text or text == "unspecified":
        return None
    spdx = licences.from_open_definition(text.rstrip("/").rsplit("/", 1)[-1]) or (
        text if text.startswith("LicenseRef-") else None
    )
    found["licenses"] = [{"name": spdx} if spdx else {"title": text[:300]}]
    return spdx


def _sources(said: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    for one in _items(said, "prov:wasDerivedFrom"):
        if isinstance(one, dict):
            title, url = _text(one.get("name")), _text(one.get("url") or one.get("@id"))
            if title or url:
                yield {"title": title or url, **({"path": url} if url else {})}


def _resources(said: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[Any]]:
    """Return (tables in files of the package, all other files as they were described)."""
    files = {_id(f): f for f in _items(said, "distribution") if isinstance(f, dict)}
    tables: dict[str, tuple[str, list[dict[str, Any]]]] = {}
    for one in _items(said, "recordSet"):
        fields = [f for f in _items(one, "field") if isinstance(f, dict)]
        for field in fields:
            source = _one(field, "source")
            name = _reference(_one(source, "fileObject")) if isinstance(source, dict) else ""
            if name in files:
                tables.setdefault(name, (_id(one), fields))
    resources, elsewhere = [], []
    for id, file in files.items():
        made = _resource(id, file, tables.get(id))
        if made is None:
            elsewhere.append(file)
        else:
            resources.append(made)
    return resources, elsewhere


def _resource(
    id: str, file: Mapping[str, Any], table: tuple[str, list[dict[str, Any]]] | None
) -> dict[str, Any] | None:
    path = _text(file.get("name"))
    if not id.startswith("files/") or not path or "FileObject" not in _kinds(file):
        return None  # not of ours: its address is kept, and never fetched
    stem = re.sub(r"[^a-z0-9._-]+", "-", (table[0] if table else path).lower()).strip("-.")
    found: dict[str, Any] = {"name": stem, "path": path}
    if text := _text(file.get("description")):
        found["description"] = text
    if media := _text(_one(file, "encodingFormat")):
        found["mediatype"] = media
    size = re.fullmatch(r"(\d{1,17}) B", _text(_one(file, "contentSize")))
    if size:
        found["bytes"] = int(size.group(1))
    if sha256 := _text(_one(file, "sha256")):
        found["hash"] = f"sha256:{sha256}"
    if "." in path:
        found["format"] = path.rsplit(".", 1)[-1].lower()
    if table:
        found["schema"] = {"fields": [_column(f) for f in table[1]]}
    return found


def _column(said: Mapping[str, Any]) -> dict[str, Any]:
    source = _one(said, "source")
    extract = _one(source, "extract") if isinstance(source, dict) else None
    column = _text(_one(extract, "column")) if isinstance(extract, dict) else ""
    name = column or _text(said.get("name")).rsplit("/", 1)[-1] or _id(said).rsplit("/", 1)[-1]
    if said.get("isArray") or said.get("repeated"):
        return {"name": name, "type": "array"}
    kind = _text(_one(said, "dataType"))
    short = re.sub(r"\d+$", "", _bare(kind))
    return {"name": name, "type": _TYPES.get(f"sc:{_bare(kind)}") or _NUMBERS.get(short, "string")}


def _element(said: Mapping[str, Any], spdx: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if spdx:
        found["license_spdx"] = spdx
    if languages := [_text(t) for t in _items(said, "inLanguage") if _text(t)]:
        found["languages"] = languages
    span = _text(_one(said, "temporalCoverage")).split("/")
    if len(span) == 2:
        ends = {k: v for k, v in zip(("start", "end"), span, strict=True) if v not in ("..", "")}
        found["coverage"] = {"temporal": ends}
    if text := _text(said.get("rai:dataUseCases")):
        found["scenario"] = text
    splits = [
        {"name": str(row["splits/name"])}
        for one in _items(said, "recordSet")
        if isinstance(one, dict) and one.get("@id") == "splits"
        for row in _items(one, "data")
        if isinstance(row, dict) and row.get("splits/name")
    ]
    if splits:
        found["ai"] = {"splits": splits}
    return found
