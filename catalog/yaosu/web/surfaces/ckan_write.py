"""The changing actions of CKAN's API: they make drafts, through the same steps as everyone's.

Nothing is published here: a draft is submitted, judged and listed on the market's own way. A
version that is on the market stays, and a change of it begins the next one.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from yaosu import listing as shelf
from yaosu import review
from yaosu.errors import Conflict, Forbidden, InvalidInput, Malformed, TooLarge, Unauthenticated
from yaosu.identity import absent, allow
from yaosu.market import Market
from yaosu.model import Actor, Dataset, Listing, Party
from yaosu.package_files import judged
from yaosu.ports import Reader, Transaction
from yaosu.web.door import beside
from yaosu.web.strict import parse
from yaosu_connectors import ckan_package as words
from yaosu_connectors.published import files_of
from yaosu_schemas.paths import path_problem

from . import faces

MAX_DESCRIPTOR = 16 << 20
_FREE = ("draft", "returned")


@dataclass(frozen=True, slots=True)
class Uploaded:
    """A file that came with the call: stored, and held by the actor's party."""

    filename: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Doing:
    """One changing call in one transaction."""

    market: Market
    tx: Transaction
    actor: Actor
    params: Mapping[str, Any]
    uploaded: Uploaded | None

    def name(self, *keys: str) -> str:
        for key in keys:
            if isinstance(self.params.get(key), str) and self.params[key]:
                return str(self.params[key])
        raise InvalidInput("Missing value", "缺少参数", field=keys[0])

    def own(self, name: str) -> tuple[Dataset, Listing]:
        """Return a dataset of the actor with its newest version."""
        return _own(self.tx, self.actor, name)

    def save(self, dataset: Dataset, descriptor: dict[str, Any]) -> dict[str, Any]:
        """Write the draft, or begin the next version, and return its package."""
        last = _newest(self.tx, dataset)
        descriptor = {**descriptor, "name": dataset.name}
        if last.state in _FREE:
            shelf.revise(self.tx, self.actor, last.id, descriptor)
        elif last.state in ("listed", "suspended", "delisted", "withdrawn"):
            shelf.new_version(self.tx, self.actor, dataset.id, descriptor)
        else:
            raise Conflict(
                f"version {last.version} is being judged ({last.state}): wait, or withdraw it",
                f"版本 {last.version} 正在审核（{last.state}），请等待或撤回",
            )
        return self.shown(dataset)

    def shown(self, dataset: Dataset) -> dict[str, Any]:
        version = faces.shown_of(self.market, self.tx, self.actor, dataset)
        return words.package(version)


def _newest(reader: Reader, dataset: Dataset) -> Listing:
    return reader.find(Listing, dataset_id=dataset.id, newest=True, limit=1)[0]


def _own(reader: Reader, actor: Actor, name: str) -> tuple[Dataset, Listing]:
    dataset = faces.dataset_named(reader, actor, name)
    if dataset.provider_id != actor.party_id:
        if faces.version_for(reader, actor, dataset) is None:
            raise absent("package", name)
        raise Forbidden("this package is another publisher's", "该数据集属于其他发布者")
    return dataset, _newest(reader, dataset)


def may_upload(market: Market, actor: Actor, fields: Mapping[str, Any]) -> None:
    """Refuse a file before it is read, when there is no package of the actor to put it into."""
    allow(actor, "upload")
    name = str(fields.get("package_id") or str(fields.get("id") or "")[:36])
    with market.store.read() as reader:
        _own(reader, actor, name)


# --- packages ----------------------------------------------------------------------------------


def package_create(do: Doing) -> dict[str, Any]:
    """Create a package as a draft of one's own."""
    descriptor = words.descriptor(do.params)
    _own_organization(do)
    if not re.fullmatch(r"[a-z0-9._-]{2,100}", descriptor["name"]):
        raise InvalidInput(
            "2 to 100 characters: a to z, digits, dot, underscore, hyphen",
            "2–100 个字符：小写字母、数字、点、下划线、连字符",
            field="name",
        )
    view = "private" if str(do.params.get("private", "")).lower() == "true" else "public"
    dataset, _ = shelf.create_dataset(do.tx, do.actor, descriptor, view_policy=view)
    return do.shown(dataset)


