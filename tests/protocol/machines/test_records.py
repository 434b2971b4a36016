"""What becomes of versions that arrive: acceptance does not depend on order, revocations take effect whenever
they come, nothing waits beyond bounds, and a crash loses no work.
"""

from __future__ import annotations

import random

import pytest
from hypothesis import given, strategies as st

from protocol.authority.bodies import Kind, PropertiesBody
from protocol.limits import (
    HLC_AHEAD_MS_MAX,
    RECORDS_EXPIRED_MAX,
    RECORDS_HELD_MAX,
    RECORDS_HELD_S_MAX,
    RECORDS_QUARANTINED_MAX,
    RECORDS_SETTLED_MAX,
)
from protocol.machines import record_keeping, record_waiting, records
from protocol.machines.events import AddRecord
from protocol.machines.records import Records
from protocol.peer_time import hlc_at
from protocol.records.record import RecordItem, body_hash_of
from protocol.records.reserved import MANIFEST_TYPE, encode_manifest
from tests.protocol.machines.holding import Holder
from tests.protocol.machines.test_record_keeping import batches, check_all, drawn
from tests.support.builders import DAY, GRC, NOW, Group
from tests.support.records import PEOPLE, Writer, circle, histories, new_circle

seeds = st.integers(0, 2**32)


@pytest.fixture
def dave():
    return Writer.of(circle(), "dave")


HALF_HOUR = 1800  # seconds


def state(holder: Holder):
    return holder.kept(), holder.shown()


def many(writer: Writer, count: int, **told) -> list[RecordItem]:
    """So many records of one moment."""
    hlc = hlc_at(NOW.utc_ms)
    return [writer.add(**told, hlc=hlc, created=hlc) for _ in range(count)]


# --- acceptance does not depend on order ------------------------------------------------------------------


def check_any_order(seed: int) -> None:
    """C1 and C8 for acts and versions together: in any order, with revocations among them."""
    rng = random.Random(seed)
    group = new_circle()
    items = drawn(rng, group, 10)
    for name in rng.sample(("bob", "dave", "erin"), rng.randrange(3)):
        hlc = hlc_at(NOW.utc_ms + rng.randrange(5_500, 9_000))
        body = {"key": group.key(name).public.raw, "data": rng.choice(("drop", "time"))}
        group.act("alice", Kind.REVOKE_KEY, body, hlc=max(hlc, group._hlc))
    reference = Holder.of(group, "erin")
    reference.take(items)
    late = Holder.of(group, "erin", group.elements[:4])
    elements = [element for element in group.elements if late.view.admitted(element.id) is None]
    acts = [(0, element) for element in elements]
    told = sorted(
        [*((rng.random(), one) for _, one in acts), *((rng.random(), one) for one in items)], key=_first
    )
    order = iter(elements)  # acts name one another: theirs is kept
    for _, one in told:
        if isinstance(one, RecordItem):
            late.take([one])
        else:
            late.learn([next(order)])
        late.rest().check()
    # What was refused or dropped meanwhile comes again, as it would from a neighbor.
    late.take(items)
    late.rest()
    assert state(late) == state(reference)
    assert late.data.records.held == 0


def _first(pair):
    return pair[0]


@given(seeds)
def test_C1_acts_and_versions_in_any_order_come_to_the_same(seed):
    check_any_order(seed)


def test_version_before_its_authors_grant_waits_and_its_grant_is_asked_for(dave):
    note = dave.add(body=b"x")
    erin = Holder.of(circle(), "erin", circle().elements[:5])
    intake = erin.take([note])
    assert (intake.wanted, intake.fresh, intake.durable) == ([note.header.cred], [], [])
    assert erin.data.records.held == 1
    later = [one for one in circle().elements if one.id not in [e.id for e in circle().elements[:5]]]
    assert erin.learn(later).fresh == [note]
    assert erin.shown() == {note.header.record_id: note.header.id}
    assert erin.data.records.held == 0


