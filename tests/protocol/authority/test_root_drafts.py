"""Drafts of root acts: signed in any order, carried as bytes, told in words."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given, strategies as st

from protocol.authority.acts import Act
from protocol.authority.admission import Valid, admit
from protocol.authority.bodies import Kind
from protocol.authority.elements import Der, admit_der
from protocol.authority.root_documents import ROOT_KEY, encode_root_document, seal
from protocol.authority.root_drafts import (
    DRAFT_RULES,
    ROOT_ACT,
    RootDraft,
    decode_untrusted_draft,
    encode_draft,
    sign_draft,
)
from protocol.codec import decode_untrusted, encode
from protocol.credentials.keys import all_hold
from protocol.errors import RuleError
from protocol.limits import ROOT_FILE_BYTES_MAX
from tests.protocol.authority.rooting import (
    document,
    drafted,
    grant_wish,
    signed,
    wishes,
)
from tests.support.builders import Group
from tests.support.keys import named

KINDS = ("grant", "revoke", "revoke key", "annul", "properties", "rotate")
FAMILY = Group()
DRAFTS = {name: drafted(FAMILY, wish) for name, wish in wishes(FAMILY).items()}


def refused(raw: bytes) -> str:
    with pytest.raises(RuleError) as caught:
        decode_untrusted_draft(raw)
    assert caught.value.code == "draft-not-acceptable"
    assert caught.value.hint
    return caught.value.detail


def shared() -> Group:
    """A group whose root is two keys out of three."""
    group = Group()
    group.rotate("ruth", "rolf", "rosa", threshold=2)
    return group


# --- signing ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_signed_draft_is_an_act_that_every_node_admits(name):
    draft = signed(FAMILY, DRAFTS[name])
    act, *ders = draft.elements()
    assert isinstance(act, Act)
    assert draft.missing == ()
    assert all_hold(act.checks())
    assert isinstance(admit(act, FAMILY.view), Valid)
    assert (act.place.seq, act.place.prev, act.place.level) == (1, None, 0)
    assert len(ders) == (name == "grant")


def test_certificate_of_a_signed_grant_is_the_acts():
    act, der = signed(FAMILY, DRAFTS["grant"]).elements()
    assert isinstance(act, Act)
    assert isinstance(der, Der)
    verdict = admit(act, FAMILY.view)
    assert isinstance(verdict, Valid)
    view = Group().view
    view.add(act, verdict.admitted)
    assert admit_der(der, view) is None
    assert all_hold(der.checks())


def test_any_keys_that_suffice_give_one_act_in_any_order():
    group = shared()
    for names in (("ruth", "rolf"), ("rolf", "rosa"), ("ruth", "rolf", "rosa")):
        draft = drafted(group, wishes(group)["properties"], names)
        acts = set()
        for order in permutations(names):
            one = draft
            for name in order:
                assert one.missing
                one = sign_draft(one, named(name))
            (act,) = one.elements()
            acts.add((act.id, act.raw))
        assert len(acts) == 1


def test_grant_by_several_keys_is_signed_first_by_the_smallest():
    group = shared()
    draft = drafted(group, grant_wish(), ("ruth", "rolf", "rosa"))
    names = sorted(("ruth", "rolf", "rosa"), key=lambda name: named(name).public.pid)
    assert [key.pid for key in draft.signers] == [named(name).public.pid for name in names]
    ids = set()
    for order in ((0, 1, 2), (0, 2, 1)):
        one = draft
        for at in order:
            one = sign_draft(one, named(names[at]))
        act, der = one.elements()
        ids.add(act.id)
        assert isinstance(admit(act, group.view), Valid)  # type: ignore[arg-type]
        assert der.issuer_key == named(names[0]).public  # type: ignore[union-attr]
    assert len(ids) == 1
    with pytest.raises(RuleError) as caught:
        sign_draft(draft, named(names[1]))
    assert caught.value.code == "signature-missing"


def test_key_that_is_not_wanted_signs_nothing():
    with pytest.raises(RuleError) as caught:
        sign_draft(DRAFTS["grant"], named("eve"))
    assert caught.value.code == "not-authorized"


def test_second_signature_of_one_key_changes_nothing():
    for draft in DRAFTS.values():
        done = signed(FAMILY, draft)
        assert signed(FAMILY, done) == done


def test_draft_without_all_signatures_is_no_act():
    group = shared()
    draft = sign_draft(drafted(group, wishes(group)["properties"], ("ruth", "rolf")), named("ruth"))
    assert draft.missing == (named("rolf").public.pid,)
    with pytest.raises(RuleError) as caught:
        draft.elements()
    assert caught.value.code == "signature-missing"


# --- carrying -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_draft_reads_back_at_each_step(name):
    draft = DRAFTS[name]
    for one in (draft, signed(FAMILY, draft)):
        raw = encode_draft(one)
        assert decode_untrusted_draft(raw) == one
        assert encode_draft(decode_untrusted_draft(raw)) == raw
        assert len(raw) <= ROOT_FILE_BYTES_MAX


@given(st.sampled_from(KINDS), st.booleans(), st.data())
def test_every_changed_byte_is_refused(name, done, data):
    raw = bytearray(encode_draft(signed(FAMILY, DRAFTS[name]) if done else DRAFTS[name]))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    refused(bytes(raw))


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(raw):
    refused(raw)
    refused(seal(ROOT_ACT, {"content": raw}))


def fields_of(draft: RootDraft) -> dict:
    body = decode_untrusted(encode_draft(draft), bytes_max=ROOT_FILE_BYTES_MAX)[0]
    return {
        name: value
        for name, value in decode_untrusted(body, bytes_max=ROOT_FILE_BYTES_MAX).items()
        if name not in ("v", "what")
    }


def forged(draft: RootDraft, **changed: object) -> bytes:
    """A draft with other fields, sealed as if nothing had happened."""
    told = fields_of(draft) | changed
    return seal(ROOT_ACT, {name: value for name, value in told.items() if value is not None})


def content_with(draft: RootDraft, **changed: object) -> bytes:
    return encode(decode_untrusted(draft.content, bytes_max=ROOT_FILE_BYTES_MAX) | changed)


@given(st.sampled_from(KINDS), st.data())
def test_signed_content_cannot_be_changed_even_with_a_new_seal(name, data):
    draft = signed(FAMILY, DRAFTS[name])
    content = bytearray(draft.content)
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    refused(forged(draft, content=bytes(content)))


@given(st.sampled_from(KINDS), st.data())
def test_signature_that_does_not_hold_is_refused_with_a_new_seal(name, data):
    draft = signed(FAMILY, DRAFTS[name])
    signatures = bytearray(fields_of(draft)["signatures"])
    signatures[data.draw(st.integers(0, len(signatures) - 1))] ^= data.draw(st.integers(1, 255))
    refused(forged(draft, signatures=bytes(signatures)))


GRANT, DONE = DRAFTS["grant"], signed(FAMILY, DRAFTS["grant"])
OTHER = signed(FAMILY, drafted(FAMILY, grant_wish("yves")))
EVE = named("eve").public
BAD = {
    "is_an_act_of_the_root": [
        forged(GRANT, gid=bytes(32)),
        forged(GRANT, rotation=bytes(32)),
        forged(GRANT, content=content_with(GRANT, seq=2, prev=bytes(32))),
        forged(GRANT, content=content_with(GRANT, seq=2)),
        forged(DRAFTS["annul"], content=content_with(DRAFTS["annul"], kind=3)),
        forged(DRAFTS["annul"], content=content_with(DRAFTS["annul"], kind=int(Kind.RESIGN), body={})),
    ],
    "is_signed_by_keys_that_suffice": [
        forged(GRANT, operating=EVE.raw),
        forged(GRANT, threshold=2, operating=GRANT.signers[0].raw + EVE.raw),
        forged(DRAFTS["rotate"], content=content_with(
            DRAFTS["rotate"],
            body=decode_untrusted(DRAFTS["rotate"].content, bytes_max=ROOT_FILE_BYTES_MAX)["body"]
            | {"revealed_threshold": 2},
        )),
        forged(DRAFTS["rotate"], content=content_with(
            DRAFTS["rotate"],
            body=decode_untrusted(DRAFTS["rotate"].content, bytes_max=ROOT_FILE_BYTES_MAX)["body"]
            | {"revealed": EVE.raw},
        )),
    ],
    "signatures_are_of_its_signers": [
        forged(DRAFTS["annul"], signatures=EVE.raw + bytes(64)),
        forged(DRAFTS["annul"], signatures=DRAFTS["annul"].signers[0].raw + bytes(64)),
        forged(GRANT, signatures=fields_of(DONE)["signatures"]),
    ],
    "certificate_is_the_acts": [
        forged(DRAFTS["annul"], der=DONE.der),
        forged(replace(DONE, signatures=()), der=OTHER.der),
        forged(replace(DONE, signatures=()), der=None),
        forged(replace(DONE, signatures=()), content=GRANT.content),
    ],
}  # fmt: skip


def test_every_rule_of_drafts_has_a_draft_that_it_refuses():
    assert list(BAD) == [rule.__name__ for rule in DRAFT_RULES]


@pytest.mark.parametrize("rule, raw", [(rule, raw) for rule, bad in BAD.items() for raw in bad])
def test_rule_of_drafts_refuses(rule, raw, monkeypatch):
    refused(raw)
    others = tuple(one for one in DRAFT_RULES if one.__name__ == rule)
    monkeypatch.setattr("protocol.authority.root_drafts.DRAFT_RULES", others)
    refused(raw)


def test_certificate_whose_signature_does_not_hold_is_refused():
    assert DONE.der is not None
    der = DONE.der[:-1] + bytes([DONE.der[-1] ^ 1])
    fields = decode_untrusted(DONE.content, bytes_max=ROOT_FILE_BYTES_MAX)
    fields["body"]["der"] = hashlib.sha256(der).digest()
    assert "signature" in refused(forged(replace(DONE, content=encode(fields), signatures=()), der=der))


def test_lists_that_are_cut_off_are_refused():
    for name in ("operating", "signers", "signatures"):
        refused(forged(DONE, **{name: fields_of(DONE)[name][:-1]}))


def test_file_that_holds_something_else_is_refused():
    raw = encode_root_document(document(FAMILY, "ruth"))
    assert ROOT_KEY in refused(raw)
