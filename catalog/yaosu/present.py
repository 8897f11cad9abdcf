"""What each noun looks like to whom: the JSON that leaves the house.

Property-level rules (who sees contacts, prices of others, private identifiers) live here and
nowhere else (OWASP API3). Times are RFC 3339 with Z.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from datetime import date, datetime
from functools import cache
from typing import Any

from yaosu_schemas.codes import code_list

from .contract import terms_json
from .model import (
    SYSTEM,
    AccessKey,
    Certificate,
    Dataset,
    Delivery,
    Event,
    Job,
    Listing,
    Party,
    Posting,
    SigningKey,
    StoredReport,
    Trade,
    TradeState,
    Upload,
    Venue,
)
from .model_money import Call, Invoice, Period
from .operations import told
from .proof.evidence import stamp
from .steps import LISTING_STEPS, TRADE_STEPS, next_actions

PRIVATE_HOLDER = frozenset({"contact", "phone", "address", "business_status", "id_card"})
PRICE_BANDS = (
    (0, "free"),
    (100_000, "under_1k"),
    (1_000_000, "under_10k"),
    (10_000_000, "under_100k"),
)


_PLAIN = frozenset((str, int, bool, float, type(None)))


def plain(value: Any) -> Any:
    """Return the value as JSON: dates as text, tuples as lists, records as objects."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, (str, int, float)):
        return value
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(v) for v in value]
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    # Not `asdict`: it copies deeply what is only read here.
    return {name: plain(getattr(value, name)) for name in _names(value.__class__)}


@cache
def _names(kind: type[Any]) -> tuple[str, ...]:
    return tuple(f.name for f in fields(kind))


def _at(moment: datetime | None) -> str | None:
    """Return a moment as `plain` writes it."""
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")


def party(who: Party, *, private: bool = False) -> dict[str, Any]:
    """Return a party; contacts and evidence only to itself and to operators."""
    shown: dict[str, Any] = {
        "party_id": who.id,
        "slug": who.slug,
        "name": who.name,
        "name_en": who.name_en,
        "holder_type": who.holder_type,
        "uscc": who.uscc if who.holder_type != "natural_person" or private else None,
        "roles": list(who.roles),
        "verified": who.verified_at is not None,
        "verified_at": _at(who.verified_at),
        "created_at": _at(who.created_at),
    }
    if private:
        shown |= {"contact": dict(who.contact), "evidence": who.evidence}
    return shown


def key(record: AccessKey) -> dict[str, Any]:
    return {
        "key_id": record.id,
        "member_id": record.member_id,
        "label": record.label,
        "roles": list(record.roles),
        "created_at": plain(record.created_at),
        "expires_at": plain(record.expires_at),
        "revoked_at": plain(record.revoked_at),
        "operations": told(record.operations),
        "bound_to": list(record.bound_to),
    }


def signing_key(record: SigningKey) -> dict[str, Any]:
    return {
        "key_id": record.id,
        "party_id": record.party_id,
        "public_key": record.public_key,
        "held_by": record.held_by,
        "label": record.label,
        "created_at": plain(record.created_at),
        "revoked_at": plain(record.revoked_at),
    }


def venue(place: Venue) -> dict[str, Any]:
    return {"venue_id": place.id, **{k: v for k, v in asdict(place).items() if k != "id"}}


def dataset(record: Dataset, versions: Iterable[Listing]) -> dict[str, Any]:
    return {
        "dataset_id": record.id,
        "publisher": record.publisher,
        "name": record.name,
        "provider_id": record.provider_id,
        "origin_id": record.origin_id,
        "created_at": plain(record.created_at),
        "versions": [
            {
                "listing_id": v.id,
                "listing_version": v.version,
                "version": v.descriptor.get("version"),
                "state": v.state,
                "change": v.change,
                "listed_at": plain(v.listed_at),
            }
            for v in versions
        ],
    }


def descriptor(listing: Listing, *, private: bool = False) -> dict[str, Any]:
    """Return the Data Package; private fields of the holder only to those who handle it."""
    shown = dict(listing.descriptor)
    element = shown.get("dataElement")
    if not private and isinstance(element, dict) and isinstance(element.get("holder"), dict):
        holder = {k: v for k, v in element["holder"].items() if k not in PRIVATE_HOLDER}
        shown["dataElement"] = {**element, "holder": holder}
    return shown


def _certificate(kept: Certificate | None) -> dict[str, Any] | None:
    if kept is None:
        return None
    return {
        "scheme": kept.scheme,
        "number": kept.number,
        "agency": kept.agency,
        "registered_at": plain(kept.registered_at),
        "valid_until": plain(kept.valid_until),
        "verified_at": plain(kept.verified_at),
    }


