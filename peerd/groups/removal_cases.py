"""What a user can do to take membership away, and to take an act back.

A dry run is worked out on a worker thread from the committed acts: the same set is evaluated with and without
the act that would be signed, so that a large group goes on meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from shlex import quote
from typing import Literal, cast

from peerd.control import authority_schema, schema
from peerd.errors import Conflict, NotReady
from peerd.groups.credential_cases import grant_meant
from peerd.groups.open_group import OpenGroup
from peerd.groups.people import person_pid
from peerd.groups.registry import Registry
from peerd.groups.rendering import credential
from protocol.authority.act_set import ActSet
from protocol.authority.acts import Act
from protocol.authority.grants import Grant
from protocol.authority.memory import MemoryActSet
from protocol.authority.view import View
from protocol.authority.what_if import Fall, Kept, read_view, what_if
from protocol.credentials.keys import PrivateKey
from protocol.credentials.names import check_comment
from protocol.errors import RuleError
from protocol.machines.events import Annul, Disconnect, Removed, Resign, Revoke
from protocol.machines.removal import Removing
from protocol.peer_time import Moment

RemovalKind = Literal["revoke_credential", "revoke_key", "resign", "annul"]
_PAGE_ACTS = 2_000  # read between two turns of the crank: some milliseconds


class RemovalCases:
    """Removal in the open groups."""

    def __init__(self, registry: Registry) -> None:
        """Finds groups in the registry."""
        self._registry = registry

    def _now(self) -> Moment:
        return self._registry.environment.clock.moment()

    # --- revoking -------------------------------------------------------------------------------------------

    async def revoke_member(
        self, group: str, name: str, wish: authority_schema.Revocation
    ) -> authority_schema.Removal:
        """Remove whoever is meant, also one that holds nothing any more."""
        return await self._revoke(group, lambda view: person_pid(view, name), wish)

    async def revoke_credential(
        self, group: str, grant_id: str, wish: authority_schema.Revocation
    ) -> authority_schema.Removal:
        """Remove the member that holds a credential."""
        return await self._revoke(group, lambda view: grant_meant(view, grant_id).pid, wish)

    async def _revoke(
        self, group: str, meant: Callable[[View], bytes], wish: authority_schema.Revocation
    ) -> authority_schema.Removal:
        opened = self._registry.ready(group)
        check_comment(wish.reason)
        view = opened.machine.members.view
        pid = await opened.node.runner.ask(lambda _: meant(view))
        text = wish.since
        since = None if text is None else await opened.node.runner.ask(lambda _: act_meant(view, text))
        command = Revoke(
            pid,
            for_ever=wish.for_ever,
            reason=wish.reason,
            data=wish.data,
            as_root=wish.as_root,
            root=await self._root(opened, wish),
            trust_clock=wish.trust_clock,
            since=since,
        )
        kind: RemovalKind = "revoke_key" if wish.for_ever else "revoke_credential"
        subject = await opened.node.runner.ask(lambda _: view.name_of(pid))
        if wish.dry_run:
            return await self._tried(opened, kind, subject, partial(_draft_revocation, command))
        return await self._removed(opened, kind, subject, command)

    async def _root(
        self, opened: OpenGroup, wish: authority_schema.Revocation | authority_schema.Annulment
    ) -> PrivateKey | None:
        """The root key if it is to sign; else the identity's own must be there. Raises: RuleError."""
        if wish.as_root:
            return await self._registry.root_key(opened, wish.passphrase)
        self._registry.identities.reread_key(opened.entry.identity)
        return None

    # --- taking back ----------------------------------------------------------------------------------------

    async def annul_act(
        self, group: str, act_id: str, wish: authority_schema.Annulment
    ) -> authority_schema.Removal:
        """Take one act back."""
        opened = self._registry.ready(group)
        view = opened.machine.members.view
        found = await opened.node.runner.ask(lambda _: act_meant(view, act_id))
        command = Annul(found, root=await self._root(opened, wish))
        if wish.dry_run:
            return await self._tried(opened, "annul", None, partial(_draft_annulment, command))
        return await self._removed(opened, "annul", None, command)

    # --- leaving --------------------------------------------------------------------------------------------

    async def leave_group(self, name: str, wish: authority_schema.GroupLeave) -> authority_schema.Removal:
        """Give up the own membership, then close the links. Raises: NotReady where nobody would hear of it:
        who has resigned is linked with nobody any more.
        """
        opened = self._registry.ready(name)
        check_comment(wish.reason)
        self._registry.identities.reread_key(opened.entry.identity)
        if not await opened.node.runner.ask(lambda _: may_leave(opened, self._now())):
            raise NotReady(
                "no member is linked with this node, so nobody would hear of it",
                hint=f"peerd group connect {quote(opened.entry.group_name)} --address HOST:PORT; to forget it"
                f" here alone: peerd group delete {quote(opened.entry.group_name)}",
            )
        left = await self._removed(opened, "resign", opened.entry.identity, Resign(wish.reason))
        await opened.node.runner.submit(Disconnect())
        return left

    # --- answering ------------------------------------------------------------------------------------------

    async def _removed(
        self, opened: OpenGroup, kind: RemovalKind, subject: str | None, command: Revoke | Resign | Annul
    ) -> authority_schema.Removal:
        """Have it signed; what is durable then."""
        removed = cast("Removed", await opened.node.runner.submit(command))
        at_s = self._now().utc_s

        def read(_: ActSet) -> authority_schema.Removal:
            view = opened.machine.members.view
            grants = _grants(view, removed.changed)
            pids = dict.fromkeys(grant.pid for grant in grants)
            gone = [view.name_of(pid) for pid in pids if view.current(pid, at_s) is None]
            here = [view.name_of(pid) for pid in pids if view.current(pid, at_s) is not None]
            return authority_schema.Removal(
                group=opened.entry.group_name,
                kind=kind,
                act_id=removed.act_id.hex(),
                subject=subject,
                credentials=self._all_shown(opened, grants),
                members_lost=gone,
                members_back=here if kind == "annul" else [],
                void_acts=0,
                void_removals=[],
            )

        return await opened.node.runner.ask(read)

    async def _tried(
        self,
        opened: OpenGroup,
        kind: RemovalKind,
        subject: str | None,
        draft: Callable[[Removing, View, Moment], Act],
    ) -> authority_schema.Removal:
        """What it would do. Raises: RuleError, as the act itself would."""
        now, environment = self._now(), self._registry.environment
        view = opened.machine.members.view
        removing = Removing(opened.machine.own, environment.rng)
        act = await opened.node.runner.ask(lambda _: draft(removing, view, now))
        kept = await kept_acts(opened)
        fall = await environment.offload(lambda: what_if(read_view(view.gid, kept), act, now.utc_s))
        return await opened.node.runner.ask(lambda _: self._told(opened, kind, subject, fall))

    def _told(
        self, opened: OpenGroup, kind: RemovalKind, subject: str | None, fall: Fall
    ) -> authority_schema.Removal:
        view = opened.machine.members.view
        return authority_schema.Removal(
            group=opened.entry.group_name,
            kind=kind,
            act_id=None,
            subject=subject,
            credentials=self._all_shown(opened, list(fall.grants)),
            members_lost=[view.name_of(pid) for pid in fall.lost],
            members_back=[view.name_of(pid) for pid in fall.back],
            void_acts=len(fall.void),
            void_removals=[act_id.hex() for act_id in fall.removals],
        )

    def _all_shown(self, opened: OpenGroup, grants: list[Grant]) -> list[schema.Credential]:
        at_s, view = self._now().utc_s, opened.machine.members.view
        return [credential(view, opened.entry.group_name, grant, at_s) for grant in grants]


