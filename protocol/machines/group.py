"""The machine of one group: it takes one event, lets the child concerned handle it, and routes what follows.

Children never know one another; they meet here. The order of routing, which is the design decision of this
file:

1. `link` first: any message shows that the neighbor is there.
2. `members` takes elements into the set; what is fresh goes on.
3. `flood` passes the fresh on, before anything else is said about them.
4. `synchronize` gives credit for a transfer, answers rounds, begins sessions.
5. What the change means for us and for our neighbors: a new own credential is adopted at once and without
   reconnecting, and neighbors whose membership has ended are let go.
6. `dialling` last, since only then is it known which links there are.

The driver calls `handle` inside one transaction, commits, then performs the outputs. A `RuleError` leaves
everything as it was. A `RemoteProtocolError` never leaves this file: the link that caused it is closed with
its fault.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from typing import Any, assert_never

from protocol.authority.act_set import ActSet
from protocol.authority.acts import Act
from protocol.authority.bodies import Kind
from protocol.authority.bundle import make_bundle
from protocol.authority.elements import Element
from protocol.authority.grants import Grant
from protocol.codec import encode
from protocol.credentials.keys import PrivateKey
from protocol.credentials.roles import role_names
from protocol.errors import Fault, RemoteProtocolError
from protocol.machines import flood
from protocol.machines.dialling import Dialling
from protocol.machines.events import (
    Adopt,
    Close,
    Connect,
    DialFailed,
    Disconnect,
    Input,
    Issue,
    Issued,
    LinkDown,
    LinkId,
    LinkUp,
    Notice,
    Output,
    Received,
    Result,
    SetProperties,
    Stop,
    Tick,
)
from protocol.machines.issue import Issuing
from protocol.machines.link import Link, Links, Summary
from protocol.machines.members import Intake, Members
from protocol.machines.synchronize import Synchronize
from protocol.peer_time import Moment
from protocol.wire.messages import Bye, ByeReason, KeepAlive, News, Open, Reconcile, Taken, Transfer, Want


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
        self.members = Members(gid, own.public)
        self.links = Links(node_id)
        self.dialling = Dialling(rng)
        self.issuing = Issuing(own, rng)
        self._rng = rng
        self.synchronize = Synchronize(self.members.ids, rng)
        self._own_grant: Grant | None = None

    def load(self, now: Moment, store: ActSet) -> None:
        """Read the group back from its store; call once, before the first event."""
        self.members.load(store)
        self.dialling.load(store)
        self.synchronize = Synchronize(self.members.ids, self._rng)
        self._own_grant = self.members.own_grant(now.utc_s)

    def handle(self, event: Input, now: Moment, store: ActSet) -> list[Output]:
        """Apply one event. Raises: RuleError for a command that the rules refuse, with nothing changed."""
        outputs: list[Output] = []
        try:
            self._dispatch(event, now, store, outputs)
        except RemoteProtocolError as error:
            assert isinstance(event, Received), event
            outputs += self._end(event.link, error.fault.value, now, store)
        self._settle(now, store, outputs)
        self.links.note_said(outputs, now)
        return outputs

    def _dispatch(self, event: Input, now: Moment, store: ActSet, outputs: list[Output]) -> None:
        match event:
            case LinkUp():
                outputs += self._on_up(event, now, store)
            case LinkDown():
                outputs += self._on_down(event.link, now, store)
            case Received():
                self._on_received(event, now, store, outputs)
            case DialFailed():
                self.dialling.on_failed(event.address, event.outcome, now)
            case Adopt():
                self._on_adopt(event, now, store, outputs)
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
            case Issue():
                self._on_issue(event, now, store, outputs)
            case SetProperties():
                act = self.issuing.set_properties(event, self.members.view, now, store)
                self._absorb(self.members.take([act], None, now, store), None, now, store, outputs)
                outputs.append(Result(None))
            case Tick():
                self._on_tick(now, store, outputs)
            case _:
                assert_never(event)

    def _end_all(self, now: Moment, store: ActSet) -> list[Output]:
        ended = [self._end(link.id, ByeReason.LEAVING, now, store) for link in self.links]
        return [output for outputs in ended for output in outputs]

    def _keep_only(self, addresses: tuple[str, ...], now: Moment, store: ActSet) -> list[Output]:
        """End the links that this node dialled and that the user no longer wants."""
        unwanted = [link.id for link in self.links if link.dialled and link.address not in addresses]
        return [output for link in unwanted for output in self._end(link, ByeReason.LEAVING, now, store)]

    # --- links ----------------------------------------------------------------------------------------------

    def _on_up(self, event: LinkUp, now: Moment, store: ActSet) -> list[Output]:
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
            self.synchronize.on_down(gone.id)
            outputs.append(self._left(gone, now, store))
        link = self.links.get(event.link)
        if link is not None:
            self.synchronize.on_up(link)
            outputs.append(self._notice("neighbor-connected", _neighbor_facts(link), now, store))
        elif event.address is not None:
            self.dialling.on_refused(event.address, now)
        self._absorb(intake, event.link, now, store, outputs)
        return outputs

    def _on_down(self, link_id: LinkId, now: Moment, store: ActSet) -> list[Output]:
        link = self.links.on_down(link_id)
        self.synchronize.on_down(link_id)
        return [] if link is None else [self._left(link, now, store)]

    def _end(self, link_id: LinkId, reason: int, now: Moment, store: ActSet) -> list[Output]:
        """Close a link from this side."""
        link = self.links.get(link_id)
        if link is None:
            return [Close(link_id, reason)]
        outputs = self.links.close(link_id, reason)
        self.synchronize.on_down(link_id)
        return [*outputs, self._left(link, now, store)]

    def _left(self, link: Link, now: Moment, store: ActSet) -> Notice:
        self.dialling.on_link_ended(link, now)
        return self._notice("neighbor-disconnected", _neighbor_facts(link), now, store)

    # --- messages -------------------------------------------------------------------------------------------

    def _on_received(self, event: Received, now: Moment, store: ActSet, outputs: list[Output]) -> None:
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
                first = link.theirs is None
                outputs += self.synchronize.on_summary(link, Summary.told_by(event.message), first, now)
            case KeepAlive():
                outputs += self.synchronize.on_summary(link, Summary.told_by(event.message), False, now)
            case News():
                self._absorb(
                    self.members.take(event.elements, link.id, now, store), link.id, now, store, outputs
                )
            case Want():
                outputs += flood.answer(event.message, link.id, store)
            case Reconcile():
                outputs += self.synchronize.on_reconcile(link, event.message, now, store)
            case Transfer():
                intake = self.members.take(event.elements, link.id, now, store)
                self._absorb(intake, link.id, now, store, outputs, to=flood.unlike(link, self.links))
                if self.links.get(link.id) is not None:
                    outputs += self.synchronize.on_transfer(link, event.message, len(intake.fresh), now)
            case Taken():
                outputs += self.synchronize.on_taken(link, event.message, now, store)
            case Bye(referrals=referrals):
                self.dialling.learn(referrals, self.links.listens)
                outputs += self._end(link.id, ByeReason.LEAVING, now, store)
            case _:
                raise RemoteProtocolError(
                    Fault.OUT_OF_TURN, f"{type(event.message).__name__} on a member link"
                )

    # --- the set --------------------------------------------------------------------------------------------

    def _absorb(
        self,
        intake: Intake,
        source: LinkId | None,
        now: Moment,
        store: ActSet,
        outputs: list[Output],
        *,
        to: Iterable[Link] | None = None,
    ) -> None:
        """Pass on what is new, tell of it, ask for what is missing, and close a link that brought what no
        honest node would. `to` are the links to pass it on to, where that is not all.
        """
        if intake.fresh:
            self.links.note_change(now)
        outputs += flood.relay(intake.fresh, source, self.links if to is None else to)
        for element in intake.fresh:
            outputs += self._tell(element, now, store)
        if source is not None:
            outputs += self._tell_foreign(intake.fresh, now, store)
            outputs += flood.ask(intake.wanted, source)
            if intake.refused is not None:
                outputs += self._end(source, Fault.INVALID_ELEMENT.value, now, store)

    def _tell(self, element: Element, now: Moment, store: ActSet) -> list[Output]:
        view = self.members.view
        if isinstance(element, Act):
            if element.kind == Kind.PROPERTIES:
                return [self._notice("properties-changed", {}, now, store)]
            admitted = view.admitted(element.id)
            if admitted is None or admitted.grant is None:
                return []
            return [self._notice("credential-added", grant_facts(admitted.grant), now, store)]
        admitted = view.admitted(element.act_id)
        if (
            admitted is None
            or admitted.grant is None
            or view.current(admitted.grant.pid, now.utc_s) is not admitted.grant
        ):
            return []
        return [self._notice("member-changed", grant_facts(admitted.grant), now, store)]

    def _tell_foreign(self, fresh: Iterable[Element], now: Moment, store: ActSet) -> list[Output]:
        """Tell of acts that came from elsewhere and stand on a chain which only this store signs."""
        view = self.members.view
        foreign = [one for one in fresh if isinstance(one, Act) and self.issuing.is_foreign(one, view, store)]
        return [
            self._notice(
                "key-used-elsewhere", {"author": act.place.author.hex(), "act": act.id.hex()}, now, store
            )
            for act in foreign
        ]

    def _on_adopt(self, event: Adopt, now: Moment, store: ActSet, outputs: list[Output]) -> None:
        self._absorb(self.members.adopt(event.bundle, now, store), None, now, store, outputs)
        outputs.append(Result(None))

    def _on_issue(self, event: Issue, now: Moment, store: ActSet, outputs: list[Output]) -> None:
        view = self.members.view
        pairs = self.issuing.issue(event, view, now, store)
        elements: list[Element] = []
        for (act, der), request in zip(pairs, event.requests, strict=True):
            elements += [act, der] if request.store else [act]
        intake = self.members.take(elements, None, now, store)
        assert intake.refused is None, intake
        assert len(intake.fresh) >= len(elements), intake
        issued = []
        for (act, der), request in zip(pairs, event.requests, strict=True):
            admitted = view.admitted(act.id)
            assert admitted is not None
            assert admitted.grant is not None
            bundle = (
                make_bundle(view, admitted.grant, store.get, der.certificate.der)
                if request.invitation
                else b""
            )
            assert bundle is not None
            issued.append(Issued(act.id, bundle))
        self._absorb(intake, None, now, store, outputs)
        outputs.append(Result(tuple(issued)))

    # --- time -----------------------------------------------------------------------------------------------

    def _on_tick(self, now: Moment, store: ActSet, outputs: list[Output]) -> None:
        intake = self.members.expire(now, store)
        outputs += self._tell_foreign(intake.fresh, now, store)
        if intake.fresh:
            self.synchronize.on_quarantine_ended(now)
        self._absorb(intake, None, now, store, outputs)
        silent = {link.id: link for link in self.links}
        outputs += self.links.on_tick(self.synchronize.summary(), now)
        for link in silent.values():
            if self.links.get(link.id) is None:
                self.synchronize.on_down(link.id)
                outputs.append(self._left(link, now, store))
        outputs += self.synchronize.on_tick(now)

    def next_deadline(self, now: Moment) -> int | None:
        """When a Tick is due, in milliseconds of the monotonic clock; None when nothing is."""
        dues = [
            self.links.next_deadline(),
            self.synchronize.next_deadline(),
            self.dialling.next_deadline(self.links),
            self.members.next_deadline(now),
            self._own_change(now),
        ]
        return min((due for due in dues if due is not None), default=None)

    def _own_change(self, now: Moment) -> int | None:
        """When another credential of our own may become the best there is."""
        second = self.members.own_change(now.utc_s)
        return None if second is None else now.mono_ms + second * 1000 - now.utc_ms

    def _settle(self, now: Moment, store: ActSet, outputs: list[Output]) -> None:
        """What every event may have changed: our credential, our neighbors' membership, whom to call."""
        grant = self.members.own_grant(now.utc_s)
        if grant is not self._own_grant and (
            grant is None or self._own_grant is None or grant.act_id != self._own_grant.act_id
        ):
            kind, told = (
                ("credential-expired", self._own_grant) if grant is None else ("credential-adopted", grant)
            )
            assert told is not None
            outputs.append(self._notice(kind, grant_facts(told), now, store))
        self._own_grant = grant
        if self.links.recheck_due(now):
            for link in self.links:
                if not self.is_member(link, now.utc_s):
                    outputs += self._end(link.id, ByeReason.NOT_A_MEMBER, now, store)
            self.links.note_rechecked(now)
        outputs += self.dialling.dials(self.links, now)
        visit, last = self.dialling.visit(self.links, now)
        if last is not None:
            outputs += self._end(last.id, ByeReason.LEAVING, now, store)
        if visit is not None:
            outputs.append(visit)

    def is_member(self, link: Link, at_s: int) -> bool:
        """Whether a neighbor is a member now, by this view or by the evidence that it showed."""
        if self.members.view.current(link.key.pid, at_s) is not None:
            return True
        return link.bundle is not None and self.members.accepts(link.bundle, at_s)

    def _notice(self, kind: str, facts: Mapping[str, Any], now: Moment, store: ActSet) -> Notice:
        return Notice(store.note(kind, now.utc_ms, encode(dict(facts))), kind, now.utc_ms, facts)


def grant_facts(grant: Grant) -> dict[str, Any]:
    """A grant as notices tell of it: ids in hex, times in seconds UTC."""
    return {
        "grant_id": grant.act_id.hex(),
        "subject": str(grant.peer_name),
        "friendly_name": grant.friendly_name,
        "roles": list(role_names(grant.roles)),
        "level": grant.level,
        "not_before": grant.window.start,
        "not_after": grant.window.end,
        "stored": grant.stored,
    }


def _neighbor_facts(link: Link) -> dict[str, Any]:
    return {
        "peer": link.key.authority,
        "node_id": link.node_id.hex(),
        "address": link.reached_at or "",
        "dialled": link.dialled,
    }
