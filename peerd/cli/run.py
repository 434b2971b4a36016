"""`peerd run` and `peerd demo`: start daemons. Nothing else of the command line loads them."""

from __future__ import annotations

from pathlib import Path

import click

from peerd.cli.session import Session, examples, pass_session
from peerd.logs import FORMATS, LEVELS
from peerd.own_protocol import check_own_protocol


@click.command(
    epilog=examples(
        "peerd run",
        "peerd --home /srv/node2 run --listen 127.0.0.1:0",
        "peerd run --log-format json",
        "peerd run --unlock /run/keys/pizza",
    )
)
@click.option(
    "--listen",
    multiple=True,
    metavar="HOST:PORT",
    help="Where other nodes reach this one; can be repeated. Port 0 takes any that is free.",
)
@click.option(
    "--log-level", type=click.Choice(LEVELS), default="info", show_default=True, help="What is worth a line."
)
@click.option(
    "--log-format", type=click.Choice(FORMATS), default="auto", show_default=True, help="For whom it is."
)
@click.option(
    "--unlock",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Open root keys that are under a passphrase, with those in the lines of a file that only its owner"
    " may read; can be repeated.",
)
@pass_session
def run(
    session: Session, listen: tuple[str, ...], log_level: str, log_format: str, unlock: tuple[Path, ...]
) -> None:
    """Run the daemon in the foreground until it is told to stop.

    It prints one line that begins with “ready” when it can be used.
    """
    check_own_protocol()
    from peerd.daemon import run as run_daemon

    raise click.exceptions.Exit(
        run_daemon(session.home, listen=listen, log_level=log_level, log_format=log_format, unlock=unlock)
    )


@click.command(epilog=examples("peerd demo", "peerd demo --nodes 7 --keep"))
@click.option(
    "--nodes", type=click.IntRange(5, 16), default=5, show_default=True, help="How many daemons take part."
)
@click.option("--keep", is_flag=True, help="Leave them running, and say how to go on with them.")
def demo(nodes: int, keep: bool) -> None:
    """Start real daemons on this machine, and tell the whole story as it happens."""
    from peerd.demo.story import run as run_demo

    raise click.exceptions.Exit(run_demo(nodes=nodes, keep=keep, tell=click.echo))
