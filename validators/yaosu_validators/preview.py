"""The first records of a resource, as JSON that a page can show."""

from __future__ import annotations

import codecs
import csv
import datetime
import decimal
import io
import itertools
import json
import math
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yaosu_schemas.errors import InvalidInput, Malformed, NotFound, Unsupported, YaosuError
from yaosu_schemas.paths import safe_path
from yaosu_validators.describing import jsonstream
from yaosu_validators.describing.archives import list_archive
from yaosu_validators.describing.bytestream import encodings_of, open_bytes
from yaosu_validators.describing.inference import ValueColumn, arrow_type, unique_names
from yaosu_validators.describing.inventory import identify
from yaosu_validators.describing.measure import POSING
from yaosu_validators.describing.tables import sniff_delimiter

from .media import by_content, probe

ROWS = 20
CUT = 200
_ITEMS = 20
_DEPTH = 6
_HEAD = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """Columns with types, some rows, and whether there are more."""

    resource: str
    format: str
    fields: list[dict[str, Any]] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    total: int | None = None
    truncated: bool = False
    error: dict[str, str] | None = None

    def as_json(self) -> dict[str, Any]:
        out: dict[str, Any] = {
            "resource": self.resource,
            "format": self.format,
            "fields": self.fields,
            "rows": self.rows,
            "total": self.total,
            "truncated": self.truncated,
        }
        return out if self.error is None else {**out, "error": self.error}


def preview(
    target: str | Path,
    *,
    resource: str | int | Mapping[str, Any] | None = None,
    rows: int = ROWS,
    cut: int = CUT,
) -> Preview:
    """Return the first `rows` records of a file, or of a resource in a described folder.

    Texts longer than `cut` characters end in `…` and the number left out; bytes are shown as
    their size and type. A file that cannot be read gives its `error`.
    """
    base, chosen = _choose(Path(target), resource)
    paths = _paths(chosen)
    total = chosen.get("rows")
    shown = _Shown(max(1, min(rows, 1000)), max(20, min(cut, 10_000)))
    name = str(chosen.get("name") or paths[0])
    total = total if isinstance(total, int) else None
    try:
        format_ = _show(base, paths, chosen, shown)
    except YaosuError as why:
        error = {"type": why.code, "message": why.en, "message_zh": why.zh}
        return Preview(resource=name, format=str(chosen.get("format") or ""), error=error)
    fields = _declared(chosen, shown.fields)
    return Preview(
        resource=name,
        format=format_,
        fields=fields,
        rows=shown.rows,
        total=total,
        truncated=shown.more,
    )


