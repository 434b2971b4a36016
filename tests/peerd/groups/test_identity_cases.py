"""Identities as a user meets them: named in any way, in use or not, with or without their keys."""

from __future__ import annotations

import base64

import pytest

from peerd.control import schema
from peerd.errors import Conflict
from peerd.groups.service import Service
from protocol.credentials.documents import read_identity_document
from protocol.errors import RuleError
from tests.support.cluster import Node, cluster


@pytest.fixture
async def node(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        (alice,) = await nodes.start("alice")
        yield alice


@pytest.fixture
def service(node):
    return node.service


async def made(service: Service, classifier: str = "alice", friendly_name: str = "") -> schema.Identity:
    return await service.create_identity(
        schema.IdentityCreate(classifier=classifier, friendly_name=friendly_name)
    )


def listed(service: Service) -> list[str]:
    return [identity.peer_name for identity in service.identities().identities]


async def test_a_new_identity_is_listed_and_found_by_every_form_of_its_name(service, autojump_clock):
    alice, bob = await made(service, "alice", "Alice"), await made(service, "bob")
    assert sorted(listed(service)) == sorted([alice.peer_name, bob.peer_name])
    for name in (alice.peer_name, "alice", alice.peer_name[:8], alice.peer_name[:-1]):
        assert service.identity(name) == alice
        assert service.identity_document(name).peer_name == alice.peer_name
    assert (alice.friendly_name, alice.groups, alice.deleted) == ("Alice", [], False)
    assert bob.friendly_name == bob.peer_name


async def test_an_identity_shows_its_raw_key_and_when_it_was_made(node, service, autojump_clock):
    alice = await made(service)
    held = node.identities.find(alice.peer_name).key
    assert base64.urlsafe_b64decode(alice.public_key + "=") == held.raw
    assert alice.created == schema.time_at_ms(node.clock.moment().utc_ms)


async def test_the_document_holds_the_identity_and_nothing_secret(node, service, autojump_clock):
    alice = await made(service)
    document = service.identity_document("alice").document
    certificate = read_identity_document(document)
    assert (certificate.peer_name, certificate.key.authority) == (
        alice.peer_name,
        alice.peer_name.partition(".")[0],
    )
    seed = node.identities.private_key("alice").seed
    assert seed.hex() not in document
    assert base64.b64encode(seed).decode() not in document


@pytest.mark.parametrize("call", ["identity", "identity_document"])
async def test_a_name_that_fits_nothing_or_too_much_is_refused(service, call, autojump_clock):
    with pytest.raises(RuleError) as unknown:
        getattr(service, call)("alice")
    assert (unknown.value.code, bool(unknown.value.hint)) == ("identity-not-found", True)
    await made(service)
    await made(service)
    with pytest.raises(Conflict) as ambiguous:
        getattr(service, call)("alice")
    assert ambiguous.value.code == "ambiguous-name"
    assert all(name in ambiguous.value.detail for name in listed(service))


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        ({"classifier": "a" * 150}, "classifier-too-long"),
        ({"classifier": "a\nb"}, "invalid-classifier"),
        ({"friendly_name": "a\u202eb"}, "invalid-friendly-name"),
        ({"friendly_name": "a" * 256}, "invalid-friendly-name"),
    ],
    ids=["long", "control", "bidi", "long-friendly"],
)
async def test_a_bad_name_makes_nothing(node, service, wish, code, autojump_clock):
    before = node.on_disk()
    with pytest.raises(RuleError) as refused:
        await service.create_identity(schema.IdentityCreate(**wish))
    assert refused.value.code == code
    assert (listed(service), node.on_disk()) == ([], before)


async def test_a_friendly_name_changes_and_goes_back_to_the_peer_name(service, autojump_clock):
    alice = await made(service, "alice", "Alice")
    renamed = await service.change_identity("alice", schema.IdentityChange(friendly_name="Al"))
    assert (renamed.friendly_name, renamed.peer_name) == ("Al", alice.peer_name)
    assert service.identity("alice") == renamed
    with pytest.raises(RuleError):
        await service.change_identity("alice", schema.IdentityChange(friendly_name="\x00"))
    assert service.identity("alice") == renamed
    cleared = await service.change_identity("alice", schema.IdentityChange(friendly_name=""))
    assert cleared.friendly_name == alice.peer_name


