"""The composition root: settings in, a running market out.

Holds the store, blobs, search, log and workers, and the few loops that follow the store: the
index follower, the log sequencer, the hourly sweep. Nothing here decides anything about a trade.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import logging
import os
import secrets
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from yaosu_schemas.canonical import jcs
from yaosu_schemas.measures import measure
from yaosu_validators.sandbox import Limits, kept_warm, run_in_sandbox

from . import housekeeping, outgoing, present
from . import listing as shelf
from .errors import (
    Conflict,
    InvalidInput,
    NotFound,
    Unsupported,
    Unverified,
    WrongState,
)
from .harvest.harvester import Harvester
from .jobs import Hopeless, Leave, SqlJobQueue, Worker
from .model import (
    SYSTEM,
    Delivery,
    Listing,
    ListingState,
    Party,
    StoredReport,
    Trade,
    Venue,
)
from .notices import follower
from .organisation import openid
from .ports import Clock, Reader, SearchIndex, Store, Transaction
from .proof import receipt, signing, voucher
from .proof.log import Log
from .proof.witness_client import Witnesses, read_places
from .quality import market_overlap, registered
from .settings import Settings
from .storage.blobs import LocalBlobs
from .storage.search import TantivyIndex
from .storage.search_one import OneListing
from .storage.sql import open_store
from .storage.uploads import UploadFiles
from .trading import fulfilment, handover, periods, recall, sharing
from .trading.reads import ReadLog
from .webhooks.courier import Courier

log = logging.getLogger(__name__)
T = TypeVar("T")

CHECKS = ("structure", "quality", "corpus.sketch")
"""What the market runs over every version: the verdict, the measures, and the sample of hashes."""
PREVIEW_ROWS = 100
PREVIEWS = 64
FOLLOW_S = 0.2
LOG_S = 0.25
WITNESS_S = 0.5
SWEEP_S = 3600.0
HARVEST_S = 1.0
NOTICES_S = 0.5
UNSEEN = (ListingState.DELISTED, ListingState.WITHDRAWN)
"""Versions that nobody searches for any more."""


class SystemClock:
    """The machine's clock, in UTC."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class Market:
    """A running market over one data folder (and, where set, one PostgreSQL database)."""

    def __init__(self, settings: Settings, *, clock: Clock | None = None) -> None:
        if settings.blobs_url or settings.search_url:
            raise Unsupported(
                "blobs and search live in the data folder; other places are not served yet",
                "文件与搜索暂只支持数据目录",
            )
        self.settings = settings
        self.clock = clock or SystemClock()
        folder = settings.folder
        folder.mkdir(parents=True, exist_ok=True)
        self.fatal: BaseException | None = None
        self.on_fatal: Callable[[], None] = lambda: None
        self.store: Store = open_store(
            settings.database_url or folder, clock=self.clock, on_fatal=self._broke
        )
        self.embedded = not settings.database_url
        self.blobs = LocalBlobs(
            folder / "blobs", reserve_bytes=settings.reserve_bytes, on_fatal=self._broke
        )
        self.uploads = UploadFiles(
            folder / "uploads", reserve_bytes=settings.reserve_bytes, on_fatal=self._broke
        )
        self.search: SearchIndex = TantivyIndex(folder / "search")
        self.keys = folder / "keys"
        places = read_places(settings.witnesses)
        self.log = Log(
            folder / "log",
            self.store,
            signing.load_or_create(self.keys / "log.seed"),
            settings.log_origin,
            witnesses=[place.key for place in places],
            quorum=_quorum(settings.witness_quorum, len(places)),
        )
        self.witnesses = Witnesses(self.log, places)
        self._secret = _secret(self.keys / "links.key")
        self._hook_secret = _secret(self.keys / "hooks.key")
        self.gate = outgoing.Gate(outgoing.networks(settings.outgoing_allow))
        self.sign_in = openid.provider(settings, self.clock, self.seal)
        self.courier = Courier(
            self.store, self.clock, self.gate, self.hook_secret, settings.public_url
        )
        self.reads = ReadLog(self.store)
        self.queue = SqlJobQueue(self.store, clock=self.clock)
        self.worker = Worker(self.queue, self._handlers(), threads=settings.workers)
        self.in_flight: set[tuple[str, str, str]] = set()
        self._previews: dict[Any, dict[str, Any]] = {}
        self._stop = threading.Event()
        self.harvester = Harvester(
            self.store, self.clock, self.gate, folder / "harvests", self._stop
        )
        self._threads: list[threading.Thread] = []
        self._held = contextlib.ExitStack()

    # --- life -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to follow the store and to run jobs."""
        self._held.enter_context(kept_warm())
        self._venues()
        self.store.write(follower.begin)
        if self.embedded:
            self.queue.take_back()  # every worker has ended with the process it was in
        for name, loop, pause in (
            ("index", self.follow, FOLLOW_S),
            ("log", self.integrate, LOG_S),
            ("witnesses", self.witnesses.ask, WITNESS_S),
            ("notices", partial(follower.catch_up, self.store, self._stop.wait), NOTICES_S),
            ("sweep", self.sweep, SWEEP_S),
            ("harvest", self.harvester.turn, HARVEST_S),
        ):
            thread = threading.Thread(
                target=self._repeat, args=(name, loop, pause), name=name, daemon=True
            )
            thread.start()
            self._threads.append(thread)
        self.courier.start(alone=self.embedded)
        self.worker.start()

    def close(self) -> None:
        """Stop the loops and close everything; what was acknowledged is on disk already."""
        self._stop.set()
        self.courier.stop()
        self.worker.stop()
        self.reads.close()
        for thread in self._threads:
            thread.join(timeout=30)
        self._held.close()
        self.search.close()
        self.witnesses.close()
        self.log.close()
        self.store.close()

    def free_bytes(self) -> int:
        """Return what the disk of the data folder has left for this process."""
        stat = os.statvfs(self.settings.folder)
        return stat.f_bavail * stat.f_frsize

    def _broke(self, error: BaseException) -> None:
        """Remember that writing has ended for good (P1), and tell the server."""
        self.fatal = error
        log.critical("writing has stopped: %s", type(error).__name__)
        self.on_fatal()

    def _repeat(self, name: str, loop: Callable[[], object], pause: float) -> None:
        while not self._stop.is_set():
            try:
                loop()
            except Exception:
                log.exception("the %s loop failed and goes on", name)
            self._stop.wait(pause)

    def _venues(self) -> None:
        """Make sure that 场外 exists: it needs no exchange."""

        def step(tx: Any) -> None:
            if tx.one(Venue, id="otc") is None:
                tx.add(Venue(id="otc", name="场外", name_en="Over the counter"))

        self.store.write(step)

    # --- followers ------------------------------------------------------------------------------

    def follow(self) -> int:
        """Bring the search index up to the outbox; returns how many rows were applied."""
        if self.search.needs_rebuild:
            return self.rebuild_search()
        done = 0
        while True:
            position = self.search.checkpoint()
            with self.store.read() as reader:
                rows = reader.outbox("listing", position)
                if not rows:
                    return done
                cards = {row.key: self._card(reader, row.key) for row in rows}
            self.search.apply(cards, checkpoint=rows[-1].id)
            done += len(rows)

    def _card(self, reader: Reader, listing_id: str) -> dict[str, Any] | None:
        try:
            listing = reader.get(Listing, listing_id)
        except NotFound:
            return None
        return None if listing.state in UNSEEN else self.card(reader, listing)

    @staticmethod
    def card(reader: Reader, listing: Listing) -> dict[str, Any]:
        report = reader.get(StoredReport, listing.report_id) if listing.report_id else None
        return present.card(listing, reader.get(Party, listing.provider_id), report)

    def rebuild_search(self) -> int:
        """Index every version anew and swap; returns how many."""
        with self.store.read() as reader:
            position = reader.outbox_head("listing")

            def documents() -> Iterator[tuple[str, dict[str, Any]]]:
                after: str | None = None
                while page := reader.find(Listing, after=after, limit=500):
                    after = page[-1].id
                    for listing in page:
                        if listing.state not in UNSEEN:
                            yield listing.id, self.card(reader, listing)

            return self.search.rebuild(documents(), checkpoint=position)

    def integrate(self) -> int:
        """Give waiting events their leaves in the transparency log."""
        return self.log.integrate(4096)

    def sweep(self) -> None:
        """Do what comes round: what time asks, what was never finished, what is no longer kept."""
        housekeeping.sweep(self, SWEEP_S)

    def tick(self) -> None:
        """Do what time asks of listings, periods and requests."""
        housekeeping.tick(self.store, self.clock.now())

    # --- jobs -----------------------------------------------------------------------------------

    def _handlers(self) -> dict[str, Callable[[Any], Leave | None]]:
        return {
            "validate": self._validate,
            "columns": self._columns,
            "deliver": self._deliver,
            "receipt": self._receipt,
            "complete": self._complete,
            "accept_silently": self._accept_silently,
            "recall": self._recall,
            **follower.handlers(self.store, self.card, OneListing),
        }

    def _validate(self, body: dict[str, Any]) -> None:
        """Judge the bytes in a child that can be killed, laid out as the provider has them."""
        listing_id = body["listing_id"]
        try:
            listing = self.store.write(lambda tx: shelf.start_validation(tx, listing_id))
        except WrongState:
            return  # withdrawn meanwhile
        with self.laid_out(listing) as folder, self.scratch("registered-") as place:
            with self.store.read() as reader:
                options, reads = registered.lay_out(reader, self.blobs, self.settings.folder, place)
            found = run_in_sandbox(
                "validate",
                target=folder,
                args={
                    "limit_errors": 1000,
                    "checks": list(CHECKS),
                    "profile": True,
                    "options": options,
                },
                limits=self._limits(listing),
                reads=reads,
            )
        found["target"] = listing.content_digest
        _of_the_market(found, options)
        sketch = _taken_out(found, "corpus.sketch")
        shared = None
        if sketch is not None:
            with self.store.read() as reader:
                shared = market_overlap.count(reader, listing, sketch)

        def finish(tx: Transaction) -> None:
            shelf.finish_validation(tx, listing_id, found)
            if sketch is not None:
                body = {"listing_id": listing_id, "content_digest": listing.content_digest}
                tx.keep_view(f"sketch:{listing_id}", json.dumps({**body, **sketch}).encode())
            if shared is not None:
                market_overlap.keep(tx, listing, shared)

        self.store.write(finish)

    def _columns(self, body: dict[str, Any]) -> None:
        """Make the columns of one resource in a child, and keep them with how they were made."""
        with self.store.read() as reader:
            listing = reader.get(Listing, body["listing_id"])
            if sharing.table_of(reader, listing, body["resource"]) is not None:
                return
        made: list[str] = []

        def put(scratch: Path, answer: dict[str, Any]) -> None:
            with open(scratch / "table.parquet", "rb") as file:
                made.append(self.blobs.put(iter(partial(file.read, 1 << 20), b""))[0])

        with self.laid_out(listing) as folder:
            facts = run_in_sandbox(
                "columnar",
                target=folder,
                args={"resource": body["resource"]},
                limits=self._limits(listing),
                keep=put,
            )
        if not made:
            raise Hopeless(str((facts.get("error") or {}).get("message", "no columns")))
        source = sharing.source_of(listing, body["resource"])
        table = sharing.SharedTable(sha256=made[0], source_sha256=source, facts=facts)
        self.store.write(lambda tx: sharing.keep(tx, listing, body["resource"], table))

    def _limits(self, listing: Listing) -> Limits:
        total = sum(size or 0 for *_, size in shelf.files_of(listing.descriptor))
        return Limits.for_bytes(total, sandbox=self.settings.sandbox)

    @contextlib.contextmanager
    def scratch(self, prefix: str) -> Iterator[Path]:
        """Give an empty folder on the disk of the blobs, and take it away again."""
        place = self.settings.folder / "scratch"
        place.mkdir(exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=prefix, dir=place))
        try:
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)

    def looked_at(self, kind: str, sha256: str, suffix: str) -> dict[str, Any]:
        """Return counts and digest of a benchmark or word list, read by a child shut in."""
        with self.scratch("registered-") as place:
            name = f"given{suffix}"
            self.blobs.lay_out({name: sha256}, place)
            limits = Limits.for_bytes(self.blobs.size(sha256), sandbox=self.settings.sandbox)
            found = run_in_sandbox(
                "registered", target=place / name, args={"kind": kind}, limits=limits
            )
        if "digest" not in found:
            error = found.get("error") or {}
            raise InvalidInput(
                str(error.get("message", "the file cannot be read")),
                str(error.get("message_zh", "文件无法读取")),
                field="sha256",
            )
        return found

    @contextlib.contextmanager
    def laid_out(self, listing: Listing) -> Iterator[Path]:
        """Give a listing's files as the provider had them (hard links), with its descriptor."""
        files = {path: sha for _, path, sha, _ in shelf.files_of(listing.descriptor)}
        with self.scratch("listing-") as folder:
            self.blobs.lay_out(files, folder)
            # "x": what lies here already is a link to a blob, and must never be written to.
            with open(folder / "datapackage.json", "x", encoding="utf-8") as file:
                json.dump(listing.descriptor, file, ensure_ascii=False)
            yield folder

    def preview(self, listing: Listing, resource: str | None, rows: int) -> dict[str, Any]:
        """Return the first records of a resource, read in the sandbox once and then remembered."""
        name = (listing.id, listing.updated_at, resource)
        found = self._previews.get(name)
        if found is None:
            with self.laid_out(listing) as folder:
                found = run_in_sandbox(
                    "preview",
                    target=folder,
                    args={"resource": resource, "rows": PREVIEW_ROWS},
                    limits=self._limits(listing),
                )
            while len(self._previews) >= PREVIEWS:
                self._previews.pop(next(iter(self._previews)), None)
            self._previews[name] = found
        more = len(found["rows"]) > rows
        return {
            **found,
            "rows": found["rows"][:rows],
            "truncated": more or found["truncated"],
        }

    def records(
        self, listing: Listing, resource: str, rows: Sequence[int], *, by_number: bool = False
    ) -> dict[str, Any]:
        """Return the records at some rows of a resource, read in the sandbox."""
        with self.laid_out(listing) as folder:
            return run_in_sandbox(
                "records",
                target=folder,
                args={"resource": resource, "rows": list(rows), "by_number": by_number},
                limits=self._limits(listing),
            )

    def _deliver(self, body: dict[str, Any]) -> None:
        """Read every byte of a delivery again before it opens (T9)."""
        with self.store.read() as reader:
            trade = reader.get(Trade, body["trade_id"])
            delivery = reader.get(Delivery, body.get("delivery_id") or str(trade.delivery_id))
            missing = handover.resources_missing(reader, delivery)
        for resource in missing:
            self._columns({"listing_id": delivery.listing_id, "resource": resource})
        for file in delivery.files:
            if not self.blobs.verify(file.sha256):
                raise Unverified(
                    f"a stored file no longer has its digest: {file.path}",
                    f"存储文件摘要不符：{file.path}",
                )
        period_id = delivery.period_id
        if period_id is not None:
            self.store.write(lambda tx: periods.delivered(tx, period_id, delivery.id))
        else:
            self.store.write(lambda tx: fulfilment.delivered(tx, trade.id))

    def _receipt(self, body: dict[str, Any]) -> Leave | None:
        """Build the receipt once the log holds every event of the trade."""
        self.integrate()
        made = self._made_receipt(body["trade_id"])
        return None if isinstance(made, bytes) else made

    def receipt(self, trade_id: str) -> bytes:
        """Return the receipt; it is built once and then kept as it is."""
        made = self._made_receipt(trade_id)
        return made if isinstance(made, bytes) else self.store.write(made)

    def _made_receipt(self, trade_id: str) -> bytes | Callable[[Transaction], bytes]:
        """Return the receipt that is kept, or the step that keeps the one made now."""
        name = f"receipt:{trade_id}"
        with self.store.read() as reader:
            kept = reader.view(name)
            if kept is not None:
                return kept[1]
            try:
                made = receipt.build(reader, self.log, trade_id)
            except NotFound as error:
                raise Conflict(
                    "the log has not taken up this trade yet: try again in a second",
                    "日志尚未收录该交易，请稍后再试",
                ) from error
        body, code = jcs(made), voucher.code_of(made)
        about = voucher.public(made)

        def keep(tx: Transaction) -> bytes:
            first = tx.view(name)
            if first is None:  # else another thread was faster, and one trade has one receipt
                tx.keep_view(name, body)
                tx.keep_view(f"voucher:{code}", jcs(about))
            return body if first is None else first[1]

        return keep

    def _recall(self, body: dict[str, Any]) -> None:
        """Reach the trades of a recalled version that its step had left, page by page."""
        self.store.write(lambda tx: recall.spread(tx, body["recall_id"]))

    def _complete(self, body: dict[str, Any]) -> None:
        self._if_still(lambda tx: fulfilment.complete(tx, SYSTEM, body["trade_id"]))

    def _accept_silently(self, body: dict[str, Any]) -> None:
        """T10 by the timer, if the very delivery still waits."""

        def step(tx: Any) -> None:
            trade = tx.get(Trade, body["trade_id"])
            if trade.delivery_id == body["delivery_id"]:
                manifest = tx.get(Delivery, trade.delivery_id).manifest_digest
                fulfilment.accept(tx, SYSTEM, trade.id, manifest=manifest)

        self._if_still(step)

    def _if_still(self, step: Callable[[Any], object]) -> None:
        """Run a timer's step, or let it be where people were faster."""
        try:
            self.store.write(step)
        except WrongState:
            return

    # --- keys and links -------------------------------------------------------------------------

    def sign_for(self, key_id: str, digest: str) -> str:
        """Sign with a key that the market holds for a party (sign_mode 02)."""
        return signing.load(self.keys / "parties" / f"{key_id}.seed").sign(digest)

    def new_platform_key(self) -> tuple[str, Callable[[str], None]]:
        """Return (public key, save(key id)) of a key that the market will hold."""
        made = signing.generate()
        return made.public_key, lambda key_id: made.save(self.keys / "parties" / f"{key_id}.seed")

    def hook_secret(self, of: str, generation: int) -> bytes:
        """Return the secret of a webhook or a callback key: derived, and kept nowhere.

        Whoever holds the database alone has none of them; whoever holds `keys/hooks.key` has all.
        """
        text = f"{of}/{generation}".encode()
        return hmac.new(self._hook_secret, text, hashlib.sha256).digest()

    def link_signature(self, delivery_id: str, number: int, expires: int, key_id: str) -> str:
        """Return the MAC that opens one file of a delivery until `expires` (epoch seconds).

        The link says which key asked for it: that key stands in the record of what is read.
        """
        text = f"{delivery_id}/{number}/{expires}/{key_id}".encode()
        return hmac.new(self._secret, text, hashlib.sha256).hexdigest()

    def links_expire(self) -> int:
        return int(self.clock.now().timestamp()) + self.settings.link_minutes * 60

    def seal(self, text: str) -> str:
        """Return a MAC over text for cookies and form tokens."""
        return hmac.new(self._secret, b"seal:" + text.encode(), hashlib.sha256).hexdigest()


