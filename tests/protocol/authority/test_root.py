"""The root: one group id, one genesis; who may replace it; keys that count once."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from protocol.authority import root as root_module
from protocol.authority.acts import Act, decode_untrusted_act
from protocol.authority.admission import Invalid, Valid, admit
from protocol.authority.bodies import RotateRootBody
from protocol.authority.root import (
    GENESIS_RULES,
    commitment_of,
    gid_of,
    grc_window,
    is_genesis,
    make_genesis,
    read_untrusted_genesis,
    revealed_commitment,
)
from protocol.authority.view import View
from protocol.codec import decode_untrusted, encode
from protocol.credentials.certificates import build_grc
from protocol.credentials.keys import all_hold
from protocol.errors import RemoteProtocolError
from protocol.ids import framed
from protocol.limits import ACT_BYTES_MAX, BACKDATING_S, END_OF_TIME_S
from protocol.peer_time import Window, hlc_at
from tests.support.builders import NOW, seal
from tests.support.keys import key

GRC, RECOVERY, OTHER = key(1), key(2), key(3)
NONCE = bytes(range(32))
CREATED = hlc_at(NOW.utc_ms)


def genesis(classifier: str = "family") -> Act:
    return make_genesis(
        grc=GRC, classifier=classifier, recovery=[RECOVERY.public], nonce=NONCE, created=CREATED
    )


def content_of_genesis() -> dict[str, Any]:
    value = decode_untrusted(genesis().content, bytes_max=ACT_BYTES_MAX)
    assert isinstance(value, dict)
    return value


def forged(body: dict[str, Any] | None = None, signers=(GRC,), **changed: Any) -> Act:
    """A genesis with a changed body, whose gid and envelope follow from it but for what is `changed`."""
    content = content_of_genesis()
    told = content["body"] | (body or {})
    told = {name: value for name, value in told.items() if value is not None}
    gid = hashlib.sha256(framed("peerd/gid/1", encode(told))).digest()
    keys = sorted(signers, key=lambda one: one.public.pid)
    content |= {
        "body": told,
        "gid": gid,
        "author": gid,
        "chain": told["nonce"][:16] if "nonce" in told else content["chain"],
        "hlc": told.get("created", 0),
        "signers": b"".join(one.public.pid for one in keys),
    }
    content = {name: value for name, value in (content | changed).items() if value is not None}
    return decode_untrusted_act(seal(content, keys))


def refusal(act: Act) -> str:
    with pytest.raises(RemoteProtocolError) as caught:
        read_untrusted_genesis(act)
    return caught.value.detail.removeprefix("a genesis that breaks the rule ")


# --- the good one -----------------------------------------------------------------------------------------


def test_genesis_is_the_root_of_its_group():
    act = genesis()
    root = read_untrusted_genesis(act)
    assert is_genesis(act)
    assert all_hold(act.checks())
    assert (root.gid, root.version, root.rotation) == (gid_of(act), 1, act.id)
    assert (root.grc, root.classifier, root.created) == (GRC.public, "family", CREATED)
    assert (root.operating, root.threshold) == ((GRC.public.pid,), 1)
    assert root.commitment == commitment_of([RECOVERY.public], 1)
    assert isinstance(admit(act, View(root.gid)), Valid)


def test_forging_nothing_gives_the_same_act():
    assert forged().raw == genesis().raw


def test_gid_is_a_tagged_hash_of_the_body():
    act = genesis()
    assert act.place.gid == hashlib.sha256(framed("peerd/gid/1", encode(act.body_map))).digest()


def test_envelope_of_genesis_follows_from_the_body():
    place = genesis().place
    assert (place.author, place.chain, place.hlc) == (place.gid, NONCE[:16], CREATED)
    assert (place.seq, place.prev, place.level, place.cred) == (1, None, 0, None)


def test_root_certificate_begins_a_little_before_genesis_and_never_ends():
    window = read_untrusted_genesis(genesis()).window
    assert (window.start, window.end) == (NOW.utc_s - BACKDATING_S, END_OF_TIME_S)
    assert grc_window(hlc_at(0)).start == 0


# --- one id, one genesis ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        {"grc": OTHER.public.raw},
        {"operating": OTHER.public.raw},
        {"operating": b"".join(sorted((GRC.public.raw, OTHER.public.raw)))},
        {"threshold": 2, "operating": b"".join(sorted((GRC.public.raw, OTHER.public.raw)))},
        {"next": bytes(32)},
        {"classifier": "friends"},
        {"nonce": bytes(32)},
        {"created": CREATED + 1},
        {"later": 1},
    ],
    ids=lambda body: "+".join(body),
)
def test_every_field_of_the_body_makes_another_group(body):
    act = forged(body, signers=(OTHER,) if "grc" in body else (GRC,))
    assert read_untrusted_genesis(act).gid != genesis().place.gid
    assert admit(act, View(genesis().place.gid)) == Invalid("wrong_group")


def test_thief_of_the_root_key_cannot_make_another_genesis_for_the_group():
    gid = genesis().place.gid
    act = forged({"next": commitment_of([OTHER.public], 1)}, gid=gid, author=gid)
    assert isinstance(admit(act, View(gid)), Invalid)


BAD: dict[str, list[Act]] = {
    "genesis_defines_the_group": [forged(gid=bytes(32), author=bytes(32))],
    "genesis_is_no_rotation": [
        forged({"revealed": RECOVERY.public.raw}),
        forged({"revealed_threshold": 1}),
        forged({"certificates": [build_grc(bytes(32), f"{bytes(20).hex()}.x", Window(0, 1), GRC)]}),
        forged({"keep": bytes(32)}),
        forged({"kept": bytes(32)}),
    ],
    "genesis_follows_from_its_body": [
        forged(seq=2),
        forged(prev=bytes(32)),
        forged(cred=bytes(32)),
        forged(chain=bytes(16)),
        forged(hlc=CREATED + 1),
        forged(ext={}),
        forged(later=1),
        forged(ext={"a": 1}),
    ],
    "genesis_is_signed_by_its_root_key": [forged(signers=(OTHER,)), forged(signers=(GRC, OTHER))],
    "genesis_classifier_is_text": [forged({"classifier": "fam\u202eily"}), forged({"classifier": "a\0b"})],
}
CASES = [(rule, act) for rule, acts in BAD.items() for act in acts]


def test_every_rule_of_genesis_has_an_act_that_it_refuses():
    assert list(BAD) == [rule.__name__ for rule in GENESIS_RULES]


@pytest.mark.parametrize("rule, act", CASES)
def test_rule_of_genesis_refuses(rule, act):
    assert refusal(act) == rule
    assert not isinstance(admit(act, View(act.place.gid)), Valid)


@pytest.mark.parametrize("rule, act", CASES)
def test_only_that_rule_of_genesis_refuses(rule, act, monkeypatch):
    kept = tuple(one for one in GENESIS_RULES if one.__name__ != rule)
    monkeypatch.setattr(root_module, "GENESIS_RULES", kept)
    assert read_untrusted_genesis(act).gid == act.place.gid


@pytest.mark.parametrize("body", [{"grc": None}, {"nonce": None}], ids=["no root key", "no nonce"])
def test_genesis_without_root_key_or_nonce_is_refused(body):
    assert refusal(forged(body)) == "a genesis has a root key and a nonce"


def test_genesis_with_a_root_key_that_anybody_can_sign_for_is_refused():
    refusal(forged({"grc": bytes(32)}))
    refusal(forged({"operating": bytes(32)}))


def test_rotation_is_no_genesis():
    act = forged({"from_version": 1})
    assert not is_genesis(act)
    assert refusal(act) == "not a genesis"


# --- sets of keys -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "operating, threshold",
    [
        (b"", 1),
        (GRC.public.raw * 2, 1),
        (b"".join(sorted((GRC.public.raw, OTHER.public.raw), reverse=True)), 1),
        (GRC.public.raw, 2),
        (b"".join(sorted((GRC.public.raw, OTHER.public.raw))), 3),
    ],
    ids=["empty", "a key twice", "out of order", "one key, two needed", "two keys, three needed"],
)
def test_operating_set_that_cannot_be_counted_is_refused(operating, threshold):
    act = forged({"operating": operating, "threshold": threshold})
    assert "operating set" in refusal(act) or "threshold" in refusal(act)


def test_commitment_depends_on_the_set_and_its_threshold_and_not_on_the_order():
    keys = [key(number).public for number in (4, 5, 6)]
    assert commitment_of(keys, 2) == commitment_of(keys[::-1], 2)
    told = {
        commitment_of(keys, 1),
        commitment_of(keys, 2),
        commitment_of(keys[:2], 2),
        commitment_of([*keys[:2], key(7).public], 2),
    }
    assert len(told) == 4


def test_commitment_is_a_tagged_hash_of_keys_and_threshold():
    raws = b"".join(sorted(one.public.raw for one in (RECOVERY, OTHER)))
    expected = hashlib.sha256(framed("peerd/recovery/1", encode({"keys": raws, "threshold": 2}))).digest()
    assert commitment_of([OTHER.public, RECOVERY.public], 2) == expected
    assert revealed_commitment(raws, 2) == expected


def test_body_of_genesis_keeps_the_recovery_key_secret():
    body = genesis().body
    assert isinstance(body, RotateRootBody)
    assert RECOVERY.public.raw not in genesis().raw
    assert body.next == commitment_of([RECOVERY.public], 1)
