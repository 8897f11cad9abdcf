"""`yaosu witness`: watch over the logs of others, and cosign what only ever grew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from yaosu.errors import InvalidInput, Text

from .operate import Host, Port
from .terminal import command, say


@command
def witness(
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Its folder. 数据目录。")],
    log_key: Annotated[
        list[str],
        typer.Option(metavar="KEY", help="Key of a log it watches (file log/key). 日志密钥。"),
    ],
    name: Annotated[
        str, typer.Option(help="Name it signs under, such as its address. 见证方名称。")
    ] = "",
    host: Host = "127.0.0.1",
    port: Port = 8100,
) -> None:
    """Run a witness: it cosigns checkpoints of the logs it knows, if they only ever grew.

    运行见证服务：仅对只增不改的日志检查点联署。

    Any party or another exchange can run one. The key it prints is what readers give to
    `yaosu verify --witness`, and the market's operator to the setting `witnesses`.
    """
    import uvicorn

    from yaosu.proof.witness_server import Witness, create_app
    from yaosu.serve import listen

    bound = listen(host, port)
    address = f"http://{host}:{bound.getsockname()[1]}"
    kept = data / "name"
    if kept.exists():
        known = kept.read_text("utf-8").strip()
        if name and name != known:
            raise InvalidInput(
                f"this witness signs as {known!r}; another name needs another folder",
                f"该见证方名称为 {known!r}，更名请另用目录",
                field="name",
            )
        name = known
    serving = Witness(data, name or f"{host}-{bound.getsockname()[1]}", log_key)
    kept.write_text(f"{serving.name}\n", "utf-8")
    say(
        Text(f"witness {serving.key}\nat {address}", f"见证方 {serving.key}\n地址 {address}"),
    )
    server = uvicorn.Server(
        uvicorn.Config(create_app(serving), log_level="warning", access_log=False)
    )
    server.run(sockets=[bound])
