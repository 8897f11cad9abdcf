"""Whole cases of validation: files of others with one thing changed."""

from __future__ import annotations

import json
import random
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TYPES = (
    *("string", "integer", "number", "boolean", "date", "datetime", "time", "year", "yearmonth"),
    *("any", "array", "object", "duration", "geopoint", "geojson", "list"),
)
FORMATS: dict[str, list[str]] = {
    "string": ["default", "uri", "email", "uuid", "binary", "wkt"],
    "date": ["default", "any", "%d/%m/%Y", "%Y%m%d"],
    "datetime": ["default", "any", "%Y-%m-%d %H:%M", "%d/%m/%y %H:%M:%S"],
    "time": ["default", "any", "%H:%M"],
    "geopoint": ["default", "array", "object"],
    "geojson": ["default", "topojson"],
}
CELLS: dict[str, list[str]] = {
    "string": [
        *("a", "abc", "中文", "", "x,y", 'say "hi"', "-", "n/a", " pad ", "é", "a\nb", "A1-22"),
        *("user@example.com", "http://example.com/a", "95ecc380-afe9-11e4-9b6c-751b66dd541e"),
        *("YWJj", "POINT (1 2)", "#c"),
    ],
    "integer": ["1", "2", "3", "-5", "007", "1,000", "$5", "50%", "1.0", "x", "", "1 000", "+7"],
    "number": ["1", "1.5", "-2.5", "1e3", "NaN", "INF", "1,000.5", "1.000,5", "€7", "x", "", "3%"],
    "boolean": ["true", "false", "True", "TRUE", "1", "0", "yes", "no", "", "t", "Y"],
    "date": ["2020-01-01", "01/02/2020", "20200101", "2020-02-30", "2020-1-5", "", "Jan 5 2020"],
    "datetime": ["2020-01-01T10:00:00", "2020-01-01T10:00:00Z", "2020-01-01 10:00", "", "x", "now"],
    "time": ["10:00:00", "10:00", "25:00:00", "", "10:00:00Z", "noon", "3pm"],
    "year": ["2020", "20", "02020", "-0044", "", "x", "10000"],
    "yearmonth": ["2020-01", "2020-13", "2020", "", "2020-1"],
    "any": ["a", "1", "", "2020-01-01"],
    "array": ["[1,2]", "[]", "{}", "x", "", '["a"]'],
    "object": ['{"a":1}', "{}", "[1]", "x", ""],
    "duration": ["P1D", "PT5M", "P1Y2M", "1 day", "", "P"],
    "geopoint": ["1,2", "200,1", "[1,2]", '{"lon":1,"lat":2}', "x", "", "1;2", "180,90", "[1]"],
    "geojson": [
        *('{"type":"Point","coordinates":[1,2]}', '{"type":"Topology"}', "{}", "x", ""),
        *('{"type":"Feature","geometry":null,"properties":{}}', '{"coordinates":[1]}'),
    ],
    "list": ["a,b", "1,2", "1;2", "", "2020-01-01,2020-01-02", "x"],
}
CONSTRAINTS: dict[str, list[Any]] = {
    "required": [True, False],
    "unique": [True],
    "minimum": [1, "1", 1.5, "2020-01-01", "09:00:00", 2000, "2020-01", "P1D"],
    "maximum": [3, "3", 2.5, "2020-01-01", "11:00:00", 2020, "2020-06"],
    "exclusiveMinimum": [0, 1, "1"],
    "exclusiveMaximum": [5, 3, "3"],
    "minLength": [0, 1, 2],
    "maxLength": [1, 3],
    "pattern": ["[a-z]+", r"\d{1,3}", ".*", "a|b", "^a$"],
    "enum": [["a", "abc"], [1, 2, 3], ["1", "2"], [True], ["2020-01-01"], [1.5, "1"], ["true"]],
}
BOUNDS: dict[str, list[Any]] = {
    "integer": [0, 2, "3"],
    "number": [1, "1.5", 2.5],
    "date": ["2020-01-01"],
    "datetime": ["2020-01-01T09:00:00"],
    "time": ["09:00:00", "11:00:00"],
    "year": [2000, "2020"],
    "yearmonth": ["2020-01"],
}
ENUMS: dict[str, list[Any]] = {
    "string": ["a", "abc", "中文"],
    "integer": [1, "2"],
    "number": [1, "1.5"],
    "boolean": ["true", False],
    "date": ["2020-01-01"],
    "year": [2020],
    "any": ["a", 1],
}
EXTRAS: dict[str, list[tuple[str, Any]]] = {
    "integer": [("bareNumber", False)],
    "number": [
        *(("bareNumber", False), ("groupChar", ","), ("decimalChar", ",")),
        *(("groupChar", "."), ("floatNumber", True)),
    ],
    "boolean": [("trueValues", ["yes", "Y"]), ("falseValues", ["no"]), ("trueValues", ["1", "t"])],
    "list": [
        *(("itemType", "integer"), ("delimiter", ";"), ("itemType", "date")),
        *(("itemType", "string"),),
    ],
    "array": [("arrayItem", {"type": "integer"}), ("arrayItem", {"type": "string"})],
}
V2 = "https://datapackage.org/profiles/2.0/"
DIALECT: list[tuple[str, list[Any]]] = [
    ("delimiter", [";", ",", "\t", "|", ""]),
    ("lineTerminator", ["\r\n", "\n"]),
    ("quoteChar", ["'", '"', "|", ""]),
    ("doubleQuote", [True, False]),
    ("escapeChar", ["\\", None]),
    ("nullSequence", [None]),
    ("skipInitialSpace", [True, False]),
    ("header", [True, False]),
    ("headerRows", [[1], [2], [1, 2], [], [1, 3]]),
    ("headerJoin", ["-", ""]),
    ("headerCase", [True, False]),
    ("commentChar", ["#", "a", "1"]),
    ("commentRows", [[1], [2], [3, 4], []]),
    ("skipBlankRows", [True, False]),
    ("caseSensitiveHeader", [True]),
    ("csvddfVersion", [1.2]),
]
ODD: list[Any] = [None, "", "x", 0, 1, -1, 1.5, True, False, [], [1], ["a"], {}, {"a": 1}]


