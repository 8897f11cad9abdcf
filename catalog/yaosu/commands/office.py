"""The operator's steps of `yaosu trade`: filing, payment, settlement, assessment, disputes."""

from __future__ import annotations

from typing import Annotated

import typer

from yaosu.errors import InvalidInput

from .order import told
from .terminal import Json, Market, client, command
from .trade import Id, Reason, app


@app.command()
@command
def assess(
    trade: Id,
    opinion: Annotated[str, typer.Option(help="The written opinion. 书面意见。")],
    passed: Annotated[bool, typer.Option("--passed/--failed", help="The outcome. 结论。")] = True,
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Give the compliance assessment of an agreed trade (T5).

    出具合规评估意见。
    """
    told(client(market).trade(trade).act("assess", passed=passed, opinion=opinion), as_json)


@app.command()
@command
def refuse(trade: Id, reason: Reason, market: Market = None, as_json: Json = False) -> None:
    """Refuse a trade whose assessment failed (T5b).

    合规评估未通过，拒绝交易。
    """
    told(client(market).trade(trade).act("refuse", reason=reason), as_json)


@app.command()
@command
def file(
    trade: Id,
    number: Annotated[str, typer.Argument(metavar="NUMBER", help="Filing number. 备案号。")],
    market: Market = None,
    as_json: Json = False,
) -> None:
    """File the contract under a number (T7).

    合同备案。
    """
    told(client(market).trade(trade).act("file", filing_no=number), as_json)


@app.command("refuse-filing")
@command
def refuse_filing(trade: Id, reason: Reason, market: Market = None, as_json: Json = False) -> None:
    """Refuse to file the contract (T7b).

    拒绝备案。
    """
    told(client(market).trade(trade).act("refuse_filing", reason=reason), as_json)


@app.command()
@command
def pay(
    trade: Id,
    reference: Annotated[str, typer.Option(help="Reference of the bank. 银行流水号。")],
    amount_fen: Annotated[
        int | None, typer.Option(min=1, help="What arrived (default: the contract's). 到账金额。")
    ] = None,
    payer: Annotated[
        str | None, typer.Option(help="Party that paid (default: the buyer). 付款方。")
    ] = None,
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Confirm that the payment has arrived (T7c); an admin needs a second one.

    确认到账（管理员需双人确认）。
    """
    found = client(market).trade(trade)
    told(
        found.act(
            "confirm_payment",
            amount_fen=amount_fen or found["terms"]["amount_fen"],
            payer=payer or found["user"]["party_id"],
            reference=reference,
        ),
        as_json,
    )


@app.command()
@command
def bill(trade: Id, market: Market = None, as_json: Json = False) -> None:
    """Make out the bill of an accepted trade (T12).

    出具账单。
    """
    told(client(market).trade(trade).act("bill"), as_json)


@app.command()
@command
def settle(trade: Id, market: Market = None, as_json: Json = False) -> None:
    """Pay the escrow out to right holders and platform (T13).

    结算。
    """
    told(client(market).trade(trade).act("settle"), as_json)


@app.command()
@command
def voucher(trade: Id, market: Market = None, as_json: Json = False) -> None:
    """Issue the voucher (T14).

    签发凭证。
    """
    told(client(market).trade(trade).act("voucher"), as_json)


@app.command()
@command
def resolve(
    trade: Id,
    outcome: Annotated[str, typer.Option(help="The outcome in writing. 处理结果。")],
    to: Annotated[str, typer.Option(help="State the trade goes to. 结果状态。")],
    refund_fen: Annotated[
        int | None, typer.Option(min=0, help="What goes back to the buyer. 退款（分）。")
    ] = None,
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Record how a dispute ended, and where the trade goes from there (T19).

    记录争议结果。
    """
    told(
        client(market).trade(trade).act("resolve", outcome=outcome, to=to, refund_fen=refund_fen),
        as_json,
    )


@app.command()
@command
def correct(
    trade: Id,
    reason: Reason,
    line: Annotated[
        list[str], typer.Option(help="account=fen, may be repeated; they add up to 0. 分录。")
    ],
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Mend what was posted by an entry beside it; a second operator approves.

    以新分录更正（需双人审批）。
    """
    lines = []
    for text in line:
        account, _, fen = text.rpartition("=")
        try:
            lines.append({"account": account, "amount_fen": int(fen)})
        except ValueError:
            raise InvalidInput(
                f"a line is account=fen: {text[:80]!r}", f"分录格式为 账户=分：{text[:80]}"
            ) from None
    told(client(market).trade(trade).act("correct", reason=reason, lines=lines), as_json)
