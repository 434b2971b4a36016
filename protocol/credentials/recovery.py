"""The recovery key of a group, as people keep it: on paper.

The 32-byte seed and 3 bytes of checksum are 56 characters of base32 in 14 groups of four. Base32 has no
digits that look like letters, and a typing error passes the checksum once in 16 million times. Case, spaces
and line breaks do not matter; lines that begin with `#` are the reader's own notes and are skipped.

The number of the format stands in the checksum's tag, so a key of another format is never taken for one of
this.
"""

from __future__ import annotations

import base64
import hmac

from protocol.credentials.keys import SEED_BYTES
from protocol.errors import RuleError
from protocol.ids import tagged_hash

_CHECKSUM_BYTES = 3
_CHARACTERS = 56
_GROUP_CHARACTERS = 4
_ALPHABET = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
_LOOKS_LIKE = str.maketrans({"0": "O", "1": "I", "8": "B"})
_TEXT_CHARACTERS_MAX = 4096  # arbitrary: a key, and notes beside it


def format_recovery_key(seed: bytes) -> str:
    """The text of a 32-byte seed: 14 groups of four characters with hyphens between."""
    assert len(seed) == SEED_BYTES
    text = base64.b32encode(seed + _checksum(seed)).decode("ascii")
    return "-".join(text[i : i + _GROUP_CHARACTERS] for i in range(0, _CHARACTERS, _GROUP_CHARACTERS))


def parse_recovery_key(text: str) -> bytes:
    """The 32-byte seed of a recovery key as a person typed it. Raises: RuleError("invalid-argument")."""
    if len(text) > _TEXT_CHARACTERS_MAX:
        raise _refused(f"it has {len(text)} characters")
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    characters = "".join("".join(lines).replace("-", "").split()).upper().translate(_LOOKS_LIKE)
    for position, character in enumerate(characters):
        if character not in _ALPHABET:
            raise _refused(f"character {position + 1} is none that a recovery key has")
    if len(characters) != _CHARACTERS:
        raise _refused(f"it has {len(characters)} characters where {_CHARACTERS} belong")
    decoded = base64.b32decode(characters)
    seed, checksum = decoded[:SEED_BYTES], decoded[SEED_BYTES:]
    if not hmac.compare_digest(checksum, _checksum(seed)):
        raise _refused("its last characters do not fit the rest, so at least one was mistyped")
    return seed


def _checksum(seed: bytes) -> bytes:
    return tagged_hash("peerd/recovery-key/1", seed)[:_CHECKSUM_BYTES]


def _refused(reason: str) -> RuleError:
    return RuleError(
        "invalid-argument",
        f"this is not a recovery key: {reason}",
        hint="compare it with the paper or file that was made when the group was created",
    )
