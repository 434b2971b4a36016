"""What a rotation keeps of the version that it replaces, as one hash, and the proof that an act is in it.

`kept` in a rotation is the root of a Merkle tree over the ids, ascending, of the acts that were signed under
the version replaced and go on counting, rotations left out. Who has nothing of the group can tell by it, and
by a few hashes beside a grant, that the grant outlived its root; who holds the acts looks at these and never
at the hash.

The tree is that of RFC 6962 section 2.1, with tags of ours in place of its bytes 0 and 1: the left part of n
leaves is the largest power of two smaller than n. A proof is a byte string of 33 bytes for each level, leaf
first: on which side the sibling stands (0 left, 1 right), and its hash.
"""

from __future__ import annotations

from collections.abc import Iterable

from protocol.ids import tagged_hash
from protocol.limits import KEPT_PROOF_STEPS_MAX

HASH_BYTES = 32
STEP_BYTES = 1 + HASH_BYTES
PROOF_BYTES_MAX = STEP_BYTES * KEPT_PROOF_STEPS_MAX
_LEFT, _RIGHT = b"\x00", b"\x01"
_LEAF_TAG = "peerd/kept-leaf/1"
_NODE_TAG = "peerd/kept-node/1"
_NONE_TAG = "peerd/kept-none/1"


class KeptTree:
    """The tree over some act ids, all levels of it, so that a proof costs one look at each."""

    def __init__(self, ids: Iterable[bytes]) -> None:
        """`ids` in any order, each 32 bytes."""
        ordered = sorted(set(ids))
        self._places = {act_id: place for place, act_id in enumerate(ordered)}
        level = [tagged_hash(_LEAF_TAG, act_id) for act_id in ordered]
        self._levels = [level]
        while len(level) > 1:
            level = _level_above(level)
            self._levels.append(level)

    def __len__(self) -> int:
        """How many acts are in it."""
        return len(self._places)

    @property
    def root(self) -> bytes:
        """What a rotation says: 32 bytes, of no acts too."""
        top = self._levels[-1]
        return top[0] if top else tagged_hash(_NONE_TAG)

    def proof(self, act_id: bytes) -> bytes | None:
        """The proof that an act is in it; None when it is not."""
        place = self._places.get(act_id)
        if place is None:
            return None
        steps = []
        for level in self._levels[:-1]:
            sibling = place ^ 1
            if sibling < len(level):  # the last of an odd number goes up by itself
                steps.append((_LEFT if sibling < place else _RIGHT) + level[sibling])
            place >>= 1
        return b"".join(steps)


def _level_above(level: list[bytes]) -> list[bytes]:
    """Pairs hashed, from the left; an odd one out is taken as it is, which gives the tree of RFC 6962."""
    pairs = zip(level[::2], level[1::2], strict=False)
    above = [tagged_hash(_NODE_TAG, left, right) for left, right in pairs]
    return above + level[-1:] if len(level) % 2 else above


def proves(kept: bytes, act_id: bytes, proof: bytes) -> bool:
    """Whether a proof from anywhere shows that an act is among those that a rotation keeps."""
    if len(proof) > PROOF_BYTES_MAX:
        return False
    found = tagged_hash(_LEAF_TAG, act_id)
    for at in range(0, len(proof), STEP_BYTES):
        side, sibling = proof[at : at + 1], proof[at + 1 : at + STEP_BYTES]
        if side == _LEFT:
            found = tagged_hash(_NODE_TAG, sibling, found)
        elif side == _RIGHT:
            found = tagged_hash(_NODE_TAG, found, sibling)
        else:
            return False
    return found == kept
