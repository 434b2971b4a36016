"""Versions that wait: within bounds, not for ever, and given out once."""

from __future__ import annotations

import hashlib

from hypothesis import given, strategies as st

from protocol.limits import (
    CLOCK_DIFFERENCE_MS_MAX,
    HLC_AHEAD_MS_MAX,
    MISDATED_MS,
    RECORDS_HELD_BYTES_MAX,
    RECORDS_HELD_MAX,
    RECORDS_HELD_S_MAX,
    RECORDS_QUARANTINED_BYTES_MAX,
    RECORDS_QUARANTINED_MAX,
)
from protocol.machines import record_waiting
from protocol.machines.record_waiting import RecordWaiting, is_ahead
from protocol.peer_time import hlc_at
from tests.support.builders import NOW, after
from tests.support.records import Writer, circle

DAVE = Writer.of(circle(), "dave")
ITEMS = [
    DAVE.add("note", body=b"x" * number, hlc=hlc_at(NOW.utc_ms + HLC_AHEAD_MS_MAX + 1000 * (number + 1)))
    for number in range(12)
]
ACTS = [bytes([number]) * 32 for number in range(4)]

moves = st.lists(
    st.one_of(
        st.tuples(st.just("hold"), st.sampled_from(range(12)), st.sampled_from(ACTS)),
        st.tuples(st.just("arrived"), st.just(0), st.sampled_from(ACTS)),
        st.tuples(st.just("quarantine"), st.sampled_from(range(12)), st.just(ACTS[0])),
        st.tuples(st.just("due"), st.integers(0, 70), st.just(ACTS[0])),
    ),
    max_size=40,
)


@given(moves)
def test_what_waits_is_given_out_once_when_its_time_or_its_act_has_come(told):
    waiting, second = RecordWaiting(), 0
    held: dict[bytes, tuple[bytes, int]] = {}
    ahead: dict[bytes, int] = {}
    for what, number, act in told:
        now = after(second)
        item = ITEMS[number % len(ITEMS)]
        if what == "hold" and item.header.id not in waiting:
            waiting.hold(item, (act,), now)
            held[item.header.id] = (act, second + RECORDS_HELD_S_MAX)
        elif what == "quarantine" and item.header.id not in waiting:
            waiting.quarantine(item, item.header.hlc_ms)
            ahead[item.header.id] = item.header.hlc_ms
        elif what == "arrived":
            ready = {one.header.id for one in waiting.arrived(act)}
            assert ready == {i for i, (missing, _) in held.items() if missing == act}
            held = {i: one for i, one in held.items() if i not in ready}
        elif what == "due":
            second += number
            now = after(second)
            due = {one.header.id for one in waiting.due(now, now.utc_ms)}
            assert due == {i for i, hlc_ms in ahead.items() if hlc_ms <= now.utc_ms + HLC_AHEAD_MS_MAX}
            ahead = {i: hlc_ms for i, hlc_ms in ahead.items() if i not in due}
            held = {i: one for i, one in held.items() if one[1] > second}
            deadline = waiting.next_deadline(now, now.utc_ms)
            assert deadline is None or deadline > now.mono_ms
        assert (waiting.held, waiting.quarantined) == (len(held), len(ahead))
        assert all(i in waiting for i in (*held, *ahead))
        assert (waiting.next_deadline(now, now.utc_ms) is None) == (not held and not ahead)


def test_C6_neither_count_nor_bytes_grow_beyond_their_bounds(monkeypatch):
    monkeypatch.setattr(record_waiting, "RECORDS_HELD_MAX", 5)
    monkeypatch.setattr(record_waiting, "RECORDS_QUARANTINED_MAX", 6)
    waiting = RecordWaiting()
    for item in ITEMS:
        waiting.hold(item, (ACTS[0],), NOW)
    for item in ITEMS:
        waiting.quarantine(item, item.header.hlc_ms)
    assert (waiting.held, waiting.quarantined) == (5, 6)
    sizes = [len(item.header.raw) + len(item.body or b"") for item in ITEMS]
    monkeypatch.setattr(record_waiting, "RECORDS_HELD_BYTES_MAX", sum(sizes[:3]))
    monkeypatch.setattr(record_waiting, "RECORDS_QUARANTINED_BYTES_MAX", sum(sizes[:2]))
    waiting = RecordWaiting()
    for item in ITEMS:
        waiting.hold(item, (ACTS[0],), NOW)
        waiting.quarantine(item, item.header.hlc_ms)
    assert (waiting.held, waiting.quarantined) == (3, 2)
    assert max(RECORDS_HELD_MAX, RECORDS_QUARANTINED_MAX) <= 1024
    assert max(RECORDS_HELD_BYTES_MAX, RECORDS_QUARANTINED_BYTES_MAX) <= 2**20


def test_version_that_is_nearly_an_hour_ahead_is_counted_and_does_not_wait(monkeypatch):
    hlc_ms = ITEMS[0].header.hlc_ms
    far_ms = hlc_ms - (MISDATED_MS - CLOCK_DIFFERENCE_MS_MAX)
    waiting = RecordWaiting()
    waiting.quarantine(ITEMS[0], far_ms - 1)
    assert ITEMS[0].header.id not in waiting
    assert (waiting.quarantined, waiting.due(NOW, far_ms - 1), waiting.quarantined) == (1, [], 1)
    assert waiting.next_deadline(NOW, far_ms - 1) is None
    waiting.quarantine(ITEMS[0], far_ms)
    assert ITEMS[0].header.id in waiting
    assert waiting.due(NOW, hlc_ms) == [ITEMS[0]]
    assert waiting.quarantined == 0
    monkeypatch.setattr(record_waiting, "RECORDS_QUARANTINED_MAX", 2)
    for item in ITEMS:
        waiting.quarantine(item, 0)
    assert waiting.quarantined == 2


def test_room_comes_back_when_what_waited_is_given_out(monkeypatch):
    monkeypatch.setattr(record_waiting, "RECORDS_HELD_MAX", 2)
    waiting = RecordWaiting()
    for round_ in range(3):
        act = hashlib.sha256(bytes([round_])).digest()
        for item in ITEMS[:3]:
            waiting.hold(item, (act,), NOW)
        assert len(waiting.arrived(act)) == 2
        assert waiting.arrived(act) == []
        assert waiting.held == 0


def test_version_is_held_until_all_acts_are_here_and_a_minute_at_most():
    waiting = RecordWaiting()
    waiting.hold(ITEMS[0], (ACTS[0], ACTS[1]), NOW)
    assert waiting.arrived(ACTS[0]) == []
    assert waiting.next_deadline(NOW, NOW.utc_ms) == after(RECORDS_HELD_S_MAX).mono_ms
    assert waiting.due(after(RECORDS_HELD_S_MAX - 1), 0) == []
    assert waiting.held == 1
    assert waiting.due(after(RECORDS_HELD_S_MAX), 0) == []
    assert waiting.held == 0
    assert waiting.arrived(ACTS[1]) == []
    assert waiting.next_deadline(NOW, NOW.utc_ms) is None


def test_ahead_is_more_than_five_minutes():
    assert not is_ahead(hlc_at(HLC_AHEAD_MS_MAX) + 0xFFFF, 0)
    assert is_ahead(hlc_at(HLC_AHEAD_MS_MAX + 1), 0)
