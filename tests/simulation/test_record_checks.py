"""Each check of records sees what it is there for."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from protocol.machines.events import AddRecord, Notice, UpdateRecord, Written
from protocol.machines.record_keeping import header_in
from protocol.records.record import decode_untrusted_header
from protocol.records.record_set import State
from protocol.sim.checks import check_always, check_quiet
from protocol.sim.claims import CheckFailed
from protocol.sim.history import Promise
from protocol.sim.node import Node
from protocol.sim.world import World
from tests.simulation.worlds import SECOND, gathered, settled
from tests.support.records import content_of, seal_header


@pytest.fixture
def world() -> World:
    made = gathered(1, 3)
    settled(made)
    return made


@pytest.fixture
def written(world: World) -> Written:
    """A record of n1's, in its second version."""
    first = world.command(world.nodes["n1"], AddRecord("note", (), b"one"))
    assert isinstance(first, Written)
    world.run(SECOND)
    second = world.command(world.nodes["n1"], UpdateRecord(first.record_id, None, b"two"))
    assert isinstance(second, Written)
    settled(world)
    world.history.on_written(world.nodes["n1"], second)
    return second


def change(node: Node, do: Callable[[], object]) -> None:
    node.store.begin()
    do()
    node.store.commit()


def sees(world: World, match: str, *, quiet: bool = False) -> None:
    world.checked_records.clear()
    with pytest.raises(CheckFailed, match=match):
        (check_quiet if quiet else check_always)(world)


def test_a_sound_world_passes(world: World, written: Written) -> None:
    check_quiet(world)


def test_a_version_missing_in_the_store_is_seen(world: World, written: Written) -> None:
    node = world.nodes["n2"]
    change(node, lambda: node.store.hide(written.record_id))
    change(node, lambda: node.store.discard_version(written.version_id))
    sees(world, "n2's ids of records")


def test_a_winner_that_is_not_shown_is_seen(world: World, written: Written) -> None:
    node = world.nodes["n2"]
    change(node, lambda: node.store.hide(written.record_id))
    sees(world, "n2's record .* does not show its winner")


def test_a_version_that_was_beaten_and_is_kept_is_seen(world: World, written: Written) -> None:
    node = world.nodes["n2"]
    (first,) = [one for one in node.store.versions(written.record_id) if one.state is State.ASIDE]
    change(node, lambda: node.store.set_state(first.id, State.KEPT, 0))
    header = header_in(node.store, first.id)
    node.machine.data.ids.add(header.hlc_s, header.id, header.durable)
    sees(world, "keeps what was beaten")


def test_a_log_that_tells_less_than_is_shown_is_seen(world: World, written: Written) -> None:
    number, shown = world.history._views["n2"]
    world.history._views["n2"] = number, {**shown, "00" * 16: "11" * 32}
    sees(world, "n2's log and view differ")


def test_a_lost_promise_is_seen(world: World, written: Written) -> None:
    header = header_in(world.nodes["n1"].store, written.version_id)
    raw = seal_header(content_of(header) | {"hlc": header.hlc + 1}, world.key("n1"))
    later = decode_untrusted_header(raw)
    world.history.promised = {later.id: Promise("n1", later)}
    sees(world, "promises: n1 has lost")


def test_a_winner_that_goes_back_is_seen(world: World, written: Written) -> None:
    node = world.nodes["n2"]
    first = next(one for one in node.store.versions(written.record_id) if one.id != written.version_id)
    raw = node.store.header(first.id)
    assert raw is not None
    header = decode_untrusted_header(raw)
    facts = {"record_id": header.record_id.hex(), "version_id": header.id.hex()}
    with pytest.raises(CheckFailed, match="winners: n2 goes back"):
        world.history.on_notice(node, Notice(1, "record-changed", 0, facts), world.right())


def test_too_much_that_waits_is_seen(world: World, written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    records = world.nodes["n1"].machine.data.records
    monkeypatch.setattr(type(records), "quarantined", property(lambda records: 1_000_000))
    sees(world, "bounds: .*quarantined records 1000000")


def test_one_digest_of_two_sets_is_seen(
    world: World, written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    same = world.creator.machine.data.ids.summary()
    for node in world.honest():
        monkeypatch.setattr(node.machine.data.ids, "summary", lambda: same)
    world.nodes["n2"].machine.data.ids.durable.discard(0, bytes(32))
    monkeypatch.setattr("protocol.sim.record_checks.settled_ids", lambda node: node.name.encode())
    sees(world, "tell one digest of two sets")


def test_a_contact_that_nobody_finds_is_seen(world: World, written: Written) -> None:
    node = world.nodes["n2"]
    node.machine.directory.record_id = bytes(16)
    sees(world, "n2 has no contact record", quiet=True)


def test_a_body_that_somebody_lacks_keeps_a_world_from_agreeing(world: World, written: Written) -> None:
    assert world.agreed()
    node = world.nodes["n2"]
    header = header_in(node.store, written.version_id)
    assert header.body_hash is not None
    lacking = header.body_hash
    change(node, lambda: node.store._tables.drop(lacking))
    assert not world.agreed()
