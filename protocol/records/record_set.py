"""The port through which a group's machine reaches its records.

It is the other face of the object that is the `ActSet`: one transaction holds acts, records, settings and
events together, and what is said there of transactions, failures and bounds is true here.

A *version* is a header that is here, in one of two states. KEPT versions are the replicated set: they count
for the digest, are reconciled and served. Versions ASIDE are outside of it (void, displaced or beyond a
quota): they wait for 30 days in case they come to count, and nobody is told of them. Bodies are kept by their
hash, once, for as long as a version of either state names them.

What is *shown* is the winner of each record that is neither deleted nor expired, laid out for search. It
follows from the kept versions and the time, and the machine keeps it in step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from protocol.authority.act_set import ActSet
from protocol.records.record import Header


class State(IntEnum):
    """Where a version stands."""

    KEPT = 1
    ASIDE = 2


@dataclass(frozen=True, slots=True)
class Version:
    """What is looked up about a version without decoding its header. `hlc` is the version's, `creator` the
    record's; pids and ids as in the header.
    """

    id: bytes
    record_id: bytes
    creator: bytes
    author: bytes
    cred: bytes
    hlc: int
    state: State


@dataclass(frozen=True, slots=True)
class WantedBody:
    """A body that is not here. `size` is the largest that is claimed for it."""

    body_hash: bytes
    size: int


class RecordSet(Protocol):
    """What a machine may do. Reading sees the transaction's own writes.

    A version put twice, a change to one that is not here, a body that is not its hash's, or a write without
    an open transaction is a programming error: AssertionError.
    """

    # --- versions ---

    def load_versions(self) -> Iterator[tuple[int, bytes, bool]]:
        """(second of the hlc, version id, durable) of every kept version, the expiring class first, each
        class by hlc and id; to be used up, or let go, before a write.
        """

    def header(self, version_id: bytes) -> bytes | None:
        """The raw header of a version of either state."""

    def version(self, version_id: bytes) -> Version | None:
        """A version of either state."""

    def versions(self, record_id: bytes) -> list[Version]:
        """All versions of a record, kept and aside, in no particular order."""

    def records_citing(self, cred: bytes) -> list[bytes]:
        """The ids of all records with a version, kept or aside, that was written under a grant; ascending."""

    def expect(self, headers: Sequence[Header]) -> None:
        """Look up at once what will be asked about these versions, their records and their bodies: of many,
        that takes a fraction of the time. Says and changes nothing.
        """

    def put_version(self, header: Header, state: State, at_ms: int) -> None:
        """Add a version under the next arrival number. `at_ms` (UTC) is when its time aside begins."""

    def set_state(self, version_id: bytes, state: State, at_ms: int) -> None:
        """Move a version to the other state; one that becomes KEPT gets the next arrival number."""

    def discard_version(self, version_id: bytes) -> None:
        """Forget a version, its body when no other version names it, and what is shown of it."""

    def kept_before(self, hlc: int, limit: int) -> list[Version]:
        """At most `limit` kept versions of the expiring class with a smaller hlc, smallest first."""

    def kept_ahead(self, hlc: int, limit: int) -> list[Version]:
        """At most `limit` kept versions of either class with a larger hlc, largest first."""

    def aside_oldest(self, limit: int) -> list[tuple[int, bytes]]:
        """At most `limit` of (at_ms, version id) of what is aside, longest aside first."""

    def aside_count(self) -> tuple[int, int]:
        """How many versions are aside, and the bytes of their headers and of the bodies they name."""

    def arrived_after(self, arrival: int, limit: int) -> list[tuple[int, bytes]]:
        """At most `limit` of (arrival number, version id) of kept versions that arrived later, in order."""

    def last_arrival(self) -> int:
        """The arrival number given last, 0 when none was."""

    # --- bodies ---

    def body(self, body_hash: bytes) -> bytes | None:
        """A body, if it is here."""

    def has_body(self, body_hash: bytes) -> bool:
        """Whether a body is here."""

    def names_body(self, body_hash: bytes) -> bool:
        """Whether a version here, of either state, names a body."""

    def versions_naming(self, body_hash: bytes, limit: int) -> list[Version]:
        """At most `limit` of those versions, in no particular order."""

    def put_body(self, body_hash: bytes, data: bytes) -> None:
        """Keep a body that a version here names; putting one twice changes nothing."""

    def release_body(self, version_id: bytes) -> None:
        """Let a version name its body no more, though the header stays: it has expired. The body goes when no
        other version names it.
        """

    def wanted_bodies(self, after: bytes, limit: int) -> list[WantedBody]:
        """At most `limit` bodies that shown versions name and that are not here, by hash, after `after`."""

    # --- quotas ---

    def ids_of(self, creator: bytes) -> int:
        """How many records of a creator have a kept version."""

    def largest_id(self, creator: bytes) -> bytes | None:
        """The numerically largest record id among them. It relies on ids being bound to their creators."""

    def bytes_of(self, creator: bytes) -> int:
        """The bytes of the bodies here that kept versions of a creator's records name, by version."""

    # --- what is shown ---

    def show(self, header: Header) -> None:
        """Show a version that is here as its record, instead of the one shown before."""

    def hide(self, record_id: bytes) -> None:
        """Show a record no more; nothing happens when it is not shown."""

    def shown(self, record_id: bytes) -> bytes | None:
        """The version id that is shown of a record."""

    def shown_of_type(self, record_type: str, after: bytes, limit: int) -> list[bytes]:
        """At most `limit` record ids of a type that are shown, ascending, after `after`. For types of few
        records: each call sorts all of them.
        """

    def ended(self, at_s: int, limit: int) -> list[bytes]:
        """At most `limit` ids of shown records with `expires` ≤ `at_s`, the earliest end first."""

    def next_end(self) -> int | None:
        """The smallest `expires` of what is shown."""

    # --- refreshing ---

    def set_refresh(self, record_id: bytes, life_s: int | None) -> None:
        """Remember that this node refreshes a record to this life, or no longer does."""

    def refreshes(self, after: bytes, limit: int) -> list[tuple[bytes, int]]:
        """At most `limit` of (record id, life in seconds) that this node refreshes, by id, after `after`."""


class GroupSet(ActSet, RecordSet, Protocol):
    """Both faces of a group's store, as a machine sees it."""
