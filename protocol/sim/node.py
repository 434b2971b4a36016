"""Node: one simulated daemon in one group; the crank of the real one, turned by the schedule.

A turn takes what waits (at most 64 events), lets the machine handle it inside one transaction, commits some
milliseconds later, and only then performs the outputs. So a crash in between loses the transaction and
everything that would have been said about it. What survives a crash is the store, the identity, the node id
and the address book; all else is built again from them.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from protocol.authority.bundle import Bundle
from protocol.authority.elements import Element
from protocol.authority.removal_proof import RemovalProof
from protocol.credentials.keys import PrivateKey
from protocol.errors import RemoteProtocolError, RuleError
from protocol.ids import AUTHORITY_BYTES, NODE_ID_BYTES
from protocol.limits import CRANK_EVENTS_MAX
from protocol.machines.connect import Answerer, Caller, Established
from protocol.machines.events import (
    Adopt,
    Close,
    Dial,
    DialFailed,
    DialOutcome,
    Input,
    LearnRemoval,
    LinkDown,
    LinkId,
    LinkUp,
    Notice,
    Output,
    Received,
    Replicated,
    Result,
    Send,
    Stop,
    Tick,
)
from protocol.machines.group import GroupMachine
from protocol.machines.pickup import Group
from protocol.peer_time import Moment
from protocol.records.memory import MemoryStore
from protocol.records.record import RecordItem
from protocol.sim.network import End, Network
from protocol.sim.opening import Opening, Owner, read_element, read_item, read_message
from protocol.sim.schedule import Schedule
from protocol.sim.trace import Trace
from protocol.wire.messages import (
    SELECTOR_BYTES,
    Bye,
    Message,
    Namespace,
    News,
    Records,
    Transfer,
    encode_message,
)

EPOCH_MS = 1_790_000_000_000  # UTC at the beginning of every run
COMMIT_MS = (1, 5)
OVERDUE_TICKS_MAX = 100

Refused = Callable[[RuleError], None]
Done = Callable[[object], None]


@dataclass(frozen=True, slots=True)
class New:
    """Something that a message brought and that the node did not hold: an element, or a version of a
    record.
    """

    id: bytes
    size: int  # in bytes, a body that came along counted


class Hooks(Protocol):
    """The run around the nodes: what it may do to them, and what it wants to know."""

    def lets_out(self, node: Node, message: Message) -> bool:
        """Whether a message leaves; a member that keeps things to itself says no."""

    def on_frame(self, node: Node, message: Message, payload: bytes) -> None:
        """A message has arrived at a node."""

    def on_handled(
        self, node: Node, event: Input, sender: str | None, new: Sequence[New], outputs: Sequence[Output]
    ) -> None:
        """A node has handled an event; `sender` is whom a message came from, `new` what it brought."""

    def on_notice(self, node: Node, notice: Notice) -> None:
        """A node tells its user something; it is durable."""


@dataclass(slots=True)
class _Item:
    event: Input
    done: Done | None = None
    refused: Refused | None = None
    sender: str | None = None


class _Port(Group):
    """The group as the handshake sees it."""

    def __init__(self, node: Node) -> None:
        self._node = node

    @property
    def authority(self) -> bytes:
        return self._node.gid[:AUTHORITY_BYTES]

    @property
    def node_id(self) -> bytes:
        return self._node.node_id

    def own_key(self) -> PrivateKey:
        return self._node.key

    def own_bundle(self, at_s: int) -> bytes:
        return self._node.machine.members.own_bundle(at_s, self._node.store)

    def is_member(self, pid: bytes, at_s: int) -> bool:
        return self._node.machine.members.view.current(pid, at_s) is not None

    def bundle_for(self, pid: bytes, at_s: int) -> bytes:
        return self._node.machine.members.bundle_for(pid, at_s, self._node.store)

    def accepts(self, bundle: Bundle, at_s: int) -> bool:
        return self._node.machine.members.accepts(bundle, at_s)

    def removal_proof(self, pid: bytes, shown: Bundle | None) -> bytes:
        return self._node.machine.members.removal_proof(pid, shown, self._node.store)

    def is_removed_by(self, proof: RemovalProof, at_s: int) -> bool:
        return self._node.machine.members.is_removed_by(proof, at_s)


class Node(Owner):
    """A daemon with one group open."""

    def __init__(
        self,
        name: str,
        key: PrivateKey,
        gid: bytes,
        *,
        schedule: Schedule,
        network: Network,
        trace: Trace,
        rng: random.Random,
        hooks: Hooks,
    ) -> None:
        """A new node with an empty store; it is down until `start`."""
        self._schedule = schedule
        self.name = name
        self.address = f"{name}:3587"
        self.key = key
        self.gid = gid
        self.node_id = rng.randbytes(NODE_ID_BYTES)
        self.store = MemoryStore()
        self.machine = GroupMachine(gid, key, node_id=self.node_id, rng=rng)
        self.up = False
        self.stopping = False
        self.skew_ms = 0
        self.commit_ms = COMMIT_MS
        self.life = 0
        self._network = network
        self._trace = trace
        self._rng = rng
        self._hooks = hooks
        self._turning = False
        self._wake_ms: int | None = None
        self._overdue = 0  # ticks in a row that left something due
        self._inbox: deque[_Item] = deque()
        self._questions: deque[Callable[[], None]] = deque()
        self._links: dict[LinkId, Opening] = {}
        self._last_link = 0
        network.settle(self.address, self)

    def moment(self) -> Moment:
        """Now, by this node's clocks; the monotonic one has another epoch in each life."""
        now_ms = self._schedule.now_ms
        return Moment(now_ms + 1_000 * self.life, EPOCH_MS + now_ms + self.skew_ms)

    @property
    def inbox(self) -> int:
        """How many events wait."""
        return len(self._inbox)

    def ends(self) -> dict[LinkId, End]:
        """The connections of the member links."""
        return {link: opening.end for link, opening in self._links.items()}

    @property
    def settled(self) -> bool:
        """Whether nothing is being done, so that what the store says is what is durable."""
        return self.up and not self._turning

    # --- life and death -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the process, with what the store holds."""
        assert not self.up
        self._note("starts")
        self.life += 1
        self.up = True
        self.store = self.store.reopened()
        self.machine = GroupMachine(self.gid, self.key, node_id=self.node_id, rng=self._rng)
        self.machine.load(self.moment(), self.store)
        self.machine.links.listens = (self.address,)
        self._arm()

    def crash(self, *, silently: bool = False) -> None:
        """End the process between two instructions; `silently` takes the machine's power."""
        self._note("loses power" if silently else "crashes")
        self._die()
        self._network.kill(self.name, silently=silently)

    def stop(self, then: Callable[[], None] = lambda: None) -> None:
        """End the process in order."""

        def gone(_: object) -> None:
            self._die()
            for end in self._network.ends_of(self.name):
                end.close()
            then()

        self.stopping = True
        self.submit(Stop(), gone)

    def _die(self) -> None:
        self.up = False
        self.stopping = False
        self.life += 1
        self._turning = False
        self._wake_ms = None
        self._inbox.clear()
        self._questions.clear()
        self._links.clear()

    # --- the crank ------------------------------------------------------------------------------------------

    def submit(self, command: Input, done: Done | None = None, refused: Refused | None = None) -> None:
        """Hand over a command; `done` gets its result once that is durable."""
        self._post(_Item(command, done, refused))

    def ask(self, question: Callable[[], None]) -> None:
        """See `opening.Owner`."""
        self._questions.append(question)
        self._wake()

    def adopt(self, bundle: Bundle, then: Callable[[], None]) -> None:
        """See `opening.Owner`."""
        self.submit(Adopt(bundle, "pickup"), lambda _: then())

    def learn(self, removal: RemovalProof, then: Callable[[], None]) -> None:
        """See `opening.Owner`."""
        self.submit(LearnRemoval(removal), lambda _: then())

    def _post(self, item: _Item) -> None:
        assert self.up, f"{self.name} is down"
        self._inbox.append(item)
        self._wake()

    def _wake(self) -> None:
        if not self._turning:
            self._turning = True
            self.later(0, self._turn)

    def later(self, delay_ms: int, action: Callable[[], None]) -> None:
        """See `opening.Owner`."""
        life = self.life

        def if_alive() -> None:
            if life == self.life:
                action()

        self._schedule.after(delay_ms, if_alive)

    def _turn(self) -> None:
        items = [self._inbox.popleft() for _ in range(min(len(self._inbox), CRANK_EVENTS_MAX))]
        if not items:
            self._after_turn()
            return
        now = self.moment()
        outputs: list[Output] = []
        results: list[Callable[[], None]] = []
        self.store.begin()
        for item in items:
            self._trace_event(item.event)
            new = self._unknown(item.event)
            try:
                decided = self.machine.handle(item.event, now, self.store)
            except RuleError as error:
                results.append(_refusal(item, error))
                continue
            outputs += decided
            self._hooks.on_handled(self, item.event, item.sender, self._now_held(new), decided)
            if item.done is not None:
                results.append(partial(item.done, _result(decided)))
            self._check_deadline(item.event, now)
        self.later(self._rng.randint(*self.commit_ms), lambda: self._commit(outputs, results))

    def _unknown(self, event: Input) -> list[Element | RecordItem]:
        """What is in a message and this node does not hold."""
        if not isinstance(event, Received):
            return []
        return [one for one in (*event.elements, *event.records) if not self._holds(one)]

    def _holds(self, one: Element | RecordItem) -> bool:
        if isinstance(one, RecordItem):
            return self.machine.data.records.holds(one.header)
        return self.machine.members.holds(one)

    def _now_held(self, received: Sequence[Element | RecordItem]) -> list[New]:
        held = [one for one in received if self._holds(one)]
        return [
            New(one.header.id, len(one.header.raw) + len(one.body or b""))
            if isinstance(one, RecordItem)
            else New(one.id, len(one.raw))
            for one in held
        ]

    def _check_deadline(self, event: Input, now: Moment) -> None:
        """Work may be cut into several ticks, but it comes to an end."""
        if isinstance(event, Tick):
            due = self.machine.next_deadline(now)
            self._overdue = self._overdue + 1 if due is not None and due <= now.mono_ms else 0
            assert self._overdue <= OVERDUE_TICKS_MAX, f"a Tick at {now.mono_ms} leaves {due} due"

    def _commit(self, outputs: Sequence[Output], results: Sequence[Callable[[], None]]) -> None:
        self.store.commit()
        for output in outputs:
            self._perform(output)
        life = self.life
        for result in results:
            result()
        if life == self.life:
            self._after_turn()

    def _after_turn(self) -> None:
        for _ in range(len(self._questions)):
            if self._questions:
                self._questions.popleft()()
        self._turning = False
        if not self.up:
            return
        if self._inbox or self._questions:
            self._wake()
        else:
            self._arm()

    def _arm(self) -> None:
        """Plan the Tick of the machine's next deadline, if none is planned for as early."""
        due = self.machine.next_deadline(self.moment())
        if due is None or (self._wake_ms is not None and self._wake_ms <= due):
            return
        self._wake_ms = due
        self.later(max(0, due - self.moment().mono_ms), partial(self._ring, due))

    def _ring(self, due_ms: int) -> None:
        if self._wake_ms != due_ms:
            return
        self._wake_ms = None
        now = self.moment()
        due = self.machine.next_deadline(now)
        if due is not None and due <= now.mono_ms and not self._turning:
            self._post(_Item(Tick()))
        elif not self._turning:
            self._arm()

    # --- outputs --------------------------------------------------------------------------------------------

    def _perform(self, output: Output) -> None:
        match output:
            case Send(link, message, droppable):
                opening = self._links.get(link)
                if opening is not None and self._hooks.lets_out(self, message):
                    opening.end.send(encode_message(message), droppable=droppable)
            case Close(link, reason, referrals):
                opening = self._links.get(link)
                if opening is not None:
                    opening.end.send(encode_message(Bye(reason, referrals)))
                    opening.close()
            case Dial(address):
                self._call(address)
            case Notice():
                self._note(f"tells {output.kind}")
                self._hooks.on_notice(self, output)
            case Result() | Replicated():
                pass

    # --- connections ----------------------------------------------------------------------------------------

    def on_call(self, end: End) -> Opening:
        """See `network.Host`."""
        port = _Port(self)
        return Opening(
            self, end, Answerer(lambda: [port], end.exporter, self._rng.randbytes(SELECTOR_BYTES)), None
        )

    def _call(self, address: str) -> None:
        life = self.life

        def connected(end: End | None) -> None:
            if life != self.life:
                if end is not None:
                    end.die()
            elif end is None:
                self.on_dial_failed(address, DialOutcome.UNREACHABLE)
            else:
                Opening(self, end, Caller(_Port(self), end.exporter), address)

        self._network.call(self, address, connected)

    def on_link(self, opening: Opening, peer: Established) -> LinkId:
        """See `opening.Owner`."""
        self._last_link += 1
        link = self._last_link
        self._links[link] = opening
        self._post(
            _Item(LinkUp(link, peer.key, peer.node_id, opening.address, peer.bundle, opening.end.exporter))
        )
        return link

    def on_link_end(self, link: LinkId) -> None:
        """See `opening.Owner`."""
        if self._links.pop(link, None) is not None:
            self._post(_Item(LinkDown(link)))

    def on_dial_failed(self, address: str, outcome: DialOutcome) -> None:
        """See `opening.Owner`."""
        if self.up:
            self._post(_Item(DialFailed(address, outcome)))

    def on_message(self, link: LinkId, payload: bytes, sender: str) -> None:
        """See `opening.Owner`."""
        opening = self._links[link]
        try:
            message = read_message(payload)
            received = self._without_held(_read(link, message))
        except RemoteProtocolError as error:
            self._note(f"faults link {link}: {error.fault.name}", sender, payload)
            opening.end.send(encode_message(Bye(error.fault.value, ())))
            opening.close()
            return
        count = len(received.elements) + len(received.records)
        self._note(f"{type(message).__name__} {count or ''}".rstrip(), sender, payload)
        self._hooks.on_frame(self, message, payload)
        self._post(_Item(received, sender=sender))

    def _without_held(self, received: Received) -> Received:
        """A message without the versions that are here already, unless the neighbor asks about them."""
        if isinstance(received.message, Records) and received.message.ask:
            return received
        new = tuple(item for item in received.records if not self.machine.has_whole(item.header))
        return replace(received, records=new)

    # --- what is written down -------------------------------------------------------------------------------

    def _note(self, text: str, sender: str | None = None, payload: bytes = b"") -> None:
        self._trace.note(self._schedule.now_ms, self.name, text, sender=sender, payload=payload)

    def _trace_event(self, event: Input) -> None:
        match event:
            case Received():
                pass  # noted when it arrived
            case LinkUp(link=link, address=address):
                self._note(f"link {link} up, {'dialled' if address else 'called'}")
            case LinkDown(link=link):
                self._note(f"link {link} down")
            case DialFailed(address=address, outcome=outcome):
                self._note(f"dial {address} {outcome.value}")
            case _:
                self._note(type(event).__name__)


def _read(link: LinkId, message: Message) -> Received:
    """A message with what is in it. Raises: RemoteProtocolError."""
    match message:
        case Records(items=raws):
            return Received(link, message, records=tuple(read_item(raw) for raw in raws))
        case Transfer(namespace=namespace, elements=raws) if namespace is not Namespace.AUTH:
            return Received(link, message, records=tuple(read_item(raw) for raw in raws))
        case News(elements=raws) | Transfer(elements=raws):
            return Received(link, message, tuple(read_element(raw) for raw in raws))
        case _:
            return Received(link, message)


def _refusal(item: _Item, error: RuleError) -> Callable[[], None]:
    assert item.refused is not None, f"nobody expects that {item.event} is refused: {error}"
    return partial(item.refused, error)


def _result(outputs: Sequence[Output]) -> object:
    return next((output.value for output in outputs if isinstance(output, Result)), None)
