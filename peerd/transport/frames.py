"""Frames over a connection, with one task that writes and an outbox that never makes a sender wait.

The crank of a group must not wait for a slow neighbor, so `send` only queues. What bounds the queue: news is
dropped above OUTBOX_FLOOD_BYTES_MAX (reconciliation brings it later), and above OUTBOX_BYTES_MAX the neighbor
is too slow for this group and the channel closes.

A channel is open, then over, for one reason that every later call reports: `LinkClosed` when we ended it,
`LinkLost` when the other side or the network did. Ending by `close` still writes what is queued, says goodbye
and waits for the other side's end, all within CLOSE_S_MAX, so that a last message arrives. Whatever ends it,
the task in `receive` learns it at once.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Protocol

import trio

from peerd.errors import LinkClosed, LinkLost
from peerd.transport.limits import CLOSE_S_MAX, FRAME_S_MAX, RECORD_BYTES, WRITE_STALL_S_MAX
from protocol.errors import RemoteProtocolError
from protocol.limits import FRAME_BYTES_MAX_STRANGER, OUTBOX_BYTES_MAX, OUTBOX_FLOOD_BYTES_MAX
from protocol.wire.framing import FrameReader, frame


class Connection(Protocol):
    """What carries the frames: `SecureStream`, or in tests something that behaves like it."""

    exporter: bytes

    async def receive_some(self) -> bytes:
        """Some bytes, none at the end. Raises: LinkLost, LinkClosed."""

    async def send_all(self, content: bytes) -> None:
        """Send at most RECORD_BYTES. Raises: LinkLost, LinkClosed."""

    async def finish(self) -> None:
        """Say goodbye and wait for the other side's end. Raises: LinkLost, LinkClosed."""

    async def aclose(self) -> None:
        """Release it at once."""


@dataclass(frozen=True, slots=True)
class _End:
    """Why a channel is over."""

    kind: type[LinkClosed | LinkLost]
    detail: str

    def error(self) -> LinkClosed | LinkLost:
        return self.kind(self.detail)


