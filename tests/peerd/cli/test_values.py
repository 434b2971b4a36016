"""Values as people type them mean one thing, or are refused with an example."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click
import pytest
from hypothesis import given, strategies as st

from peerd.cli.values import DURATION, TIME, in_words


def duration(text: str) -> int:
    return DURATION.convert(text, None, None)


def time(text: str) -> datetime:
    return TIME.convert(text, None, None)


@pytest.mark.parametrize(
    "text, seconds", [("90d", 7_776_000), ("12h", 43_200), ("30m", 1800), ("45s", 45), ("0s", 0)]
)
def test_durations_have_a_number_and_a_unit(text: str, seconds: int) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "90", "d", "-1d", "+1d", "1.5h", "1d12h", "1 d", "1D", "٣d", "1w", "1d\n", "1" * 10 + "s"]
)
def test_other_durations_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(click.UsageError) as caught:
        duration(text)
    assert "90d" in caught.value.message


@given(st.integers(0, 10**9 - 1))
def test_a_duration_in_words_is_read_as_the_same(seconds: int) -> None:
    assert duration(in_words(seconds)) == seconds


def test_a_duration_in_words_takes_the_largest_unit() -> None:
    assert [in_words(seconds) for seconds in (0, 59, 60, 90, 7200, 86_400)] == [
        "0s",
        "59s",
        "1m",
        "90s",
        "2h",
        "1d",
    ]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("2030-12-31T23:59:59Z", datetime(2030, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("2030-12-31t23:59:59z", datetime(2030, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("2030-12-31 23:59:59+02:00", datetime(2030, 12, 31, 21, 59, 59, tzinfo=UTC)),
        ("2030-12-31T23:59:59.25-00:30", datetime(2031, 1, 1, 0, 29, 59, 250_000, tzinfo=UTC)),
    ],
)
def test_times_are_rfc_3339(text: str, expected: datetime) -> None:
    assert time(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "now", "2030-12-31", "2030-12-31T23:59:59", "2030-12-31T23:59Z", "20301231T235959Z"),
        *("2030-13-01T00:00:00Z", "2030-02-30T00:00:00Z", "2030-W01-1T00:00:00Z", "2030-12-31T23:59:59Zjunk"),
    ],
)
def test_other_times_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(click.UsageError) as caught:
        time(text)
    assert "2030-12-31T23:59:59Z" in caught.value.message


@given(st.text(max_size=40))
def test_no_text_raises_another_error(text: str) -> None:
    for convert in (duration, time):
        try:
            convert(text)
        except click.UsageError:
            continue


@given(st.datetimes(timezones=st.just(UTC)), st.integers(-1439, 1439))
def test_a_time_means_the_same_in_every_offset(moment: datetime, minutes: int) -> None:
    sign, offset = ("-" if minutes < 0 else "+"), timedelta(minutes=abs(minutes))
    try:
        local = (moment - offset if sign == "-" else moment + offset).replace(tzinfo=None)
    except OverflowError:
        return
    text = f"{local.isoformat(timespec='microseconds')}{sign}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
    assert time(text) == moment
