"""Every route, every kind of subject, own things, others' things and missing ones (R13, §7)."""

from __future__ import annotations

import json
import tomllib
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2
import pytest

from people import USCC, Hall, Person, small_corpus
from stall import sold_as
from yaosu.model import (
    Certificate,
    Delivery,
    Listing,
    ListingState,
    Registered,
    Trade,
    TradeState,
    new_id,
)
from yaosu.model_evidence import Recall, UsageReceipt
from yaosu.model_harvest import Harvest, HarvestRun
from yaosu.model_money import Invoice, Period
from yaosu.model_notices import Notice
from yaosu.model_organisation import Approval, Rule
from yaosu.model_outside import Message, Webhook
from yaosu.model_renewal import Document, Renewal
from yaosu.proof.voucher import read_code
from yaosu.steps import LISTING_STEPS, PERIOD_STEPS, TRADE_STEPS, find
from yaosu_connectors.ckan_package import flat_name, resource_id

SUBJECTS = "ABbPpRXxS"
TABLE = tomllib.loads(Path(__file__).with_name("authorisation.toml").read_text(encoding="utf-8"))
ROWS: dict[str, dict[str, Any]] = {k: row for part in TABLE.values() for k, row in part.items()}
ANSWERS = {401: "?", 403: "x", 404: "0", 409: "~", 422: "~", 410: "~"}
NONE = "0" * 32
UPLOAD = {"tus-resumable": "1.0.0"}
CHUNK = {**UPLOAD, "upload-offset": "0", "content-type": "application/offset+octet-stream"}


@dataclass(frozen=True)
class Thing:
    """A listing and a trade of it, as they were when everything had gone well."""

    listing: Listing
    trade: Trade
    delivery: Delivery


@dataclass(frozen=True)
class Scene:
    """The market, who is in it, and what belongs to the first of each kind."""

    hall: Hall
    people: dict[str, Person]
    things: dict[str, Thing]
    private: dict[str, str]


@pytest.fixture(scope="module")
def scene(hall: Hall) -> Scene:
    exchanges = {
        slug: hall.exchange(slug, filing_required=True) for slug in ("gz-venue", "sz-venue")
    }
    people = {
        "A": hall.stranger,
        "B": hall.person("buyer-one", "buyer"),
        "b": hall.person("buyer-two", "buyer"),
        "P": hall.person("provider-one", "provider", uscc=USCC[0]),
        "p": hall.person("provider-two", "provider", uscc=USCC[1]),
        "R": hall.reviewer,
        "X": exchanges["gz-venue"],
        "x": exchanges["sz-venue"],
        "S": hall.admin,
    }
    for who in people.values():
        if who.key:
            who.sign("sha256:" + NONE * 2)
    things = {"otc": _thing(hall, people, "otc"), "gz": _thing(hall, people, "gz-venue")}
    provider = people["P"]
    job = hall.market.store.read
    with job() as reader:
        some_job = str(reader.jobs(limit=1)[0].id)
    return Scene(
        hall,
        people,
        things,
        {"signing_key": provider._signing_id, "job": some_job, "party": provider.id},
    )


def _thing(hall: Hall, people: dict[str, Person], venue: str) -> Thing:
    provider, buyer, exchange = people["P"], people["B"], people["X"]
    descriptor, data = small_corpus(provider, "thing" if venue != "otc" else "thing-otc")
    provider.upload(data)
    held = exchange if venue != "otc" else None
    listing_id = sold_as(hall, provider, descriptor, by=held, venue=venue)
    trade = buyer.buy(listing_id)
    if held:
        trade = held.post(f"/v1/trades/{trade['trade_id']}/file", {"filing_no": "F-0"})
    hall.pay(trade, held)
    trade = buyer.wait(trade["trade_id"], "delivered")
    with hall.market.store.read() as reader:
        return Thing(
            reader.get(Listing, listing_id),
            reader.get(Trade, trade["trade_id"]),
            reader.get(Delivery, trade["delivery_id"]),
        )


