"""Acts as evaluation sees them: tied to the acts that they name, and asked who comes before whom in a chain.

The acts of one author and chain form trees by `prev`, single lines where nobody forked. "a lies in the
ancestry of h" is the question behind every cut, asked for each act of a revoked key, so each act keeps a
second link besides `prev` that leads far back. How far depends on its number alone, which makes both
questions below logarithmic in the length of the chain, forked or not (Myers, "An applicative random-access
stack", 1983).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from protocol.authority.bodies import Kind
from protocol.authority.grants import Grant
from protocol.authority.root import Root

Heads = dict[bytes, list["Node"]]


@dataclass(slots=True, eq=False, repr=False)
class Node:
    """One admitted act. `effective` is None until it has been decided for the first time.

    `target` is whom its `keep` speaks of: the key that a revocation removes, the subject of a GRANT, the
    author of anything else. `heads` are the acts of the target that `keep` names and that have arrived, by
    chain.
    """

    id: bytes
    author: bytes
    chain: bytes
    seq: int
    level: int
    hlc: int
    kind: int
    prev: Node | None
    cred: Node | None
    target: bytes
    grant: Grant | None = None
    root: Root | None = None
    signers: tuple[bytes, ...] = ()
    until: int | None = None
    named: tuple[bytes, ...] = ()  # a GRANT's `adopts`, the act that an ANNUL takes back
    despite: tuple[bytes, ...] = ()
    heads: Heads | None = None
    citing: list[Node] | None = None
    back: Node = field(init=False)
    effective: bool | None = None
    excuses: dict[bytes, int] | None = None
    standing: tuple[bytes, ...] | None = None
    told: bool = False

    def __post_init__(self) -> None:
        """Tie the far link."""
        prev = self.prev
        if prev is None:
            self.back = self
        elif prev.seq - prev.back.seq == prev.back.seq - prev.back.back.seq:
            self.back = prev.back.back
        else:
            self.back = prev

    def add_head(self, head: Node) -> bool:
        """Take note of an act that `keep` names. False for somebody else's, which keeps nothing."""
        if head.author != self.target:
            return False
        if self.heads is None:
            self.heads = {}
        self.heads.setdefault(head.chain, []).append(head)
        return True

    @property
    def revokes(self) -> bool:
        """Whether it takes grants of a larger level from somebody."""
        return self.kind in (Kind.REVOKE_CREDENTIAL, Kind.REVOKE_KEY)


def at_seq(node: Node, seq: int) -> Node:
    """The act of number `seq`, not larger than its own, in the ancestry of an act."""
    while node.seq > seq:
        if node.back.seq >= seq:
            node = node.back
        else:
            assert node.prev is not None
            node = node.prev
    return node


def is_before(act: Node, head: Node) -> bool:
    """Whether an act is `head`, or in its ancestry by `prev`; both are of one author and chain."""
    return act.seq <= head.seq and at_seq(head, act.seq) is act


def meet(one: Node, other: Node) -> Node | None:
    """The last act that is before both, None when they have different beginnings."""
    seq = min(one.seq, other.seq)
    one, other = at_seq(one, seq), at_seq(other, seq)
    while one is not other:
        if one.prev is None or other.prev is None:
            return None
        if one.back is other.back:
            one, other = one.prev, other.prev
        else:
            one, other = one.back, other.back
    return one


def is_kept(act: Node, heads: Iterable[Node]) -> bool:
    """Whether an act lies in the ancestry of one of these heads of its chain."""
    return any(is_before(act, head) for head in heads)


def heads_of(node: Node, chain: bytes) -> list[Node]:
    """The heads that an act's `keep` names in a chain."""
    return [] if node.heads is None else node.heads.get(chain, [])


def common(one: Iterable[Node], other: Iterable[Node]) -> list[Node]:
    """Heads of one chain whose ancestry is what both lists keep.

    Of all places where one head meets the others, the deepest one has the rest before it, so the result is
    never longer than `one`.
    """
    others = list(other)
    kept = []
    for head in one:
        places = [place for each in others if (place := meet(head, each)) is not None]
        if places:
            kept.append(max(places, key=lambda place: place.seq))
    return kept
