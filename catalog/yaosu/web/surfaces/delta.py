"""Delta Sharing (Parquet response format): what a token opens, as shares, schemas and tables.

The share is the publisher, the schema the dataset, a table one resource; the versions of a table
are the versions of the dataset that the buyer has bought. Links need no token, work for a while
and are asked for again (`PROTOCOL.md`; errors are `{"errorCode", "message"}` and never 5xx).
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from yaosu.errors import InvalidInput, NotFound, Unauthenticated, YaosuError
from yaosu.ports import Reader
from yaosu.trading import sharing
from yaosu.trading.sharing import SharedVersion
from yaosu.web.api.trade import is_open
from yaosu.web.door import json_response, market_of, presented_key
from yaosu.web.paid import paid
from yaosu.web.ranged import ranged
from yaosu.web.strict import parse
from yaosu_connectors import delta_sharing as words
from yaosu_connectors.delta_predicates import Range, may_hold

_STATUS: tuple[tuple[type[Exception], int, str], ...] = (
    (Unauthenticated, 401, "UNAUTHENTICATED"),
    (NotFound, 404, "RESOURCE_DOES_NOT_EXIST"),
    (Exception, 400, "INVALID_PARAMETER_VALUE"),
)


class DeltaRoute(APIRoute):
    """Refuses in the words of the protocol: its clients ask again after anything that is 5xx."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handler(request)
            except (YaosuError, RequestValidationError) as why:
                status, code = next((s, c) for kind, s, c in _STATUS if isinstance(why, kind))
                text = why.en if isinstance(why, YaosuError) else "a parameter is not valid"
                response = json_response(words.error(code, text))
                response.status_code = status
                return response

        return answer


router = APIRouter(prefix="/delta-sharing", tags=["delta-sharing"], route_class=DeltaRoute)
_TABLE = "/shares/{share}/schemas/{schema}/tables/{table}"


@dataclass(frozen=True, slots=True)
class Opened:
    """What one token opens: names and the versions behind them, oldest first."""

    share: str
    schema: str
    tables: dict[str, str]  # name of the table to name of the resource in the newest version
    versions: list[SharedVersion]


def _opened(reader: Reader, request: Request) -> Opened:
    market = market_of(request)
    token = presented_key(request)
    if token is None:
        raise Unauthenticated("a bearer token is needed", "需要令牌")
    versions = sharing.admitted(reader, token, market.clock.now())
    newest = versions[-1].listing
    tables = {words.name_of(name): name for name in sharing.resources_of(newest)}
    return Opened(words.name_of(newest.publisher), words.name_of(newest.name), tables, versions)


def _answer(request: Request, look: Callable[[Reader, Opened], Response]) -> Response:
    """Answer from one snapshot."""
    with market_of(request).store.read() as reader:
        return look(reader, _opened(reader, request))


def _page(request: Request, items: list[dict[str, Any]]) -> Response:
    query = request.query_params
    found = words.listed(items, query.get("maxResults"), query.get("pageToken"))
    if found is None:
        raise InvalidInput("maxResults or pageToken is not valid", "maxResults 或 pageToken 无效")
    return json_response(found)


def _must_be(known: str, given: str, kind: str) -> None:
    if given.lower() != known:
        raise NotFound(f"there is no such {kind}: {given[:80]}", f"未找到：{given[:80]}")


# --- listings ----------------------------------------------------------------------------------


@router.get("/shares")
async def shares(request: Request) -> Response:
    """List the one share that the token opens."""
    return _answer(request, lambda _, o: _page(request, [{"name": o.share, "id": o.share}]))


@router.get("/shares/{share}")
async def one_share(request: Request, share: str) -> Response:
    """Return a share."""

    def look(_: Reader, opened: Opened) -> Response:
        _must_be(opened.share, share, "share")
        return json_response({"share": {"name": opened.share, "id": opened.share}})

    return _answer(request, look)


@router.get("/shares/{share}/schemas")
async def schemas(request: Request, share: str) -> Response:
    """List the dataset of the token as the schema of its share."""

    def look(_: Reader, opened: Opened) -> Response:
        _must_be(opened.share, share, "share")
        return _page(request, [{"name": opened.schema, "share": opened.share}])

    return _answer(request, look)


def _tables(request: Request, opened: Opened) -> Response:
    dataset = opened.versions[-1].listing.dataset_id
    return _page(
        request,
        [
            {"name": name, "schema": opened.schema, "share": opened.share, "shareId": opened.share,
             "id": f"{dataset}:{name}"}
            for name in sorted(opened.tables)
        ],
    )  # fmt: skip


@router.get("/shares/{share}/schemas/{schema}/tables")
async def tables(request: Request, share: str, schema: str) -> Response:
    """List the tables of a dataset."""

    def look(_: Reader, opened: Opened) -> Response:
        _must_be(opened.share, share, "share")
        _must_be(opened.schema, schema, "schema")
        return _tables(request, opened)

    return _answer(request, look)


