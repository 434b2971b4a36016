"""The memo makes each thing once, and remembers no more than it may."""

from __future__ import annotations

import pytest

from protocol.sim.memo import Memo


def test_the_same_bytes_are_made_once() -> None:
    memo = Memo(len)
    assert [memo(b"four"), memo(b"four"), memo(b"three")] == [4, 4, 5]
    assert memo.made == 2


def test_what_was_asked_for_least_recently_is_forgotten_first() -> None:
    memo = Memo(len, bytes_max=8)
    for raw in (b"aaaa", b"bbbb", b"aaaa", b"cccc"):
        memo(raw)
    assert len(memo) == 2
    memo(b"aaaa")
    assert memo.made == 3
    memo(b"bbbb")
    assert memo.made == 4


def test_what_is_raised_is_raised_again() -> None:
    memo = Memo(int)
    for _ in range(2):
        with pytest.raises(ValueError, match="invalid"):
            memo(b"x")
    assert memo.made == 2
    assert len(memo) == 0
