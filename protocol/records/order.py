"""Which version of a record counts: one total order, and the few versions that are kept.

The largest (hlc, author, version id) of the valid versions wins. Not only the winner is kept but the best
version of its creator, and of up to 4 other authors: when the winner's author is revoked, what stood before
comes back on every node, without anybody's help.

What is kept of a union is what is kept of the kept parts (a join: in any order, any grouping, again and
again), so nodes that have seen the same versions keep the same ones, whatever the order in which they came.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

from protocol.limits import OTHER_AUTHORS_MAX

OrderKey = tuple[int, bytes, bytes]


class Ordered(Protocol):
    """What the order looks at in a version."""

    @property
    def id(self) -> bytes:
        """The version id."""

    @property
    def author(self) -> bytes:
        """The pid of who wrote it."""

    @property
    def hlc(self) -> int:
        """When."""


V = TypeVar("V", bound=Ordered)


def order_key(version: Ordered) -> OrderKey:
    """The place of a version among those of its record; no two versions have the same."""
    return (version.hlc, version.author, version.id)


def winner(versions: Iterable[V]) -> V:
    """The version that counts, of at least one."""
    return max(versions, key=order_key)


def kept(versions: Iterable[V], creator: bytes) -> list[V]:
    """Those of a record's versions that are kept, the winner first; all must be of one record, which
    `creator` (pid) created.
    """
    best: dict[bytes, V] = {}
    for version in versions:
        known = best.get(version.author)
        if known is None or order_key(version) > order_key(known):
            best[version.author] = version
    others = sorted((v for v in best.values() if v.author != creator), key=order_key, reverse=True)
    own = [best[creator]] if creator in best else []
    return sorted(own + others[:OTHER_AUTHORS_MAX], key=order_key, reverse=True)
