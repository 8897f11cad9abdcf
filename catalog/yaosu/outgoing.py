"""The only way out: a request to an address that a stranger named, without reaching inside.

Every attempt resolves the name anew, judges all its addresses by the table below, and connects to
one of those judged, under the name (TLS SNI, Host): a name that resolves differently a moment
later changes nothing. Nothing is redirected, no proxy of the environment is used, the whole has
one deadline and the reply one size.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import httpcore2

from .errors import InvalidInput, Text

DEADLINE_S = 15.0
MAX_REPLY_BYTES = 1 << 20
MAX_URL = 2000
PORTS = (443, 8443)
_LOOKUPS = 64

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolve = Callable[[str, int], Sequence[str]]

# `ipaddress.is_global` lets NAT64, 6to4, Teredo and metadata services pass; RFC 6890 and what
# clouds answer under (192.0.0.192, 100.100.100.200, 168.63.129.16) are all here.
_CLOSED_V4 = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32",
        "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24",
        "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4",
        "240.0.0.0/4",
    )
)  # fmt: skip
_OPEN_V6 = ipaddress.IPv6Network("2000::/3")  # all that is assigned to the world (RFC 4291 §2.4)
_CLOSED_V6 = tuple(
    ipaddress.IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)


class NotSent(Exception):
    """A request that got no answer; `code` is one of a few, `why` never says what lies inside."""

    def __init__(self, code: str, en: str, zh: str) -> None:
        super().__init__(code)
        self.code = code
        self.why = Text(en, zh)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the status, the headers in lower case, the body within its bound."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def is_open(address: Address) -> bool:
    """Say whether an address belongs to the open internet."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_open(address.ipv4_mapped)
        return address in _OPEN_V6 and not any(address in closed for closed in _CLOSED_V6)
    return not any(address in closed for closed in _CLOSED_V4)


def networks(text: str) -> tuple[Network, ...]:
    """Read the operator's list of closed networks that may be reached all the same."""
    try:
        return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError:
        raise InvalidInput(
            "outgoing_allow is a list of networks, as 10.1.0.0/16,127.0.0.1/32",
            "outgoing_allow 应为网段列表，如 10.1.0.0/16,127.0.0.1/32",
            field="outgoing_allow",
        ) from None


