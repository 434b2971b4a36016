"""Evidence bundles: what proves a grant to somebody who has nothing, and everything that does not."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, strategies as st

from protocol.authority.acts import decode_untrusted_act
from protocol.authority.bodies import Kind
from protocol.authority.bundle import (
    Bundle,
    decode_untrusted_bundle,
    encode_bundle,
    make_bundle,
    path_evidence,
)
from protocol.codec import decode_untrusted, encode
from protocol.credentials.keys import all_hold
from protocol.errors import Fault, RemoteProtocolError
from protocol.limits import BUNDLE_BYTES_MAX
from protocol.peer_time import Window, hlc_at
from tests.support.builders import GRC, NOW, Group
from tests.support.keys import named, peer_name
from tests.support.strategies import VALUES, Sample, act_sets

LINE = "grc -> alice:admin -> bob:admin -> ivy:inviting -> mo:member"
FAMILY = Group()
MO = FAMILY.bundle(FAMILY.grant(LINE))
FRIENDS = Group("friends")
FRIENDS_MO = FRIENDS.bundle(FRIENDS.grant(LINE))


def parts(bundle: Bundle = MO) -> tuple[list[bytes], list[bytes]]:
    return [act.raw for act in bundle.acts], [certificate.der for certificate in bundle.chain]


def refusal(acts: list[bytes], ders: list[bytes], authority: bytes = FAMILY.authority) -> RemoteProtocolError:
    with pytest.raises(RemoteProtocolError) as caught:
        decode_untrusted_bundle(encode_bundle(acts, ders), authority=authority)
    return caught.value


def admins(count: int) -> str:
    return " -> ".join([GRC, "alice:admin", *(f"admin{level}:admin" for level in range(2, count + 1))])


# --- what is good -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 2, 7, 24])
def test_bundle_of_any_depth_proves_its_leaf(depth):
    group = Group()
    granted = group.grant(admins(depth))
    bundle = group.bundle(granted)
    assert bundle.leaf == granted.grant
    assert bundle.gid == group.gid
    assert bundle.root == group.founding.root
    assert bundle.path == tuple(group.view.path(granted.grant))
    assert [grant.level for grant in bundle.path] == list(range(1, depth + 1))
    assert [der.act_id for der in bundle.ders] == [act.id for act in bundle.acts]
    assert len(bundle.checks()) == 2 * (depth + 1)
    assert all_hold(bundle.checks())


def test_bundle_reads_back_from_its_bytes():
    again = decode_untrusted_bundle(MO.raw, authority=FAMILY.gid)
    assert again == MO
    assert encode_bundle(*parts()) == MO.raw


def test_bundle_carries_the_elements_of_the_path_and_no_others():
    elements = {element.raw for element in FAMILY.elements}
    assert {act.raw for act in MO.acts} <= elements
    assert {der.raw for der in MO.ders} <= elements


def test_bundle_shows_no_act_that_stands_between_those_on_its_path():
    group = Group()
    group.grant("grc -> alice:admin -> ann:member")
    mo = group.grant(LINE)
    assert len(group.bundle(mo).acts) == 5
    assert group.bundle(mo).acts[2].place.seq == 2


def test_bundle_of_the_deepest_chain_leaves_room_in_a_frame():
    group = Group()
    assert len(group.bundle(group.grant(admins(24))).raw) < BUNDLE_BYTES_MAX * 3 // 4


def test_group_is_named_by_its_authority_or_its_whole_id():
    for name in (FAMILY.gid[:20], FAMILY.gid):
        assert decode_untrusted_bundle(MO.raw, authority=name).gid == FAMILY.gid


def test_unknown_field_of_a_newer_version_is_ignored():
    acts, ders = parts()
    raw = encode({"acts": acts, "ders": ders, "later": [1]})
    assert decode_untrusted_bundle(raw, authority=FAMILY.gid).leaf == MO.leaf


# --- what is not: signatures ------------------------------------------------------------------------------


@pytest.mark.parametrize("place", range(5))
def test_flipped_signature_of_an_act_does_not_check(place):
    acts, ders = parts()
    acts[place] = acts[place][:-1] + bytes([acts[place][-1] ^ 1])
    bundle = decode_untrusted_bundle(encode_bundle(acts, ders), authority=FAMILY.gid)
    assert not all_hold(bundle.checks())


def test_flipped_signature_of_the_root_certificate_does_not_check():
    acts, ders = parts()
    ders[0] = ders[0][:-1] + bytes([ders[0][-1] ^ 1])
    bundle = decode_untrusted_bundle(encode_bundle(acts, ders), authority=FAMILY.gid)
    assert not all_hold(bundle.checks())


@pytest.mark.parametrize("place", range(1, 5))
def test_flipped_signature_of_a_members_certificate_is_refused(place):
    acts, ders = parts()
    ders[place] = ders[place][:-1] + bytes([ders[place][-1] ^ 1])
    assert refusal(acts, ders).fault is Fault.BAD_EVIDENCE


@pytest.mark.parametrize("place", range(10))
def test_every_signature_is_among_the_checks(place):
    checks = MO.checks()
    assert len(checks) == 10
    others = checks[:place] + checks[place + 1 :]
    assert checks[place].signature not in {check.signature for check in others}


# --- what is not: parts -----------------------------------------------------------------------------------


@pytest.mark.parametrize("place", range(5))
def test_missing_act_or_certificate_is_refused(place):
    acts, ders = parts()
    refusal(acts[:place] + acts[place + 1 :], ders)
    refusal(acts, ders[:place] + ders[place + 1 :])
    if place < 4:
        refusal(acts[:place] + acts[place + 1 :], ders[:place] + ders[place + 1 :])


@pytest.mark.parametrize("first, second", [(a, b) for a in range(5) for b in range(a + 1, 5)])
def test_reordered_acts_or_certificates_are_refused(first, second):
    acts, ders = parts()
    mixed_acts, mixed_ders = list(acts), list(ders)
    mixed_acts[first], mixed_acts[second] = acts[second], acts[first]
    mixed_ders[first], mixed_ders[second] = ders[second], ders[first]
    refusal(mixed_acts, ders)
    refusal(acts, mixed_ders)
    refusal(mixed_acts, mixed_ders)


@pytest.mark.parametrize("place", range(5))
def test_act_or_certificate_twice_is_refused(place):
    acts, ders = parts()
    refusal([*acts[: place + 1], *acts[place:]], [*ders[: place + 1], *ders[place:]])


@pytest.mark.parametrize("place", range(5))
def test_act_or_certificate_of_another_group_is_refused(place):
    acts, ders = parts()
    other_acts, other_ders = parts(FRIENDS_MO)
    mixed_acts = [*acts[:place], other_acts[place], *acts[place + 1 :]]
    mixed_ders = [*ders[:place], other_ders[place], *ders[place + 1 :]]
    refusal(mixed_acts, ders)
    refusal(acts, mixed_ders)
    refusal(mixed_acts, mixed_ders)
    refusal([*acts[:place], *other_acts[place:]], [*ders[:place], *other_ders[place:]])


def test_whole_bundle_of_another_group_is_refused():
    assert refusal(*parts(FRIENDS_MO)).fault is Fault.WRONG_GROUP
    assert refusal(*parts(), authority=FAMILY.gid[:19] + b"\0").fault is Fault.WRONG_GROUP


def test_certificate_of_an_older_grant_to_the_same_subject_is_refused():
    group = Group()
    old, new = group.grant(LINE), group.grant(LINE)
    acts, ders = parts(group.bundle(new))
    ders[-1] = old.der.certificate.der
    assert refusal(acts, ders, group.authority).fault is Fault.BAD_EVIDENCE


def test_grant_under_another_grant_to_the_same_author_is_refused():
    group = Group()
    group.grant(LINE)
    carl = group.grant("ivy -> carl:member")
    again = group.grant("bob -> ivy:inviting")
    acts, ders = parts(group.bundle(carl))
    acts[3], ders[3] = again.act.raw, again.der.certificate.der
    assert "under the one before it" in refusal(acts, ders, group.authority).detail


def test_grant_for_another_group_is_refused():
    group = Group()
    bad = group.grant("alice -> bob:member", gid=b"g" * 32, keep=False)
    acts, ders = parts(group.bundle(group.creator))
    error = refusal([*acts, bad.act.raw], [*ders, bad.der.certificate.der], group.authority)
    assert "under the one before it" in error.detail


def test_genesis_alone_proves_nothing():
    acts, ders = parts()
    refusal(acts[:1], ders[:1])
    refusal([], [])


@pytest.mark.parametrize("kind", [Kind.RESIGN, Kind.INVITE, 200])
def test_only_grants_are_evidence(kind):
    group = Group()
    body = {"role": 3, "not_after": 1} if kind == Kind.INVITE else {}
    act = group.act("alice", kind, body)
    acts, ders = parts(group.bundle(group.creator))
    refusal([*acts, act.raw], [*ders, ders[-1]], group.authority)


# --- what is not: rules -----------------------------------------------------------------------------------

INSIDE = Window(NOW.utc_s, NOW.utc_s + 900)
BROKEN: dict[str, tuple[str, dict[str, Any]]] = {
    "cred_is_grant_to_author": (
        "bob -> mo:member",
        {"author_id": named("eve").public.pid, "signers": ("eve",)},
    ),
    "cred_gives_the_level": ("bob -> mo:member", {"at_level": 3}),
    "hlc_inside_cred": ("bob -> mo:member", {"hlc": hlc_at((INSIDE.end + 1) * 1000)}),
    "grant_level_is_junior": ("bob -> mo:admin", {"level": 2}),
    "grant_roles_fit_level": ("bob -> mo:member", {"roles": (1,)}),
    "grant_window_is_a_period": ("bob -> mo:member", {"window": Window(INSIDE.start, INSIDE.start)}),
    "grant_window_within_issuers": (
        "bob -> mo:member",
        {"window": Window(INSIDE.start, INSIDE.end + 1)},
    ),
    "grant_subject_is_not_above": ("bob -> alice:member", {}),
    "grant_friendly_name_is_text": ("bob -> mo:member", {"friendly": "\u202e"}),
    "threshold_of_operating_keys": ("grc -> mo:admin", {"signers": ("eve",)}),
}


@pytest.mark.parametrize("rule", list(BROKEN))
def test_act_that_breaks_a_rule_of_admission_is_no_evidence(rule):
    group = Group()
    bob = group.grant("grc -> alice:admin -> bob:admin", window=INSIDE)
    text, changed = BROKEN[rule]
    bad = group.grant(text, keep=False, **changed)
    acts, ders = parts(group.bundle(bob))
    if text.startswith(GRC):
        acts, ders = acts[:1], ders[:1]
    error = refusal([*acts, bad.act.raw], [*ders, bad.der.certificate.der], group.authority)
    assert error.fault is Fault.BAD_EVIDENCE
    assert error.detail == f"an act of the bundle breaks the rule {rule}"


def test_certificate_that_lies_is_no_evidence():
    group = Group()
    bad = group.grant("grc -> alice:admin -> bob:admin", cert={"level": 7}, publish=False)
    acts, ders = parts(group.bundle(group.creator))
    refusal([*acts, bad.act.raw], [*ders, bad.der.certificate.der], group.authority)


# --- what is not: form ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form",
    [
        None,
        [],
        {},
        {"acts": []},
        {"acts": [b"", b""], "ders": [b"", b""]},
        {"acts": "text", "ders": []},
        {"acts": [1, 2], "ders": [3, 4]},
        {"acts": [b"x"] * 26, "ders": [b"x"] * 26},
    ],
)
def test_other_forms_are_refused(form):
    with pytest.raises(RemoteProtocolError):
        decode_untrusted_bundle(encode(form), authority=FAMILY.gid)


def test_bundle_that_is_too_long_is_refused():
    acts, ders = parts()
    raw = encode({"acts": acts, "ders": ders, "x": bytes(BUNDLE_BYTES_MAX)})
    with pytest.raises(RemoteProtocolError):
        decode_untrusted_bundle(raw, authority=FAMILY.gid)


def test_bundle_deeper_than_any_chain_is_refused():
    group = Group()
    last = group.grant(admins(24))
    more = group.grant("admin24 -> mo:member", keep=False)
    acts, ders = parts(group.bundle(last))
    refusal([*acts, more.act.raw], [*ders, more.der.certificate.der], group.authority)


# --- making -----------------------------------------------------------------------------------------------


def test_grant_whose_certificate_is_not_published_is_proved_with_it_in_hand():
    group = Group()
    mo = group.grant(LINE, publish=False)
    assert make_bundle(group.view, mo.grant, group.raw_of) is None
    raw = make_bundle(group.view, mo.grant, group.raw_of, mo.der.certificate.der)
    assert raw is not None
    assert decode_untrusted_bundle(raw, authority=group.gid).leaf == mo.grant


def test_no_bundle_is_made_while_a_certificate_above_is_missing():
    group = Group()
    group.grant("grc -> alice:admin -> bob:admin", publish=False)
    mo = group.grant("bob -> mo:member")
    assert make_bundle(group.view, mo.grant, group.raw_of) is None
    assert path_evidence(group.view, mo.act.id, group.raw_of) is None


def test_evidence_of_genesis_is_genesis_and_its_certificate():
    acts, ders = parts()
    assert path_evidence(FAMILY.view, FAMILY.genesis.id, FAMILY.raw_of) == (acts[:1], ders[:1], b"")
    assert path_evidence(FAMILY.view, bytes(32), FAMILY.raw_of) is None


def test_bundle_may_be_as_long_as_the_limit(monkeypatch):
    leaf = MO.leaf
    monkeypatch.setattr("protocol.authority.bundle.BUNDLE_BYTES_MAX", len(MO.raw))
    assert make_bundle(FAMILY.view, leaf, FAMILY.raw_of) == MO.raw
    monkeypatch.setattr("protocol.authority.bundle.BUNDLE_BYTES_MAX", len(MO.raw) - 1)
    assert make_bundle(FAMILY.view, leaf, FAMILY.raw_of) is None


def test_no_bundle_is_made_that_would_be_too_long():
    group = Group()
    names = [f"admin{level}" for level in range(2, 25)]
    wide = "名" * 140
    for issuer, subject in zip(["alice", *names], names, strict=False):
        name = peer_name(subject)
        last = group.grant(f"{issuer} -> {subject}:admin", name=f"{name.authority}.{wide}", friendly=wide)
    evidence = path_evidence(group.view, last.act.id, group.raw_of)
    assert evidence is not None
    assert len(encode_bundle(*evidence)) > BUNDLE_BYTES_MAX
    assert make_bundle(group.view, last.grant, group.raw_of) is None


@given(act_sets())
def test_every_bundle_that_is_made_can_be_read(sample: Sample):
    group = sample.group
    for pid in group.view.subjects():
        for grant in group.view.delivered(pid):
            raw = make_bundle(group.view, grant, group.raw_of)
            path = group.view.path(grant)
            whole = all(group.view.der_of(one.act_id) is not None for one in path)
            assert (raw is not None) == whole
            if raw is not None:
                bundle = decode_untrusted_bundle(raw, authority=group.gid)
                assert bundle.path == tuple(path)
                assert all_hold(bundle.checks())


# --- fuzz -------------------------------------------------------------------------------------------------


@given(st.binary(max_size=300) | VALUES.map(encode))
def test_random_bytes_are_the_senders_fault(raw):
    with pytest.raises(RemoteProtocolError):
        decode_untrusted_bundle(raw, authority=FAMILY.gid)


@given(st.data())
def test_damaged_bundle_is_refused_or_does_not_check(data):
    raw = bytearray(MO.raw)
    for place in data.draw(st.lists(st.integers(0, len(raw) - 1), min_size=1, max_size=3, unique=True)):
        raw[place] ^= data.draw(st.integers(1, 255))
    try:
        bundle = decode_untrusted_bundle(bytes(raw), authority=FAMILY.gid)
    except RemoteProtocolError:
        return
    assert not all_hold(bundle.checks())


POOL = [act.raw for bundle in (MO, FRIENDS_MO) for act in bundle.acts]
POOL_DERS = [certificate.der for bundle in (MO, FRIENDS_MO) for certificate in bundle.chain]


@given(st.lists(st.sampled_from(POOL), max_size=6), st.lists(st.sampled_from(POOL_DERS), max_size=6))
def test_parts_put_together_anyhow_prove_only_what_they_proved_before(acts, ders):
    with suppress(RemoteProtocolError):
        bundle = decode_untrusted_bundle(encode_bundle(acts, ders), authority=FAMILY.gid)
        assert list(bundle.acts) == [decode_untrusted_act(raw) for raw in POOL[: len(acts)]]


@given(st.integers(0, 6000), st.binary(max_size=4))
def test_cut_or_lengthened_bundle_is_refused(length, tail):
    raw = MO.raw[:length] + tail
    if raw != MO.raw:
        with pytest.raises(RemoteProtocolError):
            decode_untrusted_bundle(raw, authority=FAMILY.gid)


WHERE: list[Callable[[Any], None]] = [
    lambda form: form["acts"].append(form["acts"][-1]),
    lambda form: form["ders"].append(form["ders"][-1]),
    lambda form: form["acts"].insert(0, b""),
    lambda form: form.update(acts=form["ders"], ders=form["acts"]),
    lambda form: form.update(acts={}),
    lambda form: form.pop("ders"),
]


@pytest.mark.parametrize("change", WHERE)
def test_changed_form_is_refused(change):
    form = decode_untrusted(MO.raw, bytes_max=BUNDLE_BYTES_MAX)
    change(form)
    with pytest.raises(RemoteProtocolError):
        decode_untrusted_bundle(encode(form), authority=FAMILY.gid)
