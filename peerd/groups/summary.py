"""A group at a glance, and what is not as it should be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from shlex import quote
from typing import TypeVar

from peerd.control import schema
from peerd.errors import NotReady
from peerd.groups.alarms import alarms
from peerd.groups.open_group import OpenGroup
from peerd.groups.registry import Registry
from peerd.groups.rendering import neighbor, own_credential, own_removal
from peerd.groups.root_renewal import Waiting
from peerd.store.daemon_store import CatalogueEntry, GroupState
from protocol.authority.act_set import ActSet
from protocol.authority.acts import Act
from protocol.authority.bodies import ResignBody, RevokeBody, RevokeKeyBody
from protocol.authority.removal_proof import RemovalProof
from protocol.machines.events import DialOutcome
from protocol.machines.facts import own_removal as removal_of
from protocol.machines.partners import Progress
from protocol.machines.upkeep import warned_from_s
from protocol.peer_time import Moment

T = TypeVar("T")

_TRIED_MAX = 8  # addresses that a finding tells of: arbitrary, about a screen
_SAID = {  # of an address of our own nothing is said: it is forgotten when it has been called
    DialOutcome.UNREACHABLE: "nobody answers",
    DialOutcome.NOTHING: "whoever answers does not know us, or does not serve the group",
    DialOutcome.INCOMPATIBLE: "whoever answers speaks another version",
    DialOutcome.REMOVED: "a member says that this identity has been removed",
}


class Summaries:
    """Reads groups for `status`, `health` and `group show`."""

    def __init__(self, registry: Registry) -> None:
        """Reads the registry and its machines."""
        self._registry = registry

    def _now(self) -> Moment:
        return self._registry.environment.clock.moment()

    async def all(self) -> list[schema.Group]:
        """All groups, by name."""
        found = [self.of_joining(entry) for entry in self._registry.joining()]
        found += await self._of_each(self._read)
        return sorted(found, key=lambda group: group.group)

    async def _of_each(self, read: Callable[[OpenGroup], T]) -> list[T]:
        """What is read of every open group; one that closes meanwhile is left out."""
        found = []
        for opened in self._registry.open_groups():
            try:
                found.append(await opened.node.runner.ask(partial(_reading, read, opened)))
            except NotReady:
                continue
        return found

    async def of(self, name: str) -> schema.Group:
        """One group, as a person names it."""
        entry = self._registry.find(name)
        if entry.state is GroupState.JOINING:
            return self.of_joining(entry)
        return await self.of_open(self._registry.ready(name))

    def of_joining(self, entry: CatalogueEntry) -> schema.Group:
        """A group whose genesis has not arrived."""
        return schema.Group(
            group=entry.group_name,
            gid=None,
            classifier=entry.group_name.partition(".")[2],
            friendly_name="",
            peer_name=entry.identity,
            state="joining",
            connected=True,
            only=entry.only,
            addresses=list(entry.addresses),
            node_id="",
            neighbors=[],
            synchronized=False,
            members=0,
            acts=0,
            digest="",
            records=0,
            synchronizing=None,
            credential=None,
        )

    async def of_open(self, opened: OpenGroup) -> schema.Group:
        """A group that runs."""
        return await opened.node.runner.ask(partial(_reading, self._read, opened))

    def _read(self, opened: OpenGroup) -> schema.Group:
        machine, name, now = opened.machine, opened.entry.group_name, self._now()
        view = machine.members.view
        neighbors = [neighbor(machine, link, now) for link in machine.links]
        removal = own_removal(machine, now.utc_s, opened.store)
        return schema.Group(
            group=name,
            gid=view.gid.hex(),
            classifier=name.partition(".")[2],
            friendly_name=view.properties.friendly,
            peer_name=opened.entry.identity,
            state="open" if removal is None else "removed",
            connected=machine.dialling.online,
            only=machine.dialling.only,
            addresses=machine.dialling.seeds(),
            node_id=machine.node_id.hex(),
            neighbors=neighbors,
            synchronized=bool(neighbors) and all(one.synchronized for one in neighbors),
            members=view.members_at(now.utc_s),
            acts=len(view),
            digest=machine.members.ids.digest().hex(),
            records=len(machine.data.ids),
            synchronizing=_progress(machine.synchronize.progress()),
            credential=own_credential(machine, name, now.utc_s),
            removal=removal,
        )

    async def findings(self) -> list[schema.Finding]:
        """What is not as it should be, in every group, each with the command that mends it."""
        findings = [_waiting(entry, self._registry.removal_told(entry)) for entry in self._registry.joining()]
        for found in await self._of_each(self._group_findings):
            findings += found
        return findings

    def _group_findings(self, opened: OpenGroup) -> list[schema.Finding]:
        now, name = self._now(), opened.entry.group_name
        return [
            *_credential_findings(opened, now, name),
            *_link_findings(opened, now, name),
            *_set_findings(opened, name),
            *alarms(opened, name, now.utc_s),
            *_root_findings(opened, self._registry.root_renewal.waiting(opened.machine.members.view.gid)),
        ]


def _progress(sessions: Sequence[Progress]) -> schema.Progress | None:
    """What all sessions together bring at this moment; neighbors may bring the same things."""
    if not sessions:
        return None
    return schema.Progress(
        received=sum(session.received for session in sessions),
        expected=sum(session.expected for session in sessions),
    )


def _reading(read: Callable[[OpenGroup], T], opened: OpenGroup, _: ActSet) -> T:
    return read(opened)


def _waiting(entry: CatalogueEntry, told: RemovalProof | None) -> schema.Finding:
    if told is not None:
        by = str(told.path[-1].peer_name) if told.path else ""
        return _removed(told.removal, by, entry, entry.group_name)
    return schema.Finding(
        code="credential-awaited",
        detail=f"no credential for {entry.identity} has been found at {', '.join(entry.addresses)}",
        hint=_admission(entry),
        group=entry.group_name,
    )


def _admission(entry: CatalogueEntry) -> str:
    """How somebody who holds no credential comes by one."""
    return (
        f"peerd identity document {quote(entry.identity)} > FILE; an administrator then types:"
        f" peerd credential issue {quote(entry.group_name)} --document FILE --store"
    )


def _credential_findings(opened: OpenGroup, now: Moment, name: str) -> list[schema.Finding]:
    own = opened.machine.members.own_grant(now.utc_s)
    renewal = f"peerd credential issue {quote(name)} {quote(opened.entry.identity)} --store"
    hint = f"an administrator renews it: {renewal}"
    removal = opened.machine.members.own_removal(now.utc_s)
    if removal is not None:
        return [_removed(*removal_of(opened.machine.members, removal, opened.store), opened.entry, name)]
    if own is None and _is_removed(opened):
        detail = "what this identity was granted counts for nothing: whoever granted it was removed"
        why = f"peerd why member {quote(name)} {quote(opened.entry.identity)}"
        return [schema.Finding(code="credential-removed", detail=detail, hint=why, group=name)]
    if own is None:
        detail = "this identity holds no credential that is valid now"
        return [schema.Finding(code="credential-expired", detail=detail, hint=hint, group=name)]
    from_s = warned_from_s(own)
    if from_s is None or now.utc_s < from_s:
        return []
    detail = f"the credential ends at {schema.time_at(own.window.end):%Y-%m-%dT%H:%M:%SZ}"
    return [schema.Finding(code="credential-expiring", detail=detail, hint=hint, group=name)]


def _removed(removal: Act, by: str, entry: CatalogueEntry, name: str) -> schema.Finding:
    """Who is removed is told by whom, and what helps."""
    body, hint = removal.body, _admission(entry)
    what = "left the group" if isinstance(body, ResignBody) else "was removed from the group"
    if isinstance(body, RevokeKeyBody):
        hint = "this key is banned for ever; with another one: peerd identity create, and ask to be admitted"
    elif isinstance(body, RevokeBody) and body.until is not None:
        what = "holds a credential that ended unrenewed, and was closed"
    reason = f": {body.reason}" if isinstance(body, RevokeBody | ResignBody) and body.reason else ""
    when = f"{schema.time_at_ms(removal.hlc_ms):%Y-%m-%dT%H:%M:%SZ}"
    detail = f"this identity {what} on {when} by {by or 'the root'}{reason}"
    return schema.Finding(code="credential-removed", detail=detail, hint=hint, group=name)


def _is_removed(opened: OpenGroup) -> bool:
    """Whether all that our identity was ever granted here has lost its effect."""
    view, pid = opened.machine.members.view, opened.machine.own.public.pid
    return bool(view.grants_ever(pid)) and not view.live_grants(pid)


def _link_findings(opened: OpenGroup, now: Moment, name: str) -> list[schema.Finding]:
    dialling = opened.machine.dialling
    if opened.machine.members.own_removal(now.utc_s) is not None:
        return []  # it is told already why there is none
    if len(opened.machine.links) or not dialling.online or not len(dialling):
        return []
    tried = [f"{address}: {_SAID[outcome]}" for address, outcome in dialling.outcomes().items()]
    more = [f"and {len(tried) - _TRIED_MAX} more"] if len(tried) > _TRIED_MAX else []
    return [
        schema.Finding(
            code="no-neighbors",
            detail=f"no link to any member ({'; '.join([*tried[:_TRIED_MAX], *more]) or 'still trying'})",
            hint=f"peerd group connect {quote(name)} --address HOST:PORT",
            group=name,
        )
    ]


def _root_findings(opened: OpenGroup, waiting: Waiting | None) -> list[schema.Finding]:
    name, rivals = opened.entry.group_name, opened.machine.members.view.rival_rotations
    findings = []
    if rivals:
        findings.append(
            schema.Finding(
                code="root-rival",
                detail="somebody else has replaced the root too, to no effect, and so holds recovery keys:"
                f" {', '.join(act_id.hex()[:16] for act_id in rivals[:_TRIED_MAX])}",
                hint=f"peerd root show {quote(name)}",
                group=name,
            )
        )
    if waiting is not None:
        code = "root-key-locked" if waiting.error.code == "passphrase-needed" else "root-key-unusable"
        told = [*waiting.names[:_TRIED_MAX], *(["and others"] if len(waiting.names) > _TRIED_MAX else [])]
        findings.append(
            schema.Finding(
                code=code,
                detail=f"{', '.join(told)} can be renewed by the root alone, and {waiting.error.detail}",
                hint=waiting.error.hint.replace("GROUP", quote(name)),
                group=name,
            )
        )
    return findings


def _set_findings(opened: OpenGroup, name: str) -> list[schema.Finding]:
    machine = opened.machine
    waiting = {"acts": machine.members.quarantined, "records": machine.data.records.quarantined}
    findings = [
        schema.Finding(
            code=f"{what}-from-the-future",
            detail=f"{what} dated more than five minutes ahead of this machine's clock wait ({count})",
            hint="compare this machine's clock with the others': date -u",
            group=name,
        )
        for what, count in waiting.items()
        if count
    ]
    difference_ms = machine.data.time.contradiction_ms
    if difference_ms is None:
        return findings
    says = "behind" if difference_ms > 0 else "ahead of"
    seconds = abs(difference_ms) // 1000
    return [
        *findings,
        schema.Finding(
            code="clock-contradicted",
            detail=f"this machine's clock is {seconds} s {says} its neighbors' clocks; it writes no records",
            hint="set the clock, and see: date -u",
            group=name,
        ),
    ]