def resolve(host: str, port: int) -> list[str]:
    """Return every address of a name."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(item[4][0]) for item in found))


@dataclass(frozen=True, slots=True)
class Target:
    """An address for webhooks, taken apart; a name in other letters is given in its ASCII form."""

    secure: bool
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        shown = f"[{self.host}]" if ":" in self.host else self.host
        default = 443 if self.secure else 80
        return shown if self.port == default else f"{shown}:{self.port}"


class Gate:
    """Lets requests out to the open internet, and to the networks that the operator opened."""

    def __init__(self, allow: Iterable[Network] = (), *, lookup: Resolve = resolve) -> None:
        self._allow = tuple(allow)
        self._lookup = lookup
        # Names of strangers can be slow to resolve: they wait in threads of their own.
        self._lookups = ThreadPoolExecutor(_LOOKUPS, thread_name_prefix="lookup")

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context()

    def close(self) -> None:
        self._lookups.shutdown(wait=False, cancel_futures=True)

    def target(self, url: str) -> Target:
        """Take an address apart; InvalidInput for one that can never be reached from here."""
        try:
            parts = urlsplit(url)
            host = parts.hostname or ""
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError:
            raise _refused("it is not an address", "不是有效地址") from None
        if len(url) > MAX_URL or not url.isascii() or not url.isprintable() or " " in url:
            raise _refused("up to 2,000 printable ASCII characters", "至多 2000 个可见 ASCII 字符")
        if parts.scheme not in ("https", "http") or not host:
            raise _refused("it begins with https://", "须以 https:// 开头")
        if parts.username is not None or parts.password is not None or parts.fragment:
            raise _refused("no name, password or fragment in it", "不可含用户名、口令或片段")
        path = parts.path or "/"
        made = Target(
            secure=parts.scheme == "https",
            host=host,
            port=port,
            path=f"{path}?{parts.query}" if parts.query else path,
        )
        literal = _literal(host)
        if literal is not None:
            try:
                self._judge(made, [literal])
            except NotSent as error:
                raise _refused(error.why.en, error.why.zh) from None
        elif not self._allow:
            self._public_form(made)
        return made

    def _public_form(self, target: Target) -> None:
        if not target.secure or target.port not in PORTS:
            raise _refused("https on port 443 or 8443 only", "仅支持 https 的 443 或 8443 端口")
        # 127.1, 0x7f.1 and 2130706433 are names to a parser, and addresses to a resolver.
        last = target.host.rstrip(".").rpartition(".")[2]
        if last.isdigit() or last.startswith("0x") or "." not in target.host:
            raise _refused("the host is a full domain name", "主机应为完整域名")

    def _judge(self, target: Target, addresses: Sequence[Address]) -> None:
        """Let all addresses pass or none."""
        inside = [any(a in n for n in self._allow if n.version == a.version) for a in addresses]
        if addresses and all(inside):
            return
        if not all(is_open(a) or known for a, known in zip(addresses, inside, strict=True)):
            raise NotSent("internal", "the address is an internal one", "目标为内部地址")
        if not target.secure or target.port not in PORTS:
            raise NotSent("port", "https on port 443 or 8443 only", "仅支持 https 的 443/8443 端口")

    async def addresses(self, target: Target) -> list[str]:
        """Return the judged addresses of a target; NotSent if one of them is internal."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(
                self._lookups, self._lookup, target.host, target.port
            )
            judged = [ipaddress.ip_address(text.partition("%")[0]) for text in found]
        except (OSError, ValueError, UnicodeError):
            raise NotSent("dns", "the name does not resolve", "域名无法解析") from None
        if not judged:
            raise NotSent("dns", "the name does not resolve", "域名无法解析")
        self._judge(target, judged)
        return [str(address) for address in judged]

    async def post(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        *,
        deadline_s: float = DEADLINE_S,
        most_bytes: int = MAX_REPLY_BYTES,
    ) -> Answer:
        """Send one request and return its answer, whatever its status; NotSent without one."""
        return await self._within(deadline_s, "POST", url, body, headers, most_bytes)

    async def get(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        deadline_s: float = DEADLINE_S,
        most_bytes: int = MAX_REPLY_BYTES,
    ) -> Answer:
        """Ask for what is at an address; as `post`, nothing is redirected."""
        return await self._within(deadline_s, "GET", url, b"", headers, most_bytes)

    async def _within(
        self,
        deadline_s: float,
        method: str,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        most_bytes: int,
    ) -> Answer:
        try:
            target = self.target(url)
        except InvalidInput as error:
            raise NotSent("address", error.en, error.zh) from None
        try:
            async with asyncio.timeout(deadline_s):
                return await self._send(target, method, body, headers, most_bytes)
        except TimeoutError:
            raise NotSent("timeout", "no answer in time", "未在时限内应答") from None
        except (httpcore2.ConnectError, OSError):
            raise NotSent("connect", "no connection", "无法建立连接") from None
        except (httpcore2.NetworkError, httpcore2.ProtocolError):
            raise NotSent("protocol", "the answer broke off", "应答中断或不符合协议") from None

    async def _send(
        self,
        target: Target,
        method: str,
        body: bytes,
        headers: Mapping[str, str],
        most_bytes: int,
    ) -> Answer:
        pinned = _Pinned(await self.addresses(target))
        url = httpcore2.URL(
            scheme=b"https" if target.secure else b"http",
            host=target.host.encode(),
            port=target.port,
            target=target.path.encode(),
        )
        sent = {"host": target.authority, "content-length": str(len(body)), **headers}
        pool = httpcore2.AsyncConnectionPool(
            ssl_context=self._tls, max_keepalive_connections=0, network_backend=pinned
        )
        async with pool, pool.stream(method, url, headers=list(sent.items()), content=body) as got:
            received = bytearray()
            async for chunk in got.aiter_stream():
                received += chunk
                if len(received) > most_bytes:
                    size = f"{most_bytes >> 20} MiB"
                    raise NotSent("too_large", f"the answer is over {size}", f"应答超过 {size}")
            names = {n.decode("latin-1").lower(): v.decode("latin-1") for n, v in got.headers}
            return Answer(status=got.status, headers=names, body=bytes(received))


class _Pinned(httpcore2.AsyncNetworkBackend):
    """Connects to the addresses that were judged, whatever name is asked for."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses
        self._network = httpcore2.AnyIOBackend()

    async def connect_tcp(self, host: str, port: int, *args: Any, **more: Any) -> Any:
        for address in self._addresses[:-1]:
            try:
                return await self._network.connect_tcp(address, port, *args, **more)
            except httpcore2.ConnectError:
                continue
        return await self._network.connect_tcp(self._addresses[-1], port, *args, **more)


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _refused(en: str, zh: str) -> InvalidInput:
    return InvalidInput(f"this address is not taken: {en}", f"不接受该地址：{zh}", field="url")
