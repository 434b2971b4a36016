"""Neighbors: the tasks and channels behind one group's links.

A link is one channel with one reading task here and one writing task in the transport. Reading decodes a
message and has the signatures in it checked elsewhere before the event enters the inbox; meanwhile the next
few messages are read and checked too, and the crank works on what came before. They enter the inbox in the
order in which they arrived. Records are decoded here, a few at a time: a thread would only take the
interpreter from the loop, and most of it happens while the crank waits for a commit.

What is new comes from several neighbors at once: what is in a set already is not checked again, as the
machine would leave it alone; only what the neighbor wants an answer for is. What breaks one connection ends
that connection: its supervisor is one of the two places that catch everything.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import TypeVar

import trio

from peerd.clock import Clock
from peerd.errors import LinkClosed, LinkLost, PeerdError
from peerd.gossip import handshake
from peerd.gossip.checking import Checker
from peerd.gossip.offload import Offload
from peerd.transport.frames import FrameChannel
from protocol.authority.elements import decode_untrusted_element
from protocol.credentials.keys import SignatureCheck
from protocol.errors import Fault, RemoteProtocolError
from protocol.limits import FRAME_BYTES_MAX_MEMBER, HANDSHAKE_MS_MAX, TRANSFER_FRAMES_IN_FLIGHT_MAX
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
from protocol.records.record import Header, RecordItem, decode_untrusted_item
from protocol.wire.messages import (
    Bye,
    Message,
    Namespace,
    News,
    Records,
    Transfer,
    decode_untrusted_message,
    encode_message,
)

log = logging.getLogger(__name__)

T = TypeVar("T")
Post = Callable[[Input], Awaitable[None]]
Holds = Callable[[bytes], bool]
HoldsRecord = Callable[[Header], bool]
DialOut = Callable[[str], Awaitable[FrameChannel]]

_FRAMES_AHEAD = TRANSFER_FRAMES_IN_FLIGHT_MAX  # of one link, whose signatures are checked at a time
_ITEMS_READ_AT_ONCE = 32  # versions that are decoded before others have their turn: 0.4 ms

_OUTCOMES = {
    Ending.NOTHING: DialOutcome.NOTHING,
    Ending.NOT_SERVED: DialOutcome.NOTHING,
    Ending.SELF: DialOutcome.MYSELF,
    Ending.INCOMPATIBLE: DialOutcome.INCOMPATIBLE,
    Ending.REMOVED: DialOutcome.REMOVED,
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
        holds_record: HoldsRecord,
        dial: DialOut,
        clock: Clock,
        offload: Offload,
        check: Checker,
    ) -> None:
        """`post` hands events to the group's runner, `holds` and `holds_record` tell, at any time, whether an
        element, or a version with its body, is there, `dial` makes a channel to an address.
        """
        self._port = port
        self._post = post
        self._holds = holds
        self._holds_record = holds_record
        self._dial = dial
        self._clock = clock
        self._offload = offload
        self._check = check
        self._channels: dict[LinkId, FrameChannel] = {}
        self._left = trio.lowlevel.ParkingLot()
        self._numbers = count(1)
        self._reading = trio.Lock()  # one frame of records at a time, the first to come first
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
            await self._bring(link, channel)
        except RemoteProtocolError as error:
            self._send(link, encode_message(Bye(error.fault.value, ())))
            raise

    # --- what arrives ---------------------------------------------------------------------------------------

    async def _bring(self, link: LinkId, channel: FrameChannel) -> None:
        """Bring messages to the machine in order, while the ones behind are checked."""
        failure: Exception | None = None
        coming, ahead = trio.open_memory_channel[_Arrival](_FRAMES_AHEAD - 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read, link, channel, coming, nursery)
            try:
                async for arrival in ahead:
                    await self._post(await arrival.wait())
            except (PeerdError, RemoteProtocolError) as error:
                failure = error
            nursery.cancel_scope.cancel()
        assert failure is not None, "a link ends for a reason"
        raise failure

    async def _read(
        self,
        link: LinkId,
        channel: FrameChannel,
        coming: trio.MemorySendChannel[_Arrival],
        nursery: trio.Nursery,
    ) -> None:
        """Read until the link ends, and have each message checked."""
        while True:
            arrival = _Arrival()
            try:
                payload = await channel.receive()
                message = decode_untrusted_message(payload, bytes_max=FRAME_BYTES_MAX_MEMBER)
            except (PeerdError, RemoteProtocolError) as error:
                arrival.fail(error)
                await coming.send(arrival)
                return
            await coming.send(arrival)
            nursery.start_soon(self._examine, link, message, arrival)

    async def _examine(self, link: LinkId, message: Message, arrival: _Arrival) -> None:
        """Decode what is in a message, and check its signatures."""
        try:
            arrival.succeed(await self._received(link, message))
        except RemoteProtocolError as error:
            arrival.fail(error)

    async def _received(self, link: LinkId, message: Message) -> Received:
        match message:
            case News(elements=raws):
                lacking = tuple(raw for raw in raws if not self._holds(raw))
                return await self._with_elements(link, message, lacking)
            case Transfer(namespace=Namespace.AUTH, elements=raws):
                return await self._with_elements(link, message, raws)
            case Transfer(elements=raws):
                return await self._with_records(link, message, raws, every=False)
            case Records(items=raws, ask=ask):
                return await self._with_records(link, message, raws, every=ask)
            case _:
                return Received(link, message)

    async def _with_elements(self, link: LinkId, message: Message, raws: Sequence[bytes]) -> Received:
        if not raws:
            return Received(link, message)
        elements = await self._offload(lambda: tuple(decode_untrusted_element(raw) for raw in raws))
        await self._check_all([check for element in elements for check in element.checks()])
        return Received(link, message, elements)

    async def _with_records(
        self, link: LinkId, message: Message, raws: Sequence[bytes], *, every: bool
    ) -> Received:
        """Versions; unless `every` one matters, those that are here are left out. Only the loop may look."""
        items: list[RecordItem] = []
        async with self._reading:
            for raw in raws:
                items.append(decode_untrusted_item(raw))
                if len(items) % _ITEMS_READ_AT_ONCE == 0:
                    await trio.lowlevel.checkpoint()
        if not every:
            items = [item for item in items if not self._holds_record(item.header)]
        await self._check_all([check for item in items for check in item.header.checks()])
        return Received(link, message, records=tuple(items))

    async def _check_all(self, checks: Sequence[SignatureCheck]) -> None:
        """Go on only if all signatures hold. Raises: RemoteProtocolError."""
        if checks and not await self._check(checks):
            raise RemoteProtocolError(Fault.BAD_PROOF, "a signature does not hold")

    async def _tell(self, event: Input) -> None:
        """Tell the machine of an end, unless it has ended itself."""
        try:
            await self._post(event)
        except PeerdError as error:
            log.debug("the group ended before its connection", extra={"detail": error.detail})


@dataclass(slots=True)
class _Arrival:
    """A message in the order of its link; what became of it is known later."""

    _done: trio.Event = field(default_factory=trio.Event)
    _received: Received | None = None
    _error: Exception | None = None

    def succeed(self, received: Received) -> None:
        """It has been checked."""
        self._received = received
        self._done.set()

    def fail(self, error: Exception) -> None:
        """It ends the link."""
        self._error = error
        self._done.set()

    async def wait(self) -> Received:
        """Wait for it. Raises: what ends the link."""
        await self._done.wait()
        if self._error is not None:
            raise self._error
        assert self._received is not None
        return self._received
