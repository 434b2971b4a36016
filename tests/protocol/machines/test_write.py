"""What users write: every refusal with its slug and a way on, and whatever is signed is what others take."""

from __future__ import annotations

import random
from functools import cache

import pytest
from hypothesis import given, strategies as st

from protocol.authority.bodies import Kind, PropertiesBody
from protocol.errors import RULES, RuleError
from protocol.limits import (
    BODY_BYTES_MAX,
    EXPIRING_LIFE_S_MAX,
    HLC_AHEAD_MS_MAX,
    REFRESHED_MAX,
)
from protocol.machines import refresh
from protocol.machines.events import AddRecord, DeleteRecord, RecordCommand, UpdateRecord
from protocol.peer_time import Window, hlc_at
from protocol.records.admission import Valid, judge
from protocol.records.attributes import INT, STRING, Attribute
from protocol.records.record import VERSION_MAX, RecordItem, decode_untrusted_item
from tests.protocol.machines.holding import Holder
from tests.support.builders import DAY, GRC, NOW, Group
from tests.support.records import Writer, attributes, bodies, circle, new_circle, record_types

ATTRIBUTES = (Attribute("title", STRING, "x"), Attribute("priority", INT, 3))


def refused(code: str, holder: Holder, command) -> RuleError:
    """The refusal, which changed nothing."""
    kept, shown, settings = holder.kept(), holder.shown(), dict(holder.store._durable.settings)
    with pytest.raises(RuleError) as caught:
        holder.run(lambda store: holder.data.write(command, holder.grant, holder.clock, store))
    assert caught.value.code == code, caught.value
    assert code in RULES
    assert caught.value.hint, "a refusal says what to do next"
    assert (holder.kept(), holder.shown(), holder.store._durable.settings) == (kept, shown, settings)
    return caught.value


def obey(holder: Holder, command: RecordCommand):
    return holder.run(lambda store: holder.data.write(command, holder.grant, holder.clock, store))


@pytest.fixture
def dave():
    return Holder.of(circle(), "dave")


def note(holder: Holder, **told) -> bytes:
    return holder.write(AddRecord("note", ATTRIBUTES, b"x", **told)).record_id


def only(holder: Holder, record_id: bytes):
    """The version that is shown."""
    return next(one for one in holder.headers() if one.id == holder.shown()[record_id])


# --- what is written --------------------------------------------------------------------------------------


def test_first_version_is_dated_by_the_clock_and_counts_from_1(dave):
    header = only(dave, note(dave))
    assert (header.hlc, header.created, header.version) == (hlc_at(NOW.utc_ms), hlc_at(NOW.utc_ms), 1)
    assert (header.creator, header.author, header.cred) == (dave.grant.pid, dave.grant.pid, dave.grant.act_id)
    assert header.durable
    assert dave.store.body(header.body_hash) == b"x"


def test_update_is_dated_after_what_it_replaces_and_keeps_what_is_not_said(dave):
    record_id = note(dave)
    before = only(dave, record_id)
    ahead = Writer.of(circle(), "alice").update(
        RecordItem(before, b"x"), hlc=hlc_at(NOW.utc_ms + HLC_AHEAD_MS_MAX - 1)
    )
    dave.take([ahead])
    written = dave.write(UpdateRecord(record_id, body=b"y", if_version=ahead.header.id))
    after = only(dave, record_id)
    assert after.id == written.version_id
    assert after.hlc == ahead.header.hlc + 1
    assert (after.created, after.version) == (before.created, 3)
    assert (after.attributes, after.type) == (before.attributes, before.type)
    dave.write(UpdateRecord(record_id, attributes=()))
    assert only(dave, record_id).attributes == ()
    assert dave.store.body(only(dave, record_id).body_hash) == b"y"
    dave.write(UpdateRecord(record_id, body=b""))
    assert only(dave, record_id).body_hash is None


def test_counter_of_the_original_stops_at_its_end(dave):
    top = Writer.of(circle(), "dave").add(version=VERSION_MAX)
    dave.take([top])
    dave.write(UpdateRecord(top.header.record_id, body=b"y"))
    assert only(dave, top.header.record_id).version == VERSION_MAX
    for item in dave.items():
        assert decode_untrusted_item(item.raw) == item


def test_two_writes_of_one_millisecond_have_an_order(dave):
    first, second = (only(dave, note(dave)).hlc for _ in range(2))
    assert second == first + 1


