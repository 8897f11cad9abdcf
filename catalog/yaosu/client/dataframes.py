"""Purchased files as tables: Arrow first, and from it whatever library the buyer has."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yaosu.errors import InvalidInput, Malformed, NotFound, Unsupported

if TYPE_CHECKING:
    from .purchase import Purchase
    from .streams import Filter, Wanted

# Suffix without its compression → the format name of pyarrow.dataset.
FORMATS = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "json",
    ".ndjson": "json",
    ".arrow": "arrow",
    ".feather": "feather",
    ".json": "array",
}
TAR = re.compile(r"\.(tar|tgz|tar\.(gz|bz2|xz))$")
COMPRESSIONS = frozenset({".gz", ".zst", ".bz2"})


class Tables:
    """The tabular files of one purchase."""

    def __init__(self, purchase: Purchase) -> None:
        self._purchase = purchase

    def dataset(self, resource: str | None = None) -> Any:
        """Return a `pyarrow.dataset.Dataset`; NotFound names what there is to choose from."""
        load("pyarrow.dataset", "pyarrow")
        chosen = self._chosen(resource)
        kinds = {format_of(path) for path in chosen}
        if len(kinds) > 1:
            raise self._ambiguous("of different formats", "格式不同", chosen)
        kind = kinds.pop()
        if kind is None:
            raise self._no_table(chosen[0])
        parts = [reader_of(self._purchase.file(path)) for path in chosen]
        if any(part.schema != parts[0].schema for part in parts):
            raise self._ambiguous("with different columns", "字段不同", chosen)
        return parts[0] if len(parts) == 1 else load("pyarrow.dataset", "pyarrow").dataset(parts)

    def wanted(
        self,
        resource: str | None,
        columns: Sequence[str] | None = None,
        filter: Filter | None = None,
        **more: Any,
    ) -> Wanted:
        """Return which rows of which files are meant, with the resource named or found."""
        from .streams import Wanted

        paths = self._chosen(resource)
        unreadable = next((path for path in paths if format_of(path) is None), None)
        if unreadable is not None:
            raise self._no_table(unreadable)
        chosen = tuple(columns) if columns is not None else None
        return Wanted(paths=tuple(paths), columns=chosen, filter=filter, **more)

    def table(
        self,
        resource: str | None = None,
        columns: Sequence[str] | None = None,
        filter: Filter | None = None,
        checked: bool = False,
    ) -> Any:
        """Return an Arrow table of the chosen columns and rows."""
        from .streams import may_hold, open_parquet

        if columns is None and not filter:
            return self.dataset(resource).to_table()
        wanted = self.wanted(resource, columns, filter, checked=checked)
        expression = wanted.expression
        if any(format_of(path) != "parquet" for path in wanted.paths):
            data = self.dataset(resource)
            wanted.check(data.schema.names)
            return data.to_table(columns=columns, filter=expression)
        arrow, parts = load("pyarrow", "pyarrow"), []
        parquet = load("pyarrow.parquet", "pyarrow")
        for path in wanted.paths:
            with parquet.ParquetFile(open_parquet(self._purchase, path, wanted)) as file:
                wanted.check(file.schema_arrow.names)
                groups = [
                    n for n in range(file.metadata.num_row_groups)
                    if may_hold(file.metadata.row_group(n), filter)
                ]  # fmt: skip
                found = file.read_row_groups(groups, columns=wanted.read_columns)
            found = found if expression is None else found.filter(expression)
            parts.append(found.select(list(columns)) if columns is not None else found)
        return arrow.concat_tables(parts)

    def to_pandas(self, resource: str | None = None, **chosen: Any) -> Any:
        """Return a pandas DataFrame."""
        load("pandas", "pandas")
        return self.table(resource, **chosen).to_pandas()

    def to_polars(self, resource: str | None = None, **chosen: Any) -> Any:
        """Return a polars DataFrame."""
        polars = load("polars", "polars")
        return polars.from_arrow(self.table(resource, **chosen))

    def to_hf(self, resource: str | None = None, **chosen: Any) -> Any:
        """Return a Hugging Face Dataset."""
        library = load("datasets", "datasets")
        table = library.table.InMemoryTable(self.table(resource, **chosen))
        # Its name for caches is that of the content: taking one from the bytes costs a pass.
        named = f"{self._purchase.manifest['manifest_digest']}/{resource or ''}/{chosen!r}"
        return library.Dataset(table, fingerprint=hashlib.sha256(named.encode()).hexdigest()[:16])

    def is_tar(self, resource: str | None) -> bool:
        """Say whether a resource (or, without a name, every data file) is a tar of samples."""
        chosen = self._purchase.paths if resource is None else self._chosen(resource)
        tars = [path for path in chosen if TAR.search(path.lower())]
        return bool(tars) and (resource is not None or not any(map(format_of, chosen)))

    def shards(self, resource: str | None) -> list[str]:
        """Return the paths of the tar shards of one resource, or of all."""
        chosen = self._purchase.paths if resource is None else self._chosen(resource)
        found = [path for path in chosen if TAR.search(path.lower())]
        if not found or (resource is not None and len(found) < len(chosen)):
            raise Unsupported(
                "these files are no tar shards; their paths are at Purchase.files()",
                "这些文件不是 tar 分片，可用 Purchase.files() 取得文件路径",
                paths=chosen[:100],
            )
        return found

    def _chosen(self, resource: str | None) -> list[str]:
        names = dict(self._named())
        if resource is not None:
            if resource in self._purchase.paths:
                return [resource]
            if resource in names:
                return names[resource]
            raise NotFound(
                f"no resource '{resource[:100]}'; there are: {', '.join(names)}",
                f"没有资源“{resource[:100]}”；可选：{'、'.join(names)}",
                resources=list(names),
            )
        readable = [path for path in self._purchase.paths if format_of(path) is not None]
        described = self._described()
        # What the package itself calls a table goes before what merely ends like one.
        tabular = [path for path in readable if path in described] or readable
        if not tabular:
            raise Unsupported(
                "none of the files is a table; get their paths by Purchase.files()",
                "没有表格文件，可用 Purchase.files() 取得文件路径",
                paths=self._purchase.paths[:100],
            )
        return tabular

    def _described(self) -> set[str]:
        """Return the paths of resources that the descriptor has a schema for."""
        return {
            path
            for entry in self._purchase.descriptor.get("resources") or ()
            if entry.get("type") == "table" or entry.get("schema")
            for path in _paths(entry)
        }

    def _named(self) -> Iterator[tuple[str, list[str]]]:
        """Yield (resource name, its paths) as the descriptor says."""
        for entry in self._purchase.descriptor.get("resources") or ():
            yield str(entry.get("name")), _paths(entry)

    def _no_table(self, path: str) -> Unsupported:
        return Unsupported(
            f"'{path}' is no table; its file is at Purchase.file({path!r})",
            f"“{path}”不是表格，可用 Purchase.file() 取得文件",
            path=path,
        )

    def _ambiguous(self, en: str, zh: str, paths: list[str]) -> InvalidInput:
        names = [name for name, _ in self._named()]
        return InvalidInput(
            f"the files are {en}: name one resource of {', '.join(names)}",
            f"各文件{zh}，请指定其中一个资源：{'、'.join(names)}",
            resources=names,
            paths=paths[:100],
        )


def _paths(resource: dict[str, Any]) -> list[str]:
    path = resource.get("path")
    return [path] if isinstance(path, str) else [str(p) for p in path or ()]


def format_of(path: str) -> str | None:
    """Return how a file is opened as a table, by its name; None when it is none."""
    suffixes = [suffix.lower() for suffix in Path(path).suffixes[-2:]]
    if suffixes and suffixes[-1] in COMPRESSIONS:
        suffixes.pop()
        plain = FORMATS.get(suffixes[-1]) if suffixes else None
        return plain if plain in ("csv", "tsv", "json", "array") else None
    return FORMATS.get(suffixes[-1]) if suffixes else None


def reader_of(path: Path) -> Any:
    """Return a local file as a `pyarrow.dataset.Dataset`, by its name."""
    arrow = load("pyarrow.dataset", "pyarrow")
    kind = format_of(path.name)
    if kind == "array":
        return arrow.dataset(_records(path))
    if kind == "tsv":
        options = load("pyarrow.csv", "pyarrow").ParseOptions(delimiter="\t")
        return arrow.dataset(path, format=arrow.CsvFileFormat(parse_options=options))
    return arrow.dataset(path, format=kind)


def _records(path: Path) -> Any:
    """Return an Arrow table of a JSON file that holds one array of records."""
    arrow = load("pyarrow", "pyarrow")
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    try:
        rows = json.loads(text)
        if isinstance(rows, list) and all(isinstance(row, dict) for row in rows):
            return arrow.Table.from_pylist(rows)
    except (ValueError, RecursionError, arrow.ArrowInvalid) as error:
        raise Malformed(
            f"'{path.name}' cannot be read as records: {str(error)[:200]}",
            f"“{path.name}”无法解析为记录",
            path=path.name,
        ) from None
    raise Unsupported(
        f"'{path.name}' is JSON, but not a list of records",
        f"“{path.name}”不是记录数组",
        path=path.name,
    )


def load(module: str, package: str) -> Any:
    """Return an optional library; Unsupported says how to install it."""
    try:
        return import_module(module)
    except ImportError:
        raise Unsupported(
            f"this needs {package}: pip install {package}",
            f"此操作需要 {package}：pip install {package}",
            package=package,
        ) from None
