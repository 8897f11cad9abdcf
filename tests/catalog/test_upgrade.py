"""A market of the first schema, with everything in it, goes on under this version."""

from __future__ import annotations

import lzma
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

from people import open_hall
from yaosu.backup import restore
from yaosu.cli import app
from yaosu.errors import YaosuError
from yaosu.model import Party, Trade
from yaosu.proof.resting import SCHEMA
from yaosu.proof.verify import verify_path
from yaosu.storage.migrate import HEAD

KEPT = sorted((Path(__file__).parent.parent / "kept").glob("market-*.tar.xz"))


def rows(folder: Path, sql: str) -> list[tuple[object, ...]]:
    database = sqlite3.connect(folder / "market.db")
    found = database.execute(sql).fetchall()
    database.close()
    return found


def counted(folder: Path, tables: list[str]) -> dict[str, object]:
    """Count the rows of each table, but for the one that a migration leaves of the schema."""
    where = {"view": f" WHERE key <> '{SCHEMA}'"}
    return {t: rows(folder, f"SELECT count(*) FROM {t}{where.get(t, '')}")[0][0] for t in tables}


@pytest.fixture(params=KEPT, ids=lambda path: path.name.split(".")[0])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A data folder as an earlier version left it."""
    (tmp_path / "market.tar").write_bytes(lzma.decompress(request.param.read_bytes()))
    restore(tmp_path / "market.tar", tmp_path / "data")
    return tmp_path / "data"


def test_an_upgrade_keeps_every_row_and_verifies(old: Path) -> None:
    tables = [str(t) for (t,) in rows(old, "SELECT name FROM sqlite_master WHERE type = 'table'")]
    tables = [t for t in tables if t != "alembic_version" and not t.startswith("sqlite_")]
    before = counted(old, tables)
    evidence = rows(old, "SELECT subject_id, seq, digest FROM event ORDER BY id")
    assert len(evidence) > 40
    done = CliRunner().invoke(app, ["db", "upgrade", "--data", str(old)])
    assert done.exit_code == 0, done.output
    assert rows(old, "SELECT version_num FROM alembic_version") == [(HEAD,)]
    assert counted(old, tables) == before
    assert rows(old, "SELECT subject_id, seq, digest FROM event ORDER BY id") == evidence
    assert verify_path(old).valid


def test_trades_of_an_earlier_version_are_read_and_go_on(old: Path) -> None:
    with open_hall(old, people=False) as hall:
        with hall.market.store.read() as reader:
            trades = reader.find(Trade)
            assert {str(t.state) for t in trades} == {"disputed", "intent"}
            assert {p.slug for p in reader.find(Party)} >= {"provider", "buyer", "operator"}
            evidence = reader.events(trades[0].id)
        for trade in trades:
            if trade.state == "disputed":
                assert hall.market.receipt(trade.id)
        for event in evidence:
            assert hall.market.log.inclusion(event.digest)["event_digest"] == event.digest
    assert verify_path(old).valid


def test_what_is_no_database_is_not_upgraded(tmp_path: Path) -> None:
    (tmp_path / "market.db").write_bytes(b"not a database" * 1000)
    done = CliRunner().invoke(app, ["db", "upgrade", "--data", str(tmp_path)])
    assert done.exit_code == 2
    assert isinstance(done.exception, (SystemExit, YaosuError))
    assert (tmp_path / "market.db").read_bytes().startswith(b"not a database")
