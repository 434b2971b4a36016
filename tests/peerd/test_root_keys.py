"""Root keys are kept apart by group, and may be taken away and put back."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from peerd.root_keys import RootKeys
from protocol.credentials.keys import PrivateKey
from protocol.errors import RuleError

PIZZA, TEA = bytes(32), bytes([1]) * 32
PIZZA_KEY, TEA_KEY = PrivateKey.from_seed(bytes(32)), PrivateKey.from_seed(bytes([1]) * 32)


def test_each_group_has_its_own_and_they_survive_a_restart(tmp_path: Path) -> None:
    keys = RootKeys(tmp_path / "root")
    keys.save(PIZZA, PIZZA_KEY)
    keys.save(TEA, TEA_KEY)
    again = RootKeys(tmp_path / "root")
    assert again.load(PIZZA, PIZZA_KEY.public) == PIZZA_KEY
    assert again.load(TEA, TEA_KEY.public) == TEA_KEY
    assert stat.S_IMODE((tmp_path / "root").stat().st_mode) == 0o700


def test_without_a_root_key_there_is_no_access(tmp_path: Path) -> None:
    keys = RootKeys(tmp_path / "root")
    assert not keys.held(PIZZA)
    with pytest.raises(RuleError) as caught:
        keys.load(PIZZA, PIZZA_KEY.public)
    assert caught.value.code == "no-key-access"


def test_the_root_key_of_another_group_is_refused(tmp_path: Path) -> None:
    keys = RootKeys(tmp_path / "root")
    keys.save(PIZZA, TEA_KEY)
    with pytest.raises(RuleError) as caught:
        keys.load(PIZZA, PIZZA_KEY.public)
    assert caught.value.code == "no-key-access"


def test_one_taken_away_can_be_put_back(tmp_path: Path) -> None:
    keys = RootKeys(tmp_path / "root")
    keys.save(PIZZA, PIZZA_KEY)
    (file,) = (tmp_path / "root").iterdir()
    file.rename(tmp_path / "safe")
    assert not keys.held(PIZZA)
    (tmp_path / "safe").rename(file)
    assert keys.load(PIZZA, PIZZA_KEY.public) == PIZZA_KEY


def test_a_root_key_is_never_overwritten(tmp_path: Path) -> None:
    keys = RootKeys(tmp_path / "root")
    keys.save(PIZZA, PIZZA_KEY)
    with pytest.raises(AssertionError):
        keys.save(PIZZA, TEA_KEY)
    assert keys.load(PIZZA, PIZZA_KEY.public) == PIZZA_KEY


def test_removal_can_be_repeated(tmp_path: Path) -> None:
    keys = RootKeys(tmp_path / "root")
    keys.save(PIZZA, PIZZA_KEY)
    keys.remove(PIZZA)
    keys.remove(PIZZA)
    assert not keys.held(PIZZA)
