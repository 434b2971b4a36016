"""Which acts belong to the set at all: the static rules, judged from an act and the acts that it names by
hash.

Admission ("eligible" in authority-rules.md, rule 1) looks at ancestors only. Ancestors are named by hash, so
every node that has them decides the same, whatever arrived when; what revocations do to an admitted act is
the view's business and changes nothing here. The verdict is a value: honest neighbors may relay what this
node cannot admit yet.

Not looked at, on purpose: the clock (an act from the future is quarantined by the machine, which is a delay
and no verdict), the targets of `despite`, `renews`, `adopts`, `keep` and ANNUL (they may be absent), and
siblings (all branches of a fork are admitted, so that the fork shows).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from protocol.authority.acts import Act, Place
from protocol.authority.bodies import Kind, RotateRootBody, level_max_for
from protocol.authority.grants import Grant, read_untrusted_grant
from protocol.authority.root import (
    Root,
    is_genesis,
    operating_keys,
    operating_pids,
    read_untrusted_genesis,
    revealed_commitment,
)
from protocol.authority.root_certificates import GroupFacts, are_in_order, certifies
from protocol.credentials.certificates import Certificate, decode_untrusted_certificate
from protocol.credentials.keys import public_key_untrusted
from protocol.credentials.names import check_friendly_name
from protocol.credentials.roles import may_issue, roles_fit_level, roles_well_formed
from protocol.errors import RemoteProtocolError, RuleError
from protocol.ids import split_ids
from protocol.limits import CHAIN_CERTIFICATES_MAX, LEVEL_ROOT
from protocol.peer_time import hlc_s


@dataclass(frozen=True, slots=True)
class Admitted:
    """What later acts need of an admitted one: `grant` is set for a GRANT, `root` for a ROTATE_ROOT.

    `line` are the pids of the keys that its chain of certificates certifies: of a GRANT the root's key that
    signed the certificate below it, then those of the subjects down to its own; of other kinds none.
    """

    id: bytes
    place: Place
    kind: int
    grant: Grant | None = None
    root: Root | None = None
    line: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Valid:
    """The act belongs to the set."""

    admitted: Admitted


@dataclass(frozen=True, slots=True)
class Invalid:
    """The act never belongs to the set, on no node; `reason` names the rule."""

    reason: str


@dataclass(frozen=True, slots=True)
class Deferred:
    """The verdict waits for these acts (ids of 32 bytes)."""

    missing: tuple[bytes, ...]


Verdict = Valid | Invalid | Deferred


class Known(Protocol):
    """The acts admitted so far."""

    @property
    def gid(self) -> bytes:
        """The group."""

    def admitted(self, act_id: bytes) -> Admitted | None:
        """An admitted act, or None."""


@dataclass(frozen=True, slots=True)
class Case:
    """One act before the rules, with the ancestors that it names."""

    act: Act
    gid: bytes
    prev: Admitted | None
    cred: Admitted | None
    grant: Grant | None

    @property
    def place(self) -> Place:
        """The act's place."""
        return self.act.place


Rule = Callable[[Case], str | None]


def admit(act: Act, known: Known) -> Verdict:
    """Judge an act whose signatures hold. The same set of ancestors gives the same verdict, everywhere and
    for ever.
    """
    if act.place.gid != known.gid:
        return Invalid("wrong_group")
    named = (act.place.prev, act.place.cred)
    missing = tuple(dict.fromkeys(i for i in named if i is not None and known.admitted(i) is None))
    if missing:
        return Deferred(missing)
    try:
        case = _case(act, known)
        reason = next((r for rule in rules_for(act) if (r := rule(case)) is not None), None)
        if reason is not None:
            return Invalid(reason)
        return Valid(admitted_of(case))
    except RemoteProtocolError as error:
        return Invalid(f"malformed: {error.detail}")


def _case(act: Act, known: Known) -> Case:
    prev = None if act.place.prev is None else known.admitted(act.place.prev)
    cred = None if act.place.cred is None else known.admitted(act.place.cred)
    grant = read_untrusted_grant(act) if act.kind == Kind.GRANT else None
    return Case(act, known.gid, prev, cred, grant)


def admitted_of(case: Case) -> Admitted:
    """What remains of a case that broke no rule. Raises: RemoteProtocolError for a malformed root."""
    act, root = case.act, _root_of(case)
    line = () if case.grant is None else (*_above(case), case.grant.pid)
    return Admitted(act.id, act.place, act.kind, case.grant, root, line)


def _root_of(case: Case) -> Root | None:
    body = case.act.body
    if not isinstance(body, RotateRootBody):
        return None
    if is_genesis(case.act):
        return read_untrusted_genesis(case.act)
    assert case.cred is not None
    assert case.cred.root is not None
    return replace(
        case.cred.root,
        version=case.cred.root.version + 1,
        rotation=case.act.id,
        operating=operating_pids(body),
        threshold=body.threshold,
        commitment=body.next,
        keys=operating_keys(body),
        certificates=tuple((one.key.pid, one.der) for one in _certificates(body)),
        kept=body.kept,
    )