# --- one request --------------------------------------------------------------------------------


def put_back(scene: Scene, thing: Thing, route: str, row: dict[str, Any]) -> None:
    """Put the thing into the state that the row starts from."""
    action = route.rsplit("/", 1)[-1]
    state = row.get("state")
    table = TRADE_STEPS if "{trade_id}" in route else LISTING_STEPS
    step = find(table, action)  # type: ignore[arg-type]
    if state is None and step is not None and route.startswith("/v1/"):
        state = sorted(step.sources)[0]
    listing, trade = thing.listing, thing.trade
    period = _period(thing)
    if "{period_id}" in route:
        found = next((s for s in PERIOD_STEPS if s.action == action), None)
        free = action in ("deliver", "settle", "bill")  # what costs nothing is paid
        start = sorted(found.sources)[0] if found else TradeState.FILED
        period = replace(period, state=start, amount_fen=0 if free else period.amount_fen)
        terms = replace(trade.terms, period="P1M", periods=2, amount_fen=200)
        trade = replace(trade, state=TradeState.FILED, terms=terms)
    elif "{trade_id}" in route:
        trade = _trade(trade, TradeState(state or trade.state), action)
    elif state is not None:
        view = row.get("view", "public")
        invited = (scene.people["B"].id,) if view == "invited" else ()
        listing = replace(
            listing,
            state=ListingState(state),
            view_policy="private" if view == "invited" else view,
            invited=invited,
            notice_until=listing.created_at,
        )

    def step_(tx: Any) -> None:
        tx.put(listing)
        tx.put(trade)
        tx.put(thing.delivery)
        (tx.put if tx.one(Period, id=period.id) else tx.add)(period)
        if tx.one(Invoice, id=_invoice(thing).id) is None:
            tx.add(_invoice(thing))
        for kept in tx.find(Recall, listing_id=listing.id, state="open"):
            tx.put(replace(kept, state="closed"))
        tx.keep_view(f"listing:{listing.id}", None)

    scene.hall.market.store.write(step_)


def _period(thing: Thing) -> Period:
    """Return a period of the thing's trade, as if it ran in periods."""
    trade, at = thing.trade, thing.trade.created_at
    return Period(
        id=f"per_{trade.id[4:]}", trade_id=trade.id, provider_id=trade.provider_id,
        user_id=trade.user_id, venue=trade.venue, number=1, amount_fen=100, opens_after=at,
        delivery_id=thing.delivery.id, created_at=at, updated_at=at,
    )  # fmt: skip


def _invoice(thing: Thing) -> Invoice:
    trade = thing.trade
    return Invoice(
        id=f"inv_{trade.id[4:]}", trade_id=trade.id, provider_id=trade.provider_id,
        user_id=trade.user_id, number=f"n-{trade.id}", amount_fen=1000, tax_fen=0,
        issued_on=trade.created_at.date(), created_at=trade.created_at,
    )  # fmt: skip


def _trade(trade: Trade, state: TradeState, action: str) -> Trade:
    from yaosu.model import Dispute

    begun = {"confirm_payment": {"paid_fen": 0, "paid_at": None}, "file": {"filing_no": None}}
    dispute = Dispute(
        raised_by=trade.user_id,
        ground="g",
        channel="negotiation",
        from_state=TradeState.FILED,
        opened_at=trade.created_at,
    )
    return replace(
        trade,
        state=state,
        turn=trade.user_id,
        disputes=(dispute,) if state == TradeState.DISPUTED else (),
        **begun.get(action, {}),
    )


