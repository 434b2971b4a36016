"""Who is in a group, and who signed what: pages that hold everything once, names that are not guessed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from peerd.control import schema
from peerd.errors import Conflict, NotFound, NotReady
from protocol.errors import RuleError
from tests.support.builders import DAY
from tests.support.cluster import Node, agreed, calm, cluster, grow, until
from tests.support.keys import named, peer_name

REDIAL_S = 100


async def pages(read: Callable[[schema.Page], Awaitable[Any]], entries: str, limit: int) -> list[Any]:
    """All entries of a list, read page by page."""
    found: list[Any] = []
    cursor = None
    while True:
        page = await read(schema.Page(cursor=cursor, limit=limit))
        part = getattr(page, entries)
        assert 0 < len(part) <= limit
        found, cursor = found + part, page.next
        if cursor is None:
            return found


async def members(node: Node, group: str, limit: int = 1000) -> list[schema.Member]:
    return await pages(lambda page: node.service.members(group, page), "members", limit)


async def acts(node: Node, group: str, limit: int = 1000) -> list[schema.Act]:
    return await pages(lambda page: node.service.acts(group, page), "acts", limit)


# --- members ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2, 3, 1000])
async def test_members_come_by_name_each_once(tmp_path, autojump_clock, limit):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice")
        alice = nodes["alice"]
        others = await nodes.start("bob", "carol", "dave")
        for node in others:
            await alice.issue(group, node)
        await alice.renew(group, others[0])
        names = [member.peer_name for member in await members(alice, group, limit)]
        assert names == sorted(str(peer_name(name)) for name in ("alice", "bob", "carol", "dave"))


async def test_states_of_members_are_told_apart(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        alice = nodes["alice"]
        await alice.service.change_properties(group, schema.PropertiesChange(renew_auto=False))
        carol, dave, erin = await nodes.start("carol", "dave", "erin")
        await alice.issue(group, carol, valid_s=50)
        await alice.issue(group, dave, invitation=True)
        begin = schema.time_at(alice.clock.moment().utc_s + DAY)
        await alice.issue(group, erin, not_before=begin)
        await trio.sleep(51)
        await calm()
        shown = {one.peer_name: one for one in await members(alice, group)}
        states = {
            name: shown[str(peer_name(name))].state for name in ("alice", "bob", "carol", "dave", "erin")
        }
        assert states == {
            "alice": "member",
            "bob": "member",
            "carol": "expired",
            "dave": "awaited",
            "erin": "awaited",
        }
        assert [name for name, one in shown.items() if one.own] == [alice.peer_name]
        assert [name for name, one in shown.items() if one.neighbor] == [nodes["bob"].peer_name]


async def test_a_member_is_found_by_any_form_of_its_name_with_its_latest_credential_first(
    tmp_path, autojump_clock
):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice")
        alice = nodes["alice"]
        (bob,) = await nodes.start("bob")
        issued = [(await alice.issue(group, bob)).credential.grant_id]
        for _ in range(3):
            await trio.sleep(1)
            issued.insert(0, await alice.renew(group, bob))
        for text in ("bob", bob.peer_name, bob.peer_name[:7]):
            found = await alice.service.member(group, text)
            assert (found.member.peer_name, found.member.grant_id) == (bob.peer_name, issued[0])
            assert [one.grant_id for one in found.credentials] == issued
            assert [one.current for one in found.credentials] == [True, False, False, False]


async def test_a_name_that_fits_nobody_or_two_is_refused(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice")
        alice = nodes["alice"]
        for text in ("nobody", "", "f", "0" * 40):
            with pytest.raises(NotFound) as unknown:
                await alice.service.member(group, text)
            assert (unknown.value.code, bool(unknown.value.hint)) == ("member-not-found", True)
        twins = [
            await alice.service.create_identity(schema.IdentityCreate(classifier="twin")) for _ in range(2)
        ]
        for twin in twins:
            document = alice.service.identity_document(twin.peer_name).document
            await alice.issue(group, twin.peer_name, document=document)
        with pytest.raises(Conflict) as ambiguous:
            await alice.service.member(group, "twin")
        assert ambiguous.value.code == "ambiguous-name"
        assert (await alice.service.member(group, twins[0].peer_name)).member.own


# --- acts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2, 1000])
async def test_acts_come_in_the_order_of_arrival_each_once(tmp_path, autojump_clock, limit):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice")
        alice = nodes["alice"]
        (bob,) = await nodes.start("bob")
        await alice.issue(group, bob)
        await alice.service.change_properties(group, schema.PropertiesChange(comment="ours"))
        found = await acts(alice, group, limit)
        assert [act.kind for act in found] == ["rotate_root", "grant", "properties", "grant", "properties"]
        assert [act.subject for act in found] == [None, alice.peer_name, None, bob.peer_name, None]
        assert [act.peer_name for act in found] == [None, None, None, alice.peer_name, None]
        assert [(act.level, act.seq) for act in found] == [(0, 1), (0, 2), (0, 3), (1, 1), (0, 4)]
        assert {act.author for act in found} == {
            (await alice.service.group(group)).gid,
            named("alice").public.pid.hex(),
        }


async def test_acts_that_arrive_between_two_pages_come_after_those_that_were_there(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice")
        alice = nodes["alice"]
        first = await alice.service.acts(group, schema.Page(limit=2))
        (bob,) = await nodes.start("bob")
        issued = (await alice.issue(group, bob)).credential.grant_id
        rest = await alice.service.acts(group, schema.Page(limit=1000, cursor=first.next))
        ids = [act.act_id for act in (*first.acts, *rest.acts)]
        assert ids == [act.act_id for act in await acts(alice, group)]
        assert ids[-1] == issued


async def test_the_same_acts_are_known_everywhere_and_after_a_restart(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        alice, bob = nodes["alice"], nodes["bob"]
        await alice.renew(group, bob)
        await until(lambda: agreed(group, nodes.all()), within_s=REDIAL_S)
        found = {node.name: await acts(node, group) for node in nodes.all()}
        assert sorted(act.act_id for act in found["alice"]) == sorted(act.act_id for act in found["bob"])
        await bob.stop()
        await nodes.start("bob")
        assert await acts(bob, group) == found["bob"]


# --- what cannot be read ----------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["members", "acts"])
async def test_a_group_that_is_joining_or_unknown_has_no_lists_and_no_list_takes_a_strange_cursor(
    tmp_path, autojump_clock, call
):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice")
        (bob,) = await nodes.start("bob")
        with pytest.raises(NotFound):
            await getattr(bob.service, call)(group, schema.Page())
        await bob.join(group, nodes["alice"])
        with pytest.raises(NotReady):
            await getattr(bob.service, call)(group, schema.Page())
        with pytest.raises(RuleError) as refused:
            await getattr(nodes["alice"].service, call)(group, schema.Page(cursor="mystery!"))
        assert refused.value.code == "invalid-argument"
