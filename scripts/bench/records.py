"""Records from one neighbor: decoded, checked, judged and stored, in this process and without a network.

Every record has a body of 256 bytes and two attributes, and is signed once. First everything happens on one
thread, part by part, to see where the time goes. Then a whole group's node takes the same from a neighbor
that sends as its credit allows: processes check signatures while the machine works on the frames before, and
each commit reaches the disk. So the second figure may pass what one core checks; what bounds it is the cores
that are free, the one thread that decides, and how long the disk takes to sync. The processor time of the
processes is counted, their start too.
"""

from __future__ import annotations

import random
import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import cast

import trio

from peerd.clock import Clock
from peerd.errors import LinkClosed
from peerd.gossip.checking import CheckingProcesses, cores_here, processes_for, worker_command
from peerd.gossip.node import GroupNode
from peerd.gossip.offload import in_thread
from peerd.store.group_store import GroupStore
from peerd.transport.frames import FrameChannel
from peerd.transport.slots import SlotLimits, Slots
from protocol.authority.bundle import Bundle, decode_untrusted_bundle
from protocol.authority.elements import decode_untrusted_element
from protocol.credentials.keys import PrivateKey, all_hold
from protocol.limits import FRAME_BYTES_MAX_MEMBER, TRANSFER_FRAMES_IN_FLIGHT_MAX
from protocol.machines.connect import Established
from protocol.machines.events import LinkUp, Received
from protocol.machines.flood import in_frames
from protocol.machines.group import GroupMachine
from protocol.peer_time import hlc_at
from protocol.records.attributes import INT, STRING, Attribute, canonical_attributes
from protocol.records.record import (
    RecordItem,
    body_hash_of,
    decode_untrusted_item,
    new_record_id,
    sign_header,
)
from protocol.wire.messages import (
    DataSummary,
    Namespace,
    Open,
    Taken,
    Transfer,
    decode_untrusted_message,
    encode_message,
)
from scripts.bench.figures import Bound, Row, Spent, per_second
from scripts.bench.machine import CREATOR, founded, machine_of, now
from scripts.bench.watched import Watch, held_row

BODY_BYTES = 256
_RECEIVER = PrivateKey.from_seed(b"y" * 32)
_ROUNDS = 3  # two cores at work differ more from one run to the next than one does
_LINK = 1
_SESSION = 1
_HELLO = Open((), (), 0, bytes(16), 0, DataSummary(0, 0, 0, bytes(16)))


def signed(key: PrivateKey, cred: bytes, gid: bytes, numbers: range, until_ms: int) -> Iterator[RecordItem]:
    """Durable records of one author under a grant (its id), a millisecond apart, the last at `until_ms`."""
    rng = random.Random(numbers.start)  # noqa: S311
    for number in numbers:
        hlc, body = hlc_at(until_ms - (numbers.stop - number)), rng.randbytes(BODY_BYTES)
        attributes = canonical_attributes(
            (Attribute("title", STRING, f"number {number}"), Attribute("weight", INT, number))
        )
        header = sign_header(
            key,
            gid=gid,
            record_id=new_record_id(gid, key.public.pid, True, rng.randbytes(8)),
            type="note",
            creator=key.public.pid,
            cred=cred,
            created=hlc,
            hlc=hlc,
            attributes=attributes,
            body_hash=body_hash_of(body),
            size=len(body),
        )
        yield RecordItem(header, body)


def frames(raws: Sequence[bytes]) -> list[bytes]:
    """Versions as a session sends them, about 64 KiB at a time."""
    parts = [tuple(part) for part in in_frames(raws)]
    return [
        encode_message(Transfer(Namespace.DURABLE, _SESSION, number, part, number + 1 == len(parts)))
        for number, part in enumerate(parts)
    ]


@dataclass(frozen=True, slots=True)
class Sent:
    """What a neighbor has to give: its evidence, its acts, and its records in frames."""

    gid: bytes
    evidence: Bundle
    acts: tuple[bytes, ...]
    frames: list[bytes]
    count: int
    bytes: int

    def receiver(self, path: Path) -> tuple[GroupMachine, GroupStore]:
        """A node that has the acts, and no record."""
        store = GroupStore(path)
        store.begin()
        for raw in self.acts:
            store.put(decode_untrusted_element(raw).id, raw)
        store.commit()
        machine = machine_of(self.gid, _RECEIVER)
        machine.load(now(), store)
        return machine, store


