"""Chains: where the next acts of this store stand.

A store signs on a chain of its own for each author (its identity, and the root where it holds the root's
key), so that one identity on two machines never forks. A chain is begun by the first act, and anew

* when its last act lies five minutes ahead of the clock: otherwise one slip of the clock would push every
  later act into the future (authority-rules.md, "A signer starts a new chain if …"),
* when its last act is void: nobody would keep what stands on it,
* when its last act is not the one that this store signed last: somebody else has the key, and nothing is ever
  built on what they signed.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from protocol.authority.act_set import ActSet
from protocol.authority.acts import Act, Place
from protocol.authority.issuers import Issuer
from protocol.authority.view import View
from protocol.ids import CHAIN_BYTES
from protocol.limits import HLC_AHEAD_MS_MAX
from protocol.machines.act_rates import ActRates
from protocol.peer_time import Moment, hlc_ms, next_hlc


@dataclass(slots=True)
class Pen:
    """Writes the next acts of one chain, one after the other. `hlc` is the last one given out, `signed` are
    the acts written so far.
    """

    gid: bytes
    author: bytes
    chain: bytes
    seq: int
    prev: bytes | None
    hlc: int
    signed: list[Act] = field(default_factory=list)

    def next_hlc(self, now: Moment) -> int:
        """The time of the next act."""
        self.hlc = next_hlc(now.utc_ms, self.hlc)
        return self.hlc

    def place(self, issuer: Issuer, hlc: int) -> Place:
        """Where the next act stands."""
        return Place(self.gid, self.author, self.chain, self.seq, self.prev, issuer.level, issuer.cred, hlc)

    def note(self, act: Act) -> None:
        """Go on from an act just signed."""
        self.seq, self.prev = self.seq + 1, act.id
        self.signed.append(act)


class Pens:
    """The pens of one command, by author. Nothing is kept before `keep`."""

    def __init__(
        self,
        view: View,
        rng: random.Random,
        now: Moment,
        store: ActSet,
        *,
        rates: ActRates | None = None,
    ) -> None:
        """`rng` draws new chains; `rates` are those of all that is in the view, where not the root signs."""
        self._view = view
        self._rates = rates
        self._rng = rng
        self._now = now
        self._store = store
        self._pens: dict[bytes, Pen] = {}

    def of(self, issuer: Issuer) -> Pen:
        """The pen of whoever signs as `issuer`."""
        author = self._view.gid if issuer.grant is None else issuer.signer.public.pid
        if author not in self._pens:
            self._pens[author] = self._next_in_chain(author)
        return self._pens[author]

    def _next_in_chain(self, author: bytes) -> Pen:
        view = self._view
        last_id = self._store.setting(_setting(author))
        last = None if last_id is None else view.admitted(last_id)
        if last is not None:
            place = last.place
            head = view.head(author, place.chain)
            usable = head is not None and head.id == last.id and view.is_effective(last.id)
            if usable and hlc_ms(place.hlc) < self._now.utc_ms + HLC_AHEAD_MS_MAX:
                return Pen(view.gid, author, place.chain, place.seq + 1, last.id, place.hlc)
        return Pen(view.gid, author, self._rng.randbytes(CHAIN_BYTES), 1, None, 0)

    def keep(self) -> None:
        """Remember the last act of each chain. Raises: RuleError if others would delay what was written."""
        if self._rates is not None:
            self._rates.check_own((act for pen in self._pens.values() for act in pen.signed), self._now)
        for author, pen in self._pens.items():
            self._store.set_setting(_setting(author), pen.prev)


def keep_chain(last: Act, store: ActSet) -> None:
    """Remember a chain that was begun outside of the machine, by its last act: the root's, with genesis."""
    store.set_setting(_setting(last.place.author), last.id)


def is_foreign(act: Act, view: View, store: ActSet) -> bool:
    """Whether an act that came from elsewhere stands on the chain that this store signs for its author:
    somebody else has the key, or this store is an old copy of another.
    """
    last_id = store.setting(_setting(act.place.author))
    last = None if last_id is None else view.admitted(last_id)
    return last is not None and last.place.chain == act.place.chain


def _setting(author: bytes) -> str:
    return f"last/{author[:16].hex()}"
