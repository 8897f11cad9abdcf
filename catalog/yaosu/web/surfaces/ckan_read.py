"""The reading actions of CKAN's API over our record; what cannot be seen is not there."""

from __future__ import annotations

import ast
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from yaosu import __version__
from yaosu.errors import Forbidden, InvalidInput, Malformed
from yaosu.identity import absent
from yaosu.market import Market
from yaosu.model import Actor, Dataset, Delivery, Listing, Party
from yaosu.ports import Reader, Selected, Selection
from yaosu.storage.search_select import SORTS
from yaosu.trading import sharing
from yaosu_connectors import ckan_package as words
from yaosu_connectors.published import Published
from yaosu_connectors.solr_query import Each, Every, Term, Tree, read
from yaosu_schemas.codes import code_list

from . import faces

ROWS = 1000
VALUES = 10_000
TABLE_ROWS = 32_000
SCAN_ROWS = 128_000
"""Rows that filters, words and an order look at; more are said to be left out."""
WAIT_S = 5.0
_FACETS = {"organization": "Organizations", "groups": "Groups", "tags": "Tags",
           "res_format": "Formats", "license_id": "Licenses"}  # fmt: skip
_KINDS = {"integer": "int", "number": "numeric", "boolean": "bool", "datetime": "timestamp",
          "date": "date", "array": "json", "object": "json"}  # fmt: skip


class QueryWrong(Exception):
    """The query cannot be read; said in both languages."""

    def __init__(self, en: str, zh: str) -> None:
        super().__init__(en)
        self.en, self.zh = en, zh


@dataclass(frozen=True, slots=True)
class Asked:
    """One call: parameters, over one snapshot of the market, by one actor."""

    market: Market
    reader: Reader
    actor: Actor | None
    params: Mapping[str, Any]
    bought: list[tuple[Delivery, str, str]] = field(default_factory=list)
    """By which delivery what was read: the resource and its digest; empty for what is open."""

    def text(self, *names: str, default: str | None = None) -> str:
        """Return the first of these parameters as text; a missing one is a validation error."""
        for name in names:
            value = self.params.get(name)
            if isinstance(value, str) and value:
                return value
        if default is None:
            raise InvalidInput("Missing value", "缺少参数", field=names[0])
        return default

    def number(self, name: str, default: int, most: int) -> int:
        value = self.params.get(name, default)
        if isinstance(value, str) and value.strip("-").isdigit() and len(value) < 12:
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise InvalidInput("Invalid integer", "应为整数", field=name)
        return max(0, min(value, most)) if value >= 0 else most

    def yes(self, name: str) -> bool:
        return str(self.params.get(name, "")).lower() in ("true", "1", "yes", "t", "on")

    def many(self, *names: str) -> list[str]:
        """Return a list that comes as a list, as JSON text, or separated by commas."""
        value: Any = next((self.params[n] for n in names if n in self.params), None)
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except ValueError:
                value = value.split(",")
        items = value if isinstance(value, list) else []
        return [str(v).strip() for v in items if isinstance(v, str) and v.strip()]

    def select(self, where: Tree | None = None, **more: Any) -> Selected:
        viewer = self.actor.party_id if self.actor else None
        return self.market.search.select(Selection(where=where or Every(), viewer=viewer, **more))

    def package(self, listing_id: str) -> dict[str, Any] | None:
        """Return the package of a listing of the index, or None when it has gone meanwhile."""
        listing = self.reader.one(Listing, id=listing_id)
        if listing is None:
            return None
        dataset = self.reader.get(Dataset, listing.dataset_id)
        version = faces.published(self.market, self.reader, dataset, listing, self.actor)
        return words.package(version)

    def shown(self, name: str) -> Published:
        return faces.shown(self.market, self.reader, self.actor, name)


# --- packages ----------------------------------------------------------------------------------


def package_search(asked: Asked) -> dict[str, Any]:
    """Search packages: text, filters in Solr's words, facets, order, offset."""
    text, where = _asked_for(asked)
    limit = asked.number("rows", 10, ROWS)
    facets = asked.many("facet.field") if str(asked.params.get("facet", "true")) != "false" else []
    size = asked.number("facet.limit", 50, VALUES)
    found = asked.select(
        where, text=text, own=any(asked.yes(f"include_{n}") for n in ("drafts", "private")),
        sort=_sort(asked), offset=asked.number("start", 0, 10**9), limit=limit,
        facets=dict.fromkeys(facets, size),
    )  # fmt: skip
    least = asked.number("facet.mincount", 1, VALUES)
    counts = {n: [(v, c) for v, c in vs if c >= least] for n, vs in found.facets.items()}
    packages = [asked.package(i) for i in found.listings] if limit else []
    wanted = set(asked.many("fl"))
    unique = {p["id"]: p for p in packages if p is not None}
    return {
        "count": found.total,
        "results": [_only(p, wanted) for p in unique.values()],
        "sort": asked.text("sort", default="score desc, metadata_modified desc"),
        "facets": {name: dict(counts.get(name, ())) for name in facets},
        "search_facets": {
            name: {
                "title": _FACETS.get(name, name),
                "items": [
                    {"name": v, "display_name": _display(name, v), "count": c}
                    for v, c in counts.get(name, ())
                ],
            }
            for name in facets
        },
    }


