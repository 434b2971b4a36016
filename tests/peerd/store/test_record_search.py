"""Searching the file: the same as the definition in memory, page by page, while others write, and in time."""

from __future__ import annotations

import base64
import itertools
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings, strategies as st

from peerd.errors import StoreError
from peerd.store.database import Database
from peerd.store.group_store import GroupStore
from peerd.store.migrations import GROUP_SCHEMA
from peerd.store.record_search import Page, Place, search_records, statement
from peerd.store.search_sql import Bindings, source
from protocol.codec import decode_untrusted, encode
from protocol.errors import RuleError
from protocol.limits import SEARCH_DEPTH_MAX, SEARCH_MS_MAX, SEARCH_PAGE_MAX, SEARCH_TERMS_MAX
from protocol.records.attributes import INT, INT_MAX, STRING, Attribute, canonical_attributes
from protocol.records.expression import parse_expression
from protocol.records.predicate import (
    And,
    Compare,
    Field,
    Like,
    Not,
    Op,
    Or,
    Predicate,
    RecordFacts,
    facts_of,
)
from protocol.records.record_set import State
from protocol.records.search import Order, Query, named, select
from tests.peerd.store.disks import disk
from tests.support.builders import NOW
from tests.support.records import Writer, circle
from tests.support.searches import NOW_S, PIDS, TEXTS, patterns, queries, record_sets, resolved_predicates

Shown = tuple[RecordFacts, ...]


class File:
    """A group's file in which just the tables that are searched are filled."""

    def __init__(self, path: Path, vfs: str | None = None) -> None:
        self.database = Database(path, GROUP_SCHEMA, vfs=vfs)
        self._arrivals = itertools.count(1)

    def holds(self, records: Iterable[RecordFacts]) -> None:
        """Show these records and no others."""
        with self.database.transaction():
            self.database.write("DELETE FROM shown")
            self.database.write("DELETE FROM attributes")
            for facts in records:
                self._insert(facts)

    def show(self, facts: RecordFacts) -> None:
        """Show one more, or a record's next version."""
        with self.database.transaction():
            where = "arrival IN (SELECT arrival FROM shown WHERE record_id = ?)"
            for table in ("attributes", "shown"):
                self.database.write(f"DELETE FROM {table} WHERE {where}", (facts.record_id,))
            self._insert(facts)

    def _insert(self, facts: RecordFacts) -> None:
        arrival = next(self._arrivals)
        self.database.write(
            "INSERT INTO shown (arrival, record_id, version_id, type, creator, author, created, modified,"
            " hlc, expires, version, size, check_number) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, 0)",
            (
                arrival, facts.record_id, facts.record_id * 2, facts.record_type, facts.creator,
                facts.modified_by, facts.created, facts.modified, facts.expires, facts.version, facts.size,
            ),
        )  # fmt: skip
        for position, (name, kind, value) in enumerate(facts.attributes):
            number, text = (None, value) if kind == STRING else (value, None)
            self.database.write(
                "INSERT INTO attributes VALUES (?, ?, ?, ?, ?, ?)",
                (arrival, position, name, kind, number, text),
            )

    def page(self, query: Query | str, page: int = SEARCH_PAGE_MAX, cursor: str | None = None) -> Page:
        if isinstance(query, str):
            query = parse_expression(query)
        return search_records(self.database, query, now_s=NOW_S, page=page, cursor=cursor)

    def ids(self, query: Query | str) -> list[bytes]:
        found = self.page(query)
        assert found.cursor is None
        assert all(one.version_id == one.record_id * 2 for one in found.found)
        return [one.record_id for one in found.found]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    file = File(tmp_path_factory.mktemp("search") / "group.db")
    yield file
    file.database.close()


def ids(records: Iterable[RecordFacts]) -> list[bytes]:
    return [facts.record_id for facts in records]


def pages(file: File, query: Query, page: int) -> list[bytes]:
    """All pages, one after the other."""
    found, cursor = [], None
    while True:
        one = file.page(query, page, cursor)
        assert len(one.found) <= page
        found += [record.record_id for record in one.found]
        if one.cursor is None:
            return found
        assert len(one.found) == page, "only the last page is not full"
        cursor = one.cursor


def record(number: int, *entries: tuple[str, int, int | str], **changed: object) -> RecordFacts:
    blank = RecordFacts(
        bytes([number]) * 16, "note", 1, PIDS[0], PIDS[0], number, number, None, 0,
        canonical_attributes(Attribute(*entry) for entry in entries),
    )  # fmt: skip
    return replace(blank, **changed)  # type: ignore[arg-type]


