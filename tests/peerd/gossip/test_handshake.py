from __future__ import annotations

import pytest
import trio

from peerd.errors import LinkLost
from peerd.gossip import handshake
from peerd.gossip.fetching import SeekingPort
from peerd.gossip.offload import inline
from peerd.transport.frames import FrameChannel
from protocol.authority.bundle import Bundle
from protocol.errors import Fault, RemoteProtocolError
from protocol.limits import FRAME_BYTES_MAX_STRANGER
from protocol.machines.connect import Ending, Established, Finished
from protocol.machines.proofs import Direction, selector
from protocol.wire.messages import (
    Hello,
    Nothing,
    Prove,
    decode_untrusted_message,
    encode_message,
)
from tests.peerd.gossip.players import Player, channels, family
from tests.peerd.transport.memory_network import MemoryNetwork
from tests.support.builders import Group
from tests.support.keys import named

End = Established | Finished


async def call(channel: FrameChannel, port: handshake.Port, player: Player) -> End:
    return await handshake.call(channel, port, clock=player.clock, offload=inline)


async def answer(channel: FrameChannel, *players: Player) -> tuple[handshake.Port | None, End]:
    ports = [player.node.port for player in players]
    (first, *_) = players
    return await handshake.answer(channel, lambda: ports, clock=first.clock, offload=inline, draw=first.draw)


async def both(caller: handshake.Port, player: Player) -> tuple[End, tuple[handshake.Port | None, End]]:
    """How an opening ends on both sides."""
    ends: dict[str, End] = {}
    answered: list[tuple[handshake.Port | None, End]] = []
    async with channels() as (ours, theirs), trio.open_nursery() as nursery:

        async def calling() -> None:
            ends["caller"] = await call(ours, caller, player)

        nursery.start_soon(calling)
        answered.append(await answer(theirs, player))
    return ends["caller"], answered[0]


class Slow(SeekingPort):
    """Takes its time to adopt."""

    def __init__(self, group: Group, name: str) -> None:
        super().__init__(group.authority, named(name), bytes(16))
        self.may_adopt = trio.Event()

    async def adopt(self, bundle: Bundle) -> None:
        await self.may_adopt.wait()
        await super().adopt(bundle)


async def test_two_members_know_each_other_in_the_end(autojump_clock):
    group, network = family(), MemoryNetwork()
    alice, bob = Player(group, "alice", network), Player(group, "bob", network)
    end, (port, answered) = await both(bob.node.port, alice)
    assert isinstance(end, Established)
    assert isinstance(answered, Established)
    assert port is alice.node.port
    assert (end.key, end.node_id) == (alice.key.public, alice.node_id)
    assert (answered.key, answered.node_id) == (bob.key.public, bob.node_id)


async def test_nobody_is_told_of_a_membership_before_it_is_durable(autojump_clock):
    group, network = family(), MemoryNetwork()
    alice, port = Player(group, "alice", network), Slow(group, "bob")
    ended: list[str] = []
    async with channels() as (ours, theirs), trio.open_nursery() as nursery:

        async def calling() -> None:
            await call(ours, port, alice)
            ended.append("caller")

        async def answering() -> None:
            await answer(theirs, alice)
            ended.append("answerer")

        nursery.start_soon(calling)
        nursery.start_soon(answering)
        await trio.testing.wait_all_tasks_blocked()
        assert ended == []
        port.may_adopt.set()
    assert sorted(ended) == ["answerer", "caller"]
    assert port.adopted is not None
    assert port.adopted.leaf.key == named("bob").public


async def test_decisions_are_made_between_two_turns_of_the_group_that_was_named(autojump_clock):
    group, network = family(), MemoryNetwork()
    alice, bob = Player(group, "alice", network), Player(group, "bob", network)
    turn, ended = trio.Event(), list[End]()

    async def crank() -> None:
        async with alice.node.runner._turn:
            await turn.wait()

    async with channels() as (ours, theirs), trio.open_nursery() as nursery:
        nursery.start_soon(crank)
        nursery.start_soon(call, ours, bob.node.port, bob)
        await trio.testing.wait_all_tasks_blocked()

        async def answering() -> None:
            ended.append((await answer(theirs, alice))[1])

        nursery.start_soon(answering)
        await trio.testing.wait_all_tasks_blocked()
        assert ended == []
        turn.set()
    assert isinstance(ended[0], Established)


