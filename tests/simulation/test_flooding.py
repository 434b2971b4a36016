"""A member that signs without end stops nobody else, and costs no more than its rate.

The rates are small here, so that a flood is one of hundreds of acts and not of ten thousands.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from protocol.authority.acts import Act, Place, sign_act
from protocol.authority.bodies import Body, ResignBody
from protocol.credentials.roles import MEMBER
from protocol.ids import CHAIN_BYTES
from protocol.machines import act_rates
from protocol.machines.events import Revoke
from protocol.peer_time import hlc_at
from protocol.sim.faulty import Faulty
from protocol.sim.node import Node
from protocol.sim.revoking import follow, is_without, revoke
from protocol.sim.world import World
from protocol.wire.messages import News, encode_message
from tests.simulation.removals import grant_of
from tests.simulation.worlds import MINUTE, SECOND, gathered, neighbors, settled, until

BURST, DAILY = 30, 10
UNKNOWN_KIND = 200
DAY = 24 * 60 * MINUTE


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(act_rates, "ACTS_BURST", BURST)
    monkeypatch.setattr(act_rates, "ACTS_A_DAY", DAILY)


def meshed(seed: int) -> World:
    """Six nodes, each linked with all; n1 and n5 are administrators."""
    world = gathered(seed, 6, admins=["n1", "n5"])
    until(world, lambda: all(len(others) == 5 for others in neighbors(world).values()), 2 * MINUTE)
    return world


def flood(world: World, name: str, count: int, chains: int) -> list[Act]:
    """Acts of a kind that nobody knows, by somebody's own key and credential."""
    grant, last = grant_of(world, name), dict[int, Act]()
    acts = []
    for number in range(count):
        before = last.get(number % chains)
        place = Place(
            gid=world.gid,
            author=grant.pid,
            chain=world.rng.randbytes(CHAIN_BYTES) if before is None else before.place.chain,
            seq=1 if before is None else before.place.seq + 1,
            prev=None if before is None else before.id,
            level=grant.level,
            cred=grant.act_id,
            hlc=hlc_at(world.right().utc_ms) + number,
        )
        body: Body = ResignBody()
        last[number % chains] = act = sign_act(place, UNKNOWN_KIND, body, [world.key(name)])
        acts.append(act)
    return acts


def pour(world: World, node: Node, acts: Sequence[Act]) -> None:
    """Send each neighbor other acts first, in frames of some size."""
    for at, end in enumerate(node.ends().values()):
        turned = [*acts[40 * at :], *acts[: 40 * at]]
        for start in range(0, len(turned), 100):
            end.send(encode_message(News(tuple(act.raw for act in turned[start : start + 100]))))
    world.run(5 * SECOND)


def by_author(world: World, node: Node, name: str) -> int:
    """How many acts of somebody a node has in its set."""
    view, pid = node.machine.members.view, world.key(name).public.pid
    found = (view.admitted(act_id) for act_id in view.act_ids())
    return sum(one is not None and one.place.author == pid for one in found)


def alarms(world: World) -> list[str]:
    """The nodes that have raised one, as often as they did."""
    return [
        node.name
        for node in world.honest()
        for event in node.store.events_after(0, 1_000)
        if event.kind == "act-rate-exceeded"
    ]


def test_flood_of_an_administrator_stops_no_revocation_and_no_renewal() -> None:
    world = meshed(1)
    world.faulty["n5"] = Faulty()
    pour(world, world.nodes["n5"], flood(world, "n5", 400, chains=200))
    assert sorted(alarms(world)) == ["n0", "n1", "n2", "n3", "n4"], "each told its user, once"
    assert all(by_author(world, node, "n5") == BURST for node in world.honest())
    (issued,) = world.issue(world.creator, world.renewal("n2"))
    until(world, lambda: bool(world.adopted(issued.grant_id)), SECOND)
    victim = world.nodes["n3"]
    revoke(world, world.nodes["n1"], victim)
    world.faulty["n3"] = Faulty()
    assert max(follow(world, victim, world.honest())) <= SECOND
    world.run(5 * MINUTE)
    assert all(by_author(world, node, "n5") == BURST for node in world.honest())
    assert sorted(alarms(world)) == ["n0", "n1", "n2", "n4"], "and once only"


def test_nodes_that_hold_different_parts_of_a_flood_do_not_send_it_to_and_fro() -> None:
    world = meshed(2)
    world.faulty["n5"] = Faulty()
    pour(world, world.nodes["n5"], flood(world, "n5", 200, chains=200))
    world.run(MINUTE)
    before = world.figures.copies
    world.run(20 * MINUTE)
    assert world.figures.copies - before <= 100, "some hundreds would come with every session"


def test_revoking_who_floods_makes_an_end_of_it_for_all() -> None:
    world = meshed(3)
    flooder = world.nodes["n5"]
    world.faulty["n5"] = Faulty()
    acts = flood(world, "n5", 200, chains=200)
    pour(world, flooder, acts)
    heads = world.creator.machine.members.view.heads_of(world.key("n5").public.pid)
    assert heads
    world.command(world.creator, Revoke(flooder.key.public.pid))
    until(world, lambda: all(is_without(node, flooder) for node in world.honest()), 2 * SECOND)
    settled(world)
    for node in world.honest():
        assert len(node.machine.members.delayed) == 0
        kept = sum(node.machine.members.view.is_effective(act.id) for act in acts)
        assert kept == BURST, "the creator keeps what it has seen, and no more"


def test_days_let_in_the_rest_and_all_agree_again() -> None:
    world = gathered(4, 3, admins=["n1"])
    world.faulty["n1"] = Faulty()
    acts = flood(world, "n1", BURST + 2 * DAILY, chains=1)
    pour(world, world.nodes["n1"], acts)
    assert all(by_author(world, node, "n1") == BURST for node in world.honest())
    for node in world.nodes.values():
        node.skew_ms = 2 * DAY
    world.run(MINUTE)
    pour(world, world.nodes["n1"], acts)
    assert all(by_author(world, node, "n1") == len(acts) for node in world.honest())
    settled(world)
    assert sorted(alarms(world)) == ["n0", "n2"]


def test_plain_member_has_a_twentieth() -> None:
    world = gathered(5, 4)
    world.faulty["n3"] = Faulty()
    assert role_of_all(world) == {"n1": [MEMBER], "n2": [MEMBER], "n3": [MEMBER]}
    pour(world, world.nodes["n3"], flood(world, "n3", 50, chains=50))
    assert all(by_author(world, node, "n3") == BURST // 20 for node in world.honest())


def role_of_all(world: World) -> dict[str, list[int]]:
    return {name: list(grant_of(world, name).roles) for name in ("n1", "n2", "n3")}
