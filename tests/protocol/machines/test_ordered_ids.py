"""Sorted ids against a plain set: order, ranks, slices, digest and memory."""

from __future__ import annotations

import tracemalloc
from contextlib import contextmanager
from hashlib import sha256
from unittest.mock import patch

import pytest
from hypothesis import given, strategies as st

from protocol.machines import ordered_ids
from protocol.machines.ordered_ids import (
    ENTRY_BYTES,
    HIGHEST,
    LOWEST,
    SECOND_MAX,
    OrderedIds,
    bound_between,
    entry_of,
    id_of,
)

# Few seconds and few different ids, so that equal seconds, long common prefixes and repetitions are frequent.
seconds = st.one_of(st.integers(0, 3), st.integers(0, SECOND_MAX))
identifiers = st.one_of(
    st.binary(min_size=32, max_size=32),
    st.integers(0, 9).map(lambda last: bytes(31) + bytes([last])),
    st.integers(0, 255).map(lambda first: bytes([first]) + bytes(31)),
)
pairs = st.tuples(seconds, identifiers)
pair_sets = st.sets(pairs, max_size=60)


@contextmanager
def blocks_of(count: int):
    """Blocks of at most `count` ids, and pieces of as many while a set is built."""
    with (
        patch.object(ordered_ids, "ORDERED_BLOCK_IDS_MAX", count),
        patch.object(ordered_ids, "_BLOCK_BYTES_MAX", count * ENTRY_BYTES),
        patch.object(ordered_ids, "_PIECE_IDS_MIN", count),
    ):
        yield


def many(count: int, start: int = 0) -> list[tuple[int, bytes]]:
    """Pairs with well spread ids, in the order of their seconds."""
    return [(10 * n, sha256(n.to_bytes(8, "big")).digest()) for n in range(start, start + count)]


@given(st.lists(pairs, max_size=60))
def test_ids_come_out_in_ascending_order_and_once(drawn):
    with blocks_of(4):
        ids = OrderedIds(drawn)
    assert list(ids) == sorted(set(drawn))
    assert len(ids) == len(set(drawn))


@given(pair_sets, pair_sets)
def test_many_put_in_at_once_are_as_if_one_by_one(first, more):
    with blocks_of(4):
        ids, one_by_one = OrderedIds(first), OrderedIds(first)
        ids.digest()
        ids.update(more)
        for pair in more:
            one_by_one.add(*pair)
    assert list(ids) == list(one_by_one)
    assert ids.digest() == one_by_one.digest()
    assert ids.rank(HIGHEST) == len(ids) == len(first | more)


@given(st.lists(st.tuples(st.booleans(), pairs), max_size=120), st.sampled_from([4, 16]))
def test_adding_and_discarding_agree_with_a_set(changes, block):
    ids, model = OrderedIds(), set()
    with blocks_of(block):
        for put, pair in changes:
            if put:
                assert ids.add(*pair) == (pair not in model)
                model.add(pair)
            else:
                assert ids.discard(*pair) == (pair in model)
                model.discard(pair)
            assert len(ids) == len(model)
            assert (pair in ids) == put
    assert list(ids) == sorted(model)
    assert ids.digest() == OrderedIds(model).digest()


@given(pair_sets, pairs)
def test_rank_counts_the_entries_before_a_bound(drawn, pair):
    with blocks_of(4):
        ids = OrderedIds(drawn)
    for length in (0, 1, 5, 6, ENTRY_BYTES):
        bound = entry_of(*pair)[:length]
        assert ids.rank(bound) == sum(entry_of(*one) < bound for one in drawn)
    assert ids.rank(LOWEST) == 0
    assert ids.rank(HIGHEST) == len(drawn)


@given(pair_sets, st.data())
def test_slice_holds_the_entries_of_its_ranks(drawn, data):
    with blocks_of(4):
        ids = OrderedIds(drawn)
    stop = data.draw(st.integers(0, len(drawn)))
    start = data.draw(st.integers(0, stop))
    ordered = sorted(entry_of(*pair) for pair in drawn)
    pieces: list[bytes] = []
    ids.feed(start, stop, lambda piece: pieces.append(bytes(piece)))
    assert b"".join(pieces) == ids.entries(start, stop) == b"".join(ordered[start:stop])
    assert all(pieces)