def rules_for(act: Act) -> tuple[Rule, ...]:
    """The rules that an act must pass, in order; a genesis has its own (root.py), applied when it is read."""
    if is_genesis(act):
        return ()
    return CHAIN_RULES + credential_rules_for(act)


def credential_rules_for(act: Act) -> tuple[Rule, ...]:
    """The rules that need `cred` alone; an evidence bundle, which carries no `prev`, is judged by these."""
    own = _OWN_RULES.get(act.kind, ())
    return (ROOT_RULES if act.place.level == LEVEL_ROOT else MEMBER_RULES) + own


# --- chains of acts -----------------------------------------------------------------------------------------


def first_act_has_no_prev(case: Case) -> str | None:
    """seq 1 begins a chain, every other act follows one."""
    return None if (case.place.seq == 1) == (case.prev is None) else "first_act_has_no_prev"


def prev_is_same_chain(case: Case) -> str | None:
    """The act before is by the same author from the same store."""
    if case.prev is None:
        return None
    before = case.prev.place
    return (
        None
        if (before.author, before.chain) == (case.place.author, case.place.chain)
        else "prev_is_same_chain"
    )


def seq_follows_prev(case: Case) -> str | None:
    """Numbers leave no gap."""
    return None if case.prev is None or case.place.seq == case.prev.place.seq + 1 else "seq_follows_prev"


def hlc_rises_along_prev(case: Case) -> str | None:
    """An author's time goes forward in a chain."""
    return None if case.prev is None or case.place.hlc > case.prev.place.hlc else "hlc_rises_along_prev"


# --- under which credential ---------------------------------------------------------------------------------


def cred_is_grant_to_author(case: Case) -> str | None:
    """`cred` is a GRANT to the act's author …"""
    grant = case.cred.grant if case.cred is not None else None
    return None if grant is not None and grant.pid == case.place.author else "cred_is_grant_to_author"


def cred_gives_the_level(case: Case) -> str | None:
    """… at exactly the act's level."""
    grant = case.cred.grant if case.cred is not None else None
    return None if grant is not None and grant.level == case.place.level else "cred_gives_the_level"


def hlc_inside_cred(case: Case) -> str | None:
    """The act is dated inside the credential's window."""
    grant = case.cred.grant if case.cred is not None else None
    return None if grant is not None and grant.window.holds(hlc_s(case.place.hlc)) else "hlc_inside_cred"


def kind_allowed_for_level(case: Case) -> str | None:
    """The range of the kind's code names the most junior level that may sign it."""
    return None if case.place.level <= level_max_for(case.act.kind) else "kind_allowed_for_level"


def threshold_of_operating_keys(case: Case) -> str | None:
    """`cred` is a root version, and enough distinct keys of its operating set signed, and nobody else; a
    rotation has rules of its own.
    """
    if case.act.kind == Kind.ROTATE_ROOT:
        return None
    root = case.cred.root if case.cred is not None else None
    if root is None:
        return "threshold_of_operating_keys"
    known = all(pid in root.operating for pid in case.act.signers)
    return None if known and len(case.act.signers) >= root.threshold else "threshold_of_operating_keys"


# --- grants -------------------------------------------------------------------------------------------------


def _granted(case: Case) -> Grant:
    assert case.grant is not None
    return case.grant


def _above(case: Case) -> tuple[bytes, ...]:
    """The line of the credential that a grant is made under."""
    if case.cred is None:
        return ()
    return case.cred.line if case.cred.root is None else root_line(case.cred.root, case.act.signers)


def root_line(root: Root, signers: Sequence[bytes]) -> tuple[bytes, ...]:
    """The pid of the operating key that signs the certificates which these `signers` (ascending pids) grant:
    the first of them; under genesis the root's first key, which alone has a certificate there.
    """
    return (root.grc.pid,) if root.version == 1 else tuple(signers[:1])


def grant_level_is_junior(case: Case) -> str | None:
    """Nobody grants their own level or a smaller one, and inviting members grant members only."""
    return None if may_issue(case.place.level, _granted(case).level) else "grant_level_is_junior"


def grant_roles_fit_level(case: Case) -> str | None:
    """The roles are listed once each, ascending, and the most senior one has the level's band."""
    grant = _granted(case)
    return (
        None
        if roles_well_formed(grant.roles) and roles_fit_level(grant.roles, grant.level)
        else "grant_roles_fit_level"
    )


def grant_window_is_a_period(case: Case) -> str | None:
    """It ends after it starts."""
    window = _granted(case).window
    return None if window.start < window.end else "grant_window_is_a_period"


