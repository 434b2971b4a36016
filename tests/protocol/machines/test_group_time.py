"""Group time never goes back, follows only a clock that somebody confirms, and survives a restart."""

from __future__ import annotations

from hypothesis import given, strategies as st

from protocol.limits import ALONE_STEADY_MS, CLOCK_DIFFERENCE_MS_MAX, FLOOR_SAVED_MS, HEADER_LIFE_S
from protocol.machines.group_time import GroupTime
from protocol.peer_time import HLC_MAX, Moment, hlc_ms
from protocol.records.memory import MemoryStore
from tests.support.builders import DAY, NOW, after

YEAR_MS = 365 * DAY * 1000
OTHER = 2

steps = st.lists(
    st.tuples(
        st.sampled_from(("pass", "set clock", "agree", "contradict", "alone", "save", "restart")),
        st.integers(-10 * YEAR_MS, 10 * YEAR_MS),
    ),
    max_size=30,
)


class Clocked:
    """Group time over a store, with two clocks that tests set."""

    def __init__(self, now: Moment = NOW) -> None:
        self.store = MemoryStore()
        self.now = now
        self.time = GroupTime()
        self.time.load(now, self.store)

    def step(self, what: str, number: int) -> None:
        now, time = self.now, self.time
        match what:
            case "pass":
                self.now = after(abs(number) % (100 * DAY), now)
            case "set clock":
                self.now = Moment(now.mono_ms, max(0, now.utc_ms + number))
            case "agree":
                time.on_clock(1, now.utc_ms + number % CLOCK_DIFFERENCE_MS_MAX, now)
            case "contradict":
                time.on_clock(OTHER, now.utc_ms + CLOCK_DIFFERENCE_MS_MAX + 1 + abs(number), now)
            case "alone":
                time.begin(now, alone=True)
            case "save":
                self.save()
            case "restart":
                self.save()
                self.restart()
            case _:
                raise AssertionError(what)

    def save(self) -> None:
        self.store.begin()
        self.time.save(self.now, self.store)
        self.store.commit()

    def restart(self, utc_ms: int | None = None) -> None:
        self.now = Moment(0, self.now.utc_ms if utc_ms is None else utc_ms)
        self.time = GroupTime()
        self.time.load(self.now, self.store)
        self.time.begin(self.now, alone=False)


@given(steps)
def test_certain_time_never_goes_back_but_by_what_was_not_saved_at_a_restart(told):
    clocked = Clocked()
    before, floor = 0, 0
    for what, number in told:
        clocked.step(what, number)
        certain = clocked.time.certain_ms(clocked.now)
        assert certain >= before - (FLOOR_SAVED_MS if what == "restart" else 0)
        assert clocked.time.floor_s * 1000 >= floor
        assert clocked.time.now_ms(clocked.now) >= certain
        assert clocked.time.horizon_s(clocked.now) * 1000 >= certain - HEADER_LIFE_S * 1000 - 999
        before, floor = certain, clocked.time.floor_s * 1000
        assert floor <= certain


@given(steps)
def test_without_agreement_only_run_time_is_counted(told):
    clocked = Clocked()
    clocked.time.on_clock(1, NOW.utc_ms, NOW)
    clocked.time.on_down(1)
    for what, number in told:
        if what in ("pass", "set clock", "contradict"):
            clocked.step(what, number)
    assert clocked.time.now_ms(clocked.now) - NOW.utc_ms == clocked.now.mono_ms - NOW.mono_ms


def test_agreement_moves_it_to_the_clock_and_not_back():
    clocked = Clocked()
    assert clocked.time.now_ms(NOW) == 0
    clocked.time.on_clock(1, NOW.utc_ms + CLOCK_DIFFERENCE_MS_MAX, NOW)
    assert clocked.time.now_ms(NOW) == NOW.utc_ms
    slow = Moment(NOW.mono_ms, NOW.utc_ms - 60_000)
    clocked.time.on_clock(1, slow.utc_ms, slow)
    assert clocked.time.now_ms(slow) == NOW.utc_ms


def test_time_that_was_ahead_stands_still_until_the_clock_is_there():
    """A clock an hour ahead, that was believed, harms for that hour and not for ever."""
    ahead = Moment(NOW.mono_ms, NOW.utc_ms + 3_600_000)
    clocked = Clocked(ahead)
    clocked.time.on_clock(1, ahead.utc_ms, ahead)
    clocked.time.on_clock(1, NOW.utc_ms, NOW)
    for seconds in (0, 1800, 3600):
        assert clocked.time.certain_ms(after(seconds)) == ahead.utc_ms
    assert clocked.time.certain_ms(after(3601)) == ahead.utc_ms + 1000
    assert clocked.time.mono_at(ahead.utc_ms + 1000, after(1)) == after(3601).mono_ms
    assert clocked.time.mono_at(ahead.utc_ms, after(1)) == after(1).mono_ms


def test_neighbor_too_far_off_is_no_agreement():
    clocked = Clocked()
    for difference in (CLOCK_DIFFERENCE_MS_MAX + 1, -CLOCK_DIFFERENCE_MS_MAX - 1):
        clocked.time.on_clock(1, NOW.utc_ms + difference, NOW)
    assert clocked.time.now_ms(NOW) == 0
    assert not clocked.time.confirmed


