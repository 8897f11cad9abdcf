"""What the two sides put their names to: prices, the standing offer, the agreement.

Documents are JSON, their digest is SHA-256 over JCS (RFC 8785), and a signature is over that
digest. Amounts are integer fen; rounding happens in `amounts` and nowhere else (I6).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any

from yaosu_schemas.canonical import digest

from . import amounts
from .errors import Conflict, Forbidden, InvalidInput, Text, Unsupported, Unverified
from .identity import absent
from .model import (
    JSON,
    Actor,
    Floor,
    Listing,
    ListingState,
    Party,
    Signature,
    SigningKey,
    Terms,
    Trade,
    Venue,
)
from .ports import Reader
from .proof import signing
from .records import replace

MAX_FEN = 10**15
PLATFORM_SIGNED = "02"
OWN_KEY_SIGNED = "01"

PlatformSigner = Callable[[str, str], str]
"""(signing key id, digest) → base64 signature, for the keys that the market holds."""


def _offer(listing: Listing) -> dict[str, Any]:
    """Return the commercial terms of a listing; Conflict while its draft has none."""
    offer = (listing.descriptor.get("dataElement") or {}).get("offer")
    if not isinstance(offer, dict):
        raise Conflict(
            "the draft says nothing of price and delivery yet: fill in /dataElement/offer",
            "草稿尚未填写价格与交付方式：请填写 /dataElement/offer",
            field="/dataElement/offer",
        )
    return offer


def price(listing: Listing, mode: str, quantity: int) -> tuple[str, int, int]:
    """Return (unit, unit price in fen, amount in fen) by the pricing of the listing.

    Tiers ``[{from_qty, price_fen}]`` price every unit by the tier that the quantity reaches.
    """
    if quantity < 1:
        raise InvalidInput("the quantity is at least 1", "数量至少为 1", field="quantity")
    prices = {p["mode"]: p for p in _offer(listing).get("pricing") or ()}
    chosen = prices.get(mode)
    if chosen is None:
        raise InvalidInput(
            f"the listing is not offered as '{mode}'; it is: {', '.join(prices)}",
            f"该挂牌不支持计价方式“{mode}”；可选：{'、'.join(prices)}",
            field="mode",
            modes=list(prices),
        )
    unit = str(chosen.get("unit") or "")
    if mode in ("free", "negotiated"):
        return unit, 0, 0
    if quantity < int(chosen.get("min_qty") or 1):
        raise InvalidInput(
            f"at least {chosen['min_qty']} are sold at a time",
            f"最少购买数量为 {chosen['min_qty']}",
            field="quantity",
        )
    if mode in ("one_off", "staged") and quantity != 1:
        raise InvalidInput(
            "this is sold once: quantity 1", "该计价方式数量只能为 1", field="quantity"
        )
    unit_price = int(chosen.get("price_fen") or 0)
    for tier in sorted(chosen.get("tiers") or (), key=lambda t: int(t["from_qty"])):
        if quantity >= int(tier["from_qty"]):
            unit_price = int(tier["price_fen"])
    return unit, unit_price, bounded(unit_price * quantity)


def bounded(amount_fen: int) -> int:
    """Return the amount if it is one that the ledger takes (I2), else refuse it."""
    if isinstance(amount_fen, bool) or not 0 <= amount_fen <= MAX_FEN:
        raise InvalidInput(
            f"an amount is a whole number of fen from 0 to {MAX_FEN}",
            f"金额应为 0 到 {MAX_FEN} 之间的整数（分）",
            field="amount_fen",
        )
    return amount_fen


def default_mode(listing: Listing) -> str:
    """Return the first pricing mode of the listing."""
    pricing = _offer(listing).get("pricing") or ()
    if not pricing:
        raise Unsupported("the listing has no price", "该挂牌没有计价方式")
    return str(pricing[0]["mode"])


def holder_of(tx: Reader, uscc: str) -> Party | None:
    """Return the organisation of that credit code whose identity was verified, or None.

    Anyone may write another's code into a registration; only a verified one can be paid.
    """
    parties = tx.find(Party, uscc=uscc, limit=1000)
    return next((p for p in parties if p.verified_at is not None), None)


def shares_of(tx: Reader, listing: Listing) -> list[tuple[str, int]]:
    """Return the other right holders' shares of a listing, as (party id, basis points)."""
    found: dict[str, int] = {}
    for share in _offer(listing).get("splits") or ():
        holder = holder_of(tx, share["holder_uscc"])
        if holder is None:
            raise InvalidInput(
                "a right holder with a share is not registered on this market",
                "分成的权利主体未在本市场注册",
                holder_uscc=share["holder_uscc"],
            )
        if holder.id != listing.provider_id:
            found[holder.id] = found.get(holder.id, 0) + points_of(share)
    if sum(found.values()) > amounts.WHOLE:
        raise InvalidInput("the shares exceed the whole", "分成合计超过 100%", field="splits")
    return list(found.items())


