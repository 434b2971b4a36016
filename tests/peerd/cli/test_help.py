"""The help texts: pinned, complete, and their examples can be typed as they are.

After a wanted change, `python -m tests.peerd.cli.test_help` writes the pinned text anew.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from peerd.cli.main import program

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "cli_help.txt"
WIDTH = 100


def commands(
    command: click.Command, words: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with the words that lead to it."""
    yield words, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from commands(below, (*words, name))


COMMANDS = list(commands(program, ("peerd",)))
LEAVES = [(words, command) for words, command in COMMANDS if not isinstance(command, click.Group)]


def context_of(words: tuple[str, ...]) -> click.Context:
    settings = {**program.context_settings, "terminal_width": WIDTH}
    context = click.Context(program, info_name=words[0], **settings)
    for word in words[1:]:
        assert isinstance(context.command, click.Group)
        below = context.command.get_command(context, word)
        assert below is not None
        context = click.Context(below, info_name=word, parent=context)
    return context


def all_help() -> str:
    return (
        "\n\n".join(
            f"$ {shlex.join([*words, '--help'])}\n{context_of(words).get_help()}" for words, _ in COMMANDS
        )
        + "\n"
    )


def examples_of(command: click.Command) -> list[str]:
    lines = (command.epilog or "").splitlines()
    return [line.strip() for line in lines if line.startswith("  peerd")]


EXAMPLES = [line for _, command in COMMANDS for line in examples_of(command)]


def ids(found: object) -> str | None:
    return " ".join(found) if isinstance(found, tuple) else None


def test_the_help_is_as_pinned() -> None:
    assert all_help() == GOLDEN.read_text()


@pytest.mark.parametrize("words, command", COMMANDS, ids=ids)
def test_every_command_says_in_one_short_sentence_what_it_does(words, command) -> None:
    first = (command.help or "").partition("\n\n")[0].replace("\n", " ")
    assert first.endswith((".", ":"))
    assert len(first) <= 80


@pytest.mark.parametrize("words, command", COMMANDS, ids=ids)
def test_every_command_shows_an_example_of_itself(words, command) -> None:
    first = examples_of(command)[0].split()
    leading = [word for word in first if word in words]
    assert leading[: len(words)] == list(words)


@pytest.mark.parametrize("words, command", LEAVES, ids=ids)
def test_every_verb_that_asks_the_daemon_takes_json(words, command) -> None:
    options = {option for parameter in command.params for option in parameter.opts}
    assert ("--json" in options) == (words[1] not in {"run", "demo"})


@pytest.mark.parametrize("words, command", LEAVES, ids=ids)
def test_every_option_says_what_it_is_for(words, command) -> None:
    for parameter in command.params:
        assert not isinstance(parameter, click.Option) or parameter.help, parameter.name


@pytest.mark.parametrize("line", sorted(set(EXAMPLES)))
def test_every_example_can_be_typed(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PEERD_HOME", raising=False)
    typed = line.partition(" > ")[0].partition(" < ")[0]
    words = shlex.split(typed)[1:]
    command: click.Command = program
    context = program.make_context("peerd", words)
    while isinstance(command, click.Group):
        name, below, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert below is not None
        context, command = below.make_context(name, rest, parent=context), below
    assert not context.args


if __name__ == "__main__":
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(all_help())
