"""Root acts prepared: what somebody wants of the root, checked by the rules and put into a draft.

Preparing needs a view of the group and no private key; signing needs a private key and no view
(root_drafts.py). Where the keys are on one machine both happen in one call of the machine
(machines/events.py, RotateRoot).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, assert_never

import msgspec

from protocol.authority.acts import Place, content_of
from protocol.authority.admission import Valid, admit
from protocol.authority.bodies import (
    AnnulBody,
    Body,
    Kind,
    RevokeCredentialBody,
    RevokeKeyBody,
    RotateRootBody,
)
from protocol.authority.issuers import Standing, check_certified, check_clock, check_ready
from protocol.authority.issuing import IssueRequest, grant_body, plan_for
from protocol.authority.kept import KeptTree
from protocol.authority.properties import changed_properties
from protocol.authority.root import Root, commitment_of
from protocol.authority.root_certificates import GroupFacts, certifies
from protocol.authority.root_documents import RootDocument
from protocol.authority.root_drafts import RootDraft, RootVersion
from protocol.authority.view import View
from protocol.credentials.keys import PublicKey
from protocol.errors import RuleError
from protocol.ids import CHAIN_BYTES
from protocol.limits import KEEP_IDS_MAX, LEVEL_ROOT, ROOT_KEYS_MAX
from protocol.peer_time import Moment, next_hlc


@dataclass(frozen=True, slots=True)
class RecoverySet:
    """Public keys, `threshold` of which may sign the next rotation; ascending by raw key, each once."""

    keys: tuple[PublicKey, ...]
    threshold: int

    @classmethod
    def of(cls, keys: Sequence[PublicKey], threshold: int = 1) -> RecoverySet:
        """The set of these keys. Raises: RuleError("invalid-argument")."""
        ordered = tuple(sorted(keys))
        _check_set("recovery", ordered, threshold)
        return cls(ordered, threshold)

    @property
    def commitment(self) -> bytes:
        """What a root version publishes of it (32 bytes)."""
        return commitment_of(self.keys, self.threshold)


@dataclass(frozen=True, slots=True)
class GrantWish:
    """A credential by the root; the request is stored, and no replacement (prepare a revocation for that)."""

    request: IssueRequest


@dataclass(frozen=True, slots=True)
class RevokeWish:
    """A removal by the root; fields as in machines/events.py, Revoke. With `data` "manifest" the hash of a
    published list is given.
    """

    pid: bytes
    for_ever: bool = False
    reason: str = ""
    data: str = "time"
    until: int | None = None
    manifest: bytes | None = None


@dataclass(frozen=True, slots=True)
class AnnulWish:
    """An act (id of 32 bytes) taken back by the root."""

    act_id: bytes


@dataclass(frozen=True, slots=True)
class PropertiesWish:
    """Changed properties; the keys are fields of PropertiesBody."""

    changes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RotateWish:
    """Another root. `documents` introduce the new operating keys, of which `threshold` are to sign;
    `revealed` is the recovery set that the present version committed to, `recovery` the next one.

    All that the present root signed goes on counting, as far as it is known here, but for what is dated after
    `keep_until` (seconds UTC) and for the acts `without` (ids) with all that follows them in their chains. A
    thief dates his acts as he likes: where one of his is older than that second, it is named in `without`.
    """

    documents: tuple[RootDocument, ...]
    revealed: RecoverySet
    recovery: RecoverySet
    threshold: int = 1
    without: tuple[bytes, ...] = ()
    keep_until: int | None = None


RootWish = GrantWish | RevokeWish | AnnulWish | PropertiesWish | RotateWish


def prepare(
    view: View,
    wish: RootWish,
    signers: Sequence[bytes],
    chain: bytes,
    now: Moment,
    *,
    trust_clock: bool = False,
) -> RootDraft:
    """Prepare an act of the root, dated now. `signers` are the pids of the keys that will sign it: operating
    keys, for a rotation recovery keys and any operating keys that agree to it (then it wins over a rival that
    has no such agreement). None are named: the first keys that suffice. `chain` is 16 fresh random bytes.

    Raises: RuleError, among others "no-key-access" for signers that are none or too few.
    """
    assert len(chain) == CHAIN_BYTES
    root = check_ready(view)
    if not trust_clock:
        check_clock(view, now)
    hlc = next_hlc(now.utc_ms, 0)
    match wish:
        case RotateWish():
            return _prepare_rotation(view, wish, signers, chain, hlc)
        case PropertiesWish():
            hlc = next_hlc(now.utc_ms, view.properties_hlc)  # of two, the later one counts
            said = changed_properties(view.properties, wish.changes)
            return _draft(view, root, _signers(root, signers), chain, hlc, Kind.PROPERTIES, said)
        case GrantWish():
            keys = _signers(root, signers)
            return _draft(view, root, keys, chain, hlc, Kind.GRANT, _granting(view, root, keys, wish, hlc))
        case RevokeWish():
            kind = Kind.REVOKE_KEY if wish.for_ever else Kind.REVOKE_CREDENTIAL
            return _draft(view, root, _signers(root, signers), chain, hlc, kind, _revoking(view, wish))
        case AnnulWish():
            body = _annulling(view, wish)
            return _draft(view, root, _signers(root, signers), chain, hlc, Kind.ANNUL, body)
        case _:
            assert_never(wish)


def _draft(
    view: View, root: Root, keys: Sequence[PublicKey], chain: bytes, hlc: int, kind: Kind, body: Body
) -> RootDraft:
    """Put an act into a draft. Raises: RuleError when no node would admit it."""
    place = Place(root.gid, root.gid, chain, 1, None, LEVEL_ROOT, root.rotation, hlc)
    fields = msgspec.to_builtins(body, builtin_types=(bytes,))
    draft = RootDraft(
        group=GroupFacts.of(root),
        root=RootVersion(root.version, root.rotation, root.keys, root.threshold),
        signers=tuple(keys),
        content=content_of(place, kind, fields, [key.pid for key in keys]),
    )
    verdict = admit(draft.act, view)
    if not isinstance(verdict, Valid):
        raise RuleError(
            "invalid-argument", f"no node would take such an act: {verdict}", hint="peerd root show GROUP"
        )
    return draft


def _signers(root: Root, pids: Sequence[bytes]) -> list[PublicKey]:
    """The operating keys that are to sign, by ascending pid. Raises: RuleError("no-key-access")."""
    known = {key.pid: key for key in root.keys}
    chosen = sorted(set(pids)) if pids else sorted(known)[: root.threshold]
    if any(pid not in known for pid in chosen):
        raise _no_signer("a key that is to sign is none of the group's root")
    if len(chosen) < root.threshold:
        raise _no_signer(f"the group's root signs with {root.threshold} keys, and {len(chosen)} are named")
    return [known[pid] for pid in chosen]


def _no_signer(detail: str) -> RuleError:
    return RuleError("no-key-access", detail, hint="peerd root show GROUP lists the keys of the root")


def _granting(view: View, root: Root, keys: Sequence[PublicKey], wish: GrantWish, hlc: int) -> Body:
    request = wish.request
    if request.replace or not request.store:
        raise RuleError(
            "invalid-argument",
            "a prepared credential is stored in the group, and takes nothing away",
            hint="add --store; to take the present one away first: peerd root prepare --help",
        )
    check_certified(root, keys[0])
    standing = Standing.of_root(root, [key.pid for key in keys])
    return grant_body(plan_for(view, standing, request, hlc), bytes(32))


def _revoking(view: View, wish: RevokeWish) -> Body:
    heads = view.heads_of(wish.pid)
    grants = [one for one in view.grants_ever(wish.pid) if view.is_effective(one.act_id)]
    if not grants:
        raise RuleError(
            "identity-not-found",
            "this key has no credential of the group",
            hint="peerd member list GROUP shows whom there is",
        )
    if not wish.for_ever and all(view.hits_of(one.act_id) for one in grants):
        raise RuleError(
            "already-exists",
            "what this key was granted has been revoked already",
            hint="peerd audit GROUP shows by whom; to ban the key for ever: --key",
        )
    if len(heads) > KEEP_IDS_MAX or (wish.data == "manifest") != (wish.manifest is not None):
        raise RuleError(
            "invalid-argument",
            "the revocation would name more chains than it can, or has no list of the records that stay",
            hint="say what becomes of the records: --data time, or --data drop",
        )
    body = RevokeKeyBody if wish.for_ever else RevokeCredentialBody
    return body(
        key=grants[0].key.raw,
        keep=b"".join(heads),
        until=wish.until,
        reason=wish.reason,
        data=wish.data,
        manifest=wish.manifest,
    )


def _annulling(view: View, wish: AnnulWish) -> Body:
    act = view.admitted(wish.act_id)
    if act is None:
        raise RuleError("invalid-argument", "there is no such act here", hint="peerd audit GROUP lists them")
    if act.place.level == LEVEL_ROOT:
        raise RuleError(
            "not-authorized",
            "the root signed this act itself, and annuls what others signed",
            hint="to leave it out: peerd root rotate GROUP --with FILE --without ACT",
        )
    return AnnulBody(act=wish.act_id)


# --- rotations ----------------------------------------------------------------------------------------------


def _prepare_rotation(
    view: View, wish: RotateWish, signers: Sequence[bytes], chain: bytes, hlc: int
) -> RootDraft:
    root = _version_revealed(view, wish)
    documents = sorted(wish.documents, key=lambda one: one.key)
    operating = [document.key for document in documents]
    _check_rotation(root, wish, documents)
    heads, kept = view.cut_of_root(root.rotation, _without(view, root, wish), wish.keep_until)
    body = RotateRootBody(
        from_version=root.version,
        operating=_joined(operating),
        threshold=wish.threshold,
        next=wish.recovery.commitment,
        certificates=[document.certificate.der for document in documents],
        revealed=_joined(wish.revealed.keys),
        revealed_threshold=wish.revealed.threshold,
        keep=b"".join(heads),
        kept=KeptTree(kept).root,
    )
    keys = _rotation_signers(root, wish, signers)
    draft = _draft(view, root, keys, chain, hlc, Kind.ROTATE_ROOT, body)
    if not view.would_count(draft.act):
        raise RuleError(
            "root-changed",
            "the root has been replaced already, and this rotation would not win over that one",
            hint="let the keys that were replaced sign it too, or use the recovery keys of the present root",
        )
    return draft


def _version_revealed(view: View, wish: RotateWish) -> Root:
    """The version that committed to the revealed set; an earlier one than the last if somebody else has
    replaced it.
    """
    found = (root for root in reversed(view.roots) if root.commitment == wish.revealed.commitment)
    root = next(found, None)
    if root is None:
        raise RuleError(
            "not-authorized",
            "these are not the recovery keys that the group's root committed to",
            hint="peerd root show GROUP; the keys were written down when the root was last replaced",
        )
    return root


def _check_rotation(root: Root, wish: RotateWish, documents: Sequence[RootDocument]) -> None:
    operating = [document.key for document in documents]
    _check_set("operating", operating, wish.threshold)
    facts = GroupFacts.of(root)
    if not all(certifies(facts, one.certificate, one.key) for one in documents):
        raise _refused("a root document was made for another group")
    if {*wish.revealed.keys} & {*operating, *wish.recovery.keys}:
        raise _refused("a recovery key signs once: those that sign this rotation are used up by it")
    if {*operating} & {*wish.recovery.keys}:
        raise _refused("a key cannot sign for the root and also replace it")
    if {key.pid for key in operating} == {*root.operating}:
        raise _refused("these keys are the root's already")


def _check_set(what: str, keys: Sequence[PublicKey], threshold: int) -> None:
    if not 1 <= len(keys) <= ROOT_KEYS_MAX or any(a == b for a, b in pairwise(keys)):
        raise _refused(f"the {what} keys are 1 to {ROOT_KEYS_MAX} different ones")
    if not 1 <= threshold <= len(keys):
        raise _refused(f"of {len(keys)} {what} keys, {threshold} cannot be the number that has to sign")


def _without(view: View, root: Root, wish: RotateWish) -> tuple[bytes, ...]:
    for act_id in wish.without:
        act = view.admitted(act_id)
        if act is None or act.place.cred != root.rotation or act.kind == Kind.ROTATE_ROOT:
            raise _refused("an act to be left out is none that the replaced root signed")
    return wish.without


def _rotation_signers(root: Root, wish: RotateWish, pids: Sequence[bytes]) -> list[PublicKey]:
    revealed = {key.pid: key for key in wish.revealed.keys}
    known = revealed | {key.pid: key for key in root.keys}
    chosen = sorted(set(pids)) if pids else sorted(revealed)[: wish.revealed.threshold]
    if any(pid not in known for pid in chosen):
        raise _no_signer("a key that is to sign is neither a recovery key nor one of the replaced root")
    if sum(pid in revealed for pid in chosen) < wish.revealed.threshold:
        raise _no_signer(f"a rotation is signed by {wish.revealed.threshold} recovery keys")
    return [known[pid] for pid in chosen]


def _joined(keys: Sequence[PublicKey]) -> bytes:
    return b"".join(key.raw for key in keys)


def _refused(detail: str) -> RuleError:
    return RuleError("invalid-argument", detail, hint="peerd root rotate --help")
