"""Long texts as UTF-8: as Python's own they may take four times as much, and are kept twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

LONG = 1 << 20  # bytes of a text that is kept so, where it is
_HEAD = 1 << 12
_END = "\ud800"  # of what stands for the text: whoever takes it for all of it fails, and is seen to


class LongText(str):
    """A text as UTF-8 that passes for its own beginning: enough to see that there is some."""

    __slots__ = ("utf8",)
    utf8: bytes

    def __new__(cls, utf8: bytes) -> LongText:
        text = super().__new__(cls, utf8[:_HEAD].decode("utf-8", "ignore") + _END)
        text.utf8 = utf8
        return text

    def __reduce__(self) -> Any:
        return LongText, (self.utf8,)


def kept(utf8: bytes) -> str:
    """Return a text as it is kept; one with lone surrogates, which UTF-8 has not, as Python's."""
    from .utf8 import is_utf8  # only here: it brings Arrow

    return LongText(utf8) if is_utf8(utf8) else utf8.decode("utf-8", "surrogatepass")


def whole(value: Any) -> Any:
    """Return a value with its long texts as Python's own."""
    if type(value) is LongText:
        return value.utf8.decode("utf-8")
    if isinstance(value, dict):
        return {key: whole(inner) for key, inner in value.items()}
    return [whole(inner) for inner in value] if isinstance(value, list) else value


def shorter(value: Any) -> Any:
    """Return a value in which long texts are kept as UTF-8."""
    if type(value) is str and len(value) > LONG:
        try:
            return LongText(value.encode())
        except UnicodeEncodeError:  # a lone surrogate
            return value
    if isinstance(value, dict):
        return {key: shorter(inner) for key, inner in value.items()}
    return [shorter(inner) for inner in value] if isinstance(value, list) else value


_wanted: ContextVar[bool] = ContextVar("long_texts", default=False)


@contextmanager
def wanted() -> Iterator[None]:
    """Let what reads tables meanwhile give long cells as UTF-8."""
    token = _wanted.set(True)
    try:
        yield
    finally:
        _wanted.reset(token)


def are_wanted() -> bool:
    """Say whether long cells are to be given as UTF-8 here."""
    return _wanted.get()
