"""`yaosu profile` and `yaosu renewal`: what parties show, and certificates that are renewed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from yaosu.errors import InvalidInput, Text

from .family import family
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

app = family("What parties show of themselves.\n\n机构公开信息与名录。")
renewals = family("Renewals of registration certificates.\n\n登记凭证续期。")

RenewalId = Annotated[str, typer.Argument(metavar="RENEWAL", help="Id of it. 续期申请编号。")]
ListingId = Annotated[str, typer.Argument(metavar="LISTING", help="Id of the listing. 挂牌编号。")]


@app.command()
@command
def directory(
    role: Annotated[str, typer.Option(help="E.g. broker, third_party. 角色。")] = "",
    region: Annotated[str, typer.Option(help="GB/T 2260, e.g. 440000. 地区。")] = "",
    market: Market = None,
    as_json: Json = False,
) -> None:
    """List the parties that show themselves.

    机构名录。
    """
    found = list(client(market, key_needed=False).profiles.directory(role, region))
    if as_json:
        print_json({"items": found})
        return
    print_table(
        ("party 编号", "name 名称", "roles 角色", "region 地区", "services 服务"),
        [
            (p["party_id"], called(p), " ".join(p["roles"]), p["region"],
             " ".join(s["kind"] for s in p["services"]))
            for p in found
        ],
    )  # fmt: skip


@app.command()
@command
def show(
    party: Annotated[
        str | None, typer.Argument(metavar="[PARTY]", help="Id; without: one's own. 主体编号。")
    ] = None,
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Show what a party shows, or one's own as it stands.

    查看公开信息。
    """
    profiles = client(market, key_needed=party is None).profiles
    _facts(profiles.of(party) if party else profiles.mine(), as_json)


@app.command()
@command
def edit(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="JSON of what changes. 变更内容。")
    ] = None,
    publish: Annotated[
        bool | None, typer.Option("--publish/--hide", help="Show it, or not. 公开或隐藏。")
    ] = None,
    about: Annotated[str | None, typer.Option(help="In Chinese. 中文简介。")] = None,
    about_en: Annotated[str | None, typer.Option(help="In English. 英文简介。")] = None,
    region: Annotated[str | None, typer.Option(help="GB/T 2260. 所在地区。")] = None,
    role: Annotated[
        list[str] | None, typer.Option(help="data_dealer, broker, third_party. 角色。")
    ] = None,
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Change what one's own party shows; lists in FILE replace those before.

    编辑公开信息。
    """
    changes: dict[str, Any] = _read(file) if file else {}
    given = {"about": about, "about_en": about_en, "region": region, "roles": role}
    changes |= {name: value for name, value in given.items() if value is not None}
    if publish is not None:
        changes["state"] = "public" if publish else "hidden"
    _facts(client(market).profiles.edit(**changes), as_json)


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text("utf-8"))
    except ValueError:
        raise InvalidInput("the file is not JSON", "文件不是 JSON", field=file.name) from None
    if not isinstance(found, dict):
        raise InvalidInput("the file is not an object", "文件不是 JSON 对象", field=file.name)
    return found


@app.command()
@command
def check(
    party: Annotated[str, typer.Argument(metavar="PARTY", help="Id of the party. 主体编号。")],
    number: Annotated[int, typer.Argument(min=0, help="0: the first. 资质序号。")],
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Record that the proof of a qualification was seen (operators).

    核验资质（运营方）。
    """
    _facts(client(market).profiles.check(party, number), as_json)


# --- renewals ---------------------------------------------------------------------------------


@renewals.command("list")
@command
def list_(
    state: Annotated[
        str | None, typer.Option(help="open, granted, refused or withdrawn. 状态。")
    ] = None,
    market: Market = None,
    as_json: Json = False,
) -> None:
    """List the requests of one's own, or those that one decides.

    列出续期申请。
    """
    found = list(client(market).renewals.all(state))
    if as_json:
        print_json({"items": found})
        return
    if not found:
        say(Text("no requests", "没有申请"))
        return
    print_table(
        ("renewal 编号", "listing 挂牌", "number 凭证编号", "until 有效期至", "state 状态"),
        [
            (r["renewal_id"], r["listing_id"], r["certificate"]["number"],
             r["certificate"]["valid_until"], r["state"])
            for r in found
        ],
    )  # fmt: skip


@renewals.command()
@command
@makes("rnw")
def ask(
    listing: ListingId,
    number: Annotated[str, typer.Option(help="Of the new certificate. 新凭证编号。")],
    valid_until: Annotated[str, typer.Option(metavar="DAY", help="Its last day. 有效期至。")],
    scheme: Annotated[str, typer.Option(help="As in the dictionary. 登记体系。")] = "nda",
    agency: Annotated[str, typer.Option(help="Registration agency. 登记机构。")] = "",
    document: Annotated[
        list[Path] | None, typer.Option(help="What proves it; may be repeated. 证明材料。")
    ] = None,
    text: Annotated[str, typer.Option(help="Remarks. 说明。")] = "",
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Ask for the renewal of a listing's certificate.

    申请凭证续期。
    """
    certificate = {
        "scheme": scheme, "number": number, "agency": agency, "valid_until": valid_until,
    }  # fmt: skip
    made = client(market).renewals.ask(listing, certificate, documents=document or [], text=text)
    _facts(made, as_json)


@renewals.command()
@command
def grant(
    renewal: RenewalId,
    text: Annotated[str, typer.Option(help="A remark. 备注。")] = "",
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Grant a renewal as it was asked for: you have checked the certificate.

    同意续期。
    """
    _facts(client(market).renewals.act(renewal, "grant", text=text), as_json)


@renewals.command()
@command
def refuse(
    renewal: RenewalId,
    reason: Annotated[str, typer.Option(help="In writing. 理由。")],
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Refuse a renewal, with the reason.

    不予续期。
    """
    _facts(client(market).renewals.act(renewal, "refuse", reason=reason), as_json)


@renewals.command()
@command
def withdraw(renewal: RenewalId, market: Market = None, as_json: Json = False) -> None:
    """Take a request back.

    撤回申请。
    """
    _facts(client(market).renewals.act(renewal, "withdraw"), as_json)


@renewals.command()
@command
def document(
    renewal: RenewalId,
    number: Annotated[int, typer.Argument(min=0, help="0: the first. 序号。")],
    out: Annotated[Path, typer.Option(help="Where to. 保存到。")],
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Fetch a document of a request.

    下载证明材料。
    """
    data = client(market).renewals.document(renewal, number)
    with open(out, "xb") as file:
        file.write(data)
    _facts({"file": str(out), "bytes": len(data)}, as_json)


def _facts(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(found)
    else:
        print_facts({k: v for k, v in found.items() if v not in (None, "", [], {})})
