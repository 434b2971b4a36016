"""Parts of a group that cannot reach each other go on by themselves, and find together again."""

from __future__ import annotations

import pytest

from protocol.sim.scenario import Scenario, simulate
from tests.simulation.worlds import MINUTE, SECOND, gathered, neighbors, renew, settled, until


@pytest.mark.parametrize("nodes", [2, 3, 5, 6])
@pytest.mark.parametrize("seconds", [3, 20, 50])
def test_both_sides_of_a_small_group_have_the_others_news_soon_after(nodes: int, seconds: int) -> None:
    world = gathered(nodes, nodes, admins=[f"n{nodes - 1}"])
    world.network.part([f"n{number}" for number in range((nodes + 1) // 2, nodes)])
    renew(world, world.creator, "n1")
    if nodes > 2:
        renew(world, world.nodes[f"n{nodes - 1}"], "n1")
    world.run(seconds * SECOND)
    assert not world.agreed()
    world.network.mend()
    assert settled(world) < 95 * SECOND  # the longest time between two dials


def test_links_that_stand_through_a_short_partition_are_kept() -> None:
    world = gathered(1, 4)
    until(world, lambda: all(len(others) == 3 for others in neighbors(world).values()), MINUTE)
    world.run(10 * SECOND)
    links = {node.name: [link.id for link in node.machine.links] for node in world.honest()}
    world.network.part(["n1", "n2"])
    world.run(15 * SECOND)
    world.network.mend()
    settled(world)
    assert links == {node.name: [link.id for link in node.machine.links] for node in world.honest()}


@pytest.mark.parametrize("seed", range(3))
def test_halves_that_have_links_enough_still_find_together(seed: int) -> None:
    """Each of six nodes has its five links within its own half, so nobody needs to call across."""
    world = gathered(seed, 12, admins=["n1", "n7"])
    until(world, lambda: all(len(others) >= 5 for others in neighbors(world).values()), 2 * MINUTE)
    world.run(6 * MINUTE)  # who lives where gets around
    left = [f"n{number}" for number in range(6)]
    world.network.part(left)
    renew(world, world.nodes["n1"], "n2")
    renew(world, world.nodes["n7"], "n8")
    world.run(8 * MINUTE)
    sides = [frozenset(name in left for name in (node, *others)) for node, others in neighbors(world).items()]
    assert all(len(side) == 1 for side in sides)
    assert all(len(others) >= 5 for others in neighbors(world).values())
    world.network.mend()
    assert settled(world) < 2 * MINUTE


def test_addresses_that_once_worked_outlive_a_long_partition() -> None:
    """n2 was told of n1 by n0 only; when n0 is gone for good, they still know each other's address."""
    world = gathered(2, 3, admins=["n1"])
    until(world, lambda: all(len(others) == 2 for others in neighbors(world).values()), MINUTE)
    world.network.part(["n2"])
    world.run(MINUTE)
    world.creator.crash()
    renew(world, world.nodes["n1"], "n2")
    world.run(60 * MINUTE)
    world.network.mend()
    assert settled(world) < 2 * MINUTE


@pytest.mark.parametrize("seed", range(6))
def test_partitions_again_and_again_lose_nothing(seed: int) -> None:
    faults = ("partition", "break") if seed % 2 else ("partition", "weather")
    simulate(100 + seed, Scenario(nodes=(3, 7, 10)[seed % 3], seconds=120, acts=25, faults=faults))
