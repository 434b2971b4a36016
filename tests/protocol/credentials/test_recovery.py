"""A recovery key survives being written down, and a typing error is found."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, strategies as st

from protocol.credentials.recovery import format_recovery_key, parse_recovery_key
from protocol.errors import RuleError

SEEDS = st.binary(min_size=32, max_size=32)
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


@given(SEEDS)
def test_what_was_written_is_read_again(seed: bytes) -> None:
    text = format_recovery_key(seed)
    assert re.fullmatch(r"(?:[A-Z2-7]{4}-){13}[A-Z2-7]{4}", text)
    assert parse_recovery_key(text) == seed


@given(SEEDS)
def test_case_spaces_lines_notes_and_look_alikes_do_not_matter(seed: bytes) -> None:
    text = format_recovery_key(seed)
    typed = text.lower().replace("-", " ").replace("o", "0").replace("i", "1").replace("b", "8")
    assert (
        parse_recovery_key(f"# of the group pizza\n{typed[:34]}\n  # second line\n\t{typed[34:]}\n") == seed
    )


@given(SEEDS, st.integers(0, 55), st.sampled_from(ALPHABET))
def test_one_wrong_character_is_found(seed: bytes, position: int, wrong: str) -> None:
    characters = format_recovery_key(seed).replace("-", "")
    typed = characters[:position] + wrong + characters[position + 1 :]
    if typed == characters:
        return
    with pytest.raises(RuleError) as caught:
        parse_recovery_key(typed)
    assert caught.value.code == "invalid-argument"


@given(SEEDS, st.integers(0, 54))
def test_two_characters_exchanged_are_found(seed: bytes, position: int) -> None:
    characters = list(format_recovery_key(seed).replace("-", ""))
    before = list(characters)
    characters[position], characters[position + 1] = characters[position + 1], characters[position]
    if characters == before:
        return
    with pytest.raises(RuleError):
        parse_recovery_key("".join(characters))


@pytest.mark.parametrize(
    "text", ["", "#", "ABCD", "A" * 56, "A" * 55, "A" * 57, "!" * 56, "ß" * 56, "A" * 100_000, "9" * 56]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(RuleError) as caught:
        parse_recovery_key(text)
    assert caught.value.hint


@given(st.text())
def test_no_text_raises_another_error(text: str) -> None:
    with pytest.raises(RuleError):
        parse_recovery_key(text)


def test_the_refusal_does_not_repeat_the_key() -> None:
    text = format_recovery_key(bytes(range(32)))
    with pytest.raises(RuleError) as caught:
        parse_recovery_key(text[:-1] + ("A" if text[-1] != "A" else "B"))
    assert text[:9] not in caught.value.detail + caught.value.hint


def test_the_format_is_pinned() -> None:
    text = format_recovery_key(bytes(range(32)))
    assert text == "AAAQ-EAYE-AUDA-OCAJ-BIFQ-YDIO-B4IB-CEQT-CQKR-MFYY-DENB-WHA5-DYPU-CR54"
