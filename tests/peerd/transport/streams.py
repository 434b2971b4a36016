"""Streams that make life hard, for the tests of this room."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Sequence

import trio
from trio.testing import MockClock


class ChoppedStream(trio.abc.HalfCloseableStream):
    """Gives what it receives in pieces of the sizes named, over and over."""

    def __init__(self, stream: trio.abc.HalfCloseableStream, sizes: Sequence[int]) -> None:
        self._stream = stream
        self._sizes = itertools.cycle(sizes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        size = next(self._sizes)
        return bytes(await self._stream.receive_some(size if max_bytes is None else min(size, max_bytes)))

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


async def dribble(stream: trio.abc.SendStream, content: bytes, pause_s: float) -> None:
    """Send one byte, wait, send the next."""
    for byte in content:
        await stream.send_all(bytes([byte]))
        await trio.sleep(pause_s)


def run_on_mock_clock(scenario: Callable[[], Awaitable[None]]) -> None:
    """Run one example of hypothesis on a clock of its own that jumps over every wait."""

    async def bounded() -> None:
        with trio.fail_after(1000):
            await scenario()

    trio.run(bounded, clock=MockClock(autojump_threshold=0))