def test_version_that_has_waited_a_minute_is_let_go_and_comes_again(dave):
    note = dave.add(body=b"x")
    erin = Holder.of(circle(), "erin", circle().elements[:5])
    erin.take([note])
    assert erin.deadline() == NOW.mono_ms + RECORDS_HELD_S_MAX * 1000
    erin.live(RECORDS_HELD_S_MAX)
    assert erin.data.records.held == 0
    assert erin.take([note]).wanted == [note.header.cred]
    erin.learn(circle().elements[5:])
    assert erin.take([note]).fresh in ([], [note])
    assert erin.shown() == {note.header.record_id: note.header.id}


def test_version_that_breaks_a_rule_is_refused_with_the_rule(dave):
    bad = dave.add(created=hlc_at(NOW.utc_ms + 10**6))
    erin = Holder.of(circle(), "erin")
    intake = erin.take([bad, dave.add()])
    assert (intake.refused, intake.refusals, len(intake.fresh)) == ("created_before_written", 1, 1)


def test_C6_holding_and_quarantine_are_bounded_whatever_comes(monkeypatch, dave):
    monkeypatch.setattr(record_waiting, "RECORDS_HELD_MAX", 5)
    monkeypatch.setattr(record_waiting, "RECORDS_QUARANTINED_MAX", 6)
    assert (RECORDS_HELD_MAX, RECORDS_QUARANTINED_MAX) == (1024, 1000)
    erin = Holder.of(circle(), "erin")
    ahead = [dave.add(hlc=hlc_at(NOW.utc_ms + HALF_HOUR * 1000 + n)) for n in range(20)]
    unknown = [dave.add(cred=bytes([n]) * 32) for n in range(20)]
    erin.take([*ahead, *unknown, *ahead])
    assert (erin.data.records.held, erin.data.records.quarantined) == (5, 6)
    assert erin.kept() == []
    erin.live(HALF_HOUR)
    assert len(erin.kept()) == 6
    erin.take(ahead)
    assert len(erin.kept()) == 20
    far = [dave.add(hlc=hlc_at(erin.now.utc_ms + DAY * 1000 + n)) for n in range(20)]
    erin.take(far)
    erin.live(DAY)
    assert len(erin.kept()) == 20


def test_version_ahead_counts_when_its_time_comes(dave):
    erin = Holder.of(circle(), "erin")
    note = dave.add(hlc=hlc_at(NOW.utc_ms + HLC_AHEAD_MS_MAX + 7000))
    erin.take([note])
    assert erin.deadline() == NOW.mono_ms + 7000
    erin.live(6.9)
    assert erin.kept() == []
    erin.live(0.1)
    assert erin.kept() == [note.header.id]


# --- revocations ------------------------------------------------------------------------------------------


def revoked(group: Group, name: str = "dave", **body):
    key = group.key(name).public.raw
    return group.act("alice", Kind.REVOKE_KEY, {"key": key, **body})


def test_C9_dropped_author_disappears_and_what_it_overwrote_comes_back():
    group = new_circle()
    erin = Holder.of(group, "erin")
    bob, dave = Writer.of(group, "bob"), Writer.of(group, "dave")
    note = dave.add(body=b"x")
    erin.take([note, bob.delete(note), own := bob.add()])
    erin.told()
    erin.learn([revoked(group, "bob", data="drop")])
    assert erin.shown() == {note.header.record_id: note.header.id}
    assert sorted(erin.told()) == sorted(
        [("record-added", note.header.record_id), ("record-deleted", own.header.record_id)]
    )
    assert erin.take([own]).fresh == []
    assert erin.store.aside_count()[0] == 2
    assert own.header.id not in erin.kept()


def test_C9_by_time_what_was_written_before_stands():
    group = new_circle()
    erin, dave = Holder.of(group, "erin"), Writer.of(group, "dave")
    early, late = dave.add(body=b"x"), dave.add(body=b"y", hlc=hlc_at(NOW.utc_ms + 200_000))
    erin.take([early, late])
    erin.learn([revoked(group, data="time")])
    assert erin.shown() == {early.header.record_id: early.header.id}


