"""Record checks: what must hold of records, at any moment or once a world is quiet. Each raises CheckFailed.

At any moment: what a node keeps counts by the rules, is what would be kept if it came in any other order, and
is what it tells its neighbors it has; readers see the winners; whoever follows the event log knows what they
see; what was answered is there; nodes with the same sets have the same winners; what waits is bounded.

Once all is quiet: nothing waits, nobody lacks a body, and everybody sees the same.
"""

from __future__ import annotations

from collections.abc import Iterable

from protocol.limits import (
    BODIES_UNDER_WAY_MAX,
    BODIES_WANTED_MAX,
    CONTACT_RENEWAL_S,
    FLOOR_SAVED_MS,
    HEADER_LIFE_S,
    OTHER_AUTHORS_MAX,
    RECORDS_ASIDE_MAX,
    RECORDS_COLLECT_MS,
    RECORDS_EXPIRED_MAX,
    RECORDS_HELD_MAX,
    RECORDS_QUARANTINED_MAX,
)
from protocol.machines.ordered_ids import OrderedIds
from protocol.records.admission import Valid, Void, judge
from protocol.records.order import kept, winner
from protocol.records.record import Header, decode_untrusted_header
from protocol.records.record_set import State
from protocol.sim.claims import require
from protocol.sim.history import manifest_at
from protocol.sim.memo import Memo
from protocol.sim.node import Node
from protocol.sim.world import World, held_by

read_header = Memo(decode_untrusted_header)
"""Decode a header that a node has verified."""

_ENDS_S = 120  # nodes may differ for so long about whether a record has ended


def check_records(node: Node) -> None:
    """What a node keeps and shows is sound."""
    _check_ids(node)
    for record_id, headers in kept_at(node).items():
        name = f"{node.name}'s record {record_id.hex()[:8]}"
        stays = kept(headers, headers[0].creator)
        require(len(stays) == len(headers), "keeping", f"{name} keeps what was beaten")
        require(len(headers) <= 1 + OTHER_AUTHORS_MAX, "bounds", f"{name} has {len(headers)} versions")
        for header in headers:
            verdict = judge(header, node.machine.members.view)
            require(isinstance(verdict, (Valid, Void)), "validity", f"{name} holds a version: {verdict}")
        _check_shown(node, winner(headers), name)
    for _, version_id in node.store.aside_oldest(RECORDS_ASIDE_MAX):
        version = node.store.version(version_id)
        assert version is not None
        others = [one for one in node.store.versions(version.record_id) if one.state is State.KEPT]
        shown = node.store.shown(version.record_id)
        require(bool(others) or shown is None, "views", f"{node.name} shows what stands aside")


def _check_ids(node: Node) -> None:
    """The digests that a node tells are those of its store."""
    versions = list(node.store.load_versions())
    data = node.machine.data.ids
    for durable, live in ((True, data.durable), (False, data.expiring)):
        ids = OrderedIds((second, name) for second, name, is_durable in versions if is_durable == durable)
        same = ids.entries(0, len(ids)) == live.entries(0, len(live))
        require(same, "validity", f"{node.name}'s ids of records are not its store's")


def kept_at(node: Node) -> dict[bytes, list[Header]]:
    """The kept versions at a node, by record."""
    by_record: dict[bytes, list[Header]] = {}
    for _, version_id, _ in node.store.load_versions():
        raw = node.store.header(version_id)
        assert raw is not None
        header = read_header(raw)
        by_record.setdefault(header.record_id, []).append(header)
    return by_record


def _check_shown(node: Node, best: Header, name: str) -> None:
    shown, time_s = node.store.shown(best.record_id), node.machine.data.time.now_s(node.moment())
    if best.deleted:
        require(shown is None, "views", f"{name} is shown, and its winner deletes it")
    elif best.expires is None or best.expires > time_s + FLOOR_SAVED_MS // 1000:
        # A node that starts anew is so far behind at most, and does not show again what had ended.
        require(shown == best.id, "views", f"{name} does not show its winner {best.id.hex()[:8]}")
    else:
        require(shown in (None, best.id), "views", f"{name} shows what its winner has beaten")


def check_record_bounds(node: Node) -> None:
    """What waits at a node is bounded, and so is what it keeps of what no longer counts."""
    records, bodies = node.machine.data.records, node.machine.bodies
    bounds = {
        "held records": (records.held, RECORDS_HELD_MAX),
        "quarantined records": (records.quarantined, RECORDS_QUARANTINED_MAX),
        "aside": (node.store.aside_count()[0], RECORDS_ASIDE_MAX + RECORDS_EXPIRED_MAX),
        "bodies under way": (bodies.under_way, BODIES_UNDER_WAY_MAX),
        "bodies wanted": (bodies.wanted, BODIES_WANTED_MAX),
    }
    for name, (used, limit) in bounds.items():
        require(used <= limit, "bounds", f"{node.name}: {name} {used}, at most {limit}")


def check_history(node: Node, world: World) -> None:
    """What a node told its user is true still; looked at between two transactions."""
    if node.settled:
        world.history.check_promises(node, world.right())
        world.history.check_log(node)


