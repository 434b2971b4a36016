"""The order of versions, and what is kept: a join, whatever came when."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import pytest
from hypothesis import given, strategies as st

from protocol.limits import OTHER_AUTHORS_MAX
from protocol.records.order import kept, order_key, winner

CREATOR = b"c"
AUTHORS = [bytes([letter]) for letter in b"abcdefg"]  # the creator among them, neither first nor last


@dataclass(frozen=True)
class Stamp:
    """What the order sees of a version."""

    hlc: int
    author: bytes
    id: bytes


# Few values of each part, so that all kinds of ties come up.
STAMPS = st.builds(
    Stamp, hlc=st.integers(0, 4), author=st.sampled_from(AUTHORS), id=st.binary(min_size=1, max_size=1)
)
SETS = st.frozensets(STAMPS, max_size=30)


def kept_of(versions) -> frozenset[Stamp]:
    return frozenset(kept(versions, CREATOR))


# --- the order --------------------------------------------------------------------------------------------


@given(st.lists(STAMPS, unique=True, min_size=1).flatmap(lambda v: st.tuples(st.just(v), st.permutations(v))))
def test_winner_does_not_depend_on_the_order_of_coming(both):
    versions, shuffled = both
    assert winner(versions) == winner(shuffled)


@pytest.mark.parametrize(
    "smaller, larger",
    [
        (Stamp(1, b"z", b"z"), Stamp(2, b"a", b"a")),
        (Stamp(1, b"a", b"z"), Stamp(1, b"b", b"a")),
        (Stamp(1, b"a", b"a"), Stamp(1, b"a", b"b")),
        (Stamp(1, b"c", b"a"), Stamp(1, b"d", b"a")),
    ],
)
def test_later_wins_then_the_author_then_the_id(smaller, larger):
    assert order_key(smaller) < order_key(larger)
    assert winner([smaller, larger]) == winner([larger, smaller]) == larger


@given(STAMPS, STAMPS)
def test_no_two_versions_have_one_place(one, other):
    assert (order_key(one) == order_key(other)) == (one == other)


# --- what is kept -----------------------------------------------------------------------------------------


@given(SETS)
def test_keeping_what_is_kept_changes_nothing(versions):
    assert kept_of(kept_of(versions)) == kept_of(versions)


@given(SETS, SETS)
def test_what_is_kept_of_a_union_is_kept_of_the_kept_parts(one, other):
    assert kept_of(one | other) == kept_of(kept_of(one) | kept_of(other)) == kept_of(kept_of(one) | other)


@given(SETS, SETS, SETS)
def test_merging_goes_in_any_grouping(one, other, third):
    def merged(left, right):
        return kept_of(left | right)

    one, other, third = kept_of(one), kept_of(other), kept_of(third)
    assert merged(one, merged(other, third)) == merged(merged(one, other), third)
    assert merged(one, other) == merged(other, one)
    assert merged(one, one) == one


@given(SETS.filter(bool))
def test_winner_is_kept_and_comes_first(versions):
    best = kept(versions, CREATOR)
    assert best[0] == winner(versions) == winner(best)
    assert best == sorted(best, key=order_key, reverse=True)


@given(SETS)
def test_one_version_of_each_author_is_kept_and_it_is_the_best(versions):
    best = kept(versions, CREATOR)
    assert len({one.author for one in best}) == len(best)
    for one in best:
        assert one == winner([other for other in versions if other.author == one.author])


@given(SETS)
def test_creators_best_is_kept_whatever_others_write(versions):
    own = [one for one in versions if one.author == CREATOR]
    assert [one for one in kept(versions, CREATOR) if one.author == CREATOR] == ([winner(own)] if own else [])


@given(SETS)
def test_those_others_are_kept_whose_best_are_the_largest(versions):
    best = {one.author: winner([o for o in versions if o.author == one.author]) for one in versions}
    others = sorted((one for one in best.values() if one.author != CREATOR), key=order_key)
    expected = others[-OTHER_AUTHORS_MAX:]
    assert {one for one in kept(versions, CREATOR) if one.author != CREATOR} == set(expected)


@given(SETS.filter(bool), st.data())
def test_next_version_stands_when_an_author_is_taken_away(versions, data):
    """What an overwriter displaced is there when he is revoked: the study's R1."""
    best = kept(versions, CREATOR)
    revoked = best[0].author
    left = [one for one in best if one.author != revoked]
    all_left = [one for one in versions if one.author != revoked]
    if left:
        assert winner(left) == winner(all_left)


def test_bound_is_four_others_and_the_creator():
    others = [Stamp(hlc, author, b"x") for hlc, author in enumerate(AUTHORS, 1) if author != CREATOR]
    assert len(others) == OTHER_AUTHORS_MAX + 2
    own = Stamp(0, CREATOR, b"x")
    for order in permutations([*others[:2], own]):
        assert kept([*order, *others[2:]], CREATOR) == [*others[:1:-1], own]
    assert kept(others[: OTHER_AUTHORS_MAX + 1], CREATOR) == others[OTHER_AUTHORS_MAX:0:-1]


def test_nothing_is_kept_of_nothing():
    assert kept([], CREATOR) == []
