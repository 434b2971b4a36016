"""A control server on a real socket, in a thread of its own, for tests that block as real clients do."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import trio

from peerd.control.access import AccessPolicy
from peerd.control.client import Client
from peerd.control.server import ControlServer, listening_socket
from tests.peerd.control.fake import FakeOperations

WAIT_S_MAX = 20.0


class Served:
    """A server that runs; what touches the operations goes through `do`, in the server's thread."""

    def __init__(self, path: Path, operations: FakeOperations, server: ControlServer) -> None:
        self.path = path
        self.operations = operations
        self.server = server
        self._token: trio.lowlevel.TrioToken | None = None
        self._running = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._running.wait(WAIT_S_MAX)

    def _run(self) -> None:
        trio.run(self._main)

    async def _main(self) -> None:
        with listening_socket(self.path) as sock:
            self._token = trio.lowlevel.current_trio_token()
            self._running.set()
            await self.server.serve(sock)

    def do(self, act, *arguments):
        """Run something in the server's thread."""
        return trio.from_thread.run_sync(act, *arguments, trio_token=self._token)

    def stop(self) -> None:
        """Stop, and wait until it has."""
        if self._thread.is_alive():
            with suppress(trio.RunFinishedError):
                self.do(self.server.stop)
        self._thread.join(WAIT_S_MAX)
        assert not self._thread.is_alive()

    def client(self) -> Client:
        return Client(str(self.path), timeout_s=WAIT_S_MAX)

    def connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(WAIT_S_MAX)
        try:
            sock.connect(str(self.path))
        except OSError:
            sock.close()
            raise
        return sock

    def exchange(self, sent: bytes) -> bytes:
        """Send bytes, end, and return all that comes back."""
        with self.connect() as sock:
            try:
                sock.sendall(sent)
                sock.shutdown(socket.SHUT_WR)
            except BrokenPipeError:
                pass
            return read_all(sock)


def read_all(sock: socket.socket) -> bytes:
    parts = []
    try:
        while part := sock.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


@contextmanager
def served(
    directory: Path, operations: FakeOperations | None = None, policy: AccessPolicy | None = None
) -> Iterator[Served]:
    """A server in a private directory below `directory`."""
    home = directory / "home"
    home.mkdir(mode=0o700, exist_ok=True)
    operations = operations or FakeOperations()
    running = Served(home / "control.sock", operations, ControlServer(operations, operations.bell, policy))
    try:
        yield running
    finally:
        running.stop()
