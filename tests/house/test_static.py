"""The tools that read the sources without running them are content, and so the tests cover them too."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from scripts.dev import static_checks

ROOT = Path(__file__).resolve().parents[2]
# The house rules have a test of their own, which shows more.
CHECKS = {name: command for name, command in static_checks().items() if name != "tidy"}


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKS)
def test_a_static_check_is_content(name: str) -> None:
    done = subprocess.run(CHECKS[name], cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, f"\n{done.stdout}{done.stderr}"


def test_the_static_checks_are_all_there() -> None:
    assert set(static_checks()) == {"ruff check", "ruff format", "flake8-async", "mypy", "tidy"}
