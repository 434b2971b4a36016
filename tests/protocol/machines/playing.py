"""What the tests of the group's machine and its children share: a node that is told events, one by one."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from protocol.authority.bundle import Bundle
from protocol.authority.elements import Element, decode_untrusted_element
from protocol.codec import decode_untrusted
from protocol.limits import DIGEST_BYTES
from protocol.machines.events import Input, LinkUp, Notice, Output, Received, Send, Tick
from protocol.machines.group import GroupMachine
from protocol.machines.link import Summary, alive, opening
from protocol.machines.members import Members
from protocol.peer_time import Moment
from protocol.records.memory import MemoryStore
from protocol.records.record import decode_untrusted_item
from protocol.wire.messages import KeepAlive, Message, Namespace, News, Open, Records, Transfer
from tests.support.builders import NO_DATA, NOW, Group, Node, after
from tests.support.keys import named

T = TypeVar("T")
OTHER_DIGEST = bytes(DIGEST_BYTES)  # of no set that these tests make
LIE = Summary(99, OTHER_DIGEST, NO_DATA)  # of a neighbor with whom nothing ever helps


def node_id(name: str) -> bytes:
    """The node id of the only machine of `name`; names of one length keep their order."""
    return name.encode().ljust(16, b"\0")


def link_up(
    link: int, name: str, address: str | None = None, bundle: Bundle | None = None, node: str = ""
) -> LinkUp:
    """A connection with `name`, made by it unless there is an address; `node` if not its only machine."""
    return LinkUp(
        link, named(name).public, node_id(node or name), address, bundle, bytes([link]) + named(name).seed[1:]
    )


def only(kind: type[T], outputs: Iterable[object]) -> list[T]:
    """The outputs of one kind."""
    return [output for output in outputs if isinstance(output, kind)]


def said(outputs: Iterable[Output], link: int | None = None) -> list[Message]:
    """The messages sent, on one link or on all."""
    return [one.message for one in only(Send, outputs) if link in (None, one.link)]


def told(outputs: Iterable[Output]) -> list[str]:
    """The kinds of the notices."""
    return [notice.kind for notice in only(Notice, outputs)]


def wrote_nothing(store: MemoryStore) -> bool:
    """Whether the open transaction is empty."""
    change = store._change
    assert change is not None
    return not (change.elements or change.discarded or change.settings or change.events)


@dataclass
class Player:
    """One node's machine and store; each event is handled in a transaction of its own."""

    machine: GroupMachine
    store: MemoryStore = field(default_factory=MemoryStore)
    now: Moment = NOW

    @classmethod
    def of(
        cls, group: Group, name: str, elements: Iterable[Element] | None = None, *, seed: int = 1
    ) -> Player:
        """A node of `name` that has started with these elements, all of the group's if none are given."""
        holding = Node(Members(group.gid, named(name).public), MemoryStore())
        holding.take(group.elements if elements is None else elements, None)
        machine = GroupMachine(group.gid, named(name), node_id=node_id(name), rng=random.Random(seed))
        player = cls(machine, holding.store)
        machine.load(player.now, player.store)
        return player

    def again(self) -> Player:
        """The same node after a restart."""
        old = self.machine
        gid = old.members.view.gid
        machine = GroupMachine(gid, old.own, node_id=old.node_id, rng=random.Random(2))
        player = Player(machine, self.store.reopened(), self.now)
        machine.load(player.now, player.store)
        return player

    def tell(self, *events: Input) -> list[Output]:
        """What the machine says to these events; a refused one must have written nothing."""
        outputs: list[Output] = []
        for event in events:
            self.store.begin()
            try:
                outputs += self.machine.handle(event, self.now, self.store)
            except BaseException:
                assert wrote_nothing(self.store)
                self.store.rollback()
                raise
            self.store.commit()
        return outputs

    def at(self, seconds: float, *events: Input) -> list[Output]:
        """Set the clocks to so long after NOW, and tell what happens then: a Tick, unless there is more."""
        self.now = after(seconds)
        return self.tell(*(events or (Tick(),)))

    def hear(self, link: int, *messages: Message) -> list[Output]:
        """What the machine says to messages on a link."""
        return self.tell(*(received(link, message) for message in messages))

    def meet(self, link: int, name: str, address: str | None = None, **known: Any) -> list[Output]:
        """A neighbor comes and says Open with the digest that this node has."""
        outputs = self.tell(link_up(link, name, address, **known))
        return outputs + self.hear(link, self.open())

    def open(self, *listens: str, referrals: tuple[str, ...] = ()) -> Open:
        """The Open of a neighbor with the same set."""
        return opening(listens, referrals, self.machine.synchronize.summary(), self.now)

    def agree(self) -> KeepAlive:
        """The keep-alive of a neighbor with the same set."""
        return alive(self.machine.synchronize.summary(), self.now)

    def deadline(self) -> int | None:
        return self.machine.next_deadline(self.now)

    def neighbors(self) -> list[int]:
        return [link.id for link in self.machine.links]

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        """The event log."""
        return [
            (one.kind, decode_untrusted(one.facts, bytes_max=len(one.facts)))
            for one in self.store.events_after(0, 1000)
        ]


def received(link: int, message: Message) -> Received:
    """A message as the driver hands it over, what is in it decoded."""
    match message:
        case Records(items=raws):
            return Received(link, message, records=tuple(map(decode_untrusted_item, raws)))
        case Transfer(namespace=namespace, elements=raws) if namespace is not Namespace.AUTH:
            return Received(link, message, records=tuple(map(decode_untrusted_item, raws)))
        case News(elements=raws) | Transfer(elements=raws):
            return Received(link, message, tuple(map(decode_untrusted_element, raws)))
        case _:
            return Received(link, message)


def news(*elements: Element) -> News:
    return News(tuple(element.raw for element in elements))


def in_transaction(store: MemoryStore, change: Callable[[MemoryStore], T]) -> T:
    """Run a change and commit it; one that raises has written nothing."""
    store.begin()
    try:
        result = change(store)
    except BaseException:
        assert wrote_nothing(store)
        store.rollback()
        raise
    store.commit()
    return result
