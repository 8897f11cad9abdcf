"""Within an organisation: what stands under a rule waits for another person, and happens once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from people import USCC, Hall, Person, Refused, open_hall, small_corpus, until
from stall import offered
from yaosu.organisation import reminders
from yaosu.proof.verify import verify_path

PRICE = 10_001


@pytest.fixture(params=["sqlite", "postgresql"])
def both(request: pytest.FixtureRequest, tmp_path: Path, clock: Any) -> Iterator[tuple[Hall, Any]]:
    """A market on each database in turn, with a clock that the test holds."""
    url = request.getfixturevalue("migrated_url") if request.param == "postgresql" else ""
    with open_hall(tmp_path / "data", database_url=url, clock=clock) as found:
        yield found, clock


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hall]:
    """A market on SQLite, shared by the tests that need no clock: names must not collide."""
    with open_hall(tmp_path_factory.mktemp("approvals")) as found:
        yield found


@pytest.fixture(scope="module")
def provider(hall: Hall) -> Person:
    return hall.person("seller", "provider", uscc=USCC[0])


class Office:
    """A buyer's organisation: the owner, a clerk who orders, a head who says yes."""

    def __init__(self, hall: Hall, slug: str, *roles: str, uscc: str | None = None) -> None:
        self.owner = hall.person(slug, *roles, uscc=uscc)
        self.clerk = second(self.owner, *roles)
        self.head = second(self.owner)
        self.head_id = self.head.get("/v1/me")["member_id"]

    def rule(self, step: str, **more: Any) -> dict[str, Any]:
        body = {"step": step, "approvers": [self.head_id], **more}
        made: dict[str, Any] = self.owner.post("/v1/approval-rules", body)
        return made


def second(owner: Person, *roles: str) -> Person:
    made = owner.post("/v1/members", {"name": f"with {len(roles)} roles", "roles": list(roles)})
    return Person(str(owner.http.base_url), made["key"], owner.party)


def buy(who: Person, listing_id: str) -> tuple[int, dict[str, Any]]:
    """Buy in one step; returns status and body."""
    quote = who.post(f"/v1/listings/{listing_id}/quote", {"purpose": "训练"})
    answer = who.raw(
        "POST",
        f"/v1/listings/{listing_id}/buy",
        {
            "wish": {"purpose": "训练"},
            "trade_id": quote["trade_id"],
            "quoted_at": quote["quoted_at"],
            "signature": who.sign(quote["agreement_digest"]),
        },
    )
    return answer.status_code, answer.json()


def notices(who: Person) -> list[dict[str, Any]]:
    found = who.get("/v1/notices")["items"]
    return [n for n in found if n["kind"] == "approval"]


def refused(who: Person, path: str, body: Any = None) -> int:
    with pytest.raises(Refused) as error:
        who.post(path, body)
    return error.value.response.status_code


def signed_by(trade: dict[str, Any]) -> set[str]:
    return {s["party_id"] for s in trade["signatures"]}


def clean(hall: Hall) -> dict[str, int]:
    """Verify the market as it stands; returns what was checked."""
    hall.market.integrate()
    settings = hall.market.settings
    report = verify_path(settings.folder, database_url=settings.database_url)
    assert report.valid, [p for p in report.problems if p.severity == "error"][:3]
    return dict(report.checked)


# --- a buyer ------------------------------------------------------------------------------------


