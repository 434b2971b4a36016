"""Drive the opening of a connection: frames in and out, signatures on a worker thread, decisions between
turns.

The rules are the machine's (protocol.machines.connect). Here is only what needs a channel, a thread or a
wait. A credential that the other side hands over is made durable before the next frame goes out: nobody is
told of a membership that a crash could take back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, TypeVar

from peerd.clock import Clock
from peerd.gossip.offload import Offload
from peerd.transport.frames import FrameChannel
from protocol.authority.bundle import Bundle
from protocol.authority.removal_proof import RemovalProof
from protocol.credentials.keys import all_hold
from protocol.machines.connect import (
    AdoptOwn,
    Answerer,
    Arrival,
    Caller,
    Established,
    Finished,
    LearnOwn,
    Output,
    SendHandshake,
)
from protocol.machines.pickup import Group
from protocol.wire.messages import SELECTOR_BYTES

T = TypeVar("T")
Draw = Callable[[int], bytes]  # so many random bytes


class Port(Group, Protocol):
    """A group as the handshake needs it: what it answers, where decisions are made, how a credential is
    adopted.
    """

    async def decide(self, question: Callable[[], T]) -> T:
        """Call `question` at a time when the group's answers are of one durable state."""

    async def adopt(self, bundle: Bundle) -> None:
        """Keep a verified credential of our own; durable when it returns."""

    async def learn(self, removal: RemovalProof) -> None:
        """Keep the proof that our own key has been removed; durable when it returns."""


async def call(
    channel: FrameChannel, port: Port, *, clock: Clock, offload: Offload
) -> Established | Finished:
    """Open a connection that this node dialled. Raises: LinkClosed, LinkLost, RemoteProtocolError."""
    side = Caller(port, channel.exporter)
    await _perform(channel, side.start(), port)
    while True:
        arrival, verified = await _receive(channel, side, offload)
        outputs = await port.decide(partial(_receive_now, side, arrival, clock, verified))
        if (end := await _perform(channel, outputs, port)) is not None:
            return end


async def answer(
    channel: FrameChannel, ports: Callable[[], Sequence[Port]], *, clock: Clock, offload: Offload, draw: Draw
) -> tuple[Port | None, Established | Finished]:
    """Open a connection that somebody made to us. Raises: LinkClosed, LinkLost, RemoteProtocolError."""
    served: dict[bytes, Port] = {}

    def groups() -> Sequence[Group]:
        served.update({port.authority: port for port in ports()})
        return tuple(served.values())

    side = Answerer(groups, channel.exporter, draw(SELECTOR_BYTES))
    while True:
        arrival, verified = await _receive(channel, side, offload)
        port = None if side.group is None else served[side.group.authority]
        if port is None:
            outputs = _receive_now(side, arrival, clock, verified)
        else:
            outputs = await port.decide(partial(_receive_now, side, arrival, clock, verified))
        if (end := await _perform(channel, outputs, port)) is not None:
            return port, end


def _receive_now(side: Caller | Answerer, arrival: Arrival, clock: Clock, verified: bool) -> list[Output]:
    return side.receive(arrival, clock.moment(), verified=verified)


async def _receive(channel: FrameChannel, side: Caller | Answerer, offload: Offload) -> tuple[Arrival, bool]:
    channel.raise_limit(side.frame_bytes_max)
    payload = await channel.receive()

    def examine() -> tuple[Arrival, bool]:
        arrival = side.read(payload)
        return arrival, arrival.fault is None and all_hold(arrival.checks)

    return await offload(examine)


async def _perform(
    channel: FrameChannel, outputs: Sequence[Output], port: Port | None
) -> Established | Finished | None:
    for output in outputs:
        match output:
            case SendHandshake(payload):
                channel.send(payload)
            case AdoptOwn(bundle):
                assert port is not None
                await port.adopt(bundle)
            case LearnOwn(removal):
                assert port is not None
                await port.learn(removal)
            case Established() | Finished():
                return output
    return None
