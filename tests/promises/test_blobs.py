"""What a blob store promises: whole, verified and durable under its digest, or not there."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import pytest

from yaosu.errors import AlreadyExists, InvalidInput, NoSpace, NotFound, UnsafePath, Unverified
from yaosu.model import Holding
from yaosu.ports import Store
from yaosu.storage.blobs import LocalBlobs, sweep_orphans


@pytest.fixture
def blobs(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(tmp_path / "blobs", reserve_bytes=0)


def named(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def age(blobs: LocalBlobs, sha256: str, hours: float) -> None:
    path = blobs.path(sha256)
    assert path is not None
    then = path.stat().st_mtime - hours * 3600
    os.utime(path, (then, then))


def test_what_goes_in_comes_out_under_its_digest(blobs: LocalBlobs) -> None:
    digest, size = blobs.put([b"first ", b"", b"second"])
    assert (digest, size) == (named(b"first second"), 12)
    assert b"".join(blobs.read(digest)) == b"first second"
    assert b"".join(blobs.read(digest, 6)) == b"second"
    assert b"".join(blobs.read(digest, 2, 4)) == b"rs"
    assert b"".join(blobs.read(digest, 40)) == b""
    assert blobs.size(digest) == 12
    assert list(blobs.all()) == [digest]
    assert blobs.put([]) == (named(b""), 0)


def test_bytes_of_another_digest_are_not_published(blobs: LocalBlobs) -> None:
    with pytest.raises(Unverified):
        blobs.put([b"changed on the way"], sha256=named(b"as declared"))
    assert list(blobs.all()) == []
    assert os.listdir(blobs.root / "tmp") == []


def test_a_source_that_breaks_off_leaves_nothing(blobs: LocalBlobs) -> None:
    def chunks() -> object:
        yield b"some"
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        blobs.put(chunks())  # type: ignore[arg-type]
    assert list(blobs.all()) == []
    assert os.listdir(blobs.root / "tmp") == []


def test_a_published_blob_is_read_only_and_never_written_again(blobs: LocalBlobs) -> None:
    digest, _ = blobs.put([b"x" * 100])
    path = blobs.path(digest)
    assert path is not None
    before = path.stat()
    assert stat.S_IMODE(before.st_mode) == 0o444
    blobs.put([b"x" * 100])
    assert path.stat().st_ino == before.st_ino
    assert os.listdir(blobs.root / "tmp") == []


@pytest.mark.parametrize("name", ["", "x" * 64, "../../etc/passwd", "A" * 64, "0" * 63, "0" * 65])
def test_no_text_of_a_user_becomes_a_path(blobs: LocalBlobs, name: str) -> None:
    for ask in (blobs.size, blobs.path, blobs.verify, blobs.read, blobs.remove):
        with pytest.raises(InvalidInput):
            ask(name)


def test_what_is_absent_is_said_to_be(blobs: LocalBlobs) -> None:
    for ask in (blobs.size, blobs.path, blobs.verify, blobs.read):
        with pytest.raises(NotFound):
            ask(named(b"never"))
    assert blobs.remove(named(b"never")) is False


def test_a_link_in_the_place_of_a_blob_is_not_followed(blobs: LocalBlobs, tmp_path: Path) -> None:
    digest, _ = blobs.put([b"honest"])
    path = blobs.path(digest)
    assert path is not None
    path.unlink()
    (tmp_path / "secret").write_bytes(b"secret")
    path.symlink_to(tmp_path / "secret")
    with pytest.raises(NotFound):
        blobs.read(digest)
    blobs.put([b"honest"])
    assert b"".join(blobs.read(digest)) == b"honest"


def test_a_staged_file_is_adopted_without_copying(blobs: LocalBlobs, tmp_path: Path) -> None:
    staged = tmp_path / "staged"
    staged.write_bytes(b"y" * 5000)
    assert blobs.adopt(staged, sha256=named(b"y" * 5000)) == 5000
    path = blobs.path(named(b"y" * 5000))
    assert path is not None
    assert path.stat().st_ino == staged.stat().st_ino
    staged.unlink()
    assert blobs.verify(named(b"y" * 5000))


def test_a_staged_file_of_another_digest_is_refused(blobs: LocalBlobs, tmp_path: Path) -> None:
    staged = tmp_path / "staged"
    staged.write_bytes(b"other")
    with pytest.raises(Unverified):
        blobs.adopt(staged, sha256=named(b"declared"))
    (tmp_path / "link").symlink_to(staged)
    with pytest.raises(OSError, match="symbolic"):
        blobs.adopt(tmp_path / "link", sha256=named(b"other"))
    assert list(blobs.all()) == []


def test_a_rotten_blob_is_found_and_set_aside_not_repaired(blobs: LocalBlobs) -> None:
    digest, _ = blobs.put([b"z" * 4096])
    assert blobs.verify(digest)
    path = blobs.path(digest)
    assert path is not None
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(1234)
        file.write(b"Z")
    assert not blobs.verify(digest)
    assert blobs.quarantined() == [digest]
    with pytest.raises(NotFound):
        blobs.read(digest)
    blobs.put([b"z" * 4096])
    assert blobs.verify(digest)


def test_scrubbing_a_share_at_a_time_reads_every_blob(blobs: LocalBlobs) -> None:
    digests = sorted(blobs.put([bytes([n])])[0] for n in range(10))
    for digest in (digests[0], digests[5], digests[9]):
        path = blobs.path(digest)
        assert path is not None
        path.chmod(0o644)
        path.write_bytes(b"?")
    found = [blobs.scrub(0.25) for _ in range(4)]
    assert [d for part in found for d in part] == [digests[0], digests[5], digests[9]]
    assert sorted(blobs.all()) == [d for n, d in enumerate(digests) if n not in (0, 5, 9)]
    assert LocalBlobs(blobs.root, reserve_bytes=0).scrub(1.0) == []
    assert blobs.quarantined() == [digests[0], digests[5], digests[9]]


def test_an_empty_store_is_scrubbed_in_no_time(blobs: LocalBlobs) -> None:
    assert blobs.scrub(0.5) == []


def test_a_folder_is_laid_out_as_the_provider_had_it(blobs: LocalBlobs, tmp_path: Path) -> None:
    one, _ = blobs.put([b"1"])
    two, _ = blobs.put([b"2"])
    blobs.lay_out({"a.csv": one, "deep/er/b.csv": two, "deep/c.csv": one}, tmp_path / "out")
    assert (tmp_path / "out/deep/er/b.csv").read_bytes() == b"2"
    assert (tmp_path / "out/deep/c.csv").read_bytes() == b"1"
    with pytest.raises(AlreadyExists):
        blobs.lay_out({"a.csv": two}, tmp_path / "out")


@pytest.mark.parametrize(
    "paths", [["../x"], ["/etc/x"], [".hidden"], ["a//b"], ["x\0"], ["A.csv", "a.csv"]]
)
def test_a_folder_that_would_leave_its_place_is_not_laid_out(
    blobs: LocalBlobs, tmp_path: Path, paths: list[str]
) -> None:
    digest, _ = blobs.put([b"1"])
    with pytest.raises(UnsafePath):
        blobs.lay_out(dict.fromkeys(paths, digest), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_where_a_folder_should_be_is_said_to_be_in_the_way(
    blobs: LocalBlobs, tmp_path: Path
) -> None:
    digest, _ = blobs.put([b"1"])
    with pytest.raises(AlreadyExists):
        blobs.lay_out({"a": digest, "a/b": digest}, tmp_path / "out")


def test_only_old_blobs_that_nothing_refers_to_are_swept(blobs: LocalBlobs, store: Store) -> None:
    kept, _ = blobs.put([b"kept"])
    young, _ = blobs.put([b"young"])
    old, _ = blobs.put([b"old"])
    wanted_again, _ = blobs.put([b"wanted again"])
    for digest in (kept, old, wanted_again):
        age(blobs, digest, 25)
    blobs.put([b"wanted again"])
    store.write(
        lambda tx: tx.add(
            Holding(id="hld_1", party_id="p", sha256=kept, bytes=4, created_at=tx.now)
        )
    )
    gone = sweep_orphans(blobs, store, lambda tx, sha256: tx.count(Holding, sha256=sha256) > 0)
    assert gone == [old]
    assert set(blobs.all()) == {kept, young, wanted_again}


def test_a_start_clears_what_a_dead_process_left_in_the_making(blobs: LocalBlobs) -> None:
    (blobs.root / "tmp" / "left").write_bytes(b"half")

    def chunks() -> object:
        yield b"one "
        LocalBlobs(blobs.root, reserve_bytes=0)  # another process starts meanwhile
        yield b"two"

    digest, _ = blobs.put(chunks())  # type: ignore[arg-type]
    assert os.listdir(blobs.root / "tmp") == []
    assert b"".join(blobs.read(digest)) == b"one two"


def test_the_reserve_of_the_disk_is_not_eaten(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path / "blobs", reserve_bytes=2**60)
    with pytest.raises(NoSpace):
        blobs.put([b"x"])
    assert list(blobs.all()) == []
