"""The simulator sees each error in the keeping of records that the design warns of, and none without it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from protocol.sim.scenario import simulate
from tests.simulation.record_mutants import CAUGHT_IN, MUTANTS, how_it_shows

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_shows_where_the_code_as_it_is_shows_nothing(name: str) -> None:
    seed, scenario = CAUGHT_IN[name]
    simulate(seed, scenario)
    assert how_it_shows(name, seed, scenario) is not None


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scripts.mutants", *arguments]
    quick = {**os.environ, "HYPOTHESIS_PROFILE": "dev"}  # the tests run once for each mutant
    return subprocess.run(command, cwd=ROOT, env=quick, capture_output=True, text=True)


def test_some_mutants_of_the_rules_are_caught_by_their_tests() -> None:
    run = _run("--every", "40", "admission", "order")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "caught" in run.stdout


@pytest.mark.long
def test_every_mutant_of_the_rules_is_caught_by_their_tests() -> None:
    run = _run()
    assert run.returncode == 0, run.stdout + run.stderr
