"""The golden vectors of AUTH: what is written today is what was written then, and is judged alike."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from protocol.authority.acts import Act, decode_untrusted_act
from protocol.authority.admission import Invalid, Valid, admit
from protocol.authority.bodies import BODIES, UnknownBody
from protocol.authority.bundle import decode_untrusted_bundle
from protocol.authority.elements import Der, admit_der, decode_untrusted_element
from protocol.authority.root import commitment_of, gid_of, read_untrusted_genesis
from protocol.authority.view import View
from protocol.codec import decode_untrusted, encode
from protocol.credentials.certificates import serial_of
from protocol.credentials.keys import PrivateKey, all_hold, public_key_untrusted
from protocol.errors import RemoteProtocolError
from protocol.ids import framed
from protocol.limits import ACT_BYTES_MAX
from tests.protocol.authority.bad_acts import BAD
from tests.vectors.authority import PATH, TOO_LONG, build

VECTORS = json.loads(PATH.read_text(encoding="utf-8"))
ACTS = [
    VECTORS["genesis"]["act"],
    *(vector["act"] for vector in VECTORS["grants"]),
    *VECTORS["acts"],
]
DERS = [VECTORS["genesis"]["root_certificate"], *(vector["certificate"] for vector in VECTORS["grants"])]


def unhexed(text: str) -> bytes:
    """A byte string of the file."""
    return bytes.fromhex(text)


def value_of(told: Any) -> Any:
    """A map or list of the file as it was encoded."""
    if isinstance(told, dict):
        if set(told) == {"hex"}:
            return unhexed(told["hex"])
        return {
            name.removesuffix(":hex"): unhexed(item) if name.endswith(":hex") else value_of(item)
            for name, item in told.items()
        }
    return [value_of(item) for item in told] if isinstance(told, list) else told


def view_of(elements: list[str]) -> View:
    """The view of elements that must all be good."""
    view = View(unhexed(VECTORS["genesis"]["gid"]))
    for text in elements:
        element = decode_untrusted_element(unhexed(text))
        assert all_hold(element.checks())
        if isinstance(element, Act):
            verdict = admit(element, view)
            assert isinstance(verdict, Valid), verdict
            view.add(element, verdict.admitted)
        else:
            assert admit_der(element, view) is None
            view.add_der(element.act_id, element.id)
    return view


def test_the_file_is_what_the_code_writes():
    assert build() == VECTORS


def test_every_kind_has_a_vector():
    assert VECTORS["kinds"] == {body.__name__: kind for kind, body in BODIES.items()}
    bodies = {type(decode_untrusted_act(unhexed(vector["element"])).body) for vector in ACTS}
    assert bodies == {*BODIES.values(), UnknownBody}


@pytest.mark.parametrize("name", list(VECTORS["keys"]))
def test_key_follows_from_its_seed(name):
    vector = VECTORS["keys"][name]
    public = PrivateKey.from_seed(unhexed(vector["seed"])).public
    assert (public.raw.hex(), public.pid.hex()) == (vector["public"], vector["pid"])


@pytest.mark.parametrize("vector", ACTS, ids=lambda vector: vector["what"])
def test_act_is_its_fields_and_its_signatures(vector):
    content, raw = unhexed(vector["content"]), unhexed(vector["element"])
    assert encode(value_of(vector["fields"])) == content
    act = decode_untrusted_act(raw)
    assert act.content == content
    assert hashlib.sha256(framed("peerd/act-id/1", content)).hexdigest() == vector["id"] == act.id.hex()
    assert all(check.message == framed("peerd/act/1", content) for check in act.checks()[: len(act.keys)])
    assert all_hold(act.checks())


@pytest.mark.parametrize("vector", DERS, ids=lambda vector: vector["what"])
def test_certificate_is_an_element_of_three_parts(vector):
    parts = [unhexed(vector[name]) for name in ("act_id", "issuer_key", "der")]
    der = decode_untrusted_element(unhexed(vector["element"]))
    assert isinstance(der, Der)
    assert der.raw == encode(parts)
    assert hashlib.sha256(framed("peerd/der-id/1", parts[0], parts[2])).hexdigest() == vector["id"]
    assert (der.id.hex(), der.act_id, der.certificate.der) == (vector["id"], parts[0], parts[2])
    assert all_hold(der.checks())


def test_genesis_names_its_group():
    genesis = VECTORS["genesis"]
    act = decode_untrusted_act(unhexed(genesis["act"]["element"]))
    body = encode(value_of(genesis["act"]["fields"]["body"]))
    assert hashlib.sha256(framed("peerd/gid/1", body)).hexdigest() == genesis["gid"] == gid_of(act).hex()
    assert read_untrusted_genesis(act).gid.hex() == genesis["gid"]
    assert genesis["group_name"] == genesis["gid"][:40] + ".family"


@pytest.mark.parametrize("vector", VECTORS["genesis"]["commitments"], ids=lambda v: str(v["threshold"]))
def test_commitment_follows_from_keys_and_threshold(vector):
    keys = [public_key_untrusted(unhexed(raw)) for raw in vector["keys"]]
    raws = b"".join(sorted(key.raw for key in keys))
    value = encode({"keys": raws, "threshold": vector["threshold"]})
    assert hashlib.sha256(framed("peerd/recovery/1", value)).hexdigest() == vector["commitment"]
    assert commitment_of(keys, vector["threshold"]).hex() == vector["commitment"]


def test_line_of_grants_is_admitted_and_makes_members():
    elements = [vector[part]["element"] for vector in VECTORS["grants"] for part in ("act", "certificate")]
    view = view_of([*VECTORS["founding"], *elements[2:]])
    for vector in VECTORS["grants"]:
        admitted = view.admitted(unhexed(vector["act"]["id"]))
        assert admitted is not None
        assert admitted.grant is not None
        grant = admitted.grant
        assert view.current(grant.pid, grant.window.start) == grant
        assert str(grant.peer_name) == vector["subject"]
        serial = serial_of(grant.author, grant.chain, grant.seq, grant.pid)
        assert f"{serial:040x}" == vector["serial"]


def test_bundle_proves_its_leaf():
    told = VECTORS["bundle"]
    bundle = decode_untrusted_bundle(unhexed(told["bundle"]), authority=unhexed(told["authority"]))
    assert bundle.leaf.act_id.hex() == told["leaf"]
    assert str(bundle.leaf.peer_name) == told["subject"]
    assert len(bundle.checks()) == told["signatures"]
    assert all_hold(bundle.checks())
    form = decode_untrusted(unhexed(told["bundle"]), bytes_max=ACT_BYTES_MAX)
    assert [act.hex() for act in form["acts"]][1:] == [v["act"]["element"] for v in VECTORS["grants"]]
    assert [der.hex() for der in form["ders"]][1:] == [v["certificate"]["der"] for v in VECTORS["grants"]]


@pytest.mark.parametrize("vector", VECTORS["refused_elements"], ids=lambda vector: vector["why"])
def test_refused_element_is_refused(vector):
    with pytest.raises(RemoteProtocolError):
        decode_untrusted_element(unhexed(vector["element"]))


@pytest.mark.parametrize("vector", VECTORS["refused_by_rules"], ids=lambda vector: vector["what"])
def test_act_that_a_rule_refuses_is_refused(vector):
    act = decode_untrusted_act(unhexed(vector["act"]))
    view = view_of([*VECTORS["founding"], *vector["given"]])
    assert all_hold(act.checks())
    assert admit(act, view) == Invalid(vector["rule"])


def test_every_rule_has_a_vector():
    assert {vector["rule"] for vector in VECTORS["refused_by_rules"]} == set(BAD) - set(TOO_LONG)
