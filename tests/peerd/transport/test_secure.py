from __future__ import annotations

import os
import ssl
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, strategies as st
from OpenSSL import SSL
from trio.testing import lockstep_stream_pair, memory_stream_pair, open_stream_to_socket_listener

from peerd.errors import LinkClosed, LinkLost
from peerd.transport import secure
from peerd.transport.secure import SecureStream, secure_answerer, secure_caller
from peerd.transport.tls import anonymous_certificate, answerer_context, caller_context
from tests.peerd.transport.capture import Capture, CapturedStream, split_records
from tests.peerd.transport.streams import ChoppedStream, run_on_mock_clock

ANSWERER = answerer_context()
CLOSE_NOTIFY = bytes.fromhex("15030300020100")  # RFC 8446 6.1, in a record that is not encrypted
HANDSHAKE_RECORD = 22

Pair = tuple[trio.abc.HalfCloseableStream, trio.abc.HalfCloseableStream]


async def secure_pair(
    pair: Callable[[], Pair] = memory_stream_pair, answerer: SSL.Context = ANSWERER
) -> tuple[SecureStream, SecureStream]:
    """Both ends of a new connection: the caller's, the answerer's."""
    near, far = pair()
    made: dict[str, SecureStream] = {}

    async def call() -> None:
        made["caller"] = await secure_caller(near)

    async def answer() -> None:
        made["answerer"] = await secure_answerer(answerer, far)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        nursery.start_soon(answer)
    return made["caller"], made["answerer"]


async def read(stream: SecureStream, count: int) -> bytes:
    content = b""
    while len(content) < count:
        content += await stream.receive_some()
    return content


def client_hello() -> bytes:
    connection = SSL.Connection(caller_context(), None)
    connection.set_connect_state()
    with pytest.raises(SSL.WantReadError):
        connection.do_handshake()
    return connection.bio_read(65_536)


async def answer_to(first_bytes: bytes) -> tuple[LinkLost, bytes]:
    """Let a listener be called by `first_bytes` and then an end: its complaint, and what it sent back."""
    near, far = memory_stream_pair()
    await near.send_all(first_bytes)
    await near.send_eof()
    with pytest.raises(LinkLost) as caught:
        await secure_answerer(ANSWERER, far)
    answer = b""
    while piece := bytes(await near.receive_some()):
        answer += piece
    return caught.value, answer


async def test_both_ends_have_the_same_exporter_and_each_connection_another():
    caller, answerer = await secure_pair()
    assert caller.exporter == answerer.exporter
    assert len(caller.exporter) == 32
    another, _ = await secure_pair()
    assert another.exporter != caller.exporter


async def test_bytes_arrive_as_they_were_sent_both_ways():
    caller, answerer = await secure_pair()
    up, down = os.urandom(100_000), os.urandom(70_000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(caller.send_all, up)
        nursery.start_soon(answerer.send_all, down)
        assert await read(answerer, len(up)) == up
        assert await read(caller, len(down)) == down


async def test_two_ends_that_write_without_room_do_not_wait_for_each_other(autojump_clock):
    near, far = lockstep_stream_pair()
    content = os.urandom(300_000)
    received = []

    async def talk(half: Callable[[], Awaitable[SecureStream]]) -> None:
        stream = await half()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, content)
            received.append(await read(stream, len(content)))

    with trio.fail_after(1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk, partial(secure_caller, near))
            nursery.start_soon(talk, partial(secure_answerer, ANSWERER, far))
    assert received == [content, content]


@pytest.mark.parametrize("sizes", [[1], [1, 2, 3], [4096]])
async def test_bytes_may_come_in_any_pieces(sizes):
    near, far = memory_stream_pair()
    caller, answerer = await secure_pair(lambda: (ChoppedStream(near, sizes), ChoppedStream(far, sizes)))
    assert caller.exporter == answerer.exporter
    await caller.send_all(b"hello")
    assert await read(answerer, 5) == b"hello"


