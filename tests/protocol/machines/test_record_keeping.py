"""What is kept and shown does not depend on what came when: the invariants of keeping, and mutants of its
rules that they catch.
"""

from __future__ import annotations

import random
from functools import cache
from typing import Any

import pytest
from hypothesis import given, strategies as st

from protocol.authority.bodies import Kind, PropertiesBody
from protocol.limits import HEADER_LIFE_S, OTHER_AUTHORS_MAX, RECORDS_ASIDE_S_MAX, RECORDS_EXPIRED_MAX
from protocol.machines import record_keeping
from protocol.machines.data_ids import DataIds
from protocol.machines.quotas import Quota
from protocol.machines.record_keeping import Keeping, Terms, header_in, is_too_much, too_old
from protocol.peer_time import hlc_at
from protocol.records.memory import MemoryStore
from protocol.records.order import kept, order_key
from protocol.records.record import RecordItem
from protocol.records.record_set import State
from tests.protocol.machines.holding import Holder
from tests.support.builders import DAY, GRC, NOW, Group
from tests.support.records import PEOPLE, Write, Writer, circle, history, new_circle

QUOTA_SMALL = 2
seeds = st.integers(0, 2**32)


@cache
def frugal() -> Group:
    """The circle, in which nobody may have more than two records."""
    group = new_circle()
    group.act(GRC, Kind.PROPERTIES, PropertiesBody(quotas={"ids": QUOTA_SMALL}))
    return group


def drawn(rng: random.Random, group: Group, length: int = 12) -> list[RecordItem]:
    """Valid versions of a few records: some of one moment, several bodies shared."""
    writes = [
        Write(
            rng.choice(PEOPLE),
            rng.choice(("add", "update", "update", "update", "delete")),
            rng.randrange(4),
            rng.choice((b"", b"a", b"bb")),
            rng.choice((None, None, 1, 60, DAY)),
        )
        for _ in range(length)
    ]
    items = history(writes, group)
    alice, bob = Writer.of(group, "alice"), Writer.of(group, "bob")
    for item in rng.sample(items, min(3, len(items))):
        hlc = item.header.hlc + rng.randrange(3)
        items += [alice.update(item, body=b"of alice", hlc=hlc), bob.update(item, body=b"of bob", hlc=hlc)]
    return items


