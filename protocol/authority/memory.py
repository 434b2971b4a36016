"""`ActStore` in memory: what the port means, in the fewest words, and the store of every simulated node.

A transaction is kept apart from what is committed and laid over it by every reading method. So a rollback or
a crash has nothing to undo, and the readers of the event log cannot see too much.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from protocol.authority.act_set import LoggedEvent, element_fits, event_fits, setting_fits
from protocol.limits import EVENTS_KEPT_MAX, EVENTS_PAGE_MAX


@dataclass(slots=True)
class _Durable:
    """What is committed. The elements stand in arrival order, each with its number."""

    elements: dict[bytes, tuple[int, bytes]] = field(default_factory=dict)
    settings: dict[str, bytes] = field(default_factory=dict)
    events: deque[LoggedEvent] = field(default_factory=lambda: deque(maxlen=EVENTS_KEPT_MAX))
    last_arrival: int = 0


@dataclass(slots=True)
class _Change:
    """What an open transaction has done so far."""

    last_arrival: int
    elements: dict[bytes, tuple[int, bytes]] = field(default_factory=dict)
    discarded: dict[bytes, None] = field(default_factory=dict)  # committed ones only; a dict, for its order
    settings: dict[str, bytes | None] = field(default_factory=dict)
    events: list[LoggedEvent] = field(default_factory=list)


def _sound(operation: str) -> None:
    """The medium that never fails."""


class MemoryActSet:
    """An `ActStore` whose medium is this process.

    `before_write` is called with the name of each write, and of `commit`, before it happens. An OSError that
    it raises is a failed medium: the call has no effect, and all later calls raise the same. Unlike a file's,
    the readers of the event log may not run beside `commit`: who holds this set commits on its own thread.
    """

    def __init__(self, before_write: Callable[[str], None] = _sound) -> None:
        """A new, empty set."""
        self._before_write = before_write
        self._durable = _Durable()
        self._change: _Change | None = None
        self._failure: OSError | None = None
        self._closed = False

    def reopened(self, before_write: Callable[[str], None] = _sound) -> MemoryActSet:
        """What a node finds when it starts again: all that was committed. This set is closed by it."""
        self.close()
        again = MemoryActSet(before_write)
        again._durable = self._durable
        return again

    # --- elements -----------------------------------------------------------------------------------------

    def load(self) -> Iterator[bytes]:
        """See `ActSet`."""
        self._check_usable()
        change = self._change
        for element_id, (_, raw) in self._durable.elements.items():
            if change is None or element_id not in change.discarded:
                yield raw
        if change is not None:
            yield from (raw for _, raw in change.elements.values())

    def get(self, element_id: bytes) -> bytes | None:
        """See `ActSet`."""
        entry = self._entry(element_id)
        return None if entry is None else entry[1]

    def arrival_of(self, element_id: bytes) -> int | None:
        """See `ActSet`."""
        entry = self._entry(element_id)
        return None if entry is None else entry[0]

    def in_arrival_order(self, ids: Collection[bytes]) -> list[bytes]:
        """See `ActSet`."""
        arrivals = [(arrival, element_id) for element_id in ids if (arrival := self.arrival_of(element_id))]
        return [element_id for _, element_id in sorted(dict.fromkeys(arrivals))]

    def put(self, element_id: bytes, raw: bytes) -> None:
        """See `ActSet`."""
        assert element_fits(element_id, raw)
        assert self._entry(element_id) is None, "an element is put once"
        change = self._writing("put")
        change.last_arrival += 1
        change.elements[element_id] = (change.last_arrival, raw)

    def discard(self, element_id: bytes) -> None:
        """See `ActSet`."""
        change = self._writing("discard")
        change.elements.pop(element_id, None)
        if element_id in self._durable.elements:
            change.discarded[element_id] = None

    # --- settings and events ------------------------------------------------------------------------------

    def setting(self, key: str) -> bytes | None:
        """See `ActSet`."""
        self._check_usable()
        if self._change is not None and key in self._change.settings:
            return self._change.settings[key]
        return self._durable.settings.get(key)

    def set_setting(self, key: str, value: bytes | None) -> None:
        """See `ActSet`."""
        assert setting_fits(key, value)
        self._writing("set_setting").settings[key] = value

    def note(self, kind: str, at_ms: int, facts: bytes) -> int:
        """See `ActSet`."""
        assert event_fits(kind, at_ms, facts)
        change = self._writing("note")
        number = self.last_event() + len(change.events) + 1
        change.events.append(LoggedEvent(number, at_ms, kind, facts))
        return number

    def events_after(self, number: int, limit: int) -> list[LoggedEvent]:
        """See `ActStore`."""
        assert 0 < limit <= EVENTS_PAGE_MAX
        self._check_usable()
        start = max(0, number + 1 - self.first_event())
        events = self._durable.events
        return [events[index] for index in range(start, min(start + limit, len(events)))]

    def last_event(self) -> int:
        """See `ActStore`."""
        self._check_usable()
        events = self._durable.events
        return events[-1].number if events else 0

    def first_event(self) -> int:
        """See `ActStore`."""
        return self.last_event() - len(self._durable.events) + 1

    # --- transactions -------------------------------------------------------------------------------------

    def begin(self) -> None:
        """See `ActStore`."""
        self._check_usable()
        assert self._change is None, "one transaction at a time"
        self._change = _Change(self._durable.last_arrival)

    def flush(self) -> None:
        """See `ActStore`: nothing is held back."""

    def commit(self) -> None:
        """See `ActStore`."""
        change = self._writing("commit")
        durable = self._durable
        for element_id in change.discarded:
            del durable.elements[element_id]
        durable.elements.update(change.elements)
        durable.last_arrival = change.last_arrival
        for key, value in change.settings.items():
            if value is None:
                durable.settings.pop(key, None)
            else:
                durable.settings[key] = value
        durable.events.extend(change.events)
        self._change = None

    def rollback(self) -> None:
        """See `ActStore`."""
        assert self._change is not None or self._failure is not None, "no transaction is open"
        self._change = None

    def close(self) -> None:
        """See `ActStore`."""
        self._change = None
        self._closed = True

    def _entry(self, element_id: bytes) -> tuple[int, bytes] | None:
        self._check_usable()
        if self._change is not None:
            if element_id in self._change.elements:
                return self._change.elements[element_id]
            if element_id in self._change.discarded:
                return None
        return self._durable.elements.get(element_id)

    def _writing(self, operation: str) -> _Change:
        """The open transaction, once the medium has agreed to one more write."""
        self._check_usable()
        assert self._change is not None, "every write needs an open transaction"
        try:
            self._before_write(operation)
        except OSError as failure:
            self._failure = failure
            raise
        return self._change

    def _check_usable(self) -> None:
        assert not self._closed, "the set is closed"
        if self._failure is not None:
            raise self._failure
