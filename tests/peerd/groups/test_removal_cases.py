"""Removal as a user meets it: told beforehand, in effect everywhere, refused under its names."""

from __future__ import annotations

import pytest
import trio

from peerd.control import authority_schema, schema
from peerd.errors import Conflict, NotFound, PeerdError
from peerd.groups.removal_cases import act_meant
from protocol.errors import RuleError
from tests.support.cluster import Node, agreed, calm, cluster, grow, until

REDIAL_S = 100
ALONE = authority_schema.Revocation()
TRY = authority_schema.Revocation(dry_run=True)


async def refusal(node: Node, call) -> str:
    """The slug of a refusal with a hint, that has changed nothing."""
    before = node.on_disk()
    with pytest.raises((RuleError, PeerdError)) as refused:
        await call
    await calm()
    assert isinstance(refused.value, RuleError | PeerdError)
    assert refused.value.hint
    assert node.on_disk() == before
    return str(refused.value.code)


async def names(node: Node, group: str) -> list[str]:
    members = (await node.service.members(group, schema.Page())).members
    return sorted(one.peer_name.partition(".")[2] for one in members)


async def test_a_revoked_member_has_no_link_left_and_all_know_why(tmp_path, autojump_clock):
    async with cluster(tmp_path) as nodes:
        group = await grow(nodes, "alice", "bob", "carol", "dave")
        alice, bob, carol, dave = nodes.all()
        wish = authority_schema.Revocation(reason="left the circle")
        done = await alice.service.revoke_member(group, "bob", wish)
        assert (done.kind, done.subject) == ("revoke_credential", bob.peer_name)
        assert (done.members_lost, done.members_back) == ([bob.peer_name], [])
        assert [(one.subject, one.live) for one in done.credentials] == [(bob.peer_name, False)]
        took = await until(lambda: not bob.links(group) and len(carol.links(group)) == 2, within_s=1)
        assert took < 1
        await until(lambda: agreed(group, [alice, carol, dave]))
        for node in (alice, carol, dave):
            assert await names(node, group) == ["alice", "carol", "dave"]
            assert "credential-revoked" in node.kinds()
        assert "credential-removed" in bob.kinds()
        await trio.sleep(REDIAL_S)
        assert not bob.links(group)


