"""Issuing credentials: the rule set of PeerGroupIssueCredentials, as a pure function of the view, the issuer
and the request.

`plan_grant` decides and refuses, `write_grant` makes the act and its certificate. Nothing changes before both
are done, so a refused call leaves no trace. Each refusal has the original's name (windows-grouping.md 3.6,
"Preconditions and checks").

* Subject known, no info: a renewal with the same key, name, role, level and wanted duration, clamped to the
  issuer's end.
* Subject known, info given: what the info leaves open stays as it is.
* Subject unknown: info with the public key (an identity document) is needed.

Differs: a start in the info may lie in the future, and the issuer fields are not even accepted as arguments
here: the API ignores them. Lowering a level that holds now, or ending one sooner, is refused
(`needs-revocation`), as the older, better certificate would stay good, unless the request is to *replace* it:
then a revocation is signed before the grant. A grant to somebody who was removed names the removals that it
is to stand despite of; it is refused where it could not.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from protocol.authority.acts import Act, Place, sign_act
from protocol.authority.bodies import GrantBody, Kind
from protocol.authority.elements import Der, make_der
from protocol.authority.grants import Grant
from protocol.authority.issuers import Issuer, Standing, check_certified, root_issuer
from protocol.authority.view import View
from protocol.credentials.certificates import GmcFacts, serial_of, sign_gmc
from protocol.credentials.keys import PrivateKey, PublicKey
from protocol.credentials.names import PeerName, check_friendly_name
from protocol.credentials.roles import MEMBER, issues, level_for, may_issue, role_names
from protocol.errors import RuleError
from protocol.ids import authority_of
from protocol.limits import (
    BACKDATING_S,
    CHAIN_CERTIFICATES_MAX,
    DEFAULT_LIFE_S,
    DESPITE_IDS_MAX,
    END_OF_TIME_S,
    LEVEL_ADMIN_MAX,
)
from protocol.peer_time import Window, hlc_s

_DOCUMENT_HINT = "ask the subject for its document: peerd identity document"


@dataclass(frozen=True, slots=True)
class CredentialInfo:
    """What a caller wants changed; None leaves it as it is. Times are seconds UTC, `valid_s` a life in
    seconds from now.
    """

    friendly_name: str | None = None
    role: int | None = None
    not_before: int | None = None
    not_after: int | None = None
    valid_s: int | None = None


@dataclass(frozen=True, slots=True)
class IssueRequest:
    """One call. `key` comes from the subject's identity document; `info` None means renewal. `replace` takes
    what the subject holds away, so that the new credential may be a lesser one. `adopt` is the id of a void
    grant to the subject that the new credential stands in for, with all that the subject signed under it.
    """

    subject: PeerName
    key: PublicKey | None = None
    info: CredentialInfo | None = None
    store: bool = False
    invitation: bool = False
    as_root: bool = False
    trust_clock: bool = False
    replace: bool = False
    adopt: bytes | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A grant that the rules allow."""

    key: PublicKey
    name: PeerName
    friendly_name: str
    level: int
    roles: tuple[int, ...]
    window: Window
    wanted: int
    stored: bool
    renews: bytes | None
    despite: tuple[bytes, ...] = ()
    replaces: bool = False  # a revocation of what the subject holds comes first
    adopts: bytes | None = None
    keep: tuple[bytes, ...] = ()


def choose_issuer(
    view: View, own: PrivateKey, root: PrivateKey | None, request: IssueRequest, at_s: int
) -> Issuer:
    """Who signs: this member's current credential, or the group's root key on request."""
    if request.as_root:
        issuer = root_issuer(view.root, root)
        check_certified(view.root, issuer.signer.public)
        return issuer
    grant = view.current(own.public.pid, at_s)
    if grant is None:
        raise RuleError(
            "not-authorized",
            "this identity holds no credential of the group that is valid now",
            hint="peerd status",
        )
    return Issuer.member(own, grant)


def plan_grant(view: View, issuer: Issuer, request: IssueRequest, hlc: int) -> Plan:
    """Decide one issue at the act time `hlc`. Raises: RuleError under the slug of the check that refuses."""
    return plan_for(view, issuer.standing, request, hlc)


