"""The daemon, but once it is told to (SIGUSR1), it dies when so many more things have become durable.

    python tests/system/dying_daemon.py STEPS --home … run …

A step is a commit of a database, or a sync of a file or directory of ours. It dies right after the step, as
by a power cut, before anything that was to follow. It says how many steps there have been on its log, so that
a run that survives shows how far one has to count.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from peerd.cli.main import program
from peerd.store.database import Database

STEP = "durable step"


class Countdown:
    """Counts steps from the signal on."""

    def __init__(self, steps_max: int) -> None:
        self._steps_max = steps_max
        self._armed = False
        self._steps = 0

    def arm(self, _number: int, _frame: FrameType | None) -> None:
        self._armed = True

    def after(self, work: Callable[..., Any]) -> Callable[..., Any]:
        """`work`, with a step at its end."""

        def counted(*arguments: Any) -> Any:
            result = work(*arguments)
            if self._armed:
                self._steps += 1
                os.write(2, f"{STEP} {self._steps}\n".encode())
                if self._steps >= self._steps_max:
                    os.kill(os.getpid(), signal.SIGKILL)
            return result

        return counted


if __name__ == "__main__":
    countdown = Countdown(int(sys.argv.pop(1)))
    os.fsync = countdown.after(os.fsync)
    Database.commit = countdown.after(Database.commit)  # type: ignore[method-assign]
    signal.signal(signal.SIGUSR1, countdown.arm)
    program(prog_name="peerd")
