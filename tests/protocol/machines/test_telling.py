"""Telling: what happened, in the event log and for who listens."""

from __future__ import annotations

import pytest

from protocol.authority.bodies import Kind
from protocol.codec import decode_untrusted
from protocol.machines.facts import Names, name_or_authority, record_facts
from protocol.machines.record_keeping import Change
from protocol.machines.telling import note, note_changes, note_elements
from protocol.records.memory import MemoryStore
from protocol.records.reserved import CONTACT_TYPE
from tests.protocol.machines.playing import in_transaction
from tests.support.builders import NOW, Group
from tests.support.keys import named
from tests.support.records import Writer, new_circle
from tests.support.views import view_of


@pytest.fixture
def group() -> Group:
    return new_circle()


def test_notice_is_what_the_log_says():
    store = MemoryStore()
    notice = in_transaction(store, lambda store: note("member-changed", {"level": 1}, NOW, store))
    (logged,) = store.events_after(0, 10)
    assert (notice.number, notice.kind, notice.at_ms) == (logged.number, logged.kind, logged.at_ms)
    assert notice.facts == decode_untrusted(logged.facts, bytes_max=100) == {"level": 1}


def test_grant_its_certificate_and_properties_are_told_and_other_acts_are_not(group):
    grant = group.grant("alice -> erin:member")
    view = view_of(group.gid, group.elements)
    resign = group.act("dave", Kind.RESIGN, {})
    told = in_transaction(
        MemoryStore(), lambda store: note_elements([*grant.elements, resign], view, NOW, store)
    )
    assert [notice.kind for notice in told] == ["credential-added", "member-changed"]


def test_changes_are_told_by_name_but_not_those_of_peerd_s_own_records(group):
    writer = Writer.of(group, "dave")
    item, own = writer.add("note"), writer.add(CONTACT_TYPE, body=b"x", life_s=60)
    view = view_of(group.gid, group.elements)
    changes = [Change("record-added", item.header), Change("record-added", own.header)]
    (told,) = in_transaction(MemoryStore(), lambda store: note_changes(changes, view, NOW, store))
    assert told.facts == record_facts(item.header, Names(view))
    assert told.facts["creator"] == told.facts["modified_by"] == name_or_authority(view, writer.pid)
    assert told.facts["creator"].startswith(named("dave").public.authority)


def test_key_without_a_credential_is_called_by_its_authority(group):
    view = view_of(group.gid, group.elements)
    assert name_or_authority(view, named("nobody").public.pid) == named("nobody").public.authority
