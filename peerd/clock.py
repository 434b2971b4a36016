"""The only place that asks what time it is.

Deadlines follow trio's clock, so that a test on a mock clock moves them; certificates and acts follow the
machine's calendar, which is handed in for the same reason. `trio` is imported when first needed: the command
line measures its waits here too and must answer without loading it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from protocol.peer_time import Moment


def calendar_ms() -> int:
    """Milliseconds since 1970 UTC by this machine's clock, which may be wrong."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Clock:
    """Gives the moments that the protocol takes as arguments."""

    utc_ms: Callable[[], int] = calendar_ms

    def moment(self) -> Moment:
        """Now; only inside a trio run, because `mono_ms` is that run's clock."""
        import trio

        return Moment(mono_ms=int(trio.current_time() * 1000), utc_ms=self.utc_ms())


def clock_from(epoch_ms: int) -> Clock:
    """A clock whose calendar starts at `epoch_ms` and then moves with trio's: for tests on a mock clock."""
    import trio

    begun = trio.current_time()
    return Clock(utc_ms=lambda: epoch_ms + int((trio.current_time() - begun) * 1000))


def steady_s() -> float:
    """Seconds of a clock that never goes back, outside of trio."""
    return time.monotonic()


def pause(seconds: float) -> None:
    """Block this thread, outside of trio."""
    time.sleep(seconds)
