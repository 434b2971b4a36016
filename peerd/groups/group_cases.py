"""What a user can do with groups: create, join, connect, set properties, forget."""

from __future__ import annotations

from collections.abc import Mapping
from shlex import quote
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from peerd.control import root_schema, schema
from peerd.control.schema import time_at_ms
from peerd.groups import invitations
from peerd.groups.open_group import OpenGroup
from peerd.groups.recoveries import Recoveries
from peerd.groups.registry import Registry
from peerd.groups.summary import Summaries
from peerd.identities import Identity
from peerd.store.daemon_store import CatalogueEntry, GroupState
from protocol.authority.bodies import PropertiesBody
from protocol.authority.founding import found_group
from protocol.credentials.addresses import check_address
from protocol.credentials.keys import PrivateKey
from protocol.credentials.names import check_classifier, check_comment, check_friendly_name, parse_peer_name
from protocol.errors import RuleError
from protocol.ids import AUTHORITY_BYTES
from protocol.limits import DEFAULT_LIFE_S
from protocol.machines.events import Connect, Disconnect, SetProperties
from protocol.machines.upkeep import policy_in
from protocol.peer_time import Moment, hlc_ms


class GroupCases:
    """The life of groups on this node."""

    def __init__(self, registry: Registry, summaries: Summaries, recoveries: Recoveries) -> None:
        """Changes the registry; answers with summaries."""
        self._registry = registry
        self._summaries = summaries
        self._recoveries = recoveries

    def _now(self) -> Moment:
        return self._registry.environment.clock.moment()

    def group_name(self, name: str) -> str:
        """The full name of one group."""
        return self._registry.find(name).group_name

    # --- creating -------------------------------------------------------------------------------------------

    def make_recovery_key(self, wish: root_schema.RecoveryDraw | None = None) -> schema.RecoveryKey:
        """Draw recovery keys for the next `create_group` or `rotate_root`; only their public halves stay, in
        memory.
        """
        return self._recoveries.draw(wish or root_schema.RecoveryDraw())

    async def create_group(self, wish: schema.GroupCreate) -> schema.Group:
        """Make a group and its creator's credential."""
        now, environment = self._now(), self._registry.environment
        properties = _checked_properties(wish)
        recovery = self._recoveries.find(wish.recovery_token, now)
        if recovery.threshold > 1:
            raise RuleError(
                "invalid-argument",
                "a new group has one recovery key, or several of which each suffices",
                hint="let more than one be needed later: peerd root rotate --help",
            )
        identity = self._identity(wish.identity, now)
        self._registry.identities.private_key(identity.name)
        grc = PrivateKey.from_seed(environment.draw(32))
        founding = found_group(
            grc=grc,
            creator=identity.key,
            creator_name=identity.name,
            creator_friendly_name=identity.chosen_name,
            classifier=wish.classifier,
            properties=properties,
            recovery=recovery.keys,
            nonce=environment.draw(32),
            now=now,
        )
        self._recoveries.used(wish.recovery_token)
        entry = CatalogueEntry(
            authority=founding.root.gid[:AUTHORITY_BYTES],
            gid=founding.root.gid,
            group_name=founding.group_name,
            identity=identity.peer_name,
            state=GroupState.OPEN,
            created_here=True,
        )
        return await self._summaries.of_open(await self._registry.found(entry, founding, grc))

    def _identity(self, name: str | None, now: Moment) -> Identity:
        identities = self._registry.identities
        return identities.default(now.utc_ms) if name is None else identities.find(name)

    # --- joining --------------------------------------------------------------------------------------------

    async def join_group(self, wish: schema.GroupJoin) -> schema.Group:
        """Start to take part in a group; repeating it changes nothing."""
        if (wish.invitation is None) == (wish.group is None):
            raise RuleError(
                "invalid-argument",
                "join with an invitation, or by the group's name and an address",
                hint="peerd group join --help",
            )
        addresses = tuple(check_address(address) for address in wish.addresses)
        if wish.invitation is not None:
            return await self._join_invited(wish, wish.invitation, addresses)
        assert wish.group is not None
        return await self._join_by_name(wish, wish.group, addresses)

    async def _join_invited(
        self, wish: schema.GroupJoin, xml: str, addresses: tuple[str, ...]
    ) -> schema.Group:
        invitation, bundle = invitations.read(xml)
        own = self._registry.identities.find(
            str(bundle.leaf.peer_name) if wish.identity is None else wish.identity
        )
        if own.key != bundle.leaf.key:
            raise RuleError(
                "invitation-not-trusted",
                f"the invitation is for {bundle.leaf.peer_name}, not for {own.peer_name}",
                hint="peerd identity list; join with --identity NAME",
            )
        if not bundle.leaf.window.holds(self._now().utc_s):
            raise RuleError(
                "invalid-time-period",
                "the credential in the invitation is not valid now",
                hint="ask for a new one",
            )
        entry = CatalogueEntry(
            authority=bundle.gid[:AUTHORITY_BYTES],
            gid=bundle.gid,
            group_name=invitation.group_name,
            identity=own.peer_name,
            state=GroupState.OPEN,
            addresses=tuple(dict.fromkeys((*addresses, *invitation.addresses))),
            only=wish.only,
        )
        return await self._summaries.of_open(await self._registry.admit(entry, bundle, "invitation"))

    async def _join_by_name(
        self, wish: schema.GroupJoin, name: str, addresses: tuple[str, ...]
    ) -> schema.Group:
        authority = _authority_sought(name)
        self._registry.check_sought(authority, addresses)
        identity = self._identity(wish.identity, self._now())  # last, because it may make one
        entry = CatalogueEntry(
            authority=authority,
            gid=None,
            group_name=name,
            identity=identity.peer_name,
            state=GroupState.JOINING,
            addresses=addresses,
            only=wish.only,
        )
        return await self._sought(entry)

    async def _sought(self, entry: CatalogueEntry) -> schema.Group:
        found = await self._registry.seek(entry)
        if isinstance(found, CatalogueEntry):
            return self._summaries.of_joining(found)
        if entry.addresses:
            await found.node.runner.submit(Connect(entry.addresses, entry.only))
        return await self._summaries.of_open(found)

    # --- links ----------------------------------------------------------------------------------------------

    async def connect_group(self, name: str, wish: schema.GroupConnect) -> schema.Group:
        """Let the group have links."""
        addresses = tuple(check_address(address) for address in wish.addresses)
        if wish.only and not addresses:
            raise RuleError(
                "invalid-argument", "`only` needs the addresses that it means", hint="add --address HOST:PORT"
            )
        entry = self._registry.find(name)
        if entry.state is GroupState.JOINING:
            return await self._sought(replace(entry, addresses=addresses, only=wish.only))
        opened = self._registry.ready(name)
        await opened.node.runner.submit(Connect(addresses, wish.only))
        return await self._summaries.of_open(opened)

    async def disconnect_group(self, name: str) -> schema.Group:
        """Close the group's links and make none until it is connected again."""
        opened = self._registry.ready(name)
        await opened.node.runner.submit(Disconnect())
        return await self._summaries.of_open(opened)

    async def delete_group(self, name: str) -> schema.GroupDeleted:
        """Forget a group and its data here."""
        return schema.GroupDeleted(group=(await self._registry.remove(name)).group_name)

    # --- properties -----------------------------------------------------------------------------------------

    async def properties(self, group: str) -> schema.Properties:
        """The group's properties."""
        opened = self._registry.ready(group)
        return await opened.node.runner.ask(lambda _: _properties(opened))

    async def change_properties(self, group: str, wish: schema.PropertiesChange) -> schema.Properties:
        """Publish changed properties, signed by the root."""
        opened = self._registry.ready(group)
        before = await opened.node.runner.ask(lambda _: opened.machine.members.view.properties.renewal)
        changes = changes_in(wish, before)
        root = await self._registry.root_key(opened, wish.passphrase)
        await opened.node.runner.submit(SetProperties(changes, root))
        return await self.properties(group)


