"""Sealing keys: they follow from the identity, and both halves fit."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from protocol.credentials.sealing import SEALING_KEY_BYTES, public_sealing_key, sealing_key
from tests.support.keys import named


def test_sealing_key_follows_from_the_identity_alone():
    assert public_sealing_key(named("alice")) == public_sealing_key(named("alice"))
    assert public_sealing_key(named("alice")) != public_sealing_key(named("bob"))
    assert len(public_sealing_key(named("alice"))) == SEALING_KEY_BYTES


def test_sealing_key_is_not_the_identity_s_seed():
    assert sealing_key(named("alice")).private_bytes_raw() != named("alice").seed


def test_two_identities_agree_on_a_secret():
    alice, bob = sealing_key(named("alice")), sealing_key(named("bob"))
    there = alice.exchange(X25519PublicKey.from_public_bytes(public_sealing_key(named("bob"))))
    back = bob.exchange(X25519PublicKey.from_public_bytes(public_sealing_key(named("alice"))))
    assert there == back
