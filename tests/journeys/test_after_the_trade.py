"""What was bought is used, recalled and deleted, and all of it is on record."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner

import yaosu
from paper import Paper
from people import USCC, Hall, Person, Refused, small_corpus, until
from stall import delivered, offered, sold_as
from yaosu.cli import app as cli
from yaosu.client.agreements import usage_document
from yaosu.model_evidence import RecallNotice
from yaosu.organisation import reminders
from yaosu.proof import signing, voucher
from yaosu.proof.verify import verify_path
from yaosu.trading import recall
from yaosu.trading.training_content import BLANK, cell
from yaosu.trading.usage import informs
from yaosu_schemas.canonical import digest


@pytest.fixture(scope="module")
def provider(hall: Hall) -> Person:
    return hall.person("lingnan", "provider", uscc=USCC[0])


@pytest.fixture(scope="module")
def buyer(hall: Hall) -> Person:
    return hall.person("model-lab", "buyer")


def said_of(buyer: Person, trades: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """Return the body of a usage receipt over trades, signed."""
    given = {
        "model": "zhujiang-7b",
        "model_version": "1.2",
        "sources": [
            {"trade_id": t["trade_id"], "content_digest": t["content_digest"], "tokens": 1000}
            for t in trades
        ],
        **more,
    }
    return {**given, "signature": buyer.sign(digest(usage_document(buyer.id, given)))}


def asking(provider: Person, name: str) -> dict[str, Any]:
    """Return a corpus whose policy asks to be informed of use; its file is uploaded."""
    descriptor, data = small_corpus(provider, name)
    provider.upload(data)
    duty = {"action": "use", "duty": [{"action": "inform"}]}
    descriptor["dataElement"]["policy"] = {
        "@context": "http://www.w3.org/ns/odrl.jsonld",
        "@type": "Offer",
        "uid": f"urn:test:{name}",
        "permission": [duty],
    }
    return descriptor


# --- usage ---------------------------------------------------------------------------------------


def test_a_usage_receipt_is_signed_logged_and_its_partys_own(
    hall: Hall, provider: Person, buyer: Person
) -> None:
    trade = delivered(hall, buyer, offered(hall, provider, "used-zh"))
    body = said_of(buyer, [trade], run="run-1", stage="pretraining", trained_from="2026-01-01")
    kept = buyer.post("/v1/usage-receipts", body)
    assert kept["document"]["sources"][0]["trade_id"] == trade["trade_id"]
    assert signing.verify(
        kept["signature"]["public_key"], kept["digest"], kept["signature"]["value"]
    )
    path = f"/v1/usage-receipts/{kept['usage_receipt_id']}"
    assert until(lambda: buyer.get(path), lambda r: r["leaf"] is not None)["digest"] == digest(
        kept["document"]
    )
    for stranger in (provider, hall.reviewer, hall.admin, hall.person("other-lab", "buyer")):
        assert stranger.raw("GET", path).status_code == 404
        assert stranger.get("/v1/usage-receipts")["items"] == []
    assert provider.get(f"/v1/trades/{trade['trade_id']}/events")["items"][-1]["type"] != (
        "usage_reported"
    )
    events = {e["type"] for e in buyer.get("/v1/events", params={"limit": 500})["items"]}
    assert "usage_recorded" in events


def test_the_provider_learns_the_fact_only_where_the_policy_asks(
    hall: Hall, provider: Person, buyer: Person
) -> None:
    trade = delivered(hall, buyer, sold_as(hall, provider, asking(provider, "informs-zh")))
    assert informs(trade["agreement"])
    buyer.post("/v1/usage-receipts", said_of(buyer, [trade], model="secret-model"))
    last = provider.get(f"/v1/trades/{trade['trade_id']}/events")["items"][-1]
    assert last["type"] == "usage_reported"
    assert last["payload"].keys() == {"document_digest"}
    assert "secret-model" not in json.dumps(last)


def test_a_usage_receipt_of_what_was_never_delivered_or_of_another_is_refused(
    hall: Hall, provider: Person, buyer: Person
) -> None:
    other = hall.person("another-lab", "buyer")
    listing = offered(hall, provider, "strict-zh")
    trade = delivered(hall, buyer, listing)
    unpaid = buyer.buy(listing)
    wrong = {**trade, "content_digest": digest("x")}
    for person, trades, status in (
        (other, [trade], 404),
        (buyer, [unpaid], 409),
        (buyer, [wrong], 422),
        (buyer, [trade, trade], 422),
    ):
        answer = person.raw("POST", "/v1/usage-receipts", said_of(person, trades))
        assert answer.status_code == status, answer.text
    forged = said_of(buyer, [trade])
    forged["sources"][0]["tokens"] = 5
    assert buyer.raw("POST", "/v1/usage-receipts", forged).status_code == 422


def test_one_line_of_python_records_use(hall: Hall, provider: Person, buyer: Person) -> None:
    trade = delivered(hall, buyer, offered(hall, provider, "client-zh"))
    buyer.sign(digest("registers the key"))
    market = yaosu.Client(hall.address, key=buyer.key)
    kept = market.record_usage(
        "client-model", {trade["trade_id"]: 42}, version="3", key=buyer._signer, run="r"
    )
    assert [u["digest"] for u in market.usage_receipts("client-model")] == [kept["digest"]]
    found = market.training_content("client-model", "3")
    licensed = next(r for r in found["rows"] if r["section"] == "2.2")
    assert [d["trade_id"] for d in licensed["value"]] == [trade["trade_id"]]
    assert licensed["value"][0]["tokens_used"] == 42


def test_the_exports_fill_what_is_known_and_name_what_is_blank(
    hall: Hall, provider: Person, buyer: Person
) -> None:
    trade = delivered(hall, buyer, offered(hall, provider, "exported-zh"))
    found = buyer.get("/v1/training-content")
    sections = {r["section"] for r in found["rows"]}
    assert {"1.1", "1.2", "1.3", "2.1", "2.2", "2.3", "2.4", "2.5", "3.1", "3.2"} <= sections
    for row in found["rows"]:
        assert (row["value"] is None) == (row["blank"] == BLANK.en), row
    assert any(r["blank"] for r in found["rows"])
    records = buyer.get("/v1/source-records")["items"]
    mine = next(r for r in records if r["content_digest"] == trade["content_digest"])
    assert mine["contract_no"] == trade["agreement"]["contract_no"]
    assert mine["supplier_uscc"] == USCC[0]
    answer = buyer.raw("GET", "/v1/source-records", params={"format": "csv"})
    rows = list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert len(rows) == len(records) + 1
    assert BLANK.zh in rows[1]
    answer = buyer.raw("GET", "/v1/training-content", params={"format": "csv"})
    assert len(list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"))))) == (
        len(found["rows"]) + 1
    )
    assert buyer.raw("GET", "/v1/source-records", params={"format": "xls"}).status_code == 422
    assert provider.raw("GET", "/v1/source-records").status_code == 403


@pytest.mark.parametrize("text", ["=1+1", "+1", "-x", "@a", "\tx", "\rx", "＝1", "＠x"])
def test_no_cell_of_an_export_is_run_by_a_spreadsheet(text: str) -> None:
    assert cell(text) == f"'{text}"
    assert cell([text]) == f"'{text}"
    assert cell(-5) == -5


def test_what_an_organisation_declares_waits_for_a_colleague(
    hall: Hall, provider: Person, tmp_path: Path
) -> None:
    owner = hall.person("careful-lab", "buyer")
    clerk = hall.second(owner, "buyer")
    head = owner.get("/v1/me")["member_id"]
    owner.post("/v1/approval-rules", {"step": "declare", "approvers": [head]})
    listing = offered(hall, provider, "declared-zh", price_fen=3)
    trade = delivered(hall, clerk, listing)
    asked = clerk.raw("POST", "/v1/usage-receipts", said_of(clerk, [trade], model="held-model"))
    assert (asked.status_code, asked.json()["waits_for"]) == (202, "approver")
    assert clerk.get("/v1/usage-receipts")["items"] == []
    path = f"/v1/approvals/{asked.json()['approval_id']}"
    assert owner.get(path)["declares"] == {
        "model": "held-model", "model_version": "1.2", "trades": [trade["trade_id"]],
    }  # fmt: skip
    shown = CliRunner().invoke(
        cli,
        ["approvals", "show", asked.json()["approval_id"]],
        env={"YAOSU_MARKET": hall.address, "YAOSU_KEY": str(owner.key)},
    )
    assert f"held-model, 1.2, {trade['trade_id']}" in shown.output
    for language, said in (("en", "held-model"), ("zh", "登记训练使用")):
        paper = Paper(hall.address, language)
        paper.log_in(str(owner.key))
        assert paper.get("/waiting").says(said)
    assert clerk.raw("POST", f"{path}/approve", {}).status_code == 403
    assert owner.post(f"{path}/approve")["state"] == "done"
    (kept,) = clerk.get("/v1/usage-receipts")["items"]
    assert kept["usage_receipt_id"] == asked.json()["subject_id"]

    provider.post(f"/v1/listings/{listing}/recall", {"reason": "r"})
    place = f"/v1/trades/{trade['trade_id']}"
    statement = clerk.get(f"{place}/recall")
    body = {"statement": "deleted", "signature": clerk.sign(statement["digest"])}
    waits = clerk.raw("POST", f"{place}/confirm-deletion", body)
    assert waits.status_code == 202
    reminders.run(hall.market.store)
    path = f"/v1/approvals/{waits.json()['approval_id']}"
    assert owner.get(path)["declares"] == {"statement": "deleted"}
    assert clerk.get(f"{place}/recall")["notices"][0]["state"] == "pending"
    assert owner.post(f"{path}/approve")["state"] == "done"
    assert clerk.get(f"{place}/recall")["notices"][0]["state"] == "confirmed"
    found = verify_path(hall.market.settings.folder)
    assert found.valid, found.problems
    assert found.checked["steps under a rule"] == 2


# --- recalls -------------------------------------------------------------------------------------


def test_a_recall_stops_everything_and_tracks_who_has_deleted(
    any_hall: Hall, tmp_path: Path
) -> None:
    hall = any_hall
    provider = hall.person("recaller", "provider", uscc=USCC[1])
    buyers = [hall.person(f"lab-{n}", "buyer") for n in range(2)]
    listing = offered(hall, provider, "recalled-zh")
    trades = [delivered(hall, b, listing) for b in buyers]
    unpaid = buyers[0].buy(listing)
    links = [
        b.get(f"/v1/deliveries/{t['delivery_id']}")["files"][0]["url"]
        for b, t in zip(buyers, trades, strict=True)
    ]
    assert [httpx2.get(u).status_code for u in links] == [200, 200]
    buyers[0].post("/v1/usage-receipts", said_of(buyers[0], [trades[0]]))

    made = provider.post(f"/v1/listings/{listing}/recall", {"reason": "consent withdrawn"})
    assert made["counts"] == {"pending": 2, "confirmed": 0, "informed": 1, "released": 0}
    assert [httpx2.get(u).status_code for u in links] == [404, 404]
    assert hall.stranger.get(f"/v1/listings/{listing}")["state"] == "suspended"
    hall.pay(unpaid)  # money may still arrive: nothing is delivered for it
    assert buyers[0].get(f"/v1/trades/{unpaid['trade_id']}")["state"] == "filed"
    for person, path in ((provider, "deliver"),):
        assert person.raw("POST", f"/v1/trades/{unpaid['trade_id']}/{path}", {}).status_code == 409
    assert hall.reviewer.raw("POST", f"/v1/listings/{listing}/resume", {}).status_code == 409
    assert (
        provider.raw("POST", f"/v1/listings/{listing}/recall", {"reason": "again"}).status_code
        == 409
    )

    place = f"/v1/trades/{trades[0]['trade_id']}"
    asked = buyers[0].get(f"{place}/recall")
    assert asked["notices"][0]["state"] == "pending"
    assert "recalled" in {e["type"] for e in buyers[0].get(f"{place}/events")["items"]}
    wrong = buyers[0].raw(
        "POST",
        f"{place}/confirm-deletion",
        {"statement": "never_fetched", "signature": buyers[0].sign(asked["digest"])},
    )
    assert wrong.status_code == 422  # signed was another statement
    body = {"signature": buyers[0].sign(asked["digest"])}
    assert buyers[1].raw("POST", f"{place}/confirm-deletion", body).status_code == 404
    done = buyers[0].post(f"{place}/confirm-deletion", body)
    assert done["notices"][0]["state"] == "confirmed"
    assert done["document"] is None
    assert buyers[0].raw("POST", f"{place}/confirm-deletion", body).status_code == 409

    seen = provider.get(f"/v1/recalls/{made['recall_id']}")
    assert seen["counts"]["confirmed"] == 1
    first = next(t for t in seen["trades"] if t["trade_id"] == trades[0]["trade_id"])
    assert first["statement"] == "deleted"
    assert signing.verify(
        first["signature"]["public_key"], digest(first["document"]), first["signature"]["value"]
    )
    assert first["usage"] == []  # its agreement does not ask: the provider learns nothing
    operator = hall.admin.get(f"/v1/recalls/{made['recall_id']}")["trades"]
    assert [u["model"] for t in operator for u in t["usage"]] == ["zhujiang-7b"]
    for stranger in (*buyers, hall.person("other", "provider", uscc=USCC[2])):
        assert stranger.raw("GET", f"/v1/recalls/{made['recall_id']}").status_code == 404
        assert stranger.get("/v1/recalls")["items"] == []
    hall.market.integrate()
    folder, url = hall.market.settings.folder, hall.market.settings.database_url
    report = verify_path(folder, database_url=url)
    assert report.valid, report.problems
    assert report.checked["records"] > 20
    assert report.checked["entries"] == report.checked["events"]
    env = {**os.environ, "YAOSU_DATABASE_URL": url}
    command = [str(Path(sys.executable).parent / "yaosu"), "verify", str(folder), "--json"]
    ran = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout
    assert json.loads(ran.stdout)["checked"]["events"] == report.checked["events"]


def test_the_same_content_under_another_name_is_found(hall: Hall, provider: Person) -> None:
    """Own copies are stopped with it; a copy of another provider is named to operators."""
    other = hall.person("copyist", "provider", uscc=USCC[3])
    listings = [offered(hall, p, n) for p, n in ((provider, "one-zh"), (provider, "two-zh"))]
    foreign = offered(hall, other, "copied-zh")
    made = provider.post(f"/v1/listings/{listings[0]}/recall", {"reason": "r"})
    assert listings[1] in made["same_content"]
    assert hall.stranger.get(f"/v1/listings/{listings[1]}")["state"] == "suspended"
    assert hall.stranger.get(f"/v1/listings/{foreign}")["state"] == "listed"
    assert made["elsewhere"] >= 1
    assert foreign in hall.reviewer.get(f"/v1/recalls/{made['recall_id']}")["elsewhere"]
    taken = hall.reviewer.post(f"/v1/listings/{foreign}/recall", {"reason": "takedown"})
    assert hall.stranger.get(f"/v1/listings/{foreign}")["state"] == "suspended"
    # What an operator took down, its provider cannot bring back.
    path = f"/v1/recalls/{taken['recall_id']}/close"
    assert other.raw("POST", path, {"reason": "mine"}).status_code == 403


def test_a_recall_of_files_names_files_of_the_version(hall: Hall, provider: Person) -> None:
    listing = offered(hall, provider, "files-zh")
    found = provider.get(f"/v1/listings/{listing}")["descriptor"]["resources"][0]["hash"]
    path = f"/v1/listings/{listing}/recall"
    for bad in ({"scope": "files"}, {"scope": "files", "files": ["0" * 64]}, {"scope": "all"}):
        assert provider.raw("POST", path, {"reason": "r", **bad}).status_code == 422
    assert provider.raw("POST", path, {"reason": " "}).status_code == 422
    made = provider.post(path, {"reason": "one file", "scope": "files", "files": [found]})
    assert made["files"] == [found.removeprefix("sha256:")]


def test_what_a_recall_closed_opens_again_when_it_ends(hall: Hall, provider: Person) -> None:
    buyer = hall.person("patient-lab", "buyer")
    listing = offered(hall, provider, "back-zh", price_fen=777)
    trade = delivered(hall, buyer, listing)
    link = buyer.get(f"/v1/deliveries/{trade['delivery_id']}")["files"][0]["url"]
    made = provider.post(f"/v1/listings/{listing}/recall", {"reason": "a mistake"})
    assert httpx2.get(link).status_code == 404
    ended = provider.post(f"/v1/recalls/{made['recall_id']}/close", {"reason": "cleared"})
    assert (ended["state"], ended["counts"]["released"]) == ("closed", 1)
    for same in made["same_content"]:
        found = next(r for r in provider.get("/v1/recalls")["items"] if r["listing_id"] == same)
        provider.post(f"/v1/recalls/{found['recall_id']}/close", {"reason": "cleared"})
    assert httpx2.get(link).status_code == 200
    hall.reviewer.post(f"/v1/listings/{listing}/resume")
    assert hall.stranger.get(f"/v1/listings/{listing}")["state"] == "listed"


def test_a_recall_of_many_trades_goes_on_as_a_job(
    hall: Hall, provider: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recall.spread, "__defaults__", (2,))
    buyer = hall.person("many-lab", "buyer")
    descriptor, data = small_corpus(provider, "many-zh", mode="free")
    data += b'{"instruction": "only here", "output": "x"}\n'
    descriptor["resources"][0] |= {
        "bytes": len(data),
        "hash": f"sha256:{hashlib.sha256(data).hexdigest()}",
    }
    descriptor["dataElement"]["size"] = {"records": 41, "bytes": len(data)}
    provider.upload(data)
    listing = sold_as(hall, provider, descriptor)
    trades = [delivered(hall, buyer, listing) for _ in range(5)]
    links = [buyer.get(f"/v1/deliveries/{t['delivery_id']}")["files"][0]["url"] for t in trades]
    made = provider.post(f"/v1/listings/{listing}/recall", {"reason": "r"})
    # At once, whatever the job has still to do.
    assert {httpx2.get(u).status_code for u in links} == {404}
    seen = until(
        lambda: provider.get(f"/v1/recalls/{made['recall_id']}"), lambda r: r["reached_all"]
    )
    assert seen["counts"]["pending"] == 5
    with hall.market.store.read() as reader:
        assert reader.count(RecallNotice, recall_id=made["recall_id"]) == 5


def test_one_call_of_python_confirms_a_deletion(hall: Hall, provider: Person) -> None:
    buyer = hall.person("python-lab", "buyer")
    listing = offered(hall, provider, "confirm-zh")
    trade = delivered(hall, buyer, listing)
    provider.post(f"/v1/listings/{listing}/recall", {"reason": "r"})
    buyer.sign(digest("registers the key"))
    mine = yaosu.Client(hall.address, key=buyer.key).trade(trade["trade_id"])
    done = mine.confirm_deletion("never_fetched", key=buyer._signer)
    assert done["notices"][0]["statement"] == "never_fetched"
    with pytest.raises(yaosu.errors.Conflict):
        mine.confirm_deletion(key=buyer._signer)


def test_a_voucher_says_that_its_data_was_recalled(hall: Hall, provider: Person) -> None:
    buyer = hall.person("voucher-lab", "buyer")
    listing = offered(hall, provider, "vouch-zh")
    trade = delivered(hall, buyer, listing)
    _, manifest = buyer.fetch(trade)
    path = f"/v1/trades/{trade['trade_id']}"
    buyer.post(f"{path}/accept", {"manifest_digest": manifest})
    answer = until(lambda: buyer.raw("GET", f"{path}/receipt"), lambda a: a.status_code == 200)
    code = voucher.code_of(answer.json())
    assert hall.stranger.get(f"/v1/vouchers/{code}")["status"] == "valid"
    provider.post(f"/v1/listings/{listing}/recall", {"reason": "r"})
    assert hall.stranger.get(f"/v1/vouchers/{code}")["status"] == "recalled"
    assert re.search("召回", httpx2.get(f"{hall.address}/verify/{code}").text)
    with pytest.raises(Refused):
        hall.stranger.get(f"{path}/recall")


def logged_in(hall: Hall, person: Person) -> httpx2.Client:
    browser = httpx2.Client(base_url=hall.address, follow_redirects=True)
    token = re.search(r'name="([a-z_]+)" value="([^"]+)"', browser.get("/login").text)
    assert token is not None
    browser.post("/login", data={token[1]: token[2], "key": str(person.key)})
    return browser


def token_of(page: str) -> dict[str, str]:
    found = re.search(r'<input type="hidden" name="([a-z_]+)" value="([^"]+)">', page)
    assert found is not None
    return {found[1]: found[2]}


def test_the_pages_lead_from_a_recall_to_a_confirmed_deletion(hall: Hall, provider: Person) -> None:
    buyer = hall.person("page-lab", "buyer")
    held = buyer.post("/v1/signing-keys", {"held_by": "platform"})["key_id"]
    listing = offered(hall, provider, "paged-zh")
    trade = delivered(hall, buyer, listing)
    buyer.post("/v1/usage-receipts", said_of(buyer, [trade]))
    office, desk = logged_in(hall, provider), logged_in(hall, buyer)
    page = desk.get("/training").text
    assert "zhujiang-7b" in page
    assert BLANK.zh in page
    for name in ("training-content.csv", "training-content.json", "source-records.csv"):
        answer = desk.get(f"/training/{name}")
        assert answer.status_code == 200
        assert answer.headers["content-disposition"].endswith(f'"{name}"')
    assert desk.get("/training/other.csv").status_code == 404
    assert office.get("/training").status_code == 403
    form = office.get(f"/recalls?listing_id={listing}").text
    made = office.post(
        "/recalls", data={**token_of(form), "listing_id": listing, "reason": "同意被撤回"}
    )
    assert made.status_code == 200
    assert "同意被撤回" in made.text
    assert "page-lab" in made.text
    assert "zhujiang-7b" not in made.text
    path = f"/trades/{trade['trade_id']}"
    assert f"{path}/recall" in desk.get(path).text
    asked = desk.get(f"{path}/recall").text
    assert "同意被撤回" in asked
    done = desk.post(
        f"{path}/confirm-deletion/deleted", data={**token_of(asked), "key": f"{held}:platform"}
    )
    assert done.status_code == 200
    assert "全部副本已删除" in desk.get(f"{path}/recall").text
    assert "全部副本已删除" in office.get(str(made.url)).text
    ended = office.post(f"{made.url}/close", data={**token_of(made.text), "reason": "完成"})
    assert ended.status_code == 200
    assert office.get(f"{path}/recall").status_code == 200
    assert logged_in(hall, hall.person("nosy", "buyer")).get(f"{path}/recall").status_code == 404


def test_the_command_line_records_use_recalls_and_confirms(
    hall: Hall, provider: Person, tmp_path: Path
) -> None:
    buyer = hall.person("terminal-lab", "buyer")
    buyer.post("/v1/signing-keys", {"held_by": "platform"})
    listing = offered(hall, provider, "typed-zh")
    trade = delivered(hall, buyer, listing)

    def run(person: Person, *words: str, code: int = 0) -> str:
        env = {**os.environ, "YAOSU_MARKET": hall.address, "YAOSU_KEY": str(person.key)}
        command = [str(Path(sys.executable).parent / "yaosu"), *words]
        ran = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert ran.returncode == code, ran.stderr
        return ran.stdout

    assert "usage record MODEL --trade TRADE" in run(buyer, "usage", "list")
    said = run(buyer, "usage", "summary")
    assert "['" not in said, "values are words, not a notation of Python"
    assert "已购数据规模：记录数" in said
    assert "/typed-zh v" in said
    named = f"{trade['trade_id']}=77"
    kept = run(buyer, "usage", "record", "typed-model", "--trade", named, "--platform", "--json")
    assert json.loads(kept)["document"]["sources"][0]["tokens"] == 77
    assert "typed-model" in run(buyer, "usage", "list")
    assert run(buyer, "usage", "record", "m", "--trade", "x=y", "--platform", code=2) == ""
    made = json.loads(run(provider, "recall", "start", listing, "--reason", "r", "--json"))
    assert "deleted" in run(buyer, "recall", "confirm", trade["trade_id"], "--platform")
    shown = run(provider, "recall", "show", made["recall_id"])
    assert "confirmed" in shown
    run(provider, "recall", "close", made["recall_id"], "--reason", "done")
    assert "closed" in run(provider, "recall", "list")
