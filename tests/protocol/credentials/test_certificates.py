"""Certificates: what the builders say is read back, and a certificate that contradicts itself is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgpack
import pytest
from hypothesis import given, strategies as st

from protocol.codec import encode
from protocol.credentials import certificates
from protocol.credentials.certificates import (
    build_gmc,
    build_grc,
    build_idc,
    decode_untrusted_certificate,
    serial_of,
)
from protocol.credentials.keys import PrivateKey, holds
from protocol.credentials.names import name_of_group, name_of_key
from protocol.credentials.profile import Kind
from protocol.errors import RemoteProtocolError
from protocol.limits import CERTIFICATE_BYTES_MAX, END_OF_TIME_S
from protocol.peer_time import Window
from tests.protocol.credentials.given import (
    FOREVER,
    GID,
    GROUP_NAME,
    START,
    facts,
    gmc,
    grc,
    idc,
    key,
    peer_name,
)
from tests.protocol.credentials.surgery import Body, apart, inside, parts, tlv

CLASSIFIERS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cf", "Zl", "Zp", "Cn"]), max_size=149)
SEEDS = st.binary(min_size=32, max_size=32)
GIDS = st.binary(min_size=32, max_size=32)
WINDOWS = st.tuples(st.integers(0, END_OF_TIME_S), st.integers(0, END_OF_TIME_S)).map(
    lambda ends: Window(min(ends), max(ends))
)
SERIALS = st.integers(1 << 158, (1 << 159) - 1)
OTHER_GID = bytes(32)


@given(
    SEEDS,
    SEEDS,
    GIDS,
    CLASSIFIERS,
    WINDOWS,
    SERIALS,
    st.integers(1, 24) | st.sampled_from([254, 255]),
    st.data(),
)
def test_gmc_is_read_as_it_was_built(seed, issuer_seed, gid, classifier, window, serial, level, data):
    subject, issuer = PrivateKey.from_seed(seed), PrivateKey.from_seed(issuer_seed)
    first = {254: 2, 255: 3}.get(level, 1)
    more = data.draw(st.lists(st.integers(first + 1, 255), max_size=7, unique=True).map(sorted))
    meant = replace(
        facts("any", level),
        gid=gid,
        roles=(first, *more),
        peer_name=str(name_of_key(subject.public, classifier)),
        window=window,
        serial=serial,
        subject=subject.public,
        issuer=issuer.public,
        issuer_is_root=data.draw(st.booleans()),
    )
    found = decode_untrusted_certificate(build_gmc(meant, issuer))
    assert found.kind is Kind.GMC
    assert (found.gid, found.level, found.roles, found.peer_name) == (
        gid,
        level,
        meant.roles,
        meant.peer_name,
    )
    assert (found.window, found.serial, found.key) == (window, serial, subject.public)
    assert (found.issuer_is_root, found.issuer_authority) == (meant.issuer_is_root, issuer.public.pid[:20])
    assert holds(found.check(issuer.public))
    assert not holds(found.check(key("somebody else").public))


@given(SEEDS, GIDS, CLASSIFIERS, WINDOWS)
def test_grc_is_read_as_it_was_built(seed, gid, classifier, window):
    root, name = PrivateKey.from_seed(seed), str(name_of_group(gid, classifier))
    der = build_grc(gid, name, window, root)
    found = decode_untrusted_certificate(der)
    assert (found.kind, found.gid, found.level, found.roles) == (Kind.GRC, gid, 0, ())
    assert (found.peer_name, found.key, found.window) == (name, root.public, window)
    assert found.issuer_is_root
    assert found.subject_name == found.issuer_name == gid[:20].hex()
    assert holds(found.check(root.public))
    assert der == build_grc(gid, name, window, root)


@given(SEEDS, CLASSIFIERS, WINDOWS)
def test_idc_is_read_as_it_was_built(seed, classifier, window):
    owner = PrivateKey.from_seed(seed)
    name = str(name_of_key(owner.public, classifier))
    der = build_idc(owner, name, window)
    found = decode_untrusted_certificate(der)
    assert (found.kind, found.gid, found.level, found.roles) == (Kind.IDC, None, None, ())
    assert (found.peer_name, found.key, found.window) == (name, owner.public, window)
    assert not found.issuer_is_root
    assert holds(found.check(owner.public))
    assert der == build_idc(owner, name, window)


def test_largest_certificate_fits_its_limit():
    name = str(name_of_key(key("alice").public, "\U0001f331" * 149))
    der = gmc(
        level=1, peer_name=name, roles=(1, *range(249, 256)), window=Window(2_600_000_000, END_OF_TIME_S)
    )
    assert len(der) < CERTIFICATE_BYTES_MAX // 2
    assert decode_untrusted_certificate(der).peer_name == name


def test_unlimited_window_is_the_last_second_that_certificates_can_say():
    assert decode_untrusted_certificate(grc()).window.unlimited


def test_serials_have_one_length_and_tell_every_part_of_their_origin():
    parts_of = [(b"a" * 32, b"c" * 16, 1, b"s" * 32), (b"b" * 32, b"c" * 16, 1, b"s" * 32)]
    parts_of += [(b"a" * 32, b"d" * 16, 1, b"s" * 32), (b"a" * 32, b"c" * 16, 2, b"s" * 32)]
    parts_of += [(b"a" * 32, b"c" * 16, 1, b"t" * 32), (b"a" * 32, b"c" * 16, 2**64 - 1, b"s" * 32)]
    serials = [serial_of(*parts) for parts in parts_of]
    assert len(set(serials)) == len(serials)
    assert all(0x40 <= serial.to_bytes(20, "big")[0] < 0x80 for serial in serials)
    assert serials[0] == serial_of(*parts_of[0])


def test_root_certificates_of_two_root_keys_differ_in_their_serial():
    old, new = (decode_untrusted_certificate(grc(name)) for name in ("root", "next root"))
    assert old.issuer_name == new.issuer_name
    assert old.serial != new.serial


def _claims_of(der: bytes) -> dict:
    return msgpack.unpackb(inside(parts(apart(der).extensions[-1])[-1]))


def _with_claims(der: bytes, claims: dict | bytes, signer: str) -> bytes:
    """The certificate with other claims, under a signature that holds."""
    body = apart(der)
    oid = parts(body.extensions[-1])[0]
    packed = claims if isinstance(claims, bytes) else encode(claims)
    extension = tlv(0x30, oid, tlv(0x04, packed))
    return Body(body.fields, [*body.extensions[:-1], extension]).signed(key(signer))


def test_claims_hold_what_the_kind_has_and_no_more():
    alice = peer_name("alice")
    assert _claims_of(gmc()) == {"gid": GID, "level": 1, "name": alice, "roles": [1]}
    assert _claims_of(grc()) == {"gid": GID, "name": GROUP_NAME}
    assert _claims_of(idc()) == {"name": alice}
    for der, signer in ((gmc(), "root"), (grc(), "root"), (idc(), "alice")):
        assert _with_claims(der, _claims_of(der), signer) == der


ALICE = peer_name("alice")
BAD_CLAIMS: dict[str, tuple[str, Any]] = {
    "no gid": ("gmc", {"level": 1, "name": ALICE, "roles": [1]}),
    "no level": ("gmc", {"gid": GID, "name": ALICE, "roles": [1]}),
    "no roles": ("gmc", {"gid": GID, "level": 1, "name": ALICE}),
    "no name": ("gmc", {"gid": GID, "level": 1, "roles": [1]}),
    "empty roles": ("gmc", {"gid": GID, "level": 1, "name": ALICE, "roles": []}),
    "short gid": ("gmc", {"gid": GID[:-1], "level": 1, "name": ALICE, "roles": [1]}),
    "another group": ("gmc", {"gid": OTHER_GID, "level": 1, "name": ALICE, "roles": [1]}),
    "a field of a newer form": ("gmc", {"gid": GID, "level": 1, "name": ALICE, "roles": [1], "x": 1}),
    "null in place of nothing": ("grc", {"gid": GID, "name": GROUP_NAME, "level": None}),
    "somebody else's name": ("gmc", {"gid": GID, "level": 1, "name": peer_name("bob"), "roles": [1]}),
    "a name that is none": ("gmc", {"gid": GID, "level": 1, "name": "alice", "roles": [1]}),
    "a name with NUL": ("gmc", {"gid": GID, "level": 1, "name": ALICE + "\0", "roles": [1]}),
    "a name with a line break": ("gmc", {"gid": GID, "level": 1, "name": ALICE + "\n", "roles": [1]}),
    "a name with a direction override": (
        "gmc",
        {"gid": GID, "level": 1, "name": ALICE + "\u202e", "roles": [1]},
    ),
    "a name of 150 characters": (
        "gmc",
        {"gid": GID, "level": 1, "name": ALICE[:41] + "x" * 150, "roles": [1]},
    ),
    "name of bytes": ("gmc", {"gid": GID, "level": 1, "name": ALICE.encode(), "roles": [1]}),
    "level of the root": ("gmc", {"gid": GID, "level": 0, "name": ALICE, "roles": [1]}),
    "level beyond the administrators": ("gmc", {"gid": GID, "level": 25, "name": ALICE, "roles": [1]}),
    "level of another role": ("gmc", {"gid": GID, "level": 254, "name": ALICE, "roles": [1]}),
    "level that is text": ("gmc", {"gid": GID, "level": "1", "name": ALICE, "roles": [1]}),
    "level that is a truth": ("gmc", {"gid": GID, "level": True, "name": ALICE, "roles": [1]}),
    "level that is huge": ("gmc", {"gid": GID, "level": 2**64 - 1, "name": ALICE, "roles": [1]}),
    "level that is negative": ("gmc", {"gid": GID, "level": -1, "name": ALICE, "roles": [1]}),
    "roles twice": ("gmc", {"gid": GID, "level": 1, "name": ALICE, "roles": [1, 1]}),
    "roles out of order": ("gmc", {"gid": GID, "level": 1, "name": ALICE, "roles": [3, 1]}),
    "role that is text": ("gmc", {"gid": GID, "level": 1, "name": ALICE, "roles": ["admin"]}),
    "too many roles": ("gmc", {"gid": GID, "level": 1, "name": ALICE, "roles": [*range(1, 10)]}),
    "root with a level": ("grc", {"gid": GID, "name": GROUP_NAME, "level": 0}),
    "root with roles": ("grc", {"gid": GID, "name": GROUP_NAME, "roles": [1]}),
    "root without a group": ("grc", {"name": GROUP_NAME}),
    "root named as a peer": ("grc", {"gid": GID, "name": peer_name("root")}),
    "identity with a group": ("idc", {"gid": GID, "name": ALICE}),
    "identity with a level": ("idc", {"level": 1, "name": ALICE}),
    "identity with roles": ("idc", {"name": ALICE, "roles": [1]}),
    "identity with another name": ("idc", {"name": ALICE + "2"}),
    "list": ("gmc", msgpack.packb([GID, 1, ALICE, [1]])),
    "nothing": ("gmc", b""),
    "not msgpack": ("gmc", b"\xc1"),
    "keys out of order": ("gmc", msgpack.packb({"roles": [1], "name": ALICE, "level": 1, "gid": GID})),
    "long form of an integer": (
        "gmc",
        encode({"gid": GID, "level": 1, "name": ALICE, "roles": [1]}).replace(b"level\1", b"level\xcc\1"),
    ),
    "bytes behind": ("gmc", encode({"gid": GID, "level": 1, "name": ALICE, "roles": [1]}) + b"\0"),
}


@pytest.mark.parametrize("case", BAD_CLAIMS)
def test_claims_that_contradict_the_certificate_or_themselves_are_refused(case):
    which, claims = BAD_CLAIMS[case]
    der = {"gmc": gmc, "grc": grc, "idc": idc}[which]()
    signer = "alice" if which == "idc" else "root"
    with pytest.raises(RemoteProtocolError):
        decode_untrusted_certificate(_with_claims(der, claims, signer))


def test_issuer_that_neither_is_the_root_nor_has_the_key_is_refused():
    good = apart(gmc("bob", 255, "alice"))
    foreign = apart(gmc("bob", 255, "mallory"))
    for place in (3, 5):
        mixed = good.with_field(place, foreign.fields[3])
        with pytest.raises(RemoteProtocolError):
            decode_untrusted_certificate(mixed.signed(key("alice")))


@pytest.mark.parametrize("which", ["grc", "idc"])
def test_self_signed_certificate_names_itself_as_issuer(which):
    der = {"grc": grc, "idc": idc}[which]()
    signer = {"grc": "root", "idc": "alice"}[which]
    body, other = apart(der), apart(gmc("bob", 255, "mallory"))
    with pytest.raises(RemoteProtocolError):
        decode_untrusted_certificate(body.with_field(3, other.fields[3]).signed(key(signer)))
    with pytest.raises(RemoteProtocolError):
        decode_untrusted_certificate(body.with_extension(3, other.extensions[4]).signed(key(signer)))


@pytest.mark.parametrize("which", ["grc", "idc"])
def test_serial_of_a_self_signed_certificate_follows_from_the_rest(which):
    der = {"grc": grc, "idc": idc}[which]()
    body = apart(der)
    with pytest.raises(RemoteProtocolError, match="serial"):
        decode_untrusted_certificate(body.with_field(1, tlv(2, b"\x41" + bytes(19))).signed(key("root")))


@pytest.mark.parametrize(
    "changed",
    [
        {"gid": GID[:-1]},
        {"level": 0},
        {"level": 255},
        {"roles": ()},
        {"roles": (3, 1)},
        {"peer_name": peer_name("bob")},
        {"peer_name": "alice"},
        {"window": Window(START, START - 1)},
        {"window": Window(-1, START)},
        {"window": Window(START, END_OF_TIME_S + 1)},
        {"serial": 1},
        {"serial": 1 << 159},
        {"issuer": key("alice").public},
    ],
)
def test_builder_refuses_what_the_reader_would(changed):
    with pytest.raises(AssertionError):
        build_gmc(replace(facts("alice", 1), **changed), key("root"))


def test_builders_of_the_others_refuse_foreign_names():
    with pytest.raises(AssertionError):
        build_grc(GID, peer_name("root"), FOREVER, key("root"))
    with pytest.raises(AssertionError):
        build_idc(key("alice"), peer_name("bob"), FOREVER)


# For each rule, values that it alone stands against: without it, they are read.
MUTANTS = {
    "_claims_go_with_the_kind": lambda: _with_claims(idc(), {"gid": GID, "name": ALICE}, "alice"),
    "_name_is_of_the_subject": lambda: _with_claims(
        gmc(), _claims_of(gmc()) | {"name": peer_name("bob")}, "root"
    ),
    "_roles_fit_the_level": lambda: _with_claims(gmc(), _claims_of(gmc()) | {"roles": [1, 1]}, "root"),
    "_issuer_is_one": lambda: (
        apart(gmc("bob", 255, "alice"))
        .with_field(3, apart(gmc("bob", 255, "mallory")).fields[3])
        .signed(key("alice"))
    ),
    "_window_is_a_period": lambda: (
        apart(gmc()).with_field(4, tlv(0x30, *reversed(parts(apart(gmc()).fields[4])))).signed(key("root"))
    ),
    "_serial_is_of_our_making": lambda: (
        apart(gmc()).with_field(1, tlv(2, b"\x3f" + bytes(19))).signed(key("root"))
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_each_rule_is_the_only_one_against_something(name, monkeypatch):
    der = MUTANTS[name]()
    with pytest.raises(RemoteProtocolError):
        decode_untrusted_certificate(der)
    weaker = tuple(rule for rule in certificates._RULES if rule.__name__ != name)
    assert len(weaker) == len(certificates._RULES) - 1
    monkeypatch.setattr(certificates, "_RULES", weaker)
    assert decode_untrusted_certificate(der).der == der


def test_every_rule_has_its_mutant():
    assert {rule.__name__ for rule in certificates._RULES} == set(MUTANTS)
