"""README.md does what it says: its tour is typed into two terminals, its other commands are commands.

The tour is typed as it stands there, but for where the program is and for the places that a test must have to
itself: directory and ports. Where the text promises that something happens by itself, the test waits for it,
as a person who reads on does.
"""

from __future__ import annotations

import os
import re
import shlex
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from peerd.clock import pause, steady_s
from peerd.control.client import Client
from scripts import dev
from tests.system.commands import parse
from tests.system.people import place
from tests.system.terminal import Terminal, Typed, terminal

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
WAIT_S_MAX = 30

BLOCK = re.compile(r"(?:<!-- (\w+) -->\n)?```(\w*)\n(.*?)```", re.DOTALL)
BLOCKS = [(who, language, content) for who, language, content in BLOCK.findall(README)]
TOUR = [(who, content.splitlines()) for who, language, content in BLOCKS if language == "sh"]


# --- the tour -------------------------------------------------------------------------------------------


class Tour:
    """Both terminals, and what was typed so far."""

    def __init__(self, terminals: dict[str, Terminal], directory: Path, ports: dict[str, str]) -> None:
        self._terminals = terminals
        self._directory = directory
        self._ports = ports
        self._blocks = iter(TOUR)

    def type_block(self, who: str) -> list[Typed]:
        """Type the next block of the tour, which must be this person's; every line of it must succeed."""
        marked, lines = next(self._blocks)
        assert marked == who, f"the next block is {marked}'s: {lines[0]}"
        typed = [self._terminals[who].type(self._here(line)) for line in lines]
        for answer in typed:
            assert answer.code == 0, answer
            assert "rror" not in answer.shown, answer
        return typed

    def type(self, who: str, line: str) -> Typed:
        """Type a line that stands in the text between the blocks."""
        assert f"`{line}`" in README
        return self._terminals[who].type(self._here(line))

    def is_over(self) -> bool:
        """Whether every block has been typed."""
        return next(self._blocks, None) is None

    def client(self, who: str) -> Client:
        """The daemon of one of them, to look whether it has done what it does by itself."""
        return Client(str(self._directory / who / "control.sock"))

    def _here(self, line: str) -> str:
        for address, free in self._ports.items():
            line = line.replace(address, free)
        line = line.replace("$PWD/.venv/bin", str(Path(sys.executable).parent))
        return line.replace("/tmp/peerd-tour", str(self._directory))


@pytest.fixture
def tour() -> Iterator[Tour]:
    with ExitStack() as stack:
        directory = stack.enter_context(place()) / "tour"
        environment = {name: value for name, value in os.environ.items() if name != "PEERD_HOME"}
        ports = {address: free_address() for address in ("127.0.0.1:35871", "127.0.0.1:35872")}
        people = {who: stack.enter_context(terminal(ROOT, environment)) for who in ("alice", "bob")}
        yield Tour(people, directory, ports)


def free_address() -> str:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


def wait_until(holds: Callable[[], bool]) -> None:
    until = steady_s() + WAIT_S_MAX
    while not holds():
        assert steady_s() < until, "it did not happen"
        pause(0.02)


def shown(typed: list[Typed], begins: str) -> str:
    """What the line that begins so has shown."""
    return next(answer.shown for answer in typed if answer.line.startswith(begins))


def fields(text: str) -> dict[str, str]:
    """The `name  value` lines of an answer."""
    return dict(re.split(r"\s{2,}", line, maxsplit=1) for line in text.splitlines() if "  " in line)


def rows(text: str) -> list[list[str]]:
    """The cells of a table, its heading first."""
    return [re.split(r"\s{2,}", line.strip()) for line in text.splitlines() if line.strip()]


