"""Telling: what an application learns of what happened, noted in the event log as it is decided."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from protocol.authority.act_set import ActSet
from protocol.authority.acts import Act
from protocol.authority.bodies import Kind
from protocol.authority.elements import Element
from protocol.authority.view import View
from protocol.codec import encode
from protocol.ids import split_ids
from protocol.limits import RIVALS_TOLD_MAX
from protocol.machines.events import Notice
from protocol.machines.evidence import Finding, Proof
from protocol.machines.facts import Names, grant_facts, record_facts
from protocol.machines.record_keeping import Change
from protocol.peer_time import Moment
from protocol.records.reserved import is_reserved

_ROOT_TOLD = "root_told"  # the rotation that was last told of, then the rivals


_FOUND = {Finding.FORK: "fork-seen", Finding.USED_ELSEWHERE: "key-used-elsewhere"}


def note(kind: str, facts: Mapping[str, Any], now: Moment, store: ActSet) -> Notice:
    """Note an event; told once what was decided with it is durable."""
    return Notice(store.note(kind, now.utc_ms, encode(dict(facts))), kind, now.utc_ms, facts)


def note_elements(fresh: Iterable[Element], view: View, now: Moment, store: ActSet) -> list[Notice]:
    """New elements of AUTH: credentials, members, properties."""
    tellings = (_told_of(element, view, now) for element in fresh)
    return [note(*telling, now, store) for telling in tellings if telling is not None]


def _told_of(element: Element, view: View, now: Moment) -> tuple[str, Mapping[str, Any]] | None:
    if isinstance(element, Act):
        if element.kind == Kind.PROPERTIES:
            return "properties-changed", {}
        admitted = view.admitted(element.id)
        grant = None if admitted is None else admitted.grant
        return None if grant is None else ("credential-added", grant_facts(grant))
    admitted = view.admitted(element.act_id)
    grant = None if admitted is None else admitted.grant
    if grant is None or view.current(grant.pid, now.utc_s) is not grant:
        return None
    return "member-changed", grant_facts(grant)


def note_standing(changed: Iterable[bytes], view: View, now: Moment, store: ActSet) -> list[Notice]:
    """Grants that a removal has hit, that have become void, or that are back."""
    notices = []
    for act_id in changed:
        admitted = view.admitted(act_id)
        assert admitted is not None
        assert admitted.grant is not None
        hits = view.hits_of(act_id)
        if view.is_live(act_id):
            kind = "credential-restored"
        else:
            kind = "credential-revoked" if view.is_effective(act_id) else "credential-voided"
        facts = grant_facts(admitted.grant) | {"removals": [hit.hex() for hit in hits]}
        notices.append(note(kind, facts, now, store))
    return notices


def note_proofs(proofs: Iterable[Proof], view: View, now: Moment, store: ActSet) -> list[Notice]:
    """Keys that are in two hands: two acts in one place of a chain, or one on a chain that only this store
    signs.
    """
    names = Names(view)
    return [
        note(
            _FOUND[proof.finding],
            {
                "author": proof.author.hex(),
                "subject": "" if proof.author == view.gid else names[proof.author],
                "chain": proof.chain.hex(),
                "act": proof.acts[-1].hex(),
                "acts": [act_id.hex() for act_id in proof.acts],
            },
            now,
            store,
        )
        for proof in proofs
    ]


def note_alarms(authors: Iterable[bytes], view: View, now: Moment, store: ActSet) -> list[Notice]:
    """Keys that have signed so much in so short a time that the rest is delayed."""
    names = Names(view)
    return [
        note("act-rate-exceeded", {"author": author.hex(), "subject": names[author]}, now, store)
        for author in authors
    ]


def note_changes(changes: Iterable[Change], view: View, now: Moment, store: ActSet) -> list[Notice]:
    """What readers of records see differently; peerd's own records are told of to nobody."""
    names = Names(view)
    return [
        note(change.kind, record_facts(change.header, names), now, store)
        for change in changes
        if not is_reserved(change.header.type)
    ]


def note_root(view: View, now: Moment, store: ActSet) -> list[Notice]:
    """Another root, and rivals of it, each told once.

    "root-rotated" says `version` and `rotation` (the id of the act). "root-rival" says `version` (the one
    that both would install), `rotation` (the rival's id) and `counts` (the id of the one that is followed).
    """
    line = view.rotations
    told = split_ids(store.setting(_ROOT_TOLD) or b"".join(line[:1]))
    rivals = [one for one in view.rival_rotations if one not in told[1:]][: RIVALS_TOLD_MAX - len(told[1:])]
    if not line or (line[-1] == told[0] and not rivals):
        return []
    store.set_setting(_ROOT_TOLD, b"".join((line[-1], *told[1:], *rivals)))
    notices = []
    if line[-1] != told[0]:
        facts = {"version": len(line), "rotation": line[-1].hex()}
        notices.append(note("root-rotated", facts, now, store))
    for rival in rivals:
        admitted = view.admitted(rival)
        assert admitted is not None
        assert admitted.root is not None
        version = admitted.root.version
        counts = line[version - 1].hex()
        facts = {"version": version, "rotation": rival.hex(), "counts": counts}
        notices.append(note("root-rival", facts, now, store))
    return notices
