"""The pages over plain HTTP: everything can be done without scripts, in both languages."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from ckanapi import RemoteCKAN

from paper import Page, Paper
from people import USCC, Hall, Person, open_hall, small_corpus, until
from yaosu.proof.verify import verify_path


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hall]:
    """A market on SQLite, shared by the tests of this file: names must not collide."""
    with open_hall(tmp_path_factory.mktemp("pages")) as found:
        yield found


@pytest.fixture(params=["sqlite", "postgresql"])
def any_hall(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Hall]:
    """A market on SQLite, and one on PostgreSQL."""
    url = request.getfixturevalue("migrated_url") if request.param == "postgresql" else ""
    with open_hall(tmp_path / "data", database_url=url) as found:
        yield found


@pytest.fixture(scope="module")
def provider(hall: Hall) -> Person:
    return hall.person("lingnan", "provider", uscc=USCC[0])


def browser(hall: Hall, person: Person | None = None, lang: str = "en") -> Paper:
    """Return a browser, logged in with the person's key."""
    found = Paper(hall.address, lang)
    if person is not None:
        assert person.key
        assert found.log_in(person.key).status == 200
    return found


def listed(hall: Hall, provider: Person, name: str, **price: Any) -> tuple[str, bytes]:
    """List a small corpus with a standing offer; returns (listing id, bytes of its file)."""
    descriptor, data = small_corpus(provider, name, **price)
    provider.upload(data)
    found = provider.submit(provider.draft(descriptor)["listing_id"])
    assert found["state"] == "review", found
    if price.get("mode") != "negotiated":
        provider.offer(found["listing_id"])
    hall.listed(provider, found["listing_id"])
    return found["listing_id"], data


def reloaded(who: Paper, page: Page, text: str) -> Page:
    """Load the page again until it says so."""
    return until(lambda: who.get(page.url.path), lambda p: p.says(text), seconds=30, every=0.2)


def test_a_stranger_registers_buys_and_gets_a_receipt_without_scripts(
    any_hall: Hall, tmp_path: Path
) -> None:
    hall = any_hall
    provider = hall.person("lingnan", "provider", uscc=USCC[0])
    listing_id, data = listed(hall, provider, "paper-trade")
    buyer = browser(hall)
    page = buyer.send(
        buyer.get("/signup"),
        "/signup",
        name="纸上公司",
        slug="paper-co",
        member="陈工",
        roles="buyer",
    )
    assert page.status == 201
    assert page.says("shown this once")
    page = buyer.send(page, "/login")
    assert page.says("paper-co")
    assert page.says("not verified yet")

    operator = browser(hall, hall.admin)
    page = operator.get("/admin")
    form = next(f for f in page.forms if f.action.endswith("/verify"))
    page = operator.send(page, form.action, evidence="licence seen")
    assert page.says("The organisation is verified.")

    found = until(lambda: buyer.get("/search?q=paper-trade"), lambda p: p.says("1 datasets"))
    address = next(a for a in found.links if a.startswith("/datasets/lingnan/paper-trade"))
    page = buyer.get(address)
    page = buyer.send(page, "/order", purpose="training a model", button="take")
    assert page.says("The trade has begun.")
    assert page.says("You need a signing key first.")
    form = next(f for f in page.forms if ("held_by", "platform") in f.fields)
    page.forms = [form]
    page = buyer.send(page, "/keys/signing")
    page = buyer.send(page, "/sign")
    assert page.says("signed by the platform"), page.words
    trade = page.url.path

    for key in (hall.admin, hall.admin2):
        who = browser(hall, key)
        page = who.send(who.get(trade), "/confirm_payment", reference="bank-77")
    assert page.says("Done.")
    page = reloaded(buyer, page, "Accept the delivery")
    link = next(href for href in page.links if "/v1/deliveries/" in href)
    assert buyer.http.get(link).content == data
    page = buyer.send(page, "/accept")
    assert page.says("Download the receipt")

    kept = tmp_path / "receipt.json"
    answer = until(lambda: buyer.http.get(f"{trade}/receipt.json"), lambda a: a.status_code == 200)
    assert answer.headers["content-disposition"].startswith("attachment")
    kept.write_bytes(answer.content)
    assert verify_path(kept).valid
    page = buyer.send(buyer.get(trade), "/rate", score="4", text="as described")
    page = buyer.send(page, "/complete")
    assert page.says("This trade is closed.")
    assert buyer.http.get(f"{trade}/record.json").json()


