"""`yaosu listing`: what one has on the market, and what others show there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from yaosu.errors import InvalidInput, Text

from .family import family
from .language import called, named
from .standing import commands_for, state_word, steps_of, stood
from .terminal import (
    Json,
    Market,
    client,
    command,
    print_facts,
    print_json,
    print_problems,
    print_table,
    say,
    size,
    tell_approval,
    yuan,
)

if TYPE_CHECKING:
    from yaosu.client.remote import Listing

app = family("Look after listings.\n\n管理挂牌。")

Id = Annotated[str, typer.Argument(metavar="LISTING", help="Id of the listing. 挂牌编号。")]
SigningKey = Annotated[
    Path | None, typer.Option("--signing-key", metavar="FILE", help="Your signing key. 签名密钥。")
]
Platform = Annotated[
    bool, typer.Option("--platform", help="Sign with the key the market holds. 平台代签。")
]


@app.command()
@command
def show(listing: Id, market: Market = None, as_json: Json = False) -> None:
    """Show a listing: what it is, its price and its report.

    查看挂牌。
    """
    found = client(market, key_needed=False).listing(listing)
    if as_json:
        print_json(found.data)
    else:
        tell(found)


@app.command()
@command
def mine(
    state: Annotated[str | None, typer.Option(help="Only in this state. 按状态筛选。")] = None,
    market: Market = None,
    as_json: Json = False,
) -> None:
    """List one's own listings, newest first.

    列出本方挂牌。
    """
    items = list(client(market).my_listings(state))
    if as_json:
        print_json({"items": items})
        return
    print_table(
        ("listing 挂牌", "name 名称", "version 版本", "state 状态", "next 可执行"),
        [
            (
                i["listing_id"],
                f"{i['publisher']}/{i['name']}",
                i["listing_version"],
                state_word(i["listing_id"], i["state"]),
                commands_for(i["listing_id"], i.get("next") or (), "provider"),
            )
            for i in items
        ],
    )


@app.command()
@command
def preview(
    listing: Id,
    resource: Annotated[str | None, typer.Option(help="Which resource. 资源名。")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="Rows. 行数。")] = 10,
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Show sample rows.

    查看样例数据。
    """
    found = client(market, key_needed=False).listing(listing).preview(resource, limit)
    if as_json:
        print_json(found)
        return
    rows = found.get("rows") or []
    names = [f["name"] if isinstance(f, dict) else str(f) for f in found.get("fields") or ()]
    names = names or list(dict.fromkeys(k for row in rows if isinstance(row, dict) for k in row))
    print_table(
        names, [[row.get(n) for n in names] if isinstance(row, dict) else row for row in rows]
    )


@app.command()
@command
def report(listing: Id, market: Market = None, as_json: Json = False) -> None:
    """Show the market's report on the data; cells are hidden before a purchase.

    查看质量报告（购买前不显示单元格内容）。
    """
    body = client(market, key_needed=False).listing(listing).report_json()
    if as_json:
        print_json(body)
        return
    from .validate import print_findings, print_summary

    print_findings(body)
    print_summary(body)


@app.command()
@command
def problems(listing: Id, market: Market = None, as_json: Json = False) -> None:
    """Say everything that submitting the draft would be refused for.

    列出草稿提交时会被拒绝的全部问题。
    """
    from yaosu.client.connection import problems_from

    found = client(market).listing(listing).problems()
    if as_json:
        print_json({"problems": found})
        return
    print_problems(problems_from(found))
    say(Text(f"{len(found)} problems", f"{len(found)} 个问题"))


@app.command()
@command
def descriptor(listing: Id, market: Market = None) -> None:
    """Print the Data Package of a listing.

    输出数据包描述（datapackage.json）。
    """
    print_json(client(market, key_needed=False).listing(listing).descriptor)


@app.command()
@command
def events(listing: Id, market: Market = None, as_json: Json = False) -> None:
    """Show the evidence chain of a listing.

    查看存证链。
    """
    print_events(client(market).listing(listing).events(), as_json)


