"""A provider asks for the renewal of a certificate (续期登记); whoever may register decides.

The window of a national certificate opens six months before its end and closes the day before
(国数综政策〔2026〕35号 arts 26, 36); other schemes are renewed whenever they are valid.
"""

from __future__ import annotations

import calendar
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Any

from . import present, review
from .errors import Conflict, InvalidInput, NotFound, Text
from .identity import absent, allow, may
from .listing import load, venue_of
from .model import JSON, Actor, Certificate, Holding, Listing, ListingState, new_id
from .model_renewal import Document, Renewal
from .ports import Reader, Transaction

WINDOW_MONTHS = 6
NATIONAL = "nda"
MOST_DOCUMENTS = 10
MOST_BYTES = 50 << 20
RENEWABLE = (ListingState.REGISTERED, ListingState.LISTED, ListingState.SUSPENDED)


def opens(certificate: Certificate) -> date | None:
    """Return the first day on which a renewal may be asked for, or None for any day."""
    end = certificate.valid_until
    if certificate.scheme != NATIONAL or end is None:
        return None
    months = end.month - 1 - WINDOW_MONTHS
    year, month = end.year + months // 12, months % 12 + 1
    return date(year, month, min(end.day, calendar.monthrange(year, month)[1]))


def reasons(reader: Reader, listing: Listing, today: date) -> list[Text]:
    """Return what stands against asking now."""
    old = listing.certificate
    if listing.state not in RENEWABLE or old is None or old.valid_until is None:
        return [Text("there is no certificate with an end here", "没有设有效期的登记凭证可续期")]
    found = []
    if old.seized:
        found.append(Text("the certificate is under seizure", "登记凭证处于查封状态"))
    if old.valid_until <= today:
        found.append(
            Text(
                "it is asked for up to the day before the end: register anew",
                "续期应在到期前一日之前申请，现需重新登记",
            )
        )
    first = opens(old)
    if first is not None and today < first:
        found.append(
            Text(
                f"the window opens on {first} (6 months)",
                f"续期申请自 {first} 起受理（到期前 6 个月）",
            )
        )
    if reader.find(Renewal, listing_id=listing.id, state="open", limit=1):
        found.append(Text("a request waits for its decision", "已有申请待决定"))
    return found


def ask(
    tx: Transaction,
    actor: Actor,
    listing_id: str,
    certificate: JSON,
    *,
    documents: Sequence[tuple[str, str]] = (),
    text: str = "",
) -> Renewal:
    """Ask for a renewal, with the certificate that was got and what proves it (name, SHA-256)."""
    listing = load(tx, actor, listing_id)
    allow(actor, "renewal.ask", listing, venue_of(tx, listing))
    if why := reasons(tx, listing, tx.now.date()):
        raise Conflict(
            "a renewal cannot be asked for: " + "; ".join(r.en for r in why),
            "不能申请续期：" + "；".join(r.zh for r in why),
            guards=[{"message": r.en, "message_zh": r.zh} for r in why],
        )
    old = listing.certificate
    asked = review.certificate_of(tx, actor, certificate)
    if old is None or asked is None or asked.valid_until is None:
        raise InvalidInput(
            "the renewed certificate has a last day",
            "续期凭证须有有效期截止日",
            field="certificate",
        )
    if old.valid_until is not None and asked.valid_until <= old.valid_until:
        raise InvalidInput(
            "it ends no later than the one before", "新的截止日不晚于原凭证", field="certificate"
        )
    made = Renewal(
        id=new_id("rnw"), listing_id=listing.id, provider_id=listing.provider_id,
        venue=listing.venue, asked=replace(asked, verified_by="", verified_at=None),
        documents=_documents(tx, actor, documents), text=text.strip()[:4000],
        asked_by=actor.id, created_at=tx.now, updated_at=tx.now,
    )  # fmt: skip
    tx.add(made)
    _note(tx, actor, listing, "renewal_requested", made)
    return made


def _documents(tx: Reader, actor: Actor, given: Sequence[tuple[str, str]]) -> tuple[Document, ...]:
    """Return the files by name; they were uploaded by the provider before."""
    if len(given) > MOST_DOCUMENTS:
        raise InvalidInput(
            f"at most {MOST_DOCUMENTS} documents",
            f"至多 {MOST_DOCUMENTS} 份材料",
            field="documents",
        )
    found = []
    for number, (name, sha256) in enumerate(given):
        field = f"documents/{number}"
        held = tx.one(Holding, party_id=actor.party_id, sha256=sha256.removeprefix("sha256:"))
        if held is None:
            raise InvalidInput("these bytes were not uploaded", "文件尚未上传", field=field)
        if not 0 < held.bytes <= MOST_BYTES:
            raise InvalidInput("a document has up to 50 MiB", "单份材料至多 50 MiB", field=field)
        if not 1 <= len(name) <= 200 or not name.isprintable() or set(name) & set('/\\"'):
            raise InvalidInput("a document has a plain name", "材料名称无效", field=field)
        found.append(Document(name=name, sha256=held.sha256, bytes=held.bytes))
    return tuple(found)


