"""`yaosu connect`: other people's catalogs, in and out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from yaosu.errors import InvalidInput, Text, YaosuError

from .family import family
from .terminal import (
    NOT_VALID,
    Json,
    Market,
    Watch,
    client,
    command,
    note,
    print_json,
    print_table,
)

if TYPE_CHECKING:
    from yaosu.client import Client
    from yaosu_connectors import Change, Record, Report

app = family("Other people's catalogs, in and out.\n\n对接其他目录：导入与导出。")

Connector = Annotated[
    str, typer.Argument(metavar="CONNECTOR", help="Name; see `yaosu connect list`. 连接器。")
]


@app.command("list")
@command
def list_(as_json: Json = False) -> None:
    """List the connectors and what each can do.

    列出连接器及其能力。
    """
    from yaosu_connectors import capabilities, load, names

    rows = [(name, load(name).about(), capabilities(name)) for name in names()]
    if as_json:
        print_json(
            {
                "items": [
                    {
                        "name": name,
                        "title": about.title.en,
                        "title_zh": about.title.zh,
                        "speaks": list(about.speaks),
                        "kinds": list(about.kinds),
                        "capabilities": list(can),
                    }
                    for name, about, can in rows
                ]
            }
        )
        return
    print_table(
        ("name 名称", "what 说明", "kinds 对象", "can 能力"),
        [
            (name, f"{a.title.en} {a.title.zh}", ", ".join(a.kinds), ", ".join(can))
            for name, a, can in rows
        ],
    )


@app.command("import")
@command
def import_(
    connector: Connector,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Folder or file. 来源。")],
    dry_run: Annotated[bool, typer.Option(help="Read only. 只读取，不写入。")] = False,
    files: Annotated[bool, typer.Option(help="Upload the files too. 同时上传文件。")] = True,
    venue: Annotated[str | None, typer.Option(help="Place of trading. 交易场所。")] = None,
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Bring another catalog over as drafts of one's own; running it again only adds what is new.

    将其他目录导入为草稿；可重复执行。

    Exit 1 when something of the source could not be brought over.
    """
    from yaosu_connectors import Harvests, Report, compare, load

    harvester = load(connector)
    if not isinstance(harvester, Harvests):
        raise InvalidInput(
            f"the connector '{connector}' cannot read; see `yaosu connect list`",
            f"连接器“{connector}”不支持导入，见 yaosu connect list",
            field="connector",
        )
    who = None if dry_run else client(market)
    known = {} if who is None else _known(who)
    done: list[Change] = []
    with Watch() as watch:
        for change in compare(harvester.harvest(source), {}, complete=False):
            if who is not None and change.record is not None:
                change = _bring(who, change, known, venue, files, watch)
            done.append(change)
    report = Report.of(done)
    _show(report, as_json)


def _known(who: Client) -> dict[str, dict[str, Any]]:
    """Return one's datasets by the id that their source gave them."""
    return {d["origin_id"]: d for d in who.datasets() if d.get("origin_id")}


def _bring(
    who: Client,
    change: Change,
    known: dict[str, dict[str, Any]],
    venue: str | None,
    files: bool,
    watch: Watch,
) -> Change:
    """Make a draft of a record, or revise the one there is; what cannot be is skipped with why."""
    from yaosu_connectors import Change as Made

    record = change.record
    assert record is not None
    if record.kind != "dataset":
        why = Text("only datasets are brought over", "只导入数据集")
        return Made(outcome="skipped", origin_id=record.origin_id, why=why)
    try:
        outcome = _draft(who, record, known.get(record.origin_id), venue)
        if files and outcome != "unchanged":
            _upload(who, record, watch)
    except YaosuError as error:
        why = Text(error.en, error.zh)
        return Made(outcome="skipped", origin_id=record.origin_id, why=why)
    return Made(outcome=outcome, origin_id=record.origin_id, record=record)


def _draft(who: Client, record: Record, known: dict[str, Any] | None, venue: str | None) -> Any:
    document = dict(record.document)
    if known is None:
        who.create_dataset(document, venue=venue, origin_id=record.origin_id)
        return "added"
    last = max(known["versions"], key=lambda v: int(v["listing_version"]))
    listing = who.listing(last["listing_id"])
    if listing.descriptor == document:
        return "unchanged"
    if last["state"] in ("draft", "returned"):
        listing.revise(document)
    else:
        who.new_version(known["dataset_id"], document)
    return "changed"


