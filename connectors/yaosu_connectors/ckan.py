"""Any CKAN as a source, and as a place to publish to, through its own client (ckanapi).

A source is an address, or a folder of dumped packages (one JSON file each). Requests are POSTs
that follow no redirect, ignore proxies of the environment, end after a while and read no more
than a bounded answer. What lies at the addresses of resources is recorded and never fetched.
"""

from __future__ import annotations

import os
import re
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import ckanapi
import requests

from yaosu_schemas.documents import descriptor_problems
from yaosu_schemas.errors import (
    InvalidInput,
    NotFound,
    Problem,
    Text,
    TooLarge,
    Unavailable,
    YaosuError,
)
from yaosu_schemas.paths import is_remote
from yaosu_schemas.texts import clip

from . import ckan_package as words
from . import local
from .connector import About, Change, Record, Report, Skipped
from .published import Published
from .remote import NTH, After, Ask, Asked, Page

PAGE = 100
MAX_ANSWER = 64 << 20
MAX_RESOURCES = 10_000
SKEW = timedelta(hours=1)
"""Changes are asked for from so much before the last run: clocks differ."""
ORIGIN, DIGEST = "yaosu_origin", "yaosu_digest"
_ATTEMPTS = 3
_TAG = re.compile(r"[^\w .-]+")


class CkanCatalog:
    """Harvests a CKAN: all of it in the order of ids, or what changed since a time."""

    def __init__(self, key: str | None = None, since: datetime | None = None) -> None:
        self._key = key
        self._since = since

    def about(self) -> About:
        return About(
            name="ckan",
            title=Text("CKAN catalog", "CKAN 数据目录"),
            speaks=("CKAN Action API v3",),
        )

    def harvest(self, source: str, /) -> Iterator[Record | Skipped]:
        if not is_remote(source):
            return _folder(local.open_root(source))
        site = Site(source, self._key or os.environ.get("YAOSU_CKAN_KEY"))
        site.open()
        pages = self._pages(site, 0, self._since, judge=True)
        return (item for _, page, _ in pages for item in page)

    def pages(self, source: str, /, after: After = None, ask: Ask | None = None) -> Iterator[Page]:
        """Yield pages in the order of ids; their records do not say what they lack."""
        return self._from(source, None, after, ask)

    def changes(
        self, source: str, since: str, /, after: After = None, ask: Ask | None = None
    ) -> Iterator[Page]:
        """Yield the packages modified since the mark: the newest time that was seen then."""
        return self._from(source, datetime.fromisoformat(since).replace(tzinfo=UTC), after, ask)

    def _from(
        self, source: str, since: datetime | None, after: After, ask: Ask | None
    ) -> Iterator[Page]:
        site = Site(source, self._key, None if ask is None else _Asking(ask))
        site.open()
        begun = after if isinstance(after, dict) else {"start": after or 0}
        mark = str(begun.get("mark") or (since.replace(tzinfo=None).isoformat() if since else ""))
        for start, items, newest in self._pages(site, begun["start"], since, judge=False):
            mark = max(mark, newest)
            yield {"start": start, "mark": mark}, items

    def _pages(
        self, site: Site, start: int, since: datetime | None, *, judge: bool
    ) -> Iterator[tuple[int, list[Record | Skipped], str]]:
        """Yield (where the next page begins, what is on this one, its newest time)."""
        asked: dict[str, Any] = {"sort": "id asc"}
        if since is not None:
            begin = (since.astimezone(UTC) - SKEW).isoformat().replace("+00:00", "Z")
            asked["fq"] = f"metadata_modified:[{begin} TO *]"
        seen, rows, few = set[str](), PAGE, 0
        while True:
            try:
                found = site.call("package_search", start=start, rows=rows, **asked)
            except TooLarge as error:
                if rows > 1:  # one of the page is: they are asked for one by one
                    rows, few = 1, PAGE
                    continue
                why = Text(error.en, error.zh)
                yield start + 1, [Skipped(origin_id=f"{NTH}{start}", why=why)], ""
                start += 1
                continue
            page = found.get("results") if isinstance(found, dict) else None
            if not isinstance(page, list):
                raise InvalidInput("the answer has no list of results", "返回内容没有结果列表")
            if not page:
                return
            ids = {str(p.get("id")) for p in page if isinstance(p, dict)}
            if ids and ids <= seen:
                raise InvalidInput(
                    "its paging does not end: the same packages come again",
                    "其分页无法结束：重复返回相同的数据集",
                )
            seen |= ids
            own = (p for p in page if not isinstance(p, dict) or p.get("type") != "harvest")
            items = [record_of(p, f"{NTH}{start + n}", judge=judge) for n, p in enumerate(own)]
            start += len(page)
            few -= len(page)
            rows = 1 if few > 0 else PAGE
            yield start, items, max(map(_modified, page))


