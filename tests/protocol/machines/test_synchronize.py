"""Synchronize: when a session begins, how it goes, and that it leaves two neighbors with one set."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from protocol.authority.act_set import ActSet
from protocol.authority.bodies import Kind
from protocol.authority.elements import Element
from protocol.errors import Fault, RemoteProtocolError
from protocol.limits import (
    ANTI_ENTROPY_MS,
    DIGEST_DIFFERS_MS,
    ELEMENTS_PER_FRAME_MAX,
    KEEPALIVE_MS,
    RECONCILE_S_MAX,
    SESSION_GAP_MS_MAX,
    SESSION_GAP_MS_MIN,
    TRANSFER_FRAMES_IN_FLIGHT_MAX,
)
from protocol.machines.link import alive
from protocol.peer_time import Moment
from protocol.wire.messages import KeepAlive, Namespace, Reconcile, Taken, Transfer
from tests.protocol.machines.playing import LIE, said
from tests.protocol.machines.reconciling import limits
from tests.protocol.machines.sessions import Pair, Side, grown
from tests.protocol.machines.test_members import AT_ONCE
from tests.support.builders import NOW, Group, after
from tests.support.strategies import Sample, act_sets

# --- the result -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TwoSets:
    """What two nodes were given of one sample: all, but for what is marked as the other's alone."""

    sample: Sample = field(repr=False)
    marks: list[int]

    def given_to(self, index: int) -> list[Element]:
        marked = zip(self.sample.elements, self.marks, strict=True)
        return [element for element, mark in marked if mark != 1 - index]


@st.composite
def two_sets_of_acts(draw) -> TwoSets:
    sample = draw(act_sets(AT_ONCE))
    count = len(sample.elements)
    return TwoSets(sample, draw(st.lists(st.integers(0, 7), min_size=count, max_size=count)))


@given(two_sets_of_acts(), st.booleans())
def test_any_two_sets_end_equal_and_no_session_is_left(sets, opening):
    pair = Pair.of(sets.sample.group, sets.given_to(0), sets.given_to(1))
    before = [set(side.node.members.ids) for side in pair.sides]
    if opening:
        pair.open()
    pair.deliver()
    assert pair.idle
    seconds = 0.0
    while not pair.equal:
        seconds += KEEPALIVE_MS / 1000
        assert seconds < SESSION_GAP_MS_MAX / 1000
        pair.tick(after(seconds))
        pair.deliver(after(seconds))
        assert pair.idle
    for side, had in zip(pair.sides, before, strict=True):
        left = had - set(side.node.members.ids)
        assert all(side.node.store.get(one) is not None for _, one in left), "void acts stand aside"
        assert not any(side.node.members.view.is_protected(one) for _, one in left)
    assert list(pair.sides[0].node.members.ids) == list(pair.sides[1].node.members.ids)


@given(st.sets(st.integers(0, 39), max_size=40), st.sets(st.integers(0, 39), max_size=40))
def test_one_session_brings_all_that_is_missing(one, two):
    group = Group()
    acts = [group.act("alice", Kind.RESIGN, {"n": n}, chain=n + 1) for n in range(40)]
    base = group.founding.elements
    pair = Pair.of(group, [*base, *(acts[n] for n in one)], [*base, *(acts[n] for n in two)])
    pair.open()
    pair.deliver()
    assert pair.equal
    assert pair.idle
    assert pair.begun() == ([(0, 0)] if one != two else [])
    moved = [len(m.elements) for _, m in pair.log if isinstance(m, Transfer)]
    assert sum(moved) == len(one ^ two)


def test_elements_are_sent_parents_first():
    group = grown(20)
    pair = Pair.of(group, group.elements, group.founding.elements[:1])
    pair.open()
    pair.deliver()
    assert pair.equal
    sent = [raw for _, m in pair.log if isinstance(m, Transfer) for raw in m.elements]
    assert sent == [element.raw for element in group.elements if element is not group.genesis]
    assert pair.sides[1].node.members.held == 0


