"""The one shape that certificates have here, and how no other shape gets in.

Every certificate of peerd is the image of a `Layout`. Writing fills one in and signs it. Reading only finds
where the values stand; the reader of certificates then fills in the layout that these values call for,
writes it with the received signature in place of a new one, and compares. What is accepted is therefore,
byte for byte, what a builder makes: no second encoding, further extension, other order, flag, name part or
form of a date needs a rule of its own (design section 4; reliability study M1, M2, F12-F17), and bytes from
elsewhere never reach a parser of all X.509.

The extensions, in order: basic constraints (critical), key usage (critical), extended key usage (GMC),
subject and authority key identifier, alternative names (GMC), and the claims: canonical msgpack under an OID
of ours that tells the kind. The claims are not critical, so that other programs accept the chain; our own
check demands them.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from enum import Enum
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from protocol.credentials.keys import SIGNATURE_BYTES, PublicKey, public_key_untrusted
from protocol.credentials.roles import issues
from protocol.errors import malformed
from protocol.ids import AUTHORITY_BYTES
from protocol.limits import LEVEL_INVITING_MEMBER
from protocol.peer_time import Window

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_SECOND = dt.timedelta(seconds=1)
_SIGNED_FROM = 4  # behind the header of the whole
_SIGNED_TO = -(SIGNATURE_BYTES + 10)  # before algorithm (7 bytes), header of the bit string (3), bits


class Kind(Enum):
    """What a certificate is. The values are the original's, and end the OID of the claims."""

    GMC = 1
    GRC = 2
    IDC = 3


# 2.25.<a UUID as a number> (ITU-T X.667) belongs to nobody else and needs no registry; drawn once, for peerd.
_OIDS = {
    kind: x509.ObjectIdentifier(f"2.25.243029041958978473297471311933261861085.{kind.value}") for kind in Kind
}


@dataclass(frozen=True, slots=True)
class Layout:
    """All that differs between two certificates.

    Names are 40 hex digits, `issuer_key_id` is 20 bytes, `serial` positive and 20 bytes long, `level` that
    of a GMC and otherwise of no effect, `claims` what the extension of ours holds. `group_authority`, 40 hex
    digits, goes into the alternative names; without it there are none.
    """

    kind: Kind
    level: int | None
    subject: PublicKey
    subject_name: str
    issuer_name: str
    issuer_key_id: bytes
    group_authority: str | None
    serial: int
    window: Window
    claims: bytes


@dataclass(frozen=True, slots=True)
class Values:
    """What stands in the bytes of a certificate, found and not judged; fields as in `Layout`."""

    kind: Kind
    subject: PublicKey
    issuer_name: str
    issuer_key_id: bytes
    serial: int
    window: Window
    claims: bytes


