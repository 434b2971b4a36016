"""A subscriber misses nothing that is kept, sees nothing twice, and is told what it missed."""

from __future__ import annotations

import msgspec
import pytest
import trio
from hypothesis import given, strategies as st

from peerd.control import schema
from peerd.control.events import (
    EventBell,
    NdjsonFormat,
    SseFormat,
    Subscription,
    format_for,
    kinds_of,
    subscribe,
)
from peerd.control.http1 import StopSignal
from peerd.control.limits import EVENT_KINDS_MAX, EVENTS_PAGE_MAX, KEEPALIVE_S
from peerd.control.operations import Selection
from peerd.errors import BadRequest
from protocol.errors import RuleError
from tests.peerd.control.fake import FakeEvents


class Reader:
    """A client that reads when it is let; what it got is decoded."""

    def __init__(self, kept_max: int = 1_000, **query) -> None:
        self.stop = StopSignal()
        self.log = FakeEvents(EventBell(), kept_max)
        self.query = schema.EventsQuery(**query)
        self.may_read = trio.Event()
        self.may_read.set()
        self.lines: list[bytes] = []
        self.ended = False

    def subscription(self) -> Subscription:
        return subscribe(
            self.log,
            self.log.bell,
            self.stop,
            self.query,
            group=self.query.group,
            accept="application/x-ndjson",
            last_event_id="",
        )

    async def run(self) -> None:
        await self.subscription().run(self._send)
        self.ended = True

    async def _send(self, part: bytes) -> None:
        await self.may_read.wait()
        await trio.lowlevel.checkpoint()
        self.lines += part.splitlines(keepends=True)

    @property
    def events(self) -> list[schema.Event]:
        return [msgspec.json.decode(line, type=schema.Event) for line in self.lines if line.strip()]

    @property
    def numbers(self) -> list[int | str]:
        """The events read: their number, or the mark's kind."""
        return [event.facts.get("n", event.kind) for event in self.events]


async def settle() -> None:
    await trio.testing.wait_all_tasks_blocked()


async def test_without_a_place_only_what_is_new_comes(nursery):
    reader = Reader()
    reader.log.add("old", n=0)
    nursery.start_soon(reader.run)
    await settle()
    reader.log.add("new", n=1)
    await settle()
    reader.log.add("new", n=2)
    reader.log.add("new", n=3)
    await settle()
    reader.stop.request()
    await settle()
    assert reader.numbers == [1, 2, 3, "bye"]
    assert reader.ended


async def test_from_the_start_all_that_is_kept_comes_and_then_what_is_new(nursery):
    reader = Reader(since="start")
    for number in range(2 * EVENTS_PAGE_MAX + 7):
        reader.log.add("old", n=number)
    nursery.start_soon(reader.run)
    await settle()
    reader.log.add("new", n=-1)
    reader.stop.request()
    await settle()
    assert reader.numbers == [*range(2 * EVENTS_PAGE_MAX + 7), -1, "bye"]


async def test_without_following_the_end_of_the_log_is_the_end():
    reader = Reader(since="start", follow=False)
    reader.log.add("old", n=0)
    await reader.run()
    assert reader.numbers == [0]


async def test_a_cursor_goes_on_exactly_where_it_was(nursery):
    reader = Reader(since="start", follow=False)
    cursors = [reader.log.add("old", n=number).cursor for number in range(5)]
    for number, cursor in enumerate(cursors):
        reader.query = schema.EventsQuery(since=cursor, follow=False)
        reader.lines.clear()
        await reader.run()
        assert reader.numbers == list(range(number + 1, 5))


async def test_a_reader_that_lags_gets_the_mark_with_the_place_to_read_on(nursery):
    reader = Reader(kept_max=10, since="start")
    reader.log.add("first", n=0)
    nursery.start_soon(reader.run)
    await settle()
    reader.may_read = trio.Event()
    for number in range(1, 100):
        reader.log.add("later", n=number)
    await settle()
    for number in range(100, 130):  # the page that waits to be sent is all it has of the log
        reader.log.add("later", n=number)
    reader.may_read.set()
    await settle()
    reader.stop.request()
    await settle()
    marks = [event for event in reader.events if event.kind == "lagged"]
    assert [mark.cursor for mark in marks] == ["90", "120"]
    assert reader.numbers == [0, "lagged", *range(90, 100), "lagged", *range(120, 130), "bye"]


