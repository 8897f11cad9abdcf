"""What a party reads before it signs: documents are checked against their digests and the deal.

The market draws the documents up; whoever signs checks here, on their own machine, that each
says what was asked for. Only then is a signature made over its digest (JCS, RFC 8785).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yaosu.errors import Conflict, NotFound, Unverified
from yaosu.proof import signing
from yaosu_schemas.canonical import digest

from .connection import Connection
from .remote import Listing, signer_of

if TYPE_CHECKING:
    from yaosu.proof.signing import Signer

JSON = dict[str, Any]


def checked_quote(
    quote: Mapping[str, Any],
    listing: Listing,
    wish: Mapping[str, Any],
    *,
    buyer: str,
    at_most_fen: int | None = None,
) -> JSON:
    """Return the agreement of a quote; Unverified if it is not what was asked of this listing."""
    agreement, terms = dict(quote["agreement"]), quote["terms"]
    _same("agreement_digest", digest(agreement), quote["agreement_digest"])
    _same("trade_id", agreement["trade_id"], quote["trade_id"])
    subject = agreement["subject"]
    for name in ("listing_id", "listing_version", "content_digest", "terms_digest"):
        _same(name, subject[name], listing[name])
    _same("offer_digest", _offer_digest(subject, terms), quote["offer_digest"])
    _parties(agreement, listing["provider"]["party_id"], buyer)
    _terms(agreement, terms)
    for name, value in wish.items():
        if name in terms and name not in ("amount_fen", "qualification"):
            _same(name, terms[name], value)
    _standing_offer_signed(agreement, listing)
    amount = int(terms["amount_fen"])
    if at_most_fen is not None and amount > at_most_fen:
        raise Conflict(
            f"the price is {amount} fen, more than the {at_most_fen} you set",
            f"价格为 {amount} 分，超过您设定的 {at_most_fen} 分",
            amount_fen=amount,
            at_most_fen=at_most_fen,
        )
    return agreement


def checked_agreement(trade: Mapping[str, Any]) -> JSON:
    """Return the agreement of a trade; Unverified if it is not what the two sides agreed on."""
    agreement = trade.get("agreement")
    if not isinstance(agreement, dict):
        raise Conflict(
            f"there is no agreement yet: the trade is '{trade['state']}'",
            f"尚无合同：交易状态为“{trade['state']}”",
            state=trade["state"],
            next=trade.get("next"),
        )
    _same("agreement_digest", digest(agreement), trade["agreement_digest"])
    _same("trade_id", agreement["trade_id"], trade["trade_id"])
    subject = agreement["subject"]
    for name in (
        "listing_id",
        "listing_version",
        "content_digest",
        "terms_digest",
        "report_digest",
    ):
        _same(name, subject[name], trade[name])
    _same("offer_digest", _offer_digest(subject, trade["terms"]), trade["offer_digest"])
    _parties(agreement, trade["provider"]["party_id"], trade["user"]["party_id"])
    _terms(agreement, trade["terms"])
    return agreement


def standing_offer(answer: Mapping[str, Any], listing: Listing) -> JSON:
    """Return the standing offer that the provider is asked to sign, if it is of this listing."""
    document = dict(answer["document"])
    _same("digest", digest(document), answer["digest"])
    _same("listing_id", document["listing_id"], listing.id)
    _same("listing_version", document["listing_version"], listing["listing_version"])
    offer = (listing.descriptor.get("dataElement") or {}).get("offer") or {}
    _same("pricing", document["pricing"], offer.get("pricing") or [])
    return document


def usage_document(party_id: str, given: Mapping[str, Any]) -> JSON:
    """Return the statement of a usage receipt that a party signs."""
    return {
        "type": "yaosu-usage",
        "version": 1,
        "party_id": party_id,
        "model": {"name": given["model"], "version": given["model_version"]},
        "run": given.get("run") or "",
        "stage": given.get("stage") or "other",
        "trained_from": given.get("trained_from"),
        "trained_to": given.get("trained_to"),
        "sources": [
            {
                "trade_id": source["trade_id"],
                "content_digest": source["content_digest"],
                "tokens": source.get("tokens"),
                "share_permille": source.get("share_permille"),
            }
            for source in given["sources"]
        ],
    }


def checked_deletion(answer: Mapping[str, Any], trade: Mapping[str, Any]) -> JSON:
    """Return the statement of deletion to be signed, if it is of this trade and its content."""
    said = answer["document"]
    if said is None:
        raise Conflict("no recall waits for your word here", "没有待确认的召回")
    _same("digest", digest(said), answer["digest"])
    _same("trade_id", said["trade_id"], trade["trade_id"])
    _same("content_digest", said["content_digest"], trade["content_digest"])
    return dict(said)


def signature_over(
    connection: Connection, document: JSON, key: str | Path | Signer | None, platform: bool
) -> JSON:
    """Return the signature over a document, as the market takes it.

    With one's own key, its value is made here; with `platform` the market is told to sign.
    """
    registered = [k for k in connection.pages("/v1/signing-keys") if not k.get("revoked_at")]
    if platform:
        held = [k for k in registered if k["held_by"] == "platform"]
        if not held:
            raise NotFound(
                "the market holds no signing key of yours: `yaosu keys new-signing --platform`",
                "平台未托管您的签名密钥：请执行 yaosu keys new-signing --platform",
            )
        return {"key_id": held[-1]["key_id"], "platform": True}
    signer = signer_of(key)
    for known in registered:
        if known["held_by"] == "own" and known["public_key"] == signer.public_key:
            return {"key_id": known["key_id"], "value": signer.sign(digest(document))}
    raise NotFound(
        "the market does not know this signing key: register it with `yaosu keys add-signing FILE`",
        "市场尚未登记该签名密钥，请先执行 yaosu keys add-signing FILE",
        public_key=signer.public_key,
    )


def _offer_digest(subject: Mapping[str, Any], terms: Mapping[str, Any]) -> str:
    named = ("listing_id", "listing_version", "content_digest", "terms_digest")
    return digest({**{name: subject[name] for name in named}, "terms": dict(terms)})


def _parties(agreement: Mapping[str, Any], provider: str, buyer: str) -> None:
    _same("provider", agreement["provider"]["party_id"], provider)
    _same("user", agreement["user"]["party_id"], buyer)


def _terms(agreement: Mapping[str, Any], terms: Mapping[str, Any]) -> None:
    """Check that the contract says of each term what was offered and agreed."""
    for name, value in agreement["price"].items():
        if name != "article":
            _same(f"price.{name}", value, terms[name])
    rights, acceptance = agreement["rights"], agreement["acceptance"]
    _same("rights.granted", rights["granted"], terms["rights"])
    _same("rights.mode", rights["mode"], terms["rights_mode"])
    _same("rights.exclusive", rights["exclusive"], terms["exclusive"])
    for name in ("inspection_days", "silent_acceptance"):
        _same(f"acceptance.{name}", acceptance[name], terms[name])
    _same("quality_floors", agreement.get("quality_floors", []), terms.get("floors", []))
    mode = agreement["delivery"].get("mode", "file")
    _same("delivery_mode", mode, terms.get("delivery_mode", "file"))
    for name in ("purpose", "note"):
        _same(name, agreement[name], terms[name])
    if terms["scenario"]:
        _same("scenario", agreement["scenario"], terms["scenario"])
    _same("end_at", agreement["end_at"] is None, terms["term_days"] is None)


def _standing_offer_signed(agreement: Mapping[str, Any], listing: Listing) -> None:
    """Check that the provider put its name to the offer that is taken."""
    offer, signature = listing["standing_offer"], listing["standing_signature"]
    if not offer or not signature:
        raise Conflict(
            "there is no standing offer: order it, and the provider answers (`yaosu order`)",
            "没有长期报价：请先提交意向（yaosu order），由提供方回应",
        )
    _same("standing_offer", agreement["standing_offer"], offer)
    _same("standing_offer.digest", digest(offer), signature["digest"])
    _same("standing_offer.party", signature["party_id"], listing["provider"]["party_id"])
    if not signing.verify(signature["public_key"], signature["digest"], signature["value"]):
        raise Unverified(
            "the provider's signature on the standing offer does not hold: do not buy",
            "提供方对长期报价的签名无效，请勿购买",
            over="standing_offer",
        )


def _same(name: str, said: Any, expected: Any) -> None:
    if said != expected:
        raise Unverified(
            f"the document is not what was agreed: '{name}' differs; nothing was signed",
            f"文档与约定不符：“{name}”不一致，未签名",
            field=name,
        )