def plan_for(view: View, issuer: Standing, request: IssueRequest, hlc: int) -> Plan:
    """The same for whoever will sign, without the key. Raises: RuleError."""
    if not (request.store or request.invitation):
        raise RuleError(
            "invalid-argument",
            "neither stored nor returned as an invitation, the credential would be lost",
            hint="add --store, or --invitation FILE",
        )
    _check_issuer(issuer, hlc)
    now_s = hlc_s(hlc)
    base = _known_subject(view, request, now_s) if request.adopt is None else _adopted(view, request)
    key = _subject_key(base, request)
    _check_line(view, issuer, key)
    info = request.info or CredentialInfo()
    level, roles = _level_and_roles(issuer, base, info)
    window, wanted = _period(view, issuer, base, info, now_s)
    replaces = request.replace and base is not None
    if base is not None:
        _check_against(base, issuer, request, _Offer(level, window, info), now_s)
    plan = Plan(
        key=key,
        name=request.subject,
        friendly_name=_friendly_name(base, info),
        level=level,
        roles=roles,
        window=window,
        wanted=wanted,
        stored=request.store,
        renews=_renewed(base, level, request),
        replaces=replaces,
        adopts=request.adopt,
        keep=view.heads_of(key.pid) if request.adopt is not None else (),
    )
    return replace(plan, despite=_despite(view, issuer, plan))


def _check_issuer(issuer: Standing, hlc: int) -> None:
    if not issues(issuer.level):
        raise RuleError(
            "not-authorized",
            "a plain member may not issue credentials",
            hint="ask an administrator: peerd member list GROUP",
        )
    if not issuer.window.holds(hlc_s(hlc)):
        raise RuleError(
            "not-authorized", "the issuer's own credential is not valid at this time", hint="peerd status"
        )


def _known_subject(view: View, request: IssueRequest, now_s: int) -> Grant | None:
    """The subject's credential that the call starts from: the current one, else the last one there was."""
    pid = view.pid_of(request.subject.authority)
    base = None if pid is None else view.current(pid, now_s) or view.latest(pid)
    if base is not None and request.key is None and base.peer_name != request.subject:
        raise RuleError(
            "identity-not-found",
            f"{request.subject} is not known here, but the same key is known as {base.peer_name}",
            hint="use that name, or give the identity document that holds the new one: --document FILE",
        )
    return base


def _subject_key(base: Grant | None, request: IssueRequest) -> PublicKey:
    if request.key is not None and authority_of(request.key.pid) != request.subject.authority:
        raise RuleError(
            "key-mismatch",
            f"the document's key is not the key of {request.subject}",
            hint=_DOCUMENT_HINT,
        )
    if base is not None:
        if request.key is not None and request.key.raw != base.key.raw:
            raise RuleError(
                "key-mismatch",
                f"{request.subject} is known with another key; a credential never changes its subject's key",
                hint=_DOCUMENT_HINT,
            )
        return base.key
    if request.info is None and request.key is None:
        raise RuleError(
            "identity-not-found",
            f"no credential of {request.subject} is known here, so there is nothing to renew",
            hint="give the subject's identity document: --document FILE",
        )
    if request.key is None:
        raise RuleError(
            "invalid-credential-info",
            f"{request.subject} is not known here, so its public key is needed",
            hint="give the subject's identity document: --document FILE",
        )
    return request.key


def _check_line(view: View, issuer: Standing, key: PublicKey) -> None:
    """The keys above the subject's are others, and few enough for one more certificate below them."""
    line = issuer.line(view)
    if key.pid in line:
        raise RuleError(
            "circular-chain",
            "the subject is the issuer, or among those from whom the issuer has its own credential",
            hint="somebody more senior, or the root (--as-root), can renew it",
        )
    if len(line) >= CHAIN_CERTIFICATES_MAX:
        raise RuleError(
            "chain-too-long",
            f"the issuer's own chain has {len(line)} certificates, and no chain has more",
            hint="let an administrator nearer to the creator issue this credential",
        )


def _level_and_roles(
    issuer: Standing, base: Grant | None, info: CredentialInfo
) -> tuple[int, tuple[int, ...]]:
    if info.role is None and base is not None:
        level, roles = base.level, base.roles
    else:
        role = MEMBER if info.role is None else info.role
        level, roles = level_for(role, issuer.level), (role,)
        # Asking for the role that the subject has keeps its seniority, unless the issuer can give more.
        if base is not None and base.roles == roles:
            level = min(level, base.level)
    if not may_issue(issuer.level, level):
        raise RuleError(
            "not-authorized",
            f"a credential of level {issuer.level} may not issue one of level {level} ({_said(roles)})",
            hint="ask somebody more senior: peerd member list GROUP",
        )
    return level, roles


