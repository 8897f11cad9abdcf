"""Is the record itself complete? The licence is one the market knows, the profile is filled in.

These checks look at the descriptor, not at rows: they have one method, `document`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from yaosu_schemas.errors import InvalidInput, Text
from yaosu_schemas.texts import clip
from yaosu_validators.check import Finding, check


@check("metadata.licence", "1")
@dataclass(frozen=True, slots=True, kw_only=True)
class KnownLicence:
    """Every licence of a package is a known SPDX expression, or an Open Definition name."""

    def document(self, document: Mapping[str, Any]) -> Iterator[Finding]:
        from yaosu_schemas.licences import from_open_definition, known

        element = document.get("dataElement")
        spdx = element.get("license_spdx") if isinstance(element, Mapping) else None
        names = [("/dataElement/license_spdx", spdx)] if isinstance(spdx, str) else []
        licenses = document.get("licenses")
        for i, item in enumerate(licenses if isinstance(licenses, list) else ()):
            name = item.get("name") if isinstance(item, Mapping) else None
            if isinstance(name, str):
                names.append((f"/licenses/{i}/name", name))
        if not names:
            yield Finding(
                type="licence-error",
                note=Text("none is named", "未写明许可"),
                pointer="/licenses",
            )
        for pointer, name in names:
            if known(name) or _open(from_open_definition, name):
                continue
            note = Text(f"{clip(name)!r} is on no list", f"“{clip(name)}”不在任何许可列表中")
            yield Finding(type="licence-error", note=note, pointer=pointer)


def _open(look_up: Any, name: str) -> bool:
    try:
        return look_up(name) is not None
    except InvalidInput:
        return False


@check("metadata.profile", "1")
@dataclass(frozen=True, slots=True, kw_only=True)
class CompleteProfile:
    """The record has every field that the market wants before a listing."""

    def document(self, document: Mapping[str, Any]) -> Iterator[Finding]:
        from yaosu_schemas.documents import descriptor_problems

        for problem in descriptor_problems(dict(document), stage="submit"):
            yield Finding(
                type="profile-error",
                note=Text(problem.en, problem.zh),
                pointer=problem.pointer,
                severity="error" if problem.severity == "error" else "warning",
            )
