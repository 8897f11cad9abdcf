"""The gate for words of strangers: what may stand in a name, a title, a description."""

from __future__ import annotations

import unicodedata

from yaosu_schemas.errors import Text

# They reorder what follows, so that a reader sees other words than the machine (CVE-2021-42574).
BIDI_OVERRIDES = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_LAYOUT = frozenset("\n\r\t")


def text_problem(text: str, *, layout: bool = True) -> Text | None:
    """Return why a text is refused, or None; `layout` allows line breaks and tabs."""
    if text.isascii() and text.isprintable():
        return None
    for char in text:
        category = unicodedata.category(char)
        if category == "Cs":
            return Text(
                "it holds half of a surrogate pair, which no encoding can carry",
                "含有不成对的代理字符，无法编码",
            )
        if category == "Cc" and not (layout and char in _LAYOUT):
            return Text(
                f"it holds the control character U+{ord(char):04X}",
                f"含有控制字符 U+{ord(char):04X}",
            )
        if char in BIDI_OVERRIDES:
            return Text(
                f"it holds U+{ord(char):04X}, which reorders the text around it",
                f"含有改变文字方向的字符 U+{ord(char):04X}",
            )
    if text and not visible(text):
        return Text("it holds no visible character", "不含任何可见字符")
    return None


def visible(text: str) -> bool:
    """Say whether a reader sees anything at all."""
    return any(unicodedata.category(c)[0] not in "ZC" for c in text)


def clip(value: object, limit: int = 80) -> str:
    """Return a value as one printable line of at most `limit` characters, for a message."""
    text = value if isinstance(value, str) else str(value)
    text = "".join(c if c.isprintable() else "\ufffd" for c in text[: limit + 1])
    return text if len(text) <= limit else text[: limit - 1] + "…"
