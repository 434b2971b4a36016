"""P(S), the protected set: the acts that a node keeps, digests and passes on.

They are the effective acts and the heads that their `keep` names (of the target, the subject, or their own
author), with all that these need by `prev` and `cred`. The view of P(S) is the view of S, so what a revoked
key goes on signing is no part of any digest; void acts wait in a side store, and return when a later act
makes them effective (SPEC.md, "Evaluation", rule 9).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from protocol.authority.ancestry import Node


@dataclass(slots=True)
class Protected:
    """A protected set that grows; when an act ceases to be effective, a new one is begun."""

    nodes: dict[bytes, Node] = field(default_factory=dict)

    def grow(self, effective: Iterable[Node]) -> None:
        """Protect some effective acts, new ones, or old ones of whose heads another has arrived."""
        nodes, waiting = self.nodes, []
        for act in effective:
            if act.id not in nodes or act.heads is not None:
                waiting.append(act)
                if act.heads is not None:
                    waiting += (head for heads in act.heads.values() for head in heads.acts)
        while waiting:
            act = waiting.pop()
            if act.id not in nodes:
                nodes[act.id] = act
                if act.prev is not None and act.prev.id not in nodes:
                    waiting.append(act.prev)
                if act.cred is not None and act.cred.id not in nodes:
                    waiting.append(act.cred)
