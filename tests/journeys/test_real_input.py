"""The main job on data made by others, through HTTP, from describing to the bytes bought."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from people import USCC, Hall, Person, until
from yaosu.demo import complete
from yaosu.model import Party
from yaosu_connectors import Skipped
from yaosu_connectors import load as connector
from yaosu_schemas.documents import descriptor_problems
from yaosu_validators.describe import describe


@pytest.fixture(scope="module")
def people(hall: Hall) -> dict[str, Person]:
    """Two providers, two buyers; the reviewer, operators and an exchange are the hall's."""
    hall.exchange("gz-test", filing_required=True, fee_permyriad=300)
    return {
        "lingnan": hall.person("lingnan", "provider", uscc=USCC[0]),
        "pengcheng": hall.person("pengcheng", "provider", uscc=USCC[1]),
        "lab": hall.person("model-lab", "buyer", uscc=USCC[2]),
        "studio": hall.person("studio", "buyer"),
    }


def package(
    provider: Person, folder: Path, name: str, existing: dict[str, Any] | None = None, **facts: Any
) -> dict[str, Any]:
    """Describe a folder and fill in what only its provider knows."""
    found = describe(folder, existing=existing).descriptor
    wanted: dict[str, Any] = {
        "name": name,
        "title": name,
        "description": name,
        "keywords": [name],
        "license": "CC-BY-4.0",
        "industry": "I65",
        "field": "science",
        "stage": ["evaluation"],
        "price": {"mode": "one_off", "unit": "份", "price_fen": 20_000, "currency": "CNY"},
        "sample": None,
        **facts,
    }
    party = Party(
        id=provider.id,
        slug=provider.party["slug"],
        name=provider.party["slug"],
        uscc=provider.party["uscc"],
        created_at=None,  # type: ignore[arg-type]
    )
    done = complete(found, wanted, party)
    # Tables have no modality of their own in the national list: these are series over time.
    done["dataElement"]["ai"].setdefault("modalities", ["time_series"])
    return done


def copied(testdata: Path, tmp_path: Path, *parts: str) -> Path:
    """Copy a folder or files of the test data, so that nothing else lies beside them."""
    target = tmp_path / "copy"
    target.mkdir()
    for part in parts:
        source = testdata / part
        if source.is_dir():
            shutil.copytree(
                source,
                target,
                dirs_exist_ok=True,
                ignore=shutil.ignore_patterns("_SOURCE.json", "README*", "LICENSE*"),
            )
        else:
            shutil.copy(source, target / source.name)
    return target


def traded(hall: Hall, provider: Person, buyer: Person, listing_id: str, folder: Path) -> None:
    """List, buy, pay, fetch; every byte that arrives is the provider's."""
    provider.offer(listing_id)
    hall.listed(provider, listing_id)
    trade = buyer.buy(listing_id)
    if trade["terms"]["amount_fen"]:
        hall.pay(trade)
    trade = buyer.wait(trade["trade_id"], "delivered")
    files, manifest = buyer.fetch(trade)
    for path, data in files.items():
        assert data == (folder / path).read_bytes(), path
    path = f"/v1/trades/{trade['trade_id']}"
    assert buyer.post(f"{path}/accept", {"manifest_digest": manifest})["state"] == "vouchered"
    assert buyer.post(f"{path}/complete")["state"] == "completed"


def submitted(provider: Person, folder: Path, descriptor: dict[str, Any], **more: Any) -> Any:
    provider.upload_folder(folder, descriptor)
    listing = provider.draft(descriptor, **more)
    return provider.submit(listing["listing_id"])


@pytest.mark.parametrize("name", ["gdp", "country-codes"])
def test_published_tables_are_listed_and_bought(
    hall: Hall, people: dict[str, Person], testdata: Path, tmp_path: Path, name: str
) -> None:
    folder = copied(testdata, tmp_path, f"frictionless/datasets/{name}")
    provider = people["lingnan"]
    found = submitted(provider, folder, package(provider, folder, name))
    assert found["state"] == "review", report(provider, found)
    traded(hall, provider, people["lab"], found["listing_id"], folder)


