"""A real daemon on this machine, as a test, a bench or the demo runs it: a process, its socket, what it
adopted when.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeVar

from peerd.clock import pause, steady_s
from peerd.control import authority_schema, record_schema, root_schema, schema
from peerd.control.client import Client, ClientError
from peerd.errors import NotReady, PeerdError

T = TypeVar("T")

START_S_MAX = 20
STOP_S_MAX = 10
WAIT_S_MAX = 20
_POLL_S = 0.01
_READY = re.compile(r"ready pid \d+, control .*, listening: (\S+)")


class LocalNode:
    """One daemon with a home of its own. It can be stopped, killed and started again at the same address."""

    def __init__(
        self, home: Path, *, log_level: str = "info", program: Sequence[str] = ("-m", "peerd")
    ) -> None:
        """Nothing runs yet; the daemon's log goes to `daemon.log` in its home. `program` is what Python
        starts; `run_options` are more words for `peerd run`, and may be set between two starts.
        """
        self.home = home
        self.program = program
        self.address = ""
        self.run_options: Sequence[str] = ()
        self._log_level = log_level
        self._process: subprocess.Popen[str] | None = None
        self._adoptions: dict[str, float] = {}
        self._heard = threading.Condition()

    @property
    def name(self) -> str:
        """The last part of its home."""
        return self.home.name

    @property
    def pid(self) -> int:
        """The process; only while it runs."""
        assert self._process is not None
        return self._process.pid

    # --- the process ----------------------------------------------------------------------------------------

    def start(self) -> float:
        """Start the daemon and wait until it is ready; returns the seconds it took. Raises: NotReady."""
        begun = steady_s()
        self.launch()
        self.wait_ready()
        return steady_s() - begun

    def launch(self) -> None:
        """Start the process without waiting; the first start takes any port, later ones the same again."""
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        program = [sys.executable, *self.program, "--home", str(self.home), "run"]
        listen = ["--listen", self.address or "127.0.0.1:0", "--log-level", self._log_level]
        listen += self.run_options
        environment = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
        with (self.home / "daemon.log").open("a") as log:
            self._process = subprocess.Popen(
                program + listen,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment,
                start_new_session=True,
            )

    def wait_ready(self) -> None:
        """Wait for the daemon's ready line. Raises: NotReady when it ends instead."""
        assert self._process is not None
        found = _READY.match(_first_line(self._process, START_S_MAX))
        if found is None:
            raise NotReady(f"the daemon {self.name} did not start", hint=f"read {self.home / 'daemon.log'}")
        self.address = found[1]
        threading.Thread(target=self._watch, daemon=True).start()

    def stop(self) -> None:
        """Ask the daemon to end, and wait until it has."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the daemon at once, as a power cut would."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            try:
                self._process.wait(STOP_S_MAX)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def forget(self) -> None:
        """Let the daemon live on when this program ends."""
        self._process = None

    def resident_bytes(self) -> int:
        """The daemon's resident memory (RSS)."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    # --- what it is asked -----------------------------------------------------------------------------------

    @contextmanager
    def client(self) -> Iterator[Client]:
        """A connection to its control socket."""
        with Client(str(self.home / "control.sock")) as client:
            yield client

    def ask(self, question: Callable[[Client], T]) -> T:
        """One question on a connection of its own."""
        with self.client() as client:
            return question(client)

    def identify(self, classifier: str) -> tuple[str, str]:
        """Make an identity; returns its peer name and its document."""
        with self.client() as client:
            name = client.create_identity(schema.IdentityCreate(classifier=classifier)).peer_name
            return name, client.identity_document(name).document

    def create_group(self, classifier: str, friendly_name: str = "") -> str:
        """Create a group, throw its recovery key away (this is a demonstration), and return its name."""
        return self.found_group(classifier, friendly_name)[0]

    def found_group(self, classifier: str, friendly_name: str = "") -> tuple[str, str]:
        """Create a group; returns its name, and the recovery key that somebody else would write down."""
        with self.client() as client:
            recovery = client.make_recovery_key()
            wish = schema.GroupCreate(
                classifier=classifier,
                friendly_name=friendly_name,
                recovery_token=recovery.recovery_token,
                recovery_delivered=True,
            )
            return client.create_group(wish).group, recovery.recovery_key

    def rotate_root(
        self, group: str, recovery_key: str, **wish: object
    ) -> tuple[root_schema.RootRotated, str]:
        """Replace the root of a group; returns what came of it and the next recovery key. The arguments are
        the fields of `RootRotation`.
        """
        with self.client() as client:
            recovery = client.make_recovery_key()
            rotation = root_schema.RootRotation(
                recovery_keys=[recovery_key],
                recovery_token=recovery.recovery_token,
                recovery_delivered=True,
                **wish,  # type: ignore[arg-type]
            )
            return client.rotate_root(group, rotation), recovery.recovery_key

    def root(self, group: str) -> root_schema.Root:
        """What it knows of a group's root."""
        return self.ask(lambda client: client.root(group))

    def issue(self, group: str, **wish: object) -> schema.CredentialIssued:
        """Issue one credential; the arguments are the fields of `CredentialIssue`."""
        return self.ask(lambda client: client.issue(group, schema.CredentialIssue(**wish)))  # type: ignore[arg-type]

    def join(self, **wish: object) -> schema.Group:
        """Join a group; the arguments are the fields of `GroupJoin`."""
        return self.ask(lambda client: client.join_group(schema.GroupJoin(**wish)))  # type: ignore[arg-type]

    def connect(self, group: str, addresses: Sequence[str], *, only: bool = False) -> schema.Group:
        """Have it dial these addresses."""
        wish = schema.GroupConnect(addresses=list(addresses), only=only)
        return self.ask(lambda client: client.connect_group(group, wish))

    def revoke(self, group: str, name: str, **wish: object) -> authority_schema.Removal:
        """Remove a member; the arguments are the fields of `Revocation`."""
        revocation = authority_schema.Revocation(**wish)  # type: ignore[arg-type]
        return self.ask(lambda client: client.revoke_member(group, name, revocation))

    def write(self, group: str, record_type: str, title: str) -> str:
        """Write a record with nothing but a title; returns its id."""
        wish = record_schema.RecordAdd(record_type=record_type, attributes={"title": title})
        return self.ask(lambda client: client.add_record(group, wish)).record_id

    def reads(self, group: str, record_id: str) -> bool:
        """Whether it shows a record."""
        return self.ask(
            lambda client: record_id in [record.record_id for record in client.all_records(group)]
        )

    def credentials(self, group: str, name: str) -> Sequence[schema.Credential]:
        """The credentials of a member."""
        return self.ask(lambda client: list(client.all_credentials(group, name)))

    def group(self, group: str) -> schema.Group:
        """What it knows of a group."""
        return self.ask(lambda client: client.group(group))

    # --- what it does by itself -----------------------------------------------------------------------------

    def adopted_at(self, grant_id: str, wait_s: float = WAIT_S_MAX) -> float:
        """When it said that it goes by this credential, in seconds of the steady clock. Raises: NotReady."""
        with self._heard:
            if not self._heard.wait_for(lambda: grant_id in self._adoptions, wait_s):
                raise NotReady(f"{self.name} did not pick up the credential {grant_id[:8]} in {wait_s:g} s")
            return self._adoptions[grant_id]

    def wait_group(
        self, group: str, condition: Callable[[schema.Group], bool], wait_s: float = WAIT_S_MAX
    ) -> None:
        """Wait until what it knows of a group fulfils a condition. Raises: NotReady."""
        until = steady_s() + wait_s
        while not condition(self.group(group)):
            if steady_s() > until:
                raise NotReady(f"{self.name} is not where it should be after {wait_s:g} s")
            pause(_POLL_S)

    def _watch(self) -> None:
        """Note when credentials are adopted, until the daemon ends."""
        try:
            with Client(str(self.home / "control.sock")) as client:
                for event in client.events(since="start", kinds="credential-adopted", follow=True):
                    with self._heard:
                        self._adoptions.setdefault(event.facts.get("grant_id", ""), steady_s())
                        self._heard.notify_all()
        except (ClientError, PeerdError):
            return  # it was stopped


def _first_line(process: subprocess.Popen[str], wait_s: float) -> str:
    """The first line that a process prints; empty when it ends or stays silent."""
    assert process.stdout is not None
    stdout: IO[str] = process.stdout
    timer = threading.Timer(wait_s, process.kill)
    timer.start()
    try:
        return stdout.readline()
    finally:
        timer.cancel()
