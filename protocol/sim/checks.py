"""Checks: what must hold in a world, at any moment or once it is quiet. Each raises CheckFailed.

At any moment: what a node holds is admissible from nothing and means what its machine thinks it means; a
grant that was promised to a user is in the store of the node that promised it; a node goes by the best
credential that it has; nothing that is bounded is over its bound; every neighbor is a member.

Once all faults have ended and time has passed: all nodes hold the same, hold everything that was promised,
and no session is left over.
"""

from __future__ import annotations

from collections.abc import Iterable

from protocol.authority.acts import Act
from protocol.authority.admission import Valid, admit
from protocol.authority.bundle import stands
from protocol.authority.elements import Element, admit_der
from protocol.authority.grants import Grant
from protocol.authority.view import View
from protocol.limits import (
    HELD_BYTES_MAX,
    HELD_PER_LINK_MAX,
    KNOWN_ADDRESSES_MAX,
    LINKS_MAX,
    MEMBERSHIP_RECHECK_MS,
    OUTBOX_BYTES_MAX,
    QUARANTINED_MAX,
)
from protocol.machines.members import Members
from protocol.machines.ordered_ids import OrderedIds
from protocol.peer_time import hlc_s
from protocol.sim.claims import CheckFailed, require
from protocol.sim.node import Node
from protocol.sim.opening import read_element
from protocol.sim.record_checks import (
    check_equal_sets,
    check_history,
    check_quiet_records,
    check_record_bounds,
    check_records,
)
from protocol.sim.world import World

CHECKED_AT_ONCE = 32  # nodes: a full look at a thousand takes minutes
_ELEMENT_BYTES_MIN = 200  # no act is shorter: its ids and signature alone are


def check_always(world: World) -> None:
    """All that must hold at any moment; of a large group, some nodes are looked at each time."""
    looked_at = world.next_to_check(CHECKED_AT_ONCE)
    for node in looked_at:
        check_bounds(node)
        check_record_bounds(node)
        summary, ids = node.machine.synchronize.summary(), node.machine.data.ids
        state = (node.life, summary.count, summary.digest)
        if world.checked.get(node.name) != state:
            check_set(node, world)
            world.checked[node.name] = state
        of_records = (node.life, len(ids), ids.durable.digest(), ids.expiring.digest(), summary.count)
        if world.checked_records.get(node.name) != of_records:
            check_records(node)
            world.checked_records[node.name] = of_records
        check_history(node, world)
        check_own_credential(node, world)
    check_equal_sets(looked_at)
    check_promises(world)
    check_neighbors(looked_at, world)


def check_quiet(world: World) -> None:
    """All that must hold besides, once every fault is over and the group has had time."""
    check_always(world)
    check_agreement(world)
    check_quiet_records(world)
    for node in world.honest():
        lost = [
            grant.hex()[:8] for grant in world.promised if node.machine.members.view.admitted(grant) is None
        ]
        require(not lost, "promises", f"{node.name} lacks the promised grants {lost}")
        ends = node.ends()
        left = [
            ends[link].peer for link in node.machine.synchronize.busy if ends[link].peer not in world.faulty
        ]
        require(not left, "sessions", f"{node.name} has sessions left over with {left}")


def check_set(node: Node, world: World) -> None:
    """What is stored came parents first, is admitted one by one from nothing, and gives the view and the
    digest in use.
    """
    raws = list(node.store.load())
    _check_causes(node, [read_element(raw) for raw in raws])
    content = frozenset(raws)
    if content not in world.judged:
        world.note_judged(content, _judge(node, raws))
    ids, meaning = world.judged[content]
    live = node.machine.members
    require(ids == _entries_inside(live), "validity", f"{node.name}'s ids are not its store's")
    require(meaning == _meaning(live.view), "validity", f"{node.name}'s view is not its store's")


def _entries_inside(members: Members) -> bytes:
    """The ordered ids of what is in the set; what is delayed is only known of."""
    if not len(members.delayed):
        return members.ids.entries(0, len(members.ids))
    inside = OrderedIds(members.ids)
    for place in members.delayed.places():
        require(inside.discard(*place), "validity", "something is delayed that nobody knows of")
    return inside.entries(0, len(inside))


def _check_causes(node: Node, elements: Iterable[Element]) -> None:
    """Whoever goes through the store meets parents first."""
    met: dict[bytes, None] = {}
    for element in elements:
        if isinstance(element, Act):
            causes = [name for name in (element.place.prev, element.place.cred) if name is not None]
        else:
            causes = [element.act_id]
        late = [cause.hex()[:8] for cause in causes if cause not in met]
        require(not late, "validity", f"{node.name} holds {element.id.hex()[:8]} before its causes {late}")
        met[element.id] = None