def report(provider: Person, found: dict[str, Any]) -> str:
    body = provider.get(f"/v1/listings/{found['listing_id']}/report")
    errors = [e for t in body["tasks"] for e in t["errors"]] + body["errors"]
    return json.dumps(errors[:5], ensure_ascii=False)[:2000]


def test_co2_ppm_is_returned_with_its_827_errors_mended_and_listed(
    hall: Hall, people: dict[str, Person], testdata: Path, tmp_path: Path
) -> None:
    folder = copied(testdata, tmp_path, "frictionless/datasets/co2-ppm")
    provider = people["pengcheng"]
    published = json.loads((folder / "datapackage.json").read_text(encoding="utf-8"))
    descriptor = package(provider, folder, "co2-ppm", published)
    found = submitted(provider, folder, descriptor)
    assert found["state"] == "returned"
    listing_id = found["listing_id"]
    judged = provider.get(f"/v1/listings/{listing_id}/report")
    errors = [(t["name"], e) for t in judged["tasks"] for e in t["errors"]]
    assert len(errors) == judged["stats"]["errors"] == 827
    # Each says where: row and cell for the data, the column for a heading.
    assert all(e.get("rowNumber") or e.get("fieldName") is not None for _, e in errors)
    assert sum(e["type"] == "extra-cell" for _, e in errors) == 820

    # Mended as its publisher would: labels for the columns that had none, no blank line,
    # schemas that say what the files hold.
    monthly = folder / "data" / "co2-mm-mlo.csv"
    head, _, rows = monthly.read_bytes().partition(b"\n")
    monthly.write_bytes(head.rstrip() + b",Uncertainty\n" + rows)
    growth = folder / "data" / "co2-gr-mlo.csv"
    growth.write_bytes(b"\n".join(x for x in growth.read_bytes().splitlines() if x.strip()))
    globally = folder / "data" / "co2-mm-gl.csv"
    labels = b"Date,Decimal Date,Average,Average Uncertainty,Trend,Trend Uncertainty"
    globally.write_bytes(b"\n".join([labels, *globally.read_bytes().splitlines()[1:]]) + b"\n")
    for resource in descriptor["resources"]:
        del resource["schema"]
    descriptor = describe(folder, existing=descriptor).descriptor
    provider.upload_folder(folder, descriptor)
    provider.http.put(
        f"/v1/listings/{listing_id}",
        json={"descriptor": descriptor},
        headers={"idempotency-key": "mend-co2"},
    ).raise_for_status()
    found = provider.submit(listing_id)
    assert found["state"] == "review", report(provider, found)
    traded(hall, provider, people["studio"], listing_id, folder)


@pytest.mark.parametrize(
    ("name", "files", "records"),
    [
        ("alpaca-zh", ("ai/llama-factory/data/alpaca_zh_demo.json",), 1000),
        (
            "gsm8k",
            (
                "ai/gsm8k/grade_school_math/data/train.jsonl",
                "ai/gsm8k/grade_school_math/data/test.jsonl",
            ),
            8792,
        ),
        ("hh-harmless", ("ai/hh-rlhf/harmless-base/test.jsonl.gz",), 2312),
    ],
)
def test_corpora_for_language_models_are_described_judged_and_bought(
    hall: Hall,
    people: dict[str, Person],
    testdata: Path,
    tmp_path: Path,
    name: str,
    files: tuple[str, ...],
    records: int,
) -> None:
    folder = copied(testdata, tmp_path, *files)
    provider = people["lingnan"]
    descriptor = package(provider, folder, name)
    assert descriptor["dataElement"]["size"]["records"] == records
    assert descriptor["dataElement"]["ai"]["modalities"] == ["text"]
    found = submitted(provider, folder, descriptor)
    assert found["state"] == "review", report(provider, found)
    assert found["report"]["rows"] == records
    traded(hall, provider, people["lab"], found["listing_id"], folder)


