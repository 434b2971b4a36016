"""Opening: a connection from its first frame to its end, driven as the daemon drives it.

The handshake is not simulated: it runs through the real machines of connect.py, each frame decoded, its
signatures checked and its question put to the group between two turns of the crank. What becomes of it is
handed to the node: a link, or the end of a dial. After that the connection is a member link, and every frame
goes to the node as a message.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Protocol

from protocol.authority.bundle import Bundle
from protocol.authority.elements import Element, decode_untrusted_element
from protocol.authority.removal_proof import RemovalProof
from protocol.credentials.keys import SignatureCheck, holds
from protocol.errors import Fault, RemoteProtocolError
from protocol.limits import FRAME_BYTES_MAX_MEMBER, HANDSHAKE_MS_MAX
from protocol.machines.connect import (
    AdoptOwn,
    Answerer,
    Caller,
    Ending,
    Established,
    Finished,
    LearnOwn,
    Output,
    SendHandshake,
)
from protocol.machines.events import DialOutcome, LinkId
from protocol.peer_time import Moment
from protocol.records.record import RecordItem, decode_untrusted_item
from protocol.sim.memo import Memo
from protocol.sim.network import End
from protocol.wire.messages import Message, decode_untrusted_message

_OUTCOMES = {
    Ending.NOTHING: DialOutcome.NOTHING,
    Ending.NOT_SERVED: DialOutcome.NOTHING,
    Ending.SELF: DialOutcome.MYSELF,
    Ending.INCOMPATIBLE: DialOutcome.INCOMPATIBLE,
    Ending.REMOVED: DialOutcome.REMOVED,
}
_CHECKS_REMEMBERED = 65_536

_holds = lru_cache(maxsize=_CHECKS_REMEMBERED)(holds)


def all_verified(checks: Iterable[SignatureCheck]) -> bool:
    """Whether every signature holds; the same check is made once."""
    return all(_holds(check) for check in checks)


def _read_message(payload: bytes) -> Message:
    return decode_untrusted_message(payload, bytes_max=FRAME_BYTES_MAX_MEMBER)


def _read_element(raw: bytes) -> Element:
    element = decode_untrusted_element(raw)
    if not all_verified(element.checks()):
        raise RemoteProtocolError(Fault.BAD_PROOF, "a signature of an element does not hold")
    return element


def _read_item(raw: bytes) -> RecordItem:
    item = decode_untrusted_item(raw)
    if not all_verified(item.header.checks()):
        raise RemoteProtocolError(Fault.BAD_PROOF, "a signature of a record does not hold")
    return item


read_message = Memo(_read_message)
"""Decode a frame of a member link. Raises: RemoteProtocolError."""

read_element = Memo(_read_element)
"""Decode an element and verify it. Raises: RemoteProtocolError."""

read_item = Memo(_read_item)
"""Decode a version of a record and verify it. Raises: RemoteProtocolError."""


class Owner(Protocol):
    """The node at this end of a connection. `life` tells which of its processes runs: what an earlier one
    began is void.
    """

    life: int

    def later(self, delay_ms: int, action: Callable[[], None]) -> None:
        """Plan something that only this life of the node does."""

    def moment(self) -> Moment:
        """Now, by this node's clocks."""

    def ask(self, question: Callable[[], None]) -> None:
        """Call `question` between two turns, when all answers are of one durable state."""

    def adopt(self, bundle: Bundle, then: Callable[[], None]) -> None:
        """Keep a credential of our own; `then` is called when it is durable."""

    def learn(self, removal: RemovalProof, then: Callable[[], None]) -> None:
        """Keep the proof of our own removal; `then` is called when it is durable."""

    def on_link(self, opening: Opening, peer: Established) -> LinkId:
        """The connection is a member link."""

    def on_message(self, link: LinkId, payload: bytes, sender: str) -> None:
        """A frame came on a member link."""

    def on_link_end(self, link: LinkId) -> None:
        """A member link's connection is gone."""

    def on_dial_failed(self, address: str, outcome: DialOutcome) -> None:
        """A dial came to no link."""


class Opening:
    """One end of a connection, as its node holds it. `address` is the one dialled."""

    def __init__(self, owner: Owner, end: End, side: Caller | Answerer, address: str | None) -> None:
        """A caller speaks first."""
        self.end = end
        self.address = address
        self._owner = owner
        self._life = owner.life
        self._side = side
        self._link: LinkId | None = None
        self._arrived: deque[bytes | None] = deque()  # None is the end of the connection
        self._waiting = False
        self._over = False
        end.reader = self
        owner.later(HANDSHAKE_MS_MAX, self._time_out)
        if isinstance(side, Caller):
            self._perform(deque(side.start()))

    def on_frame(self, payload: bytes) -> None:
        """See `network.Reader`."""
        self._arrived.append(payload)
        self._pump()

    def on_end(self) -> None:
        """See `network.Reader`."""
        self._arrived.append(None)
        self._pump()

    def _time_out(self) -> None:
        if self._link is None:
            self.end.close()
            self._finish(DialOutcome.UNREACHABLE)

    def close(self) -> None:
        """End it from this side."""
        self.end.close()
        self._finish(DialOutcome.UNREACHABLE)

    def _finish(self, outcome: DialOutcome) -> None:
        if self._over:
            return
        self._over = True
        if self._link is not None:
            self._owner.on_link_end(self._link)
        elif self.address is not None:
            self._owner.on_dial_failed(self.address, outcome)

    def _pump(self) -> None:
        """Take frames in order, one at a time while the handshake lasts."""
        while self._arrived and not self._waiting and not self._over and self._life == self._owner.life:
            payload = self._arrived.popleft()
            if payload is None:
                self._finish(DialOutcome.UNREACHABLE)
                return
            if self._link is not None:
                self._owner.on_message(self._link, payload, self.end.peer)
                continue
            self._waiting = True
            self._owner.ask(lambda payload=payload: self._answer(payload))  # type: ignore[misc]

    def _answer(self, payload: bytes) -> None:
        if self._over:
            return
        arrival = self._side.read(payload)
        verified = arrival.fault is None and all_verified(arrival.checks)
        self._perform(deque(self._side.receive(arrival, self._owner.moment(), verified=verified)))

    def _perform(self, outputs: deque[Output]) -> None:
        while outputs:
            match outputs.popleft():
                case SendHandshake(payload):
                    self.end.send(payload)
                case AdoptOwn(bundle):
                    # Nothing more is said before it is durable.
                    self._owner.adopt(bundle, lambda: self._perform(outputs))
                    return
                case LearnOwn(removal):
                    self._owner.learn(removal, lambda: self._perform(outputs))
                    return
                case Established() as peer:
                    if self._over:
                        return
                    self._link = self._owner.on_link(self, peer)
                case Finished(ending):
                    self.end.close()
                    self._finish(_OUTCOMES.get(ending, DialOutcome.NOTHING))
        self._waiting = False
        self._pump()
