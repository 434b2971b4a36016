"""Evidence bundles: what proves one grant to somebody who holds nothing of the group but its name.

A bundle is the canonical map `{acts, ders}`: the genesis act, the rotations up to the root version that the
first grant is signed under, then the grants from the root's down to the subject's; and the certificates, of
genesis and of the grants, root first. It carries no `prev`: its acts are judged by the rules that need
`cred` alone, so it proves a membership and opens a link, but its acts do not enter the set (they arrive by
reconciliation, with their chains). One object serves the handshake, pickup and the invitation.

Source: design section 5 "Evidence bundle"; authority-rules.md "Why some of it is so".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta

from protocol.authority.acts import Act, decode_untrusted_act
from protocol.authority.admission import Admitted, Case, admitted_of, credential_rules_for
from protocol.authority.bodies import GrantBody, Kind
from protocol.authority.elements import Der, admit_der, der_bytes, make_der
from protocol.authority.grants import Grant, read_untrusted_grant
from protocol.authority.root import Root, read_untrusted_genesis
from protocol.authority.view import View
from protocol.codec import decode_untrusted_struct, encode
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


class _Form(msgspec.Struct, frozen=True):
    acts: Annotated[
        list[Annotated[bytes, Meta(max_length=ACT_BYTES_MAX)]],
        Meta(min_length=2, max_length=BUNDLE_ACTS_MAX),
    ]
    ders: Annotated[
        list[Annotated[bytes, Meta(max_length=CERTIFICATE_BYTES_MAX)]],
        Meta(min_length=2, max_length=CHAIN_CERTIFICATES_MAX),
    ]


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose form, nesting and agreement are checked; `checks()` are the signatures that must hold
    besides.
    """

    raw: bytes
    root: Root
    acts: tuple[Act, ...]
    path: tuple[Grant, ...]
    ders: tuple[Der, ...]
    chain: tuple[Certificate, ...]

    @property
    def gid(self) -> bytes:
        """The group that it belongs to (32 bytes)."""
        return self.root.gid

    @property
    def leaf(self) -> Grant:
        """The grant that it proves."""
        return self.path[-1]

    def checks(self) -> list[SignatureCheck]:
        """One signature for each certificate, and one for each signer of each act."""
        acts = [check for act in self.acts for check in act.checks()]
        return acts + chain_checks(self.chain, self.root.grc)


def decode_untrusted_bundle(raw: bytes, *, authority: bytes) -> Bundle:
    """Decode a bundle from anywhere for the group whose id begins with `authority` (20 bytes, or all 32).

    Raises: RemoteProtocolError (MALFORMED, WRONG_GROUP, BAD_EVIDENCE …), and nothing else. The caller
    verifies `checks()`.
    """
    form = decode_untrusted_struct(raw, _Form, bytes_max=BUNDLE_BYTES_MAX)
    acts = tuple(decode_untrusted_act(act) for act in form.acts)
    root = read_untrusted_genesis(acts[0])
    if not root.gid.startswith(authority):
        raise RemoteProtocolError(Fault.WRONG_GROUP, "evidence of another group")
    admitted = _admit_path(acts, root)
    if len(form.ders) != 1 + sum(one.grant is not None for one in admitted):
        raise _bad("a bundle has one certificate for genesis and one for each grant")
    chain = decode_untrusted_chain(form.ders, root.gid)
    ders = _pair(admitted, chain)
    path = tuple(one.grant for one in admitted[1:] if one.grant is not None)
    return Bundle(raw, root, acts, path, ders, chain)


def _admit_path(acts: Sequence[Act], root: Root) -> list[Admitted]:
    """Judge each act under the one before it, by the rules that need `cred` alone."""
    above = admitted_of(Case(acts[0], root.gid, None, None, None))
    admitted = [above]
    for act in acts[1:]:
        if act.place.gid != root.gid or act.place.cred != above.id:
            raise _bad("each act of a bundle is signed under the one before it")
        grant = None if act.kind == Kind.ROTATE_ROOT else read_untrusted_grant(act)
        case = Case(act, root.gid, None, above, grant)
        reason = next((r for rule in credential_rules_for(act) if (r := rule(case)) is not None), None)
        if reason is not None:
            raise _bad(f"an act of the bundle breaks the rule {reason}")
        above = admitted_of(case)
        admitted.append(above)
    return admitted


