"""History: what users were told about records, which binds the group from then on.

A write that was answered is durable where it was answered: its version, or a larger one of its record, stays
there until its time is over. And a node that has once told its user of a winner never tells of a smaller one.
The exceptions are those of the design: a version that a wrong clock dated ahead is taken back when the clock
is right, and one whose author was revoked when the revocation arrives.
"""

from __future__ import annotations

from dataclasses import dataclass

from protocol.codec import decode_untrusted
from protocol.limits import EVENT_FACTS_BYTES_MAX, EVENTS_PAGE_MAX, HEADER_LIFE_S
from protocol.machines.events import Notice, Written
from protocol.machines.record_keeping import header_in
from protocol.machines.record_waiting import is_ahead
from protocol.peer_time import Moment
from protocol.records.admission import Valid, judge
from protocol.records.order import order_key
from protocol.records.record import Header
from protocol.records.record_set import State
from protocol.records.reserved import is_reserved, manifest_ids
from protocol.sim.claims import require
from protocol.sim.node import Node

RECORD_KINDS = ("record-added", "record-changed", "record-deleted", "record-expired")


@dataclass(frozen=True, slots=True)
class Promise:
    """A write that was answered at a node."""

    node: str
    header: Header


class History:
    """What was told in one run. Times are those of a clock that is right."""

    def __init__(self) -> None:
        """Nothing has been told."""
        self.promised: dict[bytes, Promise] = {}
        self.told: dict[tuple[str, bytes], Header] = {}  # by node and record, the winner told of last
        self._views: dict[str, tuple[int, dict[str, str]]] = {}  # by node: how far its log was read, and

    def on_written(self, node: Node, written: Written) -> None:
        """A write was answered."""
        self.promised[written.version_id] = Promise(node.name, header_in(node.store, written.version_id))

    def on_notice(self, node: Node, notice: Notice, right: Moment) -> None:
        """A node tells of a record: never of a smaller version than before."""
        if notice.kind not in RECORD_KINDS:
            return
        raw = node.store.header(bytes.fromhex(notice.facts["version_id"]))
        if raw is None:
            return  # replaced in the same transaction, of which the last word follows
        header = header_in(node.store, bytes.fromhex(notice.facts["version_id"]))
        before = self.told.get((node.name, header.record_id))
        if before is not None and order_key(header) < order_key(before):
            gone = may_be_taken_back(node, before, right)
            detail = f"{node.name} goes back from {_name(before)} to {_name(header)}"
            require(gone, "winners", detail)
        self.told[node.name, header.record_id] = header

    def check_promises(self, node: Node, right: Moment, *, everybodys: bool = False) -> None:
        """What was answered at a node, or anywhere, is here or has been beaten."""
        for promise in self.promised.values():
            if everybodys or promise.node == node.name:
                header = promise.header
                kept = is_kept(node, header) or may_be_taken_back(node, header, right)
                detail = f"{node.name} has lost {_name(header)}, answered at {promise.node}"
                require(kept, "promises", detail)

    def check_log(self, node: Node) -> None:
        """Whoever follows a node's event log knows which version of which record is shown."""
        number, shown = self._views.get(node.name, (0, {}))
        while events := node.store.events_after(number, EVENTS_PAGE_MAX):
            for event in events:
                if event.kind in RECORD_KINDS:
                    _replay(node, event.kind, event.facts, shown)
            number = events[-1].number
        self._views[node.name] = number, shown
        really = {
            header.record_id.hex(): header.id.hex()
            for header in shown_of(node).values()
            if not is_reserved(header.type)
        }
        differing = [name for name in (*shown, *really) if shown.get(name) != really.get(name)]
        require(not differing, "event log", f"{node.name}'s log and view differ in {differing[:3]}")


def _replay(node: Node, kind: str, raw: bytes, shown: dict[str, str]) -> None:
    facts = decode_untrusted(raw, bytes_max=EVENT_FACTS_BYTES_MAX)
    record, known = facts["record_id"], facts["record_id"] in shown
    was = "shown" if known else "not shown"
    require(known == (kind != "record-added"), "event log", f"{node.name}: {kind} of {record[:8]}, {was}")
    if kind in ("record-added", "record-changed"):
        shown[record] = facts["version_id"]
    else:
        del shown[record]


def may_be_taken_back(node: Node, header: Header, right: Moment) -> bool:
    """Whether a node may let go of a version that it told of: no clock that is right would have taken it in
    yet, it counts no more, or its time is over.
    """
    now = node.moment()
    latest_ms = max(now.utc_ms, node.machine.data.time.now_ms(now))
    if is_ahead(header.hlc, min(latest_ms, right.utc_ms)):
        return True
    if not header.durable and header.hlc_s + HEADER_LIFE_S <= node.machine.data.time.now_s(now):
        return True
    verdict = judge(header, node.machine.members.view, lambda wanted: manifest_at(node, wanted))
    return not isinstance(verdict, Valid)


def is_kept(node: Node, header: Header) -> bool:
    """Whether a version, or one that beats it, is kept at a node."""
    versions = node.store.versions(header.record_id)
    return any(one.state is State.KEPT and order_key(one) >= order_key(header) for one in versions)


def shown_of(node: Node) -> dict[bytes, Header]:
    """What readers see at a node, by record."""
    ids = dict.fromkeys(
        version.record_id
        for _, version_id, _ in node.store.load_versions()
        if (version := node.store.version(version_id)) is not None
    )
    pairs = ((record_id, node.store.shown(record_id)) for record_id in ids)
    return {record_id: header_in(node.store, shown) for record_id, shown in pairs if shown is not None}


def manifest_at(node: Node, wanted: bytes) -> frozenset[bytes] | None:
    """The versions that a manifest lists, None while it is not at a node."""
    body = node.store.body(wanted)
    return None if body is None else manifest_ids(body)


def _name(header: Header) -> str:
    kind = "deletion" if header.deleted else "version"
    return f"{kind} {header.id.hex()[:8]} of record {header.record_id.hex()[:8]} at {header.hlc_ms}"
