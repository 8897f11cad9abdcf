"""Whatever the line does, and however often a call is sent: it happens once (R8, I5)."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest

from campaigns.lossy import FAULTS, Lossy
from campaigns.real import Broken, Nursery, Scene, Wire, awake, free_port, rows, write_result

AT_ONCE = 32


@dataclass
class Tally:
    """What the senders of a campaign have heard."""

    sent: int = 0
    replies: dict[str, set[tuple[int, bytes]]] = field(default_factory=dict)
    broken: Counter[str] = field(default_factory=Counter)


async def settled(wire: Wire, path: str, body: Any, key: str) -> tuple[int, bytes]:
    """Send until it is answered for good: a call that is in flight is sent again."""
    while True:
        status, answer = await wire.post(path, body, key)
        if status != 409 or json.loads(answer)["code"] != "in_flight":
            return status, answer
        await asyncio.sleep(0.005)


async def command(scene: Scene, port: int, bad: int, n: int, tally: Tally, times: int) -> None:
    """Send one intent `times` times over a bad line, and once more over a good one."""
    key = f"command-{n}"
    body = {"listing_id": scene.negotiated, "wish": {"purpose": f"命令 {n}", "amount_fen": n + 1}}
    heard = tally.replies.setdefault(key, set())
    for _ in range(times):
        tally.sent += 1
        line = Wire(bad, scene.buyer)
        try:
            status, answer = await line.post("/v1/trades", body, key, patience=1.0)
            if status != 409:
                heard.add((status, answer))
        except Broken as how:
            tally.broken[str(how)] += 1
        finally:
            line.close()
    good = Wire(port, scene.buyer)
    heard.add(await settled(good, "/v1/trades", body, key))
    good.close()


async def campaign(scene: Scene, port: int, commands: int, seed: int) -> tuple[Tally, Lossy]:
    chance = random.Random(seed)
    tally = Tally()
    turn = itertools.count()
    async with Lossy(port, random.Random(seed + 1), hold_s=0.2) as proxy:

        async def sender() -> None:
            while (n := next(turn)) < commands:
                await command(scene, port, proxy.port, n, tally, chance.randint(1, 5))

        await asyncio.gather(*(sender() for _ in range(AT_ONCE)))
    return tally, proxy


def effects(scene: Scene) -> tuple[int, int, int]:
    """Count what there is: trades of the buyer, their first events, recorded replies."""
    database = scene.folder / "market.db"
    one = "SELECT count(*) FROM"
    return (
        rows(database, f"{one} trade WHERE user_id = ?", (scene.buyer_id,))[0][0],
        rows(database, f"{one} event WHERE type = 'intent'")[0][0],
        rows(database, f"{one} reply WHERE key LIKE 'command-%'")[0][0],
    )


def run(scene: Scene, lives: Nursery, commands: int, seed: int) -> tuple[Tally, Lossy, int]:
    """Run the campaign against a real server; returns the tally and how many rules were broken."""
    port = free_port()
    life = lives.serve(scene.folder, port)
    try:

        async def all_of_it() -> tuple[Tally, Lossy]:
            await awake(port)
            return await campaign(scene, port, commands, seed)

        tally, proxy = asyncio.run(all_of_it())
    finally:
        assert life.stop() == 0
    wrong = sum(abs(found - commands) for found in effects(scene))
    for heard in tally.replies.values():
        wrong += len(heard) != 1 or next(iter(heard))[0] != 201
    return tally, proxy, wrong


def test_a_command_sent_often_over_a_lossy_line_has_one_effect(
    scene: Scene, lives: Nursery
) -> None:
    tally, proxy, wrong = run(scene, lives, commands=150, seed=8)
    assert wrong == 0
    assert set(proxy.seen) == set(FAULTS)
    assert tally.sent > 150
    assert tally.broken


@pytest.mark.slow
def test_ten_thousand_commands_have_ten_thousand_effects(scene: Scene, lives: Nursery) -> None:
    commands = int(os.environ.get("YAOSU_COMMANDS", "10000"))
    tally, proxy, wrong = run(scene, lives, commands, seed=80)
    write_result(
        "r8_exactly_once",
        "10,000 commands sent 1-5 times through a lossy proxy: exactly 10,000 effects",
        violations=wrong,
        whole=commands >= 10_000,
        commands=commands,
        sent=tally.sent + commands,
        effects=effects(scene)[0],
        faults=dict(proxy.seen),
        broken_answers=sum(tally.broken.values()),
    )
    assert wrong == 0


def test_of_many_at_the_same_moment_one_takes_effect(scene: Scene, lives: Nursery) -> None:
    """One is answered; the others hear the same, or that it is in flight and to come again."""
    port = free_port()
    life = lives.serve(scene.folder, port)

    async def storm() -> list[tuple[str, list[tuple[int, bytes]]]]:
        await awake(port)
        found = []
        for n in range(10):
            key = f"command-{n}"
            body = {"listing_id": scene.negotiated, "wish": {"purpose": "x", "amount_fen": 1}}
            wires = [Wire(port, scene.buyer) for _ in range(AT_ONCE)]
            asked = [w.post("/v1/trades", body, key) for w in wires]
            answers = list(await asyncio.gather(*asked))
            answers.append(await settled(wires[0], "/v1/trades", body, key))
            other = {**body, "wish": {"purpose": "y", "amount_fen": 1}}
            answers.append(await settled(wires[0], "/v1/trades", other, key))
            for wire in wires:
                wire.close()
            found.append((key, answers))
        return found

    try:
        found = asyncio.run(storm())
    finally:
        assert life.stop() == 0
    flying = 0
    for _, answers in found:
        *same, other = answers
        assert other[0] == 422
        assert json.loads(other[1])["code"] == "idempotency_reuse"
        told = {a for a in same if a[0] != 409}
        assert len(told) == 1
        assert {status for status, _ in told} == {201}
        refused = [json.loads(body)["code"] for status, body in same if status == 409]
        assert set(refused) <= {"in_flight"}
        flying += len(refused)
    assert flying
    assert effects(scene) == (10, 10, 10)


def test_every_changing_native_call_needs_a_key(scene: Scene, lives: Nursery) -> None:
    """All of them, as the OpenAPI document lists them; only what stores nothing goes without."""
    port = free_port()
    life = lives.serve(scene.folder, port)

    async def all_of_them() -> dict[str, int]:
        await awake(port)
        wire = Wire(port, scene.admin)
        _, _, document = await wire.ask("GET", "/openapi.json")
        found = {}
        for path, methods in json.loads(document)["paths"].items():
            for method in {"post", "put", "delete", "patch"} & set(methods):
                operation = methods[method]
                json_in = operation.get("requestBody", {}).get("content", {})
                if not path.startswith("/v1/") or "application/json" not in json_in:
                    continue
                at = path.replace("{job_id}", "1").replace("{venue_id}", "otc")
                example = _example(json.loads(document), json_in["application/json"]["schema"])
                headers = {"content-type": "application/json"}
                status, _, answer = await wire.ask(
                    method.upper(), at, json.dumps(example).encode(), headers
                )
                found[f"{method} {path}"] = status
                if status == 400:
                    assert json.loads(answer)["field"] == "Idempotency-Key", (path, answer)
        wire.close()
        return found

    try:
        found = asyncio.run(all_of_them())
    finally:
        assert life.stop() == 0
    # Others are refused earlier, for what the bodies made here name. None is let in.
    assert {call for call, status in found.items() if status < 300} <= {
        "post /v1/listings/{listing_id}/quote",
        "post /v1/problems",
    }
    assert sum(status == 400 for status in found.values()) > 40


def _example(document: dict[str, Any], schema: dict[str, Any]) -> Any:
    """Return a body that fits the schema well enough to be let in."""
    if "$ref" in schema:
        return _example(document, document["components"]["schemas"][schema["$ref"].split("/")[-1]])
    if schema.get("examples"):
        return schema["examples"][0]
    if "default" in schema:
        return schema["default"]
    if "enum" in schema:
        return schema["enum"][0]
    if "const" in schema:
        return schema["const"]
    for way in ("anyOf", "oneOf", "allOf"):
        if way in schema:
            return _example(document, schema[way][0])
    match schema.get("type"):
        case "object":
            wanted = schema.get("required", ())
            return {n: _example(document, schema["properties"][n]) for n in wanted}
        case "array":
            return [_example(document, schema["items"])] * schema.get("minItems", 0)
        case "integer" | "number":
            return int(schema.get("minimum", 1))
        case "boolean":
            return True
        case "string":
            return "2026-01-01" if "pattern" in schema else f"x{uuid.uuid4().hex[:8]}"
    return {}
