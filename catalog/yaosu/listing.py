"""From a draft to an offer on the market: the steps L1-L12 of domain c.2.

Every function is one step over a transaction: it checks who and from where by the table in
`steps`, applies its guard, writes the record, and leaves one event.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

from yaosu_schemas.documents import descriptor_problems

from yaosu_schemas import licences
from yaosu_schemas.canonical import content_digest, digest, terms_digest
from yaosu_schemas.paths import is_remote, safe_path

from .errors import (
    AlreadyExists,
    Conflict,
    Forbidden,
    InvalidDocument,
    InvalidInput,
    NotFound,
    Problem,
    Text,
    UnsafePath,
)
from .identity import absent, allow, must_see, relations, require_verified
from .model import (
    JSON,
    SYSTEM,
    Actor,
    Certificate,
    Dataset,
    Holding,
    Listing,
    ListingState,
    Party,
    Remark,
    StoredReport,
    Venue,
    new_id,
)
from .ports import Reader, Transaction
from .steps import LISTING_STEPS, Relation, check

DELIVERABLE = frozenset({"file"})
PRICED = frozenset(
    {"one_off", "subscription", "per_call", "per_volume", "staged", "negotiated", "free"}
)
EDITABLE_TEXT = frozenset({"title", "description", "keywords", "homepage"})
VIEW_POLICIES = frozenset({"public", "member", "private"})


def venue_of(reader: Reader, thing: Any) -> Venue:
    """Return the place of trading of a listing or trade."""
    return reader.get(Venue, thing.venue)


def _move(
    tx: Transaction,
    listing: Listing,
    action: str,
    actor: Actor,
    payload: JSON = None,
    **changes: Any,
) -> Listing:
    """Take one step of the table: visible, allowed, legal; then record, event, followers."""
    venue = venue_of(tx, listing)
    if actor != SYSTEM:
        must_see(actor, listing, venue)
    step = next(s for s in LISTING_STEPS if s.action == action)
    if not step.actors & relations(actor, listing, venue):
        raise Forbidden(
            f"your key may not do this: {action}", f"您的密钥无权执行：{action}", operation=action
        )
    check(LISTING_STEPS, listing.state, action)
    target = step.target or listing.state
    moved = replace(listing, state=target, updated_at=tx.now, **changes)
    tx.put(moved)
    tx.record(
        listing.id,
        step.event,
        actor_id=actor.id,
        from_state=listing.state,
        to_state=target,
        payload=payload,
    )
    tx.notify("listing", listing.id)
    return moved


def load(tx: Reader, actor: Actor | None, listing_id: str) -> Listing:
    """Return a listing that exists for the actor."""
    try:
        listing = tx.get(Listing, listing_id)
    except NotFound:
        raise absent("listing", listing_id) from None
    must_see(actor, listing, venue_of(tx, listing)) if actor != SYSTEM else None
    return listing


# --- drafts -----------------------------------------------------------------------------------


def create_dataset(
    tx: Transaction,
    actor: Actor,
    descriptor: dict[str, Any],
    *,
    venue: str = "otc",
    view_policy: str = "public",
    invited: tuple[str, ...] = (),
    origin_id: str | None = None,
) -> tuple[Dataset, Listing]:
    """Register a dataset under its invariant name, with a first draft (version 1)."""
    allow(actor, "listing.create")
    _refuse_broken(descriptor)
    party = tx.get(Party, actor.party_id)
    name = descriptor["name"]
    if tx.one(Dataset, publisher=party.slug, name=name) is not None:
        raise AlreadyExists(
            f"you have a dataset called '{name}' already: add a version to it",
            f"您已有名为“{name}”的数据集，请为其新增版本",
            field="name",
        )
    dataset = Dataset(
        id=new_id("dst"),
        provider_id=party.id,
        publisher=party.slug,
        name=name,
        origin_id=origin_id,
        created_at=tx.now,
    )
    tx.add(dataset)
    tx.record(dataset.id, "dataset_created", actor_id=actor.id, payload={"name": name})
    return dataset, _draft(tx, actor, dataset, 1, descriptor, venue, view_policy, invited)


def new_version(
    tx: Transaction, actor: Actor, dataset_id: str, descriptor: dict[str, Any]
) -> Listing:
    """Start the next version (L12); the one that is listed stays until this one is."""
    allow(actor, "listing.create")
    dataset = tx.one(Dataset, id=dataset_id)
    if dataset is None or dataset.provider_id != actor.party_id:
        raise absent("dataset", dataset_id)
    _refuse_broken(descriptor)
    if descriptor["name"] != dataset.name:
        raise InvalidInput(
            f"the name of a dataset never changes: '{dataset.name}'",
            f"数据集标识名不可更改：“{dataset.name}”",
            field="name",
        )
    last = tx.find(Listing, dataset_id=dataset.id, newest=True, limit=1)[0]
    if last.state in _UNFINISHED:
        raise Conflict(
            f"version {last.version} is not finished ({last.state}): revise or withdraw it first",
            f"版本 {last.version} 尚未完成（{last.state}），请先修改或撤回",
            listing_id=last.id,
            state=last.state,
        )
    return _draft(
        tx,
        actor,
        dataset,
        last.version + 1,
        descriptor,
        last.venue,
        last.view_policy,
        last.invited,
        change=_change(last.descriptor.get("version"), descriptor.get("version")),
    )


_UNFINISHED = frozenset(ListingState) - {
    ListingState.LISTED,
    ListingState.SUSPENDED,
    ListingState.DELISTED,
    ListingState.WITHDRAWN,
}


def _change(before: object, after: object) -> str:
    """Name the part of the semantic version that moved: major, minor or patch."""
    old, new = (str(v or "0.0.0").split("-")[0].split(".")[:3] for v in (before, after))
    for name, a, b in zip(("major", "minor", "patch"), old, new, strict=False):
        if a != b:
            return name
    return "patch"


def _draft(
    tx: Transaction,
    actor: Actor,
    dataset: Dataset,
    version: int,
    descriptor: dict[str, Any],
    venue: str,
    view_policy: str,
    invited: tuple[str, ...],
    change: str = "major",
) -> Listing:
    if tx.one(Venue, id=venue) is None:
        raise InvalidInput(
            f"no such place of trading: {venue[:40]}", f"未知交易场所：{venue[:40]}", field="venue"
        )
    if view_policy not in VIEW_POLICIES:
        raise InvalidInput(
            "view_policy is public, member or private",
            "view_policy 应为 public、member 或 private",
            field="view_policy",
        )
    listing = Listing(
        id=new_id("lst"),
        dataset_id=dataset.id,
        provider_id=dataset.provider_id,
        publisher=dataset.publisher,
        name=dataset.name,
        version=version,
        venue=venue,
        descriptor=descriptor,
        title=str(descriptor.get("title") or dataset.name),
        view_policy=view_policy,
        invited=invited,
        change=change,
        created_at=tx.now,
        updated_at=tx.now,
    )
    tx.add(listing)
    tx.record(
        listing.id,
        "draft",
        actor_id=actor.id,
        to_state=listing.state,
        payload={"descriptor_digest": digest(descriptor)},
    )
    return listing


def _refuse_broken(descriptor: dict[str, Any]) -> None:
    """Raise with every problem that even a draft may not have."""
    problems = [p for p in descriptor_problems(descriptor, stage="draft") if p.severity == "error"]
    if not descriptor.get("name"):
        text = Text("a dataset needs a name", "数据集需要标识名（name）")
        if not any(p.pointer == "/name" for p in problems):
            problems.append(Problem(pointer="/name", code="required", en=text.en, zh=text.zh))
    problems.extend(_path_problems(descriptor))
    if problems:
        raise InvalidDocument(problems)


def _path_problems(descriptor: dict[str, Any]) -> Iterator[Problem]:
    """Yield one problem per path that a service must not accept from strangers (S9, security)."""
    seen: dict[str, str] = {}
    for pointer, path in resource_paths(descriptor):
        if is_remote(path):
            yield Problem(
                pointer=pointer,
                code="remote_path",
                en="remote paths are recorded in `sources`, never fetched: give the file itself",
                zh="不接受远程路径（请写入 sources），请提供文件本身",
            )
            continue
        try:
            folded = safe_path(path).casefold()
        except UnsafePath as error:
            yield Problem(pointer=pointer, code=error.code, en=error.en, zh=error.zh)
            continue
        if folded in seen and seen[folded] != path:
            yield Problem(
                pointer=pointer,
                code="unsafe_path",
                en="two paths differ in case only",
                zh="两个路径仅大小写不同",
            )
        seen[folded] = path


def resource_paths(descriptor: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (JSON pointer, path) of every data path of the descriptor."""
    resources = descriptor.get("resources")
    for i, resource in enumerate(resources if isinstance(resources, list) else ()):
        path = resource.get("path") if isinstance(resource, dict) else None
        if isinstance(path, str):
            yield f"/resources/{i}/path", path
        elif isinstance(path, list):
            for j, part in enumerate(path):
                if isinstance(part, str):
                    yield f"/resources/{i}/path/{j}", part


