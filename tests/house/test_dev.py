"""The environment is made when it has to be, only then, and an interrupted set-up is made again."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest

from scripts import dev


class Checkout:
    """A checkout in a temporary directory, with every program that the set-up would run written down."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.ran: list[list[str]] = []
        self.failing: Callable[[list[str]], bool] = lambda _: False
        (root / "scripts").mkdir()
        (root / "scripts" / "requirements.lock").write_text("trio==0 --hash=sha256:00\n")
        (root / "pyproject.toml").write_text("[project]\n")
        for name, path in {
            "ROOT": root,
            "LOCK": root / "scripts" / "requirements.lock",
            "VENV": root / ".venv",
            "PYTHON": root / ".venv" / "bin" / "python",
            "STAMP": root / ".venv" / "peerd-setup",
        }.items():
            patch.setattr(dev, name, path)
        patch.setattr(subprocess, "run", self._run)

    def _run(self, command: list[Any], **_: Any) -> subprocess.CompletedProcess[bytes]:
        words = [str(word) for word in command]
        self.ran.append(words)
        if self.failing(words):
            return subprocess.CompletedProcess(words, 1)
        if words[1:3] == ["-m", "venv"]:
            dev.PYTHON.parent.mkdir(parents=True)
            dev.PYTHON.touch()
        return subprocess.CompletedProcess(words, 0)

    def did(self, *words: str) -> bool:
        """Whether a program was run with all these words among its arguments."""
        return any(set(words) <= set(command) for command in self.ran)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    return Checkout(tmp_path, monkeypatch)


def test_a_fresh_checkout_gets_all_of_it(checkout: Checkout) -> None:
    assert dev.set_up()
    assert checkout.did("venv")
    assert checkout.did("install", "--require-hashes", str(dev.LOCK))
    assert checkout.did("install", "--no-deps", "--no-build-isolation", "--editable")
    assert dev.is_set_up()


def test_a_second_time_nothing_is_run(checkout: Checkout) -> None:
    dev.set_up()
    checkout.ran.clear()
    assert not dev.set_up()
    assert checkout.ran == []


@pytest.mark.parametrize("file", ["scripts/requirements.lock", "pyproject.toml"])
def test_another_lock_or_project_file_is_installed_into_the_same_environment(
    checkout: Checkout, file: str
) -> None:
    dev.set_up()
    checkout.ran.clear()
    (checkout.root / file).write_text("another\n")
    assert dev.set_up()
    assert not checkout.did("venv")
    assert checkout.did("install", "--require-hashes")


@pytest.mark.parametrize("step", ["venv", "--require-hashes", "--editable"])
def test_a_set_up_that_broke_off_is_made_again_from_nothing(checkout: Checkout, step: str) -> None:
    checkout.failing = lambda command: step in command
    with pytest.raises(SystemExit):
        dev.set_up()
    assert not dev.is_set_up()
    leftover = dev.VENV / "half-a-package"
    leftover.touch()

    checkout.failing = lambda _: False
    checkout.ran.clear()
    assert dev.set_up()
    assert checkout.did("venv")
    assert not leftover.exists()


def test_an_environment_made_by_hand_is_completed(checkout: Checkout) -> None:
    dev.PYTHON.parent.mkdir(parents=True)
    dev.PYTHON.touch()
    assert dev.set_up()
    assert not checkout.did("venv")
    assert checkout.did("install", "--require-hashes")


def test_an_environment_without_pip_is_made_again(checkout: Checkout) -> None:
    dev.PYTHON.parent.mkdir(parents=True)
    dev.PYTHON.touch()
    checkout.failing = lambda command: "-c" in command
    assert dev.set_up()
    assert checkout.did("venv")


def test_an_environment_whose_python_is_gone_is_made_again(checkout: Checkout) -> None:
    dev.set_up()
    checkout.ran.clear()
    dev.PYTHON.unlink()
    assert dev.set_up()
    assert checkout.did("venv")


def test_a_moved_checkout_gets_a_new_environment(checkout: Checkout) -> None:
    dev.set_up()
    checkout.ran.clear()
    dev.STAMP.write_text(dev.STAMP.read_text().replace(str(checkout.root), "/somewhere/else"))
    assert dev.set_up()
    assert checkout.did("venv")


def test_a_python_without_venv_is_told_what_to_install(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SystemExit):
        dev.set_up()
    assert "apt install python3-venv" in capsys.readouterr().err
    assert not dev.VENV.exists()


def test_an_old_python_is_told_which_one_is_needed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 4))
    with pytest.raises(SystemExit):
        dev.main(["test"])
    assert "needs Python 3.11 or newer" in capsys.readouterr().err


def test_the_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        dev.main(["--help"])
    told = capsys.readouterr().out
    assert all(f"  {verb} " in told for verb in ("setup", "demo", "test", "check", "bench", "long"))


@pytest.mark.parametrize(
    ("verb", "expected"),
    [
        ("test", ["-m", "pytest", "-k", "x"]),
        ("long", ["-m", "pytest", "-m", "long", f"--timeout={dev.LONG_TEST_SECONDS_MAX}", "-k", "x"]),
        ("bench", ["-m", "scripts.bench", "-k", "x"]),
        ("demo", ["demo", "-k", "x"]),
    ],
)
def test_a_verb_becomes_its_program_with_the_arguments_as_given(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch, verb: str, expected: list[str]
) -> None:
    became: list[str] = []
    monkeypatch.setattr(dev, "become", lambda _, *arguments: became.extend(arguments))
    monkeypatch.setenv("HYPOTHESIS_PROFILE", "ci")  # so that what `long` sets is undone
    dev.main([verb, "-k", "x"])
    assert became == expected


def test_the_halves_of_the_tests_are_all_of_them() -> None:
    tests = Path(__file__).resolve().parents[1]
    rooms = {f"tests/{path.relative_to(tests).parts[0]}" for path in tests.rglob("test_*.py")}
    assert sorted(room for half in dev.TEST_HALVES for room in half) == sorted(rooms)


@pytest.mark.parametrize("failing", [(), ("a",), ("b",), ("a", "b")])
def test_both_halves_run_and_are_shown_and_either_can_fail(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes], failing: tuple[str, ...]
) -> None:
    def popen(command: list[str], *, cwd: Path, stdout: IO[bytes], stderr: int) -> subprocess.Popen[bytes]:
        said = f"print('half', {command[-1]!r}); raise SystemExit({int(command[-1] in failing)})"
        return real([sys.executable, "-c", said], cwd=cwd, stdout=stdout, stderr=stderr)

    real = subprocess.Popen
    monkeypatch.setattr(dev, "set_up", lambda: False)
    monkeypatch.setattr(dev, "TEST_HALVES", (("a",), ("b",)))
    monkeypatch.setattr(subprocess, "Popen", popen)
    assert dev.main(["test"]) == int(bool(failing))
    assert capfdbinary.readouterr().out.split() == [b"half", b"a", b"half", b"b"]


def test_check_goes_through_all_and_fails_if_one_does(
    checkout: Checkout, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dev.main(["check"]) == 0
    checkout.failing = lambda command: "mypy" in command
    checkout.ran.clear()
    with pytest.raises(SystemExit):
        dev.main(["check"])
    assert checkout.did("pytest")
    assert "not ready to commit: mypy" in capsys.readouterr().err