def _only(package: dict[str, Any], wanted: set[str]) -> dict[str, Any]:
    return {k: v for k, v in package.items() if k in wanted} if wanted - {"*"} else package


def _display(field: str, value: str) -> str:
    return str(words.group(value)["title"]) if field == "groups" else value


def _asked_for(asked: Asked) -> tuple[str, Tree]:
    """Return (words to rank by, conditions): a `q` without any field is plain words, as in CKAN."""
    text = asked.text("q", default="")
    trees: list[Tree] = []
    filters = [asked.text("fq", default=""), *asked.many("fq_list")]
    if any(mark in text for mark in (":", "*", "(", " OR ", " AND ")):
        filters.append(text)
        text = ""
    try:
        trees += [read(f) for f in filters if f.strip()]
    except Malformed as error:
        raise QueryWrong(error.en, error.zh) from None
    return text, Each(tuple(trees)) if trees else Every()


def _sort(asked: Asked) -> list[tuple[str, bool]]:
    order: list[tuple[str, bool]] = []
    for part in asked.text("sort", default="").split(","):
        name, _, way = part.strip().partition(" ")
        if not name or name in ("score", "relevance"):
            continue
        if name not in SORTS or way.strip().lower() not in ("asc", "desc", ""):
            raise QueryWrong(f"Unable to sort by {name[:40]}", f"无法按“{name[:40]}”排序")
        order.append((name, way.strip().lower() == "desc"))
    return order


def package_show(asked: Asked) -> dict[str, Any]:
    """Show one package by name or id."""
    return words.package(asked.shown(asked.text("id", "name_or_id")))


def package_list(asked: Asked) -> list[str]:
    """List the names of packages, in the order of their ids."""
    offset, left = asked.number("offset", 0, 10**9), asked.number("limit", 10**6, 10**6)
    names: list[str] = []
    while left > 0:
        size = min(ROWS, left)
        page = asked.market.search.select(
            Selection(where=Every(), sort=(("id", False),), offset=offset, limit=size, cards=True)
        )
        names += [words.flat_name(c["publisher"], c["name"]) for c in page.cards]
        offset, left = offset + size, left - size
        if len(page.cards) < size:
            break
    return names


def current_package_list_with_resources(asked: Asked) -> list[dict[str, Any]]:
    """List packages with their resources, last changed first."""
    found = asked.select(
        sort=(("metadata_modified", True),),
        offset=asked.number("offset", 0, 10**9),
        limit=asked.number("limit", 10, ROWS),
    )
    return [p for p in map(asked.package, found.listings) if p is not None]


def package_autocomplete(asked: Asked) -> list[dict[str, str]]:
    """Complete a name or title."""
    start = asked.text("q", default="")
    found = asked.select(Term("", start, prefix=True), limit=asked.number("limit", 10, 100))
    packages = [p for p in map(asked.package, found.listings) if p is not None]
    return [
        {"name": p["name"], "title": p["title"], "match_field": "title",
         "match_displayed": p["title"]}
        for p in packages
    ]  # fmt: skip


def resource_show(asked: Asked) -> dict[str, Any]:
    """Show one resource by id."""
    return find_resource(asked, asked.text("id"))[1]


def find_resource(asked: Asked, id: str) -> tuple[Published, dict[str, Any]]:
    """Return the version and the resource of an id; NotFound when either cannot be seen."""
    version = asked.shown(id[:36]) if len(id) == 49 else None
    for one in words.package(version)["resources"] if version else ():
        if one["id"] == id:
            assert version is not None
            return version, one
    raise absent("resource", id)


