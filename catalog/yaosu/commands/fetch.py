"""`yaosu fetch`: what was bought, onto this disk, every byte checked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from yaosu.errors import Text

from .terminal import Json, Market, Watch, client, command, counted, print_json, say, size

VOUCHERED = ("vouchered", "completed")
RECEIPT_S = 5.0  # the log takes a voucher in within a second


@command
def fetch(
    trade: Annotated[str, typer.Argument(metavar="TRADE", help="Id of the trade. 交易编号。")],
    to: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where to (default: ./TRADE). 存放目录。"),
    ] = None,
    accept: Annotated[
        bool, typer.Option(help="Accept the delivery once all is right. 核对无误后验收。")
    ] = False,
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Download what was bought; goes on where it broke off, and checks every digest.

    下载已购数据；支持断点续传，并逐一核对摘要。

    Beside the data lie datapackage.json, manifest.json and, once issued, receipt.json.
    """
    found = client(market).trade(trade)
    with Watch() as watch:
        purchase = found.open(to or Path(trade), progress=watch)
        files = purchase.files()
    if accept and found.state == "delivered":
        found.accept()
    receipt = purchase.receipt(timeout=RECEIPT_S if found.state in VOUCHERED else 0)
    if as_json:
        print_json(
            {
                "trade_id": found.id,
                "state": found.state,
                "folder": str(purchase.folder),
                "files": [str(f) for f in files],
                "bytes": purchase.size_bytes,
                "receipt": receipt is not None,
            }
        )
        return
    much = size(purchase.size_bytes)
    say(
        Text(
            f"{counted(len(files))}, {much}, all as sold, in {purchase.folder}",
            f"{len(files)} 个文件，{much}，均与所售一致：{purchase.folder}",
        )
    )
    if found.state == "delivered":
        say(Text(f"next: yaosu trade accept {trade}", f"下一步：yaosu trade accept {trade}"))
    elif receipt is None:
        say(
            Text(
                "the receipt is not issued yet: fetch again later",
                "收据尚未签发，稍后再次执行 fetch 即可取得",
            )
        )
    else:
        say(Text(f"check: yaosu verify {purchase.folder}", f"验证：yaosu verify {purchase.folder}"))
