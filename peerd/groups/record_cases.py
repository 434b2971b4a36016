"""What a user can do with records: write, read, list, search."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import partial
from shlex import quote
from typing import cast

import trio
from msgspec import UNSET
from msgspec.structs import replace

from peerd.control import record_schema
from peerd.control.limits import RECORD_DATA_SHOWN_BYTES_MAX
from peerd.control.schema import Page, seconds_at
from peerd.errors import Conflict, NotReady
from peerd.groups.base64url import write_base64url
from peerd.groups.credential_cases import pid_of
from peerd.groups.open_group import OpenGroup
from peerd.groups.record_rendering import record, wished_attributes, wished_data, wished_id
from peerd.groups.registry import Registry
from peerd.lookup import all_meant
from protocol.authority.view import View
from protocol.errors import RuleError
from protocol.machines.events import AddRecord, DeleteRecord, UpdateRecord, Written
from protocol.records.attributes import STRING
from protocol.records.expression import parse_expression
from protocol.records.order import winner
from protocol.records.patterns import fits
from protocol.records.peersearch import parse_peersearch
from protocol.records.predicate import And, ByPeer, Compare, Like, Not, Op, Or, Predicate, built_in
from protocol.records.record import RECORD_ID_BYTES, Header, decode_untrusted_header
from protocol.records.record_set import RecordSet, State
from protocol.records.reserved import RESERVED_PREFIX, is_reserved
from protocol.records.search import Query, named

_ID_DIGITS = 2 * RECORD_ID_BYTES
_VERSION_DIGITS = 64
_BEGINNING = re.compile(rf"[0-9a-f]{{1,{_ID_DIGITS}}}")
_READ_AT_ONCE = 64  # records that are read between two turns of the crank: about 5 ms
_NOT_OURS = Not(Like(built_in("record_type"), f"{RESERVED_PREFIX}*"))

Wish = record_schema.RecordAdd | record_schema.RecordChange | record_schema.WriteQuery


class RecordCases:
    """Records of the open groups."""

    def __init__(self, registry: Registry) -> None:
        """Finds groups in the registry."""
        self._registry = registry

    # --- writing --------------------------------------------------------------------------------------------

    async def add_record(self, group: str, wish: record_schema.RecordAdd) -> record_schema.Record:
        """Write a new record."""
        opened = self._writable(group)
        command = AddRecord(
            wish.record_type,
            wished_attributes(wish.attributes),
            wished_data(wish.data),
            self._end(wish),
            wish.auto_refresh,
        )
        return await self._write(opened, command, wish)

    async def change_record(
        self, group: str, record_id: str, wish: record_schema.RecordChange
    ) -> record_schema.Record:
        """Write a new version of a record."""
        opened = self._writable(group)
        command = UpdateRecord(
            await self._find(opened, record_id),
            None if wish.attributes is UNSET else wished_attributes(wish.attributes),
            None if wish.data is UNSET else wished_data(wish.data),
            self._end(wish),
            wish.auto_refresh,
            _if_version(wish.if_version),
        )
        return await self._write(opened, command, wish)

    async def set_record_data(
        self, group: str, record_id: str, data: bytes, query: record_schema.WriteQuery
    ) -> record_schema.Record:
        """Write a new version of a record with other data."""
        opened = self._writable(group)
        found = await self._find(opened, record_id)
        command = UpdateRecord(found, body=data, if_version=_if_version(query.if_version))
        return await self._write(opened, command, query)

    async def delete_record(
        self, group: str, record_id: str, query: record_schema.WriteQuery
    ) -> record_schema.RecordDeleted:
        """Write that a record is deleted."""
        opened = self._writable(group)
        found = await self._find(opened, record_id)
        written = await self._submit(opened, DeleteRecord(found, _if_version(query.if_version)))
        return record_schema.RecordDeleted(
            record_id=found.hex(),
            group=opened.entry.group_name,
            version_id=written.version_id.hex(),
            replicated=await self._replicated(opened, written, query),
        )

    def _writable(self, group: str) -> OpenGroup:
        """The group, if the key that signs is still there. Raises: as `Registry.ready`, and RuleError."""
        opened = self._registry.ready(group)
        self._registry.identities.reread_key(opened.entry.identity)
        return opened

    def _end(self, wish: record_schema.RecordAdd | record_schema.RecordChange) -> int | None:
        """The second at which a record ends, if one was given. Raises: RuleError(invalid-argument)."""
        if wish.expires is not None and wish.valid_s is not None:
            raise RuleError(
                "invalid-argument", "an end and a duration were given", hint="give one of expires and valid"
            )
        if wish.valid_s is not None:
            return self._registry.environment.clock.moment().utc_s + wish.valid_s
        return None if wish.expires is None else seconds_at(wish.expires)

    async def _submit(self, opened: OpenGroup, command: AddRecord | UpdateRecord | DeleteRecord) -> Written:
        return cast("Written", await opened.node.runner.submit(command))

    async def _write(
        self, opened: OpenGroup, command: AddRecord | UpdateRecord, wish: Wish
    ) -> record_schema.Record:
        written = await self._submit(opened, command)
        replicated = await self._replicated(opened, written, wish)

        def read(_: object) -> record_schema.Record:
            raw = opened.store.header(written.version_id)
            if raw is None:  # somebody has changed it at once; what was written was so for a moment
                return self._record_of(opened, _shown_header(opened.store, written.record_id))
            return self._record_of(opened, decode_untrusted_header(raw))

        return replace(await opened.node.runner.ask(read), replicated=replicated)

    async def _replicated(self, opened: OpenGroup, written: Written, wish: Wish) -> int | None:
        """Wait for neighbors, if that was asked for; how many hold it. Raises: NotReady(not-replicated)."""
        if not wish.wait_replicated:
            return None
        replication = opened.node.replication
        with trio.move_on_after(wish.timeout_s):
            await replication.wait(written.version_id, wish.wait_replicated)
        held = replication.count(written.version_id)
        if held >= wish.wait_replicated:
            return held
        raise NotReady(
            f"record {written.record_id.hex()}, version {written.version_id.hex()}, is durable on this node,"
            f" and on {held} of {wish.wait_replicated} neighbors after {wish.timeout_s} s;"
            " it goes on spreading by itself",
            code="not-replicated",
            hint=f"peerd group show {quote(opened.entry.group_name)} shows the neighbors;"
            " do not write it again",
        )

    # --- reading --------------------------------------------------------------------------------------------

    async def record(
        self, group: str, record_id: str, query: record_schema.RecordQuery
    ) -> record_schema.Record:
        """One record."""
        opened = self._registry.ready(group)
        found = await self._find(opened, record_id)

        def read(_: object) -> record_schema.Record:
            header = _shown_header(opened.store, found)
            shown = self._record_of(opened, header)
            wanted = header.size <= RECORD_DATA_SHOWN_BYTES_MAX if query.data is None else query.data
            if not wanted or (query.data is None and not shown.data_held):
                return shown
            return replace(shown, data=write_base64url(_data(opened, header)))

        return await opened.node.runner.ask(read)

    async def record_data(self, group: str, record_id: str) -> tuple[str, bytes]:
        """The version id of a record, and its data."""
        opened = self._registry.ready(group)
        found = await self._find(opened, record_id)

        def read(_: object) -> tuple[str, bytes]:
            header = _shown_header(opened.store, found)
            return header.id.hex(), _data(opened, header)

        return await opened.node.runner.ask(read)

    async def _find(self, opened: OpenGroup, text: str) -> bytes:
        """The id of the record that a person means: in full, or by the beginning of it or of its second half.
        Raises: RuleError(record-not-found, invalid-argument),
        Conflict(ambiguous-name).
        """
        digits = text.lower()
        if _BEGINNING.fullmatch(digits) is None:
            return wished_id(digits, _ID_DIGITS, "a record's id")
        if len(digits) == _ID_DIGITS:
            return bytes.fromhex(digits)
        # The first half is the same for all records of one creator.
        whole, second_half = f"{digits}*", f"{'?' * (_ID_DIGITS // 2)}{digits}*"
        query = Query(Or(tuple(Like(built_in("record_id"), form) for form in (whole, second_half))))
        page = await self._search(opened, query, Page(limit=2))
        if len(page[0]) > 1:
            raise Conflict(
                f"“{text}” fits more than one record",
                code="ambiguous-name",
                hint="give more of the id: its first 16 digits are the same for all records of one creator",
            )
        if not page[0]:
            raise _not_found(f"no record “{text}…” can be read here")
        return page[0][0]

    def _record_of(self, opened: OpenGroup, header: Header) -> record_schema.Record:
        return record(
            opened.machine.members.view,
            opened.entry.group_name,
            header,
            data_held=header.body_hash is None or opened.store.has_body(header.body_hash),
            auto_refresh=header.record_id in opened.machine.data.refreshing,
        )

    # --- searching ------------------------------------------------------------------------------------------

    async def records(self, group: str, query: record_schema.RecordsQuery) -> record_schema.Records:
        """One page of records, in the order in which they were made."""
        opened = self._registry.ready(group)
        parts: list[Predicate] = []
        if query.record_type is not None:
            parts.append(Compare(built_in("record_type"), STRING, Op.EQUAL, query.record_type))
        if query.record_type is None or not is_reserved(query.record_type):
            parts.append(_NOT_OURS)
        if query.creator is not None:
            creator = await opened.node.runner.ask(
                partial(_creator, opened.machine.members.view, query.creator)
            )
            parts.append(ByPeer(built_in("creator"), (creator,)))
        return await self._found(opened, Query(And(tuple(parts))), query)

    async def search_records(self, group: str, wish: record_schema.RecordSearch) -> record_schema.Records:
        """One page of what a search finds."""
        opened = self._registry.ready(group)
        if (wish.query is None) == (wish.xml is None):
            raise RuleError(
                "invalid-argument",
                "a search is an expression or a peersearch document",
                hint="peerd record search --help",
            )
        if wish.query is None:
            assert wish.xml is not None
            query = parse_peersearch(wish.xml)
        else:
            query = parse_expression(wish.query, self._registry.environment.clock.moment().utc_ms)
        view = opened.machine.members.view
        query = await opened.node.runner.ask(lambda _: named(query, _Names(view)))
        where = _NOT_OURS if query.where is None else And((query.where, _NOT_OURS))
        return await self._found(opened, Query(where, query.order, query.limit), wish)

    async def _found(self, opened: OpenGroup, query: Query, page: Page) -> record_schema.Records:
        ids, following = await self._search(opened, query, page)
        records: list[record_schema.Record] = []
        for start in range(0, len(ids), _READ_AT_ONCE):
            reading = partial(self._read, opened, ids[start : start + _READ_AT_ONCE])
            records += await opened.node.runner.ask(reading)
        return record_schema.Records(records=records, next=following)

    def _read(
        self, opened: OpenGroup, record_ids: Collection[bytes], _: object
    ) -> list[record_schema.Record]:
        """Records by their ids; one that has gone since they were found is left out."""
        headers = [_header(opened.store, record_id) for record_id in record_ids]
        return [self._record_of(opened, header) for header in headers if header is not None]

    async def _search(self, opened: OpenGroup, query: Query, page: Page) -> tuple[list[bytes], str | None]:
        """The ids of the records on one page, and the cursor of the next."""
        environment = self._registry.environment
        now_s = opened.machine.data.time.now_s(environment.clock.moment())
        searching = partial(opened.store.search, query, now_s=now_s, page=page.limit, cursor=page.cursor)
        found = await environment.offload(searching)
        return [one.record_id for one in found.found], found.cursor


def _if_version(text: str | None) -> bytes | None:
    return None if text is None else wished_id(text.lower(), _VERSION_DIGITS, "a version's id")


def _header(store: RecordSet, record_id: bytes) -> Header | None:
    """The version that is shown of a record."""
    version_id = store.shown(record_id)
    raw = None if version_id is None else store.header(version_id)
    return None if raw is None else decode_untrusted_header(raw)


def _shown_header(store: RecordSet, record_id: bytes) -> Header:
    """The same, which must be there. Raises: RuleError(record-not-found, record-deleted)."""
    header = _header(store, record_id)
    if header is not None:
        return header
    kept = [version for version in store.versions(record_id) if version.state is State.KEPT]
    if kept:
        raw = store.header(winner(kept).id)
        assert raw is not None
        last = decode_untrusted_header(raw)
        if last.deleted:
            raise RuleError(
                "record-deleted",
                f"record {record_id.hex()} was deleted",
                hint="peerd events --kinds record-deleted shows when, and by whom",
            )
        raise _not_found(f"record {record_id.hex()} has expired")
    raise _not_found(f"no record {record_id.hex()} is known here")


def _not_found(detail: str) -> RuleError:
    return RuleError("record-not-found", detail, hint="peerd record list GROUP")


def _data(opened: OpenGroup, header: Header) -> bytes:
    """The data of a version. Raises: NotReady(data-not-here)."""
    if header.body_hash is None:
        return b""
    body = opened.store.body(header.body_hash)
    if body is None:
        raise NotReady(
            f"the {header.size} bytes of record {header.record_id.hex()} have not arrived on this node yet",
            code="data-not-here",
            hint=f"peerd group show {quote(opened.entry.group_name)} shows from whom they can come",
        )
    return body


def _creator(view: View, text: str, _: object) -> bytes:
    """The key of a member that a person means, or of one that was a member and is named in full. Raises:
    NotFound(member-not-found), Conflict.
    """
    return view.pid_ever(text.partition(".")[0]) or pid_of(view, text)


class _Names:
    """The names in a search: those of all members; by its authority, a key is found that once was one."""

    def __init__(self, view: View) -> None:
        self._view = view

    def meant(self, text: str) -> Collection[bytes]:
        known = self._view.pid_ever(text.partition(".")[0])
        return [known] if known is not None else all_meant(text, self._all())

    def fitting(self, pattern: str) -> Collection[bytes]:
        return [pid for name, pid in self._all().items() if fits(pattern, name)]

    def _all(self) -> dict[str, bytes]:
        return {self._view.name_of(pid): pid for pid in self._view.subjects()}
