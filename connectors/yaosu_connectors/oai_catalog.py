"""Repositories of OAI-PMH 2.0 as a source, page by page: oai_dc, or DCAT where it is served.

At an address the list is asked for and its tokens are followed; from a folder kept answers are
read. A record that is marked as deleted does not come in a list of all: whoever knew it sees that
it is gone; in a list of what has changed it comes as such.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit
from xml.etree.ElementTree import Element, tostring

from yaosu_schemas import licences
from yaosu_schemas.canonical import digest
from yaosu_schemas.errors import InvalidInput, Malformed, NotFound, Text, YaosuError
from yaosu_schemas.paths import is_remote
from yaosu_schemas.texts import clip

from . import dcat_catalog, local, plain_xml, remote
from .connector import About, Gone, Record, Skipped
from .oai import DIVISION, FORMATS_KEPT
from .plain_xml import local_name, text_of
from .remote import After, Ask, Changed, Page

_OAI = "{http://www.openarchives.org/OAI/2.0/}"
_ACCEPT = "text/xml, application/xml;q=0.9"
_DCAT = "http://www.w3.org/ns/dcat#"
_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}RDF"


class OaiRepository:
    """Harvests an OAI-PMH repository, or a folder of its answers."""

    def about(self) -> About:
        return About(
            name="oai-pmh",
            title=Text("OAI-PMH repository", "OAI-PMH 仓储"),
            speaks=("OAI-PMH 2.0", "oai_dc", "DCAT-AP 3.0.1"),
        )

    def harvest(self, source: str, /) -> Iterator[Record | Skipped]:
        if is_remote(source):
            return remote.watched(self.pages(source))
        return _folder(local.open_root(source))

    def pages(self, source: str, /, after: After = None, ask: Ask | None = None) -> Iterator[Page]:
        """Yield pages; `after` is the prefix in use and the token of the next one."""
        for place, items in _pages(remote.address(source), "", after, ask or remote.plain):
            yield place, [item for item in items if not isinstance(item, Gone)]

    def changes(
        self, source: str, since: str, /, after: After = None, ask: Ask | None = None
    ) -> Iterator[Changed]:
        """Yield what the repository dates since the mark: the time of its answer of then."""
        return _pages(remote.address(source), since, after, ask or remote.plain)


def _pages(source: str, since: str, after: After, ask: Ask) -> Iterator[Changed]:
    base, given = _base(source)
    prefix = after["prefix"] if after else given.get("metadataPrefix") or _prefix(base, ask)
    mark = after.get("mark", "") if after else _clock(base, ask)
    token = after["token"] if after else None
    begun = after is not None
    while token or not begun:
        asked = {"verb": "ListRecords"}
        if token:
            asked["resumptionToken"] = token
        else:
            asked |= {"metadataPrefix": prefix, **{k: given[k] for k in given if k == "set"}}
            asked |= {"from": since} if since else {}
        answer = _answer(ask, base, asked)
        begun = True
        token = text_of(answer.find(f"{_OAI}resumptionToken")) or None if answer else None
        items = list(_records(answer)) if answer is not None else []
        yield {"prefix": prefix, "token": token, "mark": mark}, items


def _clock(base: str, ask: Ask) -> str:
    """Return the repository's time as its `from` takes it; "" where it does not say how (§3.3.2).

    Its own time of before the list: clocks differ, and what changes meanwhile comes again.
    """
    try:
        root = _root(ask, base, {"verb": "Identify"})
        said = _verb(root, "Identify")
    except (InvalidInput, Malformed, NotFound):
        return ""  # the list itself says what is wrong
    fine = text_of(said.find(f"{_OAI}granularity")) if said is not None else ""
    now = text_of(root.find(f"{_OAI}responseDate"))
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", now):
        return ""
    return {"YYYY-MM-DD": now[:10], "YYYY-MM-DDThh:mm:ssZ": now}.get(fine, "")


def _base(source: str) -> tuple[str, dict[str, str]]:
    """Return the base address, and a set or format that the person's address names."""
    parts = urlsplit(source)
    given = dict(parse_qsl(parts.query))
    rest = {k: v for k, v in given.items() if k not in ("verb", "set", "metadataPrefix")}
    rest.pop("resumptionToken", None)
    return urlunsplit((parts.scheme, parts.netloc, parts.path, urlencode(rest), "")), given


