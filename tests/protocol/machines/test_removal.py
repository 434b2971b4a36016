"""Removal: who may remove whom, what it keeps, and that it can be taken back."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.authority.acts import Act, decode_untrusted_act
from protocol.authority.bodies import Kind, ResignBody, RevokeBody
from protocol.authority.issuing import CredentialInfo, IssueRequest
from protocol.credentials.names import name_of_key
from protocol.credentials.roles import ADMIN, MEMBER
from protocol.errors import RuleError
from protocol.ids import split_ids
from protocol.machines.events import (
    AddRecord,
    Annul,
    Close,
    Issue,
    Removed,
    Resign,
    Result,
    Revoke,
    Written,
)
from protocol.peer_time import hlc_at
from protocol.records.record import RecordItem, decode_untrusted_header
from protocol.records.reserved import EMPTY_MANIFEST
from protocol.wire.messages import ByeReason
from tests.protocol.machines.playing import Player, in_transaction, only, told
from tests.support.builders import GRC, NOW, Group
from tests.support.keys import named, peer_name
from tests.support.records import new_circle


@pytest.fixture
def group() -> Group:
    """alice created it; bob and erin are administrators under her, carl and dave members."""
    group = Group()
    for text in ("alice -> bob:admin", "alice -> erin:admin", "bob -> carl:member", "alice -> dave:member"):
        group.grant(text)
    group.grant("alice -> iris:inviting")
    group.grant("iris -> judy:member")
    return group


def pid(name: str) -> bytes:
    return named(name).public.pid


def remove(player: Player, name: str, **wish: Any) -> tuple[Act, Removed]:
    """Revoke somebody; the act that was signed, and the answer."""
    outputs = player.tell(Revoke(pid(name), **wish))
    (result,) = only(Result, outputs)
    assert isinstance(result.value, Removed)
    return act_of(player, result.value.act_id), result.value


def act_of(player: Player, act_id: bytes) -> Act:
    return decode_untrusted_act(player.store.get(act_id) or b"")


def is_member(player: Player, name: str) -> bool:
    return player.machine.members.view.current(pid(name), player.now.utc_s) is not None


# --- what it does -----------------------------------------------------------------------------------------


def test_member_is_removed_and_its_link_closes_at_once(group):
    player = Player.of(group, "alice")
    player.meet(1, "carl")
    player.meet(2, "dave")
    outputs = player.tell(Revoke(pid("carl"), reason="left the house"))
    assert Close(1, ByeReason.NOT_A_MEMBER) in [Close(one.link, one.reason) for one in only(Close, outputs)]
    assert player.neighbors() == [2]
    assert not is_member(player, "carl")
    assert "credential-revoked" in told(outputs)


def test_act_names_the_last_act_of_each_chain_so_that_nothing_honest_is_lost(group):
    player = Player.of(group, "alice")
    act, answer = remove(player, "bob")
    assert isinstance(act.body, RevokeBody)
    view = player.machine.members.view
    assert split_ids(act.body.keep) == view.heads_of(pid("bob"))
    assert len(split_ids(act.body.keep)) == 1
    assert is_member(player, "carl")  # bob admitted carl before
    assert len(answer.changed) == 1


def test_what_the_removed_signs_afterwards_counts_nowhere(group):
    player = Player.of(group, "alice")
    granted = group.grant("bob -> zoe:member")
    remove(player, "bob")
    in_transaction(player.store, lambda store: player.machine.members.take(granted.elements, 1, NOW, store))
    assert not is_member(player, "zoe")


def test_removal_by_key_is_for_ever(group):
    player = Player.of(group, "alice")
    act, _ = remove(player, "carl", for_ever=True)
    assert act.kind == Kind.REVOKE_KEY
    again = Player.of(group, "alice", [*group.elements, act])
    assert not is_member(again, "carl")


def test_root_removes_whom_the_administrator_cannot(group):
    player = Player.of(group, "bob")
    with pytest.raises(RuleError) as refused:
        player.tell(Revoke(pid("erin")))
    assert (refused.value.code, bool(refused.value.hint)) == ("not-authorized", True)
    act, _ = remove(player, "erin", root=group.key(GRC))
    assert act.place.level == 0
    assert not is_member(player, "erin")


def test_inviting_member_removes_whom_it_admitted_and_nobody_else(group):
    player = Player.of(group, "iris")
    remove(player, "judy")
    assert not is_member(player, "judy")
    with pytest.raises(RuleError) as refused:
        player.tell(Revoke(pid("dave")))
    assert refused.value.code == "not-authorized"


REFUSALS: list[tuple[str, str, str]] = [
    ("carl", "dave", "not-authorized"),  # a member
    ("bob", "erin", "not-authorized"),  # an equal
    ("bob", "alice", "not-authorized"),  # a senior
    ("alice", "alice", "invalid-argument"),  # oneself
    ("alice", "nobody", "identity-not-found"),
]


@pytest.mark.parametrize("who, whom, slug", REFUSALS)
def test_refusal_changes_nothing_and_says_what_to_do(who, whom, slug, group):
    player = Player.of(group, who)
    before = player.machine.synchronize.summary()
    with pytest.raises(RuleError) as refused:
        player.tell(Revoke(pid(whom)))
    assert refused.value.code == slug
    assert refused.value.hint
    assert player.machine.synchronize.summary() == before


def test_what_is_removed_already_is_not_removed_again_but_may_be_banned(group):
    player = Player.of(group, "alice")
    remove(player, "carl")
    with pytest.raises(RuleError) as refused:
        player.tell(Revoke(pid("carl")))
    assert refused.value.code == "already-exists"
    assert remove(player, "carl", for_ever=True)[0].kind == Kind.REVOKE_KEY


def test_removal_is_in_force_again_after_a_restart(group):
    player = Player.of(group, "alice")
    remove(player, "carl")
    again = player.again()
    assert not is_member(again, "carl")


# --- records ----------------------------------------------------------------------------------------------


def test_records_of_the_removed_that_are_here_stay_and_later_ones_do_not(group):
    carl, alice = Player.of(group, "carl"), Player.of(group, "alice")
    first = written(carl, AddRecord("note", (), b"kept"))
    give(carl, alice, first)
    act, _ = remove(alice, "carl")
    assert isinstance(act.body, RevokeBody)
    assert act.body.manifest is not None
    assert alice.store.shown(first.record_id) == first.version_id
    second = written(carl, AddRecord("note", (), b"too late"))
    give(carl, alice, second)
    assert alice.store.shown(second.record_id) is None


def test_records_can_be_dropped_with_their_writer(group):
    carl, alice = Player.of(group, "carl"), Player.of(group, "alice")
    first = written(carl, AddRecord("note", (), b"gone"))
    give(carl, alice, first)
    act, _ = remove(alice, "carl", data="drop")
    assert isinstance(act.body, RevokeBody)
    assert (act.body.data, act.body.manifest) == ("drop", None)
    assert alice.store.shown(first.record_id) is None
    assert "record-deleted" in [kind for kind, _ in alice.events()]


def test_member_without_records_needs_no_list(group):
    act, _ = remove(Player.of(group, "alice"), "dave")
    assert isinstance(act.body, RevokeBody)
    assert act.body.manifest == EMPTY_MANIFEST


def written(player: Player, wish: AddRecord) -> Written:
    (result,) = only(Result, player.tell(wish))
    assert isinstance(result.value, Written)
    return result.value


def give(writer: Player, reader: Player, what: Written) -> None:
    """Let a version arrive at another node."""
    header = decode_untrusted_header(writer.store.header(what.version_id) or b"")
    body = writer.store.body(header.body_hash or b"")
    item = RecordItem(header, body)
    in_transaction(reader.store, lambda store: reader.machine.data.take([item], reader.now, store))


# --- resigning and annulling --------------------------------------------------------------------------------


def test_who_resigns_is_no_member_any_more_and_what_it_granted_stays(group):
    player = Player.of(group, "bob")
    (result,) = only(Result, player.tell(Resign("enough")))
    assert isinstance(result.value, Removed)
    assert isinstance(act_of(player, result.value.act_id).body, ResignBody)
    assert not is_member(player, "bob")
    assert is_member(player, "carl")
    assert "credential-removed" in [kind for kind, _ in player.events()]
    with pytest.raises(RuleError) as refused:
        player.tell(Resign())
    assert refused.value.code == "not-authorized"


def test_annulled_removal_gives_back_what_it_took(group):
    bob = Player.of(group, "bob")
    act, _ = remove(bob, "carl")
    alice = Player.of(group, "alice", [*group.elements, act])
    assert not is_member(alice, "carl")
    outputs = alice.tell(Annul(act.id))
    assert is_member(alice, "carl")
    assert "credential-restored" in told(outputs)


def test_act_of_an_equal_is_not_annulled(group):
    bob = Player.of(group, "bob")
    act, _ = remove(bob, "carl")
    erin = Player.of(group, "erin", [*group.elements, act])
    for wish in (Annul(act.id), Annul(bytes(32))):
        with pytest.raises(RuleError) as refused:
            erin.tell(wish)
        assert refused.value.hint


def test_own_act_is_not_annulled_and_it_is_said_what_to_do_instead(group):
    bob = Player.of(group, "bob")
    act, _ = remove(bob, "carl")
    with pytest.raises(RuleError, match="signed the act itself") as refused:
        bob.tell(Annul(act.id))
    assert "peerd credential issue GROUP NAME" in refused.value.hint


@pytest.mark.parametrize(
    ("by", "whom", "why", "hint"),
    [
        ("bob", "erin", "equals cannot remove each other", "an administrator of a smaller level can"),
        ("bob", "alice", "it is the more senior one", f"{peer_name('alice')} --as-root"),
    ],
)
def test_who_is_too_senior_is_said_with_who_can(group, by, whom, why, hint):
    with pytest.raises(RuleError, match=why) as refused:
        Player.of(group, by).tell(Revoke(pid(whom)))
    assert hint in refused.value.hint


def test_removal_since_an_act_takes_back_what_arrived_after_it_however_it_is_dated(group):
    """A stolen key: 500 removals, and credentials for friends; one act undoes them, and no date matters."""
    first = group.grant("bob -> mo:member")
    player = Player.of(group, "alice")
    back_dated = hlc_at(NOW.utc_ms)
    stolen = [
        group.act("bob", Kind.REVOKE_KEY, {"key": named(name).public.raw}, chain=9, hlc=back_dated + at)
        for at, name in enumerate(("carl", "mo"))
    ]
    friend = group.grant("bob -> zoe:member")
    intake = in_transaction(
        player.store, lambda store: player.machine.members.take([*stolen, *friend.elements], 1, NOW, store)
    )
    assert [is_member(player, name) for name in ("carl", "mo", "zoe")] == [False, False, True]
    assert intake.fresh
    for wrong in (first.act.id[::-1], group.creator.act.id):
        with pytest.raises(RuleError, match="none that this key has signed"):
            player.tell(Revoke(pid("bob"), since=wrong))
    player.tell(Revoke(pid("bob"), for_ever=True, since=stolen[0].id))
    assert [is_member(player, name) for name in ("bob", "carl", "mo", "zoe")] == [False, True, True, False]
    assert is_member(player.again(), "mo")


def test_cut_can_be_moved_back_after_the_removal(group):
    player = Player.of(group, "alice")
    late = group.grant("bob -> zoe:member")
    in_transaction(player.store, lambda store: player.machine.members.take(late.elements, 1, NOW, store))
    player.tell(Revoke(pid("bob")))
    assert is_member(player, "zoe")
    with pytest.raises(RuleError, match="revoked already"):
        player.tell(Revoke(pid("bob")))
    player.tell(Revoke(pid("bob"), since=late.act.id))
    assert not is_member(player, "zoe")
    assert is_member(player, "carl")


def test_circle_of_the_record_tests_can_be_removed_too():
    player = Player.of(new_circle(), "alice")
    assert isinstance(only(Result, player.tell(Revoke(pid("dave"))))[0].value, Removed)


def test_issuing_to_somebody_else_goes_on_after_a_removal(group):
    player = Player.of(group, "alice")
    remove(player, "carl")
    key = named("zoe").public
    request = IssueRequest(name_of_key(key, "zoe"), key, CredentialInfo(role=MEMBER), store=True)
    assert only(Result, player.tell(Issue((request,))))
    assert is_member(player, "zoe")


# --- giving anew ------------------------------------------------------------------------------------------


def request(name: str, role: int = MEMBER, **wish: Any) -> IssueRequest:
    key = named(name).public
    return IssueRequest(name_of_key(key, name), key, CredentialInfo(role=role), store=True, **wish)


def test_removed_member_comes_back_by_a_new_credential_that_names_its_removal(group):
    player = Player.of(group, "alice")
    act, _ = remove(player, "carl")
    player.tell(Issue((request("carl"),)))
    current = player.machine.members.view.current(pid("carl"), player.now.utc_s)
    assert current is not None
    granted = act_of(player, current.act_id).body
    assert getattr(granted, "despite", b"") == act.id
    assert is_member(player.again(), "carl")


def test_junior_brings_nobody_back_whom_a_senior_removed(group):
    alice = Player.of(group, "alice")
    act, _ = remove(alice, "carl")
    bob = Player.of(group, "bob", [*group.elements, act])
    with pytest.raises(RuleError) as refused:
        bob.tell(Issue((request("carl"),)))
    assert (refused.value.code, bool(refused.value.hint)) == ("not-authorized", True)


def test_banned_key_never_comes_back(group):
    player = Player.of(group, "alice")
    remove(player, "carl", for_ever=True)
    with pytest.raises(RuleError) as refused:
        player.tell(Issue((request("carl"),)))
    assert "for ever" in refused.value.detail


def test_administrator_is_demoted_in_one_call(group):
    player = Player.of(group, "alice")
    with pytest.raises(RuleError) as refused:
        player.tell(Issue((request("bob"),)))
    assert refused.value.code == "needs-revocation"
    outputs = player.tell(Issue((request("bob", replace=True),)))
    current = player.machine.members.view.current(pid("bob"), player.now.utc_s)
    assert current is not None
    assert current.roles == (MEMBER,)
    assert is_member(player, "carl")  # whom bob admitted while he could
    assert "credential-revoked" in told(outputs)
    assert is_member(player.again(), "bob")


def test_equal_is_not_demoted(group):
    player = Player.of(group, "bob")
    before = player.machine.synchronize.summary()
    with pytest.raises(RuleError) as refused:
        player.tell(Issue((request("erin", replace=True),)))
    assert refused.value.code == "not-authorized"
    assert player.machine.synchronize.summary() == before


def test_renewal_of_who_was_demoted_stands_despite_of_the_demotion(group):
    player = Player.of(group, "alice")
    player.tell(Issue((request("bob", replace=True),)))
    player.at(5, Issue((IssueRequest(name_of_key(named("bob").public, "bob"), store=True),)))
    assert is_member(player, "bob")
    assert len(player.machine.members.view.live_grants(pid("bob"))) == 2


# --- adopting ---------------------------------------------------------------------------------------------


def cut_short(group: Group) -> tuple[Player, bytes]:
    """Somebody removed bob without having heard of carl; the grant to carl, void since."""
    player = Player.of(group, "alice")
    group.act("alice", Kind.REVOKE_CREDENTIAL, {"key": named("bob").public.raw})
    player = Player.of(group, "alice")
    (grant,) = player.machine.members.view.grants_ever(pid("carl"))
    assert not is_member(player, "carl")
    return player, grant.act_id


def adoption(name: str, grant_id: bytes, **wish: Any) -> IssueRequest:
    return IssueRequest(name_of_key(named(name).public, name), store=True, adopt=grant_id, **wish)


def test_innocent_is_adopted_with_all_that_it_signed(group):
    player, grant_id = cut_short(group)
    player.tell(Issue((adoption("carl", grant_id),)))
    assert is_member(player, "carl")
    assert player.machine.members.view.data_hits(grant_id) == ()
    assert is_member(player.again(), "carl")


def test_records_of_the_adopted_count_again(group):
    carl = Player.of(group, "carl")
    first = written(carl, AddRecord("note", (), b"still here"))
    player, grant_id = cut_short(group)
    give(carl, player, first)
    assert player.store.shown(first.record_id) is None
    player.tell(Issue((adoption("carl", grant_id),)))
    assert player.store.shown(first.record_id) == first.version_id


def test_what_counts_or_is_not_there_or_is_another_s_is_not_adopted(group):
    player, grant_id = cut_short(group)
    (daves,) = player.machine.members.view.grants_ever(pid("dave"))
    wishes = [adoption("dave", daves.act_id), adoption("carl", bytes(32)), adoption("dave", grant_id)]
    for wish in (*wishes, adoption("carl", grant_id, info=CredentialInfo(role=ADMIN))):
        with pytest.raises(RuleError) as refused:
            player.tell(Issue((wish,)))
        assert refused.value.hint
