"""What the tests of the records' machines share: a node's records over a store in memory, each call in a
transaction of its own, and clocks that tests set.

    erin = Holder.of(circle(), "erin")          # knows all of the group; a neighbor confirms its clock
    erin.take([note]), erin.write(AddRecord("note", (), b"x")), erin.wait(60), erin.rest()
    erin.shown(), erin.kept(), erin.told()      # what readers see, the set, the changes told since last asked
    erin = erin.again()                         # after a restart
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from protocol.authority.acts import Act
from protocol.authority.admission import Valid, admit
from protocol.authority.elements import Element, admit_der
from protocol.authority.view import View
from protocol.machines.data import Data
from protocol.machines.data_ids import DataIds, mark_at
from protocol.machines.events import RecordCommand, Written
from protocol.machines.record_keeping import Change, header_in
from protocol.machines.records import RecordIntake
from protocol.peer_time import Moment
from protocol.records.memory import MemoryStore
from protocol.records.order import OrderKey, order_key
from protocol.records.record import Header, RecordItem
from tests.support.builders import NOW, Group
from tests.support.keys import named
from tests.support.views import view_of

T = TypeVar("T")
AGREEING = 1  # the link whose clock goes as ours does
TRUE = 2  # the link whose clock is right
TICKS_MAX = 3000


@dataclass
class Holder:
    """The records of one node. `skew_ms` is how far its clock is ahead of the true time; `agrees` whether a
    neighbor has the same clock, `hears` whether one tells the true time.
    """

    group: Group
    name: str
    view: View
    store: MemoryStore
    data: Data
    now: Moment = NOW
    skew_ms: int = 0
    agrees: bool = True
    hears: bool = False
    starts: int = 1
    changes: list[Change] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        group: Group,
        name: str = "erin",
        elements: Iterable[Element] | None = None,
        *,
        now: Moment = NOW,
        skew_ms: int = 0,
        agrees: bool = True,
        before_write: Callable[[str], None] = lambda operation: None,
    ) -> Holder:
        """A new node that has these elements of AUTH, all of the group's if none are given."""
        view = view_of(group.gid, group.elements if elements is None else elements)
        view.take_changed()
        data = Data(named(name), view, random.Random(name))
        holder = cls(group, name, view, MemoryStore(before_write), data, now, skew_ms, agrees)
        return holder._started()

    def again(self, before_write: Callable[[str], None] = lambda operation: None) -> Holder:
        """The same node after a restart, its run time counted from 0."""
        data = Data(named(self.name), self.view, random.Random(f"{self.name}/{self.starts}"))
        store = self.store.reopened(before_write)
        now = Moment(0, self.now.utc_ms)
        changed = (self.skew_ms, self.agrees, self.hears, self.starts + 1, self.changes)
        return Holder(self.group, self.name, self.view, store, data, now, *changed)._started()

    def _started(self) -> Holder:
        self.data.load(self.clock, self.store)
        self.begin()
        if self.agrees:
            self.data.time.synced = True
        return self

    @property
    def clock(self) -> Moment:
        """What the machine is told of the time."""
        return Moment(self.now.mono_ms, self.now.utc_ms + self.skew_ms)

    def begin(self) -> None:
        """What comes before each event."""
        self.data.begin(self.clock)
        if self.agrees:
            self.data.time.on_clock(AGREEING, self.clock.utc_ms, self.clock)
        else:
            self.data.time.on_down(AGREEING)
        if self.hears:
            self.data.time.on_clock(TRUE, self.now.utc_ms, self.clock)
        else:
            self.data.time.on_down(TRUE)

    def run(self, change: Callable[[MemoryStore], T]) -> T:
        """One event, committed at its end; one that raises has changed nothing."""
        self.begin()
        self.store.begin()
        try:
            result = change(self.store)
            self.data.time.save(self.clock, self.store)
        except BaseException:
            self.store.rollback()
            raise
        self.store.commit()
        return result

    def _note(self, intake: RecordIntake) -> RecordIntake:
        self.changes += intake.changes
        return intake

    # --- events ---------------------------------------------------------------------------------------------

    def take(self, items: Iterable[RecordItem]) -> RecordIntake:
        return self._note(self.run(lambda store: self.data.take(list(items), self.clock, store)))

    def tick(self) -> RecordIntake:
        return self._note(self.run(lambda store: self.data.on_tick(self.grant, self.clock, store)))

    def write(self, command: RecordCommand) -> Written:
        intake, written = self.run(lambda store: self.data.write(command, self.grant, self.clock, store))
        self._note(intake)
        return written

    def learn(self, elements: Iterable[Element]) -> RecordIntake:
        """AUTH has grown by these elements."""
        acts = []
        for element in elements:
            if isinstance(element, Act):
                verdict = admit(element, self.view)
                assert isinstance(verdict, Valid), verdict
                self.view.add(element, verdict.admitted)
                acts.append(element)
            elif admit_der(element, self.view) is None:
                self.view.add_der(element.act_id, element.id)
        changed = self.view.take_changed()
        assert changed is not None
        return self._note(self.run(lambda store: self.data.on_acts(acts, changed, self.clock, store)))

    def body(self, data: bytes, body_hash: bytes) -> RecordIntake:
        return self._note(self.run(lambda store: self.data.on_body(body_hash, data, self.clock, store)))

    @property
    def grant(self):
        return self.view.current(named(self.name).public.pid, self.clock.utc_s)

    # --- time -----------------------------------------------------------------------------------------------

    def wait(self, seconds: float) -> Holder:
        """Let so much time go by, and nothing happen."""
        ms = int(seconds * 1000)
        self.now = Moment(self.now.mono_ms + ms, self.now.utc_ms + ms)
        return self

    def deadline(self) -> int | None:
        self.begin()
        return self.data.next_deadline(self.clock)

    def rest(self) -> Holder:
        """All the Ticks that are due now."""
        for _ in range(TICKS_MAX):
            deadline = self.deadline()
            if deadline is None or deadline > self.now.mono_ms:
                return self
            self.tick()
        raise AssertionError("this node never rests")

    def live(self, seconds: float) -> Holder:
        """Let time go by with every Tick at its deadline."""
        end = self.now.mono_ms + int(seconds * 1000)
        self.rest()
        while (deadline := self.deadline()) is not None and deadline <= end:
            self.wait((deadline - self.now.mono_ms) / 1000).rest()
        return self.wait((end - self.now.mono_ms) / 1000)

    # --- what there is --------------------------------------------------------------------------------------

    def shown(self) -> dict[bytes, bytes]:
        """The version that readers see of each record."""
        return {record_id: header.id for record_id, header in self.store._tables.shown.items()}

    def kept(self) -> list[bytes]:
        """The ids of the replicated set."""
        return sorted(version_id for _, version_id, _ in self.store.load_versions())

    def headers(self) -> list[Header]:
        return [header_in(self.store, version_id) for version_id in self.kept()]

    def winners(self) -> dict[bytes, OrderKey]:
        """The largest order key that is kept of each record."""
        keys: dict[bytes, OrderKey] = {}
        for header in self.headers():
            key = order_key(header)
            keys[header.record_id] = max(keys.get(header.record_id, key), key)
        return keys

    def items(self) -> list[RecordItem]:
        """The set as a neighbor would be sent it."""
        return [
            RecordItem(header, None if header.body_hash is None else self.store.body(header.body_hash))
            for header in self.headers()
        ]

    def digest(self, at: Moment | None = None) -> tuple[int, bytes]:
        """Count and digest of the whole set, by the clock of this node."""
        ids = DataIds(self.store.load_versions())
        ids.settle(0, mark_at((at or self.clock).utc_s + 10**6))
        return ids.summary().count, ids.summary().digest

    def told(self) -> list[tuple[str, bytes]]:
        """(kind, record id) of the changes since this was last asked."""
        told = [(change.kind, change.header.record_id) for change in self.changes]
        self.changes.clear()
        return told

    def check(self) -> None:
        """What is true at any moment: the ids in memory are those of the store, and what is shown is kept,
        not deleted, and the winner.
        """
        ids = self.data.ids
        assert sorted(i for part in (ids.durable, ids.expiring) for _, i in part) == self.kept()
        winners = self.winners()
        for record_id, version_id in self.shown().items():
            header = header_in(self.store, version_id)
            assert order_key(header) == winners[record_id]
            assert not header.deleted


def exchange(one: Holder, other: Holder) -> None:
    """What sessions between two neighbors come to: each gets what it lacks, behind the later horizon."""
    for _ in range(2):
        horizon_s = max(each.data.time.horizon_s(each.clock) for each in (one, other))
        for source, target in ((one, other), (other, one)):
            there = dict.fromkeys(target.kept())
            news = [item for item in source.items() if item.header.id not in there]
            target.take(i for i in news if i.header.durable or i.header.hlc_s >= horizon_s)
            target.rest()


def converge(holders: list[Holder]) -> None:
    """All nodes meet until nothing is left to tell."""
    for _ in range(3):
        for index, one in enumerate(holders):
            for other in holders[:index]:
                exchange(one, other)