@dataclass
class Case:
    """Files by path, and which of them is judged as what kind."""

    files: dict[str, bytes]
    target: str
    kind: str | None = None
    story: list[str] = field(default_factory=list)

    def mappings(self) -> list[dict[str, Any]]:
        """Return every object in what is judged, where that is a descriptor."""
        return _mappings(_parse(self.target, self.files[self.target]))

    def write(self, folder: Path) -> None:
        for name, data in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)


# --- files of others, changed -------------------------------------------------------------------


def recorded(testdata: Path, name: str, kind: str | None) -> Case:
    """Return a recorded case with every file that its descriptor names."""
    path = testdata / name
    files = {path.name: path.read_bytes()}
    if kind is not None:
        _gather(path.parent, _parse(path.name, files[path.name]), files)
    return Case(files, path.name, kind, [name])


def _gather(folder: Path, value: Any, files: dict[str, bytes]) -> None:
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            _gather(folder, item, files)
    elif isinstance(value, str) and 0 < len(value) < 200 and "://" not in value:
        name = value.removeprefix("./")
        if name in files or name.startswith(("/", "..")) or "\0" in name:
            return
        if (folder / name).is_file() and (folder / name).stat().st_size < 1 << 20:
            files[name] = (folder / name).read_bytes()
            if name.endswith((".json", ".yaml")):
                _gather(folder, _parse(name, files[name]), files)


def _parse(name: str, data: bytes) -> Any:
    import yaml

    try:
        return yaml.safe_load(data) if name.endswith((".yaml", ".yml")) else json.loads(data)
    except (ValueError, yaml.YAMLError):
        return None


def mutated(r: random.Random, case: Case) -> Case:
    """Return the case with one to three changes."""
    case = Case(dict(case.files), case.target, case.kind, list(case.story))
    for _ in range(r.choice([1, 1, 1, 2, 3])):
        name = case.target if r.random() < 0.5 else r.choice(sorted(case.files))
        value = _parse(name, case.files[name]) if name.endswith((".json", ".yaml")) else None
        if isinstance(value, dict):
            case.story.append(f"{name}: {_change_document(r, value)}")
            case.files[name] = dump(name, value)
        elif name.endswith((".csv", ".tsv", ".jsonl", ".ndjson", ".json")):
            story, case.files[name] = _change_text(r, case.files[name])
            case.story.append(f"{name}: {story}")
    return case


def dump(name: str, value: Any) -> bytes:
    import yaml

    if name.endswith(".yaml"):
        return yaml.safe_dump(value, allow_unicode=True, sort_keys=False).encode()
    return json.dumps(value, ensure_ascii=False, indent=1, default=str).encode()


