"""Scenario: a group, what its users do, what goes wrong, and what must hold in the end.

A run has three parts. A group is made and comes together. Then users issue, and faults strike, for so many
seconds; the safety checks are made all along. Then everything is mended, and the group must agree within a
bound; some quiet time later nothing may be left over.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from protocol.authority.bundle import Bundle
from protocol.credentials.roles import ADMIN, INVITING_MEMBER, MEMBER
from protocol.limits import HLC_AHEAD_MS_MAX, LINKS_MAX, MARK_S, MISDATED_MS, SETTLED_S
from protocol.machines.events import Connect
from protocol.peer_time import hlc_at, hlc_ms
from protocol.sim.checks import check_always, check_quiet
from protocol.sim.claims import CheckFailed
from protocol.sim.faulty import GARBAGE, Faulty
from protocol.sim.network import Weather
from protocol.sim.node import COMMIT_MS, Node
from protocol.sim.users import issue_something, role_of, write_something
from protocol.sim.world import Figures, World

TOPOLOGIES = ("directory", "line", "ring", "star")
AGREE_MS_MAX = 120_000  # a minute and a half until the last dial, and a session at each node on the way
SKEWS_MS = (0, 2_000, -2_000, 200_000, -200_000, 900_000, -900_000)  # some are beyond what is quarantined
DAY_MS = 86_400_000
WRONG_BY_MS = (3_600_000, DAY_MS, 100 * DAY_MS, 3_650 * DAY_MS)
LOOKED_AT = 1_000  # versions of one node that are dated ahead
QUIET_MS = 90_000  # a session that lingers ends after a minute
CHECK_MS = 5_000
FAULT_MS_MEAN = 8_000
GARBAGE_MS_MEAN = 500
CARRIERS = ("News", "Records", "Transfer", "Piece")  # the messages that bring something to keep


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is to be simulated. `faults` are names of FAULTS, `faulty` members of that kind; `acts`
    and `records` say how often somebody issues or writes after the beginning.
    """

    nodes: int = 5
    topology: str = "directory"
    seconds: int = 60
    acts: int = 20
    records: int = 0
    faults: tuple[str, ...] = ()
    withholders: int = 0
    babblers: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """What a run came to: `made` grants and versions, and what became of them. Times are milliseconds;
    `redundancy` counts copies beyond the one needed."""

    seed: int
    events: int
    made: int
    refused: int
    hops_median: int
    hops_max: int
    delivery_ms_median: int
    delivery_ms_max: int
    redundancy: float
    bytes_per_item: int
    agreed_ms: int
    trace: str


class SimulationFailed(AssertionError):
    """A check failed, or an assertion of the code under test; says how to see it again."""


def simulate(seed: int, scenario: Scenario, *, keep: Callable[[World], None] = lambda world: None) -> Report:
    """Run a scenario. `keep` gets the world before anything happens. Raises: SimulationFailed."""
    world = World(random.Random(seed))  # noqa: S311 - a run must repeat
    keep(world)
    try:
        gather(world, scenario)
        _strike(world, scenario)
        agreed_ms = mend(world)
    except AssertionError as error:
        raise SimulationFailed(
            f"seed {seed} of {scenario}\n{world.trace.tail(60)}\n{type(error).__name__}: {error}"
        ) from error
    return _report(seed, world, agreed_ms)


# --- the group comes together -------------------------------------------------------------------------------


def gather(world: World, scenario: Scenario) -> int:
    """Found a group and let its nodes find each other; how long they took, from their start, to agree."""
    assert scenario.topology != "star" or scenario.nodes <= LINKS_MAX + 1, "a hub takes no more links"
    names = [f"n{number}" for number in range(1, scenario.nodes)]
    only = scenario.topology != "directory"
    if only:
        world.command(world.creator, Connect((), only=True))
    bundles: dict[str, Bundle] = {}
    for role in (ADMIN, INVITING_MEMBER, MEMBER):
        invited = [name for name in names if role_of(name) == role]
        bundles |= zip(invited, world.invite(invited, role), strict=True)
    for name in names:
        world.open_with(name, bundles[name], _addresses(world, scenario, name), only=only)
    world.counting = False
    took = _agree(world, "the group does not come together")
    world.counting = True
    for number in range(scenario.withholders + scenario.babblers):
        name = f"n{scenario.nodes - 1 - number}"
        withholds = number < scenario.withholders
        world.faulty[name] = Faulty(withholds, () if withholds else tuple(GARBAGE))
    return took


