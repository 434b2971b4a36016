"""The root by its rotations: which version counts, and which acts of the versions before it.

From genesis, follow the rotations. Of those that cite the version reached, the one counts that a threshold of
that version's operating keys signed besides the recovery set, and of several such, or of none, the one with
the smaller id. The last version reached is the root. A rotation is itself the cut of the version before: acts
signed under that one count when they lie in the ancestry of its `prev` or of its `keep` (SPEC.md,
"Evaluation", rule 2).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from protocol.authority.ancestry import Node, heads_of, is_before


@dataclass(slots=True)
class RootLine:
    """The effective rotations, genesis first, each with the one that follows it."""

    versions: dict[Node, Node | None] = field(default_factory=dict)

    def follow(self, rotations: Iterable[Node]) -> None:
        """Go by these rotations, all that there are."""
        citing: dict[Node | None, list[Node]] = {}
        for one in rotations:
            citing.setdefault(one.cred, []).append(one)
        self.versions = {}
        found, last = citing.get(None, []), None
        while found:
            best = min(found, key=lambda one: (not is_cosigned(one), one.id))
            if last is not None:
                self.versions[last] = best
            self.versions[best] = None
            found, last = citing.get(best, []), best

    @property
    def last(self) -> Node | None:
        """The rotation that the root is at; None before genesis has arrived."""
        return next(reversed(self.versions), None)

    def counts(self, act: Node) -> bool:
        """Whether an act of level 0 counts that is no rotation."""
        version = act.cred
        assert version is not None
        if version not in self.versions:
            return False
        end = self.versions[version]
        return end is None or _is_kept_by(end, act)


def _is_kept_by(rotation: Node, act: Node) -> bool:
    if rotation.prev is not None and is_before(act, rotation.prev):
        return True
    return heads_of(rotation, act.chain).keep(act)


def is_cosigned(rotation: Node) -> bool:
    """Whether the operating set that a rotation replaces agreed to it; genesis replaces none."""
    replaced = None if rotation.cred is None else rotation.cred.admitted.root
    if replaced is None:
        return False
    return sum(pid in replaced.operating for pid in rotation.signers) >= replaced.threshold
