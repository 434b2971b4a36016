"""Waiting: look again and again until something is so, and say meanwhile how things stand."""

from __future__ import annotations

from typing import Self

import click

from peerd.cli.problems import local_problem
from peerd.cli.render import count_of, errors_go_to_terminal
from peerd.clock import pause, steady_s
from peerd.control import schema
from peerd.control.client import ApiError, Client

WAIT_S_DEFAULT = 300
_LOOK_S_FIRST = 0.02
_LOOK_S_MAX = 0.5


def wait_for_credential(client: Client, group: str, timeout_s: int, *, as_json: bool) -> schema.Group:
    """The group, once its credential is there; `as_json` leaves standard error to the problem that may come.

    Raises: ApiError("timed-out"), and as the client.
    """
    started = steady_s()
    look_s = _LOOK_S_FIRST
    with Progress() as progress:
        while True:
            seen = client.group(group)
            if seen.credential is not None:
                return seen
            waited_s = steady_s() - started
            if waited_s >= timeout_s:
                raise _timed_out(seen, timeout_s)
            if not as_json:
                reached = count_of(len(seen.neighbors), "neighbor", "neighbors")
                progress.show(f"waiting for the credential; {reached}", int(waited_s))
            pause(min(look_s, timeout_s - waited_s))
            look_s = min(2 * look_s, _LOOK_S_MAX)


def _timed_out(seen: schema.Group, timeout_s: int) -> ApiError:
    reached = count_of(len(seen.neighbors), "neighbor is", "neighbors are")
    return ApiError(
        local_problem(
            "timed-out",
            f"No credential has arrived within {timeout_s} s; {reached} reached. The daemon goes on trying.",
            hint=f"peerd group show {seen.group}",
        )
    )


class Progress:
    """One line on standard error that rewrites itself; where nobody looks, a line for each change."""

    def __init__(self) -> None:
        """Nothing is shown yet."""
        self._rewrites = errors_go_to_terminal()
        self._last = ""
        self._shown = False

    def __enter__(self) -> Self:
        """Use it in a `with` statement, so that its line ends."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the line that was shown last."""
        if self._rewrites and self._shown:
            click.echo(err=True)

    def show(self, state: str, waited_s: int) -> None:
        """Say how things stand if that is news."""
        text = f"\r{state}, {waited_s} s" if self._rewrites else state
        if text != self._last:
            click.echo(text, err=True, nl=not self._rewrites)
            self._last = text
            self._shown = True
