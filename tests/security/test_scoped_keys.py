"""A key for some operations opens their addresses and no other: every key of one, every route.

For each row of the table of routes, as a subject that the row lets in: a key for just the row's
operation gets the answer of the whole key; one for all other operations gets 403; one that is
bound to other things gets 403; one that is bound to the thing gets it where the address names it.
"""

from __future__ import annotations

import json
import tomllib
from importlib.resources import files
from typing import Any

import httpx2
import pytest
from test_authorisation import ROWS, SUBJECTS, Scene, ask, mark, scene

from paper import Paper
from people import Hall, Person, Refused
from yaosu import operations
from yaosu.cli import app as cli
from yaosu.operations import EVERY

__all__ = ["scene"]  # the market of the table of routes
TABLE = tomllib.loads(files("yaosu").joinpath("authz.toml").read_text(encoding="utf-8"))
ADMITTED = "+~"
OWN_KEYS = ("/v1/apis/", "/delta-sharing/", "/callbacks", "/feeds/")
"""Addresses with keys of their own: no access key opens them."""


def operation_of(key: str) -> str | None:
    method, route = key.partition(" #")[0].split(" ")
    return operations.of_address(method, route, route)


def subject_of(row: dict[str, Any]) -> str | None:
    """Return someone with a key that the row lets in: where it can be, by a 2xx."""
    known = [s for s in SUBJECTS if s != "A"]
    said = dict(zip(SUBJECTS, row["may"], strict=True))
    return next((s for m in ADMITTED for s in known if said[s] == m), None)


def keyed(who: Person, **limits: Any) -> Person:
    """Return the same person with a narrower key."""
    made = who.post("/v1/keys", limits)
    other = Person(str(who.http.base_url), made["key"], who.party)
    other._signer, other._signing_id = who._signer, who._signing_id
    return other


_MADE: dict[tuple[str, str], Person] = {}


def narrowed(scene: Scene, subject: str, names: tuple[str, ...], *bound_to: str) -> Person:
    """Return the subject with a key for some operations; the same for the same wish."""
    name = (subject, json.dumps([id(scene), names, bound_to]))
    if name not in _MADE:
        limits: dict[str, Any] = {"operations": list(names), "bound_to": list(bound_to)}
        _MADE[name] = keyed(scene.people[subject], **limits)
    return _MADE[name]


def test_every_operation_has_words_and_every_address_of_the_file_is_one() -> None:
    routes = {k.partition(" #")[0] for k in ROWS}
    listed = {a for addresses in TABLE["routes"].values() for a in addresses}
    hidden = {"GET /datasets/{publisher}/{name}/{path:path}",
              "HEAD /datasets/{publisher}/{name}/{path:path}"}  # fmt: skip
    assert listed - hidden <= routes
    opened = {operation_of(key) for key in ROWS} - {None, EVERY}
    # The rest has no address of its own: it is what one may see or do behind another's.
    behind = {"key.admin", "party.read_private"}
    assert set(operations.words()) == opened | behind
    assert all(t.en and t.zh for t in operations.words().values())
    closed = {"listing.read_member", "listing.import", "party.roles"}
    assert set(TABLE["operations"]) <= set(operations.words()) | closed


def test_every_route_is_an_operation_or_closed_for_a_reason() -> None:
    routes = {k for k in ROWS if " #" not in k}
    closed = [address for addresses in TABLE["never"].values() for address in addresses]
    assert len(closed) == len(set(closed))
    opened = {key for key in routes if operation_of(key) is not None}
    assert set(closed) == routes - opened


@pytest.mark.parametrize("key", [k for k in ROWS if operation_of(k) not in (None, EVERY)])
def test_a_key_for_the_operation_gets_what_the_whole_key_gets(scene: Scene, key: str) -> None:
    row, name = ROWS[key], operation_of(key)
    assert name is not None
    subject = subject_of(row)
    assert subject is not None, "the table lets nobody in"
    wanted = row["may"][SUBJECTS.index(subject)]
    if row.get("on") == "key":
        wanted = "x"  # the key of that row may all: this one replaces and ends none that may more
    only = narrowed(scene, subject, operations.read([name]))
    answer = ask(scene, key, row, only)
    assert same(mark(answer), wanted), answer.text[:300]