def test_an_order_above_the_amount_waits_for_another_person_and_happens_once(
    both: tuple[Hall, Any],
) -> None:
    hall, clock = both
    provider = hall.person("seller", "provider", uscc=USCC[0])
    listing = offered(hall, provider)
    office = Office(hall, "buyer", "buyer")
    rule = office.rule("order", above_fen=PRICE - 1)
    clock.forward(minutes=1)

    status, held = buy(office.clerk, listing)
    assert (status, held["waits_for"], held["action"]) == (202, "approver", "sign")
    trade = office.clerk.get(f"/v1/trades/{held['subject_id']}")
    assert trade["state"] == "agreed"
    assert signed_by(trade) == {provider.id}  # the standing offer
    path = f"/v1/approvals/{held['approval_id']}"
    assert refused(office.clerk, f"{path}/approve") == 403  # who asked
    assert refused(office.owner, f"{path}/approve") == 403  # no approver of this rule
    assert refused(provider, f"{path}/approve") == 404  # the other side knows of nothing
    assert provider.raw("GET", path).status_code == 404
    mine = [i for i in office.head.get("/v1/waiting")["items"] if i["kind"] == "approve"]
    assert [i["subject_id"] for i in mine] == [held["approval_id"]]
    assert mine[0]["amount_fen"] == PRICE

    done = office.head.post(f"{path}/approve")
    assert (done["state"], done["rules"]) == ("done", [rule["rule_id"]])
    assert office.clerk.get(f"/v1/trades/{trade['trade_id']}")["state"] == "filed"
    assert refused(office.head, f"{path}/approve") == 409
    events = office.clerk.get(f"/v1/trades/{trade['trade_id']}/events")["items"]
    signs = [e for e in events if e["type"] == "sign" and e["payload"]["by"] == office.owner.id]
    assert [e["payload"]["approval_id"] for e in signs] == [held["approval_id"]]
    seen = {e["type"] for e in office.head.get("/v1/events?limit=500")["items"]}
    assert {"rule_set", "approval_asked", "approval_given", "approval_done"} <= seen
    told = until(lambda: notices(office.clerk), bool)
    assert (told[0]["facts"]["event"], told[0]["subject_id"]) == (
        "approval_done",
        held["approval_id"],
    )
    assert [n["facts"]["event"] for n in notices(office.head)] == ["approval_asked"]
    assert notices(office.owner) == []
    others = provider.get("/v1/events?limit=500")["items"]
    assert not [e for e in others if e["type"].startswith("approval_")]
    checked = clean(hall)
    assert checked["approvals"] == checked["steps under a rule"] == 1


def test_what_no_rule_is_about_goes_through_at_once(hall: Hall, provider: Person) -> None:
    listing = offered(hall, provider, "free-of-rules")
    office = Office(hall, "small-buyer", "buyer")
    office.rule("order", above_fen=PRICE)
    status, trade = buy(office.clerk, listing)
    assert (status, trade["state"]) == (201, "filed")


def test_two_approvers_at_the_same_moment_make_one_signature(both: tuple[Hall, Any]) -> None:
    hall, _ = both
    provider = hall.person("seller", "provider", uscc=USCC[0])
    listing = offered(hall, provider)
    office = Office(hall, "buyer", "buyer")
    other = second(office.owner)
    approvers = [office.head_id, other.get("/v1/me")["member_id"]]
    office.owner.post("/v1/approval-rules", {"step": "sign", "approvers": approvers})
    _, held = buy(office.clerk, listing)
    answers: list[int] = []

    def say_yes(who: Person) -> None:
        path = f"/v1/approvals/{held['approval_id']}/approve"
        answers.append(who.raw("POST", path, {}).status_code)

    threads = [threading.Thread(target=say_yes, args=(w,)) for w in (office.head, other) * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200, 409, 409, 409, 409, 409]
    trade = office.clerk.get(f"/v1/trades/{held['subject_id']}")
    assert len(trade["signatures"]) == 2
    assert signed_by(trade) == {provider.id, office.owner.id}
    clean(hall)


def test_every_rule_that_a_step_stands_under_needs_its_own_yes(
    hall: Hall, provider: Person
) -> None:
    listing = offered(hall, provider, "two-rules")
    office = Office(hall, "two-rules", "buyer")
    office.rule("order")
    owner_id = office.owner.get("/v1/me")["member_id"]
    office.owner.post("/v1/approval-rules", {"step": "sign", "approvers": [owner_id]})
    _, held = buy(office.clerk, listing)
    path = f"/v1/approvals/{held['approval_id']}"
    assert office.head.post(f"{path}/approve")["state"] == "waiting"
    assert refused(office.head, f"{path}/approve") == 403  # nobody says yes twice
    assert office.owner.post(f"{path}/approve")["state"] == "done"


def test_a_no_has_a_reason_and_ends_it_and_who_asked_can_ask_again(
    hall: Hall, provider: Person
) -> None:
    listing = offered(hall, provider, "refused-order")
    office = Office(hall, "no-buyer", "buyer")
    office.rule("sign")
    _, held = buy(office.clerk, listing)
    path = f"/v1/approvals/{held['approval_id']}"
    assert refused(office.head, f"{path}/refuse", {"reason": " "}) == 422
    told = office.head.post(f"{path}/refuse", {"reason": "预算不足"})
    assert (told["state"], told["reason"]) == ("refused", "预算不足")
    assert refused(office.head, f"{path}/approve") == 409
    trade = office.clerk.get(f"/v1/trades/{held['subject_id']}")
    signature = {"signature": office.clerk.sign(trade["agreement_digest"])}
    sign = f"/v1/trades/{trade['trade_id']}/sign"
    again = office.clerk.post(sign, signature)
    assert again["approval_id"] != held["approval_id"]
    assert office.clerk.post(sign, signature)["approval_id"] == again["approval_id"]  # one request
    assert refused(office.head, f"/v1/approvals/{again['approval_id']}/withdraw") == 403
    office.clerk.post(f"/v1/approvals/{again['approval_id']}/withdraw")
    assert office.clerk.get(f"/v1/approvals/{again['approval_id']}")["state"] == "withdrawn"
    trade = office.clerk.get(f"/v1/trades/{trade['trade_id']}")
    assert signed_by(trade) == {provider.id}


