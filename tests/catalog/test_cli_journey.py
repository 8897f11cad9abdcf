"""The main job by command line alone, against a market in a process of its own."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from people import USCC, Person, jsonl, small_corpus
from terminal import Terminal, terminal_in

YAOSU = [sys.executable, "-c", "from yaosu.cli import main; main()"]


@dataclass
class Running:
    """A market started by `yaosu serve`, and the keys of its operator's two people."""

    address: str
    data: Path
    operators: list[str]
    process: subprocess.Popen[str]


@pytest.fixture
def yaosu(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Terminal]:
    yield from terminal_in(tmp_path, capsys, monkeypatch)


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Running]:
    """Make an operator, then run a market on a free port until the end."""
    data, here = folder / "market", {"cwd": folder, "text": True}
    made = subprocess.run(
        [*YAOSU, "party", "operator", "operator", "--name", "运营方", "--data", data, "--json"],
        capture_output=True,
        check=True,
        **here,  # type: ignore[call-overload]
    )
    process = subprocess.Popen(
        [*YAOSU, "serve", "--data", str(data), "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **here,  # type: ignore[call-overload]
    )
    try:
        address = json.loads("".join(_document(process)))["address"]
        yield Running(address, data, json.loads(made.stdout)["keys"], process)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A market that the tests of this file share: names must not collide."""
    with serving(tmp_path_factory.mktemp("shared")) as found:
        yield found


def _document(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stdout is not None
    for line in process.stdout:
        yield line
        if line.rstrip() == "}":
            return


def join(yaosu: Terminal, market: Running, slug: str, *roles: str, uscc: str | None = None) -> Any:
    """Register a party, have the operator verify it; returns (key, party)."""
    words = ["party", "register", slug, "--name", f"{slug} 公司", "--member", "张工"]
    for role in roles:
        words += ["--role", role]
    if uscc:
        words += ["--uscc", uscc]
    made = yaosu.ok(*words, market=market.address)
    party = made["party"]["party_id"]
    yaosu.ok("party", "verify", party, "--evidence", "营业执照已核对", key=market.operators[0])
    return made["key"], made["party"]


def corpus(folder: Path, party: dict[str, Any], name: str = "cli-zh") -> dict[str, Any]:
    """Write a folder with data and a complete datapackage.json; returns the descriptor."""
    person = Person("http://127.0.0.1:1", None, party)
    descriptor, data = small_corpus(person, name)
    (folder / "data").mkdir(parents=True)
    (folder / "data/train.jsonl").write_bytes(data)
    (folder / "datapackage.json").write_text(json.dumps(descriptor, ensure_ascii=False), "utf-8")
    return descriptor


def reviewer(yaosu: Terminal, market: Running) -> str:
    """An operator's admin may not review: make a party that does, by the operator's key."""
    made = yaosu.ok(
        "party", "register", "reviewer", "--name", "评估中心", "--member", "李工",
        "--role", "reviewer", key=market.operators[0], market=market.address,
    )  # fmt: skip
    party = made["party"]["party_id"]
    yaosu.ok("party", "verify", party, "--evidence", "已核对", key=market.operators[0])
    return str(made["key"])


def test_from_a_folder_to_a_settled_trade_by_command_line(yaosu: Terminal, tmp_path: Path) -> None:
    with serving(tmp_path) as market:
        _whole_journey(yaosu, market, tmp_path)


def _whole_journey(yaosu: Terminal, market: Running, tmp_path: Path) -> None:
    provider, party = join(yaosu, market, "lingnan", "provider", uscc=USCC[0])
    buyer, _ = join(yaosu, market, "model-lab", "buyer")
    judge = reviewer(yaosu, market)
    folder = tmp_path / "corpus"
    descriptor = corpus(folder, party)

    plan = yaosu.ok("submit", "--dry-run", folder, key=provider)
    assert plan["valid"]
    assert plan["asked_market"]
    assert [f["held"] for f in plan["files"]] == [False]
    yaosu.ok("keys", "new-signing", "--file", tmp_path / "p.pem", key=provider)
    done = yaosu.ok("submit", folder, "--offer", "--signing-key", tmp_path / "p.pem")
    assert done["sent"] == ["data/train.jsonl"]
    listing = done["listing"]["listing_id"]
    assert done["listing"]["state"] == "review"

    queue = yaosu.ok("review", "queue", key=judge)["items"]
    assert [i["listing_id"] for i in queue] == [listing]
    assert yaosu.ok("review", "show", listing)["full_report"]["valid"]
    yaosu.ok("review", "register", listing, "--text", "已核对")
    assert yaosu.ok("review", "publish", listing)["state"] == "listed"

    hits = _soon(lambda: yaosu.ok("search", "cli", "--facet", "modality=text")["items"])
    assert [h["listing_id"] for h in hits] == [listing]
    yaosu.ok("keys", "new-signing", key=buyer)
    trade = yaosu.ok("buy", listing, "--purpose", "训练", "--at-most-fen", 20_000)
    trade_id = trade["trade_id"]
    assert trade["state"] == "filed"

    first = yaosu.ok("trade", "pay", trade_id, "--reference", "B1", key=market.operators[0])
    assert first["approval"]["waits_for"] == "admin"
    yaosu.ok("trade", "pay", trade_id, "--reference", "B1", key=market.operators[1])
    _soon(lambda: yaosu.ok("trade", "show", trade_id, key=buyer)["state"] == "delivered")

    fetched = yaosu.ok("fetch", trade_id, "--to", tmp_path / "got", "--accept")
    assert fetched["state"] == "vouchered"
    assert fetched["receipt"]
    for resource in descriptor["resources"]:
        path = resource["path"]
        assert (tmp_path / "got" / path).read_bytes() == (folder / path).read_bytes()
    assert yaosu.ok("verify", tmp_path / "got")["valid"]
    assert yaosu.ok("validate", tmp_path / "got")["valid"]
    assert yaosu.ok("trade", "complete", trade_id)["state"] == "completed"
    yaosu.ok("trade", "rate", trade_id, "5", "--text", "好")
    assert sum(yaosu.ok("trade", "settlement", trade_id)["balances"].values()) == 0
    assert yaosu.ok("trade", "events", trade_id)["items"][-1]["type"] == "rate"
    assert yaosu("trade", "record", trade_id).json["trade_id"] == trade_id
    exported = yaosu.ok("connect", "export", "trading-record", tmp_path / "records")
    assert exported["added"] == [trade_id]

    said = yaosu("trade", "complete", trade_id)
    assert said.code == 2
    assert "已无后续步骤" in said.err or "可执行" in said.err

    # The market goes down, by its own rules; what it kept is whole.
    market.process.send_signal(signal.SIGINT)
    assert market.process.wait(30) == 0
    assert yaosu.ok("verify", market.data)["valid"]
    assert yaosu.ok("search-index", "rebuild", "--data", market.data)["indexed"] == 1
    assert yaosu.ok("db", "upgrade", "--data", market.data) == {"status": "ok"}


def test_data_that_is_wrong_comes_back_with_file_row_and_field(
    yaosu: Terminal, market: Running, tmp_path: Path
) -> None:
    provider, party = join(yaosu, market, "mender", "provider", uscc=USCC[0])
    folder = tmp_path / "corpus"
    descriptor = corpus(folder, party)
    rows = [{"instruction": "问题", "output": "回答"}, {"instruction": 7, "output": "回答"}]
    (folder / "data/train.jsonl").write_bytes(jsonl(rows * 20))

    said = yaosu("submit", folder, key=provider, market=market.address)
    assert said.code == 1, "the digest in the descriptor is that of other bytes"
    assert "yaosu describe" in said.err
    del descriptor["resources"][0]["hash"], descriptor["resources"][0]["bytes"]
    (folder / "datapackage.json").write_text(json.dumps(descriptor), "utf-8")
    said = yaosu("submit", folder)
    assert said.code == 1
    assert "data/train.jsonl" in said.out
    assert "instruction" in said.out
    listing = yaosu.ok("listing", "mine", "--state", "returned")["items"][0]["listing_id"]
    error = yaosu.ok("listing", "report", listing)["tasks"][0]["errors"][0]
    assert error["fieldName"] == "instruction"

    (folder / "data/train.jsonl").write_bytes(jsonl(rows[:1] * 40))
    assert yaosu.ok("submit", folder)["listing"]["state"] == "review"


def test_a_second_market_on_the_same_folder_is_refused(yaosu: Terminal, market: Running) -> None:
    said = yaosu("serve", "--data", market.data, "--port", "0", "--json")
    assert said.code == 2
    assert said.json["error"]["code"] == "unavailable"
    said = yaosu("db", "upgrade", "--data", market.data)
    assert said.code == 2
    assert yaosu.ok("party", "venues", market=market.address)["items"]


def test_a_catalog_comes_over_as_drafts_and_again_changes_nothing(
    yaosu: Terminal, market: Running, tmp_path: Path
) -> None:
    provider, party = join(yaosu, market, "importer", "provider", uscc=USCC[1])
    corpus(tmp_path / "catalog/one", party, "one-zh")
    corpus(tmp_path / "catalog/two", party, "two-zh")
    words = ("connect", "import", "folder", tmp_path / "catalog")
    assert len(yaosu.ok(*words, key=provider, market=market.address)["added"]) == 2
    again = yaosu.ok(*words)
    assert again["added"] == []
    assert len(again["unchanged"]) == 2
    mine = yaosu.ok("listing", "mine")["items"]
    assert {(i["name"], i["state"]) for i in mine} == {("one-zh", "draft"), ("two-zh", "draft")}
    assert yaosu.ok("submit", tmp_path / "catalog/one")["held"] == ["data/train.jsonl"]


def test_a_wrong_key_is_2_and_says_so(yaosu: Terminal, market: Running) -> None:
    said = yaosu("trade", "list", "--json", key="yk_wrong", market=market.address)
    assert said.code == 2
    assert said.json["error"]["code"] == "unauthenticated"


def _soon(look: Any, seconds: float = 20) -> Any:
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return found
