"""One group's gossip on memory streams and stores: a `Player` is a node without a daemon around it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import trio
from trio.testing import memory_stream_pair

from peerd.clock import Clock
from peerd.gossip.checking import on_threads
from peerd.gossip.listening import Reception
from peerd.gossip.node import GroupNode
from peerd.gossip.offload import inline
from peerd.transport.dialer import dial
from peerd.transport.frames import FrameChannel
from peerd.transport.listener import Listener
from protocol.authority.elements import Element
from protocol.machines.events import Notice
from protocol.machines.group import GroupMachine
from protocol.peer_time import Moment
from protocol.records.memory import MemoryStore
from tests.peerd.transport.memory_network import MemoryNetwork, plain
from tests.support.builders import Group, after
from tests.support.keys import named

LATER_S = 3600  # after the builders' acts


def family() -> Group:
    """alice, an administrator; bob and carol, members."""
    group = Group()
    for name in ("bob", "carol"):
        group.grant(f"grc -> alice:admin -> {name}:member")
    return group


class Player:
    """A member's node: its machine, its store, where it listens, and what it was told."""

    def __init__(
        self, group: Group, name: str, network: MemoryNetwork, *, elements: Sequence[Element] | None = None
    ) -> None:
        """It holds `elements`, by default all there are; its calendar starts an hour after them."""
        self.name = name
        self.host = f"10.1.{ord(name[0])}.{len(name)}"
        self.address = f"{self.host}:3587"
        self.clock = Clock(lambda: moment().utc_ms)
        self.key = named(name)
        self.store = MemoryStore()
        self.node_id = self.key.public.pid[:16]
        machine = self._machine(group.gid)
        self.store.begin()
        machine.members.take(group.elements if elements is None else elements, None, moment(), self.store)
        self.store.commit()
        self.notices: list[Notice] = []
        self.network = network.host(self.host)
        self.node = GroupNode(
            self._machine(group.gid),
            self.store,
            dial=self.dial,
            clock=self.clock,
            offload=inline,
            check=on_threads(inline),
            tell=self.notices.append,
        )
        self.node.machine.load(moment(), self.store)
        self.node.machine.links.listens = (self.address,)
        self.listener = Listener(network=self.network, secure=plain)
        self.draw = random.Random(name).randbytes
        self.reception = Reception(
            lambda: {group.authority: self.node}, clock=self.clock, offload=inline, draw=self.draw
        )

    def _machine(self, gid: bytes) -> GroupMachine:
        return GroupMachine(gid, self.key, node_id=self.node_id, rng=random.Random(self.name))

    async def dial(self, address: str) -> FrameChannel:
        return await dial(address, network=self.network, secure=plain)

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen and gossip until cancelled."""
        await self.listener.bind([self.address])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.node.run)
            await nursery.start(self.listener.serve, self.reception.receive)
            task_status.started()

    def kinds(self) -> list[str]:
        """What it was told, in order."""
        return [notice.kind for notice in self.notices]


def moment() -> Moment:
    """Now, on the test's clock: the builders' time, an hour later."""
    return after(LATER_S + trio.current_time())


@asynccontextmanager
async def channels() -> AsyncIterator[tuple[FrameChannel, FrameChannel]]:
    """Both ends of one channel, the caller's first."""
    ours, theirs = memory_stream_pair()
    ends: dict[str, FrameChannel] = {}

    async def open_end(name: str, stream: trio.StapledStream) -> None:
        ends[name] = FrameChannel(await plain(stream), f"10.1.1.1:{len(ends) + 1}")

    async with trio.open_nursery() as opening:
        opening.start_soon(partial(open_end, "caller", ours))
        opening.start_soon(partial(open_end, "answerer", theirs))
    async with trio.open_nursery() as nursery:
        for end in ends.values():
            nursery.start_soon(end.run)
        yield ends["caller"], ends["answerer"]
        nursery.cancel_scope.cancel()
