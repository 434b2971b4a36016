"""What comparisons mean: kinds, repeated attributes, a record's own facts, and the names of peers."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping

import pytest
from hypothesis import given

from protocol.errors import RuleError
from protocol.limits import SEARCH_PEERS_MAX
from protocol.records.attributes import DATE, INT, STRING, Attribute, canonical_attributes
from protocol.records.patterns import fits
from protocol.records.predicate import (
    BUILT_IN,
    And,
    ByPeer,
    Compare,
    Exists,
    Field,
    Like,
    Not,
    Op,
    Or,
    Predicate,
    RecordFacts,
    built_in,
    facts_of,
    matches,
    with_names,
)
from tests.support.records import headers
from tests.support.searches import PIDS, facts, predicates

RECORD = RecordFacts(
    record_id=bytes(15) + b"\xab",
    record_type="note",
    version=3,
    creator=b"\xaa" * 32,
    modified_by=b"\xbb" * 32,
    created=1000,
    modified=2000,
    expires=None,
    size=9,
    attributes=canonical_attributes(
        (
            Attribute("n", INT, 9),
            Attribute("n", STRING, "10"),
            Attribute("tag", STRING, "a"),
            Attribute("tag", STRING, "b"),
            Attribute("due", DATE, 5000),
            Attribute("version", INT, 70),
        )
    ),
)
N, TAG, DUE = Field("n"), Field("tag"), Field("due")


def holds(predicate: Predicate, record: RecordFacts = RECORD) -> bool:
    return matches(predicate, record)


# --- comparisons ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "op, less, equal, greater",
    [
        (Op.EQUAL, False, True, False),
        (Op.NOT_EQUAL, True, False, True),
        (Op.LESS, True, False, False),
        (Op.LESS_OR_EQUAL, True, True, False),
        (Op.GREATER, False, False, True),
        (Op.GREATER_OR_EQUAL, False, True, True),
    ],
)
def test_six_operators_on_three_kinds(op, less, equal, greater):
    for field, kind, values in (
        (N, INT, (10, 9, 8)),
        (DUE, DATE, (5001, 5000, 4999)),
        (N, STRING, ("9", "10", "1")),
    ):
        assert [holds(Compare(field, kind, op, value)) for value in values] == [less, equal, greater]


def test_nine_is_less_than_ten_as_a_number_and_more_as_text():
    assert holds(Compare(N, INT, Op.LESS, 10))
    assert not holds(Compare(N, STRING, Op.LESS, "1"))
    assert holds(Compare(N, STRING, Op.LESS, "9"))


@pytest.mark.parametrize("op", Op)
def test_entry_of_another_kind_is_passed_over(op):
    assert not holds(Compare(TAG, INT, op, 1))
    assert not holds(Compare(DUE, INT, op, 4000))
    assert not holds(Compare(built_in("size"), STRING, op, "9"))


def test_repeated_attribute_matches_by_any_entry_and_differs_by_none():
    assert holds(Compare(TAG, STRING, Op.EQUAL, "a"))
    assert holds(Compare(TAG, STRING, Op.EQUAL, "b"))
    assert holds(And((Compare(TAG, STRING, Op.LESS, "b"), Compare(TAG, STRING, Op.GREATER, "a"))))
    assert not holds(Compare(TAG, STRING, Op.NOT_EQUAL, "a"))
    assert holds(Compare(TAG, STRING, Op.NOT_EQUAL, "c"))


def test_unequal_needs_the_field_and_not_equal_does_not():
    absent = Field("absent")
    assert not holds(Compare(absent, STRING, Op.NOT_EQUAL, "a"))
    assert holds(Not(Compare(absent, STRING, Op.EQUAL, "a")))
    assert not holds(Compare(built_in("expires"), DATE, Op.NOT_EQUAL, 1))


def test_case_counts_and_text_orders_by_code_points():
    assert not holds(Compare(TAG, STRING, Op.EQUAL, "A"))
    assert holds(Compare(TAG, STRING, Op.GREATER, "Z"))
    assert holds(Compare(TAG, STRING, Op.LESS, "é"))


def test_existence_is_of_any_kind():
    assert holds(Exists(N))
    assert holds(Exists(DUE))
    assert not holds(Exists(Field("absent")))
    assert not holds(Exists(built_in("expires")))
    assert holds(Exists(built_in("expires")), dataclasses.replace(RECORD, expires=1))


def test_patterns_are_for_strings():
    assert holds(Like(TAG, "?"))
    assert holds(Like(N, "1*"))
    assert not holds(Like(N, "9"))
    assert not holds(Like(DUE, "*"))
    assert not holds(Like(built_in("size"), "*"))


def test_parts_are_joined_as_their_names_say():
    yes, no = Exists(N), Exists(Field("absent"))
    assert holds(And((yes, yes)))
    assert not holds(And((yes, no)))
    assert holds(Or((no, yes)))
    assert not holds(Or((no, no)))
    assert holds(Not(no))
    assert not holds(Not(yes))


@given(predicates(), facts())
def test_negation_is_the_opposite(predicate, record):
    assert matches(Not(predicate), record) is not matches(predicate, record)


# --- a record's own facts ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, value",
    [
        ("record_id", "000000000000000000000000000000ab"),
        ("record_type", "note"),
        ("version", 3),
        ("creator", "aa" * 20),
        ("modified_by", "bb" * 20),
        ("created", 1000),
        ("modified", 2000),
        ("expires", 7000),
        ("size", 9),
        ("durable", 0),
    ],
)
def test_own_facts_are_compared_as_their_kinds(name, value):
    record = dataclasses.replace(RECORD, expires=7)
    assert list(record.entries(built_in(name))) == [(BUILT_IN[name], value)]
    assert holds(Compare(built_in(name), BUILT_IN[name], Op.EQUAL, value), record)


def test_every_own_fact_is_named_in_the_table_above():
    assert len(BUILT_IN) == 10


def test_attribute_may_bear_the_name_of_an_own_fact():
    assert holds(Compare(Field("version"), INT, Op.EQUAL, 70))
    assert holds(Compare(built_in("version"), INT, Op.EQUAL, 3))


def test_durable_record_has_no_end():
    assert list(RECORD.entries(built_in("expires"))) == []
    assert list(RECORD.entries(built_in("durable"))) == [(INT, 1)]


@given(headers())
def test_facts_are_those_of_the_header(header):
    found = facts_of(header)
    assert (found.record_id, found.record_type, found.version) == (
        header.record_id,
        header.type,
        header.version,
    )
    assert (found.creator, found.modified_by) == (header.creator, header.author)
    assert (found.created, found.modified) == (header.created >> 16, header.hlc >> 16)
    assert (found.expires is None) == header.durable
    assert (found.size, found.attributes) == (header.size, header.attributes)


# --- names ------------------------------------------------------------------------------------------------

KNOWN = {"alice": [PIDS[2], PIDS[0], PIDS[2]], "bob": [PIDS[3]]}
CREATOR, MODIFIED_BY = built_in("creator"), built_in("modified_by")


@dataclasses.dataclass
class Known:
    """Peers by name."""

    names: Mapping[str, Collection[bytes]] = dataclasses.field(default_factory=lambda: KNOWN)
    asked: list[str] = dataclasses.field(default_factory=list)

    def meant(self, text: str) -> Collection[bytes]:
        self.asked.append(text)
        return self.names.get(text, [])

    def fitting(self, pattern: str) -> Collection[bytes]:
        self.asked.append(pattern)
        return [pid for name in self.names if fits(pattern, name) for pid in self.names[name]]


def named(op: Op, value: str, field: Field = CREATOR) -> Predicate:
    return with_names(Compare(field, STRING, op, value), Known())


def test_names_become_the_keys_that_they_stand_for():
    assert named(Op.EQUAL, "alice") == ByPeer(CREATOR, (PIDS[0], PIDS[2]))
    assert named(Op.EQUAL, "bob", MODIFIED_BY) == ByPeer(MODIFIED_BY, (PIDS[3],))
    assert named(Op.NOT_EQUAL, "bob") == Not(ByPeer(CREATOR, (PIDS[3],)))
    assert named(Op.EQUAL, "nobody") == ByPeer(CREATOR, ())
    assert named(Op.EQUAL, PIDS[1].hex()) == ByPeer(CREATOR, (PIDS[1],))


def test_authorities_and_attributes_need_no_looking_up():
    known = Known()
    for predicate in (
        Compare(CREATOR, STRING, Op.EQUAL, "aa" * 20),
        Compare(CREATOR, STRING, Op.LESS, "b"),
        Like(Field("creator"), "a*"),
        Like(built_in("record_type"), "a*"),
        Compare(Field("creator"), STRING, Op.EQUAL, "alice"),
        Compare(built_in("record_type"), STRING, Op.EQUAL, "alice"),
    ):
        assert with_names(predicate, known) == predicate
    assert known.asked == []


def test_names_are_found_wherever_they_stand_and_each_is_looked_up_once():
    known = Known()
    alice = Compare(CREATOR, STRING, Op.EQUAL, "alice")
    other = Exists(N)
    found = with_names(And((other, Or((Not(alice), alice)))), known)
    by_peer = ByPeer(CREATOR, (PIDS[0], PIDS[2]))
    assert found == And((other, Or((Not(by_peer), by_peer))))
    assert known.asked == ["alice"]


def test_pattern_fits_an_authority_or_a_name():
    record = dataclasses.replace(RECORD, creator=PIDS[2], modified_by=PIDS[3])
    for pattern, fields in (("al*", [CREATOR]), ("*b", [MODIFIED_BY]), ("*", [CREATOR, MODIFIED_BY])):
        found = [
            field
            for field in (CREATOR, MODIFIED_BY)
            if holds(with_names(Like(field, pattern), Known()), record)
        ]
        assert found == fields
    assert holds(with_names(Like(CREATOR, f"{PIDS[2].hex()[:39]}?"), Known({})), record)
    assert not holds(with_names(Not(Like(CREATOR, "al*")), Known()), record)


def test_name_and_a_pattern_that_looks_like_it_are_not_the_same():
    known = Known({"a*": [PIDS[0]], "ab": [PIDS[1]]})
    named_so = Compare(CREATOR, STRING, Op.EQUAL, "a*")
    found = with_names(And((named_so, Like(CREATOR, "a*"))), known)
    assert found == And(
        (ByPeer(CREATOR, (PIDS[0],)), Or((Like(CREATOR, "a*"), ByPeer(CREATOR, (PIDS[0], PIDS[1])))))
    )


def test_keys_are_compared_as_a_whole():
    record = dataclasses.replace(RECORD, creator=PIDS[0])
    assert holds(ByPeer(CREATOR, (PIDS[0],)), record)
    assert not holds(ByPeer(CREATOR, (PIDS[1],)), record)
    assert not holds(ByPeer(CREATOR, ()), record)
    assert not holds(ByPeer(MODIFIED_BY, (PIDS[0],)), record)
    assert holds(Compare(CREATOR, STRING, Op.EQUAL, PIDS[1].hex()[:40]), record), "one authority"


def test_name_may_stand_for_so_many_keys_and_no_more():
    pids = [number.to_bytes(32, "big") for number in range(SEARCH_PEERS_MAX + 1)]
    alice = Compare(CREATOR, STRING, Op.EQUAL, "alice")
    assert with_names(alice, Known({"alice": pids[1:]})) == ByPeer(CREATOR, tuple(pids[1:]))
    with pytest.raises(RuleError) as caught:
        with_names(alice, Known({"alice": pids}))
    assert caught.value.code == "invalid-search"
