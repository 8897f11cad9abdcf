"""Every naughty string in every place: it comes back as it went in, or a small 4xx says why."""

from __future__ import annotations

import base64
import json
import os
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from people import USCC, Hall, Person, open_hall, small_corpus, until
from stall import offered

BIG_REPLY = 16 << 10
OWN = (
    "\x00",
    "a\x00b",
    "\x7f",
    "\u202e\u202d",
    "\u200b",
    "\ufeff",
    "\ufffe\uffff",
    "\U000e0001",
    "e\u0301" * 400,
    "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A" * 300,
    "A" * 1001,
    "A" * 100_000,
    "𝕏" * 5000,
    "' OR 1=1 --",
    "'; DROP TABLE listing; --",
    "%s%n{0}{x.__class__}${7*7}{{7*7}}",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "javascript:alert(1)",
    "=cmd|' /C calc'!A0",
    "../../../../etc/passwd",
    "..\\..\\windows",
    "/etc/passwd",
    "~root",
    "C:\\boot.ini",
    "file:///etc/passwd",
    "http://127.0.0.1:9/",
    "con",
    "nul.txt",
    "a" * 256,
    "*",
    "\\",
    '"',
    "(((((((((((",
    "a AND",
    "title:*",
    "[* TO *]",
    "/(a+)+$/",
    "^" * 300,
    "~~~~",
    '+-&&||!(){}[]^"~*?:\\/',
)


def naughty(testdata: Path) -> list[str]:
    found = json.loads((testdata / "edge" / "blns" / "blns.json").read_text("utf-8"))
    return [*found, *OWN]


@pytest.fixture(scope="module")
def provider(hall: Hall) -> Person:
    return hall.person("lingnan", "provider", uscc=USCC[0])


@pytest.fixture(scope="module")
def buyer(hall: Hall) -> Person:
    return hall.person("model-lab", "buyer")


def small(answer: httpx2.Response, sent: str) -> None:
    """A refusal is typed, short, and holds no long run of what was sent."""
    assert 400 <= answer.status_code < 500, (sent[:80], answer.status_code, answer.text[:300])
    assert len(answer.content) <= BIG_REPLY
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(sent) <= 200 or sent[:201] not in answer.text


def files_beside(folder: Path) -> set[str]:
    """Everything that lies around the data folder, but not in it."""
    return {e.name for e in os.scandir(folder.parent)} | {e.name for e in os.scandir(Path.cwd())}


@pytest.fixture(autouse=True)
def nothing_escapes(hall: Hall) -> Iterator[None]:
    before = files_beside(hall.market.settings.folder)
    yield
    assert files_beside(hall.market.settings.folder) == before
    assert hall.stranger.get("/healthz")["status"] == "ok"


def test_words_of_a_listing_come_back_or_are_refused(provider: Person, testdata: Path) -> None:
    template, _ = small_corpus(provider, "x")
    taken = 0
    for n, text in enumerate(naughty(testdata)):
        words = {"title": text, "description": text, "keywords": [text]}
        descriptor = {**template, **words, "name": f"words-{n}"}
        answer = provider.raw("POST", "/v1/datasets", {"descriptor": descriptor})
        if answer.status_code == 201:
            taken += 1
            shown = answer.json()["listing"]["descriptor"]
            assert {name: shown[name] for name in words} == words
            assert answer.json()["listing"]["title"] == (text or f"words-{n}")
        else:
            small(answer, text)
            for problem in answer.json().get("problems", ()):
                place = problem["pointer"].removeprefix("/descriptor").split("/")[1]
                assert place in words, (text[:80], problem)
    assert taken > 350


def test_names_and_paths_of_resources_are_safe_or_refused(provider: Person, testdata: Path) -> None:
    template, _ = small_corpus(provider, "x")
    one = template["resources"][0]
    for text in naughty(testdata):
        others = dict.fromkeys(("name", "title", "format", "encoding", "mediatype", "path"), text)
        descriptor = {**template, "resources": [{**one, **others}]}
        answer = provider.raw("POST", "/v1/problems", {"descriptor": descriptor})
        if answer.status_code != 200:
            small(answer, text)
            continue
        assert len(answer.content) <= BIG_REPLY
        said = {p["pointer"] for p in answer.json()["problems"] if p["severity"] == "error"}
        if ".." in text.split("/") or text[:1] in ("/", ".", ""):
            assert "/resources/0/path" in said, text


