"""Renewal by the root: whom no administrator can renew, the daemon that holds the group's root key renews.

These are above all the administrators of the first level. The group's own policy says when (see
`protocol.machines.upkeep`); the root key is read for each use, and where it is not, nothing happens.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Final

import trio

from peerd.clock import Clock
from peerd.errors import PeerdError
from peerd.groups.open_group import OpenGroup
from protocol.authority.act_set import ActSet
from protocol.authority.grants import Grant
from protocol.authority.issuing import CredentialInfo, IssueRequest
from protocol.credentials.keys import PrivateKey
from protocol.credentials.roles import may_issue
from protocol.errors import RuleError
from protocol.limits import RENEWALS_AT_ONCE_MAX
from protocol.machines.events import Issue
from protocol.machines.group import GroupMachine
from protocol.machines.upkeep import RenewalPolicy, administrators, policy_in, renewal_due

LOOK_S_MIN: Final = 1.0
LOOK_S_MAX: Final = 60.0  # who has been admitted meanwhile is found after that

log = logging.getLogger(__name__)


async def renew_by_root(
    groups: Callable[[], list[OpenGroup]], root_key: Callable[[OpenGroup], PrivateKey], clock: Clock
) -> None:
    """Renew in all groups whose root key is here, until cancelled. `root_key` raises RuleError elsewhere."""
    while True:
        next_s: list[float] = []
        for group in groups():
            try:
                next_s.append(await _keep_up(group, root_key, clock))
            except (RuleError, PeerdError) as error:
                log.info("not renewed", extra={"group": group.entry.group_name, "detail": str(error)})
        await trio.sleep(max(LOOK_S_MIN, min([LOOK_S_MAX, *next_s])))


async def _keep_up(group: OpenGroup, root_key: Callable[[OpenGroup], PrivateKey], clock: Clock) -> float:
    """Renew what is due in one group; how many seconds there are until the next is. Raises: RuleError,
    PeerdError.
    """

    def look(now_s: int, _: ActSet) -> tuple[list[IssueRequest], int | None]:
        return due_by_root(group.machine, now_s)

    now_s = clock.moment().utc_s
    requests, next_s = await group.node.runner.ask(partial(look, now_s))
    if requests:
        await group.node.runner.submit(Issue(tuple(requests), root_key(group)))
    return LOOK_S_MAX if next_s is None else float(next_s - now_s)


def due_by_root(machine: GroupMachine, now_s: int) -> tuple[list[IssueRequest], int | None]:
    """Whom the root is to renew at a second UTC, and when somebody is next due, if anybody ever is."""
    view = machine.members.view
    policy = policy_in(view.properties.renewal)
    if view.root is None or not policy.auto:
        return [], None
    admins = administrators(view, now_s)
    requests: list[IssueRequest] = []
    next_s: int | None = None
    for pid in view.subjects():
        current = view.current(pid, now_s)
        if current is None or not _is_left_to_root(current, admins):
            continue
        due_s = renewal_due(current, policy, 0)
        if due_s > now_s:
            next_s = due_s if next_s is None else min(next_s, due_s)
        elif len(requests) < RENEWALS_AT_ONCE_MAX and _is_seen(machine, current, policy, now_s):
            info = CredentialInfo(valid_s=policy.valid_s) if policy.valid_s else None
            requests.append(IssueRequest(current.peer_name, None, info, store=True, as_root=True))
    return requests, next_s


def _is_left_to_root(current: Grant, admins: list[Grant]) -> bool:
    """Whether a credential ends, is published in the group, and no administrator may renew it."""
    able = (admin for admin in admins if admin.pid != current.pid and may_issue(admin.level, current.level))
    return current.stored and not current.window.unlimited and next(able, None) is None


def _is_seen(machine: GroupMachine, current: Grant, policy: RenewalPolicy, now_s: int) -> bool:
    """Whether its holder has been about of late; who has just been admitted counts as seen."""
    if current.pid == machine.own.public.pid or any(link.key.pid == current.pid for link in machine.links):
        return True
    admitted_s = current.window.start if current.renews is None else 0
    return max(machine.directory.seen_s(current.pid) or 0, admitted_s) > now_s - policy.unseen_s
