"""`yaosu trade`: the steps of buyer and provider, from intent to completion."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from yaosu.errors import InvalidInput, Text
from yaosu_schemas.canonical import jcs

from .family import family
from .language import called
from .listing import Platform, SigningKey, print_events
from .order import arrived, order, told
from .reads import reads
from .standing import commands_for, state_word, steps_of
from .terminal import (
    Json,
    Market,
    client,
    command,
    print_facts,
    print_json,
    print_table,
    say,
    yuan,
)

app = family("Take a trade from step to step.\n\n办理交易各步骤。")

Id = Annotated[str, typer.Argument(metavar="TRADE", help="Id of the trade. 交易编号。")]
Reason = Annotated[str, typer.Option("--reason", help="Why, in writing. 书面原因。")]

app.command("intent")(order)
app.command("reads")(reads)


@app.command("list")
@command
def list_(
    state: Annotated[str | None, typer.Option(help="Only in this state. 按状态筛选。")] = None,
    market: Market = None,
    as_json: Json = False,
) -> None:
    """List one's trades as either side, newest first.

    列出本方交易。
    """
    trades = list(client(market).trades(state))
    if as_json:
        print_json({"items": [t.data for t in trades]})
        return
    print_table(
        ("trade 交易", "state 状态", "provider 提供方", "buyer 买方", "amount 金额", "next 可执行"),
        [
            (
                t.id,
                state_word(t.id, t.state),
                called(t["provider"]),
                called(t["user"]),
                yuan(t["terms"]["amount_fen"]),
                commands_for(t.id, t["next"], "provider", "buyer", "exchange", "admin"),
            )
            for t in trades
        ],
    )


@app.command()
@command
def show(trade: Id, market: Market = None, as_json: Json = False) -> None:
    """Show a trade: parties, terms, where it stands, what can be done next.

    查看交易。
    """
    found = client(market).trade(trade)
    if as_json:
        print_json(found.data)
        return
    terms = found["terms"]
    sides = {found[s]["party_id"]: called(found[s]) for s in ("provider", "user")}
    print_facts(
        {
            "trade 交易": found.id,
            "state 状态": state_word(found.id, found.state),
            "listing 挂牌": found["listing_id"],
            "provider 提供方": called(found["provider"]),
            "buyer 买方": called(found["user"]),
            "price 价格": f"{yuan(terms['amount_fen'])} ({terms['mode']} × {terms['quantity']})",
            "rights 权利": ", ".join(terms["rights"]),
            "purpose 用途": terms["purpose"],
            "turn of 待回应方": sides.get(found["turn"]) if found.state == "negotiating" else "",
            "offer 报价摘要": found["offer_digest"],
            "contract 合同": (found["agreement"] or {}).get("contract_no"),
            "contract digest 合同摘要": found["agreement_digest"],
            "signed by 签署方": ", ".join(
                sides.get(s["party_id"], s["party_id"]) for s in found["signatures"]
            ),
            "filing 备案号": found["filing_no"],
            "paid 已付": yuan(found["paid_fen"]) if found["paid_fen"] else "",
            "delivery 交付": found["delivery_id"],
            "objection 异议": found["objection"],
            "voucher 凭证": found["voucher_no"],
            "assessment 合规评估": "required 需要" if found["assessment_required"] else "",
            "reason 原因": found["reason"],
            "next 下一步": "\n".join(steps_of(found.id, found["next"])),
        }
    )


@app.command()
@command
def events(trade: Id, market: Market = None, as_json: Json = False) -> None:
    """Show the evidence chain of a trade.

    查看存证链。
    """
    print_events(client(market).trade(trade).events(), as_json)


@app.command()
@command
def receipt(trade: Id, market: Market = None) -> None:
    """Print the receipt: JSON that proves the trade offline (see `yaosu verify`).

    输出交易收据（可离线验证）。
    """
    typer.echo(jcs(client(market).trade(trade).receipt()))


@app.command()
@command
def profile(
    trade: Id,
    to: Annotated[
        Path, typer.Option("--to", metavar="FILE", help="Where it is written. 输出文件。")
    ],
    market: Market = None,
) -> None:
    """Write a Delta Sharing profile for the tables of a delivery; whoever has it can read them.

    生成 Delta Sharing 凭据文件；持有者即可读取所购数据表。
    """
    made = client(market).trade(trade).share_profile()
    key_id = made.pop("key_id")
    with open(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(made, file)
    say(
        Text(
            f"wrote {to}; `yaosu keys revoke {key_id}` ends it",
            f"已写入 {to}；可用 yaosu keys revoke {key_id} 撤销",
        )
    )


@app.command()
@command
def record(trade: Id, market: Market = None) -> None:
    """Print the neutral trading record that other exchanges can read.

    输出中立交易记录。
    """
    print_json(client(market).trade(trade).record())


@app.command()
@command
def settlement(trade: Id, market: Market = None, as_json: Json = False) -> None:
    """Show the postings of a trade.

    查看结算分录。
    """
    found = client(market).settlement(trade)
    if as_json:
        print_json(found)
        return
    print_table(
        ("account 账户", "amount 金额", "at 时间"),
        [(p["account"], f"{p['amount_fen'] / 100:+,.2f}", p["at"]) for p in found["postings"]],
    )


# --- negotiation ------------------------------------------------------------------------------

Amount = Annotated[int | None, typer.Option(min=0, help="Amount in fen. 金额（分）。")]
Quantity = Annotated[int | None, typer.Option(min=1, help="How much. 数量。")]
Right = Annotated[list[str] | None, typer.Option(help="Rights; may be repeated. 权利。")]
Days = Annotated[int | None, typer.Option("--days", min=1, help="Term in days. 期限（天）。")]
Inspection = Annotated[
    int | None, typer.Option(min=0, help="Days to inspect after delivery. 验收天数。")
]
Timing = Annotated[str | None, typer.Option(help="prepaid or postpaid. 付款方式。")]
Note = Annotated[str | None, typer.Option(help="A note. 备注。")]
Exclusive = Annotated[bool | None, typer.Option(help="For this buyer alone. 是否独占。")]
Purpose = Annotated[str | None, typer.Option(help="What the data is for. 使用目的。")]
Scenario = Annotated[str | None, typer.Option(help="Scenario of use. 应用场景。")]
Territory = Annotated[str | None, typer.Option(help="Where it is used. 使用地域。")]
Silent = Annotated[
    bool | None, typer.Option(help="No word within the days is acceptance. 逾期视为验收。")
]


def _changes(**given: Any) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


@app.command()
@command
def answer(
    trade: Id,
    amount_fen: Amount = None,
    quantity: Quantity = None,
    right: Right = None,
    exclusive: Exclusive = None,
    purpose: Purpose = None,
    scenario: Scenario = None,
    territory: Territory = None,
    days: Days = None,
    inspection_days: Inspection = None,
    silent_acceptance: Silent = None,
    payment_timing: Timing = None,
    note: Note = None,
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Answer an intent as the provider, as it was wished or with other terms (T2).

    提供方回应意向，可同时调整条款。
    """
    changes = _changes(
        amount_fen=amount_fen,
        quantity=quantity,
        rights=right,
        exclusive=exclusive,
        purpose=purpose,
        scenario=scenario,
        territory=territory,
        term_days=days,
        inspection_days=inspection_days,
        silent_acceptance=silent_acceptance,
        payment_timing=payment_timing,
        note=note,
    )
    told(client(market).trade(trade).act("answer", changes=changes), as_json)


