"""Founding: what a new group begins with."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.authority.acts import Act
from protocol.authority.bodies import Kind, PropertiesBody
from protocol.authority.elements import Der, decode_untrusted_element
from protocol.authority.founding import found_group
from protocol.authority.root import commitment_of
from protocol.credentials.keys import all_hold
from protocol.credentials.roles import ADMIN
from protocol.errors import RuleError
from protocol.peer_time import Moment, hlc_at
from tests.support.builders import NOW, Group, node_of
from tests.support.keys import key, named, peer_name


def found(**changed):
    told: dict[str, Any] = {
        "grc": key(1),
        "creator": named("alice").public,
        "creator_name": peer_name("alice"),
        "creator_friendly_name": "Alice",
        "classifier": "family",
        "properties": PropertiesBody(friendly="The family", comment="all of us"),
        "recovery": [key(2).public],
        "nonce": bytes(32),
        "now": NOW,
    } | changed
    return found_group(**told)


def test_founding_is_genesis_root_certificate_creator_and_properties():
    founding = found()
    genesis, grc, grant, der, properties = founding.elements
    assert [type(element) for element in founding.elements] == [Act, Der, Act, Der, Act]
    assert (genesis.kind, grant.kind, properties.kind) == (Kind.ROTATE_ROOT, Kind.GRANT, Kind.PROPERTIES)
    assert (grc.act_id, der.act_id) == (genesis.id, grant.id)
    assert founding.root.commitment == commitment_of([key(2).public], 1)
    assert founding.last == properties
    assert properties.body == PropertiesBody(friendly="The family", comment="all of us")


def test_all_of_it_is_one_chain_that_reads_back_and_checks():
    founding = found()
    acts = [element for element in founding.elements if isinstance(element, Act)]
    assert [act.place.seq for act in acts] == [1, 2, 3]
    assert [act.place.prev for act in acts] == [None, acts[0].id, acts[1].id]
    assert [act.place.hlc for act in acts] == [hlc_at(NOW.utc_ms) + n for n in range(3)]
    assert {act.place.chain for act in acts} == {bytes(16)}
    for element in founding.elements:
        assert decode_untrusted_element(element.raw) == element
        assert all_hold(element.checks())


def test_name_of_the_group_follows_from_genesis():
    founding = found()
    assert founding.group_name == founding.root.gid[:20].hex() + ".family"


def test_creator_is_an_administrator_without_end():
    group = Group()
    node = node_of(group, "alice")
    node.take(group.founding.elements)
    grant = node.members.own_grant(NOW.utc_s)
    assert grant is not None
    assert (grant.level, grant.roles, grant.wanted) == (1, (ADMIN,), 0)
    assert grant.window == group.founding.root.window
    assert grant.window.unlimited
    assert (grant.peer_name, grant.friendly_name) == (peer_name("alice"), "Alice")


def test_founding_again_with_the_same_randomness_is_the_same_group():
    assert found() == found()
    assert found(nonce=b"n" * 32).root.gid != found().root.gid
    assert found(now=Moment(0, NOW.utc_ms + 1)).root.gid != found().root.gid


@pytest.mark.parametrize(
    "classifier, code", [("c" * 150, "classifier-too-long"), ("a\0b", "invalid-classifier")]
)
def test_classifier_that_a_name_cannot_hold_is_refused(classifier, code):
    with pytest.raises(RuleError) as caught:
        found(classifier=classifier)
    assert caught.value.code == code


@pytest.mark.parametrize("classifier", ["", "c" * 149, "家族"])
def test_any_other_classifier_founds_a_group(classifier):
    assert found(classifier=classifier).group_name.endswith("." + classifier)
