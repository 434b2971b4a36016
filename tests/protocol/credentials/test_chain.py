"""Chains: each rule by name and with a chain that only it refuses; other programs' word on a good one."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from itertools import pairwise

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, strategies as st

from protocol.credentials import chain as chain_module
from protocol.credentials.certificates import build_gmc, decode_untrusted_certificate
from protocol.credentials.chain import RULES, chain_checks, check_untrusted_chain, decode_untrusted_chain
from protocol.credentials.keys import all_hold
from protocol.errors import Fault, RemoteProtocolError
from protocol.limits import CHAIN_BYTES_MAX, CHAIN_CERTIFICATES_MAX, END_OF_TIME_S
from protocol.peer_time import Window
from tests.protocol.credentials.given import (
    GID,
    START,
    YEAR,
    chain,
    facts,
    gmc,
    grc,
    idc,
    key,
    peer_name,
)

ROOT = key("root").public
OTHER_GID = bytes(range(32))


def refused(ders: list[bytes], gid: bytes = GID) -> RemoteProtocolError:
    """The one kind of error that a bad chain ends in."""
    with pytest.raises(RemoteProtocolError) as caught:
        decode_untrusted_chain(ders, gid)
    return caught.value


def accepted(ders: list[bytes]) -> bool:
    """Whether the chain's form is accepted, and all its signatures hold."""
    return all_hold(chain_checks(decode_untrusted_chain(ders, GID), ROOT))


def signatures_hold(ders: list[bytes]) -> bool:
    """Whether each certificate was signed by the key before it, whatever else is wrong."""
    found = [decode_untrusted_certificate(der) for der in ders]
    return all_hold([found[0].check(found[0].key), *(b.check(a.key) for a, b in pairwise(found))])


@pytest.mark.parametrize(
    "line",
    [
        "root -> m 255",
        "root -> i 254",
        "root -> admin 1",
        "root -> admin 1 -> m 255",
        "root -> admin 1 -> i 254 -> m 255",
        "root -> a 1 -> b 2 -> c 3 -> m 255",
        "root -> a 3 -> b 24 -> i 254 -> m 255",
    ],
)
def test_good_chain_is_read_root_first(line):
    ders = chain(line)
    found = decode_untrusted_chain(ders, GID)
    assert [certificate.der for certificate in found] == ders
    assert found[0].key == ROOT
    assert accepted(ders)


def _line_of(count: int) -> list[bytes]:
    return chain("root -> " + " -> ".join(f"a{n} {n}" for n in range(1, count)))


def test_chain_of_25_certificates_is_accepted():
    ders = _line_of(CHAIN_CERTIFICATES_MAX)
    assert len(ders) == 25
    assert accepted(ders)


def test_chain_of_26_certificates_is_refused():
    ders = [*_line_of(25), gmc("i", 254, "a24")]
    assert len(ders) == 26
    assert signatures_hold(ders)
    assert refused(ders).fault is Fault.OVER_LIMIT


def test_chain_beyond_64_kib_is_refused_before_it_is_read():
    whole = CHAIN_BYTES_MAX // 16
    assert refused([bytes(whole)] * 16).fault is Fault.MALFORMED
    assert refused([*[bytes(whole)] * 16, b"\0"]).fault is Fault.OVER_LIMIT


def test_chain_of_the_root_alone_or_of_nothing_is_refused():
    refused([grc()])
    refused([])


# Windows-grouping.md 3.3, rule by rule.


def test_windows_1_syntax_each_certificate_is_of_the_profile():
    ders = chain("root -> alice 1 -> bob 255")
    for place in range(3):
        assert refused([*ders[:place], ders[place] + b"\0", *ders[place + 1 :]]).fault is Fault.MALFORMED


def test_windows_2_first_is_the_groups_root_under_the_root_key():
    good = chain("root -> alice 1")
    refused(good[1:])
    refused([idc(), *good[1:]])
    imposter = [grc("mallory"), build_gmc(facts("alice", 1, "mallory", issuer_is_root=True), key("mallory"))]
    found = decode_untrusted_chain(imposter, GID)
    assert found[0].peer_name == decode_untrusted_certificate(grc()).peer_name
    with pytest.raises(RemoteProtocolError, match="root key"):
        chain_checks(found, ROOT)


def test_windows_2_root_is_self_signed():
    stolen = grc()[:-64] + key("mallory").sign(grc()[4:-74])
    ders = [stolen, *chain("root -> alice 1")[1:]]
    assert not accepted(ders)


