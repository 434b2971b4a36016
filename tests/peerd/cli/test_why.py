"""`peerd why` and `peerd audit`: what people read, and what programs do."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from peerd.control import authority_schema
from tests.peerd.cli.fake_daemon import ALICE, BOB, GRANT, PIZZA, RECORD, SINCE, UNTIL, credential

ACT = "ab" * 32
WHY = "groups/pizza/why/members/bob"


def act(**changes: Any) -> authority_schema.AuditedAct:
    given = authority_schema.AuditedAct(
        act_id=ACT,
        kind="revoke_credential",
        author="aa" * 32,
        peer_name=ALICE,
        subject=BOB,
        chain="00" * 16,
        seq=3,
        level=1,
        time=SINCE,
        effective=True,
        rule=None,
        because=[],
        hit_by=[],
        reason="left the circle",
        findings=[],
    )
    return replace(given, **changes)


def grant(**changes: Any) -> authority_schema.WhyGrant:
    above = credential(subject=ALICE, grant_id="ee" * 32, roles=["admin"], level=1, issuer=PIZZA)
    given = authority_schema.WhyGrant(
        credential=credential(), verdict="current", rule=None, acts=[], path=[above, credential()]
    )
    return replace(given, **changes)


def member(*grants: authority_schema.WhyGrant, holds: bool = True) -> authority_schema.WhyMember:
    return authority_schema.WhyMember(group=PIZZA, subject=BOB, member=holds, grants=list(grants))


def test_why_member_leads_from_the_root_to_the_credential(peerd, daemon) -> None:
    daemon.will_answer("GET", WHY, member(grant()))
    shown = peerd("why", "member", "pizza", "bob").stdout
    assert f"{BOB} is a member of {PIZZA}" in shown
    root, alice, bob = (shown.index(text) for text in ("the group's root ->", f"-> {ALICE}", f"-> {BOB}"))
    assert root < alice < bob
    assert "holds, and is what it goes by" in shown
    assert peerd("why", "member", "pizza", "bob", "--json").json["grants"][0]["verdict"] == "current"


@pytest.mark.parametrize(("rule", "told"), [("credential-void", True), ("annulled", False)])
def test_why_not_says_how_who_was_lost_with_its_issuer_is_adopted(peerd, daemon, rule, told) -> None:
    daemon.will_answer("GET", WHY, member(grant(verdict="void", rule=rule), holds=False))
    outcome = peerd("why", "not", "pizza", "bob")
    assert outcome.exit_code == 0
    assert (f"peerd credential adopt pizza {GRANT[:12]}" in outcome.stderr) == told


def test_why_not_of_a_member_says_how_to_see_why_it_is_one(peerd, daemon) -> None:
    daemon.will_answer("GET", WHY, member(grant()))
    outcome = peerd("why", "not", "pizza", "bob")
    assert (outcome.exit_code, outcome.stderr) == (1, "By which credential: peerd why member pizza bob\n")


def test_why_not_shows_what_speaks_against_and_says_by_its_code_whether_it_holds(peerd, daemon) -> None:
    revoked = grant(verdict="revoked", acts=[act()])
    daemon.will_answer("GET", WHY, member(revoked, holds=False))
    outcome = peerd("why", "not", "pizza", "bob")
    assert outcome.exit_code == 0
    assert "is no member" in outcome.stdout
    assert "has been revoked" in outcome.stdout
    assert f"revoke_credential {ACT[:12]}" in outcome.stdout
    assert "left the circle" in outcome.stdout
    daemon.will_answer("GET", WHY, member(grant(), revoked))
    outcome = peerd("why", "not", "pizza", "bob")
    assert outcome.exit_code == 1
    assert "holds, and" not in outcome.stdout


def test_a_void_credential_names_the_rule_in_words(peerd, daemon) -> None:
    void = grant(verdict="void", rule="outside-the-cut", acts=[act()])
    daemon.will_answer("GET", WHY, member(void, holds=False))
    assert "its issuer was removed" in peerd("why", "not", "pizza", "bob").stdout


def test_why_record_tells_of_every_version(peerd, daemon) -> None:
    versions = [
        authority_schema.WhyVersion(
            version_id="cd" * 32, modified_by=BOB, modified=UNTIL, kept=kept, rules=rules, grant=one
        )
        for kept, rules, one in ((False, [f"drop {ACT}"], grant(verdict="revoked")), (True, [], None))
    ]
    told = authority_schema.WhyRecord(group=PIZZA, record_id=RECORD, creator=BOB, versions=versions)
    daemon.will_answer("GET", "groups/pizza/why/records/9a", told)
    shown = peerd("why", "record", "pizza", "9a").stdout
    assert (f"drop {ACT}" in shown, GRANT in shown, "not here" in shown) == (True, True, True)
    assert len(peerd("why", "record", "pizza", "9a", "--json").json["versions"]) == 2


def test_an_audit_reads_every_page_and_points_at_what_is_odd(peerd, daemon) -> None:
    first = authority_schema.Audit(acts=[act(act_id="01" * 32, level=0, peer_name=None)], next="more")
    second = authority_schema.Audit(
        acts=[
            act(effective=False, rule="annulled", because=["0a" * 32], findings=["fallen"]),
            act(act_id="02" * 32, kind="grant", hit_by=[ACT]),
        ]
    )
    daemon.will_answer("GET", "groups/pizza/audit", first, second, first, second)
    outcome = peerd("audit", "pizza")
    rows = [row.split() for row in outcome.stdout.splitlines()[1:]]
    assert [row[0] for row in rows] == ["01" * 32, ACT, "02" * 32]
    assert rows[1][-3:] == ["annulled", "0a" * 6, "fallen"]
    assert "revoked" in rows[2]
    assert "1 act wants a look" in outcome.stderr
    assert len(peerd("audit", "pizza", "--json").json["acts"]) == 3
