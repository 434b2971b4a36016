"""The daemon's own file: which groups it takes part in, under which identity, and settings.

Private keys are not here, nor is a list of identities: their files are the truth about them.
"""

from __future__ import annotations

from enum import Enum
from pathlib import Path

import msgspec

from peerd.store.database import Database, Row, check_number
from peerd.store.migrations import DAEMON_SCHEMA
from peerd.store.settings import read_setting, write_setting
from protocol.codec import decode_untrusted_struct, encode_struct, prepared
from protocol.ids import AUTHORITY_BYTES, GID_BYTES
from protocol.limits import CATALOGUE_ENTRY_BYTES_MAX, KNOWN_ADDRESSES_MAX


class GroupState(Enum):
    """How far this node has come in a group."""

    JOINING = "joining"  # its genesis has not arrived yet
    OPEN = "open"


@prepared
class CatalogueEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One group that the user takes part in.

    `authority` (20 bytes) names it; `gid` (32 bytes) is None until the genesis has arrived. `identity` is the
    peer name that it is opened under. `connected` says whether the user wants links, `only` that they are to
    `addresses` and nobody else. `created_here`: the group's root key is in this home.
    """

    authority: bytes
    gid: bytes | None
    group_name: str
    identity: str
    state: GroupState
    addresses: tuple[str, ...] = ()
    connected: bool = True
    only: bool = False
    created_here: bool = False

    def __post_init__(self) -> None:
        """A gid that does not fit the authority would pin another group's root."""
        assert len(self.authority) == AUTHORITY_BYTES
        assert self.gid is None or (len(self.gid) == GID_BYTES and self.gid.startswith(self.authority))
        assert self.gid is not None or self.state is GroupState.JOINING
        assert len(self.addresses) <= KNOWN_ADDRESSES_MAX


class DaemonStore:
    """The catalogue of groups and the daemon's settings; what a method has done is durable when it returns.

    Every method raises what `Database` raises, and has then changed nothing.
    """

    def __init__(self, path: Path, *, vfs: str | None = None) -> None:
        """Open the daemon's file, or make it."""
        self._database = Database(path, DAEMON_SCHEMA, vfs=vfs)

    def groups(self) -> tuple[CatalogueEntry, ...]:
        """All groups, in the order in which they were first entered."""
        rows = self._database.rows("SELECT authority, entry, check_number FROM groups ORDER BY position")
        return tuple(self._entry(row) for row in rows)

    def group(self, authority: bytes) -> CatalogueEntry | None:
        """The entry of one group."""
        rows = self._database.rows(
            "SELECT authority, entry, check_number FROM groups WHERE authority = ?", (authority,)
        )
        return self._entry(rows[0]) if rows else None

    def put_group(self, entry: CatalogueEntry) -> None:
        """Enter a group, or give its entry new contents."""
        packed = encode_struct(entry)
        assert len(packed) <= CATALOGUE_ENTRY_BYTES_MAX
        with self._database.transaction():
            self._database.write(
                "INSERT INTO groups (authority, entry, check_number) VALUES (?, ?, ?)"
                " ON CONFLICT (authority)"
                " DO UPDATE SET entry = excluded.entry, check_number = excluded.check_number",
                (entry.authority, packed, check_number(entry.authority, packed)),
            )

    def remove_group(self, authority: bytes) -> None:
        """Forget a group if it is there; the group's own file is not touched."""
        with self._database.transaction():
            self._database.write("DELETE FROM groups WHERE authority = ?", (authority,))

    def setting(self, key: str) -> bytes | None:
        """The value of a setting, None when it was never set or was cleared."""
        return read_setting(self._database, key)

    def set_setting(self, key: str, value: bytes | None) -> None:
        """Set a setting, or clear it with None."""
        with self._database.transaction():
            write_setting(self._database, key, value)

    def close(self) -> None:
        """Let go of the file; a second time is the same as once."""
        self._database.close()

    def _entry(self, row: Row) -> CatalogueEntry:
        authority, packed, stored = row
        if check_number(authority, packed) != stored:
            raise self._database.damaged(f"the entry of group {authority.hex()} has changed")
        return decode_untrusted_struct(packed, CatalogueEntry, bytes_max=CATALOGUE_ENTRY_BYTES_MAX)
