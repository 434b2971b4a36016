"""Groups whose recovery key is known, and what their people do with it."""

from __future__ import annotations

from typing import Any

import pytest

from peerd.control import root_schema, schema
from peerd.errors import PeerdError
from protocol.errors import RuleError
from tests.support.cluster import Cluster, Node, agreed, until


async def found_with_key(node: Node, classifier: str = "family") -> tuple[str, str]:
    """Create a group; its name and its recovery key."""
    node.identify()
    recovery = node.service.make_recovery_key()
    wish = schema.GroupCreate(
        classifier=classifier, recovery_token=recovery.recovery_token, recovery_delivered=True
    )
    return (await node.service.create_group(wish)).group, recovery.recovery_key


async def circle(nodes: Cluster, *others: str) -> tuple[str, str]:
    """alice creates a group, bob is an administrator, the others are members; all are linked and agree."""
    alice, *rest = await nodes.start("alice", "bob", *others)
    group, key = await found_with_key(alice)
    for node in rest:
        await alice.issue(group, node, role="admin" if node.name == "bob" else "member")
        await node.join(group, alice)
    await until(lambda: all(node.links(group) for node in rest) and agreed(group, nodes.all()), within_s=60)
    return group, key


async def rotate(
    node: Node, group: str, *keys: str, draw: root_schema.RecoveryDraw | None = None, **wish: Any
) -> tuple[root_schema.RootRotated, schema.RecoveryKey]:
    """Replace the root; what came of it, and the next recovery keys."""
    drawn = node.service.make_recovery_key(draw)
    rotation = root_schema.RootRotation(
        recovery_keys=list(keys), recovery_token=drawn.recovery_token, recovery_delivered=True, **wish
    )
    return await node.service.rotate_root(group, rotation), drawn


async def refused(call: Any) -> str:
    """The slug under which a call is refused, which has a hint beside it."""
    with pytest.raises((RuleError, PeerdError)) as caught:
        await call
    assert isinstance(caught.value, RuleError | PeerdError)
    assert caught.value.hint
    return str(caught.value.code)


def noted(drawn: schema.RecoveryKey) -> list[str]:
    """Recovery keys as they stand in their files."""
    return [f"# a note\n# set: {drawn.recovery_set}\n{key}\n" for key in drawn.recovery_keys]
