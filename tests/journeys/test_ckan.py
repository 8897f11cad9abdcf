"""CKAN's Action API: its own clients find, read, publish and update here, unchanged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import ckanapi
import httpx2
import pytest

from people import USCC, Hall, Person, until
from stall import SAMPLE, delivered, sold_as, with_sample

CLI = Path(sys.executable).with_name("ckanapi")


@pytest.fixture(scope="module")
def provider(hall: Hall) -> Person:
    return hall.person("ckan-robots", "provider", uscc=USCC[1])


@pytest.fixture(scope="module")
def listings(hall: Hall, provider: Person) -> dict[str, str]:
    """Three listed corpora by name."""
    made = {}
    for name in ("arm-logs", "leg-logs", "dotted.name-1"):
        made[name] = sold_as(hall, provider, with_sample(provider, name))
    until(lambda: ckan(hall).action.package_search()["count"], lambda n: n >= 3)
    return made


def ckan(hall: Hall, who: Person | None = None, **more: Any) -> ckanapi.RemoteCKAN:
    return ckanapi.RemoteCKAN(hall.address, apikey=who.key if who else None, **more)


# --- reading -----------------------------------------------------------------------------------


def test_the_library_finds_with_filters_facets_and_pages(
    hall: Hall, listings: dict[str, str]
) -> None:
    action = ckan(hall).action
    found = action.package_search(
        q="测试", fq="organization:ckan-robots +res_format:JSONL -tags:leg-logs",
        facet_field=[], **{"facet.field": ["organization", "tags", "res_format", "license_id"]},
    )  # fmt: skip
    names = {p["name"] for p in found["results"]}
    assert "ckan-robots__arm-logs" in names
    assert "ckan-robots__leg-logs" not in names
    assert found["count"] == len(names) == 2
    assert found["facets"]["organization"] == {"ckan-robots": 2}
    assert found["search_facets"]["res_format"]["items"][0]["name"] == "JSONL"
    every = [
        ("organization:ckan-robots OR organization:nobody", 3),
        ("-organization:ckan-robots", 0),
        ("groups:text", 3),
        ("groups:image", 0),
        ("license_id:CC-BY-4.0", 3),
        ("*:*", 3),
        ("metadata_modified:[2020-01-01T00:00:00.000000Z TO *]", 3),
        ("metadata_modified:[NOW+1DAY TO *]", 0),
        ("metadata_created:[NOW-1DAY TO NOW]", 3),
        ("+dataset_type:dataset +state:active", 3),
        ("name:ckan-robots__arm-logs", 1),
        ("tags:arm*", 1),
        ('tags:"arm-logs" OR (tags:"leg-logs" AND NOT res_format:CSV)', 2),
        ("vocab_theme:x", 0),
    ]
    for query, count in every:
        assert action.package_search(fq=query)["count"] == count, query
    past = action.package_search(start=1000, rows=10)
    assert past["results"] == []
    assert past["count"] == 3
    one_by_one = [
        action.package_search(rows=1, start=n, sort="id asc")["results"][0]["id"] for n in range(3)
    ]
    assert one_by_one == sorted(one_by_one)
    assert len(set(one_by_one)) == 3


def test_a_package_is_shown_by_every_name_it_has(hall: Hall, listings: dict[str, str]) -> None:
    action = ckan(hall, get_only=True).action
    names = action.package_list()
    assert len(names) == 3
    assert all(set(n) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-") for n in names)
    for name in names:
        package = action.package_show(id=name)
        assert package["name"] == name
        assert action.package_show(id=package["id"]) == package
        page = httpx2.get(f"{hall.address}/dataset/{name}", follow_redirects=True)
        assert page.status_code == 200
        assert package["title"] in page.text
    sizes = {r["name"]: r["size"] for r in package["resources"]}
    assert sizes["sample"] == len(SAMPLE)
    resource = action.resource_show(id=package["resources"][0]["id"])
    assert resource == package["resources"][0]


def test_lists_of_everything_else_answer(hall: Hall, listings: dict[str, str]) -> None:
    action = ckan(hall).action
    assert action.site_read() is True
    assert action.status_show()["site_url"] == hall.address
    assert action.organization_list() == ["ckan-robots"]
    assert action.organization_list(all_fields=True)[0]["package_count"] == 3
    assert action.organization_show(id="ckan-robots")["title"] == "ckan-robots 公司"
    assert action.group_list() == ["text"]
    assert action.group_show(id="text")["package_count"] == 3
    assert {"测试", "arm-logs"} <= set(action.tag_list())
    assert action.tag_show(id="arm-logs", include_datasets=True)["packages"]
    assert "CC-BY-4.0" in {entry["id"] for entry in action.license_list()}
    assert action.current_package_list_with_resources(limit=2)[0]["resources"]
    assert action.package_autocomplete(q="测试")
    assert "package" in action.help_show(name="package_show")


def test_errors_are_those_that_the_client_maps(hall: Hall, provider: Person) -> None:
    action = ckan(hall).action
    with pytest.raises(ckanapi.NotFound):
        action.package_show(id="nothing")
    with pytest.raises(ckanapi.NotAuthorized):
        action.package_create(name="x1")
    with pytest.raises(ckanapi.ValidationError) as bad:
        ckan(hall, provider).action.package_create(name="Not A Name")
    assert "name" in bad.value.error_dict
    with pytest.raises(ckanapi.SearchQueryError):
        action.package_search(fq="organization:(a")
    with pytest.raises(ckanapi.SearchQueryError):
        action.package_search(sort="nothing asc")
    with pytest.raises(ckanapi.NotAuthorized):
        ckan(hall, Person(hall.address, "yk_wrong")).action.site_read()
    url = f"{hall.address}/api/action/no_such"
    unknown = httpx2.post(url, json={})
    assert (unknown.status_code, unknown.json()) == (
        400, "Bad request: Action name not known: no_such")  # fmt: skip
    broken = httpx2.post(f"{hall.address}/api/3/action/site_read", content=b"{")
    assert broken.status_code == 400
    assert isinstance(broken.json(), str)


def test_rows_are_shown_to_those_who_may_see_them(
    hall: Hall, provider: Person, listings: dict[str, str]
) -> None:
    package = ckan(hall).action.package_show(id="ckan-robots__arm-logs")
    ids = {r["name"]: r["id"] for r in package["resources"]}
    found = ckan(hall).action.datastore_search(
        resource_id=ids["sample"], filters={"output": "答 3"}
    )
    assert [r["instruction"] for r in found["records"]] == ["样例 3"]
    paged = ckan(hall).action.datastore_search(resource_id=ids["sample"], limit=2, offset=10)
    assert [r["_id"] for r in paged["records"]] == [11, 12]
    assert paged["total"] == 12
    buyer = hall.person("ckan-buyer", "buyer")
    for who in (None, buyer):
        with pytest.raises(ckanapi.NotAuthorized):
            ckan(hall, who).action.datastore_search(resource_id=ids["train"])
    own = ckan(hall, provider).action.datastore_search(resource_id=ids["train"])
    assert len(own["records"]) == 40
    delivered(hall, buyer, listings["arm-logs"])
    bought = ckan(hall, buyer).action.datastore_search(resource_id=ids["train"], limit=3)
    assert [r["instruction"] for r in bought["records"]] == ["问题 0", "问题 1", "问题 2"]
    url = {r["name"]: r["url"] for r in package["resources"]}
    assert httpx2.get(url["sample"]).content == SAMPLE
    assert httpx2.get(url["train"]).status_code == 403
    assert httpx2.get(url["train"], headers={"authorization": str(buyer.key)}).status_code == 200


# --- the command line --------------------------------------------------------------------------


def cli(hall: Hall, *words: str, who: Person | None = None, given: str = "") -> str:
    """Run the command line of ckanapi, which calls itself by name."""
    where = ["-r", hall.address, *(["-a", str(who.key)] if who else [])]
    path = f"{CLI.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [CLI, *words, *where], input=given, capture_output=True, text=True, timeout=120,
        check=False, env={**os.environ, "PATH": path},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_the_command_line_searches_dumps_and_loads(
    hall: Hall, provider: Person, listings: dict[str, str], tmp_path: Path
) -> None:
    found = [json.loads(s) for s in cli(hall, "search", "datasets", "q=测试").splitlines()]
    assert {p["name"] for p in found} == set(ckan(hall).action.package_list())
    dumped = cli(hall, "dump", "datasets", "--all")
    packages = {json.loads(line)["name"]: json.loads(line) for line in dumped.splitlines()}
    assert set(packages) == {p["name"] for p in found}
    other = hall.person("ckan-second", "provider", uscc=USCC[2])
    package = packages["ckan-robots__arm-logs"]
    moved = {k: v for k, v in package.items() if k not in ("id", "owner_org", "organization")}
    moved["name"] = "arm-logs"
    cli(hall, "load", "datasets", who=other, given=json.dumps(moved) + "\n")
    first = ckan(hall, other).action.package_show(id="arm-logs")
    assert first["private"] is True
    before = {r["name"]: r for r in package["resources"] if r["name"] != "datapackage"}
    after = {r["name"]: r for r in first["resources"]}
    assert set(after) == set(before)
    for name, one in after.items():
        for key in ("path", "hash", "size", "format", "mimetype", "schema", "encoding"):
            assert one[key] == before[name][key], (name, key)
    assert first["extras"] == package["extras"]
    moved["title"] = "新的名称"
    cli(hall, "load", "datasets", who=other, given=json.dumps(moved) + "\n")
    assert ckan(hall, other).action.package_show(id=first["id"])["title"] == "新的名称"
    with pytest.raises(ckanapi.NotFound):
        ckan(hall).action.package_show(id=first["id"])


def test_the_library_creates_patches_uploads_and_deletes(
    hall: Hall, provider: Person, tmp_path: Path
) -> None:
    mine = ckan(hall, provider).action
    made = mine.package_create(
        name="made-by-hand", title="Hand-made", notes="Some text", license_id="cc-zero",
        tags=[{"name": "robots"}], author="A", extras=[{"key": "spatial", "value": "everywhere"}],
    )  # fmt: skip
    assert made["license_id"] == "CC0-1.0"
    with pytest.raises(ckanapi.ValidationError):
        mine.package_create(name="made-by-hand")
    content = b"a,b\n1,2\n"
    (tmp_path / "table.csv").write_bytes(content)
    with (tmp_path / "table.csv").open("rb") as file:
        resource = mine.resource_create(
            package_id=made["id"], name="Table One", format="CSV", upload=file
        )
    assert resource["size"] == len(content)
    assert resource["path"] == "data/table.csv"
    mine.resource_patch(id=resource["id"], description="One table")
    mine.package_patch(id=made["id"], notes="Other text")
    found = mine.package_show(id="made-by-hand")
    assert found["notes"] == "Other text"
    assert found["author"] == "A"
    assert found["tags"][0]["name"] == "robots"
    assert found["resources"][0]["description"] == "One table"
    assert found["resources"][0]["hash"].startswith("sha256:")
    assert httpx2.get(found["resources"][0]["url"]).status_code == 404  # a draft: not for strangers
    mine.resource_delete(id=resource["id"])
    assert mine.package_show(id=made["id"])["num_resources"] == 0
    stranger = hall.person("ckan-stranger", "provider", uscc=USCC[3])
    with pytest.raises(ckanapi.NotFound):
        ckan(hall, stranger).action.package_patch(id=made["id"], notes="mine")
    with pytest.raises(ckanapi.NotAuthorized):
        ckan(hall, stranger).action.package_patch(id="ckan-robots__leg-logs", notes="mine")


def test_a_deleted_package_has_left_the_catalog(hall: Hall, provider: Person) -> None:
    sold_as(hall, provider, with_sample(provider, "to-be-deleted"))
    action = ckan(hall, provider).action
    action.package_delete(id="ckan-robots__to-be-deleted")
    with pytest.raises(ckanapi.NotFound):
        ckan(hall).action.package_show(id="ckan-robots__to-be-deleted")
    until(
        lambda: action.package_search(fq="name:ckan-robots__to-be-deleted")["count"],
        lambda n: n == 0,
    )


# --- frictionless ------------------------------------------------------------------------------


def test_frictionless_reads_without_loss(
    hall: Hall, listings: dict[str, str], provider: Person
) -> None:
    frictionless = pytest.importorskip("frictionless")
    package = frictionless.Package(f"{hall.address}/dataset/ckan-robots__arm-logs")
    shown = provider.get(f"/v1/listings/{listings['arm-logs']}/descriptor")
    assert package.to_descriptor()["dataElement"]["offer"] == shown["dataElement"]["offer"]
    assert [r.name for r in package.resources] == ["train", "sample"]
    rows = package.get_resource("sample").read_rows()
    assert rows[0]["instruction"] == "样例 0"


def test_frictionless_publishes_and_nothing_of_it_is_lost(
    hall: Hall, provider: Person, tmp_path: Path
) -> None:
    frictionless = pytest.importorskip("frictionless")
    descriptor = {
        "name": "published-by-frictionless", "title": "Published", "description": "Of theirs",
        "keywords": ["two words", "语料"], "version": "1.0.0",
        "licenses": [{"name": "CC-BY-4.0", "title": "CC BY"}],
        "contributors": [{"title": "A", "roles": ["author", "creator"]}],
        "resources": [
            {"name": "table-one", "path": "data/one.csv", "format": "csv", "encoding": "utf-8",
             "schema": {"fields": [{"name": "id", "type": "integer",
                                    "constraints": {"required": True}},
                                   {"name": "name", "type": "string"}], "primaryKey": ["id"]}},
        ],
    }  # fmt: skip
    (tmp_path / "data").mkdir()
    (tmp_path / "data/one.csv").write_text("id,name\n1,甲\n", "utf-8")
    (tmp_path / "datapackage.json").write_text(json.dumps(descriptor))
    control = frictionless.portals.CkanControl(
        baseurl=hall.address, dataset="published-by-frictionless", apikey=provider.key
    )
    package = frictionless.Package(str(tmp_path / "datapackage.json"))
    result = package.publish(control=control)
    made = ckan(hall, provider).action.package_show(id=result.context["dataset_id"])
    shown = next(r for r in made["resources"] if r["name"] == "table-one")
    assert shown["schema"] == descriptor["resources"][0]["schema"]
    assert [t["name"] for t in made["tags"]] == descriptor["keywords"]
    assert shown["hash"].startswith("sha256:")
    listing = provider.get("/v1/my/listings?q=published")["items"]
    assert len(listing) <= 1


# --- harvesters --------------------------------------------------------------------------------


def test_the_requests_of_a_harvester_end_and_bring_everything(
    hall: Hall, listings: dict[str, str]
) -> None:
    """The sequence of ckanext-harvest: pages by id until an empty one, then owners and groups."""
    base = f"{hall.address}/api/3/action"
    seen: list[dict[str, Any]] = []
    body, start = "", 0
    while True:
        params = {"rows": "2", "start": str(start), "sort": "id asc",
                  "fq": "metadata_modified:[2026-01-01T00:00:00.000000Z TO *]"}  # fmt: skip
        answer = httpx2.get(f"{base}/package_search", params=params)
        assert answer.text != body, "a page twice: a harvester gives up"
        body = answer.text
        page = answer.json()["result"]["results"]
        if not page:
            break
        seen += page
        start += 2
    assert {p["name"] for p in seen} >= {"ckan-robots__arm-logs", "ckan-robots__leg-logs"}
    for package in seen:
        owner = httpx2.get(f"{base}/organization_show", params={"id": package["owner_org"]})
        assert owner.json()["result"]["name"] == package["owner_org"]
        for group in package["groups"]:
            shown = httpx2.get(f"{base}/group_show", params={"id": group["id"]}).json()
            assert shown["result"]["name"] == group["name"]
