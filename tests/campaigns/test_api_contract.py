"""The HTTP interface is what its document says, for requests that nobody thought of (R18).

schemathesis makes requests from the OpenAPI document, in every phase, and follows its links. One
check is left out: `positive_data_acceptance`. JSON Schema cannot say all that is refused here (text
with control characters, a sum with a decimal point, a step that comes too early).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from campaigns.real import write_result
from people import USCC, Hall, Person, open_hall
from stall import offered

PHASES = ("Examples", "Coverage", "Fuzzing", "Stateful")


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hall]:
    with open_hall(tmp_path_factory.mktemp("contract") / "data") as found:
        offered(found, found.person("seller", "provider", uscc=USCC[1]))
        yield found


@pytest.fixture(scope="module")
def everyone(hall: Hall) -> Person:
    """Somebody whose key opens as many doors as one key can."""
    return hall.person("everyone", "provider", "buyer", "reviewer", "admin", uscc=USCC[0])


def asked(
    hall: Hall, who: Person, folder: Path, *, examples: int, phases: str, paths: str
) -> tuple[int, str]:
    """Run schemathesis; returns its exit code and what it said."""
    settings = folder / "schemathesis.toml"
    settings.write_text(
        f"[generation]\nmax-examples = {examples}\nmode = 'all'\n[phases.stateful]\nmax-steps = 6\n"
    )
    run = subprocess.run(
        [Path(sys.executable).with_name("schemathesis"), "--config-file", settings, "run",
         f"{hall.address}/openapi.json", "-H", f"Authorization: Bearer {who.key}",
         "--include-path-regex", paths, "--phases", phases, "--seed", "1", "--no-color",
         "--continue-on-failure", "--exclude-checks", "positive_data_acceptance"],
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
    hall: Hall, everyone: Person, tmp_path: Path
) -> None:
    code, said = asked(
        hall,
        everyone,
        tmp_path,
        examples=int(os.environ.get("YAOSU_EXAMPLES", "10")),
        phases="examples,coverage,fuzzing,stateful",
        paths="^/v1/",
    )
    links = re.search(r"API Links:\s+(\d+) covered", said)
    broken = re.search(r"(\d+) unique failures", said)
    write_result(
        "r18_api_contract",
        "schemathesis in all phases, links followed: 0 failures",
        violations=int(broken.group(1)) if broken else int(code != 0),
        cases=cases(said),
        links_covered=int(links.group(1)) if links else 0,
    )
    assert code == 0, said[-8000:]
    assert all(f"✅ {phase}" in said for phase in PHASES[2:]), said[-3000:]