# --- the same as the definition ---------------------------------------------------------------------------


@settings(max_examples=120)
@given(query=queries(), records=record_sets())
def test_file_finds_what_the_definition_finds_in_its_order(file, query, records):
    file.holds(records)
    assert file.ids(query) == ids(select(query, records, NOW_S))


@settings(max_examples=60)
@given(query=queries(), records=record_sets(), page=st.integers(1, 3))
def test_pages_one_after_the_other_are_the_whole(file, query, records, page):
    file.holds(records)
    assert pages(file, query, page) == ids(select(query, records, NOW_S))


@settings(max_examples=60)
@given(where=resolved_predicates(), records=record_sets())
def test_wherever_a_search_begins_it_finds_the_same(file, where, records):
    file.holds(records)
    query = Query(where)
    expected = ids(select(query, records, NOW_S))
    starts: list[Predicate | None] = [None]
    if source(where, Bindings()) is not None:
        starts.append(where)
    for start in starts:
        sql, bindings = statement(query, start, NOW_S, None, SEARCH_PAGE_MAX)
        with file.database.reading() as connection:
            assert [row[0] for row in connection.execute(sql, bindings)] == expected


@settings(max_examples=120)
@given(pattern=patterns(), text=st.sampled_from(TEXTS) | st.text("ab*?[]^-", max_size=8))
@example(pattern="\U0010ffff*", text="\U0010ffff\U0010ffff")
@example(pattern="\ud7ff*", text="\ue000")
@example(pattern="\ud7ff*", text="\ud7ffx")
def test_pattern_means_in_the_file_what_it_means_in_memory(file, pattern, text):
    records = [record(1, ("a", STRING, text))]
    file.holds(records)
    query = Query(Like(Field("a"), pattern))
    assert file.ids(query) == ids(select(query, records, NOW_S))


# --- what a group's store shows ---------------------------------------------------------------------------


def test_store_finds_the_records_that_it_shows(tmp_path):
    store, dave, erin = (
        GroupStore(tmp_path / "group.db"),
        *(Writer.of(circle(), name) for name in ("dave", "erin")),
    )
    made = [
        dave.add(
            "note",
            canonical_attributes((Attribute("priority", INT, 3), Attribute("title", STRING, "draft 1"))),
        ),
        dave.add(
            "note", canonical_attributes((Attribute("priority", INT, 10), Attribute("title", STRING, "plan")))
        ),
        erin.add("task", canonical_attributes((Attribute("priority", INT, 9),)), b"body", life_s=60),
    ]
    changed = dave.update(made[0], attributes=canonical_attributes((Attribute("title", STRING, "final"),)))
    _show(store, *made)
    _show(store, changed)
    store.begin()
    store.hide(made[1].header.record_id)
    store.commit()
    headers = [changed.header, made[2].header]
    for text in (
        "",
        "priority >= 9",
        'title ~ "f*" or title = "draft 1"',
        "expires < 2100-01-01 and size = 4",
        'creator = "dave" order by modified desc',
        'not creator = "dave" and record_type = "task"',
        "durable = true",
    ):
        query = named(parse_expression(text), lambda name: [Writer.of(circle(), name).pid])
        expected = select(query, map(facts_of, headers), NOW.utc_s)
        found = store.search(query, now_s=NOW.utc_s, page=10).found
        assert [one.record_id for one in found] == ids(expected)
        assert {one.version_id for one in found} <= {header.id for header in headers}
    assert made[2].header.expires is not None
    (left,) = store.search(Query(), now_s=made[2].header.expires, page=10).found
    assert (left.record_id, left.version_id) == (changed.header.record_id, changed.header.id)
    store.close()


def _show(store, *items):
    store.begin()
    for item in items:
        store.put_version(item.header, State.KEPT, NOW.utc_ms)
        store.show(item.header)
    store.commit()


# --- pages ------------------------------------------------------------------------------------------------


def test_limit_of_a_query_is_counted_over_its_pages(file):
    file.holds(record(number) for number in range(9))
    assert len(pages(file, parse_expression("limit 7"), 3)) == 7
    assert len(pages(file, parse_expression("limit 6"), 3)) == 6
    assert len(pages(file, parse_expression("limit 20"), 3)) == 9