def _modified(said: Any) -> str:
    """Return when a package was modified, in UTC without saying so, as CKAN does; "" if untold.

    A time to come is not taken: it would hide what is modified until then.
    """
    told = said.get("metadata_modified") if isinstance(said, dict) else None
    try:
        at = datetime.fromisoformat(told).replace(tzinfo=UTC) if isinstance(told, str) else None
    except ValueError:
        at = None
    if at is None or at > datetime.now(UTC) + SKEW:
        return ""
    return at.replace(tzinfo=None).isoformat()


def record_of(said: Any, place: str, *, judge: bool = True) -> Record | Skipped:
    """Return one package as a record, or why it cannot be brought over."""
    origin = place
    try:
        if not isinstance(said, dict):
            raise InvalidInput("the package is not an object", "数据集不是 JSON 对象")
        if not isinstance(said.get("id"), str) or not said["id"]:
            raise InvalidInput("`id` is missing", "缺少 `id`")
        origin = clip(said["id"], 200)
        if len(said.get("resources") or ()) > MAX_RESOURCES:
            raise InvalidInput(
                f"it has more than {MAX_RESOURCES} resources", f"资源超过 {MAX_RESOURCES} 个"
            )
        document = words.descriptor(said, name=_name(said))
        lacks = descriptor_problems(document, stage="submit") if judge else []
        notes = words.missing(lacks)
        return Record(
            origin_id=origin,
            kind="dataset",
            document=document,
            digest=words.digest_of(said),
            notes=(*notes, *_unmapped(document)),
        )
    except (YaosuError, TypeError) as error:
        known = error if isinstance(error, YaosuError) else InvalidInput("wrong type", "类型错误")
        return Skipped(origin_id=origin, why=Text(known.en, known.zh))


def _name(said: Mapping[str, Any]) -> str:
    name = said.get("name")
    if not isinstance(name, str) or not name:
        raise InvalidInput("`name` is missing", "缺少 `name`")
    plain = re.sub(r"[^a-z0-9._-]+", "-", words.own_name(name).lower()).strip("-.")[:100]
    return plain or "package"


def _unmapped(document: Mapping[str, Any]) -> Iterator[Problem]:
    for key in document.get("ckan:extras") or ():
        yield Problem(
            pointer=f"/ckan:extras/{clip(key)}", code="not_mapped", severity="warning",
            en=f"the extra {clip(key)!r} has no field of ours: kept as it is",
            zh=f"附加字段“{clip(key)}”没有对应字段，原样保留",
        )  # fmt: skip


def _folder(root: Path) -> Iterator[Record | Skipped]:
    for step in local.walk(root):
        if isinstance(step, local.Refused):
            yield Skipped(origin_id=step.path, why=step.why)
            continue
        for name in step.files:
            if name.endswith(".json"):
                path = f"{step.path}/{name}" if step.path else name
                try:
                    yield record_of(local.read_document(root / path), path)
                except (YaosuError, OSError) as error:
                    yield Skipped(origin_id=path, why=local.why_not(error))


# --- publishing --------------------------------------------------------------------------------


class CkanPublisher:
    """Publishes records into an organization of a CKAN; what it wrote it knows by its extras."""

    def __init__(self, key: str | None = None, organization: str | None = None) -> None:
        self._key = key or os.environ.get("YAOSU_CKAN_KEY")
        self._organization = organization or os.environ.get("YAOSU_CKAN_ORGANIZATION")

    def about(self) -> About:
        return About(
            name="ckan-publish",
            title=Text("Publish into a CKAN", "发布到 CKAN"),
            speaks=("CKAN Action API v3",),
        )

    def publish(self, records: Iterable[Record], target: str, /, *, prune: bool = False) -> Report:
        site = Site(target, self._key)
        site.open()
        owner = self._organization or _only_organization(site)
        changes: list[Change] = []
        named: set[str] = set()
        for record in records:
            if record.origin_id in named:
                why = Text("the source names it twice", "来源中出现了两次")
                changes.append(Change(outcome="skipped", origin_id=record.origin_id, why=why))
                continue
            named.add(record.origin_id)
            changes.append(_put(site, owner, record))
        if prune:
            changes += _prune(site, owner, named)
        return Report.of(changes)


