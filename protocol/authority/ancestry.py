"""Acts as evaluation sees them: tied to the acts that they name, and asked who comes before whom in a chain.

The acts of one author and chain form trees by `prev`, single lines where nobody forked. "a lies in the
ancestry of h" is the question behind every cut, asked for each act of a revoked key, so each act keeps a
second link besides `prev` that leads far back. How far depends on its number alone, which makes both
questions below logarithmic in the length of the chain, forked or not (Myers, "An applicative random-access
stack", 1983).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from protocol.authority.acts import Act
from protocol.authority.admission import Admitted

FEW_HEADS = 4  # asked one by one; what more of them keep is written down


class Node:
    """One admitted act. `effective` is None until it has been decided for the first time.

    `target` is whom its `keep` speaks of: the key that a revocation removes, the subject of a GRANT, the
    author of anything else. `heads` are the acts of the target that `keep` names and that have arrived, by
    chain. `named` is what a GRANT adopts, or what an ANNUL takes back; `citing` lists the acts whose `cred`
    this is. `bit` stands for a removal among those of its target, and a GRANT's `excuses` are the bits of
    those from which it is exempt. Of a GRANT, `standing` are the revocations that hit it, None while it is
    void, as it was `told`.
    """

    __slots__ = (
        "admitted",
        "author",
        "back",
        "bit",
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
        self.heads: dict[bytes, Heads] | None = None
        self.citing: list[Node] | None = None
        self.effective: bool | None = None
        self.bit = 0
        self.excuses: int | None = None
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
        if head.chain in self.heads:
            self.heads[head.chain].add(head)
        else:
            self.heads[head.chain] = Heads([head])
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


class Heads:
    """Some acts of one chain, and with them their ancestry: what a cut keeps of the chain."""

    __slots__ = ("_marked", "acts")

    def __init__(self, acts: Sequence[Node] = ()) -> None:
        """Begin with these."""
        self.acts = list(acts)
        self._marked: set[Node] | None = None

    def add(self, head: Node) -> None:
        """One more."""
        self.acts.append(head)
        self._marked = None

    def keep(self, act: Node) -> bool:
        """Whether an act lies in the ancestry of one of them."""
        if len(self.acts) <= FEW_HEADS:
            return any(is_before(act, head) for head in self.acts)
        if self._marked is None:
            self._marked = ancestry(self.acts)
        return act in self._marked

    def common(self, other: Heads) -> Heads:
        """Heads whose ancestry is what both keep.

        Of all places where one head meets the others, the deepest one has the rest before it, so there are
        never more of them than here.
        """
        if len(self.acts) * len(other.acts) > FEW_HEADS**2:
            return Heads(_first_marked(self.acts, ancestry(other.acts)))
        kept: dict[Node, None] = {}
        for head in self.acts:
            places = [place for each in other.acts if (place := meet(head, each)) is not None]
            if places:
                kept[max(places, key=lambda place: place.seq)] = None
        return Heads(list(kept))


NO_HEADS = Heads()


def ancestry(heads: Iterable[Node]) -> set[Node]:
    """All acts that lie in the ancestry of some; for asking who is in it, in no order."""
    marked: set[Node] = set()
    for head in heads:
        node: Node | None = head
        while node is not None and node not in marked:
            marked.add(node)
            node = node.prev
    return marked


def _first_marked(heads: Iterable[Node], marked: set[Node]) -> list[Node]:
    """The first marked act before each head; no act is passed twice."""
    passed: set[Node] = set()
    kept: dict[Node, None] = {}
    for head in heads:
        node: Node | None = head
        while node is not None and node not in marked and node not in passed:
            passed.add(node)
            node = node.prev
        if node is not None and node in marked:
            kept[node] = None
    return list(kept)


def heads_of(node: Node, chain: bytes) -> Heads:
    """The heads that an act's `keep` names in a chain."""
    return NO_HEADS if node.heads is None else node.heads.get(chain, NO_HEADS)
