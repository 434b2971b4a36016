"""Custody: the root is replaced, and what keys elsewhere have signed is brought back, through the machine."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from protocol.authority.acts import Act
from protocol.authority.bodies import GrantBody
from protocol.authority.bundle import decode_untrusted_bundle
from protocol.authority.elements import Element
from protocol.authority.issuing import CredentialInfo, IssueRequest
from protocol.authority.root_acts import AnnulWish, PropertiesWish, RevokeWish, RootWish, RotateWish
from protocol.credentials.keys import PrivateKey
from protocol.credentials.roles import ADMIN
from protocol.errors import RuleError
from protocol.limits import RIVALS_TOLD_MAX
from protocol.machines.events import (
    Close,
    ImportRootActs,
    Input,
    Issue,
    Notice,
    Output,
    Result,
    Revoke,
    RootActsImported,
    Rotated,
    RotateRoot,
    SetProperties,
)
from protocol.peer_time import Moment, hlc_at
from protocol.wire.messages import ByeReason, News
from tests.protocol.authority.rooting import (
    drafted,
    grant_wish,
    invited,
    recovery,
    rotate_wish,
    signed,
)
from tests.protocol.machines.playing import Player, only, said, told
from tests.support.builders import GRC, NOW, Group, after
from tests.support.keys import named, peer_name

RECOVERY = "recovery/family"
LATER_S = 3600


@pytest.fixture
def group() -> Group:
    """alice created it; zoe was admitted by the root on a chain of her own, bob and carl by alice."""
    group = Group()
    group.grant("grc -> zoe:admin", chain=1)
    group.grant("alice -> bob:admin")
    group.grant("alice -> carl:member")
    return group


def player_of(group: Group, name: str = "alice") -> Player:
    player = Player.of(group, name)
    player.now = after(LATER_S)
    return player


def answer(outputs: list[Output]) -> Any:
    (result,) = only(Result, outputs)
    return result.value


def keys(group: Group, *names: str) -> tuple[PrivateKey, ...]:
    return tuple(group.key(name) for name in names)


def rotate(player: Player, group: Group, wish: RotateWish, *names: str) -> tuple[list[Output], Rotated]:
    outputs = player.tell(RotateRoot(wish, keys(group, *(names or (RECOVERY,)))))
    rotated = answer(outputs)
    assert isinstance(rotated, Rotated)
    return outputs, rotated


def refusal(player: Player, command: Input) -> str:
    with pytest.raises(RuleError) as caught:
        player.tell(command)
    assert caught.value.hint
    return caught.value.code


def is_member(player: Player, name: str) -> bool:
    return player.machine.members.view.current(named(name).public.pid, player.now.utc_s) is not None


def facts(outputs: list[Output], kind: str) -> list[dict[str, Any]]:
    return [dict(one.facts) for one in only(Notice, outputs) if one.kind == kind]


# --- rotating -----------------------------------------------------------------------------------------------


def test_rotation_is_taken_in_told_and_passed_on(group):
    player = player_of(group)
    player.meet(1, "bob")
    outputs, rotated = rotate(player, group, rotate_wish(group, "ruth"))
    assert (rotated.version, rotated.fallen) == (2, ())
    assert player.machine.members.view.rotations == (group.genesis.id, rotated.rotation)
    assert facts(outputs, "root-rotated") == [{"version": 2, "rotation": rotated.rotation.hex()}]
    assert [len(one.elements) for one in said(outputs, 1) if isinstance(one, News)] == [1]
    assert all(is_member(player, name) for name in ("alice", "zoe", "bob", "carl"))
    assert player.again().machine.members.view.rotations == player.machine.members.view.rotations


def test_who_was_cut_falls_with_all_that_rests_on_it_and_loses_its_link(group):
    theft = group.grant("grc -> thief:admin", chain=2)
    pal = group.grant("thief -> pal:member")
    player = player_of(group)
    for link, name in enumerate(("bob", "thief", "zoe"), start=1):
        player.meet(link, name)
    outputs, rotated = rotate(player, group, rotate_wish(group, "ruth", without=(theft.act.id,)))
    assert {*rotated.fallen} == {theft.act.id, pal.act.id}
    assert [(one.link, one.reason) for one in only(Close, outputs)] == [(2, ByeReason.NOT_A_MEMBER)]
    assert [is_member(player, name) for name in ("zoe", "bob", "thief", "pal")] == [True, True, False, False]
    assert told(outputs).count("credential-voided") == 2


def test_rotation_without_the_keys_it_takes_is_refused_and_changes_nothing(group):
    player = player_of(group)
    wish = rotate_wish(group, "ruth")
    for names in ((GRC,), ("eve",), (RECOVERY, "eve")):
        assert refusal(player, RotateRoot(wish, keys(group, *names))) == "no-key-access"
    assert player.machine.members.view.rotations == (group.genesis.id,)


def test_new_root_issues_and_the_old_one_does_no_more(group):
    player = player_of(group)
    rotate(player, group, rotate_wish(group, "ruth"))
    info = CredentialInfo(role=ADMIN)
    request = IssueRequest(
        peer_name("nina"), named("nina").public, info, store=True, invitation=True, as_root=True
    )
    (issued,) = answer(player.tell(Issue((request,), named("ruth"))))
    bundle = decode_untrusted_bundle(issued.bundle, authority=group.authority)
    assert bundle.chain[0].key == named("ruth").public
    assert bundle.proved
    assert is_member(player, "nina")
    old = group.key(GRC)
    assert refusal(
        player, Issue((replace(request, subject=peer_name("nick"), key=named("nick").public),), old)
    ) == ("no-key-access")
    assert refusal(player, SetProperties({"comment": "x"}, old)) == "no-key-access"
    zoe = named("zoe").public.pid
    assert refusal(player, Revoke(zoe, as_root=True, root=old)) == "no-key-access"
    assert answer(player.tell(Revoke(zoe, as_root=True, root=named("ruth"))))


def test_root_of_several_keys_signs_by_drafts(group):
    player = player_of(group)
    rotate(player, group, rotate_wish(group, "ruth", "rolf", threshold=2))
    request = IssueRequest(peer_name("bob"), store=True, as_root=True)
    ruth = named("ruth")
    assert refusal(player, Issue((request,), ruth)) == "signature-missing"
    assert refusal(player, SetProperties({"comment": "x"}, ruth)) == "signature-missing"
    assert refusal(player, Revoke(named("zoe").public.pid, as_root=True, root=ruth)) == "signature-missing"
    group.view = player.machine.members.view
    elements = brought(group, grant_wish("nina"))
    assert answer(player.tell(ImportRootActs(elements))).fresh
    assert is_member(player, "nina")


# --- bringing back ------------------------------------------------------------------------------------------


def brought(
    group: Group, wish: RootWish, names: tuple[str, ...] = (), seconds: float = LATER_S
) -> tuple[Element, ...]:
    """A draft that has been signed elsewhere."""
    return signed(group, drafted(group, wish, names, after(seconds))).elements()


def test_each_kind_of_root_act_is_taken_in_once(group):
    invite = invited(group)
    wishes: list[RootWish] = [
        grant_wish("nina"),
        RevokeWish(named("carl").public.pid),
        RevokeWish(named("bob").public.pid, for_ever=True),
        AnnulWish(invite.id),
        PropertiesWish({"comment": "ours"}),
        rotate_wish(group, "ruth"),
    ]
    parts = [brought(group, wish) for wish in wishes]
    player = player_of(group)
    player.meet(1, "zoe")
    for at, elements in enumerate(parts):
        if at == 5:
            members = [is_member(player, name) for name in ("nina", "carl", "bob")]
            assert members == [True, False, False]
            assert player.machine.members.view.properties.comment == "ours"
        first = player.tell(ImportRootActs(elements))
        assert answer(first).fresh
        assert answer(first).act_ids == (elements[0].id,)
        assert answer(first).rotated == (2 if at == 5 else None)
        assert said(first, 1)
        again = player.tell(ImportRootActs(elements))
        assert answer(again) == RootActsImported((elements[0].id,), False, (), 2 if at == 5 else None)
        assert said(again) == []
        assert told(again) == []


def test_prepared_rotation_keeps_what_was_known_when_it_was_prepared(group):
    elements = brought(group, rotate_wish(group, "ruth"))
    late = brought(group, grant_wish("nina"))
    player = player_of(group)
    player.tell(ImportRootActs(late))
    changed = answer(player.tell(ImportRootActs(elements))).changed
    assert changed == (late[0].id,)
    assert not is_member(player, "nina")


def test_draft_from_before_a_rotation_is_refused_after_it(group):
    parts = [
        brought(group, wish) for wish in (grant_wish("nina"), PropertiesWish({}), rotate_wish(group, "rolf"))
    ]
    player = player_of(group)
    rotate(player, group, rotate_wish(group, "ruth"), RECOVERY, GRC)
    for elements in parts:
        assert refusal(player, ImportRootActs(elements)) == "root-changed"
    assert not is_member(player, "nina")


def test_what_would_have_no_effect_is_refused(group):
    player = player_of(group)
    late = brought(group, grant_wish("carl", role=ADMIN, info=CredentialInfo(role=ADMIN, valid_s=60)))
    old = brought(group, PropertiesWish({"comment": "old"}))
    back = brought(group, grant_wish("bob", role=ADMIN))
    player.now = after(LATER_S + 120)
    player.tell(SetProperties({"comment": "new"}, group.key(GRC)))
    player.tell(Revoke(named("bob").public.pid, root=group.key(GRC), as_root=True))
    for elements in (old, back, late):
        assert refusal(player, ImportRootActs(elements)) == "no-effect"
    assert player.machine.members.view.properties.comment == "new"


def test_credential_has_ended_with_its_last_second(group):
    elements = brought(group, grant_wish("carl", role=ADMIN, info=CredentialInfo(role=ADMIN, valid_s=60)))
    (end_s,) = (one.body.end for one in elements if isinstance(one, Act) and isinstance(one.body, GrantBody))
    player = player_of(group)
    player.now = Moment(player.now.mono_ms, end_s * 1000)
    assert refusal(player, ImportRootActs(elements)) == "no-effect"
    player.now = Moment(player.now.mono_ms, (end_s - 1) * 1000)
    answer(player.tell(ImportRootActs(elements)))


def test_what_is_not_of_this_group_or_cannot_be_judged_is_refused(group):
    player, strange = player_of(group), Group("friends")
    assert refusal(player, ImportRootActs(brought(strange, PropertiesWish({})))) == "wrong-group"
    behind = Player.of(group, "alice", [])
    assert refusal(behind, ImportRootActs(brought(group, PropertiesWish({})))) == "group-not-ready"
    invite = invited(group)
    assert refusal(player, ImportRootActs((invite,))) == "draft-not-acceptable"
    ahead = brought(group, PropertiesWish({}), seconds=LATER_S + 3600)
    assert refusal(player, ImportRootActs(ahead)) == "clock-not-trusted"


def test_draft_under_a_rotation_that_has_not_arrived_waits_for_it(group):
    player = player_of(group)
    group.rotate("ruth")
    assert refusal(player, ImportRootActs(brought(group, PropertiesWish({})))) == "group-not-ready"


def test_act_that_no_node_would_take_is_refused(group):
    act = group.act(GRC, 2, {}, signers=("eve",), chain=9, keep=False)
    assert refusal(player_of(group), ImportRootActs((act,))) == "draft-not-acceptable"


# --- rivals -------------------------------------------------------------------------------------------------


def rivals(group: Group, count: int) -> list[Act]:
    """Rotations out of one version by the same recovery key, the one that counts first."""
    acts = [act for at in range(count) for act in [group.rotate(f"op{at}", under=group.genesis.id)]]
    return sorted(acts, key=lambda act: act.id)


def test_rival_rotation_is_told_once_whichever_comes_first(group):
    best, other = rivals(group, 2)
    for order in ((best, other), (other, best)):
        player = Player.of(group, "alice", [one for one in group.elements if one not in (best, other)])
        player.now = after(LATER_S)
        player.meet(1, "bob")
        outputs = [player.hear(1, News((act.raw,))) for act in order]
        expected = {"version": 2, "rotation": other.id.hex(), "counts": best.id.hex()}
        assert [facts(one, "root-rival") for one in outputs] == [[], [expected]]
        rotated = [[one["rotation"] for one in facts(each, "root-rotated")] for each in outputs]
        assert rotated == ([[best.id.hex()], []] if order[0] is best else [[other.id.hex()], [best.id.hex()]])
        again = player.again()
        again.meet(1, "bob")
        news = News((group.act("alice", 129, {"role": 3, "not_after": 1}, keep=False).raw,))
        heard = again.hear(1, news)
        assert facts(heard, "root-rival") == facts(heard, "root-rotated") == []


def test_rotation_out_of_a_rival_that_lost_is_refused(group):
    _, other = rivals(group, 2)
    player = player_of(group)
    late = group.rotate("late", under=other.id)
    assert refusal(player, ImportRootActs((late,))) == "root-changed"


def test_rivals_are_told_of_up_to_a_number(group):
    acts = rivals(group, RIVALS_TOLD_MAX + 5)
    player = Player.of(group, "alice", [one for one in group.elements if one not in acts])
    player.now = after(LATER_S)
    player.meet(1, "bob")
    heard = player.hear(1, *(News((act.raw,)) for act in acts))
    assert len(facts(heard, "root-rival")) == RIVALS_TOLD_MAX


def test_second_rotation_by_the_next_recovery_key_ends_what_a_thief_of_the_root_did(group):
    player = player_of(group)
    rotate(player, group, rotate_wish(group, "ruth"))
    info = CredentialInfo(role=ADMIN)
    request = IssueRequest(peer_name("thief"), named("thief").public, info, store=True, as_root=True)
    (theft,) = answer(player.tell(Issue((request,), named("ruth"))))
    wish = rotate_wish(
        group,
        "rolf",
        revealed=recovery("next recovery"),
        recovery=recovery("third recovery"),
        without=(theft.grant_id,),
    )
    _, rotated = rotate(player, group, wish, "next recovery")
    assert (rotated.version, rotated.fallen) == (3, (theft.grant_id,))
    assert not is_member(player, "thief")
    assert is_member(player, "alice")


def test_hlc_of_a_prepared_act_is_that_of_its_preparation(group):
    (act,) = brought(group, RevokeWish(named("carl").public.pid))
    assert isinstance(act, Act)
    assert act.place.hlc == hlc_at(after(LATER_S, NOW).utc_ms)
