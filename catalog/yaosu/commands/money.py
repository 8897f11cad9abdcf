"""`yaosu period`, `yaosu invoice`, `yaosu payout`, `yaosu rows`: money and metered rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from yaosu.errors import Text

from .family import family
from .terminal import (
    Json,
    Market,
    client,
    command,
    makes,
    print_facts,
    print_json,
    print_table,
    printed,
    say,
    yuan,
)

period_app = family("Periods of subscriptions and of metered use.\n\n办理订阅与计量周期。")
invoice_app = family("Invoices, and those in red.\n\n发票与红字发票。")

Trade = Annotated[str, typer.Argument(metavar="TRADE", help="Id of the trade. 交易编号。")]
PeriodId = Annotated[str, typer.Argument(metavar="PERIOD", help="Id of the period. 周期编号。")]
Version = Annotated[
    str | None, typer.Option(metavar="LISTING", help="Which version (default: newest). 版本。")
]
Day = Annotated[str, typer.Option("--issued-on", help="YYYY-MM-DD. 开票日期。")]
Number = Annotated[str, typer.Argument(metavar="NUMBER", help="Its number. 发票号码。")]
First = Annotated[str | None, typer.Option("--from", help="First day. 起始日。")]
Last = Annotated[str | None, typer.Option("--to", help="Last day. 截止日。")]


@period_app.command("list")
@command
def list_(trade: Trade, market: Market = None, as_json: Json = False) -> None:
    """List the periods of a trade.

    列出交易的各周期。
    """
    found = client(market).charges.periods(trade)
    if as_json:
        print_json({"items": found})
        return
    print_table(
        ("period 周期", "no. 序号", "state 状态", "amount 金额", "used 用量", "until 截止"),
        [
            (
                p["period_id"],
                p["number"],
                p["state"],
                yuan(p["amount_fen"]),
                p["used"],
                p["ends_at"] or "",
            )
            for p in found
        ],
    )


def _told(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(found)
    elif "approval_id" in found:
        say(Text("a second operator has to confirm it", "需第二名运营人员确认"))
    else:
        shown = ("period_id", "number", "state", "delivery_id", "starts_at", "ends_at", "reason")
        print_facts({name: found.get(name) for name in shown})


@period_app.command()
@command
def pay(
    period: PeriodId,
    reference: Annotated[str, typer.Option(help="Reference of the bank. 银行流水号。")],
    amount_fen: Annotated[
        int | None, typer.Option(min=1, help="What arrived (default: what is due). 到账金额。")
    ] = None,
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Confirm that a period's payment has arrived (T7c); an admin needs a second one.

    确认周期付款到账。
    """
    charges = client(market).charges
    found = charges.period(period)
    due = found["billed_fen"] if found["state"] == "settling" else found["amount_fen"]
    _told(
        charges.act(
            period,
            "confirm_payment",
            amount_fen=amount_fen or due,
            payer=found["user_id"],
            reference=reference,
        ),
        as_json,
    )


@period_app.command()
@command
def deliver(
    period: PeriodId, version: Version = None, market: Market = None, as_json: Json = False
) -> None:
    """Deliver a period: the newest version that keeps to the quality floors (T8).

    交付周期数据（须达到约定的质量下限）。
    """
    _told(client(market).charges.act(period, "deliver", listing_id=version), as_json)


@period_app.command()
@command
def redeliver(
    period: PeriodId, version: Version = None, market: Market = None, as_json: Json = False
) -> None:
    """Deliver a period again after an objection (T11).

    重新交付周期数据。
    """
    _told(client(market).charges.act(period, "redeliver", listing_id=version), as_json)


@period_app.command()
@command
def accept(period: PeriodId, market: Market = None, as_json: Json = False) -> None:
    """Accept what a period delivered, by the digest of its manifest (T10).

    验收周期交付。
    """
    here = client(market)
    found = here.charges.period(period)
    manifest = here.delivery(found["delivery_id"])["manifest_digest"]
    _told(here.charges.act(period, "accept", manifest_digest=manifest), as_json)


