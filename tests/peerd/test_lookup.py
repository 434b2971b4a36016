"""A name means one thing, or the person is asked for more of it."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from peerd.errors import Conflict
from peerd.lookup import find_meant, find_name

ALICE = "aa" * 20 + ".alice"
AGAIN = "ab" * 20 + ".alice"
BOB = "bb" * 20 + ".bob"
NAMES = [ALICE, AGAIN, BOB]

ALL_NAMES = st.builds(
    "{}.{}".format, st.text("ab", min_size=40, max_size=40), st.text("abc.", min_size=0, max_size=5)
)


@pytest.mark.parametrize("text", [BOB, "bbbb", "bbbbb", BOB[:-1], "bob"])
def test_in_full_by_its_beginning_or_by_its_classifier(text: str) -> None:
    assert find_name(text, NAMES) == BOB


@pytest.mark.parametrize("text", ["", "x", "bbb", "alic", "lice", ".bob", BOB + "x"])
def test_nothing_else_fits(text: str) -> None:
    assert find_name(text, NAMES) is None


def test_what_fits_two_names_is_refused_and_both_are_told() -> None:
    with pytest.raises(Conflict) as caught:
        find_name("alice", NAMES)
    assert caught.value.code == "ambiguous-name"
    assert ALICE in caught.value.detail
    assert AGAIN in caught.value.detail
    assert BOB not in caught.value.detail


def test_nobody_takes_over_the_beginning_of_a_name_by_choosing_it_as_a_classifier() -> None:
    with pytest.raises(Conflict):
        find_name("bbbb", [BOB, f"{'cc' * 20}.bbbb"])


def test_a_short_classifier_is_not_taken_for_the_beginning_of_a_key() -> None:
    assert find_name("b", [BOB, f"{'cc' * 20}.b"]) == f"{'cc' * 20}.b"


def test_a_long_list_of_names_is_cut() -> None:
    with pytest.raises(Conflict) as caught:
        find_name("x", [f"{i:040d}.x" for i in range(100)])
    assert "and 95 more" in caught.value.detail


def test_hostile_names_are_escaped_in_the_refusal() -> None:
    with pytest.raises(Conflict) as caught:
        find_name("aaaa", [f"{'aa' * 20}.\x1b[2J", f"{'aa' * 20}.\n"])
    assert caught.value.detail.isprintable()


@given(st.lists(ALL_NAMES, unique=True, max_size=8), st.data())
def test_a_full_name_always_means_itself(names: list[str], data: st.DataObject) -> None:
    if names:
        name = data.draw(st.sampled_from(names))
        assert find_name(name, names) == name


@given(st.lists(ALL_NAMES, max_size=8), st.text("abc.", max_size=6), st.randoms())
def test_the_order_of_the_names_does_not_matter(names: list[str], text: str, random) -> None:
    def outcome(order: list[str]) -> object:
        try:
            return find_name(text, order)
        except Conflict as error:
            return error.detail

    shuffled = list(names)
    random.shuffle(shuffled)
    assert outcome(names) == outcome(shuffled)


def test_names_that_mean_the_same_are_not_ambiguous() -> None:
    meanings = {f"{'aa' * 20}.bob": 1, f"{'aa' * 20}.robert": 1, f"{'ab' * 20}.bob": 2}
    assert find_meant("aaaa", meanings) == 1
    assert find_meant("robert", meanings) == 1
    assert find_meant("nobody", meanings) is None
    with pytest.raises(Conflict):
        find_meant("bob", meanings)