@given(cuts=st.lists(st.integers(1, 200), min_size=1, max_size=6))
def test_a_client_hello_may_be_spread_over_many_records(cuts):
    async def scenario() -> None:
        hello = client_hello()
        body, pieces = hello[5:], []
        for cut in cuts:
            pieces.append(body[:cut])
            body = body[cut:]
        spread = b"".join(
            bytes([HANDSHAKE_RECORD]) + hello[1:3] + len(piece).to_bytes(2, "big") + piece
            for piece in [*pieces, body]
            if piece
        )
        complaint, answer = await answer_to(spread)
        assert "ended before" in complaint.detail
        assert split_records(answer)[0][0] == HANDSHAKE_RECORD

    run_on_mock_clock(scenario)


@given(share=st.floats(0, 1, exclude_max=True))
def test_a_handshake_cut_short_is_a_lost_link(share):
    async def scenario() -> None:
        hello = client_hello()
        complaint, _ = await answer_to(hello[: int(len(hello) * share)])
        assert complaint.code == "link-lost"

    run_on_mock_clock(scenario)


@given(noise=st.binary(min_size=1, max_size=600))
def test_noise_instead_of_a_handshake_is_a_lost_link(noise):
    async def scenario() -> None:
        await answer_to(noise)

    run_on_mock_clock(scenario)


