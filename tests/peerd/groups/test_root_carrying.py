"""What the root signs is prepared in one place and signed in others, one of them off every network."""

from __future__ import annotations

import re
from typing import Any

from peerd.control import authority_schema, root_schema, schema
from tests.peerd.groups.root_people import circle, found_with_key, refused, rotate
from tests.peerd.groups.test_root_cases import OPEN, WRONG, cheap, level, root_version
from tests.support.cluster import Cluster, Node, agreed, cluster, until


async def prepared(node: Node, group: str, **wish: Any) -> root_schema.RootFile:
    return await node.service.prepare_root_act(group, root_schema.RootPreparation(**wish))


async def signed(node: Node, one: root_schema.RootFile, **wish: Any) -> root_schema.RootFile:
    return await node.service.sign_root_file(root_schema.RootSigning(file=one.file, **wish))


async def imported(node: Node, group: str, one: root_schema.RootFile) -> root_schema.RootImported:
    return await node.service.import_root_act(group, root_schema.RootImport(file=one.file))


async def two_of_three(nodes: Cluster) -> tuple[str, str]:
    """The keys of the root are with alice, bob, and vault, which knows nothing of the group; two sign."""
    group, key = await circle(nodes, "carol")
    (vault,) = await nodes.start("vault")
    bob = nodes["bob"]
    wanted = await prepared(bob, group, key=True)
    made = [await signed(node, wanted) for node in (nodes["alice"], bob, vault)]
    done, drawn = await rotate(bob, group, key, keys=[one.file for one in made], threshold=2)
    assert (done.version, done.threshold) == (2, 2)
    await until(lambda: all(root_version(nodes[name], group) == 2 for name in ("alice", "bob", "carol")))
    return group, drawn.recovery_key


async def holders(nodes: Cluster, group: str) -> list[Node]:
    """Who holds the keys, in the order in which they sign."""
    keys: dict[str, Node] = {}
    gid = (await nodes["bob"].service.root(group)).gid
    for name in ("alice", "bob", "vault"):
        for one in nodes[name].registry.root_keys.held(bytes.fromhex(gid)):
            keys[one.public.pid.hex()] = nodes[name]
    root = await nodes["bob"].service.root(group)
    operating = sorted(one.key_id for one in root.keys if one.operating)
    return [keys[key_id] for key_id in operating]


