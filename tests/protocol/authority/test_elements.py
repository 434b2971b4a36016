"""The elements of AUTH: acts and certificates in one form each, and which certificate is whose."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, strategies as st

from protocol.authority import elements
from protocol.authority.acts import Act
from protocol.authority.admission import Deferred, Invalid
from protocol.authority.bodies import Kind
from protocol.authority.elements import (
    GMC_RULES,
    GRC_RULES,
    Der,
    admit_der,
    decode_untrusted_element,
    der_bytes,
    ids_untrusted,
    make_der,
    make_grc,
    stored_is_der,
)
from protocol.authority.view import View
from protocol.codec import encode
from protocol.credentials.certificates import (
    GmcFacts,
    build_grc,
    build_idc,
    decode_untrusted_certificate,
    sign_gmc,
)
from protocol.credentials.keys import PublicKey, all_hold
from protocol.credentials.names import name_of_group
from protocol.errors import Fault, RemoteProtocolError
from protocol.ids import framed
from protocol.limits import ACT_BYTES_MAX
from protocol.peer_time import Window
from tests.support.builders import GRC, NOW, Granted, Group
from tests.support.keys import named, peer_name
from tests.support.strategies import VALUES

BOB = "grc -> alice:admin -> bob:member"
LATER = Window(NOW.utc_s + 1, NOW.utc_s + 999)


def sealed(group: Group, der: bytes, text: str = BOB) -> Granted:
    """A grant whose act holds the hash of this certificate, whatever that says."""
    return group.grant(text, body={"der": hashlib.sha256(der).digest()}, publish=False)


def wrapped(granted: Granted, der: bytes, issuer: PublicKey) -> Der:
    return make_der(granted.act.id, issuer, decode_untrusted_certificate(der))


# --- certificates of grants that one rule alone refuses ---------------------------------------------------


def certificate_signed_a_second_time(group):
    bob = group.grant(BOB, publish=False)
    der = bob.der.certificate.der
    return wrapped(bob, der[:-1] + bytes([der[-1] ^ 1]), bob.der.issuer_key)


def lying(**cert: Any) -> Callable[[Group], Der]:
    """A certificate that the act names by its hash, and that says something else than the act."""

    def lie(group):
        return group.grant(BOB, cert=cert, publish=False).der

    lie.__name__ = "_".join(cert)
    return lie


def certificate_of_another_grant(group):
    other = group.grant("grc -> alice:admin -> carl:member").der.certificate
    return wrapped(sealed(group, other.der), other.der, group.key("alice").public)


def identity_certificate(group):
    der = build_idc(named("bob"), str(peer_name("bob")), Window(0, NOW.utc_s * 2))
    return wrapped(sealed(group, der), der, group.key("alice").public)


def root_certificate(group):
    der = group.founding.elements[1].certificate.der
    return wrapped(sealed(group, der), der, group.key("alice").public)


def certificate_that_names_another_issuer(group):
    der = _by_eve(group, group.grant(BOB, publish=False)).der
    return wrapped(sealed(group, der), der, group.key("alice").public)


def certificate_by_another_key(group):
    granted = group.grant(BOB, publish=False, keep=False)
    certificate = _by_eve(group, granted)
    again = group.grant(
        BOB,
        publish=False,
        seq=granted.act.place.seq,
        prev=granted.act.place.prev,
        hlc=granted.act.place.hlc,
        body={"der": hashlib.sha256(certificate.der).digest()},
    )
    return wrapped(again, certificate.der, named("eve").public)


def certificate_of_the_roots_grant_by_another_key(group):
    granted = group.grant("grc -> bob:admin", publish=False, keep=False)
    certificate = _by_eve(group, granted)
    again = group.grant(
        "grc -> bob:admin",
        publish=False,
        seq=granted.act.place.seq,
        prev=granted.act.place.prev,
        hlc=granted.act.place.hlc,
        body={"der": hashlib.sha256(certificate.der).digest()},
    )
    return wrapped(again, certificate.der, named("eve").public)


def _by_eve(group: Group, granted: Granted):
    facts: GmcFacts = granted.grant.gmc_facts(named("eve").public)
    return sign_gmc(facts, named("eve"))


BAD: dict[str, tuple[Callable[[Group], Der], ...]] = {
    "der_is_the_acts": (certificate_signed_a_second_time,),
    "der_agrees_with_the_act": (
        lying(gid=b"g" * 32),
        lying(level=7, roles=(1,)),
        lying(roles=(3, 9)),
        lying(peer_name=str(peer_name("bob")) + "by"),
        lying(window=LATER),
        lying(serial=(1 << 158) + 1),
        lying(subject=named("eve").public, peer_name=str(peer_name("eve"))),
        lying(issuer_is_root=True),
        certificate_of_another_grant,
        identity_certificate,
        root_certificate,
        certificate_that_names_another_issuer,
    ),
    "der_is_signed_by_the_author": (
        certificate_by_another_key,
        certificate_of_the_roots_grant_by_another_key,
    ),
}
CASES = [pytest.param(rule, bad, id=bad.__name__) for rule, bads in BAD.items() for bad in bads]


@pytest.fixture
def group():
    return Group()


def test_every_rule_has_a_certificate_that_it_refuses():
    assert list(BAD) == [rule.__name__ for rule in GMC_RULES]


@pytest.mark.parametrize("rule, bad", CASES)
def test_rule_refuses(rule, bad, group):
    assert admit_der(bad(group), group.view) == Invalid(rule)


@pytest.mark.parametrize("rule, bad", CASES)
def test_only_that_rule_refuses(rule, bad, group, monkeypatch):
    der = bad(group)
    kept = tuple(one for one in GMC_RULES if one.__name__ != rule)
    monkeypatch.setattr(elements, "GMC_RULES", kept)
    assert admit_der(der, group.view) is None


# --- the root certificate ---------------------------------------------------------------------------------


def _grc(group: Group, **changed: Any) -> Der:
    root = group.founding.root
    key = changed.pop("key", group.key(GRC))
    told: dict[str, Any] = {
        "gid": root.gid,
        "group_name": str(name_of_group(root.gid, root.classifier)),
        "window": root.window,
    } | changed
    return wrapped(group.creator, build_grc(**told, key=key), key.public)


GRC_BAD: dict[str, Callable[[Group], Der]] = {
    "another key": lambda group: _grc(group, key=named("eve")),
    "another name": lambda group: _grc(group, group_name=str(name_of_group(group.gid, "friends"))),
    "another window": lambda group: _grc(group, window=Window(0, NOW.utc_s * 2)),
    "another group": lambda group: _grc(
        group, gid=b"g" * 32, group_name=str(name_of_group(b"g" * 32, "family"))
    ),
    "a grant's certificate": lambda group: group.creator.der,
    "another signer": lambda group: replace(_grc(group), issuer_key=named("eve").public),
}


@pytest.mark.parametrize("bad", list(GRC_BAD.values()), ids=list(GRC_BAD))
def test_root_certificate_says_what_genesis_says(bad, group, monkeypatch):
    der = replace(bad(group), act_id=group.genesis.id)
    assert admit_der(der, group.view) == Invalid("grc_belongs_to_genesis")
    assert [rule.__name__ for rule in GRC_RULES] == ["grc_belongs_to_genesis"]
    monkeypatch.setattr(elements, "GRC_RULES", ())
    assert admit_der(der, group.view) is None


def test_root_certificate_follows_from_genesis(group):
    genesis = group.view.admitted(group.genesis.id)
    assert genesis is not None
    der = make_grc(genesis, group.key(GRC))
    assert der == make_grc(genesis, group.key(GRC)) == group.founding.elements[1]
    assert admit_der(der, group.view) is None
    assert all_hold(der.checks())


@pytest.mark.parametrize("kind", [Kind.PROPERTIES, Kind.GRANT, 5])
def test_no_other_act_has_a_root_certificate(kind, group):
    act = group.creator.act if kind == Kind.GRANT else group.act(GRC, kind, {})
    der = replace(group.founding.elements[1], act_id=act.id)
    assert isinstance(admit_der(der, group.view), Invalid)


# --- what counts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["grc -> zoe:admin", BOB, "grc -> alice:admin -> bob:admin -> ivy:inviting -> mo:member"]
)
def test_certificate_of_a_grant_counts(text, group):
    granted = group.grant(text)
    assert admit_der(granted.der, group.view) is None
    assert all_hold(granted.der.checks())


def test_certificate_waits_for_its_act(group):
    assert admit_der(group.creator.der, View(group.gid)) == Deferred((group.creator.act.id,))


def test_certificate_signed_by_somebody_else_does_not_check(group):
    der = group.grant(BOB).der
    assert not all_hold(replace(der, issuer_key=named("eve").public).checks())


def test_id_covers_act_and_certificate_and_no_issuer(group):
    der = group.creator.der
    again = hashlib.sha256(framed("peerd/der-id/1", der.act_id, der.certificate.der)).digest()
    assert der.id == again
    assert make_der(der.act_id, named("eve").public, der.certificate).id == der.id
    assert make_der(bytes(32), der.issuer_key, der.certificate).id != der.id


# --- form -------------------------------------------------------------------------------------------------


def test_elements_of_both_sorts_read_back(group):
    group.grant(BOB)
    for element in group.elements:
        assert decode_untrusted_element(element.raw) == element
        assert stored_is_der(element.raw) == isinstance(element, Der)
        if isinstance(element, Der):
            assert der_bytes(element.raw) == element.certificate.der
            assert ids_untrusted(element.raw) == (element.id, element.act_id)
        else:
            assert ids_untrusted(element.raw) == (element.id, element.id)


@pytest.mark.parametrize("value", [None, [], [b"one"], [b"four"] * 4, [b"act", "text"], {"a": b"b"}])
def test_ids_of_what_is_no_element_are_refused(value):
    with pytest.raises(RemoteProtocolError):
        ids_untrusted(encode(value))


def refused(raw: bytes) -> RemoteProtocolError:
    with pytest.raises(RemoteProtocolError) as caught:
        decode_untrusted_element(raw)
    return caught.value


def test_other_forms_are_refused(group):
    der = group.creator.der
    parts = [der.act_id, der.issuer_key.raw, der.certificate.der]
    decode_untrusted_element(encode(parts))
    for raw in (
        b"",
        encode(None),
        encode([]),
        encode(parts[:1]),
        encode([*parts, b""]),
        encode([parts[0], parts[1], "text"]),
        encode({"a": 1}),
        encode([parts[0][:31], *parts[1:]]),
        encode([parts[0], bytes(32), parts[2]]),
        encode([parts[0], parts[1][:31], parts[2]]),
        encode([*parts[:2], b""]),
        encode([*parts[:2], parts[2] + b"\0"]),
        encode(parts) + b"\0",
        encode(parts)[:-1],
        b"\xdc\x00\x03" + encode(parts)[1:],
    ):
        refused(raw)
    assert refused(encode([*parts[:2], bytes(ACT_BYTES_MAX)])).fault in (Fault.MALFORMED, Fault.OVER_LIMIT)


FAMILY = Group()
FAMILY.grant("grc -> alice:admin -> ivy:inviting -> mo:member")
BASES = [element.raw for element in FAMILY.elements]


@given(st.binary(max_size=200) | VALUES.map(encode))
def test_random_bytes_are_an_element_or_the_senders_fault(raw):
    with suppress(RemoteProtocolError):
        decode_untrusted_element(raw)
    with suppress(RemoteProtocolError):
        ids_untrusted(raw)


@given(st.sampled_from(BASES), st.data())
def test_damaged_element_is_refused_or_does_not_check(base, data):
    raw = bytearray(base)
    for place in data.draw(st.lists(st.integers(0, len(raw) - 1), min_size=1, max_size=3, unique=True)):
        raw[place] ^= data.draw(st.integers(1, 255))
    try:
        element = decode_untrusted_element(bytes(raw))
    except RemoteProtocolError:
        return
    harmless = isinstance(element, Der) and FAMILY.view.admitted(element.act_id) is None
    assert harmless or not all_hold(element.checks())


@given(st.sampled_from(BASES), st.integers(0, 3000), st.binary(max_size=4))
def test_cut_or_lengthened_element_is_refused(base, length, tail):
    raw = base[:length] + tail
    if len(raw) != len(base):  # of one length, it may be an act with another signature
        refused(raw)


def test_acts_and_certificates_are_all_that_there_is(group):
    group.grant(BOB)
    assert {type(decode_untrusted_element(element.raw)) for element in group.elements} == {Act, Der}
