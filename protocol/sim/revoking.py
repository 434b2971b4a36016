"""Revoking: how soon a revocation is in force everywhere, and who goes on as if there were none.

A group comes together; a tenth of its members pass nothing on that they should pass on; every third frame is
late, as on a connection that loses a third of its packets. Then a member is revoked, again and again another
one. On each honest node that is connected with the revoker, by links between honest nodes, a revocation is in
force once the view has the member no more and no link with it is left.

`Deaf` is a node that takes no notice of the revocation of its friend: what it is, and what its friend signs,
is passed on by it as before.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from protocol.authority.acts import Act
from protocol.authority.bodies import RevokeBody
from protocol.credentials.keys import PublicKey
from protocol.credentials.roles import ADMIN
from protocol.errors import RemoteProtocolError
from protocol.limits import ANTI_ENTROPY_MS
from protocol.machines.events import Adopt, Connect, LinkId, Removed, Revoke
from protocol.sim.checks import check_quiet
from protocol.sim.claims import require
from protocol.sim.faulty import Faulty
from protocol.sim.network import Weather
from protocol.sim.node import Node
from protocol.sim.opening import read_element, read_message
from protocol.sim.scenario import Scenario, SimulationFailed, gather, mend
from protocol.sim.users import role_of
from protocol.sim.world import World
from protocol.wire.messages import News, Transfer, encode_message

NODES = 100
REMOVALS = 3
THIRTY_PERCENT = Weather(late_share=0.3)
MEDIAN_MS_MAX = 2_000
WORST_MS_MAX = ANTI_ENTROPY_MS * 3 // 2
LINKING_MS = 30_000  # in which the nodes find more neighbors, in that weather already
STEP_MS = 10


@dataclass(frozen=True, slots=True)
class Spread:
    """One run: after how many milliseconds, counted from the answer to who revoked, the revocation was in
    force on a node, over all nodes and removals; how many honest nodes were not connected with the revoker;
    and how long after the weather was good again all held the same.
    """

    seed: int
    nodes: int
    median_ms: int
    worst_ms: int
    apart: int
    agreed_ms: int


def measure_revocation(
    seed: int, nodes: int = NODES, removals: int = REMOVALS, weather: Weather = THIRTY_PERCENT
) -> Spread:
    """Make a group, and revoke some of its members. Raises: SimulationFailed."""
    world = World(random.Random(seed))  # noqa: S311 - a run must repeat
    try:
        gather(world, Scenario(nodes=nodes, withholders=nodes // 10))
        world.network.weather = weather
        world.run(LINKING_MS)
        delays: list[int] = []
        apart = 0
        removed = []
        for _ in range(removals):
            victim, revoker = _pair(world)
            removed.append(victim)
            world.faulty[victim.name] = Faulty()  # from now on nobody counts on it
            reached = connected(world, revoker)
            apart += len(world.honest()) - len(reached)
            revoke(world, revoker, victim)
            delays += follow(world, victim, reached)
        agreed_ms = mend(world)
        _check_end(world, removed)
        delays.sort()
        spread = Spread(seed, nodes, delays[len(delays) // 2], delays[-1], apart, agreed_ms)
        require(spread.median_ms <= MEDIAN_MS_MAX, "revocation", f"it takes {spread.median_ms} ms")
    except AssertionError as error:
        raise SimulationFailed(
            f"revocation among {nodes} nodes, seed {seed}\n{world.trace.tail(40)}\n{error}"
        ) from error
    return spread


def _pair(world: World) -> tuple[Node, Node]:
    """Somebody to be removed, and the creator or an administrator who does it."""
    nodes = world.honest()
    seniors = [node for node in nodes if node is world.creator or role_of(node.name) == ADMIN]
    return world.rng.choice([node for node in nodes if node not in seniors]), world.rng.choice(seniors)


def revoke(world: World, revoker: Node, victim: Node, *, for_ever: bool = False, root: bool = False) -> bytes:
    """Revoke somebody and wait until that is durable; the id of the act."""
    wish = Revoke(victim.key.public.pid, for_ever=for_ever, as_root=root, root=world.root if root else None)
    answer = world.command(revoker, wish)
    assert isinstance(answer, Removed)
    return answer.act_id


def connected(world: World, one: Node) -> list[Node]:
    """The honest nodes that a chain of links between honest nodes connects with one, and this one."""
    honest = {node.name: node for node in world.honest()}
    met, waiting = {one.name: one}, [one]
    while waiting:
        for end in waiting.pop().ends().values():
            if end.peer in honest and end.peer not in met:
                met[end.peer] = honest[end.peer]
                waiting.append(honest[end.peer])
    return list(met.values())


def is_without(node: Node, victim: Node) -> bool:
    """Whether a revocation is in force on a node: no live grant, and no link."""
    return not node.machine.members.view.live_grants(victim.key.public.pid) and all(
        end.peer != victim.name for end in node.ends().values()
    )


def follow(world: World, victim: Node, nodes: Iterable[Node]) -> list[int]:
    """Wait until a revocation is in force on all these nodes; after how many milliseconds it was, on each."""
    began = world.schedule.now_ms
    waiting, delays = list(nodes), []
    while waiting:
        took = world.schedule.now_ms - began
        late = [node for node in waiting if not is_without(node, victim)]
        delays += [took] * (len(waiting) - len(late))
        waiting = late
        names = ",".join(node.name for node in waiting)
        require(
            not waiting or took < WORST_MS_MAX,
            "revocation",
            f"that of {victim.name} is not in force on {names} after {took} ms",
        )
        world.run(STEP_MS)
    return delays


def _check_end(world: World, removed: Iterable[Node]) -> None:
    """All agree, and nobody has taken a removed member back."""
    check_quiet(world)
    for victim in removed:
        back = [node.name for node in world.honest() if not is_without(node, victim)]
        require(not back, "revocation", f"{victim.name} is back on {back}")


class Deaf(Node):
    """A member that overlooks every revocation of its friend, which may be itself."""

    friend: PublicKey | None = None

    def on_message(self, link: LinkId, payload: bytes, sender: str) -> None:
        """See `opening.Owner`."""
        super().on_message(link, self._without(payload), sender)

    def _without(self, payload: bytes) -> bytes:
        try:
            message = read_message(payload)
            if isinstance(message, News | Transfer):
                kept = tuple(raw for raw in message.elements if not self._overlooks(raw))
                if len(kept) != len(message.elements):
                    return encode_message(msgspec.structs.replace(message, elements=kept))
        except RemoteProtocolError:
            pass  # it is answered as by every node
        return payload

    def _overlooks(self, raw: bytes) -> bool:
        element = read_element(raw)
        return (
            isinstance(element, Act)
            and isinstance(element.body, RevokeBody)
            and self.friend is not None
            and element.body.key == self.friend.raw
        )


def enlist(world: World, name: str, role: int, friend: str) -> Deaf:
    """A new member that is deaf to the revocation of `friend`; nobody counts on it."""
    (bundle,) = world.invite([name], role)
    node = world.make(name, Deaf)
    node.friend = world.key(friend).public
    world.faulty[name] = Faulty()
    node.start()
    node.submit(Adopt(bundle, "invitation"))
    node.submit(Connect((world.creator.address,)))
    return node
