"""Frames: what comes out is what went in, however the stream is cut; nothing over the limit is ever held."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from protocol.errors import Fault, RemoteProtocolError
from protocol.limits import FRAME_BYTES_MAX_MEMBER
from protocol.wire.framing import FrameReader, frame

payload_lists = st.lists(st.binary(min_size=1, max_size=40), max_size=8)


def cut(stream: bytes, sizes: list[int]) -> list[bytes]:
    """`stream` in pieces of the given sizes, the rest in one."""
    pieces = []
    for size in sizes:
        pieces.append(stream[:size])
        stream = stream[size:]
    return [*pieces, stream]


@given(payload_lists, st.lists(st.integers(0, 50), max_size=30))
def test_payloads_survive_any_cutting_of_the_stream(payloads, sizes):
    reader = FrameReader(40)
    stream = b"".join(frame(payload) for payload in payloads)
    got = [payload for piece in cut(stream, sizes) for payload in reader.feed(piece)]
    assert got == payloads
    assert not reader.mid_frame


@given(st.binary(min_size=1, max_size=40), st.data())
def test_every_proper_prefix_of_a_frame_yields_nothing_and_is_mid_frame(payload, data):
    whole = frame(payload)
    length = data.draw(st.integers(1, len(whole) - 1))
    reader = FrameReader(40)
    assert reader.feed(whole[:length]) == []
    assert reader.mid_frame
    assert reader.feed(whole[length:]) == [payload]


@pytest.mark.parametrize("length", [41, 2**31, 2**32 - 1])
def test_length_over_the_limit_is_refused_before_any_content_arrives(length):
    reader = FrameReader(40)
    with pytest.raises(RemoteProtocolError) as caught:
        reader.feed(length.to_bytes(4, "big"))
    assert caught.value.fault is Fault.OVER_LIMIT
    assert not reader.mid_frame


def test_length_at_the_limit_is_accepted():
    assert FrameReader(40).feed(frame(bytes(40))) == [bytes(40)]


def test_empty_frame_is_malformed():
    with pytest.raises(RemoteProtocolError) as caught:
        FrameReader(40).feed(bytes(4))
    assert caught.value.fault is Fault.MALFORMED


def test_larger_frame_behind_the_one_that_raises_the_limit_is_accepted():
    reader = FrameReader(40)
    assert reader.feed(frame(b"finish") + frame(bytes(50))) == [b"finish"]
    reader.raise_limit(60)
    assert reader.feed(b"") == [bytes(50)]


def test_bad_length_behind_a_good_frame_is_refused_by_the_next_call():
    reader = FrameReader(40)
    assert reader.feed(frame(b"hello") + frame(bytes(50))) == [b"hello"]
    with pytest.raises(RemoteProtocolError):
        reader.feed(b"")


def test_reader_is_not_fed_after_an_error():
    reader = FrameReader(40)
    with pytest.raises(RemoteProtocolError):
        reader.feed(bytes(4))
    with pytest.raises(AssertionError):
        reader.feed(frame(b"more"))


def test_limit_is_never_lowered():
    with pytest.raises(AssertionError):
        FrameReader(40).raise_limit(39)


@pytest.mark.parametrize("length", [0, FRAME_BYTES_MAX_MEMBER + 1])
def test_we_never_write_a_frame_that_a_member_would_refuse(length):
    with pytest.raises(AssertionError):
        frame(bytes(length))


@given(st.lists(st.binary(max_size=64), max_size=10))
def test_random_bytes_raise_nothing_but_the_decoders_error(pieces):
    reader = FrameReader(16)
    try:
        for piece in pieces:
            reader.feed(piece)
    except RemoteProtocolError:
        pass
