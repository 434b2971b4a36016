"""Synchronize: find out what two neighbors' sets lack, and send it, parents first.

There are three sets: AUTH, and the records by class. A session belongs to one link and one set. It is begun
by the node that dialled as soon as both have said Open with different digests, and by either when digests
have differed for five seconds. The engine (reconcile.py) talks in rounds until each side knows what the other
lacks. Then each sends that (transfer.py). Frames are credited one by one (Taken), at most four are under way,
so a slow neighbor holds back its own transfer and nothing else. A session ends, on either side, when both
have sent what they owed: the last Transfer says so.

AUTH comes first, since records count by credentials; but what keeps differing there (an act in somebody's
quarantine) holds up no record. Who began a session about AUTH goes on with DATA if that differs, and from
durable records to expiring ones. DATA that cannot be compared, because two clocks are apart, is reconciled
when the link opens and then once in a while.

A node that comes with nothing finds all its neighbors different. It asks one of them at once and the others
when that is done, if they still differ, so that the same elements do not come from everybody. While a session
brings something no other about the same subject is begun, and what neighbors begin about DATA is left to
later: whoever put them off begins when that is done, since they do not begin again for what no digest tells.
A neighbor that stalls makes the others wait for five seconds and no longer. A session that was cut
short, because one finds only so much, is followed by the next at once, begun by whom it brought something
new.

Conflicts: a link has one session at a time. When both begin at once, the session of the side that dialled
goes on. A session in which nothing moves for a minute is forgotten; so is one that a neighbor starts over.
Sessions with one neighbor are ten seconds apart, and further apart each time one brought nothing although the
digests differ, up to five minutes.

Source: protocol-study 2.3 and R9 in 4.2; design section 8.
"""

from __future__ import annotations

import random

from protocol.errors import Fault, RemoteProtocolError
from protocol.ids import tagged_hash
from protocol.limits import (
    ANTI_ENTROPY_MS,
    DIGEST_DIFFERS_MS,
    RECORDS_PASSED_ON_MAX,
    SESSION_GAP_MS_MIN,
    TRANSFER_FRAMES_IN_FLIGHT_MAX,
)
from protocol.machines.data_ids import DataIds, mark_at
from protocol.machines.events import LinkId, Output, Send
from protocol.machines.link import Link, Summary, alive
from protocol.machines.ordered_ids import SECOND_BYTES, OrderedIds
from protocol.machines.partners import Partner, Progress, Session, Subject, Track
from protocol.machines.recent import Exchange, Positions, count_wanted
from protocol.machines.reconcile import Reconciliation
from protocol.machines.transfer import next_frame, to_send
from protocol.peer_time import Moment
from protocol.records.record_set import GroupSet
from protocol.wire.messages import Namespace, Recent, Reconcile, Taken, Transfer

_KEY_TAG = "peerd/reconcile-key/1"


