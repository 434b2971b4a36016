"""The view as a function of the set: the laws over drawn sets, and what they meet too seldom, told by hand.

`protocol/SPEC.md`, "Evaluation", is what the oracle of tests/support says once more; the invariants are those
of the protocol study, 3.9.
"""

from __future__ import annotations

from functools import cache
from random import Random

import pytest
from hypothesis import given, strategies as st

from protocol.authority.bodies import Kind, ResignBody
from protocol.authority.evaluation import fits_window
from tests.support.act_laws import LAWS, Law, as_the_text_says, i1_in_any_order
from tests.support.act_sets import GID, START_S, Pair, causal, make_set, pairs_of, view_of_pairs
from tests.support.act_stories import Story
from tests.support.keys import named

SETS = 100
SETS_LONG = 50_000
PARTS = 10
LARGEST = 60


@cache
def drawn(seed: int) -> list[Pair]:
    return pairs_of(seed, LARGEST)[1]


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_law_holds(law: Law):
    cases = 0
    for seed in range(SETS):
        pairs = drawn(seed)
        cases += law(Random(seed + 10**9), pairs)
    assert cases > SETS // 4, "too few sets have a case for it"


@pytest.mark.long
@pytest.mark.parametrize("part", range(PARTS))
def test_all_laws_hold_over_many_sets(part):
    for seed in range(part * SETS_LONG // PARTS, (part + 1) * SETS_LONG // PARTS):
        _, pairs = pairs_of(seed + 10**6, LARGEST)
        for law in LAWS:
            law(Random(seed), pairs)


@given(st.randoms(use_true_random=False), st.integers(1, 25))
def test_small_sets_mean_what_the_text_says_in_any_order(rng, size):
    pairs = causal(make_set(rng, size))
    as_the_text_says(rng, pairs)
    i1_in_any_order(rng, pairs)


# --- no count drops an effective act ------------------------------------------------------------------------


def test_no_number_of_acts_is_too_large():
    story = Story()
    story.grant("root", "ann", 1)
    acts = [story.grant("ann", "ben") for _ in range(1500)]
    acts += [story.grant("ann", "ben", chain=chain) for chain in range(1, 40)]
    assert all(story.counts(*acts))


# --- adoption -----------------------------------------------------------------------------------------------


@pytest.fixture
def orphaned():
    """ann (1) made ben (2), who made cat and dan; ann falls without a cut."""
    story = Story()
    story.grant("root", "ann", 1)
    story.grant("root", "zoe", 1)
    ben = story.grant("ann", "ben", 2)
    acts = [story.grant("ben", "cat"), story.grant("ben", "dan")]
    story.revoke("root", "ann")
    assert story.counts(ben, *acts) == [False, False, False]
    return story, ben, acts


def test_adoption_restores_what_its_keep_names(orphaned):
    story, ben, acts = orphaned
    story.grant("zoe", "ben", 2, adopts=[ben], keep=[acts[0]])
    assert story.counts(ben, *acts) == [False, True, False]


@pytest.mark.parametrize(
    ("subject", "level", "start", "adopted"),
    [
        ("ben", 2, START_S, True),
        ("ben", 3, START_S, False),  # another level
        ("eve", 2, START_S, False),  # somebody else
        ("ben", 2, START_S + 5000, False),  # begins after what it would adopt was signed
    ],
)
def test_adoption_is_for_the_same_key_level_and_time(orphaned, subject, level, start, adopted):
    story, ben, acts = orphaned
    story.grant("zoe", subject, level, adopts=[ben], keep=acts, start=start)
    assert story.counts(*acts) == [adopted, adopted]


def test_adopted_grants_lie_inside_the_window_that_adopts():
    story = Story()
    story.grant("root", "ann", 1)
    ben = story.grant("ann", "ben", 2)
    inside = story.grant("ben", "cat", end=START_S + 9000)
    outside = story.grant("ben", "dan", end=START_S + 9001)
    story.revoke("root", "ann")
    adopter = story.grant("root", "ben", 2, adopts=[ben], keep=["ben"], end=START_S + 9000)
    assert story.counts(inside, outside) == [True, False]
    late = story.act("ben", Kind.RESIGN, ResignBody(), under=ben, at_s=START_S + 9001, chain=4)
    nodes = story.view._nodes
    assert fits_window(nodes[inside.id], nodes[adopter.id])
    assert not fits_window(nodes[late.id], nodes[adopter.id])


def test_void_grant_adopts_nothing_and_a_hit_one_what_its_cut_keeps(orphaned):
    story, ben, acts = orphaned
    zoe = story.grant("zoe", "ben", 2, adopts=[ben], keep=acts)
    assert story.counts(*acts) == [True, True]
    cut = story.revoke("root", "ben", keep=[acts[0]])
    assert story.counts(*acts) == [True, False]
    story.annul("root", zoe)
    assert story.counts(*acts) == [False, False]
    assert story.counts(cut) == [True]


def test_head_that_an_adoption_keeps_may_arrive_last(orphaned):
    story, ben, acts = orphaned
    adopter = story.grant("zoe", "ben", 2, adopts=[ben], keep=[acts[1]])
    view = story.without(acts[1])
    assert not view.is_effective(acts[0].id)
    view.add(acts[1], story.admitted(acts[1]))
    assert view.is_effective(acts[0].id)
    assert view.is_protected(acts[1].id)
    assert set(view.take_changed() or ()) == {ben.id, acts[0].id}
    assert view.is_effective(adopter.id)


@pytest.mark.parametrize("until", [None, START_S + 9000])
def test_removals_that_come_together_hit_what_each_of_them_hits(until):
    story = Story()
    story.grant("root", "ann", 1)
    ben = story.grant("ann", "ben", 2, end=START_S + 9000)
    cat = story.grant("ben", "cat", end=START_S + 9000)
    early = story.revoke("root", "ben", until=START_S + 1)
    other = story.revoke("root", "ben", until=until)
    view = story.without(early, other)
    assert view.is_live(cat.id)
    for act in (early, other):
        view.add(act, story.admitted(act))
    assert view.hits_of(ben.id) == (other.id,)
    assert not view.is_live(ben.id)
    assert not view.is_effective(cat.id)


def test_head_of_a_resignation_that_arrives_later_brings_back_what_is_before_it():
    story = Story()
    story.grant("root", "ann", 1)
    first, head = story.grant("ann", "ben", 5, chain=1), story.grant("ann", "cat", chain=1)
    story.resign("ann", keep=[head], chain=2)
    view = story.without(head)
    assert not view.is_effective(first.id)
    view.add(head, story.admitted(head))
    assert view.is_effective(first.id)
    assert view.is_live(head.id)


# --- annulment ----------------------------------------------------------------------------------------------


def test_annulment_takes_back_juniors_acts_only():
    story = Story()
    story.grant("root", "ann", 1)
    ben = story.grant("ann", "ben", 2)
    cat = story.grant("ben", "cat", 3)
    equal = story.annul("ben", cat)
    assert story.counts(equal, cat) == [True, True]
    senior = story.annul("ann", cat)
    assert story.counts(senior, cat) == [True, False]
    upwards = story.annul("ben", ben)
    assert story.counts(upwards, ben) == [True, True]


def test_annulment_of_an_annulment_restores():
    story = Story()
    story.grant("root", "ann", 1)
    story.grant("ann", "ben", 2)
    cat = story.grant("ben", "cat", 3)
    dan = story.grant("cat", "dan", 4)
    annul = story.annul("ben", dan)
    assert story.counts(annul, dan) == [True, False]
    assert not story.is_member("dan")
    story.annul("ann", annul)
    assert story.counts(cat, dan, annul) == [True, True, False]


def test_annulment_before_its_target_is_the_same_as_after():
    story = Story()
    story.grant("root", "ann", 1)
    ben = story.grant("ann", "ben", 2)
    annul = story.annul("root", ben)
    view = story.without(ben)
    assert view.is_effective(annul.id)
    view.add(ben, story.admitted(ben))
    assert not view.is_effective(ben.id)


# --- renewals in spite of -----------------------------------------------------------------------------------


def test_what_a_renewed_line_signs_goes_and_returns_with_its_excuse():
    story = Story()
    story.grant("root", "ann", 1)
    story.grant("ann", "ben", 2)
    story.grant("ben", "cat", 3)
    cut = story.revoke("ann", "cat")
    back = story.grant("ann", "cat", 3, despite=[cut])
    line = [back]
    for _ in range(3):
        line.append(story.grant("ben", "cat", 3, renews=line[-1]))
    eve = story.grant("cat", "eve")
    assert story.is_member("eve")
    annul = story.annul("root", back)
    assert story.counts(eve) == [False]
    generation = story.view.generation
    other = story.grant("ann", "dan", 2)
    assert story.view.generation == generation
    assert story.counts(other) == [True]
    assert story.without(annul).is_effective(eve.id)


# --- what callers hear of -----------------------------------------------------------------------------------


def test_new_grants_raise_nothing_and_revocations_do():
    story = Story()
    story.grant("root", "ann", 1)
    ben = story.grant("ann", "ben")
    assert story.view.generation == 0
    assert story.view.take_changed() == ()
    story.revoke("ann", "ben")
    assert story.view.generation == 1
    assert story.view.take_changed() == (ben.id,)
    assert story.view.take_changed() == ()


def test_many_changes_are_told_as_all(monkeypatch):
    monkeypatch.setattr("protocol.authority.view.CHANGED_GRANTS_MAX", 2)
    story = Story()
    story.grant("root", "ann", 1)
    for name in ("ben", "cat"):
        story.grant("ann", name)
    assert story.view.take_changed() == ()
    story.revoke("root", "ann")
    assert story.view.take_changed() is None
    assert story.view.take_changed() == ()


def test_questions_about_what_is_not_there():
    view = view_of_pairs([])
    assert not view.is_effective(bytes(32))
    assert not view.is_live(bytes(32))
    assert not view.is_protected(bytes(32))
    assert view.data_hits(bytes(32)) is None
    assert view.removals_of(bytes(32)) == ()
    assert view.protected() == set()
    assert view.gid == GID


# --- records ------------------------------------------------------------------------------------------------


def test_records_of_a_live_grant_stand_and_of_a_void_one_do_not():
    story = Story()
    ann = story.grant("root", "ann", 1)
    ben = story.grant("ann", "ben")
    assert story.view.data_hits(ben.id) == ()
    story.annul("root", ben)
    assert story.view.data_hits(ben.id) is None
    assert story.view.data_hits(ann.id) == ()
    assert story.view.data_hits(story.pairs[0][0].id) is None, "not a grant"


@pytest.mark.parametrize(
    ("data", "manifest", "rule"),
    [
        ("", None, "drop"),
        ("", b"m" * 32, "manifest"),
        ("manifest", b"m" * 32, "manifest"),
        ("manifest", None, "drop"),
        ("drop", b"m" * 32, "drop"),
        ("time", b"m" * 32, "time"),
        ("from the future", b"m" * 32, "drop"),
    ],
)
def test_revocation_says_what_becomes_of_records(data, manifest, rule):
    story = Story()
    ann = story.grant("root", "ann", 1)
    cut = story.revoke("root", "ann", data=data, manifest=manifest)
    hits = story.view.data_hits(ann.id)
    assert hits is not None
    assert [(hit.rule, hit.hlc, hit.act_id) for hit in hits] == [(rule, cut.place.hlc, cut.id)]
    assert hits[0].manifest == (manifest if rule == "manifest" else None)


def test_who_resigns_leaves_what_it_wrote_until_then():
    story = Story()
    ann = story.grant("root", "ann", 1)
    resign = story.resign("ann")
    hits = story.view.data_hits(ann.id)
    assert hits is not None
    assert [(hit.rule, hit.hlc) for hit in hits] == [("time", resign.place.hlc)]


def test_records_under_an_adopted_grant_stand_like_those_of_the_grant_that_adopts(orphaned):
    story, ben, _ = orphaned
    assert story.view.data_hits(ben.id) is None
    adopter = story.grant("zoe", "ben", 2, adopts=[ben])
    assert story.view.data_hits(ben.id) == ()
    cut = story.revoke("zoe", "ben", data="time")
    for grant in (ben, adopter):
        hits = story.view.data_hits(grant.id)
        assert hits is not None
        assert [hit.act_id for hit in hits] == [cut.id]
    back = story.grant("zoe", "ben", 2, adopts=[ben], despite=[cut])
    assert story.view.data_hits(ben.id) == ()
    assert story.view.data_hits(back.id) == ()
    assert story.view.data_hits(adopter.id) != ()


def test_of_a_grant_and_its_adopter_with_as_many_hits_the_grant_itself_decides():
    story = Story()
    story.grant("root", "ann", 1)
    story.grant("ann", "ida", 254)
    old = story.grant("ann", "ben", end=START_S + 9000)
    story.grant("ida", "ben", adopts=[old])
    early = story.revoke("ann", "ben", until=START_S + 9000)
    story.revoke("ida", "ben")
    hits = story.view.data_hits(old.id)
    assert hits is not None
    assert [hit.act_id for hit in hits] == [early.id]


# --- invitations --------------------------------------------------------------------------------------------


def test_invite_is_open_while_its_author_holds_the_credential():
    story = Story()
    story.grant("root", "ann", 1)
    first = story.invite("ann")
    second = story.invite("ann")
    root = story.invite("root")
    assert [act_id for act_id, _ in story.view.invites()] == [first.id, second.id, root.id]
    story.revoke("root", "ann", keep=[first])
    assert story.counts(first, second) == [True, False]
    assert [act_id for act_id, _ in story.view.invites()] == [root.id]


def test_removed_member_keeps_its_name_and_is_found_no_more():
    story = Story()
    story.grant("root", "ann", 1)
    story.grant("ann", "ben")
    pid = named("ben").public.pid
    story.revoke("ann", "ben")
    view = story.view
    assert view.name_of(pid).endswith(".ben")
    assert view.pid_of(pid[:20].hex()) is None
    assert view.pid_ever(pid[:20].hex()) == pid
    assert pid not in list(view.subjects())
    assert [grant.pid for grant in view.grants_ever(pid)] == [pid]
    assert view.live_grants(pid) == []
