"""Packages and resources made up, with tables in many forms: for the campaign of parity."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import zipfile
from typing import Any

from parity_cases import (
    BOUNDS,
    CELLS,
    CONSTRAINTS,
    DIALECT,
    ENUMS,
    EXTRAS,
    FORMATS,
    TYPES,
    V2,
    Case,
    dump,
)


def generated(r: random.Random) -> Case:
    """Return a package or a resource of its own with one to three tables in many forms."""
    files: dict[str, bytes] = {}
    v2 = r.random() < 0.7
    resources = [_resource(r, i, files) for i in range(r.choice([1, 1, 1, 2, 3]))]
    _refer(r, resources)
    for i, resource in enumerate(resources):
        for part in ("schema", "dialect"):
            if isinstance(resource.get(part), dict) and r.random() < 0.1:
                name = f"{part}{i}.{r.choice(['json', 'yaml'])}"
                files[name] = dump(name, resource[part])
                resource[part] = name
    kind = "resource" if len(resources) == 1 and r.random() < 0.5 else "package"
    document: dict[str, Any] = resources[0] if kind == "resource" else {"resources": resources}
    if kind == "package" and r.random() < 0.5:
        document["name"] = r.choice(["p", "a-b", "P 1"])
    if v2:
        document["$schema"] = V2 + f"data{kind}.json"
    name = r.choice(["datapackage.json", "datapackage.json", "datapackage.yaml"])
    name = name.replace("package", kind)
    files[name] = dump(name, document)
    return Case(files, name, kind, [])


def _resource(r: random.Random, number: int, files: dict[str, bytes]) -> dict[str, Any]:
    fields = [_field(r, f"f{i}") for i in range(r.randint(1, 5))]
    schema: dict[str, Any] = {"fields": fields}
    names = [f["name"] for f in fields]
    if r.random() < 0.2:
        schema["primaryKey"] = r.choice([names[0], names[:1], names[:2]])
    if r.random() < 0.2:
        schema["missingValues"] = r.choice([["", "-"], ["n/a"], [""], ["x", ""]])
    if r.random() < 0.2:
        schema["fieldsMatch"] = r.choice(["exact", "equal", "subset", "superset", "partial"])
        if r.random() < 0.5:
            fields = r.sample(fields, r.randint(1, len(fields)))
    rows = [[r.choice(_cells(r, f)) for f in fields] for _ in range(r.randint(0, 8))]
    labels = [f["name"] for f in fields]
    resource: dict[str, Any] = {"name": f"t{number}"}
    if r.random() < 0.85:
        resource["schema"] = schema
    form = r.choice(
        [
            *("csv",) * 6,
            *("tsv", "jsonl", "json", "json", "ndjson", "inline", "inline", "xlsx", "multipart"),
        ]
    )
    _WRITERS[form](r, resource, labels, rows, files)
    return resource


def _cells(r: random.Random, f: dict[str, Any]) -> list[str]:
    cells = CELLS[f.get("type", "string")]
    return cells[:3] if r.random() < 0.7 else cells


def _field(r: random.Random, name: str) -> dict[str, Any]:
    kind = r.choice(TYPES)
    made: dict[str, Any] = {"name": name, "type": kind}
    if kind in FORMATS and r.random() < 0.4:
        made["format"] = r.choice(FORMATS[kind])
    if kind in EXTRAS and r.random() < 0.4:
        made.update([r.choice(EXTRAS[kind])])
    if r.random() < 0.35:
        made["constraints"] = dict(_constraint(r, kind) for _ in range(r.choice([1, 1, 2])))
    if r.random() < 0.08:
        made["missingValues"] = r.choice([["", "-"], ["a", "1"]])
    for key, value in (("title", "T"), ("description", "d"), ("example", "a"), ("rdfType", "x")):
        if r.random() < 0.03:
            made[key] = value
    return made


def _constraint(r: random.Random, kind: str) -> tuple[str, Any]:
    """Return a constraint that the type knows; seldom any."""
    if r.random() < 0.03:
        key = r.choice(sorted(CONSTRAINTS))
        return key, r.choice(CONSTRAINTS[key])
    fitting = ["required", "unique"]
    if kind in BOUNDS:
        fitting += ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"]
    if kind in ("string", "array", "object", "list"):
        fitting += ["minLength", "maxLength"]
    fitting += ["pattern"] if kind == "string" else []
    fitting += ["enum"] if kind in ENUMS else []
    key = r.choice(fitting)
    if "imum" in key:
        return key, r.choice(BOUNDS[kind])
    return key, ENUMS[kind] if key == "enum" else r.choice(CONSTRAINTS[key])


def _refer(r: random.Random, resources: list[dict[str, Any]]) -> None:
    for resource in resources:
        schema = resource.get("schema")
        if not isinstance(schema, dict) or r.random() > 0.2:
            continue
        other = r.choice(resources)
        there = other.get("schema") if isinstance(other.get("schema"), dict) else None
        if not there:
            continue
        kinds = {schema["fields"][-1]["type"], there["fields"][0]["type"]}
        if "any" in kinds and kinds != {"any"}:
            continue  # values of `any` are text to us where the other side has numbers
        schema["foreignKeys"] = [
            {
                "fields": [schema["fields"][-1]["name"]],
                "reference": {
                    "resource": "" if other is resource else other["name"],
                    "fields": [there["fields"][0]["name"]],
                },
            }
        ]


def _as_csv(r: random.Random, resource: dict[str, Any], rows: list[list[str]], mark: str) -> bytes:
    dialect: dict[str, Any] = {}
    for name, values in DIALECT:
        if r.random() < 0.04:
            dialect[name] = r.choice(values)
    delimiter = dialect.get("delimiter") or mark
    quote = dialect.get("quoteChar") or '"'
    lines = []
    for row in rows:
        cells = []
        for cell in row:
            odd = any(c in cell for c in (delimiter, quote, "\n"))
            if odd or r.random() < 0.05:
                cell = quote + cell.replace(quote, quote * 2) + quote
            cells.append(cell)
        spoil = r.random()
        if spoil < 0.04:
            cells.append(r.choice(["", "e"]))
        elif spoil < 0.08:
            cells.pop()
        elif spoil < 0.1:
            lines.append("")
        elif spoil < 0.12:
            lines.append("# a comment")
        lines.append(delimiter.join(cells))
    if dialect:
        resource["dialect"] = dialect
    end = dialect.get("lineTerminator") or r.choice(["\n", "\n", "\r\n"])
    text = end.join(lines) + (end if r.random() < 0.8 else "")
    encoding = r.choice(["utf-8"] * 8 + ["utf-8-sig", "gb18030", "utf-16", "latin-1"])
    if encoding not in ("utf-8", "utf-8-sig") and r.random() < 0.8:
        resource["encoding"] = encoding
    return text.encode(encoding, "replace")


def _labels(r: random.Random, labels: list[str]) -> list[str]:
    labels = list(labels)
    if r.random() < 0.12:
        labels[r.randrange(len(labels))] = r.choice(["", "zz", labels[0], "F0", " f0"])
    if r.random() < 0.04:
        labels.append("more")
    if r.random() < 0.04:
        r.shuffle(labels)
    return labels


def _csv(r: random.Random, o: dict[str, Any], labels: Any, rows: Any, files: Any) -> None:
    data = _as_csv(r, o, [_labels(r, labels), *rows], ",")
    name = f"{o['name']}.csv"
    squeeze = r.choice(["", "", "", "", "gz", "zip"])
    if squeeze == "gz":
        data = gzip.compress(data, mtime=0)
    elif squeeze == "zip":
        data = zipped(r.choice([name, "inner/" + name]), data)
    if squeeze:
        name += f".{squeeze}"
    if r.random() < 0.1:
        o["hash"] = r.choice(["", "md5:", "sha256:"]) + hashlib.md5(data).hexdigest()
        o["bytes"] = len(data) + r.choice([0, 1])
    files[name] = data
    o["path"] = name


def zipped(name: str, data: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr(name, data)
    return made.getvalue()


def _tsv(r: random.Random, o: dict[str, Any], labels: Any, rows: Any, files: Any) -> None:
    files[f"{o['name']}.tsv"] = _as_csv(r, o, [_labels(r, labels), *rows], "\t")
    o["path"] = f"{o['name']}.tsv"


def _multipart(r: random.Random, o: dict[str, Any], labels: Any, rows: Any, files: Any) -> None:
    first, second = f"{o['name']}a.csv", f"{o['name']}b.csv"
    cut = r.randint(0, len(rows))
    files[first] = _as_csv(r, o, [labels, *rows[:cut]], ",")
    again = [labels] if r.random() < 0.7 else []
    files[second] = _as_csv(r, {}, [*again, *rows[cut:]], ",")
    o["path"] = [first, second]


def _value(r: random.Random, cell: str) -> Any:
    """Return what a JSON record would hold for a cell."""
    if r.random() < 0.7:
        try:
            value = json.loads(cell)
        except ValueError:
            return {"True": True, "": None}.get(cell, cell)
        return cell if isinstance(value, float) and value != value else value
    return cell


def _records(r: random.Random, labels: list[str], rows: list[list[str]], keyed: bool) -> list[Any]:
    values = [[_value(r, c) for c in row] for row in rows]
    if not keyed:
        return [labels, *values]
    made = [dict(zip(labels, row, strict=False)) for row in values]
    for number, record in enumerate(made):
        if record and r.random() < 0.08:
            record.pop(r.choice(sorted(record)))
        if r.random() < 0.05:
            record["more"] = 1
        if r.random() < 0.05:
            made[number] = dict(reversed(record.items()))
    return made


def _json(r: random.Random, o: dict[str, Any], labels: Any, rows: Any, files: Any) -> None:
    keyed = r.random() < 0.5
    records = _records(r, _labels(r, labels), rows, keyed)
    value: Any = records
    control: dict[str, Any] = {}
    if r.random() < 0.2:
        value, control["property"] = {"key": records}, "key"
    if keyed and r.random() < 0.2:
        control["keyed"] = True
    if keyed and r.random() < 0.1:
        control["keys"] = labels[:1]
    if control:
        o["dialect"] = {"json": control}
    o["type"] = "table"
    files[f"{o['name']}.json"] = json.dumps(value, ensure_ascii=r.random() < 0.5).encode()
    o["path"] = f"{o['name']}.json"


def _jsonl(r: random.Random, o: dict[str, Any], labels: Any, rows: Any, files: Any) -> None:
    records = _records(r, _labels(r, labels), rows, r.random() < 0.7)
    ending = r.choice(["jsonl", "ndjson"])
    lines = [json.dumps(v, ensure_ascii=False) for v in records]
    own = random.Random(f"{o['name']}{lines}")  # cases that a seed once named stay what they were
    dialect = {name: own.choice(values) for name, values in _OF_ROWS if own.random() < 0.03}
    if dialect:
        o["dialect"] = dialect
    end = own.choice(["\n", "\n", "\n", "\r\n", "\r"])
    last = r.choice(["", "\n"])
    files[f"{o['name']}.{ending}"] = end.join([*lines, *([""] if last else [])]).encode()
    o["path"] = f"{o['name']}.{ending}"


_OF_ROWS = [
    *((n, v) for n, v in DIALECT if n.startswith(("header", "comment")) or n == "skipBlankRows"),
    ("json", [{"keys": ["f0"]}, {"keys": ["f1", "f0"]}, {"keyed": True}]),
]


def _inline(r: random.Random, o: dict[str, Any], labels: Any, rows: Any, files: Any) -> None:
    o["data"] = _records(r, _labels(r, labels), rows, r.random() < 0.5)


def _xlsx(r: random.Random, o: dict[str, Any], labels: Any, rows: Any, files: Any) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    for row in [_labels(r, labels), *[[_value(r, c) for c in row] for row in rows]]:
        book.active.append([json.dumps(c) if isinstance(c, list | dict) else c for c in row])
    made = io.BytesIO()
    book.save(made)
    files[f"{o['name']}.xlsx"] = made.getvalue()
    o["path"] = f"{o['name']}.xlsx"
    if r.random() < 0.2:
        o["dialect"] = {"excel": r.choice([{"sheet": 1}, {"sheet": "Sheet"}, {"sheet": "zz"}])}


_WRITERS = {
    "csv": _csv,
    "tsv": _tsv,
    "json": _json,
    "jsonl": _jsonl,
    "ndjson": _jsonl,
    "inline": _inline,
    "xlsx": _xlsx,
    "multipart": _multipart,
}
