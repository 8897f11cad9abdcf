"""One resource from the first byte to its findings: open, match the header, read every row."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from yaosu_schemas.errors import Text

from . import turns
from .check import Chosen, Finding, registered
from .checks.structure import Structure, TableState, structure
from .dialects import Dialect
from .fields import Field, Schema
from .header import Header, match_header
from .infer import infer_schema
from .json_texts import reason
from .keys import Key, lookup_key
from .resources import Resource
from .sources import NotTabular, OpenFile, Table, open_table
from .streams import CHUNK, Digests, RowTooLong, SourceProblem, Undecodable, open_file

MAX_DEPTH = 1000
SMALL = 1 << 18  # below this the exact path is done before the fast one is loaded


Tell = Callable[[str, int, int], None]  # (place, bytes read, rows so far)


@dataclass(slots=True)
class Checked:
    """What one further check said about a table, and how many rows it saw."""

    name: str
    version: str
    rows: int = 0
    found: list[Finding] = field(default_factory=list)


@dataclass(slots=True)
class Outcome:
    """All that is known of one resource before keys are judged and promises compared."""

    resource: Resource
    place: str = ""
    labels: tuple[str, ...] = ()
    schema: Schema = field(default_factory=Schema)
    columns: tuple[Field, ...] = ()
    check: Structure | None = None
    start: list[Finding] = field(default_factory=list)  # header and content findings
    state: TableState | None = None
    first_row: int = 2
    digests: Digests | None = None
    end: list[Finding] = field(default_factory=list)
    warnings: list[Text] = field(default_factory=list)
    opened: bool = False
    interrupted: bool = False  # a person stopped it; what was seen so far stands
    extra: list[Checked] = field(default_factory=list)
    folded: Any = None  # corpus.folds.Folded: the states of the checks of the corpus
    seconds: float = 0.0
    profile: Mapping[str, Any] | None = None  # of its columns, where that was asked for


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run may use, and when it stops looking."""

    errors: int = 1000
    wanted: tuple[tuple[str, ...], ...] = ()  # field names that other tables refer to
    checks: tuple[str, ...] = ()  # further checks of rows by name
    folds: tuple[Chosen, ...] = ()  # checks of the corpus: its records
    profile: bool = False  # what stands in each column

    @property
    def passes(self) -> int:
        """How often a resource that is judged whole is read."""
        return 1 + bool(self.checks) + bool(self.folds)


FOLDED_HERE = 16 << 20  # larger ones are folded where their states are merged


def judge(
    resource: Resource, limits: Limits, tell: Tell | None = None, *, fold: bool = True
) -> Outcome:
    """Return the outcome of one resource; whatever is wrong inside is in its findings."""
    started = time.perf_counter()
    outcome = Outcome(resource=resource, place=resource.place)
    with OpenFile(resource, _teller(outcome, limits, tell)) as file:
        try:
            if resource.type == "table":
                _judge_table(file, outcome, limits)
            else:
                _judge_file(file, outcome)
            outcome.digests = file.digests()
            outcome.end += _part_promises(resource)
        except KeyboardInterrupt:
            outcome.interrupted = True
        except SourceProblem as why:
            outcome.start.append(_placed(why, file))
            _finish(file, outcome)
        except RecursionError:
            outcome.start.append(Finding(type="source-error", note=_DEEP))
            _finish(file, outcome)
        if fold and resource.size <= FOLDED_HERE:
            fold_whole(file, outcome, limits)
        change = file.changed()
        if change is not None:
            outcome.end.append(Finding(type="file-changed", note=change))
    outcome.seconds = round(time.perf_counter() - started, 3)
    return outcome


def fold_whole(file: OpenFile, outcome: Outcome, limits: Limits) -> None:
    """Run the checks of the corpus over the records of a resource that could be opened."""
    if not limits.folds or outcome.interrupted or outcome.resource.type != "table":
        return
    file.again()
    try:
        from .corpus.folds import fold_table

        outcome.folded = fold_table(file, limits.folds)
    except SourceProblem:
        pass  # it has been said: there is nothing to read
    except KeyboardInterrupt:
        outcome.interrupted = True


def fold_again(outcome: Outcome, limits: Limits, tell: Tell | None = None) -> None:
    """Fold a resource that was judged elsewhere, but is too large to be folded there."""
    if limits.folds and outcome.folded is None:
        with OpenFile(outcome.resource, _teller(outcome, limits, tell)) as file:
            fold_whole(file, outcome, limits)


