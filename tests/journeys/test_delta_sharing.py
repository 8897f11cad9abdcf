"""Delta Sharing: the stranger's own client reads what was bought, and nothing else."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from people import USCC, Hall, Person, Refused, described, jsonl, until
from stall import delivered, sold_as
from strangers import python_of
from yaosu.model import new_id
from yaosu.model_evidence import Recall
from yaosu_connectors import delta_sharing as words

READ = """
import json, sys, delta_sharing
profile, calls = sys.argv[1], json.loads(sys.argv[2])
client = delta_sharing.SharingClient(profile)
out = {"tables": [[t.share, t.schema, t.name] for t in client.list_all_tables()]}
for name, (function, table, options) in calls.items():
    frame = getattr(delta_sharing, function)(profile + "#" + table, **options)
    if hasattr(frame, "to_json"):
        frame = {"types": {c: str(t) for c, t in frame.dtypes.items()}, "columns": list(frame),
                 "rows": json.loads(frame.to_json(orient="records", date_format="iso"))}
    out[name] = frame
print(json.dumps(out))
"""


def client_reads(profile: Path, **calls: Any) -> dict[str, Any]:
    """Run the client of the protocol's authors in its own environment."""
    done = subprocess.run(
        [python_of("delta-sharing"), "-c", READ, profile, json.dumps(calls)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def parquet() -> bytes:
    rows = 50
    table = pa.table(
        {
            "id": pa.array(range(rows), pa.uint32()),
            "name": pa.array([f"机器人 {n}" for n in range(rows)], pa.large_string()),
            "kind": pa.array(["arm", "leg"] * 25).dictionary_encode(),
            "at": pa.array([datetime(2026, 1, 1, tzinfo=UTC)] * rows, pa.timestamp("ns", "UTC")),
            "joints": pa.array([[0.5, n / 10] for n in range(rows)], pa.list_(pa.float32())),
            "half": pa.array([None] * rows, pa.null()),
        }
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue())


CSV = 'id,when,price,note\n1,2026-01-02,1.5,a\n2,2026-01-03,,"b, c"\n3,2026-01-04,2,\n'
FIELDS = [
    {"name": "id", "type": "integer"},
    {"name": "when", "type": "date"},
    {"name": "price", "type": "number"},
    {"name": "note", "type": "string"},
]
TURNS = [{"messages": [{"role": "user", "content": f"问 {n}"}], "good": True} for n in range(5)]


def corpus(provider: Person, name: str, *, csv: str = CSV) -> dict[str, Any]:
    files = {
        "data/joints.parquet": (parquet(), "parquet", None),
        "data/prices.csv": (csv.encode(), "csv", FIELDS),
        "data/turns.jsonl": (jsonl(TURNS), "jsonl", None),
    }
    resources = []
    for path, (data, kind, fields) in files.items():
        sha256 = provider.upload(data)
        resource = {"name": path[5:].split(".")[0], "path": path, "format": kind,
                    "bytes": len(data), "hash": f"sha256:{sha256}",
                    "mediatype": "application/octet-stream"}  # fmt: skip
        if fields:
            resource["schema"] = {"fields": fields}
            resource["encoding"] = "utf-8"
        resources.append(resource)
    return described(provider, name, resources, records=58, sample="prices")


def profile_of(buyer: Person, trade: dict[str, Any], folder: Path) -> Path:
    """Ask for a profile and wait until its tables have been prepared."""
    made = buyer.post(f"/v1/trades/{trade['trade_id']}/profile")
    path = folder / f"{trade['trade_id']}.share"
    path.write_text(json.dumps({k: v for k, v in made.items() if k != "key_id"}))
    reader = httpx2.Client(headers={"authorization": f"Bearer {made['bearerToken']}"})
    names = tables_of(reader, made["endpoint"])
    for base in names:
        until(lambda base=base: reader.get(f"{base}/metadata").status_code, lambda s: s == 200)
    return path


def tables_of(reader: httpx2.Client, endpoint: str) -> list[str]:
    share = reader.get(f"{endpoint}shares").json()["items"][0]["name"]
    found = reader.get(f"{endpoint}shares/{share}/all-tables").json()["items"]
    return [f"{endpoint}shares/{share}/schemas/{t['schema']}/tables/{t['name']}" for t in found]


@pytest.fixture(scope="module")
def sides(hall: Hall) -> tuple[Person, Person]:
    return hall.person("delta-robots", "provider", uscc=USCC[2]), hall.person("delta-lab", "buyer")


@pytest.fixture(scope="module")
def bought(hall: Hall, sides: tuple[Person, Person]) -> dict[str, Any]:
    provider, buyer = sides
    listing_id = sold_as(hall, provider, corpus(provider, "joint-log"))
    return delivered(hall, buyer, listing_id)


def test_the_client_reads_every_format_with_types_limit_and_hints(
    sides: tuple[Person, Person], bought: dict[str, Any], tmp_path: Path
) -> None:
    profile = profile_of(sides[1], bought, tmp_path)
    hint = json.dumps({"op": "equal", "children": [
        {"op": "column", "name": "id", "valueType": "int"},
        {"op": "literal", "value": "1", "valueType": "int"}]})  # fmt: skip
    nowhere = json.dumps({"op": "and", "children": [
        {"op": "greaterThan", "children": [
            {"op": "column", "name": "id", "valueType": "long"},
            {"op": "literal", "value": "1000", "valueType": "long"}]},
        {"op": "unheard-of", "children": []}]})  # fmt: skip
    base = "delta-robots.joint-log"
    found = client_reads(
        profile,
        none=("load_as_pandas", f"{base}.joints", {"jsonPredicateHints": nowhere}),
        joints=("load_as_pandas", f"{base}.joints", {}),
        few=("load_as_pandas", f"{base}.joints", {"limit": 7}),
        hinted=("load_as_pandas", f"{base}.prices", {"jsonPredicateHints": hint}),
        prices=("load_as_pandas", f"{base}.prices", {}),
        turns=("load_as_pandas", f"{base}.turns", {}),
        version=("get_table_version", f"{base}.prices", {}),
    )
    assert found["tables"] == [["delta-robots", "joint-log", n] for n in
                               ("joints", "prices", "turns")]  # fmt: skip
    assert len(found["joints"]["rows"]) == 50
    assert found["joints"]["rows"][3]["name"] == "机器人 3"
    assert found["joints"]["rows"][3]["kind"] == "leg"
    assert len(found["few"]["rows"]) == 7
    assert [r["price"] for r in found["prices"]["rows"]] == [1.5, None, 2.0]
    assert found["prices"]["rows"][1]["note"] == "b, c"
    assert len(found["hinted"]["rows"]) >= 1
    assert found["none"]["rows"] == []
    assert found["none"]["columns"] == found["joints"]["columns"]
    assert json.loads(found["turns"]["rows"][0]["messages"])[0]["content"] == "问 0"
    assert found["version"] == 1


def test_the_conversion_is_recorded_with_what_it_changed(
    hall: Hall, sides: tuple[Person, Person], bought: dict[str, Any], tmp_path: Path
) -> None:
    profile_of(sides[1], bought, tmp_path)
    with hall.market.store.read() as reader:
        events = [e for e in reader.events(bought["listing_id"]) if e.type == "columns_made"]
        from yaosu.model import Listing
        from yaosu.trading import sharing

        listing = reader.get(Listing, bought["listing_id"])
        table = sharing.table_of(reader, listing, "joints")
    assert {e.payload["resource"] for e in events} == {"joints", "prices", "turns"}
    assert table is not None
    assert {n["field"] for n in table.facts["notes"]} == {"id", "name", "kind", "at", "joints",
                                                          "half"} - {"joints"}  # fmt: skip


def test_a_newer_version_bought_is_a_version_of_the_table(
    hall: Hall, sides: tuple[Person, Person], tmp_path: Path
) -> None:
    provider, buyer = sides
    first = corpus(provider, "price-list")
    one = sold_as(hall, provider, first)
    dataset = provider.get(f"/v1/listings/{one}")["dataset_id"]
    delivered(hall, buyer, one)
    second = corpus(provider, "price-list", csv=CSV + "4,2026-01-05,9,new\n")
    second["version"] = "2.0.0"
    made = provider.post(f"/v1/datasets/{dataset}/versions", {"descriptor": second})
    two = made["listing"]["listing_id"] if "listing" in made else made["listing_id"]
    assert provider.submit(two)["state"] == "review"
    provider.offer(two)
    hall.listed(provider, two)
    profile = profile_of(buyer, delivered(hall, buyer, two), tmp_path)
    with hall.market.store.read() as reader:
        from yaosu.model import Listing

        old = reader.get(Listing, one)
    hall.market._columns({"listing_id": old.id, "resource": "prices"})
    base = "delta-robots.price-list.prices"
    found = client_reads(
        profile,
        new=("load_as_pandas", base, {}),
        old=("load_as_pandas", base, {"version": 1}),
        changes=("load_table_changes_as_pandas", base,
                 {"starting_version": 1, "ending_version": 2}),
    )  # fmt: skip
    assert (len(found["new"]["rows"]), len(found["old"]["rows"])) == (4, 3)
    kinds = [(r["_commit_version"], r["_change_type"]) for r in found["changes"]["rows"]]
    assert kinds.count((1, "insert")) == 3
    assert kinds.count((2, "delete")) == 3
    assert kinds.count((2, "insert")) == 4


def test_a_token_opens_one_trade_and_no_native_route(
    hall: Hall, sides: tuple[Person, Person], bought: dict[str, Any], tmp_path: Path
) -> None:
    provider, buyer = sides
    made = buyer.post(f"/v1/trades/{bought['trade_id']}/profile")
    token = Person(hall.address, made["bearerToken"])
    assert token.raw("GET", "/v1/me").status_code == 401
    assert token.raw("GET", "/delta-sharing/shares").status_code == 200
    assert buyer.raw("GET", "/delta-sharing/shares").status_code == 401
    for other in (provider, hall.reviewer, hall.person("delta-other", "buyer")):
        with pytest.raises(Refused):
            other.post(f"/v1/trades/{bought['trade_id']}/profile")
    buyer.post(f"/v1/keys/{made['key_id']}/revoke")
    gone = token.raw("GET", "/delta-sharing/shares")
    assert gone.status_code == 401
    assert gone.json()["errorCode"] == "UNAUTHENTICATED"


def test_links_serve_ranges_and_end(
    hall: Hall, sides: tuple[Person, Person], bought: dict[str, Any], tmp_path: Path
) -> None:
    profile = json.loads(profile_of(sides[1], bought, tmp_path).read_text())
    token = Person(hall.address, profile["bearerToken"])
    table = "/delta-sharing/shares/delta-robots/schemas/joint-log/tables/prices"
    answer = token.raw("POST", f"{table}/query", {})
    assert answer.headers["delta-table-version"] == "1"
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [next(iter(line)) for line in lines] == ["protocol", "metaData", "file"]
    url = lines[2]["file"]["url"]
    whole = httpx2.get(url)
    assert whole.content[:4] == b"PAR1"
    assert len(whole.content) == lines[2]["file"]["size"]
    part = httpx2.get(url, headers={"range": "bytes=0-3"})
    assert (part.status_code, part.content) == (206, b"PAR1")
    expires = int((datetime.now(UTC) - timedelta(days=1)).timestamp())
    stale = url.split("?")[0] + f"?expires={expires}&signature=" + "0" * 64
    assert httpx2.get(stale).status_code == 403
    assert httpx2.get(url.replace("signature=", "signature=0")).status_code == 403


def test_a_link_ends_with_the_recall_the_token_and_the_trade(
    hall: Hall, sides: tuple[Person, Person], tmp_path: Path
) -> None:
    """Revocation is at once: a recall reaches many trades by a job, links look before that."""
    provider, buyer = sides
    listing_id = sold_as(hall, provider, corpus(provider, "recalled-log"))
    trade = delivered(hall, buyer, listing_id)
    made = json.loads(profile_of(buyer, trade, tmp_path).read_text())
    token = Person(hall.address, made["bearerToken"])
    query = "/delta-sharing/shares/delta-robots/schemas/recalled-log/tables/prices/query"
    links = [json.loads(token.raw("POST", query, {}).text.splitlines()[2])["file"]["url"]]
    links.append(f"{hall.address}/datasets/delta-robots/recalled-log/data/turns.jsonl")

    def answers() -> list[int]:
        head = {"authorization": f"Bearer {buyer.key}"}
        return [httpx2.get(link, headers=head).status_code for link in links]

    assert answers() == [200, 200]
    name = new_id("rcl")
    recall = Recall(
        id=name, root_id=name, listing_id=listing_id, provider_id=provider.id, party_id=provider.id,
        actor_id=provider.id, reason="r", scope="version", created_at=datetime.now(UTC),
    )  # fmt: skip
    hall.market.store.write(lambda tx: tx.add(recall))  # no delivery has heard of it yet
    assert answers() == [403, 403]
    hall.market.store.write(lambda tx: tx.put(replace(recall, state="closed")))
    assert answers() == [200, 200]
    key = next(k for k in buyer.get("/v1/keys")["items"] if k["label"] == trade["trade_id"])
    buyer.post(f"/v1/keys/{key['key_id']}/revoke")
    assert answers() == [403, 200]
    path = f"/v1/trades/{trade['trade_id']}"
    buyer.post(f"{path}/dispute", {"ground": "not what was sold"})
    hall.reviewer.post(f"{path}/resolve", {"outcome": "money back", "to": "terminated"})
    assert answers() == [403, 403]


def test_every_mistake_is_a_4xx_in_the_words_of_the_protocol(
    hall: Hall, sides: tuple[Person, Person], bought: dict[str, Any], tmp_path: Path
) -> None:
    profile = json.loads(profile_of(sides[1], bought, tmp_path).read_text())
    token = Person(hall.address, profile["bearerToken"])
    base = "/delta-sharing/shares/delta-robots/schemas/joint-log/tables"
    wrong = [
        ("GET", "/delta-sharing/shares?maxResults=x", None, 400),
        ("GET", "/delta-sharing/shares?pageToken=!!", None, 400),
        ("GET", "/delta-sharing/shares/nobody", None, 404),
        ("GET", f"{base}/nothing/version", None, 404),
        ("GET", f"{base}/prices/version?startingTimestamp=soon", None, 400),
        ("POST", f"{base}/prices/query", {"version": 99}, 404),
        ("POST", f"{base}/prices/query", {"version": "one"}, 400),
        ("POST", f"{base}/prices/query", {"startingVersion": 1}, 400),
        ("GET", f"{base}/prices/changes", None, 400),
    ]
    for method, path, body, status in wrong:
        answer = token.raw(method, path, body)
        assert answer.status_code == status, (path, answer.text)
        assert set(answer.json()) == {"errorCode", "message"}, path


def test_names_and_types_are_those_that_clients_take() -> None:
    assert words.name_of("a.b/c d") == "a_b_c_d"
    assert words.name_of("语料 集") == "语料_集"
    nested = {"list": {"struct": [{"name": "x", "type": "int8"}]}}
    assert words.delta_type(nested)["elementType"]["fields"][0]["type"] == "byte"
    assert words.delta_type({"map": ["string", "decimal(20,0)"]})["valueType"] == "decimal(20,0)"
