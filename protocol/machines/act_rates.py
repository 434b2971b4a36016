"""Rates: how many acts of one key a node takes in, by the days that they are dated.

Each key has two accounts. Every act is entered in the first on the day of its hlc; every UTC day that passes
takes 10,000 off it, down to nothing; as long as there are 40,000, no more acts of that key come in. In the
second stand all acts but those that take something away or back; it takes 20,000, and a day is 5,000. So a
batch of credentials passes, also one of years, wherever and whenever it arrives; who has used up what may be
issued can still revoke; and no key can fill the disks of others faster than people notice.

An act counts once for each KiB begun; one of a plain member, who has nothing to sign but a resignation,
twenty times. The root's are not counted.

What finds no room is delayed, never dropped: whether there is room depends on the acts that are here and on
the day alone, there is more with every day that passes, and acts that had room together on one node have it
on any other, in every order.

Source: design section 5, "No count ever drops an effective act"; SPEC.md, "Rates".
"""

from __future__ import annotations

from collections.abc import Iterable

from protocol.authority.acts import Act, Place
from protocol.authority.bodies import Kind
from protocol.errors import RuleError
from protocol.limits import (
    ACT_COUNTED_BYTES,
    ACTS_A_DAY,
    ACTS_BURST,
    ACTS_OF_MEMBER_FACTOR,
    ACTS_REMOVING_FACTOR,
    CLOCK_DIFFERENCE_MS_MAX,
    LEVEL_MEMBER,
    LEVEL_ROOT,
)
from protocol.peer_time import Moment, hlc_s

_DAY_S = 86_400
_REMOVING = frozenset((Kind.REVOKE_CREDENTIAL, Kind.REVOKE_KEY, Kind.RESIGN, Kind.ANNUL))


def day_of(at_s: int) -> int:
    """The UTC day of a second, counted from 1970."""
    return at_s // _DAY_S


def day_begins_s(day: int) -> int:
    """The second in which a day begins."""
    return day * _DAY_S


def is_removing(kind: int) -> bool:
    """Whether a kind takes something away or back, so that issuing much never stands in its way."""
    return kind in _REMOVING


