"""`yaosu benchmark` and `yaosu ruleset`: what every corpus is looked through for (operators)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from yaosu.errors import Text

from .family import family
from .terminal import Json, Market, client, command, print_facts, print_json, print_table, say

benchmarks = family(
    "Benchmarks that every corpus is looked through for.\n\n每份语料都会比对的评测集。"
)
rulesets = family(
    "Word lists of unsafe text, looked for in every corpus.\n\n每份语料都会比对的风险词表。"
)

File = Annotated[Path, typer.Argument(metavar="FILE", help="The file. 文件。")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name, a-z 0-9 -. 名称。")]
_HEAD = (
    "name 名称",
    "version 版本",
    "state 状态",
    "holds 数量",
    "bytes 字节",
    "sha256",
    "since 时间",
)


@benchmarks.command("list")
@command
def list_benchmarks(market: Market = None, as_json: Json = False) -> None:
    """List the registered benchmarks by digest; their text is never shown.

    列出已登记的评测集（只显示摘要，不显示内容）。
    """
    _tell(client(market).registered("benchmarks"), as_json)


@benchmarks.command("add")
@command
def add_benchmark(name: Name, file: File, market: Market = None, as_json: Json = False) -> None:
    """Register a benchmark, or its next version (operators).

    登记评测集或其新版本（运营方）。
    """
    _done(client(market).register_file("benchmarks", name, file), as_json)


@benchmarks.command("remove")
@command
def remove_benchmark(name: Name, market: Market = None, as_json: Json = False) -> None:
    """Look for a benchmark no longer (operators).

    不再比对该评测集（运营方）。
    """
    _done(client(market).unregister("benchmarks", name), as_json)


@rulesets.command("list")
@command
def list_rulesets(market: Market = None, as_json: Json = False) -> None:
    """List the registered word lists by digest; no word is shown.

    列出已登记的词表（只显示摘要，不显示词语）。
    """
    _tell(client(market).registered("rulesets"), as_json)


@rulesets.command("add")
@command
def add_ruleset(name: Name, file: File, market: Market = None, as_json: Json = False) -> None:
    """Register a word list (CSV: word, category), or its next version (operators).

    登记词表（CSV：word、category）或其新版本（运营方）。
    """
    _done(client(market).register_file("rulesets", name, file), as_json)


@rulesets.command("remove")
@command
def remove_ruleset(name: Name, market: Market = None, as_json: Json = False) -> None:
    """Look for a word list no longer (operators).

    不再比对该词表（运营方）。
    """
    _done(client(market).unregister("rulesets", name), as_json)


def _tell(items: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print_json({"items": items})
    elif not items:
        say(Text("nothing is registered", "尚未登记"))
    else:
        print_table(
            _HEAD,
            [
                (r["name"], r["version"], r["state"], r.get("items", r.get("words")), r["bytes"],
                 r["sha256"][:16], r["added_at"][:10])
                for r in items
            ],
        )  # fmt: skip


def _done(made: dict[str, Any], as_json: bool) -> None:
    (print_json if as_json else print_facts)(made)
