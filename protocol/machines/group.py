"""The machine of one group: it takes one event, lets the child concerned handle it, and routes what follows.

Children never know one another; they meet here. The order of routing, which is the design decision of this
file:

1. Time goes on, then `link`: any message shows that the neighbor is there.
2. `members` takes elements of AUTH into the set, `data` versions of records; what is fresh goes on.
3. `flood` passes the fresh on, before anything else is said about them.
4. What AUTH has become decides anew about records: `data` again.
5. `synchronize` gives credit for a transfer, answers rounds, begins sessions; `bodies` fetches what is
   lacking.
6. What the change means for us and for our neighbors: a new own credential is adopted at once and without
   reconnecting, and neighbors whose membership has ended are let go.
7. `dialling` last, since only then is it known which links there are.

The driver calls `handle` inside one transaction, commits, then performs the outputs. A `RuleError` leaves
everything as it was. A `RemoteProtocolError` never leaves this file: the link that caused it is closed with
its fault.
"""

from __future__ import annotations

import random

from protocol.authority.grants import Grant
from protocol.credentials.keys import PrivateKey
from protocol.errors import Fault, RemoteProtocolError, RuleError
from protocol.ids import split_ids
from protocol.limits import END_OF_TIME_S
from protocol.machines import flood
from protocol.machines.commands import Commands
from protocol.machines.data_ids import passed_s
from protocol.machines.events import (
    Close,
    Connect,
    DialFailed,
    Disconnect,
    Input,
    LinkDown,
    LinkId,
    LinkUp,
    Output,
    Received,
    Stop,
    Tick,
)
from protocol.machines.facts import grant_facts, neighbor_facts, own_removal_facts
from protocol.machines.link import Link, Summary
from protocol.machines.members import Intake
from protocol.machines.sets import Sets
from protocol.machines.synchronize import Synchronize
from protocol.machines.telling import note
from protocol.machines.upkeep import Upkeep, warned_from_s
from protocol.peer_time import Moment
from protocol.records.record import Header
from protocol.records.record_set import GroupSet
from protocol.wire.messages import (
    Bye,
    ByeReason,
    Got,
    KeepAlive,
    Namespace,
    News,
    Open,
    Piece,
    Recent,
    Reconcile,
    Records,
    Taken,
    Transfer,
    Want,
    WantBody,
)

_WARNED = "end_told"