@pytest.mark.parametrize("when", ["before", "after", "apart", "after a restart"])
def test_C9_manifest_lets_stand_what_it_lists_whenever_it_comes(when):
    group = new_circle()
    erin, dave, alice = Holder.of(group, "erin"), Writer.of(group, "dave"), Writer.of(group, "alice")
    listed, other = dave.add(body=b"x"), dave.add(body=b"y")
    body = encode_manifest([listed.header.id])
    manifest = alice.add(MANIFEST_TYPE, (), body)
    erin.take([listed, other])
    act = revoked(group, data="manifest", manifest=body_hash_of(body))
    if when == "before":
        erin.take([manifest])
    erin.learn([act])
    if when == "after":
        assert erin.shown() == {}
        erin.take([manifest])
    elif when in ("apart", "after a restart"):
        intake = erin.take([RecordItem(manifest.header)])
        assert intake.bodies == [(manifest.header.body_hash, len(body))]
        if when == "after a restart":
            erin = erin.again()
        erin.body(body, body_hash_of(body))
    erin.rest()
    assert erin.shown() == {one.header.record_id: one.header.id for one in (listed, manifest)}


def test_manifest_that_is_none_lets_nothing_stand():
    group = new_circle()
    erin, dave, alice = Holder.of(group, "erin"), Writer.of(group, "dave"), Writer.of(group, "alice")
    erin.take([note := dave.add(body=b"x"), alice.add(MANIFEST_TYPE, (), b"no manifest")])
    erin.learn([revoked(group, data="manifest", manifest=body_hash_of(b"no manifest"))])
    assert note.header.record_id not in erin.rest().shown()
    assert erin.data.records._awaited == {}


def test_manifest_whose_work_a_crash_interrupts_is_judged_after_the_restart():
    group = new_circle()
    erin, dave, alice = Holder.of(group, "erin"), Writer.of(group, "dave"), Writer.of(group, "alice")
    note = dave.add(body=b"x")
    body = encode_manifest([note.header.id])
    erin.take([note])
    erin.learn([revoked(group, data="manifest", manifest=body_hash_of(body))])
    erin.take([alice.add(MANIFEST_TYPE, (), body)])
    assert note.header.record_id not in erin.shown()
    assert note.header.record_id in erin.again().rest().shown()


def test_revocation_of_many_records_is_worked_off_in_portions_and_outlives_crashes():
    group = new_circle()
    erin, dave = Holder.of(group, "erin"), Writer.of(group, "dave")
    erin.take(many(dave, 3 * RECORDS_SETTLED_MAX))
    erin.learn([revoked(group, data="drop")])
    left = [len(erin.shown())]
    assert left == [2 * RECORDS_SETTLED_MAX]
    erin.tick()
    erin = erin.again()  # and from the start
    for _ in range(3):
        assert erin.deadline() == erin.now.mono_ms
        erin.tick()
        left.append(len(erin.shown()))
    assert left == [256, 128, 128, 0]
    erin.rest()
    assert erin.store.setting("record_tasks") is None


def test_grant_whose_standing_changes_twice_is_judged_by_what_it_is_at_last(monkeypatch):
    """The second change comes while the first one is being worked off."""
    monkeypatch.setattr(records, "RECORDS_SETTLED_MAX", 3)
    group = new_circle()
    erin, dave = Holder.of(group, "erin"), Writer.of(group, "dave")
    erin.take([dave.add() for _ in range(9)])
    act = revoked(group, data="drop")
    erin.learn([act])
    assert len(erin.shown()) == 6
    undone = group.act("alice", Kind.ANNUL, {"act": act.id})
    erin.learn([undone])
    erin.rest()
    by_root = Holder.of(group, "erin")
    by_root.take(erin.items())
    assert erin.shown() == by_root.shown()


