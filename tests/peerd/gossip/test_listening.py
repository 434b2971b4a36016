from __future__ import annotations

import hashlib

import pytest
import trio

from peerd.errors import LinkClosed, LinkLost
from peerd.gossip.listening import Reception
from peerd.gossip.offload import inline
from peerd.transport.dialer import dial
from peerd.transport.frames import FrameChannel
from peerd.transport.listener import Listener
from peerd.transport.secure import secure_caller
from peerd.transport.slots import SlotLimits
from protocol.credentials.keys import PrivateKey
from protocol.limits import FRAME_BYTES_MAX_STRANGER, HANDSHAKE_MS_MAX, NOTHING_FRAME_BYTES
from protocol.machines.events import Connect
from protocol.machines.proofs import Direction, caller_statement, selector
from protocol.wire.framing import LENGTH_BYTES
from protocol.wire.messages import (
    Hello,
    KeepAlive,
    Nothing,
    Prove,
    decode_untrusted_message,
    encode_message,
)
from tests.peerd.gossip.players import Player, family
from tests.peerd.transport.capture import Capture, CapturingNetwork
from tests.peerd.transport.memory_network import MemoryNetwork, plain
from tests.support.builders import NO_DATA, Group
from tests.support.keys import named

DEADLINE_S = HANDSHAKE_MS_MAX / 1000


@pytest.fixture
def group():
    return family()


@pytest.fixture
def network():
    return MemoryNetwork()


# --- members ------------------------------------------------------------------------------------------------


async def test_a_member_is_handed_to_its_group(autojump_clock, nursery, group, network):
    alice, bob = Player(group, "alice", network), Player(group, "bob", network)
    await nursery.start(alice.serve)
    await nursery.start(bob.serve)
    bob.node.machine.dialling.learn([alice.address], ())
    await bob.node.runner.submit(Connect(()))
    await trio.testing.wait_all_tasks_blocked()
    assert [link.key for link in alice.node.machine.links] == [bob.key.public]
    assert (alice.listener.slots.strangers, alice.listener.slots.members) == (0, 1)


async def test_when_the_members_slots_are_taken_a_member_is_closed_on(
    autojump_clock, nursery, group, network
):
    alice, bob = Player(group, "alice", network), Player(group, "bob", network)
    alice.listener = Listener(network=alice.network, secure=plain, limits=SlotLimits(members=0))
    await nursery.start(alice.serve)
    nursery.start_soon(bob.node.run)
    bob.node.machine.dialling.learn([alice.address], ())
    await bob.node.runner.submit(Connect(()))
    await trio.testing.wait_all_tasks_blocked()
    assert not len(alice.node.machine.links)
    assert alice.listener.slots.members == 0


async def test_a_group_that_closes_in_the_middle_disturbs_nobody(autojump_clock, nursery, group, network):
    alice = Player(group, "alice", network)
    await alice.listener.bind([alice.address])
    nursery.start_soon(alice.listener.serve, alice.reception.receive)
    with trio.CancelScope() as scope:
        scope.cancel()
        await alice.node.run()
    channel = await alice.dial(alice.address)
    async with trio.open_nursery() as calling:
        calling.start_soon(channel.run)
        channel.send(
            encode_message(Hello((1,), selector(group.authority, Direction.CALLER, channel.exporter)))
        )
        await channel.receive()
        channel.send(proof(channel, group, named("bob")))
        with pytest.raises(LinkLost):
            await channel.receive()
        channel.close()


def proof(channel: FrameChannel, group: Group, key: PrivateKey, shown: bytes = b"") -> bytes:
    statement = caller_statement(group.authority, key.public.pid, bytes(16), channel.exporter)
    return encode_message(Prove(key.public.raw, bytes(16), key.sign(statement), shown))


# --- strangers ----------------------------------------------------------------------------------------------


async def test_who_says_nothing_is_sent_away_in_time(autojump_clock, nursery, group, network):
    alice = Player(group, "alice", network)
    await nursery.start(alice.serve)
    channel = await alice.dial(alice.address)
    async with trio.open_nursery() as calling:
        calling.start_soon(channel.run)
        begun = trio.current_time()
        with pytest.raises(LinkLost):
            await channel.receive()
        channel.close()
    assert trio.current_time() - begun <= DEADLINE_S
    assert alice.listener.slots.strangers == 0


