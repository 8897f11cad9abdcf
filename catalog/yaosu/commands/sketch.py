"""`yaosu sketch` and `yaosu overlap`: how much two corpora share, before anybody shows data."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from yaosu.errors import InvalidInput, Text

from .terminal import Json, Market, client, command, print_json, print_table, say

if TYPE_CHECKING:
    from yaosu_validators import Sketch

_LISTING = re.compile(r"lst_[0-9a-f]{32}")
_MOST = 1 << 20  # bytes of a sketch


@command
def sketch(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A file, folder or package. 语料。")],
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Where it is written. 输出文件。")
    ] = None,
) -> None:
    """Take the sample of hashes by which others estimate what they share with a corpus.

    生成语料的哈希样本，供他人估计重合度而无需查看数据。
    """
    made = _sketch_of(path).as_json()
    if to is None:
        print_json(made)
        return
    to.write_text(json.dumps(made), encoding="utf-8")
    say(Text(f"wrote {to}", f"已写入 {to}"))


@command
def overlap(
    mine: Annotated[str, typer.Argument(metavar="SKETCH", help="A sketch, or a corpus. 己方。")],
    theirs: Annotated[
        str, typer.Argument(metavar="LISTING", help="A listing, or another sketch. 对方。")
    ],
    market: Market = None,
    as_json: Json = False,
) -> None:
    """Estimate how much a corpus and a listing share, with the bounds of the estimate.

    估计己方语料与挂牌数据集的重合度（含置信区间）。
    """
    from yaosu_validators import Sketch
    from yaosu_validators import overlap as compared

    left = _read(mine)
    listing = _LISTING.fullmatch(theirs)
    right = (
        Sketch.from_json(client(market, key_needed=False).listing(theirs).sketch())
        if (listing)
        else _read(theirs)
    )
    found = compared(left, right)
    if as_json:
        print_json({name: o.as_json() for name, o in found.items()})
        return
    words = {"records": "equal records 相同记录", "runs": "runs of 13 tokens 连续 13 词"}
    print_table(
        ("what 内容", "of mine 占己方", "95 %", "of theirs 占对方", "95 %"),
        [
            (words[name], f"{o.of_mine:.1%}", f"{o.of_mine_low:.1%} – {o.of_mine_high:.1%}",
             f"{o.of_theirs:.1%}", f"{o.of_theirs_low:.1%} – {o.of_theirs_high:.1%}")
            for name, o in found.items()
        ],
    )  # fmt: skip


def _read(name: str) -> Sketch:
    """Return the sketch of a file that holds one, or of the corpus that lies there."""
    from yaosu_validators import Sketch

    path = Path(name)
    if not path.exists():
        raise InvalidInput(
            f"{name[:200]!r} is neither a listing nor a file",
            f"“{name[:200]}”不是挂牌编号，也不是文件",
        )
    if path.is_file() and path.suffix == ".json" and path.stat().st_size <= _MOST:
        body: Any = None
        with contextlib.suppress(ValueError):
            body = json.loads(path.read_bytes())
        if isinstance(body, dict) and str(body.get("format", "")).startswith("yaosu-sketch/"):
            return Sketch.from_json(body)
    return _sketch_of(path)


def _sketch_of(path: Path) -> Sketch:
    import yaosu_validators

    return yaosu_validators.sketch(path)
