"""`yaosu demo`, `serve`, `worker`, `settings`, `db`, `search-index`: running a market."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from yaosu.errors import AlreadyExists, InvalidInput, Text

from .family import family
from .terminal import (
    Json,
    Market,
    client,
    command,
    note,
    print_json,
    print_table,
    say,
    where_it_stands,
)

if TYPE_CHECKING:
    from yaosu.market import Market as Running
    from yaosu.ports import Store, Transaction
    from yaosu.settings import Settings

search_index = family("The search index.\n\n搜索索引。")
db = family("The database.\n\n数据库。")
jobs = family("Background jobs of a market.\n\n后台任务。")

Data = Annotated[
    Path | None, typer.Option("--data", metavar="DIR", help="Data folder. 数据目录 [YAOSU_DATA]")
]
Host = Annotated[str, typer.Option(help="Address to listen on. 监听地址。")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one. 端口。")]


def settings_of(data: Path | None, **more: Any) -> Settings:
    """Return the settings, with the data folder of the option where one was given."""
    from yaosu.settings import load

    return load({"data": str(data) if data else None, **more})


@command
def serve(
    data: Data = None,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    as_json: Json = False,
) -> None:
    """Run a market until Ctrl-C: SQLite, files and search in one folder, or PostgreSQL.

    启动市场服务，Ctrl-C 停止。

    A new market has no operator: make one with `yaosu party operator` before serving.
    """
    from yaosu.serve import run

    def ready(market: Running, address: str) -> None:
        _ready(address, {}, as_json)

    raise typer.Exit(run(_at(data, host, port), host=host, port=port, ready=ready))


@command
def demo(
    data: Data = None,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    as_json: Json = False,
) -> None:
    """Run a market that is filled with demonstration data, and show one key per role.

    启动带有演示数据的市场，并显示各角色密钥。
    """
    from yaosu.serve import run

    def ready(market: Running, address: str) -> None:
        from yaosu.demo import fill

        keys = fill(market, lambda line: note(line, mark="·"))
        _ready(address, keys, as_json)

    settings = _at(data or Path("yaosu-demo"), host, port)
    raise typer.Exit(run(settings, host=host, port=port, ready=ready))


def _at(data: Path | None, host: str, port: int) -> Settings:
    """Return the settings; the address that others know follows --host and --port unless set."""
    from yaosu.settings import trace

    settings, origin = trace({"data": str(data) if data else None})
    if origin["public_url"] == "default" and port:
        shown = f"[{host}]" if ":" in host else host
        settings = dataclasses.replace(settings, public_url=f"http://{shown}:{port}")
    return settings


def _ready(address: str, keys: dict[str, str], as_json: bool) -> None:
    if as_json:
        print_json({"address": address, "keys": keys})
        return
    say("", f"Yaosu 要素  {address}", "")
    if keys:
        print_table(("who 主体", "key 密钥"), list(keys.items()))
        say("", f"export YAOSU_MARKET={address}", "export YAOSU_KEY=…")
    say(Text("Ctrl-C stops it", "按 Ctrl-C 停止"))


@command
def worker(data: Data = None) -> None:
    """Run background jobs beside a server on PostgreSQL, until Ctrl-C.

    为 PostgreSQL 市场运行后台任务，Ctrl-C 停止。

    An embedded market runs its own jobs and needs none.
    """
    settings = settings_of(data)
    if not settings.database_url:
        raise InvalidInput(
            "an embedded market runs its own jobs; a worker needs YAOSU_DATABASE_URL",
            "内嵌市场自行运行后台任务；独立 worker 需设置 YAOSU_DATABASE_URL",
            field="database_url",
        )
    import signal
    import threading

    from yaosu.market import Market as Running

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    running = Running(settings)
    running.on_fatal = stop.set
    try:
        running.worker.start()
        note(Text("working; Ctrl-C stops it", "后台任务运行中，按 Ctrl-C 停止"))
        stop.wait()
    finally:
        running.close()
    if running.fatal is not None:
        raise typer.Exit(1)


@command
def settings(data: Data = None, as_json: Json = False) -> None:
    """Show every setting: its value, where it came from, and what it means.

    显示全部设置项的取值、来源与含义。

    Set YAOSU_<NAME>, or write the name into yaosu.toml (or the file that YAOSU_CONFIG names).
    """
    from yaosu.settings import trace

    found, origin = trace({"data": str(data) if data else None})
    rows = []
    for field in dataclasses.fields(found):
        value = getattr(found, field.name)
        text: Text = field.metadata["text"]
        rows.append(
            {
                "name": field.name,
                "variable": f"YAOSU_{field.name.upper()}",
                "value": "•••" if field.metadata["secret"] and value else value,
                "origin": origin[field.name],
                "default": field.default,
                "meaning": text.en,
                "meaning_zh": text.zh,
            }
        )
    if as_json:
        print_json({"settings": rows})
        return
    print_table(
        ("setting 设置", "value 值", "from 来源", "meaning 含义"),
        [
            (r["variable"], r["value"], r["origin"], f"{r['meaning']}\n{r['meaning_zh']}")
            for r in rows
        ],
    )


def make_operator(store: Store, slug: str, name: str) -> list[str]:
    """Return the keys of two people of a new operator; AlreadyExists when there is one."""
    from yaosu.identity import add_member, register_party
    from yaosu.model import Actor, Party, Role

    admin = frozenset({Role.ADMIN})
    by = Actor(party_id="system", member_id="system", key_id="system", roles=admin)

    def step(tx: Transaction) -> list[str]:
        for known in tx.find(Party, limit=10_000):
            if Role.ADMIN in known.roles:
                raise AlreadyExists(
                    f"this market has an operator: {known.slug}",
                    f"该市场已有运营方：{known.slug}",
                    party_id=known.id,
                )
        party, first = register_party(tx, slug=slug, name=name, member="1", roles=admin, by=by)
        # On the host's word, not on that of the first: their four eyes are those of two people.
        at_home = dataclasses.replace(by, party_id=party.id)
        _, second = add_member(tx, at_home, "2", admin)
        return [first, second]

    return store.write(step)


@search_index.command()
@command
def rebuild(data: Data = None, as_json: Json = False) -> None:
    """Index every listed version anew and swap it in; the market must be stopped if embedded.

    重建搜索索引（内嵌市场需先停止）。
    """
    from yaosu.market import Market as Running

    running = Running(settings_of(data))
    try:
        count = running.rebuild_search()
    finally:
        running.close()
    if as_json:
        print_json({"indexed": count})
    else:
        say(Text(f"{count} listings indexed", f"已索引 {count} 个挂牌"))


@jobs.command("list")
@command
def list_jobs(
    state: Annotated[str | None, typer.Option(help="ready, leased, done, dead. 状态。")] = None,
    market: Market = None,
    as_json: Json = False,
) -> None:
    """List background jobs; those that are dead wait for a person (admin).

    列出后台任务；失败终止的任务需人工处理（管理员）。
    """
    items = list(client(market).jobs(state))
    if as_json:
        print_json({"items": items})
        return
    print_table(
        ("job 任务", "kind 类型", "state 状态", "attempts 次数", "error 错误"),
        [(j["job_id"], j["kind"], j["state"], j["attempts"], j["error"]) for j in items],
    )


@jobs.command()
@command
def restart(
    job: Annotated[int, typer.Argument(metavar="JOB", help="Number of the job. 任务编号。")],
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Put a dead job back into the queue (admin).

    重新执行任务（管理员）。
    """
    found = client(market).restart_job(job)
    if as_json:
        print_json(found)
    else:
        say(where_it_stands(f"job {job}", found["state"], None))


@search_index.callback()
def _search_index() -> None:
    """The search index.

    搜索索引。
    """


@db.command()
@command
def upgrade(data: Data = None, as_json: Json = False) -> None:
    """Bring the tables up to date; the server must be stopped if embedded.

    升级数据库结构（内嵌市场需先停止）。
    """
    from yaosu.storage.sql import upgrade as bring_up_to_date

    found = settings_of(data)
    if not found.database_url:
        found.folder.mkdir(parents=True, exist_ok=True)
    bring_up_to_date(found.database_url or found.folder)
    if as_json:
        print_json({"status": "ok"})
    else:
        say(Text("the tables are up to date", "数据库结构已是最新"))


@db.callback()
def _db() -> None:
    """The database.

    数据库。
    """