def prepare(path: Path, count: int) -> Sent:
    """A group whose creator has written so many records."""
    machine, store = founded(path)
    view, at = machine.members.view, now()
    grant = view.current(CREATOR.public.pid, at.utc_s)
    assert grant is not None
    items = signed(CREATOR, grant.act_id, view.gid, range(count), at.utc_ms)
    raws = [item.raw for item in sorted(items, key=lambda item: (item.header.hlc_s, item.header.id))]
    evidence = decode_untrusted_bundle(machine.members.own_bundle(at.utc_s, store), authority=view.gid)
    sent = Sent(view.gid, evidence, tuple(store.load()), frames(raws), count, sum(map(len, raws)))
    store.close()
    return sent


# --- one thread ---------------------------------------------------------------------------------------------


@dataclass(slots=True)
class OneThread:
    """Takes frames in, one after another; `parts` tells where the time went."""

    machine: GroupMachine
    store: GroupStore
    parts: dict[str, Spent] = field(
        default_factory=lambda: {part: Spent() for part in ("decode", "check", "rules", "commit")}
    )

    def meet(self, evidence: Bundle) -> None:
        """Have a link."""
        self.store.begin()
        for event in (
            LinkUp(_LINK, evidence.leaf.key, bytes(16), None, evidence, bytes(32)),
            Received(_LINK, _HELLO),
        ):
            self.machine.handle(event, now(), self.store)
        self.store.commit()

    def take(self, payload: bytes) -> None:
        """Do with a frame all that a daemon does with it."""
        with self.parts["decode"].running():
            message = decode_untrusted_message(payload, bytes_max=FRAME_BYTES_MAX_MEMBER)
            assert isinstance(message, Transfer)
            items = tuple(decode_untrusted_item(raw) for raw in message.elements)
        with self.parts["check"].running():
            assert all_hold([check for item in items for check in item.header.checks()])
        with self.parts["rules"].running():
            self.store.begin()
            self.machine.handle(Received(_LINK, message, records=items), now(), self.store)
        with self.parts["commit"].running():
            self.store.commit()


def _on_one_thread(directory: Path, sent: Sent) -> list[Row]:
    receiver, bound = OneThread(*sent.receiver(directory / "one.db")), Bound()
    receiver.meet(sent.evidence)
    for number, payload in enumerate(sent.frames):
        if number % 4 == 0:
            bound.sample()
        receiver.take(payload)
    assert len(receiver.machine.data.ids) == sent.count
    receiver.store.close()
    parts = receiver.parts
    spent = Spent(sum(one.wall_s for one in parts.values()), sum(one.processor_s for one in parts.values()))
    split = ", ".join(f"{name} {one.processor_s / sent.count * 1e6:,.0f}" for name, one in parts.items())
    return [
        _row(f"{sent.count:,} records of {BODY_BYTES} bytes, one thread", sent.count, spent, bound),
        Row(
            "  where it goes, processor time of one", f"{spent.processor_s / sent.count * 1e6:,.0f} µs", split
        ),
    ]


def _row(what: str, count: int, spent: Spent, bound: Bound) -> Row:
    rate, by_processor = per_second(count, spent.wall_s), per_second(count, spent.processor_s)
    return Row(
        what,
        f"{rate:,.0f} /s",
        f"{rate / bound.checked_per_s:.0%} of the {bound.checked_per_s:,.0f} that one core checks;"
        f" {by_processor / bound.checked_per_s:.0%} by processor time",
    )


# --- the node's own way -------------------------------------------------------------------------------------


