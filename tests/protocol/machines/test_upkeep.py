"""Upkeep: who renews whom, when, and who holds back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from protocol.authority.bodies import Kind, RevokeBody
from protocol.authority.elements import Element, decode_untrusted_element
from protocol.authority.issuing import CredentialInfo, IssueRequest
from protocol.credentials.names import name_of_key
from protocol.credentials.roles import ADMIN, MEMBER
from protocol.limits import CLOSED_AFTER_S
from protocol.machines.events import Issue, Send, SetProperties, Tick
from protocol.machines.upkeep import RenewalPolicy, policy_in, warned_from_s
from protocol.peer_time import Window
from protocol.wire.messages import News
from tests.protocol.machines.playing import Player, only
from tests.support.builders import GRC, NOW, Group, after
from tests.support.keys import named

LIFE_S = 900


def issue(player: Player, name: str, role: int = MEMBER, **info: Any) -> None:
    key = named(name).public
    wish = CredentialInfo(role=role, **({"valid_s": LIFE_S} | info))
    player.tell(Issue((IssueRequest(name_of_key(key, name), key, wish, store=True),)))


@pytest.fixture
def alice() -> Player:
    """The creator, with a member and two administrators whose credentials are short."""
    player = Player.of(Group(), "alice")
    issue(player, "bob", ADMIN, valid_s=100 * LIFE_S)
    issue(player, "carl")
    return player


def end_of(player: Player, name: str) -> int | None:
    current = player.machine.members.view.current(named(name).public.pid, player.now.utc_s)
    return None if current is None else current.window.end


def wait_until(player: Player, seconds: float) -> None:
    """Let the machine do what it has to at each of its deadlines up to then."""
    end = after(seconds).mono_ms
    for _ in range(400_000):
        due = player.deadline()
        if due is None or due >= end:
            break
        player.at((max(due, player.now.mono_ms) + 1 - after(0).mono_ms) / 1000)
    else:
        raise AssertionError("it never rests")
    player.at(seconds)


def test_credential_is_renewed_when_a_third_of_its_life_is_left(alice):
    first = end_of(alice, "carl")
    wait_until(alice, LIFE_S * 0.5)
    assert end_of(alice, "carl") == first
    wait_until(alice, LIFE_S * 0.75)
    second = end_of(alice, "carl")
    assert (second or 0) > (first or 0) > 0
    grant = alice.machine.members.view.current(named("carl").public.pid, alice.now.utc_s)
    assert grant is not None
    assert (grant.renews is not None, grant.wanted) == (True, LIFE_S)


def test_it_goes_on_for_many_generations_while_its_holder_is_about(alice):
    alice.meet(1, "carl")
    for seconds in range(30, 20 * LIFE_S, 30):
        wait_until(alice, seconds)
        alice.hear(1, alice.agree())
        assert end_of(alice, "carl") is not None
    assert len(alice.machine.members.view.grants_ever(named("carl").public.pid)) > 20


def test_who_has_not_been_seen_is_not_renewed(alice):
    alice.tell(SetProperties({"renewal": {"unseen_s": LIFE_S}}, Group().key(GRC)))
    issue(alice, "dave", valid_s=3 * LIFE_S)
    wait_until(alice, 3 * LIFE_S - 10)
    assert len(alice.machine.members.view.grants_ever(named("dave").public.pid)) == 1


def test_what_has_no_end_or_travels_by_hand_is_left_alone(alice):
    key = named("erin").public
    wish = CredentialInfo(role=MEMBER, valid_s=LIFE_S)
    alice.tell(Issue((IssueRequest(name_of_key(key, "erin"), key, wish, invitation=True),)))
    wait_until(alice, LIFE_S - 1)
    assert len(alice.machine.members.view.grants_ever(key.pid)) == 1
    assert len(alice.machine.members.view.grants_ever(named("alice").public.pid)) == 1


def test_group_may_leave_it_to_people(alice):
    alice.tell(SetProperties({"renewal": {"auto": False}}, Group().key(GRC)))
    wait_until(alice, LIFE_S - 1)
    assert len(alice.machine.members.view.grants_ever(named("carl").public.pid)) == 1


def test_group_may_say_when_and_for_how_long(alice):
    alice.tell(SetProperties({"renewal": {"left": 2, "valid_s": 5 * LIFE_S}}, Group().key(GRC)))
    wait_until(alice, LIFE_S * 0.6)
    assert (end_of(alice, "carl") or 0) - alice.now.utc_s > 4 * LIFE_S


def twin(alice: Player, name: str) -> Player:
    """Another node with all that alice's holds."""
    player = Player.of(Group(), name, elements_of(alice))
    player.at(1)
    return player