def resource_search(asked: Asked) -> dict[str, Any]:
    """Search resources by `name:word` or `format:word`."""
    query = asked.text("query", default="")
    field, _, word = query.partition(":")
    if field not in ("name", "format", "description", "url") or not word:
        raise InvalidInput("must be field:value", "应为 字段:值", field="query")
    tree: Tree = Term("res_format", word) if field == "format" else Every()
    found = asked.select(tree, limit=ROWS)
    packages = [p for p in map(asked.package, found.listings) if p is not None]
    results = [
        r for p in packages for r in p["resources"]
        if word.casefold() in str(r.get(field) or "").casefold()
    ]  # fmt: skip
    return {"count": len(results), "results": results[: asked.number("limit", ROWS, ROWS)]}


# --- organizations, groups, tags, licences -----------------------------------------------------


def _counts(asked: Asked, field: str) -> list[tuple[str, int]]:
    return list(asked.select(limit=1, facets={field: VALUES}).facets.get(field, ()))


def organization_list(asked: Asked) -> list[Any]:
    """List the publishers of packages."""
    found = _counts(asked, "organization")
    if wanted := asked.many("organizations"):
        found = [(s, n) for s, n in found if s in wanted]
    found.sort()
    if not asked.yes("all_fields"):
        return [slug for slug, _ in found]
    return [
        words.organization(slug, party.name, packages=n)
        for slug, n in found
        if (party := asked.reader.one(Party, slug=slug)) is not None
    ]


def organization_show(asked: Asked) -> dict[str, Any]:
    """Show one publisher."""
    slug = asked.text("id")
    party = asked.reader.one(Party, slug=slug)
    if party is None:
        raise absent("organization", slug)
    found = asked.select(Term("organization", slug), limit=ROWS)
    shown = words.organization(slug, party.name, packages=found.total)
    packages = map(asked.package, found.listings) if asked.yes("include_datasets") else ()
    return {**shown, "packages": [p for p in packages if p], "users": [], "extras": [],
            "tags": [], "groups": []}  # fmt: skip


def organization_list_for_user(asked: Asked) -> list[dict[str, Any]]:
    """List the publisher that the key may act for."""
    if asked.actor is None:
        return []
    party = asked.reader.get(Party, asked.actor.party_id)
    return [words.organization(party.slug, party.name)]


def group_list(asked: Asked) -> list[Any]:
    """List the modalities of packages as groups."""
    found = sorted(_counts(asked, "groups"))
    if not asked.yes("all_fields"):
        return [code for code, _ in found]
    return [words.group(code, packages=n) for code, n in found]


def group_show(asked: Asked) -> dict[str, Any]:
    """Show one group."""
    code = asked.text("id")
    if code_list("modality").get(code) is None:
        raise absent("group", code)
    found = asked.select(Term("groups", code), limit=1)
    return {**words.group(code, packages=found.total), "users": [], "extras": [], "tags": []}


def group_package_show(asked: Asked) -> list[dict[str, Any]]:
    """List the packages of a group."""
    limit = asked.number("limit", ROWS, ROWS)
    found = asked.select(Term("groups", asked.text("id")), limit=limit)
    return [p for p in map(asked.package, found.listings) if p is not None]


def tag_list(asked: Asked) -> list[Any]:
    """List the keywords of packages."""
    word = asked.text("query", default="").casefold()
    found = sorted(name for name, _ in _counts(asked, "tags") if word in name.casefold())
    return [words.tag(n) for n in found] if asked.yes("all_fields") else found


def tag_show(asked: Asked) -> dict[str, Any]:
    """Show one keyword, with its packages where they are asked for."""
    name = asked.text("id")
    found = asked.select(Term("tags", name, phrase=True), limit=ROWS)
    if not found.total:
        raise absent("tag", name)
    packages = map(asked.package, found.listings) if asked.yes("include_datasets") else ()
    return {**words.tag(name), "packages": [p for p in packages if p]}


def license_list(asked: Asked) -> list[dict[str, Any]]:
    """List the licences that the market knows."""
    return [words.licence_of(code) for code in code_list("licence").codes]


def user_show(asked: Asked) -> dict[str, Any]:
    """Show the party of a name, or of the key."""
    name = asked.text("id", default="")
    mine = asked.reader.get(Party, asked.actor.party_id).slug if asked.actor else ""
    party = asked.reader.one(Party, slug=name or mine) if name or mine else None
    if party is None:
        raise absent("user", name)
    return {"id": party.slug, "name": party.slug, "fullname": party.name, "state": "active",
            "display_name": party.name, "sysadmin": False, "about": None}  # fmt: skip


# --- the site ----------------------------------------------------------------------------------


def site_read(asked: Asked) -> bool:
    """Say that the site may be read."""
    return True


