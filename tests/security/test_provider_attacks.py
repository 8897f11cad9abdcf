"""A provider who means harm: swapped bytes, broken packages, names that deceive."""

from __future__ import annotations

import hashlib

import pytest

from people import USCC, Hall, Person, small_corpus


@pytest.fixture(scope="module")
def provider(hall: Hall) -> Person:
    return hall.person("lingnan", "provider", uscc=USCC[0])


@pytest.mark.parametrize(
    "path", ["datapackage.json", "DataPackage.JSON", "datapackage.yaml", "datapackage.yml"]
)
def test_a_data_file_cannot_take_the_place_of_the_descriptor(
    hall: Hall, provider: Person, path: str
) -> None:
    descriptor, data = small_corpus(provider, "in-place-of")
    sha256 = provider.upload(data)
    descriptor["resources"][0]["path"] = path
    refused = provider.raw("POST", "/v1/datasets", {"descriptor": descriptor})
    assert refused.status_code == 422
    assert refused.json()["problems"][0]["pointer"] == "/resources/0/path"
    blob = hall.market.blobs.path(sha256)
    assert blob is not None
    assert hashlib.sha256(blob.read_bytes()).hexdigest() == sha256


def test_what_is_laid_out_for_the_validator_is_never_written_to(
    hall: Hall, provider: Person
) -> None:
    """Even if a descriptor got past the door, a stored file is not written through its link."""
    from dataclasses import replace

    from yaosu.model import Listing

    descriptor, data = small_corpus(provider, "past-the-door")
    sha256 = provider.upload(data)
    listing_id = provider.draft(descriptor)["listing_id"]
    descriptor["resources"][0]["path"] = "datapackage.json"
    with hall.market.store.read() as reader:
        forged = replace(reader.get(Listing, listing_id), descriptor=descriptor)
    with pytest.raises(FileExistsError), hall.market.laid_out(forged):
        pass
    assert hall.market.blobs.verify(sha256)


@pytest.mark.parametrize(
    "paths",
    [
        ["a.jsonl", "a.jsonl/b.jsonl"],
        ["A.jsonl", "a.jsonl"],
        ["\uff41.jsonl", "a.jsonl"],
        ["x/ſ.jsonl", "x/s.jsonl"],
    ],
)
def test_paths_that_cannot_lie_in_one_folder_are_refused_at_the_door(
    provider: Person, paths: list[str]
) -> None:
    descriptor, _ = small_corpus(provider, "clash")
    one = descriptor["resources"][0]
    descriptor["resources"] = [{**one, "name": f"r{i}", "path": p} for i, p in enumerate(paths)]
    refused = provider.raw("POST", "/v1/datasets", {"descriptor": descriptor})
    assert refused.status_code == 422, refused.text
    assert {p["code"] for p in refused.json()["problems"]} == {"path_collision"}
