"""Descriptions at the addresses that a site names: its map, a list, or one document.

A page of HTML is read for what it says to machines: a link to its Croissant document, or
schema.org/Dataset within it. Addresses on other hosts are named and not asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urljoin

from yaosu_schemas.errors import InvalidInput, Malformed, TooLarge, Unavailable, YaosuError
from yaosu_schemas.texts import clip

from . import local, plain_xml, remote, schema_org
from .connector import Record, Skipped
from .croissant_descriptor import kinds
from .plain_xml import local_name, text_of
from .remote import After, Ask, Page, Reply

# The page before linked data: what is negotiated at its address may be in other words (DCAT).
_ACCEPT = "text/html, application/ld+json;q=0.9, application/json;q=0.8"
_MAP = "application/xml, text/xml;q=0.9, application/ld+json;q=0.8, application/json;q=0.7"
AT_ONCE = 20
MAX_ADDRESSES = 100_000
MAX_MAPS = 200
Judge = Callable[[Any, str], Record]


def pages(source: str, after: After, ask: Ask, judge: Judge) -> Iterator[Page]:
    """Yield what is found at the addresses that the source names, some at a time."""
    start = after["at"] if after else 0
    listed = _listed(source, ask)
    if isinstance(listed, Reply):
        if not start:
            yield {"at": 1}, [_one(source, ask, judge, remote.host_of(source), listed)]
        return
    home = remote.host_of(source)
    for at in range(start, len(listed), AT_ONCE):
        part = listed[at : at + AT_ONCE]
        yield {"at": at + len(part)}, [_one(url, ask, judge, home) for url in part]


def _listed(source: str, ask: Ask) -> list[str] | Reply:
    """Return the addresses that a map or a list names, or the answer that is one document."""
    reply = remote.get(ask, source, _MAP)
    begins = reply.body[:500].lstrip()
    if begins.startswith(b"<") and reply.media != "text/html":
        return list(dict.fromkeys(_of_map(source, reply, ask)))
    if begins.startswith(b"["):
        found = local.parse_json(reply.body.decode("utf-8-sig", "replace"))
        if all(isinstance(one, str) for one in found):
            if len(found) > MAX_ADDRESSES:
                raise _endless()
            return list(dict.fromkeys(urljoin(source, one) for one in found))
    return reply


def _of_map(source: str, reply: Reply, ask: Ask) -> Iterator[str]:
    """Yield the addresses of a map of the site, or of the maps that it names (sitemaps.org)."""
    waiting: list[str] = []
    seen, count = {source}, 0
    while True:
        root = plain_xml.parse(remote.no_html(reply).body)
        kind = local_name(root)
        if kind not in ("urlset", "sitemapindex"):
            raise Malformed("it is no map of a site", "不是站点地图")
        for one in root.iter():
            if local_name(one) != "loc" or not text_of(one):
                continue
            url = urljoin(source, text_of(one))
            if kind == "urlset":
                count += 1
                if count > MAX_ADDRESSES:
                    raise _endless()
                yield url
            elif url not in seen:
                seen.add(url)
                waiting.append(url)
        if len(seen) > MAX_MAPS:
            raise _endless()
        if not waiting:
            return
        reply = remote.get(ask, waiting.pop(0), _MAP, home=remote.host_of(source))


def _endless() -> TooLarge:
    return TooLarge(
        f"it names more than {MAX_ADDRESSES} addresses", f"列出的地址超过 {MAX_ADDRESSES} 个"
    )


# --- one address -------------------------------------------------------------------------------


def _one(
    url: str, ask: Ask, judge: Judge, home: str, reply: Reply | None = None
) -> Record | Skipped:
    """Return what stands at an address; whatever is wrong with it concerns it alone."""
    from .croissant_catalog import why_not

    try:
        if remote.host_of(url) != home:
            raise InvalidInput("it lies on another host: not asked", "位于其他主机，未读取")
        reply = reply or remote.get(ask, url, _ACCEPT, home=home)
        said = _document(reply, ask, home)
        plain = "recordSet" not in said and not _is_croissant(said)
        return schema_org.record_of(said, url) if plain else judge(said, url)
    except YaosuError as error:
        if isinstance(error, Unavailable):
            raise
        return Skipped(origin_id=clip(url, 400), why=why_not(error))


def _is_croissant(said: dict[str, Any]) -> bool:
    """Tell whether a document says that it is Croissant: by profile, or by its kinds of files."""
    files = said.get("distribution")
    listed = files if isinstance(files, list) else [files]
    conforms = str(said.get("conformsTo") or said.get("dct:conformsTo") or "")
    return "croissant" in conforms or any(
        kinds(f) & {"FileObject", "FileSet"} for f in listed if isinstance(f, dict)
    )


def _document(reply: Reply, ask: Ask, home: str) -> dict[str, Any]:
    text = reply.body.decode("utf-8-sig", "replace")
    if not text.lstrip().startswith("<"):
        return _dataset(local.parse_json(text))
    for tag, _ in _tags(text, "link"):
        if re.search(r"\balternate\b", tag) and (href := _HREF.search(tag)):
            url = urljoin(reply.url, href.group(1))
            linked = remote.no_html(remote.get(ask, url, _ACCEPT, home=home))
            return _dataset(local.parse_json(linked.body.decode("utf-8-sig", "replace")))
    for tag, after in _tags(text, "script"):
        if "application/ld+json" not in tag.lower():
            continue
        end = text.find("</script", after)
        if end < 0:
            break
        try:
            return _dataset(local.parse_json(text[after:end]))
        except YaosuError:
            continue
    raise InvalidInput(
        "the page says nothing of a dataset to machines", "网页没有数据集的结构化描述"
    )


def _dataset(said: Any) -> dict[str, Any]:
    """Return the one dataset of a document, which may stand in a list or a graph."""
    if isinstance(said, dict) and isinstance(said.get("@graph"), list):
        inner = said["@graph"]
    else:
        inner = said if isinstance(said, list) else [said]
    found = [one for one in inner if isinstance(one, dict) and "Dataset" in kinds(one)]
    if not found:
        raise InvalidInput("the document is no dataset", "文档不是数据集")
    context = said.get("@context") if isinstance(said, dict) else None
    return found[0] if context is None else {"@context": context, **found[0]}


_HREF = re.compile(r"""href\s*=\s*["']?([^"'>\s]{0,1000}croissant[^"'>\s]{0,100})""", re.I)
LONGEST_TAG = 3000


def _tags(text: str, name: str) -> Iterator[tuple[str, int]]:
    """Yield (a start tag, the place behind it): a parser could be held up by a stranger's page."""
    for found in re.finditer(rf"<{name}\b", text, re.IGNORECASE):
        end = text.find(">", found.start(), found.start() + LONGEST_TAG)
        if end > 0:
            yield text[found.start() : end], end + 1
