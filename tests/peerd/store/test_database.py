from __future__ import annotations

import itertools
import os
from pathlib import Path

import apsw
import pytest

from peerd.errors import ConfigError, StoreCorrupt, StoreError, StoreFull, StoreInUse
from peerd.store import database
from peerd.store.database import Database, check_number, check_number_behind
from peerd.store.migrations import Schema
from tests.peerd.store.disks import copy_of_the_living, disk, full_error, io_error, sync_error

NOTES = Schema(
    title="notes",
    mark=0x6E6F7465,
    steps=("CREATE TABLE notes (number INTEGER PRIMARY KEY, text TEXT) STRICT",),
    way_back="write them again",
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "notes.db"


def write(notes: Database, text: str) -> None:
    with notes.transaction():
        notes.write("INSERT INTO notes (text) VALUES (?)", (text,))


def write_half(notes: Database) -> None:
    notes.write("INSERT INTO notes (text) VALUES ('half')")
    notes.write("INSERT INTO nowhere VALUES ('other half')")


def texts(notes: Database) -> list[str]:
    return [text for (text,) in notes.rows("SELECT text FROM notes ORDER BY number")]


# --- making and opening -----------------------------------------------------------------------------------


def test_files_are_closed_to_others_whatever_the_umask(path):
    before = os.umask(0)
    try:
        notes = Database(path, NOTES)
        write(notes, "a")
    finally:
        os.umask(before)
    modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert modes == {"notes.db": 0o600, "notes.db-wal": 0o600, "notes.db-shm": 0o600}
    notes.close()


def test_sound_file_is_left_without_companions(path):
    notes = Database(path, NOTES)
    write(notes, "a")
    notes.close()
    assert [file.name for file in path.parent.iterdir()] == ["notes.db"]


def test_new_file_gets_its_name_when_its_contents_are_on_the_disk_and_then_the_name_is_synced(
    path, monkeypatch
):
    steps = []
    with disk() as disk_:
        monkeypatch.setattr(
            os,
            "fsync",
            lambda descriptor: steps.append((os.readlink(f"/proc/self/fd/{descriptor}"), path.exists())),
        )
        disk_.fails = lambda operation: steps.append((operation.kind, path.exists()))
        Database(path, NOTES, vfs=disk_.name).close()
    named = steps.index((str(path.parent), True))
    before = [step for step in steps[:named] if step[0] in ("write", "sync", "truncate")]
    assert ("write", False) in before
    assert ("write", True) not in before
    assert ("sync", False) in before[before.index(("write", False)) :]


@pytest.mark.parametrize("error", [io_error, full_error])
def test_making_that_fails_at_any_write_can_be_done_again(tmp_path, error):
    for number in itertools.count(1):
        path = tmp_path / str(number) / "notes.db"
        path.parent.mkdir(mode=0o700)
        with disk() as disk_:
            disk_.fail_from(number, error)
            try:
                Database(path, NOTES, vfs=disk_.name).close()
            except StoreError:
                disk_.heal()
            else:
                break
            notes = Database(path, NOTES, vfs=disk_.name)
            write(notes, "a")
            assert texts(notes) == ["a"]
            notes.close()
            assert [file.name for file in path.parent.iterdir()] == ["notes.db"]
    assert number > 3


@pytest.mark.parametrize("error", [io_error, full_error])
def test_opening_after_a_crash_that_fails_at_any_write_can_be_done_again(tmp_path, path, error):
    notes = Database(path, NOTES)
    write(notes, "a")
    for number in itertools.count(1):
        left = copy_of_the_living(path, tmp_path / f"crash-{number}")
        with disk() as disk_:
            disk_.fail_from(number, error)
            try:
                Database(left, NOTES, vfs=disk_.name).close()
            except StoreError:
                disk_.heal()
            else:
                break
            again = Database(left, NOTES, vfs=disk_.name)
            assert texts(again) == ["a"]
            again.close()
    assert number > 2
    notes.close()


def test_file_that_others_can_read_is_refused_with_the_command_that_mends_it(path):
    Database(path, NOTES).close()
    path.chmod(0o644)
    with pytest.raises(ConfigError) as caught:
        Database(path, NOTES)
    assert caught.value.code == "home-not-private"
    assert caught.value.hint == f"chmod 600 {path}"


def test_file_that_must_be_there_is_not_made(path):
    with pytest.raises(StoreCorrupt, match="is missing") as caught:
        Database(path, NOTES, make=False)
    assert caught.value.hint == "write them again"
    assert list(path.parent.iterdir()) == []
    Database(path, NOTES).close()
    Database(path, NOTES, make=False).close()


def test_log_of_a_file_that_is_gone_does_not_enter_a_new_one(path, tmp_path):
    notes = Database(path, NOTES)
    write(notes, "old")
    left = copy_of_the_living(path, tmp_path / "crash")
    notes.close()
    left.unlink()
    again = Database(left, NOTES)
    assert texts(again) == []
    again.close()


def test_link_in_place_of_the_file_is_not_followed(path, tmp_path):
    Database(tmp_path / "other.db", NOTES).close()
    path.symlink_to(tmp_path / "other.db")
    with pytest.raises(ConfigError, match="not a regular file"):
        Database(path, NOTES)


def test_directory_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(StoreError, match="No such file"):
        Database(tmp_path / "missing" / "notes.db", NOTES)


def test_file_on_a_network_is_refused_before_it_is_made(path, monkeypatch):
    def refuse(directory: Path) -> None:
        raise ConfigError("on a network", code="network-file-system")

    monkeypatch.setattr(database, "refuse_network_file_system", refuse)
    with pytest.raises(ConfigError):
        Database(path, NOTES)
    assert not path.exists()


def test_old_sqlite_is_refused(path, monkeypatch):
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: "3.51.2")
    with pytest.raises(ConfigError, match=r"SQLite 3\.51\.2 is too old: before 3\.51\.3") as caught:
        Database(path, NOTES)
    assert caught.value.hint == "install the apsw that brings its own SQLite: pip install --upgrade apsw"
    assert not path.exists()


