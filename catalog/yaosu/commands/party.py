"""`yaosu party`: organisations and people on the market."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from yaosu.errors import InvalidInput, Text

from .family import family
from .keys import tell_secret
from .language import called
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
)

app = family("Organisations and people on the market.\n\n市场主体与成员。")

Role = Annotated[
    list[str], typer.Option(help="provider, buyer, …; may be repeated. 角色，可重复。")
]


@app.command()
@command
def me(market: Market = None, as_json: Json = False) -> None:
    """Show who your key stands for.

    查看当前密钥对应的主体与角色。
    """
    found = client(market).me()
    if as_json:
        print_json(found)
        return
    _tell(
        found["party"],
        {
            "member": found["member_id"],
            "key": found["key_id"],
            "roles of this key": ", ".join(found["roles"]),
        },
    )


@app.command()
@command
@makes("pty", "mbr", "key")
def register(
    slug: Annotated[str, typer.Argument(metavar="SLUG", help="Short name, a-z 0-9 -. 标识名。")],
    name: Annotated[str, typer.Option(help="Full name. 全称。")],
    member: Annotated[str, typer.Option(help="Name of the person who acts. 经办人。")],
    role: Role,
    name_en: Annotated[str | None, typer.Option(help="Name in English. 英文名。")] = None,
    uscc: Annotated[str | None, typer.Option(help="Social credit code. 统一社会信用代码。")] = None,
    holder_type: Annotated[str | None, typer.Option(help="legal, natural … 主体类型。")] = None,
    contact: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="email=…, phone=… 联系方式。")
    ] = None,
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Register an organisation or person; its first key is shown this once.

    注册主体（首个密钥只显示一次）。
    """
    made = client(market, key_needed=False).register(
        slug,
        name,
        member,
        role,
        name_en=name_en,
        uscc=uscc,
        holder_type=holder_type,
        contact=_pairs(contact or []) or None,
    )
    if as_json:
        print_json(made)
        return
    _tell(made["party"], {})
    tell_secret(made["party"]["party_id"], made.get("key"))
    say(
        Text(
            "next: an operator verifies who you are; make a signing key: yaosu keys new-signing",
            "下一步：等待运营方核验身份；并创建签名密钥：yaosu keys new-signing",
        )
    )


@app.command("list")
@command
def list_(
    verified: Annotated[
        bool | None, typer.Option("--verified/--unverified", help="Only these. 是否已核验。")
    ] = None,
    market: Market = None,
    as_json: Json = False,
) -> None:
    """List the parties (operators).

    列出主体（运营方）。
    """
    items = list(client(market).parties(verified))
    if as_json:
        print_json({"items": items})
        return
    print_table(
        ("party 主体", "slug 标识", "name 名称", "roles 角色", "uscc", "verified 核验"),
        [
            (
                p["party_id"],
                p["slug"],
                called(p),
                ", ".join(p["roles"]),
                p["uscc"],
                p["verified_at"] or "–",
            )
            for p in items
        ],
    )


