"""Waiting until what was written here is durable on neighbors too.

The machine counts who has told so; whoever waits looks at the count again whenever it has grown.
"""

from __future__ import annotations

from collections.abc import Callable

import trio


class Replication:
    """Those who wait, in one group."""

    def __init__(self, count: Callable[[bytes], int]) -> None:
        """`count` says on how many neighbors a version (32 bytes) is durable, as far as is known."""
        self.count = count
        self._waiting = trio.lowlevel.ParkingLot()

    def grown(self) -> None:
        """A count has grown."""
        self._waiting.unpark_all()

    async def wait(self, version_id: bytes, neighbors: int) -> None:
        """Wait until a version is durable on so many neighbors; only the caller's patience ends it sooner."""
        await trio.lowlevel.checkpoint()
        while self.count(version_id) < neighbors:
            await self._waiting.park()
