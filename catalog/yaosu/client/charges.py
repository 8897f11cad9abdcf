"""What a client asks of a market about money and metered rows: one method per route.

Every changing call carries an Idempotency-Key and is sent again when its answer is lost; a call
for rows does, too: however often it is sent, it counts once.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .connection import Connection, route

JSON = dict[str, Any]


def _given(options: Mapping[str, Any]) -> JSON:
    return {name: value for name, value in options.items() if value is not None}


class Charges:
    """Periods, metered rows, invoices and statements, as the holder of one key."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def periods(self, trade_id: str) -> list[JSON]:
        """Return the periods of a trade, the first one first."""
        return list(self._connection.pages(route("v1", "trades", trade_id, "periods")))

    def period(self, period_id: str) -> JSON:
        """Return one period."""
        return dict(self._connection.get(route("v1", "periods", period_id)))

    def act(self, period_id: str, action: str, **body: Any) -> JSON:
        """Take a step of a period: confirm_payment, deliver, accept, reject, bill, settle, …

        Where a second admin is needed, the answer is the approval that waits for them.
        """
        path = route("v1", "periods", period_id, action)
        return dict(self._connection.post(path, _given(body)))

    def api_key(self, trade_id: str) -> JSON:
        """Make a metered key for the rows of a trade: `{key, key_id, …}`; it is shown this once."""
        return dict(self._connection.post(route("v1", "trades", trade_id, "api_key")))

    def usage(self, delivery_id: str) -> Iterator[JSON]:
        """Yield the metered calls of a delivery, newest first."""
        return self._connection.pages(route("v1", "deliveries", delivery_id, "usage"))

    def rows(
        self,
        delivery_id: str,
        resource: str,
        *,
        columns: Sequence[str] = (),
        filters: Sequence[str] = (),
        limit: int = 1000,
    ) -> Iterator[JSON]:
        """Yield rows of a resource page by page; each page is one call (the key is metered)."""
        path = route("v1", "apis", delivery_id, resource, "rows")
        cursor: str | None = None
        while True:
            wanted = {
                "columns": ",".join(columns) or None,
                "filter": list(filters) or None,
                "limit": limit,
                "cursor": cursor,
            }
            once = {"Idempotency-Key": uuid.uuid4().hex}
            page = self._connection.call("GET", path, params=wanted, headers=once).json
            yield from page["items"]
            cursor = page["next"]
            if cursor is None:
                return

    def invoices(self) -> Iterator[JSON]:
        """Yield the invoices that one's organisation issued or was issued, newest first."""
        return self._connection.pages("/v1/invoices")

    def invoice(
        self,
        trade_id: str,
        number: str,
        amount_fen: int,
        issued_on: str,
        *,
        tax_fen: int | None = None,
        period_id: str | None = None,
    ) -> JSON:
        """Report an invoice over what a trade was charged; `issued_on` is YYYY-MM-DD."""
        body = {"number": number, "amount_fen": amount_fen, "issued_on": issued_on,
                "tax_fen": tax_fen, "period_id": period_id}  # fmt: skip
        path = route("v1", "trades", trade_id, "invoices")
        return dict(self._connection.post(path, _given(body), makes="inv"))

    def correct_invoice(
        self,
        invoice_id: str,
        number: str,
        issued_on: str,
        reason: str,
        *,
        amount_fen: int | None = None,
    ) -> JSON:
        """Report an invoice in red that takes back another, or a part of it."""
        body = {"number": number, "issued_on": issued_on, "reason": reason,
                "amount_fen": amount_fen}  # fmt: skip
        path = route("v1", "invoices", invoice_id, "correct")
        return dict(self._connection.post(path, _given(body), makes="inv"))

    def payout(
        self, since: str | None = None, until: str | None = None, party_id: str | None = None
    ) -> JSON:
        """Return the payout statement of one's organisation (operators: any) between two days."""
        days = {"from": since, "to": until, "party_id": party_id}
        return dict(self._connection.get("/v1/statements/payout", days))

    def payout_csv(
        self, since: str | None = None, until: str | None = None, party_id: str | None = None
    ) -> bytes:
        """Return the same as CSV."""
        days = {"from": since, "to": until, "party_id": party_id}
        return self._connection.call("GET", "/v1/statements/payout.csv", params=days).content
