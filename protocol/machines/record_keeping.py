"""Keeping: which versions of a record count here, and which of them its readers see.

For each record the best version of its creator is kept, and the best of up to four other authors (order.py);
the largest of them wins. What the winner displaced stands aside for a while: if the winner turns out to be by
somebody who has been revoked, the version before it is back on every node. So nothing that is decided here
depends on the order of arrival, except how much of what does not count is still at hand.

What readers see changes with the winner and with its expiry, and each change is told once: `record-added`,
`record-changed`, `record-deleted`, `record-expired`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from protocol.limits import (
    HEADER_LIFE_S,
    RECORDS_ASIDE_BYTES_MAX,
    RECORDS_ASIDE_MAX,
    RECORDS_ASIDE_S_MAX,
    RECORDS_EXPIRED_MAX,
)
from protocol.machines.data_ids import DataIds
from protocol.machines.quotas import Quota
from protocol.peer_time import hlc_at, hlc_s
from protocol.records.order import kept
from protocol.records.record import Header, decode_untrusted_header, is_durable
from protocol.records.record_set import RecordSet, State, Version


@dataclass(frozen=True, slots=True)
class Change:
    """What readers see differently; `header` is the version now shown, or the one that no longer is."""

    kind: str
    header: Header


class Keeping:
    """The kept versions of one group's records. Times are UTC."""

    def __init__(self, ids: DataIds, next_end_s: int | None = None) -> None:
        """`ids` is the replicated set; this is its only writer. `next_end_s`: when the first of what is shown
        expires.
        """
        self._ids = ids
        self.next_end_s = next_end_s

    # --- one version comes ---------------------------------------------------------------------------------

    def keep(self, header: Header, quota: Quota, time_s: int, at_ms: int, store: RecordSet) -> list[Change]:
        """Take in a valid version that is not kept yet. `time_s` is group time, `at_ms` the clock."""
        versions = store.versions(header.record_id)
        before = [one for one in versions if one.state is State.KEPT]
        mine = _version(header)
        after = kept([*before, mine], header.creator)
        known = any(one.id == header.id for one in versions)
        changes: list[Change] = []
        if mine not in after or not (before or self._make_room(header, quota, changes, at_ms, store)):
            if not known:
                store.put_version(header, State.ASIDE, at_ms)
            return changes
        if known:
            store.set_state(header.id, State.KEPT, at_ms)
        else:
            store.put_version(header, State.KEPT, at_ms)
        self._ids.add(header.hlc_s, header.id, header.durable)
        self._set_aside((one for one in before if one not in after), at_ms, store)
        if after[0].id == header.id:
            changes += self._show(header, bool(before), time_s, store)
        return changes

    def _make_room(
        self, header: Header, quota: Quota, changes: list[Change], at_ms: int, store: RecordSet
    ) -> bool:
        """Whether a record that is new here fits its creator's quota: the numerically smallest ids stay, so
        that every node keeps the same ones.
        """
        if store.ids_of(header.creator) < quota.ids:
            return True
        largest = store.largest_id(header.creator)
        assert largest is not None
        if header.record_id > largest:
            return False
        changes += self._unshow("record-deleted", largest, store)
        versions = store.versions(largest)
        self._set_aside((one for one in versions if one.state is State.KEPT), at_ms, store)
        return True

    def _set_aside(self, versions: Iterable[Version], at_ms: int, store: RecordSet) -> None:
        for one in versions:
            store.set_state(one.id, State.ASIDE, at_ms)
            self._ids.discard(hlc_s(one.hlc), one.id, is_durable(one.record_id))

    # --- what readers see ----------------------------------------------------------------------------------

    def _show(self, header: Header, existed: bool, time_s: int, store: RecordSet) -> list[Change]:
        """Let readers see the winner, or no longer see the record."""
        shown = store.shown(header.record_id) if existed else None
        if header.deleted or (header.expires is not None and header.expires <= time_s):
            if shown is None:
                return []
            store.hide(header.record_id)
            return [Change("record-deleted" if header.deleted else "record-expired", header)]
        if shown == header.id:
            return []
        store.show(header)
        if header.expires is not None:
            self.next_end_s = min(header.expires, self.next_end_s or header.expires)
        return [Change("record-added" if shown is None else "record-changed", header)]

    def _unshow(self, kind: str, record_id: bytes, store: RecordSet) -> list[Change]:
        shown = store.shown(record_id)
        if shown is None:
            return []
        header = header_in(store, shown)
        store.hide(record_id)
        return [Change(kind, header)]

    # --- a whole record again ------------------------------------------------------------------------------

    def settle(
        self,
        record_id: bytes,
        stands: Callable[[Header], bool],
        quota: Quota,
        time_s: int,
        at_ms: int,
        store: RecordSet,
    ) -> list[Change]:
        """Decide anew which versions of a record are kept, of all that are at hand; `stands` says which count
        at all.
        """
        versions = store.versions(record_id)
        if not versions:
            return []
        headers = {one.id: header_in(store, one.id) for one in versions}
        standing = [one for one in versions if stands(headers[one.id])]
        after = kept(standing, versions[0].creator)
        before = [one for one in versions if one.state is State.KEPT]
        changes: list[Change] = []
        if after and not before:
            header = headers[after[0].id]
            if not self._make_room(header, quota, changes, at_ms, store):
                after = []
        stay = {one.id: None for one in after}
        self._set_aside((one for one in before if one.id not in stay), at_ms, store)
        for one in after:
            if one.state is State.ASIDE:
                store.set_state(one.id, State.KEPT, at_ms)
                self._ids.add(hlc_s(one.hlc), one.id, is_durable(record_id))
        if not after:
            return changes + self._unshow("record-deleted", record_id, store)
        return changes + self._show(headers[after[0].id], True, time_s, store)

    # --- the end of versions -------------------------------------------------------------------------------

    def expire(self, time_s: int, store: RecordSet) -> list[Change]:
        """Take from view what has expired, and let go of its body. At most RECORDS_EXPIRED_MAX at a time."""
        changes: list[Change] = []
        if self.next_end_s is None or self.next_end_s > time_s:
            return changes
        for record_id in store.ended(time_s, RECORDS_EXPIRED_MAX):
            changes += self._unshow("record-expired", record_id, store)
            for one in store.versions(record_id):
                expires = header_in(store, one.id).expires
                if expires is not None and expires <= time_s:
                    store.release_body(one.id)
        self.next_end_s = store.next_end()
        return changes

    def collect(self, time_s: int, store: RecordSet) -> int:
        """Forget the versions of the expiring class whose time is over; how many there were, at most
        RECORDS_EXPIRED_MAX.
        """
        gone = store.kept_before(hlc_at(max(0, time_s - HEADER_LIFE_S + 1) * 1000), RECORDS_EXPIRED_MAX)
        for one in gone:
            self._ids.discard(hlc_s(one.hlc), one.id, False)
            store.discard_version(one.id)
        return len(gone)

    def trim_aside(self, at_ms: int, store: RecordSet) -> None:
        """Forget what has stood aside for too long, or is too much, oldest first."""
        count, size = store.aside_count()
        for since_ms, version_id in store.aside_oldest(RECORDS_EXPIRED_MAX):
            too_much = count > RECORDS_ASIDE_MAX or size > RECORDS_ASIDE_BYTES_MAX
            if not too_much and since_ms > at_ms - RECORDS_ASIDE_S_MAX * 1000:
                break
            size -= len(store.header(version_id) or b"")
            count -= 1
            store.discard_version(version_id)

    def forget(self, one: Version, store: RecordSet) -> list[Change]:
        """Let a kept version go as if it had never been here."""
        changes = self._unshow("record-deleted", one.record_id, store)
        self._ids.discard(hlc_s(one.hlc), one.id, is_durable(one.record_id))
        store.discard_version(one.id)
        return changes


def too_old(header: Header, time_s: int) -> bool:
    """Whether a version of the expiring class comes after its time: whoever had it has forgotten it, and with
    it what it beat.
    """
    return not header.durable and header.hlc_s + HEADER_LIFE_S <= time_s


def header_in(store: RecordSet, version_id: bytes) -> Header:
    """A header that is in the store."""
    raw = store.header(version_id)
    assert raw is not None
    return decode_untrusted_header(raw)


def _version(header: Header) -> Version:
    return Version(
        header.id, header.record_id, header.creator, header.author, header.cred, header.hlc, State.KEPT
    )
