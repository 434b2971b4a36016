"""Every way in which a credential reaches its subject, typed by hand at real daemons."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from peerd.clock import calendar_ms, pause
from tests.system.circle import Circle, same_links
from tests.system.people import people

pytestmark = [pytest.mark.system, pytest.mark.slow]

NAMES = ("alice", "bob", "carol", "dave", "erin", "frank")
SHORT_LIFE = "5s"

# What design says that these answers hold, under these names.
CREDENTIAL_FIELDS = {
    "grant_id", "group", "subject", "friendly_name", "issuer", "roles", "level", "not_before", "not_after",
    "serial", "stored", "live", "current",
}  # fmt: skip
MEMBER_FIELDS = {
    "peer_name", "friendly_name", "issuer", "roles", "level", "not_before", "not_after", "grant_id",
}  # fmt: skip
GROUP_FIELDS = {"group", "peer_name", "friendly_name", "addresses", "node_id", "neighbors"}

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
ID = re.compile(r"[0-9a-f]{64}")
PEER_NAME = re.compile(r"[0-9a-f]{40}\.\w+")


@pytest.fixture(scope="module")
def circle() -> Iterator[Circle]:
    with people(*NAMES) as cast:
        made = Circle({person.name: person for person in cast})
        for person in cast:
            made.documents[person.name] = person.document(person.name)
        recovery = made.alice.home.with_name("recovery.txt")
        made.group = made.alice.json("group", "create", "pizza", "--recovery", str(recovery))["group"]
        made.admit("bob", "--role", "admin", "--friendly-name", "Bob B.")
        yield made


def until_it_has_ended(credential: dict[str, Any]) -> None:
    """Wait out a short life: its end is the calendar's, and no event tells a node that is down."""
    end_s = datetime.fromisoformat(credential["not_after"]).timestamp()
    while calendar_ms() / 1000 < end_s + 1:
        pause(0.1)


def test_a_member_that_is_linked_uses_a_renewal_without_reconnecting(circle: Circle) -> None:
    circle.admit("carol")
    before = circle.carol.group(circle.group)
    renewed = circle.issue("alice", "carol", "--store")
    circle.goes_by("carol", renewed)
    assert before.credential is not None
    assert before.credential.grant_id != renewed["grant_id"]
    assert before.neighbors
    assert same_links(before, circle.carol.group(circle.group))


def test_a_member_that_is_linked_uses_a_promotion_at_once(circle: Circle) -> None:
    circle.admit("carol")
    promoted = circle.issue("bob", "carol", "--role", "inviting_member", "--store")
    circle.goes_by("carol", promoted)
    assert circle.seen_by("carol")["credential"]["roles"] == ["inviting_member"]
    assert circle.seen_by("carol")["credential"]["level"] == 254


def test_a_member_that_was_off_picks_up_when_it_returns(circle: Circle) -> None:
    circle.admit("carol")
    circle.carol.stop()
    renewed = circle.issue("alice", "carol", "--store")
    circle.carol.start()
    circle.goes_by("carol", renewed)


def test_an_expired_member_comes_back_through_any_member_with_the_issuer_off(circle: Circle) -> None:
    short = circle.admit("dave", "--valid", SHORT_LIFE)
    circle.dave.json("group", "connect", "pizza", "--address", circle.bob.address)
    circle.dave.stop()
    renewed = circle.issue("alice", "dave", "--valid", "30d", "--store")
    circle.spread_to("bob")
    circle.alice.stop()
    try:
        until_it_has_ended(short)
        circle.dave.start()
        circle.goes_by("dave", renewed)
        assert circle.bob.json("member", "show", "pizza", "dave")["member"]["state"] == "member"
    finally:
        circle.alice.start()


def test_who_never_was_a_member_needs_the_groups_name_and_an_address(circle: Circle) -> None:
    stored = circle.issue("alice", "--document", circle.documents["erin"], "--store", "--valid", "40d")
    circle.spread_to("bob")
    joined = circle.join("erin", circle.bob)
    assert joined["state"] == "open"
    assert joined["credential"]["grant_id"] == stored["grant_id"]
    mine = circle.erin.json("credential", "list", "pizza", "--subject", "erin")["credentials"]
    assert [one["grant_id"] for one in mine if one["current"]] == [stored["grant_id"]]


