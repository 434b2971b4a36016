"""Proofs of removal: whom they convince, of what, and what each part of them is good for."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from protocol.authority.acts import Act
from protocol.authority.bodies import (
    AnnulBody,
    Kind,
    ResignBody,
    RevokeBody,
    RevokeCredentialBody,
    RevokeKeyBody,
    RotateRootBody,
)
from protocol.authority.bundle import Bundle
from protocol.authority.removal_proof import (
    RemovalProof,
    decode_untrusted_removal_proof,
    is_in_force,
    make_removal_proof,
    takes_away,
)
from protocol.authority.root import commitment_of
from protocol.authority.view import View
from protocol.codec import encode
from protocol.credentials.keys import all_hold, public_key_untrusted
from protocol.errors import Fault, RemoteProtocolError
from protocol.limits import KEEP_IDS_MAX
from protocol.wire.messages import NOTHING_PROOF_BYTES_MAX
from tests.support.act_sets import Pair, pairs_of, view_of_pairs
from tests.support.builders import GRC, Granted, Group
from tests.support.keys import named
from tests.support.views import view_of

BOB = "grc -> alice:admin -> bob:admin"
CAROL = "grc -> alice:admin -> bob:admin -> carol:member"
KINDS = {Kind.REVOKE_CREDENTIAL: RevokeCredentialBody, Kind.REVOKE_KEY: RevokeKeyBody}


@pytest.fixture
def group() -> Group:
    told = Group()
    told.grant(CAROL)
    return told


def revoke(group: Group, by: str, whom: str, kind: Kind = Kind.REVOKE_CREDENTIAL, **said) -> Act:
    """A removal on a chain of its own, so that it may be missing where the author's later acts are not."""
    return group.act(by, kind, KINDS[kind](key=named(whom).public.raw, **said), chain=1)


def proof_for(group: Group, name: str, shown: Bundle | None = None, room: int = 2**16) -> bytes:
    pid = named(name).public.pid
    return make_removal_proof(group.view, pid, shown, group.raw_of, bytes_max=room)


def read(group: Group, raw: bytes, name: str = "carol", shown: Bundle | None = None) -> RemovalProof:
    acts = () if shown is None else shown.acts
    return decode_untrusted_removal_proof(raw, authority=group.authority, key=named(name).public, shown=acts)


def of(*acts: Act) -> bytes:
    return encode({"acts": [act.raw for act in acts]})


def latest(group: Group, name: str) -> Granted:
    return [one for one in group.granted.values() if one.grant.pid == named(name).public.pid][-1]


def view_without(group: Group, *acts: Act) -> View:
    gone = {act.id for act in acts}
    return view_of(group.gid, [one for one in group.elements if one.id not in gone])


# --- what is told -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", [GRC, "alice", "bob"])
@pytest.mark.parametrize("kind", KINDS)
def test_proof_tells_who_removed_the_key_and_needs_nothing_else(group, by, kind):
    removal = revoke(group, by, "carol", kind, reason="lost")
    proof = read(group, proof_for(group, "carol"))
    assert proof.removal == removal
    assert proof.acts[0] == group.genesis
    assert [str(grant.peer_name).partition(".")[2] for grant in proof.path] == {
        GRC: [],
        "alice": ["alice"],
        "bob": ["alice", "bob"],
    }[by]
    assert all_hold(proof.checks())
    assert is_in_force(View(group.gid), proof)


def test_who_resigned_is_told_so_on_its_other_machine(group):
    removal = group.act("carol", Kind.RESIGN, ResignBody(reason="enough"))
    proof = read(group, proof_for(group, "carol"))
    assert proof.removal == removal
    assert is_in_force(view_without(group, removal), proof)
    assert takes_away(group.view, proof, latest(group, "carol").grant)


def test_acts_that_the_key_has_shown_are_left_out_and_put_back(group):
    bundle = group.bundle(latest(group, "carol"))
    revoke(group, "bob", "carol")
    short, whole = proof_for(group, "carol", bundle), proof_for(group, "carol")
    assert read(group, short, shown=bundle) == read(group, whole)
    assert read(group, short, shown=bundle).raw == whole
    assert len(short) < len(whole) // 2
    with pytest.raises(RemoteProtocolError) as caught:
        read(group, short)
    assert caught.value.fault is Fault.BAD_EVIDENCE


