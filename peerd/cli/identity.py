"""`peerd identity …`: the key pairs of this node."""

from __future__ import annotations

from collections.abc import Sequence

import click

from peerd.cli.render import Name, details, say, table, time_text
from peerd.cli.session import Noun, Session, answer, examples, json_option, pass_session
from peerd.control import schema
from peerd.control.client import Client
from peerd.errors import NotFound
from peerd.printable import printable


@click.group(
    cls=Noun, epilog=examples("peerd identity create alice --friendly-name 'Alice A.'", "peerd identity list")
)
def identity() -> None:
    """Key pairs of this node, and their names."""


@identity.command(
    epilog=examples("peerd identity create alice", "peerd identity create --friendly-name 'Alice A.'")
)
@click.argument("classifier", default="")
@click.option("--friendly-name", default="", metavar="NAME", help="A name for people.")
@json_option
@pass_session
def create(session: Session, classifier: str, friendly_name: str, as_json: bool) -> None:
    """Make a key pair; its name ends in CLASSIFIER."""
    wish = schema.IdentityCreate(classifier=classifier, friendly_name=friendly_name)
    with session.client() as client:
        made = client.create_identity(wish)
    answer(made, lambda: _text(made), as_json=as_json)


@identity.command("list", epilog=examples("peerd identity list", "peerd identity list --json"))
@json_option
@pass_session
def list_all(session: Session, as_json: bool) -> None:
    """List the identities of this node."""
    with session.client() as client:
        reply = client.identities()
    if not reply.identities and not as_json:
        say("There is no identity yet. The first use makes one, or: peerd identity create CLASSIFIER")
    answer(reply, lambda: _table(reply.identities), as_json=as_json)


@identity.command(epilog=examples("peerd identity show", "peerd identity show alice"))
@click.argument("name", default="")
@json_option
@pass_session
def show(session: Session, name: str, as_json: bool) -> None:
    """Show one identity; without NAME the default one."""
    with session.client() as client:
        found = client.identity(name) if name else _default(client)
    if found is None:
        raise NotFound("There is no identity yet.", hint="peerd identity create CLASSIFIER")
    answer(found, lambda: _text(found), as_json=as_json)


@identity.command(
    epilog=examples("peerd identity document alice > alice.xml", "peerd identity document --json")
)
@click.argument("name", default="")
@json_option
@pass_session
def document(session: Session, name: str, as_json: bool) -> None:
    """Print an identity as XML, for the administrator of a group.

    It holds no secret. The administrator passes it to `peerd credential issue --document`. Without NAME it is
    that of the default identity, which the first use makes.
    """
    with session.client() as client:
        if not name:
            found = _default(client) or client.create_identity(schema.IdentityCreate())
            name = found.peer_name
        reply = client.identity_document(name)
    answer(reply, lambda: reply.document.rstrip("\n"), as_json=as_json)


@identity.command(epilog=examples("peerd identity rename alice 'Alice of the lab'"))
@click.argument("name")
@click.argument("friendly_name")
@json_option
@pass_session
def rename(session: Session, name: str, friendly_name: str, as_json: bool) -> None:
    """Give an identity another friendly name; an empty one means its peer name."""
    with session.client() as client:
        changed = client.change_identity(name, schema.IdentityChange(friendly_name=friendly_name))
    answer(changed, lambda: _text(changed), as_json=as_json)


@identity.command(epilog=examples("peerd identity delete alice"))
@click.argument("name")
@json_option
@pass_session
def delete(session: Session, name: str, as_json: bool) -> None:
    """Delete the private key of an identity for good.

    It is refused while a group is open under it; see `peerd group delete`.
    """
    with session.client() as client:
        gone = client.delete_identity(name)
    answer(gone, lambda: f"deleted {printable(gone.peer_name)}", as_json=as_json)


def _default(client: Client) -> schema.Identity | None:
    """The one that the daemon takes when none is named: the oldest."""
    living = [one for one in client.identities().identities if not one.deleted]
    return min(living, key=lambda one: (one.created, one.peer_name), default=None)


def _text(one: schema.Identity) -> str:
    return details(
        {
            "peer name": one.peer_name,
            "friendly name": one.friendly_name,
            "public key": one.public_key,
            "created": time_text(one.created),
            "groups": ", ".join(one.groups) or "none",
        }
    )


def _table(identities: Sequence[schema.Identity]) -> str:
    return table(
        ["PEER NAME", "FRIENDLY NAME", "CREATED", "GROUPS"],
        [
            [Name(one.peer_name), one.friendly_name, time_text(one.created), str(len(one.groups))]
            for one in identities
        ],
    )