def _answer(ask: Ask, base: str, asked: dict[str, str]) -> Element | None:
    """Return the element of the verb; None where nothing matches; an error in its words."""
    return _verb(_root(ask, base, asked), asked["verb"])


def _root(ask: Ask, base: str, asked: dict[str, str]) -> Element:
    mark = "&" if urlsplit(base).query else "?"
    reply = remote.get(ask, f"{base}{mark}{urlencode(asked)}", _ACCEPT)
    return plain_xml.parse(remote.no_html(reply).body)


def _verb(root: Element, verb: str) -> Element | None:
    if root.tag != f"{_OAI}OAI-PMH":
        raise Malformed("the answer is not of OAI-PMH 2.0", "返回内容不是 OAI-PMH 2.0")
    error = root.find(f"{_OAI}error")
    if error is not None:
        if error.get("code") == "noRecordsMatch":
            return None
        said = clip(f"{error.get('code')}: {text_of(error)}", 200)
        raise InvalidInput(f"it refuses: {said}", f"对方拒绝：{said}")
    found = root.find(f"{_OAI}{verb}")
    if found is None:
        raise Malformed(f"the answer holds no {verb}", f"返回内容缺少 {verb}")
    return found


def _prefix(base: str, ask: Ask) -> str:
    """Return the richest format that is served and read here."""
    listed = _answer(ask, base, {"verb": "ListMetadataFormats"})
    for one in listed if listed is not None else ():
        named = text_of(one.find(f"{_OAI}metadataPrefix"))
        space = text_of(one.find(f"{_OAI}metadataNamespace"))
        if space == _DCAT or named.lower().startswith("dcat"):
            return named
    return "oai_dc"


def _folder(root: Path) -> Iterator[Record | Skipped]:
    for step in local.walk(root):
        if isinstance(step, local.Refused):
            yield Skipped(origin_id=step.path, why=step.why)
            continue
        for name in step.files:
            if not name.endswith(".xml"):
                continue
            path = f"{step.path}/{name}" if step.path else name
            try:
                yield from records(plain_xml.parse(local.read_plain(root / path)))
            except (YaosuError, OSError) as error:
                yield Skipped(origin_id=path, why=local.why_not(error))


def records(root: Element) -> Iterator[Record | Skipped]:
    """Yield the records of a kept answer."""
    verb = next((v for v in ("ListRecords", "GetRecord") if root.find(_OAI + v) is not None), "")
    answer = _verb(root, verb or "ListRecords")
    found = _records(answer) if answer is not None else iter(())
    yield from (item for item in found if not isinstance(item, Gone))


# --- records -----------------------------------------------------------------------------------


def _records(answer: Element) -> Iterator[Record | Skipped | Gone]:
    for number, one in enumerate(answer.iter(f"{_OAI}record")):
        head = one.find(f"{_OAI}header")
        origin = text_of(head.find(f"{_OAI}identifier")) if head is not None else ""
        if head is not None and head.get("status") == "deleted":
            if origin:
                yield Gone(origin_id=clip(origin, 400))
            continue
        try:
            if not origin:
                raise InvalidInput("its header has no identifier", "记录头缺少标识")
            yield _record(origin, one.find(f"{_OAI}metadata"))
        except YaosuError as error:
            yield remote.skipped(origin or f"#{number}", error)


