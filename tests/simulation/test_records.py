"""Records in simulated groups: whatever strikes, what was answered is kept and all come to see the same."""

from __future__ import annotations

import pytest

from protocol.machines.events import AddRecord, DeleteRecord, UpdateRecord, Written
from protocol.sim.figures import measure
from protocol.sim.history import shown_of
from protocol.sim.node import Node
from protocol.sim.scenario import FAULTS, Scenario, simulate
from protocol.sim.world import World
from tests.simulation.worlds import MINUTE, SECOND, gathered, settled, until

YEAR_MS = 365 * 86_400_000


def add(world: World, node: Node, body: bytes = b"", expires: int | None = None) -> Written:
    written = world.command(node, AddRecord("note", (), body, expires))
    assert isinstance(written, Written)
    world.history.on_written(node, written)
    return written


def sees(node: Node, written: Written) -> bool:
    return node.store.shown(written.record_id) == written.version_id


@pytest.mark.parametrize("nodes", [2, 5, 9])
def test_every_version_reaches_every_node_in_few_hops(nodes: int) -> None:
    report = simulate(nodes, Scenario(nodes=nodes, seconds=20, acts=0, records=20))
    assert report.made > 5
    assert report.hops_max <= 3
    assert report.delivery_ms_max <= SECOND
    assert report.redundancy <= 8


@pytest.mark.parametrize("fault", ["partition", "power", "years"])
def test_whatever_strikes_all_come_to_see_the_same(fault: str) -> None:
    simulate(500 + len(fault), Scenario(nodes=4, seconds=30, acts=2, records=20, faults=(fault,)))


@pytest.mark.parametrize("seed", range(2))
def test_all_that_can_strike_at_once(seed: int) -> None:
    scenario = Scenario(nodes=4, seconds=40, acts=3, records=25, faults=tuple(FAULTS))
    simulate(600 + seed, scenario)


def test_members_that_withhold_and_babble_harm_no_record() -> None:
    simulate(700, Scenario(nodes=6, seconds=30, acts=3, records=20, withholders=1, babblers=1))


@pytest.mark.parametrize("size", [10, 300, 20_000, 300_000])
def test_a_body_of_any_size_is_everywhere_soon(size: int) -> None:
    world = gathered(1, 5)
    written = add(world, world.nodes["n3"], world.rng.randbytes(size))
    everywhere = until(world, lambda: all(sees(node, written) for node in world.honest()), SECOND)
    assert everywhere < SECOND
    settled(world)
    held = [node.store.body(header.body_hash or b"") for node in world.honest() for header in _all(node)]
    assert all(body is not None for body in held)


def _all(node: Node) -> list:
    return [header for header in shown_of(node).values() if header.body_hash is not None]


def test_what_was_written_on_both_sides_of_a_partition_is_seen_on_both_when_it_heals() -> None:
    world = gathered(2, 6, admins=["n1"])
    common = add(world, world.nodes["n1"], b"before")
    until(world, world.agreed, MINUTE)
    world.network.part(["n0", "n2", "n4"])
    here, there = add(world, world.nodes["n2"]), add(world, world.nodes["n3"])
    world.command(world.creator, UpdateRecord(common.record_id, None, b"by the creator"))
    world.run(2 * SECOND)
    last = world.command(world.nodes["n1"], UpdateRecord(common.record_id, None, b"by its author, later"))
    world.run(MINUTE)
    world.network.mend()
    settled(world)
    assert isinstance(last, Written)
    assert all(sees(node, one) for node in world.honest() for one in (here, there, last))


def test_a_node_that_was_ten_years_ahead_harms_nobody_and_its_writes_are_kept() -> None:
    world = gathered(3, 4)
    add(world, world.nodes["n2"], b"before")
    until(world, world.agreed, MINUTE)
    world.creator.crash()
    world.creator.skew_ms = 10 * YEAR_MS
    world.creator.start()
    written = add(world, world.creator, b"dated far ahead")
    world.run(30 * SECOND)
    world.creator.skew_ms = 0
    settled(world, 5 * MINUTE)
    ids = {node.store.shown(written.record_id) for node in world.honest()}
    assert len(ids) == 1
    assert None not in ids


def test_what_was_deleted_does_not_come_back_from_a_node_that_slept() -> None:
    world = gathered(4, 4)
    written = add(world, world.nodes["n1"], b"short")
    settled(world)
    sleeper = world.nodes["n3"]
    sleeper.crash()
    world.command(world.nodes["n1"], DeleteRecord(written.record_id))
    settled(world)
    sleeper.start()
    settled(world)
    assert [node.store.shown(written.record_id) for node in world.honest()] == [None] * 4


def test_news_cost_what_the_design_expects() -> None:
    measured = measure(5, 0, items=2)
    expected = measured.expected
    assert expected is not None
    assert measured.links == 4
    for cost in measured.costs:
        assert cost.hops == expected.hops
        assert expected.redundancy <= cost.redundancy <= expected.redundancy * 1.2
    assert measured.healed_ms < 2 * MINUTE