def test_session_that_was_cut_short_is_followed_by_others_at_once_until_nothing_is_left():
    group = grown(30)
    pair = Pair.of(group, group.elements, group.founding.elements)
    with limits(RECONCILE_FOUND_MAX=8):
        pair.open()
        pair.deliver()
    assert pair.equal
    assert pair.idle
    assert pair.begun() == [(0, 0), (1, 1)]


def test_session_that_was_cut_short_and_brought_nothing_new_is_not_followed():
    group = grown(30)
    pair = Pair.of(group, group.elements, group.founding.elements)
    with limits(RECONCILE_FOUND_MAX=8):
        pair.open()
        while pair.waiting:
            if isinstance(pair.waiting[0][1], Transfer):  # the receiver has it by other means
                pair.sides[1].node.take(group.elements)
            pair.step()
    assert pair.idle
    assert pair.begun() == [(0, 0)]


# --- beginning --------------------------------------------------------------------------------------------


@pytest.fixture
def group():
    return Group()


@pytest.fixture
def pair(group):
    """Two sides that differ by one act."""
    act = group.act("alice", Kind.RESIGN, {})
    return Pair.of(group, [one for one in group.elements if one is not act], group.elements)


def test_digests_that_differ_when_the_link_opens_make_the_dialling_side_begin_alone(pair):
    pair.open()
    assert pair.begun() == [(0, 0)]


def test_digests_that_agree_begin_nothing(group):
    pair = Pair.of(group, group.elements, group.elements)
    pair.open()
    assert pair.log == []
    assert all(side.sync.next_deadline() is None for side in pair.sides)


@pytest.mark.parametrize("index, number", [(0, 0), (1, 1)])
def test_digests_that_differ_for_five_seconds_make_either_side_begin(index, number, pair):
    side, other = pair.sides[index], pair.sides[1 - index]
    assert side.summary(other.told()) == []
    side.summary(other.told(), after(4))
    assert side.sync.next_deadline() == NOW.mono_ms + DIGEST_DIFFERS_MS
    assert side.sync.on_tick(after(4.999)) == []
    pair.say(index, side.sync.on_tick(after(5)))
    assert pair.begun() == [(index, number)]
    pair.deliver()
    assert pair.equal
    assert pair.idle


def test_difference_that_has_passed_begins_nothing(pair):
    side, other = pair.sides
    side.summary(other.told())
    side.summary(side.told(), after(3))
    assert side.sync.on_tick(after(6)) == []


def test_set_that_has_become_equal_by_other_means_begins_nothing(pair, group):
    side, other = pair.sides
    side.summary(other.told())
    side.node.take(group.elements)
    assert side.sync.on_tick(after(5)) == []
    assert side.sync.busy == ()


def test_when_both_begin_at_once_the_session_of_the_dialling_side_goes_on(pair):
    for index, side in enumerate(pair.sides):
        side.summary(pair.sides[1 - index].told())
    for index, side in enumerate(pair.sides):
        pair.say(index, side.sync.on_tick(after(5)))
    assert pair.begun() == [(0, 0), (1, 1)]
    pair.deliver(after(5))
    assert pair.equal
    assert pair.idle
    assert {m.session for _, m in pair.log if isinstance(m, Transfer)} == {0}


def test_new_node_asks_one_neighbor_at_once_and_the_next_when_that_is_done(group):
    act = group.act("alice", Kind.RESIGN, {})
    new, known = Side(group), Side(group, group.elements)
    new.up(1, dialled=True)
    new.up(2, dialled=True)
    known.up(1, dialled=False)
    outputs = new.summary(known.told(), opening=True)
    assert new.summary(LIE, number=2, opening=True) == []
    assert new.sync.busy == (1,)
    while 1 in new.sync.busy:
        answers = [one for message in said(outputs, 1) for one in said(known.hear(message))]
        outputs = [one for message in answers for one in new.hear(message)]
    assert new.node.store.get(act.id) == act.raw
    assert [type(message) for message in said(outputs, 2)] == [Reconcile]


def test_neighbor_that_stalls_makes_the_others_wait_for_five_seconds_and_no_longer(group):
    side = Side(group)
    for number in (1, 2):
        side.up(number, dialled=True)
        side.summary(LIE, number=number, opening=True)
    assert list(side.sync.busy) == [1]
    side.sync.on_tick(after(5))
    assert list(side.sync.busy) == [1, 2]


