"""The bench measures what it says: its parts run on small sizes, and count what they should."""

from __future__ import annotations

import pytest

from scripts.bench import daemons, machine, reconciling
from scripts.bench.figures import Bound, Row, Spent, bound_rows, show


def test_rows_stand_in_columns(capsys):
    show("title", [Row("short", "1 /s"), Row("a longer one", "22 /s", "beside")])
    assert capsys.readouterr().out.splitlines() == [
        "title",
        "  short                  1 /s",
        "  a longer one          22 /s   beside",
        "",
    ]


def test_time_is_counted_inside_and_adds_up():
    spent = Spent()
    with spent.running():
        sum(range(100_000))
    once = spent.processor_s
    assert once > 0
    with spent.running():
        sum(range(100_000))
    assert spent.processor_s > once
    assert spent.wall_s > 0


def test_bound_is_the_median_of_its_samples():
    bound = Bound()
    bound.sample()
    assert bound.made_per_s > bound.checked_per_s > 0
    assert [row.what for row in bound_rows(1)] == ["Ed25519 signatures made", "Ed25519 signatures checked"]


def test_credentials_are_issued_received_and_read_back(tmp_path):
    table = machine.rows(tmp_path, single=2, batched=5)
    assert [row.what for row in table] == [
        "issued and stored, one by one",
        "issued and stored, 5 in a batch",
        "received, checked and stored, one thread",
        "  where it goes, processor time of one",
        "a group of 7 credentials opened",
    ]


def test_two_machines_meet_and_only_what_differs_is_sent():
    equal, one, some = reconciling.run(40, (0, 1, 6))
    assert [meeting.acts for meeting in (equal, one, some)] == [40, 41, 47]
    assert [meeting.traffic.elements for meeting in (equal, one, some)] == [0, 2, 12]
    assert (equal.traffic.finding_messages, equal.traffic.sending_bytes) == (0, 0)
    for meeting in (one, some):
        traffic = meeting.traffic
        assert traffic.round_trips >= 1
        assert traffic.opening_bytes == equal.traffic.opening_bytes > 0
        assert 0 < traffic.element_bytes < traffic.sending_bytes < traffic.element_bytes * 1.5
    assert len(reconciling.table([equal, one, some]).splitlines()) == 4


@pytest.mark.system
def test_one_daemon_is_measured():
    with daemons.compiled():
        table = daemons.one_node(starts=1, answers=1, single=1, members=3)
    assert [row.what.split(",")[0] for row in table] == [
        "daemon ready",
        "command line answer (status)",
        "memory of a node (RSS)",
        "daemon",
        "daemon",
        "daemon ready",
        "memory of a node (RSS)",
    ]


@pytest.mark.system
def test_pickup_is_measured_in_both_shapes():
    with daemons.compiled():
        table = daemons.pickups(count=3, rounds=1)
    assert [row.what for row in table] == [
        "renewal in use, 3 in full mesh, median / slowest of 2",
        "  at the last of them, median / slowest of 1",
        "renewal in use, 3 in a line, median / slowest of 2",
        "  at the last of them, median / slowest of 1",
    ]
