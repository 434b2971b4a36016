"""What a transaction adds to a group's records, held back until it is written in one go.

Most of what arrives is a new record: a version, its body, and a line of what is shown. Written one by one
while the machine works, each costs several calls of SQLite; written many at a time, they cost half. So new
rows are kept here for a while, and whoever reads asks here first. Anything that is not about new rows goes to
the tables at once.

The counts of creators are held back alike: they change with every record and are few.
"""

from __future__ import annotations

from dataclasses import dataclass

from peerd.store.database import Database, check_number
from peerd.store.record_rows import (
    INSERT_ATTRIBUTE,
    INSERT_BODY,
    INSERT_SHOWN,
    INSERT_VERSION,
    VersionRow,
    attribute_values,
    body_values,
    shown_values,
)
from protocol.records.record import Header


class Fresh:
    """The new rows, and how many bytes they have. A version may be here only whole: with all that the
    transaction says about it.
    """

    def __init__(self) -> None:
        """Nothing yet."""
        self.bytes = 0
        self.versions: dict[bytes, VersionRow] = {}
        self.by_record: dict[bytes, list[VersionRow]] = {}
        self.by_body: dict[bytes, list[VersionRow]] = {}
        self.bodies: dict[bytes, tuple[int, bytes]] = {}
        self.shown: dict[bytes, Header] = {}

    def add(self, row: VersionRow) -> None:
        """Hold back a version."""
        self.bytes += len(row.raw)
        self.versions[row.id] = row
        self.by_record.setdefault(row.record_id, []).append(row)
        if row.names is not None:
            self.by_body.setdefault(row.names, []).append(row)

    def add_body(self, body_hash: bytes, number: int, data: bytes) -> None:
        """Hold back a body."""
        self.bytes += len(data)
        self.bodies[body_hash] = number, data
        for row in self.by_body.get(body_hash, ()):
            row.body = number

    def write(self, database: Database) -> None:
        """Put all into the tables, in the open transaction."""
        rows = self.versions.values()
        database.write_many(INSERT_VERSION, (row.values() for row in rows))
        bodies = self.bodies.items()
        database.write_many(
            INSERT_BODY, (body_values(number, body_hash, data) for body_hash, (number, data) in bodies)
        )
        shown = [(self.versions[header.id], header) for header in self.shown.values()]
        database.write_many(INSERT_SHOWN, (shown_values(row, header) for row, header in shown))
        database.write_many(
            INSERT_ATTRIBUTE, (values for row, header in shown for values in attribute_values(row, header))
        )
        self.clear()

    def clear(self) -> None:
        """Forget all."""
        self.bytes = 0
        for table in (self.versions, self.by_record, self.by_body, self.bodies, self.shown):
            table.clear()


@dataclass(slots=True)
class Count:
    """What counts against one creator. `prefix` is that of all their record ids, its first bit clear."""

    prefix: bytes
    ids: int = 0
    bytes: int = 0


class Creators:
    """The counts of creators, as far as the transaction has met them."""

    def __init__(self, database: Database) -> None:
        """None is known yet."""
        self._database = database
        self._counts: dict[bytes, Count | None] = {}
        self._changed: dict[bytes, Count] = {}

    def of(self, creator: bytes) -> Count | None:
        """The counts of a creator, None when there is nothing to count. Raises what `Database` raises."""
        if creator in self._counts:
            return self._counts[creator]
        count = self._read(creator)
        if self._database.writing:
            self._counts[creator] = count
        return count

    def add(self, row: VersionRow, ids: int, length: int) -> None:
        """Count more or less against the creator of a version's record."""
        count = self.of(row.creator)
        if count is None:
            count = self._counts[row.creator] = Count(prefix_of(row.record_id))
        assert count.prefix == prefix_of(row.record_id), "a record's id is bound to its creator"
        count.ids += ids
        count.bytes += length
        self._changed[row.creator] = count

    def write(self) -> None:
        """Put what has changed into the table, in the open transaction."""
        for creator, count in self._changed.items():
            if count.ids:
                self._database.write(
                    "INSERT OR REPLACE INTO creators (creator, prefix, ids, bytes, check_number)"
                    " VALUES (?, ?, ?, ?, ?)",
                    (creator, count.prefix, count.ids, count.bytes, _count_check(creator, count)),
                )
            else:
                self._database.write("DELETE FROM creators WHERE creator = ?", (creator,))
        self.clear()

    def clear(self) -> None:
        """Forget all that is known."""
        self._counts.clear()
        self._changed.clear()

    def _read(self, creator: bytes) -> Count | None:
        rows = self._database.rows(
            "SELECT prefix, ids, bytes, check_number FROM creators WHERE creator = ?", (creator,)
        )
        if not rows:
            return None
        prefix, ids, length, stored = rows[0]
        count = Count(prefix, ids, length)
        if _count_check(creator, count) != stored:
            raise self._database.damaged(f"the counts of the creator {creator.hex()} have changed")
        return count


def prefix_of(record_id: bytes) -> bytes:
    """The 8 bytes that all ids of one creator share, whatever their class."""
    return bytes([record_id[0] & 0x7F]) + record_id[1:8]


def _count_check(creator: bytes, count: Count) -> int:
    return check_number(creator, count.prefix, b"%d %d" % (count.ids, count.bytes))
