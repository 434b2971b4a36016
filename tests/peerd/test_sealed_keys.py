"""A sealed key opens with its passphrase and with nothing else, and any change to the file is noticed."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from hypothesis import given, settings, strategies as st

from peerd.key_files import pem_of
from peerd.sealed_keys import (
    PASSPHRASE_CHARACTERS_MAX,
    Cost,
    check_passphrase,
    is_sealed,
    seal,
    sealed_public,
    unseal,
)
from protocol.codec import decode_untrusted, encode
from protocol.credentials.keys import PrivateKey
from protocol.errors import RuleError

CHEAP = Cost(memory_kib=32, passes=1, lanes=1)
KEY = PrivateKey.from_seed(bytes(range(32)))
PASSPHRASE = "four words or more"
SEALED = seal(KEY, PASSPHRASE, CHEAP)


def refusal(data: bytes, passphrase: str = PASSPHRASE) -> str:
    with pytest.raises(RuleError) as caught:
        unseal(data, passphrase)
    assert caught.value.hint
    assert len(passphrase) < 8 or passphrase not in caught.value.detail + caught.value.hint
    return caught.value.code


def parts(data: bytes) -> dict[str, object]:
    found = decode_untrusted(base64.b64decode(b"".join(data.split(b"\n")[1:-2])), bytes_max=1024)
    assert isinstance(found, dict)
    return found


def file_of(fields: dict[str, object]) -> bytes:
    lines = SEALED.split(b"\n")
    return b"\n".join((lines[0], base64.b64encode(encode(fields)), lines[-2], b""))


@settings(max_examples=30, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.text(min_size=1, max_size=40))
def test_what_was_sealed_opens_with_the_same_passphrase(seed, passphrase):
    key = PrivateKey.from_seed(seed)
    data = seal(key, passphrase, CHEAP)
    assert unseal(data, passphrase) == key
    assert sealed_public(data) == key.public
    assert seed not in base64.b64decode(b"".join(data.split(b"\n")[1:-2]))


@settings(max_examples=30, deadline=None)
@given(st.text(min_size=1, max_size=20).filter(lambda text: text != PASSPHRASE))
def test_another_passphrase_opens_nothing(passphrase):
    assert refusal(SEALED, passphrase) == "wrong-passphrase"


def test_no_two_files_are_alike():
    assert seal(KEY, PASSPHRASE, CHEAP) != SEALED


def test_how_a_keyboard_composes_its_letters_does_not_matter():
    assert unseal(seal(KEY, "caf\u00e9", CHEAP), "cafe\u0301") == KEY


@pytest.mark.parametrize("name", ["memory", "passes", "lanes", "salt", "nonce", "public", "sealed"])
def test_whatever_is_changed_is_noticed(name):
    fields = parts(SEALED)
    value = fields[name]
    if isinstance(value, bytes):
        fields[name] = bytes([value[0] ^ 1]) + value[1:]
    else:
        assert isinstance(value, int)
        fields[name] = value + 1
    assert refusal(file_of(fields)) in ("wrong-passphrase", "no-key-access")


def test_a_file_that_says_another_key_than_it_holds_is_refused():
    # Whoever knows the passphrase can write any file; the key that it names is still the one that opens.
    fields = parts(SEALED) | {"public": PrivateKey.from_seed(bytes(32)).public.raw}
    head = {name: value for name, value in fields.items() if name != "sealed"}
    salt, nonce = fields["salt"], fields["nonce"]
    assert isinstance(salt, bytes)
    assert isinstance(nonce, bytes)
    derived = Argon2id(salt=salt, length=32, iterations=1, lanes=1, memory_cost=32).derive(
        PASSPHRASE.encode()
    )
    fields["sealed"] = ChaCha20Poly1305(derived).encrypt(nonce, KEY.seed, encode(head))
    assert refusal(file_of(fields)) == "no-key-access"


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"memory": 2 * 1024 * 1024},
        {"passes": 65},
        {"lanes": 17},
        {"passes": 0},
        {"salt": b"short"},
        {"nonce": b""},
        {"sealed": b"x" * 47},
        {"public": bytes(32)},
    ],
)
def test_a_file_beyond_the_bounds_is_damaged_before_any_work_is_done(change):
    assert refusal(file_of(parts(SEALED) | change)) == "no-key-access"


@given(st.binary(max_size=600))
def test_no_bytes_make_anything_but_a_refusal(data):
    for contents in (data, SEALED[:100] + data, b"\n".join((SEALED.split(b"\n")[0], data, SEALED[-34:]))):
        with pytest.raises(RuleError):
            sealed_public(contents)


def test_it_is_told_from_a_key_that_anybody_can_use():
    assert is_sealed(SEALED)
    assert is_sealed(b"\n" + SEALED)
    assert not is_sealed(pem_of(KEY))
    assert b"PRIVATE" not in SEALED


@pytest.mark.parametrize("passphrase", ["", "x" * (PASSPHRASE_CHARACTERS_MAX + 1)])
def test_a_passphrase_has_an_end_and_is_not_empty(passphrase):
    with pytest.raises(RuleError) as caught:
        seal(KEY, passphrase, CHEAP)
    assert caught.value.code == "invalid-argument"
    assert check_passphrase("x" * PASSPHRASE_CHARACTERS_MAX)


def test_the_work_is_that_of_the_second_recommended_option_of_rfc_9106():
    fields = parts(seal(KEY, PASSPHRASE))
    assert (fields["memory"], fields["passes"], fields["lanes"]) == (64 * 1024, 3, 4)
    assert unseal(file_of(fields), PASSPHRASE) == KEY
