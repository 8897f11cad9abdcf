"""What is recorded is never changed, not even by SQL of our own."""

from __future__ import annotations

from typing import Any

import pytest

from yaosu.errors import Conflict
from yaosu.model import Reply
from yaosu.model_money import Call, DataRead, Invoice
from yaosu.ports import Store
from yaosu.storage.sqlite import SqliteStore
from yaosu.storage.tables import APPEND_ONLY, metadata


@pytest.fixture
def recorded(store: Store) -> Store:
    """A store with a row in every table that only grows."""

    def step(tx: Any) -> None:
        event = tx.record("trd_1", "paid", actor_id="a")
        tx.post("trd_1", event, {"buyer:b": -5, "escrow:trd_1": 5})
        tx.remember("a", "k", Reply(fingerprint="f", status=200, headers={}, body=b"x"))
        tx.log_done([event.id])
        tx.add(
            Call(
                id="cal_1",
                delivery_id="d",
                call_id="c",
                trade_id="t",
                key_id="k",
                resource="r",
                query_digest="q",
                rows=1,
                bytes=1,
                units=1,
                at=tx.now,
            )  # fmt: skip
        )
        tx.add(
            DataRead(
                id="red_1", delivery_id="d", trade_id="t", key_id="k", way="file", name="n",
                sha256="s", start=0, end=1, bytes=1, status=200, address="", at=tx.now,
            )
        )  # fmt: skip
        tx.add(
            Invoice(
                id="inv_1",
                trade_id="t",
                provider_id="p",
                user_id="u",
                number="1",
                amount_fen=106,
                tax_fen=6,
                issued_on=tx.now.date(),
                created_at=tx.now,
            )  # fmt: skip
        )

    store.write(step)
    return store


def run(store: Store, sql: str) -> None:
    store.write(lambda tx: tx._cursor.execute(sql))  # type: ignore[attr-defined]


def rows(store: Store, table: str) -> list[Any]:
    with store.read() as reader:
        cursor = reader._cursor  # type: ignore[attr-defined]
        cursor.execute(f"SELECT * FROM {table}")
        return list(cursor.fetchall())


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_rows_are_neither_changed_nor_removed_nor_replaced(recorded: Store, table: str) -> None:
    before = rows(recorded, table)
    assert before
    columns = [c.name for c in metadata.tables[table].columns]
    forbidden = [f"UPDATE {table} SET {columns[-1]} = {columns[-1]}", f"DELETE FROM {table}"]
    if isinstance(recorded, SqliteStore):
        forbidden.append(f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}")
        forbidden.append(f"UPDATE OR REPLACE {table} SET {columns[0]} = {columns[0]}")
    else:
        forbidden.append(f"TRUNCATE {table}")
        forbidden.append(f"DELETE FROM {table} WHERE false")
    for sql in forbidden:
        with pytest.raises(Conflict, match="never changed"):
            run(recorded, sql)
    assert rows(recorded, table) == before


def test_escrow_follows_postings_made_by_sql_and_is_not_overdrawn_by_it(recorded: Store) -> None:
    insert = (
        "INSERT INTO posting (trade_id, event_digest, account, amount_fen, at) "
        "VALUES ('trd_1', 'd', 'escrow:trd_1', {}, 'now')"
    )
    run(recorded, insert.format(-3))
    with recorded.read() as reader:
        assert reader.balance("escrow:trd_1") == 2
    with pytest.raises(Conflict):
        run(recorded, insert.format(-3))
    with pytest.raises(Conflict):
        run(recorded, insert.format(10**15 + 1))
    with recorded.read() as reader:
        assert reader.balance("escrow:trd_1") == 2
