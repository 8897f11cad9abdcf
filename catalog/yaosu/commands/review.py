"""`yaosu review`: what reviewers and exchanges do with submissions."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from yaosu.errors import InvalidInput, Text

from .family import family
from .listing import Id, act_on, tell
from .standing import commands_for, state_word
from .terminal import (
    Json,
    Market,
    client,
    command,
    print_facts,
    print_json,
    print_table,
    say,
)

app = family("What reviewers and exchanges do with submissions.\n\n审核与挂牌。")

Reason = Annotated[str, typer.Option("--reason", help="Why, in writing. 书面原因。")]
Scheme = Annotated[
    str | None, typer.Option(help="Registration scheme of the certificate, e.g. nda. 登记体系。")
]
Number = Annotated[str | None, typer.Option(help="Certificate number. 凭证编号。")]
Agency = Annotated[str, typer.Option(help="Who issued it. 登记机构。")]
Issued = Annotated[str | None, typer.Option(metavar="YYYY-MM-DD", help="Issued on. 登记日期。")]
Until = Annotated[str | None, typer.Option(metavar="YYYY-MM-DD", help="Valid until. 有效期至。")]


@app.command("queue")
@app.command("list")
@command
def queue(market: Market = None, as_json: Json = False) -> None:
    """List what waits for a decision.

    列出待处理的挂牌。
    """
    items = list(client(market).review_queue())
    if as_json:
        print_json({"items": items})
        return
    if not items:
        say(Text("nothing waits", "没有待处理的事项"))
        return
    print_table(
        ("listing 挂牌", "name 名称", "state 状态", "report 报告", "venue 场所", "next 可执行"),
        [_row(item) for item in items],
    )


def _row(item: dict[str, Any]) -> tuple[object, ...]:
    report = item.get("report") or {}
    said = f"{report.get('errors')} errors, {report.get('warnings')} warnings" if report else ""
    return (
        item["listing_id"],
        f"{item['publisher']}/{item['name']} #{item['listing_version']}",
        state_word(item["listing_id"], item["state"]),
        said,
        item["venue"],
        commands_for(item["listing_id"], item.get("next") or (), "reviewer", "exchange"),
    )


@app.command()
@command
def show(listing: Id, market: Market = None, as_json: Json = False) -> None:
    """Show a submission with its report.

    查看提交内容与质量报告。
    """
    from yaosu.errors import NotFound

    found = client(market).listing(listing)
    try:
        report = found.report_json()
    except NotFound:
        report = {}
    if as_json:
        print_json({**found.data, "full_report": report or None})
        return
    tell(found)
    if report:
        from .validate import print_findings, print_summary

        print_findings(report)
        print_summary(report)


@app.command("return")
@command
def return_(listing: Id, reason: Reason, market: Market = None, as_json: Json = False) -> None:
    """Send it back to the provider (L5).

    退回提供方修改。
    """
    act_on(market, listing, "return", as_json, reason=reason)


@app.command()
@command
def register(
    listing: Id,
    scheme: Scheme = None,
    number: Number = None,
    agency: Agency = "",
    registered_at: Issued = None,
    valid_until: Until = None,
    text: Annotated[str | None, typer.Option(help="A remark. 审核意见。")] = None,
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Pass the review, with the certificate where there is one (L6).

    审核通过并登记（可附登记凭证）。
    """
    certificate = _certificate(scheme, number, agency, registered_at, valid_until)
    act_on(market, listing, "register", as_json, certificate=certificate, text=text)


