"""A fake daemon, and the program run against it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from peerd.cli.main import program
from tests.peerd.cli.fake_daemon import FakeDaemon


@dataclass(frozen=True)
class Outcome:
    """What a run of the program left behind."""

    exit_code: int
    stdout: str
    stderr: str
    raw: bytes = b""  # standard output as it was written

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)

    @property
    def problem(self) -> Any:
        return json.loads(self.stderr)


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory whose path is short enough for a socket, wherever tests are run."""
    with tempfile.TemporaryDirectory(prefix="peerd") as directory:
        yield Path(directory)


@pytest.fixture
def daemon(home: Path) -> Iterator[FakeDaemon]:
    with FakeDaemon(home) as running:
        yield running


@pytest.fixture
def peerd(home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """The program, told which home to use by the environment."""
    monkeypatch.setenv("PEERD_HOME", str(home))

    def run(*arguments: str, stdin: str | bytes = "") -> Outcome:
        result = CliRunner().invoke(program, arguments, input=stdin, prog_name="peerd")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        text = result.stdout_bytes.decode(errors="replace")
        return Outcome(result.exit_code, text, result.stderr, result.stdout_bytes)

    return run
