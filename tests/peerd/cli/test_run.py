"""`peerd run` and `peerd demo` hand over to the daemon, and give back its exit code."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What was started, with which arguments; each gives exit code 4."""
    seen: dict[str, Any] = {}

    def starter(name: str):
        def run(*arguments: object, **options: object) -> int:
            seen[name] = (arguments, options)
            return 4

        return run

    for name, place in (("daemon", "peerd.daemon"), ("demo", "peerd.demo.story")):
        module = ModuleType(place)
        module.run = starter(name)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, place, module)
    return seen


def test_run_passes_the_home_and_where_to_listen(peerd, started, home: Path) -> None:
    assert peerd("run", "--listen", "a:1", "--listen", "b:0", "--log-level", "debug").exit_code == 4
    (given,), options = started["daemon"]
    assert given.directory == home
    assert options == {"listen": ("a:1", "b:0"), "log_level": "debug", "log_format": "auto", "unlock": ()}


def test_run_passes_the_files_of_passphrases(peerd, started) -> None:
    assert peerd("run", "--unlock", "/a", "--unlock", "/b").exit_code == 4
    assert started["daemon"][1]["unlock"] == (Path("/a"), Path("/b"))


def test_the_flag_goes_before_the_environment(peerd, started, tmp_path: Path) -> None:
    peerd("--home", str(tmp_path), "run")
    ((given,), _) = started["daemon"]
    assert given.directory == tmp_path


def test_demo_passes_its_options(peerd, started) -> None:
    assert peerd("demo", "--nodes", "7", "--keep").exit_code == 4
    arguments, options = started["demo"]
    assert (arguments, options["nodes"], options["keep"]) == ((), 7, True)


@pytest.mark.parametrize("arguments", [("demo", "--nodes", "4"), ("run", "--log-level", "loud")])
def test_options_out_of_range_start_nothing(peerd, started, arguments) -> None:
    assert peerd(*arguments).exit_code == 2
    assert not started