def listing(
    found: Listing,
    provider: Party,
    *,
    report: StoredReport | None = None,
    private: bool = False,
) -> dict[str, Any]:
    """Return a listing: `private` for its provider and the operators that handle it."""
    shown: dict[str, Any] = {
        "listing_id": found.id,
        "dataset_id": found.dataset_id,
        "listing_version": found.version,
        "publisher": found.publisher,
        "name": found.name,
        "title": found.title,
        "state": found.state,
        "venue": found.venue,
        "view_policy": found.view_policy,
        "provider": party(provider),
        "content_digest": found.content_digest,
        "terms_digest": found.terms_digest,
        "descriptor": descriptor(found, private=private),
        "certificate": _certificate(found.certificate),
        "report": report_summary(report) if report else None,
        "contests": contests(found),
        "standing_offer": found.standing_offer if found.standing_signature else None,
        "standing_signature": plain(found.standing_signature),
        "notice_until": plain(found.notice_until),
        "created_at": plain(found.created_at),
        "updated_at": plain(found.updated_at),
        "listed_at": plain(found.listed_at),
        "ended_because": ended_because(found),
    }
    if private:
        shown["remarks"] = plain(found.remarks)
        shown["applied"] = found.applied
        shown["change"] = found.change
        shown["invited"] = list(found.invited)
        shown["next"] = next_actions(LISTING_STEPS, found.state)
    return shown


def titles(found: Listing) -> tuple[str, str]:
    """Return the title of a listing, and the English one or nothing."""
    element = found.descriptor.get("dataElement")  # of a draft: anything
    named = element.get("titles") if isinstance(element, dict) else None
    return found.title, str(named.get("en") or "") if isinstance(named, dict) else ""


def ended_because(found: Listing) -> str | None:
    """Return why the market itself took it off; what an operator wrote is not for everyone."""
    if found.state != "delisted" or not found.remarks:
        return None
    last = found.remarks[-1]
    return last.text if (last.kind, last.by) == ("delist", SYSTEM.id) else None


def report_summary(report: StoredReport) -> dict[str, Any]:
    body = report.body
    return {
        "report_id": report.id,
        "digest": report.digest,
        "target": report.target,
        "valid": report.valid,
        "errors": (body.get("stats") or {}).get("errors"),
        "warnings": (body.get("stats") or {}).get("warnings"),
        "rows": sum((t.get("stats") or {}).get("rows") or 0 for t in body.get("tasks") or ()),
        "created_at": plain(report.created_at),
    }


def report(
    kept: StoredReport, *, cells: bool, contests: Sequence[dict[str, Any]] = ()
) -> dict[str, Any]:
    """Return a report; cell values only to those who may read the data."""
    body = kept.body if cells else masked(kept.body)
    shown = {"report_id": kept.id, "listing_id": kept.listing_id, "digest": kept.digest, **body}
    return {**shown, "contests": list(contests)} if contests else shown


def contests(found: Listing) -> list[dict[str, Any]]:
    """Return what the provider contests of the report, and what was answered; for everyone."""
    return [
        {
            "about": r.about,
            "kind": "answer" if r.kind == "answer_contest" else "contest",
            "text": r.text,
            "at": plain(r.at),
        }
        for r in found.remarks
        if r.about
    ]


def masked(body: dict[str, Any]) -> dict[str, Any]:
    """Return a report without cell values: they are replaced by a mark, never by a part."""

    def hide(error: dict[str, Any]) -> dict[str, Any]:
        kept = {k: v for k, v in error.items() if k not in ("cell", "cells", "note")}
        if "cell" in error:
            kept["cell"] = "•••"
        for name, mark in (("message", "value hidden"), ("message_zh", "值已隐藏")):
            if error.get("cell") not in (None, "") and str(error["cell"]) in str(kept.get(name)):
                kept[name] = f"{error.get('title', error.get('type'))} ({mark})"
        return kept

    def blur(profile: dict[str, Any]) -> dict[str, Any]:
        columns = [
            {
                **{k: v for k, v in column.items() if k not in ("min", "max", "top")},
                **({"top": [["•••", n] for _, n in column["top"]]} if "top" in column else {}),
                # The form of a distribution, without the values it lies over.
                **(
                    {"histogram": {"counts": column["histogram"]["counts"]}}
                    if "histogram" in column
                    else {}
                ),
            }
            for column in profile.get("columns") or ()
        ]
        return {**profile, "columns": columns}

    tasks = [
        {
            **task,
            **{kind: [hide(e) for e in task.get(kind) or ()] for kind in ("errors", "findings")},
            **({"profile": blur(task["profile"])} if task.get("profile") else {}),
        }
        for task in body.get("tasks") or ()
    ]
    checks = [_nameless(run) for run in body.get("checks") or ()]
    return {**body, "tasks": tasks, "checks": checks, "masked": True}


