"""The statement of a day and its reconciliation: whole fen that always add up."""

from __future__ import annotations

import csv
import io
import itertools
import json
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx2
import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paper import Paper
from people import USCC, Hall, open_hall, small_corpus
from stall import sold_as
from yaosu.errors import InvalidInput
from yaosu.exchange import reconcile, sheets, statement
from yaosu.exchange.statement import MONEY, Line, Statement
from yaosu.model import Posting

TODAY = datetime.now(statement.BEIJING).date().isoformat()
_numbers = itertools.count(1)


# --- arithmetic -------------------------------------------------------------------------------

START, END = statement.bounds(date(2026, 11, 28))
MOMENTS = st.datetimes(
    min_value=datetime(2026, 11, 26), max_value=datetime(2026, 11, 30), timezones=st.just(UTC)
)
ENTRIES = st.lists(
    st.tuples(MOMENTS, st.sampled_from(["pay", "refund", "settle"]), st.integers(0, 10**15)),
    max_size=8,
)


def posted(entries: list[tuple[datetime, str, int]], fee: int) -> list[Posting]:
    """Return balanced postings of a trade, as its steps would write them."""
    lines: list[tuple[datetime, str, int]] = []
    for at, what, fen in entries:
        part = fen * fee // 10_000
        escrow = f"escrow:{'t' if fen % 2 else 'period'}"
        moves = {
            "pay": {"buyer:b": -fen, escrow: fen},
            "refund": {escrow: -fen, "buyer:b": fen},
            "settle": {escrow: -fen, "provider:p": fen - part, "fee:v": part},
        }[what]
        lines += [(at, account, amount) for account, amount in moves.items()]
    return [
        Posting(trade_id="t", event_digest="", account=a, amount_fen=n, at=at) for at, a, n in lines
    ]


@given(entries=ENTRIES, fee=st.integers(0, 10_000))
def test_a_line_always_adds_up(entries: list[tuple[datetime, str, int]], fee: int) -> None:
    postings = posted(entries, fee)
    found = statement.money(postings, START, END)
    moved = found["paid_fen"] - found["refunded_fen"] - found["settled_fen"]
    assert found["opening_fen"] + moved == found["held_fen"]
    assert found["settled_fen"] == found["fee_fen"] + found["net_fen"]
    until = [p for p in postings if p.at < END and p.account.startswith("escrow:")]
    assert found["held_fen"] == sum(p.amount_fen for p in until)


@given(entries=ENTRIES)
def test_what_one_day_holds_at_its_end_the_next_begins_with(
    entries: list[tuple[datetime, str, int]],
) -> None:
    postings = posted(entries, 300)
    days = [statement.bounds(date(2026, 11, 25) + timedelta(days=n)) for n in range(7)]
    found = [statement.money(postings, *day) for day in days]
    for before, after in itertools.pairwise(found):
        assert after["opening_fen"] == before["held_fen"]
    paid = sum(-p.amount_fen for p in postings if p.account == "buyer:b" and p.amount_fen < 0)
    assert sum(f["paid_fen"] for f in found) == paid


def line(number: int, **more: Any) -> Line:
    money = dict.fromkeys(MONEY, 0)
    texts = {name: "" for name in statement.COLUMNS if name not in MONEY}
    return Line(**{**texts, **money, "trade_id": f"t{number}", **more})


AMOUNTS = st.integers(-(10**15), 10**15)
SIDES = st.lists(st.tuples(st.integers(0, 6), AMOUNTS, AMOUNTS), max_size=10)


@given(ours=SIDES, theirs=SIDES)
def test_nothing_falls_between_the_outcomes(
    ours: list[tuple[int, int, int]], theirs: list[tuple[int, int, int]]
) -> None:
    lines = {n: line(n, amount_fen=a, paid_fen=p) for n, a, p in ours}
    made = Statement(venue="v", day=date(2026, 11, 28), lines=tuple(lines.values()))
    told = json.dumps([{"trade_id": f"t{n}", "amount_fen": a, "paid_fen": p} for n, a, p in theirs])
    key, rows = reconcile.read(told.encode(), "json", "", json.loads)
    found = reconcile.compare(made, key, rows)
    assert sum(found["counts"].values()) == len(found["items"])
    assert found["totals"]["ours"] == made.totals
    assert found["totals"]["theirs"]["amount_fen"] == sum(a for _, a, _ in theirs)
    assert found["totals"]["theirs"]["paid_fen"] == sum(p for _, _, p in theirs)
    here, there = set(lines), {n for n, _, _ in theirs}
    counts = found["counts"]
    assert counts["missing_there"] == len(here - there)
    assert counts["missing_here"] == len(there - here)
    assert counts["matched"] + counts["different"] == len(here & there)
    assert counts["twice"] == len(theirs) - len(there)
    same = found["sums"]["matched"]
    assert same["ours"]["amount_fen"] == same["theirs"]["amount_fen"]


