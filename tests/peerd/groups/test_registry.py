"""Which groups there are and run: what survives what, and what two wishes at once come to."""

from __future__ import annotations

import pytest
import trio

from peerd.control import schema
from peerd.errors import ConfigError, Conflict, NotFound, NotReady, StoreError, StoreFull
from peerd.groups.registry import DISK_FULL_PAUSE_S
from peerd.key_files import write_key
from protocol.errors import RuleError
from protocol.limits import KNOWN_ADDRESSES_MAX
from tests.support.cluster import Node, calm, cluster, grow, until
from tests.support.keys import named

REDIAL_S = 100


def files(node: Node) -> list[str]:
    """What stands in the directories of groups and root keys."""
    home = node.home
    return sorted(path.name for directory in (home.groups, home.root_keys) for path in directory.iterdir())


# --- names --------------------------------------------------------------------------------------------------


async def test_a_group_is_found_by_name_by_beginning_and_by_classifier(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        (alice,) = await nodes.start("alice")
        family, club = await alice.found("family"), await alice.found("club")
        for text in (family, family[:12], "family"):
            assert alice.registry.find(text).group_name == family
            assert alice.service.group_name(text) == family
        assert [entry.group_name for entry in alice.registry.entries()] == sorted((family, club))
        with pytest.raises(NotFound) as missing:
            alice.registry.find("nothing")
        assert missing.value.code == "group-not-found"


async def test_a_name_that_fits_two_groups_is_refused(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        (alice,) = await nodes.start("alice")
        first, second = await alice.found("family"), await alice.found("family")
        with pytest.raises(Conflict) as refused:
            alice.registry.find("family")
        assert refused.value.code == "ambiguous-name"
        assert alice.registry.find(first).group_name == first != second


async def test_a_group_that_is_joining_is_known_but_not_ready(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice")
        (bob,) = await nodes.start("bob")
        await bob.join(group, nodes["alice"])
        with pytest.raises(NotReady) as refused:
            bob.registry.ready("family")
        assert "no credential of ours" in refused.value.detail
        assert refused.value.hint


# --- starting -----------------------------------------------------------------------------------------------


async def test_everything_is_there_after_a_restart(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        (alice,) = await nodes.start("alice")
        family, club = await alice.found("family"), await alice.found("club")
        before = await alice.service.groups()
        await alice.stop()
        await nodes.start("alice")
        assert await alice.service.groups() == before
        await alice.service.change_properties(family, schema.PropertiesChange(comment="ours"))
        assert (await alice.service.properties(family)).comment == "ours"
        assert (await alice.service.properties(club)).comment == ""


async def test_without_its_identitys_key_no_group_is_opened(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice")
        alice = nodes["alice"]
        await alice.stop()
        (key,) = alice.home.identities.glob("*.pem")
        key.unlink()
        with pytest.RaisesGroup(ConfigError, flatten_subgroups=True, allow_unwrapped=True) as refused:
            await alice.serve()
        (error,) = _leaves(refused.value)
        assert group in str(error)
        write_key(key, named("alice"))
        await nodes.start("alice")
        assert alice.grant_id(group)


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for one in error.exceptions for leaf in _leaves(one)]
    return [error]


# --- founding -----------------------------------------------------------------------------------------------


async def test_a_group_that_could_not_be_founded_leaves_nothing(tmp_path, autojump_clock, monkeypatch):
    async with cluster(tmp_path, tls=False) as nodes:
        (alice,) = await nodes.start("alice")

        def fail(*_: object, **__: object) -> None:
            raise StoreFull("no space")

        monkeypatch.setattr("peerd.groups.registry.found_store", fail)
        with pytest.raises(StoreFull):
            await alice.found()
        monkeypatch.undo()
        assert files(alice) == []
        assert alice.registry.entries() == []
        group = await alice.found()
        gid = alice.registry.find(group).gid
        assert gid is not None
        assert f"{gid.hex()}.db" in files(alice)
        assert [name.startswith(f"{gid.hex()}-") for name in files(alice) if name.endswith(".pem")] == [True]


# --- joining ------------------------------------------------------------------------------------------------


async def test_a_group_is_open_under_one_identity_at_a_time(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        bob = nodes["bob"]
        other = await bob.service.create_identity(schema.IdentityCreate(classifier="other"))
        for wish in (
            schema.GroupJoin(group=group, identity=other.peer_name, addresses=["192.0.2.1:1"]),
            schema.GroupJoin(
                invitation=(
                    await nodes["alice"].issue(
                        group,
                        other.peer_name,
                        document=bob.service.identity_document(other.peer_name).document,
                        invitation=True,
                    )
                ).invitation
            ),
        ):
            with pytest.raises(Conflict) as refused:
                await bob.service.join_group(wish)
            assert bob.peer_name in refused.value.detail


async def test_two_who_accept_the_same_invitation_at_once_open_one_group(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice")
        (bob,) = await nodes.start("bob")
        invitation = (await nodes["alice"].issue(group, bob, invitation=True)).invitation
        assert invitation is not None
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(bob.accept, invitation)
        assert len(bob.registry.entries()) == 1
        assert len(files(bob)) <= 3  # one database and its log
        await until(lambda: bob.links(group))
        await bob.stop()
        await nodes.start("bob")
        assert bob.grant_id(group)


async def test_an_invitation_ends_the_asking(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice")
        alice = nodes["alice"]
        (bob,) = await nodes.start("bob")
        await bob.join(group, alice)
        await trio.sleep(REDIAL_S)
        invitation = (await alice.issue(group, bob, invitation=True)).invitation
        assert invitation is not None
        await bob.accept(invitation)
        assert bob.registry.joining() == []
        await until(lambda: bob.links(group))
        calls = nodes.network.calls[bob.host, alice.host]
        await trio.sleep(10 * REDIAL_S)
        assert nodes.network.calls[bob.host, alice.host] == calls


async def test_joining_again_adds_addresses_and_nothing_else(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice")
        (bob,) = await nodes.start("bob")
        bob.identify()

        async def join(*addresses: str, only: bool = False) -> schema.Group:
            wish = schema.GroupJoin(group=group, addresses=list(addresses), only=only)
            return await bob.service.join_group(wish)

        with pytest.raises(RuleError):
            await join()
        assert (await join("192.0.2.1:1")).addresses == ["192.0.2.1:1"]
        assert (await join()).addresses == ["192.0.2.1:1"]
        assert (await join("192.0.2.2:1", "192.0.2.1:1")).addresses == ["192.0.2.1:1", "192.0.2.2:1"]
        shown = await join("192.0.2.3:1", only=True)
        assert (shown.addresses, shown.only) == (["192.0.2.3:1"], True)
        for number in range(KNOWN_ADDRESSES_MAX + 5):
            shown = await join(f"192.0.2.{number}:2")
        assert len(shown.addresses) == KNOWN_ADDRESSES_MAX
        assert shown.addresses[-1] == f"192.0.2.{KNOWN_ADDRESSES_MAX + 4}:2"
        await bob.stop()
        await nodes.start("bob")
        assert (await bob.service.group(group)).addresses == shown.addresses


async def test_repeating_a_join_does_not_begin_to_ask_anew(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice")
        (bob,) = await nodes.start("bob")
        for _ in range(10):
            await bob.join(group, nodes["alice"])
            await calm()
        assert nodes.network.calls[bob.host, nodes["alice"].host] == 1


async def test_a_wrong_classifier_in_the_name_is_put_right_by_the_groups_own(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice")
        (bob,) = await nodes.start("bob")
        await nodes["alice"].issue(group, bob)
        await bob.join(f"{group.partition('.')[0]}.friends", nodes["alice"])
        await until(lambda: bob.grant_id(group))
        assert [entry.group_name for entry in bob.registry.entries()] == [group]


async def test_joining_waits_for_room_on_the_disk(tmp_path, autojump_clock, monkeypatch):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice")
        (bob,) = await nodes.start("bob")
        await nodes["alice"].issue(group, bob)

        def fail(*_: object, **__: object) -> None:
            raise StoreFull("no space")

        monkeypatch.setattr("peerd.groups.registry.joined_store", fail)
        await bob.join(group, nodes["alice"])
        await trio.sleep(3 * DISK_FULL_PAUSE_S)
        assert bob.opened(group) is None
        assert bob.runs
        monkeypatch.undo()
        await until(lambda: bob.grant_id(group), within_s=REDIAL_S)


# --- leaving ------------------------------------------------------------------------------------------------


async def test_a_deleted_group_leaves_nothing_and_can_be_joined_again(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        bob = nodes["bob"]
        node_id = bob.registry.ready(group).machine.node_id
        await bob.service.delete_group(group)
        assert files(bob) == []
        assert bob.registry.entries() == []
        with pytest.raises(NotFound):
            await bob.service.delete_group(group)
        await bob.join(group, nodes["alice"])
        await until(lambda: bob.grant_id(group))
        assert bob.registry.ready(group).machine.node_id != node_id


async def test_deleting_a_group_that_is_joining_ends_the_asking(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice")
        (bob,) = await nodes.start("bob")
        await bob.join(group, nodes["alice"])
        await calm()
        await bob.service.delete_group(group)
        calls = nodes.network.calls[bob.host, nodes["alice"].host]
        await trio.sleep(10 * REDIAL_S)
        assert nodes.network.calls[bob.host, nodes["alice"].host] == calls
        assert (await bob.service.groups()).groups == []


async def test_a_deleted_group_takes_its_root_key_along(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice")
        await nodes["alice"].service.delete_group(group)
        assert files(nodes["alice"]) == []


# --- disks --------------------------------------------------------------------------------------------------


async def test_a_full_disk_refuses_writes_for_a_while_and_is_got_over_without_a_restart(
    tmp_path, autojump_clock, monkeypatch
):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob", "carol")
        alice, bob = nodes["alice"], nodes["bob"]
        other = await alice.found("club")
        before = bob.on_disk()
        store = bob.registry.ready(group).store

        def fail() -> None:
            raise StoreFull("no space is left", hint="make room")

        monkeypatch.setattr(store, "commit", fail)
        with pytest.raises(StoreFull):
            await bob.service.connect_group(group, schema.GroupConnect(addresses=["192.0.2.1:1"]))
        monkeypatch.undo()
        await calm()
        assert bob.on_disk() == before
        with pytest.raises(StoreFull, match="no space is left"):
            await bob.service.connect_group(group, schema.GroupConnect())
        shown = await bob.service.group(group)
        assert shown.credential is not None
        assert shown.neighbors == []
        assert bob.events()
        issued = await alice.renew(group, bob)
        await trio.sleep(DISK_FULL_PAUSE_S)
        await until(lambda: bob.grant_id(group) == issued, within_s=REDIAL_S)
        assert alice.grant_id(other)


async def test_a_group_can_be_deleted_while_its_disk_is_full(tmp_path, autojump_clock, monkeypatch):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice")
        alice = nodes["alice"]
        store = alice.registry.ready(group).store

        def fail() -> None:
            raise StoreFull("no space is left")

        monkeypatch.setattr(store, "commit", fail)
        with pytest.raises(StoreFull):
            await alice.service.connect_group(group, schema.GroupConnect(addresses=["192.0.2.1:1"]))
        await calm()
        await alice.service.delete_group(group)
        assert files(alice) == []
        await trio.sleep(3 * DISK_FULL_PAUSE_S)
        assert alice.runs


async def test_a_disk_that_fails_ends_the_daemon_and_what_was_acknowledged_is_there_again(
    tmp_path, autojump_clock, monkeypatch
):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice")
        alice = nodes["alice"]
        await alice.stop()
        ended: list[BaseException] = []

        async def run() -> None:
            with pytest.RaisesGroup(StoreError, flatten_subgroups=True) as raised:
                await alice.serve()
            ended.extend(_leaves(raised.value))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await until(lambda: alice.runs)
            acknowledged = (await alice.issue(group, alice.peer_name, as_root=True)).credential.grant_id
            store = alice.registry.ready(group).store

            def fail() -> None:
                raise StoreError("the disk failed")

            monkeypatch.setattr(store, "commit", fail)
            with pytest.raises(StoreError):
                await alice.issue(group, alice.peer_name, as_root=True)
        assert [str(error) for error in ended] == ["the disk failed"]
        await nodes.start("alice")
        assert alice.grant_id(group) == acknowledged