def test_windows_3_others_are_memberships():
    good = chain("root -> alice 1 -> bob 255")
    refused([good[0], grc(), *good[1:]])
    refused([*good, idc("bob")])
    refused([good[0], good[1], idc("bob")])


def test_windows_3_others_are_signed_by_the_key_before():
    ders = chain("root -> alice 1 -> bob 255")
    for place in (1, 2):
        forged = ders[place][:-64] + key("mallory").sign(ders[place][4:-74])
        assert not accepted([*ders[:place], forged, *ders[place + 1 :]])


def test_windows_4_group_is_the_same_in_all():
    other = build_gmc(facts("bob", 255, "alice", gid=OTHER_GID), key("alice"))
    ders = [*chain("root -> alice 1"), other]
    assert signatures_hold(ders)
    refused(ders)


def test_windows_4_chain_of_another_group_is_refused():
    assert refused(chain("root -> alice 1"), OTHER_GID).fault is Fault.WRONG_GROUP


def test_windows_5_issuer_is_the_subject_before():
    ders = chain("root -> alice 1 -> bob 255")
    refused([ders[0], ders[2]])
    refused([*chain("root -> mallory 1"), ders[2]])


def test_windows_5_an_administrator_does_not_pass_for_the_root():
    below = build_gmc(facts("bob", 255, "alice", issuer_is_root=True), key("alice"))
    ders = [*chain("root -> alice 1"), below]
    assert signatures_hold(ders)
    assert "name" in str(refused(ders))


def test_windows_5_the_roots_key_does_not_pass_for_a_peer():
    below = build_gmc(facts("alice", 1, "root", issuer_is_root=False), key("root"))
    assert signatures_hold([grc(), below])
    refused([grc(), below])


def test_windows_6_last_window_lies_inside_all_others():
    found = decode_untrusted_chain(
        chain("root -> alice 1 -> bob 255", window=Window(START + 5, START + 6)), GID
    )
    assert all(certificate.window.holds(START + 5) for certificate in found)


@pytest.mark.parametrize("window", [Window(START - 1, START + YEAR), Window(START, START + YEAR + 1)])
def test_life_outside_the_issuers_is_refused(window):
    for ders in (
        chain("root -> alice 1 -> bob 255", window=window),
        [grc(window=Window(START, START + YEAR)), gmc(window=window)],
    ):
        assert signatures_hold(ders)
        assert "window" in str(refused(ders))


def test_unlimited_member_below_an_unlimited_root_is_accepted():
    assert accepted(chain("root -> alice 1", window=Window(START, END_OF_TIME_S)))


@pytest.mark.parametrize(
    "line",
    [
        "root -> a 2 -> b 1",
        "root -> a 2 -> b 2",
        "root -> a 1 -> b 2 -> c 1",
        "root -> i 254 -> j 254",
        "root -> i 254 -> a 24",
    ],
)
def test_windows_8_nobody_hands_on_more_than_his_right(line):
    ders = chain(line)
    assert signatures_hold(ders)
    assert "level" in str(refused(ders))


@pytest.mark.parametrize("line", ["root -> m 255 -> n 255", "root -> m 255 -> a 1", "root -> m 255 -> i 254"])
def test_member_signs_nobody(line):
    """Its certificate has no CA flag, and no level is junior to its own."""
    ders = chain(line)
    parsed = x509.load_der_x509_certificate(ders[1])
    assert not parsed.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert "level" in str(refused(ders))


def test_inviting_member_has_a_path_length_of_zero_and_administrators_none():
    for line, path_length in (("root -> i 254", 0), ("root -> a 1", None), ("root -> a 24", None)):
        parsed = x509.load_der_x509_certificate(chain(line)[1])
        constraints = parsed.extensions.get_extension_for_class(x509.BasicConstraints).value
        assert (constraints.ca, constraints.path_length) == (True, path_length)


def test_wrong_order_is_refused():
    a, b, c, d = chain("root -> a 1 -> b 2 -> m 255")
    for order in (
        [b, a, c, d],
        [a, c, b, d],
        [a, b, d, c],
        [d, c, b, a],
        [a, b, d],
        [a, b, b, c, d],
        [a, a, b, c, d],
    ):
        refused(order)


def test_member_with_the_roots_key_is_refused():
    same = build_gmc(facts("root", 1, "root", peer_name=peer_name("root")), key("root"))
    assert signatures_hold([grc(), same])
    assert "twice" in str(refused([grc(), same]))


def test_subject_among_its_own_issuers_is_refused():
    ders = chain("root -> alice 1 -> bob 2 -> alice 3")
    assert signatures_hold(ders)
    assert "twice" in str(refused(ders))


