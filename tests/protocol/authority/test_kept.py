"""The hash of what a rotation keeps, and proofs under it."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, strategies as st

from protocol.authority.kept import PROOF_BYTES_MAX, STEP_BYTES, KeptTree, proves
from protocol.ids import framed

IDS = st.sets(st.binary(min_size=32, max_size=32), max_size=40)


def hashed(tag: str, *fields: bytes) -> bytes:
    return hashlib.sha256(framed(tag, *fields)).digest()


def merkle(ids: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word, with our tags."""
    if not ids:
        return hashed("peerd/kept-none/1")
    if len(ids) == 1:
        return hashed("peerd/kept-leaf/1", ids[0])
    half = 1
    while half * 2 < len(ids):
        half *= 2
    return hashed("peerd/kept-node/1", merkle(ids[:half]), merkle(ids[half:]))


@given(IDS)
def test_root_is_that_of_the_tree_over_the_sorted_ids(ids):
    assert KeptTree(ids).root == merkle(sorted(ids))
    assert KeptTree([*ids, *ids]).root == merkle(sorted(ids)), "an id counts once"
    assert len(KeptTree(ids)) == len(ids)


@given(IDS, st.binary(min_size=32, max_size=32))
def test_each_id_has_a_proof_and_no_other(ids, other):
    tree = KeptTree(ids)
    for act_id in ids:
        proof = tree.proof(act_id)
        assert proof is not None
        assert proves(tree.root, act_id, proof)
        assert len(proof) <= STEP_BYTES * max(0, len(ids) - 1).bit_length()
        if other not in ids:
            assert not proves(tree.root, other, proof)
    assert (tree.proof(other) is None) == (other not in ids)


@given(IDS.filter(len), st.data())
def test_changed_proof_proves_nothing(ids, data):
    tree, act_id = KeptTree(ids), data.draw(st.sampled_from(sorted(ids)))
    proof = bytearray(tree.proof(act_id) or b"")
    if proof:
        proof[data.draw(st.integers(0, len(proof) - 1))] ^= data.draw(st.integers(1, 255))
        assert not proves(tree.root, act_id, bytes(proof))
        assert not proves(tree.root, act_id, bytes(proof[:-1]))
        assert not proves(tree.root, act_id, bytes(proof[:-STEP_BYTES]))
    assert not proves(tree.root, act_id, bytes(proof) + bytes(STEP_BYTES))
    assert not proves(bytes(32), act_id, bytes(proof))


@given(IDS.filter(lambda ids: len(ids) > 1))
def test_node_inside_the_tree_is_no_act(ids):
    """Guards: a proof that begins above a leaf, for an "id" that is a hash of two."""
    inside = [hashed("peerd/kept-leaf/1", act_id) for act_id in sorted(ids)]
    assert not any(proves(KeptTree(ids).root, one, b"") for one in [*ids, *inside])


@pytest.mark.parametrize("levels, good", [(32, True), (33, False)])
def test_proof_is_bounded(levels, good):
    found, act_id = hashed("peerd/kept-leaf/1", bytes(32)), bytes(32)
    for _ in range(levels):
        found = hashed("peerd/kept-node/1", bytes(32), found)
    proof = bytes(STEP_BYTES) * levels
    assert proves(found, act_id, proof) is good
    assert (len(proof) <= PROOF_BYTES_MAX) is good


@pytest.mark.parametrize("proof", [b"\x02" + bytes(32), b"\x00", bytes(32), bytes(34)])
def test_proof_of_another_form_is_none(proof):
    assert not proves(KeptTree([bytes(32)]).root, bytes(32), proof)
