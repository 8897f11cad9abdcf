"""A person's notices as a feed, under a link that only they know: Atom (RFC 4287) and JSON Feed."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape, quoteattr

from fastapi import APIRouter, Request, Response

from yaosu import present
from yaosu.model import Party
from yaosu.model_notices import Inbox, Notice
from yaosu.notices import inbox
from yaosu.ports import Reader
from yaosu.web.door import json_response, market_of
from yaosu.web.pages.notice_words import place, sentence
from yaosu.web.pages.visit import language_of, read_of

router = APIRouter(tags=["notices"])
ENTRIES = 50
HIDDEN = {"cache-control": "private, no-store", "x-robots-tag": "noindex"}


def _found(request: Request, token: str) -> tuple[Inbox, Party, list[Notice]]:
    market = market_of(request)

    def look(reader: Reader) -> tuple[Inbox, Party, list[Notice]]:
        mine, actor = inbox.opened(reader, token, market.hook_secret, market.clock.now())
        notices = inbox.page(reader, actor, size=ENTRIES)
        return mine, reader.get(Party, mine.party_id), notices

    with market.store.read() as reader:
        return look(reader)


@router.get("/feeds/{token}.atom")
async def atom(request: Request, token: str) -> Response:
    """The newest notices of the person whose secret link this is, as Atom."""
    mine, party, notices = await read_of(request, lambda: _found(request, token))
    body = _atom(request, mine, party, notices)
    return Response(body, media_type="application/atom+xml", headers=HIDDEN)


def _words(request: Request, notice: Notice) -> str:
    text = sentence(notice)
    return text.zh if language_of(request) == "zh" else text.en


def _title(request: Request, party: Party) -> str:
    zh = language_of(request) == "zh"
    name = party.name if zh or not party.name_en else party.name_en
    return f"要素通知 · {name}" if zh else f"Yaosu notices · {name}"


def _id(name: str) -> str:
    """Return a name for ever that leads nowhere (RFC 4287 §4.2.6)."""
    digits = name[-32:]
    parts = (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
    return f"urn:uuid:{'-'.join(parts)}"


def _xml(text: str) -> str:
    """Return text as XML 1.0 can hold it: strangers' titles may have what it cannot."""
    return escape("".join(c for c in text if c.isprintable() or c in "\t\n"))


def _atom(request: Request, mine: Inbox, party: Party, notices: Sequence[Notice]) -> str:
    base = market_of(request).settings.public_url.rstrip("/")
    updated = max((n.created_at for n in notices), default=party.created_at)
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        '<feed xmlns="http://www.w3.org/2005/Atom">',
        f"<id>{_id(mine.id)}</id>",
        f"<title>{_xml(_title(request, party))}</title>",
        f"<updated>{present.plain(updated)}</updated>",
        f"<author><name>{_xml('Yaosu 要素')}</name></author>",
        f'<link rel="alternate" href={quoteattr(base + "/notices")}/>',
    ]
    for n in notices:
        lines += [
            "<entry>",
            f"<id>{_id(n.id)}</id>",
            f"<title>{_xml(_words(request, n))}</title>",
            f"<updated>{present.plain(n.created_at)}</updated>",
            f"<published>{present.plain(n.at)}</published>",
            f'<link rel="alternate" href={quoteattr(base + place(n))}/>',
            f"<category term={quoteattr(n.kind)}/>",
            f"<summary>{_xml(_words(request, n))}</summary>",
            "</entry>",
        ]
    return "\n".join([*lines, "</feed>", ""])


@router.get("/feeds/{token}.json")
async def json_feed(request: Request, token: str) -> Response:
    """The same as JSON Feed 1.1."""
    _, party, notices = await read_of(request, lambda: _found(request, token))
    base = market_of(request).settings.public_url.rstrip("/")
    body = {
        "version": "https://jsonfeed.org/version/1.1",
        "title": _title(request, party),
        "home_page_url": f"{base}/notices",
        "language": "zh-CN" if language_of(request) == "zh" else "en",
        "items": [
            {
                "id": _id(n.id),
                "url": base + place(n),
                "title": _words(request, n),
                "content_text": _words(request, n),
                "date_published": present.plain(n.at),
                "tags": [n.kind],
            }
            for n in notices
        ],
    }
    answer = json_response(body, headers=dict(HIDDEN))
    answer.headers["content-type"] = "application/feed+json"
    return answer