def cell(value: object, cut: int = CUT, depth: int = 0) -> Any:
    """Return a value as JSON knows it, long texts and lists cut with a visible mark."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return value if len(value) <= cut else f"{value[:cut]}… (+{len(value) - cut})"
    if isinstance(value, bytes):
        kind = by_content(value[:512])
        return f"<{kind.mediatype if kind else 'binary'}, {len(value)} bytes>"
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return str(value)
    if depth >= _DEPTH:
        return "…"
    if isinstance(value, Mapping):
        items = [
            (str(k)[:cut], cell(v, cut, depth + 1))
            for k, v in itertools.islice(value.items(), _ITEMS)
        ]
        left = len(value) - len(items)
        return dict(items) if left <= 0 else {**dict(items), "…": f"+{left}"}
    if isinstance(value, Sequence):
        shown = [cell(item, cut, depth + 1) for item in value[:_ITEMS]]
        left = len(value) - len(shown)
        return shown if left <= 0 else [*shown, f"… (+{left})"]
    return cell(str(value), cut, depth)


class _Shown:
    """The rows taken so far, at most `limit`."""

    def __init__(self, limit: int, cut: int) -> None:
        self.limit, self.cut = limit, cut
        self.fields: list[dict[str, Any]] = []
        self.rows: list[dict[str, Any]] = []
        self.more = False

    @property
    def full(self) -> bool:
        return len(self.rows) >= self.limit

    def take(self, records: Iterable[Mapping[str, Any]]) -> None:
        for record in records:
            if self.full:
                self.more = True
                return
            self.rows.append({str(k): cell(v, self.cut) for k, v in record.items()})

    def types_from_rows(self) -> None:
        columns: dict[str, ValueColumn] = {}
        for row in self.rows:
            for name, value in row.items():
                columns.setdefault(name, ValueColumn()).observe(value)
        self.fields = [column.field(name) for name, column in columns.items()]


# --- what to show --------------------------------------------------------------------------------


def _choose(
    target: Path, wanted: str | int | Mapping[str, Any] | None
) -> tuple[Path, Mapping[str, Any]]:
    """Return the folder and the resource (as in a descriptor) that is meant."""
    if isinstance(wanted, Mapping):
        return (target if target.is_dir() else target.parent), wanted
    if target.is_dir():
        return target, _by_name(_resources(target), wanted)
    if not target.exists():
        raise NotFound(f"{target.name}: not there", f"{target.name}：不存在")
    if target.name == "datapackage.json":
        return target.parent, _by_name(_resources(target.parent), wanted)
    return target.parent, {"name": target.name, "path": target.name}


def _resources(folder: Path) -> list[Mapping[str, Any]]:
    descriptor = folder / "datapackage.json"
    if descriptor.is_file() and not descriptor.is_symlink():
        try:
            listed = json.loads(descriptor.read_bytes()).get("resources")
        except (ValueError, RecursionError, AttributeError):
            raise Malformed(
                "datapackage.json is no JSON object", "datapackage.json 不是 JSON 对象"
            ) from None
        if isinstance(listed, list):
            return [item for item in listed if isinstance(item, dict) and _paths(item)]
    names = sorted(n for n in os.listdir(folder) if not n.startswith("."))
    return [{"name": n, "path": n} for n in names if (folder / n).is_file()]


def _by_name(resources: list[Mapping[str, Any]], wanted: str | int | None) -> Mapping[str, Any]:
    if isinstance(wanted, int) and 0 <= wanted < len(resources):
        return resources[wanted]
    if wanted is None and resources:
        tables = [item for item in resources if item.get("type") == "table"]
        return (tables or resources)[0]
    for item in resources:
        if item.get("name") == wanted:
            return item
    raise NotFound(f"there is no resource {wanted!r}", f"没有资源“{wanted}”")


def _paths(resource: Mapping[str, Any]) -> list[str]:
    path = resource.get("path")
    if isinstance(path, str):
        return [path]
    return [item for item in path if isinstance(item, str)] if isinstance(path, list) else []


def _inside(base: Path, path: str) -> Path:
    """Return the file of a resource; links are not followed, on any level."""
    place = base
    for part in safe_path(path).split("/"):
        place = place / part
        try:
            mode = os.lstat(place).st_mode
        except OSError:
            raise NotFound(f"{path}: not there", f"{path}：不存在") from None
        if stat.S_ISLNK(mode):
            raise NotFound(f"{path}: links are never followed", f"{path}：不跟随符号链接")
    if not stat.S_ISREG(mode):
        raise NotFound(f"{path} is no file", f"{path} 不是文件")
    return place


def _declared(resource: Mapping[str, Any], found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the columns with the type and title that the schema declares for them."""
    schema = resource.get("schema")
    fields = schema.get("fields") if isinstance(schema, Mapping) else None
    known = {f.get("name"): f for f in fields or () if isinstance(f, Mapping)}
    out = []
    for item in found:
        told = known.get(item["name"], {})
        out.append(
            {**item, **{k: told[k] for k in ("type", "title") if isinstance(told.get(k), str)}}
        )
    return out


# --- readers -------------------------------------------------------------------------------------


def _show(base: Path, paths: list[str], resource: Mapping[str, Any], shown: _Shown) -> str:
    if not paths:
        raise InvalidInput("the resource has no file", "该资源没有文件")
    _inside(base, paths[0])
    first = identify(base, paths[0])
    if first.posing:
        raise Malformed(*POSING[first.posing])
    if first.kind.family in ("image", "audio", "video"):
        _show_media(base, paths, shown)
        return first.kind.format
    format_ = first.kind.format
    for path in paths:
        if shown.full:
            shown.more = True
            break
        file = _inside(base, path)
        _show_file(file, format_, first.compression, resource, shown)
    return format_


def _show_file(
    file: Path, format_: str, compression: str, resource: Mapping[str, Any], shown: _Shown
) -> None:
    try:
        if format_ in ("csv", "tsv"):
            _show_csv(file, format_, compression, resource, shown)
        elif format_ in ("json", "jsonl"):
            _show_json(file, format_, compression, shown)
        elif format_ in ("parquet", "arrow", "arrows"):
            _show_arrow(file, format_, shown)
        elif format_ in ("txt", "md", "html", "xml", "yaml", "toml", "py"):
            _show_text(file, compression, resource, shown)
        elif format_ in ("tar", "zip"):
            _show_archive(file, format_, compression, shown)
        else:
            raise Unsupported(
                f"there is no preview of {format_ or 'this format'}",
                f"暂不支持预览{format_ or '该格式'}",
            )
    except UnicodeDecodeError:
        raise Malformed("its text is in no known encoding", "无法识别其字符编码") from None
    except (ValueError, RecursionError, csv.Error, OSError) as why:
        raise Malformed(f"it cannot be read as {format_}", f"无法按 {format_} 读取") from why


def _show_csv(
    file: Path, format_: str, compression: str, resource: Mapping[str, Any], shown: _Shown
) -> None:
    text = _text_head(file, compression, resource.get("encoding"))
    dialect = resource.get("dialect")
    told: Mapping[str, Any] = dialect if isinstance(dialect, Mapping) else {}
    usual = "\t" if format_ == "tsv" else ","
    delimiter = told.get("delimiter") or sniff_delimiter(text, usual)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=str(delimiter)[:1])
    rows: Iterator[list[str]] = iter(reader)
    header = next(rows, [])
    if told.get("header") is False:
        rows = itertools.chain([header], rows)
        header = [""] * len(header)
    names = unique_names(header)
    shown.fields = shown.fields or [{"name": name, "type": "string"} for name in names]
    shown.take(dict(itertools.zip_longest(names, row[: len(names)])) for row in rows if row)


