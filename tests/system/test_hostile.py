"""A real daemon among liars, the slow and the many: they get nowhere, members are served all the while."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import pytest

from peerd.clock import pause, steady_s
from protocol.codec import encode
from protocol.limits import FRAME_BYTES_MAX_STRANGER, HANDSHAKE_MS_MAX
from protocol.wire.framing import frame
from protocol.wire.messages import Finish, Hello, KeepAlive, Prove, encode_message
from tests.support.builders import NO_DATA
from tests.system.circle import Circle, circle_of, same_links
from tests.system.durable import fetch, stranger
from tests.system.raw import RawPeer, admitted, call, hello, tcp

pytestmark = [pytest.mark.system, pytest.mark.slow]

SLACK_S = 8  # beyond a deadline, on a busy machine
STRANGERS = 200  # more than a listener has slots for


@pytest.fixture(scope="module")
def circle() -> Iterator[Circle]:
    with circle_of() as made:
        yield made


@pytest.fixture(autouse=True)
def members_are_served_all_the_while(circle: Circle) -> Iterator[None]:
    yield
    circle.still_serves()


@pytest.fixture
def undisturbed(circle: Circle) -> Iterator[None]:
    """The group and its links are the same afterwards."""

    before = circle.alice.group(circle.group)
    yield
    after = circle.alice.group(circle.group)
    assert (after.digest, after.members) == (before.digest, before.members)
    assert same_links(before, after)


# --- bytes that no peer writes --------------------------------------------------------------------------

NESTED = b"\x92\x01" + b"\x91" * 5000 + b"\xc0"
STRANGE_FRAMES: dict[str, Callable[[RawPeer, str], bytes]] = {
    "a frame of no bytes": lambda peer, group: struct.pack(">I", 0),
    "a frame of 4 GiB": lambda peer, group: struct.pack(">I", 2**32 - 1) + b"x" * 1000,
    "a frame one byte too long": lambda peer, group: struct.pack(">I", FRAME_BYTES_MAX_STRANGER + 1),
    "noise": lambda peer, group: frame(bytes(range(256))),
    "deep nesting": lambda peer, group: frame(NESTED),
    "a list said to be long": lambda peer, group: frame(b"\x92\x01\xdd\xff\xff\xff\xff"),
    "a text said to be long": lambda peer, group: frame(b"\x92\x01\xdb\xff\xff\xff\xff"),
    "an extension type": lambda peer, group: frame(b"\x92\x01\xc7\x01\x05\x00"),
    "an unknown message": lambda peer, group: frame(encode([99, {}])),
    "a field too long": lambda peer, group: frame(encode([1, {"versions": [1], "selector": bytes(17)}])),
    "a proof at once": lambda peer, group: frame(encode_message(a_proof())),
    "a member's message": lambda peer, group: frame(encode_message(KeepAlive(0, bytes(16), 0, NO_DATA))),
    "the last message first": lambda peer, group: frame(encode_message(Finish(b""))),
    "hello twice": lambda peer, group: 2 * frame(encode_message(hello(group, peer.exporter))),
    "hello, then noise": lambda peer, group: (
        frame(encode_message(hello(group, peer.exporter))) + frame(b"\xc1" * 60_000)
    ),
}


def a_proof() -> Prove:
    key = stranger(40).key
    return Prove(key.public.raw, bytes(16), key.sign(b""), b"")


@pytest.mark.parametrize("sort", STRANGE_FRAMES)
@pytest.mark.usefixtures("undisturbed")
def test_strange_frames_end_a_strangers_connection_without_a_word(circle: Circle, sort: str) -> None:
    with call(circle.alice.address) as peer:
        peer.say_bytes(STRANGE_FRAMES[sort](peer, circle.group))
        heard = peer.hear_out()
        assert [type(message) for message in heard] == ([Hello] if sort.startswith("hello") else [])


@pytest.mark.usefixtures("undisturbed")
def test_a_frame_that_is_cut_off_is_no_message(circle: Circle) -> None:
    with call(circle.alice.address) as peer:
        peer.say_bytes(frame(encode_message(hello(circle.group, peer.exporter)))[:-3])
    with call(circle.alice.address) as peer:
        peer.say_untidily(b"\x17\x03\x03\x00\x20" + bytes(32))  # a TLS record that does not decrypt
        assert peer.hear_bytes() is None


@pytest.mark.parametrize(
    "noise",
    [
        b"",
        b"\0" * 10,
        b"GET / HTTP/1.1\r\nHost: peerd\r\n\r\n",
        b"\x16\x03\x01\x40\x00" + b"\x01" * 500,
        b"\xff" * 70_000,
    ],
)
@pytest.mark.usefixtures("undisturbed")
def test_whoever_speaks_no_tls_is_dropped(circle: Circle, noise: bytes) -> None:
    with tcp(circle.alice.address) as sock:
        with suppress(OSError):  # it may have been dropped before all was sent
            sock.sendall(noise)
            sock.shutdown(socket.SHUT_WR)
        assert len(until_closed(sock)) < 100  # an alert at most


def until_closed(sock: socket.socket) -> bytes:
    read = b""
    try:
        while part := sock.recv(4096):
            read += part
    except ConnectionResetError:
        pass
    return read


@pytest.mark.parametrize("wish", ["another protocol", "no protocol", "an older TLS"])
@pytest.mark.usefixtures("undisturbed")
def test_tls_that_is_not_peerds_is_refused(circle: Circle, wish: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if wish != "no protocol":
        context.set_alpn_protocols(["h2" if wish == "another protocol" else "peerd/1"])
    if wish == "an older TLS":
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    # In TLS 1.3 the caller's handshake may be over before the refusal arrives.
    with suppress(OSError), context.wrap_socket(tcp(circle.alice.address)) as wrapped:
        assert wrapped.recv(1) == b""


# --- the slow and the many ------------------------------------------------------------------------------


def drip(sock: socket.socket, pieces: Iterator[bytes]) -> None:
    """Send a byte now and then until the other side has enough of it."""
    sock.setblocking(False)
    for piece in pieces:
        try:
            sock.send(piece)
            if sock.recv(65_536) == b"":
                return
        except BlockingIOError:
            pass
        except OSError:
            return
        pause(0.1)


def dripping_tcp(address: str) -> None:
    with tcp(address) as sock:
        drip(sock, iter(lambda: b"\x16", None))


def dripping_frame(address: str) -> None:
    with call(address) as peer:
        peer.say_bytes(struct.pack(">I", 60_000))
        while True:
            try:
                peer.say_bytes(b"x")
                peer._sock.settimeout(0.1)
                if peer.hear_bytes() is None:
                    return
            except TimeoutError:
                pass
            except OSError:
                return


def silent_tcp(address: str) -> None:
    with tcp(address) as sock:
        until_closed(sock)


def silent_tls(address: str) -> None:
    with call(address) as peer:
        assert peer.hear_bytes() is None


def silent_after_hello(circle: Circle, address: str) -> None:
    with call(address) as peer:
        peer.say(hello(circle.group, peer.exporter))
        assert [type(message) for message in peer.hear_out()] == [Hello]


def test_the_slow_are_sent_away_in_time(circle: Circle) -> None:
    ways: list[Callable[[str], None]] = [
        dripping_tcp,
        dripping_frame,
        silent_tcp,
        silent_tls,
        lambda address: silent_after_hello(circle, address),
    ]
    begun = steady_s()
    with ThreadPoolExecutor(len(ways)) as pool:
        waiting = [pool.submit(way, circle.alice.address) for way in ways]
        renewed = circle.issue("alice", "bob", "--store")
        circle.goes_by("bob", renewed)
        digest = circle.alice.group(circle.group)
        for one in waiting:
            one.result(HANDSHAKE_MS_MAX / 1000 + SLACK_S)
    assert steady_s() - begun < HANDSHAKE_MS_MAX / 1000 + SLACK_S
    assert digest.members


def test_many_strangers_keep_nobody_out(circle: Circle) -> None:
    with ExitStack() as stack:
        for _ in range(STRANGERS):
            stack.enter_context(tcp(circle.alice.address))
        subject = admitted(circle, 50)
        assert fetch(circle.alice.address, circle.group, subject.key) is not None
