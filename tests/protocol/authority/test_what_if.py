"""What if: it says beforehand what is so afterwards, and changes nothing by it."""

from __future__ import annotations

import random

import pytest

from protocol.authority.acts import Act
from protocol.authority.bodies import Kind
from protocol.authority.view import View
from protocol.authority.what_if import TAKES_AWAY, Kept, read_view, what_if
from tests.support.act_sets import pairs_of
from tests.support.act_stories import Story
from tests.support.builders import NOW, Group
from tests.support.keys import named

SETS = 80
AT_S = NOW.utc_s + 60


def live_ids(view: View) -> set[bytes]:
    return {grant.act_id for pid in view.subjects() for grant in view.live_grants(pid)}


def filled(pairs) -> View:
    view = View(pairs[0][1].place.gid)
    for act, admitted in pairs:
        view.add(act, admitted)
    return view


def test_what_it_says_of_the_last_act_is_the_difference_that_it_makes():
    told = 0
    for seed in range(SETS):
        _, pairs = pairs_of(seed)
        kinds = {*TAKES_AWAY, Kind.ROTATE_ROOT}
        places = [place for place, (act, _) in enumerate(pairs) if place and act.kind in kinds]
        if not places:
            continue
        place = random.Random(seed).choice(places)
        before, after = filled(pairs[:place]), filled(pairs[: place + 1])
        fall = what_if(filled(pairs[:place]), pairs[place][0], AT_S)
        assert {grant.act_id for grant in fall.grants} == live_ids(before) - live_ids(after)
        void = [one for one in before.act_ids() if before.is_effective(one) and not after.is_effective(one)]
        assert list(fall.void) == void
        assert set(fall.removals) == {one for one in void if before.kind_of(one) in TAKES_AWAY}
        told += bool(void)
    assert told > SETS // 20


def names(pids: tuple[bytes, ...]) -> list[str]:
    known = {named(name).public.pid: name for name in ("alice", "bob", "carl", "dave")}
    return [known[pid] for pid in pids]


@pytest.fixture
def group() -> Group:
    group = Group()
    group.grant("alice -> bob:admin")
    group.grant("bob -> carl:member")
    return group


def copy_of(group: Group) -> View:
    """The view read back from what a store keeps."""
    kept = []
    for element in group.elements:
        if isinstance(element, Act):
            admitted = group.view.admitted(element.id)
            assert admitted is not None
            kept.append(Kept(element.raw, admitted, group.view.der_of(element.id)))
    return read_view(group.gid, kept)


def revocation(group: Group, target: str, keep: bytes) -> Act:
    body = {"key": named(target).public.raw, "keep": keep}
    return group.act("alice", Kind.REVOKE_CREDENTIAL, body, keep=False)


def test_who_is_removed_with_all_its_acts_kept_falls_alone(group):
    keep = b"".join(group.view.heads_of(named("bob").public.pid))
    fall = what_if(copy_of(group), revocation(group, "bob", keep), AT_S)
    assert names(fall.lost) == ["bob"]
    assert [str(grant.peer_name).partition(".")[2] for grant in fall.grants] == ["bob"]
    assert (fall.void, fall.removals, fall.back) == ((), (), ())


def test_what_a_cut_does_not_keep_falls_too_and_nothing_has_happened_yet(group):
    fall = what_if(copy_of(group), revocation(group, "bob", b""), AT_S)
    assert sorted(names(fall.lost)) == ["bob", "carl"]
    assert len(fall.void) == 1
    assert group.view.current(named("carl").public.pid, AT_S) is not None


def test_an_annulled_revocation_brings_its_target_back():
    story = Story()
    story.grant("root", "ann", 1)
    story.grant("root", "ben")
    cut = story.revoke("ann", "ben")
    before = filled(story.pairs)
    annul = story.annul("root", cut)
    fall = what_if(before, annul, story.now_s)
    assert fall.removals == fall.void == (cut.id,)
    assert fall.grants == ()
