"""A revocation reaches everybody, whoever does not pass it on, and nothing of the revoked gets by it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from protocol.authority.issuing import CredentialInfo, IssueRequest
from protocol.credentials.roles import ADMIN, MEMBER
from protocol.errors import RuleError
from protocol.machines import void_acts
from protocol.machines.events import Connect, Issue, Issued, Resign, Revoke
from protocol.machines.link import Links
from protocol.sim.faulty import Faulty
from protocol.sim.network import Weather
from protocol.sim.node import Node
from protocol.sim.revoking import (
    MEDIAN_MS_MAX,
    NODES,
    WORST_MS_MAX,
    follow,
    is_without,
    measure_revocation,
    revoke,
)
from protocol.sim.scenario import SimulationFailed
from protocol.sim.world import World
from protocol.wire.messages import Message, News, Transfer
from tests.simulation.removals import (
    add,
    addresses,
    ban_by,
    grant_of,
    is_member,
    send,
    shows,
    version_by,
    with_mole,
)
from tests.simulation.worlds import MINUTE, SECOND, gathered, neighbors, settled, until

AGES_MS = (3_600_000, 1_000, 0, -200_000)  # of what is signed after the removal, by what it says itself


def _new_member(world: World, name: str) -> IssueRequest:
    info = CredentialInfo(role=MEMBER)
    return IssueRequest(world.peer_name(name), world.key(name).public, info, store=True)


# --- everywhere soon ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_revocation_is_in_force_everywhere_soon_though_a_tenth_withhold_and_frames_are_late(
    seed: int,
) -> None:
    spread = measure_revocation(seed, nodes=30, removals=1)
    print(spread)
    assert spread.median_ms <= MEDIAN_MS_MAX
    assert spread.worst_ms <= WORST_MS_MAX
    assert spread.apart == 0


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 112))
def test_revocation_among_a_hundred_nodes(seed: int) -> None:
    spread = measure_revocation(seed, nodes=NODES)
    print(spread)
    assert spread.median_ms <= MEDIAN_MS_MAX
    assert spread.worst_ms <= WORST_MS_MAX
    assert spread.apart == 0


def test_links_that_stay_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memberships are looked at again only every minute: the check of the times is not for nothing."""
    monkeypatch.setattr(Links, "note_change", lambda links, now: None)
    with pytest.raises(SimulationFailed, match="revocation among 5 nodes, seed 3"):
        measure_revocation(3, nodes=5, removals=1, weather=Weather())


def test_in_good_weather_all_links_are_closed_within_a_second() -> None:
    world = gathered(1, 6)
    until(world, lambda: all(len(others) == 5 for others in neighbors(world).values()), 2 * MINUTE)
    victim = world.nodes["n5"]
    revoke(world, world.creator, victim)
    world.faulty["n5"] = Faulty()
    assert max(follow(world, victim, world.honest())) <= 200
    settled(world)
    assert all(is_without(node, victim) for node in world.honest())


def test_who_is_connected_hears_of_its_own_removal_before_its_links_close() -> None:
    world = gathered(2, 4)
    until(world, lambda: all(len(others) == 3 for others in neighbors(world).values()), 2 * MINUTE)
    victim = world.nodes["n3"]
    revoke(world, world.creator, victim)
    world.faulty["n3"] = Faulty()
    until(world, lambda: _knows(victim), SECOND)
    settled(world)


def _knows(victim: Node) -> bool:
    """Whether a removed member goes by no credential any more, and its user has been told."""
    if not victim.settled or victim.machine.members.own_grant(victim.moment().utc_s) is not None:
        return False
    return "credential-removed" in [event.kind for event in victim.store.events_after(0, 1_000)]


def test_who_resigns_is_let_go_by_all() -> None:
    world = gathered(3, 5)
    leaver = world.nodes["n4"]
    world.command(leaver, Resign("enough"))
    world.faulty["n4"] = Faulty()
    assert max(follow(world, leaver, world.honest())) <= SECOND
    settled(world)


# --- those who have not heard -------------------------------------------------------------------------------


def _stays_out(world: World, mole: str, innocent: str, records: list[bytes], acts: list[bytes]) -> None:
    """Nothing that was signed after the removal counts on an honest node, and no link is made with it."""
    for node in world.honest():
        view = node.machine.members.view
        assert not is_member(world, node, mole), node.name
        assert is_member(world, node, innocent), node.name
        assert not any(shows(node, record) for record in records), node.name
        assert not any(view.is_effective(act) or act in view.protected() for act in acts), node.name
        peers = [end.peer for end in node.ends().values()]
        assert mole not in peers
        assert "accomplice" not in peers


