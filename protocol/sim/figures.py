"""Figures: what news cost in a group of n nodes, and how soon they are everywhere.

The group makes its own links, from a few addresses, as its daemons do. Then somebody issues, again and again,
while nothing is wrong: first on a network on which every way is equally long, which shows the hops, then on
one like the study's, which shows the times. Last the group is parted in two halves, both issue, and the cut
is mended.

Beside each figure stands what the design expects of flooding on such links (protocol-study 1.6).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from protocol.limits import LINKS_TARGET
from protocol.machines.events import AddRecord, Written
from protocol.sim.network import Weather
from protocol.sim.node import COMMIT_MS, Node
from protocol.sim.scenario import Scenario, SimulationFailed, gather
from protocol.sim.world import Figures, World

SIZES = (2, 5, 10, 30, 100, 300, 1_000)
ITEMS = 10  # of each kind that are followed on each of the two networks
LINKED_MS_MAX = 300_000
DELIVERED_MS_MAX = 30_000
HEALED_MS_MAX = 600_000
PARTED_MS = 60_000  # longer than the silence after which a link is dead
WRITTEN_APART = 5  # of each kind, on each side
PAUSE_MS = 3_000  # before each: a change of AUTH has been told to all by then
COPIES_MS = 1_000  # after the last delivery, until the last copy has come
UNIT_MS = 30
UNIT_WEATHER = Weather(travel_ms=(UNIT_MS, UNIT_MS))
DEGREE = 7.2  # of the study's links

# Somebody makes news at a node; returns the id to be followed.
Publish: TypeAlias = Callable[[World, Node], bytes]


@dataclass(frozen=True, slots=True)
class Expected:
    """What the study gives for a size: hops to the last node, copies beyond the one needed, milliseconds."""

    hops: float
    redundancy: float
    last_ms: float


STUDY = {
    2: Expected(1, 0, 48),
    3: Expected(1, 1.0, 48),
    5: Expected(1, 3.0, 44),
    10: Expected(2, 5.6, 50),
    30: Expected(3, 5.3, 73),
    100: Expected(3.8, 5.3, 96),
    300: Expected(4.2, 5.2, 121),
    1_000: Expected(5.0, 5.2, 139),
}


@dataclass(frozen=True, slots=True)
class Cost:
    """What one kind of news came to, on average.

    Hops to the last node on a network where all ways are equally long; on the other, milliseconds to the last
    node, copies beyond the one needed, the bytes of one piece of news and those that a node receives for it.
    """

    kind: str
    hops: float
    last_ms: float
    redundancy: float
    item_bytes: float
    node_bytes: float


@dataclass(frozen=True, slots=True)
class Measured:
    """One group: how many links its nodes have; how long after all nodes started, and after the end of the
    partition, they held the same; and the cost of each kind of news.
    """

    nodes: int
    seed: int
    links: float
    links_min: int
    joined_ms: int
    healed_ms: int
    costs: tuple[Cost, ...]

    @property
    def expected(self) -> Expected | None:
        """What the study has for this size."""
        return STUDY.get(self.nodes)


def measure(nodes: int, seed: int, items: int = ITEMS) -> Measured:
    """Make a group and follow news in it. Raises: SimulationFailed."""
    world = World(random.Random(seed))  # noqa: S311 - a run must repeat
    try:
        joined_ms = gather(world, Scenario(nodes=nodes))
        _wait(world, lambda: _is_linked(world), LINKED_MS_MAX, "links")
        degrees = [len(node.machine.links) for node in world.honest()]
        costs = tuple(_cost(world, kind, items) for kind in KINDS)
        healed_ms = _part_and_heal(world)
    except AssertionError as error:
        raise SimulationFailed(f"{nodes} nodes, seed {seed}\n{world.trace.tail(40)}\n{error}") from error
    return Measured(nodes, seed, _mean(degrees), min(degrees), joined_ms, healed_ms, costs)


# --- news ---------------------------------------------------------------------------------------------------


def _issue_one(world: World, node: Node) -> bytes:
    """The creator renews somebody's credential: an act and a certificate."""
    (issued,) = world.issue(world.creator, world.renewal(_somebody_else(world)))
    return issued.grant_id


