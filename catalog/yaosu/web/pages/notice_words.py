"""What a notice says, in both languages, and where it leads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from yaosu.errors import Text
from yaosu.model_notices import Notice
from yaosu.notices import inbox

from .texts import TEXTS, said


def sentence(notice: Notice) -> Text:
    """Return the sentence of a notice; its names are those of the time it was made."""
    facts = notice.facts
    shown: dict[str, str] = {name: str(value) for name, value in facts.items()}
    zh = defaultdict(str, shown)
    english = {"title": facts.get("title_en") or facts.get("title"),
               "party": facts.get("party_en") or facts.get("party")}  # fmt: skip
    en = defaultdict(str, shown | {name: str(value) for name, value in english.items() if value})
    if facts.get("title"):
        zh["about"], en["about"] = f"：“{zh['title']}”", f": “{en['title']}”"
    text = said(_name(notice))
    return Text(text.en.format_map(en), text.zh.format_map(zh))


def _name(notice: Notice) -> str:
    """Return the name of the sentence: of its kind, and of what happened or to whom."""
    facts = notice.facts
    name = f"notice.{notice.kind}.{facts.get('event', '')}".rstrip(".")
    if notice.kind == "version":
        which = "bought" if "bought" in facts else "first" if facts.get("first") else "new"
        return f"notice.version.{which}"
    if notice.kind == "recall" and notice.subject_id.startswith("trd_"):
        return f"{name}.trade"
    return name


def changes(notice: Notice) -> list[Text]:
    """Return what of price, terms and licence a new version changes, and how large it is."""
    names = [f"notice.changed.{name}" for name in notice.facts.get("changed") or ()]
    if notice.facts.get("change"):
        names.insert(0, f"change.{notice.facts['change']}")
    return [TEXTS[name] for name in names if name in TEXTS]


def place(notice: Notice) -> str:
    """Return the page that a notice leads to."""
    facts = notice.facts
    if notice.kind == "key":
        return "/keys"
    if notice.kind == "approval":
        return f"/waiting#{notice.subject_id}"
    if notice.kind == "member":
        return "/organisation"
    if notice.subject_id.startswith("trd_"):
        return f"/trades/{notice.subject_id}"
    if notice.subject_id.startswith("lst_"):
        if notice.role == "provider":
            return f"/console/listings/{notice.subject_id}"
        if notice.role in ("reviewer", "exchange"):
            return f"/review/{notice.subject_id}"
        base = f"/datasets/{quote(str(facts['publisher']))}/{quote(str(facts['name']))}"
        return f"{base}?version={facts['listing_version']}"
    return "/notices"


def told(notice: Notice, base: str = "") -> dict[str, Any]:
    """Return a notice with its words and its page."""
    text = sentence(notice)
    words = {"text": text.en, "text_zh": text.zh}
    return {**inbox.shown(notice), **words, "url": base + place(notice)}


def as_rows(notices: list[Notice]) -> list[Mapping[str, Any]]:
    """Return notices as the page lists them."""
    return [
        {**told(n), "sentence": sentence(n), "changes": changes(n), "place": place(n)}
        for n in notices
    ]