def test_clock_that_was_set_back_is_followed_by_new_records(dave):
    note(dave)
    dave.skew_ms = -60_000
    assert only(dave, note(dave)).hlc == hlc_at(dave.clock.utc_ms)


def test_deletion_has_no_content_and_is_known_for_as_long(dave):
    record_id = note(dave, expires=NOW.utc_s + 60)
    dave.wait(10).write(DeleteRecord(record_id))
    (header,) = dave.headers()
    assert header.deleted
    assert (header.attributes, header.body_hash, header.expires) == ((), None, NOW.utc_s + 60)
    assert dave.shown() == {}


def test_expiring_record_can_be_deleted_though_its_version_is_dated_ahead():
    """Its end lies before the hlc that the deletion must have."""
    dave = Holder.of(circle(), "dave")
    writer = Writer.of(circle(), "dave")
    ahead = writer.add(
        body=b"x", hlc=hlc_at(NOW.utc_ms + 290_000), record=writer.record_id(False), expires=NOW.utc_s + 291
    )
    dave.take([ahead])
    dave.write(DeleteRecord(ahead.header.record_id))
    assert dave.shown() == {}


def test_administrator_changes_and_deletes_what_others_made():
    bob = Holder.of(circle(), "bob")
    theirs = Writer.of(circle(), "dave").add(body=b"x")
    bob.take([theirs])
    record_id = theirs.header.record_id
    bob.write(UpdateRecord(record_id, body=b"y"))
    header = only(bob, record_id)
    assert (header.creator, header.author) == (theirs.header.creator, bob.grant.pid)
    bob.write(DeleteRecord(record_id))
    assert bob.shown() == {}


def test_reserved_record_is_written_under_its_id_again_and_again(dave):
    class Wish:
        record_id = Writer.of(circle(), "dave").record_id(durable=False)
        body = b"contact"
        expires = NOW.utc_s + DAY

    for version in (1, 2):
        dave.run(lambda store: dave.data.write_contact(Wish, dave.grant, dave.clock, store))
        header = only(dave, Wish.record_id)
        assert (header.type, header.version, header.expires) == ("peerd.contact", version, Wish.expires)
        assert judge(header, dave.view) == Valid()
    refused("not-authorized", dave, UpdateRecord(Wish.record_id, body=b"mine"))


# --- whatever is signed is valid --------------------------------------------------------------------------

commands = st.lists(
    st.tuples(
        st.sampled_from(("add", "add", "update", "update", "delete", "wait", "other")),
        st.integers(0, 400 * DAY),
        st.none() | st.integers(-5, 100 * DAY),
        attributes(),
        bodies(),
    ),
    max_size=14,
)


@given(commands, record_types(), st.sampled_from(("alice", "bob", "dave")), st.booleans())
def test_what_is_signed_is_valid_for_everybody_and_wins(told, record_type, name, auto):
    holder, other = Holder.of(circle(), name), Writer.of(circle(), "alice")
    ids: list[bytes] = []
    hints: list[str] = []
    rng = random.Random(len(told))
    command: RecordCommand
    for what, number, life_s, attributes_, body in told:
        expires = None if life_s is None else holder.clock.utc_s + life_s
        match what:
            case "add":
                command = AddRecord(record_type, attributes_, body, expires, auto and expires is not None)
            case "update" if ids:
                command = UpdateRecord(rng.choice(ids), attributes_, body, expires)
            case "delete" if ids:
                command = DeleteRecord(rng.choice(ids))
            case "other" if holder.shown():
                header = next(one for one in holder.headers() if one.id in holder.shown().values())
                other.hlc = hlc_at(holder.clock.utc_ms + number % HLC_AHEAD_MS_MAX - 1000)
                holder.take([other.update(RecordItem(header), body=body)])
                continue
            case _:
                holder.live(number % (3 * DAY))
                continue
        try:
            intake, written = obey(holder, command)
        except RuleError as error:
            hints.append(error.hint)
            continue
        (item,) = intake.fresh
        assert judge(item.header, holder.view) == Valid()
        assert written.version_id == item.header.id
        assert holder.winners()[written.record_id][2] == item.header.id
        if item.header.body_hash is not None:
            assert holder.store.has_body(item.header.body_hash)
        ids.append(written.record_id)
    holder.check()
    assert all(hints)