def test_proof_in_the_usual_case_fits_into_the_answer(group):
    revoke(group, "bob", "carol", keep=bytes(32) * 8, reason="r" * 255)
    assert 0 < len(proof_for(group, "carol", room=NOTHING_PROOF_BYTES_MAX)) <= NOTHING_PROOF_BYTES_MAX


def test_proof_that_does_not_fit_is_not_told_and_a_shorter_one_is(group):
    revoke(group, "alice", "carol", keep=bytes(32) * KEEP_IDS_MAX)
    assert proof_for(group, "carol", room=NOTHING_PROOF_BYTES_MAX) == b""
    short = revoke(group, "bob", "carol")
    assert read(group, proof_for(group, "carol", room=NOTHING_PROOF_BYTES_MAX)).removal == short


def test_proof_fills_the_room_that_there_is(group):
    revoke(group, "bob", "carol")
    whole = proof_for(group, "carol")
    assert proof_for(group, "carol", room=len(whole)) == whole
    assert proof_for(group, "carol", room=len(whole) - 1) == b""


def test_members_and_strangers_have_no_proof(group):
    assert proof_for(group, "carol") == proof_for(group, "nobody") == b""
    cut = revoke(group, "alice", "carol")
    group.grant("grc -> alice:admin -> carol:member", body={"despite": cut.id})
    assert proof_for(group, "carol") == b"", "it is back"


def test_who_was_removed_again_is_told_of_the_removal_that_counts(group):
    before, first = group.bundle(latest(group, "carol")), revoke(group, "alice", "carol")
    back = group.grant("grc -> alice:admin -> carol:member", body={"despite": first.id})
    second = revoke(group, "alice", "carol")
    for shown in (None, group.bundle(back)):
        assert read(group, proof_for(group, "carol", shown), shown=shown).removal == second
    assert read(group, proof_for(group, "carol", before), shown=before).removal == first, "what it shows"


def test_of_several_removals_the_most_senior_is_told(group):
    revoke(group, "bob", "carol")
    top = revoke(group, "alice", "carol")
    assert read(group, proof_for(group, "carol")).removal == top


# --- what is believed ---------------------------------------------------------------------------------------


def test_removal_of_another_key_is_refused(group):
    revoke(group, "bob", "carol")
    with pytest.raises(RemoteProtocolError) as caught:
        read(group, proof_for(group, "carol"), "dave")
    assert caught.value.fault is Fault.BAD_EVIDENCE


def test_removal_from_another_group_is_refused(group):
    other = Group("elsewhere")
    other.grant(CAROL)
    revoke(other, "bob", "carol")
    with pytest.raises(RemoteProtocolError) as caught:
        read(group, proof_for(other, "carol"))
    assert caught.value.fault is Fault.WRONG_GROUP


def test_last_act_must_be_a_removal(group):
    carol = latest(group, "carol").act
    annul = group.act("alice", Kind.ANNUL, AnnulBody(act=carol.id))
    alice, bob = group.creator.act, latest(group, "bob").act
    for acts in ([group.genesis], [group.genesis, alice], [group.genesis, alice, bob, carol],
                 [group.genesis, alice, annul]):  # fmt: skip
        with pytest.raises(RemoteProtocolError):
            read(group, of(*acts))


def test_removal_must_be_signed_under_what_stands_before_it(group):
    removal = revoke(group, "bob", "carol")
    alice, bob = group.creator.act, latest(group, "bob").act
    assert read(group, of(group.genesis, alice, bob, removal)).removal == removal
    for acts in ([group.genesis, removal], [group.genesis, alice, removal], [alice, bob, removal],
                 [group.genesis, bob, removal], [group.genesis, alice, bob, bob, removal]):  # fmt: skip
        with pytest.raises(RemoteProtocolError):
            read(group, of(*acts))


def test_grant_that_the_removal_was_signed_under_is_the_one_before_it(group):
    one, two = latest(group, "bob").act, group.grant(BOB).act
    removal = revoke(group, "bob", "carol")
    assert removal.place.cred == two.id
    assert read(group, of(group.genesis, group.creator.act, two, removal)).removal == removal
    with pytest.raises(RemoteProtocolError) as caught:
        read(group, of(group.genesis, group.creator.act, one, removal))
    assert caught.value.fault is Fault.BAD_EVIDENCE