def test_neighbor_that_leaves_takes_its_session_along(pair):
    pair.open()
    side = pair.sides[0]
    side.sync.on_down(1, side.node.store)
    assert side.sync.busy == ()
    side.sync.on_down(1, side.node.store)


# --- gaps -------------------------------------------------------------------------------------------------


def vain(pair: Pair, count: int, now: Moment = NOW) -> list[int]:
    """When the first side begins so many sessions with a neighbor whose digest never agrees."""
    side = pair.sides[0]
    times: list[int] = []
    while len(times) < count:
        side.summary(LIE, now)
        deadline = side.sync.next_deadline()
        assert deadline is not None
        now = after((max(deadline, now.mono_ms) - NOW.mono_ms) / 1000)
        before = len(pair.begun())
        pair.say(0, side.sync.on_tick(now))
        if len(pair.begun()) > before:
            times.append(now.mono_ms - NOW.mono_ms)
        pair.waiting = deque(one for one in pair.waiting if not isinstance(one[1], KeepAlive))
        pair.deliver(now)
        assert pair.idle
    return times


def gaps(times: list[int]) -> list[int]:
    return [later - earlier for earlier, later in pairwise(times)]


def test_sessions_that_bring_nothing_are_further_and_further_apart(group):
    times = vain(Pair.of(group, group.elements, group.elements), 9)
    assert times[0] == DIGEST_DIFFERS_MS
    assert gaps(times) == [
        min(SESSION_GAP_MS_MAX, SESSION_GAP_MS_MIN * 2**count) for count in range(len(times) - 1)
    ]


def test_gap_begins_anew_once_the_digests_agreed(group):
    pair = Pair.of(group, group.elements, group.elements)
    last = vain(pair, 5)[-1]
    now = after(last / 1000 + 400)
    pair.sides[0].summary(pair.sides[1].told(), now)
    assert gaps(vain(pair, 3, now)) == [SESSION_GAP_MS_MIN, 2 * SESSION_GAP_MS_MIN]


def test_gap_begins_anew_once_something_came(pair):
    side = pair.sides[0]
    partner = side.sync._partners[1].auth
    partner.gap_ms = SESSION_GAP_MS_MAX
    pair.open()
    pair.deliver()
    assert pair.equal
    assert partner.gap_ms == SESSION_GAP_MS_MIN


def test_end_of_a_quarantine_shortens_the_gap_and_never_lengthens_it(group):
    pair = Pair.of(group, group.elements, group.elements)
    last = vain(pair, 6)[-1]
    side, now = pair.sides[0], after(last / 1000 + 1)
    side.summary(LIE, now)
    side.sync.on_quarantine_ended(now)
    assert vain(pair, 1, now) == [last + 1000 + SESSION_GAP_MS_MIN]
    side.sync.on_quarantine_ended(after(last / 1000 + 500))
    assert side.sync._partners[1].auth.not_before_ms == last + 1000 + NOW.mono_ms + 2 * SESSION_GAP_MS_MIN


def test_answerer_leaves_ten_seconds_before_it_begins_a_session_of_its_own(pair):
    pair.open()
    pair.deliver()
    other = pair.sides[1]
    other.summary(LIE, after(2))
    assert other.sync.next_deadline() == NOW.mono_ms + SESSION_GAP_MS_MIN


def test_session_that_brought_all_is_not_followed_by_another(pair):
    """The side that was sent nothing hears no digest for a while; what it heard before the session is old."""
    pair.open()
    pair.deliver()
    for side in pair.sides:
        side.links[1].theirs = LIE
        assert [type(message) for message in said(side.sync.on_tick(after(30)))] == []


# --- rounds -----------------------------------------------------------------------------------------------


def test_round_out_of_turn_is_a_fault(pair):
    pair.open()
    (_, opening), *_ = pair.waiting
    other = pair.sides[1]
    other.hear(opening)
    with pytest.raises(RemoteProtocolError) as caught:
        other.hear(opening)
    assert caught.value.fault is Fault.OUT_OF_TURN