# --- refusals ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("record_type", ["", "Note", "x" * 65, "a b", "note\n"])
def test_type_that_is_none_is_refused(record_type, dave):
    refused("invalid-argument", dave, AddRecord(record_type, (), b""))


@pytest.mark.parametrize("record_type", ["peerd.contact", "peerd.x", "01000000-0000-0000-0000-000000000000"])
def test_reserved_type_is_refused(record_type, dave):
    refused("not-authorized", dave, AddRecord(record_type, (), b""))


def test_refreshing_what_does_not_expire_is_refused(dave):
    refused("invalid-argument", dave, AddRecord("note", (), b"", None, auto_refresh=True))
    refused("invalid-record-expiration", dave, UpdateRecord(note(dave), auto_refresh=True))


def test_attributes_that_are_none_are_refused(dave):
    bad = (Attribute("peerCreatorID", STRING, "x"),)
    refused("invalid-attributes", dave, AddRecord("note", bad, b""))
    refused("invalid-attributes", dave, UpdateRecord(note(dave), attributes=bad))


def test_body_too_large_is_refused_and_the_largest_is_not(dave):
    refused("record-too-large", dave, AddRecord("note", (), bytes(BODY_BYTES_MAX + 1)))
    refused("record-too-large", dave, UpdateRecord(note(dave), body=bytes(BODY_BYTES_MAX + 1)))
    dave.write(AddRecord("note", (), bytes(BODY_BYTES_MAX)))


def test_record_that_is_not_here_or_gone_is_refused(dave):
    for command in (UpdateRecord(bytes(16)), DeleteRecord(bytes(16))):
        refused("record-not-found", dave, command)
    record_id = note(dave)
    dave.write(DeleteRecord(record_id))
    for command in (UpdateRecord(record_id), DeleteRecord(record_id)):
        refused("record-deleted", dave, command)
    record_id = note(dave, expires=NOW.utc_s + 60)
    dave.live(60)
    refused("record-deleted", dave, UpdateRecord(record_id))


def test_version_that_is_no_longer_shown_is_a_conflict(dave):
    written = dave.write(AddRecord("note", (), b"x"))
    dave.write(UpdateRecord(written.record_id, body=b"y", if_version=written.version_id))
    for command in (
        UpdateRecord(written.record_id, body=b"z", if_version=written.version_id),
        DeleteRecord(written.record_id, if_version=written.version_id),
    ):
        refused("version-conflict", dave, command)


def test_member_may_not_change_what_others_made(dave):
    theirs = Writer.of(circle(), "erin").add()
    dave.take([theirs])
    for command in (UpdateRecord(theirs.header.record_id, body=b"z"), DeleteRecord(theirs.header.record_id)):
        refused("not-authorized", dave, command)


def test_end_can_only_be_put_off(dave):
    record_id = note(dave, expires=NOW.utc_s + 1000)
    refused("invalid-record-expiration", dave, UpdateRecord(record_id, expires=NOW.utc_s + 999))
    dave.write(UpdateRecord(record_id, expires=NOW.utc_s + 1001))
    refused("invalid-record-expiration", dave, UpdateRecord(note(dave), expires=NOW.utc_s + 60))


def test_end_that_no_rule_allows_is_refused(dave):
    for expires in (NOW.utc_s, NOW.utc_s - 1, NOW.utc_s + EXPIRING_LIFE_S_MAX + 1):
        refused("invalid-record-expiration", dave, AddRecord("note", (), b"", expires))
    note(dave, expires=NOW.utc_s + EXPIRING_LIFE_S_MAX)
    dave.wait(DAY)
    refused("invalid-record-expiration", dave, AddRecord("note", (), b"", dave.grant.window.end + 1))
    note(dave, expires=dave.grant.window.end)


def test_end_that_readers_would_see_as_past_is_refused():
    """Group time is somewhat later than this clock, which is right all the same."""
    dave = Holder.of(circle(), "dave", skew_ms=200_000)
    dave.rest()
    dave.skew_ms = 0
    refused("invalid-record-expiration", dave, AddRecord("note", (), b"", NOW.utc_s + 100))
    assert note(dave, expires=NOW.utc_s + 201) in dave.shown()


def test_who_has_no_credential_writes_nothing(dave):
    dave.wait(91 * DAY)
    assert dave.grant is None
    refused("not-authorized", dave, AddRecord("note", (), b""))