def _said(roles: tuple[int, ...]) -> str:
    return ", ".join(role_names(roles))


def _friendly_name(base: Grant | None, info: CredentialInfo) -> str:
    if info.friendly_name is not None:
        return check_friendly_name(info.friendly_name)
    return "" if base is None else base.friendly_name


def _period(
    view: View, issuer: Standing, base: Grant | None, info: CredentialInfo, now_s: int
) -> tuple[Window, int]:
    """The window and the wanted life. A life counts from the act; the start lies a little before it, for
    clocks that lag.
    """
    start = _start(issuer, base, info, now_s)
    end, wanted = _end(view, issuer, base, info, now_s)
    if end <= max(start, now_s):
        raise RuleError(
            "invalid-time-period",
            "the credential would end before it begins, or has ended already",
            hint="give a later end, or a longer life: --valid 90d",
        )
    return Window(start, end), wanted


def _start(issuer: Standing, base: Grant | None, info: CredentialInfo, now_s: int) -> int:
    after = -1 if base is None else base.window.start
    if info.not_before is None:
        return max(now_s - BACKDATING_S, issuer.window.start, after + 1)
    if info.not_before <= after:
        raise RuleError(
            "invalid-time-period",
            "the start must be later than the start of the subject's current credential",
            hint="leave the start out, or give a later one",
        )
    if info.not_before < issuer.window.start:
        raise RuleError(
            "invalid-time-period",
            "the start lies before the start of the issuer's own credential",
            hint="leave the start out, or give a later one",
        )
    return info.not_before


def _end(
    view: View, issuer: Standing, base: Grant | None, info: CredentialInfo, now_s: int
) -> tuple[int, int]:
    """The last second, and the life in seconds that was wanted (0: as long as possible)."""
    if info.not_after is not None and info.valid_s is not None:
        raise RuleError(
            "invalid-argument",
            "an end and a duration are given",
            hint="give one of them: --not-after, or --valid",
        )
    if info.not_after is not None or info.valid_s is not None:
        end = info.not_after if info.not_after is not None else now_s + (info.valid_s or 0)
        if end > issuer.window.end:
            raise RuleError(
                "invalid-time-period",
                "the credential would outlive the issuer's own",
                hint="leave the end out to get the longest life that the issuer can give",
            )
        return end, max(0, end - now_s)
    wanted = base.wanted if base is not None else (view.properties.default_life or DEFAULT_LIFE_S)
    return min(issuer.window.end, now_s + wanted if wanted else END_OF_TIME_S), wanted


def _check_takes_nothing_away(current: Grant, level: int, window: Window, info: CredentialInfo) -> None:
    """The subject's current credential stays good beside whatever is issued; a lesser one must not seem to
    take something away.
    """
    if level > current.level:
        raise RuleError(
            "needs-revocation",
            f"the subject is {_said(current.roles)} at level {current.level}; a lower one takes nothing away",
            hint="take the better one away with it: --replace",
        )
    if level < current.level or window.end >= current.window.end:
        return
    if info.not_after is None and info.valid_s is None:
        raise RuleError(
            "invalid-time-period",
            "the issuer's own credential ends before the one that would be renewed",
            hint="renew the issuer's credential first, or let somebody with a longer one issue",
        )
    raise RuleError(
        "needs-revocation",
        "the subject holds a credential that ends later, and a shorter one would not take that away",
        hint="leave the period out, or take the longer one away with it: --replace",
    )


@dataclass(frozen=True, slots=True)
class _Offer:
    """What a request comes to: level and window, and the info that was given."""

    level: int
    window: Window
    info: CredentialInfo


def _check_against(base: Grant, issuer: Standing, request: IssueRequest, offer: _Offer, now_s: int) -> None:
    """Whether a new credential may stand beside, or in the place of, the one that it starts from."""
    if request.adopt is not None:
        if offer.level != base.level:
            raise RuleError(
                "invalid-role",
                "a credential that stands in for another has its level",
                hint="adopt it without a role, and change the role afterwards",
            )
    elif request.replace:
        _check_may_replace(issuer, base)
    elif base.window.holds(now_s):
        _check_takes_nothing_away(base, offer.level, offer.window, offer.info)


