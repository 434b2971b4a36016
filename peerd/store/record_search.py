"""Searching a group's shown records, a page at a time.

A search reads from a connection of its own, so that it sees one state of the file and nobody waits for it,
and it is stopped when it takes too long. Run it in a worker thread.

*Where it begins.* Of the conditions that must all hold, those that an index can answer are tried: how many
records would each leave? The one that leaves fewest is where the search begins, unless all of them leave
many; then the records are read in the order that is asked for, until the page is full.

*Pages.* A cursor names the place behind a page by the values that the last record had there, not by a count:
a record that stays as it is comes exactly once, whatever is written between two pages. One that moves in the
order meanwhile comes where it is when that page is read.
"""

from __future__ import annotations

import base64
import binascii
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import apsw

from peerd.store.database import Database, Row
from peerd.store.search_sql import Bindings, Key, ascending, behind, condition, key, source
from protocol.codec import decode_untrusted, encode
from protocol.errors import RemoteProtocolError, RuleError
from protocol.ids import tagged_hash
from protocol.limits import SEARCH_CURSOR_BYTES_MAX, SEARCH_MS_MAX, SEARCH_PAGE_MAX
from protocol.records.attributes import INT_MAX, INT_MIN
from protocol.records.predicate import And, Predicate
from protocol.records.record import RECORD_ID_BYTES
from protocol.records.search import Query

_FEW = 2_000  # records that are sooner looked up one by one than met in an order
_TRIED_MAX = 16  # conditions for which an index is asked how many records they leave
_AGAIN_S = 0.05
_CURSOR_TAG = "peerd/search-cursor/1"
_CURSOR_TAG_BYTES = 8

