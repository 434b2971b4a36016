"""Attributes: one form for one set of them, and what no form lets through."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from protocol.codec import encode
from protocol.errors import Fault, RemoteProtocolError, RuleError
from protocol.limits import ATTRIBUTE_NAME_CHARACTERS_MAX, ATTRIBUTES_BYTES_MAX
from protocol.records.attributes import (
    DATE,
    INT,
    RESERVED_NAMES,
    STRING,
    Attribute,
    _bytes_at_most,
    attribute_lists,
    attributes_untrusted,
    canonical_attributes,
    encode_attributes,
)
from protocol.records.dates import DATE_MS_MAX, DATE_MS_MIN
from tests.support.records import attributes
from tests.support.strategies import VALUES


def refused_by_us(*told: Any) -> str:
    with pytest.raises(RuleError) as caught:
        canonical_attributes(told)
    assert caught.value.code == "invalid-attributes"
    assert caught.value.hint
    return caught.value.detail


def refused_from_afar(*told: Any) -> RemoteProtocolError:
    with pytest.raises(RemoteProtocolError) as caught:
        attributes_untrusted([list(one) for one in told])
    return caught.value


# --- one form ---------------------------------------------------------------------------------------------


@given(attributes().flatmap(lambda told: st.tuples(st.just(told), st.permutations(told))))
def test_one_set_of_attributes_has_one_form(both):
    told, shuffled = both
    assert canonical_attributes(shuffled) == told
    assert attributes_untrusted(attribute_lists(told)) == told


@given(attributes().filter(lambda told: len(told) > 1), st.data())
def test_no_other_order_is_read(told, data):
    other = data.draw(st.permutations(told).filter(lambda order: tuple(order) != told))
    assert "ascend" in refused_from_afar(*other).detail


@given(attributes().filter(bool), st.data())
def test_an_entry_comes_once(told, data):
    again = data.draw(st.sampled_from(told))
    assert "twice" in refused_by_us(*told, again)
    assert "ascend" in refused_from_afar(*sorted([*told, again])).detail


def test_order_is_by_name_then_kind_then_value():
    told = [
        Attribute("A", DATE, 0), Attribute("a", INT, -1), Attribute("a", INT, 10), Attribute("a", STRING, ""),
        Attribute("a", STRING, "10"), Attribute("a", STRING, "9"), Attribute("a", DATE, -5),
        Attribute("b", INT, 0),
    ]  # fmt: skip
    assert canonical_attributes(reversed(told)) == tuple(told)


@given(st.text(max_size=5), st.text(max_size=5))
def test_strings_order_as_their_bytes_do(one, other):
    assert (one < other) == (one.encode("utf-8", "surrogatepass") < other.encode("utf-8", "surrogatepass"))


def test_name_may_repeat_with_other_values():
    told = (Attribute("tag", STRING, "a"), Attribute("tag", STRING, "b"))
    assert canonical_attributes(told) == told


# --- bounds -----------------------------------------------------------------------------------------------

GOOD = [
    ("a", INT, -(2**63)),
    ("a", INT, 2**63 - 1),
    ("a", DATE, DATE_MS_MIN),
    ("a", DATE, DATE_MS_MAX),
    ("a", STRING, ""),
    ("a", STRING, "\t\r\n \u0085\ud7ff\ue000\ufffd\U00010000\U0010ffff"),
    ("0", INT, 0),
    ("Z" * ATTRIBUTE_NAME_CHARACTERS_MAX, INT, 0),
    ("peer", INT, 0),
    ("peerversion", INT, 0),
]
BAD = [
    ("a", INT, -(2**63) - 1),
    ("a", INT, 2**63),
    ("a", DATE, DATE_MS_MIN - 1),
    ("a", DATE, DATE_MS_MAX + 1),
    *(("a", STRING, text) for text in ("\0", "\x08", "\x0b", "\x1f", "\ufffe", "\uffff", "\ud800", "x\x00y")),
    ("a", INT, "1"),
    ("a", INT, True),
    ("a", DATE, "2026"),
    ("a", STRING, 1),
    ("a", STRING, b"x"),
    ("a", STRING, None),
    ("a", 0, 1),
    ("a", 4, 1),
    ("a", True, 1),
    ("a", "int", 1),
    ("a", None, 1),
    ("", INT, 0),
    ("Z" * (ATTRIBUTE_NAME_CHARACTERS_MAX + 1), INT, 0),
    *((name, INT, 0) for name in ("a-b", "a_b", "a b", "é", "a\n", "\u0661", "a.b")),
    (b"a", INT, 0),
    (1, INT, 0),
    *((name, STRING, "x") for name in sorted(RESERVED_NAMES)),
    ("PeerCreatorId", STRING, "x"),
]


@pytest.mark.parametrize("told", GOOD, ids=ascii)
def test_bounds_themselves_are_accepted(told):
    assert canonical_attributes([Attribute(*told)]) == (told,)
    assert attributes_untrusted([list(told)]) == (told,)


@pytest.mark.parametrize("told", BAD, ids=ascii)
def test_anything_beyond_is_refused(told):
    refused_by_us(told)
    assert refused_from_afar(told).fault is Fault.MALFORMED


def test_reserved_names_are_the_originals():
    assert len(RESERVED_NAMES) == 6
    assert all(name == name.lower() for name in RESERVED_NAMES)


def large(size: int) -> Attribute:
    """One attribute that has `size` bytes with what surrounds it."""
    around = len(encode_attributes([Attribute("a", STRING, "x" * 300)])) - 300
    return Attribute("a", STRING, "x" * (size - around))


def test_size_of_all_together_is_bounded():
    most = large(ATTRIBUTES_BYTES_MAX)
    assert len(encode_attributes([most])) == ATTRIBUTES_BYTES_MAX
    assert canonical_attributes([most]) == attributes_untrusted([list(most)]) == (most,)
    more = large(ATTRIBUTES_BYTES_MAX + 1)
    assert str(ATTRIBUTES_BYTES_MAX) in refused_by_us(more)
    assert refused_from_afar(more).fault is Fault.OVER_LIMIT


@pytest.mark.parametrize(
    "entry", [None, 1, "abc", b"abc", [], ["a", 1], ["a", 1, 1, 1], {"a": 1}, ("a", 1, 1)]
)
def test_entry_of_another_form_is_refused(entry):
    with pytest.raises(RemoteProtocolError):
        attributes_untrusted([entry])


@given(st.lists(VALUES | st.lists(VALUES, min_size=3, max_size=3), max_size=4))
def test_anything_at_all_is_attributes_or_refused(value):
    try:
        read = attributes_untrusted(value)
    except RemoteProtocolError:
        return
    assert encode(value) == encode_attributes(read)


@given(st.lists(st.integers(300, 1100), min_size=1, max_size=6))
def test_size_is_measured_exactly_where_an_estimate_does_not_do(lengths):
    told = [
        Attribute("a" * 40, STRING, f"{number}" + "\U0001f600" * length)
        for number, length in enumerate(lengths)
    ]
    fits = len(encode_attributes(told)) <= ATTRIBUTES_BYTES_MAX
    if fits:
        assert attributes_untrusted(attribute_lists(told)) == tuple(told)
    else:
        assert refused_from_afar(*told).fault is Fault.OVER_LIMIT


@given(attributes())
def test_estimate_of_the_size_is_never_too_small(told):
    assert _bytes_at_most(told) >= len(encode_attributes(told))