@pytest.mark.parametrize("forge", ["signature", "key"])
async def test_a_proof_that_does_not_hold_gets_nothing(autojump_clock, forge):
    group, network = family(), MemoryNetwork()
    alice = Player(group, "alice", network)
    async with channels() as (ours, theirs), trio.open_nursery() as nursery:
        ended: list[End] = []

        async def answering() -> None:
            ended.append((await answer(theirs, alice))[1])

        nursery.start_soon(answering)
        ours.send(encode_message(Hello((1,), selector(group.authority, Direction.CALLER, ours.exporter))))
        await ours.receive()
        key = bytes(32) if forge == "key" else named("bob").public.raw
        ours.send(encode_message(Prove(key, bytes(16), bytes(64), b"")))
        reply = decode_untrusted_message(await ours.receive(), bytes_max=FRAME_BYTES_MAX_STRANGER)
        assert isinstance(reply, Nothing)
    (end,) = ended
    assert isinstance(end, Finished)
    assert end.ending is Ending.REFUSED


async def test_a_member_may_at_once_send_more_than_a_stranger(autojump_clock):
    group, network = family(), MemoryNetwork()
    alice, bob = Player(group, "alice", network), Player(group, "bob", network)
    large = bytes(2 * FRAME_BYTES_MAX_STRANGER)
    async with channels() as (ours, theirs), trio.open_nursery() as nursery:

        async def calling() -> None:
            await call(ours, bob.node.port, bob)
            ours.send(large)

        nursery.start_soon(calling)
        await answer(theirs, alice)
        theirs.raise_limit(3 * FRAME_BYTES_MAX_STRANGER)
        assert await theirs.receive() == large


async def test_who_knows_the_groups_name_may_answer_with_more_than_a_stranger(autojump_clock):
    group, network = family(), MemoryNetwork()
    bob = Player(group, "bob", network)
    async with channels() as (ours, theirs), trio.open_nursery() as nursery:

        async def answering() -> None:
            await theirs.receive()
            named_there = selector(group.authority, Direction.ANSWERER, theirs.exporter)
            theirs.send(encode_message(Hello((1,), named_there)))
            await theirs.receive()
            theirs.send(bytes(FRAME_BYTES_MAX_STRANGER + 1))

        nursery.start_soon(answering)
        end = await call(ours, bob.node.port, bob)
    assert isinstance(end, Finished)
    assert isinstance(end.error, RemoteProtocolError)
    assert end.error.fault is Fault.MALFORMED


async def test_whoever_goes_away_in_the_middle_ends_the_opening(autojump_clock):
    group, network = family(), MemoryNetwork()
    bob = Player(group, "bob", network)
    async with channels() as (ours, theirs), trio.open_nursery() as nursery:

        async def listening() -> None:
            await theirs.receive()
            theirs.close()

        nursery.start_soon(listening)
        with pytest.raises(LinkLost):
            await call(ours, bob.node.port, bob)


async def test_who_names_another_group_meets_no_group_at_all(autojump_clock):
    network = MemoryNetwork()
    alice = Player(family(), "alice", network)
    elsewhere = SeekingPort(Group("elsewhere").authority, named("bob"), bytes(16))
    async with channels() as (ours, theirs), trio.open_nursery() as nursery:

        async def calling() -> None:
            end = await call(ours, elsewhere, alice)
            assert isinstance(end, Finished)
            assert end.ending is Ending.NOT_SERVED
            ours.close()

        nursery.start_soon(calling)
        with pytest.raises(LinkLost):
            await answer(theirs, alice)
