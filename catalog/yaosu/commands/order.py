"""`yaosu order` and `yaosu buy`: how a trade begins."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from yaosu.errors import Conflict, Text

from .language import called, named
from .standing import stood
from .terminal import (
    Json,
    Market,
    client,
    command,
    confirmed,
    makes,
    print_facts,
    print_json,
    say,
    tell_approval,
    yuan,
)

if TYPE_CHECKING:
    from yaosu.client.remote import Trade

DELIVERY_S = 10.0
"""How long `buy` waits for a delivery that has begun."""

Id = Annotated[str, typer.Argument(metavar="LISTING", help="Id of the listing. 挂牌编号。")]
Purpose = Annotated[str, typer.Option(help="What the data is for. 使用目的。")]
Mode = Annotated[str | None, typer.Option(help="Pricing mode of the listing. 计价方式。")]
Quantity = Annotated[int, typer.Option(min=1, help="How much. 数量。")]
Right = Annotated[
    list[str] | None, typer.Option(help="use, hold or operate; may be repeated. 权利类型。")
]
Days = Annotated[int | None, typer.Option("--days", min=1, help="Term in days. 期限（天）。")]
Territory = Annotated[str | None, typer.Option(help="Where it is used. 使用地域。")]
Qualification = Annotated[
    str | None, typer.Option(help="Statement of qualification, if asked for. 资质说明。")
]
Note = Annotated[str | None, typer.Option(help="A note to the provider. 备注。")]


@command
@makes("trd")
def order(
    listing: Id,
    purpose: Purpose,
    mode: Mode = None,
    quantity: Quantity = 1,
    right: Right = None,
    amount_fen: Annotated[
        int | None, typer.Option(min=0, help="Your price, for negotiated prices. 议价金额（分）。")
    ] = None,
    days: Days = None,
    territory: Territory = None,
    qualification: Qualification = None,
    note: Note = None,
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Say that you want a listing; the provider answers (T1).

    提交购买意向，等待提供方回应。
    """
    wish = {
        "mode": mode,
        "quantity": quantity,
        "rights": right,
        "amount_fen": amount_fen,
        "term_days": days,
        "territory": territory,
        "qualification": qualification,
        "note": note,
    }
    told(client(market).order(listing, purpose=purpose, **wish), as_json)


@command
def buy(
    listing: Id,
    purpose: Purpose,
    mode: Mode = None,
    quantity: Quantity = 1,
    right: Right = None,
    days: Days = None,
    territory: Territory = None,
    qualification: Qualification = None,
    at_most_fen: Annotated[
        int | None, typer.Option(min=0, help="Refuse a higher price. 价格上限（分）。")
    ] = None,
    signing_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Your signing key. 签名密钥。")
    ] = None,
    platform: Annotated[
        bool, typer.Option(help="Sign with the key the market holds. 平台代签。")
    ] = False,
    accept_on_delivery: Annotated[
        bool, typer.Option(help="Accept at once when it is delivered. 交付即验收。")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask. 不再询问。")] = False,
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Buy in one step: read the quote, sign the agreement with your own key, take it.

    一步购买：查看报价，用本方密钥签署合同并成交。
    """
    found = client(market).listing(listing)
    wish = {
        "mode": mode,
        "quantity": quantity,
        "rights": right,
        "term_days": days,
        "territory": territory,
        "qualification": qualification,
    }
    quote = found.quote(purpose=purpose, **wish)
    if not as_json:
        _tell_quote(named(found.title, found.title_en), quote)
    costs = quote["terms"]["amount_fen"]
    if not (yes or at_most_fen is not None or costs == 0) and not confirmed(
        Text("sign this agreement and buy?", "签署合同并购买？")
    ):
        raise Conflict(
            "not bought: agree with --yes, or set a limit with --at-most-fen",
            "未购买：请用 --yes 同意，或用 --at-most-fen 设定上限",
            amount_fen=costs,
        )
    trade = found.buy(
        purpose=purpose,
        key=signing_key,
        platform=platform,
        at_most_fen=at_most_fen,
        accept_on_delivery=accept_on_delivery,
        quote=quote,
        **wish,
    )
    told(arrived(trade), as_json)


def arrived(trade: Trade) -> Trade:
    """Wait a moment where the market is delivering already: what comes next is then known."""
    end = time.monotonic() + DELIVERY_S
    while on_its_way(trade) and time.monotonic() < end:
        time.sleep(0.2)
        trade.refresh()
    return trade


def on_its_way(trade: Trade) -> bool:
    """Tell whether it is the market that delivers now, not the provider after an objection."""
    return trade.state == "delivering" and not trade.data.get("objection")


def _tell_quote(title: str, quote: dict[str, Any]) -> None:
    terms, agreement = quote["terms"], quote["agreement"]
    print_facts(
        {
            "listing 数据集": title,
            "provider 提供方": called(agreement["provider"]),
            "price 价格": yuan(terms["amount_fen"]),
            "mode 计价": terms["mode"],
            "rights 权利": ", ".join(terms["rights"]),
            "purpose 用途": terms["purpose"],
            "term 期限": f"{terms['term_days']} days" if terms.get("term_days") else "",
            "licence 许可": agreement["rights"].get("license_spdx"),
            "contract 合同": f"{agreement['contract_no']} ({agreement['template']})",
            "digest 合同摘要": quote["agreement_digest"],
        }
    )


def told(trade: Trade, as_json: bool) -> None:
    """Write where a trade stands and what can be done next."""
    if as_json:
        print_json(trade.data)
        return
    if trade.state in ("delivered", "accepted", "vouchered", "completed"):
        say(Text(f"the data: yaosu fetch {trade.id}", f"取数据：yaosu fetch {trade.id}"))
    following = trade.data.get("next")
    if on_its_way(trade):
        say(
            Text(
                f"it is being delivered; in a moment: yaosu fetch {trade.id}",
                f"正在交付，稍后请执行 yaosu fetch {trade.id}",
            )
        )
        following = [step for step in following or () if step != "redeliver"]
    say(stood(trade.id, trade.state, following))
    approval = trade.data.get("approval") or {}
    if approval.get("waits_for") == "approver":
        tell_approval(approval)
    elif approval:
        say(
            Text(
                "nothing has changed yet: a second operator gives the same command, "
                "with the same amount, payer and reference",
                "尚未生效：还需另一位运营人员以相同的金额、付款方与流水号执行同一命令",
            )
        )
    if trade.awaits_payment:
        paid = yuan(trade["terms"]["amount_fen"])
        words = trade.data.get("filing_no") or trade.id
        say(
            Text(
                f"to be paid: {paid}, reference {words}; "
                "delivery begins once the payment is confirmed",
                f"待付款：{paid}，附言 {words}；确认到账后开始交付",
            )
        )
