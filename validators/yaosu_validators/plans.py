"""Which resources a target holds, and by which descriptor they are judged."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yaosu_schemas.canonical import content_digest, digest
from yaosu_schemas.errors import InvalidInput, Malformed, NotFound, Text, Unsupported
from yaosu_schemas.paths import is_remote
from yaosu_schemas.texts import clip, system_reason

from .archives import members, unpacked
from .check import Finding
from .descriptors import (
    Refused,
    Unresolved,
    kind_of,
    package_from,
    parse_document,
    resource_from_document,
    schema_from_document,
)
from .fields import Schema, schema_from
from .json_texts import reason
from .judge import Outcome
from .resources import (
    Resource,
    from_descriptor,
    from_path,
    languages_of,
    slug,
    split_name,
    type_of,
)
from .streams import SourceProblem, magic, open_file

if TYPE_CHECKING:
    from .filecheck import PackageFiles

DESCRIPTORS = (
    "datapackage.json",
    "datapackage.yaml",
    "datapackage.yml",
    "dataresource.json",
)
KINDS = ("package", "resource", "schema", "table")
MAX_FILES = 10_000
_SNIFF = 1 << 20
_NAMED = 3  # of the files that were not looked at
_DATA = (
    *(".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".pq", ".arrow", ".feather"),
    *(".ipc", ".xlsx", ".xls", ".ods", ".gz", ".zst", ".bz2", ".xz", ".zip"),
)


@dataclass(slots=True)
class Plan:
    """What to judge: resources in order, and what is wrong with the descriptor itself."""

    place: str = ""
    resources: list[Resource] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    documents: dict[str, list[Finding]] = field(default_factory=dict)
    warnings: list[Text] = field(default_factory=list)
    document: Mapping[str, Any] | None = None
    folder: Path | None = None  # all that is below it belongs to the target
    stopped: bool = False  # a person stopped it: what was seen until then is reported

    def package(self) -> PackageFiles | None:
        """Return all files of the target; None where they do not lie below one folder."""
        from .filecheck import files_of

        roots = {r.root for r in self.resources} | ({self.folder} if self.folder else set())
        if len(roots) != 1:
            return None
        owners = {p.removeprefix("./"): r.name for r in self.resources for p in r.paths}
        return files_of(roots.pop(), owners, None if self.folder else sorted(owners))

    def digest(self, outcomes: list[Outcome], loose: Sequence[tuple[str, str]] = ()) -> str:
        """Return what the verdict is bound to: the descriptor's content, or the files' bytes.

        `loose` are files that no resource reads, by path, with their SHA-256.
        """
        if self.document is not None:
            try:
                return content_digest(self.document)
            except Malformed:
                return ""
        files = [
            {"path": o.place, "sha256": o.digests.sha256} for o in outcomes if o.digests is not None
        ]
        files += [{"path": path, "sha256": sha256} for path, sha256 in loose]
        if len(files) == 1 and len(outcomes) == 1:
            return "sha256:" + files[0]["sha256"]
        return digest(files) if files else ""


@contextmanager
def make_plan(
    target: str | Path | Mapping[str, Any],
    *,
    kind: str | None = None,
    schema: str | Path | Mapping[str, Any] | None = None,
    media: bool = False,
) -> Iterator[Plan]:
    """Open a target; NotFound or Unsupported if there is nothing that could be judged.

    With `media`, a folder is one even if it holds no table.
    """
    if kind is not None and kind not in KINDS:
        raise InvalidInput(
            f"there is no kind {kind!r}; there are: {', '.join(KINDS)}",
            f"没有类型“{kind}”；可用的有：{'、'.join(KINDS)}",
        )
    given = _given_schema(schema)
    if isinstance(target, Mapping):
        yield _with_schema(_from_document(dict(target), Path.cwd(), "", kind), given)
        return
    path = _existing(target, Text("the target", "目标"))
    if path.is_dir():
        yield _with_schema(_from_folder(path, kind, media), given)
        return
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(_maybe_unpacked(path, kind))
            plan = (
                _from_folder(folder, kind, media) if folder is not None else _from_file(path, kind)
            )
        except SourceProblem as why:
            plan = Plan(place=path.name, findings=[why.finding])
        yield _with_schema(plan, given)


def _existing(target: str | Path, what: Text) -> Path:
    if is_remote(str(target)):
        raise Unsupported(
            "the target lies elsewhere; download it first",
            "目标位于远程；请先下载到本地",
            target=clip(target, 200),
        )
    path = Path(os.path.realpath(target))
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as why:
        reason, name = system_reason(why), clip(Path(target).name or str(target))
        raise NotFound(
            f"{what.en} {name!r} cannot be opened: {reason.en}",
            f"无法打开{what.zh}“{name}”：{reason.zh}",
            target=clip(target),
        ) from None
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise Unsupported(
            f"{what.en} is neither a file nor a folder", f"{what.zh}既不是文件也不是文件夹"
        )
    return path


@contextmanager
def _maybe_unpacked(path: Path, kind: str | None) -> Iterator[Path | None]:
    """Give the folder of an unpacked archive, where a package or several tables are inside."""
    if kind == "table" or not _looks_like_archive(path):
        yield None
        return
    with unpacked(path, DESCRIPTORS) as folder:
        yield folder


def _looks_like_archive(path: Path) -> bool:
    name, format_, compression = split_name(path.name)
    if format_ in ("xlsx", "ods"):
        return False
    with path.open("rb") as file:
        return compression == "zip" and magic(file.read(8)) == "zip"


def _from_folder(folder: Path, kind: str | None, media: bool) -> Plan:
    for name in DESCRIPTORS:
        if (folder / name).is_file():
            return replace(_from_descriptor_file(folder, name, kind), folder=folder)
    inner = [p for p in sorted(folder.iterdir()) if p.is_dir() and not p.name.startswith(".")]
    files = [p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")]
    if len(inner) == 1 and not files:  # an archive of one folder
        for name in DESCRIPTORS:
            if (inner[0] / name).is_file():
                return replace(_from_descriptor_file(inner[0], name, kind), folder=inner[0])
    return _bare_folder(folder, media)


def _bare_folder(folder: Path, media: bool) -> Plan:
    """Judge every data file below a folder that has no descriptor; hidden ones are left out."""
    plan = Plan(place=folder.name, folder=folder)
    others: list[str] = []
    for base, dirs, names in os.walk(folder, followlinks=False):
        dirs[:] = sorted(d for d in dirs if not d.startswith("."))
        for name in sorted(names):
            path = os.path.relpath(os.path.join(base, name), folder)
            if name.startswith(".") or not name.lower().endswith(_DATA):
                others += [path] if not (media or name.startswith(".")) else []
                continue
            plan.resources.append(_bare_file(folder, path, plan))
    if len(plan.resources) > MAX_FILES:
        raise Unsupported(
            f"the folder holds more than {MAX_FILES} data files; describe it first",
            f"文件夹中数据文件超过 {MAX_FILES} 个；请先编写描述符",
        )
    if not plan.resources and not media:
        raise Unsupported(
            "the folder holds no data file and no descriptor",
            "文件夹中没有数据文件，也没有描述符",
        )
    if others:
        some = ", ".join(others[:_NAMED]) + ", …" * (len(others) > _NAMED)
        plan.warnings.append(
            Text(
                f"{len(others):,} other file{'s' * (len(others) > 1)} not looked at: {some}"
                " (the checks of `quality` look at media, too)",
                f"未检查其他 {len(others):,} 个文件：{some}（quality 的各项检查会查看媒体文件）",
            )
        )
    return plan


def _from_file(path: Path, kind: str | None) -> Plan:
    name = path.name
    _, format_, compression = split_name(name)
    if kind in ("package", "resource", "schema"):
        return _from_descriptor_file(path.parent, name, kind)
    if kind is None and name in DESCRIPTORS:
        return _from_descriptor_file(path.parent, name, kind)
    if kind is None and compression is None and format_ in ("json", "yaml"):
        document = _as_descriptor(path, format_)
        if document is not None:
            return _from_descriptor_file(path.parent, name, kind_of(document))
    plan = Plan(place=name)
    resource = _bare_file(path.parent, name, plan)
    if kind == "table":
        resource = replace(resource, type="table", tabular=True)
    plan.resources.append(resource)
    return plan


def _bare_file(root: Path, path: str, plan: Plan) -> Resource:
    """Return the resource of a file; an archive whose name tells no format is what it holds."""
    resource = from_path(root, path)
    if resource.compression != "zip" or resource.format:
        return resource
    try:
        with open_file(root, path) as raw:
            names = members(raw)
    except SourceProblem:
        return resource  # said where it is read
    if len(names) == 1:
        _, format_, _ = split_name(path, names[0])
        type_ = type_of(format_, None)
        return replace(resource, type=type_, format=format_, inner_path=names[0])
    plan.warnings.append(
        Text(
            f"{path!r} is an archive of {len(names)} files, whose rows were not judged: validate it"
            " by itself, or unpack it",
            f"“{path}”是含 {len(names)} 个文件的压缩包，未检查其中的行：请单独校验或先解压",
        )
    )
    return resource


def _as_descriptor(path: Path, format_: str) -> dict[str, Any] | None:
    """Return the document if a JSON or YAML file is a descriptor, and None if it is data."""
    with path.open("rb") as file:
        head = file.read(_SNIFF)
        if format_ == "json" and not head.lstrip().startswith(b"{"):
            return None
        rest = file.read((16 << 20) - len(head) + 1)
    try:
        value = parse_document(head + rest, yaml=format_ == "yaml")
    except ValueError:
        return None
    return value if isinstance(value, dict) and kind_of(value) else None


def _from_descriptor_file(root: Path, name: str, kind: str | None) -> Plan:
    kind = kind or ("resource" if name == "dataresource.json" else "package")
    try:
        document = _read(root, name, kind)
    except Refused as why:
        return _refused(list(why.findings), root, name, kind)
    return _from_document(document, root, name, kind)


def _read(root: Path, name: str, kind: str) -> dict[str, Any]:
    """Read the descriptor itself; its own name was given by a person and may be any."""
    try:
        with (root / name).open("rb") as file:
            data = file.read((16 << 20) + 1)
        value = parse_document(data, yaml=name.lower().endswith((".yaml", ".yml")))
        if not isinstance(value, dict):
            raise ValueError("the document is not an object")
    except (OSError, ValueError) as why:
        note = reason(why) if isinstance(why, ValueError) else system_reason(why)
        raise Refused(
            Finding(
                type=f"{kind}-error",
                note=Text(f"it cannot be read: {note.en}", f"无法读取：{note.zh}"),
            )
        ) from None
    return value


def _refused(found: list[Finding], root: Path, name: str, kind: str) -> Plan:
    if kind == "schema":
        return Plan(place=name, documents={slug(Path(name).stem): found})
    return Plan(place=name, findings=found)


def _from_document(document: dict[str, Any], root: Path, name: str, kind: str | None) -> Plan:
    kind = kind or kind_of(document) or "package"
    plan = Plan(place=name, document=document)
    try:
        if kind == "schema":
            schema_from_document(document)
            plan.documents[slug(Path(name).stem or "schema")] = []
            plan.document = None
        elif kind == "package":
            package = package_from(document, root)
            spoken = languages_of(document)
            resources = [from_descriptor(r, root) for r in package["resources"]]
            plan.resources = [r if r.languages else replace(r, languages=spoken) for r in resources]
        else:
            plan.resources = [from_descriptor(resource_from_document(document, root), root)]
    except Refused as why:
        if kind == "resource" and not name and isinstance(why, Unresolved):
            plan.documents[str(document.get("name"))] = list(why.findings)
            return plan
        refused = _refused(list(why.findings), root, name or "schema", kind)
        refused.document = document if kind != "schema" else None
        return refused
    return plan


def _given_schema(schema: str | Path | Mapping[str, Any] | None) -> Schema | None:
    if schema is None:
        return None
    try:
        if isinstance(schema, Mapping):
            document: Mapping[str, Any] = schema
        else:
            path = _existing(schema, Text("the schema", "表结构"))
            document = _read(path.parent, path.name, "schema")
        return schema_from(schema_from_document(document))
    except Refused as why:
        first = why.findings[0].note
        raise InvalidInput(
            f"the schema is not valid: {first.en}", f"表模式无效：{first.zh}"
        ) from None


def _with_schema(plan: Plan, schema: Schema | None) -> Plan:
    if schema is not None:
        plan.resources = [
            replace(r, schema=schema) if r.type == "table" else r for r in plan.resources
        ]
    return plan
