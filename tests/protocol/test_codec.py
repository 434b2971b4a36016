"""One value, one byte string: the canonical codec, its bounds, and bytes that nobody should send."""

from __future__ import annotations

from typing import Annotated

import msgpack
import msgspec
import pytest
from hypothesis import given, strategies as st

from protocol.codec import (
    convert_untrusted,
    decode_checked,
    decode_untrusted,
    decode_untrusted_struct,
    encode,
    encode_struct,
    prepared,
)
from protocol.errors import Fault, RemoteProtocolError
from protocol.limits import CODEC_DEPTH_MAX, CODEC_ELEMENTS_MAX, CODEC_NODES_MAX
from tests.support.threads import first_use_ends_well

BYTES_MAX = 1 << 20
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.binary(max_size=40)
    | st.text(max_size=40)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5),
    max_leaves=20,
)


def depth_of(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(depth_of, inner)) if inner else (1 if isinstance(value, (dict, list)) else 0)


def decode(data: bytes) -> object:
    return decode_untrusted(data, bytes_max=BYTES_MAX)


@given(values.filter(lambda value: depth_of(value) < CODEC_DEPTH_MAX))
def test_what_is_encoded_comes_back(value):
    assert decode(encode(value)) == value
    assert decode_checked(encode(value)) == value


@given(st.dictionaries(st.text(max_size=8), scalars, max_size=8), st.randoms())
def test_the_order_in_which_a_map_was_made_does_not_matter(mapping, random):
    keys = list(mapping)
    random.shuffle(keys)
    assert encode({key: mapping[key] for key in keys}) == encode(mapping)


@given(st.binary(max_size=200))
def test_random_bytes_raise_nothing_but_the_decoders_error(data):
    try:
        value = decode(data)
    except RemoteProtocolError:
        return
    assert encode(value) == data


@given(values, st.integers(0, 400), st.integers(0, 255))
def test_a_changed_byte_is_refused_or_is_another_value_in_its_only_form(value, at, byte):
    data = bytearray(msgpack.packb(value, use_bin_type=True))
    data[at % len(data)] = byte
    try:
        changed = decode(bytes(data))
    except RemoteProtocolError:
        return
    assert encode(changed) == bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01\x01",  # something behind the value
        b"\x93\x01",  # cut short
        b"\xcd\x00\x01",  # an integer longer than it must be
        b"\xd9\x01a",  # a text length longer than it must be
        b"\xc5\x00\x01a",  # a bytes length longer than it must be
        b"\xdc\x00\x01\x01",  # an array length longer than it must be
        b"\x82\xa1a\x01\xa1a\x02",  # a key twice
        b"\x82\xa1b\x01\xa1a\x02",  # keys in descending order
        b"\x81\x01\x01",  # a key that is no text
        b"\x81\xc4\x01a\x01",  # a key of bytes
        b"\xcb" + bytes(8),  # a float
        b"\xca" + bytes(4),
        b"\xcb\x7f\xf8" + bytes(6),  # not a number
        b"\xd6\xff" + bytes(4),  # a timestamp
        b"\xc7\x0c\xff" + bytes(12),
        b"\xd4\x05x",  # an extension
        b"\xa1\xff",  # no UTF-8
        b"\xa3\xed\xa0\x80",  # half a character
        b"\xdd\xff\xff\xff\xff",  # an array that claims four thousand million entries
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xc1",
    ],
)
def test_forms_that_no_sender_writes_are_malformed(data):
    with pytest.raises(RemoteProtocolError) as refused:
        decode(data)
    assert refused.value.fault is Fault.MALFORMED


def test_nesting_ends_at_the_limit():
    inside: object = 1
    for _ in range(CODEC_DEPTH_MAX):
        inside = [inside]
    assert decode(encode(inside)) == inside
    with pytest.raises(RemoteProtocolError, match="too deeply"):
        decode(encode([inside]))


@pytest.mark.parametrize("depth", [100, 1000, 100_000])
def test_hostile_nesting_is_refused_without_exhausting_the_stack(depth):
    with pytest.raises(RemoteProtocolError):
        decode(b"\x91" * depth + b"\x01")


def test_containers_end_at_the_limit():
    assert len(decode(encode([0] * CODEC_ELEMENTS_MAX))) == CODEC_ELEMENTS_MAX  # type: ignore[arg-type]
    with pytest.raises(RemoteProtocolError):
        decode(encode([0] * (CODEC_ELEMENTS_MAX + 1)))


def test_many_small_containers_end_at_the_limit():
    parts = CODEC_NODES_MAX // CODEC_ELEMENTS_MAX
    full = [[0] * CODEC_ELEMENTS_MAX] * parts
    with pytest.raises(RemoteProtocolError, match="too many values"):
        decode(encode(full))
    assert decode(encode(full[:-1])) == full[:-1]


def test_a_document_longer_than_its_bound_is_not_looked_at():
    with pytest.raises(RemoteProtocolError, match="11 bytes where 10"):
        decode_untrusted(b"\xc1" * 11, bytes_max=10)


@prepared
class Point(msgspec.Struct, omit_defaults=True):
    x: Annotated[int, msgspec.Meta(ge=0, le=9)]
    note: bytes = b""


def test_a_struct_leaves_out_what_is_at_its_default_and_ignores_what_it_does_not_know():
    assert encode_struct(Point(3)) == encode({"x": 3})
    assert decode_untrusted_struct(encode({"x": 3, "z": [1]}), Point, bytes_max=99) == Point(3)


@pytest.mark.parametrize(
    "value", [{}, {"x": "3"}, {"x": 3.0}, {"x": True}, {"x": 10}, {"x": 1, "note": "text"}, [3], 3, None]
)
def test_a_value_of_another_type_is_malformed(value):
    with pytest.raises(RemoteProtocolError):
        convert_untrusted(value, Point)


def test_a_type_that_is_not_prepared_is_our_own_mistake():
    with pytest.raises(AssertionError):
        convert_untrusted({}, msgspec.defstruct("Other", []))


def test_what_cannot_be_sent_is_our_own_mistake():
    for value in (1.5, {1, 2}, object()):
        with pytest.raises(AssertionError):
            encode(value)


# --- threads ------------------------------------------------------------------------------------------------


def test_threads_that_use_a_type_first_all_get_it_whole():
    """Without care this ends the process."""
    one = '{"a": b"1", "b": [b"2"]}'
    assert first_use_ends_well(
        "from protocol.codec import convert_untrusted, prepared",
        "bytes",
        'b"1"',
        f'convert_untrusted({{"c": [{one}], "d": {one}}}, outer)',
        prepare="prepared(outer)",
    )
