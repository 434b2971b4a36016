"""Patterns: what they mean by another reading of them, and that none of them takes long."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from protocol.records.patterns import (
    bad_escape_at,
    escape,
    fits,
    fixed_start,
    literal,
    pieces,
    wildcards_in,
)
from tests.support.records import TEXT
from tests.support.searches import TEXTS, patterns

ANY_TEXT = TEXT | st.sampled_from(TEXTS)


def fits_by_definition(pattern: str, text: str) -> bool:
    """All places in the text that can be reached after each piece."""
    places = {0}
    for wild, piece in pieces(pattern):
        if wild and piece == "*":
            places = {later for place in places for later in range(place, len(text) + 1)}
        elif wild:
            places = {place + 1 for place in places if place < len(text)}
        else:
            places = {place + len(piece) for place in places if text.startswith(piece, place)}
    return len(text) in places


@given(patterns(), st.sampled_from(TEXTS) | st.text("ab*?\\", max_size=8))
def test_pattern_means_what_its_pieces_mean_one_after_the_other(pattern, text):
    assert fits(pattern, text) == fits_by_definition(pattern, text)


@given(ANY_TEXT)
def test_escaped_text_fits_itself_and_is_found_again(text):
    assert bad_escape_at(escape(text)) is None
    assert wildcards_in(escape(text)) == 0
    assert literal(escape(text)) == fixed_start(escape(text)) == text
    assert fits(escape(text), text)


@given(ANY_TEXT, ANY_TEXT)
def test_escaped_text_fits_nothing_else(text, other):
    assert fits(escape(text), other) == (text == other)


@given(patterns(), ANY_TEXT)
def test_what_fits_begins_as_the_pattern_does(pattern, text):
    if fits(pattern, text):
        assert text.startswith(fixed_start(pattern))


@given(st.text("ab*?\\", max_size=12))
def test_backslash_is_found_that_escapes_nothing(pattern):
    rest = pattern.replace(r"\\", "..").replace(r"\*", "..").replace(r"\?", "..")
    at = rest.find("\\")
    assert bad_escape_at(pattern) == (None if at < 0 else at)


@pytest.mark.parametrize(
    "pattern, text, outcome",
    [
        ("draft*", "draft", True),
        ("draft*", "a draft", False),
        ("data-0?.xml", "data-01.xml", True),
        ("data-0?.xml", "data-0B.xml", True),
        ("data-0?.xml", "data-0.xml", False),
        ("James P*", "James Peters", True),
        ("james p*", "James Peters", False),
        (r"a\*b", "a*b", True),
        (r"a\*b", "axb", False),
        (r"a\?b", "a?b", True),
        (r"a\\b", r"a\b", True),
        ("*", "", True),
        ("?", "", False),
        ("?", "\U0001f331", True),
        ("?", "e\u0301", False),
        ("a*b", "a\nb", True),
        ("*ab*ab", "abab", True),
        ("*ab*ab", "ab", False),
        ("[a]", "a", False),
    ],
)
def test_documented_patterns(pattern, text, outcome):
    assert fits(pattern, text) is outcome


@pytest.mark.parametrize("end", ["b", "b*", "?b"])
def test_many_stars_before_what_never_comes_cost_no_more_than_one(end):
    assert not fits("*a" * 15 + "*" + end, "a" * 4096)
