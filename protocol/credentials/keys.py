"""Ed25519 keys: the one decoder for those of others, and signature checks that worker threads can run.

Only Ed25519 exists here (design section 4), so a key is its 32 raw bytes. A public key that came from
anywhere passes `public_key_untrusted` before it is used: small-order points verify signatures that nobody
made, and a second encoding of one point would be a second identity. A point off the curve is not looked
for: it verifies nothing, so it harms only who wrote it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from protocol.errors import ProtocolError, RemoteProtocolError, malformed
from protocol.ids import authority_of

PUBLIC_KEY_BYTES = 32
SEED_BYTES = 32
SIGNATURE_BYTES = 64

# What stands before the 32 bytes in a DER SubjectPublicKeyInfo (RFC 8410 section 4).
_SPKI_PREFIX = bytes.fromhex("302a300506032b6570032100")

_FIELD_PRIME = 2**255 - 19
_SIGN_BIT = 1 << 255
# The y coordinates of the eight points whose order divides 8 (RFC 7748 section 7, RFC 8032 section 5.1).
_SMALL_ORDER_Y = frozenset(
    {
        0,
        1,
        _FIELD_PRIME - 1,
        int.from_bytes(
            bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"
        ),
        int.from_bytes(
            bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"), "little"
        ),
    }
)


class BadSignature(ProtocolError):
    """A signature does not hold for its key and message; whose fault that is, the caller knows."""


@dataclass(frozen=True, slots=True, order=True)
class PublicKey:
    """A public key, known to be acceptable: `raw`, 32 bytes, and `pid`, SHA-256 of its `spki`."""

    raw: bytes
    pid: bytes = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Derive the pid once: nearly every user of a key needs it."""
        assert len(self.raw) == PUBLIC_KEY_BYTES
        object.__setattr__(self, "pid", hashlib.sha256(_SPKI_PREFIX + self.raw).digest())

    @property
    def spki(self) -> bytes:
        """The DER SubjectPublicKeyInfo, 44 bytes."""
        return _SPKI_PREFIX + self.raw

    @property
    def authority(self) -> str:
        """The first 20 bytes of the pid as 40 lower-case hex digits."""
        return authority_of(self.pid)

    @property
    def crypto(self) -> Ed25519PublicKey:
        """The key as the cryptography library wants it."""
        return Ed25519PublicKey.from_public_bytes(self.raw)

    def verify(self, signature: bytes, message: bytes) -> None:
        """Check a 64-byte signature. Raises: BadSignature."""
        try:
            self.crypto.verify(signature, message)
        except InvalidSignature:
            raise BadSignature("the signature does not hold") from None


def public_key_untrusted(raw: bytes) -> PublicKey:
    """Decode 32 bytes from anywhere; no second encodings, no small orders. Raises: RemoteProtocolError."""
    if len(raw) != PUBLIC_KEY_BYTES:
        raise malformed(f"a public key of {len(raw)} bytes")
    y = int.from_bytes(raw, "little") & ~_SIGN_BIT
    if y >= _FIELD_PRIME:
        raise malformed("a public key in a second encoding")
    # Guards: with such a key anybody's bytes pass for a signature.
    if y in _SMALL_ORDER_Y:
        raise malformed("a public key of small order")
    return PublicKey(raw)


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A private key; its `repr` shows the public half only. `seed` is the 32 bytes of RFC 8032."""

    seed: bytes = field(repr=False)
    public: PublicKey = field(compare=False)
    crypto: Ed25519PrivateKey = field(compare=False, repr=False)

    @classmethod
    def from_seed(cls, seed: bytes) -> PrivateKey:
        """The key of a 32-byte seed; where the seed's randomness comes from is the caller's business."""
        assert len(seed) == SEED_BYTES
        crypto = Ed25519PrivateKey.from_private_bytes(seed)
        return cls(seed, PublicKey(crypto.public_key().public_bytes_raw()), crypto)

    def sign(self, message: bytes) -> bytes:
        """Sign; 64 bytes, the same each time."""
        return self.crypto.sign(message)


@dataclass(frozen=True, slots=True)
class SignatureCheck:
    """One check still to be made, as worker threads take them: raw key (32 bytes), signature, message."""

    key: bytes
    signature: bytes
    message: bytes


def holds(check: SignatureCheck) -> bool:
    """Whether the signature holds; an unacceptable key holds nothing."""
    return all_hold((check,))


def all_hold(checks: Sequence[SignatureCheck]) -> bool:
    """Whether every signature holds; stops at the first that does not. Frees the GIL. A key that comes more
    than once is read once, which is a tenth of a check.
    """
    keys: dict[bytes, Ed25519PublicKey] = {}
    try:
        for check in checks:
            key = keys.get(check.key)
            if key is None:
                key = keys[check.key] = public_key_untrusted(check.key).crypto
            key.verify(check.signature, check.message)
    except (InvalidSignature, RemoteProtocolError):
        return False
    return True
