"""Catalogs at an address, page by page: what asks, what follows, and when it is enough.

Whoever harvests hands in the way out (`Ask`); without one, `plain` is used. Redirects stay with
the host that a person named, every answer is bounded, and a source that leads in circles or says
the same for ever ends with its reason.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

from yaosu_schemas.errors import (
    InvalidInput,
    Malformed,
    NotFound,
    Text,
    TooLarge,
    Unavailable,
    YaosuError,
)
from yaosu_schemas.texts import clip

from .connector import Gone, Record, Skipped

NTH = "#"
"""Before the number of a record that says no id of its own."""
MAX_ANSWER = 16 << 20
MAX_REDIRECTS = 3
ATTEMPTS = 3
_MOVED = (301, 302, 303, 307, 308)
_LATER = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request: a GET, or a POST where it has a body."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer; the names of its headers are in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str = ""

    @property
    def media(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


Ask = Callable[[Asked], Reply]
"""Sends one request, follows nothing; Unavailable where it may be asked again, TooLarge, or
InvalidInput for an address that is not reached from here."""
After = Any
"""Where the next page begins, as JSON; None before the first."""
Page = tuple[After, list[Record | Skipped]]
Changed = tuple[After, list[Record | Skipped | Gone]]


def plain(asked: Asked) -> Reply:
    """Ask from this machine: no proxies of the environment, no redirects, a bounded answer."""
    import requests

    with requests.Session() as session:
        session.trust_env = False
        try:
            answer = session.request(
                "GET" if asked.body is None else "POST", asked.url, data=asked.body,
                headers=dict(asked.headers), allow_redirects=False, stream=True, timeout=(10, 60),
            )  # fmt: skip
            body = bytearray()
            for piece in answer.iter_content(1 << 16):
                body += piece
                if len(body) > MAX_ANSWER:
                    raise TooLarge("the answer is too large", "返回内容过大")
        except (requests.RequestException, OSError):
            raise Unavailable("it cannot be reached", "无法连接") from None
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return Reply(status=answer.status_code, headers=headers, body=bytes(body))


def address(source: str) -> str:
    """Return the address that a person named; InvalidInput where it is none."""
    if not re.match(r"https?://[^/@\s]+(/|\?|$)", source):
        raise InvalidInput(
            f"{clip(source)!r} is not an http(s) address",
            f"“{clip(source)}”不是 http(s) 地址",
        )
    return source


def host_of(url: str) -> str:
    """Return the host of an address as it is compared: no port, no `www.` before it."""
    try:
        return (urlsplit(url).hostname or "").removeprefix("www.")
    except ValueError:
        return ""


def get(ask: Ask, url: str, accept: str, *, home: str | None = None) -> Reply:
    """Return a whole answer with status 200 and its final address, following within one host."""
    home = home or host_of(url)
    for _ in range(MAX_REDIRECTS + 1):
        if host_of(url) != home:
            raise InvalidInput(
                f"it leads to another host: {clip(host_of(url))}: give the final address",
                f"指向其他主机：{clip(host_of(url))}，请填写最终地址",
            )
        reply = _again(ask, Asked(url=url, headers={"accept": accept}))
        if reply.status == 200:
            return Reply(status=200, headers=reply.headers, body=reply.body, url=url)
        if reply.status not in _MOVED or not reply.headers.get("location"):
            raise _status(reply.status)
        url = address(urljoin(url, reply.headers["location"]))
    raise InvalidInput("it is redirected again and again", "重定向次数过多")


def _again(ask: Ask, asked: Asked) -> Reply:
    for attempt in range(ATTEMPTS):
        last = attempt == ATTEMPTS - 1
        try:
            reply = ask(asked)
            if reply.status not in _LATER or last:
                return reply
        except Unavailable:
            if last:
                raise
        time.sleep(0.2 * 2**attempt)
    raise AssertionError("unreachable")


def _status(status: int) -> YaosuError:
    if status in _LATER:
        return Unavailable(f"it answers with status {status}", f"对方返回状态 {status}")
    if status in (404, 410):
        return NotFound("there is nothing at this address", "该地址没有内容")
    if status in (401, 403):
        return InvalidInput("it lets nobody in without a key", "对方要求凭据")
    return InvalidInput(f"it answers with status {status}", f"对方返回状态 {status}")


def no_html(reply: Reply) -> Reply:
    """Return the answer, unless it is a page for people."""
    begins = reply.body[:200].lstrip().lower()
    if reply.media == "text/html" or begins.startswith((b"<!doctype html", b"<html")):
        raise Malformed("it answers with a web page, not with data", "返回的是网页而非数据")
    return reply


# --- when it is enough -------------------------------------------------------------------------


@dataclass(slots=True)
class Watch:
    """What a run has seen of a source: places and records that come again end it."""

    places: set[bytes] = field(default_factory=set)
    records: set[bytes] = field(default_factory=set)

    def saw(self, after: After, origins: Iterable[str]) -> None:
        """Note a page; InvalidInput where it leads back, or says only what was said before."""
        place = _mark(json.dumps(after, sort_keys=True))
        marks = {_mark(origin) for origin in origins}
        ends = after is None
        if (place in self.places and not ends) or (marks and marks <= self.records):
            raise InvalidInput(
                "its paging does not end: the same comes again",
                "其分页无法结束：重复返回相同的内容",
            )
        self.places.add(place)
        self.records |= marks


def _mark(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def watched(pages: Iterator[Page]) -> Iterator[Record | Skipped]:
    """Return the records of pages, the first of which is asked for at once."""
    watch = Watch()

    def judged(page: Page) -> list[Record | Skipped]:
        watch.saw(page[0], (item.origin_id for item in page[1]))
        return page[1]

    first = next(pages, None)

    def items() -> Iterator[Record | Skipped]:
        if first is not None:
            yield from judged(first)
        for page in pages:
            yield from judged(page)

    return items()


def skipped(origin: str, error: YaosuError) -> Skipped:
    return Skipped(origin_id=clip(origin, 400), why=Text(error.en, error.zh))
