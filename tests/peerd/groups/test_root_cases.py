"""The root is replaced by whoever holds its recovery key, and by nobody else."""

from __future__ import annotations

import pytest
import trio

from peerd.control import authority_schema, root_schema, schema
from peerd.sealed_keys import Cost
from protocol.errors import RuleError
from tests.peerd.groups.root_people import circle, found_with_key, noted, refused, rotate
from tests.support.cluster import Node, agreed, calm, cluster, until

OPEN, WRONG = "open sesame", "open barley"
REDIAL_S = 90.0


def cheap(node: Node) -> None:
    """Let passphrases cost this node little."""
    node.registry.root_keys._cost = Cost(memory_kib=32, passes=1, lanes=1)


async def test_the_first_root_is_one_key_that_is_here(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        (alice,) = await nodes.start("alice")
        group, _ = await found_with_key(alice)
        root = await alice.service.root(group)
        assert (root.group, root.version, root.threshold, root.rivals) == (group, 1, 1, [])
        (key,) = root.keys
        assert (key.operating, key.held, key.sealed, key.locked) == (True, True, False, False)
        (first,) = root.history
        assert (first.version, first.act_id, first.operating) == (1, root.act_id, [key.key_id])


async def test_an_administrator_replaces_a_root_whose_machine_is_lost_and_issues_as_root(
    tmp_path, autojump_clock
):
    async with cluster(tmp_path, tls=False) as nodes:
        group, key = await circle(nodes, "carol")
        alice, bob, carol = nodes.all()
        await alice.stop()
        assert await refused(bob.renew(group, carol, as_root=True)) == "no-key-access"
        done, drawn = await rotate(bob, group, key)
        assert (done.version, done.threshold, done.members_lost) == (2, 1, [])
        assert not done.cosigned
        assert drawn.recovery_key != key
        await until(lambda: [root_version(node, group) for node in (bob, carol)] == [2, 2])
        root = await bob.service.root(group)
        assert [(one.operating, one.held) for one in root.keys] == [(True, True)]
        assert [one.version for one in root.history] == [1, 2]
        assert not (await carol.service.root(group)).keys[0].held
        assert carol.links(group)
        await bob.renew(group, carol, role="admin", as_root=True)
        await until(lambda: level(carol, group) == 1)


def root_version(node: Node, group: str) -> int:
    opened = node.opened(group)
    root = None if opened is None else opened.machine.members.view.root
    return 0 if root is None else root.version


def level(node: Node, group: str) -> int:
    grant = node.credential(group)
    return -1 if grant is None else grant.level


async def test_the_new_root_vouches_for_whom_the_old_one_admitted_itself(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group, key = await circle(nodes)
        alice, bob = nodes.all()
        first = alice.grant_id(group)
        done, _ = await rotate(bob, group, key)
        await until(lambda: alice.grant_id(group) != first, within_s=120)
        grant = alice.credential(group)
        assert grant is not None
        assert grant.cred.hex() == done.act_id
        assert (grant.level, grant.window.unlimited) == (1, True)
        after = alice.grant_id(group)
        await trio.sleep(200)
        assert alice.grant_id(group) == after


async def test_a_thief_of_the_root_key_is_thrown_out_with_all_whom_he_admitted(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group, key = await circle(nodes, "carol")
        alice, bob, carol = nodes.all()
        (file,) = alice.home.root_keys.iterdir()
        (stolen,) = (carol.home.root_keys / file.name,)
        stolen.touch(mode=0o600)
        stolen.write_bytes(file.read_bytes())
        (mallory,) = await nodes.start("mallory")
        issued = await carol.issue(group, mallory, role="admin", as_root=True)
        await mallory.join(group, carol)
        await until(lambda: agreed(group, nodes.all()), within_s=60)
        without = [issued.credential.grant_id[:16]]
        tried, _ = await rotate(bob, group, key, without=without, dry_run=True)
        assert (tried.act_id, tried.members_lost) == (None, [mallory.peer_name])
        done, drawn = await rotate(bob, group, key, without=without)
        assert done.members_lost == tried.members_lost
        assert [one.grant_id for one in done.credentials] == [issued.credential.grant_id]
        await until(lambda: not mallory.links(group) and mallory.credential(group) is None, within_s=REDIAL_S)
        await until(lambda: agreed(group, [alice, bob, carol]))
        assert await refused(carol.renew(group, mallory, as_root=True)) == "no-key-access"
        assert await refused(rotate(bob, group, key)) == "root-changed"
        again, _ = await rotate(bob, group, drawn.recovery_key)
        assert (again.version, again.cosigned) == (3, True)


async def test_only_the_right_recovery_keys_replace_the_root_and_a_refusal_leaves_no_key(
    tmp_path, autojump_clock
):
    async with cluster(tmp_path, tls=False) as nodes:
        group, key = await circle(nodes)
        alice, bob = nodes.all()
        other = alice.service.make_recovery_key().recovery_key
        before = bob.on_disk()
        assert await refused(rotate(bob, group, other)) == "not-authorized"
        assert await refused(rotate(bob, group, "ABCD")) == "invalid-argument"
        assert await refused(rotate(bob, group, key, threshold=2)) == "invalid-argument"
        assert await refused(rotate(bob, group, key, without=["beef"])) == "invalid-argument"
        assert await refused(rotate(bob, group, key, keys=["AAAA"])) == "draft-not-acceptable"
        assert await refused(rotate(bob, group, key, keys=["*"])) == "draft-not-acceptable"
        bare = root_schema.RootRotation(recovery_keys=[key])
        assert await refused(bob.service.rotate_root(group, bare)) == "invalid-argument"
        unsaid = root_schema.RootRotation(recovery_keys=[key], recovery_token="x")
        assert await refused(bob.service.rotate_root(group, unsaid)) == "invalid-argument"
        assert bob.on_disk() == before
        done, _ = await rotate(bob, group, key)
        assert done.version == 2


async def test_a_dry_run_needs_no_place_for_a_key_and_leaves_no_trace(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group, key = await circle(nodes)
        bob = nodes["bob"]
        before = bob.on_disk()
        tried = await bob.service.rotate_root(
            group, root_schema.RootRotation(recovery_keys=[key], dry_run=True)
        )
        await calm()
        assert (tried.version, tried.act_id, tried.credentials) == (2, None, [])
        assert bob.on_disk() == before


async def test_two_of_three_recovery_keys_replace_a_root_that_was_made_so(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group, key = await circle(nodes)
        alice, bob = nodes.all()
        draw = root_schema.RecoveryDraw(keys=3, threshold=2)
        _, drawn = await rotate(bob, group, key, draw=draw)
        texts = noted(drawn)
        assert await refused(rotate(bob, group, texts[0])) == "signature-missing"
        assert await refused(rotate(bob, group, texts[0], texts[0])) == "signature-missing"
        assert await refused(rotate(bob, group, *drawn.recovery_keys[:2])) == "invalid-argument"
        stranger = alice.service.make_recovery_key().recovery_key
        assert await refused(rotate(bob, group, texts[0], stranger)) == "not-authorized"
        assert (
            await refused(rotate(bob, group, f"# set: nonsense\n{drawn.recovery_key}")) == "invalid-argument"
        )
        done, _ = await rotate(bob, group, texts[2], drawn.recovery_keys[0])
        assert (done.version, done.cosigned) == (3, True)


async def test_more_keys_than_are_drawn_cannot_be_needed_and_a_new_group_takes_one(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        (alice,) = await nodes.start("alice")
        with pytest.raises(RuleError):
            alice.service.make_recovery_key(root_schema.RecoveryDraw(keys=2, threshold=3))
        drawn = alice.service.make_recovery_key(root_schema.RecoveryDraw(keys=2, threshold=2))
        wish = schema.GroupCreate(
            classifier="tea", recovery_token=drawn.recovery_token, recovery_delivered=True
        )
        assert await refused(alice.service.create_group(wish)) == "invalid-argument"


async def test_used_recovery_keys_outdo_a_rival_only_when_that_is_meant(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group, key = await circle(nodes)
        alice, bob = nodes.all()
        await rotate(bob, group, key)
        await until(lambda: root_version(alice, group) == 2)
        before = alice.on_disk()
        assert await refused(rotate(alice, group, key)) == "root-changed"
        assert alice.on_disk() == before
        done, _ = await rotate(alice, group, key, over_rival=True)
        assert (done.version, done.cosigned) == (2, True)
        await until(lambda: agreed(group, [alice, bob]))
        root = await bob.service.root(group)
        assert (root.act_id, len(root.rivals)) == (done.act_id, 1)


async def test_a_rotation_that_lost_to_another_is_told_of(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group, key = await circle(nodes, "carol")
        alice, bob, carol = nodes.all()
        await nodes.unplug(bob)
        await until(lambda: not bob.links(group), within_s=REDIAL_S)
        lost, _ = await rotate(bob, group, key)
        done, _ = await rotate(alice, group, key)
        assert done.cosigned
        nodes.plug(bob)
        await until(lambda: agreed(group, nodes.all()), within_s=3 * REDIAL_S)
        for node in (alice, bob, carol):
            root = await node.service.root(group)
            assert (root.version, root.act_id) == (2, done.act_id)
        (rival,) = (await bob.service.root(group)).rivals  # whoever has heard of it knows
        assert rival == lost.act_id
        (found,) = [one for one in (await bob.service.health()).findings if one.code == "root-rival"]
        assert rival[:16] in found.detail
        assert found.hint.startswith("peerd root show ")


# --- passphrases --------------------------------------------------------------------------------------------


async def test_a_locked_root_key_signs_only_with_its_passphrase(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group, _ = await circle(nodes)
        alice, bob = nodes.all()
        cheap(alice)
        protect = root_schema.RootProtection(new_passphrase=OPEN)
        (key,) = (await alice.service.protect_root(group, protect)).keys
        assert (key.sealed, key.locked, key.operating) == (True, True, True)
        revoke = authority_schema.Revocation(as_root=True)
        change = schema.PropertiesChange(comment="Fridays")
        assert await refused(alice.renew(group, bob, as_root=True)) == "passphrase-needed"
        assert await refused(alice.service.revoke_member(group, "bob", revoke)) == "passphrase-needed"
        assert await refused(alice.service.change_properties(group, change)) == "passphrase-needed"
        assert await refused(alice.renew(group, bob, as_root=True, passphrase=WRONG)) == "wrong-passphrase"
        await alice.renew(group, bob, as_root=True, passphrase=OPEN)
        change = schema.PropertiesChange(comment="Fridays", passphrase=OPEN)
        assert (await alice.service.change_properties(group, change)).comment == "Fridays"
        wrong = root_schema.RootUnlocking(passphrase=WRONG)
        assert await refused(alice.service.unlock_root(group, wrong)) == "wrong-passphrase"
        assert await refused(alice.renew(group, bob, as_root=True)) == "passphrase-needed"
        (key,) = (await alice.service.unlock_root(group, root_schema.RootUnlocking(passphrase=OPEN))).keys
        assert (key.sealed, key.locked) == (True, False)
        await alice.renew(group, bob, as_root=True)
        (key,) = (await alice.service.lock_root(group)).keys
        assert key.locked
        assert await refused(alice.renew(group, bob, as_root=True)) == "passphrase-needed"
        assert await refused(alice.service.protect_root(group, protect)) == "passphrase-needed"
        off = root_schema.RootProtection(passphrase=OPEN)
        assert not (await alice.service.protect_root(group, off)).keys[0].sealed
        await alice.renew(group, bob, as_root=True)
        assert await refused(bob.service.protect_root(group, protect)) == "no-key-access"
        unlock = root_schema.RootUnlocking(passphrase=OPEN)
        assert await refused(bob.service.unlock_root(group, unlock)) == "no-key-access"


async def test_the_new_key_of_a_rotation_can_be_locked_from_the_beginning(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group, key = await circle(nodes)
        bob = nodes["bob"]
        cheap(bob)
        done, drawn = await rotate(bob, group, key, new_passphrase=OPEN)
        assert not done.unprotected
        (kept,) = (await bob.service.root(group)).keys
        assert (kept.operating, kept.sealed, kept.locked) == (True, True, True)
        await bob.renew(group, nodes["alice"], as_root=True, passphrase=OPEN)
        again, _ = await rotate(bob, group, drawn.recovery_key)
        assert again.unprotected
        bare, *_ = (await bob.service.root(group)).keys
        assert (bare.operating, bare.sealed) == (True, False)
        await bob.service.protect_root(group, root_schema.RootProtection(new_passphrase=WRONG))
        assert [one.sealed for one in (await bob.service.root(group)).keys] == [True, True]


async def test_keys_of_a_group_that_is_not_open_here_are_found_by_its_name(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        (alice, bob) = await nodes.start("alice", "bob")
        group, _ = await found_with_key(alice)
        cheap(bob)
        (file,) = alice.home.root_keys.iterdir()
        copy = bob.home.root_keys / file.name
        copy.touch(mode=0o600)
        copy.write_bytes(file.read_bytes())
        protect = root_schema.RootProtection(new_passphrase=OPEN)
        kept = await bob.service.protect_root(group, protect)
        assert group.startswith(kept.gid[:40])
        assert [key.sealed for key in kept.keys] == [True]
        assert (await bob.service.lock_root(group[:8])).gid == kept.gid
        assert await refused(bob.service.lock_root(group[:2])) == "group-not-found"
        assert await refused(bob.service.lock_root("family")) == "group-not-found"
        assert await refused(bob.service.root(group)) == "group-not-found"
