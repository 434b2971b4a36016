"""What the daemon lends to the groups: clock, threads, network, entropy. Tests lend others."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from peerd.clock import Clock
from peerd.gossip.neighbors import DialOut
from peerd.gossip.offload import Offload


@dataclass(slots=True)
class Environment:
    """`draw` gives so many random bytes; neighbors are told of `listens`, known once it is bound."""

    clock: Clock
    offload: Offload
    dial: DialOut
    draw: Callable[[int], bytes]
    listens: tuple[str, ...] = ()
    rng: random.Random = field(init=False)

    def __post_init__(self) -> None:
        """Seed the generator that spreads retries and draws chains."""
        self.rng = random.Random(self.draw(32))  # noqa: S311 - spreads load; no secret is drawn from it
