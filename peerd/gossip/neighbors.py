"""Neighbors: the tasks and channels behind one group's links.

A link is one channel with one reading task here and one writing task in the transport. Reading decodes a
message and has the signatures of its elements checked on a worker thread before the event enters the inbox;
while that runs, the crank works on what came before. News come from several neighbors at once: what is in the
set already is not looked at again, as the machine would leave it alone. What breaks one connection ends that
connection: its supervisor is one of the two places that catch everything.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import count
from typing import TypeVar

import trio

from peerd.clock import Clock
from peerd.errors import LinkClosed, LinkLost, PeerdError
from peerd.gossip import handshake
from peerd.gossip.offload import Offload
from peerd.transport.frames import FrameChannel
from protocol.authority.elements import Element, decode_untrusted_element
from protocol.credentials.keys import all_hold
from protocol.errors import Fault, RemoteProtocolError
from protocol.limits import FRAME_BYTES_MAX_MEMBER, HANDSHAKE_MS_MAX
from protocol.machines.connect import Ending, Established, Finished
from protocol.machines.events import (
    Close,
    Dial,
    DialFailed,
    DialOutcome,
    Input,
    LinkDown,
    LinkId,
    LinkUp,
    Output,
    Received,
    Send,
)
from protocol.wire.messages import Bye, News, Transfer, decode_untrusted_message, encode_message

log = logging.getLogger(__name__)

T = TypeVar("T")
Post = Callable[[Input], Awaitable[None]]
Holds = Callable[[bytes], bool]
DialOut = Callable[[str], Awaitable[FrameChannel]]

_OUTCOMES = {
    Ending.NOTHING: DialOutcome.NOTHING,
    Ending.NOT_SERVED: DialOutcome.NOTHING,
    Ending.SELF: DialOutcome.MYSELF,
    Ending.INCOMPATIBLE: DialOutcome.INCOMPATIBLE,
}


async def supervised(
    address: str, work: Callable[[], Awaitable[T]], *, level: int = logging.DEBUG
) -> T | None:
    """Do something on one connection: whatever goes wrong with it ends the connection and nothing else.

    None when it went wrong; whoever calls this closes the channel. `level` is how much an ordinary end of it
    matters to a person.
    """
    try:
        return await work()
    except PeerdError as error:
        log.log(level, "connection ended", extra={"address": address, "detail": error.detail})
    except RemoteProtocolError as error:
        faulted = {"address": address, "fault": error.fault.name, "detail": error.detail}
        log.warning("connection faulted", extra=faulted)
    except Exception:
        log.exception("connection failed", extra={"address": address})
    return None


class Neighbors:
    """All connections of one group."""

    def __init__(
        self,
        port: handshake.Port,
        post: Post,
        *,
        holds: Holds,
        dial: DialOut,
        clock: Clock,
        offload: Offload,
    ) -> None:
        """`post` hands events to the group's runner, `holds` tells, at any time, whether an element is in the
        set, `dial` makes a channel to an address.
        """
        self._port = port
        self._post = post
        self._holds = holds
        self._dial = dial
        self._clock = clock
        self._offload = offload
        self._channels: dict[LinkId, FrameChannel] = {}
        self._left = trio.lowlevel.ParkingLot()
        self._numbers = count(1)
        self._nursery: trio.Nursery | None = None

    def start(self, nursery: trio.Nursery) -> None:
        """Dial in tasks of `nursery` from now on."""
        self._nursery = nursery

    def perform(self, outputs: Sequence[Output]) -> None:
        """Carry out what concerns connections, without waiting."""
        for output in outputs:
            match output:
                case Send(link, message, droppable):
                    self._send(link, encode_message(message), droppable=droppable)
                case Close(link, reason, referrals):
                    self._send(link, encode_message(Bye(reason, referrals)))
                    if (channel := self._channels.get(link)) is not None:
                        channel.close("the group's machine ended the link")
                case Dial(address):
                    assert self._nursery is not None
                    self._nursery.start_soon(self._call, address)
                case _:
                    pass

    def close(self) -> None:
        """Close every channel, without a word from the machine."""
        for channel in self._channels.values():
            channel.close("the group was closed")

    async def wait_gone(self) -> None:
        """Wait until no link is left and all has been said on those that there were."""
        while self._channels:
            await self._left.park()

    def _send(self, link: LinkId, payload: bytes, *, droppable: bool = False) -> None:
        channel = self._channels.get(link)
        if channel is None:
            return
        try:
            channel.send(payload, droppable=droppable)
        except (LinkClosed, LinkLost) as error:
            log.debug("not sent", extra={"link": link, "detail": error.detail})

    # --- making links ---------------------------------------------------------------------------------------

    async def _call(self, address: str) -> None:
        """Make one connection; whatever happens, the machine learns what became of its dial."""
        channel = await supervised(address, partial(self._dial, address))
        if channel is None:
            await self._tell(DialFailed(address, DialOutcome.UNREACHABLE))
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(channel.run)
            try:
                end = await self._open(channel, address)
                if isinstance(end, Established):
                    await self.serve(channel, end, address)
                else:
                    await self._tell(DialFailed(address, end))
            finally:
                channel.close()

    async def _open(self, channel: FrameChannel, address: str) -> Established | DialOutcome:
        end: Established | Finished | None = None
        opening = partial(handshake.call, channel, self._port, clock=self._clock, offload=self._offload)
        with trio.move_on_after(HANDSHAKE_MS_MAX / 1000):
            end = await supervised(address, opening)
        if not isinstance(end, Finished):
            return end or DialOutcome.UNREACHABLE
        detail = "" if end.error is None else str(end.error)
        log.info("no link", extra={"address": address, "reason": end.ending.value, "detail": detail})
        return _OUTCOMES.get(end.ending, DialOutcome.NOTHING)

    async def serve(self, channel: FrameChannel, peer: Established, address: str | None) -> None:
        """Be a member link until it ends. `address` is the one dialled, None for a link that the neighbor
        made.
        """
        link = next(self._numbers)
        self._channels[link] = channel
        conversation = partial(self._converse, link, channel, peer, address)
        try:
            try:
                await supervised(channel.address, conversation, level=logging.INFO)
            finally:
                channel.close()
                with trio.CancelScope(shield=True):  # the crank always takes it, or has closed its inbox
                    await self._tell(LinkDown(link))
            await channel.wait_over()
        finally:
            del self._channels[link]
            self._left.unpark_all()

    async def _converse(
        self, link: LinkId, channel: FrameChannel, peer: Established, address: str | None
    ) -> None:
        """Bring what arrives to the machine. Raises: LinkClosed, LinkLost, RemoteProtocolError, NotReady."""
        channel.raise_limit(FRAME_BYTES_MAX_MEMBER)
        await self._post(LinkUp(link, peer.key, peer.node_id, address, peer.bundle, channel.exporter))
        try:
            while True:
                await self._post(await self._receive(link, channel))
        except RemoteProtocolError as error:
            self._send(link, encode_message(Bye(error.fault.value, ())))
            raise

    async def _receive(self, link: LinkId, channel: FrameChannel) -> Received:
        payload = await channel.receive()
        message = decode_untrusted_message(payload, bytes_max=FRAME_BYTES_MAX_MEMBER)
        match message:
            case News(elements=raws):
                lacking = tuple(raw for raw in raws if not self._holds(raw))
            case Transfer(elements=raws):
                lacking = raws
            case _:
                return Received(link, message)
        elements = await self._offload(partial(_verified, lacking)) if lacking else ()
        return Received(link, message, elements)

    async def _tell(self, event: Input) -> None:
        """Tell the machine of an end, unless it has ended itself."""
        try:
            await self._post(event)
        except PeerdError as error:
            log.debug("the group ended before its connection", extra={"detail": error.detail})


def _verified(raws: Sequence[bytes]) -> tuple[Element, ...]:
    """Decode elements and check every signature. Raises: RemoteProtocolError."""
    elements = tuple(decode_untrusted_element(raw) for raw in raws)
    if not all_hold([check for element in elements for check in element.checks()]):
        raise RemoteProtocolError(Fault.BAD_PROOF, "a signature of an element does not hold")
    return elements
