"""Evidence bundles: what proves one grant to somebody who holds nothing of the group but its name.

A bundle is the canonical map `{acts, ders, proof}`: the genesis act, all rotations of the root that the
sender follows, then the grants from the root's down to the subject's; and the certificates, root first: that
of the root's key which signed the first grant, and those of the grants. The first grant may be of a version
that has been replaced; then `proof` shows that the rotation which replaced it keeps that grant (kept.py).

It carries no `prev`: its acts are judged by the rules that need `cred` alone, so it proves a membership and
opens a link, but its acts do not enter the set (they arrive by reconciliation, with their chains). One object
serves the handshake, pickup and the invitation.

What it proves depends on who reads it. Who has nothing goes by the rotations in it, so an old bundle, or one
that leaves the last rotation out, opens a link with them towards its sender. Who knows the rotations goes by
these (`stands`).

Source: design section 5 "Evidence bundle"; authority-rules.md "Why some of it is so".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from protocol.authority.acts import Act, decode_untrusted_act
from protocol.authority.admission import Admitted, Case, admitted_of, credential_rules_for
from protocol.authority.bodies import GrantBody, Kind
from protocol.authority.elements import Der, admit_der, der_bytes, make_der
from protocol.authority.grants import Grant, read_untrusted_grant
from protocol.authority.kept import PROOF_BYTES_MAX, proves
from protocol.authority.root import Root, read_untrusted_genesis
from protocol.authority.view import View
from protocol.codec import decode_untrusted_struct, encode, prepared
from protocol.credentials.certificates import Certificate
from protocol.credentials.chain import chain_checks, decode_untrusted_chain
from protocol.credentials.keys import PublicKey, SignatureCheck
from protocol.errors import Fault, RemoteProtocolError
from protocol.ids import split_ids
from protocol.limits import (
    ACT_BYTES_MAX,
    BUNDLE_ACTS_MAX,
    BUNDLE_BYTES_MAX,
    CERTIFICATE_BYTES_MAX,
    CHAIN_CERTIFICATES_MAX,
    LEVEL_ROOT,
)


@prepared
class _Form(msgspec.Struct, frozen=True):
    acts: Annotated[
        list[Annotated[bytes, Meta(max_length=ACT_BYTES_MAX)]],
        Meta(min_length=2, max_length=BUNDLE_ACTS_MAX),
    ]
    ders: Annotated[
        list[Annotated[bytes, Meta(max_length=CERTIFICATE_BYTES_MAX)]],
        Meta(min_length=2, max_length=CHAIN_CERTIFICATES_MAX),
    ]
    proof: Annotated[bytes, Meta(max_length=PROOF_BYTES_MAX)] = b""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose form, nesting and agreement are checked; `checks()` are the signatures that must hold
    besides.

    `roots` are the versions that its rotations install, genesis first. `ders` are its certificates that are
    elements of AUTH; `chain` are all of them, root first.
    """

    raw: bytes
    roots: tuple[Root, ...]
    acts: tuple[Act, ...]
    path: tuple[Grant, ...]
    ders: tuple[Der, ...]
    chain: tuple[Certificate, ...]
    proof: bytes = b""

    @property
    def root(self) -> Root:
        """The root as genesis made it."""
        return self.roots[0]

    @property
    def gid(self) -> bytes:
        """The group that it belongs to (32 bytes)."""
        return self.root.gid

    @property
    def leaf(self) -> Grant:
        """The grant that it proves."""
        return self.path[-1]

    @property
    def grants(self) -> tuple[Act, ...]:
        """The acts of its path."""
        return self.acts[len(self.roots) :]

    @property
    def proved(self) -> bool:
        """Whether its own rotations let its first grant stand."""
        return _is_proved_by(self.roots, self)

    def checks(self) -> list[SignatureCheck]:
        """One signature for each certificate, and one for each signer of each act."""
        acts = [check for act in self.acts for check in act.checks()]
        return acts + chain_checks(self.chain, self.chain[0].key)


def decode_untrusted_bundle(raw: bytes, *, authority: bytes) -> Bundle:
    """Decode a bundle from anywhere for the group whose id begins with `authority` (20 bytes, or all 32).

    Raises: RemoteProtocolError (MALFORMED, WRONG_GROUP, BAD_EVIDENCE …), and nothing else. The caller
    verifies `checks()`; whether the first grant outlived its root is left to `stands`.
    """
    form = decode_untrusted_struct(raw, _Form, bytes_max=BUNDLE_BYTES_MAX)
    acts = tuple(decode_untrusted_act(act) for act in form.acts)
    genesis = read_untrusted_genesis(acts[0])
    if not genesis.gid.startswith(authority):
        raise RemoteProtocolError(Fault.WRONG_GROUP, "evidence of another group")
    rotations = _admit_rotations(acts, genesis)
    grants = _admit_grants(acts[len(rotations) :], rotations)
    if len(form.ders) != 1 + len(grants):
        raise _bad("a bundle has one certificate for the root and one for each grant")
    chain = decode_untrusted_chain(form.ders, genesis.gid)
    return Bundle(
        raw=raw,
        roots=tuple(one.root for one in rotations if one.root is not None),
        acts=acts,
        path=tuple(one.grant for one in grants if one.grant is not None),
        ders=_pair(rotations, grants, chain),
        chain=chain,
        proof=form.proof,
    )


