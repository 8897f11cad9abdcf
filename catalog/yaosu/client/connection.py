"""One HTTP conversation with a market: safe retries, typed errors, pages as iterators.

A changing call carries an Idempotency-Key, the same one on every retry: a reply that was lost on
the way is asked for again and the effect happens once. The access key goes to the market's own
origin and nowhere else.
"""

from __future__ import annotations

import json
import logging
import os
import random
import re
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urljoin, urlsplit

from yaosu.errors import (
    Forbidden,
    Gone,
    InFlight,
    InvalidDocument,
    InvalidInput,
    Malformed,
    NotFound,
    Problem,
    Unauthenticated,
    Unavailable,
    YaosuError,
)

from .own_ids import taken

if TYPE_CHECKING:
    import httpx2

RETRY_STATUS = frozenset({429, 502, 503, 504})
LONGEST_PAUSE_S = 30.0
CONNECT_ATTEMPTS = 3
_BARE: dict[int, type[YaosuError]] = {
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    410: Gone,
}
_MEMBERS = frozenset(
    {"type", "title", "title_zh", "status", "detail", "detail_zh", "code", "message", "message_zh"}
)


@dataclass(frozen=True, slots=True)
class Reply:
    """Status, headers and the JSON of one answer (None where it has no JSON)."""

    status: int
    headers: Mapping[str, str]
    json: Any
    content: bytes


_PROOF = re.compile(r"(signature=)[0-9a-f]+")


def _without_links(record: logging.LogRecord) -> bool:
    """Take the proof out of a link before a line about its request is logged: it opens a file."""
    if isinstance(record.args, tuple):
        record.args = tuple(
            _PROOF.sub(r"\1***", str(arg)) if "signature=" in str(arg) else arg
            for arg in record.args
        )
    return True


logging.getLogger("httpx2").addFilter(_without_links)