def points_of(share: Mapping[str, Any]) -> int:
    """Return a declared share in basis points of the net (万分比)."""
    points = share.get("basis_points")
    return int(points) if points is not None else 10 * int(share.get("permille") or 0)


def agreed_shares(tx: Reader, trade: Trade) -> list[tuple[str, int]]:
    """Return the shares that the agreement pins: who is paid does not change after signing (I7)."""
    pinned = trade.agreement.get("splits")
    if pinned is None:  # signed before agreements named them; the version it is of never changes
        return shares_of(tx, tx.get(Listing, trade.listing_id))
    return [(share["party_id"], int(share["basis_points"])) for share in pinned]


# --- documents --------------------------------------------------------------------------------


def _side(party: Party) -> dict[str, Any]:
    """Return what a contract names of a party; contacts stay private."""
    return {"party_id": party.id, "name": party.name, "uscc": party.uscc}


def standing_offer(listing: Listing, provider: Party, content: str, terms: str) -> dict[str, Any]:
    """Return the offer that a provider signs beforehand; taking it unchanged makes a deal."""
    offer = _offer(listing)
    return {
        "type": "yaosu-standing-offer",
        "version": 1,
        "listing_id": listing.id,
        "listing_version": listing.version,
        "content_digest": content,
        "terms_digest": terms,
        "provider": _side(provider),
        "pricing": offer.get("pricing") or [],
        "payment_timing": offer.get("payment_timing", "prepaid"),
        "valid_to": offer.get("valid_to"),
        "deliver": "on_payment",
    }


def still_offered(tx: Reader, listing: Listing, mode: str, now: datetime) -> Signature:
    """Return the provider's signature on an offer that still stands; Conflict if none does."""
    signature = listing.standing_signature
    if signature is None:
        raise Conflict(
            "there is no standing offer: the provider has to answer",
            "没有长期报价，需等待提供方回应",
        )
    if mode == "negotiated":
        raise Conflict("a negotiated price has no standing offer", "议价方式没有长期报价")
    if listing.state != ListingState.LISTED:
        raise Conflict(
            f"the offer is off the market: the listing is '{listing.state}'",
            f"该报价已不在市场上：“{listing.state}”",
            state=str(listing.state),
        )
    if str(listing.standing_offer.get("valid_to") or "9999-12-31") < now.date().isoformat():
        raise Conflict("the offer has expired", "报价已过有效期")
    key = tx.one(SigningKey, id=signature.key_id)
    if key is None or key.revoked_at is not None:
        raise Conflict(
            "the provider revoked the key that signed this offer: it has to be signed again",
            "提供方已撤销签署该报价的密钥，需重新签署",
        )
    return signature


def offer_digest(listing_id: str, version: int, content: str, terms_of: str, terms: Terms) -> str:
    """Return the digest that both sides must name when they agree."""
    return digest(
        {
            "listing_id": listing_id,
            "listing_version": version,
            "content_digest": content,
            "terms_digest": terms_of,
            "terms": terms_json(terms),
        }
    )


def terms_json(terms: Terms) -> dict[str, Any]:
    """Return the terms as JSON: tuples as lists."""
    found: dict[str, Any] = dict(zip(_TERMS, _values(terms), strict=True))
    found["rights"] = list(terms.rights)
    found["floors"] = [floors_json(floor) for floor in terms.floors]
    # Terms that came later are left out while they say nothing: older digests still hold.
    for name, nothing in _LATER.items():
        if found[name] == nothing:
            del found[name]
    return found


_TERMS = tuple(f.name for f in fields(Terms))
_values = attrgetter(*_TERMS)
_LATER: dict[str, Any] = {"floors": [], "delivery_mode": "file", "period": "", "periods": 1}


def floors_json(floor: Floor) -> dict[str, str]:
    return {"metric": floor.metric, "operator": floor.operator, "threshold": floor.threshold}


