"""One prepared source for each connector, so that the same promises can be asked of all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from yaosu_connectors import exchange, load, names
from yaosu_connectors.trading_record import build
from yaosu_schemas.canonical import jcs


@dataclass(frozen=True, slots=True)
class Source:
    """A folder that a connector can harvest, and the ways to disturb one of its entries."""

    connector: Any
    root: Path
    entries: tuple[Path, ...]  # the document of each entry
    edit: Callable[[Path], None]

    def harvest(self) -> list[Any]:
        return list(self.connector.harvest(str(self.root)))


def write(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    path.write_text(text, "utf-8")
    return path


def package(folder: Path, name: str, rows: str = "id\n1\n") -> Path:
    write(folder / "data" / "rows.csv", rows)
    resource = {"name": "rows", "path": "data/rows.csv", "format": "csv"}
    return write(folder / "datapackage.json", {"name": name, "resources": [resource]})


def bilingual(id: str) -> dict[str, Any]:
    return {
        "id": id,
        "name": {"en": f"Register {id}", "zh": f"登记 {id}"},
        "description": {"en": "A register.", "zh": "一个登记册。"},
        "website": "https://example.org/",
        "data_url": "https://example.org/data",
        "api_url": None,
        "authority_level": "government",
        "country": "CN",
        "domains": ["finance", "law"],
        "geographic_scope": "national",
        "update_frequency": "annual",
        "tags": ["统计", "register"],
        "data_content": {"en": ["Tables"], "zh": ["表格"]},
    }


def croissant_of(name: str) -> dict[str, Any]:
    return {"@context": {"@vocab": "https://schema.org/"}, "@type": "Dataset", "name": name}


def dcat_dataset(name: str) -> dict[str, Any]:
    terms = {"dcat": "http://www.w3.org/ns/dcat#", "title": "http://purl.org/dc/terms/title"}
    return {
        "@context": terms,
        "@id": f"https://example.org/{name}",
        "@type": "dcat:Dataset",
        "title": f"Dataset {name}",
    }


def oai_record(name: str) -> str:
    """Return a kept answer of an OAI-PMH repository with one record."""
    dc = (
        '<oai_dc:dc xmlns:oai_dc="http://www.openarchives.org/OAI/2.0/oai_dc/"'
        f' xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>Record {name}</dc:title>'
        "<dc:subject>统计</dc:subject></oai_dc:dc>"
    )
    return (
        '<OAI-PMH xmlns="http://www.openarchives.org/OAI/2.0/"><ListRecords><record><header>'
        f"<identifier>oai:example.org:{name}</identifier><datestamp>2999-01-01</datestamp></header>"
        f"<metadata>{dc}</metadata></record></ListRecords></OAI-PMH>"
    )


def ckan_package(name: str) -> dict[str, Any]:
    return {
        "id": f"00000000-0000-4000-8000-{name:0>12}",
        "name": name,
        "title": f"Package {name}",
        "notes": "A package of another catalog.",
        "license_id": "cc-by-4.0",
        "organization": {"name": "office", "title": "Office"},
        "tags": [{"name": "统计"}],
        "extras": [{"key": "spatial", "value": "everywhere"}],
        "resources": [{"name": "rows", "url": "https://example.org/rows.csv", "format": "CSV"}],
        "metadata_modified": "2026-01-01T00:00:00.000000",
    }


def hub_folder(folder: Path) -> Path:
    write(folder / "data" / "train-00000-of-00001.jsonl", '{"q": "1"}\n')
    front = f"---\npretty_name: Dialogues {folder.name}\nlanguage: [zh]\n---\n"
    return write(folder / "README.md", f"{front}\nDialogues of a workshop.\n")


def _retitle(path: Path) -> None:
    if path.suffix == ".xml":
        write(path, path.read_text("utf-8").replace("<dc:title>Record", "<dc:title>Another"))
        return
    if path.name == "README.md":
        text = path.read_text("utf-8").replace("pretty_name: Dialogues", "pretty_name: Talks")
        write(path, text)
        return
    document = json.loads(path.read_text("utf-8"))
    if isinstance(document.get("name"), dict):
        document["name"]["en"] = "Another name"
    elif "trade_id" in document:
        document["purpose"] = "another purpose"
    elif path.name.split(".")[1] in exchange.names():
        words = exchange.form(path.name.split(".")[1])
        document = words.say({**words.read(document)[0], "purpose": "another purpose"})
    else:
        document["title"] = "Another title"
    write(path, document)


def source_of(name: str, root: Path, trades: Callable[[str], dict[str, Any]]) -> Source:
    ids = ("alpha", "beta", "gamma")

    def forms(form: str) -> list[Path]:
        say = exchange.form(form).say
        return [write(root / f"trd_{i}.{form}.json", say(build(**trades(f"trd_{i}")))) for i in ids]

    entries: dict[str, Callable[[], list[Path]]] = {
        "folder": lambda: [package(root / i, i) for i in ids],
        "bilingual-records": lambda: [write(root / f"{i}.json", bilingual(i)) for i in ids],
        "croissant": lambda: [write(root / f"{i}.json", croissant_of(i)) for i in ids],
        "dcat": lambda: [write(root / f"{i}.jsonld", dcat_dataset(i)) for i in ids],
        "oai-pmh": lambda: [write(root / f"{i}.xml", oai_record(i)) for i in ids],
        "ckan": lambda: [write(root / f"{i}.json", ckan_package(i)) for i in ids],
        "huggingface": lambda: [hub_folder(root / i) for i in ids],
        "modelscope": lambda: [hub_folder(root / i) for i in ids],
        "trading-record": lambda: [
            write(root / f"trd_{i}.trade.json", build(**trades(f"trd_{i}"))) for i in ids
        ],
        **{form: partial(forms, form) for form in exchange.names()},
    }

    def forms(form: str) -> list[Path]:
        say = exchange.form(form).say
        return [write(root / f"trd_{i}.{form}.json", say(build(**trades(f"trd_{i}")))) for i in ids]

    root.mkdir(parents=True)
    # A connector without a source here fails: whoever adds one adds its source.
    return Source(load(name), root, tuple(entries[name]()), _retitle)


@pytest.fixture(params=names("harvests"))
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Source:
    return source_of(request.param, tmp_path / "source", trade_parts)


@pytest.fixture(params=[name for name in names("harvests") if name in names("publishes")])
def publisher(request: pytest.FixtureRequest, tmp_path: Path) -> Source:
    """A prepared source of a connector that can also publish."""
    return source_of(request.param, tmp_path / "source", trade_parts)


@pytest.fixture
def trade() -> Callable[[str], dict[str, Any]]:
    """Build the parts of a whole trading record by trade id."""
    return trade_parts


@pytest.fixture
def make_package() -> Callable[..., Path]:
    """Write a Data Package with one table into a folder."""
    return package


@pytest.fixture
def make_record() -> Callable[[str], dict[str, Any]]:
    """Build a bilingual record by id."""
    return bilingual


# --- a whole trade, as a market tells it --------------------------------------------------------

DIGEST = "sha256:" + "ab" * 32
STEPS = (
    ("intent", "intent"), ("agree", "agreed"), ("sign", "signed"), ("file", "filed"),
    ("deliver_start", "delivering"), ("deliver_done", "delivered"), ("accept", "accepted"),
    ("bill", "settling"), ("settle", "settled"), ("voucher", "vouchered"),
)  # fmt: skip


def at(step: int) -> str:
    return f"2026-11-{step + 1:02}T08:00:00Z"


def events(trade_id: str) -> list[dict[str, Any]]:
    chain: list[dict[str, Any]] = []
    for seq, (type_, to) in enumerate(STEPS):
        link: dict[str, Any] = {
            "subject_id": trade_id,
            "seq": seq,
            "type": type_,
            "from_state": STEPS[seq - 1][1] if seq else None,
            "to_state": to,
            "actor_id": "pty_2" if type_ == "accept" else "pty_1",
            "at": at(seq).replace("Z", ".000000Z"),  # the ledger writes microseconds
            "payload_digest": DIGEST,
            "prev_digest": chain[-1]["digest"] if chain else None,
        }
        said = "sha256:" + hashlib.sha256(jcs(link)).hexdigest()
        chain.append({**link, "at": at(seq), "event_id": seq + 1, "payload": {}, "digest": said})
    return chain


def trade_parts(trade_id: str) -> dict[str, Any]:
    seller = {"party_id": "pty_1", "name": "深圳示例数据有限公司", "uscc": "91440300MA5FAKE086"}
    buyer = {"party_id": "pty_2", "name": "广州示例科技有限公司", "uscc": "91440101MA5FAKE08A"}
    policy = {
        "@context": "http://www.w3.org/ns/odrl.jsonld",
        "@type": "Agreement",
        "uid": f"urn:yaosu:{trade_id}",
        "assigner": "pty_1",
        "assignee": "pty_2",
        "target": DIGEST,
        "timestamp": at(1),
        "permission": [{"action": "use", "target": DIGEST}],
    }
    signature = {"public_key": "a2V5", "digest": DIGEST, "value": "c2ln", "sign_mode": "01"}
    return {
        "trade": {
            "trade_id": trade_id,
            "state": "vouchered",
            "venue": "otc",
            "listing_id": "lst_1",
            "listing_version": 1,
            "content_digest": DIGEST,
            "provider": {**seller, "contact": {"phone": "13800000000"}},
            "user": buyer,
            "terms": {
                "mode": "one_off", "unit": "", "unit_price_fen": 100_00, "quantity": 1,
                "amount_fen": 100_00, "currency": "CNY", "payment_timing": "prepaid",
                "rights": ["use"], "rights_mode": "licence", "exclusive": False,
                "term_days": 365, "territory": "",
            },
            "agreement_digest": DIGEST,
            "filing_no": "BA-1",
            "bill_no": "B-1",
            "billed_fen": 100_00,
            "fee_fen": 3_00,
            "shares": [{"party_id": "pty_1", "amount_fen": 97_00}],
            "voucher_no": "V-1",
            "rating": 5,
            "rating_text": "好",
            "disputes": [],
            "signed_at": at(2), "delivered_at": at(5), "accepted_at": at(6),
            "settled_at": at(8), "vouchered_at": at(9),
        },
        "agreement": {
            "contract_no": "YS-20261101-1",
            "contract_name": "数据提供合同",
            "template": "GF-2025-2615",
            "subject": {"object_type": "dataset"},
            "rights": {"policy": policy},
            "acceptance": {"inspection_days": 7},
            "purpose": "training",
            "scenario": "语言模型训练",
            "end_at": "2027-11-02T08:00:00Z",
        },
        "signatures": [
            {**signature, "party_id": "pty_1", "key_id": "key_1", "at": at(2)},
            {**signature, "party_id": "pty_2", "key_id": "key_2", "at": at(2)},
        ],
        "delivery": {
            "delivery_id": "dlv_1",
            "manifest_digest": DIGEST,
            "opens_at": at(4),
            "files": [{"path": "a.csv", "bytes": 10, "sha256": "ab" * 32}],
        },
        "events": events(trade_id),
    }  # fmt: skip