@app.command()
@command
def counter(
    trade: Id,
    amount_fen: Amount = None,
    quantity: Quantity = None,
    right: Right = None,
    exclusive: Exclusive = None,
    purpose: Purpose = None,
    scenario: Scenario = None,
    territory: Territory = None,
    days: Days = None,
    inspection_days: Inspection = None,
    silent_acceptance: Silent = None,
    payment_timing: Timing = None,
    note: Note = None,
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Make a counter-offer when it is one's turn (T3).

    还价或调整条款。
    """
    changes = _changes(
        amount_fen=amount_fen,
        quantity=quantity,
        rights=right,
        exclusive=exclusive,
        purpose=purpose,
        scenario=scenario,
        territory=territory,
        term_days=days,
        inspection_days=inspection_days,
        silent_acceptance=silent_acceptance,
        payment_timing=payment_timing,
        note=note,
    )
    if not changes:
        raise InvalidInput(
            "a counter-offer changes something; to agree: yaosu trade agree",
            "还价需调整至少一项条款；同意请用 yaosu trade agree",
        )
    told(client(market).trade(trade).act("counter", changes=changes), as_json)


@app.command()
@command
def agree(
    trade: Id,
    offer: Annotated[
        str | None,
        typer.Option(metavar="DIGEST", help="The offer you have read, by its digest. 报价摘要。"),
    ] = None,
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Agree to the other side's offer (T4).

    同意对方报价。
    """
    found = client(market).trade(trade)
    told(found.act("agree", offer_digest=offer) if offer else found.agree(), as_json)


@app.command()
@command
def take(
    trade: Id,
    accept_on_delivery: Annotated[
        bool, typer.Option(help="Accept at once when it is delivered. 交付即验收。")
    ] = False,
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Take the standing offer unchanged (T2a).

    按长期报价成交。
    """
    found = client(market).trade(trade).take(accept_on_delivery=accept_on_delivery)
    told(arrived(found), as_json)


@app.command()
@command
def sign(
    trade: Id,
    signing_key: SigningKey = None,
    platform: Platform = False,
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Read the agreement, check it, and sign its digest with one's own key (T6).

    核对合同并用本方密钥签署。
    """
    told(client(market).trade(trade).sign(signing_key, platform=platform), as_json)


@app.command()
@command
def cancel(
    trade: Id,
    reason: Annotated[str, typer.Option("--reason", help="Why. 原因。")] = "",
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Step back before signing (T16).

    签署前取消。
    """
    told(client(market).trade(trade).act("cancel", reason=reason), as_json)


# --- delivery and after -----------------------------------------------------------------------


@app.command()
@command
def deliver(trade: Id, market: Market = None, as_json: Json = False) -> None:
    """Open the way to the data, once it is paid (T8).

    开始交付。
    """
    told(client(market).trade(trade).act("deliver"), as_json)


@app.command()
@command
def redeliver(trade: Id, market: Market = None, as_json: Json = False) -> None:
    """Deliver again after an objection (T11).

    重新交付。
    """
    told(client(market).trade(trade).act("redeliver"), as_json)


@app.command()
@command
def accept(trade: Id, market: Market = None, as_json: Json = False) -> None:
    """Accept the delivery by the digest of its manifest (T10); fetch and look first.

    验收（请先下载并核对数据）。
    """
    told(client(market).trade(trade).accept(), as_json)


@app.command()
@command
def reject(trade: Id, reason: Reason, market: Market = None, as_json: Json = False) -> None:
    """Object to what was delivered (T11).

    对交付提出异议。
    """
    told(client(market).trade(trade).act("reject", objection=reason), as_json)


@app.command()
@command
def complete(trade: Id, market: Market = None, as_json: Json = False) -> None:
    """Close a trade that has its voucher (T15).

    完成交易。
    """
    told(client(market).trade(trade).act("complete"), as_json)


@app.command()
@command
def rate(
    trade: Id,
    score: Annotated[int, typer.Argument(min=1, max=5, help="1 to 5. 评分 1–5。")],
    text: Annotated[str, typer.Option(help="Some words. 评价。")] = "",
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Rate what was bought.

    评价。
    """
    told(client(market).trade(trade).act("rate", score=score, text=text), as_json)


@app.command()
@command
def terminate(trade: Id, reason: Reason, market: Market = None, as_json: Json = False) -> None:
    """End a running trade; access closes, escrow goes back (T17).

    终止交易（关闭访问，退回托管款）。
    """
    told(client(market).trade(trade).act("terminate", reason=reason), as_json)


@app.command()
@command
def dispute(
    trade: Id,
    reason: Reason,
    channel: Annotated[
        str, typer.Option(help="negotiation, mediation, arbitration or litigation. 解决方式。")
    ] = "negotiation",
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Raise a dispute; everything waits for its outcome (T18).

    发起争议。
    """
    told(client(market).trade(trade).act("dispute", ground=reason, channel=channel), as_json)


@app.command()
@command
def exhibit(
    trade: Id,
    text: Annotated[str, typer.Option(help="The evidence in words. 证据说明。")],
    digest: Annotated[
        str, typer.Option(help="sha256:… of the bytes that it is about. 证据文件摘要。")
    ] = "",
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Bring evidence forward in a dispute (T18).

    提交争议证据。
    """
    told(client(market).trade(trade).act("exhibit", text=text, digest=digest), as_json)


@app.command()
@command
def stop(
    trade: Id,
    reason: Annotated[str, typer.Option("--reason", help="Why. 原因。")] = "",
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Stop the renewal: the period that runs is the last.

    停止续期。
    """
    told(client(market).trade(trade).act("stop", reason=reason), as_json)


@app.command("api-key")
@command
def api_key(trade: Id, market: Market = None) -> None:
    """Make a metered key for the rows of a trade; it is shown this once.

    签发调用密钥（仅显示一次）。
    """
    print_json(client(market).charges.api_key(trade))


from . import office  # noqa: E402,F401  (the operator's steps add themselves to this group)
