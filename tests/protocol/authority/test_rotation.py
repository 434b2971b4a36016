"""The root by its rotations: which counts, and what becomes of what the versions before it have signed."""

from __future__ import annotations

from random import Random

import pytest

from protocol.authority.acts import Act
from protocol.authority.rotation import cut_of, is_cosigned, kept_by
from tests.support.act_sets import genesis, root_keys, shuffled, view_of_pairs
from tests.support.act_stories import Story


def test_line_follows_the_rotations_from_genesis():
    story = Story()
    first = story.rotate("0a")
    second = story.rotate("0ab")
    assert story.view.rotations == (genesis().id, first.id, second.id)
    root = story.view.root
    assert root is not None
    assert (root.version, root.rotation, root.operating) == (
        3,
        second.id,
        tuple(sorted(root_keys("0ab").pids, key=root.operating.index)),
    )


def test_of_two_the_cosigned_one_counts():
    for order in (("0a", True, "0b", False), ("0a", False, "0b", True)):
        story = Story()
        version = story.pairs[0][0]
        one = story.rotate(order[0], cosigned=order[1], under=version)
        other = story.rotate(order[2], cosigned=order[3], under=version)
        assert story.view.rotations[1] == (one.id if order[1] else other.id)


def test_of_two_equal_ones_the_smaller_id_counts_on_all_nodes():
    for cosigned in (False, True):
        story = Story()
        version = story.pairs[0][0]
        ids = sorted(story.rotate(label, cosigned=cosigned, under=version).id for label in ("0a", "0b", "0c"))
        for seed in range(5):
            view = view_of_pairs(shuffled(story.pairs, Random(seed)))
            assert view.rotations == (genesis().id, ids[0])


def test_less_than_the_threshold_is_no_cosigning():
    story = Story()
    rotation = story.rotate("0a")
    node = story.view._nodes[rotation.id]
    assert not is_cosigned(node)
    node.signers = (*node.signers, root_keys("0").pids[0])
    assert not is_cosigned(node)
    node.signers = (*node.signers, root_keys("0").pids[1])
    assert is_cosigned(node)
    assert not is_cosigned(story.view._nodes[genesis().id])


def test_rotation_under_one_that_lost_counts_for_nothing():
    story = Story()
    version = story.pairs[0][0]
    one, other = story.rotate("0a", under=version), story.rotate("0b", under=version)
    loser = max(one, other, key=lambda act: act.id)
    after = story.rotate("0aa" if loser is one else "0bb", under=loser)
    assert story.counts(loser, after) == [False, False]
    grant = story.grant("root", "ann", 1, under=after)
    assert story.counts(grant) == [False]


def test_rotation_is_the_cut_of_the_version_before():
    story = Story()
    kept = story.grant("root", "ann", 1, chain=5)
    lost = story.grant("root", "ben", 1, chain=6)
    version = story.pairs[0][0]
    rotation = story.rotate("0a", keep=[kept])
    late = story.grant("root", "cat", 1, under=version, chain=5)
    new = story.grant("root", "dan", 1)
    assert story.counts(kept, lost, rotation, late, new) == [True, False, True, False, True]


def test_what_a_rotation_follows_by_prev_is_kept():
    story = Story()
    kept = story.grant("root", "ann", 1)
    body = story.rotate("0a").body
    again = Story()
    again.grant("root", "ann", 1)
    signers = sorted((*root_keys("0").recovery_pids,))
    rotation = again.act("root", 1, body, signers=signers, after=again.pairs[1][0])
    assert again.view.rotations[-1] == rotation.id
    assert again.is_member("ann")
    assert not story.is_member("ann"), "there it began a chain of its own"
    assert story.counts(kept) == [False]


def test_head_that_a_rotation_keeps_may_arrive_after_it():
    story = Story()
    first = story.grant("root", "ann", 1, chain=5)
    head = story.grant("root", "ben", 1, chain=5)
    rotation = story.rotate("0a", keep=[head])
    late = [pair for pair in story.pairs if pair[0] is head]
    view = view_of_pairs([pair for pair in story.pairs if pair not in late])
    assert not view.is_effective(first.id)
    generation = view.generation
    view.add(*late[0])
    assert view.is_effective(first.id)
    assert view.is_effective(head.id)
    assert view.is_protected(head.id)
    assert view.is_effective(rotation.id)
    assert view.generation > generation


