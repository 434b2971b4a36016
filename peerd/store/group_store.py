"""A group's file: `ActStore` and `RecordSet` on SQLite. Its transactions are those of the group's runner."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import ExitStack
from pathlib import Path

from peerd.store.database import Database, Row, Value, check_number
from peerd.store.migrations import GROUP_SCHEMA
from peerd.store.record_search import Page, search_records
from peerd.store.record_store import RecordStore
from peerd.store.settings import read_setting, write_setting
from protocol.authority.act_set import LoggedEvent, element_fits, event_fits
from protocol.limits import EVENTS_KEPT_MAX, EVENTS_PAGE_MAX
from protocol.records.search import Query

_INSERT_EVENT = "INSERT INTO events (number, at_ms, kind, facts, check_number) VALUES (?, ?, ?, ?, ?)"


class GroupStore(RecordStore):
    """The acts, settings, event log and records of one group. Raises what `Database` raises."""

    def __init__(self, path: Path, *, make: bool = True, vfs: str | None = None) -> None:
        """Open the group's file; where there is none, make it, or refuse if it must be there."""
        database = Database(path, GROUP_SCHEMA, make=make, vfs=vfs)
        with ExitStack() as stack:
            stack.callback(database.close)
            super().__init__(database)
            # The events of the open transaction: how many are written, and those that are not. The last has
            # the number `_noted`.
            self._flushed = 0
            self._events: list[tuple[Value, ...]] = []
            self._noted = self.last_event()
            stack.pop_all()

    @property
    def failed(self) -> bool:
        """Whether the medium failed, so that everything is refused until the file is opened anew."""
        return self._database.failed

    # --- elements -----------------------------------------------------------------------------------------

    def load(self) -> Iterator[bytes]:
        """See `ActSet`."""
        for row in self._database.stream("SELECT id, raw, check_number FROM elements ORDER BY arrival"):
            yield self._element(row)

    def get(self, element_id: bytes) -> bytes | None:
        """See `ActSet`."""
        rows = self._database.rows("SELECT id, raw, check_number FROM elements WHERE id = ?", (element_id,))
        return self._element(rows[0]) if rows else None

    def put(self, element_id: bytes, raw: bytes) -> None:
        """See `ActSet`."""
        assert element_fits(element_id, raw)
        arrival = self._database.insert(
            "INSERT OR IGNORE INTO elements (id, raw, check_number) VALUES (?, ?, ?)",
            (element_id, raw, check_number(element_id, raw)),
        )
        assert arrival is not None, "an element is put once"

    def discard(self, element_id: bytes) -> None:
        """See `ActSet`."""
        self._database.write("DELETE FROM elements WHERE id = ?", (element_id,))

    def in_arrival_order(self, ids: Collection[bytes]) -> list[bytes]:
        """See `ActSet`."""
        found = self._database.rows_for_each(
            "SELECT arrival, id FROM elements WHERE id = ?", ((element_id,) for element_id in ids)
        )
        return [element_id for _, element_id in sorted(dict.fromkeys(found))]

    def arrival_of(self, element_id: bytes) -> int | None:
        """See `ActSet`."""
        rows = self._database.rows("SELECT arrival FROM elements WHERE id = ?", (element_id,))
        return int(rows[0][0]) if rows else None

    # --- settings and events ------------------------------------------------------------------------------

    def setting(self, key: str) -> bytes | None:
        """See `ActSet`."""
        return read_setting(self._database, key)

    def set_setting(self, key: str, value: bytes | None) -> None:
        """See `ActSet`."""
        write_setting(self._database, key, value)

    def note(self, kind: str, at_ms: int, facts: bytes) -> int:
        """See `ActSet`."""
        assert event_fits(kind, at_ms, facts)
        self._database.check_writable()
        self._noted += 1
        self._events.append((self._noted, at_ms, kind, facts, _event_check(at_ms, kind, facts)))
        return self._noted

    def events_after(self, number: int, limit: int) -> list[LoggedEvent]:
        """See `ActStore`."""
        assert 0 < limit <= EVENTS_PAGE_MAX
        rows = self._database.committed(
            "SELECT number, at_ms, kind, facts, check_number FROM events"
            " WHERE number > ? ORDER BY number LIMIT ?",
            (number, limit),
        )
        return [self._event(row) for row in rows]

    def last_event(self) -> int:
        """See `ActStore`."""
        return self._number("SELECT coalesce(max(number), 0) FROM events")

    def first_event(self) -> int:
        """See `ActStore`."""
        return self._number("SELECT coalesce(min(number), 1) FROM events")

    # --- searching ----------------------------------------------------------------------------------------

    def search(self, query: Query, *, now_s: int, page: int, cursor: str | None = None) -> Page:
        """One page of what a query finds among committed records; see `search_records`. It may be called
        beside anything else, from a thread of its own.
        """
        return search_records(self._database, query, now_s=now_s, page=page, cursor=cursor)

    # --- transactions -------------------------------------------------------------------------------------

    def begin(self) -> None:
        """See `ActStore`."""
        self._database.begin()
        self._begin_records()

    def flush(self) -> None:
        """See `ActStore`."""
        self._write_records()
        if self._events:
            self._database.write_many(_INSERT_EVENT, self._events)
            if self._noted > EVENTS_KEPT_MAX:
                self._database.write("DELETE FROM events WHERE number <= ?", (self._noted - EVENTS_KEPT_MAX,))
            self._flushed += len(self._events)
            self._events.clear()

    def commit(self) -> None:
        """See `ActStore`."""
        self.flush()
        self._database.commit()
        self._records_committed()
        self._flushed = 0

    def rollback(self) -> None:
        """See `ActStore`."""
        self._noted -= self._flushed + len(self._events)
        self._flushed = 0
        self._events.clear()
        self._take_back_records()
        self._database.rollback()

    def close(self) -> None:
        """See `ActStore`."""
        self._database.close()

    def _element(self, row: Row) -> bytes:
        element_id, raw, stored = row
        if check_number(element_id, raw) != stored:
            raise self._database.damaged(f"the element {element_id.hex()} has changed")
        return bytes(raw)

    def _number(self, sql: str) -> int:
        ((number,),) = self._database.committed(sql)
        return int(number)

    def _event(self, row: Row) -> LoggedEvent:
        number, at_ms, kind, facts, stored = row
        if _event_check(at_ms, kind, facts) != stored:
            raise self._database.damaged(f"the event {number} has changed")
        return LoggedEvent(number, at_ms, kind, facts)


def _event_check(at_ms: int, kind: str, facts: bytes) -> int:
    return check_number(at_ms.to_bytes(8, "big"), kind.encode(), facts)