def files_of(descriptor: dict[str, Any]) -> Iterator[tuple[str, str, str, int | None]]:
    """Yield (JSON pointer, path, sha256 hex or "", bytes) of every data file."""
    for i, resource in enumerate(descriptor.get("resources") or ()):
        path = resource.get("path")
        if isinstance(path, str):
            yield f"/resources/{i}", path, _hex(resource.get("hash")), resource.get("bytes")
        elif isinstance(path, list):
            parts = {p.get("path"): p for p in resource.get("parts") or () if isinstance(p, dict)}
            for j, name in enumerate(path):
                part = parts.get(name, {})
                yield (
                    f"/resources/{i}/path/{j}",
                    str(name),
                    _hex(part.get("hash")),
                    part.get("bytes"),
                )


def _hex(value: object) -> str:
    return value[7:] if isinstance(value, str) and value.startswith("sha256:") else ""


def revise(
    tx: Transaction,
    actor: Actor,
    listing_id: str,
    descriptor: dict[str, Any],
    *,
    venue: str | None = None,
    view_policy: str | None = None,
) -> Listing:
    """Replace the descriptor of a draft, or of a listing that was returned."""
    listing = load(tx, actor, listing_id)
    _refuse_broken(descriptor)
    if descriptor["name"] != listing.name:
        raise InvalidInput(
            f"the name of a dataset never changes: '{listing.name}'",
            f"数据集标识名不可更改：“{listing.name}”",
            field="name",
        )
    if view_policy is not None and view_policy not in VIEW_POLICIES:
        raise InvalidInput(
            "view_policy is public, member or private",
            "view_policy 应为 public、member 或 private",
            field="view_policy",
        )
    return _move(
        tx,
        listing,
        "revise",
        actor,
        {"descriptor_digest": digest(descriptor)},
        descriptor=descriptor,
        title=str(descriptor.get("title") or listing.name),
        venue=listing.venue if venue is None else tx.get(Venue, venue).id,
        view_policy=view_policy or listing.view_policy,
        standing_offer=None,
        standing_signature=None,
    )


