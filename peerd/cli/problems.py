"""What went wrong, told to a person or a program, and the exit code that goes with it."""

from __future__ import annotations

import os
import re
import shlex

import click
import msgspec

from peerd.control import schema
from peerd.control.client import ClientError
from peerd.errors import KINDS, PeerdError
from peerd.printable import printable

EXIT_REFUSED = 1
EXIT_USAGE = 2
EXIT_NO_DAEMON = 3
EXIT_TIMED_OUT = 7
EXIT_DEGRADED = 8
EXIT_INTERRUPTED = 130
_EXIT_BY_STATUS = {404: 4, 410: 4, 403: 5, 409: 6, 408: EXIT_TIMED_OUT, 504: EXIT_TIMED_OUT}
_EXIT_BY_SLUG = {"usage": EXIT_USAGE, "daemon-not-running": EXIT_NO_DAEMON}
_COMMAND = re.compile(r"\bpeerd (?=[a-z])")


def problem_of(error: ClientError | PeerdError | click.ClickException) -> schema.Problem:
    """The one form of every error."""
    if isinstance(error, ClientError):
        return error.problem
    if isinstance(error, PeerdError):
        return local_problem(error.code, error.detail, error.hint)
    hint = ""
    if isinstance(error, click.UsageError) and error.ctx is not None:
        hint = f"{error.ctx.command_path} --help"
    return local_problem("usage", error.format_message(), hint)


def local_problem(slug: str, detail: str, hint: str = "") -> schema.Problem:
    """A problem found on this side of the socket; `slug` is a key of `peerd.errors.KINDS`."""
    kind = KINDS[slug]
    return schema.Problem(slug=slug, title=kind.title, status=kind.status, detail=detail, hint=hint)


def exit_code_of(problem: schema.Problem) -> int:
    """The exit code of a problem: by its slug where that says more, else by its HTTP status."""
    return _EXIT_BY_SLUG.get(problem.slug) or _EXIT_BY_STATUS.get(problem.status, EXIT_REFUSED)


def tell(problem: schema.Problem, *, as_json: bool, home: str | None) -> None:
    """Write a problem to standard error; commands in its hint name `home`, which was chosen by flag."""
    if as_json:
        click.echo(msgspec.json.encode(problem), err=True)
        return
    color = False if os.environ.get("NO_COLOR") else None
    label = click.style("error", fg="red", bold=True)
    click.echo(f"{label} [{problem.slug}]: {printable(problem.detail)}", err=True, color=color)
    if problem.hint:
        command = f"peerd --home {shlex.quote(home)} " if home else "peerd "
        hint = _COMMAND.sub(lambda _: command, problem.hint)
        click.echo(f"hint: {printable(hint)}", err=True, color=color)
