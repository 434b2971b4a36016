"""Hits, exemptions and what a cut keeps, each rule by itself."""

from __future__ import annotations

import pytest

from protocol.authority.cuts import Claim, may_overrule, reaches
from tests.support.act_sets import START_S
from tests.support.act_stories import Story
from tests.support.keys import named


@pytest.fixture
def story():
    """ann (1) made ben (2), who made cat (3); all may issue."""
    told = Story()
    told.grant("root", "ann", 1)
    told.grant("ann", "ben", 2)
    told.grant("ben", "cat", 3)
    return told


# --- whom a revocation hits -------------------------------------------------------------------------------


def test_revocation_hits_grants_of_larger_levels_earlier_and_later(story):
    cut = story.revoke("ann", "cat")
    again = story.grant("ben", "cat", 3)
    later = story.grant("ben", "cat")
    for grant in (again, later):
        assert story.view.hits_of(grant.id) == (cut.id,)
    senior = story.grant("root", "cat", 1)
    assert story.view.hits_of(senior.id) == ()
    assert story.level("cat") == 1


@pytest.mark.parametrize("for_ever", [False, True])
def test_equal_levels_cannot_touch_each_other(story, for_ever):
    story.grant("root", "dan", 1)
    cut = story.revoke("dan", "ann", for_ever=for_ever)
    assert story.counts(cut) == [True]
    assert story.level("ann") == 1
    story.revoke("root", "ann", for_ever=for_ever)
    assert story.level("ann") is None


def test_inviting_member_revokes_only_what_it_granted(story):
    story.grant("ann", "ida", 254)
    own = story.grant("ida", "eve")
    others = story.grant("ben", "eve")
    cut = story.revoke("ida", "eve")
    assert story.view.hits_of(own.id) == (cut.id,)
    assert story.view.hits_of(others.id) == ()
    assert story.is_member("eve")


def test_until_spares_what_ends_later(story):
    old = story.grant("ben", "eve", end=START_S + 5000)
    edge = story.grant("ben", "eve", end=START_S + 5001)
    new = story.grant("ben", "eve", end=START_S + 5002)
    cut = story.revoke("ann", "eve", until=START_S + 5001)
    assert [story.view.hits_of(one.id) for one in (old, edge, new)] == [(cut.id,), (cut.id,), ()]


def test_resigning_hits_grants_of_the_own_level_and_larger(story):
    low = story.grant("ann", "ben", 255)
    resign = story.resign("ben", under=story.pairs[2][0])
    assert story.view.hits_of(low.id) == (resign.id,)
    assert not story.is_member("ben")
    assert story.is_member("cat"), "what it signed before stays"
    high = story.grant("root", "ben", 1)
    assert story.view.hits_of(high.id) == ()


def test_void_revocation_hits_nothing(story):
    cut = story.revoke("ben", "cat")
    assert not story.is_member("cat")
    story.revoke("ann", "ben", keep=[story.pairs[3][0]])
    assert story.counts(cut) == [False]
    assert story.is_member("cat")


def test_void_grant_is_hit_like_others(story):
    gone = story.revoke("root", "ann")
    cut = story.revoke("root", "cat")
    cat = story.pairs[3][0]
    assert not story.view.is_effective(cat.id)
    assert story.view.hits_of(cat.id) == (cut.id,)
    assert story.view.hits_of(gone.id) == (), "not a grant"
    assert story.view.hits_of(bytes(32)) == ()


# --- in spite of ------------------------------------------------------------------------------------------


def test_despite_lets_back_in(story):
    cut = story.revoke("ann", "cat")
    back = story.grant("ann", "cat", despite=[cut])
    assert story.view.hits_of(back.id) == ()
    assert story.is_member("cat")


def test_despite_of_a_junior_is_worth_nothing(story):
    cut = story.revoke("ann", "cat")
    back = story.grant("ben", "cat", despite=[cut])
    assert story.view.hits_of(back.id) == (cut.id,)


def test_despite_overrules_only_what_it_names(story):
    one, other = story.revoke("ann", "cat"), story.revoke("ann", "cat")
    back = story.grant("ann", "cat", despite=[one])
    assert story.view.hits_of(back.id) == (other.id,)
    assert story.is_member("cat") is False
    assert story.view.removals_of(named("cat").public.pid) == tuple(sorted((one.id, other.id)))


def test_despite_names_removals_of_the_subject_only(story):
    cut = story.revoke("ann", "cat")
    other = story.revoke("ann", "ben")
    back = story.grant("ann", "cat", despite=[other])
    assert story.view.hits_of(back.id) == (cut.id,)


def test_nothing_is_made_in_spite_of_a_key_revocation(story):
    cut = story.revoke("ann", "cat", for_ever=True)
    back = story.grant("root", "cat", 3, despite=[cut])
    assert story.view.hits_of(back.id) == (cut.id,)
    story.annul("root", cut)
    assert story.is_member("cat")


def test_despite_overrules_a_resignation(story):
    resign = story.resign("cat")
    assert not story.is_member("cat")
    back = story.grant("ben", "cat", 3, despite=[resign])
    assert story.view.hits_of(back.id) == ()


def test_renewal_inherits_despite_from_somebody_more_senior(story):
    cut = story.revoke("ann", "cat")
    back = story.grant("ann", "cat", despite=[cut])
    renewed = story.grant("ben", "cat", renews=back)
    again = story.grant("ben", "cat", renews=renewed)
    assert [story.view.hits_of(one.id) for one in (renewed, again)] == [(), ()]


