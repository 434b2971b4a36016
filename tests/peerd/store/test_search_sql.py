"""Searches as SQL: conditions mean what predicates mean, and indexes are used where they help."""

from __future__ import annotations

import pytest
from hypothesis import example, given, strategies as st

from peerd.store.record_search import Place, statement
from peerd.store.search_sql import Bindings, source
from protocol.limits import SEARCH_DEPTH_MAX, SEARCH_PAGE_MAX, SEARCH_TERMS_MAX
from protocol.records.attributes import INT, STRING
from protocol.records.expression import parse_expression
from protocol.records.predicate import And, Compare, Field, Like, Not, Op, Or, Predicate
from protocol.records.search import Order, Query, select
from tests.peerd.store.searched import File, ids, pages, record
from tests.support.searches import NOW_S, PIDS, TEXTS, patterns, record_sets, resolved_predicates


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    file = File(tmp_path_factory.mktemp("search") / "group.db")
    yield file
    file.database.close()


# --- meaning ----------------------------------------------------------------------------------------------


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


@given(pattern=patterns(), text=st.sampled_from(TEXTS) | st.text("ab*?[]^-", max_size=8))
@example(pattern="\U0010ffff*", text="\U0010ffff\U0010ffff")
@example(pattern="\ud7ff*", text="\ue000")
@example(pattern="\ud7ff*", text="\ud7ffx")
def test_pattern_means_in_the_file_what_it_means_in_memory(file, pattern, text):
    records = [record(1, ("a", STRING, text))]
    file.holds(records)
    query = Query(Like(Field("a"), pattern))
    assert file.ids(query) == ids(select(query, records, NOW_S))


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
