"""P(S): what a node keeps and passes on."""

from __future__ import annotations

from tests.support.act_stories import Story


def test_void_acts_are_left_out():
    story = Story()
    story.grant("root", "ann", 1)
    kept, lost = story.grant("ann", "ben"), story.grant("ann", "cat")
    story.revoke("root", "ann", keep=[kept])
    assert story.view.is_protected(kept.id)
    assert not story.view.is_protected(lost.id)
    assert lost.id not in story.view.protected()
    assert len(story.view.protected()) == len(story.pairs) - 1


def test_what_an_effective_act_follows_is_protected_even_if_void():
    """Without it the effective act could not be admitted elsewhere."""
    story = Story()
    old = story.grant("root", "ann", 1)
    void = story.grant("ann", "ben", chain=3)
    story.revoke("root", "ann")
    story.grant("root", "ann", 2, despite=[story.pairs[-1][0]])
    story.grant("ann", "cat", chain=3)
    assert story.counts(old, void) == [True, False]
    assert story.view.is_protected(void.id)


def test_what_an_act_cites_is_protected_even_if_void():
    """An adopted grant is void, and what was signed under it stands."""
    story = Story()
    story.grant("root", "ann", 1)
    story.grant("root", "zoe", 1)
    ben = story.grant("ann", "ben", 2)
    cat = story.grant("ben", "cat")
    story.revoke("root", "ann")
    story.grant("zoe", "ben", 2, adopts=[ben], keep=[cat])
    assert story.counts(ben, cat) == [False, True]
    assert story.view.is_protected(ben.id)


def test_heads_of_a_cut_are_protected_even_if_void():
    """Elsewhere the cut would keep less."""
    story = Story()
    story.grant("root", "ann", 1)
    story.grant("ann", "ben", 2)
    base = story.grant("ben", "cat")
    head = story.grant("ben", "dan")
    story.revoke("root", "ben", keep=[base])
    cut = story.revoke("ann", "ben", keep=[head])
    assert story.counts(base, head, cut) == [True, False, True]
    assert story.view.is_protected(head.id)
    foreign = story.revoke("ann", "dan", keep=[head])
    assert story.counts(foreign) == [True]


def test_head_protected_when_it_arrives_and_no_longer_when_the_cut_is_void():
    story = Story()
    story.grant("root", "ann", 1)
    story.grant("ann", "ben", 2)
    story.grant("ben", "cat")
    head = story.grant("ben", "dan")
    story.revoke("root", "ben")
    cut = story.revoke("ann", "ben", keep=[head])
    view = story.without(head)
    assert view.is_effective(cut.id)
    assert not view.is_protected(head.id)
    view.add(head, story.admitted(head))
    assert view.is_protected(head.id)
    annul = story.annul("root", cut)
    view.add(annul, story.admitted(annul))
    assert not view.is_protected(head.id)
    assert not view.is_protected(cut.id)


def test_void_acts_return_when_they_count_again():
    story = Story()
    story.grant("root", "ann", 1)
    story.grant("ann", "ben", 2)
    lost = story.grant("ben", "cat")
    cut = story.revoke("ann", "ben")
    assert not story.view.is_protected(lost.id)
    story.annul("root", cut)
    assert story.view.is_protected(lost.id)
    assert story.is_member("cat")


def test_clocks_are_judged_by_acts_that_count_and_had_to_wait_for_their_time():
    story = Story()
    ann = story.grant("root", "ann", 1)
    assert story.view.latest_hlc == ann.place.hlc
    cat = story.grant("ann", "cat")
    lost = story.grant("ann", "ben", at_s=story.now_s + 200)
    assert story.view.latest_hlc == lost.place.hlc
    story.revoke("root", "ann", keep=[cat])
    assert story.view.latest_hlc == cat.place.hlc


def test_whoever_resigns_on_a_day_to_come_stops_nobody_s_clock():
    """Removals are taken in whatever their date, and a plain member signs no other acts but unknown ones."""
    story = Story()
    story.grant("root", "ann", 1)
    ben = story.grant("ann", "ben")
    gone = story.resign("ben", at_s=story.now_s + 30 * 86_400)
    assert story.counts(gone) == [True]
    assert story.view.latest_hlc == ben.place.hlc
