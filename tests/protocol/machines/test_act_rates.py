"""Rates: what one key may sign, by the days that it is dated; a function of the set and of today."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from protocol.authority.acts import Place
from protocol.authority.bodies import Kind
from protocol.errors import RuleError
from protocol.limits import (
    ACT_COUNTED_BYTES,
    ACTS_A_DAY,
    ACTS_BURST,
    ACTS_OF_MEMBER_FACTOR,
    ACTS_REMOVING_FACTOR,
)
from protocol.machines import act_rates
from protocol.machines.act_rates import ActRates, cost_of, day_begins_s, day_of, is_removing
from protocol.peer_time import Moment, hlc_at
from tests.support.builders import Group

DAY_MS = 86_400_000
BURST, DAILY = 6, 2
KINDS = (int(Kind.GRANT), int(Kind.REVOKE_KEY), int(Kind.RESIGN), 130, 200, 64)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(act_rates, "ACTS_BURST", BURST)
    monkeypatch.setattr(act_rates, "ACTS_A_DAY", DAILY)


def place(day: int, author: bytes = b"a" * 32, level: int = 2) -> Place:
    return Place(bytes(32), author, bytes(16), 1, None, level, None, hlc_at(day * DAY_MS))


def has_room(rates: ActRates, day: int, today: int, kind: int = Kind.GRANT, **of: bool) -> bool:
    return rates.has_room_for(place(day), kind, 100, today, **of)


def fill(rates: ActRates, count: int, day: int, kind: int = Kind.GRANT) -> None:
    for _ in range(count):
        rates.note(place(day), kind, 100)


signed = st.lists(st.tuples(st.integers(0, 12), st.sampled_from(KINDS), st.integers(1, 3000)), max_size=40)


def conforms(acts: list[tuple[int, int, int]], today: int, burst: int, daily: int) -> bool:
    """What SPEC.md says: from no day on is more dated than a burst and what the days since have added."""
    return all(
        sum(size for day, _, size in acts if min(day, today) >= first) <= burst + daily * (today - first)
        for first in range(today + 1)
    )


def has_room_by_the_book(acts: list[tuple[int, int, int]], today: int) -> bool:
    cost = [(day, kind, cost_of(2, size)) for day, kind, size in acts]
    issued = [one for one in cost if not is_removing(one[1])]
    factor = ACTS_REMOVING_FACTOR
    return conforms(cost, today, BURST * factor, DAILY * factor) and conforms(issued, today, BURST, DAILY)


@given(signed, st.integers(0, 12))
def test_room_is_what_the_specification_says_whatever_came_in_which_order(acts, today):
    rates = ActRates()
    taken: list[tuple[int, int, int]] = []
    for day, kind, size in acts:
        fits = rates.has_room_for(place(day), kind, size, today)
        later = [*taken, (day, kind, size)]
        assert fits == has_room_by_the_book(later, today)
        if fits:
            rates.note(place(day), kind, size)
            taken = later


@given(signed, st.integers(0, 12), st.randoms(use_true_random=False))
def test_what_had_room_together_has_room_in_every_order_and_on_later_days(acts, today, random):
    rates, taken = ActRates(), []
    for day, kind, size in acts:
        if rates.has_room_for(place(day), kind, size, today):
            rates.note(place(day), kind, size)
            taken.append((day, kind, size))
    random.shuffle(taken)
    again = ActRates()
    for day, kind, size in taken:
        assert again.has_room_for(place(day), kind, size, today + random.randrange(3))
        again.note(place(day), kind, size)


@given(signed, signed, st.integers(0, 12))
def test_what_was_forgotten_leaves_no_trace(kept, gone, today):
    rates, plain = ActRates(), ActRates()
    for day, kind, size in [*kept, *gone]:
        rates.note(place(day), kind, size)
    for day, kind, size in gone:
        rates.has_room_for(place(day), kind, size, today)
        rates.forget(place(day), kind, size)
    for day, kind, size in kept:
        plain.note(place(day), kind, size)
    assert len(rates) == len(plain) == bool(kept)
    for kind in KINDS:
        for size in (1, 2000, 5000):
            one = place(today)
            assert rates.has_room_for(one, kind, size, today) == plain.has_room_for(one, kind, size, today)


def test_burst_and_then_so_many_a_day_and_never_more_than_a_burst_saved_up():
    rates = ActRates()
    fill(rates, BURST - 1, 10)
    assert has_room(rates, 10, 10)
    fill(rates, 1, 10)
    assert not has_room(rates, 10, 10)
    assert has_room(rates, 10, 11)
    fill(rates, DAILY, 10)
    assert not has_room(rates, 10, 11)
    assert not has_room(rates, 11, 11)
    fill(rates, BURST - DAILY, 13)
    assert not has_room(rates, 13, 13)
    fill(rates, 1, 1000)
    assert has_room(rates, 1000, 1000)
    fill(rates, BURST - 1, 1000)
    assert not has_room(rates, 1000, 1000)


def test_what_is_dated_long_ago_costs_nothing_today_but_no_more_than_its_days_allow():
    rates = ActRates()
    fill(rates, BURST + 5 * DAILY, 5)
    assert not has_room(rates, 5, 10)
    assert has_room(rates, 4, 10)
    assert has_room(rates, 5, 11)


def test_date_ahead_counts_as_of_today_until_its_day_has_come():
    rates = ActRates()
    fill(rates, BURST, 20)
    assert not has_room(rates, 10, 10)
    assert not has_room(rates, 19, 19)
    assert not has_room(rates, 20, 20)
    assert has_room(rates, 21, 21)


def test_who_has_issued_a_burst_can_still_revoke_as_much_and_then_nothing():
    rates = ActRates()
    fill(rates, BURST, 10)
    assert not has_room(rates, 10, 10)
    for kind in (Kind.REVOKE_CREDENTIAL, Kind.REVOKE_KEY, Kind.RESIGN, Kind.ANNUL):
        assert has_room(rates, 10, 10, kind)
    assert has_room(rates, 10, 10, urgent=True)
    fill(rates, BURST, 10, Kind.REVOKE_KEY)
    assert not has_room(rates, 10, 10, Kind.REVOKE_KEY)
    assert not has_room(rates, 10, 10, urgent=True)
    assert has_room(rates, 10, 11, Kind.REVOKE_KEY)


def test_removals_take_no_room_from_what_is_issued_until_all_of_it_is_used_up():
    rates = ActRates()
    fill(rates, BURST, 10, Kind.REVOKE_KEY)
    assert has_room(rates, 10, 10)
    fill(rates, BURST, 10, Kind.REVOKE_KEY)
    assert not has_room(rates, 10, 10)


def test_each_key_has_its_own_room_and_the_root_has_no_bound():
    rates = ActRates()
    fill(rates, BURST, 10)
    assert rates.has_room_for(place(10, b"b" * 32), Kind.GRANT, 100, 10)
    for _ in range(3 * BURST):
        assert rates.has_room_for(place(10, level=0), Kind.GRANT, 48 * 1024, 10)
        rates.note(place(10, level=0), Kind.GRANT, 48 * 1024)


@pytest.mark.parametrize(
    ("level", "size", "cost"),
    [
        (1, 1, 1),
        (1, ACT_COUNTED_BYTES, 1),
        (254, ACT_COUNTED_BYTES + 1, 2),
        (255, 1, ACTS_OF_MEMBER_FACTOR),
        (255, ACT_COUNTED_BYTES + 1, 2 * ACTS_OF_MEMBER_FACTOR),
        (0, 48 * 1024, 0),
    ],
)
def test_large_act_counts_more_and_that_of_a_plain_member_twenty_times(level, size, cost):
    assert cost_of(level, size) == cost


def test_day_begins_at_midnight():
    assert day_of(day_begins_s(20_000)) == 20_000
    assert day_of(day_begins_s(20_000) - 1) == 19_999


def test_own_signing_is_refused_before_nodes_whose_clock_lags_would_delay_it():
    group = Group()
    acts = [group.act("alice", Kind.ANNUL, {"act": bytes(32)}) for _ in range(2 * BURST)]
    day = day_of(acts[0].hlc_s)
    acts = [replace(act, place=replace(act.place, hlc=hlc_at(day * DAY_MS))) for act in acts]
    rates = ActRates()
    rates.check_own(acts, Moment(0, day * DAY_MS + 300_000))
    for act in acts:
        rates.note(act.place, act.kind, len(act.raw))
    with pytest.raises(RuleError) as refused:
        rates.check_own(acts[:1], Moment(0, (day + 1) * DAY_MS + 299_999))
    assert refused.value.code == "act-rate-exceeded"
    rates.check_own(acts[:1], Moment(0, (day + 1) * DAY_MS + 300_000))
    with pytest.raises(RuleError):
        rates.check_own(acts[: 2 * DAILY + 1], Moment(0, (day + 1) * DAY_MS + 300_000))
    with pytest.raises(RuleError):
        rates.check_removal(acts[0].place.author, 1, 100, Moment(0, day * DAY_MS + 300_000))
    rates.check_removal(acts[0].place.author, 0, 100, Moment(0, day * DAY_MS + 300_000))
    rates.check_removal(named_else(), 1, 100, Moment(0, day * DAY_MS + 300_000))


def named_else() -> bytes:
    return b"z" * 32


def test_batch_of_credentials_of_years_fits_real_limits():
    """As the limits stand: a burst in one day, and what came before at the rate of every day."""
    assert (ACTS_BURST, ACTS_A_DAY) == (20_000, 5_000)
