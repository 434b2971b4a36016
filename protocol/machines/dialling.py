"""Dialling: which addresses this node knows for a group, and which to try now.

Addresses come from users (seeds, from `--address` or an invitation) and from neighbors (where they listen,
and referrals). Seeds are kept for good. Learnt addresses are bounded: one that never led to a link is
forgotten when it fails again and again, one that did only to make room. Links are `static` when the user said
so: then every seed is dialled and nothing else. Otherwise the aim is five links, which is a full mesh up to
six nodes.

A failed dial is tried again after a delay that doubles from half a second to a minute, with up to half as
much again at random, so that a group which lost its network does not come back in step. A link that ends soon
counts as a failure, so a node that always closes on us is not called twice a second.

Who was told that it has been removed asks again every five minutes only: it may be brought back, and whoever
knows of that lets it in. When it is back it calls everybody at once.

Visits. Two parts of a group that lost each other may both have links enough, and would never look for the
other again. So a node that has its five links calls, about once a minute, one more address at random, of
somebody who is no neighbor. That link ends at the next visit, unless it is needed by then. Every ten minutes
a visited neighbor stays, and the oldest link that this node made ends instead: whoever wants to surround a
node has to begin again and again.

The book holds few addresses of a large group. So some are drawn from the directory now and then
(directory.py), and what led nowhere makes room for them.

Source: protocol-study 1.6 (anti-entropy with a partner outside the current links); promise P13.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from protocol.authority.act_set import ActSet
from protocol.codec import decode_untrusted, encode
from protocol.errors import RuleError
from protocol.limits import (
    ANTI_ENTROPY_MS,
    DIAL_FAILURES_MAX,
    KNOWN_ADDRESSES_MAX,
    LINK_RENEWAL_MS,
    LINKS_MAX,
    LINKS_TARGET,
    REDIAL_MS_MAX,
    REDIAL_MS_MIN,
    REDIAL_REMOVED_MS,
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
    node_id: bytes | None = None  # of the node found there last, or said to be there
    outcome: DialOutcome | None = None


class Dialling:
    """The address book of one group and the decision whom to call."""

    def __init__(self, rng: random.Random) -> None:
        """`rng` spreads the retries."""
        self.online = True
        self.only = False
        self._removed = False
        self._stopped = False
        self._rng = rng
        self._known: dict[str, _Address] = {}
        self._visited: str | None = None
        self._visit_ms: int | None = None  # when the next visit is due; None without links enough
        self._renew_ms: int | None = None  # from when on the oldest link makes room for a visited one
        self._draw_ms = 0

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

    def __len__(self) -> int:
        """How many addresses are known."""
        return len(self._known)

    # --- what users want ------------------------------------------------------------------------------------

    def on_connect(self, command: Connect, store: ActSet) -> None:
        """A user gave addresses; every known one is tried at once. Raises: RuleError(invalid-argument)."""
        seeds = dict.fromkeys(command.addresses if command.only else (*self.seeds(), *command.addresses))
        if len(seeds) > KNOWN_ADDRESSES_MAX:
            raise RuleError(
                "invalid-argument",
                f"a group keeps at most {KNOWN_ADDRESSES_MAX} addresses that were given by hand",
                hint="name the ones that count with --only, or fewer of them",
            )
        self.online = True
        self.only = command.only or (self.only and not command.addresses)
        if command.only:
            self._known = {address: entry for address, entry in self._known.items() if address in seeds}
        for address in seeds:
            self._known.setdefault(address, _Address(seed=True)).seed = True
        while len(self._known) > KNOWN_ADDRESSES_MAX and self._forget_one():
            pass
        for entry in self._known.values():
            entry.delay_ms = entry.due_ms = entry.failures = 0
        self._save(store)

    def on_disconnect(self, store: ActSet) -> None:
        """A user wants no links; the address book stays."""
        self.online = False
        self._save(store)

    def on_stop(self) -> None:
        """The daemon ends; the next one goes on as the user last wished."""
        self._stopped = True

    def wants(self, address: str | None) -> bool:
        """Whether a link that came up is wanted still; `address` is None where the neighbor called."""
        if not self.online or self._stopped:
            return False
        return address is None or not self.only or address in self.seeds()

    # --- what is known --------------------------------------------------------------------------------------

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
        """Make room: for the oldest learnt address that led nowhere, else for the oldest learnt one."""
        idle = [address for address, entry in self._known.items() if not entry.seed and not entry.dialling]
        useless = (address for address in idle if self._known[address].node_id is None)
        gone = next(useless, next(iter(idle), None))
        return gone is not None and self._known.pop(gone) is not None

    def on_up(self, address: str, node_id: bytes, store: ActSet) -> None:
        """A dial came to a link; the address is worth remembering."""
        entry = self._known.get(address)
        if entry is None:
            return
        entry.dialling, entry.failures, entry.outcome = False, 0, None
        if entry.node_id != node_id:
            entry.node_id = node_id
            self._save(store)

    def on_listens(self, addresses: Iterable[str], node_id: bytes, store: ActSet) -> None:
        """A neighbor says that it listens there; no dial goes to it while its link lives.

        It is remembered like an address that was dialled: a node that only ever was called, as the creator
        of a group is, would know nobody after a restart.

        Guards: a neighbor that claims the addresses of others, again and again, so that they are never
        called: a claim sticks neither to a seed nor to where somebody was found.
        """
        entries = [entry for address in addresses if (entry := self._known.get(address)) is not None]
        unclaimed = [entry for entry in entries if not entry.seed and entry.node_id is None]
        for entry in unclaimed:
            entry.node_id = node_id
        if unclaimed:
            self._save(store)

    def on_failed(self, address: str, outcome: DialOutcome, now: Moment) -> None:
        """A dial came to nothing."""
        entry = self._known.get(address)
        if entry is None:
            return
        entry.dialling, entry.outcome, entry.failures = False, outcome, entry.failures + 1
        useless = not entry.seed and entry.node_id is None and entry.failures >= DIAL_FAILURES_MAX
        removed = outcome is DialOutcome.REMOVED
        if outcome is DialOutcome.MYSELF or (useless and not removed):
            del self._known[address]
            return
        if removed:
            entry.delay_ms = REDIAL_REMOVED_MS
        self._delay(entry, now)

    def note_removed(self, removed: bool, now: Moment) -> None:
        """Whether this node is removed from the group; when it is no longer, everybody is called at once."""
        if self._removed and not removed:
            for entry in self._known.values():
                entry.delay_ms, entry.due_ms = 0, now.mono_ms
        self._removed = removed

    def on_link_ended(self, link: Link, now: Moment) -> None:
        """A link is gone, whoever made it; try again soon, a little later each time if it keeps happening."""
        places = (link.address, *link.listens)
        for address, entry in self._known.items():
            if address in places or entry.node_id == link.node_id:
                if now.mono_ms - link.since_ms >= REDIAL_MS_MAX:
                    entry.delay_ms = 0
                self._delay(entry, now)

    def on_refused(self, address: str, now: Moment) -> None:
        """A dial came to a link that could not stay."""
        if (entry := self._known.get(address)) is not None:
            self._delay(entry, now)

    def _delay(self, entry: _Address, now: Moment) -> None:
        longest = REDIAL_REMOVED_MS if self._removed else REDIAL_MS_MAX
        entry.delay_ms = min(longest, max(REDIAL_MS_MIN, entry.delay_ms * 2))
        entry.due_ms = now.mono_ms + entry.delay_ms + self._rng.randrange(entry.delay_ms // 2 + 1)

    # --- whom to call ---------------------------------------------------------------------------------------

    def draws(self, now: Moment) -> bool:
        """Whether addresses are to be drawn from the directory now."""
        if not self.online or self._stopped or self.only or now.mono_ms < self._draw_ms:
            return False
        self._draw_ms = now.mono_ms + ANTI_ENTROPY_MS
        return True

    def dials(self, links: Iterable[Link], now: Moment) -> list[Dial]:
        """Whom to call now: of several addresses of one node, one at a time."""
        links = tuple(links)
        if (room := self._room(links)) <= 0:
            return []
        dials: list[Dial] = []
        nodes: dict[bytes, None] = {}
        for address, entry in self._candidates(links):
            if len(dials) < room and entry.due_ms <= now.mono_ms and entry.node_id not in nodes:
                entry.dialling = True
                dials.append(Dial(address))
                if entry.node_id is not None:
                    nodes[entry.node_id] = None
        return dials

    def _room(self, links: tuple[Link, ...]) -> int:
        """How many more dials may be under way."""
        if not self.online or self._stopped:
            return 0
        if self.only:
            return KNOWN_ADDRESSES_MAX
        return LINKS_TARGET - len(links) - sum(1 for entry in self._known.values() if entry.dialling)

    def _candidates(self, links: tuple[Link, ...]) -> list[tuple[str, _Address]]:
        """Addresses that lead to nobody who is linked or being called already."""
        places = {place: None for link in links for place in (link.address, *link.listens)}
        nodes = {link.node_id: None for link in links}
        nodes |= {entry.node_id: None for entry in self._known.values() if entry.dialling and entry.node_id}
        return [
            (address, entry)
            for address, entry in self._known.items()
            if not entry.dialling
            and address not in places
            and entry.node_id not in nodes
            and (entry.seed or not self.only)
        ]

    def visit(self, links: Iterable[Link], now: Moment) -> tuple[Dial | None, Link | None]:
        """Whom to call besides, and the neighbor of the last visit if its link is to end."""
        links = tuple(links)
        if not self._has_all(links):
            self._visit_ms = None
            return None, None
        if self._visit_ms is None:
            self._visit_ms = self._next_visit(now)
        if self._visit_ms > now.mono_ms:
            return None, None
        due = [pair for pair in self._candidates(links) if pair[1].due_ms <= now.mono_ms]
        if not due:
            return None, None
        self._visit_ms = self._next_visit(now)
        return self._visit_one_of(due, links, now)

    def _has_all(self, links: tuple[Link, ...]) -> bool:
        """Whether this node has the links that it aims at."""
        return self.online and not self._stopped and not self.only and len(links) >= LINKS_TARGET

    def _next_visit(self, now: Moment) -> int:
        return now.mono_ms + self._rng.randrange(ANTI_ENTROPY_MS // 2, ANTI_ENTROPY_MS * 3 // 2)

    def _visit_due(self, links: tuple[Link, ...]) -> int | None:
        """When the next visit is due; None while there is nobody to visit."""
        first = min((entry.due_ms for _, entry in self._candidates(links)), default=None)
        return None if first is None or self._visit_ms is None else max(first, self._visit_ms)

    def _visit_one_of(
        self, addresses: list[tuple[str, _Address]], links: tuple[Link, ...], now: Moment
    ) -> tuple[Dial | None, Link | None]:
        last = self._renewed(links, now) or next(
            (link for link in links if link.dialled and link.address == self._visited), None
        )
        if len(links) == LINKS_TARGET:
            last = None  # it is needed
        if len(links) - (last is not None) >= LINKS_MAX:
            return None, None
        self._visited, entry = self._rng.choice(addresses)
        entry.dialling = True
        return Dial(self._visited), last

    def _renewed(self, links: tuple[Link, ...], now: Moment) -> Link | None:
        """The link that ends for good, if one is due: the oldest that this node made to nobody in
        particular.
        """
        if self._renew_ms is None:
            self._renew_ms = now.mono_ms + LINK_RENEWAL_MS
        own = [link for link in links if link.dialled and link.address not in self.seeds()]
        if now.mono_ms < self._renew_ms or len(links) <= LINKS_TARGET or not own:
            return None
        self._renew_ms = now.mono_ms + LINK_RENEWAL_MS
        return min(own, key=lambda link: link.since_ms)

    def next_deadline(self, links: Iterable[Link]) -> int | None:
        """When a dial is next due; None when there is nothing to dial."""
        links = tuple(links)
        if self._has_all(links):
            return self._visit_due(links)
        if self._room(links) <= 0:
            return None
        return min((entry.due_ms for _, entry in self._candidates(links)), default=None)
