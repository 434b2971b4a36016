"""Private keys on disk: one PKCS#8 PEM file for each, readable by its owner only.

The form is the one that every tool knows, scanners for leaked secrets too. A key that cannot be read, is open
to others, or is another than the expected one is not used: the answer is `no-key-access`, and says why.
"""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from peerd.errors import PeerdError
from peerd.paths import read_private, replace_durably
from protocol.credentials.keys import SEED_BYTES, PrivateKey, PublicKey
from protocol.errors import RuleError

KEY_FILE_BYTES_MAX = 1024  # ours are 119 bytes


def draw_seed() -> bytes:
    """32 fresh random bytes for a key."""
    return os.urandom(SEED_BYTES)


def write_key(path: Path, key: PrivateKey) -> None:
    """Put a private key into a file; durable on return. Raises: StoreError."""
    replace_durably(path, pem_of(key))


def read_key(path: Path, expected: PublicKey) -> PrivateKey:
    """The private key in a file, if it is that of `expected`. Raises: RuleError("no-key-access")."""
    key = key_in(read_key_file(path), path)
    if key.public != expected:
        raise _refused(f"the key in {path} is not the one that belongs there")
    return key


def pem_of(key: PrivateKey) -> bytes:
    """The contents of a key file that whoever reads it can use."""
    return key.crypto.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def read_key_file(path: Path) -> bytes:
    """The contents of a key file that nobody else could read. Raises: RuleError("no-key-access")."""
    try:
        return read_private(path, bytes_max=KEY_FILE_BYTES_MAX)
    except PeerdError as error:
        hint = error.hint or "put the key file back from a backup, with mode 600"
        raise RuleError("no-key-access", error.detail, hint=hint) from None


def key_in(pem: bytes, path: Path) -> PrivateKey:
    """The private key in the contents of a file. Raises: RuleError("no-key-access")."""
    try:
        loaded = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _refused(f"the file {path} holds no private key that can be read") from None
    if not isinstance(loaded, Ed25519PrivateKey):
        raise _refused(f"the key in {path} is not an Ed25519 key")
    return PrivateKey.from_seed(loaded.private_bytes_raw())


def _refused(detail: str) -> RuleError:
    return RuleError("no-key-access", detail, hint="put the key file back from a backup, with mode 600")
