"""Attributes, data and ids keep their meaning between the API's words and the protocol's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from peerd.control.record_schema import DateValue
from peerd.groups.base64url import write_base64url
from peerd.groups.record_rendering import shown_attributes, wished_attributes, wished_data, wished_id
from protocol.errors import RuleError
from protocol.records.attributes import (
    DATE,
    INT,
    INT_MAX,
    INT_MIN,
    STRING,
    Attribute,
    canonical_attributes,
)
from protocol.records.dates import DATE_MS_MAX, DATE_MS_MIN

names = st.text("abcXYZ09", min_size=1, max_size=5)
texts = st.text(st.characters(min_codepoint=32, max_codepoint=0xD7FF), max_size=10)
attributes = st.one_of(
    st.builds(Attribute, names, st.just(INT), st.integers(INT_MIN, INT_MAX)),
    st.builds(Attribute, names, st.just(STRING), texts),
    st.builds(Attribute, names, st.just(DATE), st.integers(DATE_MS_MIN, DATE_MS_MAX)),
)


@given(st.sets(attributes, max_size=12))
def test_what_is_shown_of_attributes_makes_the_same_attributes(told):
    canonical = canonical_attributes(told)
    assert canonical_attributes(wished_attributes(shown_attributes(canonical))) == canonical


def test_a_date_in_any_zone_is_the_same_and_finer_digits_are_cut_off():
    moment = datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    for shift in (0, 5, -11):
        zone = (moment + timedelta(hours=shift)).replace(tzinfo=None)
        date = datetime.fromisoformat(f"{zone.isoformat()}{shift:+03d}:00")
        assert wished_attributes({"a": DateValue(date=date)}) == (Attribute("a", DATE, -1),)


def test_a_name_without_values_is_none():
    assert wished_attributes({"a": [], "b": [1]}) == (Attribute("b", INT, 1),)


@given(st.binary(max_size=50))
def test_data_are_read_as_they_are_shown(data):
    assert wished_data(write_base64url(data)) == data


@pytest.mark.parametrize("text", ["YQ==", "a", "+/+/", "YQ\n", "ä"])
def test_data_in_another_form_are_refused(text):
    with pytest.raises(RuleError, match="base64url") as caught:
        wished_data(text)
    assert caught.value.code == "invalid-argument"


def test_an_id_is_hex_of_its_length_and_nothing_else():
    assert wished_id("ab" * 16, 32, "it") == b"\xab" * 16
    for text in ("", "ab" * 15, "ab" * 17, "zz" * 16, " " + "ab" * 15 + "a", "ab " * 10 + "ab"):
        with pytest.raises(RuleError, match="32 hex digits"):
            wished_id(text, 32, "it")
