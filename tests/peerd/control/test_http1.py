"""One connection, message by message: every state has its bound, and nothing that a client does breaks it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import pytest
import trio
from hypothesis import given, strategies as st
from trio.testing import memory_stream_pair

from peerd.control.http1 import Answer, HttpConnection, HttpRequest, StopSignal, Streaming
from peerd.control.limits import (
    BODY_BYTES_MAX,
    BODY_S_MAX,
    HEADER_BYTES_MAX,
    HEADER_S_MAX,
    IDLE_S_MAX,
    LINGER_BYTES_MAX,
    LINGER_S_MAX,
    RECEIVE_BYTES,
    SEND_S_MAX,
)
from peerd.errors import BadRequest

Send = Callable[[bytes], Awaitable[None]]


class Echo:
    """Answers with what was asked; `/stream` answers with parts until it is cut."""

    def __init__(self, stop: StopSignal) -> None:
        self.stop = stop
        self.requests: list[HttpRequest] = []
        self.streams_ended = 0
        self.largest_part = 0

    async def __call__(self, request: HttpRequest) -> Answer | Streaming:
        self.requests.append(request)
        await trio.lowlevel.checkpoint()
        if request.target == "/stream":
            return Streaming("text/event-stream", self._run)
        if request.upload is not None:
            return await self._take(request)
        return Answer(200, "text/plain", f"{request.method} {request.target} ".encode() + request.body)

    async def _take(self, request: HttpRequest) -> Answer:
        """Count an upload; `/upload/refused` is refused after its first part."""
        assert request.upload is not None
        assert request.body == b""
        length = 0
        try:
            while part := await request.upload():
                length += len(part)
                self.largest_part = max(self.largest_part, len(part))
                if request.target == "/upload/refused":
                    return Answer(422, "text/plain", b"refused")
            assert await request.upload() == b""
        except BadRequest as error:
            return refusal(error)
        return Answer(200, "text/plain", b"took %d" % length)

    async def _run(self, send: Send) -> None:
        try:
            await send(b"one\n")
            with self.stop.cuts():
                await trio.sleep_forever()
            await send(b"bye\n")
        finally:
            self.streams_ended += 1


def refusal(error: BadRequest) -> Answer:
    return Answer(400, "application/problem+json", error.code.encode())


def is_upload(method: str, target: str) -> bool:
    return method == "POST" and target.startswith("/upload")


class Line:
    """A connection with its server at the other end."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.stop = StopSignal()
        self.app = Echo(self.stop)
        self.client, server = memory_stream_pair()
        self.connection = HttpConnection(server, self.app, refusal, self.stop, is_upload)
        self.ended = trio.Event()
        nursery.start_soon(self._serve)

    async def _serve(self) -> None:
        await self.connection.serve()
        self.ended.set()

    async def send(self, data: bytes) -> None:
        await self.client.send_all(data)

    async def read_to_end(self) -> bytes:
        parts = bytearray()
        while part := await self.client.receive_some():
            parts += part
        return bytes(parts)

    async def read_until(self, mark: bytes) -> bytes:
        parts = bytearray()
        while mark not in parts:
            part = await self.client.receive_some()
            assert part, bytes(parts)
            parts += part
        return bytes(parts)

    async def exchange(self, data: bytes) -> bytes:
        await self.send(data)
        await self.client.send_eof()
        return await self.read_to_end()


@pytest.fixture
def line(nursery):
    return Line(nursery)


GET = b"GET /a HTTP/1.1\r\nHost: peerd\r\n\r\n"
STREAM = b"GET /stream HTTP/1.1\r\nHost: peerd\r\n\r\n"


async def test_requests_follow_each_other_on_one_connection(line):
    for _ in range(3):
        await line.send(GET)
        answer = await line.read_until(b"GET /a ")
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"no-store" in answer
    await line.client.aclose()
    await line.ended.wait()


async def test_requests_sent_at_once_are_answered_in_order(line):
    pipelined = b"".join(b"GET /%d HTTP/1.1\r\nHost: peerd\r\n\r\n" % number for number in range(20))
    answer = await line.exchange(pipelined)
    positions = [answer.index(b"GET /%d " % number) for number in range(20)]
    assert positions == sorted(positions)


