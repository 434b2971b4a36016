"""The datagram to the service manager."""

from __future__ import annotations

import socket
from pathlib import Path

from peerd.supervisor import notify


def test_without_a_service_manager_nothing_happens():
    notify("READY=1", {})


def test_the_message_arrives_where_the_manager_listens(tmp_path: Path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        notify("READY=1\nSTATUS=well", {"NOTIFY_SOCKET": str(tmp_path / "notify")})
        assert manager.recv(100) == b"READY=1\nSTATUS=well"


def test_an_abstract_socket_is_understood():
    name = "peerd-test-notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name)
        notify("STOPPING=1", {"NOTIFY_SOCKET": "@" + name})
        assert manager.recv(100) == b"STOPPING=1"


def test_a_manager_that_is_gone_stops_nobody(tmp_path: Path):
    notify("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "nobody")})
