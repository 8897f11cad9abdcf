"""The gate for words of strangers: what may stand in a name, a title, a description."""

from __future__ import annotations

import errno
import re
import unicodedata
from collections.abc import Sequence

from yaosu_schemas.errors import Text

# They reorder what follows, so that a reader sees other words than the machine (CVE-2021-42574).
BIDI_OVERRIDES = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_REFUSED = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
_REFUSED_BUT_LAYOUT = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]"
)


def text_problem(text: str, *, layout: bool = True) -> Text | None:
    """Return why a text is refused, or None; `layout` allows line breaks and tabs."""
    found = (_REFUSED_BUT_LAYOUT if layout else _REFUSED).search(text)
    if found is not None:
        code = f"U+{ord(found.group()):04X}"
        if "\ud800" <= found.group() <= "\udfff":
            return Text(
                "it holds half of a surrogate pair, which no encoding can carry",
                "含有不成对的代理字符，无法编码",
            )
        if found.group() in BIDI_OVERRIDES:
            return Text(
                f"it holds {code}, which reorders the text around it",
                f"含有改变文字方向的字符 {code}",
            )
        return Text(f"it holds the control character {code}", f"含有控制字符 {code}")
    if text and not visible(text):
        return Text("it holds no visible character", "不含任何可见字符")
    return None


def visible(text: str) -> bool:
    """Say whether a reader sees anything at all."""
    return any(unicodedata.category(c)[0] not in "ZC" for c in text)


def clip(value: object, limit: int = 80) -> str:
    """Return a value as one printable line of at most `limit` characters, for a message."""
    text = (value if isinstance(value, str) else str(value))[: limit + 1]
    if not text.isprintable():
        text = "".join(c if c.isprintable() else "\ufffd" for c in text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def clip_all(texts: Sequence[str], limit: int = 80) -> tuple[str, ...]:
    """Return what `clip` gives for each text."""
    short = [t if len(t) <= limit else t[: limit - 1] + "…" for t in texts]
    if not "".join(short).isprintable():
        short = [clip(t, limit) for t in texts]
    return tuple(short)


_SYSTEM = {
    errno.ENOENT: "文件或文件夹不存在",
    errno.EACCES: "没有权限",
    errno.EPERM: "不允许该操作",
    errno.EISDIR: "这是文件夹",
    errno.ENOTDIR: "路径中的某一级不是文件夹",
    errno.EEXIST: "已存在",
    errno.ENOSPC: "磁盘空间不足",
    errno.EDQUOT: "超出磁盘配额",
    errno.EFBIG: "文件过大",
    errno.EROFS: "文件系统只读",
    errno.EMFILE: "打开的文件过多",
    errno.ENAMETOOLONG: "名称过长",
    errno.ELOOP: "符号链接层数过多",
    errno.EIO: "磁盘读写出错",
}


def system_reason(why: Exception) -> Text:
    """Return why the system refused something, in both languages, without the path."""
    en = getattr(why, "strerror", None) or type(why).__name__
    return Text(en, _SYSTEM.get(getattr(why, "errno", None) or 0, en))