def test_credential_that_others_do_not_know_writes_nothing():
    group = new_circle()
    late = group.grant("alice -> dave:member")
    dave = Holder.of(circle(), "dave")
    with pytest.raises(RuleError) as caught:
        dave.run(lambda store: dave.data.write(AddRecord("note", (), b""), late.grant, NOW, store))
    assert caught.value.code == "group-not-ready"


def test_clock_behind_the_group_signs_nothing(dave):
    group = new_circle()
    act = group.act("alice", Kind.ANNUL, {"act": bytes(32)}, hlc=hlc_at(NOW.utc_ms + DAY * 1000))
    dave = Holder.of(group, "dave")
    assert dave.view.admitted(act.id)
    refused("clock-not-trusted", dave, AddRecord("note", (), b""))


def test_version_that_is_dated_ahead_of_the_clock_is_not_replaced():
    dave = Holder.of(circle(), "dave", agrees=False)
    limit = hlc_at(NOW.utc_ms + HLC_AHEAD_MS_MAX) + 0xFFFF  # the last that is not ahead
    last = Writer.of(circle(), "dave").add(hlc=limit)
    dave.take([last])
    refused("clock-not-trusted", dave, UpdateRecord(last.header.record_id, body=b"y"))
    refused("clock-not-trusted", dave, DeleteRecord(last.header.record_id))
    dave.wait(1).write(UpdateRecord(last.header.record_id, body=b"y"))


def test_expiring_record_by_a_clock_months_behind_is_refused():
    """Nobody would take it: it counts as forgotten already."""
    group = Group()
    group.grant("alice -> dave:member", window=Window(NOW.utc_s - 300, NOW.utc_s + 900 * DAY))
    dave = Holder.of(group, "dave").wait(100 * DAY).rest()
    dave.agrees, dave.skew_ms = False, -95 * DAY * 1000
    refused("clock-not-trusted", dave, AddRecord("note", (), b"", dave.clock.utc_s + DAY))
    note(dave)


# --- quotas -----------------------------------------------------------------------------------------------


@cache
def frugal() -> Group:
    group = new_circle()
    group.act(GRC, Kind.PROPERTIES, PropertiesBody(quotas={"ids": 2, "bytes": 100}))
    return group


def test_record_beyond_the_quota_is_refused_and_deleted_ones_count():
    dave = Holder.of(frugal(), "dave")
    first = note(dave)
    note(dave)
    refused("quota-exceeded", dave, AddRecord("note", (), b""))
    dave.write(DeleteRecord(first))
    refused("quota-exceeded", dave, AddRecord("note", (), b""))


def test_bytes_beyond_the_quota_are_refused_and_what_makes_way_does_not_count():
    dave = Holder.of(frugal(), "dave")
    refused("quota-exceeded", dave, AddRecord("note", (), bytes(101)))
    record_id = dave.write(AddRecord("note", (), bytes(60))).record_id
    refused("quota-exceeded", dave, AddRecord("note", (), bytes(41)))
    refused("quota-exceeded", dave, UpdateRecord(record_id, body=bytes(101)))
    dave.write(UpdateRecord(record_id, body=bytes(100)))
    dave.write(UpdateRecord(record_id, body=bytes(99)))
    assert dave.store.body(only(dave, record_id).body_hash) == bytes(99)
    dave.write(AddRecord("note", (), b""))


def test_administrator_writes_against_the_quota_of_the_creator():
    bob = Holder.of(frugal(), "bob")
    theirs = Writer.of(frugal(), "dave").add(body=bytes(60))
    bob.take([theirs])
    refused("quota-exceeded", bob, UpdateRecord(theirs.header.record_id, body=bytes(41)))
    bob.write(UpdateRecord(theirs.header.record_id, body=bytes(40)))
    assert bob.store.bytes_of(theirs.header.creator) == 100


def test_one_daemon_refreshes_so_many_and_no_more(dave, monkeypatch):
    monkeypatch.setattr(refresh, "REFRESHED_MAX", 1)
    record_id = note(dave, expires=NOW.utc_s + 100, auto_refresh=True)
    refused("quota-exceeded", dave, AddRecord("note", (), b"", NOW.utc_s + 100, auto_refresh=True))
    dave.write(UpdateRecord(record_id, auto_refresh=True))
    assert REFRESHED_MAX >= 1000
