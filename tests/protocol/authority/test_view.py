"""The view: a function of the set, whatever came in which order."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from protocol.authority.admission import Valid, admit
from protocol.authority.bodies import Kind, PropertiesBody, RotateRootBody
from protocol.authority.elements import Der
from protocol.authority.root import commitment_of
from protocol.authority.view import View
from protocol.ids import authority_of
from protocol.peer_time import Window
from tests.support.builders import DAY, GRC, Group
from tests.support.keys import named, peer_name
from tests.support.strategies import PEOPLE, UNKNOWN_KINDS, Sample, Step, act_sets, build
from tests.support.views import AT, told_by, view_of

BOB = "grc -> alice:admin -> bob:member"


@pytest.fixture
def group():
    return Group()


# --- order ------------------------------------------------------------------------------------------------


@given(act_sets(), st.randoms(use_true_random=False))
def test_view_does_not_depend_on_the_order(sample: Sample, rng):
    mixed = list(sample.elements)
    rng.shuffle(mixed)
    expected = told_by(view_of(sample.group.gid, sample.elements))
    assert told_by(view_of(sample.group.gid, mixed)) == expected
    assert told_by(view_of(sample.group.gid, mixed + sample.elements)) == expected


@given(act_sets())
def test_what_is_admitted_of_a_whole_set_is_what_its_maker_admitted(sample: Sample):
    lost = [element for element in sample.group.elements if element not in sample.elements]
    whole = view_of(sample.group.gid, sample.elements + lost)
    assert set(sample.group.view.act_ids()) <= set(whole.act_ids())


@given(act_sets(), st.integers(0, 40))
def test_acts_are_admitted_for_ever(sample: Sample, cut):
    part = view_of(sample.group.gid, sample.elements[:cut])
    whole = view_of(sample.group.gid, sample.elements)
    for act_id in part.act_ids():
        assert whole.admitted(act_id) == part.admitted(act_id)


@pytest.mark.parametrize("kind", [Kind.INVITE, *UNKNOWN_KINDS])
def test_kinds_that_are_only_carried_change_nothing(kind):
    authors = {step: build([Step(step, kind)]) for step in PEOPLE}
    before = told_by(build([]).group.view)
    for author, sample in authors.items():
        view = sample.group.view
        after = told_by(view)
        if len(view) == before["count"]:
            continue  # not a kind for this author
        assert len(view) == before["count"] + 1, author
        quiet = {"count", "latest", "acts", "effective", "ders", "heads"}
        assert {name: after[name] for name in before if name not in quiet} == {
            name: before[name] for name in before if name not in quiet
        }
    assert any(len(sample.group.view) > before["count"] for sample in authors.values())


# --- membership -------------------------------------------------------------------------------------------


def test_member_is_whose_grant_holds_and_whose_certificate_is_held(group):
    bob = group.grant(BOB).grant
    pid = bob.pid
    assert group.view.current(pid, AT) == bob
    assert group.view.current(pid, bob.window.start) == bob
    assert group.view.current(pid, bob.window.end) == bob
    assert group.view.current(pid, bob.window.start - 1) is None
    assert group.view.current(pid, bob.window.end + 1) is None
    assert group.view.latest(pid) == bob


@given(act_sets(), st.integers(-40, 400))
def test_members_are_counted_as_they_are_found(sample: Sample, days):
    view, at_s = view_of(sample.group.gid, sample.elements), AT + days * DAY
    assert view.members_at(at_s) == sum(view.current(pid, at_s) is not None for pid in view.subjects())


def test_grant_without_its_certificate_gives_nothing_and_displaces_nothing(group):
    member = group.grant(BOB).grant
    admin = group.grant("grc -> alice:admin -> bob:admin", publish=False)
    assert group.view.current(member.pid, AT) == member
    assert group.view.latest(member.pid) == member
    assert len(group.view.live_grants(member.pid)) == 2
    group.view.add_der(admin.act.id, admin.der.id)
    assert group.view.current(member.pid, AT) == admin.grant


def test_current_is_smallest_level_then_latest_start_then_smallest_id(group):
    pid = named("bob").public.pid
    old = group.grant(BOB, window=Window(AT - 9, AT + 99)).grant
    assert group.view.current(pid, AT) == old
    new = group.grant(BOB, window=Window(AT - 5, AT + 50)).grant
    assert group.view.current(pid, AT) == new
    assert group.view.current(pid, AT + 60) == old
    twins = [group.grant(BOB, window=Window(AT - 1, AT + 50)).grant for _ in range(4)]
    assert group.view.current(pid, AT) == min(twins, key=lambda grant: grant.act_id)
    admin = group.grant("grc -> alice:admin -> bob:inviting", window=Window(AT - 100, AT + 40)).grant
    assert group.view.current(pid, AT) == admin
    assert group.view.current(pid, AT + 45) == min(twins, key=lambda grant: grant.act_id)


def test_latest_is_the_one_that_began_last(group):
    first = group.grant("grc -> alice:admin -> bob:admin", window=Window(AT - 9, AT - 1)).grant
    second = group.grant(BOB, window=Window(AT - 5, AT - 4)).grant
    assert group.view.current(first.pid, AT) is None
    assert group.view.latest(first.pid) == second


def test_stranger_has_nothing(group):
    pid = named("eve").public.pid
    assert group.view.current(pid, AT) is None
    assert group.view.latest(pid) is None
    assert group.view.live_grants(pid) == group.view.holding(pid, AT) == []
    assert group.view.pid_of(authority_of(pid)) is None


def test_name_is_that_of_the_latest_grant_and_delivered_ones_come_first(group):
    pid = named("bob").public.pid
    group.grant(BOB, window=Window(AT - 9, AT + 99))
    other = replace(peer_name("bob"), classifier="Robert")
    group.grant(BOB, window=Window(AT - 8, AT + 99), name=other, publish=False)
    assert group.view.name_of(pid) == str(peer_name("bob"))
    group.grant(BOB, window=Window(AT - 7, AT + 99), name=other)
    assert group.view.name_of(pid) == str(other)


def test_path_leads_from_the_roots_grant_to_the_leaf(group):
    mo = group.grant("grc -> alice:admin -> bob:admin -> ivy:inviting -> mo:member").grant
    assert [grant.peer_name.classifier for grant in group.view.path(mo)] == ["alice", "bob", "ivy", "mo"]
    assert group.view.path(group.creator.grant) == [group.creator.grant]


# --- effective --------------------------------------------------------------------------------------------


def test_rotation_replaces_those_who_sign_for_the_root(group):
    body = RotateRootBody(
        from_version=1,
        operating=named("new").public.raw,
        threshold=1,
        next=commitment_of([], 1),
        revealed=named("recovery/family").public.raw,
        revealed_threshold=1,
    )
    rotation = group.act(GRC, Kind.ROTATE_ROOT, body, signers=("recovery/family",))
    act = group.act(GRC, Kind.PROPERTIES, PropertiesBody(friendly="x"), signers=("new",), cred=rotation.id)
    late = group.act(GRC, Kind.PROPERTIES, PropertiesBody(friendly="old root"), chain=1)
    assert group.view.root.version == 2
    assert group.view.rotations == (group.genesis.id, rotation.id)
    assert group.view.is_effective(act.id)
    assert group.view.admitted(late.id) is not None
    assert not group.view.is_effective(late.id)
    assert group.view.properties.friendly == "x"


def test_root_is_that_of_genesis(group):
    assert View(group.gid).root is None
    assert group.view.root == group.founding.root


def test_nothing_is_effective_that_is_not_there(group):
    assert not group.view.is_effective(bytes(32))
    assert group.view.is_effective(group.genesis.id)


# --- properties -------------------------------------------------------------------------------------------


def test_properties_are_the_ones_signed_last_and_the_defaults_before(group):
    assert View(group.gid).properties == PropertiesBody()
    assert View(group.gid).properties_hlc == 0
    hlc = group.view.properties_hlc
    later = group.act(GRC, Kind.PROPERTIES, PropertiesBody(friendly="b"), hlc=hlc + 9)
    assert (group.view.properties.friendly, group.view.properties_hlc) == ("b", hlc + 9)
    group.act(GRC, Kind.PROPERTIES, PropertiesBody(friendly="c"), chain=1, hlc=hlc + 8)
    assert group.view.properties.friendly == "b"
    twin = group.act(GRC, Kind.PROPERTIES, PropertiesBody(friendly="d"), chain=2, hlc=hlc + 9)
    assert group.view.properties.friendly == ("d" if twin.id > later.id else "b")


# --- heads ------------------------------------------------------------------------------------------------


def test_head_is_the_last_act_of_a_chain_and_of_a_forks_ends_the_one_with_the_larger_id(group):
    author, chain = named("alice").public.pid, group.chain("alice")
    assert group.view.head(author, chain) is None
    first = group.act("alice", Kind.RESIGN, {})
    assert group.view.head(author, chain).id == first.id
    ends = [
        group.act("alice", Kind.RESIGN, {"reason": text}, seq=2, prev=first.id).id for text in ("a", "b", "c")
    ]
    head = group.view.head(author, chain)
    assert (head.id, head.seq) == (max(ends), 2)


def test_adding_twice_changes_nothing(group):
    group.grant(BOB)
    before = told_by(group.view)
    for element in group.elements:
        if isinstance(element, Der):
            group.view.add_der(element.act_id, element.id)
        else:
            verdict = admit(element, group.view)
            assert isinstance(verdict, Valid)
            group.view.add(element, verdict.admitted)
    assert told_by(group.view) == before
