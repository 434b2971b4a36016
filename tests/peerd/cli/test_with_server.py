"""Every verb against the real control server: what is typed arrives as a request that it understands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peerd.control.served import Served, served


@pytest.fixture
def server(home: Path, peerd, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    with served(home) as running:
        monkeypatch.setenv("PEERD_HOME", str(running.path.parent))
        yield running


def test_the_whole_story_can_be_typed(peerd, server, home: Path) -> None:
    def typed(line: str, stdin: str = "") -> str:
        outcome = peerd(*line.split(), stdin=stdin)
        assert outcome.exit_code == 0, (line, outcome.stderr)
        return outcome.stdout

    typed("identity create alice --friendly-name Alice")
    typed("identity list")
    typed("identity show alice")
    typed("identity rename alice Alicia")
    document = typed("identity document alice")
    typed(f"group create pizza --recovery {home / 'recovery'} --default-life 90d --identity alice")
    typed("group list")
    typed("group show pizza")
    typed("group set pizza --comment Fridays")
    typed("group connect pizza --address 127.0.0.1:3587 --only")
    typed(
        "credential issue pizza --document - --role member --friendly-name Bob --store --invitation -"
        " --not-before 2030-01-01T00:00:00Z --not-after 2030-02-01T00:00:00+01:00",
        document,
    )
    typed("credential list pizza")
    typed("invitation create pizza --document - --valid 12h", document)
    typed("member list pizza")
    typed("record add pizza --type note --attribute people:int=4 --text Friday --valid 1h --auto-refresh")
    typed("record add pizza --type note --data-file - --wait-replicated 1 --timeout 5", "of stdin")
    (first, second) = (line.split()[0] for line in typed("record list pizza --type note").splitlines()[1:])
    assert typed(f"record get pizza {second} --data") == "of stdin"
    assert "people" in typed(f"record get pizza {first}")
    typed(f"record update pizza {first} --attribute people:int=5 --no-auto-refresh")
    typed(f"record update pizza {first} --text Saturday --wait-replicated 1")
    assert "Saturday" in typed(f"record get pizza {first}")
    typed("record search pizza all --limit 1")
    typed(f"record delete pizza {second} --wait-replicated 1")
    typed(f"database export pizza {home / 'pizza.peerd'}")
    typed(f"database import pizza {home / 'pizza.peerd'}")
    typed(f"why member pizza {'0' * 40}.")
    typed("audit pizza")
    typed(f"why record pizza {first}")
    typed(f"member revoke pizza {'0' * 40}. --dry-run")
    typed(f"member revoke pizza {'0' * 40}. --reason left --data time --yes")
    typed("group leave pizza --reason moved")
    typed("group disconnect pizza")
    typed("events")
    typed("events --type note --kinds record-added")
    typed("health")
    typed("status")
    typed("group delete pizza")
    typed("identity delete alice")


def test_what_the_server_refuses_keeps_its_slug(peerd, server) -> None:
    outcome = peerd("group", "show", "nowhere", "--json")
    assert outcome.exit_code == 4
    assert outcome.problem["type"] == "group-not-found"
    assert outcome.problem["instance"]
    outcome = peerd("invitation", "show", "-", "--json", stdin="<PEERINVITATION/>")
    assert outcome.problem["type"] == "invitation-not-trusted"
