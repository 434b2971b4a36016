"""Every mutant of evaluation is caught: by the laws over drawn sets, or by a test told by hand.

Comparisons turned, conditions, operands and calls dropped, in all that decides. What survives is listed with
the reason why it means the same; most of it saves work and decides nothing.
"""

from __future__ import annotations

from functools import cache
from random import Random

import pytest

from protocol.authority import ancestry, cuts, evaluation, linked, protected, rotation, view
from tests.protocol.authority import (
    test_ancestry,
    test_cuts,
    test_evaluation,
    test_linked,
    test_protected,
    test_rotation,
)
from tests.support.act_laws import as_the_text_says, changes_are_told, i1_in_any_order
from tests.support.act_sets import START_S, Pair, pairs_of
from tests.support.act_stories import Story
from tests.support.mutants import Mutant, TooSlowError, at_most, mutants_of

SETS = 400
LARGEST = 60
SECONDS_MAX = 60.0
LAWS = (as_the_text_says, i1_in_any_order, changes_are_told)

# What a quick run looks at; all the rest is caught by the long test.
QUICK = ("reaches", "is_annulled")
SETS_QUICK = 100
# Of the view what the laws look at.
OF_THE_VIEW = ("View.data_hits", "View._protection", "View.is_live", "View.is_effective")
# How a mutant shows: a law or test fails, or the code under it breaks.
BREAKS = (AssertionError, AttributeError, LookupError, TypeError, ValueError, RuntimeError, TooSlowError)

_SHORTCUT = "saves work; the long way comes to the same"
_SAME_BOTH = "two acts of one number have both something before them, or neither"
_FOR_TYPES = "never so where it is asked"
SAME: dict[str, str] = {
    "Node.__init__: never prev.seq - prev.back.seq == prev.back.seq - prev.back.back.seq": _SHORTCUT,
    "Node.__init__: prev.seq - prev.back.seq == prev.back.seq - prev.back.back.seq turned": _SHORTCUT,
    "at_seq: never node.back.seq >= seq": _SHORTCUT,
    "at_seq: node.back.seq >= seq turned": _SHORTCUT,
    "meet: without one.prev is None": _SAME_BOTH,
    "meet: without other.prev is None": _SAME_BOTH,
    "Heads.keep: never len(self.acts) <= FEW_HEADS": _SHORTCUT,
    "Heads.keep: len(self.acts) <= FEW_HEADS turned": _SHORTCUT,
    "Heads.common: never len(self.acts) * len(other.acts) > FEW_HEADS ** 2": _SHORTCUT,
    "Heads.common: len(self.acts) * len(other.acts) > FEW_HEADS ** 2 turned": _SHORTCUT,
    "ancestry: without node not in marked": _SHORTCUT,
    "_first_marked: without node is not None": "nothing is no marked act",
    "_first_marked: without node not in passed": _SHORTCUT,
    "_first_marked: no passed.add(node)": _SHORTCUT,
    "cut_of: len(heads) > ROTATION_HEADS_MAX turned": _SHORTCUT,
    "cut_of: without act.chain == one.chain": _SHORTCUT,
    "kept_by: without version.citing is None": _FOR_TYPES,
    "Linked.adopted: never not adopter.named": _SHORTCUT,
    "Linked.continued: never grant.grant.renews is None": "no act has the id None",
    "Cuts._heads: never not heads.acts": _SHORTCUT,
    "excuses_of: without 0": _FOR_TYPES,
    "CutsByKey.on_grant: never grant.target not in self._linked.removals": _SHORTCUT,
    "CutsByKey.on: never removals is None": _FOR_TYPES,
    "_hits: without one.kind == Kind.RESIGN": "no other removal reaches its own level",
    "Evaluation._look_under: without node.effective is not None": _SHORTCUT,
    "Evaluation._look_under: without heads_of(grant, node.chain).keep(node)": _SHORTCUT,
    "Evaluation._keeps_more: never namer.grant is not None": "looks at more acts than need be",
    "Evaluation._cut: never removal.kind != _RESIGN and (not is_exact(removal))": _SHORTCUT,
    "Evaluation._cut: never (removal.target, removal.level) in self._cut_now": _SHORTCUT,
    "Evaluation._excuse: never grant.id not in self.linked.renewers or not excuses_of(grant, self.linked)": (
        _SHORTCUT
    ),
    "Evaluation._excuse: without grant.id not in self.linked.renewers": _SHORTCUT,
    "Evaluation._excuse: without not excuses_of(grant, self.linked)": _SHORTCUT,
    "Evaluation._note: without not before": "what is protected already is protected once more",
    "Evaluation._is_usable: never grant.target not in self.linked.removals": _SHORTCUT,
    "Evaluation._tell: no self._touched.clear()": "looks at more grants than need be",
    "Evaluation._tell: never fresh and (not node.named)": _SHORTCUT,
    "Protected.grow: without act.prev.id not in nodes": _SHORTCUT,
    "Protected.grow: without act.cred.id not in nodes": _SHORTCUT,
    "Protected.grow: act.admitted.place.hlc > self.latest_hlc turned": "notes the same time once more",
    "View.data_hits: never not adopters and (not node.standing)": _SHORTCUT,
    "View.data_hits: without node.grant is None": "what is no grant has no standing",
}


