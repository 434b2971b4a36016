"""One SQLite file of ours: opened with suspicion, written by one connection, durable when it says so.

*Making.* The file is made empty and closed to others before SQLite sees it, and gets its name when its tables
are on the disk. So a file that has the name and is empty was not made so.

*Opening.* A file must be ours, of a form that we know, and sound, before anything is written. A log that is
not empty shows that the last user of the file did not close it; then the whole log is moved into the
database first. What was written to the log before a failed sync may be in the system's cache and not on the
disk: building on it without writing it again would lose later transactions with it (Rebello et al., USENIX
ATC 2020).

*Writing.* One connection writes, in transactions that are begun and ended by name. The log is synced at
each commit, and moved into the database by us, after the commit that fills it: SQLite's own mover keeps
silent about errors.

*Reading* from a second connection shows only what is committed, also while a transaction is open.

*Failing.* A full disk takes back the transaction, no more. After any other error of the medium nobody knows
what is on the disk, so the file is refused from then on, and is looked through when it is next opened.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import apsw

from peerd.errors import ConfigError, StoreCorrupt, StoreError, StoreFull, StoreInUse
from peerd.paths import UNFINISHED_SUFFIX, NewFile, check_private_file, remove_durably, rename_durably
from peerd.store.file_system import refuse_network_file_system
from peerd.store.migrations import Schema, bring_up_to_date, version_of
from protocol.limits import (
    STORE_BUSY_MS_MAX,
    STORE_CACHE_KIB,
    STORE_WAL_BYTES_MAX,
    STORE_WAL_PAGES_MAX,
)

SQLITE_VERSION_MIN = (3, 51, 3)  # older ones can corrupt a database through its log (reliability study M6)

Value = bytes | str | int | None
Row = tuple[Any, ...]

_length = struct.Struct(">I").pack
_OPTIONS = {
    apsw.SQLITE_DBCONFIG_DEFENSIVE: 1,
    apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA: 0,
    apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER: 0,
    apsw.SQLITE_DBCONFIG_ENABLE_VIEW: 0,
    apsw.SQLITE_DBCONFIG_ENABLE_FKEY: 1,
    apsw.SQLITE_DBCONFIG_ENABLE_ATTACH_CREATE: 0,
    apsw.SQLITE_DBCONFIG_ENABLE_ATTACH_WRITE: 0,
    apsw.SQLITE_DBCONFIG_DQS_DDL: 0,
    apsw.SQLITE_DBCONFIG_DQS_DML: 0,
}
_PRAGMAS: dict[str, int | str] = {
    "synchronous": "FULL",
    "fullfsync": 1,  # on macOS fsync alone does not reach the disk
    "checkpoint_fullfsync": 1,
    "mmap_size": 0,  # a failed read of a mapped page ends the process
    "cell_size_check": 1,
    "cache_size": -STORE_CACHE_KIB,  # negative: not in pages
    "temp_store": "MEMORY",
    "journal_size_limit": STORE_WAL_BYTES_MAX,
}
# Whatever else apsw raises is a mistake of ours and passes unchanged.
_MEDIUM_ERRORS = (
    apsw.FullError, apsw.IOError, apsw.CorruptError, apsw.NotADBError, apsw.BusyError, apsw.LockedError,
    apsw.CantOpenError, apsw.PermissionsError, apsw.ReadOnlyError, apsw.NoMemError, apsw.NoLFSError,
    apsw.ProtocolError,
)  # fmt: skip


def sqlite_version() -> str:
    """The version of the SQLite in use."""
    return apsw.sqlite_lib_version()


class Database:
    """An open file of one schema. Its methods may be called from any thread, one at a time.

    `committed` and `reading` alone may be called beside another method. Every method that reaches the file
    raises StoreFull or StoreInUse, after which the transaction must be rolled back, or StoreError or
    StoreCorrupt, after which the same is all that anybody gets.
    """

    def __init__(self, path: Path, schema: Schema, *, make: bool = True, vfs: str | None = None) -> None:
        """Open the file and update it as needed; where there is none, make it, or refuse if it must be there.

        `vfs` names another of SQLite's ways to the disk.
        Raises: ConfigError, StoreCorrupt, StoreError, StoreFull, StoreInUse, StoreTooNew.
        """
        self._path = path
        self._schema = schema
        self._vfs = vfs
        self._failure: StoreError | None = None
        self._begun = False
        self._spoiled = False
        self._closed = False
        self._log_pages = 0
        _check_sqlite()
        refuse_network_file_system(path.parent)
        with ExitStack() as stack, _answering(path, schema):
            if not os.path.lexists(path):
                if not make:
                    raise StoreCorrupt(f"the {schema.title} {path} is missing", hint=schema.way_back)
                _make(path, schema, vfs)
            self._writer = _open_writer(path, schema, vfs)
            stack.callback(self._writer.close)
            self._writer.set_wal_hook(self._count_log_pages)
            self._reader = _connect(path, apsw.SQLITE_OPEN_READONLY, vfs)
            stack.pop_all()

    @property
    def failed(self) -> bool:
        """Whether the file can no longer be trusted, so that everything is refused."""
        return self._failure is not None

    @property
    def writing(self) -> bool:
        """Whether a transaction is open."""
        return self._begun

    def rows(self, sql: str, bindings: tuple[Value, ...] = ()) -> list[Row]:
        """What a statement finds, seen from inside the open transaction if there is one."""
        return self._run(self._writer, sql, bindings)

    def committed(self, sql: str, bindings: tuple[Value, ...] = ()) -> list[Row]:
        """What a statement finds among what is committed."""
        return self._run(self._reader, sql, bindings)

    @contextmanager
    def reading(self) -> Iterator[apsw.Connection]:
        """A connection of one's own that finds what is committed, for work that may take long or needs other
        settings. Like `committed`, it may be used beside anything else.
        """
        self._refuse_if_failed()
        try:
            with closing(_connect(self._path, apsw.SQLITE_OPEN_READONLY, self._vfs)) as connection:
                yield connection
        except _MEDIUM_ERRORS as error:
            raise self._failed_with(error) from error

    def stream(self, sql: str) -> Iterator[Row]:
        """Like `rows`, one at a time: for more than should be in memory at once."""
        self._refuse_if_failed()
        try:
            yield from self._writer.execute(sql)
        except _MEDIUM_ERRORS as error:
            raise self._failed_with(error) from error

    def rows_for_each(self, sql: str, bindings: Iterable[tuple[Value, ...]]) -> list[Row]:
        """What a statement finds for each of several bindings, in their order."""
        self._refuse_if_failed()
        try:
            return self._writer.executemany(sql, bindings).fetchall()
        except _MEDIUM_ERRORS as error:
            raise self._failed_with(error) from error

    def write(self, sql: str, bindings: tuple[Value, ...] = ()) -> list[Row]:
        """Run a statement that changes something, and give what it returns."""
        self.check_writable()
        self._spoiled = True
        rows = self._run(self._writer, sql, bindings)
        self._spoiled = False
        return rows

    def write_many(self, sql: str, rows: Iterable[tuple[Value, ...]]) -> None:
        """Run a statement that changes something once for each of the rows."""
        self.check_writable()
        self._spoiled = True
        try:
            self._writer.executemany(sql, rows)
        except _MEDIUM_ERRORS as error:
            raise self._failed_with(error) from error
        self._spoiled = False

    def insert(self, sql: str, bindings: tuple[Value, ...] = ()) -> int | None:
        """Put one row in, and give its number; None when it was left out, as `INSERT OR IGNORE` may."""
        self.write(sql, bindings)
        return self._writer.last_insert_rowid() if self._writer.changes() else None

    def check_writable(self) -> None:
        """For what is to be written later: refuse what `write` would refuse now."""
        self._refuse_if_failed()
        assert self._begun, "every write needs an open transaction"
        assert not self._spoiled, "after a failed write comes rollback"

    # --- transactions -------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Open a transaction."""
        assert not self._begun, "one transaction at a time"
        self._run(self._writer, "BEGIN IMMEDIATE")
        self._begun = True

    def commit(self) -> None:
        """Make the transaction durable. When it raises, `rollback` must follow."""
        self.write("COMMIT")
        self._begun = False
        if self._log_pages >= STORE_WAL_PAGES_MAX:
            self._move_log()

    def rollback(self) -> None:
        """End the transaction without a trace; on a failed file nothing remains to be done."""
        assert self._begun or self.failed, "no transaction is open"
        self._begun = self._spoiled = False
        # On some errors SQLite has rolled back by itself.
        if not self.failed and self._writer.in_transaction:
            self._run(self._writer, "ROLLBACK")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Begin, and commit at the end, or roll back if that is not reached."""
        self.begin()
        try:
            yield
            self.commit()
        finally:
            if self._begun:
                self.rollback()

    def damaged(self, what: str) -> StoreCorrupt:
        """Give up the file because of what was read from it; the error is for the caller to raise."""
        self._failure = _corrupt(self._path, self._schema, what)
        return self._failure

    def close(self) -> None:
        """Let go of the file, and leave no log if that is possible; twice is the same as once."""
        if self._closed:
            return
        self._closed = True
        moved = False
        try:
            if not self.failed:
                if self._begun:
                    self.rollback()
                moved = self._move_log()
        finally:
            # SQLite would try once more to move what could not be moved, and keep silent about the outcome.
            _keep_log_on_close(self._writer, keep=not moved)
            with _answering(self._path, self._schema):
                self._reader.close()
                self._writer.close()

    def _run(self, connection: apsw.Connection, sql: str, bindings: tuple[Value, ...] = ()) -> list[Row]:
        self._refuse_if_failed()
        try:
            return connection.execute(sql, bindings).fetchall()
        except _MEDIUM_ERRORS as error:
            raise self._failed_with(error) from error

    def _failed_with(self, error: apsw.Error) -> StoreError:
        """The error to raise for one of apsw's; decides whether the file can still be trusted."""
        answer = _answer(error, self._path, self._schema)
        if not isinstance(answer, StoreFull | StoreInUse):
            self._failure = answer
        return answer

    def _refuse_if_failed(self) -> None:
        if self._failure is not None:
            first = self._failure
            raise type(first)(f"nothing is read or written since {first.detail}", hint=first.hint)

    def _count_log_pages(self, connection: apsw.Connection, name: str, pages: int) -> int:
        self._log_pages = pages
        return apsw.SQLITE_OK

    def _move_log(self) -> bool:
        """Move committed pages into the database. A full disk only puts it off: the pages are durable."""
        try:
            self._writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except _MEDIUM_ERRORS as error:
            answer = self._failed_with(error)
            if self.failed:
                raise answer from error
            return False
        return True


