"""Acts as evaluation sees them: tied to the acts that they name, and asked who comes before whom in a chain.

The acts of one author and chain form trees by `prev`, single lines where nobody forked. "a lies in the
ancestry of h" is the question behind every cut, asked for each act of a revoked key, so each act keeps a
second link besides `prev` that leads far back. How far depends on its number alone, which makes both
questions below logarithmic in the length of the chain, forked or not (Myers, "An applicative random-access
stack", 1983).
"""

from __future__ import annotations

from collections.abc import Iterable

from protocol.authority.acts import Act
from protocol.authority.admission import Admitted

Heads = dict[bytes, list["Node"]]


class Node:
    """One admitted act. `effective` is None until it has been decided for the first time.

    `target` is whom its `keep` speaks of: the key that a revocation removes, the subject of a GRANT, the
    author of anything else. `heads` are the acts of the target that `keep` names and that have arrived, by
    chain. `named` is what a GRANT adopts, or what an ANNUL takes back; `citing` lists the acts whose `cred`
    this is. Of a GRANT, `standing` are the revocations that hit it, None while it is void, as it was `told`.
    """

    __slots__ = (
        "admitted",
        "author",
        "back",
        "chain",
        "citing",
        "cred",
        "despite",
        "effective",
        "excuses",
        "grant",
        "heads",
        "id",
        "kind",
        "level",
        "named",
        "prev",
        "seq",
        "signers",
        "standing",
        "target",
        "told",
        "until",
    )

    def __init__(self, act: Act, admitted: Admitted, prev: Node | None, cred: Node | None) -> None:
        """Tie an act to those before and above it; what its body says is for others to read."""
        place = act.place
        self.id = act.id
        self.author = self.target = place.author
        self.chain = place.chain
        self.seq = place.seq
        self.level = place.level
        self.kind = act.kind
        self.prev = prev
        self.cred = cred
        self.admitted = admitted
        self.grant = admitted.grant
        self.signers = act.signers
        self.until: int | None = None
        self.named: tuple[bytes, ...] = ()
        self.despite: tuple[bytes, ...] = ()
        self.heads: Heads | None = None
        self.citing: list[Node] | None = None
        self.effective: bool | None = None
        self.excuses: dict[bytes, int] | None = None
        self.standing: tuple[bytes, ...] | None = None
        self.told = False
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


def at_seq(node: Node, seq: int) -> Node:
    """The act of number `seq` in the ancestry of an act; the act itself when `seq` is larger than its own."""
    while node.seq > seq:
        if node.back.seq >= seq:
            node = node.back
        else:
            assert node.prev is not None
            node = node.prev
    return node


def is_before(act: Node, head: Node) -> bool:
    """Whether an act is `head`, or in its ancestry by `prev`."""
    return at_seq(head, act.seq) is act


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