def test_clock_beyond_what_an_hlc_can_say_is_not_believed():
    late = Moment(NOW.mono_ms, hlc_ms(HLC_MAX) + 1)
    clocked = Clocked(late)
    clocked.time.on_clock(1, late.utc_ms, late)
    assert clocked.time.now_ms(late) == 0


def test_contradiction_is_told_while_all_differ_and_ends_as_the_clock_is_set_right():
    clocked = Clocked()
    clocked.time.begin(NOW, alone=False)
    assert clocked.time.contradiction_ms is None
    clocked.time.on_clock(1, NOW.utc_ms - 10 * YEAR_MS, NOW)
    clocked.time.on_clock(2, NOW.utc_ms - YEAR_MS, NOW)
    assert clocked.time.contradiction_ms == -YEAR_MS
    clocked.time.begin(Moment(NOW.mono_ms, NOW.utc_ms - YEAR_MS), alone=False)
    assert clocked.time.contradiction_ms is None
    assert clocked.time.confirmed
    clocked.time.on_down(2)
    assert clocked.time.contradiction_ms == -9 * YEAR_MS
    clocked.time.on_down(1)
    assert clocked.time.contradiction_ms is None


def test_clock_set_wrong_is_contradicted_before_anybody_speaks_again():
    clocked = Clocked()
    clocked.time.on_clock(1, NOW.utc_ms, NOW)
    clocked.time.begin(Moment(NOW.mono_ms + 1, NOW.utc_ms + YEAR_MS), alone=False)
    assert clocked.time.contradiction_ms is not None


# --- alone -----------------------------------------------------------------------------------------------


def test_sole_member_sees_by_its_clock_and_nothing_is_certain_for_an_hour():
    clocked = Clocked()
    clocked.time.begin(NOW, alone=True)
    assert clocked.time.synced
    assert clocked.time.now_ms(NOW) == NOW.utc_ms
    assert clocked.time.certain_ms(NOW) == 0
    soon, later = after(ALONE_STEADY_MS / 1000 - 1), after(ALONE_STEADY_MS / 1000)
    clocked.time.begin(soon, alone=True)
    assert clocked.time.certain_ms(soon) < YEAR_MS
    clocked.time.begin(later, alone=True)
    assert clocked.time.certain_ms(later) == later.utc_ms


def test_clock_of_a_sole_member_that_is_set_begins_its_hour_anew():
    clocked = Clocked()
    clocked.time.begin(NOW, alone=True)
    wrong = Moment(NOW.mono_ms + ALONE_STEADY_MS - 1, NOW.utc_ms + 10 * YEAR_MS)
    clocked.time.begin(wrong, alone=True)
    assert clocked.time.now_ms(wrong) == wrong.utc_ms
    right = after(ALONE_STEADY_MS / 1000)
    clocked.time.begin(right, alone=True)
    assert clocked.time.now_ms(right) == right.utc_ms
    assert clocked.time.certain_ms(right) < YEAR_MS


def test_clock_of_a_sole_member_counts_no_more_when_another_joins():
    clocked = Clocked()
    clocked.time.begin(NOW, alone=True)
    clocked.time.begin(NOW, alone=False)
    assert clocked.time.now_ms(NOW) == 0


# --- the floor -------------------------------------------------------------------------------------------


def test_restart_goes_on_from_the_floor_whatever_the_clock_says():
    for utc_ms in (0, NOW.utc_ms - 10 * YEAR_MS, NOW.utc_ms + 10 * YEAR_MS):
        clocked = Clocked()
        clocked.time.on_clock(1, NOW.utc_ms, NOW)
        clocked.save()
        clocked.restart(utc_ms)
        assert clocked.time.now_ms(clocked.now) == NOW.utc_ms
        assert not clocked.time.synced


def test_floor_is_written_when_it_has_risen_a_minute():
    clocked = Clocked()
    clocked.time.on_clock(1, NOW.utc_ms, NOW)
    clocked.save()
    first = clocked.store.setting("time_floor")
    clocked.now = after(FLOOR_SAVED_MS / 1000 - 0.001)
    clocked.save()
    assert clocked.store.setting("time_floor") == first
    clocked.now = after(FLOOR_SAVED_MS / 1000)
    clocked.save()
    assert clocked.store.setting("time_floor") != first
    assert clocked.time.floor_s == clocked.now.utc_s


def test_horizon_is_a_whole_hour_not_before_what_is_forgotten():
    clocked = Clocked()
    clocked.time.on_clock(1, NOW.utc_ms, NOW)
    horizon_s = clocked.time.horizon_s(NOW)
    assert horizon_s % 3600 == 0
    assert 0 <= horizon_s - (NOW.utc_s - HEADER_LIFE_S) < 3600


def test_moment_of_a_group_time_is_told_on_the_monotonic_clock():
    clocked = Clocked()
    clocked.time.on_clock(1, NOW.utc_ms, NOW)
    assert clocked.time.mono_at(NOW.utc_ms + 5000, after(2)) == after(5).mono_ms
