"""DCAT-AP 3.0.1: the official shapes find nothing wrong in what this market says of itself."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
import rdflib
from pyshacl import validate

from people import USCC, Hall, small_corpus
from shapes import conforms, shapes
from stall import sold_as

DCAT = rdflib.Namespace("http://www.w3.org/ns/dcat#")
DCT = rdflib.Namespace("http://purl.org/dc/terms/")
HYDRA = rdflib.Namespace("http://www.w3.org/ns/hydra/core#")
SPELLINGS = {"ttl": "turtle", "rdf": "xml", "jsonld": "json-ld"}


@pytest.fixture(scope="module")
def catalog(hall: Hall) -> str:
    provider = hall.person("dcat-robots", "provider", uscc=USCC[1])
    for name in ("one-corpus", "two.corpus"):
        descriptor, data = small_corpus(provider, name)
        descriptor["title"] = f'2026 "{name}" \\ 语料 <b>&\n'.strip()
        descriptor["dataElement"]["titles"] = {"en": f"English title of {name}"}
        provider.upload(data)
        sold_as(hall, provider, descriptor)
    hall.market.follow()
    return hall.address


def graph_of(url: str, spelling: str) -> rdflib.Graph:
    answer = httpx2.get(url)
    assert answer.status_code == 200, answer.text
    return rdflib.Graph().parse(data=answer.text, format=SPELLINGS[spelling])


def test_the_catalog_conforms_to_the_official_shapes(catalog: str) -> None:
    graph = graph_of(f"{catalog}/catalog.ttl", "ttl")
    assert len(set(graph.subjects(rdflib.RDF.type, DCAT.Distribution))) == 2
    conforms(graph)
    graph.remove((None, DCT.title, None))
    assert not validate(graph, shacl_graph=shapes("shapes.ttl"))[0], "the shapes judge nothing"


def test_every_spelling_says_the_same(catalog: str) -> None:
    """Only the addresses of pages name their own spelling, and the clock goes on."""

    def facts(graph: rdflib.Graph) -> set[Any]:
        return {
            t for t in graph
            if not str(t[0]).split("?")[0].endswith((".ttl", ".rdf", ".jsonld"))
            and t[1] != DCT.modified
        }  # fmt: skip

    first, *others = (facts(graph_of(f"{catalog}/catalog.{s}", s)) for s in SPELLINGS)
    for other in others:
        assert other == first
    whole = facts(graph_of(f"{catalog}/catalog.ttl?page=all", "ttl"))
    assert whole == first


def test_pages_are_linked_until_the_last(catalog: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("yaosu.web.surfaces.dcat.SIZE", 1)
    url, seen = f"{catalog}/catalog.ttl", []
    while url:
        graph = graph_of(url, "ttl")
        seen += list(graph.objects(None, DCAT.dataset))
        url = str(next(graph.objects(None, HYDRA.next), ""))
    assert len(seen) == len(set(seen)) == 2
    assert graph_of(f"{catalog}/catalog.ttl?page=9", "ttl").value(None, DCAT.dataset) is None
    assert httpx2.get(f"{catalog}/catalog.ttl?page=x").status_code == 422


def test_a_dataset_is_negotiated_and_has_its_versions(hall: Hall, catalog: str) -> None:
    page = f"{catalog}/datasets/dcat-robots/one-corpus"
    for accept, spelling in (
        ("text/turtle", "ttl"),
        ("application/rdf+xml", "rdf"),
        ("application/ld+json;q=0.9, text/html;q=0.1", "jsonld"),
    ):
        answer = httpx2.get(page, headers={"accept": accept}, follow_redirects=True)
        graph = rdflib.Graph().parse(data=answer.text, format=SPELLINGS[spelling])
        here = rdflib.URIRef(f"{page}#dataset")
        assert (here, DCT.title, rdflib.Literal("English title of one-corpus", "en")) in graph
        assert graph.value(here, DCAT.inSeries) is not None
    html = httpx2.get(page, headers={"accept": "text/html,*/*;q=0.8"})
    assert html.headers["content-type"].startswith("text/html")
    assert httpx2.get(f"{catalog}/datasets/dcat-robots/nothing.ttl").status_code == 404
