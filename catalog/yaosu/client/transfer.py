"""Bytes over a bad line: uploads in checked chunks (tus 1.0), downloads by ranges, both resumed.

The market's offset decides where an upload goes on; a `.part` file where a download does. What
arrives counts only when its SHA-256 is the one that was promised.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urljoin, urlsplit

from yaosu.errors import Conflict, Gone, InvalidInput, NotFound, Unavailable, Unverified, YaosuError

from .connection import Connection, Reply

if TYPE_CHECKING:
    import httpx2

Progress = Callable[[str, str, int, int], None]
"""(stage, name, bytes done, bytes in all): stage is hash, upload or download."""

CHUNK_BYTES = 8 << 20
SMALLEST_CHUNK = 256 << 10
READ_BYTES = 1 << 20
TUS = {"Tus-Resumable": "1.0.0"}
CHECKSUM_MISMATCH = 460  # tus 1.0, checksum extension


def silent(stage: str, name: str, done: int, total: int) -> None:
    """Tell nobody."""


def hash_file(path: Path, *, progress: Progress = silent, name: str = "") -> tuple[str, int]:
    """Return (SHA-256 in hex, bytes) of a file."""
    found, done = hashlib.sha256(), 0
    total = path.stat().st_size
    with path.open("rb") as file:
        while block := file.read(READ_BYTES):
            found.update(block)
            done += len(block)
            progress("hash", name or path.name, done, total)
    return found.hexdigest(), done


# --- uploads ----------------------------------------------------------------------------------


class UploadMemory:
    """Where unfinished uploads stand, so that another run of the program can go on with them."""

    def __init__(self, folder: Path | None = None) -> None:
        home = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
        self.folder = folder or Path(home) / "yaosu" / "uploads"

    def _file(self, market: str, sha256: str) -> Path:
        name = hashlib.sha256(f"{market}\n{sha256}".encode()).hexdigest()[:40]
        return self.folder / f"{name}.json"

    def recall(self, market: str, sha256: str) -> str | None:
        """Return the address of an upload that was begun, if one is known."""
        try:
            kept = json.loads(self._file(market, sha256).read_text(encoding="utf-8"))
            return str(kept["url"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep(self, market: str, sha256: str, url: str) -> None:
        """Remember the address of an upload."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = self._file(market, sha256)
        part = file.with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps({"market": market, "url": url}), encoding="utf-8")
        part.replace(file)

    def forget(self, market: str, sha256: str) -> None:
        """Drop an upload that is finished or gone."""
        self._file(market, sha256).unlink(missing_ok=True)


