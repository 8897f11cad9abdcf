"""What the staging folder promises a resumable upload: acknowledged bytes are on disk (B4)."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from yaosu.errors import (
    Conflict,
    InvalidInput,
    NoSpace,
    NotFound,
    TooLarge,
    Unavailable,
    Unverified,
)
from yaosu.storage.files import write_all
from yaosu.storage.uploads import UploadFiles

DATA = bytes(range(256)) * 1000


@pytest.fixture
def files(tmp_path: Path) -> UploadFiles:
    return UploadFiles(tmp_path / "uploads", reserve_bytes=0)


def test_an_upload_in_pieces_is_whole_at_the_end(files: UploadFiles) -> None:
    files.create("upl_1", len(DATA))
    offset = 0
    for end in (1, 70_000, 70_000, len(DATA)):
        offset = files.append("upl_1", offset, len(DATA), [DATA[offset:end]])
        assert offset == end
    digest, path = files.finish("upl_1", len(DATA))
    assert digest == hashlib.sha256(DATA).hexdigest()
    assert path.read_bytes() == DATA


def test_bytes_that_were_not_acknowledged_are_cut_off_after_a_restart(files: UploadFiles) -> None:
    files.create("upl_1", len(DATA))
    files.append("upl_1", 0, len(DATA), [DATA[:1000]])
    with (files.root / "upl_1").open("ab") as torn:
        torn.write(b"never acknowledged")
    restarted = UploadFiles(files.root, reserve_bytes=0)
    restarted.append("upl_1", 1000, len(DATA), [DATA[1000:]])
    digest, path = restarted.finish("upl_1", len(DATA))
    assert digest == hashlib.sha256(DATA).hexdigest()
    assert path.stat().st_size == len(DATA)


def test_finishing_reads_nothing_again_while_the_process_lives(
    files: UploadFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.create("upl_1", len(DATA))
    files.append("upl_1", 0, len(DATA), [DATA[:1000]])
    files.append("upl_1", 1000, len(DATA), [DATA[1000:]])

    def no_reading(*_: object) -> bytes:
        raise AssertionError("read again")

    monkeypatch.setattr(os, "pread", no_reading)
    assert files.finish("upl_1", len(DATA))[0] == hashlib.sha256(DATA).hexdigest()


def test_fewer_bytes_than_acknowledged_are_noticed(files: UploadFiles) -> None:
    files.create("upl_1", 100)
    files.append("upl_1", 0, 100, [b"x" * 50])
    os.truncate(files.root / "upl_1", 10)
    with pytest.raises(Unverified):
        files.resume("upl_1", 50, 100)
    files.resume("upl_1", 10, 100).close()  # and the upload is not left locked


def test_a_run_whose_checksum_does_not_hold_is_rolled_back(files: UploadFiles) -> None:
    files.create("upl_1", 10)
    files.append("upl_1", 0, 10, [b"12345"])
    with files.resume("upl_1", 5, 10) as appending:
        appending.write(b"damaged"[:5])
        appending.rollback()
        assert appending.offset == 5
        appending.write(b"67890")
        assert appending.sync() == 10
    assert files.finish("upl_1", 10)[0] == hashlib.sha256(b"1234567890").hexdigest()


def test_what_was_not_synced_is_not_kept(files: UploadFiles) -> None:
    files.create("upl_1", 10)
    with files.resume("upl_1", 0, 10) as appending:
        appending.write(b"12345")
    with files.resume("upl_1", 0, 10) as appending:
        assert appending.digest() == hashlib.sha256(b"").hexdigest()
    assert (files.root / "upl_1").stat().st_size == 0


def test_more_than_declared_is_refused_and_the_rest_kept(files: UploadFiles) -> None:
    files.create("upl_1", 5)
    with files.resume("upl_1", 0, 5) as appending:
        appending.write(b"123")
        with pytest.raises(TooLarge):
            appending.write(b"456")
        assert appending.sync() == 3


def test_two_requests_do_not_write_one_upload_at_once(files: UploadFiles) -> None:
    files.create("upl_1", 5)
    with files.resume("upl_1", 0, 5), pytest.raises(Unavailable):
        files.resume("upl_1", 0, 5)
    files.resume("upl_1", 0, 5).close()


def test_what_one_request_acknowledged_is_not_cut_off_by_another(files: UploadFiles) -> None:
    files.create("upl_1", 10)
    acknowledged = 0
    with files.hold("upl_1") as hold:
        with hold.resume(acknowledged, 10) as appending:
            appending.write(b"12345")
            acknowledged = appending.sync()
        with pytest.raises(Unavailable):
            files.hold("upl_1")  # written and synced, but the store does not know it yet
    with files.hold("upl_1") as hold, hold.resume(acknowledged, 10) as appending:
        appending.write(b"67890")
        assert appending.sync() == 10
    assert files.finish("upl_1", 10)[0] == hashlib.sha256(b"1234567890").hexdigest()


def test_an_upload_begins_once_and_under_a_plain_name(files: UploadFiles) -> None:
    files.create("upl_1", 5)
    with pytest.raises(Conflict):
        files.create("upl_1", 5)
    for name in ("../x", "", "a/b", "A", "x\0"):
        with pytest.raises(InvalidInput):
            files.create(name, 5)
    with pytest.raises(NotFound):
        files.resume("upl_2", 0, 5)


def test_room_is_asked_for_before_the_first_byte(tmp_path: Path) -> None:
    stat = os.statvfs(tmp_path)
    free = stat.f_bavail * stat.f_frsize
    files = UploadFiles(tmp_path / "uploads", reserve_bytes=free // 2)
    with pytest.raises(NoSpace):
        files.create("upl_big", free)
    files.create("upl_1", free // 4)
    files.create("upl_2", free // 5)
    with pytest.raises(NoSpace):
        files.create("upl_3", free // 5)
    files.remove("upl_2")
    files.create("upl_3", free // 5)


def test_expired_uploads_are_removed_and_the_rest_keep_their_room(tmp_path: Path) -> None:
    files = UploadFiles(tmp_path / "uploads", reserve_bytes=0)
    for name in ("upl_1", "upl_2", "upl_young"):
        files.create(name, 5)
    for name in ("upl_1", "upl_2"):
        os.utime(files.root / name, (0, 0))
    restarted = UploadFiles(tmp_path / "uploads", reserve_bytes=0)
    assert restarted.expire({"upl_1": 2**60}) == ["upl_2"]
    assert sorted(os.listdir(restarted.root)) == ["upl_1", "upl_young"]
    with pytest.raises(NoSpace):
        restarted.create("upl_3", 5)


@pytest.mark.parametrize(
    ("device", "error"), [("/dev/full", NoSpace), ("/proc/self/mem", Unavailable)]
)
def test_a_disk_that_is_full_or_fails_is_a_refusal_with_a_name(
    device: str, error: type[Exception]
) -> None:
    """Both are real: a device without room, and one that fails a write at address 0 (EIO)."""
    with open(device, "wb", buffering=0) as there, pytest.raises(error):
        write_all(there.fileno(), b"x")
