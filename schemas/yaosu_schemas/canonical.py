"""Canonical JSON (RFC 8785) and the digests that pin what was judged and sold."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, cast

from yaosu_schemas.errors import Malformed

# What a buyer receives, byte for byte. `parts` and `data` stand in where a resource
# has several files or none: without them the digest would not pin the bytes.
_RESOURCE_CONTENT = (
    "name",
    "path",
    "data",
    "bytes",
    "hash",
    "parts",
    "schema",
    "dialect",
    "encoding",
)
_ELEMENT_TERMS = ("license_spdx", "policy", "offer", "restrictions", "contract_template")


# For text, small integers, fractions and usual keys the standard encoder writes what RFC 8785 asks
# for, at a tenth of the cost: same escapes (§3.2.2.2), the same shortest digits without exponent
# (§3.2.2.3), and below the surrogates code points sort as UTF-16 units do (§3.2.3).
_SIMPLE = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
)
_MAX_INT = 2**53 - 1


def _standard(value: object) -> bytes:
    return _SIMPLE.encode(value).encode()


_encode: Callable[[object], bytes] = _standard
with suppress(ModuleNotFoundError):  # a server has it: the same bytes, three times as fast
    import orjson

    _encode = partial(orjson.dumps, option=orjson.OPT_SORT_KEYS)


def _is_simple(value: object, depth: int = 32) -> bool | None:
    """Say whether the value has no number or key that needs care; None: only `_whole` fractions."""
    whole = False
    level: list[object] = [value]
    while level and depth:
        depth -= 1
        below: list[object] = []
        for node in level:
            kind = type(node)
            if kind in _TEXT:
                continue
            if kind is dict:
                found = cast(dict[Any, Any], node)
                try:
                    keys = "".join(found)
                except TypeError:
                    return False
                if not keys.isascii() and max(keys) >= "\ud800":
                    return False
                below += [v for v in found.values() if type(v) not in _TEXT]
            elif kind is list:
                below += cast(list[Any], node)
            elif kind is float:
                if cast(float, node).is_integer():
                    whole = True
                if not _LEAST <= abs(cast(float, node)) <= _MOST and node != 0:
                    return False
            elif kind is int:
                if not -_MAX_INT <= cast(int, node) <= _MAX_INT:
                    return False
            elif not issubclass(kind, str):  # an enum of texts is one
                return False
        level = below
    return False if level else None if whole else True


def _whole(value: Any) -> Any:
    """Return a simple value with fractions like 1.0 as the whole numbers that they are."""
    kind = type(value)
    if kind is dict:
        return {k: v if type(v) in _TEXT else _whole(v) for k, v in value.items()}
    if kind is list:
        return [v if type(v) in _TEXT else _whole(v) for v in value]
    return int(value) if kind is float and value.is_integer() else value


_LEAST, _MOST = 1e-4, 1e15
_TEXT = frozenset((str, bool, type(None)))


def jcs(value: object) -> bytes:
    """Return the one canonical UTF-8 form of a JSON value; Malformed if it has none.

    No form exists for NaN, infinities, integers beyond ±(2^53-1), lone surrogates and
    types that JSON does not know (RFC 8785 §3.2.2, RFC 7493 §2.2).
    """
    simple = _is_simple(value)
    if simple is not False:
        try:
            return _encode(value if simple else _whole(value))
        except (UnicodeEncodeError, TypeError):
            pass  # a lone surrogate: the library below says what is wrong
    import rfc8785

    try:
        return rfc8785.dumps(cast(Any, value))
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, RecursionError, TypeError) as e:
        raise Malformed(
            f"the value has no canonical JSON form: {str(e)[:80]}",
            "该值没有规范的 JSON 形式（可能含有非数、过大的整数或不成对的代理字符）",
        ) from None


def sha256_hex(data: bytes) -> str:
    """Return 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def digest(value: object) -> str:
    """Return `sha256:<hex>` of the canonical form of a JSON value."""
    return "sha256:" + sha256_hex(jcs(value))


def content_digest(descriptor: Mapping[str, Any]) -> str:
    """Return the digest of what was judged and is sold: name, version and files."""
    resources = descriptor.get("resources")
    return digest(
        {
            **_pick(descriptor, ("name", "version")),
            "resources": [
                _pick(r, _RESOURCE_CONTENT) for r in _list(resources) if isinstance(r, Mapping)
            ],
        }
    )


def terms_digest(descriptor: Mapping[str, Any]) -> str:
    """Return the digest of the conditions: licence, policy, offer, restrictions, contract."""
    element = descriptor.get("dataElement")
    return digest(
        {
            **_pick(descriptor, ("licenses",)),
            **(_pick(element, _ELEMENT_TERMS) if isinstance(element, Mapping) else {}),
        }
    )


def is_digest(text: object) -> bool:
    """Say whether a value is written as `sha256:` and 64 lower-case hex digits."""
    return (
        isinstance(text, str)
        and len(text) == 71
        and text.startswith("sha256:")
        and all(c in "0123456789abcdef" for c in text[7:])
    )


def _pick(source: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    return {key: source[key] for key in keys if source.get(key) is not None}


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()
