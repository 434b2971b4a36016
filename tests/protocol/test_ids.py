"""Hashes have domains of their own: no two inputs give one byte string."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from protocol.ids import authority_of, framed, split_ids, tagged_hash

tags = st.text("abc/1", min_size=1, max_size=6)
fields = st.lists(st.binary(max_size=6), max_size=4)


@given(tags, fields, tags, fields)
def test_framing_is_injective(tag, some, other_tag, others):
    assert (framed(tag, *some) == framed(other_tag, *others)) == ((tag, some) == (other_tag, others))


def test_a_frame_is_length_and_content():
    assert framed("ab", b"", b"xyz") == b"\0\0\0\2ab\0\0\0\0\0\0\0\3xyz"


def test_a_tagged_hash_is_sha256_of_the_frame():
    assert tagged_hash("a").hex() == "72ff6b02949dad95006c343e3db3150090d3afb49f6bbdb92fdc17607997a85c"
    assert len(tagged_hash("a", b"b")) == 32
    assert tagged_hash("a", b"b") != tagged_hash("ab")


def test_the_authority_is_the_first_20_bytes_in_hex():
    assert authority_of(bytes(range(32))) == bytes(range(20)).hex()


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=5))
def test_lists_of_ids_come_apart_again(ids):
    assert split_ids(b"".join(ids)) == tuple(ids)


def test_half_an_id_is_a_mistake_of_ours():
    with pytest.raises(AssertionError):
        split_ids(bytes(33))
