"""Members: which elements of AUTH this node holds, what they mean, and which credential is its own.

The only writer of the set. Elements come in from anywhere, signatures verified; each is admitted, held, put
in quarantine, or refused:

* *held*: it names an act that has not arrived. Bounded per link and in all, dropped after a minute; the
  missing acts are asked for.
* *quarantine*: an act dated more than five minutes ahead of this node's clock. It waits, bounded, until its
  time comes. Revocations and resignations do not wait, nor does any act that they name or descend from: who
  could put off his own removal by dating something ahead?
* *delayed*: an act whose author has signed too much in too short a time (act_rates.py). Its id is known, the
  act itself comes again when a day has passed (delayed_acts.py).
* *void*: admitted, and without any effect; kept aside and told to nobody (void_acts.py).
* *refused*: no honest node would relay it, so the link that brought it closes.

One certificate belongs to one act. Only the root's own could exist in two forms, if its holder signed twice:
then the smaller id stays, on all nodes.

The own credential is derived, never copied: the best of what AUTH holds for our key and of one evidence
bundle kept aside (received in a handshake or by invitation, before its acts arrived). When the grants of that
bundle are in the set, its certificates enter it too: that is how a credential issued without the store flag
becomes visible, when its subject first links (design section 5).

That our key has been removed is known from AUTH, or from a proof kept aside, which a neighbor-to-be has given
instead of a link. As long as nothing in AUTH speaks against the proof, we do not go by what the removal hits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from protocol.authority.act_set import ActSet
from protocol.authority.acts import Act, decode_untrusted_act
from protocol.authority.admission import Deferred, Invalid, admit
from protocol.authority.bodies import Kind
from protocol.authority.bundle import Bundle, decode_untrusted_bundle, make_bundle, stands
from protocol.authority.elements import (
    Der,
    Element,
    admit_der,
    decode_untrusted_element,
    ids_untrusted,
    stored_is_der,
)
from protocol.authority.grants import Grant, best_first
from protocol.authority.removal_proof import (
    RemovalProof,
    decode_untrusted_removal_proof,
    is_in_force,
    make_removal_proof,
    takes_away,
)
from protocol.authority.view import View
from protocol.credentials.keys import PublicKey
from protocol.ids import split_ids
from protocol.limits import (
    END_OF_TIME_S,
    HELD_BYTES_MAX,
    HELD_PER_LINK_MAX,
    HELD_S_MAX,
    HLC_AHEAD_MS_MAX,
    QUARANTINED_BYTES_MAX,
    QUARANTINED_MAX,
    URGENT_ACTS_MAX,
)
from protocol.machines.act_rates import ActRates, day_begins_s, day_of, is_removing
from protocol.machines.delayed_acts import Delay, DelayedActs, note_told
from protocol.machines.evidence import Evidence, Proof
from protocol.machines.ordered_ids import OrderedIds
from protocol.machines.void_acts import VoidActs
from protocol.peer_time import Moment, hlc_s
from protocol.wire.messages import NOTHING_PROOF_BYTES_MAX

_EVIDENCE = "own_bundle"
_REMOVAL = "own_removal"
_NEVER_QUARANTINED = (Kind.REVOKE_CREDENTIAL, Kind.REVOKE_KEY, Kind.RESIGN)


@dataclass(slots=True)
class _Held:
    element: Element
    missing: dict[bytes, None]
    source: int | None
    deadline_ms: int


@dataclass(slots=True)
class Intake:
    """What became of some elements: `fresh` are new in the set, parents first; `wanted` are ids to ask the
    source for; `alarms` are keys (pids) that have signed too much, `proofs` show keys in two hands. `known`
    says whether the ids that this node tells of are others than before, though nothing may be fresh.
    """

    fresh: list[Element] = field(default_factory=list)
    wanted: list[bytes] = field(default_factory=list)
    refused: str | None = None
    alarms: list[bytes] = field(default_factory=list)
    proofs: list[Proof] = field(default_factory=list)
    known: bool = False


class Members:
    """The members of one group, as this node sees them."""

    def __init__(self, gid: bytes, own: PublicKey) -> None:
        """Begin empty; `load` fills it from the store."""
        self.view = View(gid)
        self.ids = OrderedIds()  # of what is in the set, and of what is delayed
        self.rates = ActRates()
        self.delayed = DelayedActs()
        self.evidence = Evidence()
        self._own = own
        self._evidence: Bundle | None = None
        self._removal: RemovalProof | None = None
        self._held: dict[bytes, _Held] = {}
        self._waiting: dict[bytes, dict[bytes, None]] = {}
        self._held_bytes = 0
        self._quarantine: dict[bytes, Act] = {}
        self._quarantine_bytes = 0
        self._urgent: dict[bytes, None] = {}  # acts that revocations which are here name or wait for
        self._let_out: list[Act] = []  # of quarantine, to be taken in next
        self._taken: list[Element] = []  # put into the store by the call that is under way
        self._void = VoidActs(self.view)

    # --- the set --------------------------------------------------------------------------------------------

    def load(self, store: ActSet) -> None:
        """Read everything back at start; arrival order is a causal order, so every act finds its parents."""
        self.evidence.load(store)
        for raw in store.load():
            if stored_is_der(raw):
                element_id, act_id = ids_untrusted(raw)
                self.view.add_der(act_id, element_id)
            else:
                act = decode_untrusted_act(raw)
                verdict = admit(act, self.view)
                assert not isinstance(verdict, (Invalid, Deferred)), verdict
                self.view.add(act, verdict.admitted)
                self.rates.note(act.place, act.kind, len(raw))
        inside, _ = self._void.sort_out(self.view.act_ids())
        for act_id in self._void:
            self._count(act_id, store, counts=False)
        self.ids = OrderedIds(pair for act_id in inside for pair in self._pairs(act_id))
        if (raw_bundle := store.setting(_EVIDENCE)) is not None:
            self._evidence = decode_untrusted_bundle(raw_bundle, authority=self.view.gid)
        if (raw_proof := store.setting(_REMOVAL)) is not None:
            gid = self.view.gid
            self._removal = decode_untrusted_removal_proof(raw_proof, authority=gid, key=self._own)

    def _pairs(self, act_id: bytes) -> list[tuple[int, bytes]]:
        """The ids of an act and of its certificate if that is here, each with the act's second."""
        admitted = self.view.admitted(act_id)
        assert admitted is not None
        second, der_id = hlc_s(admitted.place.hlc), self.view.der_of(act_id)
        return [(second, act_id)] if der_id is None else [(second, act_id), (second, der_id)]

    def take(self, elements: Iterable[Element], source: int | None, now: Moment, store: ActSet) -> Intake:
        """Judge verified elements and keep what belongs to the set. `source` is the link that brought them,
        None for ourselves.
        """
        intake = Intake()
        queue = deque(elements)
        while queue:
            element = queue.popleft()
            if self.holds(element) or self._waits(element.id):
                continue
            if self._take_one(element, source, now, store, intake):
                queue.extend(self._release(element.id))
            queue.extend(self._let_out)
            self._let_out.clear()
        if self._taken:
            self._publish_evidence(now, store, intake)
            self._sort_out(store, intake)
        intake.wanted = [i for i in intake.wanted if not self._is_here(i)]
        return intake

    def _sort_out(self, store: ActSet, intake: Intake) -> None:
        """Fresh is what has come into the protected set: acts that stood outside before, and those of what
        was taken that are not void.
        """
        taken, self._taken = self._taken, []
        acts = [one for one in taken if isinstance(one, Act)]
        come, gone = self._void.sort_out(one.id for one in acts)
        for act_id in gone:
            self._count(act_id, store, counts=False)
            for pair in self._pairs(act_id):
                self.ids.discard(*pair)
        new = {one.id: None for one in taken}
        for act_id in come:
            if act_id not in new:
                self._count(act_id, store, counts=True)
        for act in acts:
            if act.id in self._void:
                self.rates.forget(act.place, act.kind, len(act.raw))
        back = [element_id for act_id in come for _, element_id in self._pairs(act_id)]
        for element_id in store.in_arrival_order([one for one in back if one not in new]):
            raw = store.get(element_id)
            assert raw is not None
            intake.fresh.append(decode_untrusted_element(raw))
        intake.fresh += [one for one in taken if _act_id(one) not in self._void and self._is_kept(one)]
        for element in intake.fresh:
            self.ids.add(*self._place(element))
        if gone or any(is_removing(act.kind) for act in acts):
            self._end_delays(intake)  # who is removed has room again for what is kept

    def _count(self, act_id: bytes, store: ActSet, *, counts: bool) -> None:
        """Let an act of the store count for its author's rate, or count no longer."""
        admitted, raw = self.view.admitted(act_id), store.get(act_id)
        assert admitted is not None
        assert raw is not None
        (self.rates.note if counts else self.rates.forget)(admitted.place, admitted.kind, len(raw))

    def _is_kept(self, element: Element) -> bool:
        """Whether an element that was taken is here still: one certificate gives way to another."""
        return isinstance(element, Act) or self.view.der_of(element.act_id) == element.id

    def _place(self, element: Element) -> tuple[int, bytes]:
        admitted = self.view.admitted(_act_id(element))
        assert admitted is not None
        return hlc_s(admitted.place.hlc), element.id

    def _is_here(self, act_id: bytes) -> bool:
        """Whether an act has arrived, admitted or not."""
        return self.view.admitted(act_id) is not None or self._waits(act_id)

    def _waits(self, element_id: bytes) -> bool:
        """Whether an element has arrived, and is not admitted yet."""
        return element_id in self._held or element_id in self._quarantine or element_id in self.delayed

    def holds(self, element: Element) -> bool:
        """Whether an element is in the set."""
        return self._has(element.id, element.id if isinstance(element, Act) else element.act_id)

    def holds_untrusted(self, raw: bytes) -> bool:
        """Whether an element from anywhere is in the set, or delayed, so that `take` would leave it alone.

        Raises: RemoteProtocolError, and nothing else.
        """
        element_id, act_id = ids_untrusted(raw)
        return element_id in self.delayed or self._has(element_id, act_id)

    def _has(self, element_id: bytes, act_id: bytes) -> bool:
        if element_id == act_id:
            return self.view.admitted(act_id) is not None
        return self.view.der_of(act_id) == element_id

    def _take_one(
        self, element: Element, source: int | None, now: Moment, store: ActSet, intake: Intake
    ) -> bool:
        """Whether the element is now in the set."""
        verdict = admit(element, self.view) if isinstance(element, Act) else admit_der(element, self.view)
        if isinstance(element, Act) and not isinstance(verdict, Invalid):
            self._note_urgent(element)
        if isinstance(verdict, Deferred):
            if (delay := self._delay_with(element, verdict.missing)) is not None:
                self._delay(element, delay, now, intake)
                return False
            self._hold(element, verdict.missing, source, now)
            intake.wanted += [i for i in verdict.missing if i not in intake.wanted]
            return False
        if isinstance(verdict, Invalid):
            intake.refused = intake.refused or verdict.reason
            return False
        if isinstance(element, Der):
            return self._keep_der(element, store)
        assert verdict is not None
        if element.hlc_ms > now.utc_ms + HLC_AHEAD_MS_MAX and not self._is_urgent(element):
            self._quarantine_act(element)
            return False
        if not self._void.has_room_for(element, named=element.id in self._urgent):
            return False
        if self._is_too_much(element, now):
            if note_told(element.place.author, day_of(now.utc_s), store):
                intake.alarms.append(element.place.author)
            self._delay(element, Delay(element.hlc_s, element.place.author), now, intake)
            return False
        self._urgent.pop(element.id, None)
        intake.proofs += self.evidence.look(element, self.view, now, store)
        store.put(element.id, element.raw)
        self.view.add(element, verdict.admitted)
        self.rates.note(element.place, element.kind, len(element.raw))
        self._taken.append(element)
        return True

    def _is_too_much(self, act: Act, now: Moment) -> bool:
        """Whether an act is beyond what its author may sign; what removed keys sign is bounded otherwise."""
        urgent, today = self._is_urgent(act), day_of(now.utc_s)
        if self.rates.has_room_for(act.place, act.kind, len(act.raw), today, urgent=urgent):
            return False
        return self._void.may_count(act)

    def _keep_der(self, der: Der, store: ActSet) -> bool:
        other = self.view.der_of(der.act_id)
        if other is not None:
            if other <= der.id:
                return False
            store.discard(other)
            self.ids.discard(self._place(der)[0], other)
        store.put(der.id, der.raw)
        self.view.add_der(der.act_id, der.id)
        self._taken.append(der)
        return True

    # --- what is delayed ------------------------------------------------------------------------------------

    def _delay_with(self, element: Element, missing: tuple[bytes, ...]) -> Delay | None:
        """The delay of an element that names delayed acts; None when it names none, or may not wait."""
        if isinstance(element, Act) and self._is_urgent(element):
            return None
        above = next((delay for one in missing if (delay := self.delayed.get(one)) is not None), None)
        if above is None or isinstance(element, Der):
            return above
        return Delay(element.hlc_s, above.author)

    def _delay(self, element: Element, delay: Delay, now: Moment, intake: Intake) -> None:
        if self.delayed.add(element.id, delay, day_of(now.utc_s)):
            self.ids.add(delay.second, element.id)
            intake.known = True

    def _end_delays(self, intake: Intake) -> None:
        """Let all that is delayed come again."""
        for place in self.delayed.pop_all():
            self.ids.discard(*place)
            intake.known = True

    # --- holding and quarantine -----------------------------------------------------------------------------

    def _hold(self, element: Element, missing: tuple[bytes, ...], source: int | None, now: Moment) -> None:
        from_source = sum(1 for held in self._held.values() if held.source == source)
        if from_source >= HELD_PER_LINK_MAX or self._held_bytes + len(element.raw) > HELD_BYTES_MAX:
            return  # it comes again: the digests differ until it has been admitted
        self._held[element.id] = _Held(
            element, dict.fromkeys(missing), source, now.mono_ms + HELD_S_MAX * 1000
        )
        self._held_bytes += len(element.raw)
        for parent in missing:
            self._waiting.setdefault(parent, {})[element.id] = None

    def _release(self, arrived: bytes) -> list[Element]:
        """The held elements whose last missing parent has arrived."""
        ready = []
        for element_id in self._waiting.pop(arrived, {}):
            held = self._held[element_id]
            del held.missing[arrived]
            if not held.missing:
                ready.append(self._drop_held(element_id))
        return ready

    def _drop_held(self, element_id: bytes) -> Element:
        held = self._held.pop(element_id)
        self._held_bytes -= len(held.element.raw)
        for parent in held.missing:
            waiting = self._waiting[parent]
            del waiting[element_id]
            if not waiting:
                del self._waiting[parent]
        return held.element

    def _quarantine_act(self, act: Act) -> None:
        full = (
            len(self._quarantine) >= QUARANTINED_MAX
            or self._quarantine_bytes + len(act.raw) > QUARANTINED_BYTES_MAX
        )
        if not full:
            self._quarantine[act.id] = act
            self._quarantine_bytes += len(act.raw)

    def _is_urgent(self, act: Act) -> bool:
        return act.kind in _NEVER_QUARANTINED or act.id in self._urgent

    def _note_urgent(self, act: Act) -> None:
        """Let nothing wait for its time that a revocation names, or what it names descends from."""
        if not self._is_urgent(act):
            return
        acts = [act]
        while acts:
            act = acts.pop()
            for act_id in (act.place.prev, act.place.cred, *split_ids(getattr(act.body, "keep", b""))):
                if act_id is None or act_id in self._urgent or self.view.admitted(act_id) is not None:
                    continue
                if len(self._urgent) >= URGENT_ACTS_MAX:
                    del self._urgent[next(iter(self._urgent))]
                self._urgent[act_id] = None
                if (delay := self.delayed.pop(act_id)) is not None:
                    self.ids.discard(delay.second, act_id)  # it has to come again
                if (waiting := self._quarantine.pop(act_id, None)) is not None:
                    self._quarantine_bytes -= len(waiting.raw)
                    self._let_out.append(waiting)
                held = self._held.get(act_id)
                if held is not None and isinstance(held.element, Act):
                    acts.append(held.element)

    def expire(self, now: Moment, store: ActSet) -> Intake:
        """Forget what was held too long, admit from quarantine what is no longer ahead of the clock, and let
        come again what was delayed for a day.
        """
        for element_id in [i for i, held in self._held.items() if held.deadline_ms <= now.mono_ms]:
            self._drop_held(element_id)
        for act_id in self._void.overdue(now.utc_s, self.evidence.acts()):
            for _, element_id in self._pairs(act_id):
                store.discard(element_id)
            self._void.forget(act_id)
        due = [act for act in self._quarantine.values() if act.hlc_ms <= now.utc_ms + HLC_AHEAD_MS_MAX]
        for act in due:
            del self._quarantine[act.id]
            self._quarantine_bytes -= len(act.raw)
        intake = self.take(due, None, now, store)
        if self.delayed.is_over(day_of(now.utc_s)):
            self._end_delays(intake)
        return intake

    def next_deadline(self, now: Moment) -> int | None:
        """When `expire` next has something to do, in milliseconds of the monotonic clock."""
        held = [one.deadline_ms for one in self._held.values()]
        due = [
            now.mono_ms + max(0, act.hlc_ms - HLC_AHEAD_MS_MAX - now.utc_ms)
            for act in self._quarantine.values()
        ]
        if (day := self.delayed.ends_on) is not None:
            due.append(now.mono_ms + max(0, day_begins_s(day) * 1000 - now.utc_ms))
        return min(held + due, default=None)

    @property
    def void(self) -> int:
        """How many acts are here that count for nothing."""
        return len(self._void)

    @property
    def held(self) -> int:
        """How many elements wait for a parent."""
        return len(self._held)

    @property
    def quarantined(self) -> int:
        """How many acts wait for their time."""
        return len(self._quarantine)

    # --- credentials ----------------------------------------------------------------------------------------

    def own_grant(self, at_s: int) -> Grant | None:
        """The credential that this node goes by at a second UTC, or None."""
        return min(self._own_grants(at_s, self._removal), key=Grant.rank, default=None)

    def _own_grants(self, at_s: int, removal: RemovalProof | None) -> list[Grant]:
        """What we may go by at a second UTC, if that removal is all that we were told besides AUTH."""
        grants, evidence = self.view.holding(self._own.pid, at_s), self._evidence
        if evidence is not None and self._stands(evidence, at_s):
            grants.append(evidence.leaf)
        return [grant for grant in grants if not self._is_taken_by(removal, grant)]

    def own_change(self, at_s: int) -> int | None:
        """The next second UTC at which a window of ours begins, or has just ended; None when none does."""
        leaf = [] if self._evidence is None else [self._evidence.leaf]
        windows = [grant.window for grant in (*self.view.delivered(self._own.pid), *leaf)]
        seconds = [second for window in windows for second in (window.start, window.end + 1)]
        return min((second for second in seconds if at_s < second <= END_OF_TIME_S), default=None)

    def own_bundle(self, at_s: int, store: ActSet) -> bytes:
        """The evidence to show: of the own credential, or of the last one there was; empty when there never
        was one.
        """
        evidence = self._evidence
        grants = self.view.delivered(self._own.pid)
        if evidence is not None and evidence.leaf.act_id not in [grant.act_id for grant in grants]:
            grants.append(evidence.leaf)
        # What we were told is revoked is shown last: others take it for nothing.
        for grant in sorted(best_first(grants, at_s), key=self.is_told_revoked):
            mine = evidence if evidence is not None and grant.act_id == evidence.leaf.act_id else None
            if mine is not None and self._shows_the_root(mine):
                return mine.raw
            if (raw := make_bundle(self.view, grant, store.get)) is not None:
                return raw
            if mine is not None:
                return mine.raw
        return b""

    def _shows_the_root(self, bundle: Bundle) -> bool:
        """Whether a bundle has all rotations that are followed here: who has nothing goes by those in it."""
        shown = tuple(root.rotation for root in bundle.roots)
        return shown[: len(self.view.rotations)] == self.view.rotations

    def bundle_for(self, pid: bytes, at_s: int, store: ActSet) -> bytes:
        """Evidence of a subject's current stored credential, for the subject itself; empty when there is
        none.
        """
        grants = best_first(self.view.holding(pid, at_s), at_s)
        bundles = (make_bundle(self.view, grant, store.get) for grant in grants)
        return next((raw for raw in bundles if raw is not None), b"")

    def accepts(self, bundle: Bundle, at_s: int) -> bool:
        """Whether a verified bundle makes its subject a member in this view: its window holds, and nothing
        here speaks against its path.
        """
        return self._stands(bundle, at_s) and not self.is_told_revoked(bundle.leaf, bundle)

    def _stands(self, bundle: Bundle, at_s: int) -> bool:
        return bundle.leaf.window.holds(at_s) and stands(self.view, bundle)

    def adopt(self, bundle: Bundle, now: Moment, store: ActSet) -> Intake:
        """Keep evidence of a credential of our own, if it is better than the one in use."""
        assert bundle.leaf.key == self._own
        assert bundle.gid == self.view.gid
        intake = Intake()
        mine = self.own_grant(now.utc_s)
        if self.accepts(bundle, now.utc_s) and (mine is None or bundle.leaf.rank() < mine.rank()):
            self._evidence = bundle
            store.set_setting(_EVIDENCE, bundle.raw)
            self._publish_evidence(now, store, intake)
            self._sort_out(store, intake)
        return intake

    # --- removals -------------------------------------------------------------------------------------------

    def removal_proof(self, pid: bytes, shown: Bundle | None, store: ActSet) -> bytes:
        """The proof that a key has been removed, for the key itself; empty when it has not been."""
        return make_removal_proof(self.view, pid, shown, store.get, bytes_max=NOTHING_PROOF_BYTES_MAX)

    def is_told_revoked(self, grant: Grant, shown: Bundle | None = None) -> bool:
        """Whether a grant is one of our own that we were told is revoked."""
        return grant.key == self._own and self._is_taken_by(self._removal, grant, shown)

    def _is_taken_by(self, removal: RemovalProof | None, grant: Grant, shown: Bundle | None = None) -> bool:
        """The same if that is what we were told; `shown` is the grant's bundle, where that may say more."""
        if removal is None or not is_in_force(self.view, removal):
            return False
        evidence = self._evidence
        if evidence is not None and evidence.leaf.act_id == grant.act_id:
            shown = evidence
        return takes_away(self.view, removal, grant, shown)

    def is_removed_by(self, proof: RemovalProof, at_s: int) -> bool:
        """Whether a verified proof counts in this view, takes the latest that we were granted, and leaves us
        nothing else to go by.
        """
        if not is_in_force(self.view, proof) or self._own_grants(at_s, proof):
            return False
        latest = self._latest_own()
        return latest is None or self._is_taken_by(proof, latest)

    def _latest_own(self) -> Grant | None:
        """The last grant to our key that we know of, whatever became of it."""
        shown = [] if self._evidence is None else [self._evidence.leaf]
        grants = [*self.view.grants_ever(self._own.pid), *shown]
        return max(grants, key=lambda grant: (grant.hlc, grant.act_id), default=None)

    def learn_removal(self, proof: RemovalProof, now: Moment, store: ActSet) -> None:
        """Keep a proof that our key has been removed."""
        if self.is_removed_by(proof, now.utc_s):
            self._removal = proof
            store.set_setting(_REMOVAL, proof.raw)

    def own_removal(self, at_s: int) -> bytes | None:
        """The act that took our membership away; None while we have one, or when no act took it."""
        if self.own_grant(at_s) is not None:
            return None
        told, latest = self._removal, self._latest_own()
        if told is not None and self.is_removed_by(told, at_s):
            return told.removal.id
        if latest is None or self.view.live_grants(self._own.pid):
            return None
        hits = [self.view.admitted(one) for one in self.view.hits_of(latest.act_id)]
        places = [(one.place.level, one.place.hlc, one.id) for one in hits if one is not None]
        return min(places)[2] if places else None

    def told_removal(self, act_id: bytes) -> RemovalProof | None:
        """The proof of an own removal that is not in AUTH here."""
        told = self._removal
        known = told is None or told.removal.id != act_id or self.view.admitted(act_id) is not None
        return None if known else told

    def _publish_evidence(self, now: Moment, store: ActSet, intake: Intake) -> None:
        """Put the certificates of our own path into the set, as soon as the acts that they belong to are
        there.
        """
        if self._evidence is None:
            return
        for der in self._evidence.ders:
            if self.view.admitted(der.act_id) is not None and self.view.der_of(der.act_id) is None:
                self._take_one(der, None, now, store, intake)


def _act_id(element: Element) -> bytes:
    return element.id if isinstance(element, Act) else element.act_id