@pytest.mark.parametrize("which", ["rows", "committed"])
def test_both_connections_are_hardened_and_synchronous(path, which):
    notes = Database(path, NOTES)
    ask = getattr(notes, which)
    answers = {
        name: ask(f"PRAGMA {name}")[0][0]
        for name in ("journal_mode", "synchronous", "trusted_schema", "mmap_size", "foreign_keys")
    }
    assert answers == {
        "journal_mode": "wal",
        "synchronous": 2,
        "trusted_schema": 0,
        "mmap_size": 0,
        "foreign_keys": 1,
    }
    notes.close()


def test_trigger_that_somebody_planted_does_not_run(path):
    Database(path, NOTES).close()
    planted = apsw.Connection(str(path))
    planted.execute("CREATE TRIGGER t AFTER INSERT ON notes BEGIN DELETE FROM notes; END")
    planted.close()
    notes = Database(path, NOTES)
    write(notes, "a")
    assert texts(notes) == ["a"]
    notes.close()


def test_copy_that_was_made_without_a_log_is_taken(path, tmp_path):
    notes = Database(path, NOTES)
    write(notes, "a")
    notes.close()
    source = apsw.Connection(str(path))
    source.execute("VACUUM INTO ?", (str(tmp_path / "copy.db"),))
    source.close()
    (tmp_path / "copy.db").chmod(0o600)
    copy = Database(tmp_path / "copy.db", NOTES)
    assert texts(copy) == ["a"]
    assert copy.rows("PRAGMA journal_mode") == [("wal",)]
    copy.close()


# --- failing ----------------------------------------------------------------------------------------------


def test_failed_sync_ends_the_file_until_it_is_opened_anew(path):
    with disk() as disk_:
        notes = Database(path, NOTES, vfs=disk_.name)
        write(notes, "a")
        disk_.fail_from(1, sync_error, "sync")
        with pytest.raises(StoreError) as caught:
            write(notes, "b")
        assert caught.value.code == "store-failed"
        assert "peerd run" in caught.value.hint
        disk_.heal()
        assert notes.failed
        for call in (
            lambda: notes.rows("SELECT 1"),
            lambda: notes.committed("SELECT 1"),
            lambda: list(notes.stream("SELECT 1")),
            lambda: notes.rows_for_each("SELECT ?", [(1,)]),
            notes.begin,
        ):
            with pytest.raises(StoreError, match="nothing is read or written since the disk failed"):
                call()
        before = path.read_bytes()
        notes.close()
        assert path.read_bytes() == before, "a log that may not be on the disk was moved"
        again = Database(path, NOTES)
        assert texts(again) in (["a"], ["a", "b"])
        again.close()


