"""Checks of numbers that point to a person, beyond the Chinese ones of `identifiers`.

Each says True (a check digit or a provable structure confirms it), None (well-formed, and nothing
could be checked) or False (it cannot be such a number).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
import json
import math
import re
from collections import Counter
from functools import cache

from yaosu_schemas.codes import code_list
from yaosu_schemas.identifiers import identity_number, luhn, uscc

LEAST_ENTROPY = 3.0  # bits per character of what may be a secret; English words have less than 2.9
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_IBAN_LENGTHS = {  # ISO 13616 registry
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22,
    "BR": 29, "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28,
    "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23,
    "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26,
    "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20,
    "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MR": 27, "MT": 31, "MU": 30,
    "NL": 18, "NO": 15, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22,
    "SA": 24, "SC": 31, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "ST": 25, "SV": 28, "TL": 23,
    "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
}  # fmt: skip
# Letters of the first place of a Taiwanese number, in the order of their values 10, 11, 12 ...
_TAIWAN = "ABCDEFGHJKLMNPQRSTUVXYWZIO"
_PLACEHOLDER = re.compile(r"(?i)x{4}|\*{3}|\.{3}|example|your[_-]?|placeholder|<|>|\{|\}|changeme")


def resident_id(value: str) -> bool | None:
    return identity_number(value).valid


def uscc_individual(value: str) -> bool | None:
    verdict = uscc(value)
    return verdict.valid and not verdict.warnings


def resident_id_15(value: str) -> bool | None:
    """Judge a number of the first generation: province, and a date in the 20th century."""
    whole = value[:6] + "19" + value[6:]
    # The check digit that the longer form would have: then region and date are judged alone.
    return None if any(identity_number(whole + c).valid for c in "0123456789X") else False


@cache
def _issuers() -> list[tuple[str, str, frozenset[int]]]:
    return [
        (e["first"], e["last"], frozenset(map(int, e["lengths"].split("|"))))
        for e in code_list("card_issuer")
    ]


def bank_card(value: str) -> bool | None:
    """Judge a card number by its issuer's range and length, and by its Luhn digit."""
    known = any(
        len(value) in lengths and first <= value[: len(first)] <= last
        for first, last, lengths in _issuers()
    )
    return known and len(set(value)) > 1 and luhn(value).valid


def imei(value: str) -> bool | None:
    return luhn(value).valid and len(set(value)) > 2


def uk_nhs(value: str) -> bool | None:
    total = sum(int(c) * w for c, w in zip(value, range(10, 1, -1), strict=False))
    return len(set(value)) > 1 and (11 - total % 11) % 11 == int(value[9])


def us_ssn(value: str) -> bool | None:
    """Judge the areas, groups and serials that are given to nobody (SSA, since 2011)."""
    area, group, serial = value[:3], value[3:5], value[5:]
    given = area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"
    return None if given and len(set(value)) > 1 else False


def us_itin(value: str) -> bool | None:
    """Judge the fourth and fifth digit, whose ranges the IRS names."""
    group = int(value[3:5])
    good = 50 <= group <= 65 or 70 <= group <= 88 or 90 <= group <= 92 or 94 <= group <= 99
    return None if value[0] == "9" and good else False


def hk_id(value: str) -> bool | None:
    """Judge letters, six digits and a check character (sum of weights 9…1 divides by 11)."""
    body, check = value[:-1], value[-1]
    places = [36] * (8 - len(body)) + [int(c, 36) for c in body]
    total = sum(p * w for p, w in zip(places, range(9, 1, -1), strict=True))
    return (total + int(check, 36)) % 11 == 0


def tw_id(value: str) -> bool | None:
    """Judge a letter and nine digits, the last of which is a check digit."""
    first = 10 + _TAIWAN.index(value[0])
    total = first // 10 + first % 10 * 9
    total += sum(int(c) * w for c, w in zip(value[1:9], range(8, 0, -1), strict=True))
    return value[1] in "1289" and (total + int(value[9])) % 10 == 0


def medical_licence(value: str) -> bool | None:
    """Judge two letters and seven digits by the check digit of the DEA."""
    d = [int(c) for c in value[2:]]
    return (d[0] + d[2] + d[4] + 2 * (d[1] + d[3] + d[5])) % 10 == d[6]


def iban(value: str) -> bool | None:
    if _IBAN_LENGTHS.get(value[:2]) != len(value):
        return False
    return int("".join(str(int(c, 36)) for c in value[4:] + value[:4])) % 97 == 1


def uk_nino(value: str) -> bool | None:
    pair = value[:2]
    bad = pair in ("BG", "GB", "NK", "KN", "TN", "NT", "ZZ") or set(pair) & set("DFIQUV")
    return False if bad or pair[1] == "O" else None


def crypto_address(value: str) -> bool | None:
    """Judge a Bitcoin address by its checksum; one of Ethereum has none that everyone uses."""
    if value.startswith("0x"):
        return None if len(set(value)) > 8 else False
    if value.startswith("bc1"):
        return _bech32(value)
    number = 0
    for c in value:
        number = number * 58 + _BASE58.index(c)
    try:
        data = number.to_bytes(25, "big")
    except OverflowError:
        return False
    double = hashlib.sha256(hashlib.sha256(data[:21]).digest()).digest()
    return double[:4] == data[21:]


def _bech32(value: str) -> bool:
    """Judge BIP 173 and BIP 350."""
    rest = value[3:]
    if set(rest) - set(_BECH32):
        return False
    check = 1
    for v in [3, 3, 0, 2, 3, *(_BECH32.index(c) for c in rest)]:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ v
        for i, g in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= g if top >> i & 1 else 0
    return check in (1, 0x2BC830A3)


def ip(value: str) -> bool | None:
    """Judge an address: only those that the public network routes point to anyone."""
    try:
        found = ipaddress.ip_address(value)
    except ValueError:
        return False
    public = found.is_global and not found.is_multicast and not found.is_reserved
    return None if public else False


def mac(value: str) -> bool | None:
    """Judge a hardware address: those of documents, groups and nobody are none."""
    plain = re.sub("[:-]", "", value).upper()
    odd = int(plain[1], 16) & 1 or plain.startswith("00005E0053") or len(set(plain)) < 3
    return False if odd else None


def jwt(value: str) -> bool | None:
    """Judge a token by its header, which decodes to JSON that names an algorithm."""
    head = value.split(".")[0]
    try:
        header = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return False
    return isinstance(header, dict) and "alg" in header


def private_key(value: str) -> bool | None:
    """Judge a PEM header: confirmed where the key itself follows."""
    return True if len(value.rpartition("-----")[2].strip()) >= 16 else None


def entropy(value: str) -> float:
    """Return Shannon's entropy of the characters, in bits per character."""
    counts = Counter(value).values()
    return -sum(n / len(value) * math.log2(n / len(value)) for n in counts) if value else 0.0


def api_key(value: str) -> bool | None:
    return None if entropy(value) >= LEAST_ENTROPY and not _PLACEHOLDER.search(value) else False


def password(value: str) -> bool | None:
    """Judge what is assigned: a secret mixes letters and digits, and is no placeholder."""
    mixed = re.search("[0-9]", value) and re.search("[A-Za-z]", value)
    return api_key(value) if mixed else False
