from __future__ import annotations

import itertools
import random

import pytest
import trio

from peerd.clock import Clock
from peerd.errors import LinkLost
from peerd.gossip.checking import on_threads
from peerd.gossip.offload import inline
from peerd.groups.environment import Environment
from peerd.groups.joining import fetch_credential
from peerd.transport.frames import FrameChannel
from protocol.authority.bundle import Bundle
from protocol.authority.removal_proof import RemovalProof
from protocol.limits import PICKUP_POLL_MS_MAX, PICKUP_POLL_MS_MIN
from tests.peerd.gossip.players import Player, family, moment
from tests.peerd.transport.memory_network import MemoryNetwork
from tests.support.builders import Group
from tests.support.keys import named


class Calls:
    """An environment whose dials are written down, with the second of each."""

    def __init__(self, network: MemoryNetwork) -> None:
        self.made: list[tuple[float, str]] = []
        self._player = Player(Group("elsewhere"), "bob", network, elements=())
        self.environment = Environment(
            Clock(lambda: moment().utc_ms), inline, on_threads(inline), self._dial, random.Random(1).randbytes
        )

    async def _dial(self, address: str) -> FrameChannel:
        self.made.append((trio.current_time(), address))
        return await self._player.dial(address)


@pytest.fixture
def network():
    return MemoryNetwork()


async def fetch(calls: Calls, *addresses: str) -> Bundle:
    told: list[RemovalProof] = []
    bundle = await fetch_credential(
        family().authority, named("bob"), addresses, calls.environment, told.append
    )
    assert told == []
    return bundle


async def test_the_first_who_has_our_credential_is_enough(autojump_clock, nursery, network):
    alice, carol = Player(family(), "alice", network), Player(family(), "carol", network)
    for player in (alice, carol):
        await nursery.start(player.serve)
    calls = Calls(network)
    bundle = await fetch(calls, "10.1.0.99:1", alice.address, carol.address)
    assert bundle.leaf.key == named("bob").public
    assert [address for _, address in calls.made] == ["10.1.0.99:1", alice.address]


async def test_asking_again_takes_ever_longer_up_to_a_minute(autojump_clock, network):
    calls = Calls(network)
    with trio.move_on_after(15 * 60):
        await fetch(calls, "10.1.0.98:1", "10.1.0.99:1")
    times = [at for at, address in calls.made if address == "10.1.0.99:1"]
    assert times == [at for at, address in calls.made if address == "10.1.0.98:1"]
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    expected = PICKUP_POLL_MS_MIN / 1000
    for pause in pauses:
        assert expected <= pause <= expected * 1.25
        expected = min(PICKUP_POLL_MS_MAX / 1000, expected * 2)
    assert pauses[-1] >= PICKUP_POLL_MS_MAX / 1000


async def test_a_credential_that_is_issued_later_is_found_by_asking_again(autojump_clock, nursery, network):
    group = Group()
    alice, calls = Player(group, "alice", network), Calls(network)
    await nursery.start(alice.serve)
    found: list[Bundle] = []
    told: list[RemovalProof] = []

    async def join() -> None:
        bundle = await fetch_credential(
            group.authority, named("bob"), (alice.address,), calls.environment, told.append
        )
        found.append(bundle)

    nursery.start_soon(join)
    await trio.sleep(30)
    assert found == []
    granted = group.grant("grc -> alice:admin -> bob:member")
    machine, store = alice.node.machine, alice.store
    store.begin()
    machine.members.take(granted.elements, None, moment(), store)
    store.commit()
    await trio.sleep(45)
    assert [bundle.leaf.act_id for bundle in found] == [granted.act.id]


async def test_a_network_that_fails_is_no_reason_to_stop_asking(autojump_clock, network):
    calls = Calls(network)

    async def dial(address: str) -> FrameChannel:
        await trio.lowlevel.checkpoint()
        calls.made.append((trio.current_time(), address))
        raise LinkLost("no network") if len(calls.made) % 2 else KeyError("a mistake of ours")

    calls.environment.dial = dial
    with trio.move_on_after(60):
        await fetch(calls, "10.1.0.99:1")
    assert len(calls.made) >= 5
