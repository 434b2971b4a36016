"""What notices tell of grants, neighbors and records: ids in hex, times as numbers."""

from __future__ import annotations

from typing import Any

from protocol.authority.act_set import ActSet
from protocol.authority.acts import Act, decode_untrusted_act
from protocol.authority.bodies import Kind, ResignBody, RevokeBody
from protocol.authority.grants import Grant
from protocol.authority.view import View
from protocol.credentials.roles import role_names
from protocol.ids import authority_of
from protocol.machines.link import Link
from protocol.machines.members import Members
from protocol.records.record import Header


def grant_facts(grant: Grant) -> dict[str, Any]:
    """A grant; times in seconds UTC."""
    return {
        "grant_id": grant.act_id.hex(),
        "subject": str(grant.peer_name),
        "friendly_name": grant.friendly_name,
        "roles": list(role_names(grant.roles)),
        "level": grant.level,
        "not_before": grant.window.start,
        "not_after": grant.window.end,
        "stored": grant.stored,
    }


def neighbor_facts(link: Link) -> dict[str, Any]:
    """The other end of a link."""
    return {
        "peer": link.key.authority,
        "node_id": link.node_id.hex(),
        "address": link.reached_at or "",
        "dialled": link.dialled,
    }


def own_removal_facts(members: Members, act_id: bytes, store: ActSet) -> dict[str, Any]:
    """The act that removed this node's own key; `removed` in milliseconds UTC, `removed_by` empty for the
    group's root.
    """
    act, by = own_removal(members, act_id, store)
    body = act.body
    return {
        "removal": act.id.hex(),
        "kind": Kind(act.kind).name.lower(),
        "removed_by": by,
        "removed": act.hlc_ms,
        "reason": body.reason if isinstance(body, RevokeBody | ResignBody) else "",
    }


def own_removal(members: Members, act_id: bytes, store: ActSet) -> tuple[Act, str]:
    """A removal that `members.own_removal` names, and the name of who signed it; empty for the root."""
    told = members.told_removal(act_id)
    if told is not None:
        return told.removal, str(told.path[-1].peer_name) if told.path else ""
    raw = store.get(act_id)
    assert raw is not None
    act = decode_untrusted_act(raw)
    above = None if act.place.cred is None else members.view.admitted(act.place.cred)
    return act, "" if above is None or above.grant is None else str(above.grant.peer_name)


class Names(dict[bytes, str]):
    """What `name_or_authority` says of keys, each asked about once: for while the view stays as it is."""

    def __init__(self, view: View) -> None:
        """None has been asked for."""
        self._view = view

    def __missing__(self, pid: bytes) -> str:
        """Ask."""
        name = self[pid] = name_or_authority(self._view, pid)
        return name


def record_facts(header: Header, names: Names) -> dict[str, Any]:
    """A version of a record; `modified` in milliseconds UTC."""
    return {
        "record_id": header.record_id.hex(),
        "record_type": header.type,
        "version_id": header.id.hex(),
        "creator": names[header.creator],
        "modified_by": names[header.author],
        "modified": header.hlc_ms,
        "version": header.version,
    }


def name_or_authority(view: View, pid: bytes) -> str:
    """The peer name that a key has in the group, or its authority when it has none any more."""
    return view.name_of(pid) if view.live_grants(pid) else authority_of(pid)
