"""A backup of a running market comes back whole, with every acknowledged trade."""

from __future__ import annotations

import tarfile
import threading
from pathlib import Path

import pytest

from people import USCC, Hall, open_hall, small_corpus
from yaosu.backup import backup, restore
from yaosu.errors import AlreadyExists, Malformed, NotFound, Unverified


def test_a_backup_taken_under_load_is_restored_and_verifies(tmp_path: Path) -> None:
    with open_hall(tmp_path / "data") as hall:
        provider = hall.person("lingnan", "provider", uscc=USCC[0])
        buyer = hall.person("lab", "buyer")
        descriptor, data = small_corpus(provider)
        provider.upload(data)
        listing_id = provider.draft(descriptor)["listing_id"]
        provider.submit(listing_id)
        provider.offer(listing_id)
        hall.listed(provider, listing_id)
        before = buyer.buy(listing_id)
        stop = threading.Event()

        def load() -> None:
            while not stop.is_set():
                wish = {"listing_id": listing_id, "wish": {"purpose": "load"}}
                buyer.post("/v1/trades", wish)

        thread = threading.Thread(target=load)
        thread.start()
        try:
            size = backup(tmp_path / "data", tmp_path / "market.tar")
        finally:
            stop.set()
            thread.join()
        assert size == (tmp_path / "market.tar").stat().st_size
        assert (tmp_path / "market.tar").stat().st_mode & 0o077 == 0
    restore(tmp_path / "market.tar", tmp_path / "again")
    with open_hall(tmp_path / "again", people=False) as other:
        provider.http.base_url = other.address
        kept = provider.get(f"/v1/trades/{before['trade_id']}")
        assert kept["agreement_digest"] == before["agreement_digest"]
        assert other.market.log.size > 0


def test_what_is_no_backup_is_refused_and_nothing_is_overwritten(
    fresh_hall: Hall, tmp_path: Path
) -> None:
    data = fresh_hall.market.settings.folder
    (tmp_path / "not.tar").write_bytes(b"hello")
    with pytest.raises(Malformed):
        restore(tmp_path / "not.tar", tmp_path / "new")
    with pytest.raises(NotFound):
        backup(tmp_path, tmp_path / "x.tar")
    backup(data, tmp_path / "x.tar")
    with pytest.raises(AlreadyExists):
        backup(data, tmp_path / "x.tar")
    with pytest.raises(AlreadyExists):
        restore(tmp_path / "x.tar", data)
    with tarfile.open(tmp_path / "x.tar") as archive:
        assert not [m for m in archive if m.issym() or m.name.startswith(("/", ".."))]


def test_a_backup_with_a_flipped_byte_does_not_verify(fresh_hall: Hall, tmp_path: Path) -> None:
    provider = fresh_hall.person("lingnan", "provider", uscc=USCC[0])
    body = b"precious" * 1000
    provider.upload(body)
    backup(fresh_hall.market.settings.folder, tmp_path / "x.tar")
    raw = (tmp_path / "x.tar").read_bytes()
    spot = raw.index(b"preciousprecious") + 5
    (tmp_path / "x.tar").write_bytes(raw[:spot] + b"X" + raw[spot + 1 :])
    with pytest.raises(Unverified):
        restore(tmp_path / "x.tar", tmp_path / "new")
