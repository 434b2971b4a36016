"""Versions as the tables hold them, and the few numbers that are kept about them all.

A row's check number covers what never changes; of what may change, a state has one of two values that no
changed bit turns into each other, and a body is found by its hash again. The index from which the replicated
set is loaded has no check number for each entry, so a sum over all that should be in it is kept.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import astuple, dataclass

from peerd.errors import StoreCorrupt
from peerd.store.database import Row, Value, check_number_behind
from protocol.peer_time import hlc_ms
from protocol.records.record import Header, is_durable
from protocol.records.record_set import State, Version

VERSION_COLUMNS = (
    "arrival, id, record_id, creator, author, cred, hlc, state, at_ms, names, size, body, raw, check_number"
)
INSERT_VERSION = (
    "INSERT INTO versions (arrival, id_key, id, record_id, creator, author, cred_key, cred, durable, hlc,"
    " state, at_ms, names_key, names, size, body, raw, check_number)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
INSERT_BODY = "INSERT INTO bodies (number, hash, data, check_number) VALUES (?, ?, ?, ?)"
SHOWN_COLUMNS = "record_id, version_id, type, expires, check_number"
INSERT_SHOWN = (
    "INSERT INTO shown (arrival, record_id, version_id, type, creator, author, created, modified, hlc,"
    " expires, version, size, lacking, check_number) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
INSERT_ATTRIBUTE = (
    "INSERT INTO attributes (arrival, position, name, kind, number, text) VALUES (?, ?, ?, ?, ?, ?)"
)

_TALLIES = struct.Struct(">5Q")
_PLACES = 2**64


@dataclass(slots=True)
class VersionRow:
    """A version. `names` is the hash of its body until that is released, `body` its number if it is here."""

    arrival: int
    id: bytes
    record_id: bytes
    creator: bytes
    author: bytes
    cred: bytes
    hlc: int
    state: State
    at_ms: int
    names: bytes | None
    size: int
    body: int | None
    raw: bytes

    @property
    def weight(self) -> int:
        """The bytes for which it counts while it is aside."""
        return len(self.raw) + (0 if self.names is None else self.size)

    @property
    def place(self) -> int:
        """What a kept version adds to the sum over the replicated set."""
        return place_of(self.hlc, self.id, is_durable(self.record_id))

    def version(self) -> Version:
        """What the port tells about it."""
        return Version(self.id, self.record_id, self.creator, self.author, self.cred, self.hlc, self.state)

    def values(self) -> tuple[Value, ...]:
        """What INSERT_VERSION takes."""
        return (
            self.arrival,
            key_of(self.id),
            self.id,
            self.record_id,
            self.creator,
            self.author,
            key_of(self.cred),
            self.cred,
            int(is_durable(self.record_id)),
            self.hlc,
            int(self.state),
            self.at_ms,
            None if self.names is None else key_of(self.names),
            self.names,
            self.size,
            self.body,
            self.raw,
            _version_check(self.id, self.record_id, self.creator, self.author, self.cred, self.hlc, self.raw),
        )


def row_of(header: Header, state: State, arrival: int, at_ms: int, body: int | None) -> VersionRow:
    """A version that is new here."""
    return VersionRow(
        arrival,
        header.id,
        header.record_id,
        header.creator,
        header.author,
        header.cred,
        header.hlc,
        state,
        at_ms,
        header.body_hash,
        header.size,
        body,
        header.raw,
    )


def row_in(values: Row, damaged: Callable[[str], StoreCorrupt]) -> VersionRow:
    """A version from VERSION_COLUMNS. Raises: StoreCorrupt."""
    (
        arrival,
        version_id,
        record_id,
        creator,
        author,
        cred,
        hlc,
        state,
        at_ms,
        names,
        size,
        body,
        raw,
        stored,
    ) = values
    if _version_check(version_id, record_id, creator, author, cred, hlc, raw) != stored or state not in (
        1,
        2,
    ):
        raise damaged(f"the version {version_id.hex()} has changed")
    return VersionRow(
        arrival,
        version_id,
        record_id,
        creator,
        author,
        cred,
        hlc,
        State(state),
        at_ms,
        names,
        size,
        body,
        raw,
    )


def body_values(number: int, body_hash: bytes, data: bytes) -> tuple[Value, ...]:
    """What INSERT_BODY takes."""
    return number, body_hash, data, body_check(body_hash, data)


def shown_values(row: VersionRow, header: Header) -> tuple[Value, ...]:
    """What INSERT_SHOWN takes for a version."""
    return (
        row.arrival,
        header.record_id,
        header.id,
        header.type,
        header.creator,
        header.author,
        hlc_ms(header.created),
        hlc_ms(header.hlc),
        header.hlc,
        header.expires,
        header.version,
        header.size,
        row.names if row.body is None else None,
        _shown_check(header.record_id, header.id, header.type, header.expires),
    )


def attribute_values(row: VersionRow, header: Header) -> list[tuple[Value, ...]]:
    """What INSERT_ATTRIBUTE takes for each attribute of a version."""
    return [
        (row.arrival, position, name, kind, value, None)
        if isinstance(value, int)
        else (row.arrival, position, name, kind, None, value)
        for position, (name, kind, value) in enumerate(header.attributes)
    ]


def shown_in(values: Row, damaged: Callable[[str], StoreCorrupt]) -> tuple[bytes, bytes]:
    """The record id and version id from SHOWN_COLUMNS. Raises: StoreCorrupt."""
    record_id, version_id, record_type, expires, stored = values
    if _shown_check(record_id, version_id, record_type, expires) != stored:
        raise damaged(f"what is shown of the record {record_id.hex()} has changed")
    return record_id, version_id


@dataclass(slots=True)
class Tallies:
    """Counts over all records: the numbers given last to a version and to a body, how many versions are aside
    and their weight, and the sum over the places of the kept ones.
    """

    arrival: int = 0
    body: int = 0
    aside: int = 0
    aside_bytes: int = 0
    places: int = 0

    def add(self, row: VersionRow) -> None:
        """Count a version."""
        if row.state is State.KEPT:
            self.places = (self.places + row.place) % _PLACES
        else:
            self.aside += 1
            self.aside_bytes += row.weight

    def remove(self, row: VersionRow) -> None:
        """Count a version no more."""
        if row.state is State.KEPT:
            self.places = (self.places - row.place) % _PLACES
        else:
            self.aside -= 1
            self.aside_bytes -= row.weight

    def packed(self) -> bytes:
        """The value of a setting."""
        return _TALLIES.pack(*astuple(self))


def tallies_in(packed: bytes | None) -> Tallies:
    """From the value of a setting; a file that never held a record has none."""
    return Tallies() if packed is None else Tallies(*_TALLIES.unpack(packed))


def key_of(value: bytes) -> int:
    """The first 8 bytes of an id or a hash, by which a narrow index finds it."""
    return int.from_bytes(value[:8], "big", signed=True)


def place_of(hlc: int, version_id: bytes, durable: bool) -> int:
    """What a kept version adds to the sum over the replicated set."""
    return (hlc << 1) + zlib.crc32(version_id, (hlc & 0x7FFFFFFF) << 1 | durable)


def body_check(body_hash: bytes, data: bytes) -> int:
    """The check number of a body."""
    return check_number_behind(body_hash, data)


def _version_check(
    version_id: bytes, record_id: bytes, creator: bytes, author: bytes, cred: bytes, hlc: int, raw: bytes
) -> int:
    fixed = b"".join((version_id, record_id, creator, author, cred, hlc.to_bytes(8, "big")))
    return check_number_behind(fixed, raw)


def _shown_check(record_id: bytes, version_id: bytes, record_type: str, expires: int | None) -> int:
    end = (-1 if expires is None else expires).to_bytes(8, "big", signed=True)
    return check_number_behind(record_id + version_id + end, record_type.encode())
