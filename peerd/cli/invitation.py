"""`peerd invitation …`: credentials to be handed over by other means than the group itself."""

from __future__ import annotations

from datetime import datetime

import click
from msgspec.structs import replace

from peerd.cli.credential import (
    as_root_option,
    document_option,
    friendly_name_option,
    invitation_file,
    invitation_of,
    not_after_option,
    not_before_option,
    role_option,
    valid_option,
)
from peerd.cli.passphrase import passphrase_option, with_passphrase
from peerd.cli.render import details, say, time_text
from peerd.cli.session import Noun, Session, answer, examples, json_option, pass_session
from peerd.cli.values import STANDARD_STREAM, read_document
from peerd.control import schema


@click.group(
    cls=Noun,
    epilog=examples(
        "peerd invitation create pizza --document bob.xml --role member > bob-invitation.xml",
        "peerd invitation show bob-invitation.xml",
    ),
)
def invitation() -> None:
    """Invitations: credentials to be handed over."""


@invitation.command(
    epilog=examples(
        "peerd invitation create pizza --document bob.xml --role member > bob-invitation.xml",
        "peerd invitation create pizza bob --output bob-invitation.xml",
    )
)
@click.argument("group")
@click.argument("subject", required=False)
@document_option
@role_option
@friendly_name_option
@valid_option
@not_before_option
@not_after_option
@as_root_option
@passphrase_option
@click.option(
    "--output", default=STANDARD_STREAM, metavar="FILE", help="Write it to a new file instead of printing it."
)
@json_option
@pass_session
def create(
    session: Session,
    group: str,
    subject: str | None,
    document: str | None,
    role: str | None,
    friendly_name: str | None,
    valid_s: int | None,
    not_before: datetime | None,
    not_after: datetime | None,
    as_root: bool,
    from_stdin: bool,
    output: str,
    as_json: bool,
) -> None:
    """Issue a credential that is not stored, and print it as an invitation (XML).

    It is of use to its subject only, who passes it to `peerd group join --invitation`.
    """
    wish = schema.InvitationCreate(
        subject=subject,
        document=None if document is None else read_document(document),
        role=role,
        friendly_name=friendly_name,
        valid_s=valid_s,
        not_before=not_before,
        not_after=not_after,
        as_root=as_root,
    )
    with invitation_file(output) as file, session.client() as client:
        issued = with_passphrase(
            lambda passphrase: client.create_invitation(group, replace(wish, passphrase=passphrase)),
            from_stdin=from_stdin,
        )
        if file is not None:
            file.write(invitation_of(issued).encode())
    text = invitation_of(issued).rstrip("\n") if file is None else ""
    answer(issued, lambda: text, as_json=as_json)
    if file is not None and not as_json:
        say(f"The invitation is in {output}. Its subject joins with: peerd group join --invitation FILE")


@invitation.command(
    epilog=examples("peerd invitation show bob-invitation.xml", "peerd invitation show - < bob.xml")
)
@click.argument("file")
@json_option
@pass_session
def show(session: Session, file: str, as_json: bool) -> None:
    """Check an invitation, and say what is in it."""
    wish = schema.InvitationParse(invitation=read_document(file))
    with session.client() as client:
        found = client.parse_invitation(wish)
    answer(found, lambda: _text(found), as_json=as_json)


def _text(one: schema.InvitationContents) -> str:
    return details(
        {
            "group": one.group,
            "group's name": one.group_friendly_name,
            "subject": one.subject + (" (an identity of this node)" if one.own else ""),
            "friendly name": one.friendly_name,
            "issuer": one.issuer,
            "roles": ", ".join(one.roles),
            "level": str(one.level),
            "not before": time_text(one.not_before),
            "not after": time_text(one.not_after),
            "grant id": one.grant_id,
            "serial": one.serial,
            "addresses": ", ".join(one.addresses) or "none",
        }
    )
