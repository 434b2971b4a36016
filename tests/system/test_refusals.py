"""What is refused by hand: the exit code, the problem on standard error, and that nothing has changed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.system.circle import Circle, circle_of
from tests.system.commands import commands_in, is_a_command
from tests.system.people import Person, people, place

pytestmark = [pytest.mark.system, pytest.mark.slow]

PROBLEM_FIELDS = {"type", "title", "status", "detail", "hint", "instance", "windows_code"}
LONG = "n" * 256


@pytest.fixture(scope="module")
def circle() -> Iterator[Circle]:
    with circle_of("carol", "dave") as made:
        made.admit("carol")
        made.alice.json("group", "show", "pizza")
        yield made


def state_of(person: Person) -> list[Any]:
    """All that a refused command could have changed, but for the links, which come and go by themselves."""
    groups = person.json("group", "list")["groups"]
    kept = (
        "group",
        "gid",
        "peer_name",
        "state",
        "connected",
        "only",
        "addresses",
        "members",
        "acts",
        "digest",
    )
    return [
        [{name: group[name] for name in kept} for group in groups],
        person.json("identity", "list"),
        sorted(path.name for path in person.home.rglob("*") if path.suffix in (".pem", ".json", ".db")),
    ]


# Who types what; the exit code; the slug. DIR stands for the directory of all homes.
ISSUE = ("credential", "issue", "pizza")
REFUSED: list[tuple[str, Sequence[str], int, str]] = [
    # arguments
    ("alice", (*ISSUE, "carol"), 1, "invalid-argument"),
    ("alice", (*ISSUE, "--store"), 1, "invalid-argument"),
    ("alice", (*ISSUE, "carol", "--store", "--valid", "1d", "--not-after", "2080-01-01T00:00:00Z"), 1,
     "invalid-argument"),
    ("alice", (*ISSUE, "carol", "--store", "--role", "king"), 1, "invalid-role"),
    ("alice", (*ISSUE, "carol", "--store", "--friendly-name", LONG), 1, "invalid-friendly-name"),
    ("alice", (*ISSUE, "nobody", "--store"), 4, "identity-not-found"),
    ("alice", (*ISSUE, f"{'0' * 40}.nobody", "--store"), 4, "identity-not-found"),
    ("alice", (*ISSUE, f"{'0' * 40}.nobody", "--role", "member", "--store"), 1, "invalid-credential-info"),
    ("alice", (*ISSUE, "carol", "--document", "DIR/dave.xml", "--store"), 1, "key-mismatch"),
    # times
    ("alice", (*ISSUE, "carol", "--store", "--not-after", "2020-01-01T00:00:00Z"), 1, "invalid-time-period"),
    ("alice", (*ISSUE, "carol", "--store", "--not-before", "2020-01-01T00:00:00Z"), 1, "invalid-time-period"),
    ("bob", (*ISSUE, "carol", "--store", "--valid", "365d"), 1, "invalid-time-period"),
    # what would lower or shorten
    ("alice", (*ISSUE, "carol", "--store", "--valid", "1h"), 1, "needs-revocation"),
    ("alice", (*ISSUE, "bob", "--store", "--role", "member"), 1, "needs-revocation"),
    # rights
    ("carol", (*ISSUE, "--document", "DIR/dave.xml", "--store"), 5, "not-authorized"),
    ("bob", (*ISSUE, "alice", "--store"), 1, "circular-chain"),
    ("bob", (*ISSUE, "bob", "--store"), 1, "circular-chain"),
    ("bob", (*ISSUE, "carol", "--store", "--as-root"), 5, "no-key-access"),
    ("bob", ("group", "set", "pizza", "--comment", "mine now"), 5, "no-key-access"),
    ("alice", ("group", "set", "pizza", "--friendly-name", LONG), 1, "invalid-friendly-name"),
    ("alice", ("group", "set", "pizza", "--comment", LONG), 1, "invalid-properties"),
    # documents
    ("alice", (*ISSUE, "--document", "DIR/bad.xml", "--store"), 1, "invitation-not-trusted"),
    ("dave", ("group", "join", "--invitation", "DIR/bad.xml"), 1, "invitation-not-trusted"),
    ("dave", ("group", "join", "--invitation", "DIR/dave.xml"), 1, "invitation-not-trusted"),
    ("dave", ("invitation", "show", "DIR/bad.xml"), 1, "invitation-not-trusted"),
    # names that fit nothing, or too much
    ("alice", ("credential", "issue", "pasta", "carol", "--store"), 4, "group-not-found"),
    ("alice", ("credential", "show", "pizza", "f" * 64), 4, "credential-not-found"),
    ("alice", ("member", "show", "pizza", "nobody"), 4, "member-not-found"),
    ("alice", ("identity", "show", "nobody"), 4, "identity-not-found"),
    ("alice", ("identity", "delete", "alice"), 6, "identity-in-use"),
    ("dave", ("identity", "show", "twin"), 6, "ambiguous-name"),
    ("dave", ("identity", "document", "gone"), 4, "identity-deleted"),
    ("dave", ("group", "create", "salad", "--identity", "gone", "--recovery", "DIR/r.txt"), 4,
     "identity-deleted"),
    # making and joining
    ("dave", ("identity", "create", "c" * 150), 1, "classifier-too-long"),
    ("dave", ("identity", "create", "a\tb"), 1, "invalid-classifier"),
    ("dave", ("group", "create", "c" * 150, "--recovery", "DIR/r.txt"), 1, "classifier-too-long"),
    ("dave", ("group", "create", "salad", "--recovery", "DIR/bad.xml"), 6, "file-exists"),
    ("alice", (*ISSUE, "carol", "--invitation", "DIR/bad.xml"), 6, "file-exists"),
    ("dave", ("group", "join", "--group", "pizza", "--address", "127.0.0.1:1"), 1, "invalid-peer-name"),
    ("dave", ("group", "join", "--group", f"{'0' * 40}.x"), 1, "invalid-argument"),
    ("dave", ("group", "join", "--group", f"{'0' * 40}.x", "--address", "nowhere"), 1, "invalid-argument"),
    ("dave", ("events", "--since", "mystery"), 1, "invalid-argument"),
    # the root
    ("alice", ("root", "rotate", "pizza", "--with", "DIR/bad.xml"), 1, "invalid-argument"),
    ("bob", ("root", "prepare", "pizza", "annul", "beef", "--out", "DIR/act.root"), 1, "invalid-argument"),
    ("bob", ("root", "prepare", "pizza", "revoke", "nobody", "--out", "DIR/act.root"), 4, "member-not-found"),
    ("bob", ("root", "sign", "DIR/bad.xml", "--out", "DIR/act.root"), 1, "draft-not-acceptable"),
    ("bob", ("root", "import", "pizza", "DIR/bad.xml"), 1, "draft-not-acceptable"),
    ("bob", ("root", "unlock", "pizza"), 2, "usage"),
    ("bob", ("root", "protect", "pizza"), 2, "usage"),
    ("dave", ("root", "show", "pizza"), 4, "group-not-found"),
    ("dave", ("root", "lock", "pizza"), 4, "group-not-found"),
    # the command line itself
    ("alice", ("group", "paint"), 2, "usage"),
    ("alice", (*ISSUE, "carol", "--store", "--valid", "soon"), 2, "usage"),
    ("alice", (*ISSUE, "--document", "DIR/absent.xml", "--store"), 2, "usage"),
    ("alice", ("group", "create", "salad"), 2, "usage"),
    ("alice", ("group", "join"), 2, "usage"),
]  # fmt: skip


@pytest.fixture(scope="module")
def prepared(circle: Circle) -> Circle:
    """Somebody with two identities of one classifier and a deleted one, and a file that is no document."""
    circle.dave.json("identity", "create", "twin")
    circle.dave.json("identity", "create", "twin")
    circle.dave.json("identity", "create", "gone")
    circle.dave.json("identity", "delete", "gone")
    circle.dave.home.with_name("bad.xml").write_text("<PEERINVITATION>not much</PEERINVITATION>")
    circle.alice.json("wait", "synchronized", "pizza")
    return circle


@pytest.fixture(scope="module")
def before(prepared: Circle) -> dict[str, list[Any]]:
    return {name: state_of(person) for name, person in prepared.cast.items()}


@pytest.mark.parametrize(("who", "words", "code", "slug"), REFUSED)
def test_a_refusal_says_why_under_its_name(
    prepared: Circle, before: dict[str, list[Any]], who: str, words: Sequence[str], code: int, slug: str
) -> None:
    directory = prepared.alice.home.parent
    typed = [word.replace("DIR", str(directory)) for word in words]
    if words[:2] == ("group", "create") and "--recovery" not in words:
        typed_at_no_terminal = prepared.cast[who].type(*typed)  # with --json the answer would hold the key
        assert (typed_at_no_terminal.code, f"[{slug}]" in typed_at_no_terminal.err) == (code, True)
        return
    found, problem = prepared.cast[who].refusal(*typed)
    assert (found, problem["type"]) == (code, slug), problem
    assert problem.keys() == PROBLEM_FIELDS
    assert problem["detail"]
    assert problem["title"]
    assert all(is_a_command(command) for command in commands_in(problem["hint"])), problem
    assert not (directory / "r.txt").exists()


def test_no_refused_call_has_changed_anything(prepared: Circle, before: dict[str, list[Any]]) -> None:
    after = {name: state_of(person) for name, person in prepared.cast.items()}
    assert after == before


def test_people_get_a_sentence_and_the_next_command(prepared: Circle) -> None:
    answer = prepared.bob.type("credential", "issue", "pizza", "carol", "--store", "--as-root")
    assert (answer.code, answer.out) == (5, "")
    first, *rest = answer.err.splitlines()
    assert first.startswith("error [no-key-access]: ")
    assert rest
    assert rest[0].startswith("hint: ")


def test_a_home_without_a_daemon_has_an_exit_code_of_its_own() -> None:
    with place() as directory:
        code, problem = Person(directory / "nobody").refusal("status")
        assert (code, problem["type"]) == (3, "daemon-not-running")
        assert "peerd run" in problem["hint"]


def test_a_group_that_is_still_awaited_is_degraded_and_refuses_what_needs_it() -> None:
    with people("zoe") as (zoe,):
        zoe.document("zoe")
        name = f"{'1' * 40}.party"
        join = ("group", "join", "--group", name, "--address", "127.0.0.1:1")
        code, problem = zoe.refusal(*join, "--wait", "--timeout", "0")
        assert (code, problem["type"]) == (7, "timed-out")
        for command in ("status", "health"):
            answer = zoe.type(command, "--json")
            assert answer.code == 8
            found = json.loads(answer.out)
            assert (found["health"], [one["code"] for one in found["findings"]]) == (
                "degraded",
                ["credential-awaited"],
            )
        for words in (
            ("credential", "issue", "party", "zoe", "--store"),
            ("credential", "list", "party"),
            ("member", "list", "party"),
            ("group", "set", "party", "--comment", "x"),
            ("group", "disconnect", "party"),
        ):
            code, problem = zoe.refusal(*words)
            assert (code, problem["type"]) == (1, "not-ready"), words
        assert zoe.json("group", "show", "party")["state"] == "joining"
        code, problem = zoe.refusal("wait", "synchronized", "party", "--timeout", "0")
        assert (code, problem["type"]) == (7, "timed-out")
        zoe.json("group", "delete", "party")
        assert zoe.type("status").code == 0


def test_a_second_daemon_on_a_home_is_refused(tmp_path: Path) -> None:
    with people("anna") as (anna,):
        answer = anna.type("run", "--listen", "127.0.0.1:0")
        assert answer.code == 6
        assert "home-in-use" in answer.err
        assert anna.type("status").code == 0
