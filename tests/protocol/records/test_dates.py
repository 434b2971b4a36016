"""Dates: what is written is read back, every accuracy of the profile is read, and nothing else is."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from protocol.records.dates import DATE_MS_MAX, DATE_MS_MIN, date_ms, date_text

DATES = st.integers(DATE_MS_MIN, DATE_MS_MAX)
MINUTE = 60_000
DAY = 1440 * MINUTE


@given(DATES)
def test_date_is_read_back_as_it_was_written(ms):
    assert date_ms(date_text(ms)) == ms


@given(DATES)
def test_date_is_written_as_rfc_3339_has_it(ms):
    text = date_text(ms)
    assert datetime.fromisoformat(text) == datetime.fromisoformat("1970-01-01T00:00:00Z") + timedelta(
        milliseconds=ms
    )
    assert text.endswith("Z")
    assert ("." in text) == bool(ms % 1000)


@given(DATES, DATES)
def test_dates_order_as_their_texts_do_to_the_second(one, other):
    one, other = one // 1000 * 1000, other // 1000 * 1000
    assert (one < other) == (date_text(one) < date_text(other))


@given(st.integers(DATE_MS_MIN + DAY, DATE_MS_MAX - DAY), st.integers(-1439, 1439))
def test_local_time_with_an_offset_is_the_same_moment(ms, offset):
    local = date_text(ms + offset * MINUTE).removesuffix("Z")
    sign, size = ("-" if offset < 0 else "+"), abs(offset)
    assert date_ms(f"{local}{sign}{size // 60:02}:{size % 60:02}") == ms


@given(st.text(max_size=30))
def test_any_text_is_a_date_or_none(text):
    ms = date_ms(text)
    assert ms is None or DATE_MS_MIN <= ms <= DATE_MS_MAX


@pytest.mark.parametrize(
    "text, whole",
    [
        ("1997", "1997-01-01T00:00:00Z"),
        ("1997-07", "1997-07-01T00:00:00Z"),
        ("1997-07-16", "1997-07-16T00:00:00Z"),
        ("1997-07-16T19:20+01:00", "1997-07-16T18:20:00Z"),
        ("1997-07-16T19:20:30+01:00", "1997-07-16T18:20:30Z"),
        ("1997-07-16T19:20:30.45+01:00", "1997-07-16T18:20:30.450Z"),
        ("1997-07-16T19:20:30.123999999Z", "1997-07-16T19:20:30.123Z"),
        ("2000-02-29T00:00Z", "2000-02-29T00:00:00Z"),
        ("0001-01-01", "0001-01-01T00:00:00Z"),
        ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
        ("1969-12-31T23:59:59.999-00:00", "1969-12-31T23:59:59.999Z"),
    ],
)
def test_each_accuracy_of_the_profile_is_read(text, whole):
    ms = date_ms(text)
    assert ms is not None
    assert date_text(ms) == whole


@pytest.mark.parametrize(
    "text",
    [
        "", "97", "19970", "1997-7", "1997-13", "1997-00", "1997-02-30", "1900-02-29", "1997-07-16T",
        "1997-07-16T19Z", "1997-07-16T19:20", "1997-07-16T19:20:30", "1997-07-16T24:00Z", "1997-07-16T19:60Z",
        "1997-07-16T19:20:60Z", "1997-07-16T19:20:30.Z", "1997-07-16T19:20:30.1234567890Z",
        "1997-07-16T19:20+24:00", "1997-07-16T19:20+01:60", "1997-07-16T19:20+0100", "1997-07-16 19:20Z",
        " 1997", "1997 ", "1997\n", "-1997", "0000",
        "1997-07-16t19:20z", "0001-01-01T00:00+00:01", "9999-12-31T23:59-00:01", "\u0661\u0669\u0669\u0667",
    ],
)  # fmt: skip
def test_anything_else_is_no_date(text):
    assert date_ms(text) is None
