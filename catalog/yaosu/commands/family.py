"""A family of commands: listed with one whole line each, in both languages."""

from __future__ import annotations

from typing import Any

import typer
import typer.core


class Family(typer.core.TyperGroup):
    """Lists its commands by the first paragraph of their help and the Chinese one after it."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, one_line(c.help or "")) for name, c in found if c and not c.hidden]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def family(about: str) -> typer.Typer:
    """Return an empty family; `about` says in both languages what it is for."""
    return typer.Typer(
        cls=Family, help=about, no_args_is_help=True, add_completion=False, rich_markup_mode=None
    )


def one_line(text: str) -> str:
    """Return the first two paragraphs of a help text as one line."""
    parts = [" ".join(part.split()) for part in text.strip().split("\n\n")]
    return " ".join(parts[:2])
