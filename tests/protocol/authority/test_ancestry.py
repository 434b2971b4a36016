"""Who comes before whom in a chain, however long it is and however often it forks."""

from __future__ import annotations

from random import Random

import pytest

from protocol.authority.ancestry import FEW_HEADS, Heads, Node, ancestry, at_seq, heads_of, is_before, meet
from protocol.authority.bodies import Kind, ResignBody
from tests.support.act_sets import GID, genesis
from tests.support.act_stories import Story


def chain_of(length: int, rng: Random | None = None) -> list[Node]:
    """The acts of one author: a line, or with `rng` a tree."""
    story = Story()
    story.grant("root", "ann", 1)
    acts = [story.resign("ann")]
    for _ in range(length - 1):
        acts.append(story.resign("ann", after=rng.choice(acts) if rng else acts[-1]))
    return [story.view._nodes[act.id] for act in acts]


def walk(node: Node) -> list[Node]:
    """An act and all before it, one by one."""
    found = [node]
    while found[-1].prev is not None:
        found.append(found[-1].prev)
    return found


@pytest.fixture(params=range(6))
def tree(request):
    return chain_of(60, Random(request.param) if request.param else None)


def test_before_is_what_a_walk_along_prev_meets(tree):
    for head in tree:
        line = walk(head)
        assert [act for act in tree if is_before(act, head)] == [act for act in tree if act in line]


def test_act_at_a_number_is_the_one_that_a_walk_meets(tree):
    for head in tree:
        assert [at_seq(head, act.seq) for act in walk(head)] == walk(head)
        assert at_seq(head, head.seq + 5) is head


def test_two_acts_meet_in_the_last_that_is_before_both(tree):
    for one in tree:
        line = walk(one)
        for other in tree:
            shared = [act for act in walk(other) if act in line]
            assert meet(one, other) is (shared[0] if shared else None)


def test_acts_of_different_beginnings_never_meet():
    story = Story()
    story.grant("root", "ann", 1)
    story.act("ann", Kind.RESIGN, ResignBody())
    ends = [story.resign("ann", chain=chain) for chain in (1, 2) for _ in range(9)]
    one, other = (story.view._nodes[end.id] for end in (ends[8], ends[17]))
    assert meet(one, other) is None
    assert not is_before(one, other)


@pytest.mark.parametrize("most", [4, 20])
def test_what_two_cuts_keep_is_what_each_of_them_keeps(tree, most):
    rng = Random(len(tree))
    for _ in range(200):
        one, other = (Heads(rng.sample(tree, rng.randrange(most))) for _ in range(2))
        both = one.common(other)
        assert len(both.acts) <= len(one.acts)
        for act in tree:
            assert both.keep(act) == (one.keep(act) and other.keep(act))


def test_few_heads_and_many_keep_their_ancestry(tree):
    rng = Random(len(tree))
    for count in (0, 1, FEW_HEADS, FEW_HEADS + 1, 20):
        acts = rng.sample(tree, count)
        heads = Heads(acts)
        kept = [act for act in tree if any(is_before(act, head) for head in acts)]
        assert [act for act in tree if heads.keep(act)] == kept
        assert ancestry(acts) == set(kept)
        heads.add(tree[-1])
        assert all(heads.keep(act) for act in walk(tree[-1]))


def test_far_links_make_long_walks_short():
    line = chain_of(3000)
    node, steps = line[-1], 0
    while node.seq > 2:
        near = node.prev
        assert near is not None
        node, steps = (node.back if node.back.seq >= 2 else near), steps + 1
    assert node is line[1]
    assert steps < 40


def test_head_counts_only_if_it_is_the_targets():
    story = Story()
    story.grant("root", "ann", 1)
    ben = story.grant("ann", "ben", 2)
    story.grant("ben", "cat")
    cut = story.revoke("root", "ann", keep=["ann", "ben", "root"])
    node = story.view._nodes[cut.id]
    assert [head.id for head in heads_of(node, ben.place.chain).acts] == [ben.id]
    assert node.heads is not None
    assert list(node.heads) == [ben.place.chain]
    assert heads_of(node, bytes(16)).acts == []


def test_genesis_stands_alone():
    node = Story().view._nodes[genesis().id]
    assert (node.author, node.target, node.back, node.prev) == (GID, GID, node, None)
