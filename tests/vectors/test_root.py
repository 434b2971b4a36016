"""The golden vectors of a replaced root: what is written today is what was written then, and reads back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from protocol.authority.acts import decode_untrusted_act
from protocol.authority.bundle import Bundle, decode_untrusted_bundle, stands
from protocol.authority.elements import decode_untrusted_element
from protocol.authority.kept import KeptTree, proves
from protocol.authority.root_documents import decode_untrusted_key_wanted, decode_untrusted_root_document
from protocol.authority.root_drafts import decode_untrusted_draft, encode_draft, sign_draft
from protocol.authority.view import View
from protocol.credentials.keys import PrivateKey, all_hold
from tests.support.views import view_of
from tests.vectors.root import PATH, build

VECTORS = json.loads(PATH.read_text(encoding="utf-8"))
GID = bytes.fromhex(VECTORS["gid"])
VIEW = view_of(GID, [decode_untrusted_element(bytes.fromhex(raw)) for raw in VECTORS["elements"]])


def read(told: dict[str, Any]) -> Bundle:
    bundle = decode_untrusted_bundle(bytes.fromhex(told["bundle"]), authority=GID[:20])
    assert bundle.leaf.act_id.hex() == told["leaf"]
    assert all_hold(bundle.checks())
    return bundle


def test_the_file_is_what_the_code_writes():
    assert build() == VECTORS


@pytest.mark.parametrize("tree", VECTORS["kept"], ids=lambda tree: str(len(tree["proofs"])))
def test_ids_give_the_hash_and_each_has_its_proof(tree):
    kept = bytes.fromhex(tree["kept"])
    assert KeptTree(map(bytes.fromhex, tree["proofs"])).root == kept
    for act_id, proof in tree["proofs"].items():
        assert proves(kept, bytes.fromhex(act_id), bytes.fromhex(proof))


def test_rotation_holds_the_certificates_of_its_keys():
    act = decode_untrusted_act(bytes.fromhex(VECTORS["rotation"]["element"]))
    admitted = VIEW.admitted(act.id)
    assert act.id.hex() == VECTORS["rotation"]["id"]
    assert all_hold(act.checks())
    assert len(act.checks()) == 1 + len(VECTORS["root_certificates"])
    assert admitted is not None
    assert admitted.root is not None
    certificates = {pid.hex(): der.hex() for pid, der in admitted.root.certificates}
    assert certificates == VECTORS["root_certificates"]


@pytest.mark.parametrize("what", VECTORS["bundles"]["proves"])
def test_bundle_proves_its_leaf_to_whom_nothing_is_known(what):
    bundle = read(VECTORS["bundles"]["proves"][what])
    assert stands(View(GID), bundle)
    assert stands(VIEW, bundle) is not what.startswith("cut")


@pytest.mark.parametrize("what", VECTORS["bundles"]["proves nothing"])
def test_bundle_proves_nothing_to_whom_nothing_is_known(what):
    bundle = read(VECTORS["bundles"]["proves nothing"][what])
    assert not stands(View(GID), bundle)
    assert stands(VIEW, bundle) is (what != "cut"), "who holds the grant needs no proof"


def test_key_that_is_wanted_and_its_document_go_together():
    wanted = decode_untrusted_key_wanted(bytes.fromhex(VECTORS["key_wanted"]))
    document = decode_untrusted_root_document(bytes.fromhex(VECTORS["root_document"]))
    assert wanted.group == document.group
    assert wanted.group.gid == GID
    assert document.key.raw.hex() == VECTORS["keys"]["ruth"]["public"]


@pytest.mark.parametrize("what", VECTORS["drafts"])
def test_each_signature_gives_the_next_file(what):
    told = VECTORS["drafts"][what]
    files = [bytes.fromhex(raw) for raw in told["files"]]
    for name, raw, after in zip(told["signed_by"], files[:-1], files[1:], strict=True):
        key = PrivateKey.from_seed(bytes.fromhex(VECTORS["keys"][name]["seed"]))
        assert encode_draft(sign_draft(decode_untrusted_draft(raw), key)) == after
    done = decode_untrusted_draft(files[-1])
    assert [element.raw.hex() for element in done.elements()] == told["elements"]
    assert done.describe() == told["describes"]
