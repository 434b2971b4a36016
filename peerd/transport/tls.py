"""What is spoken under the frames: TLS 1.3 and nothing else, between two ends that are strangers still.

Differs: there is no certificate to check. TLS gives confidentiality and `exporter` (RFC 9266), and both
identities are proved inside, over that value: somebody in the middle has two connections with two values and
no proof that fits. The listener's certificate holds a key of this start and is otherwise the same everywhere;
the caller has none. Guards: with no resumption, every connection goes through every check (reliability-study
M3).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from OpenSSL._util import lib

ALPN = b"peerd/1"
EXPORTER_LABEL = b"EXPORTER-Channel-Binding"  # RFC 9266
EXPORTER_BYTES = 32
_GROUPS = b"X25519:P-256"
_SIGNATURES = b"ed25519:ECDSA+SHA256"  # no RSA: a caller would check a key as large as a liar likes
_SUBJECT = "peerd"
_NOT_BEFORE = datetime(2000, 1, 1, tzinfo=UTC)
_NOT_AFTER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


@cache
def caller_context() -> SSL.Context:
    """The settings of every caller. It shows no name, no certificate, and believes none."""
    context = _context(SSL.TLS_CLIENT_METHOD)
    context.set_alpn_protos([ALPN])
    return context


def answerer_context() -> SSL.Context:
    """The settings of one listener, with a key and certificate made now; it asks callers for none."""
    key = Ed25519PrivateKey.generate()
    context = _context(SSL.TLS_SERVER_METHOD)
    context.use_privatekey(key)
    context.use_certificate(anonymous_certificate(key))
    context.set_alpn_select_callback(_select_alpn)
    return context


def anonymous_certificate(key: Ed25519PrivateKey) -> x509.Certificate:
    """A self-signed certificate that tells nothing apart but its key and a random serial."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _SUBJECT)])
    builder = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=_NOT_BEFORE,
        not_valid_after=_NOT_AFTER,
    )
    return builder.sign(key, algorithm=None)


def export_binding(connection: SSL.Connection) -> bytes:
    """The 32 bytes that are the same at both ends of this connection and nowhere else."""
    return connection.export_keying_material(EXPORTER_LABEL, EXPORTER_BYTES, b"")


def _context(method: int) -> SSL.Context:
    context = SSL.Context(method)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.set_max_proto_version(SSL.TLS1_3_VERSION)
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_COMPRESSION)
    # OP_NO_TICKET makes a ticket a name in this cache, and the cache is off. pyOpenSSL cannot set the number
    # of tickets to 0, so two of them are still sent and open nothing; a test offers one and is refused.
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_verify(SSL.VERIFY_NONE)
    # pyOpenSSL has no public name for these two lists.
    for setter, names in (
        (lib.SSL_CTX_set1_curves_list, _GROUPS),
        (lib.SSL_CTX_set1_sigalgs_list, _SIGNATURES),
    ):
        assert setter(context._context, names) == 1, names
    return context


def _select_alpn(_connection: SSL.Connection, offered: Sequence[bytes]) -> Any:
    return ALPN if ALPN in offered else SSL.NO_OVERLAPPING_PROTOCOLS
