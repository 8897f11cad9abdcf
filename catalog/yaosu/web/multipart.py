"""A form with a file, read as a stream: fields first, then one file of any size (RFC 7578)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

from yaosu.errors import Malformed, TooLarge

MAX_HEAD = 16_384
MAX_FIELD = 65_536
MAX_FIELDS = 20
_NAME = re.compile(rb'[;\s]name="([^"]*)"')
_FILE = re.compile(rb'[;\s]filename="([^"]*)"')


class FormStream:
    """Reads `multipart/form-data` part by part; nothing but one chunk is held in memory."""

    def __init__(self, content_type: str, stream: AsyncIterator[bytes]) -> None:
        found = re.search(r'boundary="?([^";,\s]{1,70})"?', content_type)
        if not content_type.lower().startswith("multipart/form-data") or found is None:
            raise Malformed("this form has no file in it", "表单中没有文件")
        self._mark = b"\r\n--" + found.group(1).encode("ascii", "replace")
        self._stream = stream
        # The first boundary has no line break before it: lend it one.
        self._have = b"\r\n"
        self._ended = False
        self.filename = ""

    async def fields(self) -> dict[str, str]:
        """Return the fields up to the file; `filename` is then known, and `file` gives bytes."""
        found: dict[str, str] = {}
        async for _ in self._part():
            pass  # preamble
        while not self._ended:
            head = await self._head()
            name, file = _NAME.search(head), _FILE.search(head)
            if name is None:
                raise Malformed("a part of the form has no name", "表单部分缺少名称")
            if file is not None:
                self.filename = file.group(1).decode("utf-8", "replace")
                return found
            value = b""
            async for piece in self._part():
                value += piece
                if len(value) > MAX_FIELD:
                    raise TooLarge("a field of the form is too long", "表单字段过长")
            found[name.group(1).decode("utf-8", "replace")] = value.decode("utf-8", "replace")
            if len(found) > MAX_FIELDS:
                raise TooLarge("too many fields", "表单字段过多")
        return found

    async def file(self) -> AsyncIterator[bytes]:
        """Yield the bytes of the file, as they come."""
        if self._ended:
            return
        async for piece in self._part():
            yield piece

    async def _more(self) -> None:
        try:
            self._have += await anext(self._stream)
        except StopAsyncIteration:
            raise Malformed("the form breaks off", "表单不完整") from None

    async def _head(self) -> bytes:
        while b"\r\n\r\n" not in self._have:
            if len(self._have) > MAX_HEAD:
                raise Malformed("the head of a part is too long", "表单头部过长")
            await self._more()
        head, _, self._have = self._have.partition(b"\r\n\r\n")
        return b";" + head

    async def _part(self) -> AsyncIterator[bytes]:
        """Yield the bytes up to the next boundary and step over it."""
        keep = len(self._mark) - 1
        while True:
            body, mark, rest = self._have.partition(self._mark)
            if mark:
                if body:
                    yield body
                self._have = rest
                while len(self._have) < 2:
                    await self._more()
                self._ended = self._have.startswith(b"--")
                return
            if len(self._have) > keep:
                ready, self._have = self._have[:-keep], self._have[-keep:]
                yield ready
            await self._more()
