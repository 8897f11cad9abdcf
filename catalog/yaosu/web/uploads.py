"""Resumable uploads: tus 1.0 with creation, checksum, expiration, termination.

An acknowledged offset is on disk (B4). A finished upload becomes a blob under its SHA-256, and
a holding: the party's right to name those bytes in its descriptors.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hashlib
import hmac
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, timedelta
from email.utils import format_datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.requests import ClientDisconnect

from yaosu import present
from yaosu.errors import (
    Conflict,
    Forbidden,
    Gone,
    InvalidInput,
    Malformed,
    NotFound,
    TooLarge,
    Unavailable,
    Unsupported,
    Unverified,
)
from yaosu.identity import absent, allow
from yaosu.market import Market
from yaosu.model import Actor, Holding, Party, Upload, new_id
from yaosu.ports import Reader, Transaction
from yaosu.storage.uploads import Hold

from .door import actor_in, json_response, market_of

router = APIRouter(prefix="/v1/uploads", tags=["uploads"])

VERSION = "1.0.0"
EXTENSIONS = "creation,checksum,expiration,termination"
ALGORITHMS = ("sha256", "sha1", "md5")
BUFFER = 1 << 20
UNLIMITED = 1 << 50
MAX_OPEN = 1000
# Seconds to wait for a request that breaks off, so that what it brought is known.
HEAD_WAITS = 8.0
PATCH_WAITS = 10.0


def _headers(market: Market, **more: str) -> dict[str, str]:
    return {
        "tus-resumable": VERSION,
        "cache-control": "no-store",
        **{name.replace("_", "-"): value for name, value in more.items()},
    }


def _capabilities(market: Market) -> dict[str, str]:
    return _headers(
        market,
        tus_version=VERSION,
        tus_extension=EXTENSIONS,
        tus_checksum_algorithm=",".join(ALGORITHMS),
        tus_max_size=str(market.settings.max_upload_bytes),
    )


def _same_version(request: Request) -> Response | None:
    """Return 412 unless the client speaks this version (tus 1.0, Tus-Resumable)."""
    if request.headers.get("tus-resumable") == VERSION:
        return None
    market = market_of(request)
    return Response(status_code=412, headers={**_capabilities(market)})


def _expires(upload: Upload) -> str:
    return format_datetime(upload.expires_at.astimezone(UTC), usegmt=True)


@router.options("", status_code=204, response_class=Response)
async def options(request: Request) -> Response:
    """Say what this server speaks."""
    return Response(status_code=204, headers=_capabilities(market_of(request)))


@router.options("/{upload_id}", status_code=204, response_class=Response)
async def options_of_one(request: Request, upload_id: str) -> Response:
    """Say what this server speaks."""
    return await options(request)


@router.post("", status_code=201, response_class=Response)
async def create(request: Request) -> Response:
    """Begin an upload of a known length; metadata: filename, sha256 (hex)."""
    if refused := _same_version(request):
        return refused
    market = market_of(request)
    length = _number(request, "upload-length")
    if length > market.settings.max_upload_bytes:
        raise TooLarge(
            f"one upload has at most {market.settings.max_upload_bytes} bytes",
            f"单个上传最多 {market.settings.max_upload_bytes} 字节",
            limit=market.settings.max_upload_bytes,
        )
    facts = _metadata(request.headers.get("upload-metadata", ""))
    declared = facts.get("sha256", "").lower() or None
    if declared is not None and (len(declared) != 64 or set(declared) - set("0123456789abcdef")):
        raise InvalidInput("sha256 is 64 hex digits", "sha256 应为 64 位十六进制", field="sha256")

    def step(tx: Transaction) -> Upload:
        actor = actor_in(tx, request)
        assert actor is not None
        allow(actor, "upload")
        within_quota(tx, market, actor, length)
        upload = Upload(
            id=new_id("upl"),
            party_id=actor.party_id,
            length=length,
            sha256=declared,
            filename=facts.get("filename", "")[:255],
            created_at=tx.now,
            expires_at=tx.now + timedelta(days=market.settings.upload_days),
        )
        market.uploads.create(upload.id, length)
        tx.add(upload)
        return upload

    upload = await asyncio.wrap_future(market.store.submit(step))
    if length == 0:
        await asyncio.to_thread(finish, market, upload)
    return Response(
        status_code=201,
        headers=_headers(
            market,
            location=str(request.url_for("upload_head", upload_id=upload.id)),
            upload_expires=_expires(upload),
        ),
    )


def within_quota(reader: Reader, market: Market, actor: Actor, length: int) -> None:
    used = reader.total(Holding, "bytes", party_id=actor.party_id)
    used += reader.total(Upload, "length", party_id=actor.party_id, state="open")
    known = reader.get(Party, actor.party_id).verified_at is not None
    quota = market.settings.quota_bytes
    if not known:
        # Anyone may register: a disk must not be theirs to fill.
        quota = min(quota, market.settings.unverified_quota_bytes)
    if used + length > quota:
        raise TooLarge(
            f"your quota is {quota} bytes, {used} are used"
            + ("" if known else "; it grows once your identity has been verified"),
            f"配额为 {quota} 字节，已用 {used} 字节" + ("" if known else "；身份审核通过后将提高"),
            limit=quota,
            used=used,
        )
    if reader.count(Upload, party_id=actor.party_id, state="open") >= MAX_OPEN:
        raise TooLarge(
            f"{MAX_OPEN} of your uploads are unfinished: go on with them, or give some up",
            f"您有 {MAX_OPEN} 个未完成的上传：请继续或放弃其中一部分",
            limit=MAX_OPEN,
        )


def _metadata(header: str) -> dict[str, str]:
    """Return Upload-Metadata as text by key (tus 1.0: key, space, base64, comma)."""
    found = {}
    for pair in filter(None, (p.strip() for p in header.split(","))):
        name, _, value = pair.partition(" ")
        try:
            found[name.lower()] = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise Malformed(
                f"Upload-Metadata: the value of '{name[:40]}' is not base64 of UTF-8",
                f"Upload-Metadata 中“{name[:40]}”的值无效",
            ) from None
    return found


def _number(request: Request, name: str) -> int:
    text = request.headers.get(name, "")
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise Malformed(f"{name} must be a whole number", f"{name} 应为整数", field=name)
    return int(text)


def _mine(reader: Reader, request: Request, upload_id: str) -> Upload:
    actor = actor_in(reader, request)
    assert actor is not None
    upload = reader.one(Upload, id=upload_id)
    if upload is None or upload.party_id != actor.party_id:
        raise absent("upload", upload_id)
    # The hourly sweep writes it down; nobody may go on until then.
    late = upload.state == "open" and upload.expires_at <= market_of(request).clock.now()
    if late or upload.state in ("expired", "removed"):
        raise Gone("this upload has expired or was removed", "该上传已过期或已移除")
    return upload


def _load(request: Request, upload_id: str) -> Upload:
    with market_of(request).store.read() as reader:
        return _mine(reader, request, upload_id)


@router.head("/{upload_id}", name="upload_head")
async def head(request: Request, upload_id: str) -> Response:
    """Say how many bytes are safe."""
    if refused := _same_version(request):
        return refused
    upload = await asyncio.to_thread(_load, request, upload_id)
    market = market_of(request)
    try:
        with await _hold(market, upload_id, HEAD_WAITS):
            upload = await asyncio.to_thread(_load, request, upload_id)
    except Unavailable:
        pass  # still being sent: the offset is that of a moment
    if upload.state == "open" and upload.offset == upload.length:
        # Killed between the last byte and the blob: who asks where to go on has nothing to send.
        with contextlib.suppress(Unavailable, NotFound):  # another request is about it
            await asyncio.to_thread(finish, market, upload)
    return Response(
        status_code=200,
        headers=_headers(
            market,
            upload_offset=str(upload.offset),
            upload_length=str(upload.length),
            upload_expires=_expires(upload),
        ),
    )


@router.get("/{upload_id}")
async def show(request: Request, upload_id: str) -> Response:
    """Show an upload as JSON: state, offset, digest."""
    upload = await asyncio.to_thread(_load, request, upload_id)
    return json_response(present.upload(upload))


@router.delete("/{upload_id}", status_code=204, response_class=Response)
async def terminate(request: Request, upload_id: str) -> Response:
    """Give an unfinished upload up."""
    if refused := _same_version(request):
        return refused
    market = market_of(request)

    def step(tx: Transaction) -> None:
        upload = _mine(tx, request, upload_id)
        if upload.state == "open":
            tx.put(replace(upload, state="removed"))

    await asyncio.wrap_future(market.store.submit(step))
    await asyncio.to_thread(market.uploads.remove, upload_id)
    return Response(status_code=204, headers=_headers(market))


@router.patch("/{upload_id}", status_code=204, response_class=Response, max_body_size=UNLIMITED)
async def patch(request: Request, upload_id: str) -> Response:
    """Append bytes at the offset; what is acknowledged is synced."""
    if refused := _same_version(request):
        return refused
    if request.headers.get("content-type", "") != "application/offset+octet-stream":
        raise Unsupported(
            "content-type must be application/offset+octet-stream",
            "Content-Type 应为 application/offset+octet-stream",
        )
    market = market_of(request)
    await asyncio.to_thread(_load, request, upload_id)  # whose it is, before anything is held
    with await _hold(market, upload_id, PATCH_WAITS) as hold:
        # Read again: while this request waited, another may have acknowledged more.
        upload = await asyncio.to_thread(_load, request, upload_id)
        offset = _number(request, "upload-offset")
        if upload.state != "open" or offset != upload.offset:
            raise Conflict(
                f"the upload stands at {upload.offset}",
                f"上传当前位置为 {upload.offset}",
                offset=upload.offset,
            )
        check = _checksum(request.headers.get("upload-checksum"))
        safe, holds = await _receive(request, hold, upload, check)
        if not holds:
            return Response(status_code=460, headers=_headers(market))
        done = await asyncio.wrap_future(
            market.store.submit(lambda tx: _acknowledge(tx, upload, safe))
        )
        if safe == upload.length:
            await asyncio.to_thread(finish, market, done, hold)
    return Response(
        status_code=204,
        headers=_headers(market, upload_offset=str(safe), upload_expires=_expires(upload)),
    )


@router.post("/{upload_id}", status_code=204, response_class=Response, max_body_size=UNLIMITED)
async def overridden(request: Request, upload_id: str) -> Response:
    """Take PATCH from clients that can only POST (X-HTTP-Method-Override)."""
    if request.headers.get("x-http-method-override", "").upper() != "PATCH":
        raise Malformed("send PATCH", "请使用 PATCH")
    return await patch(request, upload_id)


def _checksum(header: str | None) -> tuple[Any, bytes] | None:
    """Return (running hash, expected digest) of an Upload-Checksum header."""
    if header is None:
        return None
    name, _, value = header.partition(" ")
    if name not in ALGORITHMS:
        raise Malformed(
            f"checksum algorithms are: {', '.join(ALGORITHMS)}",
            f"支持的校验算法：{'、'.join(ALGORITHMS)}",
            field="Upload-Checksum",
        )
    try:
        return hashlib.new(name, usedforsecurity=False), base64.b64decode(value, validate=True)
    except binascii.Error:
        raise Malformed("the checksum is not base64", "校验值不是 base64") from None


async def _hold(market: Market, upload_id: str, seconds: float) -> Hold:
    """Wait for a request that breaks off to let the upload go; Unavailable if it does not."""
    until = time.monotonic() + seconds
    while True:
        try:
            return market.uploads.hold(upload_id)
        except Unavailable:
            if time.monotonic() > until:
                raise
        await asyncio.sleep(0.05)


async def _chunks(request: Request, hold: Hold) -> AsyncIterator[bytes]:
    """Yield the body; ClientDisconnect also when it stays away and another request wants to."""
    loop, task, waiting = asyncio.get_running_loop(), asyncio.current_task(), False
    given_up = False

    def give_up() -> None:
        nonlocal given_up
        if waiting and not given_up and task is not None:
            given_up = True
            task.cancel()

    hold.on_wanted = lambda: loop.call_soon_threadsafe(give_up)
    stream = aiter(request.stream())
    while True:
        try:
            waiting = True
            chunk = await anext(stream)
        except StopAsyncIteration:
            return
        except asyncio.CancelledError:
            if not given_up or task is None:
                raise
            task.uncancel()
            raise ClientDisconnect from None
        finally:
            waiting = False
        hold.touch()
        yield chunk


async def _receive(
    request: Request, hold: Hold, upload: Upload, check: tuple[Any, bytes] | None
) -> tuple[int, bool]:
    """Write the body; returns (safe offset, whether the checksum held).

    A broken connection keeps what has arrived, unless a checksum was to cover all of it.
    """
    appending = await asyncio.to_thread(hold.resume, upload.offset, upload.length)
    buffer = bytearray()

    def flush() -> None:
        if check is not None:
            check[0].update(buffer)
        appending.write(bytes(buffer))
        buffer.clear()

    try:
        try:
            async for chunk in _chunks(request, hold):
                buffer += chunk
                if len(buffer) >= BUFFER:
                    await asyncio.to_thread(flush)
            await asyncio.to_thread(flush)
        except ClientDisconnect:
            if check is not None:
                appending.rollback()
            else:
                await asyncio.to_thread(flush)
            check = None
        if check is not None and not hmac.compare_digest(check[0].digest(), check[1]):
            appending.rollback()
            return upload.offset, False
        return await asyncio.to_thread(appending.sync), True
    finally:
        await asyncio.to_thread(appending.close)


def _acknowledge(tx: Transaction, upload: Upload, offset: int) -> Upload:
    """Remember the offset, unless the upload was removed meanwhile."""
    kept = tx.get(Upload, upload.id)
    if kept.state != "open":
        raise Gone("this upload was removed", "该上传已移除")
    moved = replace(kept, offset=offset)
    tx.put(moved)
    return moved


def finish(market: Market, upload: Upload, held: Hold | None = None) -> None:
    """Compare the digest, publish the blob, and then say so (B1, B2); once per upload."""
    with contextlib.nullcontext(held) if held else market.uploads.hold(upload.id) as hold:
        with market.store.read() as reader:
            if reader.get(Upload, upload.id).state != "open":
                return
        sha256, path = hold.finish(upload.length)
        if upload.sha256 is not None and sha256 != upload.sha256:
            market.store.write(lambda tx: tx.put(replace(upload, state="removed")))
            market.uploads.remove(upload.id)
            raise Unverified(
                "the bytes have another SHA-256 than declared: upload them again",
                "内容的 SHA-256 与声明不符，请重新上传",
                sha256=sha256,
            )
        size = market.blobs.adopt(path, sha256=sha256, verified=True)

        def step(tx: Transaction) -> None:
            keep_holding(tx, upload.party_id, sha256, size)
            tx.put(replace(upload, state="done", offset=upload.length, sha256=sha256))

        market.store.write(step)
        market.uploads.remove(upload.id)


def keep_holding(tx: Transaction, party_id: str, sha256: str, size: int) -> None:
    """Give a party the right to name a published blob."""
    if tx.one(Holding, party_id=party_id, sha256=sha256) is None:
        tx.add(
            Holding(
                id=new_id("hld"), party_id=party_id, sha256=sha256, bytes=size, created_at=tx.now
            )
        )


async def take_whole(request: Request, actor: Actor, filename: str) -> Holding:
    """Take a body in one go (a plain form without scripts), through the same machinery."""
    market = market_of(request)
    length = _number(request, "content-length")
    allow(actor, "upload")

    def begin(tx: Transaction) -> Upload:
        within_quota(tx, market, actor, length)
        upload = Upload(
            id=new_id("upl"),
            party_id=actor.party_id,
            length=length,
            filename=filename[:255],
            created_at=tx.now,
            expires_at=tx.now + timedelta(days=1),
        )
        market.uploads.create(upload.id, length)
        tx.add(upload)
        return upload

    upload = await asyncio.wrap_future(market.store.submit(begin))
    with market.uploads.hold(upload.id) as hold:
        safe, _ = await _receive(request, hold, upload, None)
        if safe != length:
            raise Forbidden("the connection broke: send the file again", "连接中断，请重新上传")
        done = await asyncio.wrap_future(
            market.store.submit(lambda tx: _acknowledge(tx, upload, safe))
        )
        await asyncio.to_thread(finish, market, done, hold)
    with market.store.read() as reader:
        kept = reader.get(Upload, upload.id)
        found = reader.one(Holding, party_id=actor.party_id, sha256=kept.sha256)
    assert found is not None
    return found
