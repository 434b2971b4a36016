"""Records that are refreshed outlive their end for as long as their writer's daemon runs and may write."""

from __future__ import annotations

import pytest

from protocol.errors import RuleError
from protocol.limits import RECORDS_SETTLED_MAX, REFRESH_RETRY_S
from protocol.machines.events import AddRecord, DeleteRecord, UpdateRecord
from protocol.machines.refresh import Refreshing
from protocol.peer_time import Window, hlc_at
from protocol.records.record import RecordItem
from tests.protocol.machines.holding import Holder
from tests.support.builders import DAY, NOW, Group
from tests.support.records import Writer, circle

LIFE_S = 900


@pytest.fixture
def dave():
    return Holder.of(circle(), "dave")


def refreshed(holder: Holder, life_s: int = LIFE_S) -> bytes:
    command = AddRecord("note", (), b"x", holder.clock.utc_s + life_s, auto_refresh=True)
    return holder.write(command).record_id


def ends(holder: Holder) -> int | None:
    (header,) = holder.headers()
    return header.expires


@pytest.mark.parametrize("life_s", [2, 3, 10, LIFE_S, 10 * DAY])
def test_record_outlives_its_end_and_keeps_its_life_and_content(life_s, dave):
    record_id = refreshed(dave, life_s)
    dave.told()
    for _ in range(6):
        dave.live(life_s / 2)
        assert record_id in dave.shown()
        (header,) = dave.headers()
        assert header.expires - header.hlc_s == life_s
        assert dave.store.body(header.body_hash) == b"x"
    assert {kind for kind, _ in dave.told()} == {"record-changed"}
    assert header.version <= 8


def test_it_is_written_again_when_a_third_of_its_life_is_left(dave):
    refreshed(dave)
    dave.rest()
    assert dave.deadline() == NOW.mono_ms + LIFE_S * 1000 * 2 // 3
    dave.live(LIFE_S * 2 // 3 - 1)
    assert ends(dave) == NOW.utc_s + LIFE_S
    dave.live(1)
    assert ends(dave) == dave.now.utc_s + LIFE_S


def test_restart_goes_on(dave):
    record_id = refreshed(dave)
    dave = dave.wait(LIFE_S - 1).again()
    dave.live(3 * LIFE_S)
    assert record_id in dave.shown()
    dave = dave.wait(LIFE_S + 1).again()
    dave.data.time.on_clock(1, dave.clock.utc_ms, dave.clock)
    dave.live(LIFE_S)
    assert dave.shown() == {}, "it expired while the daemon was off"
    assert list(dave.store.refreshes(b"", 9)) == []


def test_it_stops_when_the_writer_deletes_it_or_says_so(dave):
    first, second = refreshed(dave), refreshed(dave)
    dave.write(DeleteRecord(first))
    dave.write(UpdateRecord(second, auto_refresh=False))
    assert list(dave.store.refreshes(b"", 9)) == []
    assert dave.live(LIFE_S).shown() == {}


def test_it_stops_when_somebody_else_has_changed_or_deleted_it(dave):
    ids = [refreshed(dave), refreshed(dave)]
    alice = Writer.of(circle(), "alice")
    changed, deleted = (RecordItem(header) for header in dave.headers())
    dave.take([alice.update(changed, body=b"hers"), alice.delete(deleted)])
    dave.live(LIFE_S + 10)
    assert dave.shown() == {}
    assert list(dave.store.refreshes(b"", 9)) == []
    assert all(record_id not in dave.data.refreshing for record_id in ids)


def test_update_leaves_the_life_as_it_is_unless_it_says_when_the_record_ends(dave):
    record_id = refreshed(dave)
    dave.live(LIFE_S // 2)
    dave.write(UpdateRecord(record_id, body=b"y"))
    assert ends(dave) == NOW.utc_s + LIFE_S
    dave.live(LIFE_S)
    (header,) = dave.headers()
    assert header.expires - header.hlc_s == LIFE_S
    dave.write(UpdateRecord(record_id, expires=dave.clock.utc_s + 3 * LIFE_S))
    dave.live(3 * LIFE_S)
    (header,) = dave.headers()
    assert header.expires - header.hlc_s == 3 * LIFE_S


def test_credential_that_ends_is_no_reason_to_give_up():
    group = Group()
    s = NOW.utc_s
    group.grant("alice -> dave:member", window=Window(s - 300, s + LIFE_S))
    dave = Holder.of(group, "dave")
    record_id = refreshed(dave)
    dave.live(LIFE_S - 100)
    assert ends(dave) == s + LIFE_S, "a record ends with its author's credential"
    renewed = group.grant("alice -> dave:member", window=Window(s + 1, s + 10 * LIFE_S))
    dave.learn(renewed.elements)
    dave.live(2 * LIFE_S)
    assert record_id in dave.shown()


def test_clock_that_is_not_trusted_delays_it(dave):
    record_id = refreshed(dave)
    dave.agrees, dave.hears, dave.skew_ms = False, True, DAY * 1000
    dave.live(LIFE_S - REFRESH_RETRY_S - 10)
    assert ends(dave) == NOW.utc_s + LIFE_S
    dave.agrees, dave.hears, dave.skew_ms = True, False, 0
    dave.live(2 * LIFE_S)
    assert record_id in dave.shown()


def test_one_event_writes_so_many_and_the_next_goes_on(dave):
    count = RECORDS_SETTLED_MAX + 5
    for _ in range(count):
        refreshed(dave)
    dave.wait(LIFE_S * 2 // 3)
    assert len(dave.tick().fresh) == RECORDS_SETTLED_MAX
    assert dave.deadline() == dave.now.mono_ms
    assert len(dave.tick().fresh) == 5
    assert dave.deadline() > dave.now.mono_ms
    assert len(dave.live(2 * LIFE_S).shown()) == count


def test_stopping_what_is_not_refreshed_changes_nothing(dave):
    refreshing = Refreshing()
    refreshing.stop(bytes(16), dave.store)
    refreshing.follow(Writer.of(circle(), "dave").add(hlc=hlc_at(NOW.utc_ms)).header)
    assert refreshing.next_deadline(0, 0) is None


def test_room_is_asked_for_before_anything_is_written(dave, monkeypatch):
    monkeypatch.setattr("protocol.machines.refresh.REFRESHED_MAX", 0)
    with pytest.raises(RuleError):
        refreshed(dave)
    assert dave.kept() == []
