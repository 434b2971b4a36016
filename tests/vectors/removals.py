"""Golden vectors of proofs of removal: whole, and cut by what the removed key has shown.

Byte strings are lower-case hex. `python -m tests.vectors.removals` writes the file anew; a change in it is a
change of the protocol.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from protocol.authority.acts import Act
from protocol.authority.bodies import Kind, RevokeCredentialBody
from protocol.authority.bundle import Bundle
from protocol.authority.removal_proof import make_removal_proof
from protocol.codec import encode
from protocol.wire.messages import NOTHING_PROOF_BYTES_MAX
from tests.support.builders import Group
from tests.support.keys import named

PATH = Path(__file__).parents[2] / "protocol" / "vectors" / "removals.json"
REMOVED = "carol"


def _group() -> tuple[Group, Bundle, Act]:
    """bob, an administrator whom alice made, has removed carol; the bundle is the one that she shows."""
    group = Group()
    bundle = group.bundle(group.grant("grc -> alice:admin -> bob:admin -> carol:member"))
    body = RevokeCredentialBody(key=named(REMOVED).public.raw, reason="left the house", data="drop")
    return group, bundle, group.act("bob", Kind.REVOKE_CREDENTIAL, body)


def build() -> dict[str, Any]:
    """All vectors of this file."""
    group, bundle, removal = _group()
    whole, cut = (
        make_removal_proof(
            group.view, named(REMOVED).public.pid, shown, group.raw_of, bytes_max=NOTHING_PROOF_BYTES_MAX
        )
        for shown in (None, bundle)
    )
    above = group.view.admitted(removal.place.cred or b"")
    assert above is not None
    assert above.grant is not None
    return {
        "authority": group.authority.hex(),
        "key": named(REMOVED).public.raw.hex(),
        "removal": removal.id.hex(),
        "removed_by": str(above.grant.peer_name),
        "proof": whole.hex(),
        "shown": bundle.raw.hex(),
        "cut": cut.hex(),
        "refused": [
            {"why": "no removal at its end", "proof": encode({"acts": [group.genesis.raw]}).hex()},
            {"why": "the author's grant is missing",
             "proof": encode({"acts": [group.genesis.raw, removal.raw]}).hex()},
            {"why": "no acts", "proof": encode({"acts": []}).hex()},
        ],
    }  # fmt: skip


def write() -> None:
    """Write the file that `test_removals` compares with."""
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text(json.dumps(build(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
