"""Directory: each node says where it is reached, and draws partners from what the others say."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from protocol.credentials.sealing import public_sealing_key
from protocol.limits import (
    CONTACT_ADDRESSES_MAX,
    CONTACT_LIFE_S,
    CONTACT_RENEWAL_S,
    CONTACT_RETRY_MS,
    DIRECTORY_DRAWN_MAX,
)
from protocol.machines.directory import Directory
from protocol.machines.events import Dial, Send
from protocol.machines.record_keeping import Change
from protocol.peer_time import Window, hlc_at
from protocol.records.memory import MemoryStore
from protocol.records.record import Header, RecordItem, decode_untrusted_header
from protocol.records.record_set import State
from protocol.records.reserved import CONTACT_TYPE, Contact, decode_untrusted_contact, encode_contact
from protocol.wire.messages import Records
from tests.protocol.machines.playing import Player, in_transaction, node_id, only
from tests.support.builders import NOW, Group, after
from tests.support.keys import named
from tests.support.records import Writer, new_circle

LISTENS = ("bob.example:3587",)
GID = bytes(32)


@pytest.fixture
def group() -> Group:
    return new_circle()


def directory(name: str = "bob") -> Directory:
    return Directory(GID, named(name), node_id(name), random.Random(1))


def contact_of(player: Player) -> tuple[Header, Contact]:
    """Our own contact record as it stands."""
    shown = player.store.shown(player.machine.directory.record_id)
    assert shown is not None
    header = decode_untrusted_header(player.store.header(shown) or b"")
    return header, decode_untrusted_contact(player.store.body(header.body_hash or b"") or b"")


def listening(group: Group, name: str, *addresses: str) -> Player:
    player = Player.of(group, name)
    player.machine.links.listens = addresses
    return player


# --- our own record ---------------------------------------------------------------------------------------


def test_node_that_listens_says_where_and_tells_its_neighbors(group):
    player = listening(group, "bob", *LISTENS)
    player.meet(1, "alice")
    assert player.deadline() == NOW.mono_ms
    outputs = player.at(0)
    header, contact = contact_of(player)
    assert (contact.addresses, contact.node_id) == (LISTENS, player.machine.node_id)
    assert header.expires == NOW.utc_s + CONTACT_LIFE_S
    flooded = [one.message for one in only(Send, outputs) if isinstance(one.message, Records)]
    assert [item for message in flooded for item in message.items] == [
        RecordItem(header, encode_contact(contact)).raw
    ]


def test_member_that_does_not_listen_says_that_it_is_there(group):
    player = listening(group, "dave")
    player.at(0)
    _, contact = contact_of(player)
    assert contact.addresses == ()
    assert player.machine.directory.seen_s(named("dave").public.pid) == NOW.utc_s


def test_who_has_no_credential_says_nothing():
    assert directory().wish(LISTENS, None, NOW) is None
    assert directory().next_deadline(LISTENS, None, NOW) is None


def test_administrator_publishes_its_sealing_key_even_if_it_does_not_listen(group):
    player = listening(group, "alice")
    player.at(0)
    _, contact = contact_of(player)
    assert contact.sealing == public_sealing_key(named("alice"))
    assert contact.addresses == ()


def test_contact_is_written_again_every_day_and_when_it_changes(group):
    player = listening(group, "bob", *LISTENS)
    player.at(0)
    first, _ = contact_of(player)
    player.at(CONTACT_RENEWAL_S - 1)
    assert contact_of(player)[0].id == first.id
    player.at(CONTACT_RENEWAL_S)
    second, _ = contact_of(player)
    assert second.id != first.id
    assert second.record_id == first.record_id
    player.machine.links.listens = ("elsewhere.example:1",)
    player.at(CONTACT_RENEWAL_S + 5)
    assert contact_of(player)[1].addresses == ("elsewhere.example:1",)


def test_node_that_listens_no_more_takes_its_addresses_back(group):
    player = listening(group, "bob", *LISTENS)
    player.at(0)
    player.machine.links.listens = ()
    player.at(5)
    assert contact_of(player)[1].addresses == ()


def test_contact_is_not_written_again_by_a_restart(group):
    player = listening(group, "bob", *LISTENS)
    player.at(0)
    first, _ = contact_of(player)
    again = player.again()
    again.machine.links.listens = LISTENS
    again.at(5)
    assert contact_of(again)[0].id == first.id


def test_contact_written_by_a_clock_that_was_far_ahead_is_written_again_once_it_is_set_back(group):
    mine, grant = directory(), Player.of(group, "bob").machine.members.own_grant(NOW.utc_s)
    ahead = after(10 * 365 * 86_400)
    wish = mine.wish(LISTENS, grant, ahead)
    assert wish is not None
    writer = Writer.of(group, "bob")
    written = writer.add(CONTACT_TYPE, body=wish.body, hlc=hlc_at(ahead.utc_ms), expires=wish.expires)
    mine.on_written(written.header, wish)
    assert mine.wish(LISTENS, grant, ahead) is None
    assert mine.next_deadline(LISTENS, grant, NOW) == NOW.mono_ms
    assert mine.wish(LISTENS, grant, NOW) is not None


def test_contact_that_ends_with_the_credential_is_written_again_under_a_newer_one_alone(group):
    grant = Player.of(group, "bob").machine.members.own_grant(NOW.utc_s)
    assert grant is not None
    mine, short = directory(), replace(grant, window=Window(grant.window.start, NOW.utc_s + 60))
    wish = mine.wish(LISTENS, short, NOW)
    assert wish is not None
    written = Writer.of(group, "bob").add(CONTACT_TYPE, body=wish.body, expires=NOW.utc_s + 60)
    mine.on_written(written.header, wish)
    for second in range(61):
        assert mine.wish(LISTENS, short, after(second)) is None
        assert (mine.next_deadline(LISTENS, short, after(second)) or 0) > after(second).mono_ms
    assert mine.wish(LISTENS, grant, after(30)) is not None


def test_what_hinders_writing_is_tried_again_later():
    one = directory()
    one.on_refused(NOW)
    assert one.wish(LISTENS, None, NOW) is None
    circle = new_circle()
    grant = next(one.grant for one in circle.granted.values() if one.grant.key == named("bob").public)
    assert one.wish(LISTENS, grant, NOW) is None
    assert one.next_deadline(LISTENS, grant, NOW) == NOW.mono_ms + CONTACT_RETRY_MS
    assert one.wish(LISTENS, grant, after(CONTACT_RETRY_MS / 1000)) is not None


def test_more_addresses_than_fit_are_left_out(group):
    player = listening(group, "bob", *(f"host{number}:1" for number in range(CONTACT_ADDRESSES_MAX + 3)))
    player.at(0)
    assert len(contact_of(player)[1].addresses) == CONTACT_ADDRESSES_MAX


# --- those of others --------------------------------------------------------------------------------------


def contact(
    writer: Writer, name: str, *addresses: str, body: bytes | None = None, **changed: Any
) -> RecordItem:
    said = encode_contact(Contact(addresses, node_id(name))) if body is None else body
    return writer.add(CONTACT_TYPE, body=said, life_s=3600, **changed)


def holding(items: list[RecordItem]) -> MemoryStore:
    store = MemoryStore()

    def put(store: MemoryStore) -> None:
        for item in items:
            store.put_version(item.header, State.KEPT, NOW.utc_ms)
            store.put_body(item.header.body_hash or b"", item.body or b"")
            store.show(item.header)

    in_transaction(store, put)
    return store


def test_addresses_are_learnt_from_contacts_that_come(group):
    writer = Writer.of(group, "dave")
    item = contact(writer, "dave", "dave.example:1", "dave.example:2")
    note = writer.add("note", body=b"x")
    changes = [Change("record-added", item.header), Change("record-added", note.header)]
    assert directory().learn(changes, holding([item, note])) == ["dave.example:1", "dave.example:2"]
    assert directory().learn([Change("record-expired", item.header)], holding([item])) == []


def test_own_contact_and_one_that_cannot_be_read_teach_nothing(group):
    writer = Writer.of(group, "bob")
    own = contact(writer, "bob", "bob.example:1")
    torn = contact(writer, "bob", body=b"no contact")
    changes = [Change("record-added", one.header) for one in (own, torn)]
    assert directory().learn(changes, holding([own, torn])) == []


def test_everybody_is_drawn_sooner_or_later_and_few_at_a_time(group):
    writer = Writer.of(group, "dave")
    items = [
        contact(writer, f"n{number}", f"n{number}.example:1", record=bytes([3 * number]) + bytes(15))
        for number in range(40)
    ]
    store, one = holding(items), directory()
    draws = [one.draw(store) for _ in range(200)]
    assert all(len(draw) == DIRECTORY_DRAWN_MAX for draw in draws)
    assert {address for draw in draws for address in draw} == {f"n{n}.example:1" for n in range(40)}


def test_of_few_all_are_drawn_once(group):
    writer = Writer.of(group, "dave")
    store = holding([contact(writer, f"n{number}", f"n{number}.example:1") for number in range(3)])
    assert sorted(directory().draw(store)) == ["n0.example:1", "n1.example:1", "n2.example:1"]


def test_who_reads_of_a_member_calls_it(group):
    player = Player.of(group, "bob")
    player.tell(*())
    player.meet(1, "alice")
    item = contact(Writer.of(group, "dave"), "dave", "dave.example:1")
    intake = in_transaction(player.store, lambda store: player.machine.data.take([item], player.now, store))
    learnt = player.machine.directory.learn(intake.changes, player.store)
    player.machine.dialling.learn(learnt, ())
    assert Dial("dave.example:1") in player.at(1)
