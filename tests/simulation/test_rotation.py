"""The root is replaced: all hear of it, whom it kept stays, whom it cut is out, and newcomers come in."""

from __future__ import annotations

import pytest

from protocol.authority.issuing import CredentialInfo, IssueRequest
from protocol.authority.root_acts import RecoverySet, RotateWish
from protocol.authority.root_certificates import GroupFacts
from protocol.authority.root_documents import KeyWanted, make_root_document
from protocol.credentials.keys import PrivateKey
from protocol.credentials.roles import ADMIN, MEMBER
from protocol.machines.events import Rotated, RotateRoot
from protocol.sim.node import Node
from protocol.sim.world import World
from tests.simulation.worlds import MINUTE, SECOND, current, gathered, neighbors, settled, until
from tests.support.keys import named

NEW = named("new root")
NEXT = named("next recovery")


def rotate(
    world: World,
    node: Node,
    *without: bytes,
    new: PrivateKey = NEW,
    used: PrivateKey | None = None,
    following: PrivateKey = NEXT,
) -> Rotated:
    """Replace the root at a node, by the recovery key of genesis unless another is `used`."""
    used = used or world.recovery
    root = node.machine.members.view.root
    assert root is not None
    wish = RotateWish(
        documents=(make_root_document(KeyWanted(GroupFacts.of(root)), new),),
        revealed=RecoverySet.of([used.public]),
        recovery=RecoverySet.of([following.public]),
        without=without,
    )
    rotated = world.command(node, RotateRoot(wish, (used,)))
    assert isinstance(rotated, Rotated)
    return rotated


def grant(world: World, node: Node, name: str, role: int, root: PrivateKey) -> bytes:
    """A stored credential by the root, handed to nobody."""
    request = IssueRequest(
        world.peer_name(name), world.key(name).public, CredentialInfo(role=role), store=True, as_root=True
    )
    (issued,) = world.issue(node, request, root=root)
    return issued.grant_id


def by_root(world: World, name: str, role: int = MEMBER) -> tuple[Node, bytes]:
    """A node whom the old root admits directly; it gets its credential by pickup."""
    grant_id = grant(world, world.creator, name, role, world.root)
    world.join(name, ["n0:3587"])
    until(world, lambda: name in world.nodes and current(world, world.nodes[name]) == grant_id, MINUTE)
    until(world, world.agreed, MINUTE)
    return world.nodes[name], grant_id


def version(node: Node) -> int:
    return len(node.machine.members.view.rotations)


def all_at(world: World, number: int) -> bool:
    return all(version(node) == number for node in world.honest())


def test_rotation_reaches_everybody_as_fast_as_links_are() -> None:
    world = gathered(1, 6, admins=["n1"], line=True)
    rotate(world, world.creator)
    assert until(world, lambda: all_at(world, 2), SECOND, step_ms=1) < 5 * 60
    settled(world)
    assert all(current(world, node) for node in world.honest())


def test_whom_the_old_root_admitted_and_the_new_one_kept_stays_a_member() -> None:
    world = gathered(2, 3)
    friend, grant_id = by_root(world, "friend")
    rotate(world, world.creator)
    until(world, lambda: all_at(world, 2), MINUTE)
    settled(world)
    assert current(world, friend) == grant_id
    assert neighbors(world)["friend"]


def test_who_was_cut_loses_all_links_and_comes_in_nowhere() -> None:
    world = gathered(3, 4)
    thief, theft = by_root(world, "thief", ADMIN)
    until(world, lambda: len(neighbors(world)["thief"]) == 4, 2 * MINUTE)
    rotate(world, world.creator, theft)
    until(world, lambda: neighbors(world)["thief"] == [], 2 * SECOND)
    world.run(5 * MINUTE)
    assert neighbors(world)["thief"] == []
    assert all("thief" not in others for others in neighbors(world).values())
    assert current(world, thief) is None, "it has heard of the rotation before the links closed"


@pytest.mark.parametrize("kept", [True, False])
def test_who_was_away_learns_of_it_on_return_if_it_was_kept(kept: bool) -> None:
    world = gathered(4, 3)
    friend, grant_id = by_root(world, "friend")
    friend.crash()
    rotate(world, world.creator, *(() if kept else (grant_id,)))
    world.run(MINUTE)
    friend.start()
    if kept:
        until(world, lambda: version(friend) == 2, 2 * MINUTE)
        settled(world)
        assert current(world, friend) == grant_id
    else:
        world.run(5 * MINUTE)
        assert neighbors(world)["friend"] == []
        assert all("friend" not in others for others in neighbors(world).values())


def test_node_that_was_cut_off_picks_the_rotation_up() -> None:
    world = gathered(5, 5)
    world.network.part(["n3", "n4"])
    rotate(world, world.creator)
    world.run(MINUTE)
    assert [version(world.nodes[name]) for name in ("n0", "n1", "n2", "n3", "n4")] == [2, 2, 2, 1, 1]
    world.network.mend()
    settled(world)
    assert all_at(world, 2)


def test_newcomer_comes_in_under_the_new_root_with_nothing_but_the_name() -> None:
    world = gathered(6, 3)
    rotate(world, world.creator)
    until(world, lambda: all_at(world, 2), MINUTE)
    world.join("guest", ["n2:3587"])
    grant_id = grant(world, world.creator, "guest", MEMBER, NEW)
    until(
        world, lambda: "guest" in world.nodes and current(world, world.nodes["guest"]) == grant_id, 3 * MINUTE
    )
    settled(world)
    assert version(world.nodes["guest"]) == 2


def test_second_rotation_throws_out_the_thief_of_the_new_root() -> None:
    world = gathered(7, 4, admins=["n1"])
    rotate(world, world.creator)
    until(world, lambda: all_at(world, 2), MINUTE)
    theft = grant(world, world.nodes["n3"], "thief", ADMIN, NEW)
    world.join("thief", ["n3:3587"])
    until(world, lambda: "thief" in world.nodes and neighbors(world)["thief"] != [], 3 * MINUTE)
    until(world, world.agreed, MINUTE)
    rotate(
        world, world.nodes["n1"], theft, new=named("third root"), used=NEXT, following=named("third recovery")
    )
    until(world, lambda: neighbors(world)["thief"] == [], 2 * SECOND)
    assert all(version(world.nodes[f"n{number}"]) == 3 for number in range(4))


def test_two_rotations_in_two_partitions_end_as_one() -> None:
    world = gathered(8, 6, admins=["n3"])
    world.network.part(["n3", "n4", "n5"])
    one = rotate(world, world.creator)
    other = rotate(world, world.nodes["n3"], new=named("other root"), following=named("other recovery"))
    world.run(10 * SECOND)
    world.network.mend()
    settled(world)
    best = min(one.rotation, other.rotation)
    assert {node.machine.members.view.rotations[-1] for node in world.honest()} == {best}
