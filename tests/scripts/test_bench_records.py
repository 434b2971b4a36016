"""The benches of records run on small sizes, and count what they should."""

from __future__ import annotations

import time

import pytest
import trio
import trio.testing

from protocol.limits import FRAME_BYTES_MAX_MEMBER
from protocol.records.record import decode_untrusted_item
from protocol.wire.messages import Transfer, decode_untrusted_message
from scripts.bench import daemons, records, replicating
from scripts.bench.watched import Watch, held_row, percentile


def test_records_are_received_both_ways(tmp_path):
    table = records.rows(tmp_path, 20)
    assert [row.what.split(",")[0].strip() for row in table] == [
        "20 records of 256 bytes",
        "where it goes",
        "the same by a node",
        "processor time of one",
        "the loop held",
        "the middle one of 3 runs",
    ]
    assert all(row.figure and row.beside for row in table)


def test_a_neighbor_sends_signed_records_in_the_order_of_reconciliation(tmp_path):
    sent = records.prepare(tmp_path / "writer.db", 200)
    messages = [decode_untrusted_message(one, bytes_max=FRAME_BYTES_MAX_MEMBER) for one in sent.frames]
    transfers = [one for one in messages if isinstance(one, Transfer)]
    assert [one.last for one in transfers] == [False] * (len(messages) - 1) + [True]
    headers = [decode_untrusted_item(raw).header for one in transfers for raw in one.elements]
    places = [(header.hlc_s, header.id) for header in headers]
    assert places == sorted(set(places))
    assert len(places) == 200
    assert all(header.size == records.BODY_BYTES and len(header.attributes) == 2 for header in headers)


def test_the_value_that_so_many_do_not_exceed():
    assert percentile([], 0.99) == 0
    assert percentile([3, 1, 2], 1) == 3
    assert percentile(range(1, 101), 0.99) == 99


def test_who_holds_the_loop_is_told():
    watch = Watch()

    async def hold() -> None:
        await trio.testing.wait_all_tasks_blocked()
        begun = time.thread_time()
        while time.thread_time() - begun < 0.05:
            pass
        for _ in range(1_000_000):
            if max(watch.late_ms, default=0) >= 20:
                return
            await trio.lowlevel.checkpoint()

    trio.run(watch.around, hold, instruments=[watch])
    told = watch.told()
    assert told["late_max"] >= told["late_p99"] > 0
    assert told["late_max"] > 20
    longest, task = told["steps"][0]
    assert longest >= 49
    assert "around" in task
    assert "around" in held_row("the loop", told).beside


@pytest.mark.system
def test_a_node_catches_up_and_goes_on_after_a_kill():
    with daemons.compiled():
        table = replicating.catching_up(60)
    assert [row.what.split(",")[0].strip() for row in table] == [
        "database import of 60 records of 256 bytes",
        "an empty node catches up with 60",
        "processor time of one",
        "on the wire",
        "status meanwhile",
        "memory (RSS) with 62 records",
        "ready",
        "command line answer (status)",
        "the loop of newcomer held",
        "the loop of source held",
        "killed at about half and started again",
        "fetched twice",
    ]


@pytest.mark.system
def test_writes_are_counted_alone_together_and_everywhere():
    with daemons.compiled():
        table = replicating.writing(3, 2)
        with daemons.nodes(3) as running:
            table += replicating.spreading(running, 3)
    assert [row.what.split(",")[0].strip() for row in table] == [
        "a page written and synced on this disk",
        "local durable writes",
        "2 writers at once",
        "a record on all of 3 in full mesh",
    ]
