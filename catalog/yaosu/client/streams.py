"""What was bought as a stream of rows: in shards, from where it stopped, columns and rows chosen.

Rows are numbered within their file as the file has them. A shard of a Parquet file is one run of
rows, so that its reader fetches its own row groups and no more; in files that can only be read
from the front, blocks of rows go round the shards. Both need no knowledge of the other shards.
"""

from __future__ import annotations

import math
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yaosu.errors import Conflict, InvalidInput, Unsupported

from .dataframes import format_of, load, reader_of

if TYPE_CHECKING:
    from .purchase import Purchase

JSON = dict[str, Any]
Filter = Sequence[tuple[str, str, Any]] | Sequence[Sequence[tuple[str, str, Any]]]
"""(column, operator, value), all of which must hold; a list of such lists: one of them."""

BLOCK_ROWS = 1024
WAIT_S = 3600.0
"""How long one process waits for another that is fetching the same file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which rows of which files, and which shard of them."""

    paths: tuple[str, ...]
    columns: tuple[str, ...] | None = None
    filter: Filter | None = None
    batch_rows: int = BLOCK_ROWS
    shard: tuple[int, int] = (0, 1)
    checked: bool = False

    def __post_init__(self) -> None:
        index, count = self.shard
        if not 0 <= index < count or self.batch_rows < 1:
            raise InvalidInput(
                f"there is no shard {index} of {count}", f"没有第 {index} 个分片（共 {count} 个）"
            )

    @property
    def read_columns(self) -> list[str] | None:
        """The columns to read: the chosen ones and those that the filter looks at."""
        if self.columns is None:
            return None
        listed = list(self.filter or ())
        flat = listed if listed and isinstance(listed[0][0], str) else sum(map(list, listed), [])
        return list(dict.fromkeys([*self.columns, *(str(term[0]) for term in flat)]))

    def check(self, names: Sequence[str]) -> None:
        """Refuse columns that a file does not have, by the names of those that it has."""
        absent = [name for name in self.read_columns or () if name not in names]
        if absent:
            raise InvalidInput(
                f"no column '{absent[0][:100]}'; there are: {', '.join(names[:50])}",
                f"没有字段“{absent[0][:100]}”；可选：{'、'.join(names[:50])}",
                field="columns",
                columns=list(names[:100]),
            )

    @property
    def expression(self) -> Any:
        """The filter as an expression of pyarrow; None if every row is wanted."""
        if not self.filter:
            return None
        try:
            return load("pyarrow.parquet", "pyarrow").filters_to_expression(list(self.filter))
        except (ValueError, TypeError, IndexError) as error:
            raise InvalidInput(
                f"the filter cannot be read: {str(error)[:200]}; write ('column', '=', value)",
                "筛选条件无法解析，应写作 ('字段', '=', 值)",
                field="filter",
            ) from None


