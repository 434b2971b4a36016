"""Dialling by a node that was told that it has been removed: seldom, and at once when it is back."""

from __future__ import annotations

from protocol.limits import DIAL_FAILURES_MAX, REDIAL_REMOVED_MS
from protocol.machines.events import DialOutcome
from protocol.peer_time import Moment
from tests.protocol.machines.test_dialling import UNREACHABLE, Book
from tests.support.builders import NOW


def test_who_is_removed_asks_every_five_minutes_and_forgets_nobody_who_said_so():
    book, now = Book(), NOW
    book.dialling.learn(["learnt:1"], ())
    book.dialling.note_removed(True, now)
    for _ in range(2 * DIAL_FAILURES_MAX):
        assert book.dials(now) == ["learnt:1"]
        book.fail("learnt:1", now, DialOutcome.REMOVED)
        due = book.deadline()
        assert due is not None
        assert REDIAL_REMOVED_MS <= due - now.mono_ms <= REDIAL_REMOVED_MS * 3 // 2
        now = Moment(due, NOW.utc_ms)


def test_who_is_removed_calls_whom_it_does_not_reach_less_and_less_often():
    book, now = Book("a:1"), NOW
    book.dialling.note_removed(True, now)
    for _ in range(12):
        book.dials(now)
        book.fail("a:1", now, UNREACHABLE)
        now = Moment(book.deadline() or 0, NOW.utc_ms)
    book.dials(now)
    book.fail("a:1", now, UNREACHABLE)
    assert (book.deadline() or 0) - now.mono_ms >= REDIAL_REMOVED_MS


def test_who_is_back_calls_everybody_at_once():
    book = Book("a:1", "b:1")
    book.dialling.note_removed(True, NOW)
    for address in book.dials():
        book.fail(address, NOW, DialOutcome.REMOVED)
    book.dialling.note_removed(True, NOW)
    assert book.dials() == []
    book.dialling.note_removed(False, NOW)
    assert book.dials() == ["a:1", "b:1"]
