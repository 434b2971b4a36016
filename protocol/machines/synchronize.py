"""Synchronize: find out what two neighbors' sets lack, and send it, parents first.

A session belongs to one link. It is begun by the node that dialled as soon as both have said Open with
different digests, and by either when digests have differed for five seconds. The engine (reconcile.py) talks
in rounds until each side knows what the other lacks. Then each sends that in the order in which it arrived
here, which is an order of causes: parents, their children, then the certificates. Frames are credited one by
one (Taken), at most four are under way, so a slow neighbor holds back its own transfer and nothing else. A
session ends, on either side, when both have sent what they owed: the last Transfer says so.

A node that comes with nothing finds all its neighbors different. It asks one of them at once and the others
when that is done, if they still differ, so that the same elements do not come from everybody; a neighbor that
stalls makes the others wait for those five seconds and no longer. Once in a while a neighbor drawn at random
is told our digest, however busy the link is.

Conflicts: a link has one session at a time. When both begin at once, the session of the side that dialled
goes on. A session in which nothing moves for a minute is forgotten; so is one that a neighbor starts over.
Sessions with one neighbor are ten seconds apart, and further apart each time one brought nothing although the
digests differ (an act in somebody's quarantine), up to five minutes.

Source: protocol-study 2.3; design section 8.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from protocol.authority.act_set import ActSet
from protocol.errors import Fault, RemoteProtocolError
from protocol.ids import tagged_hash
from protocol.limits import (
    ANTI_ENTROPY_MS,
    DIGEST_BYTES,
    DIGEST_DIFFERS_MS,
    ELEMENTS_PER_FRAME_MAX,
    RECONCILE_S_MAX,
    SESSION_GAP_MS_MAX,
    SESSION_GAP_MS_MIN,
    TRANSFER_FRAMES_IN_FLIGHT_MAX,
)
from protocol.machines.events import LinkId, Output, Send
from protocol.machines.flood import in_frames
from protocol.machines.link import Link, Summary, alive
from protocol.machines.ordered_ids import OrderedIds
from protocol.machines.reconcile import Reconciliation
from protocol.peer_time import Moment
from protocol.wire.messages import DataSummary, Namespace, Reconcile, Taken, Transfer

_KEY_TAG = "peerd/reconcile-key/1"
_NAMESPACE = b"auth"


@dataclass(slots=True)
class _Session:
    number: int
    engine: Reconciliation
    dialler_began: bool
    deadline_ms: int
    round: int  # of the message that is expected next
    lacking: list[bytes] = field(default_factory=list)  # ids that the neighbor lacks
    receives: bool = False  # the neighbor has something for us, and has not sent the last of it
    queue: list[bytes] | None = None  # ids still to be sent; None while the engine talks
    next_frame: int = 0
    in_flight: int = 0

    @property
    def over(self) -> bool:
        """Whether neither side owes the other anything."""
        return self.queue is not None and not self.queue and self.in_flight == 0 and not self.receives


@dataclass(slots=True)
class _Partner:
    """What is remembered of a neighbor between sessions."""

    link: Link
    next_number: int
    differs_since_ms: int | None = None
    waits: bool = False  # the digests differed when the link opened, and another session was under way
    not_before_ms: int = 0
    gap_ms: int = SESSION_GAP_MS_MIN
    session: _Session | None = None


class Synchronize:
    """All sessions of one group."""

    def __init__(self, ids: OrderedIds, rng: random.Random) -> None:
        """`ids` is the live set; `rng` spreads the regular sessions."""
        self._ids = ids
        self._rng = rng
        self._partners: dict[LinkId, _Partner] = {}
        self._regular_ms: int | None = None

    def summary(self) -> Summary:
        """Count and digest of the set."""
        return Summary(len(self._ids), self._ids.digest(), DataSummary(0, 0, 0, bytes(DIGEST_BYTES)))

    def in_step(self, link: Link) -> bool:
        """Whether a neighbor has told that it holds what is here."""
        return link.theirs is not None and link.theirs == self.summary()

    def on_up(self, link: Link) -> None:
        """A neighbor came. Session numbers of the two sides never meet: even for the side that dialled."""
        self._partners[link.id] = _Partner(link, next_number=0 if link.dialled else 1)

    def on_down(self, link: LinkId) -> None:
        """A neighbor left, and its session with it."""
        self._partners.pop(link, None)

    @property
    def busy(self) -> tuple[LinkId, ...]:
        """The links on which a session is under way."""
        return tuple(link for link, partner in self._partners.items() if partner.session is not None)

    # --- beginning ------------------------------------------------------------------------------------------

    def on_summary(self, link: Link, theirs: Summary, opening: bool, now: Moment) -> list[Output]:
        """A neighbor told the digest of its set, in Open or in a keep-alive."""
        link.theirs = theirs
        partner = self._partners[link.id]
        if self._agrees(partner):
            return []
        if partner.differs_since_ms is None:
            partner.differs_since_ms = now.mono_ms
        if opening and link.dialled:
            partner.waits = True
        return self._begin_next(now)

    def _agrees(self, partner: _Partner) -> bool:
        """Whether the digest told last is ours by now; then there is nothing to begin for."""
        if partner.link.theirs != self.summary():
            return False
        partner.differs_since_ms = None
        partner.waits = False
        partner.gap_ms = SESSION_GAP_MS_MIN
        return True

    def on_quarantine_ended(self, now: Moment) -> None:
        """What sessions brought in vain may now be admitted: the next ones need not wait for minutes."""
        for partner in self._partners.values():
            partner.gap_ms = SESSION_GAP_MS_MIN
            partner.not_before_ms = min(partner.not_before_ms, now.mono_ms + SESSION_GAP_MS_MIN)

    def _begin_next(self, now: Moment) -> list[Output]:
        """Begin with the first neighbor that waits for it, unless a session is under way."""
        if self.busy:
            return []
        for partner in self._partners.values():
            if partner.waits and not self._agrees(partner):
                return self._begin(partner, now)
        return []

    def _begin(self, partner: _Partner, now: Moment) -> list[Output]:
        assert partner.session is None
        link, number = partner.link, partner.next_number
        partner.next_number += 2
        partner.waits = False
        partner.not_before_ms = now.mono_ms + partner.gap_ms
        partner.gap_ms = min(SESSION_GAP_MS_MAX, partner.gap_ms * 2)
        engine = Reconciliation(self._ids, _key(link, number), initiator=True)
        partner.session = _Session(number, engine, link.dialled, _deadline(now), round=1)
        return [Send(link.id, Reconcile(Namespace.AUTH, 0, number, 0, engine.open(), False))]

    def on_tick(self, now: Moment) -> list[Output]:
        """Begin the sessions that are due, and forget those in which nothing moves."""
        outputs: list[Output] = []
        for partner in self._partners.values():
            if partner.session is not None and partner.session.deadline_ms <= now.mono_ms:
                partner.session = None
            due = self._due(partner)
            if due is not None and due <= now.mono_ms and not self._agrees(partner):
                outputs += self._begin(partner, now)
        return outputs + self._begin_next(now) + self._regular(now)

    def _due(self, partner: _Partner) -> int | None:
        if partner.session is not None or partner.differs_since_ms is None:
            return None
        return max(partner.differs_since_ms + DIGEST_DIFFERS_MS, partner.not_before_ms)

    def _regular(self, now: Moment) -> list[Output]:
        """Tell our digest to somebody, whatever was said on the link of late."""
        if self._regular_ms is not None and now.mono_ms < self._regular_ms:
            return []
        first, self._regular_ms = (
            self._regular_ms is None,
            now.mono_ms + self._rng.randrange(ANTI_ENTROPY_MS // 2, ANTI_ENTROPY_MS * 3 // 2),
        )
        if first or not self._partners:
            return []
        return [Send(self._rng.choice(tuple(self._partners)), alive(self.summary(), now))]

    def next_deadline(self) -> int | None:
        """When `on_tick` next has something to do."""
        dues = [due for partner in self._partners.values() if (due := self._due(partner)) is not None]
        ends = [
            partner.session.deadline_ms for partner in self._partners.values() if partner.session is not None
        ]
        return min(
            [*dues, *ends, *([self._regular_ms] if self._regular_ms is not None else [])], default=None
        )

    # --- rounds ---------------------------------------------------------------------------------------------

    def on_reconcile(self, link: Link, message: Reconcile, now: Moment, store: ActSet) -> list[Output]:
        """One round of the engine, in either role. Raises: RemoteProtocolError."""
        partner = self._partners[link.id]
        session = self._session_for(partner, message, now)
        if session is None:
            return []
        if message.round != session.round:
            raise RemoteProtocolError(Fault.OUT_OF_TURN, "a round of a reconciliation that is not the next")
        session.deadline_ms = _deadline(now)
        step = session.engine.answer(message.payload)
        if message.done != (step.done and step.payload is None):
            raise RemoteProtocolError(Fault.OUT_OF_TURN, "the sides differ on whether a reconciliation ended")
        session.lacking += step.theirs_lack
        session.receives = session.receives or bool(step.ours_lack) or step.unnamed > 0
        outputs: list[Output] = []
        if step.payload is not None:
            outputs.append(
                Send(
                    link.id,
                    Reconcile(Namespace.AUTH, 0, session.number, session.round + 1, step.payload, step.done),
                )
            )
            session.round += 2
        if step.done:
            session.queue = store.in_arrival_order(session.lacking)
            outputs += self._transfer(partner, session, now, store)
        return outputs

    def _session_for(self, partner: _Partner, message: Reconcile, now: Moment) -> _Session | None:
        """The session that a message belongs to; None for one that lost against ours or is over."""
        link, running = partner.link, partner.session
        if running is not None and running.number == message.session:
            return running
        if message.round != 0 or message.session % 2 != (1 if link.dialled else 0):
            return None
        # Both began: the dialling side's session goes on.
        if running is not None and running.dialler_began and link.dialled:
            return None
        partner.not_before_ms = now.mono_ms + partner.gap_ms
        engine = Reconciliation(self._ids, _key(link, message.session), initiator=False)
        partner.session = _Session(message.session, engine, not link.dialled, _deadline(now), round=0)
        return partner.session

    # --- transfer -------------------------------------------------------------------------------------------

    def _transfer(self, partner: _Partner, session: _Session, now: Moment, store: ActSet) -> list[Output]:
        """Send as many frames as credit allows; whoever owed something says which frame is the last."""
        outputs: list[Output] = []
        assert session.queue is not None
        owes_last = bool(session.lacking) and session.next_frame == 0
        while (session.queue or owes_last) and session.in_flight < TRANSFER_FRAMES_IN_FLIGHT_MAX:
            raws = (
                raw
                for element_id in session.queue[:ELEMENTS_PER_FRAME_MAX]
                if (raw := store.get(element_id)) is not None
            )
            part = next(in_frames(raws), [])
            del session.queue[: max(1, len(part))]
            outputs.append(
                Send(
                    partner.link.id,
                    Transfer(
                        Namespace.AUTH, session.number, session.next_frame, tuple(part), not session.queue
                    ),
                )
            )
            owes_last = False
            session.next_frame += 1
            session.in_flight += 1
        return outputs + self._end_if_over(partner, now)

    def _end_if_over(self, partner: _Partner, now: Moment) -> list[Output]:
        """Forget a session that is over; what differs after it, the next digests say."""
        if partner.session is None or not partner.session.over:
            return []
        partner.session = None
        partner.differs_since_ms = None
        return self._begin_next(now)

    def on_transfer(self, link: Link, message: Transfer, fresh: int, now: Moment) -> list[Output]:
        """Elements came; they have been taken in. The credit is given whatever became of the session."""
        partner = self._partners[link.id]
        if fresh:
            partner.gap_ms = SESSION_GAP_MS_MIN
        outputs: list[Output] = [Send(link.id, Taken(message.session, message.number))]
        if message.last:
            outputs.append(Send(link.id, alive(self.summary(), now)))
        session = partner.session
        if session is not None and session.number == message.session:
            session.deadline_ms = _deadline(now)
            session.receives = session.receives and not message.last
        return outputs + self._end_if_over(partner, now)

    def on_taken(self, link: Link, message: Taken, now: Moment, store: ActSet) -> list[Output]:
        """Credit for one frame. Raises: RemoteProtocolError."""
        partner = self._partners[link.id]
        session = partner.session
        if session is None or session.number != message.session:
            return []
        if session.in_flight == 0 or message.number != session.next_frame - session.in_flight:
            raise RemoteProtocolError(
                Fault.OUT_OF_TURN, "credit for a frame that was not the next to be taken"
            )
        session.in_flight -= 1
        session.deadline_ms = _deadline(now)
        return self._transfer(partner, session, now, store)


def _key(link: Link, number: int) -> bytes:
    """The key of a session's hashes: from the connection's secret, so that nobody can prepare collisions."""
    return tagged_hash(_KEY_TAG, link.exporter, _NAMESPACE, number.to_bytes(4, "big"))


def _deadline(now: Moment) -> int:
    return now.mono_ms + RECONCILE_S_MAX * 1000
