"""Runs harvests: first all of a source is fetched to disk, then it is imported, record by record.

A run goes on in turns of some seconds, so that a slow source holds nobody up. Between its pages
it looks whether it was stopped or is late. What was fetched lies in one file of pages; what was
imported is counted in the transaction that imported it: whoever takes a run up after a power cut
goes on behind the last page and the last record, and a source that breaks off imports nothing.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from yaosu.errors import Conflict, InvalidInput, TooLarge, Unavailable, YaosuError
from yaosu.model_harvest import ACTIVE, Harvest, HarvestItem, HarvestRun
from yaosu.outgoing import Gate, NotSent
from yaosu.package_files import judged
from yaosu.ports import Clock, Reader, Store, Transaction
from yaosu_connectors import NTH, After, Asked, Gone, Record, Reply, Watch
from yaosu_connectors import load as load_connector

from . import harvests

log = logging.getLogger(__name__)

TURN_S = 10.0
LEASE_S = 90.0
PAUSE_S = 2.0
MOST_FAILURES = 5
REQUEST_S = 30.0
BATCH = 50
LATE = ("it took longer than its deadline", "超过运行时限")
MAX_ANSWER = 16 << 20
MAX_STAGED = 2 << 30
MAX_RECORDS = 200_000
MAX_DOCUMENT = 4 << 20


class Harvester:
    """Takes up runs that nobody else holds, one turn each."""

    def __init__(
        self, store: Store, clock: Clock, gate: Gate, folder: Path, stop: threading.Event
    ) -> None:
        self._store = store
        self._clock = clock
        self._gate = gate
        self._folder = folder
        self._stop = stop

    def turn(self) -> int:
        """Begin what is due and give every run its turn, until none is left; return the turns."""
        self._store.write(harvests.begin_due) if self._any_due() else None
        done = 0
        while not self._stop.is_set():
            now, moved = self._clock.now(), 0
            for run in [run for state in ACTIVE for run in self._runs(state)]:
                if self._stop.is_set():
                    break
                if not _free(run, now):
                    continue
                held = self._store.write(partial(_lease, run_id=run.id))
                if held is not None:
                    self._go_on(held)
                    moved += 1
            done += moved
            if not moved:  # the rest is held by others, or waits for its source
                break
        return done

    def _any_due(self) -> bool:
        now = self._clock.now()
        with self._store.read() as reader:
            listed = reader.find(Harvest, state="on", limit=10_000)
        return any(h.next_at is not None and h.next_at <= now and not h.run_id for h in listed)

    def _runs(self, state: str) -> list[HarvestRun]:
        with self._store.read() as reader:
            return reader.find(HarvestRun, state=state, limit=1000)

    def _go_on(self, run: HarvestRun) -> None:
        """Work on one run for a turn; whatever goes wrong ends it with its reason."""
        until = time.monotonic() + TURN_S
        stage = Stage(self._folder / f"{run.id}.jsonl")
        try:
            _still(run, self._clock.now())
            with self._store.read() as reader:
                harvest = reader.get(Harvest, run.harvest_id)
            over = True
            if run.state != "importing":
                over = self._fetch(harvest, run, stage, until)
            if over:
                over = self._import(harvest, run.id, stage, until)
            if over or self._stop.is_set():
                stage.remove() if over else None
                return
            self._store.write(partial(_release, run_id=run.id))
        except _Ended as ended:
            self._end(run.id, ended.state, stage, {"en": ended.en, "zh": ended.zh})
        except Unavailable as error:
            if not self._store.write(partial(_later, run_id=run.id)):
                late = self._clock.now() >= run.deadline_at
                told = _Ended("failed", *LATE) if late else error
                self._end(run.id, "failed", stage, {"en": told.en, "zh": told.zh})
        except YaosuError as error:
            self._end(run.id, "failed", stage, {"en": error.en, "zh": error.zh})
        except Exception:
            log.exception("harvest run %s failed", run.id)
            why = {"en": "a fault of the market's own", "zh": "市场内部错误"}
            self._end(run.id, "failed", stage, why)

    def _end(self, run_id: str, state: str, stage: Stage, why: dict[str, str]) -> None:
        self._store.write(lambda tx: harvests.end(tx, run_id, state, why))
        stage.remove()

    # --- fetching -------------------------------------------------------------------------------

    def _fetch(self, harvest: Harvest, run: HarvestRun, stage: Stage, until: float) -> bool:
        """Bring pages to disk until the source or the turn ends; say whether all is here."""
        start, fetched, watch = stage.resume()
        source = load_connector(harvest.kind)
        way = _Way(self._gate, lambda: self._left(run))
        if run.since:
            pages = source.changes(harvest.url, run.since, start, way)
        else:
            pages = source.pages(harvest.url, start, way)
        self._look(run.id, fetched=fetched, state="fetching")
        after = start
        for after, items in pages:
            watch.saw(after, (item.origin_id for item in items))
            fetched += len(items)
            stage.add(after, [_staged(item) for item in items])
            if stage.size > MAX_STAGED or fetched > MAX_RECORDS:
                raise TooLarge(
                    f"the source does not end: {fetched} records; nothing was imported",
                    f"来源没有尽头：已读取 {fetched} 条，未导入任何内容",
                )
            self._look(run.id, fetched=fetched)
            if time.monotonic() > until or self._stop.is_set():
                return False
        mark = str(after.get("mark") or "") if isinstance(after, dict) else ""
        self._look(run.id, fetched=fetched, state="importing", mark=mark)
        return True

    def _left(self, run: HarvestRun) -> float:
        """Return the seconds that one request may take now."""
        left = (run.deadline_at - self._clock.now()).total_seconds()
        return max(0.1, min(REQUEST_S, left))

    def _look(self, run_id: str, **facts: Any) -> HarvestRun:
        """Keep how far a run has come and its lease; end it where it was stopped or is late."""
        run = self._store.write(lambda tx: _keep(tx, run_id, facts))
        _still(run, self._clock.now())
        return run

    # --- importing ------------------------------------------------------------------------------

    def _import(self, harvest: Harvest, run_id: str, stage: Stage, until: float) -> bool:
        """Import what was fetched until all is or the turn ends; say whether the run is over."""
        with self._store.read() as reader:
            done = reader.get(HarvestRun, run_id).imported
        for batch in stage.batches(done, BATCH):
            with self._store.read() as reader:
                news = [s for s in batch if _is_new(reader, harvest, s)]
            for said in news:
                judged(said["document"], "breaks")  # long: outside of the writer
            run = self._store.write(partial(_take, harvest=harvest, run_id=run_id, batch=batch))
            _still(run, self._clock.now())
            if time.monotonic() > until or self._stop.is_set():
                return False
        self._store.write(partial(_close, harvest=harvest, run_id=run_id))
        return True


class _Ended(Exception):
    """A run that ends before its source does."""

    def __init__(self, state: str, en: str, zh: str) -> None:
        super().__init__(state)
        self.state, self.en, self.zh = state, en, zh


def _still(run: HarvestRun, now: datetime) -> None:
    if run.stop:
        raise _Ended("stopped", "it was stopped by hand", "已被人工停止")
    if now > run.deadline_at:
        raise _Ended("failed", *LATE)


# --- steps -------------------------------------------------------------------------------------


def _free(run: HarvestRun, now: datetime) -> bool:
    """Say whether a run may be taken now: nobody holds it, and its source is not left in peace."""
    if run.leased_until is not None and run.leased_until > now:
        return False
    return run.not_before is None or run.not_before <= now or run.stop


def _lease(tx: Transaction, run_id: str) -> HarvestRun | None:
    run = tx.get(HarvestRun, run_id)
    if run.state not in ACTIVE or not _free(run, tx.now):
        return None
    held = replace(run, leased_until=tx.now + timedelta(seconds=LEASE_S), not_before=None)
    tx.put(held)
    return held


def _release(tx: Transaction, run_id: str) -> None:
    tx.put(replace(tx.get(HarvestRun, run_id), leased_until=None))


def _later(tx: Transaction, run_id: str) -> bool:
    """Try a source that cannot be reached again in a while; False when that was often enough."""
    run = tx.get(HarvestRun, run_id)
    if run.failures >= MOST_FAILURES or tx.now >= run.deadline_at or run.stop:
        return False
    until = tx.now + timedelta(seconds=PAUSE_S * 2**run.failures)
    tx.put(replace(run, failures=run.failures + 1, leased_until=None, not_before=until))
    return True


def _keep(tx: Transaction, run_id: str, facts: dict[str, Any]) -> HarvestRun:
    run = tx.get(HarvestRun, run_id)
    kept = replace(run, leased_until=tx.now + timedelta(seconds=LEASE_S), **facts)
    tx.put(kept)
    return kept


def _take(
    tx: Transaction, harvest: Harvest, run_id: str, batch: Sequence[dict[str, Any]]
) -> HarvestRun:
    """Import a batch and count it, in one step."""
    run = tx.get(HarvestRun, run_id)
    for said in batch:
        origin = str(said["origin_id"])
        try:
            if "why" in said:
                raise InvalidInput(said["why"]["en"], said["why"]["zh"])
            if "gone" in said:
                known = tx.one(HarvestItem, id=harvests.item_of(harvest.id, origin))
                run = harvests.noted(run, "removed", origin) if known is not None else run
                continue
            run = harvests.noted(run, harvests.take(tx, harvest, run_id, said), origin)
        except YaosuError as error:
            run = harvests.noted(run, "skipped", origin, error)
            run = replace(run, complete=run.complete and not origin.startswith(NTH),
                          again=run.again or isinstance(error, Conflict))  # fmt: skip
            known = tx.one(HarvestItem, id=harvests.item_of(harvest.id, origin))
            if known is not None:  # there, only not to be had today
                tx.put(replace(known, run_id=run_id))
    run = replace(run, imported=run.imported + len(batch),
                  leased_until=tx.now + timedelta(seconds=LEASE_S))  # fmt: skip
    tx.put(run)
    return run


def _is_new(reader: Reader, harvest: Harvest, said: dict[str, Any]) -> bool:
    if "document" not in said:
        return False
    known = reader.one(HarvestItem, id=harvests.item_of(harvest.id, str(said["origin_id"])))
    return known is None or known.digest != said["digest"]


def _close(tx: Transaction, harvest: Harvest, run_id: str) -> None:
    """Report what is no longer there and end the run; a draft that is gone there stays here."""
    run = tx.get(HarvestRun, run_id)
    if run.complete and not run.since:
        for item in _items(tx, harvest.id):
            if item.run_id != run_id:
                run = harvests.noted(run, "removed", item.origin_id)
    tx.put(run)
    harvests.end(tx, run_id, "done")


def _items(reader: Reader, harvest_id: str) -> Iterator[HarvestItem]:
    after: str | None = None
    while page := reader.find(HarvestItem, harvest_id=harvest_id, after=after, limit=1000):
        yield from page
        after = page[-1].id


# --- what was fetched --------------------------------------------------------------------------


def _staged(item: Any) -> dict[str, Any]:
    if isinstance(item, Gone):
        return {"origin_id": item.origin_id, "gone": True}
    if not isinstance(item, Record):
        return {"origin_id": item.origin_id, "why": {"en": item.why.en, "zh": item.why.zh}}
    said = {"origin_id": item.origin_id, "digest": item.digest, "document": dict(item.document)}
    if len(json.dumps(said, ensure_ascii=False)) > MAX_DOCUMENT:
        why = {"en": "its description is too large", "zh": "其描述过大"}
        return {"origin_id": item.origin_id, "why": why}
    return said


class Stage:
    """Pages on disk, one line each; a line that a power cut tore is dropped."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.size = 0

    def resume(self) -> tuple[After, int, Watch]:
        """Return (where the next page begins, records that are here, what was seen by now)."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        start: After = None
        fetched = whole = 0
        watch = Watch()
        if self._path.exists():
            with self._path.open("rb") as file:
                for line in file:
                    try:
                        page = json.loads(line)
                    except ValueError:
                        break
                    if not line.endswith(b"\n"):
                        break
                    whole += len(line)
                    start, fetched = page["next"], fetched + len(page["items"])
                    watch.saw(start, (item["origin_id"] for item in page["items"]))
            os.truncate(self._path, whole)
        self.size = whole
        return start, fetched, watch

    def add(self, after: After, items: list[dict[str, Any]]) -> None:
        line = json.dumps({"next": after, "items": items}, ensure_ascii=False).encode() + b"\n"
        with self._path.open("ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        self.size += len(line)

    def batches(self, skip: int, size: int) -> Iterator[list[dict[str, Any]]]:
        """Yield the records behind the first `skip`, in batches."""
        batch: list[dict[str, Any]] = []
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            for line in file:
                for item in json.loads(line)["items"]:
                    if skip > 0:
                        skip -= 1
                        continue
                    batch.append(item)
                    if len(batch) == size:
                        yield batch
                        batch = []
        if batch:
            yield batch

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)


# --- the way out -------------------------------------------------------------------------------


class _Way:
    """What a source is asked goes through the gate of the market."""

    def __init__(self, gate: Gate, left: Callable[[], float]) -> None:
        self._gate = gate
        self._left = left

    def __call__(self, asked: Asked) -> Reply:
        left, most = self._left(), MAX_ANSWER
        gate, url, headers = self._gate, asked.url, asked.headers
        if asked.body is None:
            send = gate.get(url, headers, deadline_s=left, most_bytes=most)
        else:
            send = gate.post(url, asked.body, headers, deadline_s=left, most_bytes=most)
        try:
            answer = asyncio.run(send)
        except NotSent as error:
            if error.code == "too_large":
                raise TooLarge(error.why.en, error.why.zh) from None
            if error.code in ("internal", "port", "address"):
                raise InvalidInput(error.why.en, error.why.zh) from None
            raise Unavailable(error.why.en, error.why.zh) from None  # asked again
        return Reply(status=answer.status, headers=answer.headers, body=answer.body, url=asked.url)
