"""Harvests of other catalogs: made, switched, run and stopped, and what one record becomes.

Each function is one step. A record of a source becomes a draft of the party that harvests, under
the origin id that the source gave it; what a person added to a draft stays, and nothing is ever
submitted, listed or withdrawn by a harvest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from yaosu import listing as shelf
from yaosu import present
from yaosu.errors import Conflict, InvalidInput, Text, YaosuError
from yaosu.identity import absent, allow
from yaosu.model import Actor, Dataset, Listing, Party, Role, Venue, new_id
from yaosu.model_harvest import Harvest, HarvestItem, HarvestRun
from yaosu.ports import Reader, Transaction
from yaosu_connectors import load as load_connector
from yaosu_connectors import names

MOST_PER_PARTY = 20
LISTED = 200
"""Origin ids that a report lists for each outcome; the counts say how many there are."""
LONGEST_S = 24 * 3600
WHOLE_EVERY = timedelta(days=7)
"""After so long a run reads all again: what a source drops without a word is seen by that alone."""
_FREE = ("draft", "returned")
_ON_MARKET = ("listed", "suspended", "delisted", "withdrawn")


def kinds() -> dict[str, Text]:
    """Return the sources that can be harvested on a schedule, by name, with their titles."""
    return {name: load_connector(name).about().title for name in names("pages")}


def load(reader: Reader, actor: Actor, harvest_id: str) -> Harvest:
    """Return a harvest of the actor's party, or any of them for the operator."""
    found = reader.one(Harvest, id=harvest_id)
    if found is None or not (found.party_id == actor.party_id or Role.ADMIN in actor.roles):
        raise absent("harvest", harvest_id)
    return found


def visible(reader: Reader, actor: Actor) -> list[Harvest]:
    """Return the harvests that an actor sees: of its party, or all for the operator."""
    if Role.ADMIN in actor.roles:
        return reader.find(Harvest, limit=1000)
    return reader.find(Harvest, party_id=actor.party_id, limit=1000)


def create(
    tx: Transaction, actor: Actor, *, kind: str, url: str, rights: str, venue: str = "otc",
    interval_hours: int = 24, deadline_s: int = 3600,
) -> Harvest:  # fmt: skip
    """Add a harvest and begin its first run. The address was judged by the gate."""
    allow(actor, "harvest.manage")
    if kind not in kinds():
        known = ", ".join(kinds())
        raise InvalidInput(f"kind is one of: {known}", f"kind 应为以下之一：{known}", field="kind")
    if tx.one(Venue, id=venue) is None:
        raise InvalidInput("no such place of trading", "未知交易场所", field="venue")
    mine = tx.find(Harvest, party_id=actor.party_id, limit=1000)
    if len(mine) >= MOST_PER_PARTY:
        raise Conflict(f"a party has at most {MOST_PER_PARTY} harvests",
                       f"每个主体至多 {MOST_PER_PARTY} 个采集")  # fmt: skip
    if any(h.url == url for h in mine):
        raise Conflict("this source is harvested already", "该来源已在采集")
    made = Harvest(
        id=new_id("hvs"), party_id=actor.party_id, kind=kind, url=url, rights=rights, venue=venue,
        interval_hours=interval_hours, deadline_s=min(deadline_s, LONGEST_S), created_by=actor.id,
        created_at=tx.now,
    )  # fmt: skip
    tx.add(made)
    payload = {"harvest_id": made.id, "kind": kind, "rights": rights}
    tx.record(actor.party_id, "harvest_added", actor_id=actor.id, payload=payload)
    return begin(tx, made)


def switch(
    tx: Transaction, actor: Actor, harvest_id: str, *, on: bool, interval_hours: int | None = None
) -> Harvest:
    """Switch the schedule on or off; a run that has begun goes on."""
    found = _own(tx, actor, harvest_id)
    hours = found.interval_hours if interval_hours is None else interval_hours
    due = tx.now + timedelta(hours=hours) if on and hours else None
    changed = replace(found, state="on" if on else "off", interval_hours=hours, next_at=due)
    return _put(tx, actor, changed, "switched")