def grant_window_within_issuers(case: Case) -> str | None:
    """A credential lies inside its issuer's, or inside the root certificate's: else no chain of theirs would
    be good.
    """
    assert case.cred is not None
    above = case.cred.grant or case.cred.root
    inside = above is not None and _granted(case).window.within(above.window)
    return None if inside else "grant_window_within_issuers"


def grant_line_has_room(case: Case) -> str | None:
    """A chain of certificates has 25 at most; a longer one could be shown to nobody."""
    return None if len(_above(case)) < CHAIN_CERTIFICATES_MAX else "grant_line_has_room"


def grant_subject_is_not_above(case: Case) -> str | None:
    """Nobody is granted anything by those whom they have admitted, and the root's key is no member.

    Guards: a chain of certificates with one key in it twice is refused, so such a grant would only get in the
    way of a good one.
    """
    return "grant_subject_is_not_above" if _granted(case).pid in _above(case) else None


def grant_friendly_name_is_text(case: Case) -> str | None:
    """The friendly name is printable text."""
    try:
        check_friendly_name(_granted(case).friendly_name)
    except RuleError:
        return "grant_friendly_name_is_text"
    return None


# --- rotations ----------------------------------------------------------------------------------------------


def _rotation(case: Case) -> RotateRootBody:
    assert isinstance(case.act.body, RotateRootBody)
    return case.act.body


def rotation_reveals_the_recovery_set(case: Case) -> str | None:
    """`cred` is the root version before, and the revealed set is the one that it committed to."""
    root, body = (case.cred.root if case.cred is not None else None), _rotation(case)
    if root is None:
        return "rotation_reveals_the_recovery_set"
    revealed = revealed_commitment(body.revealed, body.revealed_threshold)
    return (
        None
        if revealed == root.commitment and body.from_version == root.version
        else "rotation_reveals_the_recovery_set"
    )


def rotation_is_signed_by_recovery_keys(case: Case) -> str | None:
    """Its threshold of distinct revealed keys signed; operating keys may sign besides."""
    body = _rotation(case)
    revealed = tuple(public_key_untrusted(raw).pid for raw in split_ids(body.revealed))
    signed = sum(1 for pid in case.act.signers if pid in revealed)
    return None if signed >= max(1, body.revealed_threshold) else "rotation_is_signed_by_recovery_keys"


def rotation_uses_up_the_recovery_set(case: Case) -> str | None:
    """No revealed key becomes an operating one.

    Guards: the thief of such an operating key could sign this rotation again, with a commitment of his own,
    and win by grinding a smaller id.
    """
    body = _rotation(case)
    revealed = split_ids(body.revealed)
    reused = any(raw in revealed for raw in split_ids(body.operating))
    return "rotation_uses_up_the_recovery_set" if reused else None


def rotation_changes_the_operating_set(case: Case) -> str | None:
    """The keys that are replaced do not stay in office."""
    root, new = (case.cred.root if case.cred is not None else None), operating_pids(_rotation(case))
    return None if root is not None and new != root.operating else "rotation_changes_the_operating_set"


def _certificates(body: RotateRootBody) -> list[Certificate]:
    return [decode_untrusted_certificate(der) for der in body.certificates]


def rotation_certifies_its_own_keys(case: Case) -> str | None:
    """Its root certificates are of operating keys that it installs, ascending, one for a key at most, and say
    what follows from genesis and nothing else.

    Guards: a chain of certificates that begins with a key which signs nothing, or outlives the group's own.
    """
    root, body = (case.cred.root if case.cred is not None else None), _rotation(case)
    certificates, operating = _certificates(body), operating_keys(body)
    fit = root is not None and all(
        one.key in operating and certifies(GroupFacts.of(root), one, one.key) for one in certificates
    )
    return None if fit and are_in_order(certificates) else "rotation_certifies_its_own_keys"


CHAIN_RULES: tuple[Rule, ...] = (
    first_act_has_no_prev,
    prev_is_same_chain,
    seq_follows_prev,
    hlc_rises_along_prev,
)
MEMBER_RULES: tuple[Rule, ...] = (
    cred_is_grant_to_author,
    cred_gives_the_level,
    hlc_inside_cred,
    kind_allowed_for_level,
)
ROOT_RULES: tuple[Rule, ...] = (threshold_of_operating_keys,)
GRANT_RULES: tuple[Rule, ...] = (
    grant_level_is_junior,
    grant_roles_fit_level,
    grant_window_is_a_period,
    grant_window_within_issuers,
    grant_line_has_room,
    grant_subject_is_not_above,
    grant_friendly_name_is_text,
)
ROTATION_RULES: tuple[Rule, ...] = (
    rotation_reveals_the_recovery_set,
    rotation_is_signed_by_recovery_keys,
    rotation_uses_up_the_recovery_set,
    rotation_changes_the_operating_set,
    rotation_certifies_its_own_keys,
)
_OWN_RULES: dict[int, tuple[Rule, ...]] = {Kind.GRANT: GRANT_RULES, Kind.ROTATE_ROOT: ROTATION_RULES}