@router.get("/shares/{share}/all-tables")
async def all_tables(request: Request, share: str) -> Response:
    """List every table of a share."""

    def look(_: Reader, opened: Opened) -> Response:
        _must_be(opened.share, share, "share")
        return _tables(request, opened)

    return _answer(request, look)


# --- one table ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Asked:
    """A table under way: its resource and the versions that hold it."""

    reader: Reader
    opened: Opened
    name: str
    resource: str

    def at(self, version: int | None = None, when: datetime | None = None) -> SharedVersion:
        """Return a version: the newest, the one of that number, or the one of that time."""
        known = [v for v in self.opened.versions if self._holds(v)]
        if when is not None:
            known = [v for v in known if _since(v) <= when]
        if version is not None:
            known = [v for v in known if v.listing.version == version]
        if not known:
            raise NotFound(
                "there is no such version of the table among those bought", "所购版本中没有该版本"
            )
        return known[-1]

    def _holds(self, version: SharedVersion) -> bool:
        return self.resource in sharing.resources_of(version.listing)

    def facts(self, shared: SharedVersion) -> words.TableVersion:
        table = sharing.table_of(self.reader, shared.listing, self.resource)
        if table is None:
            raise NotFound(
                "the table is being prepared: ask again in some seconds",
                "数据表正在准备，请稍后再试",
            )
        return words.TableVersion(
            id=table.sha256,
            version=shared.listing.version,
            fields=table.facts["fields"],
            rows=table.facts["rows"],
            bytes=table.facts["bytes"],
            created_ms=int(_since(shared).timestamp() * 1000),
        )


def _since(shared: SharedVersion) -> datetime:
    return shared.listing.listed_at or shared.listing.created_at


def _asked(request: Request, look: Callable[[_Asked], tuple[int, bytes]]) -> Response:
    """Answer about the table that the path names, with the version that it is about."""
    path = request.path_params

    def found(reader: Reader, opened: Opened) -> Response:
        _must_be(opened.share, path["share"], "share")
        _must_be(opened.schema, path["schema"], "schema")
        name = str(path["table"]).lower()
        resource = opened.tables.get(name)
        if resource is None:
            raise NotFound(f"there is no such table: {name[:80]}", f"没有该数据表：{name[:80]}")
        version, body = look(_Asked(reader, opened, name, resource))
        headers = {words.VERSION_HEADER: str(version), "cache-control": "no-store"}
        return Response(body, media_type=words.NDJSON, headers=headers)

    return _answer(request, found)


@router.get(_TABLE + "/version")
async def version(request: Request, startingTimestamp: str | None = None) -> Response:
    """Return the newest version, or the first one from a time on, in a header."""
    since = _time(startingTimestamp)

    def look(asked: _Asked) -> tuple[int, bytes]:
        newest = asked.at()
        if since is None:
            return newest.listing.version, b""
        later = [v for v in asked.opened.versions if _since(v) >= since]
        if not later:
            raise InvalidInput(
                "startingTimestamp lies after the newest version", "时间晚于最新版本"
            )
        return later[0].listing.version, b""

    return _asked(request, look)


@router.get(_TABLE + "/metadata")
async def metadata(request: Request, version: int | None = None) -> Response:
    """Return protocol and schema of a table."""

    def look(asked: _Asked) -> tuple[int, bytes]:
        shared = asked.at(version)
        facts = asked.facts(shared)
        return facts.version, words.lines(words.PROTOCOL, words.metadata(facts, name=asked.name))

    return _asked(request, look)


@router.post(_TABLE + "/query")
async def query(request: Request) -> Response:
    """Return the file of a table, unless its statistics say that no row fits the hints."""
    wanted = await _body(request)

    def look(asked: _Asked) -> tuple[int, bytes]:
        number, when = wanted.get("version"), _time(wanted.get("timestamp"))
        if number is not None and (isinstance(number, bool) or not isinstance(number, int)):
            raise InvalidInput("version is a whole number", "version 应为整数")
        if "startingVersion" in wanted:
            raise InvalidInput("changes are read from /changes", "请从 /changes 读取变更")
        shared = asked.at(number, when)
        facts = asked.facts(shared)
        lines = [words.PROTOCOL, words.metadata(facts, name=asked.name)]
        hint = wanted.get("jsonPredicateHints")
        if not hint or may_hold(hint, _ranges(request, facts.id)):
            lines.append(_line(request, shared, facts))
        return facts.version, words.lines(*lines)

    return _asked(request, look)


