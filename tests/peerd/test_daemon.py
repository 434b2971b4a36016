"""The daemon as a whole: what keeps it from starting, how it ends, and that nobody is served in between."""

from __future__ import annotations

import gc
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from peerd import daemon
from peerd.clock import steady_s
from peerd.control import schema
from peerd.control.client import Client
from peerd.demo.nodes import LocalNode
from peerd.errors import ConfigError, Conflict, LinkLost, PeerdError, StoreCorrupt, StoreError
from peerd.paths import Home
from peerd.store.lock import HomeLock

END_S_MAX = 5.0  # promise P40
SPARE_S = 3.0  # of a machine that is busy with other things


def run(home: Path, *listen: str) -> int:
    return daemon.run(Home(home), listen=listen, log_level="error", log_format="text")


@pytest.fixture(autouse=True)
def _process_stays_as_it_is(monkeypatch):
    """Logging, threads and garbage are the whole process's, and this one is the tests'."""
    monkeypatch.setattr("peerd.logs.configure", lambda *_: None)
    switch_s = sys.getswitchinterval()
    yield
    sys.setswitchinterval(switch_s)
    gc.unfreeze()


@pytest.fixture
def bound(monkeypatch) -> list[str]:
    """What was listened on; in these tests nothing may be."""
    addresses: list[str] = []

    async def bind(_: object, wanted: list[str]) -> tuple[str, ...]:
        addresses.extend(wanted)
        raise ConfigError("it came to listening")

    monkeypatch.setattr("peerd.transport.listener.Listener.bind", bind)
    return addresses


# --- what keeps it from starting ----------------------------------------------------------------------------


@pytest.fixture
def used(tmp_path) -> Path:
    """A home with a group, of a daemon that has ended."""
    node = LocalNode(tmp_path / "node")
    node.start()
    node.create_group("family")
    node.stop()
    return node.home


