"""Distributions of a graph as resources with files, where they name files of the package."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

import rdflib
from rdflib.namespace import DCTERMS

from yaosu_schemas.paths import is_remote, path_problem

from .dcat_policy import ordered
from .rdf import PREFIXES

DCAT = rdflib.Namespace(PREFIXES["dcat"])
_CNT, _SPDX = rdflib.Namespace(PREFIXES["cnt"]), rdflib.Namespace(PREFIXES["spdx"])
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


def resource(graph: rdflib.Graph, one: Any) -> dict[str, Any] | None:
    """Return a distribution as a resource; None where its files lie elsewhere."""
    parts = [p for p in ordered(graph.objects(one, DCTERMS.hasPart)) if _path(graph, p)]
    path = _path(graph, one)
    if not parts and not path:
        return None
    name = unquote(str(one).rpartition("#")[2])
    name = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-.") or "resource"
    found: dict[str, Any] = {"name": name}
    for ours, theirs in (("title", DCTERMS.title), ("description", DCTERMS.description)):
        said = graph.value(one, theirs)
        if said is not None and str(said) != name:
            found[ours] = str(said)
    if path:
        found |= {"path": path, **_hashed(facts(graph, one))}
    else:
        found["path"] = [_path(graph, p) for p in parts]
        told = [{"path": _path(graph, p), **_hashed(facts(graph, p))} for p in parts]
        if any(len(t) > 1 for t in told):
            found["parts"] = told
    first = path or found["path"][0]
    if "." in first:
        found["format"] = first.rsplit(".", 1)[-1].lower()
    if kind := media(graph, one):
        found["mediatype"] = kind
    encoding = graph.value(one, _CNT.characterEncoding)
    if encoding is not None:
        found["encoding"] = str(encoding)
    return found


def _path(graph: rdflib.Graph, one: Any) -> str:
    said = str(graph.value(one, _SPDX.fileName) or "")
    return said if said and not is_remote(said) and path_problem(said) is None else ""


def facts(graph: rdflib.Graph, one: Any) -> dict[str, Any]:
    """Return size and SHA-256 of a file, where they are told."""
    found: dict[str, Any] = {}
    size = str(graph.value(one, DCAT.byteSize)).split(".")[0]  # a zero is no truth to rdflib
    if size.isascii() and size.isdigit() and len(size) < 19:
        found["bytes"] = int(size)
    for mark in graph.objects(one, _SPDX.checksum):
        value = str(graph.value(mark, _SPDX.checksumValue) or "")
        if _SHA256.fullmatch(value):
            found["sha256"] = value.lower()
    return found


def _hashed(told: dict[str, Any]) -> dict[str, Any]:
    sha256 = told.pop("sha256", None)
    return {**told, "hash": f"sha256:{sha256}"} if sha256 else told


def media(graph: rdflib.Graph, one: Any) -> str:
    """Return a media type of the IANA."""
    said = str(graph.value(one, DCAT.mediaType) or "")
    return said.rpartition("/media-types/")[2] if "/media-types/" in said else ""
