"""Upkeep: credentials are renewed without people.

Every administrator's daemon looks after the members junior to it: when a third of a credential's life is
left, it is issued anew, with the same key, name, role and wanted life. The group's properties say otherwise
if they want (`renewal`: `auto`, `left`, `valid_s`, `unseen_s`). Not renewed is who has not been seen for a
month, what has no end, and what travels by hand: somebody has to carry it anyway.

One of several administrators acts, the others hold back: they stand in a row, by level and key, the same on
every node, and each waits a little longer than the one before. What the first has issued has arrived before
the second's turn comes; if it is offline, the second acts. Two that act at once do no harm.

A key whose last credential ended a day ago, unrenewed, is *closed*, by one senior administrator: its cut,
with `until` that end, leaves what it signed, and nothing that it dates back from then on.

Source: design section 5; authority-rules.md, "`until`" and "`renews`".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from protocol.authority.grants import Grant
from protocol.authority.issuing import CredentialInfo, IssueRequest
from protocol.authority.view import View
from protocol.credentials.roles import ADMIN, may_issue
from protocol.limits import (
    CLOSED_AFTER_S,
    END_OF_TIME_S,
    RENEWAL_HOLD_BACK_S_MAX,
    RENEWAL_LEFT,
    RENEWAL_LOOK_MS,
    RENEWALS_AT_ONCE_MAX,
    UNSEEN_S_MAX,
    WARN_S_MAX,
    WARN_SHARE,
)
from protocol.peer_time import Moment, hlc_s

_ACTS_PER_LOOK = 2_000  # in a large group it is looked less often
_LIFE_PARTS = 30  # of a life, an administrator waits for the one before it at most


@dataclass(frozen=True, slots=True)
class RenewalPolicy:
    """How a group renews: at `1 / left` of the life left, for `valid_s` (0: as long as was wanted), whom it
    has seen within `unseen_s`.
    """

    auto: bool = True
    left: int = RENEWAL_LEFT
    valid_s: int = 0
    unseen_s: int = UNSEEN_S_MAX


def policy_in(renewal: Mapping[str, Any]) -> RenewalPolicy:
    """The policy in a group's properties; what is no such value is left at its default, on every node."""
    auto, left = renewal.get("auto"), renewal.get("left")
    valid_s, unseen_s = renewal.get("valid_s"), renewal.get("unseen_s")
    default = RenewalPolicy()
    return RenewalPolicy(
        auto=auto if type(auto) is bool else default.auto,
        left=left if type(left) is int and 2 <= left <= 100 else default.left,
        valid_s=valid_s if type(valid_s) is int and valid_s > 0 else default.valid_s,
        unseen_s=unseen_s if type(unseen_s) is int and unseen_s > 0 else default.unseen_s,
    )


@dataclass(frozen=True, slots=True)
class Closing:
    """A key (pid) whose last window ended at the second `until`."""

    pid: bytes
    until: int


Seen = Callable[[bytes], int | None]  # when a key (pid) was last seen, in seconds UTC


