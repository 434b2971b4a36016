"""What the root is asked for: checked against the group, before any key signs."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings, strategies as st

from protocol.authority.acts import Act
from protocol.authority.bodies import Kind, PropertiesBody
from protocol.authority.bundle import decode_untrusted_bundle, make_bundle, stands
from protocol.authority.root_acts import AnnulWish, PropertiesWish, RecoverySet, RevokeWish, RotateWish
from protocol.authority.root_drafts import sign_draft
from protocol.authority.view import View
from protocol.authority.what_if import Kept, read_view, what_if
from protocol.credentials.keys import all_hold
from protocol.errors import RuleError
from protocol.limits import HLC_AHEAD_MS_MAX
from protocol.peer_time import Moment
from tests.protocol.authority.rooting import (
    LATER,
    document,
    drafted,
    grant_wish,
    invited,
    recovery,
    refusal,
    rotate_wish,
    signed,
)
from tests.support.builders import GRC, NOW, Group, after
from tests.support.keys import named


@pytest.fixture
def group():
    return Group()


def take_in(group: Group, wish: object, signers: tuple[str, ...] = (), now: Moment = LATER, **known) -> Act:
    """Prepare, sign, and put into the group."""
    draft = drafted(group, wish, signers, now)  # type: ignore[arg-type]
    draft = signed(group, draft, known.get("names", ()))
    for element in draft.elements():
        group._keep(element)
    return draft.act


# --- who signs ----------------------------------------------------------------------------------------------


def test_first_keys_that_suffice_sign_unless_others_are_named(group):
    group.rotate("ruth", "rolf", "rosa", threshold=2)
    pids = sorted(named(name).public.pid for name in ("ruth", "rolf", "rosa"))
    assert [key.pid for key in drafted(group, PropertiesWish({})).signers] == pids[:2]
    named_ones = drafted(group, PropertiesWish({}), ("ruth", "rosa"))
    assert {key.pid for key in named_ones.signers} == {named(name).public.pid for name in ("ruth", "rosa")}


@pytest.mark.parametrize("wish", [PropertiesWish({}), grant_wish(), AnnulWish(b"")])
def test_too_few_keys_and_strange_ones_are_refused(group, wish):
    wish = AnnulWish(invited(group).id) if isinstance(wish, AnnulWish) else wish
    group.rotate("ruth", "rolf", "rosa", threshold=2)
    assert refusal(group, wish, "ruth") == "no-key-access"
    assert refusal(group, wish, "ruth", "eve") == "no-key-access"
    assert refusal(group, wish, "ruth", GRC) == "no-key-access"


def test_grant_needs_a_key_that_has_a_root_certificate(group):
    group.rotate("ruth", body={"certificates": []})
    assert refusal(group, grant_wish()) == "no-key-access"
    assert drafted(group, PropertiesWish({})).signers


def test_nothing_is_prepared_before_the_group_has_arrived_or_by_a_clock_that_lags(group):
    with pytest.raises(RuleError) as caught:
        drafted_in(View(group.gid), group)
    assert caught.value.code == "group-not-ready"
    behind = after(-HLC_AHEAD_MS_MAX / 1000 - 10, NOW)
    assert refusal(group, PropertiesWish({}), now=behind) == "clock-not-trusted"
    assert drafted(group, PropertiesWish({}), now=behind, trust_clock=True).signers


def drafted_in(view: View, group: Group):
    other = Group()
    other.view = view
    return drafted(other, PropertiesWish({}))


# --- what is wanted -----------------------------------------------------------------------------------------


def test_grant_by_the_root_follows_the_rules_of_issuing(group):
    act = take_in(group, grant_wish("zoe"))
    grant = group.view.live_grants(named("zoe").public.pid)[0]
    assert (grant.act_id, grant.author_level, grant.stored) == (act.id, 0, True)
    assert group.view.current(named("zoe").public.pid, LATER.utc_s) == grant
    assert refusal(group, grant_wish(GRC + "/family")) == "circular-chain"
    assert refusal(group, grant_wish(replace=True)) == "invalid-argument"
    assert refusal(group, grant_wish(store=False, invitation=True)) == "invalid-argument"


def test_removal_by_the_root_keeps_what_its_target_signed(group):
    mo = group.grant("grc -> alice:admin -> mo:member")
    alice = named("alice").public.pid
    take_in(group, RevokeWish(alice))
    assert not group.view.live_grants(alice)
    assert group.view.is_live(mo.act.id)
    assert refusal(group, RevokeWish(alice)) == "already-exists"
    assert refusal(group, RevokeWish(named("eve").public.pid)) == "identity-not-found"
    assert refusal(group, RevokeWish(alice, for_ever=True, data="manifest")) == "invalid-argument"
    assert refusal(group, RevokeWish(alice, for_ever=True, manifest=bytes(32))) == "invalid-argument"
    take_in(group, RevokeWish(alice, for_ever=True, data="manifest", manifest=bytes(32)))


def test_who_was_brought_back_can_be_removed_again(group):
    mo = group.grant("grc -> alice:admin -> mo:member")
    cut = take_in(group, RevokeWish(mo.grant.pid))
    group.grant("grc -> mo:member", chain=3, body={"despite": cut.id})
    assert group.view.hits_of(mo.act.id) == (cut.id,)
    take_in(group, RevokeWish(mo.grant.pid), now=after(60, LATER))
    assert not group.view.live_grants(mo.grant.pid)


def test_removal_names_no_more_chains_than_it_can(group, monkeypatch):
    for chain in (1, 2):
        group.act("alice", Kind.INVITE, {"role": 3, "not_after": 1}, chain=chain)
    wish = RevokeWish(named("alice").public.pid)
    monkeypatch.setattr("protocol.authority.root_acts.KEEP_IDS_MAX", 1)
    assert refusal(group, wish) == "invalid-argument"
    monkeypatch.setattr("protocol.authority.root_acts.KEEP_IDS_MAX", 2)
    assert drafted(group, wish).signers


def test_annulment_by_the_root_is_of_what_others_signed(group):
    invite = invited(group)
    take_in(group, AnnulWish(invite.id))
    assert not group.view.is_effective(invite.id)
    assert refusal(group, AnnulWish(bytes(32))) == "invalid-argument"
    assert refusal(group, AnnulWish(group.creator.act.id)) == "not-authorized"


def test_properties_count_from_the_last_ones_on(group):
    take_in(group, PropertiesWish({"comment": "ours"}), now=NOW)
    assert (group.view.properties.comment, group.view.properties.friendly) == ("ours", "Family")
    assert refusal(group, PropertiesWish({"colour": 1})) == "invalid-properties"


# --- rotations ----------------------------------------------------------------------------------------------


def test_rotation_puts_other_keys_in_place_and_keeps_all(group):
    granted = group.grant("grc -> zoe:admin -> mo:member", chain=3)
    rotation = take_in(group, rotate_wish(group, "ruth", "rolf", threshold=2))
    root = group.view.root
    assert root is not None
    assert (root.version, root.rotation, root.threshold) == (2, rotation.id, 2)
    assert {*root.operating} == {named(name).public.pid for name in ("ruth", "rolf")}
    assert root.commitment == recovery("next recovery").commitment
    assert all(root.certifies(pid) for pid in root.operating)
    for grant in (granted.grant, group.creator.grant):
        assert group.view.is_live(grant.act_id)
        raw = make_bundle(group.view, grant, group.raw_of)
        assert raw is not None
        assert stands(View(group.gid), decode_untrusted_bundle(raw, authority=group.gid))


def test_rotation_leaves_out_what_a_thief_signed_and_what_follows_it(group):
    before = group.grant("grc -> zoe:admin", chain=1)
    theft = group.grant("grc -> thief:admin", chain=1)
    after_it = group.grant("grc -> crook:admin", chain=1)
    elsewhere = group.grant("grc -> yves:admin", chain=2)
    take_in(group, rotate_wish(group, "ruth", without=(theft.act.id,)))
    live = [group.view.is_live(one.act.id) for one in (before, theft, after_it, elsewhere, group.creator)]
    assert live == [True, False, False, True, True]


def test_rotation_keeps_until_a_second(group):
    acts = [group.grant(f"grc -> n{at}:admin", chain=at % 2 + 1) for at in range(6)]
    until = acts[2].act.hlc_s
    take_in(group, rotate_wish(group, "ruth", keep_until=until))
    assert [group.view.is_live(one.act.id) for one in acts] == [one.act.hlc_s <= until for one in acts]


def test_what_a_rotation_would_take_down_is_told_before(group):
    theft = group.grant("grc -> thief:admin -> pal:member", chain=1)
    (first,) = (one for one in group.granted.values() if one.grant.pid == named("thief").public.pid)
    kept = [
        Kept(one.raw, admitted, group.view.der_of(one.id))
        for one in group.elements
        if (admitted := group.view.admitted(one.id)) is not None
    ]
    draft = drafted(group, rotate_wish(group, "ruth", without=(first.act.id,)))
    fall = what_if(read_view(group.gid, kept), draft.act, LATER.utc_s)
    assert {grant.act_id for grant in fall.grants} == {first.act.id, theft.act.id}
    assert {*fall.lost} == {named("thief").public.pid, named("pal").public.pid}
    assert group.view.is_live(theft.act.id), "nothing has happened yet"


@pytest.mark.parametrize(
    "changed",
    [
        {"threshold": 2},
        {"threshold": 0},
        {"documents": ()},
        {"recovery": recovery("recovery/family", "x")},
        {"recovery": recovery("ruth")},
        {"without": (bytes(32),)},
    ],
)
def test_rotation_that_makes_no_sense_is_refused(group, changed):
    assert refusal(group, rotate_wish(group, "ruth", **changed)) == "invalid-argument"


def test_rotation_to_keys_that_may_not_be_is_refused(group):
    assert refusal(group, rotate_wish(group, "ruth", "ruth")) == "invalid-argument"
    assert refusal(group, rotate_wish(group, "recovery/family")) == "invalid-argument"
    assert refusal(group, rotate_wish(group, GRC + "/family")) == "invalid-argument"
    strange = rotate_wish(group, documents=(document(Group("friends"), "ruth"),))
    assert refusal(group, strange) == "invalid-argument"
    genesis = rotate_wish(group, "ruth", without=(group.genesis.id,))
    assert refusal(group, genesis) == "invalid-argument"


def test_recovery_set_is_of_different_keys_and_a_number_of_them():
    keys = [named(name).public for name in ("a", "b")]
    assert RecoverySet.of(keys) == RecoverySet.of(keys[::-1])
    for bad, threshold in (([], 1), ([keys[0]] * 2, 1), (keys, 3), (keys, 0), (keys * 9, 1)):
        with pytest.raises(RuleError):
            RecoverySet.of(bad, threshold)


def test_rotation_is_signed_by_recovery_keys_and_operating_ones_may_agree(group):
    wish = rotate_wish(group, "ruth")
    assert refusal(group, wish, GRC) == "no-key-access"
    assert refusal(group, wish, "recovery/family", "eve") == "no-key-access"
    assert len(drafted(group, wish, ("recovery/family", GRC)).signers) == 2
    assert refusal(group, rotate_wish(group, "ruth", revealed=recovery("eve"))) == "not-authorized"


def test_used_recovery_key_rotates_only_what_its_owner_agrees_to(group):
    """A thief with the recovery key of genesis has replaced the root; who has the root key too takes it
    back.
    """
    group.rotate("thief", stay=True)
    mine = rotate_wish(group, "ruth")
    slugs = {refused_or_not(group, mine) for _ in range(20)}
    assert slugs <= {"root-changed", ""}
    rotation = take_in(group, mine, ("recovery/family", GRC))
    assert group.view.rotations == (group.genesis.id, rotation.id)
    assert len(group.view.rival_rotations) == 1


def refused_or_not(group: Group, wish: RotateWish) -> str:
    try:
        drafted(group, wish)
    except RuleError as error:
        return error.code
    return ""


def test_rotation_beyond_the_heads_that_fit_keeps_what_is_needed(group, monkeypatch):
    monkeypatch.setattr("protocol.authority.rotation.ROTATION_HEADS_MAX", 4)
    group.act(GRC, Kind.PROPERTIES, PropertiesBody(comment="older"), chain=20)
    said = group.act(GRC, Kind.PROPERTIES, PropertiesBody(comment="ours"), chain=21)
    live = [group.grant(f"grc -> n{at}:admin", chain=at + 1) for at in range(2)]
    for at in range(5):
        group.act(GRC, Kind.INVITE, {"role": 3, "not_after": 1}, chain=10 + at)
    draft = drafted(group, rotate_wish(group, "ruth"))
    assert draft.describe()["wants"]["keeps_chains"] == 4
    for element in signed(group, draft).elements():
        group._keep(element)
    assert all(group.view.is_live(one.act.id) for one in (*live, group.creator))
    assert group.view.is_effective(said.id)
    assert group.view.properties.comment == "ours"
    assert group.view.kept_proof(live[0].grant)


# --- any sequence of them -----------------------------------------------------------------------------------


class History:
    """A group whose root is replaced again and again, by prepared rotations."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.group = Group()
        self.operating: tuple[str, ...] = (GRC,)
        self.threshold = 1
        self.recovery: tuple[tuple[str, ...], int] = (("recovery/family",), 1)
        self.count = 0
        self.now = LATER

    def grow(self) -> None:
        """Grants by the present root, on chains of their own."""
        for at in range(self.rng.randrange(1, 4)):
            self.now = after(60, self.now)
            act = drafted(self.group, grant_wish(f"m{self.count}-{at}"), self._signers(), self.now)
            self._sign(act, self.operating)

    def _signers(self) -> tuple[str, ...]:
        return tuple(
            self.rng.sample(self.operating, self.rng.randrange(self.threshold, len(self.operating) + 1))
        )

    def _sign(self, draft, names) -> None:
        keys = {self.group.key(name).public.pid: self.group.key(name) for name in names}
        grant = draft.act.kind == Kind.GRANT
        order = [key.pid for key in draft.signers]
        rest = order[1:] if grant else order
        self.rng.shuffle(rest)
        for pid in (order[:1] if grant else []) + rest:
            draft = sign_draft(draft, keys[pid])
        for element in draft.elements():
            self.group._keep(element)

    def rotate(self) -> None:
        rng, group = self.rng, self.group
        self.count += 1
        root = group.view.root
        assert root is not None
        new = tuple(f"op{self.count}/{at}" for at in range(rng.randrange(1, 4)))
        threshold = rng.randrange(1, len(new) + 1)
        names = tuple(f"rec{self.count}/{at}" for at in range(rng.randrange(1, 4)))
        quorum = rng.randrange(1, len(names) + 1)
        mine = [one for one in group.elements if isinstance(one, Act) and one.place.cred == root.rotation]
        grants = [one for one in mine if one.kind == Kind.GRANT]
        wish = RotateWish(
            documents=tuple(document(group, name) for name in new),
            revealed=recovery(*self.recovery[0], threshold=self.recovery[1]),
            recovery=recovery(*names, threshold=quorum),
            threshold=threshold,
            without=tuple(one.id for one in grants if rng.random() < 0.3),
            keep_until=rng.choice([None, None, rng.choice(mine).hlc_s]) if mine else None,
        )
        self.now = after(60, self.now)
        agreed = self.operating if rng.random() < 0.3 else ()
        signers = (*rng.sample(self.recovery[0], self.recovery[1]), *agreed)
        self._sign(drafted(group, wish, signers, self.now), (*self.recovery[0], *self.operating))
        self.operating, self.threshold, self.recovery = new, threshold, (names, quorum)


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(1, 4))
def test_newcomer_accepts_the_bundles_of_just_the_grants_that_are_effective(seed, rotations):
    history = History(seed)
    for _ in range(rotations):
        history.grow()
        history.rotate()
    history.grow()
    group = history.group
    assert group.view.root is not None
    assert group.view.root.version == rotations + 1
    for act_id in group.view.grant_ids():
        grant = group.view.admitted(act_id).grant  # type: ignore[union-attr]
        assert grant is not None
        raw = make_bundle(group.view, grant, group.raw_of)
        assert raw is not None
        bundle = decode_untrusted_bundle(raw, authority=group.gid)
        assert all_hold(bundle.checks())
        assert len(bundle.roots) == rotations + 1
        assert stands(View(group.gid), bundle) is group.view.is_effective(act_id)
        assert stands(group.view, bundle) is group.view.is_effective(act_id)


def test_draft_that_is_thrown_away_harms_nothing(group):
    for at in range(3):
        drafted(group, grant_wish(f"n{at}"))
    take_in(group, grant_wish("zoe"))
    take_in(group, grant_wish("yves"))
    rotation = take_in(group, rotate_wish(group, "ruth"))
    assert group.view.rotations[-1] == rotation.id
    assert all(group.view.live_grants(named(name).public.pid) for name in ("zoe", "yves", "alice"))