def test_sides_must_agree_on_whether_a_reconciliation_has_ended(pair):
    pair.open()
    pair.step()
    index, answer = pair.waiting.popleft()
    assert isinstance(answer, Reconcile)
    wrong = Reconcile(Namespace.AUTH, 0, answer.session, answer.round, answer.payload, not answer.done)
    with pytest.raises(RemoteProtocolError) as caught:
        pair.sides[1 - index].hear(wrong)
    assert caught.value.fault is Fault.OUT_OF_TURN


def test_bytes_that_are_no_reconciliation_are_a_fault(pair):
    with pytest.raises(RemoteProtocolError):
        pair.sides[1].hear(Reconcile(Namespace.AUTH, 0, 0, 0, b"\xff\xff", False))


@pytest.mark.parametrize(
    "message",
    [
        Reconcile(Namespace.AUTH, 0, 1, 2, b"x", False),
        Reconcile(Namespace.AUTH, 0, 0, 0, b"x", False),
        Reconcile(Namespace.AUTH, 0, 7, 1, b"x", True),
        Taken(0, 0),
    ],
    ids=str,
)
def test_what_belongs_to_no_session_is_ignored(message, pair):
    assert pair.sides[0].hear(message) == []
    assert pair.sides[0].sync.busy == ()


def test_neighbor_may_start_over(pair):
    pair.open()
    pair.step()
    assert pair.sides[1].sync.busy == (1,)
    pair.waiting.clear()
    pair.say(0, pair.sides[0].sync.on_tick(after(RECONCILE_S_MAX)))
    pair.deliver(after(RECONCILE_S_MAX))
    assert pair.begun() == [(0, 0), (0, 2)]
    assert pair.equal
    assert pair.idle


# --- transfer ---------------------------------------------------------------------------------------------


def transfers(pair: Pair) -> list[Transfer]:
    return [message for _, message in pair.log if isinstance(message, Transfer)]


def until_transfer(count: int, sender: int = 0) -> Pair:
    """A pair of which one side owes so many frames, at the moment when the first of them are under way."""
    group = grown(count, {"padding": b"x" * 40_000})  # each fills a frame
    sets = [group.elements, group.founding.elements]
    pair = Pair.of(group, *(sets if sender == 0 else sets[::-1]))
    pair.open()
    while not transfers(pair):
        pair.step()
    return pair


@pytest.mark.parametrize("sender", [0, 1])
def test_so_many_frames_are_under_way_and_each_credit_frees_one_more(sender):
    owed = TRANSFER_FRAMES_IN_FLIGHT_MAX + 5
    pair = until_transfer(owed, sender)
    assert [one.number for one in transfers(pair)] == list(range(TRANSFER_FRAMES_IN_FLIGHT_MAX))
    number = transfers(pair)[0].session
    for taken in range(owed):
        assert len(transfers(pair)) == min(owed, TRANSFER_FRAMES_IN_FLIGHT_MAX + taken)
        pair.say(sender, pair.sides[sender].hear(Taken(number, taken)))
    assert [one.last for one in transfers(pair)] == [False] * (owed - 1) + [True]
    assert pair.sides[sender].sync.busy == ()


@pytest.mark.parametrize("number", [1, 3, 4, 99])
def test_credit_for_a_frame_that_is_not_the_next_is_a_fault(number):
    pair = until_transfer(6)
    with pytest.raises(RemoteProtocolError) as caught:
        pair.sides[0].hear(Taken(0, number))
    assert caught.value.fault is Fault.OUT_OF_TURN


def test_credit_before_any_frame_is_a_fault(pair):
    pair.open()
    with pytest.raises(RemoteProtocolError) as caught:
        pair.sides[0].hear(Taken(0, 0))
    assert caught.value.fault is Fault.OUT_OF_TURN


def test_each_frame_is_credited_and_after_the_last_the_digest_is_told():
    pair = until_transfer(2)
    pair.deliver()
    said_by_receiver = [
        message for index, message in pair.log if index == 1 and not isinstance(message, Reconcile)
    ]
    assert said_by_receiver == [Taken(0, 0), Taken(0, 1), alive(pair.sides[0].told(), NOW)]


