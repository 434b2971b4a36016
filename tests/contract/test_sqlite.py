from __future__ import annotations

import itertools
import threading
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import apsw
import pytest
from hypothesis import given, strategies as st

from peerd.errors import StoreCorrupt, StoreError, StoreFull, StoreTooNew
from peerd.store import group_store, record_store
from peerd.store.database import Database, check_number
from peerd.store.group_store import GroupStore
from peerd.store.migrations import GROUP_SCHEMA
from protocol.limits import EVENTS_PAGE_MAX
from protocol.records.record import body_hash_of
from tests.contract import record_histories
from tests.contract.act_set import (
    ActStoreContract,
    check_history,
    histories,
    id_of,
    put,
    raw_of,
    run_work,
    state_of,
    states_of_work,
)
from tests.contract.record_model import ALL, KEPT, QUESTIONS, ask, creator_of, records_of, version
from tests.contract.record_set import RECORD_WORK, RecordSetContract, states_of_record_work
from tests.peerd.store.disks import copy_of_the_living, disk, full_error, io_error


class FileMedium:
    """A directory on a disk that can fail. A crash moves on to a copy of what was written by then."""

    def __init__(self, directory, disk_):
        self._directory = directory
        self._disk = disk_
        self._copies = itertools.count()
        self.path = directory / "group.db"
        self._close = lambda: None

    def open(self):
        store = GroupStore(self.path, vfs=self._disk.name)
        self._close = store.close
        return store

    def crash(self):
        self.path = copy_of_the_living(self.path, self._directory / f"after-crash-{next(self._copies)}")
        with suppress(StoreError):
            self._close()

    def fail_from(self, write):
        self._disk.fail_from(write, io_error)

    def heal(self):
        self._disk.heal()


class TestGroupStore(ActStoreContract):
    module: ClassVar = group_store
    failure: ClassVar[type[Exception]] = StoreError

    @pytest.fixture
    def new_medium(self, tmp_path):
        numbers = itertools.count()
        with ExitStack() as stack:

            def make():
                directory = tmp_path / f"medium-{next(numbers)}"
                directory.mkdir(mode=0o700)
                return FileMedium(directory, stack.enter_context(disk()))

            yield make


class TestGroupStoreOfRecords(RecordSetContract):
    failure: ClassVar[type[Exception]] = StoreError
    new_medium = TestGroupStore.new_medium


@record_histories.histories()
def test_file_keeps_records_as_the_model_does(history):
    with TemporaryDirectory() as directory, disk() as disk_:
        record_histories.check_history(FileMedium(Path(directory), disk_), history)


@given(
    history=st.lists(record_histories.STEPS, max_size=30),
    asked=st.lists(st.sampled_from(sorted(QUESTIONS)), min_size=30, max_size=30),
)
def test_file_answers_as_the_model_does(history, asked):
    with TemporaryDirectory() as directory, disk() as disk_:
        record_histories.check_questions(FileMedium(Path(directory), disk_), history, asked)


@histories()
def test_file_answers_as_memory_does_after_any_history(history):
    with TemporaryDirectory() as directory, disk() as disk_:
        check_history(FileMedium(Path(directory), disk_), history)


def test_events_are_read_whole_transactions_at_a_time_while_another_thread_commits(tmp_path):
    store = GroupStore(tmp_path / "group.db")
    started, done = threading.Event(), threading.Event()

    def write():
        for number in range(100):
            store.begin()
            store.put(id_of(str(number)), raw_of("a"))
            store.note("act", number, b"")
            store.note("act", number, b"")
            store.commit()
            started.set()
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    started.wait()
    lengths = []
    while not done.is_set():
        lengths.append(len(store.events_after(0, EVENTS_PAGE_MAX)))
    writer.join()
    assert lengths == sorted(lengths)
    assert all(length % 2 == 0 for length in lengths)
    assert len(store.events_after(0, EVENTS_PAGE_MAX)) == 200
    store.close()


def test_full_disk_takes_back_one_transaction_and_nothing_else(tmp_path):
    states = states_of_work()
    for write in itertools.count(1):
        directory = tmp_path / str(write)
        directory.mkdir(mode=0o700)
        with disk() as disk_:
            store = GroupStore(directory / "group.db", vfs=disk_.name)
            disk_.fail_from(write, full_error, "write")
            acknowledged: list[int] = []
            try:
                run_work(store, acknowledged)
            except StoreFull:
                store.rollback()
            else:
                store.close()
                break
            assert not store.failed
            assert state_of(store) == states[len(acknowledged)]
            with pytest.raises(StoreFull) as caught:
                put(store, "f")
            assert "make room" in caught.value.hint
            store.rollback()
            disk_.heal()
            put(store, "f")
            assert store.get(id_of("f")) == raw_of("f")
            store.close()
    assert write > 3


