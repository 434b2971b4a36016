"""Identities outlive the daemon, deleted ones are remembered, and a key is never used in doubt."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from peerd import identities as module
from peerd.errors import ConfigError, Conflict, StoreCorrupt, StoreError, StoreFull, StoreTooNew
from peerd.identities import Identities
from peerd.paths import replace_durably
from protocol.credentials.documents import read_identity_document
from protocol.credentials.keys import PrivateKey
from protocol.errors import RuleError

NOW_MS = 1_800_000_000_000
KEY = PrivateKey.from_seed(bytes(range(32)))
CLASSIFIERS = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), max_size=149)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "identities"


def description_of(directory: Path) -> Path:
    (path,) = directory.glob("*.json")
    return path


def code_of(call: object, *arguments: object) -> str:
    with pytest.raises(RuleError) as caught:
        call(*arguments)  # type: ignore[operator]
    assert caught.value.hint
    return caught.value.code


def test_an_identity_survives_a_restart_with_its_key(directory: Path) -> None:
    made = Identities(directory).create("alice", "Alice", NOW_MS)
    again = Identities(directory)
    assert again.all() == (made,)
    key = again.private_key(made.name)
    assert key.public == made.key
    assert made.peer_name == f"{key.public.authority}.alice"


def test_every_file_is_closed_to_others(directory: Path) -> None:
    Identities(directory).create("alice", "", NOW_MS)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}


def test_the_description_holds_no_secret(directory: Path) -> None:
    made = Identities(directory)
    made.create("alice", "", NOW_MS, key=KEY)
    assert KEY.seed.hex() not in description_of(directory).read_text()
    assert KEY.seed.hex() not in repr(made.all()) + repr(made.private_key("alice"))


@given(classifier=CLASSIFIERS)
def test_every_classifier_that_is_allowed_can_be_stored(
    tmp_path_factory: pytest.TempPathFactory, classifier: str
) -> None:
    directory = tmp_path_factory.mktemp("identities") / "identities"
    made = Identities(directory).create(classifier, "", NOW_MS, key=KEY)
    assert Identities(directory).all() == (made,)


def test_without_a_friendly_name_the_peer_name_is_shown(directory: Path) -> None:
    identities = Identities(directory)
    made = identities.create("alice", "", NOW_MS)
    assert made.friendly_name == made.peer_name
    assert identities.rename("alice", "Alice").friendly_name == "Alice"
    assert Identities(directory).find("alice").friendly_name == "Alice"
    assert identities.rename("alice", "").friendly_name == made.peer_name


def test_one_key_can_have_several_classifiers_and_each_once(directory: Path) -> None:
    identities = Identities(directory)
    identities.create("alice", "", NOW_MS, key=KEY)
    identities.create("work", "", NOW_MS, key=KEY)
    assert code_of(lambda: identities.create("work", "", NOW_MS, key=KEY)) == "already-exists"
    assert len(Identities(directory).all()) == 2


@pytest.mark.parametrize(
    "classifier, friendly_name, code",
    [
        ("x" * 150, "", "classifier-too-long"),
        ("a\nb", "", "invalid-classifier"),
        ("", "\u202e", "invalid-friendly-name"),
    ],
)
def test_bad_names_are_refused_and_leave_nothing(
    directory: Path, classifier: str, friendly_name: str, code: str
) -> None:
    identities = Identities(directory)
    assert code_of(identities.create, classifier, friendly_name, NOW_MS) == code
    assert not list(directory.iterdir())


def test_a_bad_new_name_is_refused_and_changes_nothing(directory: Path) -> None:
    identities = Identities(directory)
    made = identities.create("alice", "Alice", NOW_MS)
    assert code_of(identities.rename, "alice", "x" * 256) == "invalid-friendly-name"
    assert Identities(directory).all() == identities.all() == (made,)


def test_the_first_use_makes_the_default_identity_and_the_second_returns_it(directory: Path) -> None:
    identities = Identities(directory)
    first = identities.default(NOW_MS)
    identities.create("later", "", NOW_MS + 1)
    assert identities.default(NOW_MS + 2) == first
    assert Identities(directory).default(NOW_MS + 3) == first


def test_when_the_default_identity_is_deleted_the_next_oldest_follows(directory: Path) -> None:
    identities = Identities(directory)
    second = identities.create("second", "", NOW_MS + 1)
    first = identities.create("first", "", NOW_MS)
    assert identities.default(NOW_MS) == first
    identities.delete(first.name, NOW_MS)
    assert identities.default(NOW_MS) == second


def test_names_that_fit_nothing_or_two_are_refused(directory: Path) -> None:
    identities = Identities(directory)
    identities.create("alice", "", NOW_MS)
    identities.create("alice", "", NOW_MS)
    assert code_of(identities.find, "bob") == "identity-not-found"
    with pytest.raises(Conflict):
        identities.find("alice")


def test_a_deleted_identity_is_said_to_be_deleted_also_after_a_restart(directory: Path) -> None:
    identities = Identities(directory)
    made = identities.create("alice", "", NOW_MS)
    identities.delete("alice", NOW_MS + 5)
    for seen in (identities, Identities(directory)):
        assert seen.all() == ()
        for call in (seen.find, seen.private_key, seen.document):
            assert code_of(call, made.peer_name) == "identity-deleted"
    assert not list(directory.glob("*.pem"))


def test_a_deleted_identity_does_not_stand_in_the_way_of_another(directory: Path) -> None:
    identities = Identities(directory)
    identities.create("alice", "", NOW_MS)
    identities.delete("alice", NOW_MS)
    made = identities.create("alice", "", NOW_MS)
    assert identities.find("alice") == made


def test_the_same_key_can_come_back_after_deletion(directory: Path) -> None:
    identities = Identities(directory)
    identities.create("alice", "", NOW_MS, key=KEY)
    identities.delete("alice", NOW_MS)
    identities.create("alice", "", NOW_MS, key=KEY)
    assert Identities(directory).private_key("alice") == KEY


def test_a_deletion_cut_short_by_a_crash_is_finished_at_the_next_opening(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identities = Identities(directory)
    identities.create("alice", "", NOW_MS)

    def crash(_: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "remove_durably", crash)
    with pytest.raises(KeyboardInterrupt):
        identities.delete("alice", NOW_MS)
    monkeypatch.undo()
    assert list(directory.glob("*.pem"))
    assert Identities(directory).all() == ()
    assert not list(directory.glob("*.pem"))


def test_a_creation_cut_short_by_a_crash_leaves_no_identity(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(_path: Path, _data: bytes) -> None:
        raise KeyboardInterrupt

    identities = Identities(directory)
    monkeypatch.setattr(module, "replace_durably", crash)
    with pytest.raises(KeyboardInterrupt):
        identities.create("alice", "", NOW_MS)
    assert identities.all() == Identities(directory).all() == ()


def test_a_write_that_fails_leaves_memory_and_disk_agreed(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identities = Identities(directory)
    before = identities.create("alice", "Alice", NOW_MS)

    def fail(_path: Path, _data: bytes) -> None:
        raise StoreError("the disk is gone")

    monkeypatch.setattr(module, "replace_durably", fail)
    for call in (
        lambda: identities.rename("alice", "Bob"),
        lambda: identities.delete("alice", NOW_MS),
        lambda: identities.create("bob", "", NOW_MS),
    ):
        with pytest.raises(StoreError):
            call()
    monkeypatch.undo()
    assert identities.all() == Identities(directory).all() == (before,)
    assert identities.private_key("alice").public == before.key


def test_an_identity_whose_key_is_gone_is_listed_and_cannot_be_used(directory: Path) -> None:
    made = Identities(directory).create("alice", "", NOW_MS)
    (pem,) = directory.glob("*.pem")
    pem.unlink()
    identities = Identities(directory)
    assert identities.all() == (made,)
    for call in (identities.private_key, identities.document):
        assert code_of(call, "alice") == "no-key-access"


def test_a_key_open_to_others_cannot_be_used_until_it_is_closed(directory: Path) -> None:
    Identities(directory).create("alice", "", NOW_MS)
    (pem,) = directory.glob("*.pem")
    pem.chmod(0o644)
    identities = Identities(directory)
    assert code_of(identities.private_key, "alice") == "no-key-access"
    pem.chmod(0o600)
    assert identities.private_key("alice").public == identities.find("alice").key


def test_a_key_taken_away_while_in_use_is_missed_when_it_is_read_again(directory: Path) -> None:
    identities = Identities(directory)
    made = identities.create("alice", "", NOW_MS)
    assert identities.reread_key(made.name) == identities.private_key(made.name)
    (pem,) = directory.glob("*.pem")
    pem.unlink()
    assert code_of(identities.reread_key, "alice") == "no-key-access"
    assert identities.private_key("alice").public == made.key


def test_a_directory_open_to_others_is_refused(directory: Path) -> None:
    Identities(directory)
    directory.chmod(0o755)
    with pytest.raises(ConfigError):
        Identities(directory)


def test_the_document_is_the_same_each_time_and_names_the_identity(directory: Path) -> None:
    identities = Identities(directory)
    made = identities.create("alice", "Alice", NOW_MS)
    document = identities.document("alice")
    assert Identities(directory).document("alice") == document
    certificate = read_identity_document(document)
    assert certificate.peer_name == made.peer_name
    assert certificate.key == made.key
    assert certificate.window.holds(NOW_MS // 1000)
    assert certificate.window.unlimited


def test_the_number_of_identities_is_bounded(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDENTITIES_MAX", 2)
    identities = Identities(directory)
    identities.create("a", "", NOW_MS)
    identities.delete("a", NOW_MS)
    identities.create("b", "", NOW_MS)
    with pytest.raises(StoreFull):
        identities.create("c", "", NOW_MS)


def test_a_description_by_a_newer_peerd_is_left_as_it_is(directory: Path) -> None:
    Identities(directory).create("alice", "", NOW_MS)
    path = description_of(directory)
    newer = json.dumps({"peerd_identity": 2, "sealed": True}).encode()
    replace_durably(path, newer)
    with pytest.raises(StoreTooNew) as caught:
        Identities(directory)
    assert str(path) in caught.value.detail
    assert path.read_bytes() == newer


@pytest.mark.parametrize(
    "field, value",
    [
        ("peer_name", "no name"),
        ("peer_name", "00" * 20 + ".alice"),
        ("public_key", "00" * 32),
        ("public_key", "zz"),
        ("public_key", PrivateKey.from_seed(bytes(32)).public.raw.hex()),
        ("friendly_name", "\x00"),
        ("created_ms", "yesterday"),
        ("peerd_identity", None),
        ("peerd_identity", "1"),
        ("surplus", 1),
    ],
)
def test_a_damaged_description_is_named(directory: Path, field: str, value: object) -> None:
    Identities(directory).create("alice", "", NOW_MS)
    path = description_of(directory)
    replace_durably(path, json.dumps(json.loads(path.read_text()) | {field: value}).encode())
    with pytest.raises(StoreCorrupt) as caught:
        Identities(directory)
    assert str(path) in caught.value.detail


def test_a_description_under_another_name_is_refused(directory: Path) -> None:
    Identities(directory).create("alice", "", NOW_MS)
    path = description_of(directory)
    path.rename(path.with_name("copy.json"))
    with pytest.raises(StoreCorrupt):
        Identities(directory)


@given(data=st.binary(max_size=300))
def test_no_contents_of_a_description_raise_another_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    directory = tmp_path_factory.mktemp("identities") / "identities"
    Identities(directory)
    replace_durably(directory / "any.json", data)
    with pytest.raises(StoreCorrupt):
        Identities(directory)
