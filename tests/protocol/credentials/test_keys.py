"""Keys: one decoder, names that follow from the key, and checks that never pass by accident."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, strategies as st

from protocol.credentials.keys import (
    BadSignature,
    PrivateKey,
    PublicKey,
    SignatureCheck,
    all_hold,
    holds,
    public_key_untrusted,
)
from protocol.errors import Fault, RemoteProtocolError

P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P
SEEDS = st.binary(min_size=32, max_size=32)


def test_pid_is_the_hash_of_the_der_public_key_info():
    key = PrivateKey.from_seed(bytes(32)).public
    der = key.crypto.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert key.spki == der
    assert len(der) == 44
    assert key.pid == hashlib.sha256(der).digest()
    assert key.authority == key.pid[:20].hex()


@given(SEEDS, st.binary(max_size=200))
def test_decoded_key_verifies_what_its_owner_signed(seed, message):
    private = PrivateKey.from_seed(seed)
    key = public_key_untrusted(private.public.raw)
    assert key == private.public
    key.verify(private.sign(message), message)
    assert holds(SignatureCheck(key.raw, private.sign(message), message))


@given(SEEDS, st.integers(0, 8 * 64 - 1))
def test_signature_with_a_flipped_bit_is_refused(seed, bit):
    private = PrivateKey.from_seed(seed)
    signature = bytearray(private.sign(b"message"))
    signature[bit // 8] ^= 1 << bit % 8
    with pytest.raises(BadSignature):
        private.public.verify(bytes(signature), b"message")
    assert not holds(SignatureCheck(private.public.raw, bytes(signature), b"message"))


@pytest.mark.parametrize("length", [0, 1, 63, 65, 1000])
def test_signature_of_another_length_is_refused(length):
    key = PrivateKey.from_seed(bytes(32)).public
    with pytest.raises(BadSignature):
        key.verify(bytes(length), b"")


def test_signature_with_a_second_encoding_of_s_is_refused():
    private = PrivateKey.from_seed(bytes(32))
    signature = private.sign(b"m")
    order = 2**252 + 27742317777372353535851937790883648493
    s = int.from_bytes(signature[32:], "little") + order
    with pytest.raises(BadSignature):
        private.public.verify(signature[:32] + s.to_bytes(32, "little"), b"m")


@pytest.mark.parametrize("length", [0, 31, 33, 44])
def test_key_of_another_length_is_refused(length):
    with pytest.raises(RemoteProtocolError, match="bytes") as caught:
        public_key_untrusted(bytes([9]) * length)
    assert caught.value.fault is Fault.MALFORMED


@pytest.mark.parametrize("sign", [0, 1])
@pytest.mark.parametrize("above", range(19))
def test_key_in_a_second_encoding_is_refused(above, sign):
    raw = (P + above | sign << 255).to_bytes(32, "little")
    with pytest.raises(RemoteProtocolError, match="second encoding"):
        public_key_untrusted(raw)


def test_the_largest_canonical_y_is_not_taken_for_a_second_encoding():
    raw = (P - 2).to_bytes(32, "little")
    assert public_key_untrusted(raw).raw == raw


def _add(a, b):
    (x1, y1), (x2, y2) = a, b
    t = D * x1 * x2 * y1 * y2 % P
    return (x1 * y2 + x2 * y1) * pow(1 + t, -1, P) % P, (y1 * y2 + x1 * x2) * pow(1 - t, -1, P) % P


def _root(square):
    root = pow(square, (P + 3) // 8, P)
    if root * root % P != square % P:
        root = root * pow(2, (P - 1) // 4, P) % P
    return root if root * root % P == square % P else None


def _points_of_small_order():
    """All multiples of a point of order 8, found from the curve's equation alone."""
    order = 2**252 + 27742317777372353535851937790883648493
    y = 2
    while True:
        x = _root((y * y - 1) * pow(D * y * y + 1, -1, P))
        y += 1
        if x is None:
            continue
        torsion, power, scalar = (0, 1), (x, y - 1), order
        while scalar:
            torsion = _add(torsion, power) if scalar & 1 else torsion
            power, scalar = _add(power, power), scalar >> 1
        points = [(0, 1)]
        while (following := _add(points[-1], torsion)) != (0, 1):
            points.append(following)
        if len(points) == 8:
            return points


def test_every_point_of_small_order_is_refused():
    points = _points_of_small_order()
    for x, y in points:
        with pytest.raises(RemoteProtocolError, match="small order"):
            public_key_untrusted((y | (x & 1) << 255).to_bytes(32, "little"))
        with pytest.raises(RemoteProtocolError, match="small order"):
            public_key_untrusted((y | (~x & 1) << 255).to_bytes(32, "little"))


def test_a_key_of_small_order_holds_nothing_even_where_the_library_would_agree():
    identity = (1).to_bytes(32, "little")
    forged = identity + bytes(32)
    PublicKey(identity).crypto.verify(forged, b"anything")
    assert not holds(SignatureCheck(identity, forged, b"anything"))


@given(st.binary(max_size=64))
def test_random_bytes_give_a_key_or_the_one_error(raw):
    try:
        key = public_key_untrusted(raw)
    except RemoteProtocolError:
        return
    assert key.raw == raw


def test_one_bad_signature_spoils_a_batch():
    private = PrivateKey.from_seed(bytes(32))
    good = [SignatureCheck(private.public.raw, private.sign(bytes([n])), bytes([n])) for n in range(5)]
    assert all_hold(good)
    assert all_hold([])
    for place in range(5):
        assert not all_hold(
            [*good[:place], SignatureCheck(good[place].key, bytes(64), b""), *good[place + 1 :]]
        )


def test_private_key_does_not_show_its_seed():
    private = PrivateKey.from_seed(b"secret-secret-secret-secret-1234")
    assert "secret" not in repr(private)
    assert private.seed.hex() not in repr(private)
    assert private == PrivateKey.from_seed(private.seed)
