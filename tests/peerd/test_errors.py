"""The tables of slugs are total, and every error says what a person and a program need."""

from __future__ import annotations

from http import HTTPStatus

import pytest
from hypothesis import given, strategies as st

from peerd import errors
from peerd.errors import KINDS, RULE_STATUS, PeerdError, status_of
from protocol.errors import RULES


def all_children(kind: type[PeerdError]) -> list[type[PeerdError]]:
    children = kind.__subclasses__()
    return children + [below for child in children for below in all_children(child)]


CHILDREN = all_children(PeerdError)


def test_every_refusal_of_the_protocol_has_a_status() -> None:
    assert set(RULE_STATUS) == set(RULES)


def test_no_slug_means_two_things() -> None:
    assert not set(KINDS) & set(RULES)


@pytest.mark.parametrize("code", sorted([*KINDS, *RULES]))
def test_every_slug_has_a_status_that_is_an_error(code: str) -> None:
    assert HTTPStatus(status_of(code)).value >= 400


@pytest.mark.parametrize("code", sorted(KINDS))
def test_slugs_are_lower_case_words_and_titles_are_phrases(code: str) -> None:
    assert code.replace("-", "").isalpha()
    assert code == code.lower()
    title = KINDS[code].title
    assert title[0].isupper() or title.startswith("peerd")
    assert not title.endswith(".")


def test_the_root_of_the_tree_is_never_raised() -> None:
    with pytest.raises(TypeError):
        PeerdError("what")


def test_the_tree_is_closed() -> None:
    assert {kind.__module__ for kind in CHILDREN} == {errors.__name__}


@pytest.mark.parametrize("kind", CHILDREN, ids=lambda kind: kind.__name__)
def test_every_class_has_a_slug_of_its_own(kind: type[PeerdError]) -> None:
    error = kind("the cause", hint="peerd status")
    assert error.code in KINDS
    assert [other.CODE for other in CHILDREN].count(error.code) == 1
    assert (error.detail, error.hint, str(error)) == ("the cause", "peerd status", "the cause")


@pytest.mark.parametrize("kind", CHILDREN, ids=lambda kind: kind.__name__)
def test_a_slug_outside_of_the_table_is_a_mistake_of_ours(kind: type[PeerdError]) -> None:
    with pytest.raises(AssertionError):
        kind("the cause", code="no-such-slug")


@given(code=st.text().filter(lambda code: code not in KINDS and code not in RULES))
def test_only_slugs_of_the_tables_have_a_status(code: str) -> None:
    with pytest.raises(KeyError):
        status_of(code)
