"""`peerd root prepare …`: what root keys on other machines are to sign."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click
import msgspec

from peerd.cli.credential import document_option, friendly_name_option, role_option, valid_option
from peerd.cli.recovery import delivery
from peerd.cli.removal import reason_option
from peerd.cli.render import say
from peerd.cli.root_files import read_file, write_file
from peerd.cli.root_text import file_contents
from peerd.cli.session import Noun, Session, answer, examples, json_option, pass_session
from peerd.cli.values import DURATION, TIME, read_document, read_text
from peerd.control import root_schema, schema
from peerd.control.limits import RECOVERY_TEXT_CHARACTERS_MAX, ROOT_KEYS_MAX

_GROUP = "peerd.group"  # where the group stands that was named before the verb

COUNT = click.IntRange(1, ROOT_KEYS_MAX)
out_option = click.option(
    "--out", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The file to carry."
)
over_rival_option = click.option(
    "--over-rival",
    is_flag=True,
    help="Use the keys of a root that somebody else has replaced; it wins where that root's own keys agree.",
)
signer_option = click.option(
    "--signer",
    "signers",
    multiple=True,
    metavar="KEY",
    help="A key that will sign, by its id or a beginning; else the first that suffice. Repeatable.",
)


@click.group(
    cls=Noun,
    epilog=examples(
        "peerd root prepare pizza key --out new-key.root",
        "peerd root prepare pizza grant bob --role admin --out bob.root",
        "peerd root prepare pizza revoke carol --reason 'left the circle' --out carol.root",
    ),
)
@click.argument("group")
@click.pass_context
def prepare(ctx: click.Context, group: str) -> None:
    """Prepare something for root keys that are on other machines, or more than one.

    It becomes a file that is carried to each key (peerd root sign), and then back (peerd root import). The
    machine of a key need not be on any network, nor know the group.
    """
    ctx.meta[_GROUP] = group


def _prepare(session: Session, out: Path, wish: root_schema.RootPreparation, *, as_json: bool) -> None:
    group: str = click.get_current_context().meta[_GROUP]
    with session.client() as client:
        made = client.prepare_root_act(group, wish)
    write_file(out, made)
    answer(made, lambda: file_contents(made), as_json=as_json)
    if not as_json:
        say(f"It is in {out}; carry it to where it is signed: peerd root sign FILE")


@prepare.command(epilog=examples("peerd root prepare pizza key --out new-key.root"))
@out_option
@json_option
@pass_session
def key(session: Session, out: Path, as_json: bool) -> None:
    """Ask for a new root key: it is made on the machine that signs the file."""
    _prepare(session, out, root_schema.RootPreparation(key=True), as_json=as_json)


@prepare.command(
    epilog=examples(
        "peerd root prepare pizza grant bob --role admin --out bob.root",
        "peerd root prepare pizza grant --document dave.xml --role admin --valid 365d --out dave.root",
    )
)
@click.argument("subject", required=False)
@document_option
@role_option
@friendly_name_option
@valid_option
@signer_option
@out_option
@json_option
@pass_session
def grant(
    session: Session,
    subject: str | None,
    document: str | None,
    role: str | None,
    friendly_name: str | None,
    valid_s: int | None,
    signers: tuple[str, ...],
    out: Path,
    as_json: bool,
) -> None:
    """A credential by the root, stored in the group.

    The options are those of `peerd credential issue`.
    """
    wish = schema.CredentialIssue(
        subject=subject,
        document=None if document is None else read_document(document),
        role=role,
        friendly_name=friendly_name,
        valid_s=valid_s,
        store=True,
        as_root=True,
    )
    _prepare(session, out, root_schema.RootPreparation(grant=wish, signers=list(signers)), as_json=as_json)


@prepare.command(epilog=examples("peerd root prepare pizza revoke carol --reason lost --out carol.root"))
@click.argument("member")
@click.option("--key", "for_ever", is_flag=True, help="Ban the key for ever; nobody can admit it again.")
@reason_option
@click.option(
    "--data",
    type=click.Choice(["drop", "time"]),
    default="time",
    show_default=True,
    help="Which of its records stay: none, or those dated before now.",
)
@signer_option
@out_option
@json_option
@pass_session
def revoke(
    session: Session,
    member: str,
    for_ever: bool,
    reason: str,
    data: str,
    signers: tuple[str, ...],
    out: Path,
    as_json: bool,
) -> None:
    """A removal by the root, of whoever it is."""
    removal = root_schema.RootRevocation(
        member=member, for_ever=for_ever, reason=reason, data="drop" if data == "drop" else "time"
    )
    _prepare(
        session, out, root_schema.RootPreparation(revoke=removal, signers=list(signers)), as_json=as_json
    )


@prepare.command("annul", epilog=examples("peerd root prepare pizza annul 7c02 --out undo.root"))
@click.argument("act_id")
@signer_option
@out_option
@json_option
@pass_session
def prepare_annul(session: Session, act_id: str, signers: tuple[str, ...], out: Path, as_json: bool) -> None:
    """Take one act back, whoever signed it."""
    _prepare(session, out, root_schema.RootPreparation(annul=act_id, signers=list(signers)), as_json=as_json)


@prepare.command(epilog=examples("peerd root prepare pizza properties --comment 'Every Friday' --out p.root"))
@click.option("--friendly-name", metavar="NAME", help="A name for people.")
@click.option("--comment", metavar="TEXT", help="What the group is for.")
@click.option(
    "--default-life", type=DURATION, metavar="TIME", help="How long credentials hold by default, like 90d."
)
@click.option(
    "--renew", type=click.Choice(["auto", "off"]), help="Whether administrators' daemons renew credentials."
)
@signer_option
@out_option
@json_option
@pass_session
def properties(
    session: Session,
    friendly_name: str | None,
    comment: str | None,
    default_life: int | None,
    renew: str | None,
    signers: tuple[str, ...],
    out: Path,
    as_json: bool,
) -> None:
    """Change the group's properties."""
    given = {
        "friendly_name": friendly_name,
        "comment": comment,
        "default_life_s": default_life,
        "renew_auto": None if renew is None else renew == "auto",
    }
    changes = {field: value for field, value in given.items() if value is not None}
    change = msgspec.convert(changes, schema.PropertiesChange)
    _prepare(
        session, out, root_schema.RootPreparation(properties=change, signers=list(signers)), as_json=as_json
    )


