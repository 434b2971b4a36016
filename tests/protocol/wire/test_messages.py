"""Messages: every one survives the wire, and nothing out of bounds becomes one."""

from __future__ import annotations

import contextlib
from typing import cast

import msgpack
import msgspec
import pytest
from hypothesis import given, strategies as st

from protocol.codec import decode_untrusted, encode
from protocol.errors import Fault, RemoteProtocolError
from protocol.limits import (
    ACT_BYTES_MAX,
    BODY_BYTES_MAX,
    BUNDLE_BYTES_MAX,
    ELEMENTS_PER_FRAME_MAX,
    FRAME_BYTES_MAX_MEMBER,
    FRAME_BYTES_MAX_STRANGER,
    GOT_IDS_MAX,
    NOTHING_FRAME_BYTES,
    PIECE_BYTES_MAX,
    RECENT_IDS_MAX,
    RECONCILE_PAYLOAD_BYTES_MAX,
    RECORD_ITEM_BYTES_MAX,
    TRANSFER_FRAME_BYTES_TARGET,
    WELCOME_FRAME_BYTES_MAX,
)
from protocol.wire.framing import frame
from protocol.wire.messages import (
    KINDS,
    NOTHING,
    NOTHING_PADDING_BYTES,
    NOTHING_PROOF_BYTES_MAX,
    SECOND_MAX,
    TIME_MS_MAX,
    Bye,
    ByeReason,
    DataSummary,
    Finish,
    Got,
    Hello,
    KeepAlive,
    Message,
    Namespace,
    News,
    Nothing,
    Open,
    Piece,
    Prove,
    Recent,
    Reconcile,
    Records,
    Taken,
    Transfer,
    Want,
    WantBody,
    Welcome,
    decode_untrusted_message,
    encode_message,
    nothing_with,
)

DATA = DataSummary(0, 0, 0, bytes(16))

# One of each, in the order of their codes.
EXAMPLES: tuple[Message, ...] = (
    Hello((1,), bytes(16)),
    Prove(bytes(32), bytes(16), bytes(64), b""),
    NOTHING,
    Welcome(bytes(32), bytes(16), bytes(64), b"", b""),
    Finish(b""),
    Open(("host:1",), ("[::1]:2",), 0, bytes(16), 0, DATA),
    KeepAlive(0, bytes(16), 0, DATA),
    News((b"element",)),
    Reconcile(Namespace.AUTH, 0, 0, 0, b"", False),
    Transfer(Namespace.AUTH, 0, 0, (b"element",), False),
    Taken(0, 0),
    Want(bytes(32)),
    Bye(ByeReason.LEAVING, ()),
    Records((b"item",), True),
    Got(bytes(32)),
    WantBody(bytes(32), 0),
    Piece(bytes(32), 0, 1, b"p"),
    Recent(0, 1, True, bytes(8), b"\x01"),
)

