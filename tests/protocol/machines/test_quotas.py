"""What the properties say of quotas, and what they cannot say."""

from __future__ import annotations

from hypothesis import given, strategies as st

from protocol.limits import QUOTA_BYTES, QUOTA_IDS
from protocol.machines.quotas import Quota, quota_in


def test_group_without_quotas_has_the_defaults():
    assert quota_in({}) == Quota(QUOTA_IDS, QUOTA_BYTES)


@given(st.integers(0, 2**63), st.integers(0, 2**63))
def test_numbers_are_taken_as_they_are(ids, size):
    assert quota_in({"ids": ids, "bytes": size, "other": "x"}) == Quota(ids, size)


@given(st.sampled_from([-1, True, None, "7", 1.5, [], {}, b"7"]))
def test_what_is_no_number_leaves_the_default(value):
    assert quota_in({"ids": value, "bytes": 5}) == Quota(QUOTA_IDS, 5)
    assert quota_in({"ids": 5, "bytes": value}) == Quota(5, QUOTA_BYTES)