@pytest.mark.parametrize(
    "read",
    [
        texts,
        lambda notes: notes.committed("SELECT text FROM notes"),
        lambda notes: list(notes.stream("SELECT text FROM notes")),
        lambda notes: notes.rows_for_each("SELECT text FROM notes WHERE number > ?", [(0,)]),
    ],
    ids=["rows", "committed", "stream", "rows_for_each"],
)
def test_failed_read_ends_the_file_too(path, read):
    with disk() as disk_:
        notes = Database(path, NOTES, vfs=disk_.name)
        write(notes, "a" * 10_000)
        notes.close()
        notes = Database(path, NOTES, vfs=disk_.name)
        disk_.unreadable = True
        with pytest.raises(StoreError, match="the disk failed under the notes"):
            read(notes)
        disk_.unreadable = False
        with pytest.raises(StoreError, match="nothing is read or written since"):
            read(notes)
        notes.close()


@pytest.mark.parametrize(
    "error, expected",
    [
        (apsw.FullError, StoreFull),
        (apsw.CorruptError, StoreCorrupt),
        (apsw.NotADBError, StoreCorrupt),
        (apsw.BusyError, StoreInUse),
        (apsw.LockedError, StoreInUse),
        (apsw.IOError, StoreError),
        (apsw.CantOpenError, StoreError),
        (apsw.ReadOnlyError, StoreError),
        (apsw.NoMemError, StoreError),
    ],
)
def test_each_error_of_the_medium_has_its_own_and_a_hint(path, error, expected):
    notes = Database(path, NOTES)
    answer = notes._failed_with(error("words"))
    assert type(answer) is expected
    assert str(path) in answer.detail
    assert answer.hint
    assert notes.failed is (expected not in (StoreFull, StoreInUse))
    notes.close()


def test_no_room_for_the_shared_memory_is_a_full_disk(path):
    notes = Database(path, NOTES)
    error = apsw.IOError("disk I/O error")
    vars(error)["extendedresult"] = apsw.SQLITE_IOERR_SHMSIZE
    assert type(notes._failed_with(error)) is StoreFull
    notes.close()


def test_our_own_mistakes_are_not_taken_for_the_disks(path):
    notes = Database(path, NOTES)
    with pytest.raises(apsw.SQLError):
        notes.rows("SELECT nothing FROM nowhere")
    assert not notes.failed
    notes.close()


def test_after_a_failed_write_nothing_but_rollback_is_allowed(path):
    with disk() as disk_:
        notes = Database(path, NOTES, vfs=disk_.name)
        notes.begin()
        disk_.fail_from(1, full_error, "write")
        notes.write("INSERT INTO notes (text) VALUES ('a')")
        with pytest.raises(StoreFull):
            notes.commit()
        disk_.heal()
        with pytest.raises(AssertionError, match="rollback"):
            notes.commit()
        with pytest.raises(AssertionError, match="rollback"):
            notes.write("INSERT INTO notes (text) VALUES ('b')")
        notes.rollback()
        write(notes, "c")
        assert texts(notes) == ["c"]
        notes.close()


def test_rows_written_together_are_all_there_or_none(path):
    insert = "INSERT INTO notes (number, text) VALUES (?, ?)"
    with disk() as disk_:
        notes = Database(path, NOTES, vfs=disk_.name)
        with pytest.raises(AssertionError, match="open transaction"):
            notes.write_many(insert, [(1, "a")])
        with notes.transaction():
            notes.write_many(insert, [(1, "a"), (2, "b")])
        notes.begin()
        with pytest.raises(apsw.ConstraintError):
            notes.write_many(insert, [(3, "c"), (1, "d")])
        with pytest.raises(AssertionError, match="rollback"):
            notes.write_many(insert, [(4, "e")])
        notes.rollback()
        assert texts(notes) == ["a", "b"]
        notes.begin()
        disk_.fail_from(1, io_error)
        with pytest.raises(StoreError):
            notes.write_many(insert, ((number, "x" * 4000) for number in range(10, 6_000)))
        notes.rollback()
        assert notes.failed
        notes.close()


