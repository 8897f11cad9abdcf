"""SPDX licence expressions, other spellings of them, and what they mean for a resale.

The parser is our own and the list of ids a data file, so that no package and no network is needed.
A reading here is a lint for people, never legal advice.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache

from yaosu_schemas.errors import InvalidInput, Problem, Text

from .codes import code_list
from .texts import clip

_TOKEN = re.compile(r"[()]|[^\s()]+")
_REFERENCE = re.compile(r"(?:DocumentRef-[A-Za-z0-9.-]+:)?LicenseRef-[A-Za-z0-9.-]+")
_MAX_TOKENS = 200


@dataclass(frozen=True, slots=True)
class Licence:
    """One licence of an expression, in the list's own spelling."""

    id: str
    or_later: bool = False
    exception: str | None = None

    @property
    def is_reference(self) -> bool:
        """Say whether the text stands beside the data and not on the SPDX list."""
        return "LicenseRef-" in self.id

    def __str__(self) -> str:
        tail = f" WITH {self.exception}" if self.exception else ""
        return f"{self.id}{'+' if self.or_later else ''}{tail}"


@dataclass(frozen=True, slots=True)
class Compound:
    """Licences joined: AND binds the user to all, OR lets the user choose."""

    operator: str
    parts: tuple[Licence | Compound, ...]

    def __str__(self) -> str:
        return f" {self.operator} ".join(
            f"({p})" if isinstance(p, Compound) and p.operator != self.operator else str(p)
            for p in self.parts
        )


Expression = Licence | Compound


def parse(expression: str) -> Expression:
    """Return the parsed SPDX expression (SPDX 2.3 annex D); InvalidInput says what is wrong."""
    tokens = _tokens(expression)
    parsed, rest = _joined(tokens, 0, "OR")
    if rest != len(tokens):
        raise _bad(
            f"{clip(tokens[rest])!r} stands where nothing may", f"“{clip(tokens[rest])}”位置不当"
        )
    return parsed


def known(expression: str) -> bool:
    """Say whether an expression is well-formed and every id in it is on the SPDX list."""
    try:
        parse(expression)
    except InvalidInput:
        return False
    return True


def canonical(expression: str) -> str:
    """Return the expression in the list's spelling; InvalidInput if it is none."""
    return str(parse(expression))


def licences(expression: Expression) -> Iterator[Licence]:
    """Yield every licence of an expression, from left to right."""
    if isinstance(expression, Licence):
        yield expression
    else:
        for part in expression.parts:
            yield from licences(part)


def from_open_definition(name: str) -> str | None:
    """Return the SPDX id for an Open Definition, CKAN or SPDX spelling, or None."""
    return _aliases().get(name.strip().lower())


def resale_findings(
    expression: str,
    rights: Collection[str],
    *,
    derived: bool = False,
    pointer: str = "/dataElement/license_spdx",
) -> list[Problem]:
    """Return what stands against selling under this licence: errors block, warnings are shown.

    `rights` are the rights offered (hold, use, operate); `derived` says that the product is
    derived or annotated. Of licences joined by OR the one with the fewest blocks counts.
    """
    try:
        parsed = parse(expression)
    except InvalidInput as e:
        return [Problem(pointer=pointer, code="licence_unknown", en=e.en, zh=e.zh)]
    return _findings(parsed, "operate" in rights, derived, pointer)


def _findings(node: Expression, operate: bool, derived: bool, pointer: str) -> list[Problem]:
    if isinstance(node, Licence):
        return [
            Problem(pointer=pointer, code=code, en=text.en, zh=text.zh, severity=severity)
            for code, severity, text in _verdicts(node, operate, derived)
        ]
    each = [_findings(part, operate, derived, pointer) for part in node.parts]
    if node.operator == "OR":
        return min(each, key=lambda found: (sum(p.severity == "error" for p in found), len(found)))
    return list(dict.fromkeys(problem for found in each for problem in found))


