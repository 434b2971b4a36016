"""Nothing that comes from others can forge a line or steer a terminal."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, strategies as st

from peerd.printable import printable


@given(st.text(alphabet=st.characters(codec=None)))
def test_the_result_is_one_line_without_control_characters(text: str) -> None:
    result = printable(text)
    assert len(result.splitlines()) <= 1
    assert not any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in result)


@given(st.text(alphabet=st.characters(categories=("L", "N", "P", "S"))))
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    "character", ["\x1b", "\n", "\r", "\x9b", "\u202e", "\u2066", "\u200b", "\ufeff", "\udc80", "\U000e0041"]
)
def test_each_way_to_deceive_is_escaped(character: str) -> None:
    assert printable(f"a{character}b").isascii()


def test_a_kept_character_stays() -> None:
    assert printable("a\nb\x07", keep="\n") == "a\nb\\x07"
