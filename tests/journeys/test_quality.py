"""Quality on the market: what buyers see, what people judge, what a provider contests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from paper import Paper
from people import USCC, Hall, Person, Refused, open_hall, small_corpus
from yaosu.model import Listing
from yaosu.quality.manual_sample import state_of


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hall]:
    with open_hall(tmp_path_factory.mktemp("quality")) as found:
        yield found


@pytest.fixture(scope="module")
def provider(hall: Hall) -> Person:
    return hall.person("lingnan", "provider", uscc=USCC[0])


@pytest.fixture(scope="module")
def listing(provider: Person) -> str:
    descriptor, data = small_corpus(provider)
    provider.upload(data)
    made = provider.draft(descriptor)
    provider.submit(made["listing_id"])
    return str(made["listing_id"])


def lines_of(card: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {m["id"]: m for part in card["parts"] for m in part["measures"]}


def test_a_version_has_a_scorecard_as_soon_as_it_is_judged(provider: Person, listing: str) -> None:
    card = provider.get(f"/v1/listings/{listing}/scorecard")
    report = provider.get(f"/v1/listings/{listing}/report")
    assert card["report_digest"] == report["digest"]
    lines = lines_of(card)
    assert lines["own:dup_exact"]["denominator"] == 40
    assert lines["tc609:0101"]["denominator"] == 5
    assert {m["id"] for m in report["metrics"]} == set(lines)


def test_two_people_judge_the_sample_and_a_third_where_they_differ(
    hall: Hall, provider: Person, listing: str
) -> None:
    first, second, third = (hall.person(f"rev-{n}", "reviewer") for n in "abc")
    path = f"/v1/listings/{listing}/sample"
    start = first.get(path)
    assert (start["n"], start["records"], start["complete"]) == (40, 40, False)
    records = first.get(f"{path}/next?limit=50")["records"]
    items = [r["item"] for r in records]
    assert sorted(items) == list(range(40))
    assert all("instruction" in r["record"] for r in records)

    def say(who: Person, verdicts: dict[int, bool]) -> dict[str, Any]:
        said = [{"item": item, "passed": passed} for item, passed in verdicts.items()]
        answer: dict[str, Any] = who.post(path, {"verdicts": said})
        return answer

    say(first, dict.fromkeys(items, True))
    with pytest.raises(Refused) as twice:
        say(first, {items[0]: True})
    assert twice.value.response.status_code == 409
    assert first.get(f"{path}/next")["records"] == []
    half = say(second, {item: item not in items[:2] for item in items})
    assert (half["passed"], half["disputed"], half["complete"]) == (38, 2, False)
    assert [r["item"] for r in third.get(f"{path}/next")["records"]] == items[:2]
    done = say(third, {items[0]: True, items[1]: False})
    assert (done["passed"], done["failed"], done["complete"]) == (39, 1, True)
    assert done["measure"]["pass"] is True  # 39 of 40 are 97.5 %, compared with integers
    low, high = done["interval_95"]
    assert low < 39 / 40 < high
    line = lines_of(provider.get(f"/v1/listings/{listing}/scorecard"))["tc260:manual_pass"]
    assert (line["basis"], line["numerator"], line["denominator"]) == ("human", 39, 40)
    assert line["command"] is None
    page = provider.raw("GET", f"/v1/listings/{listing}/report")
    assert "tc260:manual_pass" not in [m["id"] for m in page.json()["metrics"]]


def test_nobody_judges_who_has_a_stake_or_no_part(
    hall: Hall, provider: Person, listing: str
) -> None:
    body = {"verdicts": [{"item": 0, "passed": True}]}
    answer = provider.raw("POST", f"/v1/listings/{listing}/sample", body)
    assert answer.status_code == 403
    buyer = hall.person("some-buyer", "buyer")
    assert buyer.raw("GET", f"/v1/listings/{listing}/sample/next").status_code in (403, 404)


def test_one_person_with_two_keys_is_one_pair_of_eyes(hall: Hall, provider: Person) -> None:
    descriptor, data = small_corpus(provider)
    provider.upload(data)
    descriptor = {**descriptor, "name": "second-corpus"}
    made = provider.draft(descriptor)["listing_id"]
    provider.submit(made)
    lead = hall.person("rev-lead", "reviewer")
    added = lead.post("/v1/members", {"name": "colleague", "roles": ["reviewer"]})
    colleague = Person(str(lead.http.base_url), added["key"], lead.party)
    path = f"/v1/listings/{made}/sample"
    item = lead.get(f"{path}/next")["records"][0]["item"]
    body = {"verdicts": [{"item": item, "passed": True}]}
    lead.post(path, body)
    refused = colleague.raw("POST", path, body)
    assert refused.status_code == 409, refused.text


def test_a_contest_and_its_answer_stand_beside_the_measure(
    hall: Hall, provider: Person, listing: str
) -> None:
    path = f"/v1/listings/{listing}"
    unknown = provider.raw("POST", f"{path}/contest", {"about": "own:no", "text": "t"})
    assert unknown.status_code == 422
    reviewer = hall.person("rev-answer", "reviewer")
    about = {"about": "own:dup_near"}
    early = reviewer.raw("POST", f"{path}/answer_contest", {**about, "text": "t"})
    assert early.status_code == 409
    provider.post(f"{path}/contest", {**about, "text": "模板化问句属业务需要"})
    reviewer.post(f"{path}/answer_contest", {**about, "text": "已核对，理由成立"})
    said = reviewer.get(path)["contests"]
    assert [(c["about"], c["kind"]) for c in said] == [
        ("own:dup_near", "contest"),
        ("own:dup_near", "answer"),
    ]
    assert provider.get(f"{path}/report")["contests"] == said


def test_rows_behind_a_number_open_for_who_may_read_the_data(
    hall: Hall, provider: Person, listing: str
) -> None:
    path = f"/v1/listings/{listing}/records?resource=train&rows=2,3"
    rows = provider.get(path)["rows"]
    assert [r["row"] for r in rows] == [2, 3]
    reviewer = hall.person("rev-rows", "reviewer")
    reviewer.get(path)
    events = provider.get(f"/v1/listings/{listing}/events")["items"]
    assert any(e["type"] == "data_read" and e["payload"]["rows"] == 2 for e in events)
    buyer = hall.person("other-buyer", "buyer")
    assert buyer.raw("GET", path).status_code == 404
    bad = provider.raw("GET", f"/v1/listings/{listing}/records?resource=train&rows=1;2")
    assert bad.status_code == 422


def offered(hall: Hall, who: Person, name: str, numbers: range) -> str:
    """List a corpus of generated instructions; returns the listing."""
    rows = [
        {
            "instruction": f"第 {n} 号巡检点位的阀门读数是多少？请给出处理意见",
            "output": f"编号 {n * 7919} 正常",
        }
        for n in numbers
    ]
    data = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows).encode()
    descriptor, _ = small_corpus(who, name)
    resource = descriptor["resources"][0]
    resource |= {"bytes": len(data), "hash": f"sha256:{hashlib.sha256(data).hexdigest()}"}
    who.upload(data)
    made = who.draft(descriptor)["listing_id"]
    who.submit(made)
    hall.listed(who, made)
    return str(made)


def test_what_two_listings_share_stands_on_both_and_hides_the_hidden(
    hall: Hall, provider: Person
) -> None:
    rival = hall.person("rival", "provider", uscc=USCC[1])
    one = offered(hall, provider, "shared-one", range(1000, 1400))
    two = offered(hall, rival, "shared-two", range(1200, 1800))
    card, other = (provider.get(f"/v1/listings/{x}/scorecard") for x in (one, two))
    (pair,) = card["shares_content_with"]
    assert pair["listing_id"] == two
    assert pair["records"]["of_mine"]["estimate"] == pytest.approx(0.5)  # both samples are whole
    assert pair["records"]["of_theirs"]["estimate"] == pytest.approx(1 / 3)
    (turned,) = other["shares_content_with"]
    assert turned["records"]["of_mine"] == pair["records"]["of_theirs"]
    line = lines_of(card)["own:market_overlap"]
    assert (line["basis"], line["numerator"], line["denominator"]) == ("market", 200, 400)
    attested = provider.get(f"/v1/listings/{one}/attestation")["measures"]
    assert [m["value"] for m in attested if m["basis"] == "market"] == [0.5]
    hall.market.store.write(lambda tx: tx.put(replace(tx.get(Listing, two), view_policy="private")))
    assert provider.get(f"/v1/listings/{one}/scorecard")["shares_content_with"] == []


def browser(hall: Hall, person: Person, lang: str) -> Paper:
    found = Paper(hall.address, lang)
    assert found.log_in(str(person.key)).status == 200
    return found


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_the_pages_of_quality_work_without_scripts(hall: Hall, provider: Person, lang: str) -> None:
    rival = hall.person(f"rival-{lang}", "provider", uscc=USCC[2 + (lang == "en")])
    one = offered(hall, provider, f"paged-one-{lang}", range(2000, 2300))
    offered(hall, rival, f"paged-two-{lang}", range(2100, 2500))
    provider.post(f"/v1/listings/{one}/contest", {"about": "own:dup_near", "text": "模板所致"})
    page = browser(hall, provider, lang).get(f"/datasets/lingnan/paged-one-{lang}")
    for said in ("模板所致", "own:market_overlap", f"paged-two-{lang}", "gbt36344:0302"):
        assert page.says(said), said
    reviewer = browser(hall, hall.person(f"rev-page-{lang}", "reviewer"), lang)
    rows = reviewer.get(f"/listings/{one}/rows?resource=train&rows=2,3")
    assert rows.status == 200
    assert rows.says("第 2000 号巡检点位")
    assert reviewer.get(f"/listings/{one}/rows?resource=no&rows=2").status == 404
    sample = reviewer.get(f"/review/{one}/sample")
    assert sample.status == 200
    (item, *_) = reviewer_items(hall, one)
    done = reviewer.send(sample, f"/review/{one}/sample", **{f"item-{item}": "pass"})
    assert done.status == 200
    assert provider.get(f"/v1/listings/{one}/sample")["begun"] == 1
    nothing = reviewer.send(sample, f"/review/{one}/sample")
    assert nothing.status == 422


def reviewer_items(hall: Hall, listing: str) -> list[int]:
    with hall.market.store.read() as reader:
        return list(state_of(reader, reader.get(Listing, listing)).sample)


def test_what_the_operator_registered_is_looked_for_in_every_version(
    hall: Hall, provider: Person
) -> None:
    folder = hall.market.settings.folder / "benchmarks"
    folder.mkdir()
    items = [{"question": f"第 {n} 号巡检点位的阀门读数是多少？请给出处理意见", "answer": "x"}
             for n in (3001, 3002, 9999)]  # fmt: skip
    text = "".join(json.dumps(i, ensure_ascii=False) + "\n" for i in items)
    (folder / "registered.jsonl").write_text(text, "utf-8")
    try:
        found = offered(hall, provider, "contaminated", range(3000, 3210))
    finally:
        (folder / "registered.jsonl").unlink()
        folder.rmdir()
    lines = lines_of(provider.get(f"/v1/listings/{found}/scorecard"))
    whole = lines["own:benchmark_whole"]
    assert (whole["basis"], whole["numerator"], whole["denominator"]) == ("market", 2, 3)
    assert whole["command"] is None
    report = provider.get(f"/v1/listings/{found}/report")
    (run,) = [c for c in report["checks"] if c["name"] == "corpus.contamination"]
    assert [b["name"] for b in run["options"]["benchmarks"]] == ["registered"]
    assert str(hall.market.settings.folder) not in json.dumps(report)
