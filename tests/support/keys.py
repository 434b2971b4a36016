"""Fixed key pairs, by small integer and by name."""

from __future__ import annotations

import hashlib
from functools import cache

from protocol.credentials.keys import PrivateKey
from protocol.credentials.names import PeerName, name_of_key


@cache
def key(number: int) -> PrivateKey:
    """The key pair of a small integer: its seed is the integer in 32 bytes."""
    return PrivateKey.from_seed(number.to_bytes(32, "big"))


@cache
def named(name: str) -> PrivateKey:
    """The key pair that goes by this name in all tests."""
    return PrivateKey.from_seed(hashlib.sha256(name.encode()).digest())


def peer_name(name: str) -> PeerName:
    """The peer name of that key, with the name as its classifier."""
    return name_of_key(named(name).public, name)
