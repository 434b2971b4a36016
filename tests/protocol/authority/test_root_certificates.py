"""Root certificates follow from genesis and from the key."""

from __future__ import annotations

from dataclasses import replace

from protocol.authority.root_certificates import (
    GroupFacts,
    are_in_order,
    build_root_certificate,
    certifies,
)
from protocol.credentials.certificates import decode_untrusted_certificate
from protocol.credentials.keys import holds
from tests.support.builders import GRC, Group
from tests.support.keys import named

GROUP = Group()
FACTS = GroupFacts.of(GROUP.founding.root)


def certificate(name: str, facts: GroupFacts = FACTS):
    return decode_untrusted_certificate(build_root_certificate(facts, named(name)))


def test_certificate_of_the_first_key_is_the_groups_own():
    first = GROUP.founding.elements[1]
    assert build_root_certificate(FACTS, GROUP.key(GRC)) == first.certificate.der  # type: ignore[union-attr]
    assert FACTS.name == GROUP.founding.group_name == GROUP.founding.root.name
    assert FACTS.window == GROUP.founding.root.window


def test_any_key_can_have_one_made_that_holds():
    made = certificate("new")
    assert certifies(FACTS, made, named("new").public)
    assert holds(made.check(named("new").public))
    assert made.der == certificate("new").der


def test_it_certifies_one_key_of_one_group():
    made = certificate("new")
    assert not certifies(FACTS, made, named("other").public)
    for other in (
        replace(FACTS, gid=bytes(32)),
        replace(FACTS, classifier="friends"),
        replace(FACTS, created=FACTS.created + (1000 << 16)),
    ):
        assert not certifies(FACTS, certificate("new", other), named("new").public)
        assert not certifies(other, made, named("new").public)
    identity = GROUP.creator.der.certificate
    assert not certifies(FACTS, identity, identity.key)


def test_order_is_that_of_the_keys_each_once():
    one, other = sorted((certificate("a"), certificate("b")), key=lambda made: made.key.raw)
    assert are_in_order([])
    assert are_in_order([one, other])
    assert not are_in_order([other, one])
    assert not are_in_order([one, one])
