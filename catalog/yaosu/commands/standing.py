"""Where a listing or a trade stands, for people: the state in both languages, and who goes on how.

The market tells every legal step of a state by the name that the API has for it. A person wants
the command to type, and whether the step is theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from yaosu.errors import Text

_LISTING = {
    "submit": "submit",
    "revise": "submit",
    "return": "review return",
    "register": "review register",
    "renew_certificate": "review renew",
    "open_notice": "review notice",
    "close_notice": "review close-notice",
    "uphold_objection": "review uphold",
    "object": "listing object",
    "answer_objection": "listing answer",
    "apply": "listing apply",
    "list": "review publish",
    "suspend": "review suspend",
    "resume": "review resume",
    "delist": "listing delist",
    "withdraw": "listing withdraw",
    "edit_text": "listing edit",
    "offer": "listing offer",
    "comment": "listing comment",
    "contest": "listing contest",
    "answer_contest": "review answer-contest",
}
_TRADE = {"confirm_payment": "trade pay", "refuse_filing": "trade refuse-filing"}
_NOBODY = frozenset(("system",))
_WHO = {
    "provider": Text("provider", "提供方"),
    "buyer": Text("buyer", "买方"),
    "reviewer": Text("reviewer", "审核方"),
    "exchange": Text("exchange", "交易场所"),
    "admin": Text("operator", "运营方"),
    "member": Text("any member", "任一成员"),
}


def stood(thing_id: str, state: str, following: Sequence[str] | None) -> Text:
    """Return the state of a thing, and who can do what next."""
    said = state_of(thing_id, state)
    steps = steps_of(thing_id, following or ())
    return Text(
        f"{thing_id} is {said.en}" + (f"; next: {steps.en}" if steps.en else ""),
        f"{thing_id} 状态：{said.zh}" + (f"；下一步：{steps.zh}" if steps.zh else ""),
    )


def state_word(thing_id: str, state: str) -> str:
    """Return a state for a cell of a table: the code and its Chinese name."""
    said = state_of(thing_id, state)
    return state if said.zh == state else f"{state} {said.zh}"


def state_of(thing_id: str, state: str) -> Text:
    """Return the name of a state; unknown codes stay as they are."""
    from yaosu_schemas.codes import code_list

    name = {"lst": "listing_state", "trd": "trade_state"}.get(thing_id.partition("_")[0])
    known = code_list(name).get(state) if name else None
    return Text(f"'{state}'", known.zh if known else state)


def steps_of(thing_id: str, actions: Iterable[str]) -> Text:
    """Return the commands that go on from here, each with who may give it."""
    en, zh = [], []
    for action, actors in _steps(thing_id, actions):
        command = command_of(thing_id, action)
        en.append(f"{command} ({', '.join(_WHO[a].en for a in actors)})")
        zh.append(f"{command}（{'、'.join(_WHO[a].zh for a in actors)}）")
    return Text(", ".join(en), "、".join(zh))


def commands_for(thing_id: str, actions: Iterable[str], *roles: str) -> str:
    """Return the commands that are open to somebody in these roles."""
    mine = [a for a, actors in _steps(thing_id, actions) if set(roles) & set(actors)]
    return ", ".join(dict.fromkeys(command_of(thing_id, a) for a in mine))


def command_of(thing_id: str, action: str) -> str:
    """Return what a person types after `yaosu` for a step."""
    if thing_id.startswith("lst_"):
        return _LISTING.get(action, action)
    return _TRADE.get(action, f"trade {action}")


def _steps(thing_id: str, actions: Iterable[str]) -> list[tuple[str, list[str]]]:
    """Return (action, who may take it), without those that the market takes by itself."""
    from yaosu.steps import LISTING_STEPS, TRADE_STEPS

    table = {s.action: s for s in (LISTING_STEPS if thing_id.startswith("lst_") else TRADE_STEPS)}
    found = []
    for action in actions:
        actors = {str(a) for a in table[action].actors} if action in table else set()
        if actors := actors - _NOBODY:
            found.append((action, sorted(actors)))
    return found
