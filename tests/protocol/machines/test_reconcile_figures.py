"""Reconciliation costs no more than 1.2 times the figures it was designed by, in bytes and in round trips."""

from __future__ import annotations

import pytest

from scripts.bench.engine import KINDS, make_ids, measure

TEN_THOUSAND = make_ids(10_000)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("d", [0, 1, 10, 100, 1_000])
def test_ten_thousand_ids_cost_no_more_than_expected(d, kind):
    row = measure(TEN_THOUSAND, d, kind)
    assert row.holds, row
    assert row.round_trips <= row.round_trips_expected
    assert row.sessions <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_ten_thousand_ids_that_all_differ_cost_no_more_than_expected(kind):
    row = measure(TEN_THOUSAND, 10_000, kind)
    assert row.holds, row
    assert row.round_trips <= row.round_trips_expected
