"""What a person is told of a draft before it is signed."""

from __future__ import annotations

import pytest

from tests.protocol.authority.rooting import drafted, signed, wishes
from tests.support.builders import Group
from tests.support.keys import named

KINDS = ("grant", "revoke", "revoke key", "annul", "properties", "rotate")
ROOT_KINDS = {"revoke": "revoke_credential", "revoke key": "revoke_key", "rotate": "rotate_root"}
FAMILY = Group()
DRAFTS = {name: drafted(FAMILY, wish) for name, wish in wishes(FAMILY).items()}


@pytest.mark.parametrize("name", KINDS)
def test_draft_describes_itself_from_its_content(name):
    said = DRAFTS[name].describe()
    assert said["kind"] == ROOT_KINDS.get(name, name)
    assert said["group"] == FAMILY.founding.group_name
    assert said["root_version"] == 1
    assert [one["signed"] for one in said["signers"]] == [False]
    assert [one["recovery"] for one in said["signers"]] == [name == "rotate"]
    assert [one["signed"] for one in signed(FAMILY, DRAFTS[name]).describe()["signers"]] == [True]


def test_words_say_what_is_wanted():
    wants = {name: draft.describe()["wants"] for name, draft in DRAFTS.items()}
    assert wants["grant"]["subject"] == f"{named('zoe').public.authority}.zoe"
    assert wants["grant"]["roles"] == ["member"]
    assert wants["revoke"]["key"] == wants["revoke key"]["key"] == named("alice").public.authority
    assert (wants["revoke"]["reason"], wants["revoke key"]["data"]) == ("gone", "drop")
    assert wants["annul"]["act_id"] == DRAFTS["annul"].act.body.act.hex()  # type: ignore[attr-defined]
    assert wants["properties"]["comment"] == "ours"
    keys = sorted((named("ruth").public, named("rolf").public))
    assert wants["rotate"]["operating"] == [key.authority for key in keys]
    assert wants["rotate"]["recovery_used"] == [named("recovery/family").public.authority]
    assert (wants["rotate"]["root_version"], wants["rotate"]["threshold"]) == (2, 1)