def start(tx: Transaction, actor: Actor, harvest_id: str) -> Harvest:
    """Begin a run now, over all of the source."""
    found = _own(tx, actor, harvest_id)
    if found.run_id:
        raise Conflict("it is running already", "该采集正在运行", run_id=found.run_id)
    return begin(tx, replace(found, since=""))


def stop(tx: Transaction, actor: Actor, harvest_id: str) -> Harvest:
    """End the run that is going on; what it imported whole stays."""
    found = _own(tx, actor, harvest_id)
    if not found.run_id:
        raise Conflict("it is not running", "该采集未在运行")
    tx.put(replace(tx.get(HarvestRun, found.run_id), stop=True))
    return _put(tx, actor, found, "stopped")


def _own(tx: Transaction, actor: Actor, harvest_id: str) -> Harvest:
    """Return a harvest that the actor may change."""
    found = load(tx, actor, harvest_id)
    if found.party_id == actor.party_id and Role.ADMIN not in actor.roles:
        allow(actor, "harvest.manage")
    return found


def _put(tx: Transaction, actor: Actor, harvest: Harvest, what: str) -> Harvest:
    tx.put(harvest)
    payload = {"harvest_id": harvest.id}
    tx.record(harvest.party_id, f"harvest_{what}", actor_id=actor.id, payload=payload)
    return harvest


# --- runs --------------------------------------------------------------------------------------


def begin(tx: Transaction, harvest: Harvest) -> Harvest:
    """Queue a run; the next one is due an interval from now."""
    fresh = harvest.whole_at is not None and tx.now - harvest.whole_at < WHOLE_EVERY
    run = HarvestRun(
        since=harvest.since if fresh else "",
        id=new_id("hvr"), harvest_id=harvest.id, party_id=harvest.party_id, started_at=tx.now,
        deadline_at=tx.now + timedelta(seconds=harvest.deadline_s),
    )  # fmt: skip
    tx.add(run)
    hours = harvest.interval_hours
    due = tx.now + timedelta(hours=hours) if hours and harvest.state == "on" else None
    changed = replace(harvest, run_id=run.id, next_at=due)
    tx.put(changed)
    return changed


def begin_due(tx: Transaction) -> int:
    """Begin the runs whose time has come; one that still goes on is not begun again."""
    due = [
        h for h in tx.find(Harvest, state="on", limit=10_000)
        if h.next_at is not None and h.next_at <= tx.now and not h.run_id
    ]  # fmt: skip
    for harvest in due:
        begin(tx, harvest)
    return len(due)


def end(
    tx: Transaction, run_id: str, state: str, why: Mapping[str, str] | None = None
) -> HarvestRun:
    """Close a run with its report; its harvest is free for the next one."""
    run = tx.get(HarvestRun, run_id)
    over = replace(run, state=state, why=dict(why) if why else None, ended_at=tx.now,
                   leased_until=None)  # fmt: skip
    tx.put(over)
    harvest = tx.get(Harvest, run.harvest_id)
    if harvest.run_id == run.id:
        tx.put(replace(harvest, run_id="", **_marks(harvest, over)))
    payload = {"harvest_id": harvest.id, "run_id": run.id, "state": state, **dict(run.counts)}
    tx.record(run.party_id, "harvest_ended", actor_id=harvest.id, payload=payload)
    return over


def _marks(harvest: Harvest, run: HarvestRun) -> dict[str, Any]:
    """Return from where the next run goes on; a record that has to wait is asked for again."""
    if run.state != "done":
        return {}
    since = harvest.since if run.again else run.mark or run.since
    return {"since": since} if run.since else {"since": since, "whole_at": run.started_at}


def actor_of(reader: Reader, harvest: Harvest) -> Actor:
    """Return whose hands a harvest has: its party's, as provider, while it is one."""
    party = reader.get(Party, harvest.party_id)
    roles = frozenset({Role.PROVIDER}) & frozenset(party.roles)
    return Actor(party_id=party.id, member_id=harvest.id, key_id=harvest.id, roles=roles)


# --- one record --------------------------------------------------------------------------------


