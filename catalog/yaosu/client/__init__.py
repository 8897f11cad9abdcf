"""The market from outside: find, describe, submit, buy, load (knows nothing of the server)."""

from .client import Client

__all__ = ["Client"]
