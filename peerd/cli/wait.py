"""`peerd wait`: come back when something is so, for scripts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import click

from peerd.cli.group_text import group_text, progress_text
from peerd.cli.problems import local_problem
from peerd.cli.render import count_of
from peerd.cli.session import Noun, Session, answer, examples, json_option, pass_session
from peerd.cli.waiting import Progress, wait_for_credential
from peerd.clock import pause, steady_s
from peerd.control import schema
from peerd.control.client import ApiError, DaemonNotRunning

T = TypeVar("T")

_LOOK_S = 0.05
_timeout = click.option(
    "--timeout",
    "timeout_s",
    type=click.IntRange(min=0),
    default=60,
    show_default=True,
    metavar="S",
    help="Give up after S seconds, with exit code 7.",
)


@click.group(cls=Noun, epilog=examples("peerd wait ready", "peerd wait synchronized pizza"))
def wait() -> None:
    """Wait until something is so; exit code 7 when it takes too long."""


@wait.command(epilog=examples("peerd wait ready", "peerd --home /srv/node2 wait ready --timeout 10"))
@_timeout
@json_option
@pass_session
def ready(session: Session, timeout_s: int, as_json: bool) -> None:
    """Wait until the daemon answers."""
    found = _until(lambda: _answering(session), timeout_s, "The daemon does not answer.", "peerd run")
    answer(found, lambda: f"ready, process {found.pid}", as_json=as_json)


@wait.command(epilog=examples("peerd wait credential pizza --timeout 600"))
@click.argument("group")
@_timeout
@json_option
@pass_session
def credential(session: Session, group: str, timeout_s: int, as_json: bool) -> None:
    """Wait until this node holds a credential of GROUP that is valid."""
    with session.client() as client:
        found = wait_for_credential(client, group, timeout_s, as_json=as_json)
    answer(found, lambda: group_text(found), as_json=as_json)


@wait.command(epilog=examples("peerd wait synchronized pizza"))
@click.argument("group")
@_timeout
@json_option
@pass_session
def synchronized(session: Session, group: str, timeout_s: int, as_json: bool) -> None:
    """Wait until this node has neighbors in GROUP and holds what they hold."""
    with session.client() as client, Progress() as progress:
        otherwise = f"{group} is not synchronized."
        started = steady_s()

        def look() -> schema.Group | None:
            found = client.group(group)
            if not (found.synchronized or as_json):
                progress.show(_catching_up(found), int(steady_s() - started))
            return found if found.synchronized else None

        found = _until(look, timeout_s, otherwise, "peerd status")
    answer(found, lambda: group_text(found), as_json=as_json)


def _answering(session: Session) -> schema.Api | None:
    try:
        with session.client() as client:
            return client.api()
    except DaemonNotRunning:
        return None


def _catching_up(one: schema.Group) -> str:
    if one.synchronizing is not None:
        return f"catching up: {progress_text(one.synchronizing)} received"
    return f"waiting to be synchronized; {count_of(len(one.neighbors), 'neighbor', 'neighbors')}"


def _until(look: Callable[[], T | None], timeout_s: int, otherwise: str, hint: str) -> T:
    """Look until there is something to see. Raises: ApiError("timed-out")."""
    started = steady_s()
    while (found := look()) is None:
        if steady_s() - started >= timeout_s:
            raise ApiError(local_problem("timed-out", otherwise, hint=hint))
        pause(_LOOK_S)
    return found
