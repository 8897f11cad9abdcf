"""Personal information and secrets in a corpus: where, of which type, how sure; never the value.

What a report says is the type, the field, the row and a count. Who gives a key also gets private
lines with offsets and an HMAC of each value, by which the owner of the data can find equal ones.
"""

from __future__ import annotations

import hashlib
import hmac
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, ClassVar

import numpy as np
import numpy.typing as npt

from yaosu_schemas.codes import code_list
from yaosu_schemas.errors import InvalidInput, Text
from yaosu_schemas.report import Metric
from yaosu_validators.check import Conclusion, Finding, check

from .personal_forms import KINDS
from .personal_names import hits_in_names, named, shown
from .personal_rules import own_rules
from .personal_scan import Hit, Tier, scan
from .view import About, Places, View

_SPILL = 32 << 20  # bytes of private places in memory
_MOST_PATHS, _LISTED = 10_000, 1000
_PLACE = np.dtype(
    [("at", "<i8"), ("field", "<i4"), ("kind", "<i2"), ("tier", "u1"), ("start", "<i8"),
     ("stop", "<i8"), ("mac", "u1", (32,))]
)  # fmt: skip
_SECRET = frozenset(n for n, e in enumerate(code_list("pii_type")) if e["family"] == "secret")
NOT_COVERED = {
    "person": Text("names of persons", "姓名"),
    "location": Text("places and addresses", "地点与地址"),
    "organisation": Text("organisations", "组织机构"),
    "date": Text("dates of birth and other dates", "出生日期等日期"),
    "title": Text("titles", "称谓"),
    "url": Text("web addresses and user names", "网址与用户名"),
    "health": Text("health, faith, biometrics, movements", "健康、信仰、生物特征、行踪轨迹"),
}


@dataclass(slots=True)
class _Log:
    """Places for the owner alone: packed, and on disk once they are many."""

    parts: list[bytes] = field(default_factory=list)
    size: int = 0
    file: IO[bytes] | None = None

    def add(self, part: bytes) -> None:
        self.parts.append(part)
        self.size += len(part)
        if self.size > _SPILL:
            if self.file is None:
                self.file = tempfile.TemporaryFile()  # noqa: SIM115
            self.file.writelines(self.parts)
            self.parts, self.size = [], 0

    def places(self) -> Iterator[Any]:
        """Yield the places in order, a block of them at a time."""
        if self.file is not None:
            self.file.seek(0)
            while block := self.file.read(_PLACE.itemsize << 16):
                yield np.frombuffer(block, _PLACE)
            self.file.seek(0, 2)
        for part in self.parts:
            yield np.frombuffer(part, _PLACE)

    def __reduce__(self) -> Any:
        whole = b"".join(p.tobytes() for p in self.places())
        return _Log, ([whole] if whole else [], len(whole))


@dataclass(slots=True)
class PersonalState:
    """What was found in one resource; a kind is a number, a path is named by its text."""

    records: int = 0
    touched: int = 0  # records with personal information, secrets apart
    confirmed: int = 0  # those with any that a check digit confirms
    exposed: int = 0  # records with secrets
    hits: Counter[tuple[int, int, bool]] = field(default_factory=Counter)  # kind, tier, context
    holders: Counter[int] = field(default_factory=Counter)  # records by kind
    paths: dict[str, Counter[int]] = field(default_factory=dict)  # every path, hits by kind
    sure_paths: set[str] = field(default_factory=set)
    overflown: bool = False  # more paths than are kept
    places: dict[int, list[tuple[int, str, int, int]]] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)  # of the fields in the log
    log: _Log = field(default_factory=_Log)


