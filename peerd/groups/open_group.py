"""One group that is open on this node: its store, its machine, the tasks that drive it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import trio

from peerd.gossip.node import GroupNode
from peerd.groups.environment import Environment
from peerd.store.daemon_store import CatalogueEntry
from peerd.store.group_store import GroupStore
from protocol.authority.acts import Act
from protocol.authority.elements import Element
from protocol.credentials.keys import PrivateKey
from protocol.ids import NODE_ID_BYTES
from protocol.machines.events import Notice
from protocol.machines.group import GroupMachine
from protocol.machines.issue import keep_chain
from protocol.peer_time import Moment

log = logging.getLogger(__name__)

_NODE_ID = "node_id"


@dataclass(slots=True)
class OpenGroup:
    """A running group; `entry` is its line in the catalogue."""

    entry: CatalogueEntry
    node: GroupNode
    store: GroupStore
    scope: trio.CancelScope
    ended: trio.Event

    @property
    def machine(self) -> GroupMachine:
        """The machine; read it through `node.runner.ask`."""
        return self.node.machine

    async def run(self) -> None:
        """Run until `close`. Raises: StoreError, when nothing of this group can be trusted any more."""
        try:
            with self.scope:
                await self.node.run()
        finally:
            self.store.close()
            self.ended.set()

    async def close(self) -> None:
        """Stop the group's tasks and let go of its store."""
        self.scope.cancel()
        await self.ended.wait()


def make_store(
    path: Path,
    *,
    draw: Callable[[int], bytes],
    elements: Iterable[Element] = (),
    signed: Act | None = None,
) -> None:
    """Make a group's file: a node id of its own, and a founder's first elements. All of it, or none, is
    durable on return.

    `signed` is the last of them, where this store is to go on signing as the root.
    """
    store = GroupStore(path)
    try:
        store.begin()
        store.set_setting(_NODE_ID, draw(NODE_ID_BYTES))
        for element in elements:
            store.put(element.id, element.raw)
        if signed is not None:
            keep_chain(signed, store)
        store.commit()
    finally:
        store.close()


def open_group(
    path: Path,
    entry: CatalogueEntry,
    own: PrivateKey,
    environment: Environment,
    now: Moment,
    tell: Callable[[OpenGroup, Notice], None],
) -> OpenGroup:
    """Open a group from its file and read everything back. Raises: StoreError."""
    assert entry.gid is not None
    store = GroupStore(path, make=False)
    try:
        node_id = store.setting(_NODE_ID)
        assert node_id is not None
        machine = GroupMachine(entry.gid, own, node_id=node_id, rng=environment.rng)
        machine.load(now, store)
    except BaseException:
        store.close()
        raise
    group: OpenGroup

    def told(notice: Notice) -> None:
        tell(group, notice)

    node = GroupNode(
        machine, store, dial=environment.dial, clock=environment.clock, offload=environment.offload, tell=told
    )
    group = OpenGroup(entry, node, store, trio.CancelScope(), trio.Event())
    return group
