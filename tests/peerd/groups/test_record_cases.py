"""Records as a user meets them: wishes become versions, refusals have names, reading shows all of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
import trio
from msgspec import structs

from peerd.control import schema
from peerd.control.operations import Selection
from peerd.control.record_schema import (
    DateValue,
    Record,
    RecordAdd,
    RecordChange,
    RecordQuery,
    RecordSearch,
    RecordsQuery,
    WriteQuery,
)
from peerd.errors import Conflict, NotFound, NotReady, PeerdError
from protocol.credentials.roles import role_names
from protocol.errors import RuleError
from protocol.limits import BODY_BYTES_MAX, EXPIRING_LIFE_S_MAX
from protocol.records.record_set import State
from tests.support.cluster import Node, calm, cluster, grow, until

WHOLE = RecordQuery(data=True)
HOUR = 3600
MOMENT_S = 0.001


@asynccontextmanager
async def founder(tmp_path) -> AsyncIterator[tuple[Node, str]]:
    """alice, alone in a group of hers."""
    async with cluster(tmp_path, tls=False) as nodes:
        (alice,) = await nodes.start("alice")
        yield alice, await alice.found()


async def add(node: Node, group: str, **wish: object) -> Record:
    await trio.sleep(MOMENT_S)  # so that it is younger than what was added before
    return await node.service.add_record(group, RecordAdd(**{"record_type": "note"} | wish))  # type: ignore[arg-type]


async def change(node: Node, group: str, record_id: str, **wish: object) -> Record:
    return await node.service.change_record(group, record_id, RecordChange(**wish))  # type: ignore[arg-type]


async def get(node: Node, group: str, record_id: str) -> Record:
    return await node.service.record(group, record_id, WHOLE)


async def listed(node: Node, group: str, **query: object) -> list[Record]:
    return (await node.service.records(group, RecordsQuery(**query))).records  # type: ignore[arg-type]


async def searched(node: Node, group: str, query: str) -> list[Record]:
    return (await node.service.search_records(group, RecordSearch(query=query))).records


async def refused(call) -> str:
    """The slug of a refusal, which says what happened and what to do."""
    with pytest.raises((RuleError, PeerdError)) as caught:
        await call
    error = caught.value
    assert isinstance(error, RuleError | PeerdError)
    assert error.detail
    assert error.hint
    return error.code


# --- writing and reading ------------------------------------------------------------------------------------


async def test_a_record_is_read_as_it_was_written(tmp_path, autojump_clock):
    async with founder(tmp_path) as (alice, group):
        date = DateValue(date=datetime(1850, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC))
        attributes = {"title": "Ofen 🔥", "n": [3, -(2**63), 2**63 - 1], "when": date, "many": ["b", "a", 1]}
        added = await add(alice, group, attributes=attributes, data="AP8")
        found = await get(alice, group, added.record_id)
        assert found == structs.replace(added, data="AP8")
        assert found.attributes == attributes | {
            "n": [-(2**63), 3, 2**63 - 1],
            "many": [1, "a", "b"],
        }
        assert (found.group, found.record_type, found.version) == (group, "note", 1)
        assert found.creator == found.modified_by == alice.peer_name
        assert found.created == found.modified
        assert (found.expires, found.durable, found.size, found.data_held) == (None, True, 2, True)
        assert await alice.service.record_data(group, added.record_id) == (added.version_id, b"\0\xff")


async def test_a_change_leaves_what_it_does_not_name_and_can_empty_what_it_names(tmp_path, autojump_clock):
    async with founder(tmp_path) as (alice, group):
        added = await add(alice, group, attributes={"a": 1}, data="YQ")
        changed = await change(alice, group, added.record_id, data="YmI")
        assert (changed.attributes, changed.size, changed.version) == ({"a": 1}, 2, 2)
        changed = await change(alice, group, added.record_id, attributes={})
        assert (changed.attributes, changed.size) == ({}, 2)
        changed = await change(alice, group, added.record_id, data="")
        assert (changed.size, changed.version, changed.created) == (0, 4, added.created)
        assert changed.modified >= added.modified
        octets = await alice.service.set_record_data(group, added.record_id, b"x" * 1000, WriteQuery())
        assert (await get(alice, group, added.record_id)).version_id == octets.version_id


async def test_an_end_is_given_as_a_time_or_a_duration_and_can_only_be_put_off(tmp_path, autojump_clock):
    async with founder(tmp_path) as (alice, group):
        now = schema.time_at(alice.clock.moment().utc_s)
        added = await add(alice, group, valid_s=HOUR, auto_refresh=True)
        assert added.expires is not None
        assert timedelta(0) <= added.expires - (now + timedelta(hours=1)) <= timedelta(seconds=1)
        assert (added.durable, added.auto_refresh) == (False, True)
        later = now + timedelta(hours=3)
        put_off = await change(alice, group, added.record_id, expires=later, auto_refresh=False)
        assert (put_off.expires, put_off.auto_refresh) == (later, False)
        for wish in ({"expires": now + timedelta(hours=2)}, {"valid_s": EXPIRING_LIFE_S_MAX + 10}):
            assert await refused(change(alice, group, added.record_id, **wish)) == "invalid-record-expiration"
        durable = await add(alice, group)
        assert await refused(change(alice, group, durable.record_id, valid_s=HOUR)) == (
            "invalid-record-expiration"
        )


async def test_what_is_not_acceptable_is_refused_by_name_and_changes_nothing(tmp_path, autojump_clock):
    async with founder(tmp_path) as (alice, group):
        now = schema.time_at(alice.clock.moment().utc_s)
        await until(lambda: counted(alice, group))  # peerd's own record of where the node is
        before = alice.on_disk()
        for slug, wish in (
            ("invalid-argument", {"record_type": "No Such Type"}),
            ("not-authorized", {"record_type": "peerd.contact"}),
            ("invalid-attributes", {"attributes": {"no-hyphen": 1}}),
            ("invalid-attributes", {"attributes": {"peercreatorid": "x"}}),
            ("invalid-attributes", {"attributes": {"a": "x" * 5000}}),
            ("invalid-attributes", {"attributes": {"a": [1, 1]}}),
            ("invalid-argument", {"data": "not base64!"}),
            ("invalid-argument", {"data": "YQ=="}),
            ("invalid-argument", {"valid_s": 5, "expires": now + timedelta(days=1)}),
            ("invalid-argument", {"auto_refresh": True}),
            ("invalid-record-expiration", {"expires": now}),
            ("invalid-record-expiration", {"valid_s": EXPIRING_LIFE_S_MAX + 60}),
        ):
            assert await refused(add(alice, group, **wish)) == slug, wish
        assert alice.on_disk() == before
        added = await add(alice, group)
        too_large = bytes(BODY_BYTES_MAX + 1)
        assert await refused(
            alice.service.set_record_data(group, added.record_id, too_large, WriteQuery())
        ) == ("record-too-large")


async def test_who_wrote_last_wins_and_who_depends_on_a_version_is_told(tmp_path, autojump_clock):
    async with founder(tmp_path) as (alice, group):
        first = await add(alice, group, data="YQ")
        second = await change(alice, group, first.record_id, data="Yg", if_version=first.version_id)
        stale = WriteQuery(if_version=first.version_id)
        for write in (
            change(alice, group, first.record_id, data="Yw", if_version=first.version_id),
            alice.service.set_record_data(group, first.record_id, b"c", stale),
            alice.service.delete_record(group, first.record_id, stale),
        ):
            assert await refused(write) == "version-conflict"
        assert (await get(alice, group, first.record_id)).version_id == second.version_id
        assert await refused(change(alice, group, first.record_id, if_version="abc")) == "invalid-argument"


async def test_only_its_creator_and_administrators_change_a_record(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        alice, bob = nodes.all()
        of_alice, of_bob = await add(alice, group), await add(bob, group)
        await until(lambda: len(alice.events()) and counted(alice, group) == counted(bob, group))
        assert await refused(change(bob, group, of_alice.record_id, data="YQ")) == "not-authorized"
        assert await refused(bob.service.delete_record(group, of_alice.record_id, WriteQuery())) == (
            "not-authorized"
        )
        changed = await change(alice, group, of_bob.record_id, data="YQ")
        assert (changed.creator, changed.modified_by) == (bob.peer_name, alice.peer_name)


def counted(node: Node, group: str) -> int:
    opened = node.opened(group)
    assert opened is not None
    return len(opened.machine.data.ids)


# --- finding ------------------------------------------------------------------------------------------------


async def test_a_record_is_named_by_its_id_or_a_beginning_of_either_half(tmp_path, autojump_clock):
    async with founder(tmp_path) as (alice, group):
        first, second = await add(alice, group), await add(alice, group)
        assert first.record_id[:16] == second.record_id[:16]
        for text in (
            first.record_id,
            first.record_id.upper(),
            first.record_id[:31],
            first.record_id[16:],
            first.record_id[16:24],
        ):
            assert (await get(alice, group, text)).record_id == first.record_id
        with pytest.raises(Conflict, match="more than one"):
            await get(alice, group, first.record_id[:16])
        for text in ("0" * 32, "0" * 31):
            assert await refused(get(alice, group, text)) == "record-not-found"
        for text in ("", "xyz", first.record_id + "0", "%", "*"):
            assert await refused(get(alice, group, text)) == "invalid-argument"


async def test_what_was_deleted_or_has_ended_is_told_apart_from_what_never_was(tmp_path, autojump_clock):
    async with founder(tmp_path) as (alice, group):
        gone, ending = await add(alice, group), await add(alice, group, valid_s=60)
        deleted = await alice.service.delete_record(group, gone.record_id, WriteQuery())
        assert (deleted.record_id, deleted.deleted, deleted.group) == (gone.record_id, True, group)
        assert deleted.version_id != gone.version_id
        await trio.sleep(62)
        await until(lambda: "record-expired" in alice.kinds())
        for slug, one in (("record-deleted", gone), ("record-not-found", ending)):
            assert await refused(get(alice, group, one.record_id)) == slug
            assert await refused(alice.service.record_data(group, one.record_id)) == slug
        assert await refused(change(alice, group, gone.record_id, data="")) == "record-deleted"
        assert await listed(alice, group) == []


async def test_records_are_listed_by_type_and_creator_and_page(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        alice, bob = nodes.all()
        made = [await add(alice, group, record_type=f"t{n % 2}") for n in range(5)]
        made.append(await add(bob, group, record_type="t0"))
        await until(lambda: counted(alice, group) == counted(bob, group))
        assert await listed(alice, group) == made
        assert await listed(bob, group, record_type="t1") == [made[1], made[3]]
        for name in ("bob", bob.peer_name, bob.peer_name[:8], bob.peer_name[:40]):
            assert await listed(alice, group, creator=name) == [made[5]]
        assert await listed(alice, group, creator="alice", record_type="t0") == [made[0], made[2], made[4]]
        with pytest.raises(NotFound):
            await listed(alice, group, creator="carol")
        pages, cursor = [], None
        while True:
            page = await alice.service.records(group, RecordsQuery(limit=4, cursor=cursor))
            pages.append(page.records)
            if (cursor := page.next) is None:
                break
        assert pages == [made[:4], made[4:]]
        hostile = RecordsQuery(cursor="nonsense")
        assert await refused(alice.service.records(group, hostile)) == "invalid-argument"


async def test_peerds_own_records_are_listed_only_to_who_asks_for_them(tmp_path, autojump_clock):
    async with founder(tmp_path) as (alice, group):
        await until(lambda: counted(alice, group))
        assert await listed(alice, group) == []
        assert await searched(alice, group, "version >= 1") == []
        (contact,) = await listed(alice, group, record_type="peerd.contact")
        assert contact.creator == alice.peer_name
        assert not {event.kind for event in alice.events()} & {"record-added", "record-changed"}


async def test_a_search_finds_in_both_languages_and_by_names_of_members(tmp_path, autojump_clock):
    async with founder(tmp_path) as (alice, group):
        made = [
            await add(alice, group, attributes={"title": title, "people": people})
            for title, people in (("Pizza", 4), ("Pasta", 2), ("draft", 9))
        ]
        pizza, pasta, draft = made
        assert await searched(alice, group, "people >= 3 order by people desc") == [draft, pizza]
        assert await searched(alice, group, 'title ~ "P*" and not people = 4') == [pasta]
        for name in ("alice", alice.peer_name, alice.peer_name[:8]):
            assert await searched(alice, group, f'creator = "{name}"') == made
        assert await searched(alice, group, 'creator = "nobody"') == []
        assert await searched(alice, group, 'creator ~ "*.alice"') == made
        assert await searched(alice, group, 'creator ~ "*.bob" or modified_by ~ "bob*"') == []
        assert await searched(alice, group, "order by created limit 1") == [pizza]
        xml = '<peersearch><clause attrib="title" type="string" compare="equal">Pi*</clause></peersearch>'
        found = await alice.service.search_records(group, RecordSearch(xml=xml))
        assert found.records == [pizza]
        for slug, wish in (
            ("invalid-search", RecordSearch(query="title =")),
            ("invalid-search", RecordSearch(xml="<peersearch/>")),
            ("invalid-argument", RecordSearch()),
            ("invalid-argument", RecordSearch(query="people = 1", xml=xml)),
            ("invalid-argument", RecordSearch(query="people = 1", cursor="!")),
        ):
            assert await refused(alice.service.search_records(group, wish)) == slug


# --- replication --------------------------------------------------------------------------------------------


async def test_a_write_can_wait_until_neighbors_hold_it(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob", "carol")
        alice = nodes["alice"]
        added = await add(alice, group, data="YQ", wait_replicated=2, timeout_s=30)
        assert added.replicated == 2
        for name in ("bob", "carol"):
            assert (await get(nodes[name], group, added.record_id)).data == "YQ"
        large = await alice.service.set_record_data(
            group, added.record_id, b"x" * BODY_BYTES_MAX, WriteQuery(wait_replicated=2, timeout_s=60)
        )
        assert large.replicated == 2
        found = await nodes["bob"].service.record_data(group, added.record_id)
        assert found == (large.version_id, b"x" * BODY_BYTES_MAX)
        gone = await alice.service.delete_record(group, added.record_id, WriteQuery(wait_replicated=1))
        assert (gone.replicated or 0) >= 1


async def test_too_few_neighbors_leave_a_write_durable_here_and_say_how_many_have_it(
    tmp_path, autojump_clock
):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        alice = nodes["alice"]
        begun = trio.current_time()
        with pytest.raises(NotReady, match="on 1 of 2 neighbors") as caught:
            await add(alice, group, data="YQ", wait_replicated=2, timeout_s=7)
        assert caught.value.code == "not-replicated"
        assert trio.current_time() - begun == pytest.approx(7, abs=0.5)
        (record,) = await listed(alice, group)
        assert record.record_id in caught.value.detail
        alice.kill()
        await calm()
        await nodes.start("alice")
        assert (await get(alice, group, record.record_id)).data == "YQ"


async def test_data_that_have_not_arrived_are_told_apart_from_none(tmp_path, autojump_clock, monkeypatch):
    async with founder(tmp_path) as (alice, group):
        added = await add(alice, group, data="YWJj")
        opened = alice.opened(group)
        assert opened is not None
        monkeypatch.setattr(opened.store, "body", lambda _: None)
        monkeypatch.setattr(opened.store, "has_body", lambda _: False)
        header = await alice.service.record(group, added.record_id, RecordQuery())
        assert (header.data_held, header.data, header.size) == (False, None, 3)
        for read in (get(alice, group, added.record_id), alice.service.record_data(group, added.record_id)):
            assert await refused(read) == "data-not-here"


async def test_a_record_that_is_changed_before_it_is_shown_is_shown_as_it_is_now(
    tmp_path, autojump_clock, monkeypatch
):
    async with founder(tmp_path) as (alice, group):
        opened = alice.opened(group)
        assert opened is not None
        runner, store = opened.node.runner, opened.store
        ask, header = runner.ask, store.header
        hidden: list[bytes] = []

        def first_time(version_id: bytes) -> bytes | None:
            """The version that was written is no longer there when it is asked for."""
            hidden.append(version_id)
            return None if len(hidden) == 1 else header(version_id)

        async def asked(question):
            monkeypatch.setattr(store, "header", first_time)
            try:
                return await ask(question)
            finally:
                monkeypatch.setattr(store, "header", header)

        monkeypatch.setattr(runner, "ask", asked)
        added = await add(alice, group, data="YQ")
        assert [added.version_id] * 2 == [version_id.hex() for version_id in hidden]


# --- events -------------------------------------------------------------------------------------------------


def told(node: Node, selection: Selection, since: str | None = None) -> list[tuple[str, str]]:
    log = node.service.events
    page = log.after(log.start() if since is None else since, 256, selection)
    return [(event.kind, event.facts["record_id"]) for event in page.events]


async def test_events_tell_of_records_by_kind_and_type_once_across_restarts(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        alice, bob = nodes.all()
        note = await add(bob, group, record_type="note")
        other = await add(bob, group, record_type="other")
        await change(bob, group, note.record_id, data="YQ")
        await until(lambda: alice.kinds()[-1] == "record-changed")
        cursor = alice.events()[-1].cursor
        notes = Selection(record_type="note")
        assert told(alice, notes) == [("record-added", note.record_id), ("record-changed", note.record_id)]
        alice.kill()
        await calm()
        await nodes.start("alice")
        assert told(alice, notes, cursor) == []
        await until(lambda: alice.neighbors(group))
        await bob.service.delete_record(group, note.record_id, WriteQuery())
        await trio.sleep(0.1)
        await bob.service.delete_record(group, other.record_id, WriteQuery())
        await until(lambda: alice.kinds().count("record-deleted") == 2)
        assert told(alice, notes, cursor) == [("record-deleted", note.record_id)]
        deletions = Selection(kinds=frozenset({"record-deleted"}), group=group)
        assert told(alice, deletions) == [("record-deleted", one.record_id) for one in (note, other)]
        assert told(alice, Selection(kinds=frozenset({"record-added"}), group="elsewhere")) == []
        event = next(event for event in alice.events() if event.kind == "record-added")
        assert event.facts == {
            "record_id": note.record_id,
            "record_type": "note",
            "version_id": note.version_id,
            "creator": bob.peer_name,
            "modified_by": bob.peer_name,
            "modified": note.modified.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "version": 1,
        }


async def test_a_reader_that_lags_is_told_where_to_read_on(tmp_path, autojump_clock, monkeypatch):
    monkeypatch.setattr("peerd.store.group_store.EVENTS_KEPT_MAX", 5)
    async with founder(tmp_path) as (alice, group):
        log = alice.service.events
        cursor = log.end()
        made = [(await add(alice, group)).record_id for _ in range(12)]
        page = log.after(cursor, 256, Selection(record_type="note"))
        assert page.lagged
        kept = [event.facts["record_id"] for event in page.events]
        assert kept == made[-len(kept) :]
        assert 1 <= len(kept) <= 5
        again = log.after(log.start(), 256)
        assert [event.facts["record_id"] for event in again.events] == kept
        assert not again.lagged
        assert log.after(page.cursor, 256).events == []


# --- the group at a glance ----------------------------------------------------------------------------------


async def test_a_group_says_how_many_records_there_are(tmp_path, autojump_clock):
    async with founder(tmp_path) as (alice, group):
        await until(lambda: counted(alice, group))
        before = (await alice.service.group(group)).records
        await add(alice, group)
        seen = await alice.service.group(group)
        assert (seen.records, seen.synchronizing) == (before + 1, None)
        assert f'peerd_records{{group="{group}"}} {before + 1}.0'.encode() in await alice.service.metrics()


# --- time ---------------------------------------------------------------------------------------------------


async def test_a_refreshed_record_outlives_its_end_while_its_writers_daemon_runs_and_dies_after(
    tmp_path, autojump_clock
):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        alice, bob = nodes.all()
        kept = await add(alice, group, valid_s=120, auto_refresh=True, data="YQ", attributes={"a": 1})
        brief = await add(alice, group, valid_s=120)
        await trio.sleep(600)
        found = await get(bob, group, kept.record_id)
        assert (found.data, found.attributes, found.auto_refresh) == ("YQ", {"a": 1}, False)
        assert found.version > 3
        assert (await get(alice, group, kept.record_id)).auto_refresh
        assert await refused(get(bob, group, brief.record_id)) == "record-not-found"
        alice.kill()
        await calm()
        await trio.sleep(130)
        assert await refused(get(bob, group, kept.record_id)) == "record-not-found"


async def test_what_was_written_apart_meets_and_the_same_version_wins_on_both_sides(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        alice, bob = nodes.all()
        await alice.issue(group, bob.peer_name, role="admin")
        shared = await add(alice, group, data="YQ", wait_replicated=1)
        await until(lambda: "admin" in roles(bob, group))
        await nodes.unplug(bob)
        await change(alice, group, shared.record_id, data="Yg")
        await trio.sleep(2)
        later = await change(bob, group, shared.record_id, data="Yw")
        apart = await add(bob, group, record_type="apart")
        nodes.plug(bob)
        await until(lambda: counted(alice, group) == counted(bob, group) and bob.links(group), within_s=200)
        await until(lambda: alice.kinds().count("record-added") == 2, within_s=100)
        for node in (alice, bob):
            assert (await get(node, group, shared.record_id)).version_id == later.version_id
            assert (await get(node, group, apart.record_id)).creator == bob.peer_name


def roles(node: Node, group: str) -> list[str]:
    grant = node.credential(group)
    assert grant is not None
    return list(role_names(grant.roles))


# --- what is not there ------------------------------------------------------------------------------------


async def test_a_record_of_which_no_version_counts_is_not_known(tmp_path, autojump_clock):
    async with founder(tmp_path) as (alice, group):
        added = await add(alice, group)
        opened = alice.opened(group)
        assert opened is not None
        opened.store.begin()
        opened.store.set_state(bytes.fromhex(added.version_id), State.ASIDE, 0)
        opened.store.hide(bytes.fromhex(added.record_id))
        opened.store.commit()
        with pytest.raises(RuleError, match="is known here") as caught:
            await get(alice, group, added.record_id)
        assert caught.value.code == "record-not-found"


async def test_without_its_key_an_identity_writes_nothing_and_reads_all(tmp_path, autojump_clock):
    async with founder(tmp_path) as (alice, group):
        added = await add(alice, group)
        (path,) = alice.home.identities.glob("*.pem")
        path.unlink()
        for write in (
            add(alice, group),
            change(alice, group, added.record_id, data="YQ"),
            alice.service.set_record_data(group, added.record_id, b"", WriteQuery()),
            alice.service.delete_record(group, added.record_id, WriteQuery()),
        ):
            assert await refused(write) == "no-key-access"
        assert await listed(alice, group) == [added]


async def test_records_of_a_key_that_was_removed_are_found_by_its_full_name(tmp_path, autojump_clock):
    async with founder(tmp_path) as (alice, group):
        added = await add(alice, group)
        opened = alice.opened(group)
        assert opened is not None
        opened.machine.members.view.subjects = lambda: iter(())  # type: ignore[method-assign]
        for name in (alice.peer_name, alice.peer_name[:40]):
            assert await listed(alice, group, creator=name) == [added]
            assert await searched(alice, group, f'creator = "{name}"') == [added]
        with pytest.raises(NotFound):
            await listed(alice, group, creator="alice")


async def test_what_has_ended_by_group_time_is_not_found_even_before_it_is_taken_away(
    tmp_path, autojump_clock, monkeypatch
):
    async with founder(tmp_path) as (alice, group):
        ending = await add(alice, group, valid_s=60)
        opened = alice.opened(group)
        assert opened is not None
        assert await listed(alice, group) == [ending]
        assert ending.expires is not None
        end_s = schema.seconds_at(ending.expires)
        monkeypatch.setattr(opened.machine.data.time, "now_s", lambda _: end_s)
        assert await listed(alice, group) == []
        assert await searched(alice, group, "version = 1") == []
