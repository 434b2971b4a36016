"""Evaluation as slow and plain as the text of SPEC.md, "Evaluation": the oracle of the fast one.

Everything is recomputed, on ids and sets, with nothing of the code under test but the forms of acts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from protocol.authority.acts import Act
from protocol.authority.bodies import Kind
from protocol.authority.grants import Grant
from protocol.authority.view import View
from protocol.credentials.keys import PublicKey
from protocol.ids import split_ids
from tests.support.act_sets import Pair


@dataclass
class Outcome:
    """What a set means."""

    effective: set[bytes] = field(default_factory=set)
    hits: dict[bytes, tuple[bytes, ...]] = field(default_factory=dict)
    rotations: tuple[bytes, ...] = ()
    protected: set[bytes] = field(default_factory=set)

    @property
    def live(self) -> set[bytes]:
        return {one for one, hits in self.hits.items() if not hits and one in self.effective}


def records(outcome: Outcome, pairs: Iterable[Pair]) -> dict[bytes, tuple[bytes, ...] | None]:
    """The revocations that records under each grant have to pass, None for a grant that gives nothing."""
    acts = {act.id: (act, admitted.grant) for act, admitted in pairs if admitted.grant is not None}
    found: dict[bytes, tuple[bytes, ...] | None] = {}
    for act_id, (_, grant) in acts.items():
        able = [
            (len(outcome.hits[one]), one != act_id, one)
            for one, (act, other) in acts.items()
            if one in outcome.effective
            and (other.pid, other.level) == (grant.pid, grant.level)
            and (one == act_id or act_id in split_ids(getattr(act.body, "adopts", b"")))
        ]
        found[act_id] = outcome.hits[min(able)[2]] if able else None
    return found


class Oracle:
    """One set, and what has been decided of it so far."""

    def __init__(self, pairs: Iterable[Pair]) -> None:
        self.acts: dict[bytes, Act] = {}
        self.bodies: dict[bytes, Any] = {}
        self.grants: dict[bytes, Grant] = {}
        for act, admitted in pairs:
            self.acts[act.id] = act
            self.bodies[act.id] = act.body
            if admitted.grant is not None:
                self.grants[act.id] = admitted.grant
        self.before = {act_id: self._ancestry(act_id) for act_id in self.acts}
        self.effective: set[bytes] = set()
        self.line: list[bytes] = []

    def _ancestry(self, act_id: bytes) -> set[bytes]:
        found: set[bytes] = set()
        at: bytes | None = act_id
        while at is not None:
            found.add(at)
            at = self.acts[at].place.prev
        return found

    def keep_of(self, act: Act, whose: bytes) -> set[bytes]:
        """What the heads in `keep` that are by `whose` keep."""
        kept: set[bytes] = set()
        for head in split_ids(getattr(act.body, "keep", b"")):
            if head in self.acts and self.acts[head].place.author == whose:
                kept |= self.before[head]
        return kept

    # --- rule 2 -------------------------------------------------------------------------------------------

    def root(self) -> None:
        at = next((one.id for one in self.acts.values() if one.place.cred is None), None)
        winners: dict[bytes, Act] = {}
        while at is not None:
            self.line.append(at)
            version = self.bodies[at]
            pids = {_pid(raw) for raw in split_ids(version.operating)}
            found = [
                one for one in self.acts.values() if one.kind == Kind.ROTATE_ROOT and one.place.cred == at
            ]
            cosigned = [one for one in found if len(pids & set(one.signers)) >= version.threshold]
            best = min(cosigned or found, key=lambda one: one.id, default=None)
            if best is not None:
                winners[at] = best
            at = None if best is None else best.id
        self.effective |= set(self.line)
        for act in self.acts.values():
            if act.place.level == 0 and act.kind != Kind.ROTATE_ROOT and act.place.cred in self.line:
                end = winners.get(act.place.cred)
                if end is None or act.id in self.before[end.id] or act.id in self.keep_of(end, act.place.gid):
                    self.effective.add(act.id)

    # --- rules 3 to 8 -------------------------------------------------------------------------------------

    def target(self, act: Act) -> bytes:
        return act.place.author if act.kind == Kind.RESIGN else _pid(self.bodies[act.id].key)

    def hits(self, grant_id: bytes, *, before_resigns_of: int | None = None) -> list[Act]:
        """The effective removals that hit a grant."""
        grant = self.grants[grant_id]
        found = []
        for act in self.acts.values():
            if act.id not in self.effective or act.kind not in (
                Kind.RESIGN,
                Kind.REVOKE_CREDENTIAL,
                Kind.REVOKE_KEY,
            ):
                continue
            if self.target(act) != grant.pid:
                continue
            level = act.place.level
            if act.kind == Kind.RESIGN:
                if grant.level < level or level == before_resigns_of:
                    continue
            else:
                if not grant.level > level:
                    continue
                if level == 254 and grant.author != act.place.author:
                    continue
                until = self.bodies[act.id].until
                if until is not None and grant.window.end > until:
                    continue
            if act.kind != Kind.REVOKE_KEY and self.exempt(grant_id, act):
                continue
            found.append(act)
        return found

    def exempt(self, grant_id: bytes, removal: Act) -> bool:
        grant, body = self.grants[grant_id], self.bodies[grant_id]
        if removal.id in split_ids(body.despite) and grant.author_level <= removal.place.level:
            return True
        before = self.grants.get(grant.renews) if grant.renews is not None else None
        return (
            before is not None
            and before.act_id in self.effective
            and before.pid == grant.pid
            and before.level <= grant.level
            and self.exempt(before.act_id, removal)
        )

    def keeps(self, removal: Act, act: Act) -> bool:
        kept = self.keep_of(removal, self.target(removal))
        if removal.kind == Kind.RESIGN:
            kept |= self.before[removal.id]
        return act.id in kept

    def usable(self, grant_id: bytes, act: Act) -> bool:
        if grant_id not in self.effective:
            return False
        grant = self.grants[grant_id]
        if not grant.window.start <= act.place.hlc // 65536 // 1000 <= grant.window.end:
            return False
        mine = self.grants.get(act.id)
        if mine is not None and not (
            grant.window.start <= mine.window.start and mine.window.end <= grant.window.end
        ):
            return False
        same = act.place.level if act.kind == Kind.RESIGN else None
        return all(self.keeps(one, act) for one in self.hits(grant_id, before_resigns_of=same))

    def authorised(self, act: Act) -> bool:
        place = act.place
        assert place.cred is not None
        annuls = [
            one
            for one in self.acts.values()
            if one.kind == Kind.ANNUL and self.bodies[one.id].act == act.id and one.id in self.effective
        ]
        if any(one.place.level < place.level for one in annuls):
            return False
        if self.usable(place.cred, act):
            return True
        for other in self.grants.values():
            body = self.bodies[other.act_id]
            if (
                place.cred in split_ids(body.adopts)
                and other.pid == place.author
                and other.level == place.level
                and act.id in self.keep_of(self.acts[other.act_id], other.pid)
                and self.usable(other.act_id, act)
            ):
                return True
        return False

    def evaluate(self) -> Outcome:
        self.root()
        for level in range(1, 256):
            mine = [one for one in self.acts.values() if one.place.level == level]
            resigns = [one for one in mine if one.kind == Kind.RESIGN]
            others = [one for one in mine if one.kind != Kind.RESIGN]
            self.effective |= {one.id for one in resigns if self.authorised(one)}
            self.effective |= {one.id for one in others if self.authorised(one)}
        hits = {one: tuple(sorted(hit.id for hit in self.hits(one))) for one in self.grants}
        return Outcome(self.effective, hits, tuple(self.line), self.protected())

    # --- rule 9 -------------------------------------------------------------------------------------------

    def protected(self) -> set[bytes]:
        found: set[bytes] = set()
        waiting = list(self.effective)
        for act_id in self.effective:
            act = self.acts[act_id]
            if act.kind == Kind.GRANT:
                whose = self.grants[act_id].pid
            elif act.kind in (Kind.REVOKE_CREDENTIAL, Kind.REVOKE_KEY):
                whose = self.target(act)
            else:
                whose = act.place.author
            waiting += [
                head
                for head in split_ids(getattr(act.body, "keep", b""))
                if head in self.acts and self.acts[head].place.author == whose
            ]
        while waiting:
            act_id = waiting.pop()
            if act_id not in found:
                found.add(act_id)
                place = self.acts[act_id].place
                waiting += [one for one in (place.prev, place.cred) if one is not None]
        return found


@cache
def _pid(raw: bytes) -> bytes:
    return PublicKey(raw).pid


def outcome_of(pairs: Iterable[Pair]) -> Outcome:
    """What a set means, by the oracle."""
    return Oracle(pairs).evaluate()


def told_outcome(view: View, pairs: Iterable[Pair]) -> Outcome:
    """What a view says of the same."""
    acts = list(pairs)
    return Outcome(
        {act.id for act, _ in acts if view.is_effective(act.id)},
        {act.id: view.hits_of(act.id) for act, admitted in acts if admitted.grant is not None},
        view.rotations,
        set(view.protected()),
    )