def _addresses(world: World, scenario: Scenario, name: str) -> list[str]:
    number = int(name[1:])
    before = {
        "line": [number - 1],
        "ring": [number - 1, (number + 1) % scenario.nodes],
        "star": [0],
        "directory": [0, world.rng.randrange(number)],
    }
    return [f"n{one}:3587" for one in dict.fromkeys(before[scenario.topology])]


def _agree(world: World, complaint: str) -> int:
    took = world.run_until(world.agreed, AGREE_MS_MAX)
    if took is None:
        differences = "; ".join(world.differences())
        raise CheckFailed(f"convergence: {complaint} within {AGREE_MS_MAX} ms: {differences}")
    return took


# --- users issue, and faults strike -------------------------------------------------------------------------


def _strike(world: World, scenario: Scenario) -> None:
    schedule, rng = world.schedule, world.rng
    world.figures = Figures()
    end_ms = schedule.now_ms + scenario.seconds * 1000
    for _ in range(scenario.acts):
        schedule.at(rng.randint(schedule.now_ms, end_ms), lambda: issue_something(world))
    for _ in range(scenario.records):
        schedule.at(rng.randint(schedule.now_ms, end_ms), lambda: write_something(world))
    for name in scenario.faults:
        _repeat(world, FAULTS[name], FAULT_MS_MEAN, end_ms)
    for name, faulty in world.faulty.items():
        if faulty.garbage:
            _repeat(world, lambda world, name=name: _babble(world, name), GARBAGE_MS_MEAN, end_ms)  # type: ignore[misc]
    while schedule.now_ms < end_ms:
        world.run(min(CHECK_MS, end_ms - schedule.now_ms))
        check_always(world)


