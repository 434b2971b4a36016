"""Issue: the group's machine signs what its user asked for, as the next acts of this store's own chains
(chains.py).

All or nothing: every request of a call is planned before the first act is signed, and nothing of the state
changes before all are signed.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from protocol.authority.act_set import ActSet
from protocol.authority.acts import Act, sign_act
from protocol.authority.bodies import Kind, RevokeCredentialBody
from protocol.authority.bundle import encode_bundle, path_evidence
from protocol.authority.elements import Der
from protocol.authority.issuers import Issuer, check_clock, check_ready, root_issuer
from protocol.authority.issuing import IssueRequest, Plan, choose_issuer, plan_grant, write_grant
from protocol.authority.properties import changed_properties
from protocol.authority.view import View
from protocol.credentials.keys import PrivateKey
from protocol.errors import RuleError
from protocol.limits import (
    BUNDLE_BYTES_MAX,
    ELEMENTS_PER_FRAME_MAX,
)
from protocol.machines.act_rates import ActRates
from protocol.machines.chains import Pen, Pens
from protocol.machines.events import Issue, SetProperties
from protocol.peer_time import Moment

_LEAF_OVERHEAD_BYTES = 16  # what the encoding of a bundle puts around one more act and certificate, at most


@dataclass(frozen=True, slots=True)
class Signed:
    """What one request led to; `removal` is set when it takes away what the subject held."""

    removal: Act | None
    act: Act
    der: Der


@dataclass(frozen=True, slots=True)
class _Draft:
    plan: Plan
    issuer: Issuer
    pen: Pen
    removal_hlc: int
    hlc: int


class Issuing:
    """The signing half of one group's machine."""

    def __init__(self, own: PrivateKey, rng: random.Random, rates: ActRates | None = None) -> None:
        """`rng` draws new chains; `rates` say how much more may be signed."""
        self._own = own
        self._rng = rng
        self._rates = rates

    def issue(self, command: Issue, view: View, now: Moment, store: ActSet) -> list[Signed]:
        """Sign one grant for each request. Raises: RuleError, with nothing changed."""
        check_ready(view)
        _check_subjects(command.requests)
        pens = Pens(view, self._rng, now, store, rates=self._rates)
        rooms: dict[bytes, int] = {}
        drafts = []
        for request in command.requests:
            if not request.trust_clock:
                check_clock(view, now)
            issuer = choose_issuer(view, self._own, command.root, request, now.utc_s)
            pen = pens.of(issuer)
            removal_hlc = pen.next_hlc(now) if request.replace else 0
            hlc = pen.next_hlc(now)
            plan = plan_grant(view, issuer, request, hlc)
            drafts.append(_Draft(plan, issuer, pen, removal_hlc, hlc))
            if issuer.cred not in rooms:
                rooms[issuer.cred] = _evidence_room(view, issuer, store)
        issued = [_sign(draft, rooms[draft.issuer.cred], view) for draft in drafts]
        pens.keep()
        return issued

    def set_properties(self, command: SetProperties, view: View, now: Moment, store: ActSet) -> Act:
        """Sign the group's properties with some of them changed. Raises: RuleError, with nothing changed."""
        issuer = root_issuer(check_ready(view), command.root)
        check_clock(view, now)
        body = changed_properties(view.properties, command.changes)
        pens = Pens(view, self._rng, now, store)
        pen = pens.of(issuer)
        pen.hlc = max(pen.hlc, view.properties_hlc)  # of two, the later one counts
        act = sign_act(pen.place(issuer, pen.next_hlc(now)), Kind.PROPERTIES, body, [command.root])
        pen.note(act)
        pens.keep()
        return act


def _sign(draft: _Draft, room: int, view: View) -> Signed:
    """Sign a grant, behind the revocation that it stands despite of if it replaces something."""
    plan, issuer, pen = draft.plan, draft.issuer, draft.pen
    removal = None
    if plan.replaces:
        body = RevokeCredentialBody(
            key=plan.key.raw, keep=b"".join(view.heads_of(plan.key.pid)), data="time", reason="replaced"
        )
        place = pen.place(issuer, draft.removal_hlc)
        removal = sign_act(place, Kind.REVOKE_CREDENTIAL, body, [issuer.signer])
        pen.note(removal)
        plan = replace(plan, despite=(*plan.despite, removal.id))
    act, der = write_grant(plan, issuer, pen.place(issuer, draft.hlc))
    if len(act.raw) + len(der.certificate.der) > room:
        raise RuleError(
            "chain-too-long",
            "the names in the issuer's chain leave no room for this credential in a proof of it",
            hint="choose shorter names, or let an administrator nearer to the creator issue it",
        )
    pen.note(act)
    return Signed(removal, act, der)


def _check_subjects(requests: Sequence[IssueRequest]) -> None:
    subjects = dict.fromkeys(request.subject.authority for request in requests)
    if not 1 <= len(requests) <= ELEMENTS_PER_FRAME_MAX or len(subjects) != len(requests):
        raise RuleError(
            "invalid-argument",
            f"one call issues to 1 to {ELEMENTS_PER_FRAME_MAX} different subjects",
            hint="make several calls",
        )


def _evidence_room(view: View, issuer: Issuer, store: ActSet) -> int:
    """How many bytes an act and its certificate may have together, to fit into a bundle with those of the
    issuer's own path.
    """
    evidence = path_evidence(view, issuer.cred, store.get)
    if evidence is None:
        raise RuleError(
            "group-not-ready",
            "the certificates of the issuer's own chain have not all arrived on this node yet",
            hint="wait until this node has synchronized: peerd status",
        )
    return BUNDLE_BYTES_MAX - _LEAF_OVERHEAD_BYTES - len(encode_bundle(*evidence))
