"""The ids of DATA: their summary is a function of the two sets and the two seconds, however it came about."""

from __future__ import annotations

from hashlib import sha256
from unittest.mock import patch

from hypothesis import given, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from protocol.ids import tagged_hash
from protocol.limits import MARK_S, SETTLED_S
from protocol.machines import data_ids
from protocol.machines.data_ids import DataIds, mark_at, passed_s
from protocol.machines.ordered_ids import OrderedIds, entry_of
from protocol.wire.messages import SECOND_MAX, DataSummary, Namespace

seconds = st.integers(0, 60)
identifiers = st.builds(
    lambda first, rest: bytes([first]) + rest, st.integers(0, 3), st.binary(min_size=31, max_size=31)
)
versions = st.tuples(seconds, identifiers, st.booleans())


def expected(held: set[tuple[int, bytes, bool]], horizon: int, mark: int) -> DataSummary:
    """The summary by its definition."""
    settled = [
        (durable, entry_of(second, identifier))
        for second, identifier, durable in held
        if second < mark and (durable or second >= horizon)
    ]
    shards = [
        sha256(b"".join(sorted(e for d, e in settled if d is durable and e[5] == first))).digest()
        for durable in (True, False)
        for first in range(256)
    ]
    return DataSummary(horizon, mark, len(settled), tagged_hash("peerd/data-ids/1", *shards)[:16])


class Settling(RuleBasedStateMachine):
    """Ids come and go while time moves either way."""

    def __init__(self) -> None:
        super().__init__()
        self.ids = DataIds()
        self.held: set[tuple[int, bytes, bool]] = set()

    @rule(version=versions)
    def add(self, version):
        assert self.ids.add(*version) is (version not in self.held)
        self.held.add(version)

    @rule(data=st.data())
    def discard(self, data):
        version = data.draw(st.sampled_from(sorted(self.held)) if self.held else versions)
        assert self.ids.discard(*version) is (version in self.held)
        self.held.discard(version)

    @rule(horizon=seconds, mark=seconds)
    def settle(self, horizon, mark):
        self.ids.settle(horizon, mark)

    @rule()
    def ask(self):
        told = self.ids.summary()
        assert told == expected(self.held, self.ids.horizon_s, self.ids.mark_s)
        assert self.ids.summary() is told
        assert self.ids.unsettled == any(second >= self.ids.mark_s for second, _, _ in self.held)

    @invariant()
    def holds_what_was_added(self):
        assert len(self.ids) == len(self.held)
        assert all(self.ids.holds(*version) for version in self.held)
        for durable, ids in ((True, self.ids.durable), (False, self.ids.expiring)):
            assert list(ids) == sorted((s, i) for s, i, d in self.held if d is durable)

    def teardown(self) -> None:
        self.ask()


TestSettling = Settling.TestCase


@given(st.lists(versions, max_size=30), st.integers(0, 60), st.integers(0, 60))
def test_set_read_back_has_the_summary_of_the_one_that_grew(held, horizon, mark):
    grown = DataIds()
    for version in held:
        grown.add(*version)
    with patch.object(data_ids, "_PIECE_IDS", 4):
        read = DataIds(held)
    for ids in (grown, read):
        ids.settle(horizon, mark)
    assert read.summary() == grown.summary() == expected(set(held), horizon, mark)


def test_horizon_cuts_the_expiring_class_alone():
    ids = DataIds([(5, b"d" * 32, True), (5, b"e" * 32, False), (10, b"f" * 32, False)])
    ids.settle(10, 20)
    assert ids.summary().count == 2
    ids.settle(11, 20)
    assert ids.summary().count == 1


def test_id_at_the_mark_has_not_settled():
    ids = DataIds([(16, b"d" * 32, True)])
    ids.settle(0, 16)
    assert ids.summary().count == 0
    ids.settle(0, 17)
    assert ids.summary().count == 1


def test_horizon_after_the_mark_leaves_no_expiring_id():
    ids = DataIds([(5, b"d" * 32, True), (5, b"e" * 32, False)])
    ids.settle(50, 20)
    assert ids.summary() == expected({(5, b"d" * 32, True)}, 50, 20)


def test_revision_rises_when_what_is_settled_changes_and_with_time_when_something_settles():
    ids = DataIds([(3, b"k" * 32, True)])
    ids.settle(0, 100)
    assert ids.revision == 0
    ids.add(100, b"n" * 32, True)
    assert ids.revision == 0
    ids.settle(0, 200)
    assert ids.revision == 1
    ids.settle(0, 300)
    assert ids.revision == 1
    ids.add(99, b"o" * 32, False)
    ids.discard(100, b"n" * 32, True)
    assert ids.revision == 3
    ids.add(99, b"o" * 32, False)
    ids.discard(1, b"x" * 32, False)
    assert ids.revision == 3


@given(st.integers(0, 2**33))
def test_mark_holds_until_the_next_has_passed(now_s):
    mark_s = mark_at(now_s)
    until_s = passed_s(mark_s)
    assert until_s > now_s
    assert mark_at(until_s - 1) == mark_s
    assert mark_at(until_s) == mark_s + MARK_S


def test_change_hashes_the_shards_concerned_and_no_other(monkeypatch):
    versions = [(second, sha256(bytes([second])).digest(), True) for second in range(200)]
    ids = DataIds(versions)
    ids.settle(0, 150)
    ids.summary()
    hashed: list[int] = []

    def counted() -> object:
        hashed.append(1)
        return sha256()

    monkeypatch.setattr(data_ids, "sha256", counted)
    ids.summary()
    assert len(hashed) == 0
    ids.add(3, b"a" * 32, True)
    ids.add(3, b"b" * 32, False)
    ids.add(3, b"bb" * 16, False)
    ids.summary()
    assert len(hashed) == 3 - 1
    hashed.clear()
    ids.settle(0, 152)
    ids.summary()
    assert len(hashed) == len({sha256(bytes([second])).digest()[0] for second in (150, 151)})


@given(st.integers(-100, SECOND_MAX + 1000))
def test_mark_is_a_multiple_of_16_and_at_least_15_seconds_ago(now_s):
    mark = mark_at(now_s)
    assert 0 <= mark <= SECOND_MAX
    assert mark % MARK_S == 0 or mark == SECOND_MAX
    if SETTLED_S <= now_s <= SECOND_MAX:
        assert SETTLED_S <= now_s - mark < SETTLED_S + MARK_S


def test_seconds_out_of_range_are_taken_for_the_nearest_in_it():
    ids = DataIds()
    ids.settle(-5, SECOND_MAX + 9)
    assert (ids.summary().horizon, ids.summary().mark) == (0, SECOND_MAX)


def test_each_namespace_has_its_set():
    ids = DataIds([(1, b"d" * 32, True), (2, b"e" * 32, False)])
    assert list(ids.of(Namespace.DURABLE)) == [(1, b"d" * 32)]
    assert list(ids.of(Namespace.EXPIRING)) == [(2, b"e" * 32)]
    assert isinstance(ids.of(Namespace.EXPIRING), OrderedIds)