def test_a_pointer_that_poses_as_data_is_refused_as_what_it_is(
    people: dict[str, Person], testdata: Path, tmp_path: Path
) -> None:
    folder = copied(testdata, tmp_path, "ai/hh-rlhf/helpful-base/test.jsonl.gz")
    provider = people["lingnan"]
    descriptor = package(provider, folder, "hh-helpful")
    descriptor["resources"][0] |= {"format": "jsonl", "mediatype": "application/jsonl"}
    size = (folder / "test.jsonl.gz").stat().st_size
    descriptor["dataElement"] |= {
        "size": {"records": 1, "bytes": size},
        "form": {"content": ["text"], "structure": "semi_structured"},
        "languages": ["en"],
    }
    descriptor["dataElement"]["ai"]["modalities"] = ["text"]
    found = submitted(provider, folder, descriptor)
    assert found["state"] == "returned"
    assert "lfs" in report(provider, found).lower()


def test_robot_episodes_with_media_are_listed_and_bought(
    hall: Hall, people: dict[str, Person], testdata: Path, tmp_path: Path
) -> None:
    folder = copied(testdata, tmp_path, "ai/lerobot-g1")
    provider = people["pengcheng"]
    descriptor = package(provider, folder, "lerobot-g1", field="embodied")
    assert {"video"} <= set(descriptor["dataElement"]["ai"]["modalities"])
    found = submitted(provider, folder, descriptor)
    assert found["state"] == "returned"
    assert "96 episodes (4-99)" in report(provider, found)  # declared, and not there

    as_it_is(folder / "meta")
    (folder / "datapackage.json").unlink(missing_ok=True)
    descriptor = package(provider, folder, "lerobot-g1-four", field="embodied")
    found = submitted(provider, folder, descriptor)
    assert found["state"] == "review", report(provider, found)
    traded(hall, provider, people["studio"], found["listing_id"], folder)


def as_it_is(meta: Path) -> None:
    """Let the set declare the four episodes that are there, and no camera."""
    for path in meta.iterdir():
        path.chmod(0o644)
    info = json.loads((meta / "info.json").read_text("utf-8"))
    info |= {
        "total_episodes": 4,
        "total_frames": 1674,
        "total_videos": 0,
        "splits": {"train": "0:4"},
    }
    info["features"] = {k: v for k, v in info["features"].items() if v["dtype"] != "video"}
    (meta / "info.json").write_text(json.dumps(info), encoding="utf-8")
    for name in ("episodes.jsonl", "episodes_stats.jsonl"):
        lines = (meta / name).read_text("utf-8").splitlines(keepends=True)
        (meta / name).write_text("".join(lines[:4]), encoding="utf-8")


def test_bilingual_records_become_drafts_that_their_owner_finds_in_both_languages(
    hall: Hall, people: dict[str, Person], testdata: Path
) -> None:
    provider = people["lingnan"]
    source = testdata / "china" / "firstdata" / "firstdata" / "sources"
    count = 0
    for record in connector("bilingual-records").harvest(str(source)):
        assert not isinstance(record, Skipped), record
        assert not [
            p
            for p in descriptor_problems(dict(record.document), stage="draft")
            if p.severity == "error"
        ]
        made = provider.post(
            "/v1/datasets", {"descriptor": record.document, "origin_id": record.origin_id}
        )
        assert any(p["severity"] == "missing" for p in made["problems"])
        count += 1
    assert count == 161

    def titles(text: str) -> list[str]:
        found = provider.get("/v1/my/listings", params={"q": text, "limit": 20})
        return [item["title"] for item in found["items"]]

    until(lambda: titles("人民银行"), bool, seconds=10)
    assert any("人民银行" in t for t in titles("人民银行"))
    assert any("银行" in t or "Bank" in t for t in titles("People's Bank of China"))
    for text in ("人民银行", "bank"):
        seen = hall.stranger.get("/v1/listings", params={"q": text})
        assert not [i for i in seen["items"] if i["card"]["state"] != "listed"]
