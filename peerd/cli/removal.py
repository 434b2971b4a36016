"""Removal on the command line: `member revoke`, `credential revoke` and `annul`, `group leave`.

On a terminal it is shown what will be taken down, and asked first; scripts are asked nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from shlex import quote
from typing import Literal, TypeVar

import click
from msgspec.structs import replace

from peerd.cli.passphrase import passphrase_option, with_passphrase
from peerd.cli.problems import EXIT_REFUSED
from peerd.cli.render import count_of, details, say
from peerd.cli.root_text import credentials_table
from peerd.cli.session import Session, answer, examples, json_option, pass_session
from peerd.control import authority_schema, schema
from peerd.control.client import Client
from peerd.printable import printable

DataRule = Literal["manifest", "drop", "time"]
Command = TypeVar("Command", bound=Callable[..., object])
Revoking = Callable[[authority_schema.Revocation], authority_schema.Removal]
Adopting = Callable[[str], object]

Wish = TypeVar("Wish", authority_schema.Revocation, authority_schema.Annulment)

_NOBODY_LEFT = (
    "No other member is an administrator: nobody will renew the others' credentials, or admit anybody, but"
    " whoever holds the group's root key. To make somebody one: peerd credential issue --role admin --store"
)
_SAID = {
    "revoke_credential": "revoked",
    "revoke_key": "banned for ever",
    "resign": "resigned",
    "annul": "annulled",
}

yes_option = click.option("--yes", is_flag=True, help="Do not ask, on a terminal either.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Only show what would be taken down.")
as_root_option = click.option("--as-root", is_flag=True, help="Sign with the group's root key.")
reason_option = click.option(
    "--reason", default="", metavar="TEXT", help="For the others to read; it stays in the group."
)


def _revoking(command: Command) -> Command:
    """The options of both revocations."""
    for option in (
        json_option,
        yes_option,
        dry_run_option,
        click.option(
            "--trust-clock", is_flag=True, help="Sign although this clock is far behind the group's acts."
        ),
        passphrase_option,
        as_root_option,
        click.option(
            "--data",
            type=click.Choice(["manifest", "drop", "time"]),
            default="manifest",
            show_default=True,
            help="Which of its records stay: those that are here, none, or those dated before now.",
        ),
        click.option(
            "--since",
            metavar="ACT_ID",
            help="An act of its: let it and what of its arrived here later count nowhere (peerd audit).",
        ),
        reason_option,
        click.option(
            "--key", "for_ever", is_flag=True, help="Ban the key for ever; nobody can admit it again."
        ),
    ):
        command = option(command)
    return command


@click.command(
    "revoke",
    epilog=examples(
        "peerd member revoke pizza bob --dry-run",
        "peerd member revoke pizza bob --reason 'left the circle'",
        "peerd member revoke pizza bob --key --since 7c02 --dry-run",
        "peerd member revoke pizza bob --key --data drop --as-root --yes",
    ),
)
@click.argument("group")
@click.argument("name", metavar="MEMBER")
@_revoking
@pass_session
def revoke_member(
    session: Session,
    group: str,
    name: str,
    for_ever: bool,
    reason: str,
    since: str | None,
    data: DataRule,
    as_root: bool,
    trust_clock: bool,
    dry_run: bool,
    yes: bool,
    from_stdin: bool,
    as_json: bool,
) -> int:
    """Remove a member: all that it was granted ends, everywhere at once.

    What it signed until now stays, as far as it is seen here; nothing that it signs later counts, whatever it
    dates it. A later credential can bring it back, but after --key. After a theft, --since takes back what
    the thief has signed already.
    """
    wish = authority_schema.Revocation(
        for_ever=for_ever, reason=reason, data=data, as_root=as_root, trust_clock=trust_clock, since=since
    )
    with session.client() as client:
        revoke = _with_passphrase(partial(client.revoke_member, group, name), from_stdin=from_stdin)
        adopt = _with_passphrase_adopting(client, group, wish, from_stdin=from_stdin)
        return _revoke(revoke, adopt, wish, dry_run, yes, as_json)


@click.command(
    "revoke",
    epilog=examples(
        "peerd credential revoke pizza 3f9a --dry-run", "peerd credential revoke pizza 3f9a --reason lost"
    ),
)
@click.argument("group")
@click.argument("grant_id")
@_revoking
@pass_session
def revoke_credential(
    session: Session,
    group: str,
    grant_id: str,
    for_ever: bool,
    reason: str,
    since: str | None,
    data: DataRule,
    as_root: bool,
    trust_clock: bool,
    dry_run: bool,
    yes: bool,
    from_stdin: bool,
    as_json: bool,
) -> int:
    """Remove the member that holds a credential, with all its others.

    Overlapping ones would keep it in. To leave it a lesser one: peerd credential issue --replace.
    """
    wish = authority_schema.Revocation(
        for_ever=for_ever, reason=reason, data=data, as_root=as_root, trust_clock=trust_clock, since=since
    )
    with session.client() as client:
        revoke = _with_passphrase(partial(client.revoke_credential, group, grant_id), from_stdin=from_stdin)
        adopt = _with_passphrase_adopting(client, group, wish, from_stdin=from_stdin)
        return _revoke(revoke, adopt, wish, dry_run, yes, as_json)


def _with_passphrase(
    remove: Callable[[Wish], authority_schema.Removal], *, from_stdin: bool
) -> Callable[[Wish], authority_schema.Removal]:
    """Removing, with a passphrase that is asked for once, although it is first tried and then done."""
    known: list[str | None] = []

    def send(wish: Wish, passphrase: str | None) -> authority_schema.Removal:
        done = remove(replace(wish, passphrase=passphrase))
        known.append(passphrase)
        return done

    def asking(wish: Wish) -> authority_schema.Removal:
        if known:
            return send(wish, known[-1])
        return with_passphrase(lambda passphrase: send(wish, passphrase), from_stdin=from_stdin)

    return asking


def _with_passphrase_adopting(
    client: Client, group: str, wish: authority_schema.Revocation, *, from_stdin: bool
) -> Adopting:
    """Standing in for who was lost with somebody else, signed as the removal was."""

    def adopt(grant_id: str) -> object:
        issue = schema.CredentialIssue(adopt=grant_id, store=True, as_root=wish.as_root)
        return with_passphrase(
            lambda passphrase: client.issue(group, replace(issue, passphrase=passphrase)),
            from_stdin=from_stdin,
        )

    return adopt


def _revoke(
    revoke: Revoking,
    adopt: Adopting,
    wish: authority_schema.Revocation,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> int:
    asks = _asks(yes, as_json)
    if dry_run or asks:
        tried = revoke(replace(wish, dry_run=True))
        if dry_run:
            answer(tried, lambda: removal_text(tried), as_json=as_json)
            return 0
        say(removal_text(tried))
        if not click.confirm(f"Remove {printable(tried.subject or '')}?", err=True):
            say("Nothing was signed.")
            return EXIT_REFUSED
    done = revoke(wish)
    innocents = innocents_of(done)
    if not (asks and innocents):
        answer(done, lambda: removal_text(done), as_json=as_json)
        return 0
    answer(done, lambda: removal_text(done), as_json=as_json)
    if not click.confirm(f"Adopt {printable(', '.join(one.subject for one in innocents))}?", err=True):
        return 0
    for one in innocents:
        adopt(one.grant_id)
        say(f"{printable(one.subject)} is a member again.")
    return 0


@click.command(
    "annul",
    epilog=examples("peerd credential annul pizza 7c02 --dry-run", "peerd credential annul pizza 7c02"),
)
@click.argument("group")
@click.argument("act_id")
@as_root_option
@passphrase_option
@dry_run_option
@yes_option
@json_option
@pass_session
def annul(
    session: Session,
    group: str,
    act_id: str,
    as_root: bool,
    from_stdin: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Take back one act of somebody junior, a mistaken revocation for example.

    ACT_ID may be an unambiguous beginning.
    """
    wish = authority_schema.Annulment(as_root=as_root)
    with session.client() as client:
        take_back = _with_passphrase(partial(client.annul_act, group, act_id), from_stdin=from_stdin)
        if dry_run or _asks(yes, as_json):
            tried = take_back(replace(wish, dry_run=True))
            if dry_run:
                answer(tried, lambda: removal_text(tried), as_json=as_json)
                return 0
            say(removal_text(tried))
            if not click.confirm(f"Annul {act_id}?", err=True):
                say("Nothing was signed.")
                return EXIT_REFUSED
        done = take_back(wish)
    answer(done, lambda: removal_text(done), as_json=as_json)
    return 0