def pieces_of(ids: OrderedIds) -> list[int]:
    """How many entries each piece of the whole set holds."""
    pieces: list[int] = []
    ids.feed(0, len(ids), lambda piece: pieces.append(len(piece) // ENTRY_BYTES))
    return pieces


def test_pieces_stay_bounded_while_ids_come_and_grow_together_when_they_go():
    with blocks_of(16):
        ids = OrderedIds()
        for pair in sorted(many(400), key=lambda pair: pair[1]):
            ids.add(*pair)
        assert max(pieces_of(ids)) == 16
        for n, pair in enumerate(many(400)):
            if n % 8:
                ids.discard(*pair)
        assert sum(pieces_of(ids)) == 50
        assert len(pieces_of(ids)) <= 50 / 3
        assert max(pieces_of(ids)) <= 12


def test_second_adding_and_second_discarding_change_nothing():
    ids = OrderedIds(many(3))
    assert ids.add(1, bytes(32))
    assert not ids.add(1, bytes(32))
    assert len(ids) == 4
    assert ids.discard(1, bytes(32))
    assert not ids.discard(1, bytes(32))
    assert list(ids) == many(3)


def test_set_can_grow_after_its_slices_were_handed_out():
    ids = OrderedIds(many(100))
    ids.feed(0, 100, sha256().update)
    assert ids.add(5, bytes(32))


def test_slice_out_of_range_is_a_mistake_of_ours():
    ids = OrderedIds(many(3))
    for start, stop in ((-1, 2), (2, 1), (0, 4)):
        with pytest.raises(AssertionError):
            ids.entries(start, stop)


@given(st.sets(pairs, min_size=2, max_size=2))
def test_bound_between_two_entries_separates_them_and_is_the_shortest(drawn):
    before, after = sorted(entry_of(*pair) for pair in drawn)
    bound = bound_between(before, after)
    assert before < bound <= after
    assert len(bound) >= 5
    assert len(bound) == 5 or not before < after[: len(bound) - 1]


@given(pairs)
def test_entry_orders_by_second_then_id(pair):
    second, identifier = pair
    assert len(entry_of(second, identifier)) == ENTRY_BYTES
    assert id_of(entry_of(second, identifier)) == identifier
    assert entry_of(second, identifier) < HIGHEST
    assert (pair < (1, bytes(32))) == (entry_of(*pair) < entry_of(1, bytes(32)))


@given(pair_sets, pair_sets)
def test_digests_are_equal_exactly_when_the_sets_are(one, other):
    assert (OrderedIds(one).digest() == OrderedIds(other).digest()) == (one == other)


def test_same_id_at_another_second_changes_the_digest():
    assert OrderedIds([(1, bytes(32))]).digest() != OrderedIds([(2, bytes(32))]).digest()


@given(st.permutations(many(12)))
def test_digest_does_not_depend_on_the_order_of_arrival(shuffled):
    with blocks_of(4):
        ids = OrderedIds()
        for pair in shuffled:
            ids.add(*pair)
            ids.digest()
    assert ids.digest() == OrderedIds(many(12)).digest()


def test_digest_forgets_what_was_discarded():
    ids = OrderedIds(many(300))
    before = ids.digest()
    assert len(before) == 16
    for pair in many(50, start=300):
        ids.add(*pair)
    assert ids.digest() != before
    for pair in many(50, start=300):
        ids.discard(*pair)
    assert ids.digest() == before


def test_order_of_building_does_not_matter_beyond_one_block():
    ordered = many(10_000)
    shuffled = sorted(ordered, key=lambda pair: pair[1])
    one_by_one = OrderedIds()
    for pair in shuffled:
        one_by_one.add(*pair)
    assert list(OrderedIds(shuffled)) == list(one_by_one) == ordered


def test_memory_of_an_id_stays_near_forty_bytes():
    shuffled = sorted(many(40_000), key=lambda pair: pair[1])
    tracemalloc.start()
    try:
        built = OrderedIds(shuffled[:20_000])
        for pair in shuffled[20_000:]:
            built.add(*pair)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held / len(built) < 44


def test_emptied_set_gives_its_memory_back():
    tracemalloc.start()
    try:
        ids = OrderedIds(many(20_000))
        for pair in many(20_000):
            ids.discard(*pair)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert list(ids) == []
    assert ids.digest() == OrderedIds().digest()
    assert held < 20_000 * ENTRY_BYTES / 3


@pytest.mark.parametrize("length", [0, 31, 33])
def test_id_of_another_length_is_a_mistake_of_ours(length):
    with pytest.raises(AssertionError):
        OrderedIds().add(1, bytes(length))


@pytest.mark.parametrize("second", [-1, SECOND_MAX + 1])
def test_second_that_no_clock_gives_is_a_mistake_of_ours(second):
    with pytest.raises(OverflowError):
        OrderedIds().add(second, bytes(32))
