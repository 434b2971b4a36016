"""Removal on the command line: shown and asked on a terminal, done without a question in scripts."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from peerd.cli import removal
from peerd.control import authority_schema, schema
from tests.peerd.cli.fake_daemon import ALICE, BOB, GRANT, PIZZA, credential, group, member

ACT = "ab" * 32
CAROL = "99" * 20 + ".carol"


def removed(**changes: Any) -> authority_schema.Removal:
    given = authority_schema.Removal(
        group=PIZZA,
        kind="revoke_credential",
        act_id=ACT,
        subject=BOB,
        credentials=[credential(live=False)],
        members_lost=[BOB],
        members_back=[],
        void_acts=0,
        void_removals=[],
    )
    return replace(given, **changes)


TRIED = removed(act_id=None, members_lost=[BOB, CAROL], void_acts=3, void_removals=["cd" * 32])
REVOKE = "groups/pizza/members/bob/revoke"


@pytest.fixture
def on_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard input is a terminal, as far as the program can see."""
    monkeypatch.setattr(removal, "_stdin_is_terminal", lambda: True)


def test_in_a_script_nothing_is_asked(peerd, daemon) -> None:
    daemon.will_answer("POST", REVOKE, removed())
    shown = peerd("member", "revoke", "pizza", "bob", "--reason", "left", "--data", "time").stdout
    assert (ACT in shown, BOB in shown, GRANT in shown, "revoked" in shown) == (True, True, True, True)
    assert [asked.body for asked in daemon.asked] == [{"reason": "left", "data": "time"}]


def test_every_choice_is_passed_on(peerd, daemon) -> None:
    daemon.will_answer("POST", "groups/pizza/credentials/3f/revoke", removed(kind="revoke_key"))
    words = ("credential", "revoke", "pizza", "3f", "--key", "--as-root", "--trust-clock", "--yes", "--json")
    assert peerd(*words).json["kind"] == "revoke_key"
    assert daemon.last.body == {"for_ever": True, "as_root": True, "trust_clock": True}


def test_a_dry_run_shows_the_innocent_and_how_to_keep_them(peerd, daemon) -> None:
    daemon.will_answer("POST", REVOKE, TRIED)
    outcome = peerd("member", "revoke", "pizza", "bob", "--dry-run")
    assert outcome.exit_code == 0
    assert f"peerd credential issue {PIZZA} {CAROL} --store" in outcome.stdout
    assert f"{BOB} --store" not in outcome.stdout
    assert "3 acts" in outcome.stdout
    assert [asked.body for asked in daemon.asked] == [{"dry_run": True}]
    assert peerd("member", "revoke", "pizza", "bob", "--dry-run", "--json").json["void_acts"] == 3


@pytest.mark.usefixtures("on_terminal")
@pytest.mark.parametrize(("said", "code", "asked"), [("y\n", 0, 2), ("n\n", 1, 1), ("\n", 1, 1)])
def test_on_a_terminal_it_is_shown_and_asked_first(peerd, daemon, said, code, asked) -> None:
    daemon.will_answer("POST", REVOKE, TRIED, removed())
    outcome = peerd("member", "revoke", "pizza", "bob", stdin=said)
    assert (outcome.exit_code, len(daemon.asked)) == (code, asked)
    assert daemon.asked[0].body == {"dry_run": True}
    assert CAROL in outcome.stderr
    assert (ACT in outcome.stdout) == (code == 0)


def test_since_is_passed_on_and_who_is_lost_by_it_can_be_adopted(peerd, daemon) -> None:
    carols = credential(subject=CAROL, grant_id="dd" * 32, live=False)
    tried = replace(TRIED, credentials=[credential(live=False), carols])
    daemon.will_answer("POST", REVOKE, tried)
    shown = peerd("member", "revoke", "pizza", "bob", "--since", "7c02", "--dry-run").stdout
    assert f"To keep the others, then:\n  peerd credential adopt {PIZZA} {'dd' * 6}\n" in shown
    assert daemon.last.body == {"since": "7c02", "dry_run": True}


