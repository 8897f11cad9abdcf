"""Yaosu 要素: a marketplace catalog for AI corpora."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .client.client import Client

__version__ = "0.1.0"
__all__ = ["Client", "__version__"]


def __getattr__(name: str) -> object:
    # The client loads an HTTP library; `import yaosu` alone stays light.
    if name == "Client":
        return import_module("yaosu.client").Client
    raise AttributeError(f"module 'yaosu' has no attribute {name!r}")
