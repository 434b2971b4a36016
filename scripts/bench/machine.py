"""Issuing and receiving in this process: a group's machine over its store on the disk, without a network.

A credential is two signatures: the act's and the certificate's. *Issued* counts the decision, both
signatures, what the rules say of the outcome, and the durable transaction. *Received* counts what a node does
with a neighbor's frame: decoding, the check of both signatures, the rules, the durable transaction; all on
one thread, while a daemon checks signatures beside the rest.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from peerd.clock import calendar_ms
from peerd.store.group_store import GroupStore
from protocol.authority.bodies import PropertiesBody
from protocol.authority.bundle import Bundle, decode_untrusted_bundle
from protocol.authority.elements import decode_untrusted_element
from protocol.authority.founding import Founding, found_group
from protocol.authority.issuing import CredentialInfo, IssueRequest
from protocol.credentials.keys import PrivateKey, all_hold
from protocol.credentials.names import name_of_key
from protocol.limits import FRAME_BYTES_MAX_MEMBER
from protocol.machines.events import Issue, LinkUp, Received
from protocol.machines.flood import in_frames
from protocol.machines.group import GroupMachine
from protocol.peer_time import Moment
from protocol.wire.messages import (
    DataSummary,
    Namespace,
    Open,
    Transfer,
    decode_untrusted_message,
    encode_message,
)
from scripts.bench.figures import Bound, Row, Spent, per_second

BATCH = 256
CREATOR = PrivateKey.from_seed(b"o" * 32)
_RECEIVER = PrivateKey.from_seed(b"x" * 32)
_LINK = 1
_SIGNATURES = 2  # of one credential


def now() -> Moment:
    """This moment."""
    return Moment(time.monotonic_ns() // 1_000_000, calendar_ms())


def founding() -> Founding:
    """A new group."""
    return found_group(
        grc=PrivateKey.from_seed(b"g" * 32),
        creator=CREATOR.public,
        creator_name=name_of_key(CREATOR.public, "creator"),
        creator_friendly_name="",
        classifier="bench",
        properties=PropertiesBody(),
        recovery=[PrivateKey.from_seed(b"r" * 32).public],
        nonce=random.Random(0).randbytes(32),  # noqa: S311
        now=now(),
    )


def machine_of(gid: bytes, own: PrivateKey) -> GroupMachine:
    """A machine that has read nothing yet."""
    return GroupMachine(gid, own, node_id=own.public.pid[:16], rng=random.Random(0))  # noqa: S311


def founded(path: Path) -> tuple[GroupMachine, GroupStore]:
    """A new group on a real store, open under its creator."""
    group, store = founding(), GroupStore(path)
    store.begin()
    for element in group.elements:
        store.put(element.id, element.raw)
    store.commit()
    machine = machine_of(group.root.gid, CREATOR)
    machine.load(now(), store)
    return machine, store


def request(number: int) -> IssueRequest:
    """A stranger's credential."""
    key = PrivateKey.from_seed(number.to_bytes(32, "big")).public
    return IssueRequest(name_of_key(key, "member"), key, CredentialInfo(), store=True)


# --- issuing ------------------------------------------------------------------------------------------------


def issue(machine: GroupMachine, store: GroupStore, numbers: range, batch: int, bound: Bound) -> Spent:
    """Issue to strangers, each batch in one durable transaction."""
    spent = Spent()
    for first in numbers[::batch]:
        part = range(first, min(first + batch, numbers.stop))
        command = Issue(tuple(request(number) for number in part))
        bound.sample()
        with spent.running():
            store.begin()
            machine.handle(command, now(), store)
            store.commit()
    return spent


def _issuing_row(what: str, count: int, spent: Spent, bound: Bound) -> Row:
    by_processor = per_second(count, spent.processor_s)
    share = _SIGNATURES * by_processor / bound.made_per_s
    return Row(
        what,
        f"{per_second(count, spent.wall_s):,.0f} /s",
        f"{by_processor:,.0f} /s of processor time; {share:.0%} of {bound.made_per_s:,.0f} signatures made",
    )


