"""An ODRL policy as triples and back: rules, actions, constraints and duties, each with an IRI.

Two things RDF does not tell apart: a list of one and the one, and the order of plain values.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .rdf import PREFIXES, TYPE, Iri, Literal, Node, Triple

if TYPE_CHECKING:
    import rdflib

CONTEXT = "http://www.w3.org/ns/odrl.jsonld"
RULES = {"permission": "Permission", "prohibition": "Prohibition", "obligation": "Duty"}
_KINDS = {**RULES, "duty": "Duty", "consequence": "Duty", "remedy": "Duty",
          "constraint": "Constraint", "refinement": "Constraint"}  # fmt: skip
_NAMES = frozenset(("action", "leftOperand", "operator"))
_OF_THE_PAGE = frozenset(("@context", "@id", "@type", "uid", "target"))
"""What the page of the dataset says by itself."""
_SPACE = PREFIXES["odrl"]
_PLAIN: Mapping[str, Callable[[str], Any]] = {
    "integer": int,
    "decimal": float,
    "double": float,
    "boolean": lambda s: s == "true",
}
MAX_DEPTH = 12


# --- out ---------------------------------------------------------------------------------------


def triples(policy: Mapping[str, Any], page: str, dataset: str) -> Iterator[Triple]:
    """Yield a policy as an offer of a dataset."""
    here = f"{page}#policy"
    yield dataset, "odrl:hasPolicy", Iri(here)
    yield here, TYPE, Iri("odrl:Policy")
    yield here, TYPE, Iri("odrl:Offer")
    for kind in RULES:
        for number, rule in enumerate(_listed(policy.get(kind))):
            if isinstance(rule, Mapping):
                one = f"{page}#{kind}-{number}"
                yield here, f"odrl:{kind}", Iri(one)
                yield one, TYPE, Iri(f"odrl:{RULES[kind]}")
                yield one, "odrl:target", Iri(dataset)
                yield from _node(one, rule, 0)


def _node(here: str, said: Mapping[str, Any], depth: int) -> Iterator[Triple]:
    if depth > MAX_DEPTH:
        return
    for key, value in said.items():
        if key in _OF_THE_PAGE or not re.fullmatch(r"[A-Za-z]{1,40}", key):
            continue
        for number, one in enumerate(_listed(value)):
            if isinstance(one, Mapping) and "@value" not in one and "@id" not in one:
                inner = f"{here}-{key}-{number}"
                yield here, f"odrl:{key}", Iri(inner)
                if key in _KINDS:
                    yield inner, TYPE, Iri(f"odrl:{_KINDS[key]}")
                yield from _node(inner, one, depth + 1)
            elif (node := _value(key, one)) is not None:
                yield here, f"odrl:{key}", node


def _value(key: str, value: Any) -> Node | None:
    if isinstance(value, Mapping):
        if isinstance(value.get("@id"), str):
            return Iri(value["@id"])
        return Literal(str(value.get("@value")), datatype=str(value.get("@type") or ""))
    if isinstance(value, bool):
        return Literal(str(value).lower(), datatype="xsd:boolean")
    if isinstance(value, int):
        return Literal(str(value), datatype="xsd:integer")
    if isinstance(value, float):
        return Literal(repr(value), datatype="xsd:double")
    if not isinstance(value, str) or not value:
        return None
    if key in _NAMES and re.fullmatch(r"(odrl:)?[A-Za-z]+", value):
        return Iri(f"odrl:{value.removeprefix('odrl:')}")
    absolute = re.fullmatch(r"(https?|urn):\S+", value)
    return Iri(value) if absolute else Literal(value)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


# --- in ----------------------------------------------------------------------------------------


def policy(graph: rdflib.Graph, dataset: Any) -> dict[str, Any] | None:
    """Return the first policy of a dataset that has rules."""
    import rdflib

    odrl = rdflib.Namespace(_SPACE)
    for here in sorted(graph.objects(dataset, odrl.hasPolicy), key=str):
        rules = {
            kind: [_read(graph, one, 0) for one in ordered(graph.objects(here, odrl[kind]))]
            for kind in RULES
        }
        if found := {kind: listed for kind, listed in rules.items() if listed}:
            return {"@context": CONTEXT, "@type": "Offer", **found}
    return None


def _read(graph: rdflib.Graph, here: Any, depth: int) -> dict[str, Any]:
    found: dict[str, list[Any]] = {}
    for predicate in sorted(set(graph.predicates(here)), key=str):
        key = str(predicate).removeprefix(_SPACE)
        if key in _OF_THE_PAGE or key == str(predicate) or depth > MAX_DEPTH:
            continue
        for one in ordered(graph.objects(here, predicate)):
            found.setdefault(key, []).append(_said(graph, one, depth))
    return {
        key: values if len(values) > 1 or key in _KINDS else values[0]
        for key, values in found.items()
    }


def _said(graph: rdflib.Graph, one: Any, depth: int) -> Any:
    import rdflib

    if isinstance(one, rdflib.Literal):
        kind = str(one.datatype or "").removeprefix(PREFIXES["xsd"])
        if kind in _PLAIN:
            try:
                return _PLAIN[kind](str(one))
            except ValueError:
                return str(one)
        return {"@value": str(one), "@type": f"xsd:{kind}"} if kind != "" else str(one)
    if (one, None, None) in graph:
        return _read(graph, one, depth + 1)
    return str(one).removeprefix(_SPACE)


def ordered(nodes: Iterable[Any]) -> list[Any]:
    """Return nodes in the order of the numbers that their IRIs end in."""

    def key(node: Any) -> list[tuple[int, str]]:
        parts = re.split(r"(\d{1,9})", str(node))
        return [(int(p), "") if p.isdigit() else (-1, p) for p in parts]

    return sorted(nodes, key=key)
