"""Reasons as a user reads them: up to the root, with who, when, and which rule."""

from __future__ import annotations

import pytest
import trio

from peerd.control import authority_schema, record_schema, schema
from peerd.errors import NotFound
from protocol.errors import RuleError
from tests.support.builders import DAY
from tests.support.cluster import Node, agreed, cluster, grow, until


async def test_why_a_member_is_one_leads_up_to_the_root(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        alice, bob = nodes.all()
        await alice.renew(group, bob, role="admin")
        (carol,) = await nodes.start("carol")
        await until(lambda: bob.grant_id(group) != "" and agreed(group, [alice, bob]))
        issued = (await bob.issue(group, carol)).credential
        told = await bob.service.why_member(group, "carol")
        assert (told.member, told.subject, told.group) == (True, carol.peer_name, group)
        (grant,) = told.grants
        assert (grant.verdict, grant.rule, grant.acts) == ("current", None, [])
        assert grant.credential == issued
        path = [(one.subject, one.issuer) for one in grant.path]
        names = [group, alice.peer_name, bob.peer_name, carol.peer_name]
        assert path == [(names[place + 1], names[place]) for place in range(3)]


async def test_why_not_names_the_act_that_hit_and_the_rule(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        alice, bob = nodes.all()
        wish = authority_schema.Revocation(reason="left the circle")
        done = await alice.service.revoke_member(group, "bob", wish)
        told = await alice.service.why_member(group, "bob")
        assert told.member is False
        (grant,) = told.grants
        assert grant.verdict == "revoked"
        (hit,) = grant.acts
        assert (hit.act_id, hit.kind, hit.reason) == (done.act_id, "revoke_credential", "left the circle")
        assert (hit.peer_name, hit.subject) == (alice.peer_name, bob.peer_name)
        with pytest.raises(NotFound):
            await alice.service.why_member(group, "nobody")


async def audited(node: Node, group: str, limit: int = 2) -> list[authority_schema.AuditedAct]:
    found: list[authority_schema.AuditedAct] = []
    cursor = None
    while True:
        page = await node.service.audit(group, schema.Page(limit=limit, cursor=cursor))
        found, cursor = found + page.acts, page.next
        if cursor is None:
            return found


async def test_an_audit_has_every_act_with_what_became_of_it(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        alice, bob = nodes.all()
        await alice.renew(group, bob, role="admin")
        await until(lambda: agreed(group, [alice, bob]))
        (carol,) = await nodes.start("carol")
        await bob.issue(group, carol)
        removal = await bob.service.revoke_member(group, "carol", authority_schema.Revocation())
        await until(lambda: agreed(group, [alice, bob]))
        assert removal.act_id is not None
        annul = await alice.service.annul_act(group, removal.act_id, authority_schema.Annulment())
        acts = {one.act_id: one for one in await audited(alice, group)}
        plain = (await alice.service.acts(group, schema.Page())).acts
        assert list(acts) == [one.act_id for one in plain]
        fallen = acts[removal.act_id]
        assert (fallen.effective, fallen.rule, fallen.because) == (False, "annulled", [annul.act_id])
        assert (fallen.findings, fallen.subject) == (["fallen"], carol.peer_name)
        assert all(one.effective and not one.findings for one in acts.values() if one is not fallen)
        await alice.service.revoke_member(group, "bob", authority_schema.Revocation())
        hit = [one for one in await audited(alice, group) if one.hit_by]
        assert {one.subject for one in hit} == {bob.peer_name}


async def test_an_act_that_comes_with_an_old_date_is_pointed_out(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        alice, bob = nodes.all()
        await alice.renew(group, bob, role="admin")
        await until(lambda: agreed(group, [alice, bob]))
        await nodes.unplug(bob)
        (carol, dave) = await nodes.start("carol", "dave")
        late = (await bob.issue(group, carol)).credential.grant_id
        await trio.sleep(DAY / 24)
        await alice.issue(group, dave)
        nodes.plug(bob)
        await until(lambda: agreed(group, [alice, bob]), within_s=600)
        odd = [one for one in await audited(alice, group) if one.findings]
        assert [(one.act_id, one.findings) for one in odd] == [(late, ["back-dated"])]
        assert all(not one.findings for one in await audited(bob, group))


async def test_why_a_record_counts_or_does_not(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        alice, bob = nodes.all()
        added = await bob.service.add_record(group, record_schema.RecordAdd(record_type="note"))
        await until(lambda: "record-added" in alice.kinds())
        told = await alice.service.why_record(group, added.record_id)
        assert (told.creator, told.record_id) == (bob.peer_name, added.record_id)
        (version,) = told.versions
        assert (version.kept, version.rules, version.modified_by) == (True, [], bob.peer_name)
        assert version.grant is not None
        assert version.grant.verdict == "current"
        done = await alice.service.revoke_member(group, "bob", authority_schema.Revocation(data="drop"))
        (version,) = (await alice.service.why_record(group, added.record_id)).versions
        assert (version.kept, version.rules) == (False, [f"drop {done.act_id}"])
        assert version.grant is not None
        assert version.grant.verdict == "revoked"
        with pytest.raises(RuleError) as unknown:
            await alice.service.why_record(group, "0" * 32)
        assert unknown.value.code == "record-not-found"
