"""Values of JSON, within the limits of a record, and why a text is none."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any

from yaosu_schemas.errors import Text
from yaosu_schemas.texts import clip

from . import long_texts, turns
from .check import Finding
from .streams import MAX_ROW_BYTES, RowTooLong, row_too_long

MAX_VALUES = 2_000_000  # of one record of JSON: as Python's own they take 100 bytes each
LONG_JSON = 4 << 20  # bytes: shorter records cannot hold values that fill the memory


_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"')


def parse_json(text: str) -> Any:
    """Return the value of one JSON text; ValueError for NaN and Infinity too (RFC 8259 §6)."""
    if len(text) > LONG_JSON and _values(text) > MAX_VALUES:
        raise too_many_values()
    text = text.removesuffix("\n")  # so that a place in it is the same with and without
    return json.loads(text) if text.startswith("\ufeff") else _DECODER.decode(text)


def parse_long_json(raw: bytes | bytearray | memoryview) -> Any:
    """Return the value of one JSON text in UTF-8; its long strings are made once, and at the end.

    As text it may take four times as much, and again for each string that is cut out of it.
    """
    short = Shortened.of(raw)
    try:
        value = parse_json(short.text.decode("utf-8"))
    except json.JSONDecodeError as why:
        why.pos += short.left_out(why.pos)
        raise
    return short.restored(value, lambda raw: _unescaped(raw).decode("utf-8", "surrogatepass"))


@dataclass(slots=True)
class Shortened:
    """A JSON text with marks in place of its long strings."""

    text: bytes
    mark: str
    held: list[bytes]  # the strings as they are written, between their quotes
    places: list[int]  # of the marks in the text, in bytes

    @classmethod
    def of(cls, raw: bytes | bytearray | memoryview, least: int = 0) -> Shortened:
        """Put marks in place of strings of so many bytes; RowTooLong for too many values."""
        least = least or _LONG_STRING
        mark = f"long {secrets.token_hex(16)} "
        held: list[bytes] = []
        parts: list[bytes] = []
        places: list[int] = []
        at = size = strings = 0
        for strings, found in enumerate(_STRINGS.finditer(raw), start=1):
            if found.end(1) - found.start(1) >= least:
                parts += bytes(raw[at : found.start()]), f'"{mark}{len(held)}"'.encode()
                places.append(size + len(parts[-2]))
                size = places[-1] + len(parts[-1])
                held.append(found[1])
                at = found.end()
            if strings > 2 * MAX_VALUES:
                raise too_many_values()
        parts.append(bytes(raw[at:]))
        short = b"".join(parts)
        bare = _BYTE_STRING.sub(b"", short) if len(short) > LONG_JSON else b""
        if sum(map(bare.count, (b",", b"[", b"{"))) > MAX_VALUES:
            raise too_many_values()
        return cls(short, mark, held, places)

    def left_out(self, at: int) -> int:
        """Return how many characters were left out before a character of the text."""
        before = len(self.text.decode("utf-8")[:at].encode("utf-8"))
        texts = [len(t.decode("utf-8")) - len(f"{self.mark}{n}") for n, t in enumerate(self.held)]
        return sum(t for t, place in zip(texts, self.places, strict=True) if place < before)

    def restored(self, value: Any, make: Callable[[bytes], str]) -> Any:
        """Put long strings back where their marks stand; they are used up."""

        def text(value: Any) -> Any:
            if type(value) is not str or not value.startswith(self.mark):
                return value
            number = int(value.removeprefix(self.mark))
            raw, self.held[number] = self.held[number], b""
            return make(raw)

        root: list[Any] = [value]
        waiting: list[Any] = [root]
        while waiting:
            here = waiting.pop()
            for key, each in list(here.items() if isinstance(here, dict) else enumerate(here)):
                if isinstance(each, dict | list):
                    waiting.append(each)
                else:
                    here[key] = text(each)
        return root[0]


def kept_text(raw: bytes) -> str:
    """Return a JSON string that is long, from between its quotes, as it is kept."""
    from .utf8 import is_utf8  # only here: it brings Arrow

    if not is_utf8(raw):
        raw = raw.decode("utf-8", "replace").encode()
    return long_texts.kept(_unescaped(raw))


def _unescaped(raw: bytes) -> bytes:
    if b"\\" not in raw:
        return raw
    whole = bytearray()
    for found in _PIECE.finditer(raw):
        text = json.loads(b'"%b"' % found[0])
        whole += text.encode("utf-8", "surrogatepass")
    return bytes(whole)


_LONG_STRING = 4096
_BYTE_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_STRINGS = re.compile(  # group 1: what stands in a value that is a string as it should be
    rb'"(?:((?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+)"(?!\s*+:)'
    rb'|(?:[^"\\]++|\\.)*+")',
    re.DOTALL,
)
_PIECE = re.compile(  # never ends inside of a character or of a surrogate pair
    rb"(?:[^\\\x80-\xff]{1,64}+|[\xc0-\xff][\x80-\xbf]*+"
    rb"|\\u[dD][89abAB][0-9a-fA-F]{2}(?:\\u[dD][c-fC-F][0-9a-fA-F]{2})?"
    rb"|\\u[0-9a-fA-F]{4}|\\.){1,16384}+"
)


def _values(text: str) -> int:
    """Return about how many values a JSON text holds."""
    bare = _STRING.sub("", text)
    return sum(map(bare.count, ",[{"))


def reason(why: Exception) -> Text:
    """Return why one line is not JSON; the parser's own count of lines would mislead here."""
    if isinstance(why, json.JSONDecodeError):
        zh = _NOT_JSON.get(why.msg, why.msg)
        if why.lineno == 1:
            return Text(f"{why.msg} (character {why.pos + 1})", f"{zh}（第 {why.pos + 1} 个字符）")
        return Text(
            f"{why.msg} (line {why.lineno}, character {why.colno})",
            f"{zh}（第 {why.lineno} 行第 {why.colno} 个字符）",
        )
    if isinstance(why, RecursionError):
        return Text("it is nested too deeply", "嵌套层数过多")
    note = clip(str(why).partition("\n")[0], 160)  # the lines after it show the data
    return Text(note, next((zh for en, zh in _BROKEN_JSON.items() if en in note), note))


