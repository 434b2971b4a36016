"""`peerd credential …`: issue membership certificates, and look at those issued."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from pathlib import Path

import click
from msgspec.structs import replace as replaced

from peerd.cli.passphrase import passphrase_option, with_passphrase
from peerd.cli.removal import annul, revoke_credential
from peerd.cli.render import Name, details, say, table, time_text, yes_or_no
from peerd.cli.session import Noun, Session, answer, examples, json_option, pass_session
from peerd.cli.values import DURATION, STANDARD_STREAM, TIME, read_document
from peerd.control import schema
from peerd.control.client import Client
from peerd.paths import NewFile

document_option = click.option(
    "--document",
    metavar="FILE",
    help="The subject's identity document; needed the first time. - reads it from stdin.",
)
role_option = click.option("--role", metavar="ROLE", help="admin, inviting_member or member.")
friendly_name_option = click.option("--friendly-name", metavar="NAME", help="The subject's name for people.")
valid_option = click.option(
    "--valid", "valid_s", type=DURATION, metavar="TIME", help="How long it holds, like 90d."
)
not_before_option = click.option(
    "--not-before", type=TIME, metavar="TIME", help="When it begins to hold (RFC 3339)."
)
not_after_option = click.option("--not-after", type=TIME, metavar="TIME", help="When it ends (RFC 3339).")
as_root_option = click.option("--as-root", is_flag=True, help="Sign with the group's root key.")


@click.group(
    cls=Noun,
    epilog=examples(
        "peerd credential issue pizza bob --document bob.xml --role member --store",
        "peerd credential list pizza",
    ),
)
def credential() -> None:
    """Membership certificates: issue, look at, take away."""


@credential.command(
    epilog=examples(
        "peerd credential issue pizza --document bob.xml --role member --store",
        "peerd credential issue pizza bob --store",
        "peerd credential issue pizza bob --role admin --valid 30d --invitation bob-admin.xml",
        "peerd credential issue pizza bob --role member --replace --store",
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
@click.option(
    "--store", is_flag=True, help="Publish it in the group: its subject's daemon picks it up by itself."
)
@click.option("--invitation", metavar="FILE", help="Write it to a new file, to be handed over; - prints it.")
@click.option(
    "--replace", is_flag=True, help="Take away what the subject holds, so that this one may be a lesser one."
)
@as_root_option
@passphrase_option
@click.option(
    "--trust-clock", is_flag=True, help="Sign although this machine's clock is far behind the group's acts."
)
@json_option
@pass_session
def issue(
    session: Session,
    group: str,
    subject: str | None,
    document: str | None,
    role: str | None,
    friendly_name: str | None,
    valid_s: int | None,
    not_before: datetime | None,
    not_after: datetime | None,
    store: bool,
    invitation: str | None,
    replace: bool,
    as_root: bool,
    from_stdin: bool,
    trust_clock: bool,
    as_json: bool,
) -> None:
    """Issue a credential to SUBJECT, or to the identity of --document.

    With neither document, role, name nor time it is a renewal: the same key, role, name and duration anew. A
    lesser role, or an earlier end, takes --replace.
    """
    wish = schema.CredentialIssue(
        subject=subject,
        document=None if document is None else read_document(document),
        role=role,
        friendly_name=friendly_name,
        valid_s=valid_s,
        not_before=not_before,
        not_after=not_after,
        store=store,
        invitation=invitation is not None,
        as_root=as_root,
        trust_clock=trust_clock,
        replace=replace,
    )
    with invitation_file(invitation) as file, session.client() as client:
        issued = _issued(client, group, wish, from_stdin=from_stdin)
        if file is not None:
            file.write(invitation_of(issued).encode())
    if invitation == STANDARD_STREAM and not as_json:
        click.echo(invitation_of(issued).rstrip("\n"))
        say(credential_text(issued.credential))
    else:
        answer(issued, lambda: credential_text(issued.credential), as_json=as_json)


def _issued(
    client: Client, group: str, wish: schema.CredentialIssue, *, from_stdin: bool
) -> schema.CredentialIssued:
    return with_passphrase(
        lambda passphrase: client.issue(group, replaced(wish, passphrase=passphrase)), from_stdin=from_stdin
    )


@credential.command(epilog=examples("peerd credential adopt pizza 3f9a1c"))
@click.argument("group")
@click.argument("grant_id")
@as_root_option
@passphrase_option
@json_option
@pass_session
def adopt(
    session: Session, group: str, grant_id: str, as_root: bool, from_stdin: bool, as_json: bool
) -> None:
    """Stand in for a credential that became void when its issuer was removed.

    Its subject is a member again, and all that it did under that credential counts.
    """
    wish = schema.CredentialIssue(adopt=grant_id, store=True, as_root=as_root)
    with session.client() as client:
        issued = _issued(client, group, wish, from_stdin=from_stdin)
    answer(issued, lambda: credential_text(issued.credential), as_json=as_json)


@credential.command(
    "list", epilog=examples("peerd credential list pizza", "peerd credential list pizza --subject bob")
)
@click.argument("group")
@click.option("--subject", metavar="NAME", help="Only those of one member.")
@json_option
@pass_session
def list_all(session: Session, group: str, subject: str | None, as_json: bool) -> None:
    """List the credentials of a group, by time of issue."""
    with session.client() as client:
        found = list(client.all_credentials(group, subject))
    answer(schema.Credentials(credentials=found), lambda: credentials_table(found), as_json=as_json)


@credential.command(
    epilog=examples("peerd credential show pizza 3f9a", "peerd credential show pizza 3f9a --pem")
)
@click.argument("group")
@click.argument("grant_id")
@click.option("--pem", is_flag=True, help="Print only the certificates, root first.")
@json_option
@pass_session
def show(session: Session, group: str, grant_id: str, pem: bool, as_json: bool) -> None:
    """Show one credential; GRANT_ID may be an unambiguous beginning."""
    with session.client() as client:
        found = client.credential(group, grant_id)
    answer(
        found,
        lambda: "".join(found.chain).rstrip("\n") if pem else credential_text(found.credential),
        as_json=as_json,
    )


credential.add_command(revoke_credential)
credential.add_command(annul)


def invitation_file(file: str | None) -> AbstractContextManager[NewFile | None]:
    """The new file for an invitation, made before anything is issued; None when it goes elsewhere."""
    return nullcontext() if file in (None, STANDARD_STREAM) else NewFile(Path(file))


def invitation_of(issued: schema.CredentialIssued) -> str:
    """The invitation that was asked for."""
    assert issued.invitation is not None
    return issued.invitation


def credential_text(one: schema.Credential) -> str:
    """One credential, line by line."""
    return details(
        {
            "grant id": one.grant_id,
            "group": one.group,
            "subject": one.subject,
            "friendly name": one.friendly_name,
            "issuer": one.issuer,
            "roles": ", ".join(one.roles),
            "level": str(one.level),
            "issued": time_text(one.issued),
            "not before": time_text(one.not_before),
            "not after": time_text(one.not_after),
            "serial": one.serial,
            "stored": yes_or_no(one.stored),
            "certificate here": yes_or_no(one.held),
            "live": yes_or_no(one.live),
            "current": yes_or_no(one.current),
        }
    )


def credentials_table(credentials: Sequence[schema.Credential]) -> str:
    """One line for each credential."""
    return table(
        [
            "GRANT ID",
            "SUBJECT",
            "FRIENDLY NAME",
            "ROLES",
            "NOT BEFORE",
            "NOT AFTER",
            "ISSUER",
            "STORED",
            "CURRENT",
        ],
        [
            [
                Name(one.grant_id),
                Name(one.subject),
                one.friendly_name,
                ", ".join(one.roles),
                time_text(one.not_before),
                time_text(one.not_after),
                Name(one.issuer),
                yes_or_no(one.stored),
                yes_or_no(one.current),
            ]
            for one in credentials
        ],
    )