def test_more_grants_to_judge_than_are_written_down_are_all_judged_after_a_crash(monkeypatch):
    monkeypatch.setattr(records, "_TASKS_SAVED_MAX", 2)
    group = new_circle()
    erin = Holder.of(group, "erin")
    erin.take([Writer.of(group, name).add() for name in PEOPLE])
    for name in ("dave", "bob"):
        group.act("alice", Kind.REVOKE_KEY, {"key": group.key(name).public.raw, "data": "drop"})
    monkeypatch.setattr(Records, "work", lambda *_: [])
    erin.data.records.judge_again(group.view.grant_ids())
    erin.learn(group.elements[-2:])
    erin.take([])
    monkeypatch.undo()
    erin = erin.again().rest()
    assert {header.author for header in erin.headers()} == {
        Writer.of(group, n).pid for n in ("alice", "erin")
    }


# --- quotas -----------------------------------------------------------------------------------------------


def test_C7_lower_quota_is_applied_to_what_is_here_and_a_higher_one_lets_it_return(monkeypatch):
    monkeypatch.setattr(records, "RECORDS_SETTLED_MAX", 4)
    group = new_circle()
    erin, dave = Holder.of(group, "erin"), Writer.of(group, "dave")
    notes = sorted((dave.add() for _ in range(20)), key=lambda note: note.header.record_id)
    erin.take(notes)
    erin.learn([group.act(GRC, Kind.PROPERTIES, PropertiesBody(quotas={"ids": 7}))])
    erin.tick()
    erin = erin.again().rest()
    assert sorted(erin.shown()) == [note.header.record_id for note in notes[:7]]
    erin.learn([group.act(GRC, Kind.PROPERTIES, PropertiesBody(quotas={"ids": 12}))])
    erin.tick()
    erin = erin.again().rest()
    assert sorted(erin.shown()) == [note.header.record_id for note in notes[:12]]
    erin = erin.again()
    assert erin.data.records._tasks == {}


def test_bytes_decide_only_which_bodies_are_kept(dave):
    group = new_circle()
    group.act(GRC, Kind.PROPERTIES, PropertiesBody(quotas={"bytes": 100}))
    erin = Holder.of(group, "erin")
    first, second = dave.add(body=bytes(60)), dave.add(body=bytes(41))
    intake = erin.take([first, second])
    assert intake.fresh == [first, second]
    assert intake.durable == [first.header.id]
    assert intake.bodies == []
    assert set(erin.shown().values()) == {first.header.id, second.header.id}
    for _ in range(2):
        assert erin.store.bytes_of(first.header.creator) == 60
        assert erin.store.wanted_bodies(b"", 9) == []
        assert erin.take([second]).durable == []


def test_body_that_comes_apart_counts_too(dave):
    """Many headers may each leave room for their own body."""
    group = new_circle()
    group.act(GRC, Kind.PROPERTIES, PropertiesBody(quotas={"bytes": 100}))
    erin = Holder.of(group, "erin")
    notes = [dave.add(body=bytes([n]) * 60) for n in range(3)]
    assert len(erin.take([RecordItem(note.header) for note in notes]).bodies) == 3
    for note in notes:
        erin.body(note.body, note.header.body_hash)
    assert erin.store.bytes_of(notes[0].header.creator) == 60
    assert erin.store.wanted_bodies(b"", 9) == []
    assert len(erin.shown()) == 3


# --- bodies -----------------------------------------------------------------------------------------------


def test_body_that_is_lacking_is_asked_for_until_it_is_here(dave):
    note = dave.add(body=b"x" * 300)
    erin = Holder.of(circle(), "erin")
    for _ in range(2):
        intake = erin.take([RecordItem(note.header)])
        assert (intake.bodies, intake.durable) == ([(note.header.body_hash, 300)], [])
    erin.body(note.body, note.header.body_hash)
    intake = erin.take([RecordItem(note.header)])
    assert (intake.bodies, intake.durable) == ([], [note.header.id])


