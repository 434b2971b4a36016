"""Dialling: which addresses this node knows for a group, and which to try now.

Addresses come from users (seeds, from `--address` or an invitation) and from neighbors (where they listen,
and referrals). Seeds are kept for good; learnt addresses are bounded, and forgotten when they fail again and
again. Links are `static` when the user said so: then every seed is dialled and nothing else. Otherwise the
aim is five links, which is a full mesh up to six nodes.

A failed dial is tried again after a delay that doubles from half a second to a minute, with up to half as
much again at random, so that a group which lost its network does not come back in step. Source:
protocol-study 1.6; promise P13.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from protocol.authority.act_set import ActSet
from protocol.codec import decode_untrusted, encode
from protocol.limits import (
    DIAL_FAILURES_MAX,
    KNOWN_ADDRESSES_MAX,
    LINKS_TARGET,
    REDIAL_MS_MAX,
    REDIAL_MS_MIN,
    SETTING_BYTES_MAX,
)
from protocol.machines.events import Connect, Dial, DialOutcome
from protocol.machines.link import Link
from protocol.peer_time import Moment

_SETTING = "addresses"


@dataclass(slots=True)
class _Address:
    seed: bool
    delay_ms: int = 0
    due_ms: int = 0
    failures: int = 0
    dialling: bool = False
    node_id: bytes | None = None
    outcome: DialOutcome | None = None


class Dialling:
    """The address book of one group and the decision whom to call."""

    def __init__(self, rng: random.Random) -> None:
        """`rng` spreads the retries."""
        self.online = True
        self.only = False
        self._rng = rng
        self._known: dict[str, _Address] = {}

    def load(self, store: ActSet) -> None:
        """Read the address book back at start."""
        raw = store.setting(_SETTING)
        if raw is None:
            return
        saved = decode_untrusted(raw, bytes_max=SETTING_BYTES_MAX)
        self.online, self.only = saved["online"], saved["only"]
        self._known = {address: _Address(seed=True) for address in saved["seeds"]}
        self._known |= {
            address: _Address(seed=False) for address in saved["known"] if address not in self._known
        }

    def _save(self, store: ActSet) -> None:
        known = [
            address for address, entry in self._known.items() if not entry.seed and entry.node_id is not None
        ]
        store.set_setting(
            _SETTING,
            encode({"online": self.online, "only": self.only, "seeds": self.seeds(), "known": known}),
        )

    def seeds(self) -> list[str]:
        """The addresses that users gave."""
        return [address for address, entry in self._known.items() if entry.seed]

    def outcomes(self) -> dict[str, DialOutcome]:
        """How the last dial of each address failed, for those that failed last."""
        return {address: entry.outcome for address, entry in self._known.items() if entry.outcome is not None}

    def on_connect(self, command: Connect, store: ActSet) -> None:
        """A user gave addresses; every known one is tried at once."""
        self.online = True
        self.only = command.only or (self.only and not command.addresses)
        if command.only:
            self._known = {
                address: entry for address, entry in self._known.items() if address in command.addresses
            }
        for address in command.addresses:
            self._known.setdefault(address, _Address(seed=True)).seed = True
        for entry in self._known.values():
            entry.delay_ms = entry.due_ms = entry.failures = 0
        self._save(store)

    def on_disconnect(self, store: ActSet) -> None:
        """A user wants no links; the address book stays."""
        self.online = False
        self._save(store)

    def on_stop(self) -> None:
        """The daemon ends; the next one goes on as the user last wished."""
        self.online = False

    def learn(self, addresses: Iterable[str], own: Collection[str]) -> None:
        """Neighbors told of these; static links learn nothing."""
        if self.only:
            return
        for address in addresses:
            if address in self._known or address in own:
                continue
            if len(self._known) >= KNOWN_ADDRESSES_MAX and not self._forget_one():
                return
            self._known[address] = _Address(seed=False)

    def _forget_one(self) -> bool:
        idle = next(
            (address for address, entry in self._known.items() if not entry.seed and not entry.dialling), None
        )
        return idle is not None and self._known.pop(idle) is not None

    def on_up(self, address: str, node_id: bytes, store: ActSet) -> None:
        """A dial came to a link; the address is worth remembering."""
        entry = self._known.setdefault(address, _Address(seed=False))
        entry.dialling, entry.delay_ms, entry.failures, entry.outcome = False, 0, 0, None
        if entry.node_id != node_id:
            entry.node_id = node_id
            self._save(store)

    def on_listens(self, addresses: Iterable[str], node_id: bytes) -> None:
        """A neighbor listens there, so that no dial goes to it while its link lives."""
        for address in addresses:
            if (entry := self._known.get(address)) is not None:
                entry.node_id = node_id

    def on_failed(self, address: str, outcome: DialOutcome, now: Moment) -> None:
        """A dial came to nothing, or its link ended."""
        entry = self._known.get(address)
        if entry is None:
            return
        entry.dialling, entry.outcome, entry.failures = False, outcome, entry.failures + 1
        if outcome is DialOutcome.MYSELF or (not entry.seed and entry.failures >= DIAL_FAILURES_MAX):
            del self._known[address]
            return
        self._delay(entry, now)

    def on_link_ended(self, address: str, now: Moment) -> None:
        """A dialled link is gone; try again soon, a little later each time if it keeps happening."""
        if (entry := self._known.get(address)) is not None:
            entry.dialling = False
            self._delay(entry, now)

    def _delay(self, entry: _Address, now: Moment) -> None:
        entry.delay_ms = min(REDIAL_MS_MAX, max(REDIAL_MS_MIN, entry.delay_ms * 2))
        entry.due_ms = now.mono_ms + entry.delay_ms + self._rng.randrange(entry.delay_ms // 2 + 1)

    def dials(self, links: Iterable[Link], now: Moment) -> list[Dial]:
        """Whom to call now."""
        if not self.online:
            return []
        links = tuple(links)
        wanted = len(self._known) if self.only else LINKS_TARGET
        wanted -= sum(1 for entry in self._known.values() if entry.dialling) + (
            0 if self.only else len(links)
        )
        dials: list[Dial] = []
        for address, entry in self._candidates(links):
            if len(dials) < wanted and entry.due_ms <= now.mono_ms:
                entry.dialling = True
                dials.append(Dial(address))
        return dials

    def _candidates(self, links: Iterable[Link]) -> list[tuple[str, _Address]]:
        """Addresses that lead to nobody who is linked already."""
        nodes = {link.node_id: None for link in links}
        places = {place: None for link in links for place in (link.address, *link.listens)}
        return [
            (address, entry)
            for address, entry in self._known.items()
            if not entry.dialling
            and address not in places
            and entry.node_id not in nodes
            and (entry.seed or not self.only)
        ]

    def next_deadline(self, links: Iterable[Link]) -> int | None:
        """When a dial is next due; None when there is nothing to dial."""
        links = tuple(links)
        if not self.online or (not self.only and len(links) >= LINKS_TARGET):
            return None
        return min((entry.due_ms for _, entry in self._candidates(links)), default=None)
