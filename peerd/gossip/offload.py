"""Work that would hold up the loop goes to a worker thread; in tests on a mock clock it stays where it is.

A mock clock that jumps when all tasks wait would jump past a running thread, so who builds the daemon
decides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import trio

T = TypeVar("T")


class Offload(Protocol):
    """Run a function somewhere, and wait for its result."""

    async def __call__(self, work: Callable[[], T]) -> T:
        """Return what `work` returns, raise what it raises; it is never abandoned half-way."""
        ...


async def in_thread(work: Callable[[], T]) -> T:
    """In a worker thread, so that the loop goes on meanwhile."""
    return await trio.to_thread.run_sync(work)


async def inline(work: Callable[[], T]) -> T:
    """Here and now, for tests on a mock clock."""
    await trio.lowlevel.checkpoint()
    return work()
