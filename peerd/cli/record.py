"""`peerd record …`: data of applications, shared by all members of a group."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path

import click

from peerd.cli.record_text import record_text, records_table
from peerd.cli.render import say
from peerd.cli.session import Noun, Session, answer, examples, json_option, pass_session
from peerd.cli.values import (
    ATTRIBUTE,
    DURATION,
    STANDARD_STREAM,
    TIME,
    Named,
    base64url,
    read_data,
    read_document,
)
from peerd.control import record_schema
from peerd.control.limits import (
    PAGE_LIMIT_MAX,
    REPLICATED_NEIGHBORS_MAX,
    REPLICATED_S_DEFAULT,
    REPLICATED_S_MAX,
)
from peerd.control.record_schema import AttributeValue
from peerd.paths import NewFile

Values = dict[str, AttributeValue | list[AttributeValue]]

type_option = click.option("--type", "record_type", metavar="TYPE", help="Only those of one type.")
limit_option = click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="At most so many; by default all."
)
data_file_option = click.option("--data-file", metavar="FILE", help="The data; - reads them from stdin.")
text_option = click.option("--text", metavar="TEXT", help="The data, as text in UTF-8.")
attribute_option = click.option(
    "--attribute",
    "attributes",
    type=ATTRIBUTE,
    multiple=True,
    metavar="NAME=VALUE",
    help="A fact to find it by; NAME:int=5 and NAME:date=2030-01-31 are no text. Can be repeated.",
)
expires_option = click.option("--expires", type=TIME, metavar="TIME", help="When it ends (RFC 3339).")
valid_option = click.option("--valid", "valid_s", type=DURATION, metavar="TIME", help="How long it lives.")
if_version_option = click.option(
    "--if-version", metavar="ID", help="Only if this is still its version; else exit code 6."
)
wait_option = click.option(
    "--wait-replicated",
    type=click.IntRange(0, REPLICATED_NEIGHBORS_MAX),
    default=0,
    metavar="N",
    help="Come back when N neighbors hold it durably too.",
)
timeout_option = click.option(
    "--timeout",
    "timeout_s",
    type=click.IntRange(0, REPLICATED_S_MAX),
    default=REPLICATED_S_DEFAULT,
    show_default=True,
    metavar="S",
    help="With --wait-replicated: give up after S seconds, with exit code 7.",
)


@click.group(
    cls=Noun,
    epilog=examples(
        "peerd record add pizza --type note --text 'Friday at eight' --attribute people:int=4",
        "peerd record search pizza 'people >= 3'",
    ),
)
def record() -> None:
    """Records: data that all members of a group share.

    A record is named by its id, or by an unambiguous beginning of the id or of its second half.
    """


@record.command(
    epilog=examples(
        "peerd record add pizza --type note --text 'Friday at eight' --attribute people:int=4",
        "peerd record add pizza --type photo --data-file oven.jpg --attribute title=Oven",
        "peerd record add pizza --type status --valid 1h --auto-refresh --wait-replicated 1",
    )
)
@click.argument("group")
@click.option("--type", "record_type", required=True, metavar="TYPE", help="What kind of record it is.")
@data_file_option
@text_option
@attribute_option
@expires_option
@valid_option
@click.option("--auto-refresh", is_flag=True, help="Prolong it before it ends, while this daemon runs.")
@wait_option
@timeout_option
@json_option
@pass_session
def add(
    session: Session,
    group: str,
    record_type: str,
    data_file: str | None,
    text: str | None,
    attributes: tuple[Named, ...],
    expires: datetime | None,
    valid_s: int | None,
    auto_refresh: bool,
    wait_replicated: int,
    timeout_s: int,
    as_json: bool,
) -> None:
    """Write a new record; it lives until it is deleted, unless it is given an end."""
    wish = record_schema.RecordAdd(
        record_type=record_type,
        attributes=_gathered(attributes),
        data=base64url(_data(data_file, text) or b""),
        expires=expires,
        valid_s=valid_s,
        auto_refresh=auto_refresh,
        wait_replicated=wait_replicated,
        timeout_s=timeout_s,
    )
    with session.client() as client:
        written = client.add_record(group, wish)
    answer(written, lambda: record_text(written), as_json=as_json)


@record.command(
    epilog=examples(
        "peerd record get pizza 3f9a",
        "peerd record get pizza 3f9a --data > oven.jpg",
        "peerd record get pizza 3f9a --output oven.jpg",
    )
)
@click.argument("group")
@click.argument("record_id")
@click.option("--data", "raw", is_flag=True, help="Print only the data, unchanged; with --json, all of them.")
@click.option("--output", metavar="FILE", help="Write only the data, to a new file.")
@json_option
@pass_session
def get(session: Session, group: str, record_id: str, raw: bool, output: str | None, as_json: bool) -> None:
    """Show a record, or print its data."""
    with session.client() as client:
        if output is not None:
            with NewFile(Path(output)) as file:
                file.write(client.record_data(group, record_id))
            return
        if raw and not as_json:
            click.echo(client.record_data(group, record_id), nl=False)
            return
        found = client.record(group, record_id, data=raw or None)
    answer(found, lambda: record_text(found), as_json=as_json)


@record.command(
    "list",
    epilog=examples("peerd record list pizza", "peerd record list pizza --type note --creator bob"),
)
@click.argument("group")
@type_option
@click.option("--creator", metavar="NAME", help="Only those that one member has made.")
@limit_option
@json_option
@pass_session
def list_all(
    session: Session,
    group: str,
    record_type: str | None,
    creator: str | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """List records in the order in which they were made."""

    def page(cursor: str | None, size: int) -> record_schema.Records:
        query = record_schema.RecordsQuery(
            cursor=cursor, limit=size, record_type=record_type, creator=creator
        )
        return client.records(group, query)

    with session.client() as client:
        found = _collected(page, limit)
    answer(record_schema.Records(records=found), lambda: records_table(found), as_json=as_json)


@record.command(
    epilog=examples(
        "peerd record update pizza 3f9a --text 'Friday at nine'",
        "peerd record update pizza 3f9a --attribute people:int=5 --remove-attribute place",
        "peerd record update pizza 3f9a --data-file - < oven.jpg",
    )
)
@click.argument("group")
@click.argument("record_id")
@data_file_option
@text_option
@attribute_option
@click.option(
    "--remove-attribute", "removed", multiple=True, metavar="NAME", help="Take these out. Can be repeated."
)
@expires_option
@valid_option
@click.option("--auto-refresh/--no-auto-refresh", default=None, help="Prolong it before it ends, or not.")
@if_version_option
@wait_option
@timeout_option
@json_option
@pass_session
def update(
    session: Session,
    group: str,
    record_id: str,
    data_file: str | None,
    text: str | None,
    attributes: tuple[Named, ...],
    removed: tuple[str, ...],
    expires: datetime | None,
    valid_s: int | None,
    auto_refresh: bool | None,
    if_version: str | None,
    wait_replicated: int,
    timeout_s: int,
    as_json: bool,
) -> None:
    """Change a record: what is not given stays as it is.

    Attributes are changed by name. If somebody else changes the record in the same moment, nothing happens,
    with exit code 6. An end can only be put off.
    """
    wish: dict[str, object] = {
        "expires": expires,
        "valid_s": valid_s,
        "auto_refresh": auto_refresh,
        "if_version": if_version,
        "wait_replicated": wait_replicated,
        "timeout_s": timeout_s,
    }
    data = _data(data_file, text)
    if data is not None:
        wish["data"] = base64url(data)
    with session.client() as client:
        if attributes or removed:
            before = client.record(group, record_id, data=False)
            kept = {name: value for name, value in before.attributes.items() if name not in removed}
            wish["attributes"] = kept | _gathered(attributes)
            wish["if_version"] = if_version or before.version_id
        written = client.change_record(group, record_id, record_schema.RecordChange(**wish))  # type: ignore[arg-type]
    answer(written, lambda: record_text(written), as_json=as_json)


@record.command(epilog=examples("peerd record delete pizza 3f9a"))
@click.argument("group")
@click.argument("record_id")
@if_version_option
@wait_option
@timeout_option
@json_option
@pass_session
def delete(
    session: Session,
    group: str,
    record_id: str,
    if_version: str | None,
    wait_replicated: int,
    timeout_s: int,
    as_json: bool,
) -> None:
    """Delete a record, on all nodes."""
    query = record_schema.WriteQuery(
        if_version=if_version, wait_replicated=wait_replicated, timeout_s=timeout_s
    )
    with session.client() as client:
        gone = client.delete_record(group, record_id, query)
    answer(gone, lambda: f"deleted {gone.record_id}", as_json=as_json)


@record.command(
    epilog=examples(
        "peerd record search pizza 'people >= 3 and not title ~ \"draft*\"'",
        "peerd record search pizza 'record_type = \"note\" order by modified desc limit 10'",
        "peerd record search pizza --xml - < query.xml",
    )
)
@click.argument("group")
@click.argument("query")
@click.option("--xml", is_flag=True, help="QUERY is a file with a peersearch document; - reads stdin.")
@limit_option
@json_option
@pass_session
def search(session: Session, group: str, query: str, xml: bool, limit: int | None, as_json: bool) -> None:
    """Find records by their attributes and by what is known of them.

    Fields are attributes, and: record_id record_type version creator modified_by created modified expires
    size durable. Comparisons are = != < <= > >= and ~ for patterns with * and ?, joined by and, or, not
    and parentheses; exists FIELD; FIELD in (…). At the end may stand: order by FIELD desc, … limit N.
    """
    text = read_document(query) if xml else query

    def page(cursor: str | None, size: int) -> record_schema.Records:
        wish = record_schema.RecordSearch(
            query=None if xml else text, xml=text if xml else None, cursor=cursor, limit=size
        )
        return client.search_records(group, wish)

    with session.client() as client:
        found = _collected(page, limit)
    if not found and not as_json:
        say("Nothing was found.")
    answer(record_schema.Records(records=found), lambda: records_table(found), as_json=as_json)


def _collected(
    page: Callable[[str | None, int], record_schema.Records], limit: int | None
) -> list[record_schema.Record]:
    """The first `limit` records of a list that comes in pages, or all."""
    found: list[record_schema.Record] = []
    cursor: str | None = None
    while True:
        left = PAGE_LIMIT_MAX if limit is None else limit - len(found)
        part = page(cursor, min(left, PAGE_LIMIT_MAX))
        found += islice(part.records, left)
        cursor = part.next
        if cursor is None or len(found) == limit:
            return found


def _data(file: str | None, text: str | None) -> bytes | None:
    """The data that were given. Raises: UsageError."""
    if file is not None and text is not None:
        raise click.UsageError("Give one of --data-file and --text.")
    if text is not None:
        return text.encode("utf-8", "surrogateescape")
    if file is None:
        return None
    if file == STANDARD_STREAM and sys.stdin.isatty():
        say("reading the data from the terminal; end with Ctrl-D")
    return read_data(file)


def _gathered(attributes: Sequence[Named]) -> Values:
    """Attributes by name, with a list where a name stands more than once."""
    values: dict[str, list[AttributeValue]] = {}
    for name, value in attributes:
        values.setdefault(name, []).append(value)
    return {name: found[0] if len(found) == 1 else found for name, found in values.items()}
