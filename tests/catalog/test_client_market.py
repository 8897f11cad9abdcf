"""The main job through the client: offer, find, buy, fetch, open; and what it refuses to sign."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from people import USCC, Hall, open_hall, small_corpus, until
from yaosu import Client, errors
from yaosu.client.agreements import checked_agreement, checked_quote
from yaosu.client.purchase import checked_manifest
from yaosu.client.remote import Listing
from yaosu.proof.signing import Signer
from yaosu.proof.verify import verify_path
from yaosu_schemas.canonical import digest


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hall]:
    with open_hall(tmp_path_factory.mktemp("hall")) as found:
        yield found


@pytest.fixture(scope="module")
def provider(hall: Hall) -> Client:
    person = hall.person("lingnan", "provider", uscc=USCC[0])
    client = Client(hall.address, person.key)
    client.person = person  # type: ignore[attr-defined]
    return client


@pytest.fixture(scope="module")
def provider_key(provider: Client) -> Signer:
    key = Signer.generate()
    provider.add_signing_key(key, "office")
    return key


@pytest.fixture(scope="module")
def buyer(hall: Hall) -> Client:
    return Client(hall.address, hall.person("model-lab", "buyer").key)


@pytest.fixture(scope="module")
def buyer_key(buyer: Client, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "own.pem"
    Signer.generate().save(path)
    buyer.add_signing_key(path)
    return path


def folder_of(client: Client, place: Path, name: str, **price: Any) -> Path:
    """Write a small corpus as a folder with its datapackage.json."""
    descriptor, data = small_corpus(client.person, name, **price)  # type: ignore[attr-defined]
    (place / "data").mkdir(parents=True, exist_ok=True)
    (place / "data" / "train.jsonl").write_bytes(data)
    (place / "datapackage.json").write_text(json.dumps(descriptor, ensure_ascii=False), "utf-8")
    return place


@pytest.fixture(scope="module")
def listed(
    hall: Hall, provider: Client, provider_key: Signer, tmp_path_factory: pytest.TempPathFactory
) -> str:
    folder = folder_of(provider, tmp_path_factory.mktemp("corpus"), "client-zh")
    done = provider.submit(folder, wait=60)
    assert done.listing.state == "review"
    assert done.sent == ("data/train.jsonl",)
    done.listing.offer(provider_key)
    hall.listed(provider.person, done.listing.id)  # type: ignore[attr-defined]
    return done.listing.id


def test_a_folder_is_offered_found_bought_fetched_and_opened(
    hall: Hall, buyer: Client, buyer_key: Path, listed: str, tmp_path: Path
) -> None:
    results = until(lambda: buyer.search("client", modality="text"), lambda r: r.total == 1)
    hit = next(iter(results))
    listing = buyer.listing(hit["listing_id"])
    assert listing.report().valid

    trade = listing.buy(purpose="训练", key=buyer_key, at_most_fen=20_000)
    assert trade.state == "filed"
    hall.pay(trade.data)
    trade.wait("delivered", timeout=30)
    purchase = trade.open(tmp_path / "got")
    assert purchase.dataset().count_rows() == 40
    assert purchase.dataset("train").schema.names == ["instruction", "output"]
    assert trade.accept().state == "vouchered"
    trade.receipt(timeout=10)
    files = purchase.files()
    assert [f.relative_to(tmp_path / "got").as_posix() for f in files] == ["data/train.jsonl"]
    report = verify_path(tmp_path / "got")
    assert report.problems == ()
    assert report.valid
    assert report.checked["measures equal"] > 20
    claims_are_counted_again(tmp_path / "got")
    assert buyer.settlement(trade.id)["balances"][f"escrow:{trade.id}"] == 0


def claims_are_counted_again(folder: Path) -> None:
    """A changed claim breaks the seal; one that somebody else signs is counted, and differs."""
    kept = (folder / "quality.json").read_bytes()
    claimed = json.loads(kept)
    market_key = claimed["log"]["public_key"]
    metric = next(m for m in claimed["measures"] if m["id"] == "own:dup_exact")
    metric["numerator"] += 1
    (folder / "quality.json").write_text(json.dumps(claimed), "utf-8")
    assert "digest" in {p.code for p in verify_path(folder).problems}

    other = Signer.generate()
    body = {k: v for k, v in claimed.items() if k not in ("seal", "log")}
    body["log"] = {"origin": claimed["log"]["origin"], "public_key": other.public_key}
    seal = {"public_key": other.public_key, "digest": digest(body)}
    forged = {**body, "seal": {**seal, "value": other.sign(digest(body))}}
    (folder / "quality.json").write_text(json.dumps(forged), "utf-8")
    found = verify_path(folder)
    assert [p.code for p in found.problems] == ["measure"]
    assert found.checked["measures different"] == 1
    assert "key" in {p.code for p in verify_path(folder, log_key=market_key).problems}

    forged["content_digest"] = "sha256:" + "0" * 64
    (folder / "quality.json").write_text(json.dumps(forged), "utf-8")
    assert "measures equal" not in verify_path(folder).checked
    (folder / "quality.json").write_bytes(kept)


def test_what_is_here_already_is_not_fetched_again(
    hall: Hall, buyer: Client, buyer_key: Path, listed: str, tmp_path: Path
) -> None:
    trade = buyer.listing(listed).buy(purpose="训练", key=buyer_key)
    hall.pay(trade.data)
    trade.wait("delivered", timeout=30)
    stages: list[str] = []
    for _ in range(2):
        stages.clear()
        trade.open(tmp_path, progress=lambda stage, *_: stages.append(stage)).files()
    assert stages == []
    (tmp_path / "data" / "train.jsonl").write_bytes(b"touched")
    trade.open(tmp_path, progress=lambda stage, *_: stages.append(stage)).files()
    assert "download" in stages


def test_two_sides_negotiate_and_sign_with_keys_of_their_own(
    buyer: Client, buyer_key: Path, provider: Client, provider_key: Signer, listed: str
) -> None:
    trade = buyer.listing(listed).order(purpose="评测")
    theirs = provider.trade(trade.id).act("answer", changes={"note": "可以"})
    assert theirs.state == "negotiating"
    assert trade.refresh().agree().state == "agreed"
    assert trade.sign(buyer_key).state == "agreed"
    assert theirs.sign(provider_key).state == "filed"


def test_nobody_accepts_what_was_not_delivered(
    buyer: Client, buyer_key: Path, listed: str, tmp_path: Path
) -> None:
    trade = buyer.listing(listed).buy(purpose="训练", key=buyer_key)
    with pytest.raises(errors.Conflict, match="nothing was delivered"):
        trade.open(tmp_path)
    with pytest.raises(errors.Conflict, match="nothing was delivered"):
        trade.accept()


def test_a_key_that_the_market_does_not_know_is_not_used(buyer: Client, listed: str) -> None:
    with pytest.raises(errors.NotFound, match="add-signing"):
        buyer.listing(listed).buy(purpose="训练", key=Signer.generate())


def test_a_price_over_the_limit_is_not_paid(buyer: Client, buyer_key: Path, listed: str) -> None:
    with pytest.raises(errors.Conflict, match="more than"):
        buyer.listing(listed).buy(purpose="训练", key=buyer_key, at_most_fen=10_000)


def test_a_version_after_the_first_revises_or_follows(
    hall: Hall, provider: Client, tmp_path: Path
) -> None:
    folder = folder_of(provider, tmp_path, "versions-zh")
    draft = provider.submit(folder, draft_only=True)
    assert (draft.created, draft.listing.state) == (True, "draft")
    again = provider.submit(folder, wait=60)
    assert (again.created, again.listing.id) == (False, draft.listing.id)
    assert again.held == ("data/train.jsonl",)
    with pytest.raises(errors.Conflict, match="under way"):
        provider.submit(folder)
    again.listing.act("withdraw")
    descriptor = json.loads((folder / "datapackage.json").read_text("utf-8"))
    descriptor["version"] = "1.1.0"
    (folder / "datapackage.json").write_text(json.dumps(descriptor), "utf-8")
    following = provider.submit(folder, draft_only=True)
    assert following.listing["listing_version"] == 2


# --- what is not signed -----------------------------------------------------------------------


def _deep(document: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for name in parents:
        document = document[name]
    document[last] = value


TAMPERED: list[tuple[str, Any]] = [
    ("agreement.price.amount_fen", 1),
    ("agreement.price.payment_timing", "postpaid"),
    ("agreement.subject.content_digest", "sha256:" + "0" * 64),
    ("agreement.subject.listing_version", 9),
    ("agreement.rights.granted", ["use", "operate"]),
    ("agreement.rights.exclusive", True),
    ("agreement.user.party_id", "pty_other"),
    ("agreement.provider.party_id", "pty_other"),
    ("agreement.purpose", "转售"),
    ("agreement.standing_offer", {"type": "none"}),
    ("agreement.note", "……"),
    ("terms.amount_fen", 1),
    ("terms.term_days", 1),
    ("offer_digest", "sha256:" + "0" * 64),
    ("trade_id", "trd_" + "0" * 32),
]


@pytest.fixture(scope="module")
def quoted(buyer: Client, listed: str) -> tuple[Listing, dict[str, Any], str]:
    listing = buyer.listing(listed)
    me = buyer.me()["party"]["party_id"]
    return listing, listing.quote(purpose="训练", quantity=1), me


@pytest.mark.parametrize(("path", "value"), TAMPERED, ids=[p for p, _ in TAMPERED])
@pytest.mark.parametrize("resealed", [False, True], ids=["as-is", "digest-fits"])
def test_a_quote_that_says_something_else_is_not_signed(
    quoted: tuple[Listing, dict[str, Any], str], path: str, value: Any, resealed: bool
) -> None:
    from yaosu_schemas.canonical import digest

    listing, quote, me = quoted
    wish = {"purpose": "训练", "quantity": 1}
    assert checked_quote(quote, listing, wish, buyer=me) == quote["agreement"]
    bent = copy.deepcopy(quote)
    _deep(bent, path, value)
    if resealed:
        bent["agreement_digest"] = digest(bent["agreement"])
    with pytest.raises(errors.Unverified, match="nothing was signed"):
        checked_quote(bent, listing, wish, buyer=me)


def test_a_standing_offer_that_the_provider_did_not_sign_is_not_taken(
    quoted: tuple[Listing, dict[str, Any], str],
) -> None:
    listing, quote, me = quoted
    bent = Listing(listing._connection, copy.deepcopy(listing.data))
    bent.data["standing_signature"]["public_key"] = Signer.generate().public_key
    with pytest.raises(errors.Unverified, match="does not hold"):
        checked_quote(quote, bent, {"purpose": "训练"}, buyer=me)


def test_an_agreement_that_differs_from_the_trade_is_not_signed(
    buyer: Client, provider: Client, listed: str
) -> None:
    trade = buyer.listing(listed).order(purpose="评测")
    with pytest.raises(errors.Conflict, match="no agreement yet"):
        checked_agreement(trade.data)
    provider.trade(trade.id).act("answer", changes={})
    trade.refresh().agree()
    assert checked_agreement(trade.data) == trade["agreement"]
    changes: list[Callable[[dict[str, Any]], None]] = [
        lambda t: t["agreement"]["price"].update(amount_fen=1),
        lambda t: t["terms"].update(amount_fen=1),
        lambda t: t.update(content_digest="sha256:" + "0" * 64),
        lambda t: t["user"].update(party_id="pty_other"),
        lambda t: t.update(agreement_digest="sha256:" + "0" * 64),
    ]
    for change in changes:
        bent = copy.deepcopy(trade.data)
        change(bent)
        with pytest.raises(errors.Unverified):
            checked_agreement(bent)


# --- what is not written ----------------------------------------------------------------------


def _manifest(*paths: str) -> tuple[dict[str, Any], dict[str, Any]]:
    from yaosu_schemas.canonical import digest

    files = [{"path": p, "bytes": 1, "sha256": "0" * 64} for p in paths]
    trade = {"trade_id": "trd_1", "content_digest": "sha256:" + "0" * 64}
    pinned = digest({**trade, "files": files})
    return {"trade_id": "trd_1", "manifest_digest": pinned, "files": files}, trade


@pytest.mark.parametrize(
    "path",
    ["../evil", "/etc/passwd", "a/../../b", ".ssh/id", "http://x/y", "a\\b", "a//b", "C:x", ""],
)
def test_a_manifest_with_a_path_that_leaves_the_folder_is_refused(path: str) -> None:
    with pytest.raises(errors.UnsafePath):
        checked_manifest(*_manifest("fine.csv", path))


def test_paths_that_are_one_file_on_some_disks_are_refused() -> None:
    with pytest.raises(errors.UnsafePath, match="one file"):
        checked_manifest(*_manifest("A.csv", "a.csv"))


def test_a_manifest_must_be_what_its_digest_says() -> None:
    manifest, trade = _manifest("a.csv")
    assert checked_manifest(manifest, trade)
    manifest["files"][0]["sha256"] = "1" * 64
    with pytest.raises(errors.Unverified):
        checked_manifest(manifest, trade)


def test_a_symbolic_link_in_the_folder_is_not_followed(
    hall: Hall, buyer: Client, buyer_key: Path, listed: str, tmp_path: Path
) -> None:
    trade = buyer.listing(listed).buy(purpose="训练", key=buyer_key)
    hall.pay(trade.data)
    trade.wait("delivered", timeout=30)
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "got").mkdir()
    (tmp_path / "got" / "data").symlink_to(outside)
    with pytest.raises(errors.UnsafePath, match="symbolic link"):
        trade.open(tmp_path / "got").files()
    assert list(outside.iterdir()) == []


def test_a_folder_that_is_somebodys_own_package_is_not_written_over(
    hall: Hall, buyer: Client, buyer_key: Path, listed: str, tmp_path: Path
) -> None:
    trade = buyer.listing(listed).buy(purpose="训练", key=buyer_key)
    hall.pay(trade.data)
    trade.wait("delivered", timeout=30)
    (tmp_path / "datapackage.json").write_text('{"name": "mine"}')
    with pytest.raises(errors.Conflict, match="new folder"):
        trade.open(tmp_path).files()
    assert [p.name for p in tmp_path.iterdir()] == ["datapackage.json"]
    trade.open(tmp_path / "bought").files()
    other = json.loads((tmp_path / "bought" / "manifest.json").read_text()) | {"trade_id": "trd_0"}
    (tmp_path / "bought" / "manifest.json").write_text(json.dumps(other))
    with pytest.raises(errors.Conflict, match="new folder"):
        trade.open(tmp_path / "bought").files()
