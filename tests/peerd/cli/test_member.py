"""`peerd member`: what is asked of the daemon, and what is printed."""

from __future__ import annotations

from peerd.control import schema
from tests.peerd.cli.fake_daemon import ALICE, BOB, GRANT, credential, member


def test_list_follows_every_page(peerd, daemon) -> None:
    first = schema.Members(members=[member()], next="more")
    second = schema.Members(members=[member(peer_name=ALICE, own=True, neighbor=False, state="expired")])
    daemon.will_answer("GET", "groups/pizza/members", first, second)
    rows = [row.split() for row in peerd("member", "list", "pizza").stdout.splitlines()]
    assert [(row[0], row[-1]) for row in rows[1:]] == [(BOB, "neighbor"), (ALICE, "self")]
    assert [asked.query.get("cursor") for asked in daemon.asked] == [None, "more"]


def test_list_as_json_is_one_document(peerd, daemon) -> None:
    daemon.will_answer("GET", "groups/pizza/members", schema.Members(members=[member()]))
    reply = peerd("member", "list", "pizza", "--json").json
    assert [one["peer_name"] for one in reply["members"]] == [BOB]
    assert reply["next"] is None


def test_show_tells_the_member_and_its_credentials(peerd, daemon) -> None:
    found = schema.MemberCredentials(member=member(), credentials=[credential()])
    daemon.will_answer("GET", "groups/pizza/members/bob", found)
    shown = peerd("member", "show", "pizza", "bob").stdout
    assert BOB in shown
    assert GRANT in shown
    assert peerd("member", "show", "pizza", "bob", "--json").json["credentials"][0]["grant_id"] == GRANT
