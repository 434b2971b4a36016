"""`peerd group …`: make groups, join them, and decide with whom they speak."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
from msgspec.structs import replace

from peerd.cli.group_text import group_text, groups_table, properties_text
from peerd.cli.passphrase import passphrase_option, with_passphrase
from peerd.cli.recovery import delivery
from peerd.cli.removal import leave
from peerd.cli.render import say
from peerd.cli.session import Noun, Session, answer, examples, json_option, pass_session
from peerd.cli.values import DURATION, read_document
from peerd.cli.waiting import WAIT_S_DEFAULT, wait_for_credential
from peerd.control import schema
from peerd.printable import printable

_EXAMPLE_GROUP = "5f0c9d2e7ab14c0f9e3f6b1a2d4c8e7f00112233.pizza"

identity_option = click.option("--identity", metavar="NAME", help="One of this node's identities.")
address_option = click.option(
    "--address",
    "addresses",
    multiple=True,
    metavar="HOST:PORT",
    help="Where a member listens; can be repeated.",
)
only_option = click.option("--only", is_flag=True, help="Have links to these addresses alone.")


@click.group(
    cls=Noun,
    epilog=examples(
        "peerd group create pizza --recovery pizza.key", "peerd group join --invitation alice.xml --wait"
    ),
)
def group() -> None:
    """Groups: make, join, connect."""


@group.command(
    epilog=examples(
        "peerd group create pizza --recovery pizza.key",
        "peerd group create pizza --friendly-name 'Pizza on Fridays' --identity alice --json",
    )
)
@click.argument("classifier")
@click.option("--friendly-name", default="", metavar="NAME", help="A name for people.")
@click.option("--comment", default="", metavar="TEXT", help="What the group is for.")
@click.option(
    "--default-life", type=DURATION, metavar="TIME", help="How long credentials hold by default, like 90d."
)
@identity_option
@click.option(
    "--recovery",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A new file for the recovery key; without it the terminal shows the key, and --json holds it.",
)
@json_option
@pass_session
def create(
    session: Session,
    classifier: str,
    friendly_name: str,
    comment: str,
    default_life: int | None,
    identity: str | None,
    recovery: Path | None,
    as_json: bool,
) -> None:
    """Make a group; its name ends in CLASSIFIER.

    The recovery key can replace the group's root if that is lost or stolen. It is handed out once, before the
    group is made, and kept nowhere on this node.
    """
    with delivery(recovery, classifier, as_json=as_json) as deliver, session.client() as client:
        key = client.make_recovery_key()
        deliver(key)
        made = client.create_group(
            schema.GroupCreate(
                classifier=classifier,
                recovery_token=key.recovery_token,
                recovery_delivered=True,
                friendly_name=friendly_name,
                comment=comment,
                identity=identity,
                default_life_s=default_life,
            )
        )
    reply: dict[str, object] = msgspec.structs.asdict(made)
    if recovery is None:
        reply["recovery_key"] = key.recovery_key
    try:
        answer(reply, lambda: group_text(made), as_json=as_json)
    except OSError:
        if recovery is None:
            say(f"The recovery key of the new group: {key.recovery_key}")  # nobody will see it again
        raise
    if recovery is not None and not as_json:
        say(f"The recovery key is in {recovery}. Keep it away from this machine.")


@group.command("list", epilog=examples("peerd group list", "peerd group list --json"))
@json_option
@pass_session
def list_all(session: Session, as_json: bool) -> None:
    """List the groups of this node."""
    with session.client() as client:
        reply = client.groups()
    if not reply.groups and not as_json:
        say("There is no group yet. Make one: peerd group create CLASSIFIER, or join one: peerd group join")
    answer(reply, lambda: groups_table(reply.groups), as_json=as_json)


@group.command(epilog=examples("peerd group show pizza", "peerd group show pizza --json"))
@click.argument("name", metavar="GROUP")
@json_option
@pass_session
def show(session: Session, name: str, as_json: bool) -> None:
    """Show a group, its links, and this node's credential in it."""
    with session.client() as client:
        found = client.group(name)
    answer(found, lambda: group_text(found), as_json=as_json)


