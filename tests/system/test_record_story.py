"""What people do with records, typed on three real nodes: alice and bob administer, carol is a member."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from peerd.clock import pause, steady_s
from tests.system.circle import Circle, circle_of
from tests.system.people import COMMAND_S_MAX, Person

pytestmark = [pytest.mark.system, pytest.mark.slow]

OVEN = bytes(range(256)) * 1200
REPLICATED = ("--wait-replicated", "2", "--timeout", "40")
LIFE_S = 5
WAIT_S_MAX = 60
QUERY = """<?xml version="1.0" encoding="utf-8" ?>
<peersearch xmlns:xs="http://www.w3.org/2001/XMLSchema">
<and>
<clause attrib="title" type="string" compare="equal">ov*</clause>
<clause attrib="people" type="int" compare="greaterorequal">3</clause>
</and>
</peersearch>"""


@pytest.fixture(scope="module")
def circle() -> Iterator[Circle]:
    with circle_of("carol") as made:
        made.admit("carol")
        made.bob.connect(made.group, [made.carol.address])
        for person in made.cast.values():
            person.wait_group(made.group, lambda seen: len(seen.neighbors) == 2)
        yield made


def added(person: Person, *words: str, stdin: str = "") -> dict[str, Any]:
    """A record, acknowledged by all others."""
    record = person.json("record", "add", "pizza", *words, *REPLICATED, stdin=stdin)
    assert record["replicated"] == 2
    assert isinstance(record, dict)
    return record


def data_of(person: Person, record_id: str) -> bytes:
    """What `record get --data` prints."""
    words = ("--home", str(person.home), "record", "get", "pizza", record_id, "--data")
    return subprocess.run(
        [sys.executable, "-m", "peerd", *words], capture_output=True, check=True, timeout=COMMAND_S_MAX
    ).stdout


def found(person: Person, *words: str) -> list[str]:
    """The ids of what a search finds."""
    return [one["record_id"] for one in person.json("record", "search", "pizza", *words)["records"]]


def listed(person: Person, record_type: str) -> list[str]:
    """The ids of all records of one type."""
    records = person.json("record", "list", "pizza", "--type", record_type)["records"]
    return [one["record_id"] for one in records]


def wait_until(holds: Callable[[], bool]) -> None:
    until = steady_s() + WAIT_S_MAX
    while not holds():
        assert steady_s() < until
        pause(0.05)


@contextmanager
def followed(person: Person, *words: str) -> Iterator[Iterator[dict[str, Any]]]:
    """The events from now on that `peerd events --follow` prints as they come."""
    since = person.ask(lambda client: client.status().cursor)
    command = [sys.executable, "-m", "peerd", "--home", str(person.home), "events", "--follow"]
    with subprocess.Popen(
        [*command, "--since", since, *words, "--json"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield (json.loads(line) for line in process.stdout)
        finally:
            process.terminate()


def test_a_record_is_written_found_changed_and_deleted_by_others(circle: Circle, tmp_path: Path) -> None:
    (tmp_path / "oven.jpg").write_bytes(OVEN)
    told = ("--attribute", "title=oven", "--attribute", "people:int=4")
    photo = added(circle.carol, "--type", "photo", "--data-file", str(tmp_path / "oven.jpg"), *told)
    note = added(circle.carol, "--type", "note", "--data-file", "-", stdin="flour\n")
    for person in circle.cast.values():
        assert data_of(person, photo["record_id"]) == OVEN
        assert data_of(person, note["record_id"]) == b"flour\n"
    (tmp_path / "query.xml").write_text(QUERY)
    for person in circle.cast.values():
        assert found(person, 'title ~ "ov*" and people >= 3') == [photo["record_id"]]
        assert found(person, "--xml", str(tmp_path / "query.xml")) == [photo["record_id"]]
        assert found(person, "people > 4") == []
    changed = circle.bob.json(
        "record", "update", "pizza", photo["record_id"], "--attribute", "people:int=9", *REPLICATED
    )
    assert (changed["version"], changed["attributes"]) == (2, {"title": "oven", "people": 9})
    seen = circle.carol.json("record", "get", "pizza", photo["record_id"])
    assert (seen["version_id"], seen["creator"]) == (changed["version_id"], photo["creator"])
    assert seen["modified_by"].endswith(".bob")
    assert data_of(circle.carol, photo["record_id"]) == OVEN
    gone = circle.alice.json("record", "delete", "pizza", photo["record_id"], *REPLICATED)
    assert gone["deleted"]
    for person in circle.cast.values():
        assert found(person, 'title = "oven"') == []
        code, problem = person.refusal("record", "get", "pizza", photo["record_id"])
        assert (code, problem["type"]) == (4, "record-deleted")


def test_a_member_changes_nothing_that_is_not_its_own(circle: Circle) -> None:
    note = added(circle.alice, "--type", "rule", "--text", "no pineapple")
    for words in (
        ("update", "pizza", note["record_id"], "--text", "x"),
        ("delete", "pizza", note["record_id"]),
    ):
        code, problem = circle.carol.refusal("record", *words)
        assert (code, problem["type"]) == (5, "not-authorized")
    assert data_of(circle.bob, note["record_id"]) == b"no pineapple"


def test_what_was_written_offline_arrives_when_the_node_is_back(circle: Circle) -> None:
    circle.carol.json("group", "disconnect", "pizza")
    code, problem = circle.carol.refusal(
        *(
            "record",
            "add",
            "pizza",
            "--type",
            "apart",
            "--text",
            "a",
            "--wait-replicated",
            "1",
            "--timeout",
            "1",
        )
    )
    assert (code, problem["type"]) == (7, "not-replicated")
    circle.alice.json("record", "add", "pizza", "--type", "apart", "--text", "b")
    assert len(listed(circle.alice, "apart")) == 1
    circle.carol.json("group", "connect", "pizza")
    wait_until(lambda: all(len(listed(person, "apart")) == 2 for person in circle.cast.values()))


def test_a_record_with_an_end_is_gone_then_and_that_is_told(circle: Circle) -> None:
    with followed(circle.bob, "--type", "lunch") as events:
        lunch = added(circle.carol, "--type", "lunch", "--valid", f"{LIFE_S}s", "--text", "12:30")
        assert not lunch["durable"]
        told = [next(events), next(events)]
    assert [one["kind"] for one in told] == ["record-added", "record-expired"]
    assert {one["facts"]["record_id"] for one in told} == {lunch["record_id"]}
    wait_until(lambda: not any(listed(person, "lunch") for person in circle.cast.values()))
    for person in circle.cast.values():
        code, problem = person.refusal("record", "get", "pizza", lunch["record_id"])
        assert (code, problem["type"]) == (4, "record-not-found")


def test_a_file_brings_all_to_a_member_that_has_no_link_and_nothing_to_another_group(
    circle: Circle, tmp_path: Path
) -> None:
    circle.carol.json("group", "disconnect", "pizza")
    note = circle.alice.json("record", "add", "pizza", "--type", "filed", "--text", "by hand")
    file = str(tmp_path / "pizza.peerd")
    circle.alice.json("database", "export", "pizza", file)
    brought = circle.carol.json("database", "import", "pizza", file)
    assert (brought["records"] >= 1, brought["refused"]) == (True, 0)
    assert data_of(circle.carol, note["record_id"]) == b"by hand"
    assert circle.carol.json("database", "import", "pizza", file)["records"] == 0
    circle.carol.json("group", "connect", "pizza")
    other = circle.bob.create_group("others")
    before = circle.bob.group(other).acts
    code, problem = circle.bob.refusal("database", "import", other, file)
    assert code == 1
    assert problem["hint"]
    assert circle.bob.group(other).acts == before
    circle.bob.ask(lambda client: client.delete_group(other))