@pytest.mark.parametrize("order", ["", "order by n", "order by n desc", "order by expires, n desc"])
def test_what_does_not_change_comes_once_whatever_is_written_between_pages(file, order):
    records = [record(number, ("n", INT, number % 3)) for number in range(2, 40, 2)]
    file.holds(records)
    query, found, cursor = parse_expression(order), [], None
    for number in itertools.count(1, 2):
        one = file.page(query, 3, cursor)
        found += [two.record_id for two in one.found]
        if one.cursor is None:
            break
        cursor = one.cursor
        file.show(record(number, ("n", INT, number % 5)))
        file.show(replace(records[0], attributes=(Attribute("n", INT, number),)))
    steady = ids(records[1:])
    assert sorted(one for one in found if one in steady) == sorted(steady)


def test_record_before_which_a_page_ended_may_be_gone_when_the_next_is_read(file):
    records = [record(number) for number in range(6)]
    file.holds(records)
    first = file.page("", 2)
    file.holds([*records[:1], *records[3:]])
    assert [one.record_id for one in file.page("", 9, first.cursor).found] == ids(records[3:])


def place_of(cursor: str) -> list:
    return decode_untrusted(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)), bytes_max=10_000)


def cursor_of(value: object) -> str:
    return base64.urlsafe_b64encode(encode(value)).rstrip(b"=").decode()


def not_a_cursor(file: File, query: str, cursor: str) -> bool:
    with pytest.raises(RuleError) as caught:
        file.page(query, 2, cursor)
    return caught.value.code == "invalid-argument" and bool(caught.value.hint)


def test_cursor_leads_on_in_the_order_that_it_was_given_for(file):
    file.holds(record(number) for number in range(6))
    cursor = file.page("order by size, n limit 5", 2).cursor
    assert cursor is not None
    for other in (
        "order by size limit 5",
        "order by n, size limit 5",
        "order by size, n desc limit 5",
        "limit 5",
    ):
        assert not_a_cursor(file, other, cursor)
    assert not_a_cursor(file, "order by size, n", cursor)
    assert not_a_cursor(file, "order by size, n limit 2", cursor)


@given(
    st.text(max_size=40) | st.binary(max_size=40).map(lambda data: base64.urlsafe_b64encode(data).decode())
)
def test_any_text_is_no_cursor(file, text):
    assert not_a_cursor(file, "", text)


def test_cursor_that_somebody_made_up_is_refused_or_leads_somewhere(file):
    file.holds(record(number) for number in range(6))
    cursor = file.page("order by n limit 5", 2).cursor
    assert cursor is not None
    tag, left, place = place_of(cursor)
    assert left == 3
    bad: tuple[Any, ...] = (
        [b"12345678", left, place], [tag, 0, place], [tag, 6, place], [tag, -1, place], [tag, None, place],
        [tag, left, place[:1]], [tag, left, [*place, 1]], [tag, left, [None, b"short"]], [tag, left, []],
        [tag, left, [INT_MAX + 1, place[-1]]], [tag, left, [[1], place[-1]]], [tag, left], [], 5, None, {},
        [tag, left, [None, "text"]], [tag, True, place, 1],
    )  # fmt: skip
    for value in bad:
        assert not_a_cursor(file, "order by n limit 5", cursor_of(value))
    for odd in ("", "9", 5, -(2**63), b"", None):
        assert len(file.page("order by n limit 5", 2, cursor_of([tag, left, [odd, bytes(16)]])).found) <= 2


# --- time and failure -------------------------------------------------------------------------------------


def ticking(step_s: float) -> Callable[[], float]:
    """A clock that goes on by so much whenever somebody looks."""
    return itertools.count(0, step_s).__next__


def test_search_that_takes_too_long_is_stopped_and_says_so(file):
    file.holds(record(number, ("a", STRING, "a" * 50)) for number in range(200))
    query = parse_expression("a ~ '*b*'")
    assert search_records(file.database, query, now_s=NOW_S, page=5, clock_s=ticking(0)).found == ()
    with pytest.raises(RuleError) as caught:
        search_records(file.database, query, now_s=NOW_S, page=5, clock_s=ticking(SEARCH_MS_MAX))
    assert caught.value.code == "invalid-search"
    assert caught.value.detail == f"the search took longer than {SEARCH_MS_MAX} ms and was stopped"
    assert caught.value.hint
    assert len(file.ids("not a ~ '*b*'")) == 200, "the file can be searched again"


