"""`peerd identity`: what is asked of the daemon, and what is printed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from peerd.control import schema
from tests.peerd.cli.fake_daemon import ALICE, BOB, PIZZA, SINCE, identity


def test_create_sends_the_names_and_shows_the_peer_name(peerd, daemon) -> None:
    daemon.will_answer("POST", "identities", identity())
    outcome = peerd("identity", "create", "alice", "--friendly-name", "Alice")
    assert daemon.last.body == {"classifier": "alice", "friendly_name": "Alice"}
    assert outcome.exit_code == 0
    assert ALICE in outcome.stdout


def test_create_without_a_classifier_leaves_it_to_the_daemon(peerd, daemon) -> None:
    daemon.will_answer("POST", "identities", identity())
    assert peerd("identity", "create", "--json").json["peer_name"] == ALICE
    assert daemon.last.body == {}


def test_list_is_a_table_and_as_json_the_reply(peerd, daemon) -> None:
    daemon.will_answer("GET", "identities", schema.Identities(identities=[identity(), identity(BOB)]))
    lines = peerd("identity", "list").stdout.splitlines()
    assert lines[0].split() == ["PEER", "NAME", "FRIENDLY", "NAME", "CREATED", "GROUPS"]
    assert [line.split()[0] for line in lines[1:]] == [ALICE, BOB]
    listed = peerd("identity", "list", "--json").json
    assert [one["peer_name"] for one in listed["identities"]] == [ALICE, BOB]
    assert listed["identities"][0]["created"] == "2026-01-02T03:04:05Z"


def test_an_empty_list_says_how_to_make_one_beside_the_answer(peerd, daemon) -> None:
    daemon.will_answer("GET", "identities", schema.Identities(identities=[]))
    outcome = peerd("identity", "list")
    assert outcome.stdout == ""
    assert "peerd identity create" in outcome.stderr
    assert peerd("identity", "list", "--json").stderr == ""


def test_show_asks_for_the_name_as_it_was_typed(peerd, daemon) -> None:
    daemon.will_answer("GET", "identities/a/b c?", identity())
    outcome = peerd("identity", "show", "a/b c?")
    assert daemon.last.segments == ("identities", "a/b c?")
    assert PIZZA in outcome.stdout


def test_without_a_name_the_oldest_that_lives_is_meant(peerd, daemon) -> None:
    older = identity(BOB, created=SINCE - timedelta(days=1))
    gone = identity(created=SINCE - timedelta(days=2), deleted=True)
    daemon.will_answer("GET", "identities", schema.Identities(identities=[identity(), older, gone]))
    assert peerd("identity", "show", "--json").json["peer_name"] == BOB


def test_show_without_any_identity_is_not_found(peerd, daemon) -> None:
    daemon.will_answer("GET", "identities", schema.Identities(identities=[]))
    outcome = peerd("identity", "show")
    assert outcome.exit_code == 4
    assert "peerd identity create" in outcome.stderr


def test_document_prints_the_xml_alone(peerd, daemon) -> None:
    reply = schema.IdentityDocument(peer_name=ALICE, document="<PEERIDENTITYINFO/>\n")
    daemon.will_answer("GET", f"identities/{ALICE}/document", reply)
    assert peerd("identity", "document", ALICE).stdout == "<PEERIDENTITYINFO/>\n"
    assert peerd("identity", "document", ALICE, "--json").json == {
        "peer_name": ALICE,
        "document": "<PEERIDENTITYINFO/>\n",
    }


@pytest.mark.parametrize("there", [True, False])
def test_document_without_a_name_takes_the_default_identity_and_the_first_use_makes_it(
    peerd, daemon, there: bool
) -> None:
    daemon.will_answer("GET", "identities", schema.Identities(identities=[identity()] if there else []))
    daemon.will_answer("POST", "identities", identity())
    daemon.will_answer(
        "GET", f"identities/{ALICE}/document", schema.IdentityDocument(peer_name=ALICE, document="<X/>")
    )
    assert peerd("identity", "document").stdout == "<X/>\n"
    assert [asked.method for asked in daemon.asked].count("POST") == (0 if there else 1)


def test_rename_sends_the_new_name_even_when_it_is_empty(peerd, daemon) -> None:
    daemon.will_answer("PATCH", "identities/alice", identity())
    assert peerd("identity", "rename", "alice", "").exit_code == 0
    assert daemon.last.body == {"friendly_name": ""}


def test_delete_says_which_one_is_gone(peerd, daemon) -> None:
    daemon.will_answer("DELETE", "identities/alice", identity(deleted=True))
    assert peerd("identity", "delete", "alice").stdout == f"deleted {ALICE}\n"
    assert peerd("identity", "delete", "alice", "--json").json["deleted"] is True


def test_a_hostile_friendly_name_cannot_steer_the_terminal(peerd, daemon) -> None:
    daemon.will_answer("GET", "identities/alice", identity(friendly_name="\x1b[2Jgone\nforged"))
    shown = peerd("identity", "show", "alice").stdout
    assert "\x1b" not in shown
    assert "\\x1b[2Jgone\\x0aforged" in shown