async def test_a_dry_run_tells_what_will_be_and_leaves_no_trace(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        alice, bob = nodes.all()
        before = alice.on_disk()
        tried = await alice.service.revoke_member(group, "bob", TRY)
        await calm()
        assert alice.on_disk() == before
        assert tried.act_id is None
        assert (tried.members_lost, tried.void_acts) == ([bob.peer_name], 0)
        assert [one.live for one in tried.credentials] == [True]
        done = await alice.service.revoke_member(group, "bob", ALONE)
        assert done.act_id is not None
        assert (done.members_lost, done.subject) == (tried.members_lost, tried.subject)
        assert [one.grant_id for one in done.credentials] == [one.grant_id for one in tried.credentials]


async def test_a_credential_names_its_holder_who_loses_all_of_them(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        alice, bob = nodes.all()
        first = bob.grant_id(group)
        await alice.renew(group, bob)
        await calm()
        done = await alice.service.revoke_credential(group, first[:16], ALONE)
        assert len(done.credentials) == 2
        await until(lambda: not bob.grant_id(group))
        call = alice.service.revoke_credential(group, first, ALONE)
        with pytest.raises(NotFound):
            await call


async def test_who_was_removed_comes_back_by_a_new_credential_but_a_banned_key_does_not(
    tmp_path, autojump_clock
):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        alice, bob = nodes.all()
        await alice.service.revoke_member(group, "bob", ALONE)
        assert await refusal(alice, alice.service.revoke_member(group, "bob", ALONE)) == "already-exists"
        (anew,) = await alice.service.issue(group, [schema.CredentialIssue(subject="bob", store=True)])
        assert (anew.credential.subject, anew.credential.roles) == (bob.peer_name, ["member"])
        await until(lambda: bob.grant_id(group), within_s=REDIAL_S)
        banned = await alice.service.revoke_member(
            group, "bob", authority_schema.Revocation(for_ever=True, data="drop")
        )
        assert banned.kind == "revoke_key"
        wish = schema.CredentialIssue(document=bob.identify(), role="member", store=True)
        assert await refusal(alice, alice.service.issue(group, [wish])) == "not-authorized"


async def test_equals_need_the_root_and_its_key_is_read_for_each_use(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        alice, bob = nodes.all()
        await alice.renew(group, bob, role="admin", as_root=True)
        await calm()
        assert await refusal(alice, alice.service.revoke_member(group, "bob", TRY)) == "not-authorized"
        assert await refusal(alice, alice.service.revoke_member(group, "bob", ALONE)) == "not-authorized"
        wish = authority_schema.Revocation(as_root=True)
        assert await refusal(bob, bob.service.revoke_member(group, "alice", wish)) == "no-key-access"
        (path,) = alice.home.root_keys.iterdir()
        pem = path.read_bytes()
        path.unlink()
        assert await refusal(alice, alice.service.revoke_member(group, "bob", wish)) == "no-key-access"
        path.touch(mode=0o600)
        path.write_bytes(pem)
        done = await alice.service.revoke_member(group, "bob", wish)
        assert done.members_lost == [bob.peer_name]


async def test_what_cannot_be_is_refused_under_its_name(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        alice, bob = nodes.all()
        revoke = alice.service.revoke_member
        long = authority_schema.Revocation(reason="x" * 256)
        assert await refusal(alice, revoke(group, "nobody", ALONE)) == "member-not-found"
        assert await refusal(alice, revoke(group, "alice", ALONE)) == "invalid-argument"
        assert await refusal(alice, revoke(group, "bob", long)) == "invalid-properties"
        assert await refusal(bob, bob.service.revoke_member(group, "alice", ALONE)) == "not-authorized"
        annul = authority_schema.Annulment()
        assert await refusal(alice, alice.service.annul_act(group, "", annul)) == "invalid-argument"
        assert await refusal(alice, alice.service.annul_act(group, "0" * 64, annul)) == "invalid-argument"
        (path,) = alice.home.identities.glob("*.pem")
        path.unlink()
        assert await refusal(alice, revoke(group, "bob", ALONE)) == "no-key-access"


async def test_an_act_is_taken_back_by_somebody_more_senior(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob", "carol")
        alice, bob, carol = nodes.all()
        await alice.renew(group, bob, role="admin")
        await until(lambda: agreed(group, nodes.all()))
        done = await bob.service.revoke_member(group, "carol", ALONE)
        assert done.act_id is not None
        await until(lambda: agreed(group, [alice, bob]))
        tried = await alice.service.annul_act(
            group, done.act_id[:16], authority_schema.Annulment(dry_run=True)
        )
        assert (tried.members_back, tried.void_removals) == ([carol.peer_name], [done.act_id])
        taken = await alice.service.annul_act(group, done.act_id, authority_schema.Annulment())
        assert (taken.kind, taken.members_back) == ("annul", [carol.peer_name])
        assert await names(alice, group) == ["alice", "bob", "carol"]
        assert "credential-restored" in alice.kinds()
        parts: list[bytes] = []

        async def send(part: bytes) -> None:
            parts.append(part)

        async def upload() -> bytes:
            return parts.pop(0) if parts else b""

        await (await alice.service.export_group(group))(send)
        await carol.service.import_group(group, upload)
        await carol.connect(group, alice)
        await until(lambda: carol.grant_id(group), within_s=REDIAL_S)
        await until(lambda: carol.links(group), within_s=REDIAL_S)


async def test_an_act_is_named_by_its_id_or_a_beginning_that_fits_no_other(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice")
        view = nodes["alice"].opened(group).machine.members.view  # type: ignore[union-attr]
        for act_id in view.act_ids():
            assert act_meant(view, act_id.hex()) == act_meant(view, act_id.hex()[:16].upper()) == act_id
        for _ in range(16):
            await nodes["alice"].issue(group, nodes["alice"].peer_name, as_root=True)
        firsts = [act_id.hex()[0] for act_id in view.act_ids()]
        shared = next(first for first in firsts if firsts.count(first) > 1)
        with pytest.raises(Conflict):
            act_meant(view, shared)


async def test_who_leaves_is_gone_everywhere_and_keeps_its_data(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob", "carol")
        alice, bob, carol = nodes.all()
        left = await bob.service.leave_group(group, authority_schema.GroupLeave(reason="moved"))
        assert (left.kind, left.members_lost) == ("resign", [bob.peer_name])
        await until(lambda: not bob.links(group) and len(alice.links(group)) == 1, within_s=1)
        for node in (alice, carol):
            assert await names(node, group) == ["alice", "carol"]
        shown = await bob.service.group(group)
        assert (shown.connected, shown.credential) == (False, None)
        again = bob.service.leave_group(group, authority_schema.GroupLeave())
        assert await refusal(bob, again) == "not-authorized"


async def test_nobody_leaves_unheard_but_the_last_one(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        alice, bob = nodes.all()
        await nodes.unplug(bob)
        await until(lambda: not bob.links(group) and not alice.links(group), within_s=REDIAL_S)
        call = bob.service.leave_group(group, authority_schema.GroupLeave())
        assert await refusal(bob, call) == "not-ready"
        await alice.service.revoke_member(group, "bob", ALONE)
        await alice.service.leave_group(group, authority_schema.GroupLeave())
        assert alice.credential(group) is None


async def test_a_demotion_takes_the_better_credential_away(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        alice, bob = nodes.all()
        await alice.renew(group, bob, role="admin")
        await until(lambda: agreed(group, nodes.all()))
        wish = schema.CredentialIssue(subject="bob", role="member", store=True)
        assert await refusal(alice, alice.service.issue(group, [wish])) == "needs-revocation"
        lesser = await alice.renew(group, bob, role="member", replace=True)
        await until(lambda: bob.grant_id(group) == lesser)
        assert [one.roles for one in (await bob.service.member(group, "bob")).credentials] == [["member"]]
        assert bob.links(group)


async def test_who_was_admitted_anew_and_misses_several_renewals_comes_back(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        alice, bob = nodes.all()
        lesser = await alice.renew(group, bob, role="member", valid_s=600, replace=True)
        await until(lambda: bob.grant_id(group) == lesser)
        await nodes.unplug(bob)
        await trio.sleep(1000)
        assert bob.credential(group) is None
        nodes.plug(bob)
        await until(lambda: bob.grant_id(group), within_s=300)


async def test_somebody_admitted_by_one_who_was_removed_unheard_is_adopted(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob", "dave")
        alice, bob, dave = nodes.all()
        await alice.renew(group, bob, role="admin")
        await until(lambda: agreed(group, [alice, bob, dave]))
        (carol,) = await nodes.start("carol")
        await nodes.unplug(alice)
        await bob.issue(group, carol)
        await carol.join(group, bob, dave)
        await until(lambda: carol.grant_id(group) and agreed(group, [bob, dave, carol]))
        await alice.service.revoke_member(group, "bob", ALONE)
        nodes.plug(alice)
        await until(lambda: carol.credential(group) is None, within_s=3 * REDIAL_S)
        (void,) = [
            act.act_id
            for act in (await alice.service.acts(group, schema.Page())).acts
            if act.kind == "grant" and act.subject == carol.peer_name
        ]
        (issued,) = await alice.service.issue(group, [schema.CredentialIssue(adopt=void[:12], store=True)])
        assert issued.credential.subject == carol.peer_name
        assert issued.credential.current
        nobody = alice.service.issue(group, [schema.CredentialIssue(adopt="beef", store=True)])
        assert await refusal(alice, nobody) == "credential-not-found"


async def test_after_a_theft_what_the_thief_signed_is_taken_back_and_the_innocent_adopted(
    tmp_path, autojump_clock
):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob", "carol")
        alice, bob, carol = nodes.all()
        await alice.renew(group, bob, role="admin")
        await until(lambda: agreed(group, nodes.all()) and bob.grant_id(group) != "")
        (dave,) = await nodes.start("dave")
        innocent = (await bob.issue(group, dave)).credential
        await bob.service.revoke_member(group, "carol", ALONE)
        await until(lambda: agreed(group, [alice, bob]))
        assert await names(alice, group) == ["alice", "bob", "dave"]
        since = authority_schema.Revocation(since=innocent.grant_id[:12], for_ever=True)
        tried = await alice.service.revoke_member(
            group, "bob", authority_schema.Revocation(since=since.since, for_ever=True, dry_run=True)
        )
        assert sorted(tried.members_lost) == sorted([bob.peer_name, dave.peer_name])
        assert len(tried.void_removals) == 1
        wrong = authority_schema.Revocation(since="00" * 32)
        assert await refusal(alice, alice.service.revoke_member(group, "bob", wrong)) == "invalid-argument"
        done = await alice.service.revoke_member(group, "bob", since)
        assert sorted(done.members_lost) == sorted([bob.peer_name, dave.peer_name])
        assert [one.grant_id for one in done.credentials if one.subject == dave.peer_name] == [
            innocent.grant_id
        ]
        assert await names(alice, group) == ["alice", "carol"]
        adopted = schema.CredentialIssue(adopt=innocent.grant_id, store=True)
        (issued,) = await alice.service.issue(group, [adopted])
        assert issued.credential.subject == dave.peer_name
        assert await names(alice, group) == ["alice", "carol", "dave"]
        await carol.connect(group, alice)
        await until(lambda: carol.grant_id(group), within_s=REDIAL_S)
