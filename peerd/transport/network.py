"""Where streams come from: TCP, or in tests a network of memory streams behind the same four calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import trio
from trio.abc import HalfCloseableStream, Listener

from protocol.errors import RuleError

PORT_MAX = 65_535


class Network(Protocol):
    """Connects and listens. Failures are OSErrors, as sockets raise them."""

    async def connect(self, host: str, port: int) -> HalfCloseableStream:
        """A stream to whoever listens there."""

    async def listen(self, host: str, port: int) -> Sequence[Listener[HalfCloseableStream]]:
        """Listeners for every address that `host` stands for; port 0 takes a free one."""

    def address_of(self, listener: Listener[HalfCloseableStream]) -> str:
        """Where a listener really listens, as `host:port`."""

    def caller_of(self, stream: HalfCloseableStream) -> tuple[str, int]:
        """Host and port that an accepted stream comes from."""


class TcpNetwork:
    """TCP over IPv4 and IPv6."""

    async def connect(self, host: str, port: int) -> HalfCloseableStream:
        """A stream over the first of the host's addresses that answers (RFC 8305)."""
        return await trio.open_tcp_stream(host, port)

    async def listen(self, host: str, port: int) -> Sequence[Listener[HalfCloseableStream]]:
        """Sockets that listen, one for each address of `host`."""
        return await trio.open_tcp_listeners(port, host=host)

    def address_of(self, listener: Listener[HalfCloseableStream]) -> str:
        """Host and port as the system gave them."""
        assert isinstance(listener, trio.SocketListener)
        name = listener.socket.getsockname()
        return join_address(name[0], name[1])

    def caller_of(self, stream: HalfCloseableStream) -> tuple[str, int]:
        """The other end of the socket. Raises: OSError when it is gone."""
        assert isinstance(stream, trio.SocketStream)
        name = stream.socket.getpeername()
        return name[0], name[1]


TCP = TcpNetwork()


def join_address(host: str, port: int) -> str:
    """`host:port`, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def split_address(address: str) -> tuple[str, int]:
    """The host and port of `host:port`; an IPv6 address stands in brackets.

    Raises: RuleError ("invalid-argument").
    """
    host, colon, digits = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        host = ""
    port_fits = digits.isascii() and digits.isdecimal() and len(digits) <= len(str(PORT_MAX))
    if not (host and colon and port_fits and int(digits) <= PORT_MAX):
        raise RuleError(
            "invalid-argument",
            f"{address!r} is no address of a listener",
            hint="write HOST:PORT, and an IPv6 address in brackets: [2001:db8::1]:3587",
        )
    return host, int(digits)
