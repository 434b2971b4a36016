"""Users: what people do in a simulated group, at random nodes and at random."""

from __future__ import annotations

import random

from protocol.authority.issuing import CredentialInfo, IssueRequest
from protocol.credentials.roles import ADMIN, INVITING_MEMBER, MEMBER
from protocol.machines.events import AddRecord, DeleteRecord, UpdateRecord
from protocol.records.attributes import DATE, INT, STRING, Attribute
from protocol.records.reserved import is_reserved
from protocol.sim.history import shown_of
from protocol.sim.node import Node
from protocol.sim.world import World

DAY_S = 86_400
TYPES = ("note", "todo", "app.state")
LIVES_S = (30, 90, 3_600, 80 * DAY_S)
BODIES = (0, 0, 10, 200, 300, 5_000, 20_000, 150_000)
SIGNER_SKEW_MS_MAX = 900_000  # an act that is years ahead would hold up a run for years


def role_of(name: str) -> int:
    """Some administrators, some inviting members; the last nodes, where the faulty ones are, are members."""
    number = int(name[1:])
    return {1: ADMIN, 2: MEMBER, 3: INVITING_MEMBER, 6: ADMIN}.get(number % 10, MEMBER)


def issue_something(world: World) -> None:
    """Somebody who may issues to somebody: a renewal, another role or name, or a newcomer without a node."""
    rng = world.rng
    issuers = [
        node
        for node in world.honest()
        if (role_of(node.name) != MEMBER or node is world.creator) and abs(node.skew_ms) <= SIGNER_SKEW_MS_MAX
    ]
    if not issuers:
        return
    node, name = rng.choice(issuers), f"n{rng.randrange(len(world.nodes) * 2)}"
    info: CredentialInfo | None = CredentialInfo(role=rng.choice((MEMBER, MEMBER, INVITING_MEMBER, ADMIN)))
    if name in world.nodes:
        info = rng.choice((None, None, info, CredentialInfo(friendly_name=f"Node {rng.randrange(100)}")))
    stored = rng.random() < 0.9
    key = world.key(name).public if info is not None else None
    world.ask_for(node, [IssueRequest(world.peer_name(name), key, info, store=stored, invitation=not stored)])


def write_something(world: World) -> None:
    """Somebody adds a record, or changes or deletes one that is shown, of its own or of somebody else."""
    rng, nodes = world.rng, world.honest()
    if not nodes:
        return
    node = rng.choice(nodes)
    shown = [one for one in shown_of(node).values() if not is_reserved(one.type)]
    if not shown or rng.random() < 0.4:
        world.write(node, new_record(rng, node.moment().utc_s))
        return
    chosen = rng.choice(shown)
    stale = rng.random() < 0.1
    if_version = rng.choice((None, chosen.id)) if not stale else bytes(32)
    if rng.random() < 0.25:
        world.write(node, DeleteRecord(chosen.record_id, if_version))
        return
    expires = None
    if chosen.expires is not None and rng.random() < 0.5:
        expires = chosen.expires + rng.choice(LIVES_S)
    attributes = some_attributes(rng) if rng.random() < 0.5 else None
    body = some_body(rng) if rng.random() < 0.7 else None
    world.write(node, UpdateRecord(chosen.record_id, attributes, body, expires, if_version=if_version))


def new_record(rng: random.Random, now_s: int) -> AddRecord:
    """A wish for a record of either class."""
    expires = now_s + rng.choice(LIVES_S) if rng.random() < 0.5 else None
    refresh = expires is not None and rng.random() < 0.2
    return AddRecord(rng.choice(TYPES), some_attributes(rng), some_body(rng), expires, refresh)


def some_attributes(rng: random.Random) -> tuple[Attribute, ...]:
    """None to three attributes."""
    every = (
        Attribute("title", STRING, rng.choice(("draft", "Entwürfe", ""))),
        Attribute("priority", INT, rng.randrange(-5, 5)),
        Attribute("due", DATE, 1_790_000_000_000 + rng.randrange(10**9)),
    )
    return tuple(sorted(rng.sample(every, rng.randrange(4))))


def some_body(rng: random.Random) -> bytes:
    """A body that may be flooded, may be transferred, or must be fetched; sometimes the same as another."""
    size = rng.choice(BODIES)
    return rng.choice((rng.randbytes(size), bytes(size)))


def shown_count(node: Node) -> int:
    """How many records of users a node shows."""
    return sum(not is_reserved(one.type) for one in shown_of(node).values())
