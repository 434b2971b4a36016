"""The daemon, and a word at its end on how long its loop was held: `python -m scripts.bench.watched FILE …`.

Two things are measured, in milliseconds. *Late* is how much later than wanted a task woke that sleeps for
10 ms again and again: what everything else in the daemon waits for, other programs on this machine included.
*Steps* are the processor times that tasks took from one await to the next: what of it is the daemon's doing.
"""

from __future__ import annotations

import heapq
import json
import math
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import trio

from scripts.bench.figures import Row

HELD_MS_TARGET = 50
_WAKE_S = 0.01
_STEPS_KEPT = 8


class Watch(trio.abc.Instrument):
    """Measures both."""

    def __init__(self) -> None:
        """Nothing has happened yet."""
        self.late_ms: list[float] = []
        self.steps: list[tuple[float, str]] = []  # the longest, as a heap
        self._began_s = 0.0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """A task goes on."""
        self._began_s = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """It waits again."""
        step = (time.thread_time() - self._began_s) * 1000, task.name
        if len(self.steps) < _STEPS_KEPT:
            heapq.heappush(self.steps, step)
        elif step > self.steps[0]:
            heapq.heapreplace(self.steps, step)

    async def wake(self) -> None:
        """Wake again and again until cancelled."""
        while True:
            wanted = trio.current_time() + _WAKE_S
            await trio.sleep_until(wanted)
            self.late_ms.append((trio.current_time() - wanted) * 1000)

    async def around(self, main: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        """Run the program's own main task, and watch until it ends."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.wake)
            try:
                await main(*arguments)
            finally:
                nursery.cancel_scope.cancel()

    def told(self) -> dict[str, Any]:
        """What has been measured."""
        return {
            "late_p99": percentile(self.late_ms, 0.99),
            "late_max": max(self.late_ms, default=0.0),
            "steps": sorted(self.steps, reverse=True),
        }


def held_row(what: str, told: dict[str, Any]) -> Row:
    """What `Watch.told` says, for a person."""
    longest, task = told["steps"][0]
    return Row(
        f"  {what} held, p99 / longest",
        f"{told['late_p99']:,.0f} / {told['late_max']:,.0f} ms",
        f"target {HELD_MS_TARGET} ms; longest step {longest:,.0f} ms of processor time, by {task}",
    )


def percentile(values: Sequence[float], part: float) -> float:
    """The value that this part of them does not exceed; 0 when there are none."""
    return sorted(values)[math.ceil(len(values) * part) - 1] if values else 0.0


def main() -> None:
    """Run the program with its loop watched."""
    from peerd.cli.main import program

    told, watch, run = Path(sys.argv.pop(1)), Watch(), trio.run

    def watched(start: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        try:
            run(watch.around, start, *arguments, instruments=[watch])
        finally:
            told.write_text(json.dumps(watch.told()))

    trio.run = watched  # type: ignore[assignment]
    program(prog_name="peerd")


if __name__ == "__main__":
    main()