class FrameChannel:
    """Frames both ways. Run `run` in a task of its own; one other task receives; anybody sends."""

    def __init__(self, connection: Connection, address: str) -> None:
        """`address` is `host:port` of the other side, for people."""
        self.address = address
        self._connection = connection
        self._end: _End | None = None
        self._writing = trio.CancelScope()
        self._outbox: deque[bytes] = deque()
        self._outbox_bytes = 0
        self._queued = trio.Event()
        self._reader = FrameReader(FRAME_BYTES_MAX_STRANGER)
        self._reading = trio.Lock()
        self._waiting = trio.CancelScope()
        self._arrived: deque[bytes] = deque()
        self._fault: RemoteProtocolError | None = None
        self._over_and_out = trio.Event()

    @property
    def exporter(self) -> bytes:
        """The 32 bytes that bind a proof to this connection."""
        return self._connection.exporter

    @property
    def outbox_bytes(self) -> int:
        """How much is queued and not yet handed to the system, lengths included."""
        return self._outbox_bytes

    def raise_limit(self, bytes_max: int) -> None:
        """Accept larger payloads, from the frame after the last one received."""
        self._reader.raise_limit(bytes_max)

    def send(self, payload: bytes, *, droppable: bool = False) -> bool:
        """Queue one frame. False when a droppable one was left out because much is queued already.

        Raises: LinkLost, LinkClosed (also when this frame is one too many: the channel then ends at once).
        """
        if self._end is not None:
            raise self._end.error()
        framed = frame(payload)
        wanted = self._outbox_bytes + len(framed)
        if droppable and wanted > OUTBOX_FLOOD_BYTES_MAX:
            return False
        if wanted > OUTBOX_BYTES_MAX:
            end = self._over(
                LinkClosed, f"the other side was too slow: {self._outbox_bytes} bytes waited for it"
            )
            self._writing.cancel()
            raise end.error()
        self._outbox.append(framed)
        self._outbox_bytes = wanted
        self._queued.set()
        return True

    def close(self, reason: str = "it was no longer needed") -> None:
        """End the channel from this side, after what is queued. It may be called again, and by anybody."""
        if self._end is None:
            self._over(LinkClosed, f"we closed the link: {reason}")
            self._writing.relative_deadline = CLOSE_S_MAX

    async def receive(self) -> bytes:
        """The payload of the next frame.

        What had arrived whole before the other side ended is still handed out; after `close` nothing is.

        Raises: LinkClosed, LinkLost (also when a frame that has begun stays incomplete for FRAME_S_MAX),
        RemoteProtocolError (a bad length; the channel stays open for a last word, and must then be closed).
        """
        if self._end is not None and self._end.kind is LinkClosed:
            raise self._end.error()
        async with self._reading:
            if not self._arrived:
                await self._receive_more()
            return self._arrived.popleft()

    async def run(self) -> None:
        """Write what is queued until the channel is over, then release the connection."""
        try:
            with self._writing:
                await self._write_queued()
                async with self._reading:  # whoever was receiving has let go
                    await self._connection.finish()
        except (LinkLost, LinkClosed) as error:
            self._lose(error.detail)
        finally:
            self._over(LinkClosed, "the task of the link was stopped")
            self._outbox.clear()
            self._outbox_bytes = 0
            self._over_and_out.set()
            await self._connection.aclose()

    async def wait_over(self) -> None:
        """Wait until `run` has said everything that it will say."""
        await self._over_and_out.wait()

    async def _write_queued(self) -> None:
        """Return when the channel is closing and nothing is left."""
        while True:
            batch = self._next_batch()
            if batch:
                await self._write(batch)
                self._outbox_bytes -= len(batch)
            elif self._end is not None:
                return
            else:
                self._queued = trio.Event()
                await self._queued.wait()

    def _next_batch(self) -> bytes:
        """The frame that has waited longest, and those behind it that fit the same record."""
        batch: list[bytes] = []
        room = RECORD_BYTES
        while self._outbox and (not batch or len(self._outbox[0]) <= room):
            batch.append(self._outbox.popleft())
            room -= len(batch[-1])
        return b"".join(batch)

    async def _write(self, batch: bytes) -> None:
        for start in range(0, len(batch), RECORD_BYTES):
            with trio.move_on_after(WRITE_STALL_S_MAX) as patience:
                await self._connection.send_all(batch[start : start + RECORD_BYTES])
            if patience.cancelled_caught:
                raise LinkLost(f"the other side took nothing for {WRITE_STALL_S_MAX:g} s")

    async def _receive_more(self) -> None:
        """Read until a whole frame is there."""
        if self._end is not None:
            raise self._end.error()
        with trio.CancelScope() as self._waiting:
            try:
                await self._read_frames()
            except (LinkLost, LinkClosed) as error:
                raise self._lose(error.detail).error() from error
        if self._end is not None:
            raise self._end.error()
        if self._waiting.cancelled_caught:
            late = f"a frame that had begun was not complete after {FRAME_S_MAX:g} s"
            raise self._lose(late).error()

    async def _read_frames(self) -> None:
        self._cut(b"")  # a frame behind the last one may be whole by now, or its length fit a raised limit
        while not self._arrived:
            if self._reader.mid_frame and self._waiting.deadline == math.inf:
                self._waiting.relative_deadline = FRAME_S_MAX
            content = await self._connection.receive_some()
            if not content:
                raise LinkLost("the other side closed the link")
            self._cut(content)

    def _cut(self, content: bytes) -> None:
        if self._fault is not None:
            raise self._fault
        try:
            self._arrived.extend(self._reader.feed(content))
        except RemoteProtocolError as fault:
            self._fault = fault
            raise

    def _lose(self, detail: str) -> _End:
        """The other side or the network ended it; nothing more can be written."""
        end = self._over(LinkLost, detail)
        self._writing.cancel()
        return end

    def _over(self, kind: type[LinkClosed | LinkLost], detail: str) -> _End:
        """Note the first reason to end, wake both tasks, and return the reason that counts."""
        if self._end is None:
            self._end = _End(kind, detail)
            self._queued.set()
            self._waiting.cancel()
        return self._end
