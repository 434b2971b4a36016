"""Records: what ids and signatures cover, the exact form of headers and items, and what no decoder lets
through.
"""

from __future__ import annotations

import hashlib
from typing import Any
from unittest.mock import patch

import msgpack
import pytest
from hypothesis import given, strategies as st

from protocol.codec import encode
from protocol.credentials.keys import all_hold
from protocol.errors import Fault, RemoteProtocolError
from protocol.ids import framed, tagged_hash
from protocol.limits import (
    ATTRIBUTES_BYTES_MAX,
    BODY_BYTES_MAX,
    BODY_TRANSFERRED_BYTES_MAX,
    CREATORS_REMEMBERED_MAX,
    END_OF_TIME_S,
    EXT_BYTES_MAX,
    HEADER_BYTES_MAX,
    RECORD_ITEM_BYTES_MAX,
    RECORD_TYPE_CHARACTERS_MAX,
)
from protocol.peer_time import HLC_MAX
from protocol.records import record
from protocol.records.attributes import STRING, Attribute, encode_attributes
from protocol.records.record import (
    VERSION_MAX,
    Header,
    RecordItem,
    body_fits,
    body_hash_of,
    body_named_in,
    decode_untrusted_header,
    decode_untrusted_item,
    id_is_of_creator,
    is_durable,
    item_of,
    new_record_id,
    sign_header,
    version_id_of,
)
from tests.support.keys import key, named
from tests.support.records import Writer, circle, content_of, headers, items, seal_header
from tests.support.strategies import VALUES

DAVE = named("dave")
PID = DAVE.public.pid
GID = bytes(range(32))
BODY = b"hello"
MANY = CREATORS_REMEMBERED_MAX + 20
IDS = st.binary(min_size=32, max_size=32)


def fields(**changed: Any) -> dict[str, Any]:
    """The content of a good header by DAVE with something in every field; what is None is left out."""
    told = {
        "v": 1,
        "gid": GID,
        "record": new_record_id(GID, PID, False, b"12345678"),
        "type": "note",
        "creator": PID,
        "author": PID,
        "cred": b"g" * 32,
        "created": 1_790_000_000_000 << 16,
        "hlc": 1_790_000_001_000 << 16,
        "version": 3,
        "expires": 1_790_000_100,
        "deleted": True,
        "attributes": [["priority", 1, 5], ["title", 2, "hello"]],
        "body": body_hash_of(BODY),
        "size": len(BODY),
        "ext": {"hint": 1},
    } | changed
    return {name: value for name, value in told.items() if value is not None}


def good(**changed: Any) -> Header:
    return decode_untrusted_header(seal_header(fields(**changed), DAVE))


def refused(raw: bytes) -> RemoteProtocolError:
    with pytest.raises(RemoteProtocolError) as caught:
        decode_untrusted_header(raw)
    return caught.value


# --- round trips ------------------------------------------------------------------------------------------


@given(headers())
def test_header_is_read_back_as_it_was_signed(header):
    again = sign_header(
        DAVE,
        gid=header.gid,
        record_id=header.record_id,
        type=header.type,
        creator=header.creator,
        cred=header.cred,
        created=header.created,
        hlc=header.hlc,
        version=header.version,
        expires=header.expires,
        deleted=header.deleted,
        attributes=header.attributes,
        body_hash=header.body_hash,
        size=header.size,
    )
    assert again == header
    assert again.raw == header.raw
    assert decode_untrusted_header(again.raw) == again
    assert all_hold(again.checks())


def test_deletion_is_read_back_as_it_was_signed():
    header = sign_header(
        DAVE, gid=GID, record_id=fields()["record"], type="note", creator=key(1).public.pid, cred=b"c" * 32,
        created=0, hlc=5, version=2, expires=9, deleted=True,
    )  # fmt: skip
    assert decode_untrusted_header(header.raw) == header
    assert (header.deleted, header.author, header.body_hash, header.size) == (True, PID, None, 0)
    assert content_of(header)["deleted"] is True


