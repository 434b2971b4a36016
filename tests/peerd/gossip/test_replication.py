"""Who waits for neighbors is woken when enough of them hold what was written, and not before."""

from __future__ import annotations

from collections import Counter

import trio
from trio.testing import wait_all_tasks_blocked

from peerd.gossip.replication import Replication

VERSION, OTHER = b"v" * 32, b"o" * 32


async def test_the_wait_ends_with_the_last_neighbor_that_was_asked_for(nursery):
    counts: Counter[bytes] = Counter()
    replication = Replication(counts.__getitem__)
    ended: list[int] = []

    async def wait(neighbors: int) -> None:
        await replication.wait(VERSION, neighbors)
        ended.append(neighbors)

    for neighbors in (1, 2, 3):
        nursery.start_soon(wait, neighbors)
    await wait_all_tasks_blocked()
    for version, expected in ((OTHER, []), (VERSION, [1]), (VERSION, [1, 2])):
        counts[version] += 1
        replication.grown()
        await wait_all_tasks_blocked()
        assert sorted(ended) == expected
    nursery.cancel_scope.cancel()


async def test_what_is_there_already_is_not_waited_for():
    replication = Replication(lambda _: 2)
    with trio.fail_after(1):
        await replication.wait(VERSION, 2)
        await replication.wait(VERSION, 0)
