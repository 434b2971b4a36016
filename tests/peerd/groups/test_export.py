"""A group as a file: what comes out goes in elsewhere, once, and nothing that a neighbor would not get in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

import pytest
import trio

from peerd.control.record_schema import Imported, Record, RecordAdd, RecordChange, RecordsQuery, WriteQuery
from protocol.errors import RuleError
from protocol.records.export import ExportReader, ExportWriter, Item, Kind
from protocol.records.record import decode_untrusted_item
from tests.support.cluster import Cluster, Node, agreed, calm, cluster, grow, until

SHARED = (b"", b"small", b"x" * 20_000, b"y" * 1_048_576)


async def exported(node: Node, group: str) -> bytes:
    parts: list[bytes] = []

    async def send(part: bytes) -> None:
        await trio.lowlevel.checkpoint()
        parts.append(part)

    await (await node.service.export_group(group))(send)
    assert max(map(len, parts)) < 2_200_000
    return b"".join(parts)


async def imported(node: Node, group: str, data: bytes, part_bytes: int = 100_000) -> Imported:
    parts = [data[start : start + part_bytes] for start in range(0, len(data), part_bytes)]
    return await node.service.import_group(group, _upload(parts))


def _upload(parts: Iterable[bytes]) -> Callable[[], Awaitable[bytes]]:
    coming = iter([*parts, b""])

    async def upload() -> bytes:
        await trio.lowlevel.checkpoint()
        return next(coming)

    return upload


def items(data: bytes, gid: bytes) -> list[Item]:
    reader = ExportReader(gid)
    found = list(reader.feed(data))
    reader.finish()
    return found


def gid_of(node: Node, group: str) -> bytes:
    opened = node.opened(group)
    assert opened is not None
    return opened.machine.members.view.gid


async def write_some(node: Node, group: str) -> None:
    """Records with data of several sizes, one that was changed and one that was deleted."""
    for data in SHARED:
        added = await node.service.add_record(group, RecordAdd(record_type="note", attributes={"a": 1}))
        if data:
            await node.service.set_record_data(group, added.record_id, data, WriteQuery())
    gone = await node.service.add_record(group, RecordAdd(record_type="gone"))
    await node.service.delete_record(group, gone.record_id, WriteQuery())
    await node.service.add_record(group, RecordAdd(record_type="brief", valid_s=600))


async def contents(node: Node, group: str) -> list[tuple[Record, bytes]]:
    """What a user can read of all records."""
    found = (await node.service.records(group, RecordsQuery())).records
    return [(one, (await node.service.record_data(group, one.record_id))[1]) for one in found]


def version_ids(node: Node, group: str) -> set[bytes]:
    opened = node.opened(group)
    assert opened is not None
    return {version_id for _, version_id in opened.store.arrived_after(0, 10_000)}


async def separated(nodes: Cluster) -> tuple[Node, Node, str]:
    """Two members who no longer hear of each other."""
    group = await grow(nodes, "alice", "bob")
    alice, bob = nodes["alice"], nodes["bob"]
    await until(lambda: version_ids(alice, group) == version_ids(bob, group) and version_ids(bob, group))
    await nodes.unplug(bob)
    return alice, bob, group


async def test_what_comes_out_goes_in_elsewhere_and_changes_nothing_the_second_time(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        alice, bob, group = await separated(nodes)
        await write_some(alice, group)
        await alice.issue(group, "bob", role="admin")
        data = await exported(alice, group)
        brought = await imported(bob, group, data)
        assert (brought.group, brought.elements, brought.refused) == (group, 2, 0)
        assert brought.records == len(SHARED) + 2
        assert agreed(group, [alice, bob])
        assert version_ids(alice, group) == version_ids(bob, group)
        seen = await contents(bob, group)
        assert seen == await contents(alice, group)
        assert sorted(len(data) for _, data in seen) == [0, 0, *(len(data) for data in SHARED[1:])]
        before = bob.on_disk()
        again = await imported(bob, group, data, part_bytes=7_001)
        assert (again.elements, again.records, again.refused) == (0, 0, 0)
        assert bob.on_disk() == before
        assert items(await exported(bob, group), gid_of(bob, group)) != []


async def test_an_import_survives_a_crash_that_follows_it(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        alice, bob, group = await separated(nodes)
        await write_some(alice, group)
        await imported(bob, group, await exported(alice, group))
        seen = await contents(bob, group)
        bob.kill()
        await calm()
        await nodes.start("bob")
        assert await contents(bob, group) == seen == await contents(alice, group)


async def test_no_more_than_a_page_is_read_at_once(tmp_path, autojump_clock, monkeypatch):
    async with cluster(tmp_path, tls=False) as nodes:
        alice, _, group = await separated(nodes)
        await write_some(alice, group)
        whole = await exported(alice, group)
        parts: list[bytes] = []

        async def send(part: bytes) -> None:
            await trio.lowlevel.checkpoint()
            parts.append(part)

        monkeypatch.setattr("peerd.groups.export.EXPORT_PAGE_BYTES", 1)
        await (await alice.service.export_group(group))(send)
        assert b"".join(parts) == whole
        opened = alice.opened(group)
        assert opened is not None
        steps = len(opened.machine.members.view.act_ids()) + len(version_ids(alice, group))
        assert len(parts) == steps + 2


async def test_acts_stand_before_what_was_written_under_them(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        alice, _, group = await separated(nodes)
        await write_some(alice, group)
        data = await exported(alice, group)
        acts: set[bytes] = set()
        opened = alice.opened(group)
        assert opened is not None
        known = {opened.store.get(act_id): act_id for act_id in opened.machine.members.view.act_ids()}
        for kind, raw in items(data, gid_of(alice, group)):
            if kind is Kind.ELEMENT:
                acts.add(known.get(raw, b""))
            else:
                assert decode_untrusted_item(raw, body_bytes_max=2**20).header.cred in acts


async def test_what_is_written_meanwhile_is_not_lost_and_its_credential_comes_first(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        alice, bob, group = await separated(nodes)
        first = await alice.service.add_record(group, RecordAdd(record_type="note", data="YQ"))
        await write_some(alice, group)
        parts: list[bytes] = []
        wrote = 0

        async def send(part: bytes) -> None:
            nonlocal wrote
            parts.append(part)
            if len(part) > 1000 and wrote < 3:
                wrote += 1
                await alice.renew(group, alice, as_root=True)  # under which the next version is written
                await alice.service.change_record(group, first.record_id, RecordChange(data="Yg"))
                await alice.service.add_record(group, RecordAdd(record_type=f"meanwhile{wrote}"))

        await (await alice.service.export_group(group))(send)
        assert wrote == 3
        brought = await imported(bob, group, b"".join(parts))
        assert brought.refused == 0
        kinds = {one.record_type for one in (await bob.service.records(group, RecordsQuery())).records}
        assert {"note", "brief", "meanwhile1", "meanwhile2"} <= kinds
        assert (await bob.service.record_data(group, first.record_id))[1] == b"b"


async def test_of_a_damaged_file_what_is_whole_is_taken_and_the_place_is_told(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        alice, bob, group = await separated(nodes)
        added = await alice.service.add_record(group, RecordAdd(record_type="note", data="YQ"))
        await alice.service.add_record(group, RecordAdd(record_type="last", data="Yg"))
        data = await exported(alice, group)
        changed = data[:-70] + bytes([data[-70] ^ 1]) + data[-69:]
        for damaged in (data[:-70], changed, data + b"more"):
            with pytest.raises(RuleError, match=r"at byte \d+, after \d+ items.*was taken in") as caught:
                await imported(bob, group, damaged)
            assert caught.value.code == "invalid-database"
        assert (await bob.service.record_data(group, added.record_id))[1] == b"a"
        assert (await imported(bob, group, data)).refused == 0
        assert version_ids(alice, group) == version_ids(bob, group)


async def test_another_groups_file_and_what_is_no_export_change_nothing(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        alice, bob, group = await separated(nodes)
        other = await alice.found("other")
        before = bob.on_disk()
        for slug, data in (
            ("wrong-group", await exported(alice, other)),
            ("invalid-database", b""),
            ("invalid-database", b"SQLite format 3\0" * 100),
        ):
            with pytest.raises(RuleError) as caught:
                await imported(bob, group, data)
            assert caught.value.code == slug
            assert caught.value.hint
        assert bob.on_disk() == before


async def test_what_no_neighbor_would_get_in_is_refused_and_the_rest_is_taken(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        alice, bob, group = await separated(nodes)
        await write_some(alice, group)
        gid = gid_of(alice, group)
        told = items(await exported(alice, group), gid)
        writer = ExportWriter(gid)
        forged = [Item(item.kind, _forged(item.raw)) for item in told]
        junk = [Item(Kind.ELEMENT, b"junk"), Item(Kind.RECORD, b"junk"), Item(Kind.RECORD, told[0].raw)]
        every = [one for pair in zip(forged, told, strict=True) for one in pair] + junk
        data = b"".join([writer.begin(), *(writer.item(*item) for item in every), writer.end()])
        brought = await imported(bob, group, data)
        assert brought.refused == len(forged) + len(junk)
        assert version_ids(alice, group) == version_ids(bob, group)
        assert await contents(bob, group) == await contents(alice, group)


def _forged(raw: bytes) -> bytes:
    """The same with one bit changed, about where signatures are."""
    place = min(len(raw) - 1, max(len(raw) - 20, 0))
    if raw.endswith(b"\xc0"):  # no data follows: the signature is before the nil
        place = len(raw) - 20
    return raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]


async def test_a_sender_that_is_gone_leaves_what_was_whole_parts(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        alice, bob, group = await separated(nodes)
        await write_some(alice, group)
        data = await exported(alice, group)
        coming = iter([data[: len(data) // 2]])

        async def upload() -> bytes:
            await trio.lowlevel.checkpoint()
            try:
                return next(coming)
            except StopIteration:
                raise ConnectionError("gone") from None

        with pytest.raises(ConnectionError):
            await bob.service.import_group(group, upload)
        assert (await imported(bob, group, data)).refused == 0
        assert version_ids(alice, group) == version_ids(bob, group)
