"""The manual sample of a version: two people judge each record, a third where they differ.

Which records are drawn follows from the content's digest alone, so that anyone can draw them again.
Verdicts are events of a chain of their own (bound to that digest, and in the public log); what
they come to is counted from the chain, never kept apart from it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from yaosu.errors import Conflict, Forbidden, InvalidInput, WrongState
from yaosu.identity import absent, let_in_by, relations
from yaosu.listing import load, venue_of
from yaosu.model import Actor, Listing, ListingState, StoredReport
from yaosu.ports import Reader, Transaction
from yaosu.steps import Relation
from yaosu_validators.corpus.sampling import Sample, plan, verdict, wilson
from yaosu_validators.scorecard import evidence

JUDGED_IN = (
    ListingState.REVIEW,
    ListingState.NOTICE,
    ListingState.REGISTERED,
    ListingState.LISTED,
    ListingState.SUSPENDED,
)
PAGE = 10
MOST = 100  # verdicts of one call


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One verdict of one person on one record of the sample."""

    item: int
    passed: bool
    member_id: str


@dataclass(frozen=True, slots=True)
class State:
    """The sample, where its records lie, and what was said of each."""

    sample: Sample
    counts: tuple[tuple[str, int], ...]  # records of each resource, in the order of the report
    said: dict[int, list[Judged]] = field(default_factory=dict)

    def decided(self, item: int) -> bool | None:
        """Return the verdict on a record: of two who agree, or of the third; None if still open."""
        passes = [j.passed for j in self.said.get(item, ())]
        for outcome in (True, False):
            if passes.count(outcome) >= 2:
                return outcome
        return None

    def place(self, item: int) -> tuple[str, int]:
        """Return (resource, number of the record in it, from 0)."""
        for resource, count in self.counts:
            if item < count:
                return resource, item
            item -= count
        raise AssertionError("the item is in the sample, and the sample in the records")

    def open_for(self, member_ids: Iterable[str], limit: int) -> list[int]:
        """Return what these may judge next: what others differ on, have begun, then the rest."""
        mine = set(member_ids)
        waiting: list[tuple[int, int]] = []
        drawn = list(self.sample)
        for at, item in enumerate(drawn):
            said = self.said.get(item, [])
            if self.decided(item) is None and not mine & {j.member_id for j in said}:
                waiting.append((-len(said), at))
        return [drawn[at] for _, at in sorted(waiting)[:limit]]

    def as_json(self) -> dict[str, Any]:
        outcomes = [self.decided(item) for item in self.said]
        passed, failed = outcomes.count(True), outcomes.count(False)
        complete = passed + failed == self.sample.n and self.sample.n > 0
        interval = wilson(passed, passed + failed)
        return {
            "records": self.sample.total,
            "n": self.sample.n,
            "seed": self.sample.seed,
            "passed": passed,
            "failed": failed,
            "disputed": sum(
                1 for i, said in self.said.items() if len(said) == 2 and self.decided(i) is None
            ),
            "begun": sum(1 for said in self.said.values() if len(said) == 1),
            "complete": complete,
            "interval_95": None if interval is None else [round(x, 6) for x in interval],
            "measure": verdict(passed, self.sample.n, seed=self.sample.seed).as_json()
            if complete
            else None,
        }


def subject(listing: Listing) -> str:
    """Return the name of the chain of verdicts: of this version and its content."""
    return f"sample_{listing.id}"


def state_of(reader: Reader, listing: Listing) -> State:
    """Return the sample of a version and what was judged; NotFound where no report counts it."""
    if listing.report_id is None:
        raise absent("sample", listing.id)
    report = reader.get(StoredReport, listing.report_id).body
    resources = evidence(report, "corpus.records").get("resources") or ()
    counts = tuple((str(r["resource"]), int(r["records"])) for r in resources)
    total = sum(n for _, n in counts)
    if not total:
        raise absent("sample", listing.id)
    state = State(plan(total, str(listing.content_digest), "manual"), counts)
    for event in reader.events(subject(listing)):
        if event.payload.get("digest") != listing.content_digest:
            continue  # the draft was revised after: other bytes, another sample
        for item, passed in event.payload["verdicts"]:
            state.said.setdefault(item, []).append(
                Judged(item=item, passed=passed, member_id=event.actor_id)
            )
    return state


def may_judge(reader: Reader, actor: Actor | None, listing: Listing) -> bool:
    return (
        actor is not None
        and Relation.REVIEWER in relations(actor, listing, venue_of(reader, listing))
        and listing.state in JUDGED_IN
    )


def next_items(reader: Reader, actor: Actor, listing: Listing, limit: int = PAGE) -> list[int]:
    """Return the records that the actor is to judge next."""
    must_judge(reader, actor, listing)
    return state_of(reader, listing).open_for(let_in_by(reader, actor.id), limit)


def must_judge(reader: Reader, actor: Actor, listing: Listing) -> None:
    """Raise Forbidden unless the actor reviews this listing, WrongState outside of a review."""
    if Relation.REVIEWER not in relations(actor, listing, venue_of(reader, listing)):
        raise Forbidden(
            "a reviewer without a tie to the listing judges the sample",
            "仅与该数据集无利害关系的审核方可判定样本",
            operation="sample.judge",
        )
    if listing.state not in JUDGED_IN:
        raise WrongState(
            f"a sample is not judged while the listing is {listing.state}",
            f"当前状态（{listing.state}）不可判定样本",
        )


def judge(
    tx: Transaction, actor: Actor, listing_id: str, verdicts: Sequence[tuple[int, bool]]
) -> dict[str, Any]:
    """Record what one reviewer says of some records; returns where the sample stands.

    Nobody judges a record twice, nor after someone on whose word they act (four eyes).
    """
    listing = load(tx, actor, listing_id)
    must_judge(tx, actor, listing)
    state = state_of(tx, listing)
    items = [item for item, _ in verdicts]
    if not items or len(items) > MOST or len(set(items)) != len(items):
        raise InvalidInput(
            f"1 to {MOST} verdicts, one for each record",
            f"每次 1–{MOST} 条，每条记录一个结论",
            field="verdicts",
        )
    kin = let_in_by(tx, actor.id)
    for item in items:
        if item not in state.sample:
            raise InvalidInput(
                f"record {item} is not in the sample", f"记录 {item} 不在样本中", field="verdicts"
            )
        before = state.said.get(item, [])
        if state.decided(item) is not None:
            raise Conflict(f"record {item} is decided", f"记录 {item} 已有结论", item=item)
        if any(j.member_id in kin or actor.id in let_in_by(tx, j.member_id) for j in before):
            raise Conflict(
                f"record {item} needs another person: you, or who let you in, judged it",
                f"记录 {item} 须由他人判定：您或您的授权人已判定过",
                item=item,
            )
    done = state.as_json()["complete"]
    tx.record(
        subject(listing),
        "sample_judged",
        actor_id=actor.id,
        payload={
            "digest": listing.content_digest,
            "seed": state.sample.seed,
            "verdicts": [[item, passed] for item, passed in verdicts],
        },
    )
    now = state_of(tx, listing).as_json()
    tx.keep_view(_view(listing), json.dumps(now).encode())
    if now["complete"] and not done:
        tx.notify("listing", listing.id)
    return now


def measures(reader: Reader, listing: Listing) -> list[dict[str, Any]]:
    """Return what people came to, as measures of a report; none before the sample is complete."""
    kept = reader.view(_view(listing))
    measure = json.loads(kept[1]).get("measure") if kept is not None else None
    return [measure] if measure else []


def _view(listing: Listing) -> str:
    return f"sample:{listing.id}:{listing.content_digest}"