# --- tables -----------------------------------------------------------------------------------

CELLS = st.one_of(
    st.none(),
    st.integers(-(10**15), 10**15),
    st.text(max_size=20).map(lambda t: t.replace("\r", "").strip()),
    st.sampled_from(["=1+1", "+cmd|' /C calc'!A0", "-2", "@SUM(A1)", "＝1", "\tx", "'=x", '=HYPERLINK("http://x")']),
)  # fmt: skip


@given(rows=st.lists(st.tuples(CELLS, CELLS), max_size=6))
def test_no_cell_is_a_formula_and_every_cell_comes_back(
    rows: list[tuple[str | int | None, str | int | None]],
) -> None:
    text = sheets.to_csv(["a", "b"], rows)
    for row in itertools.islice(csv.reader(io.StringIO(text.decode("utf-8-sig"))), 1, None):
        for cell in row:
            number = cell.lstrip("-").isdigit()
            assert number or not cell.startswith(("=", "+", "-", "@", "\t", "\r", "＝"))
    book = openpyxl.load_workbook(io.BytesIO(sheets.to_xlsx("t", ["a", "b"], rows)))
    kinds = {c.data_type for r in book.active.iter_rows() for c in r}  # type: ignore[union-attr]
    assert "f" not in kinds


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("trade_id,paid_fen\r\nt1,1.5\r\n", 2),
        ("trade_id,paid_fen\r\nt1,1\r\nt2,9999999999999999\r\n", 3),
        ("trade_id,paid_fen\r\nt1,=1+1\r\n", 2),
        ("trade_id,paid_fen\r\n,5\r\n", 2),
        ("trade_id,paid_fen\r\nt1,5,6\r\n", 2),
        ("trade_id,paid_fen\r\nt1,١\r\n", 2),
    ],
)
def test_what_is_wrong_in_their_file_is_named_by_row(text: str, row: int) -> None:
    with pytest.raises(InvalidInput) as refused:
        reconcile.read(text.encode(), "csv", "", json.loads)
    assert refused.value.facts["row"] == row


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff\xfe\x00", b"a,b\r\n1,2\r\n", b'trade_id\r\n"open', b"trade_id,trade_id\r\n1,2"],
)
def test_a_file_that_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        reconcile.read(data, "csv", "", json.loads)


# --- over HTTP --------------------------------------------------------------------------------


class Desk:
    """An exchange with two trades of today: one settled, one paid."""

    def __init__(self, hall: Hall) -> None:
        self.hall = hall
        self.person = hall.exchange("gz-test", filing_required=True, fee_permyriad=300)
        self.other = hall.exchange("sz-test")
        provider = hall.person("seller", "provider", uscc=USCC[0])
        self.buyer = hall.person("buyer", "buyer", uscc=USCC[1])
        descriptor, data = small_corpus(provider)
        provider.upload(data)
        self.listing = sold_as(hall, provider, descriptor, by=self.person, venue="gz-test")
        self.settled, self.paid = self._trade(), self._trade()
        self._settle(self.settled)
        self.buyer.buy(self.listing)

    def _trade(self) -> dict[str, Any]:
        trade = self.buyer.buy(self.listing)
        path = f"/v1/trades/{trade['trade_id']}"
        self.person.post(f"{path}/file", {"filing_no": f"=BA-{next(_numbers)}"})
        self.hall.pay(trade, self.person)
        return self.buyer.wait(trade["trade_id"], "delivered")

    def _settle(self, trade: dict[str, Any]) -> None:
        path = f"/v1/trades/{trade['trade_id']}"
        manifest = self.buyer.get(f"/v1/deliveries/{trade['delivery_id']}")["manifest_digest"]
        self.buyer.post(f"{path}/accept", {"manifest_digest": manifest})
        for step in ("bill", "settle"):
            self.person.post(f"{path}/{step}")

    def day(self, **query: str) -> httpx2.Response:
        path = "/v1/venues/gz-test/statement"
        return self.person.raw("GET", path, params={"day": TODAY, **query})

    def compare(self, data: bytes, kind: str, **query: str) -> httpx2.Response:
        return self.person.raw(
            "POST",
            "/v1/venues/gz-test/reconciliation",
            params={"day": TODAY, **query},
            content=data,
            headers={"content-type": sheets.MEDIA[kind], "idempotency-key": uuid.uuid4().hex},
        )


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with open_hall(tmp_path_factory.mktemp("hall") / "data") as hall:
        yield Desk(hall)