@given(at=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_a_damaged_client_hello_is_a_lost_link(at, flip):
    async def scenario() -> None:
        hello = bytearray(client_hello())
        hello[at % len(hello)] ^= flip
        await answer_to(bytes(hello))

    run_on_mock_clock(scenario)


async def test_another_protocol_is_refused_with_a_reason():
    complaint, _ = await answer_to(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert "http request" in complaint.detail


async def test_a_goodbye_in_place_of_a_handshake_ends_it():
    complaint, _ = await answer_to(CLOSE_NOTIFY)
    assert complaint.code == "link-lost"


async def test_a_goodbye_in_the_middle_of_a_handshake_ends_it():
    complaint, _ = await answer_to(client_hello() + CLOSE_NOTIFY)
    assert complaint.code == "link-lost"


async def test_a_goodbye_in_the_middle_of_the_answer_ends_the_call():
    near, far = memory_stream_pair()
    await far.send_all(CLOSE_NOTIFY)
    with trio.fail_after(5), pytest.raises(LinkLost):
        await secure_caller(near)


async def test_bytes_in_front_of_a_handshake_never_count_as_content():
    content = bytes.fromhex("1703030005") + b"hello"
    complaint, _ = await answer_to(content + client_hello())
    assert "unexpected" in complaint.detail


async def test_a_listener_that_does_not_name_our_protocol_is_not_talked_to():
    key = Ed25519PrivateKey.generate()
    foreign = SSL.Context(SSL.TLS_SERVER_METHOD)
    foreign.use_privatekey(key)
    foreign.use_certificate(anonymous_certificate(key))
    near, far = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(expect_lost, partial(secure_answerer, foreign, far))
        with pytest.raises(LinkLost, match="not peerd's protocol"):
            await secure_caller(near)


def standard_caller(near: trio.abc.Stream, *protocols: str) -> trio.SSLStream:
    """A caller on the standard library's TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return trio.SSLStream(near, context)


@pytest.mark.parametrize("protocols", [[], ["http/1.1", "h2"]])
async def test_a_caller_that_does_not_name_our_protocol_is_refused(protocols):
    near, far = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(standard_caller(near, *protocols).do_handshake)
        with pytest.raises(LinkLost, match="not peerd's protocol"):
            await secure_answerer(ANSWERER, far)


async def test_another_implementation_of_tls_gets_through():
    near, far = memory_stream_pair()
    caller = standard_caller(near, "peerd/1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(caller.send_all, b"hello")
        answerer = await secure_answerer(ANSWERER, far)
        assert await read(answerer, 5) == b"hello"


async def expect_lost(half: Callable[[], Awaitable[SecureStream]]) -> None:
    with pytest.raises(LinkLost):
        await half()


async def test_a_goodbye_reads_as_the_end_and_a_cut_as_a_loss():
    caller, answerer = await secure_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(caller.finish)
        assert await answerer.receive_some() == b""
        assert await answerer.receive_some() == b""
        await answerer.aclose()
    caller, answerer = await secure_pair()
    await caller.aclose()
    with pytest.raises(LinkLost, match="without a goodbye"):
        await answerer.receive_some()


async def test_what_was_sent_before_the_goodbye_is_read_first():
    caller, answerer = await secure_pair()
    await caller.send_all(b"last words")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(caller.finish)
        assert await read(answerer, 10) == b"last words"
        assert await answerer.receive_some() == b""
        await answerer.aclose()


async def test_finish_ignores_what_the_other_side_still_says():
    caller, answerer = await secure_pair()
    await answerer.send_all(b"x" * 50_000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(caller.finish)
        await answerer.finish()


async def test_finish_returns_when_the_other_side_has_ended_and_not_before():
    caller, answerer = await secure_pair()
    finished = trio.Event()

    async def finish() -> None:
        await caller.finish()
        finished.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(finish)
        await trio.testing.wait_all_tasks_blocked()
        assert not finished.is_set()
        await answerer.aclose()
    assert finished.is_set()


@given(at=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_a_damaged_record_is_a_lost_link(at, flip):
    async def scenario() -> None:
        near, far = memory_stream_pair()
        captured = CapturedStream(near)
        caller, answerer = await secure_pair(lambda: (captured, far))
        with pytest.raises(SSL.WantReadError):  # take in what follows the handshake
            caller._connection.recv(1)
        before = len(captured.capture.all_bytes("sent"))
        thief, target = memory_stream_pair()
        await caller.send_all(b"content" * 10)
        record = bytearray(captured.capture.all_bytes("sent")[before:])
        record[at % len(record)] ^= flip
        await thief.send_all(record)
        await thief.send_eof()
        answerer._stream = target
        with pytest.raises(LinkLost):
            await answerer.receive_some()

    run_on_mock_clock(scenario)


async def test_a_record_that_comes_twice_is_a_lost_link():
    near, far = memory_stream_pair()
    captured = CapturedStream(near)
    caller, answerer = await secure_pair(lambda: (captured, far))
    before = len(captured.capture.all_bytes("sent"))
    await caller.send_all(b"once")
    await near.send_all(captured.capture.all_bytes("sent")[before:])
    assert await read(answerer, 4) == b"once"
    with pytest.raises(LinkLost):
        await answerer.receive_some()


async def test_the_caller_learns_from_an_alert_why_it_was_refused(monkeypatch):
    old = SSL.Context(SSL.TLS_CLIENT_METHOD)
    old.set_max_proto_version(SSL.TLS1_2_VERSION)
    monkeypatch.setattr(secure, "caller_context", lambda: old)
    near, far = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(expect_lost, partial(secure_answerer, ANSWERER, far))
        with pytest.raises(LinkLost, match="protocol version"):
            await secure_caller(near)


async def test_a_handshake_that_is_cancelled_lets_go_of_its_stream(autojump_clock):
    near, far = memory_stream_pair()
    with trio.move_on_after(1):
        await secure_answerer(ANSWERER, far)
    assert bytes(await near.receive_some()) == b""


async def test_every_stranger_is_shown_the_same_shape():
    captures = [await capture_a_call() for _ in range(5)]
    assert len({tuple(capture.records("received")) for capture in captures}) == 1
    assert len({tuple(capture.turns()) for capture in captures}) == 1


async def capture_a_call() -> Capture:
    near, far = memory_stream_pair()
    captured = CapturedStream(near)
    caller, _answerer = await secure_pair(lambda: (captured, far))
    with trio.move_on_after(0):
        await caller.receive_some()
    return captured.capture


async def test_it_works_over_sockets_of_this_machine():
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    made = trio.Event()
    answered: list[SecureStream] = []

    async def answer(stream: trio.SocketStream) -> None:
        answered.append(await secure_answerer(ANSWERER, stream))
        made.set()
        await answered[0].send_all(b"y" * 300_000)
        await answered[0].finish()
        await answered[0].aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, answer, listeners)
        stream = await open_stream_to_socket_listener(listeners[0])
        caller = await secure_caller(stream)
        await made.wait()
        assert caller.exporter == answered[0].exporter
        assert await read(caller, 300_000) == b"y" * 300_000
        assert await caller.receive_some() == b""
        await caller.aclose()
        nursery.cancel_scope.cancel()


async def test_reading_from_a_released_stream_is_ours_to_blame():
    caller, _answerer = await secure_pair()
    await caller.aclose()
    with pytest.raises(LinkClosed):
        await caller.receive_some()
    with pytest.raises(LinkClosed):
        await caller.send_all(b"x")
