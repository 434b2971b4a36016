"""Being called: one listener for all groups of the daemon."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from peerd.clock import Clock
from peerd.gossip import handshake
from peerd.gossip.neighbors import supervised
from peerd.gossip.node import GroupNode
from peerd.gossip.offload import Offload
from peerd.transport.frames import FrameChannel
from peerd.transport.slots import Slot
from protocol.machines.connect import Established


class Reception:
    """Finds out which group a caller means and hands the connection to it."""

    def __init__(
        self,
        nodes: Callable[[], Mapping[bytes, GroupNode]],
        *,
        clock: Clock,
        offload: Offload,
        draw: handshake.Draw,
    ) -> None:
        """`nodes` are the groups served now, by authority (20 bytes); `draw` gives random bytes."""
        self._nodes = nodes
        self._clock = clock
        self._offload = offload
        self._draw = draw

    async def receive(self, channel: FrameChannel, slot: Slot) -> None:
        """Handle one accepted connection until it ends; the listener bounds how long the opening takes."""
        opened = await supervised(channel.address, partial(self._open, channel))
        if opened is not None:
            node, peer = opened
            await node.serve(channel, peer, slot)

    async def _open(self, channel: FrameChannel) -> tuple[GroupNode, Established] | None:
        nodes = self._nodes()
        port, end = await handshake.answer(
            channel,
            lambda: [node.port for node in nodes.values()],
            clock=self._clock,
            offload=self._offload,
            draw=self._draw,
        )
        if isinstance(end, Established) and port is not None:
            return nodes[port.authority], end
        return None
