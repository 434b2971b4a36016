"""Which groups there are on this node, and which of them run.

The catalogue is the truth: a group is in it before anything of the group runs, and out of it before its file
goes. A group is `joining` while its genesis is not known (then a task asks for our credential), and `open`
from then on. One change of the list is made at a time.

A group whose disk is full is opened again from what is on the disk, and can be read; some seconds later it
runs again. Any other failure of a store ends the daemon.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from shlex import quote

import trio
from msgspec.structs import replace

from peerd.errors import ConfigError, Conflict, NotFound, NotReady, StoreFull
from peerd.gossip.node import GroupNode
from peerd.groups import invitations
from peerd.groups.environment import Environment
from peerd.groups.joining import fetch_credential
from peerd.groups.open_group import OpenGroup, assemble, found_store, joined_store, open_group, remove_store
from peerd.groups.root_renewal import RootRenewal
from peerd.identities import Identities
from peerd.lookup import find_name
from peerd.paths import Home
from peerd.root_keys import RootKeys, no_root_key
from peerd.store.daemon_store import CatalogueEntry, DaemonStore, GroupState
from protocol.authority.bundle import Bundle
from protocol.authority.founding import Founding
from protocol.authority.removal_proof import RemovalProof
from protocol.credentials.keys import PrivateKey
from protocol.errors import RuleError
from protocol.limits import KNOWN_ADDRESSES_MAX
from protocol.machines.events import Adopt, Connect

DISK_FULL_PAUSE_S = 5.0  # arbitrary: long enough not to wear the disk, short enough not to be noticed

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Joining:
    """A group that this node wants to join, and the identity under which."""

    entry: CatalogueEntry
    own: PrivateKey
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    removal: RemovalProof | None = None  # what we were told instead of getting a credential

    def note_removal(self, removal: RemovalProof) -> None:
        """Our key has been removed from the group."""
        self.removal = removal


class Registry:
    """All groups of the daemon."""

    def __init__(
        self,
        home: Home,
        catalogue: DaemonStore,
        identities: Identities,
        root_keys: RootKeys,
        environment: Environment,
        ring: Callable[[], None],
    ) -> None:
        """`ring` is called when events have become durable."""
        self.environment = environment
        self.identities = identities
        self._home = home
        self._catalogue = catalogue
        self.root_keys = root_keys
        self.root_renewal = RootRenewal(self.open_groups, self.has_root_key, self.root_key, environment.clock)
        self._ring = ring
        self._open: dict[bytes, OpenGroup] = {}
        self._joining: dict[bytes, Joining] = {}
        self._changing = trio.Lock()
        self._nursery: trio.Nursery | None = None

    # --- running --------------------------------------------------------------------------------------------

    async def open_all(self) -> None:
        """Open what the catalogue holds; nothing of it runs yet. Raises: StoreError, ConfigError."""
        for entry in self._catalogue.groups():
            try:
                own = self.identities.private_key(entry.identity)
            except RuleError as error:
                raise ConfigError(
                    f"{entry.group_name} cannot be opened: {error.detail}", hint=error.hint
                ) from None
            if entry.state is GroupState.JOINING:
                self._joining[entry.authority] = Joining(entry, own)
            else:
                self._open[entry.authority] = await self._opened(entry, own)

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run what is open, and what is opened later, until cancelled. Raises: StoreError, in a group."""
        async with trio.open_nursery() as self._nursery:
            for joining in self._joining.values():
                self._nursery.start_soon(self._join, joining)
            for group in self._open.values():
                self._launch(group)
            task_status.started()
            await self.root_renewal.run()

    async def stop(self) -> None:
        """Say goodbye to all neighbors of all groups."""
        async with trio.open_nursery() as nursery:
            for group in self._open.values():
                nursery.start_soon(group.stop)

    def close(self) -> None:
        """Let go of the stores of groups that do not run."""
        for group in self._open.values():
            group.store.close()

    async def _opened(self, entry: CatalogueEntry, own: PrivateKey) -> OpenGroup:
        assert entry.gid is not None
        now = self.environment.clock.moment()
        return await self.environment.offload(
            partial(open_group, self._path(entry.gid), entry, own, self.environment, now, self._ring)
        )

    def _launch(self, group: OpenGroup) -> None:
        assert self._nursery is not None
        group.machine.links.listens = self.environment.reachable
        self._nursery.start_soon(self._run, group)

    async def _run(self, group: OpenGroup) -> None:
        """Run a group until it is closed. Raises: StoreError."""
        try:
            await group.run()
        except StoreFull as error:
            full = {"group": group.entry.group_name, "detail": error.detail, "hint": error.hint}
            log.error("no space left", extra=full)
            await self._begin_anew(group, error)

    async def _begin_anew(self, before: OpenGroup, error: StoreFull) -> None:
        """Go back to what is on the disk; let it be read at once, and run after a pause."""
        entry, now = before.entry, self.environment.clock.moment()
        async with self._changing:
            if self._open.get(entry.authority) is not before:
                return
            group = self._open[entry.authority] = await self.environment.offload(
                partial(assemble, before.store, entry, before.machine.own, self.environment, now, self._ring)
            )
        with group.node.runner.refusing(error):
            await trio.sleep(DISK_FULL_PAUSE_S)
        self._launch(group)

    def _path(self, gid: bytes) -> Path:
        return self._home.groups / f"{gid.hex()}.db"

    # --- finding --------------------------------------------------------------------------------------------

    def nodes(self) -> Mapping[bytes, GroupNode]:
        """The groups that take links now, by authority (20 bytes)."""
        return {
            authority: group.node
            for authority, group in self._open.items()
            if group.machine.dialling.wants(None)
        }

    def open_groups(self) -> list[OpenGroup]:
        """The open groups, by name."""
        return sorted(self._open.values(), key=lambda group: group.entry.group_name)

    def joining(self) -> list[CatalogueEntry]:
        """The groups that wait for their genesis, by name."""
        return sorted((one.entry for one in self._joining.values()), key=lambda entry: entry.group_name)

    def removal_told(self, entry: CatalogueEntry) -> RemovalProof | None:
        """What somebody whom we asked for a credential said instead: that our key has been removed."""
        joining = self._joining.get(entry.authority)
        return None if joining is None else joining.removal

    def entries(self) -> list[CatalogueEntry]:
        """All groups, by name."""
        entries = [*(group.entry for group in self._open.values()), *self.joining()]
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

    def ready(self, text: str) -> OpenGroup:
        """The open group that a person means. Raises: as `find`, and NotReady while it is joining."""
        entry = self.find(text)
        group = self._open.get(entry.authority)
        if group is None:
            raise NotReady(
                f"no credential of ours has arrived in {entry.group_name} yet",
                hint=f"peerd group show {quote(entry.group_name)} says what is being tried",
            )
        return group

    def has_root_key(self, group: OpenGroup) -> bool:
        """Whether a key of the group's root, as it is now, is in this home; it may be locked, or one of
        several that it takes.
        """
        root = group.machine.members.view.root
        return root is not None and self.root_keys.any_held(root.gid, root.operating)

    async def root_key(self, group: OpenGroup, passphrase: str | None = None) -> PrivateKey:
        """The key that signs alone as the group's root, if this home holds it. Raises: RuleError:
        `no-key-access`, `passphrase-needed`, `wrong-passphrase`.
        """
        root = group.machine.members.view.root
        if root is None:
            raise no_root_key()
        if root.threshold > 1:
            raise RuleError(
                "no-key-access",
                f"the root of this group needs {root.threshold} signatures, so no key signs alone for it",
                hint="let several keys sign it: peerd root prepare --help",
            )
        load = partial(self.root_keys.load, root.gid, root.operating, passphrase)
        return load() if passphrase is None else await self.environment.offload(load)

    # --- changing -------------------------------------------------------------------------------------------

    async def found(self, entry: CatalogueEntry, founding: Founding, grc: PrivateKey) -> OpenGroup:
        """Open a group that is founded here: first its root key is durable, then its acts, then its place in
        the catalogue. Raises: RuleError, StoreError.
        """
        assert entry.gid is not None
        async with self._changing:
            own = self.identities.private_key(entry.identity)
            make = partial(found_store, self._path(entry.gid), founding, draw=self.environment.draw)
            self.root_keys.save(entry.gid, grc)
            try:
                await self._make(entry, make)
            except (StoreFull, trio.Cancelled):
                self.root_keys.remove(entry.gid)
                raise
            return await self._enter(entry, own)

    async def _make(self, entry: CatalogueEntry, make: Callable[[], None]) -> None:
        """Make the file of a group and give it its place in the catalogue; where there is no room for both,
        there is neither. Raises: StoreError.
        """
        assert entry.gid is not None
        try:
            await self.environment.offload(make)
            self._catalogue.put_group(entry)
        except StoreFull:
            remove_store(self._path(entry.gid))
            raise

    async def admit(self, entry: CatalogueEntry, bundle: Bundle, how: str) -> OpenGroup:
        """Take part on the evidence of our own credential, in a new group or in one that is here already.

        Raises: RuleError, Conflict, StoreError.
        """
        async with self._changing:
            self._check_identity(entry)
            group = self._open.get(entry.authority)
            if group is None:
                if (before := self._joining.get(entry.authority)) is not None:
                    sought = _merged(before.entry, entry)
                    entry = replace(entry, addresses=sought.addresses, only=sought.only)
                return await self._admit(entry, self.identities.private_key(entry.identity), bundle, how)
        if entry.addresses:  # first, because this may be refused
            await group.node.runner.submit(Connect(entry.addresses, entry.only))
        await group.node.runner.submit(Adopt(bundle, how))
        return group

    async def _admit(self, entry: CatalogueEntry, own: PrivateKey, bundle: Bundle, how: str) -> OpenGroup:
        assert entry.gid == bundle.gid
        make = partial(
            joined_store,
            self._path(bundle.gid),
            own,
            Adopt(bundle, how),
            Connect(entry.addresses, entry.only),
            self.environment,
            self.environment.clock.moment(),
        )
        await self._make(entry, make)
        group = await self._enter(entry, own)
        self._ring()
        return group

    async def _enter(self, entry: CatalogueEntry, own: PrivateKey) -> OpenGroup:
        """Open and run a group whose file has been made."""
        group = self._open[entry.authority] = await self._opened(entry, own)
        if (joining := self._joining.pop(entry.authority, None)) is not None:
            joining.scope.cancel()
        self._launch(group)
        return group

    async def seek(self, entry: CatalogueEntry) -> OpenGroup | CatalogueEntry:
        """Ask for our credential in a group of which only the name is known, or ask at more addresses.

        The group where it is open already, else what is being sought now. Raises: RuleError, Conflict,
        StoreError.
        """
        async with self._changing:
            self._check_identity(entry)
            if (group := self._open.get(entry.authority)) is not None:
                return group
            before = self._joining.get(entry.authority)
            if before is not None:
                entry = _merged(before.entry, entry)
                if entry == before.entry:
                    return entry
            self.check_sought(entry.authority, entry.addresses)
            joining = Joining(entry, self.identities.private_key(entry.identity))
            self._catalogue.put_group(entry)
            if before is not None:
                before.scope.cancel()
            self._joining[entry.authority] = joining
            assert self._nursery is not None
            self._nursery.start_soon(self._join, joining)
            return entry

    def check_sought(self, authority: bytes, addresses: tuple[str, ...]) -> None:
        """A group that is not known here yet is asked for somewhere. Raises: RuleError(invalid-argument)."""
        if not addresses and not any(one.authority == authority for one in self.entries()):
            raise RuleError(
                "invalid-argument", "an address of a member is needed", hint="add --address HOST:PORT"
            )

    def _check_identity(self, entry: CatalogueEntry) -> None:
        """A group is open under one identity at a time. Raises: Conflict."""
        known = next((one for one in self.entries() if one.authority == entry.authority), None)
        if known is not None and known.identity != entry.identity:
            raise Conflict(
                f"this node takes part in {known.group_name} as {known.identity} already",
                hint=f"peerd group delete {quote(known.group_name)}, or join with that identity",
            )

    async def _join(self, joining: Joining) -> None:
        """Ask until our credential is there, then open the group."""
        entry = joining.entry
        with joining.scope:
            while True:
                bundle = await fetch_credential(
                    entry.authority,
                    joining.own,
                    entry.addresses,
                    self.environment,
                    joining.note_removal,
                )
                opened = replace(
                    entry,
                    gid=bundle.gid,
                    group_name=invitations.group_name(bundle),
                    state=GroupState.OPEN,
                )
                try:
                    async with self._changing:
                        with trio.CancelScope(shield=True):
                            await self._admit(opened, joining.own, bundle, "pickup")
                    return
                except StoreFull as error:
                    log.error("no space left", extra={"group": entry.group_name, "detail": error.detail})
                await trio.sleep(DISK_FULL_PAUSE_S)

    async def remove(self, text: str) -> CatalogueEntry:
        """Forget a group: its tasks, its place in the catalogue, its file and root key here. Raises: as
        `find`, and StoreError.
        """
        async with self._changing:
            entry = self.find(text)
            if (joining := self._joining.pop(entry.authority, None)) is not None:
                joining.scope.cancel()
            if (group := self._open.pop(entry.authority, None)) is not None:
                await group.close()
            self._catalogue.remove_group(entry.authority)
            if entry.gid is not None:
                self.root_keys.remove(entry.gid)
                remove_store(self._path(entry.gid))
            return entry


def _merged(before: CatalogueEntry, wish: CatalogueEntry) -> CatalogueEntry:
    """What is sought after one more wish: its addresses beside those of before, or alone if it says so."""
    if not wish.addresses:
        return before
    addresses = wish.addresses if wish.only else (*before.addresses, *wish.addresses)
    newest = tuple(dict.fromkeys(addresses))[-KNOWN_ADDRESSES_MAX:]
    return replace(before, addresses=newest, only=wish.only)
