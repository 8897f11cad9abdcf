"""What a key that was made for some operations only opens, and how a person reads it.

The file of the matrix (`authz.toml`) names every operation, says it in words, and lists the
addresses that it is; the steps of the state machines are operations by their own names. Such a key
opens the addresses of its operations and no other: what stands nowhere is closed to it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from yaosu_schemas.texts import clip

from .errors import Forbidden, InvalidInput, Text
from .model import AccessKey, Actor, Delivery, Role, StoredReport, Trade
from .model_evidence import Recall
from .model_money import Invoice, Period
from .ports import Reader
from .steps import LISTING_STEPS, PERIOD_STEPS, TRADE_STEPS, Relation, Step

EVERY = "every"
MOST_BOUND = 20
_STEPS: Mapping[str, tuple[Step[Any], ...]] = {
    "listing": LISTING_STEPS,
    "trade": TRADE_STEPS,
    "period": PERIOD_STEPS,
}
_PLACES = {"listing": "listings", "trade": "trades", "period": "periods"}
_ACTION = "/action/"


@cache
def table() -> Mapping[str, Any]:
    """Return the file of the matrix."""
    return tomllib.loads(files("yaosu").joinpath("authz.toml").read_text(encoding="utf-8"))


@cache
def words() -> Mapping[str, Text]:
    """Return every operation that a key can be made for, in words."""
    return {name: Text(**said) for name, said in table()["words"].items()}


@cache
def _routes() -> Mapping[str, str]:
    """Return the operation of each address: its method and template."""
    found = {
        f"POST /v1/{_PLACES[kind]}/{{{kind}_id}}/{step.action}": f"{kind}.{step.action}"
        for kind, steps in _STEPS.items()
        for step in steps
        if f"{kind}.{step.action}" in words()
    }
    for name, addresses in table()["routes"].items():
        found |= dict.fromkeys(addresses, name)
    return found


def of_address(method: str, template: str, path: str) -> str | None:
    """Return the operation of an address, or None for one that is closed to keys of some."""
    if _ACTION in template:  # CKAN's actions answer to GET and POST, under two names
        return _routes().get(f"POST /api/3/action/{path.rpartition('/')[2]}")
    return _routes().get(f"{method} {template}")


def read(names: Iterable[str]) -> tuple[str, ...]:
    """Return the operations that names and groups (`trade`, `trade.*`) stand for, in order.

    A group is what it holds today: a key never comes to may more than on the day it was made.
    """
    found: set[str] = set()
    for name in names:
        group = name.removesuffix(".*")
        held = {o for o in words() if o == name or o.partition(".")[0] == group}
        if not held:
            raise InvalidInput(
                f"there is no operation '{clip(name)}': `yaosu keys operations` lists them",
                f"没有操作“{clip(name)}”，可用 yaosu keys operations 查看",
                field="operations",
            )
        found |= held
    if not found:
        raise InvalidInput(
            "a key for no operation opens nothing", "密钥至少包含一项操作", field="operations"
        )
    for name in tuple(found):
        found |= set(table()["with"].get(name, ()))
    return tuple(sorted(found))


def useful_to(roles: Iterable[Role]) -> tuple[str, ...]:
    """Return the operations that the matrix allows someone in these roles, in the file's order."""
    mine = {Relation.MEMBER, Relation.ANYONE, "own", *(str(r) for r in roles)}
    who: dict[str, set[str]] = {n: set(w) for n, w in table()["operations"].items()}
    for kind, steps in _STEPS.items():
        for step in steps:
            who.setdefault(f"{kind}.{step.action}", set()).update(step.actors)
    return tuple(n for n in words() if not who.get(n) or who[n] & mine)


def told(names: Iterable[str] | None) -> list[dict[str, str]] | None:
    """Return operations with their words, as a person is shown them; None for a whole key."""
    if names is None:
        return None
    return [
        {"operation": n, "en": words()[n].en, "zh": words()[n].zh} if n in words() else
        {"operation": n, "en": n, "zh": n}
        for n in names
    ]  # fmt: skip


# --- at the gate ------------------------------------------------------------------------------


def admit(reader: Reader, key: AccessKey, operation: str | None, path: str) -> None:
    """Let a key pass to an address, or raise Forbidden; the same for hidden and absent things."""
    if key.operations is not None and operation != EVERY and operation not in key.operations:
        raise Forbidden(
            "your key was made for other operations",
            "该密钥未获授权执行此操作",
            operation=operation or "none",
        )
    if key.bound_to and operation != EVERY and not _lies_in(reader, path, set(key.bound_to)):
        raise Forbidden(
            "your key was made for other things: it opens the addresses of "
            + ", ".join(key.bound_to),
            "该密钥仅限用于：" + "、".join(key.bound_to),
            operation=operation or "none",
        )


def _lies_in(reader: Reader, path: str, things: set[str]) -> bool:
    """Tell whether a path names one of the things, or something that belongs to one."""
    return any(not things.isdisjoint(_holders(reader, part)) for part in path.split("/"))


def _holders(reader: Reader, id: str) -> set[str]:
    """Return a thing and what it belongs to: trades have their listing above them."""
    match id.partition("_")[0]:
        case "lst":
            return {id}
        case "trd":
            trade = reader.one(Trade, id=id)
            return {id, trade.listing_id} if trade is not None else set()
        case "dlv" | "per" | "inv" as prefix:
            kind: Any = {"dlv": Delivery, "per": Period, "inv": Invoice}[prefix]
            found = reader.one(kind, id=id)
            return _holders(reader, found.trade_id) if found is not None else set()
        case "rpt" | "rcl" as prefix:
            of: Any = {"rpt": StoredReport, "rcl": Recall}[prefix]
            about = reader.one(of, id=id)
            return {about.listing_id} if about is not None else set()
    return set()


def within(
    reader: Reader, actor: Actor, names: Iterable[str] | None, bound_to: Iterable[str]
) -> bool:
    """Tell whether a grant is no wider than that of the actor's own key."""
    if actor.operations is not None and (names is None or not set(names) <= actor.operations):
        return False
    if not actor.bound_to:
        return True
    things = list(bound_to)
    return bool(things) and all(
        not actor.bound_to.isdisjoint(_holders(reader, thing)) for thing in things
    )


def things(things: Iterable[str]) -> tuple[str, ...]:
    """Return what a key is bound to: listings and trades, by id."""
    found = tuple(dict.fromkeys(things))
    if len(found) > MOST_BOUND or not all(t.startswith(("lst_", "trd_")) for t in found):
        raise InvalidInput(
            f"a key is bound to at most {MOST_BOUND} listings or trades, by their ids",
            f"密钥至多绑定 {MOST_BOUND} 个挂牌或交易编号",
            field="bound_to",
        )
    return found
