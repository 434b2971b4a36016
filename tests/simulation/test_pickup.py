"""A stored credential reaches its subject by itself: a member, absent, expired, or never a member before."""

from __future__ import annotations

import pytest

from protocol.authority.issuing import CredentialInfo, IssueRequest
from protocol.credentials.roles import ADMIN, MEMBER
from protocol.errors import RuleError
from protocol.sim.node import Node
from protocol.sim.world import World
from tests.simulation.worlds import (
    MINUTE,
    SECOND,
    current,
    gathered,
    made,
    neighbors,
    renew,
    settled,
    until,
)

LIFE_S = 600  # of a credential that is to end while somebody looks


def _issue(world: World, issuer: Node, name: str, info: CredentialInfo, *, store: bool = True) -> bytes:
    request = IssueRequest(
        world.peer_name(name), world.key(name).public, info, store=store, invitation=not store
    )
    (issued,) = world.issue(issuer, request)
    return issued.grant_id


def _goes_by(world: World, name: str, grant: bytes) -> bool:
    return name in world.nodes and world.nodes[name].up and current(world, world.nodes[name]) == grant


@pytest.mark.parametrize("line", [False, True])
def test_a_connected_member_adopts_a_renewal_without_reconnecting(line: bool) -> None:
    """Case (a), on five nodes in full mesh and in a line."""
    world = gathered(1, 5, line=line)
    if not line:
        until(world, lambda: all(len(others) == 4 for others in neighbors(world).values()), MINUTE)
    world.run(5 * SECOND)
    links = [link.id for link in world.nodes["n4"].machine.links]
    grant = renew(world, world.creator, "n4").grant_id
    took = until(world, lambda: _goes_by(world, "n4", grant), SECOND, step_ms=1)
    assert took < (4 * 60 if line else 60)  # four hops, or one, of at most 50 ms and a commit
    assert [link.id for link in world.nodes["n4"].machine.links] == links
    settled(world)


def test_a_promotion_is_in_use_at_once() -> None:
    world = gathered(2, 4)
    grant = _issue(world, world.creator, "n3", CredentialInfo(role=ADMIN))
    until(world, lambda: _goes_by(world, "n3", grant), SECOND)
    _issue(world, world.nodes["n3"], "guest", CredentialInfo(role=MEMBER))
    settled(world)


@pytest.mark.parametrize("how", ["stop", "crash", "power"])
def test_a_member_that_was_away_at_issue_picks_up_when_it_returns(how: str) -> None:
    """Case (b)."""
    world = gathered(3, 4)
    node = world.nodes["n3"]
    if how == "stop":
        node.stop()
        until(world, lambda: not node.up, SECOND)
    else:
        node.crash(silently=how == "power")
    grant = renew(world, world.creator, "n3").grant_id
    world.run(MINUTE)
    node.start()
    assert until(world, lambda: _goes_by(world, "n3", grant), 5 * SECOND) <= SECOND
    settled(world)


def test_an_expired_member_comes_back_through_any_member_with_the_issuer_gone() -> None:
    """Case (c): its credential ended and was renewed while it was away; the issuer is stopped by then."""
    world = gathered(4, 3, renews=False)
    (short,) = world.admit(["short"], MEMBER, valid_s=LIFE_S, addresses=lambda name: ("n2:3587",))
    until(world, world.agreed, MINUTE)
    short.crash()
    world.run(LIFE_S * SECOND + SECOND)
    assert world.creator.machine.members.view.current(short.key.public.pid, world.now_s) is None
    grant = renew(world, world.creator, "short").grant_id
    until(world, lambda: all(node.store.get(grant) is not None for node in world.honest()), MINUTE)
    world.creator.crash()
    short.start()
    assert current(world, short) is None
    assert until(world, lambda: _goes_by(world, "short", grant), 2 * MINUTE) < SECOND
    world.creator.start()
    settled(world)


