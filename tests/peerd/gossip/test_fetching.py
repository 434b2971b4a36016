from __future__ import annotations

import pytest
import trio

from peerd.gossip.fetching import SeekingPort, fetch_from
from peerd.gossip.offload import inline
from protocol.authority.bundle import Bundle
from protocol.limits import HANDSHAKE_MS_MAX
from tests.peerd.gossip.players import Player, family, moment
from tests.peerd.transport.memory_network import MemoryNetwork
from tests.support.builders import Group
from tests.support.keys import named


def port_of(group: Group, name: str) -> SeekingPort:
    return SeekingPort(group.authority, named(name), bytes(16))


async def fetch(player: Player, port: SeekingPort, address: str = "") -> Bundle | None:
    return await fetch_from(
        address or player.address, port, dial=player.dial, clock=player.clock, offload=inline
    )


@pytest.fixture
async def alice(autojump_clock, nursery):
    player = Player(family(), "alice", MemoryNetwork())
    await nursery.start(player.serve)
    return player


async def test_a_subject_gets_its_own_credential(alice, autojump_clock):
    bundle = await fetch(alice, port_of(family(), "bob"))
    assert bundle is not None
    assert bundle.leaf.key == named("bob").public


async def test_a_stranger_gets_nothing(alice, autojump_clock):
    assert await fetch(alice, port_of(family(), "eve")) is None
    assert "neighbor-connected" not in alice.kinds()


async def test_a_group_that_is_not_served_there_gives_nothing(alice, autojump_clock):
    assert await fetch(alice, port_of(Group("elsewhere"), "bob")) is None


async def test_where_nobody_listens_there_is_nothing(alice, autojump_clock):
    assert await fetch(alice, port_of(family(), "bob"), "10.1.0.99:3587") is None
    assert await fetch(alice, port_of(family(), "bob"), "no address") is None


async def test_who_accepts_and_stays_silent_is_given_up(alice, autojump_clock):
    host = alice.network.network.host("10.1.0.50")
    (listener,) = await host.listen("10.1.0.50", 3587)
    begun = trio.current_time()

    async def accept() -> None:
        stream = await listener.accept()
        await stream.send_all(bytes(32))  # as far as the handshake below ours goes
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept)
        assert await fetch(alice, port_of(family(), "bob"), "10.1.0.50:3587") is None
        nursery.cancel_scope.cancel()
    assert HANDSHAKE_MS_MAX / 1000 <= trio.current_time() - begun <= HANDSHAKE_MS_MAX / 1000 + 3


async def test_a_seeker_knows_nobody_and_accepts_what_is_its_groups_and_holds_now(autojump_clock):
    group = family()
    port = port_of(group, "bob")
    at_s = moment().utc_s
    bundle = group.bundle(group.grant("grc -> alice:admin -> bob:member"))
    assert not port.is_member(named("alice").public.pid, at_s)
    assert port.bundle_for(named("alice").public.pid, at_s) == b""
    assert port.own_bundle(at_s) == b""
    assert port.accepts(bundle, at_s)
    assert not port.accepts(bundle, bundle.leaf.window.end + 1)
    assert not port_of(Group("elsewhere"), "bob").accepts(bundle, at_s)
    await port.adopt(bundle)
    assert port.own_bundle(at_s) == bundle.raw