def _watch(world: World, ms: int, holds: Callable[[], None]) -> None:
    for _ in range(ms // 200):
        world.run(200)
        holds()


def test_removed_member_gets_no_further_than_three_who_refuse_to_hear() -> None:
    world = gathered(40, 6, admins=["n1"])
    mole, friends = with_mole(world, ADMIN)
    before = add(world, mole)
    until(world, lambda: all(shows(node, before.record_id) for node in world.honest()), 5 * SECOND)
    revoke(world, world.creator, mole)
    follow(world, mole, world.honest())
    now_ms = world.right().utc_ms
    acts = [ban_by(world, "mole", "n2", now_ms - age) for age in AGES_MS]
    versions = [version_by(world, "mole", now_ms - age) for age in AGES_MS]
    send(mole, acts, versions)
    later = add(world, mole)
    records = [later.record_id, *(one.record_id for one in versions)]
    _admit_accomplice(world, mole, friends)
    mole.submit(Connect(addresses(world.nodes.values())))

    def stays_out() -> None:
        _stays_out(world, "mole", "n2", records, [act.id for act in acts])
        assert all(shows(node, before.record_id) for node in world.honest())

    _watch(world, 20 * SECOND, stays_out)
    for friend in friends:
        assert not is_member(world, friend, "n2"), "they believe it"
        assert shows(friend, later.record_id)
        assert "mole" in [end.peer for end in friend.ends().values()]
        assert "n0" in [end.peer for end in friend.ends().values()]
    for node in world.honest():
        node.crash()
    for node in [node for node in world.nodes.values() if not node.up]:
        node.start()
    _watch(world, MINUTE, stays_out)
    settled(world)
    stays_out()


def _admit_accomplice(world: World, mole: Node, friends: Sequence[Node]) -> None:
    """Somebody whom the removed member invites, and who asks everybody."""
    request = IssueRequest(
        world.peer_name("accomplice"),
        world.key("accomplice").public,
        CredentialInfo(role=MEMBER),
        invitation=True,
    )
    issued = world.command(mole, Issue((request,)))
    assert isinstance(issued, tuple)
    (one,) = issued
    assert isinstance(one, Issued)
    asked = addresses([*world.honest(), mole, *friends])
    world.open_with("accomplice", world.read(one.bundle), asked)
    world.faulty["accomplice"] = Faulty()


def test_what_a_removed_member_does_behind_a_partition_ends_with_it() -> None:
    world = gathered(50, 8, admins=["n1", "n7"])
    until(world, lambda: "n7" in neighbors(world)["n5"], 2 * MINUTE)
    mole = world.nodes["n7"]
    world.network.part(["n4", "n5", "n6", "n7"])
    revoke(world, world.creator, mole)
    world.faulty["n7"] = Faulty()
    mole.skew_ms = -240_000  # less than its own clock rule refuses
    written = add(world, mole)
    (guest,) = world.issue(mole, _new_member(world, "guest"))
    del world.promised[guest.grant_id]
    world.command(mole, Revoke(world.key("n2").public.pid))
    apart = [world.nodes[name] for name in ("n4", "n5", "n6")]
    until(world, lambda: all(shows(node, written.record_id) for node in apart), 10 * SECOND)
    until(world, lambda: not any(is_member(world, node, "n2") for node in apart), 10 * SECOND)
    assert all(is_member(world, node, "guest") for node in apart)
    heard = [world.nodes[name] for name in ("n0", "n1", "n2", "n3")]

    def gets_no_further() -> None:
        for node in heard:
            assert not shows(node, written.record_id)
            assert is_member(world, node, "n2")
            assert not is_member(world, node, "guest")
            assert mole.name not in [end.peer for end in node.ends().values()]

    _watch(world, 5 * SECOND, gets_no_further)
    world.network.mend()
    _watch(world, MINUTE, gets_no_further)
    settled(world)
    gets_no_further()
    for node in apart:
        assert not shows(node, written.record_id)
        assert is_member(world, node, "n2")
        assert not is_member(world, node, "guest")
        assert is_without(node, mole)


# --- revoked while offline ----------------------------------------------------------------------------------


def test_who_was_removed_while_offline_gets_no_link_and_nothing_new() -> None:
    """To members it is a stranger: it is told of its removal (test_return.py), and of nothing else."""
    world = gathered(60, 4)
    victim = world.nodes["n3"]
    victim.crash()
    revoke(world, world.creator, victim)
    world.faulty["n3"] = Faulty()
    until(world, world.agreed, MINUTE)
    held = len(tuple(victim.store.load()))
    victim.start()
    _watch(world, 2 * MINUTE, lambda: _has_no_links(world, victim))
    assert len(tuple(victim.store.load())) == held
    assert " n3    dial n0:3587 removed" in world.trace.tail(20_000)
    settled(world)


def _has_no_links(world: World, victim: Node) -> None:
    assert not victim.ends()
    assert all(is_without(node, victim) for node in world.honest())


def test_who_was_removed_while_apart_learns_it_from_whom_it_is_linked_with() -> None:
    world = gathered(61, 5)
    until(world, lambda: all(len(others) == 4 for others in neighbors(world).values()), 2 * MINUTE)
    victim = world.nodes["n4"]
    world.network.part(["n3", "n4"])
    revoke(world, world.creator, victim)
    world.faulty["n4"] = Faulty()
    world.run(5 * SECOND)
    assert "n4" in neighbors(world)["n3"]
    world.network.mend()
    until(world, lambda: _knows(victim), MINUTE)
    until(world, lambda: is_without(world.nodes["n3"], victim), SECOND)
    settled(world)


def test_whom_somebody_brings_back_is_back_everywhere() -> None:
    world = gathered(62, 4)
    victim = world.nodes["n3"]
    revoke(world, world.creator, victim)
    world.faulty["n3"] = Faulty()
    follow(world, victim, world.honest())
    del world.faulty["n3"]
    world.issue(world.creator, _new_member(world, "n3"))
    until(world, lambda: all(is_member(world, node, "n3") for node in world.honest()), 3 * MINUTE)
    settled(world)


# --- partitions ---------------------------------------------------------------------------------------------


def _with_juniors(seed: int) -> World:
    """Two equal administrators, n1 and n5, with a member of their own each: j1 and j5, who have no nodes."""
    world = gathered(seed, 8, admins=["n1", "n5"])
    for admin, name in (("n1", "j1"), ("n5", "j5")):
        world.issue(world.nodes[admin], _new_member(world, name))
    until(world, world.agreed, MINUTE)
    assert grant_of(world, "n1").level == grant_of(world, "n5").level
    world.network.part(["n4", "n5", "n6", "n7"])
    return world


def test_equals_remove_each_others_juniors_in_two_partitions() -> None:
    world = _with_juniors(70)
    for admin, junior in (("n1", "j5"), ("n5", "j1")):
        world.command(world.nodes[admin], Revoke(world.key(junior).public.pid))
    world.run(5 * SECOND)
    assert [is_member(world, world.nodes["n2"], one) for one in ("j1", "j5")] == [True, False]
    assert [is_member(world, world.nodes["n6"], one) for one in ("j1", "j5")] == [False, True]
    world.network.mend()
    settled(world)
    assert not any(is_member(world, node, one) for node in world.honest() for one in ("j1", "j5"))


def test_duel_of_equals_in_two_partitions_hurts_nobody() -> None:
    world = _with_juniors(71)
    acts = []
    for admin, other in (("n1", "n5"), ("n5", "n1")):
        with pytest.raises(RuleError, match="equals cannot remove each other"):
            world.command(world.nodes[admin], Revoke(world.key(other).public.pid))
        acts.append(ban_by(world, admin, other, world.right().utc_ms))
        send(world.nodes[admin], acts[-1:])
    world.run(5 * SECOND)
    world.network.mend()
    settled(world)
    assert all(is_member(world, node, one) for node in world.honest() for one in ("n1", "n5"))
    assert all(node.store.get(act.id) is not None for node in world.honest() for act in acts)


def test_root_bans_across_a_partition() -> None:
    """n5 is banned on the other side, and issues and removes meanwhile; all that falls."""
    world = _with_juniors(72)
    banned = world.nodes["n5"]
    revoke(world, world.creator, banned, for_ever=True, root=True)
    world.command(banned, Revoke(world.key("j1").public.pid))
    world.run(5 * SECOND)
    assert not is_member(world, world.nodes["n6"], "j1")
    world.faulty["n5"] = Faulty()
    world.network.mend()
    settled(world)
    for node in world.honest():
        assert is_without(node, banned)
        assert is_member(world, node, "j1")
        assert is_member(world, node, "j5")
    with pytest.raises(RuleError, match="for ever"):
        world.issue(world.creator, _new_member(world, "n5"))


# --- what counts for nothing --------------------------------------------------------------------------------


def test_flood_of_void_acts_is_bounded_and_passed_on_by_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    most = 30
    monkeypatch.setattr(void_acts, "VOID_ACTS_MAX", most)
    world = gathered(80, 5)
    mole, _ = with_mole(world, ADMIN)
    revoke(world, world.creator, mole)
    follow(world, mole, world.honest())
    carried: Counter[str] = Counter()
    acts: dict[bytes, None] = {}

    def lets_out(_: World, node: Node, message: Message) -> bool:
        if isinstance(message, News | Transfer):
            carried[node.name] += sum(raw in acts for raw in message.elements)
        return True

    monkeypatch.setattr(World, "lets_out", lets_out)
    held = {node.name: len(node.machine.members.ids) for node in world.honest()}
    for number in range(4 * most):
        act = ban_by(world, "mole", f"n{1 + number % 4}", world.right().utc_ms - number * SECOND)
        acts[act.raw] = None
        send(mole, [act])
        world.run(20)
    world.run(MINUTE)
    for node in world.honest():
        assert 0 < node.machine.members.void <= 2 * most, node.name
        assert len(node.machine.members.ids) == held[node.name]
        assert carried[node.name] == 0, node.name
    assert carried["friend0"] > 0
    settled(world)