@group.command(
    "set",
    epilog=examples(
        "peerd group set pizza --default-life 30d",
        "peerd group set pizza --comment 'Every Friday'",
        "peerd group set pizza --renew auto --renew-left 3 --renew-valid 90d --renew-unseen 30d",
    ),
)
@click.argument("name", metavar="GROUP")
@click.option("--friendly-name", metavar="NAME", help="A name for people.")
@click.option("--comment", metavar="TEXT", help="What the group is for.")
@click.option(
    "--default-life", type=DURATION, metavar="TIME", help="How long credentials hold by default, like 90d."
)
@click.option(
    "--renew", type=click.Choice(["auto", "off"]), help="Whether administrators' daemons renew credentials."
)
@click.option(
    "--renew-left",
    type=click.IntRange(2, 100),
    metavar="N",
    help="Renew when 1/N of a credential's life is left.",
)
@click.option(
    "--renew-valid", type=DURATION, metavar="TIME", help="Renew for so long; 0s for as long as before."
)
@click.option(
    "--renew-unseen", type=DURATION, metavar="TIME", help="Do not renew whom nobody has seen for so long."
)
@passphrase_option
@json_option
@pass_session
def set_properties(
    session: Session,
    name: str,
    friendly_name: str | None,
    comment: str | None,
    default_life: int | None,
    renew: str | None,
    renew_left: int | None,
    renew_valid: int | None,
    renew_unseen: int | None,
    from_stdin: bool,
    as_json: bool,
) -> None:
    """Change the properties of a group, or show them when none is given.

    Only a node that holds the group's root key can change them.
    """
    given = {
        "friendly_name": friendly_name,
        "comment": comment,
        "default_life_s": default_life,
        "renew_auto": None if renew is None else renew == "auto",
        "renew_left": renew_left,
        "renew_valid_s": renew_valid,
        "renew_unseen_s": renew_unseen,
    }
    changes = {field: value for field, value in given.items() if value is not None}
    with session.client() as client:
        if changes:
            wish = msgspec.convert(changes, schema.PropertiesChange)
            reply = with_passphrase(
                lambda passphrase: client.change_properties(name, replace(wish, passphrase=passphrase)),
                from_stdin=from_stdin,
            )
        else:
            reply = client.properties(name)
    answer(reply, lambda: properties_text(reply), as_json=as_json)


@group.command(
    epilog=examples("peerd group connect pizza", "peerd group connect pizza --address 10.0.0.7:3587 --only")
)
@click.argument("name", metavar="GROUP")
@address_option
@only_option
@json_option
@pass_session
def connect(session: Session, name: str, addresses: tuple[str, ...], only: bool, as_json: bool) -> None:
    """Let a group have links: to these addresses too, or to those it knows."""
    with session.client() as client:
        reply = client.connect_group(name, schema.GroupConnect(addresses=list(addresses), only=only))
    answer(reply, lambda: group_text(reply), as_json=as_json)


@group.command(epilog=examples("peerd group disconnect pizza"))
@click.argument("name", metavar="GROUP")
@json_option
@pass_session
def disconnect(session: Session, name: str, as_json: bool) -> None:
    """Close a group's links and make none until it is connected again."""
    with session.client() as client:
        reply = client.disconnect_group(name)
    answer(reply, lambda: group_text(reply), as_json=as_json)


@group.command(
    epilog=examples(
        "peerd group join --invitation alice.xml --wait",
        f"peerd group join --group {_EXAMPLE_GROUP} --address 10.0.0.7:3587 --wait",
    )
)
@click.option("--invitation", metavar="FILE", help="The invitation; - reads it from standard input.")
@click.option(
    "--group", "name", metavar="NAME", help="The full name of a group that has a credential for us."
)
@identity_option
@address_option
@only_option
@click.option("--wait", is_flag=True, help="Come back when the credential is there.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.IntRange(min=0),
    default=WAIT_S_DEFAULT,
    show_default=True,
    metavar="S",
    help="With --wait: give up after S seconds, with exit code 7.",
)
@json_option
@pass_session
def join(
    session: Session,
    invitation: str | None,
    name: str | None,
    identity: str | None,
    addresses: tuple[str, ...],
    only: bool,
    wait: bool,
    timeout_s: int,
    as_json: bool,
) -> None:
    """Take part in a group: with an invitation, or by waiting for a stored credential.

    With --group and --address the daemon asks there, now and later, for a credential that an administrator
    has issued to the identity with the store flag.
    """
    if (invitation is None) == (name is None):
        raise click.UsageError("Give one of --invitation and --group.")
    wish = schema.GroupJoin(
        invitation=None if invitation is None else read_document(invitation),
        group=name,
        identity=identity,
        addresses=list(addresses),
        only=only,
    )
    with session.client() as client:
        joined = client.join_group(wish)
        if wait:
            joined = wait_for_credential(client, joined.group, timeout_s, as_json=as_json)
    answer(joined, lambda: group_text(joined), as_json=as_json)


group.add_command(leave)


@group.command(epilog=examples("peerd group delete pizza"))
@click.argument("name", metavar="GROUP")
@json_option
@pass_session
def delete(session: Session, name: str, as_json: bool) -> None:
    """Forget a group and all its data on this node; the group itself goes on."""
    with session.client() as client:
        gone = client.delete_group(name)
    answer(gone, lambda: f"deleted {printable(gone.group)}", as_json=as_json)
