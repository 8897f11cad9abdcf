"""A Data Package as the README card of a dataset on a model hub, and a card as a Data Package.

The card is Markdown under YAML front matter, as Hugging Face and ModelScope read it: licence,
languages, tasks, sizes, the configs with the files of their splits, and the features of columns.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import yaml

from yaosu_schemas import licences
from yaosu_schemas.documents import PROFILE
from yaosu_schemas.errors import Malformed, Problem
from yaosu_schemas.texts import clip

from . import card_features, card_files, local
from .published import Mapped

Dialect = Literal["huggingface", "modelscope"]
FIELDS = (
    Mapped("name", "the name of the folder"),
    Mapped("title", "`pretty_name`"),
    Mapped("description", "the text below the front matter"),
    Mapped("version", "`version`"),
    Mapped("homepage", "`homepage`"),
    Mapped("keywords", "`tags`"),
    Mapped("dataElement.license_spdx", "`license`, or `other` with `license_name`",
           "in ModelScope's spelling where it has one"),
    Mapped("licenses", "`license`, `license_link`",
           "name of the first; its path where the licence is on no list", "changed"),
    Mapped("sources[].title", "`source_datasets`", "titles only", "changed"),
    Mapped("dataElement.languages", "`language`, `language_bcp47`"),
    Mapped("dataElement.ai.tasks", "`task_categories`"),
    Mapped("dataElement.ai.annotation", "`annotations_creators`",
           "by experts, by others, by machine", "changed"),
    Mapped("dataElement.ai.splits", "`dataset_info.splits[].num_examples`",
           "where there is one config that has them", "changed"),
    Mapped("dataElement.offer.trial.resource", "a config of its own", "nothing calls it so",
           "changed"),
    Mapped("dataElement.size.records", "`size_categories`",
           "a range, where no split has a number", "changed"),
    Mapped("resources[].config, split", "`configs[].config_name`, `data_files[].split`"),
    Mapped("resources[].path", "`configs[].data_files[].path`",
           "those of one format; all other files come back one each", "changed"),
    Mapped("resources[].name, title, description", "", "named by config and split", "changed"),
    Mapped("resources[].format", "the ending of the file", "of those that are named", "changed"),
    Mapped("resources[].schema.fields", "`dataset_info.features`",
           "name and type; none where dates stand as text", "changed"),
    Mapped("resources[].schema.fields[].constraints, title", "", "", "lost"),
    Mapped("resources[].*", "", "", "lost"),
    Mapped("$schema", "", "always that of the market", "changed"),
    Mapped("*", "", "all that is not named here", "lost"),
)  # fmt: skip
SIZES = "card:size_categories"
"""Ranges that a card tells where it tells no numbers."""
OWN = frozenset(("README.md", "dataset_infos.json", "datapackage.json"))
_MEMBERS = (
    "pretty_name version homepage tags license license_name license_link license_details language"
    " language_bcp47 languages source_datasets task_categories annotations_creators size_categories"
    " configs dataset_info"
)
KNOWN = frozenset(_MEMBERS.split())
# Licences as the hub spells them, where that is not the SPDX id in small letters.
_HUB = {"odc-by": "ODC-By-1.0", "odbl": "ODbL-1.0", "pddl": "PDDL-1.0", "gpl-3.0": "GPL-3.0-only",
        "gpl-2.0": "GPL-2.0-only", "agpl-3.0": "AGPL-3.0-only", "lgpl-3.0": "LGPL-3.0-only",
        "lgpl-2.1": "LGPL-2.1-only", "bsd": "BSD-2-Clause"}  # fmt: skip
_SMALL = (
    "apache-2.0 mit afl-3.0 artistic-2.0 bsl-1.0 bsd-2-clause bsd-3-clause bsd-3-clause-clear"
    " cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0"
    " cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0"
    " cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0 cdla-permissive-2.0"
    " wtfpl ecl-2.0 epl-1.0 epl-2.0 eupl-1.1 eupl-1.2 isc lppl-1.3c ms-pl mpl-2.0 osl-3.0"
    " postgresql ofl-1.1 ncsa unlicense zlib"
)
_LISTED = frozenset(_SMALL.split())
_MODELSCOPE = {"Apache-2.0": "Apache License 2.0", "MIT": "MIT License",
               "GPL-2.0-only": "GPL-2.0", "GPL-3.0-only": "GPL-3.0",
               "AGPL-3.0-only": "AGPL-3.0", "LGPL-3.0-only": "LGPL-3.0"}  # fmt: skip
_SECTIONS = ("text", "image", "audio", "video", "multi-modal", "robotics", "tabular")
_SIZES = (10**3, 10**4, 10**5, 10**6, 10**7, 10**8, 10**9, 10**10, 10**11, 10**12)
_CREATORS = {"expert-generated": {"method": "manual", "annotator": "expert"},
             "crowdsourced": {"method": "manual", "annotator": "general"},
             "machine-generated": {"method": "automatic", "annotator": "other"}}  # fmt: skip


# --- the document ------------------------------------------------------------------------------


def read(text: str) -> tuple[dict[str, Any], str] | None:
    """Return front matter and text of a card; None where it has none; Malformed if it is broken."""
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    if lines[0].rstrip() != "---":
        return None
    try:
        end = next(n for n, line in enumerate(lines) if n and line.rstrip() == "---")
    except StopIteration:
        raise Malformed("the front matter has no end", "YAML 头部没有结束标记") from None
    front = local.parse_yaml("\n".join(lines[1:end]))
    if front is None:
        front = {}
    if not isinstance(front, dict):
        raise Malformed("the front matter is not a mapping", "YAML 头部不是映射")
    return {str(key): value for key, value in front.items()}, "\n".join(lines[end + 1 :]).strip()


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def write(front: Mapping[str, Any], body: str) -> str:
    """Return a card as text."""
    said = yaml.dump(dict(front), Dumper=_Plain, allow_unicode=True, sort_keys=False, width=100)
    return f"---\n{said}---\n" + (f"\n{body}\n" if body else "")


# --- ours to theirs ----------------------------------------------------------------------------


def front_matter(
    package: Mapping[str, Any], dialect: Dialect = "huggingface", only: Iterable[str] | None = None
) -> dict[str, Any]:
    """Return the front matter of a descriptor; `only` names the files that are there."""
    element = _mapping(package.get("dataElement"))
    ai = _mapping(element.get("ai"))
    tags = _texts(element.get("languages"))
    plain = list(dict.fromkeys(tag.split("-")[0] for tag in tags))
    found: dict[str, Any] = {
        **_licence(package, dialect),
        "language": plain,
        "language_bcp47": tags if tags != plain else [],
        "pretty_name": package.get("title"),
        "version": package.get("version"),
        "homepage": package.get("homepage"),
        "tags": _texts(package.get("keywords")),
        "task_categories": _texts(ai.get("tasks")),
        "annotations_creators": _creators(ai.get("annotation")),
        "source_datasets": [
            s["title"] for s in _mappings(package.get("sources")) if isinstance(s.get("title"), str)
        ],
        "size_categories": _sizes(element) or _texts(package.get(SIZES)),
        **_layout(package, ai, only),
    }
    if dialect == "modelscope" and found["task_categories"]:
        section = next((m for m in _texts(ai.get("modalities")) if m in _SECTIONS), "text")
        found[section] = {task: {"language": plain} for task in found["task_categories"]}
    return {key: value for key, value in found.items() if value not in (None, "", [], {})}


def body(package: Mapping[str, Any]) -> str:
    """Return the text of the card of a descriptor."""
    text = package.get("description")
    return text.strip() if isinstance(text, str) else ""


def _licence(package: Mapping[str, Any], dialect: Dialect) -> dict[str, Any]:
    element = _mapping(package.get("dataElement"))
    first = next(iter(_mappings(package.get("licenses"))), {})
    spdx = element.get("license_spdx") or first.get("name")
    if not isinstance(spdx, str):
        return {}
    if dialect == "modelscope" and spdx in _MODELSCOPE:
        return {"license": _MODELSCOPE[spdx]}
    theirs = next((hub for hub, ours in _HUB.items() if ours == spdx), spdx.lower())
    if theirs in _LISTED or theirs in _HUB:
        return {"license": theirs}
    return {"license": "other", "license_name": spdx, "license_link": first.get("path")}


def _creators(annotation: object) -> list[str]:
    said = _mapping(annotation)
    if said.get("method") == "manual":
        return ["expert-generated" if said.get("annotator") == "expert" else "crowdsourced"]
    return {"automatic": ["machine-generated"],
            "semi_automatic": ["crowdsourced", "machine-generated"]}.get(
        str(said.get("method")), [])  # fmt: skip


def _sizes(element: Mapping[str, Any]) -> list[str]:
    records = _mapping(element.get("size")).get("records")
    if not isinstance(records, int) or isinstance(records, bool) or records < 0:
        return []
    if records < _SIZES[0]:
        return ["n<1K"]
    if records >= _SIZES[-1]:
        return ["n>1T"]
    at = next(n for n, limit in enumerate(_SIZES) if records < limit)
    return [f"{_short(_SIZES[at - 1])}<n<{_short(_SIZES[at])}"]


def _short(number: int) -> str:
    for unit, name in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K")):
        if number >= unit:
            return f"{number // unit}{name}"
    return str(number)


def _layout(
    package: Mapping[str, Any], ai: Mapping[str, Any], only: Iterable[str] | None
) -> dict[str, Any]:
    """Return `configs` and `dataset_info` of the data files that are there."""
    there = None if only is None else set(only)
    placed: dict[tuple[str, str], Any] = {}
    schemas: dict[str, Any] = {}
    for resource, config, split in placing(package):
        path = resource["path"]
        if there is not None and not there.issuperset([path] if isinstance(path, str) else path):
            continue
        placed[config, split] = path
        found = card_features.features(resource.get("schema"))
        schemas[config] = found if schemas.setdefault(config, found) == found else None
    configs = card_files.as_configs([(c, s, path) for (c, s), path in placed.items()])
    numbers = {
        str(s["name"]): s["records"]
        for s in _mappings(ai.get("splits"))
        if "name" in s and isinstance(s.get("records"), int)
    }
    infos: list[dict[str, Any]] = []
    for name in schemas:
        info: dict[str, Any] = {"config_name": name} if len(schemas) > 1 else {}
        if schemas[name]:
            info["features"] = schemas[name]
        told = [split for config, split in placed if config == name]
        whole = name == card_files.DEFAULT or len(schemas) == 1
        if whole and told and set(told) == set(numbers):
            info["splits"] = [{"name": s, "num_examples": numbers[s]} for s in numbers]
        if set(info) - {"config_name"}:
            infos.append(info)
    return {"configs": configs, "dataset_info": infos[0] if len(schemas) == 1 and infos else infos}


def placing(package: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], str, str]]:
    """Yield (resource, config, split) of every data file, each pair once.

    What says no split is a config by itself; the sample that anyone may see never stands among
    the splits that are sold. The library reads a folder in one way only: files of a format other
    than that of the first split lie beside and are named by no config.
    """
    element = _mapping(package.get("dataElement"))
    trial = _mapping(_mapping(element.get("offer")).get("trial")).get("resource")
    listed = {str(s.get("name")) for s in _mappings(_mapping(element.get("ai")).get("splits"))}
    every = [r for r in _mappings(package.get("resources")) if _is_data(r)]
    chosen = next((r for r in every if r.get("split") or r.get("name") in listed), None)
    readers = [_reader(r) for r in ([chosen] if chosen else []) + every]
    data = [r for r in every if _reader(r) == readers[0]]
    taken: set[tuple[str, str]] = set()
    for resource in data:
        name = str(resource.get("name") or "data")
        said = resource.get("split")
        split = said if isinstance(said, str) and said else name if name in listed else ""
        if not split and name != trial:
            told = card_files.split_of(_first(resource["path"]))
            split = told if told in ("train", "validation", "test") else ""
        config = resource.get("config")
        if not isinstance(config, str) or not config:
            alone = len(data) == 1 and name != trial
            config = card_files.DEFAULT if alone or (split and name != trial) else name
        split = re.sub(r"\W+", "_", split or "train").strip("_") or "train"
        config = re.sub(r"[<>:/\\|?*\s]+", "-", config)
        number, plain = 1, config
        while (config, split) in taken:
            number += 1
            config = f"{plain if plain != card_files.DEFAULT else name}-{number}"
        taken.add((config, split))
        yield dict(resource), config, split


def _is_data(resource: Mapping[str, Any]) -> bool:
    path = resource.get("path")
    listed = isinstance(path, list) and path and all(isinstance(p, str) for p in path)
    return bool(isinstance(path, str) or listed) and bool(card_files.format_of(_first(path)))


def _reader(resource: Mapping[str, Any]) -> str:
    kind = card_files.format_of(_first(resource["path"]))
    return "json" if kind == "jsonl" else kind


def _first(path: Any) -> str:
    return str(path[0] if isinstance(path, list) else path)


# --- theirs to ours ----------------------------------------------------------------------------


def descriptor(
    front: Mapping[str, Any], text: str, name: str, files: Sequence[str],
    infos: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Any], list[Problem]]:  # fmt: skip
    """Return the descriptor of a card over the files beside it, and what it does not carry over.

    `infos` is a `dataset_infos.json`: by config; what the card says goes before it.
    """
    old = [{"config_name": n, **i} for n, i in (infos or {}).items() if isinstance(i, Mapping)]
    said = {**{k: o[k] for o in old[:1] for k in ("homepage", "version", "license")
               if isinstance(o.get(k), str) and o[k]}, **front}  # fmt: skip
    notes: list[Problem] = []
    package: dict[str, Any] = {"$schema": PROFILE, "name": name}
    for ours, theirs in (
        ("title", "pretty_name"),
        ("version", "version"),
        ("homepage", "homepage"),
    ):
        if isinstance(said.get(theirs), str | int | float) and not isinstance(said[theirs], bool):
            package[ours] = str(said[theirs])
    package.setdefault("title", name)
    text = text or next((str(o["description"]) for o in old if o.get("description")), "")
    if text:
        package["description"] = text.strip()
    if words := _texts(said.get("tags")):
        package["keywords"] = list(dict.fromkeys(words))
    titles = [s for s in _texts(said.get("source_datasets")) if s != "original"]
    if titles:
        package["sources"] = [{"title": title} for title in titles]
    listed = _mappings(said.get("dataset_info")) or old
    package["resources"] = list(_resources(said.get("configs"), listed, files, notes))
    element = _element(said, listed, package)
    if (spdx := _spdx(said)) is not None:
        package["licenses"] = [_without_none({"name": spdx, "path": said.get("license_link")})]
        element["license_spdx"] = spdx
    if element:
        package["dataElement"] = element
    if "size" not in element and (ranges := _texts(said.get("size_categories"))):
        package[SIZES] = ranges
    notes += [
        _note(
            f"/{clip(key, 100)}", f"{clip(key)!r} is not carried over", f"字段“{clip(key)}”未导入"
        )
        for key in sorted(set(front) - KNOWN - set(_SECTIONS))
    ]
    return package, notes


def _element(
    said: Mapping[str, Any], infos: list[dict[str, Any]], package: Mapping[str, Any]
) -> dict[str, Any]:
    element: dict[str, Any] = {}
    ai: dict[str, Any] = {}
    sections = [(s, v) for s in _SECTIONS for v in [said.get(s)] if isinstance(v, Mapping)]
    tongues = (
        _texts(said.get("language_bcp47"))
        or _texts(said.get("language"))
        or [t for _, s in sections for v in s.values()
            for t in _texts(_mapping(v).get("language")) + _texts(_mapping(v).get("languages"))]
    )  # fmt: skip
    if tongues:
        element["languages"] = list(dict.fromkeys(tongues))
    tasks = _texts(said.get("task_categories")) or [
        str(task).replace("_", "-") for _, section in sections for task in section
    ]
    if tasks:
        ai["tasks"] = list(dict.fromkeys(tasks))
    creators = _texts(said.get("annotations_creators"))
    if {"crowdsourced", "machine-generated"} <= set(creators):
        ai["annotation"] = {"method": "semi_automatic", "annotator": "general"}
    else:
        known = [_CREATORS[c] for c in creators if c in _CREATORS]
        if known:
            ai["annotation"] = dict(known[0])
    splits = _splits(infos, package)
    if splits:
        ai["splits"] = splits
        element["size"] = {"records": sum(s["records"] for s in splits)}
    if ai:
        element["ai"] = ai
    return element


def _splits(infos: list[dict[str, Any]], package: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the splits of the one config that has numbers."""
    told = [_splits_of(i) for i in infos]
    numbered = [splits for splits in told if splits]
    return numbered[0] if len(numbered) == 1 else []