def test_an_expired_member_that_nobody_renewed_stays_out_and_the_others_let_it_go() -> None:
    world = gathered(5, 2, renews=False)
    (short,) = world.admit(["short"], MEMBER, valid_s=LIFE_S)
    until(world, world.agreed, MINUTE)
    until(world, lambda: neighbors(world)["short"] == ["n0", "n1"], MINUTE)
    world.run(LIFE_S * SECOND)
    until(world, lambda: neighbors(world)["short"] == [], 61 * SECOND)
    world.run(10 * MINUTE)
    assert neighbors(world) == {"n0": ["n1"], "n1": ["n0"], "short": []}
    assert current(world, short) is None
    told = [told.notice.kind for told in world.told if told.node == "short"]
    assert told.count("credential-expired") == 1


def test_a_member_that_was_let_go_is_back_as_soon_as_it_asks_after_its_renewal() -> None:
    world = gathered(12, 2, renews=False)
    world.admit(["short"], MEMBER, valid_s=LIFE_S)
    until(world, world.agreed, MINUTE)
    world.run((LIFE_S + 300) * SECOND)
    assert neighbors(world)["short"] == []
    grant = renew(world, world.creator, "short").grant_id
    until(world, lambda: _goes_by(world, "short", grant), 95 * SECOND)  # the longest time between two dials
    settled(world)


def test_somebody_who_never_was_a_member_gets_its_own_credential_by_name_and_address() -> None:
    """Case (d): it asks n1, which knows nothing of it, until the creator has issued."""
    world = gathered(6, 4)
    joiner = world.join("guest", ["n1:3587"])
    world.run(20 * SECOND)
    assert joiner.asked >= 4
    assert "guest" not in world.nodes
    grant = _issue(world, world.creator, "guest", CredentialInfo(role=MEMBER))
    _issue(world, world.creator, "other", CredentialInfo(role=ADMIN))
    until(world, lambda: _goes_by(world, "guest", grant), 2 * MINUTE)
    settled(world)


def test_a_stranger_gets_nothing_for_as_long_as_it_asks() -> None:
    world = gathered(7, 3)
    joiner = world.join("stranger", ["n0:3587", "n1:3587", "n2:3587"])
    world.run(5 * MINUTE)
    assert joiner.asked > 12
    assert "stranger" not in world.nodes
    settled(world)


def test_an_answerer_whose_credential_has_ended_is_given_the_new_one_by_its_caller() -> None:
    """Case (e): while n1 was away its credential ended and was renewed; n2 calls it and knows better."""
    world = made(8)
    (away,) = world.admit(["n1"], MEMBER, valid_s=LIFE_S)
    (caller,) = world.admit(["n2"], MEMBER)
    until(world, world.agreed, MINUTE)
    world.run(5 * SECOND)
    away.crash()
    world.run(LIFE_S * SECOND)
    grant = renew(world, world.creator, "n1").grant_id
    until(world, world.agreed, MINUTE)
    world.creator.crash()
    world.network.settle(caller.address, world.creator)  # n1 cannot call n2, only the other way round
    away.start()
    assert current(world, away) is None
    until(world, lambda: _goes_by(world, "n1", grant), 95 * SECOND)
    assert [link.dialled for link in caller.machine.links] == [True]


def test_an_unstored_credential_enters_the_group_when_its_subject_first_links() -> None:
    """Case (f): the grant is known to all, the certificate travels by invitation."""
    world = gathered(9, 4)
    (node,) = world.admit(["guest"], MEMBER, store=False, addresses=lambda name: ("n2:3587",))
    until(world, world.agreed, MINUTE)
    view = world.creator.machine.members.view
    assert view.current(node.key.public.pid, world.now_s) is not None
    settled(world)


def test_an_unstored_renewal_that_never_reaches_its_subject_changes_nothing() -> None:
    world = gathered(10, 3)
    before = current(world, world.nodes["n2"])
    renew(world, world.creator, "n2", store=False)
    settled(world)
    assert current(world, world.nodes["n2"]) == before


def test_a_refused_call_changes_nothing_anywhere() -> None:
    world = gathered(11, 3)
    settled(world)
    before = [node.machine.synchronize.summary().digest for node in world.honest()]
    with pytest.raises(RuleError):
        renew(world, world.nodes["n1"], "n2")
    settled(world)
    assert [node.machine.synchronize.summary().digest for node in world.honest()] == before
