"""Listings and trades as the client holds them: what they say, and the steps one can take.

A signature is made here, with a key that never leaves this machine, and only over a document
that was read and found to say what its digest, the listing and the caller say.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yaosu.errors import Conflict, InvalidInput, NotFound, Unavailable

from .connection import Connection, route

if TYPE_CHECKING:
    from yaosu.proof.signing import Signer
    from yaosu_schemas.report import Report

    from .purchase import Purchase
    from .transfer import Progress

JSON = dict[str, Any]
PAGE = 50
SETTLING_STATES = frozenset({"submitted", "validating"})


class Results:
    """The hits of a search, fetched page by page as they are read."""

    def __init__(
        self,
        connection: Connection,
        query: str,
        sort: str | None,
        limit: int | None,
        counts: tuple[str, ...],
        facets: Mapping[str, Any],
    ) -> None:
        self._connection = connection
        self._limit = limit
        self._params: JSON = {
            "q": query or None,
            "sort": sort,
            "limit": PAGE if limit is None else max(1, min(PAGE, limit)),
            "facets": ",".join(counts) or None,
            **facets,
        }
        self._first: JSON | None = None

    def _page(self) -> JSON:
        if self._first is None:
            self._first = dict(self._connection.get("/v1/listings", self._params))
        return self._first

    @property
    def total(self) -> int:
        """How many listings fit, on all pages together."""
        return int(self._page()["total"])

    @property
    def facets(self) -> dict[str, list[JSON]]:
        """Counts by facet, of those that were asked for."""
        return dict(self._page().get("facets") or {})

    def __iter__(self) -> Iterator[JSON]:
        return islice(self._all(), self._limit)

    def _all(self) -> Iterator[JSON]:
        page = self._page()
        yield from page["items"]
        while page.get("next"):
            page = self._connection.get("/v1/listings", {**self._params, "cursor": page["next"]})
            yield from page["items"]


class _Thing:
    """JSON of the market under its own names, by `thing[name]`."""

    def __init__(self, connection: Connection, data: JSON) -> None:
        self._connection = connection
        self.data = dict(data)

    def __getitem__(self, name: str) -> Any:
        return self.data[name]

    @property
    def state(self) -> str:
        return str(self.data["state"])

    def _stepped(self, collection: str, path: str, body: Mapping[str, Any]) -> None:
        """Take a step; one that waits for a second person leaves its request in `approval`."""
        given = {k: v for k, v in body.items() if v is not None}
        reply = self._connection.call("POST", path, body=given)
        self.data = dict(reply.json)
        if reply.status == 202:
            subject = route("v1", collection, str(reply.json["subject_id"]))
            self.data = {**self._connection.get(subject), "approval": reply.json}


class Listing(_Thing):
    """One version of a dataset on the market."""

    @property
    def id(self) -> str:
        return str(self.data["listing_id"])

    @property
    def title(self) -> str:
        return str(self.data["title"])

    @property
    def title_en(self) -> str:
        """The title in English, empty where there is none."""
        element = self.data["descriptor"].get("dataElement")
        titles = element.get("titles") if isinstance(element, dict) else None
        return str(titles.get("en") or "") if isinstance(titles, dict) else ""

    @property
    def descriptor(self) -> JSON:
        return dict(self.data["descriptor"])

    def __repr__(self) -> str:
        return f"<Listing {self.id} {self.data.get('publisher')}/{self.data.get('name')}>"

    def _get(self, what: str, **params: Any) -> Any:
        return self._connection.get(route("v1", "listings", self.id, what), params)

    def refresh(self) -> Listing:
        """Read it again, in place."""
        self.data = dict(self._connection.get(route("v1", "listings", self.id)))
        return self

    def preview(self, resource: str | None = None, limit: int | None = None) -> JSON:
        """Return sample rows of a resource."""
        return dict(self._get("preview", resource=resource, limit=limit))

    def report(self) -> Report:
        """Return the market's report on this version; cells are masked before a purchase."""
        from yaosu_schemas.report import Report

        return Report.from_json(self.report_json())

    def sketch(self) -> JSON:
        """Return the published sketch of this version (see `yaosu_validators.overlap`)."""
        return dict(self._get("sketch"))

    def scorecard(self) -> JSON:
        """Return the measures of this version under the names of their sources."""
        return dict(self._get("scorecard"))

    def sample(self) -> JSON:
        """Return where the manual sample of this version stands."""
        return dict(self._get("sample"))

    def sample_next(self, limit: int | None = None) -> list[JSON]:
        """Return the next records that the caller, a reviewer, is to judge."""
        path = route("v1", "listings", self.id, "sample", "next")
        return list(self._connection.get(path, {"limit": limit})["records"])

    def judge(self, verdicts: Mapping[int, bool]) -> JSON:
        """Record what the caller says of records of the sample; returns where it stands."""
        said = [{"item": item, "passed": passed} for item, passed in verdicts.items()]
        path = route("v1", "listings", self.id, "sample")
        return dict(self._connection.post(path, {"verdicts": said}))

    def attestation(self) -> JSON:
        """Return the market's signed word on the quality of this version."""
        return dict(self._get("attestation"))

    def report_json(self) -> JSON:
        """Return the report as the market sent it."""
        return dict(self._get("report"))

    def problems(self) -> list[JSON]:
        """Return what the market still objects to in the descriptor."""
        return list(self._get("problems")["problems"])

    def events(self) -> list[JSON]:
        """Return the evidence chain of the listing."""
        return list(self._connection.pages(route("v1", "listings", self.id, "events")))

    def act(self, action: str, **body: Any) -> Listing:
        """Take a step of the listing's table, for example `list` or `return`.

        Where a colleague has to say yes first, the reply is kept in `data["approval"]`.
        """
        self._stepped("listings", route("v1", "listings", self.id, action), body)
        return self

    def revise(self, descriptor: Mapping[str, Any], **options: Any) -> Listing:
        """Replace the descriptor of a draft, or of one that was returned."""
        body = {"descriptor": descriptor, **{k: v for k, v in options.items() if v is not None}}
        reply = self._connection.call("PUT", route("v1", "listings", self.id), body=body)
        self.data = dict(reply.json["listing"])
        return self

    def wait(self, timeout: float = 600.0, pause: float = 0.2) -> Listing:
        """Read it until the market has judged it; Unavailable after `timeout` seconds."""
        end = time.monotonic() + timeout
        while self.refresh().state in SETTLING_STATES:
            if time.monotonic() > end:
                raise Unavailable(
                    f"the verdict is not there after {timeout:g} s; "
                    f"look later: yaosu listing show {self.id}",
                    f"{timeout:g} 秒内尚无校验结论，请稍后查看：yaosu listing show {self.id}",
                    listing_id=self.id,
                )
            time.sleep(pause)
            pause = min(pause * 1.5, 5.0)
        return self

    def offer(self, key: str | Path | Signer | None = None, *, platform: bool = False) -> Listing:
        """Sign the standing offer of this version, so that it can be bought in one step."""
        from .agreements import signature_over, standing_offer

        document = standing_offer(self._get("standing-offer"), self)
        return self.act(
            "offer", signature=signature_over(self._connection, document, key, platform)
        )

    def order(self, *, purpose: str, **wish: Any) -> Trade:
        """Say that one wants it (T1); the provider answers."""
        body = {"listing_id": self.id, "wish": _wish(purpose, wish)}
        return Trade(self._connection, self._connection.post("/v1/trades", body, makes="trd"))

    def quote(self, *, purpose: str, **wish: Any) -> JSON:
        """Return the terms and the agreement that buying now would make; nothing is stored."""
        path = route("v1", "listings", self.id, "quote")
        return dict(self._connection.post(path, _wish(purpose, wish)))

    def buy(
        self,
        *,
        purpose: str,
        key: str | Path | Signer | None = None,
        platform: bool = False,
        at_most_fen: int | None = None,
        accept_on_delivery: bool = False,
        quote: JSON | None = None,
        **wish: Any,
    ) -> Trade:
        """Take the standing offer: quote, check the agreement, sign it with one's own key, buy.

        `at_most_fen` refuses a higher price. `quote` is one that a person has seen already. Where a
        colleague has to say yes first, the trade is agreed, not signed, and has an `approval`.
        """
        from .agreements import checked_quote, signature_over

        seen = quote or self.quote(purpose=purpose, **wish)
        wanted = _wish(purpose, wish)
        me = str(self._connection.get("/v1/me")["party"]["party_id"])
        agreement = checked_quote(seen, self, wanted, buyer=me, at_most_fen=at_most_fen)
        body = {
            "wish": wanted,
            "signature": signature_over(self._connection, agreement, key, platform),
            "trade_id": seen["trade_id"],
            "quoted_at": seen["quoted_at"],
            "accept_on_delivery": accept_on_delivery,
        }
        bought = Trade(self._connection, {})
        bought._stepped("trades", route("v1", "listings", self.id, "buy"), body)
        return bought