@check("corpus.personal", "1")
@dataclass(frozen=True, slots=True, kw_only=True)
class Personal:
    """Finds identifiers of persons and secrets of systems in every text and cell."""

    listed: int = _LISTED  # findings of one type that are listed of one resource
    rules: Sequence[Mapping[str, Any]] = ()  # of the operator: type, pattern (RE2), context
    key: str = field(default="", repr=False)  # of the HMAC
    sees: ClassVar = "records"

    def __post_init__(self) -> None:
        own_rules(self.rules)  # a pattern that RE2 refuses is refused before anything is read
        if not isinstance(self.key, str):
            raise InvalidInput("key of corpus.personal: write it as text in quotes",
                               "corpus.personal 的 key 须为带引号的文本",
                               check="corpus.personal", option="key")  # fmt: skip

    def method(self) -> dict[str, Any]:
        """Return the options that the measures depend on: the key is none of them."""
        told: dict[str, Any] = {"rules": [dict(r) for r in self.rules]} if self.rules else {}
        return told | ({"listed": self.listed} if self.listed != _LISTED else {})

    def start(self, about: About) -> PersonalState:
        return PersonalState()

    def observe(self, state: PersonalState, view: View) -> PersonalState:
        state.records += len(view)
        for name in {view.names[f] for f in np.unique(view.fields)}:
            state.paths.setdefault(shown(name), Counter())
        _trim(state)
        record, held = -1, list[Hit]()
        owners = view.owners()
        for hit in self._found(view):
            owner = int(owners[hit.segment])
            if owner != record:
                self._count(state, view, record, held)
                record, held = owner, []
            held.append(hit)
        self._count(state, view, record, held)
        return state

    def _found(self, view: View) -> Iterator[Hit]:
        """Yield what is in the texts, in what the fields are called, and what the rules find."""
        found = list(scan(view))
        for number, rule in enumerate(own_rules(self.rules)):
            found += rule.hits(view, len(KINDS) + number)
        personal = {n for n in {view.names[f] for f in np.unique(view.fields)} if named(n)}
        if personal:
            found += hits_in_names(view, personal)
        if len(found) > 1:
            found.sort(key=lambda h: (h.segment, h.start, h.kind))
        yield from found

    def _count(self, state: PersonalState, view: View, record: int, held: list[Hit]) -> None:
        """Add the hits of one record."""
        if not held:
            return
        at = int(view.positions[record])
        kinds = {h.kind for h in held}
        personal = [h for h in held if h.kind not in _SECRET]
        state.touched += bool(personal)
        state.confirmed += any(h.tier > Tier.LOW for h in personal)
        state.exposed += len(personal) < len(held)
        state.holders.update(kinds)
        where: Counter[tuple[int, str, int]] = Counter()
        for hit in held:
            path = shown(view.names[view.fields[hit.segment]])
            state.hits[hit.kind, int(hit.tier), hit.context] += 1
            where[hit.kind, path, int(hit.tier)] += 1
            if path in state.paths:
                state.paths[path][hit.kind] += 1
                if hit.tier > Tier.LOW:
                    state.sure_paths.add(path)
        for (kind, path, tier), count in where.items():
            listed = state.places.setdefault(kind, [])
            if len(listed) < self.listed:
                listed.append((at, path, tier, count))
        if self.key:
            self._write(state, view, at, held)

    def _write(self, state: PersonalState, view: View, at: int, held: list[Hit]) -> None:
        rows = np.zeros(len(held), _PLACE)
        segment, byte, characters = -1, 0, 0
        text = np.zeros(0, np.uint8)
        for row, hit in zip(rows, held, strict=True):
            path = shown(view.names[view.fields[hit.segment]])
            if hit.segment != segment:
                segment, byte, characters = hit.segment, 0, 0
                text = np.frombuffer(view.texts[segment].as_buffer() or b"", np.uint8)
            characters += _characters(text[byte : hit.start])  # hits come in order
            byte = max(byte, hit.start)
            row["at"], row["field"] = at, state.names.setdefault(path, len(state.names))
            row["kind"], row["tier"] = hit.kind, hit.tier
            row["start"] = characters
            row["stop"] = characters + _characters(text[hit.start : hit.stop])
            told = f"{self.name_of(hit.kind)}:{hit.value}".encode()
            digest = hmac.new(self.key.encode(), told, hashlib.sha256).digest()
            row["mac"] = np.frombuffer(digest, np.uint8)
        state.log.add(rows.tobytes())

    def merge(self, left: PersonalState, right: PersonalState) -> PersonalState:
        left.records += right.records
        left.touched += right.touched
        left.confirmed += right.confirmed
        left.exposed += right.exposed
        left.hits.update(right.hits)
        left.holders.update(right.holders)
        for path, counts in right.paths.items():
            left.paths.setdefault(path, Counter()).update(counts)
        left.sure_paths |= right.sure_paths
        left.overflown |= right.overflown
        _trim(left)
        for kind, places in right.places.items():
            mine = left.places.setdefault(kind, [])
            mine += places[: self.listed - len(mine)]
        known = left.names
        numbers = np.array([known.setdefault(n, len(known)) for n in right.names], np.int32)
        for block in right.log.places():
            moved = block.copy()
            moved["field"] = numbers[block["field"]]
            left.log.add(moved.tobytes())
        return left

    def conclude(self, states: Sequence[tuple[About, PersonalState]], places: Places) -> Conclusion:
        return Conclusion(
            metrics=tuple(self._metrics([s for _, s in states])),
            findings=tuple(f for about, s in states for f in self._findings(about, s, places)),
            evidence={
                "resources": [self._told(about, state) for about, state in states],
                "not_covered": [{"type": k, "en": t.en, "zh": t.zh}
                                for k, t in NOT_COVERED.items()],
                "tiers": {"high": "check and context", "medium": "check", "low": "pattern"},
                "listed": self.listed,
            },
            private=_Private(self, states, places) if self.key else (),
        )  # fmt: skip

    # --- names ------------------------------------------------------------------------------

    def name_of(self, kind: int) -> str:
        rules = own_rules(self.rules)
        return KINDS[kind] if kind < len(KINDS) else f"custom:{rules[kind - len(KINDS)].type}"

    def text_of(self, kind: int) -> Text:
        name = self.name_of(kind)
        return code_list("pii_type").text(name)

    # --- what is told ------------------------------------------------------------------------

    def _metrics(self, states: list[PersonalState]) -> Iterator[Metric]:
        if not states:
            return
        n = sum(s.records for s in states)
        touched = sum(s.touched for s in states)
        yield _ratio("iso5259:Idn-ML-1", "ISO/IEC 5259-2:2024", touched, n, n)
        if not any(s.overflown for s in states):
            fields = sum(len(s.paths) for s in states)
            safe = fields - sum(len(s.sure_paths) for s in states)
            yield _ratio("gbt36344:0106", "GB/T 36344-2018", safe, fields, n)
        hits: Counter[tuple[int, int, bool]] = Counter()
        for state in states:
            hits.update(state.hits)
        for group in ("confirmed", "pattern"):
            counts: Counter[int] = Counter()
            for (kind, tier, _), count in hits.items():
                if (tier > Tier.LOW) == (group == "confirmed"):
                    counts[kind] += count
            personal = sum(c for k, c in counts.items() if k not in _SECRET)
            yield _density(f"own:pii_density.{group}", personal, n)
            for kind in sorted(counts):
                yield _density(f"own:pii_density.{group}.{self.name_of(kind)}", counts[kind], n)

    def _findings(
        self, about: About, state: PersonalState, places: Places
    ) -> Iterator[tuple[str, Finding]]:
        for kind in sorted(state.places):
            listed = state.places[kind]
            name = self.text_of(kind)
            at = np.array([p[0] for p in listed], np.int64)
            rows = places.rows(about.resource, at).tolist()
            for row, (_, path, tier, count) in zip(rows, listed, strict=True):
                type_ = "secret" if kind in _SECRET else _TYPES[tier]
                note = Text(f"{name.en}: {count}", f"{name.zh}：{count} 处")
                yield (
                    about.resource,
                    Finding(type=type_, note=note, row=row, field_name=path, severity="warning"),
                )

    def _told(self, about: About, state: PersonalState) -> dict[str, Any]:
        types: dict[str, dict[str, int]] = {}
        for (kind, tier, context), count in sorted(state.hits.items()):
            one = types.setdefault(
                self.name_of(kind),
                {"high": 0, "medium": 0, "low": 0, "with_context": 0,
                 "records": state.holders[kind]},
            )  # fmt: skip
            one[Tier(tier).name.lower()] += count
            one["with_context"] += count * context
        with_hits = sorted((p, c) for p, c in state.paths.items() if c)
        return {
            "resource": about.resource,
            "records": state.records,
            "records_with_personal": state.touched,
            "records_confirmed": state.confirmed,
            "records_with_secrets": state.exposed,
            "types": types,
            "fields": [
                {"field": path, "types": {self.name_of(k): c for k, c in sorted(counts.items())}}
                for path, counts in with_hits[: self.listed]
            ],
            "fields_total": len(with_hits),
        }