def _nameless(run: dict[str, Any]) -> dict[str, Any]:
    """Return a run without the names of labels: they are values of the data."""
    if run.get("name") != "corpus.labels":
        return run

    def hide(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: "•••" if k == "label" else hide(v) for k, v in value.items()}
        return [hide(v) for v in value] if isinstance(value, list) else value

    return {**run, "evidence": hide(run.get("evidence") or {})}


_NEXT = {state: tuple(next_actions(TRADE_STEPS, state)) for state in TradeState}


def trade(found: Trade, provider: Party, user: Party, *, contacts: bool = False) -> dict[str, Any]:
    """Return a trade to its parties and operators; contacts only after payment."""
    shown: dict[str, Any] = {
        "trade_id": found.id,
        "state": found.state,
        "venue": found.venue,
        "listing_id": found.listing_id,
        "listing_version": found.listing_version,
        "content_digest": found.content_digest,
        "terms_digest": found.terms_digest,
        "report_digest": found.report_digest,
        "provider": party(provider),
        "user": party(user),
        "terms": terms_json(found.terms),
        "offer_digest": found.offer_digest,
        "turn": found.turn,
        "standing": found.standing,
        "assessment_required": found.assessment_required,
        "assessment": plain(found.assessment),
        "agreement": found.agreement,
        "agreement_digest": found.agreement_digest,
        "signatures": plain(found.signatures),
        "filing_no": found.filing_no,
        "paid_fen": found.paid_fen,
        "delivery_id": found.delivery_id,
        "objection": found.objection,
        "bill_no": found.bill_no,
        "billed_fen": found.billed_fen,
        "fee_fen": found.fee_fen,
        "shares": [{"party_id": p, "amount_fen": f} for p, f in found.shares],
        "refund_fen": found.refund_fen,
        "voucher_no": found.voucher_no,
        "rating": found.rating,
        "rating_text": found.rating_text,
        "disputes": plain(found.disputes),
        "corrections": plain(found.corrections),
        "stopped_at": _at(found.stopped_at),
        "reason": found.reason,
        "next": list(_NEXT[found.state]),
        "created_at": _at(found.created_at),
        "updated_at": _at(found.updated_at),
        "signed_at": _at(found.signed_at),
        "paid_at": _at(found.paid_at),
        "delivered_at": _at(found.delivered_at),
        "accepted_at": _at(found.accepted_at),
        "settled_at": _at(found.settled_at),
        "vouchered_at": _at(found.vouchered_at),
    }
    if contacts and found.paid_at is not None:
        shown["contacts"] = {"provider": dict(provider.contact), "user": dict(user.contact)}
    return shown


def delivery(found: Delivery) -> dict[str, Any]:
    return {
        "delivery_id": found.id,
        "trade_id": found.trade_id,
        "state": found.state,
        "manifest_digest": found.manifest_digest,
        "mode": found.mode,
        **({"listing_id": found.listing_id} if found.listing_id else {}),
        **({"content_digest": found.content_digest} if found.content_digest else {}),
        "opens_at": plain(found.opens_at),
        "closes_at": plain(found.closes_at),
        "files": [{"path": f.path, "bytes": f.bytes, "sha256": f.sha256} for f in found.files],
        **(
            {
                "resources": list(found.resources),
                "rate_per_minute": found.rate_per_minute,
                "max_rows": found.max_rows,
                "meter": found.meter,
                "quota": found.quota,
                "used": found.used,
                "calls": found.calls,
            }
            if found.mode == "api"
            else {}
        ),
    }


def period(found: Period) -> dict[str, Any]:
    """Return a period of a trade as its sides and operators see it."""
    shown = {k: v for k, v in plain(found).items() if k != "id"}
    shares = [{"party_id": p, "amount_fen": f} for p, f in found.shares]
    return {"period_id": found.id, **shown, "shares": shares}


def invoice(found: Invoice) -> dict[str, Any]:
    """Return an invoice as its issuer reported it."""
    return {"invoice_id": found.id, **{k: v for k, v in plain(found).items() if k != "id"}}


def call(found: Call) -> dict[str, Any]:
    """Return one metered call; what was asked is its digest."""
    return {k: v for k, v in plain(found).items() if k != "id"}


def event(found: Event) -> dict[str, Any]:
    """Return one link of an evidence chain, with all that its digest covers."""
    return {
        "event_id": found.id,
        "subject_id": found.subject_id,
        "seq": found.seq,
        "type": found.type,
        "from_state": found.from_state,
        "to_state": found.to_state,
        "actor_id": found.actor_id,
        "at": stamp(found.at),
        "payload": found.payload,
        "payload_digest": found.payload_digest,
        "prev_digest": found.prev_digest,
        "digest": found.digest,
    }