@app.command()
@command
def show(
    party: Annotated[str, typer.Argument(metavar="PARTY", help="Id of the party. 主体编号。")],
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Show a party.

    查看主体。
    """
    found = client(market, key_needed=False).party(party)
    if as_json:
        print_json(found)
    else:
        _tell(found, {})


@app.command()
@command
def verify(
    party: Annotated[str, typer.Argument(metavar="PARTY", help="Id of the party. 主体编号。")],
    evidence: Annotated[str, typer.Option(help="By what it was verified. 核验依据。")],
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Record that the identity of a party was checked (operators).

    记录主体身份核验结果（运营方）。
    """
    found = client(market).verify_party(party, evidence)
    if as_json:
        print_json(found)
    else:
        _tell(found, {})


@app.command()
@command
@makes("mbr", "key")
def member(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the person. 姓名。")],
    role: Role,
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Add a person to one's own organisation; their key is shown this once.

    添加成员（密钥只显示一次）。
    """
    made = client(market).add_member(name, role)
    if as_json:
        print_json(made)
    else:
        say(made["member_id"])
        tell_secret(made["member_id"], made.get("key"))


@app.command()
@command
def venues(market: Market = None, as_json: Json = False) -> None:
    """List the places of trading and their rules.

    列出交易场所。
    """
    items = client(market, key_needed=False).venues()
    if as_json:
        print_json({"items": items})
        return
    print_table(
        (
            "venue 场所",
            "name 名称",
            "certificate 凭证",
            "notice 公示天数",
            "filing 备案",
            "fee 费率‱",
        ),
        [
            (
                v["venue_id"],
                f"{v['name']} {v['name_en']}",
                "✓" if v["certificate_required"] else "",
                v["notice_days"] or "",
                "✓" if v["filing_required"] else "",
                v["fee_permyriad"],
            )
            for v in items
        ],
    )


@app.command("set-venue")
@command
def set_venue(
    venue: Annotated[str, typer.Argument(metavar="VENUE", help="Id, a-z 0-9 -. 场所标识。")],
    name: Annotated[str, typer.Option(help="Name. 名称。")],
    name_en: Annotated[str, typer.Option(help="Name in English. 英文名。")] = "",
    party: Annotated[
        str | None, typer.Option(help="Party with the role exchange. 交易场所主体。")
    ] = None,
    certificate: Annotated[
        bool, typer.Option(help="Asks for a certificate. 要求登记凭证。")
    ] = False,
    notice_days: Annotated[int, typer.Option(min=0, help="Days of notice. 公示天数。")] = 0,
    filing: Annotated[bool, typer.Option(help="Files contracts. 合同需备案。")] = False,
    assessment_above_fen: Annotated[
        int | None, typer.Option(min=0, help="Assessment above this amount. 评估金额下限（分）。")
    ] = None,
    fee_permyriad: Annotated[int, typer.Option(min=0, help="Fee in ‱. 费率（‱）。")] = 0,
    inspection_days: Annotated[int, typer.Option(min=0, help="Days to inspect. 验收天数。")] = 7,
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Add or change a place of trading and its rules (operators).

    新增或修改交易场所规则（运营方）。
    """
    made = client(market).set_venue(
        venue,
        name=name,
        name_en=name_en,
        party_id=party,
        certificate_required=certificate,
        notice_days=notice_days,
        filing_required=filing,
        assessment_above_fen=assessment_above_fen,
        fee_permyriad=fee_permyriad,
        inspection_days=inspection_days,
    )
    if as_json:
        print_json(made)
    else:
        print_facts(made)


@app.command()
@command
def operator(
    slug: Annotated[str, typer.Argument(metavar="SLUG", help="Short name. 标识名。")],
    name: Annotated[str, typer.Option(help="Full name. 全称。")],
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Data folder of the market. 数据目录。")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make the operator of a new market, on its own machine, while it is stopped.

    在本机为新市场创建运营方（需先停止服务）。

    Two people get a key each: confirming payments takes both.
    """
    from yaosu.market import Market as Running
    from yaosu.settings import load

    from .operate import make_operator

    running = Running(load(data=str(data) if data else None))
    try:
        keys = make_operator(running.store, slug, name)
    finally:
        running.close()
    if as_json:
        print_json({"slug": slug, "keys": keys})
        return
    say(Text("shown this once; keep them safe:", "仅显示一次，请妥善保存："))
    for n, key in enumerate(keys, 1):
        say(f"#{n}  export YAOSU_KEY={key}")


def _tell(party: dict[str, Any], more: dict[str, object]) -> None:
    print_facts(
        {
            "party": party["party_id"],
            "slug": party["slug"],
            "name": f"{party['name']} {party['name_en'] or ''}".strip(),
            "uscc": party["uscc"],
            "roles": ", ".join(party["roles"]),
            "verified": party["verified_at"] or "not yet 未核验",
            "evidence": party.get("evidence"),
            **{f"contact {k}": v for k, v in (party.get("contact") or {}).items()},
            **more,
        }
    )


def _pairs(given: list[str]) -> dict[str, str]:
    found = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise InvalidInput(
                f"a contact is NAME=VALUE: {pair[:80]!r}",
                f"联系方式应写作 名称=值：“{pair[:80]}”",
                field="contact",
            )
        found[name.strip()] = value
    return found