def agreement(
    trade: Trade,
    listing: Listing,
    provider: Party,
    user: Party,
    venue: Venue,
    at: datetime,
    shares: Sequence[tuple[str, int]] = (),
) -> dict[str, Any]:
    """Return the contract as data; article numbers are those of GF-2025-2615 (domain b.19).

    It pins listing version, content, terms, report and price: none changes afterwards (I7).
    """
    element = listing.descriptor["dataElement"]
    days = trade.terms.term_days
    return {
        "type": "yaosu-agreement",
        "version": 1,
        # The whole id: its end alone is the buyer's to choose, and must not name two contracts.
        "contract_no": f"YS-{trade.created_at:%Y%m%d}-{trade.id.partition('_')[2].upper()}",
        "contract_name": f"{listing.title} 数据提供合同",
        "template": element.get("contract_template", "GF-2025-2615"),
        "trade_id": trade.id,
        "venue": venue.id,
        "provider": _side(provider),
        "user": _side(user),
        "subject": {
            "article": 1,
            "listing_id": listing.id,
            "listing_version": listing.version,
            "dataset": f"{listing.publisher}/{listing.name}",
            "title": listing.title,
            "version": listing.descriptor.get("version"),
            "content_digest": trade.content_digest,
            "terms_digest": trade.terms_digest,
            "report_digest": trade.report_digest,
            "object_type": element["offer"].get("object_type"),
        },
        "rights": {
            "article": 2,
            "granted": list(trade.terms.rights),
            "mode": trade.terms.rights_mode,
            "exclusive": trade.terms.exclusive,
            "license_spdx": element.get("license_spdx"),
            "restrictions": element.get("restrictions") or {},
            "policy": policy(trade, listing, provider, user, at),
        },
        "delivery": {
            "article": 5,
            "modes": element["offer"].get("delivery_modes") or [],
            "digest_checked": True,
            **(
                {"mode": "api", "limits": api_limits(listing)}
                if trade.terms.delivery_mode == "api"
                else {}
            ),
        },
        "quality_floors": [floors_json(floor) for floor in trade.terms.floors],
        "price": {
            "article": 6,
            **{
                name: getattr(trade.terms, name)
                for name in (
                    "mode",
                    "unit",
                    "unit_price_fen",
                    "quantity",
                    "amount_fen",
                    "tax_rate",
                    "currency",
                    "payment_timing",
                )
            },
            **(
                {"period": trade.terms.period, "periods": trade.terms.periods}
                if trade.terms.period
                else {}
            ),
        },
        "acceptance": {
            "article": 7,
            "inspection_days": trade.terms.inspection_days,
            "silent_acceptance": trade.terms.silent_acceptance,
        },
        "purpose": trade.terms.purpose,
        "scenario": trade.terms.scenario or element.get("scenario"),
        "note": trade.terms.note,
        "certificate_no": listing.certificate.number if listing.certificate else None,
        "certificate_valid_until": _last_day(listing),
        "offer_digest": trade.offer_digest,
        "standing_offer": listing.standing_offer if trade.standing else None,
        "agreed_at": at.isoformat(),
        "end_at": (at + timedelta(days=days)).isoformat() if days else None,
        "fee_permyriad": venue.fee_permyriad,
        "splits": [{"party_id": party, "basis_points": points} for party, points in shares],
    }


def _last_day(listing: Listing) -> str | None:
    end = listing.certificate.valid_until if listing.certificate else None
    return end.isoformat() if end else None


def policy(
    trade: Trade, listing: Listing, provider: Party, user: Party, at: datetime
) -> dict[str, Any]:
    """Return the ODRL 2.2 Agreement that the six 限制范围 fields amount to (domain b.16)."""
    element = listing.descriptor["dataElement"]
    limits = element.get("restrictions") or {}
    target = trade.content_digest
    resale = limits.get("resale", "无") != "无" or "operate" not in trade.terms.rights
    operate = ["derive"] if resale else ["distribute", "derive"]
    actions = {"use": ["use"], "hold": ["reproduce"], "operate": operate}
    granted = [a for right in trade.terms.rights for a in actions.get(right, [])]
    constraints = [
        {"leftOperand": operand, "operator": operator, "rightOperand": limits[name]}
        for name, operand, operator in (
            ("buyer", "recipient", "isAnyOf"),
            ("buyer_qualification", "recipient", "isA"),
            ("environment", "virtualLocation", "eq"),
            ("territory", "spatial", "isPartOf"),
        )
        if limits.get(name) and limits[name] != "无"
    ]
    if trade.terms.purpose:
        constraints.append(
            {"leftOperand": "purpose", "operator": "eq", "rightOperand": trade.terms.purpose}
        )
    if trade.terms.term_days:
        end = (at + timedelta(days=trade.terms.term_days)).isoformat()
        constraints.append({"leftOperand": "dateTime", "operator": "lteq", "rightOperand": end})
    denied: list[dict[str, Any]] = []
    if resale:
        denied += [{"action": a, "target": target} for a in ("sell", "distribute", "grantUse")]
    if limits.get("export") and limits["export"] != "无":
        rule = {"leftOperand": "spatial", "operator": "neq", "rightOperand": "CN"}
        denied.append({"action": "transfer", "target": target, "constraint": [rule]})
    return {
        "@context": "http://www.w3.org/ns/odrl.jsonld",
        "@type": "Agreement",
        "uid": f"urn:yaosu:{trade.id}",
        "assigner": provider.id,
        "assignee": user.id,
        "target": target,
        "timestamp": at.isoformat(),
        "permission": [{"action": a, "target": target, "constraint": constraints} for a in granted],
        "prohibition": denied,
        **({"inheritFrom": element["policy"]} if element.get("policy") else {}),
    }


