"""Foreign Croissant documents (1.0 and 1.1): judged, then brought over; nothing is fetched.

The rules are those without which nothing can be loaded: types, ids, references, sources, data
types, joins. A document that breaks one is refused with every rule that it breaks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from yaosu_schemas.canonical import digest
from yaosu_schemas.errors import InvalidDocument, InvalidInput, Problem, Text, YaosuError
from yaosu_schemas.paths import is_remote
from yaosu_schemas.texts import clip

from . import croissant_site, local, remote
from .connector import About, Record, Skipped
from .croissant_descriptor import descriptor, id_of, items, kinds, one_of, reference
from .remote import After, Ask, Page

MAX_DEPTH = 12


class CroissantFiles:
    """Harvests Croissant documents: of a folder, of a site's map, or of a list of addresses."""

    def about(self) -> About:
        return About(
            name="croissant",
            title=Text("Croissant documents", "Croissant 描述文件"),
            speaks=("Croissant 1.1", "Croissant 1.0", "schema.org/Dataset"),
        )

    def harvest(self, source: str, /) -> Iterator[Record | Skipped]:
        if is_remote(source):
            return remote.watched(self.pages(source))
        return _folder(local.open_root(source))

    def pages(self, source: str, /, after: After = None, ask: Ask | None = None) -> Iterator[Page]:
        """Yield what stands at the addresses of a site; `after` is the place in its list."""
        return croissant_site.pages(remote.address(source), after, ask or remote.plain, record_of)


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
                    yield Skipped(origin_id=path, why=why_not(error))


def why_not(error: YaosuError | OSError) -> Text:
    """Return every rule that was broken, or the one reason."""
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


def _problem(pointer: str, code: str, en: str, zh: str) -> Problem:
    return Problem(pointer=pointer, code=code, en=en, zh=zh)


def problems(said: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield every rule that a document breaks."""
    if "Dataset" not in kinds(said):
        yield _problem("/@type", "type", "it is no schema.org/Dataset",
                       "不是 schema.org/Dataset")  # fmt: skip
    files = items(said, "distribution")
    known = {id_of(f): f for f in files if isinstance(f, dict)}
    for n, file in enumerate(files):
        yield from _file(f"/distribution/{n}", file, known)
    sets = items(said, "recordSet")
    fields = {id_of(f) for s in sets if isinstance(s, dict) for f in _all_fields(s)}
    fields |= {id_of(s) for s in sets if isinstance(s, dict)}
    for n, one in enumerate(sets):
        yield from _record_set(f"/recordSet/{n}", one, known, fields, said)


def _file(pointer: str, said: Any, known: Mapping[str, Any]) -> Iterator[Problem]:
    named = kinds(said)
    if not named & {"FileObject", "FileSet"}:
        yield _problem(pointer, "type", f"{clip(sorted(named))} is no FileObject or FileSet",
                       f"{clip(sorted(named))} 不是 FileObject 或 FileSet")  # fmt: skip
        return
    yield from _spaces(pointer, said)
    if not one_of(said, "encodingFormat"):
        yield _problem(f"{pointer}/encodingFormat", "required", "encodingFormat is missing",
                       "缺少 encodingFormat")  # fmt: skip
    inside = [reference(r) for r in items(said, "containedIn")]
    if "FileObject" in named and not one_of(said, "contentUrl"):
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


def _all_fields(said: Mapping[str, Any], depth: int = 0) -> Iterator[dict[str, Any]]:
    if depth > MAX_DEPTH:
        raise InvalidInput("its fields are nested too deeply", "字段嵌套过深")
    for key in ("field", "subField"):
        for one in items(said, key):
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
    if "RecordSet" not in kinds(said):
        yield _problem(pointer, "type", "it is no RecordSet", "不是 RecordSet")
        return
    yield from _spaces(pointer, said)
    used: set[str] = set()
    joined = False
    has_data = bool(items(said, "data"))
    typed = bool(one_of(said, "dataType"))
    for n, field in enumerate(items(said, "field")):
        here = f"{pointer}/field/{n}"
        if "Field" not in kinds(field):
            yield _problem(here, "type", "it is no Field", "不是 Field")
            continue
        joined = joined or bool(items(field, "references"))
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
    if items(field, "subField") or items(field, "parentField") or items(field, "references"):
        return True
    source = one_of(field, "source")
    if isinstance(source, dict) and items(source, "field"):
        return True  # the type of the field it is taken from
    kind = one_of(field, "dataType")
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
    source = one_of(said, "source") if speaks or "cr:source" in said else None
    if source is None:
        stands_for = ("subField", "value", "references")
        if not has_data and not any(items(said, key) for key in stands_for):
            yield _problem(f"{pointer}/source", "source", "it has neither source nor value",
                           "缺少 source 或 value")  # fmt: skip
        return
    named = {
        key: reference(value)
        for key in ("fileObject", "fileSet", "field", "distribution", "recordSet")
        if isinstance(source, dict) and (value := one_of(source, key)) is not None
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
        if not items(said, key):
            yield Problem(pointer=f"/{key}", code="required", en=f"it has no {key}",
                          zh=f"缺少 {key}", severity="warning")  # fmt: skip
