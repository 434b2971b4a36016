"""`peerd status`, `health`, `events`: the daemon as a whole."""

from __future__ import annotations

from collections.abc import Sequence

import click

from peerd.cli.group_text import groups_table
from peerd.cli.problems import EXIT_DEGRADED
from peerd.cli.render import details, json_line, time_text, yes_or_no
from peerd.cli.session import Session, answer, examples, json_option, pass_session
from peerd.control import schema
from peerd.printable import printable


@click.command(epilog=examples("peerd status", "peerd status --json"))
@json_option
@pass_session
def status(session: Session, as_json: bool) -> int:
    """Show the daemon, its groups, and what needs attention.

    Exit code 8 when something does.
    """
    with session.client() as client:
        found = client.status()
    answer(found, lambda: _status_text(found), as_json=as_json)
    return _exit_code(found.health)


@click.command(epilog=examples("peerd health", "peerd health --json"))
@json_option
@pass_session
def health(session: Session, as_json: bool) -> int:
    """Say whether all is well, for supervisors: exit code 0 or 8."""
    with session.client() as client:
        found = client.health()
    answer(found, lambda: "\n\n".join([found.health, *_findings(found.findings)]), as_json=as_json)
    return _exit_code(found.health)


@click.command(epilog=examples("peerd events", "peerd events --follow --group pizza --json"))
@click.option("--follow", is_flag=True, help="Go on with new ones as they come.")
@click.option(
    "--since",
    metavar="CURSOR",
    help="Those after this cursor; by default all that are kept, with --follow new ones.",
)
@click.option("--kinds", metavar="KIND,…", help="Only these kinds.")
@click.option("--group", metavar="GROUP", help="Only those of one group.")
@click.option("--type", "record_type", metavar="TYPE", help="Only those about records of one type.")
@json_option
@pass_session
def events(
    session: Session,
    follow: bool,
    since: str | None,
    kinds: str | None,
    group: str | None,
    record_type: str | None,
    as_json: bool,
) -> None:
    """Print what has happened, one event a line; with --json one document a line."""
    place = since if since is not None or follow else "start"
    with session.client() as client:
        for event in client.events(
            since=place, kinds=kinds, group=group, record_type=record_type, follow=follow
        ):
            click.echo(json_line(event) if as_json else _event_text(event))


def _exit_code(state: str) -> int:
    return EXIT_DEGRADED if state == "degraded" else 0


def _status_text(one: schema.Status) -> str:
    parts = [
        details(
            {
                "daemon": f"peerd {one.version}, process {one.pid}, {one.health}",
                "home": one.home,
                "started": time_text(one.started),
                "listening": ", ".join(one.addresses) or "nowhere",
                "identities": str(one.identities),
                "groups": str(len(one.groups)),
            }
        )
    ]
    if one.groups:
        parts.append(groups_table(one.groups))
    return "\n\n".join([*parts, *_findings(one.findings)])


def _findings(findings: Sequence[schema.Finding]) -> list[str]:
    return [details({one.code: one.detail, "group": one.group, "hint": one.hint or None}) for one in findings]


def _fact(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(_fact, value))
    return yes_or_no(value) if isinstance(value, bool) else str(value)


def _event_text(one: schema.Event) -> str:
    facts = (f"{name}={_fact(value)}" for name, value in one.facts.items() if value is not None)
    return printable("  ".join([time_text(one.time), one.kind, *([one.group] if one.group else []), *facts]))
