"""Where recovery keys go, those of a new group or of its next root: they are shown once and kept nowhere by
the daemon.

The place is settled before anything is made, and the keys are in it before the group, or the root, is: one
whose recovery key was lost on the way cannot be mended later. Several keys of one set go into files of their
own, for several people, each with a note of the set.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click

from peerd.cli.render import say, terminal_width
from peerd.control import schema
from peerd.control.client import ApiError
from peerd.paths import NewFile, remove_durably
from peerd.printable import printable

Deliver = Callable[[schema.RecoveryKey], None]

# After these answers it is not known whether the group was made, so its key must be kept.
_UNCERTAIN = frozenset({"timed-out", "internal"})
_WHAT_FOR = "It replaces the group's root if that is lost or stolen."


@contextmanager
def delivery(
    file: Path | None, classifier: str, *, as_json: bool, owner: str = "new group", keys: int = 1
) -> Iterator[Deliver]:
    """Open the place for so many keys; what is yielded puts them there, for good when it returns. `owner` is
    what is going to be made.

    Keys that turn out to be of nothing are taken away again, or called useless.
    Raises: UsageError when there is no place, Conflict("file-exists"), StoreError.
    """
    if file is not None:
        with _to_files(recovery_files(file, keys), classifier) as deliver:
            yield deliver
    elif as_json:
        yield _within_the_answer
    elif terminal_width() is not None:
        with _to_terminal(owner) as deliver:
            yield deliver
    else:
        raise click.UsageError(
            f"The {owner} has a recovery key, and there is no place for it: name a file with "
            "--recovery FILE, or take it from the answer with --json."
        )


def recovery_files(file: Path, keys: int) -> list[Path]:
    """A file for each key: the one named, or for several `NAME-1.SUFFIX` and so on."""
    if keys == 1:
        return [file]
    return [file.with_name(f"{file.stem}-{number}{file.suffix}") for number in range(1, keys + 1)]


def all_keys(drawn: schema.RecoveryKey) -> list[str]:
    """The keys that were drawn; an older daemon tells of one alone."""
    return drawn.recovery_keys or [drawn.recovery_key]


@contextmanager
def _to_files(paths: list[Path], classifier: str) -> Iterator[Deliver]:
    with ExitStack() as stack:
        files: list[NewFile] = []

        def deliver(drawn: schema.RecoveryKey) -> None:
            for file, key in zip(files, all_keys(drawn), strict=True):
                file.write(_file_text(key, drawn.recovery_set, classifier).encode())

        files += [stack.enter_context(NewFile(path)) for path in paths]
        try:
            yield deliver
        except ApiError as error:
            if error.slug not in _UNCERTAIN:
                for path in paths:
                    remove_durably(path)
            raise


@contextmanager
def _to_terminal(owner: str) -> Iterator[Deliver]:
    shown = False

    def deliver(drawn: schema.RecoveryKey) -> None:
        nonlocal shown
        shown = True
        keys = all_keys(drawn)
        click.echo(f"The recovery {'key' if len(keys) == 1 else 'keys'} of the {owner}, shown this once:\n")
        for key in keys:
            click.echo(f"    {key}\n")
        if len(keys) > 1:
            click.echo(f"Write beside each:\n\n    # set: {drawn.recovery_set}\n")
        click.echo(f"{_WHAT_FOR} Write it down, away from this machine.\n")
        sys.stdout.flush()

    try:
        yield deliver
    except ApiError as error:
        if shown and error.slug not in _UNCERTAIN:
            made = "group" if owner == "new group" else "root"
            say(f"No {made} was made: the key above is of no use.")
        raise


def _within_the_answer(drawn: schema.RecoveryKey) -> None:
    """The one document on standard output holds it."""


def _file_text(key: str, set_note: str, classifier: str) -> str:
    note = f"# set: {set_note}\n" if set_note else ""
    return (
        f"# The recovery key of the peerd group “{printable(classifier)}”.\n"
        f"# {_WHAT_FOR} Keep it away from this machine.\n"
        f"{note}{key}\n"
    )
