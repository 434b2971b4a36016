"""Time as the protocol sees it: always an argument, never asked for.

Certificates count whole seconds since 1970 UTC. Acts carry a hybrid logical clock: the upper 48 of 64 bits
are milliseconds since 1970 UTC, the lower 16 a counter (Kulkarni et al., as protocol-study.md 4.2 R2 has it).
Deadlines use a monotonic clock of the caller's.
"""

from __future__ import annotations

from dataclasses import dataclass

from protocol.limits import END_OF_TIME_S

HLC_MAX = 2**63 - 1  # the year 6429; fits the signed 64-bit integers of databases
_COUNTER_BITS = 16


@dataclass(frozen=True, slots=True)
class Moment:
    """Now: `mono_ms` never goes back and has no epoch; `utc_ms` is milliseconds since 1970 UTC and may be
    wrong.
    """

    mono_ms: int
    utc_ms: int

    @property
    def utc_s(self) -> int:
        """Whole seconds since 1970 UTC, rounded down."""
        return self.utc_ms // 1000


def hlc_at(utc_ms: int) -> int:
    """The first hlc of a millisecond."""
    return utc_ms << _COUNTER_BITS


def hlc_ms(hlc: int) -> int:
    """Milliseconds since 1970 UTC of an hlc."""
    return hlc >> _COUNTER_BITS


def hlc_s(hlc: int) -> int:
    """Whole seconds since 1970 UTC: the place in reconciliation's order and in a validity window."""
    return (hlc >> _COUNTER_BITS) // 1000


def next_hlc(utc_ms: int, last: int) -> int:
    """The hlc for a new act: the clock, or one more than the author's own last act (design section 5,
    "Clocks").
    """
    return max(hlc_at(utc_ms), last + 1)


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """A period of validity, both ends included, in whole seconds since 1970 UTC."""

    start: int
    end: int

    def holds(self, at_s: int) -> bool:
        """Whether the second `at_s` lies inside."""
        return self.start <= at_s <= self.end

    def within(self, outer: Window) -> bool:
        """Whether this window is nested in `outer`."""
        return outer.start <= self.start and self.end <= outer.end

    @property
    def unlimited(self) -> bool:
        """Whether it never ends."""
        return self.end >= END_OF_TIME_S
