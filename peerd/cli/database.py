"""`peerd database …`: a whole group as one file."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO

import click

from peerd.cli.render import count_of, say
from peerd.cli.session import Noun, Session, answer, examples, json_option, pass_session
from peerd.cli.values import STANDARD_STREAM
from peerd.control import record_schema
from peerd.paths import ReplacedFile

_PART_BYTES = 256 * 1024


@click.group(
    cls=Noun,
    epilog=examples("peerd database export pizza pizza.peerd", "peerd database import pizza pizza.peerd"),
)
def database() -> None:
    """A group's database as a file: all acts and all records."""


@database.command(
    "export",
    epilog=examples("peerd database export pizza pizza.peerd", "peerd database export pizza - > pizza.peerd"),
)
@click.argument("group")
@click.argument("file")
@json_option
@pass_session
def export_group(session: Session, group: str, file: str, as_json: bool) -> None:
    """Write all acts and records of a group to FILE, replacing it; - writes to stdout.

    The group stays open. The file holds no private key, but all data: keep it as close as the node itself.
    """
    size = 0
    with session.client() as client:
        if file == STANDARD_STREAM:
            for part in client.export_group(group):
                click.echo(part, nl=False)
            return
        with ReplacedFile(Path(file)) as target:
            for part in client.export_group(group):
                target.write(part)
                size += len(part)
            target.finish()
    answer({"group": group, "file": file, "bytes": size}, lambda: f"{size} bytes in {file}", as_json=as_json)


@database.command(
    "import",
    epilog=examples("peerd database import pizza pizza.peerd", "peerd database import pizza - < pizza.peerd"),
)
@click.argument("group")
@click.argument("file")
@json_option
@pass_session
def import_group(session: Session, group: str, file: str, as_json: bool) -> None:
    """Take in an exported FILE of the same group; - reads stdin.

    Everything is checked as if a neighbor had sent it. It can be repeated, and changes nothing then.
    """
    with _source(file) as source, session.client() as client:
        brought = client.import_group(group, iter(lambda: source.read(_PART_BYTES), b""))
    answer(brought, lambda: _text(brought), as_json=as_json)
    if brought.refused and not as_json:
        say("What was refused does not count in this group now; the daemon's log says more.")


def _source(file: str) -> AbstractContextManager[BinaryIO]:
    """Where the bytes come from. Raises: UsageError."""
    if file == STANDARD_STREAM:
        return nullcontext(sys.stdin.buffer)
    try:
        return Path(file).open("rb")
    except OSError as error:
        raise click.UsageError(f"The file {file} cannot be read: {error.strerror}.") from None


def _text(brought: record_schema.Imported) -> str:
    acts = count_of(brought.elements, "new act or certificate", "new acts and certificates")
    records = count_of(brought.records, "new version of a record", "new versions of records")
    return f"{acts}, {records}, {brought.refused} refused"