# --- submission and validation ----------------------------------------------------------------


def submission_problems(reader: Reader, party_id: str, descriptor: dict[str, Any]) -> list[Problem]:
    """Return everything that L1 would refuse, all at once."""
    problems = descriptor_problems(descriptor, stage="submit")
    problems.extend(_path_problems(descriptor))
    problems.extend(_file_problems(reader, party_id, descriptor))
    problems.extend(_trade_problems(descriptor))
    found = {(p.pointer, p.code): p for p in problems}
    return list(found.values())


def _file_problems(reader: Reader, party_id: str, descriptor: dict[str, Any]) -> Iterator[Problem]:
    some = False
    for pointer, path, sha256, size in files_of(descriptor):
        some = True
        if not sha256:
            yield Problem(
                pointer=f"{pointer}/hash",
                code="required",
                en=f"'{path}' needs hash 'sha256:<hex>'",
                zh=f"“{path}”需要 hash：sha256:<hex>",
            )
            continue
        holding = reader.one(Holding, party_id=party_id, sha256=sha256)
        if holding is None:
            yield Problem(
                pointer=f"{pointer}/path",
                code="not_uploaded",
                en=f"the bytes of '{path}' have not been uploaded",
                zh=f"“{path}”的内容尚未上传",
            )
        elif size != holding.bytes:
            yield Problem(
                pointer=f"{pointer}/bytes",
                code="byte_count",
                en=f"'{path}' has {holding.bytes} bytes, the descriptor says {size}",
                zh=f"“{path}”实际 {holding.bytes} 字节，描述为 {size}",
            )
    if not some:
        yield Problem(
            pointer="/resources",
            code="no_files",
            en="nothing to deliver: no resource names a file",
            zh="没有可交付的文件",
        )


