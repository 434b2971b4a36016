"""Reconciliation of real acts: two machines that were apart talk until they hold the same.

Each is a member with stores of its own, open under different identities: the creator, and an administrator.
What both hold are credentials, each an act and its certificate; while they were apart each of them issued
half of the difference. Then one calls the other, and every message goes through the codec, as on a link.

Bytes are those of frames (payload and 4 bytes of length) in both directions, TLS not counted. *Finding* is
the rounds of reconciliation; *sending* is what follows: the elements, the credit for them, and the digests
that show both sides equal. Signatures are not checked here; what that costs, the receiving figures tell.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from protocol.authority.bundle import decode_untrusted_bundle
from protocol.authority.elements import decode_untrusted_element
from protocol.authority.issuing import CredentialInfo, IssueRequest
from protocol.credentials.keys import PrivateKey
from protocol.credentials.names import name_of_key
from protocol.credentials.roles import ADMIN
from protocol.limits import FRAME_BYTES_MAX_MEMBER
from protocol.machines.events import Input, Issue, LinkDown, LinkUp, Output, Received, Send
from protocol.machines.group import GroupMachine
from protocol.peer_time import Moment
from protocol.records.memory import MemoryStore
from protocol.wire.framing import frame
from protocol.wire.messages import (
    Message,
    News,
    Open,
    Reconcile,
    Transfer,
    decode_untrusted_message,
    encode_message,
)
from scripts.bench.figures import Spent
from scripts.bench.machine import BATCH, CREATOR, founding, machine_of, now, request

_ADMIN = PrivateKey.from_seed(b"a" * 32)
_LINK = 1
_CALLED = "10.0.0.1:3587"
_BETWEEN_MS = 30_000  # two batches of credentials, so that they lie apart in the order of time


@dataclass(slots=True)
class Node:
    """One of the two."""

    machine: GroupMachine
    now: Moment
    store: MemoryStore = field(default_factory=MemoryStore)
    spent: Spent = field(default_factory=Spent)

    def fill(self, raws: Iterable[bytes]) -> None:
        """Read the group back from what was stored before."""
        self.store.begin()
        for raw in raws:
            self.store.put(decode_untrusted_element(raw).id, raw)
        self.store.commit()
        self.machine.load(self.now, self.store)

    def handle(self, event: Input) -> list[Output]:
        """One event in one transaction."""
        with self.spent.running():
            self.store.begin()
            outputs = self.machine.handle(event, self.now, self.store)
            self.store.commit()
        return outputs

    def issue(self, requests: Sequence[IssueRequest]) -> None:
        """Issue in batches, half a minute apart."""
        for first in range(0, len(requests), BATCH):
            self.handle(Issue(tuple(requests[first : first + BATCH])))
            self.pass_time()

    def pass_time(self) -> None:
        """Let half a minute pass."""
        self.now = Moment(self.now.mono_ms + _BETWEEN_MS, self.now.utc_ms + _BETWEEN_MS)


@dataclass(slots=True)
class Traffic:
    """What was said."""

    opening_bytes: int = 0
    finding_bytes: int = 0
    finding_messages: int = 0
    sending_bytes: int = 0
    elements: int = 0
    element_bytes: int = 0

    @property
    def round_trips(self) -> int:
        """Rounds until both sides know all differences; two messages are one."""
        return (self.finding_messages + 1) // 2

    def note(self, message: Message, size: int) -> None:
        """Count one frame."""
        match message:
            case Open():
                self.opening_bytes += size
            case Reconcile():
                self.finding_bytes += size
                self.finding_messages += 1
            case _:
                self.sending_bytes += size
        for raw in _elements_in(message):
            self.elements += 1
            self.element_bytes += len(raw)


@dataclass(frozen=True, slots=True)
class Meeting:
    """What it took to make two sets equal that differed in so many acts."""

    acts: int
    differ: int
    traffic: Traffic
    processor_ms: float  # of the side that worked more


def meet(caller: Node, called: Node, exporter: bytes) -> Traffic:
    """Link two nodes, let them talk until nothing is left to say, and part them."""
    traffic, waiting = Traffic(), deque[tuple[Node, bytes]]()
    for node, other in ((caller, called), (called, caller)):
        bundle = decode_untrusted_bundle(
            other.machine.members.own_bundle(other.now.utc_s, other.store),
            authority=other.machine.members.view.gid,
        )
        address = _CALLED if node is caller else None
        up = LinkUp(_LINK, other.machine.own.public, other.machine.node_id, address, bundle, exporter)
        waiting += _said(node.handle(up), other, traffic)
    while waiting:
        hearer, payload = waiting.popleft()
        message = decode_untrusted_message(payload, bytes_max=FRAME_BYTES_MAX_MEMBER)
        elements = tuple(decode_untrusted_element(raw) for raw in _elements_in(message))
        speaker = called if hearer is caller else caller
        waiting += _said(hearer.handle(Received(_LINK, message, elements)), speaker, traffic)
    for node in (caller, called):
        node.handle(LinkDown(_LINK))
    return traffic


def _said(outputs: Sequence[Output], hearer: Node, traffic: Traffic) -> Iterator[tuple[Node, bytes]]:
    for output in outputs:
        if isinstance(output, Send):
            payload = encode_message(output.message)
            traffic.note(output.message, len(frame(payload)))
            yield hearer, payload


def _elements_in(message: Message) -> Sequence[bytes]:
    return message.elements if isinstance(message, News | Transfer) else ()


def family(acts: int) -> tuple[Node, Node]:
    """The creator's node and an administrator's, which hold the same set of about so many acts."""
    begun, group = now(), founding()
    creator = Node(machine_of(group.root.gid, CREATOR), begun)
    creator.fill(element.raw for element in group.elements)
    admin = IssueRequest(
        name_of_key(_ADMIN.public, "admin"), _ADMIN.public, CredentialInfo(role=ADMIN), store=True
    )
    creator.issue([admin])
    creator.issue([request(number) for number in range(acts - len(creator.machine.members.view))])
    administrator = Node(machine_of(group.root.gid, _ADMIN), creator.now)
    administrator.fill(creator.store.load())
    return creator, administrator


def run(acts: int, differences: Sequence[int]) -> list[Meeting]:
    """Two sets of so many acts meet again and again, each time after these numbers of acts that one or the
    other lacks.
    """
    creator, administrator = family(acts)
    for node in (creator, administrator):
        node.machine.members.ids.digest()  # which hashes the whole set, once after a start
    strangers, rng = iter(range(10**9, 2 * 10**9)), random.Random(0)  # noqa: S311
    # Whoever has not yet agreed with anybody on the time compares records whatever the summaries say.
    meet(administrator, creator, rng.randbytes(32))
    meetings = []
    for differ in differences:
        for node, share in ((creator, differ - differ // 2), (administrator, differ // 2)):
            node.issue([request(next(strangers)) for _ in range(share)])
        latest = max(creator.now, administrator.now, key=lambda moment: moment.mono_ms)
        for node in (creator, administrator):
            node.now, node.spent = latest, Spent()
            node.pass_time()
        held = len(creator.machine.members.view) + differ // 2
        traffic = meet(administrator, creator, rng.randbytes(32))
        assert creator.machine.members.ids.digest() == administrator.machine.members.ids.digest()
        busier = max(creator.spent.processor_s, administrator.spent.processor_s)
        meetings.append(Meeting(held, differ, traffic, busier * 1000))
    return meetings


def table(meetings: Iterable[Meeting]) -> str:
    """The meetings for a person to read."""
    lines = [
        f"{'acts':>9} {'differ':>7} {'opening B':>10} {'finding B':>10} {'trips':>6} {'sending B':>10} "
        f"{'elements':>9} {'of these B':>11} {'cpu ms':>8}"
    ]
    lines += [
        f"{one.acts:>9,} {one.differ:>7,} {one.traffic.opening_bytes:>10,} {one.traffic.finding_bytes:>10,} "
        f"{one.traffic.round_trips:>6} {one.traffic.sending_bytes:>10,} {one.traffic.elements:>9,} "
        f"{one.traffic.element_bytes:>11,} {one.processor_ms:>8.1f}"
        for one in meetings
    ]
    return "\n".join(lines)
