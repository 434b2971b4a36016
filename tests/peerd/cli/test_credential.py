"""`peerd credential`: what is asked of the daemon, and what is printed."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from peerd.control import schema
from tests.peerd.cli.fake_daemon import ALICE, BOB, GRANT, PIZZA, credential

ISSUE = ("credential", "issue", "pizza")
ISSUED = schema.CredentialIssued(credential=credential())
INVITED = schema.CredentialIssued(credential=credential(stored=False), invitation="<PEERINVITATION/>\n")


@pytest.fixture
def issuing(daemon):
    daemon.will_answer("POST", "groups/pizza/credentials", ISSUED)
    return daemon


def test_a_renewal_names_only_the_subject(peerd, issuing) -> None:
    outcome = peerd(*ISSUE, "bob", "--store")
    assert issuing.last.body == {"subject": "bob", "store": True}
    for word in (GRANT, BOB, ALICE, PIZZA, "member", "2026-04-02T03:04:05Z"):
        assert word in outcome.stdout


def test_every_wish_about_a_credential_is_passed_on(peerd, issuing, home: Path) -> None:
    (home / "bob.xml").write_text("<PEERIDENTITYINFO/>")
    peerd(
        *ISSUE,
        *("--document", str(home / "bob.xml"), "--role", "inviting_member", "--friendly-name", "Bob"),
        *("--not-before", "2030-01-01T00:00:00Z", "--not-after", "2030-06-01T00:00:00.5+02:00", "--as-root"),
    )
    assert issuing.last.body == {
        "document": "<PEERIDENTITYINFO/>",
        "role": "inviting_member",
        "friendly_name": "Bob",
        "not_before": "2030-01-01T00:00:00Z",
        "not_after": "2030-06-01T00:00:00.500000+02:00",
        "as_root": True,
    }


def test_a_duration_goes_out_as_seconds(peerd, issuing) -> None:
    peerd(*ISSUE, "bob", "--valid", "90d")
    assert issuing.last.body == {"subject": "bob", "valid_s": 90 * 86_400}


def test_the_document_can_come_from_standard_input(peerd, issuing) -> None:
    peerd(*ISSUE, "--document", "-", stdin="<X/>")
    assert issuing.last.body == {"document": "<X/>"}


def test_nothing_given_is_for_the_daemon_to_judge(peerd, issuing) -> None:
    issuing.will_refuse("POST", "groups/pizza/credentials", "invalid-argument", hint="name a subject")
    outcome = peerd(*ISSUE)
    assert outcome.exit_code == 1
    assert "hint: name a subject" in outcome.stderr


def test_an_invitation_goes_into_a_new_file(peerd, issuing, home: Path) -> None:
    issuing.will_answer("POST", "groups/pizza/credentials", INVITED)
    file = home / "bob-invitation.xml"
    outcome = peerd(*ISSUE, "bob", "--invitation", str(file))
    assert issuing.last.body == {"subject": "bob", "invitation": True}
    assert file.read_text() == "<PEERINVITATION/>\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "PEERINVITATION" not in outcome.stdout


def test_a_file_that_exists_is_refused_before_anything_is_issued(peerd, issuing, home: Path) -> None:
    (home / "there").write_text("precious")
    outcome = peerd(*ISSUE, "bob", "--invitation", str(home / "there"))
    assert outcome.exit_code == 6
    assert not issuing.asked
    assert (home / "there").read_text() == "precious"


def test_a_refusal_leaves_no_file(peerd, issuing, home: Path) -> None:
    issuing.will_refuse("POST", "groups/pizza/credentials", "not-authorized")
    assert peerd(*ISSUE, "bob", "--invitation", str(home / "new")).exit_code == 5
    assert not (home / "new").exists()


def test_a_printed_invitation_is_alone_on_standard_output(peerd, issuing) -> None:
    issuing.will_answer("POST", "groups/pizza/credentials", INVITED)
    outcome = peerd(*ISSUE, "bob", "--invitation", "-")
    assert outcome.stdout == "<PEERINVITATION/>\n"
    assert GRANT in outcome.stderr


def test_json_holds_credential_and_invitation(peerd, issuing) -> None:
    issuing.will_answer("POST", "groups/pizza/credentials", INVITED)
    reply = peerd(*ISSUE, "bob", "--invitation", "-", "--json").json
    assert reply["invitation"] == "<PEERINVITATION/>\n"
    assert reply["credential"]["grant_id"] == GRANT


@pytest.mark.parametrize(
    "option, value",
    [
        ("--valid", "90"),
        ("--valid", "-1d"),
        ("--not-after", "2030-01-01"),
        ("--not-after", "2030-01-01T00:00:00"),
    ],
)
def test_a_time_without_a_unit_or_an_offset_is_a_usage_error(peerd, issuing, option, value) -> None:
    assert peerd(*ISSUE, "bob", option, value).exit_code == 2
    assert not issuing.asked


def test_list_follows_every_page(peerd, daemon) -> None:
    first = schema.Credentials(credentials=[credential()], next="more")
    second = schema.Credentials(credentials=[credential(grant_id="ab" * 32, not_after=None)])
    daemon.will_answer("GET", "groups/pizza/credentials", first, second)
    rows = peerd("credential", "list", "pizza", "--subject", "bob").stdout.splitlines()
    assert [row.split()[0] for row in rows] == ["GRANT", GRANT, "ab" * 32]
    assert "never" in rows[2]
    assert [asked.query.get("cursor") for asked in daemon.asked] == [None, "more"]
    assert {asked.query["subject"] for asked in daemon.asked} == {"bob"}


def test_list_as_json_is_one_document(peerd, daemon) -> None:
    daemon.will_answer("GET", "groups/pizza/credentials", schema.Credentials(credentials=[]))
    assert peerd("credential", "list", "pizza", "--json").json == {"credentials": [], "next": None}


def test_show_tells_everything_and_with_pem_only_the_chain(peerd, daemon) -> None:
    pem = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"
    daemon.will_answer(
        "GET",
        "groups/pizza/credentials/dddd",
        schema.CredentialChain(credential=credential(), chain=[pem, pem]),
    )
    assert "stored" in peerd("credential", "show", "pizza", "dddd").stdout
    assert peerd("credential", "show", "pizza", "dddd", "--pem").stdout == pem + pem
    assert len(peerd("credential", "show", "pizza", "dddd", "--json").json["chain"]) == 2
