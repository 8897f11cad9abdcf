"""Review, listing and what comes after: the steps L5-L11 of domain c.2."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

from yaosu_schemas import licences
from yaosu_schemas.canonical import digest
from yaosu_schemas.texts import clip

from .errors import Conflict, InvalidInput, Text
from .identity import relations
from .listing import admit, load, refuse_broken, step, venue_of
from .model import JSON, SYSTEM, Actor, Certificate, Listing, Party, Remark, StoredReport, Venue
from .model_renewal import Renewal
from .ports import Reader, Transaction
from .steps import Relation
from .trading.recall import is_recalled

EDITABLE_TEXT = frozenset({"title", "description", "keywords", "homepage"})


def _remark(tx: Transaction, listing: Listing, actor: Actor, kind: str, text: str) -> tuple:  # type: ignore[type-arg]
    if not text.strip():
        raise InvalidInput("a written reason is needed", "需要书面说明", field="text")
    note = Remark(kind=kind, by=actor.id, party_id=actor.party_id, text=text.strip(), at=tx.now)
    return (*listing.remarks, note)


def comment(tx: Transaction, actor: Actor, listing_id: str, text: str) -> Listing:
    """Keep a comment of the provider or of an operator on the listing."""
    listing = load(tx, actor, listing_id)
    remarks = _remark(tx, listing, actor, "comment", text)
    return step(tx, listing, "comment", actor, {"text_digest": digest(text)}, remarks=remarks)


def contest(tx: Transaction, actor: Actor, listing_id: str, about: str, text: str) -> Listing:
    """Contest a measure or a kind of finding of the report, with a reason that buyers see too."""
    listing = load(tx, actor, listing_id)
    admit(tx, listing, "contest", actor)
    if about not in _contestable(tx, listing):
        raise InvalidInput(
            f"the report has no measure and no finding {clip(about)!r}",
            f"报告中没有指标或问题“{clip(about)}”",
            field="about",
        )
    remarks = _about(_remark(tx, listing, actor, "contest", text), about)
    payload = {"about": about, "text_digest": digest(text)}
    return step(tx, listing, "contest", actor, payload, remarks=remarks)


def answer_contest(
    tx: Transaction, actor: Actor, listing_id: str, about: str, text: str
) -> Listing:
    """Answer what was contested last about a measure or a kind of finding."""
    listing = load(tx, actor, listing_id)
    admit(tx, listing, "answer_contest", actor)
    if about not in open_contests(listing):
        raise Conflict(
            f"nothing is contested about {clip(about)!r}, or it has its answer",
            f"“{clip(about)}”没有待答复的质疑",
        )
    remarks = _about(_remark(tx, listing, actor, "answer_contest", text), about)
    payload = {"about": about, "text_digest": digest(text)}
    return step(tx, listing, "answer_contest", actor, payload, remarks=remarks)


def open_contests(listing: Listing) -> tuple[str, ...]:
    """Return what is contested and has no answer yet, oldest first."""
    last = {r.about: r.kind for r in listing.remarks if r.about}
    return tuple(about for about, kind in last.items() if kind == "contest")


def _about(remarks: tuple[Remark, ...], about: str) -> tuple[Remark, ...]:
    return (*remarks[:-1], replace(remarks[-1], about=about))


def _contestable(tx: Reader, listing: Listing) -> set[str]:
    """Return the measures and kinds of findings that the report of a version has."""
    body = tx.get(StoredReport, listing.report_id).body if listing.report_id else {}
    found = {str(m.get("id")) for m in body.get("metrics") or ()}
    for task in body.get("tasks") or ():
        for kind in ("errors", "findings"):
            found |= {str(f.get("type")) for f in task.get(kind) or ()}
    return found


def return_listing(tx: Transaction, actor: Actor, listing_id: str, reason: str) -> Listing:
    """L5: send it back to the provider with a written reason."""
    listing = load(tx, actor, listing_id)
    remarks = _remark(tx, listing, actor, "return", reason)
    return step(
        tx,
        listing,
        "return",
        actor,
        {"reason": reason},
        remarks=remarks,
        reviewed_by=actor.id,
    )


def certificate_of(tx: Transaction, actor: Actor, given: JSON) -> Certificate | None:
    """Return the certificate as this operator verified it; its number must have the form."""
    if not given:
        return None
    from yaosu_schemas.identifiers import certificate_number

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


def _register_guard(listing: Listing) -> None:
    """L6: no core data; source named; a basis where there is personal information."""
    element = listing.descriptor.get("dataElement") or {}
    compliance = element.get("compliance") or {}
    reasons: list[Text] = []
    if compliance.get("data_level") == "core":
        reasons.append(Text("core data is never traded", "核心数据不得交易"))
    if compliance.get("personal_info") in ("personal", "sensitive") and not compliance.get(
        "consent_basis"
    ):
        reasons.append(
            Text("personal information without a basis of consent", "含个人信息但缺少同意依据")
        )
    if not (element.get("provenance") or {}).get("origin"):
        reasons.append(Text("the source of the data is not named", "未说明数据来源"))
    _refuse("L6", reasons)


def _refuse(step: str, reasons: list[Text]) -> None:
    if reasons:
        raise Conflict(
            f"{step} is refused: " + "; ".join(r.en for r in reasons),
            f"{step} 未通过：" + "；".join(r.zh for r in reasons),
            guards=[{"message": r.en, "message_zh": r.zh} for r in reasons],
        )


def register(
    tx: Transaction, actor: Actor, listing_id: str, *, certificate: JSON = None, text: str = ""
) -> Listing:
    """L6: the review is passed; a certificate is stored where there is one."""
    listing = load(tx, actor, listing_id)
    venue = venue_of(tx, listing)
    admit(tx, listing, "register", actor)
    _register_guard(listing)
    kept = certificate_of(tx, actor, certificate)
    if venue.certificate_required and kept is None:
        _refuse("L6", [Text("this exchange asks for a certificate", "该交易场所要求登记凭证")])
    if venue.notice_days > 0:
        _refuse("L6", [Text("this exchange asks for a public notice", "该交易场所要求公示")])
    return step(
        tx,
        listing,
        "register",
        actor,
        {"certificate": kept.number if kept else None, "scheme": kept.scheme if kept else "none"},
        certificate=kept,
        reviewed_by=actor.id,
        remarks=_remark(tx, listing, actor, "review", text) if text else listing.remarks,
    )


def renew_certificate(
    tx: Transaction, actor: Actor, listing_id: str, certificate: JSON, text: str = ""
) -> Listing:
    """L6: keep the renewed certificate, checked by whoever may register; it must end later."""
    listing = load(tx, actor, listing_id)
    admit(tx, listing, "renew_certificate", actor)
    kept, old = certificate_of(tx, actor, certificate), listing.certificate
    reasons = []
    if kept is None or kept.valid_until is None or kept.valid_until < tx.now.date():
        reasons.append(
            Text("a renewed certificate has a last day to come", "续期凭证须有未到期的有效期截止日")
        )
    elif old and old.valid_until and kept.valid_until <= old.valid_until:
        reasons.append(Text("it ends no later than the one before", "新的截止日不晚于原凭证"))
    elif old is None or old.seized:
        reasons.append(
            Text("there is no certificate to renew, or it is under seizure", "无可续期的登记凭证")
        )
    _refuse("L6", reasons)
    assert kept is not None
    assert old is not None
    payload = {
        "before": {"number": old.number, "valid_until": str(old.valid_until)},
        "after": {"number": kept.number, "valid_until": str(kept.valid_until)},
    }
    remarks = _remark(tx, listing, actor, "review", text) if text else listing.remarks
    for asked in tx.find(Renewal, listing_id=listing.id, state="open"):
        granted = replace(asked, state="granted", updated_at=tx.now)
        tx.put(replace(granted, decided_by=actor.id, decided_at=tx.now, decision=text.strip()))
    return step(tx, listing, "renew_certificate", actor, payload, certificate=kept, remarks=remarks)


def open_notice(
    tx: Transaction, actor: Actor, listing_id: str, *, certificate: JSON = None
) -> Listing:
    """L6a: put the listing on public notice for the days of the exchange's policy."""
    listing = load(tx, actor, listing_id)
    venue = venue_of(tx, listing)
    admit(tx, listing, "open_notice", actor)
    _register_guard(listing)
    if venue.notice_days < 1:
        _refuse("L6a", [Text("this place of trading has no notice", "该交易场所无公示程序")])
    kept = certificate_of(tx, actor, certificate)
    if venue.certificate_required and kept is None:
        _refuse("L6a", [Text("this exchange asks for a certificate", "该交易场所要求登记凭证")])
    until = tx.now + timedelta(days=venue.notice_days)
    return step(
        tx,
        listing,
        "open_notice",
        actor,
        {"until": until.isoformat()},
        certificate=kept,
        notice_until=until,
        reviewed_by=actor.id,
    )