def test_a_day_says_what_happened_to_every_signed_trade(desk: Desk) -> None:
    found = desk.day().json()
    lines = {item["trade_id"]: item for item in found["items"]}
    assert len(lines) == 3
    settled, paid = lines[desk.settled["trade_id"]], lines[desk.paid["trade_id"]]
    assert (settled["paid_fen"], settled["settled_fen"], settled["held_fen"]) == (10001, 10001, 0)
    assert (settled["fee_fen"], settled["net_fen"]) == (300, 9701)
    assert (paid["paid_fen"], paid["settled_fen"], paid["held_fen"]) == (10001, 0, 10001)
    assert found["totals"] == {name: sum(item[name] for item in found["items"]) for name in MONEY}
    for path in ("/v1/venues/gz-test/statement", "/v1/venues/gz-test/reconciliations"):
        assert desk.other.raw("GET", path, params={"day": TODAY}).status_code == 403
    assert (
        desk.person.raw("GET", "/v1/venues/gz-test/statement", params={"day": "2020-01-01"}).json()[
            "items"
        ]
        == []
    )


@pytest.mark.parametrize("day", ["today", "2026-02-30", "0001-01-01", "9999-12-31", "20261128"])
def test_what_is_no_day_is_refused(desk: Desk, day: str) -> None:
    answer = desk.day(day=day)
    assert answer.status_code in (200, 422)
    assert answer.status_code == 422 or answer.json()["items"] == []


def test_the_table_of_a_day_is_typed_and_runs_nothing(desk: Desk) -> None:
    text = desk.day(format="csv").content.decode("utf-8-sig")
    rows = list(csv.reader(io.StringIO(text)))
    assert [name.split(" ")[0] for name in rows[0]] == list(statement.COLUMNS)
    assert any(cell.startswith("'=BA-") for row in rows for cell in row)
    book = openpyxl.load_workbook(io.BytesIO(desk.day(format="xlsx").content))
    sheet = book.active
    assert sheet is not None
    cells = [c for row in sheet.iter_rows() for c in row]
    assert {c.data_type for c in cells} <= {"s", "n", "inlineStr"}
    totals = desk.day().json()["totals"]
    last = [c.value for c in list(sheet.iter_rows())[-1]]
    assert last[-len(MONEY) :] == list(totals.values())


@pytest.mark.parametrize("kind", ["csv", "xlsx", "json"])
def test_our_own_statement_matches_itself(desk: Desk, kind: str) -> None:
    data = desk.day(format=kind).content
    answer = desk.compare(data, kind)
    assert answer.status_code == 201, answer.text
    found = answer.json()
    assert found["counts"] == {
        "matched": 3, "different": 0, "missing_there": 0, "missing_here": 0, "twice": 0,
    }  # fmt: skip
    assert found["result"]["totals"]["ours"] == found["result"]["totals"]["theirs"]


def test_every_difference_is_named_field_by_field_and_kept(desk: Desk) -> None:
    rows = [
        {"trade_id": desk.settled["trade_id"], "paid_fen": 10_001, "fee_fen": 301},
        {"trade_id": "trd_of_theirs", "paid_fen": 7, "contract_no": '=HYPERLINK("x")'},
        {"trade_id": desk.settled["trade_id"], "paid_fen": 10_001},
    ]
    made = desk.compare(json.dumps(rows).encode(), "json").json()
    assert made["counts"] == {
        "matched": 0, "different": 1, "missing_there": 2, "missing_here": 1, "twice": 1,
    }  # fmt: skip
    different = next(i for i in made["result"]["items"] if i["outcome"] == "different")
    assert different["differences"] == [{"field": "fee_fen", "ours": 300, "theirs": 301}]
    path = f"/v1/venues/gz-test/reconciliations/{made['reconciliation_id']}"
    assert desk.person.get(path) == made
    text = desk.person.raw("GET", path, params={"format": "csv"}).content.decode("utf-8-sig")
    table = list(csv.reader(io.StringIO(text)))
    assert len(table) == 1 + len(made["result"]["items"])
    book = openpyxl.load_workbook(
        io.BytesIO(desk.person.raw("GET", path, params={"format": "xlsx"}).content)
    )
    assert book.active is not None
    assert book.active.max_row == len(table)
    listed = desk.person.get("/v1/venues/gz-test/reconciliations")["items"]
    assert made["reconciliation_id"] in {r["reconciliation_id"] for r in listed}
    assert desk.other.raw("GET", path).status_code == 403


