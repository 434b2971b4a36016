"""Renewal by the root: whom no administrator can renew, the daemon that holds the group's root key renews.

These are above all the administrators of the first level. The group's own policy says when (see
`protocol.machines.upkeep`). Whom a root that has been replaced since admitted itself is renewed at once: the
new root vouches for them then, and their chains begin with its certificate.

The root key is read for each use; where none is, nobody is looked for. Where one is that cannot be used,
locked for example, `waiting` says who waits for it, long before anybody's credential ends.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import trio

from peerd.clock import Clock
from peerd.errors import PeerdError
from peerd.groups.open_group import OpenGroup
from protocol.authority.act_set import ActSet
from protocol.authority.grants import Grant
from protocol.authority.issuing import IssueRequest
from protocol.authority.view import View
from protocol.credentials.keys import PrivateKey
from protocol.credentials.roles import may_issue
from protocol.errors import RuleError
from protocol.limits import END_OF_TIME_S, LEVEL_ROOT, RENEWALS_AT_ONCE_MAX
from protocol.machines.events import Issue
from protocol.machines.group import GroupMachine
from protocol.machines.upkeep import (
    RenewalPolicy,
    administrators,
    is_seen,
    policy_in,
    renewal_due,
    renewal_of,
)

LOOK_S_MIN: Final = 1.0
LOOK_S_MAX: Final = 60.0  # who has been admitted meanwhile is found after that

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DueByRoot:
    """Whom the root is to renew: those whose time has come, and those `anew` whom a former root admitted;
    and the second at which somebody is next due, if anybody ever is.
    """

    renewals: tuple[IssueRequest, ...] = ()
    anew: tuple[IssueRequest, ...] = ()
    next_s: int | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """Who (peer names) waits for the root, and why it does not renew them."""

    names: tuple[str, ...]
    error: RuleError


class RootRenewal:
    """What the root renews in all groups of this node."""

    def __init__(
        self,
        groups: Callable[[], list[OpenGroup]],
        is_here: Callable[[OpenGroup], bool],
        root_key: Callable[[OpenGroup], Awaitable[PrivateKey]],
        clock: Clock,
    ) -> None:
        """`is_here` tells whether one of the group's root keys is, usable or not; `root_key` raises RuleError
        when none can be used.
        """
        self._groups = groups
        self._is_here = is_here
        self._root_key = root_key
        self._clock = clock
        self._wake = trio.Event()
        self._waiting: dict[bytes, Waiting] = {}
        self._told: dict[tuple[bytes, str], str] = {}

    def waiting(self, gid: bytes) -> Waiting | None:
        """Who waits for a root key that is here and cannot be used."""
        return self._waiting.get(gid)

    def look(self) -> None:
        """Look now: a key has come or gone."""
        self._wake.set()

    async def run(self) -> None:
        """Renew until cancelled."""
        while True:
            self._wake = trio.Event()
            next_s = LOOK_S_MAX
            for group in self._groups():
                try:
                    next_s = min(next_s, await self._keep_up(group))
                except PeerdError as error:  # it is being closed, or its disk is full
                    log.info("not renewed", extra={"group": group.entry.group_name, "detail": error.detail})
            with trio.move_on_after(max(LOOK_S_MIN, next_s)):
                await self._wake.wait()

    async def _keep_up(self, group: OpenGroup) -> float:
        """Renew what is due in one group; in how many seconds to look again. Raises: PeerdError."""
        gid = group.machine.members.view.gid
        if not self._is_here(group):
            self._waiting.pop(gid, None)
            return LOOK_S_MAX

        def look(now_s: int, _: ActSet) -> DueByRoot:
            return due_by_root(group.machine, now_s)

        now_s = self._clock.moment().utc_s
        due = await group.node.runner.ask(partial(look, now_s))
        self._waiting.pop(gid, None)
        if not due.renewals and not due.anew:
            return LOOK_S_MAX if due.next_s is None else float(due.next_s - now_s)
        try:
            key = await self._root_key(group)
        except RuleError as error:
            if due.renewals:
                self._waiting[gid] = Waiting(tuple(str(one.subject) for one in due.renewals), error)
            return LOOK_S_MAX if due.next_s is None else float(due.next_s - now_s)
        renewed = [await self._renew(group, request, key) for request in (*due.renewals, *due.anew)]
        return LOOK_S_MIN if any(renewed) else LOOK_S_MAX

    async def _renew(self, group: OpenGroup, request: IssueRequest, key: PrivateKey) -> bool:
        """Issue to one; who is refused holds up nobody else, and is told of once. Raises: PeerdError."""
        gid, subject = group.machine.members.view.gid, str(request.subject)
        try:
            await group.node.runner.submit(Issue((request,), key))
        except RuleError as error:
            if self._told.get((gid, subject)) != error.code:
                log.warning(
                    "not renewed by the root",
                    extra={"group": group.entry.group_name, "peer": subject, "reason": error.code},
                )
            self._told[gid, subject] = error.code
            return False
        self._told.pop((gid, subject), None)
        return True


def due_by_root(machine: GroupMachine, now_s: int) -> DueByRoot:
    """Whom the root is to renew at a second UTC, at most RENEWALS_AT_ONCE_MAX of each kind."""
    view = machine.members.view
    policy = policy_in(view.properties.renewal)
    if view.root is None or not policy.auto:
        return DueByRoot()
    currents = {pid: view.current(pid, now_s) for pid in view.subjects()}
    admins = administrators(currents.values())
    renewals: list[IssueRequest] = []
    anew: list[IssueRequest] = []
    next_s: int | None = None
    for current in currents.values():
        if current is None or not current.stored:
            continue
        due_s = renewal_due(current, policy, 0) if _is_left_to_root(current, admins) else END_OF_TIME_S
        if due_s > now_s:
            next_s = due_s if next_s is None else min(next_s, due_s)
            if is_by_former_root(view, current) and _is_about(machine, current, now_s):
                # Nothing is to end sooner than before, whatever the policy says of renewals that are due.
                anew.append(renewal_of(current, RenewalPolicy(), as_root=True))
        elif _is_about(machine, current, now_s):
            renewals.append(renewal_of(current, policy, as_root=True))
    return DueByRoot(tuple(renewals[:RENEWALS_AT_ONCE_MAX]), tuple(anew[:RENEWALS_AT_ONCE_MAX]), next_s)


def is_by_former_root(view: View, current: Grant) -> bool:
    """Whether the root itself signed a credential, and has been replaced since."""
    root = view.root
    return root is not None and current.author_level == LEVEL_ROOT and current.cred != root.rotation


def _is_left_to_root(current: Grant, admins: list[Grant]) -> bool:
    """Whether a credential ends and no administrator may renew it."""
    able = (admin for admin in admins if admin.pid != current.pid and may_issue(admin.level, current.level))
    return not current.window.unlimited and next(able, None) is None


def _is_about(machine: GroupMachine, current: Grant, now_s: int) -> bool:
    """Whether its holder is this node, is linked with it, or has been seen of late."""
    if current.pid == machine.own.public.pid or any(link.key.pid == current.pid for link in machine.links):
        return True
    policy = policy_in(machine.members.view.properties.renewal)
    return is_seen(current, policy, machine.directory.seen_s(current.pid), now_s)