@pytest.mark.parametrize("version", [VERSION_MAX - 1, VERSION_MAX, VERSION_MAX + 1])
def test_counter_stays_at_its_end(version):
    header = sign_header(
        DAVE, gid=GID, record_id=fields()["record"], type="note", creator=PID, cred=b"c" * 32,
        created=0, hlc=0, version=version, expires=1,
    )  # fmt: skip
    assert header.version == min(version, VERSION_MAX)
    assert decode_untrusted_header(header.raw) == header


def test_every_field_is_told():
    header = good()
    assert (header.gid, header.type, header.creator, header.author) == (GID, "note", PID, PID)
    assert (header.cred, header.version, header.expires) == (b"g" * 32, 3, 1_790_000_100)
    assert (header.created, header.hlc) == (1_790_000_000_000 << 16, 1_790_000_001_000 << 16)
    assert header.attributes == (Attribute("priority", 1, 5), Attribute("title", 2, "hello"))
    assert (header.deleted, header.body_hash, header.size) == (True, body_hash_of(BODY), 5)
    assert (header.record_id, header.key) == (fields()["record"], DAVE.public.raw)


def test_what_is_absent_reads_as_nothing():
    header = good(expires=None, deleted=None, attributes=None, body=None, size=None, ext=None)
    assert (header.expires, header.deleted, header.attributes) == (None, False, ())
    assert (header.body_hash, header.size) == (None, 0)


def test_time_is_told_in_milliseconds_and_seconds():
    header = good(hlc=(1_790_000_000_123 << 16) + 7)
    assert (header.hlc_ms, header.hlc_s) == (1_790_000_000_123, 1_790_000_000)


def test_fields_of_a_newer_release_are_carried_in_the_bytes():
    told = fields(later=[None, {"x": b"y"}])
    header = decode_untrusted_header(seal_header(told, DAVE))
    assert content_of(header) == told
    assert header == decode_untrusted_header(header.raw)


# --- what is signed and hashed ----------------------------------------------------------------------------


def test_id_is_a_tagged_hash_of_the_content_alone():
    header = good()
    assert header.id == version_id_of(header.content) == tagged_hash("peerd/record-version/1", header.content)
    again = decode_untrusted_header(encode([header.content, header.key, bytes(64)]))
    assert again.id == header.id
    assert again.raw != header.raw
    assert not all_hold(again.checks())


def test_signature_covers_tag_and_content():
    header = good()
    (check,) = header.checks()
    assert check.message == framed("peerd/record/1", header.content)
    assert (check.key, check.signature) == (DAVE.public.raw, header.signature)
    assert all_hold([check])


