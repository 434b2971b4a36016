"""Void acts: what a removed key goes on signing is kept aside, told to nobody, and back when it counts."""

from __future__ import annotations

import pytest

from protocol.authority.acts import Act
from protocol.authority.bodies import Kind, PropertiesBody, RotateRootBody
from protocol.authority.root import commitment_of
from protocol.limits import VOID_ACTS_S_MAX
from protocol.machines import void_acts
from protocol.machines.events import Revoke
from protocol.peer_time import Moment, hlc_at
from tests.protocol.machines.playing import Player, in_transaction
from tests.support.builders import GRC, NOW, Granted, Group, Node, fed
from tests.support.keys import named


@pytest.fixture
def group() -> Group:
    group = Group()
    for text in ("alice -> bob:admin", "bob -> carl:member", "alice -> dave:member"):
        group.grant(text)
    return group


def removal(group: Group, name: str, *keep: bytes) -> Act:
    body = {"key": named(name).public.raw, "keep": b"".join(keep)}
    return group.act("alice", Kind.REVOKE_CREDENTIAL, body)


def carls(group: Group) -> Granted:
    """What bob granted carl."""
    return next(one for one in group.granted.values() if one.grant.key == named("carl").public)


def inside(node: Node, act: Act) -> bool:
    return (act.hlc_s, act.id) in node.members.ids


def test_what_is_signed_after_the_cut_is_taken_and_told_to_nobody(group):
    node = fed(group, "dave", [group.elements])
    late = group.grant("bob -> zoe:member")
    node.take([removal(group, "bob", *node.members.view.heads_of(named("bob").public.pid))])
    intake = node.take(late.elements)
    assert (intake.fresh, intake.refused) == ([], None)
    assert node.members.void == 1
    assert not inside(node, late.act)
    assert node.take(late.elements).fresh == []


def test_what_a_removal_leaves_out_goes_out_of_the_set_with_its_certificate(group):
    late = group.grant("bob -> zoe:member")
    node = fed(group, "dave", [group.elements])
    before = len(node.members.ids)
    cut = removal(group, "bob", carls(group).act.id)
    assert node.take([cut]).fresh == [cut]
    assert not inside(node, late.act)
    assert len(node.members.ids) == before + 1 - 2
    assert node.reopened().members.ids.digest() == node.members.ids.digest()


def test_what_counts_again_is_fresh_again_with_its_certificate_parents_first(group):
    late = group.grant("bob -> zoe:member")
    node = fed(group, "dave", [group.elements])
    cut = removal(group, "bob")
    node.take([cut])
    assert node.members.void == 2  # what bob granted carl, and zoe
    annul = group.act("grc", Kind.ANNUL, {"act": cut.id})
    fresh = node.take([annul]).fresh
    kept = carls(group)
    assert [one.id for one in fresh if one.id != annul.id] == [
        one.id for one in (*kept.elements, *late.elements)
    ]
    assert node.members.void == 1  # the removal
    assert inside(node, late.act)


def test_cut_that_arrives_before_what_it_keeps_lets_it_in_when_it_is_here(group):
    node = fed(group, "dave", [group.founding.elements])
    elements = list(group.elements[len(group.founding.elements) :])
    kept = carls(group)
    cut = removal(group, "bob", kept.act.id)
    node.take([cut])
    for element in elements:
        node.take([element])
    node.take([cut])
    whole = fed(group, "dave", [group.elements])
    assert node.members.ids.digest() == whole.members.ids.digest()
    assert inside(node, kept.act)


def test_flood_by_a_removed_key_is_bounded(group, monkeypatch):
    monkeypatch.setattr(void_acts, "VOID_ACTS_MAX", 3)
    node = fed(group, "dave", [group.elements])
    node.take([removal(group, "bob", *node.members.view.heads_of(named("bob").public.pid))])
    for number in range(6):
        act = group.act("bob", Kind.ANNUL, {"act": bytes(32)}, chain=number.to_bytes(16, "big"), keep=False)
        node.take([act])
    assert node.members.void == 3
    assert node.take([group.act("alice", Kind.ANNUL, {"act": bytes(32)})]).fresh != []


def test_void_acts_are_forgotten_after_thirty_days_but_not_what_younger_ones_stand_on(group):
    node = fed(group, "dave", [group.elements])
    node.take([removal(group, "bob")])
    first = group.act("bob", Kind.ANNUL, {"act": bytes(32)}, chain=bytes(16), keep=False)
    later = Moment(NOW.mono_ms, NOW.utc_ms + VOID_ACTS_S_MAX * 1000)
    second = group.act(
        "bob",
        Kind.ANNUL,
        {"act": bytes(32)},
        chain=bytes(16),
        seq=2,
        prev=first.id,
        hlc=hlc_at(NOW.utc_ms + 60_000),
        keep=False,
    )
    node.take([first, second])
    assert node.members.void == 3
    node.expire(Moment(later.mono_ms, later.utc_ms + 30_000))
    assert node.store.get(first.id) is not None
    node.expire(Moment(later.mono_ms, later.utc_ms + 90_000))
    assert node.store.get(first.id) is None
    assert node.store.get(second.id) is None
    node.reopened()