class Connection:
    """Talks to one market with one key; retries what may be sent twice."""

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        timeout: float = 60.0,
        attempts: int = 5,
        patience: float = 0.25,
    ) -> None:
        self.base = _base(url)
        self.key = _key(key)
        self.timeout = timeout
        self.attempts = max(1, attempts)
        self.patience = patience
        self._making = threading.Lock()
        self._http: dict[str, httpx2.Client] = {}

    def http_for(self, url: str) -> httpx2.Client:
        """Return the HTTP client for an address, made at first use.

        Loading the library and the list of certificate authorities takes a moment each; the
        second is spared where there is no TLS (the bare context trusts nobody).
        """
        scheme = urlsplit(url).scheme
        # A socket is never shared with a process that was forked off.
        place = f"{scheme} {os.getpid()}"
        with self._making:
            if place not in self._http:
                import ssl

                import httpx2

                from yaosu import __version__

                bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                self._http[place] = httpx2.Client(
                    verify=bare if scheme == "http" else True,
                    timeout=httpx2.Timeout(self.timeout, connect=min(10.0, self.timeout)),
                    headers={"User-Agent": f"yaosu/{__version__}"},
                )
            return self._http[place]

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how a worker process makes its own: the same market and key, other sockets."""
        told = (self.base, self.key, self.timeout, self.attempts, self.patience)
        return (_connection, told)

    def close(self) -> None:
        """Close the sockets."""
        with self._making:
            while self._http:
                self._http.popitem()[1].close()

    def url(self, path: str) -> str:
        """Return the address of a path of this market; a whole address stays what it is."""
        return urljoin(self.base, path.lstrip("/"))

    def headers_for(self, url: str) -> dict[str, str]:
        """Return the key for the market's own origin, and nothing for any other."""
        same = urlsplit(url)[:2] == urlsplit(self.base)[:2]
        return {"Authorization": f"Bearer {self.key}"} if self.key and same else {}

    # --- calls ----------------------------------------------------------------------------------

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        """Return the JSON at a path."""
        return self.call("GET", path, params=params).json

    def post(self, path: str, body: Mapping[str, Any] | None = None, *, makes: str = "") -> Any:
        """Take a step; whatever happens to the line, it happens once.

        `makes` names the kinds (`dst lst`) that it makes: they get the ids the caller chose.
        """
        return self.call("POST", path, body=body or {}, headers=taken(makes)).json

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        raw: tuple[str, bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send one request, again where the line or the market asks for patience.

        A changing call has a JSON `body`, or a file as it is (`raw`: its type and its bytes).
        Raises the error of the tree that the market named, or Unavailable.
        """
        url = self.url(path)
        sent = {"Accept": "application/json", **self.headers_for(url), **(headers or {})}
        content = b""
        if body is not None or raw is not None:
            sent["Content-Type"], content = raw or ("application/json", _encoded(body or {}))
        if method not in ("GET", "HEAD"):
            sent["Idempotency-Key"] = str(uuid.uuid4())
        for attempt in range(1, self.attempts + 1):
            try:
                reply = self._once(method, url, params, content, sent)
            except Unavailable as error:
                # Nobody there at all: a wrong address rather than a bad line, so say it soon.
                absent = bool(error.facts.get("refused")) and attempt >= CONNECT_ATTEMPTS
                if absent or attempt == self.attempts:
                    raise
                self.pause(attempt)
                continue
            again = reply.status in RETRY_STATUS or _in_flight(reply)
            if not again or attempt == self.attempts:
                return self._checked(reply)
            self.pause(attempt, reply.headers.get("retry-after"))
        raise AssertionError("unreachable")

    def _once(
        self,
        method: str,
        url: str,
        params: Mapping[str, Any] | None,
        content: bytes,
        headers: Mapping[str, str],
    ) -> Reply:
        import httpx2

        try:
            answer = self.http_for(url).request(
                method, url, params=_flat(params), content=content or None, headers=dict(headers)
            )
        except httpx2.TransportError as error:
            raise self.unreachable(error) from error
        except httpx2.InvalidURL as error:
            raise _no_url(url) from error
        return Reply(answer.status_code, answer.headers, _json(answer), answer.content)

    def _checked(self, reply: Reply) -> Reply:
        if reply.status < 300:
            return reply
        if reply.status < 400:
            there = reply.headers.get("location", "?")[:200]
            raise InvalidInput(
                f"this address leads on to {there}: name that one as the market",
                f"该地址已转到 {there}，请将其设为市场地址",
                field="market",
            )
        if reply.status in _BARE and not reply.content:  # a HEAD has no body to say more
            en, zh = _BARE[reply.status].title
            raise _BARE[reply.status](en, zh, status=reply.status)
        raise self.error_of(reply.status, reply.json)

    def error_of(self, status: int, body: Any) -> YaosuError:
        """Return the market's own words where the answer has them, else what the status says."""
        if isinstance(body, dict) and isinstance(body.get("code"), str):
            return error_from(body)
        if status in RETRY_STATUS:
            return Unavailable(
                f"the market is busy or restarting (HTTP {status}): try again in a minute",
                f"市场繁忙或正在重启（HTTP {status}），请稍后再试",
                status=status,
            )
        return Malformed(
            f"{self.base} did not answer like a market (HTTP {status}): check the address",
            f"{self.base} 的应答不像数据市场（HTTP {status}），请检查地址",
            status=status,
        )

    def unreachable(self, error: Exception) -> Unavailable:
        """Return what to do about a line that does not carry."""
        import httpx2

        if isinstance(error, httpx2.ConnectError):
            return Unavailable(
                f"no market answers at {self.base}: is it running? "
                "start one with `yaosu demo`, or set YAOSU_MARKET",
                f"{self.base} 没有响应：请确认市场已启动（yaosu demo），或设置 YAOSU_MARKET",
                market=self.base,
                refused=True,
            )
        if isinstance(error, httpx2.TimeoutException):
            return Unavailable(
                f"{self.base} did not answer within {self.timeout:g} s: try again",
                f"{self.base} 在 {self.timeout:g} 秒内没有应答，请重试",
                market=self.base,
            )
        return Unavailable(
            f"the connection to {self.base} broke ({type(error).__name__}): try again",
            f"与 {self.base} 的连接中断（{type(error).__name__}），请重试",
            market=self.base,
        )

    def pause(self, attempt: int, retry_after: str | None = None) -> None:
        """Wait before the next attempt: doubled each time, spread out, or as the market asks."""
        wait = self.patience * 2 ** (attempt - 1) * random.uniform(0.6, 1.4)
        if retry_after and retry_after.strip().isdigit():
            wait = max(wait, float(retry_after))
        time.sleep(min(wait, LONGEST_PAUSE_S))

    def pages(self, path: str, params: Mapping[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        """Yield the items of every page of a list, asking for each page when it is reached."""
        wanted = dict(params or {})
        while True:
            page = self.get(path, wanted)
            yield from page["items"]
            if not page.get("next"):
                return
            wanted["cursor"] = page["next"]


def _connection(
    url: str, key: str | None, timeout: float, attempts: int, patience: float
) -> Connection:
    return Connection(url, key, timeout=timeout, attempts=attempts, patience=patience)


def _in_flight(reply: Reply) -> bool:
    """Tell whether an earlier sending of this very call is still being answered."""
    return (
        reply.status == 409
        and isinstance(reply.json, dict)
        and reply.json.get("code") == InFlight.code
    )


def error_from(body: Mapping[str, Any]) -> YaosuError:
    """Return the error of the tree that a problem document names (RFC 9457)."""
    kind = _kinds().get(str(body.get("code")), YaosuError)
    en = str(body.get("detail") or body.get("message") or body.get("title") or "error")
    zh = str(body.get("detail_zh") or body.get("message_zh") or body.get("title_zh") or en)
    facts = {str(k): v for k, v in body.items() if k not in _MEMBERS}
    if issubclass(kind, InvalidDocument):
        error: YaosuError = InvalidDocument(problems_from(facts.get("problems")), en, zh)
        error.facts |= facts
        return error
    return kind(en, zh, **facts)


def problems_from(items: Any) -> list[Problem]:
    """Return problems from their JSON."""
    return [
        Problem(
            pointer=str(item.get("pointer", "")),
            code=str(item.get("code", "")),
            en=str(item.get("message", "")),
            zh=str(item.get("message_zh", "")),
            severity=str(item.get("severity", "error")),
        )
        for item in (items if isinstance(items, list) else [])
        if isinstance(item, dict)
    ]


def _kinds() -> dict[str, type[YaosuError]]:
    found: dict[str, type[YaosuError]] = {}
    stack: list[type[YaosuError]] = [YaosuError]
    while stack:
        kind = stack.pop()
        found[kind.code] = kind
        stack.extend(kind.__subclasses__())
    return found


def _base(url: str) -> str:
    parts = urlsplit(url.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise _no_url(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}/"


def route(*parts: str) -> str:
    """Return a path from its parts, each written so that it stays one part."""
    for part in parts:
        if part in ("", ".", ".."):
            raise InvalidInput(f"{part!r} is no id", f"“{part}”不是有效编号", field="id")
    return "/" + "/".join(quote(part, safe="", errors="replace") for part in parts)


def _key(key: str | None) -> str | None:
    if key and not (key.isascii() and key.isprintable() and " " not in key):
        raise InvalidInput(
            "the access key holds characters that no key has: copy it again",
            "访问密钥含有无效字符，请重新复制",
            field="key",
        )
    return key or None


def _encoded(body: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(body, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (ValueError, TypeError, RecursionError):
        raise Malformed(
            "what is to be sent cannot be written as JSON (NaN, half a character, or a loop)",
            "要发送的内容无法写成 JSON（含 NaN、不完整字符或循环引用）",
        ) from None


def _no_url(url: str) -> InvalidInput:
    return InvalidInput(
        f"{url[:200]!r} is not the address of a market: give http:// or https://",
        f"“{url[:200]}”不是市场地址，应以 http:// 或 https:// 开头",
        field="market",
    )


def _flat(params: Mapping[str, Any] | None) -> str | None:
    """Return the query string: lists repeat, None is left out."""
    pairs = [
        (name, str(value).lower() if isinstance(value, bool) else str(value))
        for name, given in (params or {}).items()
        if given is not None
        for value in (given if isinstance(given, list | tuple) else [given])
    ]
    return urlencode(pairs, errors="replace") or None


def _json(answer: httpx2.Response) -> Any:
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not answer.content or not (kind == "application/json" or kind.endswith("+json")):
        return None
    try:
        return json.loads(answer.content)
    except (ValueError, RecursionError):
        return None