def status_show(asked: Asked) -> dict[str, Any]:
    """Say what answers here."""
    base = asked.market.settings.public_url.rstrip("/")
    return {"ckan_version": "2.11.0", "site_url": base, "site_title": "Yaosu 要素",
            "site_description": f"Yaosu {__version__}: CKAN Action API v3",
            "locale_default": "zh_Hans_CN", "extensions": ["datastore"],
            "error_emails_to": None}  # fmt: skip


def help_show(asked: Asked) -> str:
    """Say what an action does."""
    name = asked.text("name")
    if name not in ACTIONS:
        raise absent("action", name)
    return str(ACTIONS[name].__doc__)


# --- rows --------------------------------------------------------------------------------------


def datastore_info(asked: Asked) -> dict[str, Any]:
    """Say which columns a table has."""
    version, one = find_resource(asked, asked.text("id", "resource_id"))
    fields, _, total, _ = _table(asked, version, str(one["name"]))
    return {
        "fields": [f for f in fields if f["id"] != "_id"],
        "schema": {f["id"]: f["type"] for f in fields},
        "meta": {"id": one["id"], "count": total, "table_type": "BASE TABLE"},
    }


def datastore_search(asked: Asked) -> dict[str, Any]:
    """Return rows of a table to those who may see them: filters, words, order, offset."""
    id = asked.text("resource_id", "id")
    version, one = find_resource(asked, id)
    fields, rows, total, cut = _table(asked, version, str(one["name"]))
    names = [f["id"] for f in fields]
    offset, limit = asked.number("offset", 0, 10**9), asked.number("limit", 100, TABLE_ROWS)
    at_hand = list(rows)
    found = _filtered(asked, at_hand, names)
    fewer = asked.params.get("filters") or asked.params.get("q")
    matching = len(found) if fewer and len(found) < total else total
    first = at_hand[0]["_id"] - 1 if at_hand and not _looks_at_all(asked) else 0
    chosen = [n for n in asked.many("fields") if n in names] or names
    start = max(0, offset - first)
    page = [{n: row.get(n) for n in chosen} for row in found[start : start + limit]]
    here = f"/api/3/action/datastore_search?resource_id={id}"
    return {
        "resource_id": id,
        "fields": [f for f in fields if f["id"] in chosen],
        "records": page,
        "records_format": "objects",
        "limit": limit,
        "offset": offset,
        "total": matching,
        "total_was_estimated": cut,
        "records_truncated": cut,
        "include_total": True,
        "_links": {"start": here, "next": f"{here}&offset={offset + limit}"},
    }  # fmt: skip


def _looks_at_all(asked: Asked) -> bool:
    return any(asked.params.get(key) for key in ("filters", "q", "sort"))


def _table(
    asked: Asked, version: Published, name: str
) -> tuple[list[dict[str, str]], list[dict[str, Any]], int, bool]:
    """Return (columns, rows that are at hand, how many there are, whether rows are left out).

    A table that is longer than its preview is made into columns once, in the sandbox, as for a
    buyer's share; until that is done, the first records are all there is.
    """
    listing = _listing(asked, version)
    now = asked.market.clock.now()
    if not faces.may_read(asked.reader, asked.actor, listing, name, now):
        raise Forbidden("the rows are for buyers only", "数据内容仅限购买者查看")
    by = faces.bought(asked.reader, asked.actor, listing, name, now)
    if by is not None:
        asked.bought.append((by, name, sharing.source_of(listing, name)))
    table = sharing.table_of(asked.reader, listing, name)
    if table is None:
        found = asked.market.preview(listing, name, 100)
        if found["truncated"] and name in sharing.resources_of(listing):
            table = _made(asked.market, listing, name)
    path = asked.market.blobs.path(table.sha256) if table else None
    if table is not None and path is not None:
        rows, count = _columns(asked, path)
        own = _own_names(table)
        kinds = {own.get(f["name"], f["name"]): str(f.get("type", "text"))
                 for f in table.facts["fields"]}  # fmt: skip
        rows = [{own.get(k, k): v for k, v in row.items()} for row in rows] if own else rows
        fields = [{"id": n, "type": "text" if k == "string" else k} for n, k in kinds.items()]
        cut = _looks_at_all(asked) and len(rows) < count
        return [{"id": "_id", "type": "int"}, *fields], rows, count, cut
    found = asked.market.preview(listing, name, 100)
    fields = [
        {"id": str(f["name"]), "type": _KINDS.get(str(f.get("type")), "text")}
        for f in found["fields"]
    ]
    rows = [{"_id": i, **row} for i, row in enumerate(found["rows"], 1)]
    total = found.get("total")
    total = total if isinstance(total, int) else len(rows)
    return [{"id": "_id", "type": "int"}, *fields], rows, total, bool(found["truncated"])