def test_a_request_is_called_to_mind_once_and_ends_on_its_day(both: tuple[Hall, Any]) -> None:
    hall, clock = both
    provider = hall.person("seller", "provider", uscc=USCC[0])
    office = Office(hall, "buyer", "buyer")
    office.rule("sign", days=3)
    _, held = buy(office.clerk, offered(hall, provider))
    for days in (1, 1.5, 0.1):
        clock.forward(days=days)
        reminders.run(hall.market.store)
    found = [e["type"] for e in office.head.get("/v1/events?limit=500")["items"]]
    assert found.count("approval_reminder") == 1
    assert "approval_expired" not in found
    clock.forward(days=1)
    assert refused(office.head, f"/v1/approvals/{held['approval_id']}/approve") == 409
    reminders.run(hall.market.store)
    assert office.head.get(f"/v1/approvals/{held['approval_id']}")["state"] == "expired"


def test_a_request_whose_trade_has_ended_lapses(hall: Hall, provider: Person) -> None:
    listing = offered(hall, provider, "lapsing")
    office = Office(hall, "lapse-buyer", "buyer")
    office.rule("sign")
    _, held = buy(office.clerk, listing)
    office.clerk.post(f"/v1/trades/{held['subject_id']}/cancel", {})
    path = f"/v1/approvals/{held['approval_id']}"
    assert refused(office.head, f"{path}/approve") == 409  # as things stand now
    assert office.head.get(path)["given"] == []
    reminders.run(hall.market.store)
    assert office.head.get(path)["state"] == "lapsed"


# --- a provider ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def studio(hall: Hall) -> Office:
    """A provider's organisation whose head approves what is published, priced and signed."""
    found = Office(hall, "studio", "provider", uscc=USCC[1])
    for step in ("publish", "price", "sign"):
        found.rule(step)
    return found


def said_yes(office: Office, held: dict[str, Any]) -> dict[str, Any]:
    done: dict[str, Any] = office.head.post(f"/v1/approvals/{held['approval_id']}/approve")
    assert done["state"] == "done", done
    return done


def test_publishing_pricing_and_signing_of_a_provider_each_wait(
    hall: Hall, studio: Office, provider: Person
) -> None:
    clerk = studio.clerk
    descriptor, data = small_corpus(clerk, "of-the-studio")
    clerk.upload(data)
    listing = clerk.draft(descriptor)["listing_id"]
    held = clerk.post(f"/v1/listings/{listing}/submit", {})
    assert clerk.get(f"/v1/listings/{listing}")["state"] == "draft"
    said_yes(studio, held)
    until(lambda: clerk.get(f"/v1/listings/{listing}"), lambda f: f["state"] == "review")
    document = clerk.get(f"/v1/listings/{listing}/standing-offer")
    held = clerk.post(
        f"/v1/listings/{listing}/offer", {"signature": clerk.sign(document["digest"])}
    )
    assert clerk.get(f"/v1/listings/{listing}")["standing_signature"] is None
    said_yes(studio, held)
    hall.listed(clerk, listing)
    buyer = hall.person("studio-buyer", "buyer")
    trade = buyer.post(
        "/v1/trades",
        {"listing_id": listing, "wish": {"purpose": "训练", "mode": "one_off"}},
    )
    path = f"/v1/trades/{trade['trade_id']}"
    held = clerk.post(f"{path}/answer", {"changes": {"amount_fen": 9_000}})
    assert buyer.get(path)["state"] == "intent"
    said_yes(studio, held)
    offered_now = buyer.get(path)
    assert (offered_now["state"], offered_now["terms"]["amount_fen"]) == ("negotiating", 9_000)
    agreed = buyer.post(f"{path}/agree", {"offer_digest": offered_now["offer_digest"]})
    held = clerk.post(f"{path}/sign", {"signature": clerk.sign(agreed["agreement_digest"])})
    said_yes(studio, held)
    signed = buyer.post(f"{path}/sign", {"signature": buyer.sign(agreed["agreement_digest"])})
    assert signed["state"] == "filed"
    assert clean(hall)["steps under a rule"] >= 4


