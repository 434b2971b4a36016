"""The golden vectors of proofs of removal: what is written today is what was written then, and reads back."""

from __future__ import annotations

import json

import pytest

from protocol.authority.bundle import decode_untrusted_bundle
from protocol.authority.removal_proof import RemovalProof, decode_untrusted_removal_proof
from protocol.credentials.keys import all_hold, public_key_untrusted
from protocol.errors import RemoteProtocolError
from tests.vectors.removals import PATH, build

VECTORS = json.loads(PATH.read_text(encoding="utf-8"))
AUTHORITY = bytes.fromhex(VECTORS["authority"])


def read(proof: str, shown: str = "") -> RemovalProof:
    """A proof of the file; `shown` is the bundle by which it was cut."""
    acts = decode_untrusted_bundle(bytes.fromhex(shown), authority=AUTHORITY).acts if shown else ()
    key = public_key_untrusted(bytes.fromhex(VECTORS["key"]))
    return decode_untrusted_removal_proof(bytes.fromhex(proof), authority=AUTHORITY, key=key, shown=acts)


def test_the_file_is_what_the_code_writes():
    assert build() == VECTORS


def test_whole_and_cut_prove_the_same_removal_by_the_same_author():
    whole, cut = read(VECTORS["proof"]), read(VECTORS["cut"], VECTORS["shown"])
    assert whole == cut
    assert whole.removal.id.hex() == VECTORS["removal"]
    assert str(whole.path[-1].peer_name) == VECTORS["removed_by"]
    assert all_hold(whole.checks())


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=lambda vector: vector["why"])
def test_refused_proof_is_refused(vector):
    with pytest.raises(RemoteProtocolError):
        read(vector["proof"])
