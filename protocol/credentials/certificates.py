"""Certificates: the group's root (GRC), memberships (GMC) and identities (IDC), made and read.

What a certificate says beyond X.509 stands in its claims (see profile.py): a GMC claims gid, level, roles
and the subject's full peer name; a GRC gid and the group's name; an IDC a peer name. The common and
alternative names repeat the authorities for the eyes of other programs. No certificate holds a friendly
name.

Reading checks the form, and that the certificate agrees with itself. Whether its signature holds is for
`check` to say, whether its issuer might issue it for the chain, whether it counts for the view. The
original's certificates: windows-grouping.md 3.2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from protocol.codec import decode_untrusted_struct, encode_struct, prepared
from protocol.credentials.keys import PrivateKey, PublicKey, SignatureCheck
from protocol.credentials.names import parse_peer_name
from protocol.credentials.profile import (
    Kind,
    Layout,
    body_in,
    find_untrusted_values,
    signature_in,
    signed_part,
    write_body,
    write_certificate,
)
from protocol.credentials.roles import roles_fit_level, roles_well_formed
from protocol.errors import Fault, RemoteProtocolError, RuleError, malformed
from protocol.ids import AUTHORITY_BYTES, GID_BYTES, authority_of, tagged_hash
from protocol.limits import CERTIFICATE_BYTES_MAX, END_OF_TIME_S, LEVEL_ROOT, SERIAL_BYTES_MAX
from protocol.peer_time import Window


@dataclass(frozen=True, slots=True)
class GmcFacts:
    """What a new GMC is to say; `serial` comes from `serial_of`."""

    gid: bytes
    level: int
    roles: tuple[int, ...]
    peer_name: str
    window: Window
    serial: int
    subject: PublicKey
    issuer: PublicKey
    issuer_is_root: bool


@dataclass(frozen=True, slots=True)
class Content:
    """What a certificate says.

    `gid` (32 bytes) and `level` (a GRC's is 0) are None, and `roles` empty, where the kind has none.
    `peer_name` is a GRC's group name. `issuer_authority` is the first 20 bytes of the pid of the key that is
    said to have signed, `issuer_name` the common name that goes with it.
    """

    kind: Kind
    gid: bytes | None
    level: int | None
    roles: tuple[int, ...]
    peer_name: str
    key: PublicKey
    issuer_name: str
    issuer_authority: bytes
    window: Window
    serial: int

    @property
    def subject_name(self) -> str:
        """The common name of the subject, 40 hex digits: the group's authority for a GRC, else the key's."""
        if self.kind is Kind.GRC:
            assert self.gid is not None
            return authority_of(self.gid)
        return self.key.authority

    @property
    def issuer_is_root(self) -> bool:
        """Whether the issuer is the group itself."""
        return self.gid is not None and self.issuer_name == authority_of(self.gid)


@dataclass(frozen=True, slots=True)
class Certificate(Content):
    """A certificate whose form has been checked, and not its signature."""

    der: bytes

    @property
    def signature(self) -> bytes:
        """64 bytes."""
        return signature_in(self.der)

    @property
    def tbs(self) -> bytes:
        """What the signature covers."""
        return signed_part(self.der)

    def check(self, issuer: PublicKey) -> SignatureCheck:
        """The check that `issuer` signed it, still to be made."""
        return SignatureCheck(issuer.raw, self.signature, self.tbs)


def serial_of(author: bytes, chain: bytes, seq: int, subject_pid: bytes) -> int:
    """The serial number of a GMC, from its GRANT's author (32 bytes), chain (16), seq, and its subject's pid.

    Two certificates with one issuer and one serial therefore show a fork in the issuer's acts.
    """
    return _serial("peerd/gmc-serial/1", author, chain, seq.to_bytes(8, "big"), subject_pid)


def build_gmc(facts: GmcFacts, signer: PrivateKey) -> bytes:
    """The DER of a membership certificate; `signer` is the issuer's key."""
    return sign_gmc(facts, signer).der


def sign_gmc(facts: GmcFacts, signer: PrivateKey) -> Certificate:
    """A membership certificate of our own making, which needs no reading; `signer` is the issuer's key."""
    assert signer.public == facts.issuer
    content = Content(
        kind=Kind.GMC,
        gid=facts.gid,
        level=facts.level,
        roles=facts.roles,
        peer_name=facts.peer_name,
        key=facts.subject,
        issuer_name=authority_of(facts.gid) if facts.issuer_is_root else facts.issuer.authority,
        issuer_authority=facts.issuer.pid[:AUTHORITY_BYTES],
        window=facts.window,
        serial=facts.serial,
    )
    said = {name: getattr(content, name) for name in Content.__slots__}
    return Certificate(**said, der=_build(content, signer))


def build_grc(gid: bytes, group_name: str, window: Window, key: PrivateKey) -> bytes:
    """The DER of a group's root certificate, self-signed; the same arguments give the same bytes."""
    content = Content(
        kind=Kind.GRC,
        gid=gid,
        level=LEVEL_ROOT,
        roles=(),
        peer_name=group_name,
        key=key.public,
        issuer_name=authority_of(gid),
        issuer_authority=key.public.pid[:AUTHORITY_BYTES],
        window=window,
        serial=_grc_serial(gid, key.public),
    )
    return _build(content, key)


def build_idc(key: PrivateKey, peer_name: str, window: Window) -> bytes:
    """The DER of an identity's own certificate, self-signed; the same arguments give the same bytes."""
    content = Content(
        kind=Kind.IDC,
        gid=None,
        level=None,
        roles=(),
        peer_name=peer_name,
        key=key.public,
        issuer_name=key.public.authority,
        issuer_authority=key.public.pid[:AUTHORITY_BYTES],
        window=window,
        serial=_idc_serial(key.public, peer_name, window),
    )
    return _build(content, key)


def decode_untrusted_certificate(der: bytes) -> Certificate:
    """Read a certificate from anywhere: just what a builder here makes. Raises: RemoteProtocolError."""
    if len(der) > CERTIFICATE_BYTES_MAX:
        raise RemoteProtocolError(Fault.OVER_LIMIT, f"a certificate of {len(der)} bytes")
    certificate = _read(der)
    for rule in _RULES:
        flaw = rule(certificate)
        if flaw is not None:
            raise malformed(f"a certificate whose {flaw}")
    if write_body(_layout(certificate)) != body_in(der):
        raise malformed("a certificate is of another form than ours")
    return certificate


def _build(content: Content, signer: PrivateKey) -> bytes:
    for rule in _RULES:
        flaw = rule(content)
        assert flaw is None, flaw
    return write_certificate(_layout(content), signer)


@prepared
class _Claims(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the extension of ours holds; which fields are there depends on the kind."""

    name: str
    gid: bytes | None = None
    level: int | None = None
    roles: tuple[int, ...] = ()


def _layout(content: Content) -> Layout:
    """The only form that this content may take."""
    is_gmc = content.kind is Kind.GMC
    claims = _Claims(content.peer_name, content.gid, content.level if is_gmc else None, content.roles)
    return Layout(
        kind=content.kind,
        level=content.level,
        subject=content.key,
        subject_name=content.subject_name,
        issuer_name=content.issuer_name,
        issuer_key_id=content.issuer_authority,
        group_authority=authority_of(content.gid) if is_gmc and content.gid is not None else None,
        serial=content.serial,
        window=content.window,
        claims=encode_struct(claims),
    )


def _read(der: bytes) -> Certificate:
    """Take the values out, known fields of the claims only. Raises: RemoteProtocolError."""
    values = find_untrusted_values(der)
    claims = decode_untrusted_struct(values.claims, _Claims, bytes_max=CERTIFICATE_BYTES_MAX)
    return Certificate(
        kind=values.kind,
        gid=claims.gid,
        level=LEVEL_ROOT if values.kind is Kind.GRC else claims.level,
        roles=claims.roles,
        peer_name=claims.name,
        key=values.subject,
        issuer_name=values.issuer_name,
        issuer_authority=values.issuer_key_id,
        window=values.window,
        serial=values.serial,
        der=der,
    )


# --- the rules by which a certificate agrees with itself; an answer goes on "a certificate whose …"
# -----------


_CLAIMED = {Kind.GMC: (True, True, True), Kind.GRC: (True, True, False), Kind.IDC: (False, False, False)}


def _claims_go_with_the_kind(content: Content) -> str | None:
    """A GMC claims gid, level and roles; a GRC gid, its level is understood; an IDC only its name."""
    claimed = (content.gid is not None, content.level is not None, bool(content.roles))
    fit = claimed == _CLAIMED[content.kind] and (content.gid is None or len(content.gid) == GID_BYTES)
    return None if fit else "claims do not go with its kind"


def _name_is_of_the_subject(content: Content) -> str | None:
    """The name parses, and begins with the authority of the key, for a GRC of the group."""
    try:
        name = parse_peer_name(content.peer_name)
    except RuleError:
        return "name is not a peer name"
    return None if name.authority == content.subject_name else "name is somebody else's"


def _roles_fit_the_level(content: Content) -> str | None:
    """Only a GMC has roles; with the level they decide what it may sign."""
    if content.kind is not Kind.GMC:
        return None
    assert content.level is not None
    fit = roles_well_formed(content.roles) and roles_fit_level(content.roles, content.level)
    return None if fit else "roles and level do not fit"


def _issuer_is_one(content: Content) -> str | None:
    """A GMC's issuer is a peer, named by its key, or the group; the others are their own issuers."""
    if content.kind is Kind.GMC:
        fits = content.issuer_is_root or content.issuer_name == content.issuer_authority.hex()
    else:
        own = (content.subject_name, content.key.pid[:AUTHORITY_BYTES])
        fits = (content.issuer_name, content.issuer_authority) == own
    return None if fits else "issuer's name and key do not agree"


def _window_is_a_period(content: Content) -> str | None:
    """Both ends between 1970 and 9999, the later one not first."""
    ordered = 0 <= content.window.start <= content.window.end <= END_OF_TIME_S
    return None if ordered else "window is none"


def _serial_is_of_our_making(content: Content) -> str | None:
    """Of a GMC's serial, made from an act, only the shape is known here; the others' follow from the rest."""
    if content.kind is Kind.GMC:
        fits = content.serial >> _SERIAL_BITS == 1
    elif content.kind is Kind.GRC:
        assert content.gid is not None
        fits = content.serial == _grc_serial(content.gid, content.key)
    else:
        fits = content.serial == _idc_serial(content.key, content.peer_name, content.window)
    return None if fits else "serial number is not of our making"


_RULES: tuple[Callable[[Content], str | None], ...] = (
    _claims_go_with_the_kind,
    _name_is_of_the_subject,
    _roles_fit_the_level,
    _issuer_is_one,
    _window_is_a_period,
    _serial_is_of_our_making,
)

_SERIAL_BITS = SERIAL_BYTES_MAX * 8 - 2


def _grc_serial(gid: bytes, key: PublicKey) -> int:
    # The key counts too: after a rotation of the root, two certificates of one issuer's name must differ in
    # it.
    return _serial("peerd/grc-serial/1", gid, key.pid)


def _idc_serial(key: PublicKey, peer_name: str, window: Window) -> int:
    period = window.start.to_bytes(8, "big") + window.end.to_bytes(8, "big")
    return _serial("peerd/idc-serial/1", key.pid, peer_name.encode(), period)


def _serial(tag: str, *fields: bytes) -> int:
    """A positive number of exactly 20 bytes: below a set bit, 158 bits of a hash."""
    bits = int.from_bytes(tagged_hash(tag, *fields)[:SERIAL_BYTES_MAX], "big")
    return 1 << _SERIAL_BITS | bits >> 2
