"""What every part of the bench shares: what a piece of work took, the bound beside it, and the printed rows.

Two clocks run. Wall time is what a user waits, and on a busy machine tells as much of the others as of us;
processor time is what the work itself costs. The bound of everything here is how many Ed25519 signatures one
core makes or checks with the library alone. It is sampled between the pieces of each measurement, by
processor time, so that the figure and its bound have met the same machine.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from protocol.credentials.keys import PrivateKey

MESSAGE_BYTES = 600  # about what the signature of an act or of a certificate covers
SAMPLE_SIGNATURES = 50


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the result."""

    what: str
    figure: str
    beside: str = ""


def show(title: str, rows: Sequence[Row]) -> None:
    """Print a block."""
    print(title)
    width = max(len(row.what) for row in rows)
    for row in rows:
        print(f"  {row.what:<{width}} {row.figure:>14}   {row.beside}".rstrip())
    print(flush=True)


@dataclass(slots=True)
class Spent:
    """What the pieces of one measurement took together, in seconds."""

    wall_s: float = 0.0
    processor_s: float = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count what happens inside."""
        wall_s, processor_s = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self.wall_s += time.perf_counter() - wall_s
            self.processor_s += time.process_time() - processor_s


def per_second(count: int, seconds: float) -> float:
    """A rate; as fast as the clock can tell where nothing was measured."""
    return count / max(seconds, 1e-9)


@dataclass(slots=True)
class Bound:
    """The raw rates of one core, by processor time; sample it between the pieces of a measurement."""

    _made: list[float] = field(default_factory=list)
    _checked: list[float] = field(default_factory=list)

    def sample(self) -> None:
        """Make and check some signatures with the library alone."""
        key, message = PrivateKey.from_seed(bytes(32)), bytes(MESSAGE_BYTES)
        private, public, signature = key.crypto, key.public.crypto, key.sign(message)
        self._made.append(_rate(lambda: private.sign(message)))
        self._checked.append(_rate(lambda: public.verify(signature, message)))

    @property
    def made_per_s(self) -> float:
        """Signatures made, median of the samples."""
        return statistics.median(self._made)

    @property
    def checked_per_s(self) -> float:
        """Signatures checked, median of the samples."""
        return statistics.median(self._checked)


def _rate(work: Callable[[], object]) -> float:
    spent = Spent()
    with spent.running():
        for _ in range(SAMPLE_SIGNATURES):
            work()
    return per_second(SAMPLE_SIGNATURES, spent.processor_s)


def bound_rows(samples: int) -> list[Row]:
    """The bound by itself."""
    bound = Bound()
    for _ in range(samples):
        bound.sample()
    return [
        Row("Ed25519 signatures made", f"{bound.made_per_s:,.0f} /s"),
        Row("Ed25519 signatures checked", f"{bound.checked_per_s:,.0f} /s"),
    ]


def median_and_slowest(milliseconds: Sequence[float]) -> str:
    """Two figures for what a user waits."""
    return f"{statistics.median(milliseconds):,.0f} / {max(milliseconds):,.0f} ms"
