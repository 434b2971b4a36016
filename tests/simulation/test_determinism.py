"""A seed decides a run, in this process and in any other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from protocol.sim.scenario import FAULTS, Scenario, simulate

ROOT = Path(__file__).resolve().parents[2]
SCENARIO = Scenario(nodes=6, seconds=20, acts=8, faults=tuple(FAULTS), withholders=1, babblers=1)
RUN = f"""
from protocol.sim.scenario import Scenario, simulate
print(simulate(11, {SCENARIO!r}).trace)
"""


def test_the_same_seed_gives_the_same_trace_and_another_seed_another() -> None:
    first, again, other = (simulate(seed, SCENARIO).trace for seed in (11, 11, 12))
    assert first == again
    assert first != other


@pytest.mark.parametrize("hash_seed", ["0", "1234"])
def test_a_trace_does_not_depend_on_how_a_process_hashes(hash_seed: str) -> None:
    environment = {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, "-c", RUN], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == simulate(11, SCENARIO).trace
