"""Disks for tests: one that fails when told, and one that remembers what was written and what was synced."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import apsw

_names = itertools.count()


def io_error() -> apsw.Error:
    """A write that the disk refused."""
    return _with_code(apsw.IOError("disk I/O error"), apsw.SQLITE_IOERR_WRITE)


def sync_error() -> apsw.Error:
    """A sync that failed."""
    return _with_code(apsw.IOError("disk I/O error"), apsw.SQLITE_IOERR_FSYNC)


def _with_code(error: apsw.Error, code: int) -> apsw.Error:
    vars(error)["extendedresult"] = code
    return error


def full_error() -> apsw.Error:
    """A write for which there was no space."""
    return apsw.FullError("database or disk is full")


@dataclass(frozen=True)
class Operation:
    """One change to one file: "write" at an offset, "truncate" to a length, "sync", "delete"."""

    kind: str
    file: str
    offset: int = 0
    data: bytes = b""


class Disk(apsw.VFS):
    """The system's disk, with a journal of all changes and a switch.

    `fails` is asked before each change; what it returns is raised. Nothing can be read while `unreadable`.
    """

    def __init__(self) -> None:
        self.name = f"disk-{next(_names)}"
        self.journal: list[Operation] = []
        self.unreadable = False
        self.fails: Callable[[Operation], Exception | None] = lambda operation: None
        super().__init__(self.name, "")

    def xOpen(self, name, flags):
        return _File(self, name, flags)

    def xDelete(self, name, sync_directory):
        self.before(Operation("delete", Path(name).name))
        super().xDelete(name, False)

    def before(self, operation: Operation) -> None:
        error = self.fails(operation)
        if error is not None:
            raise error
        self.journal.append(operation)

    def fail_from(self, number: int, error: Callable[[], Exception], *kinds: str) -> None:
        """Of the changes of these kinds from now on, this one (from 1) fails, and all after it."""
        left = number

        def fails(operation: Operation) -> Exception | None:
            nonlocal left
            if kinds and operation.kind not in kinds:
                return None
            left -= 1
            return error() if left <= 0 else None

        self.fails = fails

    def heal(self) -> None:
        """Every change succeeds again."""
        self.fails = lambda operation: None


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name, flags):
        super().__init__("", name, flags)
        self._disk = disk
        self._name = Path(name.filename() if isinstance(name, apsw.URIFilename) else str(name)).name

    def xRead(self, amount, offset):
        if self._disk.unreadable:
            raise _with_code(apsw.IOError("disk I/O error"), apsw.SQLITE_IOERR_READ)
        return super().xRead(amount, offset)

    def xWrite(self, data, offset):
        self._disk.before(Operation("write", self._name, offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, size):
        self._disk.before(Operation("truncate", self._name, size))
        super().xTruncate(size)

    def xSync(self, flags):
        # Not passed on: tests cut the power of their own disk only, and need not wait for the real one.
        self._disk.before(Operation("sync", self._name))


@contextmanager
def disk() -> Iterator[Disk]:
    """A disk that is known to SQLite for the length of a test; the real one is not waited for meanwhile."""
    made = Disk()
    try:
        with patch.object(os, "fsync"):
            yield made
    finally:
        made.heal()
        made.unregister()


def _apply(image: bytearray, operation: Operation) -> None:
    if operation.kind == "truncate":
        del image[operation.offset :]
        return
    end = operation.offset + len(operation.data)
    if len(image) < end:
        image.extend(bytes(end - len(image)))
    image[operation.offset : end] = operation.data


def after_power_cut(journal: list[Operation], chooser: random.Random | None) -> dict[str, bytes]:
    """The files that a power cut leaves after these changes.

    What was synced is there. Of what was not, `chooser` picks what had reached the disk all the same, change
    by change and in any order of files; with None nothing had. A file called "x.unfinished" got the name "x"
    before "x" or what belongs to it was first changed.
    """
    synced: dict[str, bytearray] = {}
    pending: dict[str, list[Operation]] = {}
    for operation in journal:
        unfinished = operation.file.split("-")[0] + ".unfinished"
        if unfinished in synced:
            synced[unfinished.removesuffix(".unfinished")] = synced.pop(unfinished)
        if operation.kind == "delete":
            synced.pop(operation.file, None)
            pending.pop(operation.file, None)
        elif operation.kind == "sync":
            for change in pending.pop(operation.file, []):
                _apply(synced.setdefault(operation.file, bytearray()), change)
        else:
            pending.setdefault(operation.file, []).append(operation)
    if chooser is not None:
        for name, changes in pending.items():
            for change in changes:
                if chooser.random() < 0.5:
                    _apply(synced.setdefault(name, bytearray()), change)
    return {name: bytes(image) for name, image in synced.items()}


def lay_out(files: dict[str, bytes], directory: Path) -> None:
    """Put files into a new directory, closed to others as ours are."""
    directory.mkdir(mode=0o700)
    for name, data in files.items():
        path = directory / name
        path.touch(mode=0o600)
        path.write_bytes(data)


def copy_of_the_living(path: Path, directory: Path) -> Path:
    """What a process that dies now leaves of its database: all that it wrote, synced or not, and no locks."""
    files = {
        name: (path.parent / name).read_bytes()
        for name in (path.name, path.name + "-wal")
        if (path.parent / name).exists()
    }
    lay_out(files, directory)
    return directory / path.name
