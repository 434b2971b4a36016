"""`peerd invitation`: what is asked of the daemon, and what is printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from peerd.control import schema
from tests.peerd.cli.fake_daemon import ALICE, BOB, GRANT, PIZZA, SINCE, UNTIL, credential

INVITED = schema.CredentialIssued(credential=credential(stored=False), invitation="<PEERINVITATION/>\n")
CREATE = ("invitation", "create", "pizza", "bob")


@pytest.fixture
def inviting(daemon):
    daemon.will_answer("POST", "groups/pizza/invitations", INVITED)
    return daemon


def test_create_prints_the_invitation_alone(peerd, inviting) -> None:
    assert peerd(*CREATE, "--role", "admin", "--valid", "30m").stdout == "<PEERINVITATION/>\n"
    assert inviting.last.body == {"subject": "bob", "role": "admin", "valid_s": 1800}


def test_create_can_write_a_new_file_instead(peerd, inviting, home: Path) -> None:
    outcome = peerd(*CREATE, "--output", str(home / "invitation.xml"))
    assert outcome.stdout == ""
    assert "peerd group join --invitation" in outcome.stderr
    assert (home / "invitation.xml").read_text() == "<PEERINVITATION/>\n"
    assert peerd(*CREATE, "--output", str(home / "invitation.xml")).exit_code == 6


def test_create_as_json_is_the_reply(peerd, inviting) -> None:
    assert peerd(*CREATE, "--json").json["credential"]["grant_id"] == GRANT


@pytest.mark.parametrize("own", [True, False])
def test_show_sends_the_file_and_tells_what_is_in_it(peerd, daemon, home: Path, own: bool) -> None:
    contents = schema.InvitationContents(
        group=PIZZA,
        gid="cc" * 32,
        group_friendly_name="Pizza on Fridays",
        subject=BOB,
        friendly_name="Bob",
        issuer=ALICE,
        roles=["member"],
        level=255,
        not_before=SINCE,
        not_after=UNTIL,
        serial="01",
        grant_id=GRANT,
        addresses=["a:1", "b:2"],
        own=own,
    )
    daemon.will_answer("POST", "invitations/parse", contents)
    (home / "invitation.xml").write_text("<PEERINVITATION/>")
    shown = peerd("invitation", "show", str(home / "invitation.xml")).stdout
    assert daemon.last.body == {"invitation": "<PEERINVITATION/>"}
    for word in (PIZZA, BOB, ALICE, "a:1, b:2", "2026-04-02T03:04:05Z"):
        assert word in shown
    assert ("an identity of this node" in shown) == own
    assert peerd("invitation", "show", "-", "--json", stdin="<X/>").json["own"] == own


def test_an_invitation_that_is_refused_says_so(peerd, daemon) -> None:
    daemon.will_refuse("POST", "invitations/parse", "invitation-not-trusted")
    outcome = peerd("invitation", "show", "-", "--json", stdin="<X/>")
    assert outcome.exit_code == 1
    assert outcome.problem["type"] == "invitation-not-trusted"
