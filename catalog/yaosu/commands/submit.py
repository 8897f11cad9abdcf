"""`yaosu submit`: a folder becomes a listing, or hears everything that stands in the way."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from yaosu.errors import Problem, Text, Unavailable

from .standing import state_of
from .terminal import (
    NOT_VALID,
    Json,
    Market,
    Watch,
    client,
    command,
    counted,
    makes,
    note,
    print_json,
    print_problems,
    print_table,
    say,
    size,
)

if TYPE_CHECKING:
    from yaosu.client import Client
    from yaosu.client.submission import Parcel, Submission


@command
@makes("dst", "lst")
def submit(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder with a datapackage.json. 数据目录。")
    ],
    dry_run: Annotated[
        bool, typer.Option(help="Say all that would be refused; send nothing. 只检查。")
    ] = False,
    draft: Annotated[bool, typer.Option(help="Upload, but do not submit. 仅保存草稿。")] = False,
    venue: Annotated[str | None, typer.Option(help="Place of trading. 交易场所。")] = None,
    view_policy: Annotated[
        str | None, typer.Option(help="public, member or private. 可见范围。")
    ] = None,
    apply: Annotated[bool, typer.Option(help="Apply for listing at once. 同时申请挂牌。")] = True,
    wait: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="Wait for the verdict. 等待校验结论。")
    ] = 600,
    offer: Annotated[
        bool, typer.Option(help="Sign the standing offer, for buying in one step. 签署长期报价。")
    ] = False,
    signing_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Your signing key. 签名密钥文件。")
    ] = None,
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Create the dataset (or its next version), upload what the market lacks, and submit.

    创建数据集（或新版本），上传缺少的文件并提交审核。

    A broken upload goes on where it stopped. Exit 1 when anything is refused or found invalid.
    """
    if dry_run:
        raise typer.Exit(_dry_run(folder, market, as_json))
    who = client(market)
    if offer:
        from yaosu.client.remote import signer_of

        signer_of(signing_key)  # before anything is sent: the offer is signed last
    begun: list[str] = []
    try:
        with Watch() as watch:
            done = who.submit(
                folder,
                venue=venue,
                view_policy=view_policy,
                apply=apply,
                draft_only=draft,
                wait=wait or None,
                progress=watch,
                told=lambda listing_id: _begun(begun, listing_id),
            )
    except Unavailable:
        if begun:
            note(_KEPT)
        raise
    returned = done.listing.state == "returned"
    if offer and not returned:
        done.listing.offer(signing_key)
    if as_json:
        print_json(_as_json(done))
    else:
        _tell(done)
    if returned:
        raise typer.Exit(NOT_VALID)


_KEPT = Text(
    "what has arrived is kept: give the same command again, and it goes on from there",
    "已上传部分会保留：重新执行同一命令即可从中断处继续",
)


def _begun(begun: list[str], listing_id: str) -> None:
    begun.append(listing_id)
    note(f"listing 挂牌 {listing_id}")


def _as_json(done: Submission) -> dict[str, Any]:
    return {
        "listing": done.listing.data,
        "created": done.created,
        "sent": list(done.sent),
        "held": list(done.held),
        "warnings": [p.as_json() for p in done.problems],
    }


def _tell(done: Submission) -> None:
    listing = done.listing
    stands = state_of(listing.id, listing.state)
    say(
        Text(
            f"{listing.id} is {stands.en}: {counted(len(done.sent))} sent, "
            f"{len(done.held)} were there already",
            f"{listing.id} 状态：{stands.zh}；上传 {len(done.sent)} 个文件，"
            f"{len(done.held)} 个已存在",
        )
    )
    if done.problems:
        print_problems(done.problems)
    if listing.state == "returned":
        from .validate import print_findings

        say(Text("the market found errors in the data:", "市场校验发现错误："))
        print_findings(listing.report_json())
        say(
            Text(
                "mend the files, run `yaosu describe` and submit again",
                "请修改数据后重新执行 yaosu describe 并再次提交",
            )
        )
    elif listing.state == "draft":
        say(Text("when it is ready: yaosu submit DIR", "准备好后执行：yaosu submit 目录"))
    else:
        say(
            Text(
                f"next: a reviewer looks at it; see yaosu listing show {listing.id}",
                f"下一步：等待审核；查看：yaosu listing show {listing.id}",
            )
        )


def _dry_run(folder: Path, market: str | None, as_json: bool) -> int:
    """Tell everything that stands in the way, with the market's word where a key allows it."""
    from yaosu.client.submission import all_problems, prepare
    from yaosu.errors import Unauthenticated

    with Watch() as watch:
        parcel = prepare(folder, progress=watch)
    problems, held, asked = list(parcel.problems), None, True
    try:
        who = client(market)
        problems = all_problems(who, parcel)
        held = _held(who, parcel)
    except Unauthenticated as error:
        asked = False
        note(Text(error.en, error.zh))
        note(Text("judged without the market", "未经市场检查，仅作本地判断"))
    errors = [p for p in problems if p.severity == "error"]
    if as_json:
        print_json(_plan(parcel, problems, held, asked))
    else:
        _tell_plan(parcel, problems, held)
    return NOT_VALID if errors else 0


def _held(who: Client, parcel: Parcel) -> list[str]:
    return [f.path for f in parcel.files if who.holds(f.sha256)]


def _plan(
    parcel: Parcel, problems: list[Problem], held: list[str] | None, asked: bool
) -> dict[str, Any]:
    return {
        "valid": not any(p.severity == "error" for p in problems),
        "asked_market": asked,
        "name": parcel.descriptor.get("name"),
        "files": [
            {"path": f.path, "bytes": f.bytes, "sha256": f.sha256, "held": f.path in (held or ())}
            for f in parcel.files
        ],
        "problems": [p.as_json() for p in problems],
    }


def _tell_plan(parcel: Parcel, problems: list[Problem], held: list[str] | None) -> None:
    errors = [p for p in problems if p.severity == "error"]
    if problems:
        print_problems(problems)
    print_table(
        ("file 文件", "size 大小", "on the market 是否已上传"),
        [
            (f.path, size(f.bytes), "" if held is None else "✓" if f.path in held else "–")
            for f in parcel.files[:50]
        ],
    )
    if len(parcel.files) > 50:
        say(f"… {len(parcel.files)} files, {size(parcel.size_bytes)}")
    if errors:
        say(Text(f"{len(errors)} things would be refused", f"共有 {len(errors)} 个问题会被拒绝"))
    else:
        say(Text("nothing stands in the way: run it without --dry-run", "检查通过，可正式提交"))