def _splits_of(info: Mapping[str, Any]) -> list[dict[str, Any]]:
    said = info.get("splits")
    listed = list(said.values()) if isinstance(said, Mapping) else said
    return [
        {"name": str(s["name"]), "records": s["num_examples"]}
        for s in _mappings(listed)
        if s.get("name") and type(s.get("num_examples")) is int and s["num_examples"] >= 0
    ]


def _resources(
    configs: object, infos: list[dict[str, Any]], files: Sequence[str], notes: list[Problem]
) -> Iterator[dict[str, Any]]:
    """Yield a resource for every split of every config, then one for each file that is left."""
    schemas = {
        str(i.get("config_name") or card_files.DEFAULT): card_features.fields(i.get("features"))
        for i in infos
    }
    # Features that name no config are those of all.
    lone = next(iter(schemas.values())) if len(infos) == 1 and "config_name" not in infos[0] else []
    used: set[str] = set()
    named: set[str] = set()
    for part in card_files.parts(configs, files):
        for pattern in part.empty:
            notes.append(_note("/configs", f"no file fits {pattern!r}", f"没有文件匹配“{pattern}”",
                               code="missing_file"))  # fmt: skip
        if not part.paths:
            continue
        name = part.split if part.config == card_files.DEFAULT else f"{part.config}-{part.split}"
        found: dict[str, Any] = {
            "name": _unique(re.sub(r"[/\s]+", "-", name)[:150], used),
            "path": part.paths[0] if len(part.paths) == 1 else list(part.paths),
            "split": part.split,
        }
        if part.config != card_files.DEFAULT:
            found["config"] = part.config
        if kind := card_files.format_of(part.paths[0]):
            found["format"] = kind
        if fields := schemas.get(part.config, lone):
            found["schema"] = {"fields": fields}
        named.update(part.paths)
        yield found
    for path in files:
        if path not in named and path not in OWN:
            plain = re.sub(r"[^\w.-]+", "-", path)[:150].strip("-.") or "file"
            kind = card_files.format_of(path)
            yield {"name": _unique(plain, used), "path": path, **({"format": kind} if kind else {})}


