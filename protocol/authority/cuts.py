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

from collections.abc import Iterable
from dataclasses import dataclass, field

from protocol.authority.ancestry import Heads, Node, heads_of
from protocol.authority.bodies import Kind
from protocol.authority.linked import Linked
from protocol.limits import LEVEL_INVITING_MEMBER


@dataclass(frozen=True, slots=True)
class Claim:
    """A grant as revocations see it, admitted here or not; `end` is its last second.

    `excuses` are the bits of the revocations from which it is exempt.
    """

    pid: bytes
    level: int
    author: bytes
    end: int
    excuses: int


@dataclass(slots=True)
class Cuts:
    """The revocations that hit a grant, ascending by id, and what all of them together keep."""

    hits: tuple[Node, ...]
    ids: tuple[bytes, ...]
    _kept: dict[bytes, Heads] = field(default_factory=dict)

    def keep(self, act: Node) -> bool:
        """Whether every hit leaves an act of the grant's subject standing."""
        return not self.hits or self._heads(act.chain).keep(act)

    def _heads(self, chain: bytes) -> Heads:
        heads = self._kept.get(chain)
        if heads is None:
            heads = heads_of(self.hits[0], chain)
            for hit in self.hits[1:]:
                if not heads.acts:
                    break
                heads = heads.common(heads_of(hit, chain))
            self._kept[chain] = heads
        return heads


NO_CUTS = Cuts((), ())


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


def may_overrule(removal: Node, pid: bytes, level: int) -> bool:
    """Whether a grant to `pid`, signed at `level`, may be made in spite of a revocation (rule 7)."""
    return removal.kind != Kind.REVOKE_KEY and removal.target == pid and level <= removal.level


def own_excuses(pid: bytes, level: int, despite: Iterable[bytes], linked: Linked) -> int:
    """The removals of a key that a grant to it names in `despite`, signed at a level that may."""
    excuses = 0
    for named in despite:
        removal = linked.nodes.get(named)
        if removal is not None and may_overrule(removal, pid, level):
            excuses |= removal.bit
    return excuses


def excuses_of(grant: Node, linked: Linked) -> int:
    """Those of a GRANT, and of the effective ones that it continues: step by step, for a line of renewals has
    no bound.
    """
    line, node = [], grant
    while node.excuses is None:
        line.append(node)
        before = linked.continued(node)
        if before is None or not before.effective:
            break
        node = before
    above = node.excuses or 0
    for node in reversed(line):
        above |= own_excuses(node.target, node.level, node.despite, linked)
        node.excuses = above
    return above


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
        key = (claim.level, whose, claim.excuses, resigning)
        cuts = ready.cuts.get(key)
        if cuts is None:
            hits = _hits(removals, claim, resigning)
            cuts = ready.cuts[key] = Cuts(hits, tuple(hit.id for hit in hits))
        return cuts


def _hits(removals: Iterable[Node], claim: Claim, resigning: bool) -> tuple[Node, ...]:
    found = [
        one
        for one in removals
        if one.effective
        and reaches(one, claim)
        and not claim.excuses & one.bit
        and not (resigning and one.kind == Kind.RESIGN and one.level == claim.level)
    ]
    return tuple(sorted(found, key=lambda one: one.id))
