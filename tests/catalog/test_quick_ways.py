"""What was made quick says the same as what it stands in for."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yaosu.errors import YaosuError
from yaosu.model import Party, Role
from yaosu.records import replace
from yaosu.web import strict

LEAVES = st.sampled_from(
    ["1", "-0", "9007199254740992", "-9007199254740991", "1.5", "1e5", "1E400", '"x"', '"a:b"',
     "null", "true", '"\\u0061"', '"é"', '"\x7f"', '"\u202e"', "NaN", '"\\ud800"', "", "01"]
)  # fmt: skip
KEYS = st.sampled_from(['"a"', '"b:"', '"c"', '"\u0001"', '"é"', "a"])
BODIES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4).map(lambda found: f"[{','.join(found)}]")
        | st.lists(st.tuples(KEYS, inner), max_size=4).map(
            lambda found: "{" + ", ".join(f"{k} : {v}" for k, v in found) + "}"
        )
    ),
    max_leaves=12,
)


def told(body: bytes) -> tuple[str, str]:
    try:
        return "taken", repr(strict.parse(body))
    except YaosuError as error:
        return type(error).__name__, error.en


@settings(max_examples=500)
@given(BODIES)
def test_a_body_is_taken_or_refused_as_by_the_look_at_every_name(body: str) -> None:
    quick = told(body.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strict, "_is_plain", lambda *_: False)
        assert told(body.encode()) == quick


@pytest.mark.parametrize("depth", [63, 64, 65, 5000])
def test_the_depth_that_is_taken_is_the_same(depth: int) -> None:
    assert (told(b"[" * depth + b"]" * depth)[0] == "taken") == (depth <= 64)
    assert (told(b"[" * depth + b"7" + b"]" * depth)[0] == "taken") == (depth < 64)


@pytest.mark.parametrize("twice", ['{"a":1,"a":2}', '{"b":{"a":":","a":1}}', '[{"a:":1,"a:":1}]'])
def test_a_key_that_stands_twice_is_refused_whatever_stands_beside_it(twice: str) -> None:
    assert told(twice.encode())[0] == "Malformed"
    assert json.loads(twice) is not None


def test_a_changed_record_is_what_the_library_makes() -> None:
    now = datetime.now(UTC)
    party = Party(id="p", slug="s", name="名", created_at=now, roles=frozenset({Role.BUYER}))
    changes: list[dict[str, Any]] = [{}, {"name": "other"}, {"verified_at": now, "roles": ()}]
    for change in changes:
        assert replace(party, **change) == dataclasses.replace(party, **change)
    made = replace(party, name="other")
    assert (party.name, type(made)) == ("名", Party)
    with pytest.raises(TypeError, match="no field"):
        replace(party, nobody="knows")
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.name = "again"  # type: ignore[misc]
