"""Replicas: on how many neighbors this node's recent writes are durable.

A neighbor says so with Got, for what was flooded and for bodies it has fetched, or by the credit for a frame
of a transfer. Counted are nodes, not links. This is for a user who waits right after a write, so it is kept
in memory, for the most recent writes alone; nothing else depends on it.
"""

from __future__ import annotations

from collections.abc import Iterable

from protocol.limits import REPLICAS_MAX, REPLICATED_MAX
from protocol.machines.events import Replicated


class Replicas:
    """Who has the versions that were written here of late.

    What the machine calls: `watch` for each version written here; `on_durable` for Got, with the ids split,
    and for Taken, with what `Synchronize.credited` says.
    """

    def __init__(self) -> None:
        """Nothing has been written yet."""
        self._nodes: dict[bytes, dict[bytes, None]] = {}  # version id -> node ids

    def watch(self, version_id: bytes) -> None:
        """Count the neighbors that have this version from now on."""
        self._nodes.setdefault(version_id, {})
        if len(self._nodes) > REPLICATED_MAX:
            del self._nodes[next(iter(self._nodes))]

    def count(self, version_id: bytes) -> int:
        """On how many neighbors a version is durable, as far as is known."""
        return len(self._nodes.get(version_id, ()))

    def on_durable(self, node_id: bytes, ids: Iterable[bytes]) -> list[Replicated]:
        """A neighbor (by its node id) has made versions durable; tells each count that has grown."""
        outputs = []
        for version_id in ids:
            nodes = self._nodes.get(version_id)
            if nodes is None or node_id in nodes or len(nodes) >= REPLICAS_MAX:
                continue
            nodes[node_id] = None
            outputs.append(Replicated(version_id, len(nodes)))
        return outputs
