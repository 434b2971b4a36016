"""Where the recovery key of a new group goes: it is shown once and kept nowhere by the daemon.

The place is settled before anything is made, and the key is in it before the group is: a group whose recovery
key was lost on the way cannot be mended later.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from peerd.cli.render import say, terminal_width
from peerd.control.client import ApiError
from peerd.paths import NewFile, remove_durably
from peerd.printable import printable

Deliver = Callable[[str], None]

# After these answers it is not known whether the group was made, so its key must be kept.
_UNCERTAIN = frozenset({"timed-out", "internal"})


@contextmanager
def delivery(file: Path | None, classifier: str, *, as_json: bool) -> Iterator[Deliver]:
    """Open the place; what is yielded puts a key there, for good when it returns.

    A key that turns out to be of no group is taken away again, or called useless.
    Raises: UsageError when there is no place, Conflict("file-exists"), StoreError.
    """
    if file is not None:
        with _to_file(file, classifier) as deliver:
            yield deliver
    elif as_json:
        yield _within_the_answer
    elif terminal_width() is not None:
        with _to_terminal() as deliver:
            yield deliver
    else:
        raise click.UsageError(
            "The new group has a recovery key, and there is no place for it: name a file with "
            "--recovery FILE, or take it from the answer with --json."
        )


@contextmanager
def _to_file(path: Path, classifier: str) -> Iterator[Deliver]:
    def deliver(key: str) -> None:
        file.write(_file_text(key, classifier).encode())

    with NewFile(path) as file:
        try:
            yield deliver
        except ApiError as error:
            if error.slug not in _UNCERTAIN:
                remove_durably(path)
            raise


@contextmanager
def _to_terminal() -> Iterator[Deliver]:
    shown = False

    def deliver(key: str) -> None:
        nonlocal shown
        shown = True
        click.echo("The recovery key of the new group, shown this once:\n")
        click.echo(f"    {key}\n")
        click.echo(
            "It replaces the group's root if that is lost or stolen. Write it down, away from this machine.\n"
        )
        sys.stdout.flush()

    try:
        yield deliver
    except ApiError as error:
        if shown and error.slug not in _UNCERTAIN:
            say("No group was made: the key above is of no use.")
        raise


def _within_the_answer(key: str) -> None:
    """The one document on standard output holds it."""


def _file_text(key: str, classifier: str) -> str:
    return (
        f"# The recovery key of the peerd group “{printable(classifier)}”.\n"
        "# It replaces the group's root if that is lost or stolen. Keep it away from this machine.\n"
        f"{key}\n"
    )