@app.command()
@command
def renew(
    listing: Id,
    scheme: Scheme = None,
    number: Number = None,
    agency: Agency = "",
    registered_at: Issued = None,
    valid_until: Until = None,
    text: Annotated[str, typer.Option(help="A note that is kept. 附注。")] = "",
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Keep a renewed certificate, which ends later than the one before (L6).

    登记凭证续期。
    """
    certificate = _certificate(scheme, number, agency, registered_at, valid_until)
    act_on(market, listing, "renew_certificate", as_json, certificate=certificate, text=text)


@app.command()
@command
def notice(
    listing: Id,
    scheme: Scheme = None,
    number: Number = None,
    agency: Agency = "",
    registered_at: Issued = None,
    valid_until: Until = None,
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Put it on public notice, where the exchange asks for one (L6a).

    开始公示。
    """
    certificate = _certificate(scheme, number, agency, registered_at, valid_until)
    act_on(market, listing, "open_notice", as_json, certificate=certificate)


@app.command("close-notice")
@command
def close_notice(listing: Id, market: Market = None, as_json: Json = False) -> None:
    """End the notice once it ran its days and every objection has its answer.

    结束公示。
    """
    act_on(market, listing, "close_notice", as_json)


@app.command()
@command
def uphold(listing: Id, reason: Reason, market: Market = None, as_json: Json = False) -> None:
    """Uphold an objection: the listing goes back (L6b).

    异议成立，退回提供方。
    """
    act_on(market, listing, "uphold_objection", as_json, reason=reason)


@app.command()
@command
def publish(listing: Id, market: Market = None, as_json: Json = False) -> None:
    """Put a registered version on the market (L7).

    批准挂牌。
    """
    act_on(market, listing, "list", as_json)


@app.command()
@command
def suspend(listing: Id, reason: Reason, market: Market = None, as_json: Json = False) -> None:
    """Stop new trades of a listing (L8).

    暂停挂牌。
    """
    act_on(market, listing, "suspend", as_json, reason=reason)


@app.command()
@command
def resume(listing: Id, market: Market = None, as_json: Json = False) -> None:
    """Let a suspended listing be traded again (L9).

    恢复挂牌。
    """
    act_on(market, listing, "resume", as_json)


@app.command()
@command
def delist(listing: Id, reason: Reason, market: Market = None, as_json: Json = False) -> None:
    """Take a listing off the market (L10).

    强制摘牌。
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
    """Leave a comment that is kept.

    留下审核意见。
    """
    act_on(market, listing, "comment", as_json, text=text)


@app.command("answer-contest")
@command
def answer_contest(
    listing: Id,
    about: Annotated[
        str, typer.Argument(metavar="MEASURE", help="What is contested. 被质疑指标。")
    ],
    text: Annotated[str, typer.Argument(help="The answer. 答复内容。")],
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Answer a provider who contests a measure or a finding.

    答复提供方对指标的质疑。
    """
    act_on(market, listing, "answer_contest", as_json, about=about, text=text)


@app.command("sample")
@command
def manual_sample(
    listing: Id,
    following: Annotated[
        int, typer.Option("--next", help="Show so many records to judge. 显示待判定记录。")
    ] = 0,
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Say where the manual sample of a version stands, and show what is to be judged next.

    查看人工抽检进度与待判定记录。
    """
    found = client(market).listing(listing)
    state = found.sample()
    records = found.sample_next(following) if following else []
    if as_json:
        print_json({**state, "next": records})
        return
    print_facts({k: v for k, v in state.items() if k not in ("measure", "seed")})
    for row in records:
        print_facts({"item": row["item"], "resource": row["resource"], "record": row["record"]})


@app.command()
@command
def judge(
    listing: Id,
    passed: Annotated[
        str, typer.Option("--pass", metavar="ITEMS", help="Items that pass, 3,17. 合格项。")
    ] = "",
    failed: Annotated[
        str, typer.Option("--fail", metavar="ITEMS", help="Items that do not. 不合格项。")
    ] = "",
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Judge records of the manual sample; another person judges them too.

    判定人工抽检样本，每条须由两人独立判定。
    """
    verdicts = {**dict.fromkeys(_items(passed), True), **dict.fromkeys(_items(failed), False)}
    if both := set(_items(passed)) & set(_items(failed)):
        raise InvalidInput(
            f"passed and not passed at once: {min(both)}",
            f"同时标为合格与不合格：{min(both)}",
            field="verdicts",
        )
    state = client(market).listing(listing).judge(verdicts)
    if as_json:
        print_json(state)
    else:
        print_facts({k: v for k, v in state.items() if k not in ("measure", "seed")})


def _items(text: str) -> list[int]:
    parts = [p.strip() for p in text.split(",") if p.strip()]
    if not all(p.isascii() and p.isdigit() and len(p) < 16 for p in parts):
        raise InvalidInput(
            "items are numbers between commas", "应为以逗号分隔的编号", field="verdicts"
        )
    return [int(p) for p in parts]


def _certificate(
    scheme: str | None, number: str | None, agency: str, since: str | None, until: str | None
) -> dict[str, Any] | None:
    if scheme is None and number is None:
        return None
    if scheme is None or number is None:
        raise InvalidInput(
            "a certificate has both --scheme and --number",
            "登记凭证需同时给出 --scheme 与 --number",
            field="certificate",
        )
    given = {"registered_at": since, "valid_until": until}
    return {
        "scheme": scheme,
        "number": number,
        "agency": agency,
        **{k: v for k, v in given.items() if v},
    }
