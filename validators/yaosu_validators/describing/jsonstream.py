"""JSON values of a file one at a time, so that memory follows the largest value, not the file."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import IO, Any, NoReturn

from yaosu_schemas.errors import Malformed, TooLarge

_STEP = 1 << 16
_LARGEST = 64 << 20
_SPACE = " \t\r\n"


def _no_constant(name: str) -> NoReturn:
    raise Malformed(f"{name} is not JSON", f"{name} 不是合法的 JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def is_lines(head: str, *, complete: bool) -> bool | None:
    """Say whether a text that begins so is JSON Lines; None when its beginning does not show it.

    `complete` says that `head` is all there is.
    """
    lines = [line for line in head.split("\n") if line.strip()]
    if not lines:
        return None
    if len(lines) == 1 and not complete:
        return None  # one line longer than what was looked at
    first = lines[0].strip()
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        # A document over several lines begins with a bare bracket; a broken first record does not.
        return False if first[0] in "[{" and len(first) < 3 else None
    if len(lines) > 1:
        return True
    return False if first[0] == "[" else None  # one object on one line is both


def lines(source: IO[bytes]) -> Iterator[Any]:
    """Yield the value of each line, or Broken where a line is blank or no JSON."""
    text = io.TextIOWrapper(source, "utf-8-sig", newline="\n")
    while line := text.readline(_LARGEST):
        if len(line) >= _LARGEST:
            raise TooLarge("one line is longer than 64 MiB", "单行超过 64 MiB")
        try:
            yield _DECODER.decode(line)
        except (ValueError, RecursionError, Malformed):
            yield Broken


class Broken:
    """Stands for a line that holds no JSON value."""


def items(source: IO[bytes]) -> Iterator[Any]:
    """Yield the items of a JSON array, or the one value that a document holds."""
    text = io.TextIOWrapper(source, "utf-8-sig")
    window = _Window(text)
    if window.peek() != "[":
        yield window.value()
    else:
        window.skip()
        if window.peek() == "]":
            window.skip()
        else:
            while True:
                yield window.value()
                mark = window.peek()
                window.skip()
                if mark == "]":
                    break
                if mark != ",":
                    raise _malformed()
    if window.peek():
        raise _malformed()


class _Window:
    """The part of a text that is being read; it grows only while one value does not fit."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self._buffer = ""
        self._at = 0
        self._ended = False

    def peek(self) -> str:
        """Return the next character that is not space, or "" at the end."""
        while True:
            while self._at < len(self._buffer):
                if self._buffer[self._at] not in _SPACE:
                    return self._buffer[self._at]
                self._at += 1
            if self._ended:
                return ""
            self._more()

    def skip(self) -> None:
        self._at += 1

    def value(self) -> Any:
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._buffer, self._at)
            except json.JSONDecodeError as why:
                cut_off = why.msg.startswith("Unterminated") or len(self._buffer) - why.pos < 64
                if self._ended or not cut_off:
                    raise _malformed() from None
            except RecursionError:
                raise Malformed("it is nested too deeply", "嵌套层数过深") from None
            else:
                # A number may go on in the part that is not read yet.
                if end < len(self._buffer) or self._ended:
                    self._at = end
                    return value
            self._more()

    def _more(self) -> None:
        rest = self._buffer[self._at :]
        if len(rest) > _LARGEST:
            raise TooLarge("one JSON value is longer than 64 MiB", "单个 JSON 值超过 64 MiB")
        read = self._text.read(max(_STEP, len(rest)))
        self._ended = not read
        self._buffer, self._at = rest + read, 0


def _malformed() -> Malformed:
    return Malformed("it is not well-formed JSON", "不是格式正确的 JSON")
