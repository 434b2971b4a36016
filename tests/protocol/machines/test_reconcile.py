"""Reconciliation against a plain set union, in both directions, and against neighbors that cheat."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import blake2b, sha256
from itertools import pairwise
from typing import TypeAlias
from unittest.mock import patch

import pytest
from hypothesis import given, strategies as st

from protocol.errors import Fault, RemoteProtocolError
from protocol.limits import (
    RECONCILE_ANSWER_BYTES_MAX,
    RECONCILE_BYTES_MAX,
    RECONCILE_COMPARED_IDS_MAX,
    RECONCILE_FOUND_MAX,
    RECONCILE_MESSAGES_MAX,
    RECONCILE_NAMED_MAX,
    RECONCILE_PAYLOAD_BYTES_MAX,
    RECONCILE_SHORT_IDS_MAX,
)
from protocol.machines import reconcile
from protocol.machines.ordered_ids import HIGHEST, LOWEST, OrderedIds, entry_of
from protocol.machines.reconcile import Reconciliation, Step
from protocol.machines.reconcile_format import Compared, Head, Left, Listed, Reader, Same, Split, Writer

KEY = bytes(range(32))


def many(count: int, start: int = 0, second: int | None = None) -> list[tuple[int, bytes]]:
    """Pairs with well spread ids, in the order of their seconds; all at one second if that is given."""
    return [
        (10 * n if second is None else second, sha256(n.to_bytes(8, "big")).digest())
        for n in range(start, start + count)
    ]


def ids_of(pairs) -> list[bytes]:
    """The ids of some pairs, sorted."""
    return sorted(identifier for _, identifier in pairs)


@dataclass
class Run:
    """What a session between two sides amounted to."""

    payloads: list[bytes] = field(default_factory=list)
    steps: tuple[list[Step], list[Step]] = field(default_factory=lambda: ([], []))  # initiator's, other's

    def theirs_lack(self, side: int) -> list[bytes]:
        return sorted(identifier for step in self.steps[side] for identifier in step.theirs_lack)

    def announced(self, side: int) -> tuple[list[bytes], int]:
        """The ids that a side was told to expect, and how many more."""
        steps = self.steps[side]
        return (
            [identifier for step in steps for identifier in step.ours_lack],
            sum(step.unnamed for step in steps),
        )

    @property
    def complete(self) -> bool:
        return all(steps[-1].complete for steps in self.steps if steps)


def session(one: OrderedIds, other: OrderedIds, key=KEY, short_id=None, meanwhile=lambda: None) -> Run:
    """Run a session to its end and check what always holds; `meanwhile` happens between any two messages."""
    sides = (
        Reconciliation(one, key, initiator=True, short_id=short_id),
        Reconciliation(other, key, initiator=False, short_id=short_id),
    )
    run = Run()
    payload: bytes | None = sides[0].open()
    while payload is not None:
        run.payloads.append(payload)
        assert 0 < len(payload) <= RECONCILE_PAYLOAD_BYTES_MAX
        assert len(run.payloads) <= vars(reconcile)["RECONCILE_MESSAGES_MAX"]
        meanwhile()
        hearer = len(run.payloads) % 2
        step = sides[hearer].answer(payload)
        run.steps[hearer].append(step)
        assert step.done or step.payload is not None
        assert step.done or not step.complete
        payload = step.payload
    assert sum(map(len, run.payloads)) <= RECONCILE_BYTES_MAX
    for steps in run.steps:
        assert [step.done for step in steps] == [False] * (len(steps) - 1) + [True]
    return run


def reconciled(one, other, **how) -> Run:
    """Run a complete session over two sets and check that it found exactly their differences."""
    one, other = set(one), set(other)
    run = session(OrderedIds(one), OrderedIds(other), **how)
    assert run.complete
    assert run.theirs_lack(0) == ids_of(one - other)
    assert run.theirs_lack(1) == ids_of(other - one)
    return run


def both_ways(one, other, **how) -> None:
    """Reconcile with either side as the initiator."""
    reconciled(one, other, **how)
    reconciled(other, one, **how)


@contextmanager
def limits(**changed: int):
    """The engine under other limits."""
    with ExitStack() as stack:
        for name, value in changed.items():
            stack.enter_context(patch.object(reconcile, name, value))
        yield


# --- equal to a set union -----------------------------------------------------------------------------------


def dated(identifier: bytes) -> tuple[int, bytes]:
    """An id with a second that follows from it: one of three, or any that an hlc can have."""
    second = identifier[0] % 3 if identifier[1] < 0xA0 else int.from_bytes(identifier[2:7], "big")
    return second, identifier


close_ids = st.integers(0, 255).map(lambda last: b"\x77" * 31 + bytes([last]))
any_ids = st.binary(min_size=32, max_size=32)
chosen_sets = st.sets((close_ids | any_ids).map(dated), max_size=120)


@dataclass(frozen=True)
class TwoSets:
    """Two sets that share all, some or none of up to 600 ids; each has up to 120 chosen ones besides."""

    count: int
    rare: int  # of 256 ids, how many only the first side has, and how many only the second
    second: int | None
    seed: int
    chosen: tuple[set[tuple[int, bytes]], set[tuple[int, bytes]]]

    def __iter__(self):
        one, other = set(self.chosen[0]), set(self.chosen[1])
        for pair in many(self.count, second=self.second):
            mark = sha256(bytes([self.seed]) + pair[1]).digest()[0]
            if mark >= self.rare:
                one.add(pair)
            if not self.rare <= mark < 2 * self.rare:
                other.add(pair)
        yield from (one, other)


def two_sets():
    return st.builds(
        TwoSets,
        count=st.integers(0, 600),
        rare=st.sampled_from([0, 1, 16, 128]),
        second=st.sampled_from([None, 7]),
        seed=st.integers(0, 255),
        chosen=st.tuples(chosen_sets, chosen_sets),
    )


@given(two_sets())
def test_session_finds_exactly_what_each_side_lacks(drawn):
    both_ways(*drawn)


@given(chosen_sets, chosen_sets)
def test_session_finds_differences_among_chosen_ids(one, other):
    both_ways(one, other)


@given(st.sets(st.integers(0, 2**16 - 1), max_size=400), st.sets(st.integers(0, 2**16 - 1), max_size=400))
def test_ids_that_share_thirty_bytes_and_their_second_are_told_apart(one, other):
    both_ways(
        [(5, b"\x42" * 30 + n.to_bytes(2, "big")) for n in one],
        [(5, b"\x42" * 30 + n.to_bytes(2, "big")) for n in other],
    )


@given(two_sets())
def test_announced_ids_are_those_that_come(drawn):
    one, other = drawn
    run = reconciled(one, other)
    for side, coming in ((0, set(other) - set(one)), (1, set(one) - set(other))):
        named, unnamed = run.announced(side)
        assert set(named) <= {identifier for _, identifier in coming}
        assert len(set(named)) == len(named)
        assert len(named) + unnamed == len(coming)


@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 512, 3000])
def test_identical_sets_are_settled_at_once(count):
    run = reconciled(many(count), many(count))
    assert len(run.payloads) <= 3
    assert sum(map(len, run.payloads)) < 400


@pytest.mark.parametrize("count", [1, 31, 32, 33, 300, 3000])
def test_empty_side_learns_that_it_lacks_everything(count):
    both_ways(many(count), [])


def test_new_node_is_told_how_much_will_come_for_little():
    run = reconciled(many(3), many(5000))
    assert run.announced(0) == ([], 4997)
    assert sum(map(len, run.payloads)) < 100


@pytest.mark.parametrize("lacking", [RECONCILE_NAMED_MAX, RECONCILE_NAMED_MAX + 1])
def test_ids_are_named_up_to_the_limit_and_counted_beyond(lacking):
    named, unnamed = reconciled([], many(lacking)).announced(0)
    assert (len(named), unnamed) == ((lacking, 0) if lacking <= RECONCILE_NAMED_MAX else (0, lacking))


@pytest.mark.parametrize("lost", [[0], [4999], [0, 4999], [2500], list(range(0, 5000, 617))])
def test_single_ids_are_found_wherever_they_stand(lost):
    everything = many(5000)
    both_ways(everything, [pair for n, pair in enumerate(everything) if n not in lost])


def test_sets_without_a_common_id_are_exchanged():
    both_ways(many(700)[::2], many(700)[1::2])
    both_ways(many(700, second=3)[:200], many(700, second=3)[200:])


@given(two_sets())
def test_same_sets_and_key_give_the_same_bytes(drawn):
    first = session(*map(OrderedIds, drawn))
    assert first.payloads == session(*map(OrderedIds, drawn)).payloads


def test_other_key_gives_other_fingerprints():
    one, other = many(100), many(101)
    first = reconciled(one, other).payloads[0]
    assert first != reconciled(one, other, key=bytes(32)).payloads[0]


def test_ids_with_equal_sums_and_xors_are_told_apart():
    def last_bits(*bits: int) -> list[tuple[int, bytes]]:
        return [(7, sha256(bytes([n])).digest()[:31] + bytes([0xE0 | bit])) for n, bit in enumerate(bits)]

    ones, others = last_bits(0, 1, 0, 1), last_bits(1, 0, 1, 0)

    def numbers(pairs) -> list[int]:
        return [int.from_bytes(identifier, "big") for _, identifier in pairs]

    assert sum(numbers(ones)) == sum(numbers(others))
    xors = [0, 0]
    for one, other in zip(numbers(ones), numbers(others), strict=True):
        xors = [xors[0] ^ one, xors[1] ^ other]
    assert xors[0] == xors[1]
    both_ways(many(500) + ones, many(500) + others)


# --- collisions of short ids --------------------------------------------------------------------------------


def weak(bits: int):
    """A short id of 8 bytes with so few bits that collisions are sure."""
    mask = (1 << bits) - 1

    def short_id(identifier: bytes) -> bytes:
        value = int.from_bytes(blake2b(identifier, digest_size=8).digest(), "big")
        return (value & mask).to_bytes(8, "big")

    return short_id


@given(two_sets(), st.sampled_from([0, 1, 4, 6, 10]))
def test_colliding_short_ids_lose_nothing(drawn, bits):
    both_ways(*drawn, short_id=weak(bits))


def flags(run: Run) -> list[int]:
    return [payload[0] & 1 for payload in run.payloads]


def test_list_that_would_hold_a_short_id_twice_is_not_sent():
    run = reconciled(many(2), [], short_id=weak(0))
    assert flags(run) == [1, 0]


def test_different_ids_that_look_common_are_seen_by_the_agreement():
    run = reconciled(many(1), many(1, start=1), short_id=weak(0))
    assert flags(run) == [0, 0, 1, 0]


def test_session_without_collision_is_not_repeated():
    assert not any(flags(reconciled(many(500), many(480, start=40))))


# --- sets that change ---------------------------------------------------------------------------------------


@given(two_sets(), st.lists(st.tuples(st.integers(0, 1), st.integers(600, 700)), max_size=60))
def test_ids_that_arrive_meanwhile_disturb_nothing(drawn, arrivals):
    start = list(drawn)
    sides = [OrderedIds(start[0]), OrderedIds(start[1])]
    news = iter(arrivals)

    def arrive() -> None:
        for _ in range(7):
            if (arrival := next(news, None)) is not None:
                side, number = arrival
                sides[side].add(*many(1, start=number)[0])

    run = session(sides[0], sides[1], meanwhile=arrive)
    assert run.complete
    now = [set(sides[0]), set(sides[1])]
    for side in (0, 1):
        found = set(run.theirs_lack(side))
        assert found >= set(ids_of(start[side] - now[1 - side]))
        assert found <= set(ids_of(now[side] - start[1 - side]))


def test_list_is_remembered_as_it_was_sent():
    one, other = OrderedIds(many(3)), OrderedIds(many(2))
    run = session(one, other, meanwhile=lambda: one.discard(*many(3)[1]))
    assert run.theirs_lack(0) == ids_of(many(3)[2:])


# --- limits -------------------------------------------------------------------------------------------------


def repeat_until_equal(sides: TwoSets, sessions_max: int) -> int:
    """Reconcile and transfer until both sides hold the same; returns the number of sessions."""
    one, other = sides
    for number in range(1, sessions_max + 1):
        run = session(OrderedIds(one), OrderedIds(other), key=number.to_bytes(32, "big"))
        by_id = {identifier: (second, identifier) for second, identifier in one | other}
        found = [by_id[identifier] for side in (0, 1) for identifier in run.theirs_lack(side)]
        assert run.complete or found
        one, other = one | set(found), other | set(found)
        if run.complete:
            assert one == other
            assert OrderedIds(one).digest() == OrderedIds(other).digest()
            return number
    raise AssertionError("no end")


@given(two_sets())
def test_message_of_the_smallest_size_still_brings_both_sides_together(drawn):
    with limits(RECONCILE_PAYLOAD_BYTES_MAX=RECONCILE_ANSWER_BYTES_MAX + 60, RECONCILE_MESSAGES_MAX=10_000):
        assert repeat_until_equal(drawn, 1) == 1


@given(two_sets())
def test_sessions_cut_short_by_their_messages_come_to_an_end(drawn):
    with limits(RECONCILE_PAYLOAD_BYTES_MAX=RECONCILE_ANSWER_BYTES_MAX + 1000):
        repeat_until_equal(drawn, 100)


@given(two_sets())
def test_sessions_cut_short_by_their_bytes_come_to_an_end(drawn):
    with limits(RECONCILE_BYTES_MAX=RECONCILE_ANSWER_BYTES_MAX + 8000):
        repeat_until_equal(drawn, 100)


@given(two_sets(), st.integers(20, 200))
def test_what_one_session_may_not_find_is_left_to_the_next(drawn, found_max):
    with limits(RECONCILE_FOUND_MAX=found_max):
        repeat_until_equal(drawn, 400)


@given(two_sets(), st.sampled_from([32, 40, 100]))
def test_list_against_very_many_ids_is_split(drawn, compared_max):
    with limits(RECONCILE_COMPARED_IDS_MAX=compared_max):
        both_ways(*drawn)


@given(two_sets())
def test_work_of_one_message_is_bounded(drawn):
    with limits(RECONCILE_SHORT_IDS_MAX=32, RECONCILE_MESSAGES_MAX=1000):
        both_ways(*drawn)


def test_limits_leave_room_for_each_other():
    assert RECONCILE_COMPARED_IDS_MAX < RECONCILE_SHORT_IDS_MAX <= RECONCILE_FOUND_MAX
    assert RECONCILE_ANSWER_BYTES_MAX + 100 < RECONCILE_PAYLOAD_BYTES_MAX < RECONCILE_BYTES_MAX


def test_session_stops_at_its_messages_on_both_sides_at_once():
    with limits(RECONCILE_MESSAGES_MAX=3):
        run = session(OrderedIds(many(3000)), OrderedIds(many(3000)[:-1]))
    assert len(run.payloads) == 3
    assert [steps[-1].done for steps in run.steps] == [True, True]
    assert not run.complete
    assert run.steps[0][-1].payload is not None
    assert run.steps[1][-1].payload is None


def test_large_and_different_sets_stay_within_message_and_session():
    run = session(OrderedIds(many(60_000)[::2]), OrderedIds(many(60_000)[1::2]))
    assert len(run.theirs_lack(0)) > 10_000
    assert len(run.payloads) <= RECONCILE_MESSAGES_MAX


# --- neighbors that cheat -----------------------------------------------------------------------------------


def message(*answers, repeated=False, agreement=None, lower=LOWEST) -> bytes:
    """A message with the given answers, all written as if about ranges from `lower` on."""
    writer = Writer()
    for answer in answers:
        writer.add(answer, lower)
    return writer.message(Head(repeated, agreement))


def opened(ids: OrderedIds) -> Reconciliation:
    """An initiator that has spoken."""
    side = Reconciliation(ids, KEY, initiator=True)
    side.open()
    return side


def responder(ids: OrderedIds) -> Reconciliation:
    """A side that waits for the first message."""
    return Reconciliation(ids, KEY, initiator=False)


def fault_of(side: Reconciliation, payload: bytes) -> Fault:
    """The fault that a message is refused with."""
    with pytest.raises(RemoteProtocolError) as caught:
        side.answer(payload)
    return caught.value.fault


Asked: TypeAlias = tuple[bytes, bytes, bool]  # the ends of a range, and whether its list was sent
NOTHING_EQUAL = tuple(bytes([n]) * 16 for n in range(16))


@given(two_sets(), st.lists(st.binary(max_size=300), min_size=1, max_size=8), st.booleans())
def test_any_bytes_are_answered_or_refused(drawn, junk, initiator):
    ids = OrderedIds(next(iter(drawn)))
    side = opened(ids) if initiator else responder(ids)
    with suppress(RemoteProtocolError):
        for payload in junk:
            side.answer(payload)


@given(two_sets(), st.data())
def test_honest_messages_with_bytes_changed_are_answered_or_refused(drawn, data):
    one, other = map(OrderedIds, drawn)
    sides = [opened(one), responder(other)]
    payload: bytes | None = Reconciliation(one, KEY, initiator=True).open()
    with suppress(RemoteProtocolError):
        for turn in range(1, RECONCILE_MESSAGES_MAX + 1):
            if payload is None:
                return
            changed = bytearray(payload)
            for at, value in data.draw(
                st.lists(st.tuples(st.integers(0, len(payload) - 1), st.integers(0, 255)), max_size=2)
            ):
                changed[at] = value
            payload = sides[turn % 2].answer(bytes(changed)).payload
        assert payload is None, "a session outlived its messages"


def test_message_after_the_end_is_out_of_turn():
    side = opened(OrderedIds(many(100)))
    assert side.answer(message(Same(12))).done
    assert fault_of(side, message(Same())) is Fault.OUT_OF_TURN


@pytest.mark.parametrize("more", [1, 2**30])
def test_more_answers_than_questions_are_malformed(more):
    assert fault_of(opened(OrderedIds(many(100))), message(Same(12 + more))) is Fault.MALFORMED
    assert fault_of(opened(OrderedIds(many(100))), message(Same(12), Left(more))) is Fault.MALFORMED


def test_message_that_answers_nothing_is_malformed():
    assert fault_of(opened(OrderedIds(many(100))), message()) is Fault.MALFORMED
    assert fault_of(responder(OrderedIds(many(100))), message()) is Fault.MALFORMED


def test_list_is_not_settled_by_a_run_of_equal_ranges():
    bound = entry_of(950, bytes(32))[:5]
    first = message(
        Split((bound,), NOTHING_EQUAL[:2])
    )  # 95 ids and 5: eleven fingerprints and a list come back
    for answer, accepted in ((message(Same(11), Left()), True), (message(Same(12)), False)):
        side = responder(OrderedIds(many(100)))
        side.answer(first)
        if accepted:
            assert side.answer(answer).done
        else:
            assert fault_of(side, answer) is Fault.MALFORMED


def test_session_repeated_twice_is_malformed():
    side = responder(OrderedIds(many(100)))
    again = message(Split((bytes(5),), NOTHING_EQUAL[:2]), repeated=True)
    side.answer(again)
    assert fault_of(side, again) is Fault.MALFORMED


def test_lists_compared_without_an_agreement_are_malformed():
    side = opened(OrderedIds(many(1)))
    assert fault_of(side, message(Compared((False,), (), 0))) is Fault.MALFORMED


def test_agreement_without_lists_compared_is_malformed():
    side = opened(OrderedIds(many(100)))
    assert fault_of(side, message(Same(12), agreement=bytes(16))) is Fault.MALFORMED


def test_agreement_after_a_repetition_is_malformed():
    side = Reconciliation(OrderedIds(many(2)), KEY, initiator=True, short_id=weak(0))
    assert side.open()[0] & 1
    assert fault_of(side, message(Compared((True, True), (), 0), agreement=bytes(16))) is Fault.MALFORMED


def test_agreement_that_never_holds_costs_one_repetition():
    side = opened(OrderedIds(many(1)))
    step = side.answer(message(Compared((False,), (), 0), agreement=bytes(16)))
    assert step.payload is not None
    assert step.payload[0] & 1
    assert side.answer(message(Compared((False,), (), 0))).complete


def test_message_over_its_size_is_over_the_limit():
    side = responder(OrderedIds(many(100)))
    assert fault_of(side, bytes(RECONCILE_PAYLOAD_BYTES_MAX + 1)) is Fault.OVER_LIMIT


def test_message_over_what_is_left_of_the_session_is_over_the_limit():
    side = responder(OrderedIds(many(100)))
    with limits(RECONCILE_BYTES_MAX=RECONCILE_ANSWER_BYTES_MAX + 100):
        assert fault_of(side, bytes(RECONCILE_ANSWER_BYTES_MAX + 101)) is Fault.OVER_LIMIT


def questions_of(payload: bytes, ranges: list[tuple[bytes, bytes]]) -> list[Asked]:
    """What a message asks that answers fingerprints of these ranges."""
    reader = Reader(payload)
    reader.head_untrusted()
    asked: list[Asked] = []
    for lower, upper in ranges:
        match reader.answer_untrusted(lower, upper, None, whole_ids=False):
            case Split(bounds, _):
                edges = (lower, *bounds, upper)
                asked += [(below, above, False) for below, above in pairwise(edges)]
            case answer:
                assert isinstance(answer, Listed)
                asked.append((lower, upper, True))
    assert reader.at_end
    return asked


def uneven(payload: bytes, ranges: list[tuple[bytes, bytes]]) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """An answer that calls all ranges different and cuts nothing off; and the ranges that it asks about."""
    writer = Writer()
    asked = []
    for lower, upper, listed in questions_of(payload, ranges):
        if listed:
            writer.add(Left(), lower)
            continue
        bound = lower + b"\x00" if lower else bytes(5)
        writer.add(Split((bound,), NOTHING_EQUAL[:2]), lower)
        asked += [(lower, bound), (bound, upper)]
    return writer.message(Head(repeated=False, agreement=None)), asked


def test_neighbor_that_calls_everything_different_is_cut_off():
    ids = OrderedIds(many(4000, second=9))
    with limits(RECONCILE_PASSES_MAX=4, RECONCILE_HASHED_IDS_MIN=0):
        reconciled(ids, many(4200, second=9)[200:])
        side = opened(ids)
        ranges = [(LOWEST, HIGHEST)]
        payload = Reconciliation(ids, KEY, initiator=True).open()
        cheat, ranges = uneven(payload, ranges)
        reply = side.answer(cheat).payload
        assert reply is not None
        assert fault_of(side, uneven(reply, ranges)[0]) is Fault.OVER_LIMIT