def _only_organization(site: Site) -> str:
    found = site.call("organization_list_for_user", permission="create_dataset")
    if not isinstance(found, list) or len(found) != 1:
        raise InvalidInput(
            "name the organization to publish for (YAOSU_CKAN_ORGANIZATION)",
            "请指定发布所属组织（YAOSU_CKAN_ORGANIZATION）",
        )
    return str(found[0]["name"])


def _put(site: Site, owner: str, record: Record) -> Change:
    origin = record.origin_id
    if record.kind != "dataset":
        why = Text("a CKAN holds datasets only", "CKAN 只收录数据集")
        return Change(outcome="skipped", origin_id=origin, why=why)
    package = package_of(record, owner)
    try:
        before = site.find(package["name"])
        if before is None:
            site.call("package_create", **package)
            return Change(outcome="added", origin_id=origin, record=record)
        marks = _marks(before)
        if marks.get(ORIGIN) != origin:
            why = Text("a package of that name is there already", "已有同名数据集")
            return Change(outcome="skipped", origin_id=origin, why=why)
        if marks.get(DIGEST) == record.digest:
            return Change(outcome="unchanged", origin_id=origin, record=record)
        site.call("package_update", **{**package, "id": before["id"]})
        return Change(outcome="changed", origin_id=origin, record=record)
    except YaosuError as error:
        if isinstance(error, Unavailable):
            raise
        return Change(outcome="skipped", origin_id=origin, why=Text(error.en, error.zh))


def package_of(record: Record, owner: str) -> dict[str, Any]:
    """Return the package of a record as any CKAN takes it."""
    now = datetime(2000, 1, 1, tzinfo=UTC)
    version = Published(
        dataset_id=uuid.uuid5(uuid.NAMESPACE_URL, record.origin_id).hex,
        publisher=owner, publisher_name=owner, name=str(record.document.get("name") or "package"),
        descriptor=record.document, private=True, created_at=now, updated_at=now,
        base="",
    )  # fmt: skip
    package = words.package(version)
    kept = ("title", "notes", "version", "author", "author_email", "maintainer",
            "maintainer_email", "license_id", "extras")  # fmt: skip
    made = {k: package[k] for k in kept if package[k] not in (None, "")}
    tags = {_TAG.sub("-", t["name"]).strip()[:100] for t in package["tags"]}
    marks = [{"key": ORIGIN, "value": record.origin_id}, {"key": DIGEST, "value": record.digest}]
    return {
        **made,
        "name": re.sub(r"[^a-z0-9_-]", "-", version.name),
        "owner_org": owner,
        "url": str(record.document.get("homepage") or ""),
        "tags": [{"name": t} for t in sorted(tags) if len(t) > 1],
        "extras": [*(e for e in package["extras"] if e["key"] not in (ORIGIN, DIGEST)), *marks],
        "resources": [_resource(r) for r in package["resources"]],
    }


def _resource(shown: Mapping[str, Any]) -> dict[str, Any]:
    """Return a resource without what only its own catalog can say."""
    left_out = ("id", "package_id", "created", "last_modified", "metadata_modified", "position",
                "state", "datastore_active", "url_type", "resource_type")  # fmt: skip
    kept = {k: v for k, v in shown.items() if k not in left_out and v not in (None, "")}
    url = str(kept.get("url", ""))
    return {**kept, "url": url if is_remote(url) else ""}


