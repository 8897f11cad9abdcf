"""Second digests and verification codes of receipts: plain functions over plain JSON.

A code is the beginning of the receipt's own digest, so whoever holds the file can work it out, and
whoever holds the code alone learns nothing but that such a receipt was issued.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any

from yaosu_schemas.canonical import digest, jcs

PARTS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "agreement": lambda receipt: receipt["agreement"],
    "policy": lambda receipt: receipt["agreement"]["rights"]["policy"],
    "quality": lambda receipt: receipt["quality"],
    "settlement": lambda receipt: receipt["settlement"],
    "events": lambda receipt: receipt["events"],
}
"""The parts of a receipt that carry digests of their own, by name."""

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_CODE = re.compile(rf"[{_ALPHABET}]{{16}}")


def sm3(value: Any) -> str | None:
    """Return `sm3:<hex>` (GB/T 32905) over the canonical form; None where hashlib has no SM3."""
    try:
        return "sm3:" + hashlib.new("sm3", jcs(value)).hexdigest()
    except ValueError:
        return None


def digests(receipt: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return the digests of the parts: SHA-256, and beside it SM3 where this machine has it."""
    found = {}
    for name, part in PARTS.items():
        value = part(receipt)
        second = sm3(value)
        found[name] = {"sha256": digest(value), **({"sm3": second} if second else {})}
    return found


def code_of(receipt: Mapping[str, Any]) -> str:
    """Return the code printed on a receipt: 80 bits of its sealed digest, in four groups."""
    number = int(str(receipt["seal"]["digest"]).removeprefix("sha256:")[:20], 16)
    text = "".join(_ALPHABET[number >> 5 * i & 31] for i in range(15, -1, -1))
    return "-".join(text[i : i + 4] for i in range(0, 16, 4))


def public(receipt: Mapping[str, Any]) -> dict[str, Any]:
    """Return what whoever has the code may know of a receipt: no party, no goods, no price."""
    trade = receipt["trade"]
    return {
        "trade_id": trade["trade_id"],
        "digest": receipt["seal"]["digest"],
        **{name: trade[name] for name in ("signed_at", "settled_at", "vouchered_at")},
    }


def read_code(text: str) -> str | None:
    """Return a code as it was issued, however a person typed it; None when it is none."""
    kept = "".join(c for c in text.upper() if c.isalnum())
    plain = kept.replace("O", "0").replace("I", "1").replace("L", "1")
    if _CODE.fullmatch(plain) is None:
        return None
    return "-".join(plain[i : i + 4] for i in range(0, 16, 4))
