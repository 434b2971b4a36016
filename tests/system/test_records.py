"""Records as people have them: typed, piped, spread, found again after kill -9, moved in a file."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from peerd.clock import pause, steady_s
from peerd.control.record_schema import Record, RecordAdd, RecordChange
from tests.system.circle import Circle, circle_of
from tests.system.people import COMMAND_S_MAX, Person

pytestmark = [pytest.mark.system, pytest.mark.slow]

EVERY_BYTE = bytes(range(256)) * 4096  # exactly as much as a record takes
WAIT_S_MAX = 60


@pytest.fixture
def circle() -> Iterator[Circle]:
    with circle_of() as made:
        yield made


def piped(person: Person, *words: str, stdin: bytes = b"") -> bytes:
    """What a command prints, byte by byte."""
    command = [sys.executable, "-m", "peerd", "--home", str(person.home), *words]
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=COMMAND_S_MAX, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def waited(person: Person, group: str, record_id: str, version_id: str) -> Record:
    """The record, once this version of it is there with its data."""
    until = steady_s() + WAIT_S_MAX
    while True:
        with person.client() as client:
            found = [one for one in client.all_records(group) if one.record_id == record_id]
        if found and found[0].version_id == version_id and found[0].data_held:
            return found[0]
        assert steady_s() < until, found
        pause(0.05)


def test_data_go_in_and_come_out_unchanged_on_another_node(circle: Circle, tmp_path: Path) -> None:
    replicated = ("--wait-replicated", "1", "--timeout", "40", "--json")
    circle.alice.json("record", "add", "pizza", "--type", "note", "--text", "small", *replicated[:-1])
    added = piped(
        *(circle.alice, "record", "add", "pizza", "--type", "photo", "--data-file", "-", *replicated),
        stdin=EVERY_BYTE,
    )
    assert b'"replicated": 1' in added
    (found,) = circle.bob.json("record", "list", "pizza", "--type", "photo")["records"]
    assert piped(circle.bob, "record", "get", "pizza", found["record_id"], "--data") == EVERY_BYTE
    circle.bob.type("record", "get", "pizza", found["record_id"][16:24], "--output", str(tmp_path / "photo"))
    assert (tmp_path / "photo").read_bytes() == EVERY_BYTE
    (tmp_path / "data").write_bytes(b"\r\n\0")
    curl = ["curl", "-sS", "--unix-socket", str(circle.alice.home / "control.sock")]
    address = f"http://peerd/v1/groups/pizza/records/{found['record_id']}/data"
    head = subprocess.run([*curl, "-T", str(tmp_path / "data"), address], capture_output=True, check=True)
    assert b'"version":2' in head.stdout
    assert subprocess.run([*curl, address], capture_output=True, check=True).stdout == b"\r\n\0"


def test_who_waits_for_more_neighbors_than_there_are_is_told_after_the_time_given(circle: Circle) -> None:
    words = ("record", "add", "pizza", "--type", "note", "--wait-replicated", "2", "--timeout", "1")
    code, problem = circle.alice.refusal(*words)
    assert (code, problem["type"]) == (7, "not-replicated")
    (record,) = circle.alice.json("record", "list", "pizza")["records"]
    assert record["record_id"] in problem["detail"]


def test_what_was_acknowledged_is_there_after_kill_9_and_reaches_the_others(circle: Circle) -> None:
    circle.bob.ask(lambda client: client.disconnect_group(circle.group))
    with circle.alice.client() as client:
        added = [client.add_record(circle.group, RecordAdd(record_type="note", data="YQ")) for _ in range(20)]
        changed = client.change_record(circle.group, added[0].record_id, RecordChange(data="Yg"))
        gone = client.delete_record(circle.group, added[1].record_id)
    circle.alice.kill()
    circle.alice.start()
    circle.bob.connect(circle.group, [circle.alice.address])
    waited(circle.bob, circle.group, changed.record_id, changed.version_id)
    for one in added[2:]:
        waited(circle.bob, circle.group, one.record_id, one.version_id)
    code, problem = circle.bob.refusal("record", "get", "pizza", gone.record_id)
    assert (code, problem["type"]) == (4, "record-deleted")


def test_a_file_carries_what_no_link_does(circle: Circle, tmp_path: Path) -> None:
    circle.bob.ask(lambda client: client.disconnect_group(circle.group))
    piped(circle.alice, "record", "add", "pizza", "--type", "photo", "--data-file", "-", stdin=EVERY_BYTE)
    with circle.alice.client() as client:
        for number in range(300):
            wish = RecordAdd(record_type="note", attributes={"number": number}, data="YQ")
            client.add_record(circle.group, wish)
    file = tmp_path / "pizza.peerd"
    told = circle.alice.json("database", "export", "pizza", str(file))
    assert told["bytes"] == file.stat().st_size > len(EVERY_BYTE)
    assert piped(circle.alice, "database", "export", "pizza", "-") == file.read_bytes()
    brought = circle.bob.json("database", "import", "pizza", str(file))
    assert (brought["records"] >= 301, brought["refused"]) == (True, 0)
    again = piped(circle.bob, "database", "import", "pizza", "-", stdin=file.read_bytes())
    assert again == b"0 new acts and certificates, 0 new versions of records, 0 refused\n"
    found: list[dict[str, Any]] = circle.bob.json(
        "record", "search", "pizza", "number >= 290 order by number desc limit 3"
    )["records"]
    assert [one["attributes"]["number"] for one in found] == [299, 298, 297]
    (photo,) = circle.bob.json("record", "list", "pizza", "--type", "photo")["records"]
    assert piped(circle.bob, "record", "get", "pizza", photo["record_id"], "--data") == EVERY_BYTE
    damaged = file.read_bytes()[:-1]
    code, problem = _refused(circle.bob, damaged)
    assert (code, problem) == (1, b"invalid-database")
    other = circle.bob.create_group("other")
    assert circle.bob.type("database", "import", other, str(file)).code == 1


def _refused(person: Person, data: bytes) -> tuple[int, bytes]:
    command = [sys.executable, "-m", "peerd", "--home", str(person.home), "database", "import", "pizza", "-"]
    done = subprocess.run(command, input=data, capture_output=True, timeout=COMMAND_S_MAX, check=False)
    assert b"was taken in" in done.stderr
    return done.returncode, done.stderr.partition(b"[")[2].partition(b"]")[0]


def test_records_are_told_of_as_they_come_by_type(circle: Circle) -> None:
    with circle.bob.client() as bob, circle.alice.client() as alice:
        cursor = bob.status().cursor
        for record_type in ("note", "other", "note"):
            wish = RecordAdd(record_type=record_type, wait_replicated=1)
            alice.add_record(circle.group, wish)
        told = list(bob.events(since=cursor, record_type="note", follow=False))
    assert [(one.kind, one.facts["record_type"]) for one in told] == [("record-added", "note")] * 2