@router.get(_TABLE + "/changes")
async def changes(
    request: Request,
    startingVersion: int | None = None,
    endingVersion: int | None = None,
    startingTimestamp: str | None = None,
    endingTimestamp: str | None = None,
) -> Response:
    """Return what changed between versions: the file before goes, the one after comes."""
    since, until = _time(startingTimestamp), _time(endingTimestamp)

    def look(asked: _Asked) -> tuple[int, bytes]:
        if startingVersion is None and since is None:
            raise InvalidInput(
                "startingVersion or startingTimestamp is needed",
                "需要 startingVersion 或 startingTimestamp",
            )
        newest = asked.facts(asked.at())
        lines = [words.PROTOCOL, words.metadata(newest, name=asked.name)]
        before: SharedVersion | None = None
        for shared in asked.opened.versions:
            number, at = shared.listing.version, _since(shared)
            after = number >= (startingVersion or 0) and (since is None or at >= since)
            within = (endingVersion is None or number <= endingVersion) and (
                until is None or at <= until
            )
            if after and within:
                facts = asked.facts(shared)
                if before is not None:
                    gone = asked.facts(before)
                    lines.append(_line(request, before, gone, "remove", facts))
                lines.append(_line(request, shared, facts, "add"))
            before = shared
        return newest.version, words.lines(*lines)

    return _asked(request, look)


def _ranges(request: Request, sha256: str) -> Mapping[str, Range]:
    """Return what the footer of a file says of its columns; empty where it cannot be had."""
    path = market_of(request).blobs.path(sha256)
    return {} if path is None else _footer(str(path))


@lru_cache(maxsize=256)
def _footer(path: str) -> Mapping[str, Range]:
    """Read the statistics of a file once: it lies under its digest and never changes."""
    try:
        data = pq.read_metadata(path)
    except (OSError, pa.ArrowException):
        return {}
    found: dict[str, Range] = {}
    for number in range(data.num_columns if data.num_row_groups else 0):
        parts = [data.row_group(g).column(number) for g in range(data.num_row_groups)]
        if "." in parts[0].path_in_schema:
            continue  # a part of a nested value
        told = [p.statistics for p in parts]
        if any(s is None or not s.has_null_count for s in told):
            continue
        ends = [s for s in told if s.num_values]  # the rest holds nulls alone
        known = all(s.has_min_max for s in ends) and bool(ends)
        found[parts[0].path_in_schema] = Range(
            low=min(s.min for s in ends) if known else None,
            high=max(s.max for s in ends) if known else None,
            nulls=sum(s.null_count for s in told),
            rows=data.num_rows,
        )
    return found


async def _body(request: Request) -> dict[str, Any]:
    body = await request.body()
    try:
        found = parse(body) if body else {}
    except YaosuError:
        found = None
    return found if isinstance(found, dict) else {"version": "not an object"}


def _time(text: Any) -> datetime | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise InvalidInput("a timestamp is ISO 8601 with an offset", "时间应为带时区的 ISO 8601")
    return at


# --- files -------------------------------------------------------------------------------------


def _line(
    request: Request,
    shared: SharedVersion,
    facts: words.TableVersion,
    kind: str = "file",
    when: words.TableVersion | None = None,
) -> dict[str, Any]:
    """Return the line of a file with a link that works for a while, without a token."""
    market = market_of(request)
    expires = market.links_expire()
    base = request.url_for("shared_file", delivery_id=shared.delivery.id, sha256=facts.id)
    key = shared.key_id
    mac = market.link_signature(shared.delivery.id, _number(facts.id), expires, key)
    url = f"{base}?expires={expires}&key={key}&signature={mac}"
    line = words.file_line(facts, url=url, expires_ms=expires * 1000, kind=kind)
    if when is not None:  # a removal belongs to the version that it makes way for
        line[kind].update(version=when.version, timestamp=when.created_ms)
    return line


def _number(sha256: str) -> int:
    """Return a number for the link's MAC that no delivered file has: the digest itself."""
    return int(sha256, 16)


_FILE = "/files/{delivery_id}/{sha256}.parquet"


@router.head(_FILE, name="shared_file_head")
@router.get(_FILE, name="shared_file")
async def shared_file(
    request: Request,
    delivery_id: str,
    sha256: str,
    expires: int = 0,
    key: str = "",
    signature: str = "",
) -> Response:
    """Serve the columns of a table to the bearer of a link: whole or one range."""
    market = market_of(request)
    now = market.clock.now()
    refused = json_response(words.error("FORBIDDEN", "this link is not valid or has expired"))
    refused.status_code = 403
    if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
        return refused
    wanted = market.link_signature(delivery_id, _number(sha256), expires, key)
    right = hmac.compare_digest(wanted.encode(), signature.encode())
    if not right or expires < now.timestamp():
        return refused
    with market.store.read() as reader:
        delivery = sharing.still_shared(reader, delivery_id, key)
        if delivery is None or not is_open(delivery, now):
            return refused
    size = market.blobs.size(sha256)
    who = paid(request, delivery, key, "table", f"{sha256}.parquet")
    return ranged(request, market.blobs, sha256, size, f"{sha256}.parquet", who)
