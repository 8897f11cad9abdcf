"""People for the tests: a running market over real HTTP, and the parties that act on it."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import socket
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import uvicorn

from template import with_tables
from yaosu.demo import OPERATOR
from yaosu.identity import add_member, register_party, verify_party
from yaosu.market import Market, new_venue
from yaosu.model import Party, Role, Venue
from yaosu.ports import Clock
from yaosu.proof import signing
from yaosu.settings import load
from yaosu.web.app import create_app
from yaosu.web.zerocopy import ZeroCopy

T = TypeVar("T")
ROLES = {
    "provider": Role.PROVIDER,
    "buyer": Role.BUYER,
    "reviewer": Role.REVIEWER,
    "exchange": Role.EXCHANGE,
    "admin": Role.ADMIN,
}
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Trusts nobody, and is not asked on loopback: the list of authorities takes 20 ms to read."""
USCC = ("91440300MA5FAKE086", "91440300MA9DEMX01N", "91440300MB2XQ00142", "91350100M000100Y43")


class Refused(AssertionError):
    """The server answered with a problem where the test wanted an answer."""

    def __init__(self, response: httpx2.Response) -> None:
        super().__init__(f"{response.status_code} {response.text[:2000]}")
        self.response = response


class Person:
    """A party with a key: `get`, `post` as JSON, an idempotency key on every change."""

    def __init__(self, address: str, key: str | None, party: dict[str, Any] | None = None) -> None:
        self.key = key
        self.party = party or {}
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self.http = httpx2.Client(base_url=address, headers=headers, timeout=60, verify=NO_TLS)
        self.algorithm = "ed25519"
        self._signer: signing.Signer | None = None
        self._signing_id = ""

    @property
    def id(self) -> str:
        return str(self.party["party_id"])

    def raw(self, method: str, path: str, body: Any = None, **more: Any) -> httpx2.Response:
        headers = {"idempotency-key": uuid.uuid4().hex, **more.pop("headers", {})}
        if body is not None:
            more["json"] = body
        return self.http.request(method, path, headers=headers, **more)

    def get(self, path: str, **more: Any) -> Any:
        return self._checked(self.raw("GET", path, **more))

    def post(self, path: str, body: Any = None, **more: Any) -> Any:
        return self._checked(self.raw("POST", path, {} if body is None else body, **more))

    @staticmethod
    def _checked(response: httpx2.Response) -> Any:
        if response.status_code >= 300:
            raise Refused(response)
        return response.json() if response.content else None

    def sign(self, digest: str) -> dict[str, str]:
        """Sign with a key of one's own, registered on first use."""
        if self._signer is None:
            self._signer = signing.Signer.generate(self.algorithm)
            made = self.post("/v1/signing-keys", {"public_key": self._signer.public_key})
            self._signing_id = made["key_id"]
        return {"key_id": self._signing_id, "value": self._signer.sign(digest)}

    # --- the main job, step by step -------------------------------------------------------------

    def upload(self, data: bytes, *, pieces: int = 1) -> str:
        """Send bytes through tus; returns their SHA-256."""
        sha256 = hashlib.sha256(data).hexdigest()
        held = self.raw("GET", f"/v1/holdings/{sha256}")
        if held.status_code == 200:
            return sha256
        made = self.raw(
            "POST",
            "/v1/uploads",
            headers={
                "tus-resumable": "1.0.0",
                "upload-length": str(len(data)),
                "upload-metadata": f"sha256 {base64.b64encode(sha256.encode()).decode()}",
            },
        )
        if made.status_code != 201:
            raise Refused(made)
        size = max(1, -(-len(data) // pieces))
        for offset in range(0, len(data), size):
            sent = self.raw(
                "PATCH",
                made.headers["location"],
                content=data[offset : offset + size],
                headers={
                    "tus-resumable": "1.0.0",
                    "upload-offset": str(offset),
                    "content-type": "application/offset+octet-stream",
                },
            )
            if sent.status_code != 204:
                raise Refused(sent)
        return sha256

    def upload_folder(self, folder: Path, descriptor: dict[str, Any]) -> None:
        from yaosu.listing import files_of

        for _, path, _, _ in files_of(descriptor):
            self.upload((folder / path).read_bytes(), pieces=2)

    def draft(self, descriptor: dict[str, Any], **more: Any) -> dict[str, Any]:
        made = self.post("/v1/datasets", {"descriptor": descriptor, **more})
        listing: dict[str, Any] = made["listing"]
        return listing

    def submit(self, listing_id: str, *, seconds: float = 120) -> dict[str, Any]:
        """Submit and wait for the market's verdict."""
        self.post(f"/v1/listings/{listing_id}/submit")
        return until(
            lambda: self.get(f"/v1/listings/{listing_id}"),
            lambda found: found["state"] not in ("submitted", "validating"),
            seconds=seconds,
        )

    def offer(self, listing_id: str) -> None:
        document = self.get(f"/v1/listings/{listing_id}/standing-offer")
        self.post(f"/v1/listings/{listing_id}/offer", {"signature": self.sign(document["digest"])})

    def buy(self, listing_id: str, **wish: Any) -> dict[str, Any]:
        """Quote, sign the agreement, buy."""
        wanted = {"purpose": "训练", **wish}
        quote = self.post(f"/v1/listings/{listing_id}/quote", wanted)
        body = {
            "wish": wanted,
            "trade_id": quote["trade_id"],
            "quoted_at": quote["quoted_at"],
            "signature": self.sign(quote["agreement_digest"]),
        }
        bought: dict[str, Any] = self.post(f"/v1/listings/{listing_id}/buy", body)
        return bought

    def wait(self, trade_id: str, state: str, *, seconds: float = 60) -> dict[str, Any]:
        return until(
            lambda: self.get(f"/v1/trades/{trade_id}"),
            lambda found: found["state"] == state,
            seconds=seconds,
        )

    def fetch(self, trade: dict[str, Any]) -> tuple[dict[str, bytes], str]:
        """Fetch every delivered file; returns (path → bytes, manifest digest)."""
        manifest = self.get(f"/v1/deliveries/{trade['delivery_id']}")
        found = {}
        for file in manifest["files"]:
            answer = httpx2.get(file["url"], verify=NO_TLS)
            assert answer.status_code == 200, answer.text
            assert hashlib.sha256(answer.content).hexdigest() == file["sha256"]
            found[file["path"]] = answer.content
        return found, manifest["manifest_digest"]


def until(
    look: Callable[[], T], there: Callable[[T], bool], *, seconds: float = 30, every: float = 0.05
) -> T:
    """Return the first look that is there; fail with the last one when time is up."""
    end = time.monotonic() + seconds
    while True:
        found = look()
        if there(found):
            return found
        assert time.monotonic() < end, f"still not there: {str(found)[:500]}"
        time.sleep(every)


class Hall:
    """A market that answers on loopback, and its people."""

    def __init__(self, market: Market, address: str, *, people: bool = True) -> None:
        self.market = market
        self.address = address
        if not people:
            return
        self.admin = self.person("operator", "admin")
        self.admin2 = self.colleague(self.admin, "admin")
        self.reviewer = self.person("reviewer", "reviewer")
        self.stranger = Person(address, None)

    def person(self, slug: str, *roles: str, uscc: str | None = None) -> Person:
        """Add a verified party with one key."""

        def step(tx: Any) -> tuple[Party, str]:
            party, key = register_party(
                tx,
                slug=slug,
                name=f"{slug} 公司",
                member=slug,
                roles=frozenset(ROLES[r] for r in roles),
                uscc=uscc,
                contact={"email": f"{slug}@example.org"},
                by=OPERATOR,
            )
            verify_party(tx, OPERATOR, party.id, "test")
            return party, key

        party, key = self.market.store.write(step)
        return Person(self.address, key, {"party_id": party.id, "slug": slug, "uscc": uscc})

    def colleague(self, person: Person, *roles: str) -> Person:
        """Add someone to a person's party on the host's word, not on that person's."""
        by = replace(OPERATOR, party_id=person.id, roles=frozenset(ROLES[r] for r in roles))
        made = self.market.store.write(lambda tx: add_member(tx, by, "colleague", by.roles))
        return Person(self.address, made[1], person.party)

    def second(self, person: Person, *roles: str) -> Person:
        """Add a second member to a person's party."""
        made = person.post("/v1/members", {"name": "second", "roles": list(roles)})
        return Person(self.address, made["key"], person.party)

    def exchange(self, slug: str = "gz-test", **policy: Any) -> Person:
        """Add an exchange with a place of trading of the same id."""
        found = self.person(slug, "exchange")
        new_venue(
            self.market,
            Venue(id=slug, name=slug, name_en=slug, party_id=found.id, **policy),
        )
        return found

    def listed(self, provider: Person, listing_id: str, by: Person | None = None) -> None:
        """Review and list what waits for it."""
        judge = by or self.reviewer
        judge.post(f"/v1/listings/{listing_id}/register", {"text": "checked"})
        judge.post(f"/v1/listings/{listing_id}/list")

    def pay(self, trade: dict[str, Any], exchange: Person | None = None) -> None:
        body = {
            "amount_fen": trade["terms"]["amount_fen"],
            "payer": trade["user"]["party_id"],
            "reference": "bank-1",
        }
        path = f"/v1/trades/{trade['trade_id']}/confirm_payment"
        for key in [exchange] if exchange else [self.admin, self.admin2]:
            key.post(path, body)


@contextlib.contextmanager
def open_hall(
    folder: Path,
    *,
    database_url: str = "",
    people: bool = True,
    clock: Clock | None = None,
    before: Callable[[Any], Any] = lambda app: app,
    **settings: Any,
) -> Iterator[Hall]:
    """Run a market in this process behind a real HTTP server on loopback.

    `people=False` opens a folder that has its people already; `before` is put before the
    application.
    """
    bound = socket.create_server(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{bound.getsockname()[1]}"
    market = Market(
        load(
            data=str(folder if database_url else with_tables(folder)),
            database_url=database_url,
            public_url=address,
            reserve_bytes=0,
            **settings,
        ),
        clock=clock,
    )
    server = uvicorn.Server(
        uvicorn.Config(
            before(ZeroCopy(create_app(market))),
            log_level="warning",
            timeout_graceful_shutdown=5,
        )
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    try:
        until(lambda: server.started or not thread.is_alive(), bool)
        assert server.started
        yield Hall(market, address, people=people)
    finally:
        server.should_exit = True
        thread.join(30)
        bound.close()


def jsonl(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows).encode()


def small_corpus(
    person: Person, name: str = "small-zh", **price: Any
) -> tuple[dict[str, Any], bytes]:
    """Return a complete descriptor of a small instruction corpus, and its one file."""
    data = jsonl([{"instruction": f"问题 {i}", "output": f"回答 {i}"} for i in range(40)])
    return described(
        person,
        name,
        [
            {
                "name": "train",
                "path": "data/train.jsonl",
                "format": "jsonl",
                "mediatype": "application/jsonl",
                "encoding": "utf-8",
                "bytes": len(data),
                "hash": f"sha256:{hashlib.sha256(data).hexdigest()}",
                "schema": {
                    "fields": [
                        {"name": "instruction", "type": "string"},
                        {"name": "output", "type": "string"},
                    ]
                },
            }
        ],
        records=40,
        **price,
    ), data


def described(
    person: Person,
    name: str,
    resources: list[dict[str, Any]],
    *,
    records: int,
    modalities: tuple[str, ...] = ("text",),
    languages: tuple[str, ...] = ("zh-Hans",),
    content: tuple[str, ...] = ("text",),
    stage: tuple[str, ...] = ("instruction_tuning",),
    license_spdx: str = "CC-BY-4.0",
    sample: str | None = None,
    **price: Any,
) -> dict[str, Any]:
    """Return a descriptor with every field that the market asks for."""
    from yaosu.demo import complete

    size = sum(r.get("bytes") or sum(p["bytes"] for p in r.get("parts", ())) for r in resources)
    descriptor = {
        "$schema": "urn:yaosu:schema:dataset:1.0",
        "resources": resources,
        "dataElement": {
            "size": {"records": records, "bytes": size},
            "form": {"content": list(content), "structure": "semi_structured"},
            "languages": list(languages),
            "ai": {"modalities": list(modalities)},
        },
    }
    facts = {
        "name": name,
        "title": f"2026年广东省{name}数据集",
        "description": f"测试数据集 {name}",
        "keywords": ["测试", name],
        "license": license_spdx,
        "industry": "I65",
        "field": "embodied",
        "stage": list(stage),
        "price": {"mode": "one_off", "unit": "份", "price_fen": 10_001, "currency": "CNY", **price},
        "sample": sample,
    }
    if facts["price"]["mode"] in ("free", "negotiated"):
        facts["price"].pop("price_fen")
        facts["price"].pop("unit")
    party = Party(
        id=person.id,
        slug=person.party["slug"],
        name=f"{person.party['slug']} 公司",
        uscc=person.party["uscc"],
        created_at=None,  # type: ignore[arg-type]
    )
    return complete(descriptor, facts, party)
