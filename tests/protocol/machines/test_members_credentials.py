"""Members: the own credential, the evidence for it, and what is handed to others."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.authority.acts import Act
from protocol.authority.bodies import Kind, RevokeKeyBody
from protocol.authority.bundle import decode_untrusted_bundle
from protocol.authority.elements import Der
from protocol.authority.grants import Grant
from protocol.credentials.keys import all_hold
from protocol.peer_time import Window
from tests.support.builders import GRC, NOW, Granted, Group, fed, node_of
from tests.support.keys import named

BOB = "grc -> alice:admin -> bob:member"


@pytest.fixture
def group():
    return Group()


# --- the own credential -----------------------------------------------------------------------------------


def invited(group: Group, text: str = BOB, **changed: Any) -> Granted:
    """A grant whose certificate travels by hand."""
    return group.grant(text, publish=False, **changed)


def test_stored_credential_is_the_own_one_as_soon_as_act_and_certificate_are_there(group):
    bob = group.grant(BOB)
    node = fed(group, "bob", [group.founding.elements, [bob.act]])
    assert node.members.own_grant(NOW.utc_s) is None
    assert node.members.own_bundle(NOW.utc_s, node.store) == b""
    node.take([bob.der])
    assert node.members.own_grant(NOW.utc_s) == bob.grant
    shown = decode_untrusted_bundle(node.members.own_bundle(NOW.utc_s, node.store), authority=group.gid)
    assert shown.leaf == bob.grant


def test_evidence_is_adopted_before_any_act_has_arrived(group):
    bob = invited(group)
    node = node_of(group, "bob")
    assert node.adopt(group.bundle(bob)).fresh == []
    assert node.members.own_grant(NOW.utc_s) == bob.grant
    assert node.members.own_bundle(NOW.utc_s, node.store) == group.bundle(bob).raw
    assert node.reopened().members.own_grant(NOW.utc_s) == bob.grant


def test_certificates_of_the_evidence_enter_the_set_with_their_acts(group):
    bob = invited(group)
    assert group.view.der_of(bob.act.id) is None
    node = node_of(group, "bob")
    node.adopt(group.bundle(bob))
    intake = node.take(group.elements)
    assert bob.der in intake.fresh
    assert node.members.view.current(bob.grant.pid, NOW.utc_s) == bob.grant
    assert node.store.get(bob.der.id) == bob.der.raw


def test_certificates_of_evidence_adopted_later_enter_the_set_at_once(group):
    bob = invited(group)
    node = fed(group, "bob", [group.elements])
    assert node.adopt(group.bundle(bob)).fresh == [bob.der]
    assert node.members.view.current(bob.grant.pid, NOW.utc_s) == bob.grant


def test_all_certificates_of_the_path_enter_the_set(group):
    mo = invited(group, "grc -> alice:admin -> ivy:inviting -> mo:member")
    node = node_of(group, "mo")
    node.adopt(group.bundle(mo))
    acts = [element for element in group.elements if isinstance(element, Act)]
    fresh = node.take(acts).fresh
    assert [element for element in fresh if isinstance(element, Der)] == list(group.bundle(mo).ders)


@pytest.mark.parametrize("first, second", [("member", "admin"), ("admin", "member")])
def test_evidence_is_adopted_only_when_it_is_better(first, second, group):
    one = invited(group, f"grc -> alice:admin -> bob:{first}")
    two = invited(group, f"grc -> alice:admin -> bob:{second}")
    node = node_of(group, "bob")
    node.adopt(group.bundle(one))
    node.adopt(group.bundle(two))
    best = min((one.grant, two.grant), key=Grant.rank)
    assert node.members.own_grant(NOW.utc_s) == best


def test_evidence_that_does_not_hold_now_is_not_adopted(group):
    for window in (Window(NOW.utc_s - 200, NOW.utc_s - 1), Window(NOW.utc_s + 1, NOW.utc_s + 9)):
        node = node_of(group, "bob")
        node.adopt(group.bundle(invited(group, window=window)))
        assert node.members.own_grant(NOW.utc_s) is None
        assert node.members.own_bundle(NOW.utc_s, node.store) == b""


def test_stored_renewal_takes_the_place_of_the_evidence(group):
    old = invited(group)
    node = node_of(group, "bob")
    node.adopt(group.bundle(old))
    new = group.grant(BOB)
    node.take(group.elements)
    assert node.members.own_grant(NOW.utc_s) == new.grant
    assert node.members.own_bundle(NOW.utc_s, node.store) == group.bundle(new).raw


def test_after_the_end_the_last_credential_is_shown(group):
    old = group.grant(BOB, window=Window(NOW.utc_s - 200, NOW.utc_s + 5))
    last = group.grant(BOB, window=Window(NOW.utc_s - 100, NOW.utc_s + 4))
    node = fed(group, "bob", [group.elements])
    assert node.members.own_grant(NOW.utc_s + 9) is None
    assert node.members.own_bundle(NOW.utc_s + 9, node.store) == group.bundle(last).raw
    assert node.members.own_bundle(NOW.utc_s + 5, node.store) == group.bundle(old).raw


def test_after_the_end_evidence_that_began_last_is_shown(group):
    group.grant(BOB, window=Window(NOW.utc_s - 200, NOW.utc_s + 5))
    known = list(group.elements)
    last = invited(group, window=Window(NOW.utc_s - 100, NOW.utc_s + 4))
    node = fed(group, "bob", [known])
    node.adopt(group.bundle(last))
    assert node.members.own_bundle(NOW.utc_s + 9, node.store) == group.bundle(last).raw


def test_own_credential_may_change_when_a_window_begins_or_has_ended(group):
    node = node_of(group, "bob")
    assert node.members.own_change(NOW.utc_s) is None
    held = group.grant(BOB, window=Window(NOW.utc_s - 9, NOW.utc_s + 20))
    group.grant(BOB, window=Window(NOW.utc_s + 5, NOW.utc_s + 30))
    known = list(group.elements)
    node.take(known)
    node.adopt(
        group.bundle(invited(group, "alice -> bob:inviting", window=Window(NOW.utc_s - 1, NOW.utc_s + 10)))
    )
    ends, at_s = [], held.grant.window.start - 1
    while (change := node.members.own_change(at_s)) is not None:
        ends.append(change - NOW.utc_s)
        at_s = change
    assert ends == [-9, -1, 5, 11, 21, 31]


def test_credential_without_end_never_changes(group):
    node = fed(group, "alice", [group.elements])
    assert node.members.own_change(NOW.utc_s) is None


def too_long(group: Group, subject: str, role: str) -> Granted:
    """A grant that its issuer blew up until no bundle of it is possible."""
    for issuer, name in (("alice", "eve"), ("eve", "mallory")):
        group.grant(f"{issuer} -> {name}:admin", body={"keep": b"k" * 32 * 1000})
    return group.grant(f"mallory -> {subject}:{role}")


def test_credential_that_cannot_be_shown_stands_in_nobodys_way(group):
    good = group.grant("grc -> alice:admin -> bob:member")
    bad = too_long(group, "bob", "admin")
    node = fed(group, "bob", [group.elements])
    assert node.members.own_grant(NOW.utc_s) == bad.grant
    assert node.members.own_bundle(NOW.utc_s, node.store) == group.bundle(good).raw
    assert node.members.bundle_for(good.grant.pid, NOW.utc_s, node.store) == group.bundle(good).raw


# --- other members ----------------------------------------------------------------------------------------


def test_bundle_for_a_subject_is_that_of_its_current_credential(group):
    member = group.grant(BOB)
    admin = group.grant("grc -> alice:admin -> bob:admin", window=Window(NOW.utc_s, NOW.utc_s + 9))
    node = fed(group, "alice", [group.elements])
    pid = member.grant.pid
    assert node.members.bundle_for(pid, NOW.utc_s, node.store) == group.bundle(admin).raw
    assert node.members.bundle_for(pid, NOW.utc_s + 10, node.store) == group.bundle(member).raw
    assert node.members.bundle_for(pid, member.grant.window.end + 1, node.store) == b""
    assert node.members.bundle_for(named("eve").public.pid, NOW.utc_s, node.store) == b""


def test_bundle_of_an_unpublished_credential_is_nobody_elses_to_give(group):
    bob = invited(group)
    node = fed(group, "alice", [group.elements])
    assert node.members.bundle_for(bob.grant.pid, NOW.utc_s, node.store) == b""


def test_bundle_is_accepted_while_its_window_holds(group):
    bob = invited(group)
    bundle, window = group.bundle(bob), bob.grant.window
    assert all_hold(bundle.checks())
    for node in (node_of(group, "carl"), fed(group, "carl", [group.elements])):
        assert node.members.accepts(bundle, window.start)
        assert node.members.accepts(bundle, window.end)
        assert not node.members.accepts(bundle, window.start - 1)
        assert not node.members.accepts(bundle, window.end + 1)


def test_bundle_of_another_group_is_not_accepted(group):
    other = Group("friends")
    bundle = other.bundle(other.grant(BOB))
    assert not node_of(group, "carl").members.accepts(bundle, NOW.utc_s)


def test_bundle_over_an_act_that_is_not_effective_here_is_not_accepted(group):
    bob = group.grant(BOB)
    bundle = group.bundle(bob)
    node = fed(group, "carl", [group.elements])
    assert node.members.accepts(bundle, NOW.utc_s)
    node.take([group.act(GRC, Kind.REVOKE_KEY, RevokeKeyBody(key=group.creator.grant.key.raw))])
    assert not node.members.accepts(bundle, NOW.utc_s)


def test_evidence_for_somebody_else_is_a_mistake_of_ours(group):
    node = node_of(group, "carl")
    with pytest.raises(AssertionError):
        node.adopt(group.bundle(group.grant(BOB)))
