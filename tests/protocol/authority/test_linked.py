"""What acts name is found whatever arrives first."""

from __future__ import annotations

from protocol.authority.linked import Linked, may_adopt, may_continue
from tests.support.act_sets import heads_in
from tests.support.act_stories import Story
from tests.support.keys import named


def linked_by(story, *, late=()):
    """The acts of a story, some of them last."""
    linked = Linked()
    last = [pair for pair in story.pairs if pair[0] in late]
    for act, admitted in [pair for pair in story.pairs if pair not in last] + last:
        linked.add(act, admitted)
    return linked


def story_of_a_cut():
    story = Story()
    story.grant("root", "ann", 1)
    head = story.grant("ann", "ben")
    cut = story.revoke("root", "ann", keep=["ann"])
    return story, head, cut


def test_head_is_tied_when_the_later_of_the_two_arrives():
    story, head, cut = story_of_a_cut()
    for late in ((), (head,)):
        linked = linked_by(story, late=late)
        heads = linked.nodes[cut.id].heads
        assert heads is not None
        assert [node.id for node in heads[head.place.chain].acts] == [head.id] == list(heads_in(cut))


def test_who_waited_for_a_head_is_named_when_it_arrives():
    story, head, cut = story_of_a_cut()
    linked = Linked()
    told = {}
    for act, admitted in [pair for pair in story.pairs if pair[0] is not head] + [
        pair for pair in story.pairs if pair[0] is head
    ]:
        told[act.id] = [namer.id for namer in linked.add(act, admitted)[1]]
    assert told.pop(head.id) == [cut.id]
    assert not any(told.values())


def test_foreign_head_is_no_news():
    story = Story()
    story.grant("root", "ann", 1)
    ben = story.grant("ann", "ben", 2)
    foreign = story.grant("ben", "cat")
    story.revoke("root", "ann", keep=[foreign])
    linked = Linked()
    late = [pair for pair in story.pairs if pair[0] is foreign]
    for act, admitted in [pair for pair in story.pairs if pair[0] is not foreign]:
        linked.add(act, admitted)
    assert linked.add(*late[0])[1] == []
    assert linked.nodes[ben.id].citing == [linked.nodes[foreign.id]]


def test_grants_are_found_by_subject_and_removals_by_target():
    story, _, cut = story_of_a_cut()
    resign = story.resign("ben")
    linked = linked_by(story)
    ann, ben = named("ann").public.pid, named("ben").public.pid
    assert [len(linked.grants_to[pid]) for pid in (ann, ben)] == [1, 1]
    assert [node.id for node in linked.removals[ann]] == [cut.id]
    assert [node.id for node in linked.removals[ben]] == [resign.id]


def test_adoption_is_of_the_same_key_at_the_same_level_and_renewal_of_no_smaller_level():
    story = Story()
    story.grant("root", "ann", 1)
    ben = story.grant("ann", "ben", 2)
    cat = story.grant("ann", "cat", 2)
    again = story.grant("ann", "ben", 2, adopts=[ben, cat, story.pairs[0][0]], renews=ben)
    lower = story.grant("ann", "ben", renews=ben, adopts=[ben])
    upper = story.grant("root", "ben", 1, renews=ben)
    strange = story.grant("ann", "ben", 2, renews=cat)
    linked = linked_by(story)
    nodes = linked.nodes
    assert linked.adopted(nodes[again.id]) == [nodes[ben.id]]
    assert linked.adopted(nodes[lower.id]) == []
    assert linked.continued(nodes[again.id]) is nodes[ben.id]
    assert linked.continued(nodes[lower.id]) is nodes[ben.id]
    assert linked.continued(nodes[upper.id]) is None
    assert linked.continued(nodes[strange.id]) is None
    assert not may_adopt(None, nodes[ben.id].grant)
    assert not may_adopt(nodes[ben.id].grant, None)
    assert not may_continue(nodes[ben.id].grant, None)
    assert not may_continue(None, nodes[ben.id].grant)


def test_revocation_of_what_is_no_key_is_of_nobody():
    story = Story()
    story.grant("root", "ann", 1)
    body = story.revoke("root", "ann").body.__class__(key=bytes(32))
    story.act("root", 131, body)
    assert story.is_member("ann") is False
    assert list(linked_by(story).removals) == [named("ann").public.pid, b""]


def test_line_of_renewals_is_followed_both_ways():
    story = Story()
    story.grant("root", "ann", 1)
    line = [story.grant("ann", "ben")]
    for _ in range(3):
        line.append(story.grant("ann", "ben", renews=line[-1]))
    other = story.grant("ann", "cat", renews=line[0])
    linked = linked_by(story)
    assert [node.id for node in linked.continuing(linked.nodes[line[1].id])] == [line[2].id, line[3].id]
    assert linked.continuing(linked.nodes[other.id]) == []
