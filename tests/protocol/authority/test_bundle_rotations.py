"""Bundles under a root that has been replaced: what they prove to whom."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, strategies as st

from protocol.authority.bundle import Bundle, decode_untrusted_bundle, encode_bundle, make_bundle, stands
from protocol.authority.view import View
from protocol.credentials.keys import all_hold
from protocol.errors import Fault, RemoteProtocolError
from tests.support.builders import GRC, Granted, Group, RecoveryNames
from tests.support.keys import named
from tests.support.views import view_of


@pytest.fixture
def group():
    return Group()


def parts(bundle: Bundle) -> tuple[list[bytes], list[bytes], bytes]:
    return [act.raw for act in bundle.acts], [one.der for one in bundle.chain], bundle.proof


def read(group: Group, *told: list[bytes] | bytes) -> Bundle:
    return decode_untrusted_bundle(encode_bundle(*told), authority=group.authority)  # type: ignore[arg-type]


def refused(group: Group, *told: list[bytes] | bytes) -> bool:
    with pytest.raises(RemoteProtocolError) as caught:
        read(group, *told)
    return caught.value.fault is Fault.BAD_EVIDENCE


def newcomer(group: Group) -> View:
    return View(group.gid)


# --- under the last version ---------------------------------------------------------------------------------


def test_bundle_shows_all_rotations_and_begins_with_the_certificate_of_the_signer(group):
    first = group.rotate("ruth")
    second = group.rotate("rolf", "rosa", "rick", threshold=2)
    zoe = group.grant("grc -> zoe:admin -> mo:member")
    bundle = group.bundle(zoe)
    assert [act.id for act in bundle.acts[:3]] == [group.genesis.id, first.id, second.id]
    assert [root.version for root in bundle.roots] == [1, 2, 3]
    assert bundle.chain[0].key.pid == min(named(name).public.pid for name in ("rolf", "rosa"))
    assert [der.act_id for der in bundle.ders] == [grant.act_id for grant in bundle.path]
    assert bundle.proof == b""
    assert bundle.proved
    assert stands(newcomer(group), bundle)
    assert stands(group.view, bundle)
    assert all_hold(bundle.checks())


def test_rotation_without_certificates_can_begin_no_chain(group):
    group.rotate("ruth", body={"certificates": []})
    zoe = group.grant("grc -> zoe:admin")
    assert make_bundle(group.view, zoe.grant, group.raw_of) is None
    old = group.bundle(group.creator)
    assert stands(newcomer(group), old), "what it keeps has its chain from before"


def test_chain_begins_with_no_other_certificate_than_the_signers(group):
    group.rotate("rolf", "rosa", threshold=2)
    bundle = group.bundle(group.grant("grc -> zoe:admin"))
    acts, ders, _ = parts(bundle)
    other = max(bundle.roots[-1].certificates)[1]
    assert ders[0] == min(bundle.roots[-1].certificates)[1]
    assert refused(group, acts, [other, *ders[1:]])
    assert refused(group, acts, [group.founding.elements[1].certificate.der, *ders[1:]])


def test_bundle_needs_a_certificate_for_each_grant_and_none_for_a_rotation(group):
    group.rotate("ruth")
    acts, ders, _ = parts(group.bundle(group.grant("grc -> zoe:admin")))
    for wrong in (ders[:1] * 2 + ders[1:], [*ders, ders[1]]):
        assert refused(group, acts, wrong)


def test_rotations_alone_prove_nothing(group):
    group.rotate("ruth")
    acts, ders, _ = parts(group.bundle(group.grant("grc -> zoe:admin")))
    assert refused(group, acts[:2], ders)


def test_grant_is_signed_under_a_version_that_the_bundle_shows(group):
    group.rotate("ruth")
    acts, ders, _ = parts(group.bundle(group.grant("grc -> zoe:admin")))
    assert refused(group, [acts[0], acts[2]], ders)


def test_rotation_comes_after_no_grant(group):
    group.rotate("ruth")
    acts, ders, proof = parts(group.bundle(group.creator))
    with pytest.raises(RemoteProtocolError):
        read(group, [acts[0], acts[2], acts[1]], ders, proof)


# --- under one that has been replaced -----------------------------------------------------------------------


def grown(seed: int, count: int) -> tuple[Group, list[Granted], list[Granted]]:
    """A group with a few root versions, and the grants of old ones: kept, and cut."""
    rng, group = Random(seed), Group()
    kept, cut = [group.creator], list[Granted]()
    for number in range(count):
        mine = [group.grant(f"grc -> v{number}n{at}:admin", chain=10 * number + at + 1) for at in range(4)]
        chosen = [one for one in mine if rng.random() < 0.5]
        old = [one.act for one in kept] if number == 0 else []
        new = [f"op{number}/{one}" for one in range(rng.choice((1, 3)))]
        group.rotate(*new, keep=[*(one.act for one in chosen), *old])
        kept += chosen
        cut += [one for one in mine if one not in chosen]
    return group, kept, cut


@given(st.integers(0, 2**32), st.integers(1, 3))
def test_who_has_nothing_accepts_just_what_counts_in_the_full_view(seed, count):
    group, kept, cut = grown(seed, count)
    last = group.grant("grc -> last:admin")
    for one in (*kept, *cut, last):
        bundle = group.bundle(one)
        assert all_hold(bundle.checks())
        counts = one in kept or one is last
        assert group.view.is_effective(one.act.id) is counts
        assert bundle.proved is counts
        assert stands(newcomer(group), bundle) is counts
        assert stands(group.view, bundle) is counts
        gone = {act.id for act in bundle.grants}
        left = [element for element in group.elements if element.id not in gone]
        assert stands(view_of(group.gid, left), bundle) is counts, "before the grant arrives"


@given(st.integers(0, 2**32), st.data())
def test_any_other_proof_is_none(seed, data):
    group, kept, cut = grown(seed, 2)
    bundle = group.bundle(kept[0])
    acts, ders, proof = parts(bundle)
    other = group.bundle(data.draw(st.sampled_from(kept + cut)))
    if proof:
        place, flip = data.draw(st.integers(0, len(proof) - 1)), data.draw(st.integers(1, 255))
        damaged = bytearray(proof)
        damaged[place] ^= flip
        assert not stands(newcomer(group), read(group, acts, ders, bytes(damaged)))
        assert not stands(newcomer(group), read(group, acts, ders))
    if other.proof != proof:
        assert not stands(newcomer(group), read(group, acts, ders, other.proof))
    assert stands(group.view, read(group, acts, ders)), "who holds the grant needs none"


def test_shorter_bundle_convinces_only_those_who_know_no_better(group):
    thief = group.grant("grc -> thief:admin", chain=1)
    shorter = group.bundle(thief)
    behind = view_of(group.gid, group.elements)
    group.rotate("ruth", keep=[group.creator.act])
    assert stands(newcomer(group), shorter)
    assert stands(behind, shorter)
    assert not stands(group.view, shorter)
    assert not stands(group.view, group.bundle(thief))
    assert not stands(newcomer(group), group.bundle(thief)), "with the rotation it shows that it was cut"


def test_who_is_behind_accepts_what_goes_on_from_what_it_knows(group):
    behind = view_of(group.gid, group.elements)
    group.rotate("ruth")
    zoe = group.grant("grc -> zoe:admin")
    assert stands(behind, group.bundle(zoe))
    assert stands(behind, group.bundle(group.creator))


@pytest.mark.parametrize("agreed", [False, True])
def test_of_two_rotations_the_bundle_with_the_one_that_wins_passes_everywhere(agreed):
    pair = Group(), Group()
    for group, name in zip(pair, ("ruth", "rolf"), strict=True):
        group.rotate(name, cosigned=(GRC,) if agreed and name == "ruth" else ())
        group.grant("grc -> zoe:admin")
    ids = [group.view.rotations[1] for group in pair]
    winner = 0 if agreed or ids[0] < ids[1] else 1
    shown = [group.bundle(next(reversed(group.granted.values()))) for group in pair]
    assert stands(pair[1 - winner].view, shown[winner])
    assert not stands(pair[winner].view, shown[1 - winner])
    assert all(stands(newcomer(group), one) for group, one in zip(pair, shown, strict=True))
    elements = {one.id: one for group in pair for one in group.elements}
    both = view_of(pair[0].gid, elements.values())
    assert [stands(both, one) for one in shown] == [winner == 0, winner == 1]


def test_kept_hash_that_does_not_fit_proves_nothing(group):
    group.rotate("ruth", body={"kept": bytes(32)})
    bundle = group.bundle(group.creator)
    assert bundle.proof == b""
    assert not stands(newcomer(group), bundle)
    assert stands(group.view, bundle)


def test_rotation_by_several_recovery_keys_and_back(group):
    group.rotate("a", "b", "c", threshold=2, recovery=RecoveryNames(("r1", "r2", "r3"), 2))
    group.rotate("d")
    mo = group.grant("grc -> zoe:admin -> mo:member")
    assert group.view.root is not None
    assert (group.view.root.version, group.view.root.threshold) == (3, 1)
    assert stands(newcomer(group), group.bundle(mo))
