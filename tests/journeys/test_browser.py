"""People at real browsers: the pages with their scripts, in Chromium, under the strict policy."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from people import USCC, Hall, Person, small_corpus, until
from yaosu.proof.verify import verify_path

sync_api = pytest.importorskip("playwright.sync_api")

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
VENDOR = Path(__file__).parents[2] / "catalog" / "yaosu" / "static" / "vendor"
scripts = pytest.mark.skipif(
    not (VENDOR / "tus.min.js").exists(), reason="no vendor scripts: run `python hatch_build.py`"
)


@pytest.fixture(scope="module")
def engine(chromium: str) -> Iterator[Any]:
    """One Chromium for the tests of this file."""
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield found
        found.close()


@contextmanager
def window(engine: Any, hall: Hall, person: Person | None = None, **more: Any) -> Iterator[Any]:
    """Open a window of a browser of one's own; fail on anything that its console complains of."""
    options = {"viewport": {"width": 1280, "height": 900}, "locale": "en-GB", **more}
    context = engine.new_context(**options)
    page = context.new_page()
    page.set_default_timeout(20_000)
    complaints: list[str] = []

    def said(message: Any) -> None:
        if message.type in ("error", "warning"):
            complaints.append(f"{message.text} ({page.url})")

    page.on("console", said)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "request",
        lambda request: (
            None
            if request.url.startswith((hall.address, "data:", "blob:"))
            else complaints.append(f"left the machine: {request.url}")
        ),
    )
    if person is not None:
        page.goto(f"{hall.address}/login")
        page.fill("input[name=key]", str(person.key))
        page.click("main button")
        page.wait_for_selector("a.me")
    try:
        yield page
        assert complaints == []
    finally:
        context.close()


@pytest.fixture(scope="module")
def provider(hall: Hall) -> Person:
    return hall.person("lingnan", "provider", uscc=USCC[0])


def listed(hall: Hall, provider: Person, name: str, **price: Any) -> tuple[str, bytes]:
    descriptor, data = small_corpus(provider, name, sample="train", **price)
    provider.upload(data)
    found = provider.submit(provider.draft(descriptor)["listing_id"])
    assert found["state"] == "review", found
    provider.offer(found["listing_id"])
    hall.listed(provider, found["listing_id"])
    until(
        lambda: hall.stranger.get("/v1/listings", params={"q": name}),
        lambda page: page["total"] > 0,
        seconds=10,
    )
    return found["listing_id"], data


def test_a_buyer_finds_orders_signs_in_the_browser_receives_and_keeps_a_receipt(
    engine: Any, hall: Hall, provider: Person, tmp_path: Path
) -> None:
    _, data = listed(hall, provider, "browser-buy")
    buyer = hall.person("browser-lab", "buyer")
    with window(engine, hall, buyer, accept_downloads=True) as page:
        page.goto(f"{hall.address}/")
        page.fill("#q", "browser-buy")
        page.press("#q", "Enter")
        page.click("article.card h3 a")
        page.wait_for_url("**/datasets/lingnan/browser-buy")
        assert page.locator("table.sample tbody tr").count() == 10
        page.fill("textarea[name=purpose]", "训练中文对话模型")
        page.click("button[name=take]")
        page.wait_for_url("**/trades/trd_*")

        page.click("form[data-new-key] button")
        page.click("form[data-sign-here] button")
        page.wait_for_selector(".seal >> nth=1")
        sides = page.locator(".seal").all_inner_texts()
        assert "own key" in sides[1]
        trade_id = page.url.split("/")[-1].split("?")[0]
        trade = buyer.get(f"/v1/trades/{trade_id}")
        assert trade["signatures"][1]["sign_mode"] == "01"
        assert trade["state"] == "filed"

        hall.pay(trade)
        buyer.wait(trade_id, "delivered")
        page.reload()
        with page.expect_download() as taken:
            page.click("#files a[download]")
        file = tmp_path / "train.jsonl"
        taken.value.save_as(file)
        assert file.read_bytes() == data

        page.click("form[action$='/accept'] button")
        page.wait_for_selector("#receipt")
        until(
            lambda: buyer.raw("GET", f"/v1/trades/{trade_id}/receipt").status_code,
            lambda status: status == 200,
        )
        with page.expect_download() as taken:
            page.click("#receipt a[href$='/receipt.json']")
        receipt = tmp_path / "receipt.json"
        taken.value.save_as(receipt)
        assert verify_path(receipt).valid