class Trade(_Thing):
    """One trade that the holder of the key takes part in."""

    @property
    def id(self) -> str:
        return str(self.data["trade_id"])

    def __repr__(self) -> str:
        return f"<Trade {self.id} {self.state}>"

    def refresh(self) -> Trade:
        """Read it again, in place."""
        self.data = dict(self._connection.get(route("v1", "trades", self.id)))
        return self

    def act(self, action: str, **body: Any) -> Trade:
        """Take a step of the trade's table.

        Where a second admin, or a colleague, has to say yes, the reply is in `data["approval"]`.
        """
        self._stepped("trades", route("v1", "trades", self.id, action), body)
        return self

    def agree(self) -> Trade:
        """Agree to the offer as it was last read here."""
        return self.act("agree", offer_digest=self.data["offer_digest"])

    def take(self, *, accept_on_delivery: bool = False) -> Trade:
        """Take the standing offer unchanged."""
        return self.act(
            "take",
            offer_digest=self.data["offer_digest"],
            accept_on_delivery=accept_on_delivery,
        )

    def sign(self, key: str | Path | Signer | None = None, *, platform: bool = False) -> Trade:
        """Sign the agreement with one's own key, after reading that it is what was agreed."""
        from .agreements import checked_agreement, signature_over

        document = checked_agreement(self.refresh().data)
        return self.act("sign", signature=signature_over(self._connection, document, key, platform))

    def accept(self) -> Trade:
        """Accept the delivery that the market now shows, by the digest of its manifest."""
        from .purchase import checked_manifest

        manifest = checked_manifest(self._manifest(), self.refresh().data)
        return self.act("accept", manifest_digest=manifest["manifest_digest"])

    @property
    def awaits_payment(self) -> bool:
        """Whether delivery waits for money: filed, paid in advance, and not paid yet."""
        terms = self.data.get("terms") or {}
        ahead = terms.get("payment_timing") != "postpaid"
        return ahead and self.state == "filed" and self.data["paid_fen"] < terms["amount_fen"]

    def _manifest(self) -> JSON:
        delivery_id = self.data.get("delivery_id") or self.refresh().data.get("delivery_id")
        if not delivery_id:
            raise Conflict(
                f"nothing was delivered yet: the trade is '{self.state}'"
                + (
                    "; delivery begins once the payment is confirmed" if self.awaits_payment else ""
                ),
                f"尚未交付：交易状态为“{self.state}”"
                + ("，确认到账后开始交付" if self.awaits_payment else ""),
                state=self.state,
                next=self.data.get("next"),
            )
        return dict(self._connection.get(route("v1", "deliveries", str(delivery_id))))

    def open(
        self, folder: str | Path | None = None, *, progress: Progress | None = None
    ) -> Purchase:
        """Return what was bought, to be fetched into `folder` (default: the user's cache)."""
        from .purchase import Purchase, cache_folder, checked_manifest

        manifest = checked_manifest(self._manifest(), self.data)
        place = Path(folder) if folder else cache_folder(self._connection.base, self.id)
        return Purchase(self._connection, self.data, manifest, place, progress)

    def wait(self, *states: str, timeout: float = 600.0, pause: float = 0.2) -> Trade:
        """Read it until it is in one of the states; Unavailable after `timeout` seconds."""
        end = time.monotonic() + timeout
        while self.refresh().state not in states:
            if time.monotonic() > end:
                raise Unavailable(
                    f"after {timeout:g} s the trade is '{self.state}', not {' or '.join(states)}",
                    f"{timeout:g} 秒后交易状态仍为“{self.state}”",
                    state=self.state,
                )
            time.sleep(pause)
            pause = min(pause * 1.5, 5.0)
        return self

    def events(self) -> list[JSON]:
        """Return the evidence chain of the trade."""
        return list(self._connection.pages(route("v1", "trades", self.id, "events")))

    def receipt(self, timeout: float = 0.0) -> JSON:
        """Return the receipt; waits up to `timeout` seconds for the log to take the voucher in."""
        end = time.monotonic() + timeout
        while True:
            try:
                return dict(self._connection.get(route("v1", "trades", self.id, "receipt")))
            except Conflict:
                if time.monotonic() >= end:
                    raise
                time.sleep(0.2)

    def recall_notices(self) -> JSON:
        """Return what recalls ask of this trade, with the statement to be signed."""
        return dict(self._connection.get(route("v1", "trades", self.id, "recall")))

    def confirm_deletion(
        self,
        statement: str = "deleted",
        key: str | Path | Signer | None = None,
        *,
        platform: bool = False,
    ) -> JSON:
        """Confirm, signed with one's own key, that what was recalled is deleted."""
        from .agreements import checked_deletion, signature_over

        path = route("v1", "trades", self.id, "recall")
        said = checked_deletion(self._connection.get(path, {"statement": statement}), self.data)
        body = {
            "statement": statement,
            "signature": signature_over(self._connection, said, key, platform),
        }
        return dict(self._connection.post(route("v1", "trades", self.id, "confirm-deletion"), body))

    def share_profile(self) -> JSON:
        """Return a new Delta Sharing profile for the tables of the delivery; keep it secret."""
        return dict(self._connection.post(route("v1", "trades", self.id, "profile"), {}))

    def reads(self) -> JSON:
        """Return the audit of reads: sums by day, and to buyer and operator each read."""
        found = dict(self._connection.get(route("v1", "trades", self.id, "reads")))
        while after := found.pop("next", None):
            more = self._connection.get(
                route("v1", "trades", self.id, "reads"), {"cursor": after, "limit": 1000}
            )
            found["items"] += more["items"]
            found["next"] = more["next"]
        return found

    def record(self) -> JSON:
        """Return the neutral trading record."""
        return dict(self._connection.get(route("v1", "trades", self.id, "record")))


