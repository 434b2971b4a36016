"""A network of memory streams, and a connection without TLS: whole nodes in one process, on a mock clock.

`MemoryNetwork().host("10.0.0.1")` is a `Network` that connects and listens from there. Give it to `dial` and
`Listener`, with `secure=plain` to leave TLS out.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
from collections import Counter
from collections.abc import Callable

import trio
from trio.testing import memory_stream_pair

from peerd.errors import LinkLost

PORT_OF_FIRST_CALLER = 40_000
BACKLOG = 1024
Pair = Callable[[], tuple[trio.StapledStream, trio.StapledStream]]


class MemoryEnd(trio.abc.HalfCloseableStream):
    """One end of a connection, which knows where the other one is."""

    def __init__(self, stream: trio.StapledStream, ours: tuple[str, int], theirs: tuple[str, int]) -> None:
        self.ours = ours
        self.theirs = theirs
        self._stream = stream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return bytes(await self._stream.receive_some(max_bytes))

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


class MemoryListener(trio.abc.Listener[trio.abc.HalfCloseableStream]):
    """Accepts what `MemoryHost.connect` puts in its queue."""

    def __init__(self, network: MemoryNetwork, place: tuple[str, int]) -> None:
        self.place = place
        self._network = network
        self.send_arrival, self._arrivals = trio.open_memory_channel[MemoryEnd](BACKLOG)

    async def accept(self) -> trio.abc.HalfCloseableStream:
        return await self._arrivals.receive()

    async def aclose(self) -> None:
        self._network.listeners.pop(self.place, None)
        self._arrivals.close()
        await trio.lowlevel.checkpoint()


class MemoryNetwork:
    """All hosts and who listens where. `pair` makes the two ends: by default they buffer without bound."""

    def __init__(self, pair: Pair = memory_stream_pair) -> None:
        self.pair = pair
        self.listeners: dict[tuple[str, int], MemoryListener] = {}
        self.ends: list[MemoryEnd] = []
        self.unplugged: set[str] = set()
        self.calls = Counter[tuple[str, str]]()  # by host and host, those that were refused too
        self.ports = itertools.count(PORT_OF_FIRST_CALLER)

    def host(self, name: str) -> MemoryHost:
        return MemoryHost(self, name)

    async def unplug(self, host: str) -> None:
        """Break every connection from and to `host`, and refuse new ones until `plug`."""
        self.unplugged.add(host)
        broken = [end for end in self.ends if host in (end.ours[0], end.theirs[0])]
        self.ends = [end for end in self.ends if end not in broken]
        for end in broken:
            await trio.aclose_forcefully(end)

    def plug(self, host: str) -> None:
        self.unplugged.discard(host)


class MemoryHost:
    """The network as one host sees it."""

    def __init__(self, network: MemoryNetwork, name: str) -> None:
        self.network = network
        self.name = name

    async def connect(self, host: str, port: int) -> trio.abc.HalfCloseableStream:
        await trio.lowlevel.checkpoint()
        self.network.calls[self.name, host] += 1
        listener = self.network.listeners.get((host, port))
        if listener is None or self.network.unplugged & {host, self.name}:
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        source, target = (self.name, next(self.network.ports)), (host, port)
        ours, theirs = self.network.pair()
        caller, answerer = MemoryEnd(ours, source, target), MemoryEnd(theirs, target, source)
        listener.send_arrival.send_nowait(answerer)
        self.network.ends += [caller, answerer]
        return caller

    async def listen(self, host: str, port: int) -> list[trio.abc.Listener[trio.abc.HalfCloseableStream]]:
        await trio.lowlevel.checkpoint()
        place = (host, port or next(self.network.ports))
        if place in self.network.listeners:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        listener = self.network.listeners[place] = MemoryListener(self.network, place)
        return [listener]

    def address_of(self, listener: trio.abc.Listener[trio.abc.HalfCloseableStream]) -> str:
        assert isinstance(listener, MemoryListener)
        return f"{listener.place[0]}:{listener.place[1]}"

    def caller_of(self, stream: trio.abc.HalfCloseableStream) -> tuple[str, int]:
        assert isinstance(stream, MemoryEnd)
        return stream.theirs


class PlainConnection:
    """A connection without TLS, whose exporter is what both ends drew."""

    def __init__(self, stream: trio.abc.HalfCloseableStream, exporter: bytes) -> None:
        self.exporter = exporter
        self._stream = stream

    async def receive_some(self) -> bytes:
        try:
            return bytes(await self._stream.receive_some(65_536))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise LinkLost("the memory stream broke") from error

    async def send_all(self, content: bytes) -> None:
        try:
            await self._stream.send_all(content)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise LinkLost("the memory stream broke") from error

    async def finish(self) -> None:
        try:
            await self._stream.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise LinkLost("the memory stream broke") from error
        while await self.receive_some():
            pass

    async def aclose(self) -> None:
        await trio.aclose_forcefully(self._stream)


async def plain(stream: trio.abc.HalfCloseableStream) -> PlainConnection:
    """Both halves of a handshake without TLS: each end sends 32 random bytes."""
    nonce = os.urandom(32)
    heard = b""
    try:
        await stream.send_all(nonce)
        while len(heard) < len(nonce):
            arrived = await stream.receive_some(len(nonce) - len(heard))
            if not arrived:
                raise LinkLost("the memory stream ended early")
            heard += bytes(arrived)
    except trio.BrokenResourceError as error:
        raise LinkLost("the memory stream broke") from error
    exporter = hashlib.sha256(b"".join(sorted((nonce, heard)))).digest()
    return PlainConnection(stream, exporter)
