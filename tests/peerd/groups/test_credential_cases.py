from __future__ import annotations

from tests.support.cluster import cluster


async def test_begun(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        (alice,) = await nodes.start("alice")
        assert alice.runs
