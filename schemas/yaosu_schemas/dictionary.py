"""Writes the data dictionary and the list of sources from the schemas and code lists.

`python -m yaosu_schemas.dictionary` renews `docs/dictionary.md` and `schemas/SOURCES.md` of a
checkout; a test fails when they are stale.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from . import codes, conformance

SCHEMAS = ("dataset", "offer", "policy", "agreement", "event", "trading-record", "report")
_SHORT = 40

_HEAD = """# Data dictionary 数据字典

Generated from `schemas/yaosu_schemas/json` and `schemas/yaosu_schemas/codes` by
`python -m yaosu_schemas.dictionary`; edit those files, not this one.
由上述文件生成，请勿直接修改。

Card is how often a field stands: `1` needed, `0..1` optional, `1..n` and `0..n` lists, `C` needed
under the condition that its description names. Fields marked † are never shown in public.
A descriptor may lack anything while it is a draft; all that is needed is asked for at submission.
"""

_SOURCES_HEAD = """# Sources of the code lists and schemas

Facts (codes, names, figures, wire formats) come from the instruments named here; words, English
names and codes marked as ours are our own. Marks: **F** seen in a stored copy of the text or in a
third party's reading of it, **R** recalled and not verified, **D** our own design, **X** produced
by running a program over the named release. Where a later reading of an instrument disagrees, the
list is corrected and its version raised.

Not verified, and therefore never claimed: conformity with GB/T 36343-2018, GB/T 37728-2019 and
GB/T 40094.2-2021 (their element lists were not read); the check characters of TC609-6-2025-14
contract ids and NDI-TR-2025-06 identifiers (only their shape is judged); final texts of
GB/T 45652-2025, GB/T 45654-2025 and GB/T 45674-2025.

Other sources: check digits after GB 32100-2015, GB 11714-1997, GB 11643-1999 and ISO/IEC 7812-1;
the form of the national certificate number after 国数综政策〔2026〕35号 annex 6; canonical JSON
after RFC 8785; Data Package v1 and v2 field names after datapackage.org; report field names after
the report of frictionless-py. The JSON Schemas are in our own words. JSON-LD contexts (`contexts/`,
names and IRIs only): DCAT-AP 3.0.1 and that of its examples, SEMICeu/DCAT-AP, CC-BY-4.0.
"""


def dictionary() -> str:
    """Return `docs/dictionary.md`: every field of every schema, then every code list."""
    lines = [_HEAD]
    for name in SCHEMAS:
        schema = conformance.load(name)
        lines += [f"\n## {schema['title']} {schema['title_zh']} (`{name}`)\n"]
        lines += [f"{schema['description']}. {schema['description_zh']}。\n"]
        lines += ["| field | type | card | English | 中文 | meaning | 含义 | codes | source |"]
        lines += ["|---|---|---|---|---|---|---|---|---|"]
        lines += [_row(path, node) for path, node in fields(schema)]
    lines += ["\n## Code lists 代码表\n"]
    for name in codes.names():
        lines += _code_section(codes.code_list(name))
    return "\n".join(lines) + "\n"


def sources() -> str:
    """Return `schemas/SOURCES.md`: where each code list comes from."""
    lines = [_SOURCES_HEAD]
    lines += ["| list | 名称 | version | mark | open | entries | source |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for name in codes.names():
        found = codes.code_list(name)
        lines += [
            f"| `{name}` | {found.title.zh} | {found.version} | {found.mark} | "
            f"{'yes' if found.open else 'no'} | {len(found)} | {_cell(found.source)} |"
        ]
    return "\n".join(lines) + "\n"


def fields(schema: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every field of a schema with its path; references to other schemas are not followed."""
    for name, node in schema.get("properties", {}).items():
        path = f"{prefix}{name}"
        yield path, node
        if node.get("type") == "array" and "properties" in node.get("items", {}):
            yield from fields(node["items"], f"{path}[].")
        else:
            yield from fields(node, f"{path}.")
    for name, node in schema.get("$defs", {}).items():
        yield from fields(node, f"({name}) ")


def write(root: Path) -> None:
    """Write both documents into a checkout."""
    (root / "docs" / "dictionary.md").write_text(dictionary(), encoding="utf-8")
    (root / "schemas" / "SOURCES.md").write_text(sources(), encoding="utf-8")


def _row(path: str, node: Mapping[str, Any]) -> str:
    mark = "†" if node.get("x-private") else ""
    listed = node.get("x-codes") or node.get("items", {}).get("x-codes")
    shown = f"[`{listed}`](#{listed})" if listed else ""
    cells = [
        f"`{path}`{mark}",
        _type(node),
        node["x-card"],
        node["title"],
        node["title_zh"],
        node["description"],
        node["description_zh"],
        shown,
        node.get("x-source", ""),
    ]
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _type(node: Mapping[str, Any]) -> str:
    if "$ref" in node:
        return f"`{str(node['$ref']).split(':')[3].split('#')[0]}`"
    if node.get("type") == "array":
        return f"list of {_type(node.get('items', {})) or 'values'}"
    kind = node.get("type", "any")
    kind = " or ".join(kind) if isinstance(kind, list) else str(kind)
    return f"{kind} ({node['format']})" if "format" in node else kind


def _code_section(found: codes.CodeList) -> Iterator[str]:
    yield f"### {found.name}\n"
    yield f"{found.title.en} {found.title.zh}, version {found.version}, {len(found)} entries.\n"
    yield f"Source: {found.source}. Mark {found.mark}.\n"
    if len(found) > _SHORT and found.name != "industry":
        yield f"Too long to print: `schemas/yaosu_schemas/codes/{found.name}.csv`.\n"
        return
    yield "| code | English | 中文 |"
    yield "|---|---|---|"
    for entry in found:
        yield f"| `{entry.code}` | {_cell(entry.en)} | {_cell(entry.zh)} |"
    yield ""


def _cell(text: object) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    write(Path(__file__).resolve().parents[2])