@app.command()
@command
def offer(
    listing: Id,
    signing_key: SigningKey = None,
    platform: Platform = False,
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Sign the standing offer, so that buyers can take it in one step.

    签署长期报价，供买方一步购买。
    """
    found = client(market).listing(listing)
    told(found.offer(signing_key, platform=platform), as_json)


@app.command()
@command
def apply(listing: Id, market: Market = None, as_json: Json = False) -> None:
    """Apply for listing, once registered.

    申请挂牌。
    """
    act_on(market, listing, "apply", as_json)


@app.command()
@command
def edit(
    listing: Id,
    title: Annotated[str | None, typer.Option(help="Title. 标题。")] = None,
    description: Annotated[str | None, typer.Option(help="Description. 说明。")] = None,
    keyword: Annotated[list[str] | None, typer.Option(help="Keyword, repeatable. 关键词。")] = None,
    homepage: Annotated[str | None, typer.Option(help="Homepage. 主页。")] = None,
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Change words that no digest covers; before and after are recorded.

    修改挂牌文字（留有记录）。
    """
    given = {
        "title": title,
        "description": description,
        "keywords": keyword,
        "homepage": homepage,
    }
    changes = {k: v for k, v in given.items() if v}
    if not changes:
        raise InvalidInput(
            "name what is to change: --title, --description, --keyword or --homepage",
            "请指定要修改的内容：--title、--description、--keyword 或 --homepage",
        )
    act_on(market, listing, "edit_text", as_json, changes=changes)


@app.command()
@command
def withdraw(listing: Id, market: Market = None, as_json: Json = False) -> None:
    """Take a version back before it is listed.

    撤回（挂牌前）。
    """
    act_on(market, listing, "withdraw", as_json)


@app.command()
@command
def delist(
    listing: Id,
    reason: Annotated[str, typer.Option(help="Why. 原因。")],
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Take a listing off the market; trades that run go on.

    摘牌（进行中的交易不受影响）。
    """
    act_on(market, listing, "delist", as_json, reason=reason)


@app.command()
@command
def comment(
    listing: Id,
    text: Annotated[str, typer.Argument(help="What to say. 内容。")],
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Leave a comment on a submission.

    留言。
    """
    act_on(market, listing, "comment", as_json, text=text)


@app.command("object")
@command
def object_to(
    listing: Id,
    text: Annotated[str, typer.Argument(help="The objection. 异议内容。")],
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Object while the public notice runs.

    在公示期内提出异议。
    """
    act_on(market, listing, "object", as_json, text=text)


@app.command()
@command
def answer(
    listing: Id,
    text: Annotated[str, typer.Argument(help="The answer. 答复内容。")],
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Answer an objection in writing.

    书面答复异议。
    """
    act_on(market, listing, "answer_objection", as_json, text=text)


@app.command()
@command
def contest(
    listing: Id,
    about: Annotated[str, typer.Argument(metavar="MEASURE", help="A measure or finding. 指标。")],
    text: Annotated[str, typer.Argument(help="The reason. 理由。")],
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Contest a measure or a finding of the report; reviewer and buyers see the reason.

    对报告中的指标或问题提出质疑，审核方与买方均可见。
    """
    act_on(market, listing, "contest", as_json, about=about, text=text)


# --- telling ----------------------------------------------------------------------------------


def tell(found: Listing) -> None:
    """Write a listing for a person."""
    pkg = found.descriptor
    element = pkg.get("dataElement") or {}
    report_of = found.data.get("report") or {}
    verdict = "valid 通过" if report_of.get("valid") else "not valid 未通过"
    print_facts(
        {
            "listing 挂牌": found.id,
            "name 名称": f"{found['publisher']}/{found['name']}",
            "title 标题": named(found.title, found.title_en),
            "version 版本": f"{pkg.get('version') or ''} (#{found['listing_version']})",
            "state 状态": state_word(found.id, found.state),
            "provider 提供方": called(found["provider"]),
            "licence 许可": element.get("license_spdx"),
            "price 价格": ", ".join(
                _price(p) for p in (element.get("offer") or {}).get("pricing") or ()
            ),
            "one-step purchase 一步购买": "yes 是"
            if found.data.get("standing_signature")
            else "no 否",
            "size 大小": size((element.get("size") or {}).get("bytes")),
            "records 记录数": (element.get("size") or {}).get("records"),
            "report 质量报告": f"{verdict} {report_of.get('rows', '')} rows".strip()
            if report_of
            else "",
            "certificate 登记凭证": (found.data.get("certificate") or {}).get("number"),
            "content 内容摘要": found["content_digest"],
            "next 下一步": "\n".join(steps_of(found.id, found.data.get("next") or ())).strip(),
        }
    )
    if pkg.get("description"):
        say("", str(pkg["description"]))
    for remark in found.data.get("remarks") or ():
        say(f"{remark['at']} {remark['kind']}: {remark['text']}")
    if found.state == "listed" and "next" not in found.data:  # somebody else's
        buying = "buy" if found.data.get("standing_signature") else "order"
        say(
            Text(
                f"look: yaosu listing preview {found.id}; buy: yaosu {buying} {found.id}",
                f"看样例：yaosu listing preview {found.id}；购买：yaosu {buying} {found.id}",
            )
        )


def _price(price: dict[str, Any]) -> str:
    amount = yuan(price.get("price_fen")) if price.get("price_fen") is not None else ""
    unit = f"/{price['unit']}" if price.get("unit") else ""
    return f"{price.get('mode')} {amount}{unit}".strip()


def print_events(events: list[dict[str, Any]], as_json: bool) -> None:
    """Write an evidence chain."""
    if as_json:
        print_json({"items": events})
        return
    print_table(
        ("#", "at 时间", "event 事件", "state 状态", "by 操作人", "digest 摘要"),
        [
            (e["seq"], e["at"], e["type"], e.get("to_state"), e["actor_id"], e["digest"][:23])
            for e in events
        ],
    )


def act_on(market: str | None, listing: str, action: str, as_json: bool, **body: Any) -> None:
    told(client(market).listing(listing).act(action, **body), as_json)


def told(found: Listing, as_json: bool) -> None:
    if as_json:
        print_json(found.data)
        return
    say(stood(found.id, found.state, found.data.get("next")))
    if found.data.get("approval"):
        tell_approval(found.data["approval"])
