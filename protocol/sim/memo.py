"""Memo: what a function made of some bytes, so that a thousand nodes decode and verify the same bytes once.

A run has all its nodes in one process, and most bytes reach every one of them: without a memo nearly all of
its time would go into signatures. Only pure functions of bytes belong here. What is remembered is bounded by
the bytes that it was made of; what was asked for least recently goes first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

Made = TypeVar("Made")

MEMO_BYTES_MAX = 128 * 2**20  # arbitrary: AUTH of 10,000 members twice, and a thousand of the largest frames


class Memo(Generic[Made]):
    """A function from bytes, and what it has returned of late. What it raises is not remembered."""

    def __init__(self, make: Callable[[bytes], Made], bytes_max: int = MEMO_BYTES_MAX) -> None:
        """`make` must depend on its argument alone, and return what nobody changes."""
        self.made = 0  # how often `make` was called
        self._make = make
        self._bytes_max = bytes_max
        self._bytes = 0
        self._known: dict[bytes, Made] = {}

    def __call__(self, raw: bytes) -> Made:
        """What `make` returns for these bytes."""
        if raw in self._known:
            known = self._known[raw] = self._known.pop(raw)
            return known
        self.made += 1
        made = self._known[raw] = self._make(raw)
        self._bytes += len(raw)
        while self._bytes > self._bytes_max:
            oldest = next(iter(self._known))
            del self._known[oldest]
            self._bytes -= len(oldest)
        return made

    def __len__(self) -> int:
        """How many results are remembered."""
        return len(self._known)
