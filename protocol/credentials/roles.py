"""Roles and levels: one table, and what may be issued by whom.

A grant carries role codes and one level: its seniority, 0 the root and larger junior. The most senior role
known here decides which levels fit. A code unknown here was made by a newer version: it is carried, shown,
and gives nothing. Rights are the union of the roles' (windows-grouping.md 3.4).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from protocol.errors import RuleError
from protocol.limits import (
    LEVEL_ADMIN_MAX,
    LEVEL_INVITING_MEMBER,
    LEVEL_MEMBER,
    LEVEL_ROOT,
    ROLE_CODE_MAX,
    ROLES_MAX,
)

ADMIN = 1
INVITING_MEMBER = 2
MEMBER = 3


@dataclass(frozen=True, slots=True)
class Role:
    """One row: the code in grants, the text for people, the original's GUID, and the levels that fit."""

    code: int
    name: str
    guid: str
    level_min: int
    level_max: int


# Most senior first.
ROLES: tuple[Role, ...] = (
    Role(ADMIN, "admin", "04387127-aa56-450a-8ce5-4f565c6790f4", LEVEL_ROOT + 1, LEVEL_ADMIN_MAX),
    Role(
        INVITING_MEMBER,
        "inviting_member",
        "4370fd89-dc18-4cfb-8dbf-9853a8a9f905",
        LEVEL_INVITING_MEMBER,
        LEVEL_INVITING_MEMBER,
    ),
    Role(MEMBER, "member", "f12dc4c7-0857-4ca0-93fc-b1bb19a3d8c2", LEVEL_MEMBER, LEVEL_MEMBER),
)
_LEAVES = (LEVEL_INVITING_MEMBER, LEVEL_MEMBER)
_BY_CODE = {role.code: role for role in ROLES}
_BY_TEXT = {role.name: role for role in ROLES} | {role.guid: role for role in ROLES}


def roles_well_formed(roles: tuple[int, ...]) -> bool:
    """Whether the codes are 1 to 8 of 1..255, each once, ascending."""
    if not 1 <= len(roles) <= ROLES_MAX or roles[0] < 1 or roles[-1] > ROLE_CODE_MAX:
        return False
    return all(smaller < larger for smaller, larger in itertools.pairwise(roles))


def roles_fit_level(roles: tuple[int, ...], level: int) -> bool:
    """Whether these roles may have this level; without a role known here only the most junior level fits."""
    for role in ROLES:
        if role.code in roles:
            return role.level_min <= level <= role.level_max
    return level == LEVEL_MEMBER


def level_for(role: int, issuer_level: int) -> int:
    """The level of a new grant. Raises: RuleError (invalid-role, chain-too-long, not-authorized)."""
    row = _BY_CODE.get(role)
    if row is None:
        raise RuleError("invalid-role", f"there is no role with the code {role}", hint=_ROLES_HINT)
    if role == ADMIN and issuer_level == LEVEL_ADMIN_MAX:
        raise RuleError(
            "chain-too-long",
            f"an administrator at level {LEVEL_ADMIN_MAX} cannot make another administrator",
            hint="let an administrator nearer to the creator issue this credential",
        )
    level = issuer_level + 1 if role == ADMIN else row.level_min
    if not row.level_min <= level <= row.level_max or not may_issue(issuer_level, level):
        raise RuleError(
            "not-authorized",
            f"a credential of level {issuer_level} cannot issue the role {row.name}",
            hint="let an administrator issue this credential",
        )
    return level


def may_issue(issuer_level: int, level: int) -> bool:
    """Whether a credential of `issuer_level` may issue one of `level`, a junior's."""
    return issues(issuer_level) and issuer_level < level and (level <= LEVEL_ADMIN_MAX or level in _LEAVES)


def issues(level: int) -> bool:
    """Whether a credential of this level may issue at all: the root, administrators, inviting members."""
    return LEVEL_ROOT <= level <= LEVEL_ADMIN_MAX or level == LEVEL_INVITING_MEMBER


def role_names(codes: Sequence[int]) -> tuple[str, ...]:
    """The texts of role codes, in the order given; a code unknown here is shown as `role-` and its number."""
    return tuple(_BY_CODE[code].name if code in _BY_CODE else f"role-{code}" for code in codes)


def role_codes(names: Sequence[str]) -> tuple[int, ...]:
    """The ascending codes of roles given by name or the original's GUID. Raises: RuleError (invalid-role)."""
    if not names:
        raise RuleError("invalid-role", "a credential needs at least one role", hint=_ROLES_HINT)
    for name in names:
        if name.lower() not in _BY_TEXT:
            raise RuleError("invalid-role", f"there is no role {name!r}", hint=_ROLES_HINT)
    return tuple(sorted({_BY_TEXT[name.lower()].code for name in names}))


_ROLES_HINT = "the roles are " + ", ".join(role.name for role in ROLES)
