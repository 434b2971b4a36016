"""`peerd database`: the file is whole or not there, and what the daemon says of it is told."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from peerd.control import record_schema
from tests.peerd.cli.fake_daemon import PIZZA

EXPORT, IMPORT = "groups/pizza/export", "groups/pizza/import"
DATA = bytes(range(256)) * 5000
BROUGHT = record_schema.Imported(group=PIZZA, elements=1, records=20, refused=0)


def test_an_export_replaces_the_file_and_is_private(peerd, daemon, home: Path) -> None:
    daemon.will_answer("GET", EXPORT, DATA)
    file = home / "pizza.peerd"
    for _ in range(2):
        outcome = peerd("database", "export", "pizza", str(file))
        assert outcome.stdout == f"{len(DATA)} bytes in {file}\n"
        assert file.read_bytes() == DATA
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        file.write_bytes(b"old")
    found = peerd("database", "export", "pizza", str(file), "--json").json
    assert found == {"group": "pizza", "file": str(file), "bytes": len(DATA)}


def test_an_export_can_go_to_stdout_unchanged(peerd, daemon) -> None:
    daemon.will_answer("GET", EXPORT, DATA)
    assert peerd("database", "export", "pizza", "-").raw == DATA


def test_an_export_that_is_refused_leaves_the_file_as_it_was(peerd, daemon, home: Path) -> None:
    daemon.will_refuse("GET", EXPORT, "group-not-found")
    file = home / "pizza.peerd"
    file.write_bytes(b"old")
    assert peerd("database", "export", "pizza", str(file)).exit_code == 4
    assert file.read_bytes() == b"old"
    assert [path for path in home.iterdir() if path.suffix == ".unfinished"] == []


def test_a_place_that_cannot_be_written_is_told_before_anything_is_asked(peerd, daemon, home: Path) -> None:
    outcome = peerd("database", "export", "pizza", str(home / "no" / "pizza.peerd"))
    assert outcome.exit_code == 1
    assert not daemon.asked


@pytest.mark.parametrize("from_stdin", [False, True])
def test_an_import_sends_the_file_unchanged(peerd, daemon, home: Path, from_stdin) -> None:
    daemon.will_answer("POST", IMPORT, BROUGHT)
    (home / "pizza.peerd").write_bytes(DATA)
    file = "-" if from_stdin else str(home / "pizza.peerd")
    outcome = peerd("database", "import", "pizza", file, stdin=DATA)
    assert daemon.last.body == DATA
    assert outcome.stdout == "1 new act or certificate, 20 new versions of records, 0 refused\n"
    assert outcome.stderr == ""


def test_what_was_refused_is_told(peerd, daemon, home: Path) -> None:
    daemon.will_answer("POST", IMPORT, record_schema.Imported(group=PIZZA, elements=0, records=1, refused=3))
    outcome = peerd("database", "import", "pizza", "-", stdin=b"x")
    assert outcome.stdout == "0 new acts and certificates, 1 new version of a record, 3 refused\n"
    assert "refused" in outcome.stderr
    assert peerd("database", "import", "pizza", "-", "--json", stdin=b"x").json["refused"] == 3


@pytest.mark.parametrize("slug", ["invalid-database", "wrong-group"])
def test_a_file_that_does_not_fit_is_told_by_name(peerd, daemon, slug) -> None:
    daemon.will_refuse("POST", IMPORT, slug, hint="peerd group list")
    outcome = peerd("database", "import", "pizza", "-", "--json", stdin=b"x")
    assert outcome.exit_code == 1
    assert outcome.problem["type"] == slug


def test_a_file_that_is_not_there_is_a_usage_error(peerd, daemon) -> None:
    assert peerd("database", "import", "pizza", "/nowhere").exit_code == 2
    assert not daemon.asked
