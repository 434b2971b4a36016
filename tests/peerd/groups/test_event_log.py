from __future__ import annotations

import base64
from collections.abc import Mapping
from functools import partial

import pytest
from hypothesis import given, strategies as st

from peerd.control import schema
from peerd.control.operations import Selection
from peerd.groups.event_log import GroupEvents
from protocol.authority.act_set import ActStore
from protocol.authority.memory import MemoryActSet
from protocol.codec import encode
from protocol.errors import RuleError
from protocol.limits import END_OF_TIME_S, EVENTS_KEPT_MAX

LOGS = ("aa", "bb", "cc")


class Logs:
    """Some logs in memory, and the events of all of them."""

    def __init__(self, *names: str) -> None:
        self.stores = {name: MemoryActSet() for name in names}
        self.events = GroupEvents(self._all)

    def _all(self) -> Mapping[str, tuple[str, ActStore]]:
        return {name: (f"group-{name}", store) for name, store in self.stores.items()}

    def note(self, name: str, at_ms: int, count: int = 1, **facts: object) -> None:
        store = self.stores[name]
        store.begin()
        for _ in range(count):
            store.note("happened", at_ms, encode(facts))
        store.commit()

    def read_on(self, cursor: str, limit: int = 256) -> tuple[list[schema.Event], str]:
        """All that there is after a cursor, page by page."""
        found: list[schema.Event] = []
        while True:
            page = self.events.after(cursor, limit)
            assert len(page.events) <= limit
            assert not page.lagged
            found, cursor = found + list(page.events), page.cursor
            if not page.events:
                return found, cursor


WRITES = st.lists(st.tuples(st.sampled_from(LOGS), st.integers(0, 5)), max_size=40)


def names(events: list[schema.Event]) -> list[str]:
    return [f"{event.group}/{event.facts['number']}" for event in events]


@given(WRITES, st.integers(1, 7), st.lists(st.booleans(), min_size=40, max_size=40))
def test_every_event_is_read_once_whatever_the_clocks_say(writes, limit, pauses):
    logs, read = Logs(*LOGS), list[schema.Event]()
    cursor = logs.events.start()
    numbers = dict.fromkeys(LOGS, 0)
    for (name, at_ms), pause in zip(writes, pauses, strict=False):
        numbers[name] += 1
        logs.note(name, at_ms, number=numbers[name])
        if pause:
            found, cursor = logs.read_on(cursor, limit)
            read += found
    found, _ = logs.read_on(cursor, limit)
    all_read = names(read + found)
    assert len(all_read) == len({*all_read}) == len(writes)
    for log in LOGS:
        of_one = [name for name in all_read if name.startswith(f"group-{log}/")]
        assert of_one == [f"group-{log}/{number + 1}" for number in range(numbers[log])]


@given(WRITES, st.integers(1, 7))
def test_reading_can_go_on_after_any_event(writes, limit):
    logs = Logs(*LOGS)
    for number, (name, at_ms) in enumerate(writes):
        logs.note(name, at_ms, number=number)
    everything, _ = logs.read_on(logs.events.start())
    for place, event in enumerate(everything):
        rest, _ = logs.read_on(event.cursor, limit)
        assert sorted(names(rest)) == sorted(names(everything[place + 1 :]))


def test_events_of_several_groups_come_by_time():
    logs = Logs("aa", "bb")
    for name, at_ms in (("aa", 30), ("bb", 10), ("bb", 20), ("aa", 40)):
        logs.note(name, at_ms, number=at_ms)
    events, _ = logs.read_on(logs.events.start())
    assert names(events) == ["group-bb/10", "group-bb/20", "group-aa/30", "group-aa/40"]


def test_the_end_is_after_everything_and_before_what_follows():
    logs = Logs("aa")
    logs.note("aa", 1, number=1)
    end = logs.events.end()
    assert logs.read_on(end)[0] == []
    logs.note("aa", 0, number=2)
    assert names(logs.read_on(end)[0]) == ["group-aa/2"]


def test_a_restart_takes_nothing_and_repeats_nothing():
    logs = Logs("aa", "bb")
    logs.note("aa", 1, number=1)
    _, cursor = logs.read_on(logs.events.start())
    logs.note("bb", 1, number=2)
    logs.stores = {name: store.reopened() for name, store in logs.stores.items()}
    logs.events = GroupEvents(logs._all)
    logs.note("aa", 1, number=3)
    assert sorted(names(logs.read_on(cursor)[0])) == ["group-aa/3", "group-bb/2"]


def test_a_group_that_came_later_is_read_from_its_start_and_one_that_is_gone_leaves_the_cursor():
    logs = Logs("aa")
    logs.note("aa", 1, number=1)
    _, cursor = logs.read_on(logs.events.start())
    logs.stores["bb"] = MemoryActSet()
    logs.note("bb", 1, number=2)
    events, with_both = logs.read_on(cursor)
    assert names(events) == ["group-bb/2"]
    del logs.stores["aa"]
    _, without = logs.read_on(with_both)
    assert len(without) < len(with_both)