def posting(line: Posting) -> dict[str, Any]:
    return {
        "account": line.account,
        "amount_fen": line.amount_fen,
        "event_digest": line.event_digest,
        "at": plain(line.at),
    }


def upload(found: Upload) -> dict[str, Any]:
    return {"upload_id": found.id, **{k: v for k, v in plain(found).items() if k != "id"}}


def job(found: Job) -> dict[str, Any]:
    return {"job_id": found.id, **{k: v for k, v in plain(found).items() if k != "id"}}


# --- the card that is searched ----------------------------------------------------------------


def price_band(pricing: list[dict[str, Any]]) -> tuple[str, int | None]:
    """Return (band, lowest price in fen) of a listing's pricing."""
    if any(p.get("mode") == "free" for p in pricing):
        return "free", 0
    fens = [int(p["price_fen"]) for p in pricing if p.get("price_fen") is not None]
    if not fens:
        return "negotiated", None
    low = min(fens)
    return next((band for top, band in PRICE_BANDS if low <= top), "over_100k"), low


def quality_grade(report: StoredReport | None) -> str:
    """Return how the market's own report judged the version: clean, warnings, or none."""
    if report is None or not report.valid:
        return "none"
    return "warnings" if (report.body.get("stats") or {}).get("warnings") else "clean"


def card(found: Listing, provider: Party, report: StoredReport | None) -> dict[str, Any]:
    """Return what is indexed of a listing and shown in a page of results."""
    pkg = found.descriptor
    element = pkg.get("dataElement") or {}
    ai, size = element.get("ai") or {}, element.get("size") or {}
    industry, coverage = element.get("industry") or {}, element.get("coverage") or {}
    band, low = price_band((element.get("offer") or {}).get("pricing") or [])
    resources = [r for r in pkg.get("resources") or () if isinstance(r, dict)]
    fields = [
        str(f.get("name"))
        for r in resources
        if isinstance(r.get("schema"), dict)
        for f in r["schema"].get("fields") or ()
        if isinstance(f, dict)
    ]
    code = str(industry.get("gbt4754") or "")
    titles = element.get("titles") or {}
    return {
        "listing_id": found.id,
        "dataset_id": found.dataset_id,
        "listing_version": found.version,
        "title": found.title,
        "title_en": titles.get("en", ""),
        "description": str(pkg.get("description") or ""),
        "keywords": [str(k) for k in pkg.get("keywords") or ()],
        "publisher": found.publisher,
        "publisher_name": provider.name,
        "publisher_name_en": provider.name_en,
        "publisher_verified": provider.verified_at is not None,
        "name": found.name,
        "resource_names": [str(r.get("name", "")) for r in resources][:200],
        "field_names": fields[:400],
        "modality": list(ai.get("modalities") or ()),
        "language": list(element.get("languages") or ()),
        "licence": str(element.get("license_spdx") or ""),
        "industry": [c for c in {code[:1], code} if c],
        "dex12": list(industry.get("dex12") or ()),
        "hq_field": list(industry.get("hq_field") or ()),
        "region": _regions(coverage.get("spatial_codes") or ()),
        "stage": list(ai.get("stage") or ()),
        "price_band": band,
        "price_fen": low,
        "object_type": (element.get("offer") or {}).get("object_type"),
        "venue": found.venue,
        "size_bytes": int(size.get("bytes") or 0),
        "records": int(size.get("records") or 0),
        "quality": quality_grade(report),
        "listed_at": int(found.listed_at.timestamp()) if found.listed_at else 0,
        "updated_at": int(found.updated_at.timestamp()),
        "state": found.state,
        # What is not (or no longer) on the market is found by its provider alone.
        "view_policy": found.view_policy if found.state == "listed" else "own",
        "invited": [found.provider_id, *(found.invited if found.state == "listed" else ())],
        "format": sorted({str(r["format"]).upper() for r in resources if r.get("format")}),
        "identifiers": [str(i.get("value")) for i in element.get("identifiers") or ()],
        "version": str(pkg.get("version") or ""),
    }


def _regions(codes: Iterable[str]) -> list[str]:
    """Return division codes with the city and province that they lie in (GB/T 2260)."""
    found: dict[str, None] = {}
    for c in map(str, codes):
        for region in (c[:2] + "0000", c[:4] + "00", c):
            found[region] = None
    return list(found)


def label(list_name: str, code: str, lang: str) -> str:
    """Return the name of a code for people, or the code itself."""
    entry = code_list(list_name).get(code)
    if entry is None:
        return code
    return entry.zh if lang == "zh" else entry.en
