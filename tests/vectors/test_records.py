"""The golden vectors of records: what is written today is what was written then, and is judged alike."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from protocol.authority.acts import Act
from protocol.authority.admission import Invalid, Valid as Admissible, admit
from protocol.authority.elements import admit_der, decode_untrusted_element
from protocol.authority.view import Hit, View
from protocol.codec import encode
from protocol.credentials.keys import PrivateKey, all_hold
from protocol.errors import RemoteProtocolError
from protocol.ids import framed
from protocol.records.admission import Valid, judge
from protocol.records.attributes_xml import read_attributes, write_attributes
from protocol.records.order import kept
from protocol.records.record import (
    RecordItem,
    decode_untrusted_header,
    decode_untrusted_item,
    id_is_of_creator,
    is_durable,
    new_record_id,
)
from protocol.records.reserved import EMPTY_MANIFEST, decode_untrusted_contact, manifest_ids
from tests.protocol.records.bad_records import BAD
from tests.protocol.records.test_admission import Told
from tests.vectors.records import PATH, build, verdict_text
from tests.vectors.test_authority import unhexed, value_of

VECTORS = json.loads(PATH.read_text(encoding="utf-8"))
VERSIONS = VECTORS["versions"]


def view_of(elements: list[str]) -> View:
    """The view of elements that must all be good."""
    view = View(unhexed(VECTORS["gid"]))
    for text in elements:
        element = decode_untrusted_element(unhexed(text))
        assert all_hold(element.checks())
        if isinstance(element, Act):
            verdict = admit(element, view)
            assert isinstance(verdict, Admissible), verdict
            view.add(element, verdict.admitted)
        else:
            assert admit_der(element, view) is None
            view.add_der(element.act_id, element.id)
    return view


@pytest.fixture(scope="module")
def view():
    return view_of(VECTORS["elements"])


def test_the_file_is_what_the_code_writes():
    assert build() == VECTORS


@pytest.mark.parametrize("name", list(VECTORS["keys"]))
def test_key_follows_from_its_seed(name):
    vector = VECTORS["keys"][name]
    public = PrivateKey.from_seed(unhexed(vector["seed"])).public
    assert (public.raw.hex(), public.pid.hex()) == (vector["public"], vector["pid"])


@pytest.mark.parametrize("name", list(VECTORS["grants"]))
def test_grants_are_in_the_view(name, view):
    admitted = view.admitted(unhexed(VECTORS["grants"][name]))
    assert admitted is not None
    assert admitted.grant is not None
    assert admitted.grant.pid.hex() == VECTORS["keys"][name]["pid"]


@pytest.mark.parametrize("vector", VECTORS["record_ids"], ids=lambda vector: vector["record_id"][:8])
def test_record_id_follows_from_group_creator_class_and_random_bytes(vector):
    gid, creator = unhexed(vector["gid"]), unhexed(vector["creator"])
    hashed = hashlib.sha256(framed("peerd/record-id/1", gid, creator)).digest()
    bits = int.from_bytes(hashed[:8], "big") % 2**63 + vector["durable"] * 2**63
    record_id = bits.to_bytes(8, "big") + unhexed(vector["random"])
    assert record_id.hex() == vector["record_id"]
    assert new_record_id(gid, creator, vector["durable"], unhexed(vector["random"])) == record_id
    assert id_is_of_creator(record_id, gid, creator)
    assert is_durable(record_id) is vector["durable"]


@pytest.mark.parametrize("vector", VERSIONS, ids=lambda vector: vector["what"])
def test_header_is_its_fields_key_and_signature(vector):
    content, raw = unhexed(vector["content"]), unhexed(vector["header"])
    assert encode(value_of(vector["fields"])) == content
    header = decode_untrusted_header(raw)
    assert raw == encode([content, header.key, header.signature])
    id_ = hashlib.sha256(framed("peerd/record-version/1", content)).hexdigest()
    assert id_ == vector["id"] == header.id.hex()
    (check,) = header.checks()
    assert check.message == framed("peerd/record/1", content)
    assert all_hold([check])


@pytest.mark.parametrize("vector", VERSIONS, ids=lambda vector: vector["what"])
def test_item_is_a_header_with_its_body_or_without(vector):
    header = decode_untrusted_header(unhexed(vector["header"]))
    body = None if vector["body"] is None else unhexed(vector["body"])
    assert unhexed(vector["item"]) == encode([header.raw, body])
    assert decode_untrusted_item(unhexed(vector["item"])) == RecordItem(header, body)
    assert decode_untrusted_item(unhexed(vector["item_without_body"])) == RecordItem(header)
    if body is not None:
        assert vector["fields"]["body:hex"] == hashlib.sha256(body).hexdigest()
        assert vector["fields"]["size"] == len(body)


@pytest.mark.parametrize("vector", VERSIONS, ids=lambda vector: vector["what"])
def test_version_is_admitted(vector, view):
    assert judge(decode_untrusted_header(unhexed(vector["header"])), view) == Valid()


def test_attributes_are_told_as_the_original_writes_them():
    told = VECTORS["attributes"]
    header = decode_untrusted_header(unhexed(told["header"]))
    assert write_attributes(header.attributes) == told["document"]
    assert read_attributes(told["document"]) == header.attributes


def test_contact_is_its_fields():
    told = VECTORS["contact"]
    fields: dict[str, Any] = value_of(told["fields"])
    assert encode(fields) == unhexed(told["body"])
    contact = decode_untrusted_contact(unhexed(told["body"]))
    assert (list(contact.addresses), contact.node_id) == (fields["addresses"], fields["node_id"])
    assert contact.sealing == fields["sealing"]


def test_manifest_is_its_ids():
    told = VECTORS["manifest"]
    assert told["body"] == "".join(told["ids"])
    assert manifest_ids(unhexed(told["body"])) == frozenset(map(unhexed, told["ids"]))
    assert hashlib.sha256(unhexed(told["body"])).hexdigest() == told["hash"]
    assert hashlib.sha256(b"").hexdigest() == told["hash_of_none"] == EMPTY_MANIFEST.hex()


def test_versions_are_kept_by_their_order():
    told = VECTORS["order"]
    versions = [decode_untrusted_header(unhexed(text)) for text in told["versions"]]
    assert [one.id.hex() for one in kept(versions, unhexed(told["creator"]))] == told["kept"]
    assert [one.id.hex() for one in kept(versions[::-1], unhexed(told["creator"]))] == told["kept"]


@pytest.mark.parametrize("vector", VECTORS["refused_headers"], ids=lambda vector: vector["why"])
def test_refused_header_is_refused(vector):
    with pytest.raises(RemoteProtocolError):
        decode_untrusted_header(unhexed(vector["header"]))


@pytest.mark.parametrize("vector", VECTORS["refused_items"], ids=lambda vector: vector["why"])
def test_refused_item_is_refused(vector):
    with pytest.raises(RemoteProtocolError):
        decode_untrusted_item(unhexed(vector["item"]))


@pytest.mark.parametrize("vector", VECTORS["refused_by_rules"], ids=lambda vector: vector["what"])
def test_version_that_a_rule_refuses_is_refused(vector):
    header = decode_untrusted_header(unhexed(vector["header"]))
    assert all_hold(header.checks())
    assert judge(header, view_of(VECTORS["elements"] + vector["given"])) == Invalid(vector["rule"])


def test_every_rule_has_a_vector():
    assert {vector["rule"] for vector in VECTORS["refused_by_rules"]} == set(BAD)


@pytest.mark.parametrize("vector", VECTORS["standing"], ids=lambda vector: vector["verdict"])
def test_revocations_leave_standing_what_they_left(vector, view):
    hits = tuple(
        Hit(hit["rule"], hit["manifest"] and unhexed(hit["manifest"]), hit["hlc"], bytes(32))
        for hit in vector["hits"]
    )
    lists = {hashlib.sha256(unhexed(text)).digest(): manifest_ids(unhexed(text)) for text in vector["lists"]}
    header = decode_untrusted_header(unhexed(vector["header"]))
    assert verdict_text(judge(header, Told(view, hits), lists.get)) == vector["verdict"]