class Upload:
    """One file on its way to the market."""

    def __init__(
        self,
        connection: Connection,
        path: Path,
        *,
        name: str,
        sha256: str,
        size: int,
        memory: UploadMemory | None = None,
        chunk_bytes: int = CHUNK_BYTES,
        progress: Progress = silent,
    ) -> None:
        self._connection = connection
        self._path = path
        self._name = name
        self._sha256 = sha256
        self._size = size
        self._memory = memory or UploadMemory()
        self._chunk_bytes = self._largest = chunk_bytes
        self._progress = progress

    def run(self) -> None:
        """Send what the market does not have yet; the error of the tree if it cannot be done."""
        base = self._connection.base
        url, offset = self._begin()
        whole = offset == self._size == 0
        failures = 0
        with self._path.open("rb") as file:
            while not whole:
                self._progress("upload", self._name, offset, self._size)
                try:
                    offset = self._send(file, url, offset)
                    whole = offset == self._size
                    failures = 0
                    self._chunk_bytes = min(self._chunk_bytes * 2, self._largest)
                except (Unavailable, _Mismatch) as error:
                    failures += 1
                    if failures >= self._connection.attempts:
                        raise _final(error) from None
                    # A chunk that breaks off is lost as a whole: on a bad line, smaller ones.
                    self._chunk_bytes = max(SMALLEST_CHUNK, self._chunk_bytes // 4)
                    self._connection.pause(failures)
                    offset = self._resume(url, offset)
        self._memory.forget(base, self._sha256)
        self._progress("upload", self._name, self._size, self._size)

    def _begin(self) -> tuple[str, int]:
        """Return (address, offset) of an upload that was begun before, or of a new one."""
        known = self._memory.recall(self._connection.base, self._sha256)
        if known is not None:
            try:
                return self._ours(known), self._offset(known)
            except (NotFound, Gone, Conflict, Unverified):
                self._memory.forget(self._connection.base, self._sha256)
        facts = {"filename": self._name, "sha256": self._sha256}
        encoded = (f"{k} {base64.b64encode(v.encode()).decode()}" for k, v in facts.items())
        reply = self._connection.call(
            "POST",
            "/v1/uploads",
            headers={
                **TUS,
                "Upload-Length": str(self._size),
                "Upload-Metadata": ",".join(encoded),
            },
        )
        url = self._ours(reply.headers["location"])
        if self._size > self._chunk_bytes:  # one chunk is sent again sooner than looked up
            self._memory.keep(self._connection.base, self._sha256, url)
        return url, 0

    def _ours(self, location: str) -> str:
        """Return an address of an upload; Unverified when it leads to another host.

        Behind a proxy the market may not know that it is reached by https: we do.
        """
        there = urlsplit(urljoin(self._connection.url("/v1/uploads"), location))
        here = urlsplit(self._connection.base)
        if there.netloc != here.netloc:
            raise Unverified(
                "the market sends the upload to another host: refused",
                "市场将上传指向其他主机，已拒绝",
                location=location,
            )
        return there._replace(scheme=here.scheme).geturl()

    def _offset(self, url: str) -> int:
        reply = self._connection.call("HEAD", url, headers=TUS)
        offset = int(reply.headers.get("upload-offset", "-1"))
        if not 0 <= offset <= self._size:
            raise Gone("the upload is no longer what it was", "上传记录已失效")
        return offset

    def _resume(self, url: str, before: int) -> int:
        try:
            return self._offset(url)
        except Unavailable:
            return before  # the next attempt finds out

    def _send(self, file: BinaryIO, url: str, offset: int) -> int:
        """Return the offset after one chunk; at the end an empty one asks to finish."""
        file.seek(offset)
        chunk = file.read(min(self._chunk_bytes, self._size - offset))
        if not chunk and offset < self._size:
            raise _changed(self._name)
        checksum = base64.b64encode(hashlib.sha256(chunk).digest()).decode()
        reply = self._patch(
            url,
            chunk,
            {
                **TUS,
                "Upload-Offset": str(offset),
                "Upload-Checksum": f"sha256 {checksum}",
                "Content-Type": "application/offset+octet-stream",
            },
        )
        if reply.status == CHECKSUM_MISMATCH:
            raise _Mismatch
        if reply.status == 409:
            return self._elsewhere(url, offset)
        if reply.status == 429 or reply.status in (500, 502, 503, 504):
            raise Unavailable("the market could not take a chunk", "市场未能接收数据块")
        if reply.status >= 400:
            raise self._refused(self._connection.error_of(reply.status, reply.json))
        return int(reply.headers.get("upload-offset", offset + len(chunk)))

    def _elsewhere(self, url: str, offset: int) -> int:
        """Return the market's offset where it differs from ours (409)."""
        there = self._offset(url)
        if there == self._size == offset:
            return there  # it was finished before our reply arrived
        if there == offset:
            raise Unavailable("another connection still writes this upload", "该上传正被占用")
        return there

    def _patch(self, url: str, chunk: bytes, headers: dict[str, str]) -> Reply:
        import httpx2

        sent = {**headers, **self._connection.headers_for(url)}
        try:
            answer = self._connection.http_for(url).patch(url, content=chunk, headers=sent)
        except httpx2.TransportError as error:
            raise self._connection.unreachable(error) from error
        body = None
        if answer.headers.get("content-type", "").startswith("application/problem+json"):
            body = json.loads(answer.content)
        return Reply(answer.status_code, answer.headers, body, answer.content)

    def _refused(self, error: YaosuError) -> YaosuError:
        self._memory.forget(self._connection.base, self._sha256)
        return _changed(self._name) if isinstance(error, Unverified) else error


class _Mismatch(Exception):
    """A chunk arrived with other bytes than were sent (460)."""


def _final(error: Exception) -> YaosuError:
    if isinstance(error, YaosuError):
        return error
    return Unverified(
        "chunks keep arriving damaged: something on the line changes them",
        "数据块反复校验失败：网络中间设备可能篡改了数据",
    )


def _changed(name: str) -> InvalidInput:
    return InvalidInput(
        f"'{name}' changed while it was sent: run `yaosu describe` and submit again",
        f"“{name}”在上传过程中被修改，请重新执行 yaosu describe 后再提交",
        path=name,
    )


# --- downloads --------------------------------------------------------------------------------


class Download:
    """One file on its way here: a hidden `.part` until every byte is there and right."""

    def __init__(
        self,
        connection: Connection,
        target: Path,
        *,
        name: str,
        sha256: str,
        size: int,
        link: Callable[[bool], str],
        progress: Progress = silent,
    ) -> None:
        self._connection = connection
        self._target = target
        # Hidden, so that no path of a package can be it; named by content, so that a beginning
        # of other bytes is never taken for one of these.
        self._part = target.with_name(f".{sha256[:32]}.part")
        self._name = name
        self._sha256 = sha256
        self._size = size
        self._link = link
        self._progress = progress
        self._hash = hashlib.sha256()
        self._done = 0

    def run(self) -> Path:
        """Return the file once its size and SHA-256 are right; Unverified if they never are.

        `link(renew)` gives the address; it is asked for a new one when the old has expired.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(self._part, flags, 0o644), "r+b") as file:
            self._alone(file)
            self._known(file)
            self._fill(file)
            if self._hash.hexdigest() != self._sha256:
                # A damaged beginning stays damaged: once more from the first byte.
                self._restart(file)
                self._fill(file)
            if self._hash.hexdigest() != self._sha256:
                self._restart(file)
                raise Unverified(
                    f"'{self._name}' arrived with other bytes than were sold: do not accept it",
                    f"“{self._name}”与交付清单的摘要不符，请勿验收",
                    path=self._name,
                    expected=self._sha256,
                )
            file.flush()
            os.fsync(file.fileno())
            self._part.replace(self._target)
        return self._target

    def _alone(self, file: BinaryIO) -> None:
        """Refuse to write a file that another program is writing."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Conflict(
                f"another program is fetching '{self._name}' into this folder",
                f"另一个程序正在下载“{self._name}”到该目录",
                path=self._name,
            ) from None

    def _known(self, file: BinaryIO) -> None:
        """Take what an earlier run left as the beginning, unless it cannot be one."""
        if file.seek(0, os.SEEK_END) > self._size:
            self._restart(file)
        file.seek(0)
        while block := file.read(READ_BYTES):
            self._hash.update(block)
            self._done += len(block)
            self._progress("hash", self._name, self._done, self._size)

    def _restart(self, file: BinaryIO) -> None:
        file.seek(0)
        file.truncate()
        self._hash, self._done = hashlib.sha256(), 0

    def _fill(self, file: BinaryIO) -> None:
        """Bring the part file to its full size, by as many requests as the line takes."""
        failures, renew = 0, False
        while self._done < self._size:
            before = self._done
            try:
                self._fetch(file, self._link(renew))
                renew = False
            except (Unavailable, Gone) as error:
                renew = isinstance(error, Gone)
                failures = 0 if self._done > before else failures + 1
                if failures >= self._connection.attempts:
                    raise
                self._connection.pause(failures + 1)

    def _fetch(self, file: BinaryIO, link: str) -> None:
        import httpx2

        url = self._connection.url(link)
        headers = {"Accept-Encoding": "identity", **self._connection.headers_for(url)}
        if self._done:
            headers["Range"] = f"bytes={self._done}-"
        try:
            with self._connection.http_for(url).stream("GET", url, headers=headers) as answer:
                if answer.status_code in (200, 206):
                    self._write(file, answer)
                    return
                answer.read()
                self._refuse(answer.status_code, answer, file)
        except httpx2.TransportError as error:
            raise self._connection.unreachable(error) from error

    def _write(self, file: BinaryIO, answer: httpx2.Response) -> None:
        if answer.status_code == 200:
            self._restart(file)
        elif range_start(answer.headers.get("content-range")) != self._done:
            self._restart(file)
            raise Unavailable("the range sent is not the one asked for", "返回的数据区间不符")
        for block in answer.iter_raw():  # as it arrives: what a broken line left is kept
            if self._done + len(block) > self._size:
                self._restart(file)
                raise Unverified(
                    f"'{self._name}' is longer than the {self._size} bytes that were sold",
                    f"“{self._name}”超过清单所载的 {self._size} 字节",
                    path=self._name,
                )
            file.write(block)
            self._hash.update(block)
            self._done += len(block)
            self._progress("download", self._name, self._done, self._size)
        if self._done < self._size:
            raise Unavailable("the connection ended early", "连接提前结束")

    def _refuse(self, status: int, answer: httpx2.Response, file: BinaryIO) -> None:
        if status == 416:
            self._restart(file)
            raise Unavailable("the range was refused", "数据区间被拒绝")
        if status in (401, 403, 410):
            raise Gone("the link has expired", "交付链接已失效")
        if status == 429 or status >= 500:
            raise Unavailable(
                f"the market could not send the file (HTTP {status})",
                f"市场未能发送文件（HTTP {status}）",
            )
        try:
            body = answer.json()
        except ValueError:
            body = None
        raise self._connection.error_of(status, body)


def range_start(header: str | None) -> int | None:
    """Return the first byte of a Content-Range (RFC 9110 §14.4), None if it has none."""
    unit, _, rest = (header or "").partition(" ")
    first = rest.partition("-")[0]
    return int(first) if unit == "bytes" and first.isdigit() else None
