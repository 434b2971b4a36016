"""Members: what a node is told of its own removal, when it believes it, and when that is over."""

from __future__ import annotations

import pytest

from protocol.authority.acts import Act
from protocol.authority.bodies import AnnulBody, Kind, RevokeCredentialBody, RevokeKeyBody
from protocol.authority.removal_proof import RemovalProof, decode_untrusted_removal_proof
from protocol.wire.messages import NOTHING_PROOF_BYTES_MAX
from tests.support.builders import Granted, Group, Node, after, fed, node_of
from tests.support.keys import named

BOB = "grc -> alice:admin -> bob:member"
LATER = after(60)


@pytest.fixture
def group() -> Group:
    told = Group()
    told.grant(BOB)
    return told


def revoke(group: Group, kind: Kind = Kind.REVOKE_CREDENTIAL) -> Act:
    """alice removes bob, on a chain of its own, so that what she signs besides may arrive without it."""
    body = RevokeKeyBody if kind is Kind.REVOKE_KEY else RevokeCredentialBody
    return group.act("alice", kind, body(key=named("bob").public.raw), chain=1)


def back(group: Group, removal: Act) -> Granted:
    """bob's new credential, in spite of it."""
    return group.grant(BOB, body={"despite": removal.id})


def proof_of(group: Group) -> RemovalProof:
    """What alice's node gives to bob's."""
    alice = fed(group, "alice", [group.elements])
    raw = alice.members.removal_proof(named("bob").public.pid, None, alice.store)
    assert 0 < len(raw) <= NOTHING_PROOF_BYTES_MAX
    return decode_untrusted_removal_proof(raw, authority=group.gid, key=named("bob").public)


def learn(node: Node, proof: RemovalProof) -> None:
    node.write(lambda store: node.members.learn_removal(proof, LATER, store))


def of_bob(group: Group) -> Node:
    """bob's node, that holds all there is so far."""
    return fed(group, "bob", [group.elements])


def test_who_learns_of_its_removal_goes_by_nothing_and_remembers_it(group):
    node = of_bob(group)
    removal = revoke(group)
    proof = proof_of(group)
    held = list(node.members.ids)
    assert node.members.is_removed_by(proof, LATER.utc_s)
    learn(node, proof)
    for one in (node, node.reopened()):
        assert one.members.own_grant(LATER.utc_s) is None
        assert one.members.own_removal(LATER.utc_s) == removal.id
        assert one.members.told_removal(removal.id) == proof
        assert list(one.members.ids) == held, "nothing of it enters the set"


def test_who_holds_only_the_evidence_of_its_credential_learns_it_too(group):
    node = node_of(group, "bob")
    bundle = group.bundle(list(group.granted.values())[-1])
    node.adopt(bundle)
    removal = revoke(group)
    learn(node, proof_of(group))
    assert node.members.own_removal(LATER.utc_s) == removal.id
    assert not node.members.accepts(bundle, LATER.utc_s)
    assert node.members.own_bundle(LATER.utc_s, node.store) == bundle.raw, "it is shown all the same"


def test_removal_that_was_annulled_is_not_believed(group):
    removal = revoke(group)
    proof = proof_of(group)
    group.act("grc", Kind.ANNUL, AnnulBody(act=removal.id))
    node = of_bob(group)
    assert not node.members.is_removed_by(proof, LATER.utc_s)
    learn(node, proof)
    assert node.members.own_removal(LATER.utc_s) is None
    assert node.members.own_grant(LATER.utc_s) is not None


def test_removal_is_over_when_its_annulment_arrives(group):
    node = of_bob(group)
    removal = revoke(group)
    learn(node, proof_of(group))
    node.take([group.act("grc", Kind.ANNUL, AnnulBody(act=removal.id))])
    assert node.members.own_removal(LATER.utc_s) is None
    assert node.members.own_grant(LATER.utc_s) is not None


def test_credential_in_spite_of_the_removal_ends_it_and_is_shown_before_the_old_one(group):
    node = of_bob(group)
    removal = revoke(group)
    learn(node, proof_of(group))
    new = back(group, removal)
    bundle = group.bundle(new)
    assert node.members.accepts(bundle, LATER.utc_s)
    node.adopt(bundle, LATER)
    assert node.members.own_grant(LATER.utc_s) == new.grant
    assert node.members.own_removal(LATER.utc_s) is None
    assert node.members.own_bundle(LATER.utc_s, node.store) == bundle.raw


def test_who_is_back_believes_no_proof_of_the_removal_before(group):
    removal = revoke(group)
    proof = proof_of(group)
    new = back(group, removal)
    for node in (of_bob(group), node_of(group, "bob")):
        node.adopt(group.bundle(new))
        assert not node.members.is_removed_by(proof, LATER.utc_s)


def test_credential_that_has_ended_is_not_told_to_be_revoked_by_what_it_was_in_spite_of(group):
    removal = revoke(group)
    proof = proof_of(group)
    new = back(group, removal)
    ended = new.grant.window.end + 1
    node = of_bob(group)
    assert node.members.own_grant(ended) is None
    assert not node.members.is_removed_by(proof, ended)
    assert node.members.own_removal(ended) is None


def test_banned_key_is_not_back_by_any_credential(group):
    node = of_bob(group)
    ban = revoke(group, Kind.REVOKE_KEY)
    learn(node, proof_of(group))
    node.take(back(group, ban).elements)
    assert node.members.own_grant(LATER.utc_s) is None
    assert node.members.own_removal(LATER.utc_s) == ban.id


def test_removal_that_is_in_the_set_needs_no_proof(group):
    removal = revoke(group)
    node = of_bob(group)
    assert node.members.own_removal(LATER.utc_s) == removal.id
    assert node.members.told_removal(removal.id) is None


def test_removal_that_arrives_after_it_was_told_is_the_same_removal(group):
    node = of_bob(group)
    removal = revoke(group)
    learn(node, proof_of(group))
    node.take([removal])
    assert node.members.own_removal(LATER.utc_s) == removal.id
    assert node.members.told_removal(removal.id) is None


def test_others_grants_are_not_touched_by_what_we_were_told(group):
    dave = group.grant("grc -> alice:admin -> dave:member")
    node = of_bob(group)
    revoke(group)
    learn(node, proof_of(group))
    assert not node.members.is_told_revoked(dave.grant)
    assert node.members.accepts(group.bundle(dave), LATER.utc_s)


def test_member_and_stranger_have_no_proof(group):
    alice = fed(group, "alice", [group.elements])
    for name in ("bob", "nobody"):
        assert alice.members.removal_proof(named(name).public.pid, None, alice.store) == b""