_TYPES = {
    int(Tier.LOW): "personal-possible",
    int(Tier.MEDIUM): "personal-confirmed",
    int(Tier.HIGH): "personal-confirmed",
}


@dataclass(frozen=True, slots=True)
class _Private:
    """The private lines, made while they are read."""

    check: Personal
    states: Sequence[tuple[About, PersonalState]]
    places: Places

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        for about, state in self.states:
            names = list(state.names)
            for block in state.log.places():
                rows = self.places.rows(about.resource, block["at"]).tolist()
                for row, place in zip(rows, block, strict=True):
                    yield {
                        "check": "corpus.personal",
                        "resource": about.resource,
                        "row": row,
                        "field": names[int(place["field"])],
                        "type": self.check.name_of(int(place["kind"])),
                        "tier": Tier(int(place["tier"])).name.lower(),
                        "start": int(place["start"]),
                        "end": int(place["stop"]),
                        "hmac_sha256": place["mac"].tobytes().hex(),
                    }


def _ratio(name: str, standard: str, above: int, below: int, n: int) -> Metric:
    value = above / below if below else None
    return Metric(id=name, standard=standard, value=value, numerator=above, denominator=below, n=n)


def _density(name: str, hits: int, records: int) -> Metric:
    return Metric(
        id=name,
        standard="own",
        value=1000 * hits / records if records else None,
        unit="per 1,000 records",
        numerator=hits,
        denominator=records,
        n=records,
    )


def _characters(text: npt.NDArray[np.uint8]) -> int:
    """Return how many characters begin in some bytes of UTF-8."""
    return int(np.count_nonzero(text & 0xC0 != 0x80))


def _trim(state: PersonalState) -> None:
    """Keep the paths with the smallest hashes: the same ones in whatever order they came."""
    if len(state.paths) > _MOST_PATHS:
        kept = sorted(state.paths, key=_order)[:_MOST_PATHS]
        state.paths = {path: state.paths[path] for path in kept}
        state.sure_paths &= set(kept)
        state.overflown = True


def _order(path: str) -> bytes:
    return hashlib.blake2b(path.encode(), digest_size=16).digest()
