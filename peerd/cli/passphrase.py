"""Passphrases of root keys as people give them: typed, unseen, or as lines of standard input.

They are never taken from arguments or the environment, where others on the machine could read them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

import click

from peerd.control.client import ApiError

R = TypeVar("R")

LINE_CHARACTERS_MAX = 4096

passphrase_option = click.option(
    "--passphrase-stdin",
    "from_stdin",
    is_flag=True,
    help="Take the root key's passphrase from a line of standard input.",
)


def with_passphrase(call: Callable[[str | None], R], *, from_stdin: bool) -> R:
    """Make a call that may need a passphrase: with the one from standard input, or on a terminal with what is
    typed once the daemon has asked for it. Raises: ClientError, UsageError.
    """
    if from_stdin:
        return call(line_of_stdin())
    try:
        return call(None)
    except ApiError as error:
        if error.slug != "passphrase-needed" or not stdin_is_terminal():
            raise
    return call(typed("Passphrase of the root key"))


def needed_passphrase(*, from_stdin: bool) -> str:
    """A passphrase without which there is nothing to do. Raises: UsageError."""
    if from_stdin:
        return line_of_stdin()
    if not stdin_is_terminal():
        raise click.UsageError("There is no terminal to ask for the passphrase: give --passphrase-stdin.")
    return typed("Passphrase of the root key")


def new_passphrase(*, from_stdin: bool) -> str:
    """A passphrase that is set, typed twice on a terminal. Raises: UsageError."""
    if from_stdin:
        return line_of_stdin()
    if not stdin_is_terminal():
        raise click.UsageError("There is no terminal to ask for a passphrase: give --passphrase-stdin.")
    first = typed("New passphrase of the root key")
    if typed("The same again") != first:
        raise click.UsageError("The two passphrases differ; nothing was changed.")
    return first


def typed(what: str) -> str:
    """What somebody types unseen at the terminal."""
    answer: str = click.prompt(what, hide_input=True, err=True)
    return answer


def line_of_stdin() -> str:
    """The next line of standard input. Raises: UsageError when there is none."""
    line = sys.stdin.readline(LINE_CHARACTERS_MAX + 1)
    text = line.rstrip("\r\n")
    if not text or len(text) > LINE_CHARACTERS_MAX:
        raise click.UsageError("Standard input holds no passphrase where one is expected.")
    return text


def stdin_is_terminal() -> bool:
    """Whether somebody sits there who can be asked."""
    return sys.stdin.isatty()
