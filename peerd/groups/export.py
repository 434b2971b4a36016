"""A whole group as one file, out and in again, while the group is open.

Out: what is committed is read a page at a time between two turns of the crank, so that neither the daemon nor
its memory notices how large the group is. Acts go before the records that were written under them, also such
as arrive meanwhile. A record that is changed meanwhile stands in the file as it was or as it is.

In: everything is checked as if it came from the network, signatures off the loop, and goes to the
machine in parts that are each durable or not there at all. So the same file can be taken in again, and the
rest of a file after an interruption. What is damaged ends it; what stood before is in.

Differs: the original wants the group closed for both, and the same identity.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar, cast

from peerd.control import record_schema
from peerd.control.operations import Download, Upload
from peerd.groups.environment import Environment
from peerd.groups.open_group import OpenGroup
from peerd.groups.registry import Registry
from protocol.authority.elements import Element, decode_untrusted_element
from protocol.credentials.keys import SignatureCheck
from protocol.errors import RemoteProtocolError, RuleError
from protocol.limits import BODY_BYTES_MAX, EXPORT_PAGE_BYTES, EXPORT_PAGE_ITEMS_MAX
from protocol.machines.events import Import, Imported
from protocol.records.export import ExportReader, ExportWriter, Item, Kind
from protocol.records.record import RecordItem, decode_untrusted_header, decode_untrusted_item

T = TypeVar("T")


class ExportCases:
    """Export and import of the open groups."""

    def __init__(self, registry: Registry) -> None:
        """Finds groups in the registry."""
        self._registry = registry

    async def export_group(self, group: str) -> Download:
        """All acts and records of a group as one file."""
        return partial(_export, self._registry.ready(group))

    async def import_group(self, group: str, upload: Upload) -> record_schema.Imported:
        """Take in such a file."""
        opened = self._registry.ready(group)
        importing = _Importing(opened, self._registry.environment)
        reader = ExportReader(opened.machine.members.view.gid)
        try:
            while part := await upload():
                for item in reader.feed(part):
                    await importing.add(item)
            reader.finish()
        except RuleError as error:
            raise await importing.ended_by(error) from None
        return await importing.ended()


# --- out ----------------------------------------------------------------------------------------------------


async def _export(opened: OpenGroup, send: Callable[[bytes], Awaitable[None]]) -> None:
    writer = ExportWriter(opened.machine.members.view.gid)
    await send(writer.begin())
    reading = _Reading(opened)
    while page := await opened.node.runner.ask(lambda _: reading.page()):
        await send(b"".join(writer.item(*item) for item in page))
    await send(writer.end())


@dataclass(slots=True)
class _Reading:
    """How far the reading of a group has come."""

    opened: OpenGroup
    acts: int = 0  # read so far, of those in the order of arrival
    arrival: int = 0  # of the last version read

    def page(self) -> list[Item]:
        """Some of what has not been read; nothing at the end."""
        found: list[Item] = []
        size = 0
        for step in self._steps():
            found += step
            size += sum(len(item.raw) for item in step)
            if size >= EXPORT_PAGE_BYTES or len(found) >= EXPORT_PAGE_ITEMS_MAX:
                break
        return found

    def _steps(self) -> Iterator[list[Item]]:
        """What belongs together, and is read as soon as it is given."""
        view, store = self.opened.machine.members.view, self.opened.store
        for act_id in view.act_ids()[self.acts :]:
            self.acts += 1
            ids = (act_id, view.der_of(act_id))
            yield [Item(Kind.ELEMENT, _found(store.get(one))) for one in ids if one is not None]
        for arrival, version_id in store.arrived_after(self.arrival, EXPORT_PAGE_ITEMS_MAX):
            self.arrival = arrival
            yield [Item(Kind.RECORD, self._version(version_id))]

    def _version(self, version_id: bytes) -> bytes:
        store = self.opened.store
        header = decode_untrusted_header(_found(store.header(version_id)))
        return RecordItem(header, None if header.body_hash is None else store.body(header.body_hash)).raw


def _found(raw: bytes | None) -> bytes:
    assert raw is not None
    return raw


# --- in -----------------------------------------------------------------------------------------------------


class _Importing:
    """Takes items in, some at a time."""

    def __init__(self, opened: OpenGroup, environment: Environment) -> None:
        self._opened = opened
        self._environment = environment
        self._waiting: list[Item] = []
        self._size = 0
        self._elements = self._records = self._refused = 0

    async def add(self, item: Item) -> None:
        """Take an item in, now or with others. Raises: StoreError, NotReady."""
        self._waiting.append(item)
        self._size += len(item.raw)
        if self._size >= EXPORT_PAGE_BYTES or len(self._waiting) >= EXPORT_PAGE_ITEMS_MAX:
            await self._take_in()

    async def ended(self) -> record_schema.Imported:
        """Take in what is left; what it all brought."""
        await self._take_in()
        return record_schema.Imported(
            group=self._opened.entry.group_name,
            elements=self._elements,
            records=self._records,
            refused=self._refused,
        )

    async def ended_by(self, error: RuleError) -> RuleError:
        """The same, told with the error that ended it."""
        brought = await self.ended()
        if error.code != "invalid-database":
            return error
        return RuleError(
            error.code,
            f"{error.detail}; what stood before that was taken in: {brought.elements} new acts and"
            f" certificates, {brought.records} new versions of records",
            hint=error.hint,
        )

    async def _take_in(self) -> None:
        items, self._waiting, self._size = self._waiting, [], 0
        if not items:
            return
        elements, records = await self._environment.offload(partial(_read, items))
        elements = await self._sound(elements, lambda element: element.checks())
        records = await self._sound(records, lambda item: item.header.checks())
        command = Import(tuple(elements), tuple(records))
        imported = cast("Imported", await self._opened.node.runner.submit(command))
        self._elements += imported.elements
        self._records += imported.records
        self._refused += imported.refused + len(items) - len(elements) - len(records)

    async def _sound(self, values: list[T], checks_of: Callable[[T], Sequence[SignatureCheck]]) -> list[T]:
        """Those whose signatures hold."""
        if await self._environment.check([check for value in values for check in checks_of(value)]):
            return values
        return [value for value in values if await self._environment.check(checks_of(value))]


def _read(items: Sequence[Item]) -> tuple[list[Element], list[RecordItem]]:
    """What of the items has the right form."""
    elements = _decoded(items, Kind.ELEMENT, decode_untrusted_element)
    return elements, _decoded(items, Kind.RECORD, _read_version)


def _decoded(items: Sequence[Item], kind: Kind, decode: Callable[[bytes], T]) -> list[T]:
    return [value for item in items if item.kind is kind for value in _each(decode, item.raw)]


def _each(decode: Callable[[bytes], T], raw: bytes) -> Iterator[T]:
    """One value, or none where there is none to read."""
    try:
        yield decode(raw)
    except RemoteProtocolError:
        return


def _read_version(raw: bytes) -> RecordItem:
    return decode_untrusted_item(raw, body_bytes_max=BODY_BYTES_MAX)
