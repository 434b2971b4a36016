"""Nodes that hold records, and nothing but sessions between them: for the tests of synchronizing DATA."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache

from protocol.machines.data_ids import DataIds
from protocol.machines.events import LinkId, Output, Send
from protocol.machines.link import Link, Summary, alive
from protocol.machines.ordered_ids import OrderedIds
from protocol.machines.synchronize import Synchronize
from protocol.peer_time import Moment
from protocol.records.memory import MemoryStore
from protocol.records.record import RecordItem, decode_untrusted_item
from protocol.records.record_set import State
from protocol.wire.messages import KeepAlive, Message, Namespace, Recent, Reconcile, Taken, Transfer
from tests.protocol.machines.playing import node_id, only
from tests.support.builders import DAY, after
from tests.support.keys import named
from tests.support.records import Writer, circle

LATER_S = 4000  # after the pool was written


@cache
def pool() -> tuple[RecordItem, ...]:
    """Versions of both classes, of which sets are made; each a second later than the one before."""
    dave = Writer.of(circle(), "dave")
    lives = (None, DAY, 30 * DAY)
    return tuple(dave.add(body=bytes([n]) * (n % 3), life_s=lives[n % 3]) for n in range(60))


def later(seconds: float = 0, skew_s: float = 0) -> Moment:
    """A moment when the pool has settled; `skew_s` is by how much a clock is ahead."""
    now = after(LATER_S + seconds)
    return Moment(now.mono_ms, now.utc_ms + int(skew_s * 1000))


class Holder:
    """A node: its records, its sessions, its clock."""

    def __init__(self, name: str, items: Iterable[RecordItem], skew_s: float = 0, horizon_s: int = 0) -> None:
        self.name = name
        self.skew_s = skew_s
        self.horizon_s = horizon_s
        self.store = MemoryStore()
        self.ids = DataIds()
        self.auth = OrderedIds()
        self.take(items)
        self.sync = Synchronize(self.auth, self.ids, random.Random(name))
        self.links: dict[LinkId, Link] = {}

    def take(self, items: Iterable[RecordItem]) -> list[RecordItem]:
        """Keep what is new; whatever can be, is."""
        fresh = [one for one in items if self.store.version(one.header.id) is None]
        self.store.begin()
        for item in fresh:
            header = item.header
            self.store.put_version(header, State.KEPT, 0)
            if header.body_hash is not None and item.body is not None:
                self.store.put_body(header.body_hash, item.body)
            self.ids.add(header.hlc_s, header.id, header.durable)
        self.store.commit()
        return fresh

    def now(self, seconds: float) -> Moment:
        now = later(seconds, self.skew_s)
        self.sync.settle(self.horizon_s, now)
        return now

    def told(self, seconds: float) -> KeepAlive:
        now = self.now(seconds)
        return alive(self.sync.summary(), now)

    def up(self, number: LinkId, other: str, exporter: bytes, *, dialled: bool) -> None:
        address = f"{other}:1" if dialled else None
        link = Link(number, named(other).public, node_id(other), address, None, exporter)
        self.links[number] = link
        self.store.begin()
        self.sync.on_up(link, self.store)
        self.store.commit()

    def down(self, number: LinkId) -> None:
        self.store.begin()
        self.sync.on_down(number, self.store)
        self.store.commit()
        del self.links[number]

    def hear(
        self, number: LinkId, message: Message, seconds: float, *, opening: bool = False
    ) -> list[Output]:
        link, now = self.links[number], self.now(seconds)
        match message:
            case KeepAlive():
                return self.sync.on_summary(link, Summary.told_by(message), opening, now, self.store)
            case Reconcile():
                return self.sync.on_reconcile(link, message, now, self.store)
            case Transfer():
                fresh = self.take(decode_untrusted_item(raw) for raw in message.elements)
                return self.sync.on_transfer(link, message, len(fresh), now)
            case Recent():
                return self.sync.on_recent(link, message, now, self.store)
            case Taken():
                return self.sync.on_taken(link, message, now, self.store)
            case _:
                raise AssertionError(message)

    @property
    def held(self) -> set[bytes]:
        return {one for ids in (self.ids.durable, self.ids.expiring) for _, one in ids}


@dataclass
class Wire:
    """A link between two holders, by their places; a queue of messages each way."""

    ends: tuple[int, int]
    queues: tuple[deque[Message], deque[Message]] = field(default_factory=lambda: (deque(), deque()))


@dataclass
class Web:
    """Holders and the wires between them. Every wire has one number on both ends; a new one a new number."""

    holders: list[Holder]
    wires: dict[LinkId, Wire] = field(default_factory=dict)
    seconds: float = 0
    log: list[tuple[int, int, Message]] = field(default_factory=list)  # from, to, message
    _made: int = 0

    def connect(self, one: int, other: int) -> LinkId:
        """`one` dials `other`; both say what they hold."""
        self._made += 1
        number = self._made
        self.wires[number] = Wire((one, other))
        exporter = number.to_bytes(32, "big")
        ends = (self.holders[one], self.holders[other])
        for index, end in enumerate(ends):
            end.up(number, ends[1 - index].name, exporter, dialled=index == 0)
        told = [end.told(self.seconds) for end in ends]
        for index, end in enumerate(ends):
            self._perform((one, other)[index], end.hear(number, told[1 - index], self.seconds, opening=True))
        return number

    def cut(self, number: LinkId) -> None:
        """A link is lost, with all that was under way on it."""
        for place in self.wires.pop(number).ends:
            self.holders[place].down(number)

    def _perform(self, place: int, outputs: Iterable[Output]) -> None:
        for send in only(Send, outputs):
            wire = self.wires[send.link]
            side = wire.ends.index(place)
            wire.queues[side].append(send.message)
            self.log.append((place, wire.ends[1 - side], send.message))

    def waiting(self) -> list[tuple[LinkId, int]]:
        """The queues in which something waits."""
        return [(n, side) for n, wire in self.wires.items() for side in (0, 1) if wire.queues[side]]

    def step(self, number: LinkId, side: int) -> None:
        """Deliver the oldest message of one queue."""
        wire = self.wires[number]
        place = wire.ends[1 - side]
        outputs = self.holders[place].hear(number, wire.queues[side].popleft(), self.seconds)
        self._perform(place, outputs)

    def deliver(self) -> None:
        """Deliver all, until nothing is under way."""
        while waiting := self.waiting():
            self.step(*waiting[0])

    def tick(self, seconds: float) -> None:
        """Time goes on: all keep alive, and do what is due."""
        self.seconds += seconds
        for place, holder in enumerate(self.holders):
            now = holder.now(self.seconds)
            self._perform(place, holder.sync.on_tick(now))
            for number in holder.links:
                side = self.wires[number].ends.index(place)
                self.wires[number].queues[side].append(holder.told(self.seconds))

    def settle(self, seconds_max: float = 1200) -> None:
        """Let time go on until all hold the same."""
        self.deliver()
        limit = self.seconds + seconds_max
        while not self.equal:
            assert self.seconds < limit, [len(holder.held) for holder in self.holders]
            self.tick(5)
            self.deliver()

    @property
    def equal(self) -> bool:
        return all(holder.held == self.holders[0].held for holder in self.holders)

    def begun(self, namespace: Namespace | None = None) -> list[tuple[int, int, Namespace]]:
        """Who began sessions with whom about what, in order."""
        return [
            (source, target, message.namespace)
            for source, target, message in self.log
            if isinstance(message, Reconcile)
            and message.round == 0
            and namespace in (None, message.namespace)
        ]

    def moved(self) -> list[int]:
        """How many versions each transfer frame held."""
        return [len(message.elements) for _, _, message in self.log if isinstance(message, Transfer)]


def web(*sets: Iterable[RecordItem], skews: tuple[float, ...] = ()) -> Web:
    """Nodes with these records, not connected."""
    names = ("alice", "bob", "carl", "dave")
    return Web(
        [
            Holder(name, items, skew)
            for name, items, skew in zip(names, sets, [*skews, *[0.0] * len(sets)], strict=False)
        ]
    )