# --- receiving ----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Receiver:
    """A node with one link that takes in frames; `parts` tells where the time went."""

    machine: GroupMachine
    store: GroupStore
    parts: dict[str, Spent] = field(
        default_factory=lambda: {part: Spent() for part in ("decode", "check", "rules", "commit")}
    )

    def meet(self, bundle: Bundle) -> None:
        """Have a link to a neighbor who has shown this evidence."""
        neighbor = bundle.leaf.key
        self.store.begin()
        for event in (
            LinkUp(_LINK, neighbor, bytes(16), None, bundle, bytes(32)),
            Received(_LINK, Open((), (), 0, bytes(16), 0, DataSummary(0, 0, 0, bytes(16)))),
        ):
            self.machine.handle(event, now(), self.store)
        self.store.commit()

    def take(self, payload: bytes) -> None:
        """Do with a frame all that a daemon does with it."""
        with self.parts["decode"].running():
            message = decode_untrusted_message(payload, bytes_max=FRAME_BYTES_MAX_MEMBER)
            assert isinstance(message, Transfer)
            elements = tuple(decode_untrusted_element(raw) for raw in message.elements)
        with self.parts["check"].running():
            assert all_hold([check for element in elements for check in element.checks()])
        with self.parts["rules"].running():
            self.store.begin()
            self.machine.handle(Received(_LINK, message, elements), now(), self.store)
        with self.parts["commit"].running():
            self.store.commit()

    @property
    def spent(self) -> Spent:
        """All parts together."""
        return Spent(
            sum(part.wall_s for part in self.parts.values()),
            sum(part.processor_s for part in self.parts.values()),
        )


def _frames(raws: Sequence[bytes]) -> list[bytes]:
    """Elements as a neighbor sends them, about 64 KiB at a time."""
    parts = [tuple(part) for part in in_frames(raws)]
    return [
        encode_message(Transfer(Namespace.AUTH, 0, number, part, False)) for number, part in enumerate(parts)
    ]


def _receiving_rows(count: int, receiver: Receiver, bound: Bound) -> list[Row]:
    spent = receiver.spent
    by_processor = per_second(count, spent.processor_s)
    share = _SIGNATURES * by_processor / bound.checked_per_s
    split = ", ".join(
        f"{name} {part.processor_s / count * 1e6:,.0f}" for name, part in receiver.parts.items()
    )
    return [
        Row(
            "received, checked and stored, one thread",
            f"{per_second(count, spent.wall_s):,.0f} /s",
            f"{by_processor:,.0f} /s of processor time; {share:.0%} of {bound.checked_per_s:,.0f} checked",
        ),
        Row("  where it goes, processor time of one", f"{spent.processor_s / count * 1e6:,.0f} µs", split),
    ]


# --- all of it ----------------------------------------------------------------------------------------------


def rows(directory: Path, *, single: int, batched: int) -> list[Row]:
    """Issue `single` credentials one by one and `batched` in batches, and let another node receive them."""
    machine, store = founded(directory / "issuer.db")
    bound = Bound()
    one_by_one = issue(machine, store, range(single), 1, bound)
    table = [_issuing_row("issued and stored, one by one", single, one_by_one, bound)]
    bound = Bound()
    in_batches = issue(machine, store, range(single, single + batched), BATCH, bound)
    table.append(
        _issuing_row(f"issued and stored, {min(BATCH, batched)} in a batch", batched, in_batches, bound)
    )
    raws, gid = list(store.load()), machine.members.view.gid
    evidence = decode_untrusted_bundle(machine.members.own_bundle(now().utc_s, store), authority=gid)
    store.close()
    table += _received(directory / "receiver.db", gid, evidence, raws, single + batched)
    return table


def _received(path: Path, gid: bytes, evidence: Bundle, raws: Sequence[bytes], count: int) -> list[Row]:
    receiver, bound = Receiver(machine_of(gid, _RECEIVER), GroupStore(path)), Bound()
    receiver.machine.load(now(), receiver.store)
    receiver.meet(evidence)
    for payload in _frames(raws):
        bound.sample()
        receiver.take(payload)
    assert len(list(receiver.store.load())) == len(raws)
    receiver.store.close()
    opened = Spent()
    with opened.running():
        store = GroupStore(path)
        machine_of(gid, _RECEIVER).load(now(), store)
    store.close()
    return [
        *_receiving_rows(count, receiver, bound),
        Row(
            f"a group of {count:,} credentials opened",
            f"{opened.wall_s * 1000:,.0f} ms",
            f"{opened.processor_s * 1000:,.0f} ms of processor time",
        ),
    ]
