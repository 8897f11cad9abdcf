"""Fills an empty market with demonstration data, through the same steps as anyone's data."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

from yaosu_validators.describe import describe

from . import identity, profiles, review
from . import listing as shelf
from .corpora import folders
from .errors import Conflict
from .market import Market, new_venue
from .model import (
    Actor,
    Delivery,
    Listing,
    ListingState,
    Member,
    Party,
    Role,
    Trade,
    Venue,
    new_id,
)
from .model_profile import Qualification, Service
from .ports import Transaction
from .trading import fulfilment, negotiation
from .trading.moves import AwaitsSecond
from .web.uploads import keep_holding

T = TypeVar("T")

PARTIES: tuple[tuple[str, str, str, str | None, frozenset[Role]], ...] = (
    ("operator", "要素市场运营方", "Market operator", None, frozenset({Role.ADMIN})),
    ("reviewer", "粤测合规评估中心", "Compliance review centre", None, frozenset({Role.REVIEWER})),
    ("exchange", "示例数据交易所", "Example data exchange", None, frozenset({Role.EXCHANGE})),
    (
        "pengcheng-robotics",
        "深圳鹏城示例机器人有限公司",
        "Pengcheng Example Robotics",
        "91440300MA5FAKE086",
        frozenset({Role.PROVIDER}),
    ),
    (
        "lingnan-data",
        "广州岭南示例数据有限公司",
        "Lingnan Example Data",
        "91440300MB2XQ00142",
        frozenset({Role.PROVIDER, Role.BUYER}),
    ),
    (
        "zhujiang-model",
        "珠江示例大模型实验室",
        "Zhujiang Example Model Lab",
        "91440300MA9DEMX01N",
        frozenset({Role.BUYER}),
    ),
)
PROFILES: dict[str, dict[str, Any]] = {
    "pengcheng-robotics": {
        "region": "440300",
        "about": "示例：人形机器人巡检与对话语料的采集与标注。",
        "about_en": "Example: collects and annotates inspection dialogues of humanoid robots.",
        "services": (
            Service(
                kind="collection", name="机器人对话语料采集", name_en="Robot dialogue collection",
                regions=("440000",),
            ),
        ),
    },
    "lingnan-data": {
        "region": "440100",
        "roles": ("data_dealer",),
        "about": "示例：岭南地区语料的汇集、治理与经销。",
        "about_en": "Example: gathers, curates and distributes corpora of Lingnan.",
        "show_statistics": True,
    },
    "reviewer": {
        "region": "440100",
        "about": "示例：数据合规评估与语料质量评价。",
        "about_en": "Example: compliance assessment and quality evaluation of corpora.",
        "contact": {"email": "desk@yuece.example"},
        "services": (
            Service(
                kind="quality", name="语料质量评价", name_en="Quality evaluation of corpora",
                price_fen=2_000_000, unit="次",
            ),
            Service(kind="legal", name="合规意见书", name_en="Compliance opinion"),
        ),
        "qualifications": (
            Qualification(
                name="示例检验检测资质", name_en="Example testing qualification",
                number="YC-0001", issuer="示例主管部门", valid_until=date(2030, 12, 31),
            ),
        ),
    },
    "exchange": {
        "region": "440100",
        "about": "示例：数据交易场所。",
        "about_en": "Example: a place of trading.",
    },
}  # fmt: skip
KEYS_FILE = "demo-keys.json"
OPERATOR = Actor(
    party_id="system", member_id="system", key_id="system", roles=frozenset({Role.ADMIN})
)


def fill(market: Market, say: Callable[[str], None] = lambda _: None) -> dict[str, str]:
    """Return one key per demonstration party; an already filled market is left as it is.

    Keys of a demonstration are kept in the data folder, readable by its owner alone.
    """
    kept = market.settings.folder / KEYS_FILE
    if kept.exists():
        found: dict[str, str] = json.loads(kept.read_text(encoding="utf-8"))
        return found
    keys = market.store.write(_parties)
    _venue(market)
    actors = {slug: _actor(market, key) for slug, key in keys.items()}
    market.store.write(lambda tx: _profiles(tx, actors))
    signers = {slug: _signing_key(market, actors[slug]) for slug in actors}
    with tempfile.TemporaryDirectory() as scratch:
        waiting = []
        for facts, folder in folders(Path(scratch)):
            say(f"{facts['name']}: describe, upload, submit")
            listing_id = register(market, actors[facts["provider"]], facts, folder)
            waiting.append((facts, listing_id))
        for facts, listing_id in waiting:
            await_review(market, facts["name"], listing_id)
            _list(market, actors, signers, facts["provider"], listing_id)
            say(f"{facts['name']}: validated, reviewed, listed")
    market.follow()
    _trade(market, actors, signers)
    market.integrate()
    with open(os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        json.dump(keys, out)
    return keys


def _parties(tx: Transaction) -> dict[str, str]:
    keys = {}
    for slug, name, name_en, uscc, roles in PARTIES:
        party, key = identity.register_party(
            tx,
            slug=slug,
            name=name,
            name_en=name_en,
            member=f"{name} 管理员",
            roles=roles,
            uscc=uscc,
            contact={"email": f"{slug}@yaosu.example"},
            by=OPERATOR,
        )
        identity.verify_party(tx, OPERATOR, party.id, "示例主体")
        keys[slug] = key
        if Role.ADMIN in roles:
            # Four eyes: the operator's second person.
            person = Member(id=new_id("mbr"), party_id=party.id, name="复核员", created_at=tx.now)
            tx.add(person)
            keys["operator-2"] = identity.issue_key(tx, person, roles, label="second")[1]
    return keys


def _profiles(tx: Transaction, actors: dict[str, Actor]) -> None:
    """Let the parties of the demonstration show themselves."""
    for slug, shown in PROFILES.items():
        profiles.edit(tx, actors[slug], state="public", **shown)


def _venue(market: Market) -> None:
    with market.store.read() as reader:
        exchange = reader.one(Party, slug="exchange")
    assert exchange is not None
    new_venue(
        market,
        Venue(
            id="demo-exchange",
            name="示例数据交易所",
            name_en="Example data exchange",
            party_id=exchange.id,
            filing_required=True,
            fee_permyriad=300,
        ),
    )


def _actor(market: Market, key: str) -> Actor:
    with market.store.read() as reader:
        return identity.authenticate(reader, key, now=market.clock.now())


def _signing_key(market: Market, actor: Actor) -> dict[str, Any]:
    """Have the market hold a signing key of the party, labelled as such (sign_mode 02)."""
    public, save = market.new_platform_key()
    made = market.store.write(
        lambda tx: identity.add_signing_key(
            tx, actor, public, held_by="platform", label="demonstration"
        )
    )
    save(made.id)
    return {"key_id": made.id, "platform": True}


def upload(market: Market, actor: Actor, path: Path) -> str:
    """Publish a file as a blob that the actor's party holds; returns its SHA-256."""

    def chunks() -> Iterator[bytes]:
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                yield piece

    sha256, size = market.blobs.put(chunks())
    market.store.write(lambda tx: keep_holding(tx, actor.party_id, sha256, size))
    return sha256


