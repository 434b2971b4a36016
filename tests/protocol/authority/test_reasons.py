"""Every void act has a reason, and it is the one that a person would give."""

from __future__ import annotations

from tests.support.act_sets import pairs_of, view_of_pairs
from tests.support.act_stories import Story

SETS = 60


def told(story, act):
    reason = story.view.why_void(act.id)
    return None if reason is None else (reason.rule, reason.acts)


def test_what_counts_has_no_reason_and_what_is_void_has_one():
    for seed in range(SETS):
        _, pairs = pairs_of(seed)
        view = view_of_pairs(pairs)
        for act, _ in pairs:
            reason = view.why_void(act.id)
            assert (reason is None) == view.is_effective(act.id)
            assert reason is None or reason.acts
            assert reason is None or all(view.admitted(one) is not None for one in reason.acts)
    assert Story().view.why_void(bytes(32)) is None


def test_annulled_act_names_the_annulment_and_what_rests_on_it_the_credential():
    story = Story()
    story.grant("root", "ann", 1)
    ben = story.grant("ann", "ben", 2)
    cat = story.grant("ben", "cat")
    story.annul("ben", cat)
    annul = story.annul("root", ben)
    assert told(story, ben) == ("annulled", (annul.id,))
    assert told(story, cat) == ("credential-void", (ben.id,))


def test_cut_off_act_names_the_revocations_that_do_not_keep_it():
    story = Story()
    story.grant("root", "ann", 1)
    kept, lost = story.grant("ann", "ben"), story.grant("ann", "cat")
    story.revoke("root", "ann", keep=[lost])
    cut = story.revoke("root", "ann", keep=[kept])
    assert told(story, kept) is None
    assert told(story, lost) == ("outside-the-cut", (cut.id,))


def test_acts_of_a_replaced_root_name_the_rotation():
    story = Story()
    version = story.pairs[0][0]
    lost = story.grant("root", "ann", 1, chain=4)
    one = story.rotate("0a", under=version, cosigned=True)
    other = story.rotate("0b", under=version)
    below = story.grant("root", "ben", 1, under=other)
    assert told(story, lost) == ("root-replaced", (one.id,))
    assert told(story, other) == ("rotation-outdone", (one.id,))
    assert told(story, below) == ("version-void", (other.id,))
    assert story.view.rival_rotations == (other.id,)
    assert Story().view.rival_rotations == ()