def ids(scene: Scene, thing: Thing) -> dict[str, str]:
    return {
        "party_id": scene.people["P"].id,
        "venue_id": f"v{uuid.uuid4().hex[:20]}",
        "dataset_id": thing.listing.dataset_id,
        "listing_id": thing.listing.id,
        "report_id": str(thing.listing.report_id),
        "sha256": thing.delivery.files[0].sha256,
        "trade_id": thing.trade.id,
        "delivery_id": thing.delivery.id,
        "period_id": _period(thing).id,
        "invoice_id": _invoice(thing).id,
        "resource": "train",
        "number": "0",
        "job_id": scene.private["job"],
        "path": "0/000.p/1",
        "share": "provider-one",
        "schema": "thing",
        "schema_name": "trading-record",
        "table": "train",
        "publisher": thing.listing.publisher,
        "name": thing.listing.name,
        "code": _voucher_of(scene, thing),
        "token": f"{NONE}.{NONE}",
    }


def _voucher_of(scene: Scene, thing: Thing) -> str:
    """Keep what a code shows, as if the trade had its receipt; returns the code."""
    code = read_code(thing.trade.id[-16:])
    dates = dict.fromkeys(("signed_at", "settled_at", "vouchered_at"))
    about = json.dumps({"trade_id": thing.trade.id, "digest": "sha256:0", **dates}).encode()
    scene.hall.market.store.write(lambda tx: tx.keep_view(f"voucher:{code}", about))
    return str(code)


def _resource_of(listing: Listing) -> str:
    dataset = str(uuid.UUID(listing.dataset_id[-32:]))
    return resource_id(dataset, str(listing.descriptor["resources"][0]["name"]))


def body_of(scene: Scene, thing: Thing, who: Person, given: Any) -> Any:
    """Return the body of a row with its placeholders filled in for this subject."""
    if isinstance(given, dict):
        return {k: body_of(scene, thing, who, v) for k, v in given.items()}
    if isinstance(given, list):
        return [body_of(scene, thing, who, v) for v in given]
    trade = thing.trade
    nothing = {"key_id": who._signing_id, "value": ""}
    if given == "$offer":
        document = scene.people["P"].get(f"/v1/listings/{thing.listing.id}/standing-offer")
        return who.sign(document["digest"]) if who.key else nothing
    known: dict[str, Any] = {
        "$new": f"n{uuid.uuid4().hex[:20]}",
        "$listing": thing.listing.id,
        "$trade": trade.id,
        "$content": trade.content_digest,
        "$descriptor": thing.listing.descriptor,
        "$nothing": nothing,
        "$package": flat_name(thing.listing.publisher, thing.listing.name),
        "$resource": _resource_of(thing.listing),
        "$offer_digest": trade.offer_digest,
        "$secret": scene.private.get("secret", ""),
        "$manifest": thing.delivery.manifest_digest,
        **{f"${kind}": sha256(data).hexdigest() for kind, (_, data) in REGISTERED.items()},
        "$period_payment": {"amount_fen": 100, "payer": trade.user_id, "reference": "r"},
        "$payment": {
            "amount_fen": trade.terms.amount_fen,
            "payer": trade.user_id,
            "reference": uuid.uuid4().hex,
        },
    }
    return known.get(given, given) if isinstance(given, str) else given


def ask(
    scene: Scene,
    key: str,
    row: dict[str, Any],
    who: Person,
    *,
    missing: bool = False,
    again: bool = False,
) -> httpx2.Response:
    """Send the one request of a row as this subject; `again` says that the last was the same."""
    method, route = key.partition(" #")[0].split(" ")
    thing = scene.things[row.get("on", "gz") if row.get("on") == "otc" else "gz"]
    if not missing and not (again and method == "GET"):  # to look changes nothing
        put_back(scene, thing, route, row)
    known = ids(scene, thing) | own_things(scene, route, row) | evidence_of(scene, thing, route)
    if missing:
        known = {k: absent(v) for k, v in known.items()}
    more: dict[str, Any] = {"headers": {}}
    if "/uploads" in route:
        more["headers"] = dict(CHUNK if method in ("PATCH", "POST") else UPLOAD)
        if route.endswith("/uploads"):
            more["headers"] = {**UPLOAD, "upload-length": "1"}
        elif method in ("PATCH", "POST"):
            more["content"] = b"x"
            more["headers"]["x-http-method-override"] = "PATCH"
    if route.endswith("/inclusion"):
        with scene.hall.market.store.read() as reader:
            more["params"] = {"digest": reader.leaves(0, limit=1)[0].digest}
    if route.endswith("/consistency"):
        more["params"] = {"from": "1", "to": "1"}
    if "query" in row:
        more["params"] = row["query"]
    body = body_of(scene, thing, who, row["body"]) if "body" in row else None
    return who.raw(method, route.format(**known), body, **more)


