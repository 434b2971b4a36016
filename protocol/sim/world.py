"""World: a group, its nodes, the network between them, and what users do; all driven by one seed.

Users act through `issue` and `command`, which wait in simulated time, or `ask_for`, which does not. The world
remembers what it promised them: a grant whose issuing was answered must never be lost.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TypeVar

from protocol.authority.bodies import PropertiesBody
from protocol.authority.bundle import Bundle, decode_untrusted_bundle
from protocol.authority.founding import found_group
from protocol.authority.issuing import CredentialInfo, IssueRequest
from protocol.credentials.keys import PrivateKey
from protocol.credentials.names import PeerName, name_of_key
from protocol.errors import RuleError
from protocol.ids import AUTHORITY_BYTES
from protocol.limits import ELEMENTS_PER_FRAME_MAX
from protocol.machines.chains import keep_chain
from protocol.machines.events import (
    AddRecord,
    Adopt,
    Connect,
    DeleteRecord,
    Input,
    Issue,
    Issued,
    Notice,
    Output,
    Result,
    UpdateRecord,
    Written,
)
from protocol.machines.ordered_ids import SECOND_BYTES
from protocol.peer_time import Moment
from protocol.sim.faulty import Faulty
from protocol.sim.history import History
from protocol.sim.joining import Joiner
from protocol.sim.network import Network, Weather
from protocol.sim.node import EPOCH_MS, New, Node
from protocol.sim.schedule import Schedule
from protocol.sim.trace import Trace
from protocol.wire.messages import Message, News, Piece, Records, Transfer

N = TypeVar("N", bound=Node)

AGREE_STEP_MS = 100  # how often it is looked whether all agree
COMMAND_MS_MAX = 10_000
JUDGED_MAX = 16  # sets
TOLD_KINDS = ("credential-adopted", "credential-expired")  # what a world remembers; the others fill stores
ISSUED_MAX = ELEMENTS_PER_FRAME_MAX  # in one call


@dataclass(frozen=True, slots=True)
class Told:
    """A notice, and where and when it was told."""

    ms: int
    node: str
    notice: Notice


@dataclass(slots=True)
class Figures:
    """What is counted over a run. Bytes and copies are those that honest nodes received; a copy is an element
    of AUTH or a version of a record.
    """

    received: Counter[str] = field(default_factory=Counter)  # bytes, by kind of message
    frames: Counter[str] = field(default_factory=Counter)
    copies: int = 0  # however often
    useful: int = 0  # that were new
    useful_bytes: int = 0
    hops: dict[bytes, dict[str, int]] = field(default_factory=dict)  # by id, then node
    arrived_ms: dict[bytes, dict[str, int]] = field(default_factory=dict)
    last_body_ms: int = 0  # when a piece of a body came last
    made_ms: dict[bytes, int] = field(default_factory=dict)  # when a grant was issued, a version written

    def note_new(self, sender: str | None, node: str, new: New, now_ms: int) -> None:
        """Something reached a node for the first time."""
        hops = self.hops.setdefault(new.id, {})
        hops[node] = hops.get(sender or "", 0) + 1
        self.arrived_ms.setdefault(new.id, {})[node] = now_ms


class World:
    """One group and all its nodes."""

    def __init__(
        self,
        rng: random.Random,
        weather: Weather | None = None,
        properties: PropertiesBody | None = None,
    ) -> None:
        """The first node is the creator's, and alone; nothing has happened yet. `properties` are the group's
        from its beginning.
        """
        self._properties = properties or PropertiesBody()
        self.rng = rng
        self.schedule = Schedule()
        self.trace = Trace()
        self.network = Network(self.schedule, self._branch(), weather or Weather())
        self.figures = Figures()
        self.nodes: dict[str, Node] = {}
        self.faulty: dict[str, Faulty] = {}
        self.promised: dict[bytes, str] = {}  # grant id -> the node that answered
        self.told: list[Told] = []
        self.refused: Counter[str] = Counter()  # by the code of the error
        self.checked: dict[str, tuple[int, int, bytes]] = {}  # the life and the set of a node looked at last
        self.checked_records: dict[str, tuple[object, ...]] = {}
        self._checked_until = 0
        self.judged: dict[frozenset[bytes], tuple[bytes, object]] = {}  # what checks made of a set's elements
        self.history = History()
        self.counting = True  # whether `figures` are kept up
        self._keys: dict[str, PrivateKey] = {}
        self.root = self._new_key()
        self.creator = self._found("n0")

    def note_judged(self, content: frozenset[bytes], outcome: tuple[bytes, object]) -> None:
        """Remember what a check made of a set; most nodes hold the same one, so the last few suffice."""
        self.judged[content] = outcome
        while len(self.judged) > JUDGED_MAX:
            del self.judged[next(iter(self.judged))]

    def _branch(self) -> random.Random:
        """A generator of its own for one part of the run, so that the others do not disturb it."""
        return random.Random(self.rng.getrandbits(64))  # noqa: S311 - a run must repeat

    def _new_key(self) -> PrivateKey:
        return PrivateKey.from_seed(self.rng.randbytes(32))

    def key(self, name: str) -> PrivateKey:
        """The identity that goes by this name."""
        if name not in self._keys:
            self._keys[name] = self._new_key()
        return self._keys[name]

    def peer_name(self, name: str) -> PeerName:
        """Its peer name."""
        return name_of_key(self.key(name).public, name)

    def _found(self, name: str) -> Node:
        key = self.key(name)
        self.recovery = self._new_key()
        founding = found_group(
            grc=self.root,
            creator=key.public,
            creator_name=self.peer_name(name),
            creator_friendly_name="",
            classifier="sim",
            properties=self._properties,
            recovery=[self.recovery.public],
            nonce=self.rng.randbytes(32),
            now=Moment(0, EPOCH_MS),
        )
        self.gid = founding.root.gid
        node = self.make(name, Node)
        node.store.begin()
        for element in founding.elements:
            node.store.put(element.id, element.raw)
        keep_chain(founding.last, node.store)
        node.store.commit()
        node.start()
        return node

    def make(self, name: str, kind: type[N]) -> N:
        """A new node that is down, knows nobody, and has no credential."""
        node = kind(
            name,
            self.key(name),
            self.gid,
            schedule=self.schedule,
            network=self.network,
            trace=self.trace,
            rng=self._branch(),
            hooks=self,
        )
        self.nodes[name] = node
        return node

    @property
    def now_s(self) -> int:
        """Seconds UTC, by a clock that is right."""
        return (EPOCH_MS + self.schedule.now_ms) // 1000

    def right(self) -> Moment:
        """Now, by clocks that are right."""
        return Moment(self.schedule.now_ms, EPOCH_MS + self.schedule.now_ms)

    # --- time -----------------------------------------------------------------------------------------------

    def run(self, ms: int) -> None:
        """Let so much time pass."""
        self.schedule.run_until(self.schedule.now_ms + ms)

    def run_until(self, holds: Callable[[], bool], ms_max: int, step_ms: int = AGREE_STEP_MS) -> int | None:
        """Let time pass until something holds; returns how long that took, None when it never did."""
        began = self.schedule.now_ms
        while not holds():
            if self.schedule.now_ms - began >= ms_max:
                return None
            self.run(step_ms)
        return self.schedule.now_ms - began

    # --- nodes ----------------------------------------------------------------------------------------------

    def honest(self) -> list[Node]:
        """The nodes that keep to the protocol and are up."""
        return [node for node in self.nodes.values() if node.up and node.name not in self.faulty]

    def next_to_check(self, count: int) -> list[Node]:
        """So many of the honest nodes, in turn."""
        nodes = self.honest()
        if len(nodes) <= count:
            return nodes
        first = self._checked_until % len(nodes)
        self._checked_until = first + count
        return (nodes + nodes)[first : first + count]

    def agreed(self) -> bool:
        """Whether all of them hold the same sets, and every body that is shown.

        Of records that expire, only those count that all still compare.
        """
        nodes = self.honest()
        horizon_s = max((node.machine.data.ids.horizon_s for node in nodes), default=0)
        first = None
        for node in nodes:
            held = held_by(node, horizon_s)
            if held != (first := first or held) or node.store.wanted_bodies(b"", 1):
                return False
        return True

    def differences(self) -> list[str]:
        """In what the nodes differ, for people: a few of the ids that not all hold, and bodies lacked."""
        nodes, told = self.honest(), []
        sets = {node.name: _all_ids(node) for node in nodes}
        everywhere = set.intersection(*sets.values()) if sets else set()
        for node in nodes:
            more = sorted(sets[node.name] - everywhere)
            lacking = [one.body_hash.hex()[:8] for one in node.store.wanted_bodies(b"", 3)]
            shown = " ".join(f"{name.hex()[:8]}@{second}" for second, name in more[:3])
            told.append(f"{node.name} holds {len(sets[node.name])}, {len(more)} more than all: {shown}")
            told += [f"{node.name} lacks the bodies {lacking}"] if lacking else []
        return told

    def open_with(self, name: str, bundle: Bundle, addresses: Sequence[str], *, only: bool = False) -> Node:
        """A new node that has its credential, by invitation or pickup."""
        node = self.make(name, Node)
        node.start()
        node.submit(Adopt(bundle, "invitation"))
        node.submit(Connect(tuple(addresses), only))
        return node

    def admit(
        self,
        names: Sequence[str],
        role: int,
        *,
        store: bool = True,
        valid_s: int | None = None,
        addresses: Callable[[str], Sequence[str]] = lambda name: ("n0:3587",),
        only: bool = False,
    ) -> list[Node]:
        """Invite somebody on each of some new nodes; the creator issues."""
        bundles = self.invite(names, role, store=store, valid_s=valid_s)
        return [
            self.open_with(name, bundle, addresses(name), only=only)
            for name, bundle in zip(names, bundles, strict=True)
        ]

    def invite(
        self, names: Sequence[str], role: int, *, store: bool = True, valid_s: int | None = None
    ) -> list[Bundle]:
        """Credentials for new people, issued by the creator; they have no nodes yet."""
        info = CredentialInfo(role=role, valid_s=valid_s)
        requests = [
            IssueRequest(self.peer_name(name), self.key(name).public, info, store=store, invitation=True)
            for name in names
        ]
        parts = [requests[at : at + ISSUED_MAX] for at in range(0, len(requests), ISSUED_MAX)]
        return [self.read(one.bundle) for part in parts for one in self.issue(self.creator, *part)]

    def read(self, bundle: bytes) -> Bundle:
        """A bundle of this group."""
        return decode_untrusted_bundle(bundle, authority=self.gid)

    def join(self, name: str, addresses: Sequence[str]) -> Joiner:
        """Somebody who knows the group's name and some addresses, and waits for a credential."""
        joiner = Joiner(
            name,
            self.key(name),
            self.gid[:AUTHORITY_BYTES],
            tuple(addresses),
            lambda bundle: void(self.open_with(name, bundle, addresses)),
            schedule=self.schedule,
            network=self.network,
            trace=self.trace,
            rng=self._branch(),
        )
        joiner.start()
        return joiner

    # --- what users do --------------------------------------------------------------------------------------

    def ask_for(
        self, node: Node, requests: Sequence[IssueRequest], *, root: PrivateKey | None = None
    ) -> None:
        """Ask for credentials, and do not wait."""
        node.submit(
            Issue(tuple(requests), root), lambda issued: self._promise(node, issued), self._on_refused
        )

    def _promise(self, node: Node, issued: object) -> None:
        assert isinstance(issued, tuple)
        for one in issued:
            assert isinstance(one, Issued)
            self.promised[one.grant_id] = node.name

    def _on_refused(self, error: RuleError) -> None:
        self.refused[error.code] += 1

    def write(self, node: Node, command: AddRecord | UpdateRecord | DeleteRecord) -> None:
        """Ask for a record to be written, and do not wait."""
        node.submit(command, lambda written: self._on_written(node, written), self._on_refused)

    def _on_written(self, node: Node, written: object) -> None:
        assert isinstance(written, Written)
        self.history.on_written(node, written)

    def issue(
        self, node: Node, *requests: IssueRequest, root: PrivateKey | None = None
    ) -> tuple[Issued, ...]:
        """Ask for credentials and wait for them. Raises: RuleError."""
        issued = self.command(node, Issue(requests, root))
        self._promise(node, issued)
        assert isinstance(issued, tuple)
        return issued

    def renewal(self, name: str, *, store: bool = True, info: CredentialInfo | None = None) -> IssueRequest:
        """The request to issue to somebody who is known already."""
        return IssueRequest(self.peer_name(name), None, info, store=store, invitation=not store)

    def command(self, node: Node, command: Input) -> object:
        """Give a command and wait until it is durable. Raises: RuleError."""
        answers: list[object] = []
        errors: list[RuleError] = []
        node.submit(command, answers.append, errors.append)
        took = self.run_until(lambda: bool(answers or errors), COMMAND_MS_MAX, step_ms=1)
        assert took is not None, f"{node.name} does not answer"
        if errors:
            raise errors[0]
        return answers[0]

    def adopted(self, grant_id: bytes) -> list[Told]:
        """Where and when this credential came into use."""
        facts = grant_id.hex()
        return [
            told
            for told in self.told
            if told.notice.kind == "credential-adopted" and told.notice.facts["grant_id"] == facts
        ]

    # --- node.Hooks -----------------------------------------------------------------------------------------

    def lets_out(self, node: Node, message: Message) -> bool:
        """See `node.Hooks`."""
        return node.name not in self.faulty or self.faulty[node.name].lets_out(message)

    def on_frame(self, node: Node, message: Message, payload: bytes) -> None:
        """See `node.Hooks`."""
        if node.name in self.faulty:
            return
        kind = type(message).__name__
        self.figures.frames[kind] += 1
        self.figures.received[kind] += len(payload)
        if isinstance(message, (News, Transfer)):
            self.figures.copies += len(message.elements)
        elif isinstance(message, Records):
            self.figures.copies += len(message.items)
        elif isinstance(message, Piece):
            self.figures.last_body_ms = self.schedule.now_ms

    def on_handled(
        self, node: Node, event: Input, sender: str | None, new: Sequence[New], outputs: Sequence[Output]
    ) -> None:
        """See `node.Hooks`."""
        now_ms, figures = self.schedule.now_ms, self.figures
        if not self.counting:
            return
        for one in new:
            figures.note_new(sender, node.name, one, now_ms)
            if node.name not in self.faulty:
                figures.useful += 1
                figures.useful_bytes += one.size
        for made in _made(outputs):
            figures.made_ms.setdefault(made, now_ms)

    def on_notice(self, node: Node, notice: Notice) -> None:
        """See `node.Hooks`."""
        self.history.on_notice(node, notice, self.right())
        if notice.kind in TOLD_KINDS:
            self.told.append(Told(self.schedule.now_ms, node.name, notice))


def _made(outputs: Sequence[Output]) -> list[bytes]:
    """The ids of what a command made."""
    value = next((output.value for output in outputs if isinstance(output, Result)), None)
    if isinstance(value, Written):
        return [value.version_id]
    return [one.grant_id for one in value] if isinstance(value, tuple) else []


def void(_: object) -> None:
    """Forget a result."""


def held_by(node: Node, horizon_s: int = 0) -> tuple[object, ...]:
    """Equal for two nodes exactly when they hold the same, expiring records older than the horizon
    left out.
    """
    auth, data = node.machine.synchronize.summary(), node.machine.data.ids
    recent = sha256()
    start = data.expiring.rank(horizon_s.to_bytes(SECOND_BYTES, "big"))
    data.expiring.feed(start, len(data.expiring), recent.update)
    return auth.count, auth.digest, data.durable.digest(), recent.digest()


def _all_ids(node: Node) -> set[tuple[int, bytes]]:
    data = node.machine.data.ids
    return {*node.machine.members.ids, *data.durable, *data.expiring}


def act_ids(node: Node) -> list[bytes]:
    """The acts that a node holds, in the order of their arrival."""
    return list(node.machine.members.view.act_ids())