def same(mark: str, wanted: str) -> bool:
    """Tell whether two answers mean the same: some are done the second time only."""
    return mark == wanted or (mark in ADMITTED and wanted in ADMITTED)


@pytest.mark.parametrize("key", [k for k in ROWS if " #" not in k])
def test_a_key_for_all_other_operations_is_refused(scene: Scene, key: str) -> None:
    row, name = ROWS[key], operation_of(key)
    subject = subject_of(row)
    implied = {n for n, more in TABLE["with"].items() if name in more}
    others = tuple(n for n in operations.words() if n != name and n not in implied)
    answer = ask(scene, key, row, narrowed(scene, subject or "B", others))
    route = key.split(" ")[1]
    if name == EVERY:
        assert answer.is_success
    elif row["may"][0] == "+" and name is None:
        assert answer.status_code in (200, 201, 204, 403)  # it looks at no key
        whole = ask(scene, key, row, scene.people["A"])
        assert answer.status_code == 403 or shape(answer) == shape(whole)
    elif any(part in route for part in OWN_KEYS):
        assert answer.status_code in (401, 403, 404)
    elif route.startswith("/feeds/"):
        assert answer.status_code == 404  # its secret link is its key
    else:
        assert answer.status_code == 403, answer.text[:300]


def shape(answer: httpx2.Response) -> Any:
    try:
        found = answer.json()
    except ValueError:
        return answer.status_code
    return sorted(found) if isinstance(found, dict) else type(found)


@pytest.mark.parametrize(
    "key", [k for k in ROWS if " #" not in k and operation_of(k) not in (None, EVERY)]
)
def test_a_bound_key_opens_what_names_its_thing_and_nothing_else(scene: Scene, key: str) -> None:
    row, route = ROWS[key], key.partition(" #")[0].split(" ")[1]
    subject = subject_of(row)
    assert subject is not None
    name = str(operation_of(key))
    names = operations.read([name])
    here = scene.things["otc" if row.get("on") == "otc" else "gz"]
    there = scene.things["gz" if row.get("on") == "otc" else "otc"]
    elsewhere = narrowed(scene, subject, names, there.listing.id)
    assert ask(scene, key, row, elsewhere).status_code == 403
    for thing in (here.listing.id, here.trade.id):
        try:
            bound = narrowed(scene, subject, names, thing)
        except Refused:
            continue  # who does not see the trade has no key for it
        answer = ask(scene, key, row, bound)
        wanted = row["may"][SUBJECTS.index(subject)] if _names(route, thing) else "x"
        assert same(mark(answer), wanted), (thing, answer.text[:300])


def _names(route: str, thing: str) -> bool:
    of_trade = ("{trade_id}", "{delivery_id}", "{period_id}", "{invoice_id}")
    of_listing = ("{listing_id}", "{report_id}", "{recall_id}")
    names = of_trade if thing.startswith("trd_") else (*of_trade, *of_listing)
    return any(name in route for name in names)


# --- a key never makes a wider one --------------------------------------------------------------


def test_a_key_never_makes_a_wider_one(hall: Hall) -> None:
    buyer = hall.person("narrow-maker", "buyer", "provider")
    maker = keyed(buyer, operations=["key.manage", "trade.read"], days=10, roles=["buyer"])
    for wider in (
        {"operations": ["trade"]},
        {"operations": ["trade.read", "upload"]},
        {"roles": ["provider"]},
    ):
        with pytest.raises(Refused):
            maker.post("/v1/keys", wider)
    same = maker.post("/v1/keys", {})
    assert [o["operation"] for o in same["operations"]] == ["key.manage", "trade.read"]
    longer = maker.post("/v1/keys", {"operations": ["trade.read"], "days": 3650})
    own = next(k for k in buyer.get("/v1/keys")["items"] if k["key_id"] == key_id(maker))
    assert longer["expires_at"] == same["expires_at"] == own["expires_at"]
    whole = buyer.post("/v1/keys", {})
    for path in (f"/v1/keys/{whole['key_id']}/rotate", f"/v1/keys/{whole['key_id']}/revoke"):
        assert maker.raw("POST", path, {}).status_code == 403
    assert maker.raw("POST", "/v1/members", {"name": "m", "roles": []}).status_code == 403
    again = maker.post(f"/v1/keys/{key_id(maker)}/rotate", {})
    assert again["expires_at"] == own["expires_at"]
    assert again["operations"] == own["operations"]


