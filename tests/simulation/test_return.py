"""Who was removed while away is told when it comes back, and comes back in by itself once that is mended."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.authority.acts import Place, sign_act
from protocol.authority.bodies import Kind, ResignBody
from protocol.authority.issuing import CredentialInfo, IssueRequest
from protocol.codec import decode_untrusted
from protocol.credentials.roles import ADMIN, MEMBER
from protocol.errors import RuleError
from protocol.ids import CHAIN_BYTES
from protocol.limits import REDIAL_REMOVED_MS
from protocol.machines.events import Annul, Connect, DialOutcome, Import, Issue, Resign, Revoke
from protocol.peer_time import hlc_at
from protocol.sim.faulty import Faulty
from protocol.sim.node import Node
from protocol.sim.revoking import follow, is_without, revoke
from protocol.sim.world import World
from tests.simulation.removals import add, ban_by, grant_of, is_member, shows
from tests.simulation.worlds import MINUTE, SECOND, current, gathered, neighbors, settled, until

ASKED_AGAIN_MS = REDIAL_REMOVED_MS * 3 // 2 + MINUTE  # the delay, as much as is added at random, and a bit


def events(node: Node, kind: str) -> list[dict[str, Any]]:
    """What a node has told its user of one kind."""
    return [
        decode_untrusted(event.facts, bytes_max=8192)
        for event in node.store.events_after(0, 1_000)
        if event.kind == kind
    ]


def own_removal(node: Node) -> bytes | None:
    """The act by which a node says that it was removed."""
    return node.machine.members.own_removal(node.moment().utc_s)


def removed_while_away(seed: int, *, by: str = "n1", for_ever: bool = False) -> tuple[World, Node, bytes]:
    """A group of five whose administrator n1 or creator n0 removes n4, which is down at that time."""
    world = gathered(seed, 5, admins=["n1"])
    victim = world.nodes["n4"]
    until(world, lambda: victim.name in neighbors(world)["n0"], MINUTE)
    victim.crash()
    act_id = revoke(world, world.nodes[by], victim, for_ever=for_ever)
    world.faulty[victim.name] = Faulty()
    follow(world, victim, world.honest())
    return world, victim, act_id


def told(seed: int, *, by: str = "n1") -> tuple[World, Node, bytes]:
    """The same, back, and told of its removal."""
    world, victim, act_id = removed_while_away(seed, by=by)
    victim.start()
    until(world, lambda: own_removal(victim) is not None, MINUTE)
    world.run(SECOND)
    return world, victim, act_id


def back_in(world: World, victim: Node) -> None:
    """Wait until a node is a member again, in everybody's eyes and its own, and do what members do."""
    del world.faulty[victim.name]
    until(world, lambda: current(world, victim) is not None, ASKED_AGAIN_MS)
    until(world, lambda: all(is_member(world, node, victim.name) for node in world.honest()), MINUTE)
    view = victim.machine.members.view
    until(world, lambda: view.admitted(current(world, victim) or b"") is not None, MINUTE)
    assert own_removal(victim) is None
    record = add(world, victim).record_id
    until(world, lambda: all(shows(node, record) for node in world.honest()), MINUTE)
    settled(world)


def admit_anew(world: World, name: str, role: int = MEMBER) -> None:
    """A new credential for somebody; the issuer names the removals that it is made in spite of."""
    info = CredentialInfo(role=role)
    world.issue(world.creator, IssueRequest(world.peer_name(name), world.key(name).public, info, store=True))


# --- it is told ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["n0", "n1"])
def test_who_was_removed_while_away_is_told_by_whom_and_when(by: str) -> None:
    world, victim, act_id = told(300, by=by)
    (fact,) = events(victim, "member-revoked")
    assert fact["removal"] == act_id.hex()
    assert fact["removed_by"] == str(world.peer_name(by))
    assert fact["kind"] == "revoke_credential"
    assert abs(fact["removed"] - world.right().utc_ms) < 2 * MINUTE
    assert len(events(victim, "credential-removed")) == 1
    assert current(world, victim) is None
    assert DialOutcome.REMOVED in victim.machine.dialling.outcomes().values()


def test_what_it_was_told_is_there_after_a_restart_and_told_once() -> None:
    world, victim, act_id = told(301)
    victim.crash()
    victim.start()
    assert own_removal(victim) == act_id
    assert current(world, victim) is None
    world.run(MINUTE)
    assert len(events(victim, "member-revoked")) == 1


