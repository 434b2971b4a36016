"""Roles and levels: the table, and who may issue what."""

from __future__ import annotations

import pytest

from protocol.credentials.roles import (
    ADMIN,
    INVITING_MEMBER,
    MEMBER,
    ROLES,
    issues,
    level_for,
    may_issue,
    role_codes,
    role_names,
    roles_fit_level,
    roles_well_formed,
)
from protocol.errors import RuleError

LEVELS = [*range(25), 254, 255]


def test_codes_are_those_that_grants_carry():
    assert [(role.code, role.name) for role in ROLES] == [(1, "admin"), (2, "inviting_member"), (3, "member")]


@pytest.mark.parametrize("level", [*range(-1, 27), 253, 254, 255, 256])
def test_each_role_fits_its_own_band_of_levels_only(level):
    assert roles_fit_level((ADMIN,), level) == (1 <= level <= 24)
    assert roles_fit_level((INVITING_MEMBER,), level) == (level == 254)
    assert roles_fit_level((MEMBER,), level) == (level == 255)


def test_most_senior_role_decides_the_level():
    assert roles_fit_level((ADMIN, MEMBER), 1)
    assert not roles_fit_level((ADMIN, MEMBER), 255)
    assert roles_fit_level((INVITING_MEMBER, MEMBER), 254)


def test_role_of_a_newer_version_gives_nothing_and_fits_the_most_junior_level():
    assert roles_fit_level((9,), 255)
    assert not roles_fit_level((9,), 254)
    assert not roles_fit_level((9,), 1)
    assert roles_fit_level((ADMIN, 9), 1)


@pytest.mark.parametrize("roles", [(1,), (3,), (1, 2, 3), (255,), tuple(range(1, 9))])
def test_ascending_codes_are_well_formed(roles):
    assert roles_well_formed(roles)


@pytest.mark.parametrize("roles", [(), (0,), (256,), (2, 1), (1, 1), (1, 3, 2), tuple(range(1, 10)), (-1, 1)])
def test_other_lists_of_codes_are_not_well_formed(roles):
    assert not roles_well_formed(roles)


def test_only_juniors_are_issued_to():
    for issuer in LEVELS:
        for level in [*LEVELS, 25, 100, 253, 256]:
            expected = {254: level == 255, 255: False}.get(issuer, level in LEVELS and level > issuer)
            assert may_issue(issuer, level) == expected, (issuer, level)


@pytest.mark.parametrize("level", [-1, 25, 100, 253, 256])
def test_a_level_outside_the_table_issues_nothing(level):
    assert not issues(level)
    assert not any(may_issue(level, junior) for junior in LEVELS)


def test_issuers_are_the_root_administrators_and_inviting_members():
    assert [level for level in LEVELS if issues(level)] == [*range(25), 254]


@pytest.mark.parametrize("role", [ADMIN, INVITING_MEMBER, MEMBER])
@pytest.mark.parametrize("issuer", LEVELS)
def test_level_of_a_new_grant_fits_its_role_and_its_issuer(issuer, role):
    possible = [level for level in LEVELS if may_issue(issuer, level) and roles_fit_level((role,), level)]
    if possible:
        assert level_for(role, issuer) == possible[0]
        return
    with pytest.raises(RuleError):
        level_for(role, issuer)


def test_administrator_is_one_level_below_its_issuer():
    assert [level_for(ADMIN, issuer) for issuer in range(24)] == list(range(1, 25))


@pytest.mark.parametrize(
    "role,issuer,code",
    [
        (ADMIN, 24, "chain-too-long"),
        (ADMIN, 254, "not-authorized"),
        (ADMIN, 255, "not-authorized"),
        (INVITING_MEMBER, 254, "not-authorized"),
        (MEMBER, 255, "not-authorized"),
        (7, 0, "invalid-role"),
    ],
)
def test_what_cannot_be_issued_is_refused_under_its_own_name(role, issuer, code):
    with pytest.raises(RuleError) as caught:
        level_for(role, issuer)
    assert caught.value.code == code


def test_roles_are_known_by_name_and_by_the_guid_of_the_original():
    for role in ROLES:
        assert (
            role_codes([role.name])
            == role_codes([role.guid])
            == role_codes([role.guid.upper()])
            == (role.code,)
        )
        assert role_names((role.code,)) == (role.name,)


def test_role_codes_come_out_ascending_and_once():
    assert role_codes(["member", "admin", "member"]) == (ADMIN, MEMBER)


@pytest.mark.parametrize("names", [[], ["boss"], ["admin", ""], ["role-9"]])
def test_unknown_role_is_refused_and_the_known_ones_are_named(names):
    with pytest.raises(RuleError) as caught:
        role_codes(names)
    assert caught.value.code == "invalid-role"
    assert "inviting_member" in caught.value.hint


def test_role_of_a_newer_version_is_shown_by_number():
    assert role_names((MEMBER, 9)) == ("member", "role-9")
