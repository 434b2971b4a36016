"""How a group looks on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from peerd.cli.render import Name, count_of, details, table, time_text, yes_or_no
from peerd.cli.values import in_words
from peerd.control import schema


def groups_table(groups: Sequence[schema.Group]) -> str:
    """One line for each group."""
    columns = [
        "GROUP",
        "FRIENDLY NAME",
        "STATE",
        "IDENTITY",
        "ROLES",
        "UNTIL",
        "LINKS",
        "MEMBERS",
        "SYNCHRONIZED",
    ]
    return table(
        columns,
        [
            [
                Name(one.group),
                one.friendly_name,
                _state(one),
                Name(one.peer_name),
                "" if one.credential is None else ", ".join(one.credential.roles),
                "" if one.credential is None else time_text(one.credential.not_after),
                str(len(one.neighbors)),
                str(one.members),
                _synchronized(one),
            ]
            for one in groups
        ],
    )


def _state(one: schema.Group) -> str:
    if one.removal is not None:
        return "removed"
    if one.state == "joining" or one.credential is None:
        return "waiting"
    return "connected" if one.connected else "disconnected"


def _synchronized(one: schema.Group) -> str:
    return yes_or_no(one.synchronized) if one.synchronizing is None else progress_text(one.synchronizing)


def progress_text(one: schema.Progress) -> str:
    """How far a node has come with catching up."""
    return f"{one.received} of {one.expected}"


def group_text(one: schema.Group) -> str:
    """One group with its links, line by line."""
    credential = one.credential
    roles = "waiting for a credential" if credential is None else ", ".join(credential.roles)
    summary = details(
        {
            "group": one.group,
            "friendly name": one.friendly_name,
            "identity": one.peer_name,
            "state": _state(one),
            "removed": None if one.removal is None else _removal(one.removal),
            "roles": None if one.removal is not None else roles,
            "valid until": None if credential is None else time_text(credential.not_after),
            "members": str(one.members),
            "addresses": (", ".join(one.addresses) or "none") + (" only" if one.only else ""),
            "links": count_of(len(one.neighbors), "neighbor", "neighbors"),
            "synchronized": _synchronized(one),
            "acts": f"{one.acts}, digest {one.digest}",
            "records": count_of(one.records, "version", "versions"),
        }
    )
    return f"{summary}\n\n{_neighbors_table(one.neighbors)}" if one.neighbors else summary


def _removal(one: schema.Act) -> str:
    """By whom this identity was removed, and when."""
    for_ever = ", for ever" if one.kind == "revoke_key" else ""
    return f"{time_text(one.time)} by {one.peer_name or 'the root'}{for_ever}"


def _neighbors_table(neighbors: Sequence[schema.Neighbor]) -> str:
    return table(
        ["NEIGHBOR", "ADDRESS", "DIALLED BY", "SYNCHRONIZED", "SINCE"],
        [
            [
                Name(one.peer_name),
                one.address,
                "us" if one.outgoing else "it",
                yes_or_no(one.synchronized),
                time_text(one.since),
            ]
            for one in neighbors
        ],
    )


def properties_text(one: schema.Properties) -> str:
    """The properties of a group, line by line."""
    return details(
        {
            "group": one.group,
            "friendly name": one.friendly_name,
            "comment": one.comment,
            "default life": in_words(one.default_life_s),
            "renewal": _renewal(one),
            "modified": time_text(one.modified),
        }
    )


def _renewal(one: schema.Properties) -> str:
    if not one.renew_auto:
        return "off"
    again = f"for {in_words(one.renew_valid_s)}" if one.renew_valid_s else "for as long as before"
    seen = f"if seen within {in_words(one.renew_unseen_s)}"
    return f"automatic, when 1/{one.renew_left} of the life is left, {again}, {seen}"