class Synchronize:
    """All sessions of one group.

    What the machine calls: `settle` with every event, before anything else. For `LinkUp` `on_up`, for a link
    that has ended `on_down`. For Open and KeepAlive `on_summary`. For Reconcile `on_reconcile`, for Recent
    `on_recent`. For Transfer, after its content has been taken in: `neighbors_in_step` to learn whom to pass
    on to, then `on_transfer`. For Taken: `credited`, then `on_taken`. With a Tick `on_tick`, last of all.
    """

    def __init__(self, ids: OrderedIds, data: DataIds, rng: random.Random) -> None:
        """`ids` is the live set of AUTH, `data` those of the records; `rng` spreads the regular sessions."""
        self._ids = ids
        self._data = data
        self._rng = rng
        self._partners: dict[LinkId, Partner] = {}
        self._regular_ms: int | None = None
        self._positions = Positions()

    # --- what is told ---------------------------------------------------------------------------------------

    def settle(self, horizon_s: int, now: Moment) -> None:
        """Let time go on: the horizon is group time's, the mark follows this node's clock."""
        self._data.settle(horizon_s, mark_at(now.utc_s))

    def summary(self) -> Summary:
        """What this node tells of its sets."""
        return Summary(len(self._ids), self._ids.digest(), self._data.summary())

    def in_step(self, link: Link) -> bool:
        """Whether a neighbor has told that it holds what is here."""
        partner = self._partners.get(link.id)
        return partner is not None and all(self._compare(partner, subject) for subject in Subject)

    def neighbors_in_step(self, source: Link) -> list[Link]:
        """Whom to pass on to what a session about records brings from `source`: the neighbors that held what
        we held, as far as is known, lack what we lacked. Much of it is left to their own sessions.
        """
        partner = self._partners[source.id]
        if partner.session is not None and partner.session.expected > RECORDS_PASSED_ON_MAX:
            return []
        return [one.link for one in self._partners.values() if one is not partner and _may_lack(one)]

    @property
    def busy(self) -> tuple[LinkId, ...]:
        """The links on which a session is under way."""
        return tuple(link for link, partner in self._partners.items() if partner.session is not None)

    def progress(self) -> tuple[Progress, ...]:
        """What sessions are bringing at this moment, by link."""
        sessions = ((link, partner.session) for link, partner in self._partners.items())
        return tuple(
            Progress(link, session.namespace, session.received, max(session.expected, session.received))
            for link, session in sessions
            if session is not None and session.expected
        )

    # --- neighbors ------------------------------------------------------------------------------------------

    def on_up(self, link: Link, store: GroupSet) -> None:
        """A neighbor came. Session numbers of the two sides never meet: even for the side that dialled."""
        position = Positions.of(link.node_id, store)
        self._partners[link.id] = Partner(link, next_number=0 if link.dialled else 1, position=position)

    def on_down(self, link: LinkId, store: GroupSet) -> None:
        """A neighbor left, and its session with it."""
        partner = self._partners.pop(link, None)
        if partner is not None and partner.position is not None:
            Positions.save(partner.link.node_id, partner.position, store)

    def on_summary(
        self, link: Link, theirs: Summary, opening: bool, now: Moment, store: GroupSet
    ) -> list[Output]:
        """A neighbor told the digests of its sets, in Open or in a keep-alive."""
        link.theirs = theirs
        partner = self._partners[link.id]
        partner.comparable = self._comparable(partner)
        partner.data.untold = partner.data.untold or (opening and self._data.unsettled)
        for subject, track in zip(Subject, partner.tracks, strict=True):
            if self._agrees(partner, subject):
                continue
            if subject is Subject.AUTH or partner.comparable:
                track.note_differs(now)
            track.waits = track.waits or track.untold or (opening and link.dialled)
        outputs = self._begin_recent(partner, now, store) + self._begin_waiting(now)
        settled = self._positions.look(self._data.mark_s, now, store)
        if partner.comparable and partner.data.agrees and settled is not None:
            partner.position = settled
        return outputs

    def _comparable(self, partner: Partner) -> bool:
        """Whether the summaries of DATA speak of the same seconds."""
        theirs, ours = partner.link.theirs, self._data
        return theirs is not None and (theirs.data.horizon, theirs.data.mark) == (ours.horizon_s, ours.mark_s)

    def _compare(self, partner: Partner, subject: Subject) -> bool:
        """Whether what the neighbor told last is what is here by now; where that cannot be said, what was
        said before.
        """
        theirs = partner.link.theirs
        if theirs is None:
            return False
        if subject is Subject.AUTH:
            return theirs.count == len(self._ids) and theirs.digest == self._ids.digest()
        if not self._comparable(partner):
            return bool(partner.data.agrees)
        # Of a set that grows, the digest costs much and says no more than the count.
        return theirs.data.count == self._data.settled_count and theirs.data == self._data.summary()

    def _agrees(self, partner: Partner, subject: Subject) -> bool:
        """As `_compare`; if so, there is nothing to begin for."""
        if not self._compare(partner, subject):
            return False
        partner.tracks[subject].note_agrees()
        return True

    def on_quarantine_ended(self, now: Moment) -> None:
        """What sessions brought in vain may now be admitted: the next ones need not wait for minutes."""
        for partner in self._partners.values():
            for track in partner.tracks:
                track.note_hope(now)

    # --- beginning ------------------------------------------------------------------------------------------

    def _begin_waiting(self, now: Moment) -> list[Output]:
        """Begin with the first neighbor that waits for it: about AUTH, and about DATA when no session is
        under way in which AUTH or DATA may come.
        """
        outputs: list[Output] = []
        for subject in Subject:
            for partner in self._partners.values():
                if self._is_at_work_on(subject, now):
                    break
                track = partner.tracks[subject]
                waits = partner.session is None and track.waits
                if waits and not (self._agrees(partner, subject) and not track.untold):
                    outputs += self._begin(partner, _FIRST[subject], now)
        return outputs

    def _is_at_work_on(self, subject: Subject, now: Moment) -> bool:
        """Whether a session is under way about a subject or an earlier one, and goes on."""
        until_ms = self._at_work_until(subject)
        return until_ms is not None and now.mono_ms < until_ms

    def _at_work_until(self, subject: Subject) -> int | None:
        """When such a session will have stalled if nothing moves in any."""
        sessions = [one.session for one in self._partners.values() if one.session is not None]
        moved = [one.moved_ms for one in sessions if Subject.of(one.namespace) <= subject]
        return max(moved) + DIGEST_DIFFERS_MS if moved else None

    def _turn_ms(self, subject: Subject) -> int | None:
        """When those that wait need wait no longer for what has stalled."""
        waits = any(one.session is None and one.tracks[subject].waits for one in self._partners.values())
        return self._at_work_until(subject) if waits else None

    def _begin(self, partner: Partner, namespace: Namespace, now: Moment) -> list[Output]:
        """Begin a session about a subject."""
        partner.tracks[Subject.of(namespace)].note_begun(now)
        return self._go_on(partner, namespace, now)

    def _go_on(self, partner: Partner, namespace: Namespace, now: Moment) -> list[Output]:
        """Begin a session, or the next after one that has brought us here."""
        assert partner.session is None
        link, number = partner.link, partner.next_number
        partner.next_number += 2
        session = self._new_session(partner, number, namespace, now, began=True)
        assert isinstance(session.engine, Reconciliation)
        message = Reconcile(namespace, session.horizon_s, number, 0, session.engine.open(), False)
        return [Send(link.id, message)]

    def _new_session(
        self, partner: Partner, number: int, namespace: Namespace, now: Moment, *, began: bool
    ) -> Session:
        link = partner.link
        ids = self._ids if namespace is Namespace.AUTH else self._data.of(namespace)
        willing = began or self._takes(partner, namespace, now)
        if not willing:
            partner.data.note_overruled()
        engine = Reconciliation(ids, _key(link, namespace, number), initiator=began, willing=willing)
        partner.session = Session(
            number, namespace, engine, began, began == link.dialled, now.mono_ms, round=1 if began else 0
        )
        _leave_out(partner.session, self._data.horizon_s)
        return partner.session

    def _takes(self, partner: Partner, namespace: Namespace, now: Moment) -> bool:
        """Whether a session that a neighbor begins is answered: not about DATA while DATA comes from another,
        which may be the same.
        """
        if namespace is Namespace.AUTH:
            return True
        return not any(
            one.receives and now.mono_ms < one.moved_ms + DIGEST_DIFFERS_MS
            for one in self._others(partner, Subject.DATA)
        )

    def _others(self, partner: Partner, subject: Subject) -> list[Session]:
        """The sessions about a subject with other neighbors."""
        others = [one.session for one in self._partners.values() if one is not partner]
        return [one for one in others if one is not None and Subject.of(one.namespace) is subject]

    # --- time -----------------------------------------------------------------------------------------------

    def on_tick(self, now: Moment) -> list[Output]:
        """Begin the sessions that are due, and forget those in which nothing moves."""
        for partner in self._partners.values():
            if partner.session is not None and partner.session.deadline_ms <= now.mono_ms:
                partner.session = None
        outputs: list[Output] = []
        for partner in self._partners.values():
            for subject in Subject:
                due = self._due(partner, subject)
                if due is not None and due <= now.mono_ms and not self._agrees(partner, subject):
                    outputs += self._begin(partner, _FIRST[subject], now)
        return outputs + self._begin_waiting(now) + self._regular(now)

    def _due(self, partner: Partner, subject: Subject) -> int | None:
        """When a session with a neighbor may begin for a difference that has lasted: not while another brings
        something, and for DATA not shortly before one for AUTH.
        """
        due = partner.tracks[subject].due_ms
        if partner.session is not None or due is None:
            return None
        bringing = [one for one in self._others(partner, subject) if one.brings]
        due = max([due, *(one.moved_ms + DIGEST_DIFFERS_MS for one in bringing)])
        first = None if subject is Subject.AUTH else self._due(partner, Subject.AUTH)
        return None if first is not None and first <= due + DIGEST_DIFFERS_MS else due

    def _regular(self, now: Moment) -> list[Output]:
        """Tell our digests to somebody, whatever was said on the link of late; where they cannot be compared,
        begin a session as well.
        """
        if self._regular_ms is not None and now.mono_ms < self._regular_ms:
            return []
        first, self._regular_ms = (
            self._regular_ms is None,
            now.mono_ms + self._rng.randrange(ANTI_ENTROPY_MS // 2, ANTI_ENTROPY_MS * 3 // 2),
        )
        if first or not self._partners:
            return []
        partner = self._rng.choice(tuple(self._partners.values()))
        outputs: list[Output] = [Send(partner.link.id, alive(self.summary(), now))]
        if partner.session is None and not partner.comparable and not self.busy:
            outputs += self._begin(partner, Namespace.DURABLE, now)
        return outputs

    def next_deadline(self) -> int | None:
        """When `on_tick` next has something to do."""
        partners = self._partners.values()
        dues = [self._due(partner, subject) for partner in partners for subject in Subject]
        ends = [partner.session.deadline_ms for partner in partners if partner.session is not None]
        turns = [self._turn_ms(subject) for subject in Subject]
        return min((due for due in [*dues, *ends, *turns, self._regular_ms] if due is not None), default=None)

    # --- rounds ---------------------------------------------------------------------------------------------

    def on_reconcile(self, link: Link, message: Reconcile, now: Moment, store: GroupSet) -> list[Output]:
        """One round of the engine, in either role. Raises: RemoteProtocolError."""
        partner = self._partners[link.id]
        session = self._running(partner, message, Reconciliation)
        if session is None and message.round == 0 and self._gives_way(partner, message.session):
            _give_way(partner, Subject.of(message.namespace), now)
            session = self._new_session(partner, message.session, message.namespace, now, began=False)
        if session is None:
            return []
        if message.round != session.round or message.namespace is not session.namespace:
            raise RemoteProtocolError(Fault.OUT_OF_TURN, "a round of a reconciliation that is not the next")
        assert isinstance(session.engine, Reconciliation)
        session.moved_ms = now.mono_ms
        _leave_out(session, message.horizon)
        step = session.engine.answer(message.payload)
        if message.done != (step.done and step.payload is None):
            raise RemoteProtocolError(Fault.OUT_OF_TURN, "the sides differ on whether a reconciliation ended")
        session.lacking += step.theirs_lack
        session.expected += len(step.ours_lack) + step.unnamed
        session.receives = session.receives or bool(step.ours_lack) or step.unnamed > 0
        outputs: list[Output] = []
        if step.payload is not None:
            outputs.append(Send(link.id, _round(session, step.payload, step.done)))
            session.round += 2
        if step.done:
            session.cut = not step.complete
            session.queue = to_send(session.lacking, session.namespace, store)
            outputs += self._transfer(partner, session, now, store)
        return outputs

    @staticmethod
    def _running(partner: Partner, message: Reconcile | Recent, engine: type) -> Session | None:
        """The session under way that a message belongs to; None for one that lost against ours or is over."""
        running = partner.session
        if running is None or running.number != message.session or not isinstance(running.engine, engine):
            return None
        return running

    @staticmethod
    def _gives_way(partner: Partner, number: int) -> bool:
        """Whether what is under way leaves room for a session of this number, which the neighbor begins: when
        both began, the dialling side's session goes on.
        """
        link, running = partner.link, partner.session
        theirs = number % 2 == (1 if link.dialled else 0)
        return theirs and not (running is not None and running.dialler_began and link.dialled)

    # --- since last time ------------------------------------------------------------------------------------

    def _begin_recent(self, partner: Partner, now: Moment, store: GroupSet) -> list[Output]:
        """Compare what arrived since we last agreed, if it is this neighbor's turn and that is not much."""
        ready = partner.data.waits and not partner.auth.waits and partner.session is None
        if not ready or partner.position is None or self._is_at_work_on(Subject.DATA, now):
            return []
        number, link = partner.next_number, partner.link
        exchange = Exchange(link.exporter, number, partner.position, store)
        partner.position = None
        if not exchange.complete:
            return []
        partner.next_number += 2
        partner.data.note_begun(now)
        partner.session = Session(
            number, Namespace.DURABLE, exchange, True, link.dialled, now.mono_ms, round=1
        )
        return [Send(link.id, Recent(number, 0, True, exchange.ids, b""))]

    def on_recent(self, link: Link, message: Recent, now: Moment, store: GroupSet) -> list[Output]:
        """One step of a comparison of what arrived since we last agreed. Raises: RemoteProtocolError."""
        partner = self._partners[link.id]
        session = self._running(partner, message, Exchange)
        if session is None and message.step == 0 and self._gives_way(partner, message.session):
            _give_way(partner, Subject.DATA, now)
            exchange = Exchange(link.exporter, message.session, partner.position, store)
            session = Session(
                message.session, Namespace.DURABLE, exchange, False, not link.dialled, now.mono_ms, 0
            )
            partner.session = session
        if session is None:
            return []
        if message.step != session.round:
            raise RemoteProtocolError(Fault.OUT_OF_TURN, "a step of a comparison that is not the next")
        assert isinstance(session.engine, Exchange)
        session.moved_ms = now.mono_ms
        session.round += 2
        outputs: list[Output] = []
        if message.step > 0:
            session.lacking = session.engine.wanted(message.wanted)
        if message.step < 2:
            wanted = session.engine.wants(message.ids)
            ids = session.engine.ids if message.step == 0 else b""
            reply = Recent(session.number, message.step + 1, session.engine.complete, ids, wanted)
            outputs.append(Send(link.id, reply))
            session.expected = count_wanted(wanted)
            session.receives = session.expected > 0
        if message.step > 0:
            session.cut = not message.complete
            session.queue = to_send(session.lacking, session.namespace, store)
            outputs += self._transfer(partner, session, now, store)
        return outputs

    # --- transfer -------------------------------------------------------------------------------------------

    def _transfer(self, partner: Partner, session: Session, now: Moment, store: GroupSet) -> list[Output]:
        """Send as many frames as credit allows; whoever owed something says which frame is the last."""
        outputs: list[Output] = []
        queue = session.queue
        assert queue is not None
        while (queue or session.owes_last) and len(session.in_flight) < TRANSFER_FRAMES_IN_FLIGHT_MAX:
            ids, raws = next_frame(queue, session.namespace, store)
            frame = Transfer(session.namespace, session.number, session.next_frame, raws, not queue)
            outputs.append(Send(partner.link.id, frame))
            session.next_frame += 1
            session.in_flight.append(ids)
        return outputs + self._end_if_over(partner, now)

    def on_transfer(self, link: Link, message: Transfer, fresh: int, now: Moment) -> list[Output]:
        """Something came, of which so much was new; it has been taken in. The credit is given whatever became
        of the session.
        """
        partner = self._partners[link.id]
        track = partner.tracks[Subject.of(message.namespace)]
        if fresh:
            track.gap_ms = SESSION_GAP_MS_MIN
        outputs: list[Output] = [Send(link.id, Taken(message.session, message.number))]
        if message.last:
            outputs.append(Send(link.id, alive(self.summary(), now)))
        session = partner.session
        if session is not None and session.number == message.session:
            session.moved_ms = now.mono_ms
            session.received += len(message.elements)
            session.fresh += fresh
            session.receives = session.receives and not message.last
        return outputs + self._end_if_over(partner, now)

    def credited(self, link: Link, message: Taken) -> tuple[bytes, ...]:
        """The versions that a neighbor has made durable, by the credit it gives."""
        session = self._partners[link.id].session
        if session is None or session.namespace is Namespace.AUTH or not _is_next(session, message):
            return ()
        return session.in_flight[0]

    def on_taken(self, link: Link, message: Taken, now: Moment, store: GroupSet) -> list[Output]:
        """Credit for one frame. Raises: RemoteProtocolError."""
        partner = self._partners[link.id]
        session = partner.session
        if session is None or session.number != message.session:
            return []
        if not _is_next(session, message):
            raise RemoteProtocolError(
                Fault.OUT_OF_TURN, "credit for a frame that was not the next to be taken"
            )
        session.in_flight.popleft()
        session.moved_ms = now.mono_ms
        return self._transfer(partner, session, now, store)

    def _end_if_over(self, partner: Partner, now: Moment) -> list[Output]:
        """Forget a session that is over, and begin the one that follows from it; what differs after that, the
        next digests say.
        """
        session = partner.session
        if session is None or not session.over:
            return []
        partner.session = None
        track = partner.tracks[Subject.of(session.namespace)]
        following = _following(session, partner.data)
        whole = session.namespace is not Namespace.DURABLE or isinstance(session.engine, Exchange)
        if not session.cut and whole:
            track.differs_since_ms = None
        if not session.cut and session.namespace is Namespace.EXPIRING and not partner.comparable:
            track.agrees = True
        outputs: list[Output] = []
        if following is not None:
            anew = Subject.of(following) is not Subject.of(session.namespace)
            outputs = (self._begin if anew else self._go_on)(partner, following, now)
        return outputs + self._begin_waiting(now)


_FIRST = {Subject.AUTH: Namespace.AUTH, Subject.DATA: Namespace.DURABLE}


def _may_lack(partner: Partner) -> bool:
    """Whether a neighbor may lack what was not here, and no difference is known that makes a session due."""
    agrees = partner.data.agrees
    return agrees or (agrees is None and partner.link.theirs is not None)


def _give_way(partner: Partner, subject: Subject, now: Moment) -> None:
    """Let a session that the neighbor begins take the place of one that was begun here, if there is one."""
    partner.tracks[subject].note_answered(now)
    lost = partner.session
    if lost is not None and lost.began and Subject.of(lost.namespace) is not subject:
        partner.tracks[Subject.of(lost.namespace)].note_overruled()


def _following(session: Session, data: Track) -> Namespace | None:
    """The set that a session on the same link is about which follows one that is over."""
    if isinstance(session.engine, Exchange):
        return Namespace.DURABLE if session.began and session.cut else None
    if session.cut:
        return session.namespace if session.fresh else None
    if not session.began or session.namespace is Namespace.EXPIRING:
        return None
    if session.namespace is Namespace.DURABLE:
        return Namespace.EXPIRING
    return Namespace.DURABLE if data.differs_since_ms is not None else None


def _round(session: Session, payload: bytes, done: bool) -> Reconcile:
    """Our next message of a session."""
    return Reconcile(session.namespace, session.horizon_s, session.number, session.round + 1, payload, done)


def _leave_out(session: Session, horizon_s: int) -> None:
    """Let both sides go by the later of their horizons."""
    if session.namespace is Namespace.EXPIRING and horizon_s > session.horizon_s:
        session.horizon_s = horizon_s
        assert isinstance(session.engine, Reconciliation)
        session.engine.leave_out_before(horizon_s.to_bytes(SECOND_BYTES, "big"))


def _is_next(session: Session, message: Taken) -> bool:
    """Whether credit is for the oldest frame under way."""
    first = session.next_frame - len(session.in_flight)
    return bool(session.in_flight) and (message.session, message.number) == (session.number, first)


def _key(link: Link, namespace: Namespace, number: int) -> bytes:
    """The key of a session's hashes: from the connection's secret, so that nobody can prepare collisions."""
    return tagged_hash(_KEY_TAG, link.exporter, namespace.name.lower().encode(), number.to_bytes(4, "big"))
