"""The program that runs seeds: its table, its traces, and what it says of a run that failed."""

from __future__ import annotations

from pathlib import Path

import pytest

from protocol.sim.scenario import Scenario, SimulationFailed, simulate
from protocol.sim.world import World
from scripts.simulate import main


def test_each_seed_has_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "3-5", "--nodes", "3", "--seconds", "5", "--acts", "3"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split()[0] == "seed"
    assert [row.split()[0] for row in rows] == ["3", "4", "5"]


def test_a_run_can_be_looked_at_line_by_line_and_as_a_diagram(tmp_path: Path) -> None:
    trace, diagram = tmp_path / "run.txt", tmp_path / "run.mmd"
    arguments = ["--nodes", "3", "--seconds", "5", "--trace", str(trace), "--mermaid", str(diagram)]
    assert main(arguments) == 0
    lines = trace.read_text().splitlines()
    assert any("<- n0 News" in line for line in lines)
    assert any(line.endswith("tells credential-adopted") for line in lines)
    drawn = diagram.read_text().splitlines()
    assert drawn[0] == "sequenceDiagram"
    assert any("->>" in line for line in drawn)


def test_revocations_are_timed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["--revocation", "--seeds", "5", "--nodes", "5"]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split()[:2] == ["nodes", "seed"]
    assert row.split()[:2] == ["5", "5"]
    monkeypatch.setattr("protocol.sim.revoking.WORST_MS_MAX", 0)
    assert main(["--revocation", "--seeds", "5", "--nodes", "5"]) == 1
    assert "revocation among 5 nodes, seed 5" in capsys.readouterr().err


def test_a_fault_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--faults", "gremlins"])
    assert "no such fault: gremlins" in capsys.readouterr().err


def test_a_run_that_fails_says_its_seed_and_its_last_events(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(World, "agreed", lambda world: False)
    scenario = Scenario(nodes=3, topology="line")
    with pytest.raises(SimulationFailed, match=r"seed 7 of Scenario\(nodes=3") as failed:
        simulate(7, scenario)
    assert "n2    <- n1 KeepAlive" in str(failed.value)
    assert "convergence: the group does not come together" in str(failed.value)
    assert main(["--seeds", "7", "--nodes", "3", "--topology", "line"]) == 1
    assert "seed 7 of" in capsys.readouterr().err