def _unique(name: str, used: set[str]) -> str:
    number, plain = 1, name
    while name.casefold() in used:
        number += 1
        name = f"{plain}-{number}"
    used.add(name.casefold())
    return name


def _spdx(said: Mapping[str, Any]) -> str | None:
    """Return the SPDX id of a card; LicenseRef- for a name on no list; None where none is said."""
    name = next(iter(_texts(said.get("license"))), "")
    if name.lower() == "other":
        name = next(iter(_texts(said.get("license_name"))), "other")
    elif name.lower() in ("", "unknown"):
        return None
    spoken = {theirs.lower(): ours for ours, theirs in _MODELSCOPE.items()}
    if ours := _HUB.get(name.lower()) or spoken.get(name.lower()):
        return ours
    if licences.known(name):
        return licences.canonical(name)
    found = licences.from_open_definition(name)
    return found or f"LicenseRef-{re.sub(r'[^A-Za-z0-9.-]+', '-', name).strip('-') or 'other'}"


def _note(pointer: str, en: str, zh: str, code: str = "not_mapped") -> Problem:
    return Problem(pointer=pointer, code=code, en=en, zh=zh, severity="warning")


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _mappings(value: object) -> list[dict[str, Any]]:
    listed = value if isinstance(value, list | tuple) else [value]
    return [dict(item) for item in listed if isinstance(item, Mapping)]


def _texts(value: object) -> list[str]:
    """Return the texts of a list or of one; YAML reads the Norwegian `no` as false."""
    listed = value if isinstance(value, list | tuple) else [value]
    plain = ["no" if item is False else item for item in listed]
    return [s.strip() for s in plain if isinstance(s, str) and s.strip()]


def _without_none(said: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in said.items() if isinstance(value, str) and value}
