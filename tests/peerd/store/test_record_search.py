"""Searching the file: the same as the definition in memory, page by page, while others write, and in time."""

from __future__ import annotations

import base64
import itertools
import threading
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, strategies as st

from peerd.errors import StoreError
from peerd.store.group_store import GroupStore
from peerd.store.record_search import search_records
from protocol.codec import decode_untrusted, encode
from protocol.errors import RuleError
from protocol.records.attributes import INT, INT_MAX, STRING, Attribute, canonical_attributes
from protocol.records.expression import parse_expression
from protocol.records.patterns import fits
from protocol.records.predicate import (
    Field,
    Like,
    Or,
    RecordFacts,
    facts_of,
)
from protocol.records.record_set import State
from protocol.records.search import Query, named, select
from tests.peerd.store.disks import disk
from tests.peerd.store.searched import File, ids, pages, record
from tests.support.builders import NOW
from tests.support.records import Writer, circle
from tests.support.searches import NOW_S, queries, record_sets

Shown = tuple[RecordFacts, ...]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    file = File(tmp_path_factory.mktemp("search") / "group.db")
    yield file
    file.database.close()


# --- the same as the definition ---------------------------------------------------------------------------


@given(query=queries(), records=record_sets())
def test_file_finds_what_the_definition_finds_in_its_order(file, query, records):
    file.holds(records)
    assert file.ids(query) == ids(select(query, records, NOW_S))


@given(query=queries(), records=record_sets(), page=st.integers(1, 3))
def test_pages_one_after_the_other_are_the_whole(file, query, records, page):
    file.holds(records)
    assert pages(file, query, page) == ids(select(query, records, NOW_S))


class Names:
    """Of the circle, who wrote something."""

    def meant(self, text: str) -> list[bytes]:
        return [Writer.of(circle(), text).pid]

    def fitting(self, pattern: str) -> list[bytes]:
        return [pid for name in ("dave", "erin") if fits(pattern, name) for pid in self.meant(name)]


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
        'creator ~ "?a*"',
        'not modified_by ~ "*n"',
        'not creator = "dave" and record_type = "task"',
        "durable = true",
    ):
        query = named(parse_expression(text), Names())
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


def test_search_that_takes_too_long_is_stopped_and_says_so(file):
    # Left alone it would take minutes: each text is compared with each pattern at each of its places.
    file.holds(record(number, ("a", STRING, "a" * 4000)) for number in range(200))
    slow = Or(tuple(Like(Field("a"), f"*{'a' * 1000}{number}") for number in range(100)))
    with pytest.raises(RuleError) as caught:
        search_records(file.database, Query(slow), now_s=NOW_S, page=5, ms_max=1)
    assert caught.value.code == "invalid-search"
    assert caught.value.detail == "the search took longer than 1 ms and was stopped"
    assert caught.value.hint
    assert len(file.ids("not a ~ '*b*'")) == 200, "the file can be searched again"


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
