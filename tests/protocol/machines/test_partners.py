"""What is remembered of a neighbor: when a session with it is due, and when one is over."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given, strategies as st

from protocol.limits import DIGEST_DIFFERS_MS, RECONCILE_S_MAX, SESSION_GAP_MS_MAX, SESSION_GAP_MS_MIN
from protocol.machines.ordered_ids import OrderedIds
from protocol.machines.partners import Session, Subject, Track
from protocol.machines.reconcile import Reconciliation
from protocol.wire.messages import Namespace
from tests.support.builders import NOW, after

ENGINE = Reconciliation(OrderedIds(), bytes(32), initiator=True)


def session(**known) -> Session:
    return Session(2, Namespace.DURABLE, ENGINE, True, True, NOW.mono_ms, 0, **known)


def test_both_classes_of_records_are_one_subject():
    assert [Subject.of(namespace) for namespace in Namespace] == [Subject.AUTH, Subject.DATA, Subject.DATA]


def test_track_is_due_when_a_difference_has_lasted_and_the_gap_is_over():
    track = Track()
    assert track.due_ms is None
    track.note_differs(NOW)
    track.note_differs(after(3))
    assert track.due_ms == NOW.mono_ms + DIGEST_DIFFERS_MS
    track.note_answered(NOW)
    assert track.due_ms == NOW.mono_ms + SESSION_GAP_MS_MIN
    track.note_agrees()
    assert track.due_ms is None


@given(st.integers(0, 12))
def test_gap_doubles_with_each_session_that_begins_and_is_bounded(count):
    track = Track(waits=True)
    for _ in range(count):
        track.note_begun(NOW)
    assert track.gap_ms == min(SESSION_GAP_MS_MAX, SESSION_GAP_MS_MIN * 2**count)
    assert track.waits is (count == 0)
    track.note_hope(NOW)
    assert track.gap_ms == SESSION_GAP_MS_MIN
    assert track.not_before_ms <= NOW.mono_ms + SESSION_GAP_MS_MIN


def test_agreement_forgets_what_was_in_vain():
    track = Track()
    track.note_differs(NOW)
    track.note_begun(NOW)
    assert track.agrees is False
    track.note_agrees()
    assert (track.agrees, track.gap_ms, track.waits) == (True, SESSION_GAP_MS_MIN, False)


@pytest.mark.parametrize(
    "known, over, brings",
    [
        ({}, False, True),
        ({"queue": deque()}, True, False),
        ({"queue": deque([b"x"])}, False, False),
        ({"queue": deque(), "in_flight": deque([()])}, False, False),
        ({"queue": deque(), "receives": True}, False, True),
    ],
)
def test_session_is_over_when_neither_side_owes_anything(known, over, brings):
    assert (session(**known).over, session(**known).brings) == (over, brings)


def test_who_owed_something_sends_a_last_frame_even_if_nothing_is_left():
    assert session(lacking=[b"x"], queue=deque()).owes_last
    assert not session(lacking=[b"x"], queue=deque(), next_frame=1).owes_last
    assert not session(queue=deque()).owes_last


def test_session_is_forgotten_a_minute_after_it_moved():
    assert session().deadline_ms == NOW.mono_ms + RECONCILE_S_MAX * 1000
