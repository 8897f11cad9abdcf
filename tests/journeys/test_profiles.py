"""What parties show of themselves: what they chose, checked by others, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from paper import Paper
from people import USCC, Hall, Person, until
from stall import offered
from terminal import Terminal, terminal_in
from yaosu import profiles
from yaosu.model import Listing, ListingState, Venue, new_id

EVIL = '</script><script>alert(1)</script><img src=x onerror=alert(2)>"]]>'
SERVICE = {
    "kind": "quality",
    "name": "语料质量评价",
    "name_en": "Corpus quality evaluation",
    "text": f"**按标准**评价 {EVIL}",
    "regions": ["440000"],
    "price_fen": 5_000_000,
    "unit": "次",
}


BACKWARDS = {"valid_from": "2030-02-01", "valid_until": "2030-01-01"}


def edited(who: Person, **changes: Any) -> Any:
    return who.raw("PUT", "/v1/profile", changes)


@pytest.fixture(scope="module")
def assessor(hall: Hall) -> Person:
    """A third party that shows what it is, with words that are up to no good."""
    found = hall.person("yuece", "reviewer", uscc=USCC[1])
    made = edited(
        found,
        state="public",
        region="440100",
        about=f"评估机构 {EVIL} [x](javascript:alert(3))",
        website="https://yuece.example/",
        contact={"email": "desk@yuece.example"},
        services=[SERVICE, {"kind": "legal", "name": "法律意见"}],
        qualifications=[
            {"name": "检验检测资质", "number": "Q-1", "valid_until": "2031-01-01"},
            {"name": "旧资质", "valid_until": "2020-01-01"},
        ],
    )
    assert made.status_code == 200, made.text
    return found


def test_a_party_is_in_the_directory_once_it_says_so(hall: Hall, assessor: Person) -> None:
    quiet = hall.person("quiet", "provider")
    dealer = hall.person("dealer", "buyer")
    for who, region in ((dealer, "440300"), (quiet, "110100")):
        assert edited(who, roles=["data_dealer"], region=region).status_code == 200
    assert edited(dealer, state="public").status_code == 200

    def names(**where: str) -> set[str]:
        found = hall.stranger.get("/v1/parties", params={"role": "", **where})["items"]
        return {p["slug"] for p in found}

    assert {"yuece", "dealer"} <= names()
    assert "quiet" not in names()
    assert names(role="data_dealer") == {"dealer"}
    assert names(role="third_party") == {"yuece"}  # by what its keys may do
    assert names(region="440000") == {"dealer", "yuece"}
    assert names(region="440300") == {"dealer"}
    for wrong in ({"role": "king"}, {"region": "990000"}):
        assert hall.stranger.raw("GET", "/v1/parties", params=wrong).status_code == 422
    assert hall.stranger.raw("GET", f"/v1/parties/{quiet.id}/profile").status_code == 404
    assert "/parties/yuece" in hall.stranger.raw("GET", "/sitemap.xml").text


def test_nothing_personal_is_shown_that_was_not_chosen(hall: Hall, assessor: Person) -> None:
    shown = hall.stranger.get(f"/v1/parties/{assessor.id}/profile")
    text = json.dumps(shown, ensure_ascii=False)
    assert "yuece@example.org" not in text  # the contact of the account
    assert shown["uscc"] == profiles.masked_uscc(USCC[1]) == "914***********X01N"
    assert shown["statistics"] is None
    page = Paper(hall.address, "zh").get("/parties/yuece")
    for hidden in ("yuece@example.org", USCC[1]):
        assert hidden not in page.response.text
    edited(assessor, show_uscc=True, show_statistics=True)
    shown = hall.stranger.get(f"/v1/parties/{assessor.id}/profile")
    assert shown["uscc"] == USCC[1]
    assert shown["statistics"] == {"sold": 0, "bought": 0}
    edited(assessor, show_uscc=False, show_statistics=False)


def test_a_credit_code_is_whole_to_those_who_trade_with_it(hall: Hall, assessor: Person) -> None:
    seller = hall.person("coded", "provider", uscc=USCC[0])
    buyer, other = hall.person("its-buyer", "buyer"), hall.person("its-reader", "buyer")
    path = f"/v1/parties/{seller.id}"

    def code(who: Person) -> Any:
        return who.get(path)["uscc"]

    masked = profiles.masked_uscc(USCC[0])
    assert [code(w) for w in (hall.stranger, buyer, other, assessor)] == [masked] * 3 + [USCC[0]]
    assert {code(w) for w in (seller, hall.reviewer, hall.admin)} == {USCC[0]}
    buyer.buy(offered(hall, seller, "coded-zh"))
    assert (code(buyer), code(other)) == (USCC[0], masked)
    edited(seller, show_uscc=True)
    assert code(hall.stranger) == USCC[0]


def test_words_of_strangers_do_no_harm_on_the_page(hall: Hall, assessor: Person) -> None:
    page = Paper(hall.address, "en").get("/parties/yuece")
    source = page.response.text
    for harm in ("<script>alert", "<img src=x", 'href="javascript', ']]>"', "</script><script>"):
        assert harm not in source, harm
    assert page.says("Corpus quality evaluation")
    assert page.says("¥50,000")
    assert page.says("on request")
    block = source.split('<script type="application/ld+json">')[1].split("</script>")[0]
    data = json.loads(block)
    assert data["@type"] == "Organization"
    assert data["makesOffer"][0]["price"] == "50000.00"
    assert EVIL in data["description"]


def test_a_qualification_is_checked_by_an_operator_until_it_is_changed(
    hall: Hall, assessor: Person
) -> None:
    path = f"/v1/parties/{assessor.id}/qualifications/0/check"
    for who in (assessor, hall.person("nosy", "buyer")):
        assert who.raw("POST", path, {}).status_code in (403, 404)
    checked = hall.admin.post(path)["qualifications"]
    assert [(q["checked"], q["expired"]) for q in checked] == [(True, False), (False, True)]
    assert hall.admin.raw("POST", path.replace("/0/", "/9/"), {}).status_code == 404
    first = {"name": "检验检测资质", "number": "Q-1", "valid_until": "2031-01-01"}
    kept = edited(assessor, qualifications=[first]).json()["qualifications"]
    assert kept[0]["checked"] is True
    longer = {**first, "valid_until": "2039-01-01"}
    kept = edited(assessor, qualifications=[longer]).json()["qualifications"]
    assert kept[0]["checked"] is False


@pytest.mark.parametrize(
    "wrong",
    [
        {"website": "javascript:alert(1)"},
        {"website": "https://user:pw@a.example"},
        {"website": "http://a.example"},
        {"contact": {"email": "not a mailbox"}},
        {"contact": {"fax": "1"}},
        {"roles": ["exchange"]},
        {"region": "999999"},
        {"state": "loud"},
        {"services": [{"kind": "magic", "name": "n"}]},
        {"services": [{"kind": "legal", "name": "n", "price_fen": 1.5}]},
        {
            "qualifications": [
                {"name": "n", "valid_from": "2030-01-02", "valid_until": "2030-01-01"}
            ]
        },
        {"qualifications": [{"name": "n", "checked_by": "me"}]},
    ],
)
def test_what_no_page_can_show_rightly_is_refused(assessor: Person, wrong: dict[str, Any]) -> None:
    answer = edited(assessor, **wrong)
    assert answer.status_code == 422, answer.text


def test_a_provider_on_the_market_has_a_page_with_its_name_alone(hall: Hall) -> None:
    seller = hall.person("seller", "provider")
    paper = Paper(hall.address, "en")
    assert paper.get("/parties/seller").status == 404

    def step(tx: Any) -> None:
        if tx.one(Venue, id="otc") is None:
            tx.add(Venue(id="otc", name="场外", name_en="OTC"))
        made = Listing(
            id=new_id("lst"), dataset_id=new_id("dst"), provider_id=seller.id, title="甲数据",
            publisher="seller", name="a", version=1, state=ListingState.LISTED,
            descriptor={"name": "a"}, created_at=tx.now, updated_at=tx.now, listed_at=tx.now,
        )  # fmt: skip
        tx.add(made)

    hall.market.store.write(step)
    page = paper.get("/parties/seller")
    assert page.status == 200
    assert page.says("甲数据")
    assert page.says("This party shows no more than its datasets do.")


def test_a_party_edits_its_page_without_scripts(hall: Hall) -> None:
    broker = hall.person("broker-co", "buyer")
    who = Paper(hall.address, "en")
    assert broker.key
    who.log_in(broker.key)
    page = who.get("/profile")
    page = who.send(
        page, "/profile/texts", public="yes", roles="broker", region="440300", about_en="We match.",
        website="https://broker.example/",
    )  # fmt: skip
    assert page.says("Done.")
    page = who.send(page, "/profile/new_service", kind="brokerage", name="撮合", price="120.50")
    page = who.send(page, "/profile/new_qualification", name="经纪人备案", valid_until="2030-02-02")
    page = who.send(page, "/profile/new_qualification", name="x", valid_until="soon")
    assert page.status == 422
    page = who.get("/parties/broker-co")
    assert page.says("Data broker")
    assert page.says("¥120.50")
    assert page.says("We match.")
    assert who.get("/parties?role=broker").says("broker-co 公司")
    page = who.send(who.get("/profile"), "/profile/remove_service")
    assert not who.get("/parties/broker-co").says("¥120.50")


@pytest.fixture
def yaosu(
    hall: Hall, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Terminal]:
    for found in terminal_in(tmp_path, capsys, monkeypatch):
        monkeypatch.setenv("YAOSU_MARKET", hall.address)
        yield found


def test_profiles_searches_and_notices_by_command(
    yaosu: Terminal, hall: Hall, tmp_path: Path
) -> None:
    key = hall.person("shell", "buyer").key
    (tmp_path / "profile.json").write_text(json.dumps({"services": [SERVICE]}), "utf-8")
    made = yaosu.ok(
        "profile", "edit", str(tmp_path / "profile.json"), "--publish", "--role", "broker", key=key
    )
    assert made["state"] == "public"
    listed = yaosu.ok("profile", "directory", "--role", "broker")["items"]
    assert "shell" in {p["slug"] for p in listed}
    assert yaosu.ok("profile", "show")["services"][0]["kind"] == "quality"
    saved = yaosu.ok("searches", "save", "指令", "中文 指令", "--facet", "modality=text")
    assert saved["filters"] == {"modality": ["text"]}
    assert yaosu.ok("searches", "switch", saved["search_id"], "--off")["on"] is False
    assert yaosu.ok("searches", "list")["items"][0]["name"] == "指令"
    assert yaosu.ok("searches", "forget", saved["search_id"])["removed"] is True
    assert yaosu.ok("notices", "list")["items"] == []
    assert yaosu.ok("notices", "inbox", "--mute", "trade")["muted"] == ["trade"]
    assert yaosu.ok("notices", "feed")["atom"].endswith(".atom")
    assert yaosu.ok("notices", "read") == {"read": 0}
    assert yaosu.ok("notices", "expiring")["items"] == []
    assert yaosu.ok("renewal", "list")["items"] == []


def test_a_reviewed_version_is_counted_for_who_reviewed_it(hall: Hall) -> None:
    judge = hall.person("judge", "reviewer")
    assert edited(judge, state="public").status_code == 200
    me = judge.get("/v1/me")["member_id"]

    def step(tx: Any) -> str:
        listing = tx.find(Listing, publisher="seller", limit=1)[0]
        tx.record(listing.id, "register", actor_id=me, to_state="registered")
        return str(listing.title)

    title = hall.market.store.write(step)
    shown = until(
        lambda: hall.stranger.get(f"/v1/parties/{judge.id}/profile")["attested"],
        lambda found: found["reviews"] == 1,
    )
    assert [one["title"] for one in shown["latest"]] == [title]