def check_number(*fields: bytes) -> int:
    """A CRC-32 over the lengths and bytes of a row's values, to notice damage; it proves nothing else."""
    parts = []
    for value in fields:
        parts.append(_length(len(value)))
        parts.append(value)
    return zlib.crc32(b"".join(parts))


def check_number_behind(fixed: bytes, value: bytes) -> int:
    """The same over bytes of a length that never differs, and one value: for rows of which there are many."""
    return zlib.crc32(value, zlib.crc32(fixed))


# --- opening ----------------------------------------------------------------------------------------------


def _check_sqlite() -> None:
    version, needed = sqlite_version(), ".".join(map(str, SQLITE_VERSION_MIN))
    if tuple(int(part) for part in version.split(".")) < SQLITE_VERSION_MIN:
        raise ConfigError(
            f"SQLite {version} is too old: before {needed} it can damage its files",
            hint="install the apsw that brings its own SQLite: pip install --upgrade apsw",
        )


def _make(path: Path, schema: Schema, vfs: str | None) -> None:
    unfinished = path.with_name(path.name + UNFINISHED_SUFFIX)
    # The log of a file that is gone would be taken for the log of the new one.
    for left_over in (unfinished, *_companions(unfinished), *_companions(path)):
        remove_durably(left_over)
    with NewFile(unfinished) as file:
        file.write(b"")
    with closing(_connect(unfinished, apsw.SQLITE_OPEN_READWRITE, vfs)) as connection:
        _use_log(connection)
        bring_up_to_date(connection, schema, 0)
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    rename_durably(unfinished, path)