OTHERS: dict[str, Any] = {
    "gid": bytes(32), "record": b"r" * 16, "type": "task", "creator": b"c" * 32, "cred": b"d" * 32,
    "created": 1, "hlc": 1, "version": 4, "expires": None, "deleted": None,
    "attributes": [["priority", 1, 6]],
    "body": b"b" * 32, "size": 6, "ext": {"hint": 2},
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_change_of_any_field_is_another_version_that_nobody_signed(name):
    header = good()
    changed = encode(fields(**{name: OTHERS[name]}))
    forged = decode_untrusted_header(encode([changed, header.key, header.signature]))
    assert forged.id != header.id
    assert not all_hold(forged.checks())


def test_every_field_was_changed():
    assert fields().keys() - OTHERS.keys() == {"v", "author"}


@given(headers(), st.data())
def test_no_damaged_header_passes_for_signed(header, data):
    raw = bytearray(header.raw)
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        read = decode_untrusted_header(bytes(raw))
    except RemoteProtocolError:
        return
    assert not all_hold(read.checks())


def test_header_is_signed_by_its_authors_key():
    assert refused(seal_header(fields(), key(1))).fault is Fault.BAD_PROOF
    assert refused(seal_header(fields(author=key(1).public.pid), DAVE)).fault is Fault.BAD_PROOF


def test_key_that_anybody_can_sign_for_is_refused():
    refused(encode([encode(fields()), bytes(32), bytes(64)]))


# --- record ids -------------------------------------------------------------------------------------------


@given(IDS, IDS, st.booleans(), st.binary(min_size=8, max_size=8))
def test_record_id_is_bound_to_its_creator_and_tells_the_class(gid, creator, durable, random8):
    record_id = new_record_id(gid, creator, durable, random8)
    assert len(record_id) == 16
    assert record_id[8:] == random8
    assert is_durable(record_id) is durable
    assert record_id[0] >> 7 == durable
    assert id_is_of_creator(record_id, gid, creator)
    bound = tagged_hash("peerd/record-id/1", gid, creator)
    assert int.from_bytes(record_id[:8], "big") % 2**63 == int.from_bytes(bound[:8], "big") % 2**63


@given(IDS, IDS, st.integers(0, 63), st.booleans())
def test_no_other_first_half_is_the_creators(gid, creator, bit, durable):
    record_id = new_record_id(gid, creator, durable, bytes(8))
    flipped = (int.from_bytes(record_id, "big") ^ 1 << (127 - bit)).to_bytes(16, "big")
    # The first bit is the class; both classes of the same creator are good.
    assert id_is_of_creator(flipped, gid, creator) is (bit == 0)


@given(IDS, st.lists(IDS, min_size=2, max_size=2, unique=True))
def test_record_id_is_nobody_elses(gid, creators):
    mine, theirs = creators
    record_id = new_record_id(gid, mine, True, bytes(8))
    assert not id_is_of_creator(record_id, gid, theirs)
    assert not id_is_of_creator(record_id, theirs, mine)


def test_class_of_a_header_is_that_of_its_id():
    assert not good().durable
    assert good(record=new_record_id(GID, PID, True, bytes(8))).durable


# --- form -------------------------------------------------------------------------------------------------

WRONG: dict[str, tuple[Any, ...]] = {
    "v": (0, 2, "1", True),
    "gid": (b"x" * 31, b"x" * 33, "x" * 32, 1),
    "record": (b"", b"r" * 15, b"r" * 17, "r" * 16),
    "type": ("", "A", "a b", "a\n", "ä", "a" * (RECORD_TYPE_CHARACTERS_MAX + 1), b"note", 1, "\u0661"),
    "creator": (b"x" * 31, b"x" * 33, "x" * 32),
    "author": (b"x" * 31, "x"),
    "cred": (b"", b"r" * 33, 1),
    "created": (-1, HLC_MAX + 1, "0", True),
    "hlc": (-1, HLC_MAX + 1, 2**64 - 1, "0"),
    "version": (0, -1, VERSION_MAX + 1, "1", True),
    "expires": (-1, END_OF_TIME_S + 1, "1", True),
    "deleted": (False, 1, "true"),
    "attributes": ([], {}, "x", [["a", 1]], [["b", 1, 0], ["a", 1, 0]], [["a", 1, 0]] * 2, [["a-b", 1, 0]]),
    "body": (b"", b"b" * 31, b"b" * 33, "b" * 32),
    "size": (0, -1, BODY_BYTES_MAX + 1, "5", True),
    "ext": ([], 1, b""),
}


@pytest.mark.parametrize(
    "name, value", [(name, value) for name, values in WRONG.items() for value in values], ids=ascii
)
def test_field_out_of_its_bounds_is_refused(name, value):
    assert refused(seal_header(fields(**{name: value}), DAVE)).fault in (Fault.MALFORMED, Fault.BAD_PROOF)


def test_every_field_has_wrong_values():
    assert WRONG.keys() == fields().keys()


@pytest.mark.parametrize("name", sorted(fields()))
def test_no_field_says_nil(name):
    content = fields() | {name: None}
    packed = encode(content)
    refused(encode([packed, DAVE.public.raw, DAVE.sign(framed("peerd/record/1", packed))]))


@pytest.mark.parametrize(
    "name", ["v", "gid", "record", "type", "creator", "author", "cred", "created", "hlc", "version"]
)
def test_field_that_every_header_has_must_be_there(name):
    refused(seal_header(fields(**{name: None}), DAVE))


@pytest.mark.parametrize(
    "changed",
    [
        {"created": 0, "hlc": 0, "version": 1, "expires": 0, "size": 1},
        {"created": HLC_MAX, "hlc": HLC_MAX, "version": VERSION_MAX, "expires": END_OF_TIME_S},
        {"size": BODY_BYTES_MAX, "type": "a"},
        {"type": "0.-_z" + "a" * (RECORD_TYPE_CHARACTERS_MAX - 5)},
    ],
)
def test_bounds_themselves_are_accepted(changed):
    header = good(**changed)
    assert all(getattr(header, name) == value for name, value in changed.items())


@pytest.mark.parametrize("name", ["body", "size"])
def test_body_has_a_hash_and_a_size(name):
    refused(seal_header(fields(**{name: None}), DAVE))


def test_ext_is_bounded():
    room = EXT_BYTES_MAX - len(encode({"x": b"x" * 300})) + 300
    assert content_of(good(ext={"x": b"x" * room}))["ext"] == {"x": b"x" * room}
    assert refused(seal_header(fields(ext={"x": b"x" * (room + 1)}), DAVE)).fault is Fault.OVER_LIMIT


def test_attributes_are_bounded():
    around = len(encode_attributes([Attribute("a", STRING, "x" * 300)])) - 300
    text = "x" * (ATTRIBUTES_BYTES_MAX - around)
    assert good(attributes=[["a", 2, text]]).attributes == (Attribute("a", STRING, text),)
    assert refused(seal_header(fields(attributes=[["a", 2, text + "x"]]), DAVE)).fault is Fault.OVER_LIMIT


def test_header_is_bounded():
    room = HEADER_BYTES_MAX - len(seal_header(fields(later=b"x" * 300), DAVE)) + 300
    assert len(good(later=b"x" * room).raw) == HEADER_BYTES_MAX
    refused(seal_header(fields(later=b"x" * (room + 1)), DAVE))


def test_largest_header_of_ours_fits():
    around = len(encode_attributes([Attribute("a", STRING, "x" * 300)])) - 300
    header = sign_header(
        DAVE, gid=GID, record_id=b"\xff" * 16, type="z" * RECORD_TYPE_CHARACTERS_MAX, creator=PID,
        cred=b"c" * 32, created=HLC_MAX, hlc=HLC_MAX, version=VERSION_MAX, expires=END_OF_TIME_S,
        attributes=[Attribute("a", STRING, "x" * (ATTRIBUTES_BYTES_MAX - around))], body_hash=b"b" * 32,
        size=BODY_BYTES_MAX,
    )  # fmt: skip
    assert len(header.raw) <= HEADER_BYTES_MAX - 1024
    assert decode_untrusted_header(header.raw) == header


TAIL = DAVE.public.raw + bytes(64)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xc0",
        b"\x93",
        encode([]),
        encode([b"", b"", b""]),
        encode([encode(fields()), DAVE.public.raw]),
        encode([encode(fields()), DAVE.public.raw, bytes(64), b""]),
        encode([encode(fields()), bytes(64), DAVE.public.raw]),
        encode([encode(fields()), DAVE.public.raw, bytes(63)]),
        encode([encode(fields()), DAVE.public.raw + b"x", bytes(63)]),
        encode([encode([]), DAVE.public.raw, bytes(64)]),
        encode([b"", DAVE.public.raw, bytes(64)]),
        encode([fields(), DAVE.public.raw, bytes(64)]),
        encode(["text", DAVE.public.raw, bytes(64)]),
        encode([encode(fields()), DAVE.public.raw, bytes(64)]) + b"\0",
        b"\x93\xc6\x00\x00" + encode([encode(fields()), DAVE.public.raw, bytes(64)])[2:],
        encode({"content": b"", "key": DAVE.public.raw, "signature": bytes(64)}),
    ],
)
def test_anything_but_content_key_and_signature_is_refused(raw):
    refused(raw)