def absent(id: str) -> str:
    prefix, underscore, _ = id.partition("_")
    if underscore:
        return f"{prefix}_{NONE}"
    return "999999999" if id.isdigit() else NONE * 2 if len(id) == 64 else "9/999.p/1"


def own_things(scene: Scene, route: str, row: dict[str, Any]) -> dict[str, str]:
    """Return a fresh key or upload of the provider, where the route needs one."""
    provider = scene.people["P"]
    if row.get("on") == "key":
        return {"key_id": provider.post("/v1/keys", {})["key_id"]}
    if row.get("on") == "signing_key":
        return {"key_id": provider.post("/v1/signing-keys", {"held_by": "platform"})["key_id"]}
    if row.get("on") == "venue":
        return {
            "venue_id": "gz-venue",
            "key_id": _callback_key(scene),
            "reconciliation_id": _reconciliation(scene),
        }
    if row.get("on") == "harvest":
        return harvest(scene)
    if row.get("on") == "webhook":
        return webhook(scene)
    if row.get("on") == "profile":
        given = {"state": "public", "qualifications": [{"name": uuid.uuid4().hex}]}
        assert provider.raw("PUT", "/v1/profile", given).is_success
        return {"number": "0"}
    if row.get("on") == "notice":
        return {"notice_id": _notice(scene)}
    if row.get("on") == "search":
        found = provider.post("/v1/searches", {"name": uuid.uuid4().hex})
        return {"search_id": found["search_id"]}
    if row.get("on") in ("approval", "rule", "member", "invitation"):
        return office(scene, row["on"])
    if row.get("on") in REGISTERED:
        return registered(scene, row["on"])
    if "{upload_id}" in route:
        made = provider.raw("POST", "/v1/uploads", headers={**UPLOAD, "upload-length": "1"})
        return {"upload_id": made.headers["location"].rsplit("/", 1)[1]}
    return {}


def _notice(scene: Scene) -> str:
    """Leave a notice with the provider's person."""
    me = scene.people["P"].get("/v1/me")

    def step(tx: Any) -> str:
        made = Notice(
            id=new_id("ntc"), party_id=me["party"]["party_id"], member_id=me["member_id"],
            unread_by=me["member_id"], role="provider", kind="key", cause=new_id("x"),
            subject_id="key_x", at=tx.now, created_at=tx.now,
        )  # fmt: skip
        tx.add(made)
        return made.id

    return scene.hall.market.store.write(step)


def _reconciliation(scene: Scene) -> str:
    if "reconciliation" not in scene.private:
        path = "/v1/venues/gz-venue/reconciliation"
        made = scene.people["X"].post(path, [], params={"day": "2026-11-01"})
        scene.private["reconciliation"] = made["reconciliation_id"]
    return scene.private["reconciliation"]


def evidence_of(scene: Scene, thing: Thing, route: str) -> dict[str, str]:
    """Return a fresh recall by the operator, or a usage receipt of the buyer, where asked for."""
    common: dict[str, Any] = {"created_at": thing.trade.created_at}
    record: Any = None
    if "{recall_id}" in route:
        record = Recall(
            id=new_id("rcl"), root_id="r", listing_id=thing.listing.id, actor_id="mbr_x",
            provider_id=thing.listing.provider_id, party_id="pty_x", reason="r", scope="version",
            **common,
        )  # fmt: skip
    elif "{usage_receipt_id}" in route:
        record = UsageReceipt(
            id=new_id("usr"), party_id=thing.trade.user_id, model="m", model_version="", run="",
            document={"sources": []}, digest="sha256:0", signature=thing.trade.signatures[0],
            **common,
        )  # fmt: skip
    elif "{renewal_id}" in route:
        return {"renewal_id": _renewal(scene, thing)}
    if record is None:
        return {}
    scene.hall.market.store.write(lambda tx: tx.add(record))
    return {"recall_id" if isinstance(record, Recall) else "usage_receipt_id": record.id}


