"""The pass over all resources of a target, in this process or several, until the end or a stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .judge import Limits, Outcome
from .parts import PART_BYTES, TEXTS, Part, PartResult, Planned, join, judge_part, plan_parts
from .plans import Plan
from .results import Results

if TYPE_CHECKING:
    from .engines import ProcessEngine

Progress = Callable[..., None]  # called with done, total (bytes), rows and name


@dataclass(slots=True)
class Pass:
    """One look at every resource of a plan; what a person stops keeps what was seen until then."""

    plan: Plan
    workers: int
    progress: Progress | None
    cache: Results | None
    _engine: ProcessEngine | None = None
    _planned: list[Planned] = field(default_factory=list)
    _known: list[Outcome | None] = field(default_factory=list)
    _outcomes: list[Outcome] = field(default_factory=list)

    def over(self, limits: Sequence[Limits]) -> list[Outcome]:
        """Return the outcomes of the resources that were looked at, in their order."""
        tell = (
            None
            if self.progress is None
            else Teller(self.progress, sum(r.size for r in self.plan.resources))
        )
        with ExitStack() as stack:
            try:
                self._engine = _begun(self.plan, self.workers, stack)
                self._look(limits, tell)
            except KeyboardInterrupt:
                self.plan.stopped = True
            self.plan.stopped |= any(o.interrupted for o in self._outcomes)
            if self.plan.stopped:
                with suppress(KeyboardInterrupt):  # once more: what is there is enough
                    self._keep_finished()
        return self._outcomes

    def _look(self, limits: Sequence[Limits], tell: Teller | None) -> None:
        cache, workers = self.cache, self.workers
        for resource, limit in zip(self.plan.resources, limits, strict=True):
            self._planned.append(plan_parts(resource, limit, workers))
        self._known += [cache.get(p) if cache is not None else None for p in self._planned]
        results = self._results(tell)
        for p, k in zip(self._planned, self._known, strict=True):
            outcome = k or join(p, results, tell)
            self._outcomes.append(outcome)
            if outcome.interrupted:
                break
            if k is None and p.limits.profile:
                outcome.profile = _profile(outcome)
            if k is None and cache is not None:
                cache.put(p, outcome)
            if tell is not None:
                tell.ended(p.resource.size, outcome)

    def _results(self, tell: Teller | None) -> Iterator[PartResult]:
        todo = [
            (p, part)
            for p, k in zip(self._planned, self._known, strict=True)
            if not k
            for part in p.parts
        ]
        parts = [part for _, part in todo]

        def needed(number: int) -> bool:
            return todo[number][0].needs(parts[number])

        here = self._engine is None or len(parts) <= 1
        if self._engine is None or here:
            results: Iterator[PartResult] = (judge_part(part, tell) for part in parts)
        else:
            results = self._engine.run(parts, needed)
        return results if tell is None else tell.following(parts, results, here=here)

    def _keep_finished(self) -> None:
        """Add what is known of the resources behind the one at which the run was stopped.

        Other processes have finished, or begun, some of them. No column is profiled any more.
        """
        done = self._engine.stopped() if self._engine is not None else {}
        first, reached = 0, len(self._outcomes)
        for number, (planned, known) in enumerate(zip(self._planned, self._known, strict=False)):
            if number >= reached:
                outcome = known or _begun_of(planned, first, done)
                if outcome is not None:
                    self._outcomes.append(outcome)
            first += 0 if known else len(planned.parts)


def _begun_of(planned: Planned, first: int, done: Mapping[int, PartResult]) -> Outcome | None:
    """Return what the results that are there, of parts from the `first` on, say of a resource."""
    if first not in done:
        return None
    if planned.opened is None:
        return done[first].outcome

    def results() -> Iterator[PartResult]:
        for number in range(first, first + len(planned.parts)):
            if number not in done:
                raise KeyboardInterrupt
            yield done[number]

    return join(planned, results())


def _profile(outcome: Outcome) -> Mapping[str, Any] | None:
    from .column_profile import profile_of

    return profile_of(outcome)


def _begun(plan: Plan, workers: int, stack: ExitStack) -> ProcessEngine | None:
    """Return what judges parts in other processes; they start now where a table is sure of some."""
    if workers <= 1:
        return None
    from .engines import ProcessEngine
    from .turns import Turns

    engine = ProcessEngine(workers)
    stack.enter_context(Turns.kept())
    stack.callback(engine.close)
    if any(r.size >= 2 * PART_BYTES and r.format in TEXTS for r in plan.resources):
        engine.begin()
    return engine


@dataclass(slots=True)
class Teller:
    """Adds up what the files tell and passes it on: bytes done of all, rows, place."""

    progress: Progress
    total: int
    done: int = 0
    before: int = 0  # bytes of resources that are done
    rows: dict[str, int] = field(default_factory=dict)

    def __call__(self, place: str, count: int, rows: int) -> None:
        self.done += count
        self.rows[place] = rows
        self.progress(done=self.done, total=self.total, rows=sum(self.rows.values()), name=place)

    def following(
        self, parts: Sequence[Part], results: Iterator[PartResult], *, here: bool
    ) -> Iterator[PartResult]:
        """Pass results on; what is judged whole in this process has told of itself."""
        for part, result in zip(parts, results, strict=True):
            place, r = part.resource.place, part.resource
            state = result.outcome.state if result.outcome is not None else result.state
            rows = self.rows.get(place, 0) + (state.rows if state is not None else 0)
            if part.what != "whole":
                self(place, part.stop - part.start, rows)
            elif not here:
                self(place, r.size // part.limits.passes, rows)
            yield result

    def ended(self, size: int, outcome: Outcome) -> None:
        """Tell that all of a resource is judged."""
        self.before += size
        self.done = self.before
        self(outcome.place, 0, outcome.state.rows if outcome.state is not None else 0)