@pytest.mark.system
def test_the_tour_can_be_typed_as_it_stands(tour: Tour) -> None:
    made = tour.type_block("alice")
    assert "ready" in shown(made, "peerd wait ready")
    assert fields(shown(made, "peerd identity create"))["peer name"].endswith(".alice")
    group = fields(shown(made, "peerd group create"))
    assert group["group"].endswith(".pizza")
    assert group["friendly name"] == "Pizza circle"
    assert "The recovery key is in" in shown(made, "peerd group create")

    made = tour.type_block("bob")
    bob = fields(shown(made, "peerd identity create"))["peer name"]

    issued = fields(shown(tour.type_block("alice"), "peerd credential issue"))
    assert (issued["subject"], issued["roles"], issued["stored"]) == (bob, "admin", "yes")

    joined = tour.type_block("bob")
    arrived = fields(shown(joined, "peerd group join"))
    assert (arrived["group"], arrived["roles"]) == (group["group"], "admin")
    assert fields(shown(joined, "peerd wait synchronized"))["members"] == "2"
    assert [row[0].rpartition(".")[2] for row in rows(shown(joined, "peerd member list"))[1:]] in (
        ["alice", "bob"],
        ["bob", "alice"],
    )

    renewed = fields(shown(tour.type_block("alice"), "peerd credential issue"))["grant id"]
    wait_until(lambda: goes_by(tour, renewed))
    seen = tour.type_block("bob")
    _, before, now = rows(shown(seen, "peerd credential list"))
    assert (before[-1], now[-1]) == ("no", "yes")
    assert now[0] == renewed[:12]
    adopted = shown(seen, "peerd events").splitlines()
    assert ["credential-adopted" in line for line in adopted] == [True, True]
    assert renewed in adopted[-1]

    assert "peerd run" in shown(tour.type_block("bob"), "kill %1")
    waited = fields(shown(tour.type_block("alice"), "peerd credential issue"))["grant id"]
    back = tour.type_block("bob")
    assert fields(shown(back, "peerd wait synchronized"))["friendly name"] == "Pizza circle"
    assert rows(shown(back, "peerd credential list"))[-1][0] == waited[:12]
    assert rows(shown(back, "peerd credential list"))[-1][-1] == "yes"

    invited = fields(shown(tour.type_block("bob"), "peerd invitation show"))
    assert invited["issuer"] == bob
    assert invited["roles"] == "member"
    assert re.search(r"\.carol\b", invited["subject"])

    share_records(tour, bob)
    remove_somebody(tour)
    replace_the_root(tour, group["group"])

    status, events = (answer.shown for answer in tour.type_block("alice"))
    assert '"health":"healthy"' in status
    assert '"kind":"credential-added"' in events
    assert tour.is_over()

    for who in ("alice", "bob"):
        tour.type(who, "kill %1")
        tour._terminals[who].type("wait")
    assert tour.type("alice", "rm -r /tmp/peerd-tour").code == 0


def share_records(tour: Tour, bob: str) -> None:
    """What the tour says of records; `bob` is his peer name."""
    added = fields(shown(tour.type_block("alice"), "peerd record add"))
    assert (added["data"], added["replicated"]) == ("15 bytes", "1 neighbor")
    seen = tour.type_block("bob")
    assert rows(shown(seen, "peerd record search"))[1][1] == "note"
    updated = fields(shown(seen, "peerd record update"))
    assert (updated["record id"], updated["modified by"]) == (added["record id"], bob)
    assert (updated["attribute people"], updated["attribute place"]) == ("5", "Corner")
    assert updated["data"] == "14 bytes"
    seen = tour.type_block("alice")
    happened = shown(seen, "peerd events").splitlines()
    assert [line.split()[1] for line in happened] == ["record-added", "record-changed"]
    assert shown(seen, "peerd record get").strip() == "flour, mozzarella"
    assert re.fullmatch(r"\d+ bytes in .*/pizza.peerd", shown(seen, "peerd database export").strip())
    assert shown(seen, "peerd database import").startswith("0 new acts and certificates, 0 new versions")


def remove_somebody(tour: Tour) -> None:
    """What the tour says of removal and renewal."""
    removed = tour.type_block("alice")
    tried = fields(shown(removed, "peerd member revoke pizza carol --dry-run"))
    assert tried["would lose effect"] == "0 acts"
    assert fields(shown(removed, "peerd member revoke pizza carol --reason"))["is"] == "revoked"
    assert "lost laptop" in shown(removed, "peerd why not")
    assert "revoke_credential" in shown(removed, "peerd audit")
    renewal = fields(shown(tour.type_block("alice"), "peerd group set"))["renewal"]
    assert renewal.startswith("automatic, when 1/3 of the life is left, for 90d")


def replace_the_root(tour: Tour, group: str) -> None:
    """What the tour says of a root that is lost."""
    replaced = tour.type_block("bob")
    made = shown(replaced, "peerd root rotate")
    assert (fields(made)["root version"], fields(made)["members lost"]) == ("2", "none")
    assert "The next recovery key is in" in made
    assert fields(shown(replaced, "peerd root show"))["signs"] == "1 of 1 key"
    assert fields(shown(replaced, "peerd credential issue"))["issuer"] == group


def goes_by(tour: Tour, grant_id: str) -> bool:
    with tour.client("bob") as client:
        credential = client.group("pizza").credential
    return credential is not None and credential.grant_id == grant_id


# --- the other commands ---------------------------------------------------------------------------------

COMMANDS = [
    line
    for line in [
        *[line for _, _, content in BLOCKS for line in content.splitlines()],
        *re.findall(r"`([^`\n]+)`", BLOCK.sub("", README)),
    ]
    if re.match(r"(peerd|python3 scripts/dev\.py) ", line)
]


@pytest.mark.parametrize("command", dict.fromkeys(COMMANDS))
def test_every_command_shown_exists_and_takes_these_arguments(command: str) -> None:
    words = shlex.split(command, comments=True)
    if words[0] == "python3":
        assert words[2] in dev.VERBS
        assert (ROOT / words[1]).is_file()
    else:
        ends = (place for place, word in enumerate(words) if re.match(r"[|&]$|\d?>", word))
        until = next(ends, None)
        parse(words[1:until])


def test_the_two_commands_that_set_everything_up_are_the_ones_that_run_elsewhere() -> None:
    first = next(content for _, language, content in BLOCKS if not language)
    assert first.splitlines() == ["python3 scripts/dev.py demo", "python3 scripts/dev.py test"]
    assert "exec python3 scripts/dev.py test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