def test_a_yes_to_one_version_is_none_to_what_it_has_become(studio: Office) -> None:
    clerk = studio.clerk
    descriptor, data = small_corpus(clerk, "revised-meanwhile")
    clerk.upload(data)
    listing = clerk.draft(descriptor)["listing_id"]
    held = clerk.post(f"/v1/listings/{listing}/submit", {})
    changed = {**descriptor, "description": "别的内容"}
    clerk._checked(clerk.raw("PUT", f"/v1/listings/{listing}", {"descriptor": changed}))
    with pytest.raises(Refused, match="has changed since"):
        studio.head.post(f"/v1/approvals/{held['approval_id']}/approve")
    assert clerk.get(f"/v1/listings/{listing}")["state"] == "draft"


def test_what_somebody_asked_for_who_has_left_is_not_done(hall: Hall, studio: Office) -> None:
    leaver = second(studio.owner, "provider")
    descriptor, data = small_corpus(leaver, "of-a-leaver")
    leaver.upload(data)
    listing = leaver.draft(descriptor)["listing_id"]
    held = leaver.post(f"/v1/listings/{listing}/submit", {})
    member = leaver.get("/v1/me")["member_id"]
    assert refused(studio.clerk, f"/v1/members/{member}/end") == 403
    studio.owner.post(f"/v1/members/{member}/end")
    assert leaver.raw("GET", "/v1/me").status_code == 401
    with pytest.raises(Refused, match="has left"):
        studio.head.post(f"/v1/approvals/{held['approval_id']}/approve")
    studio.owner.post(f"/v1/approvals/{held['approval_id']}/withdraw")


# --- rules --------------------------------------------------------------------------------------


def test_only_an_owner_sets_rules_and_none_alone_ends_one(hall: Hall) -> None:
    office = Office(hall, "ruled", "buyer")
    body = {"step": "sign", "approvers": [office.head_id]}
    assert refused(office.clerk, "/v1/approval-rules", body) == 403
    robot = office.owner.post("/v1/keys", {"roles": []})  # a key made for less is no owner's
    assert refused(Person(hall.address, robot["key"]), "/v1/approval-rules", body) == 403
    assert refused(office.owner, "/v1/approval-rules", {**body, "approvers": ["mbr_x"]}) == 422
    assert refused(office.owner, "/v1/approval-rules", {**body, "above_fen": 5}) == 422
    rule = office.rule("sign")
    end = f"/v1/approval-rules/{rule['rule_id']}/end"
    held = office.owner.post(end)
    assert held["waits_for"] == "approver"
    assert len(office.owner.get("/v1/approval-rules")["items"]) == 1
    assert refused(office.owner, f"/v1/approvals/{held['approval_id']}/approve") == 403
    said_yes(office, held)
    assert office.owner.get("/v1/approval-rules")["items"] == []
    assert refused(office.owner, end) == 409


def test_a_rule_that_comes_meanwhile_is_asked_for_too(hall: Hall, provider: Person) -> None:
    office = Office(hall, "meanwhile", "buyer")
    office.rule("sign")
    _, held = buy(office.clerk, offered(hall, provider, "meanwhile"))
    mine = office.owner.get("/v1/me")["member_id"]
    office.owner.post("/v1/approval-rules", {"step": "order", "approvers": [mine]})
    path = f"/v1/approvals/{held['approval_id']}"
    assert office.head.post(f"{path}/approve")["state"] == "waiting"
    assert office.owner.post(f"{path}/approve")["state"] == "done"


def test_a_rule_that_nobody_else_could_answer_says_so(hall: Hall, provider: Person) -> None:
    office = Office(hall, "alone", "buyer")
    mine = office.owner.get("/v1/me")["member_id"]
    office.owner.post("/v1/approval-rules", {"step": "sign", "approvers": [mine]})
    status, problem = buy(office.owner, offered(hall, provider, "alone"))
    assert status == 409
    assert "nobody else" in problem["detail"]


# --- the proof ----------------------------------------------------------------------------------


def test_verify_finds_a_step_that_was_taken_without_its_approval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_hall(tmp_path / "data") as hall:
        provider = hall.person("seller", "provider", uscc=USCC[0])
        listing = offered(hall, provider)
        office = Office(hall, "buyer", "buyer")
        office.rule("sign")
        monkeypatch.setattr("yaosu.trading.moves.hold", lambda *_: {})  # a market that forgets
        status, trade = buy(office.clerk, listing)
        assert (status, trade["state"]) == (201, "filed")
        hall.market.integrate()
    report = verify_path(tmp_path / "data")
    found = [p for p in report.problems if p.code == "approval"]
    assert len(found) == 1, report.problems
    assert "no approver" in found[0].en