def _text_head(file: Path, compression: str, told: object) -> str:
    """Return the beginning of a text, whole lines of it, in the encoding that fits."""
    with open_bytes(file, compression) as source:
        head = source.read(_HEAD * 4)
    tried = [told] if isinstance(told, str) and _is_encoding(told) else []
    for encoding in [*tried, *encodings_of(head)]:
        try:
            text = codecs.getincrementaldecoder(encoding)().decode(head)
        except UnicodeDecodeError:
            continue
        text = text.removeprefix("\ufeff")
        cut_off = len(head) == _HEAD * 4 and "\n" in text
        return text[: text.rindex("\n") + 1] if cut_off else text
    raise Malformed("its text is in no known encoding", "无法识别其字符编码")


def _is_encoding(name: str) -> bool:
    try:
        return codecs.lookup(name).name not in ("base64", "zlib", "bz2", "hex", "rot13", "uu")
    except (LookupError, ValueError):
        return False


def _show_json(file: Path, format_: str, compression: str, shown: _Shown) -> None:
    with open_bytes(file, compression) as source:
        head = source.read(_HEAD)
    text = head.decode("utf-8-sig", "ignore")
    by_lines = jsonstream.is_lines(text, complete=len(head) < _HEAD)
    if by_lines is None:
        by_lines = format_ == "jsonl"
    with open_bytes(file, compression) as source:
        values = jsonstream.lines(source) if by_lines else jsonstream.items(source)
        shown.take(
            value if isinstance(value, dict) else {"value": value}
            for value in values
            if value is not jsonstream.Broken
        )
    shown.types_from_rows()


def _show_arrow(file: Path, format_: str, shown: _Shown) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if format_ == "parquet":
            with pq.ParquetFile(file) as parquet:
                _show_batches(parquet.schema_arrow, parquet.iter_batches(shown.limit), shown)
            return
        with pa.OSFile(str(file)) as source:
            if format_ == "arrow":
                reader = pa.ipc.open_file(source)
                batches = (reader.get_batch(i) for i in range(reader.num_record_batches))
                _show_batches(reader.schema, batches, shown)
            else:
                stream = pa.ipc.open_stream(source)
                _show_batches(stream.schema, stream, shown)
    except pa.ArrowException:
        raise Malformed(f"it is no readable {format_} file", f"不是可读的 {format_} 文件") from None


def _show_batches(schema: Any, batches: Iterable[Any], shown: _Shown) -> None:
    names = unique_names(schema.names)
    shown.fields = [
        {"name": name, **arrow_type(column.type)}
        for name, column in zip(names, schema, strict=True)
    ]
    for batch in batches:
        batch.validate(full=True)  # offsets of strangers point anywhere
        left = shown.limit - len(shown.rows) + 1
        part = batch.slice(0, left)
        columns = [_values(column) for column in part.columns]
        shown.take(dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True))
        if shown.more:
            return


def _values(column: Any) -> list[Any]:
    """Return Python values; times finer than Python's come as text."""
    import pyarrow as pa

    try:
        return list(column.to_pylist())
    except ValueError:
        return list(column.cast(pa.string()).to_pylist())


def _show_text(file: Path, compression: str, resource: Mapping[str, Any], shown: _Shown) -> None:
    text = _text_head(file, compression, resource.get("encoding"))
    shown.fields = [{"name": "text", "type": "string"}]
    shown.take({"text": line} for line in text.splitlines() if line.strip())


def _show_archive(file: Path, format_: str, compression: str, shown: _Shown) -> None:
    listing = list_archive(file, format_, compression)
    shown.fields = [{"name": "kind", "type": "string"}, {"name": "members", "type": "integer"}]
    counts = listing.families or {"other": listing.members}
    shown.take({"kind": kind, "members": n} for kind, n in sorted(counts.items()))


def _show_media(base: Path, paths: list[str], shown: _Shown) -> None:
    def records() -> Iterator[dict[str, Any]]:
        for path in paths:
            file = _inside(base, path)
            found = identify(base, path)
            media = probe(file, found.kind)
            yield {
                "path": path,
                "mediatype": found.kind.mediatype,
                "bytes": found.size_bytes,
                "width": media.width if media else None,
                "height": media.height if media else None,
                "duration_s": media.duration_s if media else None,
            }

    shown.take(records())
    kinds = {"path": "string", "mediatype": "string", "duration_s": "number"}
    empty = {n for n in ("width", "height", "duration_s") if all(r[n] is None for r in shown.rows)}
    shown.rows = [{k: v for k, v in row.items() if k not in empty} for row in shown.rows]
    first = shown.rows[0] if shown.rows else {}
    shown.fields = [{"name": name, "type": kinds.get(name, "integer")} for name in first]
