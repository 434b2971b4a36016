"""Which groups there are on this node, and which of them run.

The catalogue is the truth: a group is in it before anything of the group runs, and out of it before its file
goes. A group is `joining` while its genesis is not known (then a task asks for our credential), and `open`
from then on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import msgspec
import trio

from peerd.errors import NotFound, NotReady
from peerd.gossip.node import GroupNode
from peerd.groups.environment import Environment
from peerd.groups.joining import fetch_credential
from peerd.groups.open_group import OpenGroup, make_store, open_group
from peerd.identities import Identities
from peerd.lookup import find_name
from peerd.paths import Home, remove_durably
from peerd.root_keys import RootKeys
from peerd.store.daemon_store import CatalogueEntry, DaemonStore, GroupState
from protocol.authority.bundle import Bundle
from protocol.authority.founding import Founding
from protocol.credentials.keys import PrivateKey
from protocol.errors import RuleError
from protocol.ids import NODE_ID_BYTES
from protocol.machines.events import Adopt, Connect, Notice, Stop


@dataclass(slots=True)
class Joining:
    """A group that this node wants to join; `wake` makes it ask at once."""

    entry: CatalogueEntry
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    wake: trio.Event = field(default_factory=trio.Event)


class Registry:
    """All groups of the daemon."""

    def __init__(
        self,
        home: Home,
        catalogue: DaemonStore,
        identities: Identities,
        root_keys: RootKeys,
        environment: Environment,
        tell: Callable[[OpenGroup, Notice], None],
    ) -> None:
        """`tell` hears of every durable notice."""
        self.environment = environment
        self.identities = identities
        self._home = home
        self._catalogue = catalogue
        self._root_keys = root_keys
        self._tell = tell
        self._open: dict[bytes, OpenGroup] = {}
        self._joining: dict[bytes, Joining] = {}
        self._nursery: trio.Nursery | None = None

    async def open_all(self) -> None:
        """Open what the catalogue holds; nothing of it runs yet. Raises: StoreError,
        RuleError(no-key-access).
        """
        for entry in self._catalogue.groups():
            await self._open_one(entry)

    async def run(self) -> None:
        """Run what is open, and what is opened later, until cancelled. Raises: StoreError."""
        async with trio.open_nursery() as self._nursery:
            for authority in (*self._joining, *self._open):
                self._launch(authority)
            await trio.sleep_forever()

    async def stop(self) -> None:
        """Tell all neighbors that this node is leaving."""
        for group in self.open_groups():
            await group.node.runner.submit(Stop())

    async def _open_one(self, entry: CatalogueEntry) -> None:
        if entry.state is GroupState.JOINING:
            self._joining[entry.authority] = Joining(entry)
            return
        assert entry.gid is not None
        own = self.identities.private_key(entry.identity)
        now = self.environment.clock.moment()
        self._open[entry.authority] = await self.environment.offload(
            partial(open_group, self._path(entry.gid), entry, own, self.environment, now, self._tell)
        )

    def _launch(self, authority: bytes) -> None:
        assert self._nursery is not None
        if (group := self._open.get(authority)) is not None:
            group.machine.links.listens = self.environment.listens
            self._nursery.start_soon(group.run)
        else:
            self._nursery.start_soon(self._join, self._joining[authority])

    def root_key(self, group: OpenGroup) -> PrivateKey:
        """The group's root key, if this home holds it. Raises: RuleError(no-key-access)."""
        root = group.machine.members.view.root
        if root is None or not self._root_keys.held(root.gid):
            raise RuleError(
                "no-key-access",
                "the root key of this group is not in this home",
                hint="do it on the machine that holds it, as a rule the one where the group was created",
            )
        return self._root_keys.load(root.gid, root.grc)

    def _path(self, gid: bytes) -> Path:
        return self._home.groups / f"{gid.hex()}.db"

    # --- finding --------------------------------------------------------------------------------------------

    def nodes(self) -> Mapping[bytes, GroupNode]:
        """The open groups by authority (20 bytes)."""
        return {authority: group.node for authority, group in self._open.items()}

    def open_groups(self) -> list[OpenGroup]:
        """The open groups, by name."""
        return sorted(self._open.values(), key=lambda group: group.entry.group_name)

    def joining(self) -> list[Joining]:
        """The groups that wait for their genesis, by name."""
        return sorted(self._joining.values(), key=lambda one: one.entry.group_name)

    def entries(self) -> list[CatalogueEntry]:
        """All groups, by name."""
        entries = [group.entry for group in self._open.values()]
        entries += [joining.entry for joining in self._joining.values()]
        return sorted(entries, key=lambda entry: entry.group_name)

    def find(self, text: str) -> CatalogueEntry:
        """The group that a person means. Raises: NotFound(group-not-found), Conflict(ambiguous-name)."""
        entries: dict[str, CatalogueEntry] = {entry.group_name: entry for entry in self.entries()}
        name = find_name(text, entries)
        if name is None:
            raise NotFound(
                f"no group “{text}” is known here", code="group-not-found", hint="peerd group list"
            )
        return entries[name]

    def open_group(self, text: str) -> OpenGroup | None:
        """The open group that a person means; None while it is still joining. Raises: as `find`."""
        return self._open.get(self.find(text).authority)

    def ready(self, text: str) -> OpenGroup:
        """The open group that a person means. Raises: as `find`, and NotReady while it is joining."""
        group = self.open_group(text)
        if group is None:
            raise NotReady(
                f"no credential of ours has arrived in {self.find(text).group_name} yet",
                hint="peerd group show says what is being tried",
            )
        return group

    def by_authority(self, authority: bytes) -> CatalogueEntry | None:
        """The group of this authority (20 bytes), if it is known."""
        return next((entry for entry in self.entries() if entry.authority == authority), None)

    def waiting(self, authority: bytes) -> Joining | None:
        """The group of this authority while it is joining."""
        return self._joining.get(authority)

    # --- changing -------------------------------------------------------------------------------------------

    async def found(self, entry: CatalogueEntry, founding: Founding, grc: PrivateKey) -> OpenGroup:
        """Open a group that is founded here: first its root key is durable, then its acts, then its place in
        the catalogue.
        """
        assert entry.gid is not None
        self._root_keys.save(entry.gid, grc)
        make = partial(
            make_store,
            self._path(entry.gid),
            draw=self.environment.draw,
            elements=founding.elements,
            signed=founding.last,
        )
        await self.environment.offload(make)
        return await self._enter(entry)

    async def admit(self, entry: CatalogueEntry, bundle: Bundle, how: str) -> OpenGroup:
        """Open a group on the evidence of our own credential."""
        assert entry.gid == bundle.gid
        await self.environment.offload(
            partial(make_store, self._path(bundle.gid), draw=self.environment.draw)
        )
        group = await self._enter(entry)
        await group.node.runner.submit(Adopt(bundle, how))
        await group.node.runner.submit(Connect(entry.addresses, entry.only))
        return group

    async def _enter(self, entry: CatalogueEntry) -> OpenGroup:
        self._catalogue.put_group(entry)
        await self._open_one(entry)
        self._joining.pop(entry.authority, None)
        self._launch(entry.authority)
        return self._open[entry.authority]

    async def wait_for(self, entry: CatalogueEntry) -> None:
        """Begin to ask for our credential in a group of which only the name is known, or ask elsewhere."""
        if (before := self._joining.pop(entry.authority, None)) is not None:
            before.scope.cancel()
        self._catalogue.put_group(entry)
        await self._open_one(entry)
        self._launch(entry.authority)

    async def _join(self, joining: Joining) -> None:
        entry = joining.entry
        with joining.scope:
            bundle = await fetch_credential(
                entry.authority,
                self.identities.private_key(entry.identity),
                self.environment.draw(NODE_ID_BYTES),
                entry.addresses,
                self.environment,
                joining.wake,
            )
            opened = msgspec.structs.replace(entry, gid=bundle.gid, state=GroupState.OPEN)
            with trio.CancelScope(shield=True):
                await self.admit(opened, bundle, "pickup")

    async def remove(self, entry: CatalogueEntry) -> None:
        """Forget a group: its tasks, its place in the catalogue, its file and root key here."""
        if (joining := self._joining.pop(entry.authority, None)) is not None:
            joining.scope.cancel()
        if (group := self._open.pop(entry.authority, None)) is not None:
            await group.close()
        self._catalogue.remove_group(entry.authority)
        if entry.gid is not None:
            self._root_keys.remove(entry.gid)
            for suffix in ("", "-wal", "-shm"):
                remove_durably(self._path(entry.gid).with_name(f"{entry.gid.hex()}.db{suffix}"))
