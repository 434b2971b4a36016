"""The root renews whom nobody else can, while its key is there and the policy wants it."""

from __future__ import annotations

from typing import Any

import trio

from peerd.control import root_schema, schema
from peerd.groups.root_renewal import DueByRoot, due_by_root
from peerd.sealed_keys import Cost
from protocol.errors import RuleError
from protocol.machines.events import Issue
from tests.peerd.groups.root_people import circle, found_with_key, rotate
from tests.support.cluster import Cluster, Node, agreed, calm, cluster, grow, until

LIFE_S = 600


async def with_admin(nodes: Cluster, **wish: object) -> tuple[Node, Node, str]:
    """alice holds the root, bob is an administrator of the first level for ten minutes."""
    group = await grow(nodes, "alice")
    alice = nodes["alice"]
    (bob,) = await nodes.start("bob")
    await alice.issue(group, bob, role="admin", as_root=True, valid_s=LIFE_S, **wish)
    await bob.join(group, alice)
    await until(lambda: bob.links(group))
    return alice, bob, group


def level_and_end(node: Node, group: str) -> tuple[int, int]:
    grant = node.credential(group)
    return (0, 0) if grant is None else (grant.level, grant.window.end)


async def test_an_administrator_of_the_first_level_is_renewed_for_many_generations(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        alice, bob, group = await with_admin(nodes)
        ends = []
        for _ in range(4):
            _, end = level_and_end(bob, group)
            ends.append(end)
            await until(
                lambda end=end: level_and_end(bob, group)[1] > end,  # type: ignore[misc]
                within_s=LIFE_S * 2 / 3 + 5,
            )
            assert level_and_end(bob, group)[0] == 1
        assert ends == sorted(set(ends))
        told = (await alice.service.credentials(group, schema.CredentialsQuery(subject="bob"))).credentials
        assert {one.issuer for one in told} == {group}


async def test_it_waits_until_a_third_of_the_life_is_left_and_then_issues_once(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        _, bob, group = await with_admin(nodes)
        first = bob.grant_id(group)
        await trio.sleep(LIFE_S * 2 / 3 - 120)
        assert bob.grant_id(group) == first
        await until(lambda: bob.grant_id(group) != first, within_s=130)
        second = bob.grant_id(group)
        await trio.sleep(180)
        assert bob.grant_id(group) == second


async def test_without_the_root_key_or_when_the_group_renews_nothing_nothing_happens(
    tmp_path, autojump_clock
):
    async with cluster(tmp_path, tls=False) as nodes:
        alice, bob, group = await with_admin(nodes)
        first = bob.grant_id(group)
        (path,) = alice.home.root_keys.iterdir()
        pem = path.read_bytes()
        path.unlink()
        await trio.sleep(LIFE_S * 3 / 4)
        assert bob.grant_id(group) == first
        path.touch(mode=0o600)
        path.write_bytes(pem)
        await alice.service.change_properties(group, schema.PropertiesChange(renew_auto=False))
        await trio.sleep(100)
        assert bob.grant_id(group) == first
        await alice.service.change_properties(
            group, schema.PropertiesChange(renew_auto=True, renew_valid_s=2000)
        )
        await until(lambda: bob.grant_id(group) != first, within_s=61)
        grant = bob.credential(group)
        assert grant is not None
        assert 2000 <= grant.window.end - grant.window.start <= 2300


async def test_who_is_junior_to_an_administrator_is_left_to_that_one(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice")
        alice = nodes["alice"]
        (bob,) = await nodes.start("bob")
        await alice.issue(group, bob, valid_s=LIFE_S)
        await bob.join(group, alice)
        await until(lambda: bob.links(group))
        first = bob.grant_id(group)
        await until(lambda: bob.grant_id(group) != first, within_s=LIFE_S)
        await calm()
        told = (await alice.service.credentials(group, schema.CredentialsQuery(subject="bob"))).credentials
        assert {one.issuer for one in told} == {alice.peer_name}


# --- a key that cannot be used ------------------------------------------------------------------------------


async def findings(node: Node) -> dict[str, schema.Finding]:
    return {one.code: one for one in (await node.service.health()).findings}


async def test_a_locked_root_key_renews_nothing_and_says_so_long_before_anything_ends(
    tmp_path, autojump_clock
):
    async with cluster(tmp_path, tls=False) as nodes:
        alice, bob, group = await with_admin(nodes)
        alice.registry.root_keys._cost = Cost(memory_kib=32, passes=1, lanes=1)
        await alice.service.protect_root(group, root_schema.RootProtection(new_passphrase="sesame"))
        first = bob.grant_id(group)
        assert "root-key-locked" not in await findings(alice)
        await trio.sleep(LIFE_S * 2 / 3 + 60)
        assert bob.grant_id(group) == first
        found = (await findings(alice))["root-key-locked"]
        assert bob.peer_name in found.detail
        assert found.hint == f"peerd root unlock {group}"
        assert "root-key-locked" not in await findings(bob)
        await alice.service.unlock_root(group, root_schema.RootUnlocking(passphrase="sesame"))
        await until(lambda: bob.grant_id(group) != first, within_s=5)
        assert "root-key-locked" not in await findings(alice)
        await alice.service.lock_root(group)
        second = bob.grant_id(group)
        await trio.sleep(LIFE_S / 2)
        assert bob.grant_id(group) == second


async def test_a_root_of_several_keys_says_who_waits_for_it_when_the_time_has_come(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        (alice, bob) = await nodes.start("alice", "bob")
        group, key = await found_with_key(alice)
        await alice.issue(group, bob, role="admin", as_root=True, valid_s=LIFE_S)
        await bob.join(group, alice)
        await until(lambda: bob.links(group) and agreed(group, [alice, bob]))
        wanted = await bob.service.prepare_root_act(group, root_schema.RootPreparation(key=True))
        signing = root_schema.RootSigning(file=wanted.file)
        made = [(await node.service.sign_root_file(signing)).file for node in (alice, bob)]
        await rotate(bob, group, key, keys=made, threshold=2)
        await trio.sleep(LIFE_S / 2)
        assert "root-key-unusable" not in await findings(bob)
        await trio.sleep(LIFE_S / 4)
        for node in (alice, bob):
            found = (await findings(node))["root-key-unusable"]
            assert bob.peer_name in found.detail
            assert alice.peer_name not in found.detail
            assert "2 signatures" in found.detail
            assert found.hint.endswith("peerd root prepare --help")


async def test_one_refusal_holds_up_nobody_else(tmp_path, autojump_clock, monkeypatch, caplog):
    async with cluster(tmp_path, tls=False) as nodes:
        alice, bob, group = await with_admin(nodes)
        (carol,) = await nodes.start("carol")
        await alice.issue(group, carol, role="admin", as_root=True, valid_s=LIFE_S)
        await carol.join(group, alice)
        await until(lambda: carol.links(group))
        opened = alice.opened(group)
        assert opened is not None
        original = opened.node.runner.submit

        async def submit(command: Any) -> Any:
            if isinstance(command, Issue) and str(command.requests[0].subject) == bob.peer_name:
                raise RuleError("invalid-role", "not this one")
            return await original(command)

        monkeypatch.setattr(opened.node.runner, "submit", submit)
        before = {node.name: node.grant_id(group) for node in (bob, carol)}
        await trio.sleep(LIFE_S * 3 / 4 + 60)
        assert bob.grant_id(group) == before["bob"]
        assert carol.grant_id(group) != before["carol"]
        told = [one for one in caplog.records if one.getMessage() == "not renewed by the root"]
        assert [one.__dict__["peer"] for one in told] == [bob.peer_name]


async def test_nobody_is_looked_for_where_no_root_key_is(tmp_path, autojump_clock, monkeypatch):
    async with cluster(tmp_path, tls=False) as nodes:
        looked: list[str] = []

        def noted(machine: Any, now_s: int) -> DueByRoot:
            looked.append(str(machine.own.public.authority))
            return due_by_root(machine, now_s)

        monkeypatch.setattr("peerd.groups.root_renewal.due_by_root", noted)
        alice, *_ = await with_admin(nodes)
        await trio.sleep(200)
        assert set(looked) == {alice.peer_name.partition(".")[0]}


async def test_nothing_ends_sooner_because_the_root_was_replaced(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group, key = await circle(nodes)
        alice, bob = nodes.all()
        await alice.service.change_properties(group, schema.PropertiesChange(renew_valid_s=1000))
        await until(lambda: agreed(group, [alice, bob]))
        first = alice.grant_id(group)
        await rotate(bob, group, key)
        await until(lambda: alice.grant_id(group) != first, within_s=120)
        grant = alice.credential(group)
        assert grant is not None
        assert grant.window.unlimited
        assert (await alice.service.health()).health == "healthy"  # the key that it holds is no root's now
