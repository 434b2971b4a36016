"""Searches: the order of what is found, how much of it, and who is left out."""

from __future__ import annotations

import dataclasses
import itertools

from hypothesis import given, strategies as st

from protocol.records.attributes import DATE, INT, STRING, Attribute, canonical_attributes
from protocol.records.expression import parse_expression
from protocol.records.predicate import ByPeer, Exists, Field, RecordFacts, built_in, matches
from protocol.records.search import Order, Query, named, select
from tests.support.searches import NOW_S, PIDS, queries, record_sets

BLANK = RecordFacts(
    record_id=bytes(16),
    record_type="note",
    version=1,
    creator=PIDS[0],
    modified_by=PIDS[0],
    created=0,
    modified=0,
    expires=None,
    size=0,
    attributes=(),
)


def record(number: int, *entries: tuple[str, int, int | str], **changed: object) -> RecordFacts:
    attributes = canonical_attributes(Attribute(*entry) for entry in entries)
    return dataclasses.replace(
        BLANK,
        record_id=number.to_bytes(16, "big"),
        attributes=attributes,
        **changed,  # type: ignore[arg-type]
    )


def numbers(query: str, *records: RecordFacts, now_s: int = NOW_S) -> list[int]:
    found = select(parse_expression(query), records, now_s)
    return [int.from_bytes(one.record_id, "big") for one in found]


def test_records_come_as_they_were_made_unless_an_order_is_asked_for():
    records = [record(1, created=7), record(2, created=5), record(3, created=6)]
    assert numbers("", *records) == [2, 3, 1]
    assert numbers("order by record_id", *records) == [1, 2, 3]
    assert numbers("order by created desc", *records) == [1, 3, 2]


def test_ten_newest():
    records = [record(number, modified=number) for number in range(20)]
    assert numbers("order by modified desc limit 10", *records) == list(range(19, 9, -1))


def test_absent_comes_last_up_and_down():
    records = [record(1), record(2, ("n", INT, 5)), record(3, ("n", INT, 7)), record(4)]
    assert numbers("order by n", *records) == [2, 3, 1, 4]
    assert numbers("order by n desc", *records) == [3, 2, 1, 4]


def test_durable_records_come_last_by_their_end():
    records = [record(1), record(2, expires=NOW_S + 9), record(3, expires=NOW_S + 5)]
    assert numbers("order by expires", *records) == [3, 2, 1]
    assert numbers("order by expires desc", *records) == [2, 3, 1]


def test_smallest_entry_counts_upwards_and_largest_downwards():
    records = [record(1, ("n", INT, 1), ("n", INT, 9)), record(2, ("n", INT, 2)), record(3, ("n", INT, 8))]
    assert numbers("order by n", *records) == [1, 2, 3]
    assert numbers("order by n desc", *records) == [1, 3, 2]


def test_kinds_stand_in_the_order_of_their_codes():
    records = [
        record(1, ("n", DATE, 0)),
        record(2, ("n", STRING, "")),
        record(3, ("n", INT, 10)),
        record(4, ("n", INT, 9)),
    ]
    assert numbers("order by n", *records) == [4, 3, 2, 1]


def test_second_field_orders_what_the_first_leaves_equal_and_the_id_the_rest():
    records = [
        record(4, ("n", INT, 1), size=1),
        record(3, ("n", INT, 1), size=1),
        record(2, ("n", INT, 1), size=2),
        record(1, ("n", INT, 2), size=0),
    ]
    assert numbers("order by n desc, size desc", *records) == [1, 2, 3, 4]


def test_record_is_found_until_the_second_of_its_end():
    ending = record(1, expires=NOW_S)
    assert numbers("", ending, now_s=NOW_S - 1) == [1]
    assert numbers("", ending, now_s=NOW_S) == []


@given(queries(), record_sets(), st.randoms(use_true_random=False))
def test_what_is_found_depends_on_the_set_of_records_alone(query, records, rng):
    shuffled = records[:]
    rng.shuffle(shuffled)
    assert select(query, records, NOW_S) == select(query, shuffled, NOW_S)


@given(queries(), record_sets())
def test_exactly_what_matches_is_found(query, records):
    unlimited = dataclasses.replace(query, limit=None)
    found = select(unlimited, records, NOW_S)
    for one in records:
        live = one.expires is None or one.expires > NOW_S
        assert (one in found) == (live and (query.where is None or matches(query.where, one)))
    assert len(found) == len({one.record_id for one in found})
    assert select(query, records, NOW_S) == found[: query.limit]


def test_keys_of_one_authority_still_have_an_order():
    records = [
        dataclasses.replace(BLANK, record_id=bytes([number]) * 16, creator=pid)
        for number, pid in enumerate(reversed(PIDS))
    ]
    found = select(Query(order=(Order(built_in("creator")),)), records, NOW_S)
    assert all(one.creator < other.creator for one, other in itertools.pairwise(found))


@dataclasses.dataclass
class Everybody:
    """Whatever a name is, it means these."""

    pids: list[bytes]

    def meant(self, text: str) -> list[bytes]:
        return self.pids

    def fitting(self, pattern: str) -> list[bytes]:
        return self.pids


def test_names_in_a_query_are_looked_up():
    query = parse_expression('creator = "alice" order by size limit 3')
    assert named(query, Everybody([PIDS[0]])) == dataclasses.replace(
        query, where=ByPeer(built_in("creator"), (PIDS[0],))
    )
    assert named(Query(), Everybody([])) == Query()
    exists = Query(Exists(Field("a")))
    assert named(exists, Everybody([])) == exists
