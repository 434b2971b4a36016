"""What must stay private is made private, and refused when it is not; a finished write is durable."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from peerd import paths
from peerd.errors import ConfigError, Conflict, NotFound, StoreError, StoreFull
from peerd.paths import (
    SOCKET_PATH_BYTES_MAX,
    Home,
    NewFile,
    ReplacedFile,
    check_private_directory,
    check_private_file,
    check_socket_path,
    default_home,
    make_private_directory,
    read_private,
    remove_durably,
    rename_durably,
    replace_durably,
)


@pytest.fixture(autouse=True)
def _open_umask() -> object:
    """A user with the most careless umask."""
    before = os.umask(0)
    yield
    os.umask(before)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_everything_in_a_new_home_is_closed_to_others(tmp_path: Path) -> None:
    home = Home(tmp_path / "above" / "home")
    home.make()
    for directory in (home.directory, home.identities, home.groups, home.root_keys):
        assert mode_of(directory) == 0o700
    home.make()


@pytest.mark.parametrize("mode", [0o701, 0o710, 0o750, 0o755, 0o777])
def test_a_directory_open_to_others_is_refused_with_the_chmod(tmp_path: Path, mode: int) -> None:
    home = Home(tmp_path / "home")
    home.make()
    home.identities.chmod(mode)
    with pytest.raises(ConfigError) as caught:
        home.make()
    assert caught.value.code == "home-not-private"
    assert caught.value.hint == f"chmod 700 {home.identities}"
    assert mode_of(home.identities) == mode


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o660, 0o644])
def test_a_file_open_to_others_is_refused_with_the_chmod(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    replace_durably(path, b"secret")
    path.chmod(mode)
    with pytest.raises(ConfigError) as caught:
        read_private(path, bytes_max=100)
    assert caught.value.hint == f"chmod 600 {path}"
    assert "secret" not in caught.value.detail


def test_a_foreign_owner_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key"
    replace_durably(path, b"secret")
    tmp_path.chmod(0o700)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    for look in (lambda: read_private(path, bytes_max=100), lambda: check_private_directory(tmp_path)):
        with pytest.raises(ConfigError) as caught:
            look()
        assert caught.value.code == "home-not-private"
        assert "chown" in caught.value.hint


@pytest.mark.parametrize("length", [SOCKET_PATH_BYTES_MAX, SOCKET_PATH_BYTES_MAX + 1])
def test_a_socket_path_is_bounded_in_bytes(length: int) -> None:
    path = Path("/" + "ü" * ((length - 1) // 2) + "x" * ((length - 1) % 2))
    assert len(os.fsencode(path)) == length
    if length <= SOCKET_PATH_BYTES_MAX:
        check_socket_path(path)
        return
    with pytest.raises(ConfigError) as caught:
        check_socket_path(path)
    assert caught.value.code == "path-too-long"


def test_a_home_with_too_long_a_path_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    home = Home(tmp_path / ("x" * SOCKET_PATH_BYTES_MAX))
    with pytest.raises(ConfigError):
        home.make()
    assert not home.directory.exists()


def test_a_file_in_place_of_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(ConfigError):
        make_private_directory(tmp_path / "home")


def test_a_missing_directory_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        check_private_directory(tmp_path / "home")


@pytest.mark.parametrize(
    "environment, expected",
    [
        ({"PEERD_HOME": "/a", "STATE_DIRECTORY": "/b"}, "/a"),
        ({"PEERD_HOME": "", "STATE_DIRECTORY": "/b"}, "/b"),
        ({"STATE_DIRECTORY": "/b:/c"}, "/b"),
        ({"PEERD_HOME": "/a:b"}, "/a:b"),
    ],
)
def test_the_named_home_comes_first(environment: dict[str, str], expected: str) -> None:
    assert default_home(environment) == Path(expected)


def test_without_a_name_the_home_is_the_users() -> None:
    assert default_home({}).name == "peerd"


def test_a_replaced_file_is_private_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replace_durably(path, b"old")
    replace_durably(path, b"new")
    assert mode_of(path) == 0o600
    assert read_private(path, bytes_max=3) == b"new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_what_an_interrupted_write_left_does_not_hinder_the_next(tmp_path: Path) -> None:
    (tmp_path / f"file{paths.UNFINISHED_SUFFIX}").write_bytes(b"half")
    replace_durably(tmp_path / "file", b"new")
    assert read_private(tmp_path / "file", bytes_max=100) == b"new"


@pytest.mark.parametrize("call", ["fsync", "open", "write"])
def test_a_write_that_fails_at_any_step_leaves_the_old_contents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "file"
    replace_durably(path, b"old")

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdopen" if call == "write" else call, fail)
    with pytest.raises(StoreError) as caught:
        replace_durably(path, b"new")
    monkeypatch.undo()
    assert caught.value.code == "store-failed"
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_has_its_own_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StoreFull):
        replace_durably(tmp_path / "file", b"new")
    assert not list(tmp_path.iterdir())


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    replace_durably(tmp_path / "real", b"secret")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(StoreError):
        read_private(tmp_path / "link", bytes_max=100)


def test_a_pipe_does_not_block_the_reader(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(ConfigError):
        read_private(tmp_path / "pipe", bytes_max=100)


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read_private(tmp_path / "file", bytes_max=100)


def test_a_file_larger_than_expected_is_not_read(tmp_path: Path) -> None:
    replace_durably(tmp_path / "file", b"12345")
    with pytest.raises(StoreError) as caught:
        read_private(tmp_path / "file", bytes_max=4)
    assert caught.value.code == "store-corrupt"


def test_removal_can_be_repeated(tmp_path: Path) -> None:
    replace_durably(tmp_path / "file", b"x")
    remove_durably(tmp_path / "file")
    remove_durably(tmp_path / "file")
    assert not list(tmp_path.iterdir())


def test_a_new_file_is_private_and_stays_once_written(tmp_path: Path) -> None:
    path = tmp_path / "recovery"
    with NewFile(path) as file:
        assert mode_of(path) == 0o600
        file.write(b"key")
    assert path.read_bytes() == b"key"


def test_a_new_file_never_replaces_another(tmp_path: Path) -> None:
    path = tmp_path / "recovery"
    path.write_bytes(b"old")
    with pytest.raises(Conflict) as caught, NewFile(path):
        pass
    assert caught.value.code == "file-exists"
    assert path.read_bytes() == b"old"


def test_a_new_file_without_contents_is_removed(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), NewFile(tmp_path / "recovery"):
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_a_new_file_is_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(Conflict), NewFile(tmp_path / "link"):
        pass
    assert not (tmp_path / "target").exists()


def test_a_new_file_in_a_missing_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught, NewFile(tmp_path / "nowhere" / "recovery"):
        pass
    assert "No such file or directory" in caught.value.detail


@pytest.mark.parametrize("before", [None, b"old"])
def test_a_file_made_part_by_part_has_its_name_when_it_is_whole(tmp_path: Path, before: bytes | None) -> None:
    path = tmp_path / "export"
    if before is not None:
        path.write_bytes(before)
    with ReplacedFile(path) as file:
        for part in (b"a" * 100_000, b"", b"b"):
            file.write(part)
        assert (path.read_bytes() if path.exists() else None) == before
        file.finish()
        assert path.read_bytes() == b"a" * 100_000 + b"b"
    assert mode_of(path) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_not_finished_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "export"
    path.write_bytes(b"old")
    with ReplacedFile(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_crash_has_left_is_no_hindrance_and_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "export.unfinished").symlink_to(tmp_path / "precious")
    (tmp_path / "precious").write_bytes(b"precious")
    with ReplacedFile(tmp_path / "export") as file:
        file.write(b"new")
        file.finish()
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert (tmp_path / "export").read_bytes() == b"new"


def test_a_file_made_part_by_part_says_why_it_cannot_be(tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(StoreError, match="No such file or directory"), ReplacedFile(tmp_path / "no" / "x"):
        pass

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with ReplacedFile(tmp_path / "export") as file:
        for name in ("write", "fsync"):
            with monkeypatch.context() as patched:
                patched.setattr(os, name, full)
                with pytest.raises(StoreFull):
                    file.write(b"x") if name == "write" else file.finish()
    assert not list(tmp_path.iterdir())


def test_a_file_can_be_checked_without_being_opened(tmp_path: Path) -> None:
    path = tmp_path / "database"
    with pytest.raises(NotFound):
        check_private_file(path)
    replace_durably(path, b"x")
    check_private_file(path)
    path.chmod(0o000)
    check_private_file(path)
    path.chmod(0o640)
    with pytest.raises(ConfigError) as caught:
        check_private_file(path)
    assert caught.value.hint == f"chmod 600 {path}"
    for other in (tmp_path, tmp_path / "link"):
        (tmp_path / "link").unlink(missing_ok=True)
        (tmp_path / "link").symlink_to(path)
        with pytest.raises(ConfigError, match="not a regular file"):
            check_private_file(other)


def test_a_name_is_given_and_then_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    replace_durably(old, b"x")
    synced: list[tuple[Path, bool]] = []
    monkeypatch.setattr(paths, "sync_directory", lambda directory: synced.append((directory, new.exists())))
    rename_durably(old, new)
    assert synced == [(tmp_path, True)]
    assert (old.exists(), new.read_bytes()) == (False, b"x")
    with pytest.raises(StoreError, match="could not give its name to the file"):
        rename_durably(old, new)
