"""What the tables look like, and how an older file becomes a current one.

A schema is a list of numbered steps that is only ever added to. A file carries the number of the last step
that it has seen, and the mark of its sort. Each step is one transaction together with its number, so that a
crash leaves a file at one step or the next. A file that has seen more steps than this program knows is not
touched.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import apsw

from peerd.errors import StoreCorrupt, StoreTooNew


@dataclass(frozen=True, slots=True)
class Schema:
    """One sort of file.

    `mark` is SQLite's application id, 31 bits; `way_back` tells the user what to do when a file is damaged.
    """

    title: str
    mark: int
    steps: tuple[str, ...]
    way_back: str


GROUP_SCHEMA = Schema(
    title="group database",
    mark=0x50656772,  # "Pegr"
    steps=(
        # check_number is that of database.py: SQLite does not notice a changed bit inside a value.
        """
        CREATE TABLE elements (
            arrival INTEGER PRIMARY KEY AUTOINCREMENT,
            id BLOB NOT NULL UNIQUE,
            raw BLOB NOT NULL,
            check_number INTEGER NOT NULL
        ) STRICT;
        CREATE TABLE settings (
            key TEXT PRIMARY KEY,
            value BLOB NOT NULL,
            check_number INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE events (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            at_ms INTEGER NOT NULL,
            kind TEXT NOT NULL,
            facts BLOB NOT NULL,
            check_number INTEGER NOT NULL
        ) STRICT;
        """,
        # Rows come in the order of `arrival`, so that a batch of new records touches few pages; what must be
        # found in another order is found by few and narrow indexes, since each costs a page for each record.
        # `id_key`, `cred_key` and `names_key` are the first 8 bytes of what is beside them.
        """
        CREATE TABLE versions (
            arrival INTEGER PRIMARY KEY,
            id_key INTEGER NOT NULL,
            id BLOB NOT NULL,
            record_id BLOB NOT NULL,
            creator BLOB NOT NULL,
            author BLOB NOT NULL,
            cred_key INTEGER NOT NULL,
            cred BLOB NOT NULL,
            durable INTEGER NOT NULL,
            hlc INTEGER NOT NULL,
            state INTEGER NOT NULL, -- 1 kept, 2 aside
            at_ms INTEGER NOT NULL, -- aside since
            names_key INTEGER,
            names BLOB, -- the hash of its body, until that is released
            size INTEGER NOT NULL,
            body INTEGER, -- the number under which that is here
            raw BLOB NOT NULL,
            check_number INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX versions_by_id ON versions (id_key);
        CREATE INDEX versions_by_record ON versions (record_id);
        CREATE INDEX versions_by_cred ON versions (cred_key);
        CREATE INDEX versions_by_age ON versions (durable, hlc, id) WHERE state = 1;
        CREATE INDEX versions_aside ON versions (at_ms, id) WHERE state = 2;
        CREATE INDEX versions_by_body ON versions (names_key) WHERE names_key IS NOT NULL;
        CREATE TABLE bodies (
            number INTEGER PRIMARY KEY,
            hash BLOB NOT NULL,
            data BLOB NOT NULL,
            check_number INTEGER NOT NULL
        ) STRICT;
        CREATE TABLE creators (
            creator BLOB PRIMARY KEY,
            prefix BLOB NOT NULL, -- of all their record ids, the first bit clear
            ids INTEGER NOT NULL,
            bytes INTEGER NOT NULL,
            check_number INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE refreshes (
            record_id BLOB PRIMARY KEY,
            life_s INTEGER NOT NULL,
            check_number INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE shown (
            arrival INTEGER PRIMARY KEY, -- of the version that is shown
            record_id BLOB NOT NULL,
            version_id BLOB NOT NULL,
            type TEXT NOT NULL,
            creator BLOB NOT NULL,
            author BLOB NOT NULL,
            created INTEGER NOT NULL, -- milliseconds UTC
            modified INTEGER NOT NULL, -- milliseconds UTC
            hlc INTEGER NOT NULL,
            expires INTEGER, -- seconds UTC
            version INTEGER NOT NULL,
            size INTEGER NOT NULL,
            lacking BLOB, -- the hash of its body while that is not here
            check_number INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX shown_by_type ON shown (type);
        -- For searches: by time, since lists are asked for in this order, and by creator.
        CREATE INDEX shown_by_created ON shown (created);
        CREATE INDEX shown_by_modified ON shown (modified);
        CREATE INDEX shown_by_creator ON shown (creator);
        CREATE INDEX shown_by_end ON shown (expires) WHERE expires IS NOT NULL;
        CREATE INDEX shown_lacking ON shown (lacking) WHERE lacking IS NOT NULL;
        CREATE TABLE attributes (
            arrival INTEGER NOT NULL, -- of the version that is shown
            position INTEGER NOT NULL, -- in its header
            name TEXT NOT NULL,
            kind INTEGER NOT NULL,
            number INTEGER, -- of an integer or a date
            text TEXT, -- of a string
            PRIMARY KEY (arrival, position)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX attributes_by_number ON attributes (name, number) WHERE number IS NOT NULL;
        CREATE INDEX attributes_by_text ON attributes (name, text) WHERE text IS NOT NULL;
        """,
    ),
    way_back="stop peerd, move the file away, and join the group again: its members still have what it held",
)

DAEMON_SCHEMA = Schema(
    title="daemon database",
    mark=0x50656461,  # "Peda"
    steps=(
        """
        CREATE TABLE groups (
            position INTEGER PRIMARY KEY,
            authority BLOB NOT NULL UNIQUE,
            entry BLOB NOT NULL,
            check_number INTEGER NOT NULL
        ) STRICT;
        CREATE TABLE settings (
            key TEXT PRIMARY KEY,
            value BLOB NOT NULL,
            check_number INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        """,
    ),
    way_back="stop peerd, put back a copy of the file, or move it away and join the groups again",
)


def version_of(connection: apsw.Connection, schema: Schema, path: Path) -> int:
    """The number of steps that a file has seen, at least 1; reads only.

    Raises: StoreTooNew; StoreCorrupt for a file that is none of ours.
    """
    mark, version = connection.pragma("application_id"), connection.pragma("user_version")
    if mark == schema.mark and 0 < version <= len(schema.steps):
        return int(version)
    if mark == schema.mark and version > len(schema.steps):
        raise StoreTooNew(
            f"the {schema.title} {path} was written by a newer peerd (form {version}; this one knows form"
            f" {len(schema.steps)}); it is left as it is",
            hint="run the newer peerd: pip install --upgrade peerd",
        )
    raise StoreCorrupt(f"{path} is no {schema.title} of peerd; it is left as it is", hint=schema.way_back)


def bring_up_to_date(connection: apsw.Connection, schema: Schema, version: int) -> None:
    """Take the steps after `version`, each in a transaction of its own. Raises: apsw.Error."""
    for number in range(version, len(schema.steps)):
        with connection:
            connection.execute(schema.steps[number])
            connection.pragma("application_id", schema.mark)
            connection.pragma("user_version", number + 1)
