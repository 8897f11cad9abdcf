"""A market in the hand: one method per endpoint, pages as iterators, the errors of the tree.

    market = yaosu.Client("http://127.0.0.1:8000", key="yk_…")
    for hit in market.search("中文 指令", modality="text"):
        print(hit["card"]["title"])
    trade = market.listing("lst_…").buy(purpose="training", key="own.pem")
    table = market.trade(trade.id).open().to_pandas()

Loads neither the server nor, before the first call, an HTTP library.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from yaosu.errors import InvalidInput, NotFound, Problem

from .charges import Charges
from .connection import Connection, error_from, problems_from, route
from .organisation import Organisation
from .own_ids import naming
from .remote import Listing, Results, Trade, usage_sources

if TYPE_CHECKING:
    from yaosu.proof.signing import Signer

    from .harvests import Harvests
    from .integration import Desk, Webhooks
    from .notices import Notices
    from .profiles import Profiles, Renewals
    from .submission import Submission
    from .transfer import Progress

__all__ = ["Client", "Listing", "Results", "Trade", "error_from"]

DEFAULT_MARKET = "http://127.0.0.1:8000"
JSON = dict[str, Any]


class Client:
    """Speaks to one market as the holder of one key; without a key, as anyone.

    `url` and `key` default to YAOSU_MARKET and YAOSU_KEY. Threads may share one client.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        timeout: float = 60.0,
        attempts: int = 5,
    ) -> None:
        address = url or os.environ.get("YAOSU_MARKET") or DEFAULT_MARKET
        secret = key if key is not None else os.environ.get("YAOSU_KEY")
        self.connection = Connection(address, secret, timeout=timeout, attempts=attempts)

    @property
    def url(self) -> str:
        return self.connection.base

    @property
    def in_the_clear(self) -> bool:
        """Say whether others on the way can read what is sent: no TLS, and not this machine."""
        parts = urlsplit(self.url)
        host = parts.hostname or ""
        here = host == "localhost" or host == "::1" or host.startswith("127.")
        return parts.scheme == "http" and not here

    def close(self) -> None:
        """Close the sockets; the client opens new ones if it is used again."""
        self.connection.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self.url!r})"

    def naming(self, *ids: str) -> AbstractContextManager[None]:
        """Have what is made inside get ids of one's own: `with market.naming("trd_…"):`."""
        return naming(*ids)

    # --- find -----------------------------------------------------------------------------------

    def search(
        self,
        query: str = "",
        *,
        sort: str | None = None,
        limit: int | None = None,
        counts: tuple[str, ...] = (),
        **facets: str | list[str] | tuple[str, ...],
    ) -> Results:
        """Search what is listed; `facets` filter (several values of one: any of them).

        The result is iterated hit by hit, at most `limit`; `counts` names facets to be counted.
        """
        return Results(self.connection, query, sort, limit, counts, facets)

    def suggest(self, prefix: str) -> list[str]:
        """Return what listed titles and keywords begin like this."""
        return list(self.connection.get("/v1/suggest", {"q": prefix})["items"])

    def listing(self, listing_id: str) -> Listing:
        """Return a listing; NotFound when it does not exist for this key."""
        return Listing(self.connection, self.connection.get(route("v1", "listings", listing_id)))

    def my_listings(self, state: str | None = None) -> Iterator[JSON]:
        """Yield the listings of one's own organisation, newest first."""
        return self.connection.pages("/v1/my/listings", {"state": state})

    def review_queue(self) -> Iterator[JSON]:
        """Yield what waits for a reviewer."""
        return self.connection.pages("/v1/review")

    def venues(self) -> list[JSON]:
        """Return the places of trading and their rules."""
        return list(self.connection.pages("/v1/venues"))

    def set_venue(self, venue_id: str, **rules: Any) -> JSON:
        """Add or change a place of trading (operator): name, name_en, party_id, and its rules."""
        path = route("v1", "venues", venue_id)
        return dict(self.connection.call("PUT", path, body=_given(rules)).json)

    # --- offer ----------------------------------------------------------------------------------

    def problems(self, descriptor: Mapping[str, Any]) -> list[Problem]:
        """Return everything that submitting the descriptor would be refused for."""
        answer = self.connection.post("/v1/problems", {"descriptor": descriptor})
        return problems_from(answer["problems"])

    def create_dataset(self, descriptor: Mapping[str, Any], **options: Any) -> JSON:
        """Register a dataset with its first draft: `{dataset, listing, problems}`.

        Options: venue, view_policy, invited, origin_id.
        """
        body = {"descriptor": descriptor, **_given(options)}
        return dict(self.connection.post("/v1/datasets", body, makes="dst lst"))

    def datasets(self) -> Iterator[JSON]:
        """Yield one's own datasets with their versions."""
        return self.connection.pages("/v1/datasets")

    def dataset(self, dataset_id: str) -> JSON:
        """Return a dataset with its versions."""
        return dict(self.connection.get(route("v1", "datasets", dataset_id)))

    def dataset_named(self, name: str) -> JSON | None:
        """Return one's own dataset of that name, or None."""
        return next((d for d in self.datasets() if d["name"] == name), None)

    def new_version(self, dataset_id: str, descriptor: Mapping[str, Any]) -> JSON:
        """Start the next version of a dataset: `{listing, problems}`."""
        path = route("v1", "datasets", dataset_id, "versions")
        return dict(self.connection.post(path, {"descriptor": descriptor}, makes="lst"))

    def holds(self, sha256: str) -> bool:
        """Say whether the market has these bytes from us already."""
        try:
            self.connection.get(route("v1", "holdings", sha256))
        except NotFound:
            return False
        return True

    def upload(
        self, path: str | Path, *, name: str | None = None, progress: Progress | None = None
    ) -> JSON:
        """Send one file, resuming what was begun: `{sha256, bytes}`, to be named by descriptors."""
        from .transfer import Upload, hash_file, silent

        place, tell = Path(path), progress or silent
        sha256, size = hash_file(place, progress=tell)
        if not self.holds(sha256):
            given = name or place.name
            Upload(
                self.connection, place, name=given, sha256=sha256, size=size, progress=tell
            ).run()
        return {"sha256": sha256, "bytes": size}

    def submit(self, folder: str | Path, **options: Any) -> Submission:
        """Offer a folder with a `datapackage.json`; see `submission.submit` for the options."""
        from .submission import submit

        return submit(self, Path(folder), **options)

    # --- trade ----------------------------------------------------------------------------------

    def trade(self, trade_id: str) -> Trade:
        """Return a trade of one's own (operators: any)."""
        return Trade(self.connection, self.connection.get(route("v1", "trades", trade_id)))

    def trades(self, state: str | None = None) -> Iterator[Trade]:
        """Yield the trades that one's organisation takes part in, newest first."""
        for data in self.connection.pages("/v1/trades", {"state": state}):
            yield Trade(self.connection, data)

    def order(self, listing_id: str, **wish: Any) -> Trade:
        """Say that one wants a listing (T1): mode, quantity, purpose, rights, …"""
        body = {"listing_id": listing_id, "wish": _given(wish)}
        return Trade(self.connection, self.connection.post("/v1/trades", body, makes="trd"))

    @property
    def organisation(self) -> Organisation:
        """People, rules, approvals and invitations of one's own organisation."""
        return Organisation(self.connection)

    @property
    def charges(self) -> Charges:
        """Periods, metered rows, invoices and statements."""
        return Charges(self.connection)

    def settlement(self, trade_id: str) -> JSON:
        """Return the postings and balances of a trade."""
        return dict(self.connection.get(route("v1", "settlements", trade_id)))

    def delivery(self, delivery_id: str) -> JSON:
        """Return the manifest of a delivery, with fresh links."""
        return dict(self.connection.get(route("v1", "deliveries", delivery_id)))

    def download(
        self,
        trade_id: str,
        folder: str | Path | None = None,
        *,
        progress: Progress | None = None,
    ) -> list[Path]:
        """Fetch all files of a trade, resuming what was begun; returns where they are."""
        return self.trade(trade_id).open(folder, progress=progress).files()

    def record_usage(
        self,
        model: str,
        trades: Sequence[str] | Mapping[str, int | None],
        *,
        version: str = "",
        key: str | Path | Signer | None = None,
        platform: bool = False,
        **more: Any,
    ) -> JSON:
        """Record, signed, which trades fed a model: ids, or how many tokens of each.

        More: run, stage, trained_from, trained_to.
        """
        from .agreements import signature_over, usage_document

        sources = usage_sources(self.connection, trades)
        given = {"model": model, "model_version": version, "sources": sources, **_given(more)}
        said = usage_document(str(self.me()["party"]["party_id"]), given)
        signature = signature_over(self.connection, said, key, platform)
        body = {**given, "signature": signature}
        return dict(self.connection.post("/v1/usage-receipts", body, makes="usr"))

    def usage_receipts(self, model: str | None = None) -> Iterator[JSON]:
        """Yield one's own usage receipts, newest first."""
        return self.connection.pages("/v1/usage-receipts", {"model": model})

    def training_content(self, model: str | None = None, version: str | None = None) -> JSON:
        """Return the summary of training content for bought data; blanks are named."""
        found = self.connection.get("/v1/training-content", {"model": model, "version": version})
        return dict(found)

    def source_records(self) -> list[JSON]:
        """Return the records of corpus sources of everything that was bought."""
        return list(self.connection.get("/v1/source-records")["items"])

    def recalls(self) -> Iterator[JSON]:
        """Yield the recalls of one's own listings; operators: those they handle."""
        return self.connection.pages("/v1/recalls")

    def start_recall(
        self, listing_id: str, reason: str, *, files: Sequence[str] | None = None
    ) -> JSON:
        """Call a version back, or some files of it by their SHA-256."""
        body = {"reason": reason, "scope": "files" if files else "version", "files": files or []}
        return dict(self.connection.post(route("v1", "listings", listing_id, "recall"), body))

    def close_recall(self, recall_id: str, reason: str) -> JSON:
        """End a recall; what it had closed opens again."""
        path = route("v1", "recalls", recall_id, "close")
        return dict(self.connection.post(path, {"reason": reason}))

    def recall(self, recall_id: str) -> JSON:
        """Return a recall with the trades it reached and what buyers confirmed."""
        return dict(self.connection.get(route("v1", "recalls", recall_id)))

    # --- who ------------------------------------------------------------------------------------

    def me(self) -> JSON:
        """Return the party, member, key and roles that the market knows us by."""
        return dict(self.connection.get("/v1/me"))

    def register(self, slug: str, name: str, member: str, roles: list[str], **more: Any) -> JSON:
        """Register an organisation: `{party, key}`; the key is shown this once."""
        body = {"slug": slug, "name": name, "member": member, "roles": roles, **_given(more)}
        return dict(self.connection.post("/v1/parties", body, makes="pty mbr key"))

    def parties(self, verified: bool | None = None) -> Iterator[JSON]:
        """Yield the parties; operators filter by whether they are verified."""
        return self.connection.pages("/v1/parties", {"verified": verified})

    def party(self, party_id: str) -> JSON:
        """Return a party."""
        return dict(self.connection.get(route("v1", "parties", party_id)))

    def verify_party(self, party_id: str, evidence: str) -> JSON:
        """Record that an operator verified who a party is, and by what."""
        path = route("v1", "parties", party_id, "verify")
        return dict(self.connection.post(path, {"evidence": evidence}))

    def add_member(self, name: str, roles: list[str]) -> JSON:
        """Add a person to one's own organisation: `{member_id, key}`."""
        body = {"name": name, "roles": roles}
        return dict(self.connection.post("/v1/members", body, makes="mbr key"))

    def new_key(
        self,
        label: str = "",
        *,
        roles: list[str] | None = None,
        days: int | None = None,
        operations: Sequence[str] | None = None,
        bound_to: Sequence[str] = (),
    ) -> JSON:
        """Make another access key of one's own, for some operations or things; shown this once."""
        body = _given({"label": label, "roles": roles, "days": days})
        if operations:
            body["operations"] = list(operations)
        if bound_to:
            body["bound_to"] = list(bound_to)
        return dict(self.connection.post("/v1/keys", body, makes="key"))

    def operations(self) -> Iterator[JSON]:
        """Yield the operations that a key can be made for, in words."""
        return self.connection.pages("/v1/operations")

    def rotate_key(self, key_id: str, *, overlap_hours: int = 24) -> JSON:
        """Replace an access key; the new one is shown this once, the old one ends later."""
        path, body = route("v1", "keys", key_id, "rotate"), {"overlap_hours": overlap_hours}
        return dict(self.connection.post(path, body, makes="key"))

    def keys(self) -> Iterator[JSON]:
        """Yield one's access keys (never their secrets)."""
        return self.connection.pages("/v1/keys")

    def revoke_key(self, key_id: str) -> JSON:
        """Revoke an access key, at once."""
        return dict(self.connection.post(route("v1", "keys", key_id, "revoke")))

    def signing_keys(self) -> Iterator[JSON]:
        """Yield the signing keys of one's party."""
        return self.connection.pages("/v1/signing-keys")

    def add_signing_key(self, key: str | Path | Signer, label: str = "") -> JSON:
        """Register the public half of a key (Ed25519, SM2); the private half stays here."""
        from .remote import signer_of

        body = {"public_key": signer_of(key).public_key, "label": label}
        return dict(self.connection.post("/v1/signing-keys", body, makes="sgk"))

    def platform_signing_key(self, label: str = "") -> JSON:
        """Let the market hold a signing key; every signature made with it says so."""
        body = {"held_by": "platform", "label": label}
        return dict(self.connection.post("/v1/signing-keys", body, makes="sgk"))

    def revoke_signing_key(self, key_id: str) -> JSON:
        """Revoke a signing key; signatures made before stay valid."""
        return dict(self.connection.post(route("v1", "signing-keys", key_id, "revoke")))

    @property
    def profiles(self) -> Profiles:
        """The directory of parties, and what one's own shows."""
        from .profiles import Profiles

        return Profiles(self.connection)

    @property
    def renewals(self) -> Renewals:
        """Renewals of certificates: one's own, or those that one decides."""
        from .profiles import Renewals

        return Renewals(self)

    @property
    def harvests(self) -> Harvests:
        """Catalogs of others that come over as drafts of one's own, on a schedule."""
        from .harvests import Harvests

        return Harvests(self.connection)

    @property
    def notices(self) -> Notices:
        """What one is told; saved searches and watched datasets."""
        from .notices import Notices

        return Notices(self.connection)

    @property
    def webhooks(self) -> Webhooks:
        """One's webhooks: events sent to addresses of one's own."""
        from .integration import Webhooks

        return Webhooks(self.connection)

    def exchange(self, venue_id: str) -> Desk:
        """Return the desk of a place of trading that is one's own."""
        from .integration import Desk

        return Desk(self.connection, venue_id)

    # --- evidence and operation -----------------------------------------------------------------

    def report(self, report_id: str) -> JSON:
        """Return a validation report by its id."""
        return dict(self.connection.get(route("v1", "reports", report_id)))

    def events(self, after: int | None = None, limit: int | None = None) -> list[JSON]:
        """Return what happened to one's own things after a given event."""
        page = self.connection.get("/v1/events", {"after": after, "limit": limit})
        return list(page["items"])

    def jobs(self, state: str | None = None) -> Iterator[JSON]:
        """Yield background jobs (admin)."""
        return self.connection.pages("/v1/jobs", {"state": state})

    def restart_job(self, job_id: int | str) -> JSON:
        """Put a dead job back into the queue (admin)."""
        return dict(self.connection.post(route("v1", "jobs", str(job_id), "restart")))

    def checkpoint(self) -> str:
        """Return the signed checkpoint of the transparency log."""
        return self.connection.call("GET", "/log/checkpoint").content.decode("utf-8")

    def inclusion(self, digest: str) -> JSON:
        """Return the proof that an event's digest stands in the log."""
        return dict(self.connection.get("/v1/log/inclusion", {"digest": digest}))

    def consistency(self, first: int, second: int) -> JSON:
        """Return the proof that the log only grew between two sizes."""
        return dict(self.connection.get("/v1/log/consistency", {"from": first, "to": second}))

    def registered(self, kind: str) -> list[JSON]:
        """Return all versions of the registered `benchmarks` or `rulesets`, without content."""
        return list(self.connection.pages(route("v1", kind)))

    def register_file(self, kind: str, name: str, path: str | Path) -> JSON:
        """Register a file as the next version of a benchmark or ruleset (operator)."""
        body = {"sha256": self.upload(path)["sha256"], "filename": Path(path).name}
        return dict(self.connection.call("PUT", route("v1", kind, name), body=body).json)

    def unregister(self, kind: str, name: str) -> JSON:
        """Look for a benchmark or ruleset no longer (operator)."""
        return dict(self.connection.call("DELETE", route("v1", kind, name)).json)

    def health(self) -> JSON:
        """Return what the market says of itself; Unavailable when nobody answers."""
        answer = self.connection.get("/healthz")
        if not isinstance(answer, dict):
            raise InvalidInput(
                f"{self.url} answers, but it is not a market: check the address",
                f"{self.url} 有应答，但不是数据市场，请检查地址",
                field="market",
            )
        return answer


def _given(options: Mapping[str, Any]) -> JSON:
    return {name: value for name, value in options.items() if value is not None}