async def test_a_body_is_read_whole_however_it_comes(line):
    await line.send(b"POST /b HTTP/1.1\r\nHost: peerd\r\nContent-Length: 5\r\n\r\n")
    for byte in b"hello":
        await line.send(bytes([byte]))
    assert b"POST /b hello" in await line.read_until(b"hello")
    await line.send(b"POST /c HTTP/1.1\r\nHost: peerd\r\nTransfer-Encoding: chunked\r\n\r\n")
    await line.send(b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n")
    assert b"POST /c hello" in await line.read_until(b"hello")


async def test_a_body_is_asked_for_when_the_client_waits_for_that(line):
    await line.send(b"POST /b HTTP/1.1\r\nHost: p\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    assert await line.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    await line.send(b"hi")
    assert b"POST /b hi" in await line.read_until(b"hi")


async def test_a_body_too_large_is_refused_before_it_is_sent(line):
    head = f"POST /b HTTP/1.1\r\nHost: p\r\nContent-Length: {BODY_BYTES_MAX + 1}\r\n"
    await line.send(head.encode() + b"Expect: 100-continue\r\n\r\n")
    answer = await line.read_to_end()
    assert answer.startswith(b"HTTP/1.1 400")
    assert answer.endswith(b"request-too-large")
    assert b"connection: close" in answer.lower()
    assert line.app.requests == []


async def test_a_body_of_the_largest_size_is_taken_and_one_byte_more_is_not(line, nursery):
    for length, end in ((BODY_BYTES_MAX, b"x"), (BODY_BYTES_MAX + 1, b"request-too-large")):
        other = Line(nursery)
        answer = bytearray()

        async def read(line=other, answer=answer) -> None:
            answer += await line.read_to_end()

        async with trio.open_nursery() as both:
            both.start_soon(read)
            await other.send(b"POST /b HTTP/1.1\r\nHost: p\r\nTransfer-Encoding: chunked\r\n\r\n")
            await other.send(b"%x\r\n%s\r\n0\r\n\r\n" % (length, b"x" * length))
            await other.client.send_eof()
        assert answer.endswith(end)


async def test_a_head_request_has_the_head_of_the_answer_only(line):
    answer = await line.exchange(GET.replace(b"GET", b"HEAD"))
    assert b"HEAD" not in answer
    assert b"content-length: 8" in answer.lower()


async def test_a_refused_head_request_has_no_body_either(line):
    head = f"HEAD / HTTP/1.1\r\nHost: p\r\nContent-Length: {BODY_BYTES_MAX + 1}\r\n\r\n".encode()
    assert (await line.exchange(head)).endswith(b"\r\n\r\n")


async def test_the_oldest_dialect_is_served(line):
    answer = await line.exchange(b"GET /a HTTP/1.0\r\n\r\n")
    assert answer.endswith(b"GET /a ")


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: p\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: p\r\nHost: q\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : p\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: p\r\nA\x00: b\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: p\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: p\r\n\r\n",
        b"G\xc3\xa4T / HTTP/1.1\r\nHost: p\r\n\r\n",
        b" GET / HTTP/1.1\r\nHost: p\r\n\r\n",
        b"GET / HTTP/1.1\r\n folded: x\r\nHost: p\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: p\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: p\r\nContent-Length: 1, 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: p\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: p\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: p\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: p\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST / HTTP/1.1\r\nHost: p\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffffffffff\r\n",
        b"POST / HTTP/1.1\r\nHost: p\r\nContent-Length: 10\r\n\r\nabc",
        b"GET / HTTP/1.1\r\nHost: p",
    ],
)
async def test_what_is_no_request_is_refused_and_the_connection_closed(line, autojump_clock, sent):
    answer = await line.exchange(sent)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"connection: close" in answer.lower()
    await line.ended.wait()
    assert line.app.requests == []


async def test_headers_without_end_are_refused(line):
    await line.send(b"GET / HTTP/1.1\r\nA: " + b"x" * (2 * HEADER_BYTES_MAX))
    assert (await line.read_to_end()).endswith(b"headers-too-large")


async def test_long_headers_that_come_whole_are_refused_too(line):
    await line.send(b"GET / HTTP/1.1\r\nHost: p\r\nA: " + b"x" * HEADER_BYTES_MAX + b"\r\n\r\n")
    assert (await line.read_to_end()).endswith(b"headers-too-large")


async def test_nothing_at_all_is_no_fault(line):
    assert await line.exchange(b"") == b""


async def test_an_error_after_a_good_request_leaves_its_answer_whole(line):
    answer = await line.exchange(GET + b"nonsense\r\n\r\n")
    assert answer.count(b"HTTP/1.1") == 2
    assert b"GET /a " in answer
    assert answer.endswith(b"invalid-request")


