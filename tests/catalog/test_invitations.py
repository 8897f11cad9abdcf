"""A link makes one person, once, a member of an organisation; who leaves is out at once."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from paper import Paper
from people import Hall, Person, Refused, open_hall
from yaosu.model import AccessKey
from yaosu.model_organisation import Invitation
from yaosu.organisation import reminders


@pytest.fixture(params=["sqlite", "postgresql"])
def both(request: pytest.FixtureRequest, tmp_path: Path, clock: Any) -> Iterator[tuple[Hall, Any]]:
    """A market on each database in turn, with a clock that the test holds."""
    url = request.getfixturevalue("migrated_url") if request.param == "postgresql" else ""
    with open_hall(tmp_path / "data", database_url=url, clock=clock) as found:
        yield found, clock


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hall]:
    with open_hall(tmp_path_factory.mktemp("invitations")) as found:
        yield found


@pytest.fixture(scope="module")
def owner(hall: Hall) -> Person:
    return hall.person("inviting", "buyer", "provider")


def invite(by: Person, **more: Any) -> tuple[str, str]:
    """Invite somebody; returns the invitation's id and the secret of its link."""
    made = by.post("/v1/invitations", {"name": "李工", "roles": ["buyer"], **more})
    return made["invitation_id"], made["link"].rsplit("/", 1)[1]


def accept(hall: Hall, secret: str, by: Person | None = None) -> tuple[int, dict[str, Any]]:
    who = by or hall.stranger
    answer = who.raw("POST", "/v1/invitations/accept", {"secret": secret, "name": "李明"})
    return answer.status_code, answer.json()