def check_equal_sets(nodes: Iterable[Node]) -> None:
    """Nodes that tell the same digests have the same winners, and nothing else decides what is shown."""
    views: dict[tuple[object, ...], tuple[Node, dict[bytes, bytes]]] = {}
    settled: dict[tuple[object, ...], tuple[Node, bytes]] = {}
    for node in nodes:
        winners = {record_id: winner(headers).id for record_id, headers in kept_at(node).items()}
        other, theirs = views.setdefault(held_by(node), (node, winners))
        same = winners == theirs
        require(same, "views", f"{node.name} and {other.name} hold the same and have other winners")
        told, ids = node.machine.data.ids.summary(), settled_ids(node)
        mate, its_ids = settled.setdefault((told.horizon, told.mark, told.count, told.digest), (node, ids))
        require(ids == its_ids, "digests", f"{node.name} and {mate.name} tell one digest of two sets")


def settled_ids(node: Node) -> bytes:
    """The entries that a node's summary of DATA stands for."""
    data = node.machine.data.ids
    mark = data.mark_s.to_bytes(5, "big")
    horizon = min(data.horizon_s, data.mark_s).to_bytes(5, "big")
    durable, expiring = data.durable, data.expiring
    return b"".join(
        (
            durable.entries(0, durable.rank(mark)),
            b"|",
            expiring.entries(expiring.rank(horizon), expiring.rank(mark)),
        )
    )


# --- when all is quiet --------------------------------------------------------------------------------------


def check_quiet_records(world: World) -> None:
    """Everybody keeps what counts, shows the same, and has what was answered anywhere."""
    nodes = world.honest()
    for node in nodes:
        _check_nothing_waits(node)
        _check_all_counts(node)
        _check_contact(node)
        world.history.check_promises(node, world.right(), everybodys=True)
    latest_s = max(node.machine.data.time.certain_s(node.moment()) for node in nodes)
    views = [(node, _lasting(node, world.now_s, latest_s)) for node in nodes]
    for node, view in views[1:]:
        differing = [one.hex()[:8] for one in (*views[0][1], *view) if views[0][1].get(one) != view.get(one)]
        require(not differing, "views", f"{nodes[0].name} and {node.name} show other {differing[:3]}")


def _check_nothing_waits(node: Node) -> None:
    records, bodies = node.machine.data.records, node.machine.bodies
    waits = {"held": records.held, "bodies": bodies.wanted}  # what is years ahead stays quarantined
    left = {name: count for name, count in waits.items() if count}
    require(not left, "waiting", f"{node.name} has left {left}")


def _check_all_counts(node: Node) -> None:
    """What is kept is what would be kept of all that is at hand, and ends when its time has come."""
    now, time = node.moment(), node.machine.data.time
    for record_id, headers in kept_at(node).items():
        everything = [read_header(node.store.header(one.id) or b"") for one in node.store.versions(record_id)]
        counting = [one for one in everything if _counts(node, one)]
        stays = {one.id for one in kept(counting, headers[0].creator)}
        name = f"{node.name}'s record {record_id.hex()[:8]}"
        require({one.id for one in headers} == stays, "keeping", f"{name} keeps others than what counts")
        ended = winner(headers).expires
        if ended is not None and ended <= time.now_s(now):
            require(node.store.shown(record_id) is None, "views", f"{name} is shown after its end")
    oldest = [header for headers in kept_at(node).values() for header in headers if not header.durable]
    limit_s = time.floor_s - HEADER_LIFE_S - RECORDS_COLLECT_MS // 1000
    stale = [header.id.hex()[:8] for header in oldest if header.hlc_s < limit_s]
    require(not stale, "bounds", f"{node.name} keeps {stale[:3]}, whose time is over")


def _counts(node: Node, header: Header) -> bool:
    verdict = judge(header, node.machine.members.view, lambda wanted: manifest_at(node, wanted))
    return isinstance(verdict, Valid)


def _check_contact(node: Node) -> None:
    """Whoever listens can be found."""
    if node.machine.members.own_grant(node.moment().utc_s) is None:
        return
    directory = node.machine.directory
    shown = node.store.shown(directory.record_id)
    require(shown is not None, "directory", f"{node.name} has no contact record")
    grant, now = node.machine.members.own_grant(node.moment().utc_s), node.moment()
    due = directory.next_deadline(node.machine.links.listens, grant, now)
    soon = due is not None and due <= now.mono_ms + CONTACT_RENEWAL_S * 1000
    require(soon, "directory", f"{node.name} will not renew its contact record in time")


def _lasting(node: Node, now_s: int, latest_s: int) -> dict[bytes, bytes]:
    """What is shown and does not end about now. Where two wrong clocks have confirmed each other, group time
    is ahead, up to `latest_s`, and what ends until then is over there.
    """
    ending = range(now_s - _ENDS_S, max(now_s, latest_s) + _ENDS_S + 1)
    winners = (winner(headers) for headers in kept_at(node).values())
    lasting = (one for one in winners if one.expires is None or one.expires not in ending)
    pairs = ((one.record_id, node.store.shown(one.record_id)) for one in lasting)
    return {record_id: shown for record_id, shown in pairs if shown is not None}