@pytest.mark.usefixtures("on_terminal")
@pytest.mark.parametrize(("said", "adopted"), [("y\ny\n", True), ("y\nn\n", False)])
def test_on_a_terminal_it_is_offered_to_adopt_the_innocent(peerd, daemon, said: str, adopted: bool) -> None:
    older = credential(subject=CAROL, grant_id="cc" * 32, live=False, level=255)
    better = credential(subject=CAROL, grant_id="dd" * 32, live=False, level=3)
    done = removed(members_lost=[BOB, CAROL], credentials=[credential(live=False), better, older])
    daemon.will_answer("POST", REVOKE, TRIED, done)
    daemon.will_answer("POST", "groups/pizza/credentials", schema.CredentialIssued(credential=better))
    outcome = peerd("member", "revoke", "pizza", "bob", "--as-root", stdin=said)
    assert outcome.exit_code == 0
    assert f"Adopt {CAROL}?" in outcome.stderr
    asked = [one.body for one in daemon.asked[2:]]
    assert asked == ([{"adopt": "dd" * 32, "store": True, "as_root": True}] if adopted else [])
    assert ("is a member again" in outcome.stderr) == adopted
    assert f"peerd credential adopt {PIZZA} {'dd' * 6}" in outcome.stdout


@pytest.mark.usefixtures("on_terminal")
@pytest.mark.parametrize("flag", ["--yes", "--json"])
def test_a_terminal_is_not_asked_when_it_says_so(peerd, daemon, flag) -> None:
    daemon.will_answer("POST", REVOKE, removed())
    assert peerd("member", "revoke", "pizza", "bob", flag).exit_code == 0
    assert len(daemon.asked) == 1


@pytest.mark.usefixtures("on_terminal")
def test_annulling_and_leaving_ask_too(peerd, daemon) -> None:
    daemon.will_answer(
        "POST", "groups/pizza/acts/ab/annul", TRIED, removed(kind="annul", subject=None, members_back=[BOB])
    )
    daemon.will_answer("POST", "groups/pizza/leave", removed(kind="resign", subject=ALICE))
    assert peerd("credential", "annul", "pizza", "ab", stdin="n\n").exit_code == 1
    assert "annulled" in peerd("credential", "annul", "pizza", "ab", "--as-root", "--yes").stdout
    assert daemon.last.body == {"as_root": True}
    daemon.will_answer("GET", "groups/pizza", group())
    daemon.will_answer("GET", "groups/pizza/members", schema.Members(members=[]))
    assert peerd("group", "leave", "pizza", stdin="n\n").exit_code == 1
    assert [asked.method for asked in daemon.asked] == ["POST", "POST", "GET", "GET"]
    daemon.will_answer("GET", "groups/pizza", group())
    daemon.will_answer("GET", "groups/pizza/members", schema.Members(members=[]))
    assert "resigned" in peerd("group", "leave", "pizza", "--reason", "moved", stdin="y\n").stdout
    assert daemon.last.body == {"reason": "moved"}


@pytest.mark.usefixtures("on_terminal")
@pytest.mark.parametrize(
    ("others", "warned"),
    [
        ([], False),
        ([member(peer_name=BOB)], True),
        ([member(peer_name=BOB), member(peer_name=CAROL, roles=["admin"])], False),
        ([member(peer_name=BOB), member(peer_name=CAROL, roles=["admin"], state="expired")], True),
    ],
)
def test_the_only_administrator_is_told_what_leaving_means(peerd, daemon, others, warned: bool) -> None:
    own = member(peer_name=ALICE, own=True, roles=["admin"])
    daemon.will_answer("GET", "groups/pizza", group(peer_name=ALICE))
    daemon.will_answer("GET", "groups/pizza/members", schema.Members(members=[own, *others]))
    outcome = peerd("group", "leave", "pizza", stdin="n\n")
    assert outcome.exit_code == 1
    assert ("No other member is an administrator" in outcome.stderr) == warned


def test_a_demotion_says_so(peerd, daemon) -> None:
    daemon.will_answer("POST", "groups/pizza/credentials", schema.CredentialIssued(credential=credential()))
    peerd("credential", "issue", "pizza", "bob", "--role", "member", "--replace", "--store")
    assert daemon.last.body == {"subject": "bob", "role": "member", "store": True, "replace": True}


def test_an_adoption_names_the_credential_alone(peerd, daemon) -> None:
    daemon.will_answer("POST", "groups/pizza/credentials", schema.CredentialIssued(credential=credential()))
    peerd("credential", "adopt", "pizza", "3f9a1c")
    assert daemon.last.body == {"adopt": "3f9a1c", "store": True}


def test_a_refusal_keeps_its_exit_code(peerd, daemon) -> None:
    daemon.will_refuse("POST", REVOKE, "not-authorized", hint="peerd member list GROUP")
    assert peerd("member", "revoke", "pizza", "bob").exit_code == 5
    daemon.will_refuse("POST", REVOKE, "member-not-found")
    assert peerd("member", "revoke", "pizza", "bob").exit_code == 4
