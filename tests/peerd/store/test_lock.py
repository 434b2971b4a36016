from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys

import pytest

from peerd.errors import ConfigError, Conflict, StoreError
from peerd.store import lock
from peerd.store.lock import HomeLock

HOLD = "import sys; from pathlib import Path; from peerd.store.lock import HomeLock; \
held = HomeLock(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"


def test_second_daemon_on_one_home_is_refused_and_told_who_holds_it(tmp_path):
    with HomeLock(tmp_path / "lock"), pytest.raises(Conflict) as caught:
        HomeLock(tmp_path / "lock")
    assert caught.value.code == "home-in-use"
    assert f"process {os.getpid()} " in caught.value.detail
    assert f"kill {os.getpid()}" in caught.value.hint


def test_released_lock_can_be_taken_again(tmp_path):
    first = HomeLock(tmp_path / "lock")
    first.release()
    first.release()
    with HomeLock(tmp_path / "lock"):
        pass


def test_lock_file_is_closed_to_others_and_stays(tmp_path):
    with HomeLock(tmp_path / "lock"):
        assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    assert (tmp_path / "lock").exists()


def test_shorter_process_number_replaces_a_longer_one(tmp_path):
    (tmp_path / "lock").write_text("99999999999999999999\n")
    with HomeLock(tmp_path / "lock"):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_holder_that_has_not_yet_written_its_number_is_still_a_holder(tmp_path):
    with HomeLock(tmp_path / "lock"):
        (tmp_path / "lock").write_bytes(b"")
        with pytest.raises(Conflict, match="another process already runs"):
            HomeLock(tmp_path / "lock")


@pytest.mark.system
def test_lock_ends_with_a_killed_process(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        assert process.stdout
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(Conflict, match=f"process {process.pid} "):
            HomeLock(tmp_path / "lock")
        process.send_signal(signal.SIGKILL)
        process.wait()
    with HomeLock(tmp_path / "lock"):
        pass


def test_link_in_place_of_the_lock_is_not_followed(tmp_path):
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="could not lock"):
        HomeLock(tmp_path / "lock")
    assert not (tmp_path / "elsewhere").exists()


def test_home_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(StoreError, match="No such file"):
        HomeLock(tmp_path / "missing" / "lock")


def test_file_system_without_locks_is_refused(tmp_path, monkeypatch):
    def refuse(descriptor, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StoreError, match="No locks available"):
        HomeLock(tmp_path / "lock")


def test_home_on_a_network_is_refused_before_anything_is_made(tmp_path, monkeypatch):
    def refuse(directory):
        raise ConfigError("on a network", code="network-file-system")

    monkeypatch.setattr(lock, "refuse_network_file_system", refuse)
    with pytest.raises(ConfigError):
        HomeLock(tmp_path / "lock")
    assert not (tmp_path / "lock").exists()
