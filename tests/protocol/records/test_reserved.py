"""Reserved types: which they are, and the two bodies that peerd itself reads."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, strategies as st

from protocol.codec import decode_untrusted, encode
from protocol.errors import RemoteProtocolError, RuleError
from protocol.limits import (
    ADDRESS_CHARACTERS_MAX,
    BODY_BYTES_MAX,
    CONTACT_ADDRESSES_MAX,
    CONTACT_BYTES_MAX,
    RECORD_TYPE_CHARACTERS_MAX,
)
from protocol.records.reserved import (
    CONTACT_TYPE,
    EMPTY_MANIFEST,
    KNOWN_RESERVED_TYPES,
    MANIFEST_IDS_MAX,
    MANIFEST_TYPE,
    WINDOWS_RESERVED_TYPES,
    Contact,
    check_user_type,
    decode_untrusted_contact,
    encode_contact,
    encode_manifest,
    is_reserved,
    manifest_ids,
)
from tests.support.records import record_types
from tests.support.strategies import VALUES

IDS = st.binary(min_size=32, max_size=32)
NODE = b"n" * 16
ADDRESSES = st.sampled_from(("192.0.2.7:3587", "[2001:db8::7]:1", "node.example:65535", "a:9"))
CONTACTS = st.builds(
    Contact,
    addresses=st.lists(ADDRESSES, max_size=CONTACT_ADDRESSES_MAX).map(tuple),
    node_id=st.binary(min_size=16, max_size=16),
) | st.builds(
    Contact,
    addresses=st.lists(ADDRESSES, max_size=CONTACT_ADDRESSES_MAX).map(tuple),
    node_id=st.binary(min_size=16, max_size=16),
    sealing=st.binary(min_size=32, max_size=32),
)


# --- types ------------------------------------------------------------------------------------------------


@given(record_types())
def test_users_write_under_types_of_their_own(text):
    assert check_user_type(text) == text
    assert not is_reserved(text)


@pytest.mark.parametrize(
    "text", ["a", "peerd", "peer.d", "xpeerd.", "-", "_", ".", "0", "z" * RECORD_TYPE_CHARACTERS_MAX,
             "0ccbb0d2-be41-4bd6-914b-058ec5dcce64", "01000000-0000-0000-0000-000000000001"],
)  # fmt: skip
def test_bounds_themselves_are_types(text):
    assert check_user_type(text) == text


@pytest.mark.parametrize(
    "text", sorted({*KNOWN_RESERVED_TYPES, *WINDOWS_RESERVED_TYPES, "peerd.", "peerd.x"})
)
def test_reserved_types_are_not_for_users(text):
    assert is_reserved(text)
    with pytest.raises(RuleError) as caught:
        check_user_type(text)
    assert caught.value.code == "not-authorized"


@pytest.mark.parametrize(
    "text", ["", "z" * (RECORD_TYPE_CHARACTERS_MAX + 1), "Note", "a b", "a/b", "ä", "a\n", "{a}", "\u0661"]
)
def test_anything_else_is_no_type(text):
    with pytest.raises(RuleError) as caught:
        check_user_type(text)
    assert caught.value.code == "invalid-argument"
    assert caught.value.hint


def test_originals_reserved_types_are_six():
    assert len(WINDOWS_RESERVED_TYPES) == 6
    assert all(len(text) == 36 for text in WINDOWS_RESERVED_TYPES)


# --- contact ----------------------------------------------------------------------------------------------


@given(CONTACTS)
def test_contact_is_read_back_as_it_was_written(contact):
    body = encode_contact(contact)
    assert decode_untrusted_contact(body) == contact
    assert encode(decode_untrusted(body, bytes_max=CONTACT_BYTES_MAX)) == body


def test_contact_without_a_sealing_key_says_nothing_of_one():
    body = encode_contact(Contact(("a:1",), NODE))
    assert body == encode({"addresses": ["a:1"], "node_id": NODE})


def test_largest_contact_fits():
    label = "a" * 63
    host = ".".join([label] * 4)[: ADDRESS_CHARACTERS_MAX - len(":65535")].rstrip(".")
    contact = Contact((f"{host}:65535",) * CONTACT_ADDRESSES_MAX, NODE, b"k" * 32)
    assert decode_untrusted_contact(encode_contact(contact)) == contact


@pytest.mark.parametrize(
    "fields",
    [
        {"addresses": ["a:1"]},
        {"node_id": NODE},
        {"addresses": ["a:1"] * (CONTACT_ADDRESSES_MAX + 1), "node_id": NODE},
        {"addresses": ["a"], "node_id": NODE},
        {"addresses": ["a:0"], "node_id": NODE},
        {"addresses": [""], "node_id": NODE},
        {"addresses": [b"a:1"], "node_id": NODE},
        {"addresses": "a:1", "node_id": NODE},
        {"addresses": ["a" * 254 + ":1"], "node_id": NODE},
        {"addresses": [], "node_id": NODE[1:]},
        {"addresses": [], "node_id": NODE + b"n"},
        {"addresses": [], "node_id": "n" * 16},
        {"addresses": [], "node_id": NODE, "sealing": b"k" * 31},
        {"addresses": [], "node_id": NODE, "sealing": b"k" * 33},
        {"addresses": [], "node_id": NODE, "sealing": None},
        {"addresses": [], "node_id": NODE, "later": b"x" * CONTACT_BYTES_MAX},
    ],
    ids=lambda fields: repr(fields)[:60],
)
def test_contact_of_another_form_is_refused(fields):
    with pytest.raises(RemoteProtocolError):
        decode_untrusted_contact(encode(fields))


def test_fields_of_a_newer_release_are_ignored():
    body = encode({"addresses": [], "later": [1], "node_id": NODE})
    assert decode_untrusted_contact(body) == Contact((), NODE)


@given(st.one_of(st.binary(max_size=60), VALUES.map(encode)))
def test_anything_at_all_is_a_contact_or_refused(body):
    with pytest.raises(RemoteProtocolError):
        decode_untrusted_contact(body)


@given(CONTACTS, st.data())
def test_damaged_contact_is_read_or_refused(contact, data):
    body = bytearray(encode_contact(contact))
    body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        read = decode_untrusted_contact(bytes(body))
    except RemoteProtocolError:
        return
    assert read != contact


# --- manifest ---------------------------------------------------------------------------------------------


@given(st.lists(IDS, max_size=40))
def test_manifest_is_read_back_whatever_the_order(ids):
    body = encode_manifest(ids)
    assert manifest_ids(body) == frozenset(ids)
    assert body == encode_manifest(reversed(ids)) == encode_manifest(ids + ids)
    assert len(body) == 32 * len(set(ids))


@given(st.lists(IDS, min_size=2, max_size=6, unique=True), st.data())
def test_list_in_another_order_is_no_manifest(ids, data):
    order = data.draw(st.permutations(ids).filter(lambda told: told != sorted(told)))
    assert manifest_ids(b"".join(order)) is None
    assert manifest_ids(b"".join([*sorted(ids), max(ids)])) is None


@given(st.binary(min_size=1, max_size=100).filter(lambda body: len(body) % 32))
def test_part_of_an_id_is_no_manifest(body):
    assert manifest_ids(body) is None


def test_manifest_fits_a_body():
    ids = [number.to_bytes(32, "big") for number in range(MANIFEST_IDS_MAX)]
    body = encode_manifest(ids)
    assert len(body) == BODY_BYTES_MAX
    assert len(manifest_ids(body) or ()) == MANIFEST_IDS_MAX
    assert manifest_ids(body + b"\xff" * 32) is None


def test_empty_manifest_has_a_hash_and_no_body():
    assert hashlib.sha256(encode_manifest([])).digest() == EMPTY_MANIFEST
    assert manifest_ids(b"") == frozenset()


def test_known_types_are_reserved():
    assert {CONTACT_TYPE, MANIFEST_TYPE} == KNOWN_RESERVED_TYPES
