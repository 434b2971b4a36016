"""Scenarios by name, over the view alone: what people fear, and how it ends. `protocol/SPEC.md`, "Scenarios",
tells the outcomes in words; each heading there is a test here.

The view is a function of the set, so a partition is nothing but acts that do not know of each other; every
scenario is also run in other orders of arrival, with questions in between.
"""

from __future__ import annotations

from random import Random

import pytest

from protocol.authority.acts import Act
from protocol.authority.view import View
from tests.support.act_laws import as_the_text_says
from tests.support.act_oracle import told_outcome
from tests.support.act_sets import GID, START_S, second_of, shuffled
from tests.support.act_stories import Story
from tests.support.keys import named

ORDERS = 4


@pytest.fixture
def story():
    """ann and zoe are equal administrators (1), ben is ann's (2), cat a member whom ben admitted."""
    told = Story()
    told.grant("root", "ann", 1)
    told.grant("root", "zoe", 1)
    told.grant("ann", "ben", 2)
    told.grant("ben", "cat")
    yield told
    same_in_any_order(told)


def same_in_any_order(story: Story) -> None:
    """What is told last is what every node says, in whatever order the acts came to it."""
    expected = told_outcome(story.view, story.pairs)
    for seed in range(ORDERS):
        rng = Random(seed)
        view = View(GID)
        for act, admitted in shuffled(story.pairs, rng):
            view.add(act, admitted)
            if len(story.pairs) < 100 and rng.random() < 0.5:
                assert view.generation >= 0
        assert told_outcome(view, story.pairs) == expected
    if len(story.pairs) < 100:
        as_the_text_says(Random(0), story.pairs)


# --- equals -----------------------------------------------------------------------------------------------


def test_duel_of_equal_admins_in_two_partitions(story):
    """Neither touches the other: equals are the root's to judge. Their juniors fall, each to the other."""
    one = story.revoke("ann", "zoe")
    eve = story.grant("zoe", "eve", 2)
    other = story.revoke("zoe", "ann")
    away = story.revoke("zoe", "ben", keep=["ben"])
    assert story.counts(one, other, eve, away) == [True] * 4
    assert (story.level("ann"), story.level("zoe"), story.level("eve")) == (1, 1, 2)
    assert not story.is_member("ben")
    assert story.is_member("cat"), "inside the cut"
    story.revoke("root", "zoe", keep=[eve])
    assert story.level("zoe") is None
    assert story.is_member("ben"), "the removal of ben lay outside the cut, and is void"


def test_mutual_removal(story):
    """Of a senior and a junior who remove each other, the junior goes, whoever was first."""
    first = story.revoke("ben", "ann", at_s=START_S + 500)
    last = story.revoke("ann", "ben", keep=["ben"])
    assert story.counts(first, last) == [True, True]
    assert story.view.hits_of(story.pairs[1][0].id) == ()
    assert (story.level("ann"), story.level("ben")) == (1, None)
    assert story.is_member("cat")


def test_kamikaze_admin_revokes_500_members(story):
    """One revocation by a senior, whose cut ends before the attack, brings all 500 back."""
    story.grant("ann", "kim", 2)
    names = [f"m{number}" for number in range(500)]
    grants = [story.grant("ben", name) for name in names]
    last_good = story.grant("kim", "max")
    for name in names:
        story.revoke("kim", name)
    assert not any(story.is_member(name) for name in names)
    story.revoke("ann", "kim", keep=[last_good])
    assert all(story.is_member(name) for name in names)
    assert story.is_member("max")
    assert not story.is_member("kim")
    assert all(story.counts(*grants))


def test_stolen_admin_key_with_back_dated_acts(story):
    """What counts is the ancestry of the heads that the cut names; the dates that a thief writes do not."""
    good = story.pairs[-1][0]
    thief = [
        story.grant("ben", "eve", at_s=START_S + 1, chain=1),
        story.grant("ben", "fay", at_s=second_of(good), after=story.pairs[4][0], chain=0),
        story.revoke("ben", "cat", at_s=START_S + 1, chain=2),
    ]
    assert not story.is_member("cat")
    story.revoke("ann", "ben", keep=[good])
    more = story.grant("ben", "gil", at_s=START_S + 2, chain=3)
    assert story.counts(good, *thief, more) == [True, False, False, False, False]
    assert story.is_member("cat")
    assert not any(story.is_member(name) for name in ("eve", "fay", "gil"))


def test_rogue_sub_admins_three_deep(story):
    """Whole subtrees go with the one cut at their top; what a void act grants is void."""
    story.grant("ben", "rex", 3)
    story.grant("rex", "sam", 4)
    deep = [story.grant("sam", f"s{number}", 5) for number in range(3)]
    leaves = [story.grant(f"s{number}", f"leaf{number}") for number in range(3)]
    attack = story.revoke("sam", "leaf0")
    assert not story.is_member("leaf0")
    story.revoke("ann", "ben", keep=[story.pairs[4][0]])
    assert not any(story.counts(*deep, *leaves, attack))
    assert [name for name in ("rex", "sam", "s0", "leaf1") if story.is_member(name)] == []
    assert story.is_member("cat")
    assert not any(story.view.is_protected(act.id) for act in (*deep, *leaves, attack))


# --- leaving and coming back ------------------------------------------------------------------------------


