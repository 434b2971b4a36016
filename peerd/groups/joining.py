"""Joining by name: ask the addresses that the user gave until one of them holds a credential for us.

A subject that never was a member knows the group's name and where to ask, nothing more. It proves its key to
whoever serves the group there, and gets its own credential or nothing (design section 7, case
"never-member"). It asks again after a second, doubling up to a minute, for as long as the user wants to join.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

import trio

from peerd.errors import LinkClosed, LinkLost
from peerd.gossip import handshake
from peerd.groups.environment import Environment
from peerd.transport.frames import FrameChannel
from protocol.authority.bundle import Bundle
from protocol.credentials.keys import PrivateKey
from protocol.errors import RemoteProtocolError
from protocol.limits import HANDSHAKE_MS_MAX, PICKUP_POLL_MS_MAX, PICKUP_POLL_MS_MIN

log = logging.getLogger(__name__)
T = TypeVar("T")


class JoiningPort:
    """A group of which only the name is known, as the handshake sees it."""

    def __init__(self, authority: bytes, own: PrivateKey, node_id: bytes) -> None:
        """`authority` is the 20 bytes of the group's name."""
        self.authority = authority
        self.node_id = node_id
        self.adopted: Bundle | None = None
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

    async def decide(self, question: Callable[[], T]) -> T:
        """There is no state to wait for."""
        await trio.lowlevel.checkpoint()
        return question()

    async def adopt(self, bundle: Bundle) -> None:
        """Remember it; the group's store is made from it before anybody is told."""
        await trio.lowlevel.checkpoint()
        self.adopted = bundle


async def fetch_credential(
    authority: bytes,
    own: PrivateKey,
    node_id: bytes,
    addresses: tuple[str, ...],
    environment: Environment,
    wake: trio.Event,
) -> Bundle:
    """Ask until a credential of ours is handed over. `wake` ends the first wait early."""
    delay_ms = PICKUP_POLL_MS_MIN
    while True:
        for address in addresses:
            bundle = await _ask(address, JoiningPort(authority, own, node_id), environment)
            if bundle is not None:
                return bundle
        with trio.move_on_after((delay_ms + environment.rng.randrange(delay_ms // 4 + 1)) / 1000):
            await wake.wait()
            wake = trio.Event()
        delay_ms = min(PICKUP_POLL_MS_MAX, delay_ms * 2)


async def _ask(address: str, port: JoiningPort, environment: Environment) -> Bundle | None:
    with trio.move_on_after(HANDSHAKE_MS_MAX / 1000):
        try:
            channel = await environment.dial(address)
        except LinkLost as error:
            log.debug("no connection", extra={"address": address, "detail": error.detail})
            return None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(channel.run)
            try:
                await _converse(channel, port, environment)
            finally:
                channel.close()
    return port.adopted


async def _converse(channel: FrameChannel, port: JoiningPort, environment: Environment) -> None:
    try:
        await handshake.call(channel, port, clock=environment.clock, offload=environment.offload)
    except (LinkClosed, LinkLost, RemoteProtocolError) as error:
        log.debug("no credential", extra={"address": channel.address, "detail": error.detail})
