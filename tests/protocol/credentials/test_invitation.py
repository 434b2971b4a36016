"""Invitations: what the inviter meant is what the invitee reads, or nothing is."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from protocol.credentials.certificates import build_gmc, decode_untrusted_certificate
from protocol.credentials.invitation import Invitation, read_invitation, write_invitation
from protocol.credentials.pkcs7 import write_bag
from protocol.errors import RuleError
from protocol.limits import BUNDLE_BYTES_MAX, INVITATION_ADDRESSES_MAX
from tests.protocol.credentials.given import GROUP_NAME, START, chain, facts, gmc, grc, idc, key, peer_name

CHAIN = tuple(chain("root -> admin 1 -> i 254 -> m 255"))
ADDRESSES = ("192.0.2.7:3587", "[2001:db8::1]:3587", "node.example:443")
USUAL = Invitation(CHAIN, b"the evidence", GROUP_NAME, "Die <Familie> & Co", ADDRESSES)
GOOD = write_invitation(USUAL)
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cf", "Zl", "Zp", "Cn"]), max_size=255)


def refused(document: str | bytes, code: str = "invitation-not-trusted") -> RuleError:
    """The one kind of error that a bad invitation ends in."""
    with pytest.raises(RuleError) as caught:
        read_invitation(document)
    assert caught.value.code == code
    assert caught.value.hint
    return caught.value


@given(
    st.sampled_from(
        ["root -> m 255", "root -> a 1 -> m 255", "root -> " + " -> ".join(f"a{n} {n}" for n in range(1, 25))]
    ),
    st.binary(min_size=1, max_size=2000),
    NAMES,
    st.lists(st.sampled_from(ADDRESSES), max_size=INVITATION_ADDRESSES_MAX),
)
def test_written_invitation_reads_back(line, bundle, friendly_name, addresses):
    meant = Invitation(tuple(chain(line)), bundle, GROUP_NAME, friendly_name, tuple(addresses))
    written = write_invitation(meant)
    assert read_invitation(written) == meant
    assert read_invitation(written.encode()) == meant


def test_invitation_is_of_the_originals_form():
    assert GOOD.startswith('<PEERINVITATION VERSION="1.0" ')
    for line in (
        "<CLOUDNAME>Global_</CLOUDNAME>",
        "<SCOPE>GLOBAL</SCOPE>",
        "<CLOUDFLAGS>0</CLOUDFLAGS>",
        "<GMC dt:dt=",
    ):
        assert line in GOOD


def test_order_of_the_chain_is_found_whatever_the_serials():
    """The set orders certificates by their bytes; with other serials another one comes first."""
    seen = []
    for turn in range(12):
        line, issuer = [grc()], "root"
        for level, name in ((1, "a"), (2, "b"), (255, "m")):
            serial = (1 << 158) + random.Random(turn * 10 + level).getrandbits(158)
            line.append(build_gmc(facts(name, level, issuer, serial=serial), key(issuer)))
            issuer = name
        assert read_invitation(write_invitation(replace(USUAL, chain=tuple(line)))).chain == tuple(line)
        seen.append([line.index(der) for der in sorted(line, key=lambda der: (len(der), der))])
    assert len({tuple(order) for order in seen}) > 1


def test_largest_bundle_fits_and_a_larger_one_does_not():
    largest = replace(USUAL, chain=CHAIN[:2], bundle=bytes(BUNDLE_BYTES_MAX))
    assert read_invitation(write_invitation(largest)) == largest
    refused(write_invitation(replace(largest, bundle=bytes(BUNDLE_BYTES_MAX + 1))))


def test_empty_bundle_is_refused():
    refused(write_invitation(replace(USUAL, bundle=b"")))


@pytest.mark.parametrize(
    "addresses",
    [("nowhere",), ("192.0.2.7:0",), ADDRESSES[:1] * (INVITATION_ADDRESSES_MAX + 1)],
)
def test_addresses_that_cannot_be_read_are_not_written(addresses):
    with pytest.raises(RuleError) as caught:
        write_invitation(replace(USUAL, addresses=addresses))
    assert caught.value.code == "invalid-argument"


def test_bad_address_is_refused():
    refused(GOOD.replace("node.example:443", "node.example:0"))


def test_seventeenth_address_is_refused():
    most = replace(USUAL, addresses=ADDRESSES[:1] * INVITATION_ADDRESSES_MAX)
    assert read_invitation(write_invitation(most)) == most
    more = f"<peerd:ADDRESS>{ADDRESSES[0]}</peerd:ADDRESS>" * (INVITATION_ADDRESSES_MAX - len(ADDRESSES))
    full = GOOD.replace("</PEERINVITATION>", more + "</PEERINVITATION>")
    assert len(read_invitation(full).addresses) == INVITATION_ADDRESSES_MAX
    refused(
        full.replace("</PEERINVITATION>", f"<peerd:ADDRESS>{ADDRESSES[0]}</peerd:ADDRESS></PEERINVITATION>")
    )


def test_friendly_name_that_deceives_is_refused():
    refused(GOOD.replace("Familie", "Fam\u202eilie"))
    refused(GOOD.replace("Familie", "x" * 256))


@pytest.mark.parametrize(
    "name", ["", "family", GROUP_NAME + "2", peer_name("root"), "0" * 40 + ".family", GROUP_NAME.upper()]
)
def test_group_name_that_is_not_the_roots_is_refused(name):
    refused(GOOD.replace(f">{GROUP_NAME}<", f">{name}<"))


@pytest.mark.parametrize("old,new", [("Global_", "LinkLocal_"), ("GLOBAL", "SITELOCAL"), (">0<", ">1<")])
def test_clouds_of_the_original_are_refused(old, new):
    assert old in GOOD
    refused(GOOD.replace(old, new))


def test_password_invitation_of_the_original_is_refused_as_newer():
    refused(GOOD.replace('VERSION="1.0"', 'VERSION="1.1"'), "unsupported-version")


BAD_SETS = {
    "root alone": (grc(),),
    "no root": CHAIN[1:],
    "two roots": (*CHAIN, grc("next root")),
    "a gap": (CHAIN[0], CHAIN[1], CHAIN[3]),
    "one too many": (*CHAIN, gmc("x", 255, "mallory")),
    "a fork": (*CHAIN, gmc("x", 255, "i")),
    "an identity's certificate": (*CHAIN, idc("m")),
    "a level that does not rise": tuple(chain("root -> a 2 -> b 2")),
    "a loop": tuple(chain("root -> a 1 -> b 2 -> a 3")),
    "a loop apart from the root": (
        grc(),
        build_gmc(facts("a", 3, "b"), key("b")),
        build_gmc(facts("b", 4, "a"), key("a")),
    ),
}


@pytest.mark.parametrize("case", BAD_SETS)
def test_certificates_that_make_no_chain_are_refused(case):
    refused(write_invitation(replace(USUAL, chain=BAD_SETS[case])))


@pytest.mark.parametrize("place", range(4))
def test_certificate_under_a_wrong_signature_is_refused(place):
    der = CHAIN[place]
    forged = der[:-64] + key("mallory").sign(der[4:-74])
    bad = write_invitation(replace(USUAL, chain=(*CHAIN[:place], forged, *CHAIN[place + 1 :])))
    assert "signature" in refused(bad).detail


def test_chain_in_the_document_is_a_set():
    shuffled = replace(USUAL, chain=tuple(reversed(CHAIN)))
    assert write_invitation(shuffled) == GOOD
    assert read_invitation(GOOD).chain == CHAIN
    assert write_bag(CHAIN) == write_bag(CHAIN[::-1])


def test_whom_it_is_for_stands_in_the_last_certificate():
    leaf = decode_untrusted_certificate(read_invitation(GOOD).chain[-1])
    assert (leaf.peer_name, leaf.window.start) == (peer_name("m"), START)


@given(st.data())
def test_changed_invitation_is_refused_or_changes_only_what_nobody_signs(data):
    document = bytearray(GOOD.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(document) - 1))
        document[place] = data.draw(st.integers(0, 255))
    codes = {"invitation-not-trusted", "unsupported-version"}
    try:
        found = read_invitation(bytes(document))
    except RuleError as error:
        code = error.code
    else:
        assert (found.chain, found.group_name) == (USUAL.chain, USUAL.group_name)
        code = "invitation-not-trusted"
    assert code in codes


@given(st.text(max_size=300) | st.binary(max_size=300))
def test_random_input_is_refused(document):
    refused(document)