def test_re_admission(story):
    """A removed member stays out, however often juniors or daemons renew it, until somebody at least as
    senior names the removal; who was removed for ever needs another key.
    """
    old = story.pairs[-1][0]
    cut = story.revoke("ann", "cat")
    renewal = story.grant("ben", "cat", renews=old)
    defiance = story.grant("ben", "cat", despite=[cut])
    assert not story.is_member("cat")
    back = story.grant("zoe", "cat", despite=[cut])
    assert story.is_member("cat")
    by_junior = story.grant("ben", "cat", renews=back)
    assert [story.view.is_live(one.id) for one in (old, renewal, defiance, back, by_junior)] == [
        False,
        False,
        False,
        True,
        True,
    ]
    ever = story.revoke("zoe", "cat", for_ever=True)
    story.grant("ann", "cat", despite=[ever])
    assert not story.is_member("cat")


def test_revoked_while_offline(story):
    """What ben signed before it heard counts no more if its chain was cut before; a senior adopts it with one
    act, and everything below stands again.
    """
    heard = story.pairs[-1][0]
    offline = [story.grant("ben", "dan", 3), story.grant("dan", "eve")]
    cut = story.revoke("ann", "ben", keep=[heard])
    assert story.counts(*offline) == [False, False]
    assert not story.is_member("eve")
    old = story.pairs[3][0]
    story.grant("ann", "ben", 2, despite=[cut], adopts=[old], keep=[offline[0]])
    assert story.counts(*offline) == [True, True]
    assert story.is_member("eve")


def test_revoker_later_revoked(story):
    """Its removals inside its cut stand, those outside fall by themselves."""
    story.grant("zoe", "dan")
    inside = story.revoke("ben", "cat")
    outside = story.revoke("ben", "dan")
    assert not story.is_member("dan")
    story.revoke("ann", "ben", keep=[inside])
    assert story.counts(inside, outside) == [True, False]
    assert not story.is_member("cat")
    assert story.is_member("dan")


# --- the top ----------------------------------------------------------------------------------------------


def test_removal_of_the_top_admin(story):
    """Only the root is senior to it. Its juniors stay when the cut names what it signed, and go when not."""
    assert story.counts(story.revoke("zoe", "ann")) == [True]
    assert story.level("ann") == 1
    gone = story.revoke("root", "ann", keep=["ann"])
    assert story.level("ann") is None
    assert (story.level("ben"), story.level("cat")) == (2, 255)
    story.revoke("root", "ann")
    assert story.level("ben") is None, "cuts intersect"
    assert story.counts(gone) == [True]


def test_root_rotation_during_a_partition(story):
    """What the old root signed on the other side, and the rotation does not name, is void until the new root
    signs it again; whom administrators admitted there stays.
    """
    version = story.pairs[0][0]
    apart = story.grant("root", "pat", 1, chain=3)
    below = story.grant("pat", "quin")
    friend = story.grant("ben", "rob")
    rotation = story.rotate("0a", keep=[story.pairs[2][0]])
    assert story.counts(rotation, apart, below, friend) == [True, False, False, True]
    assert story.level("ann") == 1
    late = story.grant("root", "thief", 1, under=version, chain=3)
    assert story.counts(late) == [False]
    story.grant("root", "pat", 1, adopts=[apart], keep=[below])
    assert story.counts(below) == [True]
    assert story.is_member("quin")


def test_recovery_key(story):
    """Whoever has the recovery keys replaces a root whose keys were stolen or lost; the thief of the current
    root cannot, and what it signs afterwards is void.
    """
    version = story.pairs[0][0]
    stolen = story.revoke("root", "ann", chain=9)
    assert story.level("ann") is None
    rotation = story.rotate("0a", keep=[story.pairs[2][0]])
    assert story.view.rotations[-1] == rotation.id
    assert story.counts(stolen) == [False]
    assert story.level("ann") == 1
    later = story.properties("mine", under=version, chain=9)
    assert story.counts(later) == [False]
    assert story.view.properties.friendly == ""
    story.properties("ours")
    assert story.view.properties.friendly == "ours"


@pytest.mark.parametrize("cosigned", [False, True])
def test_two_rotations_from_one_version(story, cosigned):
    """The one that the replaced operating keys signed too counts, and else the smaller id; what is signed
    under the other is void on every node.
    """
    version = story.pairs[0][0]
    keep = [story.pairs[2][0]]
    one = story.rotate("0a", under=version, keep=keep)
    under_one = story.grant("root", "pat", 1, under=one)
    other = story.rotate("0b", under=version, keep=keep, cosigned=cosigned)
    under_other = story.grant("root", "quin", 1, under=other)
    other_wins = cosigned or other.id < one.id
    assert story.view.rotations[-1] == (other if other_wins else one).id
    assert story.counts(one, under_one) == [not other_wins] * 2
    assert story.counts(other, under_other) == [other_wins] * 2
    assert story.level("ann") == 1


# --- who is told ------------------------------------------------------------------------------------------


def test_everybody_concerned_hears_of_a_removal(story):
    view = story.view
    assert view.take_changed() == ()
    before = view.generation
    cut: Act = story.revoke("root", "ann")
    assert view.generation > before
    changed = view.take_changed()
    assert changed is not None
    names = {view.name_of(grant.pid).partition(".")[2] for one in changed if (grant := _grant(view, one))}
    assert names == {"ann", "ben", "cat"}
    assert view.removals_of(named("ann").public.pid) == (cut.id,)


def _grant(view: View, act_id: bytes):
    admitted = view.admitted(act_id)
    return None if admitted is None else admitted.grant