def object_to(tx: Transaction, actor: Actor, listing_id: str, text: str) -> Listing:
    """Raise an objection while the notice runs."""
    listing = load(tx, actor, listing_id)
    remarks = _remark(tx, listing, actor, "objection", text)
    return step(tx, listing, "object", actor, {"text_digest": digest(text)}, remarks=remarks)


def answer_objection(tx: Transaction, actor: Actor, listing_id: str, text: str) -> Listing:
    """Answer the objections in writing."""
    listing = load(tx, actor, listing_id)
    remarks = _remark(tx, listing, actor, "answer", text)
    return step(
        tx, listing, "answer_objection", actor, {"text_digest": digest(text)}, remarks=remarks
    )


def close_notice(tx: Transaction, actor: Actor, listing_id: str) -> Listing:
    """L6a: the notice ran its days and every objection has its written answer."""
    listing = load(tx, actor, listing_id)
    admit(tx, listing, "close_notice", actor)
    _refuse("L6a", notice_reasons(listing, tx.now))
    return step(tx, listing, "close_notice", actor)


def notice_reasons(listing: Listing, now: datetime) -> list[Text]:
    """Return what keeps a notice open: days that are left, an objection without its answer."""
    reasons = []
    if listing.notice_until is not None and now < listing.notice_until:
        reasons.append(
            Text(
                f"the notice runs until {listing.notice_until:%Y-%m-%d %H:%M} UTC",
                f"公示期至 {listing.notice_until:%Y-%m-%d %H:%M}（UTC）",
            )
        )
    spoken = [r.kind for r in listing.remarks if r.kind in ("objection", "answer")]
    if spoken and spoken[-1] == "objection":
        reasons.append(Text("an objection has no answer yet", "尚有异议未答复"))
    return reasons


