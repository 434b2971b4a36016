"""The event logs of all open groups, read as one.

A cursor is a position in each group's log: the base64url of a canonical map from group authority (40 hex
digits) to the number of the last event read. A group that a cursor does not name is read from its start.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping

from peerd.control import schema
from peerd.control.operations import EventPage
from peerd.control.schema import end_at, time_at_ms
from protocol.authority.act_set import ActStore, LoggedEvent
from protocol.codec import decode_untrusted, encode
from protocol.errors import RemoteProtocolError, RuleError

_CURSOR_BYTES_MAX = 16 * 1024
_TIMES = ("not_before", "not_after")  # of the facts, in seconds UTC


class GroupEvents:
    """Reads what is committed; nothing here waits."""

    def __init__(self, stores: Callable[[], Mapping[str, tuple[str, ActStore]]]) -> None:
        """`stores` gives, by group authority in hex, each open group's name and store."""
        self._stores = stores

    def start(self) -> str:
        """The position before the oldest event kept."""
        return _write(
            {authority: store.first_event() - 1 for authority, (_, store) in self._stores().items()}
        )

    def end(self) -> str:
        """The position after the newest event."""
        return _write({authority: store.last_event() for authority, (_, store) in self._stores().items()})

    def after(self, cursor: str, limit: int) -> EventPage:
        """Up to `limit` events after `cursor`, by time. Raises: RuleError(invalid-argument)."""
        read = _read(cursor)
        lagged = False
        found: list[tuple[int, str, LoggedEvent, str]] = []
        for authority, (name, store) in self._stores().items():
            since, first = read.get(authority, 0), store.first_event()
            if since < first - 1:
                lagged, since = lagged or since > 0, first - 1
            read[authority] = since
            found += [(event.at_ms, authority, event, name) for event in store.events_after(since, limit)]
        # Numbers of one group must stay in order even where a clock went back between two of them.
        found.sort(key=lambda one: (one[0], one[1], one[2].number))
        events = []
        for authority, event, name in _in_number_order(found, read)[:limit]:
            read[authority] = event.number
            events.append(_render(event, name, _write(read)))
        return EventPage(events, _write(read), lagged)


def _in_number_order(
    found: list[tuple[int, str, LoggedEvent, str]], read: Mapping[str, int]
) -> list[tuple[str, LoggedEvent, str]]:
    """The events by time, but those of one group by number: each place in the order takes its group's next
    one.
    """
    waiting: dict[str, list[tuple[LoggedEvent, str]]] = {authority: [] for authority in read}
    for _, authority, event, name in sorted(found, key=lambda one: one[2].number):
        waiting[authority].append((event, name))
    return [(authority, *waiting[authority].pop(0)) for _, authority, _, _ in found]


def _render(event: LoggedEvent, group: str, cursor: str) -> schema.Event:
    facts = decode_untrusted(event.facts, bytes_max=len(event.facts))
    for name in _TIMES:
        if name in facts:
            facts[name] = None if (end := end_at(facts[name])) is None else f"{end:%Y-%m-%dT%H:%M:%SZ}"
    return schema.Event(
        cursor=cursor, kind=event.kind, time=time_at_ms(event.at_ms), group=group, facts=facts
    )


def _write(read: Mapping[str, int]) -> str:
    return base64.urlsafe_b64encode(encode(dict(read))).rstrip(b"=").decode("ascii")


def _read(cursor: str) -> dict[str, int]:
    try:
        packed = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        value = decode_untrusted(packed, bytes_max=_CURSOR_BYTES_MAX)
    except (binascii.Error, ValueError, RemoteProtocolError):
        value = None
    if type(value) is not dict or not all(type(number) is int and number >= 0 for number in value.values()):
        raise RuleError(
            "invalid-argument", "this is no event cursor of this daemon", hint="read on from `start`"
        )
    return value