def batches(rng: random.Random, items: list[RecordItem]) -> list[list[RecordItem]]:
    """The same versions in any order, some twice, in any portions."""
    shuffled = rng.sample(items, len(items)) + rng.sample(items, len(items) // 2)
    cuts = sorted(rng.randrange(len(shuffled) + 1) for _ in range(3))
    return [shuffled[a:b] for a, b in zip([0, *cuts], [*cuts, len(shuffled)], strict=True)]


def fed(group: Group, portions: list[list[RecordItem]]) -> Holder:
    holder = Holder.of(group, "erin")
    for portion in portions:
        before = holder.winners()
        holder.take(portion)
        holder.check()
        after = holder.winners()
        for record_id, key in before.items():
            if record_id in after:
                assert after[record_id] >= key, "C3: a winner went back"
    return holder


def expected(group: Group, items: list[RecordItem], quota: int) -> tuple[list[bytes], dict[bytes, bytes]]:
    """The kept set and what is shown, by their definition."""
    records: dict[bytes, list] = {}
    for item in items:
        records.setdefault(item.header.record_id, []).append(item.header)
    by_creator: dict[bytes, list[bytes]] = {}
    for record_id, headers in sorted(records.items()):
        by_creator.setdefault(headers[0].creator, []).append(record_id)
    within = {record_id for ids in by_creator.values() for record_id in ids[:quota]}
    ids, shown = [], {}
    for record_id, headers in records.items():
        if record_id not in within:
            continue
        best: dict[bytes, Any] = {}
        for header in sorted(headers, key=lambda one: (one.hlc, one.author, one.id)):
            best[header.author] = header
        others = [one for author, one in best.items() if author != headers[0].creator]
        others = sorted(others, key=lambda one: (one.hlc, one.author, one.id))[-OTHER_AUTHORS_MAX:]
        stay = [best[a] for a in best if a == headers[0].creator] + others
        ids += [one.id for one in stay]
        winner = max(headers, key=lambda one: (one.hlc, one.author, one.id))
        if not winner.deleted and (winner.expires is None or winner.expires > NOW.utc_s):
            shown[record_id] = winner.id
    return sorted(ids), shown


def check_keeping(seed: int) -> None:
    """C1, C2, C3, C7, C8 and C10 for one drawn set of versions."""
    rng = random.Random(seed)
    group, quota = (circle(), 100_000) if rng.random() < 0.5 else (frugal(), QUOTA_SMALL)
    items = drawn(rng, group)
    told = expected(group, items, quota)
    for _ in range(2):
        holder = fed(group, batches(rng, items))
        assert (holder.kept(), holder.shown()) == told
        assert len(holder.kept()) <= (1 + OTHER_AUTHORS_MAX) * len(holder.winners())
        digest = holder.digest()
        again = fed(group, batches(rng, items))
        assert again.digest() == digest
        again.told()
        again.take(items)
        assert (again.kept(), again.shown(), again.told()) == (*told, [])
        for item in again.items():
            assert item.complete, "a body that was there is lacking"


@given(seeds)
def test_C1_permutation_C2_idempotence_C3_winner_C7_quota_C8_view_C10_headers(seed):
    check_keeping(seed)


def check_revocation(seed: int) -> None:
    """C11: without what one author wrote, the node is what it would be if that had never been."""
    rng = random.Random(seed)
    group = new_circle()
    gone = rng.choice(("bob", "carol", "dave"))
    items = drawn(rng, group, 24)
    holder = fed(group, batches(rng, items))
    lost = ("bob", "carol") if gone == "bob" else (gone,)  # bob has granted carol what she is
    authors = [Writer.of(group, name).pid for name in lost]
    key = group.key(gone).public.raw
    hlc = hlc_at(NOW.utc_ms + rng.randrange(5_500, 9_000))
    rule = rng.choice(("drop", "time"))
    act = group.act("alice", Kind.REVOKE_KEY, {"key": key, "data": rule}, hlc=hlc)
    holder.learn([act])
    holder.rest().check()
    stands = authors[:1] if rule == "time" else []  # with what was written before
    left = [
        item
        for item in items
        if item.header.author not in authors or (item.header.author in stands and item.header.hlc <= hlc)
    ]
    told = expected(group, left, 100_000)
    assert holder.shown() == told[1]
    # What was displaced before the revocation is aside, and comes back too.
    assert holder.kept() == told[0]


@given(seeds)
def test_C11_revoking_who_overwrote_or_deleted_restores_what_was_there(seed):
    check_revocation(seed)


def check_all(count: int) -> None:
    for seed in range(count):
        check_keeping(seed)
        check_revocation(seed)


# --- mutants ----------------------------------------------------------------------------------------------


def _by(key):
    """`kept` with another order."""

    def mutant(versions, creator):
        best: dict[bytes, Any] = {}
        for version in versions:
            known = best.get(version.author)
            best[version.author] = version if known is None else max(known, version, key=key)
        others = sorted((v for v in best.values() if v.author != creator), key=key, reverse=True)
        own = [best[creator]] if creator in best else []
        return sorted(own + others[:OTHER_AUTHORS_MAX], key=key, reverse=True)

    return mutant


VERSIONS: dict[bytes, int] = {}  # Windows' counter by version id, for the mutant that compares it


def _note_versions(monkeypatch):
    VERSIONS.clear()
    plain = record_keeping._version

    def noting(header):
        VERSIONS[header.id] = header.version
        return plain(header)

    monkeypatch.setattr(record_keeping, "_version", noting)
    put = MemoryStore.put_version

    def noted(self, header, *rest):
        VERSIONS[header.id] = header.version
        return put(self, header, *rest)

    monkeypatch.setattr(MemoryStore, "put_version", noted)


def _first_come(versions, creator):
    return list(versions)[: 1 + OTHER_AUTHORS_MAX]


def _winner_only(versions, creator):
    return kept(versions, creator)[:1]


def _never_full(self, record_id, creator, changes, terms, store):
    return True


def _full_for_the_late(self, record_id, creator, changes, terms, store):
    return store.ids_of(creator) < terms.quota.ids


def _forgets_displaced(self, versions, terms, store):
    for one in list(versions):
        self._ids.discard(one.hlc // (1000 << 16), one.id, one.record_id[0] >= 0x80)
        store.discard_version(one.id)


def _always_shows(self, header, shown, terms, store):
    store.show(header)
    return []


ORDERS = {
    "time only": lambda one: (one.hlc,),
    "Windows version first": lambda one: (VERSIONS.get(one.id, 0), one.hlc, one.author, one.id),
    "author first": lambda one: (one.author, one.hlc, one.id),
}
MUTANTS = {
    "first come": ("kept", _first_come),
    "winner only": ("kept", _winner_only),
    "no quota": ("Keeping._make_room", _never_full),
    "quota by arrival": ("Keeping._make_room", _full_for_the_late),
    "displaced are forgotten": ("Keeping._set_aside", _forgets_displaced),
    "deleted is shown": ("Keeping._show", _always_shows),
} | {name: ("kept", _by(key)) for name, key in ORDERS.items()}


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_of_keeping_is_caught(name, monkeypatch):
    place, mutant = MUTANTS[name]
    _note_versions(monkeypatch)
    owner = record_keeping if "." not in place else Keeping
    monkeypatch.setattr(owner, place.rpartition(".")[2], mutant)
    with pytest.raises(AssertionError):
        check_all(60)


# --- one by one -------------------------------------------------------------------------------------------


@pytest.fixture
def store():
    store = MemoryStore()
    store.begin()
    return store


TERMS = Terms(Quota(10, 10**9), NOW.utc_s, NOW.utc_s, NOW.utc_ms)


def at_end(item: RecordItem) -> Terms:
    """When a version has just expired."""
    assert item.header.expires is not None
    return Terms(TERMS.quota, item.header.expires, item.header.expires, NOW.utc_ms)


def all_stand(version, header):
    return True


def kinds(changes):
    return [change.kind for change in changes]


def test_changes_are_told_when_readers_see_something_else(store):
    keeping, dave, alice = Keeping(DataIds()), Writer.of(circle(), "dave"), Writer.of(circle(), "alice")
    note = dave.add("note", body=b"x")
    newer = dave.update(note, body=b"y")
    older = alice.update(note, hlc=newer.header.hlc - 1)
    gone = alice.delete(newer)
    back = dave.update(gone, body=b"z")

    def keep(item):
        return kinds(keeping.keep(item.header, all_stand, TERMS, store)[1])

    assert keep(note) == ["record-added"]
    assert keep(newer) == ["record-changed"]
    assert keep(older) == []
    assert keep(gone) == ["record-deleted"]
    assert keep(back) == ["record-added"]
    assert store.shown(note.header.record_id) == back.header.id


def test_tombstone_of_what_was_never_seen_is_no_news(store):
    keeping, dave = Keeping(DataIds()), Writer.of(circle(), "dave")
    gone = dave.delete(dave.add("note"))
    assert keeping.keep(gone.header, all_stand, TERMS, store) == (True, [])
    assert store.version(gone.header.id).state is State.KEPT


def test_version_that_has_expired_already_is_kept_and_not_shown(store):
    keeping, dave = Keeping(DataIds()), Writer.of(circle(), "dave")
    note = dave.add("note", life_s=60)
    late = at_end(note)
    assert keeping.keep(note.header, all_stand, late, store) == (True, [])
    assert store.version(note.header.id).state is State.KEPT
    assert keeping.unsure_to_s == 0


def test_update_that_has_expired_hides_the_record(store):
    keeping, dave = Keeping(DataIds()), Writer.of(circle(), "dave")
    note = dave.add("note", life_s=DAY)
    shorter = dave.update(note, life_s=60)
    keeping.keep(note.header, all_stand, TERMS, store)
    late = at_end(shorter)
    assert kinds(keeping.keep(shorter.header, all_stand, late, store)[1]) == ["record-expired"]
    assert store.shown(note.header.record_id) is None


def test_nobody_may_have_records_where_the_quota_is_none(store):
    keeping, dave = Keeping(DataIds()), Writer.of(circle(), "dave")
    none = Terms(Quota(0, 0), NOW.utc_s, NOW.utc_s, NOW.utc_ms)
    note = dave.add("note")
    for _ in range(2):
        assert keeping.settle(note.header.record_id, all_stand, none, store) == []
    assert keeping.keep(note.header, all_stand, none, store) == (False, [])
    assert store.version(note.header.id).state is State.ASIDE


def test_record_that_comes_back_comes_with_the_best_that_is_at_hand(store):
    """Somebody sends an old version of a record that had been put aside as a whole."""
    keeping, dave = Keeping(DataIds()), Writer.of(circle(), "dave")
    note = dave.add("note")
    newer = dave.update(note, body=b"y")
    none = Terms(Quota(0, 0), NOW.utc_s, NOW.utc_s, NOW.utc_ms)
    keeping.keep(newer.header, all_stand, none, store)
    keeping.keep(note.header, all_stand, TERMS, store)
    assert store.shown(note.header.record_id) == newer.header.id


def test_expiry_comes_in_portions_and_lets_go_of_bodies(store, monkeypatch):
    monkeypatch.setattr(record_keeping, "RECORDS_EXPIRED_MAX", 3)
    keeping, dave = Keeping(DataIds()), Writer.of(circle(), "dave")
    notes = [dave.add("note", body=bytes([n]), life_s=60) for n in range(7)]
    for note in notes:
        keeping.keep(note.header, all_stand, TERMS, store)
        store.put_body(note.header.body_hash, note.body)
    assert keeping.next_end_s == notes[0].header.expires
    late = at_end(notes[-1])
    assert keeping.expire(TERMS, store) == []
    portions = [kinds(keeping.expire(late, store)) for _ in range(4)]
    assert portions == [["record-expired"] * n for n in (3, 3, 1, 0)]
    assert keeping.next_end_s is None
    assert not any(store.has_body(note.header.body_hash) for note in notes)
    assert all(store.version(note.header.id) is not None for note in notes)


def test_body_stays_while_time_is_not_certain_and_what_was_hidden_can_come_back(store):
    keeping, dave = Keeping(DataIds()), Writer.of(circle(), "dave")
    note = dave.add("note", body=b"x", life_s=60)
    keeping.keep(note.header, all_stand, TERMS, store)
    store.put_body(note.header.body_hash, b"x")
    wrong = Terms(TERMS.quota, NOW.utc_s + 3650 * DAY, NOW.utc_s, NOW.utc_ms)
    assert kinds(keeping.expire(wrong, store)) == ["record-expired"]
    assert keeping.unsure_to_s == note.header.expires
    assert store.has_body(note.header.body_hash)
    assert kinds(keeping.settle(note.header.record_id, all_stand, TERMS, store)) == ["record-added"]
    assert keeping.next_end_s == note.header.expires


def test_body_of_the_last_version_that_names_it_goes_and_no_sooner(store):
    """A record that is refreshed has one body in many versions."""
    keeping, dave = Keeping(DataIds()), Writer.of(circle(), "dave")
    note = dave.add("note", body=b"x", life_s=60)
    keeping.keep(note.header, all_stand, TERMS, store)
    store.put_body(note.header.body_hash, b"x")
    again = dave.update(note, life_s=120)
    keeping.keep(again.header, all_stand, TERMS, store)
    middle = at_end(note)
    keeping.settle(note.header.record_id, all_stand, middle, store)
    assert store.has_body(note.header.body_hash)
    end = at_end(again)
    keeping.expire(end, store)
    assert not store.has_body(note.header.body_hash)


def test_headers_are_collected_when_nothing_that_they_beat_is_taken_any_more(store):
    keeping, dave = Keeping(DataIds()), Writer.of(circle(), "dave")
    notes = [dave.add("note", life_s=60) for _ in range(3)] + [dave.add("note")]
    for note in notes:
        keeping.keep(note.header, all_stand, TERMS, store)
    last = notes[2].header
    floor_s = last.hlc_s + HEADER_LIFE_S
    assert [too_old(note.header, floor_s - 1) for note in notes] == [True, True, False, False]
    assert keeping.collect(floor_s - 1, store) == 2
    assert keeping.collect(floor_s, store) == 1
    assert [store.version(note.header.id) is None for note in notes] == [True, True, True, False]


def test_what_stands_aside_is_forgotten_after_thirty_days(store):
    dave, keeping = Writer.of(circle(), "dave"), Keeping(DataIds())
    notes = [dave.add("note") for _ in range(RECORDS_EXPIRED_MAX + 1)]
    for note in notes:
        store.put_version(note.header, State.ASIDE, 1000)
    assert keeping.trim_aside(RECORDS_ASIDE_S_MAX * 1000 + 999, store) is False
    assert store.aside_count()[0] == len(notes)
    assert keeping.trim_aside(RECORDS_ASIDE_S_MAX * 1000 + 1000, store) is True
    assert keeping.trim_aside(RECORDS_ASIDE_S_MAX * 1000 + 1000, store) is False
    assert store.aside_count() == (0, 0)


@given(seeds, st.integers(0, 4), st.integers(0, 3000))
def test_aside_never_holds_more_than_it_may_and_loses_no_more_than_it_must(seed, count, size):
    rng, dave, keeping = random.Random(seed), Writer.of(circle(), "dave"), Keeping(DataIds())
    notes = [dave.add("note", body=b"x" * rng.randrange(1500)) for _ in range(6)]
    store = MemoryStore()
    store.begin()
    for at_ms, note in enumerate(notes):
        store.put_version(note.header, State.ASIDE, at_ms)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record_keeping, "RECORDS_ASIDE_MAX", count)
        patch.setattr(record_keeping, "RECORDS_ASIDE_BYTES_MAX", size)
        keeping.bound_aside(store)
        assert not is_too_much(*store.aside_count())
    left = [note for note in notes if store.version(note.header.id) is not None]
    assert left == notes[len(notes) - len(left) :]
    if len(left) < len(notes):
        weights = [len(n.header.raw) + n.header.size for n in notes[len(notes) - len(left) - 1 :]]
        assert len(weights) > count or sum(weights) > size


def test_header_is_read_back_from_the_store(store):
    note = Writer.of(circle(), "dave").add("note", hlc=hlc_at(NOW.utc_ms))
    store.put_version(note.header, State.KEPT, 0)
    assert header_in(store, note.header.id) == note.header
    assert order_key(note.header)[0] == hlc_at(NOW.utc_ms)