def test_a_provider_gets_a_dataset_to_the_market_without_scripts(hall: Hall) -> None:
    provider = hall.person("paper-works", "provider", uscc=USCC[1])
    descriptor, data = small_corpus(provider, "paper-made")
    who = browser(hall, provider)
    bare = {"name": "paper-made", "title": "草稿", "resources": descriptor["resources"]}
    page = who.send(who.get("/console/new"), "/console/new", descriptor=json.dumps(bare))
    assert page.status == 200
    assert page.says("What is missing")
    assert page.says("/dataElement")
    assert page.says("Description")  # the field's name from the dictionary

    refused = who.send(page, "/submit")
    assert refused.status == 422
    assert refused.says("have not been uploaded")
    page = who.send_file(page, "/files", "train.jsonl", data)
    assert page.says("The file is here"), page.words
    page = who.send(page, "/revise", descriptor=json.dumps(descriptor, ensure_ascii=False))
    assert page.says("Complete: you can submit it."), page.words
    form = next(f for f in who.get("/keys").forms if ("held_by", "platform") in f.fields)
    keys = who.get("/keys")
    keys.forms = [form]
    who.send(keys, "/keys/signing")
    page = who.send(who.get(page.url.path), "/offer")
    assert page.says("Signed")
    page = who.send(page, "/submit")
    page = reloaded(who, page, "Under review")

    judge = browser(hall, hall.reviewer)
    queue = judge.get("/review")
    page_of = next(href for href in queue.links if href.endswith(page.url.path.split("/")[-1]))
    page = judge.get(page_of)
    assert page.says("All conditions are met.")
    page = judge.send(page, "/register", text="checked by hand")
    page = judge.send(page, "/list")
    assert page.says("Listed")

    mine = who.get(f"/console/listings/{page_of.split('/')[-1]}")
    page = who.send(mine, "/edit_text", title="新名称", keywords="机器人，巡检, robots")
    assert page.says("新名称")
    public = browser(hall).get("/datasets/paper-works/paper-made")
    assert public.status == 200
    assert public.says("新名称")
    assert public.says("机器人")


def test_negotiation_goes_through_the_pages(hall: Hall, provider: Person) -> None:
    listed(hall, provider, "paper-talk", mode="negotiated")
    lab = hall.person("talk-lab", "buyer")
    buyer, seller = browser(hall, lab), browser(hall, provider)
    page = buyer.get("/datasets/lingnan/paper-talk")
    page = buyer.send(page, "/order", purpose="evaluation", amount="120.50")
    trade = page.url.path
    page = seller.send(seller.get(trade), "/answer", amount="200")
    assert page.says("¥200")
    page = buyer.send(buyer.get(trade), "/counter", amount="150.05")
    assert page.says("¥150.05")
    wrong = buyer.send(seller.get(trade), "/agree")
    assert wrong.status == 403  # the token of another browser
    page = seller.send(seller.get(trade), "/agree")
    assert page.says("Contract")
    bad = seller.send(seller.get(trade), "/cancel", reason="changed our mind")
    assert bad.says("Cancelled")


@pytest.mark.parametrize(("asked", "spoken"), [("zh", "zh-CN"), ("en", "en")])
def test_pages_speak_the_language_of_the_browser_until_told_otherwise(
    hall: Hall, asked: str, spoken: str
) -> None:
    who = browser(hall, lang=f"{asked},fr;q=0.5")
    assert f'<html lang="{spoken}"' in who.get("/").response.text
    other = "en" if asked == "zh" else "zh"
    who.get(f"/?lang={other}")
    assert f'<html lang="{other}' in who.get("/search").response.text


