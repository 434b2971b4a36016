"""TLS 1.3 over any trio stream, so that sockets and a test's memory streams carry the same bytes.

OpenSSL reads from one buffer and writes to another; this file moves bytes between them and the stream. After
the handshake the reading side never writes: two ends that both wait for room cannot wait for each other's
answer. What OpenSSL wants to say while reading (the answer to a key update) leaves with the next `send_all`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio
from OpenSSL import SSL
from trio.abc import HalfCloseableStream

from peerd.errors import LinkClosed, LinkLost
from peerd.transport.limits import READ_BYTES, RECORD_BYTES
from peerd.transport.tls import ALPN, caller_context, export_binding


class SecureStream:
    """One TLS connection; one task may read and one may write at a time."""

    __slots__ = ("_connection", "_stream", "exporter")

    exporter: bytes

    def __init__(self, connection: SSL.Connection, stream: HalfCloseableStream) -> None:
        """`connection` has finished its handshake over `stream`."""
        self._connection = connection
        self._stream = stream
        self.exporter = export_binding(connection)

    async def receive_some(self) -> bytes:
        """The content of one record, 1 … RECORD_BYTES bytes; empty once the other side has ended properly.

        Raises: LinkLost (also for an end without goodbye: something may have been cut off), LinkClosed.
        """
        content = self._next_record()
        if content is not None:
            await trio.lowlevel.checkpoint()
        while content is None:
            if not await _fill(self._connection, self._stream):
                raise LinkLost("the connection was cut off without a goodbye")
            content = self._next_record()
        return content

    async def send_all(self, content: bytes) -> None:
        """Send `content`; whoever is interrupted here must not send again.

        Raises: LinkLost, LinkClosed.
        """
        for start in range(0, len(content), RECORD_BYTES):
            piece = content[start : start + RECORD_BYTES]
            try:
                sent = self._connection.send(piece)
            except SSL.Error as error:
                raise LinkLost(f"TLS failed: {_reason(error)}") from error
            assert sent == len(piece)
            await _flush(self._connection, self._stream)

    async def finish(self) -> None:
        """Say that nothing follows, and wait for the other side's end; no other task may be reading.

        The wait is the point: a socket that is closed with unread bytes in it makes the kernel reset the
        connection, which can overtake what was sent last. The caller sets the deadline.

        Raises: LinkLost, LinkClosed.
        """
        try:
            self._connection.shutdown()
        except SSL.Error as error:
            raise LinkLost(f"TLS failed: {_reason(error)}") from error
        await _flush(self._connection, self._stream)
        with _stream_errors():
            await self._stream.send_eof()
            while await self._stream.receive_some(READ_BYTES):
                pass

    async def aclose(self) -> None:
        """Release the stream at once, whatever is in it."""
        await trio.aclose_forcefully(self._stream)

    def _next_record(self) -> bytes | None:
        """As `receive_some` returns it; None when OpenSSL has to read more first."""
        try:
            return self._connection.recv(RECORD_BYTES)
        except SSL.WantReadError:
            return None
        except SSL.ZeroReturnError:
            return b""
        except SSL.Error as error:
            raise LinkLost(f"TLS failed: {_reason(error)}") from error


async def secure_caller(stream: HalfCloseableStream) -> SecureStream:
    """Do the caller's half of a handshake. Raises: LinkLost, with `stream` closed."""
    return await _handshake(SSL.Connection(caller_context(), None), stream, calling=True)


async def secure_answerer(context: SSL.Context, stream: HalfCloseableStream) -> SecureStream:
    """Do the answerer's half, by `answerer_context`. Raises: LinkLost, with `stream` closed."""
    return await _handshake(SSL.Connection(context, None), stream, calling=False)


async def _handshake(
    connection: SSL.Connection, stream: HalfCloseableStream, *, calling: bool
) -> SecureStream:
    if calling:
        connection.set_connect_state()
    else:
        connection.set_accept_state()
    try:
        while not await _advance(connection, stream):
            if not await _fill(connection, stream):
                raise LinkLost("the connection ended before the TLS handshake was complete")
        if connection.get_alpn_proto_negotiated() != ALPN:
            raise LinkLost("the other side speaks TLS, but not peerd's protocol")
        return SecureStream(connection, stream)
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise


async def _advance(connection: SSL.Connection, stream: HalfCloseableStream) -> bool:
    """Go one step, send what it gave, and tell whether the handshake is complete."""
    complete, failure = False, None
    try:
        connection.do_handshake()
        complete = True
    except SSL.WantReadError:
        pass
    except SSL.Error as error:
        failure = error
    await _flush(connection, stream)  # of a failure too: the alert tells the other side why
    if failure is not None:
        raise LinkLost(f"the TLS handshake failed: {_reason(failure)}") from failure
    return complete


async def _flush(connection: SSL.Connection, stream: HalfCloseableStream) -> None:
    """Send all that OpenSSL has written."""
    while True:
        try:
            written = connection.bio_read(READ_BYTES)
        except SSL.WantReadError:
            return
        with _stream_errors():
            await stream.send_all(written)


async def _fill(connection: SSL.Connection, stream: HalfCloseableStream) -> bool:
    """Give OpenSSL more to read; False at the end of the stream."""
    with _stream_errors():
        arrived = await stream.receive_some(READ_BYTES)
    if not arrived:
        return False
    taken = connection.bio_write(bytes(arrived))
    assert taken == len(arrived)
    return True


@contextmanager
def _stream_errors() -> Iterator[None]:
    """Say in our own words whether the world broke the stream or we closed it."""
    try:
        yield
    except trio.BrokenResourceError as error:
        cause = error.__cause__
        why = f": {cause.strerror}" if isinstance(cause, OSError) and cause.strerror else ""
        raise LinkLost(f"the connection broke{why}") from error
    except trio.ClosedResourceError as error:
        raise LinkClosed("the connection was closed here") from error


def _reason(error: SSL.Error) -> str:
    """What OpenSSL complains of, in its words."""
    if isinstance(error, SSL.SysCallError):
        return "the other side ended in the middle"
    if isinstance(error, SSL.ZeroReturnError):
        return "the other side said goodbye in the middle"
    if isinstance(error, SSL.WantReadError):
        return "the other side began a message of TLS's own and did not finish it"
    complaints = error.args[0] if error.args else ()
    return str(complaints[-1][2]) if complaints else type(error).__name__