def _note(tx: Transaction, actor: Actor, listing: Listing, what: str, one: Renewal) -> None:
    """Leave an event with the listing: which request, and until when, no words of people."""
    payload = {
        "renewal_id": one.id,
        "valid_until": present.plain(one.asked.valid_until),
        "documents": [d.sha256 for d in one.documents],
    }
    tx.record(
        listing.id, what, actor_id=actor.id, from_state=listing.state, to_state=listing.state,
        payload=payload,
    )  # fmt: skip


def grant(
    tx: Transaction, actor: Actor, renewal_id: str, certificate: JSON = None, text: str = ""
) -> Renewal:
    """Keep the renewed certificate as the decider checked it; by default as it was asked for."""
    one, listing = _open(tx, actor, renewal_id)
    asked = present.plain(one.asked)
    review.renew_certificate(tx, actor, listing.id, certificate or asked, text)
    return tx.get(Renewal, one.id)


def refuse(tx: Transaction, actor: Actor, renewal_id: str, reason: str) -> Renewal:
    """Refuse with a written reason; the certificate goes on to its end."""
    one, listing = _open(tx, actor, renewal_id)
    allow(actor, "renewal.decide", listing, venue_of(tx, listing))
    if not reason.strip():
        raise InvalidInput("a written reason is needed", "需要书面说明", field="reason")
    ended = replace(
        one, state="refused", decided_by=actor.id, decided_at=tx.now, decision=reason.strip(),
        updated_at=tx.now,
    )  # fmt: skip
    tx.put(ended)
    _note(tx, actor, listing, "renewal_refused", ended)
    return ended


def withdraw(tx: Transaction, actor: Actor, renewal_id: str) -> Renewal:
    """Take a request back."""
    one, listing = _open(tx, actor, renewal_id)
    allow(actor, "renewal.ask", listing, venue_of(tx, listing))
    ended = replace(one, state="withdrawn", updated_at=tx.now)
    tx.put(ended)
    _note(tx, actor, listing, "renewal_withdrawn", ended)
    return ended


def _open(tx: Transaction, actor: Actor, renewal_id: str) -> tuple[Renewal, Listing]:
    one, listing = see(tx, actor, renewal_id)
    one = tx.get(Renewal, one.id)
    if one.state != "open":
        raise Conflict(f"this request is {one.state}", f"该申请状态为 {one.state}", state=one.state)
    return one, listing


# --- looking ----------------------------------------------------------------------------------


def see(reader: Reader, actor: Actor, renewal_id: str) -> tuple[Renewal, Listing]:
    """Return a request that exists for the actor: its provider's, or one to decide."""
    one = reader.one(Renewal, id=renewal_id)
    if one is None or not _visible(reader, actor, one):
        raise absent("renewal", renewal_id)
    return one, reader.get(Listing, one.listing_id)


def _visible(reader: Reader, actor: Actor, one: Renewal) -> bool:
    try:
        listing = reader.get(Listing, one.listing_id)
    except NotFound:
        return False
    return may(actor, "renewal.read", listing, venue_of(reader, listing))


def visible(
    reader: Reader, actor: Actor, *, state: str = "", cursor: str | None = None, size: int = 50
) -> list[Renewal]:
    """Return a page of the requests that exist for the actor, newest first."""
    operator = {"admin", "reviewer", "exchange"} & {str(r) for r in actor.roles}
    where: dict[str, object] = {} if operator else {"provider_id": actor.party_id}
    if state:
        where["state"] = state
    found: list[Renewal] = []
    while len(found) < size:
        page = reader.find(Renewal, after=cursor, limit=size, newest=True, **where)
        found += [one for one in page if _visible(reader, actor, one)]
        if len(page) < size:
            break
        cursor = page[-1].id
    return found[:size]


def document(reader: Reader, actor: Actor, renewal_id: str, number: int) -> Document:
    """Return one of the files of a request."""
    one, _ = see(reader, actor, renewal_id)
    if not 0 <= number < len(one.documents):
        raise absent("document", f"{renewal_id}/{number}")
    return one.documents[number]


def shown(one: Renewal) -> dict[str, Any]:
    """Return a request as its provider and those who decide see it."""
    facts = {k: v for k, v in present.plain(one).items() if k not in ("id", "asked")}
    hidden = ("verified_by", "verified_at", "seized")
    asked = {k: v for k, v in present.plain(one.asked).items() if k not in hidden}
    return {"renewal_id": one.id, **facts, "certificate": asked}