def test_renewal_of_a_junior_does_not_become_an_excuse(story):
    """The level that counts is that of whoever wrote `despite`, not of whoever renewed."""
    cut = story.revoke("ann", "cat")
    wish = story.grant("ben", "cat", despite=[cut])
    renewed = story.grant("ann", "cat", renews=wish)
    assert story.view.hits_of(renewed.id) == (cut.id,)


@pytest.mark.parametrize("why", ["void", "senior", "foreign"])
def test_renewal_inherits_nothing_from_a_grant_that_is(story, why):
    cut = story.revoke("ann", "cat")
    if why == "void":
        back = story.grant("ann", "cat", despite=[cut])
        story.annul("root", back)
    elif why == "senior":  # a renewal to a smaller level is none
        back = story.grant("ann", "cat", despite=[cut])
        story.grant("ann", "dan", 2)
        renewed = story.grant("ann", "cat", 2, renews=back)
        assert story.view.hits_of(renewed.id) == (cut.id,)
        return
    else:
        back = story.grant("ann", "dan", despite=[cut])
    renewed = story.grant("ben", "cat", renews=back)
    assert story.view.hits_of(renewed.id) == (cut.id,)


def test_excuse_returns_and_goes_with_the_grant_that_gives_it(story):
    cut = story.revoke("ann", "cat")
    back = story.grant("ann", "cat", despite=[cut])
    line = [back]
    for _ in range(4):
        line.append(story.grant("ben", "cat", renews=line[-1]))
    assert story.is_member("cat")
    annul = story.annul("root", back)
    assert [story.view.hits_of(one.id) for one in line[1:]] == [(cut.id,)] * 4
    assert not story.is_member("cat")
    assert story.without(annul).live_grants(named("cat").public.pid)


def test_line_of_many_renewals_is_no_deeper_than_its_length(story):
    cut = story.revoke("ann", "cat")
    last = story.grant("ann", "cat", despite=[cut])
    for _ in range(1500):
        last = story.grant("ben", "cat", renews=last)
    assert story.view.hits_of(last.id) == ()
    assert story.without().hits_of(last.id) == ()


# --- what is kept -----------------------------------------------------------------------------------------


def test_chain_that_is_not_named_keeps_nothing(story):
    kept = story.grant("ann", "eve", chain=0)
    lost = story.grant("ann", "fay", chain=1)
    story.revoke("root", "ann", keep=[kept])
    assert story.counts(kept, lost) == [True, False]


def test_two_heads_of_one_chain_keep_both_branches(story):
    base = story.grant("ann", "eve")
    left = story.grant("ann", "dan", after=base)
    right = story.grant("ann", "fay", after=base)
    third = story.grant("ann", "gil", after=base)
    story.revoke("root", "ann", keep=[left, right])
    assert story.counts(base, left, right, third) == [True, True, True, False]


def test_several_cuts_intersect(story):
    story.grant("root", "dan", 1)
    base = story.grant("cat", "eve")
    left = story.grant("cat", "fay", after=base)
    right = story.grant("cat", "gil", after=base)
    story.revoke("ann", "cat", keep=[left])
    story.revoke("dan", "cat", keep=[right])
    assert story.counts(base, left, right) == [True, False, False]


def test_acts_under_a_grant_that_is_not_hit_stand_outside_the_cut(story):
    first = story.pairs[2][0]
    late = story.grant("ben", "eve", under=first)
    senior = story.grant("root", "ben", 1)
    other = story.grant("ben", "fay", under=senior)
    story.revoke("ann", "ben")
    assert story.counts(late, other) == [False, True]


def test_resigning_keeps_its_own_ancestry_and_what_it_names(story):
    before = story.grant("cat", "eve")
    elsewhere, lost = story.grant("cat", "fay", chain=1), story.grant("cat", "gil", chain=2)
    resign = story.resign("cat", keep=[elsewhere])
    after = story.grant("cat", "hal")
    assert story.counts(before, elsewhere, lost, resign, after) == [True, True, False, True, False]


def test_two_resignations_ignore_each_other_and_bind_the_rest(story):
    base = story.grant("cat", "eve")
    left = story.grant("cat", "fay", after=base)
    one = story.resign("cat", after=left)
    other = story.resign("cat", after=base)
    assert story.counts(base, left, one, other) == [True, False, True, True]


# --- by itself --------------------------------------------------------------------------------------------


def test_level_of_an_excuse_may_equal_the_revocations(story):
    cut = story.view._nodes[story.revoke("ann", "cat").id]
    assert [may_overrule(cut, cut.target, level) for level in (0, 1, 2)] == [True, True, False]
    assert not may_overrule(cut, named("ben").public.pid, 0)
    for_ever = story.view._nodes[story.revoke("ann", "cat", for_ever=True).id]
    assert not may_overrule(for_ever, cut.target, 0)
    assert [reaches(cut, Claim(cut.target, level, b"", 0, 0)) for level in (1, 2, 255)] == [False, True, True]


def test_excuse_may_come_before_the_revocation_that_it_names(story):
    cut = story.revoke("ann", "cat", chain=5)
    back = story.grant("ann", "cat", despite=[cut])
    renewed = story.grant("ben", "cat", renews=back)
    view = story.without(cut)
    assert [view.hits_of(one.id) for one in (back, renewed)] == [(), ()]
    view.add(cut, story.admitted(cut))
    assert [view.hits_of(one.id) for one in (back, renewed)] == [(), ()]
    assert view.hits_of(story.pairs[3][0].id) == (cut.id,)
