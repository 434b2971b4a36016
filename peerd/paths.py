"""Where a node keeps its files, and how files that must stay private are made.

A node's home is one directory: moving it moves the node. It and everything in it belong to the user who runs
the daemon and are closed to everybody else. They are *created* closed, never made and then narrowed; what is
found wider, or in other hands, is refused with the command that mends it. Nothing is mended silently: nobody
knows who read it meanwhile.

A write is durable when the function returns: data synced, then renamed into place, then the directory synced.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from peerd.errors import ConfigError, Conflict, NotFound, StoreError, StoreFull

DIRECTORY_MODE = 0o700
FILE_MODE = 0o600
SOCKET_PATH_BYTES_MAX = 107  # sockaddr_un of Linux without its final NUL
UNFINISHED_SUFFIX = ".unfinished"
_OTHERS = 0o077
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True, slots=True)
class Home:
    """The layout of one node's directory."""

    directory: Path

    @property
    def control_socket(self) -> Path:
        """Where the control API listens."""
        return self.directory / "control.sock"

    @property
    def lock(self) -> Path:
        """Held by the running daemon."""
        return self.directory / "lock"

    @property
    def daemon_database(self) -> Path:
        """The catalogue of groups, and settings."""
        return self.directory / "daemon.db"

    @property
    def identities(self) -> Path:
        """One description and one private key for each identity."""
        return self.directory / "identities"

    @property
    def groups(self) -> Path:
        """One database for each group."""
        return self.directory / "groups"

    @property
    def root_keys(self) -> Path:
        """The private root keys of groups created here."""
        return self.directory / "root"

    def make(self) -> None:
        """Create what is missing and check what is there. Raises: ConfigError, StoreError."""
        check_socket_path(self.control_socket)
        for directory in (self.directory, self.identities, self.groups, self.root_keys):
            make_private_directory(directory)


def default_home(environment: Mapping[str, str]) -> Path:
    """The home when none was named: PEERD_HOME, systemd's STATE_DIRECTORY, else the user's data directory."""
    if named := environment.get("PEERD_HOME"):
        return Path(named).absolute()
    if given := environment.get("STATE_DIRECTORY"):
        return Path(given.partition(":")[0])  # a unit can have several, in absolute form
    from platformdirs import user_data_path

    return user_data_path("peerd")


def check_socket_path(path: Path) -> None:
    """Refuse a path that the kernel would refuse or cut. Raises: ConfigError("path-too-long")."""
    length = len(os.fsencode(path))
    if length > SOCKET_PATH_BYTES_MAX:
        raise ConfigError(
            f"the control socket {path} has a path of {length} bytes; {SOCKET_PATH_BYTES_MAX} are allowed",
            code="path-too-long",
            hint="choose a home with a shorter path: peerd --home DIR …",
        )


def make_private_directory(directory: Path) -> None:
    """Create a directory closed to others, or check the one that is there.

    Missing parents are made as the user's umask says. Raises: ConfigError, StoreError.
    """
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        directory.mkdir(mode=DIRECTORY_MODE)
    except FileExistsError:
        pass
    except OSError as error:
        raise _failed("create the directory", directory, error) from None
    else:
        sync_directory(directory.parent)
    check_private_directory(directory)


def check_private_directory(directory: Path) -> None:
    """Refuse a directory of another owner or open to others. Raises: ConfigError, NotFound, StoreError."""
    try:
        status = directory.stat()
    except FileNotFoundError:
        raise NotFound(f"the directory {directory} does not exist") from None
    except OSError as error:
        raise _failed("look at the directory", directory, error) from None
    if not stat.S_ISDIR(status.st_mode):
        raise ConfigError(f"{directory} is not a directory", hint="choose another home: peerd --home DIR …")
    _check_private(directory, status)


def check_private_file(path: Path) -> None:
    """Refuse a file of another owner or open to others, without opening it.

    For files that another library opens: closing a descriptor of ours would drop the locks that it holds.
    Raises: ConfigError, NotFound, StoreError.
    """
    try:
        status = path.lstat()
    except FileNotFoundError:
        raise NotFound(f"the file {path} does not exist") from None
    except OSError as error:
        raise _failed("look at the file", path, error) from None
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"{path} is not a regular file")
    _check_private(path, status)


