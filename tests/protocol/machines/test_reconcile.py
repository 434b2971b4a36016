"""Reconciliation against a plain set union, in both directions."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given, strategies as st

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
from protocol.machines.ordered_ids import OrderedIds
from protocol.machines.reconcile import Reconciliation
from tests.protocol.machines.reconciling import (
    Run,
    TwoSets,
    both_ways,
    chosen_sets,
    ids_of,
    limits,
    many,
    reconciled,
    session,
    two_sets,
    weak,
)

# --- equal to a set union -----------------------------------------------------------------------------------


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


def test_speaking_out_of_turn_is_a_mistake_of_ours():
    initiator = Reconciliation(OrderedIds(), bytes(32), initiator=True)
    other = Reconciliation(OrderedIds(), bytes(32), initiator=False)
    with pytest.raises(AssertionError):
        other.open()
    with pytest.raises(AssertionError):
        initiator.answer(bytes([0]))
    initiator.open()
    with pytest.raises(AssertionError):
        initiator.open()


@pytest.mark.parametrize("length", [0, 31, 33])
def test_key_of_another_length_is_a_mistake_of_ours(length):
    with pytest.raises(AssertionError):
        Reconciliation(OrderedIds(), bytes(length), initiator=True)


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


def test_whole_ids_tell_both_sides_what_will_come():
    run = reconciled(many(3), many(4)[2:], short_id=weak(0))
    assert run.announced(0) == (ids_of(many(4)[3:]), 0)
    assert run.announced(1) == ([identifier for _, identifier in many(2)], 0)


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


def kinds_of_first_answers(run: Run) -> list[int | None]:
    """The kind of each message's first answer; None where it has none."""
    kinds: list[int | None] = []
    for payload in run.payloads:
        at = 17 if payload[0] & 2 else 1
        kinds.append(payload[at] if len(payload) > at else None)
    return kinds


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


def test_list_against_more_ids_than_are_compared_is_answered_by_parts():
    few, lots = many(3), many(700)
    with limits(RECONCILE_COMPARED_IDS_MAX=700):
        assert kinds_of_first_answers(reconciled(few, lots)) == [3, 5, None]
    with limits(RECONCILE_COMPARED_IDS_MAX=699):
        assert kinds_of_first_answers(reconciled(few, lots))[:3] == [3, 2, 3]


def test_ranges_are_listed_below_the_limit_and_split_from_it_on():
    assert kinds_of_first_answers(reconciled(many(31), []))[0] == 3
    assert kinds_of_first_answers(reconciled(many(32), []))[0] == 2


def test_no_part_of_a_split_is_small():
    first = session(OrderedIds(many(47)), OrderedIds()).payloads[0]
    assert first[1:3] == bytes([2, 5])


@given(two_sets())
def test_little_work_in_each_message_finds_all_the_same(drawn):
    with limits(RECONCILE_SHORT_IDS_MAX=32, RECONCILE_MESSAGES_MAX=1000):
        both_ways(*drawn)


def test_short_ids_of_one_message_are_bounded():
    counted = [0]

    def short_id(identifier: bytes) -> bytes:
        counted[-1] += 1
        return identifier[:8]

    with limits(RECONCILE_SHORT_IDS_MAX=64, RECONCILE_MESSAGES_MAX=1000):
        one, other = OrderedIds(many(3000)[::2]), OrderedIds(many(3000)[1::2])
        session(one, other, short_id=short_id, meanwhile=lambda: counted.append(0))
    assert sum(counted) >= 3000
    assert max(counted) < 64 + 64


def test_search_ends_when_as_much_was_found_as_one_session_may():
    everything = many(1000)
    lacking = [pair for n, pair in enumerate(everything) if n not in (10, 900)]
    with limits(RECONCILE_FOUND_MAX=1):
        run = session(OrderedIds(lacking), OrderedIds(everything))
    assert run.theirs_lack(1) == [everything[10][1]]
    assert [steps[-1].complete for steps in run.steps] == [False, False]
    with limits(RECONCILE_FOUND_MAX=2):
        reconciled(lacking, everything)


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
