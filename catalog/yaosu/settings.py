"""Every setting, with its meaning and where its value came from.

Order: argument, environment (`YAOSU_<NAME>`), TOML file (`YAOSU_CONFIG`, or `yaosu.toml` in the
working folder), default.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from .errors import InvalidInput, Text


def _setting(default: Any, en: str, zh: str, *, secret: bool = False) -> Any:
    return field(default=default, metadata={"text": Text(en, zh), "secret": secret})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an operator may set; names are those of the contract, in lower case."""

    data: str = _setting("yaosu-data", "folder of the embedded market", "内嵌市场的数据目录")
    database_url: str = _setting(
        "",
        "postgresql://…; empty: SQLite in the data folder",
        "数据库；为空时用数据目录中的 SQLite",
        secret=True,
    )
    blobs_url: str = _setting("", "empty: blobs/ in the data folder", "为空时用数据目录中的 blobs/")
    search_url: str = _setting(
        "", "empty: search/ in the data folder", "为空时用数据目录中的 search/"
    )
    engine: str = _setting("local", "where checks run: local", "校验引擎：local")
    public_url: str = _setting("http://127.0.0.1:8000", "the address that others know", "对外地址")
    origin: str = _setting(
        "", "name of the transparency log; empty: from public_url", "透明日志名称"
    )
    witnesses: str = _setting(
        "", "witnesses of the log: address, blank, key; several behind commas", "日志见证方"
    )
    witness_quorum: int = _setting(
        0, "cosignatures that a receipt waits for", "收据所需的最少联署数"
    )
    market: str = _setting(
        "http://127.0.0.1:8000", "the market a client talks to", "客户端访问的市场"
    )
    key: str = _setting("", "the client's access key", "客户端访问密钥", secret=True)
    sandbox: bool = _setting(True, "shut readers of foreign bytes in", "在沙箱中读取外部数据")
    quota_bytes: int = _setting(1 << 40, "bytes that one provider may hold", "每个提供方的存储配额")
    unverified_quota_bytes: int = _setting(
        1 << 30, "as much, until its identity is verified", "身份审核前每个提供方的存储配额"
    )
    max_upload_bytes: int = _setting(1 << 40, "bytes of one upload", "单个上传的最大字节数")
    reserve_bytes: int = _setting(1 << 30, "bytes kept free on the disk", "磁盘保留空间")
    upload_days: int = _setting(
        7, "days until an unfinished upload expires", "未完成上传的有效天数"
    )
    workers: int = _setting(2, "threads that run jobs", "后台任务线程数")
    outgoing_allow: str = _setting(
        "",
        "closed networks that webhooks may reach, as 10.1.0.0/16; empty: none",
        "允许推送访问的内部网段；为空则不允许",
    )
    oidc_issuer: str = _setting(
        "", "identity provider that people may sign in with; empty: none", "统一登录的签发者地址"
    )
    oidc_client_id: str = _setting(
        "", "what the provider knows the market by", "统一登录客户端标识"
    )
    oidc_client_secret: str = _setting("", "and its secret", "统一登录客户端密钥", secret=True)
    oidc_allow: str = _setting(
        "", "closed networks that the provider may be in; empty: none", "统一登录服务所在的内部网段"
    )
    oidc_by_email: bool = _setting(
        False,
        "a verified e-mail that was invited is enough for a first sign-in",
        "首次登录可凭已验证且受邀的邮箱绑定",
    )
    calls_per_minute: int = _setting(
        60_000,
        "calls that one key, or one address without a key, may make in a minute; 0: no limit",
        "单个密钥（或无密钥的单个地址）每分钟可调用次数；0 为不限",
    )
    notice_days: int = _setting(
        365,
        "days that a notice is kept after it was read; 0: for ever",
        "已读通知的保留天数；0 为永久",
    )
    link_minutes: int = _setting(60, "minutes that a delivery link works", "交付链接有效分钟数")

    @property
    def folder(self) -> Path:
        return Path(self.data)

    @property
    def log_origin(self) -> str:
        host = self.public_url.partition("://")[2].strip("/")
        return self.origin or f"{host}/log"


def load(overrides: Mapping[str, Any] | None = None, **more: Any) -> Settings:
    """Return the settings; InvalidInput names an unknown or unreadable one."""
    return trace(overrides, **more)[0]


def trace(
    overrides: Mapping[str, Any] | None = None, **more: Any
) -> tuple[Settings, dict[str, str]]:
    """Return the settings and, per name, where its value came from."""
    known = {f.name: f for f in fields(Settings)}
    values: dict[str, Any] = {}
    origin = dict.fromkeys(known, "default")
    sources: list[tuple[str, Mapping[str, Any]]] = [
        ("file", _file(known)),
        (
            "environment",
            {
                n: os.environ[f"YAOSU_{n.upper()}"]
                for n in known
                if f"YAOSU_{n.upper()}" in os.environ
            },
        ),
        ("argument", {**(overrides or {}), **more}),
    ]
    for source, given in sources:
        for name, value in given.items():
            if value is None:
                continue
            if name not in known:
                raise InvalidInput(f"no such setting: {name}", f"没有此设置项：{name}", field=name)
            values[name] = _typed(name, known[name].default, value)
            origin[name] = source
    return Settings(**values), origin


def _file(known: Mapping[str, Any]) -> dict[str, Any]:
    named = os.environ.get("YAOSU_CONFIG")
    path = Path(named or "yaosu.toml")
    if not path.is_file():
        if named:
            raise InvalidInput(
                "the file named by YAOSU_CONFIG does not exist", "YAOSU_CONFIG 指定的文件不存在"
            )
        return {}
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"{path.name} is not TOML: {error}", f"{path.name} 不是有效的 TOML"
        ) from None
    return {str(k).lower(): v for k, v in table.items()}


def _typed(name: str, default: Any, value: Any) -> Any:
    try:
        if isinstance(default, bool):
            if isinstance(value, bool):
                return value
            return {"1": True, "true": True, "on": True, "0": False, "false": False, "off": False}[
                str(value).lower()
            ]
        return int(value) if isinstance(default, int) else str(value)
    except (ValueError, KeyError):
        raise InvalidInput(
            f"the setting {name} is not a {type(default).__name__}",
            f"设置项 {name} 的值无效",
            field=name,
        ) from None
