"""The program `peerd`: finds the verb, loads what that verb needs, and turns every error into an exit code.

Exit codes: 0 done, 1 refused or failed, 2 usage, 3 no daemon there, 4 not found, 5 not allowed, 6 conflict,
7 timed out, 8 degraded, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from peerd import VERSION
from peerd.cli.problems import (
    EXIT_INTERRUPTED,
    EXIT_REFUSED,
    EXIT_USAGE,
    exit_code_of,
    local_problem,
    problem_of,
    tell,
)
from peerd.cli.session import Session, examples
from peerd.control.client import ClientError
from peerd.control.schema import Problem
from peerd.errors import PeerdError

# The verbs in the order of the help text, and where each is written.
VERBS: dict[str, str] = {
    "run": "peerd.cli.run:run",
    "demo": "peerd.cli.run:demo",
    "status": "peerd.cli.node:status",
    "health": "peerd.cli.node:health",
    "events": "peerd.cli.node:events",
    "wait": "peerd.cli.wait:wait",
    "identity": "peerd.cli.identity:identity",
    "group": "peerd.cli.group:group",
    "credential": "peerd.cli.credential:credential",
    "invitation": "peerd.cli.invitation:invitation",
    "member": "peerd.cli.member:member",
    "root": "peerd.cli.root:root",
    "record": "peerd.cli.record:record",
    "why": "peerd.cli.why:why",
    "audit": "peerd.cli.why:audit",
    "database": "peerd.cli.database:database",
}


class Program(click.Group):
    """The group of all verbs; each is imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs in the order of the table."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one verb."""
        place = VERBS.get(cmd_name)
        if place is None:
            return None
        module, _, name = place.partition(":")
        command = getattr(import_module(module), name)
        assert isinstance(command, click.Command)
        return command

    def main(self, args: Any = None, *rest: Any, **extra: Any) -> Any:
        """Run one command line and exit with its code."""
        arguments = sys.argv[1:] if args is None else list(args)
        extra["standalone_mode"] = False
        try:
            code = super().main(list(arguments), *rest, **extra)
        except (KeyboardInterrupt, click.Abort):
            sys.exit(EXIT_INTERRUPTED)
        except OSError as error:
            _drop_output()
            if not isinstance(error, BrokenPipeError):  # a reader that has gone wants no explanation
                tell(_unwritten(error), as_json="--json" in arguments, home=None)
            sys.exit(EXIT_REFUSED)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(EXIT_USAGE)
        except (ClientError, PeerdError, click.ClickException) as error:
            problem = problem_of(error)
            tell(problem, as_json="--json" in arguments, home=_home_in(arguments))
            sys.exit(exit_code_of(problem))
        sys.exit(code if isinstance(code, int) else 0)


def _unwritten(error: OSError) -> Problem:
    return local_problem(
        "output-failed", f"The command was carried out; its answer was lost: {error.strerror}."
    )


def _drop_output() -> None:
    """Let nothing more be written to standard output, not even by the interpreter when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _home_in(arguments: list[str]) -> str | None:
    """The home that was named on the command line: it belongs into the commands that hints propose."""
    for position, argument in enumerate(arguments):
        if argument.startswith("--home="):
            return argument.removeprefix("--home=")
        if argument == "--home" and position + 1 < len(arguments):
            return arguments[position + 1]
    return None


@click.group(
    cls=Program,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=examples("peerd demo", "peerd run", "peerd status", "peerd --home /srv/node2 status --json"),
)
@click.option(
    "--home",
    "directory",
    metavar="DIR",
    envvar="PEERD_HOME",
    show_envvar=True,
    type=click.Path(path_type=Path),
    help="The directory of the node; its daemon answers at DIR/control.sock.",
)
@click.version_option(VERSION, message="peerd %(version)s")
@click.pass_context
def program(ctx: click.Context, directory: Path | None) -> None:
    """A trust group without a server: certificates that reach their subject by gossip.

    Names of identities, groups and members can be given in full, by an unambiguous beginning of at least 4
    characters, or by their classifier (what stands after the first dot). Every verb that asks the daemon
    takes --json.

    Exit codes: 0 done, 1 refused or failed, 2 usage, 3 no daemon there, 4 not found, 5 not allowed,
    6 conflict, 7 timed out, 8 degraded.
    """
    if os.environ.get("NO_COLOR"):
        ctx.color = False
    ctx.obj = Session(directory)


def main() -> None:
    """The entry point of the installed program."""
    program()