@scripts
def test_a_key_of_the_browser_stays_in_it_and_its_copy_is_the_same_key(
    engine: Any, hall: Hall, tmp_path: Path
) -> None:
    from yaosu.proof import signing

    person = hall.person("key-holder", "buyer")
    with window(engine, hall, person, accept_downloads=True) as page:
        page.goto(f"{hall.address}/keys")
        page.check("[data-keep-copy]")
        with page.expect_download() as taken:
            page.click("form[data-new-key] button")
        page.wait_for_selector("[data-here]:not([hidden])")
        copy = tmp_path / "key.pem"
        taken.value.save_as(copy)
        kept = page.evaluate(
            """async () => {
              const db = await new Promise((done) => {
                const asked = indexedDB.open("yaosu", 1);
                asked.onsuccess = () => done(asked.result);
              });
              const keys = await new Promise((done) => {
                const asked = db.transaction("signing-keys").objectStore("signing-keys").getAll();
                asked.onsuccess = () => done(asked.result);
              });
              return keys.map((key) => [key.type, key.extractable, key.usages.join()]);
            }"""
        )
        assert kept == [["private", False, "sign"]]
    (key,) = person.get("/v1/signing-keys")["items"]
    assert signing.parse(copy.read_bytes()).public_key == key["public_key"]
    assert key["held_by"] == "own"


@scripts
def test_a_provider_uploads_with_progress_resumes_and_submits(
    engine: Any, hall: Hall, tmp_path: Path
) -> None:
    provider = hall.person("uploader", "provider", uscc=USCC[1])
    rows = [{"instruction": f"问题 {i}", "output": os.urandom(64).hex()} for i in range(2)]
    big = "".join(
        json.dumps({"instruction": f"问 {i}", "output": "答" * 200}, ensure_ascii=False) + "\n"
        for i in range(14_500)
    ).encode()
    small = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows).encode()
    descriptor, _ = small_corpus(provider, "browser-upload")
    shape = descriptor["resources"][0]
    files = {"big.jsonl": big, "small.jsonl": small}
    descriptor["resources"] = [
        {
            **shape,
            "name": name.split(".")[0],
            "path": name,
            "bytes": len(body),
            "hash": f"sha256:{hashlib.sha256(body).hexdigest()}",
        }
        for name, body in files.items()
    ]
    descriptor["dataElement"]["size"] = {
        "records": 14_502,
        "bytes": sum(map(len, files.values())),
    }
    for name, body in files.items():
        (tmp_path / name).write_bytes(body)
    (tmp_path / "datapackage.json").write_text(json.dumps(descriptor, ensure_ascii=False))

    with window(engine, hall, provider) as page:
        page.goto(f"{hall.address}/console/new")
        page.set_input_files("[data-open-file] input", tmp_path / "datapackage.json")
        page.wait_for_function("document.getElementById('descriptor').value.length > 100")
        page.click("main form[action='/console/new'] button")
        page.wait_for_url("**/console/listings/lst_*")
        assert "not been uploaded" in page.inner_text("#problems")

        seen: list[str] = []
        page.expose_function("progressed", lambda text: seen.append(text))
        page.evaluate(
            """() => new MutationObserver(() => {
              for (const text of document.querySelectorAll(".uploads .dim"))
                window.progressed(text.textContent);
            }).observe(document.querySelector(".uploads"), {childList: true, subtree: true,
              characterData: true})"""
        )
        page.set_input_files("form[data-upload] input[type=file]", [tmp_path / n for n in files])
        page.click("form[data-upload] button")
        page.wait_for_url("**done=uploaded**")
        assert any("MiB/s" in text for text in seen), seen[-5:]
        assert "Complete" in page.inner_text("#problems")

        page.click("form[action$='/submit'] button")
        page.wait_for_selector("#quality .yr-verdict.yr-valid", timeout=120_000)


def test_a_reviewer_reads_the_report_and_lists_it(
    engine: Any, hall: Hall, provider: Person
) -> None:
    descriptor, data = small_corpus(provider, "browser-review")
    provider.upload(data)
    found = provider.submit(provider.draft(descriptor)["listing_id"])
    assert found["state"] == "review"
    with window(engine, hall, hall.reviewer, locale="zh-CN") as page:
        page.goto(f"{hall.address}/review")
        page.click(f"a[href='/review/{found['listing_id']}']")
        assert "全部条件已满足" in page.inner_text("main")
        page.click("#sample .chip")
        page.wait_for_selector("table.sample")
        page.fill("form[action$='/register'] textarea", "已核对样例与来源")
        page.click("form[action$='/register'] button")
        page.click("form[action$='/list'] button")
        page.wait_for_selector(".s-listed")
    assert provider.get(f"/v1/listings/{found['listing_id']}")["state"] == "listed"


