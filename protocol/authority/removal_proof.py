"""Proofs of removal: what tells a removed key's own node that it has been removed, by whom and when.

To members a removed member is a stranger, who is told nothing. Without a word to the key itself its node
would see links that fail, and its user would never learn why. What proves a removal is the act
(REVOKE_CREDENTIAL, REVOKE_KEY or RESIGN) and what it was signed under: from genesis the rotations and the
grants down to the author's, by `cred`. Like an evidence bundle it carries no `prev`, is judged by the rules
that need `cred` alone, and enters no set. It carries no certificates, since it opens no link, so it is small.

A proof is the canonical map `{acts}`, the removal last. As it travels, the acts are left out that the removed
key has shown itself, in its own bundle.

It counts as long as nothing in the reader's own view speaks against it: no ANNUL of the removal, nothing that
takes away what it was signed under. Source: design section 7, "Pickup yields only grants whose subject is the
proved key"; this is the same for removals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta

from protocol.authority.acts import Act, decode_untrusted_act
from protocol.authority.admission import Admitted, Case, admitted_of, credential_rules_for
from protocol.authority.ancestry import Node
from protocol.authority.bodies import GrantBody, Kind, ResignBody, RevokeBody
from protocol.authority.bundle import Bundle
from protocol.authority.cuts import Claim, may_overrule, reaches
from protocol.authority.grants import Grant, read_untrusted_grant
from protocol.authority.root import Root, read_untrusted_genesis
from protocol.authority.view import View
from protocol.codec import decode_untrusted_struct, encode, prepared
from protocol.credentials.keys import PublicKey, SignatureCheck, public_key_untrusted
from protocol.errors import Fault, RemoteProtocolError
from protocol.ids import split_ids
from protocol.limits import ACT_BYTES_MAX, BUNDLE_ACTS_MAX, LEVEL_ROOT, REMOVAL_PROOF_BYTES_MAX


@prepared
class _Form(msgspec.Struct, frozen=True):
    acts: Annotated[
        list[Annotated[bytes, Meta(max_length=ACT_BYTES_MAX)]],
        Meta(min_length=1, max_length=BUNDLE_ACTS_MAX + 1),
    ]


@dataclass(frozen=True, slots=True)
class RemovalProof:
    """A proof whose form and nesting are checked; `checks()` are the signatures that must hold besides.

    `acts` begin with genesis and end with the removal, `path` are the grants among them; none for a removal
    by the root. `raw` has all of them, whatever came.
    """

    raw: bytes
    root: Root
    acts: tuple[Act, ...]
    path: tuple[Grant, ...]

    @property
    def gid(self) -> bytes:
        """The group that it speaks of (32 bytes)."""
        return self.root.gid

    @property
    def removal(self) -> Act:
        """The act that it proves."""
        return self.acts[-1]

    def checks(self) -> list[SignatureCheck]:
        """One signature for each signer of each act."""
        return [check for act in self.acts for check in act.checks()]


def decode_untrusted_removal_proof(
    raw: bytes, *, authority: bytes, key: PublicKey, shown: Sequence[Act] = ()
) -> RemovalProof:
    """Decode a proof from anywhere that `key` has been removed from the group whose id begins with
    `authority` (20 bytes, or all 32); `shown` are the acts of the bundle that the key has shown.

    Raises: RemoteProtocolError (MALFORMED, WRONG_GROUP, BAD_EVIDENCE …), and nothing else. The caller
    verifies `checks()`.
    """
    form = decode_untrusted_struct(raw, _Form, bytes_max=REMOVAL_PROOF_BYTES_MAX)
    acts = _completed([decode_untrusted_act(act) for act in form.acts], shown)
    root = read_untrusted_genesis(acts[0])
    if not root.gid.startswith(authority):
        raise RemoteProtocolError(Fault.WRONG_GROUP, "a removal from another group")
    if _removed_by(acts[-1]) != key.pid:
        raise _bad("a removal of another key than the proved one")
    path = tuple(one.grant for one in _admit_line(acts, root) if one.grant is not None)
    return RemovalProof(encode({"acts": [act.raw for act in acts]}), root, acts, path)


def _completed(acts: Sequence[Act], shown: Sequence[Act]) -> tuple[Act, ...]:
    """Put before the acts of a proof those from genesis down to what the first one was signed under."""
    known, line = {act.id: act for act in shown}, list(acts)
    while (above := line[0].place.cred) is not None:
        if above not in known:
            raise _bad("a proof begins with genesis, or below an act that was shown")
        line.insert(0, known.pop(above))
    return tuple(line)


def _removed_by(act: Act) -> bytes | None:
    """The pid of the key that an act removes. Raises: RemoteProtocolError."""
    if isinstance(act.body, ResignBody):
        return act.place.author
    return public_key_untrusted(act.body.key).pid if isinstance(act.body, RevokeBody) else None


def _admit_line(acts: Sequence[Act], root: Root) -> list[Admitted]:
    """Judge each act under the one before it, by the rules that need `cred` alone."""
    above = admitted_of(Case(acts[0], root.gid, None, None, None))
    line = [above]
    for act in acts[1:]:
        if act.place.gid != root.gid or act.place.cred != above.id:
            raise _bad("each act of a proof is signed under the one before it")
        grant = read_untrusted_grant(act) if act.kind == Kind.GRANT else None
        case = Case(act, root.gid, None, above, grant)
        reason = next((r for rule in credential_rules_for(act) if (r := rule(case)) is not None), None)
        if reason is not None:
            raise _bad(f"an act of the proof breaks the rule {reason}")
        above = admitted_of(case)
        line.append(above)
    return line


def _bad(detail: str) -> RemoteProtocolError:
    return RemoteProtocolError(Fault.BAD_EVIDENCE, detail)


def make_removal_proof(
    view: View, pid: bytes, shown: Bundle | None, raw_of: Callable[[bytes], bytes | None], *, bytes_max: int
) -> bytes:
    """The proof that a key has been removed, for the key itself, which has shown this bundle; b"" when it has
    not been, or when no proof is as short as that.

    `raw_of` reads an element's bytes by id.
    """
    known = frozenset(act.id for act in shown.acts) if shown is not None else frozenset()
    for act_id in _removals_of(view, pid, shown):
        acts = [raw_of(one) for one in _line_to(view, act_id) if one not in known]
        proof = encode({"acts": acts})
        if len(proof) <= bytes_max:
            return proof
    return b""


def _removals_of(view: View, pid: bytes, shown: Bundle | None) -> list[bytes]:
    """The removals that hit what a key has shown, else the latest that it was granted; the most senior
    first.
    """
    hits: tuple[bytes, ...] = ()
    if shown is not None:
        hits = view.hits_on(shown.leaf, _despite(shown.acts[-1]))
    if not hits:
        latest = max(view.grants_ever(pid), key=lambda grant: (grant.hlc, grant.act_id), default=None)
        hits = () if latest is None else view.hits_of(latest.act_id)
    places = [(one, admitted.place) for one in hits if (admitted := view.admitted(one)) is not None]
    return [one for one, _ in sorted(places, key=lambda pair: (pair[1].level, pair[1].hlc, pair[0]))]


def _line_to(view: View, act_id: bytes) -> list[bytes]:
    """The ids from genesis down to an act, by `cred`."""
    line = [act_id]
    while (above := view.admitted(line[-1])) is not None and above.place.cred is not None:
        line.append(above.place.cred)
    return line[::-1]


def _despite(act: Act) -> tuple[bytes, ...]:
    assert isinstance(act.body, GrantBody)
    return split_ids(act.body.despite)


# --- does it hold here? -------------------------------------------------------------------------------------


def is_in_force(view: View, proof: RemovalProof) -> bool:
    """Whether nothing in this view speaks against a removal, which need not have arrived here."""
    removal = proof.removal
    if proof.gid != view.gid:
        return False
    if view.admitted(removal.id) is not None:
        return view.is_effective(removal.id)
    if view.is_annulled(removal.id, removal.place.level):
        return False
    if removal.place.level == LEVEL_ROOT and not _is_last_root(view, removal):
        return False
    acts = proof.acts[-1 - len(proof.path) :]
    return all(
        _may_sign(view, grant, act) or view.is_effective(signed.id)
        for grant, act, signed in zip(proof.path, acts, acts[1:], strict=False)
    )


def _may_sign(view: View, grant: Grant, act: Act) -> bool:
    """Whether what is signed under a grant may count as far as this view goes."""
    if view.admitted(grant.act_id) is not None:
        return view.is_live(grant.act_id)
    if grant.author_level == LEVEL_ROOT and not _is_last_root(view, act):
        return False
    return not view.hits_on(grant, _despite(act))


def _is_last_root(view: View, act: Act) -> bool:
    """Whether the root that signed an act is the last one known here, or one that is not known here."""
    rotation = act.place.cred
    assert rotation is not None
    return view.admitted(rotation) is None or rotation == view.rotations[-1]


def takes_away(view: View, proof: RemovalProof, grant: Grant, shown: Bundle | None = None) -> bool:
    """Whether a removal that is in force hits a grant to its key; `shown` is the grant's bundle, for one that
    may not have arrived here.
    """
    removal, body = Node(proof.removal, _admitted(proof.removal), None, None), proof.removal.body
    removal.target = grant.pid
    removal.until = body.until if isinstance(body, RevokeBody) else None
    if not reaches(removal, Claim(grant.pid, grant.level, grant.author, grant.window.end, 0)):
        return False
    despite = () if shown is None else _despite(shown.acts[-1])
    return not any(
        removal.id in named and may_overrule(removal, grant.pid, level)
        for level, named in view.in_spite(grant, despite)
    )


def _admitted(act: Act) -> Admitted:
    return Admitted(act.id, act.place, act.kind)