async def test_a_place_no_longer_kept_lags_from_the_beginning():
    reader = Reader(kept_max=2, since="0", follow=False)
    for number in range(5):
        reader.log.add("old", n=number)
    await reader.run()
    assert reader.numbers == ["lagged", 3, 4]
    assert reader.events[0].cursor == "3"


async def test_a_log_that_keeps_nothing_lags_once():
    reader = Reader(kept_max=3, since="0", follow=False)
    for number in range(5):
        reader.log.add("old", n=number)
    reader.log.kept = []
    await reader.run()
    assert reader.numbers == ["lagged"]


@given(
    st.lists(st.sampled_from(["add", "add", "add", "pause", "read", "settle"]), max_size=60),
    st.integers(1, 20),
)
def test_every_event_comes_once_and_in_order_or_is_told_missing(steps, kept_max):
    async def main() -> None:
        reader = Reader(kept_max=kept_max, since="start")
        added = 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader.run)
            await settle()
            for step in steps:
                if step == "add":
                    reader.log.add("event", n=added)
                    added += 1
                elif step == "pause" and reader.may_read.is_set():
                    reader.may_read = trio.Event()
                elif step == "read":
                    reader.may_read.set()
                elif step == "settle":
                    await settle()
            reader.may_read.set()
            reader.stop.request()
        check(reader.events, added)

    trio.run(main)


def check(events: list[schema.Event], added: int) -> None:
    *events, last = events
    assert (last.kind, last.cursor) == ("bye", str(added))
    expected = 0
    for event in events:
        if event.kind == "lagged":
            assert int(event.cursor) > expected
            expected = int(event.cursor)
        else:
            assert event.facts["n"] == expected
            assert event.cursor == str(expected + 1)
            expected += 1
    assert expected == added


async def test_an_event_committed_while_the_end_is_read_is_not_slept_over(nursery, monkeypatch):
    reader = Reader()
    original = reader.log.after

    def after(cursor, limit, selection):
        page = original(cursor, limit, selection)
        if reader.log.count == 0:
            reader.log.add("meanwhile", n=0)
        return page

    subscription = reader.subscription()
    monkeypatch.setattr(reader.log, "after", after)
    nursery.start_soon(subscription.run, reader._send)
    await settle()
    assert reader.numbers == [0]
    nursery.cancel_scope.cancel()


async def test_only_the_kinds_and_the_group_asked_for_come():
    reader = Reader(since="start", follow=False, kinds="a,b", group="g")
    for number, (kind, group) in enumerate([("a", "g"), ("b", None), ("c", "g"), ("b", "g"), ("a", "h")]):
        reader.log.add(kind, group, n=number)
    await reader.run()
    assert reader.numbers == [0, 3]


async def test_a_quiet_stream_shows_that_it_lives(nursery, autojump_clock):
    reader = Reader()
    nursery.start_soon(reader.run)
    await trio.sleep(KEEPALIVE_S * 3.5)
    assert reader.lines == [b"\n"] * 4
    nursery.cancel_scope.cancel()


async def test_the_sign_of_life_moves_the_place_past_what_was_not_asked_for(nursery, autojump_clock):
    reader = Reader(kinds="none")
    sent: list[bytes] = []

    async def send(part: bytes) -> None:
        sent.append(part)
        await trio.lowlevel.checkpoint()

    subscription = subscribe(
        reader.log, reader.log.bell, reader.stop, reader.query, group=None, accept="", last_event_id=""
    )
    nursery.start_soon(subscription.run, send)
    await settle()
    reader.log.add("other")
    await trio.sleep(KEEPALIVE_S * 1.5)
    assert sent == [b"id: 0\n: alive\n\n", b"id: 1\n: alive\n\n"]
    nursery.cancel_scope.cancel()


def place(**given) -> str:
    """The cursor at which a subscription to a log of three events starts."""
    log = FakeEvents(EventBell())
    for _ in range(3):
        log.add("event")
    arguments = {"group": None, "accept": "", "last_event_id": given.pop("last_event_id", "")}
    return subscribe(log, log.bell, StopSignal(), schema.EventsQuery(**given), **arguments).cursor