def _repeat(world: World, action: Callable[[World], None], mean_ms: int, end_ms: int) -> None:
    """Do something again and again, at random, until the end."""

    def again() -> None:
        if world.schedule.now_ms < end_ms:
            action(world)
            world.schedule.after(_wait(), again)

    def _wait() -> int:
        return world.rng.randint(mean_ms // 4, 2 * mean_ms)

    world.schedule.after(_wait(), again)


def _babble(world: World, name: str) -> None:
    if world.nodes[name].up:
        world.faulty[name].send_garbage(world.nodes[name], world.rng)


def _break_links(world: World) -> None:
    ends = world.network.open_ends()
    for _ in range(min(3, len(ends))):
        world.network.reset(world.rng.choice(ends))


def _partition(world: World) -> None:
    names = list(world.nodes)
    side = world.rng.sample(names, world.rng.randint(1, max(1, len(names) // 2)))
    world.network.part(side)
    world.trace.note(world.schedule.now_ms, "net", f"parts {','.join(side)}")
    world.schedule.after(world.rng.choice((500, 5_000, 20_000, 60_000)), lambda: _end_partition(world))


def _end_partition(world: World) -> None:
    world.trace.note(world.schedule.now_ms, "net", "mends")
    world.network.mend()


def _bring_back(world: World, node: Node) -> None:
    if not node.up:
        node.start()


def _crash(world: World, *, silently: bool = False) -> None:
    node = _victim(world)
    if node is not None:
        node.crash(silently=silently)
        world.schedule.after(world.rng.choice((10, 1_000, 10_000, 50_000)), lambda: _bring_back(world, node))


def _power_cut(world: World) -> None:
    _crash(world, silently=True)


def _stop(world: World) -> None:
    node = _victim(world)
    if node is not None:
        after_ms = world.rng.choice((10, 1_000, 10_000, 50_000))
        node.stop(lambda: world.schedule.after(after_ms, lambda: _bring_back(world, node)))


def _victim(world: World) -> Node | None:
    up = [node for node in world.nodes.values() if node.up]
    return world.rng.choice(up) if up else None


def _skew(world: World) -> None:
    """Somebody's clock jumps, by less than what a signer is refused for or by much more."""
    node = _victim(world)
    if node is not None:
        node.skew_ms = world.rng.choice(SKEWS_MS)
        world.trace.note(world.schedule.now_ms, node.name, f"clock off by {node.skew_ms} ms")


def _wrong_date(world: World) -> None:
    """Somebody's clock is wrong by up to ten years for a while."""
    node = _victim(world)
    if node is None:
        return
    node.skew_ms = world.rng.choice((-1, 1)) * world.rng.choice(WRONG_BY_MS)
    world.trace.note(world.schedule.now_ms, node.name, f"clock off by {node.skew_ms} ms")

    def set_right() -> None:
        node.skew_ms = 0
        world.trace.note(world.schedule.now_ms, node.name, "clock set right")

    world.schedule.after(world.rng.choice((1_000, 20_000, 60_000)), set_right)


def _bad_weather(world: World) -> None:
    world.network.weather = Weather(
        travel_ms=world.rng.choice(((1, 5), (10, 50), (100, 400))),
        late_share=world.rng.choice((0.0, 0.05, 0.2)),
        bytes_per_ms=world.rng.choice((12_500, 125, 10)),
    )


def _slow_disk(world: World) -> None:
    node = _victim(world)
    if node is not None:
        node.commit_ms = world.rng.choice((COMMIT_MS, (50, 300)))


FAULTS: dict[str, Callable[[World], None]] = {
    "break": _break_links,
    "partition": _partition,
    "crash": _crash,
    "power": _power_cut,
    "stop": _stop,
    "skew": _skew,
    "years": _wrong_date,
    "weather": _bad_weather,
    "disk": _slow_disk,
}


# --- all is mended ------------------------------------------------------------------------------------------


def mend(world: World) -> int:
    """End every fault; returns how long it took until all agreed.

    What was signed by a clock that was ahead waits in quarantine until its time comes; only then must the
    group agree.
    """
    _end_partition(world)
    world.network.weather = Weather()
    for node in world.nodes.values():
        node.skew_ms = 0
        node.commit_ms = COMMIT_MS
    world.run_until(lambda: not any(node.stopping for node in world.nodes.values()), AGREE_MS_MAX)
    for node in world.nodes.values():
        _bring_back(world, node)
    now_ms = world.right().utc_ms
    world.run(max(0, _latest_ms(world) - HLC_AHEAD_MS_MAX - now_ms, _latest_record_ms(world) - now_ms))
    agreed_ms = _agree(world, "the nodes do not agree")
    world.run(QUIET_MS)
    check_quiet(world)
    return agreed_ms


def _latest_ms(world: World) -> int:
    """The latest time of any act, UTC."""
    return max(hlc_ms(node.machine.members.view.latest_hlc) for node in world.honest())


def _latest_record_ms(world: World) -> int:
    """When the last of the records that are dated ahead has settled, so that it shows in digests. What is
    ahead by an hour or more is dated anew by its author; the rest is waited for.
    """
    now = hlc_at(world.right().utc_ms)
    ahead = [version.hlc for node in world.honest() for version in node.store.kept_ahead(now, LOOKED_AT)]
    near = [ms for hlc in ahead if (ms := hlc_ms(hlc)) <= world.right().utc_ms + MISDATED_MS]
    return max(near, default=0) + (SETTLED_S + MARK_S) * 1_000


# --- what it came to ----------------------------------------------------------------------------------------


def _report(seed: int, world: World, agreed_ms: int) -> Report:
    figures = world.figures
    made = figures.made_ms
    hops = sorted(hops for name in made for hops in figures.hops.get(name, {}).values())
    delays = sorted(
        ms - at_ms for name, at_ms in made.items() for ms in figures.arrived_ms.get(name, {}).values()
    )
    carried = sum(figures.received[kind] for kind in CARRIERS)
    return Report(
        seed=seed,
        events=world.schedule.done,
        made=len(made),
        refused=sum(world.refused.values()),
        hops_median=_median(hops),
        hops_max=max(hops, default=0),
        delivery_ms_median=_median(delays),
        delivery_ms_max=max(delays, default=0),
        redundancy=round(figures.copies / max(1, figures.useful) - 1, 2),
        bytes_per_item=carried // max(1, figures.useful),
        agreed_ms=agreed_ms,
        trace=world.trace.digest(),
    )


def _median(values: list[int]) -> int:
    return values[len(values) // 2] if values else 0
