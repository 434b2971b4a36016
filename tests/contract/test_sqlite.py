from __future__ import annotations

import itertools
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import apsw
import pytest

from peerd.errors import StoreCorrupt, StoreError, StoreFull
from peerd.store import group_store
from peerd.store.group_store import GroupStore
from protocol.limits import EVENTS_PAGE_MAX
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
