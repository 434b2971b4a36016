"""A terminal with bash in it, as a person has one: lines are typed, answers read up to the next prompt."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fcntl import ioctl
from pathlib import Path

from peerd.clock import steady_s

COLUMNS = 200
ANSWER_S_MAX = 60
_PROMPT = re.compile(r"<exit (\d+)> ")
_TOLD_BY_PROMPT = "<exit $?> "


@dataclass(frozen=True)
class Typed:
    """What a line of bash came to."""

    line: str
    code: int
    shown: str


class Terminal:
    """One interactive bash with job control, on a pseudo-terminal of its own."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self._here, there = pty.openpty()
        ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
        settings = termios.tcgetattr(there)
        settings[3] &= ~termios.ECHO
        termios.tcsetattr(there, termios.TCSANOW, settings)
        # A session's leader gets the first terminal that it opens as its own: that is what job control needs.
        # A shell that is not interactive drops PS1, so the interactive one is given it by name.
        shell = 'PS1=$1 exec bash --noprofile --norc --noediting -i <"$0" >"$0" 2>&1'
        self._bash = subprocess.Popen(
            ["bash", "-c", shell, os.ttyname(there), _TOLD_BY_PROMPT],
            cwd=directory,
            env={**environment, "PS2": "", "TERM": "dumb"},
            start_new_session=True,
        )
        self._read = b""
        self._read_answer()
        os.close(there)

    def type(self, line: str) -> Typed:
        """Type one line and wait for the next prompt."""
        os.write(self._here, f"{line}\n".encode())
        code, shown = self._read_answer()
        return Typed(line, code, shown)

    def hang_up(self) -> None:
        """Close the terminal as if its window were closed; what still runs in it ends."""
        jobs = [int(pid) for pid in self.type("jobs -p").shown.split() if pid.isdigit()]
        for pid in jobs:
            os.kill(pid, signal.SIGKILL)
        os.close(self._here)
        self._bash.wait(ANSWER_S_MAX)

    def _read_answer(self) -> tuple[int, str]:
        """What is shown up to the next prompt; what daemons print behind that belongs to the next answer."""
        until = steady_s() + ANSWER_S_MAX
        while (found := _PROMPT.search(text := _text(self._read))) is None:
            ready, _, _ = select.select([self._here], [], [], max(0, until - steady_s()))
            assert ready, f"no prompt after {ANSWER_S_MAX} s; so far:\n{text}"
            self._read += os.read(self._here, 65_536)
        self._read = text[found.end() :].encode()
        return int(found[1]), text[: found.start()]


def _text(read: bytes) -> str:
    return read.decode(errors="replace").replace("\r", "")


@contextmanager
def terminal(directory: Path, environment: Mapping[str, str]) -> Iterator[Terminal]:
    """A terminal for the length of a `with`."""
    opened = Terminal(directory, environment)
    try:
        yield opened
    finally:
        opened.hang_up()
