"""The records of a group's file: `RecordSet` on SQLite, in the transactions of `GroupStore`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import sha256

from peerd.store.database import Database, Value, check_number
from peerd.store.record_buffer import Creators, Fresh
from peerd.store.record_rows import (
    INSERT_ATTRIBUTE,
    INSERT_BODY,
    INSERT_SHOWN,
    SHOWN_COLUMNS,
    VERSION_COLUMNS,
    VersionRow,
    attribute_values,
    body_check,
    body_values,
    key_of,
    place_of,
    row_in,
    row_of,
    shown_in,
    shown_values,
    tallies_in,
)
from peerd.store.settings import read_setting, write_setting
from protocol.limits import STORE_HELD_BACK_BYTES_MAX
from protocol.records.record import Header
from protocol.records.record_set import State, Version, WantedBody

_TALLIES = "records"  # the setting in which the tallies are
_EXPECTED_MIN = 8  # below it, looking up one by one costs less
_VERSIONS_OF = f"SELECT {VERSION_COLUMNS} FROM versions WHERE record_id = ?"  # noqa: S608
# One version is enough: a thousand may name the same body.
_NAMING_BODY = "SELECT names, body FROM versions WHERE names_key = ? AND names = ? LIMIT 1"


class RecordStore:
    """The records in a database; whoever owns that begins and ends the transactions. Raises what `Database`
    raises.

    New rows are held back in `_fresh` until there are many, something else must be written about them, or the
    transaction ends.
    `_known` and `_bodies` remember what the open transaction has read of the tables about records and bodies.
    """

    def __init__(self, database: Database) -> None:
        """The records in a file that has been brought up to date."""
        self._database = database
        self._fresh = Fresh()
        self._creators = Creators(database)
        self._known: dict[bytes, list[VersionRow]] = {}
        self._bodies: dict[bytes, tuple[bool, int | None]] = {}
        self._committed = tallies_in(read_setting(database, _TALLIES))
        self._tallies = replace(self._committed)
        self._written = self._committed

    # --- versions -----------------------------------------------------------------------------------------

    def load_versions(self) -> Iterator[tuple[int, bytes, bool]]:
        """See `RecordSet`."""
        self._write_fresh()
        places = 0
        for hlc, version_id, durable in self._database.stream(
            "SELECT hlc, id, durable FROM versions WHERE state = 1 ORDER BY durable, hlc, id"
        ):
            places += place_of(hlc, version_id, durable)
            yield (hlc >> 16) // 1000, version_id, durable == 1
        if places % 2**64 != self._tallies.places:
            raise self._database.damaged("the list of versions has changed")

    def header(self, version_id: bytes) -> bytes | None:
        """See `RecordSet`."""
        row = self._version(version_id)
        return None if row is None else row.raw

    def version(self, version_id: bytes) -> Version | None:
        """See `RecordSet`."""
        row = self._version(version_id)
        return None if row is None else row.version()

    def versions(self, record_id: bytes) -> list[Version]:
        """See `RecordSet`."""
        return [row.version() for row in self._of_record(record_id)]

    def records_citing(self, cred: bytes) -> list[bytes]:
        """See `RecordSet`."""
        self._write_fresh()
        rows = self._database.rows(
            "SELECT DISTINCT record_id FROM versions WHERE cred_key = ? AND cred = ? ORDER BY record_id",
            (key_of(cred), cred),
        )
        return [record_id for (record_id,) in rows]

    def expect(self, headers: Sequence[Header]) -> None:
        """See `RecordSet`."""
        if len(headers) < _EXPECTED_MIN or not self._database.writing:
            return
        unknown: dict[bytes, list[VersionRow]] = {
            header.record_id: [] for header in headers if header.record_id not in self._known
        }
        for values in self._database.rows_for_each(_VERSIONS_OF, ((one,) for one in unknown)):
            row = row_in(values, self._database.damaged)
            unknown[row.record_id].append(row)
        self._known |= unknown
        asked = {header.body_hash for header in headers if header.body_hash is not None}
        hashes = asked - self._bodies.keys()
        keys = ((key_of(body_hash), body_hash) for body_hash in hashes)
        named: dict[bytes, int | None] = dict(self._database.rows_for_each(_NAMING_BODY, keys))
        for body_hash in hashes:
            self._bodies[body_hash] = body_hash in named, named.get(body_hash)

    def put_version(self, header: Header, state: State, at_ms: int) -> None:
        """See `RecordSet`."""
        self._database.check_writable()
        if self._fresh.bytes > STORE_HELD_BACK_BYTES_MAX:
            self._write_fresh()
        rows = self._of_record(header.record_id)
        assert all(row.id != header.id for row in rows), "a version is put once"
        self._tallies.arrival += 1
        body = None if header.body_hash is None else self._body(header.body_hash)[1]
        row = row_of(header, state, self._tallies.arrival, at_ms, body)
        self._fresh.add(row)
        self._count(row, rows)

    def set_state(self, version_id: bytes, state: State, at_ms: int) -> None:
        """See `RecordSet`."""
        row, others = self._stored(version_id)
        assert row.state is not state, "the version has this state already"
        before, row.state, row.at_ms = replace(row), state, at_ms
        self._write_to(
            "versions", "SET state = ?, at_ms = ? WHERE arrival = ?", int(state), at_ms, before.arrival
        )
        if state is State.KEPT:
            self._tallies.arrival += 1
            row.arrival = self._tallies.arrival
            for table in ("versions", "shown", "attributes"):
                self._write_to(table, "SET arrival = ? WHERE arrival = ?", row.arrival, before.arrival)
        self._count_no_more(before, others)
        self._count(row, others)

    def discard_version(self, version_id: bytes) -> None:
        """See `RecordSet`."""
        row, others = self._stored(version_id)
        self._count_no_more(row, others)
        self._drop_body_with(row)
        for table in ("versions", "shown", "attributes"):
            self._database.write(f"DELETE FROM {table} WHERE arrival = ?", (row.arrival,))  # noqa: S608

    def kept_before(self, hlc: int, limit: int) -> list[Version]:
        """See `RecordSet`."""
        return self._versions(
            "WHERE state = 1 AND durable = 0 AND hlc < ? ORDER BY hlc, id LIMIT ?", (hlc, limit)
        )

    def kept_ahead(self, hlc: int, limit: int) -> list[Version]:
        """See `RecordSet`."""
        ahead = [
            version
            for durable in (0, 1)
            for version in self._versions(
                "WHERE state = 1 AND durable = ? AND hlc > ? ORDER BY hlc DESC, id DESC LIMIT ?",
                (durable, hlc, limit),
            )
        ]
        return sorted(ahead, key=lambda version: (version.hlc, version.id), reverse=True)[:limit]

    def aside_oldest(self, limit: int) -> list[tuple[int, bytes]]:
        """See `RecordSet`."""
        self._write_fresh()
        return [
            (at_ms, version_id)
            for at_ms, version_id in self._database.rows(
                "SELECT at_ms, id FROM versions WHERE state = 2 ORDER BY at_ms, id LIMIT ?", (limit,)
            )
        ]

    def aside_count(self) -> tuple[int, int]:
        """See `RecordSet`."""
        return self._tallies.aside, self._tallies.aside_bytes

    def arrived_after(self, arrival: int, limit: int) -> list[tuple[int, bytes]]:
        """See `RecordSet`."""
        self._write_fresh()
        return [
            (number, version_id)
            for number, version_id in self._database.rows(
                "SELECT arrival, id FROM versions WHERE arrival > ? AND +state = 1 ORDER BY arrival LIMIT ?",
                (arrival, limit),
            )
        ]

    def last_arrival(self) -> int:
        """See `RecordSet`."""
        return self._tallies.arrival

    # --- bodies -------------------------------------------------------------------------------------------

    def body(self, body_hash: bytes) -> bytes | None:
        """See `RecordSet`."""
        number = self._body(body_hash)[1]
        if number is None:
            return None
        if body_hash in self._fresh.bodies:
            return self._fresh.bodies[body_hash][1]
        rows = self._database.rows("SELECT hash, data, check_number FROM bodies WHERE number = ?", (number,))
        if not rows or rows[0][0] != body_hash or body_check(body_hash, rows[0][1]) != rows[0][2]:
            raise self._database.damaged(f"the body {body_hash.hex()} has changed")
        return bytes(rows[0][1])

    def has_body(self, body_hash: bytes) -> bool:
        """See `RecordSet`."""
        return self._body(body_hash)[1] is not None

    def names_body(self, body_hash: bytes) -> bool:
        """See `RecordSet`."""
        return self._body(body_hash)[0]

    def versions_naming(self, body_hash: bytes, limit: int) -> list[Version]:
        """See `RecordSet`."""
        where = "WHERE names_key = ? AND names = ? LIMIT ?"
        return self._versions(where, (key_of(body_hash), body_hash, limit))

    def put_body(self, body_hash: bytes, data: bytes) -> None:
        """See `RecordSet`."""
        self._database.check_writable()
        assert sha256(data).digest() == body_hash, "the body is not its hash's"
        named, number = self._body(body_hash)
        assert named, "no version here names the body"
        if number is not None:
            return
        self._tallies.body += 1
        number = self._tallies.body
        for row in self._naming(body_hash):
            if row.state is State.KEPT:
                self._creators.add(row, 0, len(data))
        if self._named_in_table(body_hash)[0]:
            self._database.write(INSERT_BODY, body_values(number, body_hash, data))
            self._write_to(
                "versions",
                "SET body = ? WHERE names_key = ? AND names = ?",
                number,
                key_of(body_hash),
                body_hash,
            )
            self._write_to("shown", "SET lacking = NULL WHERE lacking = ?", body_hash)
            self._known.clear()
            for row in self._fresh.by_body.get(body_hash, ()):
                row.body = number
        else:
            self._fresh.add_body(body_hash, number, data)
        self._bodies.pop(body_hash, None)

    def release_body(self, version_id: bytes) -> None:
        """See `RecordSet`."""
        row, others = self._stored(version_id)
        self._count_no_more(row, others)
        self._drop_body_with(row)
        self._write_to(
            "versions", "SET names_key = NULL, names = NULL, body = NULL WHERE arrival = ?", row.arrival
        )
        self._write_to("shown", "SET lacking = NULL WHERE arrival = ?", row.arrival)
        row.names = row.body = None
        self._count(row, others)

    def wanted_bodies(self, after: bytes, limit: int) -> list[WantedBody]:
        """See `RecordSet`."""
        self._write_fresh()
        return [
            WantedBody(body_hash, size)
            for body_hash, size in self._database.rows(
                "SELECT lacking, max(size) FROM shown WHERE lacking > ?"
                " GROUP BY lacking ORDER BY lacking LIMIT ?",
                (after, limit),
            )
        ]

    # --- quotas -------------------------------------------------------------------------------------------

    def ids_of(self, creator: bytes) -> int:
        """See `RecordSet`."""
        count = self._creators.of(creator)
        return 0 if count is None else count.ids

    def largest_id(self, creator: bytes) -> bytes | None:
        """See `RecordSet`."""
        count = self._creators.of(creator)
        if count is None:
            return None
        self._write_fresh()
        for first in (bytes([count.prefix[0] | 0x80]) + count.prefix[1:], count.prefix):
            rows = self._database.rows(
                "SELECT record_id FROM versions WHERE record_id BETWEEN ? AND ?"
                " AND +state = 1 AND creator = ? ORDER BY record_id DESC LIMIT 1",
                (first + bytes(8), first + b"\xff" * 8, creator),
            )
            if rows:
                return bytes(rows[0][0])
        return None

    def bytes_of(self, creator: bytes) -> int:
        """See `RecordSet`."""
        count = self._creators.of(creator)
        return 0 if count is None else count.bytes

    # --- what is shown ------------------------------------------------------------------------------------

    def show(self, header: Header) -> None:
        """See `RecordSet`."""
        self._database.check_writable()
        if header.id in self._fresh.versions:
            self._hide_stored(header.record_id)
            self._fresh.shown[header.record_id] = header
            return
        row = self._version(header.id)
        assert row is not None, "the version is not here"
        self.hide(header.record_id)
        self._database.write(INSERT_SHOWN, shown_values(row, header))
        self._database.write_many(INSERT_ATTRIBUTE, attribute_values(row, header))

    def hide(self, record_id: bytes) -> None:
        """See `RecordSet`."""
        self._database.check_writable()
        if self._fresh.shown.pop(record_id, None) is None:
            self._hide_stored(record_id)

    def shown(self, record_id: bytes) -> bytes | None:
        """See `RecordSet`."""
        header = self._fresh.shown.get(record_id)
        if header is not None:
            return header.id
        arrivals = "arrival IN (SELECT arrival FROM versions WHERE record_id = ?)"
        rows = self._shown(f"WHERE {arrivals}", (record_id,))
        return rows[0][1] if rows else None

    def shown_of_type(self, record_type: str, after: bytes, limit: int) -> list[bytes]:
        """See `RecordSet`."""
        self._write_fresh()
        rows = self._shown(
            "WHERE type = ? AND record_id > ? ORDER BY record_id LIMIT ?", (record_type, after, limit)
        )
        return [record_id for record_id, _ in rows]

    def ended(self, at_s: int, limit: int) -> list[bytes]:
        """See `RecordSet`."""
        self._write_fresh()
        rows = self._shown("WHERE expires <= ? ORDER BY expires, record_id LIMIT ?", (at_s, limit))
        return [record_id for record_id, _ in rows]

    def next_end(self) -> int | None:
        """See `RecordSet`."""
        self._write_fresh()
        ((end,),) = self._database.rows("SELECT min(expires) FROM shown WHERE expires IS NOT NULL")
        return None if end is None else int(end)

    # --- refreshing ---------------------------------------------------------------------------------------

    def set_refresh(self, record_id: bytes, life_s: int | None) -> None:
        """See `RecordSet`."""
        if life_s is None:
            self._database.write("DELETE FROM refreshes WHERE record_id = ?", (record_id,))
            return
        self._database.write(
            "INSERT OR REPLACE INTO refreshes (record_id, life_s, check_number) VALUES (?, ?, ?)",
            (record_id, life_s, _refresh_check(record_id, life_s)),
        )

    def refreshes(self, after: bytes, limit: int) -> list[tuple[bytes, int]]:
        """See `RecordSet`."""
        rows = self._database.rows(
            "SELECT record_id, life_s, check_number FROM refreshes WHERE record_id > ?"
            " ORDER BY record_id LIMIT ?",
            (after, limit),
        )
        for record_id, life_s, stored in rows:
            if _refresh_check(record_id, life_s) != stored:
                raise self._database.damaged(f"the refreshing of {record_id.hex()} has changed")
        return [(record_id, life_s) for record_id, life_s, _ in rows]

    # --- transactions -------------------------------------------------------------------------------------

    def _begin_records(self) -> None:
        """A transaction has begun."""
        self._forget()

    def _write_records(self) -> None:
        """Write what is held back."""
        self._write_fresh()
        self._creators.write()
        if self._tallies != self._written:
            write_setting(self._database, _TALLIES, self._tallies.packed())
            self._written = replace(self._tallies)

    def _records_committed(self) -> None:
        """The transaction is durable."""
        self._committed = replace(self._tallies)

    def _take_back_records(self) -> None:
        """The transaction has been rolled back."""
        self._forget()
        self._tallies = replace(self._committed)
        self._written = self._committed

    def _forget(self) -> None:
        self._fresh.clear()
        self._creators.clear()
        self._known.clear()
        self._bodies.clear()

    def _write_fresh(self) -> None:
        if self._fresh.versions:
            for record_id in self._fresh.by_record:
                self._known.pop(record_id, None)
            for body_hash in self._fresh.by_body:
                self._bodies.pop(body_hash, None)
            self._fresh.write(self._database)

    # --- rows ---------------------------------------------------------------------------------------------

    def _rows(self, where: str, bindings: tuple[Value, ...]) -> list[VersionRow]:
        rows = self._database.rows(f"SELECT {VERSION_COLUMNS} FROM versions {where}", bindings)  # noqa: S608
        return [row_in(values, self._database.damaged) for values in rows]

    def _versions(self, where: str, bindings: tuple[Value, ...]) -> list[Version]:
        self._write_fresh()
        return [row.version() for row in self._rows(where, bindings)]

    def _version(self, version_id: bytes) -> VersionRow | None:
        row = self._fresh.versions.get(version_id)
        if row is not None:
            return row
        rows = self._rows("WHERE id_key = ? AND id = ?", (key_of(version_id), version_id))
        return rows[0] if rows else None

    def _of_record(self, record_id: bytes) -> list[VersionRow]:
        """The versions of a record."""
        stored = self._stored_of_record(record_id)
        fresh = self._fresh.by_record.get(record_id)
        return stored if fresh is None else [*stored, *fresh]

    def _stored_of_record(self, record_id: bytes) -> list[VersionRow]:
        rows = self._known.get(record_id)
        if rows is None:
            rows = self._rows("WHERE record_id = ?", (record_id,))
            if self._database.writing:
                self._known[record_id] = rows
        return rows

    def _stored(self, version_id: bytes) -> tuple[VersionRow, list[VersionRow]]:
        """A version in the tables, about which something is to be written, and the others of its record."""
        self._database.check_writable()
        if version_id in self._fresh.versions:
            self._write_fresh()
        row = self._version(version_id)
        assert row is not None, "the version is not here"
        others = [each for each in self._of_record(row.record_id) if each.id != version_id]
        self._known.pop(row.record_id, None)
        self._bodies.clear()
        return row, others

    def _write_to(self, table: str, changes: str, *bindings: Value) -> None:
        self._database.write(f"UPDATE {table} {changes}", bindings)

    # --- bodies and counts --------------------------------------------------------------------------------

    def _body(self, body_hash: bytes) -> tuple[bool, int | None]:
        """Whether a version here names a body, and the body's number when it is here."""
        fresh = self._fresh.by_body.get(body_hash)
        if fresh is not None and fresh[0].body is not None:  # all that name a body know its number
            return True, fresh[0].body
        named, number = self._named_in_table(body_hash)
        return named or fresh is not None, number

    def _named_in_table(self, body_hash: bytes) -> tuple[bool, int | None]:
        """The same, of the versions and bodies that are not held back."""
        found = self._bodies.get(body_hash)
        if found is None:
            rows = self._database.rows(_NAMING_BODY, (key_of(body_hash), body_hash))
            found = (bool(rows), rows[0][1] if rows else None)
            if self._database.writing:
                self._bodies[body_hash] = found
        return found

    def _naming(self, body_hash: bytes) -> list[VersionRow]:
        """The versions that name a body."""
        rows = self._fresh.by_body.get(body_hash, [])
        if not self._named_in_table(body_hash)[0]:
            return rows
        return [*self._rows("WHERE names_key = ? AND names = ?", (key_of(body_hash), body_hash)), *rows]

    def _drop_body_with(self, row: VersionRow) -> None:
        """Drop the body of a stored version unless another one names it."""
        if row.names is None or row.body is None:
            return
        if len(self._naming(row.names)) == 1:
            self._database.write("DELETE FROM bodies WHERE number = ?", (row.body,))
        del self._bodies[row.names]

    def _held_bytes(self, row: VersionRow) -> int:
        """The bytes of a version's body when it is here."""
        if row.names is None or row.body is None:
            return 0
        if row.names in self._fresh.bodies:
            return len(self._fresh.bodies[row.names][1])
        rows = self._database.rows("SELECT length(data) FROM bodies WHERE number = ?", (row.body,))
        if not rows:
            raise self._database.damaged(f"the body {row.names.hex()} is missing")
        return int(rows[0][0])

    def _count(self, row: VersionRow, others: list[VersionRow]) -> None:
        self._tallies.add(row)
        if row.state is State.KEPT:
            first = all(each.state is not State.KEPT for each in others)
            self._creators.add(row, int(first), self._held_bytes(row))

    def _count_no_more(self, row: VersionRow, others: list[VersionRow]) -> None:
        self._tallies.remove(row)
        if row.state is State.KEPT:
            last = all(each.state is not State.KEPT for each in others)
            self._creators.add(row, -int(last), -self._held_bytes(row))

    def _hide_stored(self, record_id: bytes) -> None:
        if not self._stored_of_record(record_id):
            return
        for table in ("attributes", "shown"):
            self._database.write(
                f"DELETE FROM {table} WHERE arrival IN (SELECT arrival FROM versions WHERE record_id = ?)",  # noqa: S608
                (record_id,),
            )

    def _shown(self, where: str, bindings: tuple[Value, ...]) -> list[tuple[bytes, bytes]]:
        rows = self._database.rows(f"SELECT {SHOWN_COLUMNS} FROM shown {where}", bindings)  # noqa: S608
        return [shown_in(values, self._database.damaged) for values in rows]


def _refresh_check(record_id: bytes, life_s: int) -> int:
    return check_number(record_id, life_s.to_bytes(8, "big"))