def take(tx: Transaction, harvest: Harvest, run_id: str, said: Mapping[str, Any]) -> str:
    """Bring one record over, whole; return the outcome. A YaosuError says why it cannot be.

    Everything that can fail is looked at before the first write.
    """
    origin = str(said["origin_id"])
    item_id = item_of(harvest.id, origin)
    known = tx.one(HarvestItem, id=item_id)
    if known is not None and known.run_id == run_id:
        raise InvalidInput("the source names it twice", "来源中出现了两次")
    if known is not None and known.digest == said["digest"]:
        tx.put(replace(known, run_id=run_id))
        return "unchanged"
    actor = actor_of(tx, harvest)
    allow(actor, "harvest.manage")
    dataset = _dataset(tx, harvest, known, origin)
    if dataset is None:
        dataset, _ = shelf.create_dataset(
            tx, actor, dict(said["document"]), venue=harvest.venue, origin_id=origin
        )
        outcome = "added"
    else:
        outcome = _revise(tx, actor, dataset, said["document"])
    item = HarvestItem(id=item_id, harvest_id=harvest.id, origin_id=origin, run_id=run_id,
                       digest=str(said["digest"]), dataset_id=dataset.id)  # fmt: skip
    tx.add(item) if known is None else tx.put(item)
    return outcome


def item_of(harvest_id: str, origin: str) -> str:
    """Return the id under which a dataset of a harvest is known: one per origin id."""
    named = f"{harvest_id}/{origin}".encode()
    return f"hvi_{hashlib.sha256(named).hexdigest()[:32]}"


def _dataset(
    tx: Transaction, harvest: Harvest, known: HarvestItem | None, origin: str
) -> Dataset | None:
    """Return the dataset of a record: of this harvest, or brought over by hand before."""
    if known is not None:
        return tx.get(Dataset, known.dataset_id)
    found = tx.find(Dataset, provider_id=harvest.party_id, origin_id=origin, limit=1)
    return found[0] if found else None


def _revise(tx: Transaction, actor: Actor, dataset: Dataset, document: Mapping[str, Any]) -> str:
    """Write what the source says over the draft, or begin the next version with it."""
    last = tx.find(Listing, dataset_id=dataset.id, newest=True, limit=1)[0]
    merged = {**last.descriptor, **document, "name": dataset.name}
    if isinstance(last.descriptor.get("dataElement"), dict):
        merged["dataElement"] = {**last.descriptor["dataElement"],
                                 **document.get("dataElement", {})}  # fmt: skip
    if merged == last.descriptor:
        return "unchanged"
    if last.state in _FREE:
        shelf.revise(tx, actor, last.id, merged)
    elif last.state in _ON_MARKET:
        shelf.new_version(tx, actor, dataset.id, merged)
    else:
        raise Conflict("its version is being judged: the next run takes it",
                       "该数据集版本正在审核，将在下次采集时更新")  # fmt: skip
    return "changed"


def noted(run: HarvestRun, outcome: str, origin: str, why: YaosuError | None = None) -> HarvestRun:
    """Return a run with one more outcome in its report, which lists the first of each."""
    counts = {**run.counts, outcome: run.counts.get(outcome, 0) + 1}
    if outcome == "unchanged" or counts[outcome] > LISTED:
        return replace(run, counts=counts)
    told: Any = origin
    if why is not None:
        told = {"origin_id": origin, "message": why.en, "message_zh": why.zh}
    listed: Any = [*(run.report.get(outcome) or ()), told]
    return replace(run, counts=counts, report={**run.report, outcome: listed})


# --- as they are shown -------------------------------------------------------------------------


def shown(harvest: Harvest) -> dict[str, Any]:
    """Return a harvest as its party and the operator see it."""
    facts = {k: v for k, v in present.plain(harvest).items() if k not in ("id", "created_by")}
    return {"harvest_id": harvest.id, **facts}


def run_shown(run: HarvestRun) -> dict[str, Any]:
    """Return one run with its report; `listed` says how many of each outcome it names."""
    hidden = ("id", "leased_until", "not_before", "stop", "mark", "again")
    facts = {k: v for k, v in present.plain(run).items() if k not in hidden}
    return {"run_id": run.id, **facts, "listed": LISTED}