def test_removal_of_another_group_signed_under_a_grant_of_this_one_is_refused(group):
    body = RevokeCredentialBody(key=named("carol").public.raw)
    stray = group.act("bob", Kind.REVOKE_CREDENTIAL, body, keep=False, gid=bytes(32))
    with pytest.raises(RemoteProtocolError) as caught:
        read(group, of(group.genesis, group.creator.act, latest(group, "bob").act, stray))
    assert caught.value.fault is Fault.BAD_EVIDENCE


@pytest.mark.parametrize(
    "lie",
    [{"level": 1}, {"hlc": 1}, {"hlc": 2**62}, {"level": 255}],
    ids=["a senior's level", "before its credential", "after it", "a junior's level"],
)
def test_removal_that_its_author_may_not_sign_is_refused(group, lie):
    body = RevokeCredentialBody(key=named("carol").public.raw)
    bad = group.act("bob", Kind.REVOKE_CREDENTIAL, body, keep=False, **lie)
    line = of(group.genesis, group.creator.act, latest(group, "bob").act, bad)
    with pytest.raises(RemoteProtocolError):
        read(group, line)


def test_plain_member_removes_nobody(group):
    group.grant("grc -> alice:admin -> dave:member")
    body = RevokeCredentialBody(key=named("carol").public.raw)
    bad = group.act("dave", Kind.REVOKE_CREDENTIAL, body, keep=False)
    with pytest.raises(RemoteProtocolError):
        read(group, of(group.genesis, group.creator.act, latest(group, "dave").act, bad))


@settings(max_examples=50)
@given(st.binary(max_size=200))
def test_any_bytes_raise_nothing_else(raw):
    with pytest.raises(RemoteProtocolError):
        decode_untrusted_removal_proof(raw, authority=bytes(20), key=named("carol").public)


# --- what counts in a view ----------------------------------------------------------------------------------


def test_annulled_removal_does_not_count_though_it_has_not_arrived(group):
    removal = revoke(group, "bob", "carol")
    proof = read(group, proof_for(group, "carol"))
    without = view_without(group, removal)
    assert is_in_force(group.view, proof)
    assert is_in_force(without, proof)
    group.act("alice", Kind.ANNUL, AnnulBody(act=removal.id))
    assert not is_in_force(group.view, proof)
    assert not is_in_force(view_without(group, removal), proof)


def test_annulment_by_an_equal_changes_nothing(group):
    group.grant("grc -> alice:admin -> eve:admin")
    removal = revoke(group, "bob", "carol")
    proof = read(group, proof_for(group, "carol"))
    group.act("eve", Kind.ANNUL, AnnulBody(act=removal.id))
    assert is_in_force(group.view, proof)
    assert is_in_force(view_without(group, removal), proof)


def test_removal_by_somebody_removed_before_does_not_count(group):
    removal = revoke(group, "bob", "carol")
    proof = read(group, proof_for(group, "carol"))
    kept = latest(group, "carol").act
    revoke(group, "alice", "bob", keep=kept.id)
    assert not is_in_force(group.view, proof), "it is outside the cut"
    assert not is_in_force(view_without(group, removal), proof)
    assert not is_in_force(view_without(group, removal, latest(group, "bob").act, kept), proof)


def test_removal_by_a_root_that_was_replaced_does_not_count(group):
    removal = revoke(group, GRC, "carol")
    proof = read(group, proof_for(group, "carol"))
    body = RotateRootBody(
        from_version=1,
        operating=named("new").public.raw,
        threshold=1,
        next=commitment_of([], 1),
        revealed=named("recovery/family").public.raw,
        revealed_threshold=1,
    )
    assert is_in_force(view_without(group, removal), proof)
    group.act(GRC, Kind.ROTATE_ROOT, body, signers=("recovery/family",), chain=2)
    assert len(group.view.rotations) == 2
    assert not is_in_force(group.view, proof)
    assert not is_in_force(view_without(group, removal), proof)


def test_removal_inside_the_cut_of_its_author_counts(group):
    removal = revoke(group, "bob", "carol")
    proof = read(group, proof_for(group, "carol"))
    revoke(group, "alice", "bob", keep=removal.id)
    assert is_in_force(group.view, proof)


def test_removal_from_another_group_s_view_does_not_count(group):
    revoke(group, "bob", "carol")
    assert not is_in_force(View(bytes(32)), read(group, proof_for(group, "carol")))


# --- what it takes ------------------------------------------------------------------------------------------


