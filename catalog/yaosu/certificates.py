"""Registration certificates over time: verified, renewed, reminded of, run out (G1, L6, L10)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date

from yaosu_schemas.identifiers import certificate_number

from .errors import Conflict, InvalidInput
from .listing import load, step
from .model import JSON, SYSTEM, Actor, Certificate, Listing
from .ports import Transaction

REMIND_DAYS = (90, 30, 7)


def read(tx: Transaction, actor: Actor, given: JSON) -> Certificate | None:
    """Return the certificate as this operator verified it; its number must have the form."""
    if not given:
        return None
    scheme, number = str(given.get("scheme", "")), str(given.get("number", ""))
    if scheme == "nda":
        verdict = certificate_number(number)
        if verdict.problem is not None:
            raise InvalidInput(
                f"certificate number: {verdict.problem.en}",
                f"登记凭证编号：{verdict.problem.zh}",
                field="certificate.number",
            )
    elif not number:
        raise InvalidInput(
            "a certificate has a number", "登记凭证需要编号", field="certificate.number"
        )

    def day(name: str) -> date | None:
        return date.fromisoformat(given[name]) if given.get(name) else None

    return Certificate(
        scheme=scheme,
        number=number,
        agency=str(given.get("agency", "")),
        registered_at=day("registered_at"),
        valid_until=day("valid_until"),
        seized=bool(given.get("seized", False)),
        verified_by=actor.id,
        verified_at=tx.now,
    )


def renew(tx: Transaction, actor: Actor, listing_id: str, certificate: JSON) -> Listing:
    """L6: a verified certificate takes the place of the one before; it has to hold for longer."""
    listing = load(tx, actor, listing_id)
    kept, before = read(tx, actor, certificate), listing.certificate
    if kept is None:
        raise InvalidInput("name the new certificate", "请填写新的登记凭证", field="certificate")
    until = kept.valid_until or date.max
    if until < tx.now.date() or (before is not None and until <= (before.valid_until or date.max)):
        raise Conflict(
            "the new certificate does not hold for longer than the old one",
            "新凭证的有效期须晚于原凭证",
            valid_until=until.isoformat(),
        )
    return step(
        tx,
        listing,
        "renew",
        actor,
        {"certificate": kept.number, "scheme": kept.scheme, "valid_until": until.isoformat()},
        certificate=kept,
        reminded_days=None,
    )


def remind(tx: Transaction, today: date) -> int:
    """Say 90, 30 and 7 days before it that a certificate runs out, each once; return how many."""
    count = 0
    for listing in _shown(tx):
        until = listing.certificate.valid_until if listing.certificate else None
        if until is None or until < today:
            continue
        left = (until - today).days
        due = min((d for d in REMIND_DAYS if left <= d), default=None)
        if due is not None and (listing.reminded_days is None or due < listing.reminded_days):
            payload = {"valid_until": until.isoformat(), "days": left}
            step(tx, listing, "remind", SYSTEM, payload, reminded_days=due)
            count += 1
    return count


def expire(tx: Transaction, today: date) -> int:
    """Delist what may no longer be offered (L10, daily job); returns how many."""
    count = 0
    for listing in _shown(tx):
        until = listing.certificate.valid_until if listing.certificate else None
        offer = (listing.descriptor.get("dataElement") or {}).get("offer") or {}
        lapsed = until is not None and until < today
        if lapsed or str(offer.get("valid_to") or "9999-12-31") < today.isoformat():
            reason = "certificate" if lapsed else "offer"
            step(tx, listing, "delist", SYSTEM, {"reason": reason})
            count += 1
    return count


def close_notices(tx: Transaction, close: Callable[[Transaction, Actor, str], Listing]) -> int:
    """End every notice that ran its days without an open objection; return how many."""
    count = 0
    for listing in list(_of(tx, ("notice",))):
        try:
            close(tx, SYSTEM, listing.id)
        except Conflict:  # it still runs, or an objection waits for its answer
            continue
        count += 1
    return count


def _shown(tx: Transaction) -> Iterator[Listing]:
    return _of(tx, ("listed", "suspended"))


def _of(tx: Transaction, states: tuple[str, ...]) -> Iterator[Listing]:
    after: str | None = None
    while page := tx.find(Listing, state=states, after=after, limit=200):
        after = page[-1].id
        yield from page
