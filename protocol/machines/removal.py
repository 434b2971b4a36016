"""Removal: the acts that take membership away, or give back what was taken.

* *Revoking a credential* removes a member; a later grant that names the revocation may bring it back.
* *Revoking a key* removes it for ever.
* *Resigning* is removing oneself.
* *Annulling* takes back one act of somebody junior: a mistaken revocation, for example.

A revocation keeps all that its target has signed so far, as far as it is seen here, or what had arrived here
before some act: it names the last act of each of the target's chains. What the target signs afterwards,
however it dates it, counts nowhere. What becomes of the records that it wrote is said by the data rule: those
listed in a *manifest* stay (all that are here, by default), all are dropped, or those dated before the
revocation stay.

Who may remove whom is decided by level: strictly larger ones, and from level 254 whom it admitted itself.
Source: authority-rules.md 3-8; design section 5.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import takewhile

from protocol.authority.act_set import ActSet
from protocol.authority.acts import Act, sign_act
from protocol.authority.bodies import AnnulBody, Kind, ResignBody, RevokeCredentialBody, RevokeKeyBody
from protocol.authority.grants import Grant
from protocol.authority.issuers import Issuer, check_clock, check_ready, root_issuer
from protocol.authority.view import View
from protocol.credentials.keys import PrivateKey
from protocol.errors import RuleError
from protocol.ids import ACT_ID_BYTES
from protocol.limits import KEEP_IDS_MAX, LEVEL_ADMIN_MAX, LEVEL_INVITING_MEMBER, LEVEL_ROOT
from protocol.machines.act_rates import ActRates
from protocol.machines.chains import Pens
from protocol.machines.events import Annul, Resign, Revoke
from protocol.peer_time import Moment

_REVOCATION_BYTES_MAX = 2048  # without its `keep`: a reason of 255 characters, and what surrounds it


@dataclass(frozen=True, slots=True)
class RemovalPlan:
    """A revocation that the rules allow: who signs it, and the grants to the target that it will hit."""

    issuer: Issuer
    target: Grant
    hits: tuple[Grant, ...]


class Removing:
    """Signs removals for one identity. Every method raises RuleError, with nothing changed."""

    def __init__(self, own: PrivateKey, rng: random.Random, rates: ActRates | None = None) -> None:
        """`rng` draws new chains; `rates` say how much more may be signed."""
        self._own = own
        self._rng = rng
        self._rates = rates

    def plan(self, command: Revoke, view: View, now: Moment) -> RemovalPlan:
        """Decide who signs a revocation, and whether anybody may."""
        check_ready(view)
        if command.pid == self._own.public.pid:
            raise RuleError(
                "invalid-argument",
                "this is the identity of this node itself",
                hint="to give up membership: peerd group leave GROUP",
            )
        grants = [grant for grant in view.grants_ever(command.pid) if view.is_effective(grant.act_id)]
        if not grants:
            raise RuleError(
                "identity-not-found",
                "this key has no credential of the group",
                hint="peerd member list GROUP shows whom there is",
            )
        target = min(grants, key=lambda grant: (not view.is_live(grant.act_id), *grant.rank()))
        issuer = self._issuer(command, target, view, now)
        hits = tuple(grant for grant in grants if _reaches(issuer, grant))
        if target not in hits:  # others alone would take nothing away that it goes by
            raise _too_senior(issuer, target)
        already = any(not view.hits_of(grant.act_id) for grant in hits)
        if not command.for_ever and not already and command.since is None:
            raise RuleError(
                "already-exists",
                "what this key was granted has been revoked already",
                hint="peerd audit GROUP shows by whom; to ban the key for ever: --key",
            )
        since = None if command.since is None else view.admitted(command.since)
        if command.since is not None and (since is None or since.place.author != command.pid):
            raise RuleError(
                "invalid-argument",
                "the act from which on nothing counts is none that this key has signed",
                hint="peerd audit GROUP lists its acts in the order of their arrival here",
            )
        if len(view.heads_of(command.pid)) > KEEP_IDS_MAX:
            raise RuleError(
                "invalid-argument",
                f"the key has signed on more than {KEEP_IDS_MAX} chains, more than a revocation can name",
                hint="only a new group is free of it",
            )
        if not command.trust_clock:
            check_clock(view, now)
        if self._rates is not None and issuer.grant is not None:  # before a list of what stays is written
            heads = len(view.heads_of(command.pid))
            size_max = _REVOCATION_BYTES_MAX + heads * ACT_ID_BYTES
            self._rates.check_removal(issuer.signer.public.pid, issuer.level, size_max, now)
        return RemovalPlan(issuer, target, hits)

    def _issuer(self, command: Revoke, target: Grant, view: View, now: Moment) -> Issuer:
        """This member's current credential if it is senior enough, else the group's root key if it is
        offered.
        """
        own = view.current(self._own.public.pid, now.utc_s)
        root, key = view.root, command.root
        held = key is not None and root is not None and key.public.pid in root.operating
        if command.as_root or (held and (own is None or own.level >= target.level)):
            return root_issuer(root, key)
        if own is None:
            raise RuleError(
                "not-authorized",
                "this identity holds no credential of the group that is valid now",
                hint="peerd status",
            )
        return Issuer.member(self._own, own)

    def revoke(
        self,
        plan: RemovalPlan,
        command: Revoke,
        manifest: bytes | None,
        view: View,
        now: Moment,
        store: ActSet,
    ) -> Act:
        """Sign a planned revocation; `manifest` is the hash of the list of versions that stay."""
        kind, body = (
            (Kind.REVOKE_KEY, RevokeKeyBody)
            if command.for_ever
            else (Kind.REVOKE_CREDENTIAL, RevokeCredentialBody)
        )
        said = body(
            key=plan.target.key.raw,
            keep=b"".join(_kept_heads(command, view)),
            until=command.until,
            reason=command.reason,
            data=command.data,
            manifest=manifest,
        )
        return self._sign(plan.issuer, kind, said, view, now, store)

    def resign(self, command: Resign, view: View, now: Moment, store: ActSet) -> Act:
        """Give up the own membership. All that was signed before stays."""
        check_ready(view)
        check_clock(view, now)
        own = view.current(self._own.public.pid, now.utc_s)
        if own is None:
            raise RuleError(
                "not-authorized",
                "this identity is no member of the group now",
                hint="to forget the group on this machine: peerd group delete GROUP",
            )
        keep = b"".join(view.heads_of(self._own.public.pid))
        issuer = Issuer.member(self._own, own)
        return self._sign(issuer, Kind.RESIGN, ResignBody(keep=keep, reason=command.reason), view, now, store)

    def annul(self, command: Annul, view: View, now: Moment, store: ActSet) -> Act:
        """Take back one act of somebody junior."""
        check_ready(view)
        check_clock(view, now)
        act = view.admitted(command.act_id)
        if act is None:
            raise RuleError(
                "invalid-argument", "there is no such act here", hint="peerd audit GROUP lists them"
            )
        own = view.current(self._own.public.pid, now.utc_s)
        level = act.place.level
        if command.root is not None and (own is None or own.level >= level):
            issuer = root_issuer(view.root, command.root)
        elif own is not None:
            issuer = Issuer.member(self._own, own)
        else:
            raise RuleError(
                "not-authorized",
                "this identity holds no credential of the group that is valid now",
                hint="peerd status",
            )
        if act.place.author == self._own.public.pid and issuer.level >= level:
            raise RuleError(
                "not-authorized",
                "this node has signed the act itself, and nobody annuls what is their own",
                hint="to end what it granted: peerd credential revoke GROUP GRANT_ID; to admit anew whom it"
                " removed: peerd credential issue GROUP NAME --store",
            )
        if issuer.level >= level or issuer.level > LEVEL_ADMIN_MAX:
            raise RuleError(
                "not-authorized",
                f"the act was signed at level {level}, and this credential is of level {issuer.level}",
                hint="somebody more senior can annul it: peerd member list GROUP",
            )
        return self._sign(issuer, Kind.ANNUL, AnnulBody(act=command.act_id), view, now, store)

    def _sign(
        self,
        issuer: Issuer,
        kind: Kind,
        body: RevokeCredentialBody | RevokeKeyBody | ResignBody | AnnulBody,
        view: View,
        now: Moment,
        store: ActSet,
    ) -> Act:
        pens = Pens(view, self._rng, now, store, rates=self._rates)
        pen = pens.of(issuer)
        act = sign_act(pen.place(issuer, pen.next_hlc(now)), kind, body, [issuer.signer])
        pen.note(act)
        pens.keep()
        return act


def _kept_heads(command: Revoke, view: View) -> tuple[bytes, ...]:
    """The last acts of the key's chains that stay: of all that is here, or of what had arrived before
    something. The order of arrival is this node's own, so no date that a thief writes changes it.
    """
    if command.since is None:
        return view.heads_of(command.pid)
    heads: dict[bytes, tuple[int, bytes]] = {}
    for act_id in takewhile(lambda one: one != command.since, view.act_ids()):
        admitted = view.admitted(act_id)
        assert admitted is not None
        place = admitted.place
        if place.author == command.pid:
            heads[place.chain] = max(heads.get(place.chain, (0, b"")), (place.seq, act_id))
    return tuple(sorted(act_id for _, act_id in heads.values()))


def _reaches(issuer: Issuer, grant: Grant) -> bool:
    """Whether a revocation by this issuer hits a grant (authority-rules.md 6)."""
    if issuer.level == LEVEL_INVITING_MEMBER:
        return grant.author == issuer.signer.public.pid and grant.level > issuer.level
    return issuer.level <= LEVEL_ADMIN_MAX and grant.level > issuer.level


def _too_senior(issuer: Issuer, target: Grant) -> RuleError:
    if issuer.level > LEVEL_ADMIN_MAX:
        return RuleError(
            "not-authorized",
            "only administrators remove members, and inviting members those whom they admitted",
            hint="ask an administrator: peerd member list GROUP",
        )
    why = "equals cannot remove each other" if target.level == issuer.level else "it is the more senior one"
    if target.level <= LEVEL_ROOT + 1:
        hint = f"the group's root can: peerd member revoke GROUP {target.peer_name} --as-root"
    else:
        hint = "an administrator of a smaller level can: peerd member list GROUP"
    return RuleError(
        "not-authorized",
        f"the member has level {target.level}, and this credential level {issuer.level}: {why}",
        hint=hint,
    )