def elements_of(player: Player) -> list[Element]:
    return [decode_untrusted_element(raw) for raw in player.store.load()]


def test_second_administrator_holds_back_and_acts_when_the_first_does_not(alice):
    bob = twin(alice, "bob")
    due_s = LIFE_S * 2 / 3  # that the window begins 300 seconds before the act makes no difference
    wait_until(bob, due_s + 5)
    assert len(bob.machine.members.view.grants_ever(named("carl").public.pid)) == 1
    wait_until(bob, due_s + 80)
    assert len(bob.machine.members.view.grants_ever(named("carl").public.pid)) == 2


def test_second_administrator_leaves_alone_what_the_first_has_done(alice):
    bob = twin(alice, "bob")
    wait_until(alice, LIFE_S * 0.7)
    new = [element for element in elements_of(alice) if not bob.machine.members.holds(element)]
    bob.at(510)
    bob.meet(1, "alice")
    bob.hear(1, News(tuple(element.raw for element in new)))
    wait_until(bob, LIFE_S * 0.8)
    assert len(bob.machine.members.view.grants_ever(named("carl").public.pid)) == 2


def test_member_renews_nobody(alice):
    carl = twin(alice, "carl")
    wait_until(carl, LIFE_S * 0.9)
    assert not [one for one in only(Send, carl.tell(Tick())) if isinstance(one.message, News)]
    assert len(carl.machine.members.view.grants_ever(named("bob").public.pid)) == 1


def test_key_whose_credential_ended_a_day_ago_is_closed_once(alice):
    alice.tell(SetProperties({"renewal": {"unseen_s": 60}}, Group().key(GRC)))
    alice.machine.data.time.on_clock(1, NOW.utc_ms, NOW)  # a neighbor agrees with its clock
    end = end_of(alice, "carl")
    alice.at(LIFE_S + CLOSED_AFTER_S - 100)
    wait_until(alice, LIFE_S + CLOSED_AFTER_S - 50)
    assert removals(alice) == []
    wait_until(alice, LIFE_S + CLOSED_AFTER_S + 100)
    (removal,) = removals(alice)
    assert (removal.until, removal.key) == (end, named("carl").public.raw)
    alice.at(LIFE_S + 2 * CLOSED_AFTER_S)
    assert len(removals(alice)) == 1


def test_nobody_is_closed_by_a_clock_that_no_neighbor_agrees_with(alice):
    alice.tell(SetProperties({"renewal": {"unseen_s": 60}}, Group().key(GRC)))
    alice.at(LIFE_S + CLOSED_AFTER_S - 100)
    wait_until(alice, LIFE_S + 2 * CLOSED_AFTER_S)
    assert removals(alice) == []


def removals(player: Player) -> list[RevokeBody]:
    acts = [one for one in elements_of(player) if getattr(one, "kind", None) == Kind.REVOKE_CREDENTIAL]
    return [one.body for one in acts if isinstance(one.body, RevokeBody)]  # type: ignore[union-attr]


@given(
    st.dictionaries(
        st.sampled_from(["auto", "left", "valid_s", "unseen_s", "x"]),
        st.none() | st.integers() | st.text() | st.booleans(),
    )
)
def test_policy_that_says_nonsense_is_the_default_there(renewal):
    policy, default = policy_in(renewal), RenewalPolicy()
    assert policy.auto in (True, False)
    assert 2 <= policy.left <= 100
    assert policy.valid_s >= 0 < policy.unseen_s
    assert policy_in({}) == default


def test_end_is_worth_a_warning_in_the_last_sixth_or_month_of_a_life():
    group = Group()

    def warned(life_s: int) -> int | None:
        start = NOW.utc_s + 600
        window = Window(start, start + life_s)
        grant = group.grant("alice -> bob:member", window=window).grant
        from_s = warned_from_s(grant)
        return None if from_s is None else grant.window.end - from_s

    assert warned(600) == 100
    assert warned(180 * 86_400) == 30 * 86_400
    assert warned(400 * 86_400) == 30 * 86_400
    assert warned_from_s(group.creator.grant) is None
