"""Webhooks, the day of an exchange and forms by command line, against a running market."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from people import USCC, Hall, Person, open_hall, small_corpus, until
from receiver import receiver
from stall import sold_as
from terminal import Terminal, terminal_in
from yaosu.exchange.statement import BEIJING

TODAY = datetime.now(BEIJING).date().isoformat()


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hall]:
    with open_hall(tmp_path_factory.mktemp("hall"), outgoing_allow="127.0.0.0/8") as found:
        yield found


@pytest.fixture
def yaosu(
    hall: Hall, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Terminal]:
    for found in terminal_in(tmp_path, capsys, monkeypatch):
        monkeypatch.setenv("YAOSU_MARKET", hall.address)
        yield found


@pytest.fixture(scope="module")
def exchange(hall: Hall) -> Person:
    """An exchange at which one trade was delivered today."""
    person = hall.exchange("gz-test", filing_required=True)
    provider = hall.person("seller", "provider", uscc=USCC[0])
    descriptor, data = small_corpus(provider)
    provider.upload(data)
    listing = sold_as(hall, provider, descriptor, by=person, venue="gz-test")
    buyer = hall.person("buyer", "buyer", uscc=USCC[1])
    trade = buyer.buy(listing)
    person.post(f"/v1/trades/{trade['trade_id']}/file", {"filing_no": "BA-1"})
    hall.pay(trade, person)
    buyer.wait(trade["trade_id"], "delivered")
    return person


def test_a_webhook_lives_and_ends_by_command(yaosu: Terminal, hall: Hall) -> None:
    key = hall.person("hooked", "buyer").key
    with receiver() as inbox:
        made = yaosu.ok("webhooks", "new", inbox.url, "--topic", "party.x", key=key)
        name = made["webhook_id"]
        assert made["secret"].startswith("whsec_")
        assert made["secret"] not in yaosu("webhooks", "show", name).out
        assert yaosu.ok("webhooks", "rotate", name)["secret"] != made["secret"]
        inbox.answer = lambda got: (500, {}, b"")
        yaosu.ok("webhooks", "ping", name)
        until(lambda: inbox.got, bool)
        dead = until(
            lambda: yaosu.ok("webhooks", "deliveries", name, "--state", "dead")["items"], bool
        )
        assert "dead" in yaosu("webhooks", "deliveries", name).out
        inbox.answer = lambda got: (200, {}, b"")
        yaosu.ok("webhooks", "retry", name, dead[0]["message_id"])
        assert yaosu.ok("webhooks", "pause", name)["state"] == "paused"
        assert yaosu.ok("webhooks", "resume", name)["state"] == "active"
        yaosu.ok("webhooks", "replay", name, 0)
        assert [h["webhook_id"] for h in yaosu.ok("webhooks", "list")["items"]] == [name]
        public = yaosu("webhooks", "new", inbox.url, "--topic", "party.x", "--ed25519")
        assert "whpk_" in public.out
        yaosu.ok("webhooks", "remove", name)
        assert yaosu("webhooks", "show", name).code != 0
    assert yaosu("webhooks", "new", "https://10.0.0.1/").code == 2


@pytest.mark.parametrize("kind", ["csv", "xlsx", "json"])
def test_a_day_is_fetched_and_compared_by_command(
    yaosu: Terminal, exchange: Person, tmp_path: Path, kind: str
) -> None:
    file = tmp_path / f"day.{kind}"
    said = yaosu("exchange", "statement", "gz-test", TODAY, "--out", file, key=exchange.key)
    assert said.code == 0, said.err
    same = yaosu("exchange", "reconcile", "gz-test", TODAY, file)
    assert same.code == 0, same.err
    file.write_text(json.dumps([{"trade_id": "elsewhere", "paid_fen": 5}]), "utf-8")
    result = tmp_path / f"result.{kind}"
    other = yaosu(
        "exchange", "reconcile", "gz-test", TODAY, file.rename(tmp_path / "x.json"),
        "--out", result, "--json",
    )  # fmt: skip
    assert other.code == 1
    assert other.json["counts"]["missing_here"] == other.json["counts"]["missing_there"] == 1
    assert result.stat().st_size > 50
    assert "total" in yaosu("exchange", "statement", "gz-test", TODAY).out


def test_keys_of_callbacks_are_looked_after_by_command(yaosu: Terminal, exchange: Person) -> None:
    made = yaosu.ok("exchange", "new-callback-key", "gz-test", key=exchange.key)
    assert made["secret"].startswith("whsec_")
    listed = yaosu("exchange", "callback-keys", "gz-test").out
    assert made["secret"] not in listed
    ended = yaosu.ok("exchange", "revoke-callback-key", "gz-test", made["key_id"])
    assert ended["revoked_at"]


def test_records_go_out_as_forms_and_come_back_by_command(
    yaosu: Terminal, exchange: Person, tmp_path: Path
) -> None:
    forms, back = tmp_path / "forms", tmp_path / "back"
    said = yaosu("connect", "export", "gzdex", forms, key=exchange.key)
    assert said.code == 0, said.err
    (form,) = forms.glob("*.gzdex.json")
    assert json.loads(form.read_text("utf-8"))["说明"].startswith("格式未公开")
    assert yaosu("connect", "convert", "gzdex", forms, "trading-record", back).code == 0
    again = json.loads(next(back.glob("*.trade.json")).read_text("utf-8"))
    record = exchange.get(f"/v1/trades/{again['trade_id']}/record")
    assert {n: again[n] for n in ("price", "events", "provider", "policy")} == {
        n: record[n] for n in ("price", "events", "provider", "policy")
    }
    file = next(forms.glob("*.gzdex.json"))
    same = yaosu("exchange", "reconcile", "gz-test", TODAY, _listed(file), "--form", "gzdex")
    assert same.code == 0, same.out


def _listed(form: Path) -> Path:
    """Write the one form as a list of forms."""
    path = form.with_name("all.json")
    path.write_text(f"[{form.read_text('utf-8')}]", "utf-8")
    return path