def _renewal(scene: Scene, thing: Thing) -> str:
    """Put a request to renew the certificate of the listing beside it, with one document."""
    listing, held = thing.listing, thing.delivery.files[0]
    ends = listing.created_at.date() + timedelta(days=30)
    certificate = Certificate(scheme="other", number="1", valid_until=ends)
    made = Renewal(
        id=new_id("rnw"), listing_id=listing.id, provider_id=listing.provider_id,
        venue=listing.venue, asked=replace(certificate, valid_until=ends + timedelta(days=365)),
        documents=(Document(name="d", sha256=held.sha256, bytes=held.bytes),), asked_by="mbr_x",
        created_at=listing.created_at, updated_at=listing.created_at,
    )  # fmt: skip

    def step(tx: Any) -> None:
        tx.put(replace(listing, state=ListingState.LISTED, certificate=certificate))
        tx.add(made)

    scene.hall.market.store.write(step)
    return made.id


def _callback_key(scene: Scene) -> str:
    if "callback_key" not in scene.private:
        made = scene.people["X"].post("/v1/venues/gz-venue/callback-keys", {})
        scene.private["callback_key"] = made["key_id"]
    return scene.private["callback_key"]


def harvest(scene: Scene) -> dict[str, str]:
    """Put the provider's harvest back as it was: no run goes on."""
    provider = scene.people["P"]
    if "harvest" not in scene.private:
        body = {"url": "https://elsewhere.invalid", "rights": "open", "interval_hours": 0}
        made = provider.post("/v1/harvests", body)
        scene.private["harvest"] = made["harvest_id"]
        scene.private["harvest_run"] = made["run_id"]
    name = scene.private["harvest"]

    def step(tx: Any) -> None:
        found = tx.get(Harvest, name)
        if found.run_id:
            tx.put(replace(tx.get(HarvestRun, found.run_id), state="stopped"))
        tx.put(replace(found, run_id="", state="on"))

    scene.hall.market.store.write(step)
    return {"harvest_id": name, "run_id": scene.private["harvest_run"]}


def webhook(scene: Scene) -> dict[str, str]:
    """Put the provider's webhook and its dead letter back as they were."""
    provider = scene.people["P"]
    if "webhook" not in scene.private:
        body = {"url": "https://example.org/hook", "topics": ["party.x"]}
        scene.private["webhook"] = provider.post("/v1/webhooks", body)["webhook_id"]
    name = scene.private["webhook"]

    def step(tx: Any) -> str:
        hook = tx.get(Webhook, name)
        tx.put(replace(hook, state="active", url="https://example.org/hook"))
        kept = tx.one(Message, webhook_id=name, event_id="ping_x")
        dead = kept or Message(
            id=new_id("whm"), webhook_id=name, event_id="ping_x", type="ping",
            subject_id=name, created_at=tx.now,
        )  # fmt: skip
        (tx.put if kept else tx.add)(replace(dead, state="dead"))
        return dead.id

    return {"webhook_id": name, "message_id": scene.hall.market.store.write(step)}