@given(
    st.lists(st.sampled_from([GET, STREAM, b"\r\n", b"POST / HTTP/1.1\r\n", b"x"]) | st.binary(max_size=40))
)
def test_no_bytes_break_a_connection_or_hold_it(parts):
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            line = Line(nursery)
            answer = await line.exchange(b"".join(parts))
            assert b"HTTP/1.1 5" not in answer
            await line.ended.wait()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


# --- deadlines ----------------------------------------------------------------------------------------------


async def ends_after(line: Line, seconds: float) -> None:
    start = trio.current_time()
    await line.ended.wait()
    assert trio.current_time() - start == pytest.approx(seconds)


async def test_an_idle_connection_ends_without_a_word(line, autojump_clock):
    await ends_after(line, IDLE_S_MAX)
    assert await line.read_to_end() == b""


async def test_the_time_of_idleness_begins_anew_with_each_request(line, autojump_clock):
    await trio.sleep(IDLE_S_MAX - 1)
    await line.send(GET)
    await line.read_until(b"GET /a ")
    await ends_after(line, IDLE_S_MAX)


async def test_headers_that_do_not_come_to_an_end_are_refused_in_time(line, autojump_clock):
    await line.send(b"GET / HT")
    assert (await line.read_until(b"timed-out")).startswith(b"HTTP/1.1 400")
    assert trio.current_time() == pytest.approx(HEADER_S_MAX, abs=1)
    await ends_after(line, LINGER_S_MAX)


async def test_headers_that_drip_are_refused_in_time(line, autojump_clock):
    with suppress(trio.BrokenResourceError):
        for byte in GET[:-1] * 2:
            await line.send(bytes([byte]))
            await trio.sleep(1)
    await line.ended.wait()
    assert trio.current_time() <= HEADER_S_MAX + LINGER_S_MAX + 2


async def test_a_body_that_does_not_come_is_refused_in_time(line, autojump_clock):
    start = trio.current_time()
    await line.send(b"POST / HTTP/1.1\r\nHost: p\r\nContent-Length: 5\r\n\r\nabc")
    assert (await line.read_until(b"timed-out")).startswith(b"HTTP/1.1 400")
    assert trio.current_time() - start == pytest.approx(BODY_S_MAX)


async def test_a_client_that_does_not_read_is_let_go(nursery, autojump_clock):
    stop = StopSignal()
    client, server = trio.testing.lockstep_stream_pair()
    connection = HttpConnection(server, Echo(stop), refusal, stop)
    ended = trio.Event()

    async def serve() -> None:
        await connection.serve()
        ended.set()

    nursery.start_soon(serve)
    await client.send_all(GET)
    start = trio.current_time()
    await ended.wait()
    assert trio.current_time() - start == pytest.approx(SEND_S_MAX)


async def test_lingering_has_an_end_in_bytes(line, autojump_clock):
    await line.send(b"nonsense\r\n\r\n")
    sent = 0
    while not line.ended.is_set():
        with suppress(trio.BrokenResourceError):
            await line.send(b"x" * 65536)
        await trio.testing.wait_all_tasks_blocked()
        sent += 65536
    assert LINGER_BYTES_MAX <= sent <= LINGER_BYTES_MAX + 2 * 65536


# --- streams and the stop -----------------------------------------------------------------------------------


async def test_a_stream_ends_with_the_stop_and_is_complete(line, autojump_clock):
    await line.send(STREAM)
    await line.read_until(b"one\n")
    line.stop.request()
    rest = await line.read_to_end()
    assert rest == b"4\r\nbye\n\r\n0\r\n\r\n"


async def test_a_stream_ends_at_once_when_its_reader_goes(line, autojump_clock):
    await line.send(STREAM)
    await line.read_until(b"one\n")
    start = trio.current_time()
    await line.client.aclose()
    await line.ended.wait()
    assert (line.app.streams_ended, trio.current_time()) == (1, start)


async def test_what_is_sent_during_a_stream_is_ignored(line, autojump_clock):
    await line.send(STREAM)
    await line.read_until(b"one\n")
    await line.send(GET)
    line.stop.request()
    assert b"GET" not in await line.read_to_end()
    assert len(line.app.requests) == 1


async def test_an_idle_connection_ends_at_once_with_the_stop(line, autojump_clock):
    await line.send(GET)
    await line.read_until(b"GET /a ")
    start = trio.current_time()
    line.stop.request()
    await line.ended.wait()
    assert trio.current_time() == start


