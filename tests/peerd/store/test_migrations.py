from __future__ import annotations

import itertools
from dataclasses import replace
from hashlib import sha256

import apsw
import pytest

from peerd.errors import StoreCorrupt, StoreError, StoreTooNew
from peerd.store.database import Database
from peerd.store.migrations import DAEMON_SCHEMA, GROUP_SCHEMA, Schema
from tests.peerd.store.disks import copy_of_the_living, disk, io_error

FIRST = Schema(
    title="notes",
    mark=0x6E6F7465,
    steps=("CREATE TABLE notes (text TEXT) STRICT",),
    way_back="write them again",
)
SECOND = replace(
    FIRST,
    steps=(
        *FIRST.steps,
        "ALTER TABLE notes ADD COLUMN stars INTEGER NOT NULL DEFAULT 3; CREATE TABLE tags (name TEXT) STRICT",
    ),
)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "notes.db"
    notes = Database(path, FIRST)
    with notes.transaction():
        notes.write("INSERT INTO notes VALUES ('a')")
    notes.close()
    return path


def _form(path):
    connection = apsw.Connection(str(path))
    form = connection.pragma("user_version")
    connection.close()
    return form


def test_older_file_takes_the_steps_that_it_lacks_and_keeps_its_rows(path):
    assert _form(path) == 1
    notes = Database(path, SECOND)
    assert notes.rows("SELECT text, stars FROM notes") == [("a", 3)]
    assert notes.rows("SELECT count(*) FROM tags") == [(0,)]
    notes.close()
    assert _form(path) == 2
    Database(path, SECOND).close()


def test_new_file_takes_all_steps(tmp_path):
    notes = Database(tmp_path / "new.db", SECOND)
    assert notes.rows("SELECT text, stars FROM notes") == []
    notes.close()
    assert _form(tmp_path / "new.db") == 2


def test_newer_file_is_refused_and_stays_as_it_is(path):
    Database(path, SECOND).close()
    before = path.read_bytes()
    with pytest.raises(StoreTooNew) as caught:
        Database(path, FIRST)
    assert "form 2; this one knows form 1" in caught.value.detail
    assert caught.value.hint == "run the newer peerd: pip install --upgrade peerd"
    assert path.read_bytes() == before
    notes = Database(path, SECOND)
    assert notes.rows("SELECT text FROM notes") == [("a",)]
    notes.close()


def test_newer_file_that_was_left_by_a_crash_keeps_its_log(path, tmp_path):
    notes = Database(path, SECOND)
    with notes.transaction():
        notes.write("INSERT INTO notes VALUES ('b', 1)")
    left = copy_of_the_living(path, tmp_path / "crash")
    notes.close()
    log = left.with_name("notes.db-wal")
    before = left.read_bytes(), log.read_bytes()
    with pytest.raises(StoreTooNew):
        Database(left, FIRST)
    assert (left.read_bytes(), log.read_bytes()) == before


def test_step_that_fails_at_any_write_leaves_the_file_at_one_step_or_the_next(path, tmp_path):
    data = path.read_bytes()
    for number in itertools.count(1):
        copy = tmp_path / str(number) / "notes.db"
        copy.parent.mkdir(mode=0o700)
        copy.touch(mode=0o600)
        copy.write_bytes(data)
        with disk() as disk_:
            disk_.fail_from(number, io_error)
            try:
                Database(copy, SECOND, vfs=disk_.name).close()
            except StoreError:
                disk_.heal()
            else:
                break
            assert _form(copy) in (1, 2)
            notes = Database(copy, SECOND, vfs=disk_.name)
            assert notes.rows("SELECT text, stars FROM notes") == [("a", 3)]
            notes.close()
    assert number > 3


def test_step_is_taken_whole_or_not_at_all(path):
    broken = replace(FIRST, steps=(*FIRST.steps, "CREATE TABLE tags (name TEXT) STRICT; SELECT nothing"))
    with pytest.raises(apsw.SQLError):
        Database(path, broken)
    assert _form(path) == 1
    notes = Database(path, FIRST)
    assert notes.rows("SELECT name FROM sqlite_schema") == [("notes",)]
    notes.close()


@pytest.mark.parametrize(
    "sql", ["CREATE TABLE t (a)", "PRAGMA application_id = 7", "PRAGMA user_version = 1"]
)
def test_database_of_another_program_is_refused_and_stays_as_it_is(tmp_path, sql):
    path = tmp_path / "foreign.db"
    foreign = apsw.Connection(str(path))
    foreign.execute(sql)
    foreign.close()
    path.chmod(0o600)
    before = path.read_bytes()
    with pytest.raises(StoreCorrupt, match="is no notes of peerd"):
        Database(path, FIRST)
    assert path.read_bytes() == before


def test_file_of_another_sort_is_refused(tmp_path):
    Database(tmp_path / "daemon.db", DAEMON_SCHEMA).close()
    with pytest.raises(StoreCorrupt, match="is no group database"):
        Database(tmp_path / "daemon.db", GROUP_SCHEMA)


@pytest.mark.parametrize("data", [b"", b"x", b"not a database" * 100, bytes(4096)])
def test_file_that_is_no_database_is_refused_and_stays_as_it_is(tmp_path, data):
    path = tmp_path / "notes.db"
    path.touch(mode=0o600)
    path.write_bytes(data)
    with pytest.raises(StoreCorrupt):
        Database(path, FIRST)
    assert path.read_bytes() == data


@pytest.mark.parametrize(
    "schema, digests",
    [
        (GROUP_SCHEMA, ["730f934d85930c0b", "35ed07c9e8c32518"]),
        (DAEMON_SCHEMA, ["c0a0b231914f1887"]),
    ],
)
def test_step_never_changes_once_it_is_out(schema, digests):
    # Files that have seen it will not see it again: a change is a new step.
    assert [sha256(" ".join(step.split()).encode()).hexdigest()[:16] for step in schema.steps] == digests
