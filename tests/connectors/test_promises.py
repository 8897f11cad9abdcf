"""What every connector promises, ours and those of others, asked of each that is installed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from yaosu_connectors import Record, Report, Skipped, capabilities, compare, load, names
from yaosu_connectors.connector import CAPABILITIES
from yaosu_schemas.errors import InvalidInput, NotFound, YaosuError


def records(found: list[Any]) -> list[Record]:
    return [item for item in found if isinstance(item, Record)]


def digests(found: list[Any]) -> dict[str, str]:
    return {record.origin_id: record.digest for record in records(found)}


def tree(root: Path) -> dict[str, tuple[bytes, int]]:
    """Content and time of every file below a folder."""
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {str(f.relative_to(root)): (f.read_bytes(), f.stat().st_mtime_ns) for f in files}


# --- being found -------------------------------------------------------------------------------


def test_ours_are_registered_as_anyones() -> None:
    assert {"folder", "bilingual-records", "trading-record"} <= set(names())


@pytest.mark.parametrize("name", names())
def test_a_connector_says_what_it_is_in_both_languages(name: str) -> None:
    about = load(name).about()
    assert about.name == name
    assert about.title.en
    assert about.title.zh
    assert about.speaks


@pytest.mark.parametrize("name", names())
def test_a_connector_can_do_something(name: str) -> None:
    assert set(capabilities(name)) & (set(CAPABILITIES) - {"describes"})


def test_an_unknown_connector_is_refused_with_the_names_that_exist() -> None:
    with pytest.raises(NotFound) as caught:
        load("no-such")
    assert "folder" in caught.value.en
    assert "folder" in caught.value.zh


# --- harvesting --------------------------------------------------------------------------------


def test_everything_in_the_source_is_brought(source: Any) -> None:
    found = source.harvest()
    assert len(records(found)) == len(found) == len(source.entries)
    assert all(record.kind in source.connector.about().kinds for record in records(found))
    assert len(digests(found)) == len(found)


def test_the_same_source_says_the_same_twice(source: Any) -> None:
    assert source.harvest() == source.harvest()


def test_a_second_harvest_changes_nothing(source: Any) -> None:
    known = digests(source.harvest())
    report = Report.of(compare(source.harvest(), known))
    assert report == Report(unchanged=tuple(known))


def test_an_edit_changes_one_record_and_no_other(source: Any) -> None:
    known = digests(source.harvest())
    source.edit(source.entries[1])
    report = Report.of(compare(source.harvest(), known))
    (edited,) = report.changed
    others = tuple(origin for origin in known if origin != edited)
    assert report == Report(changed=(edited,), unchanged=others)


def test_what_is_gone_is_reported_as_removed(source: Any) -> None:
    known = digests(source.harvest())
    source.entries[0].unlink()
    report = Report.of(compare(source.harvest(), known))
    assert len(report.removed) == 1
    assert len(report.unchanged) == len(known) - 1


def test_a_source_that_was_not_read_to_its_end_removes_nothing(source: Any) -> None:
    known = digests(source.harvest())
    part = source.harvest()[:1]
    assert Report.of(compare(part, known, complete=False)).removed == ()


@pytest.mark.parametrize(
    "broken",
    ["", "{", "[]", '"text"', '{"name": NaN}', '{"a": 1, "a": 2}', "\ufeff", "[" * 100_000,
     "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"],
)  # fmt: skip
def test_one_broken_entry_is_skipped_with_its_reason_and_the_rest_comes(
    source: Any, broken: str
) -> None:
    source.entries[1].write_text(broken, "utf-8")
    found = source.harvest()
    skipped = [item for item in found if isinstance(item, Skipped)]
    assert len(records(found)) == len(source.entries) - 1
    assert len(skipped) == 1
    assert skipped[0].why.en
    assert skipped[0].why.zh
    assert str(source.root) not in skipped[0].why.en


def test_an_entry_that_is_not_utf8_is_skipped(source: Any) -> None:
    source.entries[0].write_bytes(b'{"name": "\xff\xfe"}')
    assert len(records(source.harvest())) == len(source.entries) - 1


def test_a_linked_entry_is_never_read(source: Any, tmp_path: Path) -> None:
    secret = tmp_path / "outside.json"
    os.replace(source.entries[0], secret)
    source.entries[0].symlink_to(secret)
    found = source.harvest()
    assert len(records(found)) == len(source.entries) - 1
    assert any("symbolic link" in item.why.en for item in found if isinstance(item, Skipped))


def test_a_linked_folder_is_never_entered(source: Any, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / source.entries[0].name).write_bytes(source.entries[0].read_bytes())
    (source.root / "link").symlink_to(elsewhere)
    found = source.harvest()
    assert len(records(found)) == len(source.entries)
    assert [item.origin_id for item in found if isinstance(item, Skipped)] == ["link"]


def test_a_hidden_folder_is_never_entered(source: Any) -> None:
    hidden = source.root / ".hidden"
    hidden.mkdir()
    (hidden / source.entries[0].name).write_bytes(source.entries[0].read_bytes())
    found = source.harvest()
    assert len(records(found)) == len(source.entries)
    assert any(isinstance(item, Skipped) and item.origin_id == ".hidden" for item in found)


def test_a_pipe_never_holds_the_harvest_up(source: Any) -> None:
    os.mkfifo(source.root / "pipe.json")
    os.mkfifo(source.root / "pipe.trade.json")
    assert len(records(source.harvest())) == len(source.entries)


@pytest.mark.parametrize("name", names("harvests"))
def test_a_source_that_is_not_there_is_an_error_before_the_first_record(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("x")
    connector = load(name)
    with pytest.raises(NotFound):
        connector.harvest(str(tmp_path / "absent"))
    with pytest.raises(InvalidInput):
        connector.harvest(str(tmp_path / "file"))
    with pytest.raises(YaosuError):
        connector.harvest("https://example.org/catalog")


def test_documents_are_plain_json(source: Any) -> None:
    for record in records(source.harvest()):
        assert json.loads(json.dumps(record.document)) == record.document
        assert all(path.is_file() for path in record.files.values())


# --- publishing --------------------------------------------------------------------------------


def test_what_is_published_is_harvested_as_it_was(publisher: Any, tmp_path: Path) -> None:
    found = records(publisher.harvest())
    report = publisher.connector.publish(found, str(tmp_path / "out"))
    assert report.added == tuple(record.origin_id for record in found)
    again = list(publisher.connector.harvest(str(tmp_path / "out")))
    assert digests(again) == digests(found)
    assert [dict(r.document) for r in again] == [dict(r.document) for r in found]


def test_publishing_twice_touches_no_file(publisher: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    publisher.connector.publish(records(publisher.harvest()), str(out))
    before = tree(out)
    report = publisher.connector.publish(records(publisher.harvest()), str(out))
    assert tree(out) == before
    assert report == Report(unchanged=tuple(digests(publisher.harvest())))


def test_only_what_changed_is_published_again(publisher: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    publisher.connector.publish(records(publisher.harvest()), str(out))
    publisher.edit(publisher.entries[2])
    report = publisher.connector.publish(records(publisher.harvest()), str(out))
    assert len(report.changed) == 1
    assert digests(list(publisher.connector.harvest(str(out)))) == digests(publisher.harvest())


def test_removal_is_asked_for_by_name(publisher: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = records(publisher.harvest())
    publisher.connector.publish(found, str(out))
    assert publisher.connector.publish(found[1:], str(out)).removed == ()
    report = publisher.connector.publish(found[1:], str(out), prune=True)
    assert report.removed == (found[0].origin_id,)
    assert digests(list(publisher.connector.harvest(str(out)))) == digests(found[1:])


def test_a_record_of_another_kind_is_skipped(publisher: Any, tmp_path: Path) -> None:
    (kind,) = publisher.connector.about().kinds
    other = "trade" if kind == "dataset" else "dataset"
    stranger = Record(origin_id="x", kind=other, document={"name": "x"}, digest="sha256:0")
    report = publisher.connector.publish([stranger], str(tmp_path / "out"))
    assert [origin for origin, _ in report.skipped] == ["x"]


# --- the report --------------------------------------------------------------------------------


def test_a_name_that_comes_twice_is_taken_once() -> None:
    one = Record(origin_id="a", kind="dataset", document={}, digest="sha256:1")
    report = Report.of(compare([one, one], {}))
    assert report.added == ("a",)
    assert [origin for origin, _ in report.skipped] == ["a"]


def test_what_cannot_be_read_today_is_not_removed() -> None:
    from yaosu_schemas.errors import Text

    changes = compare([Skipped(origin_id="a", why=Text("torn", "损坏"))], {"a": "sha256:1"})
    report = Report.of(changes).as_json()
    assert report["removed"] == []
    assert report["skipped"] == [{"origin_id": "a", "message": "torn", "message_zh": "损坏"}]


@pytest.mark.parametrize("name", names())
def test_a_connector_is_documented(name: str) -> None:
    root = Path(__file__).resolve().parents[2]
    assert f"| `{name}` |" in (root / "docs" / "connectors.md").read_text("utf-8")