def _companions(path: Path) -> tuple[Path, ...]:
    """The files that SQLite may keep beside a database."""
    return tuple(path.with_name(path.name + suffix) for suffix in ("-wal", "-shm", "-journal"))


def _connect(path: Path, mode: int, vfs: str | None) -> apsw.Connection:
    connection = apsw.Connection(os.fspath(path), flags=mode, vfs=vfs)
    for option, value in _OPTIONS.items():
        connection.config(option, value)
    connection.set_busy_timeout(STORE_BUSY_MS_MAX)
    for name, setting in _PRAGMAS.items():
        connection.pragma(name, setting)
    return connection


def _open_writer(path: Path, schema: Schema, vfs: str | None) -> apsw.Connection:
    check_private_file(path)
    log = _companions(path)[0]
    crashed = log.exists() and log.stat().st_size > 0
    connection = _connect(path, apsw.SQLITE_OPEN_READWRITE, vfs)
    with ExitStack() as stack:
        stack.callback(connection.close)
        _keep_log_on_close(connection, keep=True)
        version = version_of(connection, schema, path)
        _check_sound(connection, schema, path, thorough=crashed)
        connection.pragma("shrink_memory")  # what was looked through is not what will be used
        _use_log(connection)
        if crashed:
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        bring_up_to_date(connection, schema, version)
        _keep_log_on_close(connection, keep=False)
        stack.pop_all()
    return connection


