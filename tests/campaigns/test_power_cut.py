"""After a power cut every answer is still there and nothing published is torn (R5, B1, B2, I8).

The server lives on an ext4 image behind a loop device. The image is copied without a sync, right
after the server was killed: what the file system had not been made to write is lost, as it is when
the power goes. The copy is what the next life starts on. (Not simulated: a disk that reorders or
loses what it was told to flush.)
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import random
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from campaigns.real import Nursery, Scene, awake, free_port, nursery, rows, write_result
from campaigns.test_kill_server import Books, Caller, Uploader, besiege, crowd, reckon
from yaosu.proof.verify import verify_path

IMAGE_BYTES = 192 << 20
CUTS_PER_DISK = 25
"""After so many a new disk: all that was uploaded stays on one, and is looked at each time."""
NEEDED = ("mkfs.ext4", "mount", "umount", "losetup", "findmnt")


def _run(*command: object) -> None:
    subprocess.run([str(c) for c in command], check=True, capture_output=True)


@pytest.fixture(scope="module", autouse=True)
def loops(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Power cuts need root and loop devices; where they are missing this is said, not passed."""
    if os.geteuid() != 0 or not all(map(shutil.which, NEEDED)):
        pytest.skip("power cuts mount an ext4 image: they need root, mkfs.ext4 and losetup")
    place = tmp_path_factory.mktemp("probe")
    image = new_image(place / "probe.img")
    try:
        with mounted(image, place / "mnt"):
            pass
    except subprocess.CalledProcessError:
        pytest.skip("power cuts mount an ext4 image: loop devices are not to be had here")


def new_image(path: Path) -> Path:
    with path.open("wb") as file:
        file.truncate(IMAGE_BYTES)
    _run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1", path)
    return path


@contextlib.contextmanager
def mounted(image: Path, place: Path) -> Iterator[Path]:
    """Mount an image; only a sync, never a timer, makes its file system write."""
    place.mkdir(exist_ok=True)
    _run("mount", "-o", "loop,commit=900", image, place)
    try:
        yield place
    finally:
        _run("umount", place)


class Grid:
    """A data folder on a disk whose power can be cut."""

    def __init__(self, scene: Scene, place: Path) -> None:
        self.place = place
        self.image = new_image(place / "0.img")
        self.cuts = 0
        self.scene = replace(scene, folder=place / "mnt/data")
        with mounted(self.image, place / "mnt"):
            scene.copy(self.scene.folder)
            _run("sync", "-f", self.scene.folder)

    def live_until_the_cut(
        self, lives: Nursery, people: list[Caller | Uploader], chance: random.Random, seconds: float
    ) -> None:
        port = free_port()
        with mounted(self.image, self.place / "mnt"):
            life = lives.serve(self.scene.folder, port)

            async def one_life() -> None:
                await awake(port)
                await besiege(self.scene, life, people, chance, chance.uniform(0.1, seconds))

            asyncio.run(one_life())
            self.cuts += 1
            after = self.place / f"{self.cuts}.img"
            self._cut(after)
        self.image.unlink()
        self.image = after

    def _cut(self, after: Path) -> None:
        """Copy the image as it is at one moment.

        What a dead server had begun to sync is still on its way to the disk: a copy during which
        the disk was written to shows no moment at all, and is made again.
        """
        disk = subprocess.check_output(
            ["findmnt", "-no", "SOURCE", self.place / "mnt"], text=True
        ).strip()
        stat = Path("/sys/block", Path(disk).name, "stat")
        for _ in range(200):
            before = _written(stat)
            time.sleep(0.05)
            if _written(stat) != before or before[1]:
                continue
            _run("cp", "--sparse=always", self.image, after)
            if _written(stat) == before:
                return
        raise AssertionError("the disk never came to rest")

    def damage(self, books: Books, uploads: dict[str, bytes]) -> Counter[str]:
        """Count answers that are gone and published things that are torn, by kind."""
        wrong: Counter[str] = Counter()
        with mounted(self.image, self.place / "mnt"):
            folder = self.scene.folder
            try:
                wrong["answers"] += reckon(self.scene, books, books.fresh)
                told = rows(folder / "market.db", "SELECT id, body FROM upload")
            except Exception:  # the database itself is gone
                return Counter({"database": 1})
            wrong["uploads"] += sum(
                not _kept(folder, i, uploads[f"/v1/uploads/{i}"], books)
                for i, _ in told
                if f"/v1/uploads/{i}" in uploads
            )
            for path in (folder / "blobs/sha256").rglob("*"):
                if path.is_file() and len(path.name) == 64:
                    wrong["torn blobs"] += (
                        hashlib.sha256(path.read_bytes()).hexdigest() != path.name
                    )
            for problem in verify_path(folder).problems:
                wrong[f"verification: {problem.code}"] += 1
        books.fresh.clear()
        return +wrong


