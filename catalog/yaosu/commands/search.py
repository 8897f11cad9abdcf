"""`yaosu search`: what is listed, by words and facets."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from yaosu.errors import InvalidInput

from .language import named
from .terminal import Json, Market, client, command, print_json, print_table, say, size, yuan


@command
def search(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="Words to look for. 检索词。")] = "",
    facet: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="Keep what has this value, e.g. modality=text; may be repeated. 按分面筛选。",
        ),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(
            help="relevance, newest, price_asc, price_desc, size, records or title. 排序方式。"
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most. 最多条数。")] = 20,
    counts: Annotated[
        str, typer.Option(metavar="A,B", help="Count these facets. 统计这些分面。")
    ] = "",
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Search what is listed on the market.

    搜索市场上的挂牌数据。
    """
    results = client(market, key_needed=False).search(
        query,
        sort=sort,
        limit=limit,
        counts=tuple(name for name in counts.split(",") if name),
        **facets(facet or []),
    )
    items = list(results)
    if as_json:
        counted = results.facets if counts else {}
        print_json({"query": query, "total": results.total, "items": items, "facets": counted})
        return
    if not items:
        say(
            "nothing found; try fewer facets or other words", "没有结果，请减少筛选条件或更换检索词"
        )
        return
    print_table(
        (
            "listing 挂牌",
            "title 标题",
            "publisher 发布方",
            "price 价格",
            "size 大小",
            "licence 许可",
        ),
        [_row(item) for item in items],
    )
    say(f"{len(items)} of {results.total}; more: yaosu listing show LISTING")
    if counts:
        for name, values in results.facets.items():
            said = ", ".join(f"{v['value']} {v['count']}" for v in values)
            say(f"{name}: {said}")


def _row(item: dict[str, Any]) -> tuple[object, ...]:
    card = item["card"]
    price = yuan(card.get("price_fen")) or str(card.get("price_band") or "")
    return (
        item["listing_id"],
        named(card.get("title"), card.get("title_en")),
        card.get("publisher"),
        price,
        size(card.get("size_bytes")),
        card.get("licence"),
    )


def facets(given: list[str]) -> dict[str, list[str]]:
    """Return `name=value` pairs as lists of values by name."""
    found: dict[str, list[str]] = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals or not name or not value:
            raise InvalidInput(
                f"a facet is NAME=VALUE, for example modality=text: {pair[:80]!r}",
                f"分面应写作 名称=值，例如 modality=text：“{pair[:80]}”",
                field="facet",
            )
        found.setdefault(name.strip(), []).append(value)
    return found
