"""Root keys are kept apart by group, may be taken away and put back, and can be locked."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from peerd.errors import ConfigError, NotFound
from peerd.key_files import write_key
from peerd.root_keys import RootKeys, read_passphrases
from peerd.sealed_keys import Cost
from protocol.credentials.keys import PrivateKey
from protocol.errors import RuleError

CHEAP = Cost(memory_kib=32, passes=1, lanes=1)
PIZZA, TEA = bytes(32), bytes([1]) * 32
PIZZA_KEY, TEA_KEY, OTHER_KEY = (PrivateKey.from_seed(bytes([number]) * 32) for number in range(3))
PIZZA_PID, TEA_PID = PIZZA_KEY.public.pid, TEA_KEY.public.pid
OPEN, WRONG = "open sesame", "open barley"


@pytest.fixture
def keys(tmp_path: Path) -> RootKeys:
    return RootKeys(tmp_path / "root", CHEAP)


def refusal(keys: RootKeys, *pids: bytes, passphrase: str | None = None) -> str:
    with pytest.raises(RuleError) as caught:
        keys.load(PIZZA, pids or [PIZZA_PID], passphrase)
    assert caught.value.hint
    return caught.value.code


def files(keys: RootKeys) -> dict[str, bytes]:
    return {one.path.name: one.path.read_bytes() for one in keys.held(PIZZA)}


def test_each_group_has_its_own_and_they_survive_a_restart(keys: RootKeys, tmp_path: Path) -> None:
    keys.save(PIZZA, PIZZA_KEY)
    keys.save(TEA, TEA_KEY)
    again = RootKeys(tmp_path / "root")
    assert again.load(PIZZA, [PIZZA_PID]) == PIZZA_KEY
    assert again.load(TEA, [PIZZA_PID, TEA_PID]) == TEA_KEY
    assert stat.S_IMODE((tmp_path / "root").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "root").iterdir()} == {0o600}


def test_a_file_that_has_only_the_group_as_its_name_is_read(keys: RootKeys, tmp_path: Path) -> None:
    write_key(tmp_path / "root" / f"{PIZZA.hex()}.pem", PIZZA_KEY)
    keys.save(PIZZA, OTHER_KEY)
    assert keys.load(PIZZA, [PIZZA_PID]) == PIZZA_KEY
    assert {one.public for one in keys.held(PIZZA)} == {PIZZA_KEY.public, OTHER_KEY.public}
    keys.protect(PIZZA, None, OPEN)
    assert keys.load(PIZZA, [PIZZA_PID], OPEN) == PIZZA_KEY


def test_without_a_root_key_there_is_no_access(keys: RootKeys) -> None:
    assert not keys.any_held(PIZZA)
    assert refusal(keys) == "no-key-access"
    assert keys.load_all(PIZZA, [PIZZA_PID]) == []


def test_the_root_key_of_another_group_or_version_is_refused(keys: RootKeys) -> None:
    keys.save(PIZZA, TEA_KEY)
    keys.save(TEA, PIZZA_KEY)
    assert refusal(keys) == "no-key-access"
    assert keys.load_all(PIZZA, [PIZZA_PID]) == []


def test_why_a_key_cannot_be_used_is_said(keys: RootKeys, tmp_path: Path) -> None:
    keys.save(PIZZA, PIZZA_KEY)
    (file,) = (tmp_path / "root").iterdir()
    file.chmod(0o644)
    with pytest.raises(RuleError) as caught:
        keys.load(PIZZA, [PIZZA_PID])
    assert "chmod 600" in caught.value.hint
    assert keys.any_held(PIZZA)
    assert keys.held(PIZZA) == []


def test_one_taken_away_can_be_put_back(keys: RootKeys, tmp_path: Path) -> None:
    keys.save(PIZZA, PIZZA_KEY)
    (file,) = (tmp_path / "root").iterdir()
    file.rename(tmp_path / "safe")
    assert not keys.any_held(PIZZA)
    (tmp_path / "safe").rename(file)
    assert keys.load(PIZZA, [PIZZA_PID]) == PIZZA_KEY


def test_whether_one_of_some_keys_is_here_is_told_without_opening_it(keys: RootKeys, tmp_path: Path) -> None:
    keys.save(PIZZA, PIZZA_KEY, OPEN)
    assert keys.any_held(PIZZA, [TEA_PID, PIZZA_PID])
    assert not keys.any_held(PIZZA, [TEA_PID])
    assert not keys.any_held(TEA, [PIZZA_PID])
    write_key(tmp_path / "root" / f"{TEA.hex()}.pem", TEA_KEY)
    assert keys.any_held(TEA, [TEA_PID])
    assert not keys.any_held(TEA, [PIZZA_PID])


def test_a_root_key_is_never_overwritten(keys: RootKeys) -> None:
    keys.save(PIZZA, PIZZA_KEY)
    before = files(keys)
    with pytest.raises(AssertionError):
        keys.save(PIZZA, PIZZA_KEY)
    assert files(keys) == before


def test_removal_can_be_repeated(keys: RootKeys) -> None:
    keys.save(PIZZA, PIZZA_KEY)
    keys.save(PIZZA, OTHER_KEY)
    keys.remove_one(PIZZA, OTHER_KEY.public)
    assert [one.public for one in keys.held(PIZZA)] == [PIZZA_KEY.public]
    keys.remove(PIZZA)
    keys.remove(PIZZA)
    assert not keys.any_held(PIZZA)


# --- passphrases ----------------------------------------------------------------------------------------


def test_a_locked_key_needs_its_passphrase_for_each_use(keys: RootKeys) -> None:
    keys.save(PIZZA, PIZZA_KEY)
    keys.protect(PIZZA, None, OPEN)
    assert [(one.sealed, one.locked) for one in keys.held(PIZZA)] == [(True, True)]
    assert refusal(keys) == "passphrase-needed"
    assert refusal(keys, passphrase=WRONG) == "wrong-passphrase"
    assert keys.load(PIZZA, [PIZZA_PID], OPEN) == PIZZA_KEY
    assert refusal(keys) == "passphrase-needed"


def test_an_unlocked_key_is_open_until_it_is_locked_or_the_daemon_ends(
    keys: RootKeys, tmp_path: Path
) -> None:
    keys.save(PIZZA, PIZZA_KEY, OPEN)
    keys.save(TEA, TEA_KEY, OPEN)
    with pytest.raises(RuleError, match="passphrase"):
        keys.unlock(PIZZA, WRONG)
    assert refusal(keys) == "passphrase-needed"
    keys.unlock(PIZZA, OPEN)
    assert keys.load(PIZZA, [PIZZA_PID]) == PIZZA_KEY
    assert [(one.sealed, one.locked) for one in keys.held(PIZZA)] == [(True, False)]
    assert [one.locked for one in keys.held(TEA)] == [True]
    assert [one.locked for one in RootKeys(tmp_path / "root").held(PIZZA)] == [True]
    keys.unlock(TEA, OPEN)
    keys.lock(PIZZA)
    assert refusal(keys) == "passphrase-needed"
    assert keys.load(TEA, [TEA_PID]) == TEA_KEY


def test_a_key_that_is_not_locked_is_used_without_being_asked_for_a_passphrase(keys: RootKeys) -> None:
    keys.save(PIZZA, PIZZA_KEY, OPEN)
    keys.save(PIZZA, OTHER_KEY)
    assert keys.load(PIZZA, [PIZZA_PID, OTHER_KEY.public.pid]) == OTHER_KEY
    assert keys.load_all(PIZZA, [PIZZA_PID, OTHER_KEY.public.pid]) == [OTHER_KEY]
    both = keys.load_all(PIZZA, [PIZZA_PID, OTHER_KEY.public.pid], OPEN)
    assert {key.public for key in both} == {PIZZA_KEY.public, OTHER_KEY.public}
    with pytest.raises(RuleError, match="passphrase"):
        keys.load_all(PIZZA, [PIZZA_PID], WRONG)
    keys.unlock(PIZZA, OPEN)
    assert len(keys.load_all(PIZZA, [PIZZA_PID, OTHER_KEY.public.pid])) == 2


def test_a_passphrase_is_changed_and_taken_off_with_the_old_one_only(keys: RootKeys) -> None:
    keys.save(PIZZA, PIZZA_KEY)
    keys.save(PIZZA, OTHER_KEY)
    plain = files(keys)
    keys.protect(PIZZA, None, OPEN)
    keys.unlock(PIZZA, OPEN)
    before = files(keys)
    for old in (None, WRONG):
        with pytest.raises(RuleError):
            keys.protect(PIZZA, old, WRONG)
        with pytest.raises(RuleError):
            keys.protect(PIZZA, old, None)
    assert files(keys) == before
    keys.protect(PIZZA, OPEN, WRONG)
    assert [one.locked for one in keys.held(PIZZA)] == [True, True]
    assert refusal(keys, passphrase=OPEN) == "wrong-passphrase"
    keys.protect(PIZZA, WRONG, None)
    assert files(keys) == plain


def test_a_key_under_a_passphrase_that_nobody_knows_any_more_keeps_no_other_from_being_protected(
    keys: RootKeys,
) -> None:
    keys.save(PIZZA, PIZZA_KEY, "forgotten")
    keys.save(PIZZA, OTHER_KEY)
    forgotten = {one.path.name: one.path.read_bytes() for one in keys.held(PIZZA) if one.sealed}
    keys.protect(PIZZA, None, OPEN)
    keys.unlock(PIZZA, OPEN)
    assert keys.load_all(PIZZA, [PIZZA_PID, OTHER_KEY.public.pid]) == [OTHER_KEY]
    with pytest.raises(RuleError):
        keys.protect(PIZZA, None, None)
    keys.protect(PIZZA, OPEN, WRONG)
    assert keys.load(PIZZA, [OTHER_KEY.public.pid], WRONG) == OTHER_KEY
    assert files(keys).items() >= forgotten.items()


def test_a_passphrase_that_is_none_changes_nothing(keys: RootKeys) -> None:
    keys.save(PIZZA, PIZZA_KEY)
    before = files(keys)
    with pytest.raises(RuleError):
        keys.protect(PIZZA, None, "")
    assert files(keys) == before
    with pytest.raises(RuleError):
        keys.save(PIZZA, OTHER_KEY, "")
    assert files(keys) == before


def test_where_no_key_is_there_is_nothing_to_unlock_or_protect(keys: RootKeys) -> None:
    with pytest.raises(RuleError, match="not in this home"):
        keys.unlock(PIZZA, OPEN)
    with pytest.raises(RuleError, match="not in this home"):
        keys.protect(PIZZA, None, OPEN)
    keys.lock(PIZZA)


def test_unlocking_what_is_under_no_passphrase_is_no_mistake(keys: RootKeys) -> None:
    keys.save(PIZZA, PIZZA_KEY)
    keys.unlock(PIZZA, OPEN)
    assert keys.load(PIZZA, [PIZZA_PID]) == PIZZA_KEY


def test_a_damaged_file_is_not_called_locked(keys: RootKeys) -> None:
    keys.save(PIZZA, PIZZA_KEY, OPEN)
    (one,) = keys.held(PIZZA)
    one.path.write_bytes(one.path.read_bytes()[:80])
    assert keys.held(PIZZA) == []
    assert refusal(keys) == "no-key-access"
    with pytest.raises(RuleError, match="damaged"):
        keys.unlock(PIZZA, OPEN)


def test_passphrases_are_the_lines_of_a_file_that_nobody_else_can_read(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.touch(mode=0o600)
    file.write_text(f"{OPEN}\n\n  {WRONG}\r\n")
    assert read_passphrases(file) == [OPEN, f"  {WRONG}"]
    file.write_bytes(b"\xff\n")
    with pytest.raises(ConfigError, match="no passphrases"):
        read_passphrases(file)
    file.chmod(0o644)
    with pytest.raises(ConfigError) as caught:
        read_passphrases(file)
    assert caught.value.code == "home-not-private"
    with pytest.raises(NotFound):
        read_passphrases(tmp_path / "none")


def test_a_file_of_passphrases_opens_what_it_can(keys: RootKeys, tmp_path: Path) -> None:
    assert keys.unlock_all([OPEN]) == (0, 0)
    keys.save(PIZZA, PIZZA_KEY, OPEN)
    keys.save(TEA, TEA_KEY, WRONG)
    keys.save(TEA, OTHER_KEY)
    (tmp_path / "root" / "notes.pem").touch(mode=0o600)
    assert keys.unlock_all(["neither"]) == (0, 2)
    assert keys.unlock_all([OPEN]) == (1, 1)
    assert keys.unlock_all([WRONG]) == (2, 0)
    assert keys.load(PIZZA, [PIZZA_PID]) == PIZZA_KEY