def test_the_place_that_a_browser_remembers_wins():
    assert place() == "3"
    assert place(since="1") == "1"
    assert place(since="start") == "0"
    assert place(since="1", last_event_id="2") == "2"


@pytest.mark.parametrize("given_place", [{"since": "nonsense"}, {"since": "4"}, {"last_event_id": "-1"}])
def test_a_place_that_is_none_is_refused_before_the_answer_begins(given_place):
    with pytest.raises(RuleError) as caught:
        place(**given_place)
    assert caught.value.code == "invalid-argument"


@pytest.mark.parametrize(
    "accept,kind",
    [
        ("", SseFormat),
        ("*/*", SseFormat),
        ("text/event-stream", SseFormat),
        ("text/*;q=0.5", SseFormat),
        ("text/event-stream, application/x-ndjson", SseFormat),
        ("application/x-ndjson", NdjsonFormat),
        ("Application/X-NDJSON; charset=utf-8", NdjsonFormat),
        ("application/x-ndjson, */*", NdjsonFormat),
        ("application/*", NdjsonFormat),
    ],
)
def test_the_form_is_the_one_asked_for(accept, kind):
    assert type(format_for(accept)) is kind


@pytest.mark.parametrize("accept", ["application/json", "text/html", "image/*", "nonsense"])
def test_a_form_that_is_not_offered_is_refused(accept):
    with pytest.raises(BadRequest) as caught:
        format_for(accept)
    assert caught.value.code == "not-acceptable"


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(texts, st.dictionaries(texts, texts, max_size=3))
def test_no_text_in_an_event_can_forge_another(group, facts):
    event = schema.Event(cursor="1", kind="greeting", time=None, group=group, facts=facts)
    shown = SseFormat().event(event)
    head, data, *end = shown.split(b"\n")[1:]
    assert shown.startswith(b"id: 1\n")
    assert (head, end) == (b"event: greeting", [b"", b""])
    assert msgspec.json.decode(data.removeprefix(b"data: "), type=schema.Event) == event
    assert NdjsonFormat().event(event).count(b"\n") == 1


def test_kinds_are_names_separated_by_commas():
    assert kinds_of(None) is None
    assert kinds_of("a,b,a") == frozenset({"a", "b"})
    for text in ("", ",", "a,", ",".join(f"k{number}" for number in range(EVENT_KINDS_MAX + 1))):
        with pytest.raises(BadRequest):
            kinds_of(text)


def nobody_asks() -> dict[str, object]:
    raise AssertionError("the facts do not matter here")


def test_no_selection_wants_everything():
    assert Selection().wants("x", None, nobody_asks)


def test_facts_are_looked_at_last_and_for_the_type_alone():
    wants = Selection(kinds=frozenset({"x"}), group="g", record_type="note").wants
    assert not wants("y", "g", nobody_asks)
    assert not wants("x", "h", nobody_asks)
    assert not wants("x", "g", lambda: {"grant_id": "note"})
    assert not wants("x", "g", lambda: {"record_type": "other"})
    assert wants("x", "g", lambda: {"record_type": "note"})
    assert Selection(kinds=frozenset({"x"}), group="g").wants("x", "g", nobody_asks)


async def test_pages_of_which_nothing_is_wanted_are_passed_over(nursery):
    reader = Reader(since="start", record_type="note", kept_max=4 * EVENTS_PAGE_MAX)
    for number in range(3 * EVENTS_PAGE_MAX):
        reader.log.add("record-added", n=number, record_type="other")
    reader.log.add("record-added", n=-1, record_type="note")
    nursery.start_soon(reader.run)
    await settle()
    assert reader.numbers == [-1]
    reader.log.add("record-added", n=-2, record_type="other")
    reader.log.add("record-changed", n=-3, record_type="note")
    await settle()
    reader.stop.request()
    await settle()
    assert reader.numbers == [-1, -3, "bye"]


async def test_the_bell_wakes_all_and_forgets_nothing(nursery):
    bell = EventBell()
    woken: list[int] = []

    async def wait(after: int) -> None:
        await bell.wait_after(after)
        woken.append(after)

    for after in (0, 0, 1):
        nursery.start_soon(wait, after)
    await settle()
    bell.ring()
    await settle()
    assert woken == [0, 0]
    await bell.wait_after(0)
    bell.ring()
    await settle()
    assert (woken, bell.rung) == ([0, 0, 1], 2)
