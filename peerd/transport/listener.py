"""Being called: accept, give a slot, do the TLS handshake, hand the channel over."""

from __future__ import annotations

import errno
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import trio
from trio.abc import HalfCloseableStream, Listener as StreamListener

from peerd.errors import ConfigError, LinkClosed, LinkLost
from peerd.transport.dialer import Secure
from peerd.transport.frames import FrameChannel
from peerd.transport.limits import LISTENERS_MAX, STRANGER_S_MAX
from peerd.transport.network import TCP, Network, join_address, split_address
from peerd.transport.secure import secure_answerer
from peerd.transport.slots import Slot, SlotLimits, Slots
from peerd.transport.tls import answerer_context

log = logging.getLogger(__name__)

Handler = Callable[[FrameChannel, Slot], Awaitable[None]]


class Listener:
    """Everywhere that one daemon listens, with the slots of all who come."""

    def __init__(
        self, *, limits: SlotLimits | None = None, network: Network = TCP, secure: Secure | None = None
    ) -> None:
        """`secure` does the answerer's half of a handshake; by default TLS with a key made now."""
        self.slots = Slots(limits or SlotLimits())
        self._network = network
        self._secure = secure or partial(secure_answerer, answerer_context())
        self._listeners: list[StreamListener[HalfCloseableStream]] = []

    async def bind(self, addresses: Sequence[str]) -> tuple[str, ...]:
        """Listen at each `host:port` and return the addresses taken (with port 0, those the system chose).

        Connections wait in the system's queue until `serve` runs. When one address fails, none is kept.

        Raises: RuleError (not an address), ConfigError (in use, not ours, or too many).
        """
        try:
            for address in addresses:
                self._listeners += await self._listen(address)
            if len(self._listeners) > LISTENERS_MAX:
                raise ConfigError(
                    f"{len(self._listeners)} sockets to listen on, where {LISTENERS_MAX} are allowed"
                )
        except BaseException:
            await self.aclose()
            raise
        return tuple(self._network.address_of(listener) for listener in self._listeners)

    async def serve(
        self, handler: Handler, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Accept until cancelled, each connection in a task of its own; with no address bound, do nothing.

        `handler` gets a channel whose `run` runs already; when it returns, the channel is closed. It has
        until STRANGER_S_MAX after the accept to prove that the other side is a member and to call `promote`:
        then, or when a newcomer needs the slot, it is cancelled. What it raises stops the listener, so it
        deals itself with LinkClosed, LinkLost and RemoteProtocolError.
        """
        task_status.started()
        if not self._listeners:
            await trio.sleep_forever()
        await trio.serve_listeners(partial(self._accept, handler), self._listeners)

    async def aclose(self) -> None:
        """Stop listening, for a listener that is not serving."""
        with trio.CancelScope(shield=True):
            while self._listeners:
                await trio.aclose_forcefully(self._listeners.pop())

    async def _listen(self, address: str) -> Sequence[StreamListener[HalfCloseableStream]]:
        host, port = split_address(address)
        try:
            return await self._network.listen(host, port)
        except UnicodeError as error:  # a name that IDNA cannot encode
            raise ConfigError(f"cannot listen on {address}: no host has such a name") from error
        except OSError as error:
            hint = "run `peerd run --listen HOST:PORT` with an address of this machine and a free port"
            if error.errno == errno.EADDRINUSE:
                hint = "stop the program that listens there, or choose another port with `--listen HOST:PORT`"
            raise ConfigError(f"cannot listen on {address}: {error.strerror or error}", hint=hint) from error

    async def _accept(self, handler: Handler, stream: HalfCloseableStream) -> None:
        try:
            host, port = self._network.caller_of(stream)
        except OSError:  # gone before we looked
            await trio.aclose_forcefully(stream)
            return
        address = join_address(host, port)
        with trio.CancelScope(relative_deadline=STRANGER_S_MAX) as scope:
            slot = self.slots.admit(host, scope)
            try:
                await self._converse(handler, stream, address, slot)
            finally:
                slot.leave()
        if scope.cancelled_caught:
            log.debug(
                "stranger sent away", extra={"address": address, "reason": "too slow, or its slot was needed"}
            )

    async def _converse(
        self, handler: Handler, stream: HalfCloseableStream, address: str, slot: Slot
    ) -> None:
        try:
            connection = await self._secure(stream)
        except (LinkLost, LinkClosed) as error:
            log.debug("no handshake", extra={"address": address, "detail": error.detail})
            return
        channel = FrameChannel(connection, address)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(channel.run)
            try:
                await handler(channel, slot)
            finally:
                channel.close()