def test_body_that_nobody_names_is_not_kept(dave):
    erin = Holder.of(circle(), "erin")
    erin.body(b"x", body_hash_of(b"x"))
    assert not erin.store.has_body(body_hash_of(b"x"))


def test_body_of_what_has_expired_is_neither_kept_nor_asked_for(dave):
    """Not even by a node that a restart has put back before the end by a moment."""
    note = dave.add(body=b"x", life_s=60)
    erin = Holder.of(circle(), "erin").wait(3600)
    assert erin.take([RecordItem(note.header)]).bodies == []
    erin.take([note])
    assert not erin.store.has_body(note.header.body_hash)
    erin = Holder.of(circle(), "erin")
    erin.take([note])
    erin.live(70)
    erin = erin.again()
    erin.agrees = False
    erin.data.time._held_ms = erin.data.time._anchor_utc_ms = NOW.utc_ms
    erin.take([note])
    assert erin.rest().shown() == {}


# --- events, deadlines, bounds ----------------------------------------------------------------------------


@given(histories(16), st.randoms(use_true_random=False))
def test_changes_tell_exactly_what_readers_see_and_are_not_repeated_after_a_restart(items, rng):
    erin = Holder.of(circle(), "erin")
    seen: dict[bytes, bytes] = {}
    for portion in batches(rng, items):
        erin.take(portion)
        if rng.random() < 0.5:
            erin.live(rng.randrange(5 * DAY))
        if rng.random() < 0.3:
            erin = erin.again()
            erin.rest()
        for change in erin.changes:
            record_id = change.header.record_id
            if change.kind in ("record-added", "record-changed"):
                assert (record_id in seen) is (change.kind == "record-changed")
                assert seen.get(record_id) != change.header.id
                seen[record_id] = change.header.id
            else:
                assert seen.pop(record_id, None) is not None
        erin.changes.clear()
        assert seen == erin.shown()


def test_expiry_is_told_in_portions_and_no_tick_is_in_vain(dave):
    erin = Holder.of(circle(), "erin")
    count = 2 * RECORDS_EXPIRED_MAX + 10
    erin.take(many(dave, count, expires=NOW.utc_s + 60, life_s=60))
    erin.told()
    erin.wait(60)
    for portion in (RECORDS_EXPIRED_MAX, RECORDS_EXPIRED_MAX, 10):
        assert erin.deadline() == erin.now.mono_ms
        erin.tick()
        assert [kind for kind, _ in erin.told()] == ["record-expired"] * portion
    assert (erin.deadline() or 0) > erin.now.mono_ms


def test_collection_follows_expiry_even_when_both_are_long_overdue(dave):
    """What is shown is never forgotten while it is shown."""
    erin = Holder.of(circle(), "erin")
    count = 2 * RECORDS_EXPIRED_MAX + 10
    erin.take(many(dave, count, body=b"x", life_s=60))
    erin = erin.wait(200 * DAY).again().rest()
    assert (erin.kept(), erin.shown()) == ([], {})
    assert len([kind for kind, _ in erin.told() if kind == "record-expired"]) == count


def work_of(holder: Holder) -> tuple:
    """What a Tick may change."""
    own = holder.data.records
    waiting = own.held, own.quarantined, holder.store.aside_count()
    return state(holder), list(own._tasks), waiting, holder.data.time.floor_s


@given(histories(10), st.lists(st.integers(0, 40 * DAY), max_size=6), st.booleans())
def test_tick_at_the_deadline_always_moves_it_on(items, waits, agrees):
    erin = Holder.of(circle(), "erin", agrees=agrees)
    erin.take(items)
    if agrees:
        erin.write(AddRecord("note", (), b"x", NOW.utc_s + 600, auto_refresh=True))
    for seconds in waits:
        erin.wait(seconds)
        for _ in range(40):
            deadline = erin.deadline()
            if deadline is None:
                break
            erin.wait(max(0, deadline - erin.now.mono_ms) / 1000)
            before = work_of(erin)
            erin.tick()
            following = erin.deadline()
            assert following is None or following > erin.now.mono_ms or before != work_of(erin)


