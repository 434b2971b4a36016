"""What the machines know, in the words of the control API."""

from __future__ import annotations

import base64
import textwrap
from typing import Literal

from msgspec.structs import replace

from peerd.control import schema
from peerd.control.schema import end_at, time_at, time_at_ms
from peerd.groups.base64url import write_base64url
from protocol.authority.act_set import ActSet
from protocol.authority.acts import Act
from protocol.authority.bodies import Kind
from protocol.authority.grants import Grant, read_untrusted_grant
from protocol.authority.view import View
from protocol.credentials.roles import role_names
from protocol.ids import authority_of
from protocol.limits import LEVEL_ROOT
from protocol.machines.facts import own_removal as removal_of
from protocol.machines.group import GroupMachine
from protocol.machines.link import Link
from protocol.peer_time import Moment, hlc_ms


def credential(view: View, group: str, grant: Grant, at_s: int) -> schema.Credential:
    """A grant with what the view says of it."""
    issuer, issuer_friendly_name = _issuer(view, group, grant)
    current = view.current(grant.pid, at_s)
    return schema.Credential(
        grant_id=grant.act_id.hex(),
        group=group,
        subject=str(grant.peer_name),
        friendly_name=grant.friendly_name,
        issuer=issuer,
        issuer_friendly_name=issuer_friendly_name,
        roles=list(role_names(grant.roles)),
        level=grant.level,
        issued=time_at_ms(hlc_ms(grant.hlc)),
        not_before=time_at(grant.window.start),
        not_after=end_at(grant.window.end),
        serial=f"{grant.serial:x}",
        stored=grant.stored,
        held=view.der_of(grant.act_id) is not None,
        live=view.is_live(grant.act_id),
        current=current is not None and current.act_id == grant.act_id,
    )


def own_credential(machine: GroupMachine, group: str, at_s: int) -> schema.Credential | None:
    """What this node goes by, if anything."""
    grant = machine.members.own_grant(at_s)
    if grant is None:
        return None
    # Its acts may not have arrived yet, and then only the evidence that came with it says all this.
    return replace(credential(machine.members.view, group, grant, at_s), held=True, live=True, current=True)


def own_removal(machine: GroupMachine, at_s: int, store: ActSet) -> schema.Act | None:
    """The act that took our membership away, in AUTH or told by a neighbor-to-be; None while we have one."""
    act_id = machine.members.own_removal(at_s)
    if act_id is None:
        return None
    removal, by = removal_of(machine.members, act_id, store)
    return replace(act(machine.members.view, removal), peer_name=by or None, subject=None)


def _issuer(view: View, group: str, grant: Grant) -> tuple[str, str]:
    """The names of who signed: of the group for its root, of a key alone while the credential that it signed
    under is not here.
    """
    if grant.author_level == LEVEL_ROOT:
        return group, view.properties.friendly
    above = view.admitted(grant.cred)
    if above is None or above.grant is None:
        return authority_of(grant.author), ""
    return str(above.grant.peer_name), above.grant.friendly_name


def member(machine: GroupMachine, group: str, pid: bytes, own: frozenset[bytes], at_s: int) -> schema.Member:
    """A subject by its current credential, else by its latest."""
    view = machine.members.view
    current = view.current(pid, at_s)
    shown = (
        current or view.latest(pid) or max(view.live_grants(pid), key=lambda grant: (grant.hlc, grant.act_id))
    )
    ended = any(grant.window.end < at_s for grant in view.delivered(pid))
    state: Literal["member", "expired", "awaited"] = (
        "member" if current else ("expired" if ended else "awaited")
    )
    said = credential(view, group, shown, at_s)
    return schema.Member(
        peer_name=said.subject,
        friendly_name=said.friendly_name,
        state=state,
        roles=said.roles,
        level=said.level,
        not_before=said.not_before,
        not_after=said.not_after,
        issuer=said.issuer,
        grant_id=said.grant_id,
        public_key=write_base64url(shown.key.raw),
        own=pid in own,
        neighbor=any(link.key.pid == pid for link in machine.links),
    )


def pem_of(der: bytes) -> str:
    """A certificate in PEM."""
    body = "\n".join(textwrap.wrap(base64.b64encode(der).decode("ascii"), 64))
    return f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"


def neighbor(machine: GroupMachine, link: Link, now: Moment) -> schema.Neighbor:
    """The other end of a link."""
    grant = machine.members.view.latest(link.key.pid) or (
        link.bundle.leaf if link.bundle is not None else None
    )
    return schema.Neighbor(
        node_id=link.node_id.hex(),
        peer_name=str(grant.peer_name) if grant is not None else link.key.authority,
        address=link.reached_at or "",
        outgoing=link.dialled,
        synchronized=machine.synchronize.in_step(link),
        since=time_at_ms(now.utc_ms - (now.mono_ms - link.since_ms)),
    )


def act(view: View, signed: Act) -> schema.Act:
    """One act, as an auditor wants to see it."""
    place = signed.place
    above = None if place.cred is None else view.admitted(place.cred)
    author = None if above is None or above.grant is None else str(above.grant.peer_name)
    subject = str(read_untrusted_grant(signed).peer_name) if signed.kind == Kind.GRANT else None
    known = signed.kind in list(Kind)
    return schema.Act(
        act_id=signed.id.hex(),
        kind=Kind(signed.kind).name.lower() if known else f"kind-{signed.kind}",
        author=place.author.hex(),
        peer_name=author,
        subject=subject,
        chain=place.chain.hex(),
        seq=place.seq,
        level=place.level,
        time=time_at_ms(hlc_ms(place.hlc)),
    )
