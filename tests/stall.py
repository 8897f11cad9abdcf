"""A corpus that is for sale, and what is needed to try things with it: for the tests."""

from __future__ import annotations

from typing import Any

from people import Hall, Person, jsonl, small_corpus

SAMPLE = jsonl([{"instruction": f"样例 {n}", "output": f"答 {n}"} for n in range(12)])


def offered(
    hall: Hall, provider: Person, name: str = "small-zh", *, venue: str = "otc", **price: Any
) -> str:
    """List a small corpus with a standing offer; returns the listing's id."""
    descriptor, data = small_corpus(provider, name, **price)
    provider.upload(data)
    return sold_as(hall, provider, descriptor, venue=venue)


def sold_as(
    hall: Hall,
    provider: Person,
    descriptor: dict[str, Any],
    *,
    by: Person | None = None,
    **more: Any,
) -> str:
    """List a descriptor whose files are here, with a standing offer; returns the listing's id."""
    listing_id: str = provider.draft(descriptor, **more)["listing_id"]
    found = provider.submit(listing_id)
    assert found["state"] == "review", found
    if descriptor["dataElement"]["offer"]["pricing"][0]["mode"] != "negotiated":
        provider.offer(listing_id)
    hall.listed(provider, listing_id, by=by)
    return listing_id


def delivered(hall: Hall, buyer: Person, listing_id: str, **wish: Any) -> dict[str, Any]:
    """Buy, pay, and wait for the delivery; returns the trade."""
    trade = buyer.buy(listing_id, **wish)
    if trade["terms"]["amount_fen"]:
        hall.pay(trade)
    return buyer.wait(trade["trade_id"], "delivered")


def with_sample(provider: Person, name: str, **more: Any) -> dict[str, Any]:
    """Return a corpus with a sample that everyone may read; its files are uploaded."""
    descriptor, data = small_corpus(provider, name, **more)
    provider.upload(data)
    train = descriptor["resources"][0]
    sample = {
        **train, "name": "sample", "path": "data/sample.jsonl", "bytes": len(SAMPLE),
        "hash": f"sha256:{provider.upload(SAMPLE)}",
    }  # fmt: skip
    descriptor["resources"].append(sample)
    descriptor["dataElement"]["offer"]["trial"] = {"resource": "sample"}
    return descriptor
