"""What the simulated tests share: small worlds that have come together, and waiting for something."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from protocol.authority.bodies import PropertiesBody
from protocol.credentials.roles import ADMIN, MEMBER
from protocol.machines.events import Connect, Issued
from protocol.sim.checks import check_always, check_quiet
from protocol.sim.network import Weather
from protocol.sim.node import Node
from protocol.sim.world import World

SECOND = 1_000
MINUTE = 60 * SECOND
QUIET_MS = 90 * SECOND  # a session that is left over is forgotten after a minute


def made(seed: int, *, weather: Weather | None = None, renews: bool = True) -> World:
    """A group of its creator alone; `renews` says whether credentials are renewed without people."""
    return World(random.Random(seed), weather, PropertiesBody(renewal={"auto": renews}))


def gathered(
    seed: int,
    nodes: int,
    *,
    admins: Sequence[str] = (),
    line: bool = False,
    weather: Weather | None = None,
    renews: bool = True,
) -> World:
    """A group of n0 and invited members that hold the same; in a mesh, or in a line n0 - n1 - n2 …"""
    world = made(seed, weather=weather, renews=renews)
    if line:
        world.command(world.creator, Connect((), only=True))

    def addresses(name: str) -> Sequence[str]:
        return (f"n{int(name[1:]) - 1}:3587",) if line else ("n0:3587",)

    names = [f"n{number}" for number in range(1, nodes)]
    for role, chosen in ((ADMIN, admins), (MEMBER, [name for name in names if name not in admins])):
        if chosen:
            world.admit(chosen, role, addresses=addresses, only=line)
    until(world, world.agreed, MINUTE)
    return world


def until(world: World, holds: Callable[[], bool], ms_max: int, step_ms: int = 10) -> int:
    """Let time pass until something holds, and say how long it took; the checks hold meanwhile."""
    took = world.run_until(holds, ms_max, step_ms)
    if took is None:
        counts = {node.name: len(node.machine.members.ids) for node in world.honest()}
        raise AssertionError(f"not within {ms_max} ms; elements held: {counts}\n{world.trace.tail(40)}")
    check_always(world)
    return took


def settled(world: World, ms_max: int = 2 * MINUTE) -> int:
    """Wait until all agree, then for quiet, and check everything; how long agreement took."""
    took = until(world, world.agreed, ms_max, step_ms=100)
    world.run(QUIET_MS)
    check_quiet(world)
    return took


def neighbors(world: World) -> dict[str, list[str]]:
    """The names of each node's neighbors."""
    return {
        node.name: sorted(end.peer for end in node.ends().values())
        for node in world.nodes.values()
        if node.up
    }


def current(world: World, node: Node) -> bytes | None:
    """The grant that a node goes by now."""
    grant = node.machine.members.own_grant(node.moment().utc_s)
    return None if grant is None else grant.act_id


def renew(world: World, issuer: Node, name: str, *, store: bool = True) -> Issued:
    """Renew somebody's credential at another node."""
    (issued,) = world.issue(issuer, world.renewal(name, store=store))
    return issued
