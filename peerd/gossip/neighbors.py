"""Neighbors: the tasks and channels behind one group's links.

A link is one channel with one reading task here and one writing task in the transport. Reading decodes a
message and has the signatures of its elements checked on a worker thread before the event enters the inbox;
while that runs, the crank works on what came before. What breaks one link ends that link: this supervisor is
one of the two places that catch everything.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import count

import trio

from peerd.clock import Clock
from peerd.errors import LinkClosed, LinkLost, NotReady
from peerd.gossip import handshake
from peerd.gossip.offload import Offload
from peerd.transport.frames import FrameChannel
from protocol.authority.elements import decode_untrusted_element
from protocol.credentials.keys import all_hold
from protocol.errors import Fault, RemoteProtocolError
from protocol.limits import FRAME_BYTES_MAX_MEMBER, HANDSHAKE_MS_MAX
from protocol.machines.connect import Ending, Established
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

Post = Callable[[Input], Awaitable[None]]
DialOut = Callable[[str], Awaitable[FrameChannel]]

_OUTCOMES = {
    Ending.NOTHING: DialOutcome.NOTHING,
    Ending.NOT_SERVED: DialOutcome.NOTHING,
    Ending.SELF: DialOutcome.MYSELF,
    Ending.INCOMPATIBLE: DialOutcome.INCOMPATIBLE,
}


class Neighbors:
    """All connections of one group."""

    def __init__(
        self, port: handshake.Port, post: Post, *, dial: DialOut, clock: Clock, offload: Offload
    ) -> None:
        """`post` hands events to the group's runner, `dial` makes a channel to an address."""
        self._port = port
        self._post = post
        self._dial = dial
        self._clock = clock
        self._offload = offload
        self._channels: dict[LinkId, FrameChannel] = {}
        self._numbers = count(1)
        self._nursery: trio.Nursery | None = None

    async def run(self) -> None:
        """Hold the tasks of all dials until cancelled."""
        async with trio.open_nursery() as self._nursery:
            await trio.sleep_forever()

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
        try:
            channel = await self._dial(address)
        except LinkLost as error:
            log.debug("no connection", extra={"address": address, "detail": error.detail})
            await self._post(DialFailed(address, DialOutcome.UNREACHABLE))
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(channel.run)
            try:
                end = await self._open(channel)
                if isinstance(end, Established):
                    await self.serve(channel, end, address)
                else:
                    await self._post(DialFailed(address, end))
            finally:
                channel.close()

    async def _open(self, channel: FrameChannel) -> Established | DialOutcome:
        with trio.move_on_after(HANDSHAKE_MS_MAX / 1000):
            try:
                end = await handshake.call(channel, self._port, clock=self._clock, offload=self._offload)
            except (LinkClosed, LinkLost, RemoteProtocolError) as error:
                log.debug("no link", extra={"address": channel.address, "detail": error.detail})
                return DialOutcome.UNREACHABLE
            if isinstance(end, Established):
                return end
            log.info(
                "no link",
                extra={
                    "address": channel.address,
                    "reason": end.ending.value,
                    "detail": str(end.error or ""),
                },
            )
            return _OUTCOMES.get(end.ending, DialOutcome.NOTHING)
        return DialOutcome.UNREACHABLE

    async def serve(self, channel: FrameChannel, peer: Established, address: str | None) -> None:
        """Be a member link until it ends. `address` is the one dialled, None for a link that the neighbor
        made.
        """
        link = next(self._numbers)
        self._channels[link] = channel
        channel.raise_limit(FRAME_BYTES_MAX_MEMBER)
        try:
            await self._post(LinkUp(link, peer.key, peer.node_id, address, peer.bundle, channel.exporter))
            await self._read(link, channel)
        except (LinkClosed, LinkLost) as error:
            log.info("link ended", extra={"link": link, "address": channel.address, "detail": error.detail})
        except RemoteProtocolError as error:
            log.warning(
                "link faulted", extra={"link": link, "fault": error.fault.name, "detail": error.detail}
            )
            self._send(link, encode_message(Bye(error.fault.value, ())))
        except NotReady:
            pass  # the group is closing
        except Exception:
            log.exception("link failed", extra={"link": link})
        finally:
            del self._channels[link]
            channel.close()
            with trio.CancelScope(shield=True):
                await self._tell_end(link)

    async def _tell_end(self, link: LinkId) -> None:
        try:
            await self._post(LinkDown(link))
        except NotReady:
            log.debug("group closed before its link", extra={"link": link})

    async def _read(self, link: LinkId, channel: FrameChannel) -> None:
        while True:
            payload = await channel.receive()
            message = decode_untrusted_message(payload, bytes_max=FRAME_BYTES_MAX_MEMBER)
            if isinstance(message, (News, Transfer)):
                await self._post(await self._offload(partial(_with_elements, link, message)))
            else:
                await self._post(Received(link, message))


def _with_elements(link: LinkId, message: News | Transfer) -> Received:
    """Decode the elements of a message and check every signature. Raises: RemoteProtocolError."""
    elements = tuple(decode_untrusted_element(raw) for raw in message.elements)
    if not all_hold([check for element in elements for check in element.checks()]):
        raise RemoteProtocolError(Fault.BAD_PROOF, "a signature of an element does not hold")
    return Received(link, message, elements)
