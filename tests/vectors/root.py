"""Golden vectors of a root that is replaced: certificates, what is kept, bundles, and files that are carried.

Byte strings are lower-case hex. `python -m tests.vectors.root` writes the file anew; a change in it is a
change of the protocol.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from protocol.authority.acts import Act
from protocol.authority.bundle import Bundle, encode_bundle
from protocol.authority.kept import KeptTree
from protocol.authority.root_certificates import GroupFacts
from protocol.authority.root_documents import (
    KeyWanted,
    encode_key_wanted,
    encode_root_document,
    make_root_document,
)
from protocol.authority.root_drafts import RootDraft, encode_draft, sign_draft
from tests.protocol.authority.rooting import drafted, grant_wish, recovery, rotate_wish
from tests.support.builders import GRC, Granted, Group, RecoveryNames, after
from tests.support.keys import named

PATH = Path(__file__).parents[2] / "protocol" / "vectors" / "root.json"
NAMES = ("alice", "zoe", "thief", "mo", "ruth", "rolf", "rosa", "recovery/family", "first", "second", "third")


def _keys(group: Group) -> dict[str, Any]:
    keys = {name: named(name) for name in NAMES} | {GRC: group.key(GRC)}
    return {
        name: {"seed": one.seed.hex(), "public": one.public.raw.hex(), "pid": one.public.pid.hex()}
        for name, one in keys.items()
    }


def _trees() -> list[dict[str, Any]]:
    """What a rotation keeps, of sizes that differ in form."""
    told = []
    for size in (0, 1, 2, 3, 5, 8):
        ids = [hashlib.sha256(bytes([size, at])).digest() for at in range(size)]
        tree = KeptTree(ids)
        proofs = {act_id.hex(): (tree.proof(act_id) or b"").hex() for act_id in sorted(ids)}
        told.append({"kept": tree.root.hex(), "proofs": proofs})
    return told


def _replaced() -> tuple[Group, Act, dict[str, Granted]]:
    """A root that was replaced by two keys of three; the thief's grant was cut, zoe's was kept, and mo was
    admitted under the new root.
    """
    group = Group()
    granted = {
        name: group.grant(f"grc -> {name}:admin", chain=at) for at, name in enumerate(("zoe", "thief"), 1)
    }
    kept = [act for act in group.elements if isinstance(act, Act) and act.place.chain == group.chain(GRC)]
    rotation = group.rotate(
        "ruth",
        "rolf",
        "rosa",
        threshold=2,
        keep=[kept[-1], granted["zoe"].act],
        recovery=RecoveryNames(("first", "second", "third"), 2),
    )
    granted["mo"] = group.grant("grc -> nina:admin -> mo:member")
    granted["alice"] = group.creator
    return group, rotation, granted


def _bundle(bundle: Bundle) -> dict[str, Any]:
    return {"leaf": bundle.leaf.act_id.hex(), "proof": bundle.proof.hex(), "bundle": bundle.raw.hex()}


def _bundles(group: Group, granted: dict[str, Granted]) -> dict[str, Any]:
    """Those that prove something to whom nothing of the group is known, and those that do not."""
    zoe, alice = group.bundle(granted["zoe"]), group.bundle(granted["alice"])
    parts = [act.raw for act in zoe.acts], [one.der for one in zoe.chain]
    before = Group()
    before.grant("grc -> zoe:admin", chain=1)
    older = before.bundle(before.grant("grc -> thief:admin", chain=2))
    return {
        "proves": {
            "under the last version": _bundle(group.bundle(granted["mo"])),
            "kept": _bundle(zoe),
            "the creator's, kept": _bundle(alice),
            "cut, without the rotation that cut it": _bundle(older),
        },
        "proves nothing": {
            "cut": _bundle(group.bundle(granted["thief"])),
            "without its proof": {"leaf": zoe.leaf.act_id.hex(), "bundle": encode_bundle(*parts).hex()},
            "with another's": {
                "leaf": zoe.leaf.act_id.hex(),
                "bundle": encode_bundle(*parts, alice.proof).hex(),
            },
        },
    }


def _draft(draft: RootDraft, *names: str) -> dict[str, Any]:
    """A draft, and what becomes of it with each signature."""
    steps = [encode_draft(draft).hex()]
    for name in names:
        draft = sign_draft(draft, named(name))
        steps.append(encode_draft(draft).hex())
    return {
        "signed_by": list(names),
        "describes": draft.describe(),
        "files": steps,
        "elements": [element.raw.hex() for element in draft.elements()],
    }


def _drafts(group: Group) -> dict[str, Any]:
    """Under the new root, a grant and the next rotation; chains are drawn, and here counted."""
    now = after(86_400)
    names = sorted(("ruth", "rosa"), key=lambda name: named(name).public.pid)
    grant = drafted(group, grant_wish("vera"), names, now, chain=b"c" * 16)
    wish = rotate_wish(
        group,
        "rick",
        revealed=recovery("first", "second", "third", threshold=2),
        recovery=recovery("fourth"),
    )
    pair = sorted(("first", "third"), key=lambda name: named(name).public.pid)
    rotation = drafted(group, wish, pair, now, chain=b"d" * 16)
    return {"grant": _draft(grant, *names), "rotation": _draft(rotation, *reversed(pair))}


def build() -> dict[str, Any]:
    """All vectors of this file."""
    group, rotation, granted = _replaced()
    facts = GroupFacts.of(group.founding.root)
    wanted = KeyWanted(facts)
    document = make_root_document(wanted, named("ruth"))
    root = group.view.root
    assert root is not None
    return {
        "keys": _keys(group),
        "gid": group.gid.hex(),
        "authority": group.authority.hex(),
        "root_certificates": {pid.hex(): der.hex() for pid, der in root.certificates},
        "kept": _trees(),
        "rotation": {"id": rotation.id.hex(), "version": root.version, "element": rotation.raw.hex()},
        "elements": [element.raw.hex() for element in group.elements],
        "bundles": _bundles(group, granted),
        "key_wanted": encode_key_wanted(wanted).hex(),
        "root_document": encode_root_document(document).hex(),
        "drafts": _drafts(group),
    }


def write() -> None:
    """Write the file that `test_root` compares with."""
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text(json.dumps(build(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