def cost_of(level: int, size: int) -> int:
    """How often an act counts that was signed at a level and has so many bytes."""
    if level == LEVEL_ROOT:
        return 0
    counted = -(-size // ACT_COUNTED_BYTES)
    return counted * ACTS_OF_MEMBER_FACTOR if level == LEVEL_MEMBER else counted


def _fits(issued: int, in_all: int) -> bool:
    """Whether two accounts may be so full: without what removes, and all of it."""
    return issued <= ACTS_BURST and in_all <= ACTS_BURST * ACTS_REMOVING_FACTOR


class _Account:
    """What one key has signed, by day: without what removes, and all of it."""

    __slots__ = ("_days", "_known")

    def __init__(self) -> None:
        self._days: dict[int, tuple[int, int]] = {}
        self._known = (0, 0, 0)  # a day, and how full both are then or later at most

    def enter(self, day: int, issued: int, in_all: int) -> bool:
        """Add to a day, or take off; whether anything is left of the account."""
        issued_before, all_before = self._days.get(day, (0, 0))
        self._days[day] = (issued_before + issued, all_before + in_all)
        if self._days[day] == (0, 0):
            del self._days[day]
        known, issued_at_most, all_at_most = self._known
        self._known = (known, issued_at_most + max(0, issued), all_at_most + max(0, in_all))
        return bool(self._days)

    def has_room_for(self, day: int, issued: int, in_all: int, today: int) -> bool:
        """Whether so much more may be entered on a day; mostly known without adding up all days.

        What removes, and so issues nothing, does not ask how much was issued.
        """
        known, issued_at_most, all_at_most = self._known
        if known <= today and _fits(issued and issued_at_most + issued, all_at_most + in_all):
            return True
        self._known = (today, *self._levels(today, day, 0, 0))
        issued_then, all_then = self._levels(today, day, issued, in_all)
        return _fits(issued and issued_then, all_then)

    def _levels(self, today: int, more_on: int, issued_more: int, all_more: int) -> tuple[int, int]:
        """How full both are, with so much more on a day. What is dated ahead of today counts as of today."""
        days = self._days
        before = days.get(more_on, (0, 0))
        days = {**days, more_on: (before[0] + issued_more, before[1] + all_more)}
        issued = in_all = 0
        last = min(days)
        for day in (*sorted(days), today):
            passed = max(0, min(day, today) - last)
            issued = max(0, issued - passed * ACTS_A_DAY)
            in_all = max(0, in_all - passed * ACTS_A_DAY * ACTS_REMOVING_FACTOR)
            last = max(last, min(day, today))
            if day in days:
                issued_that_day, all_that_day = days.pop(day)
                issued += issued_that_day
                in_all += all_that_day
        return issued, in_all


class ActRates:
    """The accounts of all keys that have signed what counts in one group."""

    def __init__(self) -> None:
        """Nothing has been signed."""
        self._accounts: dict[bytes, _Account] = {}

    def __len__(self) -> int:
        """How many keys have signed something that counts."""
        return len(self._accounts)

    def note(self, place: Place, kind: int, size: int) -> None:
        """An act has come in."""
        self._enter(place, kind, cost_of(place.level, size))

    def forget(self, place: Place, kind: int, size: int) -> None:
        """An act that was noted does not count any more."""
        self._enter(place, kind, -cost_of(place.level, size))

    def _enter(self, place: Place, kind: int, cost: int) -> None:
        if cost == 0:
            return
        account = self._accounts.setdefault(place.author, _Account())
        if not account.enter(day_of(hlc_s(place.hlc)), 0 if is_removing(kind) else cost, cost):
            del self._accounts[place.author]

    def has_room_for(self, place: Place, kind: int, size: int, today: int, *, urgent: bool = False) -> bool:
        """Whether an act may come in on a day. `urgent` ones are those that a removal names or stands on:
        they have the room that removals have.
        """
        cost = cost_of(place.level, size)
        issued = 0 if urgent or is_removing(kind) else cost
        return cost == 0 or self._has_room(place.author, day_of(hlc_s(place.hlc)), issued, cost, today)

    def _has_room(self, author: bytes, day: int, issued: int, in_all: int, today: int) -> bool:
        account = self._accounts.get(author)
        if account is None:
            return _fits(issued, in_all)
        return account.has_room_for(day, issued, in_all, today)

    def check_own(self, acts: Iterable[Act], now: Moment) -> None:
        """Whether acts that this node is about to publish have room, also on nodes whose clock lags a little.

        Raises: RuleError(act-rate-exceeded).
        """
        signed: dict[bytes, tuple[int, int]] = {}
        for act in acts:
            cost = cost_of(act.place.level, len(act.raw))
            issued, in_all = signed.get(act.place.author, (0, 0))
            signed[act.place.author] = (issued + (0 if is_removing(act.kind) else cost), in_all + cost)
        for author, (issued, in_all) in signed.items():
            self._check(author, issued, in_all, now)

    def check_removal(self, author: bytes, level: int, size_max: int, now: Moment) -> None:
        """The same for one removal that is yet to be signed. Raises: RuleError(act-rate-exceeded)."""
        self._check(author, 0, cost_of(level, size_max), now)

    def _check(self, author: bytes, issued: int, in_all: int, now: Moment) -> None:
        today = day_of((now.utc_ms - CLOCK_DIFFERENCE_MS_MAX) // 1000)
        if in_all and not self._has_room(author, today, issued, in_all, today):
            raise RuleError(
                "act-rate-exceeded",
                f"this key has signed so much that others would delay it: {ACTS_BURST} acts can be published"
                f" at once, then {ACTS_A_DAY} a day",
                hint="go on after midnight UTC, or let another administrator do it: peerd member list GROUP",
            )