def uphold_objection(tx: Transaction, actor: Actor, listing_id: str, reason: str) -> Listing:
    """L6b: an objection is right; the listing goes back."""
    listing = load(tx, actor, listing_id)
    remarks = _remark(tx, listing, actor, "return", reason)
    return step(tx, listing, "uphold_objection", actor, {"reason": reason}, remarks=remarks)


def read_by_reviewer(
    tx: Transaction, actor: Actor, listing_id: str, resource: str | None, rows: int
) -> None:
    """Leave an event of a reviewer's look at the data itself; its provider needs none."""
    listing = load(tx, actor, listing_id)
    if Relation.REVIEWER in relations(actor, listing, venue_of(tx, listing)):
        tx.record(
            listing.id,
            "data_read",
            actor_id=actor.id,
            from_state=listing.state,
            to_state=listing.state,
            payload={"resource": resource, "rows": rows},
        )


# --- on the market ----------------------------------------------------------------------------


def apply(tx: Transaction, actor: Actor, listing_id: str) -> Listing:
    """L7, first half: the provider applies for listing."""
    return step(tx, load(tx, actor, listing_id), "apply", actor, applied=True)


def list_guards(tx: Reader, listing: Listing, today: date) -> list[Text]:
    """Return what G1-G6 of domain c.2 object to."""
    venue = venue_of(tx, listing)
    element = listing.descriptor.get("dataElement") or {}
    offer = element.get("offer") or {}
    found: list[Text] = []
    certificate = listing.certificate
    if venue.certificate_required:
        if certificate is None:
            found.append(Text("G1: no certificate", "G1：缺少登记凭证"))
        elif certificate.valid_until is not None and certificate.valid_until < today:
            found.append(Text("G1: the certificate has expired", "G1：登记凭证已过期"))
    if certificate is not None and certificate.seized:
        found.append(Text("G1: the certificate is under seizure", "G1：登记凭证处于查封状态"))
    party = tx.get(Party, listing.provider_id)
    operators = {
        r.get("holder_uscc") for r in element.get("rights") or () if r.get("type") == "operate"
    }
    if party.uscc is None or party.uscc not in operators:
        found.append(
            Text(
                "G2: the publisher does not hold the right to operate: dataElement/rights names "
                "no holder_uscc of that right which is the publisher's",
                "G2：发布方不是经营权主体（dataElement/rights 中经营权的 holder_uscc 不是发布方）",
            )
        )
    found.extend(_report_guard(listing, venue, today))
    level = (element.get("compliance") or {}).get("data_level")
    if level == "core":
        found.append(Text("G4: core data is never traded", "G4：核心数据不得交易"))
    rights = [r.get("type") for r in element.get("rights") or ()]
    for finding in licences.resale_findings(str(element.get("license_spdx", "")), rights):
        if finding.severity == "error":
            found.append(Text(f"G5: {finding.en}", f"G5：{finding.zh}"))
    valid_to = str(offer.get("valid_to", ""))
    if certificate and certificate.valid_until and valid_to > certificate.valid_until.isoformat():
        found.append(Text("G6: the offer outlives the certificate", "G6：挂牌期限晚于凭证有效期"))
    if valid_to and valid_to < today.isoformat():
        found.append(Text("G6: the offer has expired", "G6：挂牌期限已过"))
    return found