def test_an_expired_answerer_gets_its_renewal_from_who_calls_it(circle: Circle) -> None:
    circle.admit("carol")
    short = circle.admit("frank", "--valid", SHORT_LIFE)
    circle.frank.json("group", "connect", "pizza", "--address", "127.0.0.1:1", "--only")  # it calls nobody
    circle.frank.stop()
    renewed = circle.issue("alice", "frank", "--valid", "30d", "--store")
    circle.spread_to("carol")
    until_it_has_ended(short)
    circle.frank.start()
    circle.carol.json("group", "connect", "pizza", "--address", circle.frank.address)
    circle.goes_by("frank", renewed)
    assert not any(one["outgoing"] for one in circle.seen_by("frank")["neighbors"])


def test_an_invitation_admits_without_the_store_flag(circle: Circle) -> None:
    with people("gina") as (gina,):
        document = gina.document("gina")
        file = gina.home.with_name("invitation.xml")
        words = ("--document", document, "--role", "member", "--invitation", str(file))
        issued = circle.issue("bob", *words)
        assert not issued["stored"]
        assert gina.json("invitation", "show", str(file))["grant_id"] == issued["grant_id"]
        # The act is published, the certificate is not: nobody counts gina as a member yet.
        assert circle.bob.json("member", "show", "pizza", "gina")["member"]["state"] == "awaited"
        joined = gina.json("group", "join", "--invitation", str(file), "--wait")
        assert joined["credential"]["grant_id"] == issued["grant_id"]
        gina.json("wait", "synchronized", "pizza")
        circle.bob.wait_group(circle.group, lambda seen: seen.digest == gina.group(circle.group).digest)
        assert circle.bob.json("member", "show", "pizza", "gina")["member"]["state"] == "member"


def test_stored_and_invited_at_once_is_one_credential(circle: Circle) -> None:
    with people("hana") as (hana,):
        file = hana.home.with_name("invitation.xml")
        words = ("--document", hana.document("hana"), "--store", "--invitation", str(file))
        issued = circle.issue("alice", *words)
        assert issued["stored"]
        hana.json("group", "join", "--invitation", str(file), "--wait")
        hana.json("wait", "synchronized", "pizza")
        found = hana.json("credential", "list", "pizza", "--subject", "hana")["credentials"]
        assert [one["grant_id"] for one in found] == [issued["grant_id"]]


def test_a_stranger_gets_nothing_and_the_group_does_not_change(circle: Circle) -> None:
    before = circle.seen_by("bob")
    with people("mallory") as (mallory,):
        mallory.document("mallory")
        words = ("--group", circle.group, "--address", circle.bob.address, "--wait", "--timeout", "2")
        code, problem = mallory.refusal("group", "join", *words)
        assert (code, problem["type"]) == (7, "timed-out")
        found = mallory.json("group", "show", circle.group)
        assert (found["state"], found["credential"], found["neighbors"]) == ("joining", None, [])
    after = circle.seen_by("bob")
    assert (before["digest"], before["members"]) == (after["digest"], after["members"])


def test_answers_have_the_fields_that_programs_rely_on(circle: Circle) -> None:
    group = circle.seen_by("bob")
    assert group.keys() >= GROUP_FIELDS
    credentials = circle.bob.json("credential", "list", "pizza")["credentials"]
    members = circle.bob.json("member", "list", "pizza")["members"]
    shown = circle.bob.json("credential", "show", "pizza", credentials[0]["grant_id"])["credential"]
    for one in (*credentials, group["credential"], shown):
        assert one.keys() >= CREDENTIAL_FIELDS
        assert ID.fullmatch(one["grant_id"])
        assert PEER_NAME.fullmatch(one["subject"])
        assert PEER_NAME.fullmatch(one["issuer"])
        assert re.fullmatch(r"[0-9a-f]{1,40}", one["serial"])
        assert TIME.fullmatch(one["not_before"])
        assert one["not_after"] is None or TIME.fullmatch(one["not_after"])
    for one in members:
        assert one.keys() >= MEMBER_FIELDS
        assert PEER_NAME.fullmatch(one["peer_name"])
    assert {"peer_name", "friendly_name"} <= circle.bob.json("identity", "list")["identities"][0].keys()
    assert {one["friendly_name"] for one in members if one["peer_name"].endswith(".bob")} == {"Bob B."}
    assert circle.bob.json("group", "list").keys() == {"groups"}
    assert circle.bob.json("identity", "document", "bob").keys() == {"peer_name", "document"}