def test_whatever_is_searched_for_answers(hall: Hall, testdata: Path) -> None:
    others = cycle(("cursor", "modality", "publisher", "sort", "facets", "lang", "limit"))
    for text, place in zip(naughty(testdata), others, strict=False):
        for name in ("q", place):
            answer = hall.stranger.raw("GET", f"/v1/listings?{name}={quote(text[:20_000])}")
            if answer.status_code != 200:
                small(answer, text)
    assert hall.stranger.get("/v1/suggest", params={"q": "x" * 5000})["items"] == []


def test_ids_that_are_none_are_not_found(hall: Hall, buyer: Person, testdata: Path) -> None:
    routes = cycle(("listings", "trades", "holdings", "parties", "deliveries", "reports"))
    for text, route in zip(naughty(testdata), routes, strict=False):
        answer = buyer.raw("GET", f"/v1/{route}/{quote(text[:3000], safe='')}")
        if answer.status_code not in (200, 307):  # "" and ".." are other addresses
            small(answer, text)


def test_words_of_a_trade_come_back_or_are_refused(
    hall: Hall, provider: Person, buyer: Person, testdata: Path
) -> None:
    listing = offered(hall, provider, "for-sale")
    for text in naughty(testdata):
        wish = {"purpose": text, "note": text, "scenario": text, "territory": text[:300]}
        answer = buyer.raw("POST", "/v1/trades", {"listing_id": listing, "wish": wish})
        if answer.status_code == 201:
            terms = answer.json()["terms"]
            assert terms["note"] == terms["scenario"] == text
            assert terms["purpose"] == text.strip()
        else:
            small(answer, text)


def test_names_of_files_and_people_come_back_or_are_refused(
    hall: Hall, provider: Person, testdata: Path
) -> None:
    for text in filter(None, naughty(testdata)):
        encoded = base64.b64encode(text[:8000].encode("utf-8", "surrogatepass")).decode()
        made = provider.raw(
            "POST",
            "/v1/uploads",
            headers={
                "tus-resumable": "1.0.0",
                "upload-length": "1",
                "upload-metadata": f"filename {encoded}",
            },
        )
        if made.status_code == 201:
            last = made.headers["location"]
        else:
            small(made, text)
        key = provider.raw("POST", "/v1/keys", {"label": text, "roles": []})
        if key.status_code == 201:
            assert key.json()["label"] == text
        else:
            small(key, text)
    assert OWN[-1].startswith(provider.get(last)["filename"])


def test_headers_of_strangers_are_headers_only(hall: Hall, buyer: Person, testdata: Path) -> None:
    names = cycle((b"authorization", b"idempotency-key", b"if-match", b"accept-language"))
    for text, name in zip(naughty(testdata), names, strict=False):
        raw = text.encode("utf-8", "surrogatepass")[:2000].replace(b"\r", b"").replace(b"\n", b"")
        value = b"Bearer " + raw if name == b"authorization" else raw
        try:
            answer = buyer.http.request("POST", "/v1/keys", headers=[(name, value)], content=b"{}")
        except (httpx2.RemoteProtocolError, httpx2.LocalProtocolError, ValueError):
            continue  # the protocol itself refuses the byte
        assert answer.status_code < 500, (name, text[:80])


# --- nothing is fetched -------------------------------------------------------------------------


class Canary:
    """A listener on loopback that counts who comes."""

    def __init__(self) -> None:
        self.hits = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._count, daemon=True).start()

    def _count(self) -> None:
        while True:
            try:
                self._listener.accept()[0].close()
            except OSError:
                return
            self.hits += 1

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def canary() -> Iterator[Canary]:
    found = Canary()
    yield found
    found.close()