def test_removed_key_that_dates_what_it_signs_ahead_stops_no_clock(group):
    """Issuing compares the clock with what the group has signed; void acts and removals are no measure."""
    player = Player.of(group, "alice")
    player.tell(Revoke(named("bob").public.pid))
    late = group.act("bob", Kind.RESIGN, {}, hlc=hlc_at(NOW.utc_ms + 86_400_000))
    in_transaction(player.store, lambda store: player.machine.members.take([late], 1, NOW, store))
    assert player.machine.members.view.admitted(late.id) is not None
    player.tell(Revoke(named("carl").public.pid))


def test_nothing_is_taken_that_stands_on_what_was_forgotten_or_the_store_could_not_be_read_back(group):
    node = fed(group, "dave", [group.elements])
    node.take([removal(group, "bob")])
    first = group.act("bob", Kind.ANNUL, {"act": bytes(32)}, chain=bytes(16), keep=False)
    node.take([first])
    later = Moment(NOW.mono_ms, NOW.utc_ms + (VOID_ACTS_S_MAX + 60) * 1000)
    node.expire(later)
    assert node.store.get(first.id) is None
    second = group.act(
        "bob", Kind.ANNUL, {"act": bytes(32)}, chain=bytes(16), seq=2, prev=first.id, keep=False
    )
    assert node.take([second], now=later).refused is None
    assert node.store.get(second.id) is None
    again = node.reopened()
    again.take([first, second], now=later)
    assert again.store.get(second.id) is not None


def rotated(group: Group) -> Act:
    """The root is replaced by the recovery key's holder."""
    body = RotateRootBody(
        from_version=1,
        operating=named("new").public.raw,
        threshold=1,
        next=commitment_of([], 1),
        revealed=named("recovery/family").public.raw,
        revealed_threshold=1,
    )
    return group.act(GRC, Kind.ROTATE_ROOT, body, signers=("recovery/family",))


def test_flood_by_the_thief_of_a_root_that_was_replaced_is_bounded_too(group, monkeypatch):
    monkeypatch.setattr(void_acts, "VOID_ACTS_MAX", 3)
    rotation = rotated(group)
    node = fed(group, "dave", [group.elements])
    root = node.members.view.root
    assert root is not None
    assert root.version == 2
    for number in range(6):
        act = group.act(
            GRC, Kind.PROPERTIES, PropertiesBody(friendly=f"p{number}"), chain=number + 1, keep=False
        )
        node.take([act])
    assert node.members.void == 3
    mended = group.act(
        GRC, Kind.PROPERTIES, PropertiesBody(friendly="ours"), signers=("new",), cred=rotation.id, chain=99
    )
    assert node.take([mended]).fresh == [mended]


def test_what_a_removal_keeps_has_room_though_void_acts_have_filled_it(group, monkeypatch):
    monkeypatch.setattr(void_acts, "VOID_ACTS_MAX", 3)
    node = fed(group, "dave", [group.elements])
    kept = [group.act("bob", Kind.ANNUL, {"act": bytes(32)}, chain=5) for _ in range(3)]
    node.take([removal(group, "bob", kept[-1].id)])
    for number in range(6):
        chain = number.to_bytes(16, "big")
        node.take([group.act("bob", Kind.ANNUL, {"act": bytes(32)}, chain=chain, keep=False)])
    assert node.members.void == 3
    for act in (kept[2], kept[1], kept[0]):
        node.take([act])
    assert all(inside(node, act) for act in kept)
    node.reopened()


def test_what_removals_name_has_no_more_than_as_much_room_again(group, monkeypatch):
    monkeypatch.setattr(void_acts, "VOID_ACTS_MAX", 3)
    node = fed(group, "dave", [group.elements])
    node.take([removal(group, "bob")])
    junk = [
        group.act("bob", Kind.ANNUL, {"act": bytes(32)}, chain=number.to_bytes(16, "big"), keep=False)
        for number in range(20)
    ]
    heads = b"".join(act.id for act in junk)
    accomplice = {"key": named("carl").public.raw, "keep": heads}
    node.take([group.act("alice", Kind.REVOKE_CREDENTIAL, accomplice)])
    for act in junk:
        node.take([act])
    assert node.members.void == 6
