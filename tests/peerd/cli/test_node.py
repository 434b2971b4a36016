"""`peerd status`, `health`, `events`: what is printed, and the exit code for supervisors."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from peerd.control import schema
from tests.peerd.cli.fake_daemon import PIZZA, SINCE, group

FINDING = schema.Finding(
    code="credential-ends", detail="It ends in 2 days.", hint="peerd group show pizza", group=PIZZA
)


def status(**changes: Any) -> schema.Status:
    given = schema.Status(
        version="0.1.0",
        pid=42,
        started=SINCE,
        home="/srv/node",
        addresses=["127.0.0.1:3587"],
        versions={"python": "3.11"},
        health="healthy",
        findings=[],
        identities=1,
        groups=[group()],
        cursor="c1",
    )
    return msgspec.structs.replace(given, **changes)


def event(number: int, **changes: Any) -> schema.Event:
    given = schema.Event(
        cursor=f"c{number}", kind="link-up", time=SINCE, group=PIZZA, facts={"peer": "bob", "n": number}
    )
    return msgspec.structs.replace(given, **changes)


def test_status_shows_daemon_and_groups(peerd, daemon) -> None:
    daemon.will_answer("GET", "status", status())
    outcome = peerd("status")
    assert outcome.exit_code == 0
    for word in ("peerd 0.1.0", "42", "healthy", "127.0.0.1:3587", PIZZA, "/srv/node"):
        assert word in outcome.stdout


def test_status_without_groups_has_no_table(peerd, daemon) -> None:
    daemon.will_answer("GET", "status", status(groups=[], addresses=[]))
    assert "nowhere" in peerd("status").stdout


@pytest.mark.parametrize("as_json", [True, False])
def test_a_degraded_daemon_has_an_exit_code_of_its_own_and_says_what_to_do(peerd, daemon, as_json) -> None:
    daemon.will_answer("GET", "status", status(health="degraded", findings=[FINDING]))
    daemon.will_answer("GET", "health", schema.Health(health="degraded", findings=[FINDING]))
    for verb in ("status", "health"):
        outcome = peerd(verb, *(["--json"] if as_json else []))
        assert outcome.exit_code == 8
        assert "It ends in 2 days." in outcome.stdout
        assert "peerd group show pizza" in outcome.stdout


def test_health_is_one_word_when_all_is_well(peerd, daemon) -> None:
    daemon.will_answer("GET", "health", schema.Health(health="healthy", findings=[]))
    outcome = peerd("health")
    assert (outcome.exit_code, outcome.stdout) == (0, "healthy\n")


def events_of(*events: schema.Event) -> bytes:
    return b"\n".join([b"", *map(msgspec.json.encode, events), b""])


def test_events_are_one_line_each(peerd, daemon) -> None:
    daemon.will_answer("GET", "events", events_of(event(1), event(2, facts={"text": "a\nb\x1b"}, group=None)))
    lines = peerd("events").stdout.splitlines()
    assert lines == [
        f"2026-01-02T03:04:05Z  link-up  {PIZZA}  peer=bob  n=1",
        "2026-01-02T03:04:05Z  link-up  text=a\\x0ab\\x1b",
    ]


def test_facts_of_an_event_read_as_people_say_them(peerd, daemon) -> None:
    facts = {"roles": ["admin", "member"], "stored": True, "nothing": None, "level": 1}
    daemon.will_answer("GET", "events", events_of(event(1, facts=facts)))
    assert peerd("events").stdout.endswith("roles=admin,member  stored=yes  level=1\n")


def test_events_as_json_are_one_document_a_line(peerd, daemon) -> None:
    daemon.will_answer("GET", "events", events_of(event(1), event(2)))
    lines = peerd("events", "--json").stdout.splitlines()
    assert [json.loads(line)["cursor"] for line in lines] == ["c1", "c2"]


@pytest.mark.parametrize(
    "arguments, query",
    [
        ([], {"since": "start", "follow": "false"}),
        (["--since", "c7"], {"since": "c7", "follow": "false"}),
        (["--follow"], {}),
        (
            ["--follow", "--since", "c7", "--kinds", "a,b", "--group", "pizza"],
            {"since": "c7", "kinds": "a,b", "group": "pizza"},
        ),
    ],
)
def test_events_start_with_the_oldest_unless_new_ones_are_awaited(peerd, daemon, arguments, query) -> None:
    daemon.will_answer("GET", "events", events_of())
    assert peerd("events", *arguments).exit_code == 0
    assert daemon.last.query == query


def test_events_end_when_the_daemon_says_goodbye(peerd, daemon) -> None:
    daemon.will_answer("GET", "events", events_of(event(1), event(2, kind="bye"), event(3)))
    assert len(peerd("events", "--follow").stdout.splitlines()) == 2
