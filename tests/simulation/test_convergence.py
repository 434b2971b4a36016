"""All nodes of a group come to hold the same, whatever its form, and quickly while nothing is wrong."""

from __future__ import annotations

import math

import pytest

from protocol.sim.network import Weather
from protocol.sim.scenario import FAULTS, Scenario, simulate
from tests.simulation.worlds import MINUTE, SECOND, gathered, neighbors, renew, settled, until


@pytest.mark.parametrize("nodes", [2, 3, 5, 6, 9, 17, 30])
def test_a_group_of_any_size_agrees_and_every_grant_is_flooded_in_few_hops(nodes: int) -> None:
    report = simulate(nodes, Scenario(nodes=nodes, seconds=20, acts=12))
    assert report.agreed_ms <= SECOND
    assert report.hops_max <= math.ceil(math.log(nodes, 4)) + 3
    assert report.delivery_ms_max <= 1_000
    assert report.redundancy <= 8  # links at most, and the one that brought it is spared


@pytest.mark.parametrize("topology", ["line", "ring", "star"])
@pytest.mark.parametrize("nodes", [2, 5, 9])
def test_static_links_suffice_if_they_connect_all(topology: str, nodes: int) -> None:
    report = simulate(nodes, Scenario(nodes=nodes, topology=topology, seconds=20, acts=8))
    assert report.agreed_ms <= SECOND
    assert report.hops_max < nodes


@pytest.mark.parametrize("seed", range(12))
def test_whatever_strikes_all_agree_soon_after_the_last_fault(seed: int) -> None:
    names = list(FAULTS)
    faults = tuple(dict.fromkeys((names[seed % len(names)], names[(3 * seed + 1) % len(names)])))
    scenario = Scenario(nodes=(2, 3, 5, 8, 12)[seed % 5], seconds=40, acts=15, faults=faults)
    simulate(seed, scenario)


@pytest.mark.parametrize("seed", range(3))
def test_late_frames_and_narrow_links_only_delay(seed: int) -> None:
    weather = Weather(travel_ms=(50, 300), late_share=0.2, bytes_per_ms=20)
    world = gathered(seed, 6, weather=weather)
    for name in ("n1", "n2", "n3"):
        renew(world, world.creator, name)
    assert settled(world) < 20 * SECOND


def test_six_nodes_with_one_address_between_them_become_a_full_mesh() -> None:
    world = gathered(1, 6)
    full = {name: sorted(set(world.nodes) - {name}) for name in world.nodes}
    until(world, lambda: neighbors(world) == full, 2 * MINUTE)


def test_a_line_of_static_links_stays_a_line() -> None:
    world = gathered(1, 5, line=True)
    world.run(5 * MINUTE)
    assert neighbors(world) == {
        "n0": ["n1"],
        "n1": ["n0", "n2"],
        "n2": ["n1", "n3"],
        "n3": ["n2", "n4"],
        "n4": ["n3"],
    }


def test_a_node_that_comes_with_nothing_is_told_everything_once() -> None:
    """It finds five neighbors that all hold the same, and one of them is enough."""
    world = gathered(3, 6)
    for number in range(40):
        renew(world, world.creator, f"n{1 + number % 5}")
    settled(world)
    world.figures = type(world.figures)()
    world.admit(["late"], 3)
    settled(world)
    held = len(world.creator.machine.members.ids)
    assert held > 80
    assert world.figures.copies < 2 * held


def test_a_long_transfer_over_a_narrow_link_is_one_session() -> None:
    """It takes longer than the gap between sessions; neither side begins another meanwhile."""
    world = gathered(6, 2, line=True)
    for _ in range(60):
        renew(world, world.creator, "n1")
    world.network.weather.bytes_per_ms = 4
    (late,) = world.admit(["late"], 3, only=True)
    world.figures = type(world.figures)()
    assert until(world, world.agreed, 2 * MINUTE) > 20 * SECOND
    assert world.figures.frames["Reconcile"] < 16  # of one session about each set: a few each way
    assert late.up
    settled(world)


def test_idle_nodes_say_little() -> None:
    world = gathered(4, 6)
    settled(world)
    world.figures = type(world.figures)()
    world.run(10 * MINUTE)
    sent = sum(world.figures.received.values()) / len(world.nodes) / (10 * 60)
    assert set(world.figures.frames) == {"KeepAlive"}
    assert (
        sent < 50
    )  # bytes a second and node: five links, 42 bytes each quarter of a minute, and what is regular


@pytest.mark.long
@pytest.mark.parametrize("seed", range(300))
def test_long_runs_of_all_faults_at_once(seed: int) -> None:
    scenario = Scenario(
        nodes=(2, 3, 4, 5, 7, 9, 14, 30)[seed % 8],
        topology=("directory", "directory", "line", "ring")[seed % 4],
        seconds=180,
        acts=60,
        faults=tuple(FAULTS),
    )
    simulate(10_000 + seed, scenario)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(5))
def test_a_hundred_nodes_with_all_faults(seed: int) -> None:
    simulate(20_000 + seed, Scenario(nodes=100, seconds=60, acts=40, faults=tuple(FAULTS)))
