"""Usage policies (ODRL 2.2): actions, operands and operators have to mean something."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from yaosu_schemas.errors import Problem, Text

from .codes import code_list
from .places import Place, missing, rows, wrong
from .texts import clip

_LOGICAL = ("and", "or", "xone", "andSequence")
_RULES = ("permission", "prohibition", "obligation")
_INNER = ("duty", "remedy", "consequence")
_MAX_DEPTH = 16


def policy_rules(
    policy: Mapping[str, Any], place: Place = (), schema: str = "dataset"
) -> Iterator[Problem]:
    """Yield what is wrong with the rules of a policy; an Agreement names both parties."""
    if not any(policy.get(key) for key in _RULES):
        why = Text("a policy has at least one rule", "策略至少包含一条规则")
        yield missing((*place, "permission"), why, schema)
    if str(policy.get("@type")).removeprefix("odrl:") == "Agreement":
        why = Text("an Agreement names both parties and its time", "协议须注明双方与时间")
        for key in ("assigner", "assignee", "target", "timestamp"):
            if key not in policy:
                yield missing((*place, key), why, schema)
    for key in _RULES:
        for i, rule in rows(policy, key):
            yield from _rule(rule, (*place, key, i), schema)


def _rule(rule: Mapping[str, Any], place: Place, schema: str) -> Iterator[Problem]:
    if len(place) > _MAX_DEPTH:
        return
    actions = rule.get("action")
    for action in actions if isinstance(actions, list) else [actions]:
        yield from _action(_term(action), (*place, "action"), schema)
    for i, constraint in rows(rule, "constraint"):
        yield from _constraint(constraint, (*place, "constraint", i), schema)
    for key in _INNER:
        for i, inner in rows(rule, key):
            yield from _rule(inner, (*place, key, i), schema)


def _action(action: str | None, place: Place, schema: str) -> Iterator[Problem]:
    if action is None or ":" in action:
        return  # told by the schema, or a word of a profile
    entry = code_list("odrl_action").get(action)
    if entry is None:
        text = Text(
            f"{clip(action)!r} is no action of ODRL 2.2", f"“{clip(action)}”不是 ODRL 2.2 动作"
        )
        yield wrong(place, "unknown_action", text, schema=schema)
    elif entry["deprecated"] == "yes":
        text = Text(f"{action!r} is deprecated in ODRL 2.2", f"“{action}”在 ODRL 2.2 中已弃用")
        yield wrong(place, "deprecated_action", text, "warning", schema)


def _constraint(constraint: Mapping[str, Any], place: Place, schema: str) -> Iterator[Problem]:
    if len(place) > _MAX_DEPTH:
        return
    joined = [key for key in _LOGICAL if key in constraint]
    for key in joined:
        for i, inner in rows(constraint, key):
            yield from _constraint(inner, (*place, key, i), schema)
    if joined:
        return
    why = Text("a constraint compares two things", "约束须比较两项")
    for key in ("leftOperand", "operator", "rightOperand"):
        if key not in constraint and not (key == "rightOperand" and _has_reference(constraint)):
            yield missing((*place, key), why, schema)
    operand, operator = _term(constraint.get("leftOperand")), _term(constraint.get("operator"))
    if operand is not None and ":" not in operand and operand not in code_list("odrl_operand"):
        text = Text(
            f"{clip(operand)!r} is no operand of ODRL 2.2", f"“{clip(operand)}”不是 ODRL 2.2 操作数"
        )
        yield wrong((*place, "leftOperand"), "unknown_operand", text, "warning", schema)
    if operator is not None and operator not in code_list("odrl_operator"):
        text = Text(
            f"{clip(operator)!r} is no operator of ODRL 2.2",
            f"“{clip(operator)}”不是 ODRL 2.2 运算符",
        )
        yield wrong((*place, "operator"), "unknown_operator", text, schema=schema)


def _has_reference(constraint: Mapping[str, Any]) -> bool:
    return "rightOperandReference" in constraint


def _term(value: Any) -> str | None:
    """Return the bare term of `odrl:use`, of `{"@id": "odrl:use"}` or of `use`."""
    if isinstance(value, dict):
        value = value.get("@id") or value.get("rdf:value") or value.get("value")
        if isinstance(value, dict):
            value = value.get("@id")
    if not isinstance(value, str):
        return None
    return value.removeprefix("odrl:").removeprefix("http://www.w3.org/ns/odrl/2/")
