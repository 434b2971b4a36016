"""Evidence: acts that show that a key is in two hands, or that a store was rolled back.

An author's chain is signed by one store, which numbers its acts and goes on from the last. So two acts with
one author, chain and number prove that one of them was signed elsewhere, or that the store has forgotten one;
and so does an act that comes from elsewhere and stands on the chain that only this store signs. Both are
noted once for each chain, for ever, and the acts are kept even if they count for nothing: they are the proof.

The first of an author are enough: a thief may sign as many as it likes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from protocol.authority.act_set import ActSet
from protocol.authority.acts import Act
from protocol.authority.view import View
from protocol.codec import decode_checked, encode
from protocol.limits import EVIDENCE_MAX, EVIDENCE_PER_AUTHOR_MAX
from protocol.machines.chains import is_foreign
from protocol.peer_time import Moment

_KEPT = "evidence"


class Finding(IntEnum):
    """What was found; the numbers stand in the store."""

    FORK = 1  # two acts with one author, chain and number
    USED_ELSEWHERE = 2  # an act from elsewhere on a chain of this store's own


@dataclass(frozen=True, slots=True)
class Proof:
    """One finding: of which author (32 bytes) and chain, which acts show it, and when it was found (seconds
    UTC, by this node's clock).
    """

    finding: Finding
    author: bytes
    chain: bytes
    acts: tuple[bytes, ...]
    seen_s: int


class Evidence:
    """The proofs that one node has."""

    def __init__(self) -> None:
        """None yet; `load` reads them."""
        self._proofs: dict[tuple[Finding, bytes, bytes], Proof] = {}

    def load(self, store: ActSet) -> None:
        """Read back what was found before."""
        raw = store.setting(_KEPT)
        for finding, author, chain, acts, seen_s in [] if raw is None else decode_checked(raw):
            self._keep(Proof(Finding(finding), author, chain, tuple(acts), seen_s))

    def _keep(self, proof: Proof) -> None:
        self._proofs[proof.finding, proof.author, proof.chain] = proof

    def look(self, act: Act, view: View, now: Moment, store: ActSet) -> list[Proof]:
        """What an admitted act shows that is about to be added to the view; it is noted."""
        author, chain = act.place.author, act.place.chain
        found: list[tuple[Finding, tuple[bytes, ...]]] = []
        if self._is_wanted(Finding.FORK, author, chain) and (rival := rival_of(act, view)) is not None:
            found.append((Finding.FORK, (rival, act.id)))
        if self._is_wanted(Finding.USED_ELSEWHERE, author, chain) and is_foreign(act, view, store):
            found.append((Finding.USED_ELSEWHERE, (act.id,)))
        new = [Proof(finding, author, chain, acts, now.utc_s) for finding, acts in found]
        for proof in new:
            self._keep(proof)
        if new:
            rows = [
                [int(one.finding), one.author, one.chain, list(one.acts), one.seen_s]
                for one in self._proofs.values()
            ]
            store.set_setting(_KEPT, encode(rows))
        return new

    def _is_wanted(self, finding: Finding, author: bytes, chain: bytes) -> bool:
        """Guards: a thief who has every node search chain after chain, or crowds out what shows others."""
        if (finding, author, chain) in self._proofs or len(self._proofs) >= EVIDENCE_MAX:
            return False
        same = [one for one in self._proofs.values() if (one.finding, one.author) == (finding, author)]
        return len(same) < EVIDENCE_PER_AUTHOR_MAX

    def proofs(self) -> tuple[Proof, ...]:
        """All, the oldest first."""
        return tuple(self._proofs.values())

    def acts(self) -> frozenset[bytes]:
        """The ids of the acts that are proof."""
        return frozenset(act_id for proof in self._proofs.values() for act_id in proof.acts)


def rival_of(act: Act, view: View) -> bytes | None:
    """An act that is here and has the author, chain and number of one that is not; None where there is none
    or the act goes on from the last.
    """
    place = act.place
    head = view.head(place.author, place.chain)
    if head is None or head.seq < place.seq:
        return None
    above: bytes | None = head.id
    while above is not None:
        admitted = view.admitted(above)
        assert admitted is not None
        if admitted.place.seq == place.seq:
            return above
        above = admitted.place.prev
    return None
