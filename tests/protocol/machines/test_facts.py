"""What notices say of grants, neighbors and records."""

from __future__ import annotations

import pytest

from protocol.authority.bodies import Kind, RevokeCredentialBody
from protocol.authority.removal_proof import decode_untrusted_removal_proof
from protocol.codec import encode
from protocol.ids import authority_of
from protocol.machines.facts import (
    Names,
    grant_facts,
    name_or_authority,
    neighbor_facts,
    own_removal_facts,
    record_facts,
)
from protocol.machines.link import Link
from tests.support.builders import NOW, Group, fed
from tests.support.keys import named, peer_name
from tests.support.records import Writer, circle, new_circle


def test_grant_is_told_with_names_and_seconds():
    granted = Group().grant("alice -> bob:member")
    grant = granted.grant
    assert grant_facts(grant) == {
        "grant_id": granted.act.id.hex(),
        "subject": str(peer_name("bob")),
        "friendly_name": "Bob",
        "roles": ["member"],
        "level": 255,
        "not_before": grant.window.start,
        "not_after": grant.window.end,
        "stored": True,
    }


@pytest.mark.parametrize("by, level", [("alice", 1), ("grc", 0)])
def test_removal_of_our_own_is_told_by_its_author_whether_it_is_here_or_not(by, level):
    group = Group()
    group.grant("alice -> bob:member")
    before = fed(group, "bob", [group.elements])
    body = RevokeCredentialBody(key=named("bob").public.raw, reason="lost")
    act = group.act(by, Kind.REVOKE_CREDENTIAL, body)
    here, alice = fed(group, "bob", [group.elements]), fed(group, "alice", [group.elements])
    raw = alice.members.removal_proof(named("bob").public.pid, None, alice.store)
    proof = decode_untrusted_removal_proof(raw, authority=group.gid, key=named("bob").public)
    before.write(lambda store: before.members.learn_removal(proof, NOW, store))
    for node in (here, before):
        assert own_removal_facts(node.members, act.id, node.store) == {
            "removal": act.id.hex(),
            "kind": "revoke_credential",
            "removed_by": "" if level == 0 else str(peer_name(by)),
            "removed": act.hlc_ms,
            "reason": "lost",
        }


def test_neighbor_is_told_by_its_authority():
    link = Link(7, named("bob").public, bytes(16), "far:1", None, bytes(32))
    assert neighbor_facts(link) == {
        "peer": named("bob").public.authority,
        "node_id": bytes(16).hex(),
        "address": "far:1",
        "dialled": True,
    }
    assert neighbor_facts(Link(7, named("bob").public, bytes(16), None, None, bytes(32)))["address"] == ""


def test_record_is_told_with_who_made_it_and_who_changed_it():
    note = Writer.of(circle(), "dave").add("note", body=b"x")
    header = Writer.of(circle(), "alice").update(note, body=b"y").header
    facts = record_facts(header, Names(circle().view))
    assert facts == {
        "record_id": header.record_id.hex(),
        "record_type": "note",
        "version_id": header.id.hex(),
        "creator": str(peer_name("dave")),
        "modified_by": str(peer_name("alice")),
        "modified": header.hlc_ms,
        "version": 2,
    }
    assert encode(facts)


def test_stranger_is_told_by_its_authority_and_who_left_does_not_fail():
    group = new_circle()
    assert name_or_authority(group.view, named("zoe").public.pid) == authority_of(named("zoe").public.pid)
    group.act("dave", Kind.RESIGN, {})
    assert authority_of(named("dave").public.pid) in name_or_authority(group.view, named("dave").public.pid)
