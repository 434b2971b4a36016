"""A group at a glance, and every finding with its reason and the command that mends it."""

from __future__ import annotations

import shlex

import pytest
import trio

from peerd.clock import Clock
from peerd.control import authority_schema, schema
from peerd.control.record_schema import RecordAdd
from peerd.groups import summary
from peerd.groups.open_group import OpenGroup
from protocol.errors import RuleError
from protocol.machines.events import DialOutcome
from tests.support.builders import DAY
from tests.support.cluster import Cluster, Node, agreed, calm, cluster, grow, until

REDIAL_S = 100
NOWHERE = "10.9.9.9:9"


async def findings(node: Node) -> dict[str, schema.Finding]:
    """By code; each has a group, a reason and something to type."""
    health, groups = await node.service.health(), await node.service.groups()
    found = health.findings
    assert health.health == ("degraded" if found else "healthy")
    assert all(one.detail and one.hint for one in found)
    assert {one.group for one in found} <= {group.group for group in groups.groups}
    return {one.code: one for one in found}


# --- at a glance ------------------------------------------------------------------------------------------


async def test_a_group_of_one_is_whole_and_nothing_is_wrong_with_it(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        (alice,) = await nodes.start("alice")
        name = await alice.found("family", friendly_name="The family")
        group = await alice.service.group("family")
        assert (group.group, group.classifier, group.friendly_name) == (name, "family", "The family")
        assert group.gid is not None
        assert group.gid[:40] == name.partition(".")[0]
        assert (group.state, group.connected, group.only) == ("open", True, False)
        assert (group.peer_name, group.members, group.acts) == (alice.peer_name, 1, 3)
        assert (group.neighbors, group.addresses, group.synchronized) == ([], [], False)
        assert group.credential is not None
        assert (group.credential.level, group.credential.current) == (1, True)
        assert await findings(alice) == {}


async def test_two_nodes_that_hold_the_same_say_so(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        name = await grow(nodes, "alice", "bob")
        groups = [await node.service.group(name) for node in nodes.all()]
        assert len({(group.acts, group.digest, group.members, group.gid) for group in groups}) == 1
        assert groups[0].members == 2
        assert len({group.node_id for group in groups}) == 2
        assert [group.synchronized for group in groups] == [True, True]
        (bob,) = groups[0].neighbors
        assert (bob.peer_name, bob.node_id) == (nodes["bob"].peer_name, groups[1].node_id)
        assert {group.neighbors[0].outgoing for group in groups} == {True, False}


async def test_only_members_whose_credential_holds_are_counted(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        name = await grow(nodes, "alice")
        alice = nodes["alice"]
        await alice.service.change_properties(name, schema.PropertiesChange(renew_auto=False))
        bob, carol = await nodes.start("bob", "carol")
        await alice.issue(name, bob, valid_s=100)
        await alice.issue(name, carol, invitation=True)
        assert (await alice.service.group(name)).members == 2
        await trio.sleep(101)
        assert (await alice.service.group(name)).members == 1


async def test_groups_stand_by_name_whether_open_or_joining(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        (alice,) = await nodes.start("alice")
        names = [await alice.found("family"), f"{'0' * 40}.first", f"{'f' * 40}.last"]
        for name in names[1:]:
            await alice.service.join_group(schema.GroupJoin(group=name, addresses=[NOWHERE]))
        groups = (await alice.service.groups()).groups
        assert [group.group for group in groups] == sorted(names)
        joining = groups[0]
        assert (joining.state, joining.gid, joining.credential) == ("joining", None, None)
        assert (joining.classifier, joining.addresses, joining.peer_name) == (
            "first",
            [NOWHERE],
            alice.peer_name,
        )
        assert await alice.service.group("first") == joining


async def test_an_answer_leaves_out_a_group_that_is_deleted_meanwhile(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        (alice,) = await nodes.start("alice")
        names = sorted([await alice.found("one"), await alice.found("two")])
        first = alice.opened(names[0])
        assert first is not None
        answers: list[schema.Status] = []

        async def ask() -> None:
            answers.append(await alice.service.status())

        async with trio.open_nursery() as nursery, first.node.runner._turn:
            nursery.start_soon(ask)
            await calm()
            await alice.service.delete_group(names[1])
        (answer,) = answers
        assert [group.group for group in answer.groups] == names[:1]


# --- findings ---------------------------------------------------------------------------------------------


async def test_a_credential_is_awaited_where_it_was_asked_for(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        name = await grow(nodes, "alice")
        (bob,) = await nodes.start("bob")
        await bob.join(name, nodes["alice"])
        found = await findings(bob)
        assert list(found) == ["credential-awaited"]
        assert nodes["alice"].address in found["credential-awaited"].detail
        assert bob.peer_name in found["credential-awaited"].hint
        assert f"peerd credential issue {name} --document" in found["credential-awaited"].hint
        await nodes["alice"].issue(name, bob)
        await until(lambda: bob.links(name), within_s=REDIAL_S)
        assert await findings(bob) == {}


@pytest.mark.parametrize("valid_s", [10_000, 40 * DAY, 400 * DAY])
async def test_a_credential_is_told_of_in_its_last_sixth_or_month(tmp_path, autojump_clock, valid_s):
    async with cluster(tmp_path, tls=False) as nodes:
        bob, name = await joined(nodes, valid_s)
        grant = bob.credential(name)
        assert grant is not None
        await bob.service.disconnect_group(name)
        for node in nodes.all():
            await node.stop()
        told_s = grant.window.end - min(30 * DAY, valid_s // 6)
        await trio.sleep(told_s - 60 - bob.clock.moment().utc_s)
        await nodes.start("bob")
        assert await findings(bob) == {}
        assert "credential-expiring" not in bob.kinds()
        await trio.sleep(61)
        found = await findings(bob)
        assert list(found) == ["credential-expiring"]
        await bob.stop()
        await nodes.start("bob")
        await trio.sleep(60)
        assert bob.kinds().count("credential-expiring") == 1
        end = schema.time_at(grant.window.end)
        assert end.isoformat().replace("+00:00", "Z") in found["credential-expiring"].detail
        assert f"peerd credential issue {name} {bob.peer_name} --store" in found["credential-expiring"].hint


async def joined(nodes: Cluster, valid_s: int) -> tuple[Node, str]:
    """bob with a credential of that life, linked with alice."""
    name = await grow(nodes, "alice")
    (bob,) = await nodes.start("bob")
    await nodes["alice"].issue(name, bob, valid_s=valid_s)
    await bob.join(name, nodes["alice"])
    await until(lambda: bob.links(name))
    return bob, name


async def test_a_credential_that_has_ended_is_told_of_until_it_is_renewed(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        bob, name = await joined(nodes, 100)
        await nodes["alice"].stop()  # whose daemon would renew it by itself
        await trio.sleep(101)
        found = await findings(bob)
        assert f"peerd credential issue {name} {bob.peer_name} --store" in found["credential-expired"].hint
        assert "credential-expiring" not in found
        assert (await bob.service.group(name)).credential is None
        await nodes.start("alice")
        await nodes["alice"].renew(name, bob, valid_s=90 * DAY)
        await until(lambda: bob.links(name), within_s=REDIAL_S)
        assert await findings(bob) == {}


async def test_who_was_removed_is_told_so(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        bob, name = await joined(nodes, 90 * DAY)
        await nodes["alice"].service.revoke_member(name, "bob", authority_schema.Revocation())
        await until(lambda: not bob.links(name))
        found = await findings(bob)
        assert nodes["alice"].peer_name in found["credential-removed"].detail
        assert f"peerd credential issue {name} --document FILE --store" in found["credential-removed"].hint
        assert "credential-expired" not in found


async def test_the_hint_can_be_typed_whatever_the_names_are(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        (alice,) = await nodes.start("alice")
        name = await alice.found("the Smiths' & others")
        await alice.service.connect_group(name, schema.GroupConnect(addresses=[NOWHERE]))
        words = shlex.split((await findings(alice))["no-neighbors"].hint)
        assert words == ["peerd", "group", "connect", name, "--address", "HOST:PORT"]


async def test_who_answers_nobody_is_told_address_by_address(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        name = await grow(nodes, "alice")
        (stranger,) = await nodes.start("stranger")
        alice = nodes["alice"]
        addresses = [NOWHERE, stranger.address, alice.address]
        await alice.service.connect_group(name, schema.GroupConnect(addresses=addresses))
        await until(lambda: len(alice.opened(name).machine.dialling.outcomes()) == 2)  # type: ignore[union-attr]
        detail = (await findings(alice))["no-neighbors"].detail
        assert f"{NOWHERE}: nobody answers" in detail
        assert f"{stranger.address}: whoever answers does not know us" in detail
        assert alice.address not in detail


async def test_while_nothing_is_known_of_a_dial_it_is_still_tried(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        name = await grow(nodes, "alice")
        alice = nodes["alice"]
        await alice.service.connect_group(name, schema.GroupConnect(addresses=[NOWHERE]))
        opened = alice.opened(name)
        assert opened is not None
        for entry in opened.machine.dialling._known.values():
            entry.outcome = None
        assert "still trying" in (await findings(alice))["no-neighbors"].detail


async def test_a_long_list_of_addresses_is_cut(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        name = await grow(nodes, "alice")
        alice = nodes["alice"]
        addresses = [f"10.9.9.{number}:9" for number in range(1, 12)]
        await alice.service.connect_group(name, schema.GroupConnect(addresses=addresses))
        await until(lambda: len(alice.opened(name).machine.dialling.outcomes()) == 11)  # type: ignore[union-attr]
        detail = (await findings(alice))["no-neighbors"].detail
        assert detail.count("nobody answers") == 8
        assert "and 3 more" in detail


def test_every_outcome_that_an_address_keeps_can_be_said():
    assert set(summary._SAID) == set(DialOutcome) - {DialOutcome.MYSELF}


async def test_who_was_only_ever_called_misses_its_neighbors_too(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        name = await grow(nodes, "alice", "bob")
        assert await findings(nodes["alice"]) == {}
        await nodes["bob"].stop()
        assert list(await findings(nodes["alice"])) == ["no-neighbors"]
        await nodes.start("bob")
        await until(lambda: nodes["alice"].links(name), within_s=REDIAL_S)
        assert await findings(nodes["alice"]) == {}


async def test_who_wants_no_links_misses_none(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        name = await grow(nodes, "alice", "bob")
        group = await nodes["bob"].service.disconnect_group(name)
        assert (group.connected, group.neighbors) == (False, [])
        assert await findings(nodes["bob"]) == {}


async def test_acts_from_the_future_are_told_of_until_their_time_comes(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        name = await grow(nodes, "alice", "bob")
        alice, bob = nodes["alice"], nodes["bob"]
        await alice.stop()
        right = alice.clock
        alice.clock = Clock(lambda: right.utc_ms() + 600_000)
        await nodes.start("alice")
        await until(lambda: alice.links(name), within_s=REDIAL_S)
        await alice.renew(name, bob)
        await calm()
        found = (await findings(bob))["acts-from-the-future"]
        assert "(1)" in found.detail
        await trio.sleep(301)
        assert "acts-from-the-future" not in await findings(bob)
        await until(lambda: agreed(name, nodes.all()), within_s=REDIAL_S)


@pytest.mark.parametrize("ahead_ms", [600_000, -600_000])
async def test_a_clock_that_all_neighbors_contradict_is_told_of(tmp_path, autojump_clock, ahead_ms):
    async with cluster(tmp_path, tls=False) as nodes:
        name = await grow(nodes, "alice", "bob")
        alice, bob = nodes["alice"], nodes["bob"]
        assert "clock-contradicted" not in await findings(alice)
        await trio.sleep(1000)  # long enough after the credentials have begun
        await alice.stop()
        right = alice.clock
        alice.clock = Clock(lambda: right.utc_ms() + ahead_ms)
        await nodes.start("alice")
        await until(lambda: alice.links(name), within_s=REDIAL_S)
        await until(lambda: opened(alice, name).machine.data.time.contradiction_ms is not None, REDIAL_S)
        for node, says in ((alice, "ahead of" if ahead_ms > 0 else "behind"), (bob, "")):
            found = (await findings(node))["clock-contradicted"]
            assert f"600 s {says}" in found.detail or "599 s" in found.detail
            with pytest.raises(RuleError) as caught:
                await node.service.add_record(name, RecordAdd(record_type="note"))
            assert caught.value.code == "clock-not-trusted"


async def test_records_from_the_future_are_told_of(tmp_path, autojump_clock, monkeypatch):
    async with cluster(tmp_path, tls=False) as nodes:
        (alice,) = await nodes.start("alice")
        name = await alice.found()
        assert "records-from-the-future" not in await findings(alice)
        monkeypatch.setattr(type(opened(alice, name).machine.data.records), "quarantined", 3)
        assert "(3)" in (await findings(alice))["records-from-the-future"].detail


def opened(node: Node, name: str) -> OpenGroup:
    group = node.opened(name)
    assert group is not None
    return group