def _trade_problems(descriptor: dict[str, Any]) -> Iterator[Problem]:
    """Say openly what this market cannot deliver or price, before anything is listed."""
    offer = (descriptor.get("dataElement") or {}).get("offer") or {}
    modes = offer.get("delivery_modes") or []
    if modes and not DELIVERABLE & set(modes):
        yield Problem(
            pointer="/dataElement/offer/delivery_modes",
            code="unsupported",
            en="this market delivers files; the modes named are not served here",
            zh="本市场仅支持文件交付",
        )
    for i, price in enumerate(offer.get("pricing") or ()):
        mode = price.get("mode") if isinstance(price, dict) else None
        if mode and mode not in PRICED:
            yield Problem(
                pointer=f"/dataElement/offer/pricing/{i}/mode",
                code="unsupported",
                en=f"pricing mode '{mode}' is not traded here",
                zh=f"本市场暂不支持计价方式“{mode}”",
            )


def submit(tx: Transaction, actor: Actor, listing_id: str, *, apply: bool = True) -> Listing:
    """L1: freeze the digests of what will be judged and sold, and queue the validation."""
    listing = load(tx, actor, listing_id)
    check(LISTING_STEPS, listing.state, "submit")
    if relations(actor, listing) & {Relation.PROVIDER}:
        require_verified(tx, listing.provider_id)
        problems = submission_problems(tx, listing.provider_id, listing.descriptor)
        errors = [p for p in problems if p.severity == "error"]
        if errors:
            raise InvalidDocument(errors)
    pinned, terms = content_digest(listing.descriptor), terms_digest(listing.descriptor)
    moved = _move(
        tx,
        listing,
        "submit",
        actor,
        {"content_digest": pinned, "terms_digest": terms},
        content_digest=pinned,
        terms_digest=terms,
        report_id=None,
        report_valid=None,
        applied=apply,
    )
    tx.enqueue("validate", {"listing_id": listing.id}, once=f"validate:{listing.id}:{pinned}")
    return moved


def start_validation(tx: Transaction, listing_id: str) -> Listing:
    """L2, or the same listing again when a killed worker's job came back."""
    listing = tx.get(Listing, listing_id)
    if listing.state == ListingState.VALIDATING:
        return listing
    return _move(tx, listing, "start_validation", SYSTEM)


def finish_validation(tx: Transaction, listing_id: str, body: dict[str, Any]) -> Listing:
    """L3 or L4: attach the report to the digest that it judged."""
    listing = tx.get(Listing, listing_id)
    if listing.state != ListingState.VALIDATING:
        return listing
    valid = bool(body.get("valid")) and body.get("target") == listing.content_digest
    report = StoredReport(
        id=new_id("rpt"),
        listing_id=listing.id,
        target=str(listing.content_digest),
        digest=digest(body),
        valid=valid,
        body=body,
        created_at=tx.now,
    )
    tx.add(report)
    return _move(
        tx,
        listing,
        "pass_validation" if valid else "fail_validation",
        SYSTEM,
        {"report_id": report.id, "report_digest": report.digest, "target": report.target},
        report_id=report.id,
        report_valid=valid,
        reported_at=tx.now,
    )


# --- review -----------------------------------------------------------------------------------


def _remark(tx: Transaction, listing: Listing, actor: Actor, kind: str, text: str) -> tuple:  # type: ignore[type-arg]
    if not text.strip():
        raise InvalidInput("a written reason is needed", "需要书面说明", field="text")
    note = Remark(kind=kind, by=actor.id, party_id=actor.party_id, text=text.strip(), at=tx.now)
    return (*listing.remarks, note)


