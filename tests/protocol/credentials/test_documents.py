"""Identity documents: what an identity hands out comes back whole, or not at all."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, strategies as st

from protocol.credentials.documents import read_identity_document, write_identity_document
from protocol.credentials.markup import Element, Form, write_document
from protocol.credentials.pkcs7 import write_bag
from protocol.credentials.profile import Kind
from protocol.errors import RuleError
from tests.protocol.credentials.given import gmc, grc, idc, key, peer_name

IDC = idc()
GOOD = write_identity_document(IDC)


def refused(document: str | bytes, code: str = "invitation-not-trusted") -> RuleError:
    """The one kind of error that a bad document ends in."""
    with pytest.raises(RuleError) as caught:
        read_identity_document(document)
    assert caught.value.code == code
    return caught.value


def _document(bag: bytes) -> str:
    return write_document(Form("PEERIDENTITYINFO", (Element("IDC", binary=True),)), {"IDC": [bag]})


def test_document_gives_the_identity_back():
    for document in (GOOD, GOOD.encode()):
        found = read_identity_document(document)
        assert found.der == IDC
        assert found.kind is Kind.IDC
        assert (found.peer_name, found.key) == (peer_name("alice"), key("alice").public)


def test_document_is_of_the_originals_form_and_holds_no_secret():
    assert GOOD.startswith('<PEERIDENTITYINFO VERSION="1.0" ')
    assert "<IDC dt:dt=" in GOOD
    packed = base64.b64decode("".join(GOOD.split(">")[2].split("<")[0].split()))
    assert key("alice").seed not in packed


def test_certificates_of_other_kinds_or_numbers_are_refused():
    for ders in ((grc(),), (gmc(),), (IDC, idc("bob")), (IDC, grc())):
        refused(_document(write_bag(ders)))
    refused(_document(b""))
    refused(_document(IDC))


def test_certificate_under_a_wrong_signature_is_refused():
    forged = IDC[:-64] + key("mallory").sign(IDC[4:-74])
    assert "signature" in refused(_document(write_bag((forged,)))).detail


def test_document_of_a_newer_version_is_refused_under_its_own_name():
    refused(GOOD.replace('VERSION="1.0"', 'VERSION="1.1"'), "unsupported-version")


def test_another_document_is_refused():
    refused(GOOD.replace("PEERIDENTITYINFO", "PEERINVITATION"))


def test_any_changed_character_is_refused_or_changes_nothing():
    """The signature covers the certificate; around it only white space and quotes are free."""
    for place in range(len(GOOD)):
        for character in ("A", " ", "<"):
            changed = GOOD[:place] + character + GOOD[place + 1 :]
            try:
                assert read_identity_document(changed).der == IDC
            except RuleError:
                continue


@given(st.text(max_size=300) | st.binary(max_size=300))
def test_random_input_is_refused(document):
    refused(document)


@given(st.binary(max_size=600))
def test_random_bytes_in_place_of_the_certificate_are_refused(bag):
    refused(_document(bag))