async def test_a_root_of_three_keys_admits_by_two_of_them_and_goes_back_to_one(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group, key = await two_of_three(nodes)
        bob, carol = nodes["bob"], nodes["carol"]
        root = await bob.service.root(group)
        assert [one.held for one in root.keys if one.operating].count(True) == 1
        assert await refused(bob.renew(group, carol, as_root=True)) == "no-key-access"
        first, second, third = await holders(nodes, group)
        wish = schema.CredentialIssue(subject="carol", role="admin", store=True)
        signers = sorted(one.key_id for one in root.keys if one.operating)
        draft = await prepared(bob, group, grant=wish, signers=[signers[0][:12], signers[2][:12]])
        assert (draft.what, draft.group, draft.missing) == ("root-act", group, [signers[0], signers[2]])
        assert draft.contents["wants"]["roles"] == ["admin"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", draft.contents["wants"]["not_before"])
        assert await refused(imported(bob, group, draft)) == "signature-missing"
        assert await refused(signed(third, draft)) == "signature-missing"
        assert await refused(signed(second, draft)) == "no-key-access"
        assert await refused(signed(carol, draft)) == "no-key-access"
        half = await signed(first, draft)
        assert (half.missing, half.signed_now) == ([signers[2]], [signers[0]])
        assert await refused(imported(bob, group, half)) == "signature-missing"
        whole = await signed(third, half)
        assert whole.missing == []
        assert await refused(signed(first, whole)) == "invalid-argument"
        done = await imported(carol, group, whole)
        assert (done.fresh, done.version) == (True, None)
        assert [(one.subject, one.level) for one in done.credentials] == [(carol.peer_name, 1)]
        await until(lambda: level(carol, group) == 1)
        assert not (await imported(carol, group, whole)).fresh
        back, _ = await rotate(bob, group, key)
        assert (back.version, back.threshold, back.members_lost) == (3, 1, [])
        await bob.renew(group, carol, as_root=True)


async def test_every_kind_of_act_can_be_carried(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group, _ = await circle(nodes, "carol", "dave")
        alice, bob, carol, _ = nodes.all()

        async def carried(**wish: Any) -> root_schema.RootImported:
            return await imported(bob, group, await signed(alice, await prepared(bob, group, **wish)))

        await carried(properties=schema.PropertiesChange(comment="Every Friday", renew_auto=False))
        said = await bob.service.properties(group)
        assert (said.comment, said.renew_auto) == ("Every Friday", False)
        removal = await carried(revoke=root_schema.RootRevocation(member="carol", reason="left"))
        assert [one.live for one in removal.credentials] == [False]
        await until(lambda: carol.credential(group) is None)
        ban = await carried(revoke=root_schema.RootRevocation(member="dave", for_ever=True, data="drop"))
        await until(lambda: agreed(group, [alice, bob]))
        acts = {act.act_id: act.kind for act in (await bob.service.acts(group, schema.Page())).acts}
        assert [acts[one] for one in (*removal.act_ids, *ban.act_ids)] == ["revoke_credential", "revoke_key"]
        dropped = next(act for act, kind in acts.items() if kind == "revoke_credential")
        assert await refused(prepared(bob, group, annul=dropped)) == "not-authorized"


async def test_a_mistake_of_an_administrator_is_annulled_by_a_carried_act(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group, _ = await circle(nodes, "carol")
        alice, bob, carol = nodes.all()
        done = await bob.service.revoke_member(group, "carol", authority_schema.Revocation())
        assert done.act_id is not None
        draft = await prepared(bob, group, annul=done.act_id[:16])
        back = await imported(bob, group, await signed(alice, draft))
        assert [one.subject for one in back.credentials] == [carol.peer_name]
        assert (await bob.service.member(group, "carol")).member.state == "member"


async def test_a_rotation_is_signed_where_the_recovery_key_is_kept(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group, key = await circle(nodes)
        alice, bob = nodes.all()
        (vault,) = await nodes.start("vault")
        _, drawn = await rotate(alice, group, key)
        await until(lambda: root_version(bob, group) == 2)
        made = await signed(vault, await prepared(bob, group, key=True))
        following = bob.service.make_recovery_key()
        replacement = root_schema.RootReplacement(
            recovery_set=f"# set: {drawn.recovery_set}",
            recovery_token=following.recovery_token,
            recovery_delivered=True,
            keys=[made.file],
        )
        draft = await prepared(bob, group, rotate=replacement)
        assert draft.contents["kind"] == "rotate_root"
        stranger = bob.service.make_recovery_key().recovery_key
        assert await refused(signed(vault, draft, recovery_keys=[stranger])) == "no-key-access"
        whole = await signed(vault, draft, recovery_keys=[drawn.recovery_key])
        assert (await imported(bob, group, whole)).version == 3
        root = await bob.service.root(group)
        assert [one.held for one in root.keys if one.operating] == [False]
        assert await refused(imported(bob, group, await prepared(bob, group, key=True))) == (
            "draft-not-acceptable"
        )


async def test_a_key_is_made_where_it_is_asked_for_and_can_be_locked(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group, key = await circle(nodes)
        bob = nodes["bob"]
        (vault,) = await nodes.start("vault")
        cheap(vault)
        wanted = await prepared(bob, group, key=True)
        tried = await signed(vault, wanted, dry_run=True)
        assert (tried.what, tried.file) == ("key-wanted", wanted.file)
        assert not list(vault.home.root_keys.iterdir())
        made = await signed(vault, wanted, new_passphrase=OPEN)
        assert made.what == "root-key"
        assert made.signed_now == [made.contents["key_id"]]
        assert (await signed(vault, made, dry_run=True)).contents == made.contents
        assert await refused(signed(vault, made)) == "invalid-argument"
        await rotate(bob, group, key, keys=[made.file])
        wish = schema.PropertiesChange(comment="x")
        draft = await prepared(bob, group, properties=wish)
        assert await refused(signed(vault, draft)) == "passphrase-needed"
        assert await refused(signed(vault, draft, passphrase=WRONG)) == "wrong-passphrase"
        assert (await signed(vault, draft, dry_run=True)).missing == draft.missing
        assert (await signed(vault, draft, passphrase=OPEN)).missing == []
        await vault.service.unlock_root(group, root_schema.RootUnlocking(passphrase=OPEN))
        assert (await signed(vault, draft)).missing == []


async def test_what_cannot_be_prepared_signed_or_imported_is_refused_under_its_name(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group, key = await circle(nodes)
        alice, bob = nodes.all()
        other, _ = await found_with_key(alice, "tea")
        wish = schema.PropertiesChange(comment="x")
        assert await refused(prepared(bob, group)) == "invalid-argument"
        assert await refused(prepared(bob, group, key=True, annul="7c")) == "invalid-argument"
        assert await refused(prepared(bob, group, properties=schema.PropertiesChange())) == "invalid-argument"
        assert await refused(prepared(bob, group, properties=wish, signers=["beef"])) == "invalid-argument"
        assert await refused(prepared(bob, group, properties=wish, signers=[""])) == "invalid-argument"
        nobody = root_schema.RootRevocation(member="nobody")
        assert await refused(prepared(bob, group, revoke=nobody)) == "member-not-found"
        assert await refused(prepared(bob, group, annul="beef")) == "invalid-argument"
        draft = await prepared(bob, group, properties=wish)
        spoiled = draft.file[:-8] + ("AAAAAAAA" if draft.file[-8:] != "AAAAAAAA" else "BBBBBBBB")
        for text in ("", "AAAA", "*", spoiled):
            broken = root_schema.RootSigning(file=text)
            assert await refused(alice.service.sign_root_file(broken)) == "draft-not-acceptable"
            assert await refused(bob.service.import_root_act(group, root_schema.RootImport(file=text))) == (
                "draft-not-acceptable"
            )
        whole = await signed(alice, draft)
        assert await refused(imported(alice, other, whole)) == "wrong-group"
        made = await signed(alice, await prepared(alice, other, key=True))
        assert await refused(rotate(bob, group, key, keys=[made.file])) == "wrong-group"
        await rotate(bob, group, key)
        assert await refused(imported(bob, group, whole)) in ("root-changed", "no-effect")