def test_what_will_be_written_later_is_refused_now(path):
    notes = Database(path, NOTES)
    assert not notes.writing
    with pytest.raises(AssertionError, match="open transaction"):
        notes.check_writable()
    notes.begin()
    assert notes.writing
    notes.check_writable()
    with pytest.raises(apsw.SQLError):
        notes.write("INSERT INTO nowhere VALUES (1)")
    with pytest.raises(AssertionError, match="rollback"):
        notes.check_writable()
    notes.rollback()
    notes.begin()
    notes.damaged("a row has changed")
    with pytest.raises(StoreCorrupt):
        notes.check_writable()
    notes.close()


def test_transaction_that_is_left_by_an_error_is_rolled_back(path):
    notes = Database(path, NOTES)
    with pytest.raises(apsw.SQLError), notes.transaction():
        write_half(notes)
    assert texts(notes) == []
    write(notes, "b")
    notes.close()


def test_other_program_that_holds_the_file_is_waited_for_and_then_named(path, monkeypatch):
    monkeypatch.setattr(database, "STORE_BUSY_MS_MAX", 1)
    notes = Database(path, NOTES)
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreInUse, match="another program holds") as caught:
        notes.begin()
    assert caught.value.hint == f"find it and close it: fuser {path}"
    other.execute("ROLLBACK")
    other.close()
    write(notes, "a")
    assert texts(notes) == ["a"]
    notes.close()


# --- the log ----------------------------------------------------------------------------------------------


@pytest.fixture
def short_log(monkeypatch):
    monkeypatch.setattr(database, "STORE_WAL_PAGES_MAX", 4)


def test_log_is_moved_into_the_file_when_it_is_full(path, short_log):
    notes = Database(path, NOTES)
    for number in range(50):
        write(notes, f"{number}" * 2_000)
    log = path.with_name("notes.db-wal")
    assert log.stat().st_size < 20 * 4_096
    assert path.stat().st_size > 50 * 2_000
    notes.close()


def write_until_refused(notes: Database, acknowledged: list[int]) -> None:
    for number in range(50):
        write(notes, f"{number}" * 2_000)
        acknowledged.append(number)


def test_failure_to_move_the_log_is_not_kept_silent(path, short_log):
    with disk() as disk_:
        notes = Database(path, NOTES, vfs=disk_.name)
        disk_.fails = lambda operation: sync_error() if operation.file == "notes.db" else None
        acknowledged: list[int] = []
        with pytest.raises(StoreError):
            write_until_refused(notes, acknowledged)
        assert notes.failed
        notes.close()
        disk_.heal()
        again = Database(path, NOTES, vfs=disk_.name)
        assert len(texts(again)) > len(acknowledged)
        again.close()


def test_no_room_to_move_the_log_takes_back_nothing(path, short_log):
    with disk() as disk_:
        notes = Database(path, NOTES, vfs=disk_.name)
        disk_.fails = lambda operation: full_error() if operation.file == "notes.db" else None
        for number in range(20):
            write(notes, f"{number}" * 2_000)
        assert path.stat().st_size < 20 * 2_000
        disk_.heal()
        write(notes, "last")
        assert path.stat().st_size > 20 * 2_000
        assert len(texts(notes)) == 21
        notes.close()


def test_no_room_to_move_the_log_at_closing_keeps_it_for_the_next_opening(path):
    with disk() as disk_:
        notes = Database(path, NOTES, vfs=disk_.name)
        write(notes, "a")
        disk_.fails = lambda operation: full_error() if operation.file == "notes.db" else None
        notes.close()
        disk_.heal()
        assert path.with_name("notes.db-wal").stat().st_size > 0
        again = Database(path, NOTES, vfs=disk_.name)
        assert texts(again) == ["a"]
        again.close()


# --- check numbers ----------------------------------------------------------------------------------------


def test_check_number_behind_fixed_bytes_covers_them_and_the_value():
    numbers = {check_number_behind(fixed, value) for fixed in (b"aa", b"ab") for value in (b"", b"a", b"b")}
    assert len(numbers) == 6


def test_check_number_tells_fields_apart():
    assert check_number(b"ab", b"c") != check_number(b"a", b"bc") != check_number(b"abc")
    assert check_number(b"ab", b"c") == check_number(b"ab", b"c")
    assert 0 <= check_number(b"ab") < 2**32
