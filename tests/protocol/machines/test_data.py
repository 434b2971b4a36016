"""The records of several nodes over long times: nothing comes back, nothing is lost, and a clock that is
wrong harms nobody for longer than it is wrong.
"""

from __future__ import annotations

import random
from functools import cache

import pytest
from hypothesis import given, strategies as st

from protocol.limits import RECORDS_COLLECT_MS
from protocol.machines import records
from protocol.machines.group_time import GroupTime
from protocol.machines.record_keeping import Keeping, header_in
from protocol.peer_time import Window, hlc_at
from protocol.records.order import OrderKey
from protocol.records.record import RecordItem, is_durable
from protocol.records.record_set import State
from tests.protocol.machines.holding import Holder, converge, exchange
from tests.support.builders import DAY, NOW, Group
from tests.support.records import Writer

NAMES = ("alice", "bob", "dave", "erin")
YEAR_MS = 365 * DAY * 1000
HOUR_MS = 3_600_000
seeds = st.integers(0, 2**32)


@cache
def lasting() -> Group:
    """A group whose credentials last for eight years."""
    group = Group()
    window = Window(NOW.utc_s - 300, NOW.utc_s + 8 * 365 * DAY)
    group.grant("alice -> bob:admin", window=window)
    for name in ("dave", "erin"):
        group.grant(f"alice -> {name}:member", window=window)
    return group