def _upload(who: Client, record: Record, watch: Watch) -> None:
    from yaosu.client.submission import Parcel, SourceFile, upload_files
    from yaosu.client.transfer import hash_file

    found = []
    for path, place in record.files.items():
        sha256, size = hash_file(place, progress=watch, name=path)
        found.append(SourceFile(pointer="", path=path, place=place, sha256=sha256, bytes=size))
    parcel = Parcel(folder=Path("."), descriptor=dict(record.document), files=tuple(found))
    upload_files(who, parcel, progress=watch)


@app.command()
@command
def export(
    connector: Connector,
    target: Annotated[str, typer.Argument(metavar="TARGET", help="Folder. 目标目录。")],
    query: Annotated[str, typer.Option(help="Only listings that fit. 检索条件。")] = "",
    prune: Annotated[bool, typer.Option(help="Remove what is gone. 删除已不存在的记录。")] = False,
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Write what is listed (or one's trades) into another catalog.

    将挂牌（或本方交易）导出到其他目录。
    """
    from yaosu_connectors import Publishes, load

    publisher = load(connector)
    if not isinstance(publisher, Publishes):
        raise InvalidInput(
            f"the connector '{connector}' cannot write; see `yaosu connect list`",
            f"连接器“{connector}”不支持导出，见 yaosu connect list",
            field="connector",
        )
    trades = "trade" in publisher.about().kinds  # type: ignore[attr-defined]
    who = client(market, key_needed=trades)
    records = _trades(who) if trades else _listings(who, query)
    report = publisher.publish(records, target, prune=prune)
    _show(report, as_json)


@app.command()
@command
def convert(
    reader: Connector,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Folder or file. 来源。")],
    writer: Annotated[
        str, typer.Argument(metavar="CONNECTOR", help="Who writes. 写出所用的连接器。")
    ],
    target: Annotated[str, typer.Argument(metavar="TARGET", help="Folder. 目标目录。")],
    prune: Annotated[bool, typer.Option(help="Remove what is gone. 删除已不存在的记录。")] = False,
    as_json: Json = False,
) -> None:
    """Write what one connector reads as another writes it, with its files; no market is asked.

    在本地用一个连接器读取、用另一个写出（含文件），不访问市场。

    A folder that was bought becomes a dataset folder of Hugging Face by
    `yaosu connect convert folder ./bought huggingface ./hub`.
    Exit 1 when something of the source could not be written.
    """
    from yaosu_connectors import Change, Harvests, Publishes, Report, Skipped, load

    harvester, publisher = load(reader), load(writer)
    if not isinstance(harvester, Harvests) or not isinstance(publisher, Publishes):
        raise InvalidInput(
            f"'{reader}' must read and '{writer}' write; see `yaosu connect list`",
            f"“{reader}”须能导入且“{writer}”须能导出，见 yaosu connect list",
            field="connector",
        )
    unread: list[Skipped] = []

    def records() -> Iterator[Record]:
        for item in harvester.harvest(source):
            if isinstance(item, Skipped):
                unread.append(item)
                continue
            for lost in item.notes:
                note(Text(f"{item.origin_id} {lost.pointer}: {lost.en}", lost.zh), mark="!")
            yield item

    report = publisher.publish(records(), target, prune=prune)
    skipped = Report.of(Change(outcome="skipped", origin_id=s.origin_id, why=s.why) for s in unread)
    _show(replace(report, skipped=(*skipped.skipped, *report.skipped)), as_json)


def _show(report: Report, as_json: bool) -> None:
    """Show a report; exit 1 when something was skipped."""
    if as_json:
        print_json(report.as_json())
    else:
        print_table(("outcome 结果", "n"), [(k, len(v)) for k, v in report.as_json().items()])
        for origin, why in report.skipped:
            note(Text(f"{origin}: {why.en}", f"{origin}：{why.zh}"), mark="!")
    if report.skipped:
        raise typer.Exit(NOT_VALID)


def _listings(who: Client, query: str) -> Iterator[Record]:
    """Yield what is listed as records without files: data is delivered by trades alone."""
    from yaosu_connectors import Record
    from yaosu_schemas.canonical import digest

    for hit in who.search(query):
        listing = who.listing(hit["listing_id"])
        document = listing.descriptor
        yield Record(
            origin_id=str(listing["dataset_id"]),
            kind="dataset",
            document=document,
            digest=digest(document),
        )


def _trades(who: Client) -> Iterator[Record]:
    from yaosu_connectors.trading_record import as_record

    for trade in who.trades():
        if trade["signed_at"]:
            yield as_record(trade.record())