def test_a_group_that_was_joined_again_has_a_log_of_its_own():
    logs = Logs("aa")
    logs.note("aa", 1, 5, number=1)
    _, cursor = logs.read_on(logs.events.start())
    logs.stores = {"dd": MemoryActSet()}
    logs.note("dd", 1, number=1)
    assert names(logs.read_on(cursor)[0]) == ["group-dd/1"]


def test_a_log_that_was_put_back_from_a_backup_is_read_on_from_its_end():
    logs = Logs("aa")
    logs.note("aa", 1, 5, number=1)
    _, cursor = logs.read_on(logs.events.start())
    logs.stores = {"aa": MemoryActSet()}
    logs.note("aa", 1, 2, number=1)
    found, cursor = logs.read_on(cursor)
    assert found == []
    logs.note("aa", 1, number=3)
    assert names(logs.read_on(cursor)[0]) == ["group-aa/3"]


@pytest.mark.parametrize("at_start", [False, True])
def test_who_read_too_slowly_is_told_and_goes_on_at_the_oldest_kept(at_start):
    logs = Logs("aa")
    cursor = logs.events.start() if at_start else logs.events.end()
    if not at_start:
        logs.note("aa", 1, number=0)
        cursor = logs.events.end()
    logs.note("aa", 1, EVENTS_KEPT_MAX + 1, number=1)
    page = logs.events.after(cursor, 3)
    assert page.lagged
    assert len(page.events) == 3
    assert not logs.events.after(page.cursor, 3).lagged
    assert not logs.events.after(logs.events.start(), 3).lagged


def test_times_are_shown_as_people_write_them():
    logs = Logs("aa")
    logs.note("aa", 1_000, not_before=0, not_after=END_OF_TIME_S, level=1)
    (event,), _ = logs.read_on(logs.events.start())
    assert event.facts == {"not_before": "1970-01-01T00:00:00Z", "not_after": None, "level": 1}
    assert event.time is not None
    assert event.time.isoformat() == "1970-01-01T00:00:01+00:00"


@pytest.mark.parametrize("cursor", ["", "A", "é", "gA", "gaFh_w", "wA"])
def test_what_is_no_cursor_is_refused_or_reads_everything(cursor):
    logs = Logs("aa")
    logs.note("aa", 1, number=1)
    assert outcome(logs, cursor) in (["group-aa/1"], "invalid-argument")


@pytest.mark.parametrize("spoilt", ["!{}", "{}=", "{} ", " {}", "{}\n"])
def test_a_cursor_with_anything_beside_it_is_refused(spoilt):
    logs = Logs("aa")
    logs.note("aa", 1, number=1)
    assert outcome(logs, logs.events.end()) == []
    assert outcome(logs, spoilt.format(logs.events.end())) == "invalid-argument"


@given(st.binary(max_size=40))
def test_no_bytes_are_taken_for_a_cursor_by_mistake(packed):
    logs = Logs("aa")
    logs.note("aa", 1, number=1)
    cursor = base64.urlsafe_b64encode(packed).rstrip(b"=").decode()
    assert outcome(logs, cursor) in (["group-aa/1"], [], "invalid-argument")


def outcome(logs: Logs, cursor: str) -> list[str] | str:
    try:
        return names(list(logs.events.after(cursor, 1).events))
    except RuleError as error:
        return error.code


@given(WRITES, st.integers(1, 7))
def test_a_selection_passes_over_the_rest_and_loses_nothing(writes, limit):
    logs = Logs(*LOGS)
    for number, (name, at_ms) in enumerate(writes):
        logs.note(name, at_ms, number=number, record_type=f"t{number % 3}")
    every, end = logs.read_on(logs.events.start(), limit)
    for selection in (
        Selection(group="group-aa"),
        Selection(record_type="t1"),
        Selection(group="group-bb", record_type="t2", kinds=frozenset({"happened"})),
        Selection(kinds=frozenset({"other"})),
    ):
        cursor, found = logs.events.start(), list[schema.Event]()
        for _ in range(-(-len(writes) // limit)):
            page = logs.events.after(cursor, limit, selection)
            found, cursor = found + list(page.events), page.cursor
        assert cursor == end
        wanted = [
            one for one in every if selection.wants(one.kind, one.group, partial(getattr, one, "facts"))
        ]
        assert names(found) == names(wanted)
        assert [one.cursor for one in found] == [one.cursor for one in wanted]


def test_what_is_not_selected_is_not_decoded(monkeypatch):
    logs = Logs("aa")
    logs.note("aa", 1, 3, number=1)
    monkeypatch.setattr("peerd.groups.event_log.decode_untrusted", None)
    monkeypatch.setattr("peerd.groups.event_log._read", lambda _: {})
    page = logs.events.after("", 10, Selection(kinds=frozenset({"other"})))
    assert (page.events, page.lagged) == ([], False)


def test_a_time_in_milliseconds_is_told_as_one():
    logs = Logs("aa")
    logs.note("aa", 1, number=1, modified=1_790_000_000_123)
    ((event,), _) = logs.read_on(logs.events.start())
    assert event.facts["modified"] == "2026-09-21T14:13:20.123Z"
