"""The event logs of all open groups, read as one.

A cursor is a position in each log: the base64url of a canonical map from the log's name (from the node id,
which is drawn anew with each log) to the number of the last event read. A log that a cursor does not name is
read from its start; one that is gone leaves the cursor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from peerd.control import schema
from peerd.control.operations import ALL_EVENTS, EventPage, Selection
from peerd.control.schema import end_at, time_at_ms
from peerd.groups.base64url import read_base64url, write_base64url
from protocol.authority.act_set import ActStore, LoggedEvent
from protocol.codec import decode_untrusted, encode
from protocol.errors import RemoteProtocolError, RuleError

_CURSOR_BYTES_MAX = 16 * 1024
_TIMES = ("not_before", "not_after")  # of the facts, in seconds UTC
_TIMES_MS = ("modified",)  # in milliseconds


class GroupEvents:
    """Reads what is committed; nothing here waits."""

    def __init__(self, stores: Callable[[], Mapping[str, tuple[str, ActStore]]]) -> None:
        """`stores` gives, by the log's name, each open group's name and store."""
        self._stores = stores

    def start(self) -> str:
        """The position before the oldest event kept."""
        return _write({log: store.first_event() - 1 for log, (_, store) in self._stores().items()})

    def end(self) -> str:
        """The position after the newest event."""
        return _write({log: store.last_event() for log, (_, store) in self._stores().items()})

    def after(self, cursor: str, limit: int, selection: Selection = ALL_EVENTS) -> EventPage:
        """Those selected among the next `limit` events after `cursor`, by time.

        What is not selected is neither decoded further than its selection needs, nor given a cursor. Raises:
        RuleError(invalid-argument).
        """
        before, read = _read(cursor), dict[str, int]()
        lagged = False
        found: list[tuple[int, str, LoggedEvent, str]] = []
        for log, (name, store) in self._stores().items():
            # A log put back from a backup may be shorter than it was.
            since, oldest = min(before.get(log, 0), store.last_event()), store.first_event() - 1
            lagged = lagged or since < oldest
            read[log] = max(since, oldest)
            events_here = store.events_after(read[log], limit)
            found += [(event.at_ms, log, event, name) for event in events_here]
        # Numbers of one group must stay in order even where a clock went back between two of them.
        found.sort(key=lambda one: (one[0], one[1], one[2].number))
        events = []
        for log, event, name in _in_number_order(found, read)[:limit]:
            read[log] = event.number
            if selection.wants(event.kind, name, lambda event=event: _facts(event)):  # type: ignore[misc]
                events.append(_render(event, name, _write(read)))
        return EventPage(events, _write(read), lagged)


def _in_number_order(
    found: list[tuple[int, str, LoggedEvent, str]], read: Mapping[str, int]
) -> list[tuple[str, LoggedEvent, str]]:
    """The events by time, but those of one group by number: each place in the order takes its group's next
    one.
    """
    waiting: dict[str, list[tuple[LoggedEvent, str]]] = {log: [] for log in read}
    for _, log, event, name in sorted(found, key=lambda one: one[2].number):
        waiting[log].append((event, name))
    return [(log, *waiting[log].pop(0)) for _, log, _, _ in found]


def _facts(event: LoggedEvent) -> dict[str, Any]:
    facts: dict[str, Any] = decode_untrusted(event.facts, bytes_max=len(event.facts))
    return facts


def _render(event: LoggedEvent, group: str, cursor: str) -> schema.Event:
    facts = _facts(event)
    for name in _TIMES:
        if name in facts:
            facts[name] = None if (end := end_at(facts[name])) is None else f"{end:%Y-%m-%dT%H:%M:%SZ}"
    for name in _TIMES_MS:
        if name in facts:
            facts[name] = time_at_ms(facts[name]).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return schema.Event(
        cursor=cursor, kind=event.kind, time=time_at_ms(event.at_ms), group=group, facts=facts
    )


def _write(read: Mapping[str, int]) -> str:
    return write_base64url(encode(dict(read)))


def _read(cursor: str) -> dict[str, int]:
    packed = read_base64url(cursor)
    try:
        value = None if packed is None else decode_untrusted(packed, bytes_max=_CURSOR_BYTES_MAX)
    except RemoteProtocolError:
        value = None
    if type(value) is not dict or not all(type(number) is int and number >= 0 for number in value.values()):
        raise RuleError(
            "invalid-argument", "this is no event cursor of this daemon", hint="read on from `start`"
        )
    return value
