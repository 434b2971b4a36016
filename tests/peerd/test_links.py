"""Links between whole daemons: who is linked with whom, and what happens when that is disturbed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
import trio
from trio.testing import lockstep_stream_pair

from peerd.control import schema
from peerd.errors import NotReady
from peerd.transport.limits import WRITE_STALL_S_MAX
from peerd.transport.network import Network
from protocol.limits import LINK_SILENT_MS_MAX, LINKS_MAX, LINKS_TARGET
from tests.peerd.transport.memory_network import MemoryNetwork
from tests.support.cluster import (
    SOON_S,
    Cluster,
    Node,
    agreed,
    authorities,
    calm,
    cluster,
    grow,
    meshed,
    until,
)

MINUTE_S = 60
REDIAL_S = 100  # more than the longest delay between two dials
SILENT_S = LINK_SILENT_MS_MAX / 1000
NAMES = ("alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy")


async def admitted(nodes: Cluster, group: str, *names: str) -> list[Node]:
    """Nodes that have been started and hold no credential yet, though one is stored for each."""
    started = await nodes.start(*names)
    for node in started:
        await nodes["alice"].issue(group, node)
    return started


# --- whom to call -------------------------------------------------------------------------------------------


async def test_up_to_six_who_know_only_one_of_them_are_all_linked(tmp_path, autojump_clock):
    async with cluster(tmp_path) as nodes:
        group = await grow(nodes, *NAMES[:6])
        assert meshed(group, nodes.all())
        await trio.sleep(10 * MINUTE_S)
        assert meshed(group, nodes.all())


async def test_who_join_in_the_same_moment_hear_of_each_other(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice")
        others = await admitted(nodes, group, *NAMES[1:5])
        async with trio.open_nursery() as nursery:
            for node in others:
                nursery.start_soon(node.join, group, nodes["alice"])
        await until(lambda: meshed(group, nodes.all()))
        await nodes["alice"].stop()
        await trio.sleep(MINUTE_S)
        assert meshed(group, others)


async def test_ten_are_linked_well_enough_to_lose_two(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        for node in await admitted(nodes, group, *NAMES[2:]):
            await node.join(group, nodes["alice"])
            await until(lambda node=node: node.links(group))  # type: ignore[misc]
        alice, bob, carol, *rest = nodes.all()
        await until(lambda: agreed(group, nodes.all()), within_s=REDIAL_S)
        counts = [len(node.links(group)) for node in nodes.all()]
        assert max(counts) <= LINKS_MAX
        assert sum(count >= LINKS_TARGET for count in counts) >= len(counts) - 1  # all others may be full
        await alice.renew(group, carol, role="admin")
        await calm()
        await alice.stop()
        await bob.stop()
        issued = [(node, await carol.renew(group, node)) for node in rest]
        await calm()
        assert [node.grant_id(group) for node in rest] == [grant_id for _, grant_id in issued]


async def test_static_links_stay_what_they_are(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, *NAMES[:5], line=True)
        links = {node.name: node.links(group) for node in nodes.all()}
        await trio.sleep(10 * MINUTE_S)
        assert {node.name: node.links(group) for node in nodes.all()} == links
        assert [len(of_one) for of_one in links.values()] == [1, 2, 2, 2, 1]


async def test_a_node_that_calls_itself_notices(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        alice = nodes["alice"]
        await alice.connect(group, alice)
        await calm()
        assert alice.neighbors(group) == authorities([nodes["bob"]])
        assert alice.address not in (await alice.service.group(group)).addresses


async def test_two_that_call_each_other_at_once_keep_one_link(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        alice, bob = nodes.all()
        for _ in range(5):
            for node in (alice, bob):
                await node.service.disconnect_group(group)
            await calm()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(alice.connect, group, bob)
                nursery.start_soon(bob.connect, group, alice)
            await until(lambda: alice.links(group) and bob.links(group))
            await trio.sleep(SOON_S)
            exporters = [[link.exporter for link in machine_of(node, group).links] for node in (alice, bob)]
            assert len(exporters[0]) == 1
            assert exporters[0] == exporters[1]


def machine_of(node: Node, group: str):
    opened = node.opened(group)
    assert opened is not None
    return opened.machine


# --- full ---------------------------------------------------------------------------------------------------


async def test_a_full_node_sends_newcomers_on_and_is_not_called_again_and_again(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice")
        alice = nodes["alice"]
        for node in await admitted(nodes, group, *NAMES[1 : LINKS_MAX + 1]):
            await node.join(group, alice, only=True)
        await until(lambda: len(alice.links(group)) == LINKS_MAX)
        (newcomer,) = await admitted(nodes, group, "judy")
        await newcomer.join(group, alice)
        await until(lambda: len(newcomer.links(group)) >= LINKS_TARGET, within_s=REDIAL_S)
        assert len(alice.links(group)) == LINKS_MAX
        calls = nodes.network.calls[newcomer.host, alice.host]
        await trio.sleep(10 * MINUTE_S)
        assert len(alice.links(group)) == LINKS_MAX
        assert nodes.network.calls[newcomer.host, alice.host] - calls <= 20


# --- by hand ------------------------------------------------------------------------------------------------


async def test_a_group_that_was_disconnected_has_no_links_until_it_is_connected(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob", "carol")
        alice, bob, carol = nodes.all()
        shown = await bob.service.disconnect_group(group)
        assert (shown.connected, shown.neighbors) == (False, [])
        await calm()
        assert alice.neighbors(group) == authorities([carol])
        await trio.sleep(3 * MINUTE_S)
        assert bob.links(group) == {}
        assert meshed(group, [alice, carol])
        await bob.stop()
        await nodes.start("bob")
        await trio.sleep(3 * MINUTE_S)
        assert bob.links(group) == {}
        assert not (await bob.service.group(group)).connected
        await bob.connect(group)
        await until(lambda: meshed(group, nodes.all()), within_s=REDIAL_S)


async def test_a_disconnected_node_still_takes_part_where_it_can_alone(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        alice, bob = nodes.all()
        await alice.service.disconnect_group(group)
        issued = await alice.renew(group, bob)
        await trio.sleep(MINUTE_S)
        assert bob.grant_id(group) != issued
        await alice.connect(group)
        await until(lambda: bob.grant_id(group) == issued, within_s=REDIAL_S)


# --- disturbed ----------------------------------------------------------------------------------------------


async def test_a_node_that_was_cut_off_is_back_soon_and_was_called_ever_more_rarely(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        alice, bob = nodes.all()
        await nodes.unplug(bob)
        await calm()
        assert alice.links(group) == bob.links(group) == {}
        before = nodes.network.calls[bob.host, alice.host]
        await trio.sleep(10 * MINUTE_S)
        calls = nodes.network.calls[bob.host, alice.host] - before
        assert 8 <= calls <= 22  # 0.5 s, 1 s, 2 s … 60 s, then about once a minute
        nodes.plug(bob)
        await until(lambda: meshed(group, nodes.all()), within_s=REDIAL_S)


async def test_a_short_break_is_mended_within_seconds(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob", "carol")
        await nodes.unplug(nodes["carol"])
        await calm()
        nodes.plug(nodes["carol"])
        assert await until(lambda: meshed(group, nodes.all()), within_s=10) <= 3


async def test_who_stops_says_goodbye(tmp_path, autojump_clock):
    async with cluster(tmp_path) as nodes:
        group = await grow(nodes, "alice", "bob", "carol")
        alice, bob, carol = nodes.all()
        begun = trio.current_time()
        await bob.stop()
        assert meshed(group, [alice, carol])
        assert trio.current_time() - begun < 1
        assert alice.kinds()[-1] == carol.kinds()[-1] == "neighbor-disconnected"


async def test_a_stop_is_not_a_disconnect(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        await nodes["bob"].stop()
        await nodes.start("bob")
        await until(lambda: meshed(group, nodes.all()), within_s=REDIAL_S)


async def test_leaving_for_good_is_told_too(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        alice, bob = nodes.all()
        assert (await bob.service.delete_group(group)).group == group
        await calm()
        assert alice.links(group) == {}
        assert not list(bob.home.groups.iterdir())


# --- slow and dead ------------------------------------------------------------------------------------------


class Stiff(trio.abc.HalfCloseableStream):
    """A stream that takes nothing in, and if `dead` lets nothing out, while its owner says so."""

    def __init__(self, stream: trio.abc.HalfCloseableStream, owner: StiffNetwork) -> None:
        self.stream = stream
        self._owner = owner

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._owner.dead:
            await trio.sleep_forever()
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        content = bytes(await self.stream.receive_some(max_bytes))
        if self._owner.deaf or self._owner.dead:
            await trio.sleep_forever()
        return content

    async def send_eof(self) -> None:
        await self.stream.send_eof()

    async def aclose(self) -> None:
        await self.stream.aclose()


class StiffListener(trio.abc.Listener[trio.abc.HalfCloseableStream]):
    def __init__(
        self, listener: trio.abc.Listener[trio.abc.HalfCloseableStream], owner: StiffNetwork
    ) -> None:
        self.listener = listener
        self._owner = owner

    async def accept(self) -> trio.abc.HalfCloseableStream:
        return Stiff(await self.listener.accept(), self._owner)

    async def aclose(self) -> None:
        await self.listener.aclose()


class StiffNetwork:
    """The network as one host sees it, which can stop to take part: `deaf` hears nothing, `dead` is gone."""

    def __init__(self, network: Network) -> None:
        self.deaf = self.dead = False
        self._network = network

    async def connect(self, host: str, port: int) -> trio.abc.HalfCloseableStream:
        return Stiff(await self._network.connect(host, port), self)

    async def listen(self, host: str, port: int) -> Sequence[trio.abc.Listener[trio.abc.HalfCloseableStream]]:
        return [StiffListener(listener, self) for listener in await self._network.listen(host, port)]

    def address_of(self, listener: trio.abc.Listener[trio.abc.HalfCloseableStream]) -> str:
        assert isinstance(listener, StiffListener)
        return self._network.address_of(listener.listener)

    def caller_of(self, stream: trio.abc.HalfCloseableStream) -> tuple[str, int]:
        assert isinstance(stream, Stiff)
        return self._network.caller_of(stream.stream)


async def stiffened(nodes: Cluster, name: str) -> StiffNetwork:
    """Put a node on such a network; it is started again for that."""
    node = nodes[name]
    await node.stop()
    network = StiffNetwork(node.network)
    node.network = network
    await nodes.start(name)
    return network


async def test_a_neighbor_that_reads_nothing_slows_nobody_and_is_let_go(tmp_path, autojump_clock):
    async with cluster(tmp_path, network=MemoryNetwork(lockstep_stream_pair)) as nodes:
        group = await grow(nodes, "alice", "bob", "carol")
        alice, _, carol = nodes.all()
        network = await stiffened(nodes, "bob")
        await until(lambda: meshed(group, nodes.all()), within_s=REDIAL_S)
        network.deaf = True
        for _ in range(20):
            begun = trio.current_time()
            issued = await alice.renew(group, carol)
            await calm()
            assert carol.grant_id(group) == issued
            assert trio.current_time() == begun
            await trio.sleep(1)
        await until(lambda: meshed(group, [alice, carol]), within_s=WRITE_STALL_S_MAX + SILENT_S)
        network.deaf = False
        await until(lambda: meshed(group, nodes.all()), within_s=REDIAL_S)
        await until(lambda: agreed(group, nodes.all()), within_s=REDIAL_S)


async def test_a_neighbor_that_vanished_without_a_word_is_noticed(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob", "carol")
        alice, bob, carol = nodes.all()
        network = await stiffened(nodes, "bob")
        await until(lambda: meshed(group, nodes.all()), within_s=REDIAL_S)
        network.dead = True
        await until(lambda: meshed(group, [alice, carol]), within_s=SILENT_S + 1)
        network.dead = False
        await until(lambda: meshed(group, nodes.all()), within_s=REDIAL_S)
        assert agreed(group, nodes.all())
        assert bob.links(group)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_parts_that_were_apart_end_in_the_same_set(tmp_path, autojump_clock, order):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob", "carol")
        alice, bob, carol = nodes.all()
        await alice.renew(group, bob, role="admin")
        await calm()
        await nodes.unplug(bob)
        strangers = await nodes.start("dave", "erin", "frank")
        for place in order:
            issuer = (alice, bob, alice)[place]
            await issuer.issue(group, strangers[place])
            await trio.sleep(1)
        assert not agreed(group, [alice, bob])
        nodes.plug(bob)
        await until(lambda: agreed(group, [alice, bob, carol]), within_s=REDIAL_S)
        names = [member.peer_name for member in (await carol.service.members(group, schema.Page())).members]
        assert {node.peer_name for node in strangers} <= {*names}


async def test_a_group_that_is_joining_has_no_links_to_disconnect(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice")
        (bob,) = await nodes.start("bob")
        await bob.join(group, nodes["alice"])
        with pytest.raises(NotReady):
            await bob.service.disconnect_group(group)
