"""Fetching: ask one address for our own credential in a group of which only the name is known.

There is no machine and no store yet, so this is the handshake alone: whoever answers proves itself by what it
hands over, and the connection ends there. The group that is opened with it makes its own links.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import trio

from peerd.clock import Clock
from peerd.gossip import handshake
from peerd.gossip.neighbors import DialOut, supervised
from peerd.gossip.offload import Offload
from protocol.authority.bundle import Bundle
from protocol.authority.removal_proof import RemovalProof
from protocol.credentials.keys import PrivateKey
from protocol.limits import HANDSHAKE_MS_MAX
from protocol.machines.connect import Finished

log = logging.getLogger(__name__)
T = TypeVar("T")


class SeekingPort:
    """A group of which only the name is known, as the handshake sees it."""

    def __init__(self, authority: bytes, own: PrivateKey, node_id: bytes) -> None:
        """`authority` is the 20 bytes of the group's name, `own` the identity that wants to join."""
        self.authority = authority
        self.node_id = node_id
        self.adopted: Bundle | None = None
        self.removal: RemovalProof | None = None
        self._own = own

    def own_key(self) -> PrivateKey:
        """The identity that wants to join."""
        return self._own

    def own_bundle(self, at_s: int) -> bytes:
        """What was handed over to us, if anything was."""
        return b"" if self.adopted is None else self.adopted.raw

    def is_member(self, pid: bytes, at_s: int) -> bool:
        """Nobody is known."""
        return False

    def bundle_for(self, pid: bytes, at_s: int) -> bytes:
        """Nothing is held for others."""
        return b""

    def accepts(self, bundle: Bundle, at_s: int) -> bool:
        """A bundle counts on its own evidence, for a group whose id begins as the name says."""
        return bundle.gid.startswith(self.authority) and bundle.leaf.window.holds(at_s)

    def removal_proof(self, pid: bytes, shown: Bundle | None) -> bytes:
        """Nobody is known, and nobody's removal."""
        return b""

    def is_removed_by(self, proof: RemovalProof, at_s: int) -> bool:
        """There is nothing that could speak against it."""
        return True

    async def decide(self, question: Callable[[], T]) -> T:
        """There is no state to wait for."""
        await trio.lowlevel.checkpoint()
        return question()

    async def adopt(self, bundle: Bundle) -> None:
        """Remember it; the group's store is made from it before anybody is told."""
        await trio.lowlevel.checkpoint()
        self.adopted = bundle

    async def learn(self, removal: RemovalProof) -> None:
        """Remember it: it says why no credential comes."""
        await trio.lowlevel.checkpoint()
        self.removal = removal


async def fetch_from(
    address: str, port: SeekingPort, *, dial: DialOut, clock: Clock, offload: Offload
) -> Bundle | None:
    """Ask one address; None when there is nothing for us, or nobody, there."""
    channel = await supervised(address, partial(dial, address))
    if channel is None:
        return None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.run)
        try:
            with trio.move_on_after(HANDSHAKE_MS_MAX / 1000):
                end = await supervised(
                    address, partial(handshake.call, channel, port, clock=clock, offload=offload)
                )
                if isinstance(end, Finished):
                    log.debug("no link", extra={"address": address, "reason": end.ending.value})
        finally:
            channel.close()
    return port.adopted
