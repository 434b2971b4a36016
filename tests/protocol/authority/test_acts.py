"""Acts: what their id and signatures cover, their exact form, and what no decoder lets through."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, strategies as st

from protocol.authority.acts import Act, Place, content_of, decode_untrusted_act, sign_act
from protocol.authority.bodies import Kind, PropertiesBody, ResignBody, RevokeKeyBody
from protocol.codec import decode_untrusted, encode
from protocol.credentials.keys import all_hold
from protocol.errors import Fault, RemoteProtocolError
from protocol.ids import framed, tagged_hash
from protocol.limits import ACT_BYTES_MAX, EXT_BYTES_MAX, ROOT_KEYS_MAX
from protocol.peer_time import HLC_MAX
from tests.support.builders import seal
from tests.support.keys import key
from tests.support.strategies import VALUES

AUTHOR, OTHER = key(1), key(2)
GID = bytes(range(32))


def fields(**changed: Any) -> dict[str, Any]:
    """The content of a good act by AUTHOR."""
    told = {
        "v": 1,
        "gid": GID,
        "author": AUTHOR.public.pid,
        "chain": b"c" * 16,
        "seq": 2,
        "prev": b"p" * 32,
        "level": 1,
        "cred": b"r" * 32,
        "hlc": 1_790_000_000_000 << 16,
        "kind": 192,
        "body": {},
    } | changed
    return {name: value for name, value in told.items() if value is not None}


def root_fields(*signers, **changed: Any) -> dict[str, Any]:
    """The content of a good act at level 0 by these keys."""
    pids = b"".join(sorted(one.public.pid for one in signers))
    return fields(level=0, author=GID, signers=pids, kind=2, **changed)


def refused(raw: bytes) -> RemoteProtocolError:
    with pytest.raises(RemoteProtocolError) as caught:
        decode_untrusted_act(raw)
    return caught.value


def content(act: Act) -> dict[str, Any]:
    value = decode_untrusted(act.content, bytes_max=ACT_BYTES_MAX)
    assert isinstance(value, dict)
    return value


# --- what is signed and hashed ----------------------------------------------------------------------------


def test_act_reads_back_as_it_was_signed():
    place = Place(GID, AUTHOR.public.pid, b"c" * 16, 2, b"p" * 32, 1, b"r" * 32, 99 << 16)
    act = sign_act(place, Kind.RESIGN, ResignBody(reason="moved away"), [AUTHOR])
    assert (act.place, act.kind, act.body) == (place, 192, ResignBody(reason="moved away"))
    assert (act.ext, act.signers, act.keys) == (None, (), (AUTHOR.public.raw,))
    assert decode_untrusted_act(act.raw) == act
    assert all_hold(act.checks())


def test_signed_bytes_are_the_canonical_ones():
    raw = seal(fields(), [AUTHOR])
    act = decode_untrusted_act(raw)
    assert act.content == content_of(act.place, act.kind, act.body_map, act.signers)
    assert sign_act(act.place, Kind.RESIGN, ResignBody(), [AUTHOR]).raw == raw


def test_id_is_a_tagged_hash_of_the_content_alone():
    act = decode_untrusted_act(seal(fields(), [AUTHOR]))
    assert act.id == tagged_hash("peerd/act-id/1", act.content)
    again = decode_untrusted_act(encode([act.content, AUTHOR.public.raw + bytes(64)]))
    assert again.id == act.id
    assert again.raw != act.raw


def test_signature_covers_tag_and_content():
    act = decode_untrusted_act(seal(fields(), [AUTHOR]))
    (check,) = act.checks()
    assert check.message == framed("peerd/act/1", act.content)
    assert check.key == AUTHOR.public.raw
    assert all_hold([check])


@pytest.mark.parametrize("name", sorted(fields(ext={"a": 1})))
def test_signature_holds_for_no_other_content(name):
    told = fields(ext={"a": 1})
    act = decode_untrusted_act(seal(told, [AUTHOR]))
    others = {
        "v": None, "gid": b"\0" * 32, "author": None, "chain": b"d" * 16, "seq": 3, "prev": b"q" * 32,
        "level": 2, "cred": b"s" * 32, "hlc": 5, "kind": 193, "body": {"reason": "x"}, "ext": {"a": 2},
    }  # fmt: skip
    if others[name] is None:
        return
    _, entries = decode_untrusted(act.raw, bytes_max=ACT_BYTES_MAX)
    forged = decode_untrusted_act(encode([encode(told | {name: others[name]}), entries]))
    assert forged.id != act.id
    assert not all_hold(forged.checks())


def test_time_is_told_in_milliseconds_and_seconds():
    act = decode_untrusted_act(seal(fields(hlc=(1_790_000_000_123 << 16) + 7), [AUTHOR]))
    assert (act.hlc_ms, act.hlc_s) == (1_790_000_000_123, 1_790_000_000)


def test_what_is_none_is_left_out():
    place = Place(GID, AUTHOR.public.pid, b"c" * 16, 1, None, 1, None, 0)
    act = sign_act(place, Kind.REVOKE_KEY, RevokeKeyBody(key=OTHER.public.raw), [AUTHOR])
    assert content(act)["body"] == {"key": OTHER.public.raw}
    assert "prev" not in content(act)
    assert "cred" not in content(act)


def test_unknown_fields_of_content_and_body_are_carried_in_the_bytes():
    told = fields(later=[1, 2], body={"newer": {"x": b"y"}})
    act = decode_untrusted_act(seal(told, [AUTHOR]))
    assert content(act) == told
    assert act.body_map == {"newer": {"x": b"y"}}


# --- signers ----------------------------------------------------------------------------------------------


def test_act_above_level_0_is_signed_by_its_author_alone():
    assert refused(seal(fields(), [OTHER])).fault is Fault.BAD_PROOF
    both = sorted((AUTHOR, OTHER), key=lambda one: one.public.pid)
    assert refused(seal(fields(), both)).fault is Fault.BAD_PROOF
    assert refused(seal(fields(signers=AUTHOR.public.pid), [AUTHOR])).fault is Fault.BAD_PROOF


def test_root_act_is_signed_by_the_keys_that_it_lists():
    both = sorted((AUTHOR, OTHER), key=lambda one: one.public.pid)
    act = decode_untrusted_act(seal(root_fields(*both), both))
    assert act.signers == tuple(one.public.pid for one in both)
    assert len(act.checks()) == 2
    assert all_hold(act.checks())
    assert refused(seal(root_fields(AUTHOR), both)).fault is Fault.BAD_PROOF
    assert refused(seal(root_fields(*both), [AUTHOR])).fault is Fault.BAD_PROOF
    assert refused(seal(root_fields(), [AUTHOR])).fault is Fault.BAD_PROOF


def test_root_act_counts_no_key_twice():
    told = fields(level=0, author=GID, signers=AUTHOR.public.pid * 2, kind=2)
    assert "once each" in refused(seal(told, [AUTHOR, AUTHOR])).detail


def test_root_act_lists_its_signers_in_order():
    both = sorted((AUTHOR, OTHER), key=lambda one: one.public.pid, reverse=True)
    pids = b"".join(one.public.pid for one in both)
    assert "ascending" in refused(seal(fields(level=0, author=GID, signers=pids, kind=2), both)).detail


def test_author_of_a_root_act_is_the_group():
    refused(seal(root_fields(AUTHOR) | {"author": AUTHOR.public.pid}, [AUTHOR]))


def test_as_many_keys_as_a_root_may_have_can_sign():
    keys = sorted((key(number) for number in range(1, ROOT_KEYS_MAX + 2)), key=lambda one: one.public.pid)
    assert len(decode_untrusted_act(seal(root_fields(*keys[:-1]), keys[:-1])).signers) == ROOT_KEYS_MAX
    refused(seal(root_fields(*keys), keys))


@pytest.mark.parametrize("entries", [b"", b"x" * 95, b"x" * 97, b"x" * 96 * 17])
def test_signatures_are_1_to_16_whole_entries(entries):
    refused(encode([encode(fields()), entries]))


def test_root_act_that_nobody_signed_is_refused():
    refused(encode([encode(root_fields()), b""]))


def test_key_that_anybody_can_sign_for_is_refused():
    refused(encode([encode(fields()), bytes(32) + bytes(64)]))


# --- form -------------------------------------------------------------------------------------------------

WRONG: dict[str, tuple[Any, ...]] = {
    "v": (0, 2, "1", True),
    "gid": (b"x" * 31, b"x" * 33, "x" * 32, 1),
    "author": (b"x" * 31, "x"),
    "chain": (b"", b"c" * 15, b"c" * 17, "c" * 16),
    "seq": (0, -1, 2**53 + 1, "1", True),
    "prev": (b"", b"p" * 31, 3),
    "level": (-1, 256, "1"),
    "cred": (b"", b"r" * 33),
    "hlc": (-1, HLC_MAX + 1, 2**64 - 1, "0"),
    "kind": (0, 256, -1, "192"),
    "body": ([], b"", 1, "x"),
    "ext": ([], 1, b""),
    "signers": ([], "x"),
}


@pytest.mark.parametrize(
    "name, value", [(name, value) for name, values in WRONG.items() for value in values], ids=repr
)
def test_field_out_of_its_bounds_is_refused(name, value):
    assert refused(seal(fields(**{name: value}), [AUTHOR])).fault in (Fault.MALFORMED, Fault.BAD_PROOF)


@pytest.mark.parametrize("name", ["v", "gid", "author", "chain", "seq", "level", "hlc", "kind", "body"])
def test_field_that_every_act_has_must_be_there(name):
    refused(seal(fields(**{name: None}), [AUTHOR]))


@pytest.mark.parametrize("seq, hlc", [(1, 0), (2**53, HLC_MAX)])
def test_bounds_themselves_are_accepted(seq, hlc):
    place = decode_untrusted_act(seal(fields(seq=seq, hlc=hlc), [AUTHOR])).place
    assert (place.seq, place.hlc) == (seq, hlc)


def test_ext_is_bounded():
    room = EXT_BYTES_MAX - len(encode({"x": b"x" * 300})) + 300
    assert decode_untrusted_act(seal(fields(ext={"x": b"x" * room}), [AUTHOR])).ext == {"x": b"x" * room}
    assert refused(seal(fields(ext={"x": b"x" * (room + 1)}), [AUTHOR])).fault is Fault.OVER_LIMIT


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xc0",
        encode([]),
        encode([b"", b""]),
        encode([encode(fields())]),
        encode([encode(fields()), b"x" * 96, b""]),
        encode([encode([]), b"x" * 96]),
        encode(["text", b"x" * 96]),
        encode({"content": b"", "signatures": b""}),
    ],
)
def test_anything_but_content_and_signatures_is_refused(raw):
    refused(raw)


def test_content_in_a_second_form_is_refused():
    good = encode(fields(seq=5))
    assert good.count(b"\xa3seq\x05") == 1
    longer = good.replace(b"\xa3seq\x05", b"\xa3seq\xcc\x05")
    signed = AUTHOR.public.raw + AUTHOR.sign(framed("peerd/act/1", longer))
    assert "canonical" in refused(encode([longer, signed])).detail


def test_act_that_is_too_large_is_refused():
    refused(seal(fields(body={"x": b"x" * ACT_BYTES_MAX}), [AUTHOR]))


# --- fuzz -------------------------------------------------------------------------------------------------

BASES = [
    seal(fields(), [AUTHOR]),
    seal(root_fields(AUTHOR, body={"friendly": "home", "extra": {"a": [1, {"b": b"c"}]}}), [AUTHOR]),
]


@given(st.binary(max_size=300))
def test_random_bytes_are_an_act_or_the_senders_fault(raw):
    with suppress(RemoteProtocolError):
        decode_untrusted_act(raw)


@given(st.sampled_from(BASES), st.data())
def test_damaged_act_is_another_act_or_the_senders_fault(base, data):
    raw = bytearray(base)
    for place in data.draw(st.lists(st.integers(0, len(raw) - 1), min_size=1, max_size=3)):
        raw[place] ^= data.draw(st.integers(1, 255))
    try:
        act = decode_untrusted_act(bytes(raw))
    except RemoteProtocolError:
        return
    assert bytes(raw) == base or not all_hold(act.checks())


@given(st.dictionaries(st.sampled_from(sorted([*fields(), "ext", "signers", "x"])), VALUES))
def test_any_values_in_the_fields_are_an_act_or_the_senders_fault(changed):
    try:
        act = decode_untrusted_act(seal(fields() | changed, [AUTHOR]))
    except RemoteProtocolError:
        return
    assert all_hold(act.checks())
    assert decode_untrusted_act(act.raw) == act


@given(st.sampled_from([1, 2, 64, 128, 129, 130, 131, 192]), VALUES)
def test_any_body_is_of_its_kind_or_the_senders_fault(kind, body):
    with suppress(RemoteProtocolError):
        decode_untrusted_act(seal(fields(kind=kind, body=body), [AUTHOR]))


def test_properties_read_back_with_their_defaults():
    act = decode_untrusted_act(seal(root_fields(AUTHOR), [AUTHOR]))
    assert act.body == PropertiesBody()