@click.command(
    "leave", epilog=examples("peerd group leave pizza", "peerd group leave pizza --reason moved --yes")
)
@click.argument("name", metavar="GROUP")
@reason_option
@yes_option
@json_option
@pass_session
def leave(session: Session, name: str, reason: str, yes: bool, as_json: bool) -> int:
    """Give up this node's membership, for all to see, and close the group's links.

    What was signed and written until now stays. The group's data stay here too, until: peerd group delete.
    """
    with session.client() as client:
        if _asks(yes, as_json):
            if _is_only_administrator(client, name):
                say(_NOBODY_LEFT)
            if not click.confirm(f"Leave {printable(name)}?", err=True):
                say("Nothing was signed.")
                return EXIT_REFUSED
        left = client.leave_group(name, authority_schema.GroupLeave(reason=reason))
    answer(left, lambda: removal_text(left), as_json=as_json)
    return 0


def _is_only_administrator(client: Client, group: str) -> bool:
    """Whether others stay behind, and none of them admits or renews anybody."""
    own = client.group(group).peer_name
    others = [one for one in client.all_members(group) if one.peer_name != own and one.state == "member"]
    return bool(others) and not any("admin" in one.roles for one in others)


def _asks(yes: bool, as_json: bool) -> bool:
    """Whether somebody sits there who can be asked."""
    return not yes and not as_json and _stdin_is_terminal()


