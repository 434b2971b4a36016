from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from hypothesis import given, strategies as st
from trio.testing import lockstep_stream_pair, memory_stream_pair

from peerd.errors import LinkClosed, LinkLost
from peerd.transport.frames import FrameChannel
from peerd.transport.limits import CLOSE_S_MAX, FRAME_S_MAX, RECORD_BYTES, WRITE_STALL_S_MAX
from peerd.transport.secure import secure_answerer, secure_caller
from peerd.transport.tls import answerer_context
from protocol.errors import Fault, RemoteProtocolError
from protocol.limits import (
    FRAME_BYTES_MAX_MEMBER,
    FRAME_BYTES_MAX_STRANGER,
    OUTBOX_BYTES_MAX,
    OUTBOX_FLOOD_BYTES_MAX,
)
from protocol.wire.framing import frame
from tests.peerd.transport.memory_network import PlainConnection
from tests.peerd.transport.streams import ChoppedStream, dribble, run_on_mock_clock

EXPORTER = bytes(32)
ANSWERER = answerer_context()
Stream = trio.abc.HalfCloseableStream
Pair = Callable[[], tuple[Stream, Stream]]


def channel_on(stream: Stream) -> FrameChannel:
    return FrameChannel(PlainConnection(stream, EXPORTER), "10.0.0.1:3587")


@asynccontextmanager
async def two_channels(pair: Pair = memory_stream_pair) -> AsyncIterator[tuple[FrameChannel, FrameChannel]]:
    """Two channels that run, without TLS."""
    near, far = map(channel_on, pair())
    async with running(near, far):
        yield near, far


@asynccontextmanager
async def running(*channels: FrameChannel) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        for channel in channels:
            nursery.start_soon(channel.run)
        yield
        for channel in channels:
            channel.close()


@given(
    payloads=st.lists(st.binary(min_size=1, max_size=40_000), max_size=12),
    sizes=st.lists(st.integers(1, 9_000), min_size=1),
)
def test_frames_arrive_whole_and_in_order(payloads, sizes):
    async def scenario() -> None:
        near, far = memory_stream_pair()
        async with two_channels(lambda: (near, ChoppedStream(far, sizes))) as (sender, receiver):
            for payload in payloads:
                assert sender.send(payload)
            assert [await receiver.receive() for _ in payloads] == payloads

    run_on_mock_clock(scenario)


async def test_frames_arrive_one_byte_at_a_time():
    near, far = memory_stream_pair()
    async with two_channels(lambda: (near, ChoppedStream(far, [1]))) as (sender, receiver):
        sender.send(b"first")
        sender.send(b"second")
        assert [await receiver.receive(), await receiver.receive()] == [b"first", b"second"]


async def test_frames_queued_before_the_writer_runs_are_written_once_it_does():
    near, far = map(channel_on, memory_stream_pair())
    near.send(b"early")
    async with running(near, far):
        assert await far.receive() == b"early"


@pytest.mark.parametrize("length", [FRAME_BYTES_MAX_STRANGER + 1, 2**31, 2**32 - 1])
async def test_a_length_beyond_the_limit_is_refused_before_its_content(length):
    raw, far = memory_stream_pair()
    channel = channel_on(far)
    async with running(channel):
        await raw.send_all(length.to_bytes(4, "big"))
        for _ in range(2):
            with pytest.raises(RemoteProtocolError) as caught:
                await channel.receive()
            assert caught.value.fault is Fault.OVER_LIMIT
        channel.send(b"a last word")
        assert bytes(await raw.receive_some()) == frame(b"a last word")
        await raw.aclose()


async def test_a_frame_without_content_is_refused():
    raw, far = memory_stream_pair()
    channel = channel_on(far)
    await raw.send_all(bytes(4))
    with pytest.raises(RemoteProtocolError) as caught:
        await channel.receive()
    assert caught.value.fault is Fault.MALFORMED


async def test_a_limit_raised_after_a_frame_holds_for_the_next_one_that_came_with_it():
    raw, far = memory_stream_pair()
    channel = channel_on(far)
    large = bytes(FRAME_BYTES_MAX_STRANGER + 1)
    await raw.send_all(frame(b"I am a member") + frame(large))
    assert await channel.receive() == b"I am a member"
    channel.raise_limit(FRAME_BYTES_MAX_MEMBER)
    assert await channel.receive() == large


@pytest.mark.parametrize("cut", [1, 3, 4, 10])
async def test_an_end_in_the_middle_of_a_frame_is_a_loss_after_the_whole_ones(cut):
    raw, far = memory_stream_pair()
    channel = channel_on(far)
    await raw.send_all(frame(b"whole") + frame(b"cut short")[:cut])
    await raw.send_eof()
    assert await channel.receive() == b"whole"
    with pytest.raises(LinkLost):
        await channel.receive()


async def test_a_frame_that_has_begun_must_be_complete_in_time(autojump_clock):
    raw, far = memory_stream_pair()
    channel = channel_on(far)
    async with running(channel):
        await trio.sleep(3600)  # an idle link is not this room's business
        await raw.send_all(frame(b"x" * 1000)[:-1])
        begun = trio.current_time()
        with pytest.raises(LinkLost, match="not complete"):
            await channel.receive()
        assert trio.current_time() - begun == FRAME_S_MAX