def _report_guard(listing: Listing, venue: Venue, today: date) -> Iterator[Text]:
    if not listing.report_valid or listing.reported_at is None:
        yield Text("G3: no quality report that passes", "G3：没有通过的质量报告")
    elif (today - listing.reported_at.date()).days > venue.report_max_age_days:
        yield Text("G3: the quality report is too old", "G3：质量报告已过期")


def publish(tx: Transaction, actor: Actor, listing_id: str) -> Listing:
    """L7: approved; an older version of the dataset leaves the market in the same step."""
    listing = load(tx, actor, listing_id)
    admit(tx, listing, "list", actor)
    reasons = list_guards(tx, listing, tx.now.date())
    if not listing.applied:
        reasons.insert(0, Text("the provider has not applied", "提供方尚未申请挂牌"))
    _refuse("L7", reasons)
    for older in tx.find(Listing, dataset_id=listing.dataset_id, limit=1000):
        if older.id != listing.id and older.state in ("listed", "suspended"):
            step(tx, older, "delist", SYSTEM, {"superseded_by": listing.id})
    return step(
        tx,
        listing,
        "list",
        actor,
        {"content_digest": listing.content_digest, "terms_digest": listing.terms_digest},
        listed_at=tx.now,
    )


def suspend(tx: Transaction, actor: Actor, listing_id: str, reason: str) -> Listing:
    """L8: stop new trades; those that run go on."""
    listing = load(tx, actor, listing_id)
    remarks = _remark(tx, listing, actor, "suspend", reason)
    return step(tx, listing, "suspend", actor, {"reason": reason}, remarks=remarks)


def resume(tx: Transaction, actor: Actor, listing_id: str) -> Listing:
    """L9: the cause is gone, and G1-G6 hold again."""
    listing = load(tx, actor, listing_id)
    admit(tx, listing, "resume", actor)
    if is_recalled(tx, listing.id):
        _refuse("L9", [Text("a recall of it is open", "召回尚未结束")])
    _refuse("L9", list_guards(tx, listing, tx.now.date()))
    return step(tx, listing, "resume", actor)


def delist(tx: Transaction, actor: Actor, listing_id: str, reason: str) -> Listing:
    """L10: off the market; the record stays as a tombstone."""
    listing = load(tx, actor, listing_id)
    remarks = _remark(tx, listing, actor, "delist", reason)
    return step(tx, listing, "delist", actor, {"reason": reason}, remarks=remarks)


def withdraw(tx: Transaction, actor: Actor, listing_id: str) -> Listing:
    """L11: the provider takes it back before it was ever listed."""
    return step(tx, load(tx, actor, listing_id), "withdraw", actor)


def edit_text(tx: Transaction, actor: Actor, listing_id: str, changes: dict[str, Any]) -> Listing:
    """Change words that no digest covers; before and after stand in the event."""
    listing = load(tx, actor, listing_id)
    admit(tx, listing, "edit_text", actor)
    if unknown := set(changes) - EDITABLE_TEXT:
        raise InvalidInput(
            f"a listed version is immutable but for {sorted(EDITABLE_TEXT)}: "
            + clip(sorted(unknown)),
            f"已挂牌版本仅可修改 {sorted(EDITABLE_TEXT)}：{clip(sorted(unknown))}",
        )
    descriptor = {**listing.descriptor, **changes}
    refuse_broken(descriptor)
    before = {name: listing.descriptor.get(name) for name in changes}
    return step(
        tx,
        listing,
        "edit_text",
        actor,
        {"before": before, "after": changes},
        descriptor=descriptor,
        title=str(descriptor.get("title") or listing.name),
    )