u32 = st.integers(0, 2**32 - 1)
digests = st.binary(min_size=16, max_size=16)
bundles = st.binary(max_size=100)
addresses = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=30)
elements = st.lists(st.binary(min_size=1, max_size=40), max_size=8).map(tuple)
identities = (
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=64, max_size=64),
)
versions = st.sets(st.integers(1, 65_535), min_size=1, max_size=8).map(lambda found: tuple(sorted(found)))
hashes = st.binary(min_size=32, max_size=32)
times = st.integers(0, TIME_MS_MAX)
seconds = st.integers(0, TIME_MS_MAX // 1000)
data_summaries = st.builds(DataSummary, seconds, seconds, u32, digests)
namespaces = st.sampled_from(Namespace)
whole_ids = st.integers(1, 20).flatmap(lambda n: st.binary(min_size=32 * n, max_size=32 * n))
short_ids = st.integers(0, 20).flatmap(lambda n: st.binary(min_size=8 * n, max_size=8 * n))
items = st.lists(st.binary(min_size=1, max_size=40), max_size=8).map(tuple)


@st.composite
def pieces(draw):
    """A part of a body, or the word that there is none."""
    data = draw(st.binary(max_size=100))
    if not data:
        return Piece(draw(hashes), 0, 0, b"")
    size = draw(st.integers(len(data), BODY_BYTES_MAX))
    return Piece(draw(hashes), draw(st.integers(0, size - len(data))), size, data)


messages = st.one_of(
    st.builds(Hello, versions, digests),
    st.builds(Prove, *identities, bundles),
    st.binary(max_size=NOTHING_PROOF_BYTES_MAX).map(nothing_with),
    st.builds(Welcome, *identities, bundles, bundles),
    st.builds(Finish, bundles),
    st.builds(
        Open,
        st.lists(addresses, max_size=4).map(tuple),
        st.lists(addresses, max_size=8).map(tuple),
        u32,
        digests,
        times,
        data_summaries,
    ),
    st.builds(KeepAlive, u32, digests, times, data_summaries),
    st.builds(News, elements),
    st.builds(
        Reconcile, namespaces, seconds, u32, st.integers(0, 16), st.binary(max_size=100), st.booleans()
    ),
    st.builds(Transfer, namespaces, u32, u32, elements, st.booleans()),
    st.builds(Taken, u32, u32),
    st.builds(Want, whole_ids),
    st.builds(Bye, st.integers(0, 255), st.lists(addresses, max_size=8).map(tuple)),
    st.builds(Records, items, st.booleans()),
    st.builds(Got, whole_ids),
    st.builds(WantBody, hashes, st.integers(0, BODY_BYTES_MAX)),
    pieces(),
    st.builds(Recent, u32, st.integers(0, 2), st.booleans(), short_ids, st.binary(max_size=64)),
)


def decode(payload: bytes) -> Message:
    """Decode with the largest limit there is."""
    return decode_untrusted_message(payload, bytes_max=FRAME_BYTES_MAX_MEMBER)


def fields_of(message: Message) -> tuple[int, dict]:
    """Code and fields of a message, to be spoilt."""
    code, fields = decode_untrusted(encode_message(message), bytes_max=FRAME_BYTES_MAX_MEMBER)
    return code, fields


def test_there_is_an_example_of_every_kind():
    assert [type(message) for message in EXAMPLES] == list(KINDS.values())


@given(messages)
def test_message_survives_the_wire(message):
    assert decode(encode_message(message)) == message


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_field_of_a_newer_version_is_ignored(message):
    code, fields = fields_of(message)
    assert decode(encode([code, {**fields, "zz": [1, {"a": b""}]}])) == message


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_every_field_must_be_there_and_of_its_type(message):
    code, fields = fields_of(message)
    for name in fields:
        without = {key: value for key, value in fields.items() if key != name}
        with pytest.raises(RemoteProtocolError):
            decode(encode([code, without]))
        wrongs: tuple = (None, {}, [None], -1, "text" if isinstance(fields[name], bytes) else b"bytes")
        for wrong in wrongs:
            with pytest.raises(RemoteProtocolError):
                decode(encode([code, {**fields, name: wrong}]))


KEY, NODE, SIGNATURE = bytes(32), bytes(16), bytes(64)
LISTEN_5, REFERRALS_9 = ("h:1",) * 5, ("h:1",) * 9
TOO_MANY = (b"e",) * (ELEMENTS_PER_FRAME_MAX + 1)
BAD = [
    Hello((), bytes(16)),
    Hello((0,), bytes(16)),
    Hello((65_536,), bytes(16)),
    Hello(tuple(range(1, 10)), bytes(16)),
    Hello((1,), bytes(15)),
    Hello((1,), bytes(17)),
    Prove(bytes(31), NODE, SIGNATURE, b""),
    Prove(KEY, bytes(17), SIGNATURE, b""),
    Prove(KEY, NODE, bytes(63), b""),
    Prove(KEY, NODE, SIGNATURE, bytes(BUNDLE_BYTES_MAX + 1)),
    Nothing(bytes(NOTHING_PADDING_BYTES - 1)),
    Nothing(bytes(NOTHING_PADDING_BYTES + 1)),
    Welcome(bytes(33), NODE, SIGNATURE, b"", b""),
    Welcome(KEY, bytes(15), SIGNATURE, b"", b""),
    Welcome(KEY, NODE, bytes(65), b"", b""),
    Welcome(KEY, NODE, SIGNATURE, bytes(BUNDLE_BYTES_MAX + 1), b""),
    Welcome(KEY, NODE, SIGNATURE, b"", bytes(BUNDLE_BYTES_MAX + 1)),
    Finish(bytes(BUNDLE_BYTES_MAX + 1)),
    Open(LISTEN_5, (), 0, bytes(16), 0, DATA),
    Open((), REFERRALS_9, 0, bytes(16), 0, DATA),
    Open((), ("",), 0, bytes(16), 0, DATA),
    Open(("h" * 256,), (), 0, bytes(16), 0, DATA),
    Open(("host:1\n",), (), 0, bytes(16), 0, DATA),
    Open(("ho st:1",), (), 0, bytes(16), 0, DATA),
    Open(("höst:1",), (), 0, bytes(16), 0, DATA),
    Open((), (), 2**32, bytes(16), 0, DATA),
    Open((), (), 0, bytes(32), 0, DATA),
    KeepAlive(-1, bytes(16), 0, DATA),
    KeepAlive(0, b"", 0, DATA),
    News((b"",)),
    News(TOO_MANY),
    News((bytes(ACT_BYTES_MAX + 1),)),
    Reconcile(Namespace.AUTH, 0, 2**32, 0, b"", False),
    Reconcile(Namespace.AUTH, 0, 0, 17, b"", False),
    Reconcile(Namespace.AUTH, 0, 0, 0, bytes(RECONCILE_PAYLOAD_BYTES_MAX + 1), False),
    Transfer(Namespace.AUTH, 0, 2**32, (), False),
    Transfer(Namespace.AUTH, 0, 0, TOO_MANY, False),
    Taken(-1, 0),
    Taken(0, -1),
    Want(b""),
    Want(bytes(32 * 1025)),
    Bye(256, ()),
    Bye(0, REFERRALS_9),
    Open((), (), 0, bytes(16), -1, DATA),
    KeepAlive(0, bytes(16), 2**48, DATA),
    KeepAlive(0, bytes(16), 0, DataSummary(SECOND_MAX + 1, 0, 0, bytes(16))),
    KeepAlive(0, bytes(16), 0, DataSummary(0, -1, 0, bytes(16))),
    KeepAlive(0, bytes(16), 0, DataSummary(0, 0, 2**32, bytes(16))),
    KeepAlive(0, bytes(16), 0, DataSummary(0, 0, 0, bytes(15))),
    Reconcile(cast(Namespace, 3), 0, 0, 0, b"", False),
    Reconcile(Namespace.EXPIRING, SECOND_MAX + 1, 0, 0, b"", False),
    Transfer(cast(Namespace, -1), 0, 0, (), False),
    Records((b"",), False),
    Records(TOO_MANY, False),
    Records((bytes(RECORD_ITEM_BYTES_MAX + 1),), False),
    Got(b""),
    Got(bytes(32 * (GOT_IDS_MAX + 1))),
    WantBody(bytes(31), 0),
    WantBody(bytes(32), BODY_BYTES_MAX + 1),
    WantBody(bytes(32), -1),
    Piece(bytes(33), 0, 1, b"p"),
    Piece(bytes(32), 0, BODY_BYTES_MAX + 1, b"p"),
    Piece(bytes(32), 0, BODY_BYTES_MAX, bytes(PIECE_BYTES_MAX + 1)),
    Recent(0, 3, True, b"", b""),
    Recent(2**32, 0, True, b"", b""),
    Recent(0, 0, True, bytes(8 * (RECENT_IDS_MAX + 1)), b""),
    Recent(0, 1, True, b"", bytes(RECENT_IDS_MAX // 8 + 1)),
]


@pytest.mark.parametrize("number", range(len(BAD)), ids=lambda n: f"{n}-{type(BAD[n]).__name__}")
def test_field_out_of_bounds_is_malformed(number):
    with pytest.raises(RemoteProtocolError) as caught:
        decode(encode_message(BAD[number]))
    assert caught.value.fault is Fault.MALFORMED


@pytest.mark.parametrize("listed", [(2, 1), (1, 1), (1, 3, 2)])
def test_versions_that_do_not_ascend_are_malformed(listed):
    with pytest.raises(RemoteProtocolError):
        decode(encode([1, {"selector": bytes(16), "versions": listed}]))
    with pytest.raises(ValueError, match="ascend"):
        Hello(listed, bytes(16))


def test_part_of_an_id_is_malformed():
    with pytest.raises(RemoteProtocolError):
        decode(encode([22, {"ids": bytes(33)}]))
    with pytest.raises(ValueError, match="whole"):
        Want(bytes(31))


@pytest.mark.parametrize(
    ("code", "fields"),
    [
        (25, {"ids": bytes(33)}),
        (28, {"complete": True, "ids": bytes(9), "session": 0, "step": 0, "wanted": b""}),
        (27, {"data": b"pp", "hash": bytes(32), "offset": 1, "size": 2}),
        (27, {"data": b"p", "hash": bytes(32), "offset": 0, "size": 0}),
        (27, {"data": b"", "hash": bytes(32), "offset": 1, "size": 0}),
        (27, {"data": b"", "hash": bytes(32), "offset": 0, "size": 1}),
    ],
)
def test_fields_that_do_not_go_together_are_malformed(code, fields):
    with pytest.raises(RemoteProtocolError):
        decode(encode([code, fields]))


@pytest.mark.parametrize("code", [code for code in range(256) if code not in KINDS])
def test_unknown_code_is_malformed(code):
    with pytest.raises(RemoteProtocolError):
        decode(encode([code, {}]))


@pytest.mark.parametrize(
    "value", [None, 1, b"", "", {}, [], [1], [1, 2], ["1", {}], [True, {}], [[], {}], [1, {}, 3], [-1, {}]]
)
def test_what_is_not_code_and_fields_is_malformed(value):
    with pytest.raises(RemoteProtocolError):
        decode(encode(value))


def test_fields_in_another_order_are_malformed():
    payload = msgpack.packb([17, {"digest": bytes(16), "count": 0}])
    with pytest.raises(RemoteProtocolError):
        decode(payload)


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_every_truncation_is_malformed(message):
    payload = encode_message(message)
    for length in range(len(payload)) if len(payload) < 300 else (0, 1, 12, len(payload) - 1):
        with pytest.raises(RemoteProtocolError):
            decode(payload[:length])


@given(messages, st.data())
def test_changed_byte_gives_a_message_or_the_decoders_error(message, data):
    payload = bytearray(encode_message(message))
    payload[data.draw(st.integers(0, len(payload) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(RemoteProtocolError):
        decode(bytes(payload))


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.text(max_size=8)
    | st.binary(max_size=70),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)


@given(st.sampled_from(EXAMPLES), st.data())
def test_random_values_in_the_fields_give_a_message_or_the_decoders_error(message, data):
    code, fields = fields_of(message)
    for name in data.draw(st.sets(st.sampled_from(sorted(fields)), min_size=1)):
        fields[name] = data.draw(values)
    with contextlib.suppress(RemoteProtocolError):
        decode(encode([code, fields]))


@given(st.binary(max_size=200))
def test_random_bytes_raise_nothing_but_the_decoders_error(payload):
    with contextlib.suppress(RemoteProtocolError):
        decode(payload)


def test_message_over_the_readers_limit_is_refused():
    payload = encode_message(Finish(bytes(1000)))
    with pytest.raises(RemoteProtocolError):
        decode_untrusted_message(payload, bytes_max=999)


def test_nothing_fills_its_frame_exactly():
    assert len(frame(encode_message(NOTHING))) == NOTHING_FRAME_BYTES == 4096


@given(st.binary(max_size=NOTHING_PROOF_BYTES_MAX))
def test_nothing_is_as_long_whatever_proof_is_in_it(proof):
    payload = encode_message(nothing_with(proof))
    assert len(frame(payload)) == NOTHING_FRAME_BYTES
    message = decode_untrusted_message(payload, bytes_max=FRAME_BYTES_MAX_STRANGER)
    assert isinstance(message, Nothing)
    assert message.proof == proof


def test_nothing_without_a_proof_is_what_it_always_was():
    assert NOTHING.padding == bytes(NOTHING_PADDING_BYTES)
    assert NOTHING.proof == b""


def test_proof_that_is_longer_than_the_padding_is_malformed():
    for length in (NOTHING_PROOF_BYTES_MAX + 1, 65_535):
        padding = length.to_bytes(2, "big") + bytes(NOTHING_PADDING_BYTES - 2)
        with pytest.raises(RemoteProtocolError):
            decode_untrusted_message(encode([3, {"padding": padding}]), bytes_max=FRAME_BYTES_MAX_STRANGER)


def test_largest_message_of_each_state_fits_the_limit_of_that_state():
    bundle = bytes(BUNDLE_BYTES_MAX)
    assert len(encode_message(Prove(KEY, NODE, SIGNATURE, bundle))) <= FRAME_BYTES_MAX_STRANGER
    assert len(encode_message(Finish(bundle))) <= FRAME_BYTES_MAX_STRANGER
    assert len(encode_message(Welcome(KEY, NODE, SIGNATURE, bundle, bundle))) <= WELCOME_FRAME_BYTES_MAX
    assert (
        len(encode_message(Reconcile(Namespace.AUTH, 0, 0, 0, bytes(RECONCILE_PAYLOAD_BYTES_MAX), True)))
        <= FRAME_BYTES_MAX_MEMBER
    )
    small = bytes(TRANSFER_FRAME_BYTES_TARGET // ELEMENTS_PER_FRAME_MAX)
    assert len(encode_message(Records((small,) * ELEMENTS_PER_FRAME_MAX, True))) <= FRAME_BYTES_MAX_MEMBER
    assert len(encode_message(Piece(bytes(32), 0, BODY_BYTES_MAX, bytes(PIECE_BYTES_MAX)))) <= 65 * 1024


def test_every_item_of_records_fits_a_transfer():
    assert RECORD_ITEM_BYTES_MAX <= ACT_BYTES_MAX
    assert RECORD_ITEM_BYTES_MAX <= TRANSFER_FRAME_BYTES_TARGET


def test_we_never_make_a_message_larger_than_any_frame():
    with pytest.raises(AssertionError):
        encode_message(News((bytes(ACT_BYTES_MAX),) * 6))


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_messages_are_frozen(message):
    name = message.__struct_fields__[0]
    with pytest.raises(AttributeError):
        setattr(message, name, getattr(message, name))


def test_reasons_to_say_goodbye_and_faults_do_not_overlap():
    assert not {int(reason) for reason in ByeReason} & {fault.value for fault in Fault}
    assert all(0 <= reason <= 255 for reason in ByeReason)


def test_no_field_has_a_default():
    assert all(field.required for kind in KINDS.values() for field in msgspec.structs.fields(kind))