def usage_sources(
    connection: Connection, trades: Sequence[str] | Mapping[str, int | None]
) -> list[JSON]:
    """Return the sources of a usage receipt: each trade with the content it delivered."""
    tokens = trades if isinstance(trades, Mapping) else dict.fromkeys(trades)
    found = []
    for trade_id, count in tokens.items():
        trade = connection.get(route("v1", "trades", trade_id))
        found.append({"trade_id": trade_id, "content_digest": trade["content_digest"]})
        if count is not None:
            found[-1]["tokens"] = count
    return found


def signer_of(key: str | Path | Signer | None) -> Signer:
    """Return the private key in a file, by default that of YAOSU_SIGNING_KEY or the user's own."""
    from yaosu.proof import signing

    if isinstance(key, signing.Signer):
        return key
    place = Path(key) if key is not None else signing_key_file()
    try:
        return signing.load(place)
    except NotFound:
        raise NotFound(
            f"there is no signing key at {place}: make one with `yaosu keys new-signing`",
            f"{place} 处没有签名密钥，请先执行 yaosu keys new-signing",
            path=str(place),
        ) from None


def signing_key_file() -> Path:
    """Return where this user's signing key lies unless told otherwise."""
    named = os.environ.get("YAOSU_SIGNING_KEY")
    home = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(named) if named else Path(home) / "yaosu" / "signing.pem"


def _wish(purpose: str, wish: Mapping[str, Any]) -> JSON:
    if not purpose.strip():
        raise InvalidInput("say what the data is for", "请说明使用目的", field="purpose")
    return {"purpose": purpose, **{k: v for k, v in wish.items() if v is not None}}