def _own_organization(do: Doing) -> None:
    owner = do.params.get("owner_org")
    slug = do.tx.get(Party, do.actor.party_id).slug
    if owner and owner != slug:
        raise InvalidInput(
            f"you may publish for '{slug}' only", f"仅可为“{slug}”发布", field="owner_org"
        )


def package_update(do: Doing) -> dict[str, Any]:
    """Replace a package: the draft, or the beginning of its next version."""
    dataset, _ = do.own(do.name("id", "name"))
    return do.save(dataset, words.descriptor(do.params, name=dataset.name))


def package_patch(do: Doing) -> dict[str, Any]:
    """Change the members that are given; the others stay."""
    dataset, _ = do.own(do.name("id", "name"))
    now = do.shown(dataset)
    if now.get("url", "").endswith(f"/datasets/{dataset.publisher}/{dataset.name}"):
        now["url"] = ""
    kept = {
        k: v for k, v in now.items() if k not in ("license_title", "license_url", "organization")
    }
    changed = {k: v for k, v in do.params.items() if k != "id"}
    extras = [e for e in now["extras"] if e["key"] not in _replaced(changed)]
    return do.save(
        dataset, words.descriptor({**kept, "extras": extras, **changed}, name=dataset.name)
    )


def _replaced(changed: Mapping[str, Any]) -> set[str]:
    """Return the extras that say what a changed member says, too."""
    gone = set()
    if "license_id" in changed:
        gone.add("licenses")
    if {"author", "maintainer"} & set(changed):
        gone.add("contributors")
    return gone


def package_delete(do: Doing) -> None:
    """Take a package off the market, back from its review, or back while it is a draft."""
    dataset, last = do.own(do.name("id", "name"))
    if last.state in ("listed", "suspended"):
        review.delist(do.tx, do.actor, last.id, "deleted through the catalog API")
    elif last.state not in ("delisted", "withdrawn"):
        review.withdraw(do.tx, do.actor, last.id)


# --- resources ---------------------------------------------------------------------------------


def resource_create(do: Doing) -> dict[str, Any]:
    """Add a resource to a package, with its file where one is sent."""
    dataset, last = do.own(do.name("package_id"))
    if do.uploaded is not None and _is_descriptor(do):
        return _take_descriptor(do, dataset, last)
    resources = [dict(r) for r in last.descriptor.get("resources") or ()]
    made = words.resource_descriptor(do.params, {str(r.get("name")) for r in resources})
    if do.uploaded is not None:
        made |= _file(do.uploaded, {p for r in resources for p, _, _ in files_of(r)})
    return _save(do, dataset, last, [*resources, made], made)


def resource_update(do: Doing) -> dict[str, Any]:
    """Replace a resource; its name stays."""
    return _change(do, keep=False)


def resource_patch(do: Doing) -> dict[str, Any]:
    """Change the given members of a resource, or its file."""
    return _change(do, keep=True)


def _change(do: Doing, *, keep: bool) -> dict[str, Any]:
    dataset, last, number = _resource(do)
    resources = [dict(r) for r in last.descriptor.get("resources") or ()]
    before = resources[number]
    made = words.resource_descriptor({**do.params, "name": before["name"]}, set())
    if do.uploaded is not None:
        others = {p for n, r in enumerate(resources) if n != number for p, _, _ in files_of(r)}
        made |= _file(do.uploaded, others)
    if keep or "path" not in made:
        files = {k: v for k, v in before.items() if k in ("path", "bytes", "hash", "parts")}
        made = {**(before if keep else files), **made}
    resources[number] = made
    return _save(do, dataset, last, resources, made)


def resource_delete(do: Doing) -> None:
    """Take a resource out of a package."""
    dataset, last, number = _resource(do)
    resources = list(last.descriptor.get("resources") or ())
    del resources[number]
    do.save(dataset, {**last.descriptor, "resources": resources})