def comment(tx: Transaction, actor: Actor, listing_id: str, text: str) -> Listing:
    """Keep a comment of the provider or of an operator on the listing."""
    listing = load(tx, actor, listing_id)
    remarks = _remark(tx, listing, actor, "comment", text)
    return _move(tx, listing, "comment", actor, {"text_digest": digest(text)}, remarks=remarks)


def return_listing(tx: Transaction, actor: Actor, listing_id: str, reason: str) -> Listing:
    """L5: send it back to the provider with a written reason."""
    listing = load(tx, actor, listing_id)
    remarks = _remark(tx, listing, actor, "return", reason)
    return _move(
        tx,
        listing,
        "return",
        actor,
        {"reason": reason},
        remarks=remarks,
        reviewed_by=actor.id,
    )


def _certificate(tx: Transaction, actor: Actor, given: JSON) -> Certificate | None:
    """Return the certificate as this operator verified it; its number must have the form."""
    if not given:
        return None
    from yaosu_schemas.identifiers import certificate_number

    scheme, number = str(given.get("scheme", "")), str(given.get("number", ""))
    if scheme == "nda":
        verdict = certificate_number(number)
        if verdict.problem is not None:
            raise InvalidInput(verdict.problem.en, verdict.problem.zh, field="certificate.number")
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
    check(LISTING_STEPS, listing.state, "register")
    _register_guard(listing)
    kept = _certificate(tx, actor, certificate)
    if venue.certificate_required and kept is None:
        _refuse("L6", [Text("this exchange asks for a certificate", "该交易场所要求登记凭证")])
    if venue.notice_days > 0:
        _refuse("L6", [Text("this exchange asks for a public notice", "该交易场所要求公示")])
    return _move(
        tx,
        listing,
        "register",
        actor,
        {"certificate": kept.number if kept else None, "scheme": kept.scheme if kept else "none"},
        certificate=kept,
        reviewed_by=actor.id,
        remarks=_remark(tx, listing, actor, "review", text) if text else listing.remarks,
    )


