"""`RecordSet` in memory, in one object with the acts: the store of every simulated node.

Unlike the acts', a transaction changes the tables at once and remembers how to take each change back: many
questions about records need sorted tables, and laying a transaction over those would be far more than this.
So a rollback undoes what was not committed, and so does a reopening.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, TypeVar

from protocol.authority.memory import MemoryActSet
from protocol.records.record import Header
from protocol.records.record_set import State, Version, WantedBody

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, eq=False)
class _Entry:
    """A version that is here. `names` is the hash of its body until that is released."""

    header: Header
    state: State
    arrival: int
    at_ms: int
    names: bytes | None


@dataclass(slots=True)
class _Body:
    """The versions that name a body, and the body itself when it is here."""

    named_by: list[_Entry] = field(default_factory=list)
    data: bytes | None = None


@dataclass(slots=True)
class _Creator:
    """What counts against a creator: the records with a kept version, ascending, and their bytes."""

    ids: list[bytes] = field(default_factory=list)
    bytes: int = 0


# A shown version whose body is not here: the body's hash and size, and the version's id.
_Lack = tuple[bytes, int, bytes]


class MemoryStore(MemoryActSet):
    """`ActStore` and `RecordSet` whose medium is this process; see `MemoryActSet` for its failures."""

    def __init__(self, before_write: Callable[[str], None] = lambda operation: None) -> None:
        """A new, empty store."""
        super().__init__(before_write)
        self._tables = _Tables()

    def reopened(self, before_write: Callable[[str], None] = lambda operation: None) -> MemoryStore:
        """See `MemoryActSet`."""
        self.close()
        again = MemoryStore(before_write)
        again._durable, again._tables = self._durable, self._tables
        return again

    def begin(self) -> None:
        """See `ActStore`."""
        super().begin()
        self._tables.done.clear()

    def commit(self) -> None:
        """See `ActStore`."""
        super().commit()
        self._tables.done.clear()

    def rollback(self) -> None:
        """See `ActStore`."""
        super().rollback()
        self._tables.take_back()

    def close(self) -> None:
        """See `ActStore`."""
        if not self._closed:
            self._tables.take_back()
        super().close()

    # --- versions -----------------------------------------------------------------------------------------

    def load_versions(self) -> Iterator[tuple[int, bytes, bool]]:
        """See `RecordSet`."""
        for durable, entries in self._read().by_age.items():
            for entry in entries:
                yield entry.header.hlc_s, entry.header.id, durable

    def header(self, version_id: bytes) -> bytes | None:
        """See `RecordSet`."""
        entry = self._read().versions.get(version_id)
        return None if entry is None else entry.header.raw

    def version(self, version_id: bytes) -> Version | None:
        """See `RecordSet`."""
        entry = self._read().versions.get(version_id)
        return None if entry is None else _version(entry)

    def expect(self, headers: Sequence[Header]) -> None:
        """See `RecordSet`: everything is at hand."""

    def versions(self, record_id: bytes) -> list[Version]:
        """See `RecordSet`."""
        return [_version(entry) for entry in self._read().records.get(record_id, ())]

    def records_citing(self, cred: bytes) -> list[bytes]:
        """See `RecordSet`."""
        headers = (entry.header for entry in self._read().versions.values())
        return sorted({header.record_id for header in headers if header.cred == cred})

    def put_version(self, header: Header, state: State, at_ms: int) -> None:
        """See `RecordSet`."""
        tables = self._change_tables("put_version")
        assert header.id not in tables.versions, "a version is put once"
        tables.add(_Entry(header, state, tables.next_arrival(), at_ms, header.body_hash))

    def set_state(self, version_id: bytes, state: State, at_ms: int) -> None:
        """See `RecordSet`."""
        tables = self._change_tables("set_state")
        entry = tables.of(version_id)
        assert entry.state is not state, "the version has this state already"
        arrival = tables.next_arrival() if state is State.KEPT else entry.arrival
        tables.remove(entry)
        tables.add(replace(entry, state=state, arrival=arrival, at_ms=at_ms))

    def discard_version(self, version_id: bytes) -> None:
        """See `RecordSet`."""
        tables = self._change_tables("discard_version")
        entry = tables.of(version_id)
        tables.drop_with(entry)
        tables.remove(entry)
        shown = tables.shown.get(entry.header.record_id)
        if shown is not None and shown.id == version_id:
            tables.hide(shown)

    def kept_before(self, hlc: int, limit: int) -> list[Version]:
        """See `RecordSet`."""
        expiring = self._read().by_age[False]
        end = bisect_left(expiring, (hlc, b""), key=_age)
        return [_version(entry) for entry in expiring[: min(end, limit)]]

    def kept_ahead(self, hlc: int, limit: int) -> list[Version]:
        """See `RecordSet`."""
        ahead: list[_Entry] = []
        for entries in self._read().by_age.values():
            start = bisect_left(entries, (hlc + 1, b""), key=_age)
            ahead += entries[max(start, len(entries) - limit) :]
        ahead.sort(key=_age, reverse=True)
        return [_version(entry) for entry in ahead[:limit]]

    def aside_oldest(self, limit: int) -> list[tuple[int, bytes]]:
        """See `RecordSet`."""
        return [_time_aside(entry) for entry in self._read().aside[:limit]]

    def aside_count(self) -> tuple[int, int]:
        """See `RecordSet`."""
        tables = self._read()
        return len(tables.aside), tables.aside_bytes

    def arrived_after(self, arrival: int, limit: int) -> list[tuple[int, bytes]]:
        """See `RecordSet`."""
        kept = self._read().kept
        start = bisect_right(kept, arrival, key=_arrival)
        return [(entry.arrival, entry.header.id) for entry in kept[start : start + limit]]

    def last_arrival(self) -> int:
        """See `RecordSet`."""
        return self._read().last_arrival

    # --- bodies -------------------------------------------------------------------------------------------

    def body(self, body_hash: bytes) -> bytes | None:
        """See `RecordSet`."""
        found = self._read().bodies.get(body_hash)
        return None if found is None else found.data

    def has_body(self, body_hash: bytes) -> bool:
        """See `RecordSet`."""
        return self.body(body_hash) is not None

    def names_body(self, body_hash: bytes) -> bool:
        """See `RecordSet`."""
        return body_hash in self._read().bodies

    def versions_naming(self, body_hash: bytes, limit: int) -> list[Version]:
        """See `RecordSet`."""
        found = self._read().bodies.get(body_hash, _Body())
        return [_version(entry) for entry in found.named_by[:limit]]

    def put_body(self, body_hash: bytes, data: bytes) -> None:
        """See `RecordSet`."""
        tables = self._change_tables("put_body")
        assert sha256(data).digest() == body_hash, "the body is not its hash's"
        assert body_hash in tables.bodies, "no version here names the body"
        if tables.bodies[body_hash].data is None:
            tables.hold(body_hash, data)

    def release_body(self, version_id: bytes) -> None:
        """See `RecordSet`."""
        tables = self._change_tables("release_body")
        entry = tables.of(version_id)
        tables.drop_with(entry)
        tables.remove(entry)
        tables.add(replace(entry, names=None))

    def wanted_bodies(self, after: bytes, limit: int) -> list[WantedBody]:
        """See `RecordSet`."""
        lacking = self._read().lacking
        start = bisect_right(lacking, after, key=_lacked_hash)
        found: dict[bytes, int] = {}
        for body_hash, size, _ in lacking[start:]:
            if len(found) == limit and body_hash not in found:
                break
            found[body_hash] = size  # ascending: the largest comes last
        return [WantedBody(body_hash, size) for body_hash, size in found.items()]

    # --- quotas -------------------------------------------------------------------------------------------

    def ids_of(self, creator: bytes) -> int:
        """See `RecordSet`."""
        found = self._read().creators.get(creator)
        return 0 if found is None else len(found.ids)

    def largest_id(self, creator: bytes) -> bytes | None:
        """See `RecordSet`."""
        found = self._read().creators.get(creator)
        return None if found is None else found.ids[-1]

    def bytes_of(self, creator: bytes) -> int:
        """See `RecordSet`."""
        found = self._read().creators.get(creator)
        return 0 if found is None else found.bytes

    # --- what is shown ------------------------------------------------------------------------------------

    def show(self, header: Header) -> None:
        """See `RecordSet`."""
        tables = self._change_tables("show")
        assert header.id in tables.versions, "the version is not here"
        if header.record_id in tables.shown:
            tables.hide(tables.shown[header.record_id])
        tables.show(header)

    def hide(self, record_id: bytes) -> None:
        """See `RecordSet`."""
        tables = self._change_tables("hide")
        if record_id in tables.shown:
            tables.hide(tables.shown[record_id])

    def shown(self, record_id: bytes) -> bytes | None:
        """See `RecordSet`."""
        header = self._read().shown.get(record_id)
        return None if header is None else header.id

    def shown_of_type(self, record_type: str, after: bytes, limit: int) -> list[bytes]:
        """See `RecordSet`."""
        ids = self._read().types.get(record_type, [])
        start = bisect_right(ids, after)
        return ids[start : start + limit]

    def ended(self, at_s: int, limit: int) -> list[bytes]:
        """See `RecordSet`."""
        ends = self._read().ends
        end = bisect_left(ends, (at_s + 1, b""))
        return [record_id for _, record_id in ends[: min(end, limit)]]

    def next_end(self) -> int | None:
        """See `RecordSet`."""
        ends = self._read().ends
        return ends[0][0] if ends else None

    # --- refreshing ---------------------------------------------------------------------------------------

    def set_refresh(self, record_id: bytes, life_s: int | None) -> None:
        """See `RecordSet`."""
        self._change_tables("set_refresh").refresh(record_id, life_s)

    def refreshes(self, after: bytes, limit: int) -> list[tuple[bytes, int]]:
        """See `RecordSet`."""
        refreshed = self._read().refreshed
        return [
            (each, refreshed[each]) for each in sorted(each for each in refreshed if each > after)[:limit]
        ]

    def _read(self) -> _Tables:
        self._check_usable()
        return self._tables

    def _change_tables(self, operation: str) -> _Tables:
        """The tables, once the medium has agreed to one more write."""
        self._writing(operation)
        return self._tables


class _Tables:
    """All that is known of records, and the changes of the open transaction.

    `done` holds the inverse of each change, in their order; the methods that change something add to it.
    """

    def __init__(self) -> None:
        self.done: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self.last_arrival = 0
        self.versions: dict[bytes, _Entry] = {}
        self.records: dict[bytes, tuple[_Entry, ...]] = {}
        self.kept: list[_Entry] = []  # by arrival
        # The kept ones by class, durable or not, each by (hlc, id).
        self.by_age: dict[bool, list[_Entry]] = {False: [], True: []}
        self.aside: list[_Entry] = []  # by (time, id)
        self.aside_bytes = 0
        self.bodies: dict[bytes, _Body] = {}
        self.lacking: list[_Lack] = []
        self.creators: dict[bytes, _Creator] = {}
        self.shown: dict[bytes, Header] = {}
        self.types: dict[str, list[bytes]] = {}
        self.ends: list[tuple[int, bytes]] = []
        self.refreshed: dict[bytes, int] = {}

    def take_back(self) -> None:
        """Undo what was done since `done` was empty."""
        while self.done:
            undo, arguments = self.done.pop()
            length = len(self.done)
            undo(*arguments)
            del self.done[length:]

    def next_arrival(self) -> int:
        self._set_last_arrival(self.last_arrival + 1)
        return self.last_arrival

    def _set_last_arrival(self, arrival: int) -> None:
        self.done.append((self._set_last_arrival, (self.last_arrival,)))
        self.last_arrival = arrival

    # --- versions and bodies ------------------------------------------------------------------------------

    def of(self, version_id: bytes) -> _Entry:
        entry = self.versions.get(version_id)
        assert entry is not None, "the version is not here"
        return entry

    def add(self, entry: _Entry) -> None:
        self.done.append((self.remove, (entry,)))
        header = entry.header
        if entry.state is State.KEPT:
            self._count(entry)
        else:
            _put_in(self.aside, entry, _time_aside)
            self.aside_bytes += _weight(entry)
        self.versions[header.id] = entry
        self.records[header.record_id] = (*self.records.get(header.record_id, ()), entry)
        if entry.names is not None:
            self.bodies.setdefault(entry.names, _Body()).named_by.append(entry)
            self._judge_lack(header)

    def remove(self, entry: _Entry) -> None:
        self.done.append((self.add, (entry,)))
        header = entry.header
        del self.versions[header.id]
        left = tuple(each for each in self.records.pop(header.record_id) if each is not entry)
        if left:
            self.records[header.record_id] = left
        if entry.names is not None:
            self.bodies[entry.names].named_by.remove(entry)
            self._judge_lack(header)
            self._forget_if_nothing(entry.names)
        if entry.state is State.KEPT:
            self._count_no_more(entry)
        else:
            _take_out(self.aside, entry, _time_aside)
            self.aside_bytes -= _weight(entry)

    def _count(self, entry: _Entry) -> None:
        header = entry.header
        _put_in(self.kept, entry, _arrival)
        _put_in(self.by_age[header.durable], entry, _age)
        creator = self.creators.setdefault(header.creator, _Creator())
        if not self._has_kept(header.record_id):
            insort(creator.ids, header.record_id)
        creator.bytes += self._held_bytes(entry)

    def _count_no_more(self, entry: _Entry) -> None:
        header = entry.header
        _take_out(self.kept, entry, _arrival)
        _take_out(self.by_age[header.durable], entry, _age)
        creator = self.creators[header.creator]
        creator.bytes -= self._held_bytes(entry)
        if not self._has_kept(header.record_id):
            del creator.ids[bisect_left(creator.ids, header.record_id)]
            if not creator.ids:
                del self.creators[header.creator]

    def _has_kept(self, record_id: bytes) -> bool:
        return any(entry.state is State.KEPT for entry in self.records.get(record_id, ()))

    def _held_bytes(self, entry: _Entry) -> int:
        body = None if entry.names is None else self.bodies.get(entry.names)
        return 0 if body is None or body.data is None else len(body.data)

    def hold(self, body_hash: bytes, data: bytes) -> None:
        self.done.append((self.drop, (body_hash,)))
        body = self.bodies.setdefault(body_hash, _Body())
        body.data = data
        self._count_body(body, len(data))

    def drop(self, body_hash: bytes) -> None:
        body = self.bodies[body_hash]
        if body.data is None:
            return
        self.done.append((self.hold, (body_hash, body.data)))
        length, body.data = len(body.data), None
        self._count_body(body, -length)
        self._forget_if_nothing(body_hash)

    def drop_with(self, entry: _Entry) -> None:
        """Drop the body of a version unless another one names it."""
        if entry.names is not None and len(self.bodies[entry.names].named_by) == 1:
            self.drop(entry.names)

    def _count_body(self, body: _Body, length: int) -> None:
        for entry in body.named_by:
            self._judge_lack(entry.header)
            if entry.state is State.KEPT:
                self.creators[entry.header.creator].bytes += length

    def _forget_if_nothing(self, body_hash: bytes) -> None:
        body = self.bodies[body_hash]
        if not body.named_by and body.data is None:
            del self.bodies[body_hash]

    # --- what is shown ------------------------------------------------------------------------------------

    def show(self, header: Header) -> None:
        self.done.append((self.hide, (header,)))
        self.shown[header.record_id] = header
        insort(self.types.setdefault(header.type, []), header.record_id)
        if header.expires is not None:
            insort(self.ends, (header.expires, header.record_id))
        self._judge_lack(header)

    def hide(self, header: Header) -> None:
        self.done.append((self.show, (header,)))
        del self.shown[header.record_id]
        ids = self.types[header.type]
        del ids[bisect_left(ids, header.record_id)]
        if not ids:
            del self.types[header.type]
        if header.expires is not None:
            del self.ends[bisect_left(self.ends, (header.expires, header.record_id))]
        self._judge_lack(header)

    def _judge_lack(self, header: Header) -> None:
        """Bring `lacking` into step for one version."""
        if header.body_hash is None:
            return
        lack = header.body_hash, header.size, header.id
        at = bisect_left(self.lacking, lack)
        listed = at < len(self.lacking) and self.lacking[at] == lack
        if self._lacks(header) and not listed:
            self.lacking.insert(at, lack)
        elif listed and not self._lacks(header):
            del self.lacking[at]

    def _lacks(self, header: Header) -> bool:
        shown, entry = self.shown.get(header.record_id), self.versions.get(header.id)
        if entry is None or entry.names is None or shown is None or shown.id != header.id:
            return False
        return self.bodies[entry.names].data is None

    def refresh(self, record_id: bytes, life_s: int | None) -> None:
        self.done.append((self.refresh, (record_id, self.refreshed.get(record_id))))
        if life_s is None:
            self.refreshed.pop(record_id, None)
        else:
            self.refreshed[record_id] = life_s


def _version(entry: _Entry) -> Version:
    header = entry.header
    return Version(
        header.id, header.record_id, header.creator, header.author, header.cred, header.hlc, entry.state
    )


def _weight(entry: _Entry) -> int:
    return len(entry.header.raw) + (0 if entry.names is None else entry.header.size)


def _put_in(items: list[_T], item: _T, key: Callable[[_T], Any]) -> None:
    # Most of what comes is the latest.
    if not items or key(items[-1]) < key(item):
        items.append(item)
    else:
        insort(items, item, key=key)


def _take_out(items: list[_T], item: _T, key: Callable[[_T], Any]) -> None:
    at = bisect_left(items, key(item), key=key)
    assert items[at] is item
    del items[at]


def _arrival(entry: _Entry) -> int:
    return entry.arrival


def _age(entry: _Entry) -> tuple[int, bytes]:
    return entry.header.hlc, entry.header.id


def _time_aside(entry: _Entry) -> tuple[int, bytes]:
    return entry.at_ms, entry.header.id


def _lacked_hash(lack: _Lack) -> bytes:
    return lack[0]
