from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
from hypothesis import given, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from peerd.transport.slots import Slot, SlotLimits, Slots, site_of

LIMITS = SlotLimits(strangers=4, strangers_per_address=2, strangers_per_loopback_address=3, members=2)


@dataclass
class FakeStay:
    """A stay without a clock."""

    deadline: float = 10
    cancel_called: bool = False

    def cancel(self) -> None:
        self.cancel_called = True


def admit(slots: Slots, host: str) -> Slot:
    return slots.admit(host, FakeStay())


def out(slot: Slot) -> bool:
    return slot.stay.cancel_called


def test_the_oldest_stranger_leaves_when_all_slots_are_taken():
    slots = Slots(LIMITS)
    first, *others = [admit(slots, f"10.0.0.{n}") for n in range(5)]
    assert out(first)
    assert not any(map(out, others))
    assert slots.strangers == 4


def test_an_address_with_its_share_loses_its_own_oldest():
    slots = Slots(LIMITS)
    other = admit(slots, "10.0.0.9")
    first, second, third = [admit(slots, "10.0.0.1") for _ in range(3)]
    assert (out(other), out(first), out(second), out(third)) == (False, True, False, False)


def test_loopback_has_a_share_of_its_own():
    slots = Slots(LIMITS)
    inside = [admit(slots, host) for host in ("127.0.0.1", "127.0.0.1", "127.0.0.1", "127.0.0.1")]
    assert [out(slot) for slot in inside] == [True, False, False, False]


def test_a_member_leaves_the_strangers_for_good_and_has_no_deadline():
    slots = Slots(LIMITS)
    member = admit(slots, "10.0.0.1")
    assert member.promote()
    assert member.stay.deadline == math.inf
    for n in range(20):
        admit(slots, f"10.0.1.{n}")
    assert not out(member)
    assert (slots.strangers, slots.members) == (4, 1)
    member.leave()
    assert slots.members == 0


def test_no_more_members_than_slots_and_the_rest_stay_strangers():
    slots = Slots(LIMITS)
    promoted = [admit(slots, f"10.0.0.{n}").promote() for n in range(3)]
    assert promoted == [True, True, False]
    assert (slots.strangers, slots.members) == (1, 2)


def test_whoever_was_pushed_out_or_ran_out_of_time_cannot_be_promoted():
    slots = Slots(LIMITS)
    pushed = admit(slots, "10.0.0.0")
    for n in range(1, 5):
        admit(slots, f"10.0.0.{n}")
    assert not pushed.promote()
    late = slots.admit("10.0.2.1", FakeStay(cancel_called=True))
    assert not late.promote()
    assert slots.members == 0


def test_leaving_twice_frees_one_place():
    slots = Slots(LIMITS)
    one, other = admit(slots, "10.0.0.1"), admit(slots, "10.0.0.2")
    one.leave()
    one.leave()
    assert slots.strangers == 1
    other.leave()
    assert slots.strangers == 0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2001:db8::1", "2001:db8::ffff:2"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::1", "::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("node-a", "node-a"),
    ],
)
def test_these_count_as_one_address(one, other):
    assert site_of(one) == site_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("192.0.2.1", "192.0.2.2"),
        ("2001:db8::1", "2001:db8:0:1::1"),
        ("fe80::1", "fe80::2"),
        ("::1", "::2"),
        ("node-a", "node-b"),
    ],
)
def test_these_count_as_two_addresses(one, other):
    assert site_of(one) != site_of(other)


@given(st.text(max_size=50))
def test_any_name_stands_for_some_site(host):
    assert isinstance(site_of(host), str)


class SlotsModel(RuleBasedStateMachine):
    """Whatever comes and goes, the bounds hold and nobody is forgotten."""

    def __init__(self) -> None:
        super().__init__()
        self.slots = Slots(LIMITS)
        self.strangers: list[Slot] = []
        self.members: list[Slot] = []

    @rule(host=st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.3", "127.0.0.1"]))
    def arrive(self, host: str) -> None:
        self.strangers.append(admit(self.slots, host))
        self.strangers = [slot for slot in self.strangers if not out(slot)]

    @rule(pick=st.integers(0, 10))
    def promote(self, pick: int) -> None:
        if self.strangers:
            slot = self.strangers[pick % len(self.strangers)]
            if slot.promote():
                self.strangers.remove(slot)
                self.members.append(slot)
            else:
                assert len(self.members) == LIMITS.members

    @rule(pick=st.integers(0, 10))
    def leave(self, pick: int) -> None:
        everybody = self.strangers + self.members
        if everybody:
            slot = everybody[pick % len(everybody)]
            slot.leave()
            (self.strangers if slot in self.strangers else self.members).remove(slot)

    @invariant()
    def bounds_hold(self) -> None:
        assert self.slots.strangers == len(self.strangers) <= LIMITS.strangers
        assert self.slots.members == len(self.members) <= LIMITS.members
        for site in {slot.site for slot in self.strangers}:
            share = (
                LIMITS.strangers_per_loopback_address if site == "127.0.0.1" else LIMITS.strangers_per_address
            )
            assert sum(slot.site == site for slot in self.strangers) <= share


TestSlotsModel = SlotsModel.TestCase