def test_grant_in_spite_of_the_removal_and_its_renewals_are_not_taken(group):
    before = latest(group, "carol")
    removal = revoke(group, "alice", "carol")
    proof = read(group, proof_for(group, "carol"))
    back = group.grant("grc -> alice:admin -> carol:member", body={"despite": removal.id})
    renewed = group.grant(CAROL, body={"renews": back.act.id})
    junior = group.grant(CAROL, body={"despite": removal.id})
    without = view_without(group, removal)
    for view in (group.view, without):
        assert takes_away(view, proof, before.grant)
        assert not takes_away(view, proof, back.grant)
        assert not takes_away(view, proof, renewed.grant)
        assert takes_away(view, proof, junior.grant)
    unseen = view_without(group, removal, renewed.act, back.act)
    assert not takes_away(unseen, proof, back.grant, group.bundle(back))
    assert takes_away(unseen, proof, back.grant), "only its own body says so"
    assert takes_away(unseen, proof, renewed.grant, group.bundle(renewed)), "its excuse is not here"


def test_nothing_is_in_spite_of_a_revoked_key(group):
    ban = revoke(group, "alice", "carol", Kind.REVOKE_KEY)
    back = group.grant("grc -> alice:admin -> carol:member", body={"despite": ban.id})
    assert takes_away(group.view, read(group, proof_for(group, "carol")), back.grant)


def test_senior_grant_is_not_taken_and_until_counts(group):
    senior = group.grant("grc -> carol:admin")
    ends = latest(group, "carol").grant.window.end
    revoke(group, "bob", "carol")
    proof = read(group, of(*_line(group, group.elements[-1])))
    assert not takes_away(group.view, proof, senior.grant)
    junior = next(one for one in group.granted.values() if one.grant.level == 255)
    assert takes_away(group.view, proof, junior.grant)
    early = revoke(group, "bob", "carol", until=min(ends, junior.grant.window.end) - 1)
    assert not takes_away(group.view, read(group, of(*_line(group, early))), junior.grant)


def _line(group: Group, act) -> list[Act]:
    return [group.genesis, group.creator.act, latest(group, "bob").act, act]


# --- over drawn sets ----------------------------------------------------------------------------------------


def _proofs(pairs: list[Pair]) -> list[tuple[Pair, RemovalProof, bytes]]:
    """Each removal of a drawn set, with its proof and the pid of whom it removes."""
    by_id, found = {act.id: (act, admitted) for act, admitted in pairs}, []
    for act, admitted in pairs:
        target = _target(act)
        if target is None:
            continue
        line = [(act, admitted)]
        while (above := line[0][0].place.cred) is not None:
            line.insert(0, by_id[above])
        path = tuple(one.grant for _, one in line if one.grant is not None)
        root = line[0][1].root
        assert root is not None
        found.append(((act, admitted), RemovalProof(b"", root, tuple(one for one, _ in line), path), target))
    return found


def _target(act: Act) -> bytes | None:
    if isinstance(act.body, ResignBody):
        return act.place.author
    return public_key_untrusted(act.body.key).pid if isinstance(act.body, RevokeBody) else None


@pytest.mark.parametrize("part", range(2))
def test_proof_says_of_every_grant_what_the_act_says_once_it_is_here(part):
    cases = 0
    for seed in range(part * 60, part * 60 + 60):
        _, pairs = pairs_of(seed, 60)
        view = view_of_pairs(pairs)
        for (act, _), proof, target in _proofs(pairs):
            assert is_in_force(view, proof) is view.is_effective(act.id)
            for grant in view.grants_ever(target):
                hit = is_in_force(view, proof) and takes_away(view, proof, grant)
                assert hit is (act.id in view.hits_of(grant.act_id))
                cases += hit
    assert cases > 20


@pytest.mark.parametrize("part", range(2))
def test_removal_that_has_not_arrived_is_believed_only_if_it_counts_when_it_does(part):
    believed = refused = 0
    for seed in range(part * 60, part * 60 + 60):
        _, pairs = pairs_of(seed, 60)
        whole = view_of_pairs(pairs)
        named_by = {act.place.prev for act, _ in pairs}
        for pair, proof, _ in _proofs(pairs):
            if pair[0].id in named_by:
                continue  # what follows it in its chain would be missing too
            without = view_of_pairs([one for one in pairs if one is not pair])
            if is_in_force(without, proof):
                believed += 1
                assert whole.is_effective(pair[0].id)
            elif not whole.is_effective(pair[0].id):
                refused += 1
    assert believed > 10
    assert refused > 2