@scripts
def test_facets_narrow_the_results_without_a_new_page(
    engine: Any, hall: Hall, provider: Person
) -> None:
    listed(hall, provider, "browser-facet")
    with window(engine, hall) as page:
        page.goto(f"{hall.address}/search?q=browser-facet")
        page.evaluate("window.stays = true")
        page.check("input[name=modality][value=text]")
        page.wait_for_url("**modality=text**")
        page.wait_for_selector(".chip.on")
        assert page.evaluate("window.stays") is True
        assert page.is_checked("input[name=modality][value=text]")
        page.select_option("#sort", "title")
        page.wait_for_url("**sort=title**")
        page.click(".chip.on")
        page.wait_for_url(lambda url: "modality" not in url)


def test_pages_work_with_scripts_switched_off(engine: Any, hall: Hall, provider: Person) -> None:
    listed(hall, provider, "browser-plain")
    buyer = hall.person("plain-lab", "buyer")
    with window(engine, hall, buyer, java_script_enabled=False) as page:
        page.goto(f"{hall.address}/search?q=browser-plain")
        page.check("input[name=modality][value=text]")
        page.click(".facets button")
        page.click("article.card h3 a")
        page.fill("textarea[name=purpose]", "evaluation")
        page.click("button[name=take]")
        page.wait_for_url("**/trades/trd_*")
        page.click(".ways-to-sign details >> nth=0")
        page.click("input[name=held_by][value=platform] ~ p button")
        page.click("button:has-text('Have the platform sign')")
        assert "signed by the platform" in page.inner_text("#agreement")


def families(page: Any, selector: str) -> set[str]:
    """Return the font families that really draw the text of an element (CDP)."""
    client = page.context.new_cdp_session(page)
    client.send("DOM.enable")
    client.send("CSS.enable")
    root = client.send("DOM.getDocument", {"depth": -1})["root"]["nodeId"]
    node = client.send("DOM.querySelector", {"nodeId": root, "selector": selector})["nodeId"]
    fonts = client.send("CSS.getPlatformFontsForNode", {"nodeId": node})["fonts"]
    return {font["familyName"] for font in fonts}


@pytest.mark.parametrize("path", ["/", "/search", "/login", "/signup"])
@pytest.mark.parametrize("width", [1280, 390])
def test_pages_fit_their_window_and_chinese_has_its_font(
    engine: Any, hall: Hall, path: str, width: int
) -> None:
    size = {"width": width, "height": 844}
    with window(engine, hall, viewport=size, locale="zh-CN") as page:
        page.goto(hall.address + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        used = families(page, "main h1")
        if not any(re.search("CJK|Hei|PingFang|Han", name) for name in used):
            assert not os.environ.get("CI"), f"no Chinese font: {used}"
            pytest.skip(f"no Chinese font here: {used}")


def _axe() -> str | None:
    found = os.environ.get("AXE_JS")
    return Path(found).read_text("utf-8") if found else None


@pytest.mark.skipif(_axe() is None, reason="no axe-core: set AXE_JS to its axe.min.js")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_can_be_used_by_everyone(
    engine: Any, hall: Hall, provider: Person, scheme: str
) -> None:
    listing_id, _ = listed(hall, provider, f"browser-axe-{scheme}")
    buyer = hall.person(f"axe-{scheme}", "buyer")
    trade = buyer.buy(listing_id)
    draft = provider.draft(small_corpus(provider, f"axe-draft-{scheme}")[0])["listing_id"]
    pages = {
        None: ["/", "/search", "/login", "/signup", f"/datasets/lingnan/browser-axe-{scheme}"],
        buyer: ["/trades", f"/trades/{trade['trade_id']}", "/keys"],
        provider: ["/console", "/console/new", f"/console/listings/{draft}"],
        hall.reviewer: ["/review", f"/review/{listing_id}"],
        hall.admin: ["/admin"],
    }
    wrong = []
    for person, paths in pages.items():
        with window(engine, hall, person, color_scheme=scheme) as page:
            for path in paths:
                page.goto(hall.address + path)
                page.evaluate(_axe())
                found = page.evaluate(
                    "axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa']})"
                )
                wrong += [
                    (path, v["id"], v["nodes"][0]["html"][:200], v["nodes"][0]["failureSummary"])
                    for v in found["violations"]
                ]
    assert wrong == []
