"""Sets: what this node holds of the two replicated sets, and what becomes of what comes in.

AUTH and DATA are taken in by their own children, and what is new in either concerns others: neighbors that
have not heard of it, applications, the records that AUTH decides about, bodies that are lacking, addresses to
call. That is routed here, whoever brought it: a neighbor, a file, a user, or the time.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

from protocol.authority.acts import Act
from protocol.authority.grants import Grant
from protocol.authority.view import View
from protocol.credentials.keys import PrivateKey
from protocol.errors import Fault
from protocol.machines import flood
from protocol.machines.bodies import Bodies
from protocol.machines.data import Data
from protocol.machines.dialling import Dialling
from protocol.machines.directory import Directory
from protocol.machines.events import LinkId, Output
from protocol.machines.link import Link, Links
from protocol.machines.members import Intake, Members
from protocol.machines.records import RecordIntake
from protocol.machines.replicas import Replicas
from protocol.machines.telling import (
    note_alarms,
    note_changes,
    note_elements,
    note_proofs,
    note_root,
    note_standing,
)
from protocol.peer_time import Moment
from protocol.records.record_set import GroupSet

_SEEN = ("record-added", "record-changed")
EndLink = Callable[[LinkId, int, Moment, GroupSet], list[Output]]


class Sets:
    """The sets of one group, and the children that what is new in them concerns."""

    def __init__(
        self, gid: bytes, own: PrivateKey, *, node_id: bytes, rng: random.Random, end: EndLink
    ) -> None:
        """`end` closes a link from this side."""
        self.members = Members(gid, own.public)
        self.data = Data(own, self.members.view, rng)
        self.directory = Directory(gid, own, node_id, rng)
        self.bodies = Bodies()
        self.replicas = Replicas()
        self.links = Links(node_id)
        self.dialling = Dialling(rng)
        self._end = end
        self._root: tuple[tuple[bytes, ...], tuple[bytes, ...]] = ((), ())  # last looked at

    def load(self, now: Moment, store: GroupSet) -> None:
        """Read everything back at start."""
        self.members.load(store)
        self.data.load(now, store)
        self.directory.load(store)
        self.dialling.load(store)

    @property
    def view(self) -> View:
        """What AUTH means."""
        return self.members.view

    def usable_grant(self, now: Moment) -> Grant | None:
        """The own credential, once it is in AUTH, so that others can judge by it."""
        grant = self.members.own_grant(now.utc_s)
        return grant if grant is not None and self.view.admitted(grant.act_id) is not None else None

    def absorb(
        self,
        intake: Intake,
        source: LinkId | None,
        now: Moment,
        store: GroupSet,
        outputs: list[Output],
        *,
        to: Iterable[Link] | None = None,
    ) -> tuple[bytes, ...]:
        """Pass on what is new in AUTH, tell of it, ask for what is missing, and close a link that brought
        what no honest node would. `to` are the links to pass it on to, where that is not all. The grants
        whose standing it has changed.
        """
        if intake.fresh or intake.known:
            self.links.note_change(now)
        outputs += flood.relay(intake.fresh, source, self.links if to is None else to)
        outputs += note_elements(intake.fresh, self.view, now, store)
        self._tell_of_root(now, store, outputs)
        outputs += note_alarms(intake.alarms, self.view, now, store)
        outputs += note_proofs(intake.proofs, self.view, now, store)
        if source is not None:
            outputs += flood.ask(intake.wanted, source)
            if intake.refused is not None:
                outputs += self._end(source, Fault.INVALID_ELEMENT.value, now, store)
        if not intake.fresh:
            return ()
        acts = [element for element in intake.fresh if isinstance(element, Act)]
        taken = self.view.take_changed()
        changed = self.view.grant_ids() if taken is None else taken
        outputs += note_standing(changed, self.view, now, store)
        self.absorb_records(self.data.on_acts(acts, changed, now, store), None, now, store, outputs)
        return changed

    def _tell_of_root(self, now: Moment, store: GroupSet, outputs: list[Output]) -> None:
        """Look for another root, or for rivals of it: these are void, and never among what is fresh."""
        root = (self.view.rotations[-1:], self.view.rival_rotations)
        if root != self._root:
            self._root = root
            outputs += note_root(self.view, now, store)

    def absorb_records(
        self,
        intake: RecordIntake,
        source: LinkId | None,
        now: Moment,
        store: GroupSet,
        outputs: list[Output],
        *,
        to: Iterable[Link] | None = None,
        ask: bool = False,
    ) -> None:
        """The same for records; bodies that are not here are fetched. `ask`: whoever brought them,
        we ourselves if there is no source, wants word when they are durable.
        """
        links = self.links if to is None else to
        outputs += flood.relay_records(intake.fresh, source, links, ask=ask and source is None)
        outputs += note_changes(intake.changes, self.view, now, store)
        self.dialling.learn(self.directory.learn(intake.changes, store), self.links.listens)
        if lacking := [*intake.bodies, *_lacking_again(intake, store)]:
            outputs += self.bodies.on_records(source, intake.fresh, lacking, ask, now, store)
        if source is not None:
            outputs += flood.ask(intake.wanted, source)
            if intake.refused is not None:
                outputs += self._end(source, Fault.INVALID_ELEMENT.value, now, store)


def _lacking_again(intake: RecordIntake, store: GroupSet) -> list[tuple[bytes, int]]:
    """The bodies (hash, size) that are not here of versions which readers see again: what displaced them does
    not count any more.
    """
    came = {item.header.id: None for item in intake.fresh}
    seen = [one.header for one in intake.changes if one.kind in _SEEN and one.header.id not in came]
    return [
        (one.body_hash, one.size)
        for one in seen
        if one.body_hash is not None and store.names_body(one.body_hash) and not store.has_body(one.body_hash)
    ]
