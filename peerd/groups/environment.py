"""What the daemon lends to the groups: clock, threads, network, entropy. Tests lend others."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from peerd.clock import Clock
from peerd.gossip.checking import Checker
from peerd.gossip.neighbors import DialOut
from peerd.gossip.offload import Offload
from protocol.limits import LISTEN_ADDRESSES_MAX

_EVERYWHERE = ("0.0.0.0:", "[::]:")


@dataclass(slots=True)
class Environment:
    """`draw` gives so many random bytes; `listens` is where this node listens, known once that is bound."""

    clock: Clock
    offload: Offload
    check: Checker
    dial: DialOut
    draw: Callable[[int], bytes]
    listens: tuple[str, ...] = ()
    rng: random.Random = field(init=False)

    def __post_init__(self) -> None:
        """Seed the generator that spreads retries and draws chains."""
        self.rng = random.Random(self.draw(32))  # noqa: S311 - spreads load; no secret is drawn from it

    @property
    def reachable(self) -> tuple[str, ...]:
        """What others are told of `listens`: as many as a message holds, and not "everywhere", which means
        another machine there.
        """
        told = [address for address in self.listens if not address.startswith(_EVERYWHERE)]
        return tuple(told[:LISTEN_ADDRESSES_MAX])
