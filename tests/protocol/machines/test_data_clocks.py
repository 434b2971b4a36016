"""One start with a wrong clock harms nobody for longer than it is wrong, the node itself included."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, strategies as st

from protocol.errors import RuleError
from protocol.limits import ALONE_STEADY_MS, MISDATED_MS, REFRESH_RETRY_S
from protocol.machines.events import AddRecord, DeleteRecord, UpdateRecord
from protocol.machines.records import Records
from protocol.peer_time import hlc_at
from protocol.records.record_set import State
from tests.protocol.machines.holding import Holder, converge
from tests.protocol.machines.test_data import HOUR_MS, NAMES, YEAR_MS, lasting
from tests.support.builders import DAY, NOW, Group
from tests.support.records import Writer

seeds = st.integers(0, 2**32)

skews = st.one_of(
    st.integers(-10 * YEAR_MS, 10 * YEAR_MS),
    st.integers(-4 * HOUR_MS, 4 * HOUR_MS),
    st.sampled_from((-10 * YEAR_MS, -1, MISDATED_MS, 5 * YEAR_MS, 10 * YEAR_MS)),
)


def all_right(nodes: list[Holder]) -> None:
    """The clocks are set, and all nodes meet."""
    for node in nodes:
        node.skew_ms, node.agrees, node.hears = 0, True, False
        node.rest()
        node.live(MISDATED_MS // 1000 + REFRESH_RETRY_S + 1)
    converge(nodes)


def contents(node: Holder) -> list[bytes]:
    """The bodies that readers see."""
    shown = node.shown()
    hashes = [header.body_hash for header in node.headers() if shown.get(header.record_id) == header.id]
    return sorted(node.store.body(each) or b"lacking" for each in hashes if each is not None)


class WrongClock:
    """Four nodes with the same records, of which bob is started anew with a wrong clock."""

    def __init__(self, seed: int, skew_ms: int, hears: bool) -> None:
        self.rng = random.Random(seed)
        self.nodes = {name: Holder.of(lasting(), name) for name in NAMES}
        self.written: dict[bytes, bytes] = {}  # what bob was told is done: record id -> body
        writer = Writer.of(lasting(), "dave")
        items = [writer.add(body=b"durable"), writer.add(body=b"expiring", life_s=60 * DAY)]
        for node in self.nodes.values():
            node.take(items)
            node.live(HOUR_MS / 1000)
        bob = self.nodes["bob"]
        bob.skew_ms, bob.agrees, bob.hears = skew_ms, False, hears
        self.nodes["bob"] = bob.again()
        self.refused: RuleError | None = None
        self.wrong = abs(skew_ms) > 5 * 60_000

    @property
    def bob(self) -> Holder:
        return self.nodes["bob"]

    @property
    def others(self) -> list[Holder]:
        return [node for name, node in self.nodes.items() if name != "bob"]

    def step(self) -> None:
        rng, bob = self.rng, self.bob
        try:
            match rng.choice(("add", "expiring", "update", "delete", "wait", "meet", "restart")):
                case "add":
                    body = rng.randbytes(4)
                    self.written[bob.write(AddRecord("note", (), body)).record_id] = body
                case "expiring":
                    body = rng.randbytes(4)
                    expires = bob.clock.utc_s + 30 * DAY
                    self.written[bob.write(AddRecord("note", (), body, expires)).record_id] = body
                case "update" if self.written:
                    record_id = rng.choice(sorted(self.written))
                    body = rng.randbytes(4)
                    bob.write(UpdateRecord(record_id, body=body))
                    self.written[record_id] = body
                case "delete" if self.written:
                    record_id = rng.choice(sorted(self.written))
                    bob.write(DeleteRecord(record_id))
                    del self.written[record_id]
                case "wait":
                    seconds = rng.randrange(2 * HOUR_MS // 1000)
                    for node in self.nodes.values():
                        node.live(seconds)
                case "meet":
                    converge([bob, rng.choice(self.others)])
                case "restart":
                    self.nodes["bob"] = bob.again()
                case _:
                    pass  # there is nothing yet to change
        except RuleError as error:
            self.refused = error
        assert self.refused is None or (self.wrong and self.refused.hint), self.refused
        for other in self.others:
            assert all(
                key[0] <= hlc_at(other.now.utc_ms + 5 * 60_000 + 1) for key in other.winners().values()
            )
            assert {b"durable", b"expiring"} <= set(contents(other)), "somebody else was harmed"


@given(seeds, skews, st.booleans())
def test_clock_that_was_wrong_for_one_start_leaves_nothing_behind(seed, skew_ms, hears):
    told = WrongClock(seed, skew_ms, hears)
    for _ in range(10):
        told.step()
    all_right(list(told.nodes.values()))
    for node in told.nodes.values():
        assert node.kept() == told.bob.kept()
        assert node.shown() == told.bob.shown()
        assert contents(node) == sorted([b"durable", b"expiring", *told.written.values()])
        assert not [header for header in node.headers() if header.hlc_ms > node.now.utc_ms + 5 * 60_000]


def test_nothing_is_collected_before_the_first_sync_of_a_run():
    dave = Holder.of(lasting(), "dave")
    note = Writer.of(lasting(), "dave").add(life_s=DAY)
    dave.take([note])
    dave = dave.wait(100 * DAY).again()
    dave.data.time.synced = False
    assert dave.rest().shown() == {}
    assert dave.kept() == [note.header.id]
    dave.data.time.synced = True
    assert dave.rest().kept() == []


def test_what_two_wrong_clocks_agreed_on_is_dated_anew_once_a_right_one_is_confirmed():
    dave = Holder.of(lasting(), "dave", skew_ms=DAY * 1000)
    written = dave.wait(60).write(AddRecord("note", (), b"x"))
    dave.skew_ms = 0
    dave.wait(60).rest()
    (header,) = dave.headers()
    assert header.record_id == written.record_id
    assert header.hlc_ms <= dave.now.utc_ms


def test_what_was_taken_in_by_a_clock_that_nobody_confirmed_goes_with_it():
    """Its author dates it anew; what is kept of it here would be ahead of that."""
    dave, erin = (Holder.of(lasting(), name) for name in ("dave", "erin"))
    note = Writer.of(lasting(), "erin").add(life_s=DAY)
    erin.take([note])
    erin.rest()
    dave.skew_ms = DAY * 1000
    dave.wait(60).write(AddRecord("note", (), b"x"))
    erin.skew_ms, erin.agrees = YEAR_MS, False
    erin.wait(60).take(dave.items())
    assert len(erin.kept()) == 2
    erin.skew_ms, erin.agrees = 0, True
    assert erin.wait(60).rest().kept() == [note.header.id]


def test_what_group_time_has_leapt_over_is_collected_with_the_leap():
    dave = Holder.of(lasting(), "dave")
    note = Writer.of(lasting(), "dave").add(life_s=DAY)
    dave.take([note])
    assert dave.rest().kept() == [note.header.id]
    dave.skew_ms = 100 * DAY * 1000
    assert dave.wait(60).rest().kept() == []


def test_writing_by_a_clock_that_neighbors_contradict_is_refused():
    for skew_ms in (-DAY * 1000, DAY * 1000):
        dave = Holder.of(lasting(), "dave", skew_ms=skew_ms, agrees=False).wait(2 * DAY)
        dave.hears = True
        with pytest.raises(RuleError) as refused:
            dave.write(AddRecord("note", (), b"x"))
        assert refused.value.code == "clock-not-trusted"
        assert refused.value.hint
        dave.skew_ms = 0
        assert dave.write(AddRecord("note", (), b"x")).record_id in dave.shown()


def test_content_is_dated_anew_with_its_life_and_the_day_it_was_made():
    dave = Holder.of(lasting(), "dave")
    first = dave.write(AddRecord("note", (), b"one", dave.now.utc_s + 10 * DAY, auto_refresh=True))
    created = dave.headers()[0].created
    dave.agrees = False
    dave.skew_ms = YEAR_MS
    dave.wait(60)
    dave.write(UpdateRecord(first.record_id, body=b"two", expires=dave.clock.utc_s + 20 * DAY))
    dave.told()
    dave.skew_ms, dave.agrees = 0, True
    dave.wait(60).rest()
    (header,) = dave.headers()
    assert header.hlc == hlc_at(dave.now.utc_ms)
    assert header.expires == dave.now.utc_s + 20 * DAY
    assert header.created == created
    assert contents(dave) == [b"two"]
    assert dave.told() == [("record-changed", header.record_id)]
    dave.live(100 * DAY)
    assert contents(dave) == [b"two"], "it is refreshed from its new date on"


def test_version_of_others_from_the_future_is_let_go_and_waits_for_its_time():
    dave = Holder.of(lasting(), "dave", agrees=False, skew_ms=YEAR_MS)
    writer = Writer.of(lasting(), "erin")
    note = writer.add(body=b"one")
    ahead = writer.update(note, body=b"two", hlc=hlc_at(NOW.utc_ms + YEAR_MS))
    assert dave.take([note, ahead]).fresh == [note, ahead]
    dave.skew_ms, dave.agrees = 0, True
    dave.told()
    dave.rest()
    assert contents(dave) == [b"one"]
    assert dave.told() == [("record-changed", note.header.record_id)]
    assert dave.take([ahead]).fresh == []
    assert dave.data.records.quarantined == 1


def test_more_misdated_records_than_one_event_takes_are_all_put_right():
    dave = Holder.of(lasting(), "dave", agrees=False, skew_ms=YEAR_MS)
    for number in range(300):
        dave.write(AddRecord("note", (), number.to_bytes(2, "big")))
    dave.skew_ms, dave.agrees = 0, True
    dave.wait(1).rest()
    assert len(contents(dave)) == 300
    assert all(header.hlc_ms <= dave.now.utc_ms + 1 for header in dave.headers())


def test_misdated_version_stays_while_there_is_nothing_to_write_under(monkeypatch):
    dave = Holder.of(lasting(), "dave", agrees=False, skew_ms=YEAR_MS)
    dave.write(AddRecord("note", (), b"x"))
    dave.skew_ms, dave.agrees = 0, True
    monkeypatch.setattr(Holder, "grant", None)
    dave.rest()
    assert contents(dave) == [b"x"]
    monkeypatch.undo()
    dave.live(REFRESH_RETRY_S)
    assert dave.headers()[0].hlc_ms <= dave.now.utc_ms


def test_record_that_is_ahead_stays_when_authority_changes_before_the_clock_is_confirmed():
    """What was promised is not put aside, where it would be forgotten."""
    dave = Holder.of(lasting(), "dave", agrees=False, skew_ms=YEAR_MS)
    dave.write(AddRecord("note", (), b"x"))
    dave.skew_ms = 0
    dave.data.records.judge_again([dave.headers()[0].cred])
    dave.rest()
    assert [one.state for h in dave.headers() for one in dave.store.versions(h.record_id)] == [State.KEPT]


def _forgets_all(self, version, item, now, store):
    return REPLACE(self, version, None, now, store)


REPLACE = Records.replace


def test_mutant_that_forgets_own_misdated_versions_is_caught(monkeypatch):
    monkeypatch.setattr(Records, "replace", _forgets_all)
    with pytest.raises(AssertionError):
        test_more_misdated_records_than_one_event_takes_are_all_put_right()


# --- a sole member ----------------------------------------------------------------------------------------


def sole(**told) -> Holder:
    return Holder.of(Group(), "alice", agrees=False, **told)


def test_sole_member_sees_records_expire_by_its_clock():
    alice = sole()
    written = alice.write(AddRecord("note", (), b"x", NOW.utc_s + 60))
    assert alice.live(59).shown()
    assert not alice.live(1).shown()
    assert alice.told()[-1] == ("record-expired", written.record_id)
    assert not alice.again().rest().shown()


@given(st.booleans(), st.booleans(), st.sampled_from((-10 * YEAR_MS, 10 * YEAR_MS)))
def test_sole_member_with_a_wrong_clock_gets_everything_back(restarted, again, skew_ms):
    alice = sole()
    kept = alice.write(AddRecord("note", (), b"kept", NOW.utc_s + 30 * DAY))
    alice.write(AddRecord("note", (), b"durable"))
    alice.live(10)
    alice.skew_ms = skew_ms
    alice = alice.again() if restarted else alice
    alice.live(ALONE_STEADY_MS / 1000 - 60)
    assert (kept.record_id in alice.shown()) is (skew_ms < 0)
    alice.skew_ms = 0
    alice = alice.again() if again else alice
    alice.live(60)
    assert contents(alice) == [b"durable", b"kept"]
    assert alice.write(AddRecord("note", (), b"new", alice.now.utc_s + DAY)).record_id in alice.shown()
    alice.live(31 * DAY)
    assert contents(alice) == [b"durable"]
    assert not alice.store.has_body(alice.headers()[0].body_hash or b"") or len(contents(alice)) == 1


def test_sole_member_lets_go_of_bodies_once_its_clock_has_been_steady():
    alice = sole()
    alice.write(AddRecord("note", (), b"x" * 100, NOW.utc_s + 60))
    own = alice.headers()[0].creator
    assert alice.live(61).store.bytes_of(own) == 100
    assert alice.live(2 * ALONE_STEADY_MS / 1000).store.bytes_of(own) == 0