def told_by_hand() -> None:
    """Tests of what drawn sets meet too seldom; each raises when a mutant is in place that it catches."""
    tree = test_ancestry.chain_of(25, Random(1))
    test_ancestry.test_two_acts_meet_in_the_last_that_is_before_both(tree)
    test_ancestry.test_what_two_cuts_keep_is_what_each_of_them_keeps(tree, 12)
    test_ancestry.test_few_heads_and_many_keep_their_ancestry(tree)
    test_ancestry.test_acts_of_different_beginnings_never_meet()
    test_linked.test_adoption_is_of_the_same_key_at_the_same_level_and_renewal_of_no_smaller_level()
    test_linked.test_revocation_of_what_is_no_key_is_of_nobody()
    test_evaluation.test_what_a_renewed_line_signs_goes_and_returns_with_its_excuse()
    test_evaluation.test_questions_about_what_is_not_there()
    for until in (None, START_S + 9000):
        test_evaluation.test_removals_that_come_together_hit_what_each_of_them_hits(until)
    test_evaluation.test_of_a_grant_and_its_adopter_with_as_many_hits_the_grant_itself_decides()
    test_evaluation.test_adopted_grants_lie_inside_the_window_that_adopts()
    test_evaluation.test_head_of_a_resignation_that_arrives_later_brings_back_what_is_before_it()
    test_rotation.test_less_than_the_threshold_is_no_cosigning()
    test_rotation.test_of_two_the_cosigned_one_counts()
    test_rotation.test_cut_of_nothing_keeps_all_chains_by_their_last_acts()
    test_rotation.test_cut_before_an_act_leaves_out_what_follows_it_and_no_other_chain()
    test_rotation.test_cut_until_a_second_goes_by_dates()
    test_rotation.test_cut_of_a_forked_chain_names_both_branches()
    test_rotation.test_cut_is_of_what_its_version_signed()
    test_rotation.test_cut_names_no_more_heads_than_a_bundle_bears_those_that_matter_first()
    test_rotation.test_what_a_rotation_keeps_is_told_by_what_it_names()
    test_protected.test_clocks_are_judged_by_acts_that_count_and_had_to_wait_for_their_time()
    test_protected.test_whoever_resigns_on_a_day_to_come_stops_nobody_s_clock()
    test_protected.test_head_protected_when_it_arrives_and_no_longer_when_the_cut_is_void()
    for test in (
        test_cuts.test_despite_names_removals_of_the_subject_only,
        test_cuts.test_excuse_returns_and_goes_with_the_grant_that_gives_it,
    ):
        story = Story()
        story.grant("root", "ann", 1)
        story.grant("ann", "ben", 2)
        story.grant("ben", "cat", 3)
        test(story)


@cache
def drawn(count: int) -> list[list[Pair]]:
    return [pairs_of(seed, LARGEST)[1] for seed in range(count)]


def is_caught(mutant: Mutant, count: int = SETS) -> bool:
    """Whether some law or test fails with the mutant in place, or does not come to an end."""
    sets = drawn(count)
    with mutant.in_place():
        try:
            with at_most(SECONDS_MAX):
                told_by_hand()
                for seed, pairs in enumerate(sets):
                    for law in LAWS:
                        law(Random(seed + 10**9), pairs)
        except BREAKS:
            return True
    return False


def all_mutants() -> list[Mutant]:
    modules = (ancestry, linked, cuts, rotation, evaluation, protected)
    of_the_view = [one for one in mutants_of(view) if one.qualname in OF_THE_VIEW]
    return [one for module in modules for one in mutants_of(module)] + of_the_view


def name_of(mutant: Mutant) -> str:
    """Without the line, which moves."""
    return f"{mutant.qualname}: {mutant.what.partition(': ')[2]}"


def test_laws_and_stories_hold_without_a_mutant():
    told_by_hand()


def test_mutants_of_the_plainest_rules_are_caught():
    found = [one for module in (cuts, evaluation) for one in mutants_of(module) if one.qualname in QUICK]
    assert len(found) > len(QUICK)
    assert [str(one) for one in found if not is_caught(one, SETS_QUICK)] == []


@pytest.mark.long
def test_every_mutant_is_caught():
    survivors = {name_of(one) for one in all_mutants() if not is_caught(one)}
    assert sorted(survivors - SAME.keys()) == []
    assert sorted(SAME.keys() - survivors) == []