def test_one_person_comes_in_by_a_link_however_often_it_is_opened(
    both: tuple[Hall, Any],
) -> None:
    hall, _ = both
    owner = hall.person("inviting", "buyer", "provider")
    invitation, secret = invite(owner)
    with hall.market.store.read() as reader:
        kept = reader.get(Invitation, invitation)
    assert kept.secret_sha256 == hashlib.sha256(secret.encode()).hexdigest()
    assert secret not in str(owner.get("/v1/invitations"))
    answers: list[tuple[int, dict[str, Any]]] = []
    threads = [
        threading.Thread(target=lambda: answers.append(accept(hall, secret))) for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(status for status, _ in answers) == [201, 410, 410, 410, 410]
    made = next(body for status, body in answers if status == 201)
    new = Person(hall.address, made["key"])
    assert new.get("/v1/me")["roles"] == ["buyer"]
    assert new.get("/v1/me")["party"]["party_id"] == owner.id
    assert [m["name"] for m in owner.get("/v1/members")["items"]] == ["inviting", "李明"]
    assert owner.get("/v1/invitations")["items"][0]["state"] == "accepted"
    assert accept(hall, secret)[0] == 410


def test_an_invitation_is_called_to_mind_once_and_ends_on_its_day(both: tuple[Hall, Any]) -> None:
    hall, clock = both
    owner = hall.person("inviting", "buyer")
    _, secret = invite(owner)
    assert invite(owner)[1] != secret
    for days in (1, 5.5, 0.2):
        clock.forward(days=days)
        reminders.run(hall.market.store)
    seen = [e["type"] for e in owner.get("/v1/events?limit=500")["items"]]
    assert seen.count("invitation_reminder") == 2  # one for each
    assert "invitation_expired" not in seen
    clock.forward(days=1)
    assert accept(hall, secret)[0] == 410  # before the sweep has come by
    reminders.run(hall.market.store)
    assert {i["state"] for i in owner.get("/v1/invitations")["items"]} == {"expired"}


def test_what_was_taken_back_opens_nothing(hall: Hall, owner: Person) -> None:
    invitation, secret = invite(owner)
    owner.post(f"/v1/invitations/{invitation}/revoke")
    assert accept(hall, secret)[0] == 410
    with pytest.raises(Refused, match="revoked"):
        owner.post(f"/v1/invitations/{invitation}/revoke")


@pytest.mark.parametrize("secret", ["", "x", "0" * 300, "\u4e2d", "../admin"])
def test_a_made_up_link_is_like_one_that_is_over(hall: Hall, secret: str) -> None:
    status, problem = accept(hall, secret)
    assert status in (410, 422)
    assert "invit" in str(problem) or status == 422


def test_only_an_owner_invites_and_nobody_gives_what_they_have_not(
    hall: Hall, owner: Person
) -> None:
    _, secret = invite(owner)
    clerk = Person(hall.address, accept(hall, secret)[1]["key"])
    for method, path, body in (
        ("POST", "/v1/invitations", {"name": "x"}),
        ("GET", "/v1/invitations", None),
        ("POST", "/v1/members", {"name": "x", "roles": []}),
    ):
        assert clerk.raw(method, path, body).status_code == 403, path
    with pytest.raises(Refused, match="role that they do not have"):
        owner.post("/v1/invitations", {"name": "x", "roles": ["admin"]})


def test_an_owner_by_invitation_may_do_what_an_owner_may(hall: Hall, owner: Person) -> None:
    _, secret = invite(owner, owner=True, roles=["buyer", "provider"])
    second = Person(hall.address, accept(hall, secret)[1]["key"])
    invite(second)
    assert [m["owner"] for m in second.get("/v1/members")["items"]].count(True) == 2


def test_who_is_here_already_gets_the_role_and_who_is_elsewhere_stays(
    hall: Hall, owner: Person
) -> None:
    _, secret = invite(owner)
    status, made = accept(hall, secret)
    clerk = Person(hall.address, made["key"])
    _, secret = invite(owner, roles=["provider"])
    elsewhere = hall.person("elsewhere", "buyer")
    status, problem = accept(hall, secret, elsewhere)
    assert (status, "another organisation" in problem["detail"]) == (409, True)
    status, again = accept(hall, secret, clerk)
    assert status == 201
    assert again["member_id"] == made["member_id"]
    assert again["roles"] == ["buyer", "provider"]
    assert again["key"] is None


def test_who_leaves_is_out_at_once_and_the_last_owner_stays(hall: Hall) -> None:
    owner = hall.person("leaving", "buyer")
    _, secret = invite(owner)
    made = accept(hall, secret)[1]
    clerk = Person(hall.address, made["key"])
    paper = Paper(hall.address, "en")
    assert paper.log_in(made["key"]).status == 200
    owner.post(f"/v1/members/{made['member_id']}/end")
    assert clerk.raw("GET", "/v1/me").status_code == 401
    assert paper.get("/waiting").url.path == "/login"
    with hall.market.store.read() as reader:
        keys = reader.find(AccessKey, member_id=made["member_id"])
    assert all(k.revoked_at for k in keys)
    mine = owner.get("/v1/me")["member_id"]
    with pytest.raises(Refused, match="last owner"):
        owner.post(f"/v1/members/{mine}/end")


def test_a_member_is_invited_and_comes_in_on_pages_without_scripts(hall: Hall) -> None:
    owner = hall.person("paper-inviting", "buyer")
    desk = Paper(hall.address, "en")
    assert owner.key
    desk.log_in(owner.key)
    page = desk.get("/organisation")
    page = desk.send(page, "/organisation/invitations", name="王工", roles="buyer")
    assert page.status == 201
    assert page.says("shown this once")
    start = f"{hall.address}/join/"
    found = next(word for word in page.words.split() if word.startswith(start))
    guest = Paper(hall.address, "zh")
    page = guest.get(found.removeprefix(hall.address))
    assert page.says("paper-inviting")
    page = guest.send(page, page.forms[-1].action, name="王芳")
    assert page.status == 201
    page = desk.get("/organisation")
    assert page.says("王芳")
    form = next(f for f in page.forms if f.action.endswith("/end"))
    page = desk.send(page, form.action)
    assert page.says("Left")
