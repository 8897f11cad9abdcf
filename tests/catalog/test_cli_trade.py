"""Every step of listings and trades by command line: exchange, notice, negotiation, dispute."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from people import USCC, Hall, Person, open_hall, small_corpus, until
from stall import offered
from terminal import Terminal, terminal_in


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hall]:
    with open_hall(tmp_path_factory.mktemp("hall")) as found:
        found.provider = found.person("lingnan", "provider", uscc=USCC[0])  # type: ignore[attr-defined]
        found.buyer = found.person("model-lab", "buyer")  # type: ignore[attr-defined]
        yield found


@pytest.fixture
def yaosu(
    hall: Hall, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Terminal]:
    for found in terminal_in(tmp_path, capsys, monkeypatch):
        monkeypatch.setenv("YAOSU_MARKET", hall.address)
        yield found


def in_review(
    yaosu: Terminal, hall: Hall, folder: Path, name: str, *words: str, **price: Any
) -> str:
    """Submit a small corpus; returns the listing that waits for review."""
    provider: Person = hall.provider  # type: ignore[attr-defined]
    descriptor, data = small_corpus(provider, name, **price)
    (folder / "data").mkdir(parents=True)
    (folder / "data/train.jsonl").write_bytes(data)
    (folder / "datapackage.json").write_text(json.dumps(descriptor), "utf-8")
    done = yaosu.ok("submit", folder, *words, key=provider.key)
    assert done["listing"]["state"] == "review"
    return str(done["listing"]["listing_id"])


def test_a_place_of_trading_with_certificate_notice_and_filing(
    yaosu: Terminal, hall: Hall, tmp_path: Path
) -> None:
    exchange = hall.person("gz-exchange", "exchange")
    admin, provider = hall.admin.key, hall.provider.key  # type: ignore[attr-defined]
    buyer = hall.buyer.key  # type: ignore[attr-defined]
    yaosu.ok(
        "party", "set-venue", "gz", "--name", "广州", "--party", exchange.id, "--certificate",
        "--filing", "--fee-permyriad", 300, key=admin,
    )  # fmt: skip
    listing = in_review(yaosu, hall, tmp_path / "c", "exchange-zh", "--venue", "gz", "--offer",
                        "--signing-key", _key(yaosu, provider, tmp_path / "p.pem"))  # fmt: skip

    said = yaosu("review", "register", listing, key=exchange.key)
    assert said.code == 2
    assert "登记凭证" in said.err
    certificate = ("--scheme", "sz", "--number", "SZ-2026-0001", "--agency", "示例登记机构",
                   "--registered-at", "2026-01-01", "--valid-until", "2100-01-01")  # fmt: skip
    registered = yaosu.ok("review", "register", listing, *certificate)
    assert registered["certificate"]["number"] == "SZ-2026-0001"
    yaosu.ok("review", "comment", listing, "已核对登记凭证")
    assert yaosu.ok("review", "publish", listing)["state"] == "listed"

    key = _key(yaosu, buyer, tmp_path / "b.pem")
    words = ("buy", listing, "--purpose", "训练", "--yes", "--signing-key", key)
    trade = yaosu.ok(*words, key=buyer)
    assert trade["state"] == "signed"
    filed = yaosu.ok("trade", "file", trade["trade_id"], "BA-0001", key=exchange.key)
    assert filed["filing_no"] == "BA-0001"
    yaosu.ok("trade", "pay", trade["trade_id"], "--reference", "B1")
    until(lambda: yaosu.ok("trade", "show", trade["trade_id"])["state"], "delivered".__eq__)
    yaosu.ok("trade", "accept", trade["trade_id"], key=buyer)
    for step in ("bill", "settle", "voucher"):
        done = yaosu.ok("trade", step, trade["trade_id"], key=exchange.key)
    assert done["state"] == "vouchered"
    assert done["fee_fen"] == 10_001 * 300 // 10_000
    refused = yaosu.ok(*words, key=buyer)["trade_id"]
    reason = ("--reason", "材料不全")
    done = yaosu.ok("trade", "refuse-filing", refused, *reason, key=exchange.key)
    assert done["state"] == "terminated"


def test_a_purchase_waits_for_its_delivery_and_says_what_comes_first(
    yaosu: Terminal, hall: Hall, tmp_path: Path
) -> None:
    listing = offered(hall, hall.provider, "free-zh", price_fen=0)  # type: ignore[attr-defined]
    buyer = hall.buyer.key  # type: ignore[attr-defined]
    key = _key(yaosu, buyer, tmp_path / "b.pem")
    said = yaosu("buy", listing, "--purpose", "训练", "--signing-key", key, key=buyer)
    assert said.code == 0, said.err
    assert said.out.index("the data: yaosu fetch trd_") < said.out.index("is 'delivered'")
    assert "redeliver" not in said.out
    trade = said.out.split("yaosu fetch ")[1].split()[0]
    told = yaosu("trade", "reject", trade, "--reason", "incomplete", key=buyer)
    assert "trade redeliver (provider)" in told.out  # now it is the provider's turn


def _key(yaosu: Terminal, key: str, file: Path) -> Path:
    yaosu.ok("keys", "new-signing", "--file", file, key=key)
    return file


def test_a_public_notice_with_an_objection_and_its_answer(
    yaosu: Terminal, hall: Hall, tmp_path: Path
) -> None:
    exchange = hall.exchange("sz-notice", notice_days=5)
    provider = hall.provider.key  # type: ignore[attr-defined]
    buyer = hall.buyer.key  # type: ignore[attr-defined]
    listing = in_review(yaosu, hall, tmp_path / "c", "notice-zh", "--venue", "sz-notice")
    assert yaosu.ok("review", "notice", listing, key=exchange.key)["state"] == "notice"
    yaosu.ok("listing", "object", listing, "来源存疑", key=buyer)
    yaosu.ok("listing", "answer", listing, "来源说明见附件", key=provider)
    said = yaosu("review", "close-notice", listing, key=exchange.key)
    assert said.code == 2
    assert "公示期至" in said.err
    assert yaosu.ok("review", "uphold", listing, "--reason", "异议成立")["state"] == "returned"
    kinds = [r["kind"] for r in yaosu.ok("listing", "show", listing, key=provider)["remarks"]]
    assert kinds == ["objection", "answer", "return"]


@pytest.fixture(scope="module")
def listed(hall: Hall) -> str:
    """A listing at a negotiable price, without a standing offer."""
    provider: Person = hall.provider  # type: ignore[attr-defined]
    descriptor, data = small_corpus(provider, "talk-zh", mode="negotiated")
    provider.upload(data)
    listing = provider.draft(descriptor)["listing_id"]
    assert provider.submit(listing)["state"] == "review"
    hall.listed(provider, listing)
    return str(listing)


def test_a_negotiation_to_the_end_with_every_kind_of_step(
    yaosu: Terminal, hall: Hall, listed: str, tmp_path: Path
) -> None:
    provider, buyer = hall.provider.key, hall.buyer.key  # type: ignore[attr-defined]
    theirs, ours = _key(yaosu, provider, tmp_path / "p"), _key(yaosu, buyer, tmp_path / "b")
    wish = ("--purpose", "评测", "--amount-fen", 5000, "--days", 30)
    trade = yaosu.ok("trade", "intent", listed, *wish, key=buyer)["trade_id"]
    yaosu.ok("trade", "answer", trade, "--amount-fen", 9000, "--note", "含更新", key=provider)
    assert yaosu("trade", "counter", trade, key=buyer).code == 2
    yaosu.ok("trade", "counter", trade, "--amount-fen", 8000, "--territory", "CN", key=buyer)
    offer = yaosu.ok("trade", "show", trade)["offer_digest"]
    stale = yaosu("trade", "agree", trade, "--offer", "sha256:" + "0" * 64, key=provider)
    assert stale.code == 2
    assert yaosu.ok("trade", "agree", trade, "--offer", offer)["state"] == "agreed"
    assert yaosu.ok("trade", "sign", trade, "--signing-key", theirs)["state"] == "agreed"
    signed = yaosu.ok("trade", "sign", trade, "--signing-key", ours, key=buyer)
    assert signed["state"] == "filed"
    assert signed["terms"]["amount_fen"] == 8000
    for key in (hall.admin.key, hall.admin2.key):
        yaosu.ok("trade", "pay", trade, "--reference", "B1", key=key)
    yaosu.ok("trade", "deliver", trade, key=provider)
    until(lambda: yaosu.ok("trade", "show", trade)["state"], "delivered".__eq__)
    assert yaosu.ok("trade", "reject", trade, "--reason", "少一行", key=buyer)["objection"]
    yaosu.ok("trade", "redeliver", trade, key=provider)
    until(lambda: yaosu.ok("trade", "show", trade)["state"], "delivered".__eq__)

    reason = ("--reason", "仍有疑问", "--channel", "mediation")
    assert yaosu.ok("trade", "dispute", trade, *reason, key=buyer)["state"] == "disputed"
    outcome = ("--outcome", "达成一致", "--to", "delivered")
    assert yaosu("trade", "resolve", trade, *outcome, key=provider).code == 2
    yaosu.ok("trade", "resolve", trade, *outcome, key=hall.admin.key)
    done = yaosu.ok("trade", "resolve", trade, *outcome, key=hall.admin2.key)
    assert done["state"] == "delivered"
    fetched = yaosu.ok("fetch", trade, "--to", tmp_path / "got", "--accept", key=buyer)
    assert fetched["receipt"]
    assert yaosu.ok("trade", "rate", trade, 4)["rating"] == 4
    digest = yaosu.ok("trade", "events", trade)["items"][0]["digest"]
    assert yaosu.ok("log", "inclusion", digest)["event_digest"] == digest
    size = yaosu.ok("log", "checkpoint")["size"]
    assert yaosu("log", "consistency", 1, size).code == 0


def test_either_side_steps_back_and_a_running_trade_ends_with_the_money_returned(
    yaosu: Terminal, hall: Hall, listed: str, tmp_path: Path
) -> None:
    provider, buyer = hall.provider.key, hall.buyer.key  # type: ignore[attr-defined]
    first = yaosu.ok("order", listed, "--purpose", "评测", key=buyer)["trade_id"]
    assert yaosu.ok("trade", "cancel", first, "--reason", "不需要")["state"] == "cancelled"
    assert yaosu.ok("trade", "list", "--state", "cancelled")["items"]
    trade = yaosu.ok("order", listed, "--purpose", "评测", "--amount-fen", 700)["trade_id"]
    yaosu.ok("trade", "answer", trade, key=provider)
    yaosu.ok("trade", "agree", trade, key=buyer)
    for key, name in ((provider, "p"), (buyer, "b")):
        file = _key(yaosu, key, tmp_path / name)
        yaosu.ok("trade", "sign", trade, "--signing-key", file, key=key)
    for key in (hall.admin.key, hall.admin2.key):
        yaosu.ok("trade", "pay", trade, "--reference", "B2", key=key)
    done = yaosu.ok("trade", "terminate", trade, "--reason", "违约", key=buyer)
    assert (done["state"], done["refund_fen"]) == ("terminated", 700)


def test_a_listing_is_looked_after(yaosu: Terminal, hall: Hall, tmp_path: Path) -> None:
    provider, reviewer = hall.provider.key, hall.reviewer.key  # type: ignore[attr-defined]
    listing = in_review(yaosu, hall, tmp_path / "c", "care-zh", "--no-apply")
    yaosu.ok("review", "return", listing, "--reason", "请补充说明", key=reviewer)
    assert yaosu.ok("listing", "problems", listing, key=provider)["problems"] is not None
    yaosu.ok("submit", tmp_path / "c", "--no-apply")
    yaosu.ok("review", "register", listing, key=reviewer)
    assert yaosu("review", "publish", listing).code == 2
    yaosu.ok("listing", "apply", listing, key=provider)
    yaosu.ok("review", "publish", listing, key=reviewer)
    assert yaosu("listing", "edit", listing, key=provider).code == 2
    edited = yaosu.ok("listing", "edit", listing, "--title", "新标题", "--keyword", "新词")
    assert (edited["title"], edited["descriptor"]["keywords"]) == ("新标题", ["新词"])
    assert yaosu("listing", "descriptor", listing).json["title"] == "新标题"
    assert yaosu.ok("listing", "preview", listing)["rows"]
    assert "instruction" in yaosu("listing", "preview", listing, "--limit", 2).out
    assert yaosu.ok("listing", "events", listing)["items"]
    yaosu.ok("listing", "comment", listing, "谢谢")
    yaosu.ok("review", "suspend", listing, "--reason", "核查", key=reviewer)
    yaosu.ok("review", "resume", listing)
    done = yaosu.ok("listing", "delist", listing, "--reason", "到期", key=provider)
    assert done["state"] == "delisted"
    for words in (("listing", "show", listing), ("listing", "mine"), ("listing", "report", listing),
                  ("trade", "list"), ("keys", "list"), ("party", "me")):  # fmt: skip
        said = yaosu(*words)
        assert said.code == 0, said.err
        assert said.out


def test_keys_are_made_and_revoked(yaosu: Terminal, hall: Hall) -> None:
    person = hall.person("keyring", "buyer", "provider")
    made = yaosu.ok(
        "keys", "new", "--label", "cron", "--role", "buyer", "--days", 3, key=person.key
    )
    assert yaosu.ok("party", "me", key=made["key"])["roles"] == ["buyer"]
    yaosu.ok("keys", "revoke", made["key_id"], key=person.key)
    assert yaosu("party", "me", key=made["key"]).code == 2
    held = yaosu.ok("keys", "new-signing", "--platform", key=person.key)
    assert held["held_by"] == "platform"
    ended = yaosu.ok("keys", "revoke", held["key_id"])
    assert ended["revoked_at"]
    member = yaosu.ok("party", "member", "王工", "--role", "buyer")
    assert yaosu.ok("party", "me", key=member["key"])["party"]["slug"] == "keyring"
    said = yaosu("keys", "new", key=person.key)
    assert "export YAOSU_KEY=yk_" in said.out


def test_an_operator_sees_parties_and_jobs(yaosu: Terminal, hall: Hall) -> None:
    admin = hall.admin.key
    parties = yaosu.ok("party", "list", "--verified", key=admin)["items"]
    assert {"operator", "reviewer", "lingnan"} <= {p["slug"] for p in parties}
    assert yaosu.ok("party", "show", parties[0]["party_id"])["slug"]
    assert isinstance(yaosu.ok("jobs", "list", "--state", "dead")["items"], list)
    assert yaosu("jobs", "restart", 999_999).code == 2
    assert yaosu("jobs", "list", key=hall.buyer.key).code == 2  # type: ignore[attr-defined]


def test_what_is_listed_goes_out_as_a_folder(
    yaosu: Terminal, hall: Hall, listed: str, tmp_path: Path
) -> None:
    until(lambda: yaosu.ok("search", "talk")["total"], bool)
    told = yaosu.ok("connect", "export", "folder", tmp_path / "out", "--query", "talk")
    assert len(told["added"]) == 1
    again = yaosu.ok("connect", "export", "folder", tmp_path / "out", "--query", "talk")
    assert len(again["unchanged"]) == 1
