"""Writers of records: what they were acknowledged, and what is found of it."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, field
from hashlib import sha256

from peerd.control.client import Client, ClientError, DaemonNotRunning
from peerd.control.record_schema import Record, RecordAdd, RecordChange
from peerd.groups.base64url import write_base64url
from tests.system.people import Person

LARGE_BYTES = 100 * 1024
SMALL_BYTES_MAX = 300

GONE = None  # what is known of a record that was deleted


@dataclass
class Writer:
    """Writes as fast as its daemon answers, and remembers what that acknowledged.

    `known` has what each record of its own was last acknowledged to hold (the digest of its data), `begun`
    the record and the data of the write that nobody answered: it may have happened, or not.
    """

    node: Person
    group: str
    record_type: str
    chance: random.Random
    over: threading.Event = field(default_factory=threading.Event)
    known: dict[str, bytes | None] = field(default_factory=dict)
    begun: tuple[str | None, bytes | None] | None = None
    answered: threading.Event = field(default_factory=threading.Event)
    wrong: list[ClientError] = field(default_factory=list)

    def write(self) -> None:
        """Until its daemon dies, or the round is over."""
        try:
            with self.node.client() as client:
                while not self.over.is_set():
                    self.write_one(client)
                    self.answered.set()
        except DaemonNotRunning:
            return
        except ClientError as error:
            self.wrong.append(error)
        finally:
            self.answered.set()

    def write_one(self, client: Client) -> None:
        """Add a record, or change or delete one of those that were added."""
        living = [record_id for record_id, data in self.known.items() if data is not GONE]
        kind = self.chance.choices(("add", "change", "delete"), (5, 3, 1))[0] if living else "add"
        record_id = None if kind == "add" else self.chance.choice(living)
        data = b"" if kind == "delete" else self._data()
        self.begun = (record_id, GONE if kind == "delete" else digest(data))
        if record_id is None:
            wish = RecordAdd(record_type=self.record_type, data=write_base64url(data))
            record_id = client.add_record(self.group, wish).record_id
        elif kind == "change":
            client.change_record(self.group, record_id, RecordChange(data=write_base64url(data)))
        else:
            client.delete_record(self.group, record_id)
        self.known[record_id] = self.begun[1]
        self.begun = None

    def _data(self) -> bytes:
        large = self.chance.random() < 0.2
        return self.chance.randbytes(LARGE_BYTES if large else self.chance.randrange(SMALL_BYTES_MAX))

    def fits(self, found: dict[str, bytes]) -> bool:
        """Whether the records of its type are what it was told, but for the one write in the air."""
        maybe = [self.known]
        if self.begun is not None:
            record_id, data = self.begun
            added = [one for one in found if one not in self.known] if record_id is None else [record_id]
            maybe += [self.known | {one: data} for one in added[:1]]
        return found in [{one: data for one, data in known.items() if data is not GONE} for known in maybe]


def digest(data: bytes) -> bytes:
    """What is remembered of data."""
    return sha256(data).digest()


def listed(client: Client, group: str, writer: Writer) -> dict[str, Record]:
    """The records of a writer, as a node shows them."""
    return {one.record_id: one for one in client.all_records(group, writer.record_type)}


def versions(records: dict[str, Record]) -> dict[str, tuple[str, bool]]:
    """Which version each has, and whether its data are there."""
    return {one.record_id: (one.version_id, one.data_held) for one in records.values()}


def contents(client: Client, group: str, records: dict[str, Record]) -> dict[str, bytes]:
    """What each holds."""
    return {record_id: digest(client.record_data(group, record_id)) for record_id in records}
