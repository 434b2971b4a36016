"""Admission: each rule by name, with acts that it alone refuses, and the acts that it must not refuse."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.authority import admission
from protocol.authority.acts import Act
from protocol.authority.admission import Deferred, Invalid, Rule, Valid, admit
from protocol.authority.bodies import (
    BODIES,
    AnnulBody,
    Kind,
    PropertiesBody,
    ResignBody,
    level_max_for,
)
from protocol.authority.root import commitment_of
from protocol.authority.view import View
from tests.protocol.authority.bad_acts import (
    BAD,
    RECOVERY,
    admins,
    grant_of_a_level_that_has_no_role,
    invite,
    rotate,
    rotation,
    rotation_under_no_root_version,
)
from tests.support.builders import GRC, Group
from tests.support.keys import named

CASES = [pytest.param(rule, bad, id=bad.__name__) for rule, bads in BAD.items() for bad in bads]
TUPLES = ("CHAIN_RULES", "MEMBER_RULES", "ROOT_RULES", "GRANT_RULES", "ROTATION_RULES")


def all_rules() -> list[Rule]:
    return [rule for name in TUPLES for rule in getattr(admission, name)]


@pytest.fixture
def group():
    return Group()


def verdict_on(act: Act, group: Group):
    """The verdict of a node that has all that is admitted besides."""
    return admit(act, group.view)


def drop(rule: str, monkeypatch) -> None:
    """Make the mutant of admission that lacks one rule."""
    for name in TUPLES:
        kept = tuple(one for one in getattr(admission, name) if one.__name__ != rule)
        monkeypatch.setattr(admission, name, kept)
    monkeypatch.setattr(
        admission,
        "_OWN_RULES",
        {Kind.GRANT: admission.GRANT_RULES, Kind.ROTATE_ROOT: admission.ROTATION_RULES},
    )


def test_every_rule_has_an_act_that_it_refuses():
    assert list(BAD) == [rule.__name__ for rule in all_rules()]


@pytest.mark.parametrize("rule, bad", CASES)
def test_rule_refuses(rule, bad, group):
    assert verdict_on(bad(group), group) == Invalid(rule)


@pytest.mark.parametrize("rule, bad", CASES)
def test_only_that_rule_refuses(rule, bad, group, monkeypatch):
    act = bad(group)
    drop(rule, monkeypatch)
    assert isinstance(verdict_on(act, group), Valid)


@pytest.fixture(scope="module")
def refused():
    """One act that each rule refuses, in a group of its own."""
    groups = {name: Group() for name in BAD}
    return {name: (bad(groups[name]), groups[name]) for name, (bad, *_) in BAD.items()}


@pytest.mark.parametrize("dropped", list(BAD))
def test_no_other_rule_leans_on_that_rule(dropped, refused, monkeypatch):
    drop(dropped, monkeypatch)
    for name, (act, group) in refused.items():
        if name != dropped:
            assert verdict_on(act, group) == Invalid(name)


# --- what must pass ---------------------------------------------------------------------------------------


def test_each_level_may_sign_the_kinds_of_its_range(group):
    group.grant("grc -> alice:admin -> ivy:inviting -> mo:member")
    signers = {0: GRC, 1: "alice", 254: "ivy", 255: "mo"}
    bodies: dict[int, Any] = {Kind.ANNUL: {"act": bytes(32)}, Kind.INVITE: {"role": 3, "not_after": 1}}
    for kind in (3, 63, 64, 65, 127, 129, 132, 191, 192, 200, 255):
        body = bodies.get(kind, {})
        for level, author in signers.items():
            act = group.act(author, kind, body, keep=False)
            assert isinstance(verdict_on(act, group), Valid) == (level <= level_max_for(kind)), (kind, level)


def test_ranges_of_kinds_carry_the_least_role():
    assert [level_max_for(kind) for kind in (0, 1, 63, 64, 127, 128, 191, 192, 255)] == [
        -1, 0, 0, 24, 24, 254, 254, 255, 255
    ]  # fmt: skip
    assert {kind: level_max_for(kind) for kind in BODIES} == {
        Kind.ROTATE_ROOT: 0,
        Kind.PROPERTIES: 0,
        Kind.ANNUL: 24,
        Kind.GRANT: 254,
        Kind.INVITE: 254,
        Kind.REVOKE_CREDENTIAL: 254,
        Kind.REVOKE_KEY: 254,
        Kind.RESIGN: 255,
    }


def test_administrators_line_up_to_the_24th(group):
    last = group.grant(admins(group, 24))
    assert isinstance(last.verdict, Valid)
    assert len(last.verdict.admitted.line) == 25


def test_line_of_a_grant_is_the_keys_of_its_chain(group):
    mo = group.grant("grc -> alice:admin -> ivy:inviting -> mo:member")
    assert mo.verdict.admitted.line == tuple(
        group.key(name).public.pid for name in (GRC, "alice", "ivy", "mo")
    )


def test_inviting_member_grants_membership(group):
    assert isinstance(group.grant("grc -> alice:admin -> ivy:inviting -> mo:member").verdict, Valid)


@pytest.mark.parametrize("role", ["admin", "inviting"])
def test_inviting_member_grants_nothing_else(role, group):
    group.grant("grc -> alice:admin -> ivy:inviting")
    level = {"admin": 24, "inviting": 254}[role]
    assert group.grant(f"ivy -> mo:{role}", level=level).verdict == Invalid("grant_level_is_junior")


def test_administrator_may_skip_levels(group):
    assert isinstance(group.grant("grc -> alice:admin -> bob:admin", level=24).verdict, Valid)


def test_grant_with_a_role_of_a_newer_version_is_admitted(group):
    assert isinstance(group.grant("grc -> alice:admin -> bob:member", roles=(9,)).verdict, Valid)
    assert isinstance(group.grant("grc -> alice:admin -> carl:admin", roles=(1, 9)).verdict, Valid)


def test_grant_at_a_level_without_a_role_is_refused(group):
    assert isinstance(verdict_on(grant_of_a_level_that_has_no_role(group), group), Invalid)


def test_all_branches_of_a_fork_are_admitted(group):
    first = invite(group)
    forks = [invite(group, seq=2, prev=first.id, hlc=first.place.hlc + n, keep=False) for n in (1, 2, 3)]
    assert all(isinstance(verdict_on(act, group), Valid) for act in forks)


def test_two_first_acts_of_one_chain_are_admitted(group):
    acts = [invite(group, keep=False) for _ in range(2)]
    assert len({act.id for act in acts}) == 2
    assert all(isinstance(verdict_on(act, group), Valid) for act in acts)


def test_acts_named_by_a_body_need_not_be_there(group):
    nowhere = b"\x07" * 32
    body = {"despite": nowhere, "adopts": nowhere, "keep": nowhere, "renews": nowhere, "via": nowhere}
    assert isinstance(group.grant("grc -> alice:admin -> bob:member", body=body).verdict, Valid)
    assert isinstance(verdict_on(group.act("alice", Kind.ANNUL, AnnulBody(act=nowhere)), group), Valid)


def test_unknown_body_fields_and_ext_are_carried(group):
    act = group.act("alice", Kind.RESIGN, {"later": [1, {"x": b"y"}]}, ext={"hint": "carried"})
    assert isinstance(verdict_on(act, group), Valid)
    assert act.body_map == {"later": [1, {"x": b"y"}]}
    assert act.ext == {"hint": "carried"}


def test_act_of_another_group_is_refused(group):
    other = Group("friends")
    assert admit(invite(other), group.view) == Invalid("wrong_group")


# --- what must wait ---------------------------------------------------------------------------------------


def test_act_waits_for_prev_and_cred(group):
    bob = group.grant("grc -> alice:admin -> bob:admin")
    first = invite(group, "bob")
    second = invite(group, "bob")
    empty = View(group.gid)
    assert admit(second, empty) == Deferred((first.id, bob.act.id))
    assert admit(first, empty) == Deferred((bob.act.id,))
    assert admit(bob.act, empty) == Deferred((group.creator.act.id,))
    assert admit(group.genesis, empty) == admit(group.genesis, group.view)


def test_act_that_names_one_parent_twice_waits_for_it_once(group):
    act = group.act(GRC, Kind.PROPERTIES, PropertiesBody(), chain=1, prev=group.genesis.id, seq=2, keep=False)
    assert admit(act, View(group.gid)) == Deferred((group.genesis.id,))


# --- roots ------------------------------------------------------------------------------------------------


def test_rotation_by_the_recovery_key_is_admitted(group):
    act = rotate(group, rotation())
    verdict = verdict_on(act, group)
    assert isinstance(verdict, Valid)
    root = verdict.admitted.root
    assert root is not None
    assert (root.version, root.rotation, root.gid) == (2, act.id, group.gid)
    assert root.operating == (named("new root").public.pid,)
    assert root.commitment == commitment_of([named("next recovery").public], 1)
    assert root.grc == group.founding.root.grc


def test_rotation_may_be_signed_by_the_old_root_besides(group):
    assert isinstance(verdict_on(rotate(group, rotation(), GRC, RECOVERY), group), Valid)


def test_acts_under_a_rotation_need_its_keys(group):
    version = rotate(group, rotation())
    new = group.act(
        GRC, Kind.PROPERTIES, PropertiesBody(), signers=("new root",), cred=version.id, keep=False
    )
    old = group.act(GRC, Kind.PROPERTIES, PropertiesBody(), signers=(GRC,), cred=version.id, keep=False)
    assert isinstance(verdict_on(new, group), Valid)
    assert verdict_on(old, group) == Invalid("threshold_of_operating_keys")


def test_second_rotation_is_signed_by_the_set_that_the_first_committed_to(group):
    first = rotate(group, rotation())
    again = rotation(
        from_version=2,
        operating=named("newest root").public.raw,
        revealed=named("next recovery").public.raw,
    )
    assert isinstance(verdict_on(rotate(group, again, "next recovery", cred=first.id), group), Valid)
    assert verdict_on(rotate(group, again, "next recovery"), group) == Invalid(
        "rotation_reveals_the_recovery_set"
    )


def test_rotation_under_a_grant_is_refused(group):
    assert verdict_on(rotation_under_no_root_version(group), group) == Invalid(
        "rotation_reveals_the_recovery_set"
    )


def test_rotation_by_a_member_is_refused(group):
    act = group.act("alice", Kind.ROTATE_ROOT, rotation())
    assert verdict_on(act, group) == Invalid("kind_allowed_for_level")


def test_root_act_under_a_grant_is_refused(group):
    act = group.act(GRC, Kind.PROPERTIES, PropertiesBody(), cred=group.creator.act.id)
    assert verdict_on(act, group) == Invalid("threshold_of_operating_keys")


def test_act_without_a_credential_is_refused(group):
    assert verdict_on(invite(group, cred=None), group) == Invalid("cred_is_grant_to_author")
    assert verdict_on(group.act(GRC, Kind.PROPERTIES, PropertiesBody(), cred=None), group) == Invalid(
        "threshold_of_operating_keys"
    )


def test_act_under_an_act_that_grants_nothing_is_refused(group):
    act = group.act("alice", Kind.RESIGN, ResignBody(), level=1, cred=invite(group).id)
    assert verdict_on(act, group) == Invalid("cred_is_grant_to_author")


def test_grant_with_a_name_of_another_key_is_refused(group):
    verdict = group.grant("grc -> alice:admin -> bob:member", body={"name": "0" * 40 + ".bob"}).verdict
    assert verdict == Invalid("malformed: the peer name is not the key's")
