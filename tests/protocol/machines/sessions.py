"""Two sides of a session, without a group's machine around them: for the tests of synchronize."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from protocol.authority.bodies import Kind
from protocol.authority.elements import Element, decode_untrusted_element
from protocol.machines.data_ids import DataIds
from protocol.machines.events import Output
from protocol.machines.link import Link, Summary, alive
from protocol.machines.synchronize import Synchronize
from protocol.peer_time import Moment
from protocol.wire.messages import KeepAlive, Message, Reconcile, Taken, Transfer
from tests.protocol.machines.playing import node_id, said
from tests.support.builders import NOW, Group, Node, node_of
from tests.support.keys import named


class Side:
    """A set and its sessions."""

    def __init__(self, group: Group, elements: Iterable[Element] = (), seed: int = 1) -> None:
        self.node: Node = node_of(group, "bob")
        self.node.take(elements)
        self.sync = Synchronize(self.node.members.ids, DataIds(), random.Random(seed))
        self.links: dict[int, Link] = {}

    def up(self, number: int = 1, *, dialled: bool) -> Link:
        link = Link(
            number,
            named("carl").public,
            node_id("carl"),
            "c:1" if dialled else None,
            None,
            number.to_bytes(32, "big"),
        )
        self.links[number] = link
        self.sync.on_up(link, self.node.store)
        return link

    def summary(self, theirs: Summary, now: Moment = NOW, number: int = 1, *, opening: bool = False):
        return self.sync.on_summary(self.links[number], theirs, opening, now, self.node.store)

    def hear(self, message: Message, now: Moment = NOW, number: int = 1) -> list[Output]:
        link, store = self.links[number], self.node.store
        match message:
            case KeepAlive():
                return self.sync.on_summary(link, Summary.told_by(message), False, now, store)
            case Reconcile():
                return self.sync.on_reconcile(link, message, now, store)
            case Transfer():
                elements = [decode_untrusted_element(raw) for raw in message.elements]
                fresh = self.node.take(elements, number, now).fresh
                return self.sync.on_transfer(link, message, len(fresh), now)
            case Taken():
                return self.sync.on_taken(link, message, now, store)
            case _:
                raise AssertionError(message)

    def told(self) -> Summary:
        return self.sync.summary()


@dataclass
class Pair:
    """Two sides and the link between them, which the first dialled; `log` is who said what, in order."""

    sides: tuple[Side, Side]
    waiting: deque[tuple[int, Message]] = field(default_factory=deque)
    log: list[tuple[int, Message]] = field(default_factory=list)

    @classmethod
    def of(cls, group: Group, one: Iterable[Element], two: Iterable[Element]) -> Pair:
        pair = cls((Side(group, one, 1), Side(group, two, 2)))
        for index, side in enumerate(pair.sides):
            side.up(dialled=index == 0)
        return pair

    def say(self, index: int, outputs: Iterable[Output]) -> None:
        for message in said(outputs):
            self.waiting.append((index, message))
            self.log.append((index, message))

    def step(self, now: Moment = NOW) -> None:
        """Deliver one message."""
        index, message = self.waiting.popleft()
        self.say(1 - index, self.sides[1 - index].hear(message, now))

    def deliver(self, now: Moment = NOW) -> None:
        """Deliver until nothing is under way."""
        while self.waiting:
            self.step(now)

    def open(self, now: Moment = NOW) -> None:
        """Both say Open at the same time."""
        summaries = [side.told() for side in self.sides]
        for index, side in enumerate(self.sides):
            self.say(index, side.summary(summaries[1 - index], now, opening=True))

    def tick(self, now: Moment) -> None:
        """Both keep alive, and do what is due."""
        for index, side in enumerate(self.sides):
            self.say(index, side.sync.on_tick(now))
            self.waiting.append((index, alive(side.told(), now)))

    def sent(self, kind: type[Message]) -> list[tuple[int, Message]]:
        return [(index, message) for index, message in self.log if isinstance(message, kind)]

    def begun(self) -> list[tuple[int, int]]:
        """Who began sessions, and their numbers."""
        return [(i, m.session) for i, m in self.log if isinstance(m, Reconcile) and m.round == 0]

    @property
    def equal(self) -> bool:
        return self.sides[0].told() == self.sides[1].told()

    @property
    def idle(self) -> bool:
        return not self.waiting and not any(side.sync.busy for side in self.sides)


def grown(count: int, body: dict | None = None) -> Group:
    """A group with so many acts that follow one another."""
    group = Group()
    for number in range(count):
        group.act("alice", Kind.ANNUL, {"act": bytes(32), "n": number, **(body or {})})
    return group