class Years:
    """Four nodes over some years, in which everything happens to them."""

    def __init__(self, seed: int, *, rollbacks: bool = False) -> None:
        self.rng = random.Random(seed)
        self.rollbacks = rollbacks
        skews = [self.rng.randrange(-HOUR_MS, HOUR_MS) for _ in NAMES]
        self.nodes = {
            name: Holder.of(lasting(), name, skew_ms=0 if rollbacks else skew)
            for name, skew in zip(NAMES, skews, strict=True)
        }
        self.writers = {name: Writer.of(lasting(), name) for name in NAMES}
        self.off: dict[str, int] = {}  # who is switched off, and until when
        self.highest: dict[tuple[str, bytes], OrderKey] = {}

    def run(self, steps: int = 40) -> Years:
        kinds = (
            "wait",
            "wait",
            "add",
            "update",
            "update",
            "delete",
            "meet",
            "meet",
            "meet",
            "leave",
            "restart",
            "bring",
        )
        for _ in range(steps):
            getattr(self, self.rng.choice((*kinds, *("roll_back",) * 3) if self.rollbacks else kinds))()
            self.check()
        return self

    def heal(self) -> Years:
        """All are right and together again."""
        for name in self.off:
            self.nodes[name] = self.nodes[name].again()
        self.off.clear()
        for node in self.nodes.values():
            node.skew_ms, node.agrees = 0, True
            node.rest()
        self.wait(HOUR_MS * 3 // 1000)
        converge(list(self.nodes.values()))
        self.check()
        return self

    def check(self) -> None:
        for name, node in self.nodes.items():
            node.check()
            for record_id, key in node.winners().items():
                before = self.highest.get((name, record_id), key)
                assert key >= before, "C4: what had been beaten is back"
                self.highest[name, record_id] = key

    def agree(self) -> None:
        """All nodes have the same, and see the same."""
        one, *others = self.nodes.values()
        horizon_s = one.data.time.horizon_s(one.clock)
        sets = [
            [header.id for header in node.headers() if header.durable or header.hlc_s >= horizon_s]
            for node in (one, *others)
        ]
        assert all(ids == sets[0] for ids in sets)
        assert all(node.shown() == one.shown() for node in others)

    # --- what happens ---------------------------------------------------------------------------------------

    def wait(self, seconds: int | None = None) -> None:
        rng = self.rng
        seconds = seconds or rng.randrange(rng.choice((300, DAY, 20 * DAY, 60 * DAY)))
        for name, node in self.nodes.items():
            node.wait(seconds)
            if name not in self.off:
                node.rest()
            elif self.off[name] <= node.now.utc_ms:
                del self.off[name]
                self.nodes[name] = node.again()

    def on(self) -> list[str]:
        return [name for name in NAMES if name not in self.off]

    def someone(self) -> str:
        return self.rng.choice(self.on())

    def add(self) -> None:
        name = self.someone()
        life_s = self.rng.choice((None, self.rng.randrange(60, 5 * DAY), self.rng.randrange(60, 90 * DAY)))
        self.sign(name, lambda writer: writer.add(body=bytes([self.rng.randrange(4)]), life_s=life_s))

    def _changeable(self, name: str) -> RecordItem | None:
        node = self.nodes[name]
        pid = self.writers[name].pid
        headers = [header_in(node.store, version_id) for version_id in node.shown().values()]
        mine = [header for header in headers if name in ("alice", "bob") or header.creator == pid]
        return RecordItem(self.rng.choice(mine)) if mine else None

    def update(self) -> None:
        """Also with an earlier end than before."""
        name = self.someone()
        before = self._changeable(name)
        if before is not None:
            life_s = None if before.header.durable else self.rng.randrange(2, 90 * DAY)
            body = bytes([self.rng.randrange(4)])
            self.sign(name, lambda writer: writer.update(before, body=body, life_s=life_s))

    def delete(self) -> None:
        name = self.someone()
        before = self._changeable(name)
        if before is not None:
            expires = None if before.header.durable else before.header.expires
            self.sign(name, lambda writer: writer.delete(before, expires=expires))

    def sign(self, name: str, make) -> None:
        writer, node = self.writers[name], self.nodes[name]
        writer.hlc = hlc_at(node.clock.utc_ms - 1000)
        item = make(writer)
        if item.header.durable or item.header.hlc_s < item.header.expires <= item.header.hlc_s + 90 * DAY:
            node.take([item])
            node.rest()

    def meet(self) -> None:
        if len(self.on()) > 1:
            exchange(*(self.nodes[name] for name in self.rng.sample(self.on(), 2)))

    def bring(self) -> None:
        """A file brings all that another node has, whatever its age."""
        one = self.someone()
        self.nodes[one].take(self.nodes[self.rng.choice(NAMES)].items())
        self.nodes[one].rest()

    def leave(self) -> None:
        if len(self.on()) > 2:
            name = self.someone()
            self.off[name] = self.nodes[name].now.utc_ms + self.rng.randrange(20, 200) * DAY * 1000

    def restart(self) -> None:
        name = self.someone()
        self.nodes[name] = self.nodes[name].again()

    def roll_back(self) -> None:
        """One clock is set back, or right again; nobody confirms the wrong one."""
        name = self.someone()
        node = self.nodes[name]
        back = node.skew_ms == 0
        node.skew_ms = -self.rng.randrange(1, 200) * DAY * 1000 if back else 0
        node.agrees = not back
        if self.rng.random() < 0.7:
            self.nodes[name] = node.again()


@given(seeds)
def test_C4_nothing_that_was_beaten_comes_back_under_skew_partitions_restarts_and_earlier_ends(seed):
    Years(seed).run().heal().agree()


@given(seeds)
def test_C5_clocks_that_are_set_back_change_nothing(seed):
    Years(seed, rollbacks=True).run().heal().agree()


def forgotten_stays_forgotten() -> None:
    """A node forgets what deleted a record; then its clock is set back, and somebody who was off for long
    brings the record.
    """
    dave, off = (Holder.of(lasting(), name) for name in ("dave", "erin"))
    writer = Writer.of(lasting(), "dave")
    note = writer.add(body=b"x", life_s=80 * DAY)
    gone = writer.delete(note)
    for holder in (dave, off):
        holder.take([note])
    dave.take([gone])
    for node in (dave, off):
        node.told()
    dave.live(91 * DAY)
    assert dave.kept() == []
    dave.agrees = False
    dave.skew_ms = -60 * DAY * 1000
    dave = dave.again().rest()
    dave.take(off.items())
    dave.rest().live(RECORDS_COLLECT_MS / 1000)
    assert (dave.kept(), dave.shown()) == ([], {})


def test_what_was_forgotten_stays_so_when_the_clock_goes_back():
    forgotten_stays_forgotten()


def test_floor_that_a_crash_leaves_behind_forgets_nothing_too_early():
    """What is collected is behind the floor that is written down."""
    dave = Holder.of(lasting(), "dave")
    writer = Writer.of(lasting(), "dave")
    note, gone = (item := writer.add(body=b"x", life_s=80 * DAY)), writer.delete(item)
    dave.take([note, gone])
    dave.live(89 * DAY).wait(DAY - 30).rest()
    for _ in range(2 * RECORDS_COLLECT_MS // 40_000):
        dave = dave.live(40).again()
        dave.agrees = False
        dave.take([note])
        assert dave.shown() == {}
        dave.agrees = True
        dave.data.time.synced = True
    assert dave.rest().kept() == []


# --- mutants ----------------------------------------------------------------------------------------------


def _drops_headers(self, terms, store):
    changes = EXPIRE(self, terms, store)
    for change in changes:
        for one in store.versions(change.header.record_id):
            if one.state is State.KEPT:
                self._ids.discard(header_in(store, one.id).hlc_s, one.id, is_durable(one.record_id))
            store.discard_version(one.id)
    return changes


def _follows_the_clock(self, now):
    return now.utc_ms


def _collects_early(self, floor_s, store):
    return COLLECT(self, floor_s + 60 * DAY, store)


def _starts_anew(self, now, store):
    self._anchor_mono_ms = now.mono_ms


EXPIRE, COLLECT = Keeping.expire, Keeping.collect
MUTANTS = {
    "header dropped at expiry": (Keeping, "expire", _drops_headers),
    "no floor": (GroupTime, "certain_ms", _follows_the_clock),
    "header dropped too early": (Keeping, "collect", _collects_early),
    "what is too old is taken": (records, "too_old", lambda header, time_s: False),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_of_time_is_caught(name, monkeypatch):
    monkeypatch.setattr(*MUTANTS[name])
    with pytest.raises(AssertionError):
        go_through_all()


def go_through_all() -> None:
    forgotten_stays_forgotten()
    for seed in range(150):
        Years(seed, rollbacks=seed % 2 == 1).run().heal().agree()