@given(st.binary(max_size=220))
def test_random_bytes_are_refused(raw):
    refused(raw)


@given(VALUES)
def test_any_value_is_refused(value):
    refused(encode(value))
    refused(encode([encode(value), DAVE.public.raw, bytes(64)]))


def test_small_content_has_one_form_too():
    """Lengths below and above 256 are written differently."""
    for size in (0, 1, 254, 255, 256, 257):
        refused(encode([b"x" * size, DAVE.public.raw, bytes(64)]))
    content = encode(fields(attributes=None, ext=None))
    assert len(content) > 255
    short = b"\x93\xc4" + bytes([len(content) % 256]) + content + b"\xc4\x20" + DAVE.public.raw + b"\xc4\x40"
    refused(short + bytes(64))


def test_content_in_a_second_form_is_refused():
    content = encode(fields(version=5))
    assert content.count(b"\xa7version\x05") == 1
    longer = content.replace(b"\xa7version\x05", b"\xa7version\xcc\x05")
    signature = DAVE.sign(framed("peerd/record/1", longer))
    assert "canonical" in refused(encode([longer, DAVE.public.raw, signature])).detail


# Values in a field that look nearly right, besides anything at all.
NEARLY: st.SearchStrategy[Any] = st.sampled_from(
    (0, 1, True, False, b"x" * 31, b"", "", "A")
) | st.sampled_from((VERSION_MAX + 1, END_OF_TIME_S + 1, BODY_BYTES_MAX + 1, HLC_MAX + 1))
ATTRIBUTES: st.SearchStrategy[Any] = st.sampled_from(
    ([], [[]], [["a", 1, 1, 1]], [["a", 1, None]], [["a", 1, [[[[[[[[1]]]]]]]]]], [["b", 1, 1], ["a", 1, 1]])
)


