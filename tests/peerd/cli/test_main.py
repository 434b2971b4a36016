"""Errors reach people and programs, each with its exit code; verbs load only what they need."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from peerd.cli.main import VERBS, program
from peerd.cli.problems import exit_code_of, local_problem
from peerd.control import schema
from peerd.errors import KINDS, RULE_STATUS, status_of
from tests.peerd.cli.fake_daemon import group

EXIT_CODES = {
    "identity-not-found": 4,
    "group-not-found": 4,
    "identity-deleted": 4,
    "access-denied": 5,
    "not-authorized": 5,
    "no-key-access": 5,
    "already-exists": 6,
    "ambiguous-name": 6,
    "timed-out": 7,
    "invalid-role": 1,
    "chain-too-long": 1,
    "internal": 1,
    "store-full": 1,
    "daemon-not-running": 3,
}


@pytest.mark.parametrize("slug", EXIT_CODES)
def test_every_kind_of_refusal_has_the_exit_code_of_the_manual(peerd, daemon, slug: str) -> None:
    daemon.will_refuse("GET", "groups/pizza", slug)
    assert peerd("group", "show", "pizza").exit_code == EXIT_CODES[slug]


@pytest.mark.parametrize("slug", sorted([*KINDS, *RULE_STATUS]))
def test_no_refusal_looks_like_success(slug: str) -> None:
    problem = schema.Problem(slug=slug, title="", status=status_of(slug), detail="")
    assert 1 <= exit_code_of(problem) <= 8


def test_people_read_slug_detail_and_hint(peerd, daemon) -> None:
    daemon.will_refuse("GET", "groups/pizza", "group-not-found", hint="peerd group list")
    outcome = peerd("group", "show", "pizza")
    assert outcome.stdout == ""
    assert outcome.stderr == "error [group-not-found]: The detail.\nhint: peerd group list\n"


def test_programs_read_the_problem_as_the_daemon_sent_it(peerd, daemon) -> None:
    daemon.will_refuse("GET", "groups/pizza", "group-not-found", hint="peerd group list")
    outcome = peerd("group", "show", "pizza", "--json")
    assert outcome.stdout == ""
    assert outcome.problem == {
        "type": "group-not-found",
        "title": "A title",
        "status": 404,
        "detail": "The detail.",
        "hint": "peerd group list",
        "instance": "",
        "windows_code": None,
    }


def test_a_hostile_detail_cannot_steer_the_terminal(peerd, daemon) -> None:
    daemon.will_answer(
        "GET", "groups/x", lambda: schema.Problem(slug="conflict", title="", status=409, detail="\x1b[")
    )
    assert "\x1b" not in peerd("group", "show", "x").stderr


@pytest.mark.parametrize(
    ("command", "path"),
    [
        (("why", "member", "pizza club", "bob"), "groups/pizza club/why/members/bob"),
        (("group", "show", "pizza club"), "groups/pizza club"),
    ],
)
def test_hints_name_the_group_that_was_meant(peerd, daemon, command: tuple[str, ...], path: str) -> None:
    hint = "peerd member list GROUP, or GROUP-LESS: peerd group list"
    daemon.will_refuse("GET", path, "member-not-found", hint=hint)
    assert "peerd member list 'pizza club', or GROUP-LESS: peerd group list\n" in peerd(*command).stderr
    daemon.will_refuse("GET", path, "member-not-found", hint=hint)
    problem = peerd(*command, "--json").problem
    assert problem["hint"] == "peerd member list 'pizza club', or GROUP-LESS: peerd group list"


def test_hints_name_the_home_that_was_chosen_by_flag(peerd, home: Path, tmp_path: Path) -> None:
    away = tmp_path / "my node"
    outcome = peerd("--home", str(away), "status")
    assert outcome.exit_code == 3
    assert f"peerd --home '{away}' run" in outcome.stderr
    assert f"peerd --home '{away}' run" in peerd(f"--home={away}", "status").stderr
    assert "hint: start it: peerd run" in peerd("status").stderr


def test_usage_errors_are_problems_too(peerd) -> None:
    outcome = peerd("group", "show", "--json")
    assert outcome.exit_code == 2
    assert outcome.problem["type"] == "usage"
    assert outcome.problem["hint"] == "peerd group show --help"


def test_a_word_too_few_shows_the_help(peerd) -> None:
    for arguments in ((), ("group",)):
        outcome = peerd(*arguments)
        assert outcome.exit_code == 2
        assert outcome.stderr.startswith("Usage: peerd")
        assert "\n  create  " in outcome.stderr or "\n  status  " in outcome.stderr


def test_the_version_is_one_line(peerd) -> None:
    outcome = peerd("--version")
    assert (outcome.exit_code, outcome.stdout.count("\n")) == (0, 1)
    assert outcome.stdout.startswith("peerd ")


@pytest.mark.parametrize("arguments", [("nonsense",), ("group", "nonsense"), ("status", "--nonsense")])
def test_unknown_words_are_usage_errors(peerd, arguments) -> None:
    assert peerd(*arguments).exit_code == 2


def test_a_home_with_too_long_a_path_is_refused_with_a_reason(peerd) -> None:
    outcome = peerd("--home", "/" + "x" * 120, "status", "--json")
    assert outcome.exit_code == 1
    assert outcome.problem["type"] == "path-too-long"


def test_an_interrupt_has_an_exit_code_of_its_own(peerd, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("peerd.cli.session.Session.client", interrupt)
    assert peerd("status").exit_code == 130


def test_a_problem_of_this_side_has_the_same_form() -> None:
    problem = local_problem("file-exists", "It is there.", "move it")
    assert (problem.slug, problem.status, problem.title) == ("file-exists", 409, KINDS["file-exists"].title)


@pytest.mark.parametrize("no_color", ["", "1"])
def test_colour_is_for_terminals_that_want_it(home: Path, no_color: str) -> None:
    ours, theirs = os.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "peerd", "--home", str(home), "status"],
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env={**os.environ, "NO_COLOR": no_color},
        check=False,
        timeout=30,
    )
    shown = os.read(ours, 4096)
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 3
    assert (b"\x1b[" in shown) == (not no_color)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_of_the_table_exists(verb: str) -> None:
    command = program.get_command(click.Context(program), verb)
    assert command is not None
    assert command.name == verb


def test_answering_loads_nothing_heavy(home: Path) -> None:
    script = (
        "import sys; from peerd.cli.main import program\n"
        "try: program(['--home', sys.argv[1], 'status'])\n"
        "except SystemExit as error: assert error.code == 3, error.code\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(home)], capture_output=True, text=True, check=True, timeout=30
    )
    heavy = {
        "trio",
        "cryptography",
        "OpenSSL",
        "apsw",
        "h11",
        "msgpack",
        "logging",
        "platformdirs",
        "asyncio",
    }
    assert not heavy & set(done.stdout.split())


def test_a_reader_that_goes_away_ends_the_output_without_a_trace(home: Path, daemon) -> None:
    daemon.will_answer("GET", "groups/pizza", lambda: group(friendly_name="x" * 200_000))
    with subprocess.Popen(
        [sys.executable, "-m", "peerd", "--home", str(home), "group", "show", "pizza", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == b""
        assert running.wait(timeout=30) == 1
