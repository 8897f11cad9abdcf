"""`yaosu webhooks`: events of one's own, sent to an address of one's own."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from yaosu.errors import Text

from .family import family
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

app = family("Events sent to addresses of one's own, signed.\n\n事件推送。")

Id = Annotated[str, typer.Argument(metavar="WEBHOOK", help="Id of the webhook. 推送编号。")]


@app.command("list")
@command
def list_(market: Market = None, as_json: Json = False) -> None:
    """List one's webhooks.

    列出推送。
    """
    found = list(client(market).webhooks)
    if as_json:
        print_json({"items": found})
        return
    print_table(
        ("webhook 编号", "url 地址", "topics 主题", "state 状态"),
        [(h["webhook_id"], h["url"], " ".join(h["topics"]), h["state"]) for h in found],
    )


@app.command()
@command
@makes("whk")
def new(
    url: Annotated[str, typer.Argument(metavar="URL", help="Where to. 接收地址。")],
    topic: Annotated[
        list[str] | None,
        typer.Option(help="As trade.*, trade.paid, *; may be repeated. 主题。"),
    ] = None,
    description: Annotated[str, typer.Option(help="A note. 说明。")] = "",
    ed25519: Annotated[
        bool, typer.Option("--ed25519", help="Sign with a key pair (v1a). 以密钥对签名。")
    ] = False,
    form: Annotated[
        str, typer.Option(help="Bring the trading record along in this form. 附带交易记录的表单。")
    ] = "",
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Have events sent to an address; the secret is shown this once.

    新增推送（密钥只显示一次）。
    """
    made = client(market).webhooks.add(
        url,
        topic or ["trade.*"],
        description=description,
        scheme="v1a" if ed25519 else "v1",
        form=form,
    )
    _told(made, as_json)


def _told(made: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(made)
        return
    say(made["webhook_id"])
    if made.get("secret"):
        say(Text("shown this once; keep it safe:", "仅显示一次，请妥善保存："), made["secret"])
    elif made.get("public_key"):
        say(Text("signatures are checked with:", "验签公钥："), made["public_key"])
    else:
        say(Text("the secret was shown before: rotate it for a new one", "密钥已显示过，可更换"))


@app.command()
@command
def show(webhook: Id, market: Market = None, as_json: Json = False) -> None:
    """Show a webhook: how far it has come, and what stops it.

    查看推送状态。
    """
    _facts(client(market).webhooks.get(webhook), as_json)


def _facts(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(found)
    else:
        print_facts({k: v for k, v in found.items() if v not in (None, "", [])})


@app.command()
@command
def rotate(webhook: Id, market: Market = None, as_json: Json = False) -> None:
    """Begin a new secret; for a day both sign.

    更换密钥（一天内新旧同时有效）。
    """
    _told(client(market).webhooks.step(webhook, "rotate"), as_json)


@app.command()
@command
def pause(webhook: Id, market: Market = None, as_json: Json = False) -> None:
    """Send nothing until it is resumed; nothing is lost.

    暂停推送（不丢失事件）。
    """
    _facts(client(market).webhooks.step(webhook, "pause"), as_json)


@app.command()
@command
def resume(webhook: Id, market: Market = None, as_json: Json = False) -> None:
    """Go on where it stopped.

    从停止处恢复推送。
    """
    _facts(client(market).webhooks.step(webhook, "resume"), as_json)


@app.command()
@command
def remove(webhook: Id, market: Market = None, as_json: Json = False) -> None:
    """End a webhook for good.

    删除推送。
    """
    _facts(client(market).webhooks.step(webhook, "remove"), as_json)


@app.command()
@command
def ping(webhook: Id, market: Market = None, as_json: Json = False) -> None:
    """Send a message without content; its outcome is among the deliveries.

    发送测试消息。
    """
    _facts(client(market).webhooks.step(webhook, "ping"), as_json)


@app.command()
@command
def replay(
    webhook: Id,
    event: Annotated[int, typer.Argument(min=0, help="From which event; 0: all. 起始事件编号。")],
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Send everything again from an event on; receivers tell repeats by the id.

    从指定事件起重新推送。
    """
    _facts(client(market).webhooks.step(webhook, "replay", event_id=event), as_json)


@app.command()
@command
def deliveries(
    webhook: Id,
    state: Annotated[
        str | None, typer.Option(help="delivered, pending, waiting, parked or dead. 状态。")
    ] = None,
    market: Market = None,
    as_json: Json = False,
) -> None:
    """List messages, newest first; `--state dead` are the dead letters.

    列出推送记录与死信。
    """
    found = list(client(market).webhooks.deliveries(webhook, state))
    if as_json:
        print_json({"items": found})
        return
    print_table(
        ("message 编号", "event 事件", "type 主题", "state 状态", "tries 次数", "last 最近"),
        [
            (
                m["message_id"],
                m["event_id"],
                m["type"],
                m["state"],
                len(m["attempts"]),
                _last(m["attempts"]),
            )
            for m in found
        ],
    )


def _last(attempts: list[dict[str, Any]]) -> str:
    return str(attempts[-1]["status"] or attempts[-1]["error"]) if attempts else ""


@app.command()
@command
def retry(
    webhook: Id,
    message: Annotated[str, typer.Argument(help="Id of the dead letter. 死信编号。")],
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Send a dead letter, or a parked message, once more.

    重发死信。
    """
    _facts(client(market).webhooks.retry(webhook, message), as_json)
