"""Schedule: simulated time, and what happens when.

Actions at the same millisecond happen in the order in which they were planned, so that a run depends on
nothing but its seed. Nothing is ever taken back: who plans for a node that may die meanwhile looks, when the
time has come, whether it still lives.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

Action = Callable[[], None]


class Schedule:
    """A clock of whole milliseconds from 0, and a queue of actions."""

    def __init__(self) -> None:
        """Begin at 0 with nothing planned."""
        self.now_ms = 0
        self.done = 0
        self._planned: list[tuple[int, int, Action]] = []
        self._count = 0

    def at(self, ms: int, action: Action) -> None:
        """Plan an action; one for the past happens next."""
        heappush(self._planned, (max(ms, self.now_ms), self._count, action))
        self._count += 1

    def after(self, delay_ms: int, action: Action) -> None:
        """Plan an action so many milliseconds from now."""
        self.at(self.now_ms + delay_ms, action)

    def run_until(self, ms: int) -> None:
        """Let everything planned up to and with this millisecond happen, what is planned meanwhile too."""
        while self._planned and self._planned[0][0] <= ms:
            self.now_ms, _, action = heappop(self._planned)
            self.done += 1
            action()
        self.now_ms = max(self.now_ms, ms)