async def test_dribbling_does_not_move_the_deadline_of_a_frame(autojump_clock):
    raw, far = memory_stream_pair()
    channel = channel_on(far)
    begun = trio.current_time()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(dribble, raw, frame(b"x" * 1000), 1)
        with pytest.raises(LinkLost, match="not complete"):
            await channel.receive()
        nursery.cancel_scope.cancel()
    assert trio.current_time() - begun == FRAME_S_MAX


async def test_waiting_for_a_frame_to_begin_has_no_deadline(autojump_clock):
    async with two_channels() as (near, far), trio.open_nursery() as nursery:

        @nursery.start_soon
        async def speak_late() -> None:
            await trio.sleep(7200)
            near.send(b"at last")

        assert await far.receive() == b"at last"


async def test_a_write_that_stalls_loses_the_link_and_the_receiver_learns_it(autojump_clock):
    near, _far = lockstep_stream_pair()
    channel = channel_on(near)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.run)
        channel.send(b"nobody reads this")
        with pytest.raises(LinkLost, match="took nothing"):
            await channel.receive()
    assert trio.current_time() == WRITE_STALL_S_MAX
    with pytest.raises(LinkLost, match="took nothing"):
        channel.send(b"more")


async def test_a_reader_that_takes_a_piece_now_and_then_keeps_the_link(autojump_clock):
    near, far = lockstep_stream_pair()
    channel = channel_on(near)
    payload = bytes(10 * RECORD_BYTES)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.run)
        channel.send(payload)
        received = b""
        while len(received) < len(frame(payload)):
            await trio.sleep(WRITE_STALL_S_MAX - 1)
            received += bytes(await far.receive_some())
        assert received == frame(payload)
        nursery.cancel_scope.cancel()


def test_droppable_frames_are_left_out_above_the_flood_bound():
    near, _far = lockstep_stream_pair()
    channel = channel_on(near)
    news = bytes(60_000)
    taken = 0
    while channel.send(news, droppable=True):
        taken += len(frame(news))
        assert channel.outbox_bytes == taken
    assert OUTBOX_FLOOD_BYTES_MAX - len(frame(news)) < taken <= OUTBOX_FLOOD_BYTES_MAX
    assert channel.send(b"this is needed")
    assert not channel.send(news, droppable=True)


async def test_a_neighbor_too_slow_for_its_outbox_is_closed_and_everybody_learns_it(autojump_clock):
    near, _far = lockstep_stream_pair()
    channel = channel_on(near)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.run)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(LinkClosed, match="too slow"):
            overfill(channel)
        with pytest.raises(LinkClosed, match="too slow"):
            await channel.receive()
    assert trio.current_time() == 0
    assert channel.outbox_bytes == 0


def overfill(channel: FrameChannel) -> None:
    while True:
        channel.send(bytes(60_000))
        assert channel.outbox_bytes <= OUTBOX_BYTES_MAX


async def test_the_outbox_empties_as_the_other_side_reads():
    async with two_channels() as (near, far):
        for _ in range(10):
            near.send(bytes(50_000))
        for _ in range(10):
            await far.receive()
        await trio.testing.wait_all_tasks_blocked()
        assert near.outbox_bytes == 0


async def test_small_frames_travel_together_and_no_write_exceeds_a_record():
    writes: list[int] = []

    class Counting(PlainConnection):
        async def send_all(self, content: bytes) -> None:
            writes.append(len(content))
            await super().send_all(content)

    near, _far = memory_stream_pair()
    channel = FrameChannel(Counting(near, EXPORTER), "10.0.0.1:3587")
    for _ in range(100):
        channel.send(bytes(96))
    channel.send(bytes(50_000))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.run)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert writes == [100 * 100, RECORD_BYTES, RECORD_BYTES, RECORD_BYTES, 50_004 - 3 * RECORD_BYTES]


async def test_closing_writes_what_is_queued_first(autojump_clock):
    near, far = map(channel_on, memory_stream_pair())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.run)
        nursery.start_soon(far.run)
        near.send(bytes(60_000))
        near.send(b"bye")
        near.close()
        assert await far.receive() == bytes(60_000)
        assert await far.receive() == b"bye"
        with pytest.raises(LinkLost, match="closed the link"):
            await far.receive()
    assert trio.current_time() == 0


async def test_closing_ends_in_time_when_nobody_reads(autojump_clock):
    near, _far = lockstep_stream_pair()
    channel = channel_on(near)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.run)
        channel.send(b"bye")
        await trio.testing.wait_all_tasks_blocked()
        channel.close()
    assert trio.current_time() == CLOSE_S_MAX


async def test_closing_ends_in_time_when_the_other_side_never_does(autojump_clock):
    near, far = memory_stream_pair()
    channel = channel_on(near)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.run)
        channel.close()
        assert bytes(await far.receive_some()) == b""
    assert trio.current_time() == CLOSE_S_MAX