def _quorum(wanted: int, witnesses: int) -> int:
    if 0 <= wanted <= witnesses:
        return wanted
    raise InvalidInput(
        f"a quorum of {wanted} cannot come from {witnesses} witnesses",
        f"{witnesses} 个见证方无法满足 {wanted} 个的法定数",
        field="witness_quorum",
    )


def _taken_out(report: dict[str, Any], check: str) -> dict[str, Any] | None:
    """Take one check out of a report and return its evidence, if it has any."""
    runs = report.get("checks") or []
    found = next((run for run in runs if run.get("name") == check), None)
    if found is None:
        return None
    runs.remove(found)
    evidence: dict[str, Any] | None = found.get("evidence")
    return evidence


def _of_the_market(report: dict[str, Any], options: dict[str, dict[str, Any]]) -> None:
    """Say of measures that rest on what is registered here that files alone do not give them."""
    for metric in report.get("metrics") or ():
        means = measure(str(metric.get("id")))
        if means is not None and means.check in options:
            metric["basis"] = "market"


def _secret(path: Path) -> bytes:
    """Return 32 secret bytes, made once, readable by the owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        with open(path, "rb") as kept:
            return kept.read()
    except FileNotFoundError:
        made = secrets.token_bytes(32)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as new:
            new.write(made)
            new.flush()
            os.fsync(new.fileno())
        return made


def new_venue(market: Market, venue: Venue) -> None:
    """Add or replace a place of trading (an operator's decision, by command)."""

    def step(tx: Any) -> None:
        known = tx.one(Venue, id=venue.id)
        (tx.put if known else tx.add)(venue)
        tx.record(f"venue:{venue.id}", "venue_set", actor_id="system", payload=present.venue(venue))

    market.store.write(step)