def test_the_forms_of_an_exchange_are_compared_through_their_mapping(desk: Desk) -> None:
    records = [
        desk.buyer.get(f"/v1/trades/{t['trade_id']}/record", params={"form": "gzdex"})
        for t in (desk.settled, desk.paid)
    ]
    records[1]["计价"]["金额元"] = "100.02"
    answer = desk.compare(json.dumps(records).encode(), "json", form="gzdex")
    found = answer.json()
    assert found["counts"]["missing_there"] == 1
    different = [i for i in found["result"]["items"] if i["outcome"] == "different"]
    amounts = [d for i in different for d in i["differences"] if d["field"] == "amount_fen"]
    assert amounts == [{"field": "amount_fen", "ours": 10_001, "theirs": 10_002}]


def test_the_schema_of_the_neutral_record_is_there_for_everyone(desk: Desk) -> None:
    schema = desk.hall.stranger.get("/v1/schemas/trading-record")
    assert schema["$id"] == "urn:yaosu:schema:trading-record:1.0"
    assert desk.hall.stranger.raw("GET", "/v1/schemas/..%2fsecret").status_code == 404


def test_the_same_call_is_compared_once(desk: Desk) -> None:
    key = {"idempotency-key": uuid.uuid4().hex, "content-type": "application/json"}
    path = "/v1/venues/gz-test/reconciliation"
    sent = [
        desk.person.raw("POST", path, content=b"[]", params={"day": TODAY}, headers=key).json()
        for _ in range(2)
    ]
    assert sent[0] == sent[1]
    assert sent[0]["counts"]["missing_there"] == 3


@pytest.mark.parametrize(
    ("data", "kind", "status"),
    [
        (b"{", "json", 400),
        (b"[1]", "json", 400),
        (b'[{"trade_id": "t", "paid_fen": 1.5}]', "json", 201),
        (b"PK\x03\x04 no zip", "xlsx", 400),
        (b"\x00" * 100, "csv", 400),
        (b"x" * (9 << 20), "csv", 413),
    ],
)
def test_files_that_cannot_be_read_are_refused(
    desk: Desk, data: bytes, kind: str, status: int
) -> None:
    assert desk.compare(data, kind).status_code == status


def test_a_day_is_found_among_many_events(desk: Desk) -> None:
    with desk.hall.market.store.read() as reader:
        last = reader.events_after(0, limit=10_000)[-1]
        for at in (last.at, last.at + timedelta(days=1), datetime(2020, 1, 1, tzinfo=UTC)):
            before = statement.last_before(reader, at)
            found = reader.events_after(0, limit=10_000)
            assert all(e.at < at for e in found if e.id <= before)
            assert sum(e.at < at for e in found if e.id > before) <= 1


def test_the_pages_show_the_day_and_what_differs_in_both_languages(desk: Desk) -> None:
    assert desk.person.key
    for lang, words in (("en", ("Paid in", "Different")), ("zh", ("当日收款", "不一致"))):
        who = Paper(desk.hall.address, lang)
        who.log_in(desk.person.key)
        page = who.get(f"/exchange?day={TODAY}")
        assert page.says(words[0])
        assert page.says("¥100.01")
        rows = [{"trade_id": desk.settled["trade_id"], "fee_fen": 301, "filing_no": "<b>x</b>"}]
        page = who.send_file(
            page, "/exchange/gz-test/reconciliation", "b.json", json.dumps(rows).encode()
        )
        assert page.status == 200, page.words
        assert page.says(words[1])
        assert page.says("<b>x</b>")
        assert page.says("¥3.01")
        for kind in ("csv", "xlsx"):
            link = next(a for a in page.links if a.endswith(f".{kind}"))
            assert who.http.get(link).headers["content-type"] == sheets.MEDIA[kind]
    answer = who.get(f"/exchange?day={TODAY}&venue=sz-test")
    assert answer.status == 403
    broken = who.send_file(
        who.get(f"/exchange?day={TODAY}"), "/exchange/gz-test/reconciliation", "b.csv", b"a,b\n1,2"
    )
    assert broken.status == 422
    assert broken.says("trade_id")