@pytest.mark.parametrize(
    "damage, read",
    [
        ("UPDATE elements SET raw = zeroblob(700)", lambda store: list(store.load())),
        ("UPDATE elements SET raw = zeroblob(700)", lambda store: store.get(id_of("a"))),
        ("UPDATE elements SET id = zeroblob(32) WHERE arrival = 1", lambda store: list(store.load())),
        ("UPDATE settings SET value = x'00'", lambda store: store.setting("chain")),
        ("UPDATE events SET at_ms = at_ms + 1", lambda store: store.events_after(0, 1)),
        ("UPDATE events SET facts = x'81'", lambda store: store.events_after(0, 1)),
    ],
)
def test_value_that_has_changed_on_disk_is_named_and_the_store_refused(tmp_path, damage, read):
    path = tmp_path / "group.db"
    store = GroupStore(path)
    store.begin()
    store.put(id_of("a"), raw_of("a"))
    store.set_setting("chain", b"1")
    store.note("act", 1, b"\x80")
    store.commit()
    store.close()
    with apsw.Connection(str(path)) as connection:
        connection.execute(damage)
    connection.close()

    store = GroupStore(path)
    with pytest.raises(StoreCorrupt, match="has changed") as caught:
        read(store)
    assert "join the group again" in caught.value.hint
    assert store.failed
    with pytest.raises(StoreCorrupt):
        store.begin()
    store.close()


@pytest.mark.parametrize(
    "damage, question",
    [
        ("UPDATE versions SET raw = zeroblob(400)", "header"),
        ("UPDATE versions SET author = zeroblob(32)", "version"),
        ("UPDATE versions SET hlc = hlc + 1", "versions"),
        ("UPDATE versions SET hlc = hlc + 1", "kept_ahead"),
        ("UPDATE versions SET state = 3 WHERE state = 2", "versions"),
        ("UPDATE versions SET state = 1 WHERE state = 2", "load_versions"),
        ("UPDATE versions SET hlc = hlc + 1 WHERE arrival = 1", "load_versions"),
        ("UPDATE versions SET durable = 1 - durable WHERE arrival = 1", "load_versions"),
        ("UPDATE versions SET id = zeroblob(32) WHERE arrival = 1", "load_versions"),
        ("UPDATE bodies SET data = x'00'", "body"),
        ("UPDATE bodies SET hash = zeroblob(32)", "body"),
        ("DELETE FROM bodies", "body"),
        ("UPDATE creators SET ids = ids + 1", "ids_of"),
        ("UPDATE creators SET bytes = bytes + 1", "bytes_of"),
        ("UPDATE creators SET prefix = zeroblob(8)", "largest_id"),
        ("UPDATE shown SET version_id = zeroblob(32)", "shown"),
        ("UPDATE shown SET type = type || 'x'", "shown"),
        ("UPDATE shown SET expires = 1 WHERE expires IS NOT NULL", "ended"),
        ("UPDATE refreshes SET life_s = life_s + 1", "refreshes"),
    ],
)
def test_record_that_has_changed_on_disk_is_noticed_and_the_store_refused(tmp_path, damage, question):
    path = tmp_path / "group.db"
    store = GroupStore(path)
    store.begin()
    RECORD_WORK[0](store)
    expiring = version(7, durable=False)
    store.put_version(expiring, KEPT, 0)
    store.show(expiring)
    store.commit()
    store.close()
    with apsw.Connection(str(path)) as connection:
        connection.execute(damage)
    connection.close()

    store = GroupStore(path)
    with pytest.raises(StoreCorrupt, match=r"changed|missing") as caught:
        ask(store, question)
    assert "join the group again" in caught.value.hint
    assert store.failed
    with pytest.raises(StoreCorrupt):
        store.begin()
    store.close()


def test_full_disk_takes_back_the_records_of_one_transaction_and_nothing_else(tmp_path):
    states = states_of_record_work()
    for write in itertools.count(1):
        directory = tmp_path / str(write)
        directory.mkdir(mode=0o700)
        with disk() as disk_:
            store = GroupStore(directory / "group.db", vfs=disk_.name)
            disk_.fail_from(write, full_error, "write")
            done = 0
            try:
                for piece in RECORD_WORK:
                    store.begin()
                    piece(store)
                    store.commit()
                    done += 1
            except StoreFull:
                store.rollback()
            else:
                store.close()
                break
            assert not store.failed
            assert records_of(store) == states[done]
            disk_.heal()
            for piece in RECORD_WORK[done:]:
                store.begin()
                piece(store)
                store.commit()
            assert records_of(store) == states[-1]
            store.close()
    assert write > len(RECORD_WORK)