def _verdicts(licence: Licence, operate: bool, derived: bool) -> Iterator[tuple[str, str, Text]]:
    name = licence.id
    if licence.is_reference:
        yield (
            "licence_review",
            "warning",
            Text(
                f"{name} is not on the SPDX list: a person has to read it",
                f"{name} 不在 SPDX 列表中，须人工审阅",
            ),
        )
    traits = _traits(name)
    if "nc" in traits and operate:
        yield (
            "licence_non_commercial",
            "error",
            Text(
                f"{name} forbids commercial use, so the right to operate cannot be sold under it",
                f"{name} 禁止商业性使用，不能据此交易经营权",
            ),
        )
    if "nd" in traits and derived:
        yield (
            "licence_no_derivatives",
            "error",
            Text(
                f"{name} forbids derived works, and this product is derived or annotated",
                f"{name} 禁止演绎，而该产品为衍生或标注产品",
            ),
        )
    if "sa" in traits:
        yield (
            "licence_share_alike",
            "warning",
            Text(
                f"{name} asks that what is made from the data is shared under the same licence",
                f"{name} 要求衍生成果以相同方式共享",
            ),
        )
    if "computational" in traits:
        yield (
            "licence_computational",
            "warning",
            Text(f"{name} allows computational use only", f"{name} 仅允许计算性使用"),
        )


@cache
def _traits(name: str) -> frozenset[str]:
    entry = code_list("licence").get(name)
    if entry is not None:
        return frozenset(t for t in ("nc", "nd", "sa", "computational") if entry[t] == "yes")
    # Every Creative Commons licence spells its conditions in its id, older ones and ports too.
    if name.startswith("CC-BY-"):
        return frozenset(part.lower() for part in name.split("-")[2:] if part in ("NC", "ND", "SA"))
    return frozenset()


@cache
def _aliases() -> dict[str, str]:
    out = {code.lower(): code for code in code_list("spdx").codes}
    for entry in code_list("licence"):
        for alias in entry["aliases"].split():
            out.setdefault(alias.lower(), entry.code)
    return out


def _tokens(expression: str) -> list[str]:
    tokens = _TOKEN.findall(expression)
    if not tokens:
        raise _bad("it is empty", "表达式为空")
    if len(tokens) > _MAX_TOKENS:
        raise _bad(f"it has more than {_MAX_TOKENS} words", f"超过 {_MAX_TOKENS} 个词")
    return tokens


def _joined(tokens: list[str], at: int, operator: str) -> tuple[Expression, int]:
    # AND binds tighter than OR (SPDX 2.3 annex D.4).
    part = _single if operator == "AND" else lambda t, i: _joined(t, i, "AND")
    first, at = part(tokens, at)
    parts = [first]
    while at < len(tokens) and tokens[at].upper() == operator:
        following, at = part(tokens, at + 1)
        parts.append(following)
    return (parts[0] if len(parts) == 1 else Compound(operator, tuple(parts))), at


def _single(tokens: list[str], at: int) -> tuple[Expression, int]:
    if at >= len(tokens):
        raise _bad("it ends where a licence is expected", "在应有许可标识处结束")
    if tokens[at] == "(":
        inner, at = _joined(tokens, at + 1, "OR")
        if at >= len(tokens) or tokens[at] != ")":
            raise _bad("a bracket is not closed", "括号不配对")
        return inner, at + 1
    licence = _licence(tokens[at])
    if at + 1 < len(tokens) and tokens[at + 1].upper() == "WITH":
        if at + 2 >= len(tokens):
            raise _bad("it ends where an exception is expected", "在应有例外标识处结束")
        exception = _exceptions().get(tokens[at + 2].lower())
        if exception is None:
            raise _bad(
                f"the exception {clip(tokens[at + 2])!r} is not known",
                f"例外“{clip(tokens[at + 2])}”未知",
            )
        return Licence(licence.id, licence.or_later, exception), at + 3
    return licence, at + 1


def _licence(token: str) -> Licence:
    if _REFERENCE.fullmatch(token):
        return Licence(token)
    ids = _spdx()
    found = ids.get(token.lower())
    if found is not None:
        return Licence(found)
    if token.endswith("+") and token[:-1].lower() in ids:
        return Licence(ids[token[:-1].lower()], or_later=True)
    hint = from_open_definition(token)
    if hint is not None:
        raise _bad(
            f"{clip(token)!r} is another spelling of {hint}: write {hint}",
            f"“{clip(token)}”应写作 SPDX 标识 {hint}",
        )
    raise _bad(
        f"{clip(token)!r} is not on the SPDX list; write LicenseRef-<name> and give its text",
        f"“{clip(token)}”不在 SPDX 列表中，请写作 LicenseRef-<名称> 并提供全文",
    )


@cache
def _spdx() -> dict[str, str]:
    return {code.lower(): code for code in code_list("spdx").codes}


@cache
def _exceptions() -> dict[str, str]:
    return {code.lower(): code for code in code_list("spdx_exception").codes}


def _bad(en: str, zh: str) -> InvalidInput:
    return InvalidInput(f"the licence expression is not valid: {en}", f"许可表达式无效：{zh}")