@period_app.command()
@command
def reject(
    period: PeriodId,
    reason: Annotated[str, typer.Option("--reason", help="Why. 原因。")],
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Object to what a period delivered (T11).

    对周期交付提出异议。
    """
    _told(client(market).charges.act(period, "reject", objection=reason), as_json)


@period_app.command()
@command
def bill(period: PeriodId, market: Market = None, as_json: Json = False) -> None:
    """Bill a period that has ended: its price, or its use (T12).

    周期出账。
    """
    _told(client(market).charges.act(period, "bill"), as_json)


@period_app.command()
@command
def settle(period: PeriodId, market: Market = None, as_json: Json = False) -> None:
    """Pay a period's escrow out; what was not used goes back (T13).

    周期结算。
    """
    _told(client(market).charges.act(period, "settle"), as_json)


# --- rows over the API ------------------------------------------------------------------------


@command
def rows(
    delivery: Annotated[str, typer.Argument(metavar="DELIVERY", help="The delivery. 交付编号。")],
    resource: Annotated[str, typer.Argument(metavar="RESOURCE", help="The table. 资源名。")],
    column: Annotated[list[str] | None, typer.Option(help="Only these columns. 列。")] = None,
    where: Annotated[
        list[str] | None, typer.Option(help="column:operator:value, all must hold. 筛选。")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows of a call. 单次行数。")] = 1000,
    market: Market = None,
) -> None:
    """Print rows as JSON lines, page by page; the key is a metered one (YAOSU_KEY).

    按接口取数（JSON Lines），密钥为调用密钥。
    """
    import json

    found = client(market).charges.rows(
        delivery, resource, columns=column or (), filters=where or (), limit=limit
    )
    for row in found:
        printed(json.dumps(row, ensure_ascii=False) + "\n")


# --- invoices and statements ------------------------------------------------------------------


@invoice_app.command("list")
@command
def invoices(market: Market = None, as_json: Json = False) -> None:
    """List the invoices that one issued or was issued.

    列出发票。
    """
    found = list(client(market).charges.invoices())
    if as_json:
        print_json({"items": found})
        return
    print_table(
        ("invoice 发票", "number 号码", "amount 金额", "tax 税额", "date 日期", "corrects 冲红"),
        [
            (
                i["invoice_id"],
                i["number"],
                yuan(i["amount_fen"]),
                yuan(i["tax_fen"]),
                i["issued_on"],
                i["corrects"] or "",
            )
            for i in found
        ],
    )


@invoice_app.command("new")
@command
@makes("inv")
def new_invoice(
    trade: Trade,
    number: Number,
    issued_on: Day,
    amount_fen: Annotated[int, typer.Option(min=1, help="Tax within, in fen. 含税金额（分）。")],
    tax_fen: Annotated[
        int | None, typer.Option(min=0, help="Default: by the tax rate. 税额（分）。")
    ] = None,
    period: Annotated[str | None, typer.Option(help="Of this period. 所属周期。")] = None,
    market: Market = None,
) -> None:
    """Report an invoice over what a trade was charged.

    登记发票。
    """
    print_json(
        client(market).charges.invoice(
            trade, number, amount_fen, issued_on, tax_fen=tax_fen, period_id=period
        )
    )


@invoice_app.command("correct")
@command
@makes("inv")
def red_invoice(
    invoice: Annotated[str, typer.Argument(metavar="INVOICE", help="The wrong one. 原发票。")],
    number: Number,
    issued_on: Day,
    reason: Annotated[str, typer.Option("--reason", help="Why. 原因。")],
    amount_fen: Annotated[
        int | None, typer.Option(min=1, help="Only so much (default: all). 冲红金额（分）。")
    ] = None,
    market: Market = None,
) -> None:
    """Report an invoice in red that takes back another.

    登记红字发票。
    """
    charges = client(market).charges
    print_json(charges.correct_invoice(invoice, number, issued_on, reason, amount_fen=amount_fen))


@command
def payout(
    since: First = None,
    until: Last = None,
    csv: Annotated[Path | None, typer.Option(help="Write CSV here. 输出 CSV。")] = None,
    party: Annotated[str | None, typer.Option(help="Of whom (operators). 主体（运营方）。")] = None,
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Show what was paid out to one's organisation between two days (default: this month).

    查看结算对账单。
    """
    charges = client(market).charges
    if csv is not None:
        csv.write_bytes(charges.payout_csv(since, until, party))
        say(Text(f"wrote {csv}", f"已写入 {csv}"))
        return
    found = charges.payout(since, until, party)
    if as_json:
        print_json(found)
        return
    print_table(
        ("at 时间", "contract 合同", "entry 分录", "buyer 买方", "amount 金额"),
        [
            (line["at"], line["contract_no"], line["entry"], line["buyer"],
             yuan(line["amount_fen"]))
            for line in found["lines"]
        ],
    )  # fmt: skip
    print_facts(
        {
            "opening 期初": f"{found['opening_fen'] / 100:,.2f}",
            "paid 本期": f"{found['paid_fen'] / 100:,.2f}",
            "closing 期末": f"{found['closing_fen'] / 100:,.2f}",
        }
    )