def office(scene: Scene, kind: str) -> dict[str, str]:
    """Return a fresh rule, request, colleague or invitation of the provider's organisation."""
    provider = scene.people["P"]
    mine = provider.get("/v1/me")["member_id"]
    if kind == "member":
        made = provider.post("/v1/members", {"name": "m", "roles": []})
        return {"member_id": made["member_id"]}
    if kind == "invitation":
        made = provider.post("/v1/invitations", {"name": "n"})
        scene.private["secret"] = made["link"].rsplit("/", 1)[1]
        return {"invitation_id": made["invitation_id"]}
    rule = Rule(
        id=new_id("rul"), party_id=provider.id, step="order", approvers=("mbr_x",), set_by=mine,
        created_at=datetime.now(UTC),
    )  # fmt: skip
    request = Approval(
        id=new_id("apv"), subject_id=rule.id, action="end_rule", payload_digest="sha256:0",
        member_id=mine, party_id=provider.id, state="waiting", rule_ids=(rule.id,), asked={},
        created_at=rule.created_at, expires_at=rule.created_at + timedelta(days=1),
    )  # fmt: skip

    def step(tx: Any) -> None:
        tx.add(rule)
        tx.add(request)

    scene.hall.market.store.write(step)
    return {"rule_id": rule.id, "approval_id": request.id}


REGISTERED = {
    "benchmarks": ("b.jsonl", b'{"question": "how many valves does a pump need", "answer": "7"}\n'),
    "rulesets": ("w.csv", b"word,category\nverbotenwort,A1a\n"),
}


def registered(scene: Scene, kind: str) -> dict[str, str]:
    """Have the operator's file here, and something registered under a name of its own."""
    scene.people["S"].upload(REGISTERED[kind][1])
    name = f"n{uuid.uuid4().hex[:20]}"

    def step(tx: Any) -> None:
        known = {"sha256": NONE * 2, "bytes": 1, "suffix": ".csv", "facts": {}, "added_by": "x"}
        tx.add(Registered(id=new_id("rgd"), purpose=kind.removesuffix("s"), name=name, number=1,
                          created_at=tx.now, **known))  # fmt: skip

    scene.hall.market.store.write(step)
    return {"name": name}


def mark(response: httpx2.Response) -> str:
    return "+" if response.is_success else ANSWERS.get(response.status_code, str(response))


# --- the promises -------------------------------------------------------------------------------


def test_every_route_has_a_row_and_every_row_a_route(hall: Hall) -> None:
    document = hall.stranger.get("/openapi.json")
    routes = {f"{m.upper()} {path}" for path, ms in document["paths"].items() for m in ms}
    assert routes == {key.partition(" #")[0] for key in ROWS}


@pytest.mark.parametrize("key", ROWS)
def test_each_subject_gets_what_the_table_says(scene: Scene, key: str) -> None:
    row = ROWS[key]
    answers = {s: ask(scene, key, row, scene.people[s], again=s != SUBJECTS[0]) for s in SUBJECTS}
    found = "".join(mark(answers[s]) for s in SUBJECTS)
    assert found == row["may"], {s: a.text[:200] for s, a in answers.items()}


@pytest.mark.parametrize(
    "key", [k for k, r in ROWS.items() if "0" in r["may"] and r.get("same", "A")]
)
def test_a_hidden_thing_answers_as_one_that_is_not_there(scene: Scene, key: str) -> None:
    """Status, headers and body of absent and foreign things differ in the id alone."""
    row = ROWS[key]
    route = key.partition(" #")[0].split(" ")[1]
    same = row.get("same", SUBJECTS)
    hidden_from = [s for s, said in zip(SUBJECTS, row["may"], strict=True) if said == "0"]
    for n, subject in enumerate(s for s in hidden_from if s in same):
        who = scene.people[subject]
        hidden = ask(scene, key, row, who, again=n > 0)
        missing = ask(scene, key, row, who, missing=True)
        assert hidden.status_code == missing.status_code == 404, (subject, missing.text)
        for answer in (hidden, missing):
            for name in ("date", "content-length"):
                answer.headers.pop(name, None)
        assert hidden.headers == missing.headers
        shown, wanted = shape(hidden), shape(missing)
        assert shown == wanted, (subject, route)


def shape(answer: httpx2.Response) -> Any:
    """Return the body without the id that was asked for."""
    if not answer.content:
        return None
    body = answer.json()
    asked = str(body.pop("id", ""))
    return {k: str(v).replace(asked, "<id>") for k, v in body.items()}