def _part_promises(resource: Resource) -> Iterator[Finding]:
    """Compare each file of a resource in several files with what `parts` says of it."""
    for part in resource.parts:
        path = part.get("path")
        if not isinstance(path, str) or path not in resource.paths:
            continue
        with open_file(resource.root, path) as file:
            sha256, count = hashlib.sha256(), 0
            while chunk := file.read(CHUNK):
                sha256.update(chunk)
                count += len(chunk)
        promised = str(part.get("hash") or "").removeprefix("sha256:")
        if promised and promised != sha256.hexdigest():
            yield Finding(type="hash-count", note=_differs(path, promised, sha256.hexdigest()))
        if part.get("bytes") not in (None, count):
            yield Finding(type="byte-count", note=_differs(path, part["bytes"], count))


def _differs(path: str, promised: object, actual: object) -> Text:
    return Text(
        f'{path!r}: promised is "{promised}" and there is "{actual}"',
        f"“{path}”：承诺为“{promised}”，实际为“{actual}”",
    )


def _teller(outcome: Outcome, limits: Limits, tell: Tell | None) -> Callable[[int], None] | None:
    """Return what tells of the bytes of one pass, of which each is told once over all passes."""
    if tell is None:
        return None

    def told(count: int) -> None:
        rows = outcome.state.rows if outcome.state is not None else 0
        tell(outcome.place, count // limits.passes, rows)

    return told


def _finish(file: OpenFile, outcome: Outcome) -> None:
    try:
        outcome.digests = file.digests()
    except SourceProblem as why:
        outcome.end.append(why.finding)


def _judge_file(file: OpenFile, outcome: Outcome) -> None:
    """Look at a file that is no table as far as its kind allows."""
    r = file.resource
    if r.data is not None:
        outcome.opened = True
        return
    stream, outcome.place = file.open()
    if r.type == "json" and r.format in ("json", "geojson", "topojson"):
        _well_formed(stream)
    elif r.compression is not None:
        while stream.read(1 << 20):
            pass
    outcome.opened = True


def _well_formed(stream: object) -> None:
    import ijson
    from ijson.common import JSONError

    from .streams import problem

    try:
        depth = 0
        for event, _ in ijson.basic_parse(stream):
            depth += event.startswith("start_") - event.startswith("end_")
            if depth > MAX_DEPTH:
                raise SourceProblem(Finding(type="source-error", note=_DEEP))
    except (JSONError, UnicodeDecodeError) as why:
        note = reason(why)
        raise problem("source-error", note.en, note.zh) from None


def _judge_table(file: OpenFile, outcome: Outcome, limits: Limits) -> None:
    try:
        table = open_table(file)
    except NotTabular:
        outcome.resource = replace(outcome.resource, type="json")
        _well_formed(file.reopen())
        outcome.opened = True
        return
    header = _prepare(table, outcome, limits)
    if header.refused is not None:
        outcome.start.append(header.refused)
        return
    check = outcome.check
    assert check is not None
    outcome.opened = True
    outcome.first_row = table.dialect.first_content_row
    state = check.start()
    outcome.state = state
    try:
        if table.arrow is not None:
            _judge_columns(table, check, state)
        elif _judge_text(file, table, check, state):
            pass
        else:
            state.numbers = outcome.first_row - 1
            check.rows(state, table.content(), check.reader())
    except SourceProblem as why:
        state.failed = _placed(why, file) if isinstance(why, Undecodable) else failure(why, state)
    if limits.checks:
        outcome.extra = _further(file, limits.checks)


def _placed(why: SourceProblem, file: OpenFile) -> Finding:
    if isinstance(why, Undecodable):
        with contextlib.suppress(SourceProblem):
            return why.placed(file.reopen())
    return why.finding


def failure(why: SourceProblem, state: TableState) -> Finding:
    """Return what ended the reading of a table, with its row where that is known."""
    if isinstance(why, RowTooLong):
        return replace(why.finding, row=state.numbers + 1)
    return why.finding


def _further(file: OpenFile, names: Sequence[str]) -> list[Checked]:
    """Run further checks over one more pass of batches, all of them in it together."""
    from .batches import batches, labelled

    runs = [(registered(name), Checked(name, registered(name).version)) for name in names]
    folds = [entry.make() for entry, _ in runs]
    file.again()
    file.reopen()
    table = open_table(file)
    schema = labelled(table)
    states = [fold.start(schema) for fold in folds]
    rows = 0
    try:
        for batch in batches(table, schema):
            rows += batch.num_rows
            states = [f.observe(s, batch) for f, s in zip(folds, states, strict=True)]
    except SourceProblem:
        pass  # said by the structure of the table already
    for fold, state, (_, checked) in zip(folds, states, runs, strict=True):
        checked.rows = rows
        checked.found = list(fold.finish(state))
    return [checked for _, checked in runs]


def fast_form(check: Structure, dialect: Dialect, labels: Sequence[str], format_: str) -> Any:
    """Return the automaton of a text table, or None where only the exact path reads it."""
    if format_ == "jsonl":
        from .records import record_form

        return record_form(check, labels)
    from .lines import line_form

    return line_form(check, dialect)


def _is_fast(table: Table) -> bool:
    if table.format == "jsonl":
        return table.by_label and not table.lone_returns
    return table.format in ("csv", "tsv") and not table.lone_returns


def _is_cuttable(table: Table) -> bool:
    """Say whether a text table may be judged in parts, before its types are known."""
    from .lines import MAX_COLUMNS

    narrow = len(table.labels) <= MAX_COLUMNS
    return narrow and _is_fast(table) and table.encoding in ("utf-8", "utf-8-sig")


def _judge_text(file: OpenFile, table: Table, check: Structure, state: TableState) -> bool:
    """Judge large text by whole lines; False where only the exact path can."""
    if not _is_fast(table) or file.size < SMALL:
        return False
    form = fast_form(check, table.dialect, table.labels, table.format)
    if form is None:
        return False
    from .blocks import Blocks
    from .steady import steady

    table.rows, table.fragment = iter(()), []  # rows may be long, and are read once more
    turns.leave("source")
    blocks = Blocks(file.reopen(), table.encoding)
    if table.format == "jsonl":
        from .records import RecordJudge

        with steady():
            RecordJudge(check, table.labels, form).read(state, blocks)
        return True
    from .lines import LineJudge

    judge_ = LineJudge(check, table.dialect, form, table.format)
    with steady():
        judge_.read(state, blocks, table.dialect.first_content_row)
    return True


def open_for_parts(resource: Resource, limits: Limits) -> tuple[Outcome, Table] | None:
    """Open a resource that could be judged in parts; None where it must be judged whole."""
    outcome = Outcome(resource=resource, place=resource.place)
    with OpenFile(resource) as file:
        table = open_table(file)
        if table.arrow is None and not _is_cuttable(table):
            return None
        header = _prepare(table, outcome, limits)
        if header.refused is not None or outcome.check is None:
            return None
        outcome.opened = True
        outcome.first_row = table.dialect.first_content_row
        if table.arrow is not None:
            return outcome, table
        form = fast_form(outcome.check, table.dialect, table.labels, table.format)
        return None if form is None else (outcome, table)


def _judge_columns(table: Table, check: Structure, state: TableState) -> None:
    from .columns import ColumnJudge, checked
    from .steady import steady

    columns = ColumnJudge(check)
    with steady():
        for batch in checked(table.arrow.to_judge(), full=table.format != "parquet"):
            columns.observe(state, batch)
            check.settle(state)
            if state.full:
                return


def _prepare(table: Table, outcome: Outcome, limits: Limits) -> Header:
    """Match labels and schema, and make the check that fits them."""
    r = table.resource
    outcome.place = table.place
    outcome.labels = tuple(table.labels)
    outcome.warnings += table.warnings
    schema = r.schema
    if schema is None:
        schema = _guessed(table)
    null = table.dialect.null_sequence
    if null:
        marked = tuple(replace(f, missing=(*f.missing, null)) for f in schema.fields)
        schema = replace(schema, fields=marked)
    header = match_header(table.labels, schema, ignore_case=not table.dialect.header_case)
    outcome.schema = schema
    outcome.columns = header.columns
    if not table.labels and not table.fragment:
        outcome.start.append(Finding(type="source-error", note=_EMPTY))
    outcome.start += header.findings
    ignore = not table.dialect.header_case
    check = structure(schema, header.columns, limits.errors, ignore_case=ignore)
    keys = (*check.keys, *_lookups(header.columns, limits.wanted))
    outcome.check = replace(check, keys=keys, settles=True)
    return header


def _guessed(table: Table) -> Schema:
    if table.arrow is None:
        return infer_schema(table.labels, table.fragment)
    from .columns import schema_of

    return schema_of(table.arrow.schema)


def _lookups(columns: Sequence[Field], wanted: Sequence[tuple[str, ...]]) -> list[Key]:
    keys = (lookup_key(columns, names) for names in wanted)
    return [key for key in keys if key is not None]


_DEEP = Text("a value is nested too deeply", "嵌套层数过多")
_EMPTY = Text("the source is empty", "内容为空")
