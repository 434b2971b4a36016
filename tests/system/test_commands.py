"""The check on shown commands sees what it is for."""

from __future__ import annotations

import click
import pytest

from tests.system.commands import commands_in, is_a_command, parse


@pytest.mark.parametrize(
    "line", ["group create pizza --colour red", "group paint", "group", "group show", "group show pizza now"]
)
def test_a_command_that_would_not_be_taken_is_noticed(line: str) -> None:
    with pytest.raises(click.UsageError):
        parse(line.split())


@pytest.mark.parametrize("line", ["--help", "group --help", "group show pizza", "--home /tmp/x group list"])
def test_a_command_that_would_be_taken_passes(line: str) -> None:
    parse(line.split())


def test_a_command_is_found_within_a_sentence() -> None:
    hint = "ask an administrator: peerd member list GROUP shows them; or peerd group paint"
    commands = commands_in(hint)
    assert [is_a_command(command) for command in commands] == [True, False]
