"""Grants: the facts of a GRANT act, and the order by which one is current."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from protocol.authority.bodies import Kind
from protocol.authority.grants import Grant, best_first, read_untrusted_grant
from protocol.credentials.certificates import serial_of
from protocol.errors import RemoteProtocolError
from protocol.peer_time import Window
from tests.support.builders import GRC, NOW, Group
from tests.support.keys import named, peer_name

GRANT = Group().grant("grc -> alice:admin -> bob:admin").grant


def test_grant_says_what_its_act_says():
    group = Group()
    granted = group.grant(
        "grc -> alice:admin -> bob:admin -> carl:member",
        friendly="Carl C.",
        window=Window(NOW.utc_s, NOW.utc_s + 99),
        wanted=99,
        roles=(3, 9),
        body={"renews": b"r" * 32},
    )
    grant, place = granted.grant, granted.act.place
    assert (grant.act_id, grant.gid, grant.cred) == (granted.act.id, group.gid, place.cred)
    assert (grant.author, grant.author_level) == (named("bob").public.pid, 2)
    assert (grant.chain, grant.seq, grant.hlc) == (place.chain, place.seq, place.hlc)
    assert (grant.key, grant.pid) == (named("carl").public, named("carl").public.pid)
    assert (grant.peer_name, grant.friendly_name) == (peer_name("carl"), "Carl C.")
    assert (grant.level, grant.roles) == (255, (3, 9))
    assert (grant.window, grant.wanted) == (Window(NOW.utc_s, NOW.utc_s + 99), 99)
    assert (grant.stored, grant.renews) == (True, b"r" * 32)
    assert grant.serial == serial_of(grant.author, grant.chain, grant.seq, grant.pid)


def test_certificate_says_what_the_grant_says():
    group = Group()
    for text in ("grc -> zoe:admin", "grc -> alice:admin -> ivy:inviting -> mo:member"):
        granted = group.grant(text)
        facts, cert = granted.grant.gmc_facts(granted.der.issuer_key), granted.der.certificate
        assert (facts.gid, facts.level, facts.roles) == (cert.gid, cert.level, cert.roles)
        assert (facts.peer_name, facts.window) == (cert.peer_name, cert.window)
        assert (facts.serial, facts.subject) == (cert.serial, cert.key)
        assert facts.issuer_is_root == cert.issuer_is_root == text.startswith("grc -> zoe")


@pytest.mark.parametrize(
    "body",
    [
        {"key": bytes(32)},
        {"name": str(peer_name("eve"))},
        {"name": named("bob").public.authority.upper() + ".bob"},
        {"name": named("bob").public.authority + "-bob"},
        {"name": named("bob").public.authority + ".b\u202eb"},
        {"name": named("bob").public.authority + "." + "b" * 150},
    ],
    ids=["key of small order", "another key's name", "capitals", "no dot", "direction mark", "too long"],
)
def test_grant_to_nobody_is_refused(body):
    group = Group()
    with pytest.raises(RemoteProtocolError):
        read_untrusted_grant(group.grant("grc -> alice:admin -> bob:member", body=body, keep=False).act)


def test_only_a_grant_under_a_credential_is_read():
    group = Group()
    with pytest.raises(RemoteProtocolError, match="not a GRANT"):
        read_untrusted_grant(group.act(GRC, Kind.PROPERTIES, {}))
    with pytest.raises(RemoteProtocolError, match="names the credential"):
        read_untrusted_grant(group.act("alice", Kind.GRANT, group.creator.act.body_map, cred=None))


# --- which one is current ---------------------------------------------------------------------------------


def grant(level: int = 255, start: int = 100, end: int = 1000, act_id: bytes = b"a") -> Grant:
    return replace(GRANT, level=level, window=Window(start, end), act_id=act_id * 32)


def test_smallest_level_comes_before_latest_start_before_smallest_id():
    order = [
        grant(1, 100),
        grant(2, 300, act_id=b"z"),
        grant(2, 200),
        grant(254, 900),
        grant(255, 500, act_id=b"a"),
        grant(255, 500, act_id=b"b"),
    ]
    for mixed in (order[::-1], order[3:] + order[:3]):
        assert sorted(mixed, key=Grant.rank) == order


def test_those_that_hold_come_before_those_that_do_not():
    old, later = grant(1, 100, 200), grant(255, 150, 250)
    holding, better, future = grant(255, 300), grant(254, 100), grant(1, 600)
    mixed = [old, holding, later, future, better]
    for one in itertools.permutations(mixed):
        assert best_first(one, 400) == [better, holding, future, later, old]


FACTS = st.tuples(st.integers(1, 3), st.integers(0, 9), st.integers(0, 9), st.binary(min_size=1, max_size=1))


@given(st.lists(FACTS), st.integers(0, 12))
def test_order_of_grants_does_not_depend_on_how_they_come(told, at_s):
    grants = [grant(level, start, start + life, act_id) for level, start, life, act_id in told]
    ordered = best_first(grants, at_s)
    assert [one.rank() for one in best_first(grants[::-1], at_s)] == [one.rank() for one in ordered]
    holding = [one for one in grants if one.window.holds(at_s)]
    assert {one.rank() for one in ordered[: len(holding)]} == {one.rank() for one in holding}
