"""`peerd record`: what is asked of the daemon, and what is printed."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest

from peerd.cli.values import DATA_BYTES_MAX
from peerd.control import record_schema
from tests.peerd.cli.fake_daemon import ALICE, BOB, PIZZA, RECORD, record

RECORDS = "groups/pizza/records"
ONE = f"{RECORDS}/9a9a"
VERSION = "ab" * 32


@pytest.fixture
def adding(daemon):
    daemon.will_answer("POST", RECORDS, record(version=1, replicated=2))
    return daemon


# --- add ----------------------------------------------------------------------------------------------------


def test_a_record_is_written_with_its_type_alone(peerd, adding) -> None:
    outcome = peerd("record", "add", "pizza", "--type", "note")
    assert outcome.exit_code == 0
    assert adding.last.body == {"record_type": "note"}
    for word in (RECORD, PIZZA, ALICE, BOB, "2 neighbors", "Pizza", "3,4", "6 bytes: Friday"):
        assert word in outcome.stdout


def test_every_wish_about_a_record_is_passed_on(peerd, adding) -> None:
    peerd(
        *("record", "add", "pizza", "--type", "note", "--text", "Früh", "--valid", "1h", "--auto-refresh"),
        *("--attribute", "title=a=b", "--attribute", "empty=", "--attribute", "people:int=-4"),
        *("--attribute", "tag=x", "--attribute", "tag:string=y", "--attribute", "day:date=2030-01-31"),
        *("--attribute", "at:date=2030-01-31T12:00:00+02:00", "--wait-replicated", "2", "--timeout", "5"),
    )
    assert adding.last.body == {
        "record_type": "note",
        "data": "RnLDvGg",
        "valid_s": 3600,
        "auto_refresh": True,
        "wait_replicated": 2,
        "timeout_s": 5,
        "attributes": {
            "title": "a=b",
            "empty": "",
            "people": -4,
            "tag": ["x", "y"],
            "day": {"date": "2030-01-31T00:00:00Z"},
            "at": {"date": "2030-01-31T10:00:00Z"},
        },
    }


@pytest.mark.parametrize("data", [b"", b"\x00\xff\r\n", b"x" * DATA_BYTES_MAX])
@pytest.mark.parametrize("from_stdin", [False, True])
def test_data_are_read_unchanged_from_a_file_or_stdin(peerd, adding, home: Path, data, from_stdin) -> None:
    (home / "data").write_bytes(data)
    file = "-" if from_stdin else str(home / "data")
    outcome = peerd("record", "add", "pizza", "--type", "note", "--data-file", file, stdin=data)
    assert outcome.exit_code == 0, outcome.stderr
    said = adding.last.body.get("data", "")
    assert base64.urlsafe_b64decode(said + "=" * (-len(said) % 4)) == data


@pytest.mark.parametrize(
    "options",
    [
        ("--text", "a", "--data-file", "-"),
        ("--data-file", "/nowhere"),
        ("--data-file", "{large}"),
        ("--attribute", "title"),
        ("--attribute", "=x"),
        ("--attribute", ":int=1"),
        ("--attribute", "n:int=1.5"),
        ("--attribute", "n:int=12345678901234567890"),
        ("--attribute", "n:int=٣"),
        ("--attribute", "n:float=1"),
        ("--attribute", "n:date=2030-13-01"),
        ("--attribute", "n:date=tomorrow"),
        ("--wait-replicated", "-1"),
        ("--timeout", "9999"),
        ("--valid", "soon"),
        (),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error_before_anything_is_asked(
    peerd, adding, home: Path, options
) -> None:
    large = home / "large"
    large.write_bytes(b"x" * (DATA_BYTES_MAX + 1))
    given = [option.replace("{large}", str(large)) for option in options]
    typed = ("--type", "note") if options else ()
    assert peerd("record", "add", "pizza", *typed, *given).exit_code == 2
    assert not adding.asked


@pytest.mark.parametrize(
    "slug, code",
    [
        ("not-replicated", 7),
        ("version-conflict", 6),
        ("record-not-found", 4),
        ("record-deleted", 4),
        ("not-authorized", 5),
        ("quota-exceeded", 1),
        ("record-too-large", 1),
        ("invalid-attributes", 1),
    ],
)
def test_refusals_have_the_exit_codes_of_the_manual(peerd, adding, slug, code) -> None:
    adding.will_refuse("POST", RECORDS, slug, hint="a hint")
    outcome = peerd("record", "add", "pizza", "--type", "note", "--json")
    assert outcome.exit_code == code
    assert outcome.problem["type"] == slug


# --- get ----------------------------------------------------------------------------------------------------


def test_data_are_printed_unchanged(peerd, daemon) -> None:
    data = bytes(range(256)) + b"\r\n"
    daemon.will_answer("GET", f"{ONE}/data", data)
    outcome = peerd("record", "get", "pizza", "9a9a", "--data")
    assert outcome.raw == data
    assert outcome.stderr == ""


def test_data_go_into_a_new_private_file(peerd, daemon, home: Path) -> None:
    daemon.will_answer("GET", f"{ONE}/data", b"\x00\xff")
    file = home / "oven.jpg"
    outcome = peerd("record", "get", "pizza", "9a9a", "--output", str(file))
    assert (outcome.exit_code, outcome.raw) == (0, b"")
    assert file.read_bytes() == b"\x00\xff"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert peerd("record", "get", "pizza", "9a9a", "--output", str(file)).exit_code == 6
    daemon.will_refuse("GET", f"{ONE}/data", "data-not-here")
    assert peerd("record", "get", "pizza", "9a9a", "--output", str(home / "new")).exit_code == 1
    assert not (home / "new").exists()


def test_a_record_is_shown_with_what_can_be_said_of_it(peerd, daemon) -> None:
    daemon.will_answer("GET", ONE, record())
    text = peerd("record", "get", "pizza", "9a9a").stdout
    assert daemon.last.query == {}
    for word in (VERSION, "never", "2026-01-02T03:04:05Z", "6 bytes: Friday"):
        assert word in text
    for one, said in (
        (record(size=0, data=""), "none"),
        (record(data_held=False, data=None), "6 bytes, not here yet"),
        (record(data="AP8"), "6 bytes\n"),
        (record(data=None, size=100_000), "100000 bytes"),
    ):
        daemon.will_answer("GET", ONE, one)
        assert said in peerd("record", "get", "pizza", "9a9a").stdout


def test_as_json_a_record_has_its_data_when_they_were_asked_for(peerd, daemon) -> None:
    daemon.will_answer("GET", ONE, record())
    found = peerd("record", "get", "pizza", "9a9a", "--json").json
    assert found["attributes"]["day"] == {"date": "2026-01-02T03:04:05Z"}
    peerd("record", "get", "pizza", "9a9a", "--json", "--data")
    assert daemon.last.query == {"data": "true"}


def test_control_characters_in_a_record_do_not_reach_the_terminal(peerd, daemon) -> None:
    daemon.will_answer("GET", ONE, record(attributes={"a": "\x1b[2J"}, data="G1sySg"))
    assert "\x1b" not in peerd("record", "get", "pizza", "9a9a").stdout


# --- list and search ----------------------------------------------------------------------------------------


def page(*records: record_schema.Record, following: str | None = None) -> record_schema.Records:
    return record_schema.Records(records=list(records), next=following)


def test_list_follows_every_page(peerd, daemon) -> None:
    daemon.will_answer("GET", RECORDS, page(record(), following="more"), page(record(record_id="ff" * 16)))
    outcome = peerd("record", "list", "pizza", "--type", "note", "--creator", "bob")
    rows = outcome.stdout.splitlines()
    assert [row.split()[0] for row in rows] == ["RECORD", RECORD, "ff" * 16]
    assert [asked.query.get("cursor") for asked in daemon.asked] == [None, "more"]
    assert {(a.query["record_type"], a.query["creator"]) for a in daemon.asked} == {("note", "bob")}


def test_a_limit_ends_a_list_and_is_not_exceeded(peerd, daemon) -> None:
    daemon.will_answer("GET", RECORDS, page(*[record()] * 1000, following="more"))
    found = peerd("record", "list", "pizza", "--limit", "1500", "--json").json
    assert (len(found["records"]), found["next"]) == (1500, None)
    assert [asked.query["limit"] for asked in daemon.asked] == ["1000", "500"]


def test_a_narrow_table_shows_the_half_of_an_id_that_tells_records_apart(peerd, daemon, monkeypatch) -> None:
    monkeypatch.setattr("peerd.cli.render.terminal_width", lambda: 60)
    daemon.will_answer("GET", RECORDS, page(record()))
    assert peerd("record", "list", "pizza").stdout.splitlines()[1].split()[0] == "0123456789ab"


def test_a_search_is_passed_on_as_it_was_typed(peerd, daemon) -> None:
    daemon.will_answer("POST", f"{RECORDS}/search", page(record(), following="x"), page())
    query = 'people >= 3 and not title ~ "draft*"'
    assert RECORD in peerd("record", "search", "pizza", query).stdout
    assert daemon.asked[0].body == {"query": query, "limit": 1000}
    assert daemon.asked[1].body == {"query": query, "limit": 1000, "cursor": "x"}


def test_a_peersearch_document_comes_from_a_file_or_stdin(peerd, daemon, home: Path) -> None:
    daemon.will_answer("POST", f"{RECORDS}/search", page())
    (home / "query.xml").write_text("<peersearch/>")
    for file in (str(home / "query.xml"), "-"):
        outcome = peerd("record", "search", "pizza", "--xml", file, "--limit", "3", stdin="<peersearch/>")
        assert daemon.last.body == {"xml": "<peersearch/>", "limit": 3}
        assert (outcome.stdout, outcome.exit_code) == ("", 0)
        assert "Nothing was found" in outcome.stderr


def test_what_is_no_search_is_told_with_its_hint(peerd, daemon) -> None:
    daemon.will_refuse("POST", f"{RECORDS}/search", "invalid-search", hint="write it like …")
    outcome = peerd("record", "search", "pizza", "title =")
    assert outcome.exit_code == 1
    assert "hint: write it like …" in outcome.stderr


# --- update and delete --------------------------------------------------------------------------------------


@pytest.fixture
def updating(daemon):
    daemon.will_answer("GET", ONE, record())
    daemon.will_answer("PATCH", ONE, record(version=3))
    return daemon


def test_only_what_was_given_is_changed(peerd, updating) -> None:
    peerd("record", "update", "pizza", "9a9a", "--text", "")
    assert updating.last.body == {"data": ""}
    peerd("record", "update", "pizza", "9a9a", "--valid", "2h", "--no-auto-refresh", "--if-version", VERSION)
    assert updating.last.body == {"valid_s": 7200, "auto_refresh": False, "if_version": VERSION}
    assert {asked.method for asked in updating.asked} == {"PATCH"}


def test_attributes_are_changed_by_name_of_the_version_that_was_seen(peerd, updating) -> None:
    peerd(
        *("record", "update", "pizza", "9a9a", "--attribute", "people:int=5"),
        *("--remove-attribute", "day", "--remove-attribute", "unknown"),
    )
    assert [asked.method for asked in updating.asked] == ["GET", "PATCH"]
    assert updating.last.body == {"attributes": {"title": "Pizza", "people": 5}, "if_version": VERSION}
    peerd("record", "update", "pizza", "9a9a", "--remove-attribute", "day", "--if-version", "cd" * 32)
    assert updating.last.body["if_version"] == "cd" * 32
    assert updating.last.body["attributes"] == {"title": "Pizza", "people": [3, 4]}


def test_a_change_that_came_too_late_is_a_conflict(peerd, updating) -> None:
    updating.will_refuse("PATCH", ONE, "version-conflict")
    assert peerd("record", "update", "pizza", "9a9a", "--attribute", "a=b").exit_code == 6


def test_a_record_is_deleted(peerd, daemon) -> None:
    gone = record_schema.RecordDeleted(record_id=RECORD, group=PIZZA, version_id=VERSION)
    daemon.will_answer("DELETE", ONE, gone)
    assert peerd("record", "delete", "pizza", "9a9a").stdout == f"deleted {RECORD}\n"
    assert daemon.last.query == {}
    options = ("--if-version", VERSION, "--wait-replicated", "1", "--json")
    outcome = peerd("record", "delete", "pizza", "9a9a", *options)
    assert daemon.last.query == {"if_version": VERSION, "wait_replicated": "1"}
    assert outcome.json["deleted"] is True