def test_frame_of_a_session_that_is_over_is_taken_and_credited(group):
    act = group.act("alice", Kind.RESIGN, {})
    side = Side(group, group.founding.elements)
    side.up(dialled=True)
    assert said(side.hear(Transfer(Namespace.AUTH, 8, 3, (act.raw,), False))) == [Taken(8, 3)]
    assert side.node.store.get(act.id) == act.raw


def test_many_small_elements_go_by_256():
    group = grown(ELEMENTS_PER_FRAME_MAX + 40)
    pair = Pair.of(group, group.elements, group.founding.elements)
    pair.open()
    pair.deliver()
    assert pair.equal
    assert [len(one.elements) for one in transfers(pair)][-1] > 0
    assert max(len(one.elements) for one in transfers(pair)) <= ELEMENTS_PER_FRAME_MAX


def test_element_that_was_dropped_meanwhile_is_left_out_and_the_last_frame_still_comes(group):
    acts = [group.act("alice", Kind.RESIGN, {"n": n}) for n in range(3)]
    pair = Pair.of(group, group.elements, group.founding.elements)
    pair.open()
    while not any(isinstance(message, Reconcile) and message.done for _, message in pair.waiting):
        pair.step()
    giver = pair.sides[0]
    for act in acts:
        giver.node.write(partial(_discard, act.id))
    pair.deliver()
    assert transfers(pair)[-1].last
    assert not any(side.sync.busy for side in pair.sides)


def test_giver_who_has_lost_all_that_it_owed_says_so_with_an_empty_last_frame(group):
    act = group.act("alice", Kind.RESIGN, {})
    pair = Pair.of(group, group.elements, [one for one in group.elements if one is not act])
    pair.open()
    pair.sides[0].node.write(partial(_discard, act.id))
    pair.deliver()
    assert transfers(pair) == [Transfer(Namespace.AUTH, 0, 0, (), True)]
    assert pair.idle


def _discard(element_id: bytes, store: ActSet) -> None:
    store.discard(element_id)


# --- time -------------------------------------------------------------------------------------------------


def test_session_in_which_nothing_moves_for_a_minute_is_forgotten_and_another_begins(pair):
    pair.open()
    side = pair.sides[0]
    side.sync.on_tick(after(RECONCILE_S_MAX - 0.001))
    assert pair.begun() == [(0, 0)]
    assert side.sync.busy == (1,)
    pair.say(0, side.sync.on_tick(after(RECONCILE_S_MAX)))
    assert pair.begun() == [(0, 0), (0, 2)]


def test_answerer_forgets_a_session_that_stopped_as_well(pair):
    pair.open()
    pair.step()
    pair.waiting.clear()
    other = pair.sides[1]
    assert other.sync.busy == (1,)
    other.summary(other.told(), after(1))
    other.sync.on_tick(after(RECONCILE_S_MAX))
    assert other.sync.busy == ()


def test_whatever_moves_keeps_a_session(pair):
    pair = until_transfer(8)
    for taken in range(5):
        now = after(50 * (taken + 1))
        pair.sides[0].hear(Taken(0, taken), now)
        pair.sides[0].sync.on_tick(now)
        assert pair.sides[0].sync.busy == (1,)
    pair.sides[0].sync.on_tick(after(250 + RECONCILE_S_MAX - 0.001))
    assert pair.sides[0].sync.busy == (1,)


@given(st.integers(0, 2**32))
def test_somebody_is_told_our_digest_about_once_a_minute(seed):
    side = Side(Group(), seed=seed)
    side.up(1, dialled=True)
    side.up(2, dialled=False)
    assert side.sync.on_tick(NOW) == []
    now = NOW
    for _ in range(3):
        due = side.sync.next_deadline()
        assert due is not None
        assert ANTI_ENTROPY_MS // 2 <= due - now.mono_ms < ANTI_ENTROPY_MS * 3 // 2
        now = Moment(due, NOW.utc_ms)
        assert said(side.sync.on_tick(now)) == [alive(side.told(), now)]
        assert side.sync.on_tick(now) == []


def test_without_neighbors_nobody_is_told(group):
    side = Side(group)
    side.sync.on_tick(NOW)
    assert side.sync.on_tick(after(100)) == []