def test_largest_queries_can_be_asked(file):
    file.holds([record(1, ("a", STRING, "x"), ("b", INT, 1)), record(2)])
    compare = Compare(Field("a"), STRING, Op.NOT_EQUAL, "y")
    deep: Predicate = compare
    for number in range(SEARCH_DEPTH_MAX):
        deep = Not(And((deep, deep))) if number < 7 else Not(deep)
    wide = tuple(Like(Field("a"), f"x*{number}") for number in range(SEARCH_TERMS_MAX - 1))
    orders = tuple(Order(Field(f"n{number}")) for number in range(8))
    some = tuple(Like(Field("a"), f"?*{'*' * (number % 9)}") for number in range(SEARCH_TERMS_MAX))
    narrow = (And(some), And((Not(And(some)), deep)))
    for where in (deep, Or((*wide, compare)), And((Or(wide), compare)), Not(Or(wide)), *narrow):
        query = Query(where, orders)
        records = [record(1, ("a", STRING, "x"), ("b", INT, 1)), record(2)]
        assert file.ids(query) == ids(select(query, records, NOW_S))
        assert pages(file, query, 1) == ids(select(query, records, NOW_S))


def test_hostile_pattern_against_hostile_text_costs_no_more_than_its_lengths(file):
    file.holds([record(1, ("a", STRING, "a" * 4000))])
    assert file.ids(Query(Like(Field("a"), "*a" * 15 + "*b"))) == []
    assert file.ids(Query(Like(Field("a"), "*[" * 15 + "*b"))) == []


def test_searches_go_on_beside_an_open_transaction_and_each_other(file):
    records = [record(number) for number in range(50)]
    file.holds(records)
    outcomes: list[list[bytes]] = []
    with file.database.transaction():
        file.database.write("DELETE FROM shown")
        threads = [threading.Thread(target=lambda: outcomes.append(file.ids(""))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert outcomes == [ids(records)] * 4
    assert file.ids("") == []


def test_failing_disk_is_told_as_everywhere(tmp_path):
    with disk() as disk_:
        file = File(tmp_path / "group.db", vfs=disk_.name)
        file.holds(record(number) for number in range(5))

        disk_.unreadable = True
        with pytest.raises(StoreError):
            file.page("")
        disk_.unreadable = False
        with pytest.raises(StoreError, match="since"):
            file.page("")
        file.database.close()


# --- how it is found --------------------------------------------------------------------------------------


def plan(file: File, text: str, place: Place | None = None, start: bool = True) -> str:
    """How SQLite means to go about a query."""
    query = parse_expression(text)
    sql, bindings = statement(query, query.where if start else None, NOW_S, place, 11)
    with file.database.reading() as connection:
        return "\n".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", bindings))


@pytest.mark.parametrize(
    "text, index",
    [
        ('a = "x"', "attributes_by_text (name=? AND text=?)"),
        ("a = 1", "attributes_by_number (name=? AND number=?)"),
        ("a > 1", "attributes_by_number (name=? AND number>?)"),
        ("a != 1", "attributes_by_number (name=?"),
        ('a != "x"', "attributes_by_text (name=?"),
        ("a > 2026-01-01", "attributes_by_number (name=? AND number>?)"),
        ('a ~ "draft*"', "attributes_by_text (name=? AND text>? AND text<?)"),
        ("exists a", "attributes_by_text (name=?"),
        ('record_type = "note"', "shown_by_type (type=?)"),
        (f'creator = "{PIDS[0].hex()[:40]}"', "shown_by_creator (creator>? AND creator<?)"),
        ("created > 2026-01-01", "shown_by_created (created>?)"),
        ("modified > 2026-01-01", "shown_by_modified (modified>?)"),
    ],
)
def test_search_that_leaves_few_records_begins_at_an_index(file, text, index):
    told = plan(file, text)
    assert index in told
    assert "rowid=?" in told


@pytest.mark.parametrize(
    "text, place",
    [
        ("", None),
        ("", (1, bytes(16))),
        ("order by modified desc", None),
        ("order by modified desc", (1, bytes(16))),
        ("not a = 1", None),
        ('record_type = "note"', None),
        (f'creator = "{PIDS[0].hex()[:40]}"', None),
    ],
)
def test_list_is_read_in_its_order_from_its_place(file, text, place):
    told = plan(file, text, place, start=False)
    assert "s USING INDEX shown_by_" in told
    assert ("SEARCH s" in told) == (place is not None)
    assert "TEMP B-TREE FOR ORDER BY" not in told


def test_record_is_looked_through_by_its_own_attributes_alone(file):
    told = plan(file, 'a >= 1 and b ~ "x*" and not c = "y"', start=False)
    assert "attributes_by" not in told
    assert told.count("USING PRIMARY KEY (arrival=?)") == 3
