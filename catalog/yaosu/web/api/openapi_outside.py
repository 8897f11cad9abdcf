"""Examples of what goes to other systems and comes from them, for the OpenAPI document."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from yaosu.exchange import callbacks, reconcile
from yaosu.harvest import harvests
from yaosu.model import Role
from yaosu.model_harvest import Harvest, HarvestRun
from yaosu.model_outside import Attempt, CallbackKey, Message, Reconciliation, Webhook
from yaosu.webhooks import hooks

_AT = datetime(2026, 10, 1, 9, 0, tzinfo=UTC)
_ID = "0199a0c0000070008000000000000001"

ANSWERS = (
    ("GET /v1/harvests/{harvest_id}/runs/{run_id}", "HarvestRun"),
    ("GET /v1/harvests/{harvest_id}/runs", "page:HarvestRun"),
    ("GET /v1/harvests/{harvest_id}", "Harvest"),
    ("GET /v1/harvests", "page:Harvest"),
    ("POST /v1/harvests", "Harvest"),
    ("GET /v1/webhooks/{webhook_id}/deliveries", "page:WebhookDelivery"),
    ("POST /v1/webhooks/{webhook_id}/deliveries/{message_id}/retry", "WebhookDelivery"),
    ("POST /v1/webhooks/{webhook_id}/ping", "WebhookDelivery"),
    ("GET /v1/webhooks/{webhook_id}", "Webhook"),
    ("GET /v1/webhooks", "page:Webhook"),
    ("POST /v1/webhooks", "Webhook"),
    ("GET /v1/venues/{venue_id}/callback-keys", "page:CallbackKey"),
    ("POST /v1/venues/{venue_id}/callback-keys", "CallbackKey"),
    ("POST /v1/venues/{venue_id}/reconciliation", "Reconciliation"),
    ("GET /v1/venues/{venue_id}/reconciliations/", "Reconciliation"),
)


def examples() -> dict[str, Any]:
    """Return one example per kind of answer, made by the functions that make the answers."""
    hook = Webhook(
        id=f"whk_{_ID}", party_id=f"pty_{_ID}", url="https://example.org/hook",
        topics=("trade.*",), roles=(Role.BUYER,), cursor=1204, created_at=_AT,
    )  # fmt: skip
    message = Message(
        id=f"whm_{_ID}", webhook_id=hook.id, event_id="evt_1203", type="trade.paid",
        subject_id=f"trd_{_ID}", state="delivered",
        attempts=(Attempt(at=_AT, status=204, error="", ms=31),), created_at=_AT, done_at=_AT,
    )  # fmt: skip
    key = CallbackKey(
        id=f"cbk_{_ID}", venue="gzdex", scheme="v1a", public_key="whpk_MCow…", created_at=_AT
    )
    harvest = Harvest(
        id=f"hvs_{_ID}", party_id=f"pty_{_ID}", kind="ckan", url="https://data.example.org",
        rights="CC BY 4.0", created_by=f"mbr_{_ID}", created_at=_AT,
    )  # fmt: skip
    run = HarvestRun(
        id=f"hvr_{_ID}", harvest_id=harvest.id, party_id=harvest.party_id, state="done",
        fetched=120, imported=120, counts={"added": 3, "unchanged": 117},
        report={"added": ["8f2c"]}, started_at=_AT, deadline_at=_AT, ended_at=_AT,
    )  # fmt: skip
    return {
        "Harvest": harvests.shown(harvest),
        "HarvestRun": harvests.run_shown(run),
        "Webhook": hooks.shown(hook),
        "WebhookDelivery": hooks.message_shown(message),
        "Reconciliation": reconcile.shown(
            Reconciliation(
                id=f"rec_{_ID}", venue="gzdex", day="2026-10-01", by=f"mbr_{_ID}",
                file_sha256="3f" * 32, counts={"matched": 1}, created_at=_AT,
            )
        ),
        "CallbackKey": callbacks.key_shown(key),
    }  # fmt: skip
