"""The private root keys of groups created here, one file for each.

Whoever holds one can issue at level 0 and set the group's properties. It is needed for these two only, so the
file may be taken away, and put back for the day it is needed; till then both are refused, `no-key-access`.
"""

from __future__ import annotations

from pathlib import Path

from peerd.key_files import read_key, write_key
from peerd.paths import make_private_directory, remove_durably
from protocol.credentials.keys import PrivateKey, PublicKey
from protocol.ids import GID_BYTES


class RootKeys:
    """The directory of root keys."""

    def __init__(self, directory: Path) -> None:
        """Create the directory if it is missing. Raises: ConfigError, StoreError."""
        make_private_directory(directory)
        self._directory = directory

    def save(self, gid: bytes, key: PrivateKey) -> None:
        """Keep the root key of a group; durable on return. Raises: StoreError."""
        assert not self.held(gid), "a root key is never overwritten"
        write_key(self._path(gid), key)

    def held(self, gid: bytes) -> bool:
        """Whether there is a root key of this group; it may still be unusable."""
        return self._path(gid).exists()

    def load(self, gid: bytes, expected: PublicKey) -> PrivateKey:
        """The root key of a group, if it is that of `expected`. Raises: RuleError("no-key-access")."""
        return read_key(self._path(gid), expected)

    def remove(self, gid: bytes) -> None:
        """Forget the root key of a group, if there is one. Raises: StoreError."""
        remove_durably(self._path(gid))

    def _path(self, gid: bytes) -> Path:
        assert len(gid) == GID_BYTES
        return self._directory / f"{gid.hex()}.pem"