def write_certificate(layout: Layout, signer: Ed25519PrivateKey) -> bytes:
    """The DER of a layout, signed."""
    builder = (
        _frame(layout.kind, layout.level)
        .issuer_name(_name(layout.issuer_name))
        .subject_name(_name(layout.subject_name))
        .public_key(layout.subject.crypto)
        .serial_number(layout.serial)
        .not_valid_before(_EPOCH + layout.window.start * _SECOND)
        .not_valid_after(_EPOCH + layout.window.end * _SECOND)
        .add_extension(x509.SubjectKeyIdentifier(layout.subject.pid[:AUTHORITY_BYTES]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier(layout.issuer_key_id, None, None), critical=False)
    )
    if layout.group_authority is not None:
        names = _alternative_names(layout.group_authority, layout.subject_name)
        builder = builder.add_extension(names, critical=False)
    claims = x509.UnrecognizedExtension(_OIDS[layout.kind], layout.claims)
    return (
        builder.add_extension(claims, critical=False)
        .sign(signer, None)
        .public_bytes(serialization.Encoding.DER)
    )


def rewrite_certificate(layout: Layout, der: bytes) -> bytes:
    """The DER of a layout with the signature that `der` ends in: `der` again iff it is of this layout."""
    return write_certificate(layout, _SignatureOf(der))


def signature_in(der: bytes) -> bytes:
    """The signature of a certificate, 64 bytes."""
    return der[-SIGNATURE_BYTES:]


def signed_part(der: bytes) -> bytes:
    """What the signature of a certificate covers."""
    return der[_SIGNED_FROM:_SIGNED_TO]


_ALGORITHM = rb"\x30\x05\x06\x03\x2b\x65\x70"
_NAME = rb"\x30\x33\x31\x31\x30\x2f\x06\x03\x55\x04\x03\x0c\x28([0-9a-f]{40})"
_DATE = rb"(\x17\x0d\d{12}Z|\x18\x0f\d{14}Z)"
_VALUES = re.compile(
    rb"\x30\x82..\x30\x82..\xa0\x03\x02\x01\x02"  # lengths take two bytes, version 3
    rb"\x02\x14(.{20})" + _ALGORITHM + _NAME + rb"\x30." + _DATE + _DATE + _NAME +
    rb"\x30\x2a" + _ALGORITHM + rb"\x03\x21\x00(.{32})"
    rb".{0,128}?"  # constraints and usages
    rb"\x06\x03\x55\x1d\x23\x04\x18\x30\x16\x80\x14(.{20})"  # authority key identifier
    rb".{0,256}?"  # alternative names
    rb"\x06\x15\x69\x82\xed\xd5\xd8\xb8\x91\xe5\xda\x9d\x8f\xb3\xca\xa9\xe9\xdd\x98\xf7\xa1\x5d([\x01-\x03])"
    rb"\x04(?:[\x00-\x7f]|\x81.|\x82..)(.*)" + _ALGORITHM + rb"\x03\x41\x00.{64}",
    re.DOTALL,
)  # fmt: skip


def find_untrusted_values(der: bytes) -> Values:
    """Find the values in bytes from anywhere; `rewrite_certificate` judges. Raises: RemoteProtocolError."""
    found = _VALUES.fullmatch(der)
    if found is None:
        raise malformed("a certificate is of another form than ours")
    serial, issuer_name, start, end, _, key, issuer_key_id, kind, claims = found.groups()
    return Values(
        kind=Kind(kind[0]),
        subject=public_key_untrusted(key),
        issuer_name=issuer_name.decode("ascii"),
        issuer_key_id=issuer_key_id,
        serial=int.from_bytes(serial, "big"),
        window=Window(_seconds_untrusted(start), _seconds_untrusted(end)),
        claims=claims,
    )


def _seconds_untrusted(date: bytes) -> int:
    """Seconds since 1970 UTC of a DER date, header included. Raises: RemoteProtocolError."""
    digits = date[2:-1].decode("ascii")
    if len(digits) == 12:
        digits = ("19" if digits >= "5" else "20") + digits  # RFC 5280 4.1.2.5.1
    month, day, hour, minute, second = (int(digits[place : place + 2]) for place in range(4, 14, 2))
    try:
        date_time = dt.datetime(int(digits[:4]), month, day, hour, minute, second, tzinfo=dt.UTC)
    except ValueError:
        raise malformed("a certificate holds a date that does not exist") from None
    return (date_time - _EPOCH) // _SECOND


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _alternative_names(group: str, subject: str) -> x509.SubjectAlternativeName:
    """One identity, in the two forms that other programs look for."""
    uri = x509.UniformResourceIdentifier(f"spiffe://{group}/{subject}")
    return x509.SubjectAlternativeName([uri, x509.DNSName(f"{subject}.{group}")])


def _frame(kind: Kind, level: int | None) -> x509.CertificateBuilder:
    """A builder that holds the extensions which follow from kind and level."""
    if kind is Kind.IDC:
        return _IDC_FRAME
    if kind is Kind.GRC:
        return _GRC_FRAME
    assert level is not None
    if level == LEVEL_INVITING_MEMBER:
        return _INVITING_FRAME
    return _ADMIN_FRAME if issues(level) else _MEMBER_FRAME


def _made_frame(
    *, issuing: bool, path_length: int | None, proving: bool, links: bool
) -> x509.CertificateBuilder:
    """`issuing` certificates sign others, `proving` ones speak for the holder, `links` ones open TLS."""
    usage = x509.KeyUsage(
        digital_signature=proving,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=issuing,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        x509.CertificateBuilder()
        .add_extension(x509.BasicConstraints(issuing, path_length), critical=True)
        .add_extension(usage, critical=True)
    )
    if not links:
        return builder
    purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    return builder.add_extension(purposes, critical=False)


# Adding to a builder leaves it as it is, so the parts that many certificates share are made once.
_GRC_FRAME = _made_frame(issuing=True, path_length=None, proving=False, links=False)
_IDC_FRAME = _made_frame(issuing=False, path_length=None, proving=True, links=False)
_ADMIN_FRAME = _made_frame(issuing=True, path_length=None, proving=True, links=True)
_INVITING_FRAME = _made_frame(issuing=True, path_length=0, proving=True, links=True)
_MEMBER_FRAME = _made_frame(issuing=False, path_length=None, proving=True, links=True)


class _SignatureOf(Ed25519PrivateKey):
    """Stands in for the private key of whoever signed a certificate: it signs as was signed."""

    def __init__(self, der: bytes) -> None:
        self._signature = signature_in(der)

    def sign(self, data: Any) -> bytes:
        return self._signature

    def public_key(self) -> Ed25519PublicKey:
        raise AssertionError("the signer's key is not known here")

    def private_bytes(self, encoding: Any, format: Any, encryption_algorithm: Any) -> bytes:  # noqa: A002
        raise AssertionError("there is no private key here")

    def private_bytes_raw(self) -> bytes:
        raise AssertionError("there is no private key here")

    def __copy__(self) -> _SignatureOf:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> _SignatureOf:
        return self