_BROKEN_JSON = {  # what yajl says
    "premature EOF": "内容在结束前中断",
    "trailing garbage": "JSON 之后还有多余内容",
    "lexical error": "存在 JSON 不允许的字符",
    "invalid bytes in UTF8": "字符串不是有效的 UTF-8",
    "unallowed token at this point": "此处出现了不应有的符号",
    "object key and value must be separated": "键与值之间缺少冒号",
    "after array element": "数组元素之后缺少逗号或右方括号",
    "after key and value": "键值之后缺少逗号或右花括号",
    "invalid object key": "键必须是字符串",
}
_NOT_JSON = {
    "Expecting value": "此处缺少值",
    "Extra data": "值之后还有多余内容",
    "Expecting ',' delimiter": "此处缺少逗号",
    "Expecting ':' delimiter": "此处缺少冒号",
    "Expecting property name enclosed in double quotes": "此处应为双引号括起的键名",
    "Unterminated string starting at": "字符串没有结束",
    "Invalid control character at": "字符串中有未转义的控制字符",
    "Invalid \\escape": "无效的转义",
    "Invalid \\uXXXX escape": "无效的 \\u 转义",
}


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_number)  # to make one takes longer than a line


class Measured:
    """A stream of JSON for a parser that would take in one item of any size; see `items`."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._size = self._values = 0  # of the item that is being read
        self._in_text = False
        self._held = b""

    def items(self, found: Iterator[Any]) -> Iterator[Any]:
        """Yield what is found in this stream; a SourceProblem for an item over the limits."""
        for item in found:
            long = self._size > long_texts.LONG and long_texts.are_wanted()
            self._size = self._values = 0
            yield long_texts.shorter(item) if long else item

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._size += len(data)
        if self._size > turns.LONG:
            turns.take("source")
        if self._size > MAX_ROW_BYTES:
            raise row_too_long()
        bare = (self._held + data).replace(b"\\\\", b"").replace(b'\\"', b"")
        self._held = b"\\" if bare.endswith(b"\\") else b""
        if self._size > LONG_JSON:
            pieces = bare.split(b'"')[int(self._in_text) :: 2]
            self._values += sum(
                piece.count(mark) for piece in pieces for mark in (b",", b"[", b"{")
            )
            if self._values > MAX_VALUES:
                raise too_many_values()
        self._in_text ^= bool(bare.count(b'"') % 2)
        return data


def too_many_values() -> RowTooLong:
    """Return the finding for a record that is short as text and fills the memory as values."""
    note = Text(
        f"the record holds more than {MAX_VALUES:,} values, the most that one may hold",
        f"该记录的值超过单条记录的上限 {MAX_VALUES:,} 个",
    )
    return RowTooLong(Finding(type="resource-limit", note=note))