def key_id(person: Person) -> str:
    return str(person.get("/v1/me")["key_id"])


def test_a_key_bound_to_a_thing_makes_keys_for_that_thing_only(scene: Scene) -> None:
    buyer = scene.people["B"]
    one, two = scene.things["otc"].trade, scene.things["gz"].trade
    bound = keyed(buyer, operations=["trade.read", "key.manage"], bound_to=[one.id])
    assert bound.get(f"/v1/trades/{one.id}")["trade_id"] == one.id
    assert bound.raw("GET", f"/v1/trades/{two.id}").status_code == 403
    assert bound.raw("GET", "/v1/trades").status_code == 403
    # The address of keys names no trade: a bound key makes none at all.
    assert bound.raw("POST", "/v1/keys", {"operations": ["trade.read"]}).status_code == 403
    with pytest.raises(Refused):
        keyed(scene.people["b"], operations=["trade.read"], bound_to=[one.id])
    with pytest.raises(Refused):
        keyed(buyer, operations=["trade.read"], bound_to=["pty_x"])


def test_a_group_is_what_it_holds_today_and_no_name_is_guessed() -> None:
    assert operations.read(["recall"]) == operations.read(["recall.*"])
    assert operations.read(["recall"]) == ("recall.close", "recall.read")
    assert "trade.create" in operations.read(["trade.buy"])
    for wrong in ([], ["nothing"], ["trade.read.more"], ["*"], [""], ["trade."]):
        with pytest.raises(operations.InvalidInput):
            operations.read(wrong)


def test_a_key_for_some_operations_hides_what_it_was_not_made_for(scene: Scene) -> None:
    buyer, thing = scene.people["B"], scene.things["otc"]
    path = f"/v1/deliveries/{thing.delivery.id}"
    described = keyed(buyer, operations=["delivery.describe"]).get(path)
    assert all("url" not in f for f in described["files"])
    fetched = keyed(buyer, operations=["delivery"]).get(path)
    assert all("url" in f for f in fetched["files"])
    told = keyed(buyer, operations=["trade.read"]).get("/v1/me")
    assert "contact" not in told["party"]
    assert told["operations"][0]["zh"] == operations.words()["trade.read"].zh


def test_the_pages_take_whole_keys_only(hall: Hall) -> None:
    buyer = hall.person("page-user", "buyer")
    few = keyed(buyer, operations=["trade.read"])
    assert Paper(hall.address).log_in(str(few.key)).status == 403
    paper = Paper(hall.address, "en")
    paper.log_in(str(buyer.key))
    page = paper.get("/keys")
    assert page.says("read trades, their events and records")
    made = paper.send(page, "/keys/new", label="robot", operations="trade.read", roles="buyer")
    assert made.status == 201
    listed = next(k for k in buyer.get("/v1/keys")["items"] if k["label"] == "robot")
    assert [o["operation"] for o in listed["operations"]] == ["trade.read"]


def test_old_keys_may_what_they_could(hall: Hall) -> None:
    person = hall.person("old-key", "buyer")
    assert person.get("/v1/me")["operations"] is None
    assert all(k["operations"] is None for k in person.get("/v1/keys")["items"])


def test_the_command_line_makes_such_a_key_and_says_what_it_may(hall: Hall) -> None:
    from typer.testing import CliRunner

    buyer = hall.person("cli-keys", "buyer")
    env = {"YAOSU_MARKET": hall.address, "YAOSU_KEY": str(buyer.key)}
    ran = CliRunner().invoke(cli, ["keys", "new", "--operation", "trade.read", "--json"], env=env)
    assert ran.exit_code == 0, ran.output
    assert [o["operation"] for o in json.loads(ran.stdout)["operations"]] == ["trade.read"]
    listed = CliRunner().invoke(cli, ["keys", "operations", "--json"], env=env)
    assert len(json.loads(listed.stdout)["operations"]) == len(operations.words())
