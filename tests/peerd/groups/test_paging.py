"""Pages of a list: every entry once, whatever comes or goes in between, and no cursor but our own."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from contextlib import suppress

import pytest
from hypothesis import given, strategies as st

from peerd.control.schema import Page
from peerd.groups.paging import page_of
from protocol.errors import RuleError

KEYS = st.lists(st.text(min_size=1, max_size=6), unique=True, max_size=30).map(sorted)
LIMITS = st.integers(min_value=1, max_value=8)


def walk(
    keys: Sequence[str], limit: int, between: Callable[[Sequence[str]], Sequence[str]] = lambda keys: keys
) -> list[Sequence[str]]:
    """All pages of a list that `between` may change after each page."""
    pages, cursor = [], None
    while True:
        page, cursor = page_of(keys, lambda key: key, Page(cursor=cursor, limit=limit))
        pages.append(page)
        if cursor is None:
            return pages
        keys = between(keys)


@given(KEYS, LIMITS)
def test_every_entry_stands_on_one_page_in_order(keys, limit):
    pages = walk(keys, limit)
    assert [key for page in pages for key in page] == keys
    assert all(len(page) == limit for page in pages[:-1])
    assert len(pages[-1]) <= limit


@given(KEYS.filter(bool), LIMITS)
def test_no_page_is_empty_but_that_of_an_empty_list(keys, limit):
    assert all(walk(keys, limit))


def test_an_empty_list_is_one_empty_page():
    assert page_of([], str, Page()) == ([], None)


def test_the_last_page_has_no_cursor_even_when_it_is_full():
    page, cursor = page_of(["a", "b"], str, Page(limit=2))
    assert (page, cursor) == (["a", "b"], None)


@given(KEYS, LIMITS, st.lists(KEYS, max_size=10), st.randoms(use_true_random=False))
def test_what_comes_and_goes_between_two_pages_shifts_nothing_else(keys, limit, coming, random):
    stayed, changes = set(keys), iter(coming)

    def between(before: Sequence[str]) -> Sequence[str]:
        gone = {key for key in before if random.random() < 0.2}
        stayed.difference_update(gone)
        return sorted({*before, *next(changes, [])} - gone)

    seen = [key for page in walk(keys, limit, between) for key in page]
    assert len(seen) == len(set(seen))
    assert seen == sorted(seen)
    assert stayed <= set(seen)


@given(KEYS.filter(lambda keys: len(keys) > 1))
def test_the_entry_that_a_cursor_was_made_from_may_go(keys):
    _, cursor = page_of(keys, str, Page(limit=1))
    assert page_of(keys[1:], str, Page(cursor=cursor)) == (keys[1:], None)


HOSTILE = {
    "no alphabet": "!!!!",
    "spaces": "Y Q",
    "padded": "YQ==",
    "bits to spare": "YR",
    "one character": "Y",
    "the other alphabet": "Pz8/",
    "no text": base64.urlsafe_b64encode(b"\xff\xfe").decode().rstrip("="),
    "half a pair": base64.urlsafe_b64encode(b"\xed\xa0\x80").decode().rstrip("="),
    "beyond ASCII": "YQé",
    "surrogate": "\ud800",
    "null": "YQ\x00",
    "words": "the second page, please",
}


@pytest.mark.parametrize("cursor", HOSTILE.values(), ids=HOSTILE)
def test_a_cursor_that_was_not_given_out_is_refused(cursor):
    with pytest.raises(RuleError) as refused:
        page_of(["a", "b"], str, Page(cursor=cursor))
    assert refused.value.code == "invalid-argument"
    assert refused.value.hint


@given(st.text(max_size=40))
def test_no_text_raises_anything_else(text):
    with suppress(RuleError):
        page, _ = page_of(["a", "b"], str, Page(cursor=text))
        assert page in (["a", "b"], ["b"], [])