def _written(stat: Path) -> tuple[int, int]:
    """Return (writes done, requests on their way) of a disk (Documentation/block/stat)."""
    numbers = stat.read_text().split()
    return int(numbers[4]), int(numbers[8])


def _kept(folder: Path, upload: str, data: bytes, books: Books) -> bool:
    """Tell whether an upload holds what was acknowledged of it, as a file of its own or as a blob.

    The last piece makes it a blob before it is answered: what was acknowledged may be less.
    """
    offset = books.offsets.get(f"/v1/uploads/{upload}", 0)
    path = folder / "uploads" / upload
    if path.exists():
        return path.read_bytes()[:offset] == data[:offset]
    blob = hashlib.sha256(data).hexdigest()
    return offset == 0 or next((folder / "blobs/sha256").rglob(blob), None) is not None


def campaign(
    scene: Scene, lives: Nursery, place: Path, cuts: int, seed: int, *, seconds: float = 0.6
) -> tuple[Counter[str], int, Books]:
    """Return (damage by kind, cuts after which there was some, what had been promised)."""
    chance = random.Random(seed)
    books = Books()
    people = crowd(books)
    grid = Grid(scene, place)
    wrong: Counter[str] = Counter()
    bad = 0
    for _ in range(cuts):
        grid.live_until_the_cut(lives, people, chance, seconds)
        open_ones = {p.place: p.data for p in people if isinstance(p, Uploader) and p.place}
        found = grid.damage(books, open_ones)
        wrong, bad = wrong + found, bad + bool(found)
        grid.image.with_name("last").unlink(missing_ok=True)
    wrong["offsets"] += books.lost
    return +wrong, bad, books


CONTROLS: dict[str, Callable[[Books], object]] = {
    "--synchronous-off": lambda books: books.acknowledged,
    "--publish-without-sync": lambda books: books.whole,
}
"""What a careless server does, and what it has to have answered to have anything to lose."""


def control(scene: Scene, flag: str, place: Path, rounds: int, seed: int) -> int:
    """Return in how many of the rounds damage was found; each begins on a whole disk.

    A life that was cut before it had answered anything that can be lost is lived again.
    """
    found = lived = 0
    with nursery(flag) as careless:
        for n in range(10 * rounds):
            if lived == rounds:
                break
            (place / str(n)).mkdir(parents=True)
            _, bad, books = campaign(scene, careless, place / str(n), 1, seed + n, seconds=2.5)
            shutil.rmtree(place / str(n))
            if CONTROLS[flag](books):
                lived, found = lived + 1, found + bad
    assert lived == rounds, "no life was long enough"
    return found


def test_what_was_answered_survives_a_power_cut(
    untouched: Scene, lives: Nursery, tmp_path: Path
) -> None:
    wrong, _, books = campaign(untouched, lives, tmp_path, 2, seed=5)
    assert not wrong
    assert books.acknowledged


@pytest.mark.parametrize("flag", CONTROLS)
def test_a_server_that_does_not_sync_is_found_out(
    untouched: Scene, tmp_path: Path, flag: str
) -> None:
    """The control: without it the campaign might see nothing at all."""
    found = (control(untouched, flag, tmp_path / str(n), 1, 50 + n) for n in range(6))
    assert any(found)


@pytest.mark.slow
def test_two_hundred_power_cuts_lose_nothing(
    untouched: Scene, lives: Nursery, tmp_path: Path
) -> None:
    cuts = int(os.environ.get("YAOSU_POWER_CUTS", "200"))
    rounds = max(2, cuts // 10)
    wrong: Counter[str] = Counter()
    acknowledged, whole = 0, 0
    for first in range(0, cuts, CUTS_PER_DISK):
        place = tmp_path / f"disk-{first}"
        place.mkdir()
        some = min(CUTS_PER_DISK, cuts - first)
        more, _, books = campaign(untouched, lives, place, some, seed=500 + first, seconds=0.9)
        wrong += more
        acknowledged += books.acknowledged
        whole += len(books.whole)
        shutil.rmtree(place)
    found = {
        flag.strip("-"): control(untouched, flag, tmp_path / flag, rounds, 900) for flag in CONTROLS
    }
    write_result(
        "r5_power_cut",
        "200 power cuts, 0 lost, 0 torn; each control found out in 90 % of its rounds",
        violations=wrong.total(),
        broken=dict(wrong),
        whole=cuts >= 200,
        cuts=cuts,
        acknowledgements=acknowledged,
        uploads_finished=whole,
        control_rounds=rounds,
        controls_found_out=found,
    )
    assert not wrong
    assert min(found.values()) >= 0.9 * rounds