def _admit_rotations(acts: Sequence[Act], genesis: Root) -> list[Admitted]:
    """Judge the rotations that a bundle begins with, each under the one before it."""
    admitted = [admitted_of(Case(acts[0], genesis.gid, None, None, None))]
    for act in acts[1:]:
        if act.kind != Kind.ROTATE_ROOT:
            break
        admitted.append(_admit_under(admitted[-1], act, None))
    return admitted


def _admit_grants(acts: Sequence[Act], rotations: Sequence[Admitted]) -> list[Admitted]:
    """Judge the grants: the first under any of the rotations, each other under the one before it."""
    if not acts:
        raise _bad("a bundle without a grant proves nothing")
    above = next((one for one in rotations if one.id == acts[0].place.cred), rotations[-1])
    admitted: list[Admitted] = []
    for act in acts:
        above = _admit_under(above, act, read_untrusted_grant(act))
        admitted.append(above)
    return admitted


def _admit_under(above: Admitted, act: Act, grant: Grant | None) -> Admitted:
    """Judge one act by the rules that need `cred` alone."""
    gid = above.place.gid
    if act.place.gid != gid or act.place.cred != above.id:
        raise _bad("each act of a bundle is signed under the one before it")
    case = Case(act, gid, None, above, grant)
    reason = next((r for rule in credential_rules_for(act) if (r := rule(case)) is not None), None)
    if reason is not None:
        raise _bad(f"an act of the bundle breaks the rule {reason}")
    return admitted_of(case)


def _pair(
    rotations: Sequence[Admitted], grants: Sequence[Admitted], chain: Sequence[Certificate]
) -> tuple[Der, ...]:
    """Match each certificate with its act; the key above signs the one below."""
    known = _Path({one.id: one for one in (*rotations, *grants)}, rotations[0].place.gid)
    issuer: PublicKey = chain[0].key
    ders = _root_ders(known, grants[0], rotations[0], chain[0])
    for act, certificate in zip(grants, chain[1:], strict=True):
        ders.append(_admitted_der(make_der(act.id, issuer, certificate), known))
        issuer = certificate.key
    return tuple(ders)


def _root_ders(known: _Path, first: Admitted, genesis: Admitted, certificate: Certificate) -> list[Der]:
    """The certificate that the chain begins with, if it is an element: genesis's is, later ones stand in
    their rotations.
    """
    root = known.acts[first.place.cred or b""].root
    assert root is not None
    if root.version == 1:
        return [_admitted_der(make_der(genesis.id, certificate.key, certificate), known)]
    if root.certificate_of(first.line[0]) != certificate.der:
        raise _bad("a chain begins with another certificate than that of the root's key which signed")
    return []


def _admitted_der(der: Der, known: _Path) -> Der:
    if (verdict := admit_der(der, known)) is not None:
        raise _bad(f"a certificate of the bundle is not its act's: {verdict}")
    return der


@dataclass(frozen=True, slots=True)
class _Path:
    acts: dict[bytes, Admitted]
    gid: bytes

    def admitted(self, act_id: bytes) -> Admitted | None:
        return self.acts.get(act_id)


def _bad(detail: str) -> RemoteProtocolError:
    return RemoteProtocolError(Fault.BAD_EVIDENCE, detail)


def encode_bundle(acts: Sequence[bytes], ders: Sequence[bytes], proof: bytes = b"") -> bytes:
    """The bytes of a bundle from raw acts (genesis first) and certificate DERs (root first)."""
    fields: dict[str, Any] = {"acts": list(acts), "ders": list(ders)}
    return encode(fields | {"proof": proof} if proof else fields)


# --- making -------------------------------------------------------------------------------------------------

RawOf = Callable[[bytes], bytes | None]


def make_bundle(view: View, grant: Grant, raw_of: RawOf, leaf_der: bytes | None = None) -> bytes | None:
    """The bundle of a grant of this view; None while a certificate of its path has not been delivered, or
    when it would be longer than a bundle may be.

    `raw_of` reads an element's bytes by id; `leaf_der` is the grant's own certificate when it is not
    published.
    """
    evidence = path_evidence(view, grant.act_id, raw_of, leaf_der)
    if evidence is None:
        return None
    bundle = encode_bundle(*evidence)
    return bundle if len(bundle) <= BUNDLE_BYTES_MAX else None


