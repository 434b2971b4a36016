"""The elements of AUTH, the replicated set: acts, and the certificates that go with grants.

A certificate is an element of its own, so that a grant can be known to all while its certificate travels by
hand (no store flag). It is the canonical array `[act id, issuer key, DER]`; its id is
`tagged_hash("peerd/der-id/1", act id, DER)`, which leaves the issuer's key out: the key is there so that the
signature can be checked on any thread, and admission compares it with the act's author.

Source: design section 5, "The GMC's DER is an element of AUTH of its own".
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from protocol.authority.acts import Act, act_id_of, act_of_parts
from protocol.authority.admission import Admitted, Deferred, Invalid, Known
from protocol.codec import decode_untrusted, encode
from protocol.credentials.certificates import Certificate, build_grc, decode_untrusted_certificate
from protocol.credentials.keys import PrivateKey, PublicKey, SignatureCheck, public_key_untrusted
from protocol.credentials.names import name_of_group
from protocol.credentials.profile import Kind as CertificateKind
from protocol.errors import malformed
from protocol.ids import ACT_ID_BYTES, AUTHORITY_BYTES, tagged_hash
from protocol.limits import ACT_BYTES_MAX, LEVEL_ROOT

_ID_TAG = "peerd/der-id/1"
_ARRAY_OF_THREE = 0x93  # msgpack's first byte of an array of three


@dataclass(frozen=True, slots=True)
class Der:
    """The certificate of one GRANT, or of genesis (then it is the GRC)."""

    raw: bytes
    id: bytes
    act_id: bytes
    issuer_key: PublicKey
    certificate: Certificate

    def checks(self) -> tuple[SignatureCheck, ...]:
        """What must hold cryptographically: the issuer's signature over the certificate."""
        return (self.certificate.check(self.issuer_key),)


Element = Act | Der


def make_der(act_id: bytes, issuer: PublicKey, certificate: Certificate) -> Der:
    """Wrap a certificate, whose form has been checked, as an element."""
    raw = encode([act_id, issuer.raw, certificate.der])
    return Der(raw, tagged_hash(_ID_TAG, act_id, certificate.der), act_id, issuer, certificate)


def decode_untrusted_element(raw: bytes) -> Element:
    """Decode an element of either sort from anywhere and check its form. Raises: RemoteProtocolError, and
    nothing else.
    """
    match _parts_untrusted(raw):
        case [content, entries]:
            return act_of_parts(raw, content, entries)
        case [act_id, issuer_key, der]:
            return _der_of_parts(raw, act_id, issuer_key, der)
        case _:
            raise malformed("an element has two or three parts")


def ids_untrusted(raw: bytes) -> tuple[bytes, bytes]:
    """The id of an element from anywhere and that of its act (its own, for an act); nothing else of its form
    is looked at. Raises: RemoteProtocolError, and nothing else.
    """
    match _parts_untrusted(raw):
        case [content, _]:
            act_id = act_id_of(content)
            return act_id, act_id
        case [act_id, _, der]:
            return tagged_hash(_ID_TAG, act_id, der), act_id
        case _:
            raise malformed("an element has two or three parts")


def _parts_untrusted(raw: bytes) -> list[bytes]:
    outer = decode_untrusted(raw, bytes_max=ACT_BYTES_MAX)
    if type(outer) is not list or not all(type(part) is bytes for part in outer):
        raise malformed("an element is an array of byte strings")
    return outer


def _der_of_parts(raw: bytes, act_id: bytes, issuer_key: bytes, der: bytes) -> Der:
    if len(act_id) != ACT_ID_BYTES:
        raise malformed("a certificate names its act by 32 bytes")
    return Der(
        raw=raw,
        id=tagged_hash(_ID_TAG, act_id, der),
        act_id=act_id,
        issuer_key=public_key_untrusted(issuer_key),
        certificate=decode_untrusted_certificate(der),
    )


