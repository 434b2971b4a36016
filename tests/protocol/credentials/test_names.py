"""Names: the grammar of the original, and no text that would deceive who reads it."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from protocol.credentials.keys import PrivateKey
from protocol.credentials.names import (
    PeerName,
    check_classifier,
    check_comment,
    check_friendly_name,
    name_of_group,
    name_of_key,
    parse_peer_name,
)
from protocol.errors import RuleError

AUTHORITY = "6520c005f63fc1864b7d8f3cabebd4916ae7f33d"
KEY = PrivateKey.from_seed(bytes(32)).public
UNFIT = [
    "\x00",
    "\n",
    "\r",
    "\t",
    "\x1b",
    "\x7f",
    "\x85",
    "\x9f",
    "\u2028",
    "\u2029",
    "\u202a",
    "\u202e",
    "\u2066",
    "\u2069",
    "\ud800",
    "\udfff",
    "\ufdd0",
    "\ufeff",
    "\ufffe",
    "\uffff",
]
FIT = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cf", "Zl", "Zp", "Cn"]), max_size=149)


@given(FIT)
def test_written_name_reads_back(classifier):
    name = name_of_key(KEY, classifier)
    assert parse_peer_name(str(name)) == name
    assert name.authority == KEY.authority


def test_example_of_the_original_is_a_name():
    assert parse_peer_name(f"{AUTHORITY}.JohnDoe") == PeerName(AUTHORITY, "JohnDoe")


def test_first_dot_ends_the_authority():
    assert parse_peer_name(f"{AUTHORITY}.a.b.").classifier == "a.b."


def test_case_counts():
    assert parse_peer_name(f"{AUTHORITY}.Bob") != parse_peer_name(f"{AUTHORITY}.bob")


def test_group_name_is_of_the_same_form():
    gid = bytes(range(32))
    assert name_of_group(gid, "family") == PeerName(gid[:20].hex(), "family")


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "0.john",
        AUTHORITY,
        "." + AUTHORITY,
        AUTHORITY[:-1] + ".x",
        AUTHORITY + "0.x",
        AUTHORITY.upper() + ".x",
        AUTHORITY[:-1] + "g.x",
        AUTHORITY[:-1] + "\uff11.x",
        " " + AUTHORITY + ".x",
        AUTHORITY + "\n.x",
        AUTHORITY + "." + "x" * 150,
        AUTHORITY + ".x\ny",
    ],
)
def test_what_is_not_a_name_is_refused(text):
    with pytest.raises(RuleError) as caught:
        parse_peer_name(text)
    assert caught.value.code == "invalid-peer-name"
    assert caught.value.hint


def test_classifier_of_149_characters_fits_and_of_150_does_not():
    assert check_classifier("\U0001f331" * 149)
    with pytest.raises(RuleError) as caught:
        check_classifier("x" * 150)
    assert caught.value.code == "classifier-too-long"


@pytest.mark.parametrize(
    "check,code",
    [
        (check_friendly_name, "invalid-friendly-name"),
        (check_comment, "invalid-properties"),
    ],
)
def test_shown_text_of_255_characters_fits_and_of_256_does_not(check, code):
    assert check("x" * 255) == "x" * 255
    assert check("") == ""
    with pytest.raises(RuleError) as caught:
        check("x" * 256)
    assert caught.value.code == code


@pytest.mark.parametrize("character", UNFIT)
@pytest.mark.parametrize(
    "check,code",
    [
        (check_classifier, "invalid-classifier"),
        (check_friendly_name, "invalid-friendly-name"),
        (check_comment, "invalid-properties"),
    ],
)
def test_deceiving_characters_are_refused_and_not_repeated_in_the_message(check, code, character):
    with pytest.raises(RuleError) as caught:
        check(f"before{character}after")
    assert caught.value.code == code
    assert character not in caught.value.detail
    assert f"U+{ord(character):04X}" in caught.value.detail


@given(st.text(max_size=300))
def test_any_text_is_a_name_or_the_one_error(text):
    code = "invalid-peer-name"
    try:
        assert str(parse_peer_name(text)) == text
    except RuleError as error:
        code = error.code
    assert code == "invalid-peer-name"


@given(st.text(max_size=300))
def test_accepted_text_survives_utf_8(text):
    try:
        check_friendly_name(text)
    except RuleError:
        return
    assert text.encode().decode() == text
    assert text.isprintable() or not any(ord(c) < 32 for c in text)
