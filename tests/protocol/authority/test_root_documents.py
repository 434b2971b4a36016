"""Root keys introduced by files."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from protocol.authority.root_certificates import GroupFacts, build_root_certificate
from protocol.authority.root_documents import (
    KEY_WANTED,
    ROOT_KEY,
    KeyWanted,
    decode_untrusted_key_wanted,
    decode_untrusted_root_document,
    encode_key_wanted,
    encode_root_document,
    make_root_document,
    seal,
    what_is_in,
)
from protocol.codec import encode
from protocol.errors import RuleError
from protocol.ids import tagged_hash
from tests.support.builders import Group
from tests.support.keys import named

FACTS = GroupFacts.of(Group().founding.root)
WANTED = KeyWanted(FACTS)
DOCUMENT = make_root_document(WANTED, named("ruth"))
RAW_WANTED, RAW_DOCUMENT = encode_key_wanted(WANTED), encode_root_document(DOCUMENT)


def refused(raw: bytes, decode=decode_untrusted_root_document) -> bool:
    with pytest.raises(RuleError) as caught:
        decode(raw)
    return caught.value.code == "draft-not-acceptable" and bool(caught.value.hint)


def test_what_is_wanted_and_what_is_answered_read_back():
    assert decode_untrusted_key_wanted(RAW_WANTED) == WANTED
    assert decode_untrusted_root_document(RAW_DOCUMENT) == DOCUMENT
    assert (what_is_in(RAW_WANTED), what_is_in(RAW_DOCUMENT)) == (KEY_WANTED, ROOT_KEY)
    assert DOCUMENT.key == DOCUMENT.certificate.key == named("ruth").public


def test_one_is_not_taken_for_the_other():
    assert refused(RAW_WANTED)
    assert refused(RAW_DOCUMENT, decode_untrusted_key_wanted)
    with pytest.raises(RuleError) as caught:
        decode_untrusted_root_document(RAW_WANTED)
    assert "peerd root sign" in str(caught.value.hint)


@given(st.sampled_from([RAW_WANTED, RAW_DOCUMENT]), st.data())
def test_every_changed_byte_is_refused(raw, data):
    changed = bytearray(raw)
    changed[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    assert refused(bytes(changed))
    assert refused(bytes(changed), decode_untrusted_key_wanted)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(raw):
    assert refused(raw)
    assert refused(raw, what_is_in)
    assert refused(seal(ROOT_KEY, {"gid": raw, "classifier": "", "created": 0}))


def sealed(**changed: object) -> bytes:
    """A document with other fields, sealed as if nothing had happened."""
    fields = {
        "gid": FACTS.gid,
        "classifier": FACTS.classifier,
        "created": FACTS.created,
        "key": DOCUMENT.key.raw,
        "certificate": DOCUMENT.certificate.der,
    }
    return seal(ROOT_KEY, fields | changed)


def test_certificate_must_be_that_of_the_key_and_hold():
    der = DOCUMENT.certificate.der
    assert decode_untrusted_root_document(sealed()) == DOCUMENT
    for changed in (
        {"key": named("eve").public.raw},
        {"certificate": der[:-1] + bytes([der[-1] ^ 1])},
        {"certificate": build_root_certificate(FACTS, named("eve"))},
        {"certificate": build_root_certificate(replace(FACTS, classifier="x"), named("ruth"))},
        {"gid": bytes(32)},
        {"classifier": "friends"},
        {"classifier": "x\u202e"},
        {"created": 0},
        {"key": bytes(32)},
    ):
        assert refused(sealed(**changed)), changed


def test_other_versions_and_other_forms_are_refused():
    for body in (
        encode({"v": 2, "what": ROOT_KEY}),
        encode({"v": 1}),
        encode([]),
        encode({"what": ROOT_KEY}),
    ):
        assert refused(encode([body, tagged_hash("peerd/root-file/1", body)]))
    later = encode({"v": 2, "what": KEY_WANTED, "gid": FACTS.gid, "classifier": "", "created": 0})
    assert refused(encode([later, tagged_hash("peerd/root-file/1", later)]), decode_untrusted_key_wanted)
    assert refused(encode([b"", b"", b""]))
    assert refused(encode({"v": 1}))