@pytest.mark.parametrize(
    "sent",
    [b"\xc1", encode_message(KeepAlive(0, bytes(16), 0, NO_DATA)), encode_message(Hello((7,), bytes(16)))],
    ids=["garbage", "out of turn", "other versions"],
)
async def test_whatever_a_stranger_sends_the_listener_goes_on(autojump_clock, nursery, group, network, sent):
    alice = Player(group, "alice", network)
    await nursery.start(alice.serve)
    for _ in range(3):
        channel = await alice.dial(alice.address)
        async with trio.open_nursery() as calling:
            calling.start_soon(channel.run)
            channel.send(sent)
            await ended(channel)
            channel.close()
    await trio.testing.wait_all_tasks_blocked()
    assert alice.listener.slots.strangers == 0
    assert alice.notices == []


async def ended(channel: FrameChannel) -> None:
    """Hear the other side out."""
    try:
        while True:
            await channel.receive()
    except (LinkLost, LinkClosed):
        return


async def stranger(
    player: Player,
    group: Group,
    named_group: bytes,
    key: PrivateKey,
    *,
    shown: bytes = b"",
    forged: bool = False,
) -> tuple[Capture, list[bytes]]:
    """Somebody who goes on whatever it hears: all that crossed the wire, and the payloads that came."""
    network = CapturingNetwork(player.network.network.host("10.7.7.7"))
    channel = await dial(player.address, network=network, secure=secure_caller)
    heard: list[bytes] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.run)
        channel.send(encode_message(Hello((1,), selector(named_group, Direction.CALLER, channel.exporter))))
        heard.append(await channel.receive())
        prove = proof(channel, group, key, shown)
        channel.send(prove if not forged else forge(prove))
        heard.append(await channel.receive())
        with pytest.raises(LinkLost):
            await channel.receive()
        channel.close()
    (capture,) = network.captures
    return capture, heard


def forge(prove: bytes) -> bytes:
    """The same message with another signature."""
    message = decode_untrusted_message(prove, bytes_max=FRAME_BYTES_MAX_STRANGER)
    assert isinstance(message, Prove)
    signature = hashlib.sha512(message.signature).digest()
    return encode_message(Prove(message.key, message.node_id, signature, message.bundle))


async def test_all_strangers_are_shown_the_same_whoever_they_are_and_whatever_is_served(
    autojump_clock, nursery, group, network
):
    alice, elsewhere = (
        Player(group, "alice", network),
        Player(Group("elsewhere"), "mallory", network, elements=()),
    )
    nobody = Reception(dict, clock=alice.clock, offload=inline, draw=alice.draw)
    for player in (alice, elsewhere):
        player.listener = Listener(network=player.network)
    elsewhere.reception = nobody
    for player in (alice, elsewhere):
        await nursery.start(player.serve)
    eve, bob, authority = named("eve"), named("bob"), group.authority
    bobs = group.bundle(group.grant("grc -> alice:admin -> bob:member", publish=False)).raw
    served = [
        await stranger(alice, group, authority, eve),
        await stranger(alice, group, authority, named("mallory")),
        await stranger(alice, group, bytes(20), eve),
        await stranger(alice, group, authority, bob, forged=True),
    ]
    unserved = [
        await stranger(elsewhere, group, authority, eve),
        await stranger(elsewhere, group, authority, bob),
    ]
    shapes = [capture.turns() for capture, _ in (*served, *unserved)]
    assert shapes == [shapes[0]] * len(shapes)
    for _, (hello, nothing) in (*served, *unserved):
        assert len(hello) == len(encode_message(Hello((1,), bytes(16))))
        assert len(nothing) + LENGTH_BYTES == NOTHING_FRAME_BYTES
        assert isinstance(decode_untrusted_message(nothing, bytes_max=FRAME_BYTES_MAX_STRANGER), Nothing)
    # Somebody else's evidence says no more, whether the group is served or not.
    shown = [await stranger(player, group, authority, eve, shown=bobs) for player in (alice, elsewhere)]
    assert shown[0][0].turns() == shown[1][0].turns()
    assert [len(payload) for payload in shown[0][1]] == [len(payload) for payload in served[0][1]]


async def test_a_proof_from_another_connection_gets_nothing(autojump_clock, nursery, group, network):
    alice = Player(group, "alice", network)
    await nursery.start(alice.serve)
    bob, recorded = named("bob"), list[bytes]()
    for replay in (False, True):
        channel = await alice.dial(alice.address)
        async with trio.open_nursery() as calling:
            calling.start_soon(channel.run)
            hello = Hello((1,), selector(group.authority, Direction.CALLER, channel.exporter))
            channel.send(encode_message(hello))
            await channel.receive()
            recorded.append(proof(channel, group, bob))
            channel.send(recorded[0])
            answer = decode_untrusted_message(await channel.receive(), bytes_max=2**17)
            assert isinstance(answer, Nothing) is replay
            channel.close()