def test_no_address_in_a_descriptor_is_ever_asked(
    hall: Hall, provider: Person, canary: Canary
) -> None:
    descriptor, data = small_corpus(provider, "points-elsewhere")
    provider.upload(data)
    here = f"http://127.0.0.1:{canary.port}"

    def everywhere(change: Callable[[dict[str, Any]], Any]) -> None:
        tried = json.loads(json.dumps(descriptor))
        tried["name"] = f"n{uuid.uuid4().hex[:12]}"
        change(tried)
        assert provider.raw("POST", "/v1/problems", {"descriptor": tried}).status_code == 200
        made = provider.raw("POST", "/v1/datasets", {"descriptor": tried})
        if made.status_code == 201:
            listing = made.json()["listing"]["listing_id"]
            if provider.raw("POST", f"/v1/listings/{listing}/submit", {}).status_code == 200:
                judged = partial(provider.get, f"/v1/listings/{listing}")
                until(judged, lambda found: found["state"] not in ("submitted", "validating"))
                provider.raw("GET", f"/v1/listings/{listing}/preview")

    one = descriptor["resources"][0]
    for change in (
        lambda d: d.update({"$schema": f"{here}/profile.json"}),
        lambda d: d.update(profile=f"{here}/profile.json"),
        lambda d: d.update(homepage=here, image=f"{here}/x.png"),
        lambda d: d["resources"][0].update(path=f"{here}/x.csv"),
        lambda d: d["resources"][0].update(path=[one["path"], f"{here}/x.csv"]),
        lambda d: d["resources"][0].update(schema=f"{here}/schema.json"),
        lambda d: d["resources"][0].update(dialect=f"{here}/dialect.json"),
        lambda d: d["resources"][0]["schema"].update({"$schema": f"{here}/t.json"}),
        lambda d: d["resources"][0]["schema"].update({"$ref": f"{here}/t.json"}),
        lambda d: d["resources"][0].update({"$schema": f"{here}/resource.json"}),
        lambda d: d["resources"][0].update(sources=[{"title": "x", "path": f"{here}/s"}]),
        lambda d: d["resources"][0].update(path="s3://bucket/key"),
        lambda d: d["resources"][0].update(path=f"//127.0.0.1:{canary.port}/x"),
        lambda d: d["dataElement"].update(policy={"@context": f"{here}/c", "uid": here}),
        lambda d: d["dataElement"]["docs"].update(link=here),
    ):
        everywhere(change)
    assert canary.hits == 0


# --- a text that one database takes and the other does not --------------------------------------


def test_no_character_is_an_error_of_the_database(migrated_url: str, tmp_path: Path) -> None:
    """PostgreSQL has no NUL: what SQLite would keep has to be refused before both."""
    with open_hall(tmp_path / "data", database_url=migrated_url) as hall:
        who = hall.person("lingnan", "provider", "buyer", uscc=USCC[0])
        for text in ("\x00", "a\x00b", "\ud800", "\uffff", "\U0010ffff"):
            sent = quote(text.encode("utf-8", "surrogatepass"), safe="")
            for path in (
                f"/v1/listings/{sent}",
                f"/v1/listings/{sent}/preview?resource={sent}",
                f"/v1/trades/{sent}",
                f"/v1/trades?cursor={sent}&state=filed",
                f"/v1/datasets?cursor={sent}",
                f"/v1/my/listings?cursor={sent}&q={sent}",
                f"/v1/parties/{sent}",
                f"/v1/reports/{sent}",
                f"/v1/holdings/{sent}",
                f"/v1/deliveries/{sent}",
                f"/v1/uploads/{sent}",
                f"/v1/settlements/{sent}",
                f"/v1/log/inclusion?digest={sent}",
                f"/v1/listings?q={sent}&publisher={sent}&cursor={sent}",
                f"/log/tile/{sent}",
            ):
                answer = who.raw("GET", path)
                assert answer.status_code < 500, (path, answer.text[:300])
            encoded = base64.b64encode(text.encode("utf-8", "surrogatepass")).decode()
            made = who.raw(
                "POST",
                "/v1/uploads",
                headers={
                    "tus-resumable": "1.0.0",
                    "upload-length": "1",
                    "upload-metadata": f"filename {encoded}",
                },
            )
            assert made.status_code < 500, made.text
