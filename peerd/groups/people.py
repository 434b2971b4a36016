"""Whom a person means by a name: members, and those who were members once."""

from __future__ import annotations

from peerd.errors import NotFound
from peerd.lookup import find_meant
from protocol.authority.view import View


def member_pid(view: View, text: str) -> bytes | None:
    """The key of somebody with a credential that counts, by any form of a name. Raises: Conflict."""
    live = {str(grant.peer_name): pid for pid in view.subjects() for grant in view.live_grants(pid)}
    return find_meant(text, live)


def former_pid(view: View, text: str) -> bytes | None:
    """The same for somebody who was ever granted anything. Raises: Conflict."""
    admitted = (view.admitted(act_id) for act_id in view.grant_ids())
    grants = (one.grant for one in admitted if one is not None)
    return find_meant(text, {str(grant.peer_name): grant.pid for grant in grants if grant is not None})


def person_pid(view: View, text: str) -> bytes:
    """The key of a member, else of whoever was ever granted anything. Raises: NotFound(member-not-found),
    Conflict.
    """
    pid = member_pid(view, text)
    if pid is None:
        pid = former_pid(view, text)
    if pid is None:
        raise NotFound(
            f"nobody called “{text}” was ever granted anything here",
            code="member-not-found",
            hint="peerd member list GROUP",
        )
    return pid
