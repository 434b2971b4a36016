"""Explanations agree with what the view says, and point at what an auditor should look at."""

from __future__ import annotations

import pytest

from protocol.authority.bodies import Kind
from protocol.authority.explain import explain_grant, explain_person, oddities
from tests.support.act_sets import pairs_of, view_of_pairs
from tests.support.act_stories import Story
from tests.support.builders import DAY, NOW, Group
from tests.support.keys import named

SETS = 60
AT_S = NOW.utc_s + 3600


def test_a_verdict_is_what_the_view_says():
    seen = set()
    for seed in range(SETS):
        _, pairs = pairs_of(seed)
        view = view_of_pairs(pairs)
        for act_id in view.grant_ids():
            admitted = view.admitted(act_id)
            assert admitted is not None
            assert admitted.grant is not None
            told = explain_grant(view, admitted.grant, AT_S)
            seen.add(told.verdict)
            assert (told.verdict == "void") == (told.reason is not None) == (not view.is_effective(act_id))
            if told.verdict == "revoked":
                assert told.hits == view.hits_of(act_id) != ()
            assert (told.verdict in ("void", "revoked")) == (not view.is_live(act_id))
            assert told.path[-1] == admitted.grant
            assert told.path[0].author_level == 0
    assert {"void", "revoked"} <= seen


@pytest.fixture
def group() -> Group:
    group = Group()
    group.grant("alice -> bob:admin")
    group.grant("bob -> carl:member")
    return group


def verdicts(group: Group, name: str, at_s: int = AT_S) -> list[str]:
    return [one.verdict for one in explain_person(group.view, named(name).public.pid, at_s)]


def test_each_way_not_to_be_a_member_has_its_word(group):
    assert verdicts(group, "carl") == ["current"]
    assert verdicts(group, "carl", AT_S + 91 * DAY) == ["ended"]
    assert verdicts(group, "carl", NOW.utc_s - DAY) == ["not-begun"]
    group.grant("bob -> carl:member")
    assert verdicts(group, "carl") == ["current", "good"]
    group.grant("bob -> dave:member", publish=False)
    assert verdicts(group, "dave") == ["undelivered"]
    assert verdicts(group, "erin") == []
    group.act("alice", Kind.REVOKE_CREDENTIAL, {"key": named("bob").public.raw, "reason": "left"})
    assert verdicts(group, "bob") == ["revoked"]
    assert verdicts(group, "carl") == ["void", "void"]


def test_the_path_leads_from_the_root_to_the_credential(group):
    (told,) = explain_person(group.view, named("carl").public.pid, AT_S)
    assert [str(one.peer_name).partition(".")[2] for one in told.path] == ["alice", "bob", "carl"]


def test_two_acts_in_one_place_and_two_after_one_are_forks():
    story = Story()
    story.grant("root", "ann", 1)
    first = story.grant("ann", "ben")
    after = story.grant("ann", "cat")
    other = story.grant("ann", "dan", after=first)
    assert oddities(story.view).forked == {after.id, other.id}
    assert first.id not in oddities(story.view).forked


def test_what_is_dated_long_before_what_came_earlier_is_pointed_out():
    story = Story()
    story.grant("root", "ann", 1)
    story.grant("root", "ben", 1)
    late = story.grant("ann", "cat")
    early = story.grant("ben", "dan", at_s=story.now_s - 299)
    back = story.grant("ben", "eve", chain=1, at_s=story.now_s - 400)
    assert oddities(story.view).backdated == {back.id}
    assert {late.id, early.id}.isdisjoint(oddities(story.view).backdated)


def test_a_revocation_without_effect_is_to_be_signed_anew():
    story = Story()
    story.grant("root", "ann", 1)
    story.grant("ann", "ben", 2)
    story.grant("ann", "cat")
    kept = story.revoke("ann", "cat")
    fallen = story.revoke("ben", "cat")
    assert oddities(story.view).fallen == frozenset()
    story.annul("root", fallen)
    assert oddities(story.view).fallen == {fallen.id}
    assert kept.id not in oddities(story.view).fallen
