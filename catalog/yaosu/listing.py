"""From a draft to an offer on the market: the steps L1-L12 of domain c.2.

Every function is one step over a transaction: it checks who and from where by the table in
`steps`, applies its guard, writes the record, and leaves one event.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

from yaosu_schemas.canonical import content_digest, digest, terms_digest

from . import present
from .amounts import WHOLE
from .contract import holder_of, meter_of, period_of, points_of
from .due_dates import due
from .errors import (
    AlreadyExists,
    Conflict,
    Forbidden,
    InvalidDocument,
    InvalidInput,
    NotFound,
    Problem,
    Text,
)
from .identity import absent, allow, must_see, relations, require_verified
from .model import (
    JSON,
    SYSTEM,
    Actor,
    Dataset,
    Holding,
    Listing,
    ListingState,
    Party,
    StoredReport,
    Venue,
    new_id,
)
from .organisation.approvals import hold
from .package_files import MAX_PROBLEMS, judged, tables_of
from .package_files import files_of as files_of
from .ports import Reader, Transaction
from .steps import LISTING_STEPS, Relation, Step, check

DELIVERABLE = frozenset({"file", "api"})
SOLD_HERE = frozenset({"dataset", "api", "report", "index", "visual", "encrypted", "model"})
"""Objects of trade that are files or rows: what else there is cannot be delivered here."""
PRICED = frozenset(
    {"one_off", "subscription", "per_call", "per_volume", "staged", "negotiated", "free"}
)
_SHARE = ("basis_points", "permille")
VIEW_POLICIES = frozenset({"public", "member", "private"})


def venue_of(reader: Reader, thing: Any) -> Venue:
    """Return the place of trading of a listing or trade."""
    return reader.get(Venue, thing.venue)


def step(
    tx: Transaction,
    listing: Listing,
    action: str,
    actor: Actor,
    payload: JSON = None,
    *,
    asked: JSON = None,
    about: str | None = None,
    **changes: Any,
) -> Listing:
    """Take one step of the table: visible, allowed, legal; then record, event, followers.

    `asked` and `about` are what a rule of the actor's organisation needs: see `approvals.hold`.
    """
    row = admit(tx, listing, action, actor)
    if passed := hold(tx, actor, listing, action, asked, about):
        payload = {**(payload or {}), **passed}
    target = row.target or listing.state
    moved = replace(listing, state=target, updated_at=tx.now, **changes)
    moved = replace(moved, due=due(moved))
    tx.put(moved)
    tx.record(
        listing.id,
        row.event,
        actor_id=actor.id,
        from_state=listing.state,
        to_state=target,
        payload=payload,
    )
    tx.notify("listing", listing.id)
    _keep_public(tx, moved)
    return moved


def admit(tx: Reader, listing: Listing, action: str, actor: Actor) -> Step[ListingState]:
    """Return the row of a step that this actor may take from here: who first, then from where."""
    venue = venue_of(tx, listing)
    if actor != SYSTEM:
        must_see(actor, listing, venue)
    row = next(s for s in LISTING_STEPS if s.action == action)
    mine = row.actors & relations(actor, listing, venue)
    if action == "list" and venue.party_id is not None:
        # The exchange approves what is offered on it; a reviewer does where there is none (L7).
        mine -= {Relation.REVIEWER}
    if not mine:
        raise Forbidden(
            f"your key may not do this: {action}", f"您的密钥无权执行：{action}", operation=action
        )
    check(LISTING_STEPS, listing.state, action)
    return row


def _keep_public(tx: Transaction, listing: Listing) -> None:
    """Store the bytes that anyone gets of a published listing; remove them when it is not."""
    public = listing.view_policy == "public" and listing.state in (
        ListingState.LISTED,
        ListingState.SUSPENDED,
        ListingState.DELISTED,
    )
    if not public:
        tx.keep_view(f"listing:{listing.id}", None)
        return
    report = tx.get(StoredReport, listing.report_id) if listing.report_id else None
    shown = present.listing(listing, tx.get(Party, listing.provider_id), report=report)
    body = json.dumps(shown, ensure_ascii=False, separators=(",", ":")).encode()
    tx.keep_view(f"listing:{listing.id}", body)


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
    refuse_broken(descriptor)
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
    refuse_broken(descriptor)
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
    tx.notify("listing", listing.id)
    return listing


def refuse_broken(descriptor: dict[str, Any]) -> None:
    """Raise with every problem that even a draft may not have."""
    problems = [p for p in judged(descriptor, "breaks") if p.severity == "error"]
    if not descriptor.get("name"):
        text = Text("a dataset needs a name", "数据集需要标识名（name）")
        if not any(p.pointer == "/name" for p in problems):
            problems.append(Problem(pointer="/name", code="required", en=text.en, zh=text.zh))
    if problems:
        raise InvalidDocument(problems)


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
    admit(tx, listing, "revise", actor)
    refuse_broken(descriptor)
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
    return step(
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
    problems = judged(descriptor, "submit")
    if any(p.severity == "error" for p in judged(descriptor, "draft")):
        return problems  # its parts are not of the types that the rest relies on
    problems.extend(islice(_file_problems(reader, party_id, descriptor), MAX_PROBLEMS))
    problems.extend(_trade_problems(descriptor))
    problems.extend(_split_problems(reader, descriptor))
    problems.extend(_holder_problems(reader, party_id, descriptor))
    found = {(p.pointer, p.code): p for p in problems}
    return list(found.values())


def _holder_problems(
    reader: Reader, party_id: str, descriptor: dict[str, Any]
) -> Iterator[Problem]:
    """Say at the door what G2 would refuse at the end: who offers must hold the right to."""
    uscc = reader.get(Party, party_id).uscc
    rights = (descriptor.get("dataElement") or {}).get("rights") or ()
    if uscc is None or uscc not in {
        r.get("holder_uscc") for r in rights if r.get("type") == "operate"
    }:
        yield Problem(
            pointer="/dataElement/rights",
            code="not_the_holder",
            en="no entry gives the right to operate to your organisation's credit code",
            zh="没有任何条目将经营权授予贵方的统一社会信用代码",
        )


def _file_problems(reader: Reader, party_id: str, descriptor: dict[str, Any]) -> Iterator[Problem]:
    some = False
    held: dict[str, Holding | None] = {}
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
        if sha256 not in held:
            held[sha256] = reader.one(Holding, party_id=party_id, sha256=sha256)
        holding = held[sha256]
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
    modes = [m for m in offer.get("delivery_modes") or () if isinstance(m, str)]
    for mode in modes:
        if mode not in DELIVERABLE:
            yield Problem(
                pointer="/dataElement/offer/delivery_modes",
                code="unsupported",
                en=f"this market delivers files and rows over an API; '{mode}' is not served here",
                zh=f"本市场支持文件与接口交付，暂不支持“{mode}”",
            )
    sold = offer.get("object_type")
    if isinstance(sold, str) and sold not in SOLD_HERE:
        yield Problem(
            pointer="/dataElement/offer/object_type",
            code="unsupported",
            en=f"an object of trade of the type '{sold}' cannot be delivered by this market",
            zh=f"本市场无法交付“{sold}”类交易标的",
        )
    if "api" in modes and not tables_of(descriptor):
        yield Problem(
            pointer="/dataElement/offer/delivery_modes",
            code="no_rows",
            en="nothing in this package is a table in one file: there are no rows to be called for",
            zh="数据集中没有单文件数据表，无法按接口取数",
        )
    yield from _price_problems(offer, modes)
    yield from _floor_problems(offer)


def _price_problems(offer: dict[str, Any], modes: list[str]) -> Iterator[Problem]:
    modes_before: set[object] = set()
    for i, price in enumerate(offer.get("pricing") or ()):
        mode = price.get("mode") if isinstance(price, dict) else None
        if mode and mode not in PRICED:
            yield Problem(
                pointer=f"/dataElement/offer/pricing/{i}/mode",
                code="unsupported",
                en=f"pricing mode '{mode}' is not traded here",
                zh=f"本市场暂不支持计价方式“{mode}”",
            )
        if mode in modes_before:
            yield Problem(
                pointer=f"/dataElement/offer/pricing/{i}/mode",
                code="twice",
                en="this pricing mode stands twice: a buyer could not tell which price holds",
                zh="同一计价方式重复出现，价格不明确",
            )
        modes_before.add(mode)
        if not isinstance(price, dict):
            continue
        if mode == "subscription" and period_of(price) is None:
            yield Problem(
                pointer=f"/dataElement/offer/pricing/{i}/period",
                code="required",
                en="say how long a period is (ISO 8601, such as P1M), or name a unit such as month",
                zh="请填写订阅周期（ISO 8601，例如 P1M），或以月、年等为计价单位",
            )
        if mode == "per_volume" and modes == ["api"] and meter_of(price) is None:
            yield Problem(
                pointer=f"/dataElement/offer/pricing/{i}/unit",
                code="unsupported",
                en="rows over an API are metered in rows, 1000 rows, MB, MiB, GB or GiB",
                zh="接口取数按行、千行、MB、MiB、GB 或 GiB 计量",
            )


def _floor_problems(offer: dict[str, Any]) -> Iterator[Problem]:
    from .floors import read

    given = [f for f in offer.get("floors") or () if isinstance(f, dict)]
    for i, floor in enumerate(given):
        try:
            read([floor])
        except InvalidInput as why:
            place = f"/dataElement/offer/floors/{i}"
            yield Problem(pointer=place, code="floor", en=why.en, zh=why.zh)
        except TypeError:
            pass  # told by the schema


def _split_problems(reader: Reader, descriptor: dict[str, Any]) -> Iterator[Problem]:
    """Say who of those that are to share the price cannot be paid here, before anyone pays it."""
    offer = (descriptor.get("dataElement") or {}).get("offer") or {}
    splits = [s for s in offer.get("splits") or () if isinstance(s, dict)]
    for i, share in enumerate(splits):
        if holder_of(reader, str(share.get("holder_uscc"))) is None:
            yield Problem(
                pointer=f"/dataElement/offer/splits/{i}/holder_uscc",
                code="unknown_holder",
                en="no verified party of this market has this credit code: it could not be paid",
                zh="本市场没有该统一社会信用代码的已审核主体，无法向其分账",
            )
    named = [s for s in splits if all(isinstance(s.get(n, 0), int) for n in _SHARE)]
    if sum(points_of(s) for s in named) > WHOLE:
        yield Problem(
            pointer="/dataElement/offer/splits",
            code="too_much",
            en="the shares exceed the whole",
            zh="分成合计超过 100%",
        )


def submit(tx: Transaction, actor: Actor, listing_id: str, *, apply: bool = True) -> Listing:
    """L1: freeze the digests of what will be judged and sold, and queue the validation."""
    listing = load(tx, actor, listing_id)
    admit(tx, listing, "submit", actor)
    require_verified(tx, listing.provider_id)
    problems = submission_problems(tx, listing.provider_id, listing.descriptor)
    errors = [p for p in problems if p.severity == "error"]
    if errors:
        raise InvalidDocument(errors)
    pinned, terms = content_digest(listing.descriptor), terms_digest(listing.descriptor)
    moved = step(
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
        asked={"apply": apply},
        about=digest(listing.descriptor),
    )
    tx.enqueue("validate", {"listing_id": listing.id}, once=f"validate:{listing.id}:{pinned}")
    return moved


def start_validation(tx: Transaction, listing_id: str) -> Listing:
    """L2, or the same listing again when a killed worker's job came back."""
    listing = tx.get(Listing, listing_id)
    if listing.state == ListingState.VALIDATING:
        return listing
    return step(tx, listing, "start_validation", SYSTEM)


def finish_validation(tx: Transaction, listing_id: str, body: dict[str, Any]) -> Listing:
    """L3 or L4: attach the report to the digest that it judged."""
    listing = tx.get(Listing, listing_id)
    if listing.state != ListingState.VALIDATING:
        return listing
    whole = body.get("valid") is True and not body.get("partial")
    valid = whole and body.get("target") == listing.content_digest
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
    return step(
        tx,
        listing,
        "pass_validation" if valid else "fail_validation",
        SYSTEM,
        {"report_id": report.id, "report_digest": report.digest, "target": report.target},
        report_id=report.id,
        report_valid=valid,
        reported_at=tx.now,
    )
