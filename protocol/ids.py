"""Hashes with a domain of their own, and the short names drawn from them."""

from __future__ import annotations

import hashlib
import struct
from functools import cache

PID_BYTES = 32
GID_BYTES = 32
ACT_ID_BYTES = 32
AUTHORITY_BYTES = 20
CHAIN_BYTES = 16
NODE_ID_BYTES = 16
_length = struct.Struct(">I").pack


def framed(tag: str, *fields: bytes) -> bytes:
    """Tag and fields, each behind its length in 4 big-endian bytes, so that no two inputs give one byte
    string.
    """
    parts = [_head(tag)]
    for field in fields:
        parts += _length(len(field)), field
    return b"".join(parts)


@cache
def _head(tag: str) -> bytes:
    """A tag behind its length; tags are few."""
    return _length(len(tag)) + tag.encode("ascii")


def tagged_hash(tag: str, *fields: bytes) -> bytes:
    """SHA-256 (32 bytes) over `framed(tag, *fields)`."""
    return hashlib.sha256(framed(tag, *fields)).digest()


def authority_of(identifier: bytes) -> str:
    """The first 20 bytes of a pid or gid as 40 lower-case hex digits."""
    return identifier[:AUTHORITY_BYTES].hex()


def split_ids(ids: bytes) -> tuple[bytes, ...]:
    """A byte string of 32-byte ids as a tuple; its length must be a multiple of 32."""
    assert len(ids) % ACT_ID_BYTES == 0
    return tuple(ids[i : i + ACT_ID_BYTES] for i in range(0, len(ids), ACT_ID_BYTES))
