"""Wrong clocks delay what was signed by them; they decide nothing, and what is delayed comes in."""

from __future__ import annotations

import pytest

from protocol.errors import RuleError
from protocol.limits import HLC_AHEAD_MS_MAX
from protocol.sim.scenario import Scenario, simulate
from tests.simulation.worlds import MINUTE, SECOND, current, gathered, neighbors, renew, settled, until


@pytest.mark.parametrize("skew_ms", [-299_000, -5_000, 5_000, 299_000])
def test_clocks_that_differ_by_less_than_five_minutes_delay_nothing(skew_ms: int) -> None:
    world = gathered(1, 4, admins=["n1"])
    world.nodes["n1"].skew_ms = skew_ms
    issued = renew(world, world.nodes["n1"], "n2") if skew_ms > 0 else renew(world, world.creator, "n1")
    until(world, lambda: bool(world.adopted(issued.grant_id)), SECOND)
    settled(world)


def test_an_act_from_the_future_waits_for_its_time_and_is_then_admitted_everywhere() -> None:
    world = gathered(2, 4, admins=["n1"])
    until(world, lambda: all(len(others) == 3 for others in neighbors(world).values()), MINUTE)
    world.nodes["n1"].skew_ms = HLC_AHEAD_MS_MAX + 10 * SECOND
    issued = renew(world, world.nodes["n1"], "n2")
    world.run(5 * SECOND)
    assert [node.machine.members.quarantined for node in world.honest()] == [1, 0, 1, 1]
    until(world, lambda: bool(world.adopted(issued.grant_id)), 20 * SECOND)
    settled(world)


def test_what_descends_from_an_act_from_the_future_comes_in_soon_after_it() -> None:
    """The later acts are not held for so long; reconciliation brings them once they can be admitted."""
    world = gathered(3, 4, admins=["n1"])
    world.nodes["n1"].skew_ms = HLC_AHEAD_MS_MAX + 8 * MINUTE
    for name in ("n2", "n3", "n0"):
        if name != "n0":
            renew(world, world.nodes["n1"], name)
    world.run(7 * MINUTE)
    assert not world.agreed()
    world.run(MINUTE)
    assert until(world, world.agreed, MINUTE) < 40 * SECOND
    world.nodes["n1"].skew_ms = 0
    settled(world)


def test_a_node_whose_clock_is_far_behind_does_not_sign_and_recovers_with_its_clock() -> None:
    world = gathered(4, 3, admins=["n1"])
    renew(world, world.creator, "n1")
    until(world, world.agreed, MINUTE)
    world.nodes["n1"].skew_ms = -20 * MINUTE
    with pytest.raises(RuleError, match="behind") as refused:
        renew(world, world.nodes["n1"], "n2")
    assert refused.value.code in ("clock-not-trusted", "not-authorized")
    world.run(2 * MINUTE)
    world.nodes["n1"].skew_ms = 0
    settled(world)
    assert current(world, world.nodes["n1"]) is not None


def test_a_node_that_was_ahead_for_a_while_goes_on_signing_on_a_new_chain() -> None:
    world = gathered(5, 3, admins=["n1"])
    world.nodes["n1"].skew_ms = 20 * MINUTE
    renew(world, world.nodes["n1"], "n2")
    world.nodes["n1"].skew_ms = 0
    with pytest.raises(RuleError, match="clock") as refused:
        renew(world, world.nodes["n1"], "n2")
    assert refused.value.code == "clock-not-trusted"
    renewed = renew(world, world.creator, "n2")
    until(world, lambda: bool(world.adopted(renewed.grant_id)), SECOND)
    settled(world, ms_max=20 * MINUTE)


@pytest.mark.parametrize("seed", range(6))
def test_clocks_jump_while_other_things_go_wrong(seed: int) -> None:
    faults = (("skew",), ("skew", "crash"), ("skew", "partition"))[seed % 3]
    simulate(400 + seed, Scenario(nodes=(3, 5, 8)[seed % 3], seconds=90, acts=20, faults=faults))