def register(market: Market, actor: Actor, facts: dict[str, Any], folder: Path) -> str:
    """Describe, upload and submit a folder; returns the listing's id."""
    descriptor = complete(describe(folder).descriptor, facts, _party(market, actor))
    for _, path, _, _ in shelf.files_of(descriptor):
        upload(market, actor, folder / path)
    made = market.store.write(
        lambda tx: shelf.create_dataset(tx, actor, descriptor, venue=facts.get("venue", "otc"))[1]
    )
    market.store.write(lambda tx: shelf.submit(tx, actor, made.id))
    return made.id


def await_review(market: Market, name: str, listing_id: str) -> None:
    """Wait for the verdict on a demonstration corpus, which has to be good."""

    def judged() -> Listing | None:
        with market.store.read() as reader:
            found = reader.get(Listing, listing_id)
        waiting = (ListingState.SUBMITTED, ListingState.VALIDATING)
        return None if found.state in waiting else found

    judged_one = wait_for(judged, seconds=120)
    if judged_one.state != ListingState.REVIEW:
        raise RuntimeError(f"the demonstration corpus {name} did not validate")


def _party(market: Market, actor: Actor) -> Party:
    with market.store.read() as reader:
        return reader.get(Party, actor.party_id)


def _list(
    market: Market,
    actors: dict[str, Actor],
    signers: dict[str, dict[str, Any]],
    provider: str,
    listing_id: str,
) -> None:
    owner, reviewer = actors[provider], actors["reviewer"]
    write = market.store.write
    write(
        lambda tx: negotiation.offer_standing(
            tx, owner, listing_id, signers[provider], market.sign_for
        )
    )
    write(lambda tx: review.register(tx, reviewer, listing_id, text="示例数据，已核对"))
    write(lambda tx: review.publish(tx, reviewer, listing_id))


def _trade(market: Market, actors: dict[str, Actor], signers: dict[str, dict[str, Any]]) -> None:
    """Run one trade to its end, so that a visitor sees what comes out."""
    buyer, admin = actors["zhujiang-model"], actors["operator"]
    second = actors["operator-2"]
    with market.store.read() as reader:
        wanted = reader.one(Listing, name="humanoid-inspection-zh", state=ListingState.LISTED)
    assert wanted is not None
    write = market.store.write
    trade = write(
        lambda tx: negotiation.buy(
            tx,
            buyer,
            wanted.id,
            {"purpose": "微调巡检机器人的对话模型", "quantity": 1},
            signers["zhujiang-model"],
            market.sign_for,
        )
    )
    for admin_key in (admin, second):
        _confirm(market, admin_key, trade)

    def delivered() -> Trade | None:
        with market.store.read() as reader:
            found = reader.get(Trade, trade.id)
        return found if found.delivered_at is not None else None

    done = wait_for(delivered, seconds=60)
    with market.store.read() as reader:
        manifest = reader.get(Delivery, str(done.delivery_id)).manifest_digest
    write(lambda tx: fulfilment.accept(tx, buyer, trade.id, manifest=manifest))
    write(lambda tx: fulfilment.rate(tx, buyer, trade.id, 5, "数据与描述一致"))
    write(lambda tx: fulfilment.complete(tx, buyer, trade.id))


