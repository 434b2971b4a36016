"""The event stream: a subscriber reads the log, page by page, and waits for the bell when it has read all.

A subscriber has no queue that others fill. It holds a position in the log and one page of it, so a client
that reads slowly costs one page of memory however much happens, and misses nothing while the log still holds
what it has not read. When the log no longer does, it is told so with `lagged`, and reading goes on at the
oldest event kept. What waits for a slow client is thus bounded by the log's own bound, and by one page here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Literal

import msgspec
import trio

from peerd.control import schema
from peerd.control.http1 import StopSignal
from peerd.control.limits import EVENT_KINDS_MAX, EVENTS_PAGE_MAX, KEEPALIVE_S
from peerd.control.operations import EventLog, EventPage, Selection
from peerd.errors import BadRequest

START: Final = "start"
SSE: Final = "text/event-stream"
NDJSON: Final = "application/x-ndjson"

Send = Callable[[bytes], Awaitable[None]]


class EventBell:
    """Rung after events were committed; wakes all subscribers that have read everything."""

    def __init__(self) -> None:
        """Nothing has been rung for."""
        self._rung = 0
        self._ringing = trio.Event()

    @property
    def rung(self) -> int:
        """How often it was rung."""
        return self._rung

    def ring(self) -> None:
        """Wake whoever waits; never blocks."""
        self._rung += 1
        self._ringing.set()
        self._ringing = trio.Event()

    async def wait_after(self, rung: int) -> None:
        """Return once it was rung more often than `rung` times, at once if it has been."""
        while self._rung <= rung:
            await self._ringing.wait()


def kinds_of(text: str | None) -> frozenset[str] | None:
    """The kinds in a list separated by commas. Raises: BadRequest."""
    if text is None:
        return None
    kinds = frozenset(text.split(","))
    if "" in kinds or len(kinds) > EVENT_KINDS_MAX:
        raise BadRequest(f"kinds is a list of 1 to {EVENT_KINDS_MAX} names separated by commas.")
    return kinds


class SseFormat:
    """Server-sent events, as browsers read them."""

    media_type: Final = SSE

    def event(self, event: schema.Event) -> bytes:
        """One event; its `data` is the JSON of `schema.Event`, which holds no line end."""
        head = f"id: {event.cursor}\nevent: {event.kind}\n".encode()
        return head + b"data: " + msgspec.json.encode(event) + b"\n\n"

    def alive(self, cursor: str) -> bytes:
        """A sign of life, which also moves the client's place past events that it did not ask for."""
        return f"id: {cursor}\n: alive\n\n".encode()


class NdjsonFormat:
    """One JSON object a line."""

    media_type: Final = NDJSON

    def event(self, event: schema.Event) -> bytes:
        """One event."""
        return msgspec.json.encode(event) + b"\n"

    def alive(self, _cursor: str) -> bytes:
        """A sign of life: an empty line, which JSON readers skip."""
        return b"\n"


def format_for(accept: str) -> SseFormat | NdjsonFormat:
    """The form that an Accept header asks for. Raises: BadRequest("not-acceptable")."""
    asked = {part.split(";")[0].strip().lower() for part in accept.split(",")}
    if asked & {SSE, "text/*", "*/*", ""}:
        return NdjsonFormat() if NDJSON in asked and SSE not in asked else SseFormat()
    if asked & {NDJSON, "application/*"}:
        return NdjsonFormat()
    raise BadRequest(
        f"Events come as {SSE} or {NDJSON}.", code="not-acceptable", hint=f"curl -H 'Accept: {NDJSON}' …"
    )


@dataclass(frozen=True, slots=True)
class Subscription:
    """One subscriber: what it wants, in which form, and where it starts.

    Made before the answer begins, so that a cursor that is none is still refused as a whole.
    """

    log: EventLog
    bell: EventBell
    stop: StopSignal
    selection: Selection
    form: SseFormat | NdjsonFormat
    follow: bool
    cursor: str

    async def run(self, send: Send) -> None:
        """Send events until the daemon stops, or until there are no more if `follow` is not set."""
        await send(self.form.alive(self.cursor))
        position = self.cursor
        while True:
            rung = self.bell.rung  # before reading: what is committed meanwhile is not slept over
            page = self.log.after(position, EVENTS_PAGE_MAX, self.selection)
            await self._send_page(send, page)
            if page.cursor != position:
                position = page.cursor
                continue
            if not self.follow:
                return
            if self.stop.requested:
                await send(self.form.event(_mark("bye", position)))
                return
            if not await self._rung_again(rung):
                await send(self.form.alive(position))

    async def _send_page(self, send: Send, page: EventPage) -> None:
        parts = [self.form.event(_mark("lagged", self.log.start()))] if page.lagged else []
        parts += [self.form.event(event) for event in page.events]
        if parts:
            await send(b"".join(parts))
        else:
            await trio.lowlevel.checkpoint()

    async def _rung_again(self, rung: int) -> bool:
        """Wait for news or the stop; False after a quiet time that calls for a sign of life."""
        with trio.move_on_after(KEEPALIVE_S) as quiet, self.stop.cuts():
            await self.bell.wait_after(rung)
        return not quiet.cancelled_caught


def subscribe(
    log: EventLog,
    bell: EventBell,
    stop: StopSignal,
    query: schema.EventsQuery,
    *,
    group: str | None,
    accept: str,
    last_event_id: str,
) -> Subscription:
    """Check what a subscriber asks for; `group` is the full name of the group in `query`.

    `last_event_id` wins over `query.since`: a browser that reconnects repeats the query and has read on
    since.

    Raises:
        BadRequest: `kinds` or `accept` cannot be served.
        RuleError: `invalid-argument`, the cursor is none of this daemon's.
    """
    form = format_for(accept)
    selection = Selection(kinds_of(query.kinds), group, query.record_type)
    since = last_event_id or query.since
    if since is None:
        cursor = log.end()
    else:
        cursor = log.start() if since == START else since
        log.after(cursor, 1)
    return Subscription(log, bell, stop, selection, form, query.follow, cursor)


def _mark(kind: Literal["lagged", "bye"], cursor: str) -> schema.Event:
    return schema.Event(cursor=cursor, kind=kind, time=None)
