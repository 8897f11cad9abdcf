"""What was bought opens in one line: in whole, in part, in shards, and from where it stopped."""

from __future__ import annotations

import io
import json
import pickle
import random
import subprocess
import sys
import tarfile
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import yaosu
from people import USCC, Hall, Person, described, jsonl
from stall import delivered, sold_as
from strangers import ROOT, python_of
from yaosu.client.purchase import Purchase
from yaosu.client.streams import may_hold
from yaosu.errors import InvalidInput, Unsupported

GROUPS, GROUP = 12, 250
ROWS = GROUPS * GROUP
TURNS = [{"n": n, "text": f"问 {n} " + "长" * (n % 40)} for n in range(5000)]


def parquet() -> bytes:
    dice = random.Random(7)
    table = pa.table(
        {
            "id": range(ROWS),
            "lang": [("zh" if n < ROWS // 2 else "en") for n in range(ROWS)],
            "score": [n / ROWS for n in range(ROWS)],
            "body": [dice.randbytes(200).hex() for _ in range(ROWS)],
        }
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=GROUP)
    return bytes(sink.getvalue())


def tar_of(first: int, last: int) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as tar:
        for number in range(first, last):
            for ending, data in (("txt", f"说明 {number}"), ("json", f'{{"n": {number}}}')):
                member = tarfile.TarInfo(f"{number:06}.{ending}")
                member.size = len(data.encode())
                tar.addfile(member, io.BytesIO(data.encode()))
    return sink.getvalue()


@pytest.fixture(scope="module")
def trade(hall: Hall) -> tuple[Person, str]:
    provider, buyer = (
        hall.person("stream-works", "provider", uscc=USCC[3]),
        hall.person("stream-lab", "buyer"),
    )
    wanted = {
        "rows": ["data/rows.parquet"], "turns": ["data/turns.jsonl"], "sample": ["data/s.jsonl"],
        "shards": ["shards/00000.tar", "shards/00001.tar"],
    }  # fmt: skip
    content = {
        "data/rows.parquet": parquet(), "data/turns.jsonl": jsonl(TURNS),
        "data/s.jsonl": jsonl(TURNS[:12]), "shards/00000.tar": tar_of(0, 7),
        "shards/00001.tar": tar_of(7, 12),
    }  # fmt: skip
    resources = []
    for name, paths in wanted.items():
        told = [
            {"path": p, "bytes": len(content[p]), "hash": f"sha256:{provider.upload(content[p])}"}
            for p in paths
        ]
        one = {k: v for k, v in told[0].items() if k != "path"}
        more = one if len(paths) == 1 else {"parts": told}
        kind = paths[0].rsplit(".", 1)[-1]
        path = paths if len(paths) > 1 else paths[0]
        media = "application/octet-stream"
        resources.append({"name": name, "path": path, "format": kind, "mediatype": media, **more})
    descriptor = described(provider, "streams", resources, records=ROWS + 5012, sample="sample")
    listing_id = sold_as(hall, provider, descriptor)
    return buyer, str(delivered(hall, buyer, listing_id)["trade_id"])


@pytest.fixture
def bought(hall: Hall, trade: tuple[Person, str], tmp_path: Path) -> Purchase:
    buyer, trade_id = trade
    return yaosu.Client(hall.address, buyer.key).trade(trade_id).open(tmp_path / "bought")


@pytest.fixture(scope="module")
def kept(
    hall: Hall, trade: tuple[Person, str], tmp_path_factory: pytest.TempPathFactory
) -> Purchase:
    buyer, trade_id = trade
    folder = tmp_path_factory.mktemp("kept") / "bought"
    found = yaosu.Client(hall.address, buyer.key).trade(trade_id).open(folder)
    found.files()
    return found


# --- parts -------------------------------------------------------------------------------------


def test_of_a_parquet_file_only_the_columns_and_rows_asked_for_come(bought: Purchase) -> None:
    fetched: list[Any] = []
    plain = Purchase.remote
    size = next(e["bytes"] for e in bought.manifest["files"] if e["path"].endswith("parquet"))

    class Counted(Purchase):
        def remote(self, path: str) -> Any:
            fetched.append(plain(self, path))
            return fetched[-1]

    bought.__class__ = Counted
    table = bought.table("rows", columns=["id"], filter=[("score", ">=", 11 / 12)])
    assert table.column_names == ["id"]
    assert table["id"].to_pylist() == list(range(ROWS - GROUP, ROWS))
    assert 0 < fetched[0].fetched_bytes < size / 3
    assert not (bought.folder / "data" / "rows.parquet").exists()
    body = bought.table("rows", columns=["body"], filter=[("id", "in", [3, 4])])
    assert body.num_rows == 2
    assert fetched[1].fetched_bytes < size / 3


def test_a_part_is_checked_against_the_digest_when_that_is_asked_for(bought: Purchase) -> None:
    table = bought.table("rows", columns=["id"], checked=True)
    assert table.num_rows == ROWS
    assert (bought.folder / "data" / "rows.parquet").exists()


def test_any_format_takes_columns_and_filter(kept: Purchase) -> None:
    table = kept.table("turns", columns=["text"], filter=[[("n", "<", 2)], [("n", "=", 4999)]])
    assert table["text"].to_pylist() == [TURNS[n]["text"] for n in (0, 1, 4999)]
    with pytest.raises(InvalidInput):
        kept.table("turns", filter=[("n", "~", 2)])
    for resource in ("turns", "rows"):
        with pytest.raises(InvalidInput, match="no column 'nothing'; there are: "):
            kept.table(resource, columns=["nothing"])
        with pytest.raises(InvalidInput, match="no column 'nothing'"):
            next(kept.stream(resource, columns=["nothing"]).rows())


@settings(deadline=None, max_examples=25)
@given(
    operator=st.sampled_from(["=", "!=", "<", "<=", ">", ">=", "in", "not in"]),
    value=st.integers(-2, ROWS + 2),
)
def test_no_row_group_with_a_row_that_fits_is_left_out(
    kept: Purchase, operator: str, value: int
) -> None:
    wanted = [value, value + 300] if "in" in operator else value
    chosen = [("id", operator, wanted)]
    expected = pq.read_table(kept.file("data/rows.parquet"), columns=["id"], filters=chosen)
    assert kept.table("rows", columns=["id"], filter=chosen).equals(expected)
    groups = pq.read_metadata(kept.file("data/rows.parquet"))
    assert may_hold(groups.row_group(0), None)


# --- streams -----------------------------------------------------------------------------------


def ids(stream: Any, column: str) -> list[int]:
    return [row[column] for row in stream.rows()]


@pytest.mark.parametrize(("resource", "column", "count"), [("rows", "id", ROWS),
                                                           ("turns", "n", 5000)])  # fmt: skip
@pytest.mark.parametrize("shards", [1, 3, 16])
def test_shards_hold_every_row_once(
    kept: Purchase, resource: str, column: str, count: int, shards: int
) -> None:
    found = [
        ids(kept.stream(resource, columns=[column]).shard(n, shards), column) for n in range(shards)
    ]
    assert sorted(sum(found, [])) == list(range(count))
    if resource == "rows":
        assert max(map(len, found)) - min(map(len, found)) <= 1


def test_a_shard_at_the_market_fetches_its_own_row_groups(bought: Purchase) -> None:
    stream = bought.stream("rows", columns=["id", "body"])
    assert ids(stream.shard(3, 12), "id") == list(range(3 * GROUP, 4 * GROUP))
    assert not (bought.folder / "data" / "rows.parquet").exists()


@settings(deadline=None, max_examples=15)
@given(
    resource=st.sampled_from(["rows", "turns"]),
    stop=st.integers(0, 1400),
    shard=st.sampled_from([(0, 1), (1, 2), (2, 3)]),
    chosen=st.booleans(),
)
def test_a_stream_goes_on_exactly_where_it_stopped(
    kept: Purchase, resource: str, stop: int, shard: tuple[int, int], chosen: bool
) -> None:
    column = {"rows": "id", "turns": "n"}[resource]
    more: dict[str, Any] = {"columns": [column], "batch_rows": 100}
    if chosen:
        more["filter"] = [(column, ">", 700)]
    whole = ids(kept.stream(resource, **more).shard(*shard), column)
    first = kept.stream(resource, **more).shard(*shard)
    begun = [row[column] for row in islice(first.rows(), stop)]
    state = json.loads(json.dumps(first.state_dict()))
    second = kept.stream(resource, **more).shard(*shard)
    second.load_state_dict(state)
    ended = len(begun) == len(whole) < stop  # it begins anew
    assert begun + ([] if ended else ids(second, column)) == whole
    again = kept.stream(resource, **more).shard(*shard)
    again.load_state_dict(state)
    rest = [n for batch in again for n in batch[column].to_pylist()]
    assert begun + ([] if ended else rest) == whole


def test_a_state_of_another_stream_is_refused(kept: Purchase) -> None:
    state = kept.stream("rows").state_dict()
    with pytest.raises(InvalidInput, match="columns"):
        kept.stream("rows", columns=["id"]).load_state_dict(state)
    with pytest.raises(InvalidInput):
        kept.stream("rows").shard(2, 2)


def test_a_purchase_travels_to_a_worker_process(bought: Purchase) -> None:
    there = pickle.loads(pickle.dumps(bought))
    assert there.table("rows", columns=["id"]).num_rows == ROWS
    assert pickle.loads(pickle.dumps(bought.stream("rows"))).wanted == bought.stream("rows").wanted


def test_memory_and_files_come_one_by_one(bought: Purchase) -> None:
    stream = iter(bought.stream())
    next(stream)
    assert not (bought.folder / "shards").exists()


# --- samples -----------------------------------------------------------------------------------


def test_tar_shards_are_samples_in_shards_and_resumed(kept: Purchase) -> None:
    samples = list(kept.samples("shards"))
    assert [s["__key__"] for s in samples] == [f"{n:06}" for n in range(12)]
    assert json.loads(samples[8]["json"]) == {"n": 8}
    for shards in (2, 5):
        found = [[s["__key__"] for s in kept.samples("shards").shard(n, shards)]
                 for n in range(shards)]  # fmt: skip
        assert sorted(sum(found, [])) == [f"{n:06}" for n in range(12)]
    first = kept.samples("shards")
    begun = [s["__key__"] for s in islice(first, 9)]
    second = kept.samples("shards")
    second.load_state_dict(first.state_dict())
    assert begun + [s["__key__"] for s in second] == [f"{n:06}" for n in range(12)]
    with pytest.raises(Unsupported):
        kept.samples("turns")


# --- the libraries of others -------------------------------------------------------------------

READ = """
import json, pickle, sys
sys.path += sys.argv[2:]
bought = pickle.loads(open(sys.argv[1], "rb").read())
"""


def with_library(kept: Purchase, client: str, script: str, folder: Path) -> Any:
    """Run our own code with the libraries of a client's environment behind it."""
    where = python_of(client, wanted=client == "torch").parents[1] / "lib"
    place = next(where.glob("python*")) / "site-packages"
    dump = folder / "purchase.pickle"
    dump.write_bytes(pickle.dumps(kept))
    roots = [str(ROOT / name) for name in ("catalog", "schemas")]
    command = [sys.executable, "-c", READ + script, str(dump), *roots, str(place)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_polars_pandas_datasets_and_webdataset_open_what_was_bought(
    kept: Purchase, tmp_path: Path
) -> None:
    found = with_library(
        kept,
        "datasets",
        """
out = {}
frame = bought.to_polars("rows", columns=["id", "lang"], filter=[("lang", "=", "en")])
out["polars"] = [type(frame).__module__.split(".")[0], frame.height, frame["id"].min()]
frame = bought.to_pandas("turns", columns=["n"])
out["pandas"] = [type(frame).__module__.split(".")[0], len(frame), int(frame["n"].sum())]
data = bought.to_hf("turns", filter=[("n", "<", 10)])
out["hf"] = [type(data).__module__.split(".")[0], len(data), data[9]["text"][:3]]
ours = [dict(s, __url__="") for s in bought.samples("shards")]
theirs = [{**{k: s[k] for k in ("__key__", "txt", "json")}, "__url__": ""}
          for s in bought.to_webdataset("shards")]
out["webdataset"] = [len(theirs), ours == theirs]
print(json.dumps(out))
""",
        tmp_path,
    )
    assert found == {
        "polars": ["polars", ROWS // 2, ROWS // 2], "pandas": ["pandas", 5000, 4999 * 2500],
        "hf": ["datasets", 10, "问 9"], "webdataset": [12, True],
    }  # fmt: skip


def test_workers_of_a_torch_loader_read_every_row_once_and_go_on(
    kept: Purchase, tmp_path: Path
) -> None:
    found = with_library(
        kept,
        "torch",
        """
if __name__ == "__main__":
    from itertools import islice
    from torch.utils.data import DataLoader
    rows = bought.to_torch("rows", columns=["id"])
    seen = [int(n) for batch in DataLoader(rows, batch_size=64, num_workers=3) for n in batch["id"]]
    halves = [[r["n"] for r in bought.to_torch("turns", shard=(n, 2))] for n in range(2)]
    first = bought.to_torch("rows", columns=["id"])
    begun = [r["id"] for r in islice(first, 777)]
    second = bought.to_torch("rows", columns=["id"])
    second.load_state_dict(first.state_dict())
    print(json.dumps({"seen": sorted(seen) == list(range(3000)),
                      "halves": sorted(halves[0] + halves[1]) == list(range(5000)),
                      "resumed": begun + [r["id"] for r in second] == list(range(3000)),
                      "tars": len(list(bought.to_torch("shards")))}))
""",
        tmp_path,
    )
    assert found == {"seen": True, "halves": True, "resumed": True, "tars": 12}


def test_a_library_that_is_not_here_is_named(kept: Purchase) -> None:
    with pytest.raises(Unsupported, match="pip install torch"):
        kept.to_torch("rows")
