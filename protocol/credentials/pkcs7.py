"""Bags of certificates: PKCS#7 SignedData that signs nothing, the original's wrapping for certificates in
documents.

As with single certificates, reading finds the certificates, reads each, writes the bag again and compares,
so one set of certificates has one spelling (RFC 2315 section 9.1; DER orders the set by its bytes, so order
is not kept).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from protocol.credentials.certificates import Certificate, decode_untrusted_certificate
from protocol.errors import Fault, RemoteProtocolError, malformed
from protocol.limits import CHAIN_BYTES_MAX, CHAIN_CERTIFICATES_MAX

_ENVELOPE_BYTES_MAX = 64  # headers and object identifiers around the certificates
_HEADER_BYTES = 4  # of one certificate: they are all longer than 255 and shorter than 65,536 bytes

_BAG = re.compile(
    rb"\x30.{1,4}\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02\xa0.{1,4}\x30.{1,4}\x02\x01\x01\x31\x00"
    rb"\x30\x0b\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01\xa0(?:\x82..|\x83...)(\x30\x82.*)\x31\x00",
    re.DOTALL,
)


def write_bag(ders: Sequence[bytes]) -> bytes:
    """The DER of a bag of certificates of ours; the same for any order of them."""
    return pkcs7.serialize_certificates([x509.load_der_x509_certificate(der) for der in ders], Encoding.DER)


def read_untrusted_bag(bag: bytes) -> tuple[Certificate, ...]:
    """The certificates in a bag from anywhere, at most 25, each once. Raises: RemoteProtocolError."""
    if len(bag) > CHAIN_BYTES_MAX + _ENVELOPE_BYTES_MAX:
        raise RemoteProtocolError(Fault.OVER_LIMIT, f"a bag of {len(bag)} bytes")
    found = _BAG.fullmatch(bag)
    if found is None:
        raise malformed("not a bag of certificates")
    ders = _split(found.group(1))
    certificates = tuple(decode_untrusted_certificate(der) for der in ders)
    if len(dict.fromkeys(ders)) != len(ders):
        raise malformed("a bag holds a certificate twice")
    if write_bag(ders) != bag:
        raise malformed("a bag of certificates is of another form than ours")
    return certificates


def _split(content: bytes) -> list[bytes]:
    """Cut where the headers say; what the pieces are is not asked yet. Raises: RemoteProtocolError."""
    ders: list[bytes] = []
    at = 0
    while at < len(content):
        # Guards: no more rounds than certificates are allowed, whatever the lengths say.
        if len(ders) == CHAIN_CERTIFICATES_MAX:
            raise RemoteProtocolError(Fault.OVER_LIMIT, "a bag of too many certificates")
        end = at + _HEADER_BYTES + int.from_bytes(content[at + 2 : at + _HEADER_BYTES], "big")
        ders.append(content[at:end])
        at = end
    return ders
