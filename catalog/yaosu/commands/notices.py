"""`yaosu notices` and `yaosu searches`: what one is told, and of what one wants to be told."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from yaosu.errors import Text

from .family import family
from .language import named
from .search import facets
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

app = family("What the market has told you.\n\n查看与管理通知。")
searches = family("Searches that tell of new listings.\n\n保存检索，新挂牌时获得通知。")

Kind = Annotated[str | None, typer.Option(help="Only this kind, e.g. version. 通知类型。")]
SearchId = Annotated[str, typer.Argument(metavar="SEARCH", help="Id of the search. 检索编号。")]
DatasetId = Annotated[
    str, typer.Argument(metavar="DATASET", help="Id of the dataset. 数据集编号。")
]


@app.command("list")
@command
def list_(
    kind: Kind = None,
    unread: Annotated[bool, typer.Option("--unread", help="What is unread. 仅未读。")] = False,
    limit: Annotated[int, typer.Option(min=1, help="How many at most. 最多条数。")] = 20,
    market: Market = None,
    as_json: Json = False,
) -> None:
    """List notices, newest first.

    列出通知（最新在前）。
    """
    found = []
    for notice in client(market).notices.all(kind, unread=unread):
        found.append(notice)
        if len(found) == limit:
            break
    if as_json:
        print_json({"items": found})
        return
    if not found:
        say(Text("no notices", "没有通知"))
        return
    print_table(
        ("notice 编号", "at 时间", "kind 类型", "text 内容", "read 已读"),
        [
            (n["notice_id"], n["at"][:16], n["kind"], f"{n['text_zh']} / {n['text']}",
             "✓" if n["read"] else "")
            for n in found
        ],
    )  # fmt: skip


@app.command()
@command
def read(
    notice: Annotated[
        str | None, typer.Argument(metavar="[NOTICE]", help="Id; without: all. 编号，省略则全部。")
    ] = None,
    kind: Kind = None,
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Mark a notice as read, or all of them.

    标为已读。
    """
    mine = client(market).notices
    if notice is not None:
        _facts(mine.read(notice), as_json)
    else:
        _facts({"read": mine.read_all(kind or "")}, as_json)


@app.command()
@command
def inbox(
    mute: Annotated[
        list[str] | None, typer.Option(help="Leave out this kind; may be repeated. 不接收该类型。")
    ] = None,
    all_kinds: Annotated[bool, typer.Option("--all", help="Leave nothing out. 全部接收。")] = False,
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Show how you are told, or choose what is left out.

    查看或设置接收哪些通知。
    """
    mine = client(market).notices
    if mute or all_kinds:
        mine.mute(mute or [])
    _facts(mine.inbox(), as_json)


@app.command()
@command
def feed(
    end: Annotated[bool, typer.Option("--end", help="End the feed. 停用订阅源。")] = False,
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Make the secret links of your feed; the ones before open nothing.

    生成个人订阅地址（旧地址随即失效）。
    """
    mine = client(market).notices
    if end:
        mine.end_feed()
        _facts({"feed": None}, as_json)
    else:
        _facts(mine.new_feed(), as_json)


@app.command()
@command
def expiring(
    days: Annotated[int, typer.Option(min=1, help="Within so many days. 天数。")] = 90,
    market: Market = None,
    as_json: Json = False,
) -> None:
    """List what runs out: certificates, periods, access, invoices, keys.

    列出即将到期的事项。
    """
    found = client(market).notices.expiring(days)
    if as_json:
        print_json({"items": found})
        return
    if not found:
        say(Text("nothing runs out", "没有到期事项"))
        return
    print_table(
        ("at 日期", "kind 类型", "name 名称", "subject 编号"),
        [(e["at"][:10], e["kind"], named(e["name"], e["name_en"]), e["subject_id"]) for e in found],
    )


@app.command()
@command
def watch(dataset: DatasetId, market: Market = None, as_json: Json = False) -> None:
    """Watch a dataset: versions, terms, withdrawals, recalls.

    关注数据集。
    """
    _facts(client(market).notices.watch(dataset), as_json)


@app.command()
@command
def unwatch(dataset: DatasetId, market: Market = None, as_json: Json = False) -> None:
    """Be told nothing of a dataset, even if it was bought.

    取消关注（已购的也不再通知）。
    """
    _facts(client(market).notices.watch(dataset, on=False), as_json)


@app.command()
@command
def watched(market: Market = None, as_json: Json = False) -> None:
    """List the datasets that you watch.

    列出关注的数据集。
    """
    found = client(market).notices.watches()
    if as_json:
        print_json({"items": found})
        return
    print_table(
        ("dataset 编号", "name 名称", "on 开启"),
        [(w["dataset_id"], f"{w['publisher']}/{w['name']}", "✓" if w["on"] else "") for w in found],
    )


# --- saved searches ---------------------------------------------------------------------------


@searches.command("list")
@command
def list_searches(market: Market = None, as_json: Json = False) -> None:
    """List your saved searches.

    列出已存检索。
    """
    found = client(market).notices.searches()
    if as_json:
        print_json({"items": found})
        return
    print_table(
        ("search 编号", "name 名称", "q 检索词", "facets 分面", "on 开启"),
        [
            (s["search_id"], s["name"], s["text"],
             " ".join(f"{f}={','.join(v)}" for f, v in s["filters"].items()),
             "✓" if s["on"] else "")
            for s in found
        ],
    )  # fmt: skip


@searches.command()
@command
@makes("ssr")
def save(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What you call it. 名称。")],
    query: Annotated[str, typer.Argument(metavar="QUERY", help="Words to look for. 检索词。")] = "",
    facet: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="As in `yaosu search`. 按分面筛选。"),
    ] = None,
    sort: Annotated[str, typer.Option(help="As in `yaosu search`. 排序方式。")] = "newest",
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Save a search; every version that it finds from now on is told of once.

    保存检索，此后符合条件的版本各通知一次。
    """
    _facts(client(market).notices.save(name, query, sort=sort, **facets(facet or [])), as_json)


@searches.command()
@command
def switch(
    search: SearchId,
    on: Annotated[bool, typer.Option("--on/--off", help="Whether it tells. 是否通知。")] = True,
    name: Annotated[str | None, typer.Option(help="Another name. 新名称。")] = None,
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Switch the notices of a search, or give it another name.

    开关检索通知或改名。
    """
    _facts(client(market).notices.change(search, on=on, name=name), as_json)


@searches.command()
@command
def forget(search: SearchId, market: Market = None, as_json: Json = False) -> None:
    """Forget a saved search.

    删除已存检索。
    """
    client(market).notices.forget(search)
    _facts({"search_id": search, "removed": True}, as_json)


def _facts(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(found)
    else:
        print_facts({k: v for k, v in found.items() if v not in (None, "", [], {})})