def damage(path: Path) -> None:
    """Overwrite the middle of a database."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4096] = os.urandom(4096)
    path.write_bytes(content)


@pytest.mark.system
@pytest.mark.parametrize("which", ["groups/*.db", "daemon.db", "identities/*.json"])
def test_with_damaged_data_nobody_listens(used, bound, which):
    (path,) = used.glob(which)
    if path.suffix == ".db":
        damage(path)
    else:
        path.write_text("{}")
    with pytest.raises(StoreCorrupt) as refused:
        run(used, "127.0.0.1:0")
    assert str(path) in refused.value.detail
    assert refused.value.hint
    assert bound == []
    assert not (used / "control.sock").exists()


@pytest.mark.system
def test_with_a_missing_group_nobody_listens(used, bound):
    (path,) = used.glob("groups/*.db")
    path.unlink()
    with pytest.raises(StoreCorrupt):
        run(used, "127.0.0.1:0")
    assert bound == []


@pytest.mark.system
def test_what_kept_it_from_starting_leaves_the_other_groups_files_closed(used, bound):
    with pytest.raises(ConfigError, match="it came to listening"):
        run(used, "127.0.0.1:0")
    assert bound == ["127.0.0.1:0"]
    assert not list(used.glob("groups/*-wal"))


def test_a_home_that_another_daemon_uses_is_refused(tmp_path, bound):
    home = Home(tmp_path / "home")
    home.make()
    with HomeLock(home.lock), pytest.raises(Conflict) as refused:
        run(home.directory)
    assert refused.value.code == "home-in-use"
    assert str(os.getpid()) in refused.value.detail
    assert bound == []


def test_a_home_that_others_can_reach_is_refused(tmp_path, bound):
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    with pytest.raises(ConfigError) as refused:
        run(home)
    assert refused.value.code == "home-not-private"
    assert bound == []


@pytest.mark.parametrize("address", ["nowhere", "127.0.0.1:99999", "192.0.2.1:1"])
def test_an_address_that_cannot_be_had_is_refused(tmp_path, address):
    with pytest.raises(ConfigError) as refused:
        run(tmp_path / "home", address)
    assert address in refused.value.detail
    assert refused.value.hint
    assert not (tmp_path / "home" / "control.sock").exists()


# --- why it ended -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (StoreError("disk"), StoreError),
        (ExceptionGroup("", [StoreError("disk")]), StoreError),
        (ExceptionGroup("", [KeyError("x"), ExceptionGroup("", [StoreError("disk")])]), StoreError),
        (ExceptionGroup("", [KeyError("x"), LinkLost("y")]), LinkLost),
        (ExceptionGroup("", [ExceptionGroup("", [KeyError("x")])]), KeyError),
        (BaseExceptionGroup("", [KeyboardInterrupt()]), KeyboardInterrupt),
    ],
)
def test_of_several_reasons_a_person_is_told_the_one_that_can_be_mended(error, reason):
    assert type(daemon._reason(error)) is reason


def test_an_error_of_ours_is_raised_as_itself(tmp_path, monkeypatch):
    async def fail(*_: object) -> None:
        raise ExceptionGroup("", [ExceptionGroup("", [StoreError("the disk failed")])])

    monkeypatch.setattr(daemon, "_main", fail)
    with pytest.raises(PeerdError, match="the disk failed"):
        run(tmp_path / "home")


def test_threads_that_check_signatures_soon_get_at_python(tmp_path, monkeypatch):
    seen = []

    async def look(*_: object) -> None:
        seen.append(sys.getswitchinterval())

    monkeypatch.setattr(daemon, "_main", look)
    run(tmp_path / "home")
    assert seen == [pytest.approx(daemon.THREAD_SWITCH_S)]


# --- real processes -----------------------------------------------------------------------------------------


def ended(process: subprocess.Popen[str]) -> tuple[int, float]:
    """Its exit code, and how many seconds it still took."""
    begun = steady_s()
    return process.wait(60), steady_s() - begun


@contextmanager
def running(home: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A daemon of that home, which is ready."""
    program = [sys.executable, "-m", "peerd", "--home", str(home), "run", "--listen", "127.0.0.1:0"]
    process = subprocess.Popen(
        program,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("ready ")
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.system
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_in_time_and_says_goodbye_to_its_subscribers(tmp_path, number):
    home = tmp_path / "home"
    with running(home) as process, Client(str(home / "control.sock")) as client:
        identity = client.create_identity(schema.IdentityCreate(classifier="kept"))
        stream = client.events(since="start", on_open=lambda: process.send_signal(number))
        assert [event.kind for event in stream] == ["bye"]
        code, seconds = ended(process)
        assert code == 0
        assert seconds < END_S_MAX + SPARE_S
    assert not (home / "control.sock").exists()
    with running(home), Client(str(home / "control.sock")) as client:
        assert client.identities().identities == [identity]


@pytest.mark.system
def test_its_neighbors_are_told_when_it_ends(tmp_path):
    alice, bob = LocalNode(tmp_path / "alice"), LocalNode(tmp_path / "bob")
    try:
        for node in (alice, bob):
            node.start()
        group = alice.create_group("family")
        _, document = bob.identify("bob")
        issued = alice.issue(group, document=document, store=True)
        bob.join(group=group, addresses=[alice.address])
        bob.adopted_at(issued.credential.grant_id)
        alice.wait_group(group, lambda shown: len(shown.neighbors) == 1)
        begun = steady_s()
        bob.stop()
        assert steady_s() - begun < END_S_MAX + SPARE_S
        alice.wait_group(group, lambda shown: shown.neighbors == [])
        assert "cut off without a goodbye" not in (alice.home / "daemon.log").read_text()
    finally:
        for node in (alice, bob):
            node.kill()


@pytest.mark.system
def test_a_second_daemon_on_a_home_is_refused_and_disturbs_nothing(tmp_path):
    home = tmp_path / "home"
    with running(home) as first:
        second = subprocess.run(
            [sys.executable, "-m", "peerd", "--home", str(home), "run"],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert second.returncode == 6
        assert f"process {first.pid}" in second.stderr
        assert second.stdout == ""
        with Client(str(home / "control.sock")) as client:
            assert client.status().pid == first.pid


@pytest.mark.system
def test_the_service_manager_is_told_when_it_is_ready_and_when_it_stops(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        with running(tmp_path / "home", NOTIFY_SOCKET=str(tmp_path / "notify")) as process:
            ready = manager.recv(1000).decode().splitlines()
            assert ready[0] == "READY=1"
            assert "listening: 127.0.0.1:" in ready[1]
            process.terminate()
            assert manager.recv(1000) == b"STOPPING=1"
            assert ended(process)[0] == 0
