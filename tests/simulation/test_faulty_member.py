"""A member that breaks the protocol costs the others nothing but its own link."""

from __future__ import annotations

import pytest

from protocol.sim.faulty import GARBAGE, Faulty
from protocol.sim.scenario import Scenario, simulate
from protocol.sim.world import World
from tests.simulation.worlds import MINUTE, SECOND, gathered, neighbors, renew, settled, until

# What an honest node answers by ending the link, and what it holds, ignores, or even admits in the end.
ENDS_THE_LINK = (
    *("noise", "out-of-turn", "escalation", "forgery", "referrals"),
    *("record-of-others", "record-forgery"),
)
IS_BORNE = tuple(name for name in GARBAGE if name not in (*ENDS_THE_LINK, "session"))  # which may be either


def _with_faulty(seed: int, faulty: Faulty) -> World:
    world = gathered(seed, 6)
    until(world, lambda: all(len(others) == 5 for others in neighbors(world).values()), 2 * MINUTE)
    world.run(10 * SECOND)
    world.faulty["n5"] = faulty
    return world


@pytest.mark.parametrize("name", ENDS_THE_LINK)
def test_what_no_honest_node_sends_ends_that_link_and_no_other(name: str) -> None:
    world = _with_faulty(1, Faulty(garbage=(name,)))
    links = {node.name: neighbors(world)[node.name] for node in world.honest()}
    world.faulty["n5"].send_garbage(world.nodes["n5"], world.rng)
    world.run(500)
    lost = {
        node: [other for other in others if other not in neighbors(world)[node]]
        for node, others in links.items()
    }
    assert sorted(other for others in lost.values() for other in others) == ["n5"]
    settled(world)


@pytest.mark.parametrize("name", IS_BORNE)
def test_what_may_be_honest_is_borne_however_much_of_it_comes(name: str) -> None:
    world = _with_faulty(2, Faulty(garbage=(name,)))
    for _ in range(400):
        world.faulty["n5"].send_garbage(world.nodes["n5"], world.rng)
        world.run(20)
    renew(world, world.creator, "n2")
    assert until(world, world.agreed, 2 * MINUTE) <= 20 * SECOND
    settled(world, ms_max=15 * MINUTE)  # acts from the future come in when it has


@pytest.mark.parametrize("seed", range(3))
def test_a_member_that_passes_nothing_on_delays_nobody_with_another_way(seed: int) -> None:
    world = _with_faulty(10 + seed, Faulty(withholds=True))
    issued = renew(world, world.creator, "n2")
    until(world, lambda: bool(world.adopted(issued.grant_id)), SECOND)
    settled(world)


def test_a_newcomer_whose_first_neighbor_withholds_gets_everything_from_the_next() -> None:
    world = _with_faulty(20, Faulty(withholds=True))
    world.admit(["late"], 3, addresses=lambda name: ("n5:3587", "n0:3587"))
    # The session with n5 stalls; the digests of the others differ for five seconds, and they are asked.
    until(world, lambda: len({n.machine.members.ids.digest() for n in world.honest()}) == 1, 20 * SECOND)
    # The same for records, which count for the digest when they have settled.
    until(world, world.agreed, 60 * SECOND)
    settled(world)


@pytest.mark.parametrize("seed", range(5))
def test_withholders_and_babblers_among_other_faults(seed: int) -> None:
    scenario = Scenario(
        nodes=(6, 8, 10)[seed % 3],
        seconds=40,
        acts=15,
        faults=((), ("break", "partition"), ("crash", "skew"))[seed % 3],
        withholders=1,
        babblers=1 + seed % 2,
    )
    simulate(300 + seed, scenario)


def test_a_faulty_administrator_cannot_make_nodes_differ() -> None:
    world = gathered(30, 6, admins=["n5"])
    world.faulty["n5"] = Faulty(withholds=True, garbage=tuple(GARBAGE))
    for _ in range(300):
        world.faulty["n5"].send_garbage(world.nodes["n5"], world.rng)
        world.run(50)
    settled(world, ms_max=15 * MINUTE)


def test_a_member_that_says_open_again_and_again_gets_no_session_for_it() -> None:
    """Only the first Open may begin one at once; what differs later differs for five seconds first."""
    world = _with_faulty(40, Faulty(garbage=("opens",)))
    world.figures.frames.clear()
    for _ in range(200):
        world.faulty["n5"].send_garbage(world.nodes["n5"], world.rng)
        world.run(20)
    assert world.figures.frames["Reconcile"] == 0
    settled(world)
