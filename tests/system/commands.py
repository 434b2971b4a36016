"""Commands that are shown to people, in the README and in hints: do they exist, and would they be taken?"""

from __future__ import annotations

import re
import shlex

import click

from peerd.cli.main import program


def parse(words: list[str], command: click.Command = program, above: click.Context | None = None) -> None:
    """Raises what click raises for words that it would not take."""
    if words == ["--help"]:
        return
    context = click.Context(command, parent=above, info_name=command.name)
    if isinstance(command, click.Group):
        _, rest, _ = command.make_parser(context).parse_args(words)
        if not rest:
            raise click.UsageError("a word is missing", context)
        _, below, rest = command.resolve_command(context, rest)
        assert below is not None
        parse(rest, below, context)
    else:
        command.make_context(command.name, words, parent=above)


def is_a_command(text: str) -> bool:
    """Whether a text begins with a command that can be typed; a sentence may go on behind it."""
    words = shlex.split(text.replace("'", "’") if text.count("'") % 2 else text)[1:]
    return any(_parses(words[:length]) for length in range(len(words), 0, -1))


def _parses(words: list[str]) -> bool:
    try:
        parse(words)
    except click.ClickException:
        return False
    return True


def commands_in(hint: str) -> list[str]:
    """The commands in a hint, each up to the end of its sentence."""
    return re.findall(r"\bpeerd [a-z][^;…]*", hint)
