"""`peerd member …`: who belongs to a group."""

from __future__ import annotations

from collections.abc import Sequence

import click

from peerd.cli.credential import credentials_table
from peerd.cli.removal import revoke_member
from peerd.cli.render import Name, details, table, time_text, yes_or_no
from peerd.cli.session import Noun, Session, answer, examples, json_option, pass_session
from peerd.control import schema


@click.group(cls=Noun, epilog=examples("peerd member list pizza", "peerd member show pizza bob"))
def member() -> None:
    """Members of a group."""


@member.command("list", epilog=examples("peerd member list pizza", "peerd member list pizza --json"))
@click.argument("group")
@json_option
@pass_session
def list_all(session: Session, group: str, as_json: bool) -> None:
    """List everybody who holds, held or awaits a credential."""
    with session.client() as client:
        found = list(client.all_members(group))
    answer(schema.Members(members=found), lambda: _table(found), as_json=as_json)


@member.command(epilog=examples("peerd member show pizza bob", "peerd member show pizza 5f0c9d --json"))
@click.argument("group")
@click.argument("name")
@json_option
@pass_session
def show(session: Session, group: str, name: str, as_json: bool) -> None:
    """Show one member and all its credentials, the latest first."""
    with session.client() as client:
        found = client.member(group, name)
    answer(found, lambda: _text(found), as_json=as_json)


member.add_command(revoke_member)


def _table(members: Sequence[schema.Member]) -> str:
    return table(
        ["PEER NAME", "FRIENDLY NAME", "STATE", "ROLES", "NOT AFTER", "ISSUER", "HERE"],
        [
            [
                Name(one.peer_name),
                one.friendly_name,
                one.state,
                ", ".join(one.roles),
                time_text(one.not_after),
                Name(one.issuer),
                _here(one),
            ]
            for one in members
        ],
    )


def _here(one: schema.Member) -> str:
    """How near it is: this node, a neighbor, or neither."""
    return "self" if one.own else "neighbor" if one.neighbor else ""


def _text(found: schema.MemberCredentials) -> str:
    one = found.member
    summary = details(
        {
            "peer name": one.peer_name,
            "friendly name": one.friendly_name,
            "state": one.state,
            "roles": ", ".join(one.roles),
            "level": str(one.level),
            "not before": time_text(one.not_before),
            "not after": time_text(one.not_after),
            "issuer": one.issuer,
            "grant id": one.grant_id,
            "public key": one.public_key,
            "on this node": yes_or_no(one.own),
            "neighbor": yes_or_no(one.neighbor),
        }
    )
    return f"{summary}\n\n{credentials_table(found.credentials)}"
