"""Why an act is void: the rule that decided, and the acts that it rests on, for those who ask.

Evaluation stops at the first thing that speaks for an act; here what speaks against it is collected, for one
act at a time. What an adoption lacks is not told: the act's own credential is what people know of.
"""

from __future__ import annotations

from dataclasses import dataclass

from protocol.authority.ancestry import Node, heads_of
from protocol.authority.bodies import Kind
from protocol.authority.evaluation import Evaluation, is_annulled
from protocol.limits import LEVEL_ROOT


@dataclass(frozen=True, slots=True)
class Reason:
    """`rule` is one of `annulled`, `credential-void`, `outside-the-cut`, `root-replaced`,
    `rotation-outdone` and `version-void`; `acts` are the ANNULs, the credential, the revocations that do not
    keep the act, the rotation that does not, the rotation that won, or the version that was signed under.
    """

    rule: str
    acts: tuple[bytes, ...]


def why_void(evaluation: Evaluation, node: Node) -> Reason | None:
    """Why an act of a settled evaluation is not effective; None when it is."""
    if node.effective or node.cred is None:
        return None
    if node.level == LEVEL_ROOT:
        return _why_void_at_root(evaluation, node, node.cred)
    annuls = evaluation.linked.annuls.get(node.id, ())
    annulled = tuple(annul.id for annul in annuls if is_annulled(node, annul))
    if annulled:
        return Reason("annulled", annulled)
    if not node.cred.effective:
        return Reason("credential-void", (node.cred.id,))
    cuts = evaluation.cuts.on_grant(node.cred, resigning=node.kind == Kind.RESIGN)
    against = tuple(hit.id for hit in cuts.hits if not heads_of(hit, node.chain).keep(node))
    return Reason("outside-the-cut", against)


def _why_void_at_root(evaluation: Evaluation, node: Node, version: Node) -> Reason:
    if not version.effective:
        return Reason("version-void", (version.id,))
    end = evaluation.root.versions[version]
    assert end is not None
    return Reason("rotation-outdone" if node.kind == Kind.ROTATE_ROOT else "root-replaced", (end.id,))
