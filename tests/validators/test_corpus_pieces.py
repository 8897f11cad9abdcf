"""One long text: what is found in its pieces is what the whole of it gives, bit for bit."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yaosu_validators import long_texts, marks
from yaosu_validators.blocks import Blocks
from yaosu_validators.corpus import pieces, reading, shingles, view
from yaosu_validators.corpus.completeness import Completeness, FilledState
from yaosu_validators.corpus.contamination import Contamination
from yaosu_validators.corpus.duplicates import Duplicates, Ledger
from yaosu_validators.corpus.personal_scan import scan
from yaosu_validators.corpus.reading import Batch
from yaosu_validators.corpus.shapes import mapping_of
from yaosu_validators.corpus.sketch import Sketched
from yaosu_validators.corpus.view import About, View
from yaosu_validators.corpus.views import ViewMaker
from yaosu_validators.dialects import Dialect

_signs = [
    *"aZ_0 .\n\t#é😀的中\u3000\u00a0",
    "word ",
    "of  many words ",
    "字词句段",
    "e\u0301",  # combine
    "\u0301",
    "\u0323\u0301",
    "\u1112\u1161\u11ab",  # letters of Korean, which combine
    "\u1161",
    "한",
    "ｶﾞ",  # in half width, and a mark that combines
    "ﷺ",  # becomes eighteen characters, with spaces among them
    "\u00a8",  # becomes a space and a mark
    "\u2028",
    "\x85",
    "ﬁ①Ａ",
    "ক\u09be\u09c7\u09be",  # vowels that combine
    "\u200b\ufeff",
    "İß",
    "\U00016d67",  # letters that combine
    "x" * 40,  # more letters than have a place of their own
]
_texts = st.lists(st.sampled_from(_signs), max_size=40).map("".join)


@pytest.fixture(autouse=True, scope="module")
def everything_is_long() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(view, "LONG", 0)
        patch.setattr(pieces, "PIECE", 5)
        patch.setattr(pieces, "HELD", 6)
        patch.setattr(pieces, "_LOOK_BACK", 4)
        patch.setattr(shingles, "BLOCK_BYTES", 12)
        yield


@settings(max_examples=400, deadline=None)
@given(text=_texts)
def test_a_text_is_normalised_in_pieces_as_it_is_whole(text: str) -> None:
    whole = shingles.normalised(pa.array([text], pa.large_string()))
    assert b"".join(pieces.clean(pa.array([text], pa.large_string()))).decode() == whole[0].as_py()


@settings(max_examples=200, deadline=None)
@given(text=_texts)
def test_tokens_and_shingles_of_pieces_are_those_of_the_whole(text: str) -> None:
    clean = shingles.normalised(pa.array([text], pa.large_string()))
    cut = [p for p in pieces.clean(pa.array([text], pa.large_string())) if p]
    assert np.concatenate(list(pieces.tokens(cut))).tolist() == shingles.tokens(clean)[0].tolist()
    found = pieces.shingles(cut, characters=pieces.by_characters(cut))
    assert np.concatenate(list(found.ranges())).tolist() == shingles.shingles(clean).hashes.tolist()


_records = st.one_of(
    st.fixed_dictionaries({"text": _texts, "id": st.text("ab", max_size=3)}),
    st.fixed_dictionaries(
        {"instruction": _texts, "input": _texts, "output": _texts},
        optional={"system": _texts, "label": st.sampled_from(["x", "y"])},
    ),
    st.fixed_dictionaries(
        {
            "messages": st.lists(
                st.fixed_dictionaries(
                    {"role": st.sampled_from(["user", "assistant"]), "content": _texts}
                ),
                max_size=4,
            )
        }
    ),
)


def views(record: dict[str, Any]) -> tuple[View, View]:
    """Return the view of one record as it is, and one that is looked at in pieces."""
    mapped = mapping_of([record])
    made = [ViewMaker(mapped).view(np.zeros(1, np.int64), [record]) for _ in range(2)]
    return made[0], made[1]


_known = st.lists(
    st.sampled_from(["13800138000", " ", "a@example.org", "电话：", "11010519491231002X", "x" * 9]),
    max_size=6,
).map("".join)


@settings(max_examples=100, deadline=None)
@given(texts=st.lists(_known, min_size=1, max_size=4))
def test_what_is_personal_in_a_long_record_is_found_where_it_stands(texts: list[str]) -> None:
    whole, long = views({"text": texts, "id": "13800138000", "phone": "13800138000"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(view, "LONG", 1 << 20)
        wanted = list(scan(whole))
    assert list(scan(long)) == wanted


@settings(max_examples=200, deadline=None)
@given(record=_records)
def test_what_is_kept_of_a_long_record_is_what_is_kept_of_any(record: dict[str, Any]) -> None:
    for check in (Duplicates(), Sketched()):
        whole, long = views(record)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(view, "LONG", 1 << 20)
            wanted = check.observe(check.start(About("")), whole)  # type: ignore[attr-defined]
        found = check.observe(check.start(About("")), long)  # type: ignore[attr-defined]
        assert plain(found) == plain(wanted)


def plain(state: Any) -> Any:
    if hasattr(state, "chunks"):
        return [{k: (c.dtype.str, c.tolist()) for k, c in chunk.items()} for chunk in state.chunks]
    samples = (state.by_record, state.by_run)
    return [state.records, state.left_out, [(s.whole, s.values.tolist()) for s in samples]]


_items = st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=24).map(" ".join)


@settings(max_examples=15, deadline=None)
@given(items=st.lists(_items, min_size=1, max_size=4), data=st.data())
def test_an_item_of_a_benchmark_is_found_across_the_borders_of_pieces(
    items: list[str], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path: Path = tmp_path_factory.mktemp("benchmark") / "items.jsonl"
    path.write_text("".join(json.dumps({"question": item}) + "\n" for item in items))
    check = Contamination(benchmarks=(str(path),))
    for _ in range(10):
        parts = data.draw(st.lists(st.one_of(st.sampled_from(items), _items), max_size=6))
        whole, long = views({"text": " ".join(parts), "id": "1"})
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(view, "LONG", 1 << 20)
            wanted = check.observe(check.start(About("")), whole)
        assert check.observe(check.start(About("")), long) == wanted


# --- from the file to the view -----------------------------------------------------------------

_LEAST = 450  # more than is looked at to learn what a field is for
_cells = st.tuples(
    st.sampled_from(["", "of many words " * 33]),
    st.lists(
        st.sampled_from(["a", "word ", "😀", "é", '"', ",", "\n", "\\", "\\n", "\x00"]), max_size=8
    ).map("".join),
).map("".join)
_escapes = st.sampled_from([json.dumps("é\n😀"), r'"\ud800 lone"', r'"\ud83d\ude00 pair"', '"\\q"'])
_values = st.recursive(
    st.one_of(_cells.map(json.dumps), _cells.map(lambda c: json.dumps(c, ensure_ascii=False)),
              _escapes, st.sampled_from(["1", "12345678", "null", "NaN", str(1 << 70)])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda some: f"[{', '.join(some)}]"),
        st.fixed_dictionaries({"content": inner, "tool_calls": inner}).map(
            '{{"role": "user", "content": {0[content]}, "tool_calls": {0[tool_calls]}}}'.format
        ),
    ),
    max_leaves=5,
)  # fmt: skip
_lines = st.lists(
    st.one_of(
        st.tuples(_values, _values).map(
            lambda v: f'{{"id": "1", "text": {v[0]}, "label": {v[1]}}}'
        ),
        _values.map(lambda v: f'{{"messages": [{{"role": "user", "content": {v}}}]}}'),
        st.sampled_from(["", "  ", "[1]", "{broken", f'{{"text": "\udcff\udce4 {"long " * 99}"}}']),
    ),
    max_size=5,
)


def views_of(least: int, batches: Callable[[], Iterable[Batch]]) -> Any:
    """Return all that the checks see of some records, and what is kept of them."""
    with pytest.MonkeyPatch.context() as patch, long_texts.wanted():
        for module, name in (
            (long_texts, "LONG"), (marks, "LONG_LINE"), (marks, "LONG_ROW"),
            (reading, "LONG_LINE"), (marks, "_LONG_CELL"), (view, "LONG"),
        ):  # fmt: skip
            patch.setattr(module, name, least)
        found = list(batches())
        maker = ViewMaker(mapping_of([record for batch in found for record in batch.records]))
        told: list[Any] = [maker.mapped]
        for batch in found:
            whole = maker.view(batch.rows, batch.records)
            labels = {name: column.to_pylist() for name, column in whole.labels.items()}
            segments = (whole.texts, whole.roles, whole.fields, whole.turns, whole.starts)
            told += [*(column.tolist() for column in segments), labels, whole.mended]
            told += (None if whole.ids is None else whole.ids.to_pylist(), batch.unreadable)
            for part in (whole.part(n, n + 1) for n in range(len(whole))):
                told.append(plain(Duplicates().observe(Ledger(), part)))
                told.append(Completeness().observe(FilledState(), part).kinds)
    return told


@settings(max_examples=40, deadline=None)
@given(lines=_lines, array=st.booleans())
def test_long_strings_of_json_are_seen_as_any(lines: list[str], array: bool) -> None:
    text = "[" + ",\n".join(lines) + "]" if array else "\n".join(lines)
    data = text.encode("utf-8", "surrogateescape")

    def batches() -> Iterable[Batch]:
        if array:
            return reading._json(reading._items(io.BytesIO(data), "", small=True))
        return reading.line_batches(Blocks(io.BytesIO(data), "utf-8"), numbers=1)

    assert views_of(_LEAST, batches) == views_of(1 << 20, batches)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.tuples(_cells, _cells), max_size=5),
    quote=st.sampled_from(['"', "'"]),
    delimiter=st.sampled_from([",", ";", "é"]),
)
def test_long_cells_of_csv_are_seen_as_any(
    rows: list[tuple[str, str]], quote: str, delimiter: str
) -> None:
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=delimiter, quotechar=quote)
    writer.writerows([("id", "text"), *rows])
    data = file.getvalue().encode()
    dialect = Dialect(delimiter=delimiter, quote_char=quote)

    def batches() -> Iterable[Batch]:
        parts = reading.part_rows(io.BytesIO(data), 0, len(data), dialect, ["id", "text"])
        return [batch for batch, _ in parts]

    assert views_of(_LEAST, batches) == views_of(1 << 20, batches)