def test_who_is_removed_gets_no_further_and_asks_seldom() -> None:
    world, victim, _ = told(302)
    held = len(tuple(victim.store.load()))
    world.run(10 * SECOND)
    before = sum(" n4    dial " in line for line in map(str, world.trace.lines))
    for _ in range(100):
        world.run(ASKED_AGAIN_MS // 100)
        assert not victim.ends()
        assert all(is_without(node, victim) for node in world.honest())
    asked = sum(" n4    dial " in line for line in map(str, world.trace.lines)) - before
    assert 4 <= asked <= 8, "each of the four others once, perhaps twice"
    assert len(tuple(victim.store.load())) == held
    assert current(world, victim) is None


def test_who_is_removed_signs_nothing_more_that_would_count_nowhere() -> None:
    world, victim, _ = told(303)
    request = IssueRequest(world.peer_name("guest"), world.key("guest").public, None, store=True)
    for command in (Issue((request,)), Revoke(world.key("n2").public.pid), Resign()):
        with pytest.raises(RuleError, match="removed"):
            world.command(victim, command)
    with pytest.raises(RuleError):
        add(world, victim)


def test_who_only_listens_is_told_by_whoever_calls() -> None:
    world = gathered(304, 4)
    victim = world.nodes["n3"]
    until(world, lambda: "n3" in neighbors(world)["n1"], MINUTE)
    victim.crash()
    act_id = revoke(world, world.creator, victim)
    world.faulty["n3"] = Faulty()
    follow(world, victim, world.honest())
    victim.start()
    world.command(victim, Connect((), only=True))
    until(world, lambda: len(events(victim, "member-revoked")) == 1, 5 * MINUTE)
    assert own_removal(victim) == act_id


def test_who_has_resigned_elsewhere_is_told() -> None:
    world = gathered(305, 4)
    leaver, grant = world.nodes["n3"], grant_of(world, "n3")
    leaver.crash()
    place = Place(
        gid=world.gid,
        author=grant.pid,
        chain=bytes(CHAIN_BYTES),
        seq=1,
        prev=None,
        level=grant.level,
        cred=grant.act_id,
        hlc=hlc_at(world.right().utc_ms),
    )
    resign = sign_act(place, Kind.RESIGN, ResignBody(reason="enough"), [world.key("n3")])
    world.faulty["n3"] = Faulty()
    world.command(world.creator, Import((resign,), ()))
    follow(world, leaver, world.honest())
    leaver.start()
    until(world, lambda: bool(events(leaver, "member-revoked")), MINUTE)
    (fact,) = events(leaver, "member-revoked")
    assert (fact["kind"], fact["reason"]) == ("resign", "enough")
    assert fact["removed_by"] == str(world.peer_name("n3"))


# --- it comes back by itself --------------------------------------------------------------------------------


def test_who_was_told_comes_back_by_itself_when_its_removal_is_annulled() -> None:
    world, victim, act_id = told(310)
    world.command(world.creator, Annul(act_id))
    back_in(world, victim)


def test_who_heard_of_its_removal_comes_back_by_itself_when_it_is_annulled() -> None:
    """The removal is in its own view, and the annulment is not: no bundle of its own looks good to it."""
    world = gathered(311, 5, admins=["n1"])
    victim = world.nodes["n4"]
    until(world, lambda: all(len(others) == 4 for others in neighbors(world).values()), 2 * MINUTE)
    act_id = revoke(world, world.nodes["n1"], victim)
    world.faulty["n4"] = Faulty()
    until(world, lambda: own_removal(victim) == act_id, 5 * SECOND)
    follow(world, victim, world.honest())
    assert victim.machine.members.view.is_effective(act_id)
    world.command(world.creator, Annul(act_id))
    back_in(world, victim)


def test_who_was_away_for_both_never_notices() -> None:
    world, victim, act_id = removed_while_away(312)
    world.command(world.creator, Annul(act_id))
    until(world, world.agreed, MINUTE)
    victim.start()
    back_in(world, victim)
    assert events(victim, "member-revoked") == []


def test_who_was_told_comes_back_by_itself_when_whoever_removed_it_was_removed_before() -> None:
    world, victim, act_id = told(313)
    cut = ban_by(world, "n0", "n1", world.right().utc_ms)
    world.command(world.creator, Import((cut,), ()))
    world.faulty["n1"] = Faulty()
    assert not world.creator.machine.members.view.is_effective(act_id)
    back_in(world, victim)


@pytest.mark.parametrize("role", [MEMBER, ADMIN])
def test_who_was_told_comes_back_by_itself_when_it_is_admitted_anew(role: int) -> None:
    world, victim, _ = told(314)
    admit_anew(world, "n4", role)
    back_in(world, victim)


def test_administrator_that_was_told_comes_back_as_a_plain_member() -> None:
    """Its old credential, of a smaller level, looks better; but it was told that it is revoked."""
    world = gathered(315, 5, admins=["n1", "n4"])
    victim = world.nodes["n4"]
    victim.crash()
    revoke(world, world.creator, victim)
    world.faulty["n4"] = Faulty()
    follow(world, victim, world.honest())
    victim.start()
    until(world, lambda: own_removal(victim) is not None, MINUTE)
    admit_anew(world, "n4")
    back_in(world, victim)
    grant = victim.machine.members.own_grant(victim.moment().utc_s)
    assert grant is not None
    assert grant.roles == (MEMBER,)


def test_user_who_does_not_want_to_wait_says_connect() -> None:
    world, victim, act_id = told(316)
    world.run(MINUTE)
    world.command(world.creator, Annul(act_id))
    until(world, world.agreed, MINUTE)
    victim.submit(Connect(("n0:3587",)))
    del world.faulty["n4"]
    until(world, lambda: current(world, victim) is not None, 10 * SECOND)
    settled(world)


def test_banned_key_does_not_come_back_by_a_credential() -> None:
    world, victim, act_id = removed_while_away(317, for_ever=True)
    victim.start()
    until(world, lambda: own_removal(victim) == act_id, MINUTE)
    with pytest.raises(RuleError):
        admit_anew(world, "n4")
    world.run(ASKED_AGAIN_MS)
    assert current(world, victim) is None
    assert not victim.ends()
    settled(world)