def _resource(do: Doing) -> tuple[Dataset, Listing, int]:
    id = do.name("id")
    dataset, last = do.own(id[:36])
    uuid = id[:36]
    for number, one in enumerate(last.descriptor.get("resources") or ()):
        if words.resource_id(uuid, str(one.get("name"))) == id:
            return dataset, last, number
    raise absent("resource", id)


def _save(
    do: Doing,
    dataset: Dataset,
    last: Listing,
    resources: list[dict[str, Any]],
    made: Mapping[str, Any],
) -> dict[str, Any]:
    package = do.save(dataset, {**last.descriptor, "resources": resources})
    return next(r for r in package["resources"] if r["name"] == made["name"])


def _file(uploaded: Uploaded, taken: set[str]) -> dict[str, Any]:
    """Return path, size and digest of a file under a name that no other file has."""
    name = uploaded.filename.replace("\\", "/").rsplit("/", 1)[-1]
    if path_problem(name) is not None:
        name = re.sub(r"[^\w.-]+", "_", name).strip("._") or "file"
    path, number = f"data/{name}", 2
    while path in taken:
        path, number = f"data/{number}-{name}", number + 1
    return {"path": path, "bytes": uploaded.bytes, "hash": f"sha256:{uploaded.sha256}"}


def _is_descriptor(do: Doing) -> bool:
    assert do.uploaded is not None
    return do.params.get("name") == words.DESCRIPTOR and do.uploaded.filename == "datapackage.json"


def _take_descriptor(do: Doing, dataset: Dataset, last: Listing) -> dict[str, Any]:
    """Take the uploaded descriptor as what the package says; sizes and digests are those held.

    A client that publishes a Data Package sends its files first and this at the end: only here
    are the schemas whole.
    """
    assert do.uploaded is not None
    if do.uploaded.bytes > MAX_DESCRIPTOR:
        raise TooLarge("the descriptor is too large", "描述文件过大", limit=MAX_DESCRIPTOR)
    said = parse(b"".join(do.market.blobs.read(do.uploaded.sha256)))
    if not isinstance(said, dict):
        raise Malformed("the descriptor is not an object", "描述文件不是 JSON 对象")
    held = {str(r.get("name")): r for r in last.descriptor.get("resources") or ()}
    resources = []
    for one in said.get("resources") or ():
        if not isinstance(one, dict):
            raise InvalidInput("a resource is not an object", "资源不是对象", field="resources")
        plain = words.resource_descriptor({"name": one.get("name")}, set())["name"]
        file = held.get(plain, {})
        facts = {k: file[k] for k in ("bytes", "hash") if k in file}
        resources.append({**one, "name": plain, **facts})
    kept = {k: last.descriptor[k] for k in ("dataElement",) if k in last.descriptor}
    descriptor = {**kept, **said, "name": dataset.name, "resources": resources}
    package = do.save(dataset, descriptor)
    return {"id": words.resource_id(package["id"], words.DESCRIPTOR), "package_id": package["id"],
            "name": words.DESCRIPTOR, "format": "JSON", "url": "", "state": "active"}  # fmt: skip


# --- one call ----------------------------------------------------------------------------------

ACTIONS: Mapping[str, Callable[[Doing], Any]] = {
    action.__name__: action
    for action in (
        package_create, package_update, package_patch, package_delete, resource_create,
        resource_update, resource_patch, resource_delete,
    )
}  # fmt: skip


async def run(
    market: Market,
    name: str,
    params: Mapping[str, Any],
    actor: Actor | None,
    uploaded: Uploaded | None,
) -> Any:
    """Run a changing action in one transaction; what is long is judged beside the writer."""
    if actor is None:
        raise Unauthenticated("a key is needed", "需要密钥")
    known: Actor = actor
    # Whether the key is for this action was asked at the gate: here only who it is.
    allow(replace(known, operations=None), "listing.create")
    if name in ("package_create", "package_update"):
        await beside(partial(judged, words.descriptor(params), "draft"))

    def step(tx: Transaction) -> Any:
        return ACTIONS[name](Doing(market, tx, known, params, uploaded))

    return await asyncio.wrap_future(market.store.submit(step))
