from __future__ import annotations

import random
from pathlib import Path

import pytest
import trio

from peerd.clock import Clock
from peerd.errors import StoreCorrupt, StoreError, StoreFull
from peerd.gossip.checking import on_threads
from peerd.gossip.offload import inline
from peerd.groups.environment import Environment
from peerd.groups.open_group import (
    GOODBYE_S_MAX,
    OpenGroup,
    assemble,
    found_store,
    joined_store,
    open_group,
    remove_store,
)
from peerd.store.daemon_store import CatalogueEntry, GroupState
from peerd.transport.dialer import dial
from protocol.limits import END_OF_TIME_S
from protocol.machines.events import Adopt, Connect
from tests.peerd.gossip.players import moment
from tests.support.builders import Group
from tests.support.keys import named, peer_name

DRAW = random.Random(1).randbytes


@pytest.fixture
def path(tmp_path):
    return tmp_path / "group.db"


@pytest.fixture(scope="module")
def group():
    return Group()


def entry_of(group: Group, name: str) -> CatalogueEntry:
    return CatalogueEntry(
        authority=group.authority,
        gid=group.gid,
        group_name=group.founding.group_name,
        identity=str(peer_name(name)),
        state=GroupState.OPEN,
    )


def environment() -> Environment:
    return Environment(Clock(lambda: moment().utc_ms), inline, on_threads(inline), dial, DRAW)


def opened(path: Path, group: Group, name: str, rung: list[int] | None = None) -> OpenGroup:
    rings = [] if rung is None else rung
    return open_group(
        path, entry_of(group, name), named(name), environment(), moment(), lambda: rings.append(1)
    )


def join(path: Path, group: Group, *addresses: str, only: bool = False) -> None:
    bundle = group.bundle(group.grant("grc -> alice:admin -> bob:member"))
    adopt, connect = Adopt(bundle, "invitation"), Connect(addresses, only)
    joined_store(path, named("bob"), adopt, connect, environment(), moment())


# --- making -------------------------------------------------------------------------------------------------


async def test_a_founder_goes_on_with_the_roots_chain(path, group):
    found_store(path, group.founding, draw=DRAW)
    alice = opened(path, group, "alice")
    assert alice.machine.members.view.root is not None
    grant = alice.machine.members.own_grant(moment().utc_s)
    assert grant is not None
    assert (grant.level, grant.window.end) == (1, END_OF_TIME_S)
    assert len(alice.machine.node_id) == 16
    alice.store.close()


async def test_a_joiners_file_holds_its_evidence_and_whom_to_call(path, group):
    join(path, group, "192.0.2.1:3587", only=True)
    bob = opened(path, group, "bob")
    grant = bob.machine.members.own_grant(moment().utc_s)
    assert grant is not None
    assert grant.key == named("bob").public
    assert bob.machine.dialling.seeds() == ["192.0.2.1:3587"]
    assert bob.machine.dialling.only
    assert [event.kind for event in bob.store.events_after(0, 9)] == ["credential-adopted"]
    bob.store.close()


async def test_what_a_crash_left_behind_does_not_come_back(path, group):
    join(path, group, "192.0.2.1:3587")
    first = opened(path, group, "bob")
    first.store.close()
    join(path, group, "192.0.2.2:3587")
    again = opened(path, group, "bob")
    assert again.machine.dialling.seeds() == ["192.0.2.2:3587"]
    assert again.machine.node_id != first.machine.node_id
    again.store.close()


async def test_a_file_that_could_not_be_finished_is_not_opened_as_one(path, group, monkeypatch):
    def interrupted(*_: object) -> None:
        raise StoreFull("no space")

    monkeypatch.setattr("peerd.groups.open_group.keep_chain", interrupted)
    with pytest.raises(StoreFull):
        found_store(path, group.founding, draw=DRAW)
    monkeypatch.undo()
    found_store(path, group.founding, draw=DRAW)
    alice = opened(path, group, "alice")
    assert len(list(alice.store.load())) == len(group.founding.elements)
    alice.store.close()


def test_removing_leaves_no_file(path, group):
    found_store(path, group.founding, draw=DRAW)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).touch(mode=0o600)
    remove_store(path)
    assert list(path.parent.iterdir()) == []
    remove_store(path)


# --- opening ------------------------------------------------------------------------------------------------


async def test_a_file_that_is_missing_is_damage(path, group):
    with pytest.raises(StoreCorrupt):
        opened(path, group, "bob")


async def test_a_damaged_file_is_let_go_of(path, group):
    join(path, group)
    content = bytearray(path.read_bytes())
    content[8192:8292] = bytes(100)
    path.write_bytes(content)
    with pytest.raises(StoreCorrupt):
        opened(path, group, "bob")


async def test_what_was_decided_is_there_when_the_group_is_opened_again(autojump_clock, path, group):
    join(path, group)
    rung: list[int] = []
    bob = opened(path, group, "bob", rung)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bob.run)
        await bob.node.runner.submit(Connect(("192.0.2.7:3587",)))
        await bob.close()
    again = opened(path, group, "bob")
    assert again.machine.dialling.seeds() == ["192.0.2.7:3587"]
    assert again.machine.node_id == bob.machine.node_id
    again.store.close()


# --- ending -------------------------------------------------------------------------------------------------


async def test_closing_waits_for_the_end_and_lets_go_of_the_store(autojump_clock, path, group):
    join(path, group)
    bob = opened(path, group, "bob")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bob.run)
        await trio.testing.wait_all_tasks_blocked()
        begun = trio.current_time()
        await bob.close()
        assert trio.current_time() - begun <= GOODBYE_S_MAX
    bob.store.close()
    opened(path, group, "bob").store.close()


@pytest.mark.parametrize("full", [True, False])
async def test_only_a_full_disk_leaves_the_store_open(autojump_clock, path, group, monkeypatch, full):
    join(path, group)
    bob = opened(path, group, "bob")
    error = StoreFull("no space") if full else StoreError("the disk failed")

    def commit() -> None:
        raise error

    monkeypatch.setattr(bob.store, "commit", commit)
    async with trio.open_nursery() as nursery:

        async def run() -> None:
            with pytest.raises(type(error)):
                await bob.run()

        nursery.start_soon(run)
        with pytest.raises(type(error)):
            await bob.node.runner.submit(Connect(("192.0.2.7:3587",)))
    monkeypatch.undo()
    if full:
        again = assemble(bob.store, bob.entry, named("bob"), environment(), moment(), lambda: None)
        assert again.machine.dialling.seeds() == []
        again.store.close()
    else:
        opened(path, group, "bob").store.close()
