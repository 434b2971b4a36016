from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, strategies as st

from peerd.control.schema import Page
from peerd.groups.paging import page_of
from protocol.errors import RuleError

KEYS = st.lists(st.text(max_size=5), unique=True, max_size=30).map(sorted)


def itself(key: str) -> str:
    return key


def walk(pages: list[list[str]], limit: int) -> list[str]:
    """Read page by page; before each page the list is the next of `pages`, and in the end the last."""
    read: list[str] = []
    cursor, turn = None, 0
    while True:
        keys = pages[min(turn, len(pages) - 1)]
        part, cursor = page_of(keys, itself, Page(cursor=cursor, limit=limit))
        assert len(part) <= limit
        read += part
        turn += 1
        if cursor is None:
            return read


@given(KEYS, st.integers(1, 10))
def test_pages_hold_everything_once_and_in_order(keys, limit):
    assert walk([keys], limit) == keys


@given(KEYS, KEYS, st.integers(1, 10))
def test_what_comes_and_goes_between_pages_shifts_nothing(before, after, limit):
    read = walk([before, after], limit)
    assert len(read) == len({*read})
    assert read == sorted(read)
    staying = [key for key in before if key in after]
    assert [key for key in read if key in staying] == staying


def test_a_page_that_ends_with_the_list_is_the_last():
    assert page_of(["a", "b"], itself, Page(limit=2)) == (["a", "b"], None)
    assert page_of([], itself, Page()) == ([], None)


@given(KEYS.filter(lambda keys: len(keys) > 1))
def test_the_entry_that_a_cursor_was_made_from_may_go(keys):
    _, cursor = page_of(keys, itself, Page(limit=1))
    assert page_of(keys[1:], itself, Page(cursor=cursor)) == (keys[1:], None)


HOSTILE = {
    "length": "A",
    "letters": "YQé",
    "utf-8": "_w",
    "half a pair": "7aCA",
    "no alphabet": "!!!!",
    "between": "Y Q",
    "padded": "YQ==",
    "bits to spare": "YR",
    "the other alphabet": "Pz8/",
    "surrogate": "\ud800",
    "null": "YQ\x00",
}


@pytest.mark.parametrize("cursor", HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_cursor_is_refused(cursor):
    with pytest.raises(RuleError) as refused:
        page_of(["a"], itself, Page(cursor=cursor))
    assert refused.value.code == "invalid-argument"
    assert refused.value.hint


@given(st.text(max_size=40))
def test_no_text_raises_anything_else(text):
    with suppress(RuleError):
        page, _ = page_of(["a", "b"], itself, Page(cursor=text))
        assert page in (["a", "b"], ["b"], [])