def _change_document(r: random.Random, document: dict[str, Any]) -> str:
    fields = [f for f in _all(document, "fields") if isinstance(f, dict) and "name" in f]
    holders = [document, *_all(document, "resources")]
    resources = [h for h in holders if isinstance(h, dict) and ("path" in h or "data" in h)]
    schemas = [h for h in _mappings(document) if isinstance(h.get("fields"), list)]
    choice = r.random()
    if fields and choice < 0.4:
        return _change_field(r, r.choice(fields))
    if schemas and choice < 0.6:
        return _change_schema(r, r.choice(schemas))
    if resources and choice < 0.8:
        return _change_resource(r, r.choice(resources))
    holder = r.choice([h for h in _mappings(document) if h] or [document])
    if not holder:
        return "nothing"
    key = r.choice(sorted(holder, key=str))
    if r.random() < 0.5:
        del holder[key]
        return f"without {key}"
    holder[key] = deepcopy(r.choice(ODD))
    return f"{key} = {holder[key]!r}"


def _mappings(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        return [value, *(m for v in value.values() for m in _mappings(v))]
    return [m for v in value for m in _mappings(v)] if isinstance(value, list) else []


def _all(value: Any, key: str) -> list[Any]:
    found = [m[key] for m in _mappings(value) if isinstance(m.get(key), list)]
    return [item for items in found for item in items]


def _change_field(r: random.Random, f: dict[str, Any]) -> str:
    before = json.dumps(f, default=str)
    choice = r.random()
    if choice < 0.4:
        f["type"] = r.choice(TYPES)
        if f["type"] in FORMATS and r.random() < 0.5:
            f["format"] = r.choice(FORMATS[f["type"]])
    elif choice < 0.7:
        name = r.choice(sorted(CONSTRAINTS))
        if isinstance(f.setdefault("constraints", {}), dict):
            f["constraints"][name] = r.choice(CONSTRAINTS[name])
    elif choice < 0.8:
        f["missingValues"] = r.choice([["", "-"], ["a"], [], ["1"]])
    elif choice < 0.9:
        key, value = r.choice([e for es in EXTRAS.values() for e in es])
        f[key] = value
    elif choice < 0.95:
        f["name"] = r.choice(["", "x", str(f["name"]).upper(), str(f["name"]) + " ", 5])
    else:
        f.pop(r.choice(sorted(f)))
    return f"field {before} -> {json.dumps(f, default=str)}"


def _change_schema(r: random.Random, schema: dict[str, Any]) -> str:
    fields = schema["fields"]
    names = [str(f.get("name")) for f in fields if isinstance(f, dict)] or ["id"]
    choice = r.choice(["drop", "add", "twice", "swap", "pk", "fk", "fk", "missing", "match", "v2"])
    if choice == "drop" and fields:
        fields.pop(r.randrange(len(fields)))
    elif choice == "add":
        fields.insert(r.randint(0, len(fields)), {"name": "new", "type": r.choice(TYPES)})
    elif choice == "twice" and fields:
        fields.append(deepcopy(r.choice(fields)))
    elif choice == "swap":
        r.shuffle(fields)
    elif choice == "pk":
        schema["primaryKey"] = r.choice([names[0], names[:1], names[:2], ["zz"], [], ""])
    elif choice == "fk":
        key = {
            "fields": r.choice([names[0], names[-1:], names[:2]]),
            "reference": {
                "resource": r.choice(["", "", "zz", "country-3"]),
                "fields": r.choice([names[0], names[:1], names[:2], ["id"], ["zz"]]),
            },
        }
        schema["foreignKeys"] = [key]
    elif choice == "missing":
        schema["missingValues"] = r.choice([[""], ["-", ""], [], ["1"], "", [1]])
    elif choice == "match":
        schema["fieldsMatch"] = r.choice(["exact", "equal", "subset", "superset", "partial", "x"])
    else:
        schema["$schema"] = V2 + "tableschema.json"
    return f"schema {choice}: {json.dumps(schema, default=str)[-300:]}"


def _change_resource(r: random.Random, resource: dict[str, Any]) -> str:
    choice = r.random()
    if choice < 0.5:
        name, values = r.choice(DIALECT)
        dialect = resource.setdefault("dialect", {})
        if isinstance(dialect, dict):
            dialect[name] = r.choice(values)
        return f"dialect {dialect}"
    key, values = r.choice(
        [
            ("encoding", ["utf-8", "latin-1", "gb18030", "utf-16", "ascii", "zz", "cp1252"]),
            ("format", ["csv", "tsv", "json", "jsonl", "ndjson", "xlsx", "zz", "CSV"]),
            ("compression", ["gz", "zip", "no", "zz"]),
            ("hash", ["md5:0", "sha256:0", "0" * 32, "sha1:aa", "", "d" * 64]),
            ("bytes", [0, 10, -1, "10", 1.5]),
            ("rows", [0, 2, 3, 5]),
            ("fields", [1, 2, 3]),
            ("type", ["table", "file", "json", "text", "zz", "schema", "resource"]),
            ("name", ["a", "A b", "Ü", "", "a/b"]),
            ("profile", ["tabular-data-resource", "data-resource"]),
            ("$schema", [V2 + "dataresource.json"]),
            ("path", ["zz.csv", "table.csv", [], "../x.csv", "/x.csv", "http://x.test/a.csv"]),
            ("scheme", ["file", "http", "zz"]),
            ("mediatype", ["text/csv", "x"]),
            ("stats", [{"rows": 2}, {"bytes": 5}, {"hash": "aa"}, {"fields": 9}]),
            ("schema", [{"fields": []}, {}, "zz.json", {"fields": [{"name": "id"}]}]),
            ("data", [[], [["id"], [1]], [{"id": 1}, {"id": "x"}], "x", {}]),
        ]
    )
    resource[key] = deepcopy(r.choice(values))
    return f"{key} = {resource[key]!r}"


def _change_text(r: random.Random, data: bytes) -> tuple[str, bytes]:
    kind = r.choice(
        [
            *("delimiter", "drop cell", "add cell", "blank line", "truncate", "header", "encode"),
            *("no header", "twice", "cell", "cell", "quote", "terminator", "bom", "byte", "line"),
            *("cut lines", "spaces", "empty", "column"),
        ]
    )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    lines = text.split("\n")
    at = r.randrange(len(lines))
    cells = lines[at].split(",")
    place = r.randrange(len(cells))
    if kind == "delimiter":
        return kind, text.replace(",", r.choice([";", "\t", "|", ":", " ", ", "])).encode()
    if kind == "truncate":
        return kind, data[: r.randint(0, len(data))]
    if kind == "encode":
        encoding = r.choice(["utf-16", "latin-1", "gb18030", "cp1252", "utf-8-sig", "utf-16-le"])
        return f"{kind} {encoding}", text.encode(encoding, "replace")
    if kind == "terminator":
        return kind, text.replace("\n", r.choice(["\r\n", "\r"])).encode()
    if kind == "bom":
        return kind, b"\xef\xbb\xbf" + data
    if kind == "byte":
        cut = r.randint(0, len(data))
        return kind, data[:cut] + r.choice([b"\xff", b"\x00", b"\xe9", b'"', b"\r"]) + data[cut:]
    if kind == "empty":
        return kind, r.choice([b"", b"\n", b" ", b"\n\n", b",", b"\xef\xbb\xbf"])
    if kind == "column":
        column = r.randrange(len(lines[0].split(",")))
        lines = [",".join(c for i, c in enumerate(ln.split(",")) if i != column) for ln in lines]
    elif kind == "drop cell":
        lines[at] = ",".join(cells[:place] + cells[place + 1 :])
    elif kind == "add cell":
        cells.insert(place, r.choice(["", "new", "5"]))
        lines[at] = ",".join(cells)
    elif kind == "blank line":
        lines.insert(at, r.choice(["", ",", ",,", " ", "," * lines[0].count(","), "\r"]))
    elif kind == "header":
        labels = lines[0].split(",")
        labels[r.randrange(len(labels))] = r.choice(["", labels[0], "zz", labels[-1].upper(), " "])
        lines[0] = ",".join(labels)
    elif kind == "no header":
        lines = lines[1:]
    elif kind == "twice":
        lines.insert(at, lines[at])
    elif kind == "cell":
        cells[place] = r.choice([c for cs in CELLS.values() for c in cs])
        lines[at] = ",".join(cells)
    elif kind == "quote":
        cells[place] = r.choice(['"' + cells[place] + '"', '"' + cells[place], cells[place] + '"'])
        lines[at] = ",".join(cells)
    elif kind == "line":
        lines.insert(at, r.choice(["# comment", "just words", '"a""b"', "1,2,3,4,5,6,7,8", "'x'"]))
    elif kind == "cut lines":
        lines = lines[:at]
    elif kind == "spaces":
        lines = [line.replace(",", ", ") for line in lines]
    return kind, "\n".join(lines).encode("utf-8", "replace")
