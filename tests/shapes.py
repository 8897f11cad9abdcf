"""The official shapes of DCAT-AP 3.0.1, asked of a graph."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import pytest
import rdflib
from pyshacl import validate

DATA = Path(os.environ.get("YAOSU_TESTDATA", Path(__file__).parents[2] / "shared" / "data"))
SHAPES = DATA / "metadata/dcat-ap/releases/3.0.1/html/shacl"
DCAT_DATASET = rdflib.URIRef("http://www.w3.org/ns/dcat#dataset")


@cache
def shapes(*names: str) -> rdflib.Graph:
    if not SHAPES.exists():
        pytest.skip("no YAOSU_TESTDATA")
    graph = rdflib.Graph()
    for name in names:
        graph.parse(SHAPES / name, format="turtle")
    return graph


def conforms(graph: rdflib.Graph) -> None:
    for name in ("shapes.ttl", "range.ttl"):
        fine, _, text = validate(graph, shacl_graph=shapes(name), advanced=True)
        assert fine, (name, text[:3000])