def test_too_much_that_is_void_pushes_out_what_has_waited_longest(monkeypatch):
    monkeypatch.setattr(record_keeping, "RECORDS_ASIDE_MAX", 10)
    group = new_circle()
    erin, dave = Holder.of(group, "erin"), Writer.of(group, "dave")
    erin.learn([revoked(group, data="drop")])
    notes = [dave.add() for _ in range(300)]
    erin.take(notes)
    assert erin.store.aside_count()[0] == 10
    assert erin.kept() == []


# --- crashes ----------------------------------------------------------------------------------------------


class Crash(OSError):
    """The medium fails."""


def lived(before_write) -> list[tuple]:
    """What a node had committed after each event of a life with a bit of everything."""
    group = new_circle()
    dave, alice = Writer.of(group, "dave"), Writer.of(group, "alice")
    notes = [dave.add(body=b"x" * n, life_s=60 if n % 2 else None) for n in range(6)]
    erin = Holder.of(group, "erin", before_write=before_write)
    states = [(erin, state(erin))]

    def after(event) -> None:
        event()
        states.append((erin, state(erin)))

    try:
        after(lambda: erin.take(notes[:4]))
        after(lambda: erin.take([alice.update(notes[0], body=b"a"), alice.delete(notes[1]), *notes[4:]]))
        after(lambda: erin.write(AddRecord("note", (), b"mine", NOW.utc_s + 100, auto_refresh=True)))
        after(lambda: erin.learn([revoked(group, data="drop")]))
        erin.wait(70)
        after(erin.tick)
        erin.wait(100)
        after(erin.tick)
        after(erin.tick)
    except Crash:
        pass
    return states


def test_crash_at_any_write_leaves_the_last_commit_and_the_work_is_finished_afterwards():
    writes: list[str] = []
    whole = lived(writes.append)
    finished = whole[-1][0].again().rest()
    assert len(writes) > 30
    for fatal in range(len(writes)):
        count = 0

        def fail(operation, fatal=fatal):
            nonlocal count
            count += 1
            if count > fatal:
                raise Crash(operation)

        states = lived(fail)
        node, committed = states[-1]
        again = node.again()
        again.check()
        assert state(again) == committed == whole[len(states) - 1][1]
        again.rest().check()
    assert finished.store.setting("record_tasks") is None


# --- mutants ----------------------------------------------------------------------------------------------


def _drops_deferred(self, item, missing, now):
    return None


def _never_again(self, grants):
    return None


def _kept_stands(self, now, store):
    return lambda version, header: True


MUTANTS = {
    "what is judged again is not": (Records, "judge_again", _never_again),
    "what is aside stands": (Records, "_stands_at", _kept_stands),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_of_judging_is_caught(name, monkeypatch):
    monkeypatch.setattr(*MUTANTS[name])
    with pytest.raises(AssertionError):
        check_all_orders()


def check_all_orders() -> None:
    check_all(20)
    for seed in range(60):
        check_any_order(seed)


def test_mutant_that_holds_nothing_is_caught(monkeypatch, dave):
    monkeypatch.setattr(record_waiting.RecordWaiting, "hold", _drops_deferred)
    with pytest.raises(AssertionError):
        test_version_before_its_authors_grant_waits_and_its_grant_is_asked_for(dave)


def test_mutant_that_takes_the_future_is_caught(monkeypatch, dave):
    monkeypatch.setattr(records, "is_ahead", lambda hlc, time_ms: False)
    with pytest.raises(AssertionError):
        test_version_ahead_counts_when_its_time_comes(dave)


def test_mutant_that_forgets_its_work_is_caught(monkeypatch):
    monkeypatch.setattr(Records, "_save", lambda self, store: None)
    with pytest.raises(AssertionError):
        test_manifest_whose_work_a_crash_interrupts_is_judged_after_the_restart()
