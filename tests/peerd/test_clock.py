"""Deadlines follow trio's clock, times of certificates the calendar that was handed in."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from peerd.clock import Clock, clock_from, pause, steady_s

EPOCH_MS = 1_800_000_000_000


async def test_mono_follows_the_mock_clock_and_utc_the_calendar(mock_clock: MockClock) -> None:
    clock = Clock(utc_ms=lambda: EPOCH_MS)
    before = clock.moment()
    mock_clock.jump(1.5)
    after = clock.moment()
    assert after.mono_ms - before.mono_ms == 1500
    assert before.utc_ms == after.utc_ms == EPOCH_MS


async def test_a_clock_from_an_epoch_moves_its_calendar_with_trio(autojump_clock: MockClock) -> None:
    clock = clock_from(EPOCH_MS)
    assert clock.moment().utc_ms == EPOCH_MS
    await trio.sleep(90)
    assert clock.moment().utc_ms == EPOCH_MS + 90_000


def test_the_steady_clock_never_goes_back() -> None:
    before = steady_s()
    pause(0)
    assert steady_s() >= before


async def test_the_default_calendar_is_the_machines() -> None:
    assert Clock().moment().utc_ms > EPOCH_MS - 10 * 365 * 86_400_000
