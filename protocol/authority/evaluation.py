"""Evaluation: which acts are effective, which grants are live, as a function of the set of admitted acts.

Whether an act counts depends on grants and revocations of smaller levels alone, but for a RESIGN, which also
binds its author at its own level. So one pass through the levels, ascending, decides all; at each level
RESIGNs first. Here the pass goes through what may have changed only: new acts, and those whose inputs are
other than before. From scratch, that is everything, so both are one piece of code. It waits until somebody
asks: many acts added one by one cost one pass.

What makes an act be looked at again: its `cred`, or a grant that adopts it, has become effective or void; a
revocation of its author's key has, or keeps more than before; an ANNUL of it has; the root has rotated. What
follows from an act has a larger level than the act, or is by the same author and decided after its RESIGN.

Source: authority-rules.md, "Rules, in order of evaluation"; the numbers below are its.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from protocol.authority.acts import Act
from protocol.authority.admission import Admitted
from protocol.authority.ancestry import Node, heads_of
from protocol.authority.bodies import Kind
from protocol.authority.cuts import CutsByKey, claim_of, excuses_of, is_exact, reaches
from protocol.authority.grants import Grant
from protocol.authority.linked import Linked, may_adopt
from protocol.authority.rotation import RootLine
from protocol.limits import LEVEL_ROOT
from protocol.peer_time import hlc_s

# As plain numbers: they are compared once or more for each act.
_ROTATE_ROOT, _ANNUL, _RESIGN = int(Kind.ROTATE_ROOT), int(Kind.ANNUL), int(Kind.RESIGN)
_REMOVALS = frozenset({int(Kind.REVOKE_CREDENTIAL), int(Kind.REVOKE_KEY), _RESIGN})


@dataclass(slots=True)
class _Due:
    """The acts of one level that are to be decided."""

    resigns: dict[Node, None] = field(default_factory=dict)
    others: dict[Node, None] = field(default_factory=dict)


class Evaluation:
    """The evaluation of a growing set. Its public state is right after `settle`.

    `live` holds the live grants by subject and act id; `revisions` counts the passes that took back or
    changed something already told, and `revised` are the grants among that; `grown` are effective acts that
    P(S) has not heard of.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self.linked = Linked()
        self.cuts = CutsByKey(self.linked)
        self.root = RootLine()
        self.live: dict[bytes, dict[bytes, Grant]] = {}
        self.revisions = 0
        self.revised: dict[bytes, None] = {}
        self.grown: list[Node] = []
        self._due: dict[int, _Due] = {}
        self._rotated = False
        self._touched: dict[Node, None] = {}
        self._taken_back = False
        self._cut_now: dict[tuple[bytes, int], None] = {}

    def add(self, act: Act, admitted: Admitted) -> Node:
        """Take in an act that is not there yet; it is decided when the next question comes."""
        node, namers = self.linked.add(act, admitted)
        if node.kind == _ROTATE_ROOT:
            self._rotated = True
        else:
            self._look_at(node)
        for namer in namers:
            self._keeps_more(namer)
        return node

    @property
    def settled(self) -> bool:
        """Whether nothing waits to be decided."""
        return not self._due and not self._rotated

    def settle(self) -> None:
        """Decide what waits."""
        if self._rotated:
            self._follow_rotations()
        while self._due:
            level = min(self._due)
            due = self._due[level]
            self._cut_now.clear()
            for node in due.resigns:
                self._decide(node)
            for node in due.others:
                self._decide(node)
            del self._due[level]
        self._tell()

    # --- what is to be decided ------------------------------------------------------------------------------

    def _look_at(self, node: Node) -> None:
        due = self._due.get(node.level)
        if due is None:
            due = self._due[node.level] = _Due()
        if node.kind == _RESIGN:
            due.resigns[node] = None
        else:
            due.others[node] = None

    def _look_under(self, grant: Node, removal: Node | None = None) -> None:
        """The acts that cite a grant, or one that it adopts and are kept by it. New ones are to be decided
        anyway.
        """
        for node in grant.citing or ():
            if node.effective is not None and may_change(node, removal):
                self._look_at(node)
        for adopted in self.linked.adopted(grant):
            for node in adopted.citing or ():
                known = node.effective is not None and may_change(node, removal)
                if known and heads_of(grant, node.chain).keep(node):
                    self._look_at(node)

    def _keeps_more(self, namer: Node) -> None:
        """A head that an act names has arrived."""
        if namer.kind == _ROTATE_ROOT:
            self._rotated = True
        elif namer.grant is not None:
            self._look_under(namer)
        elif namer.effective:
            self._cut(namer)
        if namer.effective:
            self.grown.append(namer)

    def _cut(self, removal: Node) -> None:
        """A removal hits something else, or leaves something else standing, than before."""
        self.cuts.forget(removal.target)
        if removal.kind != _RESIGN and not is_exact(removal):
            if (removal.target, removal.level) in self._cut_now:
                return  # what the other one hits waits already
            self._cut_now[removal.target, removal.level] = None
        for grant in self.linked.grants_to.get(removal.target, ()):
            if reaches(removal, claim_of(grant, self.linked)):
                self._touched[grant] = None
                self._look_under(grant, removal)

    def _excuse(self, grant: Node) -> None:
        """What a GRANT is exempt from has passed to those that continue it, or no longer does."""
        if grant.id not in self.linked.renewers or not excuses_of(grant, self.linked):
            return
        for one in self.linked.continuing(grant):
            one.excuses = None
            self._touched[one] = None
            self._look_under(one)

    def _follow_rotations(self) -> None:
        """Rule 2, for the rotations; what is signed under them waits for its turn."""
        self._rotated = False
        self.root.follow(self.linked.rotations)
        for rotation in self.linked.rotations:
            self._note(rotation, rotation in self.root.versions)
            for node in rotation.citing or ():
                if node.kind != _ROTATE_ROOT:
                    self._look_at(node)

    # --- deciding -------------------------------------------------------------------------------------------

    def _decide(self, node: Node) -> None:
        """Decide one act, and look at what follows from it if that is news."""
        if node.grant is not None:
            self._touched[node] = None
        if not self._note(node, self._is_effective(node)):
            return
        if node.grant is not None:
            self._look_under(node)
            self._excuse(node)
        elif node.kind in _REMOVALS:
            self._cut(node)
        elif node.kind == _ANNUL:
            target = self.linked.nodes.get(node.named[0])
            if target is not None and target.level > node.level:
                self._look_at(target)

    def _note(self, node: Node, effective: bool) -> bool:
        """Keep a verdict. Whether others may have to be looked at: those of a new void act know no other."""
        before, node.effective = node.effective, effective
        if effective and not before:
            self.grown.append(node)
        if before is not None and before != effective:
            self._taken_back = True
        return bool(before) != effective

    def _is_effective(self, act: Node) -> bool:
        """Rule 3, and at level 0 rule 2."""
        if act.level == LEVEL_ROOT:
            return self.root.counts(act)
        annuls = self.linked.annuls.get(act.id)
        if annuls is not None and any(is_annulled(act, annul) for annul in annuls):
            return False
        cred = act.cred
        assert cred is not None
        if self._is_usable(cred, act):
            return True
        return any(
            may_adopt(one.grant, cred.grant)
            and heads_of(one, act.chain).keep(act)
            and fits_window(act, one)
            and self._is_usable(one, act)
            for one in self.linked.adopters.get(cred.id, ())
        )

    def _is_usable(self, grant: Node, act: Node) -> bool:
        """Whether a grant is effective, and all that hits it keeps the act."""
        if not grant.effective:
            return False
        if grant.target not in self.linked.removals:
            return True
        return self.cuts.on_grant(grant, resigning=act.kind == _RESIGN).keep(act)

    # --- what comes of it -----------------------------------------------------------------------------------

    def standing_of(self, grant: Node) -> tuple[bytes, ...] | None:
        """The ids of the revocations that hit a grant; None while it is void."""
        if not grant.effective:
            return None
        return self.cuts.on_grant(grant).ids

    def _tell(self) -> None:
        """Bring the live grants up to date, and note which of those told before have changed."""
        for node in self._touched:
            standing, before, fresh = self.standing_of(node), node.standing, not node.told
            node.standing, node.told = standing, True
            if standing == before:
                continue
            self._put(node, live=standing == ())
            if fresh and not node.named:
                continue
            for one in (*(() if fresh else (node,)), *self.linked.adopted(node)):
                if one.told:
                    self.revised[one.id] = None
                    self._taken_back = True
        self._touched.clear()
        self.revisions += self._taken_back
        self._taken_back = False

    def _put(self, node: Node, *, live: bool) -> None:
        assert node.grant is not None
        mine = self.live.get(node.target)
        if live:
            if mine is None:
                mine = self.live[node.target] = {}
            mine[node.id] = node.grant
        elif mine is not None and mine.pop(node.id, None) is not None and not mine:
            del self.live[node.target]


def may_change(act: Node, removal: Node | None) -> bool:
    """Whether a removal, or another change above, bears on an act: of their own level RESIGNs ignore each
    other, and have been decided.
    """
    return removal is None or act.level > removal.level or act.kind != _RESIGN


def is_annulled(act: Node, annul: Node) -> bool:
    """Whether an ANNUL of an act takes it back (rule 8): it is effective, and strictly senior."""
    return bool(annul.effective) and annul.level < act.level


def fits_window(act: Node, grant: Node) -> bool:
    """Whether an act could have been signed under a grant that adopts its own: its date lies inside, and so
    does the window that it grants. Admission has seen to this for its `cred`.
    """
    assert grant.grant is not None
    window = grant.grant.window
    return window.holds(hlc_s(act.admitted.place.hlc)) and (
        act.grant is None or act.grant.window.within(window)
    )