def open_notice(
    tx: Transaction, actor: Actor, listing_id: str, *, certificate: JSON = None
) -> Listing:
    """L6a: put the listing on public notice for the days of the exchange's policy."""
    listing = load(tx, actor, listing_id)
    venue = venue_of(tx, listing)
    check(LISTING_STEPS, listing.state, "open_notice")
    _register_guard(listing)
    if venue.notice_days < 1:
        _refuse("L6a", [Text("this place of trading has no notice", "该交易场所无公示程序")])
    kept = _certificate(tx, actor, certificate)
    if venue.certificate_required and kept is None:
        _refuse("L6a", [Text("this exchange asks for a certificate", "该交易场所要求登记凭证")])
    until = tx.now + timedelta(days=venue.notice_days)
    return _move(
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
    return _move(tx, listing, "object", actor, {"text_digest": digest(text)}, remarks=remarks)


def answer_objection(tx: Transaction, actor: Actor, listing_id: str, text: str) -> Listing:
    """Answer the objections in writing."""
    listing = load(tx, actor, listing_id)
    remarks = _remark(tx, listing, actor, "answer", text)
    return _move(
        tx, listing, "answer_objection", actor, {"text_digest": digest(text)}, remarks=remarks
    )


def close_notice(tx: Transaction, actor: Actor, listing_id: str) -> Listing:
    """L6a: the notice ran its days and every objection has its written answer."""
    listing = load(tx, actor, listing_id)
    check(LISTING_STEPS, listing.state, "close_notice")
    reasons = []
    if listing.notice_until is not None and tx.now < listing.notice_until:
        reasons.append(
            Text(
                f"the notice runs until {listing.notice_until:%Y-%m-%d %H:%M} UTC",
                f"公示期至 {listing.notice_until:%Y-%m-%d %H:%M}（UTC）",
            )
        )
    spoken = [r.kind for r in listing.remarks if r.kind in ("objection", "answer")]
    if spoken and spoken[-1] == "objection":
        reasons.append(Text("an objection has no answer yet", "尚有异议未答复"))
    _refuse("L6a", reasons)
    return _move(tx, listing, "close_notice", actor)


def uphold_objection(tx: Transaction, actor: Actor, listing_id: str, reason: str) -> Listing:
    """L6b: an objection is right; the listing goes back."""
    listing = load(tx, actor, listing_id)
    remarks = _remark(tx, listing, actor, "return", reason)
    return _move(tx, listing, "uphold_objection", actor, {"reason": reason}, remarks=remarks)


# --- on the market ----------------------------------------------------------------------------


def apply(tx: Transaction, actor: Actor, listing_id: str) -> Listing:
    """L7, first half: the provider applies for listing."""
    return _move(tx, load(tx, actor, listing_id), "apply", actor, applied=True)


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
    if party.uscc not in operators:
        found.append(
            Text(
                "G2: the publisher does not hold the right to operate",
                "G2：发布方不是经营权主体",
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
    check(LISTING_STEPS, listing.state, "list")
    reasons = list_guards(tx, listing, tx.now.date())
    if not listing.applied:
        reasons.insert(0, Text("the provider has not applied", "提供方尚未申请挂牌"))
    _refuse("L7", reasons)
    for older in tx.find(Listing, dataset_id=listing.dataset_id, limit=1000):
        if older.id != listing.id and older.state in ("listed", "suspended"):
            _move(tx, older, "delist", SYSTEM, {"superseded_by": listing.id})
    return _move(
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
    return _move(tx, listing, "suspend", actor, {"reason": reason}, remarks=remarks)


def resume(tx: Transaction, actor: Actor, listing_id: str) -> Listing:
    """L9: the cause is gone, and G1-G6 hold again."""
    listing = load(tx, actor, listing_id)
    check(LISTING_STEPS, listing.state, "resume")
    _refuse("L9", list_guards(tx, listing, tx.now.date()))
    return _move(tx, listing, "resume", actor)


def delist(tx: Transaction, actor: Actor, listing_id: str, reason: str) -> Listing:
    """L10: off the market; the record stays as a tombstone."""
    listing = load(tx, actor, listing_id)
    remarks = _remark(tx, listing, actor, "delist", reason)
    return _move(tx, listing, "delist", actor, {"reason": reason}, remarks=remarks)


def withdraw(tx: Transaction, actor: Actor, listing_id: str) -> Listing:
    """L11: the provider takes it back before it was ever listed."""
    return _move(tx, load(tx, actor, listing_id), "withdraw", actor)


def edit_text(tx: Transaction, actor: Actor, listing_id: str, changes: dict[str, Any]) -> Listing:
    """Change words that no digest covers; before and after stand in the event."""
    listing = load(tx, actor, listing_id)
    if unknown := set(changes) - EDITABLE_TEXT:
        raise InvalidInput(
            f"a listed version is immutable but for {sorted(EDITABLE_TEXT)}: {sorted(unknown)}",
            f"已挂牌版本仅可修改 {sorted(EDITABLE_TEXT)}：{sorted(unknown)}",
            fields=sorted(unknown),
        )
    descriptor = {**listing.descriptor, **changes}
    _refuse_broken(descriptor)
    before = {name: listing.descriptor.get(name) for name in changes}
    return _move(
        tx,
        listing,
        "edit_text",
        actor,
        {"before": before, "after": changes},
        descriptor=descriptor,
        title=str(descriptor.get("title") or listing.name),
    )


def expire(tx: Transaction, today: date) -> int:
    """Delist what may no longer be offered (L10, daily job); returns how many."""
    count = 0
    after: str | None = None
    while page := tx.find(Listing, state=("listed", "suspended"), after=after, limit=200):
        after = page[-1].id
        for listing in page:
            certificate = listing.certificate
            until = certificate.valid_until if certificate else None
            offer = (listing.descriptor.get("dataElement") or {}).get("offer") or {}
            ended = str(offer.get("valid_to") or "9999-12-31") < today.isoformat()
            if ended or (until is not None and until < today):
                _move(tx, listing, "delist", SYSTEM, {"reason": "expired"})
                count += 1
    return count
