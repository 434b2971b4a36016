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
from protocol.peer_time import hlc_at, hlc_ms, hlc_s
from protocol.records.order import kept
from protocol.records.record import Header, decode_untrusted_header, is_durable
from protocol.records.record_set import RecordSet, State, Version


@dataclass(frozen=True, slots=True)
class Change:
    """What readers see differently; `header` is the version now shown, or the one that no longer is."""

    kind: str
    header: Header


@dataclass(frozen=True, slots=True)
class Terms:
    """What a decision rests on besides the versions: the quota of a creator, and the times (UTC): `time_s` is
    group time as readers see it, `certain_s` that by which data is destroyed, `at_ms` the same.
    """

    quota: Quota
    time_s: int
    certain_s: int
    at_ms: int


Stands = Callable[[Version, Header], bool]


class Keeping:
    """The kept versions of one group's records."""

    def __init__(self, ids: DataIds, next_end_s: int | None = None) -> None:
        """`ids` is the replicated set; this is its only writer. `next_end_s`: when the first of what is shown
        expires.
        """
        self._ids = ids
        self.next_end_s = next_end_s
        self.unsure_to_s = 0  # up to this end, records may have been hidden by a time that is not certain

    # --- one version comes ---------------------------------------------------------------------------------

    def keep(
        self, header: Header, stands: Stands, terms: Terms, store: RecordSet
    ) -> tuple[bool, list[Change]]:
        """Take in a valid version that is not kept yet; whether it is kept now, and what readers see by it.
        `stands` says which versions of a record count.
        """
        versions = store.versions(header.record_id)
        if not versions:
            return self._keep_first(header, terms, store)
        before = [one for one in versions if one.state is State.KEPT]
        known = any(one.id == header.id for one in versions)
        mine = _version(header)
        after = kept([*before, mine], header.creator)
        if not before or mine not in after:
            if not known:
                store.put_version(header, State.ASIDE, aside_at(header.hlc, terms))
            if before:
                return False, []
            # The record comes back, and not only with the version that comes.
            changes = self.settle(header.record_id, stands, terms, store)
            return self._ids.holds(header.hlc_s, header.id, header.durable), changes
        if known:
            store.set_state(header.id, State.KEPT, terms.at_ms)
        else:
            store.put_version(header, State.KEPT, terms.at_ms)
        self._ids.add(header.hlc_s, header.id, header.durable)
        self._set_aside((one for one in before if one not in after), terms, store)
        if after[0] is not mine:
            return True, []
        return True, self._show(header, store.shown(header.record_id), terms, store)

    def _keep_first(self, header: Header, terms: Terms, store: RecordSet) -> tuple[bool, list[Change]]:
        """The same for a record of which nothing is here."""
        changes: list[Change] = []
        room = self._make_room(header.record_id, header.creator, changes, terms, store)
        store.put_version(header, State.KEPT if room else State.ASIDE, aside_at(header.hlc, terms))
        if room:
            self._ids.add(header.hlc_s, header.id, header.durable)
            changes += self._show(header, None, terms, store)
        return room, changes

    def _make_room(
        self, record_id: bytes, creator: bytes, changes: list[Change], terms: Terms, store: RecordSet
    ) -> bool:
        """Whether a record that is new here fits its creator's quota: the numerically smallest ids stay, so
        that every node keeps the same ones.
        """
        if store.ids_of(creator) < terms.quota.ids:
            return True
        largest = store.largest_id(creator)
        if terms.quota.ids == 0 or largest is None or record_id > largest:
            return False
        changes += self._evict(largest, terms, store)
        return True

    def _evict(self, record_id: bytes, terms: Terms, store: RecordSet) -> list[Change]:
        versions = store.versions(record_id)
        self._set_aside((one for one in versions if one.state is State.KEPT), terms, store)
        return self._unshow("record-deleted", record_id, store)

    def _set_aside(self, versions: Iterable[Version], terms: Terms, store: RecordSet) -> None:
        for one in versions:
            store.set_state(one.id, State.ASIDE, aside_at(one.hlc, terms))
            self._ids.discard(hlc_s(one.hlc), one.id, is_durable(one.record_id))

    # --- what readers see ----------------------------------------------------------------------------------

    def _show(self, header: Header, shown: bytes | None, terms: Terms, store: RecordSet) -> list[Change]:
        """Let readers see the winner instead of `shown`, or no longer see the record."""
        ended = header.expires is not None and header.expires <= terms.time_s
        if header.deleted or ended:
            if ended:
                self._note_unsure(header.expires, terms)
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

    def _note_unsure(self, expires: int | None, terms: Terms) -> None:
        if expires is not None and expires > terms.certain_s:
            self.unsure_to_s = max(self.unsure_to_s, expires)

    # --- a whole record again ------------------------------------------------------------------------------

    def settle(self, record_id: bytes, stands: Stands, terms: Terms, store: RecordSet) -> list[Change]:
        """Decide anew which versions of a record are kept, of all that are at hand."""
        versions = store.versions(record_id)
        if not versions:
            return []
        headers = {one.id: header_in(store, one.id) for one in versions}
        creator = versions[0].creator
        after = kept([one for one in versions if stands(one, headers[one.id])], creator)
        before = [one for one in versions if one.state is State.KEPT]
        changes: list[Change] = []
        if not before:
            if not (after and self._make_room(record_id, creator, changes, terms, store)):
                return changes
        elif store.ids_of(creator) > terms.quota.ids and store.largest_id(creator) == record_id:
            return self._evict(record_id, terms, store)
        stay = {one.id: None for one in after}
        for one in after:
            if one.state is State.ASIDE:
                store.set_state(one.id, State.KEPT, terms.at_ms)
                self._ids.add(hlc_s(one.hlc), one.id, is_durable(record_id))
        self._set_aside((one for one in before if one.id not in stay), terms, store)
        self._release(headers.values(), terms.certain_s, store)
        if not after:
            return changes + self._unshow("record-deleted", record_id, store)
        return changes + self._show(headers[after[0].id], store.shown(record_id), terms, store)

    @staticmethod
    def _release(headers: Iterable[Header], certain_s: int, store: RecordSet) -> None:
        """Let go of the bodies of versions that have expired."""
        for header in headers:
            if header.body_hash is not None and has_ended(header, certain_s):
                store.release_body(header.id)

    # --- the end of versions -------------------------------------------------------------------------------

    def expire(self, terms: Terms, store: RecordSet) -> list[Change]:
        """Take from view what has expired, and let go of its body. At most RECORDS_EXPIRED_MAX at a time."""
        changes: list[Change] = []
        if self.next_end_s is None or self.next_end_s > terms.time_s:
            return changes
        for record_id in store.ended(terms.time_s, RECORDS_EXPIRED_MAX):
            changes += self._unshow("record-expired", record_id, store)
            self._note_unsure(changes[-1].header.expires, terms)
            headers = [header_in(store, one.id) for one in store.versions(record_id)]
            self._release(headers, terms.certain_s, store)
        self.next_end_s = store.next_end()
        return changes

    def collect(self, floor_s: int, store: RecordSet) -> int:
        """Forget the versions of the expiring class whose time is over; how many there were, at most
        RECORDS_EXPIRED_MAX. What has expired must have been taken from view.
        """
        gone = store.kept_before(hlc_at(max(0, floor_s - HEADER_LIFE_S + 1) * 1000), RECORDS_EXPIRED_MAX)
        for one in gone:
            self._ids.discard(hlc_s(one.hlc), one.id, False)
            store.discard_version(one.id)
        return len(gone)

    def trim_aside(self, at_ms: int, store: RecordSet) -> bool:
        """Forget what has stood aside for too long, oldest first, at most RECORDS_EXPIRED_MAX; whether there
        may be more.
        """
        oldest = store.aside_oldest(RECORDS_EXPIRED_MAX)
        gone = [one for since_ms, one in oldest if since_ms <= at_ms - RECORDS_ASIDE_S_MAX * 1000]
        for version_id in gone:
            store.discard_version(version_id)
        return len(gone) == RECORDS_EXPIRED_MAX

    def bound_aside(self, store: RecordSet) -> None:
        """Forget what is too much aside, oldest first."""
        while is_too_much(*store.aside_count()):
            for _, version_id in store.aside_oldest(RECORDS_EXPIRED_MAX):
                store.discard_version(version_id)
                if not is_too_much(*store.aside_count()):
                    break


def aside_at(hlc: int, terms: Terms) -> int:
    """When a version's time aside begins; not before it was written, since time may not be certain yet."""
    return max(terms.at_ms, hlc_ms(hlc))


def is_too_much(count: int, size: int) -> bool:
    """Whether so many versions of so many bytes may not all stand aside."""
    return count > RECORDS_ASIDE_MAX or size > RECORDS_ASIDE_BYTES_MAX


def has_ended(header: Header, time_s: int) -> bool:
    """Whether a version has expired."""
    return header.expires is not None and header.expires <= time_s


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