def _confirm(market: Market, admin: Actor, trade: Trade) -> None:
    def step(tx: Transaction) -> None:
        try:
            fulfilment.confirm_payment(
                tx,
                admin,
                trade.id,
                amount_fen=trade.terms.amount_fen,
                payer=trade.user_id,
                reference="DEMO-0001",
            )
        except AwaitsSecond:
            return

    market.store.write(step)


def wait_for(condition: Callable[[], T | None], *, seconds: float, every: float = 0.05) -> T:
    """Return the first value that is not None, or raise Conflict when time is up."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value is not None:
            return value
        if time.monotonic() > end:
            raise Conflict("still waiting", "仍在等待")
        time.sleep(every)


def complete(descriptor: dict[str, Any], facts: dict[str, Any], provider: Party) -> dict[str, Any]:
    """Return the description with what only its provider can know."""
    element = descriptor.setdefault("dataElement", {})
    form = "time_series" if facts.get("modalities") == ["time_series"] else None
    level, codes = facts.get("spatial", ("province", ["440000"]))
    share = {"holder_name": provider.name, "holder_uscc": provider.uscc, "limitation": "无"}
    descriptor |= {
        "name": facts["name"],
        "id": f"https://market.yaosu.example/datasets/{provider.slug}/{facts['name']}",
        "title": facts["title"],
        "description": facts["description"],
        "version": "1.0.0",
        "created": "2026-09-15T10:00:00+08:00",
        "keywords": facts["keywords"],
        "licenses": [{"name": facts["license"], "title": facts["license"]}],
        "sources": [{"title": f"{provider.name}（由程序生成的示例数据）"}],
        "contributors": [{"title": provider.name, "roles": ["publisher", "creator"]}],
    }
    element |= {
        "rights_scheme": "nda2026",
        "holder": {
            "name": provider.name,
            "type": "legal_person",
            "id_type": "uscc",
            "uscc": provider.uscc,
            "contact": "示例联系人",
            "phone": "020-00000000",
            "address": "示例地址",
        },
        "registration": {"scheme": "none", "kind": "initial"},
        "rights": [{"type": kind, **share} for kind in ("hold", "use", "operate")],
        "industry": {"gbt4754": facts["industry"], "hq_field": [facts["field"]]},
        "coverage": {
            "spatial_level": level,
            "spatial_codes": codes,
            "temporal": {"start": "2026-01-01", "end": "2026-06-30"},
        },
        "update_frequency": "other",
        "license_spdx": facts["license"],
        **({"titles": {"en": facts["title_en"]}} if "title_en" in facts else {}),
        "scenario": "演示：从描述、校验到交易的全过程",
        "contract_template": "GF-2025-2615",
        "provenance": {
            "origin": ["generated"],
            "source_records": [{"kind": "own", "note": "由示例程序按固定种子生成"}],
            "acquired_from": "2026-01-01",
            "acquired_to": "2026-06-30",
        },
        "compliance": {
            "data_level": "general",
            "personal_info": "none",
            "cross_border": "unrestricted",
        },
        "offer": {
            "object_type": "dataset",
            "delivery_modes": ["file"],
            "pricing": [facts["price"]],
            "payment_timing": "prepaid",
            "valid_from": "2026-01-01",
            "valid_to": "2099-12-31",
            **({"trial": {"resource": facts["sample"]}} if facts["sample"] else {}),
        },
        "restrictions": {
            "buyer": "无",
            "buyer_qualification": "无",
            "environment": "无",
            "territory": "无",
            "resale": "不得转售",
            "export": "无",
        },
        "docs": _docs(facts.get("undocumented", ())),
    }
    ai = element.setdefault("ai", {})
    ai["stage"] = facts["stage"]
    ai["dataset_class"] = "industry_special"
    ai["generated_indicator"] = "0"
    # zxx is BCP 47's "no linguistic content": warning tones speak no language.
    element.setdefault("languages", ["zxx"])
    if form:
        ai["modalities"] = ["time_series"]
    return descriptor


def _docs(missing: Collection[str]) -> dict[str, dict[str, bool]]:
    """Return which elements the documentation has: all but those that are missing."""
    groups = {
        "basic": ("scale", "format", "structure", "access", "support"),
        "content": ("modalities", "distribution", "labels", "samples", "limitations"),
        "construction": ("sources", "collection", "processing", "annotation", "versioning"),
        "application": ("licence", "scenarios", "evaluation", "baseline", "cases"),
    }
    return {group: {n: n not in missing for n in names} for group, names in groups.items()}
