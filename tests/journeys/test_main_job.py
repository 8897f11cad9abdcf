"""The main job over real HTTP: from a descriptor to a settled, recorded trade."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from people import USCC, Hall, Person, Refused, small_corpus, until
from yaosu.proof.verify import verify_path


def offered(hall: Hall, provider: Person, **price: object) -> tuple[str, bytes]:
    """List a small corpus with a standing offer; returns (listing id, bytes of its file)."""
    descriptor, data = small_corpus(provider, **price)
    provider.upload(data, pieces=3)
    listing = provider.draft(descriptor)
    found = provider.submit(listing["listing_id"])
    assert found["state"] == "review", found
    provider.offer(listing["listing_id"])
    hall.listed(provider, listing["listing_id"])
    return listing["listing_id"], data


def test_a_folder_becomes_a_settled_recorded_trade(any_hall: Hall, tmp_path: Path) -> None:
    hall = any_hall
    provider = hall.person("lingnan", "provider", uscc=USCC[0])
    buyer = hall.person("model-lab", "buyer")
    listing_id, data = offered(hall, provider)

    found = until(
        lambda: hall.stranger.get("/v1/listings", params={"q": "small", "modality": "text"}),
        lambda page: page["total"] == 1,
        seconds=2,
    )
    assert found["items"][0]["listing_id"] == listing_id

    trade = buyer.buy(listing_id)
    assert trade["state"] == "filed"
    hall.pay(trade)
    trade = buyer.wait(trade["trade_id"], "delivered")
    files, manifest = buyer.fetch(trade)
    assert files == {"data/train.jsonl": data}

    trade = buyer.post(f"/v1/trades/{trade['trade_id']}/accept", {"manifest_digest": manifest})
    assert trade["state"] == "vouchered"
    settled = buyer.get(f"/v1/settlements/{trade['trade_id']}")
    assert sum(settled["balances"].values()) == 0
    assert settled["balances"][f"provider:{provider.id}"] == 10_001

    receipt = until(
        lambda: buyer.raw("GET", f"/v1/trades/{trade['trade_id']}/receipt"),
        lambda answer: answer.status_code == 200,
    )
    kept = tmp_path / "receipt.json"
    kept.write_bytes(receipt.content)
    assert verify_path(kept).valid
    buyer.post(f"/v1/trades/{trade['trade_id']}/complete")
    events = buyer.get(f"/v1/trades/{trade['trade_id']}/events")["items"]
    assert [e["type"] for e in events] == [
        "intent",
        "agree",
        "sign",
        "file",
        "approval",
        "paid",
        "deliver_start",
        "deliver_done",
        "accept",
        "bill",
        "settle",
        "voucher",
        "complete",
    ]
    record = buyer.get(f"/v1/trades/{trade['trade_id']}/record")
    assert record["content_digest"] == trade["content_digest"]


def test_a_changed_receipt_does_not_verify(fresh_hall: Hall, tmp_path: Path) -> None:
    hall = fresh_hall
    provider = hall.person("lingnan", "provider", uscc=USCC[0])
    buyer = hall.person("model-lab", "buyer")
    listing_id, _ = offered(hall, provider, mode="free")
    trade = buyer.buy(listing_id)
    trade = buyer.wait(trade["trade_id"], "delivered")
    _, manifest = buyer.fetch(trade)
    buyer.post(f"/v1/trades/{trade['trade_id']}/accept", {"manifest_digest": manifest})
    answer = until(
        lambda: buyer.raw("GET", f"/v1/trades/{trade['trade_id']}/receipt"),
        lambda found: found.status_code == 200,
    )
    receipt = answer.json()
    receipt["agreement"]["price"]["amount_fen"] = 1
    kept = tmp_path / "receipt.json"
    kept.write_text(json.dumps(receipt), encoding="utf-8")
    assert not verify_path(kept).valid


def test_negotiation_on_an_exchange_goes_through_every_state(fresh_hall: Hall) -> None:
    hall = fresh_hall
    exchange = hall.exchange("gz-test", filing_required=True, fee_permyriad=300)
    provider = hall.person("lingnan", "provider", uscc=USCC[0])
    buyer = hall.person("model-lab", "buyer")
    descriptor, data = small_corpus(provider, mode="negotiated")
    provider.upload(data)
    listing = provider.draft(descriptor, venue="gz-test")
    provider.submit(listing["listing_id"])
    hall.listed(provider, listing["listing_id"], by=exchange)

    wish = {"purpose": "训练", "amount_fen": 500_017}
    trade = buyer.post("/v1/trades", {"listing_id": listing["listing_id"], "wish": wish})
    path = f"/v1/trades/{trade['trade_id']}"
    trade = provider.post(f"{path}/answer", {"changes": {"amount_fen": 700_033}})
    assert trade["state"] == "negotiating"
    with pytest.raises(Refused, match="other side's turn"):
        provider.post(f"{path}/counter", {"changes": {"amount_fen": 800_000}})
    trade = buyer.post(f"{path}/counter", {"changes": {"amount_fen": 600_033}})
    trade = provider.post(f"{path}/agree", {"offer_digest": trade["offer_digest"]})
    assert trade["state"] == "agreed"
    for side in (buyer, provider):
        trade = side.post(f"{path}/sign", {"signature": side.sign(trade["agreement_digest"])})
    assert trade["state"] == "signed"
    exchange.post(f"{path}/file", {"filing_no": "GZ-2026-0001"})
    with pytest.raises(Refused, match="payment has not been confirmed"):
        provider.post(f"{path}/deliver")
    hall.pay(trade, exchange)
    provider.post(f"{path}/deliver")
    trade = buyer.wait(trade["trade_id"], "delivered")
    files, manifest = buyer.fetch(trade)
    assert files["data/train.jsonl"] == data
    buyer.post(f"{path}/accept", {"manifest_digest": manifest})
    for action in ("bill", "settle", "voucher"):
        trade = exchange.post(f"{path}/{action}")
    assert trade["fee_fen"] == 600_033 * 300 // 10_000
    assert trade["shares"] == [{"party_id": provider.id, "amount_fen": 600_033 - trade["fee_fen"]}]
    provider.post(f"{path}/complete")
    assert buyer.get(path)["state"] == "completed"


def test_the_same_key_makes_one_trade_and_gives_one_reply(fresh_hall: Hall) -> None:
    hall = fresh_hall
    provider = hall.person("lingnan", "provider", uscc=USCC[0])
    buyer = hall.person("model-lab", "buyer")
    listing_id, _ = offered(hall, provider)
    body = {"listing_id": listing_id, "wish": {"purpose": "训练"}}
    head = {"idempotency-key": "once"}
    first = buyer.raw("POST", "/v1/trades", body, headers=head)
    again = buyer.raw("POST", "/v1/trades", body, headers=head)
    other = buyer.raw("POST", "/v1/trades", {**body, "wish": {"purpose": "测评"}}, headers=head)
    assert first.status_code == again.status_code == 201
    assert first.content == again.content
    assert other.status_code == 422
    assert other.json()["code"] == "idempotency_reuse"
    assert len(buyer.get("/v1/trades")["items"]) == 1


def test_a_new_version_does_not_disturb_a_running_trade(fresh_hall: Hall) -> None:
    hall = fresh_hall
    provider = hall.person("lingnan", "provider", uscc=USCC[0])
    buyer = hall.person("model-lab", "buyer")
    listing_id, data = offered(hall, provider)
    trade = buyer.buy(listing_id)

    old = provider.get(f"/v1/listings/{listing_id}")
    descriptor, _ = small_corpus(provider)
    changed = data + b'{"instruction": "new", "output": "new"}\n'
    sha256 = provider.upload(changed)
    descriptor["version"] = "1.1.0"
    descriptor["resources"][0] |= {"bytes": len(changed), "hash": f"sha256:{sha256}"}
    descriptor["dataElement"]["size"] = {"records": 41, "bytes": len(changed)}
    made = provider.post(f"/v1/datasets/{old['dataset_id']}/versions", {"descriptor": descriptor})
    second = made["listing"]["listing_id"]
    assert provider.submit(second)["state"] == "review"
    assert hall.stranger.get(f"/v1/listings/{listing_id}")["state"] == "listed"
    hall.listed(provider, second)
    assert hall.stranger.get(f"/v1/listings/{listing_id}")["state"] == "delisted"

    hall.pay(trade)
    trade = buyer.wait(trade["trade_id"], "delivered")
    files, _ = buyer.fetch(trade)
    assert files == {"data/train.jsonl": data}
    assert trade["content_digest"] == old["content_digest"]


def test_bad_rows_come_back_with_file_row_and_field(fresh_hall: Hall) -> None:
    hall = fresh_hall
    provider = hall.person("lingnan", "provider", uscc=USCC[0])
    descriptor, data = small_corpus(provider)
    schema = descriptor["resources"][0]["schema"]
    schema["fields"][1]["constraints"] = {"maxLength": 4}
    provider.upload(data)
    listing = provider.draft(descriptor)
    found = provider.submit(listing["listing_id"])
    assert found["state"] == "returned"
    report = provider.get(f"/v1/listings/{listing['listing_id']}/report")
    errors = report["tasks"][0]["errors"]
    assert report["target"] == found["content_digest"]
    assert {e["fieldName"] for e in errors} == {"output"}
    assert len(errors) == 30
    assert errors[0]["rowNumber"] == 12  # logical row: labels are row 1


def test_a_purchase_that_waits_for_an_assessment_is_signed_after_it(fresh_hall: Hall) -> None:
    hall = fresh_hall
    provider = hall.person("lingnan", "provider", uscc=USCC[0])
    buyer = hall.person("model-lab", "buyer")
    descriptor, data = small_corpus(provider)
    descriptor["dataElement"]["compliance"] |= {
        "data_level": "important",
        "important_approval": "粤数批〔2026〕1号",
    }
    provider.upload(data)
    listing = provider.draft(descriptor)
    assert provider.submit(listing["listing_id"])["state"] == "review"
    provider.offer(listing["listing_id"])
    hall.listed(provider, listing["listing_id"])
    trade = buyer.buy(listing["listing_id"])
    path = f"/v1/trades/{trade['trade_id']}"
    assert trade["state"] == "agreed"
    with pytest.raises(Refused, match="assessment"):
        buyer.post(f"{path}/sign", {"signature": buyer.sign(trade["agreement_digest"])})
    hall.reviewer.post(f"{path}/assess", {"passed": True, "opinion": "合规"})
    trade = buyer.post(f"{path}/sign", {"signature": buyer.sign(trade["agreement_digest"])})
    assert trade["state"] == "filed"
    hall.pay(trade)
    buyer.wait(trade["trade_id"], "delivered")
