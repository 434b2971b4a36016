"""What every command shares: which daemon it speaks to, and how it answers."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from shlex import quote
from typing import Concatenate, ParamSpec, TypeVar

import click
from msgspec.structs import replace

from peerd.cli.render import json_text
from peerd.control import schema
from peerd.control.client import Client, ClientError
from peerd.paths import Home, check_socket_path, default_home

P = ParamSpec("P")
R = TypeVar("R")
_GROUP = re.compile(r"(?<![\w-])GROUP(?![\w-])")


class Noun(click.Group):
    """What verbs act on; they are listed in the order they are written."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs, the most common first."""
        return list(self.commands)


@dataclass(frozen=True, slots=True)
class Session:
    """The choices made before the verb."""

    directory: Path | None

    @property
    def home(self) -> Home:
        """The home of the node."""
        return Home(default_home(os.environ) if self.directory is None else self.directory.absolute())

    def client(self) -> Client:
        """A client of the node's daemon; nothing is opened yet. Raises: ConfigError."""
        path = self.home.control_socket
        check_socket_path(path)
        return Client(str(path))


_pass_session = click.make_pass_decorator(Session)


def pass_session(command: Callable[Concatenate[Session, P], R]) -> Callable[P, R]:
    """Give a command its session, and let what is told of an error name the group that was meant."""

    @wraps(command)
    def run(session: Session, /, *args: P.args, **options: P.kwargs) -> R:
        try:
            return command(session, *args, **options)
        except ClientError as error:
            error.problem = with_group(error.problem, _group_of(click.get_current_context()))
            raise

    return _pass_session(run)


def _group_of(ctx: click.Context) -> str | None:
    """The group that was named on the command line."""
    for parameter in ctx.command.params:
        if isinstance(parameter, click.Argument) and "GROUP" in (
            parameter.metavar,
            parameter.human_readable_name,
        ):
            value = ctx.params.get(parameter.name or "")
            return value if isinstance(value, str) else None
    return None


def with_group(problem: schema.Problem, group: str | None) -> schema.Problem:
    """A problem whose hint can be typed as it is, as far as the group goes."""
    if not group or "GROUP" not in problem.hint:
        return problem
    hint = _GROUP.sub(lambda _: quote(group), problem.hint)
    return replace(problem, hint=hint)


json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document with the API's fields."
)


def answer(reply: object, text: Callable[[], str], *, as_json: bool) -> None:
    """Print an answer: the API's reply as JSON, or what people read; nothing when that is empty."""
    shown = json_text(reply) if as_json else text()
    if shown:
        click.echo(shown)


def examples(*lines: str) -> str:
    """The end of a help text: commands that can be typed as they are."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
