"""The root renews whom nobody else can, while its key is there and the policy wants it."""

from __future__ import annotations

import trio

from peerd.control import schema
from tests.support.cluster import Cluster, Node, calm, cluster, grow, until

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
