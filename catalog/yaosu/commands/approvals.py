"""`yaosu approvals` and `yaosu organisation`: what needs whose yes, who belongs to it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from yaosu.errors import Text

from .family import family
from .keys import tell_secret
from .language import named
from .terminal import (
    Json,
    Market,
    client,
    command,
    makes,
    print_facts,
    print_json,
    print_table,
    say,
    yuan,
)

app = family("Steps that wait for a second person of one's organisation.\n\n内部审批。")
organisation = family("People, rules and invitations of one's organisation.\n\n机构管理。")

Id = Annotated[str, typer.Argument(metavar="APPROVAL", help="Id of the request. 审批编号。")]
Reason = Annotated[str, typer.Option(help="Why, in writing. 书面原因。")]


@app.command("list")
@command
def list_(
    state: Annotated[
        str | None,
        typer.Option(help="waiting, done, refused, withdrawn, expired, lapsed. 状态。"),
    ] = None,
    market: Market = None,
    as_json: Json = False,
) -> None:
    """List the requests of one's organisation; `yes` marks what you can answer.

    列出本机构的审批。
    """
    found = client(market).organisation.approvals(state)
    if as_json:
        print_json({"items": found})
        return
    print_table(
        (
            "approval 审批",
            "step 事项",
            "about 对象",
            "amount 金额",
            "state 状态",
            "yours 待您",
            "until 截止",
        ),
        [
            (
                a["approval_id"],
                a["action"],
                a["subject_id"],
                yuan(a["amount_fen"]) if a["amount_fen"] is not None else "",
                a["state"],
                "yes" if a["mine"] else "",
                a["expires_at"],
            )
            for a in found
        ],
    )


@app.command()
@command
def show(approval: Id, market: Market = None, as_json: Json = False) -> None:
    """Show a request.

    查看审批。
    """
    _told(client(market).organisation.approval(approval), as_json)


@app.command()
@command
def approve(approval: Id, market: Market = None, as_json: Json = False) -> None:
    """Say yes; the last yes takes the step.

    批准。
    """
    _told(client(market).organisation.approve(approval), as_json)


@app.command()
@command
def refuse(approval: Id, reason: Reason, market: Market = None, as_json: Json = False) -> None:
    """Say no, with a reason.

    驳回并说明原因。
    """
    _told(client(market).organisation.refuse(approval, reason), as_json)


@app.command()
@command
def withdraw(
    approval: Id, reason: Reason = "", market: Market = None, as_json: Json = False
) -> None:
    """Take back what you asked for.

    撤回申请。
    """
    _told(client(market).organisation.withdraw(approval, reason), as_json)


@app.command()
@command
def waiting(market: Market = None, as_json: Json = False) -> None:
    """List what waits for you: approvals, next steps of trades and listings.

    列出待办事项。
    """
    found = client(market).organisation.waiting()
    if as_json:
        print_json({"items": found})
        return
    if not found:
        say(Text("nothing waits for you", "没有待办事项"))
        return
    print_table(
        ("what 事项", "about 对象", "title 名称", "amount 金额", "until 截止"),
        [
            (
                f"{i['kind']} {i['action'] or ''}".strip(),
                i["subject_id"],
                named(i["title"], i.get("title_en")),
                yuan(i["amount_fen"]) if i["amount_fen"] is not None else "",
                i["until"],
            )
            for i in found
        ],
    )


def _told(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(found)
    else:
        says = (found.get("declares") or {}).values()
        words = ", ".join(" ".join(v) if isinstance(v, list) else str(v) for v in says if v)
        facts = {**found, "declares": words}
        print_facts({k: v for k, v in facts.items() if v not in (None, "", [], False)})


# --- the organisation -------------------------------------------------------------------------


@organisation.command()
@command
def people(market: Market = None, as_json: Json = False) -> None:
    """List the people of one's organisation.

    列出成员。
    """
    found = client(market).organisation.members()
    if as_json:
        print_json({"items": found})
        return
    print_table(
        ("member 成员", "name 姓名", "roles 角色", "owner 所有者", "left 离开"),
        [
            (
                m["member_id"],
                m["name"],
                ", ".join(m["roles"]),
                "✓" if m["owner"] else "",
                m["ended_at"],
            )
            for m in found
        ],
    )


@organisation.command("end-member")
@command
def end_member(
    member: Annotated[str, typer.Argument(metavar="MEMBER", help="Id of the person. 成员编号。")],
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Let a person leave: their keys end at once (owner).

    移除成员并立即停用其密钥。
    """
    _told(client(market).organisation.end_member(member), as_json)


