"""Members are found first, then those who were members once."""

from __future__ import annotations

import pytest

from peerd.errors import NotFound
from peerd.groups.people import member_pid, person_pid
from protocol.authority.bodies import Kind
from tests.support.builders import Group
from tests.support.keys import named


def test_who_was_removed_is_still_found_and_a_stranger_is_not():
    group = Group()
    for name in ("bob", "carl"):
        group.grant(f"alice -> {name}:member")
    bob = named("bob").public
    group.act("alice", Kind.REVOKE_CREDENTIAL, {"key": bob.raw})
    assert member_pid(group.view, "bob") is None
    for text in ("bob", bob.authority, bob.authority[:6]):
        assert person_pid(group.view, text) == bob.pid
    assert person_pid(group.view, "carl") == member_pid(group.view, "carl") == named("carl").public.pid
    with pytest.raises(NotFound) as refused:
        person_pid(group.view, "dave")
    assert refused.value.code == "member-not-found"


def test_a_name_that_a_member_has_now_is_not_that_of_somebody_before():
    group = Group()
    group.grant("alice -> bob:member")
    group.act("alice", Kind.REVOKE_CREDENTIAL, {"key": named("bob").public.raw})
    carl = named("carl").public
    group.grant("alice -> carl:member", name=f"{carl.authority}.bob")
    assert person_pid(group.view, "bob") == carl.pid
