"""One daemon for one home: a lock that the kernel drops when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from peerd.errors import Conflict, StoreError
from peerd.paths import FILE_MODE
from peerd.store.file_system import refuse_network_file_system

_PID_BYTES_MAX = 32


class HomeLock:
    """The lock of one home, held from its making until `release`.

    The file stays when the lock is let go: to remove it would let two holders lock two files of one name.
    """

    def __init__(self, path: Path) -> None:
        """Take the lock. Raises: Conflict("home-in-use"), ConfigError("network-file-system"), StoreError."""
        refuse_network_file_system(path.parent)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._descriptor = os.open(path, flags, FILE_MODE)
        except OSError as error:
            raise _failed(path, error) from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
        except BlockingIOError:
            holder = _holder(self._descriptor)
            os.close(self._descriptor)
            raise _in_use(path, holder) from None
        except OSError as error:
            os.close(self._descriptor)
            raise _failed(path, error) from None

    def release(self) -> None:
        """Let go of the lock; a second time is the same as once."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        """The lock is already held."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of the lock."""
        self.release()


def _holder(descriptor: int) -> int | None:
    """The process that wrote itself into the file; None in the moment before it has done so."""
    text = os.pread(descriptor, _PID_BYTES_MAX, 0).strip()
    return int(text) if text.isdigit() else None


def _in_use(path: Path, holder: int | None) -> Conflict:
    home = path.parent
    who = "another process" if holder is None else f"process {holder}"
    stop = "stop it" if holder is None else f"stop it: kill {holder}"
    return Conflict(
        f"{who} already runs the node in {home}",
        code="home-in-use",
        hint=f"{stop}; or start a second node in a home of its own: peerd --home DIR run",
    )


def _failed(path: Path, error: OSError) -> StoreError:
    return StoreError(f"could not lock {path}: {error.strerror or type(error).__name__}")
