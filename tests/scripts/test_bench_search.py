"""The bench of searching runs on small sizes, and asks what it says."""

from __future__ import annotations

from peerd.store.group_store import GroupStore
from protocol.records.expression import parse_expression
from scripts.bench import search


def test_every_query_is_asked_of_that_many_records(tmp_path):
    table = search.rows(tmp_path, 30, rounds=1)
    assert [row.what for row in table][:3] == ["30 records signed and shown", "(all)", search.QUERIES[1][0]]
    assert len(table) == 1 + len(search.QUERIES)
    assert all(row.figure.endswith("s") and row.beside for row in table)
    store = GroupStore(tmp_path / "search.db")
    found = store.search(parse_expression("size > 0 and exists title"), now_s=0, page=100).found
    assert len(found) == 30
    store.close()