# --- periods and rows over an API -------------------------------------------------------------

_PERIOD_WORDS = {
    "P1D": ("day", "天", "日"),
    "P7D": ("week", "周"),
    "P1M": ("month", "月"),
    "P3M": ("quarter", "季", "季度"),
    "P1Y": ("year", "年"),
}
_VOLUME_WORDS = {
    ("row", 1): ("row", "rows", "record", "records", "行", "条"),
    ("row", 1000): ("1000 rows", "1000 records", "千行", "千条"),
    ("byte", 10**6): ("mb",),
    ("byte", 2**20): ("mib",),
    ("byte", 10**9): ("gb",),
    ("byte", 2**30): ("gib",),
}


def period_of(price: Mapping[str, Any]) -> str | None:
    """Return the ISO 8601 length of a subscription's period: declared, or what its unit says."""
    if price.get("period"):
        return str(price["period"])
    unit = str(price.get("unit") or "").strip().lower()
    return next((iso for iso, words in _PERIOD_WORDS.items() if unit in words), None)


def meter_of(price: Mapping[str, Any]) -> tuple[str, int] | None:
    """Return what calls are metered in and how much of it one priced unit is; None: not by calls.

    Prices per call count calls; prices per volume count rows or bytes of the answers.
    """
    if price.get("mode") == "per_call":
        return "call", 1
    unit = str(price.get("unit") or "").strip().lower()
    if price.get("mode") == "per_volume":
        return next((meter for meter, words in _VOLUME_WORDS.items() if unit in words), None)
    return None


def price_of(listing: Listing, mode: str) -> dict[str, Any]:
    """Return the entry of the listing's pricing for a mode, or an empty one."""
    prices = [p for p in _offer(listing).get("pricing") or () if p["mode"] == mode]
    return dict(prices[0]) if prices else {}


def api_limits(listing: Listing) -> dict[str, int]:
    """Return the rate and the size of an answer that the offer promises to those who call it."""
    given = _offer(listing).get("api") or {}
    return {
        "rate_per_minute": int(given.get("rate_per_minute") or 60),
        "max_rows": int(given.get("max_rows") or 1000),
        **({"quota": int(given["quota"])} if given.get("quota") else {}),
    }


# --- signatures -------------------------------------------------------------------------------


def sign_as(
    tx: Reader,
    actor: Actor,
    over: str,
    document_digest: str,
    given: Mapping[str, JSON],
    platform: PlatformSigner,
    at: datetime,
) -> Signature:
    """Return the checked signature of the actor's party over a digest.

    `given` is ``{key_id, value}`` (base64, made with the party's own key) or
    ``{key_id, platform: true}``: then the market signs, and the signature says sign_mode 02.
    """
    key_id = str(given.get("key_id", ""))
    key = tx.one(SigningKey, id=key_id)
    if key is None or key.party_id != actor.party_id:
        raise absent("signing key", key_id)
    if key.revoked_at is not None:
        raise Forbidden("this signing key was revoked", "该签名密钥已撤销", key_id=key_id)
    if given.get("platform"):
        if key.held_by != "platform":
            raise InvalidInput(
                "the market does not hold this key: sign with it yourself",
                "平台不持有该密钥，请自行签名",
                field="signature",
            )
        value, mode = platform(key.id, document_digest), PLATFORM_SIGNED
    else:
        value, mode = str(given.get("value", "")), OWN_KEY_SIGNED
    if not signing.verify(key.public_key, document_digest, value):
        text = Text("the signature does not fit the document", "签名与文档不符")
        raise Unverified(text.en, text.zh, over=over, digest=document_digest)
    return Signature(
        party_id=actor.party_id,
        key_id=key.id,
        public_key=key.public_key,
        over=over,
        digest=document_digest,
        value=value,
        sign_mode=mode,
        at=at,
    )


def other_terms(trade: Trade, **changes: Any) -> dict[str, Any]:
    """Return what changes of the trade: other terms, and the digest of the offer they make."""
    terms = replace(trade.terms, **changes)
    made = offer_digest(
        trade.listing_id, trade.listing_version, trade.content_digest, trade.terms_digest, terms
    )
    return {"terms": terms, "offer_digest": made}
