"""Triples and their three usual spellings: Turtle, RDF/XML, JSON-LD, written as a stream.

Only IRIs and literals: what would be a blank node gets an IRI of its own (RDF 1.1 §3.5), so
that a document can be written one subject at a time and read in any order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from urllib.parse import quote
from xml.sax.saxutils import escape, quoteattr

PREFIXES: Mapping[str, str] = {
    "adms": "http://www.w3.org/ns/adms#",
    "cnt": "http://www.w3.org/2011/content#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "dcat": "http://www.w3.org/ns/dcat#",
    "dct": "http://purl.org/dc/terms/",
    "foaf": "http://xmlns.com/foaf/0.1/",
    "hydra": "http://www.w3.org/ns/hydra/core#",
    "odrl": "http://www.w3.org/ns/odrl/2/",
    "owl": "http://www.w3.org/2002/07/owl#",
    "prov": "http://www.w3.org/ns/prov#",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "rdfs": "http://www.w3.org/2000/01/rdf-schema#",
    "skos": "http://www.w3.org/2004/02/skos/core#",
    "spdx": "http://spdx.org/rdf/terms#",
    "vcard": "http://www.w3.org/2006/vcard/ns#",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
}
TYPE = "rdf:type"
MEDIA = {
    "ttl": "text/turtle; charset=utf-8",
    "rdf": "application/rdf+xml",
    "jsonld": "application/ld+json",
}


@dataclass(frozen=True, slots=True)
class Iri:
    """A node: a whole IRI, or one of ours with a prefix (`dct:title`)."""

    text: str

    @property
    def whole(self) -> str:
        return expand(self.text)


@dataclass(frozen=True, slots=True)
class Literal:
    """A text with a language, or a value with a datatype (`xsd:date`)."""

    text: str
    lang: str = ""
    datatype: str = ""


Node = Iri | Literal
Triple = tuple[str, str, Node]
"""Subject (a whole IRI), predicate (with a prefix), object."""


def expand(name: str) -> str:
    prefix, colon, rest = name.partition(":")
    base = PREFIXES.get(prefix) if colon and not rest.startswith("//") else None
    return base + rest if base else name


def safe(iri: str) -> str:
    """Return an IRI without the characters that none may hold (RFC 3987)."""
    return _NOT_IRI.sub(lambda m: quote(m.group()), iri)


_NOT_IRI = re.compile(r"[\x00-\x20<>\"{}|\\^`]")
_NOT_TURTLE = re.compile(r"[\x7f\ud800-\udfff]")
_quoted = json.JSONEncoder(ensure_ascii=False).encode


@lru_cache(8192)
def _whole(name: str) -> str:
    """Return the whole, safe IRI of a node: most are types and codes that come again and again."""
    return safe(expand(name))


def write(triples: Iterable[Triple], spelling: str) -> Iterator[str]:
    """Yield a document piece by piece; triples of one subject stand together."""
    return {"ttl": _turtle, "rdf": _xml, "jsonld": _json}[spelling](triples)


def _subjects(triples: Iterable[Triple]) -> Iterator[tuple[str, list[tuple[str, Node]]]]:
    for subject, group in groupby(triples, key=lambda t: t[0]):
        yield subject, list(dict.fromkeys((p, o) for _, p, o in group))


# --- Turtle ------------------------------------------------------------------------------------


def _turtle(triples: Iterable[Triple]) -> Iterator[str]:
    yield "".join(f"@prefix {p}: <{iri}> .\n" for p, iri in PREFIXES.items())
    for subject, pairs in _subjects(triples):
        lines = [f"  {'a' if p == TYPE else p} {_turtle_node(o)}" for p, o in pairs]
        yield f"\n<{safe(subject)}>\n" + " ;\n".join(lines) + " .\n"


def _turtle_node(node: Node) -> str:
    if isinstance(node, Iri):
        return f"<{_whole(node.text)}>"
    text = _quoted(node.text)  # its escapes are Turtle's, too
    text = _NOT_TURTLE.sub(lambda m: f"\\u{ord(m.group()):04X}", text)
    if node.lang:
        return f"{text}@{node.lang}"
    return f"{text}^^<{expand(node.datatype)}>" if node.datatype else text


# --- RDF/XML -----------------------------------------------------------------------------------

_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def _xml(triples: Iterable[Triple]) -> Iterator[str]:
    spaces = "".join(f' xmlns:{p}="{iri}"' for p, iri in PREFIXES.items())
    yield f'<?xml version="1.0" encoding="UTF-8"?>\n<rdf:RDF{spaces}>\n'
    for subject, pairs in _subjects(triples):
        yield f"<rdf:Description rdf:about={quoteattr(safe(subject))}>\n"
        yield "".join(_xml_pair(p, o) for p, o in pairs)
        yield "</rdf:Description>\n"
    yield "</rdf:RDF>\n"


def _xml_pair(predicate: str, node: Node) -> str:
    if isinstance(node, Iri):
        return f"  <{predicate} rdf:resource={quoteattr(_whole(node.text))}/>\n"
    mark = f' xml:lang="{node.lang}"' if node.lang else ""
    if node.datatype:
        mark = f' rdf:datatype="{expand(node.datatype)}"'
    text = escape(_NOT_XML.sub("\ufffd", node.text)).replace("\r", "&#13;")
    return f"  <{predicate}{mark}>{text}</{predicate}>\n"


# --- JSON-LD -----------------------------------------------------------------------------------


def _json(triples: Iterable[Triple]) -> Iterator[str]:
    context = json.dumps(dict(PREFIXES))
    yield f'{{"@context": {context}, "@graph": ['
    first = True
    for subject, pairs in _subjects(triples):
        node: dict[str, object] = {"@id": safe(subject)}
        for predicate, value in pairs:
            if predicate == TYPE and isinstance(value, Iri):
                node.setdefault("@type", []).append(value.text)  # type: ignore[attr-defined]
            else:
                node.setdefault(predicate, []).append(_json_node(value))  # type: ignore[attr-defined]
        yield ("" if first else ",") + "\n" + json.dumps(node, ensure_ascii=False)
        first = False
    yield "\n]}\n"


def _json_node(node: Node) -> dict[str, str]:
    if isinstance(node, Iri):
        return {"@id": _whole(node.text)}
    if node.lang:
        return {"@value": node.text, "@language": node.lang}
    return {"@value": node.text, "@type": node.datatype} if node.datatype else {"@value": node.text}