class Neighbor:
    """A channel at whose other end is somebody that sends what it has, as credit allows; stands in for
    `FrameChannel`.
    """

    address = "192.0.2.1:3587"
    exporter = bytes(32)

    def __init__(self, payloads: Sequence[bytes]) -> None:
        """`payloads` is what it has to send, after Open."""
        self._payloads = [encode_message(_HELLO), *payloads]
        self._sent = self._taken = 0
        self._more = trio.Event()
        self.all_taken = trio.Event()

    async def receive(self) -> bytes:
        """What it sends next."""
        while self._sent > self._taken + TRANSFER_FRAMES_IN_FLIGHT_MAX or self._sent == len(self._payloads):
            self._more = trio.Event()
            await self._more.wait()
        await trio.lowlevel.checkpoint()
        self._sent += 1
        return self._payloads[self._sent - 1]

    def send(self, payload: bytes, *, droppable: bool = False) -> bool:
        """What it hears: credit is all that it attends to."""
        if isinstance(decode_untrusted_message(payload, bytes_max=FRAME_BYTES_MAX_MEMBER), Taken):
            self._taken += 1
            self._more.set()
            if self._taken == len(self._payloads) - 1:
                self.all_taken.set()
        return True

    def raise_limit(self, bytes_max: int) -> None:
        """Frames are not measured here."""

    def close(self, reason: str = "") -> None:
        """The other side is asked for nothing more."""

    async def wait_over(self) -> None:
        """Nothing is left to say."""


async def _taken_by_a_node(
    node: GroupNode, check: CheckingProcesses, sent: Sent, spent: Spent, watch: Watch
) -> float:
    """Let it happen; the seconds of processor time that the loop's own thread took."""
    neighbor = Neighbor(sent.frames)
    peer = Established(sent.evidence.leaf.key, bytes(16), sent.evidence, 1)
    slot = Slots(SlotLimits()).admit("192.0.2.1", trio.CancelScope())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(check.run)
        nursery.start_soon(node.run)
        nursery.start_soon(watch.wake)
        began_s = time.thread_time()
        with spent.running():
            nursery.start_soon(node.serve, cast("FrameChannel", neighbor), peer, slot)
            await neighbor.all_taken.wait()
        loop_s = time.thread_time() - began_s
        nursery.cancel_scope.cancel()
    return loop_s


def _children_s() -> float:
    """Processor time of processes that this one has started, and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _by_a_node(path: Path, sent: Sent) -> tuple[float, list[Row]]:
    """How much of the bound it comes to, and what to print."""
    machine, store = sent.receiver(path)
    bound, spent, watch = Bound(), Spent(), Watch()

    async def refuse(address: str) -> FrameChannel:
        raise LinkClosed(address)

    check = CheckingProcesses(in_thread, processes_max=processes_for(cores_here()), command=worker_command())
    node = GroupNode(
        machine,
        store,
        dial=refuse,
        clock=Clock(),
        offload=in_thread,
        check=check,
        tell=lambda notice: None,
    )
    for _ in range(10):
        bound.sample()
    before_s = _children_s()
    loop_s = trio.run(_taken_by_a_node, node, check, sent, spent, watch, instruments=[watch])
    spent.processor_s += _children_s() - before_s
    for _ in range(10):
        bound.sample()
    assert len(machine.data.ids) == sent.count
    store.close()
    cores = spent.processor_s / spent.wall_s
    return per_second(sent.count, spent.wall_s) / bound.checked_per_s, [
        _row("the same by a node, with its processes", sent.count, spent, bound),
        Row(
            "  processor time of one",
            f"{spent.processor_s / sent.count * 1e6:,.0f} µs",
            f"{loop_s / sent.count * 1e6:,.0f} of it on the loop; it had {cores:.2f} cores;"
            f" two free ones give at most {per_second(2 * sent.count, spent.processor_s):,.0f} /s",
        ),
        held_row("the loop", watch.told()),
    ]


def rows(directory: Path, count: int) -> list[Row]:
    """Let two nodes receive so many records."""
    sent = prepare(directory / "writer.db", count)
    told = _on_one_thread(directory, sent)
    tried = sorted((_by_a_node(directory / f"node{n}.db", sent) for n in range(_ROUNDS)), key=itemgetter(0))
    share, middle = tried[_ROUNDS // 2]
    shares = ", ".join(f"{one:.0%}" for one, _ in tried)
    return [*told, *middle, Row(f"  the middle one of {_ROUNDS} runs", f"{share:.0%}", shares)]
