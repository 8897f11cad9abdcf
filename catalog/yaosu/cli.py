"""The `yaosu` command: a table of commands, each loaded when it is called.

Exit codes: 0 done or valid · 1 the data or the record is not valid · 2 wrong use, a target that
cannot be opened, or a market that does not answer · 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any, NamedTuple

import typer
import typer.core
import typer.main


class Entry(NamedTuple):
    """Where a command lies, and what it is for in both languages."""

    place: str
    en: str
    zh: str
    panel: str


PROVIDE, BUY, OFFICE, EVIDENCE, RUN = (
    "Provide 提供数据",
    "Find and buy 查找与购买",
    "Operate the market 市场运营",
    "Evidence 凭证",
    "Run a market 运行市场",
)

COMMANDS: dict[str, Entry] = {
    "describe": Entry("describe:describe", "Write a datapackage.json.", "生成数据描述。", PROVIDE),
    "validate": Entry("validate:validate", "Check data.", "校验数据。", PROVIDE),
    "sketch": Entry("sketch:sketch", "Sample the hashes of a corpus.", "生成语料摘要。", PROVIDE),
    "overlap": Entry("sketch:overlap", "Estimate an overlap.", "估计两份语料的重合度。", BUY),
    "submit": Entry("submit:submit", "Offer a folder on a market.", "提交数据集。", PROVIDE),
    "listing": Entry("listing:app", "Look after listings.", "管理挂牌。", PROVIDE),
    "renewal": Entry("profile:renewals", "Renew certificates.", "凭证续期。", PROVIDE),
    "connect": Entry("connect:app", "Other catalogs: in and out.", "对接其他目录。", PROVIDE),
    "search": Entry("search:search", "Search what is listed.", "搜索挂牌数据。", BUY),
    "searches": Entry("notices:searches", "Searches that tell of news.", "已存检索。", BUY),
    "notices": Entry("notices:app", "What the market has told you.", "通知。", BUY),
    "order": Entry("order:order", "Say that you want a listing.", "提交购买意向。", BUY),
    "buy": Entry("order:buy", "Buy at the standing offer.", "按长期报价一步购买。", BUY),
    "trade": Entry("trade:app", "Take a trade from step to step.", "办理交易各步骤。", BUY),
    "period": Entry("money:period_app", "Periods and metered use.", "订阅与计量周期。", BUY),
    "rows": Entry("money:rows", "Rows of what was bought as an API.", "按接口取数。", BUY),
    "invoice": Entry("money:invoice_app", "Invoices, and those in red.", "发票。", PROVIDE),
    "payout": Entry("money:payout", "What was paid out.", "结算对账单。", PROVIDE),
    "fetch": Entry("fetch:fetch", "Download what was bought.", "下载已购数据。", BUY),
    "usage": Entry("evidence:usage", "Which trades fed which model.", "训练使用回执。", BUY),
    "recall": Entry("evidence:recall", "Recalls, and deletions.", "召回与删除确认。", EVIDENCE),
    "keys": Entry("keys:app", "Access keys and signing keys.", "管理密钥。", BUY),
    "approvals": Entry("approvals:app", "What waits for a second person.", "内部审批。", BUY),
    "organisation": Entry(
        "approvals:organisation", "People, rules, invitations.", "机构管理。", BUY
    ),
    "profile": Entry("profile:app", "What parties show.", "机构公开信息与名录。", BUY),
    "party": Entry("party:app", "Organisations and people.", "主体与成员。", BUY),
    "review": Entry("review:app", "The reviewer's queue.", "审核队列。", OFFICE),
    "benchmark": Entry(
        "registered:benchmarks", "Benchmarks that are looked for.", "登记评测集。", OFFICE
    ),
    "ruleset": Entry(
        "registered:rulesets", "Word lists that are looked for.", "登记风险词表。", OFFICE
    ),
    "exchange": Entry("exchange:app", "The desk of an exchange.", "交易所对账与回调。", OFFICE),
    "webhooks": Entry("webhooks:app", "Events sent to oneself.", "事件推送。", BUY),
    "verify": Entry("verify:verify", "Check evidence offline.", "离线验证凭证。", EVIDENCE),
    "witness": Entry("witness:witness", "Watch over logs of others.", "日志见证服务。", EVIDENCE),
    "log": Entry("log:app", "The transparency log.", "透明日志。", EVIDENCE),
    "demo": Entry("operate:demo", "A market with demonstration data.", "演示市场。", RUN),
    "serve": Entry("operate:serve", "A market.", "启动市场服务。", RUN),
    "worker": Entry("operate:worker", "Run background jobs.", "运行后台任务。", RUN),
    "jobs": Entry("operate:jobs", "Background jobs.", "后台任务。", RUN),
    "settings": Entry("operate:settings", "Every setting and its origin.", "全部设置项。", RUN),
    "search-index": Entry("operate:search_index", "The search index.", "搜索索引。", RUN),
    "db": Entry("operate:db", "The database.", "数据库。", RUN),
    "backup": Entry("copies:backup", "Copy a market into one file.", "备份市场。", RUN),
    "restore": Entry("copies:restore", "Bring a backup back.", "恢复备份。", RUN),
}


class Commands(typer.core.TyperGroup):
    """The commands by name; a list of them loads none."""

    listing_only = False

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        return _stub(cmd_name, entry) if self.listing_only else loaded(cmd_name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        for panel in dict.fromkeys(entry.panel for entry in COMMANDS.values()):
            with formatter.section(panel):
                formatter.write_dl(
                    [
                        (name, f"{entry.en} {entry.zh}")
                        for name, entry in COMMANDS.items()
                        if entry.panel == panel
                    ]
                )

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        self.listing_only = True
        try:
            return super().shell_complete(ctx, incomplete)
        finally:
            self.listing_only = False

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        # Typer suggests names from this mapping; ours is filled on demand.
        self.commands = {name: _stub(name, entry) for name, entry in COMMANDS.items()}
        return super().resolve_command(ctx, args)


def loaded(name: str) -> Any:
    """Return the command of that name, with its options."""
    entry = COMMANDS[name]
    module, _, attribute = entry.place.partition(":")
    found = getattr(import_module(f"yaosu.commands.{module}"), attribute)
    if isinstance(found, typer.Typer):
        command = typer.main.get_command(found)
    else:
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(name)(found)
        command = typer.main.get_command(app)
    command.name = name
    command.help = command.help or f"{entry.en}\n\n{entry.zh}"
    return command


def _stub(name: str, entry: Entry) -> Any:
    """Return what a list of commands shows of one."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None)

    @app.command(name, help=f"{entry.en} {entry.zh}")
    def stub() -> None:
        """Never runs."""

    return typer.main.get_command(app)


app = typer.Typer(
    name="yaosu",
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from . import __version__

        typer.echo(f"yaosu {__version__}")
        raise typer.Exit


@app.callback()
def yaosu(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Say the version. 显示版本。"
    ),
) -> None:
    """Yaosu 要素: a marketplace of data for AI. 人工智能数据要素市场。

    The market is YAOSU_MARKET, the key YAOSU_KEY. 市场地址与密钥取自环境变量。
    """


def main() -> None:
    """Run the command line; whatever is not understood ends as exit code 2 and a sentence."""
    from .commands.terminal import guarded

    sys.exit(guarded(lambda: app(prog_name="yaosu")))
