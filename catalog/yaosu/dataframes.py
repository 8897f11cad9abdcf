"""Purchased files as tables: Arrow first, and from it whatever library the buyer has."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import InvalidInput, Malformed, NotFound, Unsupported

if TYPE_CHECKING:
    from .purchase import Purchase

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
            raise Unsupported(
                f"'{chosen[0]}' is no table; its file is at Purchase.file({chosen[0]!r})",
                f"“{chosen[0]}”不是表格，可用 Purchase.file() 取得文件",
                path=chosen[0],
            )
        parts = [self._part(kind, self._purchase.file(path)) for path in chosen]
        if any(part.schema != parts[0].schema for part in parts):
            raise self._ambiguous("with different columns", "字段不同", chosen)
        return parts[0] if len(parts) == 1 else load("pyarrow.dataset", "pyarrow").dataset(parts)

    def to_pandas(self, resource: str | None = None) -> Any:
        """Return a pandas DataFrame."""
        load("pandas", "pandas")
        return self.dataset(resource).to_table().to_pandas()

    def to_polars(self, resource: str | None = None) -> Any:
        """Return a polars DataFrame."""
        return load("polars", "polars").from_arrow(self.dataset(resource).to_table())

    def to_hf(self, resource: str | None = None) -> Any:
        """Return a Hugging Face Dataset."""
        library = load("datasets", "datasets")
        table = library.table.InMemoryTable(self.dataset(resource).to_table())
        # Its name for caches is that of the content: taking one from the bytes costs a pass.
        named = f"{self._purchase.manifest['manifest_digest']}/{resource or ''}"
        return library.Dataset(table, fingerprint=hashlib.sha256(named.encode()).hexdigest()[:16])

    def _part(self, kind: str, path: Path) -> Any:
        arrow = load("pyarrow.dataset", "pyarrow")
        if kind == "array":
            return arrow.dataset(_records(path))
        if kind == "tsv":
            options = load("pyarrow.csv", "pyarrow").ParseOptions(delimiter="\t")
            return arrow.dataset(path, format=arrow.CsvFileFormat(parse_options=options))
        return arrow.dataset(path, format=kind)

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
