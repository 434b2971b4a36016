"""Who was removed while away, as its user meets it: told why, and back by itself once that is mended."""

from __future__ import annotations

import trio

from peerd.control import authority_schema, schema
from tests.support.cluster import Cluster, Node, cluster, grow, until

ASKED_AGAIN_S = 600.0


async def findings(node: Node) -> dict[str, schema.Finding]:
    return {one.code: one for one in (await node.service.status()).findings}


async def removed_while_away(nodes: Cluster, **wish: object) -> tuple[Node, str]:
    """bob, whom alice removed while it was down, is back, and has been told."""
    group = await grow(nodes, "alice", "bob", "carol")
    bob = nodes["bob"]
    await bob.stop()
    revocation = authority_schema.Revocation(reason="left the circle", **wish)  # type: ignore[arg-type]
    await nodes["alice"].service.revoke_member(group, "bob", revocation)
    (bob,) = await nodes.start("bob")
    await until(lambda: "member-revoked" in bob.kinds(), within_s=60)
    return bob, group


async def test_who_was_removed_while_away_is_told_by_whom_when_and_what_helps(tmp_path, autojump_clock):
    async with cluster(tmp_path) as nodes:
        bob, group = await removed_while_away(nodes)
        alice = nodes["alice"]
        shown = await bob.service.group(group)
        assert shown.state == "removed"
        assert shown.credential is None
        assert shown.removal is not None
        assert (shown.removal.kind, shown.removal.peer_name) == ("revoke_credential", alice.peer_name)
        found = await findings(bob)
        detail = found["credential-removed"].detail
        assert detail.startswith("this identity was removed from the group on ")
        assert detail.endswith(f"by {alice.peer_name}: left the circle")
        assert f"peerd credential issue {group} --document FILE --store" in found["credential-removed"].hint
        assert "no-neighbors" not in found
        (event,) = [one for one in bob.events() if one.kind == "member-revoked"]
        assert event.facts["removal"] == shown.removal.act_id
        assert event.facts["removed_by"] == alice.peer_name


async def test_why_says_of_ones_own_credential_that_it_has_been_revoked(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        bob, group = await removed_while_away(nodes)
        why = await bob.service.why_member(group, "bob")
        assert not why.member
        (grant,) = why.grants
        assert grant.verdict == "revoked"
        (removal,) = grant.acts
        assert (removal.kind, removal.effective) == ("revoke_credential", True)
        assert removal.peer_name == nodes["alice"].peer_name
        assert removal.reason == "left the circle"
        of_alice = await bob.service.why_member(group, "alice")
        assert of_alice.member


async def test_who_is_banned_is_told_that_no_credential_helps(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        bob, group = await removed_while_away(nodes, for_ever=True)
        assert (await bob.service.group(group)).state == "removed"
        assert "identity create" in (await findings(bob))["credential-removed"].hint


async def test_who_is_admitted_anew_is_back_by_itself(tmp_path, autojump_clock):
    async with cluster(tmp_path) as nodes:
        bob, group = await removed_while_away(nodes)
        await nodes["alice"].issue(group, bob)
        await until(lambda: bob.links(group), within_s=ASKED_AGAIN_S)
        shown = await bob.service.group(group)
        assert (shown.state, shown.removal) == ("open", None)
        assert await findings(bob) == {}
        assert (await bob.service.why_member(group, "bob")).member


async def test_who_has_forgotten_the_group_and_joins_again_is_told_the_same(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        bob, group = await removed_while_away(nodes)
        await bob.service.delete_group(group)
        await bob.join(group, nodes["alice"])
        await trio.sleep(60)
        assert (await bob.service.group(group)).state == "joining"
        detail = (await findings(bob))["credential-removed"].detail
        assert detail.endswith(f"by {nodes['alice'].peer_name}: left the circle")
        await nodes["alice"].issue(group, bob)
        await until(lambda: bob.links(group), within_s=ASKED_AGAIN_S)
        assert await findings(bob) == {}
