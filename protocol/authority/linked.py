"""The set of admitted acts with the references between them, those by name too.

`prev` and `cred` are there when an act is admitted. What its body names (`keep`, `adopts`, `renews`, the
target of an ANNUL) may arrive later or never; it is found by id when it is looked for, but for the heads of a
`keep`: they are tied to their act when the later of the two arrives, since every cut is asked often.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from protocol.authority.acts import Act
from protocol.authority.admission import Admitted
from protocol.authority.ancestry import Node
from protocol.authority.bodies import (
    AnnulBody,
    GrantBody,
    ResignBody,
    RevokeBody,
    RotateRootBody,
)
from protocol.authority.grants import Grant
from protocol.credentials.keys import public_key_untrusted
from protocol.errors import RemoteProtocolError
from protocol.ids import split_ids

_NOBODY = b""


@dataclass(slots=True)
class Linked:
    """All admitted acts. The indexes list acts by whom or what they name: GRANTs by subject, by the grant
    that they adopt and by the one that they renew, ANNULs by target, and removals (revocations, and RESIGNs)
    by the key that they remove.
    """

    nodes: dict[bytes, Node] = field(default_factory=dict)
    grants_to: dict[bytes, list[Node]] = field(default_factory=dict)
    adopters: dict[bytes, list[Node]] = field(default_factory=dict)
    renewers: dict[bytes, list[Node]] = field(default_factory=dict)
    annuls: dict[bytes, list[Node]] = field(default_factory=dict)
    removals: dict[bytes, list[Node]] = field(default_factory=dict)
    rotations: list[Node] = field(default_factory=list)
    _heads_awaited: dict[bytes, list[Node]] = field(default_factory=dict)
    _excuses_awaited: dict[bytes, list[Node]] = field(default_factory=dict)

    def add(self, act: Act, admitted: Admitted) -> tuple[Node, list[Node]]:
        """Tie in an act that is not there yet. Returned with it: the acts whose `keep` names it and says
        more, now that it has arrived.
        """
        place, nodes = act.place, self.nodes
        prev = None if place.prev is None else nodes[place.prev]
        cred = None if place.cred is None else nodes[place.cred]
        node = Node(act, admitted, prev, cred)
        nodes[node.id] = node
        if cred is not None:
            if cred.citing is None:
                cred.citing = []
            cred.citing.append(node)
        self._read_body(node, act)
        if node.id not in self._heads_awaited:
            return node, []
        return node, [one for one in self._heads_awaited.pop(node.id) if one.add_head(node)]

    def _read_body(self, node: Node, act: Act) -> None:
        body = act.body
        if isinstance(body, GrantBody):
            self._read_grant(node, body)
        elif isinstance(body, RevokeBody):
            node.target, node.until = _pid_of(body.key), body.until
            self._add_removal(node)
            self._tie_heads(node, body.keep)
        elif isinstance(body, ResignBody):
            self._add_removal(node)
            self._tie_heads(node, body.keep)
            node.add_head(node)
        elif isinstance(body, AnnulBody):
            node.named = (body.act,)
            self.annuls.setdefault(body.act, []).append(node)
        elif isinstance(body, RotateRootBody):
            self.rotations.append(node)
            self._tie_heads(node, body.keep)

    def _add_removal(self, node: Node) -> None:
        others = self.removals.setdefault(node.target, [])
        node.bit = 1 << len(others)
        others.append(node)
        for grant in self._excuses_awaited.pop(node.id, ()):
            for one in (grant, *self.continuing(grant)):
                one.excuses = None

    def _read_grant(self, node: Node, body: GrantBody) -> None:
        assert node.grant is not None
        node.target = node.grant.pid
        self.grants_to.setdefault(node.target, []).append(node)
        if body.renews is not None:
            self.renewers.setdefault(body.renews, []).append(node)
        if body.despite:
            node.despite = split_ids(body.despite)
            for named in node.despite:
                if named not in self.nodes:
                    self._excuses_awaited.setdefault(named, []).append(node)
        if body.adopts:
            node.named = tuple(dict.fromkeys(split_ids(body.adopts)))
            for adopted in node.named:
                self.adopters.setdefault(adopted, []).append(node)
        if body.keep:
            self._tie_heads(node, body.keep)

    def _tie_heads(self, node: Node, keep: bytes) -> None:
        for head_id in dict.fromkeys(split_ids(keep)):
            head = self.nodes.get(head_id)
            if head is None:
                self._heads_awaited.setdefault(head_id, []).append(node)
            else:
                node.add_head(head)

    def adopted(self, adopter: Node) -> list[Node]:
        """The grants that have arrived of those that a GRANT adopts and may: its subject's, of its level."""
        if not adopter.named:
            return []
        found = [self.nodes.get(named) for named in adopter.named]
        return [one for one in found if one is not None and may_adopt(adopter.grant, one.grant)]

    def continued(self, grant: Node) -> Node | None:
        """The grant that a GRANT renews: of the same subject, at its level or a smaller one."""
        assert grant.grant is not None
        if grant.grant.renews is None:
            return None
        before = self.nodes.get(grant.grant.renews)
        return before if before is not None and may_continue(grant.grant, before.grant) else None

    def continuing(self, grant: Node) -> list[Node]:
        """The GRANTs that continue one, directly or not."""
        found, at = [grant], 0
        while at < len(found):
            before = found[at]
            at += 1
            renewals = self.renewers.get(before.id, ())
            found += [one for one in renewals if may_continue(one.grant, before.grant)]
        return found[1:]


def may_adopt(adopter: Grant | None, grant: Grant | None) -> bool:
    """Whether one GRANT can stand in for another: of the same key, at the same level."""
    return (
        adopter is not None and grant is not None and (adopter.pid, adopter.level) == (grant.pid, grant.level)
    )


def may_continue(grant: Grant | None, before: Grant | None) -> bool:
    """Whether one GRANT can be the renewal of another: of the same key, not at a smaller level."""
    return (
        grant is not None and before is not None and before.pid == grant.pid and before.level <= grant.level
    )


def _pid_of(raw: bytes) -> bytes:
    """The pid of a revoked key; no grant can be to a key that is not acceptable."""
    try:
        return public_key_untrusted(raw).pid
    except RemoteProtocolError:
        return _NOBODY
