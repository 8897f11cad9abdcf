"""`yaosu trade reads`: who read what was bought, how much, when."""

from __future__ import annotations

import csv
import sys
from typing import Annotated

import typer

from .terminal import Json, Market, client, command, print_json, print_table

EACH = ("at", "key_id", "way", "name", "start", "end", "bytes", "status", "address")
DAYS = ("day", "way", "name", "count", "bytes", "first_at", "last_at")
ZH = {
    "at": "时间", "key_id": "密钥", "way": "途径", "name": "名称", "start": "起", "end": "止",
    "bytes": "字节", "status": "状态", "address": "地址", "day": "日期", "count": "次数",
    "first_at": "首次", "last_at": "末次",
}  # fmt: skip


@command
def reads(
    trade: Annotated[str, typer.Argument(metavar="TRADE", help="Id of the trade. 交易编号。")],
    as_csv: Annotated[bool, typer.Option("--csv", help="As a table. 输出 CSV。")] = False,
    market: Market = None,
    as_json: Json = False,
) -> None:
    """List the reads of what was bought: each to its buyer, sums by day to its provider.

    查看所购数据的读取审计。
    """
    found = client(market).trade(trade).reads()
    if as_json:
        print_json(found)
        return
    names, items = (EACH, found["items"]) if "items" in found else (DAYS, found["days"])
    if as_csv:
        table = csv.writer(sys.stdout)
        table.writerow(names)
        table.writerows([item[name] for name in names] for item in items)
    else:
        heads = tuple(f"{name} {ZH[name]}" for name in names)
        print_table(heads, [tuple(item[name] for name in names) for item in items])
