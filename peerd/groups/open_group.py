"""One group that is open on this node: its store, its machine, the tasks that drive it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from peerd.errors import NotReady, StoreFull
from peerd.gossip.node import GroupNode
from peerd.groups.environment import Environment
from peerd.paths import remove_durably
from peerd.store.daemon_store import CatalogueEntry
from peerd.store.group_store import GroupStore
from protocol.authority.founding import Founding
from protocol.credentials.keys import PrivateKey
from protocol.ids import NODE_ID_BYTES
from protocol.machines.chains import keep_chain
from protocol.machines.events import Adopt, Connect
from protocol.machines.group import GroupMachine
from protocol.peer_time import Moment

GOODBYE_S_MAX = 3.0  # to tell all neighbors and hear their end: a little more than one channel takes to close

_NODE_ID = "node_id"


@dataclass(slots=True)
class OpenGroup:
    """A running group; `entry` is its line in the catalogue."""

    entry: CatalogueEntry
    node: GroupNode
    store: GroupStore
    _scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    _ended: trio.Event = field(default_factory=trio.Event)

    @property
    def machine(self) -> GroupMachine:
        """The machine; read it through `node.runner.ask`."""
        return self.node.machine

    async def run(self) -> None:
        """Run until `close`, and let go of the store. Raises: StoreFull, with the store still open, for
        `assemble` to begin anew; StoreError, when nothing of this group can be trusted any more.
        """
        sound = False
        try:
            with self._scope:
                await self.node.run()
        except StoreFull:
            sound = True
            raise
        finally:
            if not sound:
                self.store.close()
            self._ended.set()

    async def stop(self) -> None:
        """Say goodbye to the neighbors, for as long as that may take."""
        with trio.move_on_after(GOODBYE_S_MAX):
            try:
                await self.node.stop()
            except (NotReady, StoreFull):
                return  # it has ended already

    async def close(self) -> None:
        """Say goodbye, stop the group's tasks and let go of its store."""
        await self.stop()
        self._scope.cancel()
        await self._ended.wait()
        self.store.close()


def found_store(path: Path, founding: Founding, *, draw: Callable[[int], bytes]) -> None:
    """Make the file of a group that is founded here. All of it is durable on return. Raises: StoreError."""
    with _new_store(path, draw(NODE_ID_BYTES)) as store:
        for element in founding.elements:
            store.put(element.id, element.raw)
        keep_chain(founding.last, store)


def joined_store(
    path: Path,
    own: PrivateKey,
    adopt: Adopt,
    connect: Connect,
    environment: Environment,
    now: Moment,
) -> None:
    """Make the file of a group that this node joins: with its evidence, and with whom to call. All of it is
    durable on return, so that no crash leaves a group that knows nobody. Raises: StoreError.
    """
    node_id = environment.draw(NODE_ID_BYTES)
    with _new_store(path, node_id) as store:
        machine = GroupMachine(adopt.bundle.gid, own, node_id=node_id, rng=environment.rng)
        machine.load(now, store)
        for event in (adopt, connect):
            machine.handle(event, now, store)  # whatever it wants to say, it will want again when it runs


@contextmanager
def _new_store(path: Path, node_id: bytes) -> Iterator[GroupStore]:
    """A group's file in the making, in one transaction; what a crash left under its name is removed."""
    remove_store(path)
    store = GroupStore(path)
    try:
        store.begin()
        store.set_setting(_NODE_ID, node_id)
        yield store
        store.commit()
    finally:
        store.close()


def remove_store(path: Path) -> None:
    """Remove a group's file, if it is there, with what the database keeps beside it. Raises: StoreError."""
    for suffix in ("", "-wal", "-shm"):
        remove_durably(path.with_name(path.name + suffix))


def open_group(
    path: Path,
    entry: CatalogueEntry,
    own: PrivateKey,
    environment: Environment,
    now: Moment,
    ring: Callable[[], None],
) -> OpenGroup:
    """Open a group from its file; `ring` is called after events are durable. Raises: StoreError."""
    store = GroupStore(path, make=False)
    try:
        return assemble(store, entry, own, environment, now, ring)
    except BaseException:
        store.close()
        raise


def assemble(
    store: GroupStore,
    entry: CatalogueEntry,
    own: PrivateKey,
    environment: Environment,
    now: Moment,
    ring: Callable[[], None],
) -> OpenGroup:
    """Read a group back from its open store, and put together what runs it. Raises: StoreError."""
    assert entry.gid is not None
    node_id = store.setting(_NODE_ID)
    assert node_id is not None
    machine = GroupMachine(entry.gid, own, node_id=node_id, rng=environment.rng)
    machine.load(now, store)
    node = GroupNode(
        machine,
        store,
        dial=environment.dial,
        clock=environment.clock,
        offload=environment.offload,
        check=environment.check,
        tell=lambda _: ring(),
    )
    return OpenGroup(entry, node, store)