def _stdin_is_terminal() -> bool:
    return sys.stdin.isatty()


def removal_text(one: authority_schema.Removal) -> str:
    """What an act took down, or would."""
    dry = one.act_id is None
    summary = details(
        {
            "group": one.group,
            "subject": one.subject,
            "would be" if dry else "is": _SAID[one.kind],
            "act id": one.act_id,
            "members lost": ", ".join(one.members_lost) or "none",
            "members back": ", ".join(one.members_back) or None,
            "would lose effect": count_of(one.void_acts, "act", "acts") if dry else None,
            "removals among them": ", ".join(one.void_removals) or None,
        }
    )
    parts = [summary]
    if one.credentials:
        parts.append(credentials_table(one.credentials))
    if [name for name in one.members_lost if name != one.subject]:
        parts.append(_adopting_text(one))
    return "\n\n".join(parts)


def innocents_of(one: authority_schema.Removal) -> list[schema.Credential]:
    """The best credential that each of those had who are lost with somebody else."""
    lost = [name for name in one.members_lost if name != one.subject]
    had = [given for given in one.credentials if given.subject in lost]
    best = {given.subject: given for given in sorted(had, key=lambda one: (-one.level, one.issued))}
    return list(best.values())


def _adopting_text(one: authority_schema.Removal) -> str:
    said = "To keep the others, then:" if one.act_id is None else "To keep the others:"
    group, had = quote(one.group), {given.subject: given for given in innocents_of(one)}
    adopt = [
        f"  peerd credential adopt {group} {had[name].grant_id[:12]}"
        if name in had
        else f"  peerd credential issue {group} {quote(name)} --store"
        for name in one.members_lost
        if name != one.subject
    ]
    return "\n".join([said, *adopt])