class Upkeep:
    """What one administrator's daemon renews and closes."""

    def __init__(self, own: bytes) -> None:
        """`own` is the pid of this node's identity."""
        self._own = own
        self._look_ms = 0
        self._due_s: int | None = None  # when something is next to be done; None: nothing ever, as things are
        self._state = (False, 0, 0)
        self._retry_s: dict[bytes, int] = {}

    def note(self, grant: Grant | None, size: int, sightings: int) -> None:
        """After each event: our own credential, the size of AUTH, and how often somebody has been seen. When
        any has changed, somebody may be due, unless we are no administrator.
        """
        state = (grant is not None and ADMIN in grant.roles, size, sightings)
        if state != self._state:
            self._state = state
            self._due_s = 0 if state[0] else None

    def next_deadline(self, now: Moment) -> int | None:
        """When `due` next has something to do, on the monotonic clock."""
        if self._due_s is None:
            return None
        return max(self._look_ms, now.mono_ms + max(0, self._due_s - now.utc_s) * 1000)

    def due(
        self, view: View, grant: Grant | None, seen: Seen, now: Moment
    ) -> tuple[list[IssueRequest], list[Closing]]:
        """Whom to renew and whom to close now, at most RENEWALS_AT_ONCE_MAX of each; `grant` is our own."""
        if (deadline := self.next_deadline(now)) is None or now.mono_ms < deadline:
            return [], []
        self._look_ms = now.mono_ms + RENEWAL_LOOK_MS * (1 + self._state[1] // _ACTS_PER_LOOK)
        self._due_s = None
        policy = policy_in(view.properties.renewal)
        if grant is None or ADMIN not in grant.roles or not policy.auto:
            return [], []
        return self._look(view, grant, policy, seen, now.utc_s)

    def _look(
        self, view: View, grant: Grant, policy: RenewalPolicy, seen: Seen, now_s: int
    ) -> tuple[list[IssueRequest], list[Closing]]:
        currents = {pid: view.current(pid, now_s) for pid in view.subjects()}
        row = administrators(currents.values())
        renewals: list[IssueRequest] = []
        closings: list[Closing] = []
        for pid, current in currents.items():
            if current is not None and self._looks_after(grant, current):
                place = _place_in(row, self._own, current)
                turn_s = max(renewal_due(current, policy, place), self._retry_s.get(pid, 0))
                if turn_s <= now_s and is_seen(current, policy, seen(pid), now_s):
                    renewals.append(renewal_of(current, policy))
                    turn_s = self._put_off(current, now_s)
                if turn_s > now_s:
                    self._note_due(turn_s)
            elif current is None:
                self._look_for_end(view, grant, pid, row, closings, now_s)
            if len(renewals) >= RENEWALS_AT_ONCE_MAX or len(closings) >= RENEWALS_AT_ONCE_MAX:
                self._due_s = 0
                break
        return renewals, closings

    def _looks_after(self, grant: Grant, current: Grant) -> bool:
        """Whether a credential is one that we renew."""
        return (
            current.pid != self._own
            and current.stored
            and not current.window.unlimited
            and may_issue(grant.level, current.level)
        )

    def _put_off(self, current: Grant, now_s: int) -> int:
        """Not again at once, whatever comes of it."""
        if len(self._retry_s) > 4 * RENEWALS_AT_ONCE_MAX:
            self._retry_s = {one: at_s for one, at_s in self._retry_s.items() if at_s > now_s}
        self._retry_s[current.pid] = now_s + _step_s(current)
        return self._retry_s[current.pid]

    def _look_for_end(
        self,
        view: View,
        grant: Grant,
        pid: bytes,
        row: list[Grant],
        closings: list[Closing],
        now_s: int,
    ) -> None:
        """Close a key whose last window is over for a day, if we are the first who may."""
        last = max(view.live_grants(pid), key=lambda one: one.window.end)
        due_s = last.window.end + CLOSED_AFTER_S
        first = next((one for one in row if one.level < last.level), None)
        if first is None or first.pid != self._own or grant.level >= last.level:
            return
        if due_s <= now_s:
            closings.append(Closing(pid, last.window.end))
        else:
            self._note_due(due_s)

    def _note_due(self, at_s: int) -> None:
        if at_s <= END_OF_TIME_S:
            self._due_s = at_s if self._due_s is None else min(self._due_s, at_s)


def administrators(currents: Iterable[Grant | None]) -> list[Grant]:
    """Of the current grants of all, those of administrators, the most senior first; the same on every
    node.
    """
    admins = [grant for grant in currents if grant is not None and ADMIN in grant.roles]
    return sorted(admins, key=lambda grant: (grant.level, grant.pid))


def is_seen(current: Grant, policy: RenewalPolicy, seen_s: int | None, now_s: int) -> bool:
    """Whether its holder, last seen at `seen_s`, has been about of late; who has just been admitted counts as
    seen.
    """
    admitted_s = current.window.start if current.renews is None else 0
    return max(seen_s or 0, admitted_s) > now_s - policy.unseen_s


def renewal_due(current: Grant, policy: RenewalPolicy, place: int) -> int:
    """The second from which on the administrator at a place of the row (from 0) renews a credential."""
    return current.window.end - life_s(current) // policy.left + place * _step_s(current)


def life_s(grant: Grant) -> int:
    """How long a credential holds, from its issue or its start on; the start may lie before the issue, for
    clocks that lag.
    """
    return grant.window.end - max(grant.window.start, hlc_s(grant.hlc))


def warned_from_s(grant: Grant) -> int | None:
    """The second from which on the end of a credential is worth a warning; None when it has no end."""
    if grant.window.unlimited:
        return None
    return grant.window.end - min(WARN_S_MAX, life_s(grant) // WARN_SHARE)


def _step_s(current: Grant) -> int:
    """How long one administrator waits for the one before it: less where lives are short."""
    return min(RENEWAL_HOLD_BACK_S_MAX, max(1, life_s(current) // _LIFE_PARTS))


def _place_in(row: list[Grant], own: bytes, current: Grant) -> int:
    able = [grant.pid for grant in row if may_issue(grant.level, current.level) and grant.pid != current.pid]
    return able.index(own) if own in able else len(able)


def renewal_of(current: Grant, policy: RenewalPolicy, *, as_root: bool = False) -> IssueRequest:
    """How a credential is issued anew."""
    info = CredentialInfo(valid_s=policy.valid_s) if policy.valid_s else None
    return IssueRequest(current.peer_name, None, info, store=True, as_root=as_root)