def read_private(path: Path, *, bytes_max: int) -> bytes:
    """Read a whole file that nobody else could have read or written.

    The open file is what is checked, so that it cannot be exchanged in between.
    Raises: ConfigError, NotFound, StoreError.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise NotFound(f"the file {path} does not exist") from None
    except OSError as error:
        raise _failed("open the file", path, error) from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(f"{path} is not a regular file")
        _check_private(path, status)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(bytes_max + 1)
    except OSError as error:
        raise _failed("read the file", path, error) from None
    finally:
        os.close(descriptor)
    if len(data) > bytes_max:
        raise StoreError(f"the file {path} is larger than {bytes_max} bytes", code="store-corrupt")
    return data


def replace_durably(path: Path, data: bytes) -> None:
    """Give a private file new contents; after a crash it holds all of the old or all of the new.

    Raises: StoreError.
    """
    unfinished = path.with_name(path.name + UNFINISHED_SUFFIX)
    try:
        unfinished.unlink(missing_ok=True)
        with NewFile(unfinished) as file:
            file.write(data)
        unfinished.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        raise _failed("write the file", path, error) from None


def rename_durably(old: Path, new: Path) -> None:
    """Give a durable file its name, in the same directory, so that it still has it after a crash.

    Raises: StoreError.
    """
    try:
        old.replace(new)
        sync_directory(new.parent)
    except OSError as error:
        raise _failed("give its name to the file", new, error) from None


def remove_durably(path: Path) -> None:
    """Remove a file if it is there, so that it is still gone after a crash. Raises: StoreError."""
    try:
        path.unlink(missing_ok=True)
        sync_directory(path.parent)
    except OSError as error:
        raise _failed("remove the file", path, error) from None


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable. Raises: OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class NewFile:
    """A private file that must not exist yet: made on entry, durable after `write`, removed if not written.

    Entering it before an irreversible step shows that the result of the step will have a place.
    """

    def __init__(self, path: Path) -> None:
        """Nothing is touched before entry."""
        self._path = path
        self._descriptor = -1
        self._written = False

    def __enter__(self) -> Self:
        """Create the file. Raises: Conflict("file-exists"), StoreError."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._descriptor = os.open(self._path, flags, FILE_MODE)
        except FileExistsError:
            raise Conflict(
                f"the file {self._path} exists already, and is left as it is",
                code="file-exists",
                hint="name another file, or move that one away",
            ) from None
        except OSError as error:
            raise _failed("create the file", self._path, error) from None
        return self

    def write(self, data: bytes) -> None:
        """Put all of `data` into the file, and file and name on the disk. Raises: StoreError."""
        assert self._descriptor >= 0, "enter the context first"
        try:
            with os.fdopen(self._descriptor, "wb", closefd=False) as file:
                file.write(data)
            os.fsync(self._descriptor)
            sync_directory(self._path.parent)
        except OSError as error:
            raise _failed("write the file", self._path, error) from None
        self._written = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file; remove it if nothing was written."""
        os.close(self._descriptor)
        self._descriptor = -1
        if not self._written:
            self._path.unlink(missing_ok=True)


class ReplacedFile:
    """A private file that gets its contents part by part, and its name when they are whole: until then, and
    after a crash, what stood under the name stands there still.
    """

    def __init__(self, path: Path) -> None:
        """Nothing is touched before entry."""
        self._path = path
        self._unfinished = path.with_name(path.name + UNFINISHED_SUFFIX)
        self._descriptor = -1

    def __enter__(self) -> Self:
        """Make a file beside it, in the place of what a crash has left there. Raises: StoreError."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._unfinished.unlink(missing_ok=True)
            self._descriptor = os.open(self._unfinished, flags, FILE_MODE)
        except OSError as error:
            raise _failed("create the file", self._unfinished, error) from None
        return self

    def write(self, part: bytes) -> None:
        """Add all of `part`. Raises: StoreError."""
        rest = memoryview(part)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            raise _failed("write the file", self._unfinished, error) from None

    def finish(self) -> None:
        """Put the contents on the disk, and then give them their name. Raises: StoreError."""
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise _failed("write the file", self._unfinished, error) from None
        rename_durably(self._unfinished, self._path)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file; remove it if it was not finished."""
        os.close(self._descriptor)
        self._unfinished.unlink(missing_ok=True)


def _check_private(path: Path, status: os.stat_result) -> None:
    if status.st_uid != os.geteuid():
        raise ConfigError(
            f"{path} belongs to user {status.st_uid}, and peerd runs as user {os.geteuid()}",
            code="home-not-private",
            hint=f"run peerd as its owner, or: chown {os.geteuid()} {path}",
        )
    mode = stat.S_IMODE(status.st_mode)
    if mode & _OTHERS:
        wanted = DIRECTORY_MODE if stat.S_ISDIR(status.st_mode) else FILE_MODE
        raise ConfigError(
            f"{path} has mode {mode:04o}: other users can reach what must stay private",
            code="home-not-private",
            hint=f"chmod {wanted:o} {path}",
        )


def _failed(what: str, path: Path, error: OSError) -> StoreError:
    detail = f"could not {what} {path}: {error.strerror or type(error).__name__}"
    if error.errno in _NO_SPACE:
        return StoreFull(detail, hint=f"make room on the disk of {path.parent}, then try again")
    return StoreError(detail)
