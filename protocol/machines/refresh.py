"""Refresh: records of the expiring class that their writer's daemon keeps alive.

That a record is refreshed is known to this node alone; on the wire there is nothing to see of it. When a
third of its life is left the same content is written again, with the same life. It ends when somebody else
has changed the record, or it is gone, or its end can be put off no more; with a clock that is not trusted it
is tried again later.

Differs: the original looked for records that expire within 20 seconds, too late for a peer that is slow.
"""

from __future__ import annotations

from protocol.errors import RuleError
from protocol.limits import RECORDS_SETTLED_MAX, REFRESH_RETRY_S, REFRESHED_MAX
from protocol.machines.record_keeping import header_in
from protocol.machines.write import Pen, Writing
from protocol.records.record import Header, RecordItem
from protocol.records.record_set import RecordSet


class Refreshing:
    """The records of one group that this node refreshes, and when. Times are seconds of the clock."""

    def __init__(self) -> None:
        """Begin with none; `load` reads them back."""
        self._lives: dict[bytes, int] = {}
        self._due_s: dict[bytes, int] = {}
        self._again_ms: dict[bytes, int] = {}  # not before this run time, when it has just failed

    def __contains__(self, record_id: bytes) -> bool:
        """Whether this node refreshes a record."""
        return record_id in self._lives

    def load(self, store: RecordSet) -> None:
        """Read back at start which records are refreshed."""
        self._lives = dict(store.refreshes(b"", REFRESHED_MAX))
        for record_id, life_s in self._lives.items():
            shown = store.shown(record_id)
            ends = header_in(store, shown).expires if shown is not None else None
            self._due_s[record_id] = _due_s(ends or 0, life_s)

    def check_room(self, record_id: bytes | None) -> None:
        """Refuse one record too many. Raises: RuleError(quota-exceeded)."""
        if record_id not in self._lives and len(self._lives) >= REFRESHED_MAX:
            raise RuleError(
                "quota-exceeded",
                f"this daemon refreshes {REFRESHED_MAX} records of the group already",
                hint="add it without --auto-refresh, or let it live until it is deleted",
            )

    def start(self, header: Header, store: RecordSet) -> None:
        """Refresh a record from now on, to the life that it has now."""
        assert header.expires is not None
        life_s = header.expires - header.hlc_s
        store.set_refresh(header.record_id, life_s)
        self._lives[header.record_id] = life_s
        self._due_s[header.record_id] = _due_s(header.expires, life_s)

    def follow(self, header: Header) -> None:
        """This identity has written a version that leaves the life as it is; nothing happens when the record
        is not refreshed here.
        """
        life_s = self._lives.get(header.record_id)
        if life_s is not None:
            assert header.expires is not None
            self._due_s[header.record_id] = _due_s(header.expires, life_s)

    def stop(self, record_id: bytes, store: RecordSet) -> None:
        """Let a record expire."""
        if self._lives.pop(record_id, None) is not None:
            del self._due_s[record_id]
            self._again_ms.pop(record_id, None)
            store.set_refresh(record_id, None)

    def due(self, own: bytes, writing: Writing, pen: Pen) -> list[RecordItem]:
        """Write again what is due, at most RECORDS_SETTLED_MAX; `own` is the pid of this node's identity."""
        items = []
        now_s = max(pen.now.utc_s, pen.time.now_s(pen.now))  # by which readers see it expire
        due = [
            record_id
            for record_id, due_s in self._due_s.items()
            if due_s <= now_s and self._again_ms.get(record_id, 0) <= pen.now.mono_ms
        ]
        for record_id in due[:RECORDS_SETTLED_MAX]:
            item = self._refreshed(record_id, own, writing, pen)
            if item is not None:
                items.append(item)
        return items

    def _refreshed(self, record_id: bytes, own: bytes, writing: Writing, pen: Pen) -> RecordItem | None:
        shown = pen.store.shown(record_id)
        before = None if shown is None else header_in(pen.store, shown)
        if before is None or before.author != own or before.expires is None:
            self.stop(record_id, pen.store)
            return None
        life_s = self._lives[record_id]
        self._again_ms[record_id] = pen.now.mono_ms + REFRESH_RETRY_S * 1000
        try:
            item = writing.again(before, pen, pen.now.utc_s + life_s)
        except RuleError:
            return None  # no credential, or a clock that is not trusted: that may change
        assert item.header.expires is not None
        if item.header.expires <= before.expires:
            return None  # our credential ends; a renewed one will allow more
        self._due_s[record_id] = _due_s(item.header.expires, life_s)
        del self._again_ms[record_id]
        return item

    def next_deadline(self, now_s: int, now_mono_ms: int) -> int | None:
        """When `due` next has something to do, on the monotonic clock."""
        dues = (
            max(now_mono_ms + max(0, due_s - now_s) * 1000, self._again_ms.get(record_id, 0))
            for record_id, due_s in self._due_s.items()
        )
        return min(dues, default=None)


def _due_s(expires: int, life_s: int) -> int:
    """When a record that expires then is written again: a second before is the latest."""
    return expires - max(1, life_s // 3)
