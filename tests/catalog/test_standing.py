"""What a person reads about the next steps: commands that exist, and whose turn it is."""

from __future__ import annotations

import typer.main

from yaosu.cli import app
from yaosu.commands.standing import command_of, commands_for, state_of, stood
from yaosu.steps import LISTING_STEPS, TRADE_STEPS


def test_every_step_that_a_person_takes_names_a_command_that_exists() -> None:
    root = typer.main.get_command(app)
    for thing, table in (("lst_1", LISTING_STEPS), ("trd_1", TRADE_STEPS)):
        for step in table:
            if {str(a) for a in step.actors} <= {"system"}:
                continue
            found = root
            for word in command_of(thing, step.action).split():
                found = found.get_command(typer.Context(found), word)  # type: ignore[attr-defined]
                assert found is not None, step.action


def test_every_state_has_its_name_in_both_languages() -> None:
    for thing, table in (("lst_1", LISTING_STEPS), ("trd_1", TRADE_STEPS)):
        for state in {s for step in table for s in step.sources}:
            assert state_of(thing, state).zh != state


def test_steps_of_the_market_are_not_told_and_others_say_whose_they_are() -> None:
    said = stood("trd_1", "delivering", ["delivered", "redeliver"])
    assert said.en == "trd_1 is 'delivering'; next: trade redeliver (provider)"
    assert "交付" in said.zh
    assert "提供方" in said.zh
    assert commands_for("lst_1", ["return", "withdraw"], "provider") == "listing withdraw"