def _own_names(table: sharing.SharedTable) -> dict[str, str]:
    """Return the names that columns had before they were made fit for shares, by the new ones."""
    found = {}
    for note in table.facts.get("notes") or ():
        before = re.fullmatch(r"name ('.*'|\".*\")", str(note.get("from", "")))
        if note.get("to") == "name" and before:
            found[str(note["field"])] = str(ast.literal_eval(before[1]))
    return found


def _made(market: Market, listing: Listing, name: str) -> sharing.SharedTable | None:
    """Have a table made into columns and wait a moment for it; None while it is being made."""
    body = {"listing_id": listing.id, "resource": name}
    once = sharing.view_of(listing, name)
    market.store.write(lambda tx: tx.enqueue("columns", body, once=once))
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        with market.store.read() as reader:
            found = sharing.table_of(reader, listing, name)
        if found is not None:
            return found
        time.sleep(0.05)
    return None


def _listing(asked: Asked, version: Published) -> Listing:
    found = asked.reader.one(Listing, dataset_id=version.dataset_id, version=version.number)
    if found is None:
        raise absent("package", version.name)
    return found


def _columns(asked: Asked, path: Any) -> tuple[list[dict[str, Any]], int]:
    """Return the rows of the page of a columnar file, or those to look at, and how many it has."""
    file = pq.ParquetFile(path)
    count = file.metadata.num_rows
    first, last = 0, SCAN_ROWS
    if not _looks_at_all(asked):
        first = asked.number("offset", 0, 10**9)
        last = first + asked.number("limit", 100, TABLE_ROWS)
    rows: list[dict[str, Any]] = []
    at = 0
    for group in range(file.metadata.num_row_groups):
        size = file.metadata.row_group(group).num_rows
        if at + size > first and at < last:
            rows += _rows_of(file, group, at, first, last)
        at += size
    return rows, count


def _rows_of(file: Any, group: int, at: int, first: int, last: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of a row group that lie between two rows of the file."""
    for batch in file.iter_batches(batch_size=8192, row_groups=[group]):
        skip = max(0, first - at)
        taken = batch.slice(skip, max(0, last - at - skip))
        texts = [_plain(taken.column(n)) for n in range(taken.num_columns)]
        for number, values in enumerate(zip(*texts, strict=True), at + skip + 1):
            yield {"_id": number, **dict(zip(batch.schema.names, values, strict=True))}
        at += batch.num_rows
        if at >= last:
            return


def _plain(column: Any) -> list[Any]:
    """Return a column as JSON values."""
    kind = str(column.type)
    if kind.startswith(("date", "time", "decimal", "duration")):
        return list(pc.cast(column, "string").to_pylist())
    if kind.startswith(("binary", "large_binary", "fixed")):
        return [None] * len(column)
    return list(column.to_pylist())


def _filtered(asked: Asked, rows: list[dict[str, Any]], names: list[str]) -> list[dict[str, Any]]:
    filters: Any = asked.params.get("filters") or {}
    if isinstance(filters, str):
        try:
            filters = json.loads(filters)
        except ValueError:
            filters = None
    if not isinstance(filters, dict) or set(filters) - set(names):
        raise InvalidInput("must be an object of columns", "应为以列名为键的对象", field="filters")
    for name, wanted in filters.items():
        values = {str(v) for v in (wanted if isinstance(wanted, list) else [wanted])}
        rows = [row for row in rows if str(row.get(name)) in values]
    if word := asked.text("q", default="").casefold():
        rows = [r for r in rows if any(word in str(v).casefold() for v in r.values())]
    for part in reversed(asked.text("sort", default="").split(",")):
        name, _, way = part.strip().partition(" ")
        if name and name not in names:
            raise InvalidInput(
                f"no such column: {name[:40]}", f"没有该列：{name[:40]}", field="sort"
            )
        if name:
            rows = sorted(rows, key=lambda r: _order(r.get(name)), reverse=way.strip() == "desc")
    return rows


def _order(value: Any) -> tuple[int, float, str]:
    if isinstance(value, int | float):
        return (1, float(value), "")
    return (0, 0.0, "") if value is None else (2, 0.0, str(value))


ACTIONS: Mapping[str, Callable[[Asked], Any]] = {
    action.__name__: action
    for action in (
        site_read, status_show, help_show, package_search, package_show, package_list,
        current_package_list_with_resources, package_autocomplete, resource_show, resource_search,
        organization_list, organization_show, organization_list_for_user, group_list, group_show,
        group_package_show, tag_list, tag_show, license_list, user_show, datastore_info,
        datastore_search,
    )
}  # fmt: skip