async def test_a_request_under_way_is_answered_after_the_stop(line, autojump_clock):
    await line.send(b"POST /b HTTP/1.1\r\nHost: p\r\nContent-Length: 2\r\n\r\n")
    await trio.testing.wait_all_tasks_blocked()
    line.stop.request()
    await line.send(b"hi")
    answer = await line.read_to_end()
    assert answer.endswith(b"POST /b hi")
    assert b"connection: close" in answer.lower()


async def test_a_stop_before_the_wait_cuts_it_too(autojump_clock):
    stop = StopSignal()
    stop.request()
    stop.request()
    with stop.cuts():
        await trio.sleep_forever()
    assert stop.requested


async def test_only_the_stop_cuts(autojump_clock):
    stop = StopSignal()
    with trio.move_on_after(5) as scope, stop.cuts():
        await trio.sleep_forever()
    assert scope.cancelled_caught
    assert not stop.requested


async def test_a_refusal_without_a_request_is_an_answer(nursery, autojump_clock):
    stop = StopSignal()
    client, server = memory_stream_pair()
    connection = HttpConnection(server, Echo(stop), refusal, stop)
    nursery.start_soon(partial(connection.refuse, BadRequest("full", code="too-many-connections")))
    await client.send_all(GET)
    await client.send_eof()
    received = bytearray()
    while part := await client.receive_some():
        received += part
    assert received.endswith(b"too-many-connections")


def test_a_header_given_twice_is_one_list():
    request = HttpRequest("GET", "/", (("accept", "a"), ("host", "p"), ("accept", "b")), b"")
    assert request.header("accept") == "a, b"
    assert request.header("origin") == ""


# --- uploads ------------------------------------------------------------------------------------------------

UPLOAD = b"POST /upload HTTP/1.1\r\nHost: peerd\r\nTransfer-Encoding: chunked\r\n\r\n"


async def test_an_upload_larger_than_any_body_is_taken_part_by_part(line, nursery):
    chunk = b"%x\r\n" % RECEIVE_BYTES + b"x" * RECEIVE_BYTES + b"\r\n"
    count = 3 * BODY_BYTES_MAX // RECEIVE_BYTES

    async def send() -> None:
        await line.send(UPLOAD)
        for _ in range(count):
            await line.send(chunk)
        await line.send(b"0\r\n\r\n" + GET)

    nursery.start_soon(send)
    answer = await line.read_until(b"GET /a ")
    assert b"took %d" % (count * RECEIVE_BYTES) in answer
    assert line.app.largest_part <= 2 * RECEIVE_BYTES


@pytest.mark.parametrize("length", [0, 1, 100_000])
async def test_an_upload_of_known_length_is_taken_and_the_next_request_is_served(line, nursery, length):
    head = b"POST /upload HTTP/1.1\r\nHost: peerd\r\nContent-Length: %d\r\n\r\n" % length
    nursery.start_soon(line.send, head + b"x" * length + GET)
    assert b"took %d" % length in await line.read_until(b"GET /a ")


async def test_an_upload_that_waits_to_be_asked_is_asked_when_it_is_taken(line):
    await line.send(UPLOAD.replace(b"Host", b"Expect: 100-continue\r\nHost"))
    assert (await line.read_until(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
    await line.send(b"1\r\nx\r\n0\r\n\r\n")
    assert (await line.read_until(b"took 1")).startswith(b"HTTP/1.1 200")


async def test_an_upload_that_is_refused_half_way_is_told_so_and_the_connection_closes(line, nursery):
    refused = UPLOAD.replace(b"/upload", b"/upload/refused")

    async def send() -> None:
        await line.send(refused)
        for _ in range(8):
            with suppress(trio.BrokenResourceError):
                await line.send(b"3\r\nabc\r\n")
        await line.client.send_eof()

    nursery.start_soon(send)
    answer = await line.read_to_end()
    assert answer.startswith(b"HTTP/1.1 422")
    assert b"Connection: close" in answer


@pytest.mark.parametrize("rest", [b"3\r\nab", b"zz\r\n", b""])
async def test_an_upload_that_breaks_off_is_told_so_and_is_not_taken_for_whole(line, rest):
    answer = await line.exchange(UPLOAD + b"3\r\nabc\r\n" + rest)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"took" not in answer


async def test_an_upload_may_take_long_but_not_between_two_parts(line, autojump_clock):
    await line.send(UPLOAD)
    for _ in range(5):
        await trio.sleep(BODY_S_MAX - 1)
        await line.send(b"1\r\nx\r\n")
    await trio.sleep(BODY_S_MAX + 1)
    assert b"timed-out" in await line.read_to_end()
