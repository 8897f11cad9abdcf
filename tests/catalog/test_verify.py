"""Offline verification: what holds is said to hold, and no change stays unnoticed."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from yaosu.errors import InvalidInput, NotFound
from yaosu.identity import register_party
from yaosu.market import Market
from yaosu.model import SYSTEM, Actor, Role
from yaosu.proof import signing
from yaosu.proof.signing import Signer
from yaosu.proof.verify import verify_path
from yaosu.proof.verify_receipt import verify_receipt
from yaosu.settings import load
from yaosu.web.app import create_app
from yaosu_schemas.canonical import digest

BODY = "".join(
    json.dumps({"q": f"问{i}", "a": f"答{i}"}, ensure_ascii=False) + "\n" for i in range(40)
)


# --- one real trade, made once ----------------------------------------------------------------


class Door:
    """The market's HTTP door, for one key."""

    def __init__(self, client: TestClient, key: str = "") -> None:
        self.client, self.key = client, key

    def call(self, method: str, path: str, **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        headers |= {"Idempotency-Key": uuid.uuid4().hex, **more.pop("headers", {})}
        reply = self.client.request(method, path, headers=headers, **more)
        assert reply.status_code < 300, reply.text
        return reply

    def post(self, path: str, **body: Any) -> Any:
        return self.call("POST", path, json=body).json()

    def get(self, path: str) -> Any:
        return self.call("GET", path).json()

    def until(self, path: str, holds: Callable[[Any], bool]) -> Any:
        end = time.monotonic() + 60
        while not holds(found := self.get(path)):
            assert time.monotonic() < end, found
            time.sleep(0.05)
        return found


@dataclass
class Made:
    data: Path
    delivered: Path
    receipt: dict[str, Any]
    log_key: Signer


def _descriptor(content: bytes) -> dict[str, Any]:
    example = files("yaosu_schemas") / "json" / "example-dataset.json"
    made: dict[str, Any] = json.loads(example.read_text("utf-8"))
    fields = [{"name": "q", "type": "string"}, {"name": "a", "type": "string"}]
    made["resources"] = [
        {
            "name": "train",
            "path": "data/train.jsonl",
            "format": "jsonl",
            "mediatype": "application/jsonl",
            "encoding": "utf-8",
            "bytes": len(content),
            "hash": "sha256:" + hashlib.sha256(content).hexdigest(),
            "schema": {"fields": fields},
        }
    ]
    element = made["dataElement"]
    element["size"] = {"records": 40, "bytes": len(content)}
    element["ai"]["splits"] = [{"name": "train", "records": 40}]
    price = {"mode": "one_off", "unit": "份", "price_fen": 12345, "currency": "CNY"}
    element["offer"] |= {"pricing": [price], "trial": {"resource": "train"}}
    element["offer"] |= {"valid_from": "2026-01-01", "valid_to": "2031-01-01"}
    element["registration"] = element.get("registration") or {}
    return made


def _list(provider: Door, reviewer: Door, signer: Signer) -> str:
    content = BODY.encode()
    listing = provider.post("/v1/datasets", descriptor=_descriptor(content))["listing"][
        "listing_id"
    ]
    sha = base64.b64encode(hashlib.sha256(content).hexdigest().encode()).decode()
    tus = {"Tus-Resumable": "1.0.0"}
    begun = {"Upload-Length": str(len(content)), "Upload-Metadata": f"sha256 {sha}"}
    place = provider.call("POST", "/v1/uploads", headers={**tus, **begun}).headers["location"]
    kind = {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    provider.call("PATCH", place, content=content, headers={**tus, **kind})
    provider.post(f"/v1/listings/{listing}/submit")
    at = f"/v1/listings/{listing}"
    found = provider.until(at, lambda r: r["state"] not in ("submitted", "validating"))
    assert found["state"] == "review", found
    key = provider.post("/v1/signing-keys", public_key=signer.public_key)["key_id"]
    offer = provider.get(f"{at}/standing-offer")["digest"]
    provider.post(f"{at}/offer", signature={"key_id": key, "value": signer.sign(offer)})
    reviewer.post(f"{at}/register", text="ok")
    reviewer.post(f"{at}/list")
    return str(listing)


def _buy(buyer: Door, party: str, admins: list[Door], listing: str) -> str:
    signer = Signer.generate()
    key = buyer.post("/v1/signing-keys", public_key=signer.public_key)["key_id"]
    quote = buyer.post(f"/v1/listings/{listing}/quote", purpose="训练")
    trade = buyer.post(
        f"/v1/listings/{listing}/buy",
        wish={"purpose": "训练"},
        trade_id=quote["trade_id"],
        quoted_at=quote["quoted_at"],
        signature={"key_id": key, "value": signer.sign(quote["agreement_digest"])},
    )["trade_id"]
    for admin in admins:
        admin.post(
            f"/v1/trades/{trade}/confirm_payment",
            amount_fen=12345,
            payer=party,
            reference="bank-1",
        )
    return str(trade)


def _fetch(buyer: Door, trade: str, folder: Path) -> None:
    found = buyer.until(f"/v1/trades/{trade}", lambda t: t["state"] == "delivered")
    delivery = buyer.get(f"/v1/deliveries/{found['delivery_id']}")
    kept = [{k: f[k] for k in ("path", "bytes", "sha256")} for f in delivery["files"]]
    for file in delivery["files"]:
        target = folder / file["path"]
        target.parent.mkdir(parents=True)
        target.write_bytes(buyer.client.get(file["url"]).content)
    manifest = {**delivery, "files": kept, "content_digest": found["content_digest"]}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    buyer.post(f"/v1/trades/{trade}/accept", manifest_digest=delivery["manifest_digest"])
    end = time.monotonic() + 30
    while (
        reply := buyer.client.get(
            f"/v1/trades/{trade}/receipt", headers={"Authorization": f"Bearer {buyer.key}"}
        )
    ).status_code != 200:
        assert time.monotonic() < end, reply.text
        time.sleep(0.1)
    (folder / "receipt.json").write_bytes(reply.content)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("verify")
    market = Market(load({"data": str(folder / "data"), "reserve_bytes": 0}))
    boot = Actor(party_id="x", member_id="boot", key_id="k", roles=frozenset({Role.ADMIN}))

    def operator(slug: str, role: Role) -> str:
        roles = frozenset({role})
        return market.store.write(
            lambda tx: register_party(tx, slug=slug, name=slug, member="a", roles=roles, by=boot)
        )[1]

    with TestClient(create_app(market)) as client:
        admin = Door(client, operator("op", Role.ADMIN))
        reviewer = Door(client, operator("rev", Role.REVIEWER))
        second = operator("op-two", Role.ADMIN)
        parties = {}
        for slug, role in (("lingnan", "provider"), ("model", "buyer")):
            known = {"slug": slug, "name": slug, "member": "陈", "roles": [role]}
            known |= {"uscc": "91440300MA5FAKE086"} if role == "provider" else {}
            one = Door(client).post("/v1/parties", **known)
            admin.post(f"/v1/parties/{one['party']['party_id']}/verify", evidence="checked")
            parties[slug] = (Door(client, one["key"]), one["party"]["party_id"])
        listing = _list(parties["lingnan"][0], reviewer, Signer.generate())
        buyer, party = parties["model"]
        trade = _buy(buyer, party, [admin, Door(client, second)], listing)
        _fetch(buyer, trade, folder / "delivered")
    delivered = folder / "delivered"
    receipt = json.loads((delivered / "receipt.json").read_bytes())
    key = signing.load(next((folder / "data" / "keys").glob("log.*")))
    return Made(folder / "data", delivered, receipt, key)


@pytest.fixture
def data(made: Made, tmp_path: Path) -> Path:
    shutil.copytree(made.data, tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def delivered(made: Made, tmp_path: Path) -> Path:
    shutil.copytree(made.delivered, tmp_path / "delivered")
    return tmp_path / "delivered"


def codes(path: Path, **more: Any) -> set[str]:
    return {p.code for p in verify_path(path, **more).problems if p.severity == "error"}


# --- receipts ---------------------------------------------------------------------------------


def test_a_true_receipt_verifies_and_names_its_log(made: Made) -> None:
    report = verify_path(made.delivered / "receipt.json", log_key=made.log_key.public_key)
    assert report.valid, report.problems
    assert report.kind == "receipt"
    assert report.facts["log_key"] == made.log_key.public_key
    assert report.checked["events"] == report.checked["proofs"] == len(made.receipt["events"]) >= 10
    assert report.checked["signatures"] == 2


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict):
        for name in value:
            yield from _leaves(value[name], (*path, name))
    elif isinstance(value, list):
        for n in range(len(value)):
            yield from _leaves(value[n], (*path, n))
    yield path


def _bent(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, str):
        return value[:-1] + ("0" if value[-1:] != "0" else "1")
    if isinstance(value, list):
        return value[1:] if value else [0]
    if isinstance(value, dict):
        return {**value, "added": 1}
    return "x"


def _change(document: Any, path: tuple[Any, ...], *, drop: bool = False) -> Any:
    made = copy.deepcopy(document)
    if not path:
        return {**made, "added": 1}
    at = made
    for step in path[:-1]:
        at = at[step]
    if drop:
        del at[path[-1]]
    else:
        at[path[-1]] = _bent(at[path[-1]])
    return made


def test_no_field_of_a_receipt_can_be_changed_or_left_out(made: Made) -> None:
    paths = list(_leaves(made.receipt))
    assert len(paths) > 200
    for n, path in enumerate(paths):
        if len(path) > 2 and n % 4:
            continue  # one of four is enough where there are many alike
        for drop in (False, True) if path and n % 3 == 0 else (False,):
            report = verify_receipt(_change(made.receipt, path, drop=drop))
            assert not report.valid, (path, drop)
            assert all(p.en and p.zh for p in report.problems)


def _reseal(receipt: dict[str, Any], key: Signer) -> dict[str, Any]:
    body = {k: v for k, v in receipt.items() if k != "seal"}
    named = digest(body)
    seal = {"public_key": key.public_key, "digest": named, "value": key.sign(named)}
    return {**body, "seal": seal}


@pytest.mark.parametrize(
    ("path", "code"),
    [
        (("trade", "terms", "amount_fen"), "mismatch"),
        (("trade", "content_digest"), "mismatch"),
        (("trade", "provider", "name"), "mismatch"),
        (("trade", "voucher_no"), "unbound"),
        (("agreement", "price", "amount_fen"), "digest"),
        (("events", 0, "payload", "offer_digest"), "digest"),
        (("events", 2, "at"), "digest"),
        (("events", 2, "actor_id"), "digest"),
        (("events", 3, "to_state"), "state"),
        (("signatures", 0, "value"), "signature"),
        (("signatures", 1, "digest"), "digest"),
        (("signatures", 1, "party_id"), "party"),
        (("proofs", 1, "hashes", 0), "proof"),
        (("proofs", 1, "index"), "proof"),
        (("proofs", 1, "event_digest"), "missing"),
    ],
)
def test_not_even_the_market_can_change_what_was_agreed_and_logged(
    made: Made, path: tuple[Any, ...], code: str
) -> None:
    """The market holds the key of the seal; chain, signatures and proofs bind it all the same."""
    report = verify_receipt(_reseal(_change(made.receipt, path), made.log_key))
    assert code in {p.code for p in report.problems}
    assert "/seal/value" not in {p.pointer for p in report.problems}


def test_a_chain_cannot_be_shortened_reordered_or_rewritten(made: Made) -> None:
    events = made.receipt["events"]
    rewritten = copy.deepcopy(events)
    rewritten[1]["payload"] = {"something": "else"}
    for other in (
        events[1:],
        events[:3] + events[4:],
        [events[1], events[0], *events[2:]],
        rewritten,
    ):
        forged = _reseal({**made.receipt, "events": other}, made.log_key)
        assert not verify_receipt(forged).valid


def test_a_receipt_of_another_log_is_found_out_by_whoever_knows_the_key(made: Made) -> None:
    forger = Signer.generate()
    forged = copy.deepcopy(made.receipt)
    forged["log"]["public_key"] = forger.public_key
    del forged["log"]["verifier_key"]
    forged = _reseal(forged, forger)
    report = verify_receipt(forged, log_key=made.log_key.public_key)
    assert {"key", "unverified"} <= {p.code for p in report.problems}


@pytest.mark.parametrize(
    "junk",
    [
        {"type": "yaosu-receipt"},
        {"type": "yaosu-receipt", "version": 1, "events": 7, "trade": [], "log": None, "seal": ""},
        {"type": "yaosu-receipt", "version": True, "events": [None, 1, "x", {}], "proofs": {}},
    ],
)
def test_a_receipt_of_any_shape_gets_a_verdict(junk: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(json.dumps(junk))
    report = verify_path(tmp_path / "r.json")
    assert not report.valid
    assert report.as_json()["problems"]


def test_doubled_names_and_other_things_that_are_no_json_are_refused(
    made: Made, tmp_path: Path
) -> None:
    text = json.dumps(made.receipt)
    cases = [text.replace('"version": 1', '"version": 2, "version": 1'), "", "[" * 100_000]
    cases += [text[:-10], '{"type": NaN}']
    for n, case in enumerate(cases):
        (tmp_path / f"{n}.json").write_text(case)
        assert not verify_path(tmp_path / f"{n}.json").valid
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    assert codes(tmp_path / "bytes") == {"malformed"}


# --- reports ----------------------------------------------------------------------------------


def test_a_report_is_named_by_its_digest_and_must_agree_with_itself(
    made: Made, tmp_path: Path
) -> None:
    db = sqlite3.connect(made.data / "market.db")
    body = json.loads(db.execute("SELECT body FROM report").fetchone()[0])["body"]
    db.close()
    (tmp_path / "report.json").write_text(json.dumps(body))
    report = verify_path(tmp_path / "report.json")
    assert report.valid, report.problems
    assert report.facts["report_digest"] == made.receipt["trade"]["report_digest"]
    body["valid"] = not body["valid"]
    (tmp_path / "report.json").write_text(json.dumps(body))
    assert codes(tmp_path / "report.json") == {"mismatch"}


# --- delivered folders ------------------------------------------------------------------------


def test_a_delivered_folder_verifies_down_to_the_trade(made: Made, delivered: Path) -> None:
    for place in (delivered, delivered / "manifest.json"):
        report = verify_path(place)
        assert report.valid, report.problems
        assert report.kind == "delivery"
        assert report.checked["files"] == 1
        assert report.facts["trade_id"] == made.receipt["trade"]["trade_id"]


def test_every_change_to_a_delivered_folder_is_found(delivered: Path, tmp_path: Path) -> None:
    file = delivered / "data" / "train.jsonl"
    good = file.read_bytes()
    file.write_bytes(good[:-1] + b"x")
    assert codes(delivered) == {"digest"}
    file.write_bytes(good + b"x")
    assert codes(delivered) == {"digest", "bytes"}
    file.unlink()
    assert codes(delivered) == {"missing"}
    (tmp_path / "elsewhere").write_bytes(good)
    file.symlink_to(tmp_path / "elsewhere")
    assert codes(delivered) == {"unsafe_path"}
    file.unlink()
    file.write_bytes(good)
    (delivered / "extra.csv").write_text("1")
    report = verify_path(delivered)
    assert report.valid
    assert [p.code for p in report.problems] == ["unlisted"]
    (delivered / "receipt.json").unlink()
    assert {p.code for p in verify_path(delivered).problems} == {"unlisted", "absent"}


def test_a_manifest_of_another_delivery_or_with_wild_paths_is_found(delivered: Path) -> None:
    manifest = json.loads((delivered / "manifest.json").read_text())
    other = copy.deepcopy(manifest)
    (delivered / "data" / "b").write_text("b")
    other["files"] = [{"path": "data/b", "bytes": 1, "sha256": hashlib.sha256(b"b").hexdigest()}]
    (delivered / "manifest.json").write_text(json.dumps(other))
    assert codes(delivered) == {"digest", "unbound"}
    for path in ("../x", "/etc/passwd", "a/../../x", ".hidden", "http://x/", 7, None):
        manifest["files"][0]["path"] = path
        (delivered / "manifest.json").write_text(json.dumps(manifest))
        assert codes(delivered) & {"unsafe_path", "malformed"}


# --- data directories -------------------------------------------------------------------------


def test_a_copied_data_directory_verifies_whole(made: Made, data: Path) -> None:
    seen: list[str] = []
    report = verify_path(data, progress=lambda stage, done, total: seen.append(stage))
    assert report.valid, report.problems
    assert report.kind == "market"
    checked = report.checked
    assert checked["receipts"] == checked["trades"] == checked["blobs"] == 1
    assert checked["entries"] == checked["leaves"] == report.facts["log_size"] > 15
    assert {"events", "log", "blobs"} <= set(seen)
    assert verify_path(data / "log").valid


def test_a_live_data_directory_verifies_while_it_is_written(tmp_path: Path) -> None:
    market = Market(load({"data": str(tmp_path / "live"), "reserve_bytes": 0}))
    market.start()
    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            market.store.write(
                lambda tx: tx.record("trd_x", "noted", actor_id=SYSTEM.id, payload={"n": 1})
            )
            market.integrate()

    thread = threading.Thread(target=busy)
    thread.start()
    try:
        events = runs = 0
        while events < 12 or runs < 8:
            report = verify_path(tmp_path / "live")
            assert report.valid, report.problems
            events, runs = report.checked.get("events", 0), runs + 1
    finally:
        stop.set()
        thread.join()
        market.close()
    assert verify_path(tmp_path / "live").valid


def _edit(data: Path, *statements: str) -> None:
    """Do what someone with the database file and no scruples can do."""
    db = sqlite3.connect(data / "market.db")
    guards = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for name, _ in guards:
        db.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        db.execute(statement)
    for _, sql in guards:
        db.execute(sql)
    db.commit()
    db.close()


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("UPDATE event SET payload = '{}' WHERE id = 9", "digest"),
        ("UPDATE event SET actor_id = 'x' WHERE id = 9", "digest"),
        ("UPDATE event SET at = '2020-01-01T00:00:00.000000Z' WHERE seq = 1", "time"),
        ("DELETE FROM event WHERE seq = 1", "chain"),
        ("DELETE FROM event WHERE id = (SELECT max(id) FROM event)", "unbound"),
        ("UPDATE posting SET amount_fen = amount_fen + 1 WHERE id = 1", "unbalanced"),
        ("UPDATE posting SET event_digest = 'x'", "unbound"),
        ("DELETE FROM posting", "mismatch"),
        ("UPDATE escrow SET amount_fen = 5", "mismatch"),
        ("UPDATE leaf SET event_id = 100 - event_id WHERE place IN (3, 4)", "unlogged"),
        ("DELETE FROM leaf WHERE place = 2", "chain"),
        ("INSERT INTO log_queue VALUES (1)", "unlogged"),
        ("UPDATE leaf_digest SET head = 'x' WHERE place = 2", "mismatch"),
        ("DELETE FROM leaf_digest WHERE place = 2", "mismatch"),
        ("INSERT INTO leaf_digest VALUES ('x', 99999)", "mismatch"),
        ("UPDATE trade SET body = json_set(body, '$.state', 'completed')", "state"),
        ("UPDATE trade SET body = json_set(body, '$.agreement.note', 'x')", "digest"),
        ("UPDATE trade SET body = json_set(body, '$.signatures[0].digest', 'x')", "signature"),
        ("UPDATE view SET body = replace(body, '12345', '12344') WHERE key LIKE 'r%'", "digest"),
        ("UPDATE holding SET body = json_set(body, '$.bytes', 1)", "bytes"),
        ("UPDATE party SET body = replace(body, 'model', 'modem')", "digest"),
        ("UPDATE party SET slug = 'modem' WHERE slug = 'model'", "mismatch"),
        ("UPDATE party SET body = replace(body, '\"#\"', '\"%\"')", "digest"),
        ("UPDATE listing SET body = replace(body, '2026', '2027')", "digest"),
        ("UPDATE view SET body = replace(body, 'train', 'brain') WHERE key LIKE 'l%'", "digest"),
        ("UPDATE posting SET at = '2020-01-01T00:00:00.000000Z'", "unbound"),
        ("UPDATE job SET error = 'x'", "digest"),
        ("UPDATE reply SET body = x'7b7d'", "digest"),
        ("DROP TRIGGER event_no_update", "unguarded"),
        ("DROP TABLE posting", "database"),
    ],
)
def test_every_change_to_the_database_is_found(data: Path, statement: str, code: str) -> None:
    if statement.startswith("DROP"):
        db = sqlite3.connect(data / "market.db")
        db.execute(statement)
        db.commit()
        db.close()
    else:
        _edit(data, statement)
    assert code in codes(data)


def test_a_byte_of_a_partys_name_is_covered_while_the_market_runs(data: Path) -> None:
    """The sum of the closed file is one guard; here it is gone, as it is while a market runs."""
    (data / "market.db.sum").unlink()
    _edit(data, 'UPDATE party SET body = replace(body, \'"name":"model\', \'"name":"modem\')')
    found = verify_path(data).problems
    assert [p.pointer.split("/")[2] for p in found] == ["party"]
    assert {p.code for p in found} == {"digest"}


def test_an_unused_byte_of_a_closed_database_is_covered(data: Path) -> None:
    path = data / "market.db"
    good = path.read_bytes()
    empty = good.rindex(b"\0" * 64)
    path.write_bytes(good[:empty] + b"\1" + good[empty + 1 :])
    assert [(p.pointer, p.code) for p in verify_path(data).problems] == [("/database", "digest")]
    path.write_bytes(good)
    assert verify_path(data).valid


def test_a_rewritten_chain_does_not_fit_the_log(data: Path) -> None:
    """The whole chain of a subject is made anew, with digests that hold: the tree remembers."""
    from yaosu.proof.evidence import COVERED, event_digest

    db = sqlite3.connect(data / "market.db")
    db.row_factory = sqlite3.Row
    event = dict(
        db.execute("SELECT * FROM event WHERE subject_id LIKE 'trd_%' ORDER BY id DESC").fetchone()
    )
    event["payload"] = '{"rewritten":true}'
    event["payload_digest"] = digest({"rewritten": True})
    fresh = event_digest({k: event[k] for k in COVERED})
    db.close()
    _edit(
        data,
        f"UPDATE event SET payload = '{event['payload']}', payload_digest = "
        f"'{event['payload_digest']}', digest = '{fresh}' WHERE id = {event['id']}",
    )
    report = verify_path(data)
    assert {p.code for p in report.problems if p.pointer.startswith("/log/")} == {"mismatch"}
    assert not [p for p in report.problems if p.pointer.startswith("/events/")]


def _files_of_log(data: Path) -> list[Path]:
    found = [p for p in (data / "log").rglob("*") if p.is_file()]
    return [p for p in found if p.name not in ("lock", "origin")]


def test_no_bit_of_the_log_or_of_a_blob_can_turn_unnoticed(data: Path) -> None:
    rng = random.Random(11)
    blobs = [p for p in (data / "blobs" / "sha256").rglob("*") if p.is_file()]
    for path in [*_files_of_log(data), *blobs]:
        good = path.read_bytes()
        mode = path.stat().st_mode
        path.chmod(0o600)
        for _ in range(4):
            at = rng.randrange(len(good))
            bad = good[:at] + bytes([good[at] ^ 1 << rng.randrange(8)]) + good[at + 1 :]
            path.write_bytes(bad)
            assert not verify_path(data).valid, (path, at)
        path.unlink()
        if path.name != "next":  # only a crash leaves work for it
            assert not verify_path(data).valid, path
        path.write_bytes(good)
        path.chmod(mode)
    assert verify_path(data).valid


def test_a_forked_or_shortened_log_is_found(made: Made, data: Path) -> None:
    from yaosu.proof.checkpoint import Checkpoint, read

    tree = read((data / "log" / "checkpoint").read_bytes()).checkpoint
    fork = Checkpoint(tree.origin, tree.size, bytes(32))
    (data / "log" / "checkpoint").write_bytes(fork.signed(made.log_key))
    assert "root" in codes(data)
    longer = Checkpoint(tree.origin, tree.size + 1, tree.root)
    (data / "log" / "checkpoint").write_bytes(longer.signed(made.log_key))
    assert "missing" in codes(data)
    other = Checkpoint(tree.origin, tree.size, tree.root)
    (data / "log" / "checkpoint").write_bytes(other.signed(Signer.generate()))
    assert codes(data) == {"unverified"}
    assert "key" in codes(data, log_key=Signer.generate().public_key)


def test_what_cannot_be_verified_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        verify_path(tmp_path / "absent")
    with pytest.raises(InvalidInput):
        verify_path(tmp_path)
    (tmp_path / "x.json").write_text('{"a": 1}')
    with pytest.raises(InvalidInput):
        verify_path(tmp_path / "x.json")


def test_verification_needs_nothing_of_the_server() -> None:
    code = (
        "import sys; sys.modules['orjson'] = None\n"  # used where it is, never needed
        "import yaosu.proof.verify, yaosu.proof.verify_market, yaosu.proof.signing\n"
        "heavy = {'sqlalchemy', 'fastapi', 'tantivy', 'opencc', 'pyarrow', 'uvicorn'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    path = ":".join(p for p in sys.path if p)
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": path})
