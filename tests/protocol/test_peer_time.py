"""Time is an argument: hybrid clocks rise, windows nest."""

from __future__ import annotations

from hypothesis import given, strategies as st

from protocol.limits import END_OF_TIME_S
from protocol.peer_time import HLC_MAX, Moment, Window, hlc_at, hlc_ms, hlc_s, next_hlc

milliseconds = st.integers(0, 2**47 - 1)
hlcs = st.integers(0, HLC_MAX - 1)
seconds = st.integers(0, END_OF_TIME_S)
windows = st.builds(Window, seconds, seconds)


@given(milliseconds)
def test_an_hlc_holds_its_millisecond(utc_ms):
    assert hlc_ms(hlc_at(utc_ms)) == utc_ms
    assert hlc_s(hlc_at(utc_ms)) == utc_ms // 1000 == Moment(0, utc_ms).utc_s


@given(milliseconds, hlcs)
def test_the_next_hlc_is_later_than_the_last_and_no_earlier_than_the_clock(utc_ms, last):
    following = next_hlc(utc_ms, last)
    assert following > last
    assert following >= hlc_at(utc_ms)
    assert following in (hlc_at(utc_ms), last + 1)


@given(windows, seconds)
def test_a_window_holds_its_two_ends_and_what_is_between(window, at):
    assert window.holds(at) == (window.start <= at <= window.end)


@given(windows, windows, seconds)
def test_what_an_inner_window_holds_the_outer_one_holds(inner, outer, at):
    if inner.within(outer) and inner.holds(at):
        assert outer.holds(at)


def test_only_the_end_of_time_is_unlimited():
    assert Window(0, END_OF_TIME_S).unlimited
    assert not Window(0, END_OF_TIME_S - 1).unlimited
