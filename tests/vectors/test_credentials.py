"""The golden vectors of the credentials: what is written today is what was written then, and reads back."""

from __future__ import annotations

import hashlib
import json

import pytest
from cryptography import x509

from protocol.credentials.certificates import decode_untrusted_certificate, serial_of
from protocol.credentials.chain import chain_checks, decode_untrusted_chain
from protocol.credentials.documents import read_identity_document
from protocol.credentials.invitation import read_invitation
from protocol.credentials.keys import PrivateKey, all_hold, public_key_untrusted
from protocol.credentials.names import parse_peer_name
from protocol.credentials.pkcs7 import read_untrusted_bag
from protocol.errors import RemoteProtocolError
from tests.vectors.credentials import PATH, build

VECTORS = json.loads(PATH.read_text(encoding="utf-8"))


def unhexed(text: str) -> bytes:
    """A byte string of the file."""
    return bytes.fromhex(text)


def test_the_file_is_what_the_code_writes():
    assert build() == VECTORS


@pytest.mark.parametrize("vector", VECTORS["keys"], ids=lambda vector: vector["name"])
def test_key_names_its_owner(vector):
    key = public_key_untrusted(unhexed(vector["public"]))
    assert PrivateKey.from_seed(unhexed(vector["seed"])).public == key
    assert hashlib.sha256(unhexed(vector["spki"])).hexdigest() == vector["pid"] == key.pid.hex()
    assert parse_peer_name(vector["peer_name"]).authority == vector["authority"] == vector["pid"][:40]
    key.verify(unhexed(vector["signature_of_nothing"]), b"")


@pytest.mark.parametrize("vector", VECTORS["keys_refused"], ids=lambda vector: vector["public"][:8])
def test_refused_key_is_refused(vector):
    with pytest.raises(RemoteProtocolError):
        public_key_untrusted(unhexed(vector["public"]))


@pytest.mark.parametrize("vector", VECTORS["serials"], ids=lambda vector: str(vector["seq"]))
def test_serial_follows_from_its_act(vector):
    author, chain, subject = (unhexed(vector[name]) for name in ("author", "chain", "subject"))
    assert f"{serial_of(author, chain, vector['seq'], subject):040x}" == vector["serial"]


@pytest.mark.parametrize(
    "vector", [*VECTORS["chain"], VECTORS["identity"]], ids=lambda vector: vector["peer_name"]
)
def test_certificate_reads_as_told(vector):
    der = unhexed(vector["der"])
    found = decode_untrusted_certificate(der)
    assert found.kind.name == vector["kind"]
    assert (found.gid.hex() if found.gid else None, found.level) == (vector["gid"], vector["level"])
    assert (list(found.roles), found.peer_name) == (vector["roles"], vector["peer_name"])
    assert (found.key.raw.hex(), f"{found.serial:040x}") == (vector["key"], vector["serial"])
    assert (found.window.start, found.window.end) == (vector["not_before"], vector["not_after"])
    assert (found.issuer_name, found.issuer_authority.hex()) == (
        vector["issuer_name"],
        vector["issuer_authority"],
    )
    assert x509.load_der_x509_certificate(der).serial_number == found.serial


def test_chain_is_good():
    ders = [unhexed(vector["der"]) for vector in VECTORS["chain"]]
    chain = decode_untrusted_chain(ders, unhexed(VECTORS["group"]["gid"]))
    assert chain[0].peer_name == VECTORS["group"]["name"]
    assert all_hold(chain_checks(chain, public_key_untrusted(unhexed(VECTORS["keys"][0]["public"]))))


def test_bag_holds_the_chain():
    found = read_untrusted_bag(unhexed(VECTORS["bag"]))
    assert sorted(certificate.der.hex() for certificate in found) == sorted(
        v["der"] for v in VECTORS["chain"]
    )


def test_identity_document_reads_as_told():
    assert read_identity_document(VECTORS["identity_document"]).der.hex() == VECTORS["identity"]["der"]


def test_invitation_reads_as_told():
    told = VECTORS["invitation"]
    found = read_invitation(told["document"])
    assert [der.hex() for der in found.chain] == [vector["der"] for vector in VECTORS["chain"]]
    assert (found.bundle.hex(), found.group_friendly_name) == (told["bundle"], told["group_friendly_name"])
    assert (list(found.addresses), found.group_name) == (told["addresses"], VECTORS["group"]["name"])