def path_evidence(
    view: View, act_id: bytes, raw_of: RawOf, leaf_der: bytes | None = None
) -> tuple[list[bytes], list[bytes], bytes] | None:
    """The acts from genesis down to a grant (or to the last rotation alone), the DERs of their certificates,
    and the proof that the first grant needs; None when one of these has not been delivered.
    """
    last = view.admitted(act_id)
    if not view.rotations or last is None:
        return None
    path = [] if last.grant is None else view.path(last.grant)
    rotations, root_der = _root_evidence(view, path, raw_of)
    acts = [raw_of(one) for one in (*rotations, *(grant.act_id for grant in path))]
    ders = [root_der, *(_der_of(view, grant.act_id, raw_of) for grant in path)]
    if ders[-1] is None and leaf_der is not None:
        ders[-1] = leaf_der
    assert None not in acts
    if None in ders:
        return None
    proof = view.kept_proof(path[0]) if path else None
    return [raw for raw in acts if raw is not None], [der for der in ders if der is not None], proof or b""


def _root_evidence(
    view: View, path: Sequence[Grant], raw_of: RawOf
) -> tuple[tuple[bytes, ...], bytes | None]:
    """The ids of the rotations to show, and the DER of the root certificate that a path begins with; without
    a path, of any that one could begin with.
    """
    last = view.rotations[-1]
    version = path[0].cred if path else last
    rotations = view.rotations if version in view.rotations else _rotations_to(view, version)
    admitted = view.admitted(version)
    assert admitted is not None
    assert admitted.root is not None
    if admitted.root.version == 1:
        return rotations, _der_of(view, rotations[0], raw_of)
    if not path:
        return rotations, next((der for _, der in admitted.root.certificates), None)
    first = view.admitted(path[0].act_id)
    assert first is not None
    return rotations, admitted.root.certificate_of(first.line[0])


def _rotations_to(view: View, version: bytes) -> tuple[bytes, ...]:
    """The rotations from genesis to one that lost to another."""
    line = [version]
    while (above := view.admitted(line[-1])) is not None and above.place.cred is not None:
        line.append(above.place.cred)
    return tuple(reversed(line))


def _der_of(view: View, act_id: bytes, raw_of: RawOf) -> bytes | None:
    element_id = view.der_of(act_id)
    raw = None if element_id is None else raw_of(element_id)
    return None if raw is None else der_bytes(raw)


# --- does it hold here? -------------------------------------------------------------------------------------


def stands(view: View, bundle: Bundle) -> bool:
    """Whether nothing in this view speaks against a bundle: no grant on its path is void or hit here, unless
    the act that cites it is effective here.

    So whom a departed administrator admitted before its cut passes, and whom it admits afterwards does not,
    whether those grants have arrived here or not. The same goes for a root that has been replaced, by its
    rotation: what is not known here needs a proof that it was kept.
    """
    if bundle.gid != view.gid:
        return False
    cited = [act.id for act in bundle.grants]
    return all(
        _holds(view, bundle, grant, act) or (after is not None and view.is_effective(after))
        for grant, act, after in zip(bundle.path, bundle.grants, [*cited[1:], None], strict=True)
    )


def _holds(view: View, bundle: Bundle, grant: Grant, act: Act) -> bool:
    """Whether a grant is live here, or could be when it arrives."""
    if view.admitted(grant.act_id) is not None:
        return view.is_live(grant.act_id)
    if grant.author_level == LEVEL_ROOT and not _is_proved_by(_line_to_follow(view, bundle), bundle):
        return False
    assert isinstance(act.body, GrantBody)
    return not view.hits_on(grant, split_ids(act.body.despite))


def _line_to_follow(view: View, bundle: Bundle) -> tuple[Root, ...]:
    """The root versions that would be effective, were the rotations of a bundle known here too: its own where
    it goes on from ours, or where it has another successor of a version of ours, and that one wins.
    """
    ours, theirs = view.roots, bundle.roots
    pairs = zip(ours, theirs, strict=False)
    same = sum(mine.rotation == other.rotation for mine, other in pairs)
    if same == len(ours):
        return theirs
    if same == len(theirs):
        return ours
    rival = bundle.acts[same]
    wins = not view.outdoes(ours[same].rotation, rival.id, theirs[same - 1].agreed_by(rival.signers))
    return theirs if wins else ours


def _is_proved_by(line: Sequence[Root], bundle: Bundle) -> bool:
    """Whether a line of root versions lets the first grant of a bundle stand."""
    first = bundle.path[0]
    at = next((at for at, root in enumerate(line) if root.rotation == first.cred), None)
    if at is None or at + 1 == len(line):
        return at is not None
    kept = line[at + 1].kept
    return kept is not None and proves(kept, first.act_id, bundle.proof)
