"""What a node shows, takes and goes by when the root has been replaced."""

from __future__ import annotations

import pytest

from protocol.authority.acts import Act
from protocol.authority.bundle import Bundle, decode_untrusted_bundle, stands
from protocol.authority.elements import Der
from protocol.authority.view import View
from protocol.machines.events import Close
from tests.protocol.machines.playing import Player, link_up, only
from tests.support.builders import GRC, NOW, Granted, Group, Node, fed, node_of
from tests.support.keys import named


@pytest.fixture
def group() -> Group:
    return Group()


def shown(node: Node, group: Group) -> Bundle:
    return decode_untrusted_bundle(node.members.own_bundle(NOW.utc_s, node.store), authority=group.gid)


def invited(group: Group, text: str = "grc -> zoe:admin") -> Granted:
    """Granted without the store flag."""
    return group.grant(text, publish=False, chain=4)


def test_evidence_kept_aside_is_shown_with_the_rotations_that_came_since(group):
    zoe = invited(group)
    old = group.bundle(zoe)
    node = fed(group, "zoe", [group.elements])
    node.adopt(old)
    assert shown(node, group) == old
    group.rotate("ruth")
    node.take(group.elements)
    assert [root.version for root in shown(node, group).roots] == [1, 2]
    assert shown(node, group).leaf == zoe.grant
    assert stands(View(group.gid), shown(node, group))
    before = shown(node, group)
    assert shown(node.reopened(), group) == before


def test_evidence_whose_acts_have_not_come_is_shown_as_it_is(group):
    zoe = invited(group)
    node = node_of(group, "zoe")
    node.adopt(group.bundle(zoe))
    rest = [one for one in group.elements if one.id != zoe.act.id]
    node.take(rest)
    assert shown(node, group) == group.bundle(zoe)


def test_evidence_that_knows_more_rotations_is_shown_as_it_is(group):
    behind = list(group.elements)
    group.rotate("ruth")
    zoe = invited(group)
    node = fed(group, "zoe", [behind])
    node.adopt(group.bundle(zoe))
    assert node.members.own_grant(NOW.utc_s) == zoe.grant
    assert shown(node, group) == group.bundle(zoe)


def test_own_credential_that_the_rotation_cut_is_none_any_more(group):
    zoe = invited(group)
    node = fed(group, "zoe", [group.elements])
    node.adopt(group.bundle(zoe))
    group.rotate("ruth", keep=[group.creator.act])
    node.take(group.elements)
    assert node.members.own_grant(NOW.utc_s) is None


def test_certificates_shown_under_a_later_root_enter_the_set_and_the_roots_does_not(group):
    group.rotate("ruth")
    group.grant("grc -> zoe:admin")
    mo = group.grant("zoe -> mo:member", publish=False)
    player = Player.of(group, "alice")
    outputs = player.tell(link_up(1, "mo", bundle=group.bundle(mo)))
    assert only(Close, outputs) == []
    assert player.neighbors() == [1]
    view = player.machine.members.view
    assert view.der_of(mo.act.id) == mo.der.id
    assert view.der_of(group.view.rotations[-1]) is None


def test_bundle_of_its_own_is_not_lacking_after_a_start_under_a_later_root(group):
    group.rotate("ruth")
    zoe = invited(group)
    node = node_of(group, "zoe")
    node.adopt(group.bundle(zoe))
    acts = [element for element in group.elements if isinstance(element, Act)]
    intake = node.take(acts)
    assert intake.refused is None
    assert [element for element in intake.fresh if isinstance(element, Der)] == [zoe.der]
    assert node.reopened().members.own_grant(NOW.utc_s) == zoe.grant


def test_thief_of_the_old_root_gets_a_link_from_nobody_who_knows_the_rotation(group):
    thief = group.grant(f"{GRC} -> thief:admin", chain=2)
    older = group.bundle(thief)
    player = Player.of(group, "alice", group.elements)
    group.rotate("ruth", keep=[group.creator.act])
    at_s = NOW.utc_s
    assert player.machine.members.accepts(older, at_s)
    told = fed(group, "bob", [group.elements])
    assert not told.members.accepts(older, at_s)
    assert not told.members.accepts(group.bundle(thief), at_s)
    newcomer = node_of(group, "nina")
    assert newcomer.members.accepts(older, at_s), "it knows no better"
    newcomer.take(group.elements)
    assert not newcomer.members.accepts(older, at_s)


def test_nobody_is_handed_a_credential_that_a_rotation_cut(group):
    thief = group.grant(f"{GRC} -> thief:admin", chain=2)
    group.rotate("ruth", keep=[group.creator.act])
    told = fed(group, "bob", [group.elements])
    assert told.members.bundle_for(thief.grant.pid, NOW.utc_s, told.store) == b""
    assert named("thief").public == thief.grant.key
