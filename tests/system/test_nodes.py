"""A node of the demo and of these tests: what it promises to those who rely on it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from peerd.demo.nodes import LocalNode
from peerd.errors import NotReady
from tests.system.people import Person, people, place

pytestmark = pytest.mark.system


@pytest.fixture
def node() -> Iterator[LocalNode]:
    with place() as directory:
        one = LocalNode(directory / "alice")
        yield one
        one.stop()


def test_a_node_is_back_at_its_address_after_it_was_killed(node: LocalNode) -> None:
    assert node.start() > 0
    name, _ = node.identify("alice")
    address, pid = node.address, node.pid
    node.kill()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    node.start()
    assert (node.address, node.name) == (address, "alice")
    assert [one.peer_name for one in node.ask(lambda client: client.identities()).identities] == [name]


def test_a_node_that_does_not_start_says_so(node: LocalNode) -> None:
    node.home.mkdir(mode=0o755)
    with pytest.raises(NotReady, match="alice did not start") as caught:
        node.start()
    log = Path(caught.value.hint.removeprefix("read "))
    assert "home-not-private" in log.read_text()


def test_waiting_for_what_does_not_come_ends(node: LocalNode) -> None:
    node.start()
    node.identify("alice")
    group = node.create_group("pizza")
    with pytest.raises(NotReady, match="did not pick up the credential aaaaaaaa"):
        node.adopted_at("a" * 64, wait_s=0.1)
    with pytest.raises(NotReady, match="not where it should be"):
        node.wait_group(group, lambda seen: seen.members == 2, wait_s=0.1)


def test_a_group_and_its_credential_outlive_a_restart(node: LocalNode) -> None:
    node.start()
    node.identify("alice")
    group = node.create_group("pizza")
    node.stop()
    node.start()
    assert node.group(group).credential is not None
    assert node.resident_bytes() > 0


def test_a_daemon_that_listens_nowhere_is_a_member_by_dialling() -> None:
    with people("alice") as (alice,), place() as directory:
        carl = Person(directory / "carl")
        words = [sys.executable, "-m", "peerd", "--home", str(carl.home), "run"]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as daemon:
            try:
                assert daemon.stdout is not None
                assert "nobody can dial this node" in daemon.stdout.readline()
                _join_by_dialling(carl, alice)
                daemon.send_signal(signal.SIGTERM)
                assert daemon.wait(30) == 0
            finally:
                daemon.kill()


def _join_by_dialling(one: Person, alice: Person) -> None:
    document = Path(one.document(one.name)).read_text()
    alice.identify("alice")
    group = alice.create_group("pizza")
    alice.issue(group, document=document, store=True)
    where = ("--group", group, "--address", alice.address)
    joined = one.json("group", "join", *where, "--wait", "--timeout", "30")
    assert joined["credential"]["roles"] == ["member"]
