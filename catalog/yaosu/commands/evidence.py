"""`yaosu usage` and `yaosu recall`: what becomes of data after it was bought."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from yaosu.errors import InvalidInput, Text

from .family import family
from .language import called
from .listing import Platform, SigningKey
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
    tell_approval,
)

usage = family("Which trades fed which model.\n\n训练使用回执。")
recall = family("Call back what was sold, and confirm deletions.\n\n召回与删除确认。")

Model = Annotated[str, typer.Argument(metavar="MODEL", help="Name of the model. 模型名称。")]
OneModel = Annotated[str | None, typer.Option("--model", help="Only this model. 指定模型。")]
Reason = Annotated[str, typer.Option("--reason", help="Why, in writing. 书面原因。")]
Recall = Annotated[str, typer.Argument(metavar="RECALL", help="Id of the recall. 召回编号。")]


@usage.command()
@command
@makes("usr")
def record(
    model: Model,
    trade: Annotated[
        list[str],
        typer.Option("--trade", metavar="ID[=TOKENS]", help="A trade that fed it. 来源交易。"),
    ],
    version: Annotated[str, typer.Option(help="Version of the model. 模型版本。")] = "",
    run: Annotated[str, typer.Option(help="Name of the training run. 训练任务。")] = "",
    stage: Annotated[str, typer.Option(help="Such as pretraining. 使用阶段。")] = "other",
    key: SigningKey = None,
    platform: Platform = False,
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Record, signed with one's own key, which trades fed a model.

    签名记录哪些交易的数据用于训练某模型。
    """
    sources: dict[str, int | None] = {}
    for item in trade:
        name, mark, count = item.partition("=")
        if mark and not (count.isascii() and count.isdigit()):
            raise InvalidInput("tokens are a whole number", "词元数应为整数", field="trade")
        sources[name] = int(count) if mark else None
    kept = client(market).record_usage(
        model, sources, version=version, run=run, stage=stage, key=key, platform=platform
    )
    if as_json:
        print_json(kept)
    elif kept.get("approval_id"):
        tell_approval(kept)
    else:
        print_facts({"receipt 回执": kept["usage_receipt_id"], "digest 摘要": kept["digest"]})


@usage.command("list")
@command
def list_usage(model: OneModel = None, market: Market = None, as_json: Json = False) -> None:
    """List one's own usage receipts, newest first.

    列出本方使用回执。
    """
    found = list(client(market).usage_receipts(model))
    if as_json:
        print_json({"items": found})
        return
    if not found:
        say(
            Text(
                "nothing is recorded yet: yaosu usage record MODEL --trade TRADE",
                "尚未登记：yaosu usage record 模型 --trade 交易",
            )
        )
        return
    rows = [
        [k["usage_receipt_id"], _model(k), str(len(k["document"]["sources"])), k["created_at"]]
        for k in found
    ]
    print_table(["receipt 回执", "model 模型", "trades 交易", "at 时间"], rows)


def _model(kept: dict[str, Any]) -> str:
    said = kept["document"]["model"]
    return f"{said['name']} {said['version']}".strip()


@usage.command()
@command
def summary(model: OneModel = None, market: Market = None, as_json: Json = False) -> None:
    """Show the summary of training content for bought data; blanks are named.

    已购数据的训练内容摘要。
    """
    found = client(market).training_content(model)
    if as_json:
        print_json(found)
        return
    rows = [
        [r["section"], f"{r['item']} {r['item_zh']}", "–" if r["blank"] else _plainly(r["value"])]
        for r in found["rows"]
    ]
    print_table(["§", "item 项目", "known 平台掌握"], rows)


def _plainly(value: object) -> str:
    """Return a value as a person reads it; datasets by their names, `--json` has all of them."""
    each = value if isinstance(value, list) else [value]
    text = ", ".join(str(v.get("dataset") if isinstance(v, dict) else v) for v in each)
    return text if len(text) <= 200 else text[:199] + "…"


@usage.command()
@command
def sources(market: Market = None) -> None:
    """Print the records of corpus sources of everything that was bought, as JSON.

    输出语料来源记录。
    """
    print_json(client(market).source_records())


# --- recalls --------------------------------------------------------------------------------------


@recall.command()
@command
def start(
    listing: Annotated[str, typer.Argument(metavar="LISTING", help="Id. 挂牌编号。")],
    reason: Reason,
    file: Annotated[
        list[str] | None,
        typer.Option(metavar="SHA256", help="Only this file of it. 仅召回该文件。"),
    ] = None,
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Call a version back: its deliveries close at once, buyers are asked to delete it.

    召回某版本：立即关闭交付，并请需方确认删除。
    """
    made = client(market).start_recall(listing, reason, files=file)
    print_json(made) if as_json else _told(made)


@recall.command("list")
@command
def list_recalls(market: Market = None, as_json: Json = False) -> None:
    """List recalls of one's own listings; operators: those they handle.

    列出召回。
    """
    found = list(client(market).recalls())
    if as_json:
        print_json({"items": found})
        return
    rows = [[r["recall_id"], r["listing_id"], r["state"], r["reason"][:60]] for r in found]
    print_table(["recall 召回", "listing 挂牌", "state 状态", "reason 原因"], rows)


@recall.command()
@command
def show(recall_id: Recall, market: Market = None, as_json: Json = False) -> None:
    """Show who has confirmed what.

    查看召回及确认情况。
    """
    found = client(market).recall(recall_id)
    if as_json:
        print_json(found)
        return
    _told(found)
    rows = [
        [t["trade_id"], called(t["buyer"]), t["state"], t["statement"]] for t in found["trades"]
    ]
    print_table(["trade 交易", "buyer 需方", "state 状态", "statement 声明"], rows)


@recall.command()
@command
def close(recall_id: Recall, reason: Reason, market: Market = None) -> None:
    """End a recall; what it had closed opens again.

    结束召回。
    """
    _told(client(market).close_recall(recall_id, reason))


@recall.command()
@command
def confirm(
    trade: Annotated[str, typer.Argument(metavar="TRADE", help="Id of the trade. 交易编号。")],
    statement: Annotated[
        str, typer.Option(help="deleted, never_fetched or kept_by_law. 声明。")
    ] = "deleted",
    key: SigningKey = None,
    platform: Platform = False,
    market: Market = None,
) -> None:
    """Say, signed, what has become of recalled data.

    签名确认被召回数据的处理情况。
    """
    done = client(market).trade(trade).confirm_deletion(statement, key=key, platform=platform)
    if done.get("approval_id"):
        tell_approval(done)
        return
    n = len(done["notices"])
    say(Text(f"confirmed: {statement} ({n} recalls)", f"已确认：{statement}（{n} 项召回）"))


def _told(found: dict[str, Any]) -> None:
    counts = ", ".join(f"{name} {n}" for name, n in found["counts"].items() if n)
    print_facts(
        {
            "recall 召回": found["recall_id"],
            "state 状态": found["state"],
            "reason 原因": found["reason"],
            "trades 交易": counts,
            "same content 相同内容": ", ".join(found["same_content"]),
        }
    )
