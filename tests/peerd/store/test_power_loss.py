"""Acknowledged is durable: what a power cut leaves, at every point of a run, is what was committed by then.

A kill of the process shows nothing of this kind, because what it wrote stays in the system's cache. So each
change to the files is journalled with each sync, and the disk is rebuilt as a power cut may leave it.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from peerd.errors import StoreCorrupt
from peerd.store import database
from peerd.store.daemon_store import CatalogueEntry, DaemonStore, GroupState
from peerd.store.group_store import GroupStore
from tests.contract.act_set import WORK, state_of, states_of_work
from tests.contract.record_model import records_of
from tests.contract.record_set import RECORD_WORK, states_of_record_work
from tests.peerd.store.disks import Disk, after_power_cut, disk, lay_out

ENTRY = CatalogueEntry(
    authority=b"a" * 20,
    gid=b"a" * 32,
    group_name=(b"a" * 20).hex() + ".friends",
    identity=(b"i" * 20).hex() + ".me",
    state=GroupState.OPEN,
)
OTHER = CatalogueEntry(authority=b"b" * 20, gid=None, group_name="b", identity="me", state=GroupState.JOINING)
SEEDS = (None, 1, 2)  # nothing unsynced arrived, and two draws of what did


def _run_with_marks(path: Path, disk_: Disk) -> list[int]:
    """Do the work with a restart in between; give the journal's length as each piece is acknowledged."""
    marks = []
    store = GroupStore(path, vfs=disk_.name)
    for piece in WORK[:2]:
        store.begin()
        piece(store)
        store.commit()
        marks.append(len(disk_.journal))
    store.close()
    store = GroupStore(path, vfs=disk_.name)
    store.begin()
    WORK[2](store)
    store.commit()
    marks.append(len(disk_.journal))
    store.close()
    return marks


def _losses(tmp_path: Path, disk_: Disk, marks: list[int]) -> Generator[str, None, None]:
    """Where a cut leaves less than what was acknowledged, or half a transaction."""
    states = states_of_work()
    with disk() as sound:
        for cut, seed in itertools.product(range(len(disk_.journal) + 1), SEEDS):
            chooser = None if seed is None else random.Random(f"{seed} {cut}")
            directory = tmp_path / f"cut-{cut}-{seed}"
            lay_out(after_power_cut(disk_.journal[:cut], chooser), directory)
            acknowledged = sum(mark <= cut for mark in marks)
            if _found(directory / "group.db", sound) not in states[acknowledged : acknowledged + 2]:
                yield f"cut after {cut} of {len(disk_.journal)} changes, draw {seed}"


def _found(path: Path, disk_: Disk) -> dict[str, Any] | None:
    try:
        store = GroupStore(path, vfs=disk_.name)
    except StoreCorrupt:
        return None
    state = state_of(store)
    store.close()
    return state


@pytest.mark.slow
def test_power_cut_anywhere_takes_nothing_acknowledged(tmp_path):
    with disk() as disk_:
        marks = _run_with_marks(tmp_path / "group.db", disk_)
        assert list(_losses(tmp_path, disk_, marks)) == []


@pytest.mark.slow
@pytest.mark.parametrize("synchronous", ["OFF", "NORMAL"])
def test_less_than_full_synchronisation_would_be_noticed(tmp_path, monkeypatch, synchronous):
    monkeypatch.setitem(database._PRAGMAS, "synchronous", synchronous)
    with disk() as disk_:
        marks = _run_with_marks(tmp_path / "group.db", disk_)
        monkeypatch.undo()
        with closing(_losses(tmp_path, disk_, marks)) as losses:
            assert next(losses, None) is not None


def test_log_left_by_a_crash_is_moved_and_synced_before_anything_is_added(tmp_path):
    # The log's own sync may have failed unnoticed: what is in the system's cache need not be on the disk.
    path = tmp_path / "group.db"
    with disk() as before:
        store = GroupStore(path, vfs=before.name)
        store.begin()
        WORK[0](store)
        store.commit()
        files = {name: (tmp_path / name).read_bytes() for name in ("group.db", "group.db-wal")}
        store.close()
    crashed = tmp_path / "crashed"
    lay_out(files, crashed)
    with disk() as after:
        store = GroupStore(crashed / "group.db", vfs=after.name)
        kinds = [(operation.kind, operation.file) for operation in after.journal]
        moved = kinds.index(("sync", "group.db"))
        assert ("write", "group.db") in kinds[:moved]
        assert ("write", "group.db-wal") not in kinds[:moved]
        assert (crashed / "group.db-wal").stat().st_size == 0
        assert state_of(store) == states_of_work()[1]
        store.close()


def test_records_survive_a_power_cut_as_soon_as_they_are_committed(tmp_path):
    states = states_of_record_work()
    with disk() as disk_:
        store = GroupStore(tmp_path / "group.db", vfs=disk_.name)
        for number, (piece, state) in enumerate(zip(RECORD_WORK, states[1:], strict=True)):
            store.begin()
            piece(store)
            uncommitted = after_power_cut(disk_.journal, None)
            store.commit()
            for when, files, expected in (
                ("before", uncommitted, states[number]),
                ("after", after_power_cut(disk_.journal, None), state),
            ):
                lay_out(files, tmp_path / f"{when}-{number}")
                again = GroupStore(tmp_path / f"{when}-{number}" / "group.db")
                assert records_of(again) == expected
                again.close()
        store.close()


@pytest.mark.parametrize(
    "change",
    [
        lambda store: store.put_group(ENTRY),
        lambda store: store.set_setting("node", b"1"),
        lambda store: store.remove_group(OTHER.authority),
    ],
)
def test_catalogue_survives_a_power_cut_as_soon_as_a_change_returns(
    tmp_path: Path, change: Callable[[DaemonStore], None]
):
    with disk() as disk_:
        store = DaemonStore(tmp_path / "daemon.db", vfs=disk_.name)
        store.put_group(OTHER)
        change(store)
        expected = (store.groups(), store.setting("node"))
        files = after_power_cut(disk_.journal, None)
        store.close()
    lay_out(files, tmp_path / "after")
    again = DaemonStore(tmp_path / "after" / "daemon.db")
    assert (again.groups(), again.setting("node")) == expected
    again.close()
