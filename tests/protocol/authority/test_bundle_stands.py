"""What a view that knows of revocations and rotations says of a bundle that somebody shows."""

from __future__ import annotations

import pytest

from protocol.authority.acts import Act
from protocol.authority.bodies import Kind, RevokeCredentialBody
from protocol.authority.bundle import stands
from protocol.authority.view import View
from tests.support.builders import Granted, Group
from tests.support.keys import named
from tests.support.views import view_of

ALICE_BOB = "grc -> alice:admin -> bob:admin"
CAROL = "grc -> alice:admin -> bob:admin -> carol:member"


@pytest.fixture
def group():
    told = Group()
    told.grant(ALICE_BOB)
    return told


def revoke(group: Group, by: str, whom: str, *keep: Act) -> Act:
    body = RevokeCredentialBody(key=named(whom).public.raw, keep=b"".join(act.id for act in keep))
    return group.act(by, Kind.REVOKE_CREDENTIAL, body)


def view_without(group: Group, *granted: Granted) -> View:
    """A view that has all of the group but these grants."""
    gone = [element for one in granted for element in one.elements]
    return view_of(group.gid, [element for element in group.elements if element not in gone])


def test_bundle_stands_in_its_own_view_and_in_an_empty_one(group):
    bundle = group.bundle(group.grant(CAROL))
    assert stands(group.view, bundle)
    assert stands(View(group.gid), bundle)
    assert not stands(View(bytes(32)), bundle)


def test_whom_a_departed_admin_admitted_inside_its_cut_passes(group):
    carol = group.grant(CAROL)
    bundle = group.bundle(carol)
    revoke(group, "alice", "bob", carol.act)
    assert stands(group.view, bundle)


def test_whom_it_admitted_outside_does_not(group):
    kept, carol = group.grant("grc -> alice:admin -> bob:admin -> dave:member"), group.grant(CAROL)
    bundle = group.bundle(carol)
    revoke(group, "alice", "bob", kept.act)
    assert not stands(group.view, bundle)
    assert not stands(view_without(group, carol), bundle), "whether it has arrived or not"


def test_removed_member_is_refused_with_a_renewal_that_has_not_arrived(group):
    group.grant(CAROL)
    cut = revoke(group, "alice", "carol")
    renewed = group.grant(CAROL)
    bundle = group.bundle(renewed)
    view = view_without(group, renewed)
    assert view.is_effective(cut.id)
    assert view.admitted(renewed.act.id) is None
    assert not stands(view, bundle)
    assert not stands(group.view, bundle)


def test_grant_in_spite_of_the_removal_passes_before_it_arrives(group):
    group.grant(CAROL)
    cut = revoke(group, "alice", "carol")
    back = group.grant("grc -> alice:admin -> carol:member", body={"despite": cut.id})
    renewed = group.grant(CAROL, body={"renews": back.act.id})
    junior = group.grant(CAROL, body={"despite": cut.id})
    strange = group.grant("grc -> alice:admin -> bob:admin -> dave:member", body={"renews": back.act.id})
    revoke(group, "alice", "dave")
    for one, passes in ((back, True), (renewed, True), (junior, False), (strange, False)):
        assert stands(group.view, group.bundle(one)) is passes
        assert stands(view_without(group, one), group.bundle(one)) is passes
    assert not stands(view_without(group, back, renewed), group.bundle(renewed)), "its excuse is not here"


def test_grant_of_a_replaced_root_passes_only_when_it_is_known_to_count(group):
    bundle = group.bundle(group.creator)
    late = group.grant("grc -> zoe:admin", chain=2)
    shown = group.bundle(late)
    group.rotate("new", keep=[group.creator.act])
    assert stands(group.view, bundle)
    assert not stands(group.view, shown)
    assert not stands(view_without(group, late), shown)
    assert stands(View(group.gid), shown), "who knows of no rotation cannot tell"
