"""Who may hold a connection to our listener: strangers and members have slots apart.

A stranger is whoever has not proved membership. There are few slots for them, and a newcomer pushes out the
one that came first, of its own address when that has its share, of all otherwise: half-open or dripping
connections leave by themselves and members' connections are never touched (reliability-study M8). Our own
calls to others need no slot.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Protocol

from peerd.transport.limits import MEMBERS_MAX, STRANGERS_MAX, STRANGERS_PER_ADDRESS_MAX

_SITE_PREFIX_BITS = 64


@dataclass(frozen=True, slots=True)
class SlotLimits:
    """How many connections of each sort are held at a time."""

    strangers: int = STRANGERS_MAX
    strangers_per_address: int = STRANGERS_PER_ADDRESS_MAX
    strangers_per_loopback_address: int = STRANGERS_MAX  # every node of this machine calls from there
    members: int = MEMBERS_MAX


class Stay(Protocol):
    """What a slot decides about its connection; a `trio.CancelScope` around its task is one."""

    deadline: float

    @property
    def cancel_called(self) -> bool:
        """Whether it is over, by `cancel` or because the deadline is past."""

    def cancel(self) -> object:
        """End it now."""


class Slot:
    """One connection's place. Whoever is pushed out finds its `stay` cancelled."""

    __slots__ = ("_slots", "site", "stay")

    def __init__(self, slots: Slots, site: str, stay: Stay) -> None:
        """`site` is `site_of` the other side's host."""
        self._slots = slots
        self.site = site
        self.stay = stay

    def promote(self) -> bool:
        """Move to the members' slots, for good and without deadline. False: too late, or these are full."""
        return self._slots.promote(self)

    def leave(self) -> None:
        """Free the place; it may be called again."""
        self._slots.leave(self)


class Slots:
    """The places of one listener."""

    def __init__(self, limits: SlotLimits) -> None:
        """Nobody is there yet."""
        self._limits = limits
        # Dicts keep the order of arrival, which is the order of leaving.
        self._strangers: dict[Slot, None] = {}
        self._strangers_of: dict[str, dict[Slot, None]] = {}
        self._members: dict[Slot, None] = {}

    @property
    def strangers(self) -> int:
        """Connections that have not proved membership."""
        return len(self._strangers)

    @property
    def members(self) -> int:
        """Connections that have."""
        return len(self._members)

    def admit(self, host: str, stay: Stay) -> Slot:
        """Give a newcomer a stranger's slot, pushing somebody out when there is none."""
        site = site_of(host)
        neighbors = self._strangers_of.get(site, {})
        if len(neighbors) >= self._share_of(site):
            self._push_out(next(iter(neighbors)))
        elif len(self._strangers) >= self._limits.strangers:
            self._push_out(next(iter(self._strangers)))
        slot = Slot(self, site, stay)
        self._strangers[slot] = None
        self._strangers_of.setdefault(site, {})[slot] = None
        return slot

    def promote(self, slot: Slot) -> bool:
        """See `Slot.promote`."""
        too_late = slot not in self._strangers or slot.stay.cancel_called
        if too_late or len(self._members) >= self._limits.members:
            return False
        self._forget_stranger(slot)
        self._members[slot] = None
        slot.stay.deadline = math.inf
        return True

    def leave(self, slot: Slot) -> None:
        """See `Slot.leave`."""
        if slot in self._strangers:
            self._forget_stranger(slot)
        self._members.pop(slot, None)

    def _share_of(self, site: str) -> int:
        if _is_loopback(site):
            return self._limits.strangers_per_loopback_address
        return self._limits.strangers_per_address

    def _push_out(self, slot: Slot) -> None:
        self._forget_stranger(slot)
        slot.stay.cancel()

    def _forget_stranger(self, slot: Slot) -> None:
        del self._strangers[slot]
        of_site = self._strangers_of[slot.site]
        del of_site[slot]
        if not of_site:
            del self._strangers_of[slot.site]


def site_of(host: str) -> str:
    """What counts as one address: an IPv4 address, or the /64 of an IPv6 one, where a host has all of it."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        if not (address.is_loopback or address.is_link_local):
            return str(IPv6Network((address, _SITE_PREFIX_BITS), strict=False))
    return str(address)


def _is_loopback(site: str) -> bool:
    try:
        return ip_address(site).is_loopback
    except ValueError:
        return False