# --- deleting ---------------------------------------------------------------------------------------------


async def test_a_deleted_identity_is_gone_for_good_and_said_to_be(node, service, autojump_clock):
    alice = await made(service)
    deleted = await service.delete_identity("alice")
    assert (deleted.peer_name, deleted.deleted) == (alice.peer_name, True)
    assert listed(service) == []
    assert not list(node.home.identities.glob("*.pem"))
    for call in (service.identity, service.identity_document):
        with pytest.raises(RuleError) as refused:
            call(alice.peer_name)
        assert (refused.value.code, bool(refused.value.hint)) == ("identity-deleted", True)


async def refused_use(node: Node, identity: str) -> list[str]:
    """The slugs under which an identity cannot be used for a new group, or to join one."""
    recovery = node.service.make_recovery_key()
    create = schema.GroupCreate(
        classifier="family",
        identity=identity,
        recovery_token=recovery.recovery_token,
        recovery_delivered=True,
    )
    join = schema.GroupJoin(group=f"{'ab' * 20}.x", identity=identity, addresses=["10.0.0.9:1"])
    before, codes = node.on_disk(), []
    with pytest.raises(RuleError) as refused:
        await node.service.create_group(create)
    codes.append(refused.value.code)
    with pytest.raises(RuleError) as refused:
        await node.service.join_group(join)
    codes.append(refused.value.code)
    assert node.on_disk() == before
    assert (await node.service.groups()).groups == []
    return codes


async def test_a_deleted_identity_cannot_be_used(node, service, autojump_clock):
    await made(service)
    await service.delete_identity("alice")
    assert await refused_use(node, "alice") == ["identity-deleted"] * 2


async def test_an_identity_whose_key_file_is_gone_is_shown_and_cannot_be_used(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        (alice,) = await nodes.start("alice")
        shown = await made(alice.service)
        await alice.stop()
        (key_file,) = alice.home.identities.glob("*.pem")
        kept = key_file.read_bytes()
        key_file.unlink()
        await nodes.start("alice")
        assert alice.service.identities().identities == [shown]
        with pytest.raises(RuleError) as refused:
            alice.service.identity_document("alice")
        assert (refused.value.code, bool(refused.value.hint)) == ("no-key-access", True)
        assert await refused_use(alice, "alice") == ["no-key-access"] * 2
        key_file.write_bytes(kept)
        key_file.chmod(0o600)
        assert alice.service.identity_document("alice").peer_name == shown.peer_name


async def test_an_identity_in_use_cannot_be_deleted_until_its_groups_are(node, service, autojump_clock):
    group = await node.found("family")
    waited_for = f"{'ab' * 20}.pizza"
    await service.join_group(schema.GroupJoin(group=waited_for, addresses=["10.0.0.9:1"]))
    assert sorted(service.identity("alice").groups) == sorted([group, waited_for])
    for used in (group, waited_for):
        with pytest.raises(Conflict) as refused:
            await service.delete_identity("alice")
        assert refused.value.code == "identity-in-use"
        assert used in refused.value.detail
        assert refused.value.hint.startswith("peerd group delete ")
        await service.delete_group(used)
    assert (await service.delete_identity("alice")).deleted
    assert not list(node.home.identities.glob("*.pem"))


async def test_what_was_done_to_identities_is_there_after_a_restart(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        (alice,) = await nodes.start("alice")
        kept = await made(alice.service, "kept", "Kept")
        await made(alice.service, "gone")
        await alice.service.delete_identity("gone")
        await alice.stop()
        await nodes.start("alice")
        assert alice.service.identities().identities == [kept]
        with pytest.raises(RuleError) as refused:
            alice.service.identity("gone")
        assert refused.value.code == "identity-deleted"
