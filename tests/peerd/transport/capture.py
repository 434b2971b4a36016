"""Everything that one end of a connection sees on the wire, for comparing what two of them were shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import trio

from peerd.transport.network import Network

Direction = Literal["sent", "received"]
RECORD_HEADER_BYTES = 5


@dataclass
class Capture:
    """What one end sent and received, in order."""

    pieces: list[tuple[Direction, bytes]] = field(default_factory=list)

    def all_bytes(self, direction: Direction) -> bytes:
        """One direction in one piece."""
        return b"".join(piece for way, piece in self.pieces if way == direction)

    def turns(self) -> list[tuple[Direction, int]]:
        """Who spoke, and how many bytes until the other did: the shape that an observer compares."""
        turns: list[tuple[Direction, int]] = []
        for direction, piece in self.pieces:
            if turns and turns[-1][0] == direction:
                turns[-1] = (direction, turns[-1][1] + len(piece))
            else:
                turns.append((direction, len(piece)))
        return turns

    def records(self, direction: Direction) -> list[tuple[int, int]]:
        """The TLS records of one direction: content type and length of each."""
        return [(record[0], len(record)) for record in split_records(self.all_bytes(direction))]


class CapturedStream(trio.abc.HalfCloseableStream):
    """Passes everything on and notes it."""

    def __init__(self, stream: trio.abc.HalfCloseableStream) -> None:
        self.capture = Capture()
        self._stream = stream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.capture.pieces.append(("sent", bytes(data)))
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        arrived = bytes(await self._stream.receive_some(max_bytes))
        if arrived:
            self.capture.pieces.append(("received", arrived))
        return arrived

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


class CapturingNetwork:
    """A network whose outgoing connections are captured; `captures` holds one entry for each."""

    def __init__(self, network: Network) -> None:
        self.captures: list[Capture] = []
        self._network = network

    async def connect(self, host: str, port: int) -> trio.abc.HalfCloseableStream:
        stream = CapturedStream(await self._network.connect(host, port))
        self.captures.append(stream.capture)
        return stream

    async def listen(self, host: str, port: int) -> Sequence[trio.abc.Listener[trio.abc.HalfCloseableStream]]:
        return await self._network.listen(host, port)

    def address_of(self, listener: trio.abc.Listener[trio.abc.HalfCloseableStream]) -> str:
        return self._network.address_of(listener)

    def caller_of(self, stream: trio.abc.HalfCloseableStream) -> tuple[str, int]:
        return self._network.caller_of(stream)


def split_records(stream: bytes) -> list[bytes]:
    """The TLS records of a stream (RFC 8446 5.1), headers included."""
    records = []
    while stream:
        length = RECORD_HEADER_BYTES + int.from_bytes(stream[3:RECORD_HEADER_BYTES], "big")
        records.append(stream[:length])
        stream = stream[length:]
    return records
