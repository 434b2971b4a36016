#!/usr/bin/env python3
"""The one program of a developer: it makes the environment when needed, then does what the verb says.

It needs nothing but Python 3.11 and a package index, so it imports the standard library only. The
environment is `.venv`, filled from `scripts/requirements.lock`, every file checked against its hash. A stamp
in it says which lock, project file and place it was made for; while that holds, nothing is done. The stamp
reads "unfinished" from before the first file is written until the last step is through, so that a set-up
that was interrupted is seen, and made again from nothing.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NoReturn

PYTHON_MIN = (3, 11)
ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "scripts" / "requirements.lock"
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "peerd-setup"
UNFINISHED = "unfinished\n"
SOURCES = ("peerd", "protocol", "scripts", "tests")
# What runs side by side, each half about as long as the other on two cores: whole programs, and the rest.
TEST_HALVES = (
    ("tests/house", "tests/scripts", "tests/simulation", "tests/stateful", "tests/system"),
    ("tests/contract", "tests/peerd", "tests/protocol", "tests/vectors"),
)
QUICK_TESTS = ("tests/protocol", "tests/contract", "tests/house", "tests/peerd")
LONG_TEST_SECONDS_MAX = 3600
# Left out: 124, for a port or a test that needs a running loop asks for async without an await, and the 900s,
# which want a checkpoint on every path of every function.
ASYNC_RULES_LEFT_OUT = "ASYNC124,ASYNC9"


def main(arguments: Sequence[str]) -> int:
    """Run one verb; the exit code is that of the program it ran."""
    if sys.version_info < PYTHON_MIN:
        stop(
            f"peerd needs Python 3.11 or newer, and this is {sys.version.split()[0]}.",
            "Try: python3.11 scripts/dev.py",
        )
    parser = argparse.ArgumentParser(
        prog="scripts/dev.py",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Make the environment when needed, then:",
        epilog="\n".join(f"  {name:7} {verb.__doc__}" for name, verb in VERBS.items()),
    )
    parser.add_argument("verb", choices=VERBS, metavar="verb", help="one of those below")
    chosen = parser.parse_args(arguments[:1])
    return VERBS[chosen.verb](list(arguments[1:]))


def run_setup(arguments: list[str]) -> int:
    """only make the environment"""
    if arguments:
        stop("setup takes no arguments.")
    if not set_up():
        say(f"nothing to do: {VENV} fits {LOCK.relative_to(ROOT)}")
    return 0


def run_demo(arguments: list[str]) -> int:
    """five real nodes on this machine tell the whole story (try: demo --help)"""
    set_up()
    become(VENV / "bin" / "peerd", "demo", *arguments)


def run_test(arguments: list[str]) -> int:
    """every test but the long ones; arguments go to pytest"""
    set_up()
    if not arguments:
        halves = [start_half(rooms) for rooms in TEST_HALVES]
        return max([finish_half(process, told) for process, told in halves])
    become(PYTHON, "-m", "pytest", *arguments)


def start_half(rooms: Sequence[str]) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
    """Begin to test some rooms; what is said about them goes to the file."""
    told = tempfile.TemporaryFile()  # noqa: SIM115 - it is closed when it has been shown
    command = [str(PYTHON), "-m", "pytest", *rooms]
    return subprocess.Popen(command, cwd=ROOT, stdout=told, stderr=subprocess.STDOUT), told


def finish_half(process: subprocess.Popen[bytes], told: IO[bytes]) -> int:
    """Wait for one half of the tests, show what was said, and give its exit code."""
    code = process.wait()
    with told:
        told.seek(0)
        shutil.copyfileobj(told, sys.stdout.buffer)
    sys.stdout.flush()
    return code


def run_long(arguments: list[str]) -> int:
    """the tests that take minutes, and many more examples in each; arguments go to pytest"""
    set_up()
    os.environ["HYPOTHESIS_PROFILE"] = "long"
    become(PYTHON, "-m", "pytest", "-m", "long", f"--timeout={LONG_TEST_SECONDS_MAX}", *arguments)


def run_bench(arguments: list[str]) -> int:
    """measure, and print each figure beside its bound"""
    set_up()
    become(PYTHON, "-m", "scripts.bench", *arguments)


def run_check(arguments: list[str]) -> int:
    """what has to pass before a commit: style, types, house rules, the quick tests"""
    set_up()
    environment = {"HYPOTHESIS_PROFILE": "dev", **os.environ}
    failed = []
    for name, command in {**static_checks(), "quick tests": quick_tests(arguments)}.items():
        say(name)
        if subprocess.run(command, cwd=ROOT, env=environment).returncode != 0:
            failed.append(name)
    if failed:
        stop("not ready to commit: " + ", ".join(failed))
    say("all checks passed")
    return 0


VERBS: dict[str, Callable[[list[str]], int]] = {
    "setup": run_setup,
    "demo": run_demo,
    "test": run_test,
    "check": run_check,
    "bench": run_bench,
    "long": run_long,
}


def static_checks() -> dict[str, list[str]]:
    """The commands that judge the sources without running them, by name. Each exits 0 when content."""
    tools = VENV / "bin"
    files = [file for package in SOURCES for file in sorted((ROOT / package).rglob("*.py"))]
    waiting = [str(file) for file in files if "async" in file.read_text(encoding="utf-8")]  # the tool is slow
    return {
        "ruff check": [str(tools / "ruff"), "check", "--quiet", "."],
        "ruff format": [str(tools / "ruff"), "format", "--quiet", "--check", "."],
        "flake8-async": [str(PYTHON), "-m", "flake8_async", "--disable", ASYNC_RULES_LEFT_OUT, *waiting],
        "mypy": [str(PYTHON), "-m", "mypy", "--strict"],
        "tidy": [str(PYTHON), "-m", "scripts.tidy"],
    }


def quick_tests(arguments: Sequence[str]) -> list[str]:
    """The command that runs the tests which start no processes and take no time."""
    rooms = [room for room in QUICK_TESTS if (ROOT / room).is_dir()]
    marks = "not system and not slow and not long"
    return [str(PYTHON), "-m", "pytest", "-q", "-m", marks, *rooms, *arguments]


def set_up() -> bool:
    """Make `.venv` fit the lock, the project file and this place. False when it does already."""
    if is_set_up():
        return False
    with alone():
        if is_set_up():
            return False
        if not can_be_completed():
            make_venv()
        STAMP.write_text(UNFINISHED)
        say("installing what scripts/requirements.lock names …")
        pip("install", "--require-hashes", "--requirement", str(LOCK))
        pip("install", "--no-deps", "--no-build-isolation", "--editable", str(ROOT))
        STAMP.write_text(wanted_stamp())
        say(f"{VENV} is ready")
    return True


def is_set_up() -> bool:
    """Whether `.venv` was finished for exactly these files, here, and its Python is still there."""
    return PYTHON.exists() and read_stamp() == wanted_stamp()


def wanted_stamp() -> str:
    """What the stamp says when all is done: where, and a hash over what decides the content."""
    digest = hashlib.sha256()
    for file in (LOCK, ROOT / "pyproject.toml"):
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return f"{ROOT}\n{digest.hexdigest()}\n"


def read_stamp() -> str:
    """The stamp as it is, empty when there is none."""
    try:
        return STAMP.read_text()
    except FileNotFoundError:
        return ""


def can_be_completed() -> bool:
    """Whether the `.venv` that is there can be filled further, rather than made anew.

    Not after an interruption, which may have left half a package that pip takes for a whole one, and not when
    the checkout has moved, since the programs in an environment hold its path.
    """
    stamp = read_stamp()
    if stamp == UNFINISHED or (stamp and stamp.splitlines()[0] != str(ROOT)):
        return False
    if not PYTHON.exists():
        return False
    question = f"import pip, sys; sys.exit(sys.version_info < {PYTHON_MIN})"
    return subprocess.run([PYTHON, "-c", question], capture_output=True).returncode == 0


def make_venv() -> None:
    """Make an empty `.venv` with pip in it, in place of whatever stands there."""
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        stop(
            "This Python cannot make virtual environments: its modules venv and ensurepip are not installed.",
            "On Debian or Ubuntu: sudo apt install python3-venv",
        )
    # Resolved first: this may be running on the Python of the very `.venv` that is about to go.
    base = Path(sys.executable).resolve()
    say(f"making {VENV} with Python {sys.version.split()[0]} …")
    shutil.rmtree(VENV, ignore_errors=True)
    VENV.mkdir()
    STAMP.write_text(UNFINISHED)
    if subprocess.run([base, "-m", "venv", VENV]).returncode != 0:
        stop("Python could not make the virtual environment; it says why above.")


def pip(*arguments: str) -> None:
    """Run the pip of `.venv`, or stop with a word on what to do."""
    options = ["--disable-pip-version-check", "--no-input", "--quiet", "--quiet"]
    command = [str(PYTHON), "-m", "pip", *options, *arguments]
    if subprocess.run(command, cwd=ROOT).returncode != 0:
        stop(
            "pip failed; it says why above. A package index must be within reach.",
            "Then run the same command again: it starts afresh.",
        )


@contextmanager
def alone() -> Iterator[None]:
    """Hold off other set-ups of this checkout; the system lets go of the lock if this process dies."""
    with LOCK.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another set-up is under way; waiting for it …")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def become(program: Path, *arguments: str) -> NoReturn:
    """Turn this process into another program, run from the root of the checkout."""
    os.chdir(ROOT)
    sys.stdout.flush()
    os.execv(program, [str(program), *arguments])


def say(text: str) -> None:
    """Tell the developer what is going on, apart from the output of the programs run."""
    print(f"dev: {text}", file=sys.stderr, flush=True)


def stop(*lines: str) -> NoReturn:
    """End with what happened, and what to type next."""
    for line in lines:
        say(line)
    sys.exit(1)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:] or ["--help"]))
    except KeyboardInterrupt:
        stop("interrupted")