@organisation.command()
@command
def rules(market: Market = None, as_json: Json = False) -> None:
    """List the rules: which step needs whose approval.

    列出审批规则。
    """
    found = client(market).organisation.rules()
    if as_json:
        print_json({"items": found})
        return
    print_table(
        ("rule 规则", "step 事项", "above 超过", "approvers 审批人", "days 天数"),
        [
            (
                r["rule_id"],
                r["step"],
                yuan(r["above_fen"]) if r["above_fen"] is not None else "",
                " ".join(r["approvers"]),
                r["days"],
            )
            for r in found
        ],
    )


@organisation.command("set-rule")
@command
@makes("rul")
def set_rule(
    step: Annotated[
        str, typer.Argument(metavar="STEP", help="order, sign, publish, price or declare. 事项。")
    ],
    approver: Annotated[
        list[str], typer.Option(metavar="MEMBER", help="Who may say yes; may be repeated. 审批人。")
    ],
    above_fen: Annotated[
        int | None, typer.Option(min=0, help="Only orders of more than this. 金额下限（分）。")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=90, help="Days a request waits. 有效天数。")] = 7,
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Have a step wait for somebody else's yes, from now on (owner).

    设置审批规则。
    """
    made = client(market).organisation.add_rule(step, approver, above_fen=above_fen, days=days)
    _told(made, as_json)


@organisation.command("end-rule")
@command
def end_rule(
    rule: Annotated[str, typer.Argument(metavar="RULE", help="Id of the rule. 规则编号。")],
    market: Market = None,
    as_json: Json = False,
) -> None:
    """End a rule (owner); where somebody else can say yes to that, it waits for them.

    终止审批规则。
    """
    _told(client(market).organisation.end_rule(rule), as_json)


@organisation.command()
@command
@makes("ivt")
def invite(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the person. 姓名。")],
    role: Annotated[
        list[str] | None, typer.Option(help="provider, buyer, …; may be repeated. 角色。")
    ] = None,
    email: Annotated[str, typer.Option(help="Whom it is for. 邮箱。")] = "",
    owner: Annotated[bool, typer.Option(help="May invite and set rules, too. 所有者。")] = False,
    days: Annotated[int, typer.Option(min=1, max=30, help="Days it holds. 有效天数。")] = 7,
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Invite a person (owner); the link is shown this once.

    邀请成员（链接只显示一次）。
    """
    made = client(market).organisation.invite(
        name, email=email, roles=role or [], owner=owner, days=days
    )
    if as_json:
        print_json(made)
        return
    say(made["invitation_id"])
    say(
        Text(
            "send this link to that person alone; it works once:",
            "请仅将链接发给本人，仅可使用一次：",
        )
    )
    say(str(made.get("link")))


@organisation.command()
@command
def invitations(market: Market = None, as_json: Json = False) -> None:
    """List the invitations (owner); their links are kept nowhere.

    列出邀请。
    """
    found = client(market).organisation.invitations()
    if as_json:
        print_json({"items": found})
        return
    print_table(
        ("invitation 邀请", "name 姓名", "roles 角色", "state 状态", "until 有效期"),
        [
            (i["invitation_id"], i["name"], ", ".join(i["roles"]), i["state"], i["expires_at"])
            for i in found
        ],
    )


@organisation.command("revoke-invitation")
@command
def revoke_invitation(
    invitation: Annotated[
        str, typer.Argument(metavar="INVITATION", help="Id of the invitation. 邀请编号。")
    ],
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Take an invitation back (owner).

    撤回邀请。
    """
    _told(client(market).organisation.revoke_invitation(invitation), as_json)


@organisation.command()
@command
def join(
    link: Annotated[str, typer.Argument(metavar="LINK", help="The link you were sent. 邀请链接。")],
    name: Annotated[str, typer.Option(help="Your name. 姓名。")] = "",
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Take an invitation; your key is shown this once.

    接受邀请（密钥只显示一次）。
    """
    made = client(market, key_needed=False).organisation.accept_invitation(link, name)
    if as_json:
        print_json(made)
        return
    say(made["member_id"])
    if made.get("key"):
        tell_secret(made["member_id"], made["key"])
