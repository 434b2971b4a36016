"""Alarms: keys in two hands and keys that sign without end, in the status, after a restart, and until they
are removed.
"""

from __future__ import annotations

import pytest

from peerd.control import authority_schema, schema
from peerd.groups.alarms import alarms
from protocol.authority.acts import Act, Place, sign_act
from protocol.authority.bodies import ResignBody
from protocol.authority.grants import Grant
from protocol.errors import RuleError
from protocol.limits import LEVEL_MEMBER
from protocol.machines import act_rates
from protocol.machines.act_rates import day_begins_s, day_of
from protocol.machines.events import Import
from protocol.peer_time import hlc_at
from tests.support.cluster import Cluster, Node, agreed, cluster, grow, until
from tests.support.keys import named

UNKNOWN_KIND = 200
DAY = 86_400


def acts_by(node: Node, group: str, count: int, chain: bytes | None = None) -> list[Act]:
    """First acts of chains, by a node's own key; of one chain if it is given."""
    opened, grant = node.opened(group), node.credential(group)
    assert opened is not None
    assert grant is not None
    latest = opened.machine.members.view.latest_hlc
    return [
        sign_act(
            Place(
                gid=opened.machine.members.view.gid,
                author=grant.pid,
                chain=(number + 1).to_bytes(16, "big") if chain is None else chain,
                seq=1,
                prev=None,
                level=grant.level,
                cred=grant.act_id,
                hlc=max(latest, hlc_at(grant.window.start * 1000)) + number + 1,
            ),
            UNKNOWN_KIND,
            ResignBody(),
            [named(node.name)],
        )
        for number in range(count)
    ]


async def bring(node: Node, group: str, acts: list[Act]) -> None:
    """As if a neighbor had sent them."""
    opened = node.opened(group)
    assert opened is not None
    await opened.node.runner.submit(Import(tuple(acts), ()))


async def findings(node: Node, *codes: str) -> list[schema.Finding]:
    found = (await node.service.health()).findings
    assert all(one.detail and one.hint for one in found)
    return [one for one in found if one.code in codes]


async def with_admin(nodes: Cluster) -> tuple[str, Node, Node]:
    """A group of alice's, in which bob is an administrator and has issued something."""
    group = await grow(nodes, "alice", "bob")
    alice, bob = nodes.all()
    await alice.renew(group, bob, role="admin")
    await until(lambda: agreed(group, [alice, bob]) and credential(bob, group).level < LEVEL_MEMBER)
    (carol,) = await nodes.start("carol")
    await bob.issue(group, carol)
    await until(lambda: agreed(group, [alice, bob]))
    return group, alice, bob


def credential(node: Node, group: str) -> Grant:
    found = node.credential(group)
    assert found is not None
    return found


def chain_of(node: Node, group: str) -> bytes:
    """The chain on which a node has signed what it issued."""
    opened = node.opened(group)
    assert opened is not None
    view = opened.machine.members.view
    places = [one.place for one in map(view.admitted, view.act_ids()) if one is not None]
    return next(one.chain for one in places if one.author == named(node.name).public.pid)


def acts_of(node: Node, group: str) -> list[bytes]:
    """What bob has signed, as far as a node has it."""
    opened = node.opened(group)
    assert opened is not None
    view = opened.machine.members.view
    acts = [one for one in map(view.admitted, view.act_ids()) if one is not None]
    return [one.id for one in acts if one.place.author == named("bob").public.pid]


async def test_key_in_two_hands_is_told_after_a_restart_too_and_until_it_is_removed(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group, alice, bob = await with_admin(nodes)
        await bring(alice, group, acts_by(bob, group, 2, chain_of(bob, group)))
        await until(lambda: agreed(group, [alice, bob]))
        told = ("fork-seen", "key-used-elsewhere")
        assert [one.kind for one in bob.events() if one.kind in told] == [*told]
        assert [one.kind for one in alice.events() if one.kind in told] == ["fork-seen"]
        for node in (alice, bob):
            await node.stop()
            await nodes.start(node.name)
            (fork,) = await findings(node, "fork-seen")
            assert fork.detail.startswith(f"{bob.peer_name} has signed two acts in one place")
            assert f"peerd member revoke {group} {bob.peer_name} --key" in fork.hint
            said = [one.findings for one in (await node.service.audit(group, schema.Page())).acts]
            assert sum("forked" in one for one in said) == 3
            assert sum("used-elsewhere" in one for one in said) == (node is bob)
        assert await findings(alice, "key-used-elsewhere") == []
        (elsewhere,) = await findings(bob, "key-used-elsewhere")
        assert "signed somewhere else as if it were this node" in elsewhere.detail
        await alice.service.revoke_member(group, "bob", authority_schema.Revocation(for_ever=True))
        assert await findings(alice, *told) == []
        assert [one.kind for one in alice.events() if one.kind in told] == ["fork-seen"]


async def test_alarm_about_a_key_ends_after_thirty_days(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group, alice, bob = await with_admin(nodes)
        await bring(alice, group, acts_by(bob, group, 1, chain_of(bob, group)))
        opened = alice.opened(group)
        assert opened is not None
        now_s = alice.clock.moment().utc_s
        (proof,) = opened.machine.members.evidence.proofs()
        assert proof.seen_s <= now_s
        kinds = [one.code for one in alarms(opened, group, proof.seen_s + 30 * DAY - 1)]
        assert kinds == ["fork-seen"]
        assert alarms(opened, group, proof.seen_s + 30 * DAY) == []


async def test_who_signs_without_end_is_named_with_the_day_on_which_more_counts(
    tmp_path, autojump_clock, monkeypatch
):
    monkeypatch.setattr(act_rates, "ACTS_BURST", 5)
    async with cluster(tmp_path, tls=False) as nodes:
        group, alice, bob = await with_admin(nodes)
        await bring(alice, group, acts_by(bob, group, 7))
        (found,) = await findings(alice, "act-rate-exceeded")
        until_s = day_begins_s(day_of(alice.clock.moment().utc_s) + 1)
        assert f"(3) does not count here before {schema.time_at(until_s):%Y-%m-%d}" in found.detail
        assert bob.peer_name in found.detail
        assert f"peerd member revoke {group} {bob.peer_name} --dry-run" in found.hint
        (event,) = [one for one in alice.events() if one.kind == "act-rate-exceeded"]
        assert event.facts["subject"] == bob.peer_name
        (carol,) = [node for node in nodes.all() if node.name == "carol"]
        await until(lambda: len(acts_of(bob, group)) == 5)
        with pytest.raises(RuleError) as refused:
            await bob.issue(group, carol)
        assert refused.value.code == "act-rate-exceeded"
        await bob.service.revoke_member(group, "carol", authority_schema.Revocation())