async def test_closing_again_gives_no_more_time(autojump_clock):
    near, _far = lockstep_stream_pair()
    channel = channel_on(near)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.run)
        channel.send(b"bye")
        channel.close()
        await trio.sleep(CLOSE_S_MAX / 2)
        channel.close()
    assert trio.current_time() == CLOSE_S_MAX


async def test_closing_while_somebody_receives_still_writes_what_is_queued(autojump_clock):
    near, far = lockstep_stream_pair()
    channel = channel_on(near)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.run)
        nursery.start_soon(expect_closed, channel)
        await trio.testing.wait_all_tasks_blocked()
        payload = bytes(2 * RECORD_BYTES)
        channel.send(payload)
        channel.close()
        await trio.sleep(CLOSE_S_MAX / 2)
        received = b""
        while piece := bytes(await far.receive_some()):
            received += piece
        assert received == frame(payload)
        await far.aclose()


async def expect_closed(channel: FrameChannel) -> None:
    with pytest.raises(LinkClosed):
        await channel.receive()


async def test_closing_waits_until_the_reader_has_let_go_of_the_connection(autojump_clock):
    class SlowToLetGo(PlainConnection):
        reading = False

        async def receive_some(self) -> bytes:
            assert not self.reading
            self.reading = True
            try:
                return await super().receive_some()
            finally:
                with trio.move_on_after(1, shield=True):
                    await trio.sleep_forever()
                self.reading = False

    near, far = memory_stream_pair()
    channel = FrameChannel(SlowToLetGo(near, EXPORTER), "10.0.0.1:3587")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.run)
        nursery.start_soon(expect_closed, channel)
        await trio.testing.wait_all_tasks_blocked()
        channel.close()
        await far.send_eof()


async def test_closing_ends_a_receive_at_once_and_refuses_what_follows(autojump_clock):
    near, _far = memory_stream_pair()
    channel = channel_on(near)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.run)

        @nursery.start_soon
        async def close_soon() -> None:
            await trio.sleep(1)
            channel.close("the group is closing")

        for _ in range(2):
            with pytest.raises(LinkClosed, match="the group is closing"):
                await channel.receive()
            assert trio.current_time() == 1
            await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(LinkClosed, match="the group is closing"):
            channel.send(b"too late")
        channel.close("again")


async def test_after_closing_nothing_more_is_handed_out():
    near, far = map(channel_on, memory_stream_pair())
    async with running(near, far):
        near.send(b"one")
        near.send(b"two")
        assert await far.receive() == b"one"
        far.close()
        with pytest.raises(LinkClosed):
            await far.receive()


async def test_both_sides_may_close_at_once(autojump_clock):
    near, far = map(channel_on, memory_stream_pair())
    async with trio.open_nursery() as nursery:
        for channel in (near, far):
            nursery.start_soon(channel.run)
            channel.close()
    assert trio.current_time() == 0


async def test_a_reader_may_give_up_and_come_back_without_losing_bytes(autojump_clock):
    raw, far = memory_stream_pair()
    channel = channel_on(far)
    payload = frame(b"patience")
    await raw.send_all(payload[:6])
    with trio.move_on_after(1):
        await channel.receive()
    await raw.send_all(payload[6:])
    assert await channel.receive() == b"patience"


async def test_a_task_that_is_stopped_releases_the_connection():
    near, far = memory_stream_pair()
    channel = channel_on(near)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.run)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert bytes(await far.receive_some()) == b""
    with pytest.raises(LinkClosed, match="stopped"):
        channel.send(b"x")


async def test_a_broken_connection_is_told_to_sender_and_receiver_alike():
    near, far = memory_stream_pair()
    channel = channel_on(near)
    await far.aclose()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.run)
        channel.send(b"x")
    for _ in range(2):
        with pytest.raises(LinkLost):
            await channel.receive()
        with pytest.raises(LinkLost):
            channel.send(b"x")


async def test_over_tls_the_last_word_arrives_though_the_other_side_keeps_talking(autojump_clock):
    async with secure_channels(*memory_stream_pair()) as (near, far):
        for _ in range(20):
            far.send(bytes(50_000))
        near.send(b"bye")
        near.close()
        assert await far.receive() == b"bye"
        with pytest.raises(LinkLost, match="closed the link"):
            await far.receive()
    assert trio.current_time() < CLOSE_S_MAX


async def test_over_sockets_the_last_word_arrives_though_unread_bytes_wait():
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    near = await trio.testing.open_stream_to_socket_listener(listener)
    far = await listener.accept()
    await listener.aclose()
    async with secure_channels(near, far) as (one, other):
        assert one.exporter == other.exporter
        for _ in range(40):
            other.send(bytes(60_000))
        one.send(b"bye")
        one.close()
        assert await other.receive() == b"bye"


@asynccontextmanager
async def secure_channels(near: Stream, far: Stream) -> AsyncIterator[tuple[FrameChannel, FrameChannel]]:
    made: dict[str, FrameChannel] = {}

    async def answer() -> None:
        made["far"] = FrameChannel(await secure_answerer(ANSWERER, far), "near:1")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        made["near"] = FrameChannel(await secure_caller(near), "far:1")
    async with running(made["near"], made["far"]):
        yield made["near"], made["far"]
