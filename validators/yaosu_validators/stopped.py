"""What is said of a file whose reader had to be stopped, or fell over it, and of a stopped run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from yaosu_schemas.errors import Text
from yaosu_schemas.report import Report, ReportError

_SENTENCES = {
    "memory": Text(
        "reading it took more memory than the {mib} MiB allowed",
        "读取所需内存超过允许的 {mib} MiB",
    ),
    "cpu": Text(
        "reading it took more than {limit} s of computing", "读取耗用计算时间超过 {limit} 秒"
    ),
    "time": Text("reading it did not end within {limit} s", "读取未在 {limit} 秒内结束"),
    "disk": Text(
        "reading it took more than {mib} MiB of temporary disk",
        "读取所需临时磁盘空间超过 {mib} MiB",
    ),
    "answer": Text("the result is larger than {mib} MiB", "结果超过 {mib} MiB"),
    "killed": Text(
        "the system ended its reader for want of resources", "系统因资源不足终止了读取进程"
    ),
    "crash": Text("its reader failed ({detail})", "读取程序异常终止（{detail}）"),
}

_TITLES = {
    "resource-limit": Text("Over the limit", "超出资源限制"),
    "reader-crashed": Text("Reader failed", "读取失败"),
}

_DESCRIPTIONS = {
    "resource-limit": Text(
        "The file needs more than a reader may use: it may be a bomb, or has to be split.",
        "读取该文件所需资源超出限制：可能是压缩炸弹，或需要拆分。",
    ),
    "reader-crashed": Text(
        "No reader could finish this file: it is damaged or is not what it claims to be.",
        "读取程序无法处理该文件：文件损坏，或与其声明的类型不符。",
    ),
}


PARTIAL = Text(
    "stopped before the end: this report is partial", "提前停止：本报告只涵盖已检查的部分"
)


_NAMED = 10


def unseen(names: Sequence[str]) -> Text:
    """Say which resources were not looked at at all, the first ones by name."""
    rest = len(names) - _NAMED
    more = (f" and {rest:,} more", f"等 {len(names):,} 个资源") if rest > 0 else ("", "")
    return Text(
        f"not looked at: {', '.join(names[:_NAMED])}{more[0]}",
        f"未检查：{'、'.join(names[:_NAMED])}{more[1]}",
    )


def so_many_rows(rows: int) -> Text:
    """Say how far a table was read."""
    return Text(
        f"stopped within it: {rows:,} rows were looked at, and not what follows",
        f"读取中停止：已检查 {rows:,} 行，其后的内容未检查",
    )


def nothing_seen() -> Report:
    """Return the report of a run that a person stopped before it looked at anything."""
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    said = f"{PARTIAL.en} / {PARTIAL.zh}"
    return Report(target="", warnings=(said,), started_at=at, partial=True)


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a reader ended early: memory, cpu, time, disk, answer, killed or crash."""

    kind: str
    limit: float = 0
    detail: str = ""

    @property
    def type(self) -> str:
        return "reader-crashed" if self.kind == "crash" else "resource-limit"

    @property
    def text(self) -> Text:
        facts = {
            "limit": f"{self.limit:g}",
            "mib": f"{self.limit / (1 << 20):.0f}",
            "detail": self.detail or "?",
        }
        sentence = _SENTENCES[self.kind]
        return Text(sentence.en.format(**facts), sentence.zh.format(**facts))


def stopped_result(job: str, why: Stop, args: dict[str, Any]) -> dict[str, Any]:
    """Return the answer of `job` when its child ended early: a report that is not valid, or
    an empty answer with `error`."""
    error = _error(why)
    if job == "validate":
        return _report(error)
    empty: dict[str, Any] = {"error": error.as_json()}
    if job == "describe":
        existing = args.get("existing") or {}
        return {"descriptor": existing, "todo": [], "changed": [], "skipped": [], **empty}
    return {"fields": [], "rows": [], "truncated": True, **empty}


def _error(why: Stop) -> ReportError:
    title, description = _TITLES[why.type], _DESCRIPTIONS[why.type]
    return ReportError(
        type=why.type,
        title=title.en,
        title_zh=title.zh,
        description=description.en,
        description_zh=description.zh,
        message=why.text.en,
        message_zh=why.text.zh,
        tags=("#file",),
        note=why.kind,
    )


def _report(error: ReportError) -> dict[str, Any]:
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return Report(target="", errors=(error,), started_at=at).as_json()