def _record(origin: str, holder: Element | None) -> Record:
    said = next(iter(holder), None) if holder is not None else None
    if said is None:
        raise InvalidInput("it has no metadata", "缺少元数据")
    origin = clip(origin, 400)
    if said.tag == _RDF:
        graph = dcat_catalog.graph_of(tostring(said, "unicode"), "xml")
        found = next(iter(dcat_catalog.datasets(graph)), None)
        if found is None:
            raise InvalidInput("its metadata holds no dataset", "元数据中没有数据集")
        return Record(origin_id=origin, kind="dataset", document=found.document,
                      digest=found.digest, notes=found.notes)  # fmt: skip
    if local_name(said) != "dc":
        raise InvalidInput(
            f"its format {clip(local_name(said))!r} is not read",
            f"不支持其格式“{clip(local_name(said))}”",
        )
    document = descriptor(said, origin)
    return Record(origin_id=origin, kind="dataset", document=document, digest=digest(document))


def descriptor(said: Element, origin: str = "") -> dict[str, Any]:
    """Return the fifteen elements of oai_dc as a descriptor."""
    found: dict[str, list[str]] = {}
    for one in said:
        if value := text_of(one):
            found.setdefault(local_name(one), []).append(value)
    titles = found.get("title", [])
    pages = [i for i in found.get("identifier", ()) if is_remote(i)]
    made: dict[str, Any] = {"name": _name(pages, titles, origin)}
    if titles:
        made["title"] = titles[0]
    if "description" in found:
        made["description"] = "\n\n".join(found["description"])[:100_000]
    if "subject" in found:
        made["keywords"] = list(dict.fromkeys(found["subject"]))
    if home := [*(r for r in found.get("relation", ()) if is_remote(r)), *pages]:
        made["homepage"] = home[0]
    if "date" in found:
        made["created"] = found["date"][0][:40]
    if people := list(_people(found)):
        made["contributors"] = people
    if "source" in found:
        made["sources"] = [
            {"title": s, "path": s} if is_remote(s) else {"title": s} for s in found["source"]
        ]
    if "format" in found:
        made[FORMATS_KEPT] = found["format"]
    spdx = _licences(made, found.get("rights", []))
    if element := _element(found, titles, spdx):
        made["dataElement"] = element
    return made


def _name(pages: list[str], titles: list[str], origin: str) -> str:
    for given in (*(urlsplit(p).path.rstrip("/").rpartition("/")[2] for p in pages),
                  *titles, origin.rpartition(":")[2]):  # fmt: skip
        plain = re.sub(r"[^a-z0-9._-]+", "-", given.lower()).strip("-.")[:100]
        if plain:
            return plain
    return "dataset"


def _people(found: dict[str, list[str]]) -> Iterator[dict[str, Any]]:
    for theirs in ("creator", "publisher", "contributor"):
        for title in dict.fromkeys(found.get(theirs, ())):
            yield {"title": title, "roles": [theirs]}


def _licences(made: dict[str, Any], rights: list[str]) -> str | None:
    spdx: str | None = None
    listed: list[dict[str, str]] = []
    for right in rights:
        known = licences.from_open_definition(right.rstrip("/").rpartition("/")[2])
        known = known or (right if right.startswith("LicenseRef-") else None)
        if known:
            spdx = spdx or known
            listed.append({"name": known})
        elif is_remote(right):
            listed.append({"path": right})
        else:
            listed.append({"title": right[:300]})
    if listed:
        made["licenses"] = listed
    return spdx


def _element(found: dict[str, list[str]], titles: list[str], spdx: str | None) -> dict[str, Any]:
    element: dict[str, Any] = {}
    if len(titles) > 1 and titles[1] != titles[0]:
        element["titles"] = {"en": titles[1]}
    if "language" in found:
        element["languages"] = list(dict.fromkeys(found["language"]))
    coverage: dict[str, Any] = {}
    for place in found.get("coverage", ()):
        start, slash, end = place.partition("/")
        if place.startswith(DIVISION):
            coverage.setdefault("spatial_codes", []).append(place.removeprefix(DIVISION))
        elif slash and all(re.fullmatch(r"\d{4}(-\d\d){0,2}|\.\.", e) for e in (start, end)):
            ends = {k: v for k, v in (("start", start), ("end", end)) if v != ".."}
            coverage.setdefault("temporal", ends)
    if coverage:
        element["coverage"] = coverage
    if spdx:
        element["license_spdx"] = spdx
    return element