def test_file_from_before_there_were_records_takes_them(tmp_path):
    path = tmp_path / "group.db"
    old = replace(GROUP_SCHEMA, steps=GROUP_SCHEMA.steps[:1])
    database = Database(path, old)
    with database.transaction():
        database.write(
            "INSERT INTO elements (id, raw, check_number) VALUES (?, ?, ?)",
            (id_of("a"), raw_of("a"), check_number(id_of("a"), raw_of("a"))),
        )
    database.close()
    store = GroupStore(path)
    assert store.get(id_of("a")) == raw_of("a")
    assert records_of(store) == states_of_record_work()[0]
    for piece, state in zip(RECORD_WORK, states_of_record_work()[1:], strict=True):
        store.begin()
        piece(store)
        store.commit()
        assert records_of(store) == state
    store.close()
    with pytest.raises(StoreTooNew, match="form 2; this one knows form 1"):
        Database(path, old)


def test_transaction_that_holds_back_too_much_writes_on_the_way(tmp_path, monkeypatch):
    monkeypatch.setattr(record_store, "STORE_HELD_BACK_BYTES_MAX", 2_000)
    store = GroupStore(tmp_path / "group.db")
    store.begin()
    for number in range(20):
        body = bytes([number]) * 400
        header = version(number, number, body=body)
        store.put_version(header, KEPT, 0)
        store.show(header)
        store.put_body(body_hash_of(body), body)
        assert store._fresh.bytes < 2_000 + 2 * (len(header.raw) + 400)
    assert store._database.rows("SELECT count(*) FROM versions") > [(10,)]
    assert store.wanted_bodies(b"", ALL) == []
    store.rollback()
    assert records_of(store) == states_of_record_work()[0]
    store.close()


def test_many_new_records_are_written_whole(tmp_path):
    bodies = [b"%d" % number for number in range(300)]
    headers = [version(n, n, durable=n % 2 == 0, body=body) for n, body in enumerate(bodies)]
    store = GroupStore(tmp_path / "group.db")
    for start in range(0, 300, 100):
        store.begin()
        for number in range(start, start + 100):
            store.put_version(headers[number], KEPT, 0)
            store.put_body(body_hash_of(bodies[number]), bodies[number])
            store.show(headers[number])
        store.commit()
    store.close()
    store = GroupStore(tmp_path / "group.db")
    assert [number for number, _ in store.arrived_after(0, ALL)] == list(range(1, 301))
    assert {found for _, found, _ in store.load_versions()} == {header.id for header in headers}
    assert [store.header(header.id) for header in headers] == [header.raw for header in headers]
    assert [store.body(body_hash_of(body)) for body in bodies] == bodies
    assert [store.shown(header.record_id) for header in headers] == [header.id for header in headers]
    assert store.ids_of(creator_of("alice")) == 300
    store.close()


def test_of_a_body_that_many_name_one_version_is_looked_up(tmp_path, monkeypatch):
    store = GroupStore(tmp_path / "group.db")
    store.begin()
    for number in range(100):
        store.put_version(version(number, body=b"the same"), KEPT, 0)
    store.put_body(body_hash_of(b"the same"), b"the same")
    store.commit()
    found: list[Any] = []
    look_up = store._database.rows_for_each

    def listen(*told: Any) -> Any:
        found.append(look_up(*told))
        return found[-1]

    monkeypatch.setattr(store._database, "rows_for_each", listen)
    store.begin()
    store.expect([version(number, body=b"the same") for number in range(100, 120)])
    assert [len(rows) for rows in found] == [0, 1]  # of the records, and of the body
    assert store.has_body(body_hash_of(b"the same"))
    store.rollback()
    store.close()


def test_every_statement_about_records_begins_at_an_index(tmp_path):
    store = GroupStore(tmp_path / "group.db")
    writer = store._database._writer
    said: dict[str, Any] = {}

    def listen(cursor, sql, bindings):
        said[sql] = bindings
        return True

    writer.exec_trace = listen
    for piece in RECORD_WORK:
        store.begin()
        piece(store)
        store.commit()
        records_of(store)
    writer.exec_trace = None
    plans = {
        (sql, step)
        for sql, bindings in said.items()
        if sql.startswith(("SELECT", "UPDATE", "DELETE"))
        for _, _, _, step in writer.execute(f"EXPLAIN QUERY PLAN {sql}", bindings)
    }
    assert len(plans) > 25
    assert [
        found for found in plans if found[1].startswith(("SCAN", "SEARCH")) and " USING " not in found[1]
    ] == []
    store.close()
