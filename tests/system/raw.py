"""A peer that says whatever a test wants, over real TLS to a real daemon, and notes what crosses the wire."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from OpenSSL import SSL

from peerd.clock import Clock
from peerd.gossip.fetching import SeekingPort
from peerd.transport.network import split_address
from peerd.transport.tls import answerer_context, caller_context, export_binding
from protocol.credentials.keys import PrivateKey, all_hold
from protocol.limits import FRAME_BYTES_MAX_MEMBER
from protocol.machines.connect import AdoptOwn, Caller, Established, Finished, LearnOwn, SendHandshake
from protocol.machines.proofs import Direction, selector
from protocol.peer_time import Moment
from protocol.wire.framing import FrameReader, frame
from protocol.wire.messages import Hello, Message, decode_untrusted_message, encode_message
from tests.system.circle import Circle
from tests.system.durable import Stranger, stranger

PATIENCE_S = 20
READ_BYTES = 65_536


class RawPeer:
    """One TLS connection; `capture` is what crossed the wire, in turns: ("out" or "in", bytes)."""

    def __init__(self, sock: socket.socket, context: SSL.Context, *, calling: bool) -> None:
        self.capture: list[tuple[str, int]] = []
        self._sock = sock
        self._sock.settimeout(PATIENCE_S)
        self._tls = SSL.Connection(context, None)
        self._frames: deque[bytes] = deque()
        self._reader = FrameReader(FRAME_BYTES_MAX_MEMBER)
        (self._tls.set_connect_state if calling else self._tls.set_accept_state)()
        while not self._handshake_done():
            assert self._read(), "the connection ended in the TLS handshake"
        self.exporter = export_binding(self._tls)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sock.close()

    # --- speaking ---------------------------------------------------------------------------------------

    def say(self, message: Message) -> None:
        """One message in a frame."""
        self.say_bytes(frame(encode_message(message)))

    def say_bytes(self, data: bytes) -> None:
        """Any bytes, inside TLS."""
        self._tls.sendall(data)
        self._flush()

    def say_untidily(self, data: bytes) -> None:
        """Any bytes, beside TLS."""
        self._note("out", len(data))
        self._sock.sendall(data)

    def hear_bytes(self) -> bytes | None:
        """The payload of the next frame; None when the other side has ended."""
        while not self._frames:
            try:
                self._frames.extend(self._reader.feed(self._tls.recv(READ_BYTES)))
            except SSL.WantReadError:
                if not self._read():
                    return None
            except (SSL.ZeroReturnError, SSL.SysCallError):
                return None
        return self._frames.popleft()

    def hear(self) -> Message:
        """The next message, which must come."""
        payload = self.hear_bytes()
        assert payload is not None, "the other side has ended"
        return decode_untrusted_message(payload, bytes_max=FRAME_BYTES_MAX_MEMBER)

    def hear_out(self) -> list[Message]:
        """All messages up to the end, which must come."""
        return list(iter_until_end(self))

    # --- the wire ---------------------------------------------------------------------------------------

    def _handshake_done(self) -> bool:
        try:
            self._tls.do_handshake()
        except SSL.WantReadError:
            return False
        finally:
            self._flush()
        return True

    def _flush(self) -> None:
        while True:
            try:
                written = self._tls.bio_read(READ_BYTES)
            except SSL.WantReadError:
                return
            self._note("out", len(written))
            self._sock.sendall(written)

    def _read(self) -> bool:
        try:
            arrived = self._sock.recv(READ_BYTES)
        except ConnectionResetError:
            arrived = b""
        if arrived:
            self._note("in", len(arrived))
            self._tls.bio_write(arrived)
        return bool(arrived)

    def _note(self, direction: str, size: int) -> None:
        if self.capture and self.capture[-1][0] == direction:
            size += self.capture.pop()[1]
        self.capture.append((direction, size))


def iter_until_end(peer: RawPeer) -> Iterator[Message]:
    """The messages that come until the other side ends."""
    while (payload := peer.hear_bytes()) is not None:
        yield decode_untrusted_message(payload, bytes_max=FRAME_BYTES_MAX_MEMBER)


def tcp(address: str) -> socket.socket:
    """A plain connection to a listener."""
    return socket.create_connection(split_address(address), PATIENCE_S)


def call(address: str) -> RawPeer:
    """A TLS connection to a listener."""
    return RawPeer(tcp(address), caller_context(), calling=True)


def answer(listener: socket.socket) -> RawPeer:
    """Wait for somebody who calls a listener of ours, and do the TLS handshake."""
    sock, _ = listener.accept()
    return RawPeer(sock, answerer_context(), calling=False)


def hello(group: str, exporter: bytes, direction: Direction = Direction.CALLER) -> Hello:
    """The Hello of one who knows a group's name."""
    return Hello((1,), selector(authority_of(group), direction, exporter))


def authority_of(group: str) -> bytes:
    """The 20 bytes at the beginning of a group's name."""
    return bytes.fromhex(group.partition(".")[0])


def now() -> Moment:
    """This moment; the handshake has no deadline of its own."""
    return Moment(0, Clock().utc_ms())


@contextmanager
def member(address: str, group: str, key: PrivateKey) -> Iterator[RawPeer]:
    """A link of a subject whose stored credential waits for it, from its first Open on."""
    port = SeekingPort(authority_of(group), key, key.seed[:16])
    with call(address) as peer:
        caller = Caller(port, peer.exporter)
        outputs = caller.start()
        while True:
            for output in outputs:
                match output:
                    case SendHandshake(payload):
                        peer.say_bytes(frame(payload))
                    case AdoptOwn(bundle):
                        port.adopted = bundle
                    case Established():
                        yield peer
                        return
                    case LearnOwn():
                        raise AssertionError("no link: it says that this key has been removed")
                    case Finished(ending):
                        raise AssertionError(f"no link: {ending}")
            heard = peer.hear_bytes()
            assert heard is not None, "the other side has ended"
            arrival = caller.read(heard)
            outputs = caller.receive(arrival, now(), verified=all_hold(arrival.checks))


def admitted(circle: Circle, *number: int, valid_s: int | None = None) -> Stranger:
    """A subject without a daemon, whose stored credential is with alice."""
    subject = stranger(*number)
    circle.alice.issue(circle.group, document=subject.document, store=True, valid_s=valid_s)
    return subject
