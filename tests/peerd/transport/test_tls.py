from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from OpenSSL._util import lib

from peerd.transport.tls import (
    ALPN,
    EXPORTER_LABEL,
    anonymous_certificate,
    answerer_context,
    caller_context,
    export_binding,
)

CLIENT_HELLO_EXTENSION_SERVER_NAME = 0


def connections(
    caller: SSL.Context | None = None, answerer: SSL.Context | None = None
) -> tuple[SSL.Connection, SSL.Connection]:
    calling = SSL.Connection(caller or caller_context(), None)
    calling.set_connect_state()
    answering = SSL.Connection(answerer or answerer_context(), None)
    answering.set_accept_state()
    return calling, answering


def move(source: SSL.Connection, target: SSL.Connection) -> bytes:
    try:
        moved = source.bio_read(1 << 20)
    except SSL.WantReadError:
        return b""
    target.bio_write(moved)
    return moved


def shake_hands(calling: SSL.Connection, answering: SSL.Connection) -> None:
    for _ in range(4):
        for one, other in ((calling, answering), (answering, calling)):
            try:
                one.do_handshake()
            except SSL.WantReadError:
                pass
            finally:
                move(one, other)


def foreign_context(change: Callable[[SSL.Context], object]) -> SSL.Context:
    """A caller that is not ours: ALPN as it should be, and whatever `change` sets."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_verify(SSL.VERIFY_NONE)
    context.set_alpn_protos([ALPN])
    change(context)
    return context


def test_both_ends_export_the_same_32_bytes_and_no_two_connections_do():
    answerer = answerer_context()
    values = []
    for _ in range(3):
        calling, answering = connections(answerer=answerer)
        shake_hands(calling, answering)
        assert export_binding(calling) == export_binding(answering)
        assert len(export_binding(calling)) == 32
        values.append(export_binding(calling))
    assert len(set(values)) == 3


def test_binding_is_that_of_rfc_9266_with_no_context_too():
    calling, answering = connections()
    shake_hands(calling, answering)
    assert EXPORTER_LABEL == b"EXPORTER-Channel-Binding"
    assert export_binding(calling) == answering.export_keying_material(EXPORTER_LABEL, 32, None)


def test_a_handshake_is_tls_1_3_over_x25519_with_our_alpn():
    calling, answering = connections()
    shake_hands(calling, answering)
    assert calling.get_protocol_version() == SSL.TLS1_3_VERSION
    assert calling.get_group_name() == "x25519"
    assert calling.get_alpn_proto_negotiated() == answering.get_alpn_proto_negotiated() == ALPN


def test_a_caller_that_knows_p256_only_gets_through():
    calling, answering = connections(foreign_context(lambda c: c.set_tmp_ecdh(ec.SECP256R1())))
    shake_hands(calling, answering)
    assert calling.get_group_name() == "secp256r1"


@pytest.mark.parametrize(
    "change",
    [
        lambda context: context.set_max_proto_version(SSL.TLS1_2_VERSION),
        lambda context: context.set_tmp_ecdh(ec.SECP384R1()),
        lambda context: lib.SSL_CTX_set1_sigalgs_list(context._context, b"RSA-PSS+SHA256"),
    ],
    ids=["TLS 1.2", "another group", "RSA only"],
)
def test_a_caller_without_what_we_speak_is_refused(change):
    calling, answering = connections(foreign_context(change))
    with pytest.raises(SSL.Error):
        shake_hands(calling, answering)


def test_the_caller_shows_neither_certificate_nor_server_name():
    calling, answering = connections()
    with pytest.raises(SSL.WantReadError):
        calling.do_handshake()
    assert CLIENT_HELLO_EXTENSION_SERVER_NAME not in extensions_of(move(calling, answering))
    shake_hands(calling, answering)
    assert answering.get_peer_certificate() is None
    assert answering.get_servername() is None


def test_a_listeners_certificate_tells_nothing_but_a_key_of_this_start():
    shown = []
    for _ in range(2):
        calling, answering = connections()
        shake_hands(calling, answering)
        certificate = calling.get_peer_certificate(as_cryptography=True)
        assert certificate is not None
        shown.append(certificate)
    one, other = shown
    assert one.subject == other.subject == one.issuer
    assert [attribute.oid for attribute in one.subject] == [NameOID.COMMON_NAME]
    assert (one.not_valid_before_utc, one.not_valid_after_utc) == (
        other.not_valid_before_utc,
        other.not_valid_after_utc,
    )
    assert not list(one.extensions)
    assert one.serial_number != other.serial_number
    assert one.public_key() != other.public_key()


def test_certificate_is_signed_by_its_own_key():
    key = ed25519.Ed25519PrivateKey.generate()
    certificate = anonymous_certificate(key)
    certificate.verify_directly_issued_by(certificate)
    assert certificate.public_key() == key.public_key()


def test_a_ticket_of_an_earlier_connection_opens_nothing():
    answerer = answerer_context()
    first, answering = connections(answerer=answerer)
    shake_hands(first, answering)
    with pytest.raises(SSL.WantReadError):
        first.recv(1)  # takes in what the answerer sent after the handshake
    session = first.get_session()
    assert session is not None
    again, answering_again = connections(answerer=answerer)
    again.set_session(session)
    shake_hands(again, answering_again)
    assert lib.SSL_session_reused(again._ssl) == lib.SSL_session_reused(answering_again._ssl) == 0
    assert export_binding(again) != export_binding(first)


def test_no_session_allows_early_data():
    calling, answering = connections()
    shake_hands(calling, answering)
    with pytest.raises(SSL.WantReadError):
        calling.recv(1)
    session = lib.SSL_get_session(calling._ssl)
    assert lib.SSL_SESSION_get_max_early_data(session) == 0


def extensions_of(client_hello_record: bytes) -> list[int]:
    """The extension types of a ClientHello in one record (RFC 8446 4.1.2)."""
    body = client_hello_record[5 + 4 :]
    at = 2 + 32
    at += 1 + body[at]  # session id
    at += 2 + int.from_bytes(body[at : at + 2], "big")  # cipher suites
    at += 1 + body[at]  # compression methods
    at += 2
    types = []
    while at < len(body):
        types.append(int.from_bytes(body[at : at + 2], "big"))
        at += 4 + int.from_bytes(body[at + 2 : at + 4], "big")
    return types
