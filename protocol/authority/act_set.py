"""The port through which a group's machine reaches its acts, and what must become durable with them.

An *element* is an act or the DER of a grant: its id and the bytes that arrived (elements.py). Elements are
numbered as they arrive, from 1. A machine puts an element only once everything it names by hash is in the
set, so arrival order is a causal order: whoever goes through the set from the start, or sends a part of it in
this order, meets parents first.

Beside the elements stand *settings*, small values under names that the code chooses (own chain, node id), and
the *event log*, what the user is told later. They are here because they must not come apart from the
elements: one transaction holds all three.

A machine sees `ActSet` and knows nothing of transactions. Its driver sees `ActStore`, opens one transaction
for a batch of events, and ends it before anything is said to anybody. What a medium raises when it fails is
the medium's own; a machine lets it pass.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Protocol

from protocol.ids import ACT_ID_BYTES
from protocol.limits import (
    ACT_BYTES_MAX,
    EVENT_FACTS_BYTES_MAX,
    EVENT_KIND_CHARACTERS_MAX,
    SETTING_BYTES_MAX,
    SETTING_KEY_CHARACTERS_MAX,
)


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """One entry of the event log.

    `number` counts from 1; `at_ms` is milliseconds since 1970 UTC; `facts` is a canonical msgpack map.
    """

    number: int
    at_ms: int
    kind: str
    facts: bytes


class ActSet(Protocol):
    """What a machine may do. Reading sees the transaction's own writes.

    A value outside the bounds of limits.py, a write without an open transaction, or an id put twice is a
    programming error: AssertionError.
    """

    def load(self) -> Iterator[bytes]:
        """The raw bytes of every element, in arrival order. To be used up, or let go, before a write."""

    def get(self, element_id: bytes) -> bytes | None:
        """The raw bytes of one element."""

    def put(self, element_id: bytes, raw: bytes) -> None:
        """Add an element under the next arrival number."""

    def discard(self, element_id: bytes) -> None:
        """Drop an element if it is there. Its arrival number is not given to another."""

    def in_arrival_order(self, ids: Collection[bytes]) -> list[bytes]:
        """The ids among `ids` that are in the set, each once, oldest arrival first."""

    def arrival_of(self, element_id: bytes) -> int | None:
        """The arrival number of an element."""

    def setting(self, key: str) -> bytes | None:
        """The value of a setting, None when it was never set or was cleared."""

    def set_setting(self, key: str, value: bytes | None) -> None:
        """Set a setting, or clear it with None."""

    def note(self, kind: str, at_ms: int, facts: bytes) -> int:
        """Append to the event log and give the entry's number; beyond EVENTS_KEPT_MAX the oldest goes."""


class ActStore(ActSet, Protocol):
    """What a driver may do besides: end what a machine did as one, and read the event log.

    One transaction at a time. `commit` may run on another thread than the writes before it, as long as
    nothing else uses the set meanwhile but the three readers of the event log; these see only what is
    committed, and may be called at any time.

    When a write or `commit` raises, the transaction must be ended with `rollback`; whatever was remembered
    outside of the set must then be forgotten too, by building it anew from `load`. A medium that can no
    longer be trusted refuses everything from then on.
    """

    def begin(self) -> None:
        """Open a transaction."""

    def flush(self) -> None:
        """Write what is held back of the transaction, on the thread of the writes before: so that `commit`
        has little left to do but to wait for the disk. Any `commit` does it first.
        """

    def commit(self) -> None:
        """Make the transaction durable: once this returns, no crash or power cut takes any of it away."""

    def rollback(self) -> None:
        """End the transaction as if it had never been opened. On a set that has failed it does nothing."""

    def events_after(self, number: int, limit: int) -> list[LoggedEvent]:
        """The oldest committed events numbered above `number`, at most `limit` (1 … EVENTS_PAGE_MAX)."""

    def last_event(self) -> int:
        """The number of the newest committed event, 0 when there never was one."""

    def first_event(self) -> int:
        """The number of the oldest event kept, 1 when there never was one."""

    def close(self) -> None:
        """Let go of the medium; an open transaction is rolled back. Closing twice is the same as once."""


def element_fits(element_id: bytes, raw: bytes) -> bool:
    """Whether an element is within bounds: what every `put` asserts."""
    return len(element_id) == ACT_ID_BYTES and 0 < len(raw) <= ACT_BYTES_MAX


def setting_fits(key: str, value: bytes | None) -> bool:
    """Whether a setting is within bounds: what every `set_setting` asserts."""
    return 0 < len(key) <= SETTING_KEY_CHARACTERS_MAX and (value is None or len(value) <= SETTING_BYTES_MAX)


def event_fits(kind: str, at_ms: int, facts: bytes) -> bool:
    """Whether an event is within bounds: what every `note` asserts."""
    kind_fits = 0 < len(kind) <= EVENT_KIND_CHARACTERS_MAX
    return kind_fits and 0 <= at_ms < 2**63 and len(facts) <= EVENT_FACTS_BYTES_MAX
