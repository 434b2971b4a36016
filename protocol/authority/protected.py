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
from protocol.authority.bodies import Kind

# Guards: a plain member that resigns on a day to come. Removals are taken in whatever their date, kinds that
# are not known may be anybody's, and by the clocks of honest nodes nobody could sign any more until that day.
_TELL_THE_TIME = frozenset((Kind.ROTATE_ROOT, Kind.PROPERTIES, Kind.ANNUL, Kind.GRANT, Kind.INVITE))


@dataclass(slots=True)
class Protected:
    """A protected set that grows; when an act ceases to be effective, a new one is begun. `latest_hlc` is the
    largest one of its acts by which a clock can be judged; 0 for none.
    """

    nodes: dict[bytes, Node] = field(default_factory=dict)
    latest_hlc: int = 0

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
                if act.kind in _TELL_THE_TIME and act.admitted.place.hlc > self.latest_hlc:
                    self.latest_hlc = act.admitted.place.hlc
                if act.prev is not None and act.prev.id not in nodes:
                    waiting.append(act.prev)
                if act.cred is not None and act.cred.id not in nodes:
                    waiting.append(act.cred)