Place = tuple[bytes | str | int | None, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """A record that matches, and its version that is shown."""

    record_id: bytes
    version_id: bytes


@dataclass(frozen=True, slots=True)
class Page:
    """Some of what a search finds, in order; `cursor` leads to the next page, None behind the last."""

    found: tuple[Found, ...]
    cursor: str | None


def search_records(
    database: Database,
    query: Query,
    *,
    now_s: int,
    page: int,
    cursor: str | None = None,
    ms_max: int = SEARCH_MS_MAX,
) -> Page:
    """The first `page` records that a query finds at the second `now_s`, or those behind a cursor that the
    same query gave. Names in it have been looked up (`search.named`).

    Raises: RuleError (invalid-search for one that takes too long, invalid-argument for a cursor that is none
    of this order), and what `Database` raises.
    """
    assert 0 < page <= SEARCH_PAGE_MAX
    left, place = (query.limit, None) if cursor is None else _read_cursor(cursor, query)
    wanted = page if left is None else min(page, left)
    with database.reading() as connection, _stopped_after(connection, ms_max):
        try:
            rows = _rows(connection, query, now_s, place, wanted + 1)
        except apsw.InterruptError:
            raise RuleError(
                "invalid-search",
                f"the search took longer than {ms_max} ms and was stopped",
                hint="ask for less at once: name a type, a creator, or the exact value of an attribute",
            ) from None
    found = tuple(Found(record_id, version_id) for record_id, version_id, *_ in rows[:wanted])
    left = None if left is None else left - len(found)
    if len(rows) <= wanted or left == 0:
        return Page(found, None)
    return Page(found, _write_cursor(query, left, (*rows[wanted - 1][2:], found[-1].record_id)))


@contextmanager
def _stopped_after(connection: apsw.Connection, ms: int) -> Iterator[None]:
    """Interrupt what runs for too long.

    SQLite could look at the clock itself, by a function of ours; but each look would wait for the
    interpreter, and a search beside a busy loop would spend its time waiting.
    """
    over = threading.Event()

    def stop() -> None:
        wait_s = ms / 1000
        while not over.wait(wait_s):
            connection.interrupt()
            wait_s = _AGAIN_S  # between two statements it has no effect

    watch = threading.Thread(target=stop, name="search deadline", daemon=True)
    watch.start()
    try:
        yield
    finally:
        over.set()
        watch.join()


# --- the statement ------------------------------------------------------------------------------------------


def _rows(
    connection: apsw.Connection, query: Query, now_s: int, place: Place | None, limit: int
) -> list[Row]:
    """Ids, version ids and keys of the next records."""
    start = None if query.where is None else _best_start(connection, query.where)
    sql, bindings = statement(query, start, now_s, place, limit)
    return connection.execute(sql, bindings).fetchall()


def statement(
    query: Query, start: Predicate | None, now_s: int, place: Place | None, limit: int
) -> tuple[str, list[bytes | str | int | None]]:
    """The SQL of one page and its values; `start` is the condition whose source is read from."""
    bindings = Bindings()
    keys = [key(order, bindings) for order in query.keys]
    conditions = [f"(s.expires IS NULL OR s.expires > {bindings.bind(now_s)})"]
    if start is not None:
        conditions.insert(0, f"s.arrival IN ({source(start, bindings)})")
    if query.where is not None:
        conditions.append(condition(query.where, bindings))
    record_id = Key("s.record_id", descending=False, plain=True, of_attribute=False)
    # The key of an attribute is looked up once for each record, before any two are compared.
    apart = any(one.of_attribute for one in keys)
    names = [f"key{number}" if apart else one.sql for number, one in enumerate(keys)]
    names.append("record_id" if apart else record_id.sql)
    shown_keys = "".join(f", {one.sql} AS key{number}" for number, one in enumerate(keys))
    rows = f"SELECT s.record_id, s.version_id{shown_keys} FROM shown s WHERE {' AND '.join(conditions)}"  # noqa: S608
    if apart:
        rows = f"WITH found AS MATERIALIZED ({rows}) SELECT * FROM found WHERE 1"  # noqa: S608
    keys.append(record_id)
    if place is not None:
        rows += f" AND {behind(names, keys, place, bindings)}"
    rows += f" ORDER BY {ascending(names, keys)} LIMIT {bindings.bind(limit)}"
    return rows, bindings.values


def _best_start(connection: apsw.Connection, where: Predicate) -> Predicate | None:
    """Which of the conditions that must all hold leaves the fewest records; None where all leave many."""
    best, fewest = None, _FEW + 1
    for part in _conjuncts(where)[:_TRIED_MAX]:
        bindings = Bindings()
        rows = source(part, bindings)
        if rows is None:
            continue
        counting = f"SELECT count(*) FROM ({rows} LIMIT {bindings.bind(fewest)})"  # noqa: S608
        ((count,),) = connection.execute(counting, bindings.values)
        if count < fewest:
            best, fewest = part, count
    return best


def _conjuncts(where: Predicate) -> list[Predicate]:
    if not isinstance(where, And):
        return [where]
    return [one for part in where.parts for one in _conjuncts(part)]


# --- cursors ------------------------------------------------------------------------------------------------


def _order_tag(query: Query) -> bytes:
    orders = [[one.field.name, one.field.built_in, one.descending] for one in query.keys]
    return tagged_hash(_CURSOR_TAG, encode(orders))[:_CURSOR_TAG_BYTES]


def _write_cursor(query: Query, left: int | None, place: Place) -> str:
    packed = encode([_order_tag(query), left, list(place)])
    assert len(packed) <= SEARCH_CURSOR_BYTES_MAX
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode("ascii")


def _read_cursor(cursor: str, query: Query) -> tuple[int | None, Place]:
    """What is left of the query's limit, and the place. Raises: RuleError (invalid-argument)."""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        packed = base64.b64decode(padded, altchars=b"-_", validate=True)
        value = decode_untrusted(packed, bytes_max=SEARCH_CURSOR_BYTES_MAX)
    except (UnicodeEncodeError, binascii.Error, ValueError, RemoteProtocolError):
        raise _not_a_cursor() from None
    match value:
        case [tag, None | int() as left, [*values, bytes(record_id)]] if (
            tag == _order_tag(query)
            and (left is None) == (query.limit is None)
            and (left is None or 0 < left <= (query.limit or 0))
            and len(values) == len(query.keys)
            and len(record_id) == RECORD_ID_BYTES
            and all(map(_can_be_bound, values))
        ):
            return left, (*values, record_id)
        case _:
            raise _not_a_cursor()


def _can_be_bound(value: Any) -> bool:
    if isinstance(value, int):
        return INT_MIN <= value <= INT_MAX
    return value is None or isinstance(value, bytes | str)


def _not_a_cursor() -> RuleError:
    return RuleError(
        "invalid-argument",
        "the cursor is none that a search in this order gave",
        hint="search again without a cursor, and follow the one in the answer",
    )
