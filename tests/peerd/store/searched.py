"""A group's file in which just the tables that are searched are filled, with records of any sort."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from peerd.store.database import Database
from peerd.store.migrations import GROUP_SCHEMA
from peerd.store.record_search import Page, search_records
from protocol.limits import SEARCH_PAGE_MAX
from protocol.records.attributes import STRING, Attribute, canonical_attributes
from protocol.records.expression import parse_expression
from protocol.records.predicate import RecordFacts
from protocol.records.search import Query
from tests.support.searches import NOW_S, PIDS


class File:
    """A group's file in which just the tables that are searched are filled."""

    def __init__(self, path: Path, vfs: str | None = None) -> None:
        self.database = Database(path, GROUP_SCHEMA, vfs=vfs)
        self._arrivals = itertools.count(1)

    def holds(self, records: Iterable[RecordFacts]) -> None:
        """Show these records and no others."""
        with self.database.transaction():
            self.database.write("DELETE FROM shown")
            self.database.write("DELETE FROM attributes")
            for facts in records:
                self._insert(facts)

    def show(self, facts: RecordFacts) -> None:
        """Show one more, or a record's next version."""
        with self.database.transaction():
            where = "arrival IN (SELECT arrival FROM shown WHERE record_id = ?)"
            for table in ("attributes", "shown"):
                self.database.write(f"DELETE FROM {table} WHERE {where}", (facts.record_id,))
            self._insert(facts)

    def _insert(self, facts: RecordFacts) -> None:
        arrival = next(self._arrivals)
        self.database.write(
            "INSERT INTO shown (arrival, record_id, version_id, type, creator, author, created, modified,"
            " hlc, expires, version, size, check_number) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, 0)",
            (
                arrival, facts.record_id, facts.record_id * 2, facts.record_type, facts.creator,
                facts.modified_by, facts.created, facts.modified, facts.expires, facts.version, facts.size,
            ),
        )  # fmt: skip
        for position, (name, kind, value) in enumerate(facts.attributes):
            number, text = (None, value) if kind == STRING else (value, None)
            self.database.write(
                "INSERT INTO attributes VALUES (?, ?, ?, ?, ?, ?)",
                (arrival, position, name, kind, number, text),
            )

    def page(self, query: Query | str, page: int = SEARCH_PAGE_MAX, cursor: str | None = None) -> Page:
        if isinstance(query, str):
            query = parse_expression(query)
        return search_records(self.database, query, now_s=NOW_S, page=page, cursor=cursor)

    def ids(self, query: Query | str) -> list[bytes]:
        found = self.page(query)
        assert found.cursor is None
        assert all(one.version_id == one.record_id * 2 for one in found.found)
        return [one.record_id for one in found.found]


def ids(records: Iterable[RecordFacts]) -> list[bytes]:
    return [facts.record_id for facts in records]


def pages(file: File, query: Query, page: int) -> list[bytes]:
    """All pages, one after the other."""
    found, cursor = [], None
    while True:
        one = file.page(query, page, cursor)
        assert len(one.found) <= page
        found += [record.record_id for record in one.found]
        if one.cursor is None:
            return found
        assert len(one.found) == page, "only the last page is not full"
        cursor = one.cursor


def record(number: int, *entries: tuple[str, int, int | str], **changed: object) -> RecordFacts:
    blank = RecordFacts(
        bytes([number]) * 16, "note", 1, PIDS[0], PIDS[0], number, number, None, 0,
        canonical_attributes(Attribute(*entry) for entry in entries),
    )  # fmt: skip
    return replace(blank, **changed)  # type: ignore[arg-type]