def may_leave(opened: OpenGroup, now: Moment) -> bool:
    """Whether somebody is there to be told that this member leaves, or nobody is left at all. Who is no
    member is left to the rules.
    """
    machine = opened.machine
    alone = machine.members.view.members_at(now.utc_s) <= 1
    return alone or bool(len(machine.links)) or machine.members.own_grant(now.utc_s) is None


async def kept_acts(opened: OpenGroup) -> list[Kept]:
    """All acts that were there at the beginning, read some at a time."""
    view, found = opened.machine.members.view, list[Kept]()
    ids = await opened.node.runner.ask(lambda _: view.act_ids())

    def read(part: tuple[bytes, ...], store: ActSet) -> list[Kept]:
        rows = ((store.get(act_id), view.admitted(act_id), view.der_of(act_id)) for act_id in part)
        return [Kept(raw, admitted, der) for raw, admitted, der in rows if raw and admitted]

    for start in range(0, len(ids), _PAGE_ACTS):
        found += await opened.node.runner.ask(partial(read, ids[start : start + _PAGE_ACTS]))
    return found


def act_meant(view: View, text: str) -> bytes:
    """The act that a person means by its id or a beginning of it. Raises: RuleError, Conflict."""
    beginning = text.lower()
    fitting = [act_id for act_id in view.act_ids() if act_id.hex().startswith(beginning)] if text else []
    if len(fitting) > 1:
        raise Conflict(
            f"“{text}” fits {len(fitting)} acts", code="ambiguous-name", hint="give more of the id"
        )
    if not fitting:
        raise RuleError(
            "invalid-argument", f"no act “{text}” is known here", hint="peerd audit GROUP lists them"
        )
    return fitting[0]


def _draft_revocation(command: Revoke, removing: Removing, view: View, now: Moment) -> Act:
    plan = removing.plan(command, view, now)
    return removing.revoke(plan, command, None, view, now, _scratch())


def _draft_annulment(command: Annul, removing: Removing, view: View, now: Moment) -> Act:
    return removing.annul(command, view, now, _scratch())


def _scratch() -> MemoryActSet:
    """Where a draft keeps its place in a chain of its own, to be forgotten with it."""
    store = MemoryActSet()
    store.begin()
    return store


def _grants(view: View, grant_ids: tuple[bytes, ...]) -> list[Grant]:
    found = (view.admitted(grant_id) for grant_id in grant_ids)
    return [one.grant for one in found if one is not None and one.grant is not None]