def _somebody_else(world: World) -> str:
    return world.rng.choice([node.name for node in world.honest() if node is not world.creator])


def _write_small(world: World, node: Node) -> bytes:
    return _write(world, node, 100)


def _write_large(world: World, node: Node) -> bytes:
    """A record whose body is fetched by whoever gets its header."""
    return _write(world, node, 10_000)


def _write(world: World, node: Node, size: int) -> bytes:
    written = world.command(node, AddRecord("figure", (), world.rng.randbytes(size)))
    assert isinstance(written, Written)
    return written.version_id


KINDS: dict[str, Publish] = {"grant": _issue_one, "record 100 B": _write_small, "record 10 kB": _write_large}
CARRIERS = ("News", "Records", "Transfer", "Piece", "WantBody", "Got")


# --- measuring ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Delivery:
    hops: int
    last_ms: int
    redundancy: float
    item_bytes: float
    node_bytes: float


def _cost(world: World, kind: str, items: int) -> Cost:
    """Publish one thing after the other, and watch each arrive at all nodes."""
    hops = _follow(world, KINDS[kind], items, UNIT_WEATHER, (1, 1))
    times = _follow(world, KINDS[kind], items, Weather(), COMMIT_MS)
    return Cost(
        kind=kind,
        hops=_mean(one.hops for one in hops),
        last_ms=_mean(one.last_ms for one in times),
        redundancy=_mean(one.redundancy for one in times),
        item_bytes=_mean(one.item_bytes for one in times),
        node_bytes=_mean(one.node_bytes for one in times),
    )


def _follow(
    world: World, publish: Publish, items: int, weather: Weather, commit_ms: tuple[int, int]
) -> list[_Delivery]:
    world.network.weather = weather
    for node in world.nodes.values():
        node.commit_ms = commit_ms
    return [_follow_one(world, publish) for _ in range(items)]


def _follow_one(world: World, publish: Publish) -> _Delivery:
    world.run(PAUSE_MS)
    world.figures = figures = Figures()
    followed = publish(world, world.rng.choice(world.honest()))
    others = len(world.honest()) - 1

    def is_everywhere() -> bool:
        return len(figures.hops.get(followed, ())) == others and not _lacking(world)

    _wait(world, is_everywhere, DELIVERED_MS_MAX, "a delivery")
    arrived_ms = max(figures.arrived_ms[followed].values())
    last_ms = max(arrived_ms, figures.last_body_ms)
    world.run(COPIES_MS)
    bodies = figures.received["Piece"] / others
    return _Delivery(
        hops=max(figures.hops[followed].values()),
        last_ms=last_ms - figures.made_ms[followed],
        redundancy=figures.copies / figures.useful - 1,
        item_bytes=figures.useful_bytes / others + bodies,
        node_bytes=sum(figures.received[kind] for kind in CARRIERS) / others,
    )


def _lacking(world: World) -> bool:
    """Whether somebody is without a body that it shows."""
    return any(node.machine.bodies.wanted for node in world.honest())


def _part_and_heal(world: World) -> int:
    """Cut the group in two, let both halves issue and write, and mend it; how long they took to agree."""
    nodes = world.honest()
    side = world.rng.sample(nodes, len(nodes) // 2)
    world.network.part([node.name for node in side])
    world.run(PARTED_MS)
    for _ in range(WRITTEN_APART):
        for node in (world.rng.choice(side), world.creator):
            world.write(node, AddRecord("apart", (), world.rng.randbytes(100)))
        world.ask_for(world.creator, [world.renewal(_somebody_else(world))])
        world.run(1_000)
    world.network.mend()
    return _wait(world, world.agreed, HEALED_MS_MAX, "agreement after the partition")


def _is_linked(world: World) -> bool:
    """Whether every node has the links that it aims at, as far as there are others to link with."""
    nodes = world.honest()
    wanted = min(LINKS_TARGET, len(nodes) - 1)
    return all(len(node.machine.links) >= wanted for node in nodes)


def _wait(world: World, holds: Callable[[], bool], ms_max: int, what: str) -> int:
    took = world.run_until(holds, ms_max)
    assert took is not None, f"convergence: no {what} within {ms_max} ms"
    return took


def _mean(values: Iterable[float]) -> float:
    every = list(values)
    return sum(every) / len(every)
