"""What an organisation keeps on either database: one member for one person, one end for each."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from yaosu.demo import OPERATOR
from yaosu.errors import Conflict, Forbidden, Gone
from yaosu.identity import authenticate, issue_key, register_party
from yaosu.model import AccessKey, Actor, Member, Party, Role
from yaosu.model_organisation import Invitation, SignIn
from yaosu.notices import inbox
from yaosu.organisation import invitations, members, reminders, rules, sign_in
from yaosu.organisation.openid import Person
from yaosu.ports import Store

ALICE = Person(
    issuer="https://id.example", subject="alice", name="Alice", email="alice@example.org",
    email_verified=True,
)  # fmt: skip


def company(store: Store, slug: str = "acme") -> Actor:
    """Register an organisation; returns its owner."""

    def step(tx: Any) -> tuple[Party, str]:
        return register_party(
            tx, slug=slug, name=slug, member="owner", roles=frozenset({Role.BUYER}), by=OPERATOR
        )

    _, key = store.write(step)
    with store.read() as reader:
        at = reader.find(AccessKey, limit=1)[0].created_at
        return authenticate(reader, key, now=at)


def invited(store: Store, owner: Actor, **more: Any) -> tuple[Invitation, str]:
    given = {"name": "Alice", "roles": frozenset({Role.BUYER}), **more}
    return store.write(lambda tx: invitations.invite(tx, owner, **given))


def test_a_person_who_comes_twice_at_once_is_one_member(store: Store) -> None:
    owner = company(store)
    _, secret = invited(store, owner)
    found: list[object] = []

    def enter() -> None:
        try:
            key = store.write(lambda tx: sign_in.enter(tx, ALICE, invitation=secret))
            found.append(key.member_id)
        except (Gone, Conflict) as error:
            found.append(type(error))

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, found))[:3] == [str(Gone)] * 3
    with store.read() as reader:
        assert reader.count(Member, party_id=owner.party_id) == 2
        assert reader.count(SignIn) == 1
    again = store.write(lambda tx: sign_in.enter(tx, ALICE))
    assert again.member_id in found
    assert again.scope == sign_in.SESSION
    assert again.expires_at is not None
    with store.read() as reader:  # without any key of hers, she is told what there is to tell
        told = inbox.people(reader, owner.party_id, Role.BUYER, again.created_at)
    assert set(told) == {owner.member_id, again.member_id}


def test_the_same_name_of_another_issuer_is_somebody_else(store: Store) -> None:
    owner = company(store)
    _, secret = invited(store, owner)
    store.write(lambda tx: sign_in.enter(tx, ALICE, invitation=secret))
    other = replace(ALICE, issuer="https://elsewhere.example")
    with pytest.raises(Forbidden, match="invited"):
        store.write(lambda tx: sign_in.enter(tx, other))


def test_an_email_that_two_were_invited_by_binds_nobody(store: Store) -> None:
    first, second = company(store), company(store, "second")
    for owner in (first, second):
        invited(store, owner, email=ALICE.email)
    with pytest.raises(Forbidden, match="invited"):
        store.write(lambda tx: sign_in.enter(tx, ALICE, by_email=True))


def test_who_has_left_signs_in_no_more_and_comes_back_by_a_new_invitation(store: Store) -> None:
    owner = company(store)
    _, secret = invited(store, owner)
    first = store.write(lambda tx: sign_in.enter(tx, ALICE, invitation=secret))
    store.write(lambda tx: members.end(tx, owner, first.member_id))
    with store.read() as reader:
        assert reader.get(AccessKey, first.id).revoked_at is not None
    with pytest.raises(Forbidden):
        store.write(lambda tx: sign_in.enter(tx, ALICE))
    _, secret = invited(store, owner)
    again = store.write(lambda tx: sign_in.enter(tx, ALICE, invitation=secret))
    assert again.member_id != first.member_id
    with store.read() as reader:
        assert reader.count(SignIn) == 1


def test_a_key_of_a_session_is_bound_to_one_person(store: Store) -> None:
    owner, other = company(store), company(store, "other")
    made = store.write(lambda tx: sign_in.enter(tx, ALICE, by_key=owner.key_id))
    assert made.member_id == owner.member_id
    with pytest.raises(Conflict, match="somebody else"):
        store.write(lambda tx: sign_in.enter(tx, ALICE, by_key=other.key_id))


def test_members_of_before_there_were_roles_may_what_their_keys_may(store: Store) -> None:
    owner = company(store)

    def step(tx: Any) -> Member:
        old = Member(id="mbr_" + "f" * 32, party_id=owner.party_id, name="old", created_at=tx.now)
        tx.add(old)
        issue_key(tx, old, frozenset({Role.BUYER}))
        first = tx.get(Member, owner.member_id)
        tx.put(replace(first, roles=None, owner=False))
        return old

    old = store.write(step)
    with store.read() as reader:
        assert members.roles_of(reader, old) == {Role.BUYER}
        assert [m.id for m in members.owners(reader, owner.party_id)] == [owner.member_id]
        assert members.is_owner(reader, owner)


def test_time_ends_each_invitation_once(store: Store, clock: Any) -> None:
    owner = company(store)
    made, _ = invited(store, owner, days=2)
    for _ in range(3):
        clock.forward(hours=13)
        reminders.run(store)
    clock.at += timedelta(days=1)
    reminders.run(store)
    reminders.run(store)
    with store.read() as reader:
        types = [e.type for e in reader.events(owner.party_id)]
        assert types.count("invitation_reminder") == types.count("invitation_expired") == 1
        assert reader.get(Invitation, made.id).state == "expired"


def test_a_rule_names_members_who_are_there(store: Store) -> None:
    owner = company(store)
    _, secret = invited(store, owner)
    gone = store.write(lambda tx: sign_in.enter(tx, ALICE, invitation=secret)).member_id
    store.write(lambda tx: members.end(tx, owner, gone))
    with pytest.raises(Exception, match="approvers are members"):
        store.write(lambda tx: rules.add(tx, owner, "sign", [gone]))