class Stream:
    """Record batches of a purchase; it can say where it stands and go on from there."""

    def __init__(self, purchase: Purchase, wanted: Wanted) -> None:
        self._purchase = purchase
        self.wanted = wanted
        self._file = 0
        self._row = 0  # the first row of the file that was not handed out
        self._taken = 0  # rows of the batch from there on that were

    def __iter__(self) -> Iterator[Any]:
        """Yield `pyarrow.RecordBatch`es from where the stream stands; at its end it begins anew."""
        for after, batch in self._pieces():
            taken, self._row, self._taken = self._taken, after, 0
            if batch.num_rows > taken:
                yield batch.slice(taken)

    def rows(self) -> Iterator[JSON]:
        """Yield rows as dicts; the stream stands behind the last one that was taken."""
        for after, batch in self._pieces():
            if batch.num_rows:
                for row in batch.slice(self._taken).to_pylist():
                    self._taken += 1
                    yield row
            self._row, self._taken = after, 0

    def _pieces(self) -> Iterator[tuple[int, Any]]:
        while self._file < len(self.wanted.paths):
            yield from self._rows(self.wanted.paths[self._file], self._row)
            self._file, self._row = self._file + 1, 0
        self._file = self._row = 0

    def shard(self, index: int, count: int) -> Stream:
        """Return the stream of one shard of this one: shards of shards are allowed."""
        outer, several = self.wanted.shard
        wanted = replace(self.wanted, shard=(outer * count + index, several * count))
        return Stream(self._purchase, wanted)

    def state_dict(self) -> JSON:
        """Return where the stream stands, as JSON."""
        stands = {"file": self._file, "row": self._row, "taken": self._taken}
        return {**self._identity(), **stands}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where another stream over the same rows stood; InvalidInput if it is none."""
        wrong = [key for key, value in self._identity().items() if state.get(key) != value]
        if wrong:
            raise InvalidInput(
                f"this state is of another stream: {', '.join(wrong)} differ",
                f"该状态属于另一数据流：{'、'.join(wrong)} 不同",
                field="state",
            )
        self._file, self._row = int(state["file"]), int(state["row"])
        self._taken = int(state.get("taken", 0))

    def _identity(self) -> JSON:
        wanted = self.wanted
        return {
            "manifest_digest": self._purchase.manifest["manifest_digest"],
            "paths": list(wanted.paths),
            "columns": list(wanted.columns) if wanted.columns is not None else None,
            "filter": repr(wanted.filter),
            "shard": list(wanted.shard),
        }

    # --- rows -----------------------------------------------------------------------------------

    def _rows(self, path: str, start: int) -> Iterator[tuple[int, Any]]:
        """Yield (rows of the file used up, batch) of this shard, from a row on."""
        if format_of(path) == "parquet":
            yield from self._parquet(path, start)
        else:
            yield from self._sequential(path, start)

    def _parquet(self, path: str, start: int) -> Iterator[tuple[int, Any]]:
        parquet = load("pyarrow.parquet", "pyarrow")
        with parquet.ParquetFile(open_parquet(self._purchase, path, self.wanted)) as file:
            self.wanted.check(file.schema_arrow.names)
            index, count = self.wanted.shard
            rows = file.metadata.num_rows
            first, last = rows * index // count, rows * (index + 1) // count
            at = 0
            for group in range(file.metadata.num_row_groups):
                size = file.metadata.row_group(group).num_rows
                low, high = max(first, start, at), min(last, at + size)
                if low < high:
                    if may_hold(file.metadata.row_group(group), self.wanted.filter):
                        yield from self._group(file, group, at, low, high)
                    yield high, _EMPTY
                at += size

    def _group(self, file: Any, group: int, at: int, low: int, high: int) -> Iterator[Any]:
        """Yield the batches of one row group between two rows of the file."""
        for batch in file.iter_batches(
            batch_size=self.wanted.batch_rows, row_groups=[group], columns=self.wanted.read_columns
        ):
            end = at + batch.num_rows
            if low < end and at < high:
                skip = max(0, low - at)
                taken = batch.slice(skip, min(high, end) - at - skip)
                yield min(high, end), self._chosen(taken)
            at = end
            if at >= high:
                return

    def _sequential(self, path: str, start: int) -> Iterator[tuple[int, Any]]:
        """Yield every n-th block of rows of a file that is read from its front."""
        index, count = self.wanted.shard
        at = 0
        data = reader_of(fetched(self._purchase, path))
        self.wanted.check(data.schema.names)
        for batch in data.to_batches(batch_readahead=2, fragment_readahead=1):
            offset = 0
            while offset < batch.num_rows:
                row = at + offset
                size = min(BLOCK_ROWS - row % BLOCK_ROWS, batch.num_rows - offset)
                if row // BLOCK_ROWS % count == index and row + size > start:
                    skip = max(0, start - row)
                    yield row + size, self._chosen(batch.slice(offset + skip, size - skip))
                offset += size
            at += batch.num_rows

    def _chosen(self, batch: Any) -> Any:
        expression = self.wanted.expression
        if expression is not None:
            batch = batch.filter(expression)
        columns = self.wanted.columns
        return batch.select(list(columns)) if columns is not None else batch


class _Empty:
    num_rows = 0


_EMPTY = _Empty()


def open_parquet(purchase: Purchase, path: str, wanted: Wanted) -> Any:
    """Return what a Parquet reader opens: the file here, or its place at the market.

    A part of the rows or columns is read by ranges unless the digest is to be checked first.
    """
    part = wanted.columns is not None or wanted.filter or wanted.shard[1] > 1
    if wanted.checked or not part or purchase.has(path):
        return fetched(purchase, path)
    return purchase.remote(path)


def fetched(purchase: Purchase, path: str) -> Path:
    """Return a file, whole and checked; where another process fetches it, wait for that one."""
    end = time.monotonic() + WAIT_S
    while True:
        try:
            return purchase.file(path)
        except Conflict:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


# --- rows that cannot be there -------------------------------------------------------------------

_RULES: Mapping[str, Callable[[Any, Any, Any], bool]] = {
    "=": lambda low, high, value: low <= value <= high,
    "==": lambda low, high, value: low <= value <= high,
    "<": lambda low, high, value: low < value,
    "<=": lambda low, high, value: low <= value,
    ">": lambda low, high, value: high > value,
    ">=": lambda low, high, value: high >= value,
    "in": lambda low, high, values: any(low <= value <= high for value in values),
}


def may_hold(group: Any, filter: Filter | None) -> bool:
    """Say whether a row group can hold a row that fits, by the statistics in its footer."""
    if not filter:
        return True
    listed = list(filter)
    options = [listed] if isinstance(listed[0][0], str) else listed
    ranges = {
        column.path_in_schema: (column.statistics.min, column.statistics.max)
        for column in map(group.column, range(group.num_columns))
        if column.statistics is not None and column.statistics.has_min_max
    }
    return any(all(_may(ranges, term) for term in option) for option in options)


def _may(ranges: Mapping[str, tuple[Any, Any]], term: Any) -> bool:
    column, operator, value = term
    rule = _RULES.get(operator)
    low, high = ranges.get(column, (None, None))
    if rule is None or low is None or _is_nan(low) or _is_nan(high):
        return True
    try:
        return rule(low, high, value)
    except TypeError:
        return True  # of different kinds: the reader says so


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


# --- samples of tar shards -----------------------------------------------------------------------


class Samples:
    """Samples of WebDataset shards: files of a tar that share a name up to the first dot."""

    def __init__(
        self, purchase: Purchase, paths: Sequence[str], shard: tuple[int, int] = (0, 1)
    ) -> None:
        self._purchase = purchase
        self._wanted = Wanted(paths=tuple(paths), shard=shard)
        self._file = self._sample = 0

    def __iter__(self) -> Iterator[JSON]:
        """Yield `__key__`, `__url__` and the bytes of each file by its ending."""
        index, count = self._wanted.shard
        paths = self._wanted.paths
        whole = len(paths) >= count  # else the samples of each tar go round the shards
        while self._file < len(paths):
            path = paths[self._file]
            if not whole or self._file % count == index:
                for number, sample in enumerate(samples_of(fetched(self._purchase, path), path)):
                    ours = whole or number % count == index
                    if number >= self._sample and ours:
                        self._sample = number + 1
                        yield sample
            self._file, self._sample = self._file + 1, 0
        self._file = 0

    def shard(self, index: int, count: int) -> Samples:
        """Return the samples of one shard."""
        outer, several = self._wanted.shard
        shard = (outer * count + index, several * count)
        return Samples(self._purchase, self._wanted.paths, shard)

    def state_dict(self) -> JSON:
        """Return where the stream stands, as JSON."""
        return {**self._identity(), "file": self._file, "sample": self._sample}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where another stream over the same shards stood."""
        if any(state.get(key) != value for key, value in self._identity().items()):
            raise InvalidInput(
                "this state is of another stream", "该状态属于另一数据流", field="state"
            )
        self._file, self._sample = int(state["file"]), int(state["sample"])

    def _identity(self) -> JSON:
        digest = self._purchase.manifest["manifest_digest"]
        paths, shard = list(self._wanted.paths), list(self._wanted.shard)
        return {"manifest_digest": digest, "paths": paths, "shard": shard}


def samples_of(file: Path, url: str) -> Iterator[JSON]:
    """Yield the samples of one tar, in its order; only plain files are read."""
    try:
        with tarfile.open(file, "r:*") as tar:
            sample: JSON = {}
            for member in tar:
                if not member.isfile():
                    continue
                folder, slash, name = member.name.rpartition("/")
                base, _, ending = name.partition(".")
                if not ending or name.startswith("."):
                    continue
                key = f"{folder}{slash}{base}"
                if sample and sample["__key__"] != key:
                    yield sample
                    sample = {}
                content = tar.extractfile(member)
                sample |= {"__key__": key, "__url__": url}
                sample[ending.lower()] = content.read() if content else b""
            if sample:
                yield sample
    except tarfile.TarError as error:
        raise Unsupported(
            f"'{url}' cannot be read as a tar: {str(error)[:100]}",
            f"“{url}”无法作为 tar 读取",
            path=url,
        ) from None
