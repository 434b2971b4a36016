"""Cuts: which grants a revocation hits, which are exempt, and what a hit leaves standing.

A revocation counts only while it is effective itself; that is the evaluation's to know, and it asks here in
ascending order of levels. The rules, by their numbers in SPEC.md, "Evaluation":

* hits (6): REVOKE_CREDENTIAL and REVOKE_KEY hit every grant to the target of a larger level than the
  revoker's; from an inviting member only grants that it made itself; with `until` only grants that end by
  then. RESIGN hits every grant to its author of its own level or a larger one.
* exempt (7): a grant that names the revocation in `despite`, signed at the revocation's level or a smaller
  one, and what continues such a grant by `renews`. Nothing is exempt from REVOKE_KEY.
* kept (5): an act in the ancestry of a head that `keep` names. Several hits on one grant intersect.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from protocol.authority.ancestry import Node, common, heads_of, is_kept
from protocol.authority.bodies import Kind
from protocol.authority.linked import Linked
from protocol.limits import LEVEL_INVITING_MEMBER

Excuses = Mapping[bytes, int]
_NO_EXCUSES: dict[bytes, int] = {}


@dataclass(frozen=True, slots=True)
class Claim:
    """A grant as revocations see it, admitted here or not; `end` is its last second.

    `excuses` are the revocations from which it says to be exempt, each with the smallest level that says so.
    """

    pid: bytes
    level: int
    author: bytes
    end: int
    excuses: Excuses


@dataclass(slots=True)
class Cuts:
    """The revocations that hit a grant, ascending by id, and what all of them together keep."""

    hits: tuple[Node, ...]
    _kept: dict[bytes, list[Node]] = field(default_factory=dict)

    def keep(self, act: Node) -> bool:
        """Whether every hit leaves an act of the grant's subject standing."""
        return not self.hits or is_kept(act, self._heads(act.chain))

    def _heads(self, chain: bytes) -> list[Node]:
        heads = self._kept.get(chain)
        if heads is None:
            heads = heads_of(self.hits[0], chain)
            for hit in self.hits[1:]:
                if not heads:
                    break
                heads = common(heads, heads_of(hit, chain))
            self._kept[chain] = heads
        return heads


NO_CUTS = Cuts(())


def reaches(removal: Node, claim: Claim) -> bool:
    """Whether a revocation speaks of a grant to the key that it removes (rule 6)."""
    if removal.kind == Kind.RESIGN:
        return claim.level >= removal.level
    if claim.level <= removal.level:
        return False
    if removal.level == LEVEL_INVITING_MEMBER and claim.author != removal.author:
        return False
    return removal.until is None or claim.end <= removal.until


def is_exact(removal: Node) -> bool:
    """Whether it takes more than the level of a grant to tell that a revocation speaks of it."""
    return removal.until is not None or removal.level == LEVEL_INVITING_MEMBER


def is_exempt(removal: Node, claim: Claim) -> bool:
    """Whether a grant was made in spite of a revocation, by somebody who may overrule it (rule 7)."""
    if removal.kind == Kind.REVOKE_KEY:
        return False
    level = claim.excuses.get(removal.id)
    return level is not None and level <= removal.level


def excuses_of(grant: Node, linked: Linked) -> dict[bytes, int]:
    """The `despite` of a GRANT, and of those that it continues: step by step, for a line of renewals has no
    bound.
    """
    line, node = [], grant
    while node.excuses is None:
        line.append(node)
        before = linked.continued(node)
        if before is None or not before.effective:
            break
        node = before
    above = node.excuses or _NO_EXCUSES
    for node in reversed(line):
        above = node.excuses = with_own(above, node.despite, node.level)
    return above


def with_own(above: dict[bytes, int], despite: Sequence[bytes], level: int) -> dict[bytes, int]:
    """Excuses, with those that a GRANT signed at `level` adds to the ones of the grant that it continues."""
    if not despite:
        return above
    merged = dict(above)
    for named in despite:
        merged[named] = min(level, merged.get(named, level))
    return merged


def claim_of(grant: Node, linked: Linked) -> Claim:
    """An admitted GRANT as revocations see it."""
    granted = grant.grant
    assert granted is not None
    return Claim(granted.pid, granted.level, grant.author, granted.window.end, excuses_of(grant, linked))


@dataclass(slots=True)
class _Ready:
    """The cuts on one key. `exact`: some revocation asks who made a grant, or until when, so that grants of
    one level may have different cuts.
    """

    exact: bool
    cuts: dict[object, Cuts] = field(default_factory=dict)


@dataclass(slots=True)
class CutsByKey:
    """The cuts on each key, kept ready: most of a key's grants share theirs."""

    _linked: Linked
    _ready: dict[bytes, _Ready] = field(default_factory=dict)

    def forget(self, pid: bytes) -> None:
        """The revocations of a key, or what they keep, have changed."""
        self._ready.pop(pid, None)

    def on_grant(self, grant: Node, *, resigning: bool = False) -> Cuts:
        """The cuts on an admitted GRANT; `resigning` is for RESIGNs, which ignore those of their own
        level (rule 4).
        """
        if grant.target not in self._linked.removals:
            return NO_CUTS
        return self.on(claim_of(grant, self._linked), resigning=resigning)

    def on(self, claim: Claim, *, resigning: bool = False) -> Cuts:
        """The same for any grant whatever."""
        removals = self._linked.removals.get(claim.pid)
        if removals is None:
            return NO_CUTS
        ready = self._ready.get(claim.pid)
        if ready is None:
            ready = self._ready[claim.pid] = _Ready(any(is_exact(one) for one in removals if one.effective))
        whose = (claim.author, claim.end) if ready.exact else ()
        key = (claim.level, whose, tuple(sorted(claim.excuses.items())), resigning)
        cuts = ready.cuts.get(key)
        if cuts is None:
            cuts = ready.cuts[key] = Cuts(_hits(removals, claim, resigning))
        return cuts


def _hits(removals: Iterable[Node], claim: Claim, resigning: bool) -> tuple[Node, ...]:
    found = [
        one
        for one in removals
        if one.effective
        and reaches(one, claim)
        and not is_exempt(one, claim)
        and not (resigning and one.kind == Kind.RESIGN and one.level == claim.level)
    ]
    return tuple(sorted(found, key=lambda one: one.id))
