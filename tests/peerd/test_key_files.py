"""A key file gives its key to its owner only, and every other case is `no-key-access`."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from hypothesis import given, strategies as st

from peerd.key_files import draw_seed, read_key, write_key
from peerd.paths import replace_durably
from protocol.credentials.keys import PrivateKey
from protocol.errors import RuleError

KEY = PrivateKey.from_seed(bytes(range(32)))
OTHER = PrivateKey.from_seed(bytes(32))


def refusal(path: Path) -> RuleError:
    with pytest.raises(RuleError) as caught:
        read_key(path, KEY.public)
    assert caught.value.code == "no-key-access"
    assert caught.value.hint
    return caught.value


def test_what_was_written_is_read_again_and_others_cannot_read_it(tmp_path: Path) -> None:
    write_key(tmp_path / "key.pem", KEY)
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600
    assert read_key(tmp_path / "key.pem", KEY.public) == KEY


def test_every_tool_can_read_it(tmp_path: Path) -> None:
    write_key(tmp_path / "key.pem", KEY)
    loaded = load_pem_private_key((tmp_path / "key.pem").read_bytes(), password=None)
    assert isinstance(loaded, Ed25519PrivateKey)
    assert loaded.public_key().public_bytes_raw() == KEY.public.raw


def test_seeds_differ() -> None:
    assert len({draw_seed() for _ in range(100)}) == 100
    assert len(draw_seed()) == 32


def test_a_missing_file(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "key.pem").detail


def test_a_file_that_others_can_read_comes_with_its_chmod(tmp_path: Path) -> None:
    write_key(tmp_path / "key.pem", KEY)
    (tmp_path / "key.pem").chmod(0o640)
    assert refusal(tmp_path / "key.pem").hint == f"chmod 600 {tmp_path / 'key.pem'}"


def test_the_key_of_somebody_else(tmp_path: Path) -> None:
    write_key(tmp_path / "key.pem", OTHER)
    assert "not the one that belongs there" in refusal(tmp_path / "key.pem").detail


def test_a_key_of_another_kind(tmp_path: Path) -> None:
    pem = X25519PrivateKey.from_private_bytes(bytes(32)).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    replace_durably(tmp_path / "key.pem", pem)
    assert "not an Ed25519 key" in refusal(tmp_path / "key.pem").detail


def test_a_key_under_a_passphrase(tmp_path: Path) -> None:
    pem = KEY.crypto.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    replace_durably(tmp_path / "key.pem", pem)
    refusal(tmp_path / "key.pem")


def test_a_directory_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "key.pem").mkdir(0o700)
    refusal(tmp_path / "key.pem")


@given(data=st.binary(max_size=200) | st.binary(min_size=1000, max_size=1100))
def test_no_contents_raise_another_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.pem"
    replace_durably(path, data)
    refusal(path)


@given(position=st.integers(0, 118), value=st.integers(0, 255))
def test_a_damaged_key_is_never_taken_for_another(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.pem"
    write_key(path, KEY)
    pem = bytearray(path.read_bytes())
    pem[position] = value
    replace_durably(path, bytes(pem))
    try:
        read = read_key(path, KEY.public)
    except RuleError:
        refusal(path)
    else:
        assert read == KEY