def test_root_of_another_group_with_the_same_names_is_refused():
    """All names may be copied; the key may not."""
    imposter = decode_untrusted_chain(
        [grc("mallory"), build_gmc(facts("alice", 1, "mallory", issuer_is_root=True), key("mallory"))], GID
    )
    honest = decode_untrusted_chain(chain("root -> alice 1"), GID)
    for ours, theirs in zip(honest, imposter, strict=True):
        assert (ours.subject_name, ours.issuer_name, ours.peer_name) == (
            theirs.subject_name,
            theirs.issuer_name,
            theirs.peer_name,
        )
    with pytest.raises(RemoteProtocolError):
        chain_checks(imposter, ROOT)
    mixed = [grc(), imposter[1].der]
    assert "key" in str(refused(mixed))


# For each rule, a chain under good signatures that it alone stands against.
MUTANTS = {
    "_root_comes_first": lambda: [gmc("alice", 1, "root"), gmc("bob", 2, "alice")],
    "_group_is_one": lambda: [
        *chain("root -> a 1"),
        build_gmc(facts("m", 255, "a", gid=OTHER_GID), key("a")),
    ],
    "_issuers_are_named": lambda: [
        *chain("root -> a 1"),
        build_gmc(facts("m", 255, "a", issuer_is_root=True), key("a")),
    ],
    "_issuers_keys_match": lambda: [
        grc(),
        build_gmc(facts("m", 255, "mallory", issuer_is_root=True), key("mallory")),
    ],
    "_levels_rise": lambda: chain("root -> a 2 -> b 2"),
    "_windows_nest": lambda: chain("root -> a 1 -> b 2", window=Window(START - 1, START)),
    "_keys_differ": lambda: chain("root -> a 1 -> b 2 -> a 3"),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_each_rule_is_the_only_one_against_something(name, monkeypatch):
    ders = MUTANTS[name]()
    refused(ders)
    monkeypatch.setattr(chain_module, "RULES", tuple(rule for rule in RULES if rule.__name__ != name))
    assert len(decode_untrusted_chain(ders, GID)) == len(ders)


def test_every_rule_has_its_mutant():
    assert [rule.__name__ for rule in RULES] == list(MUTANTS)


def test_rules_apply_to_certificates_that_are_read_already():
    found = [decode_untrusted_certificate(der) for der in chain("root -> alice 1")]
    assert check_untrusted_chain(found) == tuple(found)
    with pytest.raises(RemoteProtocolError):
        check_untrusted_chain([found[0], replace(found[1], level=0)])


GOOD = chain("root -> a 1 -> i 254 -> m 255")


@given(st.lists(st.sampled_from([*GOOD, idc(), gmc("x", 255, "a"), grc("mallory")]), max_size=6))
def test_only_the_good_orders_of_certificates_are_chains(ders):
    good = [GOOD[:2], GOOD[:3], GOOD, [*GOOD[:2], gmc("x", 255, "a")]]
    if ders in good:
        assert accepted(ders)
    else:
        refused(ders)


@given(st.lists(st.binary(max_size=1000), max_size=30))
def test_random_bytes_are_refused(ders):
    refused(ders)


@given(st.integers(0, 3), st.data())
def test_chain_with_a_changed_byte_is_refused_or_its_signatures_fail(which, data):
    der = bytearray(GOOD[which])
    der[data.draw(st.integers(0, len(der) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        assert not accepted([*GOOD[:which], bytes(der), *GOOD[which + 1 :]])
    except RemoteProtocolError:
        return


def test_other_programs_accept_a_chain_of_four(tmp_path):
    """openssl's strict check where openssl is there; the library's parser says the same fields everywhere."""
    ders = chain("root -> a 1 -> i 254 -> m 255")
    parsed = [x509.load_der_x509_certificate(der) for der in ders]
    for issuer, subject in pairwise(parsed):
        subject.verify_directly_issued_by(issuer)
    openssl = shutil.which("openssl")
    if openssl is None:
        return
    root, middle, leaf = (tmp_path / name for name in ("root.pem", "middle.pem", "leaf.pem"))
    pems = [certificate.public_bytes(Encoding.PEM) for certificate in parsed]
    root.write_bytes(pems[0])
    middle.write_bytes(b"".join(pems[1:3]))
    leaf.write_bytes(pems[3])
    for purpose in ("sslclient", "sslserver"):
        command = [openssl, "verify", "-x509_strict", "-purpose", purpose, "-attime", str(START + 1)]
        command += ["-CAfile", str(root), "-untrusted", str(middle), str(leaf)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, done.stdout) == (0, f"{leaf}: OK\n"), done.stderr
