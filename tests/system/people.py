"""People at their machines: a real daemon each, and what they type at it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peerd.demo.nodes import LocalNode

COMMAND_S_MAX = 60


@dataclass(frozen=True)
class Answer:
    """What a command came to."""

    code: int
    out: str
    err: str


class Person(LocalNode):
    """A daemon, and the commands typed at it."""

    def type(self, *words: str, stdin: str = "") -> Answer:
        """Type `peerd --home … words`."""
        done = subprocess.run(
            [sys.executable, "-m", "peerd", "--home", str(self.home), *words],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=COMMAND_S_MAX,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    def json(self, *words: str, stdin: str = "") -> Any:
        """The one JSON document that a command answers with, which must succeed."""
        answer = self.type(*words, "--json", stdin=stdin)
        assert answer.code == 0, answer
        return json.loads(answer.out)

    def refusal(self, *words: str, stdin: str = "") -> tuple[int, dict[str, Any]]:
        """The exit code of a command that must fail, and the problem on standard error, alone there."""
        answer = self.type(*words, "--json", stdin=stdin)
        assert answer.code != 0, answer
        assert answer.out == "", answer
        return answer.code, json.loads(answer.err)

    def document(self, classifier: str) -> str:
        """Make an identity by hand; returns the file that its document was written to."""
        self.json("identity", "create", classifier)
        file = self.home.with_name(f"{self.name}-{classifier}.xml")
        file.write_text(self.type("identity", "document", classifier).out)
        return str(file)

    def log(self) -> str:
        """What its daemon has logged."""
        return (self.home / "daemon.log").read_text()


@contextmanager
def place() -> Iterator[Path]:
    """A new directory with a short path (sockets need that), gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="peerd-test-") as directory:
        yield Path(directory)


@contextmanager
def people(*names: str, log_level: str = "info") -> Iterator[Sequence[Person]]:
    """Running daemons; their logs are shown where a test fails."""
    with place() as directory:
        cast = [Person(directory / name, log_level=log_level) for name in names]
        try:
            for person in cast:
                person.launch()
            for person in cast:
                person.wait_ready()
            yield cast
        finally:
            for person in cast:
                person.stop()
                print(f"--- the log of {person.name} ---\n{person.log()}")
