"""Joining by name: ask the addresses that the user gave until one of them holds a credential for us.

A subject that never was a member knows the group's name and where to ask, nothing more. It proves its key to
whoever serves the group there, and gets its own credential or nothing (design section 7, case
"never-member"). It asks again after a second, doubling up to a minute, for as long as the user wants to join.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import trio

from peerd.gossip.fetching import SeekingPort, fetch_from
from peerd.groups.environment import Environment
from protocol.authority.bundle import Bundle
from protocol.authority.removal_proof import RemovalProof
from protocol.credentials.keys import PrivateKey
from protocol.ids import NODE_ID_BYTES
from protocol.limits import PICKUP_POLL_MS_MAX, PICKUP_POLL_MS_MIN


async def fetch_credential(
    authority: bytes,
    own: PrivateKey,
    addresses: Sequence[str],
    environment: Environment,
    told: Callable[[RemovalProof], None],
) -> Bundle:
    """Ask until a credential of ours in the group of this authority (20 bytes) is handed over; `told` learns
    of a proof that our key has been removed from that group, which only a new credential ends.
    """
    node_id = environment.draw(NODE_ID_BYTES)
    delay_ms = PICKUP_POLL_MS_MIN
    while True:
        for address in addresses:
            port = SeekingPort(authority, own, node_id)
            bundle = await fetch_from(
                address,
                port,
                dial=environment.dial,
                clock=environment.clock,
                offload=environment.offload,
            )
            if bundle is not None:
                return bundle
            if port.removal is not None:
                told(port.removal)
        # Up to a quarter more at random, so that many who wait do not ask in step.
        await trio.sleep((delay_ms + environment.rng.randrange(delay_ms // 4 + 1)) / 1000)
        delay_ms = min(PICKUP_POLL_MS_MAX, delay_ms * 2)
