"""Sealing keys: X25519 keys for what only one identity shall read.

The private half follows from the identity's seed, so it needs no file of its own and moves with the identity;
the public half is in the contact record of each administrator (reserved.py of records).
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from protocol.credentials.keys import PrivateKey
from protocol.ids import tagged_hash

SEALING_KEY_BYTES = 32
_TAG = "peerd/sealing-key/1"


def sealing_key(identity: PrivateKey) -> X25519PrivateKey:
    """The private sealing key of an identity; X25519 clamps its 32 bytes."""
    return X25519PrivateKey.from_private_bytes(tagged_hash(_TAG, identity.seed))


def public_sealing_key(identity: PrivateKey) -> bytes:
    """The public half, 32 bytes (RFC 7748)."""
    return sealing_key(identity).public_key().public_bytes_raw()
