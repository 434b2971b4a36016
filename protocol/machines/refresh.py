"""Refresh: records of the expiring class that their writer's daemon keeps alive.

That a record is refreshed is known to this node alone; on the wire there is nothing to see of it. When a
third of its life is left the same content is written again, with the same life. It ends when somebody else
has changed the record, or it is gone, or its end can be put off no more; with a clock that is not trusted it
is tried again later.

Differs: the original looked for records that expire within 20 seconds, too late for a peer that is slow.
"""

from __future__ import annotations

from protocol.errors import RuleError
from protocol.limits import REFRESH_RETRY_S, REFRESHED_MAX
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

    def __contains__(self, record_id: bytes) -> bool:
        """Whether this node refreshes a record."""
        return record_id in self._lives

    def load(self, store: RecordSet) -> None:
        """Read back at start which records are refreshed."""
        self._lives = dict(store.refreshes(b"", REFRESHED_MAX))
        for record_id, life_s in self._lives.items():
            shown = store.shown(record_id)
            ends = header_in(store, shown).expires if shown is not None else None
            self._due_s[record_id] = (ends or 0) - life_s // 3

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
        self._due_s[header.record_id] = header.expires - life_s // 3

    def stop(self, record_id: bytes, store: RecordSet) -> None:
        """Let a record expire."""
        if self._lives.pop(record_id, None) is not None:
            del self._due_s[record_id]
            store.set_refresh(record_id, None)

    def due(self, own: bytes, writing: Writing, pen: Pen) -> list[RecordItem]:
        """Write again what is due; `own` is the pid of this node's identity."""
        now_s, items = pen.now.utc_s, []
        for record_id in [record for record, due in self._due_s.items() if due <= now_s]:
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
        self._due_s[record_id] = pen.now.utc_s + REFRESH_RETRY_S
        try:
            item = writing.again(before, pen, pen.now.utc_s + life_s)
        except RuleError:
            return None  # no credential, or a clock that is not trusted: that may change
        assert item.header.expires is not None
        if item.header.expires <= before.expires:
            return None  # our credential ends; a renewed one will allow more
        self._due_s[record_id] = item.header.expires - life_s // 3
        return item

    def next_deadline(self, now_s: int, now_mono_ms: int) -> int | None:
        """When `due` next has something to do, on the monotonic clock."""
        due = min(self._due_s.values(), default=None)
        return None if due is None else now_mono_ms + max(0, due - now_s) * 1000