def _prune(site: Site, owner: str, named: set[str]) -> Iterator[Change]:
    start, gone = 0, list[tuple[str, str]]()
    while True:
        asked = {"fq": f"owner_org:{owner}", "include_drafts": True, "include_private": True}
        found = site.call("package_search", rows=PAGE, start=start, sort="id asc", **asked)
        page = found.get("results") or []
        for package in page:
            origin = _marks(package).get(ORIGIN)
            if isinstance(origin, str) and origin not in named:
                gone.append((origin, str(package["id"])))
        start += len(page)
        if not page or start > 10**6:
            break
    for origin, id in gone:
        try:
            site.call("package_delete", id=id)
            yield Change(outcome="removed", origin_id=origin)
        except YaosuError as error:
            yield Change(outcome="skipped", origin_id=origin, why=Text(error.en, error.zh))


def _marks(package: Mapping[str, Any]) -> dict[str, Any]:
    extras = package.get("extras")
    return {
        str(e.get("key")): e.get("value")
        for e in (extras if isinstance(extras, list) else ())
        if isinstance(e, dict)
    }


# --- the other end -----------------------------------------------------------------------------


def _too_large() -> TooLarge:
    return TooLarge("the answer is too large", "返回内容过大")


class _Session(requests.Session):
    """Follows nothing, trusts no environment, reads a bounded answer."""

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False
        self.max_redirects = 0

    def post(self, url: Any, data: Any = None, json: Any = None, **more: Any) -> Any:
        more |= {"allow_redirects": False, "stream": True, "timeout": (10, 60)}
        answer = super().post(url, data=data, json=json, **more)
        body = bytearray()
        for piece in answer.iter_content(1 << 16):
            body += piece
            if len(body) > MAX_ANSWER:
                answer.close()
                raise _too_large()
        answer._content = bytes(body)  # as if it had been read at once
        return answer


class _Asking(requests.Session):
    """Sends what the client of CKAN sends through the way out that was handed in."""

    def __init__(self, ask: Ask) -> None:
        super().__init__()
        self._ask = ask

    def post(self, url: Any, data: Any = None, json: Any = None, **more: Any) -> Any:
        body = data if isinstance(data, bytes) else str(data or "").encode()
        headers = {str(k): str(v) for k, v in (more.get("headers") or {}).items()}
        try:
            reply = self._ask(Asked(url=str(url), headers=headers, body=body))
        except Unavailable as error:
            raise requests.ConnectionError(error.en) from None  # asked again
        if reply.status in (429, 502, 503, 504):  # of a proxy before it, not its own
            raise requests.ConnectionError(str(reply.status))
        found = requests.Response()
        found.status_code = reply.status
        found._content = reply.body
        found.encoding = "utf-8"
        return found


class Site:
    """One CKAN; every failure is one of our errors, and what may be asked again is."""

    def __init__(
        self, address: str, key: str | None, session: requests.Session | None = None
    ) -> None:
        if not re.match(r"https?://[^/@]+(/|$)", address):
            raise InvalidInput(
                f"{clip(address)!r} is not an http(s) address",
                f"“{clip(address)}”不是 http(s) 地址",
            )
        self._ckan = ckanapi.RemoteCKAN(address, apikey=key, session=session or _Session())

    def open(self) -> None:
        """Ask once whether a CKAN is there."""
        self.call("site_read")

    def find(self, name: str) -> dict[str, Any] | None:
        try:
            found = self.call("package_show", id=name)
        except NotFound:
            return None
        return found if isinstance(found, dict) else None

    def call(self, action: str, /, **params: Any) -> Any:
        for attempt in range(_ATTEMPTS):
            try:
                return self._ckan.call_action(action, params)
            except ckanapi.NotFound:
                raise NotFound("there is no such thing there", "对方没有该对象") from None
            except ckanapi.NotAuthorized:
                raise InvalidInput("its key may not do this", "该密钥无权执行此操作") from None
            except ckanapi.ValidationError as error:
                said = clip({k: v for k, v in error.error_dict.items() if k != "__type"}, 300)
                raise InvalidInput(f"it refuses: {said}", f"对方拒绝：{said}") from None
            except (ckanapi.CKANAPIError, LookupError, TypeError, ValueError):
                raise InvalidInput(
                    "what answers there is no CKAN, or moved: give its final address",
                    "该地址不是 CKAN，或已重定向：请填写最终地址",
                ) from None
            except (requests.RequestException, OSError):
                if attempt == _ATTEMPTS - 1:
                    raise Unavailable("it cannot be reached", "无法连接") from None
                time.sleep(0.2 * 2**attempt)
        raise AssertionError("unreachable")
