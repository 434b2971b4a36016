"""The golden vectors of the wire: what is written today is what was written then, and reads back."""

from __future__ import annotations

import json

import pytest

from protocol.credentials.keys import SignatureCheck, holds
from protocol.errors import RemoteProtocolError
from protocol.limits import FRAME_BYTES_MAX_MEMBER
from protocol.wire.framing import FrameReader
from protocol.wire.messages import KINDS, DataSummary, Prove, Taken, Welcome, decode_untrusted_message
from tests.vectors.wire import ANSWERER, CALLER, PATH, build

VECTORS = json.loads(PATH.read_text(encoding="utf-8"))


def decode(payload: str):
    """The message in a payload of the file."""
    return decode_untrusted_message(bytes.fromhex(payload), bytes_max=FRAME_BYTES_MAX_MEMBER)


def unhexed(message, fields):
    """Fields of the file with the byte strings that the message's type asks for."""
    told = {}
    for name, value in fields.items():
        original = getattr(message, name)
        told[name] = bytes.fromhex(value) if isinstance(original, bytes) else value
        if isinstance(original, DataSummary):
            told[name] = DataSummary(**unhexed(original, value))
        if isinstance(original, tuple) and original and isinstance(original[0], bytes):
            told[name] = tuple(bytes.fromhex(item) for item in value)
        elif isinstance(original, tuple):
            told[name] = tuple(value)
    return told


def test_the_file_is_what_the_code_writes():
    assert build() == VECTORS


def test_every_kind_has_a_vector():
    assert [vector["code"] for vector in VECTORS["messages"]] == list(KINDS)
    assert [vector["name"] for vector in VECTORS["messages"]] == [kind.__name__ for kind in KINDS.values()]


@pytest.mark.parametrize("vector", VECTORS["messages"], ids=lambda vector: vector["name"])
def test_message_reads_back_as_its_fields(vector):
    message = decode(vector["payload"])
    assert type(message) is KINDS[vector["code"]]
    assert message == type(message)(**unhexed(message, vector["fields"]))


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=lambda vector: vector["why"])
def test_refused_payload_is_refused(vector):
    with pytest.raises(RemoteProtocolError):
        decode(vector["payload"])


def test_field_of_a_newer_version_is_ignored():
    assert [decode(vector["payload"]) for vector in VECTORS["accepted"]] == [Taken(7, 256)]


def test_proof_in_nothing_reads_back():
    removed = VECTORS["removed"]
    assert decode(removed["payload"]).proof == bytes.fromhex(removed["proof"])


@pytest.mark.parametrize("vector", VECTORS["frames"], ids=["one byte", "300 bytes"])
def test_frame_reads_back_as_its_payload(vector):
    assert FrameReader(300).feed(bytes.fromhex(vector["frame"])) == [bytes.fromhex(vector["payload"])]


def test_signatures_of_the_opening_hold():
    opening = VECTORS["opening"]
    prove, welcome = decode(opening["payloads"][2]), decode(opening["payloads"][3])
    assert isinstance(prove, Prove)
    assert isinstance(welcome, Welcome)
    said, replied = bytes.fromhex(opening["caller_statement"]), bytes.fromhex(opening["answerer_statement"])
    assert (prove.key, welcome.key) == (CALLER.public.raw, ANSWERER.public.raw)
    assert holds(SignatureCheck(prove.key, prove.signature, said))
    assert holds(SignatureCheck(welcome.key, welcome.signature, replied))
