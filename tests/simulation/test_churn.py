"""Nodes come and go all the time; whoever is there agrees, and nobody is given up."""

from __future__ import annotations

import pytest

from protocol.credentials.roles import MEMBER
from protocol.sim.scenario import Scenario, simulate
from tests.simulation.worlds import MINUTE, SECOND, gathered, neighbors, renew, settled, until


@pytest.mark.parametrize("seed", range(6))
def test_nodes_stop_crash_and_lose_power_while_others_issue(seed: int) -> None:
    faults = (("stop",), ("crash",), ("power",), ("stop", "crash", "power"))[seed % 4]
    simulate(200 + seed, Scenario(nodes=(4, 6, 11)[seed % 3], seconds=120, acts=25, faults=faults))


def test_newcomers_arrive_while_the_group_is_in_turmoil() -> None:
    world = gathered(5, 5, admins=["n1"])
    for number in range(6):
        victim = world.nodes[f"n{1 + number % 4}"]
        victim.crash()
        world.admit([f"new{number}"], MEMBER, addresses=lambda name: ("n0:3587", "n2:3587"))
        renew(world, world.creator, f"n{1 + (number + 1) % 4}")
        world.run(3 * SECOND)
        victim.start()
    settled(world)
    assert len(world.honest()) == 11


def test_a_stopped_node_says_so_and_its_neighbors_do_not_wait_for_silence() -> None:
    world = gathered(6, 3)
    until(world, lambda: all(len(others) == 2 for others in neighbors(world).values()), MINUTE)
    world.nodes["n2"].stop()
    assert until(world, lambda: neighbors(world) == {"n0": ["n1"], "n1": ["n0"]}, MINUTE) < SECOND


def test_a_node_that_lost_power_is_missed_within_silence_and_called_again() -> None:
    world = gathered(7, 3)
    until(world, lambda: all(len(others) == 2 for others in neighbors(world).values()), MINUTE)
    world.nodes["n2"].crash(silently=True)
    assert until(world, lambda: neighbors(world) == {"n0": ["n1"], "n1": ["n0"]}, MINUTE) <= 36 * SECOND
    world.nodes["n2"].start()
    until(world, lambda: all(len(others) == 2 for others in neighbors(world).values()), 2 * MINUTE)


def test_a_full_hub_refers_and_nobody_is_left_out() -> None:
    """All know n0 alone, which takes eight links; the others learn of each other from its referrals."""
    world = gathered(8, 24)
    settled(world)
    world.run(5 * MINUTE)
    assert all(len(others) >= 3 for others in neighbors(world).values())
    assert max(len(others) for others in neighbors(world).values()) <= 8
    renew(world, world.creator, "n23")
    assert until(world, world.agreed, MINUTE) < SECOND


def test_a_node_that_is_refused_by_full_ones_calls_ever_more_rarely() -> None:
    world = gathered(9, 9, line=False)
    settled(world)
    hub_only = world.admit(["alone"], MEMBER, only=True)[0]
    world.run(10 * MINUTE)
    calls = sum(1 for line in world.trace.lines if line.node == "alone" and "up, dialled" in line.text)
    # n0 is full most of the time, being everybody's first address: never more than one call in a while.
    assert calls < 40
    assert hub_only.up