def test_every_answer_is_a_page_under_a_strict_policy_and_links_only_what_is_there(
    hall: Hall, provider: Person
) -> None:
    listing_id, _ = listed(hall, provider, "paper-links")
    who = browser(hall, provider)
    seen: set[str] = set()
    for path in (
        *("/", "/search", "/search?q=nothing-at-all", "/login", "/signup", "/keys", "/trades"),
        *("/console", "/console/new", f"/console/listings/{listing_id}"),
        *("/datasets/lingnan/paper-links", "/datasets/lingnan/none", "/review"),
    ):
        page = who.get(path)
        head = page.response.headers
        assert head["content-type"].startswith("text/html"), path
        policy = head["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in policy
        seen.update(page.assets)
    assert seen
    for asset in seen:
        assert who.http.get(asset).status_code == 200, asset


def test_an_operator_registers_a_benchmark_on_a_page_and_others_see_its_digest(hall: Hall) -> None:
    operator = browser(hall, hall.admin)
    page = operator.get("/registered")
    line = b'{"question": "how many valves has a pump with two of them", "answer": "2"}\n'
    page = operator.send_file(page, "/registered/benchmarks", "b.jsonl", line, name="valves")
    assert page.says("Registered: every corpus is looked through for it from now on.")
    refused = operator.send_file(page, "/registered/rulesets", "w.csv", b"x\n1\n", name="words")
    assert refused.status == 422
    seen = browser(hall, hall.person("onlooker", "buyer"), "zh").get("/registered")
    assert seen.says("valves")
    assert seen.says("使用中")
    assert not seen.says("how many valves")
    assert not seen.has_form("/registered/benchmarks")
    page = operator.send(operator.get("/registered"), "/registered/benchmarks/valves/remove")
    assert page.says("removed")
    assert browser(hall).get("/registered").url.path == "/login"


def test_an_unknown_address_is_a_page_for_people_and_a_problem_for_programs(hall: Hall) -> None:
    who = browser(hall)
    page = who.get("/no/such/page", headers={"accept": "text/html"})
    assert page.status == 404
    assert page.says("no such address")
    for path in ("/no/such/page", "/v1/none"):
        accept = "text/html" if path.startswith("/v1") else "*/*"
        answer = who.http.get(path, headers={"accept": accept})
        assert answer.headers["content-type"] == "application/problem+json", path


def test_a_form_from_elsewhere_changes_nothing(hall: Hall, provider: Person) -> None:
    who = browser(hall, provider)
    before = len(provider.get("/v1/keys")["items"])
    fields = {"roles": "provider", "label": "stolen"}
    assert who.http.post("/keys/new", data=fields).status_code == 403
    token = dict(who.get("/keys").form("/keys/new").fields)["form_token"]
    foreign = {"sec-fetch-site": "cross-site"}
    whole = {**fields, "form_token": token}
    assert who.http.post("/keys/new", data=whole, headers=foreign).status_code == 403
    other = browser(hall)
    other.get("/login")
    assert other.http.post("/keys/new", data=whole).status_code == 403
    assert len(provider.get("/v1/keys")["items"]) == before
    assert who.http.post("/keys/new", data=whole).status_code == 201


def test_a_session_ends_with_its_key_and_is_never_made_up(hall: Hall) -> None:
    person = hall.person("short-lived", "buyer")
    who = browser(hall, person)
    assert who.get("/trades").url.path == "/trades"
    cookie = who.http.cookies["yaosu_session"]
    assert person.key
    assert person.key not in cookie
    forged = browser(hall)
    key_id, expires, nonce, mac = cookie.split(".")
    for made_up in (
        f"{key_id}.{int(expires) + 9}.{nonce}.{mac}",
        f"{key_id}.{expires}.{nonce}.",
        "....",
        "x" * 500,
    ):
        forged.http.cookies.set("yaosu_session", made_up)
        assert forged.get("/trades").url.path == "/login", made_up
    person.post(f"/v1/keys/{key_id}/revoke")
    assert who.get("/trades").url.path == "/login"


def test_a_wrong_key_is_told_on_the_page_and_login_leads_nowhere_else(hall: Hall) -> None:
    who = browser(hall)
    page = who.log_in("yk_00000000000000000000000000000000_nope")
    assert page.status == 401
    assert page.says("unknown, expired or revoked")
    for aim in ("//evil.example/x", "https://evil.example", "/\\evil.example", "javascript:x"):
        page = who.get("/login", params={"next": aim})
        assert ("next", "/") in page.form("/login").fields


def test_what_is_hidden_is_not_there_and_what_is_gone_leaves_a_stone(
    hall: Hall, provider: Person
) -> None:
    listing_id, _ = listed(hall, provider, "paper-gone")
    descriptor, _ = small_corpus(provider, "paper-secret")
    draft = provider.draft(descriptor)["listing_id"]
    stranger, rival = browser(hall), browser(hall, hall.person("rival", "provider"))
    assert stranger.get("/datasets/lingnan/paper-secret").status == 404
    assert rival.get(f"/console/listings/{draft}").status == 404
    assert rival.get(f"/review/{draft}").status in (403, 404)
    page = stranger.get("/datasets/lingnan/paper-gone")
    for private in ("示例联系人", "020-00000000", "示例地址"):
        assert private not in page.response.text
    assert "phone" not in stranger.http.get("/datasets/lingnan/paper-gone/datapackage.json").text

    provider.post(f"/v1/listings/{listing_id}/delist", {"reason": "end"})
    page = stranger.get("/datasets/lingnan/paper-gone")
    assert page.status == 410
    assert page.says("no longer offered")


def test_what_strangers_write_never_becomes_markup(hall: Hall, provider: Person) -> None:
    descriptor, data = small_corpus(provider, "paper-markup")
    evil = "<img src=x onerror=alert(1)>\"'</textarea></title><script>alert(1)</script>"
    descriptor["title"] = f"标题 {evil}"[:100]
    descriptor["description"] = (
        f"# Head\n\n{evil}\n\n[link](javascript:alert(1)) [safe](https://example.org) "
        "![pic](https://example.org/x.png)\n\n**bold**"
    )
    descriptor["keywords"] = [evil]
    provider.upload(data)
    listing_id = provider.draft(descriptor)["listing_id"]
    who = browser(hall, provider)
    assert who.get(f"/console/listings/{listing_id}").status == 200
    found = provider.submit(listing_id)
    assert found["state"] == "review"
    hall.listed(provider, listing_id)
    until(lambda: who.get("/search?q=bold"), lambda p: p.says("标题"))
    for path in ("/datasets/lingnan/paper-markup", "/search?q=alert", f"/search?q={evil}", "/"):
        text = who.get(path).response.text
        assert "<script>alert" not in text
        assert "<img src=x" not in text
        assert 'href="javascript' not in text
    page = who.get("/datasets/lingnan/paper-markup").response.text
    assert "<strong>bold</strong>" in page
    assert 'href="https://example.org" rel="nofollow noopener noreferrer ugc"' in page


def test_searching_says_what_is_wrong_and_goes_on(hall: Hall, provider: Person) -> None:
    who = browser(hall)
    assert who.get("/search?colour=red").says("unknown parameters")
    page = who.get("/search?cursor=nonsense")
    assert page.status == 200
    assert page.says("start again from the first page")
    page = who.get("/search?q=zzzzqqqq&modality=audio")
    assert page.says("Nothing matches.")
    assert page.says("without the filters")


def test_cursors_lead_through_all_results_once(hall: Hall, provider: Person) -> None:
    for n in range(3):
        listed(hall, provider, f"paper-page-{n}")
    who = browser(hall)
    until(lambda: who.get("/search?q=paper-page"), lambda p: p.says("3 datasets"))
    seen: list[str] = []
    page = who.get("/search?q=paper-page&limit=2")
    for _ in range(3):
        seen += [href for href in page.links if href.startswith("/datasets/lingnan/paper-page-")]
        if page.next is None:
            break
        page = who.get(page.next)
    assert sorted(seen) == [f"/datasets/lingnan/paper-page-{n}" for n in range(3)]


def test_those_who_ask_for_json_get_the_descriptor(hall: Hall, provider: Person) -> None:
    listing, _ = listed(hall, provider, "paper-json")
    who = browser(hall)
    assert who.get(f"/listings/{listing}").url.path == "/datasets/lingnan/paper-json"
    assert who.get("/listings/lst_none").status == 404
    answer = who.http.get("/datasets/lingnan/paper-json", headers={"accept": "application/json"})
    assert answer.json()["name"] == "paper-json"
    assert who.get("/dataset/lingnan__paper-json").url.path == "/datasets/lingnan/paper-json"
    assert who.get("/dataset/lingnan-paper-json").url.path == "/datasets/lingnan/paper-json"
    assert who.get("/dataset/none").status == 404


def test_what_a_page_says_to_copy_into_a_tool_works(hall: Hall, provider: Person) -> None:
    listed(hall, provider, "paper-tools", mode="free")
    stranger = browser(hall)
    text = html.unescape(stranger.http.get("/datasets/lingnan/paper-tools").text)
    described = re.search(r'mlcroissant\.Dataset\("([^"]+)"\)', text)
    named = re.search(r'RemoteCKAN\("([^"]+)"\)\.action\.package_show\(id="([^"]+)"\)', text)
    assert described
    assert named
    assert stranger.http.get(described[1]).json()["name"]
    with RemoteCKAN(named[1]) as ckan:
        assert ckan.action.package_show(id=named[2])["title"]


def test_whatever_strangers_type_gets_an_answer_and_the_server_stays_well(
    hall: Hall, testdata: Path
) -> None:
    listed_words: list[str] = json.loads(
        (testdata / "edge" / "blns" / "blns.json").read_text("utf-8")
    )
    who = browser(hall)
    form = dict(who.get("/signup").form("/signup").fields)
    for word in [w for w in listed_words if w][::3]:
        found = who.http.get("/search", params={"q": word})
        assert found.status_code == 200, word
        assert "<script>alert" not in found.text
        assert who.http.get("/suggest", params={"q": word}).status_code == 200
        assert who.http.get(f"/datasets/lingnan/{quote(word, safe='')}").status_code in (404, 400)
        sent = {**form, "name": word, "slug": word, "member": word, "roles": "buyer"}
        answer = who.http.post("/signup", data=sent)
        assert answer.status_code in (201, 409, 422), word
        assert answer.headers["content-type"].startswith("text/html")
    for word in ("\x00", "a\x07b", "\u202eevil", "%00"):
        sent = {**form, "name": f"x{word}", "slug": "ctl-name", "member": "m", "roles": "buyer"}
        assert who.http.post("/signup", data=sent).status_code in (201, 422)
    assert (
        who.http.get("/datasets/lingnan/a%00b", headers={"accept": "text/html"}).status_code == 404
    )
    assert who.http.get("/healthz").json()["status"] == "ok"