def read_both_ways(raw: bytes) -> list[Header | None]:
    """A header as it is read at once, and as it would be if it were not plain; None where it is refused."""
    found: list[Header | None] = []
    for plain in (record._plain_untrusted, lambda content: None):
        with patch.object(record, "_plain_untrusted", plain):
            try:
                found.append(decode_untrusted_header(raw))
            except RemoteProtocolError:
                found.append(None)
    return found


@given(st.sampled_from(sorted(fields())), NEARLY | ATTRIBUTES | VALUES)
def test_plain_header_is_read_as_any_other(name, value):
    plain, other = read_both_ways(seal_header(fields(ext=None) | {name: value}, DAVE))
    assert plain == other


@given(headers(), st.data())
def test_damaged_plain_header_is_read_as_any_other(header, data):
    content = bytearray(header.content)
    at = data.draw(st.integers(0, len(content) - 1))
    content[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    plain, other = read_both_ways(encode([bytes(content), DAVE.public.raw, bytes(64)]))
    assert plain == other


@pytest.mark.parametrize(
    "absent", [(), ("deleted",), ("attributes",), ("body", "size"), ("expires",), ("deleted", "expires")]
)
def test_what_we_write_is_plain(absent):
    header = good(ext=None, **dict.fromkeys(absent))
    assert record._plain_untrusted(header.content) is not None


def test_what_says_more_or_has_another_form_is_not_plain():
    content = fields(ext=None)
    assert record._plain_untrusted(encode(fields())) is None
    assert record._plain_untrusted(encode(content | {"later": 1})) is None
    backwards = {name: content[name] for name in sorted(content, reverse=True)}
    assert record._plain_untrusted(msgpack.packb(backwards)) is None


def test_only_so_many_keys_are_remembered_and_the_others_read_as_well():
    keys = [hashlib.sha256(number.to_bytes(4, "big")).digest()[:31] + b"\0" for number in range(MANY)]
    pids = [record._pid_of(raw) for raw in keys]
    assert record._pid_of.cache_info().currsize == CREATORS_REMEMBERED_MAX
    assert [record._pid_of(raw) for raw in keys] == pids
    assert len(set(pids)) == MANY
    for _ in range(2):
        refused(seal_header(fields(author=key(2).public.pid), key(1)))


# --- items ------------------------------------------------------------------------------------------------


@given(items())
def test_item_is_read_back_with_its_body_and_without(item):
    assert decode_untrusted_item(item.raw) == item
    bare = RecordItem(item.header)
    assert decode_untrusted_item(bare.raw) == bare
    assert item.complete
    assert bare.complete is (item.header.body_hash is None)
    assert item_of(item.header, item.body) == item


@given(items().filter(lambda item: item.body), st.binary(max_size=300))
def test_no_other_body_goes_with_a_header(item, other):
    for body in (b"", item.body + b"x", item.body[1:], other):
        if body != item.body:
            assert not body_fits(item.header, body)
            with pytest.raises(RemoteProtocolError):
                decode_untrusted_item(encode([item.header.raw, body]))
            with pytest.raises(AssertionError):
                item_of(item.header, body)


def test_item_of_a_header_without_a_body_has_none():
    item = Writer.of(circle(), "dave").add()
    for body in (b"", b"x"):
        with pytest.raises(RemoteProtocolError):
            decode_untrusted_item(encode([item.header.raw, body]))


def test_body_of_another_size_is_refused_though_its_hash_is_right():
    header = good(size=len(BODY) + 1)
    with pytest.raises(RemoteProtocolError):
        decode_untrusted_item(encode([header.raw, BODY]))


def test_body_beside_a_header_is_bounded():
    writer = Writer.of(circle(), "dave")
    most = writer.add(body=b"x" * BODY_TRANSFERRED_BYTES_MAX)
    more = writer.add(body=b"x" * (BODY_TRANSFERRED_BYTES_MAX + 1))
    assert decode_untrusted_item(most.raw) == most
    with pytest.raises(RemoteProtocolError):
        decode_untrusted_item(more.raw)
    assert decode_untrusted_item(more.raw, body_bytes_max=BODY_BYTES_MAX) == more


def test_largest_item_has_room():
    body = b"x" * BODY_TRANSFERRED_BYTES_MAX
    named_body = {"size": len(body), "body": hashlib.sha256(body).digest()}
    room = HEADER_BYTES_MAX - len(good(later=b"x" * 300, **named_body).raw) + 300
    item = RecordItem(good(later=b"x" * room, **named_body), body)
    assert len(item.header.raw) == HEADER_BYTES_MAX
    assert len(item.raw) <= RECORD_ITEM_BYTES_MAX
    assert decode_untrusted_item(item.raw) == item


@pytest.mark.parametrize(
    "parts",
    [[], [b""], [good().raw], [good().raw, None, None], [good().raw, "x"], [good().raw, False],
     ["x", None], [None] * 2, {"header": good().raw, "body": None}, good().raw],
    ids=lambda parts: str(len(parts)),
)  # fmt: skip
def test_anything_but_header_and_body_is_no_item(parts):
    with pytest.raises(RemoteProtocolError):
        decode_untrusted_item(encode(parts))


@given(st.one_of(st.binary(max_size=60), VALUES.map(encode)))
def test_anything_at_all_is_no_item(raw):
    with pytest.raises(RemoteProtocolError):
        decode_untrusted_item(raw)


@given(items(), st.data())
def test_no_damaged_item_passes(item, data):
    raw = bytearray(item.raw)
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        read = decode_untrusted_item(bytes(raw))
    except RemoteProtocolError:
        return
    assert not all_hold(read.header.checks())


@given(items())
def test_body_named_in_the_bytes_of_a_header_is_the_headers(item):
    header = item.header
    named = None if header.body_hash is None else (header.body_hash, header.size)
    assert body_named_in(header.raw) == named


def test_only_so_many_creators_are_remembered_and_the_others_are_bound_as_well():
    creators = [number.to_bytes(32, "big") for number in range(MANY)]
    ids = [new_record_id(bytes(32), creator, True, bytes(8)) for creator in creators]
    assert record._creator_bits.cache_info().currsize == CREATORS_REMEMBERED_MAX
    for at in (0, 1, MANY - 1):
        assert [one for one in creators if id_is_of_creator(ids[at], bytes(32), one)] == [creators[at]]