def _pair(admitted: Sequence[Admitted], chain: Sequence[Certificate]) -> tuple[Der, ...]:
    """Match each certificate with its act; the key above signs the one below. Rotations have none."""
    known = _Path({one.id: one for one in admitted}, admitted[0].place.gid)
    ders = []
    issuer: PublicKey = chain[0].key
    certified = [admitted[0], *(one for one in admitted if one.grant is not None)]
    for act, certificate in zip(certified, chain, strict=True):
        der = make_der(act.id, issuer, certificate)
        if (verdict := admit_der(der, known)) is not None:
            raise _bad(f"a certificate of the bundle is not its act's: {verdict}")
        ders.append(der)
        issuer = certificate.key
    return tuple(ders)


@dataclass(frozen=True, slots=True)
class _Path:
    acts: dict[bytes, Admitted]
    gid: bytes

    def admitted(self, act_id: bytes) -> Admitted | None:
        return self.acts.get(act_id)


def _bad(detail: str) -> RemoteProtocolError:
    return RemoteProtocolError(Fault.BAD_EVIDENCE, detail)


def encode_bundle(acts: Sequence[bytes], ders: Sequence[bytes]) -> bytes:
    """The bytes of a bundle from raw acts (genesis first) and certificate DERs (root first)."""
    return encode({"acts": list(acts), "ders": list(ders)})


def make_bundle(
    view: View, grant: Grant, raw_of: Callable[[bytes], bytes | None], leaf_der: bytes | None = None
) -> bytes | None:
    """The bundle of a grant of the view, or None when a certificate on its path has not been delivered, or
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
    view: View, act_id: bytes, raw_of: Callable[[bytes], bytes | None], leaf_der: bytes | None = None
) -> tuple[list[bytes], list[bytes]] | None:
    """The acts from genesis down to a grant (or genesis alone), and the DERs of their certificates; None when
    one of these has not been delivered.
    """
    last, rotations = view.admitted(act_id), view.rotations
    if not rotations or last is None:
        return None
    grants = [] if last.grant is None else [grant.act_id for grant in view.path(last.grant)]
    if last.grant is not None:
        rotations = _rotations_to(view, view.path(last.grant)[0].cred)
    acts = [raw_of(one) for one in (*rotations, *grants)]
    ders = [_der_of(view, one, raw_of) for one in (rotations[0], *grants)]
    if ders[-1] is None and leaf_der is not None:
        ders[-1] = leaf_der
    assert None not in acts
    if None in ders:
        return None
    return [raw for raw in acts if raw is not None], [der for der in ders if der is not None]


def _rotations_to(view: View, version: bytes) -> tuple[bytes, ...]:
    """The rotations from genesis to the one that is signed under, effective or not."""
    line = [version]
    while (above := view.admitted(line[-1])) is not None and above.place.cred is not None:
        line.append(above.place.cred)
    return tuple(reversed(line))


def _der_of(view: View, act_id: bytes, raw_of: Callable[[bytes], bytes | None]) -> bytes | None:
    element_id = view.der_of(act_id)
    raw = None if element_id is None else raw_of(element_id)
    return None if raw is None else der_bytes(raw)


# --- does it hold here? -------------------------------------------------------------------------------------


def stands(view: View, bundle: Bundle) -> bool:
    """Whether nothing in this view speaks against a bundle: no grant on its path is void or hit here, unless
    the act that cites it is effective here.

    So whom a departed administrator admitted before its cut passes, and whom it admits afterwards does not,
    whether those grants have arrived here or not. A grant of a replaced root passes only when it is known
    here to count.
    """
    if bundle.gid != view.gid:
        return False
    cited = [act.id for act in bundle.acts[-len(bundle.path) :]]
    return all(
        _holds(view, grant, act) or (after is not None and view.is_effective(after))
        for grant, act, after in zip(
            bundle.path, bundle.acts[-len(bundle.path) :], [*cited[1:], None], strict=True
        )
    )


def _holds(view: View, grant: Grant, act: Act) -> bool:
    """Whether a grant is live here, or could be when it arrives."""
    if view.admitted(grant.act_id) is not None:
        return view.is_live(grant.act_id)
    if grant.author_level == LEVEL_ROOT and view.rotations and grant.cred != view.rotations[-1]:
        return view.admitted(grant.cred) is None
    assert isinstance(act.body, GrantBody)
    return not view.hits_on(grant, split_ids(act.body.despite))
