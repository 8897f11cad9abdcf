"""A receipt proves a whole trade on another machine, witnesses included; not one byte can turn."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from people import USCC, Hall, Person, open_hall, until
from stall import delivered, offered
from watch import Watching, watching
from yaosu.errors import InvalidInput, Malformed
from yaosu.proof import voucher
from yaosu.proof.checkpoint import read
from yaosu.proof.proofs import Findings, strict_json
from yaosu.proof.verify import verify_path
from yaosu.proof.verify_receipt import check_form, check_receipt, verify_receipt
from yaosu.proof.witness import Demand, key_of, read_key
from yaosu.web.pages.texts import TEXTS
from yaosu_schemas.canonical import digest, jcs

ORIGIN = "receipts.test/log"


@dataclass(frozen=True)
class Sold:
    """A market with two witnesses, and one trade on it with its receipt."""

    hall: Hall
    buyer: Person
    provider: Person
    trade: dict[str, Any]
    witnesses: tuple[Watching, Watching]
    content: bytes

    @property
    def receipt(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.content)
        return found

    @property
    def demand(self) -> Demand:
        return Demand.of([w.key for w in self.witnesses])


@pytest.fixture(scope="module")
def sold(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sold]:
    folder = tmp_path_factory.mktemp("receipts")
    with open_hall(folder / "first", origin=ORIGIN) as hall:  # makes the key of the log
        log_key = hall.market.log.identity()["verifier_key"]
    with (
        watching(folder / "w1", "w.test/one", [log_key]) as one,
        watching(folder / "w2", "w.test/two", [log_key]) as two,
        open_hall(
            folder / "first",
            people=False,
            origin=ORIGIN,
            witnesses=f"{one.place}, {two.place}",
            witness_quorum=2,
        ) as plain,
    ):
        hall = Hall(plain.market, plain.address, people=False)
        hall.admin = hall.person("op", "admin")
        hall.admin2 = hall.colleague(hall.admin, "admin")
        hall.reviewer = hall.person("rev", "reviewer")
        hall.stranger = Person(hall.address, None)
        provider = hall.person("lingnan", "provider", uscc=USCC[0])
        buyer = hall.person("model-lab", "buyer")
        trade = delivered(hall, buyer, offered(hall, provider))
        _, manifest = buyer.fetch(trade)
        path = f"/v1/trades/{trade['trade_id']}"
        buyer.post(f"{path}/accept", {"manifest_digest": manifest})
        answer = until(lambda: buyer.raw("GET", f"{path}/receipt"), lambda a: a.status_code == 200)
        yield Sold(hall, buyer, provider, trade, (one, two), answer.content)


def test_a_receipt_says_part_by_part_what_it_proves(sold: Sold, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_bytes(sold.content)
    key = sold.hall.market.log.identity()["public_key"]
    report = verify_path(tmp_path / "r.json", log_key=key, demand=sold.demand)
    assert report.valid, report.problems
    said = " ".join(p.en for p in report.proved)
    for word in ("seal", "chain", "agreement", "signed", "postings", "quality", "SM3", "leaf"):
        assert word in said
    assert "at least 2 of the witnesses" in said
    assert len(report.facts["witnesses"]) == 2
    assert report.checked["postings"] == 4
    assert all(p.zh and p.en for p in report.proved)
    assert report.facts["code"] == voucher.code_of(sold.receipt)


def test_the_command_proves_it_on_another_machine(sold: Sold, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_bytes(sold.content)
    command = [str(Path(sys.executable).parent / "yaosu"), "verify", "r.json", "--json"]
    for witness in sold.witnesses:
        command += ["--witness", witness.key]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout
    assert len(json.loads(ran.stdout)["proved"]) == 10
    stranger = str(key_of("w.test/three", sold.hall.market.log._key))
    ran = subprocess.run([*command, "--witness", stranger], cwd=tmp_path, capture_output=True)
    assert ran.returncode == 1


def test_a_quorum_is_asked_for_and_only_true_witnesses_make_it(sold: Sold) -> None:
    from yaosu.proof.signing import Signer

    stranger = str(key_of("w.test/one", Signer.generate()))
    keys = [w.key for w in sold.witnesses]
    for given, quorum, holds in (
        (keys, None, True),
        ([*keys, stranger], None, False),
        ([*keys, stranger], 2, True),
        ([stranger], 1, False),
        ([stranger], 0, True),
    ):
        report = verify_receipt(sold.receipt, demand=Demand.of(given, quorum))
        assert report.valid is holds, (given, quorum)
    with pytest.raises(InvalidInput):
        Demand.of(keys, 3)


def test_no_byte_of_a_receipt_can_be_another(sold: Sold, tmp_path: Path) -> None:
    """A seeded sample here; every position is tried by `make campaign`."""
    rng = random.Random(20)
    places = sorted(rng.sample(range(len(sold.content)), 150))
    assert undetected(sold.content, places, tmp_path / "r.json", rng) == []


@pytest.mark.slow
def test_no_byte_at_any_position_of_a_receipt_can_be_another(sold: Sold) -> None:
    """Every byte, with a bit of it drawn by seed; a trial ends at the first thing found wrong."""
    size = len(sold.content)
    assert not wrong(sold.content)
    parts = [(sold.content, start, min(start + 500, size)) for start in range(0, size, 500)]
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("forkserver")) as pool:
        missed = [at for found in pool.map(undetected_between, parts) for at in found]
    assert missed == []


def undetected(good: bytes, places: list[int], path: Path, rng: random.Random) -> list[int]:
    """Return where another byte (one bit, or any) leaves a file that still verifies."""
    missed = []
    for at in places:
        for other in (good[at] ^ 1 << rng.randrange(8), (good[at] + rng.randrange(1, 256)) % 256):
            path.write_bytes(good[:at] + bytes([other]) + good[at + 1 :])
            try:
                if verify_path(path).valid:
                    missed.append(at)
            except InvalidInput:
                pass  # it no longer says that it is a receipt
    return missed


def undetected_between(part: tuple[bytes, int, int]) -> list[int]:
    """Return where, from a position up to another, a bit that turns is not found."""
    good, start, end = part
    rng = random.Random(start)
    return [
        at
        for at in range(start, end)
        if not wrong(good[:at] + bytes([good[at] ^ 1 << rng.randrange(8)]) + good[at + 1 :])
    ]


class Enough(Exception):
    """Something is wrong: the verdict stands."""


class First(Findings):
    """Stops at the first thing that is wrong."""

    def wrong(self, pointer: str, code: str, en: str, zh: str, *, severity: str = "error") -> None:
        if severity == "error":
            raise Enough(pointer)


def wrong(content: bytes) -> bool:
    """Tell whether `verify` refuses a receipt, by the same checks in the same order."""
    found = First()
    try:
        document = strict_json(content)
        if not isinstance(document, dict) or document.get("type") != "yaosu-receipt":
            return True
        check_form(content, document, found)
        check_receipt(document, found)
    except (Enough, Malformed):
        return True
    return False


@pytest.mark.parametrize(
    "spelling",
    [
        lambda r: json.dumps(r).encode(),
        lambda r: json.dumps(r, indent=1, ensure_ascii=False).encode(),
        lambda r: jcs(r) + b" ",
        lambda r: jcs(r).replace(b'"version":2', b'"version":2.0', 1),
    ],
)
def test_another_spelling_of_a_receipt_is_not_what_was_issued(
    sold: Sold, tmp_path: Path, spelling: Any
) -> None:
    (tmp_path / "r.json").write_bytes(spelling(sold.receipt))
    assert {p.code for p in verify_path(tmp_path / "r.json").problems} >= {"form"}


def _resealed(sold: Sold, **changes: Any) -> dict[str, Any]:
    body = {k: v for k, v in sold.receipt.items() if k != "seal"} | changes
    return {**body, "seal": sold.hall.market.log.seal(body)}


def test_not_even_the_market_can_change_money_or_quality(sold: Sold) -> None:
    receipt = sold.receipt
    lines = receipt["settlement"]["postings"]
    more = [{**line, "amount_fen": line["amount_fen"] * 2} for line in lines]
    other = {**receipt["quality"], "report_digest": digest("another")}
    other["seal"] = sold.hall.market.log.seal({k: v for k, v in other.items() if k != "seal"})
    for changes, pointer in (
        ({"settlement": {"postings": more}}, "/settlement"),
        ({"settlement": {"postings": lines[:-1]}}, "/settlement"),
        ({"settlement": {"postings": []}}, "/settlement"),
        ({"quality": other}, "/quality"),
        ({"trade": {**receipt["trade"], "fee_fen": 1}}, "/settlement"),
    ):
        body = {**receipt, **changes}
        forged = _resealed(sold, **changes, digests=voucher.digests(body))
        report = verify_receipt(forged)
        assert any(p.pointer.startswith(pointer) for p in report.problems), changes.keys()


def test_the_second_digests_are_sm3_and_are_compared(sold: Sold) -> None:
    receipt = sold.receipt
    said = receipt["digests"]["agreement"]
    try:
        expected = "sm3:" + hashlib.new("sm3", jcs(receipt["agreement"])).hexdigest()
    except ValueError:
        pytest.skip("no SM3 in this OpenSSL")
    assert said == {"sha256": receipt["agreement_digest"], "sm3": expected}
    wrong = {**receipt["digests"], "agreement": {**said, "sm3": "sm3:" + "0" * 64}}
    assert any(
        p.pointer == "/digests/agreement"
        for p in verify_receipt(_resealed(sold, digests=wrong)).problems
    )


def test_sm3_is_that_of_the_standard() -> None:
    """GB/T 32905-2016, annex A.1: the digest of `abc`."""
    found = hashlib.new("sm3", b"abc").hexdigest()
    assert found == "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"


# --- the log, with its witnesses ----------------------------------------------------------------


def test_the_checkpoint_that_is_served_carries_the_cosignatures(sold: Sold) -> None:
    note = read(httpx2.get(f"{sold.hall.address}/log/checkpoint").content)
    assert {name for name, _ in note.signatures} == {ORIGIN, "w.test/one", "w.test/two"}
    folder = sold.hall.market.settings.folder
    report = verify_path(folder, demand=sold.demand)
    assert report.valid, report.problems
    assert report.facts["cosigned_size"] > 0
    unknown = Demand.of([str(key_of("w.test/x", sold.hall.market.log._key))])
    assert {p.code for p in verify_path(folder / "log", demand=unknown).problems} == {"witness"}


def test_a_changed_cosignature_beside_the_log_is_found(sold: Sold, tmp_path: Path) -> None:
    shutil.copytree(sold.hall.market.settings.folder / "log", tmp_path / "log")
    for name in ("cosigned", "witnesses", "origin", "next", "key"):
        path = tmp_path / "log" / name
        good = path.read_bytes()
        for at in range(0, len(good), 3):
            path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
            assert not verify_path(tmp_path / "log").valid, (name, at)
        path.write_bytes(good)


# --- on paper -----------------------------------------------------------------------------------


def test_the_code_shows_that_a_voucher_was_issued_and_nothing_of_the_deal(sold: Sold) -> None:
    code = voucher.code_of(sold.receipt)
    typed = code.lower().replace("-", " ").replace("0", "o")
    for path in (f"/v1/vouchers/{code}", f"/v1/vouchers/{typed}"):
        found = sold.hall.stranger.get(path)
        assert found["digest"] == sold.receipt["seal"]["digest"]
        assert found["status"] == "valid"
        assert found.keys() == {
            "code", "digest", "status", "signed_at", "settled_at", "vouchered_at",
        }  # fmt: skip
    page = httpx2.get(f"{sold.hall.address}/verify/{code}").text
    assert sold.receipt["seal"]["digest"] in page
    trade = sold.receipt["trade"]
    for secret in (
        trade["trade_id"], trade["listing_id"], trade["provider"]["name"], trade["user"]["name"],
        "100.01", "10001", sold.receipt["agreement"]["subject"]["title"], trade["voucher_no"],
    ):  # fmt: skip
        assert secret not in page
    for wrong in ("0000-0000-0000-0000", "x", "%00", "a" * 300):
        assert httpx2.get(f"{sold.hall.address}/v1/vouchers/{wrong}").status_code == 404


def test_the_page_of_a_receipt_speaks_both_languages_and_prints_its_code(sold: Sold) -> None:
    path = f"/trades/{sold.trade['trade_id']}/receipt"
    browser = httpx2.Client(base_url=sold.hall.address)
    assert browser.get(path).status_code in (302, 303, 401)
    form = browser.get("/login").text
    token = re.search(r'name="([a-z_]+)" value="([^"]+)"', form)
    assert token is not None
    browser.post("/login", data={token[1]: token[2], "key": str(sold.buyer.key)})
    page = browser.get(path)
    assert page.status_code == 200
    assert voucher.code_of(sold.receipt) in page.text
    assert "<svg" in page.text
    for name in re.findall(r"voucher\.[a-z_.]+", page.text):
        assert name in TEXTS, name
    for text in (TEXTS["voucher.title"], TEXTS["voucher.settled"], TEXTS["voucher.witness"]):
        assert text.zh in page.text
        assert text.en in page.text
    assert sold.receipt["digests"]["settlement"]["sha256"][7:] in page.text
    assert "w.test/two" in page.text


def test_names_of_witnesses_are_read_back_as_they_were_given(sold: Sold) -> None:
    for text in sold.receipt["witnesses"]:
        assert str(read_key(text)) == text
