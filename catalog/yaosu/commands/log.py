"""`yaosu log`: the market's transparency log, seen from outside."""

from __future__ import annotations

from typing import Annotated

import typer

from .family import family
from .terminal import Json, Market, client, command, print_facts, print_json, say

app = family("The market's transparency log.\n\n市场的透明日志。")


@app.command()
@command
def checkpoint(market: Market = None, as_json: Json = False) -> None:
    """Print the signed checkpoint; keep it, and later ask for consistency with it.

    输出已签名的检查点（可保存以备日后核对）。
    """
    text = client(market, key_needed=False).checkpoint()
    if as_json:
        origin, size, root = text.splitlines()[:3]
        print_json({"origin": origin, "size": int(size), "root": root, "note": text})
    else:
        say(text.rstrip("\n"))


@app.command()
@command
def inclusion(
    digest: Annotated[str, typer.Argument(metavar="DIGEST", help="Digest of an event. 事件摘要。")],
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Prove that an event stands in the log.

    证明事件已收录于日志。
    """
    found = client(market, key_needed=False).inclusion(digest)
    if as_json:
        print_json(found)
        return
    print_facts({"index": found["index"], "size": found["size"]})
    say(*found["hashes"])


@app.command()
@command
def consistency(
    first: Annotated[int, typer.Argument(min=0, help="Earlier size. 先前大小。")],
    second: Annotated[int, typer.Argument(min=0, help="Later size. 之后大小。")],
    market: Market = None,
) -> None:
    """Prove that the log only grew between two sizes.

    证明日志在两个大小之间只增不改。
    """
    print_json(client(market, key_needed=False).consistency(first, second))
