"""Examples of notices and saved searches, for the OpenAPI document."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from yaosu.model import Dataset
from yaosu.model_notices import Notice, SavedSearch, Watch
from yaosu.notices import searches
from yaosu.web.pages.notice_words import told

_AT = datetime(2026, 10, 1, 9, 0, tzinfo=UTC)
_ID = "0199a0c0000070008000000000000001"

ANSWERS = (
    ("GET /v1/notices", "page:Notice"),
    ("POST /v1/notices/{notice_id}/read", "Notice"),
    ("GET /v1/searches", "page:SavedSearch"),
    ("POST /v1/searches", "SavedSearch"),
    ("PUT /v1/searches", "SavedSearch"),
    ("GET /v1/watches", "page:Watch"),
    ("PUT /v1/datasets/{dataset_id}/watch", "Watch"),
    ("GET /v1/inbox", "Inbox"),
)


def examples() -> dict[str, Any]:
    """Return one example per kind of answer, made by the functions that make the answers."""
    party, member = f"pty_{_ID}", f"mbr_{_ID}"
    notice = Notice(
        id=f"ntc_{_ID}", unread_by=member, role="", kind="search",
        cause=f"fit:lst_{_ID}", subject_id=f"lst_{_ID}", at=_AT, created_at=_AT,
        party_id=party, member_id=member,
        facts={
            "publisher": "pengcheng-fake", "name": "humanoid-inspection-dialogue-zh",
            "listing_version": 1, "version": "1.0.0", "title": "人形机器人巡检对话数据集",
            "search": "巡检",
        },
    )  # fmt: skip
    saved = SavedSearch(
        id=f"ssr_{_ID}", name="巡检", text="巡检 对话", filters={"modality": ("text",)},
        created_at=_AT, updated_at=_AT, party_id=party, member_id=member,
    )  # fmt: skip
    dataset = Dataset(
        id=f"dst_{_ID}", provider_id=f"pty_{_ID}", publisher="pengcheng-fake",
        name="humanoid-inspection-dialogue-zh", created_at=_AT,
    )  # fmt: skip
    watch = Watch(
        id=f"wch_{_ID}",
        dataset_id=dataset.id,
        created_at=_AT,
        updated_at=_AT,
        party_id=party,
        member_id=member,
    )
    return {
        "Notice": told(notice, "https://market.example.org"),
        "SavedSearch": searches.shown(saved),
        "Watch": searches.watch_shown(watch, dataset),
        "Inbox": {
            "unread": 3,
            "muted": ["trade"],
            "feed": {
                "atom": f"https://market.example.org/feeds/{_ID}.9f….atom",
                "json": f"https://market.example.org/feeds/{_ID}.9f….json",
            },
        },
    }
