"""`yaosu exchange`: the day of a place of trading, reconciliation, keys of callbacks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from yaosu.errors import Text

from .family import family
from .terminal import NOT_VALID, Json, Market, client, command, makes, print_json, print_table, say

app = family("The desk of an exchange: statement, reconciliation, callbacks.\n\n交易所对账与回调。")

Venue = Annotated[str, typer.Argument(metavar="VENUE", help="Place of trading. 交易场所。")]
Day = Annotated[str, typer.Argument(metavar="DAY", help="YYYY-MM-DD in Beijing. 北京时间日期。")]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="Write a .csv, .xlsx or .json. 输出文件。"),
]


@app.command()
@command
def statement(
    venue: Venue, day: Day, out: Out = None, market: Market = None, as_json: Json = False
) -> None:
    """Say what happened to the trades of a day, in whole fen.

    日终对账单。
    """
    desk = client(market).exchange(venue)
    if out is not None:
        out.write_bytes(desk.statement(day, out.suffix.lstrip(".").lower()))
        say(str(out))
        return
    found = json.loads(desk.statement(day))
    if as_json:
        print_json(found)
        return
    names = ("contract_no", "state", "opening_fen", "paid_fen", "refunded_fen", "settled_fen",
             "held_fen")  # fmt: skip
    rows = [[line[name] for name in names] for line in found["items"]]
    rows.append(["合计 total", "", *(found["totals"][name] for name in names[2:])])
    print_table(names, rows)


@app.command()
@command
@makes("rec")
def reconcile(
    venue: Venue,
    day: Day,
    file: Annotated[Path, typer.Argument(help="CSV, XLSX or JSON of the other side. 对方文件。")],
    form: Annotated[
        str, typer.Option(help="JSON of: record, gzdex, szdex, generic. JSON 内容格式。")
    ] = "",
    out: Out = None,
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Compare a day with the other side's file, field by field; the outcome is kept.

    与对方文件逐字段对账。

    Exit 1 when the two sides are not the same.
    """
    desk = client(market).exchange(venue)
    made = desk.reconcile(day, file, form=form)
    if out is not None:
        kind = out.suffix.lstrip(".").lower()
        out.write_bytes(desk.reconciliation(made["reconciliation_id"], kind))
    if as_json:
        print_json(made)
    else:
        print_table(("outcome 结果", "n"), list(made["counts"].items()))
        for item in made["result"]["items"]:
            for d in item["differences"]:
                say(f"{item['key']} {d['field']}: {d['ours']} / {d['theirs']}")
    if sum(made["counts"].values()) != made["counts"]["matched"]:
        raise typer.Exit(NOT_VALID)


@app.command("callback-keys")
@command
def callback_keys(venue: Venue, market: Market = None, as_json: Json = False) -> None:
    """List what callbacks are signed with.

    列出回调密钥。
    """
    found = list(client(market).exchange(venue).callback_keys())
    if as_json:
        print_json({"items": found})
        return
    print_table(
        ("key 密钥", "scheme 方式", "label 备注", "revoked 撤销"),
        [(k["key_id"], k["scheme"], k["label"], k["revoked_at"]) for k in found],
    )


@app.command("new-callback-key")
@command
@makes("cbk")
def new_callback_key(
    venue: Venue,
    public_key: Annotated[
        str, typer.Option(help="An Ed25519 key of one's own (whpk_…). 自有公钥。")
    ] = "",
    label: Annotated[str, typer.Option(help="A name for it. 备注名。")] = "",
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Register what callbacks are signed with; a secret made here is shown this once.

    登记回调密钥（生成的密钥只显示一次）。
    """
    made = client(market).exchange(venue).add_callback_key(public_key, label)
    if as_json:
        print_json(made)
        return
    say(made["key_id"])
    if made.get("secret"):
        say(Text("shown this once; keep it safe:", "仅显示一次，请妥善保存："), made["secret"])


@app.command("revoke-callback-key")
@command
def revoke_callback_key(
    venue: Venue,
    key_id: Annotated[str, typer.Argument(metavar="KEY", help="Id of the key. 密钥编号。")],
    market: Market = None,
    as_json: Json = False,
) -> None:
    """End a key at once.

    立即撤销回调密钥。
    """
    ended = client(market).exchange(venue).revoke_callback_key(key_id)
    if as_json:
        print_json(ended)
    else:
        say(Text(f"{key_id} is revoked", f"{key_id} 已撤销"))