def _use_log(connection: apsw.Connection) -> None:
    mode = connection.pragma("journal_mode", "wal")
    assert mode == "wal", mode


def _keep_log_on_close(connection: apsw.Connection, *, keep: bool) -> None:
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, int(keep))


def _check_sound(connection: apsw.Connection, schema: Schema, path: Path, *, thorough: bool) -> None:
    """Look through every page; `thorough`, which takes three times as long, at what the indexes hold too."""
    found = connection.pragma("integrity_check" if thorough else "quick_check", 1)
    if found != "ok":
        raise _corrupt(path, schema, str(found))


# --- errors -----------------------------------------------------------------------------------------------


@contextmanager
def _answering(path: Path, schema: Schema) -> Iterator[None]:
    try:
        yield
    except _MEDIUM_ERRORS as error:
        raise _answer(error, path, schema) from error


def _answer(error: apsw.Error, path: Path, schema: Schema) -> StoreError:
    """The error of ours for one of the medium."""
    # SQLite's manual on SQLITE_IOERR_SHMSIZE: the volume may be out of space.
    extended = getattr(error, "extendedresult", 0)
    if isinstance(error, apsw.FullError) or extended == apsw.SQLITE_IOERR_SHMSIZE:
        return StoreFull(
            f"no space is left for the {schema.title} {path}; the change was taken back",
            hint=f"make room on the disk of {path.parent}, then try again",
        )
    if isinstance(error, apsw.CorruptError | apsw.NotADBError):
        return _corrupt(path, schema, str(error))
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        return StoreInUse(
            f"another program holds the {schema.title} {path}",
            hint=f"find it and close it: fuser {path}",
        )
    return StoreError(
        f"the disk failed under the {schema.title} {path} ({error})",
        hint="look at the system's log (dmesg), then start again: peerd run",
    )


def _corrupt(path: Path, schema: Schema, what: str) -> StoreCorrupt:
    return StoreCorrupt(f"the {schema.title} {path} is damaged ({what})", hint=schema.way_back)
