"""What every command shares: which daemon it speaks to, and how it answers."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

from peerd.cli.render import json_text
from peerd.control.client import Client
from peerd.paths import Home, check_socket_path, default_home


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


pass_session = click.make_pass_decorator(Session)
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