def _adopted(view: View, request: IssueRequest) -> Grant:
    """The void grant that is to be stood in for. Raises: RuleError(invalid-argument)."""
    admitted = None if request.adopt is None else view.admitted(request.adopt)
    grant = None if admitted is None else admitted.grant
    if grant is None or grant.key.authority != request.subject.authority:
        raise RuleError(
            "invalid-argument",
            "there is no such credential of this subject here",
            hint="peerd audit GROUP lists what was granted",
        )
    if view.is_effective(grant.act_id):
        raise RuleError(
            "already-exists",
            "the credential counts, so nothing has to stand in for it",
            hint="peerd credential show GROUP ID",
        )
    return grant


def _renewed(base: Grant | None, level: int, request: IssueRequest) -> bytes | None:
    if base is None or base.level != level or request.replace or request.adopt is not None:
        return None
    return base.act_id


def _check_may_replace(issuer: Standing, base: Grant) -> None:
    if issuer.level >= base.level or issuer.level > LEVEL_ADMIN_MAX:
        raise RuleError(
            "not-authorized",
            f"the subject is {_said(base.roles)} at level {base.level}, and this credential is of level"
            f" {issuer.level}: only a smaller level may take something away",
            hint="ask somebody more senior: peerd member list GROUP",
        )


def _despite(view: View, issuer: Standing, plan: Plan) -> tuple[bytes, ...]:
    """The removals that would hit the planned grant, for it to name. Raises: RuleError where that would not
    help.
    """
    grant = _planned(view, issuer, plan)
    hits = view.hits_on(grant, ())
    for hit in view.hits_on(grant, hits):
        if view.kind_of(hit) == Kind.REVOKE_KEY:
            raise RuleError(
                "not-authorized",
                "this key has been revoked for ever",
                hint="let the subject make a new identity: peerd identity create",
            )
        raise RuleError(
            "not-authorized",
            "the subject was removed by somebody more senior than this issuer",
            hint="ask them to take it back: peerd audit GROUP shows who it was",
        )
    if len(hits) > DESPITE_IDS_MAX:
        raise RuleError(
            "not-authorized",
            f"the subject was removed {len(hits)} times, and {DESPITE_IDS_MAX} are as many as can be excused",
            hint="annul removals that were mistakes: peerd audit GROUP lists them",
        )
    # Guards: who missed the renewals in between does not know that this one continues them.
    named = tuple(sorted({*hits, *view.hits_on(replace(grant, renews=None), ())}))
    return named if len(named) <= DESPITE_IDS_MAX else hits


def _planned(view: View, issuer: Standing, plan: Plan) -> Grant:
    """The planned grant as far as removals look at it."""
    return Grant(
        act_id=bytes(32),
        gid=view.gid,
        author=view.gid if issuer.grant is None else issuer.pid,
        author_level=issuer.level,
        chain=b"",
        seq=0,
        hlc=0,
        cred=issuer.cred,
        key=plan.key,
        peer_name=plan.name,
        friendly_name=plan.friendly_name,
        level=plan.level,
        roles=plan.roles,
        window=plan.window,
        wanted=plan.wanted,
        stored=plan.stored,
        der_hash=b"",
        renews=plan.renews,
    )


def write_grant(plan: Plan, issuer: Issuer, place: Place) -> tuple[Act, Der]:
    """Sign the certificate and the act that goes with it. `place` is the issuer's next place in its chain."""
    facts = GmcFacts(
        gid=place.gid,
        level=plan.level,
        roles=plan.roles,
        peer_name=str(plan.name),
        window=plan.window,
        serial=serial_of(place.author, place.chain, place.seq, plan.key.pid),
        subject=plan.key,
        issuer=issuer.signer.public,
        issuer_is_root=issuer.grant is None,
    )
    certificate = sign_gmc(facts, issuer.signer)
    body = grant_body(plan, hashlib.sha256(certificate.der).digest())
    act = sign_act(place, Kind.GRANT, body, [issuer.signer])
    return act, make_der(act.id, issuer.signer.public, certificate)


def grant_body(plan: Plan, der: bytes) -> GrantBody:
    """What the act of a planned grant says; `der` is the hash of its certificate (32 bytes)."""
    return GrantBody(
        key=plan.key.raw,
        name=str(plan.name),
        friendly=plan.friendly_name,
        level=plan.level,
        roles=list(plan.roles),
        start=plan.window.start,
        end=plan.window.end,
        wanted=plan.wanted,
        der=der,
        store=plan.stored,
        renews=plan.renews,
        despite=b"".join(sorted(plan.despite)),
        adopts=plan.adopts or b"",
        keep=b"".join(plan.keep),
    )
