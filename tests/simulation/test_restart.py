"""What was promised survives any crash; what was lost had been told to nobody."""

from __future__ import annotations

import pytest

from protocol.authority.issuing import CredentialInfo, IssueRequest
from protocol.credentials.roles import MEMBER
from protocol.machines.events import Disconnect, Issue
from protocol.sim.node import Node
from protocol.sim.world import World
from tests.simulation.worlds import MINUTE, SECOND, current, gathered, made, renew, settled, until


def _newcomer(world: World, number: int) -> IssueRequest:
    name = f"guest{number}"
    return IssueRequest(
        world.peer_name(name), world.key(name).public, CredentialInfo(role=MEMBER), store=True
    )


@pytest.mark.parametrize("ms", range(0, 14, 2))
@pytest.mark.parametrize("silently", [False, True])
def test_a_crash_at_any_instant_of_issuing_loses_only_what_nobody_was_told(ms: int, silently: bool) -> None:
    world = gathered(ms, 3)
    issuer = world.creator
    for number in range(3):
        world.ask_for(issuer, [_newcomer(world, number)])
        world.run(1)
    world.run(ms)
    issuer.crash(silently=silently)
    told = {node.name: len(node.machine.members.ids) for node in world.honest()}
    stored = len(list(issuer.store.reopened().load()))
    assert all(count <= stored for count in told.values()), "somebody knows what its issuer forgot"


def _reopen(node: Node) -> None:
    node.crash()
    node.start()


@pytest.mark.parametrize("seed", range(4))
def test_an_issuer_that_crashes_all_the_time_goes_on_with_its_chain(seed: int) -> None:
    world = gathered(20 + seed, 4, admins=["n1"])
    for number in range(15):
        world.ask_for(world.creator, [_newcomer(world, number)])
        world.run(world.rng.randint(0, 8))
        _reopen(world.creator)
    settled(world)
    view = world.creator.machine.members.view
    mine = [view.admitted(act) for act in view.act_ids()]
    chains = {
        (one.place.author, one.place.chain): one.place.seq
        for one in mine
        if one is not None and one.place.author == world.creator.key.public.pid
    }
    assert len(chains) == 1, "a store that lost nothing it had told of needs no second chain"


def test_a_restarted_node_holds_what_it_held_and_dials_whom_it_knew() -> None:
    world = gathered(3, 5)
    settled(world)
    node = world.nodes["n3"]
    held, grant = list(node.machine.members.ids), current(world, node)
    _reopen(node)
    assert list(node.machine.members.ids) == held
    assert current(world, node) == grant
    until(world, lambda: len(node.machine.links) == 4, 2 * MINUTE)


def test_all_nodes_restart_at_once() -> None:
    world = gathered(4, 6, admins=["n1"])
    settled(world)
    renew(world, world.creator, "n2")
    for node in world.nodes.values():
        node.crash(silently=True)
    world.run(SECOND)
    for node in world.nodes.values():
        node.start()
    settled(world)


def test_a_command_that_was_not_answered_before_a_crash_may_be_given_again() -> None:
    world = made(5)
    answers: list[object] = []
    world.creator.submit(Issue((_newcomer(world, 1),)), answers.append)
    world.creator.crash()
    world.creator.start()
    assert answers == []
    world.issue(world.creator, _newcomer(world, 1))
    settled(world)


def test_a_restored_node_that_was_stopped_by_its_user_stays_offline() -> None:
    world = gathered(6, 3)
    node = world.nodes["n1"]
    world.command(node, Disconnect())
    _reopen(node)
    world.run(3 * MINUTE)
    assert len(node.machine.links) == 0