@prepare.command(
    "rotate",
    epilog=examples(
        "peerd root prepare pizza rotate --recovery-set pizza.key --key bob.root --recovery next.key"
        " --out next.root"
    ),
)
@click.option(
    "--recovery-set",
    "known",
    required=True,
    metavar="FILE",
    help="A file with the line that begins with “# set:”, which stands beside the present recovery keys.",
)
@click.option(
    "--recovery",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A new file for the next recovery key.",
)
@click.option("--key", "keys", multiple=True, required=True, metavar="FILE", help="A key of the new root.")
@click.option("--threshold", type=COUNT, default=1, show_default=True, help="How many of the keys it takes.")
@click.option("--without", multiple=True, metavar="ACT", help="An act of the old root that is to fall.")
@click.option("--keep-until", type=TIME, metavar="TIME", help="What the old root dated later is to fall.")
@over_rival_option
@signer_option
@out_option
@json_option
@pass_session
def prepare_rotate(
    session: Session,
    known: str,
    recovery: Path | None,
    keys: tuple[str, ...],
    threshold: int,
    without: tuple[str, ...],
    keep_until: datetime | None,
    over_rival: bool,
    signers: tuple[str, ...],
    out: Path,
    as_json: bool,
) -> None:
    """Replace the root, signed where the recovery keys are kept.

    They need not come near this machine: give what stands beside them, the line that begins with “# set:”.
    """
    recovery_set = read_text(known, RECOVERY_TEXT_CHARACTERS_MAX)
    documents = [read_file(file) for file in keys]
    group: str = click.get_current_context().meta[_GROUP]
    with (
        delivery(recovery, group, as_json=as_json, owner="new root") as deliver,
        session.client() as client,
    ):
        drawn = client.make_recovery_key(root_schema.RecoveryDraw())
        deliver(drawn)
        replacement = root_schema.RootReplacement(
            recovery_set=recovery_set,
            recovery_token=drawn.recovery_token,
            recovery_delivered=True,
            keys=documents,
            threshold=threshold,
            without=list(without),
            keep_until=keep_until,
            over_rival=over_rival,
        )
        wish = root_schema.RootPreparation(rotate=replacement, signers=list(signers))
        made = client.prepare_root_act(group, wish)
    write_file(out, made)
    reply: dict[str, object] = msgspec.structs.asdict(made)
    if recovery is None:
        reply |= {"recovery_key": drawn.recovery_key, "recovery_set": drawn.recovery_set}
    answer(reply, lambda: file_contents(made), as_json=as_json)