def _judge(node: Node, raws: Iterable[bytes]) -> tuple[bytes, object]:
    """The ordered ids of what is passed on of a store's elements, and what they mean, from nothing."""
    view = View(node.gid)
    pairs: list[tuple[bytes, int, bytes]] = []  # of each element: its act, the act's second, its id
    for raw in raws:
        element = read_element(raw)
        if isinstance(element, Act):
            verdict = admit(element, view)
            if not isinstance(verdict, Valid):
                raise CheckFailed(f"validity: {node.name} holds an act: {verdict}")
            view.add(element, verdict.admitted)
            pairs.append((element.id, element.hlc_s, element.id))
        else:
            refusal = admit_der(element, view)
            if refusal is not None:
                raise CheckFailed(f"validity: {node.name} holds a certificate: {refusal}")
            view.add_der(element.act_id, element.id)
            act = view.admitted(element.act_id)
            assert act is not None
            pairs.append((act.id, hlc_s(act.place.hlc), element.id))
    ids = OrderedIds((second, name) for act_id, second, name in pairs if view.is_protected(act_id))
    return ids.entries(0, len(ids)), _meaning(view)


def _meaning(view: View) -> object:
    """What a view says, in a form that can be compared."""
    grants = {
        pid: sorted((grant.act_id, view.der_of(grant.act_id) or b"") for grant in view.live_grants(pid))
        for pid in view.subjects()
    }
    return grants, view.properties, view.latest_hlc, view.root


def check_own_credential(node: Node, world: World) -> None:
    """The credential in use is the best of those that the store and the kept evidence give, without what
    the node was told is revoked.
    """
    members, now_s = node.machine.members, node.moment().utc_s
    held = members.view.holding(node.key.public.pid, now_s)
    raw = members.own_bundle(now_s, node.store)
    shown = world.read(raw) if raw else None
    if shown is not None and shown.leaf.window.holds(now_s) and stands(members.view, shown):
        held.append(shown.leaf)
    held = [grant for grant in held if not members.is_told_revoked(grant)]
    best, used = min(held, key=Grant.rank, default=None), members.own_grant(now_s)
    if (best and best.act_id) != (used and used.act_id):
        raise CheckFailed(f"own credential: {node.name} goes by {used}, and the best is {best}")


def check_bounds(node: Node) -> None:
    """Nothing grows beyond its limit."""
    machine = node.machine
    held_max = min(HELD_BYTES_MAX // _ELEMENT_BYTES_MIN, HELD_PER_LINK_MAX * 64)
    bounds = {
        "held": (machine.members.held, held_max),
        "quarantined": (machine.members.quarantined, QUARANTINED_MAX),
        "addresses": (len(machine.dialling), KNOWN_ADDRESSES_MAX),
        "links": (len(machine.links), KNOWN_ADDRESSES_MAX if machine.dialling.only else LINKS_MAX),
        "outbox": (max((end.outbox_bytes for end in node.ends().values()), default=0), OUTBOX_BYTES_MAX),
    }
    for name, (used, limit) in bounds.items():
        require(used <= limit, "bounds", f"{node.name}: {name} {used}, at most {limit}")


def check_promises(world: World) -> None:
    """A grant whose issuing was answered is durable where it was issued, whatever has happened since."""
    for grant_id, name in world.promised.items():
        node = world.nodes[name]
        require(
            not node.up or node.store.get(grant_id) is not None,
            "promises",
            f"{name} has lost the grant {grant_id.hex()[:8]} that it promised",
        )


def check_neighbors(nodes: Iterable[Node], world: World) -> None:
    """Whoever is a neighbor is a member, or has been until a minute ago; nobody is his own.

    By the node's clock or by the right one: when it has just jumped, its links may stand for that minute.
    """
    for node in nodes:
        clocks = (node.moment().utc_s, world.now_s)
        seconds = [at_s - ago_s for at_s in clocks for ago_s in (0, MEMBERSHIP_RECHECK_MS // 1000 + 1)]
        for link in node.machine.links:
            member = any(node.machine.is_member(link, at_s) for at_s in seconds)
            require(member, "neighbors", f"{node.name} has a link with {link.key.authority}, no member")
            require(link.node_id != node.node_id, "neighbors", f"{node.name} has a link with itself")
        ids = [link.node_id for link in node.machine.links]
        require(len(ids) == len(dict.fromkeys(ids)), "neighbors", f"{node.name} has two links to one node")


def check_agreement(world: World) -> None:
    """All hold the same, and so all see the same."""
    nodes = world.honest()
    for node in nodes[1:]:
        differing = _differing(nodes[0], node)
        require(not differing, "agreement", f"{nodes[0].name} and {node.name} differ in {differing}")
        same = _meaning(nodes[0].machine.members.view) == _meaning(node.machine.members.view)
        require(same, "agreement", f"{nodes[0].name} and {node.name} see different things")


def _differing(one: Node, other: Node) -> list[str]:
    """The first of the ids that only one of two nodes holds."""
    mine, theirs = dict(_by_id(one)), dict(_by_id(other))
    only = [name for name in (*mine, *theirs) if (name in mine) != (name in theirs)]
    return [name.hex()[:8] for name in only[:5]]


def _by_id(node: Node) -> Iterable[tuple[bytes, int]]:
    return ((name, second) for second, name in node.machine.members.ids)
