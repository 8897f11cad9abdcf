"""The HTTP interface is what its document says, for requests that nobody thought of (R18).

schemathesis makes requests from the OpenAPI document, in every phase, and follows its links; behind
its one key stands a whole cast (see `cast.py`). What the document calls valid is never answered as
malformed, too large or of another kind (400, 413, 415). That it is taken cannot be asked: JSON
Schema cannot say all that is refused with 422 (text with control characters, a sum with a decimal
point, a licence that is not on the list).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from campaigns.cast import Cast
from campaigns.real import write_result
from people import USCC, Hall, Person, open_hall, small_corpus
from stall import delivered, offered, sold_as

# Walks follow the links of the document alone, with bodies that are valid: a step that is refused
# leads nowhere. What is not valid the other phases send.
SETTINGS = """\
[generation]
max-examples = {examples}
mode = "all"
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "3xx", 401, 402, 403, 404, 409, 410, 412, 422, 429, 503, 507]
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 428, 429, "5xx"]
[phases.stateful]
max-steps = 24
[phases.stateful.generation]
max-examples = {walks}
mode = "positive"
[phases.stateful.inference]
algorithms = []
"""


@pytest.fixture(scope="module")
def cast() -> list[Cast]:
    return []


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory, cast: list[Cast]) -> Iterator[Hall]:
    """A market with listings, and with trades in every state of their life."""

    def before(app: Any) -> Cast:
        cast.append(Cast(app))
        return cast[0]

    folder = tmp_path_factory.mktemp("contract") / "data"
    with open_hall(folder, calls_per_minute=0, before=before) as found:
        yield found


@pytest.fixture(scope="module")
def everyone(hall: Hall, cast: list[Cast]) -> Person:
    """Somebody whose key opens as many doors as one key can; behind it the whole cast."""
    seller = hall.person("seller", "provider", uscc=USCC[1])
    buyer = hall.person("wanting", "buyer")
    sold = offered(hall, seller)
    descriptor, data = small_corpus(seller, "negotiable", mode="negotiated")
    seller.upload(data)
    negotiable = sold_as(hall, seller, descriptor)
    with_trades(hall, seller, buyer, sold, negotiable)
    for n in range(3):
        descriptor, data = small_corpus(seller, f"draft-{n}")
        seller.upload(data)
        draft = seller.draft(descriptor)["listing_id"]
        if n:
            seller.submit(draft)
    found = hall.person("everyone", "provider", "buyer", "reviewer", "admin", uscc=USCC[0])
    cast[0].begin(hall, found, seller, buyer, sold, negotiable)
    return found


def with_trades(hall: Hall, seller: Person, buyer: Person, sold: str, negotiable: str) -> None:
    """Leave a trade in each state, from the last to the first."""
    trade = delivered(hall, buyer, sold)
    _, manifest = buyer.fetch(trade)
    buyer.post(f"/v1/trades/{trade['trade_id']}/accept", {"manifest_digest": manifest})
    delivered(hall, buyer, sold)
    disputed = delivered(hall, buyer, sold)
    buyer.post(f"/v1/trades/{disputed['trade_id']}/dispute", {"ground": "x"})
    buyer.buy(sold)
    wish = {"listing_id": negotiable, "wish": {"purpose": "x", "amount_fen": 1000}}
    for steps in (("answer", "agree"), ("answer",), ()):
        opened = buyer.post("/v1/trades", wish)
        path = f"/v1/trades/{opened['trade_id']}"
        for step in steps:
            if step == "answer":
                opened = seller.post(f"{path}/answer", {"changes": {}})
            else:
                buyer.post(f"{path}/agree", {"offer_digest": opened["offer_digest"]})


def asked(
    hall: Hall, who: Person, folder: Path, *, examples: int, walks: int = 1, phases: str, paths: str
) -> tuple[int, str]:
    """Run schemathesis; returns its exit code and what it said."""
    settings = folder / "schemathesis.toml"
    settings.write_text(SETTINGS.format(examples=examples, walks=walks))
    hall.stranger.get("/openapi.json")  # made now: schemathesis waits for it no more than 10 s
    run = subprocess.run(
        [Path(sys.executable).with_name("schemathesis"), "--config-file", settings, "run",
         f"{hall.address}/openapi.json", "-H", f"Authorization: Bearer {who.key}",
         "--include-path-regex", paths, "--phases", phases, "--seed", "1", "--no-color",
         "--continue-on-failure"],
        cwd=folder, capture_output=True, text=True, env={**os.environ, "COLUMNS": "160"},
    )  # fmt: skip
    return run.returncode, run.stdout + run.stderr


def cases(said: str) -> int:
    found = re.search(r"(\d+) generated", said)
    return int(found.group(1)) if found else 0


def test_the_steps_of_a_trade_answer_as_their_document_says(
    hall: Hall, everyone: Person, tmp_path: Path
) -> None:
    code, said = asked(
        hall,
        everyone,
        tmp_path,
        examples=2,
        phases="examples,fuzzing",
        paths="^/v1/(trades|listings|uploads|keys)",
    )
    assert code == 0, said[-6000:]
    assert cases(said) > 50


def test_a_path_says_all_that_may_be_asked_of_it(hall: Hall) -> None:
    """RFC 9110 §15.5.6: a refused method comes with the list of the others."""
    for path, methods in (("/v1/keys", "GET, POST"), ("/v1/listings/lst_x", "GET, PUT")):
        refused = hall.stranger.raw("DELETE", path)
        assert (refused.status_code, refused.headers["allow"]) == (405, methods)


def test_what_the_strict_reader_refuses_is_named(hall: Hall, everyone: Person) -> None:
    """Its own words and pointer reach the client, not a general "could not be parsed"."""
    body = json.dumps({"label": "a\u0007b"}).encode()
    head = {"content-type": "application/json"}
    refused = everyone.raw("POST", "/v1/keys", content=body, headers=head)
    assert refused.status_code == 422
    assert refused.json()["problems"][0]["pointer"] == "/label"


@pytest.mark.slow
def test_every_route_answers_as_its_document_says_in_all_phases(
    hall: Hall, everyone: Person, cast: list[Cast], tmp_path: Path
) -> None:
    examples = int(os.environ.get("YAOSU_EXAMPLES", "10"))
    walks = int(os.environ.get("YAOSU_WALKS", "200"))
    failed, counted = 0, dict[str, Any]()
    for phases in ("examples,coverage,fuzzing", "stateful"):
        cast[0].plays = phases == "stateful"
        code, said = asked(
            hall, everyone, tmp_path, examples=examples, walks=walks, phases=phases, paths="^/v1/"
        )
        (tmp_path / f"{phases}.txt").write_text(said, "utf-8")
        broken = re.search(r"(\d+) unique failures", said)
        failed += int(broken.group(1)) if broken else int(code != 0)
        counted[f"cases, {phases}"] = cases(said)
        assert code or f"✅ {phases.split(',')[-1].title()}" in said, said[-3000:]
    links = re.search(r"API Links:\s+(\d+) covered / (\d+) selected", said)
    walked = sorted({n[:-4] for n in cast[0].walked if n.endswith("2xx")})
    write_result(
        "r18_api_contract",
        "schemathesis in all phases, links followed: 0 failures",
        violations=failed,
        **counted,
        links_covered=int(links.group(1)) if links else 0,
        links=int(links.group(2)) if links else 0,
        steps_taken=len(walked),
        answers=dict(cast[0].walked),
    )
    assert failed == 0, f"see {tmp_path}"
    assert len(walked) >= 20, walked
