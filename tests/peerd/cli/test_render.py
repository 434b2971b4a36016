"""Tables are aligned, nothing is cut where nobody looks, and no text from others steers the terminal."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, strategies as st

from peerd.cli import render
from peerd.cli.render import Name, count_of, details, json_line, json_text, table, time_text
from tests.peerd.cli.fake_daemon import ALICE, BOB, identity

CELLS = st.text(st.characters(codec=None), max_size=12)


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "terminal_width", lambda: 40)


def test_columns_stand_under_their_names() -> None:
    assert table(["NAME", "N"], [["a", "1"], ["long one", "22"]]).splitlines() == [
        "NAME      N",
        "a         1",
        "long one  22",
    ]


def test_wide_and_combining_characters_do_not_shift_columns() -> None:
    assert table(["A", "B"], [["日本", "x"], ["e\u0301", "x"]]).splitlines() == [
        "A     B",
        "日本  x",
        "e\u0301     x",
    ]


def test_an_empty_cell_does_not_shift_the_others() -> None:
    assert table(["A", "B"], [["", "x"]]).splitlines()[1].split() == ["-", "x"]
    assert details({"a": ""}) == "a  -"


def test_a_table_without_rows_is_empty() -> None:
    assert table(["A"], []) == ""


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=4))
def test_a_table_has_one_line_for_each_row_whatever_the_cells_hold(rows: list[tuple[str, str]]) -> None:
    lines = table(["A", "B"], rows).split("\n")
    assert len(lines) == 1 + len(rows)
    assert all(len(line.splitlines()) <= 1 for line in lines)


def test_names_are_in_full_where_nobody_looks() -> None:
    assert ALICE in table(["NAME", "ISSUER"], [[Name(ALICE), Name(BOB)]])


def test_names_are_shortened_to_what_commands_take_when_the_terminal_is_narrow(narrow: None) -> None:
    shown = table(["NAME", "ISSUER"], [[Name(ALICE), Name(BOB)]]).splitlines()[1].split()
    assert [len(word) for word in shown] == [12, 12]
    assert ALICE.startswith(shown[0])


def test_a_table_that_fits_keeps_its_names(narrow: None) -> None:
    assert "0123456789abcdef" in table(["NAME"], [[Name("0123456789abcdef")]])


def test_other_text_is_never_shortened(narrow: None) -> None:
    assert "x" * 100 in table(["A"], [["x" * 100]])


@given(CELLS)
def test_details_are_one_line_each(value: str) -> None:
    assert len(details({"a": value, "longer": "b", "left out": None}).splitlines()) == 2


def test_times_are_in_utc_and_never_is_a_word() -> None:
    there = timezone(timedelta(hours=2))
    assert time_text(datetime(2030, 1, 1, 1, 0, 0, tzinfo=there)) == "2029-12-31T23:00:00Z"
    assert time_text(None) == "never"


def test_counts_have_their_noun() -> None:
    assert [count_of(n, "neighbor", "neighbors") for n in (0, 1, 2)] == [
        "0 neighbors",
        "1 neighbor",
        "2 neighbors",
    ]


def test_json_keeps_the_field_names_and_rfc_3339() -> None:
    one = identity(created=datetime(2030, 1, 1, tzinfo=UTC))
    assert json.loads(json_text(one))["created"] == "2030-01-01T00:00:00Z"
    assert json.loads(json_line(one)) == json.loads(json_text(one))
    assert "\n" not in json_line(one)
