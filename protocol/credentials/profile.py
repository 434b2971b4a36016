"""The one shape that certificates have here, and how no other shape gets in.

Every certificate of peerd is the image of a `Layout`. Writing fills one in and signs it. Reading only finds
where the values stand; the reader of certificates then fills in the layout that these values call for, and
compares. What is accepted is therefore, byte for byte, what a builder makes: no second encoding, further
extension, other order, flag, name part or form of a date needs a rule of its own (design section 4;
reliability study M1, M2, F12-F17), and bytes from elsewhere never reach a parser of all X.509.

The extensions, in order: basic constraints (critical), key usage (critical), extended key usage (GMC),
subject and authority key identifier, alternative names (GMC), and the claims: canonical msgpack under an OID
of ours that tells the kind. The claims are not critical, so that other programs accept the chain; our own
check demands them.

Nearly everything in a certificate has a fixed length, so the library writes one certificate of each shape,
and further ones are that one with other values in their places: 8 µs where the library takes 55, which a
node that catches up pays for every certificate it receives.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from protocol.credentials.keys import SEED_BYTES, SIGNATURE_BYTES, PrivateKey, PublicKey, public_key_untrusted
from protocol.credentials.roles import issues
from protocol.errors import malformed
from protocol.ids import AUTHORITY_BYTES
from protocol.limits import (
    CERTIFICATE_DATES_MAX,
    CERTIFICATE_SHAPES_MAX,
    LEVEL_INVITING_MEMBER,
    SERIAL_BYTES_MAX,
)
from protocol.peer_time import Window

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_SECOND = dt.timedelta(seconds=1)
_LONG_DATES_FROM = (dt.datetime(2050, 1, 1, tzinfo=dt.UTC) - _EPOCH) // _SECOND  # RFC 5280 4.1.2.5
_SIGNED_FROM = 4  # behind the header of the whole
_SIGNED_TO = -10  # before the algorithm (7 bytes) and the header of the bit string (3) that follow


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


def write_certificate(layout: Layout, signer: PrivateKey) -> bytes:
    """The DER of a layout, signed."""
    body = write_body(layout)
    return body + signer.sign(body[_SIGNED_FROM:_SIGNED_TO])


def write_body(layout: Layout) -> bytes:
    """The DER of a layout up to where the 64 bytes of the signature stand."""
    start, end = _date(layout.window.start), _date(layout.window.end)
    subject = layout.subject_name.encode("ascii")
    values = [
        layout.serial.to_bytes(SERIAL_BYTES_MAX, "big"),
        layout.issuer_name.encode("ascii"),
        start,
        end,
        subject,
        layout.subject.raw,
        layout.subject.pid[:AUTHORITY_BYTES],
        layout.issuer_key_id,
    ]
    if layout.group_authority is not None:
        group = layout.group_authority.encode("ascii")
        values += (group, subject, subject, group)
    values.append(layout.claims)
    first, *rest = _pieces(_frame(layout), len(start), len(end), len(layout.claims))
    body = [first]
    for value, piece in zip(values, rest, strict=True):
        body += (value, piece)
    return b"".join(body)


def body_in(der: bytes) -> bytes:
    """All of a certificate but the 64 bytes of its signature."""
    return der[:-SIGNATURE_BYTES]


def signature_in(der: bytes) -> bytes:
    """The signature of a certificate, 64 bytes."""
    return der[-SIGNATURE_BYTES:]


def signed_part(der: bytes) -> bytes:
    """What the signature of a certificate covers."""
    return body_in(der)[_SIGNED_FROM:_SIGNED_TO]


_ALGORITHM = rb"\x30\x05\x06\x03\x2b\x65\x70"
_NAME_HEADER = rb"\x30\x33\x31\x31\x30\x2f\x06\x03\x55\x04\x03\x0c\x28"
_OID_OF_CLAIMS = rb"\x06\x15\x69\x82\xed\xd5\xd8\xb8\x91\xe5\xda\x9d\x8f\xb3\xca\xa9\xe9\xdd\x98\xf7\xa1\x5d"
# Where the values stand in a body. For finding only: what it lets pass between them, the comparison catches.
_VALUES = re.compile(
    rb"\x30\x82..\x30\x82..\xa0\x03\x02\x01\x02"  # lengths take two bytes, version 3
    rb"\x02\x14(?P<serial>.{20})" + _ALGORITHM +
    _NAME_HEADER + rb"(?P<issuer>[0-9a-f]{40})"
    rb"\x30.(?P<start>\x17\x0d\d{12}Z|\x18\x0f\d{14}Z)(?P<end>\x17\x0d\d{12}Z|\x18\x0f\d{14}Z)" +
    _NAME_HEADER + rb"(?P<subject>[0-9a-f]{40})"
    rb"\x30\x2a" + _ALGORITHM + rb"\x03\x21\x00(?P<key>.{32})"
    rb".{0,128}?\x06\x03\x55\x1d\x0e\x04\x16\x04\x14(?P<key_id>.{20})"  # constraints and usages before it
    rb".{2}\x06\x03\x55\x1d\x23\x04\x18\x30\x16\x80\x14(?P<issuer_key_id>.{20})"
    rb"(?:.{0,20}\x86\x5aspiffe://(?P<uri_group>.{40})/(?P<uri_subject>.{40})"
    rb"\x82\x51(?P<dns_subject>.{40})\.(?P<dns_group>.{40}))?"
    rb".{2,4}" + _OID_OF_CLAIMS + rb"(?P<kind>[\x01-\x03])\x04(?:[\x00-\x7f]|\x81.|\x82..)(?P<claims>.*)" +
    _ALGORITHM + rb"\x03\x41\x00",
    re.DOTALL,
)  # fmt: skip


def find_untrusted_values(der: bytes) -> Values:
    """Find the values in bytes from anywhere; only `write_body` shows what else is there.

    Raises: RemoteProtocolError.
    """
    found = _VALUES.fullmatch(body_in(der))
    if found is None:
        raise malformed("a certificate is of another form than ours")
    return Values(
        kind=Kind(found["kind"][0]),
        subject=public_key_untrusted(found["key"]),
        issuer_name=found["issuer"].decode("ascii"),
        issuer_key_id=found["issuer_key_id"],
        serial=int.from_bytes(found["serial"], "big"),
        window=Window(_seconds_untrusted(found["start"]), _seconds_untrusted(found["end"])),
        claims=found["claims"],
    )


@lru_cache(maxsize=CERTIFICATE_DATES_MAX)
def _date(seconds: int) -> bytes:
    """The DER of a date, header included: two digits for years before 2050, four from then on."""
    if seconds < _LONG_DATES_FROM:
        return (_EPOCH + seconds * _SECOND).strftime("\x17\x0d%y%m%d%H%M%SZ").encode("ascii")
    return (_EPOCH + seconds * _SECOND).strftime("\x18\x0f%Y%m%d%H%M%SZ").encode("ascii")


def _seconds_untrusted(date: bytes) -> int:
    """Seconds since 1970 UTC of a DER date, header included. Raises: RemoteProtocolError."""
    digits = date[2:-1].decode("ascii")
    if len(digits) == 12:
        digits = ("19" if digits >= "5" else "20") + digits
    try:
        date_time = dt.datetime.fromisoformat(f"{digits[:8]}T{digits[8:]}+00:00")
    except ValueError:
        raise malformed("a certificate holds a date that does not exist") from None
    return (date_time - _EPOCH) // _SECOND


# --- shapes, as the library writes them ------------------------------------------------------------------


class _Frame(Enum):
    """What a certificate may be used for; follows from kind and level."""

    ROOT = 1
    ADMIN = 2
    INVITING_MEMBER = 3
    MEMBER = 4
    IDENTITY = 5


def _frame(layout: Layout) -> _Frame:
    if layout.kind is Kind.GRC:
        return _Frame.ROOT
    if layout.kind is Kind.IDC:
        return _Frame.IDENTITY
    assert layout.level is not None
    if layout.level == LEVEL_INVITING_MEMBER:
        return _Frame.INVITING_MEMBER
    return _Frame.ADMIN if issues(layout.level) else _Frame.MEMBER


@lru_cache(maxsize=CERTIFICATE_SHAPES_MAX)
def _pieces(frame: _Frame, start_bytes: int, end_bytes: int, claims_bytes: int) -> tuple[bytes, ...]:
    """What stands before, between and behind the values in the body of every certificate of one shape."""
    body = body_in(_sample(frame, start_bytes, end_bytes, claims_bytes))
    found = _VALUES.fullmatch(body)
    assert found is not None
    holes = [found.span(name) for name in _VALUES.groupindex if name != "kind" and found[name] is not None]
    froms = [0, *(end for _, end in holes)]
    tos = [*(start for start, _ in holes), len(body)]
    return tuple(body[start:end] for start, end in zip(froms, tos, strict=True))


def _sample(frame: _Frame, start_bytes: int, end_bytes: int, claims_bytes: int) -> bytes:
    """A certificate of a shape, made by the library; what its values are does not matter."""
    kind = {_Frame.ROOT: Kind.GRC, _Frame.IDENTITY: Kind.IDC}.get(frame, Kind.GMC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "0" * 40)])
    signer = PrivateKey.from_seed(bytes(SEED_BYTES))
    builder = (
        _usages(frame)
        .issuer_name(name)
        .subject_name(name)
        .public_key(signer.public.crypto)
        .serial_number(1 << SERIAL_BYTES_MAX * 8 - 2)
        .not_valid_before(_sample_date(start_bytes))
        .not_valid_after(_sample_date(end_bytes))
        .add_extension(x509.SubjectKeyIdentifier(bytes(AUTHORITY_BYTES)), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier(bytes(AUTHORITY_BYTES), None, None), critical=False)
    )
    if kind is Kind.GMC:
        uri = x509.UniformResourceIdentifier(f"spiffe://{'0' * 40}/{'0' * 40}")
        names = x509.SubjectAlternativeName([uri, x509.DNSName(f"{'0' * 40}.{'0' * 40}")])
        builder = builder.add_extension(names, critical=False)
    claims = x509.UnrecognizedExtension(_OIDS[kind], bytes(claims_bytes))
    return builder.add_extension(claims, critical=False).sign(signer.crypto, None).public_bytes(Encoding.DER)


def _sample_date(date_bytes: int) -> dt.datetime:
    return _EPOCH if date_bytes == len(_date(0)) else _EPOCH + _LONG_DATES_FROM * _SECOND


def _usages(frame: _Frame) -> x509.CertificateBuilder:
    """The constraints and usages that come first."""
    issuing = frame in (_Frame.ROOT, _Frame.ADMIN, _Frame.INVITING_MEMBER)
    usage = x509.KeyUsage(
        digital_signature=frame is not _Frame.ROOT,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=issuing,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    path_length = 0 if frame is _Frame.INVITING_MEMBER else None
    builder = (
        x509.CertificateBuilder()
        .add_extension(x509.BasicConstraints(issuing, path_length), critical=True)
        .add_extension(usage, critical=True)
    )
    if frame in (_Frame.ROOT, _Frame.IDENTITY):
        return builder
    purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    return builder.add_extension(purposes, critical=False)