def _checked_properties(wish: schema.GroupCreate) -> PropertiesBody:
    check_classifier(wish.classifier)
    return PropertiesBody(
        friendly=check_friendly_name(wish.friendly_name),
        comment=check_comment(wish.comment),
        default_life=wish.default_life_s or 0,
    )


def changes_in(wish: schema.PropertiesChange, renewal: Mapping[str, Any]) -> dict[str, Any]:
    """What changes, under the names of PropertiesBody; `renewal` is the policy of now. Raises: RuleError."""
    given = {"friendly": wish.friendly_name, "comment": wish.comment, "default_life": wish.default_life_s}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not UNSET}
    if changed := _given_renewal(wish):
        changes["renewal"] = {**renewal, **changed}
    if not changes:
        raise RuleError("invalid-argument", "nothing to change was given", hint="peerd group set --help")
    check_friendly_name(changes.get("friendly", ""))
    check_comment(changes.get("comment", ""))
    return changes


def _given_renewal(wish: schema.PropertiesChange) -> dict[str, Any]:
    given = {
        "auto": wish.renew_auto,
        "left": wish.renew_left,
        "valid_s": wish.renew_valid_s,
        "unseen_s": wish.renew_unseen_s,
    }
    return {name: value for name, value in given.items() if value is not UNSET}


def _properties(opened: OpenGroup) -> schema.Properties:
    view = opened.machine.members.view
    if view.root is None:
        raise RuleError(
            "group-not-ready",
            "the group's acts have not arrived on this node yet",
            hint=f"peerd wait synchronized {quote(opened.entry.group_name)}",
        )
    body = view.properties
    policy = policy_in(body.renewal)
    return schema.Properties(
        group=opened.entry.group_name,
        classifier=view.root.classifier,
        friendly_name=body.friendly,
        comment=body.comment,
        default_life_s=body.default_life or DEFAULT_LIFE_S,
        renew_auto=policy.auto,
        renew_left=policy.left,
        renew_valid_s=policy.valid_s,
        renew_unseen_s=policy.unseen_s,
        modified=time_at_ms(hlc_ms(view.properties_hlc)),
    )


def _authority_sought(name: str) -> bytes:
    """The authority in the full name of a group that is not known here yet. Raises: RuleError."""
    try:
        return bytes.fromhex(parse_peer_name(name).authority)
    except RuleError as error:
        raise RuleError(
            error.code,
            f"“{name}” is no full name of a group: 40 of the characters 0-9 a-f, a dot, and its classifier",
            hint="a member tells it: peerd group list",
        ) from None