def der_bytes(raw: bytes) -> bytes:
    """The certificate inside the bytes of a certificate element."""
    der: bytes = decode_untrusted(raw, bytes_max=ACT_BYTES_MAX)[2]
    return der


def stored_is_der(raw: bytes) -> bool:
    """Whether stored bytes are a certificate's (an array of three) and not an act's (an array of two)."""
    return raw[0] == _ARRAY_OF_THREE


def make_grc(genesis: Admitted, key: PrivateKey) -> Der:
    """The root certificate of a group; everything in it follows from genesis, and Ed25519 signs without
    randomness.
    """
    root = genesis.root
    assert root is not None
    name = str(name_of_group(root.gid, root.classifier))
    certificate = decode_untrusted_certificate(build_grc(root.gid, name, root.window, key))
    return make_der(genesis.id, key.public, certificate)


# --- does a certificate belong to its act? ------------------------------------------------------------------

DerRule = Callable[[Der, Admitted], str | None]


def admit_der(der: Der, known: Known) -> Deferred | Invalid | None:
    """Judge a certificate whose signature holds; None means that it counts (design section 5, "A DER from
    anywhere counts iff …").
    """
    act = known.admitted(der.act_id)
    if act is None:
        return Deferred((der.act_id,))
    rules = GMC_RULES if act.grant is not None else GRC_RULES
    reason = next((r for rule in rules if (r := rule(der, act)) is not None), None)
    return None if reason is None else Invalid(reason)


def der_is_the_acts(der: Der, act: Admitted) -> str | None:
    """The act holds the SHA-256 of the certificate."""
    assert act.grant is not None
    return None if hashlib.sha256(der.certificate.der).digest() == act.grant.der_hash else "der_is_the_acts"


def der_agrees_with_the_act(der: Der, act: Admitted) -> str | None:
    """Group, level, roles, name, period, serial number and subject key are the act's, one by one, and the
    issuer named is the key that is said to have signed.

    Guards: a certificate that no chain takes, made to stand before the subject's good one.
    """
    assert act.grant is not None
    grant, cert = act.grant, der.certificate
    said = (
        cert.kind,
        cert.gid,
        cert.level,
        cert.roles,
        cert.peer_name,
        cert.window,
        cert.serial,
        cert.key.raw,
        cert.issuer_is_root,
        cert.issuer_authority,
    )
    granted = (
        CertificateKind.GMC,
        grant.gid,
        grant.level,
        grant.roles,
        str(grant.peer_name),
        grant.window,
        grant.serial,
        grant.key.raw,
        grant.author_level == LEVEL_ROOT,
        der.issuer_key.pid[:AUTHORITY_BYTES],
    )
    return None if said == granted else "der_agrees_with_the_act"


def der_is_signed_by_the_author(der: Der, act: Admitted) -> str | None:
    """The key that signed the certificate is the one above the subject's: the author's, at level 0 that of
    the root certificate.
    """
    return None if der.issuer_key.pid == act.line[-2] else "der_is_signed_by_the_author"


def grc_belongs_to_genesis(der: Der, act: Admitted) -> str | None:
    """Only a genesis has a certificate besides grants: the root certificate, with nothing in it that genesis
    does not say.
    """
    root, cert = act.root, der.certificate
    if root is None or root.version != 1 or cert.kind is not CertificateKind.GRC:
        return "grc_belongs_to_genesis"
    said = (cert.gid, cert.key.raw, der.issuer_key.raw, cert.window, cert.peer_name)
    expected = (
        root.gid,
        root.grc.raw,
        root.grc.raw,
        root.window,
        str(name_of_group(root.gid, root.classifier)),
    )
    return None if said == expected else "grc_belongs_to_genesis"


GMC_RULES: tuple[DerRule, ...] = (der_is_the_acts, der_agrees_with_the_act, der_is_signed_by_the_author)
GRC_RULES: tuple[DerRule, ...] = (grc_belongs_to_genesis,)
