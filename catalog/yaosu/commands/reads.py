"""`yaosu trade reads`: who read what was bought, how much, when."""

from __future__ import annotations

import csv
import sys
from typing import Annotated

import typer

from .terminal import Json, Market, client, command, print_json, print_table

EACH = ("at", "key_id", "way", "name", "start", "end", "bytes", "status", "address")
DAYS = ("day", "way", "name", "count", "bytes", "first_at", "last_at")


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
        print_table(names, [tuple(item[name] for name in names) for item in items])
