"""The root by its rotations: which version counts, and which acts of the versions before it.

From genesis, follow the rotations. Of those that cite the version reached, the one counts that a threshold of
that version's operating keys signed besides the recovery set, and of several such, or of none, the one with
the smaller id. The last version reached is the root. A rotation is itself the cut of the version before: acts
signed under that one count when they lie in the ancestry of its `prev` or of its `keep` (SPEC.md,
"Evaluation", rule 2).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from protocol.authority.ancestry import Node, ancestry, heads_of, is_before
from protocol.authority.bodies import Kind
from protocol.limits import ROTATION_HEADS_MAX
from protocol.peer_time import hlc_s


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
            best = min(found, key=precedence)
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
        return end is None or is_kept_by(end, act)


def is_kept_by(rotation: Node, act: Node) -> bool:
    """Whether a rotation lets an act stand that was signed under the version that it replaces."""
    if rotation.prev is not None and is_before(act, rotation.prev):
        return True
    return heads_of(rotation, act.chain).keep(act)


def precedence(rotation: Node) -> tuple[bool, bytes]:
    """Of several rotations out of one version, the one for which this is smallest counts."""
    return not is_cosigned(rotation), rotation.id


def is_cosigned(rotation: Node) -> bool:
    """Whether the operating set that a rotation replaces agreed to it; genesis replaces none."""
    replaced = None if rotation.cred is None else rotation.cred.admitted.root
    return replaced is not None and replaced.agreed_by(rotation.signers)


def cut_of(
    version: Node, without: Collection[Node], until_s: int | None, matters: Callable[[Node], bool]
) -> tuple[list[Node], list[bytes]]:
    """What a new rotation would name in `keep`, and the ids of what it lets stand: all that was signed under
    a version, but for the acts `without`, what follows them, and what is dated later than a second UTC.

    A rotation is in every bundle, so it names a limited number of heads: those first behind which there is an
    act that `matters`, then the latest.
    """
    signed = [act for act in version.citing or () if act.kind != Kind.ROTATE_ROOT]
    stands = [
        act
        for act in signed
        if not any(act.chain == one.chain and is_before(one, act) for one in without)
        and (until_s is None or hlc_s(act.admitted.place.hlc) <= until_s)
    ]
    heads: list[Node] = []
    passed: set[Node] = set()
    for act in sorted(stands, key=lambda one: (-one.seq, one.id)):
        if act not in passed:
            heads.append(act)
            passed |= ancestry([act])
    if len(heads) > ROTATION_HEADS_MAX:
        heads = _most_needed(heads, [act for act in stands if matters(act)])
        passed = ancestry(heads)
    heads.sort(key=lambda one: one.id)
    return heads, [act.id for act in stands if act in passed]


def _most_needed(heads: Iterable[Node], mattering: Iterable[Node]) -> list[Node]:
    """As many heads as a rotation names: first those with one of these acts in their ancestry, then the
    latest.
    """
    by_chain: dict[bytes, list[Node]] = {}
    for act in mattering:
        by_chain.setdefault(act.chain, []).append(act)

    def rank(head: Node) -> tuple[bool, int, bytes]:
        needed = any(is_before(act, head) for act in by_chain.get(head.chain, ()))
        return not needed, -head.admitted.place.hlc, head.id

    return sorted(heads, key=rank)[:ROTATION_HEADS_MAX]


def kept_by(rotation: Node) -> list[bytes]:
    """The ids of the acts of the version that a rotation replaces which it lets stand, rotations left out:
    what its `kept` is the hash of, as far as they are here.
    """
    version = rotation.cred
    signed = [] if version is None or version.citing is None else version.citing
    return [act.id for act in signed if act.kind != Kind.ROTATE_ROOT and is_kept_by(rotation, act)]