def test_nothing_is_before_genesis():
    assert Story().without(genesis()).rotations == ()
    assert Story().without(genesis()).root is None


# --- what a new rotation would name -------------------------------------------------------------------------


def cut(
    story: Story,
    *without: Act,
    until: int | None = None,
    version: Act | None = None,
    matter: tuple[Act, ...] = (),
) -> tuple[set[bytes], set[bytes]]:
    """The heads and what stands, of genesis unless there is a `version`."""
    nodes = story.view._nodes
    heads, kept = cut_of(
        nodes[genesis().id if version is None else version.id],
        [nodes[act.id] for act in without],
        until,
        lambda node: node.id in {act.id for act in matter},
    )
    assert [head.id for head in heads] == sorted(head.id for head in heads)
    assert len(kept) == len(set(kept))
    return {head.id for head in heads}, set(kept)


def ids(*acts: Act) -> set[bytes]:
    return {act.id for act in acts}


def chains() -> tuple[Story, list[Act], list[Act]]:
    """Three acts on each of two chains of the root."""
    story = Story()
    one, other = (
        [story.grant("root", name, 1, chain=chain) for name in names]
        for chain, names in ((5, ("ann", "ben", "cat")), (6, ("dan", "eve", "fay")))
    )
    return story, one, other


def test_cut_of_nothing_keeps_all_chains_by_their_last_acts():
    story, one, other = chains()
    assert cut(story) == (ids(one[-1], other[-1]), ids(*one, *other))
    assert cut(Story()) == (set(), set())


def test_cut_before_an_act_leaves_out_what_follows_it_and_no_other_chain():
    story, one, other = chains()
    assert cut(story, one[1]) == (ids(one[0], other[-1]), ids(one[0], *other))
    assert cut(story, one[0]) == (ids(other[-1]), ids(*other))
    assert cut(story, one[2], other[0]) == (ids(one[1]), ids(*one[:2]))


def test_cut_until_a_second_goes_by_dates():
    story, one, other = chains()
    assert cut(story, until=one[1].hlc_s) == (ids(one[1]), ids(*one[:2]))
    assert cut(story, one[1], until=other[0].hlc_s) == (ids(one[0], other[0]), ids(one[0], other[0]))


def test_cut_of_a_forked_chain_names_both_branches():
    story, one, _ = chains()
    branch = story.grant("root", "gus", 1, chain=5, after=one[0])
    heads, kept = cut(story)
    assert ids(one[-1], branch) <= heads
    assert cut(story, branch) != (heads, kept)
    assert cut(story, one[1])[0] & ids(*one, branch) == ids(branch)


def test_cut_is_of_what_its_version_signed():
    story, one, other = chains()
    rotation = story.rotate("0a", keep=[one[-1], other[-1]])
    late = story.grant("root", "gus", 1, chain=5)
    assert cut(story) == (ids(one[-1], other[-1]), ids(*one, *other))
    assert cut(story, version=rotation) == (ids(late), ids(late))


def test_cut_names_no_more_heads_than_a_bundle_bears_those_that_matter_first():
    story, one, other = chains()
    more = [story.grant("root", "gus", 1, chain=chain) for chain in (7, 8, 9)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("protocol.authority.rotation.ROTATION_HEADS_MAX", 2)
        assert cut(story, matter=(one[0],)) == (ids(one[-1], more[-1]), ids(*one, more[-1]))
        assert cut(story, matter=(one[0], other[2])) == (ids(one[-1], other[-1]), ids(*one, *other))
        assert cut(story) == (ids(*more[1:]), ids(*more[1:]))
        patch.setattr("protocol.authority.rotation.ROTATION_HEADS_MAX", 5)
        assert cut(story, matter=(one[0],))[1] == ids(*one, *other, *more)


def test_what_a_rotation_keeps_is_told_by_what_it_names():
    story, one, other = chains()
    rival = story.rotate("0b")
    rotation = story.rotate("0a", keep=[one[1], rival], cosigned=True, under=story.pairs[0][0])
    story.rotate("0ab")
    assert set(kept_by(story.view._nodes[rotation.id])) == ids(*one[:2])
    assert kept_by(story.view._nodes[genesis().id]) == []
    assert story.counts(*one, *other) == [True, True, False, False, False, False]
