"""Bags of certificates: one spelling for one set, and no other."""

from __future__ import annotations

import random

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from hypothesis import given, strategies as st

from protocol.credentials.pkcs7 import read_untrusted_bag, write_bag
from protocol.errors import Fault, RemoteProtocolError
from protocol.limits import CHAIN_BYTES_MAX, CHAIN_CERTIFICATES_MAX
from tests.protocol.credentials.given import chain, grc, idc
from tests.protocol.credentials.surgery import inside, parts, tlv

LINE = chain("root -> " + " -> ".join(f"a{n} {n}" for n in range(1, 25)) + " -> i 254")
BAG = write_bag(LINE[:4])


def refused(bag: bytes) -> RemoteProtocolError:
    """The one kind of error that a bad bag ends in."""
    with pytest.raises(RemoteProtocolError) as caught:
        read_untrusted_bag(bag)
    return caught.value


@pytest.mark.parametrize("count", [1, 2, 4, CHAIN_CERTIFICATES_MAX])
def test_set_of_certificates_comes_back_whole(count):
    found = read_untrusted_bag(write_bag(LINE[:count]))
    assert sorted(certificate.der for certificate in found) == sorted(LINE[:count])


def test_order_of_writing_leaves_no_trace():
    shuffled = LINE[:10]
    random.Random(1).shuffle(shuffled)
    assert write_bag(shuffled) == write_bag(LINE[:10])


def test_bag_is_what_the_library_reads():
    found = pkcs7.load_der_pkcs7_certificates(BAG)
    assert sorted(one.public_bytes(Encoding.DER) for one in found) == sorted(LINE[:4])


def test_bag_of_26_certificates_is_refused():
    assert len(LINE) == 26
    assert refused(write_bag(LINE)).fault is Fault.OVER_LIMIT


def test_oversized_bag_is_refused_before_it_is_read():
    assert refused(bytes(CHAIN_BYTES_MAX + 65)).fault is Fault.OVER_LIMIT
    assert refused(bytes(CHAIN_BYTES_MAX + 64)).fault is Fault.MALFORMED


def _rebuilt(*certificates: bytes, behind: tuple[bytes, ...] = (), version: bytes = b"\1") -> bytes:
    """A bag with the certificates as they are given."""
    signed = parts(parts(BAG)[1])[0]
    _, digests, data, _, signers = parts(signed)
    body = tlv(0x30, tlv(2, version), digests, data, tlv(0xA0, *certificates), *behind, signers)
    return tlv(0x30, parts(BAG)[0], tlv(0xA0, body))


SORTED = sorted(LINE[:4], key=lambda der: der)
REVOKED = tlv(0xA1, b"")
HOSTILE = {
    "empty": b"",
    "no certificates": _rebuilt(),
    "another order": _rebuilt(*reversed(SORTED)),
    "a certificate twice": _rebuilt(*sorted([*LINE[:2], LINE[0]])),
    "something that is no certificate": _rebuilt(LINE[0], tlv(0x30, bytes(300))),
    "a cut certificate": _rebuilt(LINE[0], LINE[1][:-1]),
    "revocation lists": _rebuilt(*SORTED, behind=(REVOKED,)),
    "another version": _rebuilt(*SORTED, version=b"\3"),
    "bytes behind": BAG + b"\0",
    "bytes before": b"\0" + BAG,
    "indefinite length": b"\x30\x80" + inside(BAG) + b"\0\0",
    "long form of length": b"\x30\x83\0" + BAG[2:],
    "half": BAG[: len(BAG) // 2],
    "a certificate bare": LINE[0],
    "lengths of nothing": _rebuilt(b"\x30\x82\0\0" * 100),
    "lengths beyond the end": _rebuilt(b"\x30\x82\xff\xff" + bytes(100)),
}


def test_rebuilding_a_bag_gives_it_back():
    assert _rebuilt(*SORTED) == BAG


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_bag_is_refused(case):
    refused(HOSTILE[case])


@given(st.binary(max_size=3000))
def test_random_bytes_are_refused(bag):
    refused(bag)


@given(st.data())
def test_bag_with_changed_bytes_is_refused_or_is_what_is_written(data):
    bag = bytearray(write_bag([grc(), idc()]))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(bag) - 1))
        if data.draw(st.booleans()):
            bag[place] = data.draw(st.integers(0, 255))
        else:
            bag[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        found = read_untrusted_bag(bytes(bag))
    except RemoteProtocolError:
        return
    assert write_bag([certificate.der for certificate in found]) == bag
