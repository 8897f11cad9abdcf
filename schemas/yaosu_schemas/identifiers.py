"""Check digits and shapes of official numbers. Valid means well-formed, never that it exists."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

from yaosu_schemas.errors import Text


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a number is well-formed, what is odd about it, and what is wrong with it."""

    valid: bool
    warnings: tuple[Text, ...] = ()
    problem: Text | None = None


_GOOD = Verdict(True)

# GB 32100-2015: 31 characters, without I O Z S V; weights are powers of 3 modulo 31.
_USCC_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_USCC_VALUES = {c: i for i, c in enumerate(_USCC_ALPHABET)}
_USCC_WEIGHTS = tuple(pow(3, i, 31) for i in range(17))
_USCC_SHAPE = re.compile(r"[1-9ANY][0-9A-HJ-NPQRTUWXY][0-9]{6}[0-9A-HJ-NPQRTUWXY]{10}")
# GB 11714: the organisation code that stands inside, letters count from A = 10.
_ORG_WEIGHTS = (3, 7, 9, 10, 5, 8, 4, 2)

# GB 11643-1999 (ISO 7064 MOD 11-2).
_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_ID_CHECKS = "10X98765432"
_ID_SHAPE = re.compile(r"[1-9][0-9]{16}[0-9Xx]")
_PROVINCES = frozenset(
    str(n)
    for span in ((11, 15), (21, 23), (31, 37), (41, 46), (50, 54), (61, 65), (71, 71), (81, 83))
    for n in range(span[0], span[1] + 1)
)

# 国数综政策〔2026〕35号 annex 6: SJ, region 2, agency 1, YYYYMM, serial 0001-9999. No check digit.
_CERTIFICATE = re.compile(r"SJ[0-9]{2}[0-9][0-9]{4}(?:0[1-9]|1[0-2])(?!0000)[0-9]{4}")

# TC609-6-2025-14 contractId: the last character is a check, but its algorithm is not public.
_CONTRACT_ID = re.compile(r"C[123][0-9A-Z]{18}[0-9A-Z]{4}[0-9]{14}[0-9A-Z]{8}[0-9A-Z]")


def uscc(value: str) -> Verdict:
    """Judge a unified social credit code (统一社会信用代码, GB 32100-2015), 18 characters."""
    if len(value) != 18:
        return _bad("it does not have 18 characters", "长度不是 18 位")
    if not _USCC_SHAPE.fullmatch(value):
        if _USCC_SHAPE.fullmatch(value.upper()):
            return _bad("its letters must be capitals", "字母须大写")
        return _bad(
            "it holds a character where it may not stand (letters I, O, S, V, Z never occur)",
            "含有不允许的字符（不使用字母 I、O、S、V、Z）",
        )
    total = sum(_USCC_VALUES[c] * w for c, w in zip(value, _USCC_WEIGHTS, strict=False))
    if _USCC_ALPHABET[-total % 31] != value[17]:
        return _bad("its last character does not check", "校验位不正确")
    if not organisation_code(value[8:17]):
        # Some codes issued long ago break the inner rule, so it is said and not refused.
        return Verdict(
            True,
            (
                Text(
                    "the organisation code inside it (GB 11714) does not check",
                    "其中的组织机构代码（GB 11714）校验位不符",
                ),
            ),
        )
    return _GOOD


def organisation_code(value: str) -> bool:
    """Say whether nine characters are an organisation code (组织机构代码, GB 11714)."""
    if not re.fullmatch(r"[0-9A-Z]{8}[0-9X]", value):
        return False
    total = sum(int(c, 36) * w for c, w in zip(value, _ORG_WEIGHTS, strict=False))
    return value[8] == "0123456789X0"[11 - total % 11]


def identity_number(value: str) -> Verdict:
    """Judge a resident identity number (居民身份证号, GB 11643-1999), 18 characters."""
    if re.fullmatch(r"[0-9]{15}", value):
        return _bad(
            "it is a first-generation number of 15 digits, which has no check digit",
            "是没有校验位的 15 位旧号码",
        )
    if not _ID_SHAPE.fullmatch(value):
        return _bad("it is not 17 digits and a digit or X", "不是 17 位数字加一位数字或 X")
    # Cards of foreign permanent residents (2023) begin with 9, the province stands after it.
    region = value[1:3] if value[0] == "9" else value[:2]
    if region not in _PROVINCES:
        return _bad("no region has such a code", "地区代码不存在")
    if not _is_date(value[6:14]):
        return _bad("its birth date does not exist", "出生日期不存在")
    total = sum(int(c) * w for c, w in zip(value, _ID_WEIGHTS, strict=False))
    if _ID_CHECKS[total % 11] != value[17].upper():
        return _bad("its last character does not check", "校验位不正确")
    return _GOOD


def certificate_number(value: str) -> Verdict:
    """Judge the number of a national data property certificate (凭证编号), 15 characters.

    The region is the seat of the registering agency, so it says nothing about the holder.
    """
    if _CERTIFICATE.fullmatch(value):
        return _GOOD
    if len(value) != 15 or not re.fullmatch(r"SJ[0-9]{13}", value):
        return _bad("it is not SJ and 13 digits", "不是 SJ 加 13 位数字")
    if value[-4:] == "0000":
        return _bad("its serial is 0000; serials start at 0001", "顺序号为 0000，应自 0001 起")
    return _bad("its month does not exist", "月份不存在")


def luhn(value: str) -> Verdict:
    """Judge a bank card number or IMEI by its Luhn digit (ISO/IEC 7812-1), digits only."""
    if not re.fullmatch(r"[0-9]{2,32}", value):
        return _bad("it is not a row of digits", "不是纯数字")
    total = sum(sum(divmod(int(c) * (1 + i % 2), 10)) for i, c in enumerate(reversed(value)))
    if total % 10:
        return _bad("its last digit does not check", "校验位不正确")
    return _GOOD


def contract_number(value: str) -> Verdict:
    """Judge the shape of a digital contract id (TC609-6-2025-14), 47 characters.

    Its check character is not judged: how it is computed is not published.
    """
    if not _CONTRACT_ID.fullmatch(value):
        return _bad(
            "it is not C, node type, credit code, region, time, random part and check character",
            "不符合数字合约编号的结构",
        )
    if not _is_date(value[24:32]):
        return _bad("its date does not exist", "日期不存在")
    return _GOOD


def _bad(en: str, zh: str) -> Verdict:
    return Verdict(False, (), Text(en, zh))


def _is_date(digits: str) -> bool:
    # A real birth year, as in the pattern of the standard's own register: 18xx to 20xx.
    if digits[:2] not in ("18", "19", "20"):
        return False
    try:
        date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return False
    return True