class GroupMachine:
    """One group on one node. Not to be touched by anybody but its driver; see `handle`."""

    def __init__(
        self,
        gid: bytes,
        own: PrivateKey,
        *,
        node_id: bytes,
        rng: random.Random,
    ) -> None:
        """`own` is the identity under which the group is open, `rng` is used by all children."""
        self.own = own
        self.node_id = node_id
        self._sets = Sets(gid, own, node_id=node_id, rng=rng, end=self._end)
        self._commands = Commands(own, self._sets, rng)
        self.upkeep = Upkeep(own.public.pid)
        self.members = self._sets.members
        self.data = self._sets.data
        self.directory = self._sets.directory
        self.bodies = self._sets.bodies
        self.replicas = self._sets.replicas
        self.links = self._sets.links
        self.dialling = self._sets.dialling
        self._rng = rng
        self.synchronize = Synchronize(self.members.ids, self.data.ids, rng)
        self._own_grant: Grant | None = None
        self._warned_of: bytes | None = None  # the credential of whose end was told
        self._own_removal: bytes | None = None
        self._links_made = 0

    def load(self, now: Moment, store: GroupSet) -> None:
        """Read the group back from its store; call once, before the first event."""
        self._sets.load(now, store)
        self.synchronize = Synchronize(self.members.ids, self.data.ids, self._rng)
        self._let_time_go_on(now)
        self._own_grant = self.members.own_grant(now.utc_s)
        self._warned_of = store.setting(_WARNED)
        self._own_removal = self.members.own_removal(now.utc_s)

    def handle(self, event: Input, now: Moment, store: GroupSet) -> list[Output]:
        """Apply one event. Raises: RuleError for a command that the rules refuse, with nothing changed."""
        outputs: list[Output] = []
        self._let_time_go_on(now)
        try:
            self._dispatch(event, now, store, outputs)
        except RemoteProtocolError as error:
            assert isinstance(event, Received), event
            outputs += self._end(event.link, error.fault.value, now, store)
        self._settle(now, store, outputs)
        self.links.note_settled(self.data.ids.revision, now)
        self.upkeep.note(self._own_grant, len(self.members.ids), self.directory.sightings + self._links_made)
        self.links.note_said(outputs, now)
        return outputs

    def _let_time_go_on(self, now: Moment) -> None:
        self.data.begin(now)
        self.synchronize.settle(self.data.time.horizon_s(now), now)

    def _dispatch(self, event: Input, now: Moment, store: GroupSet, outputs: list[Output]) -> None:
        match event:
            case LinkUp():
                outputs += self._on_up(event, now, store)
            case LinkDown():
                outputs += self._on_down(event.link, now, store)
            case Received():
                self._on_received(event, now, store, outputs)
            case DialFailed():
                self.dialling.on_failed(event.address, event.outcome, now)
            case Connect():
                self.dialling.on_connect(event, store)
                if event.only:
                    outputs += self._keep_only(event.addresses, now, store)
            case Disconnect():
                self.dialling.on_disconnect(store)
                outputs += self._end_all(now, store)
            case Stop():
                self.dialling.on_stop()
                outputs += self._end_all(now, store)
            case Tick():
                self._on_tick(now, store, outputs)
            case _:
                self._commands.handle(event, now, store, outputs)

    def _end_all(self, now: Moment, store: GroupSet) -> list[Output]:
        ended = [self._end(link.id, ByeReason.LEAVING, now, store) for link in self.links]
        return [output for outputs in ended for output in outputs]

    def _keep_only(self, addresses: tuple[str, ...], now: Moment, store: GroupSet) -> list[Output]:
        """End the links that this node dialled and that the user no longer wants."""
        unwanted = [link.id for link in self.links if link.dialled and link.address not in addresses]
        return [output for link in unwanted for output in self._end(link, ByeReason.LEAVING, now, store)]

    # --- links ----------------------------------------------------------------------------------------------

    def _on_up(self, event: LinkUp, now: Moment, store: GroupSet) -> list[Output]:
        if event.address is not None:
            self.dialling.on_up(event.address, event.node_id, store)
        if not self.dialling.wants(event.address):
            return [Close(event.link, ByeReason.LEAVING)]
        intake = Intake()
        if event.bundle is not None:
            shown = [der for der in event.bundle.ders if self.members.view.admitted(der.act_id) is not None]
            intake = self.members.take(shown, event.link, now, store)
        before = tuple(self.links)
        outputs = self.links.on_up(event, self.synchronize.summary(), now, static=self.dialling.only)
        for gone in [link for link in before if self.links.get(link.id) is None]:
            outputs += self._left(gone, now, store)
        link = self.links.get(event.link)
        if link is not None:
            self._links_made += 1
            self.synchronize.on_up(link, store)
            outputs += self.bodies.on_up(link.id, now, store)
            outputs.append(note("neighbor-connected", neighbor_facts(link), now, store))
        elif event.address is not None:
            self.dialling.on_refused(event.address, now)
        self._sets.absorb(intake, event.link, now, store, outputs)
        return outputs

    def _on_down(self, link_id: LinkId, now: Moment, store: GroupSet) -> list[Output]:
        link = self.links.on_down(link_id)
        return [] if link is None else self._left(link, now, store)

    def _end(self, link_id: LinkId, reason: int, now: Moment, store: GroupSet) -> list[Output]:
        """Close a link from this side."""
        link = self.links.get(link_id)
        if link is None:
            return [Close(link_id, reason)]
        outputs = self.links.close(link_id, reason)
        return [*outputs, *self._left(link, now, store)]

    def _left(self, link: Link, now: Moment, store: GroupSet) -> list[Output]:
        """A link is gone: every child forgets it."""
        self.synchronize.on_down(link.id, store)
        self.data.time.on_down(link.id)
        self.dialling.on_link_ended(link, now)
        outputs = self.bodies.on_down(link.id, now, store)
        return [*outputs, note("neighbor-disconnected", neighbor_facts(link), now, store)]

    # --- messages -------------------------------------------------------------------------------------------

    def _on_received(self, event: Received, now: Moment, store: GroupSet, outputs: list[Output]) -> None:
        link = self.links.get(event.link)
        if link is None:
            return  # we closed it, and this was under way
        self.links.on_heard(link, event.message, now)
        match event.message:
            case Open(listens=listens, referrals=referrals):
                link.listens = listens
                self.dialling.learn((*listens, *referrals), self.links.listens)
                self.dialling.on_listens(listens, link.node_id, store)
                outputs += self.links.introduce(link, self.synchronize.summary(), now)
                outputs += self._on_summary(link, event.message, link.theirs is None, now, store)
            case KeepAlive():
                outputs += self._on_summary(link, event.message, False, now, store)
            case News():
                self._sets.absorb(
                    self.members.take(event.elements, link.id, now, store), link.id, now, store, outputs
                )
            case Want():
                outputs += flood.answer(event.message, link.id, store)
            case Reconcile():
                outputs += self.synchronize.on_reconcile(link, event.message, now, store)
            case Recent():
                outputs += self.synchronize.on_recent(link, event.message, now, store)
            case Transfer():
                fresh = self._on_transfer(link, event, now, store, outputs)
                if self.links.get(link.id) is not None:
                    outputs += self.synchronize.on_transfer(link, event.message, fresh, now)
            case Taken():
                credited = self.synchronize.credited(link, event.message)
                outputs += self.replicas.on_durable(link.node_id, credited)
                outputs += self.synchronize.on_taken(link, event.message, now, store)
            case Records(ask=ask):
                records = self.data.take(event.records, now, store)
                self._sets.absorb_records(records, link.id, now, store, outputs, ask=ask)
                if ask:
                    whole = flood.whole(event.records, records.durable, records.bodies)
                    outputs += flood.acknowledge(whole, link.id)
            case Got(ids=ids):
                outputs += self.replicas.on_durable(link.node_id, split_ids(ids))
            case WantBody():
                outputs += self.bodies.answer(link.id, event.message, store)
            case Piece():
                self._on_piece(link, event.message, now, store, outputs)
            case Bye(referrals=referrals):
                self.dialling.learn(referrals, self.links.listens)
                outputs += self._end(link.id, ByeReason.LEAVING, now, store)
            case _:
                raise RemoteProtocolError(
                    Fault.OUT_OF_TURN, f"{type(event.message).__name__} on a member link"
                )

    def _on_summary(
        self, link: Link, message: Open | KeepAlive, first: bool, now: Moment, store: GroupSet
    ) -> list[Output]:
        self.data.time.on_clock(link.id, message.time, now)
        self._let_time_go_on(now)
        outputs = self.synchronize.on_summary(link, Summary.told_by(message), first, now, store)
        if self.synchronize.in_step(link):
            self.data.time.synced = True
        return outputs

    def _on_transfer(
        self, link: Link, event: Received, now: Moment, store: GroupSet, outputs: list[Output]
    ) -> int:
        """Take in what a session brought; how much of it was new."""
        assert isinstance(event.message, Transfer)
        if event.message.namespace is Namespace.AUTH:
            intake = self.members.take(event.elements, link.id, now, store)
            self._sets.absorb(intake, link.id, now, store, outputs, to=flood.unlike(link, self.links))
            return len(intake.fresh)
        records = self.data.take(event.records, now, store)
        to = self.synchronize.neighbors_in_step(link)
        self._sets.absorb_records(records, link.id, now, store, outputs, to=to)
        return len(records.fresh)

    def _on_piece(
        self, link: Link, message: Piece, now: Moment, store: GroupSet, outputs: list[Output]
    ) -> None:
        body, answers = self.bodies.on_piece(link.id, message, now, store)
        if body is not None:
            records = self.data.on_body(body.hash, body.data, now, store)
            self._sets.absorb_records(records, None, now, store, outputs)
        outputs += answers

    def has_whole(self, header: Header) -> bool:
        """Whether a version is here and its body is not known to be lacking: nobody need bring it again.
        Whoever brings messages here asks this at any time, and leaves out what need not be looked at.
        """
        lacking = header.body_hash is not None and self.bodies.lacks(header.body_hash)
        return not lacking and self.data.records.holds(header)

    # --- time -----------------------------------------------------------------------------------------------

    def _on_tick(self, now: Moment, store: GroupSet, outputs: list[Output]) -> None:
        intake = self.members.expire(now, store)
        if intake.fresh or intake.known:
            self.synchronize.on_quarantine_ended(now)
        self._sets.absorb(intake, None, now, store, outputs)
        silent = {link.id: link for link in self.links}
        outputs += self.links.on_tick(self.synchronize.summary(), now)
        for link in silent.values():
            if self.links.get(link.id) is None:
                outputs += self._left(link, now, store)
        grant = self.members.own_grant(now.utc_s)
        self._sets.absorb_records(self.data.on_tick(grant, now, store), None, now, store, outputs)
        self._write_contact(now, store, outputs)
        self._commands.keep_up(self.upkeep, self._seen, now, store, outputs)
        outputs += self.bodies.on_tick(now, store)
        outputs += self.synchronize.on_tick(now)

    def _seen(self, pid: bytes) -> int | None:
        """When a key was last seen, in seconds UTC: by its contact record, or because it is a neighbor."""
        if any(link.key.pid == pid for link in self.links):
            return END_OF_TIME_S
        return self.directory.seen_s(pid)

    def _write_contact(self, now: Moment, store: GroupSet, outputs: list[Output]) -> None:
        grant = self._sets.usable_grant(now)
        wish = self.directory.wish(self.links.listens, grant, now)
        if wish is None:
            return
        try:
            intake = self.data.write_contact(wish, grant, now, store)
        except RuleError:
            self.directory.on_refused(now)  # what hinders it, whoever writes something is told
            return
        self.directory.on_written(intake.fresh[0].header, wish)
        self._sets.absorb_records(intake, None, now, store, outputs)

    def next_deadline(self, now: Moment) -> int | None:
        """When a Tick is due, in milliseconds of the monotonic clock; None when nothing is."""
        dues = [
            self.links.next_deadline(),
            self.synchronize.next_deadline(),
            self.dialling.next_deadline(self.links),
            self.members.next_deadline(now),
            self.data.next_deadline(now),
            self.directory.next_deadline(self.links.listens, self._sets.usable_grant(now), now),
            self.bodies.next_deadline(),
            self.upkeep.next_deadline(now),
            self._own_change(now),
            self._next_mark(now),
        ]
        return min((due for due in dues if due is not None), default=None)

    def _own_change(self, now: Moment) -> int | None:
        """When another credential of our own may become the best there is, or the end of it is near."""
        second = self.members.own_change(now.utc_s)
        warned_s = None if self._own_grant is None else warned_from_s(self._own_grant)
        if warned_s is not None and warned_s > now.utc_s:
            second = warned_s if second is None else min(second, warned_s)
        return None if second is None else now.mono_ms + second * 1000 - now.utc_ms

    def _warn(self, now: Moment, store: GroupSet, outputs: list[Output]) -> None:
        """Tell once that our credential will end, while there is time to renew it."""
        grant = self._own_grant
        from_s = None if grant is None else warned_from_s(grant)
        if grant is None or from_s is None or now.utc_s < from_s or grant.act_id == self._warned_of:
            return
        self._warned_of = grant.act_id
        store.set_setting(_WARNED, grant.act_id)
        outputs.append(note("credential-expiring", grant_facts(grant), now, store))

    def _next_mark(self, now: Moment) -> int | None:
        """When more records settle, so that neighbors are to be told of them."""
        ids = self.data.ids
        if not len(self.links) or not ids.unsettled:
            return None
        return max(now.mono_ms, now.mono_ms + passed_s(ids.mark_s) * 1000 - now.utc_ms)

    def _settle(self, now: Moment, store: GroupSet, outputs: list[Output]) -> None:
        """What every event may have changed: the time, our credential, our neighbors' membership, whom to
        call.
        """
        self.data.time.save(now, store)
        grant = self.members.own_grant(now.utc_s)
        if grant is not self._own_grant and (
            grant is None or self._own_grant is None or grant.act_id != self._own_grant.act_id
        ):
            told = self._own_grant if grant is None else grant
            assert told is not None
            kind = "credential-adopted" if grant is not None else self._end_of(told, now)
            outputs.append(note(kind, grant_facts(told), now, store))
        self._own_grant = grant
        self._warn(now, store, outputs)
        self._settle_removal(now, store, outputs)
        if self.links.recheck_due(now):
            for link in self.links:
                if not self.is_member(link, now.utc_s):
                    outputs += self._end(link.id, ByeReason.NOT_A_MEMBER, now, store)
            self.links.note_rechecked(now)
        if self.dialling.draws(now):
            self.dialling.learn(self.directory.draw(store), self.links.listens)
        outputs += self.dialling.dials(self.links, now)
        visit, last = self.dialling.visit(self.links, now)
        if last is not None:
            outputs += self._end(last.id, ByeReason.LEAVING, now, store)
        if visit is not None:
            outputs.append(visit)

    def _end_of(self, grant: Grant, now: Moment) -> str:
        """Why this node has no credential any more."""
        view = self.members.view
        removed = view.admitted(grant.act_id) is not None and not view.is_live(grant.act_id)
        told = self.members.own_removal(now.utc_s) is not None
        return "credential-removed" if removed or told else "credential-expired"

    def _settle_removal(self, now: Moment, store: GroupSet, outputs: list[Output]) -> None:
        """Tell that our own key has been removed; who is removed calls others less often."""
        removal = None if self._own_grant is not None else self.members.own_removal(now.utc_s)
        if removal is not None and removal != self._own_removal:
            facts = own_removal_facts(self.members, removal, store)
            outputs.append(note("member-revoked", facts, now, store))
        self._own_removal = removal
        self.dialling.note_removed(removal is not None, now)

    def is_member(self, link: Link, at_s: int) -> bool:
        """Whether a neighbor is a member now, by this view or by the evidence that it showed."""
        if self.members.view.current(link.key.pid, at_s) is not None:
            return True
        return link.bundle is not None and self.members.accepts(link.bundle, at_s)
