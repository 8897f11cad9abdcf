"""A version of a dataset as the package of CKAN's Action API, and a package as a descriptor.

What CKAN has no word for travels as `extras` (values as JSON), and unknown members of a resource
travel beside its own, so that a package of ours comes back as the descriptor that it was.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from yaosu_schemas import licences
from yaosu_schemas.canonical import digest
from yaosu_schemas.codes import code_list
from yaosu_schemas.errors import InvalidInput, Problem
from yaosu_schemas.paths import is_remote, path_problem
from yaosu_schemas.texts import clip

from .published import Mapped, Published, utc

FIELDS = (
    Mapped("name", "`name`", "with the publisher before it: `publisher__name`"),
    Mapped("title", "`title`"),
    Mapped("description", "`notes`"),
    Mapped("version", "`version`"),
    Mapped("homepage", "`url`"),
    Mapped("keywords", "`tags[].name`"),
    Mapped("licenses", "`license_id`, `license_title`, `license_url`", "all of them in `extras`"),
    Mapped("contributors", "`author`, `maintainer`", "all of them in `extras`"),
    Mapped("resources[].path", "`resources[].url`", "the path itself beside it"),
    Mapped("resources[].mediatype", "`resources[].mimetype`"),
    Mapped("resources[].bytes", "`resources[].size`"),
    Mapped("resources[].*", "`resources[].*`"),
    Mapped("dataElement.holder.contact, phone, address", "", "for the owner's eyes only", "lost"),
    Mapped("*", "`extras[]`", "as JSON: all that is not named here"),
)  # fmt: skip
NAME = re.compile(r"[a-z0-9_-]{2,100}")
DESCRIPTOR = "datapackage"
_SAME = {"title": "title", "description": "notes", "version": "version", "homepage": "url"}
_RESOURCE = {"description": "description", "format": "format", "mediatype": "mimetype",
             "bytes": "size", "hash": "hash"}  # fmt: skip
# Members of a resource that CKAN itself sets.
_SET_BY_CKAN = frozenset(
    ("id", "package_id", "url", "url_type", "created", "last_modified", "metadata_modified",
     "position", "state", "datastore_active", "revision_id", "cache_url", "cache_last_updated",
     "mimetype_inner", "resource_type", "on_same_domain", "owner_org", "upload", "clear_upload",
     "datastore_contains_all_records_of_source_file", "tracking_summary", "resource_group_id",
     "webstore_url", "webstore_last_updated")
)  # fmt: skip
_FOREIGN, _EXTRAS = "ckan:resources", "ckan:extras"
# Members of ours that have members of their own in a package, or in its resources.
_TOLD = frozenset((*_SAME, "name", "keywords", "resources", _EXTRAS, _FOREIGN))
_RESOURCE_TOLD = frozenset((*_RESOURCE, "name"))
_json = json.JSONEncoder(ensure_ascii=False, sort_keys=True).encode


# --- names and ids -----------------------------------------------------------------------------


def flat_name(publisher: str, name: str) -> str:
    """Return the one name that CKAN clients know a dataset by (`[a-z0-9_-]{2,100}`)."""
    plain = f"{publisher}__{name}"
    if NAME.fullmatch(plain):
        return plain
    mark = hashlib.sha256(name.encode()).hexdigest()[:8]
    short = re.sub(r"[^a-z0-9_-]", "-", name)[: 88 - len(publisher)]
    return f"{publisher}__{short}-{mark}"


def resource_id(dataset: str, name: str) -> str:
    """Return the id of a resource: that of its dataset, and a digest of its name."""
    return f"{dataset}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def moment(at: datetime) -> str:
    """Return a time as CKAN writes it: UTC without saying so."""
    return utc(at).replace(tzinfo=None).isoformat(timespec="microseconds")


def licence_of(spdx: str) -> dict[str, Any]:
    """Return an entry of the list of licences by its SPDX identifier."""
    known = code_list("licence").get(spdx)
    named = bool(spdx) and not spdx.startswith("LicenseRef-")
    return {
        "id": spdx,
        "title": known.en if known else spdx,
        "url": f"https://spdx.org/licenses/{spdx}" if named else "",
        "is_open": known is not None and named and "yes" not in (known["nc"], known["nd"]),
        "status": "active",
        "domain_data": True,
        "domain_content": True,
        "domain_software": False,
    }  # fmt: skip


def organization(slug: str, name: str, *, packages: int | None = None) -> dict[str, Any]:
    """Return a publisher as an organization; its id is its name, which never changes."""
    shown: dict[str, Any] = {
        "id": slug, "name": slug, "title": name, "display_name": name, "description": "",
        "type": "organization", "is_organization": True, "state": "active", "image_url": "",
        "approval_status": "approved",
    }  # fmt: skip
    return shown if packages is None else {**shown, "package_count": packages}


def group(code: str, *, packages: int | None = None) -> dict[str, Any]:
    """Return a modality as a group."""
    known = code_list("modality").get(code)
    title = f"{known.zh} {known.en}" if known else code
    shown: dict[str, Any] = {
        "id": code, "name": code, "title": title, "display_name": title, "description": "",
        "type": "group", "is_organization": False, "state": "active", "image_url": "",
        "image_display_url": "",
    }  # fmt: skip
    return shown if packages is None else {**shown, "package_count": packages}


def tag(name: str) -> dict[str, Any]:
    return {"id": name, "name": name, "display_name": name, "state": "active",
            "vocabulary_id": None}  # fmt: skip


# --- out ---------------------------------------------------------------------------------------


def package(version: Published) -> dict[str, Any]:
    """Return the package dictionary of a version."""
    said = version.descriptor
    spdx = str(version.element.get("license_spdx") or _first_licence(said) or "")
    licence = licence_of(spdx)
    people = _people(said)
    tags = [tag(str(k)) for k in said.get("keywords") or ()]
    resources = [
        resource(version, r, n, at=moment(version.updated_at))
        for n, r in enumerate(version.resources)
    ]
    resources += _elsewhere(version, len(resources))
    if not version.private:
        resources.append(_own_descriptor(version, len(resources)))
    modalities = (version.element.get("ai") or {}).get("modalities") or ()
    return {
        "id": version.uuid,
        "name": flat_name(version.publisher, version.name),
        "title": str(said.get("title") or version.name),
        "notes": said.get("description") or "",
        "url": said.get("homepage") or version.page,
        "version": said.get("version"),
        **people,
        "license_id": spdx or "notspecified",
        "license_title": licence["title"] or None,
        "license_url": licence["url"] or None,
        "isopen": licence["is_open"],
        "private": version.private,
        "state": "draft" if version.private else "active",
        "type": "dataset",
        "owner_org": version.publisher,
        "organization": organization(version.publisher, version.publisher_name),
        "groups": [group(str(code)) for code in modalities],
        "tags": tags,
        "extras": _extras(version),
        "resources": resources,
        "num_resources": len(resources),
        "num_tags": len(tags),
        "metadata_created": moment(version.created_at),
        "metadata_modified": moment(version.updated_at),
        "creator_user_id": version.publisher,
        "relationships_as_subject": [],
        "relationships_as_object": [],
    }


def _first_licence(said: Mapping[str, Any]) -> str:
    for entry in said.get("licenses") or ():
        if isinstance(entry, dict) and entry.get("name"):
            return licences.from_open_definition(str(entry["name"])) or str(entry["name"])
    return ""


def _people(said: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = dict.fromkeys(
        ("author", "author_email", "maintainer", "maintainer_email")
    )
    for who in said.get("contributors") or ():
        if not isinstance(who, dict):
            continue
        roles = set(who.get("roles") or [who.get("role") or "author"])
        kind = "maintainer" if "maintainer" in roles else "author"
        if found[kind] is None:
            found[kind], found[f"{kind}_email"] = who.get("title"), who.get("email")
    return found


def _extras(version: Published) -> list[dict[str, str]]:
    """Return what CKAN has no member for, as JSON, in the order of names."""
    shown = {k: _json(v) for k, v in version.descriptor.items() if k not in _TOLD}
    foreign = version.descriptor.get(_EXTRAS)
    for key, value in foreign.items() if isinstance(foreign, dict) else ():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        shown.setdefault(str(key), text)
    return [{"key": key, "value": value} for key, value in sorted(shown.items())]


def _elsewhere(version: Published, position: int) -> list[dict[str, Any]]:
    """Return the resources that another catalog named and that lie elsewhere, as it named them."""
    foreign = version.descriptor.get(_FOREIGN)
    at = moment(version.updated_at)
    found: list[dict[str, Any]] = []
    for one in foreign if isinstance(foreign, list) else ():
        if isinstance(one, dict):
            shown = resource(version, {"name": one.get("name")}, position + len(found), at=at)
            found.append({**shown, **one})
    return found


def resource(
    version: Published, said: Mapping[str, Any], position: int, *, at: str
) -> dict[str, Any]:
    """Return one resource; a schema is an object or is not there (clients break at \"\")."""
    name = str(said.get("name") or f"resource-{position + 1}")
    path = said.get("path")
    first = path if isinstance(path, str) else path[0] if isinstance(path, list) and path else ""
    shown = {
        **{k: v for k, v in said.items() if k not in _RESOURCE_TOLD and v is not None},
        "id": resource_id(version.uuid, name),
        "package_id": version.uuid,
        "name": name,
        "url": version.file_url(first) if first else version.page,
        "url_type": None,
        "created": moment(version.created_at),
        "last_modified": at,
        "metadata_modified": at,
        "position": position,
        "state": "active",
        "resource_type": None,
    }
    for ours, theirs in _RESOURCE.items():
        value = said.get(ours)
        shown[theirs] = value.upper() if theirs == "format" and isinstance(value, str) else value
    for key in ("description", "hash", "format"):
        shown[key] = shown[key] or ""
    shown["datastore_active"] = name == version.sample
    return shown


def _own_descriptor(version: Published, position: int) -> dict[str, Any]:
    """Return the canonical descriptor as a resource: who finds it reads without loss."""
    at = moment(version.updated_at)
    said = {
        "name": DESCRIPTOR,
        "description": "Data Package descriptor / 数据包描述文件",
        "format": "json",
        "mediatype": "application/json",
    }
    shown = resource(version, said, position, at=at)
    return {**shown, "url": f"{version.page}/datapackage.json"}


# --- in ----------------------------------------------------------------------------------------


def descriptor(said: Mapping[str, Any], *, name: str | None = None) -> dict[str, Any]:
    """Return the descriptor of a package; InvalidInput where a member has the wrong type."""
    if not isinstance(said, Mapping):
        raise InvalidInput("the package is not an object", "数据集不是 JSON 对象")
    found: dict[str, Any] = {"name": name or own_name(_text(said, "name"))}
    for ours, theirs in _SAME.items():
        if value := _text(said, theirs):
            found[ours] = value
    page = _text(said, "url")
    if re.search(r"/datasets/[^/]+/[^/]+$", page):
        found.pop("homepage", None)  # the page of a dataset of ours, not one that it names
    if words := [word for t in _objects(said, "tags") if (word := _text(t, "name"))]:
        found["keywords"] = words
    extras = _read_extras(said)
    found |= extras
    _licence(found, _text(said, "license_id"), said)
    _contributors(found, said)
    resources, sources, elsewhere = _resources(said)
    if resources:
        found["resources"] = resources
    if elsewhere:
        found.setdefault("sources", sources)
        found[_FOREIGN] = elsewhere
    return found


def own_name(flat: str) -> str:
    """Return the name of a dataset without the publisher that stands before it."""
    return flat.partition("__")[2] or flat


def digest_of(said: Mapping[str, Any]) -> str:
    """Return the digest of what a package says, whatever its clock and counters say."""
    clock = {"metadata_modified", "num_resources", "num_tags", "tracking_summary", "revision_id"}
    return digest({k: v for k, v in said.items() if k not in clock})


def _text(said: Mapping[str, Any], key: str) -> str:
    value = said.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidInput(f"`{key}` is not text", f"`{key}` 不是文本", field=key)
    return value.strip()


def _objects(said: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    value = said.get(key) or []
    if not isinstance(value, list) or not all(isinstance(v, dict) for v in value):
        raise InvalidInput(f"`{key}` is not a list of objects", f"`{key}` 不是对象列表", field=key)
    return value


def _read_extras(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return extras as members; what is neither ours nor JSON is kept under `ckan:extras`."""
    members: dict[str, Any] = {}
    foreign: dict[str, Any] = {}
    for extra in _objects(said, "extras"):
        key, value = _text(extra, "key"), extra.get("value")
        read = value
        if isinstance(value, str):
            try:
                read = json.loads(value)
            except ValueError:
                read = value
        known = isinstance(read, (dict, list)) or key in ("$schema", "id", "created", "image",
                                                          "profile")  # fmt: skip
        if key in ("name", "resources") or not key:
            continue
        (members if known and not _wrong(key, read) else foreign)[key] = read
    if foreign:
        members[_EXTRAS] = foreign
    return members


_TYPES: Mapping[str, type] = {
    "dataElement": dict, "contributors": list, "sources": list, "licenses": list,
    "keywords": list, "title": str, "description": str, "version": str, "homepage": str,
    "$schema": str, "id": str, "created": str, "image": str, "profile": str,
}  # fmt: skip


def _wrong(key: str, value: Any) -> bool:
    return key in _TYPES and not isinstance(value, _TYPES[key])


def _licence(found: dict[str, Any], license_id: str, said: Mapping[str, Any]) -> None:
    if not license_id or license_id == "notspecified":
        return
    spdx = licences.from_open_definition(license_id)
    if "licenses" not in found:
        entry = {"name": spdx or license_id}
        for ours, theirs in (("title", "license_title"), ("path", "license_url")):
            if value := _text(said, theirs):
                entry[ours] = value
        found["licenses"] = [entry]
    element = found.get("dataElement")
    if spdx and not (isinstance(element, dict) and element.get("license_spdx")):
        found["dataElement"] = {**(element or {}), "license_spdx": spdx}


def _contributors(found: dict[str, Any], said: Mapping[str, Any]) -> None:
    if "contributors" in found:
        return
    people: list[dict[str, Any]] = []
    for kind, role in (("author", "creator"), ("maintainer", "maintainer")):
        if title := _text(said, kind):
            who: dict[str, Any] = {"title": title, "roles": [role]}
            if email := _text(said, f"{kind}_email"):
                who["email"] = email
            people.append(who)
    owner = said.get("organization")
    if isinstance(owner, dict) and (title := _text(owner, "title") or _text(owner, "name")):
        people.insert(0, {"title": title, "roles": ["publisher"]})
    if people:
        found["contributors"] = people


def _resources(
    said: Mapping[str, Any],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """Return (resources that name files of the package, sources, resources that lie elsewhere)."""
    ours: list[dict[str, Any]] = []
    sources: list[dict[str, Any]] = []
    elsewhere: list[dict[str, Any]] = []
    taken: set[str] = set()
    for one in _objects(said, "resources"):
        url = _text(one, "url")
        if url.endswith("/datapackage.json"):
            continue
        if _local(one.get("path")):
            ours.append(resource_descriptor(one, taken))
            continue
        title = _text(one, "name") or _text(one, "description")[:80] or url
        if url:
            sources.append({"title": title, "path": url})
        kept = {k: _text(one, k) for k in ("name", "description", "format", "url", "mimetype")}
        elsewhere.append({k: v for k, v in kept.items() if v})
    return ours, sources, elsewhere


def _local(path: Any) -> bool:
    parts = path if isinstance(path, list) else [path]
    return bool(parts) and all(
        isinstance(p, str) and not is_remote(p) and path_problem(p) is None for p in parts
    )


def resource_descriptor(one: Mapping[str, Any], taken: set[str]) -> dict[str, Any]:
    """Return one resource of the package; its name is made one that no other has."""
    found = {
        k: v
        for k, v in one.items()
        if k not in {*_SET_BY_CKAN, *_RESOURCE.values(), "name"} and v is not None
    }
    plain = re.sub(r"[^a-z0-9._-]+", "-", (_text(one, "name") or "resource").lower()).strip("-.")
    name = plain or "resource"
    number = 2
    while name in taken:
        name, number = f"{plain}-{number}", number + 1
    taken.add(name)
    found = {"name": name, **found}
    for ours, theirs in _RESOURCE.items():
        value = one.get(theirs)
        if value in (None, ""):
            continue
        if ours == "bytes":
            value = int(value) if str(value).isdigit() and len(str(value)) < 18 else None
        elif not isinstance(value, str):
            raise InvalidInput(f"`{theirs}` is not text", f"`{theirs}` 不是文本", field=theirs)
        elif ours == "format":
            value = value.lower()
        if value is not None:
            found[ours] = value
    for key in ("schema", "dialect"):  # clients send "fields" or JSON as text
        if key in found:
            read = _json_object(found[key])
            if read is None:
                del found[key]
            else:
                found[key] = read
    return found


def _json_object(value: Any) -> dict[str, Any] | None:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return None
    return value if isinstance(value, dict) else None


def missing(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Return what a person still has to fill in, as remarks on a record."""
    return tuple(
        Problem(pointer=p.pointer, code=p.code, en=clip(p.en, 300), zh=clip(p.zh, 300),
                severity="warning")
        for p in problems
        if p.severity == "error"
    )  # fmt: skip
