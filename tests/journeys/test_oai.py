"""OAI-PMH 2.0, schema.org and the map of the site: what harvesters and engines find."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from xml.etree import ElementTree

import httpx2
import pytest
from sickle import Sickle
from sickle.oaiexceptions import (
    BadArgument,
    BadResumptionToken,
    CannotDisseminateFormat,
    IdDoesNotExist,
    NoRecordsMatch,
)

from people import USCC, Hall, Person, small_corpus
from stall import sold_as
from yaosu.market import Market
from yaosu.settings import load
from yaosu.web.surfaces import oai
from yaosu_connectors.oai import Cursor, OaiError
from yaosu_connectors.solr_query import Each

NAMES = ("oai-a", "oai-b", "oai-gone")


@pytest.fixture(scope="module")
def provider(hall: Hall) -> Person:
    return hall.person("oai-robots", "provider", uscc=USCC[1])


@pytest.fixture(scope="module")
def base(hall: Hall, provider: Person) -> str:
    """Two datasets on the market, and one that has left it."""
    for name in NAMES:
        descriptor, data = small_corpus(provider, name)
        descriptor["title"] = f'语料 </script><b>"{name}" & more'
        provider.upload(data)
        listing = sold_as(hall, provider, descriptor)
        if name == "oai-gone":
            provider.post(f"/v1/listings/{listing}/delist", {"reason": "over"})
    hall.market.follow()
    return f"{hall.address}/oai"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_harvester_gets_every_record_over_its_pages(
    base: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yaosu.web.surfaces.oai.SIZE", 1)
    sickle = Sickle(base, http_method=method)
    records = list(sickle.ListRecords(metadataPrefix="oai_dc"))
    assert len(records) == 3
    gone = [r for r in records if r.deleted]
    assert len(gone) == 1
    titles = {r.metadata["title"][0] for r in records if not r.deleted}
    assert titles == {f'语料 </script><b>"{n}" & more' for n in NAMES[:2]}
    headers = list(sickle.ListIdentifiers(metadataPrefix="dcat"))
    assert [h.identifier for h in headers] == [r.header.identifier for r in records]
    one = sickle.GetRecord(identifier=headers[0].identifier, metadataPrefix="dcat")
    assert "http://www.w3.org/ns/dcat#Dataset" in one.raw
    assert sickle.GetRecord(identifier=gone[0].header.identifier, metadataPrefix="dcat").deleted
    raw = sickle.harvest(verb="ListIdentifiers", metadataPrefix="oai_dc").raw
    token = re.search(r"<resumptionToken[^>]*>([^<]+)<", raw)
    assert token
    while token:
        raw = sickle.harvest(verb="ListIdentifiers", resumptionToken=token.group(1)).raw
        token = re.search(r"<resumptionToken[^>]*>([^<]+)<", raw)
    assert "<resumptionToken/>" in raw


def test_lists_are_in_the_order_of_ids_whatever_the_index_holds_first(tmp_path: Path) -> None:
    market = Market(load(data=str(tmp_path), reserve_bytes=0))
    ids = [f"{ms:012x}7{n:019x}" for ms in (1 << 40, (1 << 40) + 1) for n in range(oai.SIZE + 30)]
    cards = {
        f"lst_{id}": {"listing_id": f"lst_{id}", "dataset_id": f"dst_{id}", "state": "listed",
                      "view_policy": "public", "title": id}
        for id in reversed(ids)
    }  # fmt: skip
    market.search.apply(cards, checkpoint=1)
    assert list(oai._in_order(market, Each(()))) == [f"lst_{id}" for id in ids]
    market.close()


def test_times_select_inclusively(hall: Hall, provider: Person, base: str) -> None:
    sickle = Sickle(base)
    stamps = sorted(r.datestamp for r in sickle.ListIdentifiers(metadataPrefix="oai_dc"))
    late = {"metadataPrefix": "oai_dc", "from": stamps[-1]}
    assert stamps[-1] in {h.datestamp for h in sickle.ListIdentifiers(**late)}
    day = {"metadataPrefix": "oai_dc", "until": stamps[0][:10], "from": stamps[0][:10]}
    assert len(list(sickle.ListIdentifiers(**day))) == 3
    with pytest.raises(NoRecordsMatch):
        sickle.ListRecords(**{"metadataPrefix": "oai_dc", "until": "2000-01-01"})
    ours = list(sickle.ListRecords(metadataPrefix="oai_dc", set="oai-robots"))
    assert len(ours) == 3
    with pytest.raises(NoRecordsMatch):
        sickle.ListRecords(metadataPrefix="oai_dc", set="nobody")
    time.sleep(1.1)
    mark = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    descriptor, data = small_corpus(provider, "oai-late")
    provider.upload(data)
    listing = sold_as(hall, provider, descriptor)
    hall.market.follow()
    fresh = list(sickle.ListRecords(**{"metadataPrefix": "oai_dc", "from": mark}))
    assert len(fresh) == 1
    provider.post(f"/v1/listings/{listing}/delist", {"reason": "over"})
    hall.market.follow()
    left = list(sickle.ListRecords(**{"metadataPrefix": "oai_dc", "from": mark}))
    assert [r.deleted for r in left] == [True]


def test_what_has_left_is_listed_once_as_it_went_over_all_pages(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = hall.person("oai-leavers", "provider", uscc=USCC[2])
    other = hall.person("oai-others", "provider", uscc=USCC[3])
    mark = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    listings = []
    for who, name in [(provider, "l-a"), (provider, "l-b"), (other, "l-c"), (provider, "l-d")]:
        descriptor, data = small_corpus(who, name)
        who.upload(data)
        listings.append((who, sold_as(hall, who, descriptor)))
    # Of two versions of one dataset the older one left first: it says nothing of its own.
    old = provider.get(f"/v1/listings/{listings[0][1]}")
    newer = {"descriptor": {**old["descriptor"], "version": "2.0.0"}}
    made = provider.post(f"/v1/datasets/{old['dataset_id']}/versions", newer)
    second = made["listing"]["listing_id"]
    assert provider.submit(second)["state"] == "review"
    provider.offer(second)
    hall.listed(provider, second)
    gone = [listings[3], listings[2], (provider, second), listings[1]]
    for who, listing in gone:
        who.post(f"/v1/listings/{listing}/delist", {"reason": "over"})
    hall.market.follow()
    sickle = Sickle(f"{hall.address}/oai")
    wanted = [hall.admin.get(f"/v1/listings/{i}")["dataset_id"][4:] for _, i in gone]
    for size in (1, 2, 3, 100):
        monkeypatch.setattr("yaosu.web.surfaces.oai.SIZE", size)
        asked = {"metadataPrefix": "oai_dc", "from": mark}
        found = [h.identifier for h in sickle.ListIdentifiers(**asked) if h.deleted]
        digits = [i.rpartition(":")[2].replace("-", "") for i in found]
        assert [d for d in digits if d in wanted] == wanted
        ours = sickle.ListIdentifiers(**asked, set="oai-leavers")
        digits = [h.identifier.rpartition(":")[2].replace("-", "") for h in ours]
        assert sorted(digits) == sorted(d for d in wanted if d != wanted[1])


def test_every_mistake_has_its_code(base: str) -> None:
    sickle = Sickle(base)
    assert sickle.Identify().deletedRecord == "persistent"
    assert {f.metadataPrefix for f in sickle.ListMetadataFormats()} == {"oai_dc", "dcat"}
    assert "oai-robots" in {s.setSpec for s in sickle.ListSets()}
    with pytest.raises(CannotDisseminateFormat):
        sickle.ListRecords(metadataPrefix="marc")
    with pytest.raises(IdDoesNotExist):
        sickle.GetRecord(identifier="oai:x:1", metadataPrefix="oai_dc")
    with pytest.raises(BadResumptionToken):
        sickle.ListRecords(resumptionToken="nonsense")
    with pytest.raises(BadArgument):
        sickle.ListRecords(**{"metadataPrefix": "oai_dc", "from": "yesterday"})
    for query, code in (
        ("", "badVerb"),
        ("verb=Nothing", "badVerb"),
        ("verb=Identify&verb=Identify", "badArgument"),
        ("verb=Identify&x=%3Cb%3E", "badArgument"),
        ("verb=ListRecords", "badArgument"),
        ("verb=ListRecords&metadataPrefix=oai_dc&resumptionToken=x", "badArgument"),
        ("verb=ListRecords&metadataPrefix=oai_dc&from=2026-01-01&until=2026-01-01T00:00:00Z",
         "badArgument"),
        ("verb=ListRecords&metadataPrefix=oai_dc&from=2026-01-02&until=2026-01-01", "badArgument"),
    ):  # fmt: skip
        answer = httpx2.get(f"{base}?{query}")
        assert answer.status_code == 200
        found = ElementTree.fromstring(answer.text).find("{*}error")
        assert found is not None, query
        assert found.get("code") == code, query


@pytest.mark.parametrize(
    "token",
    ["", "e30", "WzFd", "W10", "WyJvYWlfZGMiLCIiLCIiLCIiLGZhbHNlLCIiLCJ4Il0", "é", "A" * 999],
)
def test_a_token_that_is_none_of_ours_is_refused(token: str) -> None:
    with pytest.raises(OaiError) as refused:
        Cursor.read(token)
    assert refused.value.code == "badResumptionToken"


def test_the_page_of_a_dataset_speaks_to_engines(hall: Hall, base: str) -> None:
    page = httpx2.get(f"{hall.address}/datasets/oai-robots/oai-a", headers={"accept": "text/html"})
    blocks = re.findall(r'<script type="application/ld\+json">(.*?)</script>', page.text, re.S)
    assert len(blocks) == 1
    said = json.loads(blocks[0])
    assert said["@type"] == "Dataset"
    assert said["name"] == '语料 </script><b>"oai-a" & more'
    assert 50 <= len(said["description"]) <= 5000
    assert said["variableMeasured"] == ["instruction", "output"]
    assert said["distribution"][0]["contentUrl"].startswith(hall.address)


def test_the_map_of_the_site_names_every_page(
    hall: Hall, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = httpx2.get(f"{hall.address}/sitemap.xml").text
    places = [e.text for e in ElementTree.fromstring(text).findall(".//{*}loc")]
    assert places == [f"{hall.address}/datasets/oai-robots/{n}" for n in NAMES[:2]]
    monkeypatch.setattr("yaosu.web.surfaces.oai.SITEMAP", 1)
    index = ElementTree.fromstring(httpx2.get(f"{hall.address}/sitemap.xml").text)
    pages = [str(e.text) for e in index.findall(".//{*}loc")]
    assert len(pages) == len(places) + 1  # the last is that of the parties
    parts = [ElementTree.fromstring(httpx2.get(p).text) for p in pages]
    assert [e.text for part in parts for e in part.findall(".//{*}loc")] == places
